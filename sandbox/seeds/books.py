"""The records of two books in the vendors' shapes, and which of them are the same party or person."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
NAMESPACE = uuid.UUID("5b1f6f0a-6d0e-4c55-9d7e-3f2a8c1d4e90")
LINE_BREAK = "\r\n"  # what a person's browser sends for a new line (doc: diff fields of change events)


@dataclass(frozen=True)
class Books:
    """links: {"entity", "salesforce_id", "xero_id"}; a person's xero_id is the contact's with ":primary"."""

    salesforce: list[Row]
    xero: list[Row]
    links: list[Row]


def xero_id(key: str) -> str:
    """A ContactID that is always the same for the same key."""
    return str(uuid.uuid5(NAMESPACE, key))


def party_link(account_id: str, contact_id: str) -> Row:
    return {"entity": "party", "salesforce_id": account_id, "xero_id": contact_id}


def person_link(person_id: str, contact_id: str) -> Row:
    return {"entity": "person", "salesforce_id": person_id, "xero_id": f"{contact_id}:primary"}


def filled(row: Row) -> Row:
    """The row without what is blank."""
    return {name: value for name, value in row.items() if value not in (None, "")}

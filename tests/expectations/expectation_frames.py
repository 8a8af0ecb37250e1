"""Frames that every expectation is content with, and rows to plant in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl

from reconcile.model import FIELDS, LINKS, OPERATIONS, RAW, RECORDS, VALUES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def guid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def account(number: int) -> str:
    return f"001{number:012d}AAA"


def contact(number: int) -> str:
    return f"003{number:012d}AAA"


def frame(rows: list[dict[str, Any]], schema: Any) -> pl.DataFrame:
    # Plain strings for closed sets: a test must be able to plant a word outside of them.
    loose = {name: pl.String if isinstance(kind, pl.Enum) else kind for name, kind in schema.items()}
    return pl.DataFrame(rows, schema=loose)


def raw_row(record_id: str | None, id_field: str, **other: Any) -> dict[str, Any]:
    body = json.dumps({id_field: record_id, "Name": "Acme"})
    return {
        "record_id": record_id,
        "modified_at": NOW,
        "deleted": False,
        "row_hash": "h",
        "body": body,
    } | other


def record(side: str, record_id: str, **other: Any) -> dict[str, Any]:
    standard = {
        "entity": "party",
        "object": "Account",
        "status": "active",
        "in_scope": True,
        "modified_at": NOW,
    }
    return standard | {"side": side, "record_id": record_id} | other


def value(side: str, record_id: str, unit: str, found: str | None, **other: Any) -> dict[str, Any]:
    standard = {"entity": "party", "kind": unit, "native": "{}", "observed": True}
    return standard | {"side": side, "record_id": record_id, "unit": unit, "value": found} | other


def operation(name: str, number: int, **other: Any) -> dict[str, Any]:
    standard = {
        "system": "xero",
        "entity": "party",
        "object": "Contact",
        "action": "update",
        "phase": "change",
        "unit": "phone",
        "before": "+442071234567",
        "after": "+442079876543",
        "native_after": '{"Phones":[{"PhoneNumber":"+44 20 7987 6543","PhoneType":"DEFAULT"}]}',
        "rule": "phone",
    }
    mine = {"operation_id": name, "record_id": guid(number), "source_id": account(number)}
    return standard | mine | {"link_id": f"link-{number}"} | other


def clean_raw() -> dict[str, pl.DataFrame]:
    return {
        "salesforce.Account": frame([raw_row(account(n), "Id") for n in range(1, 31)], RAW),
        "salesforce.Contact": frame([raw_row(contact(n), "Id") for n in range(1, 31)], RAW),
        "xero.Contact": frame([raw_row(guid(n), "ContactID") for n in range(1, 31)], RAW),
    }


def clean_canonical(extra_records: list[Any] | None = None, extra_values: list[Any] | None = None) -> Any:
    records, values = list(extra_records or ()), list(extra_values or ())
    for n in range(1, 101):
        records += [
            record("salesforce", account(n), reference=guid(n)),
            record("xero", guid(n), reference=account(n)),
            record("salesforce", contact(n), entity="person", parent_id=account(n)),
            record("xero", f"{guid(n)}:primary", entity="person", parent_id=guid(n)),
        ]
        for side, record_id in (("salesforce", account(n)), ("xero", guid(n))):
            values += [
                value(side, record_id, "name", f"Company {n}", kind="text"),
                value(side, record_id, "email", f"accounts@company{n}.example"),
                value(side, record_id, "phone", "+442071234567"),
                value(
                    side,
                    record_id,
                    "billing_address",
                    '{"city":"Łódź","country":"PL","lines":["1 High St","Level 2"]}',
                    kind="address",
                ),
            ]
        for side, record_id in (("salesforce", contact(n)), ("xero", f"{guid(n)}:primary")):
            name = f'{{"first":"Ann","last":"Lee {n}"}}'
            values.append(value(side, record_id, "name", name, entity="person", kind="person_name"))
    return {"records": frame(records, RECORDS), "values": frame(values, VALUES)}


def clean_plan(
    operations: list[dict[str, Any]] | None = None,
    *,
    records: list[Any] | None = None,
    values: list[Any] | None = None,
) -> dict[str, pl.DataFrame]:
    links = [
        {"link_id": f"link-{n}", "entity": "party", "salesforce_id": account(n), "xero_id": guid(n)}
        | {"status": "linked", "rule": "our_ids", "score": 1.0}
        for n in range(1, 101)
    ]
    fields = [
        {"side": "xero", "object": "Contact", "field": "Phones.DEFAULT.PhoneNumber", "length": 50},
        {"side": "xero", "object": "Contact", "field": "Name", "length": 255},
        {"side": "salesforce", "object": "Account", "field": "Phone", "length": 40},
    ]
    given = [operation("o1", 1), operation("o2", 2)] if operations is None else operations
    return {
        **clean_canonical(records, values),
        "operations": frame(given, OPERATIONS),
        "links": frame(links, LINKS),
        "fields": frame(fields, FIELDS),
    }

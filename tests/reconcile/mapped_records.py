"""Small builders for the tests of mapping and normalise: a mapping of a few lines, rows of plain bodies."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import polars as pl

from mappings import library
from reconcile.mapped import EntityMapping, Mapping, Unit
from reconcile.mapping import load_mapping
from reconcile.model import FIELDS, RAW, conform
from reconcile.normalise import Canonical, canonical_values, canonicalise

PULLED = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
XERO_ID = "5f4dcc3b-0000-4000-8000-00000000000{}"
ID_FIELD = {"salesforce": "Id", "xero": "ContactID"}


def mapping(text: str) -> Mapping:
    return load_mapping(text, name="mine.yaml", library=library())


@cache
def default(entity: str = "party") -> EntityMapping:
    return load_mapping(library()["default"], name="default.yaml", library=library()).entities[entity]


def party(*units: str, sides: str = "") -> EntityMapping:
    """A party with these units, a line each."""
    lines = "\n".join(f"      {unit}" for unit in units)
    return mapping(
        "entities:\n  party:\n"
        "    salesforce: {object: Account, reference: ExternalID__c}\n"
        f"    xero: {{object: Contact, reference: ContactNumber}}\n{sides}"
        f"    units:\n{lines}\n"
    ).entities["party"]


def unit(text: str) -> tuple[EntityMapping, Unit]:
    entity = party(f"it: {text}")
    return entity, entity.unit("it")


def raw(*bodies: dict[str, Any] | str | None, side: str, deleted: bool = False) -> pl.DataFrame:
    rows = []
    for number, body in enumerate(bodies, start=1):
        known = body.get(ID_FIELD[side]) if isinstance(body, dict) else None
        text = json.dumps(body) if isinstance(body, dict) else body
        rows.append((known or f"unknown{number}", PULLED, deleted, "h", text))
    return pl.DataFrame(rows, schema=dict(RAW), orient="row")


def read(
    *bodies: dict[str, Any] | str | None,
    side: str,
    entity: EntityMapping | None = None,
    observed: frozenset[str] | None = None,
    region: str = "GB",
    deleted: bool = False,
) -> Canonical:
    entity = entity or default()
    seen = entity.fields(side) if observed is None else observed
    return canonicalise(raw(*bodies, side=side, deleted=deleted), entity, side, observed=seen, region=region)


def values_of(canonical: Canonical, record: int = 0) -> dict[str, str | None]:
    """Unit -> value of one record, of what was observed."""
    record_id = canonical.records["record_id"][record]
    rows = canonical.values.filter((pl.col("record_id") == record_id) & pl.col("observed"))
    return dict(zip(rows["unit"], rows["value"], strict=True))


def canonical(native: str | None, entity: EntityMapping, side: str, region: str = "GB") -> str | None:
    """The canonical value of one piece of the unit `it`."""
    frame = pl.DataFrame(
        {"side": [side], "unit": ["it"], "native": [native]}, schema_overrides={"native": pl.String}
    )
    return canonical_values(frame, entity, region=region)["value"].item()


def contact(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "ContactID": XERO_ID.format(number),
        "ContactStatus": "ACTIVE",
        "Phones": [],
        "Addresses": [],
        **fields,
    }


def account(number: int = 1, **fields: Any) -> dict[str, Any]:
    """An Account with every field that the default mapping reads."""
    blank = dict.fromkeys(sorted(default().fields("salesforce")))
    return {**blank, "Id": f"001A0000000000{number}AAA", "IsDeleted": False, **fields}


def fields(*rows: tuple[str, str, str, str, int | None, bool, bool]) -> pl.DataFrame:
    """FIELDS of (side, object, field, type, length, updateable, required)."""
    names = ("side", "object", "field", "type", "length", "updateable", "required")
    frame = pl.DataFrame(rows, schema=list(names), orient="row").with_columns(createable="updateable")
    return conform(frame, FIELDS)

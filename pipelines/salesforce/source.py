"""Pulls one Salesforce object: all rows with a proof, or what changed since; deleted rows too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipelines.extract import TRIES, Collected, Extract, collect
from pipelines.salesforce.client import LostPlace, SalesforceClient, stamp
from pipelines.wire import Row
from reconcile.errors import MissingRight, SnapshotRefused, TypeChanged, UnexpectedReply

if TYPE_CHECKING:
    import polars as pl

OBJECTS: Final = ("Account", "Contact")
PRODUCTS: Final = ("Product2", "Pricebook2", "PricebookEntry")  # where the mapping names a product
NEEDED: Final = ("Id", "IsDeleted", "MasterRecordId", "SystemModstamp", "LastModifiedById")
MERGED: Final = frozenset(OBJECTS)  # only these can be merged, and tell into which
# Compound fields repeat their parts; base64 is a file.
LEFT_OUT: Final = frozenset({"address", "location", "base64", "complexvalue", "anyType", "json"})
LONG_TEXT: Final = 255  # characters; two custom long texts in a query cut its pages to 200 rows
LONGEST_QUERY: Final = 12_000  # bytes once encoded; an address above 16,384 is refused (414)

# Not part of what a record is: `attributes` names the API version; the two dates move when somebody looks.
VOLATILE: Final = frozenset({"attributes", "LastViewedDate", "LastReferencedDate"})


@dataclass(frozen=True)
class Schema:
    """What describe says, and which of it is read."""

    fields: pl.DataFrame  # FIELDS
    read: tuple[str, ...]
    left_out: tuple[str, ...]  # readable, but long, or beyond the length of a query


def pull_object(
    client: SalesforceClient,
    object_name: str,
    *,
    since: datetime | None,
    read: Sequence[str] = (),
    needed: frozenset[str] = frozenset(),
    known: Mapping[str, str] | None = None,
    accept_types: bool = False,
) -> Extract:
    """Pull an object through queryAll; all of it where `since` is null.

    read: the fields of the last sweep, for a delta; a sweep asks describe. needed: fields that the mapping
    reads, and that are read even if long. known: field -> type of the last sweep; a changed type is refused
    unless accept_types.
    Raises TypeChanged, SnapshotRefused, RefusedQuery (a field of `read` is gone), and as the client does.
    """
    schema = _schema(client, object_name, needed) if since is None else None
    if schema is not None and known and not accept_types:
        _refuse_changed_types(object_name, schema.fields, known)
    chosen = tuple(schema.read) if schema else tuple(read)
    collected = _complete(client, object_name, chosen, since)
    if collected.complete_as_of is None:
        raise UnexpectedReply(side="salesforce", at=object_name, found="no page", expected="at least one")
    return Extract(
        side="salesforce",
        object_name=object_name,
        whole=since is None,
        rows=collected.table(),
        ids=frozenset(collected.place),
        complete_as_of=collected.complete_as_of,
        fields=schema.fields if schema else None,
        observed=frozenset(chosen),
        notes=_notes(schema, known, needed) if schema else (),
    )


def build_query(object_name: str, fields: Sequence[str], since: datetime | None) -> str:
    """Give the query of a pull. Fields and object are API names: describe gave them, and they are checked."""
    for name in (object_name, *fields):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
            raise ValueError(f"{name!r} is no API name")
    where = f" where SystemModstamp >= {stamp(since)}" if since else ""
    return f"select {', '.join(fields)} from {object_name}{where} order by SystemModstamp, Id"  # noqa: S608


def choose_fields(fields: Sequence[Mapping[str, Any]], needed: frozenset[str]) -> tuple[list[str], list[str]]:
    """Give (read, left out) of describe's fields, both sorted.

    Needed ones come first, then standard, then custom ones, as many as an address can carry.
    """
    readable = [field for field in fields if field["type"] not in LEFT_OUT]
    wanted = [field for field in readable if field["name"] in needed or not _is_long(field)]
    ranked = sorted(wanted, key=lambda field: (field["name"] not in needed, bool(field.get("custom"))))
    read: list[str] = []
    size = 0
    for field in ranked:
        size += len(field["name"]) + len("%2C+")
        if size > LONGEST_QUERY and field["name"] not in needed:
            break
        read.append(field["name"])
    return sorted(read), sorted({field["name"] for field in readable} - set(read))


def _is_long(field: Mapping[str, Any]) -> bool:
    return (
        field["type"] == "textarea" and bool(field.get("custom")) and (field.get("length") or 0) > LONG_TEXT
    )


def _schema(client: SalesforceClient, object_name: str, needed: frozenset[str]) -> Schema:
    described = client.describe(object_name)["fields"]
    always = frozenset(NEEDED if object_name in MERGED else set(NEEDED) - {"MasterRecordId"})
    hidden = sorted(always - {field["name"] for field in described})
    if hidden:
        raise MissingRight(
            side="salesforce",
            found=f"{object_name} hides {', '.join(hidden)} from this user",
            next_step="Give the user the permission set that `reconcile doctor` prints.",
        )
    read, left_out = choose_fields(described, needed | always)
    return Schema(fields_frame(object_name, described), tuple(read), tuple(left_out))


def fields_frame(object_name: str, described: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Give FIELDS from describe."""
    import polars as pl

    from reconcile.model import FIELDS

    rows = [_field_row(object_name, field) for field in described]
    return pl.DataFrame(rows, schema=dict(FIELDS), orient="row").sort("field")


def _field_row(object_name: str, field: Mapping[str, Any]) -> tuple[Any, ...]:
    required = field["createable"] and not field["nillable"] and not field["defaultedOnCreate"]
    values = [value["value"] for value in field.get("picklistValues") or [] if value.get("active", True)]
    return (
        "salesforce",
        object_name,
        field["name"],
        field["type"],
        field.get("length") or None,
        field["createable"],
        field["updateable"],
        required,
        values if field.get("restrictedPicklist") else None,
    )


def _refuse_changed_types(object_name: str, fields: pl.DataFrame, known: Mapping[str, str]) -> None:
    for name, kind in fields.select("field", "type").iter_rows():
        if known.get(name, kind) != kind:
            raise TypeChanged(
                side="salesforce", object_name=object_name, field=name, found=kind, expected=known[name]
            )


def _notes(schema: Schema, known: Mapping[str, str] | None, needed: frozenset[str]) -> tuple[str, ...]:
    now = set(schema.fields["field"])
    before = set(known) if known else now
    said = {
        "new fields": now - before,
        "gone or hidden fields": before - now,
        "fields of the mapping that this user can't see": needed - now,
        "left out (long text, or too many)": set(schema.left_out) - _compounds(schema.fields),
    }
    return tuple(f"{what}: {', '.join(sorted(names))}" for what, names in said.items() if names)


def _compounds(fields: pl.DataFrame) -> set[str]:
    return {name for name, kind in fields.select("field", "type").iter_rows() if kind in LEFT_OUT}


def _complete(
    client: SalesforceClient, object_name: str, fields: Sequence[str], since: datetime | None
) -> Collected:
    """Read until what was read is provably all: the query's own total, and on a sweep the system's count."""
    soql = build_query(object_name, fields, since)
    found, expected = Collected(), 0
    for _ in range(TRIES):
        try:
            found = collect(client.query(soql), _read, VOLATILE)
        except LostPlace:
            continue
        if found.total == len(found.place):
            expected = len(found.place) if since else client.count(object_name)
            if expected == len(found.place):
                return found
        else:
            expected = found.total or 0
    raise SnapshotRefused(
        side="salesforce",
        object_name=object_name,
        found=f"{len(found.place)} different rows in {TRIES} reads",
        expected=f"as many as Salesforce counts ({expected})",
    )


def _read(row: Row) -> tuple[datetime, bool]:
    """Give a row's stamp, and whether it is in the recycle bin (a merged one is too)."""
    modified_at = parse_stamp(row.body.get("SystemModstamp"))
    if modified_at is None or not isinstance(row.body.get("IsDeleted"), bool):
        raise UnexpectedReply(
            side="salesforce",
            at=f"record {row.record_id}",
            found="no SystemModstamp or IsDeleted",
            expected="both",
        )
    return modified_at, bool(row.body["IsDeleted"])


def parse_stamp(value: object) -> datetime | None:
    """Give the instant of 2013-05-20T20:49:32.000+0000, aware UTC; null for anything else."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value, re.ASCII):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else None

"""Pulls one Salesforce object: all rows with a proof, or what changed since; deleted rows too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pipelines.extract import TRIES, Extract, collect
from pipelines.salesforce.bulk import Bulk, Spill, job_pages
from pipelines.salesforce.client import LostPlace, SalesforceClient, stamp
from pipelines.wire import Page, Row
from reconcile.errors import MissingRight, SnapshotRefused, TypeChanged, UnexpectedReply

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

OBJECTS: Final = ("Account", "Contact")
PRODUCTS: Final = ("Product2", "Pricebook2", "PricebookEntry")  # where the mapping names a product
CURRENCIES: Final = ("CurrencyType", "DatedConversionRate")  # where the mapping takes rates of Salesforce
NEEDED: Final = ("Id", "IsDeleted", "MasterRecordId", "SystemModstamp", "LastModifiedById")
MERGED: Final = frozenset(OBJECTS)  # only these can be merged, and tell into which
UNDELETED: Final = frozenset(CURRENCIES)  # these know no recycle bin (object reference): what is gone is gone
# Compound fields repeat their parts; base64 is a file.
LEFT_OUT: Final = frozenset({"address", "location", "base64", "complexvalue", "anyType", "json"})
LONG_TEXT: Final = 255  # characters; two custom long texts in a query cut its pages to 200 rows
LONGEST_QUERY: Final = 12_000  # bytes once encoded; an address above 16,384 is refused (414)
LATE: Final = timedelta(minutes=15)  # a row may be seen up to ten minutes after its SystemModstamp

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
    bulk: Bulk | None = None,
) -> Extract:
    """Pull an object, deleted rows too; all of it where `since` is null.

    read: the fields of the last sweep, for a delta; a sweep asks describe. needed: fields that the mapping
    reads, and that are read even if long. known: field -> type of the last sweep; a changed type is refused
    unless accept_types. bulk: from which size on a sweep goes by Bulk API; null: never. The rows are the same
    either way, and so are their hashes.
    Raises TypeChanged, SnapshotRefused, RefusedQuery (a field of `read` is gone), and as the client and
    `bulk.job_pages` do.
    """
    schema = _schema(client, object_name, needed) if since is None else None
    if schema is not None and known and not accept_types:
        _refuse_changed_types(object_name, schema.fields, known)
    chosen = tuple(schema.read) if schema else tuple(read)
    if schema is None:
        found = _complete(object_name, lambda: _changed(client, object_name, chosen, since))
    else:
        found = _complete(object_name, lambda: _all(client, object_name, schema, bulk))
    return Extract(
        side="salesforce",
        object_name=object_name,
        whole=since is None,
        rows=found.rows,
        ids=found.ids,
        complete_as_of=found.complete_as_of,
        fields=schema.fields if schema else None,
        observed=frozenset(chosen),
        notes=_notes(schema, known, needed) if schema else (),
    )


def build_query(object_name: str, fields: Sequence[str], since: datetime | None) -> str:
    """Give the query of a pull. Fields and object are API names: describe gave them, and they are checked."""
    where = f" where SystemModstamp >= {stamp(since)}" if since else ""
    return f"{select_all(object_name, fields)}{where} order by SystemModstamp, Id"


def select_all(object_name: str, fields: Sequence[str]) -> str:
    """Give the query of a job: without an order, so that Salesforce may cut the table up and read the parts at once."""
    for name in (object_name, *fields):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
            raise ValueError(f"{name!r} is no API name")
    return f"select {', '.join(fields)} from {object_name}"  # noqa: S608


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
    unknown = set() if object_name in MERGED else {"MasterRecordId"}
    always = frozenset(NEEDED) - unknown - ({"IsDeleted"} if object_name in UNDELETED else set())
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


@dataclass(frozen=True)
class Found:
    """What one reading brought. expected: how many different rows it should have brought."""

    rows: pa.Table | None
    ids: frozenset[str]
    complete_as_of: datetime
    expected: int


def _complete(object_name: str, read: Callable[[], Found]) -> Found:
    """Read until what was read is provably all. Raises SnapshotRefused, or the LostPlace of the last try."""
    refused: Exception | None = None
    for _ in range(TRIES):
        try:
            found = read()
        except LostPlace as lost:
            refused = lost
            continue
        if found.expected == len(found.ids):
            return found
        refused = SnapshotRefused(
            side="salesforce",
            object_name=object_name,
            found=f"{len(found.ids)} different rows in {TRIES} reads",
            expected=f"as many as Salesforce counts ({found.expected})",
        )
    assert refused is not None
    raise refused


def _all(client: SalesforceClient, object_name: str, schema: Schema, bulk: Bulk | None) -> Found:
    """Read the whole object: by query where it is small, else by a job. The system's own count is the proof."""
    counted = client.count(object_name)
    if bulk is not None and counted >= bulk.from_rows and object_name not in UNDELETED:
        return _by_job(client, object_name, schema, bulk)
    found = _changed(client, object_name, schema.read, None)
    return found if found.expected != len(found.ids) else replace(found, expected=counted)


def _changed(
    client: SalesforceClient, object_name: str, fields: Sequence[str], since: datetime | None
) -> Found:
    """Read by query what changed since, or everything; the query's own total is what is expected."""
    read = _read_undeleted if object_name in UNDELETED else _read
    collected = collect(even_numbers(client.query(build_query(object_name, fields, since))), read, VOLATILE)
    if collected.complete_as_of is None:
        raise UnexpectedReply(side="salesforce", at=object_name, found="no page", expected="at least one")
    ids = frozenset(collected.place)
    return Found(collected.table(), ids, collected.complete_as_of, collected.total or 0)


def _by_job(client: SalesforceClient, object_name: str, schema: Schema, bulk: Bulk) -> Found:
    """Read the whole object by a job, then the rows that were made while it ran.

    A job reads for minutes, and parts of the table at different times: a row that is made meanwhile may be in its
    result or not. What only changed meanwhile comes with the next delta, which begins where the job was made.
    """
    kinds = dict(schema.fields.select("field", "type").iter_rows())
    types = {name: kinds[name] for name in schema.read}
    spill, began = Spill(bulk.folder), None
    for page in even_numbers(job_pages(client, select_all(object_name, schema.read), types)):
        began = page.server_time
        _lay_down(spill, page)
    assert began is not None  # even an empty result has a page
    for page in even_numbers(client.query(build_query(object_name, schema.read, began - LATE))):
        _lay_down(spill, replace(page, rows=[row for row in page.rows if row.record_id not in spill.ids]))
    expected = client.count(object_name)
    return Found(spill.table(), frozenset(spill.ids), began, expected)


def _lay_down(spill: Spill, page: Page) -> None:
    rows = collect([page], _read, VOLATILE).table()
    if rows is not None:
        spill.add(rows)


def even_numbers(pages: Iterable[Page]) -> Iterator[Page]:
    """Give the same pages with all numbers of one kind, for their hash: the texts stay as they came.

    A query says 100 where a job says 100.0 (second hand: docs.celigo.com, "Salesforce Bulk API 2.0 Guide", read
    2026-11-28), and a row that only came another way has not changed.
    """
    for page in pages:
        yield replace(page, rows=[replace(row, body=_even(row.body)) for row in page.rows])


def _even(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Decimal(value) if type(value) is int else value for name, value in body.items()}


def _read_undeleted(row: Row) -> tuple[datetime, bool]:
    """Read a row of an object that knows no recycle bin."""
    return _read(replace(row, body={**row.body, "IsDeleted": False}))


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

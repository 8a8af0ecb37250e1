"""sObject Collections: up to 200 records a call, answered row by row with 200 also where rows failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sandbox.salesforce import rows
from sandbox.salesforce.errors import Refused, WholeRequest
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.org import Org
from sandbox.salesforce.reading import Reading, render, whole_shape
from sandbox.salesforce.rows import Saved, Writing
from sandbox.salesforce.rules import Locked

MOST = 200
ROLLED_BACK = Refused(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
)
Row = dict[str, Any]
Action = Callable[[Row], Saved]


def create_many(writing: Writing, records: Sequence[Row], *, all_or_none: bool) -> list[Row]:
    return _each(writing.org, records, lambda r: rows.create(writing, _type(r), r), all_or_none, told=_plain)


def update_many(writing: Writing, records: Sequence[Row], *, all_or_none: bool) -> list[Row]:
    def change(record: Row) -> Saved:
        record_id = next((value for name, value in record.items() if name.lower() == "id"), None)
        if not record_id:
            raise Refused("MISSING_ARGUMENT", "Id not specified in an update call")
        rest = {name: value for name, value in record.items() if name.lower() != "id"}
        return rows.update(writing, _type(record), str(record_id), rest)

    return _each(writing.org, records, change, all_or_none, told=_plain)


def upsert_many(
    writing: Writing, kind: str, field: str, records: Sequence[Row], *, all_or_none: bool
) -> list[Row]:
    """One object, by external id; two records of a call with one external id are refused (unconfirmed)."""
    sobject = rows.writable(writing, kind, "updateable")
    key = rows.external_key(writing.org, sobject, field)
    values = [str(value).strip().casefold() for record in records if (value := _value(record, key.name))]

    def put(record: Row) -> Saved:
        if _type(record) != sobject.name:
            raise Refused("INVALID_TYPE", f"the record is no {sobject.name}")
        value = _value(record, key.name)
        if not value:
            raise Refused("MISSING_ARGUMENT", f"{key.name} not specified", fields=[])
        if values.count(str(value).strip().casefold()) > 1:
            raise Refused("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", fields=[key.name])
        rest = {name: value for name, value in record.items() if name.lower() != key.name.lower()}
        try:
            return rows.upsert(writing, sobject.name, key, str(value), rest)
        except rows.ManyMatches as error:
            message = f"{key.name}: more than one record found for external id field: {error.record_ids}"
            raise Refused("DUPLICATE_EXTERNAL_ID", message, fields=[]) from None

    return _each(writing.org, records, put, all_or_none, told=_upserted)


def delete_many(writing: Writing, record_ids: Sequence[str], *, all_or_none: bool) -> list[Row]:
    def remove(record: Row) -> Saved:
        found = full_id(record["id"])
        kind = writing.org.schema.kind_of(found) if found else None
        if kind is None:
            raise Refused("MALFORMED_ID", f"malformed id {record['id']}", fields=[])
        return rows.delete(writing, kind, record["id"])

    return _each(writing.org, [{"id": one} for one in record_ids], remove, all_or_none, told=_plain)


def retrieve_many(reading: Reading, kind: str, record_ids: Sequence[str], fields: Sequence[str]) -> list[Any]:
    """Records in the order of their ids; null for one that is not there."""
    sobject = reading.object(kind)
    if sobject is None:
        raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
    if not fields:
        raise Refused("MISSING_ARGUMENT", "fields not specified")
    shape = whole_shape(sobject, [*dict.fromkeys(["Id", *fields])])
    found = [reading.org.get(sobject.name, full_id(one) or "") for one in record_ids]
    return [render(reading, shape, body) if body and not body.get("IsDeleted") else None for body in found]


def check_size(records: Sequence[Any]) -> None:
    if len(records) > MOST:
        message = f"record limit reached. cannot submit more than {MOST} records into this call"
        raise Refused("EXCEEDED_ID_LIMIT", message)


def _each(
    org: Org, records: Sequence[Row], action: Action, all_or_none: bool, *, told: Callable[[Saved], Row]
) -> list[Row]:
    """Do every record in a savepoint of its own; the replies stand in the order of the records."""
    check_size(records)
    try:
        with org.store.transaction():
            replies = [_one(org, record, action, told) for record in records]
            if all_or_none and not all(reply["success"] for reply in replies):
                raise _Undo(replies)
    except _Undo as undone:
        return [ROLLED_BACK.row() if reply["success"] else reply for reply in undone.replies]
    return replies


class _Undo(Exception):
    def __init__(self, replies: list[Row]) -> None:
        super().__init__()
        self.replies = replies


def _one(org: Org, record: Row, action: Action, told: Callable[[Saved], Row]) -> Row:
    try:
        with org.store.transaction():
            return told(action(record))
    except WholeRequest:
        raise
    except Refused as error:
        if isinstance(error, Locked):
            error.count_down(org)
        return error.row()


def _plain(saved: Saved) -> Row:
    return {"id": saved.record_id, "success": True, "errors": []}


def _upserted(saved: Saved) -> Row:
    return {**_plain(saved), "created": saved.created}


def _type(record: Row) -> str:
    attributes = record.get("attributes")
    kind = attributes.get("type") if isinstance(attributes, dict) else None
    if not kind:
        raise WholeRequest("INVALID_TYPE", "a record needs attributes with its type")
    return str(kind)


def _value(record: Row, field: str) -> Any:
    return next((value for name, value in record.items() if name.lower() == field.lower()), None)

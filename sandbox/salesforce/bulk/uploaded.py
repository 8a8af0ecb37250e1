"""What becomes of the rows of an upload: each is written by the rules of every other write, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.salesforce import collections, rows
from sandbox.salesforce.bulk import tables
from sandbox.salesforce.bulk.jobs import Job
from sandbox.salesforce.errors import Refused, WholeRequest
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.org import Org, stamp_of
from sandbox.salesforce.reading import no_such_column
from sandbox.salesforce.rows import Writing
from sandbox.salesforce.schema import NUMBERS, Field

NULL = "#N/A"  # doc: an empty value is passed over, this one clears
XSD = {"date": "date", "datetime": "dateTime", "boolean": "boolean", "int": "int"}
BOOLEANS = {"1": "true", "0": "false"}

Result = tuple[str, str, str]  # id, created ("true", "false"), error ("" where the row was written)


def write(org: Org, job: Job, piece: list[tables.Row]) -> list[Result]:
    """Each row's result, in the order of the piece."""
    writing = Writing(org, job.session, job.version)
    results: dict[int, Result] = {}
    good: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(piece):
        try:
            good[number] = _record(org, job, row)
        except Refused as error:
            results[number] = (_given_id(job, row), "false", _error(error.code, error.message, error.fields))
    for numbers, action in _actions(writing, job, good):
        try:
            replies = action()
        except WholeRequest as error:
            replies = [error.row()] * len(numbers)
        for number, reply in zip(numbers, replies, strict=True):
            results[number] = _result(job, piece[number], reply)
    return [results[number] for number in range(len(piece))]


def _actions(writing: Writing, job: Job, good: dict[int, dict[str, Any]]) -> Iterator[tuple[list[int], Any]]:
    """What is called for which rows of a piece. An upsert by Id creates the rows that have none."""

    def ids(numbers: list[int]) -> list[str]:
        return [str(good[number].get("Id") or "") for number in numbers]

    def records(numbers: list[int]) -> list[dict[str, Any]]:
        return [good[number] for number in numbers]

    everyone = list(good)
    if job.operation == "upsert" and job.key != "Id":
        yield (
            everyone,
            lambda: collections.upsert_many(
                writing, job.object, str(job.key), records(everyone), all_or_none=False
            ),
        )
    elif job.operation in ("delete", "hardDelete"):
        yield everyone, lambda: _delete(writing, job, ids(everyone))
    else:
        fresh = [n for n in good if job.operation == "insert" or (job.key == "Id" and not good[n].get("Id"))]
        known = [n for n in good if n not in set(fresh)]
        yield known, lambda: collections.update_many(writing, records(known), all_or_none=False)
        yield fresh, lambda: collections.create_many(writing, records(fresh), all_or_none=False)


def _delete(writing: Writing, job: Job, record_ids: list[str]) -> list[dict[str, Any]]:
    replies = collections.delete_many(writing, record_ids, all_or_none=False)
    for reply in replies:
        if job.operation == "hardDelete" and reply["success"]:
            rows.purge(writing, reply["id"])
    return replies


# -- one row


def _record(org: Org, job: Job, row: tables.Row) -> dict[str, Any]:
    """A row as the fields of a record; values of the wrong type are refused as Bulk API words it."""
    sobject = org.schema.object(job.object)
    assert sobject is not None
    record: dict[str, Any] = {"attributes": {"type": job.object}}
    for at, (name, value) in enumerate(zip(job.columns or [], row, strict=True)):
        relation, _, leaf = name.rpartition(".")
        reference = sobject.through(relation) if relation else None
        if value == "":
            continue
        if reference is not None and value == NULL:
            record[reference.name] = None
        elif reference is not None:
            record[relation] = {leaf: value}
        else:
            f = sobject.field(name)
            if f is None:  # it went away since the header was looked at
                raise Refused("INVALID_FIELD", no_such_column(name, sobject, "entity"))
            record[f.name] = None if value == NULL else _typed(f, value, at)
    if job.operation != "insert" and (record_id := record.get("Id")):
        _check_id(org, job, str(record_id))
    return record


def _check_id(org: Org, job: Job, record_id: str) -> None:
    found = full_id(record_id)
    if found and org.schema.kind_of(found) != job.object:  # unconfirmed: refused as an id that there is not
        raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[])


def _typed(f: Field, value: str, at: int) -> str:
    """Recorded: text and code for a value that is not of the column's type."""
    text = value.strip()
    try:
        if f.type == "date":
            date.fromisoformat(text[:10])
            fits = re.fullmatch(r"\d{4}-\d\d-\d\d(Z|T.*)?", text) is not None
        elif f.type == "datetime":
            stamp_of(text)
            fits = True
        elif f.type == "boolean":
            text = BOOLEANS.get(text, text.lower())
            fits = text in ("true", "false")
        else:
            fits = f.type not in NUMBERS or Decimal(text).is_finite()
    except (ValueError, InvalidOperation):
        fits = False
    if not fits:
        kind = XSD.get(f.type, "double")
        message = f"'{value}' is not a valid value for the type xsd:{kind}"
        raise Refused(
            "INVALID_FIELD", f"Failed to deserialize field at col {at}. Due to, {message}", fields=[f.name]
        )
    return value if f.type not in XSD and f.type not in NUMBERS else text


def _result(job: Job, row: tables.Row, reply: dict[str, Any]) -> Result:
    if reply["success"]:
        made = job.operation == "insert" or (job.key == "Id" and not _named_id(job, row))
        created = reply.get("created", made)
        return reply["id"], "true" if created else "false", ""
    first = reply["errors"][0]
    return _given_id(job, row), "false", _error(first["statusCode"], first["message"], first["fields"])


def _given_id(job: Job, row: tables.Row) -> str:
    """The id that a refused row named: failedResults has it from version 53.0 on (doc)."""
    value = _named_id(job, row)
    return (full_id(value) or value) if Decimal(job.version) >= 53 else ""


def _named_id(job: Job, row: tables.Row) -> str:
    names = [name.lower() for name in job.columns or []]
    return row[names.index("id")] if "id" in names else ""


def _error(code: str, message: str, fields: list[str] | None) -> str:
    """Recorded: CODE:text:fields, and two dashes."""
    named = ", ".join(fields or [])
    return f"{code}:{message}:{named} --" if named else f"{code}:{message}:--"

"""Makes Salesforce's requests of intents, and reads from a reply what became of each.

Updates by Id and creates by upsert on the external id, both as collections of up to 200 with
allOrNone=false: an HTTP 200 tells nothing, each row has its own fate. With the guard `record` an update of what
people edit goes as a subrequest of a composite, up to 25 in one call, each on the condition that nobody has
touched its record since it was looked at. A subrequest takes every header that its resource takes, with
If-Modified-Since as the documentation's own example (api_rest, requests_composite and
intro_rest_conditional_requests). New records, and updates of fields that only we write, go as an ingest job where
they are many (`ingest.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import groupby
from typing import Any, Final

from pipelines import exact
from pipelines.intents import Intent, Request, Verdict, without_values
from pipelines.salesforce import ingest
from pipelines.settings import Push
from reconcile.bodies import dumps
from reconcile.ids import long_id

SIDE: Final = "salesforce"
PATH: Final = "composite/sobjects"
GUARDED: Final = "composite"  # each record on a condition of its own
AT_ONCE: Final = 200
GUARDED_AT_ONCE: Final = 25
REFERENCE: Final = "@{"
BUSY: Final = frozenset({"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
GONE: Final = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"})
THERE_ALREADY: Final = frozenset({"DUPLICATE_VALUE", "DUPLICATE_EXTERNAL_ID"})


def requests(intents: Sequence[Intent], how: Push | None = None) -> list[Request]:
    """Give the requests that carry these intents, by object and action: at most 200, or 25 guarded, in each.

    From `how.bulk_from_rows` on they are jobs, of as many as fit.
    """
    made: list[Request] = []
    ordered = sorted(intents, key=_order)
    if how is not None and how.guard == "record":
        edited = [one for one in ordered if _takes_condition(one)]
        ordered = [one for one in ordered if not _takes_condition(one)]
        for at in range(0, len(edited), GUARDED_AT_ONCE):
            batch = tuple(edited[at : at + GUARDED_AT_ONCE])
            made.append(Request(SIDE, "POST", GUARDED, "", b"", batch))
    for (object_name, action), found in groupby(ordered, key=lambda i: (i.object, i.action)):
        some = list(found)
        able = ingest.fitting(some) if how is not None and len(some) >= how.bulk_from_rows else []
        if how is not None and able and len(able) >= how.bulk_from_rows:
            made += ingest.requests(able)
            taken = {one.intent_id for one in able}
            some = [one for one in some if one.intent_id not in taken]
        for at in range(0, len(some), AT_ONCE):
            batch = tuple(some[at : at + AT_ONCE])
            path = PATH if action == "update" else f"{PATH}/{object_name}/{batch[0].key_field}"
            made.append(Request(SIDE, "PATCH", path, "", _body(batch), batch))
    return made


def _takes_condition(intent: Intent) -> bool:
    # A composite would read that text as a reference to another subrequest's reply.
    return intent.is_edited and REFERENCE not in dumps(intent.body)


def is_guarded(request: Request) -> bool:
    """Say whether each record of a request is written on a condition of its own."""
    return request.path == GUARDED


def guarded(request: Request, root: str, stamp: Callable[[str, str, str], datetime | None]) -> Request:
    """Give a request with the bytes that leave: the condition on which each record may be written is one of them.

    root: /services/data/vXX.X/; stamp: (side, object, id) -> since when the record has not changed. Salesforce
    compares whole seconds: an edit in the very second of that moment passes (`push` looks again when it is over).
    """
    if not is_guarded(request):
        return request
    asked = [
        _subrequest(intent, place, root, stamp(SIDE, intent.object, intent.record_id or ""))
        for place, intent in enumerate(request.intents)
    ]
    content = {"allOrNone": False, "compositeRequest": asked}
    return replace(request, body=dumps(content, sort=False).encode())


def _subrequest(intent: Intent, place: int, root: str, seen: datetime | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "method": "PATCH",
        "url": f"{root}sobjects/{intent.object}/{intent.record_id}",
        "referenceId": f"r{place}",
    }
    if seen is not None:
        as_of = format_datetime(seen.astimezone(UTC).replace(microsecond=0), usegmt=True)
        made["httpHeaders"] = {"If-Unmodified-Since": as_of}
    return {**made, "body": dict(sorted(intent.body.items()))}


def _order(intent: Intent) -> tuple[str, ...]:
    # Rows of one parent side by side: Salesforce locks the parent for each.
    return (intent.object, intent.action, str(intent.body.get("AccountId") or ""))


def _body(batch: Sequence[Intent]) -> bytes:
    content = {"allOrNone": False, "records": [_record(intent) for intent in batch]}
    return dumps(content, sort=False).encode()


def _record(intent: Intent) -> dict[str, Any]:
    # The type first, as every example of Salesforce has it; the rest in an order that never varies.
    own = {"id": intent.record_id} if intent.record_id else {}
    return {"attributes": {"type": intent.object}, **own, **dict(sorted(intent.body.items()))}


def read(request: Request, status: int, body: bytes) -> list[Verdict]:
    """Give a verdict for each intent of a request: the rows stand in the order of the records."""
    told = _parsed(body)
    if request.path == GUARDED and isinstance(told, dict):
        told = told.get("compositeResponse")
    rows = told if isinstance(told, list) else None
    if status in (200, 201) and rows is not None:
        verdict = _read_guarded if request.path == GUARDED else _read_row
        return [verdict(intent, place, _at(rows, place)) for place, intent in enumerate(request.intents)]
    if 400 <= status < 500:
        return _refused_whole(request, status, rows or [])
    return [Verdict("unknown", message=f"HTTP {status}") for _ in request.intents]


def read_job(request: Request, found: ingest.Results, *, untouched: bool) -> list[Verdict]:
    """Read, for each intent of a request, what its job tells of its row.

    untouched: what the job left is certainly not written; else it may have been at it when it was ended.
    """
    told = ingest.by_key(found, ingest.column_of(request.intents[0]))
    return [_read_told(one, told.get(ingest.key_of(one), []), untouched) for one in request.intents]


def _read_told(intent: Intent, told: Sequence[tuple[str, dict[str, str]]], untouched: bool) -> Verdict:
    if len(told) != 1:
        return Verdict(
            "unknown", message="the job tells nothing of it" if not told else "the job tells two things"
        )
    place, row = told[0]
    if place == "left":
        why = "the job did not come to it"
        return Verdict("again" if untouched else "unknown", message=why)
    if place == "refused":
        return _refused(intent, [_told_error(row.get("sf__Error", ""))])
    made = {"true": True, "false": False}.get(row.get("sf__Created", "").lower())
    return _read_row(intent, 0, {"id": row.get("sf__Id"), "success": True, "created": made})


def _told_error(text: str) -> dict[str, Any]:
    """Take CODE:what is wrong:Field, Field -- apart, as a job tells of a row. Recorded."""
    code, _, rest = text.partition(":")
    said, _, named = rest.rpartition(":")
    fields = [name for name in re.split(r"[,\s]+", named.removesuffix("--")) if name]
    return {"statusCode": code.strip(), "message": said, "fields": fields}


def _read_guarded(intent: Intent, place: int, row: dict[str, Any] | None) -> Verdict:
    """Read the answer to one subrequest: 204 without a body is its only success."""
    if row is None or row.get("referenceId") != f"r{place}":
        return Verdict("unknown", message="the reply does not tell of it")
    status, told = row.get("httpStatusCode"), row.get("body")
    errors = told if isinstance(told, list) else []
    if status == 204:
        return Verdict("confirmed", intent.record_id)
    if status == 412:
        # Whoever it was (a write of ours that was lost may come late): the next look says what is left to do.
        return Verdict("again", message="somebody changed the record since it was looked at")
    if status == 404:
        return Verdict("overtaken", message="the record is not there any more")
    if isinstance(status, int) and 400 <= status < 500:
        return _refused(intent, errors) if errors else Verdict("rejected", message=f"refused, HTTP {status}")
    return Verdict("unknown", message=f"HTTP {status}" if isinstance(status, int) else "no status")


def _parsed(body: bytes) -> Any:
    try:
        return exact.parse(body.decode("utf-8-sig"))
    except ValueError:
        return None


def _at(rows: Sequence[Any], place: int) -> dict[str, Any] | None:
    found = rows[place] if place < len(rows) else None
    return found if isinstance(found, dict) else None


def _read_row(intent: Intent, place: int, row: dict[str, Any] | None) -> Verdict:
    if row is None or not isinstance(row.get("success"), bool):
        return Verdict("unknown", message="the reply does not tell of it")
    found = row.get("id")
    record_id = long_id(found) if isinstance(found, str) and found else None
    if intent.record_id and record_id and record_id != long_id(intent.record_id):
        return Verdict("unknown", message="the reply tells of another record")
    if not row["success"]:
        return _refused(intent, row.get("errors") or [])
    if record_id is None:
        return Verdict("unknown", message="the reply names no record")
    if intent.action == "create" and row.get("created") is False:
        # Between the look and the write somebody made it; the values are ours now all the same.
        return Verdict("confirmed", record_id, message="it was there already, and was updated")
    return Verdict("confirmed", record_id)


def _refused(intent: Intent, errors: Sequence[Any]) -> Verdict:
    told = [error for error in errors if isinstance(error, dict)]
    codes = {str(error.get("statusCode") or error.get("errorCode") or "") for error in told}
    message = "; ".join(_message(intent, error) for error in told) or "refused without a reason"
    if codes & BUSY:
        return Verdict("again", message=message)
    if codes & GONE and intent.action == "update" and not any(error.get("fields") for error in told):
        return Verdict("overtaken", message=message)
    if codes & THERE_ALREADY and intent.action == "create":
        return Verdict("exists", message=message)
    return Verdict("rejected", message=message)


def _message(intent: Intent, error: dict[str, Any]) -> str:
    code = str(error.get("statusCode") or error.get("errorCode") or "")
    code = code if re.fullmatch(r"[A-Z_]{3,80}", code) else "error"
    names = [name for name in error.get("fields") or [] if re.fullmatch(r"[A-Za-z]\w{0,79}", str(name))]
    where = f" ({', '.join(names)})" if names else ""
    said = re.sub(
        r"\b(?=[A-Za-z]*[0-9])[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?\b", "…", str(error.get("message") or "")
    )
    return f"{code}{where}: {without_values(said, intent.body)}"


def _refused_whole(request: Request, status: int, rows: Sequence[Any]) -> list[Verdict]:
    """Read a refusal of the whole collection: alone it is the intent's own, else each goes by itself."""
    if len(request.intents) > 1:
        return [Verdict("apart", message=f"HTTP {status}") for _ in request.intents]
    verdict = _refused(request.intents[0], rows)
    return [verdict if rows else Verdict("rejected", message=f"refused with HTTP {status}")]

"""Makes Salesforce's requests of intents, and reads from a reply what became of each.

Updates by Id and creates by upsert on the external id, both as collections of up to 200 with
allOrNone=false: an HTTP 200 tells nothing, each row has its own fate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from pipelines import exact
from pipelines.intents import Intent, Request, Verdict, without_values
from reconcile.ids import long_id

SIDE: Final = "salesforce"
PATH: Final = "composite/sobjects"
AT_ONCE: Final = 200
BUSY: Final = frozenset({"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
GONE: Final = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"})
THERE_ALREADY: Final = frozenset({"DUPLICATE_VALUE", "DUPLICATE_EXTERNAL_ID"})


def requests(intents: Sequence[Intent]) -> list[Request]:
    """Give the requests that carry these intents: by object and action, at most 200 in each."""
    made = []
    for (object_name, action), found in groupby(
        sorted(intents, key=_order), key=lambda i: (i.object, i.action)
    ):
        some = list(found)
        for at in range(0, len(some), AT_ONCE):
            batch = tuple(some[at : at + AT_ONCE])
            path = PATH if action == "update" else f"{PATH}/{object_name}/{batch[0].key_field}"
            made.append(Request(SIDE, "PATCH", path, "", _body(batch), batch))
    return made


def _order(intent: Intent) -> tuple[str, ...]:
    # Rows of one parent side by side: Salesforce locks the parent for each.
    return (intent.object, intent.action, str(intent.body.get("AccountId") or ""))


def _body(batch: Sequence[Intent]) -> bytes:
    content = {"allOrNone": False, "records": [_record(intent) for intent in batch]}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _record(intent: Intent) -> dict[str, Any]:
    # The type first, as every example of Salesforce has it; the rest in an order that never varies.
    own = {"id": intent.record_id} if intent.record_id else {}
    return {"attributes": {"type": intent.object}, **own, **dict(sorted(intent.body.items()))}


def read(request: Request, status: int, body: bytes) -> list[Verdict]:
    """Give a verdict for each intent of a request: the rows stand in the order of the records."""
    rows = _rows(body)
    if status in (200, 201) and rows is not None:
        return [_verdict(intent, _at(rows, place)) for place, intent in enumerate(request.intents)]
    if 400 <= status < 500:
        return _refused_whole(request, status, rows or [])
    return [Verdict("unknown", message=f"HTTP {status}") for _ in request.intents]


def _rows(body: bytes) -> list[Any] | None:
    try:
        parsed = exact.parse(body.decode("utf-8-sig"))
    except ValueError:
        return None
    return parsed if isinstance(parsed, list) else None


def _at(rows: Sequence[Any], place: int) -> dict[str, Any] | None:
    found = rows[place] if place < len(rows) else None
    return found if isinstance(found, dict) else None


def _verdict(intent: Intent, row: dict[str, Any] | None) -> Verdict:
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

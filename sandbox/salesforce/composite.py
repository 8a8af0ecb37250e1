"""Several calls in one: composite (with references, all or none) and batch (each for itself)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sandbox import exact
from sandbox.salesforce.errors import Refused

if TYPE_CHECKING:
    from sandbox.salesforce.resources import Answer, Call

MOST = 25
REFERENCE = re.compile(r"@\{(\w+)\.([\w.\[\]]+)\}")
Run = Callable[["Call"], "Answer"]


def run(call: Call, answer: Run) -> dict[str, Any]:
    """HTTP 200 with a status for each; with allOrNone one failure undoes and halts all the others (doc)."""
    asked = _requests(call, "compositeRequest")
    if call.fault == "partial":  # the server breaks off half-way; the 500 is made by the app
        asked = asked[: len(asked) // 2]
    replies: list[dict[str, Any]] = []
    try:
        with call.org.store.transaction():
            for one in asked:
                replies.append(_sub(call, one, replies, answer))
                if call.fields.get("allOrNone") is True and replies[-1]["httpStatusCode"] >= 400:
                    raise _Halted
    except _Halted:
        replies = [_halted(one, replies, at) for at, one in enumerate(asked)]
    return {"compositeResponse": replies}


class _Halted(Exception):
    pass


def _sub(call: Call, one: dict[str, Any], replies: list[dict[str, Any]], answer: Run) -> dict[str, Any]:
    known = {reply["referenceId"]: reply["body"] for reply in replies}
    try:
        url = _filled(one["url"], known)
        body = exact.loads(_filled(exact.dumps(one.get("body")), known))
    except Refused as error:  # it refers to one that failed: this call fails, and the rest goes on (doc)
        return _reply(one, error.body(), error.status)
    found = answer(call.sub(one["method"], url, body, one.get("httpHeaders", {})))
    return _reply(one, found.body, found.status, found.headers)


def _reply(
    one: dict[str, Any], body: Any, status: int, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "body": body,
        "httpHeaders": headers or {},
        "httpStatusCode": status,
        "referenceId": one["referenceId"],
    }


def _filled(text: str, known: dict[str, Any]) -> str:
    """References like @{new.id} replaced by what the earlier call gave."""

    def value(found: re.Match[str]) -> str:
        current = known.get(found[1])
        for step in re.findall(r"\w+", found[2]):
            try:
                current = current[int(step)] if isinstance(current, list) else (current or {})[step]
            except (KeyError, IndexError, ValueError):
                message = f"Invalid reference specified. No value for {found[1]}.{found[2]} found"
                raise Refused("PROCESSING_HALTED", message) from None
        return str(current)

    return REFERENCE.sub(value, text)


def _halted(one: dict[str, Any], replies: list[dict[str, Any]], at: int) -> dict[str, Any]:
    if at == len(replies) - 1:
        return replies[at]
    message = "The transaction was rolled back since another operation in the same transaction failed."
    body = [{"errorCode": "PROCESSING_HALTED", "message": message}]
    return _reply(one, body, 400)


def run_batch(call: Call, answer: Run) -> dict[str, Any]:
    """Each call counts against the limits and stands alone; haltOnError stops at the first failure (doc)."""
    results: list[dict[str, Any]] = []
    failed = False
    asked = _requests(call, "batchRequests")
    call.usage.count(len(asked))
    for one in asked:
        if failed and call.fields.get("haltOnError") is True:
            message = "Batch processing halted per request"
            results.append(
                {"statusCode": 412, "result": [{"errorCode": "BATCH_PROCESSING_HALTED", "message": message}]}
            )
            continue
        url = "/services/data/" + one["url"].removeprefix("/services/data/").lstrip("/")
        found = answer(call.sub(one["method"], url, one.get("richInput"), {}))
        failed = failed or found.status >= 400
        results.append({"statusCode": found.status, "result": found.body})
    return {"hasErrors": failed, "results": results}


def _requests(call: Call, key: str) -> list[dict[str, Any]]:
    asked = call.fields.get(key)
    if not isinstance(asked, list) or not asked:
        raise Refused("JSON_PARSER_ERROR", f"The request needs {key}")
    if len(asked) > MOST:
        raise Refused("LIMIT_EXCEEDED", f"no more than {MOST} requests in a call: {len(asked)}")
    return asked

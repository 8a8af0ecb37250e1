"""How Xero spells things: envelopes, dates, refusals. Builds replies, decides nothing."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from starlette.responses import Response

from sandbox import exact
from sandbox.clock import from_ms, to_ms
from sandbox.store import Body

JSON = "application/json; charset=utf-8"
PROVIDER = "Reconcile sandbox"
CALLER: ContextVar[str] = ContextVar("caller", default=PROVIDER)  # the name of the app that is answered
NO_ID = "00000000-0000-0000-0000-000000000000"  # recorded: the id of an element that was not created

MS_DATE = re.compile(r"^/Date\((-?\d+)([+-]\d{4})?\)/$")


class Refused(Exception):
    """The request ends with this reply, and nothing that it did so far stays."""

    def __init__(self, reply: Response) -> None:
        self.reply = reply
        super().__init__(f"refused with {reply.status_code}")


def ms_date(ms: int) -> str:
    """recorded: `/Date(1789378199100+0000)/`, milliseconds, always +0000."""
    return f"/Date({ms}+0000)/"


def read_ms_date(text: str) -> int:
    """Milliseconds of a date as clients spell it: /Date(..)/, ISO with or without zone, or RFC 1123."""
    found = MS_DATE.match(text)
    if found:
        return int(found[1])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def ok(key: str, elements: list[Body], now_ms: int, *, pagination: Body | None = None) -> Response:
    """recorded: envelope; DateTimeUTC has no offset; `pagination` stands before the list.

    ProviderName is the name of the app that asks.
    """
    body: Body = {
        "Id": str(uuid.uuid4()),
        "Status": "OK",
        "ProviderName": CALLER.get(),
        "DateTimeUTC": f"/Date({now_ms})/",
    }
    if pagination is not None:
        body["pagination"] = pagination
    return json_reply(200, {**body, key: elements})


def json_reply(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    text = exact.dumps(body, separators=(",", ":"))
    return _typed(Response(text, status, headers=headers), JSON)


def _typed(reply: Response, content_type: str | None) -> Response:
    if "content-type" in reply.headers:
        del reply.headers["content-type"]
    if content_type is not None:
        reply.headers["content-type"] = content_type
    return reply


def bare(status: int, headers: dict[str, str] | None = None) -> Response:
    """recorded (429): no body and no content type."""
    return _typed(Response(b"", status, headers=headers), None)


def not_found() -> Response:
    """recorded: 404 is text/html without a body."""
    return _typed(Response(b"", 404), "text/html; charset=utf-8")


def invalid(elements: list[Body]) -> Response:
    """recorded: the whole request is refused with its elements."""
    return json_reply(
        400,
        {
            "ErrorNumber": 10,
            "Type": "ValidationException",
            "Message": "A validation exception occurred",
            "Elements": elements,
        },
    )


def refusal(number: int, kind: str, message: str) -> Response:
    """spec: 16 QueryParseException; unconfirmed: 14 PostDataInvalidException, 17 NoDataProcessedException."""
    return json_reply(400, {"ErrorNumber": number, "Type": kind, "Message": message})


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """second hand: 401 and 403 as seen in several issue threads."""
    body: Body = {
        "Type": None,
        "Title": {401: "Unauthorized", 403: "Forbidden"}[status],
        "Status": status,
        "Detail": detail,
        "Instance": str(uuid.uuid4()),
        "Extensions": {},
    }
    return json_reply(status, body, headers)


def expired(at_ms: int) -> Response:
    """second hand: the detail begins with `TokenExpired`."""
    return problem(401, f"TokenExpired: token expired at {from_ms(at_ms):%m/%d/%Y %H:%M:%S}")


def server_error() -> Response:
    """unconfirmed: the body of a 500."""
    return json_reply(
        500, {"ErrorNumber": 500, "Type": "InternalServerError", "Message": "An error occurred"}
    )

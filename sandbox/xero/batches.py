"""Answers a write of several elements: 400 for the whole, or each by itself; and the faults that go by element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox import exact
from sandbox.dialect import Dialect
from sandbox.store import Body
from sandbox.wiretap import fault_kind
from sandbox.xero import wire
from sandbox.xero.books import Books, Write, Written
from sandbox.xero.wire import Refused


@dataclass(frozen=True)
class Family:
    """How one kind of record is told of.

    key: of the list. errors: the flag of a refused element. shown: a written record, with its
    StatusAttributeString if any. refused: what was sent, the id or None, the errors, the status.
    """

    key: str
    errors: str
    shown: Callable[[Body, str | None], Body]
    refused: Callable[[Body, str | None, list[str], str | None], Body]


def read(request: Request, key: str) -> list[Body]:
    """The elements of a body: under their key (in any case), or one alone."""
    try:
        body: Any = exact.loads(request.state.body)
    except ValueError:
        raise Refused(
            wire.refusal(14, "PostDataInvalidException", "The request body is not valid JSON.")
        ) from None
    if isinstance(body, dict):
        body = next(
            (value for name, value in body.items() if name.lower() == key.lower()), [body] if body else []
        )
    elements = [one for one in body if isinstance(one, dict)] if isinstance(body, list) else []
    if not elements:
        raise Refused(
            wire.refusal(17, "NoDataProcessedException", "No data has been processed for this endpoint.")
        )
    return elements


def answer(request: Request, elements: list[Body], write: Write, family: Family, books: Books) -> Response:
    """Write the elements and tell what became of each."""
    kind = fault_kind(request)
    if kind == "partial":
        elements = elements[: len(elements) // 2]
    # recorded: by default the errors are summed up, whatever the spec says
    summarise = request.query_params.get("summarizeErrors", "true").lower() != "false"
    with books.store.transaction():
        results = write(elements)
        failed = [result for result in results if result.errors]
        if failed and summarise:
            return _refuse(results, failed, family, books.dialect)
    status = None if summarise else "OK"
    rows = [
        family.shown(result.record, status)
        if result.record is not None
        else family.refused(result.sent, result.record_id, result.errors, "ERROR")
        for result in results
    ]
    rows = {"short": rows[:-1], "reordered": rows[::-1]}.get(kind or "", rows)
    return wire.ok(family.key, rows, books.clock.now_ms())


def _refuse(results: list[Written], failed: list[Written], family: Family, dialect: Dialect) -> Response:
    shown = failed if dialect["error_elements"] == "failed" else results
    rows = [
        family.refused(result.sent, result.record_id, result.errors, None)
        if result.errors
        else {**family.refused(result.sent, result.record_id, [], None), family.errors: False}
        for result in shown
    ]
    reply = wire.invalid(rows)
    if dialect["failed_batch"] == "saves_nothing":
        raise Refused(reply)
    return reply

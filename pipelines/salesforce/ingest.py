"""Writes many rows of one object by an ingest job of Bulk API 2.0: makes it, closes it, asks it, reads what it did.

A job applies nothing until it is closed. Of each row it tells what became of it, in no order: rows are found again by
our own key, a column of the upload that the results repeat. Whoever decides on it all is `pipelines/job_delivery.py`.
Source: developer.salesforce.com, Bulk API 2.0, ingest jobs (facts read 2026-11-24).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

import httpx

from pipelines.extract import TRIES
from pipelines.intents import Intent, Request
from pipelines.protocol import Job
from pipelines.salesforce.auth import SIDE
from pipelines.salesforce.bulk import FORM
from pipelines.salesforce.client import SalesforceClient, error_codes, read_error
from pipelines.wire import Reply, read_json, server_time
from reconcile.bodies import dumps
from reconcile.errors import OutcomeUnknown, UnexpectedReply
from reconcile.price import ROWS_A_JOB

if TYPE_CHECKING:
    from collections.abc import Mapping

JOBS: Final = "jobs/ingest"
ID: Final = "Id"
CLEARS: Final = "#N/A"  # a cell that is empty leaves the field as it is
MOST_BYTES: Final = 20 * 1024 * 1024  # results repeat the rows, and a reply may have 64 MiB
LONGEST_TEXT: Final = 32_000
OPEN: Final = "Open"
COMPLETE: Final = "JobComplete"
FAILED: Final = "Failed"
OVER: Final = frozenset({COMPLETE, FAILED, "Aborted"})
GONE: Final = "Gone"  # deleted: that is refused to a job at work
# A line feed may stand in a quoted text. That a carriage return may is unconfirmed, and a whole job would fail for it.
UNFIT: Final = re.compile(r"[\x00-\x08\x0b-\x1f]")


class NoJob(Exception):
    """No job came about that holds the rows, or it is open for ever: nothing was written."""


@dataclass(frozen=True)
class Told:
    """What a job tells of itself: done: rows that were looked at so far; failed: of them."""

    state: str
    done: int = 0
    failed: int = 0


@dataclass
class Results:
    """Rows as a job that is over tells of them, by column; left: those that it did not come to."""

    written: list[dict[str, str]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)


# -- rows


def fitting(intents: Sequence[Intent]) -> list[Intent]:
    """Give the intents that a job can carry, in their order: each with a key of its own, values that CSV can say.

    What people edit stays with the calls that take a condition or follow at once on the look (docs/architecture.md).
    What was tried before goes in small calls, which tell at once and more.
    """
    able = [one for one in intents if not one.is_edited and one.attempt == 1 and _is_flat(one)]
    keys = Counter(key_of(one).casefold() for one in able)
    return [one for one in able if keys[key_of(one).casefold()] == 1]


def key_of(intent: Intent) -> str:
    """Give the value by which a row is found again: the record's id, or of a new one our own key."""
    return intent.record_id or intent.natural_key or ""


def column_of(intent: Intent) -> str:
    return ID if intent.record_id else str(intent.key_field)


def _is_flat(intent: Intent) -> bool:
    # The key as the body has it is what the results repeat.
    known = key_of(intent) and intent.body.get(column_of(intent), key_of(intent)) == key_of(intent)
    return bool(known) and all(map(_fits, intent.body.values()))


def _fits(value: Any) -> bool:
    if isinstance(value, str):
        return value != CLEARS and len(value) <= LONGEST_TEXT and UNFIT.search(value) is None
    return value is None or isinstance(value, (bool, int, float, Decimal))


def requests(intents: Sequence[Intent]) -> list[Request]:
    """Give the requests that carry intents of one object and action: as few as can be, of about one size."""
    parts = -(-len(intents) // ROWS_A_JOB)
    size = -(-len(intents) // parts)
    return [one for at in range(0, len(intents), size) for one in _sized(tuple(intents[at : at + size]))]


def _sized(batch: tuple[Intent, ...]) -> list[Request]:
    body, first = table(batch), batch[0]
    if len(body) > MOST_BYTES and len(batch) > 1:
        half = len(batch) // 2
        return [*_sized(batch[:half]), *_sized(batch[half:])]
    asked = {"object": first.object, "operation": "update" if first.record_id else "upsert"}
    key = {} if first.record_id else {"externalIdFieldName": str(first.key_field)}
    return [Request(SIDE, "PUT", JOBS, urlencode(asked | key), body, batch)]


def table(batch: Sequence[Intent]) -> bytes:
    """Give the rows as CSV: the key first, the other columns by name, each value as JSON would say it."""
    key = column_of(batch[0])
    names = sorted({name for one in batch for name in one.body} - {key})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([key, *names])
    for one in batch:
        cells = (_cell(one.body[name]) if name in one.body else "" for name in names)
        writer.writerow([key_of(one), *cells])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None or value == "":
        return CLEARS
    return value if isinstance(value, str) else dumps(value)


def is_job(request: Request) -> bool:
    """Say whether a request goes as a job."""
    return request.path == JOBS


# -- the job


def make(client: SalesforceClient, request: Request) -> Job:
    """Ask for a job. Raises NoJob where none is known to be there, and as the wire does where nothing was sent.

    One whose reply was lost stays open, writes nothing, and is gone after seven days.
    """
    wanted = json.dumps({**dict(parse_qsl(request.query)), **FORM}).encode()
    reply = _answered(lambda: client.send("POST", JOBS, wanted))
    told = _parsed(reply) if reply.status == 200 else None
    clock = server_time(_response(reply))
    job_id = told.get("id") if told else None
    if not isinstance(job_id, str) or not re.fullmatch(r"750[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", job_id):
        raise NoJob(_refusal(reply))
    if clock is None:
        raise NoJob("no Date header")
    return Job(job_id, clock)


def upload(client: SalesforceClient, job_id: str, rows: bytes) -> None:
    """Give a job its rows. Raises NoJob where it is not known to have them whole, and as the wire does."""
    reply = _answered(lambda: client.send("PUT", f"{JOBS}/{job_id}/batches", rows, content="text/csv"))
    if reply.status != 201:
        raise NoJob(_refusal(reply))


def close(client: SalesforceClient, job_id: str) -> Reply:
    """Let a job begin: the one call after which it may write. Raises as a write does."""
    return client.send("PATCH", f"{JOBS}/{job_id}", b'{"state":"UploadComplete"}')


def abort(client: SalesforceClient, job_id: str) -> Reply:
    """End a job; what it has written stays. Raises as a write does."""
    return client.send("PATCH", f"{JOBS}/{job_id}", b'{"state":"Aborted"}')


def ask(client: SalesforceClient, job_id: str) -> Told:
    """Give how far a job is. Raises UnexpectedReply, and as a read does."""
    reply = client.send("GET", f"{JOBS}/{job_id}", None)
    if reply.status == 404:
        return Told(GONE)
    if reply.status != 200:
        raise read_error(_response(reply), JOBS)
    told = read_json(SIDE, JOBS, reply.body)
    counts = [told.get(f"numberRecords{name}", 0) for name in ("Processed", "Failed")]
    state = told.get("state")
    if not isinstance(state, str) or not all(isinstance(count, int) for count in counts):
        raise UnexpectedReply(side=SIDE, at=JOBS, found="another shape", expected="a job with its state")
    return Told(state, *counts)


def results(client: SalesforceClient, job: Job, told: Told) -> Results:
    """Read of each row what became of it. What the results do not tell of is left out: it has to be looked at.

    Raises UnexpectedReply, and as a read does.
    """
    if told.state == GONE:
        return Results()
    written = _rows(client, job, "successfulResults", told.done - told.failed)
    refused = _rows(client, job, "failedResults", told.failed) if told.failed else []
    left = _rows(client, job, "unprocessedrecords", None) if told.state != COMPLETE else []
    return Results(written, refused, left)


def _rows(client: SalesforceClient, job: Job, which: str, expected: int | None) -> list[dict[str, str]]:
    """Read one of the results, again where it is not whole; gives the most that was readable."""
    best: list[dict[str, str]] = []
    for _ in range(TRIES):
        reply = client.send("GET", f"{JOBS}/{job.job_id}/{which}", None, accept="text/csv")
        if reply.status == 404:
            return best
        if reply.status != 200:
            raise read_error(_response(reply), JOBS)
        rows, whole = _table_of(reply.body)
        best = max(best, rows, key=len)
        if whole and expected in (None, len(rows)):
            return rows
    return best


def _table_of(content: bytes) -> tuple[list[dict[str, str]], bool]:
    """Give the whole rows of a result (UTF-8, whatever its header says), and whether all were whole."""
    rows: list[dict[str, str]] = []
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(reader, [])
        for values in filter(None, reader):
            if len(values) != len(header):
                return rows, False
            rows.append(dict(zip(header, values, strict=True)))
    except (csv.Error, UnicodeDecodeError):
        return rows, False
    return rows, bool(header)


def by_key(found: Results, column: str) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Give, by our own key, what is told of its row: (written, refused or left, row). One that came twice is one."""
    index: dict[str, list[tuple[str, dict[str, str]]]] = {}
    rows = {"written": found.written, "refused": found.refused, "left": found.left}
    for place, some in rows.items():
        for row in some:
            mine = index.setdefault(row.get(column, ""), [])
            if (place, row) not in mine:
                mine.append((place, row))
    return index


def _answered(call: Callable[[], Reply]) -> Reply:
    try:
        return call()
    except OutcomeUnknown:
        raise NoJob("its answer was lost") from None


def _refusal(reply: Reply) -> str:
    codes = error_codes(_response(reply))
    return f"HTTP {reply.status}" + (f" ({', '.join(codes)})" if codes else "")


def _parsed(reply: Reply) -> Mapping[str, Any]:
    try:
        told = json.loads(reply.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _response(reply: Reply) -> httpx.Response:
    return httpx.Response(reply.status, headers=reply.headers, content=reply.body)

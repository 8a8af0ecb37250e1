"""Reads a whole object by a query job of Bulk API 2.0, and gives its rows as a query would have given them."""

from __future__ import annotations

import csv
import io
import json
import mmap
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx

from pipelines import exact
from pipelines.extract import TRIES, arrow_schema
from pipelines.salesforce.auth import SIDE
from pipelines.salesforce.client import LostPlace, SalesforceClient, error_codes, full_id, read_error
from pipelines.wire import Page, Reply, Row, read_json, server_time
from reconcile.errors import FixSettings, RetryLater, UnexpectedReply

if TYPE_CHECKING:
    import pyarrow as pa

JOBS: Final = "jobs/query"
# The first page shows how long rows are; the next ones are as large as is good for the memory. A page may have
# 64 MiB (wire.LARGEST_REPLY), so that the first one bears rows of 64 KiB each.
FIRST_ROWS: Final = 1_000
PAGE_BYTES: Final = 16 * 1024 * 1024
MOST_ROWS: Final = 50_000
ROWS_AT_ONCE: Final = 2_000  # rows that are held as Python objects
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
LONGEST_JOB_S: Final = 4 * 3600.0

FORM: Final = {"contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF"}
WORKING: Final = frozenset({"UploadComplete", "InProgress"})
OVER: Final = frozenset({"Failed", "Aborted"})


@dataclass(frozen=True)
class Bulk:
    """When an object is read by a job, and where its rows lie meanwhile.

    from_rows: an object of so many rows or more. folder: where a file without a name is made, in clear.
    """

    from_rows: int
    folder: Path


@dataclass(frozen=True)
class Job:
    """A query job. made_at: Salesforce's own time; what changes from then on may be in the result or not."""

    job_id: str
    object_name: str
    made_at: datetime


class NoQueryJob(FixSettings):
    """Salesforce makes no query job for this object, this user, or any more today."""

    def __init__(self, *, codes: Sequence[str]) -> None:
        super().__init__(
            f"{SIDE}: Bulk API 2.0 makes no query job here ({', '.join(codes) or 'without a code'}). To read the "
            "object by query instead, set pull.bulk_from_rows above the number of its rows."
        )


class JobUnfinished(RetryLater):
    """A query job takes longer than we wait."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"{SIDE}: query job {job_id} is not done after {LONGEST_JOB_S / 3600:.0f} hours. The previous "
            "snapshot stays in force. Look at Bulk Data Load Jobs in Setup, then run it again."
        )


class _Damaged(Exception):
    """A page of the result is not whole."""


def job_pages(client: SalesforceClient, soql: str, types: Mapping[str, str]) -> Iterator[Page]:
    """Give all rows of an object, deleted and archived ones too, as the pages of a query would.

    Takes a query of fields alone, and the type (describe's) of each of them.
    Gives pages of ROWS_AT_ONCE rows at most, in no order; a row's body and text say what the row of a query says.
    server_time: when the job was made. total: how many rows the job says that it found.
    Raises LostPlace (it failed, was aborted or is gone, or its result is not whole: ask again from the start),
    NoQueryJob, JobUnfinished, RefusedQuery, UnexpectedReply, and as the wire does.
    Source: developer.salesforce.com, Bulk API 2.0, query jobs (facts read 2026-11-24).
    """
    job = create_job(client, soql)
    total, seen = await_job(client, job), 0
    for lines in _result(client, job, sorted(types)):
        rows = _rows(lines, f"{client.root}sobjects/{job.object_name}", job.object_name, types)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            seen += len(some)
            yield Page(some, total, job.made_at, last=False)
    if seen != total:
        raise _lost(job, f"{seen} rows", f"{total}, as the job says")
    yield Page([], total, job.made_at, last=True)


# -- the job


def create_job(client: SalesforceClient, soql: str) -> Job:
    """Ask for a job. Raises as `job_pages`."""
    wanted = json.dumps({"operation": "queryAll", "query": soql, **FORM})
    reply = client.send("POST", JOBS, wanted.encode())
    if reply.status != 200:
        raise _not_made(reply)
    told, clock = _told(reply), server_time(_response(reply))
    job_id, object_name = told.get("id"), told.get("object")
    if not isinstance(job_id, str) or not re.fullmatch(r"750[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", job_id):
        raise UnexpectedReply(side=SIDE, at=JOBS, found="no id of a job", expected="one")
    if clock is None or not isinstance(object_name, str):
        raise UnexpectedReply(side=SIDE, at=JOBS, found="no Date header or no object", expected="both")
    return Job(job_id, object_name, clock)


def _not_made(reply: Reply) -> Exception:
    error = read_error(_response(reply), JOBS)
    # FEATURENOTENABLED, INVALIDENTITY (an object that Bulk API does not read), EXCEEDEDQUOTA ...
    unsorted = reply.status == 400 and type(error) is UnexpectedReply
    return NoQueryJob(codes=error_codes(_response(reply))) if unsorted else error


def await_job(client: SalesforceClient, job: Job) -> int:
    """Ask, with pauses that grow, until the job is complete; gives how many rows it found. Raises as `job_pages`."""
    waited_s, pause_s = 0.0, FIRST_PAUSE_S
    while waited_s < LONGEST_JOB_S:
        told = _told(_read(client, job, ""))
        state, total = told.get("state"), told.get("numberRecordsProcessed")
        if state == "JobComplete" and isinstance(total, int):
            return total
        if state in OVER:
            raise _lost(job, f"{state} ({_reason(told)})", "JobComplete")
        if state not in WORKING:
            raise UnexpectedReply(side=SIDE, at=JOBS, found="a state unheard of", expected="JobComplete")
        client.wire.governor.pause(pause_s)
        waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)
    raise JobUnfinished(job.job_id)


def _reason(told: Mapping[str, Any]) -> str:
    # The code in front alone: what follows may quote the query or a record.
    found = re.match(r"[A-Za-z_]{3,60}(?=\s*:)", str(told.get("errorMessage", "")))
    return found[0] if found else "no reason told"


# -- its result


def _result(client: SalesforceClient, job: Job, names: Sequence[str]) -> Iterator[Iterator[list[str]]]:
    """Give the pages of the result, header first; each is known to be whole before it is handed on."""
    locator, most = "", FIRST_ROWS
    while True:
        reply, count = _whole_page(client, job, locator, most, names)
        yield _lines(reply.body, names)
        locator = reply.headers.get("Sforce-Locator", "null")
        if locator in ("null", ""):
            return
        if count == 0:
            raise _lost(job, "a page without rows before the last one", "rows")
        most = max(1, min(PAGE_BYTES * count // len(reply.body), MOST_ROWS))


def _whole_page(
    client: SalesforceClient, job: Job, locator: str, most: int, names: Sequence[str]
) -> tuple[Reply, int]:
    """Read a page until it has as many rows as its header says: a locator may be read again."""
    place = f"&locator={quote(locator, safe='')}" if locator else ""
    found = ""
    for _ in range(TRIES):
        reply = _read(client, job, f"/results?maxRecords={most}{place}", accept="text/csv")
        told = reply.headers.get("Sforce-NumberOfRecords", "")
        try:
            count = sum(1 for _ in islice(_lines(reply.body, names), 1, None))
        except _Damaged as damage:
            found = str(damage)
            continue
        if told == str(count):
            return reply, count
        found = f"{count} rows where Sforce-NumberOfRecords says another number"
    raise _lost(job, f"a page with {found}, {TRIES} times", "a whole page")


def _lines(content: bytes, names: Sequence[str]) -> Iterator[list[str]]:
    """Take a page of CSV apart: header, rows. Raises _Damaged where it ends early, or is none."""
    # csv's limit of 131,072 characters is that of the longest field of Salesforce.
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""), strict=True)
    try:
        header = next(reader, None)
        if header is None:  # a result without rows may come without a header
            return
        if sorted(header) != list(names):
            raise _Damaged("other columns than were asked for")
        yield header
        for values in filter(None, reader):
            if len(values) != len(header):
                raise _Damaged("a row that is cut off")
            yield values
    except (csv.Error, UnicodeDecodeError):
        raise _Damaged("a row that is cut off or broken") from None


def _read(client: SalesforceClient, job: Job, path: str, *, accept: str = "application/json") -> Reply:
    reply = client.send("GET", f"{JOBS}/{job.job_id}{path}", None, accept=accept)
    if reply.status == 200:
        return reply
    if reply.status == 404:
        raise _lost(job, "no such job any more", "it to be kept for seven days")
    raise read_error(_response(reply), JOBS)


def _lost(job: Job, found: str, expected: str) -> LostPlace:
    return LostPlace(side=SIDE, at=f"query job {job.job_id}", found=found, expected=expected)


def _told(reply: Reply) -> dict[str, Any]:
    found = read_json(SIDE, JOBS, reply.body)
    if not isinstance(found, dict):
        raise UnexpectedReply(side=SIDE, at=JOBS, found="no object", expected="a job")
    return found


def _response(reply: Reply) -> httpx.Response:
    return httpx.Response(reply.status, headers=reply.headers, content=reply.body)


# -- rows as a query gives them


def _rows(
    lines: Iterator[list[str]], address: str, object_name: str, types: Mapping[str, str]
) -> Iterator[Row]:
    """Give each line as the row of a query: its text is the JSON that the query would have sent."""
    header: list[str] = next(lines, [])
    columns = [(json.dumps(name), LITERALS.get(types[name], _text), name) for name in header]
    at = header.index("Id") if "Id" in header else None
    for values in lines:
        record_id = full_id(values[at]) if at is not None else ""
        if len(record_id) != 18:
            raise UnexpectedReply(side=SIDE, at=object_name, found="a row without Id", expected="one in each")
        parts = [f'"attributes":{{"type":"{object_name}","url":"{address}/{record_id}"}}']
        for (label, literal, name), value in zip(columns, values, strict=True):
            # Salesforce knows no empty text: what is empty is null.
            told = literal(value) if value else "null"
            if told is None:
                place, kind = f"{object_name}.{name}", types[name]
                raise UnexpectedReply(
                    side=SIDE, at=place, found="another form", expected=f"a value of type {kind}"
                )
            parts.append(f"{label}:{told}")
        text = "{" + ",".join(parts) + "}"
        yield Row(record_id, exact.parse(text), text)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _boolean(value: str) -> str | None:
    return value if value in ("true", "false") else None


def _whole(value: str) -> str | None:
    found = re.fullmatch(r"(-?(?:0|[1-9]\d*))(?:\.0+)?", value, re.ASCII)
    return found[1] if found else None


def _number(value: str) -> str | None:
    # 100 and 100.0, 12345678 and 1.2345678E7: each way spells as it likes; the digits stay as they come.
    found = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?", value, re.ASCII)
    return value if found else None


def _moment(value: str) -> str | None:
    """2024-04-16T19:00:00.000Z as a query spells it: 2024-04-16T19:00:00.000+0000."""
    found = re.fullmatch(r"(\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:?00)", value, re.ASCII)
    return f'"{found[1]}{found[2] or ".000"}+0000"' if found else None


# A type that is not here is text.
LITERALS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "boolean": _boolean,
    "int": _whole,
    "long": _whole,
    "double": _number,
    "currency": _number,
    "percent": _number,
    "datetime": _moment,
}


# -- where rows lie until all have come


class Spill:
    """Rows of RAW in a file without a name, which is gone with the last that reads it, also after a kill.

    They are mapped into memory as one table, not read: the system takes the room back where it is short. So a
    sweep holds the ids of its rows and one page of them.
    """

    def __init__(self, folder: Path) -> None:
        """Make the file. Raises DiskFull where it can't be written, also from `add` and `table`."""
        import pyarrow as pa

        self.ids: set[str] = set()
        self._folder = folder
        with self._room():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), arrow_schema())

    def add(self, rows: pa.Table) -> None:
        """Lay rows down. Raises LostPlace where an id comes twice: then another may be missing."""
        ids = rows.column("record_id").to_pylist()
        before = len(self.ids)
        self.ids.update(ids)
        if len(self.ids) != before + len(ids):
            raise LostPlace(side=SIDE, at="query job", found="a row that came twice", expected="each once")
        with self._room():
            self._writer.write_table(rows)

    def table(self) -> pa.Table | None:
        """Give all rows; null where there is none. Nothing can be added afterwards."""
        import pyarrow as pa

        with self._room():
            self._writer.close()
            self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()  # the mapping holds it
        return pa.ipc.open_file(pa.py_buffer(mapped)).read_all() if self.ids else None

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            from pipelines.warehouse import DiskFull, is_disk_full

            if is_disk_full(error):
                raise DiskFull(self._folder / "rows") from None
            raise

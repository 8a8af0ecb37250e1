"""Query jobs: a table read piece by piece, its rows kept as text, and given out page by page.

Each record is looked at once, in the order in which it was made; a job that sorts is the exception: its rows are
found at once, in memory.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from typing_extensions import override

from sandbox.salesforce import soql
from sandbox.salesforce.aggregates import is_aggregate
from sandbox.salesforce.bulk import jobs, tables
from sandbox.salesforce.bulk.ingest import choice, form_of
from sandbox.salesforce.bulk.jobs import Job, Kind
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.limits import Usage
from sandbox.salesforce.matching import condition, matching_rows, stamps_between
from sandbox.salesforce.org import Org, Session
from sandbox.salesforce.reading import Get, Reading, Shape, resolve, shape_of, table, told
from sandbox.salesforce.schema import Field, SObject
from sandbox.store import Body

QUERY: Kind = "query"
PIECE = 1_000  # rows of a result that are kept together
SCAN = 2_000  # records that are read at once
# unconfirmed: rows of a page when none are asked for, and at most (doc: "subject to the size limits")
PAGE, LARGEST_PAGE = 50_000, 100_000
PARALLEL = 5  # doc
KNOWN_PARENTS = 5_000

Column = tuple[str, Field, Get]


def create(org: Org, usage: Usage, session: Session, version: str, given: Mapping[str, Any]) -> Job:
    """A job that waits. Raises Refused for what Bulk API can't read; a query is looked at at once (recorded)."""
    operation = choice(given, "operation", ("query", "queryAll"), None)
    text = given.get("query")
    if not isinstance(text, str) or not text.strip():
        raise Refused("MALFORMED_QUERY", "a query job needs a query")  # unconfirmed
    form = form_of(given)
    plan = _plan(Reading(org, session, version), text)
    if not usage.count_bulk("query_jobs", 1):
        raise Refused("EXCEEDEDQUOTA", "BulkV2QueryJobs Limit exceeded.")  # unconfirmed wording
    columns = [name for name, _, _ in plan.columns]
    return jobs.new_job(
        org,
        session,
        version,
        QUERY,
        operation=operation,
        object=plan.sobject.name,
        query=text,
        columns=columns,
        **form,
    )


@dataclass(frozen=True)
class Plan:
    """A query that Bulk API reads: its columns as they stand in the result."""

    query: soql.Query
    sobject: SObject
    shape: Shape
    columns: list[Column]


def _plan(reading: Reading, text: str) -> Plan:
    query = soql.parse_query(text)
    if any(isinstance(column, soql.Child) for column in query.columns):  # recorded: the text
        message = "Aggregate Relationships not supported in Bulk V2 Query with CSV content type"
        raise Refused("FEATURENOTENABLED", message)
    if is_aggregate(query):  # doc: not supported; unconfirmed wording
        raise Refused("FEATURENOTENABLED", "Aggregate functions and GROUP BY not supported in Bulk V2 Query")
    if query.offset:
        raise Refused("FEATURENOTENABLED", "OFFSET not supported in Bulk V2 Query")
    sobject = table(reading, query)
    shape = shape_of(reading, query, sobject)
    columns = list(_columns(reading, query, sobject, shape))
    if any(f.type == "address" for _, f, _ in columns):  # recorded: the text
        raise Refused("FEATURENOTENABLED", "Selecting compound data not supported in Bulk Query")
    condition(reading, query, sobject, query.where)  # what can't be filtered is refused now
    if Decimal(reading.version) < 50:  # doc: up to 49.0 in the order of their names
        columns.sort(key=lambda column: column[0])
    return Plan(query, sobject, shape, columns)


def _columns(reading: Reading, query: soql.Query, sobject: SObject, shape: Shape) -> Iterator[Column]:
    for column in query.columns:
        if isinstance(column, soql.Column):
            get, f = resolve(reading, query, sobject, column.path)
            yield _heading(sobject, column.path, f), f, get
    if any(isinstance(column, soql.Call) for column in query.columns):  # FIELDS(...)
        for f in shape.leaves:
            yield f.name, f, resolve(reading, query, sobject, soql.Path((f.name,), 1, 1))[0]


def _heading(sobject: SObject, path: soql.Path, f: Field) -> str:
    """Account.Name: relationships and field as describe spells them, as far as the first step."""
    steps = path.names[1:-1] if path.names[0].lower() == sobject.name.lower() else path.names[:-1]
    first = sobject.through(steps[0]) if steps else None
    spelt = [first.relationship or steps[0], *steps[1:]] if first else steps
    return ".".join([*spelt, f.name])


# -- the work


class Parents(Reading):
    """Looks parents up one by one and forgets them again, so that no table is held in memory."""

    @override
    def parent(self, kind: str, record_id: str | None) -> Body | None:
        if record_id is None:
            return None
        known = self.parents.setdefault(kind, {})
        if record_id not in known:
            if len(known) >= KNOWN_PARENTS:
                known.clear()
            known[record_id] = self.org.get(kind, record_id) or {}
        return known[record_id] or None


def work(org: Org, job: Job, most: int) -> int:
    """Read what is due, `most` records at most; gives how many."""
    reading = Parents(org, job.session, job.version, deleted=job.operation == "queryAll")
    due = int(min(jobs.due(org, job, "scanned_per_s") + 1, job.scanned + most))
    begun = job.scanned
    try:
        plan = _plan(reading, job.query or "")
        with org.store.transaction():
            jobs.move(org, job, "InProgress")
            stored = org.schema.is_stored(plan.sobject.name)
            if plan.query.order or not stored or org.fixed(plan.sobject.name):
                found = matching_rows(reading, plan.query, plan.sobject)
                job.scanned += len(found)
                _keep(org, job, [_shown(reading, job, plan, body) for body in found])
                jobs.move(org, job, "JobComplete")
            else:
                _scan(reading, job, plan, due)
            _break(org, job)
            jobs.save(org.store, job)
    except Refused as error:  # e.g. a field that went away since
        jobs.move(org, job, "Failed", error=f"{error.code}: {error.message}")
        jobs.save(org.store, job)
    return job.scanned - begun


def _scan(reading: Reading, job: Job, plan: Plan, due: int) -> None:
    org, query = reading.org, plan.query
    test = condition(reading, query, plan.sobject, query.where)
    since, until = stamps_between(query.where)
    while job.scanned < due:
        wanted = min(SCAN, due - job.scanned)
        seen = org.store.scan(plan.sobject.name, job.at, since=since, until=until, limit=wanted)
        bodies = (body for _, body in seen if reading.deleted or not body.get("IsDeleted"))
        found = [_shown(reading, job, plan, body) for body in bodies if test(body)]
        if query.limit is not None:
            found = found[: query.limit - job.total]
        _keep(org, job, found)
        job.scanned += len(seen)
        job.at = seen[-1][0] if seen else job.at
        if len(seen) < wanted or job.total == query.limit:
            jobs.move(org, job, "JobComplete")
            return


def _break(org: Org, job: Job) -> None:
    if job.breaks_at is not None and job.total >= job.breaks_at:
        message = (
            job.breaks_with or "InternalServerError : Retried more than 15 times"
        )  # doc: that there is one
        jobs.move(org, job, "Failed", error=message)
        job.retries = 15


def _keep(org: Org, job: Job, rows: list[str]) -> None:
    """Add lines to the result; all pieces but the last are full."""
    number = job.total // PIECE
    begun = jobs.piece(org.store, job, str(number)) if job.total % PIECE else []
    rows = begun + rows
    for start in range(0, len(rows), PIECE):
        jobs.keep_piece(org.store, job, str(number + start // PIECE), rows[start : start + PIECE])
    job.total = number * PIECE + len(rows)
    job.done = job.total


def _shown(reading: Reading, job: Job, plan: Plan, body: Body) -> str:
    form = reading.org.dialect["number_text"]
    moments = reading.org.dialect["bulk_moments"]
    return tables.line(job, [_text(f, get(body), form, moments) for _, f, get in plan.columns])


def _text(f: Field, value: Any, form: str, moments: str) -> str:
    if value is None:
        return ""
    if f.type == "boolean":
        return "true" if value else "false"
    if f.type == "datetime" and moments == "Z":
        return str(value).replace("+0000", "Z")
    return str(told(f, value, form))


# -- the results


def page(
    org: Org, job: Job, version: str, *, locator: str | None, most: str | None
) -> tuple[bytes, int, str]:
    """The text of a page, how many rows it has, and the locator of the next one ("null": there is none)."""
    _check_complete(job, version)
    begin = _start(job, locator)
    end = min(begin + _size(org, most), job.total)
    lines: list[str] = []
    for number in range(begin // PIECE, -(-end // PIECE)):
        piece = jobs.piece(org.store, job, str(number))
        lines += piece[max(0, begin - number * PIECE) : end - number * PIECE]
    header = tables.line(job, job.columns or [])
    if job.total == 0 and org.dialect["bulk_empty_result"] == "nothing":
        header = ""
    text = "".join([header, *lines]).encode("utf-8")
    return text, end - begin, _locator(job, end) if end < job.total else "null"


def result_pages(
    org: Org, job: Job, version: str, *, locator: str | None, most: str | None
) -> dict[str, Any]:
    """Addresses of up to five pages, to be read at once."""
    _check_complete(job, version)
    size, begin = _size(org, most), _start(job, locator)
    starts = range(begin, max(job.total, 1), size)
    root = f"/services/data/v{version}/jobs/query/{job.job_id}"
    told_: list[dict[str, str]] = []
    for start in starts[:PARALLEL]:
        place = f"&locator={_locator(job, start)}" if start else ""
        told_.append({"resultUrl": f"{root}/results?maxRecords={size}{place}"})
    more = len(starts) > PARALLEL
    rest = f"{root}/resultPages?maxRecords={size}&locator={_locator(job, starts[PARALLEL])}" if more else None
    return {"resultPages": told_, "nextRecordsUrl": rest, "done": not more}


def _check_complete(job: Job, version: str) -> None:
    if version != job.version:  # doc: the status; unconfirmed: code and wording
        message = f"The job was created with version {job.version}: use it to get the results"
        raise Refused("VERSION_MISMATCH", message, status=409)
    if job.state != "JobComplete":  # doc: code, text and status
        words = {"UploadComplete": "UPLOAD_COMPLETE", "InProgress": "IN_PROGRESS"}
        state = words.get(job.state, job.state.upper())
        message = (
            "can only download query results of successfully completed bulk job with status: JOB_COMPLETE. "
            f"Current status: {state}"
        )
        raise Refused("JOB_NOT_COMPLETE", message, status=412)


def _size(org: Org, most: str | None) -> int:
    if most is not None and not (most.isdigit() and int(most)):
        raise Refused("INVALIDJOB", f"maxRecords is no number of records: {most}")  # unconfirmed
    size = min(int(most or PAGE), LARGEST_PAGE)
    return min(size, 500) if org.dialect["page"] == "fewer" else size


def _locator(job: Job, start: int) -> str:
    """A number up to version 48.0, then a text that stands for it (doc: MTAwMDA)."""
    if Decimal(job.version) < 49:
        return str(start)
    return base64.urlsafe_b64encode(str(start).encode()).decode().rstrip("=")


def _start(job: Job, locator: str | None) -> int:
    if not locator:
        return 0
    text = locator
    if Decimal(job.version) >= 49:
        try:
            text = base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            text = ""
    if not text.isdigit() or int(text) > job.total:
        raise Refused("INVALID_QUERY_LOCATOR", "invalid query locator")  # unconfirmed: code and status
    return int(text)

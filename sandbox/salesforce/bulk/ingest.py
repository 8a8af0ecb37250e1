"""Ingest jobs: rows that come as CSV and are written piece by piece, by the rules of every other write.

A piece (200 rows, as a trigger gets them) is one transaction: its records, its results and how far the job is
are kept together or not at all, also when the server is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sandbox.salesforce.bulk import jobs, tables, uploaded
from sandbox.salesforce.bulk.jobs import Job, Kind
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.limits import Usage
from sandbox.salesforce.oauth import USERS
from sandbox.salesforce.org import Org, Session
from sandbox.salesforce.schema import SObject
from sandbox.store import CURRENT_REQUEST

INGEST: Kind = "ingest"
OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
BATCH_ROWS = 10_000  # doc: what counts as one batch
TRIES = 20  # doc: a batch that doesn't end in time is tried so often, then the job fails

Given = Mapping[str, Any]


def create(org: Org, session: Session, version: str, given: Given) -> Job:
    """A job that waits for its data. Raises Refused."""
    operation = choice(given, "operation", OPERATIONS, None)
    name = str(given.get("object") or "")
    sobject = org.schema.object(name, restricted=session.restricted)
    if sobject is None:  # recorded: code and text
        raise Refused("INVALIDENTITY", f"Entity '{name}' is not supported by the Bulk API.")
    if operation == "hardDelete" and not jobs.pace(org.store)["hard_delete"]:
        message = "hardDelete operation requires special user profile permission"  # second hand
        raise Refused("FEATURENOTENABLED", f"{message}, please contact your system administrator")
    key = _key(org, sobject, given) if operation == "upsert" else None
    return jobs.new_job(
        org,
        session,
        version,
        INGEST,
        operation=operation,
        object=sobject.name,
        key=key,
        **form_of(given),
    )


def form_of(given: Given) -> dict[str, str]:
    """Separator and line ending of a job's CSV."""
    choice(given, "contentType", ("CSV",), "CSV")
    return {
        "delimiter": choice(given, "columnDelimiter", jobs.DELIMITERS, "COMMA"),
        "line_ending": choice(given, "lineEnding", jobs.LINE_ENDINGS, "LF"),
    }


def choice(given: Given, name: str, values: Iterable[str], default: str | None) -> str:
    found = given.get(name, default)
    if found not in tuple(values):  # unconfirmed wording
        raise Refused("INVALIDJOB", f"{name} can't be {found!r}; it may be one of {', '.join(values)}")
    return str(found)


def _key(org: Org, sobject: SObject, given: Given) -> str:
    name = given.get("externalIdFieldName")
    if not name:  # second hand: known of Bulk API 1.0
        message = f"External ID was blank for {sobject.name}. An External ID must be specified for upsert."
        raise Refused("INVALIDJOB", f"InvalidJob : {message}")
    f = sobject.field(str(name))
    if f is None or not (f.external_id or f.name == "Id"):  # second hand
        message = (
            f"Field name provided, {name} does not match an External ID, Salesforce Id, or indexed field"
        )
        raise Refused("INVALIDJOB", f"InvalidJob : {message} for {sobject.name}")
    return f.name


def upload(org: Org, job: Job, body: bytes) -> None:
    """Take the data: once a job (recorded). What is wrong with them is told when they are processed."""
    if job.columns is not None:
        raise Refused("INVALIDJOBSTATE", "Found multiple contents for job")  # recorded: the text
    jobs.check_open(job, "Uploading to")
    settings = jobs.pace(org.store)
    if (
        len(body) > settings["most_bytes"]
    ):  # doc: 150 MB when they are base64; unconfirmed: status and wording
        raise Refused("CLIENTINPUTERROR", "The data are longer than 150 MB in base64", status=413)
    chosen = org.dialect
    found = tables.read(
        job, body, skip_mark=chosen["bulk_bom"] == "skipped", breaks=chosen["bulk_line_break_check"]
    )
    with org.store.transaction():
        for number, piece in enumerate(_pieces(found.rows, settings["chunk_rows"])):
            jobs.keep_piece(org.store, job, f"in:{number}", piece)
            job.total, job.pieces = job.total + len(piece), number + 1
        job.columns, job.flaw = found.header, next(iter(found.flaws), None)
        jobs.save(org.store, job)


def _pieces(every: Iterator[tables.Row], size: int) -> Iterator[list[tables.Row]]:
    while piece := list(islice(every, size)):
        yield piece


def close(org: Org, usage: Usage, job: Job) -> None:
    """UploadComplete: its batches of 10,000 rows are counted against the day's."""
    jobs.check_open(job, "Closing")
    if job.columns is None:
        raise Refused("INVALIDJOBSTATE", "Found no contents for job")  # unconfirmed
    if not usage.count_bulk("batches", -(-job.total // BATCH_ROWS)):
        raise Refused("EXCEEDEDQUOTA", "ApiBatchItems Limit exceeded.")  # second hand
    jobs.queue(org, job)
    jobs.save(org.store, job)


# -- the work


def work(org: Org, job: Job, most: int) -> int:
    """Write what is due, `most` rows at most; gives how many."""
    if job.state == "UploadComplete":
        flaw = job.flaw or _unknown_columns(org, job)
        jobs.move(org, job, "Failed" if flaw else "InProgress", error=flaw)
        jobs.save(org.store, job)
    due = min(jobs.due(org, job, "rows_per_s"), job.done + most)
    begun = job.done
    while job.state == "InProgress":
        if job.at == job.pieces:
            jobs.move(org, job, "JobComplete")
            jobs.save(org.store, job)
            break
        piece = jobs.piece(org.store, job, f"in:{job.at}")
        if job.breaks_at is not None and job.done + len(piece) > job.breaks_at:
            job.retries = TRIES
            message = (
                job.breaks_with or f"InternalServerError : The batch was retried more than {TRIES} times"
            )
            jobs.move(org, job, "Failed", error=message)
            jobs.save(org.store, job)
        elif job.done + len(piece) > due:
            break
        else:
            _write_piece(org, job, piece)
    return job.done - begun


def _write_piece(org: Org, job: Job, piece: list[tables.Row]) -> None:
    with _log_row(org, job), org.store.transaction():
        results = uploaded.write(org, job, piece)
        jobs.keep_piece(org.store, job, f"out:{job.at}", results)
        job.at, job.done = job.at + 1, job.done + len(piece)
        job.failed += sum(bool(error) for _, _, error in results)
        jobs.move(org, job, "InProgress")
        jobs.save(org.store, job)


@contextmanager
def _log_row(org: Org, job: Job) -> Iterator[None]:
    """What a job writes stands in the log under a row of its own, method JOB: no client's request did it."""
    path = f"/services/data/v{job.version}/jobs/ingest/{job.job_id}"
    n = org.store.log_arrival(at_ms=org.clock.now_ms(), method="JOB", path=path, query="", body_bytes=0)
    token = CURRENT_REQUEST.set(n)
    try:
        yield
    finally:
        CURRENT_REQUEST.reset(token)
    client = USERS[job.user_id]
    org.store.log_reply(n, status=200, reply_bytes=0, client=client, fault=None, note="bulk")


def _unknown_columns(org: Org, job: Job) -> str | None:
    """Recorded: the text for a name that the object doesn't have, or that the user may not see."""
    sobject = org.schema.object(job.object, restricted=job.session.restricted)
    if sobject is None:
        return f"InvalidBatch : Entity '{job.object}' is not supported by the Bulk API."
    columns = job.columns or []
    needed = {"insert": None, "upsert": job.key}.get(job.operation, "Id")
    unknown = [name for name in columns if not _knows(org, sobject, name)]
    if needed and needed.lower() not in [name.lower() for name in columns]:
        unknown.append(needed)
    return f"InvalidBatch : Field name not found : {unknown[0]}" if unknown else None


def _knows(org: Org, sobject: SObject, column: str) -> bool:
    relation, _, name = column.rpartition(".")
    if not relation:
        return sobject.field(name) is not None
    reference = sobject.through(relation)
    parent = org.schema.object(reference.reference or "") if reference else None
    f = parent.field(name) if parent else None
    return f is not None and f.external_id

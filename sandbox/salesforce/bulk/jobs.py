"""What a job is: how it is kept, what it tells of itself, which moves of its state are allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from sandbox.salesforce.errors import Refused, not_found
from sandbox.salesforce.ids import full_id, make_id
from sandbox.salesforce.org import Org, Session, stamp_text
from sandbox.store import Store

Kind = Literal["ingest", "query"]

FINISHED = ("JobComplete", "Failed", "Aborted")
DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
JOB_TYPES = {"ingest": "V2Ingest", "query": "V2Query"}
KEPT_MS = 7 * 86_400_000  # doc: seven days
LISTED = 1000  # doc: jobs in one answer
# What the page /sandbox/bulk sets: see `pages`.
PACE: dict[str, Any] = {
    "queue_s": 0,
    "rows_per_s": 2_000,
    "scanned_per_s": 100_000,
    "chunk_rows": 200,
    "most_bytes": 112_500_000,
    "hard_delete": False,
    "fail": [],
}


@dataclass
class Job:
    """One job. total: rows that were uploaded, or that a query found; done, failed: rows that were processed.

    at: how far the work is (pieces of an upload; the place in the table that a query reads).
    flaw: what is wrong with the upload, found when it came and told when it is processed.
    breaks_at: after so many rows the job fails.
    """

    job_id: str
    kind: Kind
    operation: str
    object: str
    version: str
    user_id: str
    client_id: str
    delimiter: str
    line_ending: str
    created_ms: int
    changed_ms: int
    state: str
    query: str | None = None
    key: str | None = None
    queued_ms: int | None = None
    finished_ms: int | None = None
    columns: list[str] | None = None
    total: int = 0
    pieces: int = 0
    done: int = 0
    failed: int = 0
    at: int = 0
    scanned: int = 0
    retries: int = 0
    flaw: str | None = None
    error: str | None = None
    breaks_at: int | None = None
    breaks_with: str | None = None

    @property
    def session(self) -> Session:
        return Session(self.user_id, self.client_id)

    @property
    def place(self) -> str:
        """The kind under which the store keeps its pieces."""
        return f"bulk:{self.job_id}"

    @property
    def separator(self) -> str:
        return DELIMITERS[self.delimiter]

    @property
    def line_break(self) -> str:
        return LINE_ENDINGS[self.line_ending]


def pace(store: Store) -> dict[str, Any]:
    return PACE | (store.kept("bulk_pace", "pace") or {})


def set_pace(store: Store, **changes: Any) -> None:
    unknown = set(changes) - set(PACE)
    if unknown:
        raise KeyError(f"no setting {', '.join(sorted(unknown))}; there are: {', '.join(PACE)}")
    store.keep("bulk_pace", "pace", (store.kept("bulk_pace", "pace") or {}) | changes)


def new_job(org: Org, session: Session, version: str, kind: Kind, **given: Any) -> Job:
    """A job with the next id, kept; an ingest job is open, a query job waits to be processed."""
    number = (org.store.meta("next_job") or 0) + 1
    org.store.set_meta("next_job", number)
    now = org.clock.now_ms()
    job = Job(
        make_id("750", "Sb", number),
        kind,
        version=version,
        user_id=session.user_id,
        client_id=session.client_id,
        created_ms=now,
        changed_ms=now,
        state="Open" if kind == "ingest" else "UploadComplete",
        **given,
    )
    if kind == "query":
        queue(org, job)
    save(org.store, job)
    return job


def queue(org: Org, job: Job) -> None:
    """From now on it waits; a failure that the page asked for is taken by the first job it fits."""
    move(org, job, "UploadComplete")
    job.queued_ms = org.clock.now_ms()
    wanted: list[dict[str, Any]] = pace(org.store)["fail"]
    for rule in wanted:
        if rule.get("kind", "ingest") == job.kind:
            job.breaks_at, job.breaks_with = rule.get("after_rows", 0), rule.get("message")
            left = rule.get("times", 1) - 1
            others = [one for one in wanted if one is not rule]
            set_pace(org.store, fail=[*others, {**rule, "times": left}] if left else others)
            break
    org.store.keep("bulk_active", job.job_id, True)


def due(org: Org, job: Job, rate: str) -> float:
    """How many rows should be done by now, at the pace that the page sets; a pace of 0 waits for nothing."""
    settings = pace(org.store)
    if settings[rate] == 0:
        return float("inf")
    spent_ms = org.clock.now_ms() - (job.queued_ms or 0) - settings["queue_s"] * 1000
    return spent_ms * settings[rate] / 1000


def save(store: Store, job: Job) -> None:
    store.keep("bulk_job", job.job_id, asdict(job))


def move(org: Org, job: Job, state: str, *, error: str | None = None) -> None:
    """Into another state; the caller saves."""
    job.state, job.changed_ms, job.error = state, org.clock.now_ms(), error
    if state in FINISHED:
        job.finished_ms = job.changed_ms
        org.store.forget("bulk_active", job.job_id)


def find(org: Org, kind: Kind, job_id: str) -> Job:
    """Raises Refused with 404 for a job that there is not, or not any more (doc: seven days)."""
    kept = org.store.kept("bulk_job", full_id(job_id) or "")
    if kept is None or kept["kind"] != kind:
        raise not_found()
    job = Job(**kept)
    if org.clock.now_ms() - job.created_ms > KEPT_MS:
        forget(org.store, job)
        raise not_found()
    return job


def active(store: Store) -> Iterator[Job]:
    """The jobs that have work left."""
    for job_id in store.all_kept("bulk_active"):
        yield Job(**store.kept("bulk_job", job_id))


def forget(store: Store, job: Job) -> None:
    """The job with all its data."""
    with store.transaction():
        for name in store.all_kept(f"{job.place}:names"):
            store.forget(job.place, name)
            store.forget(f"{job.place}:names", name)
        store.forget("bulk_active", job.job_id)
        store.forget("bulk_job", job.job_id)


def keep_piece(store: Store, job: Job, name: str, rows: list[Any]) -> None:
    store.keep(job.place, name, rows)
    store.keep(
        f"{job.place}:names", name, None
    )  # apart from the rows, so that the names are read without them


def piece(store: Store, job: Job, name: str) -> list[Any]:
    return store.kept(job.place, name) or []


def abort(org: Org, job: Job) -> None:
    """What was done stays done. Raises Refused for a job that is over (recorded: the text of a complete one)."""
    if job.state in FINISHED:
        raise _over("Aborting", job)
    move(org, job, "Aborted")
    save(org.store, job)


def delete(org: Org, job: Job) -> None:
    if job.state not in (*FINISHED, "UploadComplete"):  # doc
        raise Refused("INVALIDJOBSTATE", f"Deleting {job.state} Job not allowed")
    forget(org.store, job)


def check_open(job: Job, doing: str) -> None:
    if job.state != "Open":
        raise _over(doing, job)


def _over(doing: str, job: Job) -> Refused:
    word = "Completed" if job.state == "JobComplete" else job.state
    return Refused("INVALIDJOBSTATE", f"{doing} already {word} Job not allowed")


# -- what it tells of itself (doc: the pages on creating, closing and reading a job)


def told(job: Job) -> dict[str, Any]:
    """The answer to a POST or PATCH."""
    shown: dict[str, Any] = {
        "id": job.job_id,
        "operation": job.operation,
        "object": job.object,
        "createdById": job.user_id,
        "createdDate": stamp_text(job.created_ms // 1000 * 1000),
        "systemModstamp": stamp_text(job.changed_ms // 1000 * 1000),
        "state": job.state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": Decimal(job.version),
    }
    if job.key is not None:
        shown["externalIdFieldName"] = job.key
    if job.kind == "ingest" and job.state == "Open":
        # doc: without a slash at the beginning
        shown["contentUrl"] = f"services/data/v{job.version}/jobs/ingest/{job.job_id}/batches"
    return shown | {"lineEnding": job.line_ending, "columnDelimiter": job.delimiter}


def listed(job: Job) -> dict[str, Any]:
    """The job in a list of jobs."""
    return told(job) | {"jobType": JOB_TYPES[job.kind]}


def described(job: Job) -> dict[str, Any]:
    """The answer to a GET of the job. numberRecordsProcessed counts the rows that failed too."""
    shown = listed(job)
    took = (job.finished_ms or job.changed_ms) - job.queued_ms if job.queued_ms is not None else 0
    counts: dict[str, Any] = {"retries": job.retries, "totalProcessingTime": max(0, took)}
    if job.kind == "ingest":
        counts |= {"apiActiveProcessingTime": max(0, took), "apexProcessingTime": 0}
        counts |= {"numberRecordsProcessed": job.done, "numberRecordsFailed": job.failed}
    else:
        counts |= {"numberRecordsProcessed": job.done, "isPkChunkingSupported": True}
    if job.error is not None:
        counts["errorMessage"] = job.error
    return shown | counts


def list_jobs(
    org: Org, kind: Kind, version: str, *, job_type: str | None, locator: str | None
) -> dict[str, Any]:
    """The jobs of a kind, 1,000 at a time. Their order is not told (doc); here: by id."""
    kept = (Job(**body) for body in org.store.all_kept("bulk_job").values())
    now = org.clock.now_ms()
    jobs = [job for job in kept if job.kind == kind and now - job.created_ms <= KEPT_MS]
    if job_type is not None:
        jobs = [job for job in jobs if JOB_TYPES[job.kind] == job_type]
    digits = (locator or "").rpartition("-")[2]
    if locator is not None and not digits.isdigit():
        raise Refused("INVALID_QUERY_LOCATOR", "invalid query locator")
    begin = int(digits or 0)
    more = len(jobs) > begin + LISTED
    url = f"/services/data/v{version}/jobs/{kind}?queryLocator={make_id('01g', 'Jb', 1)}-{begin + LISTED}"
    return {
        "done": not more,
        "records": [listed(job) for job in jobs[begin : begin + LISTED]],
        "nextRecordsUrl": url if more else None,
    }

"""The resources under jobs/: one call in, status, body and headers out."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.salesforce.bulk import ingest, jobs, queries, results, tables
from sandbox.salesforce.bulk.ingest import INGEST
from sandbox.salesforce.bulk.queries import QUERY
from sandbox.salesforce.errors import Refused

if TYPE_CHECKING:
    from sandbox.salesforce.resources import Call


@dataclass
class Reply:
    """body: for JSON, or bytes as they leave."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[..., Reply]


# -- ingest


def create_ingest(call: Call) -> Reply:
    return Reply(body=jobs.told(ingest.create(call.org, call.session, call.version, call.fields)))


def list_ingest(call: Call) -> Reply:
    return _listed(call, INGEST)


def read_ingest(call: Call, job_id: str) -> Reply:
    return Reply(body=jobs.described(jobs.find(call.org, INGEST, job_id)))


def upload(call: Call, job_id: str) -> Reply:
    if "csv" not in call.headers.get("content-type", ""):
        raise Refused("UNSUPPORTED_MEDIA_TYPE", "the data of a job are text/csv", status=415)
    ingest.upload(call.org, jobs.find(call.org, INGEST, job_id), call.body)
    return Reply(201)


def change_ingest(call: Call, job_id: str) -> Reply:
    """UploadComplete or Aborted."""
    job = jobs.find(call.org, INGEST, job_id)
    if call.fields.get("state") == "UploadComplete":
        ingest.close(call.org, call.usage, job)
    else:
        _abort(call, job)
    return Reply(body=jobs.told(job))


def delete_ingest(call: Call, job_id: str) -> Reply:
    jobs.delete(call.org, jobs.find(call.org, INGEST, job_id))
    return Reply(204)


def outcome(rows_of: Callable[..., results.Found]) -> Handler:
    def give(call: Call, job_id: str) -> Reply:
        job = jobs.find(call.org, INGEST, job_id)
        results.check_finished(job)
        header, rows = rows_of(call.org, job)
        if call.fault == "short":
            rows = rows[:-1]
        elif call.fault == "reordered":
            rows = rows[::-1]
        return _csv(call, tables.lines(job, header, rows))

    return give


# -- query


def create_query(call: Call) -> Reply:
    job = queries.create(call.org, call.usage, call.session, call.version, call.fields)
    return Reply(body=jobs.told(job))


def list_queries(call: Call) -> Reply:
    return _listed(call, QUERY)


def read_query(call: Call, job_id: str) -> Reply:
    return Reply(body=jobs.described(jobs.find(call.org, QUERY, job_id)))


def change_query(call: Call, job_id: str) -> Reply:
    job = jobs.find(call.org, QUERY, job_id)
    _abort(call, job)
    return Reply(body=jobs.told(job))


def delete_query(call: Call, job_id: str) -> Reply:
    jobs.delete(call.org, jobs.find(call.org, QUERY, job_id))
    return Reply(204)


def query_results(call: Call, job_id: str) -> Reply:
    job = jobs.find(call.org, QUERY, job_id)
    text, count, locator = queries.page(
        call.org, job, call.version, locator=call.query.get("locator"), most=call.query.get("maxRecords")
    )
    reply = _csv(call, text)
    reply.headers |= {"Sforce-NumberOfRecords": str(count), "Sforce-Locator": locator}
    return reply


def result_pages(call: Call, job_id: str) -> Reply:
    job = jobs.find(call.org, QUERY, job_id)
    found = queries.result_pages(
        call.org, job, call.version, locator=call.query.get("locator"), most=call.query.get("maxRecords")
    )
    return Reply(body=found)


# -- both


def _abort(call: Call, job: jobs.Job) -> None:
    state = call.fields.get("state")
    if state != "Aborted":
        raise Refused(
            "INVALIDJOBSTATE", f"the state of a job can't be set to {state!r}"
        )  # unconfirmed wording
    jobs.abort(call.org, job)


def _listed(call: Call, kind: jobs.Kind) -> Reply:
    found = jobs.list_jobs(
        call.org,
        kind,
        call.version,
        job_type=call.query.get("jobType"),
        locator=call.query.get("queryLocator"),
    )
    return Reply(body=found)


def _csv(call: Call, text: bytes) -> Reply:
    """text/csv without a charset (source: what made simple-salesforce #706); packed where the client takes it."""
    headers = {"Content-Type": "text/csv"}
    if "gzip" not in call.headers.get("accept-encoding", ""):
        return Reply(200, text, headers)
    return Reply(200, gzip.compress(text, 1), headers | {"Content-Encoding": "gzip"})


# Paths are compared without case: jsforce says unprocessedrecords, simple-salesforce unprocessedRecords.
ROUTES: list[tuple[tuple[str, ...], tuple[str, ...], Handler]] = [
    (("POST",), ("jobs", "ingest"), create_ingest),
    (("GET",), ("jobs", "ingest"), list_ingest),
    (("GET",), ("jobs", "ingest", "*"), read_ingest),
    (("PATCH",), ("jobs", "ingest", "*"), change_ingest),
    (("DELETE",), ("jobs", "ingest", "*"), delete_ingest),
    (("PUT",), ("jobs", "ingest", "*", "batches"), upload),
    (("GET",), ("jobs", "ingest", "*", "successfulResults"), outcome(results.successful)),
    (("GET",), ("jobs", "ingest", "*", "failedResults"), outcome(results.failed)),
    (("GET",), ("jobs", "ingest", "*", "unprocessedrecords"), outcome(results.unprocessed)),
    (("POST",), ("jobs", "query"), create_query),
    (("GET",), ("jobs", "query"), list_queries),
    (("GET",), ("jobs", "query", "*"), read_query),
    (("PATCH",), ("jobs", "query", "*"), change_query),
    (("DELETE",), ("jobs", "query", "*"), delete_query),
    (("GET",), ("jobs", "query", "*", "results"), query_results),
    (("GET",), ("jobs", "query", "*", "resultPages"), result_pages),
]

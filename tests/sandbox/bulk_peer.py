"""What the tests of Bulk API 2.0 do again and again: start a job, read it, read its results."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
from salesforce_peer import ROOT, Peer

Row = dict[str, str]


def at_once(sf: Peer) -> Peer:
    """An empty org whose jobs are due at once."""
    sf.control("reset", {"seed": False})
    sf.control("dialect", method="DELETE")
    sf.control("bulk", {"rows_per_s": 0, "scanned_per_s": 0})
    return sf


def parsed(text: str, **form: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text, newline=""), **form))  # type: ignore[arg-type]


def start(sf: Peer, operation: str, data: str | bytes, kind: str = "Account", **options: Any) -> str:
    """An ingest job with its data, closed."""
    job = {"operation": operation, "object": kind, "contentType": "CSV", **options}
    made = sf.call("POST", "jobs/ingest", job)
    assert made.status_code == 200, made.text
    put = upload(sf, made.json()["id"], data)
    assert put.status_code == 201, put.text
    closed = sf.call("PATCH", f"jobs/ingest/{made.json()['id']}", {"state": "UploadComplete"})
    assert (closed.status_code, closed.json()["state"]) == (200, "UploadComplete")
    return made.json()["id"]


def upload(sf: Peer, job_id: str, data: str | bytes) -> httpx.Response:
    content = data.encode() if isinstance(data, str) else data
    headers = {"Content-Type": "text/csv; charset=UTF-8"}
    return sf.http.put(f"{ROOT}/jobs/ingest/{job_id}/batches", content=content, headers=headers)


def job(sf: Peer, job_id: str, kind: str = "ingest") -> dict[str, Any]:
    reply = sf.call("GET", f"jobs/{kind}/{job_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


def rows_of(sf: Peer, job_id: str, which: str, **form: str) -> list[Row]:
    reply = sf.call("GET", f"jobs/ingest/{job_id}/{which}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/csv")
    return parsed(reply.content.decode("utf-8"), **form)


def done(sf: Peer, operation: str, data: str | bytes, kind: str = "Account", **options: Any) -> str:
    job_id = start(sf, operation, data, kind, **options)
    assert job(sf, job_id)["state"] == "JobComplete"
    return job_id


def errors(sf: Peer, job_id: str) -> list[str]:
    return sorted(row["sf__Error"] for row in rows_of(sf, job_id, "failedResults"))


def asked(sf: Peer, soql: str, **options: Any) -> str:
    """A query job, worked on until it is over."""
    made = sf.call("POST", "jobs/query", {"operation": "query", "query": soql, **options})
    assert made.status_code == 200, made.text
    while job(sf, made.json()["id"], "query")["state"] in ("UploadComplete", "InProgress"):
        pass
    return made.json()["id"]


def page(sf: Peer, job_id: str, **query: Any) -> httpx.Response:
    reply = sf.call("GET", f"jobs/query/{job_id}/results", params=query)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/csv")
    return reply


def result(sf: Peer, soql: str, **options: Any) -> list[Row]:
    return parsed(page(sf, asked(sf, soql, **options)).content.decode("utf-8"))

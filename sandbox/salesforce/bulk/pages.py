"""The page /sandbox/bulk: how fast jobs are worked on, what they fail at, how much of the day's is used."""

from __future__ import annotations

from typing import Any

from sandbox.salesforce.bulk import jobs, work
from sandbox.salesforce.collections import MOST
from sandbox.salesforce.limits import Usage
from sandbox.salesforce.org import Org


def show(org: Org, usage: Usage) -> dict[str, Any]:
    """The settings, what is used, and the jobs as they are; carries on with them first."""
    work.catch_up(org)
    kept = [jobs.Job(**body) for body in org.store.all_kept("bulk_job").values()]
    told = [{**jobs.described(job), "apiVersion": job.version} for job in kept]
    return {**jobs.pace(org.store), "used": usage.bulk_used(), "jobs": told}


def change(org: Org, usage: Usage, wanted: dict[str, Any]) -> dict[str, Any]:
    """{"queue_s", "rows_per_s", "scanned_per_s", "chunk_rows", "most_bytes", "hard_delete",
    "fail": [{"kind": "ingest" or "query", "after_rows": 400, "times": 1, "message": "..."}],
    "used": {"batches": 15000, "query_jobs": 0}}, each may be left out.

    rows_per_s: of an ingest job; scanned_per_s: records that a query job looks at; 0: as fast as it goes.
    A job that fails after so many rows leaves the rest of them unprocessed, from its next whole piece on.
    """
    if not 1 <= wanted.get("chunk_rows", 1) <= MOST:
        raise KeyError(f"chunk_rows lies between 1 and {MOST}")
    for name, value in wanted.pop("used", {}).items():
        usage.set_bulk(name, value)
    jobs.set_pace(org.store, **wanted)
    return show(org, usage)

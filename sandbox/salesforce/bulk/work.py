"""Carries on with the jobs, as far as they are due by the server's clock and as one call may bear."""

from __future__ import annotations

from sandbox.salesforce.bulk import ingest, jobs, queries
from sandbox.salesforce.org import Org

# In one call, whatever is due: the server answers one call at a time, and none should wait for minutes.
MOST_WRITTEN, MOST_SCANNED = 10_000, 10_000


def catch_up(org: Org) -> None:
    """Called before each answer: the oldest job first."""
    written, scanned = MOST_WRITTEN, MOST_SCANNED
    for job in jobs.active(org.store):
        if org.clock.now_ms() < (job.queued_ms or 0) + jobs.pace(org.store)["queue_s"] * 1000:
            continue
        if job.kind == "query":
            scanned -= queries.work(org, job, scanned)
        else:
            written -= ingest.work(org, job, written)

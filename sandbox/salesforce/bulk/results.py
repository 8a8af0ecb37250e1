"""The three results of an ingest job: rows that were written, rows that were refused, rows that were left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from sandbox.salesforce.bulk import jobs, tables
from sandbox.salesforce.bulk.jobs import Job
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.org import Org

Found = tuple[list[str], list[tables.Row]]  # header and rows


def successful(org: Org, job: Job) -> Found:
    """Header and rows."""
    found = ([record_id, made, *row] for record_id, made, error, row in _outcomes(org, job) if not error)
    return ["sf__Id", "sf__Created", *(job.columns or [])], list(found)


def failed(org: Org, job: Job) -> Found:
    found = ([record_id, error, *row] for record_id, _, error, row in _outcomes(org, job) if error)
    return ["sf__Id", "sf__Error", *(job.columns or [])], list(found)


def unprocessed(org: Org, job: Job) -> Found:
    """What a job that failed or was aborted left; without an id or a reason."""
    found = [
        row for number in range(job.at, job.pieces) for row in jobs.piece(org.store, job, f"in:{number}")
    ]
    return list(job.columns or []), _mixed(org, job, found)


def check_finished(job: Job) -> None:
    """doc: results are those of a job that is over; unconfirmed: how an earlier call is refused."""
    if job.state not in jobs.FINISHED:
        raise Refused("INVALIDJOBSTATE", f"The job is not finished. Current status: {job.state}")


def _outcomes(org: Org, job: Job) -> Iterator[tuple[str, str, str, tables.Row]]:
    """Every row that was processed with its result; not in the order of the upload."""
    for number in _mixed(org, job, list(range(job.at))):
        piece = jobs.piece(org.store, job, f"in:{number}")
        results = jobs.piece(org.store, job, f"out:{number}")
        yield from _mixed(org, job, [(*result, row) for result, row in zip(results, piece, strict=True)])


def _mixed(org: Org, job: Job, items: list[Any]) -> list[Any]:
    """doc: the order is not guaranteed. Each job has its own, the same at every call, never that of the upload."""
    if org.dialect["bulk_result_order"] == "as_sent":
        return items
    mixed = list(items)
    random.Random(job.job_id).shuffle(mixed)
    return mixed if mixed != items else mixed[::-1]

"""The Prefect flows: `sync` looks and tells, `apply` does what an approved plan says.

Prefect schedules and shows; the journal is the record. Stages that may start over are retried as tasks;
a push is not: it settles first. Artifacts hold ids and counts, never a value of a person.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, State

import pipelines.quiet  # noqa: F401  (telemetry off, before Prefect is imported)
from flows import gather
from flows.report import render_markdown
from pipelines import runs
from pipelines.runs import Applied, Context, Planned, Pulled
from reconcile.errors import ReconcileError


def run_name() -> str:
    pair = Path(str(flow_run.parameters.get("settings_file", "reconcile.toml"))).stem
    return f"{flow_run.flow_name}-{pair}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


@task(name="pull", retries=2, retry_delay_seconds=30, cache_policy=NO_CACHE, persist_result=False)
def pull_stage(ctx: Context, full: bool) -> Pulled:
    return runs.pull(ctx, full=full)


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_stage(ctx: Context) -> Planned:
    return runs.plan(ctx, pull_first=False)


@task(name="push", cache_policy=NO_CACHE, persist_result=False)
def push_stage(ctx: Context, planned: Planned, phases: tuple[str, ...], approved: bool) -> Applied:
    return runs.apply(ctx, planned, phases=phases, approved=approved)


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def report_stage(ctx: Context) -> str:
    data = gather.report_data(ctx)
    gather.write_report(ctx, data)
    gather.publish(ctx, data)
    markdown = render_markdown(data)
    create_markdown_artifact(
        markdown, key="drift-report", description="Where the books differ: ids and counts."
    )
    return markdown


def show_pull(pulled: Pulled) -> None:
    create_table_artifact(
        [
            {
                "side": row.side, "object": row.object, "read": row.rows_seen, "changed": row.rows_changed,
                "gone": row.deleted, "complete as of": str(row.complete_as_of), "error": row.error or "",
            }
            for row in pulled.objects
        ],
        key="snapshot",
        description="What the pull read, and as of when it is known to be complete.",
    )  # fmt: skip


def show_plan(planned: Planned) -> None:
    shown = planned.operations.head(500)
    create_table_artifact(
        [
            {
                name: row[name]
                for name in ("phase", "system", "object", "record_id", "action", "unit", "reason")
            }
            for row in shown.to_dicts()
        ],
        key="plan",
        description=f"Plan {planned.hash}: {planned.operations.height} operations; "
        "values are shown by `reconcile show`.",
    )


def summary(planned: Planned) -> str:
    return (
        f"{planned.operations.height} operations, {planned.conflicts.height} conflicts, "
        f"{planned.review.height} to review, {planned.drift.height} left standing"
    )


@flow(name="sync", flow_run_name=run_name, persist_result=False)
def sync(
    settings_file: str = "reconcile.toml",
    full: bool = False,
    apply_phases: list[str] | None = None,
) -> State[Any]:
    """Take a snapshot of both systems, decide what differs, check it, report.

    Args:
        settings_file: The settings file of the pair, on the worker's machine.
        full: Read everything, not only what moved since the last pull.
        apply_phases: Phases to apply without being asked (link, fill, settle, create, change).
            Empty: report only. They need `reconcile enable-writes` on the worker, and keep to its limits.
    """
    log = get_run_logger()
    with runs.open_context(Path(settings_file), progress=log.info) as ctx:
        pulled = pull_stage(ctx, full)
        show_pull(pulled)
        planned = plan_stage(ctx)
        show_plan(planned)
        log.info(summary(planned))
        if apply_phases and not planned.operations.is_empty():
            applied = push_stage(ctx, planned, tuple(apply_phases), False)
            log.info("applied: %s", applied.counts())
        report_stage(ctx)
        if pulled.errors:
            raise ReconcileError(f"{len(pulled.errors)} objects could not be read; the others are done.")
    return Completed(message=summary(planned))


@flow(name="apply", flow_run_name=run_name, persist_result=False)
def apply(
    settings_file: str = "reconcile.toml", plan_hash: str = "", phases: list[str] | None = None
) -> State[Any]:
    """Do what an approved plan says, once.

    Args:
        settings_file: The settings file of the pair, on the worker's machine.
        plan_hash: The plan that was read and approved. It must be given: approving is naming it.
        phases: Only these phases (link, fill, settle, create, change); empty: all of the plan.
    """
    if not plan_hash:
        raise ReconcileError(
            "plan_hash is empty: name the plan that you approve, as `reconcile show` prints it."
        )
    with runs.open_context(Path(settings_file), progress=get_run_logger().info) as ctx:
        applied = push_stage(ctx, runs.load_plan(ctx, plan_hash), tuple(phases or ()), True)
        report_stage(ctx)
        if applied.failed:
            raise ReconcileError(f"not all of the plan could be done: {applied.counts()}")
    return Completed(message=f"applied: {applied.counts()}")

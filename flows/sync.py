"""The Prefect flows: `sync` looks and tells, `apply` does what an approved plan says.

Prefect schedules and shows; the journal is the record. A stage that may start over is retried as a task;
a push is not: it settles first. Artifacts hold ids and counts, never a value of a person; so do logs and
states, since an error that is not one of ours is told by its kind and place alone.
"""

from __future__ import annotations

import pipelines.quiet  # noqa: F401  (telemetry off, before Prefect is imported)

# isort: split
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed, State
from pydantic import Field

from flows import gather
from flows.report import render_markdown
from pipelines import runs
from pipelines.runs import Applied, Context, Planned, Pulled
from reconcile.errors import ReconcileError, RetryLater

Phase = Literal["link", "fill", "settle", "create", "change"]
PlanHash = Annotated[str, Field(pattern="^[0-9a-f]{10,64}$")]

PULL_RETRIES: Final = 2
WAITS_S: Final = [30.0, 180.0]
LISTED: Final = 500  # rows of a table artifact


class Unforeseen(ReconcileError):
    """A bug, told without its text: that may hold a value of a record."""

    def __init__(self, error: Exception) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        super().__init__(
            f"a bug: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}. What was committed "
            "is kept. Run the stage by the command line with RECONCILE_DEBUG=1 for the details."
        )


@contextmanager
def telling_no_values() -> Iterator[None]:
    """Let our errors through, whose messages hold no value; replace any other by an Unforeseen."""
    try:
        yield
    except ReconcileError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever it is, its text may hold a value)
        raise Unforeseen(error) from None


def run_name() -> str:
    pair = Path(str(flow_run.parameters.get("settings_file", "reconcile.toml"))).stem
    return f"{flow_run.flow_name}-{pair}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


# --- the stages ------------------------------------------------------------------------------------------


def may_start_over(task: Any, run: Any, state: State[Any]) -> bool:
    """Try again only what may go better by itself: no refused login, no wrong setting, no bug."""
    return isinstance(state.result(raise_on_failure=False), RetryLater)


@task(
    name="pull",
    retries=PULL_RETRIES,
    retry_delay_seconds=WAITS_S,
    retry_condition_fn=may_start_over,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def pull_stage(ctx: Context, full: bool) -> Pulled:
    with telling_no_values():
        return try_again_while_it_helps(runs.pull(ctx, full=full))


def try_again_while_it_helps(pulled: Pulled) -> Pulled:
    """Raise where an object's failure may pass by itself; with the last try, go on without that object."""
    passing = [failure for failure in pulled.failures if isinstance(failure, RetryLater)]
    if passing and task_run.run_count <= PULL_RETRIES:
        raise passing[0]
    return pulled


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_stage(ctx: Context) -> Planned:
    with telling_no_values():
        return runs.plan(ctx, pull_first=False)


@task(name="push", cache_policy=NO_CACHE, persist_result=False)
def push_stage(ctx: Context, planned: Planned, phases: Sequence[str], approved: bool) -> Applied:
    with telling_no_values():
        return runs.apply(ctx, planned, phases=tuple(phases), approved=approved)


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def report_stage(ctx: Context) -> None:
    with telling_no_values():
        data = gather.report_data(ctx)
        gather.write_report(ctx, data)
        gather.publish(ctx, data)
        create_markdown_artifact(
            render_markdown(data), key="drift-report", description="Where the books differ: ids and counts."
        )


# --- what Prefect's pages show ---------------------------------------------------------------------------


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
    columns = ("phase", "system", "object", "record_id", "source_id", "action", "unit")
    create_table_artifact(
        planned.operations.select(columns).head(LISTED).to_dicts(),
        key="plan",
        description=f"Plan {planned.hash}: {summary(planned)}. "
        "`reconcile show`, on the worker, prints it with its values.",
    )


def show_outcomes(applied: Applied) -> None:
    columns = ("operation_id", "outcome", "record_id")
    create_table_artifact(
        applied.outcomes.select(columns).head(LISTED).to_dicts(),
        key="outcomes",
        description=f"What became of plan {applied.plan}: {spoken(applied.counts())}.",
    )


def summary(planned: Planned) -> str:
    return (
        f"{planned.operations.height} operations, {planned.conflicts.height} conflicts, "
        f"{planned.review.height} to review, {planned.drift.height} left standing"
    )


def spoken(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing to do"


# --- the flows -------------------------------------------------------------------------------------------


@flow(name="sync", flow_run_name=run_name, persist_result=False)
def sync(
    settings_file: str = "reconcile.toml",
    full: bool = False,
    apply_phases: list[Phase] | None = None,
) -> State[Any]:
    """Take a snapshot of both systems, decide what differs, check it, report.

    Args:
        settings_file: The settings file of the pair, on the worker's machine.
        full: Read everything, not only what moved since the last pull.
        apply_phases: Phases to apply without being asked. None: report only. They need
            `reconcile enable-writes` on the worker; a plan beyond the limits of the settings is not applied.
    """
    log = get_run_logger()
    with telling_no_values(), runs.open_context(Path(settings_file), progress=log.info) as ctx:
        pulled = pull_stage(ctx, full)
        show_pull(pulled)
        planned = plan_stage(ctx)
        show_plan(planned)
        log.info("plan %s: %s", planned.short, summary(planned))
        ended: State[Any] = Completed(message=summary(planned))
        if apply_phases and planned.waits:
            ended = push(ctx, planned, apply_phases, approved=False)
        report_stage(ctx)
    if pulled.errors:
        return Failed(message=f"not read: {'; '.join(pulled.errors)}")
    return unless_alarmed(planned, ended)


@flow(name="apply", flow_run_name=run_name, persist_result=False)
def apply(
    plan_hash: PlanHash, settings_file: str = "reconcile.toml", phases: list[Phase] | None = None
) -> State[Any]:
    """Do what an approved plan says, once.

    Args:
        plan_hash: The plan that was read and approved, as `reconcile show` prints it. Approving is naming it.
        settings_file: The settings file of the pair, on the worker's machine.
        phases: Only these phases. None: all of the plan.
    """
    log = get_run_logger()
    with telling_no_values(), runs.open_context(Path(settings_file), progress=log.info) as ctx:
        planned = runs.load_plan(ctx, plan_hash)
        ended = push(ctx, planned, phases or (), approved=True)
        report_stage(ctx)
    return ended


def push(ctx: Context, planned: Planned, phases: Sequence[str], *, approved: bool) -> State[Any]:
    """Push, look again, and give the state in which the flow ends; the report comes in any case."""
    pushed = push_stage(ctx, planned, phases, approved, return_state=True)
    if not pushed.is_completed():
        return Failed(message=pushed.message)
    applied: Applied = pushed.result()
    show_outcomes(applied)
    pull_stage(ctx, False)  # so that the report says how it stands now
    after = plan_stage(ctx)
    show_plan(after)
    told = f"plan {planned.short}: {spoken(applied.counts())}"
    if applied.failed:
        return Failed(message=f"not all could be done: {told}")
    return unless_alarmed(after, Completed(message=told))


def unless_alarmed(planned: Planned, ended: State[Any]) -> State[Any]:
    """Give the state, but failed where the plan's control totals can't be believed."""
    if not planned.alarms:
        return ended
    return Failed(message=f"the control totals do not add up: {'; '.join(planned.alarms)}")

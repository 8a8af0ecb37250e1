"""Plans the compensation of a run: shown, approved and applied as any plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines.context import Context
from pipelines.journal import RunRow
from pipelines.planning import compensate
from pipelines.plans import Planned, stored
from pipelines.runs import pull, settle
from reconcile import model
from reconcile.bodies import loads
from reconcile.errors import PlanUnusable, UnknownRun
from reconcile.undo import undo_operations

if TYPE_CHECKING:
    from pipelines.warehouse import Warehouse

LISTED: Final = 20  # runs that wrote
LOOKED_THROUGH: Final = 1000  # runs that applied


@dataclass(frozen=True)
class Wrote:
    """A run that wrote: what it did, by outcome."""

    run_id: str
    started_at: datetime
    state: str
    plan: str
    counts: dict[str, Any]


def runs_that_wrote(ctx: Context, limit: int = LISTED) -> list[Wrote]:
    """Give the newest runs that wrote, newest first. state: killed where nobody is at work on it any more."""
    at_work = ctx.journal.at_work()
    return [
        Wrote(
            run.run_id,
            run.started_at,
            "killed" if run.state == "running" and not at_work else run.state,
            str(run.details["plan"]),
            _by_outcome(run),
        )
        for run in _wrote(ctx)[:limit]
    ]


def _wrote(ctx: Context) -> list[RunRow]:
    """Give the runs that applied a plan and sent something, newest first, of the last LOOKED_THROUGH."""
    found, sent = ctx.journal.runs(limit=LOOKED_THROUGH, kind="apply"), ctx.journal.intents.runs_that_sent()
    return [run for run in found if run.details.get("plan") and run.run_id in sent]


def _by_outcome(run: RunRow) -> dict[str, Any]:
    """A run also counts what was found when its writes were read again."""
    return {name: count for name, count in run.counts.items() if name in model.OUTCOMES}


def plan_undo(ctx: Context, run: str) -> Planned:
    """Plan how a run is taken back, on a fresh snapshot; what can't be is in its rejects (stage undo).

    run: its id, or the beginning of it. Raises UnknownRun where no run that wrote fits, PlanUnusable where the
    files of its plan are gone, or are not as they were sealed.
    """
    wanted = _run(ctx, run)
    with ctx.leased(), ctx.run("undo", undoes=wanted.run_id) as told:
        settle(ctx)
        pull(ctx)
        done, found = _done(ctx, wanted)
        with ctx.warehouse() as warehouse:
            bodies = _invoices(ctx, warehouse, done)
            planned = compensate(
                ctx,
                warehouse,
                wanted.run_id,
                lambda parts: undo_operations(
                    done, parts, bodies, run=wanted.run_id[:10], latest=_latest(ctx, done), found=found
                ),
            )
        told["counts"] = {"operations": planned.operations.height, "left": planned.rejects.height}
        return planned


def _invoices(ctx: Context, warehouse: Warehouse, done: pl.DataFrame) -> dict[str, Any]:
    """Give the bodies, as they are now, of the invoices that the run wrote."""
    if ctx.mapping.invoice is None:
        return {}
    wrote = done.filter(pl.col("entity") == "document", pl.col("system") == "xero")["record_id"]
    now = warehouse.raw("xero", ctx.mapping.invoice.xero).filter(pl.col("record_id").is_in(wrote.implode()))
    return {record_id: loads(body) for record_id, body in now.select("record_id", "body").iter_rows()}


def _latest(ctx: Context, done: pl.DataFrame) -> frozenset[str]:
    """Give the operations that were the last of ours to write their unit."""
    last = ctx.journal.recent(limit=1).select("link_id", "unit", "native_after")
    return frozenset(done.join(last, on=["link_id", "unit", "native_after"], how="semi")["operation_id"])


def _run(ctx: Context, run: str) -> RunRow:
    found = [row for row in _wrote(ctx) if row.run_id.startswith(run)]
    if len(found) != 1 or not run:
        what = f"{len(found)} runs begin with {run!r}" if found else f"no run that wrote begins with {run!r}"
        raise UnknownRun(f"undo: {what}. `reconcile undo` lists them.")
    return found[0]


def _done(ctx: Context, run: RunRow) -> tuple[pl.DataFrame, frozenset[str]]:
    """Give the OPERATIONS that the run itself carried out, with the ids that their records have.

    And which of them nobody confirmed: they left, their answer was lost or a refusal, and then they were found.
    """
    plan_hash = str(run.details["plan"])
    row = ctx.journal.plan(plan_hash)
    if row is None:
        raise PlanUnusable(f"undo: the plan {plan_hash[:10]} of run {run.run_id[:10]} is not in the journal.")
    sent = [op.operation_id for one in ctx.journal.intents.left_in(run.run_id) for op in one.operations]
    ids = ctx.journal.outcomes(plan_hash).filter(
        pl.col("outcome").is_in(["confirmed", "adopted"]), pl.col("operation_id").is_in(sent)
    )
    operations = (
        stored(ctx, row)
        .operations.drop("record_id")
        .join(
            ids.select("operation_id", "record_id"),
            on="operation_id",
            how="inner",
            validate="1:1",
            maintain_order="left",
        )
        .select(*model.OPERATIONS)
    )
    return operations, frozenset(ids.filter(pl.col("outcome") == "adopted")["operation_id"])

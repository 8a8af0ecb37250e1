"""Gathers what the drift report says, from the last plan, the journal and the history."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from flows import report, totals
from flows.report import ReportData
from pipelines import runs
from pipelines.audit import last_audit
from pipelines.plans import Planned
from pipelines.runs import Context
from reconcile import model
from reconcile.closing import by_cause
from reconcile.errors import FixData

SHOWN_RUNS = 60


def report_data(ctx: Context) -> ReportData:
    """Give the report's data for the last plan.

    Raises FixData where there is no plan yet.
    """
    rows = ctx.journal.plans(limit=SHOWN_RUNS)
    if not rows:
        raise FixData("there is nothing to report yet. Run `reconcile plan` first.")
    planned = runs.load_plan(ctx, rows[0].plan_hash)
    applied = next((row for row in rows if row.outcomes), None)
    shown = planned if planned.waits or applied is None else runs.load_plan(ctx, applied.plan_hash)
    outcomes = ctx.journal.outcomes(shown.hash)
    return ReportData(
        pair=ctx.settings.pair.name,
        environment=ctx.settings.pair.environment,
        run_id=planned.short,
        made_at=datetime.now(UTC),
        complete=_complete(planned),
        totals=planned.totals(),
        summary=summary(planned, ctx.journal.outcomes(planned.hash)),
        unmatched=planned.unmatched,
        review=planned.links.filter(pl.col("status") == "review"),
        conflicts=planned.conflicts,
        drift=planned.drift,
        operations=shown.operations,
        outcomes=outcomes,
        plan_hash=shown.hash,
        approved_by=_applied_by(ctx, shown),
        applied_at=applied.updated_at if applied and applied.plan_hash == shown.hash else None,
        findings=planned.findings,
        rejects=planned.rejects,
        calls=_calls(ctx),
        history=_history(ctx, rows),
        control_totals=planned.control_totals,
        differences=planned.differences,
        with_totals=ctx.mapping.invoice is not None,
        names={**shown.names, **planned.names},
        audit=_audit(ctx),
        audited_at=_audited_at(ctx),
        journal_head=ctx.journal.head(),
    )


def _audit(ctx: Context) -> pl.DataFrame:
    """Give AUDIT of the last reading after a push."""
    found = last_audit(ctx.journal).get("findings", [])
    if not found:
        return model.empty(model.AUDIT)
    return model.conform(pl.DataFrame(found, infer_schema_length=None), model.AUDIT)


def _audited_at(ctx: Context) -> datetime | None:
    told = last_audit(ctx.journal).get("at")
    return datetime.fromisoformat(told) if told else None


def summary(planned: Planned, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Give SUMMARY: how each unit of the linked records stands.

    A value that the plan is still to write does not agree yet: it counts as planned.
    """
    done = outcomes.filter(pl.col("outcome").is_in(["confirmed", "adopted"]))
    waiting = planned.operations.join(done, on="operation_id", how="anti").filter(
        pl.col("phase").is_in(["fill", "settle", "change"])
    )
    planned_values = waiting.group_by("entity", "unit").agg(planned=pl.col("link_id").n_unique())
    counted = planned.summary.join(
        planned_values, on=["entity", "unit"], how="left", maintain_order="left", validate="1:1"
    ).with_columns(pl.col("planned").fill_null(0))
    agreed = pl.col("agreed") - pl.col("planned").cast(pl.Int64)
    return model.conform(counted.with_columns(agreed=agreed), report.SUMMARY)


def write_report(ctx: Context, data: ReportData, out: Path | None = None) -> Path:
    """Write the page; gives its path."""
    page = out or ctx.settings.pair.data_dir / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report.render_html(data), encoding="utf-8")
    return page


def publish(ctx: Context, data: ReportData) -> None:
    """Put the report's tables into the warehouse and its read copy, for notebooks and consoles."""
    with ctx.leased(), ctx.warehouse() as warehouse:
        warehouse.save_tables(report.report_tables(data))
        warehouse.publish(ctx.published)


def figures(data: ReportData) -> dict[str, Any]:
    """Give what `report --json` promises: by entity and unit, counts alone."""
    return {
        "pair": data.pair,
        "made_at": data.made_at,
        "plan": data.plan_hash,
        "known_complete_as_of": {
            f"{r['side']}.{r['object']}": r["complete_as_of"] for r in data.complete.to_dicts()
        },
        "entities": data.totals.to_dicts(),
        "units": data.summary.to_dicts(),
        "drift": data.drift.height,
        "conflicts": data.conflicts.height,
        "review": data.review.height,
        "matched": int(data.totals["matched"].sum()),
        "unmatched": data.unmatched.height,
        "control_totals": totals.sums_by_currency(data.control_totals).to_dicts(),
        "causes": by_cause(data.differences).select("cause", "currency", "count", "documents").to_dicts(),
        "read_again": data.audit.group_by("finding").len("count").sort("finding").to_dicts(),
        "journal_head": data.journal_head,
    }


def _applied_by(ctx: Context, planned: Planned) -> str:
    """Give who let the plan be applied last; empty where nobody did."""
    runs_of_it = (run for run in ctx.journal.runs(limit=100) if run.details.get("plan") == planned.hash)
    return next((str(run.details["by"]) for run in runs_of_it), "")


def _complete(planned: Planned) -> pl.DataFrame:
    rows = [
        {
            "side": name.partition(".")[0],
            "object": name.partition(".")[2],
            "complete_as_of": planned.complete_as_of.get(name),
            "rows": count,
        }
        for name, count in planned.rows.items()
    ]
    return pl.DataFrame(rows, schema=dict(report.COMPLETE))


def _calls(ctx: Context) -> pl.DataFrame:
    run = next(
        (run for run in ctx.journal.runs(limit=20) if run.kind in ("plan", "apply") and run.calls), None
    )
    calls = run.calls if run else {}
    rows = [{"side": side, "calls": int(calls.get(side, 0)), "bytes": None} for side in model.SIDES]
    return pl.DataFrame(rows, schema=dict(report.CALLS))


def _history(ctx: Context, rows: list[Any]) -> pl.DataFrame:
    """One row a plan and entity, oldest first; from the manifests in the journal."""
    history = [
        {"run_id": row.plan_hash[:10], "at": row.created_at, **counts}
        for row in reversed(rows)
        for counts in row.manifest.get("by_entity", ())
    ]
    return pl.DataFrame(history, schema=dict(report.HISTORY))

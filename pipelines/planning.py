"""Makes a plan of the snapshot at hand: decide, check, seal.

(raw) -> canonicalise -> match -> merge -> build_plan -> documents -> check -> seal
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.checking import check, faulty_ids
from pipelines.context import Context
from pipelines.decided import basis_of, snapshot_of
from pipelines.deciding import decide, only_needed, with_additions, without_failed, without_refused
from pipelines.plans import Planned, last_plan
from pipelines.sealing import remember, seal
from reconcile.plan import Part, Plan

if TYPE_CHECKING:
    from pipelines.warehouse import Warehouse


@dataclass(frozen=True)
class PlanOptions:
    """allowed: checks of a whole that a person lets pass this once. retry_refused: try what was refused again."""

    allowed: frozenset[str] = frozenset()
    retry_refused: bool = False


def make_plan(ctx: Context, warehouse: Warehouse, options: PlanOptions) -> Planned:
    basis = basis_of(ctx, warehouse)
    last = last_plan(ctx)
    settled = last is not None and not (last.waits or last.errors or snapshot_of(warehouse).errors)
    settled = settled and options == PlanOptions()
    if last is not None and settled and last.basis == basis:
        ctx.progress("nothing has moved since the last plan")
        return last
    ctx.progress("deciding: canonical, match, merge, plan")
    decided = with_additions(ctx, warehouse, decide(ctx, warehouse))
    decided = without_failed(ctx, decided, snapshot_of(warehouse).errors)
    decided = only_needed(decided if options.retry_refused else without_refused(ctx, decided))
    kept, rejects, findings = check(
        ctx, warehouse, decided, last=last, raw_moved=_raw_moved(last, basis), allowed=options.allowed
    )
    at_fault = faulty_ids(findings)
    _adopt(ctx, decided.plan, at_fault)
    planned = seal(ctx, warehouse, decided, kept, rejects, findings)
    remember(ctx, warehouse, planned, decided)
    return planned


def _raw_moved(last: Planned | None, basis: Mapping[str, Any]) -> bool:
    return last is None or last.basis.get("raw") != basis["raw"]


def _adopt(ctx: Context, plan: Plan, at_fault: frozenset[str]) -> None:
    """Take into the journal what holds on both sides already and needs no remote write."""
    sound = ~pl.col("salesforce_id").is_in(list(at_fault)) & ~pl.col("xero_id").is_in(list(at_fault))
    with ctx.leased() as lease:
        ctx.journal.adopt(plan.adopted_links.filter(sound), plan.adopted_moves.filter(sound), lease=lease)


def compensate(
    ctx: Context,
    warehouse: Warehouse,
    run_id: str,
    way_back: Callable[[Mapping[str, Part]], tuple[pl.DataFrame, pl.DataFrame]],
) -> Planned:
    """Seal a plan of the operations that take a run back, checked as any plan.

    way_back: takes each entity as it is now, and gives (OPERATIONS, REJECTS).
    """
    decided = decide(ctx, warehouse)
    operations, rejects = way_back({part.mapping.entity: part for part in decided.parts})
    none = {name: getattr(decided.plan, name).clear() for name in ("adopted_links", "adopted_moves", "moves")}
    decided = replace(decided, plan=replace(decided.plan, operations=operations, rejects=rejects, **none))
    kept, set_aside, findings = check(ctx, warehouse, decided, last=last_plan(ctx), raw_moved=False)
    return seal(ctx, warehouse, decided, kept, set_aside, findings, undoes=run_id)

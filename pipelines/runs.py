"""Strings the stages together as plain functions: what the flows and the command line call.

    pull -> (raw) -> plan: decide, check, seal -> push -> report

Each function takes an open Context. Heavy libraries (dlt, Great Expectations) load only in the stage that
needs them.
"""

from __future__ import annotations

import getpass
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines import plans, weighing
from pipelines.audit import Audited, audit, run_before
from pipelines.certificate import certify, runs_of
from pipelines.clients import identify
from pipelines.context import Context as Context
from pipelines.context import open_context as open_context
from pipelines.planning import PlanOptions as PlanOptions
from pipelines.planning import make_plan
from pipelines.plans import Planned, last_plan, stored
from pipelines.sealing import terms_of
from pipelines.settling import SWEPT, new_disagreement
from reconcile import model
from reconcile.errors import (
    BeyondLimits,
    FixMapping,
    FixSettings,
    NeedsApproval,
    PlanUnusable,
    ReadOnly,
    ReconcileError,
    UnknownPlan,
)
from reconcile.mapped import SHOWN_ENTITIES
from reconcile.price import calls, price
from reconcile.traffic import after_done, exchanges, summed

if TYPE_CHECKING:
    from pipelines.journal import Lease
    from pipelines.pull import ObjectResult
    from pipelines.warehouse import Warehouse

LOOKED_THROUGH: Final = 10_000  # runs that applied, for those that were killed


# --- pull ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pulled:
    """What one pull read, by side and object; failures: the errors behind `errors`."""

    snapshot_id: str
    objects: Sequence[ObjectResult]
    calls: Mapping[str, int]
    failures: Sequence[ReconcileError] = ()

    @property
    def errors(self) -> list[str]:
        return [row.error for row in self.objects if row.error]

    def as_dict(self) -> dict[str, Any]:
        keys = ("side", "object", "kind", "rows_seen", "rows_changed", "deleted", "complete_as_of", "error")
        objects = [{key: getattr(row, key) for key in keys} for row in self.objects]
        return {
            "snapshot": self.snapshot_id,
            "objects": objects,
            "calls": dict(self.calls),
            "news": [note for row in self.objects for note in row.notes],
        }


def pull(
    ctx: Context,
    *,
    full: bool = False,
    accept_smaller: bool = False,
    sweeping: Collection[tuple[str, str]] = (),
) -> Pulled:
    """Take a snapshot of both systems. An object that fails keeps its previous one, and is told.

    sweeping: (side, object) of those that are read whole in any case.
    """
    with ctx.leased(), ctx.warehouse() as warehouse, ctx.run("pull") as told:
        _check_identity(ctx)
        result = _pull(ctx, warehouse, full=full, accept_smaller=accept_smaller, sweeping=sweeping)
        told["counts"] = {f"{row.side}.{row.object}": row.rows_changed for row in result.objects}
    return result


def _pull(
    ctx: Context,
    warehouse: Warehouse,
    *,
    full: bool,
    accept_smaller: bool,
    sweeping: Collection[tuple[str, str]],
) -> Pulled:
    from pipelines.pull import pull as run_pull

    result = run_pull(
        ctx.settings,
        ctx.clients,
        warehouse,
        now=ctx.now(),
        full=full,
        accept_smaller=accept_smaller,
        needed={side: ctx.mapping.pulled(side) for side in model.SIDES},
        sweeping=sweeping,
        groups=ctx.mapping.groups.among if ctx.mapping.groups else (),
        progress=ctx.progress,
    )
    return Pulled(result.snapshot_id, result.objects, result.calls, result.failures)


def _check_identity(ctx: Context) -> None:
    """Compare who the systems say they are with who they were, once for each new token.

    A token leads to one org, and with the tenant's id to one organisation, for its whole life: a quiet run
    asks nothing. The first meeting is remembered, so that a read-only pair can't be mixed up either.
    """
    clients, tokens = ctx.clients, ctx.journal.tokens
    clients.salesforce.auth.session()  # logs in where the kept token is not this login's
    clients.xero.auth.access_token()
    known, mark = ctx.journal.identity(), _mark(ctx)
    kept = {side: tokens.get(side, "access") or {} for side in model.SIDES}
    if known and all(token.get("checked") == mark for token in kept.values()):
        return
    found = identify(clients)
    ctx.journal.check_pins(found)
    if not known:
        ctx.journal.remember_identity(found.as_dict())
    for side in model.SIDES:
        tokens.put(side, "access", {**(tokens.get(side, "access") or {}), "checked": _mark(ctx)})


def _mark(ctx: Context) -> str:
    xero, salesforce = ctx.settings.xero, ctx.settings.salesforce
    where = [xero.api_url, xero.tenant_id, salesforce.login_url]
    return "|".join([*where, *(f"{name}={value}" for name, value in sorted(ctx.journal.identity().items()))])


# --- plan ------------------------------------------------------------------------------------------------


def plan(
    ctx: Context, *, full: bool = False, pull_first: bool = True, options: PlanOptions | None = None
) -> Planned:
    """Pull, decide, check and seal: what would be written, and why.

    Raises CheckStopped where a critical expectation failed, FixData where no snapshot is to be had.
    """
    options = options or PlanOptions()
    with ctx.leased(), ctx.run("plan") as told:
        settle(ctx)
        before = last_plan(ctx) if ctx.mapping.settling else None
        if pull_first:
            pull(ctx, full=full)
        may_sweep = pull_first and not full
        try:
            planned, on_delta = _planned(ctx, options)
        except FixMapping:
            if not may_sweep:
                raise
            # Sweeps alone read the schema: the field or the right that is missed may be there by now.
            planned, on_delta = _swept(ctx, options)
        if may_sweep and on_delta and _makes_accounts(planned):
            # A delta can hide that a linked contact was merged into this one: it would be made twice.
            ctx.progress("new records would be made in Salesforce: reading everything first")
            planned, _ = _swept(ctx, options)
        elif may_sweep and new_disagreement(planned, before):
            ctx.progress("payments don't give what Xero says of an invoice: reading all of them")
            pull(ctx, sweeping=SWEPT)
            planned, _ = _planned(ctx, options)
        told["counts"] = {"operations": planned.operations.height, **planned.phases()}
        return planned


def _planned(ctx: Context, options: PlanOptions) -> tuple[Planned, bool]:
    """Give the plan of the snapshot at hand, and whether Xero's part of that came as a delta."""
    with ctx.warehouse() as warehouse:
        planned = make_plan(ctx, warehouse, options)
        snapshot = warehouse.snapshot()
        xero = snapshot.state("xero", "Contact") if snapshot else None
        return planned, xero is not None and xero.kind == "delta"


def _swept(ctx: Context, options: PlanOptions) -> tuple[Planned, bool]:
    pull(ctx, full=True)
    return _planned(ctx, options)


def _makes_accounts(planned: Planned) -> bool:
    made = (pl.col("system") == "salesforce") & (pl.col("action") == "create")
    made &= ~pl.col("entity").is_in(list(SHOWN_ENTITIES.values()))  # a merge makes no invoice twice
    return not planned.operations.filter(made).is_empty()


def load_plan(ctx: Context, plan_hash: str | None) -> Planned:
    """Give the plan of that hash (its beginning is enough), or the last one.

    Raises PlanUnusable where there is none, or the beginning fits several.
    """
    known = ctx.journal.plans(limit=200)
    found = known[:1] if plan_hash is None else [row for row in known if row.plan_hash.startswith(plan_hash)]
    if not found:
        what = f"no plan begins with {plan_hash!r}" if plan_hash else "there is no plan yet"
        raise UnknownPlan(f"{what}. Make one with `reconcile plan`.")
    if len(found) > 1:
        raise UnknownPlan(f"{len(found)} plans begin with {plan_hash!r}. Give more of its hash.")
    return replace(stored(ctx, found[0]), state=found[0].state)


# --- push ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Applied:
    """What became of each operation."""

    plan: str
    outcomes: pl.DataFrame  # OUTCOME_ROWS
    calls: Mapping[str, int]
    audited: Audited
    # What these operations were said to cost, in calls; the bytes that they took (side -> sent, received), and were
    # said to take.
    priced: Mapping[str, int] = field(default_factory=dict)
    traffic: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    traffic_priced: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        return {
            str(name): int(count)
            for name, count in self.outcomes.group_by("outcome").len().sort("outcome").iter_rows()
        }

    @property
    def failed(self) -> bool:
        undone = self.outcomes.filter(~pl.col("outcome").is_in(["confirmed", "adopted"]))
        return not undone.is_empty() or self.audited.failed


def settle(ctx: Context) -> None:
    """Find out what became of each write whose answer was lost, before anything is planned.

    Raises Incident where the reading after it finds what must never be; the journal keeps it.
    """
    from pipelines.push import settle as settle_intents

    if ctx.journal.unsettled().is_empty():
        return
    if ctx.journal.trouble:
        ctx.progress("the journal is not as it was left: what is unsettled stays so")
        return
    ctx.progress("settling writes whose answer was lost")
    left = {sent.request_id for sent in ctx.journal.intents.live()}
    enabled = ctx.journal.writes_enabled(ctx.settings.pair.name) is not None
    with ctx.leased() as lease:
        settle_intents(
            journal=ctx.journal,
            lease=lease,
            clients=ctx.clients,
            mapping=ctx.mapping,
            region=ctx.settings.pair.region,
            settings_limits=ctx.settings.limits,
            now=ctx.now,
            sleep=ctx.sleep,
            look_only=not enabled,
        )
        audited = _audit(ctx, lease, since=run_before(ctx.journal))
    for run_id in runs_of(ctx.journal, left):
        certify(ctx, run_id)
    audited.raise_for_incident()


def _audit(ctx: Context, lease: Lease, *, since: datetime) -> Audited:
    """Read again what was written, in this run and in the one before."""
    ctx.progress("reading again what was written")
    return audit(
        ctx.journal,
        ctx.clients,
        ctx.mapping,
        since=since,
        history=ctx.settings.audit.history,
        region=ctx.settings.pair.region,
        lease=lease,
        now=ctx.now,
    )


def apply(ctx: Context, planned: Planned, *, phases: Sequence[str] = (), approved: bool = False) -> Applied:
    """Push a sealed plan, once. Running it again sends only what was not done.

    Raises JournalMismatch where the journal is not as it was left, ReadOnly where writes are not enabled,
    WrongPair where org, tenant or currency are not the pinned ones, PlanUnusable where the plan has expired or
    was replaced, BeyondLimits where it needs an approval.
    """
    _may_apply(ctx, planned, approved=approved)
    with ctx.leased() as lease, _certified(ctx) as told:
        # Whoever had the lease meanwhile may have replaced the plan, or it expired.
        row = ctx.journal.plan(planned.hash)
        _may_apply(ctx, replace(planned, state=row.state) if row else planned, approved=approved)
        return _apply(ctx, planned, lease, told, phases=phases, approved=approved)


@contextmanager
def _certified(ctx: Context) -> Iterator[dict[str, str]]:
    """Leave a certificate of the run whose id is put in, however it ends, and of those before that left none."""
    told: dict[str, str] = {}
    killed = _uncertified(ctx)
    try:
        yield told
    finally:
        for run_id in (*told.values(), *killed):
            certify(ctx, run_id)


def _uncertified(ctx: Context) -> list[str]:
    """Give the runs that pushed and left no certificate, and those of whose writes this run learns more."""
    pushed = [run.run_id for run in ctx.journal.runs(limit=LOOKED_THROUGH, kind="apply")]
    without = [run_id for run_id in pushed if not (ctx.certificates / f"{run_id}.json").exists()]
    unsettled = runs_of(ctx.journal, [sent.request_id for sent in ctx.journal.intents.live()])
    return sorted({*without, *unsettled})


def _apply(
    ctx: Context,
    planned: Planned,
    lease: Lease,
    certified: dict[str, str],
    *,
    phases: Sequence[str],
    approved: bool,
) -> Applied:
    from pipelines.push import push

    who = {"by": getpass.getuser(), "approved": "by hash or hand" if approved else "within the limits"}
    with ctx.run("apply", plan=planned.hash, **who) as told:
        certified["run_id"] = told["run_id"]
        before, traffic_before, met_before = ctx.clients.calls(), ctx.clients.traffic(), ctx.clients.met()
        ctx.journal.check_pins(identify(ctx.clients))
        if approved:
            ctx.journal.set_plan_state(planned.hash, "approved")
            ctx.journal.note("approved", {"plan": planned.hash, "by": getpass.getuser()})
        to_do = _to_do(ctx, planned, phases)
        since = run_before(ctx.journal, told["run_id"])
        terms = terms_of(ctx, since=since)
        done = planned.operations.join(_to_do(ctx, planned, ()), on="operation_id", how="anti")
        weights, recent = after_done(planned.weights, planned.recent, planned.operations, done, planned.rows)
        priced, expected = calls(price(to_do, terms)), exchanges(to_do, terms, weights, recent)
        outcomes = push(
            planned.operations,
            journal=ctx.journal,
            lease=lease,
            clients=ctx.clients,
            mapping=ctx.mapping,
            plan_hash=planned.hash,
            seen_at=planned.seen_at,
            seen=planned.seen,
            moves=planned.moves,
            region=ctx.settings.pair.region,
            settings_limits=ctx.settings.limits,
            settings_push=ctx.settings.push,
            overlap_s=ctx.settings.pull.overlap_s,
            phases=phases or None,
            run_id=told["run_id"],
            now=ctx.now,
            sleep=ctx.sleep,
            progress=lambda done, total, text: ctx.progress(f"push {done}/{total} {text}"),
        )
        met_after = ctx.clients.met()
        if operations_left(ctx, planned):
            ctx.journal.set_plan_state(planned.hash, "applied_in_part")
        audited = _audit(ctx, lease, since=since)
        used = {side: count - before[side] for side, count in ctx.clients.calls().items()}
        moved = {
            side: {way: count - traffic_before[side][way] for way, count in ways.items()}
            for side, ways in ctx.clients.traffic().items()
        }
        applied = Applied(planned.hash, outcomes, used, audited, priced, moved, summed(expected))
        if not applied.failed and weighing.went_as_priced(used, priced):
            met = met_before, met_after, ctx.clients.met()
            weighing.learn(ctx.journal, lease, expected, weights, *met)
        told["counts"] = {**applied.counts(), **audited.counts()}
        return applied


def operations_left(ctx: Context, planned: Planned) -> int:
    """How many operations of the plan, of all phases, are not done."""
    return _to_do(ctx, planned, ()).height


def _to_do(ctx: Context, planned: Planned, phases: Sequence[str]) -> pl.DataFrame:
    """Give the OPERATIONS of these phases that are not done; none named: of all."""
    done = ctx.journal.outcomes(planned.hash).filter(pl.col("outcome").is_in(["confirmed", "adopted"]))
    left = planned.operations.join(done, on="operation_id", how="anti")
    return left.filter(pl.col("phase").cast(pl.String).is_in(list(phases))) if phases else left


def _may_apply(ctx: Context, planned: Planned, *, approved: bool) -> None:
    pair = ctx.settings.pair
    ctx.journal.must_be_whole()
    if ctx.journal.writes_enabled(pair.name) is None:
        raise ReadOnly(pair=pair.name)
    if planned.state in ("superseded", "expired") or plans.expired(planned, ctx.now()):
        raise PlanUnusable(
            f"plan {planned.short} is {planned.state if planned.state != 'sealed' else 'expired'}. "
            "Make a new one with `reconcile plan`, and read it."
        )
    pins = ctx.journal.pins()
    for name in ("salesforce_org_id", "xero_tenant_id"):
        if planned.header.get(name) not in (None, pins.get(name)):
            raise PlanUnusable(
                f"plan {planned.short} was made for another {name}. Make a new one with `reconcile plan`."
            )
    if planned.header.get("mapping") != ctx.mapping.hash:
        raise PlanUnusable(
            f"plan {planned.short} rests on another mapping. Make a new one with `reconcile plan`."
        )
    if planned.beyond_limits and not approved:
        raise BeyondLimits(
            f"plan {planned.short}: {'; '.join(planned.beyond_limits)}. Read it with `reconcile show`, "
            f"then approve it: `reconcile apply {planned.short} --yes`."
        )


def enable_writes(ctx: Context, *, pair: str, environment: str, off: bool = False) -> dict[str, Any]:
    """Allow writes to the named pair, and pin who its systems are; or make it read-only again."""
    known = ctx.settings.pair
    for option, key, given, expected in (
        ("pair", "name", pair, known.name),
        ("environment", "environment", environment, known.environment),
    ):
        if given != expected:
            raise FixSettings(
                f"--{option}: found {given!r}, expected {expected!r}, as pair.{key} in the settings says."
            )
    if off:
        ctx.journal.disable_writes(pair)
        return {}
    identity = identify(ctx.clients)
    if environment == "sandbox" and not identity.is_sandbox:
        raise NeedsApproval(
            "--environment sandbox: Salesforce says that this org is a production org. "
            "If that is meant, set pair.environment to 'production' and name it here."
        )
    pins = identity.as_dict()
    ctx.journal.enable_writes(pair, environment, pins)
    return pins

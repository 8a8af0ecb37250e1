"""Strings the stages together as plain functions: what the flows and the command line call.

    pull -> (raw) -> canonicalise -> match -> merge -> build_plan -> check -> seal -> push -> report

Each function takes an open Context. Heavy libraries (dlt, Great Expectations) load only in the stage that
needs them.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import mappings
from pipelines import plans
from pipelines.clients import Clients, identify, open_clients
from pipelines.journal import Journal, Lease, PlanRow, open_journal
from pipelines.plans import Planned
from pipelines.settings import Settings, load_settings
from reconcile import model
from reconcile.drift import standing, with_age
from reconcile.errors import (
    BeyondLimits,
    CheckStopped,
    FixData,
    FixMapping,
    FixSettings,
    NeedsApproval,
    PlanUnusable,
    ReadOnly,
    ReconcileError,
    UnknownPlan,
)
from reconcile.mapping import EntityMapping, check_mapping, load_mapping
from reconcile.mapping import Mapping as FieldMapping
from reconcile.match import match
from reconcile.merge import difference_fingerprint, merge, recent_writes
from reconcile.normalise import Canonical, base_values, canonicalise
from reconcile.plan import Part, Plan, beyond_limits, build_plan, cost, part_of, plan_hash

if TYPE_CHECKING:
    from pipelines.doctor import Finding, Rights
    from pipelines.pull import ObjectResult
    from pipelines.warehouse import Snapshot, Warehouse

Progress = Callable[[str], None]
RECENT_WRITES = 8  # of one unit: enough to see it go back and forth three times


def now() -> datetime:
    return datetime.now(UTC)


class Context:
    """One pair, open for work: its settings, journal, clients, warehouse and mapping."""

    def __init__(self, settings: Settings, journal: Journal, clients: Clients, progress: Progress) -> None:
        self.settings, self.journal, self.clients, self.progress = settings, journal, clients, progress
        self._lease: Lease | None = None

    @cached_property
    def mapping(self) -> FieldMapping:
        file = self.settings.mapping.file
        if file is None:
            return load_mapping(
                mappings.library()["default"], name="default.yaml", library=mappings.library()
            )
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FixMapping(
                f"{file}: can't be read: {error}. Correct mapping.file in the settings."
            ) from None
        return load_mapping(text, name=str(file), library=mappings.library())

    @property
    def plans_folder(self) -> Path:
        return self.settings.pair.data_dir / "plans"

    @property
    def published(self) -> Path:
        return self.settings.pair.data_dir / "published.duckdb"

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        from pipelines.warehouse import Warehouse

        key = self.settings.warehouse.key.get_secret_value()
        with Warehouse(self.settings.warehouse_path, key) as opened:
            yield opened

    @contextmanager
    def leased(self) -> Iterator[Lease]:
        """Hold the pair's lease; a stage within a stage uses the one that is held."""
        if self._lease is not None:
            yield self._lease
            return
        holder = f"{getpass.getuser()}@{socket.gethostname()} process {os.getpid()}"
        with self.journal.lease(self.settings.pair.name, holder, self.settings.limits.lease_s) as lease:
            self._lease = lease
            try:
                yield lease
            finally:
                self._lease = None

    @contextmanager
    def run(self, kind: str) -> Iterator[dict[str, Any]]:
        """Write one run into the journal: what it was, how it ended, what it cost."""
        run_id = self.journal.start_run(kind)
        told: dict[str, Any] = {"run_id": run_id, "counts": {}}
        state, before = "failed", self.clients.calls()
        try:
            yield told
            state = "done"
        finally:
            calls = {side: count - before.get(side, 0) for side, count in self.clients.calls().items()}
            self.journal.end_run(run_id, state, counts=told["counts"], calls=calls)


@contextmanager
def open_context(settings_file: Path, *, progress: Progress, offline: bool = False) -> Iterator[Context]:
    """Open the pair of a settings file; `offline` commands don't look at the pins."""
    settings = load_settings(settings_file)
    with opened(settings, progress=progress) as ctx:
        if not offline:
            _check_environment(ctx)
        yield ctx


@contextmanager
def opened(settings: Settings, *, progress: Progress) -> Iterator[Context]:
    settings.pair.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_journal(settings) as journal, open_clients(settings, journal.tokens) as clients:
        journal.bind(settings.pair.name)
        yield Context(settings, journal, clients, progress)


def _check_environment(ctx: Context) -> None:
    pair = ctx.settings.pair
    enabled = ctx.journal.writes_enabled(pair.name)
    if enabled and enabled != pair.environment:
        raise FixSettings(
            f"pair.environment: found {pair.environment!r}, expected {enabled!r}, "
            "for which writes were enabled. Correct the setting, or enable writes anew."
        )


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

    @property
    def changed(self) -> bool:
        return any(row.rows_changed or row.deleted for row in self.objects)

    def as_dict(self) -> dict[str, Any]:
        keys = ("side", "object", "kind", "rows_seen", "rows_changed", "deleted", "complete_as_of", "error")
        objects = [{key: getattr(row, key) for key in keys} for row in self.objects]
        return {
            "snapshot": self.snapshot_id,
            "objects": objects,
            "calls": dict(self.calls),
            "news": [note for row in self.objects for note in row.notes],
        }


def pull(ctx: Context, *, full: bool = False, accept_smaller: bool = False) -> Pulled:
    """Take a snapshot of both systems. An object that fails keeps its previous one, and is told."""
    with ctx.leased(), ctx.warehouse() as warehouse, ctx.run("pull") as told:
        _check_identity(ctx)
        result = _pull(ctx, warehouse, full=full, accept_smaller=accept_smaller)
        told["counts"] = {f"{row.side}.{row.object}": row.rows_changed for row in result.objects}
    return result


def _pull(ctx: Context, warehouse: Warehouse, *, full: bool, accept_smaller: bool) -> Pulled:
    from pipelines.pull import pull as run_pull

    result = run_pull(
        ctx.settings,
        ctx.clients,
        warehouse,
        now=now(),
        full=full,
        accept_smaller=accept_smaller,
        needed={side: ctx.mapping.fields(side) for side in model.SIDES},
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


@dataclass(frozen=True)
class Decided:
    """What the decisions of one run gave, before the checks."""

    plan: Plan
    parts: tuple[Part, ...]
    fields: pl.DataFrame
    raw: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def records(self) -> pl.DataFrame:
        return pl.concat([part.records for part in self.parts])

    @property
    def values(self) -> pl.DataFrame:
        return pl.concat([part.values for part in self.parts])


@dataclass(frozen=True)
class PlanOptions:
    """allowed: checks of a whole that a person lets pass this once. retry_refused: try what was refused again."""

    allowed: frozenset[str] = frozenset()
    retry_refused: bool = False


def plan(
    ctx: Context, *, full: bool = False, pull_first: bool = True, options: PlanOptions | None = None
) -> Planned:
    """Pull, decide, check and seal: what would be written, and why.

    Raises CheckStopped where a critical expectation failed, FixData where no snapshot is to be had.
    """
    with ctx.leased(), ctx.run("plan") as told:
        settle(ctx)
        if pull_first:
            pull(ctx, full=full)
        try:
            with ctx.warehouse() as warehouse:
                planned = _plan(ctx, warehouse, options or PlanOptions())
        except FixMapping:
            if full or not pull_first:
                raise
            # Sweeps alone read the schema: the field or the right that is missed may be there by now.
            pull(ctx, full=True)
            with ctx.warehouse() as warehouse:
                planned = _plan(ctx, warehouse, options or PlanOptions())
        told["counts"] = {"operations": planned.operations.height, **planned.phases()}
        return planned


def _plan(ctx: Context, warehouse: Warehouse, options: PlanOptions) -> Planned:
    basis = _basis(ctx, warehouse)
    last = _last_plan(ctx)
    settled = last is not None and not (last.waits or last.errors or _snapshot(warehouse).errors)
    settled = settled and options == PlanOptions()
    if last is not None and settled and last.basis == basis:
        ctx.progress("nothing has moved since the last plan")
        return last
    ctx.progress("deciding: canonical, match, merge, plan")
    decided = _without_failed(ctx, decide(ctx, warehouse), _snapshot(warehouse).errors)
    decided = decided if options.retry_refused else _without_refused(ctx, decided)
    kept, rejects, findings = check(
        ctx, warehouse, decided, raw_moved=_raw_moved(last, basis), allowed=options.allowed
    )
    at_fault = _ids_at_fault(findings)
    _adopt(ctx, decided.plan, at_fault)
    planned = _seal(ctx, warehouse, decided, kept, rejects, findings)
    _remember(ctx, warehouse, planned, decided)
    return planned


def _basis(ctx: Context, warehouse: Warehouse) -> dict[str, Any]:
    """What the decisions rest on; the same basis gives the same plan."""
    return {
        "raw": _snapshot(warehouse).content_id,
        "schema": hashlib.sha256(warehouse.fields().write_ndjson().encode()).hexdigest(),
        "mapping": ctx.mapping.hash,
        "journal": ctx.journal.sequence(),
        "region": ctx.settings.pair.region,
    }


def _snapshot(warehouse: Warehouse) -> Snapshot:
    snapshot = warehouse.snapshot()
    if snapshot is None:
        raise FixData(
            "there is no snapshot yet. Run `reconcile pull`, or `reconcile plan` without --no-pull."
        )
    return snapshot


def _raw_moved(last: Planned | None, basis: Mapping[str, Any]) -> bool:
    return last is None or last.basis.get("raw") != basis["raw"]


def _last_plan(ctx: Context) -> Planned | None:
    for row in ctx.journal.plans(limit=1):
        try:
            return replace(_stored(ctx, row), state=row.state)
        except PlanUnusable:
            return None
    return None


def _stored(ctx: Context, row: PlanRow) -> Planned:
    return plans.load(ctx.plans_folder, row.plan_hash, seal=row.manifest.get("seal"))


def decide(ctx: Context, warehouse: Warehouse) -> Decided:
    """Canonical, match, merge and plan over the snapshot at hand; no writes anywhere."""
    fields = warehouse.fields()
    check_mapping(ctx.mapping, fields)
    written = ctx.journal.recent(limit=RECENT_WRITES)
    decisions, bases, links_known = ctx.journal.decisions(), ctx.journal.bases(), ctx.journal.links()
    parts: list[Part] = []
    party_links: pl.DataFrame | None = None
    raw: dict[str, pl.DataFrame] = {}
    for entity in model.ENTITIES:
        if entity not in ctx.mapping.entities:
            continue
        entity_mapping = ctx.mapping.entities[entity]
        sides = {side: _canonical(ctx, warehouse, entity_mapping, side, raw) for side in model.SIDES}
        records = pl.concat([sides[side].records for side in model.SIDES])
        values = pl.concat([sides[side].values for side in model.SIDES])
        known = links_known.filter(pl.col("entity") == entity)
        matches = match(
            records,
            values,
            known,
            decisions.filter(pl.col("entity") == entity),
            entity=entity,
            parents=party_links,
        )
        party_links = matches.links if entity == "party" else party_links
        with_values = base_values(
            bases,
            matches.links,
            entity_mapping,
            sides["salesforce"],
            sides["xero"],
            region=ctx.settings.pair.region,
        )
        merged = merge(
            entity_mapping,
            matches.links,
            records,
            values,
            with_values,
            decisions.filter(pl.col("entity") == entity),
            recent=recent_writes(
                written,
                matches.links,
                entity_mapping,
                sides["salesforce"],
                sides["xero"],
                region=ctx.settings.pair.region,
            ),
        )
        parts.append(part_of(entity_mapping, sides["salesforce"], sides["xero"], matches, merged))
    return Decided(build_plan(parts, fields, decisions), tuple(parts), fields, raw)


def _without_refused(ctx: Context, decided: Decided) -> Decided:
    """Leave out what a vendor refused in this very form, with what depends on it, and tell of it.

    An operation's id says what it does: when a value or the mapping changes it is another one, and tried.
    """
    operations = decided.plan.operations
    refused = operations.join(ctx.journal.dead_letters().select("operation_id", "message"), on="operation_id")
    if refused.is_empty():
        return decided
    out = set(refused["operation_id"])
    while more := set(operations.filter(pl.col("depends_on").is_in(list(out)))["operation_id"]) - out:
        out |= more
    told = refused.select(
        stage=pl.lit("push"),
        entity=pl.col("entity").cast(pl.String),
        side=pl.col("system").cast(pl.String),
        record_id=pl.coalesce("record_id", "source_id"),
        unit="unit",
        reason=pl.format(
            "it was refused: {}. Mend it there, then run `reconcile plan --retry`",
            pl.col("message").fill_null("").str.strip_chars_end(". "),
        ),
    )
    kept = operations.filter(~pl.col("operation_id").is_in(list(out)))
    rejects = pl.concat([decided.plan.rejects, model.conform(told, model.REJECTS)])
    return replace(decided, plan=replace(decided.plan, operations=kept, rejects=rejects))


def _without_failed(ctx: Context, decided: Decided, errors: Mapping[str, str]) -> Decided:
    """Plan nothing for an entity whose snapshot is not of this pull, nor for what depends on it."""
    failed = [
        name
        for name, entity in ctx.mapping.entities.items()
        if any(f"{side}.{entity.side(side).object}" in errors for side in model.SIDES)
    ]
    if "party" in failed:
        failed = list(ctx.mapping.entities)
    if not failed:
        return decided
    plan, held = decided.plan, pl.col("entity").cast(pl.String).is_in(failed)
    reasons = [
        {
            "stage": "pull",
            "entity": name,
            "reason": f"nothing is planned for {name}: {'; '.join(errors)} could not be read",
        }
        for name in failed
    ]
    told = model.conform(pl.DataFrame(reasons), model.REJECTS)
    return replace(
        decided,
        plan=replace(
            plan,
            operations=plan.operations.filter(~held),
            adopted_links=plan.adopted_links.filter(~held),
            adopted_moves=plan.adopted_moves.filter(~held),
            moves=plan.moves.filter(~held),
            rejects=pl.concat([plan.rejects, told]),
        ),
    )


def _canonical(
    ctx: Context, warehouse: Warehouse, entity: EntityMapping, side: str, seen: dict[str, pl.DataFrame]
) -> Canonical:
    object_name = entity.side(side).object
    name = f"{side}.{object_name}"
    if name not in seen:
        seen[name] = warehouse.raw(side, object_name)
    return canonicalise(
        seen[name],
        entity,
        side,
        observed=warehouse.observed(side, object_name),
        region=ctx.settings.pair.region,
    )


# --- check -----------------------------------------------------------------------------------------------


def check(
    ctx: Context,
    warehouse: Warehouse,
    decided: Decided,
    *,
    raw_moved: bool,
    allowed: frozenset[str] = frozenset(),
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Check raw, canonical and plan; give the operations that remain, what was set aside, the findings.

    Great Expectations is not loaded where no row arrived and no operation is planned.
    allowed: checks of a whole that a person lets pass this once; they warn.
    Raises CheckStopped where a critical expectation failed for the whole, or one could not run.
    """
    from expectations.checks import run_checks, set_aside, stopped, verdict

    operations = decided.plan.operations
    if operations.is_empty() and not raw_moved:
        return operations, model.empty(model.REJECTS), model.empty(model.FINDINGS)
    ctx.progress("checking: raw, canonical, plan")
    snapshot = _snapshot(warehouse)
    last = _last_plan(ctx)
    limits = ctx.settings.limits
    links = pl.concat([part.matches.links for part in decided.parts])
    found = [
        run_checks(
            "raw",
            decided.raw,
            {
                "now": now(),
                "previous_rows": dict(last.rows) if last else {},
                "complete_as_of": snapshot.complete_as_of,
                "smallest_share": ctx.settings.pull.smallest_share,
                "allowed": allowed,
            },
        ),
        run_checks("canonical", {"records": decided.records, "values": decided.values}, {"allowed": allowed}),
        run_checks(
            "plan",
            {
                "operations": operations,
                "links": links,
                "records": decided.records,
                "values": decided.values,
                "fields": decided.fields,
            },
            {
                "max_operations": limits.max_operations,
                "max_share": limits.max_share,
                "projections": [
                    p.name for entity in ctx.mapping.entities.values() for p in entity.projections
                ],
                "allowed": allowed,
            },
        ),
    ]
    findings = pl.concat(found)
    if verdict(findings) == "stop":
        raise CheckStopped(stopped(findings))
    kept, rejects = set_aside(operations, findings)
    return kept, rejects, findings


def _ids_at_fault(findings: pl.DataFrame) -> frozenset[str]:
    if findings.is_empty():
        return frozenset()
    from expectations.checks import ids_at_fault

    return ids_at_fault(findings)


def _adopt(ctx: Context, plan: Plan, at_fault: frozenset[str]) -> None:
    """Take into the journal what holds on both sides already and needs no remote write."""
    sound = ~pl.col("salesforce_id").is_in(list(at_fault)) & ~pl.col("xero_id").is_in(list(at_fault))
    with ctx.leased() as lease:
        ctx.journal.adopt(plan.adopted_links.filter(sound), plan.adopted_moves.filter(sound), lease=lease)


# --- seal ------------------------------------------------------------------------------------------------


def _seal(
    ctx: Context,
    warehouse: Warehouse,
    decided: Decided,
    operations: pl.DataFrame,
    set_aside: pl.DataFrame,
    findings: pl.DataFrame,
) -> Planned:
    from expectations.checks import for_keeping

    snapshot, decisions = _snapshot(warehouse), decided.plan
    limits, made = ctx.settings.limits, now()
    aged = with_age(pl.concat([decisions.drift, decisions.conflicts]), warehouse.drift_history(), now=made)
    pins = ctx.journal.pins()
    header = {
        "pair": ctx.settings.pair.name,
        "environment": ctx.settings.pair.environment,
        "salesforce_org_id": pins.get("salesforce_org_id"),
        "xero_tenant_id": pins.get("xero_tenant_id"),
        "mapping": ctx.mapping.hash,
        "snapshot": snapshot.snapshot_id,
        "created_at": made.isoformat(),
    }
    planned = Planned(
        hash=plan_hash(operations, header),
        file=None,
        created_at=made,
        expires_at=made + timedelta(hours=limits.plan_expires_h),
        operations=operations,
        moves=decisions.moves,
        conflicts=aged.filter(pl.col("why") == "conflict"),
        drift=aged.filter(pl.col("why") != "conflict"),
        review=decisions.review,
        rejects=pl.concat([decisions.rejects, set_aside]),
        findings=for_keeping(findings),
        cost=cost(operations),
        header=header,
        complete_as_of=snapshot.complete_as_of,
        beyond_limits=beyond_limits(
            operations, decided.records, max_operations=limits.max_operations, max_share=limits.max_share
        ),
        names=_names(decided, decisions, operations),
        basis=_basis(ctx, warehouse),
        rows=snapshot.rows,
        errors=snapshot.errors,
        # What a proposed link waits for is counted there.
        unmatched=decisions.unmatched.filter(pl.col("why").ne_missing("review")),
        links=pl.concat([_holding(decided), model.conform(decisions.review, model.LINKS)]),
        summary=_standing(ctx, decided),
    )
    file = plans.store(planned, ctx.plans_folder)
    manifest = {
        "operations": operations.height,
        "phases": planned.phases(),
        "conflicts": planned.conflicts.height,
        "review": planned.review.height,
        "drift": planned.drift.height,
        "snapshot": snapshot.snapshot_id,
        "by_entity": planned.by_entity(),
        "seal": plans.seal_of(ctx.plans_folder, planned.hash),
    }
    ctx.journal.save_plan(planned.hash, manifest, state="sealed")
    return replace(planned, file=file)


def _holding(decided: Decided) -> pl.DataFrame:
    """Give the LINKS that hold in this run: those that the journal knows, and those just found."""
    return pl.concat([model.conform(part.matches.links, model.LINKS) for part in decided.parts])


def _standing(ctx: Context, decided: Decided) -> pl.DataFrame:
    units = {name: [unit.name for unit in entity.units] for name, entity in ctx.mapping.entities.items()}
    return standing(units, _holding(decided), decided.plan.drift, decided.plan.conflicts)


def _names(decided: Decided, plan: Plan, operations: pl.DataFrame) -> dict[str, str]:
    """A display name for each record that the plan speaks of."""
    ids = pl.concat(
        [
            *(operations[column] for column in ("record_id", "source_id")),
            *(frame["record_id"] for frame in (plan.unmatched, plan.rejects)),
            *(
                frame[column]
                for frame in (plan.conflicts, plan.review, plan.drift)
                for column in ("salesforce_id", "xero_id")
            ),
        ]
    ).drop_nulls()
    named = decided.values.filter(
        (pl.col("unit") == "name") & pl.col("record_id").is_in(ids.unique().implode())
    )
    return {
        record_id: _spoken_name(value)
        for record_id, value in named.select("record_id", "value").iter_rows()
        if value
    }


def _spoken_name(value: str) -> str:
    import json

    if not value.startswith("{"):
        return value
    name = json.loads(value)
    return " ".join(part for part in (name.get("first"), name.get("last")) if part)


def _remember(ctx: Context, warehouse: Warehouse, planned: Planned, decided: Decided) -> None:
    """Keep drift and links in the warehouse, and publish the read copy for notebooks."""
    standing_now = pl.concat([planned.drift, planned.conflicts])
    warehouse.save_drift(planned.short, standing_now, at=planned.created_at)
    warehouse.fold(ctx.journal.links(), ctx.journal.bases(), sequence=ctx.journal.sequence())
    last = {"run_id": [planned.short], "at": [planned.created_at], "operations": [planned.operations.height]}
    warehouse.save_tables(
        {
            "last_plan": pl.DataFrame(last),
            "links": planned.links,
            "summary": planned.summary,
            "review": planned.review,
            "unmatched": planned.unmatched,
        }
    )
    warehouse.publish(ctx.published)


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
    return replace(_stored(ctx, found[0]), state=found[0].state)


# --- push ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Applied:
    """What became of each operation."""

    plan: str
    outcomes: pl.DataFrame  # OUTCOME_ROWS
    calls: Mapping[str, int]

    def counts(self) -> dict[str, int]:
        return {
            str(name): int(count)
            for name, count in self.outcomes.group_by("outcome").len().sort("outcome").iter_rows()
        }

    @property
    def failed(self) -> bool:
        return not self.outcomes.filter(~pl.col("outcome").is_in(["confirmed", "adopted"])).is_empty()


def settle(ctx: Context) -> None:
    """Find out what became of each write whose answer was lost, before anything is planned."""
    from pipelines.push import settle as settle_intents

    if ctx.journal.unsettled().is_empty():
        return
    ctx.progress("settling writes whose answer was lost")
    enabled = ctx.journal.writes_enabled(ctx.settings.pair.name) is not None
    with ctx.leased() as lease:
        settle_intents(
            journal=ctx.journal,
            lease=lease,
            clients=ctx.clients,
            mapping=ctx.mapping,
            region=ctx.settings.pair.region,
            settings_limits=ctx.settings.limits,
            look_only=not enabled,
        )


def apply(ctx: Context, planned: Planned, *, phases: Sequence[str] = (), approved: bool = False) -> Applied:
    """Push a sealed plan, once. Running it again sends only what was not done.

    Raises ReadOnly where writes are not enabled, WrongPair where org, tenant or currency are not the pinned
    ones, PlanUnusable where the plan has expired or was replaced, BeyondLimits where it needs an approval.
    """
    from pipelines.push import push

    _may_apply(ctx, planned, approved=approved)
    with ctx.leased() as lease, ctx.run("apply") as told:
        ctx.journal.check_pins(identify(ctx.clients))
        if approved:
            ctx.journal.set_plan_state(planned.hash, "approved")
            ctx.journal.note("approved", {"plan": planned.hash, "by": getpass.getuser()})
        outcomes = push(
            planned.operations,
            journal=ctx.journal,
            lease=lease,
            clients=ctx.clients,
            mapping=ctx.mapping,
            plan_hash=planned.hash,
            seen_at=planned.seen_at,
            moves=planned.moves,
            region=ctx.settings.pair.region,
            settings_limits=ctx.settings.limits,
            overlap_s=ctx.settings.pull.overlap_s,
            phases=phases or None,
            run_id=told["run_id"],
            progress=lambda done, total, text: ctx.progress(f"push {done}/{total} {text}"),
        )
        if _left(ctx, planned):
            ctx.journal.set_plan_state(planned.hash, "applied_in_part")
        applied = Applied(planned.hash, outcomes, ctx.clients.calls())
        told["counts"] = applied.counts()
        return applied


def _left(ctx: Context, planned: Planned) -> int:
    """How many operations of the plan, of all phases, are not done."""
    done = ctx.journal.outcomes(planned.hash).filter(pl.col("outcome").is_in(["confirmed", "adopted"]))
    return planned.operations.join(done, on="operation_id", how="anti").height


def _may_apply(ctx: Context, planned: Planned, *, approved: bool) -> None:
    pair = ctx.settings.pair
    if ctx.journal.writes_enabled(pair.name) is None:
        raise ReadOnly(pair=pair.name)
    if planned.state in ("superseded", "expired") or plans.expired(planned, now()):
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


# --- look ------------------------------------------------------------------------------------------------


def links(ctx: Context) -> pl.DataFrame:
    """Give LINKS: those that hold, those in review (of the last plan), those refused."""
    linked = ctx.journal.links()
    refused = ctx.journal.decisions().filter(pl.col("kind") == "refuse_link")
    refused_links = refused.select(
        pl.concat_str(
            pl.col("entity").cast(pl.String),
            *(pl.col(f"{side}_id").fill_null("") for side in model.SIDES),
            separator=":",
        ).alias("link_id"),
        "entity",
        "salesforce_id",
        "xero_id",
        pl.lit("refused").alias("status"),
        pl.lit("refused").alias("rule"),
        "made_by",
    )
    last = _last_plan(ctx)
    review = last.review if last else model.empty(model.LINKS)
    undecided = review.join(refused_links, on="link_id", how="anti").join(linked, on="link_id", how="anti")
    frames = (linked, undecided, refused_links)
    return pl.concat([model.conform(frame, model.LINKS) for frame in frames]).sort(
        "status", "entity", "salesforce_id"
    )


def review_queue(ctx: Context) -> list[dict[str, Any]]:
    """Give the proposed links that no one decided yet, with names; local use only."""
    last = _last_plan(ctx)
    if last is None:
        return []
    open_ids = links(ctx).filter(pl.col("status") == "review")["link_id"]
    rows = last.review.filter(pl.col("link_id").is_in(open_ids.implode())).to_dicts()
    return [
        {
            **row,
            "salesforce_name": last.names.get(row["salesforce_id"] or "", ""),
            "xero_name": last.names.get(row["xero_id"] or "", ""),
        }
        for row in rows
    ]


def decide_link(ctx: Context, kind: str, link: str) -> dict[str, Any]:
    """Accept or refuse a proposed link, by its number in the queue or its id."""
    queue = review_queue(ctx)
    numbered = {str(number): row for number, row in enumerate(queue, start=1)}
    row = numbered.get(link) or next((row for row in queue if row["link_id"] == link), None)
    if row is None:
        raise FixData(
            f"links {kind}: found {link!r}, expected a number from 1 to {len(queue)} or the id of a link in "
            "`reconcile links review`."
        )
    ctx.journal.decide(
        f"{kind}_link",
        entity=row["entity"],
        salesforce_id=row["salesforce_id"],
        xero_id=row["xero_id"],
        fingerprint=row["fingerprint"],
        made_by=getpass.getuser(),
    )
    return {key: row[key] for key in ("link_id", "entity", "salesforce_id", "xero_id")} | {"decision": kind}


TAKES = {"salesforce": "salesforce_wins", "xero": "xero_wins", "neither": "accept_drift"}


def resolve(ctx: Context, record_id: str, unit: str, take: str) -> dict[str, Any]:
    """Decide a conflict or a difference of the last plan; it holds while both values are still these."""
    last = _last_plan(ctx)
    standing = pl.concat([last.conflicts, last.drift]) if last else model.empty(model.DRIFT)
    named = (
        (pl.col("salesforce_id") == record_id)
        | (pl.col("xero_id") == record_id)
        | (pl.col("link_id") == record_id)
    )
    found = standing.filter(named & (pl.col("unit") == unit)).head(1).to_dicts()
    if not found:
        units = standing.filter(named)["unit"].unique().sort().to_list()
        expected = (
            f"one of {', '.join(units)}" if units else "the id of a record with a conflict or a difference"
        )
        raise FixData(f"resolve: found {record_id} {unit}, expected {expected}; see `reconcile plan`.")
    row = found[0]
    ctx.journal.decide(
        TAKES[take],
        entity=row["entity"],
        salesforce_id=row["salesforce_id"],
        xero_id=row["xero_id"],
        unit=unit,
        fingerprint=difference_fingerprint(row["salesforce"], row["xero"]),
        made_by=getpass.getuser(),
    )
    return {key: row[key] for key in ("link_id", "entity", "salesforce_id", "xero_id", "unit")} | {
        "take": take
    }


def status(ctx: Context) -> dict[str, Any]:
    """Say what is known, since when, and what waits; reads the journal alone."""
    last = _last_plan(ctx)
    pair = ctx.settings.pair
    pulls = [run for run in ctx.journal.runs(limit=50) if run.kind == "pull" and run.state == "done"]
    return {
        "pair": pair.name,
        "environment": pair.environment,
        "writes": ctx.journal.writes_enabled(pair.name) or "read-only",
        "last_pull": pulls[0].ended_at.isoformat() if pulls and pulls[0].ended_at else None,
        "known_complete_as_of": {side: at.isoformat() for side, at in last.seen_at.items()} if last else {},
        "last_plan": _plan_status(last),
        "waits": _waits(last, ctx),
        "links": dict(ctx.journal.links().group_by("entity").len().sort("entity").iter_rows()),
        "dead_letters": ctx.journal.dead_letters().height,
        "tokens_kept": ctx.journal.tokens.durable,
        "journal": ctx.journal.status(),
    }


def _plan_status(last: Planned | None) -> dict[str, Any] | None:
    if last is None:
        return None
    return {
        "plan": last.hash,
        "state": last.state,
        "created_at": last.created_at.isoformat(),
        "operations": last.operations.height,
    }


def _waits(last: Planned | None, ctx: Context) -> dict[str, int]:
    open_state = last is not None and last.state in ("sealed", "approved", "applied_in_part")
    return {
        "operations": _left(ctx, last) if last and open_state else 0,
        "conflicts": last.conflicts.height if last else 0,
        "review": len(review_queue(ctx)),
        "unsettled": ctx.journal.unsettled().height,
    }


def doctor(settings_file: Path) -> list[Finding]:
    """Examine the pair; what can't be reached becomes a finding, not an error."""
    from pipelines.doctor import examine

    settings = load_settings(settings_file)
    with opened(settings, progress=lambda text: None) as ctx:
        for side in model.SIDES:
            if ctx.journal.tokens.get(side, "access"):
                # The token of an earlier run would hide that the credentials no longer work.
                ctx.journal.tokens.put(side, "access", {})
        return examine(settings, ctx.clients, None, ctx.mapping)


def least_rights(settings_file: Path) -> tuple[Rights, Rights]:
    """Give (reader, writer): the least scopes and permissions that the pair's mapping needs."""
    from pipelines.doctor import least_rights as rights

    settings = load_settings(settings_file)
    with opened(settings, progress=lambda text: None) as ctx:
        return rights(ctx.mapping)

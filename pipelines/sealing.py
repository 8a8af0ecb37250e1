"""Seals a plan: its price, its totals, what it rests on and what it will be told with; and keeps it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipelines import plans, weighing
from pipelines.context import Context
from pipelines.decided import Decided, basis_of, snapshot_of
from pipelines.journal_written import made_since
from pipelines.plans import Planned, earliest
from pipelines.settling import report_tables
from reconcile import model
from reconcile.closing import Closed, close_books, not_closed
from reconcile.drift import standing as unit_standing
from reconcile.drift import with_age
from reconcile.plan import Plan, beyond_limits, invoice_contacts, plan_hash
from reconcile.price import Terms, calls, minutes, price
from reconcile.traffic import billed, recent_rows, row_weights, traffic

if TYPE_CHECKING:
    from pipelines.warehouse import Snapshot, Warehouse


def seal(
    ctx: Context,
    warehouse: Warehouse,
    decided: Decided,
    operations: pl.DataFrame,
    set_aside: pl.DataFrame,
    findings: pl.DataFrame,
    undoes: str | None = None,
) -> Planned:
    from expectations.checks import for_keeping

    snapshot, decisions = snapshot_of(warehouse), decided.plan
    limits, made = ctx.settings.limits, ctx.now()
    closed = _closed(ctx, decided)
    aged = with_age(pl.concat([decisions.drift, decisions.conflicts]), warehouse.drift_history(), now=made)
    pins = ctx.journal.pins()
    terms = terms_of(ctx, since=ctx.journal.last_began("apply", before=""))
    looked_back = _looked_back(ctx, snapshot)
    weights = row_weights(decided.raw, operations, ctx.mapping.fields("salesforce"), looked_back)
    weights |= weighing.known(ctx.journal)
    recent = recent_rows(decided.raw, looked_back)
    found, moved = price(operations, terms), traffic(operations, terms, weights, recent)
    header = {
        "pair": ctx.settings.pair.name,
        "environment": ctx.settings.pair.environment,
        "salesforce_org_id": pins.get("salesforce_org_id"),
        "xero_tenant_id": pins.get("xero_tenant_id"),
        "mapping": ctx.mapping.hash,
        "snapshot": snapshot.snapshot_id,
        "created_at": made.isoformat(),
        **({"undoes": undoes} if undoes else {}),
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
        findings=pl.concat([for_keeping(findings), closed.findings]),
        cost=calls(found),
        price={
            "calls": found,
            "minutes": round(minutes(found, terms), 2),
            "day_share": _day_share(ctx, found),
            "bytes": moved,
            "weights": weights,
            "recent": recent,
            **_billed(ctx, moved),
        },
        header=header,
        complete_as_of=snapshot.complete_as_of,
        beyond_limits=beyond_limits(
            operations,
            decided.records,
            max_operations=limits.max_operations,
            max_share=limits.max_share,
            max_amount=limits.max_amount,
        ),
        names={**closed.names, **_names(decided, decisions, operations)},
        # What takes a run back answers another question than "what differs": it is never told again as that.
        basis={} if undoes else basis_of(ctx, warehouse),
        rows=snapshot.rows,
        errors=snapshot.errors,
        # What a proposed link waits for is counted there.
        unmatched=decisions.unmatched.filter(pl.col("why").ne_missing("review")),
        links=pl.concat([decided.links, model.conform(decisions.review, model.LINKS)]),
        summary=_standing(ctx, decided),
        control_totals=closed.totals,
        differences=closed.differences,
        seen=_seen(decided.raw, operations),
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


def terms_of(ctx: Context, *, since: datetime | None) -> Terms:
    """Give what a plan's price depends on besides it. since: when the last push began; null: there was none."""
    invoice = ctx.mapping.invoice
    return Terms(
        guarded=ctx.settings.push.guard == "record",
        bulk_from_rows=ctx.settings.push.bulk_from_rows,
        documents_at_once=ctx.settings.push.documents_at_once,
        history=ctx.settings.audit.history,
        xero_calls_a_minute=ctx.settings.limits.xero_calls_a_minute,
        before=made_since(ctx.journal, since) if since else {},
        reductions=tuple(one.salesforce for one in invoice.sources if one.source.original) if invoice else (),
    )


def _looked_back(ctx: Context, snapshot: Snapshot) -> dict[str, datetime]:
    """Give, by side, back to when the first look of a push asks for what changed."""
    seen = earliest(snapshot.complete_as_of)
    return {side: at - timedelta(seconds=ctx.settings.pull.overlap_s) for side, at in seen.items()}


def _billed(ctx: Context, moved: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Give what Xero would bill for what it sends, where the settings know what a GB costs."""
    limits = ctx.settings.limits
    if not limits.xero_gb_price:
        return {}
    amount = billed(moved["xero"]["received"], limits.xero_gb_price)
    return {"egress": f"{amount} {limits.xero_gb_currency}"}


def _day_share(ctx: Context, priced: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Give, of each side that has told, the share of the calls that are left for today."""
    left = ctx.clients.day_left()
    return {
        side: round(count / max(left[side], 1), 4) for side, count in calls(priced).items() if side in left
    }


def _closed(ctx: Context, decided: Decided) -> Closed:
    """Add both books up as the snapshot has them. What fails here is told, and takes nothing from the plan."""
    mapping, invoicing = ctx.mapping.invoice, decided.invoicing
    if mapping is None or invoicing is None:
        return Closed()
    held = invoicing.links.filter(pl.col("status") == "linked")
    headers = invoicing.documents.headers.drop_nulls("currency_rate")
    rates = model.conform(headers.rename({"currency_rate": "rate"}), model.DOCUMENT_RATES)
    try:
        return close_books(invoicing.documents, {**decided.raw, **invoicing.raw}, held, rates, mapping)
    except Exception as error:  # noqa: BLE001  (a bug: its text may hold a value, its place does not)
        last = traceback.extract_tb(error.__traceback__)[-1]
        return not_closed(f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}")


def _seen(raw: Mapping[str, pl.DataFrame], operations: pl.DataFrame) -> pl.DataFrame:
    """Give SEEN: the rows, as they were pulled, of all records that the operations write or are made from."""
    ids = pl.concat(
        [operations["record_id"], operations["source_id"], operations["made_from"].explode()]
    ).drop_nulls()
    wanted = ids.str.strip_suffix(":primary").unique().implode()
    frames = [
        rows.filter(pl.col("record_id").is_in(wanted)).with_columns(
            side=pl.lit(name.partition(".")[0]), object=pl.lit(name.partition(".")[2])
        )
        for name, rows in raw.items()
    ]
    parts = [model.conform(frame, model.SEEN) for frame in frames]
    return pl.concat([model.empty(model.SEEN), *parts]).sort("side", "object", "record_id")


def _standing(ctx: Context, decided: Decided) -> pl.DataFrame:
    units = {name: [unit.name for unit in entity.units] for name, entity in ctx.mapping.entities.items()}
    return unit_standing(units, _merged_links(decided), decided.plan.drift, decided.plan.conflicts)


def _merged_links(decided: Decided) -> pl.DataFrame:
    return decided.links.filter(pl.col("entity") != "document")


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
            invoice_contacts(operations),
        ]
    ).drop_nulls()
    wanted = pl.col("record_id").is_in(ids.unique().implode())
    names = decided.values.filter(pl.col("unit") == "name")
    prices = decided.records.filter(wanted, pl.col("entity") == "price").select(
        "side", "record_id", "parent_id"
    )
    # A price goes by the name of its product.
    owned = prices.join(
        names.select("side", "value", parent_id="record_id"), on=["side", "parent_id"], how="inner"
    )
    named = pl.concat([frame.select("record_id", "value") for frame in (names.filter(wanted), owned)])
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


def remember(ctx: Context, warehouse: Warehouse, planned: Planned, decided: Decided) -> None:
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
            "control_totals": planned.control_totals,
            "differences": planned.differences,
            **(report_tables(decided.settling, decided.links, decided.values) if decided.settling else {}),
        }
    )
    warehouse.publish(ctx.published)

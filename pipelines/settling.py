"""Reads what settles invoices out of the snapshot at hand, and plans what Salesforce is to show of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.additions import Addition, nothing_planned, standing_links, unread
from pipelines.context import Context
from reconcile import model
from reconcile.decode import decoded_bodies
from reconcile.mapped import SETTLING, SHOWN_BY, DocumentMapping
from reconcile.showing import (
    STAGE,
    Settlement,
    desired,
    owners,
    settlement,
    showing_operations,
    shown_records,
    unlike,
    within,
)
from reconcile.timezones import zone_of

if TYPE_CHECKING:
    from pipelines.decided import Decided
    from pipelines.plans import Planned
    from pipelines.warehouse import Snapshot, Warehouse

LEDGER: Final = ("Invoice", *SETTLING, "Organisation")  # without one of these nothing can be counted
# Lists that only a sweep shows to be whole: what was taken back may be left out of them.
SWEPT: Final = tuple(("xero", name) for name in ("Invoice", *SETTLING))


@dataclass(frozen=True)
class Settling(Addition):
    """What was decided about what settles invoices. known: null: it could not be read (rejects say why)."""

    known: Settlement | None = None


def day_of(ctx: Context, warehouse: Warehouse) -> date | None:
    """Give the day, in the organisation's calendar, as of which the snapshot is known; null where nothing asks for it.

    By Xero's own clock: what is overdue, and what is billed later, moves with it and with nothing else.
    """
    snapshot = warehouse.snapshot()
    read = snapshot.complete_as_of.get("xero.Invoice") if snapshot else None
    invoice = ctx.mapping.invoice
    if read is None or (ctx.mapping.settling is None and not (invoice is not None and invoice.bills_later)):
        return None
    types: dict[str, pl.DataType] = {"OrganisationID": pl.String(), "Timezone": pl.String()}
    found, _ = decoded_bodies(warehouse.raw("xero", "Organisation"), types, id_field="OrganisationID")
    spelled = found["Timezone"].drop_nulls()
    zone = zone_of(spelled[0]) if len(spelled) else None
    return read.astimezone(ZoneInfo(zone or "UTC")).date()


def settle_books(ctx: Context, warehouse: Warehouse, snapshot: Snapshot, decided: Decided) -> Settling | None:
    """Count what became of invoices, and plan what Salesforce has to show; null where the mapping says no."""
    mapping, on = ctx.mapping.settling, day_of(ctx, warehouse)
    if mapping is None:
        return None
    missing = unread(snapshot, "xero", LEDGER)
    if missing or on is None:
        named = "; ".join(missing or ["xero.Invoice"])
        reason = f"{mapping.at}: nothing is planned for payments: {named} could not be read"
        return Settling(nothing_planned("payment", reason, side="xero"))
    raw = {f"xero.{name}": warehouse.raw("xero", name) for name in ("Invoice", *SETTLING)}
    known = settlement(raw, on=on)
    rest = {name: raw[name] for name in raw if name != "xero.Invoice"}
    made = Settling(known.rejects, raw=rest, known=known)
    return made if mapping.settled == "read" else _shown(ctx, warehouse, snapshot, decided, mapping, made)


def _shown(
    ctx: Context,
    warehouse: Warehouse,
    snapshot: Snapshot,
    decided: Decided,
    mapping: DocumentMapping,
    made: Settling,
) -> Settling:
    assert made.known is not None, "what is shown was counted"
    links = standing_links(decided, ctx.journal.links())
    wanted = desired(made.known, links, tuple(one.salesforce for one in mapping.sources))
    missing = unread(snapshot, "salesforce", tuple(wanted))
    short = {name.partition(".")[2]: why for name, why in missing.items()}
    kept, rejects = within(wanted, warehouse.fields(), short, at=mapping.at)
    raw = {name: warehouse.raw("salesforce", name) for name in kept}
    owned = owners(made.known.invoices, links)
    found = unlike(kept, raw, owned, whole=made.known.is_whole)
    written = ctx.journal.written_fields(found["record_id"].drop_nulls().unique().to_list())
    records, names = shown_records(kept, raw)
    own = {f"salesforce.{name}": raw[name] for name in SHOWN_BY if name in raw}
    return replace(
        made,
        rejects=pl.concat([made.rejects, rejects]),
        raw={**made.raw, **own},
        operations=showing_operations(found, kept, written, at=mapping.at),
        records=records,
        names=names,
    )


def new_disagreement(planned: Planned, before: Planned | None) -> bool:
    """Say whether Xero's sums disagree with the movements where they did not before: something was not read.

    A payment that was taken back can be missing in what a delta lists, while its invoice shows what is due again.
    """

    def disagreements(plan: Planned | None) -> set[tuple[str, str]]:
        if plan is None:
            return set()
        rows = plan.rejects.filter(pl.col("stage") == STAGE)
        return set(rows.select("record_id", "reason").iter_rows())

    return not disagreements(planned) <= disagreements(before)


def report_tables(settling: Settling, links: pl.DataFrame, values: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Give what is published of it: for `reconcile customer`, pages and notebooks."""
    if settling.known is None:
        return {}
    known, names = settling.known, values.filter(pl.col("unit") == "name", pl.col("entity") == "party")
    parties = links.filter(pl.col("entity") == "party", pl.col("status") == "linked")
    by_side = {
        side: names.filter(pl.col("side") == side).select("record_id", "value").unique("record_id")
        for side in model.SIDES
    }
    customers = (
        by_side["xero"]
        .rename({"record_id": "xero_id", "value": "xero_name"})
        .join(parties.select("salesforce_id", "xero_id"), on="xero_id", how="full", coalesce=True)
        .join(
            by_side["salesforce"].rename({"record_id": "salesforce_id", "value": "salesforce_name"}),
            on="salesforce_id",
            how="full",
            coalesce=True,
        )
        .select("salesforce_id", "salesforce_name", "xero_id", "xero_name")
        .sort("xero_name", "salesforce_name", "xero_id", "salesforce_id", nulls_last=True)
    )
    return {
        "settled_on": pl.DataFrame({"on": [known.on], "is_whole": [known.is_whole]}),
        "settled": known.invoices,
        "settlements": known.ledger.settlements,
        "credits": known.ledger.credits,
        "balances": known.balances,
        "customers": customers,
    }

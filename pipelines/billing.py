"""Reads which records are bills of suppliers out of the snapshot at hand, and plans what they become in Xero."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.additions import Addition, nothing_planned, standing_links, unread
from pipelines.context import Context
from reconcile import model
from reconcile.bills import (
    ENTITY,
    Books,
    bill_records,
    bills,
    codes_fault,
    needed_accounts,
    read_bills,
    read_there,
)
from reconcile.codes import read_chart
from reconcile.decode import decoded_bodies
from reconcile.documents import read_organisation
from reconcile.invoices import contacts

if TYPE_CHECKING:
    from pipelines.decided import Decided
    from pipelines.warehouse import Snapshot, Warehouse
    from reconcile.mapped import BillMapping
    from reconcile.operations import Part
    from reconcile.plan import Plan

PARTY: Final = "party"


@dataclass(frozen=True)
class Bills(Addition):
    """What was decided about bills.

    there: BILLS_THERE. opened: record_id and account_id of what gets a bill. on_demand: operations that make a contact
    for no other reason than a document.
    """

    there: pl.DataFrame = field(default_factory=lambda: model.empty(model.BILLS_THERE))
    opened: pl.DataFrame | None = None
    on_demand: frozenset[str] = frozenset()


def billed_accounts(ctx: Context, warehouse: Warehouse, snapshot: Snapshot) -> frozenset[str]:
    """Give the suppliers of whom a contact is needed, so that it may be made on demand."""
    mapping = ctx.mapping.bill
    if mapping is None or _missing(mapping, snapshot):
        return frozenset()
    organisation = read_organisation(warehouse.raw("xero", "Organisation"))
    records, _ = read_bills(warehouse.raw("salesforce", mapping.salesforce), mapping, organisation.zone)
    made = ctx.journal.links().filter(pl.col("entity").cast(pl.String) == ENTITY)["salesforce_id"]
    return needed_accounts(records.filter(~pl.col("record_id").is_in(made.implode())), mapping)


def bill_suppliers(ctx: Context, warehouse: Warehouse, snapshot: Snapshot, decided: Decided) -> Bills | None:
    """Say which bills are to be made; null where the mapping says nothing of it."""
    mapping = ctx.mapping.bill
    if mapping is None:
        return None
    if missing := _missing(mapping, snapshot):
        return Bills(_not_made(mapping, f"{'; '.join(missing)} could not be read"))
    raw = {
        f"{side}.{name}": warehouse.raw(side, name) for side in model.SIDES for name in mapping.fields(side)
    }
    there, bad = read_there(raw["xero.Bill"])
    party = next(part for part in decided.parts if part.mapping.entity == PARTY)
    on_demand = _on_demand(party, decided.plan)
    if not bad.is_empty():
        rows = f"{bad.height} row{'s' if bad.height > 1 else ''}"
        why = f"{rows} of Xero's bills can't be read, and one may be a record's"
        return Bills(pl.concat([bad, _not_made(mapping, why)]), on_demand=on_demand)
    organisation = read_organisation(raw["xero.Organisation"])
    records, unreadable = read_bills(raw[f"salesforce.{mapping.salesforce}"], mapping, organisation.zone)
    found = bills(
        Books(
            records=records,
            there=there,
            links=standing_links(decided, ctx.journal.links()),
            contacts=contacts(records["account_id"].drop_nulls(), party, decided.plan),
            organisation=organisation,
            codes=codes_fault(read_chart(raw["xero.Account"], raw["xero.TaxRate"]), mapping),
            currencies=_currencies(raw.get("xero.Currency")),
        ),
        mapping,
    )
    shown, names = bill_records(records, mapping)
    return Bills(
        rejects=pl.concat([unreadable, found.rejects]),
        operations=found.operations,
        adopted=found.adopted,
        raw=raw,
        records=shown,
        names=names,
        there=there,
        opened=found.opened,
        on_demand=on_demand,
    )


def _on_demand(party: Part, plan: Plan) -> frozenset[str]:
    """Give the operations that make contacts, where they are made for documents only."""
    if party.mapping.create["xero"] != "on_demand":
        return frozenset()
    creates = (pl.col("system") == "xero") & (pl.col("action") == "create")
    return frozenset(plan.operations.filter(pl.col("entity") == PARTY, creates)["operation_id"])


def _missing(mapping: BillMapping, snapshot: Snapshot) -> dict[str, str]:
    return {
        name: why
        for side in model.SIDES
        for name, why in unread(snapshot, side, tuple(mapping.fields(side))).items()
    }


def _currencies(raw: pl.DataFrame | None) -> frozenset[str] | None:
    """Give the codes of the currencies that Xero's organisation has; null: they are not asked for."""
    if raw is None:
        return None
    table, _ = decoded_bodies(
        raw.filter(~pl.col("deleted").fill_null(False)), {"Code": pl.String()}, id_field="Code"
    )
    return frozenset(table["Code"].drop_nulls().str.to_uppercase())


def _not_made(mapping: BillMapping, why: str) -> pl.DataFrame:
    return nothing_planned(ENTITY, f"{mapping.at}: no bill is made: {why}", side="salesforce")

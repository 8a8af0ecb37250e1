"""Reads which money was taken in Salesforce out of the snapshot at hand, and plans its payments in Xero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipelines.additions import Addition, nothing_planned, standing_links, unread
from pipelines.context import Context
from reconcile.agreed import UNIT, WITHDRAWN
from reconcile.payments import ENTITY, Books, bank_account, payments, read_taken, taken_records

if TYPE_CHECKING:
    from pipelines.decided import Decided
    from pipelines.warehouse import Snapshot, Warehouse
    from reconcile.mapped import PaymentMapping


def pay_invoices(ctx: Context, warehouse: Warehouse, snapshot: Snapshot, decided: Decided) -> Addition | None:
    """Say which payments are to be recorded; null where the mapping says nothing of it."""
    mapping, invoice = ctx.mapping.payments, ctx.mapping.invoice
    if mapping is None or invoice is None:
        return None
    missing = unread(snapshot, "salesforce", (mapping.salesforce,))
    known = decided.settling.known if decided.settling else None
    if decided.invoicing is None or known is None:
        return _nothing(mapping, "invoices or what settles them could not be read")
    if missing:
        return _nothing(mapping, f"{'; '.join(missing)} could not be read")
    if not known.is_whole:
        count = known.ledger.rejects.height
        rows = f"{count} row{'s' if count > 1 else ''}"
        return _nothing(mapping, f"{rows} of what settles invoices can't be read: what is due is not certain")
    documents, name = decided.invoicing.documents, f"salesforce.{mapping.salesforce}"
    raw = warehouse.raw("salesforce", mapping.salesforce)
    taken, bad = read_taken(raw, mapping, documents.zone)
    found = payments(
        Books(
            taken=taken,
            known=known,
            links=standing_links(decided, ctx.journal.links()),
            decisions=ctx.journal.decisions(),
            account=bank_account(warehouse.raw("xero", "Account"), mapping.account),
            locked_until=documents.locked_until,
            base_currency=documents.base_currency,
            busy=_busy(decided.plan.operations),
        ),
        mapping,
        invoice.word("source_id"),
    )
    records, names = taken_records(taken, mapping)
    return Addition(
        rejects=pl.concat([bad, found.rejects]),
        operations=found.operations,
        adopted=found.adopted,
        asked=found.asked,
        raw={name: raw},
        records=records,
        names=names,
    )


def _nothing(mapping: PaymentMapping, why: str) -> Addition:
    return Addition(nothing_planned(ENTITY, f"{mapping.at}: nothing is recorded: {why}", side="salesforce"))


def _busy(operations: pl.DataFrame) -> frozenset[str]:
    """Give the ids of the invoices that this plan changes or withdraws."""
    writes = operations.filter(
        pl.col("entity") == "document", pl.col("system") == "xero", pl.col("unit").is_in([UNIT, WITHDRAWN])
    )
    return frozenset(writes["record_id"].drop_nulls().str.to_lowercase())

"""Reads which money was taken in Salesforce out of the snapshot at hand, and plans its payments in Xero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from pipelines.context import Context
from pipelines.settling import standing_links, unread
from reconcile import model
from reconcile.agreed import UNIT, WITHDRAWN
from reconcile.payments import ENTITY, Books, bank_account, payments, read_taken, taken_records

if TYPE_CHECKING:
    from pipelines.planning import Decided
    from pipelines.warehouse import Snapshot, Warehouse


@dataclass(frozen=True)
class Payments:
    """What was decided about payments, beside the plan; raw: RAW by "side.object"."""

    rejects: pl.DataFrame
    operations: pl.DataFrame = field(default_factory=lambda: model.empty(model.OPERATIONS))
    adopted: pl.DataFrame = field(default_factory=lambda: model.empty(model.LINKS))
    asked: pl.DataFrame = field(default_factory=lambda: model.empty(model.DRIFT))
    raw: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    records: pl.DataFrame = field(default_factory=lambda: model.empty(model.RECORDS))
    names: pl.DataFrame = field(default_factory=lambda: model.empty(model.VALUES))


def pay_invoices(ctx: Context, warehouse: Warehouse, snapshot: Snapshot, decided: Decided) -> Payments | None:
    """Say which payments are to be recorded; null where the mapping says nothing of it."""
    mapping, invoice = ctx.mapping.payments, ctx.mapping.invoice
    if mapping is None or invoice is None:
        return None
    missing = unread(snapshot, "salesforce", (mapping.salesforce,))
    known = decided.settling.known if decided.settling else None
    if decided.invoicing is None or known is None:
        return Payments(
            _told(f"{mapping.at}: nothing is recorded: invoices or what settles them could not be read")
        )
    if missing:
        return Payments(_told(f"{mapping.at}: nothing is recorded: {'; '.join(missing)} could not be read"))
    if not known.is_whole:
        count = known.ledger.rejects.height
        rows = f"{count} row{'s' if count > 1 else ''}"
        why = f"{rows} of what settles invoices can't be read: what is due is not certain"
        return Payments(_told(f"{mapping.at}: nothing is recorded: {why}"))
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
    return Payments(
        rejects=pl.concat([bad, found.rejects]),
        operations=found.operations,
        adopted=found.adopted,
        asked=found.asked,
        raw={name: raw},
        records=records,
        names=names,
    )


def _told(reason: str) -> pl.DataFrame:
    row = {"stage": "pull", "entity": ENTITY, "side": "salesforce", "reason": reason}
    return model.conform(pl.DataFrame([row]), model.REJECTS)


def _busy(operations: pl.DataFrame) -> frozenset[str]:
    """Give the ids of the invoices that this plan changes or withdraws."""
    writes = operations.filter(
        pl.col("entity") == "document", pl.col("system") == "xero", pl.col("unit").is_in([UNIT, WITHDRAWN])
    )
    return frozenset(writes["record_id"].drop_nulls().str.to_lowercase())

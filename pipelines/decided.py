"""What the decisions of one run gave, and the snapshot and the basis on which they rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.additions import Addition
from pipelines.billing import Bills
from pipelines.context import Context
from pipelines.settling import Settling, day_of
from reconcile import model
from reconcile.documents import Documents
from reconcile.errors import FixData
from reconcile.invoices import Standing
from reconcile.plan import Part, Plan

if TYPE_CHECKING:
    from pipelines.warehouse import Snapshot, Warehouse


@dataclass(frozen=True)
class Decided:
    """What the decisions of one run gave, before the checks."""

    plan: Plan
    parts: tuple[Part, ...]
    fields: pl.DataFrame
    raw: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    invoicing: Invoicing | None = None  # null: no invoices, or what they are made of could not be read
    settling: Settling | None = None  # null: the mapping does not ask for it
    payments: Addition | None = None  # likewise
    bills: Bills | None = None  # likewise
    enrolling: Addition | None = None  # likewise

    @property
    def additions(self) -> tuple[Addition, ...]:
        found = (self.settling, self.payments, self.bills, self.enrolling)
        return tuple(one for one in found if one is not None)

    @property
    def records(self) -> pl.DataFrame:
        more = [self.invoicing.records] if self.invoicing else []
        more += [one.records for one in self.additions]
        return pl.concat([*(part.records for part in self.parts), *more])

    @property
    def values(self) -> pl.DataFrame:
        more = [self.invoicing.names] if self.invoicing else []
        more += [one.names for one in self.additions]
        return pl.concat([*(part.values for part in self.parts), *more])

    @property
    def links(self) -> pl.DataFrame:
        """LINKS that hold in this run: those that the journal knows, and those just found."""
        found = [model.conform(part.matches.links, model.LINKS) for part in self.parts]
        return pl.concat([*found, *([self.invoicing.links] if self.invoicing else [])])

    @property
    def on_demand(self) -> frozenset[str]:
        """The operations that make a contact or an item for no other reason than a document."""
        return frozenset().union(*(one.on_demand for one in (self.invoicing, self.bills) if one))


@dataclass(frozen=True)
class Invoicing:
    """What was decided about documents, beside the plan.

    raw: RAW by "side.object". records RECORDS, names VALUES, links LINKS, of documents. on_demand: operations
    that make a contact or an item for no other reason than a document.
    """

    raw: Mapping[str, pl.DataFrame]
    documents: Documents
    standing: Standing
    records: pl.DataFrame
    names: pl.DataFrame
    links: pl.DataFrame
    on_demand: frozenset[str] = frozenset()


def basis_of(ctx: Context, warehouse: Warehouse) -> dict[str, Any]:
    """What the decisions rest on; the same basis gives the same plan."""
    day = day_of(ctx, warehouse)
    return {
        **({"day": day.isoformat()} if day else {}),  # what is overdue moves with it
        **({"asked": ctx.now().isoformat()} if _asks_a_service(ctx) else {}),  # it may say something else
        "raw": snapshot_of(warehouse).content_id,
        "schema": hashlib.sha256(warehouse.fields().write_ndjson().encode()).hexdigest(),
        "mapping": ctx.mapping.hash,
        "journal": ctx.journal.sequence(),
        "region": ctx.settings.pair.region,
    }


def _asks_a_service(ctx: Context) -> bool:
    invoice = ctx.mapping.invoice
    return invoice is not None and invoice.currencies is not None and bool(invoice.currencies.service)


def snapshot_of(warehouse: Warehouse) -> Snapshot:
    snapshot = warehouse.snapshot()
    if snapshot is None:
        raise FixData(
            "there is no snapshot yet. Run `reconcile pull`, or `reconcile plan` without --no-pull."
        )
    return snapshot

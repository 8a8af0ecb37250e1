"""Turns what Xero knows of invoices, payments and balances into what Salesforce is to show, as operations.

Projections: what is desired is held against what is there, without a base. A value that somebody edits in
Salesforce is put back, and the reason says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps
from reconcile.grouping import sale_of
from reconcile.ids import long_ids
from reconcile.mapped import SHOWN_BY, SHOWN_ENTITIES, SHOWN_FIELDS, SHOWN_UNIT, SOURCE_OBJECTS
from reconcile.model import OPERATIONS, PROJECTIONS, RECORDS, REJECTS, VALUES, conform, empty, rows_frame
from reconcile.operations import Row, operation_row
from reconcile.settled import Ledger, account_balances, balances, guid, settled, settlements
from reconcile.shown import (
    projections,
    shown_accounts,
    shown_invoices,
    shown_payments,
    shown_sources,
    withdrawn,
)

STAGE: Final = "settled"  # of rejects: where Xero's own sums are not those of the movements
PAYMENTS: Final = "Xero_Payment__c"
INVOICES: Final = "Xero_Invoice__c"
ENTITIES: Final = {
    **SHOWN_ENTITIES,
    "Account": "party",
    **dict.fromkeys(SOURCE_OBJECTS, "document"),
}
NAMED: Final = {INVOICES: "invoice", PAYMENTS: "movement"}

Shown = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Settlement:
    """What Xero knows on one day: the Ledger, its SETTLED and BALANCES.

    rejects REJECTS: rows that can't be read or counted (then the ledger is not whole), and of stage STAGE where
    Xero's own sums are not those of the movements.
    """

    on: date
    ledger: Ledger
    invoices: pl.DataFrame
    balances: pl.DataFrame
    rejects: pl.DataFrame

    @property
    def is_whole(self) -> bool:
        """Whether every row could be read: what is not there is gone then."""
        return self.ledger.rejects.is_empty()


def settlement(raw: Mapping[str, pl.DataFrame], *, on: date) -> Settlement:
    """Count what became of invoices and bills.

    Takes RAW by "xero.OBJECT": Invoice (sales), Bill, Payment, CreditNote, Overpayment, Prepayment; on: the day in
    the organisation's calendar. Raises KeyError where one of them is missing.
    """
    both = pl.concat([raw["xero.Invoice"], raw["xero.Bill"]])
    # Each was proven complete by itself: one that changed its kind is in both, and the later row holds.
    owed = both.sort("modified_at").unique("record_id", keep="last", maintain_order=True)
    ledger = settlements({**raw, "xero.Invoice": owed})
    invoices = settled(ledger, on=on)
    unlike = [
        frame.drop_nulls("reason").select(
            stage=pl.lit(STAGE), entity=pl.lit(entity), side=pl.lit("xero"), record_id=which, reason="reason"
        )
        for frame, entity, which in (
            (invoices, "document", "invoice_id"),
            (ledger.credits, "credit", "credit_id"),
        )
    ]
    told = [ledger.rejects, *(conform(frame, REJECTS) for frame in unlike)]
    return Settlement(on, ledger, invoices, balances(ledger, invoices), pl.concat(told))


# --- What is desired ----------------------------------------------------------------------------------


def owners(invoices: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Say to whom in Salesforce each invoice belongs.

    Takes SETTLED and LINKS (those that are linked count). Gives one row an invoice: invoice_id, account_id,
    opportunity_id, order_id (null: none, or several), and is_owned: somebody there has it.
    """
    linked = links.filter(pl.col("status").cast(pl.String) == "linked").select(
        pl.col("entity").cast(pl.String), "salesforce_id", xero_id=guid("xero_id")
    )
    ids = pl.col("salesforce_id").unique()
    one = pl.when(ids.len() == 1).then(ids.first())
    accounts = linked.filter(entity="party").group_by(contact_id="xero_id").agg(account_id=one)
    documents = linked.filter(entity="document").with_columns(sale_of(pl.col("salesforce_id")))
    found = invoices.select("invoice_id", "contact_id").join(
        accounts.with_columns(has_account=pl.lit(True)), on="contact_id", how="left", validate="m:1"
    )
    for object_name, column in (("Opportunity", "opportunity_id"), ("Order", "order_id")):
        theirs = documents.filter(pl.col("salesforce_id").str.starts_with(SOURCE_OBJECTS[object_name].prefix))
        by_invoice = theirs.group_by(invoice_id="xero_id").agg(one.alias(column))  # a part is its sale's
        found = found.join(
            by_invoice.with_columns(pl.lit(True).alias(f"has_{column}")),
            on="invoice_id",
            how="left",
            validate="1:1",
        )
    has = [pl.col(name).fill_null(False) for name in ("has_account", "has_opportunity_id", "has_order_id")]
    return found.select(
        "invoice_id", "account_id", "opportunity_id", "order_id", is_owned=pl.any_horizontal(has)
    )


def desired(known: Settlement, links: pl.DataFrame, sources: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Give what each object has to show, by its name, in the order in which it can be written.

    Takes LINKS; sources: the objects that are invoiced (Opportunity, Order).
    """
    owned = owners(known.invoices, links)
    parents = owned.drop("is_owned")
    documents = links.filter(pl.col("entity").cast(pl.String) == "document").with_columns(
        sale_of(pl.col("salesforce_id"))
    )

    def of(source: str) -> pl.DataFrame:
        prefix = SOURCE_OBJECTS[source].prefix
        return shown_sources(
            known.invoices, documents.filter(pl.col("salesforce_id").str.starts_with(prefix))
        )

    return {
        INVOICES: shown_invoices(known.invoices, parents),
        PAYMENTS: shown_payments(known.ledger, parents),
        **{source: of(source) for source in sources},
        "Account": shown_accounts(account_balances(known.balances, links)),
    }


def within(
    wanted: Shown, fields: pl.DataFrame, unread: Mapping[str, str], *, at: str
) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """Leave out what this org can't show, and tell of it: (what can be shown, REJECTS).

    Takes FIELDS; unread: object -> why its rows are not known. A field that the org lacks, or that this user may
    not edit, is left out alone; without its key an object of ours is left out as a whole.
    """
    kept: dict[str, pl.DataFrame] = {}
    told: list[Row] = []
    for name, frame in wanted.items():
        mine = fields.filter(pl.col("side").cast(pl.String) == "salesforce", pl.col("object") == name)
        there = set(mine.filter(pl.col("updateable") | pl.col("createable"))["field"])
        missing: list[str] = [] if name in unread else [one for one in SHOWN_FIELDS[name] if one not in there]
        why = unread.get(name) or (
            f"it lacks {SHOWN_BY[name]}, or this user may not edit it"
            if SHOWN_BY.get(name) in missing
            else ""
        )
        if not why and name == PAYMENTS and INVOICES not in kept:
            why = f"{INVOICES}, to which each payment leads, can't be shown"
        if why:
            told.append(_untold(f"{at}: nothing is shown in {name}: {why}. {REMEDY}"))
            continue
        if missing:
            listed = ", ".join(missing)
            told.append(_untold(f"{at}: {name} lacks {listed}, or this user may not edit them. {REMEDY}"))
        kept[name] = frame.select(one for one in frame.columns if one not in missing)
    return kept, rows_frame(told, REJECTS)


REMEDY: Final = (
    "Deploy docs/salesforce and grant the rights that `reconcile doctor --scopes` prints; the rest goes on"
)


def _untold(reason: str) -> Row:
    return {"stage": "plan", "entity": "payment", "side": "salesforce", "reason": reason}


# --- What is to be set ----------------------------------------------------------------------------------


def unlike(wanted: Shown, raw: Shown, owned: pl.DataFrame, *, whole: bool) -> pl.DataFrame:
    """Say which fields do not show what they should: PROJECTIONS.

    Takes what `within` gives, RAW of each of its objects, what `owners` gives. An invoice that belongs to nobody
    in Salesforce is not made there, nor is what settles it. whole: what is not desired is gone, and shown as gone.
    """
    parts = [empty(PROJECTIONS)]
    for name, frame in wanted.items():
        there = raw[INVOICES] if name == PAYMENTS and "Invoice__c" in frame.columns else None
        found = projections(name, frame, raw[name], there)
        if name in SHOWN_BY:
            invoice_id = pl.col("key")
            if name == PAYMENTS:
                found = found.join(_invoice_of(frame), on="key", how="left", validate="m:1")
                invoice_id = pl.col("invoice_id")
            ours = owned.filter("is_owned")["invoice_id"].implode()
            found = found.filter(pl.col("record_id").is_not_null() | invoice_id.is_in(ours))
        parts.append(conform(found, PROJECTIONS))
        if whole:
            parts.append(withdrawn(name, frame, raw[name]))
    return pl.concat(parts)


def _invoice_of(payments: pl.DataFrame) -> pl.DataFrame:
    invoice_id = pl.col("Invoice__c") if "Invoice__c" in payments.columns else pl.lit(None, pl.String)
    return payments.select("key", invoice_id=invoice_id)


def showing_operations(
    found: pl.DataFrame, wanted: Shown, written: Mapping[str, Mapping[str, Any]], *, at: str
) -> pl.DataFrame:
    """Give OPERATIONS that set these PROJECTIONS: one a record, what is referred to before what refers to it.

    Takes what was desired; written: record -> field -> what we wrote there last. at: the place in the mapping.
    """
    rows: list[Row] = []
    makers: dict[str, str] = {}  # InvoiceID -> the operation that makes its record
    for name, frame in wanted.items():
        amounts = {field for field, kind in frame.schema.items() if kind.is_decimal()}
        mine = found.filter(pl.col("object") == name).sort("key", "field")
        for (key,), some in mine.group_by("key", maintain_order=True):
            told = some.to_dicts()
            awaited = {one["awaits"] for one in told} - {None}
            if not awaited <= makers.keys():
                continue  # its invoice can't be made in this plan, and is told with its own reason
            row = _operation(name, str(key), told, amounts, makers, written, at)
            rows.append(row)
            if name == INVOICES and row["action"] == "create":
                makers[str(key)] = row["operation_id"]
    return rows_frame(rows, OPERATIONS)


def _operation(
    name: str,
    key: str,
    told: list[dict[str, Any]],
    amounts: set[str],
    makers: Mapping[str, str],
    written: Mapping[str, Mapping[str, Any]],
    at: str,
) -> Row:
    record_id = told[0]["record_id"]
    before = {one["field"]: one["before"] for one in told}
    after = {one["field"]: one["after"] for one in told}
    natives = {
        one["field"]: {"$from": makers[one["awaits"]]}
        if one["awaits"]
        else _native(one["field"], one["after"], amounts)
        for one in told
    }
    shared: dict[str, Any] = {"system": "salesforce", "source_id": key if name in SHOWN_BY else None}
    if record_id is None:
        filled = {field: value for field, value in natives.items() if value is not None}
        return operation_row(
            ENTITIES[name],
            name,
            **shared,
            record_id=None,
            action="create",
            phase="create",
            unit="record",
            after=dumps({field: after[field] for field in filled if after[field] is not None}),
            native_after=dumps(filled),
            reason=f"Xero has this {NAMED[name]}, and Salesforce does not show it yet",
            rule=f"projection {at}",
        )
    ours = written.get(record_id, {})
    put_back = all(field in ours and _same(ours[field], value) for field, value in natives.items())
    return operation_row(
        ENTITIES[name],
        name,
        **shared,
        record_id=record_id,
        action="update",
        phase="change",
        unit=SHOWN_UNIT,
        before=dumps(before),
        after=dumps(after),
        native_before=dumps({field: _native(field, value, amounts) for field, value in before.items()}),
        native_after=dumps(natives),
        reason=_reason(list(after), put_back=put_back),
        rule=f"projection {at}",
    )


def _native(field: str, text: str | None, amounts: set[str]) -> Any:
    return Decimal(text) if text is not None and field in amounts else text


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Decimal | int) and isinstance(other, Decimal | int):
        return Decimal(one) == Decimal(other)
    return one == other


def _reason(fields: list[str], *, put_back: bool) -> str:
    said = ", ".join(map(names.spoken_field, fields))
    if put_back:
        return f"somebody changed it in Salesforce since we wrote it; what Xero knows is shown again: {said}"
    return f"Salesforce shows what Xero knows: {said}"


# --- For checks and names -------------------------------------------------------------------------------


def shown_records(wanted: Shown, raw: Shown) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give RECORDS and VALUES (the numbers, as names) of our own objects, of both sides."""
    records, named = [empty(RECORDS)], [empty(VALUES)]
    for name in (one for one in SHOWN_BY if one in wanted):
        entity = pl.lit(ENTITIES[name])
        gone = pl.col("deleted").fill_null(False)
        ours = raw[name].select(
            record_id=long_ids(raw[name]["record_id"]),
            side=pl.lit("salesforce"),
            object=pl.lit(name),
            status=pl.when(gone).then(pl.lit("deleted")).otherwise(pl.lit("active")),
            modified_at="modified_at",
            row_hash="row_hash",
            in_scope=pl.lit(True),
        )
        theirs = wanted[name].select(
            record_id="key",
            side=pl.lit("xero"),
            object=pl.lit(name),
            status=pl.lit("active"),
            in_scope=pl.lit(True),
        )
        records += [conform(frame.with_columns(entity=entity), RECORDS) for frame in (ours, theirs)]
        if "Number__c" in wanted[name].columns:
            number = wanted[name].drop_nulls("Number__c").select(record_id="key", value="Number__c")
            fixed = {"side": "xero", "unit": "name", "kind": "text", "observed": True}
            named.append(
                conform(
                    number.with_columns(entity=entity, **{k: pl.lit(v) for k, v in fixed.items()}), VALUES
                )
            )
    return pl.concat(records), pl.concat(named)

"""Says what Salesforce has to show of invoices, payments and balances, and where it shows anything else.

Projections: what is desired against what is there, without a base.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from reconcile.decode import decoded_bodies
from reconcile.ids import long_ids
from reconcile.invoices import INVOICE_URL
from reconcile.mapped import SHOWN_BY  # of Salesforce's own objects it is their Id
from reconcile.model import (
    CLOSED,
    PROJECTIONS,
    conform,
)
from reconcile.money import numbers, quoted
from reconcile.settled import Ledger, amount_text, guid

RATE_DECIMALS: Final = 6  # of Currency_Rate__c: what is finer would differ for ever
LONGEST_TEXT: Final = 255
STAMP: Final = "Xero_Updated__c"  # written with what changed, and never alone: a stamp moves for nothing too


def shown_invoices(invoices: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """Give what Xero_Invoice__c has to hold, one row an invoice: key (its InvoiceID), and a column a field.

    Takes SETTLED, and owners: invoice_id, account_id, opportunity_id, order_id, one row an invoice at most; null:
    the invoice has none, or several.
    """
    owned = invoices.join(owners, on="invoice_id", how="left", validate="1:1", maintain_order="left")
    is_sale = pl.col("kind").cast(pl.String) == "receivable"
    return owned.select(
        key="invoice_id",
        Xero_Invoice_ID__c="invoice_id",
        Number__c=_short("number"),
        **_parents(),
        Type__c=pl.when(is_sale).then(pl.lit("ACCREC")).otherwise(pl.lit("ACCPAY")),
        Status__c="status",
        Reference__c=_short("reference"),
        Date__c="date",
        Due_Date__c="due_on",
        Fully_Paid_On__c="paid_on",
        Subtotal__c="subtotal",
        Total_Tax__c="total_tax",
        Total__c="total",
        Amount_Paid__c="paid",
        Amount_Credited__c="credited",
        Amount_Due__c="due",
        Url__c=pl.when(is_sale).then(pl.lit(INVOICE_URL) + pl.col("invoice_id")),
        **_money(),
    )


def shown_payments(ledger: Ledger, owners: pl.DataFrame) -> pl.DataFrame:
    """Give what Xero_Payment__c has to hold, one row a movement: key (its settlement_id), and a column a field.

    owners as for `shown_invoices`. Invoice__c is here the InvoiceID: `projections` finds the record.
    """
    of_invoice = ledger.invoices.select("invoice_id", number="number")
    moved = ledger.settlements.join(of_invoice, on="invoice_id", how="left", validate="m:1").join(
        owners, on="invoice_id", how="left", validate="m:1"
    )
    return moved.sort("settlement_id").select(
        key="settlement_id",
        Xero_Payment_ID__c="settlement_id",
        Invoice__c="invoice_id",
        **_parents(),
        Number__c=_short("number"),
        Type__c=pl.col("kind").cast(pl.String),
        Status__c="status",
        Reference__c=_short("reference"),
        Date__c="date",
        Amount__c="amount",
        **_money(),
    )


def _short(column: str) -> pl.Expr:
    return pl.col(column).str.slice(0, LONGEST_TEXT).str.strip_chars_end()


def _parents() -> dict[str, pl.Expr]:
    parents = {"Account__c": "account_id", "Opportunity__c": "opportunity_id", "Order__c": "order_id"}
    return {name: pl.col(column) for name, column in parents.items()}


def _money() -> dict[str, pl.Expr]:
    rate = pl.col("currency_rate").round(RATE_DECIMALS, "half_away_from_zero")
    # As Salesforce shows it: whole seconds, all that it keeps of a time.
    stamp = pl.col("modified_at").dt.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {"Currency__c": pl.col("currency"), "Currency_Rate__c": rate, STAMP: stamp}


def shown_sources(invoices: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Give what an Opportunity (or Order) has to show of its invoices: key (its id), and a column a field.

    Takes SETTLED and LINKS of documents, m:n. Several invoices (deposit, instalments) are summed, those that are
    closed left out; in several currencies there is no sum, and the fields are empty.
    """
    linked = links.filter(pl.col("status").cast(pl.String) == "linked").select(
        key="salesforce_id", invoice_id=guid("xero_id")
    )
    found = linked.join(invoices, on="invoice_id", how="inner", validate="m:1")
    open_ones, all_paid = pl.col("due") > 0, pl.col("paid_on").is_not_null().all()
    standing = found.filter(~pl.col("status").is_in(CLOSED)).group_by("key")
    sums = standing.agg(
        pl.col("currency").unique().sort(),
        pl.col("date").min(),
        pl.col("total", "paid", "credited", "due", "overdue").sum(),
        due_on=pl.coalesce(pl.col("due_on").filter(open_ones).min(), pl.col("due_on").max()),
        paid_on=pl.when(all_paid).then(pl.col("paid_on").max()),
    )
    alone = pl.col("currency").list.len() == 1
    fields = {
        "Xero_Invoice_Currency__c": pl.col("currency").list.first(),
        "Xero_Invoice_Date__c": pl.col("date"),
        "Xero_Invoice_Due_Date__c": pl.col("due_on"),
        "Xero_Invoice_Paid_On__c": pl.col("paid_on"),
        "Xero_Invoice_Total__c": pl.col("total"),
        "Xero_Invoice_Amount_Paid__c": pl.col("paid"),
        "Xero_Invoice_Amount_Credited__c": pl.col("credited"),
        "Xero_Invoice_Amount_Due__c": pl.col("due"),
        "Xero_Invoice_Amount_Overdue__c": pl.col("overdue"),
    }
    shown = found.select("key").unique().join(sums, on="key", how="left", validate="1:1").sort("key")
    return shown.select("key", *(pl.when(alone).then(value).alias(name) for name, value in fields.items()))


def shown_accounts(owed: pl.DataFrame) -> pl.DataFrame:
    """Give what an Account has to show of what it owes: key (its id), and a column a field.

    Takes ACCOUNT_BALANCES; only what is receivable is shown. The amounts are there where the customer has one
    currency, for nobody could add up several; Xero_Balances__c tells each.
    """
    sales = owed.filter(pl.col("kind").cast(pl.String) == "receivable").sort("account_id", "currency")
    told = sales.with_columns(
        told=pl.format(
            "{} {}, overdue {}, credit {}",
            "currency",
            amount_text("outstanding"),
            amount_text("overdue"),
            amount_text("credit"),
        )
    )
    fields = {
        "Xero_Balance_Currency__c": "currency",
        "Xero_Outstanding__c": "outstanding",
        "Xero_Overdue__c": "overdue",
        "Xero_Credit__c": "credit",
        "Xero_Last_Payment_On__c": "last_payment_on",
        "Xero_Last_Payment__c": "last_payment",
    }
    one = pl.len() == 1
    return told.group_by(key="account_id", maintain_order=True).agg(
        *(pl.when(one).then(pl.col(column).first()).alias(name) for name, column in fields.items()),
        Xero_Balances__c=pl.col("told").str.join("; "),
    )


def projections(
    object_name: str, desired: pl.DataFrame, raw: pl.DataFrame, invoices: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Say which fields of Salesforce have to be set: what they should show against what they do, without a base.

    Takes what `shown_...` gives, RAW of that object, and for Xero_Payment__c RAW of Xero_Invoice__c, by which its
    lookup is found. Gives PROJECTIONS, sorted. A record that is not there yet has no record_id; a lookup to such
    a record stands in awaits. A record that can't be read is left alone, and so is an Account, Opportunity or Order
    that is not there.
    """
    wanted = desired.with_columns(awaits=pl.lit(None, pl.String))
    if invoices is not None:
        wanted = _with_lookups(wanted, invoices)
    actual, unreadable = _actual(object_name, desired, raw)
    fields = [name for name in desired.columns if name != "key"]
    after = _by_field(wanted, fields, ["key", "awaits"], "after")
    before = _by_field(actual, fields, ["key", "record_id"], "before")
    ids = actual.select("key", "record_id")
    unlike = (
        after.join(ids, on="key", how="left", validate="m:1")
        .join(before.drop("record_id"), on=["key", "field"], how="left", validate="1:1")
        .with_columns(awaits=pl.when(pl.col("field") == "Invoice__c").then("awaits"))
        .filter(pl.col("before").ne_missing(pl.col("after")) | pl.col("awaits").is_not_null())
        .filter(~pl.col("key").is_in(unreadable))
    )
    if object_name not in SHOWN_BY:  # only our own objects are made: an Account that is gone stays gone
        unlike = unlike.filter(pl.col("record_id").is_not_null())
    changed = unlike.filter(pl.col("field") != STAMP)["key"].unique().to_list()
    told = unlike.filter(pl.col("key").is_in(changed)).with_columns(object=pl.lit(object_name))
    return conform(told, PROJECTIONS).sort("key", "field")


def _with_lookups(payments: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """Put the record's id in the place of the InvoiceID; where there is no record yet, the InvoiceID awaits it."""
    there, _ = _actual("Xero_Invoice__c", pl.DataFrame({"key": []}), raw)
    found = payments.join(
        there.select(Invoice__c="key", lookup="record_id"), on="Invoice__c", how="left", validate="m:1"
    )
    return found.with_columns(
        Invoice__c="lookup", awaits=pl.when(pl.col("lookup").is_null()).then("Invoice__c")
    ).drop("lookup")


def withdrawn(object_name: str, desired: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """Say what has to be set on records that show something of which Xero tells no more: an allocation that was
    taken off, an Account that lost its contact.

    Takes and gives what `projections` does, but desired has to be whole: what it leaves out is gone. Status__c of
    our own objects becomes DELETED, the fields of an Account, Opportunity or Order are emptied. Only for a Ledger
    without rejects: what could not be read is not gone.
    """
    actual, _ = _actual(object_name, desired, raw)
    gone = actual.join(desired, on="key", how="anti")
    if object_name in SHOWN_BY:
        return projections(object_name, gone.select("key", Status__c=pl.lit("DELETED")), raw)
    blank = [pl.lit(None, kind).alias(name) for name, kind in desired.schema.items() if name != "key"]
    return projections(object_name, gone.select("key", *blank), raw)


def _actual(object_name: str, desired: pl.DataFrame, raw: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Give key, record_id and the fields as Salesforce has them, and the keys of records that can't be read."""
    amounts = tuple(name for name, kind in desired.schema.items() if kind.is_decimal())
    fields = [name for name in desired.columns if name != "key"]
    own = SHOWN_BY.get(object_name)
    live = raw.filter(~pl.col("deleted").fill_null(False))
    if amounts:
        live = live.with_columns(body=quoted(pl.col("body"), amounts))
    types = dict.fromkeys(["Id", *([own] if own else []), *fields], pl.String())
    table, _ = decoded_bodies(live, types, id_field="Id")
    table = table.with_columns(record_id=long_ids(table["record_id"]))
    keyed = table.with_columns(key=pl.col(own).str.to_lowercase() if own else pl.col("record_id"))
    fault = ~pl.col("readable") | (pl.col("faults").list.len() > 0)
    sound = keyed.filter(~fault, pl.col("key").is_not_null())
    read = sound.with_columns(numbers(sound[name]) for name in amounts)
    return read.select("key", "record_id", *fields), keyed.filter(fault)["key"].drop_nulls().to_list()


def _by_field(rows: pl.DataFrame, fields: list[str], index: list[str], name: str) -> pl.DataFrame:
    """Give one row a key and field, with its value as a text that is the same on both sides."""
    texts = [
        amount_text(field) if kind.is_decimal() else pl.col(field).cast(pl.String)
        for field, kind in rows.schema.items()
        if field in fields
    ]
    return rows.select(*index, *texts).unpivot(fields, index=index, variable_name="field", value_name=name)

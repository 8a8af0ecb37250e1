"""Adds both books up by currency, month, status and account, and proves the difference of the sums.

The sums are made of rows as they are booked; what explains their difference are differences of lines held against
each other (`cents`). That both agree is the proof; what they don't agree by is told as the residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

from reconcile.cents import PLACE, explain_differences
from reconcile.decode import decode_all, decoded_bodies
from reconcile.documents import Documents
from reconcile.ids import wire_instants
from reconcile.mapped import DocumentMapping
from reconcile.model import (
    BOOKED,
    CLOSED,
    MEASURE,
    MEASURES,
    RAW,
    REJECTS,
    SIDE,
    SIDES,
    TOTALS,
    conform,
    empty,
)
from reconcile.money import (
    AMOUNT,
    EXACT,
    HUNDRED,
    LARGEST,
    PRICE_DECIMALS,
    line_tax,
    minor_units,
    numbers,
    quoted,
)

AMOUNTS: Final = {"net": "amount", "tax": "tax_amount"}
# What is read of a document of Xero, and of its lines.
HEADER: Final = (
    "Type", "Status", "CurrencyCode", "CurrencyRate", "LineAmountTypes", "DateString", "Date", "SubTotal", "TotalTax",
)  # fmt: skip
LINE_NUMBERS: Final = ("Quantity", "UnitAmount", "LineAmount", "TaxAmount", "DiscountRate", "DiscountAmount")
NUMBERS: Final = ("CurrencyRate", "SubTotal", "TotalTax", *LINE_NUMBERS)
LINES: Final = pl.List(
    pl.Struct(
        dict.fromkeys(
            ("LineItemID", "Description", "ItemCode", "AccountCode", "TaxType", *LINE_NUMBERS), pl.String
        )
    )
)
ALLOCATIONS: Final = pl.List(pl.Struct({"Invoice": pl.Struct({"InvoiceID": pl.String})}))
# One row a document of a side; amount and tax_amount are what its total has beyond its lines.
HEADERS: Final = {
    "side": SIDE,
    "record_id": pl.String,
    "document_key": pl.String,
    "linked": pl.Boolean,
    "currency": pl.String,
    "date": pl.Date,
    "status": pl.String,
    "currency_rate": EXACT,
    "inclusive": pl.Boolean,
    "amount": AMOUNT,
    "tax_amount": AMOUNT,
    "credits": pl.String,  # of a credit note: the document_key that it takes from
    "fault": pl.String,  # why it can't be read; null: it can
}
# One row a line of a side.
ENTRIES: Final = {
    "side": SIDE,
    "record_id": pl.String,
    "line_key": pl.String,
    "account": pl.String,
    "tax": pl.String,
    "rate": EXACT,
    "quantity": EXACT,
    "unit_price": EXACT,
    "discount": EXACT,
    "amount": AMOUNT,  # null: not known
    "tax_amount": AMOUNT,
}
ZERO: Final = pl.lit(Decimal(0), AMOUNT)


@dataclass(frozen=True)
class Totals:
    """totals TOTALS, by currency, month, status, account and measure; differences DIFFERENCES."""

    totals: pl.DataFrame
    differences: pl.DataFrame


def control_totals(booked: pl.DataFrame) -> Totals:
    """Add up both sides by group, and hold the sums against the differences of their rows.

    Takes BOOKED. In each group and measure difference = explained + unexplained + residual. The sums are
    made of the rows as they came, the differences of lines held against each other: a residual says that one
    of both lost something, and is an alarm.
    Raises ValueError for a row without an amount: what is not known is set aside before (`booked`).
    """
    rows = conform(booked, BOOKED)
    if rows.select(pl.col(*AMOUNTS.values()).null_count()).sum_horizontal().item():
        raise ValueError("BOOKED holds a row without amount or tax_amount")
    differences = explain_differences(rows)
    joined = _sums(rows).join(
        _explained(differences),
        on=[*PLACE, "measure"],
        how="full",
        coalesce=True,
        nulls_equal=True,
        validate="1:1",
    )
    parts = [pl.col(name).fill_null(0) for name in (*SIDES, "explained", "unexplained")]
    difference = pl.col("xero") - pl.col("salesforce")
    proved = joined.with_columns(parts).with_columns(
        difference=difference, residual=difference - pl.col("explained") - pl.col("unexplained")
    )
    return Totals(conform(proved, TOTALS).sort(*PLACE, "measure"), differences)


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Sum each side by group and measure; a document's own row counts only where it holds something."""
    held = rows.filter(
        pl.col("line_key").is_not_null() | (pl.col("amount") != 0) | (pl.col("tax_amount") != 0)
    ).with_columns(month=pl.col("date").dt.truncate("1mo"))
    by_measure = [
        held.select(*PLACE, "side", measure=pl.lit(measure).cast(MEASURE), amount=column)
        for measure, column in AMOUNTS.items()
    ]
    of_side = [pl.col("amount").filter(pl.col("side") == side).sum().alias(side) for side in SIDES]
    return pl.concat(by_measure).group_by(*PLACE, "measure").agg(of_side)


def _explained(differences: pl.DataFrame) -> pl.DataFrame:
    by_measure = [
        differences.select(*PLACE, "cause", measure=pl.lit(measure).cast(MEASURE), amount=measure)
        for measure in MEASURES
    ]
    unexplained = pl.col("cause") == "unexplained"
    summed = (
        pl.concat(by_measure)
        .group_by(*PLACE, "measure")
        .agg(
            explained=pl.col("amount").filter(~unexplained).sum(),
            unexplained=pl.col("amount").filter(unexplained).sum(),
        )
    )
    # Where a line moved by month and by account, it only passed through a third group.
    return summed.filter((pl.col("explained") != 0) | (pl.col("unexplained") != 0))


# --- What both books hold -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Booked:
    """rows BOOKED; rejects REJECTS: documents that can't be read or reckoned, left out on both sides."""

    rows: pl.DataFrame
    rejects: pl.DataFrame


@dataclass(frozen=True)
class TaxCodes:
    """rates: tax, rate (percent). accounts: account, account_tax."""

    rates: pl.DataFrame
    accounts: pl.DataFrame


def booked(
    documents: Documents,
    raw: Mapping[str, pl.DataFrame],
    links: pl.DataFrame,
    pairs: pl.DataFrame,
    rates: pl.DataFrame,
    mapping: DocumentMapping,
) -> Booked:
    """Bring opportunities, sales invoices and their credit notes into one frame, as the control totals take them.

    Takes what `canonical_documents` gave of RAW, and that RAW (of Xero Invoice, Account and TaxRate, and CreditNote
    where credit notes are read); LINKS of documents that hold; PAIRED_LINES; DOCUMENT_RATES. Gives BOOKED, by side,
    document and line: of Salesforce what is won, in scope, and linked or due since the cut-over; of Xero what is
    linked, or is dated since then and neither voided nor deleted; and the credit notes of these, and those dated
    since then, with amounts below nothing.
    What Salesforce leaves to the ledger is the ledger's: account and tax where neither mapping nor line names
    one, a currency rate that is not sent, the status of an invoice that it does not show. A tax that neither
    book tells is that of the line's account; where its rate is not known it counts as nothing.
    Raises nothing: a document that can't be read, or has a line without an amount, is a reject.
    Source: Xero's OpenAPI (LineAmount, TaxAmount, LineAmountTypes, CurrencyRate), read 2026-11-24.
    """
    known = links.select(document_key="salesforce_id", xero_id=pl.col("xero_id").str.to_lowercase())
    codes = _tax_codes(raw)
    invoices = _invoices(raw["xero.Invoice"], known, mapping)
    theirs = _entries(invoices, pairs, codes)
    ledger = _of_xero(invoices, theirs)
    notes = _credit_notes(raw.get("xero.CreditNote", empty(RAW)), invoices, documents.invoices, mapping)
    credited = _entries(notes, pairs, codes)
    deals = _of_salesforce(documents.headers, known, ledger, rates, mapping)
    ours = _priced(documents.lines, deals, theirs, codes, mapping)
    headers = pl.concat([deals, ledger, _negated(_of_xero(notes, credited))])
    entries = pl.concat([ours, theirs, _negated(credited)])
    faults = _faults(headers, entries)
    whole = headers.join(faults, on="document_key", how="anti")
    # Without its invoice a credit note would stand for nothing.
    sound = whole.join(
        faults.drop_nulls("document_key"), left_on="credits", right_on="document_key", how="anti"
    )
    of_header = sound.drop("amount", "tax_amount")
    lines = entries.join(of_header, on=["side", "record_id"], how="inner", validate="m:1")
    rows = pl.concat([conform(lines, BOOKED), conform(sound, BOOKED)])
    return Booked(rows.sort("side", "document_key", "line_key"), _rejects(faults))


def _faults(headers: pl.DataFrame, entries: pl.DataFrame) -> pl.DataFrame:
    """Say which documents can't be added up, and why: the first reason of each."""
    key = ["side", "record_id"]
    unpriced = entries.filter(pl.col("amount").is_null()).select(*key, unpriced=True).unique()
    cases = [
        pl.col("fault"),
        pl.when("unpriced").then(pl.lit("a line has no amount")),
        pl.when(pl.col("date").is_null()).then(pl.lit("its date is not known")),
        pl.when(pl.col("currency").is_null()).then(pl.lit("its currency is not known")),
    ]
    judged = headers.join(unpriced, on=key, how="left", validate="1:1")
    return judged.select(*key, "document_key", reason=pl.coalesce(cases)).drop_nulls("reason")


def _rejects(faults: pl.DataFrame) -> pl.DataFrame:
    told = faults.with_columns(stage=pl.lit("totals"), entity=pl.lit("document"))
    return conform(told, REJECTS).sort("side", "record_id")


def _tax_codes(raw: Mapping[str, pl.DataFrame]) -> TaxCodes:
    taxes = live_texts(raw["xero.TaxRate"], ("TaxType", "EffectiveRate"), "TaxType", ("EffectiveRate",))
    accounts = live_texts(raw["xero.Account"], ("AccountID", "Code", "TaxType"), "AccountID")
    rates = taxes.select(tax="TaxType", rate=numbers(taxes["EffectiveRate"]))
    of_accounts = accounts.select(account="Code", account_tax="TaxType")
    return TaxCodes(
        rates.drop_nulls().unique("tax", maintain_order=True),
        of_accounts.drop_nulls().unique("account", maintain_order=True),
    )


def live_texts(
    raw: pl.DataFrame, paths: tuple[str, ...], id_field: str, amounts: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Give the live rows of RAW with a text for each path, and sound: all in them is of its type."""
    live = raw.filter(~pl.col("deleted").fill_null(False))
    spelled = live.with_columns(body=quoted(pl.col("body"), amounts)) if amounts else live
    types: dict[str, pl.DataType] = dict.fromkeys(paths, pl.String())
    table, _ = decoded_bodies(spelled, types, id_field=id_field)
    return table.with_columns(sound=pl.col("readable") & (pl.col("faults").list.len() == 0))


# --- The ledger -----------------------------------------------------------------------------------------


def _invoices(raw: pl.DataFrame, known: pl.DataFrame, mapping: DocumentMapping) -> pl.DataFrame:
    """Give the sales invoices that count, with line_items; fault where one can't be read."""
    table = live_texts(raw, ("InvoiceID", *HEADER), "InvoiceID", NUMBERS)
    owned = table.with_columns(pl.col("record_id").str.to_lowercase(), line_items(table)).join(
        known, left_on="record_id", right_on="xero_id", how="left", validate="m:1", maintain_order="left"
    )
    read = _read_headers(owned.with_columns(linked=pl.col("document_key").is_not_null(), credits=None))
    sale = pl.col("Type").fill_null("ACCREC").str.to_uppercase() == "ACCREC"
    counts = _dated(mapping) & ~pl.col("status").is_in(CLOSED).fill_null(False)
    return read.filter((sale & (pl.col("linked") | counts)) | pl.col("fault").is_not_null())


def _credit_notes(
    raw: pl.DataFrame, invoices: pl.DataFrame, numbered: pl.DataFrame, mapping: DocumentMapping
) -> pl.DataFrame:
    """Give the credit notes of sales that count, as `_invoices` does; credits: the document that each takes from.

    Takes RAW of CreditNote, what `_invoices` gave, and the number of each invoice by record_id. A credit note
    takes from the invoice that it is set against; before it is, from the one whose number is its reference.
    """
    table = live_texts(raw, ("CreditNoteID", "Reference", *HEADER), "CreditNoteID", NUMBERS)
    of_both = invoices.filter("linked").select(invoice_id="record_id", credits="document_key")
    by_number = (
        numbered.select(invoice_id=pl.col("record_id").str.to_lowercase(), Reference="number")
        .join(of_both, on="invoice_id", how="inner")
        .unique("Reference", keep="none")
        .select("Reference", by_number="credits")
    )
    found = (
        table.with_columns(pl.col("record_id").str.to_lowercase(), line_items(table), _set_against(table))
        .join(of_both, on="invoice_id", how="left", validate="m:1", maintain_order="left")
        .join(by_number, on="Reference", how="left", validate="m:1", maintain_order="left")
    )
    credits = pl.coalesce("credits", pl.when(pl.col("invoice_id").is_null()).then("by_number"))
    read = _read_headers(
        found.with_columns(credits=credits, linked=False, document_key=pl.lit(None, pl.String))
    )
    sale = pl.col("Type").fill_null("ACCRECCREDIT").str.to_uppercase() == "ACCRECCREDIT"
    stands = ~pl.col("status").is_in(CLOSED).fill_null(False)
    counts = stands & (pl.col("credits").is_not_null() | _dated(mapping))
    return read.filter((sale & counts) | pl.col("fault").is_not_null())


def _set_against(table: pl.DataFrame) -> pl.Series:
    """Give the one invoice that each credit note is set against (invoice_id); null where it is none, or several."""
    bodies = table.select(pl.when("sound").then("body").otherwise(pl.lit("{}"))).to_series()
    found = _decoded_lines(bodies, pl.Struct({"Allocations": ALLOCATIONS})).to_frame("found")
    invoice = pl.element().struct.field("Invoice").struct.field("InvoiceID").str.to_lowercase()
    ids = pl.col("found").struct.field("Allocations").list.eval(invoice).list.unique()
    return found.select(invoice_id=pl.when(ids.list.len() == 1).then(ids.list.first())).to_series()


def _dated(mapping: DocumentMapping) -> pl.Expr:
    since = pl.col("date") >= pl.lit(mapping.cut_over, pl.Date)
    return (pl.col("date").is_null() | since).fill_null(False)


def _read_headers(owned: pl.DataFrame) -> pl.DataFrame:
    """Add what HEADERS say of a document; fault where it can't be read."""
    kind = pl.col("LineAmountTypes").fill_null("Exclusive").str.to_lowercase()
    day = pl.col("DateString").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    unreadable = pl.lit("the body is not the JSON of a document with its lines")
    return owned.with_columns(
        side=pl.lit("xero"),
        document_key=pl.coalesce("document_key", "record_id"),
        currency=pl.col("CurrencyCode").str.to_uppercase(),
        date=pl.coalesce(day, wire_instants(pl.col("Date")).dt.date()),
        status=pl.col("Status").str.to_uppercase(),
        currency_rate=numbers(owned["CurrencyRate"]),
        subtotal=numbers(owned["SubTotal"]).cast(AMOUNT),
        total_tax=numbers(owned["TotalTax"]).cast(AMOUNT),
        inclusive=kind == "inclusive",
        no_tax=kind == "notax",
        fault=pl.when(~pl.col("sound") | pl.col("line_items").is_null()).then(unreadable),
    )


def _negated(rows: pl.DataFrame) -> pl.DataFrame:
    """Give what credit notes hold as what it takes off."""
    held = [name for name in ("quantity", *AMOUNTS.values()) if name in rows.columns]
    return rows.with_columns((Decimal(0) - pl.col(name)).cast(rows.schema[name]).alias(name) for name in held)


def line_items(table: pl.DataFrame) -> pl.Series:
    """Give the lines of each body (a list of LINES); null where they can't be read, which does not stop the others.

    Takes the rows that `live_texts` gives of invoices, with their line numbers as texts.
    """
    bodies = table.select(pl.when("sound").then("body").otherwise(pl.lit("{}"))).to_series()
    found = _decoded_lines(bodies, pl.Struct({"LineItems": LINES})).to_frame("found")
    listed = pl.coalesce(pl.col("found").struct.field("LineItems"), pl.lit([], dtype=LINES))
    return found.select(line_items=pl.when(pl.col("found").is_not_null()).then(listed)).to_series()


def _decoded_lines(bodies: pl.Series, shape: pl.Struct) -> pl.Series:
    """Decode all at once; where that fails, by halves, down to the rows at fault: null."""
    found = decode_all(bodies, shape)
    if found is not None:
        return found
    if len(bodies) == 1:
        return pl.Series([None], dtype=shape)
    half = len(bodies) // 2
    return pl.concat([_decoded_lines(part, shape) for part in (bodies[:half], bodies[half:])])


def _entries(invoices: pl.DataFrame, pairs: pl.DataFrame, codes: TaxCodes) -> pl.DataFrame:
    """Give the lines of Xero's invoices, as ENTRIES; a line that is text alone is none."""
    lines = invoices.select("side", "record_id", "inclusive", "no_tax", "line_items").explode("line_items")
    lines = lines.unnest("line_items").with_columns(pl.col("LineItemID").str.to_lowercase())
    nothing = pl.col("LineAmount").fill_null("0").str.contains(r"^0(\.0+)?$")
    text = pl.col("Quantity").is_null() & pl.col("UnitAmount").is_null() & nothing
    lines = lines.filter(~text)
    read = lines.with_columns(numbers(lines[name]).alias(name) for name in LINE_NUMBERS)
    paired = pairs.drop_nulls(["line_id", "line_item_id"]).select(
        "line_id", LineItemID=pl.col("line_item_id").str.to_lowercase()
    )
    keyed = read.join(paired, on="LineItemID", how="left", validate="m:1").join(
        codes.rates, left_on="TaxType", right_on="tax", how="left", validate="m:1"
    )
    tax_amount = pl.col("TaxAmount").fill_null(Decimal(0))
    found = keyed.with_columns(
        line_key=pl.coalesce("line_id", "LineItemID"),
        account="AccountCode",
        tax="TaxType",
        rate=pl.when("no_tax").then(pl.lit(Decimal(0), EXACT)).otherwise("rate"),
        quantity="Quantity",
        unit_price="UnitAmount",
        discount=_discount(),
        amount=pl.when("inclusive").then(pl.col("LineAmount") - tax_amount).otherwise("LineAmount"),
        tax_amount=tax_amount,
    )
    return conform(found, ENTRIES)


def _discount() -> pl.Expr:
    """Give a line's discount in percent; of one that is stated as an amount, to four decimals."""
    quantity, price, stated = (pl.col(name) for name in ("Quantity", "UnitAmount", "DiscountAmount"))
    size = quantity.cast(pl.Float64).abs() * price.cast(pl.Float64).abs()  # a size, not an amount
    fits = size.is_between(0.01, LARGEST["Amount"]) & (stated.abs() < LARGEST["Amount"])
    whole = pl.when(fits).then(quantity) * pl.when(fits).then(price)
    share = (pl.when(fits).then(stated) * HUNDRED / whole).round(PRICE_DECIMALS)
    return pl.coalesce(pl.when(pl.col("DiscountRate") != 0).then("DiscountRate"), share)


def _of_xero(invoices: pl.DataFrame, entries: pl.DataFrame) -> pl.DataFrame:
    """Give HEADERS of Xero, with what the totals of each have beyond its lines."""
    sums = entries.group_by("record_id").agg(
        net=pl.col("amount").sum(), tax=pl.col("tax_amount").sum(), line_count=pl.len()
    )
    joined = invoices.join(sums, on="record_id", how="left", validate="1:1")
    net, tax = pl.col("net").fill_null(Decimal(0)), pl.col("tax").fill_null(Decimal(0))
    beyond = joined.with_columns(
        amount=pl.coalesce("subtotal", net) - net, tax_amount=pl.coalesce("total_tax", tax) - tax
    )
    # A list without pages shows no lines at all.
    unlisted = pl.col("line_count").is_null() & (pl.col("amount") != 0)
    lost = pl.when(unlisted).then(pl.lit("its lines were not read"))
    return conform(beyond.with_columns(fault=pl.coalesce("fault", lost)), HEADERS)


# --- Salesforce -----------------------------------------------------------------------------------------


def _of_salesforce(
    headers: pl.DataFrame,
    known: pl.DataFrame,
    ledger: pl.DataFrame,
    rates: pl.DataFrame,
    mapping: DocumentMapping,
) -> pl.DataFrame:
    """Give HEADERS of the opportunities that are invoiced, or should be."""
    linked = pl.col("record_id").is_in(known["document_key"].to_list())
    wanted = headers.filter("in_scope", "won", ~pl.col("gone")).with_columns(linked=linked)
    theirs = ledger.filter("linked").unique("document_key", maintain_order=True)
    of_ledger = theirs.select(record_id="document_key", their_status="status", their_rate="currency_rate")
    sent = rates.select("record_id", sent_rate=pl.col("rate").cast(EXACT))
    found = (
        wanted.filter(pl.col("linked") | pl.col("due_by_date").fill_null(True))
        .join(of_ledger, on="record_id", how="left", validate="1:1")
        .join(sent, on="record_id", how="left", validate="1:1")
    )
    shown = pl.coalesce(pl.col("shown_status").str.to_uppercase(), "their_status")
    told = found.with_columns(
        side=pl.lit("salesforce"),
        document_key="record_id",
        status=pl.coalesce(pl.when("linked").then(shown), "status"),
        currency_rate=pl.coalesce("sent_rate", "their_rate"),
        inclusive=pl.lit(mapping.line_amounts == "inclusive"),
        amount=ZERO,
        tax_amount=ZERO,
    )
    return conform(told, HEADERS)


def _priced(
    lines: pl.DataFrame, deals: pl.DataFrame, theirs: pl.DataFrame, codes: TaxCodes, mapping: DocumentMapping
) -> pl.DataFrame:
    """Give ENTRIES of the opportunities' lines; what they leave to the ledger is the ledger's."""
    of_ledger = theirs.unique("line_key", maintain_order=True).select(
        line_id="line_key", their_account="account", their_tax="tax", their_tax_amount="tax_amount"
    )
    of_deal = deals.select("currency", document_id="record_id")
    found = (
        lines.join(of_deal, on="document_id", how="inner", validate="m:1")
        .join(of_ledger, on="line_id", how="left", validate="m:1")
        .with_columns(account=pl.coalesce("account", "their_account"))
        .join(codes.accounts, on="account", how="left", validate="m:1")
        .with_columns(tax=pl.coalesce("tax", "their_tax", "account_tax"))
        .join(codes.rates, on="tax", how="left", validate="m:1")
    )
    inclusive, no_tax = mapping.line_amounts == "inclusive", mapping.line_amounts == "no_tax"
    rate = pl.lit(Decimal(0), EXACT) if no_tax else pl.col("rate")
    places = minor_units(pl.col("currency"))
    reckoned = line_tax(pl.col("amount").cast(EXACT), rate, places, inclusive=inclusive).cast(AMOUNT)
    tax_amount = pl.coalesce("tax_amount", reckoned, "their_tax_amount", ZERO)
    told = found.with_columns(
        side=pl.lit("salesforce"),
        record_id="document_id",
        line_key="line_id",
        rate=rate,
        amount=pl.col("amount") - tax_amount if inclusive else pl.col("amount"),
        tax_amount=tax_amount,
    )
    return conform(told, ENTRIES)

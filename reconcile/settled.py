"""Says what became of invoices and bills, and what each contact owes or is owed.

What settles an invoice is counted from the movements themselves: payments, and what was allocated of credit
notes, overpayments and prepayments. Xero's own sums are held against it; where they differ, the row says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from reconcile import names
from reconcile.decode import decode_all, decoded_bodies
from reconcile.ids import wire_instants
from reconcile.model import (
    ACCOUNT_BALANCES,
    BALANCES,
    CLOSED,
    CREDITS,
    REJECTS,
    SETTLED,
    SETTLEMENTS,
    conform,
)
from reconcile.money import AMOUNT, EXACT, numbers, quoted

STANDS: Final = ("AUTHORISED", "PAID")  # what counts; a draft is not owed yet, what is closed not any more
ON_INVOICES: Final = ("ACCRECPAYMENT", "ACCPAYPAYMENT")  # the other PaymentTypes pay a credit back
ALLOCATIONS: Final = pl.List(
    pl.Struct(
        {
            "AllocationID": pl.String,
            "Amount": pl.String,
            "Date": pl.String,
            "Invoice": pl.Struct({"InvoiceID": pl.String}),
        }
    )
)
# Object of Xero -> the amounts that are read of it, and its other paths. A path with ! has to hold something.
AMOUNTS: Final[Mapping[str, tuple[str, ...]]] = {
    "Invoice": (
        "!Total", "SubTotal", "TotalTax", "AmountPaid", "AmountCredited", "AmountDue", "CurrencyRate",
    ),
    "Payment": ("!Amount", "CurrencyRate"),
    **dict.fromkeys(("CreditNote", "Overpayment", "Prepayment"), ("!Total", "RemainingCredit", "CurrencyRate")),
}  # fmt: skip
OF_CREDITS: Final = ("Type", "!Status", "!Contact.ContactID", "!CurrencyCode", "Date", "Reference")
PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "Invoice": (
        "Type", "!Status", "!Contact.ContactID", "!CurrencyCode", "InvoiceNumber", "Reference", "Date", "DueDate",
        "FullyPaidOnDate",
    ),
    "Payment": (
        "Status", "PaymentType", "Date", "Reference", "BatchPaymentID", "Invoice.InvoiceID",
        "Invoice.CurrencyCode", "CreditNote.CreditNoteID", "Overpayment.OverpaymentID", "Prepayment.PrepaymentID",
    ),
    "CreditNote": (*OF_CREDITS, "CreditNoteNumber"),
    "Overpayment": OF_CREDITS,
    "Prepayment": OF_CREDITS,
}  # fmt: skip
CREDIT_OBJECTS: Final = {
    "CreditNote": "credit_note",
    "Overpayment": "overpayment",
    "Prepayment": "prepayment",
}
ZERO: Final = pl.lit(Decimal(0), AMOUNT)


@dataclass(frozen=True)
class Ledger:
    """What Xero tells of invoices and of what settles them.

    invoices: SETTLED without what is counted (paid, credited, due and on), and Xero's own sums as own_paid,
    own_credited and own_due. settlements SETTLEMENTS; credits CREDITS. rejects REJECTS: rows that can't be
    read, and movements that belong to nothing that was read.
    """

    invoices: pl.DataFrame
    settlements: pl.DataFrame
    credits: pl.DataFrame
    rejects: pl.DataFrame


@dataclass(frozen=True)
class Customer:
    """All that is known of one customer: SETTLED, SETTLEMENTS, CREDITS (newest first) and BALANCES."""

    invoices: pl.DataFrame
    settlements: pl.DataFrame
    credits: pl.DataFrame
    balances: pl.DataFrame


def settlements(raw: Mapping[str, pl.DataFrame]) -> Ledger:
    """Read every movement that settles an invoice, or pays back what a contact had to its credit.

    Takes RAW by "xero.OBJECT": Invoice, Payment, CreditNote, Overpayment and Prepayment, as lists or details
    show them. Batch payments need not be read: each of their payments is one of its own.
    Gives a Ledger, each frame in order of its id. Amounts are in the currency of their row.
    Raises KeyError where one of the five was not pulled: without it nothing could be counted.
    Source: accounting spec 16.1.0 (Payment, Allocation; read 2026-11-24): in a payment a credit stands under
    Invoice too, told by PaymentType; AmountCredited holds all three kinds of credit.
    """
    tables: dict[str, pl.DataFrame] = {}
    rejects: list[pl.DataFrame] = []
    for name in AMOUNTS:
        tables[name], bad = _read(raw[f"xero.{name}"], name)
        rejects.append(bad)
    invoices = _invoices(tables["Invoice"])
    credits = pl.concat([_credits(tables[name], source) for name, source in CREDIT_OBJECTS.items()])
    parts = [_allocations(tables[name], source) for name, source in CREDIT_OBJECTS.items()]
    allocations = pl.concat([allocated for allocated, _ in parts])
    rejects += [bad for _, bad in parts]
    payments = _payments(tables["Payment"], invoices, credits)
    moved = pl.concat([payments, allocations])
    stray = _with_stray(moved, invoices, credits)
    rejects.append(_rejected(stray, "payment", pl.col("stray")))
    return Ledger(
        invoices=invoices.sort("invoice_id"),
        settlements=conform(stray.filter(pl.col("stray").is_null()), SETTLEMENTS).sort("settlement_id"),
        credits=_with_remaining(credits, moved).sort("credit_id"),
        rejects=pl.concat(rejects).sort("entity", "record_id", "reason"),
    )


# --- Reading ------------------------------------------------------------------------------------------


def _read(raw: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the rows of one object with a text for each path and EXACT for each amount, and REJECTS."""
    amounts = [amount.strip("!") for amount in AMOUNTS[name]]
    paths = [path.strip("!") for path in PATHS[name]]
    # The key of an allocation's amount is quoted with the others.
    bodies = raw.with_columns(body=quoted(pl.col("body"), tuple({*amounts, "Amount"})))
    types: dict[str, pl.DataType] = dict.fromkeys([f"{name}ID", *paths, *amounts], pl.String())
    table, _ = decoded_bodies(bodies, types, id_field=f"{name}ID")
    table = table.with_columns(numbers(table[amount]) for amount in amounts)
    missing = [
        pl.when(pl.col(path[1:]).is_null()).then(pl.lit(f"it has no {path[1:]} that can be read"))
        for path in (*PATHS[name], *AMOUNTS[name])
        if path.startswith("!")
    ]
    fault = pl.coalesce(
        pl.when(~pl.col("readable")).then(pl.lit("the body is not the JSON of this record")),
        pl.when(pl.col("faults").list.len() > 0).then(pl.lit("a field is of another type than expected")),
        *missing,
    )
    judged = table.with_columns(record_id=pl.col("record_id").str.to_lowercase(), fault=fault)
    entity = {"Invoice": "document", "Payment": "payment"}.get(name, "credit")
    return judged.filter(pl.col("fault").is_null()), _rejected(judged, entity, pl.col("fault"))


def _rejected(rows: pl.DataFrame, entity: str, reason: pl.Expr) -> pl.DataFrame:
    told = rows.with_columns(reason=reason).filter(pl.col("reason").is_not_null())
    if "settlement_id" in rows.columns:
        told = told.with_columns(record_id="settlement_id")
    whose = told.select(
        "record_id", "reason", stage=pl.lit("canonical"), entity=pl.lit(entity), side=pl.lit("xero")
    )
    return conform(whose, REJECTS)


def _day(path: str) -> pl.Expr:
    # Midnight UTC of the organisation's calendar day: no zone may move it.
    return wire_instants(pl.col(path)).dt.date()


def _status() -> pl.Expr:
    # Xero deletes no record: what is gone from a whole, proven list is one that the list leaves out as deleted.
    gone = pl.col("deleted").fill_null(False)
    return pl.when(gone).then(pl.lit("DELETED")).otherwise(pl.col("Status").str.to_uppercase())


def _kind(sales: str) -> pl.Expr:
    is_sale = pl.col("Type").fill_null("ACCREC").str.to_uppercase().str.contains(sales)
    return pl.when(is_sale).then(pl.lit("receivable")).otherwise(pl.lit("payable"))


def guid(path: str) -> pl.Expr:
    """Give an id of Xero as it is compared: in small letters."""
    return pl.col(path).str.to_lowercase()


def _invoices(table: pl.DataFrame) -> pl.DataFrame:
    owed = table.filter(pl.col("Type").fill_null("ACCREC").str.to_uppercase().is_in(["ACCREC", "ACCPAY"]))
    return owed.select(
        invoice_id="record_id",
        kind=_kind("^ACCREC$"),
        number=names.folded(pl.col("InvoiceNumber")),
        reference=names.folded(pl.col("Reference")),
        contact_id=guid("Contact.ContactID"),
        status=_status(),
        date=_day("Date"),
        due_on=_day("DueDate"),
        paid_on=_day("FullyPaidOnDate"),
        currency=pl.col("CurrencyCode").str.to_uppercase(),
        currency_rate="CurrencyRate",
        subtotal=pl.col("SubTotal").cast(AMOUNT),
        total_tax=pl.col("TotalTax").cast(AMOUNT),
        total=pl.col("Total").cast(AMOUNT),
        own_paid=pl.col("AmountPaid").cast(AMOUNT),
        own_credited=pl.col("AmountCredited").cast(AMOUNT),
        own_due=pl.col("AmountDue").cast(AMOUNT),
        modified_at="modified_at",
    )


def _credits(table: pl.DataFrame, source: str) -> pl.DataFrame:
    number = pl.col("CreditNoteNumber" if source == "credit_note" else "Reference")
    return table.select(
        credit_id="record_id",
        source=pl.lit(source),
        kind=_kind("^(ACCREC|RECEIVE|AR)"),
        number=names.folded(number),
        reference=names.folded(pl.col("Reference")),
        contact_id=guid("Contact.ContactID"),
        status=_status(),
        date=_day("Date"),
        currency=pl.col("CurrencyCode").str.to_uppercase(),
        currency_rate="CurrencyRate",
        total=pl.col("Total").cast(AMOUNT),
        own_remaining=pl.col("RemainingCredit").cast(AMOUNT),
        modified_at="modified_at",
    )


def _payments(table: pl.DataFrame, invoices: pl.DataFrame, credits: pl.DataFrame) -> pl.DataFrame:
    named = pl.coalesce(
        guid("CreditNote.CreditNoteID"), guid("Overpayment.OverpaymentID"), guid("Prepayment.PrepaymentID")
    )
    of_credit = named.is_not_null() | ~pl.col("PaymentType").str.to_uppercase().is_in(ON_INVOICES)
    found = table.with_columns(
        of_credit=of_credit.fill_null(False), paid_id=pl.coalesce(named, guid("Invoice.InvoiceID"))
    )
    currency_of = pl.concat(
        [
            invoices.select(paid_id="invoice_id", its_currency="currency"),
            credits.select(paid_id="credit_id", its_currency="currency"),
        ]
    )
    known = found.join(currency_of, on="paid_id", how="left", validate="m:1")
    made = known.select(
        settlement_id="record_id",
        kind=pl.when("of_credit").then(pl.lit("refund")).otherwise(pl.lit("payment")),
        invoice_id=pl.when(~pl.col("of_credit")).then("paid_id"),
        source_id=pl.when("of_credit").then("paid_id").otherwise(guid("BatchPaymentID")),
        date=_day("Date"),
        amount=pl.col("Amount").cast(AMOUNT),
        # A payment has no currency of its own: it is in that of what it pays.
        currency=pl.coalesce(pl.col("Invoice.CurrencyCode").str.to_uppercase(), "its_currency"),
        status=_status().fill_null("AUTHORISED"),
        reference=names.folded(pl.col("Reference")),
        currency_rate="CurrencyRate",
        modified_at="modified_at",
    )
    return conform(made, SETTLEMENTS)


def _allocations(table: pl.DataFrame, source: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give what was allocated of these credits: SETTLEMENTS, and REJECTS."""
    lists = _lists(table["body"])
    shapeless = table.filter(lists["is_list"].not_())
    told = _rejected(shapeless, "credit", pl.lit("its Allocations are of another shape than expected"))
    rows = (
        table.with_columns(each=lists["each"])
        .with_columns(nth=pl.int_ranges(pl.col("each").list.len().fill_null(0)))
        .filter(pl.col("each").list.len() > 0)
        .explode("each", "nth")
        .with_columns(
            allocation_id=pl.col("each").struct.field("AllocationID").str.to_lowercase(),
            to_id=pl.col("each").struct.field("Invoice").struct.field("InvoiceID").str.to_lowercase(),
            day=pl.col("each").struct.field("Date"),
            text=pl.col("each").struct.field("Amount"),
        )
    )
    rows = rows.with_columns(amount=numbers(rows["text"]).cast(AMOUNT))
    unusable = pl.when(pl.col("amount").is_null() | pl.col("to_id").is_null()).then(
        pl.lit("one of its Allocations names no invoice or no amount")
    )
    status = _status()
    kept = rows.filter(unusable.is_null()).select(
        # Older replies leave the id out; then its place in its credit has to do.
        settlement_id=pl.coalesce(
            "allocation_id", pl.format("{}:{}", pl.col("record_id").str.replace_all("-", ""), "nth")
        ),
        kind=pl.lit(source),
        invoice_id="to_id",
        source_id="record_id",
        date=_day("day"),
        amount="amount",
        currency=pl.col("CurrencyCode").str.to_uppercase(),
        status=pl.when(status.is_in(STANDS)).then(pl.lit("AUTHORISED")).otherwise(status),
        reference=names.folded(pl.col("Reference")),
        currency_rate="CurrencyRate",
        modified_at="modified_at",
    )
    return conform(kept, SETTLEMENTS), pl.concat([told, _rejected(rows, "credit", unusable)])


def _lists(bodies: pl.Series) -> pl.DataFrame:
    """Give for each body its allocations (each), and whether they had the shape of a list of them (is_list).

    Bodies that are decoded one by one are few: where many fail together, halves are tried.
    """
    found = decode_all(bodies, pl.Struct({"Allocations": ALLOCATIONS}))
    if found is not None:
        each = found.struct.field("Allocations") if len(found) else pl.Series(dtype=ALLOCATIONS)
        return pl.DataFrame({"each": each, "is_list": pl.repeat(True, len(bodies), eager=True)})
    if len(bodies) == 1:
        return pl.DataFrame(
            {"each": [None], "is_list": [False]}, schema={"each": ALLOCATIONS, "is_list": bool}
        )
    half = len(bodies) // 2
    return pl.concat([_lists(bodies[:half]), _lists(bodies[half:])])


def _with_stray(moved: pl.DataFrame, invoices: pl.DataFrame, credits: pl.DataFrame) -> pl.DataFrame:
    """Add stray: why a movement that counts can't be counted; null: it can, or counts nothing anyway."""
    of_invoice = invoices.select("invoice_id", invoice_currency="currency")
    of_credit = credits.select(source_id="credit_id", credit_currency="currency")
    known = moved.join(of_invoice, on="invoice_id", how="left", validate="m:1", maintain_order="left").join(
        of_credit, on="source_id", how="left", validate="m:1", maintain_order="left"
    )
    refund = pl.col("kind") == "refund"
    its = pl.when(refund).then("credit_currency").otherwise("invoice_currency")
    what = pl.when(refund).then(pl.lit("pays back a credit")).otherwise(pl.lit("settles an invoice"))
    cases = [
        pl.when(its.is_null()).then(pl.format("it {} that is not in the snapshot", what)),
        pl.when(its != pl.col("currency")).then(
            pl.format("it is in {}, and {} in {}", "currency", what, its)
        ),
    ]
    counts = pl.col("status") == "AUTHORISED"
    return known.with_columns(stray=pl.when(counts).then(pl.coalesce(cases)))


# --- What is left of credits ----------------------------------------------------------------------------


def _with_remaining(credits: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """Add allocated, refunded and remaining, from all that was taken of a credit; CREDITS."""
    refund = pl.col("kind") == "refund"
    used = (
        moved.filter(pl.col("status") == "AUTHORISED")
        .group_by(credit_id="source_id", currency="currency")
        .agg(allocated=pl.col("amount").filter(~refund).sum(), refunded=pl.col("amount").filter(refund).sum())
    )
    stands = pl.col("status").is_in(STANDS)
    counted = (
        credits.join(used, on=["credit_id", "currency"], how="left", validate="1:1")
        .with_columns(pl.col("allocated", "refunded").fill_null(ZERO))
        .with_columns(
            remaining=pl.when(stands)
            .then(pl.col("total") - pl.col("allocated") - pl.col("refunded"))
            .otherwise(ZERO)
            .cast(AMOUNT)
        )
    )
    unlike = stands & (pl.col("own_remaining") != pl.col("remaining"))
    reason = pl.when(unlike).then(
        pl.format(
            "Xero says that {} {} of it are left, its allocations and refunds leave {}",
            amount_text("own_remaining"),
            "currency",
            amount_text("remaining"),
        )
    )
    return conform(counted.with_columns(reason=reason), CREDITS)


def amount_text(column: str) -> pl.Expr:
    """Give an amount as text with two decimals, or as many more as it needs."""
    return pl.col(column).cast(EXACT).cast(pl.String).str.replace(r"(\.\d\d\d*?)0+$", "$1")


# --- What became of each invoice ------------------------------------------------------------------------


def settled(ledger: Ledger, *, on: date) -> pl.DataFrame:
    """Say of each invoice and bill what was paid, credited and is still due.

    Takes a Ledger; on: the day, in the organisation's calendar, by which something is overdue (what is due that
    very day is not). Gives SETTLED in order of invoice_id. paid + credited + due = total of all but what is
    closed: of that nothing is due. A draft is due as Xero shows it, and never overdue.
    Xero's own sums decide nothing: either they or the movements may have been read earlier, for it is not known
    whether a payment moves the invoice's stamp. Where they differ, reason says how.
    """
    payment = pl.col("kind") == "payment"
    sums = (
        ledger.settlements.filter(pl.col("status") == "AUTHORISED", pl.col("invoice_id").is_not_null())
        .group_by("invoice_id", "currency")
        .agg(
            paid=pl.col("amount").filter(payment).sum(),
            credited=pl.col("amount").filter(~payment).sum(),
            last_payment_on=pl.col("date").filter(payment).max(),
        )
    )
    closed = pl.col("status").is_in(CLOSED)
    left = pl.col("total") - pl.col("paid") - pl.col("credited")
    counted = (
        ledger.invoices.join(
            sums, on=["invoice_id", "currency"], how="left", validate="1:1", maintain_order="left"
        )
        .with_columns(pl.col("paid", "credited").fill_null(ZERO))
        .with_columns(due=pl.when(closed).then(ZERO).otherwise(left).cast(AMOUNT))
    )
    day = pl.lit(on, pl.Date)
    late = (pl.col("status").is_in(STANDS) & (pl.col("due") > 0) & (pl.col("due_on") < day)).fill_null(False)
    dated = counted.with_columns(
        overdue=pl.when(late).then("due").otherwise(ZERO),
        days_overdue=pl.when(late).then((day - pl.col("due_on")).dt.total_days()).otherwise(0),
        reason=_disagreement(),
    )
    return conform(dated, SETTLED)


def _disagreement() -> pl.Expr:
    """Say where Xero's own sums are not those of the movements: the first that holds. An absent sum says nothing."""
    closed = pl.col("status").is_in(CLOSED)
    against = pl.col("paid") + pl.col("credited")
    over = pl.format(
        "its payments and credits are more than its total of {} {}", amount_text("total"), "currency"
    )
    still = pl.format("it is {}, and yet payments or credits stand against it", "status")
    return pl.coalesce(
        pl.when(closed & (against > 0)).then(still),
        pl.when(~closed & (against > pl.col("total"))).then(over),
        _unlike("paid", "its payments give"),
        _unlike("credited", "its credits give"),
        # A void still shows what was due in the reply to its write (recorded).
        pl.when(~closed).then(_unlike("due", "payments and credits leave")),
    )


def _unlike(name: str, ours: str) -> pl.Expr:
    told = pl.format(
        f"Xero says that {{}} {{}} are {name}, {ours} {{}}",
        amount_text(f"own_{name}"),
        "currency",
        amount_text(name),
    )
    return pl.when(pl.col(f"own_{name}") != pl.col(name)).then(told)


# --- What each contact owes -----------------------------------------------------------------------------


def balances(ledger: Ledger, invoices: pl.DataFrame) -> pl.DataFrame:
    """Say what each contact owes (receivable) or is owed (payable), by currency.

    Takes a Ledger and its SETTLED. Gives BALANCES in order of contact, kind and currency: one row wherever there
    is an invoice, bill or credit, a closed one too, so that what was shown before can go back to nothing.
    Credit is not taken off what is outstanding: Xero does neither before it is allocated. The last payment is all
    money that came in (payable: went out) on its day, for an invoice, or as an over- or prepayment.
    """
    key = ["contact_id", "kind", "currency"]
    stands = pl.col("status").is_in(STANDS)
    due = pl.when(stands).then("due").otherwise(ZERO)
    of_invoices = invoices.select(*key, "overdue", outstanding=due, open=(stands & (pl.col("due") > 0)))
    of_credits = ledger.credits.select(*key, credit="remaining")
    sums = (
        pl.concat([of_invoices, of_credits], how="diagonal")
        .group_by(key)
        .agg(
            pl.col("outstanding", "overdue", "credit").sum(),
            invoices_open=pl.col("open").sum().cast(pl.Int64),
        )
    )
    last = _last_of(_money_moved(ledger, invoices), key)
    found = sums.join(last, on=key, how="left", validate="1:1")
    return conform(found, BALANCES).sort(key)


def _money_moved(ledger: Ledger, invoices: pl.DataFrame) -> pl.DataFrame:
    """Give contact_id, kind, currency, last_payment_on and last_payment of all money that changed hands."""
    paid = ledger.settlements.filter(pl.col("kind") == "payment", pl.col("status") == "AUTHORISED").join(
        invoices.select("invoice_id", "contact_id", book="kind"), on="invoice_id", how="inner", validate="m:1"
    )
    in_advance = ledger.credits.filter(pl.col("source") != "credit_note", pl.col("status").is_in(STANDS))
    return pl.concat(
        [
            paid.select(
                "contact_id", kind="book", currency="currency", last_payment_on="date", last_payment="amount"
            ),
            in_advance.select("contact_id", "kind", "currency", last_payment_on="date", last_payment="total"),
        ]
    )


def _last_of(money: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Give for each key its last day and the sum of that day."""
    days = money.drop_nulls("last_payment_on").group_by(*key, "last_payment_on").agg(pl.sum("last_payment"))
    return days.sort("last_payment_on").group_by(key).last()


def account_balances(balances: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Sum what contacts owe by the Account that they are linked to, for several contacts may share one.

    Takes BALANCES and LINKS (those of parties that are linked count). Gives ACCOUNT_BALANCES in order of account,
    kind and currency; contacts without a link are left out.
    """
    linked = links.filter(
        pl.col("entity").cast(pl.String) == "party", pl.col("status").cast(pl.String) == "linked"
    ).select(account_id="salesforce_id", contact_id=guid("xero_id"))
    mine = balances.join(linked, on="contact_id", how="inner", validate="m:m")
    key = ["account_id", "kind", "currency"]
    sums = mine.group_by(key).agg(pl.col("outstanding", "overdue", "credit", "invoices_open").sum())
    found = sums.join(_last_of(mine, key), on=key, how="left", validate="1:1")
    return conform(found, ACCOUNT_BALANCES).sort(key)


def customer(
    contact_ids: Collection[str], ledger: Ledger, invoices: pl.DataFrame, owed: pl.DataFrame
) -> Customer:
    """Give all that is known of one customer: of one contact, or of all contacts of an account.

    Takes the ContactIDs, a Ledger, its SETTLED and BALANCES. Invoices, movements and credits come newest first.
    """
    wanted = [contact_id.lower() for contact_id in contact_ids]
    own = pl.col("contact_id").is_in(wanted)
    theirs, credits = invoices.filter(own), ledger.credits.filter(own)
    moved = ledger.settlements.filter(
        pl.col("invoice_id").is_in(theirs["invoice_id"].to_list())
        | pl.col("source_id").is_in(credits["credit_id"].to_list())
    )
    return Customer(
        invoices=_newest_first(theirs, "invoice_id"),
        settlements=_newest_first(moved, "settlement_id"),
        credits=_newest_first(credits, "credit_id"),
        balances=owed.filter(own),
    )


def _newest_first(rows: pl.DataFrame, record_id: str) -> pl.DataFrame:
    return rows.sort("date", record_id, descending=[True, False], nulls_last=True)

"""Decides which money taken in Salesforce is recorded as a payment in Xero, against which invoice, and what stops it.

Level-triggered: a record that counts and has no payment gets one once its invoice takes it. It is found again by its
Reference, which holds the record's id. Never more than is due, and never beside a payment that may be the same money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps
from reconcile.decode import decoded_bodies
from reconcile.documents import organisation_days
from reconcile.ids import long_ids
from reconcile.mapped import PaymentMapping
from reconcile.merge import difference_fingerprint
from reconcile.model import CLOSED, DRIFT, OPERATIONS, RECORDS, REJECTS, TAKEN, VALUES, conform, rows_frame
from reconcile.money import EXACT, XERO_PLACES, exact, has_decimals, minor_units, numbers, quoted, spelled
from reconcile.operations import Row, held_links, operation_row
from reconcile.settled import amount_text, guid
from reconcile.showing import Settlement
from reconcile.showing_made import shown_again, shown_of_new

ENTITY: Final = "payment"
OBJECT: Final = "Payment"  # of Xero
KEY_FIELD: Final = "Reference"
UNIT: Final = "payment"  # what a person is asked about
STANDS: Final = "AUTHORISED"
DECIDED: Final = ("salesforce_wins", "xero_wins", "accept_drift")


@dataclass(frozen=True)
class BankAccount:
    """The account of Xero through which the money came in; reason: why none can be named."""

    account_id: str | None = None
    currency: str | None = None  # null: the organisation's
    reason: str | None = None


@dataclass(frozen=True)
class Books:
    """What both systems hold that payments are decided by.

    taken TAKEN; known: what settles Xero's invoices; links LINKS of documents and payments; decisions DECISIONS.
    locked_until: the last day that Xero has locked; null: none. base_currency: the organisation's. busy: the ids of
    invoices that the same plan changes.
    """

    taken: pl.DataFrame
    known: Settlement
    links: pl.DataFrame
    decisions: pl.DataFrame
    account: BankAccount
    locked_until: date | None
    base_currency: str | None
    busy: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Paying:
    """What is to be done: OPERATIONS, LINKS that hold without a write, what a person is asked (DRIFT), REJECTS."""

    operations: pl.DataFrame
    adopted: pl.DataFrame
    asked: pl.DataFrame
    rejects: pl.DataFrame


# --- Reading ------------------------------------------------------------------------------------------


def read_taken(
    raw: pl.DataFrame, mapping: PaymentMapping, zone: str | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the records that say that money was taken: (TAKEN in order of date and id, REJECTS).

    Takes RAW of the mapping's object; zone: the organisation's, in which a time becomes a day.
    """
    ruled = mapping.scope.columns if mapping.scope else frozenset[str]()
    exact = tuple(sorted({mapping.amount, *ruled} - {"IsDeleted"}))
    types: dict[str, pl.DataType] = dict.fromkeys(sorted(mapping.fields), pl.String())
    types["IsDeleted"] = pl.Boolean()
    table, _ = decoded_bodies(raw.with_columns(body=quoted(pl.col("body"), exact)), types, id_field="Id")
    fault = pl.coalesce(
        pl.when(~pl.col("readable")).then(pl.lit("the body is not the JSON of this record")),
        pl.when(pl.col("faults").list.len() > 0).then(pl.lit("a field is of another type than expected")),
    )
    judged = table.with_columns(fault=fault)
    sound = judged.filter(pl.col("fault").is_null())
    gone = pl.col("IsDeleted").fill_null(False) | pl.col("deleted").fill_null(False)
    scope = mapping.scope.expression.fill_null(False) if mapping.scope else pl.lit(True)
    found = sound.with_columns(
        record_id=long_ids(sound["record_id"]),
        source_id=long_ids(sound[mapping.source or "Id"]),
        name=names.folded(pl.col("Name")),
        amount=numbers(sound[mapping.amount]),
        currency=_folded(mapping.currency).str.to_uppercase(),
        date=organisation_days(sound[mapping.date], zone),
        gone=gone,
        counts=scope & ~gone,
        **{f"shown_{name}": _folded(mapping.link.get(name)) for name in ("id", "status")},
    )
    return conform(found, TAKEN).sort("date", "record_id"), _rejects(
        judged.drop_nulls("fault"), pl.col("fault"), stage="canonical"
    )


def _folded(field: str | None) -> pl.Expr:
    return names.folded(pl.col(field)) if field else pl.lit(None, pl.String)


def bank_account(raw: pl.DataFrame, named: str) -> BankAccount:
    """Give the account that a mapping names, by its code or its name. Takes RAW of Xero's Account.

    A payment goes through an account of type BANK, or one that payments are enabled for (second hand).
    """
    types: dict[str, pl.DataType] = dict.fromkeys(
        ("AccountID", "Code", "Name", "Status", "Type", "CurrencyCode"), pl.String()
    )
    types["EnablePaymentsToAccount"] = pl.Boolean()
    live = raw.filter(~pl.col("deleted").fill_null(False))
    table, _ = decoded_bodies(live, types, id_field="AccountID")
    told = [names.folded(pl.col(name)).str.to_lowercase() == named.lower() for name in ("Code", "Name")]
    active = names.folded(pl.col("Status")).fill_null("ACTIVE").str.to_uppercase() == "ACTIVE"
    pays = (pl.col("Type") == "BANK") | pl.col("EnablePaymentsToAccount").fill_null(False)
    found = (
        table.filter("readable")
        .with_columns(
            by_code=told[0].fill_null(False), by_name=told[1].fill_null(False), active=active, pays=pays
        )
        .filter(pl.col("by_code") | pl.col("by_name"))
        .sort(~pl.col("active"), ~pl.col("pays"), ~pl.col("by_code"), "AccountID")
    )
    if found.is_empty():
        return BankAccount(reason=f"the account {named} of the mapping is not in Xero")
    first = found.row(0, named=True)
    if not first["active"]:
        return BankAccount(
            reason=f"the account {named} of the mapping is {str(first['Status']).lower()} in Xero"
        )
    if not first["pays"]:
        return BankAccount(
            reason=f"the account {named} of the mapping is no bank account, and takes no payments in Xero"
        )
    return BankAccount(first["AccountID"], first["CurrencyCode"])


# --- Decisions ----------------------------------------------------------------------------------------


def payments(books: Books, mapping: PaymentMapping, word: pl.Expr) -> Paying:
    """Say what is to be done for each record that says that money was taken. word: what its source is called.

    What is made already is compared and shown, never changed: Xero lets a payment be made or taken back only.
    """
    placed = books.taken.join(_payment_links(books.links), on="record_id", how="left", validate="1:1")
    placed = placed.join(_invoices(books), on="source_id", how="left", validate="m:1").sort(
        "date", "record_id"
    )
    there = _payments(books.known)
    made = placed.filter(pl.col("payment_id").is_not_null()).join(
        there, on="payment_id", how="left", validate="m:1", maintain_order="left"
    )
    on_or_after = (pl.col("date") >= pl.lit(mapping.cut_over, pl.Date)).fill_null(True)
    # Of what was invoiced itself a blank says that no money was taken.
    says = pl.lit(mapping.source is not None) | (pl.col("amount") != 0).fill_null(False)
    due = pl.col("counts") & on_or_after & says
    unlinked = placed.filter(pl.col("payment_id").is_null())
    new = unlinked.filter(due).drop("payment_id", "link_id")
    # What is not due any more is taken for its payment's own too: a lost journal hides no payment that stands.
    lapsed = _lapsed(unlinked.filter(~due), placed, there, books, mapping).select(made.columns)
    judged = _judged(new, there, books, mapping, word)
    found = judged.filter(pl.col("stop").is_null(), pl.col("payment_id").is_not_null())
    asked = judged.filter(pl.col("stop").is_null(), pl.col("payment_id").is_null())
    asked = _with_alike(asked, there, books, mapping)
    taken_for = asked.filter(pl.col("said") == "xero_wins").with_columns(payment_id="alike_id")
    found = pl.concat([found, taken_for.select(found.columns)])
    open_ = asked.filter(
        pl.col("alike_id").is_null() | (pl.col("said") == "salesforce_wins").fill_null(False)
    )
    fitting = _with_rest(open_)
    to_make = fitting.filter(pl.col("more").is_null())
    waiting = asked.filter(pl.col("alike_id").is_not_null(), pl.col("said").is_null())
    now = found.select("record_id", "gone", "shown_id", "shown_status", "payment_id").join(
        there, on="payment_id", how="left", validate="m:1", maintain_order="left"
    )
    rows = [one for row in to_make.iter_rows(named=True) for one in _making(row, books, mapping)]
    lapsed = lapsed.filter(~pl.col("payment_id").is_in(found["payment_id"].implode()))
    made = pl.concat([made, lapsed])
    kept = [frame.select(salesforce_id="record_id", xero_id="payment_id") for frame in (found, lapsed)]
    rows += [one for frame in (made, now) for row in _to_show(frame) for one in _showing(row, mapping)]
    return Paying(
        operations=rows_frame(rows, OPERATIONS),
        adopted=held_links(ENTITY, pl.concat(kept)),
        asked=_asked(waiting),
        rejects=pl.concat(
            [
                _rejects(made.with_columns(why=_moved()).drop_nulls("why"), pl.col("why")),
                _rejects(judged.drop_nulls("stop"), pl.col("stop")),
                _rejects(fitting.drop_nulls("more"), pl.col("more")),
            ]
        ),
    )


def _lapsed(
    rows: pl.DataFrame, placed: pl.DataFrame, there: pl.DataFrame, books: Books, mapping: PaymentMapping
) -> pl.DataFrame:
    """Give the records, of those that are not due, with a payment that stands: its Reference, or shown."""
    standing = there.filter(
        pl.col("payment_status") == STANDS,
        ~pl.col("payment_id").is_in(_payment_links(books.links)["payment_id"].drop_nulls().implode()),
    ).sort("payment_id")
    by_key = standing.drop_nulls("low").unique("low", keep="first").select("low", keyed="payment_id")
    showing = placed.select("record_id", shows=guid("shown_id"))
    alone = showing.filter(pl.len().over("shows") == 1)
    shown = alone.join(standing, left_on="shows", right_on="payment_id", how="semi")
    named = rows.with_columns(low=_key(mapping).str.to_lowercase()).join(by_key, on="low", how="left")
    both = named.join(shown, on="record_id", how="left").with_columns(
        payment_id=pl.coalesce("keyed", "shows")
    )
    mine = both.drop_nulls("payment_id").unique("payment_id", keep="first", maintain_order=True)
    return mine.drop("low", "keyed", "shows").join(standing, on="payment_id", how="inner", validate="1:1")


def _key(mapping: PaymentMapping) -> pl.Expr:
    """The Reference of a record's payment: of 18 characters, which are unique without case."""
    return pl.lit(mapping.prefix) + pl.col("record_id").str.to_uppercase()


def _payment_links(links: pl.DataFrame) -> pl.DataFrame:
    return _linked(links, ENTITY).select("link_id", record_id="salesforce_id", payment_id=guid("xero_id"))


def _linked(links: pl.DataFrame, entity: str) -> pl.DataFrame:
    return links.filter(
        pl.col("entity").cast(pl.String) == entity, pl.col("status").cast(pl.String) == "linked"
    )


def _invoices(books: Books) -> pl.DataFrame:
    """Give, of each source, the invoice that stands for it: one that is closed only where there is no other."""
    documents = _linked(books.links, "document").select(source_id="salesforce_id", invoice_id=guid("xero_id"))
    invoices = books.known.invoices.select(
        "invoice_id",
        "due",
        invoice_number="number",
        invoice_status="status",
        invoice_currency="currency",
        disagrees="reason",
    )
    known = documents.join(invoices, on="invoice_id", how="left", validate="m:1")
    closed = pl.col("invoice_status").is_in(CLOSED).fill_null(True)
    return known.sort(closed, "invoice_id").unique("source_id", keep="first", maintain_order=True)


def _payments(known: Settlement) -> pl.DataFrame:
    """Give Xero's payments of invoices."""
    return known.ledger.settlements.filter(pl.col("kind") == "payment").select(
        payment_id="settlement_id",
        paid_invoice="invoice_id",
        paid="amount",
        paid_on="date",
        payment_status="status",
        low=pl.col("reference").str.to_lowercase(),
    )


def _judged(
    new: pl.DataFrame, there: pl.DataFrame, books: Books, mapping: PaymentMapping, word: pl.Expr
) -> pl.DataFrame:
    """Add key, payment_id (one that is its payment already) and stop: why nothing is recorded now; null: it can be."""
    carrying = (
        there.drop_nulls("low")
        .sort(pl.col("payment_status") != STANDS, "payment_id")
        .group_by("low", maintain_order=True)
        .agg(pl.all().first(), carriers=(pl.col("payment_status") == STANDS).sum())
    )
    by_key = new.with_columns(key=_key(mapping)).with_columns(
        low=pl.col("key").str.to_lowercase(), shown_payment=guid("shown_id")
    )
    shown = there.select(
        shown_payment="payment_id", shown_invoice="paid_invoice", shown_paid="paid", shown_is="payment_status"
    )
    both = by_key.join(carrying, on="low", how="left", validate="m:1", maintain_order="left").join(
        shown, on="shown_payment", how="left", validate="m:1", maintain_order="left"
    )
    taken = _payment_links(books.links)["payment_id"].implode()
    found = both.with_columns(
        by_field=pl.col("shown_payment").is_not_null(),
        payment_id=pl.coalesce("shown_payment", "payment_id"),
        paid_invoice=pl.coalesce("shown_invoice", "paid_invoice"),
        paid=pl.coalesce("shown_paid", "paid"),
        payment_status=pl.coalesce("shown_is", "payment_status"),
    )
    return found.with_columns(
        currency=pl.coalesce("currency", "invoice_currency"),
        stop=pl.coalesce(*_of_found(mapping, taken), *_of_new(books, mapping, word)),
    ).drop("by_field", "shown_invoice", "shown_paid", "shown_is", "shown_payment", "carriers")


def _of_found(mapping: PaymentMapping, taken: pl.Expr | pl.Series) -> list[pl.Expr]:
    """Say why a payment that seems to be a record's can't be taken for it."""
    field, there = mapping.link.get("id", ""), pl.col("payment_id").is_not_null()
    differs = (pl.col("paid").cast(EXACT) != pl.col("amount")) | pl.col("amount").is_null()
    elsewhere = pl.col("paid_invoice").ne_missing(pl.col("invoice_id"))
    return [
        pl.when("by_field", pl.col("shown_is").is_null()).then(
            pl.lit(f"its {field} names a payment that is not in the snapshot of Xero")
        ),
        pl.when(there, pl.col("payment_id").is_in(taken)).then(
            pl.lit("its payment in Xero is another record's, as a copy's is")
            + (pl.lit(f": empty {field}") if field else pl.lit(""))
        ),
        pl.when("by_field", pl.len().over("payment_id") > 1).then(
            pl.lit(f"its {field} shows a payment that another one shows too: empty it where it is a copy")
        ),
        pl.when(~pl.col("by_field"), pl.col("carriers") > 1).then(
            pl.format(
                "{} payments in Xero carry its Reference {}: take those back that are too many", "carriers", "key"
            )
        ),
        pl.when(there, pl.col("payment_status") != STANDS).then(
            pl.lit("its payment was taken back in Xero: make another record, if the money is to be recorded again")
        ),
        pl.when(there, elsewhere).then(pl.lit("its payment in Xero stands against another invoice")),
        pl.when(there, differs).then(
            pl.format(
                "it is of {}, and its payment in Xero of {}: a payment can't be changed; take it back there, and "
                "make another record",
                pl.coalesce(amount_text("amount"), pl.lit("no amount")), amount_text("paid"),
            )
        ),
    ]  # fmt: skip


def _of_new(books: Books, mapping: PaymentMapping, word: pl.Expr) -> list[pl.Expr]:
    """Say why no payment can be made of a record; of one that is there already nothing is asked."""
    places = pl.min_horizontal(minor_units(pl.col("invoice_currency")), pl.lit(XERO_PLACES))
    currency, status = pl.coalesce("currency", "invoice_currency"), pl.col("invoice_status")
    named = pl.format("its invoice {}", pl.coalesce("invoice_number", "invoice_id"))
    locked = (pl.col("date") <= pl.lit(books.locked_until, pl.Date)).fill_null(False)
    held_in = books.account.currency or books.base_currency
    of_account = pl.lit(held_in, pl.String)
    foreign = pl.lit(held_in != books.base_currency) & (of_account != pl.col("invoice_currency"))
    number = pl.col("amount")
    whole = pl.coalesce(
        *(pl.when(places == count).then(has_decimals(number, count)) for count in range(XERO_PLACES + 1))
    )
    cases: list[pl.Expr] = [
        pl.when(pl.col("source_id").is_null()).then(
            pl.format(f"it names no {{}}: fill {mapping.source}", word)
        ),
        pl.when(pl.col("invoice_id").is_null()).then(pl.format("its {} has no invoice yet", word)),
        pl.when(status.is_null()).then(pl.lit("its invoice is not in the snapshot of Xero")),
        pl.when(number.is_null() | (number <= 0)).then(
            pl.lit(f"{mapping.amount} holds no amount above zero: nothing can be recorded")
        ),
        pl.when(~whole.fill_null(False)).then(
            pl.format(
                f"{mapping.amount} is {{}}, which has more decimals than {{}} knows", amount_text("amount"), currency
            )
        ),
        pl.when(pl.col("date").is_null()).then(pl.lit(f"{mapping.date} holds no day")),
        pl.when(pl.col("date") > pl.lit(books.known.on, pl.Date)).then(
            pl.format("its day {} is still to come: it is recorded then", pl.col("date").cast(pl.String))
        ),
        pl.when(locked).then(
            pl.format(
                "its day {} lies in a period that Xero has locked up to {}: open the period, or record it there",
                pl.col("date").cast(pl.String), pl.lit(books.locked_until, pl.Date).cast(pl.String),
            )
        ),
        pl.when(currency != pl.col("invoice_currency")).then(
            pl.format("it is in {}, and {} in {}", currency, named, "invoice_currency")
        ),
        pl.when(status.is_in(["DRAFT", "SUBMITTED"])).then(
            pl.format("{} is not approved yet ({}): it is recorded then", named, status.str.to_lowercase())
        ),
        pl.when(pl.col("invoice_id").is_in(list(books.busy))).then(
            pl.format("{} is changed by this plan: it is recorded after that", named)
        ),
        pl.when(status.is_in(CLOSED)).then(pl.format("{} is {}", named, status.str.to_lowercase())),
        pl.when(pl.col("disagrees").is_not_null()).then(
            pl.format("what is due on {} is not certain: {}", named, "disagrees")
        ),
        pl.when(pl.lit(books.account.reason is not None)).then(pl.lit(books.account.reason or "")),
        pl.when(foreign).then(
            pl.format("the account {} of the mapping is in {}, and {} in {}",
                      pl.lit(mapping.account), of_account, named, "invoice_currency")
        ),
    ]  # fmt: skip
    return [pl.when(pl.col("payment_id").is_null()).then(case) for case in cases]


# -- Money that may be there already


def _with_alike(
    open_: pl.DataFrame, there: pl.DataFrame, books: Books, mapping: PaymentMapping
) -> pl.DataFrame:
    """Add alike_id and alike_on, of a payment of the same invoice and amount that we did not make, and what was said.

    said: what a person decided about the two; salesforce, xero, mark: the texts that were decided about.
    """
    linked = _payment_links(books.links)["payment_id"].implode()
    ours = (mapping.prefix + books.taken["record_id"]).str.to_lowercase()
    strange = (
        there.filter(
            pl.col("payment_status") == STANDS,
            ~pl.col("payment_id").is_in(linked),
            ~pl.col("low").is_in(ours.implode()).fill_null(False),
        )
        .sort("paid_on", "payment_id")
        .with_columns(nth=pl.int_range(pl.len()).over("paid_invoice", "paid"))
        .select(invoice_id="paid_invoice", amount=pl.col("paid").cast(EXACT), nth="nth", alike_id="payment_id",
                alike_on="paid_on", alike_reference="low")
    )  # fmt: skip
    ranked = open_.with_columns(nth=pl.int_range(pl.len()).over("invoice_id", "amount"))
    near = ranked.join(
        strange, on=["invoice_id", "amount", "nth"], how="left", validate="1:1", maintain_order="left"
    ).drop("nth")
    texts = [
        (dumps(_said(row, "date")), dumps(_said(row, "alike_on"))) if row["alike_id"] else (None, None)
        for row in near.select("amount", "currency", "date", "alike_on", "alike_id").iter_rows(named=True)
    ]
    columns = {
        "salesforce": [here for here, _ in texts],
        "xero": [other for _, other in texts],
        "mark": [difference_fingerprint(*pair) if pair[0] else None for pair in texts],
    }
    near = near.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in columns.items())
    said = (
        books.decisions.filter(
            pl.col("entity").cast(pl.String) == ENTITY, pl.col("unit") == UNIT, pl.col("kind").is_in(DECIDED)
        )
        .sort("made_at")
        .select(record_id="salesforce_id", alike_id=guid("xero_id"), mark="fingerprint", said="kind")
        .unique(["record_id", "alike_id", "mark"], keep="last", maintain_order=True)
    )
    return near.join(
        said, on=["record_id", "alike_id", "mark"], how="left", validate="m:1", maintain_order="left"
    )


def _said(row: Mapping[str, Any], day: str) -> dict[str, str | None]:
    return {
        "amount": spelled(row["amount"], places=2),
        "currency": row["currency"],
        "date": row[day] and row[day].isoformat(),
    }


def _with_rest(open_: pl.DataFrame) -> pl.DataFrame:
    """Add more: why a record asks for more than is due, all before it counted; null: it fits."""
    asked = pl.col("amount").cum_sum().over("invoice_id")
    before = asked - pl.col("amount")
    due = pl.col("due").cast(EXACT)
    beside = pl.when(before > 0).then(pl.lit(", beside what is recorded before it")).otherwise(pl.lit(""))
    return open_.with_columns(
        more=pl.when(asked > due).then(
            pl.format(
                "it is of {} {}, and of its invoice {} only {} are due{}: give the rest back, or record it in Xero as "
                "an overpayment",
                amount_text("amount"), "currency", pl.coalesce("invoice_number", "invoice_id"),
                amount_text("due"), beside,
            )
        )
    )  # fmt: skip


def _moved() -> pl.Expr:
    """Say in what a record is no longer as its payment; null: it is."""
    stands = pl.col("payment_status") == STANDS
    return pl.coalesce(
        pl.when(pl.col("payment_status").is_null()).then(pl.lit("its payment is not in the snapshot of Xero")),
        pl.when(pl.col("counts"), ~stands).then(
            pl.lit("its payment was taken back in Xero: make another record, if the money is to be recorded again")
        ),
        pl.when(~pl.col("counts"), stands).then(
            pl.format("it counts no more, and its payment of {} stands: take that back in Xero, if that is meant",
                      amount_text("paid"))
        ),
        pl.when(stands, pl.col("amount").ne_missing(pl.col("paid").cast(EXACT))).then(
            pl.format(
                "it is of {} now, and its payment of {}: a payment can't be changed; take it back in Xero, and make "
                "another record",
                pl.coalesce(amount_text("amount"), pl.lit("no amount")), amount_text("paid"),
            )
        ),
        pl.when(stands, pl.col("paid_invoice").ne_missing(pl.col("invoice_id"))).then(
            pl.lit("its payment stands against another invoice than that of its source")
        ),
    )  # fmt: skip


# --- Operations ---------------------------------------------------------------------------------------


def _making(row: Mapping[str, Any], books: Books, mapping: PaymentMapping) -> list[Row]:
    """Give the operations that record a payment: the payment, and what its record shows of it."""
    amount = exact(row["amount"])
    body = {
        "Invoice": {"InvoiceID": row["invoice_id"]},
        "Account": {"AccountID": books.account.account_id},
        "Date": row["date"].isoformat(),
        "Amount": amount,
        KEY_FIELD: row["key"],
    }
    told = {
        "reference": row["key"],
        "invoice": row["invoice_number"] or row["invoice_id"],
        "amount": spelled(amount, places=2),
        "currency": row["currency"],
        "date": row["date"].isoformat(),
        "account": mapping.account,
    }
    create = operation_row(
        ENTITY,
        OBJECT,
        system="xero",
        record_id=None,
        source_id=row["record_id"],
        action="create",
        phase="create",
        unit="record",
        after=dumps(told),
        native_after=dumps(body),
        reason="the money was taken, and Xero has no payment of it",
        rule=mapping.at,
        match_rule="create",
        score=1.0,
        evidence="{}",
    )
    return [create, *shown_of_new(ENTITY, row, create["operation_id"], mapping)]


def _to_show(made: pl.DataFrame) -> list[Row]:
    return made.filter(~pl.col("gone"), pl.col("payment_status").is_not_null()).to_dicts()


def _showing(row: Mapping[str, Any], mapping: PaymentMapping) -> list[Row]:
    return shown_again(ENTITY, row, row["payment_id"], row["payment_status"], mapping)


def _asked(waiting: pl.DataFrame) -> pl.DataFrame:
    """Give DRIFT: money that Xero may have already, of which only a person can tell."""
    return conform(
        waiting.select(
            "salesforce",
            "xero",
            entity=pl.lit(ENTITY),
            unit=pl.lit(UNIT),
            salesforce_id="record_id",
            xero_id="alike_id",
            direction=pl.lit("both"),
            why=pl.lit("conflict"),
        ),
        DRIFT,
    )


def _rejects(rows: pl.DataFrame, reason: pl.Expr, *, stage: str = "plan") -> pl.DataFrame:
    told = rows.select(
        "record_id",
        stage=pl.lit(stage),
        entity=pl.lit(ENTITY),
        side=pl.lit("salesforce"),
        unit=pl.lit("record"),
        reason=reason,
    )
    return conform(told, REJECTS)


# --- For checks and names -------------------------------------------------------------------------------


def taken_records(taken: pl.DataFrame, mapping: PaymentMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give RECORDS and VALUES (the names) of the records that say that money was taken."""
    whose = {"entity": pl.lit(ENTITY), "side": pl.lit("salesforce")}
    records = taken.select(
        "record_id",
        **whose,
        object=pl.lit(mapping.salesforce),
        status=pl.when("gone").then(pl.lit("deleted")).otherwise(pl.lit("active")),
        parent_id="source_id",
        in_scope="counts",
    )
    named = taken.drop_nulls("name").select(
        "record_id", **whose, unit=pl.lit("name"), kind=pl.lit("text"), value="name", observed=pl.lit(True)
    )
    return conform(records, RECORDS), conform(named, VALUES)

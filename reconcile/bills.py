"""Decides which records of Salesforce become bills in Xero, and what stops one.

Level-triggered: a record that counts and has no bill gets one draft, once; it is never changed afterwards.

It is found again by its InvoiceNumber, which ends in the record's id: "4711 SF-A01000000000001AAA". Xero does not
keep the number of a bill unique (documented), but it is the one field that is kept of a bill, comes with every list,
and can be filtered for (Reference is kept of sales only; Url is kept, and nobody could confirm that a list shows it or
takes it in a filter). Xero's pages call it the bill's Reference, and finance looks there for the supplier's own number:
it stands first. What may be spelled anew in Salesforce is no part of the key: only the id at the end is compared.
Source: accounting spec 16.1.0 (Invoice), notes on uniqueness; read 2026-12-02.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps
from reconcile.codes import COSTS, Chart, check_accounts, check_codes
from reconcile.decode import decoded_bodies
from reconcile.documents import Organisation, organisation_days
from reconcile.ids import ID_LENGTH, long_ids, wire_instants
from reconcile.invoices import Contact
from reconcile.mapped import BillMapping
from reconcile.model import (
    BILLS,
    BILLS_THERE,
    CLOSED,
    CODED,
    OPERATIONS,
    RECORDS,
    REJECTS,
    VALUES,
    conform,
    rows_frame,
)
from reconcile.money import AMOUNT, EXACT, LARGEST, XERO_PLACES, exact, minor_units, numbers, quoted, spelled
from reconcile.operations import Row, held_links, operation_row
from reconcile.settled import amount_text, guid
from reconcile.showing_made import shown_again, shown_of_new

ENTITY: Final = "bill"
OBJECT: Final = "Bill"  # of Xero: an Invoice of type ACCPAY, which has a list of its own here
KEY_FIELD: Final = "InvoiceNumber"
LONGEST: Final = {"number": 255, "description": 4000}  # as Xero has room for (spec; second hand)
LINE_AMOUNT_TYPES: Final = {"exclusive": "Exclusive", "inclusive": "Inclusive", "no_tax": "NoTax"}
# Xero's filters can't ask for it.
UNASKABLE: Final = r'["\\\x00-\x1f]'


@dataclass(frozen=True)
class Books:
    """What both systems hold that bills are decided by.

    records BILLS; there BILLS_THERE; links LINKS; contacts: by account, from whom its bills are. codes: why the
    mapping's account or tax can't be used; null: they can. currencies: those that Xero has; null: not known.
    """

    records: pl.DataFrame
    there: pl.DataFrame
    links: pl.DataFrame
    contacts: Mapping[str, Contact]
    organisation: Organisation
    codes: str | None = None
    currencies: frozenset[str] | None = None


@dataclass(frozen=True)
class Billing:
    """What is to be done: OPERATIONS, LINKS that hold without a write, REJECTS.

    opened: record_id and account_id of what gets a bill.
    """

    operations: pl.DataFrame
    adopted: pl.DataFrame
    rejects: pl.DataFrame
    opened: pl.DataFrame


# --- Reading ------------------------------------------------------------------------------------------


def read_bills(
    raw: pl.DataFrame, mapping: BillMapping, zone: str | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the records that are bills: (BILLS in order of date and id, REJECTS).

    Takes RAW of the mapping's object; zone: the organisation's, in which a time becomes a day.
    """
    ruled = mapping.scope.columns if mapping.scope else frozenset[str]()
    plain = tuple(sorted({mapping.amount, *ruled} - {"IsDeleted"}))
    fields = sorted(mapping.fields("salesforce")[mapping.salesforce])
    types: dict[str, pl.DataType] = dict.fromkeys(fields, pl.String())
    types["IsDeleted"] = pl.Boolean()
    table, _ = decoded_bodies(raw.with_columns(body=quoted(pl.col("body"), plain)), types, id_field="Id")
    judged = table.with_columns(fault=_unreadable())
    sound = judged.filter(pl.col("fault").is_null())
    gone = pl.col("IsDeleted").fill_null(False) | pl.col("deleted").fill_null(False)
    scope = mapping.scope.expression.fill_null(False) if mapping.scope else pl.lit(True)
    due = _folded(mapping.due)
    found = sound.with_columns(
        record_id=long_ids(sound["record_id"]),
        name=names.folded(pl.col("Name")),
        account_id=long_ids(sound[mapping.supplier]),
        amount=numbers(sound[mapping.amount]),
        currency=_folded(mapping.currency).str.to_uppercase(),
        date=organisation_days(sound[mapping.date], zone),
        due_on=organisation_days(sound[mapping.due], zone) if mapping.due else pl.lit(None, pl.Date),
        number=_folded(mapping.number),
        description=_folded(mapping.description),
        gone=gone,
        counts=scope & ~gone,
        **{f"shown_{name}": _folded(mapping.link.get(name)) for name in ("id", "status")},
    ).with_columns(due_unread=due.is_not_null() & pl.col("due_on").is_null())
    told = _rejects(judged.drop_nulls("fault"), pl.col("fault"), stage="canonical")
    return conform(found, BILLS).sort("date", "record_id"), told


def read_there(raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read Xero's bills: (BILLS_THERE, REJECTS). Takes RAW of Bill; what is gone from a whole list is DELETED."""
    amounts = ("SubTotal", "Total")
    texts = (
        "InvoiceID",
        "Status",
        "InvoiceNumber",
        "Contact.ContactID",
        "CurrencyCode",
        "Date",
        "DateString",
    )
    types: dict[str, pl.DataType] = dict.fromkeys((*texts, *amounts), pl.String())
    bodies = raw.with_columns(body=quoted(pl.col("body"), amounts))
    table, _ = decoded_bodies(bodies, types, id_field="InvoiceID")
    judged = table.with_columns(fault=_unreadable())
    sound = judged.filter(pl.col("fault").is_null())
    gone = pl.col("deleted").fill_null(False)
    found = sound.select(
        bill_id=guid("record_id"),
        bill_number=names.folded(pl.col("InvoiceNumber")),
        bill_status=pl.when(gone & ~pl.col("Status").is_in(CLOSED).fill_null(False))
        .then(pl.lit("DELETED"))
        .otherwise(pl.col("Status")),
        bill_contact=guid("Contact.ContactID"),
        bill_currency=names.upper(pl.col("CurrencyCode")),
        bill_date=wire_instants(pl.col("Date")).dt.date(),
        subtotal=numbers(sound["SubTotal"]).cast(AMOUNT, strict=False),
        total=numbers(sound["Total"]).cast(AMOUNT, strict=False),
    )
    told = _rejects(judged.drop_nulls("fault"), pl.col("fault"), stage="canonical", side="xero")
    return conform(found, BILLS_THERE).sort("bill_id"), told


def _unreadable() -> pl.Expr:
    return pl.coalesce(
        pl.when(~pl.col("readable")).then(pl.lit("the body is not the JSON of this record")),
        pl.when(pl.col("faults").list.len() > 0).then(pl.lit("a field is of another type than expected")),
    )


def _folded(field: str | None) -> pl.Expr:
    return names.folded(pl.col(field)) if field else pl.lit(None, pl.String)


def codes_fault(chart: Chart, mapping: BillMapping) -> str | None:
    """Say why no bill can be booked to the mapping's account, or with its tax; null: it can."""
    line = {"line_id": "", "account": mapping.account, "tax": mapping.tax, "how": "default"}
    coded = conform(pl.DataFrame([line]), CODED)
    # Without tax Xero books NONE, whatever the account's own is.
    checked = (check_accounts if mapping.line_amounts == "no_tax" else check_codes)(coded, chart, COSTS)
    reason: str | None = checked["reason"].item()
    return reason


# --- Decisions ----------------------------------------------------------------------------------------


def needed_accounts(records: pl.DataFrame, mapping: BillMapping) -> frozenset[str]:
    """Give the suppliers of whom a contact is needed. Takes BILLS."""
    return frozenset(records.filter(_is_due(mapping))["account_id"].drop_nulls())


def bills(books: Books, mapping: BillMapping) -> Billing:
    """Say what is to be done for each record that is a bill.

    What is made already is compared and shown, never changed: from then on it is finance's.
    """
    linked = books.links.filter(
        pl.col("entity").cast(pl.String) == ENTITY, pl.col("status").cast(pl.String) == "linked"
    ).select(record_id="salesforce_id", bill_id=guid("xero_id"))
    taken = linked["bill_id"].implode()
    placed = books.records.join(linked, on="record_id", how="left", validate="1:1").join(
        _contacts(books.contacts), on="account_id", how="left", validate="m:1"
    )
    placed = placed.with_columns(
        currency=pl.coalesce("currency", pl.lit(books.organisation.base_currency, pl.String)),
        key=pl.lit(mapping.prefix) + pl.col("record_id").str.to_uppercase(),
    )
    placed = placed.with_columns(number_sent=pl.concat_str("number", "key", separator=" ", ignore_nulls=True))
    ours = books.records["record_id"].str.to_lowercase().implode()
    there = books.there.with_columns(
        low=pl.col("bill_number").str.slice(-ID_LENGTH).str.to_lowercase(),
        stands=~pl.col("bill_status").is_in(CLOSED).fill_null(False),
        billed=pl.col("subtotal" if mapping.line_amounts == "exclusive" else "total"),
    ).with_columns(whose=pl.when(pl.col("low").is_in(ours).fill_null(False)).then("low"))
    unlinked = placed.filter(pl.col("bill_id").is_null()).drop("bill_id")
    made = placed.drop_nulls("bill_id").join(there, on="bill_id", how="left", validate="m:1")
    due = _is_due(mapping)
    # What is not due any more is taken for its bill's own too: a lost journal hides no bill that stands.
    lapsed = _lapsed(unlinked.filter(~due), placed, there, taken)
    judged = _judged(unlinked.filter(due), there, books, mapping, taken)
    sound = judged.filter(pl.col("stop").is_null())
    found, new = sound.drop_nulls("bill_id"), sound.filter(pl.col("bill_id").is_null())
    kept = [frame.select(salesforce_id="record_id", xero_id="bill_id") for frame in (found, lapsed)]
    columns = made.columns
    standing = pl.concat([made, lapsed.select(columns), found.select(columns)]).sort("date", "record_id")
    rows = [one for row in new.sort("date", "record_id").to_dicts() for one in _making(row, books, mapping)]
    rows += [one for row in standing.to_dicts() for one in _showing(row, mapping)]
    return Billing(
        operations=rows_frame(rows, OPERATIONS),
        adopted=held_links(ENTITY, pl.concat(kept)),
        rejects=pl.concat(
            [
                _rejects(standing.with_columns(why=_moved(mapping)).drop_nulls("why"), pl.col("why")),
                _rejects(judged.drop_nulls("stop"), pl.col("stop")),
            ]
        ),
        opened=new.select("record_id", "account_id"),
    )


def _is_due(mapping: BillMapping) -> pl.Expr:
    # Without a day it is told, not passed over.
    return pl.col("counts") & (pl.col("date") >= pl.lit(mapping.cut_over, pl.Date)).fill_null(True)


def _contacts(contacts: Mapping[str, Contact]) -> pl.DataFrame:
    columns = {
        "account_id": list(contacts),
        "contact_id": [one.contact_id and one.contact_id.lower() for one in contacts.values()],
        "contact_reason": [one.reason for one in contacts.values()],
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _lapsed(
    rows: pl.DataFrame, placed: pl.DataFrame, there: pl.DataFrame, taken: pl.Series | pl.Expr
) -> pl.DataFrame:
    """Give the records, of those that are not due, with a bill that stands: by its number, or shown."""
    standing = there.filter("stands", ~pl.col("bill_id").is_in(taken)).sort("bill_id")
    by_key = standing.drop_nulls("low").unique("low", keep="first", maintain_order=True)
    showing = placed.select("record_id", shows=guid("shown_id")).drop_nulls()
    alone = showing.filter(pl.len().over("shows") == 1)
    shown = alone.join(standing.select(shows="bill_id", whose="whose"), on="shows", how="inner").filter(
        pl.col("whose").is_null() | (pl.col("whose") == pl.col("record_id").str.to_lowercase())
    )
    named = (
        rows.with_columns(low=pl.col("record_id").str.to_lowercase())
        .join(by_key.select("low", keyed="bill_id"), on="low", how="left", validate="m:1")
        .join(shown.drop("whose"), on="record_id", how="left", validate="1:1")
        .with_columns(bill_id=pl.coalesce("keyed", "shows"))
        .drop("low", "keyed", "shows")
    )
    mine = named.drop_nulls("bill_id").unique("bill_id", keep="first", maintain_order=True)
    return mine.join(standing, on="bill_id", how="inner", validate="1:1")


def _judged(
    new: pl.DataFrame, there: pl.DataFrame, books: Books, mapping: BillMapping, taken: pl.Series | pl.Expr
) -> pl.DataFrame:
    """Add what is its bill already (bill_id and the rest of it) and stop: why nothing is made now; null: it can be."""
    by_key = (
        there.drop_nulls("low")
        .sort(~pl.col("stands"), "bill_id")
        .with_columns(carriers=pl.col("stands").sum().over("low"))
        .unique("low", keep="first", maintain_order=True)
        .select("low", "carriers", keyed="bill_id")
    )
    named = new.with_columns(
        low=pl.col("record_id").str.to_lowercase(), shows=guid("shown_id"), nr=_number_key("number")
    )
    placed = (
        named.join(by_key, on="low", how="left", validate="m:1")
        .join(_entered(there, taken), on=["contact_id", "nr"], how="left", validate="m:1")
        .with_columns(bill_id=pl.coalesce("shows", "keyed"))
        .drop("low")
        .join(there, on="bill_id", how="left", validate="m:1")
    )
    stop = pl.coalesce(*_of_found(mapping, taken), *_of_new(books, mapping))
    return placed.with_columns(stop=stop).sort("date", "record_id")


def _number_key(column: str) -> pl.Expr:
    return pl.col(column).str.to_lowercase()


def _entered(there: pl.DataFrame, taken: pl.Series | pl.Expr) -> pl.DataFrame:
    """Give, by contact and supplier's number, the bill that somebody entered in Xero: contact_id, nr, entered."""
    theirs = there.filter("stands", ~pl.col("bill_id").is_in(taken), pl.col("whose").is_null()).sort(
        "bill_id"
    )
    return (
        theirs.select(contact_id="bill_contact", nr=_number_key("bill_number"), entered="bill_id")
        .drop_nulls()
        .unique(["contact_id", "nr"], keep="first", maintain_order=True)
    )


def _of_found(mapping: BillMapping, taken: pl.Series | pl.Expr) -> list[pl.Expr]:
    """Say why a bill that seems to be a record's can't be taken for it."""
    field, there = mapping.link.get("id", ""), pl.col("bill_id").is_not_null()
    by_field, own = pl.col("shows").is_not_null(), pl.col("record_id").str.to_lowercase()
    return [
        pl.when(by_field, pl.col("stands").is_null()).then(
            pl.lit(f"its {field} names a bill that is not in the snapshot of Xero")
        ),
        pl.when(there, pl.col("bill_id").is_in(taken) | (pl.col("whose") != own).fill_null(False)).then(
            pl.lit("its bill in Xero is another record's, as a copy's is")
            + (pl.lit(f": empty {field}") if field else pl.lit(""))
        ),
        pl.when(by_field, pl.len().over("bill_id") > 1).then(
            pl.lit(f"its {field} shows a bill that another one shows too: empty it where it is a copy")
        ),
        pl.when(pl.col("carriers") > 1).then(
            pl.format(
                "{} bills in Xero end in its number {}: delete or void those that are too many", "carriers", "key"
            )
        ),
        pl.when(by_field, pl.col("keyed") != pl.col("shows"), pl.col("carriers") > 0).then(
            pl.format(f"its {field} shows one bill, and another ends in its number {{}}: one is too many", "key")
        ),
        pl.when(there, ~pl.col("stands")).then(
            pl.format(
                "its bill is {} in Xero: make another record, if it is to be billed again",
                pl.col("bill_status").str.to_lowercase(),
            )
        ),
        pl.when(there).then(_unlike(mapping)),
    ]  # fmt: skip


def _unlike(mapping: BillMapping) -> pl.Expr:
    """Say in what a bill that was found is another than the one that would be made; null: it agrees."""
    what = "in all" if mapping.line_amounts != "exclusive" else "without tax"
    return pl.coalesce(
        pl.when(pl.col("contact_id").is_null()).then(
            pl.lit("a bill in Xero carries its number, and from whom it should be is not known: ")
            + pl.coalesce(
                "contact_reason",
                pl.when(pl.col("account_id").is_null()).then(pl.lit(f"its {mapping.supplier} names no account")),
                pl.lit("its supplier has no contact yet"),
            )
        ),
        pl.when(pl.col("contact_id").ne_missing(pl.col("bill_contact"))).then(
            pl.lit("a bill in Xero carries its number, and is from another contact")
        ),
        pl.when(
            pl.col("amount").ne_missing(pl.col("billed").cast(EXACT))
            | pl.col("currency").ne_missing(pl.col("bill_currency"))
        ).then(
            pl.format(
                "a bill in Xero carries its number, and is of {} {} " + what + " instead of {} {}: correct one of them",
                pl.coalesce(amount_text("billed"), pl.lit("no amount")), pl.coalesce("bill_currency", pl.lit("")),
                pl.coalesce(amount_text("amount"), pl.lit("no amount")), pl.coalesce("currency", pl.lit("")),
            )
        ),
    )  # fmt: skip


def _of_new(books: Books, mapping: BillMapping) -> list[pl.Expr]:
    """Say why no bill can be made of a record; of one that is there already nothing is asked."""
    organisation, number = books.organisation, pl.col("amount")
    places = pl.min_horizontal(minor_units(pl.col("currency")), pl.lit(XERO_PLACES))
    whole = pl.coalesce(
        *(pl.when(places == count).then(number == number.round(count)) for count in range(XERO_PLACES + 1))
    )
    locked = (pl.col("date") <= pl.lit(organisation.locked_until, pl.Date)).fill_null(False)
    lacking = (
        pl.lit(False)
        if books.currencies is None
        else ~pl.col("currency").is_in(sorted({*books.currencies, organisation.base_currency or ""}))
    )
    field = mapping.link.get("id")
    remedy = f"enter its InvoiceID in {field}" if field else "leave this record out by the scope"
    cases = [
        pl.when(pl.col("account_id").is_null()).then(pl.lit(f"its {mapping.supplier} names no account")),
        pl.when(pl.col("contact_reason").is_not_null()).then(pl.col("contact_reason")),
        pl.when((number.is_null() | (number <= 0)).fill_null(True)).then(
            pl.lit(f"its {mapping.amount} holds no amount above zero")
        ),
        pl.when(number >= LARGEST["Amount"]).then(pl.lit(f"its {mapping.amount} is larger than Xero keeps")),
        pl.when(pl.col("currency").is_null()).then(
            pl.lit("its currency is not known: neither is the organisation's")
        ),
        pl.when(lacking).then(
            pl.format("its currency {} is none of the organisation's: add it in Xero", "currency")
        ),
        pl.when(~whole).then(
            pl.format("its amount {} has more decimals than {} takes", amount_text("amount"), "currency")
        ),
        pl.when(pl.col("date").is_null()).then(
            pl.lit(
                f"{mapping.date} holds no day"
                + ("" if organisation.zone else ", or a time, and the organisation's time zone is not known")
            )
        ),
        pl.when("due_unread").then(pl.lit(f"{mapping.due} holds no day that can be told")),
        pl.when(locked).then(
            pl.format(
                "its day {} lies in a period that Xero has locked up to {}: open the period, or enter the bill there",
                pl.col("date").cast(pl.String), pl.lit(organisation.locked_until, pl.Date).cast(pl.String),
            )
        ),
        pl.when(pl.col("number").str.contains(UNASKABLE).fill_null(False)).then(
            pl.lit(f"its {mapping.number} has a quotation mark or backslash, which Xero can't be asked for")
        ),
        pl.when(pl.col("number_sent").str.len_chars() > LONGEST["number"]).then(
            pl.lit(f"its {mapping.number} is too long: with the record's id {LONGEST['number']} characters fit")
        ),
        pl.when(pl.col("description").str.len_chars() > LONGEST["description"]).then(
            pl.lit(f"its {mapping.description} is longer than the {LONGEST['description']} characters of a line")
        ),
        pl.when(pl.lit(books.codes is not None)).then(pl.lit(books.codes or "")),
        pl.when(pl.col("entered").is_not_null()).then(
            pl.format(
                "a bill of its supplier with its number {} is in Xero already ({}): where it is the same, "
                + remedy + "; else give this one another number",
                "number", "entered",
            )
        ),
    ]  # fmt: skip
    return [pl.when(pl.col("bill_id").is_null()).then(case) for case in cases]


def _moved(mapping: BillMapping) -> pl.Expr:
    """Say in what a record is no longer as its bill; null: it is. A bill is never changed by us."""
    stands, told = pl.col("stands").fill_null(False), "change it in Xero, or put the record back"
    ours = pl.col("bill_number").str.to_lowercase().str.ends_with(pl.col("key").str.to_lowercase())
    left = pl.col("bill_number").str.len_chars().cast(pl.Int64) - pl.col("key").str.len_chars()
    numbered = pl.col("bill_number").str.slice(0, left).str.strip_chars()
    counted = stands & pl.col("counts")

    def differs(here: pl.Expr, there: pl.Expr, what: str) -> pl.Expr:
        none = pl.lit("none")
        said = pl.format(
            f"its {what} is {{}} now, and its bill's {{}}: a bill is not changed by us; {told}",
            pl.coalesce(here.cast(pl.String), none), pl.coalesce(there.cast(pl.String), none),
        )  # fmt: skip
        return pl.when(counted, here.ne_missing(there)).then(said)

    return pl.coalesce(
        pl.when(pl.col("bill_status").is_null()).then(pl.lit("its bill is not in the snapshot of Xero")),
        pl.when(pl.col("counts"), ~stands).then(
            pl.format(
                "its bill is {} in Xero: make another record, if it is to be billed again",
                pl.col("bill_status").str.to_lowercase(),
            )
        ),
        pl.when(~pl.col("counts"), stands).then(
            pl.format(
                "it counts no more, and its bill of {} {} is {}: delete or void that in Xero, if that is meant",
                pl.coalesce(amount_text("billed"), pl.lit("no amount")), pl.coalesce("bill_currency", pl.lit("")),
                pl.col("bill_status").str.to_lowercase(),
            )
        ),
        pl.when(counted, pl.col("contact_id").is_not_null(), pl.col("contact_id") != pl.col("bill_contact")).then(
            pl.lit(f"it names another supplier than its bill: a bill is not changed by us; {told}")
        ),
        pl.when(counted, pl.col("amount").ne_missing(pl.col("billed").cast(EXACT))).then(
            pl.format(
                f"it is of {{}} now, and its bill of {{}}: a bill is not changed by us; {told}",
                pl.coalesce(amount_text("amount"), pl.lit("no amount")),
                pl.coalesce(amount_text("billed"), pl.lit("no amount")),
            )
        ),
        differs(pl.col("currency"), pl.col("bill_currency"), "currency"),
        differs(pl.col("date"), pl.col("bill_date"), "day"),
        # Where somebody took our key out of it, the number is finance's.
        pl.when(ours.fill_null(False)).then(differs(pl.col("number"), names.blank_to_null(numbered), "number")),
    )  # fmt: skip


# --- Operations ---------------------------------------------------------------------------------------


def _making(row: Mapping[str, Any], books: Books, mapping: BillMapping) -> list[Row]:
    """Give the operations that make a bill: the bill, and what its record shows of it."""
    amount, contact = exact(row["amount"]), books.contacts[row["account_id"]]
    who: Any = contact.contact_id or {"$from": contact.made_by}
    text = row["description"] or row["name"] or row["key"]
    line = {
        "Description": text,
        "Quantity": 1,
        "UnitAmount": amount,
        "AccountCode": mapping.account,
        "TaxType": mapping.tax,
    }
    body = {
        "Type": "ACCPAY",
        "InvoiceNumber": row["number_sent"],
        "Contact": {"ContactID": who},
        "Date": row["date"].isoformat(),
        "DueDate": row["due_on"] and row["due_on"].isoformat(),
        "LineAmountTypes": LINE_AMOUNT_TYPES[mapping.line_amounts],
        "CurrencyCode": row["currency"],
        "Status": mapping.status,
        "LineItems": [{name: value for name, value in line.items() if value is not None}],
    }
    said = spelled(amount, places=2)
    told = {
        "number": row["number_sent"],
        "contact": who,
        "date": body["Date"],
        "due": body["DueDate"],
        "currency": row["currency"],
        "status": mapping.status,
        # What Xero adds or takes out as tax is its own to reckon.
        "subtotal": None if mapping.line_amounts == "inclusive" else said,
        "total": None if mapping.line_amounts == "exclusive" else said,
        "lines": [
            {
                "description": text, "quantity": "1", "unit_price": said, "discount": None,
                "account": mapping.account, "tax": mapping.tax, "amount": said,
            }
        ],
    }  # fmt: skip
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
        native_after=dumps({name: value for name, value in body.items() if value is not None}),
        reason="it is a supplier's bill, and Xero has none of it",
        rule=mapping.at,
        match_rule="create",
        score=1.0,
        evidence="{}",
        depends_on=contact.depends_on,
    )
    return [create, *shown_of_new(ENTITY, row, create["operation_id"], mapping)]


def _showing(row: Mapping[str, Any], mapping: BillMapping) -> list[Row]:
    if row["gone"] or row["bill_status"] is None:
        return []
    return shown_again(ENTITY, row, row["bill_id"], row["bill_status"], mapping)


def _rejects(
    rows: pl.DataFrame, reason: pl.Expr, *, stage: str = "plan", side: str = "salesforce"
) -> pl.DataFrame:
    told = rows.select(
        "record_id",
        stage=pl.lit(stage),
        entity=pl.lit(ENTITY),
        side=pl.lit(side),
        unit=pl.lit("record"),
        reason=reason,
    )
    return conform(told, REJECTS)


# --- For checks and names -------------------------------------------------------------------------------


def bill_records(records: pl.DataFrame, mapping: BillMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give RECORDS and VALUES (the names) of the records that are bills. Takes BILLS."""
    whose = {"entity": pl.lit(ENTITY), "side": pl.lit("salesforce")}
    found = records.select(
        "record_id",
        **whose,
        object=pl.lit(mapping.salesforce),
        status=pl.when("gone").then(pl.lit("deleted")).otherwise(pl.lit("active")),
        parent_id="account_id",
        in_scope="counts",
    )
    named = records.drop_nulls("name").select(
        "record_id", **whose, unit=pl.lit("name"), kind=pl.lit("text"), value="name", observed=pl.lit(True)
    )
    return conform(found, RECORDS), conform(named, VALUES)

"""Keeps the invoices: who is meant by a write, which moves a status has, and what may still be edited."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any

from sandbox.clock import from_ms
from sandbox.store import Body, Store
from sandbox.xero import (
    branding,
    contacts,
    due_dates,
    history,
    invoice_lines,
    locks,
    settings_data,
    settlement,
)
from sandbox.xero.books import Books, Written
from sandbox.xero.contacts import UnknownContact
from sandbox.xero.invoice_lines import ZERO, Terms
from sandbox.xero.mangle import CHOICES, TEXTS
from sandbox.xero.wire import read_ms_date

KIND = "invoice"
TYPES = ("ACCREC", "ACCPAY")
LINE_AMOUNTS = ("Exclusive", "Inclusive", "NoTax")
APPROVED = (
    "SUBMITTED",
    "AUTHORISED",
)  # what approval asks for is asked from here on (unconfirmed: when submitted)
CLOSED = ("PAID", "VOIDED", "DELETED")

# recorded
NOT_OF_VALID_STATUS = "Invoice not of valid status for modification"
# second hand
HAS_PAYMENTS = "This document cannot be edited as it has a payment or credit note allocated to it."
CANNOT_VOID_PAID = (
    "The status VOIDED cannot be applied to the invoice "
    "because it has payments or credit notes allocated to it."
)
NO_CONTACT = "A Contact must be specified for this type of transaction"
NO_CURRENCY = "Organisation is not subscribed to currency {}"
# spec, and another wording that is as likely
NUMBER_TAKEN = {
    "spec": "Invoice # must be unique.",
    "other": "Invoice number {} is already in use. Enter another number.",
}
# unconfirmed: the wording of the rest
BAD_TYPE = "Invoice type must be ACCREC or ACCPAY"
BAD_STATUS_FOR_CREATION = "Invoice not of valid status for creation"
BAD_LINE_AMOUNTS = "LineAmountTypes must be Exclusive, Inclusive or NoTax"
NO_LINES = "One or more line items must be specified"
BAD_DATE = "{} is not a valid date"
BAD_URL = "Url must be a valid absolute url"
TOO_LONG = "The length of {} must be {} characters or fewer."
UNKNOWN_CONTACT = "The contact could not be found"

MOVES = {
    "DRAFT": ("DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"),
    "SUBMITTED": ("SUBMITTED", "AUTHORISED", "DELETED"),
    # recorded: DELETED is refused. second hand: never back to DRAFT or SUBMITTED
    "AUTHORISED": ("AUTHORISED", "VOIDED"),
}
# second hand: what may be edited once a payment is allocated
STILL_EDITABLE = {
    "Reference", "DueDate", "InvoiceNumber", "BrandingThemeID", "ContactID", "Url", "PlannedPaymentDate",
    "ExpectedPaymentDate", "LineItems",
}  # fmt: skip
LINE_STILL_EDITABLE = {"Description", "AccountCode", "AccountID", "Tracking", "Item"}
# unconfirmed: the rates of a day; units of the currency for one of the base currency
DAY_RATES = {"EUR": Decimal("1.150000"), "USD": Decimal("1.270000")}

WHAT_HAPPENED = {"SUBMITTED": "Submitted", "AUTHORISED": "Approved", "VOIDED": "Voided", "DELETED": "Deleted"}


class UnknownInvoice(Exception):
    """A write names an InvoiceID that there is not: the whole request answers 404 (recorded for contacts)."""


class Wrong(Exception):
    """What is wrong with one element; nothing of it stays."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__(errors[0])


def declare(store: Store) -> None:
    """The look-ups of matching and of lists."""
    store.declare(
        KIND,
        sales_number=lambda invoice: _number_key(invoice) if invoice["Type"] == "ACCREC" else None,
        number=_number_key,
        contact=lambda invoice: invoice["ContactID"],
    )


def _number_key(invoice: Body) -> str | None:
    return (invoice.get("InvoiceNumber") or "").casefold() or None


def write(books: Books, elements: Iterable[Body], *, create_only: bool, places: int = 2) -> list[Written]:
    """Write each element that is right, in order. places: of a price (unitdp)."""
    return [_write_one(books, sent, create_only=create_only, places=places) for sent in elements]


def _write_one(books: Books, sent: Body, *, create_only: bool, places: int) -> Written:
    existing = _meant(books, sent, create_only=create_only)
    invoice_id = existing["InvoiceID"] if existing and not create_only else None
    try:
        with books.store.transaction(), localcontext(prec=60):
            if existing and create_only:
                raise Wrong([_taken(books, existing.get("InvoiceNumber", ""))])
            invoice = _changed(books, existing, sent, places) if existing else _created(books, sent, places)
    except Wrong as wrong:
        return Written(sent, None, invoice_id, wrong.errors)
    return Written(sent, invoice, invoice["InvoiceID"])


# -- who is meant


def _meant(books: Books, sent: Body, *, create_only: bool) -> Body | None:
    """The invoice that an element means: by InvoiceID, else, of sales, by number (second hand)."""
    if sent.get("InvoiceID"):
        invoice = books.store.get(KIND, str(sent["InvoiceID"]).lower())
        if invoice is None:
            raise UnknownInvoice(sent["InvoiceID"])
        return invoice
    if sent.get("Type") == "ACCPAY":  # documented: numbers of bills need not be unique
        return None
    if create_only and books.dialect["put_existing_number"] == "updates":
        return None
    return holder(books, str(sent.get("InvoiceNumber") or "").strip())


def holder(books: Books, number: str) -> Body | None:
    """The sales invoice that has a number, by the dialect's ideas of case and of who gives it up."""
    for invoice_id in books.store.find(KIND, "sales_number", number.casefold()) if number else ():
        invoice = books.store.get(KIND, invoice_id) or {}
        if books.dialect["invoice_number_case"] == "sensitive" and invoice["InvoiceNumber"] != number:
            continue
        freeing = {"taken": (), "freed_by_delete": ("DELETED",), "freed": ("DELETED", "VOIDED")}
        if invoice["Status"] in freeing[books.dialect["number_of_closed"]]:
            continue
        return invoice
    return None


def _taken(books: Books, number: str) -> str:
    return NUMBER_TAKEN[books.dialect["number_taken_wording"]].format(number)


# -- a new one


def _created(books: Books, sent: Body, places: int) -> Body:
    errors: list[str] = []
    if sent.get("Type") not in TYPES:
        raise Wrong([BAD_TYPE])
    if sent["Type"] == "ACCREC" and (same := holder(books, str(sent.get("InvoiceNumber") or "").strip())):
        return _changed(books, same, sent, places)  # only in the dialect where PUT updates
    start: Body = {
        "InvoiceID": str(uuid.uuid4()), "Type": sent["Type"], "Status": "DRAFT", "LineItems": [],
        "LineAmountTypes": "Exclusive", "AmountPaid": ZERO, "AmountCredited": ZERO, "SentToContact": False,
        "Payments": [], "Client": books.client,
    }  # fmt: skip
    status = sent.get("Status") or "DRAFT"
    if status not in ("DRAFT", *APPROVED):
        raise Wrong([BAD_STATUS_FOR_CREATION])
    invoice = {**start, **_header(books, sent, start, errors), "Status": status}
    invoice["ContactID"] = contact_meant(books, sent, None, errors)
    invoice.setdefault("Date", settings_data.today(books.store, books.clock.now_ms()).isoformat())
    invoice |= currency_of(books, invoice, sent, errors)
    settle_lines(books, invoice, sent, start, places, errors)
    due_dates.settle(books, invoice, errors, approved=invoice["Status"] in APPROVED)
    branding.settle(books, invoice, errors)
    locks.check(books, invoice["Date"], errors, status=status)
    if errors:
        raise Wrong(errors)
    if invoice["Type"] == "ACCREC" and not invoice.get("InvoiceNumber"):
        invoice["InvoiceNumber"] = _next_number(books)
    return _save(books, invoice, None)


def _next_number(books: Books) -> str:
    """INV-0001 and on: the organisation's prefix and its next number that is not used."""
    prefix = books.store.meta("invoice_prefix") or "INV-"
    counted = int(books.store.kept("numbering", "invoice") or 0)
    while True:
        counted += 1
        number = f"{prefix}{counted:04}"
        if not books.store.find(KIND, "sales_number", number.casefold()):
            books.store.keep("numbering", "invoice", counted)
            return number


# -- an edit


def _changed(books: Books, existing: Body, sent: Body, places: int) -> Body:
    errors: list[str] = []
    status = sent.get("Status") or existing["Status"]
    if existing["Status"] == "PAID" and status == "AUTHORISED":
        status = "PAID"  # unconfirmed: to approve what is paid is no move
    _check_move(books, existing, status)
    if status in ("VOIDED", "DELETED"):  # unconfirmed: that nothing else is taken over with it
        locks.check(books, existing["Date"], errors, status=existing["Status"])
        if errors:
            raise Wrong(errors)
        return _save(books, {**existing, "Status": status}, existing)
    invoice = {**existing, **_header(books, sent, existing, errors), "Status": status}
    invoice["ContactID"] = contact_meant(books, sent, existing, errors)
    number = invoice.get("InvoiceNumber")
    if existing["Type"] == "ACCREC" and number and number != existing.get("InvoiceNumber"):
        other = holder(books, number)
        if other and other["InvoiceID"] != existing["InvoiceID"]:
            errors.append(_taken(books, number))
    if "CurrencyCode" in sent or "CurrencyRate" in sent:
        invoice |= currency_of(books, invoice, sent, errors)
    settle_lines(books, invoice, sent, existing, places, errors)
    due_dates.settle(books, invoice, errors, approved=invoice["Status"] in APPROVED)
    if "BrandingThemeID" in sent:
        branding.settle(books, invoice, errors)
    for day in sorted({invoice["Date"], existing["Date"]}):
        locks.check(books, day, errors, status=status)
    if existing["AmountPaid"] + existing["AmountCredited"] > 0:
        _check_paid(books, existing, invoice, errors)
    if errors:
        raise Wrong(errors)
    return _save(books, invoice, existing)


def _check_move(books: Books, existing: Body, status: str) -> None:
    """Refuses what a status has no way to."""
    now, paid = existing["Status"], existing["AmountPaid"] + existing["AmountCredited"] > 0
    if status == "VOIDED" and paid:
        raise Wrong([CANNOT_VOID_PAID])
    if now == "PAID" and status == "PAID" and books.dialect["paid_edits"] == "some":
        return
    if now == "PAID" and status == "PAID":
        raise Wrong([HAS_PAYMENTS])
    moves = MOVES.get(now, ())
    if now == "SUBMITTED" and books.dialect["submitted_to_draft"] == "allow":
        moves = (*moves, "DRAFT")
    if status not in moves:
        raise Wrong([NOT_OF_VALID_STATUS])
    if now == "AUTHORISED" and status == now and books.dialect["authorised_edits"] == "none":
        raise Wrong([NOT_OF_VALID_STATUS])


def _check_paid(books: Books, existing: Body, invoice: Body, errors: list[str]) -> None:
    """Refuses edits that a payment closes: by dialect all, or all but a few."""
    changed = changed_fields(existing, invoice)
    for old, new in zip(existing["LineItems"], invoice["LineItems"], strict=False):
        changed |= changed_fields(old, new) - LINE_STILL_EDITABLE
    if len(existing["LineItems"]) != len(invoice["LineItems"]):
        changed.add("lines")
    if changed - STILL_EDITABLE or (changed and books.dialect["paid_edits"] == "none"):
        errors.append(HAS_PAYMENTS)


def changed_fields(before: Body, after: Body) -> set[str]:
    names = set(before) | set(after)
    return {name for name in names - {"UpdatedMs"} if before.get(name) != after.get(name)}


# -- the parts


def _header(books: Books, sent: Body, before: Body, errors: list[str]) -> Body:
    """The header's values that were sent, as they are kept; "" clears a text."""
    values: Body = {}
    texts = {"InvoiceNumber": 255, "Url": 2000, "BrandingThemeID": 36}
    if before["Type"] == "ACCREC":  # spec: Reference is for sales only
        texts["Reference"] = 255
    for name, length in texts.items():
        if sent.get(name) is not None:
            values[name] = str(sent[name]).strip()
            if len(values[name]) > length:
                errors.append(TOO_LONG.format(name, length))
    if values.get("Url") and not re.match(r"https?://[^\s/]+", values["Url"]):
        errors.append(BAD_URL)
    for name in ("Date", "DueDate", "ExpectedPaymentDate", "PlannedPaymentDate"):
        if sent.get(name):
            day = read_date(sent[name])
            if day is None:
                errors.append(BAD_DATE.format(name))
            else:
                values[name] = day
    if sent.get("LineAmountTypes"):
        found = [one for one in LINE_AMOUNTS if one.casefold() == str(sent["LineAmountTypes"]).casefold()]
        errors += [] if found else [BAD_LINE_AMOUNTS]
        values["LineAmountTypes"] = found[0] if found else "Exclusive"
    status = sent.get("Status") or before["Status"]
    if isinstance(sent.get("SentToContact"), bool) and status in ("AUTHORISED", "PAID"):
        values["SentToContact"] = sent["SentToContact"]  # spec: only on what was approved
    if values.get("InvoiceNumber") == "":  # unconfirmed: a number can't be taken away
        del values["InvoiceNumber"]
    return values


def read_date(value: Any) -> str | None:
    """The day (ISO) of a date as clients spell it: YYYY-MM-DD, with a time, or /Date(ms)/; None: it is none."""
    try:
        return from_ms(read_ms_date(str(value))).date().isoformat()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def contact_meant(books: Books, sent: Body, existing: Body | None, errors: list[str]) -> str:
    """The ContactID that a document gets; what else comes in its Contact changes the contact (second hand)."""
    given = sent.get("Contact")
    given = given if isinstance(given, dict) else {}
    writable = (*TEXTS, *CHOICES, "Phones", "Addresses", "ContactPersons", "PaymentTerms")
    values = {name: given[name] for name in writable if given.get(name) is not None}
    contact_id = str(given.get("ContactID") or "").lower()
    if not values and not contact_id:
        if existing is None:
            errors.append(NO_CONTACT)
        return existing["ContactID"] if existing else ""
    found = books.store.get(contacts.KIND, contact_id) if contact_id else None
    if contact_id and found is None:
        if books.dialect["unknown_contact_in_invoice"] == "not_found":
            raise UnknownContact(contact_id)
        errors.append(UNKNOWN_CONTACT)
        return ""
    if found is None:
        found = contacts.of_that_name(books, values)
    if found and found["ContactStatus"] == contacts.READ_ONLY_STATUS:
        same = existing is not None and existing["ContactID"] == found["ContactID"]
        if not same and books.dialect["archived_contact_in_invoice"] == "refuse":
            errors.append(contacts.ARCHIVED)
        return found["ContactID"]
    if found and (not values or books.dialect["contact_in_invoice"] == "ignored"):
        return found["ContactID"]
    return _written_contact(books, values, found, errors)


def _written_contact(books: Books, values: Body, found: Body | None, errors: list[str]) -> str:
    if found is not None:
        values = {**values, "ContactID": found["ContactID"]}
        if set(values) - {"ContactID", "Name", "ContactNumber"} and "ContactPersons" not in values:
            none: list[Body] = []
            values["ContactPersons"] = none  # second hand: persons that are not named are removed
        if all(found.get(name) == value for name, value in values.items()):
            return found["ContactID"]
    (result,) = contacts.write(books, [values], create_only=False)
    errors += result.errors
    return result.record_id or ""


def currency_of(books: Books, invoice: Body, sent: Body, errors: list[str]) -> Body:
    base = settings_data.organisation(books.store).get("BaseCurrency", "GBP")
    code = str(sent.get("CurrencyCode") or invoice.get("CurrencyCode") or base).upper()
    if books.store.get("currency", code) is None:
        errors.append(NO_CURRENCY.format(code))
    rate = invoice_lines.amount(sent, "CurrencyRate", errors)
    if code == base:
        rate = Decimal("1.000000")
    elif rate is None:
        kept = invoice.get("CurrencyRate") if invoice.get("CurrencyCode") == code else None
        rate = kept or DAY_RATES.get(code, Decimal("1.500000"))
    return {"CurrencyCode": code, "CurrencyRate": rate}


def settle_lines(
    books: Books, invoice: Body, sent: Body, before: Body, places: int, errors: list[str]
) -> None:
    """The lines as they are now, and the totals that follow from them."""
    amounts, given, old = invoice["LineAmountTypes"], sent.get("LineItems"), before["LineItems"]
    terms = Terms(
        invoice["Type"].startswith("ACCREC"), amounts, places, invoice["Status"] in (*APPROVED, "PAID")
    )
    if isinstance(given, list):
        given = [one for one in given if isinstance(one, dict)]
        if not given:
            errors.append(NO_LINES)
        invoice["LineItems"] = invoice_lines.made(books, given, old, terms, errors)
    elif not old:
        errors.append(NO_LINES)
    elif books.dialect["lines_not_sent"] == "remade":  # second hand: made anew, with two places
        bare = [{name: line[name] for name in line if name != "LineItemID"} for line in old]
        kept = ("TaxAmount", "LineAmount") if amounts == before["LineAmountTypes"] else ()
        bare = [
            {k: v for k, v in line.items() if k not in ("TaxAmount", "LineAmount") or k in kept}
            for line in bare
        ]
        if places == 2:
            bare = [{k: v for k, v in line.items() if k != "LineAmount"} for line in bare]
        invoice["LineItems"] = invoice_lines.made(books, bare, [], terms, errors)
    elif (amounts, invoice["Status"]) != (before["LineAmountTypes"], before["Status"]):
        again = [
            {k: v for k, v in line.items() if k != "TaxAmount" or amounts == before["LineAmountTypes"]}
            for line in old
        ]
        terms = Terms(terms.sale, amounts, 4, terms.approved)
        invoice["LineItems"] = invoice_lines.made(books, again, old, terms, errors)
    if not errors:
        invoice.pop("TotalDiscount", None)
        invoice |= invoice_lines.totals(books, invoice["LineItems"], amounts)


# the name by which payments and credits call it
check_lock = locks.check


# -- keeping


def _save(books: Books, invoice: Body, existing: Body | None) -> Body:
    invoice = {name: value for name, value in invoice.items() if value not in ("", None)}
    changed = changed_fields(existing, invoice) if existing else set(invoice)
    if existing and not changed and books.dialect["unchanged_write"] == "keeps_stamp":
        return existing
    saved = put(books.store, {**invoice, "UpdatedMs": books.clock.stamp_ms()})
    mark_contact(books.store, saved)
    settlement.rebalance(books, saved["ContactID"], (existing or saved)["ContactID"])
    contact = books.store.get(contacts.KIND, saved["ContactID"]) or {}
    moved = existing is not None and existing["Status"] != saved["Status"]
    what = WHAT_HAPPENED.get(saved["Status"], "Edited") if moved else "Edited"
    details = f"{saved.get('InvoiceNumber', '')} to {contact.get('Name', '')} for {saved['Total']}.".strip()
    fields = sorted(changed - {"Status"}) if existing else []
    what = what if existing else "Created"
    history.write(books, saved["InvoiceID"], what, details, at_ms=saved["UpdatedMs"], fields=fields)
    return saved


def mark_contact(store: Store, invoice: Body) -> None:
    """recorded: who was invoiced is a customer. second hand: that moves no stamp."""
    flag = "IsCustomer" if invoice["Type"].startswith("ACCREC") else "IsSupplier"
    contact = store.get(contacts.KIND, invoice["ContactID"])
    if contact and not contact.get(flag):
        contacts.put(store, {**contact, flag: True})


def put(store: Store, invoice: Body) -> Body:
    live = invoice["Status"] != "DELETED"
    store.put(KIND, invoice["InvoiceID"], invoice, stamp=invoice["UpdatedMs"], live=live)
    return invoice


def by_id_or_number(books: Books, text: str) -> Body | None:
    found = books.store.get(KIND, text.lower())
    if found is None:
        for name in ("sales_number", "number"):
            for invoice_id in books.store.find(KIND, name, text.casefold()):
                return books.store.get(KIND, invoice_id)
    return found


def due(invoice: Body) -> Decimal:
    return invoice["Total"] - invoice["AmountPaid"] - invoice["AmountCredited"]


# -- what merging does


def move(books: Books, loser_id: str, survivor_id: str) -> None:
    """What a merge of contacts does to the invoices of the one that goes (unconfirmed: their stamps)."""
    for invoice_id in books.store.find(KIND, "contact", loser_id):
        invoice = (books.store.get(KIND, invoice_id) or {}) | {"ContactID": survivor_id}
        if books.dialect["merged_invoices"] == "stamped":
            invoice["UpdatedMs"] = books.clock.stamp_ms()
        put(books.store, invoice)
    settlement.rebalance(books, loser_id, survivor_id)

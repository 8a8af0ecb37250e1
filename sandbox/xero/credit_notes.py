"""Writes credit notes: who is meant, which moves a status has, and what may still be edited."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from decimal import localcontext

from sandbox.store import Body
from sandbox.xero import branding, credits, invoices, locks, settings_data, settlement
from sandbox.xero.books import Books, Written
from sandbox.xero.credits import NOTE, UnknownCredit
from sandbox.xero.invoice_lines import ZERO
from sandbox.xero.invoices import APPROVED, LINE_AMOUNTS, WHAT_HAPPENED, Wrong

TYPES = ("ACCRECCREDIT", "ACCPAYCREDIT")

# second hand
NUMBER_TAKEN = "Credit Note # must be unique."
HAS_ALLOCATIONS = invoices.HAS_PAYMENTS  # the same words, reported of credit notes too
# unconfirmed: the wording, by analogy with invoices
NOT_OF_VALID_STATUS = "Credit note not of valid status for modification"
BAD_STATUS_FOR_CREATION = "Credit note not of valid status for creation"
BAD_TYPE = "Credit note type must be ACCRECCREDIT or ACCPAYCREDIT"
CANNOT_VOID = (
    "The status VOIDED cannot be applied to the credit note "
    "because it has payments or credit notes allocated to it."
)

MOVES = {
    "DRAFT": ("DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"),
    "SUBMITTED": ("SUBMITTED", "AUTHORISED", "DELETED"),
    # second hand: what is approved is voided, what is not is deleted
    "AUTHORISED": ("AUTHORISED", "VOIDED"),
}
# second hand: what may be edited of an approved one, by a client whose writer tried it
EDITABLE_WHEN_APPROVED = {"Date", "DueDate", "Reference", "BrandingThemeID"}


def write(books: Books, elements: Iterable[Body], *, create_only: bool, places: int = 2) -> list[Written]:
    """Write each element that is right, in order. places: of a price (unitdp).

    second hand: Allocations within a credit note are passed over; they have a call of their own.
    """
    return [_write_one(books, sent, create_only=create_only, places=places) for sent in elements]


def _write_one(books: Books, sent: Body, *, create_only: bool, places: int) -> Written:
    existing = _meant(books, sent)
    note_id = existing["CreditNoteID"] if existing and not create_only else None
    try:
        with books.store.transaction(), localcontext(prec=60):
            if existing and (create_only or _only_by_id(books, sent)):
                raise Wrong([NUMBER_TAKEN])
            note = _changed(books, existing, sent, places) if existing else _created(books, sent, places)
    except Wrong as wrong:
        return Written(sent, None, note_id, wrong.errors)
    return Written(sent, note, note["CreditNoteID"])


def _meant(books: Books, sent: Body) -> Body | None:
    """The credit note that an element means: by CreditNoteID, else, of sales, by its number (unconfirmed)."""
    if sent.get("CreditNoteID"):
        note = books.store.get(NOTE.kind, str(sent["CreditNoteID"]).lower())
        if note is None:
            raise UnknownCredit(sent["CreditNoteID"])
        return note
    return None if sent.get("Type") == "ACCPAYCREDIT" else holder(books, _number(sent))


def _only_by_id(books: Books, sent: Body) -> bool:
    return not sent.get("CreditNoteID") and books.dialect["credit_number_on_post"] == "refuse"


def _number(sent: Body) -> str:
    return str(sent.get("CreditNoteNumber") or "").strip()


def holder(books: Books, number: str) -> Body | None:
    """The sales credit note that has a number, by the dialect's ideas of case and of who gives it up."""
    for note_id in books.store.find(NOTE.kind, "sales_number", number.casefold()) if number else ():
        note = books.store.get(NOTE.kind, note_id) or {}
        if books.dialect["invoice_number_case"] == "sensitive" and note["CreditNoteNumber"] != number:
            continue
        freeing = {"taken": (), "freed_by_delete": ("DELETED",), "freed": ("DELETED", "VOIDED")}
        if note["Status"] in freeing[books.dialect["number_of_closed"]]:
            continue
        return note
    return None


# -- a new one


def _created(books: Books, sent: Body, places: int) -> Body:
    errors: list[str] = []
    if sent.get("Type") not in TYPES:
        raise Wrong([BAD_TYPE])
    status = sent.get("Status") or "DRAFT"
    if status not in ("DRAFT", *APPROVED):
        raise Wrong([BAD_STATUS_FOR_CREATION])
    start: Body = {
        "CreditNoteID": str(uuid.uuid4()), "Type": sent["Type"], "Status": "DRAFT", "LineItems": [],
        "LineAmountTypes": "Exclusive", "SentToContact": False, "Client": books.client,
    }  # fmt: skip
    note = {**start, **_header(sent, start, errors), "Status": status}
    note["ContactID"] = invoices.contact_meant(books, sent, None, errors)
    note.setdefault("Date", settings_data.today(books.store, books.clock.now_ms()).isoformat())
    note |= invoices.currency_of(books, note, sent, errors)
    _settle_lines(books, note, sent, start, places, errors)
    branding.settle(books, note, errors)
    locks.check(books, note["Date"], errors, status=status)
    if errors:
        raise Wrong(errors)
    if credits.is_sale(note) and not note.get("CreditNoteNumber"):
        note["CreditNoteNumber"] = _next_number(books)
    return _save(books, note, None)


def _next_number(books: Books) -> str:
    """CN-0001 and on (spec: from the organisation's settings; recorded: the prefix)."""
    prefix = books.store.meta("credit_note_prefix") or "CN-"
    counted = int(books.store.kept("numbering", NOTE.kind) or 0)
    while True:
        counted += 1
        number = f"{prefix}{counted:04}"
        if not books.store.find(NOTE.kind, "sales_number", number.casefold()):
            books.store.keep("numbering", NOTE.kind, counted)
            return number


# -- an edit


def _changed(books: Books, existing: Body, sent: Body, places: int) -> Body:
    errors: list[str] = []
    status = sent.get("Status") or existing["Status"]
    _check_move(books, existing, status)
    closes = status in ("VOIDED", "DELETED")
    for day in {existing["Date"], invoices.read_date(sent.get("Date") or "") or existing["Date"]}:
        locks.check(books, day, errors, status=existing["Status"] if closes else status)
    if closes:
        if errors:
            raise Wrong(errors)
        return _save(books, {**existing, "Status": status}, existing)
    note = {**existing, **_header(sent, existing, errors), "Status": status}
    note["ContactID"] = invoices.contact_meant(books, sent, existing, errors)
    number = note.get("CreditNoteNumber")
    if credits.is_sale(existing) and number and number != existing.get("CreditNoteNumber"):
        other = holder(books, number)
        if other and other["CreditNoteID"] != existing["CreditNoteID"]:
            errors.append(NUMBER_TAKEN)
    if "CurrencyCode" in sent or "CurrencyRate" in sent:
        note |= invoices.currency_of(books, note, sent, errors)
    _settle_lines(books, note, sent, existing, places, errors)
    branding.settle(books, note, errors)
    narrow = existing["Status"] == "AUTHORISED" and books.dialect["approved_credit_note_edits"] == "some"
    if narrow and invoices.changed_fields(existing, note) - EDITABLE_WHEN_APPROVED:
        errors.append(NOT_OF_VALID_STATUS)
    if errors:
        raise Wrong(errors)
    return _save(books, note, existing)


def _check_move(books: Books, existing: Body, status: str) -> None:
    """Refuses what a status has no way to, and every edit of what is allocated or refunded in part."""
    now = existing["Status"]
    if now == "PAID" or _is_used(books, existing):  # second hand: it has to be deallocated first
        raise Wrong([CANNOT_VOID if status == "VOIDED" else HAS_ALLOCATIONS])
    moves = MOVES.get(now, ())
    if now == "SUBMITTED" and books.dialect["submitted_to_draft"] == "allow":
        moves = (*moves, "DRAFT")
    if status not in moves:
        raise Wrong([NOT_OF_VALID_STATUS])


def _is_used(books: Books, note: Body) -> bool:
    return note["Status"] == "AUTHORISED" and credits.remaining(books.store, NOTE, note) != note["Total"]


# -- the parts


def _header(sent: Body, before: Body, errors: list[str]) -> Body:
    """The header's values that were sent, as they are kept; "" clears a text."""
    values: Body = {}
    texts = {"CreditNoteNumber": 255, "BrandingThemeID": 36}
    if credits.is_sale(before):  # spec: Reference is for sales only
        texts["Reference"] = 255
    for name, length in texts.items():
        if sent.get(name) is not None:
            values[name] = str(sent[name]).strip()
            if len(values[name]) > length:
                errors.append(invoices.TOO_LONG.format(name, length))
    for name in ("Date", "DueDate"):
        if sent.get(name):
            day = invoices.read_date(sent[name])
            if day is None:
                errors.append(invoices.BAD_DATE.format(name))
            else:
                values[name] = day
    if sent.get("LineAmountTypes"):
        found = [one for one in LINE_AMOUNTS if one.casefold() == str(sent["LineAmountTypes"]).casefold()]
        errors += [] if found else [invoices.BAD_LINE_AMOUNTS]
        values["LineAmountTypes"] = found[0] if found else "Exclusive"
    if isinstance(sent.get("SentToContact"), bool):
        status = sent.get("Status") or before["Status"]
        values["SentToContact"] = sent["SentToContact"] and status in ("AUTHORISED", "PAID")  # spec
    if values.get("CreditNoteNumber") == "" and credits.is_sale(before):
        del values["CreditNoteNumber"]  # unconfirmed: a number can't be taken away
    return values


def _settle_lines(books: Books, note: Body, sent: Body, before: Body, places: int, errors: list[str]) -> None:
    """The lines and totals as invoices have them; spec: without discounts (unconfirmed: passed over)."""
    given = sent.get("LineItems")
    if note["Status"] == "DRAFT" and not given and not before["LineItems"]:
        note |= {"SubTotal": ZERO, "TotalTax": ZERO, "Total": ZERO}  # second hand: a draft may have none
        return
    if isinstance(given, list):
        bare = [one for one in given if isinstance(one, dict)]
        discounts = ("DiscountRate", "DiscountAmount")
        sent = {**sent, "LineItems": [{k: v for k, v in one.items() if k not in discounts} for one in bare]}
    invoices.settle_lines(books, note, sent, before, places, errors)


# -- keeping


def _save(books: Books, note: Body, existing: Body | None) -> Body:
    # What is left is reckoned when it is settled again; an edit may have changed the total.
    note = {
        name: value for name, value in note.items() if value not in ("", None) and name != "RemainingCredit"
    }
    changed = invoices.changed_fields(existing, note) - {"RemainingCredit"} if existing else set(note)
    if existing and not changed and books.dialect["unchanged_write"] == "keeps_stamp":
        return existing
    saved = credits.put(books.store, NOTE, {**note, "UpdatedMs": books.clock.stamp_ms()})
    invoices.mark_contact(books.store, saved)
    settlement.rebalance(books, saved["ContactID"], (existing or saved)["ContactID"])
    moved = existing is not None and existing["Status"] != saved["Status"]
    what = WHAT_HAPPENED.get(saved["Status"], "Edited") if moved else "Edited"
    credits.tell(
        books, NOTE, saved, what if existing else "Created", sorted(changed - {"Status"}) if existing else []
    )
    return saved

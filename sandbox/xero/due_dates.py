"""Works out when an invoice is due that does not say it: by the terms of its contact, else of the organisation."""

from __future__ import annotations

from datetime import date, timedelta

from sandbox.store import Body
from sandbox.xero import contacts, settings_data
from sandbox.xero.books import Books

NO_DUE_DATE = "Invoice due date must be specified"  # unconfirmed: the wording


def settle(books: Books, invoice: Body, errors: list[str], *, approved: bool) -> None:
    """What was not sent comes from the terms of the contact or the organisation; approval needs a due date."""
    if invoice.get("DueDate"):
        return
    contact = books.store.get(contacts.KIND, invoice["ContactID"]) or {}
    side = "Sales" if invoice["Type"] == "ACCREC" else "Bills"
    for terms in (contact.get("PaymentTerms"), settings_data.organisation(books.store).get("PaymentTerms")):
        if terms and (terms.get(side) or {}).get("Type"):
            invoice["DueDate"] = by_terms(date.fromisoformat(invoice["Date"]), terms[side]).isoformat()
            return
    if approved:
        if books.dialect["due_date_missing"] == "refuse":
            errors.append(NO_DUE_DATE)
        else:
            invoice["DueDate"] = invoice["Date"]


def by_terms(day: date, terms: Body) -> date:
    """The due date that a payment term gives (spec: the four types)."""
    number = int(terms.get("Day") or 0)
    first = day.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    after = (following + timedelta(days=32)).replace(day=1)
    if terms["Type"] == "DAYSAFTERBILLDATE":
        return day + timedelta(days=number)
    if terms["Type"] == "DAYSAFTERBILLMONTH":
        return following + timedelta(days=number - 1)
    month, end = (first, following) if terms["Type"] == "OFCURRENTMONTH" else (following, after)
    return min(month + timedelta(days=max(number, 1) - 1), end - timedelta(days=1))

"""Answers GET /Invoices: which invoices, in which order, which page of them, and how much of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sandbox.store import Body
from sandbox.xero import contacts, invoice_shapes, invoices, lists
from sandbox.xero.books import Books
from sandbox.xero.invoices import KIND
from sandbox.xero.lists import Asked
from sandbox.xero.where import QueryError, compile_order, compile_where
from sandbox.xero.wire import read_ms_date

DATES = ("Date", "DueDate", "FullyPaidOnDate", "ExpectedPaymentDate", "PlannedPaymentDate")
SUMS = ("AmountDue", "AmountPaid", "AmountCredited", "SubTotal", "TotalTax", "Total", "CurrencyRate")
FIELDS = {
    **dict.fromkeys(
        (
            "Type", "Status", "InvoiceNumber", "Reference", "CurrencyCode", "LineAmountTypes", "Url",
            "Contact.Name", "Contact.ContactNumber", "Contact.EmailAddress", "Contact.ContactStatus",
        ),
        "String",
    ),
    **dict.fromkeys(("InvoiceID", "Contact.ContactID", "BrandingThemeID"), "Guid"),
    **dict.fromkeys(("SentToContact", "HasAttachments", "IsDiscounted"), "Boolean"),
    **dict.fromkeys((*DATES, "UpdatedDateUTC"), "DateTime"),
    **dict.fromkeys(SUMS, "Decimal"),
}  # fmt: skip
NO_REFERENCE = "The filter on Reference is not supported (at index 0)"  # unconfirmed
SEARCHED = ("InvoiceNumber", "Reference")  # spec


@dataclass(frozen=True)
class Wanted:
    """What a list is asked for, beyond what every list is: numbers, contacts, statuses, and our own only."""

    common: Asked
    numbers: tuple[str, ...] | None
    contact_ids: tuple[str, ...] | None
    statuses: tuple[str, ...] | None
    client: str | None
    places: int


def read_wanted(query: Mapping[str, str], books: Books, modified_since_ms: int | None) -> Wanted:
    statuses = _listed(query, "Statuses")
    if statuses and not query.get("page"):
        query = {**query, "page": "1"}  # second hand: asking by status pages by itself
    mine = query.get("createdByMyApp", "").lower() == "true"
    return Wanted(
        lists.read_asked(query, books, modified_since_ms),
        _listed(query, "InvoiceNumbers"),
        _listed(query, "ContactIDs"),
        statuses,
        books.client if mine else None,
        places(query),
    )


def places(query: Mapping[str, str]) -> int:
    """spec: prices have two places, with unitdp=4 four."""
    return 4 if query.get("unitdp") == "4" else 2


def _listed(query: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    text = query.get(name)
    if not text:
        return None
    return tuple(one.strip().strip('"').casefold() for one in text.split(",") if one.strip())


def found(books: Books, wanted: Wanted) -> tuple[list[Body], Body | None]:
    """The invoices as they are shown, and the pagination block where there are pages."""
    asked = wanted.common
    chosen, count = _page(books, wanted)
    rows = [
        invoice_shapes.listed(
            books.store, one, full=asked.page is not None, summary=asked.summary, places=wanted.places
        )
        for one in chosen
    ]
    return rows, lists.pagination(asked, count)


def _page(books: Books, wanted: Wanted) -> tuple[list[Body], int]:
    asked = wanted.common
    offset, limit = (0, -1) if asked.page is None else ((asked.page - 1) * asked.page_size, asked.page_size)
    narrowed = any((asked.ids, wanted.numbers, wanted.contact_ids, wanted.statuses, wanted.client))
    order = books.dialect["default_order"]
    if not (narrowed or asked.where or asked.order or asked.search) and order != "name":
        live = books.dialect["deleted_invoices"] == "hidden"  # the file pages by itself
        by_stamp = order == "updated"
        rows = books.store.select(
            KIND, since=asked.since, live_only=live, by_stamp=by_stamp, limit=limit, offset=offset
        )
        return rows, len(rows) if limit < 0 else books.store.count(KIND, since=asked.since, live_only=live)
    chosen = _chosen(books, wanted)
    return chosen[offset:][: None if limit < 0 else limit], len(chosen)


def _chosen(books: Books, wanted: Wanted) -> list[Body]:
    asked, dialect = wanted.common, books.dialect
    rows: Iterable[Body] = _candidates(books, wanted)
    if asked.since is not None:
        rows = [one for one in rows if one["UpdatedMs"] >= asked.since]
    if wanted.numbers is not None:
        rows = [one for one in rows if one.get("InvoiceNumber", "").casefold() in wanted.numbers]
    if wanted.contact_ids is not None:
        rows = [one for one in rows if one["ContactID"] in wanted.contact_ids]
    if wanted.statuses is not None:
        rows = [one for one in rows if one["Status"].casefold() in wanted.statuses]
    elif dialect["deleted_invoices"] == "hidden" and asked.ids is None:
        rows = [one for one in rows if one["Status"] != "DELETED"]
    if wanted.client is not None:
        rows = [one for one in rows if one.get("Client") == wanted.client]
    if asked.search:
        part = asked.search.casefold()
        rows = [one for one in rows if any(part in one.get(name, "").casefold() for name in SEARCHED)]
    if asked.where:
        if dialect["reference_filter"] == "refuse" and "Reference" in asked.where:
            raise QueryError(NO_REFERENCE)
        holds = compile_where(
            asked.where, FIELDS, "Invoice", single_equals=dialect["single_equals"] == "accept"
        )
        joined = "Contact." in asked.where
        rows = [one for one in rows if holds(_queried(books, one, with_contact=joined))]
    order = asked.order or ("InvoiceNumber" if dialect["default_order"] == "name" else None)
    return _ordered(books, list(rows), order)


def _candidates(books: Books, wanted: Wanted) -> list[Body]:
    """The invoices among which the wanted ones are: by index where one narrows them."""
    store, asked = books.store, wanted.common
    if asked.ids is not None:
        return [one for invoice_id in asked.ids if (one := store.get(KIND, invoice_id))]
    for name, values in (("number", wanted.numbers), ("contact", wanted.contact_ids)):
        if values is not None:
            ids = dict.fromkeys(found_id for value in values for found_id in store.find(KIND, name, value))
            return [one for invoice_id in ids if (one := store.get(KIND, invoice_id))]
    return store.select(KIND, since=asked.since, by_stamp=books.dialect["default_order"] == "updated")


def _queried(books: Books, invoice: Body, *, with_contact: bool) -> Body:
    """An invoice as a query sees it: dates as moments, the contact with its name, the sums that are reckoned."""
    contact = (books.store.get(contacts.KIND, invoice["ContactID"]) or {}) if with_contact else {}
    return {
        **invoice,
        **{name: read_ms_date(invoice[name]) for name in DATES if invoice.get(name)},
        "Contact": {**contact, "ContactID": invoice["ContactID"]},
        "UpdatedDateUTC": invoice["UpdatedMs"],
        "AmountDue": invoices.due(invoice),
        "HasAttachments": False,
        "IsDiscounted": "TotalDiscount" in invoice,
    }


def _ordered(books: Books, rows: list[Body], order: str | None) -> list[Body]:
    if order is None:
        return rows
    sort = compile_order(order, FIELDS, "Invoice")
    by_id = {one["InvoiceID"]: one for one in rows}
    return [
        by_id[one["InvoiceID"]]
        for one in sort([_queried(books, one, with_contact="Contact." in order) for one in rows])
    ]

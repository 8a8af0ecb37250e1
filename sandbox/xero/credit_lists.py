"""Answers GET /CreditNotes, /Overpayments and /Prepayments: which of them, in which order, which page."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.store import Body
from sandbox.xero import contacts, credit_shapes, credits, lists
from sandbox.xero.books import Books
from sandbox.xero.credits import Sort
from sandbox.xero.invoice_lists import places
from sandbox.xero.lists import Asked
from sandbox.xero.where import compile_order, compile_where
from sandbox.xero.wire import read_ms_date

DATES = ("Date", "DueDate", "FullyPaidOnDate")
SUMS = ("RemainingCredit", "SubTotal", "TotalTax", "Total", "CurrencyRate")
FIELDS = {
    **dict.fromkeys(
        (
            "Type", "Status", "CreditNoteNumber", "Reference", "InvoiceNumber", "CurrencyCode", "LineAmountTypes",
            "Contact.Name", "Contact.ContactNumber", "Contact.EmailAddress", "Contact.ContactStatus",
        ),
        "String",
    ),
    **dict.fromkeys(
        ("CreditNoteID", "OverpaymentID", "PrepaymentID", "Contact.ContactID", "BrandingThemeID"), "Guid"
    ),
    **dict.fromkeys(("SentToContact", "HasAttachments"), "Boolean"),
    **dict.fromkeys((*DATES, "UpdatedDateUTC"), "DateTime"),
    **dict.fromkeys(SUMS, "Decimal"),
}  # fmt: skip
LISTED = {"Overpayments": "References", "Prepayments": "InvoiceNumbers"}


def found(
    books: Books, sort: Sort, query: Mapping[str, str], modified_since_ms: int | None
) -> tuple[list[Body], Body | None]:
    """The rows as they are shown, and the pagination block where there are pages.

    Raises lists.PageTooLarge, QueryError.
    """
    asked = lists.read_asked(query, books, modified_since_ms)
    chosen, count = _page(books, sort, asked, query)
    # unconfirmed, by analogy with invoices: without a page the lines are empty
    full, to = asked.page is not None, places(query)
    rows = [credit_shapes.listed(books.store, sort, row, full=full, places=to) for row in chosen]
    return rows, lists.pagination(asked, count)


def _page(books: Books, sort: Sort, asked: Asked, query: Mapping[str, str]) -> tuple[list[Body], int]:
    offset, limit = (0, -1) if asked.page is None else ((asked.page - 1) * asked.page_size, asked.page_size)
    live = books.dialect["deleted_invoices"] == "hidden"  # of the three only a credit note can be deleted
    wanted = _listed(sort, query)
    order = asked.order or (sort.number if books.dialect["default_order"] == "name" else None)
    if wanted is None and not asked.where and not order:  # the file pages by itself
        by_stamp = books.dialect["default_order"] == "updated"
        rows = books.store.select(
            sort.kind, since=asked.since, live_only=live, by_stamp=by_stamp, limit=limit, offset=offset
        )
        counted = books.store.count(sort.kind, since=asked.since, live_only=live)
        return rows, counted
    rows = books.store.select(sort.kind, since=asked.since, live_only=live)
    if wanted is not None:
        rows = [row for row in rows if str(row.get(sort.number, "")).casefold() in wanted]
    rows = _queried_rows(books, sort, rows, asked.where, order)
    return rows[offset:][: None if limit < 0 else limit], len(rows)


def _listed(sort: Sort, query: Mapping[str, str]) -> set[str] | None:
    """References of overpayments, InvoiceNumbers of prepayments (spec, from 19.0 on); None: not asked for."""
    text = query.get(LISTED.get(sort.key, ""))
    return {one.strip().casefold() for one in text.split(",")} if text else None


def _queried_rows(
    books: Books, sort: Sort, rows: list[Body], where: str | None, order: str | None
) -> list[Body]:
    record_type = sort.id_name.removesuffix("ID")
    seen = [(row, _queried(books, sort, row)) for row in rows]
    if where:
        single_equals = books.dialect["single_equals"] == "accept"
        holds = compile_where(where, FIELDS, record_type, single_equals=single_equals)
        seen = [(row, queried) for row, queried in seen if holds(queried)]
    if order:
        by_id = {row[sort.id_name]: row for row, _ in seen}
        ordered = compile_order(order, FIELDS, record_type)([queried for _, queried in seen])
        return [by_id[queried[sort.id_name]] for queried in ordered]
    return [row for row, _ in seen]


def _queried(books: Books, sort: Sort, credit: Body) -> Body:
    """One as a query sees it: dates as moments, the contact with its name, what is left."""
    contact = books.store.get(contacts.KIND, credit["ContactID"]) or {}
    return {
        **credit,
        **{name: read_ms_date(credit[name]) for name in DATES if credit.get(name)},
        "Contact": {**contact, "ContactID": credit["ContactID"]},
        "UpdatedDateUTC": credit["UpdatedMs"],
        "RemainingCredit": credits.remaining(books.store, sort, credit),
        "HasAttachments": False,
    }

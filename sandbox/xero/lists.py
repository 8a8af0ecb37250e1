"""Answers GET /Contacts: which contacts, in which order, which page of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.store import Body
from sandbox.xero import shapes
from sandbox.xero.books import Books
from sandbox.xero.contacts import KIND
from sandbox.xero.where import compile_order, compile_where

FIELDS = {
    **dict.fromkeys(
        (
            "Name", "FirstName", "LastName", "EmailAddress", "ContactNumber", "AccountNumber",
            "CompanyNumber", "TaxNumber", "TaxNumberType", "ContactStatus", "BankAccountDetails",
            "DefaultCurrency", "Website", "AccountsReceivableTaxType", "AccountsPayableTaxType",
            "XeroNetworkKey", "SalesDefaultAccountCode", "PurchasesDefaultAccountCode",
        ),
        "String",
    ),
    **dict.fromkeys(("IsCustomer", "IsSupplier", "HasAttachments"), "Boolean"),
    **dict.fromkeys(("ContactID", "MergedToContactID"), "Guid"),
    "UpdatedDateUTC": "DateTime",
    **{
        f"Balances.{book}.{sum_}": "Decimal"
        for book in ("AccountsReceivable", "AccountsPayable")
        for sum_ in ("Outstanding", "Overdue")
    },
}  # fmt: skip
SEARCHED = ("Name", "FirstName", "LastName", "ContactNumber", "EmailAddress")  # spec
FLAGS = {"IsCustomer": False, "IsSupplier": False, "HasAttachments": False}
LARGEST_PAGE = 1000
PAGE_TOO_LARGE = "pageSize must not exceed 1000"  # unconfirmed: the wording


@dataclass(frozen=True)
class Asked:
    """What a list is asked for; since: stamps from there on, in ms."""

    page: int | None = None
    page_size: int = 100
    where: str | None = None
    order: str | None = None
    ids: tuple[str, ...] | None = None
    search: str | None = None
    archived: bool = False
    summary: bool = False
    since: int | None = None


class PageTooLarge(Exception):
    """pageSize above the largest, where the dialect refuses that."""


def read_asked(query: Mapping[str, str], books: Books, modified_since_ms: int | None) -> Asked:
    """The query as clients send it: `True` and `true` both (tried with xero-python), IDs with commas."""
    dialect, size = books.dialect, _number(query.get("pageSize"), 100)
    if size > LARGEST_PAGE and dialect["page_size_over_1000"] == "refuse":
        raise PageTooLarge
    beyond = {"inclusive": 0, "exclusive": 1, "exclusive_second": 1000}[dialect["if_modified_since"]]
    summary = _flag(query, "summaryOnly")
    pages_itself = summary and dialect["summary_only"] == "pages"  # second hand
    page = query.get("page") or ("1" if pages_itself else None)
    ids = query.get("IDs")
    return Asked(
        page=None if page is None else _number(page, 1),
        page_size=100 if dialect["page_size"] == "ignored" else min(size, LARGEST_PAGE),
        where=query.get("where") or None,
        order=query.get("order") or None,
        ids=tuple(one.strip().lower() for one in ids.split(",") if one.strip()) if ids else None,
        search=query.get("searchTerm") or None,
        archived=_flag(query, "includeArchived"),
        summary=summary,
        since=None if modified_since_ms is None else modified_since_ms + beyond,
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false").lower() == "true"


def _number(text: str | None, default: int) -> int:
    return max(1, int(text)) if text and text.isdigit() else default


def contacts(books: Books, asked: Asked) -> tuple[list[Body], Body | None]:
    """The contacts as they are shown, and the pagination block where a page was asked for."""
    found, count = _page(books, asked)
    rows = [
        shapes.listed(contact, books.dialect, details=asked.page is not None, summary=asked.summary)
        for contact in found
    ]
    return rows, pagination(asked, count)


def pagination(asked: Asked, count: int) -> Body | None:
    """recorded: only where there are pages."""
    if asked.page is None:
        return None
    pages = -(-count // asked.page_size)
    return {"page": asked.page, "pageSize": asked.page_size, "pageCount": pages, "itemCount": count}


def _page(books: Books, asked: Asked) -> tuple[list[Body], int]:
    offset, limit = 0, -1
    if asked.page is not None:
        offset, limit = (asked.page - 1) * asked.page_size, asked.page_size
    if _is_plain(books, asked):  # the file pages by itself: no need to read what is not shown
        by_stamp = books.dialect["default_order"] == "updated"
        live = not asked.archived
        found = books.store.select(
            KIND, since=asked.since, live_only=live, by_stamp=by_stamp, limit=limit, offset=offset
        )
        count = (
            len(found) if asked.page is None else books.store.count(KIND, since=asked.since, live_only=live)
        )
        return found, count
    chosen = _chosen(books, asked)
    return chosen[offset:][: None if limit < 0 else limit], len(chosen)


def _is_plain(books: Books, asked: Asked) -> bool:
    plain_order = books.dialect["default_order"] != "name"
    hides = books.dialect["merged_contacts"] == "hidden" and asked.archived
    return plain_order and not hides and not (asked.where or asked.order or asked.ids or asked.search)


def _chosen(books: Books, asked: Asked) -> list[Body]:
    dialect = books.dialect
    if asked.ids is not None:
        found = [contact for one in asked.ids if (contact := books.store.get(KIND, one))]
        if not (asked.archived or dialect["ids_show_archived"]):
            found = [contact for contact in found if contact["ContactStatus"] != "ARCHIVED"]
        if asked.since is not None:
            found = [contact for contact in found if contact["UpdatedMs"] >= asked.since]
    else:
        found = books.store.select(
            KIND,
            since=asked.since,
            live_only=not asked.archived,
            by_stamp=dialect["default_order"] == "updated",
        )
    if dialect["merged_contacts"] == "hidden":
        found = [contact for contact in found if not contact.get("MergedToContactID")]
    if asked.search:
        found = [contact for contact in found if _mentions(contact, asked.search.casefold())]
    if asked.where:
        holds = compile_where(
            asked.where, FIELDS, "Contact", single_equals=dialect["single_equals"] == "accept"
        )
        found = [contact for contact in found if holds(_queried(contact))]
    return _ordered(found, asked.order or ("Name" if dialect["default_order"] == "name" else None))


def _queried(contact: Body) -> Body:
    """A contact as a query sees it: read-only flags have a value, the stamp has its public name."""
    return {**FLAGS, **contact, "UpdatedDateUTC": contact["UpdatedMs"]}


def _mentions(contact: Body, part: str) -> bool:
    return any(part in contact.get(name, "").casefold() for name in SEARCHED)


def _ordered(found: list[Body], order: str | None) -> list[Body]:
    if order is None:
        return found
    sort = compile_order(order, FIELDS, "Contact")
    by_id = {contact["ContactID"]: contact for contact in found}
    return [by_id[contact["ContactID"]] for contact in sort([_queried(contact) for contact in found])]

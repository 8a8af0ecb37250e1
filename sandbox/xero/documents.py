"""The routes of what documents are made of: invoices, items, accounts, tax rates; and every History."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from sandbox.store import Body
from sandbox.xero import (
    batches,
    chart,
    contacts,
    history,
    invoice_lists,
    invoice_shapes,
    invoices,
    items,
    lists,
    settings_data,
    wire,
)  # fmt: skip
from sandbox.xero.batches import Family
from sandbox.xero.books import Books, Written
from sandbox.xero.where import compile_order, compile_where
from sandbox.xero.wire import Refused

Handler = Callable[[Request], Response]
Read = Callable[[str, Handler, tuple[str, ...]], object]

ITEM_FIELDS = {
    **dict.fromkeys(("Code", "Name", "Description", "PurchaseDescription"), "String"),
    **dict.fromkeys(("IsSold", "IsPurchased"), "Boolean"),
    **{f"{side}.{name}": kind for side in ("SalesDetails", "PurchaseDetails")
       for name, kind in (("UnitPrice", "Decimal"), ("AccountCode", "String"), ("TaxType", "String"))},
    "ItemID": "Guid", "UpdatedDateUTC": "DateTime",
}  # fmt: skip


def books_of(request: Request) -> Books:
    """The books as this request's app uses them."""
    return request.state.books


def since_ms(request: Request) -> int | None:
    """The moment of If-Modified-Since. documented long ago: a bad one is answered with 412."""
    text = request.headers.get("if-modified-since")
    try:
        return wire.read_ms_date(text) if text else None
    except (ValueError, TypeError):
        raise Refused(wire.bare(412)) from None


# -- invoices


def list_invoices(request: Request) -> Response:
    books = books_of(request)
    try:
        wanted = invoice_lists.read_wanted(request.query_params, books, since_ms(request))
    except lists.PageTooLarge:
        return wire.refusal(10, "ValidationException", lists.PAGE_TOO_LARGE)
    rows, pagination = invoice_lists.found(books, wanted)
    return wire.ok("Invoices", rows, books.clock.now_ms(), pagination=pagination)


def one_invoice(request: Request) -> Response:
    books, places = books_of(request), invoice_lists.places(request.query_params)
    invoice = _invoice(request)
    row = invoice_shapes.single(books.store, invoice, books.dialect, places)
    return wire.ok("Invoices", [row], books.clock.now_ms())


def put_invoices(request: Request) -> Response:
    return _write_invoices(request, batches.read(request, "Invoices"), create_only=True)


def post_invoices(request: Request) -> Response:
    return _write_invoices(request, batches.read(request, "Invoices"), create_only=False)


def post_invoice(request: Request) -> Response:
    sent = batches.read(request, "Invoices")[0]
    return _write_invoices(
        request, [{**sent, "InvoiceID": _invoice(request)["InvoiceID"]}], create_only=False
    )


def _invoice(request: Request) -> Body:
    invoice = invoices.by_id_or_number(books_of(request), request.path_params["id"])
    if invoice is None:
        raise Refused(wire.not_found())
    return invoice


def invoice_family(books: Books, places: int) -> Family:
    return Family(
        "Invoices",
        "HasErrors",
        lambda invoice, status: invoice_shapes.written(books.store, invoice, books.dialect, places, status),
        invoice_shapes.refused,
    )


def _write_invoices(request: Request, elements: list[Body], *, create_only: bool) -> Response:
    books, places = books_of(request), invoice_lists.places(request.query_params)

    def write(chosen: list[Body]) -> list[Written]:
        return invoices.write(books, chosen, create_only=create_only, places=places)

    return batches.answer(request, elements, write, invoice_family(books, places), books)


# -- items


def list_items(request: Request) -> Response:
    """spec: no pages."""
    books, query = books_of(request), request.query_params
    asked = lists.read_asked(query, books, since_ms(request))
    rows = [
        {**item, "UpdatedDateUTC": item["UpdatedMs"]}
        for item in books.store.select(items.KIND, since=asked.since)
    ]
    if asked.where:
        single_equals = books.dialect["single_equals"] == "accept"
        holds = compile_where(asked.where, ITEM_FIELDS, "Item", single_equals=single_equals)
        rows = [row for row in rows if holds(row)]
    if asked.order:
        rows = compile_order(asked.order, ITEM_FIELDS, "Item")(rows)
    return wire.ok(
        "Items", [items.shown(row, invoice_lists.places(query)) for row in rows], books.clock.now_ms()
    )


def one_item(request: Request) -> Response:
    shown = items.shown(_item(request), invoice_lists.places(request.query_params))
    return wire.ok("Items", [shown], books_of(request).clock.now_ms())


def put_items(request: Request) -> Response:
    return _write_items(request, batches.read(request, "Items"), create_only=True)


def post_items(request: Request) -> Response:
    return _write_items(request, batches.read(request, "Items"), create_only=False)


def post_item(request: Request) -> Response:
    sent = batches.read(request, "Items")[0]
    return _write_items(request, [{**sent, "ItemID": _item(request)["ItemID"]}], create_only=False)


def delete_item(request: Request) -> Response:
    """spec: 204, and 400 where it is refused."""
    item = _item(request)
    errors = items.delete(books_of(request), item)
    return wire.invalid([items.refused(item, item["ItemID"], errors, None)]) if errors else wire.bare(204)


def _item(request: Request) -> Body:
    item = items.by_id_or_code(books_of(request).store, request.path_params["id"])
    if item is None:
        raise Refused(wire.not_found())
    return item


def _write_items(request: Request, elements: list[Body], *, create_only: bool) -> Response:
    books, places = books_of(request), invoice_lists.places(request.query_params)
    family = Family(
        "Items", "HasErrors", lambda item, status: items.written(item, places, status), items.refused
    )

    def write(chosen: list[Body]) -> list[Written]:
        return items.write(books, chosen, create_only=create_only, places=places)

    return batches.answer(request, elements, write, family, books)


# -- accounts, tax rates, organisation, currencies


def settings_list(kind: str) -> Handler:
    def answer(request: Request) -> Response:
        books = books_of(request)
        since = None
        if kind == chart.ACCOUNT:  # spec: none of the others knows If-Modified-Since
            since = lists.read_asked({}, books, since_ms(request)).since
        rows = settings_data.listed(
            books.store,
            kind,
            request.query_params,
            single_equals=books.dialect["single_equals"] == "accept",
            since=since,
        )
        return wire.ok(settings_data.KEYS[kind], rows, books.clock.now_ms())

    return answer


def one_setting(kind: str) -> Handler:
    """An account by its id, a tax rate by its type."""

    def answer(request: Request) -> Response:
        books, name = books_of(request), request.path_params["id"]
        row = books.store.get(kind, name.lower() if kind == chart.ACCOUNT else name)
        return wire.ok(settings_data.KEYS[kind], [row], books.clock.now_ms()) if row else wire.not_found()

    return answer


# -- history


def _with_history(request: Request, kind: str) -> str:
    """The id of the record of a path, whose history is wanted."""
    books, text = books_of(request), request.path_params["id"]
    if kind == invoices.KIND:
        return _invoice(request)["InvoiceID"]
    if kind == items.KIND:
        return _item(request)["ItemID"]
    contact = contacts.by_id_or_number(books, text) if kind == contacts.KIND else None
    record_id = contact["ContactID"] if contact else text.lower()
    if books.store.get(kind, record_id) is None:
        raise Refused(wire.not_found())
    return record_id


def get_history(kind: str) -> Handler:
    def answer(request: Request) -> Response:
        books = books_of(request)
        rows = history.shown(books.store, _with_history(request, kind))
        return wire.ok("HistoryRecords", rows, books.clock.now_ms())

    return answer


def put_history(kind: str) -> Handler:
    """spec: notes; recorded: what comes back."""

    def answer(request: Request) -> Response:
        books, record_id = books_of(request), _with_history(request, kind)
        notes = [str(one.get("Details") or "") for one in batches.read(request, "HistoryRecords")]
        if any(len(details) > history.LONGEST_NOTE for details in notes):
            return wire.refusal(10, "ValidationException", history.NOTE_TOO_LONG)
        rows = [history.note(books, record_id, details) for details in notes]
        return wire.ok("HistoryRecords", rows, books.clock.now_ms())

    return answer

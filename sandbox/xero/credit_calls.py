"""The routes of credit notes, overpayments and prepayments; and what a person does with them on the web pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.store import Body
from sandbox.xero import (
    allocations,
    batches,
    credit_lists,
    credit_notes,
    credit_shapes,
    credits,
    documents,
    invoice_lists,
    lists,
    prepaid,
    settlement,
    wire,
)  # fmt: skip
from sandbox.xero.batches import Family
from sandbox.xero.books import Books, Written
from sandbox.xero.credits import NOTE, OVERPAYMENT, PREPAYMENT, SORTS, Sort, UnknownCredit
from sandbox.xero.documents import books_of, since_ms
from sandbox.xero.invoices import Wrong
from sandbox.xero.wire import Refused

Handler = Callable[[Request], Response]


def table() -> dict[tuple[str, ...], dict[str, dict[str, Handler]]]:
    """What each scope opens. second hand: the granular scopes; spec: the broad one."""
    notes = {
        "CreditNotes": {"GET": _list(NOTE), "PUT": put_notes, "POST": post_notes},
        "CreditNotes/{id}": {"GET": _single(NOTE), "POST": post_note},
        **_parts(NOTE),
    }
    prepaid_ones: dict[str, dict[str, Handler]] = {}
    for sort in (OVERPAYMENT, PREPAYMENT):
        prepaid_ones |= {sort.key: {"GET": _list(sort)}, f"{sort.key}/{{id}}": {"GET": _single(sort)}}
        prepaid_ones |= _parts(sort)
    return {
        ("accounting.invoices", "accounting.transactions"): notes,
        ("accounting.payments", "accounting.transactions"): prepaid_ones,
    }


def _parts(sort: Sort) -> dict[str, dict[str, Handler]]:
    path = f"{sort.key}/{{id}}"
    return {
        f"{path}/Allocations": {"PUT": _allocate(sort)},
        f"{path}/Allocations/{{allocation}}": {"DELETE": _deallocate(sort)},
        f"{path}/History": {"GET": documents.get_history(sort.kind), "PUT": documents.put_history(sort.kind)},
    }


def _credit(request: Request, sort: Sort) -> Body:
    credit = credits.by_id(books_of(request), sort, request.path_params["id"])
    if credit is None:
        raise Refused(wire.not_found())
    return credit


# -- reading


def _list(sort: Sort) -> Handler:
    def answer(request: Request) -> Response:
        books = books_of(request)
        try:
            rows, pagination = credit_lists.found(books, sort, request.query_params, since_ms(request))
        except lists.PageTooLarge:
            return wire.refusal(10, "ValidationException", lists.PAGE_TOO_LARGE)
        return wire.ok(sort.key, rows, books.clock.now_ms(), pagination=pagination)

    return answer


def _single(sort: Sort) -> Handler:
    def answer(request: Request) -> Response:
        books, places = books_of(request), invoice_lists.places(request.query_params)
        row = credit_shapes.single(books.store, sort, _credit(request, sort), books.dialect, places)
        return wire.ok(sort.key, [row], books.clock.now_ms())

    return answer


# -- writing


def put_notes(request: Request) -> Response:
    return _write_notes(request, batches.read(request, "CreditNotes"), create_only=True)


def post_notes(request: Request) -> Response:
    return _write_notes(request, batches.read(request, "CreditNotes"), create_only=False)


def post_note(request: Request) -> Response:
    sent = batches.read(request, "CreditNotes")[0]
    note_id = _credit(request, NOTE)["CreditNoteID"]
    return _write_notes(request, [{**sent, "CreditNoteID": note_id}], create_only=False)


def _write_notes(request: Request, elements: list[Body], *, create_only: bool) -> Response:
    books, places = books_of(request), invoice_lists.places(request.query_params)

    def shown(note: Body, status: str | None) -> Body:
        return credit_shapes.written(books.store, NOTE, note, books.dialect, places, status)

    def write(chosen: list[Body]) -> list[Written]:
        return credit_notes.write(books, chosen, create_only=create_only, places=places)

    family = Family(NOTE.key, "HasErrors", shown, credit_shapes.refused)
    return batches.answer(request, elements, write, family, books)


# -- allocations


def _allocate(sort: Sort) -> Handler:
    def answer(request: Request) -> Response:
        books, credit = books_of(request), _credit(request, sort)

        def shown(row: Body, status: str | None) -> Body:
            return credit_shapes.written_allocation(sort, row, books.dialect, status)

        def refused(sent: Body, _: str | None, errors: list[str], status: str | None) -> Body:
            return credit_shapes.refused_allocation(sort, sort.id_of(credit), sent, errors, status)

        def write(chosen: list[Body]) -> list[Written]:
            return allocations.allocate(books, sort, credit, chosen)

        family = Family("Allocations", "HasErrors", shown, refused)
        return batches.answer(request, batches.read(request, "Allocations"), write, family, books)

    return answer


def _deallocate(sort: Sort) -> Handler:
    """second hand: an issue of xero-python shows that what comes back is not the allocation alone."""

    def answer(request: Request) -> Response:
        books, allocation_id = books_of(request), request.path_params["allocation"]
        try:
            row = allocations.remove(books, sort, _credit(request, sort), allocation_id)
        except UnknownCredit:
            raise Refused(wire.not_found()) from None
        except ValueError as error:  # unconfirmed: that a refusal is told as other ones are
            return wire.invalid(
                [{"AllocationID": allocation_id, "ValidationErrors": [{"Message": str(error)}]}]
            )
        if books.dialect["removed_allocation"] == "bare":
            return wire.json_reply(200, credit_shapes.removed_by_example(row))
        return wire.ok("Allocations", [credit_shapes.removed_allocation(row)], books.clock.now_ms())

    return answer


# -- what a person does on the web pages


def pages() -> dict[str, Callable[[Books, Any], Any]]:
    """By path under /sandbox/; all take a JSON object; ValueError refuses (400), UnknownCredit is 404."""
    return {
        "edit-credit-note": _edit_note, "overpay": _pay(OVERPAYMENT), "prepay": _pay(PREPAYMENT),
        "allocate": _allocate_by_hand, "deallocate": _deallocate_by_hand, "void-credit": _void,
    }  # fmt: skip


def _shown(books: Books, sort: Sort, credit: Body) -> Body:
    return credit_shapes.single(books.store, sort, credit, books.dialect, 4)


def _edit_note(books: Books, wanted: Body) -> Body:
    """The fields of a credit note, with its CreditNoteID (Status approves, voids, deletes); without one it is made."""
    create_only = not wanted.get("CreditNoteID")
    return _shown(books, NOTE, _only(credit_notes.write(books, [wanted], create_only=create_only, places=4)))


def _pay(sort: Sort) -> Callable[[Books, Any], Any]:
    """{"ContactID", "Amount" or "LineItems", "Date"?, "Type"?, "CurrencyCode"?, "Reference"?, "InvoiceNumber"?}."""

    def work(books: Books, wanted: Body) -> Body:
        try:
            return _shown(books, sort, prepaid.make(books, sort, wanted))
        except Wrong as wrong:
            raise ValueError("; ".join(wrong.errors)) from None

    return work


def _named(books: Books, wanted: Body) -> tuple[Sort, Body]:
    for sort in SORTS.values():
        if wanted.get(sort.id_name):
            credit = books.store.get(sort.kind, str(wanted[sort.id_name]).lower())
            if credit is None:
                raise UnknownCredit(wanted[sort.id_name])
            return sort, credit
    raise ValueError("CreditNoteID, OverpaymentID or PrepaymentID is missing")


def _allocate_by_hand(books: Books, wanted: Body) -> Body:
    """{"CreditNoteID" or "OverpaymentID" or "PrepaymentID", "InvoiceID", "Amount", "Date"?}: gives the credit."""
    sort, credit = _named(books, wanted)
    sent = {**wanted, "Invoice": {"InvoiceID": wanted["InvoiceID"]}}
    _only(allocations.allocate(books, sort, credit, [sent]))
    return _shown(books, sort, books.store.get(sort.kind, sort.id_of(credit)) or {})


def _deallocate_by_hand(books: Books, wanted: Body) -> Body:
    """{"AllocationID"}: gives the credit."""
    row = books.store.get(settlement.ALLOCATION, str(wanted["AllocationID"]).lower())
    if row is None:
        raise UnknownCredit(wanted["AllocationID"])
    sort = SORTS[row["Source"]]
    allocations.remove(books, sort, books.store.get(sort.kind, row["SourceID"]) or {}, row["AllocationID"])
    return _shown(books, sort, books.store.get(sort.kind, row["SourceID"]) or {})


def _void(books: Books, wanted: Body) -> Body:
    """{"OverpaymentID" or "PrepaymentID"}: its bank transaction is removed; refused while it is allocated."""
    sort, credit = _named(books, wanted)
    if sort is NOTE:
        raise ValueError("a credit note is voided by edit-credit-note")
    return _shown(books, sort, prepaid.void(books, sort, credit))


def _only(results: list[Written]) -> Body:
    (result,) = results
    if result.record is None:
        raise ValueError("; ".join(result.errors))
    return result.record

"""The routes of payments and of batches of them: which are listed, and what a write answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import Response

from sandbox.store import Body
from sandbox.xero import (
    batch_payments,
    batches,
    chart,
    contacts,
    documents,
    invoice_lists,
    invoice_shapes,
    lists,
    payment_shapes,
    payments,
    settlement,
    wire,
)  # fmt: skip
from sandbox.xero.batches import Family
from sandbox.xero.books import Books, Written
from sandbox.xero.documents import books_of, since_ms
from sandbox.xero.lists import Asked
from sandbox.xero.where import QueryError, compile_order, compile_where
from sandbox.xero.wire import read_ms_date

Handler = Callable[[Request], Response]

FIELDS = {
    **dict.fromkeys(
        (
            "Status", "Reference", "PaymentType", "Invoice.InvoiceNumber", "Invoice.Type", "Invoice.CurrencyCode",
            "Invoice.Contact.Name", "Invoice.Contact.ContactNumber", "Account.Code",
        ),
        "String",
    ),
    **dict.fromkeys(
        ("PaymentID", "BatchPaymentID", "Invoice.InvoiceID", "Invoice.Contact.ContactID", "Account.AccountID"),
        "Guid",
    ),
    **dict.fromkeys(("Date", "UpdatedDateUTC"), "DateTime"),
    **dict.fromkeys(("Amount", "BankAmount", "CurrencyRate"), "Decimal"),
    "IsReconciled": "Boolean",
}  # fmt: skip
BATCH_FIELDS = {
    **dict.fromkeys(("Status", "Type", "Reference", "Narrative", "Details"), "String"),
    **dict.fromkeys(("BatchPaymentID", "Account.AccountID"), "Guid"),
    **dict.fromkeys(("Date", "UpdatedDateUTC"), "DateTime"),
    "TotalAmount": "Decimal",
    "IsReconciled": "Boolean",
}


def table() -> dict[tuple[str, ...], dict[str, dict[str, Handler]]]:
    """By scopes: path, method, handler. second hand: the granular scope; spec: the broad one.

    spec: PUT makes; POST does too, or reverses what is named with Status DELETED.
    """

    def with_history(kind: str) -> dict[str, Handler]:
        return {"GET": documents.get_history(kind), "PUT": documents.put_history(kind)}

    paths: dict[str, dict[str, Handler]] = {
        "Payments": {"GET": list_payments, "PUT": write_payments, "POST": write_payments},
        "Payments/{id}": {"GET": one_payment, "POST": delete_payment},
        "Payments/{id}/History": with_history(payments.KIND),
        "BatchPayments": {"GET": list_batches, "PUT": write_batches, "POST": write_batches},
        "BatchPayments/{id}": {"GET": one_batch, "POST": delete_batch},
        "BatchPayments/{id}/History": with_history(batch_payments.KIND),
    }
    return {("accounting.payments", "accounting.transactions"): paths}


# -- payments


def list_payments(request: Request) -> Response:
    books = books_of(request)
    try:
        asked = lists.read_asked(request.query_params, books, since_ms(request))
    except lists.PageTooLarge:
        return wire.refusal(10, "ValidationException", lists.PAGE_TOO_LARGE)
    chosen, count = _page(books, asked)
    rows = [payment_shapes.listed(books.store, one, books.dialect) for one in chosen]
    return wire.ok("Payments", rows, books.clock.now_ms(), pagination=lists.pagination(asked, count))


def _page(books: Books, asked: Asked) -> tuple[list[Body], int]:
    """second hand: in the order of UpdatedDateUTC where none is asked for."""
    offset, limit = (0, -1) if asked.page is None else ((asked.page - 1) * asked.page_size, asked.page_size)
    live = books.dialect["deleted_payments"] == "hidden" and "Status" not in (asked.where or "")
    if not (asked.where or asked.order):  # the file pages by itself
        rows = books.store.select(
            payments.KIND, since=asked.since, live_only=live, by_stamp=True, limit=limit, offset=offset
        )
        return rows, len(rows) if limit < 0 else books.store.count(
            payments.KIND, since=asked.since, live_only=live
        )
    rows = books.store.select(payments.KIND, since=asked.since, live_only=live, by_stamp=True)
    seen = _narrowed(books, [_queried(books, one) for one in rows], asked, FIELDS, "Payment")
    return seen[offset:][: None if limit < 0 else limit], len(seen)


def _narrowed(
    books: Books, seen: Iterable[Body], asked: Asked, fields: Mapping[str, str], record_type: str
) -> list[Body]:
    """The records that are left by `where`, in the order asked for."""
    rows = list(seen)
    if asked.where:
        if (
            record_type == "Payment"
            and books.dialect["reference_filter"] == "refuse"
            and "Reference" in asked.where
        ):
            raise QueryError(invoice_lists.NO_REFERENCE)
        single_equals = books.dialect["single_equals"] == "accept"
        holds = compile_where(asked.where, fields, record_type, single_equals=single_equals)
        rows = [row for row in rows if holds(row)]
    if asked.order:
        rows = compile_order(asked.order, fields, record_type)(rows)
    return [row["Row"] for row in rows]


def _queried(books: Books, payment: Body) -> Body:
    """A payment as a query sees it, with the record itself beside it."""
    found = settlement.document(books.store, payment["DocumentID"])
    document = found.body if found else {}
    contact = books.store.get(contacts.KIND, document.get("ContactID", "")) or {}
    return {
        **payment,
        "Row": payment,
        "Date": read_ms_date(payment["Date"]),
        "UpdatedDateUTC": payment["UpdatedMs"],
        "Account": books.store.get(chart.ACCOUNT, payment.get("AccountID", "")) or {},
        "Invoice": {**document, "InvoiceID": payment["DocumentID"], "Contact": contact},
    }


def one_payment(request: Request) -> Response:
    books = books_of(request)
    payment = payments.by_id(books.store, request.path_params["id"])
    row = payment_shapes.single(books.store, payment, books.dialect)
    return wire.ok("Payments", [row], books.clock.now_ms())


def write_payments(request: Request) -> Response:
    return _write_payments(request, batches.read(request, "Payments"), None)


def delete_payment(request: Request) -> Response:
    return _write_payments(request, batches.read(request, "Payments")[:1], request.path_params["id"])


def _write_payments(request: Request, elements: list[Body], payment_id: str | None) -> Response:
    books = books_of(request)
    family = Family(
        "Payments",
        "HasValidationErrors",
        lambda payment, status: payment_shapes.written(books.store, payment, books.dialect, status),
        payment_shapes.refused,
    )

    def write(chosen: list[Body]) -> list[Written]:
        return payments.write(books, chosen, payment_id=payment_id)

    return batches.answer(request, elements, write, family, books)


# -- batches


def list_batches(request: Request) -> Response:
    """spec: no pages."""
    books = books_of(request)
    query = {name: text for name, text in request.query_params.items() if name in ("where", "order")}
    asked = lists.read_asked(query, books, since_ms(request))
    seen = [
        {
            **one,
            "Row": one,
            "Date": read_ms_date(one["Date"]),
            "UpdatedDateUTC": one["UpdatedMs"],
            "Account": {"AccountID": one["AccountID"]},
        }
        for one in books.store.select(batch_payments.KIND, since=asked.since)
    ]
    rows = [
        batch_payments.shown(books.store, one)
        for one in _narrowed(books, seen, asked, BATCH_FIELDS, "BatchPayment")
    ]
    return wire.ok("BatchPayments", rows, books.clock.now_ms())


def one_batch(request: Request) -> Response:
    books = books_of(request)
    batch = batch_payments.by_id(books.store, request.path_params["id"])
    return wire.ok("BatchPayments", [batch_payments.shown(books.store, batch)], books.clock.now_ms())


def write_batches(request: Request) -> Response:
    return _write_batches(request, batches.read(request, "BatchPayments"), None)


def delete_batch(request: Request) -> Response:
    return _write_batches(request, batches.read(request, "BatchPayments")[:1], request.path_params["id"])


def _write_batches(request: Request, elements: list[Body], batch_id: str | None) -> Response:
    books = books_of(request)
    family = Family(
        "BatchPayments",
        "HasValidationErrors",
        lambda batch, status: batch_payments.shown(books.store, batch, status),
        batch_payments.refused,
    )

    def write(chosen: list[Body]) -> list[Written]:
        return batch_payments.write(books, chosen, batch_id=batch_id)

    return batches.answer(request, elements, write, family, books)


# -- what a person does on the web pages


def pages() -> dict[str, Callable[[Books, Body], Body]]:
    """By path under /sandbox/: each takes what was sent and gives the record in Xero's shape."""
    return {
        "pay": _pay,
        "unpay": _unpay,
        "reconcile": _reconcile,
        "invoice-facts": _invoice_facts,
    }


def _pay(books: Books, wanted: Body) -> Body:
    """{"InvoiceID", "Amount", "Date"?, "Reference"?, "Account"?: code of a bank account, else the first}."""
    return payment_shapes.single(books.store, payments.pay(books, wanted), books.dialect)


def _unpay(books: Books, wanted: Body) -> Body:
    """{"PaymentID"}: deletes a payment."""
    return payment_shapes.single(books.store, payments.unpay(books, wanted["PaymentID"]), books.dialect)


def _reconcile(books: Books, wanted: Body) -> Body:
    """{"PaymentID" or "BatchPaymentID", "IsReconciled"?: true}: matches it with the bank statement, or no longer."""
    reconciled = wanted.get("IsReconciled", True)
    if "BatchPaymentID" in wanted:
        batch = batch_payments.reconcile(books, wanted["BatchPaymentID"], reconciled)
        return batch_payments.shown(books.store, batch)
    payment = payments.reconcile(books, wanted["PaymentID"], reconciled)
    return payment_shapes.single(books.store, payment, books.dialect)


def _invoice_facts(books: Books, wanted: Body) -> Body:
    """{"InvoiceID", "AmountPaid", "Date"?}: payments made or deleted until this sum is paid; gives the invoice."""
    total = Decimal(str(wanted["AmountPaid"]))
    invoice = payments.set_paid(books, wanted["InvoiceID"], total, wanted.get("Date"))
    return invoice_shapes.single(books.store, invoice, books.dialect, 4)

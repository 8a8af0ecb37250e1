"""What a person does on Xero's web pages, and what documents that are not there yet would do (control routes)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import exact
from sandbox.store import Body
from sandbox.xero import (
    contacts,
    credit_calls,
    credits,
    history,
    invoice_shapes,
    invoices,
    payment_calls,
    settings_calls,
    shapes,
    wire,
)  # fmt: skip
from sandbox.xero.batch_payments import UnknownBatch
from sandbox.xero.books import Books, Written
from sandbox.xero.contacts import UnknownContact
from sandbox.xero.credits import UnknownCredit
from sandbox.xero.invoices import UnknownInvoice
from sandbox.xero.oauth import PERSON
from sandbox.xero.payments import UnknownPayment
from sandbox.xero.settlement import UnknownDocument

# What a page names and there is not.
UNKNOWN = (UnknownContact, UnknownCredit, UnknownInvoice, UnknownPayment, UnknownBatch, UnknownDocument)

Work = Callable[[Books, Any], Any]


def routes(books: Books) -> list[Route]:
    """All take a JSON object; `user` in it is who did it, for the History."""

    def route(path: str, work: Work) -> Route:
        async def answer(request: Request) -> Response:
            wanted = exact.loads(await request.body() or b"{}")
            return _done(books.used_by(wanted.pop("user", PERSON)), work, wanted)

        return Route(f"/sandbox/{path}", answer, methods=["POST"])

    async def histories(request: Request) -> Response:
        text = "".join(exact.dumps(row) + "\n" for row in history.everything(books.store))
        return Response(text, media_type="application/x-ndjson")

    return [
        route("merge-contacts", _merge),
        route("contact-facts", _contact_facts),
        route("edit-contact", _edit_contact),
        route("edit-invoice", _edit_invoice),
        *(route(path, work) for path, work in credit_calls.pages().items()),
        *(route(path, work) for path, work in payment_calls.pages().items()),
        *(route(path, work) for path, work in settings_calls.pages().items()),
        Route("/sandbox/history", histories, methods=["GET"]),
    ]


def _done(books: Books, work: Work, wanted: Any) -> Response:
    try:
        with books.store.transaction():
            result = work(books, wanted)
    except UNKNOWN as error:
        return wire.json_reply(404, {"error": f"no such record: {error}"})
    except (ValueError, KeyError) as error:
        return wire.json_reply(400, {"error": str(error)})
    return wire.json_reply(200, result if result is not None else {"done": True})


def _merge(books: Books, wanted: Body) -> None:
    """{"loser", "survivor"}: ContactIDs."""
    contacts.merge(books, wanted["loser"], wanted["survivor"])
    invoices.move(books, wanted["loser"], wanted["survivor"])
    credits.move(books, wanted["loser"], wanted["survivor"])


def _contact_facts(books: Books, wanted: Body) -> None:
    """{"ContactID", "IsCustomer", "IsSupplier", "Balances", ...}: what documents would set."""
    contacts.set_facts(books, wanted["ContactID"], wanted)


def _edit_contact(books: Books, wanted: Body) -> Body:
    """The fields of a contact, with its ContactID; without one it is made."""
    result = _only(contacts.write(books, [wanted], create_only=False))
    return shapes.single(result, books.dialect)


def _edit_invoice(books: Books, wanted: Body) -> Body:
    """The fields of an invoice, with its InvoiceID (Status approves, voids, deletes); without one it is made."""
    result = _only(invoices.write(books, [wanted], create_only=not wanted.get("InvoiceID"), places=4))
    return invoice_shapes.single(books.store, result, books.dialect, 4)


def _only(results: list[Written]) -> Body:
    (result,) = results
    if result.record is None:
        raise ValueError("; ".join(result.errors))
    return result.record

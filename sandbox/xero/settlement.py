"""Says what settles a document, and what follows from it: sums, status, and what a contact owes.

Payments and allocations are records of their own; a document holds only what is reckoned from them here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from sandbox.store import Body, Store
from sandbox.xero import settings_data
from sandbox.xero.books import Books
from sandbox.xero.invoice_lines import CENT, ZERO

INVOICE, CREDIT_NOTE, OVERPAYMENT, PREPAYMENT = "invoice", "creditnote", "overpayment", "prepayment"
PAYMENT, BATCH, ALLOCATION = "payment", "batchpayment", "allocation"
CONTACT = "contact"
# The documents that can be settled, and the name of the id of each.
IDS = {
    INVOICE: "InvoiceID",
    CREDIT_NOTE: "CreditNoteID",
    OVERPAYMENT: "OverpaymentID",
    PREPAYMENT: "PrepaymentID",
}
OPEN, SETTLED = "AUTHORISED", "PAID"


class UnknownDocument(Exception):
    """No invoice, credit note, overpayment or prepayment has this id."""


@dataclass(frozen=True)
class Document:
    """A document that can be settled, and of which kind it is."""

    kind: str
    body: Body

    @property
    def id(self) -> str:
        return self.body[IDS[self.kind]]

    @property
    def is_sale(self) -> bool:
        """Whether it belongs to what customers owe (else to what is owed to suppliers)."""
        return str(self.body["Type"]).startswith(("ACCREC", "RECEIVE", "AR"))


def declare(store: Store) -> None:
    """The look-ups: what stands against a document, what a batch holds, what of a contact is open."""
    store.declare(
        PAYMENT, document=lambda one: one["DocumentID"], batch=lambda one: one.get("BatchPaymentID")
    )
    store.declare(ALLOCATION, source=lambda one: one["SourceID"], invoice=lambda one: one["InvoiceID"])
    for kind in IDS:
        store.declare(kind, open=lambda one: one["ContactID"] if one["Status"] == OPEN else None)


def document(store: Store, document_id: str) -> Document | None:
    """The document with this id, whatever it is."""
    for kind in IDS:
        body = store.get(kind, document_id.lower())
        if body is not None:
            return Document(kind, body)
    return None


def payments_of(store: Store, document_id: str) -> list[Body]:
    """The payments that stand against a document, oldest first; not those that were deleted."""
    found = (store.get(PAYMENT, one) for one in store.find(PAYMENT, "document", document_id))
    return [one for one in found if one is not None and one["Status"] != "DELETED"]


def allocations_of(store: Store, document_id: str) -> list[Body]:
    """The credit that was allocated to an invoice, or of a credit to invoices; oldest first."""
    ids = [one for name in ("invoice", "source") for one in store.find(ALLOCATION, name, document_id)]
    return [found for one in ids if (found := store.get(ALLOCATION, one)) is not None]


def still_open(found: Document) -> Decimal:
    """What is due on an invoice, or remains of a credit, in the document's currency; of a closed one nothing."""
    body = found.body
    if body["Status"] in ("VOIDED", "DELETED"):
        return ZERO
    if found.kind == INVOICE:
        return body["Total"] - body["AmountPaid"] - body["AmountCredited"]
    return body.get("RemainingCredit", body["Total"])


def settle(books: Books, document_id: str, *, at_ms: int | None = None) -> Body:
    """Reckon a document anew from the payments and allocations that are stored; gives it as it is now.

    An invoice gets AmountPaid, AmountCredited and Payments, a credit RemainingCredit; both Status and
    FullyPaidOnDate (of the last that settled it). Nothing but AUTHORISED and PAID is moved. at_ms: the stamp of
    the write; None: now. Raises UnknownDocument.
    """
    found = document(books.store, document_id)
    if found is None:
        raise UnknownDocument(document_id)
    body = dict(found.body)
    payments = payments_of(books.store, found.id)
    allocations = allocations_of(books.store, found.id)
    paid, credited = _sum(payments), _sum(allocations)
    if found.kind == INVOICE:
        body |= {
            "AmountPaid": paid,
            "AmountCredited": credited,
            "Payments": [_within_document(one) for one in payments],
        }
    else:
        body["RemainingCredit"] = body["Total"] - paid - credited
    if body["Status"] in (OPEN, SETTLED):
        body.pop("FullyPaidOnDate", None)
        body |= _status(Document(found.kind, body), [*payments, *allocations])
    if body != found.body:
        if books.dialect["payment_moves_stamp"]:
            body["UpdatedMs"] = at_ms or books.clock.stamp_ms()
        books.store.put(found.kind, found.id, body, stamp=body["UpdatedMs"])
    rebalance(books, body["ContactID"])
    return body


def _status(found: Document, settling: list[Body]) -> Body:
    """PAID when nothing is open any more, AUTHORISED when something is (second hand: it comes and goes)."""
    if not settling or still_open(found) != 0:
        return {"Status": OPEN}
    return {"Status": SETTLED, "FullyPaidOnDate": max(one["Date"] for one in settling)}


def _sum(rows: list[Body]) -> Decimal:
    return sum((one["Amount"] for one in rows), ZERO).quantize(CENT)


def _within_document(payment: Body) -> Body:
    """What a document shows of a payment."""
    names = ("PaymentID", "BatchPaymentID", "Date", "Amount", "Reference", "CurrencyRate")
    return {name: payment[name] for name in names if payment.get(name) not in (None, "")}


# -- what a contact owes and is owed


def rebalance(books: Books, *contact_ids: str) -> None:
    """Reckon Balances of contacts: what is open, in the base currency (spec); moves no stamp (second hand).

    Overdue is as of the last change of one of the contact's documents: the day's turn alone changes nothing.
    """
    for contact_id in dict.fromkeys(contact_ids):
        contact = books.store.get(CONTACT, contact_id)
        if contact is None:
            continue
        before, now = contact.get("Balances"), _balances(books, contact_id)
        if now != before and (before or _is_any(now)):
            contact["Balances"] = now
            live = contact["ContactStatus"] != "ARCHIVED"
            # The log names what a call changed; this follows from it.
            books.store.put(CONTACT, contact_id, contact, stamp=contact["UpdatedMs"], live=live, logged=False)


def _balances(books: Books, contact_id: str) -> Body:
    today = settings_data.today(books.store, books.clock.now_ms()).isoformat()
    sums: dict[str, dict[str, Decimal]] = {
        book: {"Outstanding": ZERO, "Overdue": ZERO} for book in ("AccountsReceivable", "AccountsPayable")
    }
    for kind in IDS:
        for document_id in books.store.find(kind, "open", contact_id):
            found = Document(kind, books.store.get(kind, document_id) or {})
            rate = found.body.get("CurrencyRate") or Decimal(1)
            amount = (still_open(found) / rate).quantize(CENT, ROUND_HALF_UP)
            sign = 1 if kind == INVOICE else -1
            book = sums["AccountsReceivable" if found.is_sale else "AccountsPayable"]
            book["Outstanding"] += sign * amount
            if found.body.get("DueDate", today) < today:
                book["Overdue"] += sign * amount
    return dict(sums)


def _is_any(balances: Body) -> bool:
    return any(amount for book in balances.values() for amount in book.values())

"""Keeps what may be set against an invoice: credit notes, overpayments and prepayments, and their allocations.

All three are documents of a contact with a total, of which a part is left (RemainingCredit); an allocation is a
record of its own that takes a part of one of them to one invoice.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal

from sandbox.store import Body, Store
from sandbox.xero import history, settlement
from sandbox.xero.books import Books
from sandbox.xero.invoice_lines import ZERO


@dataclass(frozen=True)
class Sort:
    """One of the three. kind: of the store. key: of a list in replies. name: in messages. number: its own field."""

    kind: str
    key: str
    name: str
    number: str

    @property
    def id_name(self) -> str:
        return settlement.IDS[self.kind]

    def id_of(self, credit: Body) -> str:
        return credit[self.id_name]


NOTE = Sort(settlement.CREDIT_NOTE, "CreditNotes", "Credit Note", "CreditNoteNumber")
OVERPAYMENT = Sort(settlement.OVERPAYMENT, "Overpayments", "Overpayment", "Reference")
PREPAYMENT = Sort(settlement.PREPAYMENT, "Prepayments", "Prepayment", "InvoiceNumber")
SORTS = {sort.kind: sort for sort in (NOTE, OVERPAYMENT, PREPAYMENT)}


class UnknownCredit(Exception):
    """A call names a credit note, overpayment, prepayment or allocation that there is not."""


def declare(store: Store) -> None:
    """The look-ups of numbers and of contacts; those of allocations are settlement's."""
    store.declare(
        NOTE.kind,
        sales_number=lambda note: _key(note, "CreditNoteNumber") if is_sale(note) else None,
        number=lambda note: _key(note, "CreditNoteNumber"),
        contact=lambda note: note["ContactID"],
    )
    for sort in (OVERPAYMENT, PREPAYMENT):
        store.declare(sort.kind, contact=lambda credit: credit["ContactID"])


def _key(credit: Body, name: str) -> str | None:
    return (credit.get(name) or "").casefold() or None


def is_sale(credit: Body) -> bool:
    """Whether it may be set against what is sold (ACCRECCREDIT, RECEIVE-...), else against bills."""
    return credit["Type"].startswith(("ACCREC", "RECEIVE", "AR"))


def put(store: Store, sort: Sort, credit: Body) -> Body:
    live = credit["Status"] != "DELETED"
    store.put(sort.kind, sort.id_of(credit), credit, stamp=credit["UpdatedMs"], live=live)
    return credit


def by_id(books: Books, sort: Sort, text: str) -> Body | None:
    """unconfirmed: that a credit note is found by its number too, as an invoice is."""
    found = books.store.get(sort.kind, text.lower())
    if found is None and sort is NOTE:
        for name in ("sales_number", "number"):
            for note_id in books.store.find(NOTE.kind, name, text.casefold()):
                return books.store.get(NOTE.kind, note_id)
    return found


def remaining(store: Store, sort: Sort, credit: Body) -> Decimal:
    """What is left of a credit after its allocations and its refunds."""
    credit_id = sort.id_of(credit)
    used = [*settlement.allocations_of(store, credit_id), *settlement.payments_of(store, credit_id)]
    return credit["Total"] - sum((one["Amount"] for one in used), ZERO)


def put_allocation(store: Store, row: Body) -> Body:
    store.put(settlement.ALLOCATION, row["AllocationID"], row)
    return row


def new_allocation(sort: Sort, credit: Body, invoice_id: str, amount: Decimal, day: str) -> Body:
    return {
        "AllocationID": str(uuid.uuid4()), "Source": sort.kind, "SourceID": sort.id_of(credit),
        "InvoiceID": invoice_id, "Amount": amount, "Date": day,
    }  # fmt: skip


def tell(books: Books, sort: Sort, credit: Body, what: str, fields: list[str]) -> None:
    """A record in the History of a credit. unconfirmed: the words."""
    contact = books.store.get("contact", credit["ContactID"]) or {}
    number = credit.get(sort.number, "")
    details = f"{number} to {contact.get('Name', '')} for {credit['Total']}.".strip()
    history.write(books, sort.id_of(credit), what, details, at_ms=credit["UpdatedMs"], fields=fields)


def move(books: Books, loser_id: str, survivor_id: str) -> None:
    """What a merge of contacts does to the credits of the one that goes (unconfirmed: their stamps)."""
    for sort in SORTS.values():
        for credit_id in books.store.find(sort.kind, "contact", loser_id):
            credit = (books.store.get(sort.kind, credit_id) or {}) | {"ContactID": survivor_id}
            if books.dialect["merged_invoices"] == "stamped":
                credit["UpdatedMs"] = books.clock.stamp_ms()
            put(books.store, sort, credit)
    settlement.rebalance(books, loser_id, survivor_id)

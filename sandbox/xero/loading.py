"""Puts records as they are and gives all that is stored: rows in Xero's shape, of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from sandbox.clock import Clock
from sandbox.store import Body, Store
from sandbox.xero import (
    batch_payments,
    contacts,
    credit_shapes,
    invoice_shapes,
    invoices,
    items,
    payment_shapes,
    payments,
    settings_data,
    shapes,
    tracking,
)  # fmt: skip
from sandbox.xero.credits import SORTS

# What a dump of everything holds, in an order in which it can be loaded again: payments before what they pay.
KINDS = (
    contacts.KIND, "contactgroup", tracking.KIND, items.KIND, batch_payments.KIND, payments.KIND, invoices.KIND, *SORTS,
)  # fmt: skip


def load(store: Store, clock: Clock, rows: Iterable[Body]) -> int:
    """Put records as they are, without rules: rows in Xero's shape, of any kind that `dump` gives."""
    count = 0
    with store.transaction():
        for row in rows:
            if sort := credit_shapes.sort_of_row(row):
                credit_shapes.load(store, sort, row, clock.now_ms())
            elif "InvoiceID" in row or row.get("Type") in invoices.TYPES:
                invoice = invoices.put(store, invoice_shapes.stored(row, clock.now_ms()))
                payments.adopt(store, invoice)
            elif "PaymentID" in row:
                payments.put(store, payment_shapes.stored(row, clock.now_ms()))
            elif "BatchPaymentID" in row:
                batch_payments.put(store, batch_payments.stored(row, clock.now_ms()))
            elif "ItemID" in row or "SalesDetails" in row:
                items.load(store, clock.now_ms(), row)
            elif not settings_data.load(store, row):
                contacts.load(store, clock, [row])
            count += 1
    return count


def dump(store: Store, kind: str | None) -> Iterable[Body]:
    """Records in Xero's shape: contacts, groups, items and invoices, or those of one kind.

    The kinds: contact, contactgroup, item, invoice, creditnote, overpayment, prepayment, payment, batchpayment,
    account, taxrate, organisation, currency, trackingcategory, brandingtheme.
    """
    shapes_of: dict[str, Callable[[Body], Body]] = {
        contacts.KIND: shapes.dumped,
        items.KIND: items.dumped,
        invoices.KIND: invoice_shapes.dumped,
        payments.KIND: payment_shapes.dumped,
        batch_payments.KIND: batch_payments.dumped,
        **{sort.kind: partial(credit_shapes.dumped, store, sort) for sort in SORTS.values()},
    }
    for one in [kind] if kind else KINDS:
        show = shapes_of.get(one, dict)
        yield from (show(row) for row in store.all(one))

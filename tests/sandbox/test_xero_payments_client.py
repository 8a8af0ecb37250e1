"""xero-python drives payments and batches unchanged; its models read every reply."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from xero_python.accounting import Account, BatchPaymentDelete, Invoice, Payment, PaymentDelete, Payments
from xero_python.exceptions import AccountingBadRequestException, NotFoundException

from tests.sandbox.test_xero_client import Client, unknown_names
from tests.sandbox.xero_payments_peer import EXCEEDS, UNKNOWN, Books, batch_of

# What replies hold beyond the models of the SDK: the dates as texts, as the spec's examples do.
BEYOND = {".Invoice.DateString", ".Invoice.DueDateString", ".Invoice.LineItems.ValidationErrors"}


@pytest.fixture
def books(xero):
    return Books(xero)


@pytest.fixture
def client(books, monkeypatch):
    return Client(books.xero.line, monkeypatch).log_in()


def sdk_payment(invoice, amount, **fields):
    return Payment(
        invoice=Invoice(invoice_id=invoice["InvoiceID"]),
        account=Account(code="090"),
        date=date(2026, 11, 20),
        amount=amount,
        **fields,
    )


def test_xero_python_pays_reads_and_deletes(books, client):
    api, tenant = client.accounting, client.tenant
    made = books.invoice(100)
    rows = Payments(payments=[sdk_payment(made, 25.5, reference="r1"), sdk_payment(made, 10)])
    first, second = api.create_payments(tenant, rows).payments
    assert (first.amount, first.status, first.invoice.amount_due) == (
        Decimal("25.5"),
        "AUTHORISED",
        Decimal("64.5"),
    )
    (third,) = api.create_payment(tenant, sdk_payment(made, 64.5)).payments
    assert third.invoice.status == "PAID"
    (read,) = api.get_payment(tenant, first.payment_id).payments
    assert (read.reference, read.date, read.account.code) == ("r1", date(2026, 11, 20), "090")
    assert len(read.invoice.payments) == 3
    (invoice,) = api.get_invoice(tenant, made["InvoiceID"]).invoices
    assert (invoice.status, invoice.fully_paid_on_date) == ("PAID", date(2026, 11, 20))
    assert [one.payment_id for one in invoice.payments] == [
        first.payment_id, second.payment_id, third.payment_id,
    ]  # fmt: skip
    (gone,) = api.delete_payment(
        tenant, second.payment_id, {"Payments": [PaymentDelete(status="DELETED")]}
    ).payments
    assert (gone.status, gone.invoice.status) == ("DELETED", "AUTHORISED")
    (also,) = api.delete_payment(tenant, third.payment_id, PaymentDelete(status="DELETED")).payments
    assert also.status == "DELETED"
    paged = api.get_payments(tenant, where='Status=="AUTHORISED"', page=1, page_size=5)
    assert [one.payment_id for one in paged.payments] == [first.payment_id]
    assert paged.pagination.item_count == 1
    assert api.get_payment_history(tenant, third.payment_id).history_records


def test_xero_python_tells_refusals(books, client):
    made = books.invoice(10)
    with pytest.raises(AccountingBadRequestException) as refused:
        client.accounting.create_payments(client.tenant, Payments(payments=[sdk_payment(made, 11)]))
    assert EXCEEDS in str(refused.value)
    with pytest.raises(NotFoundException):
        client.accounting.get_payment(client.tenant, UNKNOWN)


def test_xero_python_makes_and_deletes_a_batch(books, client):
    api, tenant = client.accounting, client.tenant
    made = books.invoice(10)
    body = {"BatchPayments": [batch_of(books, (made, 10))]}
    (batch,) = api.create_batch_payment(tenant, body).batch_payments
    assert (batch.type, batch.total_amount, batch.account.code) == ("RECBATCH", 10, None)
    (payment,) = api.get_payments(tenant).payments
    assert (payment.batch_payment.batch_payment_id, payment.batch_payment.total_amount) == (
        batch.batch_payment_id, 10,
    )  # fmt: skip
    assert [one.batch_payment_id for one in api.get_batch_payments(tenant).batch_payments] == [
        batch.batch_payment_id
    ]
    wanted = BatchPaymentDelete(batch_payment_id=batch.batch_payment_id, status="DELETED")
    (gone,) = api.delete_batch_payment(tenant, wanted).batch_payments
    assert gone.status == "DELETED"
    (read,) = api.get_batch_payment(tenant, batch.batch_payment_id).batch_payments
    assert read.status == "DELETED"


def test_every_name_of_a_payment_is_one_of_the_spec(books):
    made = books.invoice(100)
    payment = books.pay(made, 1, Reference="r", Details="d")
    batch = books.only("PUT", "BatchPayments", batch_of(books, (made, 2)))
    replies = [books.xero.call("GET", path) for path in ("Payments", f"Payments/{payment['PaymentID']}")]
    replies.append(books.send("PUT", "Payments", books.body(made, 999), summarizeErrors="false"))
    found = [
        unknown_names(one, "Payment", "") for reply in replies for one in json.loads(reply.text)["Payments"]
    ]
    assert {name for names in found for name in names} <= BEYOND
    assert unknown_names(batch, "BatchPayment", "") == []

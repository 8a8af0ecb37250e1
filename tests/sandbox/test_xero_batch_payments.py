"""Batch payments by plain HTTP: several invoices paid in one go, and opened again."""

from __future__ import annotations

import pytest

from tests.sandbox.xero_payments_peer import EXCEEDS, UNKNOWN, Books, batch_of


@pytest.fixture
def books(xero):
    return Books(xero)


def test_a_batch_pays_several_invoices_and_its_deletion_opens_them(books):
    one, two = books.invoice(100), books.invoice(50)
    batch = books.only("PUT", "BatchPayments", batch_of(books, (one, 100), (two, 20), Narrative="NOV"))
    assert (batch["Type"], batch["Status"], batch["TotalAmount"]) == ("RECBATCH", "AUTHORISED", 120)
    assert (batch["Reference"], batch["Narrative"], batch["IsReconciled"]) == ("run 7", "NOV", False)
    assert [row["Invoice"]["InvoiceID"] for row in batch["Payments"]] == [one["InvoiceID"], two["InvoiceID"]]
    assert (books.read(one)["Status"], books.read(two)["AmountDue"]) == ("PAID", 30)
    batch_id = batch["BatchPaymentID"]
    assert {row["BatchPaymentID"] for row in books.payments()} == {batch_id}
    assert books.read(one)["Payments"][0]["BatchPaymentID"] == batch_id
    payment = books.only("GET", f"Payments/{batch['Payments'][0]['PaymentID']}")
    assert (payment["BatchPayment"]["Type"], payment["BatchPayment"]["TotalAmount"]) == ("RECBATCH", 120)
    books.xero.choose(batch_in_payment="texts")
    texts = books.payments()[0]["BatchPayment"]
    assert (texts["TotalAmount"], texts["IsReconciled"]) == ("120.00", "false")
    assert books.refusal({"Status": "DELETED"}, "POST", f"Payments/{payment['PaymentID']}") == [
        "Payments within a batch cannot be deleted."
    ]
    assert books.only("GET", f"BatchPayments/{batch_id}") == batch
    assert books.only("GET", "BatchPayments", where='Type=="RECBATCH"') == batch
    gone = books.only("POST", "BatchPayments", {"BatchPaymentID": batch_id, "Status": "DELETED"})
    assert (gone["Status"], gone["Payments"], gone["TotalAmount"]) == ("DELETED", [], 120)
    assert [(books.read(made)["Status"], books.read(made)["AmountPaid"]) for made in (one, two)] == [
        ("AUTHORISED", 0), ("AUTHORISED", 0),
    ]  # fmt: skip
    rows = books.xero.call("GET", f"BatchPayments/{batch_id}/History").json()["HistoryRecords"]
    assert [row["Changes"] for row in rows] == ["Deleted", "Created"]
    assert books.refusal({"Status": "DELETED"}, "POST", f"BatchPayments/{batch_id}") == [
        "Batch payment not of valid status for modification"
    ]


def test_a_batch_is_made_whole_or_not_at_all(books):
    one, bill = books.invoice(100), books.bill(50)
    over = batch_of(books, (one, 60), (one, 60))
    assert books.refusal(over, path="BatchPayments") == [EXCEEDS]
    assert books.refusal(batch_of(books, (one, 1), (bill, 1)), path="BatchPayments") == [
        "A batch payment cannot pay both invoices and bills"
    ]
    assert books.refusal(batch_of(books), path="BatchPayments") == [
        "A batch payment must have at least one payment"
    ]
    long = batch_of(books, (one, 1), Narrative="x" * 19)
    assert books.refusal(long, path="BatchPayments") == [
        "The length of Narrative must be 18 characters or fewer."
    ]
    assert (books.payments(), books.read(one)["AmountPaid"]) == ([], 0)
    assert books.only("PUT", "BatchPayments", batch_of(books, (bill, 50)))["Type"] == "PAYBATCH"


def test_a_batch_may_not_be_deleted_in_the_other_dialect_or_when_reconciled(books):
    batch = books.only("PUT", "BatchPayments", batch_of(books, (books.invoice(), 1)))
    path = f"BatchPayments/{batch['BatchPaymentID']}"
    books.xero.choose(batch_payment_delete="refuse")
    assert books.refusal({"Status": "DELETED"}, "POST", path) == [
        "Batch payments cannot be deleted via the API"
    ]
    books.xero.choose(batch_payment_delete="allow")
    books.xero.control("reconcile", {"BatchPaymentID": batch["BatchPaymentID"]})
    assert books.payments()[0]["IsReconciled"] is False
    assert books.refusal({"Status": "DELETED"}, "POST", path) == [
        "This payment has been reconciled and cannot be deleted"
    ]
    assert books.send("POST", f"BatchPayments/{UNKNOWN}", {"Status": "DELETED"}).status_code == 404

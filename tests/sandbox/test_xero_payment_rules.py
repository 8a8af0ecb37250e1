"""Payments by plain HTTP: what is refused, several at once, keys, lists."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from tests.sandbox.xero_payments_peer import EXCEEDS, NO_ID, NOT_AUTHORISED, UNKNOWN, Books


@pytest.fixture
def books(xero):
    return Books(xero)


# -- what is refused


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"Account": ...}, ["You must specify an Account code or Account ID for the payment"]),
        ({"Account": {"Code": "999"}}, ["Account could not be found"]),
        ({"Account": {"AccountID": UNKNOWN}}, ["Account could not be found"]),
        ({"Account": {"Code": "200"}}, ["Account type is invalid for making a payment to/from"]),
        ({"Amount": "100.01"}, [EXCEEDS]),
        ({"Amount": 0}, ["Payment amount must be greater than zero"]),
        ({"Amount": -1}, ["Payment amount must be greater than zero"]),
        ({"Amount": ...}, ["Payment amount must be greater than zero"]),
        ({"Date": "soon"}, ["Date is not a valid date"]),
        ({"Invoice": ...}, ["A payment must name an invoice, credit note, prepayment or overpayment"]),
        ({"InvoiceNumber": "none", "Invoice": ...}, ["Invoice could not be found"]),
        ({"Account": {"Code": "999"}, "Amount": 200}, ["Account could not be found", EXCEEDS]),
    ],
)
def test_what_a_payment_needs(books, fields, messages):
    assert books.refusal(books.body(books.invoice(100), 50, **fields)) == messages
    assert books.payments() == []


@pytest.mark.parametrize(
    ("status", "messages"),
    [
        ("DRAFT", [NOT_AUTHORISED]),
        ("SUBMITTED", [NOT_AUTHORISED]),
        ("DELETED", [NOT_AUTHORISED, EXCEEDS]),
        ("VOIDED", [NOT_AUTHORISED, EXCEEDS]),
        ("PAID", [NOT_AUTHORISED, EXCEEDS]),
    ],
)
def test_only_an_authorised_invoice_is_paid(books, status, messages):
    first = {"DELETED": "DRAFT", "VOIDED": "AUTHORISED", "PAID": "AUTHORISED"}.get(status, status)
    made = books.invoice(10, first)
    if status in ("DELETED", "VOIDED"):
        books.only("POST", "Invoices", {"InvoiceID": made["InvoiceID"], "Status": status})
    if status == "PAID":
        books.pay(made, 10)
    assert books.refusal(books.body(made, 10)) == messages


def test_a_payment_may_go_to_an_account_that_payments_are_enabled_for(books):
    books.xero.load([{"Code": "880", "Name": "Owner", "Type": "EQUITY", "EnablePaymentsToAccount": True}])
    payment = books.pay(books.invoice(), 5, Account=..., Code="880")
    assert payment["Account"]["Code"] == "880"


def test_a_payment_names_its_invoice_by_number_too(books):
    made = books.invoice(InvoiceNumber="SF-9")
    for fields in ({"InvoiceNumber": "sf-9"}, {"Invoice": {"InvoiceNumber": "SF-9"}}):
        payment = books.pay(made, 1, **{"Invoice": ..., **fields})
        assert payment["Invoice"]["InvoiceID"] == made["InvoiceID"]
    both = {"CreditNote": {"CreditNoteNumber": "x"}}
    assert books.refusal(books.body(made, 1, **both)) == ["CreditNote could not be found"]


def test_an_invoice_that_there_is_not_answers_404_or_an_error(books):
    body = books.body({"InvoiceID": UNKNOWN}, 1)
    assert books.send("PUT", "Payments", body).status_code == 404
    books.xero.choose(unknown_document_in_payment="error")
    assert books.refusal(body) == ["Invoice could not be found"]
    assert books.xero.call("GET", f"Payments/{UNKNOWN}").status_code == 404
    assert books.send("POST", f"Payments/{UNKNOWN}", {"Status": "DELETED"}).status_code == 404


def test_a_payment_without_a_date_is_of_today_or_refused(books):
    made = books.invoice()
    books.xero.control("clock", {"now": "2026-12-01T10:00:00+00:00"})
    books.xero.log_in()
    assert books.pay(made, 1, Date=...)["Date"] == "/Date(1796083200000+0000)/"
    books.xero.choose(payment_date_missing="refuse")
    assert books.refusal(books.body(made, 1, Date=...)) == ["Payment date must be specified"]


def test_nothing_is_paid_or_deleted_in_a_locked_period(books):
    made = books.invoice()
    payment = books.pay(made, 1, Date="2026-11-05")
    books.xero.load([{"OrganisationStatus": "ACTIVE", "BaseCurrency": "GBP", "PeriodLockDate": "2026-11-10"}])
    assert len(books.refusal(books.body(made, 1, Date="2026-11-10"))) == 1
    assert len(books.refusal({"Status": "DELETED"}, "POST", f"Payments/{payment['PaymentID']}")) == 1
    assert books.pay(made, 1, Date="2026-11-11")


def test_an_invoice_with_a_payment_is_neither_voided_nor_edited_until_it_is_deleted(books):
    made = books.invoice()
    payment = books.pay(made, 1)
    void = {"InvoiceID": made["InvoiceID"], "Status": "VOIDED"}
    assert books.refusal(void, "POST", "Invoices") == [
        "The status VOIDED cannot be applied to the invoice "
        "because it has payments or credit notes allocated to it."
    ]
    more = {"Description": "More", "UnitAmount": 1, "AccountCode": "200"}
    edit = {"InvoiceID": made["InvoiceID"], "LineItems": [more]}
    assert books.refusal(edit, "POST", "Invoices") == [
        "This document cannot be edited as it has a payment or credit note allocated to it."
    ]
    books.delete(payment)
    assert books.only("POST", "Invoices", void)["Status"] == "VOIDED"


def test_a_payment_is_deleted_once_and_never_edited(books):
    payment = books.pay(books.invoice(), 1)
    path = f"Payments/{payment['PaymentID']}"
    assert books.refusal({"Amount": 2}, "POST", path) == ["Payment not of valid status for modification"]
    named = {"PaymentID": payment["PaymentID"], "Status": "DELETED"}
    assert books.only("POST", "Payments", named)["Status"] == "DELETED"
    assert books.refusal(named, "POST") == ["Payment not of valid status for modification"]


def test_a_reconciled_payment_stays_unless_the_dialect_lets_it_go(books):
    payment = books.pay(books.invoice(), 1)
    before = payment["UpdatedDateUTC"]
    time.sleep(0.003)
    matched = books.xero.control("reconcile", {"PaymentID": payment["PaymentID"]})
    assert matched["IsReconciled"] is True
    assert matched["UpdatedDateUTC"] != before
    path = f"Payments/{payment['PaymentID']}"
    assert books.refusal({"Status": "DELETED"}, "POST", path) == [
        "This payment has been reconciled and cannot be deleted"
    ]
    books.xero.choose(reconciled_payment_delete="allow")
    assert books.delete(payment)["Status"] == "DELETED"


# -- several at once, keys, lists


def test_several_payments_share_what_is_due_and_each_is_judged_by_itself(books):
    made = books.invoice(100)
    rows = [books.body(made, amount) for amount in (60, 50, 40)]
    assert books.send("PUT", "Payments", *rows).status_code == 400
    assert books.read(made)["AmountPaid"] == 0
    reply = books.send("PUT", "Payments", *rows, summarizeErrors="false").json()["Payments"]
    assert [one["StatusAttributeString"] for one in reply] == ["OK", "ERROR", "OK"]
    assert (reply[1]["PaymentID"], reply[1]["Amount"], reply[1]["HasValidationErrors"]) == (NO_ID, 50, True)
    assert books.read(made)["Status"] == "PAID"


def test_a_repeat_under_its_key_pays_once(books):
    made = books.invoice()
    body, key = books.body(made, 10), {"Idempotency-Key": "pay-1"}
    first = books.send("PUT", "Payments", body, headers=key)
    again = books.send("PUT", "Payments", body, headers=key)
    assert first.json()["Payments"] == again.json()["Payments"]
    assert books.read(made)["AmountPaid"] == 10
    assert books.send("PUT", "Payments", books.body(made, 11), headers=key).status_code == 400


def test_a_payment_that_was_applied_and_cut_off_is_there(books):
    made = books.invoice()
    books.xero.control("faults", {"kind": "500_applied", "method": "PUT", "path": "/Payments$"})
    assert books.send("PUT", "Payments", books.body(made, 10)).status_code == 500
    assert books.read(made)["AmountPaid"] == 10


def test_lists_page_filter_and_tell_what_changed_since(books):
    first, second = books.invoice(InvoiceNumber="A"), books.invoice(InvoiceNumber="B")
    made = [books.pay(first, n, Reference=f"r{n}") for n in (1, 2)] + [books.pay(second, 3)]
    ids = [one["PaymentID"] for one in made]

    def found(**query):
        return [one["PaymentID"] for one in books.payments(**query)]

    assert found() == ids
    page = books.xero.call("GET", "Payments", page=2, pageSize=2).json()
    assert page["pagination"] == {"page": 2, "pageSize": 2, "pageCount": 2, "itemCount": 3}
    assert [one["PaymentID"] for one in page["Payments"]] == ids[2:]
    assert found(where=f'Invoice.InvoiceID==guid("{first["InvoiceID"].upper()}")') == ids[:2]
    assert found(where='Reference=="R2"') == [ids[1]]
    assert found(where='Invoice.InvoiceNumber=="B" AND PaymentType=="ACCRECPAYMENT"') == [ids[2]]
    assert found(where="Amount>=2 AND Date==DateTime(2026,11,20)", order="Amount DESC") == [ids[2], ids[1]]
    assert found(where='Account.Code=="090"', page=2, pageSize=1) == [ids[1]]
    assert books.xero.call("GET", "Payments", where="Total>1").json()["ErrorNumber"] == 16
    books.xero.control("clock", {"move_s": 600})
    since = datetime.fromisoformat(books.xero.control("clock")["now"]).strftime("%Y-%m-%dT%H:%M:%S")
    books.delete(made[0])
    changed = books.xero.call("GET", "Payments", headers={"If-Modified-Since": since}).json()["Payments"]
    assert [(one["PaymentID"], one["Status"]) for one in changed] == [(ids[0], "DELETED")]
    assert found(where='Status=="AUTHORISED"') == ids[1:]
    assert found() == [*ids[1:], ids[0]]  # by the stamp: what was deleted comes last
    books.xero.choose(deleted_payments="hidden")
    assert found() == ids[1:]
    assert found(where='Status=="DELETED"') == [ids[0]]


def test_scopes_open_payments(books):
    for scopes, read, written in (
        ("accounting.payments", 200, 200),
        ("accounting.transactions", 200, 200),
        ("accounting.payments.read", 200, 401),
        ("accounting.invoices", 401, 401),
    ):
        made = books.invoice()
        client = books.xero.control("clients", {"name": "other", "scopes": scopes})
        headers = dict(books.xero.headers)
        books.xero.log_in(client_id=client["client_id"], client_secret=client["client_secret"])
        assert books.xero.call("GET", "Payments").status_code == read
        assert books.send("PUT", "Payments", books.body(made, 1)).status_code == written
        books.xero.headers = headers

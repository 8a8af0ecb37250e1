"""Payments by plain HTTP: what settles an invoice, what is shown of it, what a person does, loading."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.xero_payments_peer import BANK, EXCEEDS, UNKNOWN, Books, batch_of


@pytest.fixture
def books(xero):
    return Books(xero)


# -- what settles an invoice


def test_payments_settle_an_invoice_and_their_deletion_opens_it_again(books):
    made = books.invoice(100)
    books.pay(made, "40.50", Date="2026-11-18")
    part = books.read(made)
    assert (part["Status"], part["AmountDue"], part["AmountPaid"]) == (
        "AUTHORISED", Decimal("59.5"), Decimal("40.5"),
    )  # fmt: skip
    last = books.pay(made, "59.50", Date="2026-11-20")
    paid = books.read(made)
    assert (paid["Status"], paid["AmountDue"], paid["AmountPaid"]) == ("PAID", 0, 100)
    assert paid["FullyPaidOnDate"] == "/Date(1795132800000+0000)/"
    assert [one["Amount"] for one in paid["Payments"]] == [Decimal("40.5"), Decimal("59.5")]
    gone = books.delete(last)
    assert (gone["Status"], gone["Amount"]) == ("DELETED", Decimal("59.5"))
    assert (gone["Invoice"]["Status"], gone["Invoice"]["AmountPaid"]) == ("AUTHORISED", Decimal("40.5"))
    back = books.read(made)
    assert (back["Status"], back["AmountDue"]) == ("AUTHORISED", Decimal("59.5"))
    assert "FullyPaidOnDate" not in back
    assert len(back["Payments"]) == 1


def test_an_invoice_is_paid_with_its_last_penny(books):
    made = books.invoice(100)
    assert books.pay(made, "99.99")["Invoice"]["Status"] == "AUTHORISED"
    assert books.pay(made, "0.01")["Invoice"]["Status"] == "PAID"


def test_a_bill_is_paid_the_same_way(books):
    bill = books.bill(80)
    payment = books.pay(bill, 80)
    assert payment["PaymentType"] == "ACCPAYPAYMENT"
    assert payment["Invoice"]["Status"] == "PAID"
    (contact,) = books.xero.get(page=1)
    assert contact["Balances"]["AccountsPayable"]["Outstanding"] == 0


def test_what_a_payment_shows(books):
    made = books.invoice(230, InvoiceNumber="SF-1", Reference="PO 7")
    payment = books.pay(made, 10, Reference=" bank 7 ", IsReconciled=True)
    assert payment["Invoice"].pop("LineItems")[0]["UnitAmount"] == 230
    stamp = payment["UpdatedDateUTC"]
    assert payment["Invoice"]["UpdatedDateUTC"] == stamp
    start = {
        "PaymentID": payment["PaymentID"], "Date": "/Date(1795132800000+0000)/", "BankAmount": 10, "Amount": 10,
        "Reference": "bank 7", "CurrencyRate": 1, "PaymentType": "ACCRECPAYMENT", "Status": "AUTHORISED",
        "UpdatedDateUTC": stamp, "UpdatedDateUTCString": payment["UpdatedDateUTCString"], "HasAccount": True,
        "IsReconciled": True,
    }  # fmt: skip
    account = {"AccountID": payment["Account"]["AccountID"], "Code": "090"}
    assert payment == {
        **start, "Account": {**account, "Name": "Business Bank Account"}, "Invoice": payment["Invoice"],
        "HasValidationErrors": False,
    }  # fmt: skip
    (listed,) = books.payments()
    assert listed == {
        **start, "Account": account, "HasValidationErrors": False,
        "Invoice": {
            "Type": "ACCREC", "InvoiceID": made["InvoiceID"], "InvoiceNumber": "SF-1", "Payments": [],
            "CreditNotes": [], "Prepayments": [], "Overpayments": [], "HasErrors": False, "IsDiscounted": False,
            "Contact": {
                "ContactID": books.contact_id, "Name": "Acme", "Addresses": [], "Phones": [],
                "ContactGroups": [], "ContactPersons": [], "HasValidationErrors": False,
            },
            "LineItems": [], "CurrencyCode": "GBP",
        },
    }  # fmt: skip
    single = books.only("GET", f"Payments/{payment['PaymentID']}")
    shown = {
        "PaymentID": payment["PaymentID"], "Date": "/Date(1795132800000+0000)/", "Amount": 10, "CurrencyRate": 1,
        "Reference": "bank 7", "HasAccount": False, "HasValidationErrors": False,
    }  # fmt: skip
    assert single["Invoice"]["Payments"] == [shown]
    assert books.read(made)["Payments"] == [shown]
    (paged,) = books.xero.call("GET", "Invoices", page=1).json()["Invoices"]
    assert paged["Payments"] == [shown]


def test_a_payment_in_another_currency_has_a_rate_and_an_amount_for_the_bank(books):
    made = books.invoice(115, CurrencyCode="EUR", CurrencyRate="1.2")
    own = books.pay(made, 23, CurrencyRate="1.15")
    assert (own["CurrencyRate"], own["BankAmount"], own["Amount"]) == (Decimal("1.15"), 20, 23)
    of_the_day = books.pay(made, 92)
    assert (of_the_day["CurrencyRate"], of_the_day["BankAmount"]) == (Decimal("1.15"), 80)
    books.xero.load([{"Code": "099", "Name": "Dollars", "Type": "BANK", "CurrencyCode": "USD"}])
    other = books.invoice(10, CurrencyCode="EUR")
    assert books.refusal(books.body(other, 1, Account={"Code": "099"})) == [
        "The currency of the account must be that of the document or the base currency"
    ]


@pytest.mark.parametrize("moves", [True, False])
def test_a_payment_and_its_deletion_move_the_stamp_of_the_invoice_or_not(books, moves):
    books.xero.choose(payment_moves_stamp=moves)
    made = books.invoice()
    for act in (lambda: books.pay(made, 1), lambda: books.delete(books.payments()[0])):
        before = books.read(made)["UpdatedDateUTC"]
        time.sleep(0.003)
        act()
        assert (books.read(made)["UpdatedDateUTC"] != before) is moves


def test_balances_follow_documents_and_payments_and_move_no_stamp(books):
    assert books.balances()[0] is None
    made = books.invoice(100, DueDate="2026-11-02")
    books.invoice(20, DueDate="2027-11-02")
    books.invoice(7, status="DRAFT")
    owed, stamp = books.balances()
    assert owed == {"Outstanding": 120, "Overdue": 100}
    payment = books.pay(made, 30)
    assert books.balances() == ({"Outstanding": 90, "Overdue": 70}, stamp)
    books.delete(payment)
    books.only("POST", "Invoices", {"InvoiceID": made["InvoiceID"], "Status": "VOIDED"})
    assert books.balances() == ({"Outstanding": 20, "Overdue": 0}, stamp)
    changed = [change[1] for row in books.xero.log() for change in row["changes"] if row["method"] == "POST"]
    assert "contact" not in changed


def test_balances_go_with_an_invoice_to_another_contact(books):
    made, (other,) = books.invoice(100), books.xero.put({"Name": "Zeta"}).json()["Contacts"]
    books.pay(made, 30)

    def owed():
        rows = {one["Name"]: one.get("Balances", {}) for one in books.xero.get(page=1)}
        return [rows[name].get("AccountsReceivable", {}).get("Outstanding") for name in ("Acme", "Zeta")]

    moved = {"InvoiceID": made["InvoiceID"], "Contact": {"ContactID": other["ContactID"]}}
    assert owed() == [70, None]
    books.only("POST", "Invoices", moved)
    assert owed() == [0, 70]
    books.xero.control("merge-contacts", {"loser": other["ContactID"], "survivor": books.contact_id})
    (left,) = books.xero.get(page=1)
    assert left["Balances"]["AccountsReceivable"]["Outstanding"] == 70


def test_the_history_of_an_invoice_and_of_a_payment_tells_of_it(books):
    made = books.invoice()
    payment = books.pay(made, 25)
    books.delete(payment)
    for path, several in ((f"Invoices/{made['InvoiceID']}", 3), (f"Payments/{payment['PaymentID']}", 2)):
        rows = books.xero.call("GET", f"{path}/History").json()["HistoryRecords"]
        told = [(row["Changes"], row["Details"], row["User"]) for row in rows]
        assert told[:2] == [
            ("Payment Deleted", "Payment on 2026-11-20 for 25.00.", "Reconcile sandbox"),
            ("Payment Received", "Payment on 2026-11-20 for 25.00.", "Reconcile sandbox"),
        ]
        assert len(told) == several
        assert rows[0]["DateUTC"] == books.read(made)["UpdatedDateUTC"]  # the stamp is that of one entry
    note = {"HistoryRecords": [{"Details": "asked the bank"}]}
    assert books.xero.call("PUT", f"Payments/{payment['PaymentID']}/History", note).status_code == 200
    assert books.xero.call("GET", f"Payments/{UNKNOWN}/History").status_code == 404


@given(data=st.data())
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
def test_an_invoice_is_always_the_sum_of_its_payments(books, data):
    made, live = books.invoice(100), {}
    for _ in range(data.draw(st.integers(1, 8))):
        due = 100 - sum(live.values())
        if live and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(live)))
            books.delete({"PaymentID": gone})
            del live[gone]
        else:
            amount = data.draw(st.decimals("0.01", 120, places=2))
            reply = books.send("PUT", "Payments", books.body(made, str(amount)))
            assert (reply.status_code == 200) is (amount <= due)
            if amount <= due:
                live[reply.json()["Payments"][0]["PaymentID"]] = amount
        now, paid = books.read(made), sum(live.values())
        assert (now["AmountPaid"], now["AmountDue"]) == (paid, 100 - paid)
        assert now["Status"] == ("PAID" if paid == 100 else "AUTHORISED")
        assert {one["PaymentID"]: one["Amount"] for one in now.get("Payments", [])} == live


def test_of_two_payments_at_once_one_is_too_many(books):
    made = books.invoice(100)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: books.send("PUT", "Payments", books.body(made, 60)), range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 400, 400, 400]
    assert books.read(made)["AmountDue"] == 40


def test_a_credit_note_is_paid_back(books):
    line = {"Description": "Back", "Quantity": 1, "UnitAmount": 50, "AccountCode": "200"}
    note = books.only(
        "PUT", "CreditNotes",
        {"Type": "ACCRECCREDIT", "Status": "AUTHORISED", "Contact": {"ContactID": books.contact_id},
         "Date": "2026-11-02", "CreditNoteNumber": "CN-1", "LineAmountTypes": "NoTax", "LineItems": [line]},
    )  # fmt: skip
    assert books.balances()[0]["Outstanding"] == -50
    body = {**BANK, "Date": "2026-11-20", "Amount": 50}
    assert books.refusal({**body, "Amount": 51, "CreditNote": {"CreditNoteID": note["CreditNoteID"]}}) == [
        EXCEEDS
    ]
    payment = books.only("PUT", "Payments", {**body, "CreditNote": {"CreditNoteID": note["CreditNoteID"]}})
    assert (payment["PaymentType"], payment["Invoice"]["Type"]) == ("ARCREDITPAYMENT", "ACCRECCREDIT")
    assert (payment["Invoice"]["InvoiceNumber"], payment["Invoice"]["AmountDue"]) == ("CN-1", 0)
    read = books.only("GET", f"CreditNotes/{note['CreditNoteID']}")
    assert (read["Status"], read["RemainingCredit"]) == ("PAID", 0)
    assert books.balances()[0]["Outstanding"] == 0
    assert books.delete(payment)["Invoice"]["AmountDue"] == 50
    assert books.only("GET", f"CreditNotes/{note['CreditNoteID']}")["Status"] == "AUTHORISED"
    by_number = books.only("PUT", "Payments", {**body, "Amount": 1, "CreditNoteNumber": "cn-1"})
    assert by_number["PaymentType"] == "ARCREDITPAYMENT"


def test_payments_and_credit_settle_an_invoice_together(books):
    made = books.invoice(100)
    line = {"Description": "Back", "Quantity": 1, "UnitAmount": 30, "AccountCode": "200"}
    note = books.only(
        "PUT", "CreditNotes",
        {"Type": "ACCRECCREDIT", "Status": "AUTHORISED", "Contact": {"ContactID": books.contact_id},
         "Date": "2026-11-02", "LineAmountTypes": "NoTax", "LineItems": [line]},
    )  # fmt: skip
    allocation = {"Invoice": {"InvoiceID": made["InvoiceID"]}, "Amount": 30, "Date": "2026-11-22"}
    path = f"CreditNotes/{note['CreditNoteID']}/Allocations"
    assert books.xero.call("PUT", path, {"Allocations": [allocation]}).status_code == 200
    assert books.refusal(books.body(made, "70.01")) == [EXCEEDS]
    books.pay(made, 70, Date="2026-11-20")
    read = books.read(made)
    assert (read["Status"], read["AmountPaid"], read["AmountCredited"], read["AmountDue"]) == (
        "PAID",
        70,
        30,
        0,
    )
    assert read["FullyPaidOnDate"] == "/Date(1795305600000+0000)/"


# -- a person, and loading


def test_a_person_pays_and_takes_it_back_on_the_web_pages(books):
    made = books.invoice(100)
    wanted = {"InvoiceID": made["InvoiceID"], "Amount": "30.10", "Date": "2026-11-19", "user": "Jo"}
    payment = books.xero.control("pay", wanted)
    assert (payment["Account"]["Code"], payment["Invoice"]["AmountDue"]) == ("090", 69.9)
    rows = books.xero.call("GET", f"Invoices/{made['InvoiceID']}/History").json()["HistoryRecords"]
    assert (rows[0]["Changes"], rows[0]["User"]) == ("Payment Received", "Jo")
    refused = books.xero.http.post("/sandbox/pay", json={**wanted, "Amount": 70})
    assert (refused.status_code, refused.json()["error"]) == (400, EXCEEDS)
    assert books.xero.http.post("/sandbox/pay", json={**wanted, "InvoiceID": UNKNOWN}).status_code == 404
    gone = books.xero.control("unpay", {"PaymentID": payment["PaymentID"]})
    assert (gone["Status"], gone["Invoice"]["AmountDue"]) == ("DELETED", 100)
    assert books.xero.http.post("/sandbox/unpay", json={"PaymentID": UNKNOWN}).status_code == 404


def test_invoice_facts_make_and_delete_payments(books):
    made = books.invoice(100)
    for total, amounts in ((30, [30]), (100, [30, 70]), (40, [30, 10]), (0, [])):
        books.xero.control("invoice-facts", {"InvoiceID": made["InvoiceID"], "AmountPaid": total})
        now = books.read(made)
        assert (now["AmountPaid"], now["AmountDue"]) == (total, 100 - total)
        assert [one["Amount"] for one in now.get("Payments", [])] == amounts
    live = [one for one in books.payments() if one["Status"] == "AUTHORISED"]
    assert live == []


def test_payments_outlive_a_dump_and_a_load(books):
    one, two = books.invoice(100), books.invoice(50)
    books.delete(books.pay(one, 5))
    books.pay(one, 60, Reference="r")
    books.only("PUT", "BatchPayments", batch_of(books, (two, 50)))
    dump, shown = books.xero.dump_text(), (books.payments(), books.read(one), books.read(two))
    books.xero.control("reset", {"seed": False})
    books.xero.load_text(dump)
    assert (books.payments(), books.read(one), books.read(two)) == shown
    assert [json.loads(one) for one in dump.splitlines()] == books.xero.dump()
    books.pay(one, 40)
    assert (books.read(one)["Status"], books.read(one)["AmountPaid"]) == ("PAID", 100)


def test_a_loaded_invoice_that_says_it_is_paid_has_a_payment(books):
    row = {
        "InvoiceID": UNKNOWN, "Type": "ACCREC", "Status": "PAID", "Contact": {"ContactID": books.contact_id},
        "AmountPaid": 12, "LineItems": [{"UnitAmount": 12}], "Date": "2026-11-01",
        "FullyPaidOnDate": "2026-11-03",
    }  # fmt: skip
    books.xero.load([row])
    (payment,) = books.payments()
    assert (payment["Amount"], payment["HasAccount"], payment["Account"]) == (12, False, {})
    assert books.delete(payment)["Invoice"]["AmountDue"] == 12

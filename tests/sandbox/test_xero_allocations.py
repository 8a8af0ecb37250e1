"""Credits set against invoices by plain HTTP: what is refused, what both sides show, and how it is taken off again."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from tests.sandbox.credit_books import Books, line, messages, state

UNKNOWN = "9ac1f7b0-0000-4000-8000-000000000000"
HAS_ALLOCATIONS = "This document cannot be edited as it has a payment or credit note allocated to it."
PAID_OFF = "The invoice you are trying to allocate to has already been paid off"
TOO_MUCH = "Credit Note cannot be allocated as amount is greater than amount outstanding"
KEYS = ("CreditNotes", "Overpayments", "Prepayments")


@pytest.fixture
def books(xero):
    return Books(xero)


# -- allocations


def test_a_part_of_a_credit_goes_to_an_invoice_and_both_show_it(books):
    invoice, note = books.invoice(), books.note(LineItems=[line(UnitAmount=50)])
    reply = books.allocate(note, invoice, 20)
    assert (reply["Amount"], reply["Invoice"]["InvoiceID"]) == (20, invoice["InvoiceID"])
    assert (reply["CreditNote"]["CreditNoteID"], "AllocationID" in reply) == (note["CreditNoteID"], False)
    read = books.read(invoice)
    assert state(read) == ("AUTHORISED", 100, 20, 0)
    (stub,) = read["CreditNotes"]
    assert (stub["CreditNoteNumber"], stub["AppliedAmount"], stub["Total"]) == ("CN-0001", 20, 60)
    note = books.read(note)
    assert (note["Status"], note["RemainingCredit"]) == ("AUTHORISED", 40)
    (allocation,) = note["Allocations"]
    assert (allocation["Amount"], allocation["Invoice"]["InvoiceNumber"]) == (20, "INV-0001")
    assert allocation["Date"] == "/Date(1795564800000+0000)/"


def test_a_credit_that_is_used_up_and_an_invoice_that_is_paid_off_are_paid_and_come_back(books):
    invoice, note = books.invoice(), books.note()
    books.allocate(note, invoice, 120)
    assert state(books.read(invoice)) == ("PAID", 0, 120, 0)
    read = books.read(note)
    assert (read["Status"], read["RemainingCredit"]) == ("PAID", 0)
    assert read["FullyPaidOnDate"] == books.read(invoice)["FullyPaidOnDate"] == "/Date(1795564800000+0000)/"
    allocation_id = read["Allocations"][0]["AllocationID"]
    reply = books.xero.call("DELETE", f"CreditNotes/{note['CreditNoteID']}/Allocations/{allocation_id}")
    gone = books.only(reply, "Allocations")
    assert (gone["AllocationID"], gone["IsDeleted"]) == (allocation_id, True)
    assert state(books.read(invoice)) == ("AUTHORISED", 120, 0, 0)
    read = books.read(note)
    assert (read["Status"], read["RemainingCredit"], read["Allocations"]) == ("AUTHORISED", 120, [])
    assert "FullyPaidOnDate" not in read
    again = books.xero.call("DELETE", f"CreditNotes/{note['CreditNoteID']}/Allocations/{allocation_id}")
    assert again.status_code == 404
    assert books.change(note, LineItems=[line(UnitAmount=10)])["RemainingCredit"] == 12


def test_one_credit_goes_to_several_invoices_in_one_call(books):
    first, second = books.invoice(), books.invoice()
    note = books.note(LineItems=[line(UnitAmount=150)])
    reply = books.send(note, books.to(first, "120.00"), books.to(second, "60.00"))
    assert [one["Amount"] for one in reply.json(parse_float=Decimal)["Allocations"]] == [120, 60]
    assert [books.read(one)["AmountDue"] for one in (first, second)] == [0, 60]
    assert books.read(note)["Status"] == "PAID"


def test_of_several_none_stays_when_one_is_refused_unless_errors_are_told_one_by_one(books):
    invoice, note = books.invoice(), books.note()
    sent = [books.to(invoice, 100), books.to(invoice, 100)]
    reply = books.send(note, *sent)
    assert reply.status_code == 400
    assert messages(reply.json()["Elements"][0]) == [TOO_MUCH]
    assert books.read(note)["Allocations"] == []
    good, bad = books.send(note, *sent, summarizeErrors="false").json()["Allocations"]
    assert (good["StatusAttributeString"], bad["StatusAttributeString"]) == ("OK", "ERROR")
    assert books.read(note)["RemainingCredit"] == 20


def test_payments_and_credits_add_up(books):
    invoice, note = books.invoice(), books.note()
    books.xero.control("invoice-facts", {"InvoiceID": invoice["InvoiceID"], "AmountPaid": "50"})
    assert books.refused_allocation(note, invoice, "70.01") == [TOO_MUCH]
    books.allocate(note, invoice, 70)
    assert state(books.read(invoice)) == ("PAID", 0, 70, 50)
    books.xero.control("invoice-facts", {"InvoiceID": invoice["InvoiceID"], "AmountPaid": "0"})
    assert state(books.read(invoice)) == ("AUTHORISED", 50, 70, 0)


def test_a_bill_takes_a_supplier_credit(books):
    bill = books.invoice(Type="ACCPAY")
    note = books.note(Type="ACCPAYCREDIT")
    assert (note["CreditNoteNumber"], note["LineItems"][0]["TaxType"]) == ("", "INPUT2")
    books.allocate(note, bill, 120)
    assert state(books.read(bill)) == ("PAID", 0, 120, 0)


# -- refusals


def test_more_than_is_due_or_left_is_refused(books):
    small, large = (
        books.invoice(LineItems=[line(UnitAmount=10)]),
        books.invoice(LineItems=[line(UnitAmount=500)]),
    )
    note = books.note()
    assert books.refused_allocation(note, small, "12.01") == [TOO_MUCH]
    assert books.refused_allocation(note, large, "120.01") == [TOO_MUCH]
    assert (books.read(note)["Allocations"], books.read(small)["AmountDue"]) == ([], 12)


def test_an_invoice_that_is_paid_off_is_refused_with_both_messages(books):
    invoice, note = books.invoice(), books.note(LineItems=[line(UnitAmount=500)])
    books.allocate(note, invoice, 120)
    assert books.refused_allocation(note, invoice, 1) == [PAID_OFF, TOO_MUCH]


def test_a_draft_of_either_kind_is_refused(books):
    assert books.refused_allocation(books.note(Status="DRAFT"), books.invoice(), 1) == [
        "Credit Note cannot be allocated as it is not of valid status"
    ]
    assert books.refused_allocation(books.note(), books.invoice(Status="DRAFT"), 1) == [
        "The invoice you are trying to allocate to is not of valid status"
    ]


def test_another_contact_currency_or_kind_of_invoice_is_refused(books):
    note = books.note()
    other = books.xero.put({"Name": "Other"}).json()["Contacts"][0]["ContactID"]
    assert books.refused_allocation(note, books.invoice(Contact={"ContactID": other}), 1) == [
        "Credit Note cannot be allocated to an invoice of a different contact"
    ]
    assert books.refused_allocation(note, books.invoice(CurrencyCode="EUR"), 1) == [
        "Credit Note cannot be allocated to an invoice in a different currency"
    ]
    assert books.refused_allocation(note, books.invoice(Type="ACCPAY"), 1) == [
        "Credit Note cannot be allocated to an incorrect invoice type"
    ]


def test_an_allocation_without_amount_invoice_or_date(books):
    invoice, note = books.invoice(), books.note()
    assert books.refused_allocation(note, invoice, 0) == ["Amount must be greater than 0"]
    assert books.refused_allocation(note, invoice, None, AppliedAmount=5) == ["Amount must be greater than 0"]
    assert books.refused_allocation(note, invoice, "x") == ["Amount is not a number"]
    assert messages(books.send(note, {"Amount": 1}).json()["Elements"][0]) == ["An invoice must be specified"]
    assert books.send(note, books.to({"InvoiceID": UNKNOWN}, 1)).status_code == 404
    assert books.send({"CreditNoteID": UNKNOWN}, books.to(invoice, 1)).status_code == 404
    assert books.send(note, books.to(invoice, 1, Date=None)).status_code == 200
    books.xero.choose(allocation_without_date="refuse", early_allocation="refuse")
    assert books.refused_allocation(note, invoice, 1, Date=None) == ["Date must be specified"]
    assert len(books.refused_allocation(note, invoice, 1, Date="2026-11-23")) == 1


def test_what_is_allocated_refuses_edits_and_voids_on_both_sides(books):
    invoice, note = books.invoice(), books.note()
    books.allocate(note, invoice, 20)
    cannot = "The status VOIDED cannot be applied to the {} because it has payments or credit notes allocated to it."
    assert books.refused(note, Reference="x") == [HAS_ALLOCATIONS]
    assert books.refused(note, Status="VOIDED") == [cannot.format("credit note")]
    reply = books.xero.call("POST", "Invoices", {"InvoiceID": invoice["InvoiceID"], "Status": "VOIDED"})
    assert messages(reply.json()["Elements"][0]) == [cannot.format("invoice")]
    books.allocate(note, invoice, 100)
    assert books.read(note)["Status"] == "PAID"
    assert books.refused(note, Reference="x") == [HAS_ALLOCATIONS]
    assert books.refused(note, Status="VOIDED") == [cannot.format("credit note")]


def test_nothing_is_allocated_or_taken_off_in_a_locked_period(books):
    invoice, note = books.invoice(), books.note()
    other = books.note()
    books.allocate(note, invoice, 20)
    books.xero.control("lock-dates", {"PeriodLockDate": "2026-11-25"})
    assert len(books.refused(other, Status="VOIDED")) == 1
    assert len(books.refused_allocation(note, invoice, 1)) == 1
    allocation_id = books.read(note)["Allocations"][0]["AllocationID"]
    reply = books.xero.call("DELETE", f"CreditNotes/{note['CreditNoteID']}/Allocations/{allocation_id}")
    assert (reply.status_code, reply.json()["ErrorNumber"]) == (400, 10)
    assert books.read(note)["RemainingCredit"] == 100
    assert len(books.refused(method="PUT", **books.body("ACCRECCREDIT"))) == 1


# -- overpayments and prepayments


def test_an_overpayment_is_made_by_a_person_and_goes_to_invoices(books):
    made = books.pay("overpay", Amount="50.00", Reference="too much")
    read = books.read(made)
    assert (read["Type"], read["Status"], read["Reference"]) == (
        "RECEIVE-OVERPAYMENT",
        "AUTHORISED",
        "too much",
    )
    assert (read["Total"], read["TotalTax"], read["LineAmountTypes"], read["RemainingCredit"]) == (
        50,
        0,
        "NoTax",
        50,
    )
    assert read["LineItems"][0]["AccountCode"] == "610"
    invoice = books.invoice()
    books.allocate(read, invoice, 30)
    shown = books.read(invoice)
    assert state(shown) == ("AUTHORISED", 90, 30, 0)
    assert [one["AppliedAmount"] for one in shown["Overpayments"]] == [30]
    assert "CreditNotes" not in shown
    assert books.refused_allocation(read, invoice, "20.01") == [
        "Overpayment cannot be allocated as the allocation amount is greater than the amount remaining on the "
        "Overpayment"
    ]
    books.allocate(read, invoice, 20)
    assert (books.read(read)["Status"], books.read(read)["RemainingCredit"]) == ("PAID", 0)
    assert [one["AppliedAmount"] for one in books.read(invoice)["Overpayments"]] == [50]


def test_a_prepayment_has_lines_and_tax_and_its_number(books):
    made = books.pay("prepay", LineItems=[line()], InvoiceNumber="PP-1")
    read = books.read(made)
    assert (read["Total"], read["TotalTax"], read["InvoiceNumber"], read["Reference"]) == (
        120,
        20,
        "PP-1",
        "PP-1",
    )
    invoice = books.invoice(LineItems=[line(UnitAmount=10)])
    assert books.refused_allocation(read, invoice, "12.01") == [
        "Prepayment cannot be allocated as amount is greater than amount outstanding"
    ]
    books.allocate(read, invoice, 12)
    assert state(books.read(invoice)) == ("PAID", 0, 12, 0)
    (allocation,) = books.read(read)["Allocations"]
    path = f"Prepayments/{read['PrepaymentID']}/Allocations/{allocation['AllocationID']}"
    assert books.xero.call("DELETE", path).status_code == 200
    assert books.read(read)["RemainingCredit"] == 120
    assert [one["InvoiceNumber"] for one in books.get("Prepayments", InvoiceNumbers="pp-1,x")] == ["PP-1"]
    assert books.get("Prepayments", InvoiceNumbers="x") == []


def test_money_spent_goes_to_bills_and_can_be_voided_while_it_is_not_used(books):
    bill, made = books.invoice(Type="ACCPAY"), books.pay("overpay", Amount=50, Type="SPEND-OVERPAYMENT")
    assert books.refused_allocation(made, books.invoice(), 1) == [
        "Overpayment cannot be allocated to an incorrect invoice type"
    ]
    books.allocate(made, bill, 1)
    void = {"OverpaymentID": made["OverpaymentID"]}
    assert books.xero.http.post("/sandbox/void-credit", json=void).status_code == 400
    (allocation,) = books.read(made)["Allocations"]
    books.xero.control("deallocate", {"AllocationID": allocation["AllocationID"]})
    assert books.xero.control("void-credit", void)["Status"] == "VOIDED"
    assert books.refused_allocation(made, bill, 1) == [
        "Overpayment cannot be allocated as it is not of valid status"
    ]


def test_a_person_makes_allocates_and_takes_off_and_the_history_names_them(books):
    invoice = books.invoice()
    fields = books.body("ACCRECCREDIT")
    note = books.xero.control("edit-credit-note", {**fields, "user": "Kim Lee"})
    named = {
        "CreditNoteID": note["CreditNoteID"],
        "InvoiceID": invoice["InvoiceID"],
        "Amount": 5,
        "user": "Kim Lee",
    }
    shown = books.xero.control("allocate", named)
    assert shown["RemainingCredit"] == 115
    books.xero.control(
        "deallocate", {"AllocationID": shown["Allocations"][0]["AllocationID"], "user": "Kim Lee"}
    )
    assert books.history(note, "CreditNotes") == ["Allocation Removed", "Allocated", "Created"]
    assert books.history(invoice, "Invoices") == ["Allocation Removed", "Credit Applied", "Created"]
    (*_, first) = books.xero.call("GET", f"CreditNotes/{note['CreditNoteID']}/History").json()[
        "HistoryRecords"
    ]
    assert (first["User"], first["Details"]) == ("Kim Lee", "CN-0001 to Acme for 120.00.")
    bad = books.xero.http.post("/sandbox/allocate", json={**named, "Amount": 500})
    assert (bad.status_code, bad.json()["error"]) == (400, TOO_MUCH)
    assert books.xero.http.post("/sandbox/deallocate", json={"AllocationID": UNKNOWN}).status_code == 404
    assert books.xero.http.post("/sandbox/overpay", json={"ContactID": books.contact_id}).status_code == 400


def test_what_is_refunded_is_no_longer_there_to_allocate(books):
    invoice = books.invoice(LineItems=[line(UnitAmount=500)])
    for credit, left in ((books.note(), 120), (books.pay("overpay", Amount="50.00"), 50)):
        name = next(one for one in ("CreditNote", "Overpayment") if f"{one}ID" in credit)
        payment = {
            name: {f"{name}ID": credit[f"{name}ID"]},
            "Account": {"Code": "090"},
            "Date": "2026-11-25",
            "Amount": 20,
        }
        assert books.xero.call("PUT", "Payments", payment).status_code == 200
        read = books.read(credit)
        assert (read["RemainingCredit"], [one["Amount"] for one in read["Payments"]]) == (left - 20, [20])
        assert len(books.refused_allocation(credit, invoice, left)) == 1
        books.allocate(credit, invoice, left - 20)
        assert books.read(credit)["Status"] == "PAID"


def test_what_a_contact_owes_follows_the_credits(books):
    def owed():
        contact = books.xero.call("GET", f"Contacts/{books.contact_id}").json(parse_float=Decimal)[
            "Contacts"
        ][0]
        return contact["Balances"]["AccountsReceivable"]["Outstanding"]

    invoice, note = books.invoice(LineItems=[line(UnitAmount=500)]), books.note()
    assert owed() == 480
    books.allocate(note, invoice, 100)
    assert owed() == 480
    (allocation,) = books.read(note)["Allocations"]
    books.xero.control("deallocate", {"AllocationID": allocation["AllocationID"]})
    books.change(note, LineItems=[line(UnitAmount=10)])
    assert owed() == 588
    books.pay("prepay", Amount=8)
    assert owed() == 580
    books.change(note, Status="VOIDED")
    assert owed() == 592


def test_after_any_walk_of_allocations_payments_and_removals_the_sums_agree(books):
    draw = random.Random(5)
    invoices = [books.invoice(LineItems=[line(UnitAmount=n)]) for n in (10, 50, 200)]
    many = [books.note(), books.note(LineItems=[line(UnitAmount=30)]), books.pay("overpay", Amount=40)]
    many.append(books.pay("prepay", LineItems=[line(UnitAmount=25)]))
    accepted = 0
    for _ in range(60):
        credit, invoice = draw.choice(many), draw.choice(invoices)
        step, cents = draw.random(), str(Decimal(draw.randint(1, 4000)) / 100)
        if step < 0.6:
            accepted += books.send(credit, books.to(invoice, cents)).status_code == 200
        elif step < 0.8:
            for one in books.read(credit)["Allocations"][:1]:
                books.xero.control("deallocate", {"AllocationID": one["AllocationID"]})
        else:
            fields = {"InvoiceID": invoice["InvoiceID"], "AmountPaid": cents}
            books.xero.http.post("/sandbox/invoice-facts", json=fields)
    assert accepted > 10
    read, shown = [books.read(one) for one in many], [books.read(one) for one in invoices]
    for one in shown:
        applied = sum(row["AppliedAmount"] for key in KEYS for row in one.get(key, []))
        assert (applied, one["AmountDue"]) == (
            one["AmountCredited"],
            one["Total"] - one["AmountPaid"] - applied,
        )
        assert (one["Status"] == "PAID") == (one["AmountDue"] == 0)
        assert one["AmountDue"] >= 0
    for one in read:
        assert one["RemainingCredit"] == one["Total"] - sum(row["Amount"] for row in one["Allocations"]) >= 0
        assert (one["Status"] == "PAID") == (one["RemainingCredit"] == 0)
    used = sum(one["Total"] - one["RemainingCredit"] for one in read)
    assert used == sum(one["AmountCredited"] for one in shown) > 0

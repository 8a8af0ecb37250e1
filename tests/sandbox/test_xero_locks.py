"""Lock dates: what may not be made, edited, paid or voided on or before them."""

from __future__ import annotations

import pytest
from xero_python import accounting
from xero_python.accounting import Contact, Invoice, LineItem
from xero_python.exceptions import AccountingBadRequestException

from tests.sandbox.test_xero_client import Client
from tests.sandbox.test_xero_invoices import Invoices

PERIOD = "The document date cannot be before the period lock date, currently set at 31-Jan-2026"
YEAR = "The document date cannot be before the end of year lock date, currently set at 31-Mar-2025"


@pytest.fixture
def invoices(xero):
    return Invoices(xero)


def lock(xero, **dates):
    return xero.control("lock-dates", dates)


def organisation(xero):
    return xero.call("GET", "Organisation").json()["Organisations"][0]


def test_the_organisation_tells_its_lock_dates(xero):
    assert not {"PeriodLockDate", "EndOfYearLockDate"} & set(organisation(xero))
    lock(xero, PeriodLockDate="2026-01-31", EndOfYearLockDate="2025-03-31")
    shown = organisation(xero)
    assert shown["PeriodLockDate"] == "/Date(1769817600000+0000)/"
    assert shown["EndOfYearLockDate"] == "/Date(1743379200000+0000)/"
    lock(xero, PeriodLockDate=None)
    assert {"PeriodLockDate", "EndOfYearLockDate"} & set(organisation(xero)) == {"EndOfYearLockDate"}
    assert xero.http.post("/sandbox/lock-dates", json={"PeriodLockDate": "soon"}).status_code == 400


@pytest.mark.parametrize("kind", ["ACCREC", "ACCPAY"])
@pytest.mark.parametrize("status", ["DRAFT", "SUBMITTED", "AUTHORISED"])
def test_nothing_is_made_on_or_before_a_lock_date(invoices, kind, status):
    lock(invoices.xero, PeriodLockDate="2026-01-31", EndOfYearLockDate="2025-03-31")
    for day, allowed in (("2026-01-30", False), ("2026-01-31", False), ("2026-02-01", True)):
        body = invoices.body(Type=kind, Date=day, Status=status)
        if allowed:
            invoices.only(invoices.send("PUT", body))
        else:
            assert invoices.refusal(**body) == [PERIOD]
    assert len(invoices.get()) == 1


def test_the_end_of_the_year_locks_by_itself(invoices):
    lock(invoices.xero, EndOfYearLockDate="2025-03-31")
    assert invoices.refusal(**invoices.body(Date="2025-03-31")) == [YEAR]
    assert invoices.make(Date="2025-04-01")


def test_what_is_in_a_locked_period_is_not_edited_moved_approved_voided_or_deleted(invoices):
    draft = invoices.make(Date="2026-01-15")
    approved = invoices.make(Date="2026-01-15", Status="AUTHORISED")
    later = invoices.make(Date="2026-02-15")
    lock(invoices.xero, PeriodLockDate="2026-01-31")
    ids = [one["InvoiceID"] for one in (draft, approved, later)]
    for which, change in (
        (0, {"Reference": "a"}), (0, {"Date": "2026-02-01"}), (0, {"Status": "AUTHORISED"}), (0, {"Status": "DELETED"}),
        (1, {"DueDate": "2026-12-01"}), (1, {"Status": "VOIDED"}), (2, {"Date": "2026-01-31"}),
    ):  # fmt: skip
        assert invoices.refusal("POST", InvoiceID=ids[which], **change) == [PERIOD], change
    assert [one["Status"] for one in invoices.get()] == ["DRAFT", "AUTHORISED", "DRAFT"]
    assert invoices.post(InvoiceID=ids[2], Reference="a")["Reference"] == "a"
    lock(invoices.xero, PeriodLockDate=None)
    assert invoices.post(InvoiceID=ids[1], Status="VOIDED")["Status"] == "VOIDED"


def test_drafts_may_be_free_of_locks_by_dialect(invoices):
    invoices.xero.choose(locked_drafts="accept")
    lock(invoices.xero, PeriodLockDate="2026-01-31")
    made = invoices.make(Date="2026-01-15")
    assert invoices.refusal("POST", InvoiceID=made["InvoiceID"], Status="AUTHORISED") == [PERIOD]
    assert invoices.post(InvoiceID=made["InvoiceID"], Status="DELETED")["Status"] == "DELETED"


def test_a_person_is_bound_by_the_lock_dates_too(invoices):
    lock(invoices.xero, PeriodLockDate="2026-01-31")
    reply = invoices.xero.http.post("/sandbox/edit-invoice", json=invoices.body(Date="2026-01-31"))
    assert (reply.status_code, reply.json()) == (400, {"error": PERIOD})


def test_payments_are_refused_in_a_locked_period(invoices):
    made = invoices.make(Date="2026-01-15", Status="AUTHORISED")
    lock(invoices.xero, PeriodLockDate="2026-01-31")
    payment = {"Invoice": {"InvoiceID": made["InvoiceID"]}, "Account": {"Code": "090"}, "Amount": 10}
    for day, status in (("2026-01-31", 400), ("2026-02-01", 200)):
        reply = invoices.xero.call("PUT", "Payments", {"Payments": [{**payment, "Date": day}]})
        assert reply.status_code == status, reply.text
        assert (PERIOD in reply.text) == (status == 400)


def test_a_batch_is_refused_as_a_whole_or_one_by_one(invoices):
    lock(invoices.xero, PeriodLockDate="2026-01-31")
    bodies = [invoices.body(Date=day) for day in ("2026-01-31", "2026-02-01")]
    assert invoices.send("PUT", *bodies).status_code == 400
    assert invoices.get() == []
    reply = invoices.send("PUT", *bodies, summarizeErrors="false")
    assert [one["StatusAttributeString"] for one in reply.json()["Invoices"]] == ["ERROR", "OK"]


def test_xero_python_reads_the_lock_date_and_is_refused(xero, monkeypatch):
    lock(xero, PeriodLockDate="2026-01-31")
    client = Client(xero.line, monkeypatch).log_in()
    (found,) = client.accounting.get_organisations(client.tenant).organisations
    assert found.period_lock_date.isoformat() == "2026-01-31"
    lines = [LineItem(description="Work", quantity=1, unit_amount=10, account_code="200")]
    sale = Invoice(type="ACCREC", contact=Contact(name="Acme"), line_items=lines, date=found.period_lock_date)
    with pytest.raises(AccountingBadRequestException) as refused:
        client.accounting.create_invoices(client.tenant, accounting.Invoices(invoices=[sale]))
    assert PERIOD in str(refused.value)

"""Invoices by plain HTTP: who is meant, which moves a status has, what may be edited, what is shown."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import pytest

NO_ID = "00000000-0000-0000-0000-000000000000"
UNKNOWN = "9ac1f7b0-0000-4000-8000-000000000000"
TAKEN = "Invoice # must be unique."


def line(**fields):
    return {"Description": "Work", "Quantity": 1, "UnitAmount": 100, "AccountCode": "200", **fields}


class Invoices:
    """Invoices of one contact, by plain HTTP."""

    def __init__(self, xero):
        self.xero = xero
        self.contact_id = xero.make()["ContactID"]

    def body(self, **fields):
        start = {
            "Type": "ACCREC",
            "Contact": {"ContactID": self.contact_id},
            "Date": "2026-11-24",
            "DueDate": "2026-12-24",
            "LineItems": [line()],
        }
        return {name: value for name, value in {**start, **fields}.items() if value is not ...}

    def send(self, method, *bodies, headers=None, **query):
        return self.xero.call(method, "Invoices", {"Invoices": list(bodies)}, headers, **query)

    def make(self, **fields):
        return self.only(self.send("PUT", self.body(**fields)))

    def post(self, **fields):
        return self.only(self.send("POST", fields))

    def only(self, reply):
        assert reply.status_code == 200, reply.text
        (one,) = reply.json(parse_float=Decimal)["Invoices"]
        return one

    def refusal(self, method="PUT", **fields):
        """The messages with which one element is refused."""
        reply = self.send(method, fields, summarizeErrors="false")
        assert reply.status_code == 200, reply.text
        (one,) = reply.json()["Invoices"]
        assert (one["StatusAttributeString"], one["HasErrors"]) == ("ERROR", True)
        return [error["Message"] for error in one["ValidationErrors"]]

    def get(self, path="", headers=None, **query):
        reply = self.xero.call("GET", f"Invoices{path}", headers=headers, **query)
        assert reply.status_code == 200, reply.text
        return reply.json(parse_float=Decimal)["Invoices"]

    def numbers(self, **query):
        return [one["InvoiceNumber"] for one in self.get(**query)]

    def in_status(self, status, **fields):
        """An invoice that has come to a status by lawful moves."""
        first = "DRAFT" if status in ("DRAFT", "DELETED") else status
        first = "AUTHORISED" if status in ("VOIDED", "PAID") else first
        made = self.make(Status=first, **fields)
        if status in ("VOIDED", "DELETED"):
            self.post(InvoiceID=made["InvoiceID"], Status=status)
        if status == "PAID":
            self.pay(made, made["Total"])
        return self.get(f"/{made['InvoiceID']}")[0]

    def pay(self, invoice, amount):
        return self.xero.control(
            "invoice-facts", {"InvoiceID": invoice["InvoiceID"], "AmountPaid": str(amount)}
        )

    def history(self, invoice, kind="Invoices"):
        path = f"{kind}/{invoice.get('InvoiceID') or invoice['ContactID']}/History"
        return self.xero.call("GET", path).json()["HistoryRecords"]


@pytest.fixture
def invoices(xero):
    return Invoices(xero)


# -- numbers


def test_a_number_is_given_where_none_is_sent_and_passes_over_those_in_use(invoices):
    invoices.make(InvoiceNumber="INV-0002")
    assert [invoices.make()["InvoiceNumber"] for _ in range(3)] == ["INV-0001", "INV-0003", "INV-0004"]


def test_a_number_that_was_not_used_because_of_an_error_is_given_to_the_next(invoices):
    assert invoices.refusal(**invoices.body(LineItems=[line(AccountCode="999")]))
    assert invoices.make()["InvoiceNumber"] == "INV-0001"


def test_put_refuses_a_number_that_is_taken_in_any_case(invoices):
    invoices.make(InvoiceNumber="SF-a")
    reply = invoices.send("PUT", invoices.body(InvoiceNumber="sf-A"))
    assert reply.status_code == 400
    (element,) = reply.json()["Elements"]
    assert (element["InvoiceID"], element["HasErrors"]) == (NO_ID, True)
    assert [one["Message"] for one in element["ValidationErrors"]] == [TAKEN]
    assert invoices.numbers() == ["SF-a"]


def test_two_of_one_number_in_one_batch_leave_one(invoices):
    twice = [invoices.body(InvoiceNumber="SF-1")] * 2
    rows = invoices.send("PUT", *twice, summarizeErrors="false").json()["Invoices"]
    assert [row["StatusAttributeString"] for row in rows] == ["OK", "ERROR"]
    assert invoices.numbers() == ["SF-1"]


def test_many_at_once_with_one_number_leave_one(invoices):
    body = invoices.body(InvoiceNumber="SF-1")
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: invoices.send("PUT", body).status_code, range(4)))
    assert sorted(replies) == [200, 400, 400, 400]


def test_post_with_a_number_edits_the_invoice_that_has_it(invoices):
    made = invoices.make(InvoiceNumber="SF-1")
    again = invoices.post(**invoices.body(InvoiceNumber="sf-1", Reference="new"))
    assert (again["InvoiceID"], again["Reference"]) == (made["InvoiceID"], "new")


def test_numbers_of_bills_need_not_be_unique_and_are_not_given(invoices):
    bill = invoices.body(Type="ACCPAY", InvoiceNumber="B1", LineItems=[line(AccountCode="429")])
    invoices.make(InvoiceNumber="B1")
    for method in ("PUT", "POST"):
        assert invoices.send(method, bill).status_code == 200
    assert [one["Type"] for one in invoices.get(InvoiceNumbers="b1")] == ["ACCREC", "ACCPAY", "ACCPAY"]
    bill = invoices.make(Type="ACCPAY", Reference="x", LineItems=[line(AccountCode="429")])
    assert not {"InvoiceNumber", "Reference"} & set(bill)


def test_an_invoice_cannot_take_the_number_of_another(invoices):
    invoices.make(InvoiceNumber="SF-1")
    other = invoices.make(InvoiceNumber="SF-2")
    assert invoices.refusal("POST", InvoiceID=other["InvoiceID"], InvoiceNumber="SF-1") == [TAKEN]


# -- statuses

MOVES = {
    "DRAFT": {"DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"},
    "SUBMITTED": {"DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"},
    "AUTHORISED": {"AUTHORISED", "VOIDED"},
    "PAID": {"PAID", "AUTHORISED"},  # to approve again what is paid is no move: it stays paid
    "VOIDED": set(),
    "DELETED": set(),
}


@pytest.mark.parametrize("status", MOVES)
def test_each_status_has_its_moves_and_no_others(invoices, status):
    for wanted in MOVES:
        made = invoices.in_status(status)
        body = {"InvoiceID": made["InvoiceID"], "Status": wanted}
        (row,) = invoices.send("POST", body, summarizeErrors="false").json()["Invoices"]
        (kept,) = invoices.get(f"/{made['InvoiceID']}")
        went = row["StatusAttributeString"] == "OK"
        assert went == (wanted in MOVES[status]), (status, wanted, row.get("ValidationErrors"))
        stays = wanted if went and status != "PAID" else status
        assert kept["Status"] == stays
        assert row["Status"] == (stays if went else wanted)  # recorded: a refusal echoes what was asked for


@pytest.mark.parametrize("status", ["PAID", "VOIDED", "DELETED", "Draft?"])
def test_an_invoice_is_created_open(invoices, status):
    assert invoices.refusal(**invoices.body(Status=status)) == ["Invoice not of valid status for creation"]


def test_deleting_what_is_approved_is_refused_in_the_recorded_words(invoices):
    made = invoices.make(Status="AUTHORISED")
    assert invoices.refusal("POST", InvoiceID=made["InvoiceID"], Status="DELETED") == [
        "Invoice not of valid status for modification"
    ]


def test_a_void_still_tells_what_was_due_in_its_reply_and_nothing_when_read(invoices):
    made = invoices.make(Status="AUTHORISED")
    void = invoices.post(InvoiceID=made["InvoiceID"], Status="VOIDED")
    assert (void["Status"], void["AmountDue"], void["Total"]) == ("VOIDED", 120, 120)
    (read,) = invoices.get(f"/{made['InvoiceID']}")
    assert (read["AmountDue"], read["Total"]) == (0, 120)


def test_payments_pay_an_invoice_and_close_it(invoices):
    made = invoices.make(Status="AUTHORISED")
    part = invoices.pay(made, "50.5")
    assert (part["Status"], str(part["AmountDue"]), str(part["AmountPaid"])) == ("AUTHORISED", "69.5", "50.5")
    assert invoices.refusal("POST", InvoiceID=made["InvoiceID"], Status="VOIDED") == [
        "The status VOIDED cannot be applied to the invoice "
        "because it has payments or credit notes allocated to it."
    ]
    assert invoices.refusal("POST", InvoiceID=made["InvoiceID"], LineItems=[line(UnitAmount=1)]) == [
        "This document cannot be edited as it has a payment or credit note allocated to it."
    ]
    assert invoices.post(InvoiceID=made["InvoiceID"], Reference="still open")["Reference"] == "still open"
    paid = invoices.pay(made, 120)
    assert (paid["Status"], paid["AmountDue"]) == ("PAID", 0)
    assert paid["FullyPaidOnDate"].startswith("/Date(")
    assert invoices.pay(made, 0)["Status"] == "AUTHORISED"
    reply = invoices.xero.http.post(
        "/sandbox/invoice-facts", json={"InvoiceID": made["InvoiceID"], "AmountPaid": 121}
    )
    assert reply.status_code == 400


# -- what an invoice needs


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Contact": ...}, "A Contact must be specified for this type of transaction"),
        ({"Contact": {}}, "A Contact must be specified for this type of transaction"),
        ({"Type": "SALE"}, "Invoice type must be ACCREC or ACCPAY"),
        ({"LineItems": []}, "One or more line items must be specified"),
        ({"LineItems": ...}, "One or more line items must be specified"),
        ({"LineItems": [{"UnitAmount": 1, "AccountCode": "200"}]}, "Description must be specified"),
        ({"CurrencyCode": "JPY"}, "Organisation is not subscribed to currency JPY"),
        ({"Date": "24/11/2026"}, "Date is not a valid date"),
        ({"Url": "not a link"}, "Url must be a valid absolute url"),
        (
            {"LineItems": [line(AccountCode="999")]},
            "Account code '999' is not a valid code for this document.",
        ),
        (
            {"LineItems": [line(AccountCode="299")]},  # archived
            "Account code '299' is not a valid code for this document.",
        ),
        (
            {"LineItems": [line(AccountCode="090")]},  # a bank account
            "Account code '090' is not a valid code for this document.",
        ),
        (
            {"LineItems": [line(TaxType="OUTPUT9")]},
            "The TaxType code 'OUTPUT9' does not exist or cannot be used for this type of transaction.",
        ),
        (
            {"LineItems": [line(TaxType="OUTPUT")]},  # a rate that is deleted
            "The TaxType code 'OUTPUT' does not exist or cannot be used for this type of transaction.",
        ),
        (
            {"LineItems": [line(TaxType="INPUT2")]},
            "The TaxType code 'INPUT2' cannot be used with account code '200'.",
        ),
        (
            {"LineItems": [line(DiscountRate=101)]},
            "The discount rate '101' is invalid. Discount must not be greater than the line total.",
        ),
        ({"LineItems": [line(UnitAmount="ten")]}, "UnitAmount is not a number"),
        ({"LineItems": [line(ItemCode="nothing")]}, "Item code 'nothing' is not valid"),
        (
            {"LineItems": [line(LineAmount=99)]},
            "The line total 99.00 does not match the expected line total 100.00",
        ),
    ],
)
def test_what_is_wrong_is_said(invoices, fields, message):
    assert message in invoices.refusal(**invoices.body(**fields))
    assert invoices.get() == []


@pytest.mark.parametrize("status", ["SUBMITTED", "AUTHORISED"])
def test_approval_asks_for_more_than_a_draft(invoices, status):
    bare = {"LineItems": [{"Description": "Work", "UnitAmount": 5}], "DueDate": ...}
    made = invoices.make(**bare)
    assert ("DueDate" in made, made["LineItems"][0].get("AccountCode")) == (False, None)
    expected = ["Account code must be specified", "Invoice due date must be specified"]
    assert invoices.refusal(**invoices.body(**bare, Status=status)) == expected
    assert invoices.refusal("POST", InvoiceID=made["InvoiceID"], Status=status) == expected


@pytest.mark.parametrize(
    ("terms", "due"),
    [
        ({"Day": 30, "Type": "DAYSAFTERBILLDATE"}, "2026-02-27"),
        ({"Day": 10, "Type": "DAYSAFTERBILLMONTH"}, "2026-02-10"),
        ({"Day": 31, "Type": "OFCURRENTMONTH"}, "2026-01-31"),
        ({"Day": 31, "Type": "OFFOLLOWINGMONTH"}, "2026-02-28"),
    ],
)
def test_payment_terms_of_the_contact_give_the_due_date(invoices, terms, due):
    contact = invoices.xero.make(Name="Terms", PaymentTerms={"Sales": terms})
    made = invoices.make(
        Contact={"ContactID": contact["ContactID"]}, Date="2026-01-28", DueDate=..., Status="AUTHORISED"
    )
    assert made["DueDateString"] == f"{due}T00:00:00"


def test_without_a_date_it_is_the_day_of_the_organisation(invoices):
    invoices.xero.load([{"OrganisationID": UNKNOWN, "Name": "Acme NZ", "Timezone": "NEWZEALANDSTANDARDTIME"}])
    invoices.xero.control("clock", {"now": "2026-11-24T12:30:00+00:00"})
    invoices.xero.log_in()
    assert invoices.make(Date=...)["DateString"] == "2026-11-25T00:00:00"


def test_nothing_moves_into_or_within_a_locked_period(invoices):
    made = invoices.make(Date="2026-01-31")
    organisation = next(row for row in invoices.xero.dump_of("organisation"))
    invoices.xero.load([{**organisation, "PeriodLockDate": "2026-01-31"}])
    message = "The document date cannot be before the period lock date, currently set at 31-Jan-2026"
    assert invoices.refusal(**invoices.body(Date="2026-01-31")) == [message]
    assert invoices.refusal("POST", InvoiceID=made["InvoiceID"], Date="2026-02-01") == [message]
    assert invoices.make(Date="2026-02-01")


@pytest.mark.parametrize("spelling", ["2026-11-24", "/Date(1795478400000)/", "2026-11-24T00:00:00"])
def test_a_date_is_read_as_clients_spell_it(invoices, spelling):
    made = invoices.make(Date=spelling)
    assert (made["Date"], made["DateString"]) == ("/Date(1795478400000+0000)/", "2026-11-24T00:00:00")


# -- the contact


def test_an_unknown_contact_or_invoice_is_404_for_the_whole(invoices):
    for body in (
        invoices.body(Contact={"ContactID": UNKNOWN}),
        {"InvoiceID": UNKNOWN, "Reference": "x"},
    ):
        reply = invoices.send("POST", invoices.body(), body, summarizeErrors="false")
        assert (reply.status_code, reply.content) == (404, b"")
    assert invoices.get() == []


def test_an_archived_contact_gets_no_invoice(invoices):
    invoices.xero.post({"ContactID": invoices.contact_id, "ContactStatus": "ARCHIVED"})
    (message,) = invoices.refusal(**invoices.body())
    assert "matched an archived contact" in message


def test_a_contact_may_be_named_and_is_made_if_there_is_none(invoices):
    assert invoices.make(Contact={"Name": "ACME"})["Contact"]["ContactID"] == invoices.contact_id
    made = invoices.make(Contact={"Name": "Newcomer"})
    assert made["Contact"]["Name"] == "Newcomer"
    assert len(invoices.xero.get()) == 2


def test_other_fields_of_the_contact_change_it_and_remove_persons_not_named(invoices):
    contact = invoices.xero.make(Name="Persons", ContactPersons=[{"FirstName": "Ann"}])
    given = {"ContactID": contact["ContactID"]}
    invoices.make(Contact=given)
    assert invoices.xero.get(f"Contacts/{contact['ContactID']}")[0]["ContactPersons"] != []
    invoices.make(Contact={**given, "EmailAddress": "new@acme.test"})
    (after,) = invoices.xero.get(f"Contacts/{contact['ContactID']}")
    assert (after["EmailAddress"], after["ContactPersons"]) == ("new@acme.test", [])


def test_a_refused_invoice_leaves_its_contact_as_it_was(invoices):
    bad = invoices.body(Contact={"Name": "Newcomer"}, LineItems=[line(AccountCode="999")])
    assert invoices.refusal(**bad)
    assert [contact["Name"] for contact in invoices.xero.get()] == ["Acme"]


def test_who_is_invoiced_is_a_customer_and_its_stamp_stays(invoices):
    (before,) = invoices.xero.get()
    invoices.xero.control("clock", {"move_s": 5})
    invoices.make()
    (after,) = invoices.xero.get()
    assert (before["IsCustomer"], after["IsCustomer"]) == (False, True)
    assert after["UpdatedDateUTC"] == before["UpdatedDateUTC"]


# -- edits


def ids(invoice):
    return [one["LineItemID"] for one in invoice["LineItems"]]


def test_lines_with_their_ids_stay_and_all_others_are_made_anew(invoices):
    made = invoices.make(LineItems=[line(Description=name) for name in "abc"])
    first, second, _ = ids(made)
    lines = [
        {"LineItemID": second, "Description": "b", "UnitAmount": 7},
        line(Description="a"),
        line(Description="d"),
    ]
    after = invoices.post(InvoiceID=made["InvoiceID"], LineItems=lines)
    assert [one["Description"] for one in after["LineItems"]] == ["b", "a", "d"]
    assert ids(after)[0] == second
    assert first not in ids(after)
    assert after["SubTotal"] == 207


def test_an_edit_without_lines_keeps_them(invoices):
    made = invoices.make()
    after = invoices.post(InvoiceID=made["InvoiceID"], Reference="x")
    assert (ids(after), after["Total"]) == (ids(made), made["Total"])


def test_what_is_approved_may_be_edited_until_it_is_paid(invoices):
    made = invoices.make(Status="AUTHORISED")
    after = invoices.post(InvoiceID=made["InvoiceID"], LineItems=[line(UnitAmount=50)])
    assert (after["Status"], after["Total"], after["AmountDue"]) == ("AUTHORISED", 60, 60)


def test_the_way_of_amounts_may_change_and_the_tax_follows(invoices):
    made = invoices.make()
    inclusive = invoices.post(InvoiceID=made["InvoiceID"], LineAmountTypes="Inclusive")
    assert (inclusive["SubTotal"], inclusive["Total"]) == (Decimal("83.33"), 100)
    assert ids(inclusive) == ids(made)


def test_sent_to_contact_is_for_what_is_approved(invoices):
    made = invoices.make(SentToContact=True)
    assert made["SentToContact"] is False
    after = invoices.post(InvoiceID=made["InvoiceID"], Status="AUTHORISED", SentToContact=True)
    assert after["SentToContact"] is True


def test_an_update_by_the_path_needs_no_id_in_the_body(invoices):
    made = invoices.make()
    for name in (made["InvoiceID"], made["InvoiceNumber"]):
        reply = invoices.xero.call("POST", f"Invoices/{name}", {"Invoices": [{"Reference": name}]})
        assert reply.json()["Invoices"][0]["Reference"] == name
    assert invoices.xero.call("POST", f"Invoices/{UNKNOWN}", {"Reference": "x"}).status_code == 404


def test_a_line_takes_what_it_leaves_open_from_its_item(invoices):
    sales = {"UnitPrice": 12.5, "AccountCode": "260", "TaxType": "RROUTPUT"}
    item = {"Code": "W-1", "Name": "Widget", "Description": "A widget", "SalesDetails": sales}
    assert invoices.xero.call("PUT", "Items", {"Items": [item]}).status_code == 200
    (one,) = invoices.make(LineItems=[{"ItemCode": "w-1", "Quantity": 2}])["LineItems"]
    assert (one["Description"], one["UnitAmount"], one["AccountCode"]) == (
        "A widget",
        Decimal("12.50"),
        "260",
    )
    assert (one["TaxType"], one["TaxAmount"], one["Item"]["Code"]) == ("RROUTPUT", Decimal("1.25"), "W-1")
    (own,) = invoices.make(LineItems=[line(ItemCode="W-1", UnitAmount=1)])["LineItems"]
    assert (own["Description"], own["UnitAmount"], own["AccountCode"]) == ("Work", 1, "200")


# -- batches, faults, keys


def test_a_refused_batch_saves_nothing_and_single_errors_save_the_good(invoices):
    good, bad = invoices.body(InvoiceNumber="G"), invoices.body(Type="?", InvoiceNumber="B")
    reply = invoices.send("PUT", good, bad)
    assert (reply.status_code, len(reply.json()["Elements"]), invoices.get()) == (400, 1, [])
    rows = invoices.send("PUT", good, bad, summarizeErrors="false").json()["Invoices"]
    assert [(row["InvoiceNumber"], row["StatusAttributeString"]) for row in rows] == [
        ("G", "OK"),
        ("B", "ERROR"),
    ]
    assert invoices.numbers() == ["G"]


@pytest.mark.parametrize(
    ("kind", "kept", "shown"),
    [
        ("partial", ["1", "2"], 500),
        ("short", ["1", "2", "3", "4"], ["1", "2", "3"]),
        ("reordered", ["1", "2", "3", "4"], ["4", "3", "2", "1"]),
        ("500", [], 500),
        ("500_applied", ["1", "2", "3", "4"], 500),
        ("503", [], 503),
        ("429", [], 429),
    ],
)
def test_a_batch_meets_each_fault(invoices, kind, kept, shown):
    bodies = [invoices.body(InvoiceNumber=name) for name in "1234"]
    invoices.xero.control("faults", {"kind": kind, "method": "PUT"})
    reply = invoices.send("PUT", *bodies)
    told = reply.status_code
    if told == 200:
        told = [one["InvoiceNumber"] for one in reply.json()["Invoices"]]
    assert told == shown
    assert invoices.numbers() == kept
    (row,) = [row for row in invoices.xero.log() if row["method"] == "PUT" and "Invoices" in row["path"]]
    made = [change for change in row["changes"] if change[:2] == ["create", "invoice"]]
    assert (row["applied"], len(made)) == (bool(kept), len(kept))


def test_a_late_invoice_comes_after_its_time_and_once_under_its_key(invoices):
    invoices.xero.control("faults", {"kind": "late", "method": "PUT", "after_s": 60})
    key = {"Idempotency-Key": "k"}
    body = invoices.body(InvoiceNumber="SF-1")
    with pytest.raises(httpx.RemoteProtocolError):
        invoices.send("PUT", body, headers=key)
    assert invoices.get() == []
    assert invoices.send("PUT", body, headers=key).status_code == 200  # before the late one arrives
    invoices.xero.control("clock", {"move_s": 61})
    late, ends = [], time.monotonic() + 5
    while not late and time.monotonic() < ends:
        late = [row for row in invoices.xero.log() if row["fault"] == "late"]
    assert [row["note"] for row in late] == ["replay"]
    assert invoices.numbers() == ["SF-1"]


def test_a_repeat_with_the_same_key_makes_one(invoices):
    body, key = invoices.body(), {"Idempotency-Key": "k"}
    first, second = (invoices.send("PUT", body, headers=key) for _ in range(2))
    assert first.content == second.content
    assert len(invoices.get()) == 1


# -- lists


def test_a_list_without_page_has_no_lines_and_a_stub_of_the_contact(invoices):
    made = invoices.make()
    (bare,) = invoices.get()
    (paged,) = invoices.get(page=1)
    assert (bare["LineItems"], bare["Contact"]["Name"]) == ([], "Acme")
    assert ids(paged) == ids(made)
    assert "EmailAddress" not in paged["Contact"]
    (one,) = invoices.get(f"/{made['InvoiceNumber']}")
    assert one["Contact"]["ContactStatus"] == "ACTIVE"
    (summary,) = invoices.get(summaryOnly="true")
    assert not {"LineItems", "Payments"} & set(summary)
    assert summary["Total"] == 120


def test_pages_have_a_pagination_block_and_give_each_once(invoices):
    bodies = [invoices.body() for _ in range(7)]
    invoices.send("PUT", *bodies)
    reply = invoices.xero.call("GET", "Invoices", page=2, pageSize=3).json()
    assert reply["pagination"] == {"page": 2, "pageSize": 3, "pageCount": 3, "itemCount": 7}
    seen = [number for page in (1, 2, 3, 4) for number in invoices.numbers(page=page, pageSize=3)]
    assert seen == [f"INV-000{n}" for n in range(1, 8)]


def test_a_list_is_narrowed_in_every_way(invoices):
    other = invoices.xero.make(Name="Other")["ContactID"]
    one = invoices.make(InvoiceNumber="A-1", Reference="red", Date="2026-01-01")
    two = invoices.make(InvoiceNumber="A-2", Status="AUTHORISED", Contact={"ContactID": other})
    invoices.make(Type="ACCPAY", InvoiceNumber="B-1", LineItems=[line(AccountCode="429")])
    asked = {
        ("A-1",): [
            {"IDs": one["InvoiceID"]},
            {"InvoiceNumbers": "a-1,nothing"},
            {"searchTerm": "RED"},
            {"where": 'Reference=="RED"'},
            {"where": 'InvoiceNumber=="a-1" AND Type=="ACCREC"'},
            {"where": "Date<DateTime(2026,02,01)"},
            {"where": 'Status=="DRAFT" AND Type=="ACCREC"'},
            {"where": 'InvoiceNumber.StartsWith("A-") AND Contact.Name=="acme"'},
        ],
        ("A-2",): [
            {"ContactIDs": other},
            {"Statuses": "AUTHORISED,PAID"},
            {"where": f'Contact.ContactID==Guid("{other}")'},
            {"where": 'AmountDue>=120 AND Type=="ACCREC" AND Status!="DRAFT"'},
        ],
        ("A-1", "A-2"): [
            {"where": 'Type=="ACCREC"'},
            {"IDs": f"{one['InvoiceID']},{two['InvoiceID']}"},
            {"order": "InvoiceNumber ASC", "where": 'Type=="ACCREC"'},
        ],
        ("B-1", "A-2", "A-1"): [{"order": "InvoiceNumber DESC"}, {"order": "InvoiceNumber DESC", "page": 1}],
        (): [{"InvoiceNumbers": "nothing"}, {"Statuses": "VOIDED"}, {"ContactIDs": UNKNOWN}],
    }
    for numbers, queries in asked.items():
        for query in queries:
            assert invoices.numbers(**query) == list(numbers), query


def test_a_list_gives_what_changed_since(invoices):
    invoices.make(InvoiceNumber="old")
    kept = invoices.make(InvoiceNumber="kept")
    invoices.xero.control("clock", {"move_s": 600})
    now = invoices.xero.control("clock")["now"][:19]
    invoices.make(InvoiceNumber="new")
    invoices.post(InvoiceID=kept["InvoiceID"], Reference="x")
    for query in ({}, {"page": 1}, {"where": 'Type=="ACCREC"', "page": 1}):
        rows = invoices.get(headers={"If-Modified-Since": now}, **query)
        assert [row["InvoiceNumber"] for row in rows] == ["kept", "new"]
    rows = invoices.get(headers={"If-Modified-Since": now}, InvoiceNumbers="old,new")
    assert [row["InvoiceNumber"] for row in rows] == ["new"]
    assert invoices.xero.call("GET", "Invoices", headers={"If-Modified-Since": "soon"}).status_code == 412


def test_only_the_own_are_listed_when_asked(invoices):
    invoices.make(InvoiceNumber="ours")
    invoices.xero.control("edit-invoice", invoices.body(InvoiceNumber="theirs"))
    assert invoices.numbers(createdByMyApp="true") == ["ours"]
    assert invoices.numbers() == ["ours", "theirs"]


def test_an_unknown_field_in_a_query_is_refused_with_its_place(invoices):
    reply = invoices.xero.call("GET", "Invoices", where='Nickname=="x"')
    assert reply.json()["Message"] == "No property or field 'Nickname' exists in type 'Invoice' (at index 0)"


def test_an_app_without_the_scope_sees_no_invoices(invoices):
    other = invoices.xero.control("clients", {"name": "other", "scopes": "accounting.contacts"})
    invoices.xero.log_in(client_id=other["client_id"], client_secret=other["client_secret"])
    assert invoices.xero.call("GET", "Invoices").status_code == 401


# -- history, and people


def test_history_tells_who_did_what_newest_first(invoices):
    made = invoices.make(InvoiceNumber="SF-1")
    key = {"InvoiceID": made["InvoiceID"]}
    invoices.xero.control("edit-invoice", {**key, "Reference": "by hand", "user": "Jo Bloggs"})
    invoices.post(**key, Status="AUTHORISED")
    invoices.xero.control("edit-invoice", {**key, "Status": "VOIDED"})
    rows = invoices.history(made)
    assert [(row["Changes"], row["User"]) for row in rows] == [
        ("Voided", "Pat Morgan"),
        ("Approved", "Reconcile sandbox"),
        ("Edited", "Jo Bloggs"),
        ("Created", "Reconcile sandbox"),
    ]
    assert rows[0]["Details"] == "SF-1 to Acme for 120.00."
    assert rows[0]["DateUTC"] == invoices.get(f"/{made['InvoiceID']}")[0]["UpdatedDateUTC"]


def test_the_user_of_an_app_is_the_name_under_which_it_is_answered(invoices):
    other = invoices.xero.control("clients", {"name": "Another app"})
    invoices.xero.log_in(client_id=other["client_id"], client_secret=other["client_secret"])
    reply = invoices.send("PUT", invoices.body())
    (row,) = invoices.history(reply.json()["Invoices"][0])
    assert (row["User"], reply.json()["ProviderName"]) == ("Another app", "Another app")


def test_contacts_have_a_history_too(invoices):
    contact = {"ContactID": invoices.contact_id}
    invoices.xero.control("edit-contact", {**contact, "EmailAddress": "a@acme.test", "user": "Jo"})
    invoices.xero.post({**contact, "ContactStatus": "ARCHIVED"})
    rows = invoices.history(contact, "Contacts")
    assert [(row["Changes"], row["User"]) for row in rows] == [
        ("Archived", "Reconcile sandbox"),
        ("Edited", "Jo"),
        ("Created", "Reconcile sandbox"),
    ]


def test_a_person_may_restore_an_archived_contact_where_an_app_may_not(invoices):
    contact = {"ContactID": invoices.contact_id}
    invoices.xero.post({**contact, "ContactStatus": "ARCHIVED"})
    assert invoices.xero.post({**contact, "ContactStatus": "ACTIVE"}).status_code == 400
    invoices.xero.control("edit-contact", {**contact, "ContactStatus": "ACTIVE"})
    assert invoices.history(contact, "Contacts")[0]["Changes"] == "Restored"
    assert invoices.make()


def test_a_refused_write_leaves_no_history(invoices):
    made = invoices.make()
    edit = {"InvoiceID": made["InvoiceID"], "Reference": "x"}
    assert invoices.send("POST", edit, invoices.body(Type="?")).status_code == 400
    assert [row["Changes"] for row in invoices.history(made)] == ["Created"]


def test_notes_are_kept_with_the_history(invoices):
    made = invoices.make()
    path = f"Invoices/{made['InvoiceID']}/History"
    reply = invoices.xero.call("PUT", path, {"HistoryRecords": [{"Details": "Seen"}]}).json()
    assert reply["HistoryRecords"][0]["Details"] == "Seen"
    assert "+" not in reply["HistoryRecords"][0]["DateUTC"]  # recorded
    (note, _) = invoices.history(made)
    assert (note["Details"], note["User"]) == ("Seen", "System Generated")
    assert invoices.xero.call("PUT", path, {"HistoryRecords": [{"Details": "x" * 2501}]}).status_code == 400
    assert invoices.xero.call("GET", f"Invoices/{UNKNOWN}/History").status_code == 404


def test_all_histories_can_be_had_at_once(invoices):
    made = invoices.make()
    rows = invoices.xero.histories()
    assert [(row["RecordID"], row["Changes"]) for row in rows if row["RecordID"] == made["InvoiceID"]] == [
        (made["InvoiceID"], "Created")
    ]


def test_what_a_person_may_not_do_is_refused(invoices):
    made = invoices.make(Status="AUTHORISED")
    body = {"InvoiceID": made["InvoiceID"], "Status": "DELETED"}
    reply = invoices.xero.http.post("/sandbox/edit-invoice", json=body)
    assert reply.status_code == 400
    assert "valid status" in reply.json()["error"]


# -- dump and load


def rows_of(text):
    return [json.loads(row, parse_float=Decimal) for row in text.splitlines()]


def test_dump_and_load_carry_invoices_and_items_over(open_xero, tmp_path):
    first, second = open_xero(tmp_path / "one"), open_xero(tmp_path / "two")
    invoices = Invoices(first)
    first.call("PUT", "Items", {"Items": [{"Code": "W", "SalesDetails": {"UnitPrice": 0.125}}]}, unitdp=4)
    made = invoices.make(LineItems=[line(ItemCode="W", DiscountRate=12.5, Quantity=3)], Status="AUTHORISED")
    invoices.pay(made, 10)
    second.load_text(first.dump_text())
    assert rows_of(second.dump_text()) == rows_of(first.dump_text())
    (there,) = second.call("GET", f"Invoices/{made['InvoiceID']}").json(parse_float=Decimal)["Invoices"]
    (here,) = invoices.get(f"/{made['InvoiceID']}")
    assert there == here

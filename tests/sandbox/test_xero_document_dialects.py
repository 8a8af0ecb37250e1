"""What nobody could confirm about invoices and their history, under each value of its switch."""

from __future__ import annotations

import time

import pytest

from sandbox.xero.switches import SWITCHES
from tests.sandbox.test_xero_invoices import UNKNOWN, Invoices, ids, line


@pytest.fixture
def invoices(xero):
    return Invoices(xero)


def status_of(invoices, method="PUT", **fields):
    return invoices.send(method, fields).status_code


@pytest.mark.parametrize("name", sorted(switch.name for switch in SWITCHES))
def test_an_invoice_that_is_read_and_written_back_stays_as_it_is(xero, name):
    (switch,) = [switch for switch in SWITCHES if switch.name == name]
    for value in switch.values:
        xero.control("reset", {})
        xero.choose(**{name: value})
        invoices = Invoices(xero)
        lines = [line(UnitAmount=12.3456, Quantity=3, DiscountRate=7), line(Description="b", UnitAmount=0.05)]
        reply = invoices.send("PUT", invoices.body(LineItems=lines, Status="AUTHORISED"), unitdp=4)
        path = f"/{invoices.only(reply)['InvoiceID']}"
        (before,) = invoices.get(path, unitdp=4)
        text = xero.call("GET", f"Invoices{path}", unitdp=4).text
        if switch.name == "authorised_edits" and value == "none":
            continue
        back = xero.http.post(
            f"/api.xro/2.0/Invoices{path}", content=text, headers=xero.headers, params={"unitdp": 4}
        )
        assert back.status_code == 200, back.text
        (after,) = invoices.get(path, unitdp=4)
        moves = {"UpdatedDateUTC": "", "UpdatedDateUTCString": "", "Contact": ""}
        assert {**after, **moves} == {**before, **moves}, (name, value)


@pytest.mark.parametrize(("rule", "status"), [("insensitive", 400), ("sensitive", 200)])
def test_numbers_compare_by_dialect(invoices, rule, status):
    invoices.xero.choose(invoice_number_case=rule)
    invoices.make(InvoiceNumber="SF-a")
    assert status_of(invoices, **invoices.body(InvoiceNumber="SF-A")) == status


@pytest.mark.parametrize(
    ("rule", "freed"), [("taken", []), ("freed_by_delete", ["DELETED"]), ("freed", ["DELETED", "VOIDED"])]
)
@pytest.mark.parametrize("status", ["DELETED", "VOIDED", "PAID"])
def test_a_closed_invoice_keeps_its_number_or_frees_it(invoices, rule, freed, status):
    invoices.xero.choose(number_of_closed=rule)
    closed = invoices.in_status(status, InvoiceNumber="SF-1")
    for method in ("POST", "PUT"):
        sent = status_of(invoices, method, **invoices.body(InvoiceNumber="SF-1"))
        # the first that goes through takes the number again; PUT is then refused
        assert sent == (200 if status in freed and method == "POST" else 400)
    assert len(invoices.get(InvoiceNumbers="SF-1")) == 1 + (status in freed)
    assert invoices.get(f"/{closed['InvoiceID']}")[0]["Status"] == status


def test_put_may_edit_the_invoice_that_has_the_number(invoices):
    made = invoices.make(InvoiceNumber="SF-1")
    invoices.xero.choose(put_existing_number="updates")
    again = invoices.make(InvoiceNumber="SF-1", Reference="changed")
    assert (again["InvoiceID"], again["Reference"]) == (made["InvoiceID"], "changed")


def test_the_words_for_a_taken_number_may_differ(invoices):
    invoices.make(InvoiceNumber="SF-1")
    invoices.xero.choose(number_taken_wording="other")
    (message,) = invoices.refusal(**invoices.body(InvoiceNumber="SF-1"))
    assert message == "Invoice number SF-1 is already in use. Enter another number."


@pytest.mark.parametrize(
    ("switch", "value", "status", "edit", "reply"),
    [
        ("submitted_to_draft", "allow", "SUBMITTED", {"Status": "DRAFT"}, 200),
        ("submitted_to_draft", "refuse", "SUBMITTED", {"Status": "DRAFT"}, 400),
        ("authorised_edits", "all", "AUTHORISED", {"Reference": "x"}, 200),
        ("authorised_edits", "none", "AUTHORISED", {"Reference": "x"}, 400),
        ("authorised_edits", "none", "AUTHORISED", {"Status": "VOIDED"}, 200),
        ("authorised_edits", "none", "DRAFT", {"Reference": "x"}, 200),
        ("paid_edits", "some", "PAID", {"Reference": "x"}, 200),
        ("paid_edits", "some", "PAID", {"Date": "2026-01-01"}, 400),
        ("paid_edits", "none", "PAID", {"Reference": "x"}, 400),
    ],
)
def test_edits_are_allowed_by_dialect(invoices, switch, value, status, edit, reply):
    made = invoices.in_status(status)
    invoices.xero.choose(**{switch: value})
    assert status_of(invoices, "POST", InvoiceID=made["InvoiceID"], **edit) == reply


def test_a_missing_due_date_may_be_the_date(invoices):
    bare = invoices.body(DueDate=..., Status="AUTHORISED")
    assert status_of(invoices, **bare) == 400
    invoices.xero.choose(due_date_missing="date")
    assert invoices.only(invoices.send("PUT", bare))["DueDateString"] == "2026-11-24T00:00:00"


def test_an_unknown_contact_may_be_an_error_of_its_element(invoices):
    invoices.xero.choose(unknown_contact_in_invoice="error")
    assert invoices.refusal(**invoices.body(Contact={"ContactID": UNKNOWN})) == [
        "The contact could not be found"
    ]


def test_an_archived_contact_may_get_an_invoice(invoices):
    invoices.xero.post({"ContactID": invoices.contact_id, "ContactStatus": "ARCHIVED"})
    assert status_of(invoices, **invoices.body()) == 400
    invoices.xero.choose(archived_contact_in_invoice="accept")
    assert status_of(invoices, **invoices.body()) == 200


def test_other_fields_of_the_contact_may_be_passed_over(invoices):
    invoices.xero.choose(contact_in_invoice="ignored")
    invoices.make(Contact={"ContactID": invoices.contact_id, "EmailAddress": "new@acme.test"})
    assert "EmailAddress" not in invoices.xero.get()[0]


@pytest.mark.parametrize(("places", "price"), [({}, "0.01"), ({"unitdp": 4}, "0.0149")])
def test_lines_that_are_not_sent_may_be_made_anew_and_lose_places(invoices, places, price):
    lines = [line(UnitAmount=0.0149, Quantity=100)]
    made = invoices.only(invoices.send("PUT", invoices.body(LineItems=lines), unitdp=4))
    invoices.xero.choose(lines_not_sent="remade")
    edit = {"InvoiceID": made["InvoiceID"], "Reference": "x"}
    after = invoices.only(invoices.send("POST", edit, **places))
    assert ids(after) != ids(made)
    (read,) = invoices.get(f"/{made['InvoiceID']}", unitdp=4)
    assert str(read["LineItems"][0]["UnitAmount"].normalize()) == price
    assert str(read["SubTotal"]) == ("1.49" if places else "1.00")


def test_a_line_amount_that_does_not_fit_may_be_passed_over(invoices):
    invoices.xero.choose(line_amount_mismatch="ignore")
    assert invoices.make(LineItems=[line(LineAmount=99)])["SubTotal"] == 100


@pytest.mark.parametrize(("rule", "shown"), [("listed", ["A", "B"]), ("hidden", ["A"])])
def test_the_deleted_are_listed_or_hidden(invoices, rule, shown):
    invoices.xero.choose(deleted_invoices=rule)
    invoices.in_status("VOIDED", InvoiceNumber="A")
    gone = invoices.in_status("DELETED", InvoiceNumber="B")
    for query in ({}, {"page": 1}, {"where": 'Type=="ACCREC"'}):
        assert invoices.numbers(**query) == shown
    assert invoices.numbers(Statuses="DELETED") == ["B"]
    assert invoices.numbers(IDs=gone["InvoiceID"]) == ["B"]


@pytest.mark.parametrize(("rule", "status"), [("accept", 200), ("refuse", 400)])
def test_a_filter_on_reference_is_known_or_not(invoices, rule, status):
    invoices.xero.choose(reference_filter=rule)
    assert invoices.xero.call("GET", "Invoices", where='Reference=="x"').status_code == status


@pytest.mark.parametrize(("rule", "pages"), [("pages", True), ("whole", False)])
def test_a_summary_pages_by_itself_or_not(invoices, rule, pages):
    invoices.xero.choose(summary_only=rule)
    for path in ("Invoices", "Contacts"):
        assert ("pagination" in invoices.xero.call("GET", path, summaryOnly="true").json()) is pages


@pytest.mark.parametrize("moves", [True, False])
def test_a_payment_moves_the_stamp_or_not(invoices, moves):
    invoices.xero.choose(payment_moves_stamp=moves)
    made = invoices.make(Status="AUTHORISED")
    time.sleep(0.002)
    assert (invoices.pay(made, 1)["UpdatedDateUTC"] != made["UpdatedDateUTC"]) is moves


@pytest.mark.parametrize(
    ("switches", "users"),
    [
        ({}, ["Jo", "Reconcile sandbox"]),
        ({"history_user_of_api": "system"}, ["Jo", "System Generated"]),
        ({"history_of_api_writes": False}, ["Jo"]),
    ],
)
def test_history_tells_of_apps_by_dialect_and_always_of_people(invoices, switches, users):
    invoices.xero.choose(**switches)
    made = invoices.make()
    invoices.xero.control("edit-invoice", {"InvoiceID": made["InvoiceID"], "Reference": "x", "user": "Jo"})
    assert [row["User"] for row in invoices.history(made)] == users


def test_history_may_name_the_fields(invoices):
    invoices.xero.choose(history_details="fields")
    made = invoices.make()
    invoices.post(InvoiceID=made["InvoiceID"], Reference="x", Url="https://acme.test/1")
    assert invoices.history(made)[0]["Details"].endswith("Changed: Reference, Url.")
    contact = {"ContactID": invoices.contact_id}
    invoices.xero.post({**contact, "EmailAddress": "a@acme.test"})
    assert invoices.history(contact, "Contacts")[0]["Details"] == "Contact Acme. Changed: EmailAddress."


@pytest.mark.parametrize(("rule", "moves"), [("silent", False), ("stamped", True)])
def test_a_merge_takes_the_invoices_along(invoices, rule, moves):
    invoices.xero.choose(merged_invoices=rule)
    made, survivor = invoices.make(), invoices.xero.make(Name="Other")["ContactID"]
    time.sleep(0.002)
    invoices.xero.control("merge-contacts", {"loser": invoices.contact_id, "survivor": survivor})
    (after,) = invoices.get(ContactIDs=survivor)
    assert (after["InvoiceID"], after["Contact"]["Name"]) == (made["InvoiceID"], "Other")
    assert (after["UpdatedDateUTC"] != made["UpdatedDateUTC"]) is moves

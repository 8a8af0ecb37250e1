"""What settles Xero's invoices is shown in Salesforce, through the whole product: set once, put back, withdrawn."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from settled_pair import Till, settling
from whole_pair import Pair

from pipelines.plans import Planned

pytestmark = pytest.mark.in_turn(1)

D = Decimal
DEAL = "Larkfield"
ON_DEAL = "Xero_Invoice_Amount_Paid__c, Xero_Invoice_Amount_Credited__c, Xero_Invoice_Amount_Due__c"
ON_ACCOUNT = "Xero_Outstanding__c, Xero_Overdue__c, Xero_Credit__c, Xero_Last_Payment__c, Xero_Balances__c"
# As little as Xero might tell: stamps that stay, lists out of order, pages of its own size.
ODD = {
    "payment_moves_stamp": False,
    "if_modified_since": "exclusive_second",
    "page_size": "ignored",
    "default_order": "name",
    "batch_in_payment": "texts",
}
ROOT = Path(__file__).parents[2]
# Nothing is tidied up: the reply to the new records arrives, and is not kept.
KILLED = """
import os, sys
from pipelines.salesforce.client import SalesforceClient
send = SalesforceClient.send
def die(self, method, path, body):
    reply = send(self, method, path, body)
    if "Xero_Invoice__c" in path:
        os._exit(9)
    return reply
SalesforceClient.send = die
from flows.cli import main
main(sys.argv[1:])
"""
EVERYTHING = ("Xero_Invoice__c", "Account", "Opportunity")


def of(planned: Planned) -> list[tuple[str, str]]:
    return sorted(planned.operations.select("object", "action").iter_rows())


def settle(pair: Pair, *, full: bool = False) -> Planned:
    """One plan, its apply, and a second plan that shows nothing; gives the first."""
    planned = pair.plan(full=full)
    outcomes = pair.apply(planned)
    assert outcomes["outcome"].unique().to_list() in ([], ["confirmed"])
    again = pair.plan()
    assert again.operations.is_empty(), again.operations.to_dicts()
    return planned


def only(till: Till, query: str) -> list[Any]:
    (row,) = till.shown(query)
    return list(row.values())


def on_account(till: Till, account_id: str) -> list[Any]:
    return only(till, f"select {ON_ACCOUNT} from Account where Id = '{account_id}'")


@pytest.fixture
def till(pair: Pair) -> Till:
    """Everything is deployed, and what was there is shown."""
    till = settling(pair, "shown")
    till.deploy(*EVERYTHING)
    pair.checked = True
    assert {name for name, _ in of(settle(pair))} == {*EVERYTHING}
    pair.checked = False
    return till


@pytest.mark.parametrize("dialect", [{}, pytest.param(ODD, marks=pytest.mark.slow)])
def test_an_invoice_is_shown_through_all_that_settles_it(till: Till, dialect: dict[str, Any]) -> None:
    pair = till.pair
    pair.control("xero", "POST", "dialect", dialect)
    (deal,) = till.shown(
        f"select Id, AccountId, Xero_Invoice_ID__c from Opportunity where Name like '{DEAL}%'"
    )
    account_id = str(deal["AccountId"])
    (account,) = till.shown(f"select ExternalID__c from Account where Id = '{account_id}'")
    contact_id = str(account["ExternalID__c"])
    made = till.call("GET", f"Invoices/{deal['Xero_Invoice_ID__c']}")
    till.call("POST", "Invoices", {"InvoiceID": made["InvoiceID"], "Status": "AUTHORISED"})
    paid = till.pay(made, "1000")
    note = till.note(contact_id, "250")
    till.allocate(note, made, "100.10")
    extra = till.overpay(contact_id, "60")
    till.invoice(contact_id, "77", Type="ACCPAY", InvoiceNumber="their 1")
    late = till.invoice(contact_id, "10.50", InvoiceNumber="LATE-1")  # of no opportunity
    pair.checked = True
    planned = settle(pair, full=True)  # that it is a supplier moves no stamp
    pair.checked = False
    assert of(planned) == [
        ("Account", "update"),
        ("Account", "update"),  # with the bill it is a supplier
        ("Opportunity", "update"),
        ("Opportunity", "update"),  # the link's own status
        ("Xero_Invoice__c", "create"),  # the bill
        ("Xero_Invoice__c", "create"),  # the late one
        ("Xero_Invoice__c", "update"),
        ("Xero_Payment__c", "create"),
        ("Xero_Payment__c", "create"),
    ]
    at_deal = f"select {ON_DEAL} from Opportunity where Id = '{deal['Id']}'"
    assert only(till, at_deal) == [1000, D("100.10"), D("1473.90")]
    told = "GBP 1484.40, overdue 10.50, credit 209.90"
    assert on_account(till, account_id) == [D("1484.40"), D("10.50"), D("209.90"), 60, told]
    shown = till.shown(
        "select Type__c, Amount__c, Invoice__r.Number__c, Opportunity__c from Xero_Payment__c order by Type__c"
    )
    number = made["InvoiceNumber"]
    assert [(row["Type__c"], row["Amount__c"], row["Invoice__r"]["Number__c"]) for row in shown] == [
        ("credit_note", D("100.10"), number),
        ("payment", 1000, number),
    ]
    assert {row["Opportunity__c"] for row in shown} == {deal["Id"]}
    bills = till.shown(
        "select Type__c, Amount_Due__c, Account__c from Xero_Invoice__c where Type__c = 'ACCPAY'"
    )
    assert bills == [{"Type__c": "ACCPAY", "Amount_Due__c": 77, "Account__c": account_id}]

    # Taken back, in a list that leaves out what is deleted; an overpayment allocated; a void.
    pair.control("xero", "POST", "dialect", {"deleted_payments": "hidden"})
    till.reverse(paid)
    till.allocate(extra, made, "60")
    till.void(late)
    settle(pair, full=bool(dialect))  # where a payment moves no stamp, only a sweep can know
    assert only(till, at_deal) == [0, D("160.10"), D("2413.90")]
    assert on_account(till, account_id)[:3] == [D("2413.90"), 0, D("149.90")]
    states = {
        row["Type__c"]: row["Status__c"]
        for row in till.shown("select Type__c, Status__c from Xero_Payment__c")
    }
    assert states == {"credit_note": "AUTHORISED", "overpayment": "AUTHORISED", "payment": "DELETED"}
    late_now = "select Status__c, Amount_Due__c from Xero_Invoice__c where Number__c = 'LATE-1'"
    assert only(till, late_now) == ["VOIDED", 0]

    # Somebody works on what we show.
    (row,) = till.shown(f"select Id from Xero_Invoice__c where Number__c = '{number}'")
    till.edit("Xero_Invoice__c", str(row["Id"]), Amount_Due__c=0)
    till.edit("Account", account_id, Xero_Outstanding__c=5)
    planned = settle(pair)
    reasons = dict(planned.operations.select("object", "reason").iter_rows())
    assert set(reasons) == {"Xero_Invoice__c", "Account"}
    assert all(said.startswith("somebody changed it in Salesforce") for said in reasons.values())
    assert only(till, at_deal) == [0, D("160.10"), D("2413.90")]

    # A day passes, and a bill of the customer's falls due: one write of what is overdue, and then rest.
    at = pair.control("xero", "GET", "clock")["now"]
    till.invoice(contact_id, "5", InvoiceNumber="SOON-1", DueDate=at[:10])
    settle(pair)
    assert on_account(till, account_id)[1] == 0
    pair.control("xero", "POST", "clock", {"move_s": 86_400})
    planned = settle(pair)
    assert of(planned) == [("Account", "update")]
    assert on_account(till, account_id)[1] == 5

    # And all of it is told of the one customer.
    said = pair.command("customer", "--json", DEAL.lower())
    assert said.code == 0, said.err
    told = said.json()
    assert told["customers"][0]["xero_id"] == contact_id
    found = {row["number"]: (row["status"], row["due"], row["overdue"]) for row in told["invoices"]}
    assert found == {
        number: ("AUTHORISED", "2413.9000", "0.0000"),
        "their 1": ("AUTHORISED", "77.0000", "77.0000"),
        "LATE-1": ("VOIDED", "0.0000", "0.0000"),
        "SOON-1": ("AUTHORISED", "5.0000", "5.0000"),
    }
    assert sorted((row["kind"], row["status"]) for row in told["settlements"]) == [
        ("credit_note", "AUTHORISED"),
        ("overpayment", "AUTHORISED"),
        ("payment", "DELETED"),
    ]
    shown_to_people = pair.command("customer", account_id).out
    assert "taken back" in shown_to_people and "SOON-1" in shown_to_people
    several, nobody = pair.command("customer", "united oil"), pair.command("customer", "nobody at all")
    assert (several.code, nobody.code) == (0, 2)
    assert "3 customers fit" in several.out and "reconcile plan" in nobody.err


def invoice_ids(till: Till) -> list[str]:
    return [row["Xero_Invoice_ID__c"] for row in till.shown("select Xero_Invoice_ID__c from Xero_Invoice__c")]


def test_a_process_killed_after_its_bytes_left_makes_no_row_twice(pair: Pair) -> None:
    till = settling(pair, "shown")
    till.deploy(*EVERYTHING)
    planned = pair.plan()
    words = ["apply", planned.hash, "--yes", "--settings", str(pair.settings)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words], cwd=ROOT, check=False, capture_output=True
    )
    assert killed.returncode == 9, killed.stderr.decode()
    assert len(invoice_ids(till)) == 4
    again = pair.plan()
    assert ("Xero_Invoice__c", "create") not in of(again)
    pair.apply(again)
    assert pair.plan().operations.is_empty()
    assert len(invoice_ids(till)) == len(set(invoice_ids(till))) == 4


def test_a_lost_reply_makes_no_row_twice(pair: Pair) -> None:
    till = settling(pair, "shown")
    till.deploy(*EVERYTHING)
    planned = pair.plan()
    fault = {"kind": "drop_after", "method": "PATCH", "path": "composite/sobjects/Xero_Invoice__c"}
    pair.control("salesforce", "POST", "faults", fault)
    assert set(pair.apply(planned)["outcome"]) <= {"confirmed", "adopted"}
    pair.control("salesforce", "DELETE", "faults")
    assert pair.plan().operations.is_empty()
    assert len(invoice_ids(till)) == len(set(invoice_ids(till))) == 4


def test_an_org_without_the_objects_is_told_of_them_and_shows_the_rest(pair: Pair) -> None:
    till = settling(pair, "shown")
    till.deploy("Account")
    planned = pair.plan()
    assert {name for name, _ in of(planned)} == {"Account"}
    told = planned.rejects.filter(pl.col("entity") == "payment")["reason"].to_list()
    mapping = str(pair.folder / "mapping.yaml")
    assert all(mapping in said or "mapping.yaml:2" in said for said in told), told
    assert any("nothing is shown in Xero_Invoice__c" in said for said in told)
    assert any("Opportunity lacks Xero_Invoice_Currency__c" in said for said in told)
    assert pair.apply(planned)["outcome"].unique().to_list() == ["confirmed"]
    assert pair.plan().operations.is_empty()


def test_read_alone_writes_nothing_and_says_what_could_not_be_read(pair: Pair) -> None:
    till = settling(pair, "read")
    assert pair.plan().operations.is_empty()
    pair.set("xero", scopes="accounting.contacts accounting.settings.read accounting.invoices")
    planned = pair.plan()
    assert planned.operations.is_empty()
    (said,) = planned.rejects.filter(pl.col("entity") == "payment")["reason"]
    assert "nothing is planned for payments: xero.Payment" in said
    assert till.pair is pair

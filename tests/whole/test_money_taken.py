"""Money taken in Salesforce is recorded in Xero through the whole product: once, never more than is due."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from settled_pair import SCOPES, Till
from whole_pair import Body, Pair

from pipelines.plans import Planned
from tests.chaos.people import MONEY

pytestmark = pytest.mark.in_turn(2)

D = Decimal
ROOT = Path(__file__).parents[2]
DEAL = "Larkfield"
MAPPING = """
extends: [demo]
documents:
  invoice:
    settled: read
    payments:
      object: Money__c
      source: Opportunity__c
      amount: Amount__c
      date: Taken_On__c
      scope: "State__c = 'Received'"
      cut_over: 2026-11-10
      account: "090"
      prefix: SF-
      link: {id: Xero_Payment_ID__c, status: Xero_Payment_Status__c}
"""
# Nothing is tidied up: the reply to the payment arrives, and is not kept.
KILLED = """
import os, sys
from pipelines.xero.client import XeroClient
send = XeroClient.send
def die(self, method, path, body, **rest):
    reply = send(self, method, path, body, **rest)
    if "Payments" in path:
        os._exit(9)
    return reply
XeroClient.send = die
from flows.cli import main
main(sys.argv[1:])
"""


class Desk(Till):
    """A till whose people note in Salesforce what they took."""

    def take(self, deal: Body, amount: str, day: str = "2026-11-21", **fields: Any) -> str:
        body = {
            "Opportunity__c": deal["Id"],
            "Amount__c": float(amount),
            "Taken_On__c": day,
            "State__c": "Received",
        }
        return self.pair.in_salesforce.make("Money__c", Name=f"Money {amount}", **{**body, **fields})

    def noted(self, record_id: str) -> Body:
        (row,) = self.shown(
            f"select Xero_Payment_ID__c, Xero_Payment_Status__c from Money__c where Id = '{record_id}'"
        )
        return row

    def payments(self) -> list[Body]:
        """Every payment in Xero, as it is there."""
        return [row for row in self.pair.dump("xero").values() if "PaymentID" in row]

    def live(self) -> dict[str, Decimal]:
        """Reference -> amount of the payments that stand; one each."""
        rows = [row for row in self.payments() if row["Status"] == "AUTHORISED"]
        ours = [row for row in rows if row.get("Reference")]
        assert len({row["Reference"] for row in ours}) == len(ours), ours
        return {row["Reference"]: D(str(row["Amount"])) for row in ours}


@pytest.fixture
def desk(pair: Pair) -> Desk:
    """One approved invoice, one draft, and the object in which money is noted."""
    pair.control("salesforce", "POST", "objects", MONEY)
    (pair.folder / "mapping.yaml").write_text(MAPPING)
    pair.set("xero", scopes=SCOPES.replace("payments.read", "payments"))
    pair.set("limits", late_application_s=1)
    desk = Desk(pair)
    desk.call(
        "POST", "Invoices", {"InvoiceID": of_deal(desk, DEAL)["Xero_Invoice_ID__c"], "Status": "AUTHORISED"}
    )
    pair.adopt()
    return desk


def of_deal(desk: Till, name: str) -> Body:
    (deal,) = desk.shown(f"select Id, Xero_Invoice_ID__c from Opportunity where Name like '{name}%'")
    return deal


def told(planned: Planned) -> dict[str, str]:
    mine = planned.rejects.filter(pl.col("entity") == "payment")
    return dict(mine.select("record_id", "reason").iter_rows())


def reference(record_id: str) -> str:
    return f"SF-{record_id.upper()}"


def of(planned: Planned) -> list[tuple[str, str]]:
    return sorted(planned.operations.select("object", "action").iter_rows())


def test_money_is_recorded_once_and_what_can_not_be_is_told(desk: Desk) -> None:
    pair, deal = desk.pair, of_deal(desk, DEAL)
    first = desk.take(deal, "1000")
    before = desk.take(deal, "500", "2026-11-09")
    meant = desk.take(deal, "7", State__c="Promised")
    drafted = desk.take(of_deal(desk, "Edge"), "10")
    negative = desk.take(deal, "-3")
    ahead = desk.take(deal, "4", "2031-01-01")
    alone = desk.take(deal, "5", Opportunity__c=None)
    too_much = desk.take(deal, "1574.01", "2026-11-22")
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    assert of(planned) == [("Money__c", "update"), ("Payment", "create")]
    said = told(planned)
    assert set(said) == {drafted, negative, ahead, alone, too_much}, said
    assert "not approved yet (draft)" in said[drafted]
    assert "no amount above zero" in said[negative]
    assert "still to come" in said[ahead]
    assert "names no opportunity" in said[alone]
    assert "is of 1574.01 GBP" in said[too_much] and "only 2574.00 are due, beside" in said[too_much]
    text = pair.command("show").out
    assert "1,000.00 GBP" in text and "Payments to be recorded" in text
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    assert desk.live() == {reference(first): D(1000)}
    (payment,) = [row for row in desk.payments() if row.get("Reference") == reference(first)]
    assert payment["Invoice"]["InvoiceID"] == deal["Xero_Invoice_ID__c"]
    assert desk.noted(first) == {
        "Xero_Payment_ID__c": payment["PaymentID"],
        "Xero_Payment_Status__c": "AUTHORISED",
    }
    assert desk.noted(before)["Xero_Payment_ID__c"] is desk.noted(meant)["Xero_Payment_ID__c"] is None
    again = pair.plan()
    assert again.operations.is_empty()
    assert set(told(again)) == set(said)

    # What fits now is recorded; what was taken back in Xero is told, and not made again.
    desk.edit("Money__c", too_much, Amount__c=1574)
    desk.reverse({"PaymentID": payment["PaymentID"]})
    planned = pair.plan()
    assert of(planned) == [("Money__c", "update"), ("Money__c", "update"), ("Payment", "create")]
    assert "taken back in Xero" in told(planned)[first]
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    assert desk.live() == {reference(too_much): D(1574)}
    assert desk.noted(first)["Xero_Payment_Status__c"] == "DELETED"
    assert pair.plan().operations.is_empty()

    # Somebody changes what is recorded.
    desk.edit("Money__c", too_much, Amount__c=1500)
    assert "is of 1500.00 now, and its payment of 1574.00" in told(pair.plan())[too_much]

    # With journal, warehouse and fields lost the payment is known by its Reference, and none is made.
    for record_id in (first, too_much):
        desk.edit("Money__c", record_id, Xero_Payment_ID__c=None, Xero_Payment_Status__c=None, Amount__c=1574)
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    planned = pair.plan()
    assert of(planned) == [("Money__c", "update")]
    pair.adopt()
    assert desk.live() == {reference(too_much): D(1574)}
    assert desk.noted(too_much)["Xero_Payment_Status__c"] == "AUTHORISED"
    assert "taken back in Xero" in told(pair.plan())[first]


def test_money_that_xero_may_have_already_is_asked_about(desk: Desk) -> None:
    pair, deal = desk.pair, of_deal(desk, DEAL)
    invoice = {"InvoiceID": deal["Xero_Invoice_ID__c"]}
    by_hand, other = desk.pay(invoice, "574"), desk.pay(invoice, "100")
    same, another = desk.take(deal, "574"), desk.take(deal, "100", "2026-11-22")
    planned = pair.plan()
    assert planned.operations.is_empty()
    assert sorted(planned.conflicts.select("salesforce_id", "xero_id").iter_rows()) == sorted(
        [(same, by_hand["PaymentID"]), (another, other["PaymentID"])]
    )
    assert "574.00" in pair.command("show").out
    pair.resolve(same, "payment", "xero")
    pair.resolve(another, "payment", "salesforce")
    planned = pair.plan()
    assert planned.conflicts.is_empty()
    assert of(planned) == [("Money__c", "update"), ("Money__c", "update"), ("Payment", "create")]
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    assert desk.noted(same)["Xero_Payment_ID__c"] == by_hand["PaymentID"]
    assert desk.live() == {reference(another): D(100)}
    assert pair.plan().operations.is_empty()


def test_a_process_killed_after_its_bytes_left_records_nothing_twice(desk: Desk) -> None:
    pair = desk.pair
    taken = desk.take(of_deal(desk, DEAL), "1000")
    planned = pair.plan()
    words = ["apply", planned.hash, "--yes", "--settings", str(pair.settings)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words], cwd=ROOT, check=False, capture_output=True
    )
    assert killed.returncode == 9, killed.stderr.decode()
    assert desk.live() == {reference(taken): D(1000)}
    pair.control("xero", "POST", "dialect", {"reference_filter": "refuse"})
    again = pair.plan()
    assert of(again) == [("Money__c", "update")]
    assert set(pair.apply(again)["outcome"]) == {"confirmed"}
    assert desk.live() == {reference(taken): D(1000)}
    assert pair.plan().operations.is_empty()


def test_a_lost_reply_records_nothing_twice(desk: Desk) -> None:
    pair, deal = desk.pair, of_deal(desk, DEAL)
    there: dict[str, Decimal] = {}
    for n, kind in enumerate(("drop_after", "drop_before", "500_applied")):
        amounts = (f"{n}1", f"{n}2")
        there |= {reference(desk.take(deal, amount)): D(amount) for amount in amounts}
        planned = pair.plan()
        pair.control("xero", "POST", "faults", {"kind": kind, "method": "PUT", "path": "Payments"})
        assert set(pair.apply(planned)["outcome"]) <= {"confirmed", "adopted"}, kind
        pair.control("xero", "DELETE", "faults")
        assert desk.live() == there
    assert pair.plan().operations.is_empty()


def test_money_that_changed_since_the_plan_is_not_recorded_by_it(desk: Desk) -> None:
    pair = desk.pair
    taken = desk.take(of_deal(desk, DEAL), "1000")
    planned = pair.plan()
    desk.edit("Money__c", taken, Amount__c=900)
    assert set(pair.apply(planned)["outcome"]) == {"overtaken", "waiting"}
    assert desk.live() == {}
    pair.apply(pair.plan())
    assert desk.live() == {reference(taken): D(900)}


def test_a_payment_that_comes_in_between_is_no_overpayment(desk: Desk) -> None:
    pair, deal = desk.pair, of_deal(desk, DEAL)
    taken = desk.take(deal, "2000")
    planned = pair.plan()
    desk.pay({"InvoiceID": deal["Xero_Invoice_ID__c"]}, "1000")
    assert set(pair.apply(planned)["outcome"]) == {"rejected", "waiting"}
    assert desk.live() == {}
    assert "only 1574.00 are due" in told(pair.plan())[taken]


def test_without_a_right_to_what_was_taken_the_other_work_goes_on(desk: Desk) -> None:
    pair, deal = desk.pair, of_deal(desk, DEAL)
    mapping = pair.folder / "mapping.yaml"
    mapping.write_text(MAPPING.replace("Money__c", "Hidden__c"))
    (account,) = desk.shown("select Id from Account where Name like 'Larkfield%'")
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    planned = pair.plan()
    assert ("Contact", "update") in of(planned)
    (reason,) = told(planned).values()
    assert "nothing is recorded: salesforce.Hidden__c could not be read" in reason
    assert "salesforce.Hidden__c" in planned.errors
    mapping.write_text(MAPPING)
    taken = desk.take(deal, "1000")
    assert ("Payment", "create") in of(pair.plan()) and taken


def test_the_opportunity_itself_may_say_what_was_taken(pair: Pair) -> None:
    for name, kind in (("Deposit__c", "currency"), ("Deposit_On__c", "date")):
        wanted = {"object": "Opportunity", "add": {"name": name, "type": kind}}
        assert httpx.post(f"{pair.url('salesforce')}/sandbox/fields", json=wanted).status_code == 200
    keys = "object: Opportunity, source: Id, amount: Deposit__c, date: Deposit_On__c, cut_over: 2026-11-01"
    text = f"documents: {{invoice: {{settled: read, payments: {{{keys}, account: '090'}}}}}}"
    (pair.folder / "mapping.yaml").write_text(f"extends: [demo]\n{text}\n")
    pair.set("xero", scopes=SCOPES.replace("payments.read", "payments"))
    pair.set("limits", late_application_s=1)
    desk = Desk(pair)
    deal = of_deal(desk, DEAL)
    desk.call("POST", "Invoices", {"InvoiceID": deal["Xero_Invoice_ID__c"], "Status": "AUTHORISED"})
    pair.adopt()
    desk.edit("Opportunity", deal["Id"], Deposit__c=12.5, Deposit_On__c="2026-11-20")
    planned = pair.plan()
    assert of(planned) == [("Payment", "create")]
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    assert desk.live() == {deal["Id"].upper(): D("12.5")}
    again = pair.plan()
    assert again.operations.is_empty() and told(again) == {}

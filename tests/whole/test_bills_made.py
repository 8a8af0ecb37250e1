"""Suppliers' bills of a mapped object become drafts in Xero through the whole product: once, and never changed."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from settled_pair import SCOPES, Till
from whole_pair import Body, Pair

from pipelines import undo
from pipelines.plans import Planned

pytestmark = pytest.mark.in_turn(1)

D = Decimal
ROOT = Path(__file__).parents[2]
OBJECT = {
    "name": "Supplier_Bill__c", "label": "Supplier bill", "plural": "Supplier bills",
    "fields": [
        {"name": "Supplier__c", "type": "reference", "reference": "Account"},
        {"name": "Amount__c", "type": "currency", "precision": 18, "scale": 4},
        {"name": "Received_On__c", "type": "date"},
        {"name": "Due_On__c", "type": "date"},
        {"name": "Supplier_Number__c", "type": "string", "length": 100},
        {"name": "Status__c", "type": "string", "length": 40},
        {"name": "Xero_Bill_ID__c", "type": "string", "length": 36},
        {"name": "Xero_Bill_Status__c", "type": "string", "length": 20},
    ],
}  # fmt: skip
MAPPING = """
extends: [demo]
documents:
  bill:
    object: Supplier_Bill__c
    supplier: Supplier__c
    amount: Amount__c
    date: Received_On__c
    due: Due_On__c
    number: Supplier_Number__c
    scope: "Status__c = 'Approved'"
    cut_over: 2026-11-01
    account: "429"
    tax: INPUT2
    prefix: SF-
    link: {id: Xero_Bill_ID__c, status: Xero_Bill_Status__c}
"""
# Nothing is tidied up: the reply to the bill arrives, and is not kept.
KILLED = """
import os, sys
from pipelines.xero.client import XeroClient
send = XeroClient.send
def die(self, method, path, body, **rest):
    reply = send(self, method, path, body, **rest)
    if "Invoices" in path:
        os._exit(9)
    return reply
XeroClient.send = die
from flows.cli import main
main(sys.argv[1:])
"""


class Buyers(Till):
    """People who note suppliers' bills in Salesforce, and finance in Xero."""

    def note(self, account: Body, amount: str, day: str = "2026-11-20", **fields: Any) -> str:
        body = {
            "Supplier__c": account["Id"],
            "Amount__c": float(amount),
            "Received_On__c": day,
            "Status__c": "Approved",
        }
        return self.pair.in_salesforce.make("Supplier_Bill__c", Name=f"Goods {amount}", **{**body, **fields})

    def noted(self, record_id: str) -> tuple[str | None, str | None]:
        query = f"select Xero_Bill_ID__c, Xero_Bill_Status__c from Supplier_Bill__c where Id = '{record_id}'"
        (row,) = self.shown(query)
        return row["Xero_Bill_ID__c"], row["Xero_Bill_Status__c"]

    def bills(self) -> list[Body]:
        """Every bill in Xero that we made, as it is there."""
        rows = self.pair.dump("xero").values()
        return [
            row for row in rows if row.get("Type") == "ACCPAY" and "SF-" in (row.get("InvoiceNumber") or "")
        ]

    def live(self) -> dict[str, Decimal]:
        """Number -> subtotal of the bills of ours that stand; one each."""
        rows = [row for row in self.bills() if row["Status"] not in ("VOIDED", "DELETED")]
        assert len({row["InvoiceNumber"][-18:] for row in rows}) == len(rows), rows
        return {row["InvoiceNumber"]: D(str(row["SubTotal"])) for row in rows}


def switch_on(pair: Pair, mapping: str = MAPPING) -> Buyers:
    pair.control("salesforce", "POST", "objects", OBJECT)
    (pair.folder / "mapping.yaml").write_text(mapping)
    pair.set("limits", late_application_s=1)
    pair.adopt()
    return Buyers(pair)


@pytest.fixture
def desk(pair: Pair) -> Buyers:
    return switch_on(pair)


def supplier(desk: Buyers, place: int = 0) -> Body:
    """An Account whose contact in Xero is active."""
    return desk.pair.linked()[place][0]


def told(planned: Planned) -> dict[str, str]:
    mine = planned.rejects.filter(pl.col("entity") == "bill")
    return dict(mine.select("record_id", "reason").iter_rows())


def number(record_id: str, own: str = "") -> str:
    return f"{own} SF-{record_id.upper()}".strip()


def of(planned: Planned) -> list[tuple[str, str]]:
    return sorted(planned.operations.select("object", "action").iter_rows())


MADE = [("Bill", "create"), ("Supplier_Bill__c", "update")]


def test_a_bill_is_made_once_shown_and_then_nothing_is_left_to_do(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    first = desk.note(account, "1000.10", Supplier_Number__c="4711", Due_On__c="2026-12-20")
    before = desk.note(account, "500", "2026-10-31")
    waiting = desk.note(account, "7", Status__c="Received")
    negative = desk.note(account, "-3")
    fine = desk.note(account, "1.005")
    alone = desk.note(account, "5", Supplier__c=None)
    dayless = desk.note(account, "5", Received_On__c=None)
    quoted = desk.note(account, "5", Supplier_Number__c='19"')
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    assert set(MADE) <= set(of(planned)), of(planned)
    said = told(planned)
    assert set(said) == {negative, fine, alone, dayless, quoted}, said
    assert "no amount above zero" in said[negative]
    assert "1.005 has more decimals than GBP" in said[fine]
    assert "names no account" in said[alone]
    assert "holds no day" in said[dayless]
    assert "quotation mark" in said[quoted]
    text = pair.command("show").out
    assert f"{number(first, '4711')} from {account['Name']}" in " ".join(text.split())
    assert "Bills to be made, in all: 1,000.10 GBP" in text
    page = pair.folder / "page.html"
    assert pair.command("report", "--out", str(page)).code == 0
    assert f"{number(first, '4711')} from {account['Name']}" in unescape(page.read_text(encoding="utf-8"))
    doctor = pair.command("doctor").out
    assert "429 takes expenses, with INPUT2" in doctor
    assert "salesforce Supplier_Bill__c: custom fields of the mapping" in " ".join(doctor.split())
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    assert desk.live() == {number(first, "4711"): D("1000.10")}
    (bill,) = desk.bills()
    assert (bill["Status"], bill["Total"], bill["Contact"]["ContactID"]) == (
        "DRAFT", 1200.12, account["ExternalID__c"],
    )  # fmt: skip
    assert desk.noted(first) == (bill["InvoiceID"], "DRAFT")
    assert desk.noted(before) == desk.noted(waiting) == (None, None)
    again = pair.plan()
    assert again.operations.is_empty(), again.operations.to_dicts()
    assert set(told(again)) == set(said)


def test_what_becomes_of_a_bill_is_shown_and_what_changes_since_is_told_and_never_sent(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    kept, gone, deleted, voided = (desk.note(account, amount) for amount in ("10", "20", "30", "40"))
    pair.adopt()
    there = desk.live()
    assert there == {
        number(one): D(amount) for one, amount in ((kept, 10), (gone, 20), (deleted, 30), (voided, 40))
    }
    by_number = {row["InvoiceNumber"]: row["InvoiceID"] for row in desk.bills()}
    desk.call("POST", "Invoices", {"InvoiceID": by_number[number(deleted)], "Status": "DELETED"})
    for status in ("AUTHORISED", "VOIDED"):
        body = {"InvoiceID": by_number[number(voided)], "Status": status, "DueDate": "2026-12-20"}
        desk.call("POST", "Invoices", body)
    desk.edit("Supplier_Bill__c", kept, Amount__c=11)
    desk.edit("Supplier_Bill__c", gone, Status__c="Received")
    marks = pair.marks()
    planned = pair.plan()
    assert of(planned) == [("Supplier_Bill__c", "update")] * 2
    said = told(planned)
    assert set(said) == {kept, gone, deleted, voided}
    assert "is of 11.00 now, and its bill of 10.00" in said[kept]
    assert "counts no more, and its bill of 20.00 GBP is draft" in said[gone]
    assert "is deleted in Xero" in said[deleted] and "is voided in Xero" in said[voided]
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    assert [row["side"] for row in pair.writes(marks)] == ["salesforce"]
    assert desk.noted(deleted)[1] == "DELETED" and desk.noted(voided)[1] == "VOIDED"
    again = pair.plan()
    assert again.operations.is_empty() and set(told(again)) == set(said)


def test_with_journal_warehouse_and_fields_lost_no_bill_is_made_again(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    first = desk.note(account, "100", Supplier_Number__c="A-1")
    other = desk.note(account, "200")
    lapsed = desk.note(account, "300")
    pair.adopt()
    there = desk.live()
    assert len(there) == 3
    # Also where its number was spelled anew meanwhile.
    blank = {"Xero_Bill_ID__c": None, "Xero_Bill_Status__c": None}
    desk.edit("Supplier_Bill__c", first, **blank, Supplier_Number__c="A-1 (copy)")
    desk.edit("Supplier_Bill__c", other, **blank)
    desk.edit("Supplier_Bill__c", lapsed, **blank, Status__c="Received")
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    planned = pair.plan()
    assert of(planned) == [("Supplier_Bill__c", "update")] * 3
    assert set(told(planned)) == {first, lapsed}
    pair.adopt()
    assert desk.live() == there
    assert all(desk.noted(one)[1] == "DRAFT" for one in (first, other, lapsed))


def test_a_process_killed_after_its_bytes_left_makes_no_bill_twice(desk: Buyers) -> None:
    pair = desk.pair
    one, other = (desk.note(supplier(desk), amount, Supplier_Number__c="4711") for amount in ("1000", "7"))
    planned = pair.plan()
    words = ["apply", planned.hash, "--yes", "--settings", str(pair.settings)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words], cwd=ROOT, check=False, capture_output=True
    )
    assert killed.returncode == 9, killed.stderr.decode()
    there = {number(one, "4711"): D(1000), number(other, "4711"): D(7)}
    assert desk.live() == there
    desk.edit("Supplier_Bill__c", one, Supplier_Number__c="4712")
    again = pair.plan()
    assert of(again) == [("Account", "update"), *[("Supplier_Bill__c", "update")] * 2]
    assert "its number is 4712 now, and its bill's 4711" in told(again)[one]
    assert set(pair.apply(again)["outcome"]) == {"confirmed"}
    assert desk.live() == there
    assert pair.plan().operations.is_empty()


def test_a_lost_reply_makes_no_bill_twice(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    there: dict[str, Decimal] = {}
    for n, kind in enumerate(("drop_after", "drop_before", "500_applied")):
        amounts = (f"{n}1", f"{n}2")
        there |= {number(desk.note(account, amount)): D(amount) for amount in amounts}
        planned = pair.plan()
        pair.control("xero", "POST", "faults", {"kind": kind, "method": "PUT", "path": "Invoices"})
        assert set(pair.apply(planned)["outcome"]) <= {"confirmed", "adopted"}, kind
        pair.control("xero", "DELETE", "faults")
        assert desk.live() == there
    assert pair.plan().operations.is_empty()


def test_a_record_that_changed_since_the_plan_gets_no_bill_by_it(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    changed, withdrawn = desk.note(account, "1000"), desk.note(account, "2000")
    planned = pair.plan()
    desk.edit("Supplier_Bill__c", changed, Amount__c=900)
    desk.edit("Supplier_Bill__c", withdrawn, Status__c="Refused")
    assert set(pair.apply(planned)["outcome"]) == {"overtaken", "waiting"}
    assert desk.live() == {}
    pair.apply(pair.plan())
    assert desk.live() == {number(changed): D(900)}


def test_a_bill_that_comes_in_between_with_our_number_is_adopted_where_it_agrees(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    same, unlike = desk.note(account, "100"), desk.note(account, "200")
    planned = pair.plan()
    by_hand = {
        record_id: desk.invoice(
            account["ExternalID__c"],
            amount,
            Type="ACCPAY",
            Status="DRAFT",
            InvoiceNumber=number(record_id, own),
        )
        for record_id, amount, own in ((same, "100", "finance spelled it"), (unlike, "201", ""))
    }
    ended = pair.apply(planned)
    created = ended.filter(pl.col("action") == "create") if "action" in ended.columns else ended
    assert {"adopted", "rejected"} <= set(created["outcome"])
    assert {row["InvoiceID"] for row in desk.bills()} == {row["InvoiceID"] for row in by_hand.values()}
    assert desk.noted(same) == (by_hand[same]["InvoiceID"], "DRAFT")
    again = pair.plan()
    assert "is of 201.00 GBP without tax instead of 200.00 GBP" in told(again)[unlike]
    assert again.operations.is_empty()


def test_a_bill_that_finance_entered_under_the_suppliers_number_is_not_made_beside_it(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    contact = account["ExternalID__c"]
    by_hand = desk.invoice(contact, "100", Type="ACCPAY", InvoiceNumber="re-77", Date="2026-11-20")
    record = desk.note(account, "100", Supplier_Number__c="RE-77")
    planned = pair.plan()
    assert [row[0] for row in of(planned)] == ["Account"]  # whose supplier it is by that bill
    assert "number RE-77 is in Xero already" in told(planned)[record]
    desk.edit("Supplier_Bill__c", record, Xero_Bill_ID__c=by_hand["InvoiceID"])
    pair.adopt()
    assert desk.noted(record) == (by_hand["InvoiceID"], "AUTHORISED")
    assert desk.live() == {} and told(pair.plan()) == {}


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"429"', '"404x"', "the account 404x is not in Xero"),
        ('"429"', '"200"', "the account 200 (REVENUE) takes no expenses"),
        ('"429"', '"090"', "the account 090 (BANK) takes no expenses"),
        ("INPUT2", "OUTPUT2", "the tax OUTPUT2 can't be applied to the account 429"),
    ],
)
def test_codes_that_are_not_for_bills_are_told_and_nothing_is_sent(
    pair: Pair, was: str, now: str, said: str
) -> None:
    desk = switch_on(pair, MAPPING.replace(was, now))
    record = desk.note(supplier(desk), "10")
    planned = pair.plan()
    assert planned.operations.is_empty() and said in told(planned)[record]
    found = pair.command("doctor")
    assert said in found.out and found.code != 0


def test_a_day_in_a_locked_period_and_a_refused_right_are_told(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    pair.control("xero", "POST", "lock-dates", {"PeriodLockDate": "2026-11-15"})
    early, late = desk.note(account, "10", "2026-11-15"), desk.note(account, "20", "2026-11-16")
    planned = pair.plan()
    assert "locked up to 2026-11-15" in told(planned)[early]
    pair.apply(planned)
    assert desk.live() == {number(late): D(20)}


def test_a_contact_is_made_on_demand_and_only_for_a_bill_that_is_made(pair: Pair) -> None:
    mapping = MAPPING.replace(
        "documents:", "entities: {party: {create: {xero: on_demand, salesforce: never}}}\ndocuments:"
    )
    desk = switch_on(pair, mapping)
    wanted, other = (pair.in_salesforce.make("Account", Name=name) for name in ("Ink & Paper", "Nobody's"))
    made = desk.note({"Id": wanted}, "50", Supplier_Number__c="I-1")
    stopped = desk.note({"Id": other}, "-50")
    planned = pair.plan()
    assert ("Contact", "create") in of(planned) and ("Bill", "create") in of(planned)
    assert [row[1] for row in of(planned)].count("create") == 2
    assert set(told(planned)) == {stopped}
    assert "from Ink & Paper" in " ".join(pair.command("show").out.split())
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    (bill,) = desk.bills()
    assert pair.contact(bill["Contact"]["ContactID"])["Name"] == "Ink & Paper"
    assert desk.noted(made) == (bill["InvoiceID"], "DRAFT")
    assert pair.adopt().operations.is_empty()


def test_without_invoices_of_ours_bills_are_made_all_the_same_and_nothing_else_is_read(pair: Pair) -> None:
    plain = MAPPING.replace("[demo]", "[default]").replace('"429"', '"400"').replace("    tax: INPUT2\n", "")
    desk = switch_on(
        pair, plain.replace("    due:", "    line_amounts: inclusive\n    status: SUBMITTED\n    due:")
    )
    record = desk.note(supplier(desk), "120", Due_On__c="2026-12-24")
    planned = pair.plan()
    assert set(MADE) <= set(of(planned))
    assert "xero.Invoice" not in planned.rows and "xero.Bill" in planned.rows
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    (bill,) = desk.bills()
    assert (bill["Status"], bill["Total"], bill["SubTotal"]) == ("SUBMITTED", 120, 100)
    assert desk.noted(record)[1] == "SUBMITTED"
    assert pair.plan().operations.is_empty() and told(pair.plan()) == {}


def test_without_a_right_to_the_bills_object_the_other_work_goes_on(desk: Buyers) -> None:
    pair, account = desk.pair, supplier(desk)
    mapping = pair.folder / "mapping.yaml"
    mapping.write_text(MAPPING.replace("Supplier_Bill__c", "Hidden__c"))
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    planned = pair.plan()
    assert ("Contact", "update") in of(planned)
    (reason,) = told(planned).values()
    assert "no bill is made: salesforce.Hidden__c could not be read" in reason
    mapping.write_text(MAPPING)
    assert desk.note(account, "1000") and ("Bill", "create") in of(pair.plan())


def test_what_a_plan_of_bills_costs_is_what_it_takes(desk: Buyers) -> None:
    pair = desk.pair
    for amount in range(1, 6):
        desk.note(supplier(desk, amount % 2), str(amount))
    planned = pair.plan()
    marks = pair.marks()
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    for side in ("salesforce", "xero"):
        sent = [
            row
            for row in pair.requests(side, after=marks[side])
            if "/sandbox/" not in row["path"] and "token" not in row["path"]
        ]
        assert len(sent) == planned.cost[side], (side, planned.price["calls"], [row["path"] for row in sent])


def test_the_run_that_made_bills_is_not_taken_back_in_xero(desk: Buyers) -> None:
    pair = desk.pair
    record = desk.note(supplier(desk), "10")
    pair.apply(pair.plan())
    with pair.opened() as ctx:
        back = undo.plan_undo(ctx, undo.runs_that_wrote(ctx)[0].run_id)
    assert desk.live() == {number(record): D(10)}
    assert not back.operations.filter(pl.col("entity") == "bill").height
    assert "not taken back by us" in " ".join(back.rejects["reason"])


def test_bills_disturb_no_sales_and_are_shown_with_what_settles_them(pair: Pair) -> None:
    shown = MAPPING.replace("documents:", "documents:\n  invoice: {settled: shown}")
    pair.set("xero", scopes=SCOPES)
    Buyers(pair).deploy("Xero_Invoice__c", "Account", "Opportunity")
    desk = switch_on(pair, shown)
    before = pair.plan()
    account = supplier(desk)
    record = desk.note(account, "50")
    pair.adopt()
    after = pair.plan()
    assert after.control_totals.equals(before.control_totals) and not before.control_totals.is_empty()
    assert after.differences.equals(before.differences)
    query = f"select Type__c, Status__c, Account__c from Xero_Invoice__c where Number__c = '{number(record)}'"
    assert desk.shown(query) == [{"Type__c": "ACCPAY", "Status__c": "DRAFT", "Account__c": account["Id"]}]
    (bill,) = desk.bills()
    desk.call(
        "POST", "Invoices", {"InvoiceID": bill["InvoiceID"], "Status": "AUTHORISED", "DueDate": "2026-12-20"}
    )
    desk.pay(bill, str(bill["Total"]), Date="2026-11-22")
    pair.adopt()
    assert desk.noted(record) == (bill["InvoiceID"], "PAID") and told(pair.plan()) == {}


@pytest.mark.parametrize(
    "dialect",
    [
        {"deleted_invoices": "hidden", "default_order": "name", "page_size": "ignored"},
        {"locked_drafts": "accept", "due_date_missing": "refuse", "if_modified_since": "exclusive_second"},
    ],
)
def test_a_draft_that_was_deleted_is_not_made_again_however_xero_lists_it(
    desk: Buyers, dialect: Body
) -> None:
    pair = desk.pair
    pair.control("xero", "POST", "dialect", dialect)
    record = desk.note(supplier(desk), "10")
    pair.adopt()
    (bill,) = desk.bills()
    desk.call("POST", "Invoices", {"InvoiceID": bill["InvoiceID"], "Status": "DELETED"})
    planned = pair.plan(full=True)
    assert "is deleted in Xero" in told(planned)[record]
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    again = pair.plan()
    assert ("Bill", "create") not in of(again) and record in told(again)
    assert desk.live() == {}

"""The judge of what is made of what can fail: each rule finds the fault that was planted for it, else nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest

from reconcile import documents
from tests.chaos.checker import Evidence
from tests.chaos.checker_made import judge
from tests.chaos.life import CALM_SHAPE, Life, judged
from tests.chaos.made import DEPOSIT, GROUP_IDS, Made

Body = dict[str, Any]
MADE = Made(
    orders=True, parts=DEPOSIT, parts_from=400, together=("Order",), follow="void", bills=True, groups="always",
    known=True, leap=1,
)  # fmt: skip
ACCOUNT, CONTACT = "001000000000001AAA", "00000000-0000-4000-8000-000000000001"
SMALL, LARGE = "006000000000001AAA", "006000000000002AAA"
FIRST, SECOND = "801000000000001AAA", "801000000000002AAA"
NOTED = "a00000000000001AAA"
MONTH = f"SF-{ACCOUNT}-M202611GBP"


def row(kind: str, record_id: str, **fields: Any) -> Body:
    return {"attributes": {"type": kind}, "Id": record_id, "IsDeleted": False, **fields}


def paper(number: str, *lines: tuple[str, float], **fields: Any) -> Body:
    """An invoice that stands, under an id that is made of its number."""
    total = round(sum(amount for _, amount in lines), 2)
    return {
        "InvoiceID": f"id of {number}", "InvoiceNumber": number, "Type": "ACCREC", "Status": "DRAFT",
        "Contact": {"ContactID": CONTACT}, "SubTotal": total, "Total": total,
        "LineItems": [{"Description": text, "LineAmount": amount} for text, amount in lines], **fields,
    }  # fmt: skip


def deal(record_id: str, amount: float, **fields: Any) -> list[Body]:
    line = row("OpportunityLineItem", f"00k{record_id[3:]}", OpportunityId=record_id, TotalPrice=amount)
    known = {
        "IsWon": True,
        "CloseDate": "2026-11-20",
        "Amount": amount,
        "AccountId": ACCOUNT,
        "Name": record_id,
    }
    return [row("Opportunity", record_id, **known | fields), line]


def order(record_id: str, amount: float, **fields: Any) -> list[Body]:
    line = row("OrderItem", f"802{record_id[3:]}", OrderId=record_id, TotalPrice=amount)
    known = {
        "StatusCode": "Activated", "EffectiveDate": "2026-11-20", "AccountId": ACCOUNT, "Name": record_id,
        "Xero_Invoice_Url__c": f"https://go.example/?InvoiceID=id of {MONTH}",
    }  # fmt: skip
    return [row("Order", record_id, **known | fields), line]


class Case:
    """Two books that agree, and what happened; a test changes something in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = MADE
        self.events: list[Body] = [{"seq": 0, "kind": "segment", "record_id": ACCOUNT, "value": "Retail"}]
        self.wire: list[Body] = []
        self.reports: list[Body] = []
        part = {n: f"SF-{LARGE}-P{n}" for n in (1, 2)}
        rows = [
            row("Account", ACCOUNT, Name="alder1w", ExternalID__c=CONTACT, Segment__c="Retail"),
            *deal(SMALL, 300.0, Xero_Invoice_ID__c=f"id of SF-{SMALL}"),
            *deal(LARGE, 500.05, Xero_Invoice_ID__c=f"id of {part[2]}"),
            *order(FIRST, 70.0),
            *order(SECOND, 30.0),
            row(
                "Supplier_Bill__c", NOTED, Status__c="Approved", Received_On__c="2026-11-20", Amount__c=12.5,
                Supplier__c=ACCOUNT, Supplier_Number__c="N-1", Xero_Bill_ID__c=f"id of N-1 SF-{NOTED.upper()}",
            ),
        ]  # fmt: skip
        bill = paper(f"N-1 SF-{NOTED.upper()}", ("Goods", 12.5), Type="ACCPAY")
        theirs = [
            {
                "ContactID": CONTACT, "Name": "alder1w", "ContactStatus": "ACTIVE", "ContactNumber": ACCOUNT,
                "ContactGroups": [{"ContactGroupID": GROUP_IDS["Retail"]}],
            },
            paper(f"SF-{SMALL}", ("Kit", 300.0)),
            paper(part[1], ("Deposit: Kit", 150.02)),
            paper(part[2], ("Rest: Kit", 350.03)),
            paper(MONTH, (f"{FIRST}: Hose", 70.0), (f"{SECOND}: Cable", 30.0)),
            bill,
        ]  # fmt: skip
        self.rows = {one["Id"]: one for one in rows}
        self.theirs = {one.get("InvoiceNumber") or one["ContactID"]: one for one in theirs}
        self.bill = bill

    def said(self) -> set[str]:
        """(rule: what) of everything that the judge finds."""
        dumps = {"salesforce": list(self.rows.values()), "xero": list(self.theirs.values())}
        evidence = Evidence(
            logs={}, dumps=dumps, events=self.events, wire=self.wire, reports=self.reports, plans=self.folder,
            ours={}, invoices=True, today="2026-12-03", made=self.made.as_dict(),
        )  # fmt: skip
        return {str(one) for one in judge(evidence)}

    def add(self, one: Body) -> None:
        self.theirs[str(one["InvoiceNumber"]) + str(len(self.theirs))] = one

    def leaves(self, group: str, seq: int = 9) -> None:
        self.writes("DELETE", f"/api.xro/2.0/ContactGroups/{GROUP_IDS[group]}/Contacts/{CONTACT}", None, seq)

    def writes(self, method: str, target: str, body: Any, seq: int = 9) -> None:
        self.wire.append(
            {"seq": seq, "kind": "write", "side": "xero", "method": method, "target": target, "body": body,
             "n": [1], "at_ms": 0, "machine": "one", "fence": 1}
        )  # fmt: skip


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_books_that_agree_are_let_pass(case: Case) -> None:
    assert case.said() == set()


def drop(number: str) -> Callable[[Case], Any]:
    return lambda case: case.theirs.pop(number)


def edit(record_id: str, **fields: Any) -> Callable[[Case], Any]:
    return lambda case: case.rows[record_id].update(fields)


def change(key: str, **fields: Any) -> Callable[[Case], Any]:
    return lambda case: case.theirs[key].update(fields)


P1, P2, BILL = f"SF-{LARGE}-P1", f"SF-{LARGE}-P2", f"N-1 SF-{NOTED.upper()}"
NO_MORE = {"IsWon": False}


@pytest.mark.parametrize(
    ("planted", "rule", "about"),
    [
        (drop(f"SF-{SMALL}"), "lost", SMALL),
        (edit(SMALL, **NO_MORE), "unplanned", SMALL),
        (change(f"SF-{SMALL}", SubTotal=1), "amounts", SMALL),
        (edit(SMALL, Xero_Invoice_ID__c="other"), "triangle", SMALL),
        (
            lambda case: case.add(paper(f"SF-{SMALL}", ("Kit", 300.0), InvoiceID="x")),
            "twice",
            f"are of {SMALL}",
        ),
        (lambda case: case.add(paper(f"SF-{LARGE}", ("Kit", 500.05))), "twice", "whole and parts"),
        (lambda case: case.add(paper("SF-006000000000009AAA", ("Kit", 1.0))), "unplanned", "nobody sold"),
        (drop(P2), "lost", f"{LARGE}:P2"),
        (change(P1, SubTotal=150.1), "amounts", f"{LARGE}:P1"),
        (change(P1, SubTotal=150.01), "amounts", "its parts of 500.04"),
        (edit(LARGE, Xero_Invoice_ID__c=f"id of {P1}"), "triangle", f"{LARGE}:P2"),
        (drop(MONTH), "lost", f"{FIRST} of {ACCOUNT}:M202611GBP"),
        (edit(FIRST, StatusCode="Draft"), "unplanned", FIRST),
        (edit(f"802{FIRST[3:]}", TotalPrice=7.0), "amounts", FIRST),
        (edit(FIRST, EffectiveDate="2026-12-01"), "amounts", f"stands on {ACCOUNT}:M202611GBP"),
        (edit(FIRST, Xero_Invoice_Url__c=None), "triangle", FIRST),
        (lambda case: case.add(paper(f"SF-{FIRST}", ("Hose", 70.0))), "twice", "whole and month"),
        (
            lambda case: case.add(paper(f"SF-{ACCOUNT}-M202610GBP", (f"{FIRST}: Hose", 70.0))),
            "twice",
            "stands on the invoices of",
        ),
        (
            lambda case: case.theirs[MONTH]["LineItems"].append({"Description": "Gift", "LineAmount": 1}),
            "amounts",
            "of no sale",
        ),
        (edit(FIRST, OpportunityId=SMALL), "twice", f"{SMALL} is billed with 300.0"),
        (drop(BILL), "lost", NOTED),
        (edit(NOTED, Status__c="Received"), "lost", NOTED),
        (edit(NOTED, Amount__c=13), "amounts", NOTED),
        (edit(NOTED, Xero_Bill_ID__c=None), "triangle", NOTED),
        (change(BILL, Contact={"ContactID": "other"}), "amounts", "another contact"),
        (lambda case: case.add({**case.bill, "InvoiceID": "x", "Status": "DELETED"}), "twice", "2 bills"),
        (lambda case: case.rows.pop(NOTED), "unplanned", "nobody noted"),
        (edit(ACCOUNT, Segment__c="Retail;Trade"), "lost", "its contact is not in it"),
        (edit(ACCOUNT, Segment__c="Trade"), "lost", "its contact is in it"),
        (change(CONTACT, ContactGroups=[]), "lost", "its contact is not in it"),
        (lambda case: case.leaves("Retail"), "unplanned", "nobody asked for it"),
        (lambda case: case.leaves("VIP"), "unplanned", "which is not ours"),
        (
            lambda case: case.events.append(
                {"seq": 2, "kind": "regroup", "record_id": CONTACT, "group": "VIP", "enters": True}
            ),
            "lost",
            "in which people left it",
        ),
        (
            lambda case: case.writes(
                "PUT",
                f"/api.xro/2.0/ContactGroups/{GROUP_IDS['Trade']}/Contacts",
                {"Contacts": [{"ContactID": CONTACT}]},
            ),
            "unplanned",
            "no Account named",
        ),
    ],
)
def test_what_is_planted_is_found(case: Case, planted: Callable[[Case], Any], rule: str, about: str) -> None:
    planted(case)
    found = case.said()
    assert any(one.startswith(f"{rule}: ") and about in one for one in found), found


def test_a_sale_whose_last_part_somebody_threw_away_shows_it_still(case: Case) -> None:
    """As docs/mapping.md has it: the last part that was made, where nothing follows its sale (seed 171844676003)."""
    case.made = replace(MADE, follow="")
    case.theirs[P2]["Status"] = "DELETED"
    case.events.append({"seq": 5, "kind": "void", "record_id": f"id of {P2}"})
    assert case.said() == set()
    case.events.clear()  # nobody did: it is missing, and what the sale shows is no excuse
    assert {one.partition(":")[0] for one in case.said()} == {"lost", "amounts"}


def test_who_is_taken_out_while_the_account_says_so_is_nobodys_fault(case: Case) -> None:
    case.events.append({"seq": 5, "kind": "segment", "record_id": ACCOUNT, "value": None})
    case.leaves("Retail")
    assert not any("nobody asked" in one for one in case.said())
    case.made = replace(MADE, groups="never")
    assert any("nobody asked" in one for one in case.said())


def test_a_bill_beside_one_that_finance_had_entered_is_found(case: Case) -> None:
    case.add(paper("N-1", ("Goods", 12.5), Type="ACCPAY"))
    case.events.append({"seq": 2, "kind": "enter", "record_id": NOTED, "bill": "id of N-1"})
    planned = {
        "entity": ["bill"],
        "action": ["create"],
        "source_id": [NOTED],
        "system": ["xero"],
        "unit": ["record"],
    }
    pl.DataFrame(planned).write_parquet(case.folder / "p.parquet")
    case.events.append({"seq": 6, "kind": "approved", "plan": "p"})
    said = {
        "command": "plan",
        "plan": "p",
        "machine": "one",
        "ended": 5,
        "bug": None,
        "error": None,
        "message": None,
    }
    case.reports.append({**said, "began": 3, "outcomes": [], "audit": []})
    assert any("beside the one" in one for one in case.said())
    case.events[-2]["seq"] = 4  # entered when the plan was made already
    assert not any("beside the one" in one for one in case.said())


def test_a_deal_and_its_order_that_wait_for_each_other_are_found(case: Case) -> None:
    case.rows[FIRST]["OpportunityId"] = SMALL
    case.rows[SECOND]["StatusCode"] = "Draft"
    for number in (f"SF-{SMALL}", MONTH):
        del case.theirs[number]
    told = {
        "record_id": [SMALL, FIRST],
        "unit": ["record"] * 2,
        "reason": ["what is sold once is billed once"] * 2,
    }
    pl.DataFrame(told).write_parquet(case.folder / "p.rejects.parquet")
    said = {"command": "plan", "plan": "p", "machine": "one", "bug": None, "error": None, "message": None}
    case.reports.append({**said, "began": 3, "ended": 4, "outcomes": [], "audit": []})
    assert case.said() == {f"lost: {SMALL} and what came from it wait for each other"}


# --- and through the whole product ------------------------------------------------------------------------


def everything(life: Life) -> None:
    """A deal whole and one in parts, orders by the month, one of them of a deal; a bill; a segment."""
    people = life.people
    people.fill_books(life.world.random["books"], 3, 1)
    life._enable()
    life.plan()
    life.apply()
    account = next(one for one in people._live("salesforce") if one.get("ExternalID__c"))
    known = {"AccountId": account["Id"], "Pricebook2Id": people._shop.book["Id"]}
    entry = people._shop.ours["KIT-STD"]["Id"]

    def sell(kind: str, line: str, parent: str, quantity: int, **fields: Any) -> str:
        made = people._make_record(kind, **known, **fields)
        assert made
        assert people._make_record(
            line, PricebookEntryId=entry, Quantity=quantity, UnitPrice=249, **{parent: made}
        )
        return made

    won = {"StageName": "Closed Won", "CloseDate": "2026-11-12"}
    deals = [
        sell("Opportunity", "OpportunityLineItem", "OpportunityId", number, Name=f"Deal {number}", **won)
        for number in (1, 2)
    ]
    for number, source in ((3, {}), (4, {"OpportunityId": deals[0]})):
        draft = {"Status": "Draft", "EffectiveDate": "2026-11-20", "Name": f"Order {number}"}
        assert people._to_status(
            sell("Order", "OrderItem", "OrderId", number, **draft, **source), "Activated"
        )
    assert people._make_record(
        "Supplier_Bill__c", Name="Goods", Supplier__c=account["Id"], Amount__c=12.5, Received_On__c="2026-11-20",
        Status__c="Approved",
    )  # fmt: skip
    assert people._set(account, Segment__c="Retail")
    people._said("segment", account["Id"], value="Retail")
    life.world.time.sleep(8 * 86_400)
    life._come_to_rest()


SHAPE = replace(CALM_SHAPE, deals=1, made=MADE)


@pytest.mark.in_turn
def test_all_of_it_is_made_by_the_product_as_the_judge_has_it() -> None:
    violations, world = judged(everything, shape=SHAPE)
    assert violations == []
    made = [
        one
        for row in world.wire
        if row["kind"] == "write" and row["n"] and "/Invoices" in row["target"]
        for one in row["body"]["Invoices"]
    ]
    assert len(made) == 5, made  # a whole one, two parts, a month and a bill


@pytest.mark.in_turn
def test_what_is_sold_once_and_billed_twice_is_found() -> None:
    def blind(headers: pl.DataFrame, *_: object) -> pl.DataFrame:
        return headers.with_columns(twice=pl.lit(None, pl.String))

    with patch.object(documents, "with_twice", blind):
        found = judged(everything, shape=SHAPE)[0]
    assert {"twice"} == {one.rule for one in found}

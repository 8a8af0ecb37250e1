"""Suppliers' bills of a mapped object become drafts in Xero through the whole product: once, and never changed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from settled_pair import Till
from whole_pair import Body, Pair

from pipelines.plans import Planned

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

"""A deposit and the rest, and all orders of a month on one invoice, through the whole product on both systems."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from whole_pair import Body, Pair

pytestmark = pytest.mark.in_turn(0)

D = Decimal
DEPOSIT = (
    "extends: [demo]\ndocuments:\n  invoice:\n    changes: move\n    withdraw: void\n"
    "    instalments:\n      when: \"Name like 'United Oil%'\"\n"
    "      parts: [{name: Deposit, share: 30}, {name: Rest, days: 30}]\n"
)
MONTHLY = (
    "extends: [demo, deals_and_orders]\ndocuments:\n  invoice:\n    changes: move\n    withdraw: void\n"
    "    also: {order: {together: {}}}\n"
)
DEAL = "United Oil & Gas UK: three rigs"


@pytest.fixture
def living(fresh: Pair) -> Callable[[str], Pair]:
    def by(mapping: str) -> Pair:
        (fresh.folder / "mapping.yaml").write_text(mapping)
        fresh.enable_writes()
        fresh.adopt()
        return fresh

    return by


def rows(pair: Pair, kind: str) -> list[Body]:
    return [row for row in pair.dump("salesforce").values() if row["attributes"]["type"] == kind]


def deal(pair: Pair) -> Body:
    return next(row for row in rows(pair, "Opportunity") if row["Name"].startswith(DEAL))


def change(pair: Pair, record: Body, **fields: Any) -> None:
    path = f"/services/data/v67.0/sobjects/{record['attributes']['type']}/{record['Id']}"
    reply = pair.in_salesforce.http.patch(path, json=fields)
    assert reply.status_code == 204, reply.text


def win(pair: Pair) -> Body:
    change(pair, deal(pair), StageName="Closed Won", CloseDate="2026-11-20")
    return deal(pair)


def invoices(pair: Pair, slot: str) -> dict[str, Body]:
    found = [row for row in pair.dump("xero").values() if slot in str(row.get("InvoiceNumber", ""))]
    assert len({row["InvoiceNumber"] for row in found}) == len(found)
    return {row["InvoiceNumber"]: row for row in found}


def pass_days(pair: Pair, days: int) -> None:
    for side in ("salesforce", "xero"):
        pair.control(side, "POST", "clock", {"move_s": days * 86_400})
    pair.__dict__.pop("in_salesforce", None)  # nobody's session lasts that long


def order(pair: Pair, day: str, quantity: int) -> Body:
    accounts = [row for row in rows(pair, "Account") if row.get("ExternalID__c")]
    entry = min(rows(pair, "PricebookEntry"), key=lambda row: row["Id"])
    made = pair.in_salesforce.make(
        "Order", AccountId=min(row["Id"] for row in accounts), EffectiveDate=day, Status="Draft",
        Pricebook2Id=entry["Pricebook2Id"],
    )  # fmt: skip
    pair.in_salesforce.make(
        "OrderItem", OrderId=made, PricebookEntryId=entry["Id"], Quantity=quantity, UnitPrice=60
    )
    found = pair.dump("salesforce")[made]
    change(pair, found, Status="Activated")
    return pair.dump("salesforce")[made]


def test_a_deposit_now_and_the_rest_on_its_day(living: Callable[[str], Pair]) -> None:
    pair = living(DEPOSIT)
    won = win(pair)
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    pair.apply(planned)
    assert pair.adopt(rounds=1).operations.is_empty()
    [deposit] = invoices(pair, "-P").values()
    assert deposit["InvoiceNumber"] == f"SF-{won['Id'].upper()}-P1"
    shown = deal(pair)
    assert shown["Xero_Invoice_ID__c"] == deposit["InvoiceID"]
    assert shown["Xero_Invoice_Number__c"] == deposit["InvoiceNumber"]

    sold = next(row for row in rows(pair, "OpportunityLineItem") if row["OpportunityId"] == won["Id"])
    change(pair, sold, Quantity=float(sold["Quantity"]) + 1)
    pair.adopt()
    [deposit] = invoices(pair, "-P").values()
    pass_days(pair, 40)
    pair.adopt()
    both = invoices(pair, "-P")
    rest = both[f"SF-{won['Id'].upper()}-P2"]
    assert D(str(deposit["SubTotal"])) + D(str(rest["SubTotal"])) == D(str(deal(pair)["Amount"]))
    assert deal(pair)["Xero_Invoice_ID__c"] == rest["InvoiceID"]
    planned = pair.plan()
    assert planned.alarms == [] and planned.operations.is_empty()

    change(pair, deal(pair), StageName="Closed Lost")
    pair.adopt()
    assert {one["Status"] for one in invoices(pair, "-P").values()} == {"DELETED"}


def test_what_changes_between_plan_and_push_makes_no_deposit(living: Callable[[str], Pair]) -> None:
    pair = living(DEPOSIT)
    win(pair)
    planned = pair.plan()
    change(pair, deal(pair), StageName="Negotiation/Review")
    outcomes = pair.apply(planned).filter(pl.col("entity") == "document", pl.col("system") == "xero")
    assert outcomes["outcome"].to_list() == ["overtaken"]
    assert invoices(pair, "-P") == {}


def test_a_lost_memory_makes_no_part_twice(living: Callable[[str], Pair]) -> None:
    pair = living(DEPOSIT)
    won = win(pair)
    pair.adopt()
    change(pair, won, Xero_Invoice_ID__c=None, Xero_Invoice_Number__c=None)
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    pair.adopt()
    [deposit] = invoices(pair, won["Id"].upper()).values()
    assert deal(pair)["Xero_Invoice_ID__c"] == deposit["InvoiceID"]


def test_a_months_orders_are_billed_together_when_it_is_over(living: Callable[[str], Pair]) -> None:
    pair = living(MONTHLY)
    first, second = order(pair, "2026-11-12", 2), order(pair, "2026-11-20", 3)
    pair.adopt()
    assert invoices(pair, "-M") == {}
    pass_days(pair, 10)
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    third = order(pair, "2026-11-21", 1)
    change(pair, second, Status="Draft")
    items = [row for row in rows(pair, "OrderItem") if row["OrderId"] == second["Id"]]
    change(pair, items[0], Quantity=4)
    change(pair, second, Status="Activated")
    outcomes = pair.apply(planned).filter(pl.col("entity") == "document", pl.col("system") == "xero")
    assert outcomes["outcome"].to_list() == ["overtaken"]  # one of its orders is not as the plan saw it
    pair.adopt()
    [november] = invoices(pair, "-M202611").values()
    assert [D(str(line["Quantity"])) for line in november["LineItems"]] == [2, 4, 1]
    for one in (first, second, third):
        assert pair.dump("salesforce")[one["Id"]]["Xero_Invoice_Url__c"].endswith(november["InvoiceID"])

    late = order(pair, "2026-11-22", 5)
    pair.adopt()
    [november] = invoices(pair, "-M202611").values()
    assert len(november["LineItems"]) == 4
    assert pair.dump("salesforce")[late["Id"]]["Xero_Invoice_Url__c"].endswith(november["InvoiceID"])
    planned = pair.plan()
    assert planned.alarms == [] and planned.operations.is_empty()

"""Won opportunities and activated orders become invoices side by side, through the whole product on both systems."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from whole_pair import Body, Pair

pytestmark = pytest.mark.in_turn(2)

MOVING = "extends: [demo, deals_and_orders]\ndocuments: {invoice: {changes: move, withdraw: void%s}}\n"
DEAL = "United Oil & Gas UK: three rigs"


@pytest.fixture
def both(fresh: Pair) -> Pair:
    (fresh.folder / "mapping.yaml").write_text(MOVING % "")
    fresh.enable_writes()
    fresh.adopt()
    return fresh


def rows(pair: Pair, kind: str) -> list[Body]:
    return [row for row in pair.dump("salesforce").values() if row["attributes"]["type"] == kind]


def deal(pair: Pair, name: str = DEAL) -> Body:
    return next(row for row in rows(pair, "Opportunity") if row["Name"].startswith(name))


def change(pair: Pair, record: Body, **fields: Any) -> None:
    path = f"/services/data/v67.0/sobjects/{record['attributes']['type']}/{record['Id']}"
    reply = pair.in_salesforce.http.patch(path, json=fields)
    assert reply.status_code == 204, reply.text


def win(pair: Pair, name: str = DEAL) -> Body:
    change(pair, deal(pair, name), StageName="Closed Won", CloseDate="2026-11-23")
    return deal(pair, name)


def order(pair: Pair, *, status: str = "Activated", quantity: int = 2, came_from: str | None = None) -> Body:
    """An order of a customer who is linked already."""
    accounts = [row for row in rows(pair, "Account") if row.get("ExternalID__c")]
    entry = min(rows(pair, "PricebookEntry"), key=lambda row: row["Id"])
    fields = {"OpportunityId": came_from} if came_from else {}
    made = pair.in_salesforce.make(
        "Order", AccountId=min(row["Id"] for row in accounts), EffectiveDate="2026-11-20", Status="Draft",
        Pricebook2Id=entry["Pricebook2Id"], **fields,
    )  # fmt: skip
    pair.in_salesforce.make(
        "OrderItem", OrderId=made, PricebookEntryId=entry["Id"], Quantity=quantity, UnitPrice=60
    )
    found = pair.dump("salesforce")[made]
    if status == "Activated":
        change(pair, found, Status="Activated")
    return pair.dump("salesforce")[made]


def invoices(pair: Pair) -> dict[str, Body]:
    """Invoices of ours, by the id of their source; one each."""
    ours = [row for row in pair.dump("xero").values() if str(row.get("InvoiceNumber", "")).startswith("SF-")]
    found = {row["InvoiceNumber"].removeprefix("SF-"): row for row in ours}
    assert len(found) == len(ours)
    return found


def told(pair: Pair) -> dict[str, str]:
    rejects = pair.plan().rejects.filter(pl.col("entity") == "document")
    return dict(rejects.select("record_id", "reason").iter_rows())


def test_both_are_invoiced_in_one_push_and_then_nothing_is_left(both: Pair) -> None:
    pair = both
    before = invoices(pair).keys()
    won, ordered = win(pair), order(pair)
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    assert planned.operations.filter(pl.col("entity") == "document", pl.col("system") == "xero").height == 2
    pair.apply(planned)
    assert pair.adopt(rounds=1).operations.is_empty()
    found = invoices(pair)
    assert found.keys() - before == {won["Id"].upper(), ordered["Id"].upper()}
    for source in (won, ordered):
        shown = pair.dump("salesforce")[source["Id"]]
        invoice = found[source["Id"].upper()]
        assert shown["Xero_Invoice_ID__c"] == invoice["InvoiceID"]
        assert shown["Xero_Invoice_Number__c"] == invoice["InvoiceNumber"]
        assert shown["Xero_Invoice_Status__c"] == invoice["Status"]
    assert pair.plan().alarms == []


def test_what_was_sold_by_a_deal_is_not_billed_again_by_its_order(both: Pair) -> None:
    pair = both
    won = win(pair)
    ordered = order(pair, came_from=won["Id"])
    pair.adopt()
    assert won["Id"].upper() in invoices(pair)
    assert ordered["Id"].upper() not in invoices(pair)
    assert "what is sold once is billed once" in told(pair)[ordered["Id"]]


def test_a_deal_that_is_won_after_its_order_was_billed_is_told(both: Pair) -> None:
    pair = both
    ordered = order(pair, came_from=deal(pair)["Id"])
    pair.adopt()
    assert ordered["Id"].upper() in invoices(pair)
    won = win(pair)
    pair.adopt()
    assert won["Id"].upper() not in invoices(pair)
    assert "what is sold once is billed once" in told(pair)[won["Id"]]


def test_each_is_looked_at_once_more_before_it_is_billed(both: Pair) -> None:
    pair = both
    won, ordered, stays = win(pair), order(pair), order(pair, quantity=3)
    planned = pair.plan()
    change(pair, won, StageName="Negotiation/Review")
    items = [row for row in rows(pair, "OrderItem") if row["OrderId"] == ordered["Id"]]
    change(pair, ordered, Status="Draft")  # an activated order's lines can't be changed
    change(pair, items[0], Quantity=5)
    change(pair, ordered, Status="Activated")
    outcomes = pair.apply(planned).filter(pl.col("entity") == "document", pl.col("system") == "xero")
    assert sorted(outcomes["outcome"]) == ["confirmed", "overtaken", "overtaken"]
    assert won["Id"].upper() not in invoices(pair)
    assert ordered["Id"].upper() not in invoices(pair)
    assert stays["Id"].upper() in invoices(pair)


def test_each_draft_follows_its_own_source(both: Pair) -> None:
    pair = both
    won, ordered = win(pair), order(pair)
    pair.adopt()
    sold = next(row for row in rows(pair, "OpportunityLineItem") if row["OpportunityId"] == won["Id"])
    change(pair, sold, Quantity=float(sold["Quantity"]) + 1)
    pair.adopt()
    change(pair, ordered, Status="Draft")
    pair.adopt()
    found = invoices(pair)
    assert found[won["Id"].upper()]["SubTotal"] == deal(pair)["Amount"]
    assert found[ordered["Id"].upper()]["Status"] == "DELETED"
    assert pair.plan().alarms == []


def test_a_lost_memory_bills_neither_twice(both: Pair) -> None:
    pair = both
    won, ordered = win(pair), order(pair)
    pair.adopt()
    before = invoices(pair)
    for source in (won, ordered):
        change(pair, source, Xero_Invoice_ID__c=None, Xero_Invoice_Number__c=None)
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    pair.adopt()
    assert invoices(pair).keys() == before.keys()
    for source in (won, ordered):
        shown = pair.dump("salesforce")[source["Id"]]["Xero_Invoice_ID__c"]
        assert shown == before[source["Id"].upper()]["InvoiceID"]


def test_the_doctor_names_the_place_of_a_wrong_status(both: Pair) -> None:
    pair = both
    text = (pair.folder / "mapping.yaml").read_text()
    wrong = ", also: {order: {salesforce: {stages: [Aktiviert]}}}"
    (pair.folder / "mapping.yaml").write_text(text.replace("withdraw: void", f"withdraw: void{wrong}"))
    said = pair.command("doctor")
    assert "documents.invoice.also.order.salesforce.stages" in said.out + said.err

"""Activated orders become invoices, once, through the whole product on both sandboxed systems."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from settled_pair import SCOPES, Till
from whole_pair import Body, Pair

pytestmark = pytest.mark.in_turn(0)

D = Decimal
SOLD = ((Decimal(3), Decimal("19.99")), (Decimal("0.5"), Decimal(250)))  # 59.97 and 125.00


@pytest.fixture
def ordering(fresh: Pair) -> Pair:
    (fresh.folder / "mapping.yaml").write_text(
        "extends: [demo, orders]\ndocuments: {invoice: {cut_over: 2026-11-01}}\n"
    )
    fresh.enable_writes()
    fresh.adopt()
    return fresh


def follow(pair: Pair, invoice: str) -> None:
    (pair.folder / "mapping.yaml").write_text(f"extends: [demo, orders]\ndocuments: {{invoice: {invoice}}}\n")


def made(pair: Pair, *, account: str, original: Body | None = None, place: int = 0) -> Body:
    """An order with two lines, still a draft; or one that takes back a line of another, wholly."""
    prices = [
        row for row in pair.dump("salesforce").values() if row["attributes"]["type"] == "PricebookEntry"
    ]
    books = {row["Pricebook2Id"] for row in prices}
    book = sorted(books)[0]
    fields: dict[str, Any] = {
        "AccountId": account, "EffectiveDate": "2026-11-20", "Status": "Draft", "Pricebook2Id": book,
    }  # fmt: skip
    if original is not None:
        fields |= {"IsReductionOrder": True, "OriginalOrderId": original["Id"]}
    order = pair.in_salesforce.make("Order", **fields)
    own = [row for row in prices if row["Pricebook2Id"] == book and row.get("IsActive", True)]
    sold = sorted(own, key=lambda row: row["Id"])[: len(SOLD)]
    if original is not None:
        first = sorted(lines(pair, original["Id"]), key=lambda row: row["OrderItemNumber"])[place]
        pair.in_salesforce.make(
            "OrderItem", OrderId=order, OriginalOrderItemId=first["Id"], Quantity=-float(first["Quantity"]),
            PricebookEntryId=first["PricebookEntryId"], UnitPrice=float(first["UnitPrice"]),
        )  # fmt: skip
    else:
        for entry, (quantity, price) in zip(sold, SOLD, strict=True):
            pair.in_salesforce.make(
                "OrderItem", OrderId=order, PricebookEntryId=entry["Id"], Quantity=float(quantity),
                UnitPrice=float(price),
            )  # fmt: skip
    return pair.dump("salesforce")[order]


def lines(pair: Pair, order: str) -> list[Body]:
    return [row for row in pair.dump("salesforce").values() if row.get("OrderId") == order]


def change(pair: Pair, order: Body, **fields: Any) -> None:
    reply = pair.in_salesforce.http.patch(f"/services/data/v67.0/sobjects/Order/{order['Id']}", json=fields)
    assert reply.status_code == 204, reply.text


def invoices(pair: Pair) -> dict[str, Body]:
    ours = [
        row for row in pair.dump("xero").values() if str(row.get("InvoiceNumber", "")).startswith("SF-801")
    ]
    assert len({row["InvoiceNumber"] for row in ours}) == len(ours)
    return {row["InvoiceNumber"]: row for row in ours}


def linked_account(pair: Pair) -> str:
    rows = pair.dump("salesforce").values()
    found = [row for row in rows if row["attributes"]["type"] == "Account" and row.get("ExternalID__c")]
    return min(found, key=lambda row: row["Id"])["Id"]


def told(pair: Pair) -> dict[str, str]:
    rejects = pair.plan().rejects.filter(pl.col("entity") == "document")
    return dict(rejects.select("record_id", "reason").iter_rows())


def test_an_order_is_invoiced_when_it_is_activated_and_once(ordering: Pair) -> None:
    pair = ordering
    account = linked_account(pair)
    order = made(pair, account=account)
    assert not pair.plan().waits
    assert invoices(pair) == {}

    change(pair, order, Status="Activated")
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    [reason] = planned.operations.filter(pl.col("entity") == "document", pl.col("system") == "xero")["reason"]
    assert reason == "this order is activated, and has no invoice"
    pair.apply(planned)
    quiet = pair.adopt(rounds=1)
    assert quiet.operations.is_empty()

    [invoice] = invoices(pair).values()
    shown = pair.dump("salesforce")[order["Id"]]
    assert invoice["InvoiceNumber"] == f"SF-{order['Id'].upper()}" == shown["Xero_Invoice_Number__c"]
    assert shown["Xero_Invoice_ID__c"] == invoice["InvoiceID"]
    assert invoice["Reference"] == shown["OrderNumber"]
    assert datetime.fromtimestamp(int(invoice["Date"][6:19]) / 1000, UTC).date() == date(2026, 11, 20)
    assert Decimal(str(invoice["SubTotal"])) == Decimal("184.97")
    # What names a line is its product: an order's line has no name of its own.
    products = {row["Id"]: row["Name"] for row in pair.dump("salesforce").values() if "ProductCode" in row}
    sold = [products[row["Product2Id"]] for row in lines(pair, order["Id"])]
    assert sorted(line["Description"] for line in invoice["LineItems"]) == sorted(sold)

    back = made(pair, account=account, original=order)
    change(pair, back, Status="Activated")
    assert told(pair).keys() == {order["Id"]}
    assert len(invoices(pair)) == 1


@pytest.mark.parametrize("stamps", ["modified", "none"])
def test_what_is_taken_back_between_plan_and_push_is_not_billed(ordering: Pair, stamps: str) -> None:
    """Also where Salesforce stamps no line of the order when another one takes from it."""
    pair = ordering
    pair.control("salesforce", "POST", "dialect", {"roll_up_stamps": stamps})
    account = linked_account(pair)
    order = made(pair, account=account)
    change(pair, order, Status="Activated")
    back = made(pair, account=account, original=order)  # its lines are there, and take nothing yet
    time.sleep(2)  # to the whole second a snapshot shows what came before it
    planned = pair.plan()
    assert planned.operations.filter(pl.col("entity") == "document", pl.col("system") == "xero").height == 1
    change(pair, back, Status="Activated")
    outcomes = pair.apply(planned).filter(pl.col("entity") == "document", pl.col("system") == "xero")
    assert outcomes["outcome"].to_list() == ["overtaken"]
    assert invoices(pair) == {}
    assert pair.adopt(rounds=2).operations.is_empty()
    [invoice] = invoices(pair).values()
    assert D(str(invoice["SubTotal"])) == D("125.00")


def test_what_was_taken_back_before_is_not_billed(ordering: Pair) -> None:
    pair = ordering
    account = linked_account(pair)
    order = made(pair, account=account)
    change(pair, order, Status="Activated")
    back = made(pair, account=account, original=order)
    change(pair, back, Status="Activated")
    old = made(pair, account=account)
    change(pair, old, EffectiveDate="2026-10-20")
    change(pair, old, Status="Activated")
    back = made(pair, account=account, original=old)
    change(pair, back, Status="Activated")
    assert pair.adopt(rounds=2).operations.is_empty()
    [invoice] = invoices(pair).values()
    assert [D(str(line["LineAmount"])) for line in invoice["LineItems"]] == [D("125.00")]
    # What was sold before we bill is nothing that we could credit.
    [reason] = told(pair).values()
    assert reason == "it takes back what an order sold that is not invoiced from here: credit that in Xero"


def test_a_draft_follows_what_is_taken_back_of_its_order(ordering: Pair) -> None:
    pair = ordering
    follow(pair, "{changes: move, withdraw: void}")
    account = linked_account(pair)
    order = made(pair, account=account)
    change(pair, order, Status="Activated")
    pair.adopt()
    back = made(pair, account=account, original=order)
    pair.adopt()
    [invoice] = invoices(pair).values()
    assert D(str(invoice["SubTotal"])) == D("184.97")  # the reduction order is no more than a draft

    change(pair, back, Status="Activated")
    assert pair.adopt(rounds=3).operations.is_empty()
    assert told(pair) == {}
    [invoice] = invoices(pair).values()
    assert (invoice["Status"], D(str(invoice["SubTotal"]))) == ("DRAFT", D("125.00"))

    back = made(pair, account=account, original=order, place=1)
    change(pair, back, Status="Activated")
    assert pair.adopt(rounds=3).operations.is_empty()
    [invoice] = invoices(pair).values()
    assert invoice["Status"] == "DELETED"


def test_what_is_taken_back_of_an_approved_invoice_is_credited_on_a_yes(ordering: Pair) -> None:
    pair = ordering
    follow(pair, "{changes: move, credits: draft, settled: read}")
    pair.set("xero", scopes=SCOPES)
    account = linked_account(pair)
    order = made(pair, account=account)
    change(pair, order, Status="Activated")
    pair.adopt()
    till = Till(pair)
    [invoice] = invoices(pair).values()
    till.call("POST", "Invoices", {"InvoiceID": invoice["InvoiceID"], "Status": "AUTHORISED"})
    pair.adopt()

    back = made(pair, account=account, original=order)
    change(pair, back, Status="Activated")
    planned = pair.plan()
    assert planned.operations.is_empty()
    [reason] = told(pair).values()
    assert "It would be of 59.97 and its tax, a draft. Say yes" in reason
    pair.resolve(order["Id"], "invoice", "salesforce")
    assert pair.adopt(rounds=3).operations.is_empty()
    note = till.call("GET", "CreditNotes")
    assert (note["Status"], note["SubTotal"]) == ("DRAFT", D("59.97"))
    assert pair.plan().alarms == []


def test_a_lost_journal_makes_no_orders_invoice_twice(ordering: Pair) -> None:
    pair = ordering
    order = made(pair, account=linked_account(pair))
    change(pair, order, Status="Activated")
    pair.adopt()
    change(pair, order, Xero_Invoice_ID__c=None, Xero_Invoice_Number__c=None)
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    before = invoices(pair)
    pair.adopt()
    assert invoices(pair).keys() == before.keys()
    assert (
        pair.dump("salesforce")[order["Id"]]["Xero_Invoice_ID__c"]
        == before[f"SF-{order['Id'].upper()}"]["InvoiceID"]
    )


def test_lines_of_another_object_are_refused_with_the_place(fresh: Pair) -> None:
    text = (
        "extends: [demo]\ndocuments: {invoice: {salesforce: {object: Order, lines: OpportunityLineItem}}}\n"
    )
    (fresh.folder / "mapping.yaml").write_text(text)
    said = fresh.command("plan")
    assert said.code == 2
    assert "mapping.yaml:2" in said.err
    assert "OrderItem" in said.err


def test_invoices_of_deals_stand_when_orders_are_billed_from_now_on(fresh: Pair) -> None:
    """A mapping that reads other sales knows nothing of the deals before: that says nothing about them."""
    pair = fresh
    (pair.folder / "mapping.yaml").write_text(
        "extends: [demo]\ndocuments: {invoice: {changes: move, withdraw: void}}\n"
    )
    pair.enable_writes()
    pair.adopt()
    before = {
        row["InvoiceNumber"]: row["Status"] for row in pair.dump("xero").values() if "InvoiceNumber" in row
    }
    assert "DRAFT" in before.values()
    follow(pair, "{changes: move, withdraw: void}")
    planned = pair.plan()
    assert planned.operations.is_empty(), planned.operations.to_dicts()
    order = made(pair, account=linked_account(pair))
    change(pair, order, Status="Activated")
    pair.adopt()
    after = {
        row["InvoiceNumber"]: row["Status"] for row in pair.dump("xero").values() if "InvoiceNumber" in row
    }
    assert after == before | {f"SF-{order['Id'].upper()}": "DRAFT"}
    assert pair.plan().alarms == []

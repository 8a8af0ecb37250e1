"""Activated orders become invoices, once, through the whole product on both sandboxed systems."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from whole_pair import Body, Pair

SOLD = ((Decimal(3), Decimal("19.99")), (Decimal("0.5"), Decimal(250)))  # 59.97 and 125.00


@pytest.fixture
def ordering(fresh: Pair) -> Pair:
    (fresh.folder / "mapping.yaml").write_text(
        "extends: [demo, orders]\ndocuments: {invoice: {cut_over: 2026-11-01}}\n"
    )
    fresh.enable_writes()
    fresh.adopt()
    return fresh


def made(pair: Pair, *, account: str, original: Body | None = None) -> Body:
    """An order with two lines, still a draft; or one that takes back the first line of another, wholly."""
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
        first = min(lines(pair, original["Id"]), key=lambda row: row["OrderItemNumber"])
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
    assert told(pair) == {back["Id"]: "it takes back what another order sold: credit that in Xero"}
    assert len(invoices(pair)) == 1


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

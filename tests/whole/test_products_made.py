"""Items that are made when an invoice needs them, what is shown of stock, and rest under random dialects."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shelf import CUSTOM, SALESFORCE, XERO, Clerk, item, item_id, items, of, price_id, product_id, shelf
from whole_pair import Body, Pair, brief, running

from sandbox.xero.switches import SWITCHES

pytestmark = pytest.mark.in_turn(2)

TRACKED: Body = {
    "InventoryAssetAccountCode": "630",
    "IsPurchased": True,
    "PurchaseDetails": {"COGSAccountCode": "310"},
}
STAMPS = {"concurrent_problem", "day_limit", "minute_window"}  # of limits, which are off here


def later(pair: Pair) -> None:
    for side in ("salesforce", "xero"):
        pair.control(side, "POST", "clock", {"move_s": 60})


@pytest.mark.slow
def test_a_line_without_an_item_gets_one_made_before_its_invoice(tmp_path: Path) -> None:
    with running(tmp_path / "pair") as pair:
        for field in CUSTOM:
            pair.control("salesforce", "POST", "fields", {"object": "Product2", "add": field})
        (pair.folder / "mapping.yaml").write_text(
            "extends: [demo, products]\ndocuments: {invoice: {lines: {items: on_demand}}}\n"
        )
        pair.enable_writes()
        planned = pair.plan()
        made = planned.operations.filter(pl.col("entity") == "product", pl.col("action") == "create")
        assert made["after"].to_list() == [
            '{"code":"SVC-YR","description":"Two visits a year","name":"Service contract, one year",'
            '"sales_price":"640"}'
        ]
        marks = pair.marks()
        assert pair.apply(planned)["outcome"].unique().to_list() == ["confirmed"]
        assert [kind for kind, _ in pair.created(marks)].count("item") == 1
        assert items(pair)["SVC-YR"]["SalesDetails"] == {"UnitPrice": 640}
        lines = [
            line.get("ItemCode")
            for row in pair.dump("xero").values()
            if str(row.get("Reference")).startswith("Boom FM") and row.get("LineItems")
            for line in row["LineItems"]
        ]
        assert lines == ["TRN-DAY", "SVC-YR"]
        assert not pair.plan().waits


def test_stock_is_shown_where_xero_tracks_the_item(tmp_path: Path) -> None:
    stock = [{**item(1, "HOSE-M", "Hose", 3.45), **TRACKED, "QuantityOnHand": 7.5}, *XERO[1:]]
    with shelf(tmp_path / "pair", xero=stock) as pair:
        pair.adopt()
        shown = {n: pair.row(product_id(n))["Quantity_On_Hand__c"] for n in (1, 2)}
        assert shown == {1: 7.5, 2: None}
        # A sale moves the stock, and no stamp of the item.
        now = {**stock[0], "QuantityOnHand": 6, "UpdatedDateUTC": items(pair)["HOSE-M"]["UpdatedDateUTC"]}
        pair.load("xero", [now])
        planned = pair.plan(full=True)
        assert [one[4:] for one in brief(planned)] == [("quantity_on_hand", "6")]
        pair.apply(planned)
        assert not pair.plan().waits


def test_a_new_item_is_made_once_though_the_journal_is_lost(tmp_path: Path) -> None:
    mapping = (
        "extends: [default, products]\n"
        "entities: {product: {create: {xero: {policy: always, when: \"ProductCode = 'VALVE'\"}}}}\n"
    )
    with shelf(tmp_path / "pair", mapping=mapping) as pair:
        pair.adopt()
        assert items(pair)["VALVE"]["SalesDetails"] == {
            "UnitPrice": 12.5,
            "AccountCode": "200",
            "TaxType": "OUTPUT2",
        }
        made = items(pair)["VALVE"]["ItemID"]
        assert pair.row(product_id(4))["ExternalID__c"] == made
        Clerk(pair).in_salesforce("Product2", product_id(4), ExternalID__c=None)
        for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
            file.unlink()
        pair.enable_writes()
        marks = pair.marks()
        pair.adopt()
        assert pair.created(marks) == []
        assert pair.row(product_id(4))["ExternalID__c"] == made


def dialect(seed: int) -> dict[str, Any]:
    chosen = random.Random(seed)
    return {switch.name: chosen.choice(switch.values) for switch in SWITCHES if switch.name not in STAMPS}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_products_come_to_rest_under_any_dialect(tmp_path: Path, seed: int) -> None:
    with shelf(tmp_path / "pair", salesforce=SALESFORCE, dialect={"xero": dialect(seed)}) as pair:
        pair.adopt()
        later(pair)
        clerk = Clerk(pair)
        clerk.in_xero(1, Name="Hose,  garden", Description=" 12 m ")
        clerk.in_salesforce("PricebookEntry", price_id(2), UnitPrice=251.25)
        clerk.in_salesforce("Product2", product_id(3), Account_Code__c="260", Description=None)
        planned = pair.plan()
        assert of(planned).height == 5
        assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
        assert not pair.plan().waits
        assert not pair.plan(full=True).waits
        drum = items(pair)["DRUM"]
        assert (drum["SalesDetails"]["UnitPrice"], drum["SalesDetails"]["AccountCode"]) == (80, "260")
        assert drum.get("Description") is None
        assert items(pair)["KIT-STD"]["SalesDetails"]["UnitPrice"] == 251.25
        assert pair.dump("xero")[item_id(1)]["Name"] in ("Hose, garden", "Hose,  garden")

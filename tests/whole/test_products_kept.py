"""Products and their prices are kept in agreement, through the whole product on both sandboxed systems."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shelf import LONG, SALESFORCE, XERO, Clerk, item_id, items, of, price_id, product, product_id, shelf
from whole_pair import Pair, brief

pytestmark = pytest.mark.in_turn(2)

LOST = {"xero": {"item_details_not_sent": "lost"}}


@pytest.fixture
def stocked(tmp_path: Path) -> Iterator[Pair]:
    with shelf(tmp_path / "pair") as pair:
        yield pair


def later(pair: Pair) -> None:
    for side in ("salesforce", "xero"):
        pair.control(side, "POST", "clock", {"move_s": 60})


def test_adoption_links_by_code_and_writes_no_item(stocked: Pair) -> None:
    pair = stocked
    before = items(pair)
    planned = pair.plan()
    assert brief(planned) == [
        ("salesforce", product_id(n), "link", "link", "reference", item_id(n)) for n in (1, 2, 3)
    ]
    proposed = planned.review.select("salesforce_id", "xero_id", "rule").sort("salesforce_id").rows()
    assert proposed == [
        (product_id(5), item_id(5), "name"),
        (product_id(6), item_id(6), "code"),
        (product_id(7), item_id(6), "code"),
    ]
    assert set(planned.unmatched["record_id"]) == {product_id(4), product_id(8), item_id(9)}
    assert not pair.adopt(rounds=2).waits
    assert items(pair) == before
    with pair.opened(offline=True) as ctx:
        prices = ctx.journal.links().filter(pl.col("entity") == "price")
    assert sorted(prices["xero_id"]) == [f"{item_id(n)}:primary" for n in (1, 2, 3)]


@pytest.mark.parametrize("dialect", [{}, LOST], ids=["kept", "lost"])
def test_what_people_change_flows_both_ways_and_then_rests(tmp_path: Path, dialect: dict[str, Any]) -> None:
    with shelf(tmp_path / "pair", dialect=dialect) as pair:
        pair.adopt()
        later(pair)
        clerk = Clerk(pair)
        sale = {"UnitPrice": 3.5, "AccountCode": "200", "TaxType": "OUTPUT2"}
        clerk.in_xero(1, SalesDetails=sale, Description="A hose")
        clerk.in_salesforce("PricebookEntry", price_id(2), UnitPrice=251.25)
        clerk.in_salesforce("Product2", product_id(2), Account_Code__c="260", Description="Kits")
        clerk.in_salesforce("Product2", product_id(3), ProductCode="DRUM-1")
        planned = pair.plan()
        assert sorted((one[0], one[1], one[4], one[5]) for one in brief(planned)) == [
            ("salesforce", product_id(1), "description", "A hose"),
            ("salesforce", price_id(1), "sales_price", "3.5"),
            ("xero", item_id(2), "account", "260"),
            ("xero", item_id(2), "description", "Kits"),
            ("xero", f"{item_id(2)}:primary", "sales_price", "251.25"),
            ("xero", item_id(3), "code", "DRUM-1"),
        ]
        assert pair.apply(planned)["outcome"].unique().to_list() == ["confirmed"]
        kit = items(pair)["KIT-STD"]
        assert kit["SalesDetails"] == {"UnitPrice": 251.25, "AccountCode": "260", "TaxType": "OUTPUT2"}
        assert items(pair)["DRUM-1"]["PurchaseDetails"] == {"UnitPrice": 40.125}
        rows = pair.dump("salesforce")
        assert (rows[price_id(1)]["UnitPrice"], rows[product_id(1)]["Description"]) == (3.5, "A hose")
        assert not pair.plan().waits
        assert not pair.plan(full=True).waits


@pytest.mark.slow
def test_the_checks_pass_a_plan_of_products(stocked: Pair) -> None:
    pair = stocked
    pair.checked = True
    planned = pair.plan()
    assert of(planned).height == 3
    assert planned.findings.filter(~pl.col("passed"), pl.col("severity") == "critical").is_empty()


def test_a_price_keeps_four_decimals_and_what_a_side_has_no_room_for_is_told(stocked: Pair) -> None:
    pair = stocked
    pair.adopt()
    later(pair)
    sale = {"UnitPrice": 3.4567, "AccountCode": "200", "TaxType": "OUTPUT2"}
    Clerk(pair).in_xero(1, SalesDetails=sale)
    planned = pair.plan()
    assert of(planned).is_empty()
    [reason] = planned.rejects.filter(pl.col("unit") == "sales_price")["reason"]
    assert reason == "UnitPrice: a price of more than 2 decimals, which Salesforce does not keep"
    Clerk(pair).in_salesforce("Product2", product_id(1), Description="Hose, by the metre")
    later(pair)
    pair.apply(pair.plan())
    assert Decimal(str(items(pair)["HOSE-M"]["SalesDetails"]["UnitPrice"])) == Decimal("3.4567")


def test_an_item_that_is_no_longer_sold_clears_nothing(stocked: Pair) -> None:
    pair = stocked
    pair.adopt()
    later(pair)
    Clerk(pair).in_xero(1, IsSold=False)
    planned = pair.plan()
    assert [one[4:] for one in brief(planned)] == [("active", "false")]
    pair.apply(planned)
    row = pair.row(product_id(1))
    assert (row["IsActive"], row["Description"], row["Account_Code__c"]) == (False, "Hose", "200")
    assert not pair.plan().waits


def test_a_pair_whose_mapping_names_no_product_reads_none(tmp_path: Path) -> None:
    with shelf(tmp_path / "pair", mapping="extends: [default]\n") as pair:
        planned = pair.plan()
        assert not planned.waits
        assert set(planned.rows) == {"salesforce.Account", "salesforce.Contact", "xero.Contact"}


def test_only_the_mapped_book_in_the_organisations_currency_is_a_price(tmp_path: Path) -> None:
    trade = "01s000000000077AAA"
    book = {"attributes": {"type": "Pricebook2"}, "Id": trade, "Name": "Trade", "IsActive": True}
    _, entry = product(1, "HOSE-M", "Hose", 2.95)
    entry |= {"Id": price_id(71), "Pricebook2Id": trade}
    for mapping, price in (("", "3.45"), ("price_book: Trade", "2.95")):
        text = f"extends: [default, products]\nentities: {{price: {{salesforce: {{{mapping}}}}}}}\n"
        with shelf(
            tmp_path / (mapping or "standard"), mapping=text, salesforce=[*SALESFORCE, book, entry], xero=XERO
        ) as pair:
            pair.adopt()
            later(pair)
            sale = {"UnitPrice": 4, "AccountCode": "200", "TaxType": "OUTPUT2"}
            Clerk(pair).in_xero(1, SalesDetails=sale)
            planned = pair.plan()
            written = of(planned, "price").select("record_id", "before", "after").rows()
            asked = planned.conflicts.filter(pl.col("entity") == "price")["salesforce_id"].to_list()
            if price == "3.45":
                assert (written, asked) == ([(price_id(1), "3.45", "4")], [])
            else:  # the two had never agreed
                assert (written, asked) == ([], [price_id(71)])


def test_a_lost_journal_is_found_again_by_ids_and_codes(stocked: Pair) -> None:
    pair = stocked
    pair.adopt()
    for n in (1, 2):
        Clerk(pair).in_salesforce("Product2", product_id(n), ExternalID__c=None)
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    marks = pair.marks()
    pair.adopt()
    assert pair.created(marks) == []
    assert [pair.row(product_id(n))["ExternalID__c"] for n in (1, 2, 3)] == [item_id(n) for n in (1, 2, 3)]


def test_long_codes_are_matched_by_their_short_form(tmp_path: Path) -> None:
    short = item_form(LONG)
    stock = [*XERO, {**XERO[0], "ItemID": item_id(8), "Code": short, "Name": "Cable"}]
    with shelf(tmp_path / "pair", xero=stock) as pair:
        planned = pair.plan()
        assert (product_id(8), item_id(8)) in planned.operations.select("record_id", "source_id").rows()
        quiet = pair.adopt()
        assert quiet.drift.filter(
            pl.col("salesforce_id") == product_id(8), pl.col("unit") == "code"
        ).is_empty()


def item_form(code: str) -> str:
    """The short form, worked out by hand: `sha256sum` of the code, its first eight digits in capitals."""
    known = {"CABLE-ASSEMBLY/CAT6A/SHIELDED/305M/GREY": "CABLE-ASSEMBLY/CAT6A/~3C8099CB"}
    return known[code]

"""Products and their prices are written completely, and a price follows its product and the standard price."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from salesforce_peer import Peer, refusal, serving, simple_client
from simple_salesforce import Salesforce

from sandbox.salesforce.ids import make_id

STANDARD = make_id("01s", "St", 1)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("products")) as started:
        yield started


@pytest.fixture
def peer(line: dict[str, Any]) -> Peer:
    plain = Peer(line)
    plain.control("reset", {"seed": False})
    return plain


@pytest.fixture
def sf(line: dict[str, Any], peer: Peer) -> Salesforce:
    return simple_client(line)


def price(peer: Peer, product: str, amount: float, book: str = STANDARD, **fields: Any) -> str:
    named = {"Pricebook2Id": book, "Product2Id": product, "UnitPrice": amount, "IsActive": True}
    return peer.make("PricebookEntry", **named, **fields)


def test_the_standard_price_book_is_found_by_its_name(sf: Salesforce) -> None:
    found = sf.query("select Id from Pricebook2 where Name = 'Standard Price Book'")
    assert [one["Id"] for one in found["records"]] == [STANDARD]


def test_simple_salesforce_writes_products_completely(sf: Salesforce, peer: Peer) -> None:
    code = {"name": "Xero_Code__c", "type": "string", "length": 30}
    peer.control("fields", {"object": "Product2", "add": code})
    new = {
        "Name": "Hose", "ProductCode": "H-1", "IsActive": True, "Family": "Garden", "Xero_Code__c": "HOSE",
        "QuantityUnitOfMeasure": "Each", "StockKeepingUnit": "SKU-1", "Description": "12 m",
    }  # fmt: skip
    made = sf.Product2.create(new)["id"]
    row = sf.Product2.get(made)
    assert {name: row[name] for name in new} == new
    assert sf.Product2.update(made, {"IsActive": False, "Family": None}) == 204
    row = sf.Product2.get(made)
    assert (row["IsActive"], row["Family"], row["ProductCode"]) == (False, None, "H-1")
    assert sf.Product2.delete(made) == 204


def test_a_price_shows_its_product_as_it_is_now(sf: Salesforce, peer: Peer) -> None:
    product = peer.make("Product2", Name="Hose", ProductCode="H-1", IsActive=True)
    entry = price(peer, product, 7)
    before = sf.PricebookEntry.get(entry)
    peer.control("clock", {"move_s": 60})
    assert sf.Product2.update(product, {"Name": "Garden hose", "ProductCode": None}) == 204
    after = sf.PricebookEntry.get(entry)
    assert (after["Name"], after["ProductCode"]) == ("Garden hose", None)
    assert after["SystemModstamp"] == before["SystemModstamp"]
    other = peer.make("Product2", Name="Other")
    reply = peer.call("PATCH", f"sobjects/PricebookEntry/{entry}", {"Product2Id": other})
    assert refusal(reply) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")


def test_a_price_that_follows_the_standard_price_moves_with_it(sf: Salesforce, peer: Peer) -> None:
    product = peer.make("Product2", Name="Hose", IsActive=True)
    standard = price(peer, product, 100)
    books = [peer.make("Pricebook2", Name=name, IsActive=True) for name in ("Trade", "Export")]
    follows = price(peer, product, 1, books[0], UseStandardPrice=True)
    own = price(peer, product, 90, books[1])
    assert sf.PricebookEntry.get(follows)["UnitPrice"] == 100.0
    assert sf.PricebookEntry.update(standard, {"UnitPrice": 120.5}) == 204
    assert [sf.PricebookEntry.get(one)["UnitPrice"] for one in (follows, own)] == [120.5, 90.0]

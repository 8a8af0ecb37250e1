"""Orders: drafts are priced, activated ones stand still, reduction orders take back what is there; exact amounts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from salesforce_peer import Peer, load_rows, refusal, serving
from simple_salesforce import Salesforce

from sandbox.salesforce.ids import make_id
from sandbox.seeds import books_of

STANDARD = make_id("01s", "St", 1)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("orders")) as started:
        yield started


@dataclass
class Desk:
    """An account, a product with a standard price of 100, and a draft order."""

    peer: Peer
    account: str
    product: str
    price: str
    order: str

    def add(
        self, quantity: str = "3", price: str = "19.99", order: str = "", **fields: Any
    ) -> httpx.Response:
        numbers = {"Quantity": float(quantity), "UnitPrice": float(price)}
        named = {"OrderId": order or self.order, "PricebookEntryId": self.price, **numbers, **fields}
        return self.peer.call("POST", "sobjects/OrderItem", named)

    def sell(self, *numbers: str, **fields: Any) -> str:
        reply = self.add(*numbers, **fields)
        assert reply.status_code == 201, reply.text
        return reply.json()["id"]

    def read(self, record_id: str = "") -> dict[str, Any]:
        return read(self.peer, record_id or self.order)

    def activate(self, order: str = "") -> None:
        reply = change(self.peer, order or self.order, Status="Activated")
        assert reply.status_code == 204, reply.text

    def reduce(self) -> str:
        """A reduction order of the activated order."""
        return make_order(self.peer, self.account, IsReductionOrder=True, OriginalOrderId=self.order)


def make_order(peer: Peer, account: str, **fields: Any) -> str:
    plain = {"AccountId": account, "EffectiveDate": "2026-11-24", "Status": "Draft", "Pricebook2Id": STANDARD}
    return peer.make("Order", **{**plain, **fields})


def kind_of(record_id: str) -> str:
    return {"801": "Order", "802": "OrderItem", "01u": "PricebookEntry", "01t": "Product2"}[record_id[:3]]


def read(peer: Peer, record_id: str) -> dict[str, Any]:
    reply = peer.call("GET", f"sobjects/{kind_of(record_id)}/{record_id}")
    assert reply.status_code == 200, reply.text
    return json.loads(reply.text, parse_float=Decimal)


def change(peer: Peer, record_id: str, **fields: Any) -> httpx.Response:
    return peer.call("PATCH", f"sobjects/{kind_of(record_id)}/{record_id}", fields)


def delete(peer: Peer, record_id: str) -> httpx.Response:
    return peer.call("DELETE", f"sobjects/{kind_of(record_id)}/{record_id}")


@pytest.fixture
def desk(peer: Peer) -> Desk:
    account = peer.make("Account")
    product = peer.make("Product2", Name="Field kit", ProductCode="KIT", IsActive=True)
    fields = {"Pricebook2Id": STANDARD, "Product2Id": product, "UnitPrice": 100, "IsActive": True}
    price = peer.make("PricebookEntry", **fields)
    return Desk(peer, account, product, price, make_order(peer, account))


# -- simple-salesforce, from draft to activation


def test_it_orders_from_draft_to_activated(sf: Salesforce, desk: Desk) -> None:
    new = {
        "AccountId": desk.account,
        "EffectiveDate": "2026-12-01",
        "Status": "Draft",
        "Pricebook2Id": STANDARD,
    }
    order = sf.Order.create(new)["id"]
    sold = {"OrderId": order, "PricebookEntryId": desk.price, "Quantity": 3, "UnitPrice": 19.99}
    made = sf.OrderItem.create(sold)["id"]
    assert sf.Order.update(order, {"Status": "Activated"}) == 204
    row = sf.Order.get(order)
    assert (row["StatusCode"], row["TotalAmount"]) == ("Activated", 59.97)
    assert int(row["OrderNumber"]) == int(desk.read()["OrderNumber"]) + 1
    assert len(row["OrderNumber"]) == 8
    assert row["ActivatedById"] == desk.peer.user_id
    text = (
        "select Id, OrderItemNumber, TotalPrice, Product2.ProductCode, Order.Account.Name from OrderItem "
        f"where Order.StatusCode = 'Activated' and OrderId = '{order}'"
    )
    found = sf.query_all(text)["records"]
    assert [(one["Id"], len(one["OrderItemNumber"]), one["TotalPrice"]) for one in found] == [
        (made, 10, 59.97)
    ]
    assert (found[0]["Product2"]["ProductCode"], found[0]["Order"]["Account"]["Name"]) == ("KIT", "Acme")
    nested = sf.query(f"select Id, (select Id, Quantity from OrderItems) from Order where Id = '{order}'")
    assert nested["records"][0]["OrderItems"]["records"][0]["Quantity"] == 3.0
    assert (
        sf.query("select (select OrderNumber from Orders) from Account")["records"][0]["Orders"]["totalSize"]
        == 2
    )


def test_describe_tells_what_may_be_written(sf: Salesforce, desk: Desk) -> None:
    fields = {one["name"]: one for one in sf.OrderItem.describe()["fields"]}
    rights = {name: (one["createable"], one["updateable"]) for name, one in fields.items()}
    assert rights["OrderId"] == rights["PricebookEntryId"] == rights["OriginalOrderItemId"] == (True, False)
    assert rights["Quantity"] == (True, True)
    assert rights["TotalPrice"] == rights["ListPrice"] == rights["AvailableQuantity"] == (False, False)
    assert fields["OrderItemNumber"]["autoNumber"]
    desk.peer.control("order-statuses", {"name": "In review", "category": "Draft"})
    order: Any = sf.Order.describe()
    status = next(one for one in order["fields"] if one["name"] == "Status")
    assert [one["value"] for one in status["picklistValues"]] == ["Draft", "Activated", "In review"]
    assert "CurrencyIsoCode" not in {one["name"] for one in order["fields"]}
    assert ("OrderItem", "OrderItems", True) in {
        (one["childSObject"], one["relationshipName"], one["cascadeDelete"])
        for one in order["childRelationships"]
    }


# -- drafts


def test_an_order_is_made_as_a_draft(desk: Desk) -> None:
    new = {"AccountId": desk.account, "EffectiveDate": "2026-11-24", "Pricebook2Id": STANDARD}
    reply = desk.peer.call("POST", "sobjects/Order", {**new, "Status": "Activated"})
    assert refusal(reply) == (400, "FAILED_ACTIVATION")
    assert reply.json()[0]["fields"] == ["Status"]
    assert (
        refusal(desk.peer.call("POST", "sobjects/Order", {**new, "Status": "Odd"}))[1] == "FAILED_ACTIVATION"
    )
    assert refusal(desk.peer.call("POST", "sobjects/Order", new)) == (400, "REQUIRED_FIELD_MISSING")
    desk.peer.control("dialect", {"order_activation_code": "FIELD_INTEGRITY_EXCEPTION"})
    reply = desk.peer.call("POST", "sobjects/Order", {**new, "Status": "Activated"})
    assert refusal(reply)[1] == "FIELD_INTEGRITY_EXCEPTION"
    desk.peer.control("order-statuses", {"name": "In review", "category": "Draft"})
    assert desk.read(make_order(desk.peer, desk.account, Status="In review"))["StatusCode"] == "Draft"


def test_an_order_without_an_account_is_refused_or_taken(desk: Desk) -> None:
    new = {"EffectiveDate": "2026-11-24", "Status": "Draft"}
    assert refusal(desk.peer.call("POST", "sobjects/Order", new)) == (400, "REQUIRED_FIELD_MISSING")
    desk.peer.control("dialect", {"order_without_account": "accepted"})
    assert desk.peer.call("POST", "sobjects/Order", new).status_code == 201


def test_the_total_is_the_sum_of_the_lines_and_can_not_be_written(desk: Desk) -> None:
    assert desk.read()["TotalAmount"] == Decimal(0)
    first = desk.sell("3", "19.99")
    second = desk.sell("0.37", "10.05")  # 3.7185
    assert desk.read(second)["TotalPrice"] == Decimal("3.72")
    assert desk.read()["TotalAmount"] == Decimal("63.69")
    assert change(desk.peer, first, Quantity=2).status_code == 204
    assert desk.read()["TotalAmount"] == Decimal("43.70")
    assert delete(desk.peer, second).status_code == 204
    assert desk.read()["TotalAmount"] == Decimal("39.98")
    assert desk.read(first)["ListPrice"] == Decimal("100")
    for record_id, name in ((desk.order, "TotalAmount"), (first, "TotalPrice"), (first, "PricebookEntryId")):
        reply = change(desk.peer, record_id, **{name: desk.price if name.endswith("Id") else 1})
        assert refusal(reply) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")


def test_a_new_quantity_moves_the_total_or_the_price(desk: Desk) -> None:
    made = desk.sell("2", "30")
    desk.peer.control("dialect", {"order_quantity_keeps": "total_price"})
    assert change(desk.peer, made, Quantity=4).status_code == 204
    assert (desk.read(made)["UnitPrice"], desk.read(made)["TotalPrice"]) == (Decimal("15.0"), Decimal("60.0"))


def test_a_line_must_fit_its_order(desk: Desk) -> None:
    peer = desk.peer
    assert refusal(desk.add("0")) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert refusal(desk.add("-1")) == (400, "FIELD_INTEGRITY_EXCEPTION")
    bare = {"OrderId": desk.order, "PricebookEntryId": desk.price, "Quantity": 1}
    reply = peer.call("POST", "sobjects/OrderItem", bare)
    assert reply.json()[0]["message"] == "Required fields are missing: [UnitPrice]"
    no_book = peer.make("Order", AccountId=desk.account, EffectiveDate="2026-11-24", Status="Draft")
    assert "different pricebook" in desk.add(order=no_book).json()[0]["message"]
    assert change(peer, no_book, Pricebook2Id=STANDARD).status_code == 204
    assert desk.add(order=no_book).status_code == 201
    other = peer.make("Pricebook2", Name="Other", IsActive=True)
    assert refusal(change(peer, no_book, Pricebook2Id=other)) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert change(peer, desk.price, IsActive=False).status_code == 204
    assert "inactive" in desk.add().json()[0]["message"]


def test_a_line_locks_its_order_and_stamps_it_as_chosen(desk: Desk) -> None:
    peer = desk.peer
    peer.control("locks", {"ids": [desk.order]})
    assert refusal(desk.add()) == (400, "UNABLE_TO_LOCK_ROW")
    assert desk.read()["TotalAmount"] == Decimal(0)
    for chosen, moved in (("none", (False, False)), ("system", (False, True)), ("modified", (True, True))):
        peer.control("dialect", {"roll_up_stamps": chosen})
        before = desk.read()
        peer.control("clock", {"move_s": 60})
        desk.sell()
        after = desk.read()
        names = ("LastModifiedDate", "SystemModstamp")
        assert tuple(after[name] != before[name] for name in names) == moved
        assert after["TotalAmount"] != before["TotalAmount"]


# -- activation


def test_activation_needs_a_line_and_no_other_field(desk: Desk) -> None:
    reply = change(desk.peer, desk.order, Status="Activated")
    assert refusal(reply) == (400, "FAILED_ACTIVATION")
    assert "at least one product" in reply.json()[0]["message"]
    desk.sell()
    reply = change(desk.peer, desk.order, Status="Activated", Description="Now")
    assert refusal(reply) == (400, "FAILED_ACTIVATION")
    desk.peer.control("dialect", {"activation_with_other_fields": "accepted"})
    assert change(desk.peer, desk.order, Status="Activated", Description="Now").status_code == 204
    assert desk.read()["ActivatedDate"] is not None


def test_an_activated_order_stands_still(desk: Desk) -> None:
    peer, made = desk.peer, desk.sell()
    desk.activate()
    for code in ("ENTITY_IS_LOCKED", "FIELD_INTEGRITY_EXCEPTION"):
        peer.control("dialect", {"activated_order_code": code})
        for reply in (
            desk.add(), delete(peer, made), delete(peer, desk.order), change(peer, made, Quantity=1),
            change(peer, made, UnitPrice=1),
        ):  # fmt: skip
            assert refusal(reply) == (400, code)
    other = peer.make("Account", Name="Other")
    assert refusal(change(peer, desk.order, AccountId=other)) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert change(peer, made, Description="Late").status_code == 204
    assert change(peer, desk.order, Description="Late").status_code == 204
    assert (desk.read()["TotalAmount"], desk.read(made)["Description"]) == (Decimal("59.97"), "Late")


def test_what_a_user_may_change_of_an_activated_order_is_a_switch(desk: Desk) -> None:
    made = desk.sell("3", "10")
    desk.activate()
    desk.peer.control("dialect", {"activated_order_edits": "none"})
    assert refusal(change(desk.peer, made, Description="x"))[1] == "ENTITY_IS_LOCKED"
    assert refusal(change(desk.peer, desk.order, Description="x"))[1] == "ENTITY_IS_LOCKED"
    desk.peer.control("dialect", {"activated_order_edits": "all"})
    assert change(desk.peer, made, Quantity=2).status_code == 204
    assert desk.read()["TotalAmount"] == Decimal("20.0")
    assert refusal(delete(desk.peer, made))[1] == "ENTITY_IS_LOCKED"


def test_an_activated_order_may_go_back_to_a_draft(desk: Desk) -> None:
    made = desk.sell()
    desk.activate()
    desk.peer.control("dialect", {"order_deactivation": "refused"})
    assert refusal(change(desk.peer, desk.order, Status="Draft"))[1] == "FAILED_ACTIVATION"
    desk.peer.control("dialect", {"order_deactivation": "accepted"})
    assert change(desk.peer, desk.order, Status="Draft").status_code == 204
    assert (desk.read()["StatusCode"], desk.read()["ActivatedDate"]) == ("Draft", None)
    assert delete(desk.peer, made).status_code == 204


# -- reduction orders


def test_a_reduction_order_takes_what_is_available_and_no_more(desk: Desk) -> None:
    peer, sold = desk.peer, desk.sell("3", "20")
    early = peer.call("POST", "sobjects/Order", {
        "AccountId": desk.account, "EffectiveDate": "2026-11-24", "Status": "Draft", "Pricebook2Id": STANDARD,
        "IsReductionOrder": True, "OriginalOrderId": desk.order,
    })  # fmt: skip
    assert refusal(early) == (400, "FIELD_INTEGRITY_EXCEPTION")
    desk.activate()
    back = desk.reduce()
    assert refusal(desk.add("-1", "20", back))[1] == "REQUIRED_FIELD_MISSING"
    assert refusal(desk.add("1", "20", back, OriginalOrderItemId=sold))[1] == "FIELD_INTEGRITY_EXCEPTION"
    assert refusal(desk.add("-4", "20", back, OriginalOrderItemId=sold))[1] == "FIELD_INTEGRITY_EXCEPTION"
    taken = desk.sell("-2", "20", back, OriginalOrderItemId=sold)
    assert desk.read(sold)["AvailableQuantity"] == Decimal(3)  # a draft takes nothing yet
    desk.activate(back)
    assert desk.read(sold)["AvailableQuantity"] == Decimal(1)
    assert (desk.read(taken)["AvailableQuantity"], desk.read(back)["TotalAmount"]) == (
        Decimal(0),
        Decimal(-40),
    )
    again = desk.reduce()
    assert refusal(desk.add("-2", "20", again, OriginalOrderItemId=sold))[1] == "FIELD_INTEGRITY_EXCEPTION"
    reply = change(peer, sold, Quantity=2)
    assert (
        reply.json()[0]["message"] == "You can't update Quantity because the order product has been reduced."
    )
    assert refusal(change(peer, desk.order, Status="Draft"))[1] == "ENTITY_IS_LOCKED"
    assert change(peer, back, Status="Draft").status_code == 204
    assert desk.read(sold)["AvailableQuantity"] == Decimal(3)


def test_two_drafts_can_not_both_take_the_last_of_a_line(desk: Desk) -> None:
    sold = desk.sell("3", "20")
    desk.activate()
    drafts = [desk.reduce(), desk.reduce()]
    for back in drafts:
        desk.sell("-2", "20", back, OriginalOrderItemId=sold)
    desk.activate(drafts[0])
    reply = change(desk.peer, drafts[1], Status="Activated")
    assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert desk.read(drafts[1])["StatusCode"] == "Draft"
    desk.peer.control("dialect", {"reduction_counts": "drafts_too"})
    third = desk.reduce()
    assert refusal(desk.add("-1", "20", third, OriginalOrderItemId=sold))[1] == "FIELD_INTEGRITY_EXCEPTION"


# -- deleting, and what orders hold


def test_a_draft_takes_its_lines_along_and_brings_them_back(desk: Desk) -> None:
    first, second = desk.sell("1", "10"), desk.sell("1", "20")
    assert delete(desk.peer, first).status_code == 204
    assert delete(desk.peer, desk.order).status_code == 204
    assert desk.peer.query("select Id from OrderItem") == []
    desk.peer.control("undelete", {"ids": [desk.order]})
    assert [one["Id"] for one in desk.peer.query("select Id from OrderItem")] == [second]
    desk.peer.control("undelete", {"ids": [first]})
    assert desk.read()["TotalAmount"] == Decimal("30.0")


def test_what_an_order_uses_can_not_be_deleted(desk: Desk) -> None:
    desk.sell()
    for kind, record_id in (
        ("Product2", desk.product), ("PricebookEntry", desk.price), ("Account", desk.account)
    ):  # fmt: skip
        reply = desk.peer.call("DELETE", f"sobjects/{kind}/{record_id}")
        assert refusal(reply) == (400, "DELETE_FAILED"), kind
    assert desk.read()["OrderNumber"] in reply.json()[0]["message"]
    assert delete(desk.peer, desk.order).status_code == 204
    assert delete(desk.peer, desk.product).status_code == 204


def test_a_merge_gives_orders_to_the_survivor(desk: Desk) -> None:
    survivor = desk.peer.make("Account", Name="Survivor")
    desk.peer.control("merge", {"object": "Account", "survivor": survivor, "loser": desk.account})
    assert desk.read()["AccountId"] == survivor


def test_a_collection_answers_order_lines_row_by_row(desk: Desk) -> None:
    def sold(quantity: int) -> dict[str, Any]:
        fields = {"OrderId": desk.order, "PricebookEntryId": desk.price, "UnitPrice": 5}
        return {"attributes": {"type": "OrderItem"}, **fields, "Quantity": quantity}

    body = {"allOrNone": False, "records": [sold(1), sold(0), sold(2)]}
    reply = desk.peer.call("POST", "composite/sobjects", body)
    assert [one["success"] for one in reply.json()] == [True, False, True]
    assert desk.read()["TotalAmount"] == Decimal("15.0")


def test_a_dump_with_orders_can_be_loaded_again(desk: Desk, tmp_path: Path) -> None:
    desk.sell("3", "19.99")
    desk.activate()
    dump = desk.peer.http.get("/sandbox/dump").text
    desk.peer.control("reset", {"seed": False})
    load_rows(desk.peer, [json.loads(one) for one in dump.splitlines()])
    assert desk.peer.http.get("/sandbox/dump").text == dump
    assert refusal(desk.add())[1] == "ENTITY_IS_LOCKED"


def test_a_loaded_order_needs_no_more_than_its_status(desk: Desk) -> None:
    ids = [make_id("801", "Ld", number) for number in (1, 2)]
    rows = [
        {"attributes": {"type": "Order"}, "Id": record_id, "AccountId": desk.account, "Status": status}
        for record_id, status in zip(ids, ("Draft", "Activated"), strict=True)
    ]
    load_rows(desk.peer, rows)
    assert delete(desk.peer, ids[0]).status_code == 204
    assert refusal(delete(desk.peer, ids[1])) == (400, "ENTITY_IS_LOCKED")


def test_a_seed_has_orders_only_where_it_asks_for_them(tmp_path: Path) -> None:
    plain, more = books_of("sales:20:3"), books_of("sales:20:3:30")
    assert more.salesforce[: len(plain.salesforce)] == plain.salesforce
    assert {row["attributes"]["type"] for row in more.salesforce[len(plain.salesforce) :]} == {
        "Order",
        "OrderItem",
    }
    with serving(tmp_path, seed="sales:20:3:30") as line:
        peer = Peer(line)
        orders = {
            one["Id"]: one
            for one in peer.query("select Id, TotalAmount, StatusCode, IsReductionOrder from Order")
        }
        sums = peer.query("select OrderId, sum(TotalPrice) total from OrderItem group by OrderId")
        assert {one["OrderId"]: one["total"] for one in sums} == {
            record_id: one["TotalAmount"] for record_id, one in orders.items()
        }
        kinds = {(one["StatusCode"], one["IsReductionOrder"]) for one in orders.values()}
        assert kinds == {("Draft", False), ("Activated", False), ("Activated", True)}
        draft = next(one["Id"] for one in orders.values() if one["StatusCode"] == "Draft")
        assert change(peer, draft, Status="Activated").status_code == 204

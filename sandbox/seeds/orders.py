"""Orders of what a seed's opportunities sold, in Salesforce's shape: drafts, activated ones, and reductions of them.

Made for no seed but those that ask for orders, so that the others stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from random import Random

from sandbox.salesforce.ids import make_id
from sandbox.salesforce.org import PERSON_ID
from sandbox.salesforce.sales import total_price
from sandbox.seeds.books import Row

POD = "Gn"
ACTIVATED, REDUCED = 0.7, 0.15  # of all; of the activated
FIRST_NUMBER = 100_000  # far from the numbers that the server gives to new ones
COPIED = ("PricebookEntryId", "Product2Id", "ListPrice", "Quantity")
CENT = Decimal("0.01")


def made_up(rng: Random, rows: Sequence[Row], count: int) -> list[Row]:
    """`count` orders of opportunities with lines, and the reduction orders of some of them.

    rows: of Opportunity and OpportunityLineItem among others. Where no opportunity has lines there are no orders.
    """
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if row["attributes"]["type"] == "OpportunityLineItem":
            lines.setdefault(row["OpportunityId"], []).append(row)
    deals = [row for row in rows if row["attributes"]["type"] == "Opportunity" and row["Id"] in lines]
    found: list[Row] = []
    for number in range(1, count + 1) if deals else ():
        deal = deals[rng.randrange(len(deals))]
        activated = rng.random() < ACTIVATED
        reduced = rng.random() < REDUCED and activated
        found += _order(2 * number, deal, lines[deal["Id"]], activated=activated, reduced=reduced)
    return found


def _order(number: int, deal: Row, sold: Sequence[Row], *, activated: bool, reduced: bool) -> list[Row]:
    """An order of all that was sold; reduced: all of its first line comes back."""
    order = _head(number, deal, activated=activated)
    items = [_item(number * 40 + at, order, line) for at, line in enumerate(sold, 1)]
    if not reduced:
        return [_totalled(order, items), *items]
    back = {
        **_head(number + 1, deal, activated=True),
        "IsReductionOrder": True,
        "OriginalOrderId": order["Id"],
    }
    first = items[0]
    returned = {
        **first, **_row("OrderItem", "802", (number + 1) * 40 + 1), "OrderId": back["Id"],
        "OriginalOrderItemId": first["Id"], "Quantity": -first["Quantity"], "TotalPrice": -first["TotalPrice"],
        "AvailableQuantity": Decimal(0), "OrderItemNumber": f"{FIRST_NUMBER + (number + 1) * 40 + 1:010d}",
    }  # fmt: skip
    first["AvailableQuantity"] = Decimal(0)
    return [_totalled(order, items), *items, _totalled(back, [returned]), returned]


def _head(number: int, deal: Row, *, activated: bool) -> Row:
    status = "Activated" if activated else "Draft"
    order = {
        **_row("Order", "801", number), "AccountId": deal["AccountId"], "OpportunityId": deal["Id"],
        "Pricebook2Id": deal["Pricebook2Id"], "EffectiveDate": deal["CloseDate"], "Status": status,
        "StatusCode": status, "IsReductionOrder": False, "OrderNumber": f"{FIRST_NUMBER + number:08d}",
        **_stamps(deal),
    }  # fmt: skip
    if activated:
        order |= {"ActivatedDate": deal["LastModifiedDate"], "ActivatedById": PERSON_ID}
    return order


def _item(number: int, order: Row, line: Row) -> Row:
    """A line of the order: an order has no discounts, so the price is what was paid for one."""
    item = {
        **_row("OrderItem", "802", number), "OrderId": order["Id"],
        **{name: line[name] for name in COPIED}, "UnitPrice": _paid(line), "AvailableQuantity": line["Quantity"],
        "OrderItemNumber": f"{FIRST_NUMBER + number:010d}", **_stamps(order),
    }  # fmt: skip
    if "Description" in line:
        item["Description"] = line["Description"]
    return {**item, "TotalPrice": total_price(item)}


def _paid(line: Row) -> Decimal:
    share = 1 - Decimal(line.get("Discount", 0)) / 100
    return (line["UnitPrice"] * share).quantize(CENT, ROUND_HALF_UP)


def _totalled(order: Row, items: Sequence[Row]) -> Row:
    return {**order, "TotalAmount": sum((item["TotalPrice"] for item in items), Decimal(0))}


def _row(kind: str, prefix: str, number: int) -> Row:
    return {"attributes": {"type": kind}, "Id": make_id(prefix, POD, number)}


def _stamps(row: Row) -> Row:
    return dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), row["LastModifiedDate"])

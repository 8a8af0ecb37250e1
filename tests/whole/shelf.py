"""Two books of products that hold one of each trap, and a person on each side who edits them by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from whole_pair import Body, Pair, running

from pipelines.plans import Planned
from sandbox.salesforce.ids import make_id

STANDARD = make_id("01s", "St", 1)
MAPPING = "extends: [default, products]\n"
CUSTOM: tuple[Body, ...] = (
    {"name": "ExternalID__c", "type": "string", "length": 50, "external_id": True},
    {"name": "Purchase_Price__c", "type": "currency", "precision": 18, "scale": 2},
    {"name": "Account_Code__c", "type": "string", "length": 10},
    {"name": "Tax_Type__c", "type": "string", "length": 20},
    {"name": "Quantity_On_Hand__c", "type": "double", "precision": 18, "scale": 4},
)
LONG = "CABLE-ASSEMBLY/CAT6A/SHIELDED/305M/GREY"


def product_id(number: int) -> str:
    return f"01t{number:012d}AAA"


def price_id(number: int) -> str:
    return f"01u{number:012d}AAA"


def item_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def product(number: int, code: str | None, name: str, price: float, **fields: Any) -> list[Body]:
    """A product with its price in the standard book."""
    row = {"attributes": {"type": "Product2"}, "Id": product_id(number), "Name": name, "IsActive": True}
    row |= {} if code is None else {"ProductCode": code}
    entry = {
        "attributes": {"type": "PricebookEntry"}, "Id": price_id(number), "Pricebook2Id": STANDARD,
        "Product2Id": row["Id"], "UnitPrice": price, "IsActive": True, "Name": name,
    }  # fmt: skip
    return [row | fields, entry]


def item(number: int, code: str, name: str, price: float, **fields: Any) -> Body:
    sales = {"UnitPrice": price, "AccountCode": "200", "TaxType": "OUTPUT2"}
    row: Body = {"ItemID": item_id(number), "Code": code, "Name": name, "Description": name}
    return row | {"SalesDetails": sales, "IsPurchased": False} | fields


EQUAL = {"Account_Code__c": "200", "Tax_Type__c": "OUTPUT2"}
SALESFORCE = [
    *product(1, "HOSE-M", "Hose", 3.45, Description="Hose", **EQUAL),
    *product(2, "kit-std", "Kit", 249, Description="Kit", **EQUAL),
    *product(3, "DRUM", "Drum", 80, Description="Drum", **EQUAL),
    *product(4, "VALVE", "Valve", 12.5, Description="Valve", **EQUAL),
    *product(5, None, "Widget", 5),
    *product(6, "TWIN", "Twin A", 1),
    *product(7, "TWIN", "Twin B", 2),
    *product(8, LONG, "Cable", 410, **EQUAL),
]
XERO = [
    item(1, "HOSE-M", "Hose", 3.45),
    item(2, "KIT-STD", "Kit", 249),
    item(3, "DRUM", "Drum", 80, IsPurchased=True, PurchaseDetails={"UnitPrice": 40.125}),
    item(5, "WID", "Widget", 5),
    item(6, "TWIN", "Twin", 1),
    item(9, "PUMP", "Pump", 99),
]


class Clerk:
    """Somebody who keeps items and products by hand."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.xero = pair, pair.in_xero.http
        person = pair.line["xero"]["person"]
        login = {name: person[name] for name in ("client_id", "client_secret")}
        form = {"grant_type": "client_credentials", "scope": "accounting.invoices", **login}
        token = self.xero.post("/connect/token", data=form).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def in_xero(self, number: int, **fields: Any) -> Body:
        body = {"Items": [{"ItemID": item_id(number), **fields}]}
        reply = self.xero.post("/api.xro/2.0/Items?unitdp=4", json=body, headers=self.headers)
        assert reply.status_code == 200, reply.text
        return reply.json()["Items"][0]

    def in_salesforce(self, kind: str, record_id: str, **fields: Any) -> None:
        path = f"/services/data/v67.0/sobjects/{kind}/{record_id}"
        reply = self.pair.in_salesforce.http.patch(path, json=fields)
        assert reply.status_code == 204, reply.text


@contextmanager
def shelf(
    folder: Path,
    *,
    mapping: str = MAPPING,
    dialect: Mapping[str, Body] | None = None,
    salesforce: list[Body] = SALESFORCE,
    xero: list[Body] = XERO,
) -> Iterator[Pair]:
    """A pair with these products, ready to be written."""
    with running(folder, seed="empty", dialect=dialect) as pair:
        for field in CUSTOM:
            pair.control("salesforce", "POST", "fields", {"object": "Product2", "add": field})
        pair.load("salesforce", salesforce)
        pair.load("xero", xero)
        (pair.folder / "mapping.yaml").write_text(mapping)
        pair.enable_writes()
        yield pair


def items(pair: Pair) -> dict[str, Body]:
    """Items by code."""
    return {row["Code"]: row for row in pair.dump("xero").values() if "ItemID" in row and "Code" in row}


def of(planned: Planned, *entities: str) -> pl.DataFrame:
    return planned.operations.filter(pl.col("entity").is_in(list(entities or ("product", "price"))))

"""Keeps the items that lines of documents name: their prices, accounts and taxes."""

from __future__ import annotations

import uuid
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from sandbox.store import Body, Store
from sandbox.xero import chart, history
from sandbox.xero.books import Books, Written
from sandbox.xero.wire import NO_ID, read_ms_date

KIND = "item"
# spec
TEXTS = {
    "Code": 30,
    "Name": 50,
    "Description": 4000,
    "PurchaseDescription": 4000,
    "InventoryAssetAccountCode": 10,
}
STOCK = ("QuantityOnHand", "TotalCostPool")  # spec: of a tracked item, and read only
DETAILS = ("UnitPrice", "AccountCode", "COGSAccountCode", "TaxType")
TWO, FOUR = Decimal("0.01"), Decimal("0.0001")

TAKEN = "Price List Item with Code ''{}'' already exists"  # spec
# unconfirmed: the wording
NO_CODE = "The item code must be specified."
TOO_LONG = "The length of {} must be {} characters or fewer."
BAD_ACCOUNT = "Account code '{}' is not a valid code for this item."
BAD_TAX = "The TaxType code '{}' does not exist or cannot be used for this item."
NOT_INVENTORY = "The inventory asset account must be of type INVENTORY"
NO_COGS = "A tracked item needs both an inventory asset account and a cost of goods sold account"
IN_USE = "The item is used on a transaction and cannot be deleted"


class UnknownItem(Exception):
    """A write names an ItemID that there is not."""


def declare(store: Store) -> None:
    store.declare(KIND, code=lambda item: item["Code"].casefold())


def by_code(store: Store, code: str) -> Body | None:
    found = store.find(KIND, "code", code.casefold())
    return store.get(KIND, found[0]) if found else None


def by_id_or_code(store: Store, text: str) -> Body | None:
    return store.get(KIND, text.lower()) or by_code(store, text)


def write(books: Books, elements: list[Body], *, create_only: bool, places: int = 2) -> list[Written]:
    """Write each item that is right, in order; POST goes by ItemID, else by Code (recorded).

    places: of a price (unitdp).
    """
    return [_write_one(books, sent, create_only=create_only, places=places) for sent in elements]


def _write_one(books: Books, sent: Body, *, create_only: bool, places: int) -> Written:
    existing = _meant(books, sent)
    if existing and create_only:
        return Written(sent, None, None, [TAKEN.format(existing["Code"])])
    values: Body = {name: str(sent[name]).strip() for name in TEXTS if sent.get(name) is not None}
    errors = [TOO_LONG.format(name, TEXTS[name]) for name, text in values.items() if len(text) > TEXTS[name]]
    for flag in ("IsSold", "IsPurchased"):
        if isinstance(sent.get(flag), bool):
            values[flag] = sent[flag]
    for name in ("SalesDetails", "PurchaseDetails"):
        if isinstance(sent.get(name), dict):
            before = (
                {} if books.dialect["item_details_not_sent"] == "lost" else (existing or {}).get(name, {})
            )
            details = {**before, **_sent_details(sent[name], places, errors)}
            values[name] = {field: value for field, value in details.items() if value != ""}
    item: Body = {**(existing or {"ItemID": str(uuid.uuid4())}), **values}
    item = {name: value for name, value in item.items() if value != ""}
    _check_accounts(books.store, values, errors)
    if bool(item.get("InventoryAssetAccountCode")) != bool(
        (item.get("PurchaseDetails") or {}).get("COGSAccountCode")
    ):
        errors.append(NO_COGS)
    holder = by_code(books.store, item.get("Code", ""))
    if not item.get("Code"):
        errors.append(NO_CODE)
    elif holder and holder["ItemID"] != item["ItemID"]:
        errors.append(TAKEN.format(item["Code"]))
    if errors:
        return Written(sent, None, existing["ItemID"] if existing else None, errors)
    saved = put(books.store, {**item, "UpdatedMs": books.clock.stamp_ms()})
    history.write(books, saved["ItemID"], "Edited" if existing else "Created", f"Item {saved['Code']}.")
    return Written(sent, saved, saved["ItemID"])


def _check_accounts(store: Store, item: Body, errors: list[str]) -> None:
    """unconfirmed: that an item may name only accounts and tax types that there are. spec: the INVENTORY account."""
    sales, costs = item.get("SalesDetails") or {}, item.get("PurchaseDetails") or {}
    asset, goods = item.get("InventoryAssetAccountCode"), costs.get("COGSAccountCode")
    for code in (sales.get("AccountCode"), costs.get("AccountCode"), goods, asset):
        found = chart.account(store, code=code)
        if code and (found is None or found["Status"] != "ACTIVE" or found["Type"] == "BANK"):
            errors.append(BAD_ACCOUNT.format(code))
        elif code and code == asset and found and found["Type"] != "INVENTORY":
            errors.append(NOT_INVENTORY)
    for tax_type in (sales.get("TaxType"), costs.get("TaxType")):
        rate = chart.tax_rate(store, tax_type) if tax_type else None
        if tax_type and (rate is None or rate["Status"] != "ACTIVE"):
            errors.append(BAD_TAX.format(tax_type))


def is_tracked(item: Body) -> bool:
    """spec: an item is tracked if it has both accounts."""
    goods = (item.get("PurchaseDetails") or {}).get("COGSAccountCode")
    return bool(item.get("InventoryAssetAccountCode") and goods)


def delete(books: Books, item: Body) -> list[str]:
    """Delete an item, or say why it stays (second hand: only one that is not used)."""
    if books.dialect["used_item_deleted"] == "refuse" and _is_used(books.store, item):
        return [IN_USE]
    books.store.delete(KIND, item["ItemID"])
    return []


def _is_used(store: Store, item: Body) -> bool:
    return any(
        line.get("ItemCode", "").casefold() == item["Code"].casefold()
        for kind in ("invoice", "creditnote", "overpayment", "prepayment")
        for document in store.all(kind)
        if document.get("Status") != "DELETED"
        for line in document.get("LineItems") or []
    )


def _sent_details(sent: Body, places: int, errors: list[str]) -> Body:
    details = {name: sent[name] for name in DETAILS if sent.get(name) is not None}
    if "UnitPrice" in details:
        try:
            details["UnitPrice"] = _price(Decimal(str(details["UnitPrice"])), places)
        except InvalidOperation:
            errors.append("UnitPrice is not a number")
    return details


def _price(value: Decimal, places: int) -> Decimal:
    """spec: two places, with unitdp=4 four."""
    return value.quantize(FOUR if places == 4 else TWO, ROUND_HALF_UP)


def _meant(books: Books, sent: Body) -> Body | None:
    if sent.get("ItemID"):
        found = books.store.get(KIND, str(sent["ItemID"]).lower())
        if found is None:
            raise UnknownItem(sent["ItemID"])
        return found
    return by_code(books.store, str(sent.get("Code", "")).strip())


def put(store: Store, item: Body) -> Body:
    """Put an item; spec: what is not sold or not purchased has no details of it."""
    item = {"IsSold": True, "IsPurchased": True, **item, "ItemID": item["ItemID"].lower()}
    for flag, names in (
        ("IsSold", ("Description", "SalesDetails")),
        ("IsPurchased", ("PurchaseDescription", "PurchaseDetails")),
    ):
        if not item[flag]:
            item = {name: value for name, value in item.items() if name not in names}
    for name in STOCK:
        if item.get(name) is not None:
            item[name] = Decimal(str(item[name]))
    for name in ("SalesDetails", "PurchaseDetails"):
        if (item.get(name) or {}).get("UnitPrice") is not None:
            item[name] = {**item[name], "UnitPrice": Decimal(str(item[name]["UnitPrice"]))}
    store.put(KIND, item["ItemID"], item, stamp=item["UpdatedMs"])
    return item


def load(store: Store, now_ms: int, row: Body) -> None:
    """Put an item as it is, from a row in Xero's shape."""
    stamp = read_ms_date(row["UpdatedDateUTC"]) if row.get("UpdatedDateUTC") else now_ms
    hidden = ("UpdatedDateUTC", "IsTrackedAsInventory", "ValidationErrors", "StatusAttributeString")
    item = {name: value for name, value in row.items() if name not in hidden}
    put(store, {"ItemID": str(uuid.uuid4()), **item, "UpdatedMs": stamp})


def shown(item: Body, places: int) -> Body:
    """recorded: the fields and their order; the stamp has no offset."""
    start = {
        name: item[name] for name in ("ItemID", "Code", "Description", "PurchaseDescription") if name in item
    }
    tracked = is_tracked(item)
    stock: Body = {}
    if tracked:  # spec; unconfirmed: their places, and that they move with no document here
        stock = {"InventoryAssetAccountCode": item["InventoryAssetAccountCode"]}
        stock |= {name: item.get(name, Decimal("0.00")) for name in STOCK}
    return {
        **start,
        "UpdatedDateUTC": f"/Date({item['UpdatedMs']})/",
        "PurchaseDetails": _details(item.get("PurchaseDetails"), places),
        "SalesDetails": _details(item.get("SalesDetails"), places),
        **({"Name": item["Name"]} if "Name" in item else {}),
        "IsTrackedAsInventory": tracked,
        **stock,
        "IsSold": item["IsSold"],
        "IsPurchased": item["IsPurchased"],
    }


def dumped(item: Body) -> Body:
    """An item with all that is stored, in Xero's shape."""
    return shown(item, 4)


def _details(details: Any, places: int) -> Body:
    shown = dict(details or {})
    if "UnitPrice" in shown:
        shown["UnitPrice"] = _price(Decimal(str(shown["UnitPrice"])), places)
    return shown


def written(item: Body, places: int, status: str | None) -> Body:
    none: list[Body] = []
    row = {**shown(item, places), "ValidationErrors": none}
    return row if status is None else {**row, "StatusAttributeString": status}


def refused(sent: Body, item_id: str | None, errors: list[str], status: str | None) -> Body:
    row = {**{name: value for name, value in sent.items() if name != "UpdatedMs"}, "ItemID": item_id or NO_ID}
    row |= {"ValidationErrors": [{"Message": one} for one in errors]}
    return row if status is None else {**row, "StatusAttributeString": status}

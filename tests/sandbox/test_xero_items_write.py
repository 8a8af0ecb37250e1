"""Items, accounts and currencies as they are written: what is checked, what is refused, what is shown."""

from __future__ import annotations

from decimal import Decimal

import pytest
from xero_python import accounting
from xero_python.accounting import Account, AccountType, Currency, CurrencyCode, Item, Purchase
from xero_python.exceptions import AccountingBadRequestException

from tests.sandbox.test_xero_client import Client
from tests.sandbox.test_xero_invoices import UNKNOWN, Invoices, line


def put(xero, *items, method="PUT", **query):
    return xero.call(method, "Items", {"Items": list(items)}, **query)


def only(reply, key="Items"):
    assert reply.status_code == 200, reply.text
    (one,) = reply.json(parse_float=Decimal)[key]
    return one


def refusal(reply):
    assert reply.status_code == 400, reply.text
    (element,) = reply.json()["Elements"]
    return [error["Message"] for error in element["ValidationErrors"]]


def add_account(xero, code, name, kind, **fields):
    return xero.call("PUT", "Accounts", {"Code": code, "Name": name, "Type": kind, **fields})


# -- items


def test_many_items_are_made_in_one_call_and_one_by_its_id(xero):
    made = put(xero, {"Code": "a"}, {"Code": "b", "IsPurchased": False}).json()["Items"]
    assert [(one["Code"], one["IsSold"], one["IsPurchased"]) for one in made] == [
        ("a", True, True),
        ("b", True, False),
    ]
    body = {"Items": [{"Code": " c ", "Name": "Sea", "Description": "Sold", "PurchaseDescription": "Bought"}]}
    after = only(xero.call("POST", f"Items/{made[0]['ItemID']}", body))
    texts = ("Code", "Name", "Description", "PurchaseDescription")
    assert (after["ItemID"], *(after[name] for name in texts)) == (
        made[0]["ItemID"],
        "c",
        "Sea",
        "Sold",
        "Bought",
    )
    assert xero.call("GET", "Items/a").status_code == 404
    assert "Name" not in only(put(xero, {"Code": "c", "Name": ""}, method="POST"))


def test_a_code_has_thirty_characters_at_most_and_a_name_fifty(xero):
    assert put(xero, {"Code": "x" * 30, "Name": "n" * 50}).status_code == 200
    assert refusal(put(xero, {"Code": "y" * 31})) == ["The length of Code must be 30 characters or fewer."]
    assert refusal(put(xero, {"Code": "y", "Name": "n" * 51})) == [
        "The length of Name must be 50 characters or fewer."
    ]


def test_what_is_not_sold_has_no_details_of_sales(xero):
    sales = {"UnitPrice": 5, "AccountCode": "200", "TaxType": "OUTPUT2"}
    put(
        xero, {"Code": "a", "Description": "Sold", "SalesDetails": sales, "PurchaseDetails": {"UnitPrice": 3}}
    )
    after = only(put(xero, {"Code": "a", "IsSold": False}, method="POST"))
    assert (after["SalesDetails"], "Description" in after) == ({}, False)
    assert after["PurchaseDetails"] == {"UnitPrice": 3}


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"AccountCode": "999"}, "Account code '999' is not a valid code for this item."),
        ({"AccountCode": "299"}, "Account code '299' is not a valid code for this item."),
        ({"AccountCode": "090"}, "Account code '090' is not a valid code for this item."),
        (
            {"TaxType": "NONSENSE"},
            "The TaxType code 'NONSENSE' does not exist or cannot be used for this item.",
        ),
        ({"UnitPrice": "much"}, "UnitPrice is not a number"),
    ],
)
def test_an_item_names_only_what_there_is(xero, details, message):
    assert refusal(put(xero, {"Code": "a", "SalesDetails": details})) == [message]
    assert xero.call("GET", "Items").json()["Items"] == []


def test_a_tracked_item_needs_both_accounts_and_its_stock_is_read_only(xero):
    asset = {"InventoryAssetAccountCode": "630"}
    goods = {"PurchaseDetails": {"COGSAccountCode": "310"}}
    add_account(xero, "630", "Inventory", "INVENTORY")
    assert refusal(put(xero, {"Code": "a", **asset})) == [
        "A tracked item needs both an inventory asset account and a cost of goods sold account"
    ]
    assert refusal(put(xero, {"Code": "a", **goods, "InventoryAssetAccountCode": "200"})) == [
        "The inventory asset account must be of type INVENTORY"
    ]
    made = only(put(xero, {"Code": "a", **asset, **goods, "QuantityOnHand": 7, "TotalCostPool": 70}))
    assert (made["IsTrackedAsInventory"], made["QuantityOnHand"], made["TotalCostPool"]) == (True, 0, 0)
    assert made["InventoryAssetAccountCode"] == "630"
    plain = only(put(xero, {"Code": "b"}))
    assert (plain["IsTrackedAsInventory"], "QuantityOnHand" in plain) == (False, False)
    xero.load(
        [{"ItemID": UNKNOWN, "Code": "c", **asset, **goods, "QuantityOnHand": 7, "TotalCostPool": 70.5}]
    )
    loaded = only(xero.call("GET", "Items/c"))
    assert (loaded["QuantityOnHand"], loaded["TotalCostPool"]) == (7, Decimal("70.5"))


@pytest.mark.parametrize(("rule", "status"), [("refuse", 400), ("accept", 204)])
def test_an_item_that_a_line_names_stays(xero, rule, status):
    xero.choose(used_item_deleted=rule)
    made = [only(put(xero, {"Code": code})) for code in ("a", "b")]
    invoices = Invoices(xero)
    invoices.make(LineItems=[line(ItemCode="a")])
    assert xero.call("DELETE", f"Items/{made[1]['ItemID']}").status_code == 204
    reply = xero.call("DELETE", f"Items/{made[0]['ItemID']}")
    assert reply.status_code == status
    if status == 400:
        assert refusal(reply) == ["The item is used on a transaction and cannot be deleted"]
        (draft,) = invoices.get()
        invoices.post(InvoiceID=draft["InvoiceID"], Status="DELETED")
        assert xero.call("DELETE", f"Items/{made[0]['ItemID']}").status_code == 204


def test_prices_keep_four_places_only_when_asked_on_both_ways(xero):
    put(xero, {"Code": "a", "SalesDetails": {"UnitPrice": 0.1234}}, unitdp=4)
    put(xero, {"Code": "b", "SalesDetails": {"UnitPrice": 0.1234}})
    found = xero.call("GET", "Items", unitdp=4).json(parse_float=Decimal)["Items"]
    assert [one["SalesDetails"]["UnitPrice"] for one in found] == [Decimal("0.1234"), Decimal("0.12")]


def test_the_same_key_makes_one_item(xero):
    for _ in range(2):
        reply = xero.call("PUT", "Items", {"Items": [{"Code": "a"}]}, {"Idempotency-Key": "k"})
        assert reply.status_code == 200
    assert put(xero, {"Code": "a"}).status_code == 400


def test_xero_python_writes_an_item_an_account_and_a_currency(xero, monkeypatch):
    client = Client(xero.line, monkeypatch).log_in()
    api, tenant = client.accounting, client.tenant
    (stock,) = api.create_account(
        tenant, Account(code="630", name="Inventory", type=AccountType.INVENTORY)
    ).accounts
    assert (stock.status, stock._class) == ("ACTIVE", "ASSET")
    goods = Purchase(unit_price=Decimal("1.2345"), cogs_account_code="310")
    item = Item(code="W-1", name="Widget", inventory_asset_account_code="630", purchase_details=goods)
    (made,) = api.create_items(tenant, accounting.Items(items=[item]), unitdp=4).items
    assert (made.is_tracked_as_inventory, made.purchase_details.unit_price) == (True, Decimal("1.2345"))
    with pytest.raises(AccountingBadRequestException):
        api.delete_account(tenant, stock.account_id)
    api.delete_item(tenant, made.item_id)
    (gone,) = api.delete_account(tenant, stock.account_id).accounts
    assert gone.status == "DELETED"
    (added,) = api.create_currency(tenant, Currency(code=CurrencyCode.NZD)).currencies
    assert added.description == "New Zealand Dollar"


# -- accounts and currencies


def test_an_account_is_made_edited_archived_and_made_active_again(xero):
    made = only(add_account(xero, "201", "Services", "REVENUE"), "Accounts")
    assert (made["Class"], made["TaxType"], made["Status"]) == ("REVENUE", "OUTPUT2", "ACTIVE")
    path = f"Accounts/{made['AccountID']}"
    edit = {"Accounts": [{"Code": "202", "Type": "EXPENSE", "TaxType": "INPUT2", "Description": "x"}]}
    after = only(xero.call("POST", path, edit), "Accounts")
    assert (after["Code"], after["Class"], after["Name"]) == ("202", "EXPENSE", "Services")
    invoices = Invoices(xero)
    body = invoices.body(Type="ACCPAY", LineItems=[line(AccountCode="202")])
    for status, answer in (("ARCHIVED", 400), ("ACTIVE", 200)):
        xero.call("POST", path, {"Accounts": [{"Status": status}]})
        reply = invoices.send("PUT", body)
        assert reply.status_code == answer
        assert ("Account code '202' is not a valid code for this document." in reply.text) == (answer == 400)


def test_an_account_of_the_system_or_in_use_is_not_deleted_and_a_deleted_one_frees_its_code(xero):
    accounts = {one["Code"]: one for one in xero.call("GET", "Accounts").json()["Accounts"]}
    system = f"Accounts/{accounts['610']['AccountID']}"
    assert refusal(xero.call("DELETE", system)) == ["System accounts cannot be archived or deleted"]
    assert refusal(xero.call("POST", system, {"Status": "ARCHIVED"})) == [
        "System accounts cannot be archived or deleted"
    ]
    invoices = Invoices(xero)
    invoices.make()
    assert refusal(xero.call("DELETE", f"Accounts/{accounts['200']['AccountID']}"))
    assert xero.call("DELETE", f"Accounts/{accounts['260']['AccountID']}").status_code == 200
    assert "260" not in [one["Code"] for one in xero.call("GET", "Accounts").json()["Accounts"]]
    again = only(add_account(xero, "260", "Other Revenue", "REVENUE"), "Accounts")
    assert again["AccountID"] != accounts["260"]["AccountID"]
    assert invoices.make(LineItems=[line(AccountCode="260")])


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"Name": "sales"}, ["Please enter a unique Name."]),
        ({"Code": "200"}, ["Please enter a unique Code."]),
        ({"Name": ""}, ["Name must be specified"]),
        ({"Code": "12345678901"}, ["The length of Code must be 10 characters or fewer."]),
        ({"Type": "MAGIC"}, ["Account type 'MAGIC' is not valid"]),
        (
            {"TaxType": "OUTPUT"},
            ["The TaxType code 'OUTPUT' does not exist or cannot be used for this type of account."],
        ),
        ({"Status": "DELETED"}, ["Account status must be ACTIVE or ARCHIVED"]),
    ],
)
def test_an_account_is_refused(xero, fields, messages):
    body = {"Code": "201", "Name": "Services", "Type": "REVENUE", **fields}
    assert refusal(xero.call("PUT", "Accounts", body)) == messages


def test_a_tax_type_that_does_not_fit_the_account_is_refused_on_a_line(xero):
    body = Invoices(xero)
    lines = [line(AccountCode="200", TaxType="INPUT2")]
    assert body.refusal(**body.body(LineItems=lines)) == [
        "The TaxType code 'INPUT2' cannot be used with account code '200'."
    ]


def test_a_currency_is_added_and_then_may_be_invoiced_in(xero):
    invoices = Invoices(xero)
    assert invoices.refusal(**invoices.body(CurrencyCode="NZD")) == [
        "Organisation is not subscribed to currency NZD"
    ]
    for _ in range(2):
        assert only(xero.call("PUT", "Currencies", {"Code": "NZD", "Description": "Kiwi"}), "Currencies") == {
            "Code": "NZD",
            "Description": "New Zealand Dollar",
        }
    assert invoices.make(CurrencyCode="NZD")["CurrencyCode"] == "NZD"
    assert refusal(xero.call("PUT", "Currencies", {"Code": "kiwi"})) == ["Currency code 'kiwi' is not valid"]


# -- payment terms


def test_payment_terms_have_one_of_four_types_and_a_day_to_31(xero):
    terms = {
        "Sales": {"Day": 31, "Type": "OFFOLLOWINGMONTH"},
        "Bills": {"Day": 0, "Type": "DAYSAFTERBILLDATE"},
    }
    assert xero.make(PaymentTerms=terms)["PaymentTerms"] == {"Bills": terms["Bills"], "Sales": terms["Sales"]}
    wrong = {"Sales": {"Day": 32, "Type": "SOON"}}
    assert refusal(xero.put({"Name": "b", "PaymentTerms": wrong})) == [
        "Payment terms Sales Type is not valid.",
        "Payment terms Sales Day must be from 0 to 31.",
    ]

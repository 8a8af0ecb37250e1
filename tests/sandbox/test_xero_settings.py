"""Accounts, tax rates and items: what documents are made of."""

from __future__ import annotations

import pytest


def rows(xero, path, headers=None, **query):
    reply = xero.call("GET", path, headers=headers, **query)
    assert reply.status_code == 200, reply.text
    return reply.json()[path.split("/")[0]]


def codes(found):
    return [one["Code"] for one in found]


def messages(element):
    return [one["Message"] for one in element["ValidationErrors"]]


def put(xero, *items, method="PUT", **query):
    return xero.call(method, "Items", {"Items": list(items)}, **query)


def test_accounts_tell_their_tax_class_and_status_and_archived_ones_are_listed(xero):
    accounts = {one["Code"]: one for one in rows(xero, "Accounts")}
    sales = accounts["200"]
    assert (sales["Name"], sales["Type"], sales["Class"], sales["TaxType"], sales["Status"]) == (
        "Sales",
        "REVENUE",
        "REVENUE",
        "OUTPUT2",
        "ACTIVE",
    )
    assert accounts["299"]["Status"] == "ARCHIVED"
    assert accounts["610"]["SystemAccount"] == "DEBTORS"
    (one,) = rows(xero, f"Accounts/{sales['AccountID']}")
    assert one == sales
    assert xero.call("GET", f"Accounts/{xero.line['tenant_id']}").status_code == 404


def test_accounts_are_filtered_sorted_and_read_since(xero):
    query = 'Class=="REVENUE" AND Status=="ACTIVE"'
    assert codes(rows(xero, "Accounts", where=query, order="Code DESC")) == ["270", "260", "200"]
    since = {"If-Modified-Since": "2026-01-01T00:00:00"}
    assert rows(xero, "Accounts", headers=since) == []
    xero.load([{"Code": "201", "Name": "New", "Type": "REVENUE", "UpdatedDateUTC": "/Date(1790000000000)/"}])
    assert codes(rows(xero, "Accounts", headers=since)) == ["201"]


def test_tax_rates_tell_their_rate_and_where_they_apply(xero):
    rates = {one["TaxType"]: one for one in rows(xero, "TaxRates")}
    sales = rates["OUTPUT2"]
    assert (sales["EffectiveRate"], sales["Status"]) == (20, "ACTIVE")
    assert (sales["CanApplyToRevenue"], sales["CanApplyToExpenses"]) == (True, False)
    assert sales["TaxComponents"] == [
        {"IsCompound": False, "IsNonRecoverable": False, "Name": "VAT", "Rate": 20}
    ]
    assert rates["OUTPUT"]["Status"] == "DELETED"
    assert rows(xero, "TaxRates/OUTPUT2") == [sales]
    assert xero.call("GET", "TaxRates/NOTHING").status_code == 404
    found = rows(xero, "TaxRates", where="EffectiveRate>12 AND CanApplyToRevenue==true", order="TaxType")
    assert [one["TaxType"] for one in found] == ["OUTPUT", "OUTPUT2", "TAX001"]


def test_a_compound_rate_is_taken_of_the_amount_with_the_other_tax(xero):
    parts = [{"Name": "a", "Rate": 5}, {"Name": "b", "Rate": 10, "IsCompound": True}]
    xero.load([{"Name": "both", "TaxType": "TAX002", "ReportTaxType": "OUTPUT", "TaxComponents": parts}])
    (rate,) = rows(xero, "TaxRates/TAX002")
    assert (rate["DisplayTaxRate"], rate["EffectiveRate"]) == (15, 15.5)


def test_the_organisation_tells_its_time_zone_and_currency(xero):
    (one,) = xero.call("GET", "Organisation").json()["Organisations"]
    assert (one["Timezone"], one["BaseCurrency"]) == ("GMTSTANDARDTIME", "GBP")


def test_an_item_is_made_read_by_id_and_code_and_changed(xero):
    sales = {"UnitPrice": 12.34, "AccountCode": "200", "TaxType": "OUTPUT2"}
    (made,) = put(xero, {"Code": "W-1", "Name": "Widget", "SalesDetails": sales}).json()["Items"]
    assert (made["SalesDetails"], made["IsSold"], made["PurchaseDetails"]) == (sales, True, {})
    assert rows(xero, f"Items/{made['ItemID']}") == rows(xero, "Items/w-1")
    changed = {"Code": "W-1", "SalesDetails": {"UnitPrice": 13}}
    (after,) = put(xero, changed, method="POST").json()["Items"]
    assert (after["ItemID"], after["Name"]) == (made["ItemID"], "Widget")
    assert after["SalesDetails"] == {**sales, "UnitPrice": 13}
    reply = xero.call("POST", f"Items/{made['ItemID']}", {"Items": [{"IsSold": False}]})
    assert reply.json()["Items"][0]["SalesDetails"] == {}
    history = xero.call("GET", f"Items/{made['ItemID']}/History").json()["HistoryRecords"]
    assert [one["Changes"] for one in history] == ["Edited", "Edited", "Created"]
    assert xero.call("DELETE", f"Items/{made['ItemID']}").status_code == 204
    assert xero.call("GET", "Items/W-1").status_code == 404


def test_item_codes_are_unique(xero):
    put(xero, {"Code": "a"}, {"Code": "b"})
    (bad, good) = put(xero, {"Code": "A"}, {"Code": "c"}, summarizeErrors="false").json()["Items"]
    assert messages(bad) == ["Price List Item with Code ''a'' already exists"]
    assert good["StatusAttributeString"] == "OK"
    assert put(xero, {"Name": "no code"}).status_code == 400
    (item,) = rows(xero, "Items/b")
    renamed = {"ItemID": item["ItemID"], "Code": "a"}
    assert put(xero, renamed, method="POST").status_code == 400
    assert put(xero, {"ItemID": xero.line["tenant_id"], "Code": "x"}, method="POST").status_code == 404


def test_items_are_filtered_sorted_and_read_since(xero):
    for code, price in (("b", 1), ("a", 2), ("c", 3)):
        put(xero, {"Code": code, "SalesDetails": {"UnitPrice": price}})
    assert codes(rows(xero, "Items", order="Code ASC")) == ["a", "b", "c"]
    assert codes(rows(xero, "Items", where="SalesDetails.UnitPrice>=2")) == ["a", "c"]
    xero.control("clock", {"move_s": 600})
    since = {"If-Modified-Since": xero.control("clock")["now"][:19]}
    put(xero, {"Code": "d"})
    assert codes(rows(xero, "Items", headers=since)) == ["d"]


@pytest.mark.parametrize(
    ("query", "price"), [({}, '"UnitPrice":0.13,'), ({"unitdp": 4}, '"UnitPrice":0.1250,')]
)
def test_a_price_is_shown_with_two_or_four_places(xero, query, price):
    put(xero, {"Code": "a", "SalesDetails": {"UnitPrice": 0.125, "AccountCode": "200"}}, unitdp=4)
    assert price in xero.call("GET", "Items", **query).text


def test_items_are_loaded_as_they_are(xero):
    stamp = "/Date(1790000000000)/"
    xero.load([{"ItemID": "8ce09974-784f-4701-b973-64b8e285812d", "Code": "L", "UpdatedDateUTC": stamp}])
    (item,) = rows(xero, "Items")
    assert (item["Code"], item["UpdatedDateUTC"]) == ("L", stamp)

"""An org with several currencies, and one with one: codes of records, rates, rates with a date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from salesforce_peer import Peer, load_rows, refusal, serving, simple_client
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound

from sandbox.salesforce.ids import make_id

STANDARD = make_id("01s", "St", 1)
BAD_CODE = (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("currencies")) as started:
        yield started


@pytest.fixture
def single(line: dict[str, Any]) -> Peer:
    plain = Peer(line)
    plain.control("reset", {"seed": False})
    plain.control("dialect", method="DELETE")
    return plain


@pytest.fixture
def several(single: Peer) -> Peer:
    single.control("dialect", {"multi_currency": True})
    return single


@pytest.fixture
def dated(several: Peer) -> Peer:
    several.control("dialect", {"dated_rates": True})
    return several


@pytest.fixture
def sf(line: dict[str, Any]) -> Salesforce:
    return simple_client(line)


def currency(peer: Peer, code: str) -> dict[str, Any]:
    text = f"select Id, ConversionRate, DecimalPlaces, IsActive, IsCorporate from CurrencyType where IsoCode = '{code}'"
    return peer.query(text)[0]


def change(peer: Peer, kind: str, record_id: str, **fields: Any) -> httpx.Response:
    return peer.call("PATCH", f"sobjects/{kind}/{record_id}", fields)


def spans(peer: Peer, code: str) -> list[tuple[str, str, Any]]:
    text = (
        "select StartDate, NextStartDate, ConversionRate from DatedConversionRate "
        f"where IsoCode = '{code}' order by StartDate"
    )
    return [(one["StartDate"], one["NextStartDate"], one["ConversionRate"]) for one in peer.query(text)]


# -- one currency


def test_an_org_with_one_currency_has_none_of_it(sf: Salesforce, single: Peer) -> None:
    kinds = (
        "Account",
        "Opportunity",
        "Order",
        "OrderItem",
        "Product2",
        "PricebookEntry",
        "Pricebook2",
        "User",
    )
    for kind in kinds:
        described: Any = getattr(sf, kind).describe()
        assert "CurrencyIsoCode" not in {one["name"] for one in described["fields"]}
        with pytest.raises(SalesforceMalformedRequest) as refused:
            sf.query(f"select CurrencyIsoCode from {kind}")
        content: Any = refused.value.content
        assert content[0]["errorCode"] == "INVALID_FIELD"
    described = sf.describe()
    assert described is not None
    assert not {one["name"] for one in described["sobjects"]} & {"CurrencyType", "DatedConversionRate"}
    for kind in ("CurrencyType", "DatedConversionRate"):
        with pytest.raises(SalesforceMalformedRequest) as refused:
            sf.query(f"select Id from {kind}")
        content = refused.value.content
        assert content[0]["errorCode"] == "INVALID_TYPE"
        with pytest.raises(SalesforceResourceNotFound):
            getattr(sf, kind).describe()
    body = {"Name": "Acme", "CurrencyIsoCode": "GBP"}
    assert refusal(single.call("POST", "sobjects/Account", body)) == (400, "INVALID_FIELD")


# -- several


def test_every_object_has_its_currency_and_describe_lists_the_active_ones(
    sf: Salesforce, several: Peer
) -> None:
    several.control("objects", {"preset": "xero"})
    euro = currency(several, "EUR")["Id"]
    assert sf.CurrencyType.update(euro, {"IsActive": False}) == 204
    for kind in ("Account", "Contact", "Order", "OrderItem", "Product2", "Pricebook2", "Xero_Invoice__c"):
        described: Any = getattr(sf, kind).describe()
        field = next(one for one in described["fields"] if one["name"] == "CurrencyIsoCode")
        assert [one["value"] for one in field["picklistValues"]] == ["GBP", "USD"]
        assert field["restrictedPicklist"]


def test_a_record_is_in_the_corporate_currency_until_another_is_written(several: Peer) -> None:
    plain, dollars = several.make("Account"), several.make("Account", Name="Other", CurrencyIsoCode="USD")
    assert [several.read(one)["CurrencyIsoCode"] for one in (plain, dollars)] == ["GBP", "USD"]


def test_new_values_are_of_active_currencies_and_old_ones_stay(several: Peer) -> None:
    dollars = several.make("Account", CurrencyIsoCode="USD")
    body = {"Name": "Yen", "CurrencyIsoCode": "JPY"}
    assert refusal(several.call("POST", "sobjects/Account", body)) == BAD_CODE
    yen = {"IsoCode": "JPY", "ConversionRate": 190.123456, "DecimalPlaces": 0, "IsActive": True}
    made = several.make("CurrencyType", **yen)
    assert several.call("POST", "sobjects/Account", body).status_code == 201
    reply = several.call("GET", f"sobjects/CurrencyType/{made}")
    row = json.loads(reply.text, parse_float=Decimal)
    assert (row["ConversionRate"], row["DecimalPlaces"], row["IsCorporate"]) == (
        Decimal("190.123456"),
        0,
        False,
    )
    assert change(several, "CurrencyType", currency(several, "USD")["Id"], IsActive=False).status_code == 204
    assert (
        refusal(several.call("POST", "sobjects/Account", {"Name": "x", "CurrencyIsoCode": "USD"})) == BAD_CODE
    )
    assert change(several, "Account", dollars, Name="Renamed", CurrencyIsoCode="USD").status_code == 204
    assert several.read(dollars)["CurrencyIsoCode"] == "USD"


def test_currencies_are_changed_within_bounds_and_never_deleted(several: Peer) -> None:
    pound, euro = currency(several, "GBP"), currency(several, "EUR")
    assert (pound["IsCorporate"], pound["ConversionRate"], euro["IsCorporate"]) == (True, 1.0, False)
    assert change(several, "CurrencyType", euro["Id"], ConversionRate=1.2).status_code == 204
    assert currency(several, "EUR")["ConversionRate"] == 1.2
    for record_id, fields in (
        (pound["Id"], {"ConversionRate": 2}), (pound["Id"], {"IsActive": False}), (euro["Id"], {"ConversionRate": 0}),
    ):  # fmt: skip
        reply = change(several, "CurrencyType", record_id, **fields)
        assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")
    reply = change(several, "CurrencyType", euro["Id"], IsoCode="JPY")
    assert refusal(reply) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    again = {"IsoCode": "EUR", "ConversionRate": 1}
    assert refusal(several.call("POST", "sobjects/CurrencyType", again)) == (400, "DUPLICATE_VALUE")
    reply = several.call("DELETE", f"sobjects/CurrencyType/{euro['Id']}")
    assert refusal(reply) == (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY")


def test_an_order_and_its_lines_are_in_one_currency(several: Peer) -> None:
    account = several.make("Account")
    product = several.make("Product2", Name="Kit", IsActive=True)
    entry = {"Pricebook2Id": STANDARD, "Product2Id": product, "UnitPrice": 90, "IsActive": True}
    pounds, euros = (several.make("PricebookEntry", **entry, CurrencyIsoCode=code) for code in ("GBP", "EUR"))
    order = several.make(
        "Order", AccountId=account, EffectiveDate="2026-11-24", Status="Draft", Pricebook2Id=STANDARD,
        CurrencyIsoCode="EUR",
    )  # fmt: skip
    sold = {"OrderId": order, "Quantity": 1, "UnitPrice": 90}
    reply = several.call("POST", "sobjects/OrderItem", {**sold, "PricebookEntryId": pounds})
    assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")
    several.make("OrderItem", **sold, PricebookEntryId=euros)
    assert several.query("select CurrencyIsoCode from OrderItem")[0]["CurrencyIsoCode"] == "EUR"
    reply = change(several, "Order", order, CurrencyIsoCode="GBP")
    assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")


def test_a_new_rate_converts_no_amount(several: Peer) -> None:
    deal = several.make(
        "Opportunity", Name="Deal", StageName="Prospecting", CloseDate="2026-11-24", Amount=100,
        CurrencyIsoCode="EUR",
    )  # fmt: skip
    before = several.read(deal)
    several.control("clock", {"move_s": 60})
    change(several, "CurrencyType", currency(several, "EUR")["Id"], ConversionRate=2)
    assert several.read(deal) == before


# -- rates with a date


def test_dated_rates_are_there_with_advanced_currency_management_alone(sf: Salesforce, several: Peer) -> None:
    with pytest.raises(SalesforceMalformedRequest):
        sf.query("select Id from DatedConversionRate")
    several.control("dialect", {"dated_rates": True})
    assert spans(several, "EUR") == [("0001-01-01", "9999-12-31", 1.17)]
    described: Any = sf.DatedConversionRate.describe()
    rights = {one["name"]: (one["createable"], one["updateable"]) for one in described["fields"]}
    assert (rights["ConversionRate"], rights["StartDate"]) == ((True, True), (True, False))
    assert rights["NextStartDate"] == (False, False)


def test_each_rate_ends_where_the_next_begins(sf: Salesforce, dated: Peer) -> None:
    late = sf.DatedConversionRate.create(
        {"IsoCode": "EUR", "StartDate": "2026-11-01", "ConversionRate": 1.21}
    )["id"]
    early = sf.DatedConversionRate.create(
        {"IsoCode": "EUR", "StartDate": "2026-06-01", "ConversionRate": 1.19}
    )["id"]
    assert spans(dated, "EUR") == [
        ("0001-01-01", "2026-06-01", 1.17), ("2026-06-01", "2026-11-01", 1.19), ("2026-11-01", "9999-12-31", 1.21),
    ]  # fmt: skip
    assert spans(dated, "USD") == [("0001-01-01", "9999-12-31", 1.27)]
    assert sf.DatedConversionRate.update(late, {"ConversionRate": 1.2}) == 204
    assert sf.DatedConversionRate.delete(early) == 204
    assert spans(dated, "EUR") == [("0001-01-01", "2026-11-01", 1.17), ("2026-11-01", "9999-12-31", 1.2)]
    text = (
        "select ConversionRate from DatedConversionRate "
        "where IsoCode = 'EUR' and StartDate <= {0} and NextStartDate > {0}"
    )
    for day, rate in (("2026-10-31", 1.17), ("2026-11-01", 1.2)):
        assert [one["ConversionRate"] for one in sf.query(text.format(day))["records"]] == [rate]


def test_a_dated_rate_that_does_not_fit_is_refused(dated: Peer) -> None:
    rate = {"IsoCode": "EUR", "StartDate": "2026-11-01", "ConversionRate": 1.2}
    dated.make("DatedConversionRate", **rate)
    for fields, code in (
        ({}, "DUPLICATE_VALUE"),
        ({"StartDate": "2026-12-01", "ConversionRate": -1}, "FIELD_INTEGRITY_EXCEPTION"),
        ({"IsoCode": "GBP"}, "FIELD_INTEGRITY_EXCEPTION"),
        ({"IsoCode": "JPY"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
    ):
        reply = dated.call("POST", "sobjects/DatedConversionRate", {**rate, **fields})
        assert refusal(reply) == (400, code)
    only = dated.query("select Id from DatedConversionRate where IsoCode = 'USD'")[0]["Id"]
    assert refusal(dated.call("DELETE", f"sobjects/DatedConversionRate/{only}")) == (400, "DELETE_FAILED")
    dated.control("dialect", {"dated_rate_create": "refused"})
    reply = dated.call("POST", "sobjects/DatedConversionRate", {**rate, "StartDate": "2027-01-01"})
    assert refusal(reply) == (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY")


def test_rates_of_a_dump_can_be_loaded_again(dated: Peer) -> None:
    dated.make("DatedConversionRate", IsoCode="EUR", StartDate="2026-11-01", ConversionRate=1.2)
    change(dated, "CurrencyType", currency(dated, "USD")["Id"], ConversionRate=1.333333)
    dump = dated.http.get("/sandbox/dump").text
    before = spans(dated, "EUR")
    dated.control("reset", {"seed": False})
    load_rows(dated, [json.loads(one) for one in dump.splitlines()])
    assert dated.http.get("/sandbox/dump").text == dump
    assert (spans(dated, "EUR"), currency(dated, "USD")["ConversionRate"]) == (before, 1.333333)

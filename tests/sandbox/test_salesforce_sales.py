"""Opportunities, lines, products and prices: simple-salesforce drives them, and the amounts are exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from salesforce_peer import Peer, load_rows, refusal, serving, simple_client
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest

from sandbox.salesforce import switches
from sandbox.salesforce.ids import make_id

STANDARD = make_id("01s", "St", 1)
CENT = Decimal("0.01")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("sales")) as started:
        yield started


@dataclass
class Shop:
    """An account, two products with standard prices, and an opportunity with the standard price book."""

    peer: Peer
    account: str
    products: tuple[str, str]
    prices: tuple[str, str]
    opportunity: str

    def sell(self, quantity: str = "1", price: str = "100", entry: int = 0, **fields: Any) -> str:
        numbers = {"Quantity": float(quantity), "UnitPrice": float(price)}
        return self.peer.make(
            "OpportunityLineItem",
            OpportunityId=self.opportunity,
            PricebookEntryId=self.prices[entry],
            **{**numbers, **fields},
        )

    def read(self, record_id: str = "") -> dict[str, Any]:
        """The opportunity, or another record, with exact numbers."""
        record_id = record_id or self.opportunity
        kind = "OpportunityLineItem" if record_id.startswith("00k") else "Opportunity"
        reply = self.peer.call("GET", f"sobjects/{kind}/{record_id}")
        return json.loads(reply.text, parse_float=Decimal)

    def close(self, stage: str = "Closed Won") -> None:
        assert self.peer.change(self.opportunity, StageName=stage).status_code == 204


def open_shop(peer: Peer, **opportunity: Any) -> Shop:
    account = peer.make("Account")
    products = tuple(
        peer.make("Product2", Name=name, ProductCode=code, IsActive=True)
        for name, code in (("Field kit", "KIT"), ("Hour of advice", "ADVICE"))
    )
    prices = tuple(
        peer.make("PricebookEntry", Pricebook2Id=STANDARD, Product2Id=product, UnitPrice=100, IsActive=True)
        for product in products
    )
    fields = {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-11-24", "AccountId": account}
    made = peer.make("Opportunity", **{**fields, "Pricebook2Id": STANDARD, **opportunity})
    return Shop(peer, account, products, prices, made)  # type: ignore[arg-type]


@pytest.fixture
def shop(peer: Peer) -> Shop:
    return open_shop(peer)


# -- simple-salesforce, from product to invoice number


def test_it_sells_from_product_to_closed_won(sf: Salesforce, peer: Peer) -> None:
    book = sf.query("select Id from Pricebook2 where IsStandard = true")["records"][0]["Id"]
    account = sf.Account.create({"Name": "Edge"})["id"]
    product = sf.Product2.create({"Name": "Kit", "ProductCode": "KIT", "IsActive": True})["id"]
    entry = {"Pricebook2Id": book, "Product2Id": product, "UnitPrice": 19.99, "IsActive": True}
    price = sf.PricebookEntry.create(entry)["id"]
    deal = sf.Opportunity.create(
        {"Name": "Edge kits", "AccountId": account, "StageName": "Qualification", "CloseDate": "2026-12-01"}
    )["id"]
    sold = {"OpportunityId": deal, "PricebookEntryId": price, "Quantity": 3, "UnitPrice": 19.99}
    made = sf.OpportunityLineItem.create(sold)["id"]
    assert sf.Opportunity.update(deal, {"StageName": "Closed Won"}) == 204
    row = sf.Opportunity.get(deal)
    assert (row["IsWon"], row["IsClosed"], row["Probability"], row["Amount"]) == (True, True, 100.0, 59.97)
    assert (row["HasOpportunityLineItem"], row["Pricebook2Id"]) == (True, book)
    text = (
        "select Id, Quantity, PricebookEntry.Product2.ProductCode, Product2.Name, Opportunity.Account.Name "
        f"from OpportunityLineItem where Opportunity.IsWon = true and OpportunityId = '{deal}'"
    )
    found = sf.query_all(text)["records"]
    assert [one["Id"] for one in found] == [made]
    assert found[0]["PricebookEntry"]["Product2"]["ProductCode"] == "KIT"
    assert found[0]["Opportunity"]["Account"]["Name"] == "Edge"


def test_it_writes_an_invoice_back_by_update_and_upsert(sf: Salesforce, shop: Shop) -> None:
    number = {"Xero_Invoice_Number__c": f"SF-{shop.opportunity.upper()}", "Xero_Invoice_Status__c": "DRAFT"}
    assert sf.Opportunity.update(shop.opportunity, number) == 204
    assert sf.Opportunity.upsert(f"Xero_Invoice_Number__c/{number['Xero_Invoice_Number__c']}", {"Type": "x"})
    assert sf.Opportunity.get(shop.opportunity)["Type"] == "x"
    other = open_shop(shop.peer).opportunity
    with pytest.raises(SalesforceMalformedRequest) as refused:
        sf.Opportunity.update(other, number)
    content: Any = refused.value.content
    assert content[0]["errorCode"] == "DUPLICATE_VALUE"
    assert content[0]["message"] == (
        "duplicate value found: Xero_Invoice_Number__c duplicates value on record with id: "
        + shop.opportunity[:15]
    )


def test_a_person_closes_an_opportunity_with_the_login_of_a_person(line: dict[str, Any], shop: Shop) -> None:
    login = line["salesforce"]["person"]
    person = simple_client(
        line, consumer_key=login["client_id"], consumer_secret=login["client_secret"], domain="acme.my"
    )
    person.Opportunity.update(shop.opportunity, {"StageName": "Closed Won"})
    assert shop.read()["LastModifiedById"] == login["user_id"]


def test_every_object_of_sales_is_described(sf: Salesforce, peer: Peer) -> None:
    described = {field["name"]: field for field in sf.Opportunity.describe()["fields"]}
    assert not described["IsWon"]["updateable"]
    assert described["Xero_Invoice_ID__c"]["externalId"] and described["Xero_Invoice_ID__c"]["length"] == 36
    assert "Closed Won" in [one["value"] for one in described["StageName"]["picklistValues"]]
    assert "CurrencyIsoCode" not in described
    required = [
        field["name"]
        for field in sf.OpportunityLineItem.describe()["fields"]
        if field["createable"] and not field["nillable"] and not field["defaultedOnCreate"]
    ]
    assert required == ["OpportunityId", "Quantity"]
    children = {one["relationshipName"]: one for one in sf.Opportunity.describe()["childRelationships"]}
    assert children["OpportunityLineItems"]["cascadeDelete"]
    for name in ("Product2", "Pricebook2", "PricebookEntry", "OpportunityStage"):
        assert sf.restful(f"sobjects/{name}/describe")["name"] == name


# -- stages


def test_the_stage_decides_and_a_written_probability_stays(shop: Shop) -> None:
    assert (shop.read()["IsWon"], shop.read()["Probability"]) == (False, Decimal("10.0"))
    shop.close("Closed Lost")
    lost = shop.read()
    assert (lost["IsWon"], lost["IsClosed"], lost["Probability"]) == (False, True, Decimal("0.0"))
    assert lost["LastStageChangeDate"]
    shop.peer.change(shop.opportunity, StageName="Negotiation/Review", Probability=55)
    assert (shop.read()["Probability"], shop.read()["ForecastCategory"]) == (Decimal("55.0"), "Pipeline")


def test_an_unknown_stage_is_taken_and_wins_nothing(shop: Shop) -> None:
    shop.close("Signed and sealed")
    assert (shop.read()["StageName"], shop.read()["IsWon"]) == ("Signed and sealed", False)


def test_an_administrator_makes_a_stage_win_and_no_stamp_moves(shop: Shop) -> None:
    shop.close("Signed")
    before = shop.read()
    shop.peer.control("stages", {"name": "Signed", "won": True})
    after = shop.read()
    assert (before["IsWon"], after["IsWon"], after["IsClosed"]) == (False, True, True)
    assert before["SystemModstamp"] == after["SystemModstamp"]
    won = shop.peer.query("select ApiName from OpportunityStage where IsWon = true order by SortOrder")
    assert [one["ApiName"] for one in won] == ["Closed Won", "Signed"]


def test_is_won_can_not_be_written(shop: Shop) -> None:
    assert refusal(shop.peer.change(shop.opportunity, IsWon=True)) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")


def test_required_fields_are_named(peer: Peer) -> None:
    reply = peer.call("POST", "sobjects/Opportunity", {"StageName": "Prospecting"})
    assert refusal(reply) == (400, "REQUIRED_FIELD_MISSING")
    assert reply.json()[0]["fields"] == ["Name", "CloseDate"]


# -- lines and amounts

QUANTITIES = st.decimals("0.01", "9999", places=2)
PRICES = st.decimals("-9999", "99999", places=2)
DISCOUNTS = st.none() | st.decimals("0", "100", places=2)
LINES = st.lists(st.tuples(QUANTITIES, PRICES, DISCOUNTS), min_size=1, max_size=4)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(LINES, st.sampled_from(["make", "collection"]))
def test_totals_are_rounded_by_line_and_rolled_up(
    peer: Peer, lines: list[tuple[Decimal, Decimal, Decimal | None]], way: str
) -> None:
    peer.control("reset", {"seed": False})
    shop = open_shop(peer)
    bodies = [
        {"OpportunityId": shop.opportunity, "PricebookEntryId": shop.prices[0], "Quantity": str(quantity),
         "UnitPrice": str(price), **({} if discount is None else {"Discount": str(discount)})}
        for quantity, price, discount in lines
    ]  # fmt: skip
    if way == "make":
        made = [peer.make("OpportunityLineItem", **body) for body in bodies]
    else:
        kind = {"attributes": {"type": "OpportunityLineItem"}}
        records = [{**kind, **body} for body in bodies]
        reply = peer.call("POST", "composite/sobjects", {"records": records, "allOrNone": True})
        made = [row["id"] for row in reply.json()]
    expected = [
        (quantity * price * (100 - (discount or 0)) / 100).quantize(CENT, ROUND_HALF_UP)
        for quantity, price, discount in lines
    ]
    assert [shop.read(one)["TotalPrice"] for one in made] == expected
    assert shop.read()["Amount"] == sum(expected)
    gone = peer.call("DELETE", f"sobjects/OpportunityLineItem/{made[0]}")
    assert gone.status_code == 204
    rest = shop.read()
    assert rest["HasOpportunityLineItem"] is (len(made) > 1)
    assert rest["Amount"] == (sum(expected[1:]) if len(made) > 1 else expected[0])


def test_eighteen_digits_come_back_as_they_were_sent(shop: Shop) -> None:
    text = '{"Amount": 1234567890123456.78}'
    url = f"/services/data/v67.0/sobjects/Opportunity/{shop.opportunity}"
    assert shop.peer.http.patch(url, content=text.encode()).status_code == 204
    assert '"Amount":1234567890123456.78' in shop.peer.http.get(url).text
    assert shop.peer.query("select Id from Opportunity where Amount = 1234567890123456.78")
    assert not shop.peer.query("select Id from Opportunity where Amount = 1234567890123456.79")


@pytest.mark.parametrize(
    ("form", "shown"), [("shortest", "15000.0"), ("scale", "15000.00"), ("bare", "15000")]
)
def test_how_a_number_is_written_is_a_switch(shop: Shop, form: str, shown: str) -> None:
    shop.peer.control("dialect", {"number_text": form})
    shop.peer.change(shop.opportunity, Amount=15000)
    reply = shop.peer.call(
        "GET", f"sobjects/Opportunity/{shop.opportunity}", params={"fields": "Amount,Name"}
    )
    assert f'"Amount":{shown},' in reply.text


def test_more_digits_than_the_field_has_are_kept_or_rounded(shop: Shop) -> None:
    shop.peer.change(shop.opportunity, Amount=1.235)
    assert shop.read()["Amount"] == Decimal("1.235")
    shop.peer.control("dialect", {"extra_decimals": "rounded"})
    shop.peer.change(shop.opportunity, Amount=1.235)
    assert shop.read()["Amount"] == Decimal("1.24")


def test_the_amount_of_an_opportunity_with_lines_is_passed_over_without_a_word(shop: Shop) -> None:
    shop.sell("2", "50")
    assert shop.peer.change(shop.opportunity, Amount=7, NextStep="call").status_code == 204
    assert (shop.read()["Amount"], shop.read()["NextStep"]) == (Decimal("100.0"), "call")


def test_expected_revenue_and_fiscal_quarter_follow(shop: Shop) -> None:
    shop.sell("1", "33.33")
    row = shop.read()
    assert (row["ExpectedRevenue"], row["Fiscal"]) == (Decimal("3.33"), "2026 4")


def test_a_change_of_quantity_or_discount_makes_a_new_total(shop: Shop) -> None:
    made = shop.sell("3", "10.01")
    shop.peer.change(made, Discount=12.5)
    assert (shop.read(made)["TotalPrice"], shop.read(made)["Subtotal"]) == (
        Decimal("26.28"),
        Decimal("30.03"),
    )
    shop.peer.change(made, Quantity=1.5)
    assert (shop.read(made)["TotalPrice"], shop.read()["Amount"]) == (Decimal("13.14"), Decimal("13.14"))


def test_a_total_that_was_set_stays_and_gives_the_price(shop: Shop) -> None:
    made = shop.peer.make(
        "OpportunityLineItem", OpportunityId=shop.opportunity, PricebookEntryId=shop.prices[0], Quantity=3,
        TotalPrice=100,
    )  # fmt: skip
    assert (shop.read(made)["UnitPrice"], shop.read(made)["TotalPrice"]) == (
        Decimal("33.33"),
        Decimal("100.0"),
    )
    assert shop.read()["Amount"] == Decimal("100.0")
    shop.peer.change(made, Description="3 for 100")
    assert shop.read(made)["TotalPrice"] == Decimal("100.0")
    shop.peer.change(made, Quantity=6)
    assert shop.read(made)["TotalPrice"] == Decimal("199.98")


def test_a_locked_opportunity_takes_no_line(shop: Shop) -> None:
    shop.peer.control("locks", {"ids": [shop.opportunity]})
    good = {
        "OpportunityId": shop.opportunity, "PricebookEntryId": shop.prices[0], "Quantity": 1, "UnitPrice": 1,
    }  # fmt: skip
    reply = shop.peer.call("POST", "sobjects/OpportunityLineItem", good)
    assert refusal(reply) == (400, "UNABLE_TO_LOCK_ROW")
    assert not shop.read()["HasOpportunityLineItem"]
    assert shop.peer.call("POST", "sobjects/OpportunityLineItem", good).status_code == 201


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"UnitPrice": 5, "TotalPrice": 5}, "INVALID_FIELD", "UnitPrice"),
        ({"UnitPrice": None}, "REQUIRED_FIELD_MISSING", "UnitPrice"),
        ({"Quantity": None}, "REQUIRED_FIELD_MISSING", "Quantity"),
        ({"Quantity": 0}, "FIELD_INTEGRITY_EXCEPTION", "Quantity"),
        ({"PricebookEntryId": None}, "FIELD_INTEGRITY_EXCEPTION", "PricebookEntryId"),
        ({"PricebookEntryId": make_id("01u", "Zz", 1)}, "INVALID_CROSS_REFERENCE_KEY", "PricebookEntryId"),
        ({"OpportunityId": make_id("001", "Zz", 1)}, "FIELD_INTEGRITY_EXCEPTION", "OpportunityId"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(
    shop: Shop, fields: dict[str, Any], code: str, named: str
) -> None:
    good = {
        "OpportunityId": shop.opportunity, "PricebookEntryId": shop.prices[0], "Quantity": 1, "UnitPrice": 1,
    }  # fmt: skip
    reply = shop.peer.call("POST", "sobjects/OpportunityLineItem", {**good, **fields})
    assert refusal(reply) == (400, code)
    assert named in reply.json()[0]["fields"]
    assert not shop.read()["HasOpportunityLineItem"]


def test_price_and_total_can_not_both_be_changed(shop: Shop) -> None:
    made = shop.sell("1", "5")
    reply = shop.peer.change(made, UnitPrice=6, TotalPrice=7)
    assert reply.json()[0]["message"] == "Cannot change both 'UnitPrice' and 'TotalPrice' in update call"
    assert shop.peer.change(made, UnitPrice=6, TotalPrice=5).status_code == 204  # the same total is no change


def test_a_line_names_its_product_and_list_price(shop: Shop) -> None:
    made = shop.read(shop.sell("1", "80", 1))
    assert (made["ProductCode"], made["Name"]) == ("ADVICE", "Deal Hour of advice")
    assert (made["Product2Id"], made["ListPrice"]) == (shop.products[1], Decimal("100.0"))


@pytest.mark.parametrize(("roll_up", "moves"), [("modified", (1, 1)), ("system", (0, 1)), ("none", (0, 0))])
def test_whether_a_line_moves_the_stamps_of_its_opportunity(
    shop: Shop, roll_up: str, moves: tuple[int, int]
) -> None:
    shop.peer.control("dialect", {"roll_up_stamps": roll_up})
    before = shop.read()
    shop.peer.control("clock", {"move_s": 60})
    shop.sell()
    after = shop.read()
    moved = tuple(int(before[name] != after[name]) for name in ("LastModifiedDate", "SystemModstamp"))
    assert (moved, after["Amount"]) == (moves, Decimal("100.0"))


# -- price books


def test_a_price_of_another_price_book_or_one_that_is_off_is_refused(shop: Shop) -> None:
    peer = shop.peer
    other = peer.make("Pricebook2", Name="Trade", IsActive=True)
    entry = {"Pricebook2Id": other, "Product2Id": shop.products[0], "UnitPrice": 80, "IsActive": True}
    trade = peer.make("PricebookEntry", **entry)
    sold = {"OpportunityId": shop.opportunity, "PricebookEntryId": trade, "Quantity": 1, "UnitPrice": 1}
    reply = peer.call("POST", "sobjects/OpportunityLineItem", sold)
    assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert "different pricebook than the one assigned to the opportunity" in reply.json()[0]["message"]
    peer.change(shop.prices[0], IsActive=False)
    reply = peer.call("POST", "sobjects/OpportunityLineItem", {**sold, "PricebookEntryId": shop.prices[0]})
    assert "inactive" in reply.json()[0]["message"]


def test_a_custom_price_needs_a_standard_one_and_comes_once(peer: Peer) -> None:
    book = peer.make("Pricebook2", Name="Trade", IsActive=True)
    product = peer.make("Product2", Name="Kit", IsActive=True)
    entry = {"Pricebook2Id": book, "Product2Id": product, "UnitPrice": 80, "IsActive": True}
    assert refusal(peer.call("POST", "sobjects/PricebookEntry", entry)) == (400, "STANDARD_PRICE_NOT_DEFINED")
    peer.make("PricebookEntry", **{**entry, "Pricebook2Id": STANDARD, "UnitPrice": 100})
    made = peer.make("PricebookEntry", **{**entry, "UseStandardPrice": True})
    assert peer.read(made)["UnitPrice"] == 100.0
    reply = peer.call("POST", "sobjects/PricebookEntry", entry)
    assert refusal(reply) == (400, "DUPLICATE_VALUE")


def test_an_opportunity_without_a_price_book_takes_that_of_its_first_line(peer: Peer) -> None:
    shop = open_shop(peer, Pricebook2Id=None)
    peer.control("dialect", {"first_line_price_book": "refused"})
    sold = {
        "OpportunityId": shop.opportunity,
        "PricebookEntryId": shop.prices[0],
        "Quantity": 1,
        "UnitPrice": 1,
    }
    assert refusal(peer.call("POST", "sobjects/OpportunityLineItem", sold))[1] == "FIELD_INTEGRITY_EXCEPTION"
    peer.control("dialect", {"first_line_price_book": "given"})
    peer.make("OpportunityLineItem", **sold)
    assert shop.read()["Pricebook2Id"] == STANDARD


def test_another_price_book_is_refused_or_costs_the_lines(shop: Shop) -> None:
    made = shop.sell()
    other = shop.peer.make("Pricebook2", Name="Trade", IsActive=True)
    reply = shop.peer.change(shop.opportunity, Pricebook2Id=other)
    assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")
    shop.peer.control("dialect", {"price_book_change": "deletes_lines"})
    assert shop.peer.change(shop.opportunity, Pricebook2Id=other).status_code == 204
    assert not shop.read()["HasOpportunityLineItem"]
    assert refusal(shop.peer.call("GET", f"sobjects/OpportunityLineItem/{made}"))[1] == "ENTITY_IS_DELETED"


def test_several_currencies_bring_fields_and_an_object(sf: Salesforce, shop: Shop) -> None:
    peer = shop.peer
    with pytest.raises(SalesforceMalformedRequest):
        sf.query("select CurrencyIsoCode from Opportunity")
    peer.control("dialect", {"multi_currency": True})
    assert [one["IsoCode"] for one in peer.query("select IsoCode from CurrencyType")] == ["GBP", "EUR", "USD"]
    new = {
        "Name": "Euro deal",
        "StageName": "Prospecting",
        "CloseDate": "2026-12-01",
        "CurrencyIsoCode": "EUR",
    }
    deal = sf.Opportunity.create({**new, "Pricebook2Id": STANDARD})["id"]
    entry = {"Pricebook2Id": STANDARD, "Product2Id": shop.products[0], "UnitPrice": 90, "IsActive": True}
    price = peer.make("PricebookEntry", **entry, CurrencyIsoCode="EUR")
    sold = {"OpportunityId": deal, "PricebookEntryId": shop.prices[0], "Quantity": 1, "UnitPrice": 90}
    assert refusal(peer.call("POST", "sobjects/OpportunityLineItem", sold))[1] == "FIELD_INTEGRITY_EXCEPTION"
    made = peer.make("OpportunityLineItem", **{**sold, "PricebookEntryId": price})
    assert peer.read(made)["CurrencyIsoCode"] == "EUR"
    text = "select Id from Opportunity where CurrencyIsoCode = '{}'"
    found = [[one["Id"] for one in peer.query(text.format(code))] for code in ("GBP", "EUR")]
    assert found == [[shop.opportunity], [deal]]  # what was there before is in the corporate currency
    reply = peer.change(deal, CurrencyIsoCode="GBP")
    assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")
    reply = peer.change(deal, CurrencyIsoCode="XXX")
    assert refusal(reply)[1] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"


# -- deleting


def test_an_opportunity_takes_its_lines_along_and_brings_them_back(shop: Shop) -> None:
    peer = shop.peer
    first, second = shop.sell("1", "10"), shop.sell("1", "20")
    peer.call("DELETE", f"sobjects/OpportunityLineItem/{first}")
    peer.call("DELETE", f"sobjects/Opportunity/{shop.opportunity}")
    assert peer.query("select Id from OpportunityLineItem") == []
    assert len(peer.query("select Id from OpportunityLineItem", everything=True)) == 2
    peer.control("undelete", {"ids": [shop.opportunity]})
    assert [one["Id"] for one in peer.query("select Id from OpportunityLineItem")] == [second]
    assert (shop.read()["Amount"], shop.read()["HasOpportunityLineItem"]) == (Decimal("20.0"), True)
    peer.control("undelete", {"ids": [first]})
    assert shop.read()["Amount"] == Decimal("30.0")


def test_an_account_with_won_opportunities_stays_or_takes_them_along(shop: Shop) -> None:
    peer = shop.peer
    shop.sell()
    shop.close()
    reply = peer.call("DELETE", f"sobjects/Account/{shop.account}")
    assert refusal(reply) == (400, "DELETE_FAILED")
    assert reply.json()[0]["message"].endswith("are shown below.: Deal\n")
    peer.control("dialect", {"delete_account_with_won": "cascade"})
    assert peer.call("DELETE", f"sobjects/Account/{shop.account}").status_code == 204
    assert peer.query("select Id from Opportunity") == peer.query("select Id from OpportunityLineItem") == []
    peer.control("undelete", {"ids": [shop.account]})
    assert len(peer.query("select Id from OpportunityLineItem where Opportunity.Account.Name = 'Acme'")) == 1
    peer.call("DELETE", f"sobjects/Account/{shop.account}")
    peer.control("purge", {"ids": [shop.account]})
    assert peer.query("select Id from OpportunityLineItem", everything=True) == []


def test_a_merge_of_accounts_gives_the_opportunities_to_the_survivor(shop: Shop) -> None:
    kept = shop.peer.make("Account", Name="Acme Ltd")
    shop.peer.control("merge", {"object": "Account", "survivor": kept, "loser": shop.account})
    assert shop.read()["AccountId"] == kept


def test_a_product_in_use_can_not_be_deleted(shop: Shop) -> None:
    shop.sell()
    assert refusal(shop.peer.call("DELETE", f"sobjects/Product2/{shop.products[0]}"))[1] == "DELETE_FAILED"
    assert shop.peer.call("DELETE", f"sobjects/Product2/{shop.products[1]}").status_code == 204
    assert len(shop.peer.query("select Id from PricebookEntry")) == 1  # the price went with its product


def test_deleted_and_updated_tell_of_opportunities_and_lines(sf: Salesforce, shop: Shop) -> None:
    made = shop.sell()
    shop.peer.control("clock", {"move_s": 120})
    shop.peer.call("DELETE", f"sobjects/OpportunityLineItem/{made}")
    shop.peer.control("clock", {"move_s": 120})
    now = shop.peer.control("clock", method="GET")["now"]
    span = {"start": now[:11] + "00:00:00Z", "end": now[:19] + "Z"}
    gone = shop.peer.call("GET", "sobjects/OpportunityLineItem/deleted", params=span).json()
    assert [one["id"] for one in gone["deletedRecords"]] == [made]
    assert shop.peer.call("GET", "sobjects/Opportunity/updated", params=span).json()["ids"] == [
        shop.opportunity
    ]


# -- Composite


def step(reference: str, method: str, url: str, body: Any = None) -> dict[str, Any]:
    request = {"method": method, "url": f"/services/data/v67.0/sobjects/{url}", "referenceId": reference}
    return request if body is None else {**request, "body": body}


def test_composite_makes_an_opportunity_with_its_lines_by_references(sf: Salesforce, shop: Shop) -> None:
    deal = {"Name": "By reference", "StageName": "Closed Won", "CloseDate": "2026-12-01"}
    sold = {
        "OpportunityId": "@{deal.id}",
        "PricebookEntryId": shop.prices[0],
        "Quantity": 2,
        "UnitPrice": 0.1,
    }
    asked = [
        step("account", "POST", "Account", {"Name": "New"}),
        step("deal", "POST", "Opportunity", {**deal, "AccountId": "@{account.id}"}),
        step("line", "POST", "OpportunityLineItem", sold),
        step("read", "GET", "Opportunity/@{deal.id}?fields=Amount,IsWon,AccountId"),
    ]
    reply = sf.restful("composite", method="POST", json={"allOrNone": True, "compositeRequest": asked})
    answers = {one["referenceId"]: one for one in reply["compositeResponse"]}
    assert [one["httpStatusCode"] for one in answers.values()] == [201, 201, 201, 200]
    assert answers["read"]["body"]["Amount"] == 0.2
    assert answers["read"]["body"]["AccountId"] == answers["account"]["body"]["id"]


def test_composite_with_all_or_none_undoes_everything(shop: Shop) -> None:
    asked = [
        step("good", "PATCH", f"Opportunity/{shop.opportunity}", {"NextStep": "call"}),
        step("bad", "PATCH", f"Opportunity/{shop.opportunity}", {"Name": None}),
        step("never", "PATCH", f"Opportunity/{shop.opportunity}", {"Type": "New Customer"}),
    ]
    reply = shop.peer.call("POST", "composite", {"allOrNone": True, "compositeRequest": asked})
    codes = [one["body"][0]["errorCode"] for one in reply.json()["compositeResponse"]]
    assert codes == ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"]
    assert (shop.read()["NextStep"], shop.read()["Type"]) == (None, None)


def test_composite_goes_on_after_an_error_but_for_what_refers_to_it(shop: Shop) -> None:
    asked = [
        step("bad", "POST", "Opportunity", {"Name": "No date"}),
        step("child", "PATCH", "Opportunity/@{bad.id}", {"NextStep": "call"}),
        step("good", "PATCH", f"Opportunity/{shop.opportunity}", {"NextStep": "call"}),
    ]
    reply = shop.peer.call("POST", "composite", {"compositeRequest": asked})
    assert [one["httpStatusCode"] for one in reply.json()["compositeResponse"]] == [400, 400, 204]
    assert shop.read()["NextStep"] == "call"


# -- subqueries


def test_lines_come_with_their_opportunity_in_one_query(sf: Salesforce, shop: Shop) -> None:
    shop.sell("1", "10"), shop.sell("2", "20")
    text = (
        "select Name, (select Quantity, Product2.Name from OpportunityLineItems where Quantity > 1), Account.Name "
        "from Opportunity where IsDeleted = false"
    )
    row = sf.query(text)["records"][0]
    assert row["OpportunityLineItems"]["totalSize"] == 1
    assert row["OpportunityLineItems"]["records"][0]["Product2"]["Name"] == "Field kit"
    assert sf.query("select (select Id from Contacts) from Account")["records"][0]["Contacts"] is None
    with pytest.raises(SalesforceMalformedRequest) as refused:
        sf.query("select (select Id from Lines) from Opportunity")
    assert "Didn't understand relationship 'Lines'" in str(refused.value.content)


def test_amounts_are_summed_exactly(shop: Shop) -> None:
    shop.sell("1", "0.1"), shop.sell("1", "0.2")
    text = "select sum(TotalPrice) total from OpportunityLineItem"
    reply = shop.peer.call("GET", "query", params={"q": text})
    assert '"total":0.3' in reply.text


# -- loading and conditions


def test_load_fills_what_a_stage_gives_and_keeps_digits(peer: Peer) -> None:
    deal = {"attributes": {"type": "Opportunity"}, "Id": make_id("006", "Ts", 1), "Name": "x"}
    load_rows(peer, [{**deal, "StageName": "Closed Won", "CloseDate": "2026-01-01", "Amount": 10.10}])
    row = peer.read(deal["Id"])
    assert (row["IsWon"], row["Probability"], row["Amount"]) == (True, 100.0, 10.1)


@pytest.mark.parametrize(("seconds", "status"), [(-1, 412), (0, 204), (60, 204)])
def test_if_unmodified_since_compares_to_the_second(shop: Shop, seconds: int, status: int) -> None:
    modified = datetime.fromisoformat(shop.read()["LastModifiedDate"].replace("+0000", "+00:00"))
    header = {"If-Unmodified-Since": format_datetime(modified + timedelta(seconds=seconds), usegmt=True)}
    path = f"sobjects/Opportunity/{shop.opportunity}"
    assert shop.peer.call("PATCH", path, {"NextStep": "x"}, headers=header).status_code == status
    bad = shop.peer.call("PATCH", path, {"NextStep": "y"}, headers={"If-Unmodified-Since": "yesterday"})
    assert bad.status_code == 400


def test_every_switch_stands_in_the_readme_with_its_evidence() -> None:
    text = Path(switches.__file__).with_name("README.md").read_text(encoding="utf-8")
    for switch in switches.SWITCHES:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{switch.name}` |"))
        assert row.endswith(f"| {switch.evidence} |")
        assert all(str(value).lower() in row.lower() for value in switch.values)

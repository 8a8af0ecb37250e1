"""What an opportunity gives: which lines, to the cent, and why it can't become an invoice where it can't."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sales import Sales, brief, cents, documents_of, line, linked, sales, stops

from reconcile.bodies import loads
from reconcile.documents import canonical_documents
from reconcile.timezones import ZONES, zone_of


def stop_of(books: Sales, record_id: str) -> str:
    """Why an opportunity became no invoice; nothing at all is planned for it."""
    plan = books.plan()
    assert record_id not in set(documents_of(plan)["source_id"]) | set(documents_of(plan)["record_id"])
    return stops(plan)[record_id]


def one(books: Sales, *lines: dict[str, Any], **fields: Any) -> str:
    account, _ = linked(books)
    return books.won(1, account, *(lines or [line()]), **fields)


def body_of(books: Sales) -> dict[str, Any]:
    """The one invoice that is planned, as it is sent."""
    created = documents_of(books.plan()).filter(pl.col("action") == "create")
    return loads(created["native_after"].item())


def told_of(books: Sales) -> dict[str, Any]:
    created = documents_of(books.plan()).filter(pl.col("action") == "create")
    return json.loads(created["after"].item())


MADE = [("create", "xero", "create", "record"), ("create", "salesforce", "link", "reference")]


# --- Level-triggered: who gets one


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({}, True),
        ({"IsWon": False}, False),
        ({"CloseDate": "2026-11-01"}, True),  # the day of the cut-over itself
        ({"CloseDate": "2026-10-31"}, False),
        ({"CloseDate": "2031-01-01"}, True),
        ({"IsDeleted": True}, False),
        ({"StageName": "Paid in Advance"}, True),  # every stage that is won
    ],
)
def test_a_won_opportunity_gets_an_invoice_from_the_cut_over_on(fields: dict[str, Any], made: bool) -> None:
    books = sales()
    one(books, **fields)
    plan = books.plan()
    assert brief(plan) == (MADE if made else [])
    assert not stops(plan)


def test_only_mapped_stages_count_and_only_what_is_in_scope() -> None:
    books = sales(salesforce="{stages: [Closed Won, Signed], scope: \"Type is distinct from 'Renewal'\"}")
    account, _ = linked(books)
    wanted = books.won(1, account, line(), StageName="Signed")
    books.won(2, account, line(), StageName="Paid in Advance")
    books.won(3, account, line(), Type="Renewal")
    plan = books.plan()
    assert documents_of(plan).filter(pl.col("action") == "create")["source_id"].to_list() == [wanted]
    assert not stops(plan)


def test_what_was_won_long_ago_and_missed_is_made_now() -> None:
    books = sales(cut_over="2020-01-01")
    one(books, CloseDate="2020-01-01", SystemModstamp="2020-01-01T00:00:00.000+0000")
    assert brief(books.plan()) == MADE


# --- The body


def test_the_body_of_a_default_invoice() -> None:
    books = sales()
    account, contact = linked(books)
    lines = [
        line(2, "19.99", ProductCode="GC1060", Description="Two gensets"),
        line("1.5", "3.3333", Discount=Decimal("33.33"), ProductCode="UNKNOWN"),
    ]
    books.won(1, account, *lines)
    assert body_of(books) == {
        "Type": "ACCREC",
        "Contact": {"ContactID": contact},
        "Date": "2026-11-20",
        "DueDate": "2026-12-20",
        "LineAmountTypes": "Exclusive",
        "InvoiceNumber": "SF-006000000000001AAA",
        "Reference": "Deal 1",
        "Status": "DRAFT",
        "LineItems": [
            {
                "Description": "Two gensets",
                "Quantity": 2,
                "UnitAmount": Decimal("19.99"),
                "AccountCode": "200",
                "ItemCode": "GC1060",
            },
            {
                "Description": "Generator",
                "Quantity": Decimal("1.5"),
                "UnitAmount": Decimal("3.3333"),
                "DiscountRate": Decimal("33.33"),
                "AccountCode": "200",
            },
        ],
    }
    told = told_of(books)
    assert (told["subtotal"], told["total_tax"], told["total"]) == ("43.31", None, None)
    assert [one["amount"] for one in told["lines"]] == ["39.98", "3.33"]
    assert (told["currency"], told["contact"], told["due"]) == ("GBP", contact, "2026-12-20")


def test_numbers_are_sent_with_their_own_digits() -> None:
    books = sales(amount="ignore")
    one(books, line("0.1", "123456789012.3456"), Amount=Decimal("1"))
    created = documents_of(books.plan()).filter(pl.col("action") == "create")
    assert '"Quantity":0.1,"UnitAmount":123456789012.3456' in created["native_after"].item()


def test_a_currency_is_sent_where_the_opportunity_states_one() -> None:
    books = sales()
    one(books, CurrencyIsoCode="usd")
    assert body_of(books)["CurrencyCode"] == "USD"


@pytest.mark.parametrize(("amount", "status"), [("1000", "AUTHORISED"), ("1000.01", "DRAFT")])
def test_the_first_rule_that_holds_gives_the_status(amount: str, status: str) -> None:
    books = sales(status='[{when: "Amount <= 1000", then: AUTHORISED}, {then: DRAFT}]')
    one(books, line(1, amount))
    assert body_of(books)["Status"] == status


def test_the_tax_of_the_mapping_gives_both_totals() -> None:
    books = sales(lines="{tax: OUTPUT2}", amount="total")
    one(books, line(1, "25.06"), line(1, "25.61"), line(1, "25.63"), Amount=Decimal("91.56"))
    told = told_of(books)
    # 5.012, 5.122 and 5.126, each rounded by itself
    assert (told["subtotal"], told["total_tax"], told["total"]) == ("76.30", "15.26", "91.56")
    assert {line["TaxType"] for line in body_of(books)["LineItems"]} == {"OUTPUT2"}


def test_inclusive_prices_hold_their_tax() -> None:
    books = sales(lines="{tax: OUTPUT2}", amount="total", line_amounts="inclusive")
    one(books, line(1, "120"), line(3, "0.35"))
    told = told_of(books)
    assert (told["subtotal"], told["total_tax"], told["total"]) == ("100.87", "20.18", "121.05")
    assert body_of(books)["LineAmountTypes"] == "Inclusive"


def test_without_tax_the_total_is_the_subtotal() -> None:
    books = sales(line_amounts="no_tax")
    one(books)
    assert told_of(books)["total"] == told_of(books)["subtotal"] == "100.00"
    assert "TaxType" not in body_of(books)["LineItems"][0]


def test_the_lines_keep_the_order_of_the_opportunity() -> None:
    books = sales()
    one(
        books,
        line(1, 1, Name="b", SortOrder=2),
        line(1, 2, Name="a", SortOrder=1),
        line(1, 3, SortOrder=None),
    )
    assert [one["UnitAmount"] for one in body_of(books)["LineItems"]] == [2, 1, 3]


def test_a_line_is_described_by_its_own_words_else_by_its_product() -> None:
    """Salesforce names a line after its opportunity and its product."""
    books = sales()
    named = [
        line(Name="Deal 1 Generator"),
        line(Name="Deal 1"),
        line(Name="Deal 10 Pump"),
        line(Name=None, ProductCode="X"),
    ]
    one(books, *named, line(Description="For the yard"))
    told = [one["Description"] for one in body_of(books)["LineItems"]]
    assert told == ["Generator", "Deal 1", "Deal 10 Pump", "X", "For the yard"]


def test_items_are_named_only_where_xero_sells_them() -> None:
    books = sales()
    books.item("BOUGHT", IsSold=False)
    one(books, line(ProductCode="BOUGHT"), line(ProductCode="GC1060"), line(ProductCode=None))
    assert [one.get("ItemCode") for one in body_of(books)["LineItems"]] == [None, "GC1060", None]
    never = sales(lines="{items: never}")
    one(never, line(ProductCode="GC1060"))
    assert "ItemCode" not in body_of(never)["LineItems"][0]


def test_a_line_in_the_bin_does_not_count() -> None:
    books = sales()
    one(books, line(), line(1, 5, IsDeleted=True), Amount=Decimal(100))
    assert len(body_of(books)["LineItems"]) == 1


def test_without_due_days_and_reference_neither_is_sent() -> None:
    books = sales(due="null", reference="null")
    one(books)
    assert {"DueDate", "Reference"}.isdisjoint(body_of(books))


# --- Days


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("GMTSTANDARDTIME", "2026-11-20T23:30:00.000+0000", "2026-11-20"),
        ("NEWZEALANDSTANDARDTIME", "2026-11-20T11:30:00.000+0000", "2026-11-21"),  # 00:30 there
        ("PACIFICSTANDARDTIME", "2026-11-20T07:59:00.000+0000", "2026-11-19"),
        ("GMTSTANDARDTIME", "2026-07-20T23:30:00.000+0000", "2026-07-21"),  # summer time
    ],
)
def test_a_moment_becomes_the_day_of_the_organisations_calendar(zone: str, moment: str, day: str) -> None:
    books = sales(date="Won_At__c", cut_over="2026-01-01")
    books.organisation(Timezone=zone)
    one(books, Won_At__c=moment)
    assert body_of(books)["Date"] == day


@pytest.mark.parametrize(
    ("moment", "made"),
    [("2026-11-30T10:59:59.000+0000", False), ("2026-11-30T11:00:00.000+0000", True)],
)
def test_the_cut_over_is_midnight_of_the_organisation(moment: str, made: bool) -> None:
    books = sales(date="Won_At__c", cut_over="2026-12-01")
    books.organisation(Timezone="NEWZEALANDSTANDARDTIME")
    one(books, Won_At__c=moment)
    assert brief(books.plan()) == (MADE if made else [])


def test_zones_are_known_as_xero_spells_them() -> None:
    assert zone_of("NEWZEALANDSTANDARDTIME") == "Pacific/Auckland"
    assert zone_of("MOUNTAINSTANDARDTIME(MEXICO)") == ZONES["MOUNTAINSTANDARDTIMEMEXICO"]
    assert zone_of("UTC+12") == "Etc/GMT-12"
    assert zone_of("MOONTIME") is zone_of(None) is None


# --- What stops one


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([line(None)], "its line 1 has no quantity"),
        ([line(), line(1, None)], "its line 2 has no unit price"),
        ([line("1.00001")], "its line 1 has a quantity of more than 4 decimals"),
        ([line(1, "1.00001")], "its line 1 has a unit price of more than 4 decimals"),
        ([line(10**9, 1)], "its line 1 has a quantity too large to be exact"),
        ([line(1, 10**12)], "its line 1 has a unit price too large to be exact"),
        ([line(999_999_999, 999_999_999_999)], "its line 1 has an amount too large to be exact"),
        ([line(Discount=Decimal("100.01"))], "a discount that is not between 0 and 100"),
        ([line(Discount=Decimal("-1"))], "a discount that is not between 0 and 100"),
        ([line(Discount=Decimal("1.005"))], "a discount of more than 2 decimals"),
        ([line(Discount="ten")], "a discount that is no number"),
        ([line(Name=None)], "neither description nor name"),
    ],
)
def test_a_line_that_can_not_be_sent_stops_its_document(lines: list[dict[str, Any]], reason: str) -> None:
    books = sales(amount="ignore")
    opportunity = one(books, *lines, Amount=Decimal(1))
    assert reason in stop_of(books, opportunity)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"AccountId": None}, "it has no account"),
        ({"CloseDate": None}, "it has no CloseDate"),
        ({"CloseDate": "20.11.2026"}, "its CloseDate can't be read"),
        ({"CurrencyIsoCode": "XQZ"}, "its currency XQZ is none of ISO 4217"),
        ({"Amount": None}, "it has no Amount"),
        ({"Amount": "many"}, "its Amount is no number"),
        (
            {"Amount": Decimal("100.01")},
            "its Amount is 100.01 and its lines give 100.00 (without tax): a difference of -0.01 GBP",
        ),
        ({"Amount": Decimal("100.001")}, "a difference of -0.001 GBP"),
        ({"Amount": Decimal("100.000000000000001")}, "a difference of -0.000000000000001 GBP"),  # lost by a double
        ({"Name": "x" * 256}, "its reference has more than 255 characters"),
    ],
)  # fmt: skip
def test_what_is_missing_or_unlike_stops_a_document(fields: dict[str, Any], reason: str) -> None:
    books = sales()
    assert reason in stop_of(books, one(books, **fields))


def test_an_opportunity_without_lines_stops() -> None:
    books = sales()
    account, _ = linked(books)
    assert stop_of(books, books.won(1, account, Amount=Decimal(100))) == "it has no lines"


def test_a_sum_below_nothing_is_no_invoice() -> None:
    books = sales()
    assert "less than nothing" in stop_of(books, one(books, line(1, 10), line(1, "-10.01")))


def test_the_total_with_tax_must_agree_too() -> None:
    books = sales(lines="{tax: OUTPUT2}", amount="total")
    assert "lines give 120.00 (with tax): a difference of 20.00 GBP" in stop_of(books, one(books))


@pytest.mark.parametrize(
    ("currency", "price", "reason"),
    [
        ("JPY", "333", None),
        ("JPY", "333.5", "in the currency's minor unit"),
        ("BHD", "1.25", None),
        ("BHD", "1.255", "in the currency's minor unit"),
        ("GBP", "1.255", None),
    ],
)
def test_amounts_that_xero_can_not_hold_stop(currency: str, price: str, reason: str | None) -> None:
    """Xero keeps two decimals in every currency; a yen has none, a dinar three."""
    books = sales(amount="ignore")
    opportunity = one(books, line(1, price), CurrencyIsoCode=currency)
    assert reason in stop_of(books, opportunity) if reason else brief(books.plan()) == MADE


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda books: books.lists["Account"].clear(), "the account 200 of the mapping is not in Xero"),
        (lambda books: books.ledger_status("ARCHIVED"), "the account 200 of the mapping is archived in Xero"),
        (lambda books: books.lists["TaxRate"].clear(), "the tax OUTPUT2 of the mapping is not in Xero"),
        (
            lambda books: books.tax("OUTPUT2", Status="DELETED"),
            "the tax OUTPUT2 of the mapping is deleted in Xero",
        ),
        (lambda books: books.tax("OUTPUT2", CanApplyToRevenue=False), "can't be applied to sales"),
        (lambda books: books.tax("OUTPUT2", EffectiveRate=None), "has no rate that we understand"),
        (
            lambda books: books.tax("OUTPUT2", EffectiveRate=Decimal("12.00001")),
            "has no rate that we understand",
        ),
        (lambda books: books.organisation(BaseCurrency=None), "its currency is not known"),
        (lambda books: books.lists["Organisation"].clear(), "its currency is not known"),
    ],
)
def test_reference_data_that_is_not_as_the_mapping_says_stops(prepare: Any, reason: str) -> None:
    books = sales(lines="{tax: OUTPUT2}")
    opportunity = one(books)
    prepare(books)
    assert reason in stop_of(books, opportunity)


def test_a_moment_without_a_known_zone_stops() -> None:
    books = sales(date="Won_At__c")
    books.organisation(Timezone="MOONTIME")
    opportunity = one(books, Won_At__c="2026-11-20T11:30:00.000+0000")
    assert "neither is the organisation's time zone" in stop_of(books, opportunity)


def test_one_that_stops_hides_no_other() -> None:
    books = sales()
    account, _ = linked(books)
    bad, good = books.won(1, account), books.won(2, account, line())
    plan = books.plan()
    assert set(stops(plan)) == {bad}
    assert documents_of(plan).filter(pl.col("action") == "create")["source_id"].to_list() == [good]


# --- Rows that can't be read


def broken(books: Sales, name: str, record_id: str, body: str = "{") -> dict[str, pl.DataFrame]:
    raw = books.raw()
    text = pl.when(pl.col("record_id") == record_id).then(pl.lit(body)).otherwise("body")
    return raw | {name: raw[name].with_columns(body=text)}


def test_an_opportunity_that_can_not_be_read_is_told() -> None:
    books = sales()
    bad, good = one(books), books.won(2, linked(books, 2)[0], line())
    found = canonical_documents(broken(books, "salesforce.Opportunity", bad), books.invoicing)
    assert found.rejects.select("record_id", "reason").rows() == [
        (bad, "the body is not the JSON of this record")
    ]
    assert found.headers["record_id"].to_list() == [good]


@pytest.mark.parametrize(
    ("amount", "reason"), [("subtotal", "it has no lines"), ("ignore", "it has no lines")]
)
def test_a_line_that_can_not_be_read_never_makes_a_smaller_invoice(amount: str, reason: str) -> None:
    books = sales(amount=amount)
    one(books)
    books.won(2, linked(books, 2)[0], line(), line(1, 5))
    lost = next(reversed(books.salesforce["OpportunityLineItem"]))
    found = canonical_documents(broken(books, "salesforce.OpportunityLineItem", lost), books.invoicing)
    why = dict(found.headers.select("name", "reason").iter_rows())
    assert found.rejects["record_id"].to_list() == [lost]
    assert why["Deal 2"] is not None
    assert (why["Deal 1"] is None) == (amount == "subtotal")  # whose line it is nobody can say


def test_amounts_inside_texts_and_other_objects_are_left_alone() -> None:
    books = sales()
    one(books, Name='"Amount": 7, {"Amount":8}', Description='\\"Amount\\":9')
    assert body_of(books)["Reference"] == '"Amount": 7, {"Amount":8}'


def test_salesforces_spelling_of_large_numbers_is_read() -> None:
    books = sales()
    account, _ = linked(books)
    opportunity = books.won(1, account, line(1, 139000000))
    raw = books.raw()
    spelled = raw["salesforce.Opportunity"].with_columns(
        pl.col("body").str.replace('"Amount":139000000.00', '"Amount":1.39E8')
    )
    assert "1.39E8" in spelled["body"].item()
    found = canonical_documents(raw | {"salesforce.Opportunity": spelled}, books.invoicing)
    assert found.headers.select("record_id", "amount", "reason").rows() == [
        (opportunity, Decimal(139000000), None)
    ]


# --- Totals are what Python's own decimal gives

LINES = st.lists(
    st.builds(
        line,
        st.decimals("-99", "99999", places=4),
        st.decimals("-9999", "999999", places=4),
        Discount=st.one_of(st.none(), st.just(Decimal("33.33")), st.decimals("0", "100", places=2)),
    ),
    min_size=1,
    max_size=8,
)
TAXES = st.sampled_from([("OUTPUT2", 20), ("ZERORATEDOUTPUT", 0), ("RRINPUT", 5)])


@given(LINES, TAXES, st.sampled_from(["exclusive", "inclusive"]))
@settings(max_examples=25)
def test_totals_agree_with_exact_arithmetic(
    lines: list[dict[str, Any]], tax: tuple[str, int], kind: str
) -> None:
    books = sales(lines=f"{{tax: {tax[0]}}}", line_amounts=kind, amount="ignore")
    one(books, *lines)
    found = canonical_documents(books.raw(), books.invoicing)
    amounts = [
        cents(one["Quantity"] * one["UnitPrice"] * (100 - (one["Discount"] or 0)) / 100) for one in lines
    ]
    taxes = [cents(amount * tax[1] / (100 + tax[1] if kind == "inclusive" else 100)) for amount in amounts]
    net = sum(amounts) - (sum(taxes) if kind == "inclusive" else 0)
    header = found.headers.row(0, named=True)
    assert found.lines["amount"].to_list() == amounts
    assert (header["subtotal"], header["total_tax"], header["total"]) == (net, sum(taxes), net + sum(taxes))

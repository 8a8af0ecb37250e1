"""Which account and tax each line of a document gets, what that does to its totals, and what stops it."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest
from coded_sales import CodedSales, coded_sales
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sales import RATES, brief, documents_of, line, linked, sales, stops

from reconcile.bodies import loads
from reconcile.documents import canonical_documents, rule_trial

SERVICES = """      rules:
        - {when: "family = 'Services'", then: {account: "210", tax: ECOUTPUT}}
"""
MADE = [("create", "xero", "create", "record"), ("create", "salesforce", "link", "reference")]


def created(books: CodedSales) -> dict[str, Any]:
    """The one invoice that is planned, as an operation."""
    return documents_of(books.plan()).filter(pl.col("action") == "create").row(0, named=True)


def codes_of(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one.get("AccountCode"), one.get("TaxType")) for one in loads(row["native_after"])["LineItems"]]


def one_deal(books: CodedSales, *lines: dict[str, Any], **fields: Any) -> str:
    account, _ = linked(books)
    return books.won(1, account, *lines, **fields)


# --- By rule


def test_a_rule_over_the_products_family_gives_its_lines_their_codes_and_is_named() -> None:
    books = coded_sales(SERVICES)
    service, part = books.product(1, "S1", "Services"), books.product(2, "P1", "Parts")
    one_deal(
        books, line(Product2Id=service, ProductCode="S1"), line(Product2Id=part), line(Product2Id=service)
    )
    row = created(books)
    assert codes_of(row) == [("210", "ECOUTPUT"), ("200", None), ("210", "ECOUTPUT")]
    assert row["reason"] == (
        "this opportunity is won, and has no invoice. "
        "lines 1, 3: account 210 and tax ECOUTPUT by mine.yaml:8 (family = 'Services'); "
        "line 2: account 200 and the tax of that account by the mapping's default"
    )


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("region = 'DE'", True),
        ("region = 'FR'", False),
        ("channel = 'Web'", True),
        ("LeadSource = 'Web' and item = 'S1'", True),
        ("quantity >= 2 and unit_price < 50.5", True),
        ("amount = 90 and discount = 10", True),
        ("amount > 90", False),
        ("express = true", True),
        ("currency = 'GBP' and date >= '2026-11-20'", True),
        ("colour is null", True),
    ],
)
def test_a_rule_looks_at_line_product_opportunity_and_account(when: str, holds: bool) -> None:
    columns = (
        "{channel: Opportunity.LeadSource, express: OpportunityLineItem.Express__c, colour: Product2.Colour__c, "
        "region: Account.Region__c}"
    )
    books = coded_sales(
        f'      columns: {columns}\n      rules:\n        - {{when: "{when}", then: {{account: "210"}}}}\n'
    )
    account, _ = linked(books)
    books.salesforce["Account"][account]["Region__c"] = "DE"
    product = books.product(1, "S1", None)
    sold = line(2, 50, Discount=Decimal(10), ProductCode="S1", Product2Id=product, Express__c=True)
    books.won(1, account, sold, LeadSource="Web")
    assert codes_of(created(books)) == [("210" if holds else "200", None)]


def test_what_rules_name_is_read_and_nothing_else() -> None:
    plain, named = sales().invoicing, coded_sales(SERVICES).invoicing
    assert plain.fields("salesforce").keys() == {"Opportunity", "OpportunityLineItem"}
    read = named.fields("salesforce")
    assert read.keys() == {"Opportunity", "OpportunityLineItem", "Product2"}
    assert {"ProductCode", "Family"} < read["Product2"]
    assert read["Opportunity"] == plain.fields("salesforce")["Opportunity"]


def test_two_rules_that_disagree_on_a_line_stop_its_document_and_are_both_named() -> None:
    rules = SERVICES + '        - {when: "item = \'S1\'", then: {account: "200"}}\n'
    books = coded_sales(rules)
    deal = one_deal(books, line(ProductCode="S1", Product2Id=books.product(1, "S1", "Services")))
    said = "rules disagree on it: mine.yaml:8 (family = 'Services'); mine.yaml:9 (item = 'S1')"
    assert stops(books.plan())[deal] == f"its line 1: {said}; let one of them not hold there"


def test_a_limit_over_a_total_that_only_xero_knows_holds_the_document() -> None:
    rules = (
        '      rules:\n        - {when: "unit_price > 0", then: {account: "210"}, hold: "total > 1000000"}\n'
    )
    books = coded_sales(rules)
    deal = one_deal(books, line())
    assert stops(books.plan())[deal].startswith("its line 1: held by ")


# --- Against the chart of accounts


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ('{account: "299"}', "the account 299 is archived in Xero"),
        ('{account: "090"}', "the account 090 (BANK) takes no sales"),
        ('{account: "820"}', "the account 820 (GST) takes no sales"),
        ('{account: "777"}', "the account 777 is not in Xero"),
        ("{tax: INPUT2}", "the tax INPUT2 can't be applied to the account 200"),
        ("{tax: NOWHERE}", "the tax NOWHERE is not in Xero"),
    ],
)
def test_a_code_that_xero_would_refuse_stops_its_document_alone(then: str, reason: str) -> None:
    books = coded_sales(f"      rules:\n        - {{when: \"item = 'S1'\", then: {then}}}\n")
    account, _ = linked(books)
    deal = books.won(1, account, line(), line(ProductCode="S1"))
    other = books.won(2, account, line())
    plan = books.plan()
    assert stops(plan) == {deal: f"its line 2: {reason}"}
    assert set(documents_of(plan)["source_id"].drop_nulls()) == {other}


def test_the_one_account_of_a_mapping_without_rules_is_held_against_the_chart_too() -> None:
    books = coded_sales('      account: "820"\n')
    deal = one_deal(books, line())
    assert stops(books.plan())[deal] == "the account 820 (GST) takes no sales"


def test_a_default_that_xero_lacks_stops_only_lines_that_need_it() -> None:
    books = coded_sales('      account: "777"\n' + SERVICES)
    account, _ = linked(books)
    product = books.product(1, "S1", "Services")
    ruled, bare = books.won(1, account, line(Product2Id=product)), books.won(2, account, line())
    plan = books.plan()
    assert stops(plan) == {bare: "its line 1: the account 777 is not in Xero"}
    assert ruled in set(documents_of(plan)["source_id"])


# --- Totals

TAXES = {"A": "OUTPUT2", "B": "ZERORATEDOUTPUT", "C": "RRINPUT"}
BY_ITEM = "".join(
    f"        - {{when: \"item = '{item}'\", then: {{tax: {tax}}}}}\n" for item, tax in TAXES.items()
)
MIXED = st.lists(
    st.tuples(
        st.sampled_from(sorted(TAXES)),
        st.integers(1, 99_999).map(lambda n: Decimal(n).scaleb(-2)),
        st.integers(1, 999_999).map(lambda n: Decimal(n).scaleb(-2)),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


@settings(max_examples=25)
@given(MIXED, st.booleans())
def test_each_line_is_taxed_at_its_own_rate_to_the_cent(sold: list[tuple[Any, ...]], inclusive: bool) -> None:
    """Against a sum of our own, in Python's decimals."""
    amounts = [cents(quantity * price) for _, quantity, price in sold]
    rates = [Decimal(RATES[TAXES[item]]) for item, _, _ in sold]
    taxes = [
        cents(amount * rate / (100 + rate if inclusive else 100))
        for amount, rate in zip(amounts, rates, strict=True)
    ]
    how = "inclusive" if inclusive else "exclusive"
    books = coded_sales("      rules:\n" + BY_ITEM, line_amounts=how, amount="ignore")
    one_deal(books, *(line(quantity, price, ProductCode=item) for item, quantity, price in sold))
    documents = canonical_documents(books.raw(), books.invoicing)
    net = sum(amounts) - (sum(taxes) if inclusive else 0)
    sums = documents.headers.select("subtotal", "total_tax", "total").row(0)
    assert sums == (net, sum(taxes), net + sum(taxes))
    assert documents.lines["tax"].to_list() == [TAXES[item] for item, _, _ in sold]
    assert documents.lines["tax_amount"].to_list() == taxes


@settings(max_examples=15)
@given(MIXED)
def test_a_rule_that_says_what_the_mapping_says_changes_no_invoice(sold: list[tuple[Any, ...]]) -> None:
    lines = [line(quantity, price, ProductCode=item) for item, quantity, price in sold]
    tax = '      account: "200"\n      tax: OUTPUT2\n'
    plain = coded_sales(tax)
    ruled = coded_sales(
        tax + '      rules:\n        - {when: "quantity > 1", then: {account: "200", tax: OUTPUT2}}\n'
    )
    found = []
    for books in (plain, ruled):
        one_deal(books, *lines)
        found.append(canonical_documents(books.raw(), books.invoicing))
    assert_frame_equal(found[0].headers, found[1].headers)
    assert_frame_equal(found[0].lines.drop("coded"), found[1].lines.drop("coded"))


# --- From past bookings

INFER = "      account: null\n      infer: {}\n"


def past(books: CodedSales, contact: str, *accounts: str) -> None:
    """Sales of S1 to one customer: the first a year ago, the others this year."""
    days = ("2025-11-12", "2026-05-04", "2026-09-14", "2026-10-05")
    for number, (day, account) in enumerate(zip(days, accounts, strict=False)):
        books.sold(number, contact, day, "S1", account)


def test_unanimous_past_bookings_decide_and_make_a_draft() -> None:
    books = coded_sales(INFER, status="AUTHORISED")
    account, contact = linked(books)
    past(books, contact, "210", "210", "210")
    books.won(1, account, line(ProductCode="S1", Product2Id=books.product(1, "S1", "Services")))
    row = created(books)
    assert codes_of(row) == [("210", "OUTPUT2")]
    assert loads(row["native_after"])["Status"] == "DRAFT"
    assert row["reason"].endswith(
        "line 1: account 210 and tax OUTPUT2 as past bookings of its item and customer (3 of 3 lines)"
    )
    counted = json.loads(row["evidence"])["line 1"]["item and customer"]
    assert counted == [{"account": "210", "tax": "OUTPUT2", "lines": 3}]


@pytest.mark.parametrize(
    ("accounts", "begins"),
    [
        (
            ("210", "210", "200"),
            "its line 1: past bookings of its item and customer disagree "
            "(booked before: item and customer: 2 to 210 OUTPUT2, 1 to 200 OUTPUT2; item: ",
        ),
        (("210", "210"), "its line 1: too few past bookings of its "),
        ((), "its line 1: the books hold no line like it; say its account by a rule"),
    ],
)
def test_past_bookings_that_do_not_decide_ask_and_show_what_was_seen(
    accounts: tuple[str, ...], begins: str
) -> None:
    books = coded_sales(INFER)
    account, contact = linked(books)
    past(books, contact, *accounts)
    deal = books.won(1, account, line(ProductCode="S1", Product2Id=books.product(1, "S1", "Services")))
    plan = books.plan()
    assert stops(plan)[deal].startswith(begins)
    assert not brief(plan)


@pytest.mark.parametrize("how", ["exclusive", "inclusive"])
def test_what_was_inferred_for_an_invoice_that_is_there_is_not_asked_or_told_again(how: str) -> None:
    books = coded_sales(INFER.replace("null", '"200"\n      tax: RRINPUT'), line_amounts=how, amount="ignore")
    account, contact = linked(books)
    past(books, contact, "210", "210", "210")
    deal = books.won(1, account, line(ProductCode="S1", Product2Id=books.product(1, "S1", "Services")))
    books.apply(books.plan())
    books.sold(9, contact, "2026-11-22", "S1", "200")  # somebody books it otherwise from now on
    again = books.plan()
    assert not brief(again)
    assert deal not in stops(again)


def test_an_undecided_line_gets_the_default_where_the_mapping_says_so_and_is_no_draft_for_it() -> None:
    books = coded_sales('      account: "200"\n      infer: {undecided: default}\n', status="AUTHORISED")
    one_deal(books, line(ProductCode="S1", Product2Id=books.product(1, "S1", "Services")))
    row = created(books)
    assert codes_of(row) == [("200", None)]
    assert loads(row["native_after"])["Status"] == "AUTHORISED"
    assert row["evidence"] == "{}"


def test_a_rule_decides_before_past_bookings_and_asks_nobody() -> None:
    books = coded_sales(INFER + SERVICES, status="AUTHORISED")
    account, contact = linked(books)
    past(books, contact, "200", "200", "210")
    books.won(1, account, line(ProductCode="S1", Product2Id=books.product(1, "S1", "Services")))
    row = created(books)
    assert codes_of(row) == [("210", "ECOUTPUT")]
    assert loads(row["native_after"])["Status"] == "AUTHORISED"


# --- On trial


def test_rules_on_trial_count_their_lines_and_those_without() -> None:
    rules = (
        '      rules:\n        - {when: "family = \'Services\'", then: {account: "210"}, hold: "subtotal > 150"}\n'
        '        - {when: "item = \'S1\'", then: {account: "200"}}\n'
    )
    books = coded_sales(rules)
    account, _ = linked(books)
    product = books.product(1, "S1", "Services")
    books.won(1, account, line(Product2Id=product), line(Product2Id=product, ProductCode="S1"))
    books.won(2, account, line(Product2Id=product), line(), IsWon=False)
    books.won(3, account, line(Product2Id=product), IsDeleted=True)
    found = rule_trial(books.raw(), books.invoicing)
    assert found.select("rule", "lines", "documents", "disagree", "held").rows() == [
        ("mine.yaml:8 (family = 'Services')", 3, 2, 1, 3),
        ("mine.yaml:9 (item = 'S1')", 1, 1, 1, 0),
        (None, 1, 1, 0, 0),
    ]
    assert found["examples"].to_list()[0] == ["Deal 1, line 1", "Deal 1, line 2", "Deal 2, line 1"]

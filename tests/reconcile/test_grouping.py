"""A deposit and the rest, all of a month on one invoice: each sale is billed once, whole or to the cent."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mapped_records import mapping
from sales import Sales, both_billed, deals_and_orders, documents_of, line, linked, sales, stops

from reconcile.bodies import loads
from reconcile.errors import FixMapping
from reconcile.model import empty

D = Decimal
DEPOSIT = "{parts: [{name: Deposit, share: 30}, {name: Rest, days: 30}]}"
THIRDS = "{parts: [{name: First, share: 33.3333}, {name: Second, share: 33.3333, months: 1}, {name: Third, months: 2}]}"
MONTHLY = "{order: {together: {}}}"
DAY = date(2026, 11, 24)


def later(books: Sales, day: date) -> Sales:
    books.today = day
    return books


def settle(books: Sales) -> None:
    """Push plan after plan until nothing is left."""
    for _ in range(3):
        plan = books.plan()
        if plan.operations.is_empty():
            return
        books.apply(plan)
    raise AssertionError(f"not quiet: {books.plan().operations.to_dicts()}")


def billed(books: Sales, record_id: str) -> dict[str, dict[str, Any]]:
    """What follows the sale's id in an invoice's number -> the invoice."""
    number = f"SF-{record_id.upper()}"
    return {one["InvoiceNumber"].removeprefix(number): one for one in books.invoices_of(record_id)}


def kept(books: Sales) -> None:
    """Let Xero keep new invoices as it does, with ids of their lines and times on the wire, and take note of it."""
    for one in books.invoices.values():
        for name in ("Date", "DueDate"):
            if "-" in one[name]:
                at = datetime.combine(date.fromisoformat(one[name]), time(), UTC)
                one[name] = f"/Date({int(at.timestamp() * 1000)}+0000)/"
        for place, entry in enumerate(one["LineItems"]):
            entry.setdefault("LineItemID", f"{one['InvoiceID']}-{place}")
    plan = books.plan()
    assert documents_of(plan).is_empty(), documents_of(plan).to_dicts()
    books.apply(plan)


def written(books: Sales) -> list[dict[str, Any]]:
    """The operations that change invoices."""
    planned = documents_of(books.plan(adopt=False))
    return planned.filter(pl.col("system") == "xero", pl.col("action") == "update").to_dicts()


# --- In parts


def test_a_deposit_is_billed_at_once_and_the_rest_on_its_day() -> None:
    books = later(sales(instalments=DEPOSIT), DAY)
    account, _ = linked(books)
    deal = books.won(1, account, line(3, "33.35", Description="Generator"), line(1, "0.05"))
    settle(books)
    [deposit] = billed(books, deal).values()
    assert deposit["InvoiceNumber"] == f"SF-{deal.upper()}-P1"
    assert [(one["Description"], one["Quantity"], one["UnitAmount"]) for one in deposit["LineItems"]] == [
        ("Deposit: Generator", 1, D("30.02")), ("Deposit: Generator", 1, D("0.02")),
    ]  # fmt: skip
    assert books.body(deal)["Xero_Invoice_ID__c"] == deposit["InvoiceID"]
    settle(later(books, date(2026, 12, 19)))
    assert len(billed(books, deal)) == 1
    settle(later(books, date(2026, 12, 20)))
    rest = billed(books, deal)["-P2"]
    assert (rest["Date"], rest["DueDate"]) == ("2026-12-20", "2027-01-19")
    assert deposit["SubTotal"] + rest["SubTotal"] == D("100.10")
    assert books.body(deal)["Xero_Invoice_ID__c"] == rest["InvoiceID"]
    assert "ItemCode" not in str(rest)


def test_only_what_the_rule_holds_for_is_billed_in_parts() -> None:
    books = later(sales(instalments="{when: Amount >= 1000, " + DEPOSIT[1:]), DAY)
    account, _ = linked(books)
    small, large = books.won(1, account, line(1, 999)), books.won(2, account, line(1, 1000))
    settle(books)
    assert list(billed(books, small)) == [""]
    assert list(billed(books, large)) == ["-P1"]


def test_what_the_rule_of_parts_does_not_hold_for_is_billed_together() -> None:
    books = later(
        sales(instalments="{when: Amount >= 1000, " + DEPOSIT[1:], together="{}"), date(2026, 12, 5)
    )
    account, _ = linked(books)
    small, large = books.won(1, account, line(1, 999)), books.won(2, account, line(1, 1000))
    settle(books)
    assert (list(billed(books, small)), list(billed(books, large))) == ([], ["-P1"])
    assert billed(books, account)["-M202611GBP"]["SubTotal"] == 999


def test_parts_that_are_due_at_once_are_made_in_one_push_and_the_last_is_shown() -> None:
    books = later(sales(instalments=THIRDS), date(2027, 6, 1))
    account, _ = linked(books)
    deal = books.won(1, account, line(1, 100))
    books.apply(books.plan())
    assert {slot: one["SubTotal"] for slot, one in billed(books, deal).items()} == {
        "-P1": D("33.33"), "-P2": D("33.34"), "-P3": D("33.33"),
    }  # fmt: skip
    assert books.body(deal)["Xero_Invoice_Number__c"].endswith("-P3")
    assert books.plan().operations.is_empty()


def test_what_was_billed_whole_stays_whole_and_what_was_billed_in_parts_in_parts() -> None:
    books = later(sales(), DAY)
    account, _ = linked(books)
    whole = books.won(1, account, line(1, 100))
    settle(books)
    plain, parted = books.mapping, sales(instalments=DEPOSIT).mapping
    books.mapping = parted
    parts = books.won(2, account, line(1, 100))
    settle(later(books, date(2027, 6, 1)))
    assert list(billed(books, whole)) == [""]
    assert list(billed(books, parts)) == ["-P1", "-P2"]
    books.mapping = plain
    assert documents_of(books.plan()).is_empty()
    third = books.won(3, account, line(1, 100))
    settle(books)
    assert (list(billed(books, third)), len(books.invoices)) == ([""], 4)


def test_a_deposit_is_not_billed_again_when_the_mapping_knows_no_parts_any_more() -> None:
    books = later(sales(instalments=DEPOSIT), DAY)
    account, _ = linked(books)
    deal = books.won(1, account, line(1, 100))
    settle(books)
    books.mapping = sales().mapping
    assert "give it its `instalments` again" in stops(books.plan())[deal]
    books.links, books.body(deal)["Xero_Invoice_ID__c"] = books.links.clear(), None
    assert "give it its `instalments` again" in stops(books.plan())[deal]
    settle(books)
    assert len(books.invoices) == 1


def test_the_draft_of_a_part_follows_its_sale() -> None:
    books = later(sales(instalments=DEPOSIT, changes="move", withdraw="void"), DAY)
    account, _ = linked(books)
    deal = books.won(1, account, line(1, 100))
    settle(books)
    kept(books)
    sold = next(iter(books.salesforce["OpportunityLineItem"]))
    books.edit(sold, UnitPrice=D(200))
    books.edit(deal, Amount=D(200))
    [changed] = written(books)
    [deposit] = billed(books, deal).values()
    assert (changed["record_id"], changed["source_id"]) == (deposit["InvoiceID"], f"{deal}:P1")
    assert changed["made_from"] == [deal]
    assert loads(changed["native_after"])["LineItems"][0]["UnitAmount"] == 60
    books.edit(sold, UnitPrice=D(100))
    books.edit(deal, IsWon=False)
    [withdrawn] = written(books)
    assert loads(withdrawn["native_after"])["Status"] == "DELETED"
    shown = documents_of(books.plan(adopt=False)).filter(pl.col("system") == "salesforce")
    assert shown["record_id"].to_list() == [deal]


amounts = st.decimals(D("-99999.9999"), D("99999.9999"), places=2)
shares = st.lists(st.decimals(D("0.0001"), D("24"), places=4), min_size=1, max_size=4)


@pytest.mark.in_turn
@settings(max_examples=30, deadline=None)
@given(
    prices=st.lists(amounts, min_size=1, max_size=4), shares=shares,
    tax=st.sampled_from(["OUTPUT2", "ZERORATEDOUTPUT", "RRINPUT"]),
    kind=st.sampled_from(["exclusive", "inclusive"]), currency=st.sampled_from(["GBP", "JPY"]),
)  # fmt: skip
def test_parts_add_up_to_the_sale_line_by_line(
    prices: list[Decimal], shares: list[Decimal], tax: str, kind: str, currency: str
) -> None:
    assume(sum(prices) >= 0)
    parts = ", ".join(f"{{name: Part {n}, share: {share}}}" for n, share in enumerate(shares))
    books = later(
        sales(
            instalments=f"{{parts: [{parts}, {{name: Rest}}]}}", amount="ignore", line_amounts=kind,
            lines=f'{{account: "200", tax: {tax}}}',
        ),
        DAY,
    )  # fmt: skip
    account, _ = linked(books)
    whole_units = [price.to_integral_value() if currency == "JPY" else price for price in prices]
    deal = books.won(1, account, *(line(1, price) for price in whole_units), CurrencyIsoCode=currency)
    books.plan(adopt=False)
    assert books.documents is not None
    found, headers = books.documents.lines, books.documents.headers
    summed = (
        found.group_by(pl.col("line_id").str.replace(":P.$", "")).agg(pl.col("amount").sum()).sort("line_id")
    )
    assert summed["amount"].to_list() == whole_units
    assert headers.height == len(shares) + 1
    places = 0 if currency == "JPY" else 2
    for row in headers.iter_rows(named=True):
        own = found.filter(pl.col("document_id") == row["record_id"])
        gross, taxed = sum(own["amount"], D(0)), sum(own["tax_amount"], D(0))
        assert (row["total"], row["total_tax"]) == (
            (gross, taxed) if kind == "inclusive" else (gross + taxed, taxed)
        )
        assert all(amount == round(amount, places) for amount in own["amount"])
        assert own["unit_price"].to_list() == own["amount"].to_list()
    assert {one.partition(":")[0] for one in headers["record_id"]} == {deal}


# --- Together


def test_a_months_orders_are_one_invoice_once_the_month_is_over() -> None:
    books = later(deals_and_orders(also=MONTHLY), DAY)
    account, contact = linked(books)
    other, _ = linked(books, 2)
    deal = books.won(1, account, line(1, 7))
    orders = [
        books.activated(1, account, line(2, 10, Description="Gloves"), EffectiveDate="2026-11-03"),
        books.activated(2, account, line(1, 5, Description="Boots"), EffectiveDate="2026-11-28"),
        books.activated(3, account, line(1, 1), EffectiveDate="2026-12-01"),
        books.activated(4, other, line(1, 2), EffectiveDate="2026-11-28"),
    ]
    settle(books)
    assert len(books.invoices) == 1 and billed(books, deal)
    settle(later(books, date(2026, 12, 1)))
    november = billed(books, account)["-M202611GBP"]
    assert (november["Date"], november["Contact"]["ContactID"]) == ("2026-11-30", contact)
    assert [(one["Description"], one["Quantity"], one["UnitAmount"]) for one in november["LineItems"]] == [
        ("00000001: Gloves", 2, 10), ("00000002: Boots", 1, 5),
    ]  # fmt: skip
    shown = [str(books.body(order).get("Xero_Invoice_Url__c"))[-36:] for order in orders]
    assert shown[:3] == [november["InvoiceID"], november["InvoiceID"], "None"]
    assert shown[3] == billed(books, other)["-M202611GBP"]["InvoiceID"]
    # What is unique to one sale stands on none.
    assert not any(books.body(order).get("Xero_Invoice_ID__c") for order in orders)
    assert not any(books.body(order).get("Xero_Invoice_Number__c") for order in orders)
    assert len(books.invoices) == 3


@pytest.mark.parametrize(
    "is_shown", [True, False]
)  # a push that dies before it shows the invoice leaves it blank
@pytest.mark.parametrize("form", [{}, {"instalments": DEPOSIT}, {"changes": "move", "withdraw": "void"}])
def test_a_deal_that_is_won_after_its_order_was_billed_with_its_month_is_told(
    form: dict[str, str], *, is_shown: bool
) -> None:
    """What stands on the invoice of a month has no invoice of its own: its deal was billed, too (chaos, seed 123)."""
    books = later(deals_and_orders(also=MONTHLY, **form), date(2026, 12, 5))
    account, _ = linked(books)
    deal = books.won(1, account, line(1, 7), IsWon=False)
    order = books.activated(1, account, line(1, 3), OpportunityId=deal)
    books.activated(2, account, line(1, 4))
    settle(books)
    if not is_shown:
        books.edit(order, Xero_Invoice_Url__c=None)
    books.edit(deal, IsWon=True)
    told = [why for one, why in stops(books.plan()).items() if one.startswith(deal)]
    assert told and all("what is sold once is billed once" in why for why in told)
    settle(books)
    assert not billed(books, deal)
    assert billed(books, account)["-M202611GBP"]["SubTotal"] == 7


def test_what_came_from_a_deal_is_billed_by_the_side_that_is_billed_already() -> None:
    books = later(deals_and_orders(), DAY)
    account, _ = linked(books)
    deal = books.won(1, account, line(1, 7), IsWon=False)
    first = books.activated(1, account, line(1, 3), OpportunityId=deal)
    settle(books)
    books.edit(deal, IsWon=True)
    second = books.activated(2, account, line(1, 4), OpportunityId=deal)
    settle(books)
    assert billed(books, first) and billed(books, second) and not billed(books, deal)
    assert list(stops(books.plan())) == [deal]


def test_a_deal_of_a_billed_month_is_billed_all_the_same() -> None:
    books = later(deals_and_orders(also=MONTHLY), date(2026, 12, 5))
    account, _ = linked(books)
    books.activated(1, account, line(1, 3))
    settle(books)
    deal = books.won(1, account, line(1, 7))
    settle(books)
    assert billed(books, deal)[""]["SubTotal"] == 7


def test_an_order_with_a_fault_stops_its_month_and_is_named() -> None:
    books = later(deals_and_orders(also=MONTHLY), date(2026, 12, 5))
    account, _ = linked(books)
    books.activated(1, account, line(2, 10))
    wrong = books.activated(2, account, line(1, 5), TotalAmount=D(6))
    assert stops(books.plan())[f"{account}:M202611GBP"].startswith(
        "its sale 00000002: its TotalAmount is 6.00"
    )
    books.edit(wrong, TotalAmount=D(5))
    settle(books)
    assert billed(books, account)["-M202611GBP"]["SubTotal"] == 25


def test_an_order_that_comes_late_joins_the_draft_of_its_month_and_one_that_goes_leaves_it() -> None:
    books = later(deals_and_orders(also=MONTHLY, changes="move", withdraw="void"), date(2026, 12, 5))
    account, _ = linked(books)
    first = books.activated(1, account, line(2, 10))
    settle(books)
    kept(books)
    late = books.activated(2, account, line(1, 5))
    [november] = books.invoices.values()
    [changed] = written(books)
    assert (changed["record_id"], changed["made_from"]) == (november["InvoiceID"], [first, late])
    assert [one["UnitAmount"] for one in loads(changed["native_after"])["LineItems"]] == [10, 5]
    [shown] = documents_of(books.plan(adopt=False)).filter(pl.col("system") == "salesforce")["record_id"]
    assert shown == late
    books.edit(first, StatusCode="Draft")
    [changed] = written(books)
    assert [one["UnitAmount"] for one in loads(changed["native_after"])["LineItems"]] == [5]
    books.edit(late, StatusCode="Draft")
    [withdrawn] = written(books)
    assert loads(withdrawn["native_after"])["Status"] == "DELETED"


def test_what_came_from_a_deal_that_is_billed_is_left_out_of_its_month() -> None:
    books = later(deals_and_orders(also=MONTHLY), date(2026, 12, 5))
    account, _ = linked(books)
    deal = books.won(1, account, line(1, 50))
    order = books.activated(1, account, line(1, 50), OpportunityId=deal)
    books.activated(2, account, line(1, 3))
    settle(books)
    assert billed(books, account)["-M202611GBP"]["SubTotal"] == 3
    assert "what is sold once is billed once" in stops(books.plan())[order]


def test_an_order_of_a_billed_month_is_not_billed_alone_once_the_mapping_bills_each_alone() -> None:
    books = later(deals_and_orders(also=MONTHLY), date(2026, 12, 5))
    account, _ = linked(books)
    order = books.activated(1, account, line(1, 3))
    settle(books)
    books.mapping = both_billed()
    assert "give it `together` again" in stops(books.plan())[order]
    settle(books)
    assert len(books.invoices) == 1


def test_a_sale_that_shows_an_invoice_of_another_number_is_not_billed_in_parts() -> None:
    books = later(sales(), DAY)
    account, contact = linked(books)
    deal = books.won(1, account, line(1, 100))
    by_hand = books.invoice(
        InvoiceNumber="INV-77", Contact={"ContactID": contact}, LineItems=[{"Quantity": 1, "UnitAmount": 100}]
    )
    books.edit(deal, Xero_Invoice_ID__c=by_hand)
    books.mapping = sales(instalments=DEPOSIT).mapping
    settle(books)
    assert len(books.invoices) == 1
    assert books.links.filter(pl.col("entity") == "document")["salesforce_id"].to_list() == [deal]


# --- Once, whatever happens

SHOWN = tuple(f"Xero_Invoice_{name}__c" for name in ("ID", "Number", "Status", "Url"))
FORMS = {
    "plain": {"also": "{order: {}}"},
    "parts": {"also": "{order: {}}", "instalments": DEPOSIT},
    "months": {"also": "{order: {together: {}}}", "together": "{}"},
    "some": {
        "also": "{order: {together: {when: TotalAmount > 50}}}",
        "instalments": "{when: Amount > 50, " + DEPOSIT[1:],
    },
}
STEPS = st.one_of(
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(sorted(FORMS)),
    st.tuples(st.just("day"), st.integers(1, 45)),
    st.tuples(st.just("sell"), st.booleans(), st.sampled_from([10, 100]), st.integers(0, 40)),
    st.tuples(st.just("move"), st.integers(0, 9), st.integers(1, 60)),
    st.just("forget"),  # the journal is lost
    st.just("blank"),  # and somebody empties what sales show
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEPS, min_size=3, max_size=9), moving=st.booleans())
def test_no_sale_is_billed_twice_whatever_the_mapping_says_when(steps: list[Any], moving: bool) -> None:
    more = {"changes": "move"} if moving else {}
    books = later(deals_and_orders(**FORMS["plain"], **more), DAY)
    account, _ = linked(books)
    amounts = {
        books.won(91, account, line(1, 100, Description="sale 91")): D(100),
        books.activated(92, account, line(1, 100, Description="sale 92")): D(100),
    }
    claimed: Counter[str] = Counter()
    for number, step in enumerate(steps, start=1):
        if step in FORMS:
            books.mapping = both_billed(**FORMS[step], **more)
        elif step == "forget":
            books.links = books.links.clear()
            books.bases = books.bases[:0] if isinstance(books.bases, list) else type(books.bases)()
        elif step == "blank":
            # Of what shows a month's invoice that would say that it is billed anew.
            for record in filter(lambda one: books.body(one).get("Xero_Invoice_ID__c"), amounts):
                books.body(record).update(dict.fromkeys(SHOWN))
        elif step[0] == "move":
            record = sorted(amounts)[step[1] % len(amounts)]
            # Who empties the field and moves the day has said that it is billed anew.
            if books.body(record).get("Xero_Invoice_Url__c") or not claimed[str(int(record[3:15]))]:
                moved = str(date(2026, 11, 2) + timedelta(days=step[2]))
                books.edit(record, **{"CloseDate" if record.startswith("006") else "EffectiveDate": moved})
        elif step[0] == "day":
            assert books.today is not None
            books.today += timedelta(days=step[1])
        else:
            _, is_deal, price, days = step
            day = str(date(2026, 11, 2) + timedelta(days=days))
            sold = line(1, price, Description=f"sale {number}")
            made = (
                books.won(number, account, sold, CloseDate=day)
                if is_deal
                else books.activated(number, account, sold, EffectiveDate=day)
            )
            amounts[made] = D(price)
        books.apply(books.plan())
        claimed = Counter()
        for one in books.invoices.values():
            for entry in one["LineItems"]:
                name = entry["Description"].rpartition("sale ")[2]
                claimed[name] += entry["Quantity"] * entry["UnitAmount"]
        for record, amount in amounts.items():
            assert claimed[str(int(record[3:15]))] <= amount, (record, step)


# --- The mapping


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"instalments": "{parts: [{name: All}]}"}, "2 to 9 parts"),
        ({"instalments": "{parts: Deposit}"}, "2 to 9 parts"),
        ({"instalments": "{}"}, "parts"),
        ({"instalments": "{parts: [{name: A, share: 60}, {name: B, share: 50}, {name: C}]}"}, "less than 100"),
        ({"instalments": "{parts: [{name: A, share: 0}, {name: B}]}"}, "above 0"),
        ({"instalments": "{parts: [{name: A, share: some}, {name: B}]}"}, "above 0"),
        ({"instalments": "{parts: [{name: A, share: 0.00001}, {name: B}]}"}, "4 decimals"),
        ({"instalments": "{parts: [{name: A}, {name: B}]}"}, "share"),
        ({"instalments": "{parts: [{name: A, share: 10}, {name: B, share: 10}]}"}, "what is left"),
        ({"instalments": "{parts: [{share: 10}, {name: B}]}"}, "name"),
        ({"instalments": "{parts: [{name: A, share: 10}, {name: B, days: -1}]}"}, "days"),
        ({"instalments": DEPOSIT, "number": "{kind: reserved, prefix: INV-}"}, "kind: derived"),
        ({"together": "{}", "number": "{kind: xero}"}, "kind: derived"),
        ({"together": "{by: week}"}, "by"),
        ({"together": "{}", "link": "{url: null}"}, "month's invoice"),
        ({"together": "{}", "instalments": DEPOSIT}, "`when`"),
        ({"instalments": "{when: \"Size__c >\", parts: [{name: A, share: 1}, {name: B}]}"}, "can't be read"),
        ({"instalments": "{when: amount > 1, parts: [{name: A, share: 1}, {name: B}]}"}, "amount"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(keys: dict[str, str], expected: str) -> None:
    lines = "".join(f"    {key}: {value}\n" for key, value in keys.items())
    with pytest.raises(FixMapping) as caught:
        mapping(f"extends: [default]\ndocuments:\n  invoice:\n    cut_over: 2026-11-01\n{lines}")
    assert expected in str(caught.value)
    assert "mapping" in str(caught.value)


def test_the_field_of_the_rule_is_read_and_the_hash_knows_the_parts() -> None:
    found = sales(instalments="{when: Size__c > 3, " + DEPOSIT[1:])
    assert "Size__c" in found.invoicing.fields("salesforce")["Opportunity"]
    others = [sales(), sales(instalments=DEPOSIT), sales(instalments=THIRDS), sales(together="{}")]
    assert len({one.mapping.hash for one in [found, *others]}) == 5


def test_no_documents_are_grouped_into_none() -> None:
    books = later(deals_and_orders(also=MONTHLY, instalments=DEPOSIT), DAY)
    linked(books)
    assert documents_of(books.plan()).is_empty()
    assert books.documents is not None
    assert books.documents.headers.is_empty()
    assert empty({"a": pl.String}).is_empty()

"""Rates are crossed exactly, and what is converted by them agrees to the cent: held against Python's fractions."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile.model import DOCUMENT_LINES, DOCUMENTS, RATES, RAW
from reconcile.rates import (
    Converted,
    converted,
    left_to_xero,
    rate_faults,
    rate_of,
    salesforce_rates,
    stopped,
    table_rates,
)

DAY = date(2026, 11, 20)
EVER = "0001-01-01"
NEVER = "9999-12-31"
HALF_OF_THE_SIXTH = Fraction(1, 2_000_000)
LAST_PLACE = Fraction(1, 10**15)  # more than the last decimal that is kept of an exact rate


def rows(*found: dict[str, Any]) -> pl.DataFrame:
    """RAW of these bodies, in which numbers are spelled as they were given."""
    raw = [
        {
            "record_id": f"01L{number:015}",
            "modified_at": datetime(2026, 11, 1, tzinfo=UTC),
            "deleted": body.pop("deleted", False),
            "row_hash": str(number),
            "body": json.dumps({"Id": f"01L{number:015}", **body}),
        }
        for number, body in enumerate(found, start=1)
    ]
    for row in raw:
        row["body"] = row["body"].replace('"#', "").replace('#"', "")
    return pl.DataFrame(raw, schema=dict(RAW))


def number(text: str) -> str:
    return f"#{text}#"  # `rows` spells it without quotation marks


def kind(code: str, rate: str, *, corporate: bool = False, **fields: Any) -> dict[str, Any]:
    return {"IsoCode": code, "ConversionRate": number(rate), "IsCorporate": corporate, **fields}


def dated(code: str, rate: str, start: str, end: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "IsoCode": code,
        "ConversionRate": number(rate),
        "StartDate": start,
        "NextStartDate": end or NEVER,
        **fields,
    }


GBP = kind("GBP", "1", corporate=True)


def rated(*stated: tuple[str, str, str | None, str | None, str]) -> pl.DataFrame:
    """RATES of (from, to, start, end, rate)."""
    found = [
        (
            "bank",
            one,
            other,
            start and date.fromisoformat(start),
            end and date.fromisoformat(end),
            Decimal(rate),
        )
        for one, other, start, end, rate in stated
    ]
    return pl.DataFrame(found, schema=dict(RATES), orient="row")


def deals(*found: tuple[str | None, date | None]) -> pl.DataFrame:
    named = [(f"006{place}", *deal) for place, deal in enumerate(found)]
    return pl.DataFrame(
        named, schema={"record_id": pl.String, "currency": pl.String, "date": pl.Date}, orient="row"
    )


def rate(
    rates: pl.DataFrame, currency: str | None, base: str | None, on: date | None = DAY
) -> dict[str, Any]:
    return rate_of(deals((currency, on)), rates, base_currency=base).row(0, named=True)


# --- Out of Salesforce


def test_dated_rates_are_read_with_all_their_digits_and_end_where_the_next_begins():
    rates, rejects = salesforce_rates(
        rows(GBP, kind("EUR", "9")),
        rows(
            dated("EUR", "1.170001", EVER, "2026-03-01"),
            dated("EUR", "1.19", "2026-03-01"),
            dated("GBP", "1", EVER),
            dated("IDR", "2.1E4", EVER),
            dated("VND", "33000.1234567890123456", EVER),
        ),
    )
    assert rejects.is_empty()
    assert rates.rows() == [
        ("salesforce", "GBP", "EUR", date(1, 1, 1), date(2026, 3, 1), Decimal("1.170001")),
        ("salesforce", "GBP", "EUR", date(2026, 3, 1), None, Decimal("1.19")),
        ("salesforce", "GBP", "IDR", date(1, 1, 1), None, Decimal(21000)),
        ("salesforce", "GBP", "VND", date(1, 1, 1), None, Decimal("33000.1234567890123456")),
    ]


def test_without_dated_rates_those_of_the_currencies_count_on_every_day():
    rates, rejects = salesforce_rates(rows(GBP, kind("EUR", "1.17")), rows())
    assert rejects.is_empty()
    assert rates.rows() == [("salesforce", "GBP", "EUR", date(1, 1, 1), None, Decimal("1.17"))]


def test_an_org_of_one_currency_has_no_rates():
    rates, rejects = salesforce_rates(rows(), rows())
    assert rates.is_empty() and rejects.is_empty()


def test_an_end_that_was_not_stamped_anew_gives_way_to_the_rate_that_begins():
    for end in (NEVER, "2026-12-01"):
        stale = dated("EUR", "1.17", EVER, end)
        rates, _ = salesforce_rates(rows(GBP), rows(stale, dated("EUR", "1.19", "2026-11-20")))
        assert rate_faults(rates).is_empty()
        assert rate(rates, "EUR", "GBP", DAY)["rate"] == Decimal("1.19")
        assert rate(rates, "EUR", "GBP", DAY - timedelta(1))["rate"] == Decimal("1.17")


def test_a_rate_that_is_gone_or_can_not_be_read_leaves_a_gap_and_not_its_neighbours_rate():
    before = dated("EUR", "1.17", EVER, "2026-11-01")
    for lost in (
        dated("EUR", "1.19", "2026-11-01", deleted=True),
        {"IsoCode": "EUR", "ConversionRate": "x", "StartDate": "2026-11-01", "NextStartDate": NEVER},
        {"IsoCode": "EUR", "ConversionRate": None, "StartDate": "2026-11-01"},
        dated("EUR", "1.19", "01/11/2026"),
        dated("EUR", "1.19", "2026-11-01", "soon"),
    ):
        gone = lost.get("deleted", False)
        rates, rejects = salesforce_rates(rows(GBP, kind("EUR", "5")), rows(dict(before), lost))
        assert rates.height == 1
        assert rejects["reason"].to_list() == (
            [] if gone else ["it has no currency, rate or day that can be read"]
        )
        assert rate(rates, "EUR", "GBP")["reason"] == "no rate of EUR for one GBP holds on 2026-11-20"


def test_one_row_that_can_not_be_read_hides_no_other():
    rates, rejects = salesforce_rates(rows(GBP, kind("EUR", "1.17"), {"IsoCode": "USD"}), rows())
    assert rates["to_currency"].to_list() == ["EUR"]
    assert rejects.height == 1


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ([kind("EUR", "1.17")], "none"),
        ([GBP, kind("EUR", "1", corporate=True)], "GBP at 1, EUR at 1"),
        ([kind("GBP", "1.01", corporate=True), kind("EUR", "1.17")], "GBP at 1.01"),
    ],
)
def test_without_one_corporate_currency_no_rate_is_believed(types: list[dict[str, Any]], said: str):
    rates, rejects = salesforce_rates(rows(*types), rows(dated("EUR", "1.17", EVER)))
    assert rates.is_empty()
    assert rejects["reason"].item() == (
        f"one corporate currency is needed, whose rate is one, and {said} is stated"
    )


# --- Out of a table


def test_a_rate_of_a_table_holds_until_the_next_one_of_its_currency():
    table = pl.DataFrame(
        [
            ("USD", date(2026, 1, 1), Decimal("1.27")),
            ("EUR", date(2026, 6, 1), Decimal("1.18")),
            ("EUR", date(2026, 1, 1), Decimal("1.17")),
        ],
        schema={"currency": pl.String, "starts_on": pl.Date, "rate": pl.Decimal(38, 16)},
        orient="row",
    )
    rates = table_rates(table, base_currency="GBP")
    assert rates.rows() == [
        ("table", "GBP", "EUR", date(2026, 1, 1), date(2026, 6, 1), Decimal("1.17")),
        ("table", "GBP", "EUR", date(2026, 6, 1), None, Decimal("1.18")),
        ("table", "GBP", "USD", date(2026, 1, 1), None, Decimal("1.27")),
    ]


def test_two_rates_of_one_day_in_a_table_are_named():
    table = pl.DataFrame(
        [("EUR", date(2026, 1, 1), Decimal("1.17")), ("EUR", date(2026, 1, 1), Decimal("1.18"))],
        schema={"currency": pl.String, "starts_on": pl.Date, "rate": pl.Decimal(38, 16)},
        orient="row",
    )
    fault = rate_faults(table_rates(table, base_currency="GBP"))["fault"].item()
    assert fault == (
        "the rate of EUR for one GBP is stated twice for one day: 1.17 from 2026-01-01, and 1.18 from 2026-01-01"
    )


# --- Faults of rates


def test_rates_that_overlap_stop_their_own_currency_and_name_both():
    rates = rated(
        ("GBP", "EUR", "2026-01-01", "2026-12-01", "1.17"),
        ("GBP", "EUR", "2026-11-30", None, "1.18"),
        ("GBP", "USD", "2026-01-01", None, "1.27"),
    )
    said = (
        "the rate of EUR for one GBP is stated twice for one day: 1.17 from 2026-01-01 until 2026-12-01, "
        "and 1.18 from 2026-11-30"
    )
    assert rate_faults(rates).rows() == [("GBP", "EUR", said)]
    assert rate(rates, "EUR", "GBP")["reason"] == said
    assert rate(rates, "USD", "EUR")["reason"] == said
    assert rate(rates, "USD", "GBP")["rate"] == Decimal("1.27")


def test_a_rate_that_came_twice_is_one_rate():
    assert rate_faults(pl.concat([FIXED, FIXED])).is_empty()
    assert rate(pl.concat([FIXED, FIXED]), "EUR", "GBP")["rate"] == Decimal("1.17")


INTERVALS = st.lists(
    st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(1, 12))),
    min_size=1,
    max_size=6,
    unique=True,
)


@given(INTERVALS)
def test_a_pair_is_at_fault_just_where_two_of_its_rates_hold_on_one_day(intervals):
    days = [set(range(start, 400 if length is None else start + length)) for start, length in intervals]
    twice = any(days[one] & days[other] for one in range(len(days)) for other in range(one))
    rates = pl.DataFrame(
        [
            ("s", "GBP", "EUR", DAY + timedelta(start), length and DAY + timedelta(start + length), Decimal(1 + at))
            for at, (start, length) in enumerate(intervals)
        ],
        schema=dict(RATES),
        orient="row",
    )  # fmt: skip
    assert rate_faults(rates).height == twice
    assert rate_faults(rates.reverse()).equals(rate_faults(rates))
    if not twice:
        wanted = [
            next((Decimal(1 + at) for at, held in enumerate(days) if day in held), None) for day in range(45)
        ]
        found = rate_of(
            deals(*(("EUR", DAY + timedelta(day)) for day in range(45))), rates, base_currency="GBP"
        )
        assert found["rate"].to_list() == wanted
        assert found["reason"].is_null().to_list() == [one is not None for one in wanted]


@pytest.mark.parametrize(
    ("stated", "fault"),
    [
        (("GBP", "EUR", None, None, "1.17"), "no day from which it holds"),
        (("GBP", "EUR", EVER, None, "0"), "not a number that a rate can be: 0"),
        (("GBP", "EUR", EVER, None, "-1.17"), "not a number that a rate can be: -1.17"),
        (("GBP", "EUR", EVER, None, "1000000000"), "not a number that a rate can be"),
        (("GBP", "EUR", "2026-02-01", "2026-02-01", "1.17"), "ends before it begins"),
    ],
)
def test_a_rate_that_is_none_is_named(stated: Any, fault: str):
    rates = rated(stated)
    assert fault in rate_faults(rates)["fault"].item()
    assert fault in rate(rates, "EUR", "GBP")["reason"]


# --- The rate of a document


FIXED = rated(("GBP", "EUR", EVER, None, "1.17"), ("GBP", "USD", EVER, None, "1.27"))


@pytest.mark.parametrize(
    ("currency", "base", "found", "rounding"),
    [
        ("EUR", "GBP", "1.17", "0"),  # as Xero states it: euros for one pound
        ("GBP", "EUR", "0.854701", "0.0000001453"),  # 1 / 1.17 = 0.8547008547...
        ("EUR", "USD", "0.921260", "0.0000001575"),  # 1.17 / 1.27 = 0.9212598425...
        ("USD", "EUR", "1.085470", "-0.0000000855"),  # 1.27 / 1.17 = 1.0854700855 (rounded: ...4700)
        ("GBP", "GBP", "1", "0"),
    ],
)
def test_a_rate_is_crossed_into_the_direction_of_xero(currency, base, found, rounding):
    told = rate(FIXED, currency, base)
    assert told["rate"] == Decimal(found)
    assert round(told["rounding"], 10) == Decimal(rounding)
    assert told["rate"] - told["exact"] == told["rounding"]
    assert (told["reason"], told["source"]) == (None, None if currency == base else "bank")


def test_a_rate_says_what_it_was_crossed_from():
    rates = rated(("GBP", "EUR", "2026-11-01", "2026-12-01", "1.17"), ("GBP", "USD", EVER, None, "1.27"))
    told = rate(rates, "EUR", "USD")
    assert (
        told["evidence"]
        == "1 GBP = 1.17 EUR from 2026-11-01 until 2026-12-01 (bank); 1 GBP = 1.27 USD (bank)"
    )
    assert told["source"] == "bank"


def test_the_rates_of_a_service_may_stand_either_way():
    """A bank that states what one euro is in pounds, and not the other way."""
    rates = rated(("EUR", "GBP", EVER, None, "0.8"))
    assert rate(rates, "EUR", "GBP")["rate"] == Decimal("1.25")
    assert rate(rates, "GBP", "EUR")["rate"] == Decimal("0.8")


def test_rates_against_the_organisations_currency_come_first():
    rates = rated(
        ("AUD", "GBP", EVER, None, "0.5"), ("AUD", "EUR", EVER, None, "0.6"),
        ("EUR", "GBP", EVER, None, "0.8"), ("GBP", "EUR", EVER, None, "1.17"),
    )  # fmt: skip
    assert rate(rates, "EUR", "GBP")["rate"] == Decimal("1.17")
    assert rate(rates.filter(pl.col("from_currency") != "GBP"), "EUR", "GBP")["rate"] == Decimal("1.25")
    assert rate(rates.filter(pl.col("from_currency") == "AUD"), "EUR", "GBP")["rate"] == Decimal("1.2")


def test_a_way_that_leads_there_is_taken_where_a_better_one_has_a_gap():
    rates = rated(("EUR", "GBP", EVER, None, "0.8"), ("GBP", "EUR", EVER, "2026-01-01", "1.17"))
    assert rate(rates, "EUR", "GBP")["rate"] == Decimal("1.25")


POSITIVE = st.decimals(min_value="0.05", max_value=20, places=6)


@settings(max_examples=50)
@given(POSITIVE, POSITIVE)
def test_a_cross_rate_there_and_back_is_one_within_its_rounding(euros, dollars):
    rates = rated(("GBP", "EUR", EVER, None, str(euros)), ("GBP", "USD", EVER, None, str(dollars)))
    there, back = rate(rates, "EUR", "USD"), rate(rates, "USD", "EUR")
    one, other = Fraction(there["rate"]), Fraction(back["rate"])
    assert abs(one * other - 1) <= (one + other + 1) * HALF_OF_THE_SIXTH
    exact = Fraction(there["exact"]) * Fraction(back["exact"])
    assert abs(exact - 1) <= 1000 * LAST_PLACE


@settings(max_examples=50)
@given(POSITIVE, POSITIVE)
def test_a_rate_is_the_quotient_rounded_once(euros, dollars):
    rates = rated(("GBP", "EUR", EVER, None, str(euros)), ("GBP", "USD", EVER, None, str(dollars)))
    told = rate(rates, "EUR", "USD")
    quotient = Fraction(euros) / Fraction(dollars)
    assert abs(Fraction(told["exact"]) - quotient) <= LAST_PLACE
    assert abs(Fraction(told["rate"]) - quotient) <= HALF_OF_THE_SIXTH + LAST_PLACE


def test_a_tie_is_rounded_away_from_zero():
    assert rate(rated(("GBP", "EUR", EVER, None, "1.1234565")), "EUR", "GBP")["rate"] == Decimal("1.123457")


def test_a_rate_that_six_decimals_would_distort_is_not_sent():
    """One dong is 0.0000394 dollars: 0.000039 would be off by one in a hundred."""
    told = rate(rated(("USD", "VND", EVER, None, "25400")), "USD", "VND")
    assert told["reason"].endswith("is 0.0000393700787402, of which the 6 decimals of Xero leave 0.000039")
    assert (told["rate"], told["rounding"]) == (None, None)
    assert told["exact"] == Decimal("0.0000393700787402")
    typed = rate(rated(("VND", "USD", EVER, None, "0.000039")), "USD", "VND")
    assert (typed["reason"], typed["rate"]) == (None, Decimal("0.000039"))


def test_a_quotient_beyond_all_currencies_is_not_trusted():
    rates = rated(("GBP", "EUR", EVER, None, "0.00000002"), ("GBP", "USD", EVER, None, "1000"))
    told = rate(rates, "EUR", "USD")
    assert "that is no rate that we trust" in told["reason"]
    assert (told["rate"], told["exact"]) == (None, None)


@pytest.mark.parametrize(
    ("currency", "base", "on", "reason"),
    [
        ("EUR", "GBP", None, "its day is not known, and so is its rate not"),
        (None, "GBP", DAY, "its currency is not known"),
        ("EUR", None, DAY, "the organisation's currency is not known"),
        ("CHF", "GBP", DAY, "no rate of CHF for one GBP holds on 2026-11-20"),
        ("EUR", "CHF", DAY, "no rate of CHF for one GBP holds on 2026-11-20"),
    ],
)
def test_what_is_missing_for_a_rate_is_said(currency, base, on, reason):
    told = rate(FIXED, currency, base, on)
    assert (told["rate"], told["source"], told["evidence"], told["reason"]) == (None, None, None, reason)


def test_without_any_rate_only_documents_in_the_organisations_currency_have_one():
    found = rate_of(deals(("EUR", DAY), ("GBP", None)), rated(), base_currency="GBP")
    assert found["reason"].to_list() == ["there are no rates at all", None]
    assert found["rate"].to_list() == [None, Decimal(1)]


def test_each_document_has_its_own_day_and_their_order_stays():
    rates = rated(
        ("GBP", "EUR", "2026-01-01", "2026-11-20", "1.17"), ("GBP", "EUR", "2026-11-20", "2026-11-21", "1.18")
    )
    days = [DAY + timedelta(step) for step in (1, 0, -1, 0)]
    found = rate_of(deals(*(("EUR", day) for day in days)), rates, base_currency="GBP")
    assert found["record_id"].to_list() == ["0060", "0061", "0062", "0063"]
    assert found["rate"].to_list() == [None, Decimal("1.18"), Decimal("1.17"), Decimal("1.18")]


def test_the_example_of_the_forum_gives_what_xero_shows():
    """ZAR organisation, EUR 224.25 at 0.0690: R 3250.00 (Xero showed 3249.99, by a rate with more digits)."""
    told = rate(rated(("ZAR", "EUR", EVER, None, "0.0690")), "EUR", "ZAR")
    assert told["rate"] == Decimal("0.069000")
    assert round(Decimal("224.25") / told["rate"], 2) == Decimal("3250.00")


def test_by_omission_xero_takes_its_own_rate():
    found = left_to_xero(deals(("EUR", DAY), ("GBP", DAY)), base_currency="GBP")
    assert found["rate"].to_list() == [None, Decimal(1)]
    assert found["source"].to_list() == ["xero", None]
    assert found["reason"].to_list() == [None, None]


# --- A currency that the organisation lacks


def header(record_id: str = "006A", currency: str = "EUR", **fields: Any) -> dict[str, Any]:
    return {
        "record_id": record_id, "currency": currency, "stated_currency": currency, "date": DAY, "gone": False, **fields
    }  # fmt: skip


def line(place: int, quantity: str, price: str, discount: str | None = None, **fields: Any) -> dict[str, Any]:
    """A line whose amount is its own, to the cent."""
    exact = Fraction(quantity) * Fraction(price) * (1 - Fraction(discount or 0) / 100)
    return {
        "document_id": "006A", "line_id": f"00k{place}", "position": place, "quantity": Decimal(quantity),
        "unit_price": Decimal(price), "discount": discount and Decimal(discount), "amount": cents(exact), **fields,
    }  # fmt: skip


def cents(exact: Fraction, places: int = 2) -> Decimal:
    """Round halves away from zero."""
    scaled = abs(exact) * 10**places
    whole = floor(scaled + Fraction(1, 2))
    return Decimal(whole if exact >= 0 else -whole).scaleb(-places)


TAX_RATES = pl.DataFrame(
    [("OUTPUT2", Decimal(20)), ("RROUTPUT", Decimal(5))],
    schema={"tax": pl.String, "rate": pl.Decimal(38, 16)},
    orient="row",
)


def convert(
    headers: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    rates: pl.DataFrame = FIXED,
    *,
    base: str = "GBP",
    held: tuple[str, ...] = (),
    kind: str = "exclusive",
) -> Converted:
    documents = pl.DataFrame(headers, schema=dict(DOCUMENTS))
    return converted(
        documents,
        pl.DataFrame(lines, schema=dict(DOCUMENT_LINES)),
        rate_of(documents, rates, base_currency=base),
        held=held,
        base_currency=base,
        line_amounts=kind,
        tax_rates=TAX_RATES,
    )


def test_a_document_in_a_lacking_currency_is_put_into_the_organisations():
    """At 1.17: 100.00 is 85.470085, 50.00 is 42.735043; together 128.205128, of which 128.21 is the nearest."""
    lines = [line(1, "1", "100"), line(2, "4", "12.5")]
    done = convert([header(amount=Decimal(150), subtotal=Decimal(150))], lines)
    found = done.lines.select("quantity", "unit_price", "amount").rows()
    assert found == [
        (Decimal(1), Decimal("85.47"), Decimal("85.47")),
        (Decimal(4), Decimal("10.685"), Decimal("42.74")),
    ]
    told = done.headers.row(0, named=True)
    assert (told["currency"], told["stated_currency"], told["reason"]) == ("GBP", "GBP", None)
    assert (told["amount"], told["subtotal"], told["total"]) == (Decimal("128.21"), Decimal("128.21"), None)
    said = done.conversions.row(0, named=True)
    assert (said["from_currency"], said["to_currency"], said["rate"]) == ("EUR", "GBP", Decimal("1.17"))
    assert (said["amount"], said["converted"]) == (Decimal(150), Decimal("128.21"))
    assert round(said["difference"], 6) == Decimal("0.004872")
    assert round(said["largest_move"], 6) == Decimal("0.004957")
    assert said["evidence"] == "1 GBP = 1.17 EUR (bank)"


def test_a_discount_stays_and_the_price_gives_the_amount_after_it():
    """100 less 10% is 90, at 1.17 it is 76.92: as 85.4667 less 10%, 76.92003."""
    done = convert([header()], [line(1, "1", "100", "10"), line(2, "1", "7", "100"), line(3, "0", "7")])
    assert done.lines.select("unit_price", "discount", "amount").rows() == [
        (Decimal("85.4667"), Decimal(10), Decimal("76.92")),
        (Decimal("5.9829"), Decimal(100), Decimal(0)),
        (Decimal("5.9829"), None, Decimal(0)),
    ]


def test_the_remainder_goes_to_the_lines_that_were_cut_most():
    """At 3: three lines of 1.1133 are 3.34 together, a cent more than three of 1.11; 0.01 is cut less than 0.02."""
    rates = rated(("GBP", "EUR", EVER, None, "3"))
    thirds = convert([header()], [line(place, "1", "3.34") for place in (1, 2, 3)], rates).lines
    assert sorted(thirds["amount"].to_list()) == [Decimal("1.11"), Decimal("1.11"), Decimal("1.12")]
    again = convert([header()], [line(place, "1", "3.34") for place in (3, 2, 1)], rates).lines
    assert again.sort("position").equals(thirds)
    uneven = convert([header()], [line(1, "1", "0.01"), line(2, "1", "0.02"), line(3, "1", "3")], rates).lines
    assert uneven["amount"].to_list() == [Decimal("0.00"), Decimal("0.01"), Decimal("1.00")]


AMOUNTS = st.decimals(min_value=-9999, max_value=9999, places=2)
LINES = st.lists(
    st.tuples(
        st.one_of(st.integers(-20, 20).map(str), st.sampled_from(["0.5", "1.25", "0"])),
        AMOUNTS.map(str),
        st.sampled_from([None, "10", "33.33", "100"]),
        st.sampled_from([None, "OUTPUT2", "RROUTPUT"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200)
@given(
    LINES, POSITIVE, st.sampled_from(["exclusive", "inclusive", "no_tax"]), st.sampled_from(["GBP", "BHD"])
)
def test_converting_splits_nothing_and_moves_no_line_by_more_than_a_minor_unit(shape, euros, kind, base):
    lines = [
        line(place, quantity, price, discount, tax=tax, tax_amount=Decimal(0) if tax else None)
        for place, (quantity, price, discount, tax) in enumerate(shape, start=1)
    ]
    before = sum((Fraction(one["amount"]) for one in lines), Fraction(0))
    rates = rated((base, "EUR", EVER, None, str(euros)))
    done = convert([header()], lines, rates, base=base, kind=kind)
    told = done.headers.row(0, named=True)
    if told["reason"]:
        # A fils is a thousandth: a price of four decimals does not give each whole ten of them.
        assert base == "BHD" and "its line" in told["reason"]
        assert done.lines["amount"].to_list() == [one["amount"] for one in lines]
        assert (told["currency"], done.conversions.height) == ("EUR", 0)
        return
    found = list(done.lines.iter_rows(named=True))
    wanted = before / Fraction(euros)
    said = done.conversions.row(0, named=True)
    assert said["converted"] == sum(one["amount"] for one in found)
    assert abs(Fraction(said["converted"]) - wanted) <= Fraction(1, 200)
    assert abs(Fraction(said["difference"]) - (Fraction(said["converted"]) - wanted)) <= LAST_PLACE
    for old, new in zip(lines, found, strict=True):
        assert abs(Fraction(new["amount"]) - Fraction(old["amount"]) / Fraction(euros)) < Fraction(1, 100)
        assert_as_xero_reckons(new, kind)
    known = kind == "no_tax" or all(one["tax"] for one in lines)
    tax = sum((one["tax_amount"] for one in found), Decimal(0)) if known else None
    assert told["total_tax"] == tax
    without_tax = said["converted"] if kind != "inclusive" else known and said["converted"] - tax
    assert told["subtotal"] == (without_tax if known or kind != "inclusive" else None)
    with_tax = said["converted"] if kind == "inclusive" else known and said["converted"] + tax
    assert told["total"] == (with_tax if known or kind == "inclusive" else None)


def assert_as_xero_reckons(one: dict[str, Any], kind: str) -> None:
    """Xero reckons amount and tax of each line by itself, in two decimals."""
    share = 1 - Fraction(one["discount"] or 0) / 100
    assert one["unit_price"] == round(one["unit_price"], 4)
    assert one["amount"] == cents(Fraction(one["quantity"]) * Fraction(one["unit_price"]) * share)
    if kind != "no_tax" and one["tax"]:
        percent = {"OUTPUT2": 20, "RROUTPUT": 5}[one["tax"]]
        amount = Fraction(one["amount"])
        tax = amount * percent / (100 + percent if kind == "inclusive" else 100)
        assert one["tax_amount"] == cents(tax)


@settings(max_examples=50)
@given(st.lists(LINES, min_size=2, max_size=4), POSITIVE)
def test_no_document_changes_what_another_is_converted_to(shapes, euros):
    rates = rated(("GBP", "EUR", EVER, None, str(euros)))
    headers = [header(f"006{at}") for at in range(len(shapes))]
    lines = [
        [
            line(place, *one[:3], document_id=f"006{at}", line_id=f"00k{at}-{place}")
            for place, one in enumerate(shape)
        ]
        for at, shape in enumerate(shapes)
    ]
    together = convert(headers, [one for own in lines for one in own], rates)
    alone = [convert([one], own, rates) for one, own in zip(headers, lines, strict=True)]
    assert together.lines.equals(pl.concat([one.lines for one in alone]))
    assert together.headers.equals(pl.concat([one.headers for one in alone]))
    assert together.conversions.equals(pl.concat([one.conversions for one in alone]))


@settings(max_examples=50)
@given(LINES, st.randoms())
def test_the_order_of_lines_changes_nothing(shape, shuffler):
    lines = [line(place, *one[:3]) for place, one in enumerate(shape, start=1)]
    mixed = list(lines)
    shuffler.shuffle(mixed)
    there, here = convert([header()], lines), convert([header()], mixed)
    assert there.lines.sort("position").equals(here.lines.sort("position"))
    assert there.headers.equals(here.headers)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 10**6)), min_size=1, max_size=8), POSITIVE)
def test_yen_have_no_cents(shape, rate):
    lines = [line(place, str(quantity), str(price)) for place, (quantity, price) in enumerate(shape, start=1)]
    rates = rated(("JPY", "EUR", EVER, None, str(rate)))
    done = convert([header()], lines, rates, base="JPY")
    before = sum(Fraction(one["amount"]) for one in lines)
    found = done.lines["amount"].to_list()
    assert done.headers["reason"].item() is None
    assert all(amount == amount.to_integral_value() for amount in found)
    assert abs(Fraction(sum(found)) - before / Fraction(rate)) <= Fraction(1, 2)


def test_an_amount_that_no_unit_price_gives_stops_its_document_alone():
    """1000 x 1.2345 = 1234.50 at 1.27 is 972.05; a price of four decimals moves a thousand by ten cents."""
    lines = [line(1, "1000", "1.2345"), line(2, "1", "5", document_id="006B")]
    done = convert([header(currency="USD"), header("006B", currency="USD")], lines)
    assert done.headers["reason"].to_list() == [
        "its line 1 comes to 972.05 GBP, and no unit price of 4 decimals gives that for its quantity: "
        "the nearest gives 972.1, a difference of 0.05",
        None,
    ]
    assert done.headers["currency"].to_list() == ["USD", "GBP"]
    assert done.lines["amount"].to_list() == [Decimal("1234.50"), Decimal("3.94")]


def test_the_tax_is_reckoned_anew_and_what_it_moves_is_told():
    """At 3: 1.00 is 0.333, tax 20%. Of three lines: 0.33, 0.33, 0.34 and 0.07 each; exact were 1.00 and 0.20."""
    rates = rated(("GBP", "EUR", EVER, None, "3"))
    lines = [line(place, "1", "1", tax="OUTPUT2", tax_amount=Decimal("0.20")) for place in (1, 2, 3)]
    fields = {"subtotal": Decimal(3), "total_tax": Decimal("0.6"), "total": Decimal("3.6")}
    done = convert([header(**fields)], lines, rates)
    assert done.headers.select("subtotal", "total_tax", "total").row(0) == (
        Decimal("1.00"), Decimal("0.21"), Decimal("1.21"),
    )  # fmt: skip
    assert done.conversions["total_difference"].item() == Decimal("0.01")


@pytest.mark.parametrize(
    ("lines", "base", "reason"),
    [
        ([line(1, "1", "1", tax="TAX001", tax_amount=Decimal(0))], "GBP", "the tax TAX001, whose rate is not known"),
        ([line(1, "1", "123", tax="OUTPUT2", tax_amount=Decimal(0))], "JPY", "can't hold in the minor unit of JPY"),
        # 17 x 0.5882 is 9.9994: ten dinars in two decimals, 9.999 in their fils
        ([line(1, "17", "0.5882")], "BHD", "the nearest gives 9.999, a difference of -0.001"),
        # 777 x 1.2883 is 1001.0091: 1001 in yen, 1001.01 in the two decimals of Xero
        ([line(1, "777", "1.2883")], "JPY", "the nearest gives 1001.01, a difference of 0.01"),
        ([line(1, "1", "99999999999999")], "XAF", "an amount too large to be exact"),
    ],
)  # fmt: skip
def test_what_can_not_be_converted_stops(lines, base, reason):
    rates = rated(
        *(
            (code, "EUR", EVER, None, "0.01" if code == "XAF" else "1")
            for code in ("JPY", "GBP", "BHD", "XAF")
        )
    )
    assert reason in convert([header()], lines, rates, base=base).headers["reason"].item()


def test_only_what_lacks_its_currency_is_converted():
    headers = [
        header("006A", "EUR"), header("006B", "USD"), header("006C", "GBP"),
        header("006D", "EUR", reason="it has no lines"), header("006E", "CHF"),
    ]  # fmt: skip
    lines = [line(1, "1", "10", document_id="006A"), line(2, "1", "10", document_id="006B")]
    done = convert(headers, lines, held=("USD",))
    assert done.headers["record_id"].to_list() == [one["record_id"] for one in headers]
    assert done.headers["currency"].to_list() == ["GBP", "USD", "GBP", "EUR", "CHF"]
    assert done.lines["amount"].to_list() == [Decimal("8.55"), Decimal("10.00")]
    reasons = done.headers["reason"].to_list()
    assert reasons[:4] == [None, None, None, "it has no lines"]
    assert (
        reasons[4]
        == "its currency CHF is none of the organisation's, and no rate of CHF for one GBP holds on 2026-11-20"
    )


def test_a_tax_that_was_xeros_to_decide_stays_so():
    done = convert([header()], [line(1, "1", "10", tax="OUTPUT2", tax_amount=None)])
    assert (done.lines["tax_amount"].item(), done.headers["total"].item()) == (None, None)
    assert done.headers["currency"].item() == "GBP"


def test_xeros_own_rate_can_not_convert():
    documents = pl.DataFrame([header()], schema=dict(DOCUMENTS))
    done = converted(
        documents,
        pl.DataFrame([line(1, "1", "10")], schema=dict(DOCUMENT_LINES)),
        left_to_xero(documents, base_currency="GBP"),
        held=(),
        base_currency="GBP",
        line_amounts="exclusive",
        tax_rates=TAX_RATES,
    )
    assert "the rate that Xero takes is not known before" in done.headers["reason"].item()


def test_the_policy_stop_says_what_to_do():
    no_lines = header("006D", reason="it has no lines")
    documents = pl.DataFrame(
        [header(), header("006B", "USD"), header("006C", "GBP"), no_lines], schema=dict(DOCUMENTS)
    )
    first, *others = stopped(documents, held=("USD",), base_currency="GBP")["reason"].to_list()
    assert first.startswith("its currency EUR is none of the organisation's: add it in Xero")
    assert "turn it into GBP" in first
    assert others == [None, None, "it has no lines"]

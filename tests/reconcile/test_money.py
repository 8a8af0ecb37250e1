"""Money is exact: held against Python's own decimal, which shares nothing with Polars."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal, localcontext

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.money import (
    EXACT,
    MINOR_UNITS,
    currencies,
    line_amount,
    line_tax,
    minor_units,
    numbers,
    quoted,
    spelled,
)

QUANTITIES = st.decimals(min_value=-(10**8), max_value=10**8, places=6)
PRICES = st.decimals(min_value=-(10**9), max_value=10**9, places=4)
CENTS = st.decimals(min_value=-(10**12), max_value=10**12, places=2)
DISCOUNTS = st.one_of(
    st.none(), st.sampled_from([Decimal("33.33"), Decimal(100), Decimal(0)]), st.decimals(0, 100, places=4)
)
RATES = st.one_of(st.sampled_from([Decimal(20), Decimal("12.5"), Decimal(0)]), st.decimals(0, 100, places=4))
PLACES = st.sampled_from([0, 2, 3])  # JPY, GBP, BHD


def halves_away(number: Decimal, places: int) -> Decimal:
    return number.quantize(
        Decimal(1).scaleb(-places), ROUND_HALF_UP
    )  # decimal's name for half away from zero


def amounts(rows: list[tuple[Decimal, Decimal, Decimal | None, int]]) -> list[Decimal]:
    schema = {"quantity": EXACT, "price": EXACT, "discount": EXACT, "places": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.select(line_amount(*(pl.col(name) for name in schema))).to_series().to_list()


def taxes(rows: list[tuple[Decimal, Decimal, int]], *, inclusive: bool) -> list[Decimal]:
    schema = {"amount": EXACT, "rate": EXACT, "places": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return (
        frame.select(line_tax(*(pl.col(name) for name in schema), inclusive=inclusive)).to_series().to_list()
    )


@given(st.lists(st.tuples(QUANTITIES, PRICES, DISCOUNTS, PLACES), min_size=1, max_size=20))
def test_a_lines_amount_is_what_exact_arithmetic_gives(rows):
    with localcontext() as context:
        context.prec = 60
        wanted = [halves_away(q * p * (100 - (d or 0)) / 100, places) for q, p, d, places in rows]
    assert amounts(rows) == wanted


@given(st.lists(st.tuples(CENTS, RATES, PLACES), min_size=1, max_size=20), st.booleans())
def test_a_lines_tax_is_what_exact_arithmetic_gives(rows, inclusive):
    with localcontext() as context:
        context.prec = 60
        wanted = [
            halves_away(amount * rate / (100 + rate) if inclusive else amount * rate / 100, places)
            for amount, rate, places in rows
        ]
    assert taxes(rows, inclusive=inclusive) == wanted


@pytest.mark.parametrize(
    ("quantity", "price", "discount", "places", "amount"),
    [
        ("1", "1.005", None, 2, "1.01"),  # a half goes away from zero, on both sides of it
        ("-1", "1.005", None, 2, "-1.01"),
        ("3", "0.3333", "33.33", 2, "0.67"),
        ("1.3333", "7.5", None, 2, "10.00"),
        ("2.5", "333", None, 0, "833"),
        ("1", "1.2345", None, 3, "1.235"),
        ("7", "19.99", "100", 2, "0.00"),
    ],
)
def test_lines_at_the_edge(quantity, price, discount, places, amount):
    row = (Decimal(quantity), Decimal(price), None if discount is None else Decimal(discount), places)
    assert amounts([row]) == [Decimal(amount)]


def test_tax_is_rounded_line_by_line():
    """As Xero documents it: 3.76 + 3.84 + 3.84 = 11.44, where 15% of the sum would be 11.45."""
    lines = [Decimal("25.06"), Decimal("25.61"), Decimal("25.63")]
    assert sum(taxes([(line, Decimal(15), 2) for line in lines], inclusive=False)) == Decimal("11.44")


def test_minor_units():
    found = pl.Series(["GBP", "JPY", "BHD", None]).to_frame("c").select(minor_units(pl.col("c"))).to_series()
    assert found.to_list()[:3] == [2, 0, 3]
    assert set(MINOR_UNITS) <= currencies()


# --- Numbers


@given(st.decimals(min_value=-(10**20), max_value=10**20, places=16, allow_nan=False))
def test_a_number_of_json_keeps_all_its_digits(number):
    body = f'{{"Id":"x","Amount":{number:f},"Name":"\\"Amount\\": 7"}}'
    row = pl.DataFrame({"body": [body]}).select(quoted(pl.col("body"), ("Amount",)))
    found = json.loads(row["body"].item())
    assert found == {"Id": "x", "Amount": f"{number:f}", "Name": '"Amount": 7'}
    assert numbers(pl.Series([found["Amount"]])).to_list() == [number]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.39E8", Decimal(139000000)),
        ("1.0E-4", Decimal("0.0001")),
        ("-5e2", Decimal(-500)),
        ("0012.50", Decimal("12.5")),
        ("1E400", None),
        ("0.12345678901234567", None),  # a digit would be lost
        ("1_000", None),
        ("NaN", None),
        ("", None),
        (None, None),
    ],
)
def test_numbers_as_they_come(text, value):
    assert numbers(pl.Series([text, "7"], dtype=pl.String)).to_list() == [value, Decimal(7)]


@pytest.mark.parametrize(
    ("number", "places", "text"),
    [
        ("1.5000", 0, "1.5"),
        ("1.5000", 2, "1.50"),
        ("120.0000", 0, "120"),
        ("-0.0000", 2, "0.00"),
        ("0.0001", 2, "0.0001"),
    ],
)
def test_a_number_is_spelled_without_useless_zeros(number, places, text):
    assert spelled(Decimal(number), places=places) == text

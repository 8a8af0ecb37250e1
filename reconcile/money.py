"""Amounts, exact from the wire to the wire: numbers out of JSON, a line's amount, its tax, and totals.

All is Polars Decimal. Rounding is half away from zero, to the currency's minor unit; a line is rounded, then
its tax, and totals are sums of what was rounded.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Any, Final

import polars as pl

EXACT: Final = pl.Decimal(38, 16)  # 22 digits before the point: quantity x price x share of it stay exact
AMOUNT: Final = pl.Decimal(38, 4)
PRICE_DECIMALS: Final = 4  # of quantities and unit prices; Xero keeps no more
XERO_PLACES: Final = 2  # of Xero's amounts, whatever the currency
LARGEST: Final = {"Quantity": 10**9, "UnitPrice": 10**12, "Discount": 100, "Amount": 10**15}
HUNDREDTH: Final = pl.lit(Decimal("0.01"), dtype=EXACT)
HUNDRED: Final = pl.lit(Decimal(100), dtype=EXACT)
ONE: Final = pl.lit(Decimal(1), dtype=EXACT)
# ISO 4217: the currencies whose minor unit is not the hundredth.
MINOR_UNITS: Final = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF",
         "XOF", "XPF"),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}  # fmt: skip


@cache
def currencies() -> frozenset[str]:
    """Give the codes of ISO 4217."""
    import pycountry

    return frozenset(currency.alpha_3 for currency in pycountry.currencies)


def minor_units(currency: pl.Expr) -> pl.Expr:
    """Give the decimals of a currency's minor unit: 2 for GBP, 0 for JPY, 3 for BHD."""
    return currency.replace_strict(
        list(MINOR_UNITS), list(MINOR_UNITS.values()), default=XERO_PLACES, return_dtype=pl.Int64
    )


# --- Numbers ------------------------------------------------------------------------------------------

NUMBER: Final = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"


def quoted(bodies: pl.Expr, names: tuple[str, ...]) -> pl.Expr:
    """Give JSON bodies in which the numbers of these keys stand as texts.

    Polars reads a JSON number as a double, and would lose digits. Inside a text of JSON every quotation mark
    has a backslash before it, so that `"Amount":` is a key and nothing else.
    """
    keys = "|".join(re.escape(name) for name in names)
    return bodies.str.replace_all(rf'("(?:{keys})"\s*:\s*)({NUMBER})', '$1"$2"')


def numbers(texts: pl.Series) -> pl.Series:
    """Read texts as EXACT; null where one is no number, or has more digits than it can hold.

    Salesforce writes large and small numbers as doubles do: 1.39E8.
    """
    plain = texts.str.strip_chars()
    powers = plain.filter(plain.str.contains("[eE]").fill_null(False)).unique()
    if len(powers):
        spelled = {text: _spelled_out(text) for text in powers}
        plain = plain.replace_strict(spelled, default=plain, return_dtype=pl.String)
    whole = plain.str.contains(r"^-?[0-9]{1,22}(\.[0-9]{1,16})?$").fill_null(False)
    return (
        plain.to_frame("text")
        .select(pl.when(pl.Series(whole)).then("text").cast(EXACT, strict=False).alias(texts.name))
        .to_series()
    )


def _spelled_out(text: str) -> str | None:
    if not re.fullmatch(NUMBER, text) or abs(Decimal(text).adjusted()) > 40:
        return None
    return f"{Decimal(text):f}"


def spelled(amount: Any, *, places: int = 0) -> str | None:
    """Give a Decimal as text without useless zeros, with at least that many decimals."""
    if amount is None:
        return None
    text = f"{Decimal(amount):f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(places, "0")
    whole = "0" if whole == "-0" and not fraction.strip("0") else whole
    return f"{whole}.{fraction}" if fraction else whole


def exact(amount: Decimal) -> Decimal:
    """Give a Decimal without useless zeros, as it goes into a body."""
    return Decimal(str(spelled(amount)))


def has_decimals(number: pl.Expr, most: int) -> pl.Expr:
    """Say whether a number has no more decimals than that."""
    return number == number.round(most)


# --- Lines and totals ---------------------------------------------------------------------------------


def rounded(amount: pl.Expr, places: pl.Expr) -> pl.Expr:
    """Round half away from zero, to 0, 2 or 3 decimals."""
    mode = "half_away_from_zero"
    return (
        pl.when(places == 0)
        .then(amount.round(0, mode))
        .when(places == 3)
        .then(amount.round(3, mode))
        .otherwise(amount.round(2, mode))
    )


def line_amount(quantity: pl.Expr, price: pl.Expr, discount: pl.Expr, places: pl.Expr) -> pl.Expr:
    """Give a line's amount: quantity x price less a discount in percent (null: none), rounded.

    Takes EXACT with at most 6 decimals of a quantity and 4 of price and discount; gives EXACT. Nothing is
    lost before it is rounded.
    """
    share = ONE - discount.fill_null(Decimal(0)).cast(EXACT) * HUNDREDTH
    return rounded(quantity * price * share, places)


def line_tax(amount: pl.Expr, rate: pl.Expr, places: pl.Expr, *, inclusive: bool) -> pl.Expr:
    """Give the tax on (or, inclusive, in) a line's rounded amount at a rate in percent, rounded by itself."""
    # A quotient that is no exact half lies at least 1e-9 from one: 16 decimals can't mistake it.
    exact = amount * rate / (HUNDRED + rate) if inclusive else amount * rate * HUNDREDTH
    return rounded(exact, places)

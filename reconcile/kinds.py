"""The transformations that a mapping can name with `as`: one registry, an entry each.

A kind says which parts it takes on each side, how they become one canonical text, and how that text is
written back. The law that holds for each: what is written reads back as the value that was written
(put, then get). Canonical values are texts; null is no value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import polars as pl

from reconcile import addresses, countries, item_codes, names, phones
from reconcile.model import SIDES

UNMAPPED: Final = "unmapped:"
SCALAR: Final = {"salesforce": ("text",), "xero": ("text",)}
Parts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table between the systems' own codes: side -> code -> canonical, and side -> canonical -> code."""

    read: Mapping[str, Mapping[str, str]]
    write: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A transformation. `canonical` takes a frame of the parts and `read_in`
    (the country in which a phone is read) and gives a column of texts;
    `native` takes a canonical value and the target's present parts and gives the parts to write."""

    name: str
    about: str
    canonical: Callable[[pl.DataFrame, str, Lookup | None], pl.Series]
    native: Callable[[str, str, Parts, Lookup | None], dict[str, Any]]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: SCALAR)
    writes: tuple[str, ...] = (
        SIDES  # the sides on which it can be written; the inverse is missing on the others
    )
    dtype: pl.DataType = field(default_factory=pl.String)
    exact: bool = False  # its JSON numbers are read digit by digit


def _by_expression(function: Callable[..., pl.Expr], *parts: str) -> Callable[..., pl.Series]:
    def canonical(frame: pl.DataFrame, side: str, lookup: Lookup | None) -> pl.Series:
        expression = function(*(pl.col(part) for part in parts or ("text",)))
        return frame.select(value=expression.cast(pl.String)).to_series()

    return canonical


def _by_value(function: Callable[[str], str | None]) -> Callable[..., pl.Series]:
    """For what has no expression: once for each distinct value."""

    def canonical(frame: pl.DataFrame, side: str, lookup: Lookup | None) -> pl.Series:
        return once_each(frame, ("text",), function)

    return canonical


def once_each(
    frame: pl.DataFrame, columns: tuple[str, ...], function: Callable[..., str | None]
) -> pl.Series:
    """Call a function once for each distinct row of these columns and give its answers for every row."""
    wanted = frame.select(columns)
    distinct = wanted.unique()
    answers = [function(*row) for row in distinct.iter_rows()]
    found = distinct.with_columns(pl.Series("value", answers, dtype=pl.String))
    joined = wanted.join(
        found, on=list(columns), how="left", nulls_equal=True, maintain_order="left", validate="m:1"
    )
    return joined["value"]


def _as_text(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    return {"text": value}


def _phone(frame: pl.DataFrame, side: str, lookup: Lookup | None) -> pl.Series:
    if side == "salesforce":
        return once_each(frame, ("number", "read_in"), phones.canonical_phone)
    return once_each(frame, ("country", "area", "number", "read_in"), phones.canonical_parts)


def _write_phone(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    return (
        {"number": phones.salesforce_phone(value)} if side == "salesforce" else dict(phones.xero_phone(value))
    )


ADDRESS_PARTS: Final = ("city", "region", "postal_code", "country")


def _address(frame: pl.DataFrame, side: str, lookup: Lookup | None) -> pl.Series:
    lines = ("street",) if side == "salesforce" else addresses.LINES

    def canonical(*row: str | None) -> str | None:
        city, region, postal_code, country = row[len(lines) :]
        return addresses.canonical_address(row[: len(lines)], city, region, postal_code, country)

    return once_each(frame, (*lines, *ADDRESS_PARTS), canonical)


def _write_address(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    write = addresses.salesforce_address if side == "salesforce" else addresses.xero_address
    written = write(value, dict(present))
    if side == "xero":
        written["attention_to"] = present.get("attention_to")
    return written


def _write_name(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    return dict(json.loads(value))


NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def _decimal(text: str) -> Decimal | None:
    """Read a finite number of sane size; null for all else (Decimal itself takes NaN, Infinity and 1_000)."""
    if not NUMBER.fullmatch(text):
        return None
    number = Decimal(text).normalize()
    return number if abs(number.adjusted()) <= 40 else None


def _canonical_number(text: str | None) -> str | None:
    folded = names.fold(text)
    number = _decimal(folded) if folded else None
    if number is None:
        return folded
    return "0" if number.is_zero() else f"{number:f}"


def _write_number(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    number = _decimal(value)
    if number is None or len(number.as_tuple().digits) > 15:  # no JSON number carries it; `unfit` refuses it
        return {"text": value}
    return {"text": int(number) if number == number.to_integral_value() else float(number)}


def _write_price(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    number = _decimal(value)
    return {"text": value if number is None else number}


DATES: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ].*)?")


def _canonical_date(text: str | None) -> str | None:
    folded = names.fold(text)
    if folded is None:
        return None
    iso = DATES.fullmatch(folded)
    moment = wire_instant(folded)
    if iso:
        return iso[1]
    return folded if moment is None else _date_of(moment)


def _date_of(milliseconds: int) -> str:
    # Accounting dates are midnight UTC of the organisation's day: never through a local time zone.
    days = pl.Series([milliseconds // 86_400_000], dtype=pl.Int32).cast(pl.Date)
    return str(days.item())


def wire_instant(text: str) -> int | None:
    """Give the milliseconds of Xero's /Date(1789378199100+0000)/; the offset only says how it was shown."""
    found = re.fullmatch(r"/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/", text)
    return int(found[1]) if found else None


def _country(frame: pl.DataFrame, side: str, lookup: Lookup | None) -> pl.Series:
    return once_each(frame, ("text",), countries.canonical_country)


def _write_country(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    now = present.get("text")
    same = now is not None and countries.canonical_country(now) == value
    name = now if same else countries.country_name(value)
    letters = side == "xero" and countries.is_country(value)
    return {"text": countries.letters_only(name) if letters else name}


def _lookup(frame: pl.DataFrame, side: str, lookup: Lookup | None) -> pl.Series:
    table = lookup.read[side] if lookup else {}
    code = names.folded(pl.col("text"))
    found = code.replace_strict(
        list(table), list(table.values()), default=UNMAPPED + code, return_dtype=pl.String
    )
    return frame.select(value=found).to_series()


def _write_lookup(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    table = lookup.write[side] if lookup else {}
    # What has no entry keeps its mark, and `unfit` refuses it: a code of one side may be the other's word.
    return {"text": table.get(value, value)}


def _boolean(text: pl.Expr) -> pl.Expr:
    return text.cast(pl.String)


def _write_boolean(value: str, side: str, present: Parts, lookup: Lookup | None) -> dict[str, Any]:
    return {"text": value == "true"}


SALESFORCE_ONLY: Final = ("salesforce",)
KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "text",
            "A text: trimmed, runs of whitespace made one space.",
            _by_expression(names.folded),
            _as_text,
        ),
        Kind(
            "name", "The name of a company: as text; capitals matter.", _by_expression(names.folded), _as_text
        ),
        Kind(
            "person_name",
            "First and last name as one unit, never half of two people.",
            _by_expression(names.person_name, "first", "last"),
            _write_name,
            parts={"salesforce": ("first", "last"), "xero": ("first", "last")},
        ),
        Kind("email", "An e-mail address, in lower case.", _by_expression(names.email), _as_text),
        Kind(
            "phone",
            "A phone number: E.164 where it is valid in its region, else its digits.",
            _phone,
            _write_phone,
            parts={"salesforce": ("number",), "xero": ("country", "area", "number")},
        ),
        Kind(
            "address",
            "A postal address as one unit: lines, city, region, postal code, country.",
            _address,
            _write_address,
            parts={
                "salesforce": ("street", *ADDRESS_PARTS),
                "xero": (*addresses.LINES, *ADDRESS_PARTS, "attention_to"),
            },
        ),
        Kind(
            "website",
            "A web address without scheme and closing slash; Xero's is read only.",
            _by_expression(names.website),
            _as_text,
            writes=SALESFORCE_ONLY,
        ),
        Kind("country", "A country by name or code.", _country, _write_country),
        Kind(
            "boolean",
            "Yes or no: a checkbox.",
            _by_expression(_boolean),
            _write_boolean,
            dtype=pl.Boolean(),
        ),
        Kind(
            "number",
            "A number, exact; no contact of Xero has one that can be written.",
            _by_value(_canonical_number),
            _write_number,
            writes=SALESFORCE_ONLY,
        ),
        Kind(
            "date",
            "A day, without time and zone; no contact of Xero has one that can be written.",
            _by_value(_canonical_date),
            _as_text,
            writes=SALESFORCE_ONLY,
        ),
        Kind("lookup", "A code of one system for a code of the other, by a table.", _lookup, _write_lookup),
        Kind("upper", "A text in capitals.", _by_expression(names.upper), _as_text),
        Kind("lower", "A text in small letters.", _by_expression(names.lower), _as_text),
        Kind(
            "code",
            "A tax or company number: letters and digits only, in capitals.",
            _by_expression(names.code),
            _as_text,
        ),
        Kind(
            "price",
            "A price, exact, in the currency of Xero's organisation.",
            _by_value(_canonical_number),
            _write_price,
            exact=True,
        ),
        Kind(
            "item_code",
            "The code of a product: one that Xero has no room for is shortened, always in the same way.",
            _by_value(item_codes.item_code),
            _as_text,
        ),
    )
}

"""Phone numbers: E.164 where a number can be told for certain, else the digits as given.

A number without country prefix is read in a region: the country of the record's address, or the pair's
default. Only what is valid there becomes E.164: a wrong prefix written to the other system would be worse
than bare digits. With a prefix, a number of possible length is enough.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult

from reconcile.names import fold

RAW: Final = "raw:"
EXTENSION: Final = ";ext="
REMEMBERED: Final = 1 << 18  # distinct numbers; about 60 MB at most


@lru_cache(maxsize=REMEMBERED)
def canonical_phone(text: str | None, region: str) -> str | None:
    """Give "+441234567890", with ";ext=12" where it has an extension; "raw:" and the digits where it does not
    parse; null where it is blank."""
    text = fold(text)
    if text is None:
        return None
    digits = _digits(text)
    number = _parsed(text, region) or _parsed(digits, region)
    if number is not None:
        return _canonical(number)
    return RAW + (digits or text)


@lru_cache(maxsize=REMEMBERED)
def canonical_parts(country: str | None, area: str | None, number: str | None, region: str) -> str | None:
    """The same for Xero's three fields, filled in every way: "44", "020", "+44 20 7946 0000" ..."""
    parts = [part for part in (fold(area), fold(number)) if part]
    national = " ".join(parts)
    prefix = _digits(country or "").lstrip("+0")
    if not prefix or national.startswith(("+", "00")):
        return canonical_phone(
            " ".join(filter(None, [fold(country) if not prefix else None, national])), region
        )
    if not national:
        return canonical_phone(country, region)
    return _with_prefix(prefix, national)


def _with_prefix(prefix: str, national: str) -> str:
    # The trunk prefix of "44", "020" is left out by the parser, in every country that has one (tried on all).
    text = f"+{prefix} {national}"
    number = _parsed(text, "ZZ") or _parsed(_digits(text), "ZZ")
    return RAW + _digits(text) if number is None else _canonical(number)


def salesforce_phone(value: str) -> str:
    """Write a canonical number as people read it: +44 20 7946 0000 x12."""
    number = _stored(value)
    if number is None:
        return value.removeprefix(RAW)
    written = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    return written if canonical_phone(written, "ZZ") == value else value.replace(EXTENSION, " ext. ")


def xero_phone(value: str) -> dict[str, str]:
    """Write a canonical number into country, area and number; whole into number if only that reads back."""
    number = _stored(value)
    if number is not None:
        parts = _split(number)
        if canonical_parts(parts["country"], parts["area"], parts["number"], "ZZ") == value:
            return parts
    whole = value.removeprefix(RAW) if number is None else value.replace(EXTENSION, " ext. ")
    return {"country": "", "area": "", "number": whole}


def _split(number: PhoneNumber) -> dict[str, str]:
    national = phonenumbers.national_significant_number(number)
    area = phonenumbers.length_of_geographical_area_code(number)
    extension = f" ext. {number.extension}" if number.extension else ""
    return {
        "country": str(number.country_code),
        "area": national[:area],
        "number": national[area:] + extension,
    }


def _stored(value: str) -> PhoneNumber | None:
    return None if value.startswith(RAW) else _parsed(value.replace(EXTENSION, " ext. "), "ZZ")


def _canonical(number: PhoneNumber) -> str:
    written = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return f"{written}{EXTENSION}{number.extension}" if number.extension else written


def _parsed(text: str, region: str) -> PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    if phonenumbers.is_valid_number(number):
        return number
    return number if text.startswith("+") and _is_possible(number) else None


def _is_possible(number: PhoneNumber) -> bool:
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return False
    try:  # "+49 000000" loses zeros when written: it must read back as itself
        return phonenumbers.parse(_canonical(number).replace(EXTENSION, " ext. "), "ZZ") == number
    except NumberParseException:
        return False


def _digits(text: str) -> str:
    """Only the digits, with the plus that leads them; digits of every script become 0 to 9."""
    kept = "".join(str(int(c)) if c.isdecimal() else c for c in text if c.isdecimal() or c == "+")
    lead = "+" if re.match(r"\D*\+", text) else ""
    digits = kept.replace("+", "")
    return lead + digits if digits else ""

"""Takes a value that a client sends: refuses what doesn't fit, changes it as Salesforce does."""

from __future__ import annotations

import re
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from sandbox.dialect import Dialect
from sandbox.salesforce.describe import PICKLISTS, label
from sandbox.salesforce.errors import Refused, WholeRequest
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.org import stamp_of, stamp_text
from sandbox.salesforce.schema import NUMBERS, Field

EMAIL = re.compile(r"[^@\s,;<>()]+@[^@\s,;<>().]+(\.[^@\s,;<>().]+)+")
US_NUMBER = re.compile(r"1?(\d{3})(\d{3})(\d{4})")


def accept(f: Field, given: Any, dialect: Dialect, *, in_page: bool) -> Any:
    """The value as it is stored; null for none. in_page: a person writes in the web page."""
    if given is None:
        return False if f.type == "boolean" else None
    if f.type == "boolean":
        return _boolean(f, given)
    if f.type in NUMBERS:
        return _number(f, given, dialect)
    if not isinstance(given, str):
        kind = "NUMBER" if isinstance(given, int | float | Decimal) else "OBJECT"
        raise WholeRequest(
            "JSON_PARSER_ERROR",
            f"Cannot deserialize instance of string from VALUE_{kind} value {type(given).__name__}",
        )
    text = given.strip() if dialect["trims"] else given
    if not text:
        return None  # second hand: an empty text and no value are one thing
    if f.type in ("date", "datetime"):
        return _day_or_moment(f, text)
    if f.type in ("id", "reference"):
        return _reference(f, text)
    return _text(f, text, dialect, in_page)


def _text(f: Field, text: str, dialect: Dialect, in_page: bool) -> str:
    text = (
        re.sub(r"[\r\n]+", " ", text) if f.type != "textarea" else _lines(text, dialect["newlines"], in_page)
    )
    if f.type == "email":
        if not EMAIL.fullmatch(text):
            raise Refused(
                "INVALID_EMAIL_ADDRESS", f"{label(f)}: invalid email address: {text}", fields=[f.name]
            )
        text = text.lower() if dialect["email_case"] == "lower" else text
    if f.type == "phone":
        text = _phone(text, dialect["phone_format"], in_page)
    if f.length and len(text) > f.length:
        message = f"{label(f)}: data value too large: {text} (max length={f.length})"
        raise Refused("STRING_TOO_LONG", message, fields=[f.name])
    # Currencies are kept by the org: currencies.py looks there.
    if f.restricted and f.values != "currency" and text not in PICKLISTS[f.values or ""]:
        message = f"{label(f)}: bad value for restricted picklist field: {text}"
        raise Refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, fields=[f.name])
    return text


def _lines(text: str, newlines: str, in_page: bool) -> str:
    if newlines == "as_sent" or (newlines == "page" and not in_page):
        return text
    return re.sub(r"\r\n|\r|\n", "\n" if newlines == "lf" else "\r\n", text)


def _phone(text: str, phone_format: str, in_page: bool) -> str:
    found = US_NUMBER.fullmatch(text)
    if found and (phone_format == "always" or (phone_format == "page" and in_page)):
        return f"({found[1]}) {found[2]}-{found[3]}"
    return text


def _boolean(f: Field, given: Any) -> bool:
    words = {"true": True, "false": False}
    found = given if isinstance(given, bool) else words.get(str(given).lower())
    if found is None:
        raise _wrong_type(f, given)
    return found


def _number(f: Field, given: Any, dialect: Dialect) -> Decimal | int:
    """Exact; digits beyond the field's scale stay when an API sent them (recorded: help 000385689)."""
    if isinstance(given, bool) or not isinstance(given, int | float | Decimal | str):
        raise _wrong_type(f, given)
    try:
        number = Decimal(str(given).strip())
    except InvalidOperation:
        raise _wrong_type(f, given) from None
    if not number.is_finite():
        raise _wrong_type(f, given)
    if f.precision and abs(number) >= 10 ** (f.precision - f.scale):
        message = f"{label(f)}: value outside of valid range on numeric field: {given}"
        raise Refused("NUMBER_OUTSIDE_VALID_RANGE", message, fields=[f.name])
    if f.type == "int":
        return int(number)
    digits = -int(number.as_tuple().exponent)
    if digits > f.scale and (dialect["extra_decimals"] == "rounded" or f.scale > 2):
        return number.quantize(Decimal(1).scaleb(-f.scale), ROUND_HALF_UP)
    return number


def _day_or_moment(f: Field, text: str) -> str:
    try:
        return date.fromisoformat(text[:10]).isoformat() if f.type == "date" else stamp_text(stamp_of(text))
    except ValueError:
        raise WholeRequest(
            "JSON_PARSER_ERROR", f"Cannot deserialize instance of {f.type} from VALUE_STRING value {text}"
        ) from None


def _reference(f: Field, text: str) -> str:
    found = full_id(text)
    if found is None:
        raise Refused("MALFORMED_ID", f"{label(f)}: id value of incorrect type: {text}", fields=[f.name])
    return found


def _wrong_type(f: Field, given: Any) -> Refused:
    message = f"{label(f)}: value not of required type: {given}"
    return Refused("INVALID_TYPE_ON_FIELD_IN_RECORD", message, fields=[f.name])

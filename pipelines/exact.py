"""Reads a vendor's JSON without losing a digit, and keeps each element's own text."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

_BLANK = re.compile(r"[ \t\n\r]*")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)


def parse(text: str) -> Any:
    """Give the value of a JSON text; numbers with a fraction are Decimal. Raises ValueError."""
    try:
        value, end = _DECODER.raw_decode(text, _skip(text, 0))
        if _skip(text, end) != len(text):
            raise ValueError(f"text goes on after the value at {end}")
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def parse_envelope(text: str, key: str) -> tuple[list[tuple[dict[str, Any], str]] | None, dict[str, Any]]:
    """Split {..., key: [element, ...], ...} into its elements, each with its own text, and the rest.

    Gives (elements, rest); elements is None where there is no such list. Raises ValueError for
    anything that is no JSON object, or whose elements are not objects.
    """
    # A slice of the reply is the only form of a record that surely keeps digits, escapes and key order.
    try:
        return _envelope(text, key)
    except (IndexError, RecursionError):
        raise ValueError("cut off, or nested too deep") from None


def _envelope(text: str, key: str) -> tuple[list[tuple[dict[str, Any], str]] | None, dict[str, Any]]:
    elements: list[tuple[dict[str, Any], str]] | None = None
    rest: dict[str, Any] = {}
    at = _skip(text, _expect(text, _skip(text, 0), "{"))
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _expect(text, _skip(text, at), ":"))
        if name == key and text[at] == "[":
            elements, at = _elements(text, at)
        else:
            rest[name], at = _DECODER.raw_decode(text, at)
        at = _next(text, at, "}")
    if _skip(text, at + 1) != len(text):
        raise ValueError("text goes on after the object")
    return elements, rest


def _elements(text: str, at: int) -> tuple[list[tuple[dict[str, Any], str]], int]:
    found: list[tuple[dict[str, Any], str]] = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        value, end = _DECODER.raw_decode(text, at)
        if not isinstance(value, dict):
            raise ValueError("an element is no object")
        found.append((value, text[at:end]))
        at = _next(text, end, "]")
    return found, at + 1


def _next(text: str, at: int, closing: str) -> int:
    at = _skip(text, at)
    if text[at] == ",":
        return _skip(text, at + 1)
    if text[at] != closing:
        raise ValueError(f"neither a comma nor {closing} at {at}")
    return at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at] != sign:
        raise ValueError(f"no {sign} at {at}")
    return at + 1


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at

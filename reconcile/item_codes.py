"""Gives a product's code the form that Xero has room for: the same one every time."""

from __future__ import annotations

import hashlib
from typing import Final

from reconcile.names import fold

LONGEST: Final = 30  # characters of an Item's Code (spec 16.1.0)
MARK: Final = 8  # hex digits: two codes of one beginning share a mark once in four thousand million
SEPARATOR: Final = "~"  # hardly ever part of a code that a person gives


def item_code(code: str | None) -> str | None:
    """Give the code as it stands in Xero; null for none.

    Trimmed, runs of blanks made one. One that is longer than 30 characters keeps its beginning, and ends in a
    mark that is made of the whole of it. What fits stays as it is, so that a shortened code shortens to itself.
    """
    text = fold(code)
    if text is None or len(text) <= LONGEST:
        return text
    mark = hashlib.sha256(text.encode()).hexdigest()[:MARK].upper()
    kept = text[: LONGEST - MARK - len(SEPARATOR)].rstrip()
    return f"{kept}{SEPARATOR}{mark}"

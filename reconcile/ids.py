"""Ids and instants as both systems write them: brought into one form, or told to be none."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from reconcile.model import UTC
from reconcile.names import fold

SALESFORCE_PREFIX: Final = {"Account": "001", "Contact": "003"}
GUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
ID_LENGTH: Final = 18
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def long_ids(texts: pl.Series) -> pl.Series:
    """Give Salesforce ids of 15 or 18 characters in their form of 18; null for what is none."""
    distinct = texts.drop_nulls().unique()
    known = {text: long_id(text) for text in distinct}
    return (
        texts.replace_strict(known, default=None, return_dtype=pl.String) if known else texts.cast(pl.String)
    )


def long_id(text: str) -> str | None:
    """Give one id in its form of 18 characters; null where it is no Salesforce id.

    The last three say which letters of the other 15 are capitals, so that an id is told apart without
    regard to case. An id that has them already stays as it came.
    """
    text = fold(text) or ""
    if not re.fullmatch(r"[A-Za-z0-9]{15}(?:[A-Za-z0-5]{3})?", text):
        return None
    return text if len(text) == 18 else text + _suffix(text)


def _suffix(text: str) -> str:
    groups = (text[start : start + 5] for start in (0, 5, 10))
    return "".join(LETTERS[sum(c.isupper() << i for i, c in enumerate(group))] for group in groups)


def ending_id(text: str) -> str:
    """Give the last 18 characters of a text without regard to case: a Salesforce id, where it ends in one."""
    return text.strip()[-ID_LENGTH:].casefold()


def iso_instant(text: pl.Expr) -> pl.Expr:
    """Read 2026-09-14T09:29:59.000+0000 and its kin; null where it is none."""
    return text.str.strptime(UTC, "%Y-%m-%dT%H:%M:%S%.f%#z", strict=False)


def wire_instants(text: pl.Expr) -> pl.Expr:
    """Read Xero's /Date(1789378199100+0000)/, or ISO; null where it is neither, never an error."""
    found = text.str.extract(r"^/Date\((-?[0-9]{1,14})(?:[+-][0-9]{4})?\)/$").cast(pl.Int64)
    written = pl.when(text.str.contains(r"(Z|[+-][0-9:]{4,6})$")).then(text).otherwise(text + "Z")
    return pl.coalesce(pl.from_epoch(found, "ms").dt.replace_time_zone("UTC").cast(UTC), iso_instant(written))

"""Keeps the branding themes of the organisation: which there are, and which a sale gets that names none."""

from __future__ import annotations

import uuid

from sandbox.store import Body, Store
from sandbox.xero.books import Books

KIND = "brandingtheme"
MADE = "/Date(1704067200000+0000)/"
NAMESPACE = uuid.UUID("3f6c1d92-7d8e-4b0a-9a54-1f2e7c9b6d10")

# second hand: an invoice that names a deleted theme is not made (xero-php-oauth2#267). unconfirmed: the wording
UNKNOWN = "The branding theme '{}' does not exist"


def ensure(store: Store) -> None:
    """The theme that every organisation has, where the store has none (spec: name, order 0)."""
    if not store.count(KIND):
        put(store, {"Name": "Standard", "SortOrder": 0})


def put(store: Store, row: Body) -> None:
    """Put a theme in Xero's shape; what is missing is filled (spec: Type is always INVOICE)."""
    theme_id = str(row.get("BrandingThemeID") or uuid.uuid5(NAMESPACE, row["Name"])).lower()
    theme = {
        "BrandingThemeID": theme_id,
        "Name": "",
        "Type": "INVOICE",
        "SortOrder": 1,
        "CreatedDateUTC": MADE,
    }
    store.put(KIND, theme_id, {**theme, **row, "BrandingThemeID": theme_id})


def listed(store: Store) -> list[Body]:
    """spec: all, the default first; no pages and no filter."""
    return sorted(store.all(KIND), key=lambda theme: theme["SortOrder"])


def theme(store: Store, theme_id: str) -> Body | None:
    return store.get(KIND, theme_id.lower())


def settle(books: Books, document: Body, errors: list[str]) -> None:
    """A document's theme: one that exists; of a sale that names none the default (unconfirmed: a switch)."""
    named = document.get("BrandingThemeID")
    if named:
        found = theme(books.store, named)
        errors += [] if found else [UNKNOWN.format(named)]
        document["BrandingThemeID"] = found["BrandingThemeID"] if found else named
    elif document["Type"].startswith("ACCREC") and books.dialect["default_theme"] == "shown":
        themes = listed(books.store)
        if themes:
            document["BrandingThemeID"] = themes[0]["BrandingThemeID"]

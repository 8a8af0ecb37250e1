"""Says control totals and their causes for people: words and rows, for the page, the artifact and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from flows import wording
from reconcile.closing import MOVED_WITHIN, SUMMED, by_cause, by_month
from reconcile.money import MINOR_UNITS, XERO_PLACES, spelled

SHOWN_MONTHS: Final = 12  # of a currency, in which nothing differs
MEASURE_WORDS: Final = {"net": "without tax", "tax": "tax"}
COLUMNS: Final = {
    "salesforce": "Salesforce",
    "xero": "Xero",
    "difference": "Difference",
    "explained": "Explained",
    "unexplained": "Unexplained",
    "residual": "Residual",
}
CAUSE_WORDS: Final = {
    "missing_document": "no invoice in Xero",
    "extra_document": "invoice in Xero alone",
    "missing_line": "line not in Xero",
    "extra_line": "line in Xero alone",
    "credited": "taken off by a credit note",
    "currency": "another currency",
    "timing": "another month",
    "status": "another status",
    "account": "another account",
    "currency_rate": "another currency rate",
    "price_or_quantity": "another price or quantity",
    "discount": "another discount",
    "tax_inclusion": "tax within the price",
    "tax_code": "another tax code",
    "tax_rate": "another rate of the same tax",
    "rounding_line": "rounding of a line",
    "rounding_document": "rounding of the sum",
    "unexplained": "not explained",
}
# What is rounding, what is only booked elsewhere, and what is really another amount.
KINDS: Final = {
    "on one side alone": ("missing_document", "extra_document", "missing_line", "extra_line"),
    "booked elsewhere": ("currency", "timing", "status", "account", "currency_rate"),
    "another amount": ("credited", "price_or_quantity", "discount", "tax_inclusion", "tax_code", "tax_rate"),
    "rounding": ("rounding_line", "rounding_document"),
    "not explained": ("unexplained",),
}
KIND_OF: Final = {cause: kind for kind, causes in KINDS.items() for cause in causes}


@dataclass(frozen=True)
class Standing:
    """How both books stand: differences counted once each; groups without a proof, and with amounts unexplained."""

    groups: int
    groups_apart: int
    differences: int
    unexplained: int  # groups
    residual: int  # groups

    @property
    def proved(self) -> bool:
        return not self.unexplained and not self.residual

    @property
    def agreed(self) -> bool:
        return self.proved and not self.differences


def standing(totals: pl.DataFrame, differences: pl.DataFrame) -> Standing:
    """Takes TOTALS and DIFFERENCES."""
    months = by_month(totals)
    counts = {name: int(months[name].sum()) for name in months.columns if name.startswith("groups")}
    return Standing(
        groups=counts["groups"],
        groups_apart=counts["groups_apart"],
        differences=differences["difference_id"].n_unique(),
        unexplained=counts["groups_unexplained"],
        residual=counts["groups_residual"],
    )


def headline(found: Standing) -> str:
    """Say in one sentence whether both books agree, and whether it is proved."""
    if not found.groups and not found.differences:
        return "Neither book holds sales yet."
    if found.residual:
        return (
            f"The proof fails: in {wording.counted(found.residual, 'total')} both books differ by an amount that no "
            "difference of rows tells. That is a fault of this program; please report it."
        )
    if found.unexplained:
        count = wording.counted(found.unexplained, "total differs", "totals differ")
        return f"{count} by an amount that no cause explains."
    if found.differences:
        count = wording.counted(found.differences, "difference")
        return f"{count} between both books, every cent of them explained."
    return "Both books agree to the cent."


def money(amount: Decimal | None, currency: str | None) -> str:
    """Give an amount as 1,338.00, in the currency's minor unit or as exact as it needs; "" where there is none."""
    if amount is None:
        return ""
    return f"{Decimal(spelled(amount, places=MINOR_UNITS.get(currency or '', XERO_PLACES)) or 0):,f}"


# --- By currency and month ------------------------------------------------------------------------------


def currencies(totals: pl.DataFrame, *, every_month: bool = False) -> list[dict[str, Any]]:
    """Give each currency with a row a month and measure, and months with the groups behind them. Takes TOTALS.

    Of months in which nothing differs only the newest are given, unless every_month; groups stand behind those in
    which something does, and behind the newest.
    """
    months = by_month(totals)
    return [
        _currency(currency, rows, totals, months.height if every_month else SHOWN_MONTHS)
        for (currency,), rows in months.group_by("currency", maintain_order=True)
    ]


def _currency(currency: Any, months: pl.DataFrame, totals: pl.DataFrame, newest: int) -> dict[str, Any]:
    apart = pl.col("groups_apart").sum().over("month") > 0
    shown = months.filter(apart | (pl.col("month").rank("dense", descending=True) <= newest))
    behind = [_behind(key, groups) for key, groups in _months_of(totals, currency)]
    return {
        "currency": currency,
        "rows": [_month_row(row) for row in shown.iter_rows(named=True)],
        "older": months["month"].n_unique() - shown["month"].n_unique(),
        "months": [one for place, one in enumerate(behind) if one["apart"] or place == 0],
    }


def _month_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "month": _month(row["month"]),
        "measure": MEASURE_WORDS[row["measure"]],
        "cells": _cells(row),
        # Two differences that cancel out make no quiet sum.
        "apart": row["groups_apart"] > 0,
        "hidden": row["groups_apart"] if row["groups_apart"] and not row["difference"] else 0,
    }


def _months_of(totals: pl.DataFrame, currency: Any) -> list[tuple[Any, pl.DataFrame]]:
    mine = totals.filter(pl.col("currency").eq_missing(pl.lit(currency, pl.String)))
    grouped = mine.sort("month", descending=True, maintain_order=True).group_by("month", maintain_order=True)
    return [(key[0], rows) for key, rows in grouped]


def _behind(month: Any, groups: pl.DataFrame) -> dict[str, Any]:
    rows = [
        {
            "status": row["status"] or "no status",
            "account": row["account"] or "beside the lines",
            "measure": MEASURE_WORDS[row["measure"]],
            "cells": _cells(row),
            "apart": _apart(row),
        }
        for row in groups.sort("status", "account", "measure", nulls_last=True).iter_rows(named=True)
    ]
    urgent = groups.filter((pl.col("unexplained") != 0) | (pl.col("residual") != 0))
    return {
        "month": _month(month),
        "rows": rows,
        "count": len(rows),
        "apart": sum(row["apart"] for row in rows),
        "urgent": not urgent.is_empty(),
    }


def _month(month: Any) -> str:
    return f"{month:%Y-%m}" if month else "no date"


def _apart(row: Mapping[str, Any]) -> bool:
    return any(row[name] != 0 for name in ("difference", "explained", "unexplained", "residual"))


def _cells(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the six amounts of a row: name, text, and kind: zero, plain, differs or urgent."""
    return [
        {
            "name": COLUMNS[name],
            "text": money(row[name], row["currency"]),
            "kind": _kind(name, row[name]),
        }
        for name in SUMMED
    ]


def _kind(name: str, amount: Decimal) -> str:
    if name in ("salesforce", "xero"):
        return "plain"
    if amount == 0:
        return "zero"
    return {"difference": "differs", "explained": "plain"}.get(name, "urgent")


# --- By cause -------------------------------------------------------------------------------------------


def causes(differences: pl.DataFrame) -> list[dict[str, Any]]:
    """Give a row a cause and currency, what needs a look first. Takes DIFFERENCES."""
    return [
        {
            "cause": row["cause"],
            "words": CAUSE_WORDS[row["cause"]],
            "kind": KIND_OF[row["cause"]],
            "currency": row["currency"],
            "count": row["count"],
            "documents": row["documents"],
            "net": money(row["net"], row["currency"]),
            "tax": money(row["tax"], row["currency"]),
            "moved": money(row["moved"], row["currency"]),
        }
        for row in _unexplained_first(by_cause(differences)).iter_rows(named=True)
    ]


def _unexplained_first(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort(pl.col("cause") == "unexplained", descending=True, maintain_order=True)


def behind_causes(
    differences: pl.DataFrame, names: Mapping[str, str], *, most: int | None = None
) -> list[dict[str, Any]]:
    """Give each cause with its differences, the largest first; most: of a cause, null: all. Takes DIFFERENCES."""
    return [
        {
            "cause": cause,
            "words": CAUSE_WORDS[cause],
            "title": CAUSE_WORDS[cause][0].upper() + CAUSE_WORDS[cause][1:],
            "count": rows["difference_id"].n_unique(),
            "rows": [
                _row(row, names)
                for row in rows.head(rows.height if most is None else most).iter_rows(named=True)
            ],
            "more": 0 if most is None else max(rows.height - most, 0),
        }
        for (cause,), rows in _unexplained_first(_once_each(differences)).group_by(
            "cause", maintain_order=True
        )
    ]


def _once_each(differences: pl.DataFrame) -> pl.DataFrame:
    """Give one row a difference and currency: what moved from one group to another is one thing that happened."""
    size = pl.col("net").abs().sum() + pl.col("tax").abs().sum()
    return (
        differences.group_by("cause", "difference_id", "document_key", "line_key", "currency")
        .agg(
            pl.col("net", "tax").sum(),
            pl.col("month", "evidence").first(),
            halves=pl.col("net").abs().sum(),
            size=size,
        )
        .with_columns(moved=pl.when(pl.col("cause").is_in(MOVED_WITHIN)).then(pl.col("halves") / 2))
        .sort("cause", "size", "difference_id", "currency", descending=[False, True, False, False])
    )


def _row(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    currency = row["currency"]
    return {
        "name": wording.called(names, row["document_key"]),
        "document": row["document_key"],
        "line": wording.called(names, row["line_key"]) or row["line_key"] or "",
        "month": _month(row["month"]),
        "currency": currency,
        "net": money(row["net"], currency),
        "tax": money(row["tax"], currency),
        "moved": money(row["moved"], currency),
        "evidence": row["evidence"],
    }


# --- For an artifact: counts and sums, no ids -----------------------------------------------------------


def sums_by_currency(totals: pl.DataFrame) -> pl.DataFrame:
    """Give one row a currency and measure, with its sums. Takes TOTALS."""
    return totals.group_by("currency", "measure").agg(pl.col(SUMMED).sum()).sort("currency", "measure")


def spoken_sums(totals: pl.DataFrame) -> pl.DataFrame:
    """Give the same, the amounts as people read them."""
    summed = sums_by_currency(totals)
    rows = [
        row | {name: money(row[name], row["currency"]) for name in SUMMED}
        for row in summed.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(summed.columns, pl.String))

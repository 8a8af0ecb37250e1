"""Prints control totals and their causes: for a person by rich, for a script as JSON."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

import click
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import show, totals
from reconcile.closing import by_cause, by_month

if TYPE_CHECKING:
    from pipelines.plans import Planned

SHOWN: Final = 12  # groups and differences in the short form
STYLES: Final = {"plain": "", "zero": "dim", "differs": "yellow", "urgent": "bold red"}


def chosen(
    planned: Planned, *, month: date | None, currency: str | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give TOTALS and DIFFERENCES of one month, or one currency; null: all.

    Raises click.UsageError where neither book has anything of that: a slip of a key.
    """
    in_month = pl.col("month") == month if month else pl.lit(True)
    in_currency = pl.col("currency") == currency.upper() if currency else pl.lit(True)
    groups, differences = (
        frame.filter(in_month, in_currency) for frame in (planned.control_totals, planned.differences)
    )
    if (month or currency) and groups.is_empty() and differences.is_empty():
        known = by_month(planned.control_totals).select("currency", "month").unique(maintain_order=True)
        there = [f"{row['currency']} {row['month']:%Y-%m}" for row in known.iter_rows(named=True)]
        asked = " ".join([*([currency.upper()] if currency else []), *([f"{month:%Y-%m}"] if month else [])])
        raise click.UsageError(
            f"no sales of {asked} are in the last plan; there are: {', '.join(there) or 'none at all'}."
        )
    return groups, differences


def printed(
    planned: Planned, groups: pl.DataFrame, differences: pl.DataFrame, *, as_json: bool, everything: bool
) -> None:
    """Print what both books hold. Takes TOTALS and DIFFERENCES of the plan, narrowed or whole."""
    if as_json:
        show.print_json(totals_data(planned, groups, differences))
        return
    console = _terminal()
    found = totals.standing(groups, differences)
    console.print(Text(totals.headline(found), style="bold green" if found.agreed else "bold"))
    console.print(
        Text(f"As of plan {planned.short}, made {planned.created_at:%Y-%m-%d %H:%M} UTC.", style="dim")
    )
    if found.groups:
        console.print(_months(groups))
    if found.groups_apart:
        _apart(console, groups, everything=everything)
    if found.differences:
        console.print(_causes(differences))
        _rows(console, planned, differences, everything=everything)
    for message in planned.alarms:
        console.print(Text(f"! {message}", style="bold red"))


def _terminal() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=show.WIDE)


def totals_data(planned: Planned, groups: pl.DataFrame, differences: pl.DataFrame) -> dict[str, Any]:
    """Give what `totals --json` promises to scripts (docs/scripting.md)."""
    found = totals.standing(groups, differences)
    return {
        "plan": planned.hash,
        "created_at": planned.created_at,
        "agreed": found.agreed and not planned.alarms,
        "proved": found.proved and not planned.alarms,
        "months": _json(by_month(groups)),
        "totals": _json(groups),
        "causes": _json(by_cause(differences)),
        "differences": _json(differences),
        "alarms": planned.alarms,
    }


def _json(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return show.rows(
        frame.with_columns(pl.col("month").dt.strftime("%Y-%m")) if "month" in frame.columns else frame
    )


def _table(*columns: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, no_wrap=name != "what is found")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _amounts(row: dict[str, Any]) -> list[Text]:
    return [Text(cell["text"], style=STYLES[cell["kind"]]) for cell in row["cells"]]


def _months(groups: pl.DataFrame) -> Table:
    table = _table(
        "\ncurrency", "\nmonth", "\namount", numbers=tuple(f"\n{name}" for name in totals.COLUMNS.values())
    )
    for one in totals.currencies(groups, every_month=True):
        for row in one["rows"]:
            hidden = f" ({row['hidden']} apart below)" if row["hidden"] else ""
            table.add_row(one["currency"], row["month"], row["measure"] + hidden, *_amounts(row))
    return table


def _apart(console: Console, groups: pl.DataFrame, *, everything: bool) -> None:
    table = _table("currency", "month", "status", "account", "amount", numbers=tuple(totals.COLUMNS.values()))
    rows = [
        (
            one["currency"],
            month["month"],
            row["status"].lower(),
            row["account"],
            row["measure"],
            *_amounts(row),
        )
        for one in totals.currencies(groups)
        for month in one["months"]
        for row in month["rows"]
        if row["apart"]
    ]
    for row in rows if everything else rows[:SHOWN]:
        table.add_row(*row)
    console.print(Text("\nTotals that are apart, by status and account", style="bold"))
    console.print(table)
    _more(console, len(rows), everything=everything)


def _causes(differences: pl.DataFrame) -> Table:
    table = _table(
        "\ncause",
        "\nkind",
        "\ncurrency",
        numbers=("\ncount", "\ndocuments", "\nwithout tax", "\ntax", "\nmoved"),
    )
    for row in totals.causes(differences):
        style = STYLES["urgent"] if row["cause"] == "unexplained" else ""
        table.add_row(
            Text(row["words"], style=style),
            row["kind"],
            row["currency"],
            f"{row['count']:,}",
            f"{row['documents']:,}",
            row["net"],
            row["tax"],
            row["moved"],
        )
    return table


def _rows(console: Console, planned: Planned, differences: pl.DataFrame, *, everything: bool) -> None:
    console.print(Text("\nDifferences", style="bold"))
    table = _table("cause", "document", "line", "what is found", numbers=("without tax", "tax", "moved"))
    found = totals.behind_causes(differences, planned.names)
    rows = [(group["words"], row) for group in found for row in group["rows"]]
    for words, row in rows if everything else rows[:SHOWN]:
        amounts = f"{row['net']} {row['currency'] or ''}", row["tax"], row["moved"]
        table.add_row(words, row["name"] or row["document"], row["line"], row["evidence"], *amounts)
    console.print(table)
    _more(console, len(rows), everything=everything)


def _more(console: Console, count: int, *, everything: bool) -> None:
    if count > SHOWN and not everything:
        console.print(Text(f"… {count - SHOWN} more (--all)", style="dim"))

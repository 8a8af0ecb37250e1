"""Shows a trial of the mapping's rules: which holds for how many lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.show import new_console, print_json, rows

if TYPE_CHECKING:
    import polars as pl


def trial(frame: pl.DataFrame, *, as_json: bool) -> None:
    """Print `coding.TRIAL`."""
    if as_json:
        print_json(rows(frame))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("rule", "gives", "lines", "documents", "disagree", "held", "for example", box=None)
    for row in frame.to_dicts():
        counts = (str(row[name]) for name in ("lines", "documents", "disagree", "held"))
        who = row["rule"] or "no rule gives an account"
        # What people named is text, never markup.
        table.add_row(Text(who), Text(row["gives"]), *counts, Text("; ".join(row["examples"])))
    new_console().print(table)

"""Says which options of tracking the lines of an invoice carry."""

from __future__ import annotations

from typing import Final

import polars as pl

from reconcile import names
from reconcile.decode import decode_all
from reconcile.mapped import DocumentMapping

CATEGORIES: Final = pl.Struct(
    {
        "Name": pl.String,
        "Status": pl.String,
        "Options": pl.List(pl.Struct({"Name": pl.String, "Status": pl.String})),
    }
)


def tracked(lines: pl.DataFrame, raw: pl.DataFrame, mapping: DocumentMapping) -> pl.DataFrame:
    """Add tracking to lines: JSON as Xero takes it, null: none; and untracked: why it can't be, null: it can.

    Takes lines with a text for each category of the mapping in "tracked CATEGORY", and RAW of Xero's
    TrackingCategory. A name is found without regard to case, and sent as Xero spells it.
    Source: accounting spec 16.1.0: a line names two categories at most, each by Name and Option; read 2026-11-28.
    """
    options = _options(raw)
    found = lines
    for track in mapping.tracking:
        mine = options.filter(pl.col("low") == track.category.lower())
        there = mine.height > 0
        wanted = names.folded(pl.col(f"tracked {track.category}"))
        spelled = dict(mine.drop_nulls("option").select("option_low", "option").iter_rows())
        option = wanted.str.to_lowercase().replace_strict(spelled, default=None, return_dtype=pl.String)
        category = mine["category"][0] if there else track.category
        lacks = pl.format(
            "the {} {}, which is no active option of the tracking category {} in Xero: add it there, or correct it",
            pl.lit(track.field), wanted, pl.lit(category),
        )  # fmt: skip
        absent = f"a tracking category of the mapping, {track.category}, that is not in Xero or not active"
        found = found.with_columns(
            pl.when(option.is_not_null())
            .then(pl.struct(Name=pl.lit(category), Option=option).struct.json_encode())
            .alias(f"as {track.category}"),
            pl.when(pl.lit(not there))
            .then(pl.lit(absent))
            .when(wanted.is_not_null() & option.is_null())
            .then(lacks)
            .alias(f"not {track.category}"),
        )
    named = [f"as {track.category}" for track in mapping.tracking]
    whole = pl.concat_str(pl.lit("["), pl.concat_str(named, separator=",", ignore_nulls=True), pl.lit("]"))
    return found.with_columns(
        tracking=pl.when(pl.any_horizontal(pl.col(named).is_not_null())).then(whole),
        untracked=pl.coalesce([f"not {track.category}" for track in mapping.tracking]),
    )


def _options(raw: pl.DataFrame) -> pl.DataFrame:
    """Give category and option of all that is active, as they are spelled and in small letters."""
    live = raw.filter(~pl.col("deleted").fill_null(False))
    bodies = decode_all(live["body"], CATEGORIES)
    if bodies is None or not len(bodies):
        return pl.DataFrame(schema=dict.fromkeys(("category", "option", "low", "option_low"), pl.String))
    table = bodies.struct.unnest().filter(_active("Status"))
    options = table.explode("Options").with_columns(
        state=pl.col("Options").struct.field("Status"), option=pl.col("Options").struct.field("Name")
    )
    return options.select(
        category="Name",
        option=pl.when(_active("state")).then("option"),
        low=pl.col("Name").str.to_lowercase(),
    ).with_columns(option_low=pl.col("option").str.to_lowercase())


def _active(name: str) -> pl.Expr:
    return pl.col(name).fill_null("ACTIVE").str.to_uppercase() == "ACTIVE"

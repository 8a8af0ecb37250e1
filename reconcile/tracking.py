"""Says which options of tracking the lines of an invoice carry, and makes those that are missing where it may."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps, loads
from reconcile.decode import decode_all
from reconcile.mapped import DocumentMapping, Track
from reconcile.operations import Row, operation_row

ENTITY: Final = "option"
OBJECT: Final = "TrackingOption"
LONGEST: Final = 100  # of a name
MOST: Final = 100  # active options of one category: documented as the most that is advised
CATEGORIES: Final = pl.Struct(
    {
        "TrackingCategoryID": pl.String,
        "Name": pl.String,
        "Status": pl.String,
        "Options": pl.List(pl.Struct({"Name": pl.String, "Status": pl.String})),
    }
)


def tracked(
    lines: pl.DataFrame, raw: pl.DataFrame, mapping: DocumentMapping
) -> tuple[pl.DataFrame, list[Row]]:
    """Add tracking to lines: JSON as Xero takes it, null: none; and untracked: why it can't be, null: it can.

    Takes lines with a text for each category of the mapping in "tracked CATEGORY", and RAW of Xero's
    TrackingCategory. A name is found without regard to case, and sent as Xero spells it.
    Gives too the operations that make the options which are missing, where the mapping has them made on demand; a
    line then names the operation: {"$from": operation, "field": "Name", "said": name}.
    Source: accounting spec 16.1.0: a line names two categories at most, each by Name and Option; read 2026-11-28.
    """
    options = _options(raw)
    found, making = lines, list[Row]()
    for track in mapping.tracking:
        mine = options.filter(pl.col("low") == track.category.lower())
        there = mine.height > 0
        wanted = names.folded(pl.col(f"tracked {track.category}"))
        spelled = dict(mine.drop_nulls("option").select("option_low", "option").iter_rows())
        option = wanted.str.to_lowercase().replace_strict(spelled, default=None, return_dtype=pl.String)
        category = mine["category"][0] if there else track.category
        made = _to_make(found.select(wanted), mine, track, mapping) if there else []
        making += made
        by_name = {loads(one["native_after"])["Name"].lower(): one["operation_id"] for one in made}
        coming = wanted.str.to_lowercase().replace_strict(by_name, default=None, return_dtype=pl.String)
        new = pl.struct(coming.alias("$from"), field=pl.lit("Name"), said=wanted)
        lacks = pl.format(
            "the {} {}, which is no active option of the tracking category {} in Xero: add it there, or correct it",
            pl.lit(track.field), wanted, pl.lit(category),
        )  # fmt: skip
        absent = f"a tracking category of the mapping, {track.category}, that is not in Xero or not active"
        found = found.with_columns(
            pl.when(option.is_not_null())
            .then(pl.struct(Name=pl.lit(category), Option=option).struct.json_encode())
            .when(coming.is_not_null())
            .then(pl.struct(Name=pl.lit(category), Option=new).struct.json_encode())
            .alias(f"as {track.category}"),
            pl.when(pl.lit(not there))
            .then(pl.lit(absent))
            .when(wanted.is_not_null() & option.is_null() & coming.is_null())
            .then(lacks)
            .alias(f"not {track.category}"),
        )
    named = [f"as {track.category}" for track in mapping.tracking]
    whole = pl.concat_str(pl.lit("["), pl.concat_str(named, separator=",", ignore_nulls=True), pl.lit("]"))
    whole_lines = found.with_columns(
        tracking=pl.when(pl.any_horizontal(pl.col(named).is_not_null())).then(whole),
        untracked=pl.coalesce([f"not {track.category}" for track in mapping.tracking]),
    )
    return whole_lines, making


def said(tracking: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a line's tracking with the names of its options, also of those that are still to be made."""
    return [
        {**one, "Option": one["Option"]["said"] if isinstance(one["Option"], dict) else one["Option"]}
        for one in tracking
    ]


def _to_make(wanted: pl.DataFrame, mine: pl.DataFrame, track: Track, mapping: DocumentMapping) -> list[Row]:
    """Give the operations that make what is wanted of a category and is no active option of it."""
    if mapping.options != "on_demand":
        return []
    names_of = wanted.to_series().drop_nulls().unique().sort()
    low = names_of.str.to_lowercase()
    missing = names_of.filter(~low.is_in(mine["option_low"].drop_nulls().implode()) & low.is_first_distinct())
    fitting = missing.filter(missing.str.len_chars() <= LONGEST)
    category_id, room = str(mine["category_id"][0]).lower(), MOST - mine["option"].drop_nulls().len()
    return [
        _making(category_id, mine["category"][0], name, track, mapping) for name in fitting.head(max(room, 0))
    ]


def _making(category_id: str, category: str, name: str, track: Track, mapping: DocumentMapping) -> Row:
    return operation_row(
        ENTITY,
        OBJECT,
        system="xero",
        record_id=None,
        source_id=f"{category_id}/{name.lower()}",  # it stands under its category
        action="create",
        phase="create",
        unit="record",
        after=name,
        native_after=dumps({"Name": name}),
        reason=f"{track.field} says {name}, and {category} has no active option of that name",
        rule=f"{mapping.at}: options",
        match_rule="create",
        score=1.0,
        evidence="{}",
    )


def _options(raw: pl.DataFrame) -> pl.DataFrame:
    """Give category and option of all that is active, as they are spelled and in small letters."""
    live = raw.filter(~pl.col("deleted").fill_null(False))
    bodies = decode_all(live["body"], CATEGORIES)
    if bodies is None or not len(bodies):
        return pl.DataFrame(
            schema=dict.fromkeys(("category_id", "category", "option", "low", "option_low"), pl.String)
        )
    table = bodies.struct.unnest().filter(_active("Status"))
    options = table.explode("Options").with_columns(
        state=pl.col("Options").struct.field("Status"), option=pl.col("Options").struct.field("Name")
    )
    return options.select(
        category_id="TrackingCategoryID",
        category="Name",
        option=pl.when(_active("state")).then("option"),
        low=pl.col("Name").str.to_lowercase(),
    ).with_columns(option_low=pl.col("option").str.to_lowercase())


def _active(name: str) -> pl.Expr:
    return pl.col(name).fill_null("ACTIVE").str.to_uppercase() == "ACTIVE"

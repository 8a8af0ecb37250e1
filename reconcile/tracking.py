"""Says which options of tracking the lines of an invoice carry, and makes those that are missing where it may."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps
from reconcile.decode import decode_all
from reconcile.mapped import OPTION, TRACKING_OPTION, DocumentMapping, Track
from reconcile.operations import Row, operation_row

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

    Takes lines with a text for each category of the mapping in "tracked CATEGORY" and is_due (they are to be
    invoiced: for others nothing is made), and RAW of Xero's TrackingCategory. A name is found without regard to
    case, and sent as Xero spells it.
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
        low = names.lower(wanted)
        spelled = dict(mine.drop_nulls("option").select("option_low", "option").iter_rows())
        option = low.replace_strict(spelled, default=None, return_dtype=pl.String)
        category = mine["category"][0] if there else track.category
        due = found.filter("is_due").select(wanted=wanted, low=low)
        made = _to_make(due, mine, track, mapping) if there else {}
        making += made.values()
        by_name = {name: one["operation_id"] for name, one in made.items()}
        coming = low.replace_strict(by_name, default=None, return_dtype=pl.String)
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


def _to_make(
    wanted: pl.DataFrame, mine: pl.DataFrame, track: Track, mapping: DocumentMapping
) -> dict[str, Row]:
    """Give, by name in small letters, what makes the wanted options that a category has not."""
    if mapping.options != "on_demand":
        return {}
    there = mine["option_low"].drop_nulls().implode()
    missing = (
        wanted.drop_nulls()
        .sort("wanted")
        .unique("low", keep="first", maintain_order=True)
        .filter(~pl.col("low").is_in(there), pl.col("wanted").str.len_chars() <= LONGEST)
    )
    room = MOST - mine["option"].drop_nulls().len()
    category_id, category = str(mine["category_id"][0]).lower(), mine["category"][0]
    return {
        low: _making(f"{category_id}/{_mark(low)}", category, name, track, mapping)
        for name, low in missing.head(max(room, 0)).select("wanted", "low").iter_rows()
    }


def _mark(name: str) -> str:
    """Stand for a name where ids stand: a text of a customer's is kept sealed."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _making(place: str, category: str, name: str, track: Track, mapping: DocumentMapping) -> Row:
    return operation_row(
        OPTION,
        TRACKING_OPTION,
        system="xero",
        record_id=None,
        source_id=place,
        action="create",
        phase="create",
        unit="record",
        after=dumps({"option": name, "category": category}),
        native_after=dumps({"Name": name}),
        reason=f"{track.field} says it, and {category} has no active option of that name",
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
    ).with_columns(option_low=names.lower(pl.col("option")))


def _active(name: str) -> pl.Expr:
    return pl.col(name).fill_null("ACTIVE").str.to_uppercase() == "ACTIVE"

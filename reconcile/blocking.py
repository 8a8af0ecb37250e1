"""Finds the pairs of records that are worth comparing: those that share a key, and never too many of them.

A key is any equality that two spellings of one company are likely to keep: its whole name, its rare words,
the first letters, the consonants, a phone, a domain, a postal code. A key that too many records share says
nothing about any two of them and is dropped, so that no key makes the work explode.
"""

from __future__ import annotations

from typing import Final

import polars as pl

MOST_PAIRS_OF_A_KEY: Final = 400  # records on one side times records on the other
MOST_PAIRS_OF_A_NAME: Final = (
    2500  # a whole name may be shared by more: those are the twins a person must see
)
MOST_PAIRS_OF_A_RECORD: Final = 30

SALESFORCE: Final = pl.col("side") == "salesforce"


def name_keys(names: pl.DataFrame) -> pl.DataFrame:
    """Give the keys of folded names: side, row, kind, key.

    Takes side, row, name (folded, null = none) and tokens (list of its words).
    """
    name = pl.col("name")
    squeezed = name.str.replace_all(" ", "")
    consonants = squeezed.str.slice(0, 1) + squeezed.str.slice(1).str.replace_all("[aeiouyhw]", "")
    whole = {
        "name": name,
        "sorted_name": pl.col("tokens").list.sort().list.join(" "),
        "first_letters": squeezed.str.slice(0, 7),
        "last_letters": squeezed.str.slice(-7),
        "consonants": consonants,
        "first_words": pl.col("tokens").list.head(2).list.join(" "),
    }
    keys = [names.select("side", "row", kind=pl.lit(kind), key=key) for kind, key in whole.items()]
    words = names.select("side", "row", kind=pl.lit("word"), key=pl.col("tokens")).explode(
        "key", empty_as_null=True, keep_nulls=False
    )
    return pl.concat([*keys, words]).filter(pl.col("key").str.len_chars() > 1).unique()


def candidate_pairs(keys: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs of rows that share a key: salesforce_row, xero_row, each pair once, sorted.

    Takes side, row, kind, key. At most MOST_PAIRS_OF_A_RECORD pairs remain for a record: those whose shared
    keys are the rarest.
    """
    sizes = keys.group_by("kind", "key").agg(
        salesforce=SALESFORCE.sum().cast(pl.Int64), xero=(~SALESFORCE).sum().cast(pl.Int64)
    )
    pairs_of_key = pl.col("salesforce") * pl.col("xero")
    most = pl.when(pl.col("kind") == "name").then(MOST_PAIRS_OF_A_NAME).otherwise(MOST_PAIRS_OF_A_KEY)
    useful = sizes.filter(pairs_of_key.is_between(1, most)).select(
        "kind", "key", rarity=1.0 / pairs_of_key.cast(pl.Float64)
    )
    kept = keys.join(useful, on=["kind", "key"], how="inner", validate="m:1")
    left = kept.filter(SALESFORCE).select("kind", "key", "rarity", salesforce_row="row")
    right = kept.filter(~SALESFORCE).select("kind", "key", xero_row="row")
    pairs = left.join(right, on=["kind", "key"], how="inner").group_by("salesforce_row", "xero_row")
    return _rarest(pairs.agg(rarity=pl.col("rarity").sum()))


def _rarest(pairs: pl.DataFrame) -> pl.DataFrame:
    ordered = pairs.sort("rarity", "salesforce_row", "xero_row", descending=[True, False, False])
    place = [
        pl.int_range(pl.len()).over(side) < MOST_PAIRS_OF_A_RECORD for side in ("salesforce_row", "xero_row")
    ]
    return (
        ordered.filter(place[0] | place[1])
        .select("salesforce_row", "xero_row")
        .sort("salesforce_row", "xero_row")
    )


def too_common(keys: pl.DataFrame) -> pl.DataFrame:
    """Give the rows whose whole name is shared by so many that they were not compared by it: side, row."""
    names = keys.filter(pl.col("kind") == "name")
    sizes = names.group_by("key").agg(
        pairs=SALESFORCE.sum().cast(pl.Int64) * (~SALESFORCE).sum().cast(pl.Int64)
    )
    crowded = sizes.filter(pl.col("pairs") > MOST_PAIRS_OF_A_NAME)
    return names.join(crowded, on="key", how="semi").select("side", "row")

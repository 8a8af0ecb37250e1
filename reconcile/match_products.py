"""Says which products are the same, and which price is whose: by code, never by a name alone.

What decides here are codes as Xero would hold them, so that one which is too long there is known again. A code
that several products of a side have says nothing about any of them; nor does a name, which is only proposed.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from reconcile.model import LINKS, conform, empty

PAIR: Final = ["salesforce_id", "xero_id"]
SIDES: Final = ("salesforce", "xero")
CODE_KIND: Final = "item_code"
BY_NAME: Final = 0.6
MOST_SHOWN: Final = 3  # candidates of one record in the review queue


def find_products(nodes: pl.DataFrame, values: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Give the products that are linked by their code, or proposed: PAIR, rule, score, evidence, verdict.

    Takes the records with `open` and `linkable`, VALUES, and the pairs that a person refused. First codes that
    are equal to the letter; of what is left those that differ in case alone. Whether Xero minds it is unconfirmed.
    """
    codes = _held(nodes, values, pl.col("kind") == CODE_KIND)
    exact = _same(codes, refused)
    folded = codes.with_columns(key=pl.col("key").str.to_lowercase())
    rest = folded.join(_ends(exact.filter("link")), on=["side", "record_id"], how="anti")
    found = pl.concat([exact.filter("link"), _same(rest, refused)])
    names = _held(nodes, values, pl.col("unit") == "name").with_columns(key=pl.col("key").str.to_lowercase())
    alone = names.join(_ends(found), on=["side", "record_id"], how="anti")
    by_name = _same(alone, refused).with_columns(link=pl.lit(False))
    shown = pl.all_horizontal(pl.len().over(name) <= MOST_SHOWN for name in PAIR)
    return pl.concat(
        [_told(found, "code", 1.0), _told(by_name.filter(shown), "name", BY_NAME)],
    )


def find_prices(nodes: pl.DataFrame, parents: pl.DataFrame | None, refused: pl.DataFrame) -> pl.DataFrame:
    """Give the prices of linked products, in the form of `find_products`.

    A product with two prices in one book and currency can't be: Salesforce takes one.
    """
    products = conform(parents if parents is not None else empty(LINKS), LINKS)
    here, there = (
        nodes.filter("linkable", pl.col("side") == side).select(
            pl.col("record_id").alias(f"{side}_id"), pl.col("parent_id").alias(f"{side}_product")
        )
        for side in SIDES
    )
    pairs = (
        products.select(salesforce_product="salesforce_id", xero_product="xero_id")
        .join(here, on="salesforce_product", how="inner")
        .join(there, on="xero_product", how="inner")
        .join(refused, on=PAIR, how="anti")
    )
    single = pl.all_horizontal(pl.len().over(name) == 1 for name in PAIR)
    return _told(pairs.with_columns(link=single), "product", 1.0)


def _held(nodes: pl.DataFrame, values: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
    """Give side, record_id, key, linkable of the open records that show such a value."""
    shown = values.filter("observed", which, pl.col("value").is_not_null())
    return (
        nodes.filter("open")
        .join(
            shown.select("side", "record_id", key="value").unique(["side", "record_id"], maintain_order=True),
            on=["side", "record_id"],
            how="inner",
            validate="1:1",
        )
        .select("side", "record_id", "key", "linkable")
    )


def _same(keys: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Give the linkable pairs of one key: PAIR, and link: whether nobody else of their sides has that key."""
    counted = keys.with_columns(holders=pl.len().over("side", "key")).filter("linkable")
    here, there = (
        counted.filter(pl.col("side") == side).select(
            "key", pl.col("record_id").alias(f"{side}_id"), pl.col("holders").alias(f"{side}_holders")
        )
        for side in SIDES
    )
    pairs = here.join(there, on="key", how="inner").join(refused, on=PAIR, how="anti")
    alone = (pl.col("salesforce_holders") == 1) & (pl.col("xero_holders") == 1)
    return pairs.select(*PAIR, link=alone)


def _ends(pairs: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(
        [pairs.select(side=pl.lit(side, dtype=pl.Enum(SIDES)), record_id=f"{side}_id") for side in SIDES]
    ).unique()


def _told(pairs: pl.DataFrame, rule: str, score: float) -> pl.DataFrame:
    verdict = pl.when("link").then(pl.lit("link")).otherwise(pl.lit("review"))
    return pairs.select(
        *PAIR,
        rule=pl.lit(rule),
        score=pl.lit(score),
        evidence=pl.lit("{}"),
        verdict=verdict,
    )

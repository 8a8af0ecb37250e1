"""Counts what stands apart and since when: by entity, unit and direction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from reconcile.model import DRIFT, ENTITY, UTC, conform

WHAT: Final = ["entity", "unit", "salesforce_id", "xero_id", "direction", "why"]
# One row an entity and unit: how many links were compared, and how they stand.
UNIT_STANDING: Final = {
    "entity": ENTITY,
    "unit": pl.String,
    "compared": pl.Int64,
    "agreed": pl.Int64,
    "drift": pl.Int64,
    "conflicts": pl.Int64,
}


def standing(
    units: Mapping[str, Sequence[str]], links: pl.DataFrame, drift: pl.DataFrame, conflicts: pl.DataFrame
) -> pl.DataFrame:
    """Say for each unit how many of the links agree.

    Takes entity -> unit names, LINKS that hold, DRIFT left standing and DRIFT in conflict. Gives
    UNIT_STANDING in the order of the units: compared = agreed + drift + conflicts.
    """
    rows = [(entity, unit) for entity, names in units.items() for unit in names]
    frame = pl.DataFrame(rows, schema={"entity": ENTITY, "unit": pl.String}, orient="row")
    counted = frame.join(links.group_by("entity").agg(compared=pl.len()), on="entity", how="left")
    for name, standing_rows in (("drift", drift), ("conflicts", conflicts)):
        counts = standing_rows.group_by("entity", "unit").agg(pl.len().alias(name))
        counted = counted.join(counts, on=["entity", "unit"], how="left")
    counted = counted.fill_null(0).with_columns(
        agreed=pl.col("compared").cast(pl.Int64) - pl.col("drift") - pl.col("conflicts")
    )
    return conform(counted, UNIT_STANDING)


def signature(drift: pl.DataFrame) -> pl.DataFrame:
    """Add `signature`: the same in another run, while neither value, reason nor record changed."""
    values = [pl.col(name).fill_null("\x00") for name in ("salesforce", "xero")]
    text = pl.concat_str(
        *(pl.col(name).cast(pl.String).fill_null("") for name in WHAT), *values, separator="\x1f"
    )
    marked = drift.with_columns(text=text)
    marks = [_mark(one) for one in marked["text"].to_list()]
    return drift.with_columns(pl.Series("signature", marks, dtype=pl.String))


def _mark(text: str) -> str:
    # sha256: it is stored, and must outlive the version of Polars.
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_age(drift: pl.DataFrame, history: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Give DRIFT with `since`: when this difference was first told, without a gap.

    Takes DRIFT, and DRIFT of earlier runs; with a column saved_at only the last of them counts.
    A difference that is new has since = now. Order kept.
    """
    if "saved_at" in history.columns:
        history = history.filter(pl.col("saved_at") == pl.col("saved_at").max())
    before = signature(conform(history, DRIFT))
    first = before.group_by("signature").agg(seen=pl.col("since").min())
    aged = signature(drift).join(first, on="signature", how="left", validate="m:1", maintain_order="left")
    return conform(aged.with_columns(since=pl.coalesce("seen", pl.lit(now).cast(UTC))), DRIFT)

"""Counts what stands apart and since when: by entity, unit and direction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from reconcile.model import DRIFT, ENTITY, SIDE, UTC, conform
from reconcile.plan import Plan

WHAT: Final = ["entity", "unit", "salesforce_id", "xero_id", "direction", "why"]
EXAMPLES_EACH: Final = 5

UNIT_COUNTS: Final = {
    "entity": ENTITY,
    "unit": pl.String,
    "direction": pl.String,
    "why": pl.String,
    "count": pl.Int64,
    "oldest": UTC,  # null: all of them are new today
}
RECORD_COUNTS: Final = {"entity": ENTITY, "side": SIDE, "what": pl.String, "count": pl.Int64}
EXAMPLES: Final = {
    "entity": ENTITY,
    "unit": pl.String,
    "direction": pl.String,
    "why": pl.String,
    "salesforce_id": pl.String,
    "xero_id": pl.String,
    "since": UTC,
}


# One row an entity and unit: how many links were compared, and how they stand.
UNIT_STANDING: Final = {
    "entity": ENTITY,
    "unit": pl.String,
    "compared": pl.Int64,
    "agreed": pl.Int64,
    "drift": pl.Int64,
    "conflicts": pl.Int64,
}


@dataclass(frozen=True)
class DriftReport:
    """Counts, without values.

    units: differences by entity, unit, direction and reason; records: how many are linked or wait, by side;
    examples: a few of each difference, ids only.
    """

    units: pl.DataFrame
    records: pl.DataFrame
    examples: pl.DataFrame


def summarise(
    plan: Plan, links: pl.DataFrame | None = None, *, drift: pl.DataFrame | None = None
) -> DriftReport:
    """Count what a plan leaves standing.

    Takes the plan, LINKS that hold (null: linked records are not counted), and its drift and conflicts with
    their age where `with_age` gave it. Order: by entity, unit, direction; holds no values of records.
    """
    told = pl.concat([plan.drift, plan.conflicts]) if drift is None else conform(drift, DRIFT)
    kinds = ["entity", "unit", "direction", "why"]
    units = told.group_by(kinds).agg(count=pl.len(), oldest=pl.col("since").min()).sort(kinds)
    first = told.sort(pl.col("since"), "salesforce_id", "xero_id", nulls_last=True).group_by(
        kinds, maintain_order=True
    )
    return DriftReport(
        units=conform(units, UNIT_COUNTS),
        records=_record_counts(plan, links),
        examples=conform(first.head(EXAMPLES_EACH).sort(kinds, maintain_order=True), EXAMPLES),
    )


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


def _record_counts(plan: Plan, links: pl.DataFrame | None) -> pl.DataFrame:
    sides = {"salesforce": "salesforce_id", "xero": "xero_id"}
    counted = [plan.unmatched.select("entity", "side", what=pl.concat_str(pl.lit("unmatched: "), "why"))]
    for side, column in sides.items():
        whose = {"side": pl.lit(side, dtype=SIDE)}
        if links is not None:
            counted.append(links.select("entity", **whose, what=pl.lit("linked")))
        review = plan.review.drop_nulls(column).unique(["entity", column])
        counted.append(review.select("entity", **whose, what=pl.lit("review")))
    rows = pl.concat(counted).group_by("entity", "side", "what").agg(count=pl.len())
    return conform(rows, RECORD_COUNTS).sort("entity", "side", "what")


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

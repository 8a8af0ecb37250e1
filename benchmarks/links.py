"""Holds the links that were found against the true ones, which no server ever sees."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipelines.plans import Planned


def link_quality(truth_file: Path, planned: Planned) -> str:
    """Say precision and recall by entity of links made without asking, and what the review queue holds."""
    truth = pl.read_ndjson(truth_file).select("entity", "salesforce_id", "xero_id").unique()
    lines = []
    for entity in ("party", "person"):
        true = truth.filter(pl.col("entity") == entity).drop("entity")
        linked = _pairs(planned.operations, entity)
        proposed = (
            planned.review.filter(pl.col("entity") == entity).select("salesforce_id", "xero_id").drop_nulls()
        )
        right = linked.join(true, on=["salesforce_id", "xero_id"], how="semi").height
        queued = proposed.join(true, on=["salesforce_id", "xero_id"], how="semi").height
        precision, recall = right / max(linked.height, 1), right / max(true.height, 1)
        lines.append(
            f"links of {entity}: {linked.height} made, {true.height} true; precision {precision:.4f}, "
            f"recall {recall:.4f}; {proposed.height} to review, of which {queued} are true"
        )
    return "\n".join(lines)


def _pairs(operations: pl.DataFrame, entity: str) -> pl.DataFrame:
    links = operations.filter((pl.col("entity") == entity) & (pl.col("phase") == "link"))
    on_salesforce = pl.col("system") == "salesforce"
    return links.select(
        salesforce_id=pl.when(on_salesforce).then("record_id").otherwise("source_id"),
        xero_id=pl.when(on_salesforce).then("source_id").otherwise("record_id"),
    ).unique()

"""What a subject adds to the plan of customers, products and invoices, and how it reads the snapshot at hand.

The subjects are modules of their own (settling, paying, billing, enrolling); planning asks each in turn, as each
rests on what those before it planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from reconcile import model

if TYPE_CHECKING:
    from pipelines.decided import Decided
    from pipelines.warehouse import Snapshot


@dataclass(frozen=True)
class Addition:
    """Frames of reconcile.model; empty where nothing of the kind is added. raw: RAW by "side.object".

    adopted: LINKS that hold without a write. asked: DRIFT that waits for a person.
    """

    rejects: pl.DataFrame = field(default_factory=lambda: model.empty(model.REJECTS))
    operations: pl.DataFrame = field(default_factory=lambda: model.empty(model.OPERATIONS))
    adopted: pl.DataFrame = field(default_factory=lambda: model.empty(model.LINKS))
    asked: pl.DataFrame = field(default_factory=lambda: model.empty(model.DRIFT))
    raw: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    records: pl.DataFrame = field(default_factory=lambda: model.empty(model.RECORDS))
    names: pl.DataFrame = field(default_factory=lambda: model.empty(model.VALUES))


def unread(snapshot: Snapshot, side: str, names: tuple[str, ...]) -> dict[str, str]:
    """Give, of these objects, those whose snapshot is not of this pull, and why."""
    return {
        f"{side}.{name}": snapshot.errors.get(f"{side}.{name}", "it was not read yet")
        for name in names
        if f"{side}.{name}" in snapshot.errors or f"{side}.{name}" not in snapshot.complete_as_of
    }


def nothing_planned(entity: str, reason: str, *, side: str | None = None) -> pl.DataFrame:
    """Give the one row of REJECTS that says why nothing is planned of it."""
    row = {"stage": "pull", "entity": entity, "side": side, "reason": reason}
    return model.conform(pl.DataFrame([row], schema_overrides={"side": pl.String}), model.REJECTS)


def standing_links(decided: Decided, known: pl.DataFrame) -> pl.DataFrame:
    """Give the LINKS that hold: those of the journal, and those that need no write.

    A link that is still to be written may be refused by a person: what it brings is shown after it.
    """
    frames = [model.conform(frame, model.LINKS) for frame in (known, decided.plan.adopted_links)]
    return pl.concat(frames).unique("link_id", keep="first", maintain_order=True)

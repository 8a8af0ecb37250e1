"""A plan at rest: immutable Parquet files with a manifest, named by the plan's hash."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from reconcile.closing import ALARM
from reconcile.errors import PlanUnusable
from reconcile.model import PHASES

if TYPE_CHECKING:
    from pipelines.context import Context
    from pipelines.journal import PlanRow

TABLES: Final = (
    "operations",  # model.OPERATIONS
    "moves",  # model.BASE_MOVES
    "conflicts",  # model.DRIFT
    "drift",  # model.DRIFT
    "review",  # model.LINKS + fingerprint
    "rejects",  # model.REJECTS
    "findings",  # model.FINDINGS
    "links",  # model.LINKS: all that hold, and those to review
    "unmatched",  # entity, side, record_id, why
    "summary",  # reconcile.drift.UNIT_STANDING
    "control_totals",  # model.TOTALS
    "differences",  # model.DIFFERENCES
    "seen",  # model.SEEN
)


@dataclass(frozen=True)
class Planned:
    """A sealed plan: what would be written, what is left standing, and on what it rests.

    Its frames are those of TABLES. `names` gives a display name for a record id: personal values,
    kept in the local manifest alone.
    """

    hash: str
    file: Path | None
    created_at: datetime
    expires_at: datetime
    operations: pl.DataFrame
    moves: pl.DataFrame
    conflicts: pl.DataFrame
    drift: pl.DataFrame
    review: pl.DataFrame
    rejects: pl.DataFrame
    findings: pl.DataFrame
    links: pl.DataFrame
    unmatched: pl.DataFrame
    summary: pl.DataFrame
    control_totals: pl.DataFrame
    differences: pl.DataFrame
    seen: pl.DataFrame
    cost: Mapping[str, int]
    header: Mapping[
        str, Any
    ]  # pair, org, tenant, mapping hash, snapshot: what the hash covers besides operations
    complete_as_of: Mapping[str, datetime]  # by side.object
    beyond_limits: list[str] = field(default_factory=list)
    names: Mapping[str, str] = field(default_factory=dict)
    basis: Mapping[str, Any] = field(default_factory=dict)  # the same basis gives the same decisions
    rows: Mapping[str, int] = field(
        default_factory=dict
    )  # live rows by side.object, of the snapshot it rests on
    errors: Mapping[str, str] = field(default_factory=dict)  # by side.object: why it could not be read
    # What `cost` is made of, minutes, day_share, bytes and what they were reckoned by; see `planning`.
    price: Mapping[str, Any] = field(default_factory=dict)
    state: str = "sealed"

    @property
    def short(self) -> str:
        return self.hash[:10]

    @property
    def weights(self) -> Mapping[str, float]:
        """By "side.object" what a row weighed on the line when this plan was made, in bytes; see `row_weights`."""
        return self.price.get("weights", {})

    @property
    def recent(self) -> Mapping[str, int]:
        """By "side.object" the rows that the first look of its push lists again: they changed just before."""
        return self.price.get("recent", {})

    @property
    def seen_at(self) -> dict[str, datetime]:
        """By side the earliest time as of which all of its objects are known complete."""
        return earliest(self.complete_as_of)

    @property
    def waits(self) -> bool:
        return not self.operations.is_empty()

    @property
    def alarms(self) -> list[str]:
        """Why the control totals can't be believed; nothing, as a rule. A run with one ends as failed."""
        found = self.findings.filter(pl.col("check") == ALARM, ~pl.col("passed"))
        return found["message"].to_list()

    def phases(self) -> dict[str, int]:
        counted = dict(self.operations.group_by("phase").len().iter_rows())
        return {phase: int(counted.get(phase, 0)) for phase in PHASES}

    def totals(self) -> pl.DataFrame:
        """Give one row an entity: entity, matched, review, unmatched_salesforce, unmatched_xero."""
        links = self.links.group_by("entity").agg(
            matched=(pl.col("status") == "linked").sum(), review=(pl.col("status") == "review").sum()
        )
        alone = self.unmatched.group_by("entity").agg(
            unmatched_salesforce=(pl.col("side") == "salesforce").sum(),
            unmatched_xero=(pl.col("side") == "xero").sum(),
        )
        return links.join(alone, on="entity", how="full", coalesce=True).fill_null(0).sort("entity")

    def by_entity(self) -> list[dict[str, Any]]:
        """Give the counts of one run for the trend: entity, drift, conflicts, review, matched, unmatched."""
        counted = self.totals()
        for name in ("drift", "conflicts"):
            counts = getattr(self, name).group_by("entity").len(name)
            counted = counted.join(counts, on="entity", how="left").fill_null(0)
        unmatched = pl.col("unmatched_salesforce") + pl.col("unmatched_xero")
        return counted.select(
            "entity", "drift", "conflicts", "review", "matched", unmatched=unmatched
        ).to_dicts()

    def name_of(self, row: Mapping[str, Any]) -> str:
        for key in ("record_id", "source_id"):
            if name := self.names.get(row[key] or ""):
                return name
        return str(row["record_id"] or row["source_id"])


def earliest(complete_as_of: Mapping[str, datetime]) -> dict[str, datetime]:
    """Give by side the earliest time as of which all of its objects are known complete. Takes it by side.object."""
    seen: dict[str, datetime] = {}
    for name, at in complete_as_of.items():
        side = name.partition(".")[0]
        seen[side] = min(seen.get(side, at), at)
    return seen


def store(planned: Planned, folder: Path) -> Path:
    """Write the plan's files, each whole or not at all; give the operations' file."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tables = {name: _parquet(getattr(planned, name)) for name in TABLES}
    for name, data in tables.items():
        write_whole(_table_file(folder, planned.hash, name), data)
    manifest = {
        "plan": planned.hash,
        "created_at": planned.created_at.isoformat(),
        "expires_at": planned.expires_at.isoformat(),
        "cost": dict(planned.cost),
        "price": dict(planned.price),
        "header": dict(planned.header),
        "complete_as_of": {name: at.isoformat() for name, at in planned.complete_as_of.items()},
        "beyond_limits": planned.beyond_limits,
        "basis": dict(planned.basis),
        "rows": dict(planned.rows),
        "errors": dict(planned.errors),
        "names": dict(planned.names),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()},
    }
    write_whole(
        manifest_file(folder, planned.hash), json.dumps(manifest, ensure_ascii=False, indent=1).encode()
    )
    return _table_file(folder, planned.hash, "operations")


def seal_of(folder: Path, plan_hash: str) -> str:
    """Give the sha256 of a stored plan's manifest, which holds those of its tables; the journal keeps it."""
    return hashlib.sha256(manifest_file(folder, plan_hash).read_bytes()).hexdigest()


def load(folder: Path, plan_hash: str, *, seal: str | None = None) -> Planned:
    """Read a stored plan.

    seal: what `seal_of` gave when it was stored. Raises PlanUnusable where the plan is not there, or one byte
    of it is not as it was sealed.
    """
    try:
        if seal is not None and seal_of(folder, plan_hash) != seal:
            raise PlanUnusable(
                f"plan {plan_hash[:10]}: its manifest was changed after it was sealed. "
                "Make a new one with `reconcile plan`."
            )
        manifest = json.loads(manifest_file(folder, plan_hash).read_text(encoding="utf-8"))
        tables = {name: _table_file(folder, plan_hash, name).read_bytes() for name in TABLES}
    except (FileNotFoundError, ValueError):
        raise PlanUnusable(
            f"plan {plan_hash[:10]}: its files are not in {folder} or can't be read. "
            "Make a new one with `reconcile plan`."
        ) from None
    for name, data in tables.items():
        if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
            raise PlanUnusable(
                f"plan {plan_hash[:10]}: its {name} were changed after it was sealed. "
                "Make a new one with `reconcile plan`."
            )
    frames = {name: pl.read_parquet(io.BytesIO(data)) for name, data in tables.items()}
    return Planned(
        hash=plan_hash,
        file=_table_file(folder, plan_hash, "operations"),
        created_at=datetime.fromisoformat(manifest["created_at"]),
        expires_at=datetime.fromisoformat(manifest["expires_at"]),
        operations=frames["operations"],
        moves=frames["moves"],
        conflicts=frames["conflicts"],
        drift=frames["drift"],
        review=frames["review"],
        rejects=frames["rejects"],
        findings=frames["findings"],
        links=frames["links"],
        unmatched=frames["unmatched"],
        summary=frames["summary"],
        control_totals=frames["control_totals"],
        differences=frames["differences"],
        seen=frames["seen"],
        cost=manifest["cost"],
        price=manifest.get("price", {}),
        header=manifest["header"],
        complete_as_of={name: datetime.fromisoformat(at) for name, at in manifest["complete_as_of"].items()},
        beyond_limits=manifest["beyond_limits"],
        basis=manifest["basis"],
        rows=manifest["rows"],
        errors=manifest["errors"],
        names=manifest["names"],
    )


def expired(planned: Planned, now: datetime) -> bool:
    return now.astimezone(UTC) >= planned.expires_at


def manifest_file(folder: Path, plan_hash: str) -> Path:
    """Give the file that names a plan's tables and holds their hashes."""
    return folder / f"{plan_hash}.json"


def _table_file(folder: Path, plan_hash: str, name: str) -> Path:
    return folder / (f"{plan_hash}.parquet" if name == "operations" else f"{plan_hash}.{name}.parquet")


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, for its owner only."""
    temporary = path.with_suffix(path.suffix + ".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


# --- the newest ------------------------------------------------------------------------------------------


def last_plan(ctx: Context) -> Planned | None:
    for row in ctx.journal.plans(limit=1):
        try:
            return replace(stored(ctx, row), state=row.state)
        except PlanUnusable:
            return None
    return None


def stored(ctx: Context, row: PlanRow) -> Planned:
    return load(ctx.plans_folder, row.plan_hash, seal=row.manifest.get("seal"))

"""Decides what happened to each linked unit since both sides last agreed, and what follows from it.

Each side is compared with its own base, never with the other side's spelling. What both may do, and who
wins, the mapping says. A unit that was not observed on both sides is left alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import polars as pl

from reconcile.mapping import EntityMapping
from reconcile.model import (
    BASE_MOVES,
    BASES,
    DECISIONS,
    DRIFT,
    ENTITY,
    LINKS,
    PHASE,
    RECORDS,
    REJECTS,
    SIDE,
    UNITS,
    UTC,
    VALUES,
    conform,
    empty,
)
from reconcile.normalise import Canonical, canonical_values

OTHER: Final = {"salesforce": "xero", "xero": "salesforce"}
PAIR: Final = ["salesforce_id", "xero_id"]
KEY: Final = ["link_id", "unit"]
TIMES_BEFORE_STOPPED: Final = 3  # the same write, made so often already, is not made again

# One row a unit that is to be written, before it is an operation.
CHANGES: Final = {
    "link_id": pl.String,
    "entity": ENTITY,
    "unit": pl.String,
    "salesforce_id": pl.String,
    "xero_id": pl.String,
    "target": SIDE,
    "phase": PHASE,  # fill, settle, change
    "before": pl.String,  # canonical, of the target
    "after": pl.String,  # canonical, of the source
    "native_before": pl.String,
    "source_native": pl.String,
    "why": pl.String,  # changed, filled, winner, healed, decided
}
RECENT: Final = {
    "link_id": pl.String,
    "unit": pl.String,
    "system": SIDE,
    "before": pl.String,
    "after": pl.String,
    "at": UTC,
}


@dataclass(frozen=True)
class Merged:
    """changes CHANGES; drift DRIFT (conflicts too); moves BASE_MOVES; rejects REJECTS."""

    changes: pl.DataFrame
    drift: pl.DataFrame
    moves: pl.DataFrame
    rejects: pl.DataFrame


# --- Verdicts -----------------------------------------------------------------------------------------


def changed(side: str) -> pl.Expr:
    # Against its own base: a vendor that reformats what we wrote changed nothing.
    # ne_missing: a cleared field is a change, while null != "x" would be null.
    return pl.col(side).ne_missing(pl.col(f"{side}_base"))


OBSERVED = (pl.col("salesforce_observed") & pl.col("xero_observed")).fill_null(False)
SAME_VALUE = pl.col("salesforce").eq_missing(pl.col("xero"))
BOTH_CHANGED = changed("salesforce") & changed("xero")
EITHER_CHANGED = changed("salesforce") | changed("xero")
NO_BASE = pl.col("base_kind").is_null()
# Nothing was ever agreed about it: as it was found at first contact, or not even looked at.
AS_FOUND = (pl.col("base_kind") == "as_found").fill_null(False)
FOUND = NO_BASE | (AS_FOUND & ~EITHER_CHANGED)


def replaces_unseen(side: str, other: str) -> pl.Expr:
    """Found different, and changed on one side since: whoever did that saw their own side's value alone."""
    return (
        AS_FOUND
        & pl.col(f"{side}_base").ne_missing(pl.col(f"{other}_base"))
        & changed(side)
        & pl.col(other).is_not_null()
    )


# Neither may silently replace the other: the two never agreed. A blank takes what the other side says by then.
NEVER_AGREED = replaces_unseen("salesforce", "xero") | replaces_unseen("xero", "salesforce")

VERDICTS: Final = {  # The first case that holds decides.
    "not_observed": ~OBSERVED,
    "found_equal": FOUND & SAME_VALUE,
    "found_only_in_xero": FOUND & pl.col("salesforce").is_null(),
    "found_only_in_salesforce": FOUND & pl.col("xero").is_null(),
    "found_different": FOUND,
    "agreed": EITHER_CHANGED & SAME_VALUE,
    "conflict": BOTH_CHANGED | NEVER_AGREED,
    "salesforce_changed": changed("salesforce"),
    "xero_changed": changed("xero"),
    "unchanged": pl.lit(True),
}
VERDICT: Final = pl.Enum(list(VERDICTS))


def classify_units(units: pl.LazyFrame) -> pl.LazyFrame:
    """Say what happened to each linked unit since both sides last agreed.

    Takes UNITS: one row a link and unit; salesforce, xero (now) and salesforce_base, xero_base (as read
    back at the last agreement), all String in canonical form; null = no value; base_kind null = no base.
    Gives the same rows, in the same order, plus verdict (Enum, see VERDICTS).
    Raises nothing: every combination of values has a verdict.
    """
    cases = [pl.when(case).then(pl.lit(name)) for name, case in VERDICTS.items()]
    return units.with_columns(verdict=pl.coalesce(cases).cast(VERDICT))


# --- Units --------------------------------------------------------------------------------------------


def merge(
    entity: EntityMapping,
    links: pl.DataFrame,
    records: pl.DataFrame,
    values: pl.DataFrame,
    bases: pl.DataFrame,
    decisions: pl.DataFrame,
    *,
    recent: pl.DataFrame | None = None,
) -> Merged:
    """Decide for each unit of each link: write it, move its base, tell of it, or leave it.

    Takes LINKS that hold, RECORDS and VALUES of both sides, BASES with their canonical `value`, DECISIONS,
    and the writes of late (RECENT). Gives Merged, sorted by link and unit. Raises nothing.
    """
    links = conform(links, LINKS).filter(pl.col("entity") == entity.entity)
    units = _units(entity, links, conform(records, RECORDS), conform(values, VALUES), bases)
    judged = classify_units(units.lazy()).filter(pl.col("verdict") != "not_observed").collect()
    judged = _with_policies(judged, entity)
    judged = _with_decisions(judged, conform(decisions, DECISIONS).filter(pl.col("entity") == entity.entity))
    judged = _with_steps(judged)
    judged = _stop_oscillating(judged, conform(recent if recent is not None else empty(RECENT), RECENT))
    judged = judged.sort(KEY)
    return Merged(
        changes=_changes(judged), drift=_drift(judged), moves=_moves(judged), rejects=empty(REJECTS)
    )


def _units(
    entity: EntityMapping,
    links: pl.DataFrame,
    records: pl.DataFrame,
    values: pl.DataFrame,
    bases: pl.DataFrame,
) -> pl.DataFrame:
    """Give UNITS of the links whose records are in scope, with natives, stamps and both ids."""
    names = pl.DataFrame({"unit": [unit.name for unit in entity.units]}, schema={"unit": pl.String})
    wide = links.select("link_id", "entity", *PAIR).join(names, how="cross")
    for side in OTHER:
        wide = wide.join(_record_facts(records, side), on=f"{side}_id", how="inner", validate="m:1")
        wide = wide.join(_side_values(values, side), on=[f"{side}_id", "unit"], how="left", validate="m:1")
        wide = wide.join(_side_bases(bases, side), on=KEY, how="left", validate="m:1")
    in_scope = pl.all_horizontal(pl.col(f"{side}_in_scope").fill_null(False) for side in OTHER)
    return _as_read(wide.filter(in_scope))


def _record_facts(records: pl.DataFrame, side: str) -> pl.DataFrame:
    facts = {"record_id": "id", "status": "status", "in_scope": "in_scope", "modified_at": "stamp"}
    return records.filter(pl.col("side") == side).select(
        pl.col(name).alias(f"{side}_{fact}") for name, fact in facts.items()
    )


def _side_values(values: pl.DataFrame, side: str) -> pl.DataFrame:
    return values.filter(pl.col("side") == side).select(
        "unit",
        pl.col("record_id").alias(f"{side}_id"),
        pl.col("value").alias(side),
        pl.col("native").alias(f"{side}_native"),
        pl.col("observed").alias(f"{side}_observed"),
    )


def _side_bases(bases: pl.DataFrame, side: str) -> pl.DataFrame:
    # A base whose native piece is null was not observed then: nothing can be compared with it.
    known = conform(bases, {**BASES, "value": pl.String}).filter(
        pl.col("side") == side, pl.col("native").is_not_null()
    )
    return known.select(
        *KEY,
        pl.col("value").alias(f"{side}_base"),
        pl.col("native").alias(f"{side}_base_native"),
        pl.col("stamp").alias(f"{side}_base_stamp"),
        pl.col("base_kind").alias(f"{side}_base_kind"),
    )


def _as_read(wide: pl.DataFrame) -> pl.DataFrame:
    """Take a record that is older than its base as unchanged: a stale row must not undo our own write."""
    kinds = [pl.col(f"{side}_base_kind") for side in OTHER]
    complete = kinds[0].is_not_null() & kinds[1].is_not_null()
    # Of two kinds the one that says less: what is not agreed on both sides is not agreed.
    least = pl.coalesce(
        pl.when((kinds[0] == kind) | (kinds[1] == kind)).then(pl.lit(kind))
        for kind in ("as_found", "accepted", "agreed")
    )
    wide = wide.with_columns(base_kind=pl.when(complete).then(least).cast(UNITS["base_kind"]))
    fresh: list[pl.Expr] = []
    for side in OTHER:
        stale = complete & (pl.col(f"{side}_stamp") < pl.col(f"{side}_base_stamp")).fill_null(False)
        for now, then in ((side, "base"), (f"{side}_native", "base_native"), (f"{side}_stamp", "base_stamp")):
            fresh.append(pl.when(stale).then(f"{side}_{then}").otherwise(now).alias(now))
    wide = wide.with_columns(fresh)
    no_base = [
        pl.when(pl.col("base_kind").is_not_null()).then(f"{side}_base").alias(f"{side}_base")
        for side in OTHER
    ]
    return wide.with_columns(no_base)


# --- Policies -----------------------------------------------------------------------------------------


def _with_policies(units: pl.DataFrame, entity: EntityMapping) -> pl.DataFrame:
    """Add what the mapping says of each unit: to_salesforce, to_xero, owner, winner, policy, fill."""
    policies = [
        {
            "unit": unit.name,
            "to_salesforce": unit.receives("salesforce"),
            "to_xero": unit.receives("xero"),
            "owner": unit.owner,
            "winner": unit.winner,
            "policy": unit.drift,
            "fill": unit.fill,
        }
        for unit in entity.units
    ]
    return units.join(
        pl.DataFrame(policies, schema=POLICY), on="unit", how="left", validate="m:1", maintain_order="left"
    )


POLICY: Final = {
    "unit": pl.String,
    "to_salesforce": pl.Boolean,
    "to_xero": pl.Boolean,
    "owner": pl.String,
    "winner": pl.String,
    "policy": pl.String,
    "fill": pl.Boolean,
}

# --- Decisions of persons -----------------------------------------------------------------------------


def difference_fingerprint(salesforce: str | None, xero: str | None) -> str:
    """Give the mark of a difference: a decision about it holds while both canonical values are these."""
    return hashlib.sha256(json.dumps([salesforce, xero]).encode()).hexdigest()[:16]


def _with_decisions(units: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Add `decided`: what a person said last of exactly this difference; null = nothing."""
    about = [*PAIR, "unit"]
    said = decisions.filter(pl.col("kind").is_in(UNIT_DECISIONS), pl.col("fingerprint").is_not_null())
    last = said.sort("made_at").unique(about, keep="last", maintain_order=True)
    near = units.select(*about, "salesforce", "xero").join(
        last.select(*about, "kind", "fingerprint"), on=about, how="inner", validate="1:1"
    )
    marks = [difference_fingerprint(*pair) for pair in near.select("salesforce", "xero").iter_rows()]
    held = near.filter(pl.Series(marks, dtype=pl.String) == near["fingerprint"])
    return units.join(
        held.select(*about, decided="kind"), on=about, how="left", validate="1:1", maintain_order="left"
    )


UNIT_DECISIONS: Final = ("accept_drift", "salesforce_wins", "xero_wins")


# --- What follows -------------------------------------------------------------------------------------

VERDICT_IS: Final = {name: pl.col("verdict") == name for name in VERDICTS}
FIRST_CONTACT: Final = pl.col("verdict").is_in(
    ["found_only_in_xero", "found_only_in_salesforce", "found_different"]
)
ACCEPTED: Final = VERDICT_IS["unchanged"] & (pl.col("base_kind") == "accepted").fill_null(False) & ~SAME_VALUE
# What a step may be about: both sides show something else, and nobody let that stand.
OPEN: Final = (
    FIRST_CONTACT | VERDICT_IS["conflict"] | VERDICT_IS["salesforce_changed"] | VERDICT_IS["xero_changed"]
)
ACTIVE: Final = (pl.col("salesforce_status") == "active") & (pl.col("xero_status") == "active")


def _with_steps(units: pl.DataFrame) -> pl.DataFrame:
    """Add what follows: source and why (its value is written), or tell (drift), or move (base)."""
    cases = _winners()
    units = units.with_columns(
        source=pl.coalesce(pl.when(case).then(pl.lit(side)) for case, side, _ in cases),
        why=pl.coalesce(pl.when(case).then(pl.lit(why)) for case, _, why in cases),
    )
    let_stand = pl.col("decided").eq_missing("accept_drift") | (
        pl.col("source").is_null() & (pl.col("policy") == "accept") & ~VERDICT_IS["conflict"]
    )
    units = units.with_columns(accepted=OPEN & let_stand, received=ACTIVE & _received())
    source = pl.when(pl.col("received"), ~pl.col("accepted")).then("source")
    return units.with_columns(tell=_tell(), move=_move(), source=source)


def _winners() -> list[tuple[pl.Expr, str, str]]:
    """Give when one side's value should win: case, side, why. The first that holds decides."""
    cases = [
        (pl.col("decided").eq_missing(f"{side}_wins") & (OPEN | ACCEPTED), side, "decided") for side in OTHER
    ]
    for side, other in OTHER.items():
        receives = pl.col(f"to_{other}")
        heals = receives & (pl.col("policy") == "heal")
        cases += [
            # A blank at first contact is filled, never spread.
            (VERDICT_IS[f"found_only_in_{side}"] & receives & pl.col("fill"), side, "filled"),
            (VERDICT_IS["found_different"] & heals & pl.col("owner").eq_missing(side), side, "healed"),
            (VERDICT_IS["conflict"] & pl.col("winner").eq_missing(side), side, "winner"),
            (VERDICT_IS[f"{side}_changed"] & receives, side, "changed"),
            (VERDICT_IS[f"{other}_changed"] & ~pl.col(f"to_{side}") & heals, side, "healed"),
        ]
    return cases


def _received() -> pl.Expr:
    """True where the mapping lets the other side receive what the source has."""
    return pl.any_horizontal(
        (pl.col("source") == side) & pl.col(f"to_{other}") for side, other in OTHER.items()
    )


def _tell() -> pl.Expr:
    """Why a difference is only told; null where there is none, or something is done about it."""
    wanted = pl.col("source").is_not_null()
    reasons = {
        "archived": ~ACTIVE,
        "flows_against": wanted,
        "conflict": VERDICT_IS["conflict"] & (pl.col("policy") != "ask"),
        "waits_for_decision": pl.col("policy") == "ask",
        "as_found": FIRST_CONTACT,
        "policy_report": ~pl.col("to_salesforce") & ~pl.col("to_xero"),
    }
    why = pl.coalesce(
        *(pl.when(case).then(pl.lit(name)) for name, case in reasons.items()), pl.lit("flows_against")
    )
    done = pl.col("accepted") | pl.col("received").fill_null(False)
    return pl.when((OPEN | wanted) & ~done).then(why)


def _move() -> pl.Expr:
    """The kind of base that is kept without a write; null = the base stays as it is."""
    return (
        pl.when(VERDICT_IS["found_equal"] | VERDICT_IS["agreed"])
        .then(pl.lit("agreed"))
        .when("accepted")
        .then(pl.lit("accepted"))
        .when(FIRST_CONTACT & NO_BASE)
        .then(pl.lit("as_found"))
    )


def recent_writes(
    writes: pl.DataFrame,
    links: pl.DataFrame,
    entity: EntityMapping,
    salesforce: Canonical,
    xero: Canonical,
    *,
    region: str,
) -> pl.DataFrame:
    """Give the writes of late in canonical form (RECENT), read as their records are read now.

    Takes link_id, unit, system, native_before, native_after, at; LINKS; both sides' canonical form. At least
    six writes of a unit are needed to see one that goes back and forth between the systems three times.
    """
    regions = pl.concat([side.context.select("record_id", "region") for side in (salesforce, xero)])
    written = pl.when(pl.col("system") == "salesforce").then("salesforce_id").otherwise("xero_id")
    located = (
        writes.join(
            links.select("link_id", *PAIR).unique("link_id"), on="link_id", how="inner", validate="m:1"
        )
        .with_columns(side=pl.col("system"), record_id=written)
        .join(regions.unique("record_id"), on="record_id", how="left", validate="m:1", maintain_order="left")
    )
    for name in ("before", "after"):
        valued = canonical_values(located.with_columns(native=f"native_{name}"), entity, region=region)
        located = located.with_columns(valued["value"].alias(name))
    return conform(located, RECENT)


def _stop_oscillating(units: pl.DataFrame, recent: pl.DataFrame) -> pl.DataFrame:
    """Tell of a unit, instead of writing it, where the very same write was made three times of late.

    Something in the other system keeps undoing it; only a person's decision is written still.
    """
    write = ["link_id", "unit", "target", "before", "after"]
    facing = units.with_columns(_target_columns())
    often = (
        recent.rename({"system": "target"})
        .group_by(write)
        .len()
        .filter(pl.col("len") >= TIMES_BEFORE_STOPPED)
    )
    counted = facing.join(
        often, on=write, how="left", nulls_equal=True, validate="m:1", maintain_order="left"
    )
    stop = (
        pl.col("len").is_not_null() & pl.col("source").is_not_null() & (pl.col("why") != "decided")
    ).fill_null(False)
    return counted.with_columns(
        tell=pl.when(stop).then(pl.lit("oscillates")).otherwise("tell"), source=pl.when(~stop).then("source")
    )


def _target_columns() -> list[pl.Expr]:
    to_xero = pl.col("source") == "salesforce"
    return [
        pl.when(to_xero)
        .then(pl.lit("xero"))
        .when(~to_xero)
        .then(pl.lit("salesforce"))
        .cast(SIDE)
        .alias("target"),
        pl.when(to_xero).then("xero").otherwise("salesforce").alias("before"),
        pl.when(to_xero).then("salesforce").otherwise("xero").alias("after"),
        pl.when(to_xero).then("xero_native").otherwise("salesforce_native").alias("native_before"),
        pl.when(to_xero).then("salesforce_native").otherwise("xero_native").alias("source_native"),
    ]


def _changes(judged: pl.DataFrame) -> pl.DataFrame:
    phase = (
        pl.when(FIRST_CONTACT & (pl.col("why") == "filled"))
        .then(pl.lit("fill"))
        .when(FIRST_CONTACT | ACCEPTED)
        .then(pl.lit("settle"))
        .otherwise(pl.lit("change"))
    )
    return conform(judged.filter(pl.col("source").is_not_null()).with_columns(phase=phase), CHANGES)


def _drift(judged: pl.DataFrame) -> pl.DataFrame:
    direction = (
        pl.when(VERDICT_IS["conflict"])
        .then(pl.lit("both"))
        .when(VERDICT_IS["salesforce_changed"])
        .then(pl.lit("salesforce"))
        .when(VERDICT_IS["xero_changed"])
        .then(pl.lit("xero"))
        .otherwise(pl.lit("as_found"))
    )
    return conform(
        judged.filter(pl.col("tell").is_not_null()).with_columns(why="tell", direction=direction), DRIFT
    )


def _moves(judged: pl.DataFrame) -> pl.DataFrame:
    kept = judged.filter(pl.col("move").is_not_null()).drop("base_kind").rename({"move": "base_kind"})
    return conform(kept, BASE_MOVES)

"""Turns what was decided about linked records into operations: ids, units, projections, each with its reason.

An operation says what a person needs to judge it (before, after, reason, rule) and what the push needs to
make it (the native pieces). What can't be written is set aside with the reason, never bent to fit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps
from reconcile.mapping import EntityMapping
from reconcile.match import Matches
from reconcile.merge import Merged
from reconcile.model import LINKS, conform
from reconcile.native import Limits, limits_of, native_of, reference_piece, unfit
from reconcile.normalise import Canonical

OTHER: Final = {"salesforce": "xero", "xero": "salesforce"}
SPOKEN: Final = {"salesforce": "Salesforce", "xero": "Xero"}
PRIMARY: Final = ":primary"
SHARED_EMAIL: Final = ("EmailAddress",)  # Xero has one for a party and its primary person

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """All that is known and decided about one entity; the frames hold both sides."""

    mapping: EntityMapping
    records: pl.DataFrame
    values: pl.DataFrame
    projections: pl.DataFrame
    references: pl.DataFrame
    context: pl.DataFrame
    matches: Matches
    merged: Merged


def part_of(
    mapping: EntityMapping, salesforce: Canonical, xero: Canonical, matches: Matches, merged: Merged
) -> Part:
    """Lay both sides' canonical frames together."""
    sides = (salesforce, xero)
    return Part(
        mapping=mapping,
        records=pl.concat([side.records for side in sides]),
        values=pl.concat([side.values for side in sides]),
        projections=pl.concat([side.projections for side in sides]),
        references=pl.concat([side.references for side in sides]),
        context=pl.concat([side.context for side in sides]),
        matches=matches,
        merged=merged,
    )


def operation(
    part: Part,
    *,
    system: str,
    record_id: str | None,
    source_id: str | None,
    action: str,
    phase: str,
    unit: str,
    native_after: str,
    **rest: str | float | None,
) -> Row:
    """Give a row of OPERATIONS of an entity that is kept in agreement."""
    return operation_row(
        part.mapping.entity,
        part.mapping.side(system).object,
        system=system,
        record_id=record_id,
        source_id=source_id,
        action=action,
        phase=phase,
        unit=unit,
        native_after=native_after,
        **rest,
    )


def operation_row(
    entity: str,
    object_name: str,
    *,
    system: str,
    record_id: str | None,
    source_id: str | None,
    action: str,
    phase: str,
    unit: str,
    native_after: str,
    **rest: str | float | None,
) -> Row:
    """Give a row of OPERATIONS. Its id is the same whenever the same thing is to be done."""
    row: Row = {
        "system": system,
        "entity": entity,
        "object": object_name,
        "record_id": record_id,
        "source_id": source_id,
        "action": action,
        "phase": phase,
        "unit": unit,
        "native_after": native_after,
        **rest,
    }
    what = [
        row.get(name) for name in ("system", "entity", "object", "record_id", "source_id", "action", "unit")
    ]
    bytes_of = dumps([*what, rest.get("native_before"), native_after]).encode()
    return {"operation_id": hashlib.sha256(bytes_of).hexdigest()[:20], **row}


def reject(part: Part, *, side: str, record_id: str | None, unit: str, reason: str) -> Row:
    return {
        "stage": "plan",
        "entity": part.mapping.entity,
        "side": side,
        "record_id": record_id,
        "unit": unit,
        "reason": reason,
    }


def limits_by_side(part: Part, fields: pl.DataFrame) -> dict[str, Limits]:
    return {side: limits_of(fields, side, part.mapping.side(side).object) for side in OTHER}


# --- Links --------------------------------------------------------------------------------------------


def link_operations(part: Part) -> tuple[list[Row], list[Row]]:
    """Write the other side's id into linked records that do not carry it yet: (operations, rejects).

    A value that is not ours is never overwritten, and an archived record is not written.
    """
    kept: list[Row] = []
    rejects: list[Row] = []
    for side in OTHER:
        if part.mapping.side(side).reference is None:
            continue
        closed = _in_closed_hands(part, side)
        for row in _lacking(part, side).iter_rows(named=True):
            if row["there"] in closed:
                reason = (
                    f"an archived record of {SPOKEN[side]} still holds our id, and no edit can free it; "
                    "the link stands on the id that the other side carries"
                )
                rejects.append(
                    reject(part, side=side, record_id=row["here"], unit="reference", reason=reason)
                )
                continue
            if row["foreign"]:
                reason = f"{SPOKEN[side]} holds another value where our id belongs; it is left as it is"
                rejects.append(
                    reject(part, side=side, record_id=row["here"], unit="reference", reason=reason)
                )
                continue
            kept.append(_link_operation(part, side, row))
    return kept, rejects


def _in_closed_hands(part: Part, side: str) -> frozenset[str]:
    """The partners' ids that records of Xero hold which can't be edited: archived ones, and merged ones.

    Xero may count their ContactNumbers when it asks for a unique one (unconfirmed); then the survivor's would
    be refused in each run anew. Salesforce does not count what lies in the recycle bin.
    """
    if side != "xero":
        return frozenset()
    closed = part.records.filter(pl.col("side") == side, pl.col("status").is_in(["archived", "merged"]))
    return frozenset(closed["reference"].drop_nulls())


def _lacking(part: Part, side: str) -> pl.DataFrame:
    """Give the links whose record on this side does not carry the partner's id, and could."""
    own, other = f"{side}_id", f"{OTHER[side]}_id"
    records = part.records.filter(pl.col("side") == side).select(
        pl.col("record_id").alias(own), "reference", "status", "in_scope"
    )
    held = part.references.filter(pl.col("side") == side).select(
        pl.col("record_id").alias(own), "native", held="value", seen="observed"
    )
    links = (
        part.matches.links.drop("status")
        .join(records, on=own, how="inner", validate="m:1", maintain_order="left")
        .join(held, on=own, how="inner", validate="m:1", maintain_order="left")
        .join(_scope(part.records, OTHER[side]), on=other, how="inner", validate="m:1", maintain_order="left")
    )
    may = (pl.col("status") == "active") & pl.col("seen") & pl.col("in_scope") & pl.col("other_in_scope")
    return links.filter(may.fill_null(False), pl.col("reference").ne_missing(pl.col(other))).with_columns(
        here=pl.col(own),
        there=pl.col(other),
        foreign=pl.col("reference").is_null() & pl.col("held").is_not_null(),
    )


def _scope(records: pl.DataFrame, side: str) -> pl.DataFrame:
    # An archived contact is out of no scope, yet still linked by its id.
    return records.filter(pl.col("side") == side).select(
        pl.col("record_id").alias(f"{side}_id"), other_in_scope="in_scope"
    )


def _link_operation(part: Part, side: str, row: Mapping[str, Any]) -> Row:
    known = (
        "names a record that was merged into this one" if row["reference"] else "does not carry its id yet"
    )
    return operation(
        part,
        system=side,
        record_id=row["here"],
        source_id=row["there"],
        link_id=row["link_id"],
        action="link",
        phase="link",
        unit="reference",
        before=row["reference"],
        after=row["there"],
        native_before=row["native"],
        native_after=reference_piece(part.mapping, side, row["there"]),
        reason=f"linked by {_spoken_rule(row['rule'])}; {SPOKEN[side]} {known}",
        rule=row["rule"],
        match_rule=row["rule"],
        score=row["score"],
        evidence=row["evidence"],
    )


RULES: Final = {
    "known": "an earlier run",
    "our_ids": "the ids that the records carry",
    "survivor": "the record that it was merged into",
    "accepted": "a person's decision",
    "score": "a score over names, e-mail, phone and address",
    "name": "the name of the person within its company",
    "email": "the e-mail address",
    "code": "the product code",
    "product": "the product that it is a price of",
}


def _spoken_rule(rule: str) -> str:
    return RULES.get(rule, f"the {rule.replace('_', ' ')}")


def held_links(entity: str, pairs: pl.DataFrame) -> pl.DataFrame:
    """Give LINKS that hold without a write, by the ids that the records carry. Takes salesforce_id and xero_id."""
    made = pairs.select(
        "salesforce_id",
        "xero_id",
        pl.concat_str(pl.lit(entity), "salesforce_id", "xero_id", separator=":").alias("link_id"),
        entity=pl.lit(entity),
        status=pl.lit("linked"),
        rule=pl.lit("our_ids"),
        score=pl.lit(1.0),
        evidence=pl.lit("{}"),
        made_by=pl.lit("reconcile"),
    )
    return conform(made, LINKS)


# --- Units --------------------------------------------------------------------------------------------


def change_operations(
    part: Part, limits: Mapping[str, Limits], first_links: Mapping[str, str]
) -> tuple[list[Row], list[Row]]:
    """Write what merge decided: (operations, rejects).

    `first_links`: link_id -> the operation that makes the link.
    """
    kept: list[Row] = []
    rejects: list[Row] = []
    for row in part.merged.changes.iter_rows(named=True):
        unit, side = part.mapping.unit(row["unit"]), row["target"]
        record_id = row[f"{side}_id"]
        native = native_of(row["after"], unit, side, onto=row["native_before"])
        reason = unfit(native, unit, side, limits=limits[side])
        if reason:
            rejects.append(reject(part, side=side, record_id=record_id, unit=unit.name, reason=reason))
            continue
        kept.append(
            operation(
                part,
                system=side,
                record_id=record_id,
                source_id=row[f"{OTHER[side]}_id"],
                link_id=row["link_id"],
                action="update",
                phase=row["phase"],
                unit=unit.name,
                before=row["before"],
                after=row["after"],
                native_before=row["native_before"],
                native_after=native,
                source_native=row["source_native"],
                reason=_reason(row),
                rule=unit.at,
                depends_on=first_links.get(row["link_id"]),
            )
        )
    return kept, rejects


def _reason(row: Mapping[str, Any]) -> str:
    target, source = SPOKEN[row["target"]], SPOKEN[OTHER[row["target"]]]
    unit = names.spoken(row["unit"])
    did = "was cleared" if row["after"] is None else "changed"
    if row["why"] == "decided":
        return f"a person decided that the {unit} of {source} stands"
    if row["why"] == "filled":
        return f"{target} has no {unit}; {source} has one"
    if row["why"] == "winner":
        return f"the {unit} changed on both sides; by the mapping {source} wins"
    if row["why"] == "healed" and row["phase"] == "settle":
        return f"the {unit} differed at first contact; by the mapping {source} owns it"
    if row["why"] == "healed":
        return f"the {unit} changed in {target}, where the mapping does not let it change; it is put back"
    return f"the {unit} {did} in {source}; {target} still has the value of the last agreement"


def is_role_mailbox(address: str) -> bool:
    return re.search(names.ROLE_MAILBOX, address.lower()) is not None


# --- Projections --------------------------------------------------------------------------------------


def projection_operations(
    part: Part, limits: Mapping[str, Limits], first_links: Mapping[str, str]
) -> tuple[list[Row], list[Row]]:
    """Show in Salesforce what Xero knows, where it shows something else: (operations, rejects)."""
    kept: list[Row] = []
    rejects: list[Row] = []
    new = set(part.matches.new["link_id"])
    for row in _unlike_projections(part).iter_rows(named=True):
        unit = part.mapping.unit(row["unit"])
        native = native_of(row["desired"], unit, "salesforce", onto=row["native"])
        reason = unfit(native, unit, "salesforce", limits=limits["salesforce"])
        if reason:
            rejects.append(
                reject(part, side="salesforce", record_id=row["salesforce_id"], unit=unit.name, reason=reason)
            )
            continue
        kept.append(
            operation(
                part,
                system="salesforce",
                record_id=row["salesforce_id"],
                source_id=row["xero_id"],
                link_id=row["link_id"],
                action="update",
                phase="fill" if row["link_id"] in new or row["actual"] is None else "change",
                unit=unit.name,
                before=row["actual"],
                after=row["desired"],
                native_before=row["native"],
                native_after=native,
                reason=f"{unit.name.replace('_', ' ')}: Salesforce shows what Xero knows",
                rule=f"projection {unit.at}",
                depends_on=first_links.get(row["link_id"]),
            )
        )
    return kept, rejects


def _unlike_projections(part: Part) -> pl.DataFrame:
    actual, desired = (
        part.projections.filter(pl.col("side") == side, "observed").rename({"record_id": f"{side}_id"})
        for side in ("salesforce", "xero")
    )
    shown = part.records.filter(
        pl.col("side") == "salesforce", pl.col("status") == "active", pl.col("in_scope").fill_null(False)
    ).select(salesforce_id="record_id")
    pairs = (
        part.matches.links.select("link_id", "salesforce_id", "xero_id")
        .join(shown, on="salesforce_id", how="semi", maintain_order="left")
        .join(
            actual.select("salesforce_id", "unit", "kind", "native", actual="value"),
            on="salesforce_id",
            how="inner",
            validate="1:m",
        )
        .join(
            desired.select("xero_id", "unit", desired="value"),
            on=["xero_id", "unit"],
            how="inner",
            validate="m:1",
        )
    )
    unlike = pl.col("actual").ne_missing(pl.col("desired"))
    # A checkbox knows no blank: what Xero does not tell stays as it is.
    told = pl.col("desired").is_not_null() | (pl.col("kind") != "boolean")
    return pairs.filter(unlike & told).sort("salesforce_id", "unit")


# --- What two operations must not do ------------------------------------------------------------------


def without_double_writes(rows: Iterable[Row], parts: Mapping[str, Part]) -> tuple[list[Row], list[Row]]:
    """Part operations into those that alone write their fields, and rejects for the ones that come second.

    A party and its primary person are one contact in Xero, with one e-mail address.
    """
    written: dict[tuple[str, str, str, str], str] = {}
    kept: list[Row] = []
    rejects: list[Row] = []
    for row in rows:
        part = parts[row["entity"]]
        if row["record_id"] is None:
            kept.append(row)
            continue
        record = (row["system"], row["object"], row["record_id"].removesuffix(PRIMARY))
        places = [(*record, leaf) for leaf in part.mapping.unit(row["unit"]).leaves(row["system"])]
        if any(place in written for place in places):
            reason = f"another operation of this plan writes the same field ({row['unit']})"
            rejects.append(
                reject(part, side=row["system"], record_id=row["record_id"], unit=row["unit"], reason=reason)
            )
            continue
        written.update(dict.fromkeys(places, row["operation_id"]))
        kept.append(row)
    return kept, rejects


def without_email_in_other_hands(
    rows: Iterable[Row], parts: Mapping[str, Part]
) -> tuple[list[Row], list[Row]]:
    """Part operations into those to keep, and rejects for an e-mail that would become the other entity's.

    Xero has one address: a desk's is the party's, any other the primary person's, where there is one. Written
    against that, it would be read back as a value of the other entity, and never come to rest.
    """
    primaries = _with_primary(parts)
    kept: list[Row] = []
    rejects: list[Row] = []
    for row in rows:
        part, after = parts[row["entity"]], row.get("after")
        shared = row["action"] == "update" and row["system"] == "xero" and after is not None
        if shared and part.mapping.unit(row["unit"]).xero == SHARED_EMAIL:
            person = row["entity"] == "person"
            if person == is_role_mailbox(after) and (person or row["record_id"] in primaries):
                reason = "in Xero this address would belong to the " + (
                    "company" if person else "primary person"
                )
                rejects.append(
                    reject(part, side="xero", record_id=row["record_id"], unit=row["unit"], reason=reason)
                )
                continue
        kept.append(row)
    return kept, rejects


def _with_primary(parts: Mapping[str, Part]) -> frozenset[str]:
    """The contacts of Xero that have a primary person."""
    if "person" not in parts:
        return frozenset()
    persons = parts["person"].records.filter(pl.col("side") == "xero", pl.col("status") == "active")
    return frozenset(persons["parent_id"].drop_nulls())

"""Puts all that was decided into one plan: operations in the order in which they can be made and read.

Five phases, each of which can be approved by itself: link (only ids), fill (blanks at first contact), settle
(differences at first contact), create, change. What needs no write moves a base when the plan is sealed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from reconcile.creates import create_operations
from reconcile.mapped import SHOWN_UNIT
from reconcile.match import REVIEW, UNMATCHED
from reconcile.model import (
    BASE_MOVES,
    DRIFT,
    ENTITIES,
    LINKS,
    OPERATIONS,
    PHASES,
    REJECTS,
    SIDES,
    conform,
    empty,
    rows_frame,
)
from reconcile.operations import (
    Part,
    Row,
    change_operations,
    limits_by_side,
    link_operations,
    part_of,
    projection_operations,
    without_double_writes,
    without_email_in_other_hands,
)

SHARE_FROM: Final = 20  # records: of fewer a share says nothing


@dataclass(frozen=True)
class Plan:
    """What is to be done, what is kept without a write, and what is only told.

    operations OPERATIONS. adopted_links LINKS and adopted_moves BASE_MOVES: kept when the plan is sealed.
    moves BASE_MOVES: of links that come into being with an operation, kept with its outcome. drift and
    conflicts DRIFT; review LINKS and fingerprint; unmatched as in Matches; rejects REJECTS.
    """

    operations: pl.DataFrame
    adopted_links: pl.DataFrame
    adopted_moves: pl.DataFrame
    moves: pl.DataFrame
    drift: pl.DataFrame
    conflicts: pl.DataFrame
    review: pl.DataFrame
    unmatched: pl.DataFrame
    rejects: pl.DataFrame


def build_plan(
    parts: Sequence[Part],
    fields: pl.DataFrame,
    decisions: pl.DataFrame,
    needed: frozenset[str] = frozenset(),
    products: frozenset[str] = frozenset(),
) -> Plan:
    """Give the plan of all entities that are kept in agreement.

    Takes a Part for each entity, FIELDS, DECISIONS, the accounts that documents need as contacts, and the
    products that their lines need as items.
    Raises nothing: what can't be done is in rejects.
    """
    by_entity = {part.mapping.entity: part for part in parts}
    limits = {entity: limits_by_side(part, fields) for entity, part in by_entity.items()}
    rows: list[Row] = []
    rejects: list[Row] = []
    makers: dict[str, str] = {}
    for entity, part in by_entity.items():
        links, refused = link_operations(part)
        makers |= _makers(links, part)
        for made in (
            (links, refused),
            change_operations(part, limits[entity], makers),
            projection_operations(part, limits[entity], makers),
        ):
            rows += made[0]
            rejects += made[1]
    created = create_operations(by_entity, limits, decisions, makers, rows, needed, products)
    ordered = _in_order([*rows, *created.operations], by_entity)
    kept, double = without_double_writes(ordered, by_entity)
    kept, misplaced = without_email_in_other_hands(kept, by_entity)
    kept = _without_orphans(kept)
    return _plan(parts, kept, [*rejects, *created.rejects, *double, *misplaced], created.review, makers)


def _makers(links: Sequence[Row], part: Part) -> dict[str, str]:
    """New link -> the first operation that makes it: what else is written to the pair waits for it."""
    new = set(part.matches.new["link_id"])
    makers: dict[str, str] = {}
    for row in links:
        if row["link_id"] in new:
            makers.setdefault(row["link_id"], row["operation_id"])
    return makers


def _plan(
    parts: Sequence[Part],
    rows: Sequence[Row],
    rejects: Sequence[Row],
    review: Sequence[pl.DataFrame],
    makers: Mapping[str, str],
) -> Plan:
    later = pl.col("link_id").is_in(list(makers))
    moves = pl.concat([empty(BASE_MOVES), *(part.merged.moves for part in parts)])
    drift = pl.concat([empty(DRIFT), *(part.merged.drift for part in parts)])
    new = pl.concat([empty(LINKS), *(part.matches.new for part in parts)])
    told = [frame for part in parts for frame in (part.matches.incidents, part.merged.rejects)]
    return Plan(
        operations=rows_frame(rows, OPERATIONS),
        adopted_links=new.filter(~later),
        adopted_moves=moves.filter(~later),
        moves=moves.filter(later),
        drift=drift.filter(pl.col("why") != "conflict"),
        conflicts=drift.filter(pl.col("why") == "conflict"),
        review=pl.concat([empty(REVIEW), *(part.matches.review for part in parts), *review]),
        unmatched=pl.concat([empty(UNMATCHED), *(part.matches.unmatched for part in parts)]),
        rejects=pl.concat([*told, rows_frame(rejects, REJECTS)]),
    )


# --- Order --------------------------------------------------------------------------------------------


def _in_order(rows: Sequence[Row], parts: Mapping[str, Part]) -> list[Row]:
    """Party before person, phase after phase, then by name; what depends on an operation follows it."""
    names = _names(parts)
    units = {
        (entity, unit.name): place
        for entity, part in parts.items()
        for place, unit in enumerate(part.mapping.units, start=1)
    }
    at = {row["operation_id"]: row for row in rows}

    def place(row: Row) -> tuple[Any, ...]:
        maker = at.get(row.get("depends_on") or "", row)
        # A link that follows its create stands beside it, whatever its entity.
        head = maker if row["phase"] == "create" and row["action"] == "link" else row
        ids = (head["record_id"] or "", head["source_id"] or "")
        ours, theirs = ids if head["system"] == "salesforce" else ids[::-1]
        name = names.get(ours) or names.get(theirs) or ""
        return (
            PHASES.index(row["phase"]),
            ENTITIES.index(head["entity"]),
            name.casefold(),
            head.get("link_id") or head["source_id"] or "",
            row is not head,
            units.get((row["entity"], row["unit"]), 99),
            row["unit"],
            SIDES.index(row["system"]),
            row["record_id"] or "",
        )

    return sorted(rows, key=place)


def _names(parts: Mapping[str, Part]) -> dict[str, str]:
    named = [
        part.values.filter(pl.col("unit") == "name", pl.col("value").is_not_null()).select(
            "record_id", "value"
        )
        for part in parts.values()
    ]
    return dict(pl.concat(named).iter_rows()) if named else {}


def _without_orphans(rows: Sequence[Row]) -> list[Row]:
    """Drop operations whose maker was set aside; makers stand before what depends on them."""
    kept: list[Row] = []
    ids: set[str] = set()
    for row in rows:
        if row.get("depends_on") is None or row["depends_on"] in ids:
            kept.append(row)
            ids.add(row["operation_id"])
    return kept


def with_dependents(operations: pl.DataFrame, ids: Iterable[str]) -> set[str]:
    """Give these operations' ids and those of all that depend on them, at whatever distance."""
    out, new = set(ids), set(ids)
    while new:
        named = pl.col("native_after").str.contains_any([f'"$from":"{which}"' for which in sorted(new)])
        depends = pl.col("depends_on").is_in(list(new)).fill_null(False) | named.fill_null(False)
        new = set(operations.filter(depends)["operation_id"]) - out
        out |= new
    return out


def without_unneeded(operations: pl.DataFrame, on_demand: frozenset[str]) -> pl.DataFrame:
    """Leave out what was to be made for a document which is not made, with its dependents."""
    documents = operations.filter(pl.col("entity").is_in(["document", "bill"]))
    named = documents["native_after"].str.extract_all(r'"\$from":"[^"]+"').explode().drop_nulls()
    needed = {*documents["depends_on"].drop_nulls(), *named.str.slice(9).str.strip_chars('"')}
    out = with_dependents(operations, on_demand - needed)
    return operations.filter(~pl.col("operation_id").is_in(list(out)))


# --- How much it is -----------------------------------------------------------------------------------


def plan_hash(operations: pl.DataFrame, header: Mapping[str, Any]) -> str:
    """Give the plan's hash: sha256 in hex over its header and its operations, whatever their order."""
    rows = conform(operations, OPERATIONS).sort("operation_id").write_ndjson()
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, default=str).encode())
    digest.update(b"\n" + rows.encode())
    return digest.hexdigest()


def beyond_limits(
    operations: pl.DataFrame,
    records: pl.DataFrame,
    *,
    max_operations: int,
    max_share: float,
    max_amount: Mapping[str, Decimal] | None = None,
) -> list[str]:
    """Say why a plan is too large to be pushed unseen; an empty list: it is not.

    The share is of the records of one entity and side. Ids, new records and blanks that are filled don't count:
    first contact touches nearly everything, and each of its phases is looked at by itself. max_amount: currency
    -> the most that the invoices of one plan may add up to, and likewise its payments and its bills.
    """
    reasons: list[str] = []
    if operations.height > max_operations:
        reasons.append(f"{operations.height} operations, more than the limit of {max_operations}")
    active = records.filter(pl.col("status") == "active").group_by("entity", "side").agg(active=pl.len())
    replacing = (pl.col("action") == "update") & (pl.col("phase") != "fill")
    # A reserved number comes with a new record; what shows the ledger follows it wherever it leads.
    replacing &= ~pl.col("unit").is_in(["number", SHOWN_UNIT]).fill_null(False)
    touched = operations.filter(replacing).group_by("entity", side="system")
    shares = touched.agg(changed=pl.col("record_id").n_unique()).join(
        active, on=["entity", "side"], how="left"
    )
    for entity, side, changed, count in shares.sort("entity", "side").iter_rows():
        if changed > SHARE_FROM and changed > max_share * (count or 0):
            reasons.append(
                f"{changed} of {count or 0} records ({entity}, {side}) change, more than {max_share:.0%}"
            )
    return reasons + _beyond_amounts(operations, max_amount or {})


def _beyond_amounts(operations: pl.DataFrame, most: Mapping[str, Decimal]) -> list[str]:
    made = {
        "invoices": amounts_made(operations),
        "credit notes": _amounts(operations, "credit", ("total", "subtotal")),
        "payments": amounts_paid(operations),
        "bills": amounts_billed(operations),
    }
    return [
        f"{what} of {amount:,.2f} {currency} in all, more than the limit of {most[currency]:,.2f}"
        for what, amounts in made.items()
        for currency, amount in amounts.items()
        if currency in most and amount > most[currency]
    ]


def amounts_made(operations: pl.DataFrame) -> dict[str, Decimal]:
    """Give, by currency, what the invoices of a plan add up to; without tax where Xero adds that by itself."""
    return _amounts(operations, "document", ("total", "subtotal"))


def amounts_paid(operations: pl.DataFrame) -> dict[str, Decimal]:
    """Give, by currency, what the payments of a plan add up to."""
    return _amounts(operations, "payment", ("amount",))


def amounts_billed(operations: pl.DataFrame) -> dict[str, Decimal]:
    """Give, by currency, what the bills of a plan add up to; without tax where Xero adds that by itself."""
    return _amounts(operations, "bill", ("total", "subtotal"))


def _amounts(operations: pl.DataFrame, entity: str, names: Sequence[str]) -> dict[str, Decimal]:
    made = operations.filter(pl.col("entity") == entity, pl.col("action") == "create")
    found: dict[str, Decimal] = {}
    for text in made["after"]:
        told = json.loads(text)
        amount = next(told[name] for name in names if told[name] is not None)
        found[told["currency"]] = found.get(told["currency"], Decimal(0)) + Decimal(amount)
    return dict(sorted(found.items()))


def invoice_contacts(operations: pl.DataFrame) -> pl.Series:
    """Give the ids of the contacts to whom invoices of a plan are made out, and from whom its bills are."""
    made = operations.filter(pl.col("entity").is_in(["document", "bill"]), pl.col("action") == "create")
    who = [json.loads(text)["contact"] for text in made["after"]]
    return pl.Series("contact", [one for one in who if isinstance(one, str)], dtype=pl.String)


__all__ = [
    "Part",
    "Plan",
    "amounts_billed",
    "amounts_made",
    "amounts_paid",
    "beyond_limits",
    "build_plan",
    "invoice_contacts",
    "part_of",
    "plan_hash",
]

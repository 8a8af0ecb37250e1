"""Reads who is in which contact group out of the snapshot at hand, and plans who enters and leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from pipelines.context import Context
from pipelines.settling import standing_links, unread
from reconcile import model
from reconcile.mapped import GROUP_OBJECT, MEMBERSHIP
from reconcile.memberships import membership_operations, unlike_memberships

if TYPE_CHECKING:
    from pipelines.planning import Decided
    from pipelines.warehouse import Snapshot, Warehouse


@dataclass(frozen=True)
class Enrolling:
    """What was decided about contact groups, beside the plan; seen: RAW of the memberships that change."""

    rejects: pl.DataFrame
    operations: pl.DataFrame = field(default_factory=lambda: model.empty(model.OPERATIONS))
    records: pl.DataFrame = field(default_factory=lambda: model.empty(model.RECORDS))
    seen: pl.DataFrame = field(default_factory=lambda: model.empty(model.RAW))


def group_contacts(
    ctx: Context, warehouse: Warehouse, snapshot: Snapshot, decided: Decided
) -> Enrolling | None:
    """Say which contacts enter and leave a group; null where the mapping says nothing of it."""
    mapping = ctx.mapping.groups
    if mapping is None:
        return None
    missing = unread(snapshot, "xero", (GROUP_OBJECT,))
    if missing:
        reason = (
            f"{mapping.at}: nothing is planned for contact groups: {'; '.join(missing)} could not be read"
        )
        row = {"stage": "pull", "entity": MEMBERSHIP, "side": "xero", "reason": reason}
        return Enrolling(model.rows_frame([row], model.REJECTS))
    party = next(part for part in decided.parts if part.mapping.entity == "party")
    # A link that is still to be written may be refused by a person: the groups follow in the plan after it.
    standing = standing_links(decided, ctx.journal.links())
    held = party.matches.links.join(standing, on="link_id", how="semi")
    accounts = decided.raw[f"salesforce.{party.mapping.salesforce.object}"]
    found = unlike_memberships(party, held, accounts, warehouse.raw("xero", GROUP_OBJECT))
    made = ctx.journal.memberships_made(found.changes["record_id"].to_list())
    as_of = snapshot.complete_as_of[f"xero.{GROUP_OBJECT}"]
    return Enrolling(
        rejects=found.rejects,
        operations=membership_operations(found.changes, made, mapping, as_of=as_of),
        records=found.records,
        seen=found.seen,
    )

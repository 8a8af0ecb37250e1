"""Reads who is in which contact group out of the snapshot at hand, and plans who enters and leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.additions import Addition, nothing_planned, standing_links, unread
from pipelines.context import Context
from reconcile.mapped import GROUP_OBJECT, MEMBERSHIP
from reconcile.memberships import membership_operations, unlike_memberships

if TYPE_CHECKING:
    from pipelines.decided import Decided
    from pipelines.warehouse import Snapshot, Warehouse


def group_contacts(
    ctx: Context, warehouse: Warehouse, snapshot: Snapshot, decided: Decided
) -> Addition | None:
    """Say which contacts enter and leave a group; null where the mapping says nothing of it."""
    mapping = ctx.mapping.groups
    if mapping is None:
        return None
    missing = unread(snapshot, "xero", (GROUP_OBJECT,))
    if missing:
        why = f"nothing is planned for contact groups: {'; '.join(missing)} could not be read"
        return Addition(nothing_planned(MEMBERSHIP, f"{mapping.at}: {why}", side="xero"))
    party = next(part for part in decided.parts if part.mapping.entity == "party")
    # A link that is still to be written may be refused by a person: the groups follow in the plan after it.
    standing = standing_links(decided, ctx.journal.links())
    held = party.matches.links.join(standing, on="link_id", how="semi")
    accounts = decided.raw[f"salesforce.{party.mapping.salesforce.object}"]
    found = unlike_memberships(party, held, accounts, warehouse.raw("xero", GROUP_OBJECT))
    made = ctx.journal.memberships_made(found.changes["record_id"].to_list())
    as_of = snapshot.complete_as_of[f"xero.{GROUP_OBJECT}"]
    return Addition(
        rejects=found.rejects,
        operations=membership_operations(found.changes, made, mapping, as_of=as_of),
        records=found.records,
        raw={f"xero.{GROUP_OBJECT}": found.seen},  # of the memberships that change
    )

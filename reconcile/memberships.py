"""Decides which contact groups of Xero a linked contact enters and leaves, by what its Account says.

Set, not merged, and without a base: what the Account says now against who is in the group now. Groups that the
mapping does not name are nobody's business of ours: they are neither read nor written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps
from reconcile.decode import decode_all, decoded_bodies
from reconcile.ids import long_ids
from reconcile.mapped import GROUP_OBJECT, MEMBERSHIP, GroupMapping
from reconcile.model import OPERATIONS, RAW, RECORDS, REJECTS, UTC, Schema, conform, empty, rows_frame
from reconcile.operations import Part, Row, operation_row

UNIT: Final = "groups"
BETWEEN: Final = ";"  # names, in a field that holds several
GROUPS: Final = pl.Struct(
    {
        "ContactGroupID": pl.String,
        "Name": pl.String,
        "Status": pl.String,
        "Contacts": pl.List(pl.Struct({"ContactID": pl.String})),
    }
)
# One row a membership that is to change. goes_in: the contact enters, else it leaves. fills: it is in none of our
# groups until then.
CHANGES: Final[Schema] = {
    "record_id": pl.String,
    "account_id": pl.String,
    "name": pl.String,
    "goes_in": pl.Boolean,
    "fills": pl.Boolean,
}
# What we last made of a membership, and when by our clock.
MADE: Final[Schema] = {"record_id": pl.String, "went_in": pl.Boolean, "at": UTC}


@dataclass(frozen=True)
class Unlike:
    """CHANGES; what is told (REJECTS); RECORDS: each membership that is, or is to be; RAW of those that change."""

    changes: pl.DataFrame
    rejects: pl.DataFrame
    records: pl.DataFrame
    seen: pl.DataFrame


def unlike_memberships(
    part: Part, links: pl.DataFrame, accounts: pl.DataFrame, groups: pl.DataFrame
) -> Unlike:
    """Say who is in a group that the Account does not name, and who is in none of those that it names.

    Takes the parties, those of their LINKS that hold, RAW of their Account and of Xero's ContactGroup with its
    members. Decided is on contacts that are linked, active and in scope on both sides, and whose Accounts all tell
    the field. A name that is none of ours may be one of ours misspelled: it is told, and takes nobody out of a group.
    """
    mapping = part.mapping.groups
    assert mapping is not None, "asked for by the mapping"
    read = _groups(groups)
    if read is None:
        why = f"{mapping.at}: nothing is planned for contact groups: what Xero tells of them can't be read"
        return Unlike(empty(CHANGES), _told([{"reason": why}]), empty(RECORDS), empty(RAW))
    among = pl.DataFrame({"name": mapping.among}).select(low=names.lower(pl.col("name")), ours="name")
    pairs, said = _pairs(part, links), _said(accounts, mapping.salesforce)
    untold = pairs.join(said, on="account_id", how="anti")["contact_id"]
    known = pairs.filter(~pl.col("contact_id").is_in(untold.implode()))
    wanted = known.join(said, on="account_id", how="inner", validate="m:1").explode("named")
    wanted = wanted.with_columns(low=names.lower(pl.col("named")))
    foreign = wanted.drop_nulls("low").join(among, on="low", how="anti", maintain_order="left")
    there = read.join(among, on="low", how="semi").filter(pl.len().over("low") == 1)
    to_be = (
        wanted.join(there, on="low", how="inner")
        .group_by("contact_id", "group_id")
        .agg(pl.col("account_id").min(), pl.col("name").first())
    )
    first = known.group_by("contact_id").agg(pl.col("account_id").min())
    members = there.select("group_id", "name", contact_id="members").explode("contact_id").drop_nulls()
    is_in = members.unique().join(first, on="contact_id", how="inner").select(to_be.columns)
    both = ["contact_id", "group_id"]
    enter = to_be.join(is_in, on=both, how="anti").with_columns(goes_in=pl.lit(True))
    clear = ~pl.col("contact_id").is_in(foreign["contact_id"].implode())
    may_leave = clear if mapping.remove == "always" else pl.lit(False)
    leave = is_in.filter(may_leave).join(to_be, on=both, how="anti").with_columns(goes_in=pl.lit(False))
    changes = (
        pl.concat([enter, leave])
        .with_columns(
            record_id=_record_id(), fills=~pl.col("contact_id").is_in(is_in["contact_id"].implode())
        )
        .sort("account_id", "contact_id", names.lower(pl.col("name")), "group_id")
    )
    rejects = [
        *_foreign(foreign, mapping),
        *_absent(wanted.join(among, on="low", how="inner"), read, mapping),
    ]
    return Unlike(
        changes=conform(changes, CHANGES),
        rejects=_told(rejects),
        records=_records(pl.concat([to_be.select(both), is_in.select(both)]).unique()),
        seen=_seen(changes),
    )


def membership_operations(
    changes: pl.DataFrame, made: pl.DataFrame, mapping: GroupMapping, *, as_of: datetime | None
) -> pl.DataFrame:
    """Give the OPERATIONS that put contacts into groups and take them out.

    Takes CHANGES and MADE; as_of: when Xero told who is in its groups. What we made so since then is only older
    in the snapshot: nothing is to be done.
    """
    known = changes.join(made, on="record_id", how="left", validate="1:1", maintain_order="left")
    is_ours = pl.col("went_in").eq_missing(pl.col("goes_in"))
    since = (pl.col("at") > pl.lit(as_of, UTC)).fill_null(False)
    due = known.filter(~(is_ours & since)).with_columns(is_back=is_ours)
    return rows_frame([_operation(row, mapping) for row in due.iter_rows(named=True)], OPERATIONS)


def _operation(row: Mapping[str, Any], mapping: GroupMapping) -> Row:
    name, goes_in = row["name"], row["goes_in"]
    return operation_row(
        MEMBERSHIP,
        GROUP_OBJECT,
        system="xero",
        record_id=row["record_id"],
        source_id=row["account_id"],
        action="update",
        phase="fill" if row["fills"] else "change",
        unit=UNIT,
        before=None if goes_in else name,
        after=name if goes_in else None,
        native_before=_piece(not goes_in),
        native_after=_piece(goes_in),
        reason=_reason(row, mapping),
        rule=mapping.at,
    )


def _reason(row: Mapping[str, Any], mapping: GroupMapping) -> str:
    says = f"{mapping.salesforce} names the group {row['name']}"
    if not row["goes_in"]:
        says = f"{mapping.salesforce} does not name the group {row['name']}"
    if row["is_back"] and row["goes_in"]:
        return f"{says}; somebody took the contact out of it in Xero since we put it there: it is put back"
    if row["is_back"]:
        return f"{says}; somebody put the contact into it in Xero since we took it out: it is taken out again"
    return f"{says}, and the contact is {'not ' if row['goes_in'] else ''}in it"


def _piece(is_member: bool) -> str:
    return dumps({"Member": is_member})


# --- Reading ------------------------------------------------------------------------------------------


def _pairs(part: Part, links: pl.DataFrame) -> pl.DataFrame:
    """Give account_id and contact_id of links whose records are both active and in scope."""
    alive = part.records.filter(pl.col("status") == "active", pl.col("in_scope").fill_null(False))
    sides = {
        side: alive.filter(pl.col("side") == side)["record_id"].implode() for side in ("salesforce", "xero")
    }
    held = links.filter(pl.col("status").cast(pl.String) == "linked")
    return held.filter(
        pl.col("salesforce_id").is_in(sides["salesforce"]), pl.col("xero_id").is_in(sides["xero"])
    ).select(account_id="salesforce_id", contact_id="xero_id")


def _said(accounts: pl.DataFrame, field: str) -> pl.DataFrame:
    """Give account_id and the texts that its field names, of the Accounts that tell the field at all."""
    table, _ = decoded_bodies(accounts, {"Id": pl.String(), field: pl.String()}, id_field="Id")
    # A row kept from before the field was read lacks its key.
    tells = pl.col(field).is_not_null() | pl.col("body").str.contains(rf'"{field}"\s*:')
    told = table.with_columns(account_id=long_ids(table["record_id"])).filter(
        "readable", ~pl.col("faults").list.contains(field), tells
    )
    return told.select("account_id", named=pl.col(field).fill_null("").str.split(BETWEEN))


def _groups(raw: pl.DataFrame) -> pl.DataFrame | None:
    """Give low, name, group_id and members of the groups that are active; null where a body can't be read."""
    live = raw.filter(~pl.col("deleted").fill_null(False))
    bodies = decode_all(live["body"], GROUPS)
    if bodies is None:
        return None
    table = bodies.struct.unnest() if len(bodies) else pl.DataFrame(schema=dict(GROUPS))
    named = names.folded(pl.col("Name"))
    members = pl.col("Contacts").list.eval(pl.element().struct.field("ContactID").str.to_lowercase())
    return table.filter(pl.col("Status").fill_null("ACTIVE").str.to_uppercase() == "ACTIVE").select(
        low=names.lower(named),
        name=named,
        group_id=pl.col("ContactGroupID").str.to_lowercase(),
        members=members,
    )


def _record_id() -> pl.Expr:
    return pl.format("{}/{}", "group_id", "contact_id")


# --- What is told, and what checks need ---------------------------------------------------------------


def _foreign(foreign: pl.DataFrame, mapping: GroupMapping) -> list[Row]:
    told = foreign.group_by("account_id").agg(
        pl.col("named").str.strip_chars().unique().sort().str.join(", ")
    )
    return [
        {
            "side": "salesforce",
            "record_id": account_id,
            "reason": f"{mapping.salesforce} says {named}, which is none of the groups in `among` ({mapping.at}): "
            "correct it, or name it there; until then the contact is taken out of no group",
        }
        for account_id, named in told.sort("account_id").iter_rows()
    ]


def _absent(wanted: pl.DataFrame, read: pl.DataFrame, mapping: GroupMapping) -> list[Row]:
    """Tell of the groups that an Account names, and that Xero has not, or has twice."""
    counts = read.group_by("low").agg(groups=pl.len())
    asked = wanted.group_by("low", "ours").agg(accounts=pl.col("account_id").n_unique())
    found = asked.join(counts, on="low", how="left").with_columns(pl.col("groups").fill_null(0))
    told = found.filter(pl.col("groups") != 1).sort("low").select("ours", "accounts", "groups")
    return [
        {
            "side": "xero",
            "reason": f"{mapping.at}: {_lacking(name, count, there, mapping)}, or take it out of `among`",
        }
        for name, count, there in told.iter_rows()
    ]


def _lacking(name: str, accounts: int, groups: int, mapping: GroupMapping) -> str:
    who = "1 Account names" if accounts == 1 else f"{accounts} Accounts name"
    says = f"by {mapping.salesforce} {who} the group {name}"
    if not groups:
        return f"{says}, which is not in Xero: make it there"
    return f"{says}, of which Xero has {groups}: rename one there"


def _told(rows: list[Row]) -> pl.DataFrame:
    return rows_frame([{"stage": "plan", "entity": MEMBERSHIP, "unit": UNIT, **row} for row in rows], REJECTS)


def _records(memberships: pl.DataFrame) -> pl.DataFrame:
    rows = memberships.select(
        entity=pl.lit(MEMBERSHIP),
        side=pl.lit("xero"),
        record_id=_record_id(),
        object=pl.lit(GROUP_OBJECT),
        status=pl.lit("active"),
        parent_id="contact_id",
        in_scope=pl.lit(True),
    )
    return conform(rows.sort("record_id"), RECORDS)


def _seen(changes: pl.DataFrame) -> pl.DataFrame:
    """Give, as RAW, what the snapshot shows of the memberships that change."""
    body = pl.struct(ContactGroupID="group_id", ContactID="contact_id", Member=~pl.col("goes_in"))
    rows = changes.select(
        "record_id", deleted=pl.lit(False), row_hash=pl.lit(""), body=body.struct.json_encode()
    )
    return conform(rows, RAW)

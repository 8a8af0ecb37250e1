"""Reads from the journal what was written since a moment: for whoever looks afterwards whether it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from pipelines.intents import Intent, Operation, vendor_id
from pipelines.journal_knowledge import held_since
from pipelines.journal_store import stamp
from pipelines.journal_tables import intents, outcomes, requests
from pipelines.protocol import DONE
from reconcile.bodies import loads

if TYPE_CHECKING:
    from pipelines.journal import Journal


@dataclass(frozen=True)
class Look:
    """The last look at a record before its write left.

    ours, theirs: when, by either clock. stamp: the record's own then; null where it was not seen, since it had
    not changed.
    """

    ours: datetime
    theirs: datetime
    stamp: datetime | None


@dataclass(frozen=True)
class Written:
    """One record's write that was carried out. intent: with the id that the record has now."""

    intent: Intent
    record_id: str
    look: Look | None
    sent_at: datetime | None  # by our clock; null where nothing was sent: it was found, and adopted
    ended_at: datetime


def written_since(journal: Journal, since: datetime) -> list[Written]:
    """Give what was carried out, or found to be there, and ended at or after a moment; oldest first."""
    sent = _sent(journal, since)
    known = {one.operation_id for write in sent for one in write.intent.operations}
    return sorted([*sent, *_found(journal, since, known)], key=lambda one: one.ended_at)


def made_since(journal: Journal, since: datetime) -> dict[tuple[str, str], int]:
    """Count the new records that were carried out since a moment: (system, object) -> how many."""
    query = (
        select(intents.c.system, intents.c.object, func.count())
        .where(
            intents.c.ended_at >= stamp(since),
            intents.c.state.in_(DONE),
            intents.c.action == "create",
            intents.c.natural_key.is_not(None),
        )
        .group_by(intents.c.system, intents.c.object)
    )
    with journal.read() as con:
        return {(system, name): count for system, name, count in con.execute(query)}


def _sent(journal: Journal, since: datetime) -> list[Written]:
    joined = intents.join(requests, intents.c.request_id == requests.c.request_id)
    query = (
        select(intents, requests.c.first_sent_at)
        .select_from(joined)
        .where(intents.c.ended_at >= stamp(since), intents.c.state.in_(DONE))
    )
    with journal.read() as con:
        rows = con.execute(query).mappings().all()
    return [_written(journal, row) for row in rows]


def _written(journal: Journal, row: Any) -> Written:
    intent = journal.intents.read(row)
    record_id = vendor_id(row["result_id"] or row["record_id"] or "")
    ended_at = held_since(row["ended_at"])
    assert ended_at is not None, "asked for by it"
    return Written(intent, record_id, _look(intent.look), held_since(row["first_sent_at"]), ended_at)


def _look(told: Mapping[str, str | None] | None) -> Look | None:
    if not told or not told["ours"] or not told["theirs"]:
        return None
    seen = told.get("stamp")
    return Look(
        datetime.fromisoformat(told["ours"]),
        datetime.fromisoformat(told["theirs"]),
        datetime.fromisoformat(seen) if seen else None,
    )


def _found(journal: Journal, since: datetime, known: set[str]) -> list[Written]:
    """Give the new records that were there already when they were to be made."""
    query = select(outcomes).where(
        outcomes.c.at >= stamp(since), outcomes.c.outcome == "adopted", outcomes.c.action == "create"
    )
    with journal.read() as con:
        rows = con.execute(query).mappings().all()
    return [_adopted(journal, row) for row in rows if row["operation_id"] not in known]


def _adopted(journal: Journal, row: Any) -> Written:
    place = (row["plan_hash"], row["operation_id"])
    written = json.loads(journal.unseal("outcomes", place, row["written"]))
    body = loads(written["after"] or "{}")
    seen = {"object": "", "native_after": written["after"], "source_id": written.get("source_id")}
    operation = Operation.from_row({**row, **seen})
    intent = Intent(
        intent_id=row["operation_id"],
        system=row["system"],
        object="",
        entity=row["entity"],
        action="create",
        record_id=None,
        key_field=None,
        natural_key=None,
        body=body,
        operations=(operation,),
    )
    ended_at = held_since(row["at"])
    assert ended_at is not None, "asked for by it"
    return Written(intent, vendor_id(row["record_id"] or ""), None, None, ended_at)


def keyed(write: Written, object_name: str, key_field: str | None) -> Written:
    """Give a write with the object and key that the mapping says; what was sent knows its own."""
    intent = write.intent
    if intent.object and intent.key_field:
        return write
    key = str(intent.body.get(key_field or "") or "") or None
    return replace(write, intent=replace(intent, object=object_name, key_field=key_field, natural_key=key))

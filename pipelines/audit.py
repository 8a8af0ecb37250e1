"""Reads again what was written, after a push: each new record there once, with its amounts, and no edit lost.

What was made in this run and in the one before is looked at: a vendor may have applied late what that one
gave up on. Nothing is written. An incident is what must never be: a record made twice, or made and not there,
an invoice of other amounts, an edit of somebody else that our write went over. What somebody changed after
our write is theirs to change; it is told.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines.intents import Operation, key_fields
from pipelines.journal_knowledge import held_since
from pipelines.journal_store import dumps, stamp
from pipelines.journal_written import Written, keyed, written_since
from pipelines.learning import unlike
from pipelines.looks import Body, Looks, is_closed, modified_at, object_of, writes_invoice
from pipelines.protocol import utc_now
from pipelines.xero.client import parse_date
from reconcile.agreed import UNIT, WITHDRAWN, invoice_texts
from reconcile.bodies import loads
from reconcile.errors import Incident, LogInAgain, RetryLater, UnexpectedReply
from reconcile.mapped import MEMBERSHIP, OURS
from reconcile.model import AUDIT, SIDES, conform

if TYPE_CHECKING:
    from pipelines.clients import Clients
    from pipelines.journal import Journal
    from pipelines.journal_lease import Lease
    from reconcile.mapping import Mapping as RecordMapping

BY_KEY: Final = 400  # new records of one object that are asked for by their keys; more come as a delta
OVERLAP_S: Final = 900.0  # of that delta
MARGIN: Final = timedelta(seconds=2)  # between two clocks, one of which tells whole seconds
SAME_MOMENT: Final = timedelta(seconds=1)  # a write's entry in the History, and its record's stamp
SURE: Final = 3  # entries under one name before it is remembered as ours
LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
AUDITED_TO: Final = "audited_to"  # names in the journal's meta
SYSTEM: Final = "System Generated"  # whom the History names where no person did it (Xero's spec, 16.1.0)
HISTORY_USER: Final = "xero_history_user"
LAST_AUDIT: Final = "last_audit"
NOT_READ: Final = (RetryLater, LogInAgain, UnexpectedReply)


@dataclass(frozen=True)
class Audited:
    """What was found (AUDIT), and how long a window the writes of this run left, in ms, by system."""

    findings: pl.DataFrame
    windows: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def incidents(self) -> pl.DataFrame:
        return self.findings.filter("incident")

    @property
    def failed(self) -> bool:
        """An incident, or something that could not be looked at: a check that could not run is no pass."""
        return not self.findings.filter(pl.col("incident") | (pl.col("finding") == "not_read")).is_empty()

    def counts(self) -> dict[str, int]:
        """Findings by name; and the window between look and write: the longest and the middle one, in ms."""
        found = {
            str(name): int(n)
            for name, n in self.findings.group_by("finding").len().sort("finding").iter_rows()
        }
        for side, spans in sorted(self.windows.items()):
            if spans:
                found[f"{side}_window_ms_max"] = round(max(spans))
                found[f"{side}_window_ms_median"] = round(median(spans))
        return found

    def raise_for_incident(self) -> None:
        """Raises Incident where something is badly wrong."""
        wrong = self.incidents["message"].to_list()
        if wrong:
            more = f" (and {len(wrong) - 3} more; `reconcile report` lists them)" if len(wrong) > 3 else ""
            raise Incident(f"{'; '.join(wrong[:3])}{more}. Mend it there, then run `reconcile plan`.")


def audit(
    journal: Journal,
    clients: Clients,
    mapping: RecordMapping,
    *,
    since: datetime,
    history: str = "all",
    region: str = "GB",
    lease: Lease | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Audited:
    """Look at what was written and ended since a moment; gives what is to be told of it.

    since: when the run before began. history: of which records of Xero that were updated the History is read
    (all, documents, none), one call each; only of those that no audit has seen yet.
    What can't be read now is told as not_read, and looked at again by the next audit. The findings are kept in
    the journal, incidents in its chain too. Raises LeaseLost.
    """
    began = now()
    before = held_since(journal.get_meta(AUDITED_TO)) or LONG_AGO
    writes = [_as_mapped(one, mapping) for one in written_since(journal, min(since, before))]
    fresh = [one for one in writes if one.ended_at >= before]
    looks = Looks(clients, mapping, seen_at={}, overlap_s=0, region=region, now=now)
    looks.ask_for(op for one in writes for op in one.intent.operations)
    reading = Reading(journal, clients, looks)
    found = [
        *_new_ones(reading, writes, min(since, before)),
        *_updated(reading, fresh, history),
    ]
    findings = conform(
        pl.DataFrame(found, schema=dict.fromkeys(AUDIT, pl.String) | {"incident": pl.Boolean}), AUDIT
    )
    audited = Audited(findings.unique(maintain_order=True), _windows(fresh))
    _keep(journal, audited, began, reading, lease)
    return audited


@dataclass
class Reading:
    """What an audit reads with, and what it learns of Xero's History."""

    journal: Journal
    clients: Clients
    looks: Looks
    user: str | None = None  # as whom the History names us, where that is to be remembered
    failed: bool = False

    def unread(self, write: Written, error: Exception) -> dict[str, Any]:
        self.failed = True
        return _finding("not_read", write, f"could not be looked at after the write: {error}")


def _as_mapped(write: Written, mapping: RecordMapping) -> Written:
    intent = write.intent
    if intent.object:
        return write
    made_by = mapping.bill if intent.entity == "bill" else mapping.invoice
    known = intent.entity in mapping.entities or made_by is not None
    name = object_of(mapping, intent.entity, intent.system) if known else ""
    return keyed(write, name, key_fields(mapping).get((intent.entity, intent.system)))


def _finding(
    name: str,
    write: Written,
    message: str,
    *,
    incident: bool = False,
    entity: str | None = None,
    unit: str | None = None,
) -> dict[str, Any]:
    intent = write.intent
    return {
        "finding": name,
        "incident": incident,
        "system": intent.system,
        "entity": entity or intent.entity,
        "object": intent.object,
        "record_id": write.record_id,
        "unit": unit,
        "message": f"{intent.system} {intent.object} {write.record_id}: {message}",
    }


# --- what was made ---------------------------------------------------------------------------------------


def _new_ones(reading: Reading, writes: Sequence[Written], since: datetime) -> Iterable[dict[str, Any]]:
    """Tell of new records that are not there exactly once, or that amount to something else."""
    new = [one for one in writes if one.intent.action == "create" and one.intent.natural_key]
    for place in sorted({(one.intent.system, one.intent.object) for one in new}):
        some = [one for one in new if (one.intent.system, one.intent.object) == place]
        try:
            _read_new(reading, some, since)
        except NOT_READ as error:
            yield from (reading.unread(one, error) for one in some)
            continue
        withdrawn, changed = _moved(writes, WITHDRAWN), _moved(writes, UNIT)
        for one in some:
            yield from _once(reading.looks, one, withdrawn=one.record_id in withdrawn)
            # What we changed since is held to that write.
            if one.record_id not in changed:
                yield from _amounts(reading, one)


def _moved(writes: Sequence[Written], unit: str) -> set[str]:
    """Give the ids of the invoices that we changed (UNIT) or deleted and voided (WITHDRAWN) ourselves."""
    return {
        one.record_id
        for one in writes
        for operation in one.intent.operations
        if writes_invoice(operation) and operation.unit == unit
    }


def _read_new(reading: Reading, writes: Sequence[Written], since: datetime) -> None:
    system, object_name = writes[0].intent.system, writes[0].intent.object
    intents = [one.intent for one in writes]
    if len(intents) <= BY_KEY:
        reading.looks.fetch(intents)
    else:
        reading.looks.read_changed(system, object_name, since - timedelta(seconds=OVERLAP_S))
    unseen = [
        one.record_id for one in writes if reading.looks.record(system, object_name, one.record_id) is None
    ]
    reading.looks.fetch_ids(system, object_name, unseen)


def _once(looks: Looks, write: Written, *, withdrawn: bool) -> Iterable[dict[str, Any]]:
    intent = write.intent
    live = looks.holders(intent)
    body = looks.record(intent.system, intent.object, write.record_id)
    if len(live) > 1:
        told = f"made more than once: {', '.join(sorted(live))} carry one key"
        yield _finding("made_twice", write, told, incident=True)
    elif body is None:
        other = f"; its key is carried by {next(iter(live))}" if live else ""
        yield _finding("missing", write, f"it was made, and is not there{other}", incident=True)
    elif is_closed(body, intent.system) and withdrawn:
        return  # by our own write
    elif is_closed(body, intent.system):
        yield _finding("closed_since", write, "it was deleted, archived or voided since it was made")
    elif write.record_id not in live:
        yield _finding("edited_since", write, f"its {intent.key_field} was changed since it was made")


def _amounts(reading: Reading, write: Written) -> Iterable[dict[str, Any]]:
    """Hold an invoice or payment to what was planned, unless somebody has worked on it since."""
    intent = write.intent
    body = reading.looks.record(intent.system, intent.object, write.record_id)
    if body is None or is_closed(body, intent.system) or not intent.operations[0].after:
        return
    differs = unlike(intent, body)
    if not differs:
        return
    if _touched_since(write, body):
        yield _finding("edited_since", write, f"somebody changed it since it was made: {differs}")
    else:
        yield _finding("amounts_differ", write, f"it was made, and differs: {differs}", incident=True)


def _touched_since(write: Written, body: Body) -> bool:
    """Say whether the record's stamp is later than our write can have been."""
    moved = modified_at(body, write.intent.system)
    return moved is not None and moved > _theirs(write, write.ended_at) + MARGIN


# --- what was updated ------------------------------------------------------------------------------------


def _updated(reading: Reading, writes: Sequence[Written], history: str) -> Iterable[dict[str, Any]]:
    updates = [one for one in writes if one.intent.action == "update"]
    written = {op.link_id for one in updates for op in one.intent.operations if op.link_id is not None}
    bases = reading.journal.bases_of(sorted(written))
    yield from _overwritten(reading, _with_history(updates, history), bases)
    for place in sorted({(one.intent.system, one.intent.object) for one in updates}):
        some = [one for one in updates if (one.intent.system, one.intent.object) == place]
        try:
            reading.looks.read_changed(
                *place, min(_theirs(one, one.sent_at or one.ended_at) for one in some) - MARGIN
            )
            yield from _standing(reading, _last_of_each_unit(some), bases)
        except NOT_READ as error:
            yield from (reading.unread(one, error) for one in some)


def _with_history(writes: Sequence[Written], which: str) -> list[Written]:
    """Give all writes of the records whose History is to be read: each write left an entry there.

    Salesforce keeps no history that could be read; there the condition of the write guards (push.guard). Where only
    our own id or number was written there is nothing of a person's to be lost: it is a call each, and first contact
    writes an id into every record. A contact group has no History.
    """
    told = [
        one
        for one in writes
        if one.intent.system == "xero" and one.look is not None and one.sent_at is not None
        if one.intent.entity != MEMBERSHIP
    ]
    read = {
        (one.intent.object, one.record_id)
        for one in told
        if which == "all" or (which == "documents" and one.intent.entity == "document")
        if any(op.unit not in OURS for op in one.intent.operations)
    }
    return [one for one in told if (one.intent.object, one.record_id) in read]


def _last_of_each_unit(writes: Sequence[Written]) -> list[Written]:
    # By entity too: a party and its primary person are one contact of Xero's, and both have a name.
    last: dict[tuple[str, str, str], tuple[int, Any]] = {}
    for place, write in enumerate(writes):
        last |= {(write.record_id, op.entity, op.unit): (place, op) for op in write.intent.operations}
    return [
        replace(write, intent=replace(write.intent, operations=tuple(kept)))
        for place, write in enumerate(writes)
        if (kept := [op for where, op in last.values() if where == place])
    ]


def _standing(reading: Reading, writes: Sequence[Written], bases: pl.DataFrame) -> Iterable[dict[str, Any]]:
    """Tell of units that do not hold what we wrote any more: neither as sent nor as it was read back."""
    looks, withdrawn = reading.looks, _moved(writes, WITHDRAWN)
    agreed = {
        (row["link_id"], str(row["side"]), row["unit"]): row["native"] for row in bases.iter_rows(named=True)
    }
    seen = [
        (write, op, body)
        for write in writes
        if (body := looks.record(write.intent.system, write.intent.object, write.record_id)) is not None
        for op in write.intent.operations
    ]
    sent = looks.compare([(op, body) for _, op, body in seen])
    as_read = looks.compare(
        [(_as_kept(op, agreed.get((op.link_id, op.system, op.unit))), body) for _, op, body in seen]
    )
    for write, op, _ in seen:
        states = {sent[op.operation_id], as_read[op.operation_id]}
        if states == {"gone"} and (op.phase == "undo" or write.record_id in withdrawn):
            continue  # what closed it is our own write
        where = {"entity": op.entity, "unit": op.unit}
        if states == {"gone"}:
            yield _finding("closed_since", write, "it takes no writes any more, or hides the unit", **where)
        elif "after" not in states:
            why = f"{op.unit} does not hold what was written any more"
            yield _finding("edited_since", write, why, **where)


def _as_kept(operation: Operation, base: str | None) -> Operation:
    """Give an operation as if it had written what was read back then."""
    if not base:
        return operation
    if writes_invoice(operation):
        return replace(operation, after=invoice_texts([loads(base)])[0])
    return replace(operation, native_after=base)


# --- what was overwritten --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One line of a record's History."""

    at: datetime
    user: str


def _overwritten(
    reading: Reading, writes: Sequence[Written], bases: pl.DataFrame
) -> Iterable[dict[str, Any]]:
    """Tell of edits that somebody made between our look and our write."""
    entries: dict[tuple[str, str], list[Entry]] = {}
    for write in writes:
        place = (write.intent.object, write.record_id)
        if place in entries:
            continue
        try:
            entries[place] = _entries(reading.clients.xero.history(*place))
        except NOT_READ as error:
            yield reading.unread(write, error)
    stamps = _stamps(bases)
    by_record: dict[tuple[str, str], list[Written]] = {place: [] for place in entries}
    for write in writes:
        by_record.get((write.intent.object, write.record_id), []).append(write)
    matched = {place: _matched(entries[place], some, stamps) for place, some in by_record.items()}
    seen = [entry for found in matched.values() for entry in found.values()]
    name, sure = _our_name(
        reading.journal, seen, sum(map(len, by_record.values())), app=reading.clients.xero.app_name
    )
    reading.user = name if sure else None
    for place, write in ((place, write) for place, some in by_record.items() for write in some):
        ours = {key: entry for key, entry in matched[place].items() if entry.user == name}
        own = ours.get(write.intent.intent_id)
        others = [one for one in entries[place] if one not in ours.values()]
        seen_to = _seen_to(entries[place], write)
        foreign = [one for one in others if _in_window(one, write, own, stamps, seen_to)]
        if foreign:
            units = ", ".join(op.unit for op in write.intent.operations)
            when = ", ".join(sorted({f"{one.at:%Y-%m-%d %H:%M:%S} UTC" for one in foreign}))
            why = f"somebody changed it ({when}) after we looked and before we wrote {units}: that edit may be lost"
            yield _finding("overwritten", write, why, incident=True, unit=units)


def _entries(records: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Read a History; a note changes nothing."""
    found = [
        Entry(at, str(one.get("User") or ""))
        for one in records
        if one.get("Changes") != "Note" and (at := parse_date(one.get("DateUTC"))) is not None
    ]
    return sorted(found, key=lambda one: one.at)


def _stamps(bases: pl.DataFrame) -> dict[tuple[str, str], datetime]:
    """Give (link, unit) -> the stamp that Xero's record had when our write of it was read back."""
    rows = bases.filter(pl.col("side") == "xero", pl.col("stamp").is_not_null())
    return {(link_id, unit): at for link_id, unit, at in rows.select("link_id", "unit", "stamp").iter_rows()}


def _written_at(write: Written, stamps: Mapping[tuple[str, str], datetime]) -> datetime | None:
    """Give when Xero applied a write, by the record's stamp; null where it is not known."""
    assert write.sent_at is not None, "only writes that were sent have a History"
    earliest, latest = _theirs(write, write.sent_at) - MARGIN, _theirs(write, write.ended_at) + MARGIN
    found = [
        at
        for op in write.intent.operations
        if (at := stamps.get((op.link_id or "", op.unit))) is not None and earliest <= at <= latest
    ]
    return max(found, default=None)


def _matched(
    entries: Sequence[Entry], writes: Sequence[Written], stamps: Mapping[tuple[str, str], datetime]
) -> dict[str, Entry]:
    """Give the entry that each write of one record left, by intent: at the record's stamp, else as it went out.

    Those whose stamp is known choose first; of the others the last takes the last that is left.
    """
    left = list(entries)
    found: dict[str, Entry] = {}
    known = {one.intent.intent_id: at for one in writes if (at := _written_at(one, stamps)) is not None}
    ordered = sorted(writes, key=lambda one: (one.intent.intent_id not in known, -one.ended_at.timestamp()))
    for write in ordered:
        at = known.get(write.intent.intent_id)
        assert write.sent_at is not None, "only writes that were sent have a History"
        earliest, latest = _theirs(write, write.sent_at) - MARGIN, _theirs(write, write.ended_at) + MARGIN
        near = [one for one in left if at is not None and abs(one.at - at) <= SAME_MOMENT]
        within = [one for one in left if at is None and earliest <= one.at <= latest]
        if near and at is not None:
            found[write.intent.intent_id] = min(near, key=lambda one, at=at: abs(one.at - at))
        elif within:
            found[write.intent.intent_id] = within[-1]
        if write.intent.intent_id in found:
            left.remove(found[write.intent.intent_id])
    return found


def _our_name(journal: Journal, seen: Sequence[Entry], writes: int, *, app: str) -> tuple[str | None, bool]:
    """Give as whom the History names us, and whether that is sure enough to be remembered.

    As most entries of our own writes say; few of them are no ground to forget what was known, and say by
    themselves only a name that can be an app's: what stands where our write should may be a person's edit that
    it went over. Null where writes left none: then the History does not show what an app writes, and all that
    it shows is somebody's.
    """
    known = journal.get_meta(HISTORY_USER)
    named = Counter(one.user for one in seen).most_common(1)
    sure = bool(named) and named[0][1] >= SURE and named[0][1] * 5 >= writes * 4
    if known is not None and not sure:
        return known, False
    if not named or len(seen) * 5 < writes * 4:
        return None, False
    if sure:
        return named[0][0], True
    return next((one.user for one in seen if one.user in (app, SYSTEM)), None), False


def _seen_to(entries: Sequence[Entry], write: Written) -> datetime | None:
    """Give up to when the look shows what the History tells: to the entry that left the stamp that was seen."""
    assert write.look is not None, "only writes that were looked at have a window"
    stamp = write.look.stamp
    near = [one.at for one in entries if stamp is not None and abs(one.at - stamp) <= SAME_MOMENT]
    return min(near, key=lambda at: abs(at - stamp)) if near and stamp is not None else stamp


def _in_window(
    entry: Entry,
    write: Written,
    own: Entry | None,
    stamps: Mapping[tuple[str, str], datetime],
    seen_to: datetime | None,
) -> bool:
    """Say whether an edit came after the look, which did not show it, and before our write went over it."""
    look = write.look
    assert look is not None, "only writes that were looked at have a window"
    end = own.at if own else _written_at(write, stamps) or _theirs(write, write.ended_at) + MARGIN
    if entry.at > end:
        return False
    if entry.at > look.theirs:
        return True
    # Read while others wrote: what was done just then is in what was seen, or it is not.
    shown = seen_to is not None and entry.at <= seen_to
    return entry.at > look.theirs - MARGIN and not shown


def _theirs(write: Written, moment: datetime) -> datetime:
    """Give a moment of our clock by the vendor's, as far apart as they were at the look."""
    return moment + (write.look.theirs - write.look.ours) if write.look else moment


def _windows(writes: Sequence[Written]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for one in writes:
        if one.intent.is_edited and one.look and one.sent_at:
            found[one.intent.system].append((one.sent_at - one.look.ours).total_seconds() * 1000)
    return found


# --- keeping ---------------------------------------------------------------------------------------------


def _keep(journal: Journal, audited: Audited, began: datetime, reading: Reading, lease: Lease | None) -> None:
    rows = audited.findings.to_dicts()
    told = {"at": stamp(began), "counts": audited.counts(), "findings": rows}
    with journal.write(lease) as con:
        journal.put_meta(con, LAST_AUDIT, dumps(told))
        if not reading.failed:
            journal.put_meta(con, AUDITED_TO, stamp(began))
        if reading.user is not None:
            journal.put_meta(con, HISTORY_USER, reading.user)
        journal.log(con, "audited", audited.counts())
        for row in audited.incidents.to_dicts():
            journal.log(
                con,
                "incident",
                {name: row[name] for name in ("finding", "system", "object", "record_id", "unit")},
            )


def last_audit(journal: Journal) -> dict[str, Any]:
    """Give what the last audit found: at, counts, findings; empty before the first."""
    return json.loads(journal.get_meta(LAST_AUDIT) or "{}")


def run_before(journal: Journal, run_id: str = "") -> datetime:
    """Give when the push before this one began; long ago where there was none."""
    return journal.last_began("apply", before=run_id) or LONG_AGO

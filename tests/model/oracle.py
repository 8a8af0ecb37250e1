"""Says whether a schedule ended well, from the vendors' own logs: written from `docs/protocol.md`.

It knows the plan and what was done to the product; it asks the product nothing but how it says each
operation ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.model.books import PLAN, Planned
from tests.model.vendor import Change
from tests.model.world import World

HORIZON_S = 240.0
OLD_LOOK_S = 30.0
ON_THE_WAY_S = 40.0  # after a look that was young, a request may wait as long again, and for its bytes
DONE = ("confirmed", "adopted")


def faults_of(world: World) -> list[str]:
    """Give what is wrong at the end of a schedule; nothing: it ended well."""
    return [
        *world.wrong,
        *made_twice(world),
        *lost(world),
        *unsettled(world),
        *unplanned(world),
        *wrongly_sent(world),
        *disagreeing(world),
        *overwritten(world),
        *timid(world),
    ]


def _changes(world: World) -> list[Change]:
    return [*world.books.xero.changes, *world.books.salesforce.changes]


def made_twice(world: World) -> Iterable[str]:
    """One record for each natural key, whatever happened."""
    made = [one for one in _changes(world) if one.action == "create"]
    for planned in world.planned:
        if planned.key is None:
            continue
        field, value = planned.key
        times = sum(
            one.by != "person"
            and one.side == planned.operation.system
            and one.object == planned.operation.object
            and str(one.fields.get(field)) == value
            for one in made
        )
        if times > 1:
            yield f"made {times} times: {planned.operation.object} {value}"


def lost(world: World) -> Iterable[str]:
    """All done; or refused by the vendor, overtaken by a person, asked a person; or waiting for such a one."""
    excused: set[str] = set()
    touched = {(name, record_id) for _, name, record_id, _ in world.edits}
    refusing = {"partial", "400_whole", "doubled", "reordered", "extra", "short"}
    refused = any(fault in refusing for fault, _ in world.schedule.sends.values())
    for planned in world.planned:  # what others depend on comes first
        one, outcome = planned.operation, world.outcome(planned)
        where = (one.object, one.record_id or "")
        if outcome in DONE:
            continue
        if one.depends_on in excused:
            excused.add(one.operation_id)
        elif outcome == "asked":
            world.count("asked_a_person")
            excused.add(one.operation_id)
        elif outcome == "rejected" and (refused or where in touched or _squatted(world, planned)):
            excused.add(one.operation_id)
        elif outcome == "overtaken" and where in touched:
            world.count("overtaken_by_person")
            excused.add(one.operation_id)
        else:
            yield f"lost: {one.system} {one.object} {one.action} {one.unit} ended {outcome}"


def _squatted(world: World, planned: Planned) -> bool:
    return planned.key is not None and planned.key[1] in world.squatted


def unsettled(world: World) -> Iterable[str]:
    for row in world.kept.requests.values():
        if any(state in ("sending", "unknown") for state in row.states.values()):
            yield f"unsettled: {row.request_id} is {row.state}"


def unplanned(world: World) -> Iterable[str]:
    """Every change that was applied says what an operation of the plan says."""
    for change in _changes(world):
        if change.by != "person" and not any(_says(one, change) for one in world.planned):
            yield f"not in the plan: {change.side} {change.object} {change.action} {dict(change.fields)}"


def _says(planned: Planned, change: Change) -> bool:
    one = planned.operation
    if (one.system, one.object) != (change.side, change.object):
        return False
    if (one.action == "create") != (change.action == "create"):
        # An upsert that finds its record writes it.
        if not (one.action == "create" and planned.key and _key_of(planned, change)):
            return False
    elif one.action != "create" and one.record_id != change.record_id:
        return False
    body = json.loads(one.native_after or "{}")
    return all(name in body and _same(body[name], value) for name, value in change.fields.items())


def _key_of(planned: Planned, change: Change) -> bool:
    field, value = planned.key or ("", "")
    return str(change.fields.get(field)) == value


def _same(planned: Any, sent: Any) -> bool:
    if isinstance(planned, dict) and "$from" in planned:
        return bool(sent)
    if isinstance(planned, dict) and isinstance(sent, dict):
        return planned.keys() == sent.keys() and all(_same(planned[name], sent[name]) for name in planned)
    return planned == sent


def wrongly_sent(world: World) -> Iterable[str]:
    """Bytes were kept before they left; a key goes with one request, and not beyond its horizon."""
    first: dict[str, tuple[float, str]] = {}
    apart_s = max(world.schedule.ahead_s) - min(world.schedule.ahead_s)  # what the horizon leaves for skew
    for one in world.sendings:
        if not one.kept:
            yield f"bytes left at {one.at:.1f} that the journal did not have"
        if one.number != one.newest:
            yield f"bytes left at {one.at:.1f} of a worker that had lost its lease"
        if one.key is None:
            continue
        since, digest = first.setdefault(one.key, (one.at, one.digest))
        if digest != one.digest:
            yield f"one key with two requests at {one.at:.1f}"
        if one.at - since > HORIZON_S + apart_s + 6:
            yield f"a key left {one.at - since:.0f} s after it first left"
        elif one.at > since:
            world.count("key_repeated")


def disagreeing(world: World) -> Iterable[str]:
    """What the journal says was done is there, under the id that it says, and its link is known."""
    sides = {"xero": world.books.xero, "salesforce": world.books.salesforce}
    for planned in world.planned:
        ended = world.kept.outcomes.get((PLAN, planned.which))
        if ended is None or ended.outcome not in DONE:
            continue
        one = planned.operation
        records = sides[one.system].records[one.object]
        record = records.get(ended.record_id or "")
        what = f"{one.system} {one.object} {one.action}"
        if record is None:
            yield f"the journal has {ended.record_id} of {what}, and it is not there"
            continue
        if planned.key is not None:
            field, value = planned.key
            if str(record.get(field)) != value:
                yield f"the journal has {ended.record_id} of {what}, and that one carries another key"
            wanted = json.loads(one.after or "{}").get("subtotal")
            if wanted is not None and str(record["SubTotal"]) != wanted:
                yield f"the journal has {what} as done, and the invoice amounts to something else"
            yield from _unlinked(world, planned, ended.record_id or "")
        elif not any(key in one.native_after for _, _, who, key in world.edits if who == one.record_id):
            body = json.loads(one.native_after or "{}")
            if not all(
                record.get(name) and _shown(world, value, record[name]) for name, value in body.items()
            ):
                yield f"the journal has {what} as done, and the record holds another value"
        yield from _no_base(world, planned)


def _shown(world: World, planned: Any, held: Any) -> bool:
    """Say whether a field holds what it shall: of a record made before, that one's own."""
    if not (isinstance(planned, dict) and "$from" in planned):
        return planned == held
    made = world.kept.outcomes.get((PLAN, planned["$from"]))
    if made is None or not made.record_id:
        return False
    if "field" in planned:
        return held == world.books.xero.records["Invoice"][made.record_id].get(planned["field"])
    return held == planned.get("prefix", "") + made.record_id + planned.get("suffix", "")


def _unlinked(world: World, planned: Planned, record_id: str) -> Iterable[str]:
    one = planned.operation
    wanted = (one.source_id, record_id) if one.system == "xero" else (record_id, one.source_id)
    if not any((link["salesforce_id"], link["xero_id"]) == wanted for link in world.kept.links.values()):
        yield f"no link of {one.object} {record_id} with {one.source_id}"


def _no_base(world: World, planned: Planned) -> Iterable[str]:
    one = planned.operation
    if one.action == "update" and (one.link_id, one.system, one.unit) not in world.kept.bases:
        yield f"no base of {one.unit} in {one.system}"


def overwritten(world: World) -> Iterable[str]:
    """A person's edit is overwritten only inside the window between a look and a write."""
    for change in _changes(world):
        if change.by == "person" or change.action != "update":
            continue
        for name, before in change.before.items():
            if before != "BY HAND" or change.fields[name] == before:
                continue
            edited = max(
                at
                for at, object_name, record_id, field in world.edits
                if (object_name, record_id, field) == (change.object, change.record_id, name)
                and at <= change.at
            )
            left = max(
                (one.at for one in world.sendings if one.digest == change.by and one.at <= change.at),
                default=0.0,
            )
            world.count("edit_overwritten_in_window")
            if change.side == "salesforce" and world.schedule.guard == "record":
                yield f"an edit of Salesforce at {edited:.1f} was overwritten at {change.at:.1f}, guarded or not"
            seen = world.edits_seen.get((change.object, change.record_id))
            if edited < left - OLD_LOOK_S - ON_THE_WAY_S:
                yield f"an edit at {edited:.1f} was overwritten by what left at {left:.1f}"
            elif seen is not None and seen < left:
                yield f"an edit that a look showed at {seen:.1f} was overwritten by what left at {left:.1f}"


SURE = {"connect", "429", "429_day", "expired", "login", "busy"}


def timid(world: World) -> Iterable[str]:
    """What certainly was not carried out is not told as unknown."""
    faults = {fault for fault, _ in world.schedule.sends.values()}
    stopped = {what for what, _ in world.schedule.points.values()} & {"crash", "wipe", "sleep"}
    if faults and faults <= SURE and not stopped and not world.schedule.reads and world.counts["unknown"]:
        yield "a refusal that wrote nothing was taken as unknown"

"""Does what a plan says, once: looks, intends, sends, learns, and settles what it can't know.

Operations go in waves: all that depend on nothing that is still to come, grouped into one intent a record
and a few requests a side. Just before a request is made, what it would overwrite is compared with what the
plan saw.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines.delivery import WRITERS, Delivery, Timing
from pipelines.intents import Ended, Intent, Operation, Request, group, resolve, vendor_id
from pipelines.journal_knowledge import long_moves
from pipelines.journal_store import utc_now
from pipelines.learning import Learner
from pipelines.looks import Looks
from pipelines.outcomes import DONE, Outcomes, outcome_rows
from pipelines.settings import Limits
from reconcile.errors import Incident, LogInAgain, RetryLater
from reconcile.mapping import Mapping as RecordMapping
from reconcile.model import OPERATIONS, PHASES, SIDES, conform

if TYPE_CHECKING:
    from pipelines.clients import Clients
    from pipelines.journal import Journal
    from pipelines.journal_lease import Lease

ATTEMPTS: Final = 3  # at one operation in one push
Progress = Callable[[int, int, str], None]


def push(
    operations: pl.DataFrame,
    *,
    journal: Journal,
    lease: Lease,
    clients: Clients,
    mapping: RecordMapping,
    plan_hash: str,
    seen_at: Mapping[str, datetime],
    moves: pl.DataFrame | None = None,
    region: str = "GB",
    settings_limits: Limits | None = None,
    overlap_s: float = 900,
    phases: Collection[str] | None = None,
    run_id: str = "",
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Carry out the operations of a plan, and give OUTCOME_ROWS: one row for each of the chosen phases.

    Takes OPERATIONS; seen_at: by side, as of when the plan's snapshot is known complete; moves: the plan's
    BASE_MOVES, committed with the links that they belong to. What an earlier push of this plan made is told
    again, not sent. A limit, or a system that is away, ends its side: the rest of it waits.
    Raises LeaseLost, LogInAgain (what was done is in the journal), JournalBusy, FixSettings.
    """
    limits = settings_limits or Limits()
    settle(
        journal=journal,
        lease=lease,
        clients=clients,
        mapping=mapping,
        region=region,
        settings_limits=limits,
        run_id=run_id,
        now=now,
        sleep=sleep,
        progress=progress,
    )
    looks = Looks(clients, mapping, seen_at=seen_at, overlap_s=overlap_s, region=region, now=now)
    outcomes = Outcomes(journal, lease, plan_hash)
    learner = Learner(mapping, looks, outcomes)
    delivery = Delivery(
        clients, outcomes, learner, looks, Timing(limits.late_application_s, now, sleep), run_id
    )
    chosen = [one for one in _read(operations, moves) if phases is None or one.phase in phases]
    Push(outcomes, learner, looks, delivery, mapping, progress).run(chosen)
    return outcome_rows(outcomes.ended[one.operation_id] for one in chosen)


def settle(
    *,
    journal: Journal,
    lease: Lease,
    clients: Clients,
    mapping: RecordMapping,
    region: str = "GB",
    settings_limits: Limits | None = None,
    run_id: str = "",
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress | None = None,
    look_only: bool = False,
) -> pl.DataFrame:
    """Find out what became of every intent whose outcome is unknown, and give OUTCOME_ROWS.

    What never arrived ends as waiting: the next plan makes it anew. With look_only nothing is sent, and
    what can't be told yet stays unknown.
    """
    limits = settings_limits or Limits()
    ended: list[Ended] = []
    left = journal.intents.live()
    for place, sent in enumerate(left):
        if progress is not None:
            progress(place, len(left), "settling what an earlier run left unknown")
        looks = Looks(clients, mapping, seen_at={}, overlap_s=0, region=region, now=now)
        outcomes = Outcomes(journal, lease, sent.plan_hash)
        learner = Learner(mapping, looks, outcomes)
        delivery = Delivery(
            clients, outcomes, learner, looks, Timing(limits.late_application_s, now, sleep), run_id
        )
        delivery.settle_earlier(sent, look_only=look_only)
        ended += outcomes.ended.values()
    return outcome_rows(ended)


def _read(operations: pl.DataFrame, moves: pl.DataFrame | None) -> list[Operation]:
    """Read OPERATIONS, phase after phase; an operation that makes a link carries its bases."""
    by_link: dict[str, list[dict[str, Any]]] = {}
    if moves is not None:
        for row in long_moves(moves).iter_rows(named=True):
            stamp = row["stamp"].isoformat() if row["stamp"] else None
            by_link.setdefault(row["link_id"], []).append({**row, "stamp": stamp})
    found = [Operation.from_row(row) for row in conform(operations, OPERATIONS).iter_rows(named=True)]
    carried = [
        replace(one, moves=tuple(by_link.get(one.link_id or "", ()))) if one.makes_link else one
        for one in found
    ]
    return sorted(carried, key=lambda one: PHASES.index(one.phase))


class Push:
    """The order of the work: what can go now, what waits, what must not be written any more."""

    def __init__(
        self,
        outcomes: Outcomes,
        learner: Learner,
        looks: Looks,
        delivery: Delivery,
        mapping: RecordMapping,
        progress: Progress | None,
    ) -> None:
        self._outcomes, self._learner, self._looks = outcomes, learner, looks
        self._delivery, self._tries = delivery, delivery.tries
        self._progress, self._total = progress, 0
        self._key_fields = {
            (name, side): entity.side(side).reference
            for name, entity in mapping.entities.items()
            for side in SIDES
        }

    def run(self, operations: Sequence[Operation]) -> None:
        """Carry them all out, as far as it goes."""
        self._total = len(operations)
        self._outcomes.tell_again(operations)
        pending = [one for one in operations if one.operation_id not in self._outcomes.ended]
        try:
            while pending:
                ready, pending = self._ready(pending)
                if not ready:
                    self._outcomes.wait(pending, "what it depends on can't be made in this run")
                    break
                pending += self._wave(ready)
            self._look_for_twins()
        finally:
            self._leave_nothing_sending()
        self._say_how_far()
        if self._tries.refused_login is not None:
            raise self._tries.refused_login

    # -- the order

    def _ready(self, pending: Sequence[Operation]) -> tuple[list[Operation], list[Operation]]:
        """Split what can be sent now from what must wait for others; end what waits in vain."""
        coming = {one.operation_id for one in pending}
        making = {one.link_id for one in pending if one.makes_link}
        ready: list[Operation] = []
        later: list[Operation] = []
        for one in pending:
            why = self._missing(one)
            if why is None:
                ready.append(one)
            elif one.system not in self._tries.stopped and (
                one.depends_on in coming or (one.link_id is not None and one.link_id in making)
            ):
                later.append(one)
            else:
                self._outcomes.wait([one], why)
        return ready, later

    def _missing(self, one: Operation) -> str | None:
        """Say what an operation lacks; null when it can be sent."""
        if one.system in self._tries.stopped:
            return self._tries.stopped[one.system]
        if one.depends_on and not self._outcomes.is_done(one.depends_on):
            return "what it depends on was not made"
        if not one.makes_link and one.link_id and one.link_id not in self._outcomes.links:
            return "its link is not made"
        return None

    def _wave(self, ready: Sequence[Operation]) -> list[Operation]:
        """Send all that can be sent now; gives the operations that have to be tried again."""
        again: list[Operation] = []
        for some in self._lots(ready):
            intents, later = self._grouped(some)
            again += later
            for side in SIDES:
                for request in WRITERS[side].requests([one for one in intents if one.system == side]):
                    again += self._one(request)
        again += self._delivery.settle_deferred(self._tell)
        tired = [one for one in again if self._tries.attempts.get(one.operation_id, 0) >= ATTEMPTS]
        self._outcomes.wait(tired, f"tried {ATTEMPTS} times without an answer that tells")
        return [one for one in again if one.operation_id not in self._outcomes.ended]

    def _lots(self, ready: Sequence[Operation]) -> list[list[Operation]]:
        lots: dict[str, list[Operation]] = {}
        for one in ready:
            lots.setdefault(self._tries.lots.get(one.operation_id, ""), []).append(one)
        return list(lots.values())

    def _grouped(self, operations: Sequence[Operation]) -> tuple[list[Intent], list[Operation]]:
        new_ids = self._outcomes.new_ids()
        return group(
            [resolve(one, new_ids) for one in operations],
            apart=frozenset(self._tries.apart),
            key_fields=self._key_fields,
            attempts=self._tries.attempts,
            new_id=lambda: uuid.uuid4().hex,
        )

    def _one(self, request: Request) -> list[Operation]:
        """Look, then send what may be sent of one request."""
        side = request.system
        operations = [one for intent in request.intents for one in intent.operations]
        if side in self._tries.stopped:
            return operations
        try:
            kept = self._look(request)
        except (RetryLater, LogInAgain) as error:
            self._tries.stop(side, error)
            return operations
        again: list[Operation] = []
        for some in kept:
            again += self._delivery.deliver(some)
        self._tell(f"writing to {side}")
        return again

    def _tell(self, text: str) -> None:
        if self._progress is not None:
            self._progress(len(self._outcomes.ended), self._total, text)

    # -- looking before writing

    def _look(self, request: Request) -> list[Request]:
        """Compare what would be overwritten with what the plan saw; gives what may still be sent."""
        for object_name in sorted({one.object for one in request.intents}):
            self._looks.refresh(request.system, object_name)
        self._looks.fetch([one for one in request.intents if self._is_doubted(one)])
        unsettled = self._outcomes.journal.intents.live_keys()
        held = [one for one in request.intents if one.business_key in unsettled]
        free = [one for one in request.intents if one.business_key not in unsettled]
        ended = [Ended(op, "waiting", message=UNSETTLED) for one in held for op in one.operations]
        ended += self._seen([one for one in free if self._looks.was_seen(one)])
        for intent in free:
            if intent.action == "create":
                ended += self._delivery.adopted(intent)
        if not ended:
            return [request]
        self._outcomes.conclude(ended)
        over = {one.operation.operation_id for one in ended}
        left = [op for one in request.intents for op in one.operations if op.operation_id not in over]
        intents, _ = self._grouped(left)
        return WRITERS[request.system].requests(intents)

    def _is_doubted(self, intent: Intent) -> bool:
        return any(one.operation_id in self._tries.doubted for one in intent.operations)

    def _seen(self, intents: Sequence[Intent]) -> list[Ended]:
        """Say which operations on records that changed need no write, or may have none."""
        seen = [(one, self._looks.body(intent)) for intent in intents for one in intent.operations]
        states = self._looks.compare([(one, body) for one, body in seen if body is not None])
        ended: list[Ended] = []
        for one, body in seen:
            state = states.get(one.operation_id, "absent")
            if body is not None and state == "after":
                ended.append(self._learner.learn_one(one, "adopted", body, vendor_id(one.record_id or "")))
            elif state != "before":
                ended.append(Ended(one, "overtaken", message=OVERTAKEN[state]))
        return ended

    # -- the end

    def _leave_nothing_sending(self) -> None:
        """Whatever ended this run: what went out and was not answered is unknown now."""
        journal, lease = self._outcomes.journal, self._outcomes.lease
        for sent in journal.intents.live():
            if sent.state == "sending" and sent.plan_hash == self._outcomes.plan_hash:
                journal.intents.unknown(sent, burnt=False, fence=lease)

    def _look_for_twins(self) -> None:
        """Count the records that carry each new one's key: one each, or something is badly wrong."""
        for (side, object_name), intents in self._delivery.made.items():
            if side in self._tries.stopped:
                continue
            try:
                self._looks.refresh(side, object_name, older_than_s=0)
            except RetryLater:
                continue
            ids = sorted(
                record_id
                for intent in intents
                if len(holders := self._looks.holders(intent)) > 1
                for record_id in holders
            )
            if ids:
                self._outcomes.journal.note("made_twice", {"side": side, "object": object_name, "ids": ids})
                raise Incident(
                    f"{side}: new records are there more than once: {', '.join(ids[:10])}. "
                    "Archive or merge the twins there, then run `reconcile plan`."
                )

    def _say_how_far(self) -> None:
        journal, plan_hash = self._outcomes.journal, self._outcomes.plan_hash
        if journal.plan(plan_hash) is not None:
            whole = all(one.outcome in DONE for one in self._outcomes.ended.values())
            journal.set_plan_state(plan_hash, "applied" if whole else "applied_in_part")


UNSETTLED: Final = "an earlier write of this record is not settled yet"
OVERTAKEN: Final = {
    "absent": "the record is not there any more",
    "other": "it holds another value than the plan saw",
    "gone": "the record takes no writes, or does not show the value any more",
}

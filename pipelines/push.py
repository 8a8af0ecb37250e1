"""Does what a plan says, once: looks, intends, sends, learns, and settles what it can't know.

Operations go in waves: all that depend on nothing that is still to come, grouped into one intent a record
and a few requests a side. Just before a request is made, what it would overwrite is compared with what the
plan saw.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines import protocol
from pipelines.delivery import WRITERS, Delivery
from pipelines.intents import Ended, Intent, Operation, Request, group, key_fields, resolve, vendor_id
from pipelines.job_delivery import JobDelivery
from pipelines.journal_knowledge import long_moves
from pipelines.learning import Learner
from pipelines.looks import Looks
from pipelines.outcomes import Outcomes, outcome_rows
from pipelines.protocol import ATTEMPTS, DONE, Timing, utc_now
from pipelines.salesforce import writer as salesforce_writer
from pipelines.settings import Limits
from pipelines.settings import Push as PushSettings
from pipelines.sources import Sources
from pipelines.xero import writer as xero_writer
from reconcile.errors import LogInAgain, RetryLater
from reconcile.mapping import Mapping as RecordMapping
from reconcile.model import OPERATIONS, PHASES, SIDES, conform

if TYPE_CHECKING:
    from pipelines.clients import Clients
    from pipelines.journal import Journal
    from pipelines.journal_lease import Lease

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
    seen: pl.DataFrame | None = None,
    region: str = "GB",
    settings_limits: Limits | None = None,
    settings_push: PushSettings | None = None,
    overlap_s: float = 900,
    phases: Collection[str] | None = None,
    run_id: str = "",
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Carry out the operations of a plan, and give OUTCOME_ROWS: one row for each of the chosen phases.

    Takes OPERATIONS; seen_at: by side, as of when the plan's snapshot is known complete; moves: the plan's
    BASE_MOVES, committed with the links that they belong to; seen: its SEEN, with which the sources of new
    documents are compared once more. What an earlier push of this plan made is told
    again, not sent. A limit, or a system that is away, ends its side: the rest of it waits.
    Raises LeaseLost, LogInAgain (what was done is in the journal), JournalBusy, FixSettings, InvariantBroken.
    """
    work = Work(
        journal=journal,
        lease=lease,
        clients=clients,
        mapping=mapping,
        timing=_timing(settings_limits, now, sleep),
        how=settings_push or PushSettings(),
        region=region,
        run_id=run_id,
        progress=progress,
    )
    chosen = [one for one in _read(operations, moves) if phases is None or one.phase in phases]
    ended = carry_out(chosen, work, plan_hash=plan_hash, seen_at=seen_at, seen=seen, overlap_s=overlap_s)
    return outcome_rows(ended)


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
    work = Work(
        journal=journal,
        lease=lease,
        clients=clients,
        mapping=mapping,
        timing=_timing(settings_limits, now, sleep),
        how=PushSettings(),
        region=region,
        run_id=run_id,
        progress=progress,
    )
    return outcome_rows(settle_all(work, look_only=look_only))


def _timing(limits: Limits | None, now: Callable[[], datetime], sleep: Callable[[float], None]) -> Timing:
    limits = limits or Limits()
    return Timing(limits.late_application_s, now, sleep, limits.job_patience_s)


@dataclass(frozen=True)
class Work:
    """What a push works with: the journal, the right to write, both systems, the clock."""

    journal: Journal
    lease: Lease
    clients: Clients
    mapping: RecordMapping
    timing: Timing
    how: PushSettings
    region: str = "GB"
    run_id: str = ""
    progress: Progress | None = None
    looks: Callable[..., Looks] = Looks

    def delivery(
        self,
        plan_hash: str,
        operations: Iterable[Operation],
        *,
        planned: Collection[str] = (),
        seen_at: Mapping[str, datetime] | None = None,
        overlap_s: float = 0,
    ) -> Delivery:
        """Give what sends and settles for one plan, with looks that begin afresh."""
        outcomes = Outcomes(self.journal, self.lease, plan_hash, planned)
        looks = self.looks(
            self.clients,
            self.mapping,
            seen_at=seen_at or {},
            overlap_s=overlap_s,
            region=self.region,
            now=self.timing.now,
        )
        looks.ask_for(operations)
        learner = Learner(self.mapping, looks, outcomes)
        return JobDelivery(self.clients, outcomes, learner, looks, self.timing, self.run_id)


def carry_out(
    operations: Sequence[Operation],
    work: Work,
    *,
    plan_hash: str,
    seen_at: Mapping[str, datetime],
    seen: pl.DataFrame | None = None,
    overlap_s: float = 900,
) -> list[Ended]:
    """Settle what earlier runs left, then carry out these operations; gives how each ended, in their order."""
    settle_all(work)
    planned = {one.operation_id for one in operations}
    delivery = work.delivery(plan_hash, operations, planned=planned, seen_at=seen_at, overlap_s=overlap_s)
    sources = Sources(seen, operations, work.mapping, seen_at.get("salesforce"))
    Push(delivery, work, sources).run(operations)
    return [delivery.outcomes.ended[one.operation_id] for one in operations]


def settle_all(work: Work, *, look_only: bool = False) -> list[Ended]:
    """Settle every request of which something is unknown, oldest first."""
    ended: list[Ended] = []
    left = work.journal.intents.live()
    for place, sent in enumerate(left):
        if work.progress is not None:
            work.progress(place, len(left), "settling what an earlier run left unknown")
        delivery = work.delivery(sent.plan_hash, [op for one in sent.live for op in one.operations])
        if work.progress is not None:
            delivery.say = partial(work.progress, place, len(left))
        delivery.settle_earlier(sent, look_only=look_only)
        ended += delivery.outcomes.ended.values()
    if left:
        mine = {one.request_id for one in left}
        sending = [one for one in work.journal.intents.live() if one.state == "sending"]
        found = any(one.request_id in mine for one in sending)
        if found:
            work.lease.check()  # what a run sends that took over while this one slept is that run's
        protocol.must(
            not found,
            "P7",
            "a request that is still being sent after everything was settled",
        )
    return ended


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

    def __init__(self, delivery: Delivery, work: Work, sources: Sources) -> None:
        self._delivery, self._work, self._sources = delivery, work, sources
        self._outcomes, self._learner, self._looks = delivery.outcomes, delivery.learner, delivery.looks
        self._tries, self._total = delivery.tries, 0
        self._key_fields = key_fields(work.mapping)
        delivery.say = self._tell

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
        vain: dict[str, list[Operation]] = {}  # by reason: a stopped side leaves all of its own at once
        for one in pending:
            why = self._missing(one)
            if why is None:
                ready.append(one)
            elif one.system not in self._tries.stopped and (
                any(which in coming for which in one.needs)
                or (one.link_id is not None and one.link_id in making)
            ):
                later.append(one)
            else:
                vain.setdefault(why, []).append(one)
        for why, some in vain.items():
            self._outcomes.wait(some, why)
        return ready, later

    def _missing(self, one: Operation) -> str | None:
        """Say what an operation lacks; null when it can be sent."""
        if one.system in self._tries.stopped:
            return self._tries.stopped[one.system]
        if not all(self._outcomes.is_done(which) for which in one.needs):
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
                mine = [one for one in intents if one.system == side]
                for request in WRITERS[side].requests(mine, self._work.how):
                    again += self._one(request)
        again += self._delivery.settle_deferred(self._tell)
        self._delivery.leave_unsettled()
        asked, tired = self._tries.tired(again)
        self._outcomes.ask(asked, f"sent {ATTEMPTS} times: no answer came, and it is not there either")
        self._outcomes.wait(tired, f"tried {ATTEMPTS} times, and refused for now each time")
        return [one for one in again if one.operation_id not in self._outcomes.ended]

    def _lots(self, ready: Sequence[Operation]) -> list[list[Operation]]:
        lots: dict[str, list[Operation]] = {}
        for one in ready:
            lots.setdefault(self._tries.lots.get(one.operation_id, ""), []).append(one)
        return list(lots.values())

    def _grouped(self, operations: Sequence[Operation]) -> tuple[list[Intent], list[Operation]]:
        new_ids = self._outcomes.new_ids()
        resolved: list[Operation] = []
        for one in operations:
            try:
                resolved.append(resolve(one, new_ids, self._field_of))
            except KeyError:
                self._outcomes.wait([one], "the record made before does not tell what it needs yet")
            except (RetryLater, LogInAgain) as error:
                self._tries.stop(one.system, error)
                self._outcomes.wait([one], str(error))
        return group(
            resolved,
            apart=frozenset(self._tries.apart),
            key_fields=self._key_fields,
            attempts=self._tries.attempts,
            new_id=lambda: uuid.uuid4().hex,
        )

    def _field_of(self, operation_id: str, name: str) -> Any:
        """Give a field of the record that an operation made, as the vendor holds it."""
        made = self._outcomes.ended[operation_id]
        where = made.operation
        return self._looks.field(where.system, where.object, vendor_id(made.record_id or ""), name)

    def _one(self, request: Request) -> list[Operation]:
        """Look, then send what may be sent of one request."""
        side = request.system
        operations = [one for intent in request.intents for one in intent.operations]
        if side in self._tries.stopped:
            return operations
        try:
            self._let_the_lost_arrive(request)
            looked_by = self._work.timing.now()
            kept = self._look(request)
        except (RetryLater, LogInAgain) as error:
            self._tries.stop(side, error)
            return operations
        again: list[Operation] = []
        for some in kept:
            again += self._delivery.deliver(some, looked_by=looked_by)
        self._tell(f"writing to {side}")
        return again

    def _tell(self, text: str) -> None:
        if self._work.progress is not None:
            self._work.progress(len(self._outcomes.ended), self._total, text)

    # -- looking before writing

    def _let_the_lost_arrive(self, request: Request) -> None:
        """Wait, where the journal is younger than the vendor's time, and the vendor would take a second one.

        It may stand in the place of a journal that was lost with a request on its way.
        """
        if all(protocol.has_unique_key(one) for one in request.intents):
            return
        timing, made_at = self._work.timing, self._outcomes.journal.intents.made_at()
        due_s = protocol.wait_for_lost_journal_s(made_at, timing.now(), timing.settled_after_s)
        if due_s > 0:
            self._tell(f"waiting {due_s:.0f} s for what a lost journal may have sent")
            timing.sleep(due_s)
            for object_name in sorted({one.object for one in request.intents}):
                self._looks.refresh(request.system, object_name, older_than_s=0)

    def _look(self, request: Request) -> list[Request]:
        """Compare what would be overwritten with what the plan saw; gives what may still be sent."""
        resting = {one.object for one in request.intents if protocol.rests_on_look(one)}
        for object_name in sorted({one.object for one in request.intents}):
            lasts_s = protocol.OLD_S if object_name in resting else math.inf
            self._looks.refresh(request.system, object_name, older_than_s=lasts_s)
        self._looks.fetch(
            [one for one in request.intents if self._is_doubted(one) or xero_writer.writes_in_group(one)]
        )
        self._let_the_second_pass(request)
        unsettled = self._outcomes.journal.intents.live_keys()
        held = [one for one in request.intents if one.business_key in unsettled]
        free = [one for one in request.intents if one.business_key not in unsettled]
        ended = [Ended(op, "waiting", message=UNSETTLED) for one in held for op in one.operations]
        ended += self._seen([one for one in free if self._looks.was_seen(one)])
        for intent in free:
            if intent.action == "create":
                ended += self._delivery.adopted(intent)
        ended += self._stale(free, ended)
        if not ended:
            return [request]
        self._outcomes.conclude(ended)
        over = {one.operation.operation_id for one in ended}
        left = [op for one in request.intents for op in one.operations if op.operation_id not in over]
        intents, _ = self._grouped(left)
        return WRITERS[request.system].requests(intents, self._work.how)

    def _let_the_second_pass(self, request: Request) -> None:
        """Look again at what changed in the second of the look, when that second is over.

        Salesforce's condition compares whole seconds: from then on it sees every edit that the look did not.
        """
        if not salesforce_writer.is_guarded(request):
            return
        left = {one.intent_id: self._looks.second_left_s(one) for one in request.intents}
        fresh = [one for one in request.intents if left[one.intent_id] is not None]
        if fresh:
            self._work.timing.sleep(max(seconds for seconds in left.values() if seconds is not None))
            self._looks.fetch(fresh)

    def _is_doubted(self, intent: Intent) -> bool:
        return any(one.operation_id in self._tries.doubted for one in intent.operations)

    def _stale(self, intents: Sequence[Intent], ended: Sequence[Ended]) -> list[Ended]:
        """Say which documents may not be made, changed or withdrawn any more: their source changed since the plan."""
        over = {one.operation.operation_id for one in ended}
        left = [one for one in intents if one.operations[0].operation_id not in over]
        stale = self._sources.stale(left, self._looks)
        return [
            Ended(op, "overtaken", message=stale[one.intent_id])
            for one in left
            if one.intent_id in stale
            for op in one.operations
        ]

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

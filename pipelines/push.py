"""Does what a plan says, once: looks, intends, sends, learns, and settles what it can't know.

The order of one request: its intents with the exact bytes are durable; they leave; what the reply
proves commits together with the links and bases that it makes. An answer that is lost is never guessed:
the record is read, the same bytes go again under the same key while the key certainly lives, or the
vendor is given its time and the record is read again.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines import journal_crash as crash
from pipelines.intents import Ended, Intent, Operation, Request, Verdict, group, resolve, vendor_id
from pipelines.journal_intents import HorizonPassed, Sent, inside_horizon
from pipelines.journal_knowledge import long_moves
from pipelines.journal_store import utc_now
from pipelines.looks import Body, Looks, entity_id, is_closed, modified_at, own_id, piece_like
from pipelines.salesforce import writer as salesforce_writer
from pipelines.settings import Limits
from pipelines.xero import writer as xero_writer
from reconcile.bodies import dumps
from reconcile.errors import Incident, LogInAgain, OutcomeUnknown, RetryLater
from reconcile.mapping import Mapping as RecordMapping
from reconcile.match import link_id as name_link
from reconcile.model import BASES, OPERATIONS, OUTCOME_ROWS, PHASES, SIDES, conform
from reconcile.normalise import pieces

if TYPE_CHECKING:
    from pipelines.clients import Clients
    from pipelines.journal import Journal
    from pipelines.journal_lease import Lease

WRITERS: Final = {"salesforce": salesforce_writer, "xero": xero_writer}
KEY_LIVES_S: Final = 360.0  # Xero keeps a key for six minutes from the first call
SKEW_S: Final = 30.0
ATTEMPTS: Final = 3  # new attempts at one operation in one push
REPEATS: Final = 3  # of the same bytes under the same key
DONE: Final = frozenset({"confirmed", "adopted"})
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
    settle(
        journal=journal,
        lease=lease,
        clients=clients,
        mapping=mapping,
        region=region,
        settings_limits=settings_limits,
        run_id=run_id,
        now=now,
        sleep=sleep,
        progress=progress,
    )
    looks = Looks(clients, mapping, seen_at=seen_at, overlap_s=overlap_s, region=region, now=now)
    work = Push(
        journal,
        lease,
        clients,
        mapping,
        looks,
        settings_limits or Limits(),
        plan_hash,
        run_id,
        now,
        sleep,
        progress,
    )
    chosen = [one for one in _read(operations, moves) if phases is None or one.phase in phases]
    return work.run(chosen)


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
    waiting = journal.intents.live()
    if not waiting:
        return _rows([])
    ended: list[Ended] = []
    for place, sent in enumerate(waiting):
        if progress is not None:
            progress(place, len(waiting), "settling what an earlier run left unknown")
        looks = Looks(clients, mapping, seen_at={}, overlap_s=0, region=region, now=now)
        work = Push(
            journal,
            lease,
            clients,
            mapping,
            looks,
            settings_limits or Limits(),
            sent.plan_hash,
            run_id,
            now,
            sleep,
        )
        ended += work.settle_earlier(sent, look_only=look_only)
    return _rows(ended)


def _read(operations: pl.DataFrame, moves: pl.DataFrame | None) -> list[Operation]:
    """Read OPERATIONS, in the order of their phases; an operation that makes a link carries its bases."""
    by_link: dict[str, list[dict[str, Any]]] = {}
    if moves is not None:
        for row in long_moves(moves).iter_rows(named=True):
            stamp = row["stamp"].isoformat() if row["stamp"] else None
            by_link.setdefault(row["link_id"], []).append({**row, "stamp": stamp})
    rows = conform(operations, OPERATIONS).iter_rows(named=True)
    found = [Operation.from_row(row) for row in rows]
    carried = [
        replace(one, moves=tuple(by_link.get(one.link_id or "", ()))) if one.makes_link else one
        for one in found
    ]
    return sorted(carried, key=lambda one: PHASES.index(one.phase))


class Push:
    """One push: what it knows so far, and what it still has to do."""

    def __init__(
        self,
        journal: Journal,
        lease: Lease,
        clients: Clients,
        mapping: RecordMapping,
        looks: Looks,
        limits: Limits,
        plan_hash: str,
        run_id: str,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        progress: Progress | None = None,
    ) -> None:
        self.journal, self.lease, self.clients = journal, lease, clients
        self.mapping, self.looks, self.limits = mapping, looks, limits
        self.plan_hash, self.run_id = plan_hash, run_id
        self.now, self.sleep, self.progress = now, sleep, progress
        self.horizon_s = KEY_LIVES_S - limits.late_application_s - SKEW_S
        self.ended: dict[str, Ended] = {}
        self.earlier: dict[
            str, tuple[str, str | None]
        ] = {}  # operation -> outcome and id, of an earlier push
        self.links: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.apart: set[str] = set()  # refused together with others of their record
        self.lots: dict[str, str] = {}  # refused together with others of their request
        self.doubted: set[str] = set()  # to be read by itself before it is sent
        self.stopped: dict[str, str] = {}  # side -> why nothing more is sent there
        self.deferred: list[tuple[Sent, tuple[Intent, ...]]] = []
        self.made: dict[tuple[str, str], list[Intent]] = {}
        self.refused_login: LogInAgain | None = None
        self.total = 0
        self.key_fields = {
            (name, side): entity.side(side).reference
            for name, entity in mapping.entities.items()
            for side in SIDES
        }

    # -- the order of the work

    def run(self, operations: Sequence[Operation]) -> pl.DataFrame:
        self.total = len(operations)
        self._remember_earlier(operations)
        self.links = set(self.journal.links()["link_id"])
        pending = [one for one in operations if one.operation_id not in self.ended]
        try:
            while pending:
                ready, pending = self._ready(pending)
                if not ready:
                    self._wait(pending, "what it depends on can't be made in this run")
                    break
                pending += self._wave(ready)
            self._look_for_twins()
        finally:
            self._leave_nothing_sending()
        self._say_how_far()
        if self.refused_login is not None:
            raise self.refused_login
        return _rows(self.ended[one.operation_id] for one in operations)

    def _remember_earlier(self, operations: Sequence[Operation]) -> None:
        known = self.journal.outcomes(self.plan_hash).filter(pl.col("outcome").cast(pl.String).is_in(DONE))
        self.earlier = {
            operation_id: (outcome, record_id)
            for operation_id, outcome, record_id in known.select(
                "operation_id", "outcome", "record_id"
            ).iter_rows()
        }
        for one in operations:
            if one.operation_id in self.earlier:
                outcome, record_id = self.earlier[one.operation_id]
                self.ended[one.operation_id] = Ended(one, outcome, record_id)

    def _ready(self, pending: Sequence[Operation]) -> tuple[list[Operation], list[Operation]]:
        """Split what can be sent now from what must wait for others; end what waits in vain."""
        coming = {one.operation_id for one in pending}
        making = {one.link_id for one in pending if one.makes_link}
        ready: list[Operation] = []
        later: list[Operation] = []
        in_vain: list[tuple[Operation, str]] = []
        for one in pending:
            if one.system in self.stopped:
                in_vain.append((one, self.stopped[one.system]))
            elif one.depends_on and not self._is_done(one.depends_on):
                if one.depends_on in coming:
                    later.append(one)
                else:
                    in_vain.append((one, "what it depends on was not made"))
            elif not one.makes_link and one.link_id and one.link_id not in self.links:
                if one.link_id in making:
                    later.append(one)
                else:
                    in_vain.append((one, "its link is not made"))
            else:
                ready.append(one)
        self._conclude([Ended(one, "waiting", message=why) for one, why in in_vain])
        return ready, later

    def _is_done(self, operation_id: str) -> bool:
        ended = self.ended.get(operation_id)
        return (ended.outcome if ended else self.earlier.get(operation_id, ("",))[0]) in DONE

    def _new_ids(self) -> dict[str, str]:
        found = {
            operation_id: record_id for operation_id, (_, record_id) in self.earlier.items() if record_id
        }
        done = {
            key: one.record_id for key, one in self.ended.items() if one.outcome in DONE and one.record_id
        }
        return found | done

    def _wave(self, ready: Sequence[Operation]) -> list[Operation]:
        """Send all that can be sent now; gives the operations that have to be tried again."""
        again: list[Operation] = []
        for some in self._lots(ready):
            intents, later = self._grouped(some)
            again += later
            for side in SIDES:
                mine = [intent for intent in intents if intent.system == side]
                for request in WRITERS[side].requests(mine):
                    again += self._one(request)
        again += self._settle_deferred()
        tried_out = [one for one in again if self.attempts.get(one.operation_id, 0) >= ATTEMPTS]
        self._wait(tried_out, f"tried {ATTEMPTS} times without an answer that tells")
        return [one for one in again if one.operation_id not in self.ended]

    def _lots(self, ready: Sequence[Operation]) -> list[list[Operation]]:
        lots: dict[str, list[Operation]] = {}
        for one in ready:
            lots.setdefault(self.lots.get(one.operation_id, ""), []).append(one)
        return list(lots.values())

    def _grouped(self, operations: Sequence[Operation]) -> tuple[list[Intent], list[Operation]]:
        new_ids = self._new_ids()
        return group(
            [resolve(one, new_ids) for one in operations],
            apart=frozenset(self.apart),
            key_fields=self.key_fields,
            attempts=self.attempts,
            new_id=lambda: uuid.uuid4().hex,
        )

    def _one(self, request: Request) -> list[Operation]:
        """Look, intend, send and learn: one request. Gives the operations that have to be tried again."""
        side = request.system
        operations = [one for intent in request.intents for one in intent.operations]
        if side in self.stopped:
            return operations
        try:
            kept = self._look(request)
        except RetryLater as error:
            self.stopped[side] = str(error)
            return operations
        again: list[Operation] = []
        for some in kept:
            sent = self.journal.intents.begin(
                some, plan_hash=self.plan_hash, run_id=self.run_id, fence=self.lease
            )
            again += self._deliver(sent, some.intents, repeats=0)
            self._tell(f"writing to {side}")
        return again

    def _tell(self, text: str) -> None:
        if self.progress is not None:
            self.progress(len(self.ended), self.total, text)

    # -- looking before writing

    def _look(self, request: Request) -> list[Request]:
        """Compare what is about to be overwritten with what the plan saw; give what may still be sent."""
        for object_name in {intent.object for intent in request.intents}:
            self.looks.refresh(request.system, object_name)
        doubted = [
            one for one in request.intents if any(op.operation_id in self.doubted for op in one.operations)
        ]
        if doubted:
            self.looks.fetch(doubted)
        ended: list[Ended] = []
        for intent in request.intents:
            ended += self._seen_create(intent) if intent.action == "create" else []
        changed = [intent for intent in request.intents if intent.record_id and self.looks.was_seen(intent)]
        ended += self._seen_updates(changed)
        if not ended:
            return [request]
        self._conclude(ended)
        over = {one.operation.operation_id for one in ended}
        left = [op for intent in request.intents for op in intent.operations if op.operation_id not in over]
        intents, _ = self._grouped(left)
        return WRITERS[request.system].requests(intents)

    def _seen_create(self, intent: Intent) -> list[Ended]:
        """Adopt a record that carries the key already: an earlier attempt, or somebody else, made it."""
        body = self.looks.body(intent)
        if body is None:
            return []
        operation = intent.operations[0]
        if is_closed(body, intent.system):
            return [
                Ended(operation, "overtaken", message="a record with its key is there, and takes no writes")
            ]
        return self._learn([(intent, body, own_id(body, intent.system))], "adopted")

    def _seen_updates(self, intents: Sequence[Intent]) -> list[Ended]:
        """Say what of these records' operations needs no write, or may have none."""
        gone = [intent for intent in intents if self.looks.body(intent) is None]
        ended = [
            Ended(one, "overtaken", message="the record is not there any more")
            for intent in gone
            for one in intent.operations
        ]
        seen = [
            (one, body)
            for intent in intents
            if (body := self.looks.body(intent))
            for one in intent.operations
        ]
        for (operation, body), state in zip(seen, self.looks.compare(seen), strict=True):
            if state == "after":
                ended.append(
                    self._learn_one(operation, "adopted", body, vendor_id(operation.record_id or ""))
                )
            elif state == "other":
                ended.append(
                    Ended(operation, "overtaken", message="it holds another value than the plan saw")
                )
            elif state == "gone":
                ended.append(
                    Ended(operation, "overtaken", message="the record takes no writes, or hides the value")
                )
        return ended

    # -- sending

    def _deliver(self, sent: Sent, live: Sequence[Intent], *, repeats: int) -> list[Operation]:
        """Send the bytes of a request; gives the operations that have to be tried again."""
        first = sent.sends == 0
        try:
            reply = self._transmit(sent)
        except HorizonPassed:
            return self._settle(sent, live, repeats=REPEATS)
        except OutcomeUnknown:
            self.journal.intents.unknown(sent, burnt=False, fence=self.lease)
            return self._settle(self._left(sent), live, repeats=repeats)
        except (RetryLater, LogInAgain) as error:
            return self._not_sent(sent, live, error, first=first)
        verdicts = WRITERS[sent.request.system].read(sent.request, reply.status, reply.body)
        told = {
            intent.intent_id: verdict for intent, verdict in zip(sent.request.intents, verdicts, strict=True)
        }
        return self._heed(
            self._left(sent), [(one, told[one.intent_id]) for one in live], reply.status, repeats
        )

    def _transmit(self, sent: Sent) -> Any:
        request = sent.request
        horizon_s = self.horizon_s if sent.idempotency_key else float("inf")

        def leaving() -> None:
            self.journal.intents.leaving(sent, request.body, horizon_s=horizon_s, fence=self.lease)

        with self.clients.writing(leaving):
            crash.point()
            if request.system == "xero":
                reply = self.clients.xero.send(
                    request.method,
                    request.path,
                    request.body,
                    idempotency_key=sent.idempotency_key,
                    query=request.query,
                )
            else:
                reply = self.clients.salesforce.send(request.method, request.path, request.body)
            crash.point()
        return reply

    def _left(self, sent: Sent) -> Sent:
        """Give the request as the journal has it now: when it left, how often, whether its key is burnt."""
        return next((one for one in self.journal.intents.live() if one.request_id == sent.request_id), sent)

    def _not_sent(
        self, sent: Sent, live: Sequence[Intent], error: RetryLater | LogInAgain, *, first: bool
    ) -> list[Operation]:
        """Nothing of this sending was carried out. Whether an earlier one was is still unknown."""
        side = sent.request.system
        self.stopped[side] = str(error)
        if isinstance(error, LogInAgain):
            self.refused_login = error
        if not first:
            self.journal.intents.unknown(sent, burnt=False, fence=self.lease)
            self._stay_unknown(live)
            return []
        self._close(sent, [(one, []) for one in live], sending_failed=True)
        return [op for intent in live for op in intent.operations]

    def _heed(
        self, sent: Sent, told: Sequence[tuple[Intent, Verdict]], status: int, repeats: int
    ) -> list[Operation]:
        """Do what the verdicts of a reply ask for."""
        if all(verdict.kind == "unknown" for _, verdict in told):
            burnt = sent.request.system == "xero" and xero_writer.keeps_failure(status)
            self.journal.intents.unknown(sent, burnt=burnt, fence=self.lease, status=status)
            return self._settle(self._left(sent), [intent for intent, _ in told], repeats=repeats)
        ended, again = self._decided(sent, told)
        self._close(sent, ended, status=status)
        unknown = [intent for intent, verdict in told if verdict.kind == "unknown"]
        if unknown:
            again += self._settle(self._left(sent), unknown, repeats=REPEATS)
        return again

    def _decided(
        self, sent: Sent, told: Sequence[tuple[Intent, Verdict]]
    ) -> tuple[list[tuple[Intent, list[Ended]]], list[Operation]]:
        ended = self._confirmed(
            [(intent, verdict) for intent, verdict in told if verdict.kind == "confirmed"]
        )
        again: list[Operation] = []
        found = [intent for intent, verdict in told if verdict.kind == "exists"]
        if found:
            self.looks.fetch(found)
        apart = [intent for intent, verdict in told if verdict.kind == "apart"]
        for place, intent in enumerate(apart):
            half = "a" if place < len(apart) / 2 else "b"
            for one in intent.operations:
                self.lots[one.operation_id] = sent.request_id + half
        for intent, verdict in told:
            if verdict.kind == "exists":
                body = self.looks.body(intent)
                there = body is not None and self._seen_create(intent)
                ended.append(
                    (intent, there or [Ended(intent.operations[0], "rejected", message=verdict.message)])
                )
            elif verdict.kind == "rejected" and len(intent.operations) > 1:
                # One unit at fault would hide the others: each goes by itself now.
                self.apart |= {one.operation_id for one in intent.operations}
                ended.append((intent, []))
                again += intent.operations
            elif verdict.kind in ("rejected", "overtaken"):
                every = [Ended(one, verdict.kind, message=verdict.message) for one in intent.operations]
                ended.append((intent, every))
            elif verdict.kind in ("again", "apart"):
                ended.append((intent, []))
                again += self._tried(intent)
        return ended, again

    def _tried(self, intent: Intent) -> tuple[Operation, ...]:
        for one in intent.operations:
            self.attempts[one.operation_id] = self.attempts.get(one.operation_id, 0) + 1
            self.doubted.add(one.operation_id)
        return intent.operations

    def _confirmed(self, told: Sequence[tuple[Intent, Verdict]]) -> list[tuple[Intent, list[Ended]]]:
        """Learn from what was written: the records as they are now."""
        read_back = self._read_back([(intent, verdict.record_id or "") for intent, verdict in told])
        made = []
        for intent, verdict in told:
            record_id = verdict.record_id or ""
            body = verdict.body or read_back.get((intent.object, record_id))
            ended = self._learn([(intent, body, record_id)], "confirmed")
            if intent.action == "create":
                self.made.setdefault((intent.system, intent.object), []).append(intent)
            made.append((intent, ended))
        return made

    def _read_back(self, written: Sequence[tuple[Intent, str]]) -> dict[tuple[str, str], Body]:
        """Read what Salesforce made of what was written; only records whose last writer is us.

        Where it can't be read, what was sent is the base: an edit meanwhile then shows as a change.
        """
        mine = [(intent, record_id) for intent, record_id in written if intent.system == "salesforce"]
        found: dict[tuple[str, str], Body] = {}
        try:
            for object_name in {intent.object for intent, _ in mine}:
                ids = [record_id for intent, record_id in mine if intent.object == object_name]
                self.looks.fetch_ids("salesforce", object_name, ids)
                for record_id in ids:
                    body = self.looks.record("salesforce", object_name, record_id)
                    if body is not None and body.get("LastModifiedById") == self.clients.salesforce.user_id():
                        found[object_name, record_id] = body
        except (RetryLater, LogInAgain):
            return found
        return found

    # -- settling

    def settle_earlier(self, sent: Sent, *, look_only: bool) -> list[Ended]:
        """Settle a request that an earlier run left; what never arrived ends as waiting."""
        never_left = sent.sends == 0
        again = (
            self._again(sent, sent.live)
            if never_left
            else self._settle(sent, sent.live, repeats=0, look_only=look_only)
        )
        if not look_only:
            again += self._settle_deferred()
        self._conclude(
            [Ended(one, "waiting", message="it never arrived; the next plan makes it anew") for one in again]
        )
        self._stay_unknown(intent for _, live in self.deferred for intent in live)
        return list(self.ended.values())

    def _settle(
        self,
        sent: Sent,
        live: Sequence[Intent],
        *,
        repeats: int,
        look_only: bool = False,
        waited: bool = False,
    ) -> list[Operation]:
        """Find out what became of these intents of a request. Gives the operations for a new attempt."""
        asked_at = self.now()
        try:
            self.looks.fetch(live)
        except RetryLater as error:
            self.stopped[sent.request.system] = str(error)
            self._stay_unknown(live)
            return []
        there, open_, lost = self._sorted_by_look(live)
        if there:
            self._close(sent, there)
        if not open_ and not lost:
            return []
        left = [*open_, *lost]
        whole = len(left) == len(sent.request.intents)
        if self._may_repeat(sent) and whole and not lost and repeats < REPEATS and not look_only:
            self.sleep(0.5 * 2**repeats if repeats else 0.0)
            return self._deliver(sent, left, repeats=repeats + 1)
        if not waited and self._still_due_s(sent, asked_at) > 0:
            self.deferred.append((sent, tuple(left)))
            return []
        self._close(
            sent, [(one, [Ended(op, "overtaken", message=OTHER) for op in one.operations]) for one in lost]
        )
        return self._again(sent, open_)

    def _sorted_by_look(
        self, live: Sequence[Intent]
    ) -> tuple[list[tuple[Intent, list[Ended]]], list[Intent], list[Intent]]:
        """Sort intents by their records: written; as before (or not there yet); something else."""
        there: list[tuple[Intent, list[Ended]]] = []
        open_: list[Intent] = []
        lost: list[Intent] = []
        for intent in live:
            body = self.looks.body(intent)
            if body is None:
                (open_ if intent.action == "create" else lost).append(intent)
                continue
            if intent.action == "create":
                there.append((intent, self._learn([(intent, body, own_id(body, intent.system))], "adopted")))
                continue
            states = set(self.looks.compare([(one, body) for one in intent.operations]))
            if states == {"after"}:
                there.append((intent, self._learn([(intent, body, intent.record_id or "")], "adopted")))
            elif states <= {"before", "after"}:
                open_.append(intent)
            else:
                lost.append(intent)
        return there, open_, lost

    def _may_repeat(self, sent: Sent) -> bool:
        if not sent.idempotency_key or sent.burnt or sent.first_sent_at is None:
            return False
        return inside_horizon(sent.first_sent_at, self.now(), self.horizon_s)

    def _still_due_s(self, sent: Sent, asked_at: datetime) -> float:
        """Give how long the vendor may still take to apply what was sent, as of a look that began then."""
        if sent.last_sent_at is None:
            return 0.0
        longest = self.limits.late_application_s
        return min(max((sent.last_sent_at - asked_at).total_seconds() + longest, 0.0), longest)

    def _settle_deferred(self) -> list[Operation]:
        """Give the vendors their time, and look again: what is not there now was never written."""
        waiting = self.deferred
        self.deferred = []
        if not waiting:
            return []
        now = self.now()
        due_s = max(self._still_due_s(sent, now) for sent, _ in waiting)
        self._tell(f"waiting {due_s:.0f} s for what may still be applied")
        self.sleep(due_s)
        again: list[Operation] = []
        for sent, live in waiting:
            again += self._settle(sent, live, repeats=REPEATS, waited=True)
        return again

    def _again(self, sent: Sent, intents: Iterable[Intent]) -> list[Operation]:
        found = list(intents)
        if found:
            self._close(sent, [(one, []) for one in found])
        return [op for one in found for op in self._tried(one)]

    def _stay_unknown(self, intents: Iterable[Intent]) -> None:
        for intent in intents:
            for one in intent.operations:
                self.ended[one.operation_id] = Ended(
                    one, "unknown", message="sent; the next run settles it first"
                )

    # -- learning

    def _learn(self, written: Sequence[tuple[Intent, Body | None, str]], outcome: str) -> list[Ended]:
        return [
            self._learn_one(one, outcome, body, record_id)
            for intent, body, record_id in written
            for one in intent.operations
        ]

    def _learn_one(self, operation: Operation, outcome: str, body: Body | None, record_id: str) -> Ended:
        """Give an outcome with the link and the bases that it proves."""
        if body is not None and outcome == "confirmed" and operation.action != "create":
            state = self.looks.compare([(operation, body)])[0]
            if state == "before":
                return Ended(
                    operation, "rejected", message="the write was accepted, and the old value is still there"
                )
        known_as = entity_id(record_id, operation.entity, operation.system)
        placed = replace(operation, record_id=known_as)
        link = self._link(placed) if placed.makes_link else None
        link_id = link["link_id"] if link else placed.link_id
        bases = tuple(self._bases(placed, link_id, body)) if link_id else ()
        return Ended(placed, outcome, known_as, link=link, bases=bases)

    def _link(self, operation: Operation) -> dict[str, Any] | None:
        salesforce_id, xero_id = operation.ids
        if salesforce_id is None or xero_id is None:
            return None
        found = name_link(operation.entity, salesforce_id, xero_id)
        if operation.action == "link" and found in self.links and operation.match_rule is None:
            return None  # the second half of a link that is made: nothing new is known of it
        return {
            "link_id": found,
            "entity": operation.entity,
            "salesforce_id": salesforce_id,
            "xero_id": xero_id,
            "status": "linked",
            "rule": operation.match_rule or operation.rule,
            "score": 1.0 if operation.score is None else operation.score,
            "evidence": operation.evidence,
            "made_by": f"plan {self.plan_hash[:12]}",
        }

    def _bases(self, operation: Operation, link_id: str, body: Body | None) -> Iterable[dict[str, Any]]:
        """Give BASES rows: each side's own value of the units that were written."""
        for row in operation.moves:
            stamp = datetime.fromisoformat(row["stamp"]) if row["stamp"] else None
            yield {**row, "link_id": link_id, "stamp": stamp}
        if operation.action == "create":
            yield from self._bases_of_new(operation, link_id, body)
        elif operation.action == "update" and self._is_unit(operation):
            yield from self._pair(operation, link_id, operation.unit, "agreed", body, operation.source_native)

    def _is_unit(self, operation: Operation) -> bool:
        entity = self.mapping.entities.get(operation.entity)
        # A projection is set, not merged: it has no base.
        return entity is not None and any(unit.name == operation.unit for unit in entity.units)

    def _bases_of_new(
        self, operation: Operation, link_id: str, body: Body | None
    ) -> Iterable[dict[str, Any]]:
        entity = self.mapping.entities[operation.entity]
        told = pieces(
            body if body is not None else json.loads(operation.native_after or "{}"), entity, operation.system
        )
        source = json.loads(operation.source_native or "{}")
        for unit in entity.units:
            if unit.name not in source:
                continue
            theirs = source[unit.name]
            native = theirs if isinstance(theirs, str) or theirs is None else dumps(theirs)
            kind = "agreed" if unit.receives(operation.system) else "as_found"
            yield from self._rows_of(
                operation.system, link_id, unit.name, kind, told[unit.name], native, body
            )

    def _pair(
        self, operation: Operation, link_id: str, unit: str, kind: str, body: Body | None, source: str | None
    ) -> Iterable[dict[str, Any]]:
        sent = operation.native_after or "{}"
        native = sent if body is None else piece_like(sent, body)
        yield from self._rows_of(operation.system, link_id, unit, kind, native, source, body)

    def _rows_of(
        self,
        system: str,
        link_id: str,
        unit: str,
        kind: str,
        native: str,
        source: str | None,
        body: Body | None,
    ) -> Iterable[dict[str, Any]]:
        other = "xero" if system == "salesforce" else "salesforce"
        stamp = modified_at(body, system) if body is not None else None
        for side, piece, seen in ((system, native, stamp), (other, source, None)):
            row = {
                "link_id": link_id,
                "side": side,
                "unit": unit,
                "base_kind": kind,
                "native": piece,
                "stamp": seen,
            }
            yield {name: row[name] for name in BASES}

    # -- keeping

    def _close(
        self,
        sent: Sent,
        ended: Sequence[tuple[Intent, list[Ended]]],
        *,
        status: int | None = None,
        sending_failed: bool = False,
    ) -> None:
        if not ended:
            return
        self.journal.intents.close(
            sent,
            ended,
            plan_hash=self.plan_hash,
            fence=self.lease,
            status=status,
            sending_failed=sending_failed,
        )
        self._take(one for _, some in ended for one in some)

    def _conclude(self, ended: Sequence[Ended]) -> None:
        """Keep outcomes for which nothing was sent."""
        if not ended:
            return
        self.journal.intents.close(None, [(None, list(ended))], plan_hash=self.plan_hash, fence=self.lease)
        self._take(ended)

    def _wait(self, operations: Sequence[Operation], why: str) -> None:
        self._conclude([Ended(one, "waiting", message=why) for one in operations])

    def _take(self, ended: Iterable[Ended]) -> None:
        for one in ended:
            self.ended[one.operation.operation_id] = one
            if one.link:
                self.links.add(one.link["link_id"])

    def _leave_nothing_sending(self) -> None:
        """Whatever ended this run: what went out and was not answered is unknown now."""
        for sent in self.journal.intents.live():
            if sent.state == "sending" and sent.plan_hash == self.plan_hash and sent.sends:
                self.journal.intents.unknown(sent, burnt=False, fence=self.lease)

    def _look_for_twins(self) -> None:
        """Count the records that carry each new one's key: one each, or something is badly wrong."""
        for (side, object_name), intents in self.made.items():
            if side in self.stopped:
                continue
            try:
                self.looks.refresh(side, object_name, older_than_s=0)
            except RetryLater:
                continue
            twins = [intent for intent in intents if len(self.looks.holders(intent)) > 1]
            if twins:
                ids = sorted(record_id for intent in twins for record_id in self.looks.holders(intent))
                self.journal.note("made_twice", {"side": side, "object": object_name, "record_ids": ids})
                raise Incident(
                    f"{side}: {len(twins)} new records are there more than once: {', '.join(ids[:10])}. "
                    "Archive or merge the twins there, then run `reconcile plan`."
                )

    def _say_how_far(self) -> None:
        if self.journal.plan(self.plan_hash) is None:
            return
        whole = all(one.outcome in DONE for one in self.ended.values())
        self.journal.set_plan_state(self.plan_hash, "applied" if whole else "applied_in_part")


OTHER: Final = "it holds neither what was sent nor what the plan saw"


def _rows(ended: Iterable[Ended]) -> pl.DataFrame:
    rows = [
        {
            "operation_id": one.operation.operation_id,
            "system": one.operation.system,
            "entity": one.operation.entity,
            "record_id": one.record_id or one.operation.record_id,
            "unit": one.operation.unit,
            "phase": one.operation.phase,
            "outcome": one.outcome,
            "message": one.message,
        }
        for one in ended
    ]
    return conform(pl.DataFrame(rows, schema=dict.fromkeys(OUTCOME_ROWS, pl.String)), OUTCOME_ROWS)

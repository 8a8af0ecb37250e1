"""Gets one request across: sends it, heeds the reply, and settles what the reply does not tell.

An answer that is lost is never guessed. The record is read: what was sent is there, and adopted; or it
is as before, and the same bytes go again under the same key while the key certainly lives; or the vendor
is given its time, the record is read again, and what is still not there was never written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pipelines import journal_crash as crash
from pipelines.intents import Ended, Intent, Operation, Request, Verdict
from pipelines.journal_intents import HorizonPassed, Sent, inside_horizon
from pipelines.journal_store import utc_now
from pipelines.learning import Learner
from pipelines.looks import Looks, is_closed, own_id
from pipelines.outcomes import Outcomes
from pipelines.salesforce import writer as salesforce_writer
from pipelines.xero import writer as xero_writer
from reconcile.errors import LogInAgain, OutcomeUnknown, RetryLater

if TYPE_CHECKING:
    from pipelines.clients import Clients
    from pipelines.wire import Reply

WRITERS: Final = {"salesforce": salesforce_writer, "xero": xero_writer}
KEY_LIVES_S: Final = 360.0  # Xero keeps a key for six minutes from the first call
SKEW_S: Final = 30.0
REPEATS: Final = 3  # of the same bytes under the same key
OTHER: Final = "it holds neither what was sent nor what the plan saw"


@dataclass(frozen=True)
class Timing:
    """The clock, and how long a vendor may take to apply what we gave up on (an assumption: none says)."""

    late_application_s: float
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep

    @property
    def horizon_s(self) -> float:
        """How long after its first sending a key may be used again, so that it lives to the last of it."""
        return KEY_LIVES_S - self.late_application_s - SKEW_S

    def still_due_s(self, sent: Sent, asked_at: datetime) -> float:
        """How long the vendor may still take to apply what was sent, as of a look that began then."""
        if sent.last_sent_at is None:
            return 0.0
        longest = self.late_application_s
        # A clock that went backwards proves nothing: then all of the time is due.
        return min(max((sent.last_sent_at - asked_at).total_seconds() + longest, 0.0), longest)


@dataclass
class Tries:
    """What was tried with which operation, so that the next attempt is another one."""

    attempts: dict[str, int] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)  # refused together with others of their record
    lots: dict[str, str] = field(default_factory=dict)  # refused together with others of their request
    doubted: set[str] = field(default_factory=set)  # to be read by itself before it is sent again
    stopped: dict[str, str] = field(default_factory=dict)  # side -> why nothing more is sent there
    refused_login: LogInAgain | None = None

    def stop(self, side: str, error: RetryLater | LogInAgain) -> None:
        """Send nothing more to that side in this run."""
        self.stopped[side] = str(error)
        if isinstance(error, LogInAgain):
            self.refused_login = error

    def again(self, intents: Iterable[Intent]) -> list[Operation]:
        """Count an attempt at these intents; gives their operations for the next one."""
        found = [one for intent in intents for one in intent.operations]
        for one in found:
            self.attempts[one.operation_id] = self.attempts.get(one.operation_id, 0) + 1
            self.doubted.add(one.operation_id)
        return found


class Delivery:
    """The part of a push that sends. Each step gives the operations that need a new attempt."""

    def __init__(
        self,
        clients: Clients,
        outcomes: Outcomes,
        learner: Learner,
        looks: Looks,
        timing: Timing,
        run_id: str,
    ) -> None:
        self._clients, self._outcomes, self._learner = clients, outcomes, learner
        self._looks, self._timing, self._run_id = looks, timing, run_id
        self._intents, self._lease = outcomes.journal.intents, outcomes.lease
        self._deferred: list[tuple[Sent, tuple[Intent, ...]]] = []
        self.tries = Tries()
        self.made: dict[tuple[str, str], list[Intent]] = {}  # new records, by side and object

    # -- sending

    def deliver(self, request: Request) -> list[Operation]:
        """Make a request durable, send it, and learn from the answer."""
        sent = self._intents.begin(
            request, plan_hash=self._outcomes.plan_hash, run_id=self._run_id, fence=self._lease
        )
        return self._send(sent, request.intents, repeats=0)

    def _send(self, sent: Sent, live: Sequence[Intent], *, repeats: int) -> list[Operation]:
        try:
            reply = self._transmit(sent)
        except HorizonPassed:
            return self._settle(sent, live, repeats=REPEATS)
        except OutcomeUnknown:
            self._intents.unknown(sent, burnt=False, fence=self._lease)
            return self._settle(self._as_kept(sent), live, repeats=repeats)
        except (RetryLater, LogInAgain) as error:
            return self._not_carried_out(sent, live, error)
        verdicts = WRITERS[sent.request.system].read(sent.request, reply.status, reply.body)
        told = {one.intent_id: verdict for one, verdict in zip(sent.request.intents, verdicts, strict=True)}
        heard = [(one, told[one.intent_id]) for one in live]
        return self._heed(self._as_kept(sent), self._proven(heard), reply.status, repeats)

    def _transmit(self, sent: Sent) -> Reply:
        request = sent.request
        # Salesforce keeps no key: what is sent twice there was refused the first time.
        horizon_s = self._timing.horizon_s if sent.idempotency_key else float("inf")

        def leaving() -> None:
            self._intents.leaving(sent, request.body, horizon_s=horizon_s, fence=self._lease)

        with self._clients.writing(leaving):
            crash.point()
            if request.system == "xero":
                reply = self._clients.xero.send(
                    request.method,
                    request.path,
                    request.body,
                    idempotency_key=sent.idempotency_key,
                    query=request.query,
                )
            else:
                reply = self._clients.salesforce.send(request.method, request.path, request.body)
            crash.point()
        return reply

    def _as_kept(self, sent: Sent) -> Sent:
        """Give the request as the journal has it now: when it left, how often, whether its key is burnt."""
        return next((one for one in self._intents.live() if one.request_id == sent.request_id), sent)

    def _not_carried_out(
        self, sent: Sent, live: Sequence[Intent], error: RetryLater | LogInAgain
    ) -> list[Operation]:
        """Nothing of this sending was carried out. Whether an earlier one was is still unknown."""
        self.tries.stop(sent.request.system, error)
        if sent.sends > 0:
            self._intents.unknown(sent, burnt=False, fence=self._lease)
            self._outcomes.stay_unknown(live)
            return []
        self._outcomes.close(sent, [(one, ()) for one in live], not_sent=True)
        return [one for intent in live for one in intent.operations]

    # -- heeding

    def _proven(self, told: Sequence[tuple[Intent, Verdict]]) -> list[tuple[Intent, Verdict]]:
        """Read back what Salesforce wrote, and doubt a new record that does not carry its key.

        Its replies name records by their place alone: in another order they would link the wrong ones.
        """
        written = [
            (one, verdict.record_id or "")
            for one, verdict in told
            if one.system == "salesforce" and verdict.kind == "confirmed"
        ]
        try:
            for object_name in sorted({one.object for one, _ in written}):
                ids = [record_id for one, record_id in written if one.object == object_name]
                self._looks.fetch_ids("salesforce", object_name, ids)
        except (RetryLater, LogInAgain) as error:
            return [(one, _doubted(one, verdict, str(error))) for one, verdict in told]
        return [(one, self._with_body(one, verdict)) for one, verdict in told]

    def _with_body(self, intent: Intent, verdict: Verdict) -> Verdict:
        if verdict.kind != "confirmed" or intent.system != "salesforce":
            return verdict
        body = self._looks.record("salesforce", intent.object, verdict.record_id or "")
        carries = body is not None and str(body.get(intent.key_field or "")) == intent.natural_key
        if intent.action == "create" and not carries:
            return replace(verdict, kind="unknown", message="the reply names another record")
        # Whose last writer is somebody else shows their value: what we sent is the base then.
        ours = body is not None and body.get("LastModifiedById") == self._clients.salesforce.user_id()
        return replace(verdict, body=body if ours else None)

    def _heed(
        self, sent: Sent, told: Sequence[tuple[Intent, Verdict]], status: int, repeats: int
    ) -> list[Operation]:
        if all(verdict.kind == "unknown" for _, verdict in told):
            burnt = sent.request.system == "xero" and xero_writer.keeps_failure(status)
            self._intents.unknown(sent, burnt=burnt, fence=self._lease, status=status)
            return self._settle(self._as_kept(sent), [one for one, _ in told], repeats=repeats)
        ended, again = self._decided(sent, told)
        self._outcomes.close(sent, ended, status=status)
        unknown = [one for one, verdict in told if verdict.kind == "unknown"]
        if unknown:
            again += self._settle(self._as_kept(sent), unknown, repeats=REPEATS)
        return again

    def _decided(
        self, sent: Sent, told: Sequence[tuple[Intent, Verdict]]
    ) -> tuple[list[tuple[Intent, Sequence[Ended]]], list[Operation]]:
        """Give how intents ended by the verdicts of a reply, and the operations for a new attempt."""
        self._part_in_halves(sent, [one for one, verdict in told if verdict.kind == "apart"])
        found = [one for one, verdict in told if verdict.kind == "exists"]
        if found:
            self._looks.fetch(found)
        ended = self._confirmed([pair for pair in told if pair[1].kind == "confirmed"])
        again: list[Operation] = []
        for intent, verdict in told:
            if verdict.kind in ("unknown", "confirmed"):
                continue
            some, more = self._heed_one(intent, verdict)
            ended.append((intent, some))
            again += more
        return ended, again

    def _confirmed(self, told: Sequence[tuple[Intent, Verdict]]) -> list[tuple[Intent, Sequence[Ended]]]:
        for intent, _ in told:
            if intent.action == "create":
                self.made.setdefault((intent.system, intent.object), []).append(intent)
        learned = self._learner.confirmed([(one, v.body, v.record_id or "") for one, v in told])
        return [(intent, some) for (intent, _), some in zip(told, learned, strict=True)]

    def _heed_one(self, intent: Intent, verdict: Verdict) -> tuple[Sequence[Ended], Sequence[Operation]]:
        if verdict.kind == "exists":
            refused = [Ended(one, "rejected", message=verdict.message) for one in intent.operations]
            return self.adopted(intent) or refused, ()
        if verdict.kind == "rejected" and len(intent.operations) > 1:
            # One unit at fault would hold up the others: each goes by itself now.
            self.tries.apart |= {one.operation_id for one in intent.operations}
            return (), intent.operations
        if verdict.kind in ("rejected", "overtaken"):
            return [Ended(one, verdict.kind, message=verdict.message) for one in intent.operations], ()
        if verdict.kind == "apart":
            return (), intent.operations
        return (), self.tries.again([intent])

    def _part_in_halves(self, sent: Sent, intents: Sequence[Intent]) -> None:
        for place, intent in enumerate(intents):
            half = "a" if place < len(intents) / 2 else "b"
            self.tries.lots |= {one.operation_id: sent.request_id + half for one in intent.operations}

    def adopted(self, intent: Intent) -> list[Ended]:
        """Adopt the record that carries a new one's key already: an earlier attempt or somebody made it."""
        body = self._looks.body(intent)
        if body is None:
            return []
        if is_closed(body, intent.system):
            why = "a record that carries its key is there, and takes no writes"
            return [Ended(one, "overtaken", message=why) for one in intent.operations]
        return self._learner.adopted(intent, body, own_id(body, intent.system))

    # -- settling

    def settle_earlier(self, sent: Sent, *, look_only: bool) -> None:
        """Settle a request that an earlier run left. What never arrived ends as waiting."""
        if sent.sends == 0:  # its sending is kept before the first byte leaves
            again = self._never_written(sent, sent.live)
        else:
            again = self._settle(sent, sent.live, repeats=0, look_only=look_only)
        if not look_only:
            again += self.settle_deferred()
        self._outcomes.wait(again, "it never arrived; the next plan makes it anew")
        self._outcomes.stay_unknown(one for _, live in self._deferred for one in live)

    def settle_deferred(self, say: Callable[[str], None] = lambda _: None) -> list[Operation]:
        """Give the vendors their time, and look again: what is not there now was never written."""
        waiting = self._deferred
        self._deferred = []
        if not waiting:
            return []
        now = self._timing.now()
        due_s = max(self._timing.still_due_s(sent, now) for sent, _ in waiting)
        say(f"waiting {due_s:.0f} s for what may still be applied")
        self._timing.sleep(due_s)
        again: list[Operation] = []
        for sent, live in waiting:
            again += self._settle(sent, live, repeats=REPEATS, waited=True)
        return again

    def _settle(
        self,
        sent: Sent,
        live: Sequence[Intent],
        *,
        repeats: int,
        look_only: bool = False,
        waited: bool = False,
    ) -> list[Operation]:
        """Find out what became of these intents of a request."""
        asked_at = self._timing.now()
        try:
            self._looks.fetch(live)
        except (RetryLater, LogInAgain) as error:
            self.tries.stop(sent.request.system, error)
            self._outcomes.stay_unknown(live)
            return []
        there, as_before, lost = self._sorted_by_look(live)
        self._outcomes.close(sent, there)
        left = [*as_before, *lost]
        if not left:
            return []
        # The bytes write all intents of the request: none may have ended, none may hold something else.
        whole = len(left) == len(sent.request.intents) and not lost
        if whole and self._may_repeat(sent) and repeats < REPEATS and not look_only:
            self._timing.sleep(0.5 * 2**repeats if repeats else 0.0)
            return self._send(sent, left, repeats=repeats + 1)
        if not waited and self._timing.still_due_s(sent, asked_at) > 0:
            self._deferred.append((sent, tuple(left)))
            return []
        over = [(one, [Ended(op, "overtaken", message=OTHER) for op in one.operations]) for one in lost]
        self._outcomes.close(sent, over)
        return self._never_written(sent, as_before)

    def _may_repeat(self, sent: Sent) -> bool:
        if not sent.idempotency_key or sent.burnt or sent.first_sent_at is None:
            return False
        return inside_horizon(sent.first_sent_at, self._timing.now(), self._timing.horizon_s)

    def _never_written(self, sent: Sent, intents: Sequence[Intent]) -> list[Operation]:
        self._outcomes.close(sent, [(one, ()) for one in intents])
        return self.tries.again(intents)

    def _sorted_by_look(
        self, live: Sequence[Intent]
    ) -> tuple[list[tuple[Intent, Sequence[Ended]]], list[Intent], list[Intent]]:
        """Sort intents by what their records hold: what was sent; what was before; something else."""
        there: list[tuple[Intent, Sequence[Ended]]] = []
        as_before: list[Intent] = []
        lost: list[Intent] = []
        bodies = {intent.intent_id: self._looks.body(intent) for intent in live}
        found = self._looks.compare(
            [
                (one, body)
                for intent in live
                if intent.action == "update" and (body := bodies[intent.intent_id])
                for one in intent.operations
            ]
        )
        for intent in live:
            body = bodies[intent.intent_id]
            states = {found.get(one.operation_id, "gone") for one in intent.operations}
            if intent.action == "create" and body is None:
                as_before.append(intent)
            elif intent.action == "create":
                there.append((intent, self.adopted(intent)))
            elif body is not None and states == {"after"}:
                there.append((intent, self._learner.adopted(intent, body, intent.record_id or "")))
            else:
                (as_before if states <= {"before", "after"} else lost).append(intent)
        return there, as_before, lost


def _doubted(intent: Intent, verdict: Verdict, why: str) -> Verdict:
    """A new record whose reading back failed is not proven; of an update the sent value is the base."""
    new = intent.system == "salesforce" and intent.action == "create" and verdict.kind == "confirmed"
    return replace(verdict, kind="unknown", message=why) if new else verdict

"""Gets one request across: sends it, heeds the reply, and settles what the reply does not tell.

An answer that is lost is never guessed. The record is read: what was sent is there, and adopted; or it
is as before, and the same bytes go again under the same key while the key certainly lives; or the vendor
is given its time, the record is read again, and what is still not there was never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pipelines import journal_crash as crash
from pipelines import protocol
from pipelines.intents import Ended, Intent, Operation, Request, Verdict
from pipelines.journal_intents import Sent
from pipelines.learning import Learner
from pipelines.looks import Looks, is_closed, own_id
from pipelines.outcomes import Outcomes
from pipelines.protocol import ATTEMPTS, REPEATS, HorizonPassed, LookTooOld, Proof, Timing
from pipelines.salesforce import writer as salesforce_writer
from pipelines.xero import writer as xero_writer
from reconcile.errors import LeaseLost, LogInAgain, OutcomeUnknown, Overslept, RetryLater

if TYPE_CHECKING:
    from datetime import datetime

    from pipelines.clients import Clients
    from pipelines.wire import Reply

WRITERS: Final = {"salesforce": salesforce_writer, "xero": xero_writer}
MARKS: Final = 3  # of one sending, where the process sleeps between the mark and the bytes
SLEEPS: Final = 3  # for one look, where the clock does not go on as it should
OTHER: Final = "it holds neither what was sent nor what the plan saw"


@dataclass
class Tries:
    """What was tried with which operation, so that the next attempt is another one."""

    attempts: dict[str, int] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)  # refused together with others of their record
    lots: dict[str, str] = field(default_factory=dict)  # refused together with others of their request
    doubted: set[str] = field(default_factory=set)  # to be read by itself before it is sent again
    unheard: set[str] = field(default_factory=set)  # sent, and nothing told of it, not even a look
    stopped: dict[str, str] = field(default_factory=dict)  # side -> why nothing more is sent there
    refused_login: LogInAgain | None = None

    def stop(self, side: str, error: RetryLater | LogInAgain) -> None:
        """Send nothing more to that side in this run."""
        self.stopped[side] = str(error)
        if isinstance(error, LogInAgain):
            self.refused_login = error

    def again(self, intents: Iterable[Intent], *, unheard: bool = False) -> list[Operation]:
        """Count an attempt at these intents; gives their operations for the next one."""
        found = [one for intent in intents for one in intent.operations]
        which = {one.operation_id for one in found}
        self.unheard = self.unheard | which if unheard else self.unheard - which
        for one in found:
            self.attempts[one.operation_id] = self.attempts.get(one.operation_id, 0) + 1
            self.doubted.add(one.operation_id)
        return found

    def tired(self, operations: Iterable[Operation]) -> tuple[list[Operation], list[Operation]]:
        """Give those that were tried often enough: what a person has to look at, and what may wait."""
        done = [one for one in operations if self.attempts.get(one.operation_id, 0) >= ATTEMPTS]
        asked = [one for one in done if one.operation_id in self.unheard]
        return asked, [one for one in done if one.operation_id not in self.unheard]


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
        self.outcomes, self.learner, self.looks = outcomes, learner, looks
        self._clients, self._outcomes, self._learner = clients, outcomes, learner
        self._looks, self._timing, self._run_id = looks, timing, run_id
        self._intents, self._lease = outcomes.journal.intents, outcomes.lease
        self._deferred: list[tuple[Sent, tuple[Intent, ...]]] = []
        self._marked_at = self._looked_by = timing.now()
        self.tries = Tries()
        self.say: Callable[[str], None] = lambda _: None  # how far it is, while something lasts

    # -- sending

    def deliver(self, request: Request, *, looked_by: datetime) -> list[Operation]:
        """Make a request durable, send it, and learn from the answer. looked_by: before the look that it rests on."""
        protocol.check_planned(request, self._outcomes.planned)
        request = replace(request, intents=tuple(self._looks.timed(one) for one in request.intents))
        if request.system == "salesforce":
            request = salesforce_writer.guarded(request, self._clients.salesforce.root, self._looks.stamp)
        else:
            request = xero_writer.with_whole_groups(request, self._looks.body)
        sent = self._intents.begin(
            request, plan_hash=self._outcomes.plan_hash, run_id=self._run_id, fence=self._lease
        )
        return self._send(sent, request.intents, looked_by=looked_by, repeats=0)

    def _send(
        self, sent: Sent, live: Sequence[Intent], *, looked_by: datetime, repeats: int
    ) -> list[Operation]:
        self._looked_by = looked_by
        try:
            reply = self._transmit(sent)
        except LookTooOld:
            return self._look_again(sent, live, repeats)
        except HorizonPassed:
            # A mark of this very sending may stand in the journal (a limit, a sleep): it is the last one.
            self._intents.unknown(sent, burnt=False, fence=self._lease)
            return self._settle(self._intents.kept(sent), live, repeats=REPEATS)
        except OutcomeUnknown:
            self._intents.unknown(sent, burnt=False, fence=self._lease)
            return self._settle(self._intents.kept(sent), live, repeats=repeats)
        except (RetryLater, LogInAgain) as error:
            return self._not_carried_out(sent, live, error)
        verdicts: Sequence[Verdict] = WRITERS[sent.request.system].read(
            sent.request, reply.status, reply.body
        )
        told = {one.intent_id: verdict for one, verdict in zip(sent.request.intents, verdicts, strict=True)}
        heard = [(one, told[one.intent_id]) for one in live]
        return self._heed(self._intents.kept(sent), self._proven(heard), reply.status, repeats)

    def _transmit(self, sent: Sent) -> Reply:
        request = sent.request
        with self._clients.writing(lambda: self._mark(sent), lambda: self._last_moment(request.system)):
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

    def _mark(self, sent: Sent) -> None:
        """Keep that the bytes leave now. A process that slept meanwhile keeps it again."""
        # Salesforce keeps no key: what is sent twice there was refused the first time.
        horizon_s = self._timing.horizon_s if sent.idempotency_key else float("inf")
        for _ in range(MARKS):
            self._marked_at = self._timing.now()
            if not protocol.is_young(self._looked_by, self._marked_at):
                raise LookTooOld
            self._intents.leaving(sent, sent.request.body, horizon_s=horizon_s, fence=self._lease)
            if protocol.is_awake(self._marked_at, self._timing.now(), self._timing.awake_s):
                return

    def _last_moment(self, side: str) -> None:
        """See, before the first byte, that it is still the moment that was kept.

        A process that was stopped since (SIGSTOP, a machine that slept) may have lost its lease: another one
        may be at work, and may have looked for what would leave now.
        """
        if not self._lease.in_time():
            raise LeaseLost(pair=self._lease.pair)
        if not protocol.is_awake(self._marked_at, self._timing.now(), self._timing.awake_s):
            raise Overslept(side=side)

    def _not_carried_out(
        self, sent: Sent, live: Sequence[Intent], error: RetryLater | LogInAgain
    ) -> list[Operation]:
        """Nothing of this sending was carried out. Whether an earlier one was is still unknown."""
        self.tries.stop(sent.request.system, error)
        if sent.sends > 0:
            self._intents.unknown(sent, burnt=False, fence=self._lease)
            self._outcomes.stay_unknown(live)
            return []
        self._outcomes.close(sent, [(one, ()) for one in live], proof=Proof("not_sent"))
        return [one for intent in live for one in intent.operations]

    def _look_again(self, sent: Sent, live: Sequence[Intent], repeats: int) -> list[Operation]:
        """Nothing of this sending was carried out, and too much may have changed since the look before it."""
        if sent.sends > 0:
            self._intents.unknown(sent, burnt=False, fence=self._lease)
            return self._settle(self._intents.kept(sent), live, repeats=repeats)
        self._outcomes.close(sent, [(one, ()) for one in live], proof=Proof("not_sent"))
        return self.tries.again(live)

    # -- heeding

    def _proven(
        self, told: Sequence[tuple[Intent, Verdict]], *, since: datetime | None = None
    ) -> list[tuple[Intent, Verdict]]:
        """Read back what Salesforce wrote, and doubt a new record that does not carry its key.

        Its replies name records by their place alone: in another order they would link the wrong ones.
        since: when, by Salesforce's clock, writing began: then they are read as a list of what changed.
        """
        written = [
            (one, verdict.record_id or "")
            for one, verdict in told
            if one.system == "salesforce" and verdict.kind == "confirmed"
        ]
        try:
            for object_name in sorted({one.object for one, _ in written}):
                ids = [record_id for one, record_id in written if one.object == object_name]
                if since is not None:
                    ids = self._looks.not_changed_since(object_name, ids, since)
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
        told = self._looked_up(told)
        if all(verdict.kind == "unknown" for _, verdict in told):
            burnt = sent.request.system == "xero" and xero_writer.keeps_failure(status)
            self._intents.unknown(sent, burnt=burnt, fence=self._lease, status=status)
            return self._settle(self._intents.kept(sent), [one for one, _ in told], repeats=repeats)
        ended, again = self._decided(sent, told)
        self._outcomes.close(sent, ended, status=status, proof=Proof("refused"))
        unknown = [one for one, verdict in told if verdict.kind == "unknown"]
        if unknown:
            again += self._settle(self._intents.kept(sent), unknown, repeats=REPEATS)
        return again

    def _looked_up(self, told: Sequence[tuple[Intent, Verdict]]) -> Sequence[tuple[Intent, Verdict]]:
        """Read the records that are there already; where they can't be read, it is unknown whose they are."""
        found = [one for one, verdict in told if verdict.kind == "exists"]
        try:
            if found:
                self._looks.fetch(found)
        except (RetryLater, LogInAgain) as error:
            return [
                (
                    one,
                    replace(verdict, kind="unknown", message=str(error))
                    if verdict.kind == "exists"
                    else verdict,
                )
                for one, verdict in told
            ]
        return told

    def _decided(
        self, sent: Sent, told: Sequence[tuple[Intent, Verdict]]
    ) -> tuple[list[tuple[Intent, Sequence[Ended]]], list[Operation]]:
        """Give how intents ended by the verdicts of a reply, and the operations for a new attempt."""
        self._part_in_halves(sent, [one for one, verdict in told if verdict.kind == "apart"])
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
        for intent, verdict in told:
            if intent.system == "xero" and intent.action == "create" and verdict.body and verdict.record_id:
                # Others refer to what Xero made of it: its number, its status.
                self._looks.keep(intent.system, intent.object, verdict.record_id, verdict.body)
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
        """Adopt the record that carries a new one's key already: an earlier attempt or somebody made it.

        One that is changed is adopted where it holds what it was to hold.
        """
        body = self._looks.body(intent)
        if body is None:
            return []
        if intent.action == "update":
            states = self._looks.compare([(one, body) for one in intent.operations])
            done = set(states.values()) == {"after"}
            return self._learner.adopted(intent, body, intent.record_id or "") if done else []
        if is_closed(body, intent.system):
            why = "a record that carries its key is there, and takes no writes"
            return [Ended(one, "overtaken", message=why) for one in intent.operations]
        return self._learner.adopted(intent, body, own_id(body, intent.system))

    # -- settling

    def settle_earlier(self, sent: Sent, *, look_only: bool) -> None:
        """Settle a request that an earlier run left. What never arrived ends as waiting."""
        if sent.state == "sending" and sent.sends > 0:
            self._intents.unknown(sent, burnt=False, fence=self._lease)
        if sent.sends == 0:  # its sending is kept before the first byte leaves
            again = self._never_left(sent, look_only=look_only)
        else:
            again = self._settle_earlier(sent, look_only=look_only)
        if not look_only:
            again += self.settle_deferred(self.say)
        self._outcomes.wait(again, "it never arrived; the next plan makes it anew")
        self._outcomes.stay_unknown(one for _, live in self._deferred for one in live)

    def _never_left(self, sent: Sent, *, look_only: bool) -> list[Operation]:
        return self._never_written(sent, sent.live, self._timing.now())

    def _settle_earlier(self, sent: Sent, *, look_only: bool) -> list[Operation]:
        return self._settle(sent, sent.live, repeats=0, look_only=look_only)

    def settle_deferred(self, say: Callable[[str], None] = lambda _: None) -> list[Operation]:
        """Give the vendors their time, and look again: what is not there now was never written.

        Where the clock does not go on as it should, that time can't be known to be over: it stays unknown.
        """
        again: list[Operation] = []
        for _ in range(SLEEPS):
            waiting = self._deferred
            self._deferred = []
            if not waiting:
                break
            now = self._timing.now()
            due_s = max(self._timing.still_due_s(sent, now) for sent, _ in waiting)
            say(f"waiting {due_s:.0f} s for what may still be applied")
            self._timing.sleep(due_s)
            for sent, live in waiting:
                again += self._settle(sent, live, repeats=REPEATS)
        return again

    def leave_unsettled(self) -> None:
        """What could not be settled in this run is for the next one."""
        self._outcomes.stay_unknown(one for _, live in self._deferred for one in live)

    def _settle(
        self, sent: Sent, live: Sequence[Intent], *, repeats: int, look_only: bool = False
    ) -> list[Operation]:
        """Find out what became of these intents of a request."""
        looked_at = self._timing.now()
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
        step = protocol.after_look(
            sent,
            # The bytes write all intents of the request: none may have ended, none may hold something else.
            whole=len(left) == len(sent.request.intents) and not lost,
            repeats=repeats,
            look_only=look_only,
            looked_at=looked_at,
            timing=self._timing,
        )
        if step == "repeat":
            self._timing.sleep(0.5 * 2**repeats if repeats else 0.0)
            return self._send(sent, left, looked_by=looked_at, repeats=repeats + 1)
        if step == "wait":
            self._deferred.append((sent, tuple(left)))
            return []
        over = [(one, [Ended(op, "overtaken", message=OTHER) for op in one.operations]) for one in lost]
        self._outcomes.close(sent, over)
        return self._never_written(sent, as_before, looked_at)

    def _never_written(self, sent: Sent, intents: Sequence[Intent], looked_at: datetime) -> list[Operation]:
        proof = Proof("absent", looked_at, self._timing.settled_after_s)
        self._outcomes.close(sent, [(one, ()) for one in intents], proof=proof)
        return self.tries.again(intents, unheard=True)

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

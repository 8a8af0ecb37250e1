"""A journal in memory, as far as a push needs one: the same steps, the same checks, no database.

`test_agreement.py` shows that it and the real journal answer alike. A point is passed before and after each
commit; a process that died there writes nothing any more.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pipelines import protocol
from pipelines.intents import Ended, Intent, Request
from pipelines.journal_intents import IDEMPOTENT, Sent
from pipelines.protocol import Proof
from reconcile.errors import LeaseLost

LIVE = ("sending", "unknown")


@dataclass
class Row:
    """A request, with the state of each of its intents."""

    request_id: str
    request: Request
    key: str | None
    sha256: str
    state: str
    plan_hash: str
    fencing: int
    created_at: datetime
    sends: int = 0
    first_sent_at: datetime | None = None
    last_sent_at: datetime | None = None
    burnt: bool = False
    states: dict[str, str] = field(default_factory=dict)
    was_unknown: bool = False


@dataclass
class Kept:
    """What a journal holds; it outlives processes."""

    made_at: datetime
    requests: dict[str, Row] = field(default_factory=dict)
    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    bases: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], Ended] = field(default_factory=dict)
    dead_letters: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    fencing: int = 0
    until: float = -1.0  # the lease lasts until then
    holder: int | None = None  # the process that has it; null: free
    count: int = 0


Count = Callable[[str], None]


class Memory:
    """One process's journal."""

    def __init__(
        self,
        kept: Kept,
        now: Callable[[], datetime],
        point: Callable[[str], None] = lambda _: None,
        count: Count = lambda _: None,
    ) -> None:
        self.kept, self.now = kept, now
        self.intents = MemoryIntents(kept, now, point, count)

    def note(self, kind: str, details: Any) -> None:
        self.kept.notes.append(kind)

    def plan(self, plan_hash: str) -> None:
        return None


class MemoryIntents:
    """The part that a push writes; each step as in `pipelines.journal_intents`."""

    def __init__(
        self, kept: Kept, now: Callable[[], datetime], point: Callable[[str], None], count: Count
    ) -> None:
        self._kept, self._now, self._point, self._count = kept, now, point, count

    def _begin_write(self, fence: Any) -> None:
        self._point("commit")
        if fence.fencing != self._kept.fencing:
            self._count("lease_lost")
            raise LeaseLost(pair=fence.pair)

    def begin(self, request: Request, *, plan_hash: str, run_id: str, fence: Any) -> Sent:
        self._begin_write(fence)
        kept = self._kept
        # P4, which the real journal leaves to a unique index.
        keys = [one.business_key for one in request.intents]
        protocol.must(len({*keys} - self.live_keys()) == len(keys), "P4", "two live writes of one record")
        kept.count += 1
        request_id = f"request-{kept.count}"
        key = uuid.uuid4().hex if request.system in IDEMPOTENT else None
        sha256 = hashlib.sha256(request.body).hexdigest()
        states = {one.intent_id: "sending" for one in request.intents}
        row = Row(
            request_id, request, key, sha256, "sending", plan_hash, fence.fencing, self._now(), states=states
        )
        kept.requests[request_id] = row
        self._point("committed")
        return self._sent(row, request.intents)

    def leaving(self, sent: Sent, body: bytes, *, horizon_s: float, fence: Any) -> None:
        self._begin_write(fence)
        row = self._kept.requests.get(sent.request_id)
        protocol.must(row is not None, "P1", "a request that is not in the journal")
        now = self._now()
        protocol.check_open(row.state)
        protocol.check_leaving(body, row.sha256, row.first_sent_at, now, horizon_s)
        fence.renew(None)
        row.state, row.sends = "sending", row.sends + 1
        row.first_sent_at, row.last_sent_at = row.first_sent_at or now, now
        self._point("committed")

    def unknown(self, sent: Sent, *, burnt: bool, fence: Any, status: int | None = None) -> None:
        self._begin_write(fence)
        row = self._kept.requests[sent.request_id]
        protocol.check_open(row.state)
        row.state, row.burnt = "unknown", row.burnt or burnt
        row.was_unknown = True
        if burnt:
            self._count("key_burnt")
        for name, state in row.states.items():
            if state == "sending":
                row.states[name] = "unknown"
        self._count("unknown")
        self._point("committed")

    def close(
        self,
        sent: Sent | None,
        ended: Sequence[tuple[Intent | None, Sequence[Ended]]],
        *,
        plan_hash: str,
        fence: Any,
        status: int | None = None,
        proof: Proof | None = None,
    ) -> None:
        every = [one for _, some in ended for one in some]
        protocol.check_done(every)
        self._begin_write(fence)
        row = None if sent is None else self._kept.requests[sent.request_id]
        if row is not None:
            self._check_ending(row, ended, proof)
        for intent, some in ended:
            if intent is not None and row is not None:
                row.states[intent.intent_id] = some[0].outcome if some else proof.kind if proof else "waiting"
                self._tell(row, some, proof)
        for one in every:
            self._keep(one, plan_hash)
        if row is not None:
            self._close_request(row, proof)
        self._point("committed")

    def _check_ending(
        self, row: Row, ended: Sequence[tuple[Intent | None, Sequence[Ended]]], proof: Proof | None
    ) -> None:
        for intent, some in ended:
            if intent is None:
                continue
            state = row.states.get(intent.intent_id, "")
            protocol.must(state in LIVE, "P5", "an intent that ends twice")
            if not some:
                protocol.check_freed(
                    proof, sends=row.sends, last_sent_at=row.last_sent_at, was_unknown=state == "unknown"
                )

    def _tell(self, row: Row, some: Sequence[Ended], proof: Proof | None) -> None:
        if not some and proof is not None:
            self._count(f"freed_{proof.kind}" if row.sends or proof.kind != "absent" else "freed_never_left")
        elif some and row.was_unknown:
            self._count(f"unknown_{some[0].outcome}")

    def _keep(self, one: Ended, plan_hash: str) -> None:
        kept, which = self._kept, one.operation.operation_id
        kept.outcomes[plan_hash, which] = one
        if one.outcome in ("rejected", "asked"):
            kept.dead_letters.add(which)
        elif one.outcome in protocol.DONE:
            kept.dead_letters.discard(which)
        if one.link:
            kept.links[one.link["link_id"]] = one.link
        for base in one.bases:
            kept.bases[base["link_id"], base["side"], base["unit"]] = base

    def _close_request(self, row: Row, proof: Proof | None) -> None:
        live = [name for name, state in row.states.items() if state in LIVE]
        for name in live:
            row.states[name] = "unknown"
        if live:
            row.state = "unknown"
        else:
            row.state = "not_sent" if proof is not None and proof.kind == "not_sent" else "answered"

    # -- reading

    def done(self, plan_hash: str) -> dict[str, tuple[str, str | None]]:
        found = {}
        for (plan, which), one in self._kept.outcomes.items():
            if plan == plan_hash and one.outcome in protocol.DONE:
                found[which] = (one.outcome, one.record_id or one.operation.record_id)
        return found

    def link_ids(self) -> set[str]:
        return set(self._kept.links)

    def made_at(self) -> datetime:
        return self._kept.made_at

    def live_keys(self) -> set[str]:
        return {
            one.business_key
            for row in self._open()
            for one in row.request.intents
            if row.states[one.intent_id] in LIVE
        }

    def _open(self) -> list[Row]:
        return [row for row in self._kept.requests.values() if row.state in LIVE]

    def live(self) -> list[Sent]:
        self._point("read")
        return [
            self._sent(row, tuple(one for one in row.request.intents if row.states[one.intent_id] in LIVE))
            for row in self._open()
        ]

    def kept(self, sent: Sent) -> Sent:
        row = self._kept.requests[sent.request_id]
        return replace(
            sent,
            state=row.state,
            sends=row.sends,
            first_sent_at=row.first_sent_at,
            last_sent_at=row.last_sent_at,
            burnt=row.burnt,
        )

    @staticmethod
    def _sent(row: Row, live: Sequence[Intent]) -> Sent:
        return Sent(
            row.request_id,
            row.request,
            row.key,
            row.state,
            row.sends,
            row.first_sent_at,
            row.last_sent_at,
            row.burnt,
            row.created_at,
            tuple(live),
            row.plan_hash,
        )

"""The journal in memory, on which the model runs, and the real one answer alike, step for step."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipelines.intents import Ended, Intent, Operation, Request
from pipelines.journal import Journal
from pipelines.protocol import HorizonPassed, Proof
from reconcile.errors import InvariantBroken, LeaseLost
from tests.model.memory import Kept, Memory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = "a" * 64
OUTCOMES = ("confirmed", "adopted", "rejected", "overtaken")


class Fence:
    """The lease of the journal in memory, taken together with the real one."""

    pair = "pair"

    def __init__(self, kept: Kept) -> None:
        kept.fencing += 1
        self.kept, self.fencing = kept, kept.fencing

    def renew(self, _: object) -> None:
        if self.fencing != self.kept.fencing:
            raise LeaseLost(pair=self.pair)


def intent(number: int, count: int) -> Intent:
    """An update of one of a few records."""
    record_id = f"00000000-0000-4000-8000-{number:012d}"
    one = Operation(
        f"op-{number}-{count}", "xero", "party", "Contact", "update", "change", "tax_number", record_id
    )
    return Intent(
        f"intent-{count}-{number}", "xero", "Contact", "party", "update", record_id, None, None, {}, (one,)
    )


class TwoJournals(RuleBasedStateMachine):
    """Every step is made in both; what they raise and what they tell afterwards must be the same."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.at, self.count = NOON, 0
        self.real = Journal(f"sqlite:///{Path(self.folder.name) / 'journal.db'}", "", now=lambda: self.at)
        self.kept = Kept(NOON)
        self.memory = Memory(self.kept, lambda: self.at)
        self.leases: list[Any] = []
        self.fences: list[tuple[Any, Fence]] = []
        self.requests: list[tuple[Any, Any]] = []
        self.take_lease()

    def teardown(self) -> None:
        if hasattr(self, "real"):
            for lease in self.leases:
                lease.__exit__(None, None, None)
            self.real.close()
            self.folder.cleanup()

    def take_lease(self) -> None:
        lease = self.real.lease("pair", "test", 900)
        lease.__enter__()
        self.leases.append(lease)
        self.fences.append((lease, Fence(self.kept)))

    def both(self, name: str, *made: tuple[Any, ...], old: bool = False, **options: Any) -> list[Any]:
        """Make a step in both journals. made: the arguments of each."""
        told: list[Any] = []
        fences = self.fences[-2 if old and len(self.fences) > 1 else -1]
        for journal, fence, arguments in zip((self.real, self.memory), fences, made, strict=True):
            try:
                told.append(getattr(journal.intents, name)(*arguments, **options, fence=fence))
            except (InvariantBroken, LeaseLost, HorizonPassed) as error:
                told.append((type(error), getattr(error, "number", "")))
        problems = [one if isinstance(one, tuple) and isinstance(one[0], type) else None for one in told]
        assert problems[0] == problems[1], f"{name}: {told}"
        return told

    # -- steps

    @rule(numbers=st.lists(st.integers(1, 4), min_size=1, max_size=3), old=st.booleans())
    def begin(self, numbers: list[int], old: bool) -> None:
        self.count += 1
        self.at += timedelta(milliseconds=1)  # in the order in which they were begun
        intents = tuple(intent(number, self.count) for number in dict.fromkeys(numbers))
        request = Request("xero", "POST", "/Contacts", "", f"body {self.count}".encode(), intents)
        told = self.both("begin", (request,), (request,), plan_hash=PLAN, run_id="", old=old)
        if not isinstance(told[0], tuple):
            self.requests.append((told[0], told[1]))

    @precondition(lambda self: self.requests)
    @rule(
        data=st.data(), wrong=st.integers(0, 9), horizon_s=st.sampled_from([240.0, 1000.0]), old=st.booleans()
    )
    def leaving(self, data: Any, wrong: int, horizon_s: float, old: bool) -> None:
        real, memory = data.draw(st.sampled_from(self.requests))
        body = real.request.body + (b" " if wrong == 0 else b"")
        self.both("leaving", (real, body), (memory, body), horizon_s=horizon_s, old=old)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), burnt=st.booleans(), old=st.booleans())
    def unknown(self, data: Any, burnt: bool, old: bool) -> None:
        real, memory = data.draw(st.sampled_from(self.requests))
        self.both("unknown", (real,), (memory,), burnt=burnt, old=old)

    @precondition(lambda self: self.requests)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["not_sent", "refused", "absent", ""]),
        looked_s=st.sampled_from([0.0, 91.0]),
        old=st.booleans(),
    )
    def close(self, data: Any, kind: str, looked_s: float, old: bool) -> None:
        real, memory = data.draw(st.sampled_from(self.requests))
        which = data.draw(st.lists(st.sampled_from(real.request.intents), min_size=1, unique_by=id))
        ended = []
        for one in which:
            outcome = data.draw(st.sampled_from([*OUTCOMES, "", ""]))
            record_id = one.record_id if data.draw(st.integers(0, 9)) else None
            some = [Ended(op, outcome, record_id) for op in one.operations] if outcome else []
            ended.append((one, some))
        proof = Proof(kind, self.at + timedelta(seconds=looked_s), 90.0) if kind else None
        self.both("close", (real, ended), (memory, ended), plan_hash=PLAN, proof=proof, old=old)

    @rule(seconds=st.sampled_from([1, 30, 200]))
    def wait(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)

    @precondition(lambda self: len(self.fences) < 3)
    @rule()
    def lose_lease(self) -> None:
        self.at += timedelta(seconds=1000)
        self.take_lease()

    # -- what they tell

    @invariant()
    def they_tell_the_same(self) -> None:
        if not hasattr(self, "real"):
            return
        here, there = self.real.intents, self.memory.intents
        assert here.live_keys() == there.live_keys()
        assert here.done(PLAN) == there.done(PLAN)
        assert [_told(one) for one in here.live()] == [_told(one) for one in there.live()]
        for real, memory in self.requests:
            assert _told(here.kept(real)) == _told(there.kept(memory))


def _told(sent: Any) -> tuple[Any, ...]:
    live = tuple(sorted(one.intent_id for one in sent.live))
    times = (sent.first_sent_at, sent.last_sent_at)
    return sent.request.body, sent.state, sent.sends, times, sent.burnt, sent.plan_hash, live


def test_memory_and_journal_agree() -> None:
    run_state_machine_as_test(
        TwoJournals,
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

"""Two workers, a journal, its lease and its plans, driven at random: what must hold holds after each step."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from journal_scene import KEY, begin, confirmed, intent_of, leave, refused
from sqlalchemy import select

from pipelines.intents import Ended, Intent
from pipelines.journal import Journal
from pipelines.journal_intents import Sent
from pipelines.journal_lease import Lease
from pipelines.journal_tables import bases, links, outcomes
from pipelines.protocol import Proof
from reconcile.errors import InvariantBroken, JournalMismatch, LeaseHeld, LeaseLost, NeedsApproval

LEASE_S = 100.0
PAIR = "pair"
WORKERS = st.sampled_from([0, 1])
RECORDS = st.integers(1, 3)
PLANS = st.sampled_from(["a" * 64, "b" * 64])


Ending = Callable[[Intent], list[Ended]]
REACHED: Counter[str] = Counter()


class Worker:
    """One process: its own connection, and the lease that it believes to hold."""

    def __init__(self, url: str, machine: Machine) -> None:
        self.journal = Journal(url, KEY, now=machine.now, uptime=machine.up)
        self.lease: Lease | None = None
        self.sent: list[tuple[Sent, Intent]] = []

    def drop(self) -> None:
        """Die: nothing is given back."""
        if self.lease is not None:
            self.lease._ended.set()
        self.lease, self.sent = None, []
        self.journal.close()


class Machine(RuleBasedStateMachine):
    """The truth beside the journal: who holds the lease until when, which records have a live intent."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.url = f"sqlite:///{self.folder / 'journal.db'}"
        self.seconds = 0.0
        self.holder: int | None = None
        self.until = 0.0
        self.live: dict[int, str] = {}  # record -> sending or unknown
        self.done: set[int] = set()
        self.plans: dict[str, str] = {}
        self.fencing = 0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def up(self) -> float:
        return 1000.0 + self.seconds

    @initialize()
    def start(self) -> None:
        self.workers = [Worker(self.url, self), Worker(self.url, self)]
        self.workers[0].journal.bind(PAIR)

    def teardown(self) -> None:
        for worker in getattr(self, "workers", ()):
            worker.drop()
        shutil.rmtree(self.folder)

    def holds(self, who: int) -> bool:
        """The one that took the lease last writes, until another takes it: also after its end."""
        return self.holder == who

    # -- the lease

    @rule(who=WORKERS)
    def take(self, who: int) -> None:
        worker = self.workers[who]
        if worker.lease is not None:
            return
        lease = worker.journal.lease(PAIR, f"worker {who}", LEASE_S)
        try:
            lease._acquire()  # without the heart: time moves by the rules alone
        except LeaseHeld:
            assert self.holder is not None and self.seconds < self.until
            return
        assert self.holder is None or self.seconds >= self.until, "taken while it was held"
        assert lease.fencing == self.fencing + 1
        self.fencing, self.holder, self.until = lease.fencing, who, self.seconds + LEASE_S
        worker.lease = lease

    @rule(who=WORKERS)
    def beat(self, who: int) -> None:
        lease = self.workers[who].lease
        if lease is None:
            return
        lease._renew()
        assert lease.in_time() == self.holds(who)
        if self.holds(who):
            self.until = self.seconds + LEASE_S

    @rule(who=WORKERS)
    def give_back(self, who: int) -> None:
        worker = self.workers[who]
        if worker.lease is None:
            return
        worker.lease.__exit__()
        if self.holds(who):
            self.holder = None
        worker.lease, worker.sent = None, []

    @rule(seconds=st.sampled_from([1.0, 60.0, 101.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds

    @rule(who=WORKERS)
    def sleeps_while_the_other_works(self, who: int) -> None:
        """The state that everything is about: one believes to hold what another has."""
        self.intend(who, 1)
        self.time_passes(LEASE_S + 1)
        self.settle(1 - who)
        self.intend(who, 2)
        self.end(who, confirmed)

    # -- intents

    @rule(who=WORKERS, record=RECORDS, ending=st.sampled_from([confirmed, refused, None]))
    def write_whole(self, who: int, record: int, ending: Ending | None) -> None:
        self.intend(who, record)
        self.leaves(who)
        self.end(who, ending)

    @rule(who=WORKERS, record=RECORDS)
    def intend(self, who: int, record: int) -> None:
        worker, intent = self.workers[who], intent_of(record)
        self.take(who)
        if worker.lease is None:
            return
        try:
            sent = begin(worker.journal, worker.lease, intent)
        except LeaseLost:
            assert not self.holds(who)
            REACHED["a write under an old number is stopped"] += 1
            return
        except InvariantBroken:
            assert record in self.live, "a free record was refused"
            REACHED["a second live intent is stopped"] += 1
            return
        assert self.holds(who), "a write under an old number"
        assert record not in self.live, "two live intents of one record"
        self.live[record] = "sending"
        worker.sent.append((sent, intent))

    @rule(who=WORKERS)
    def leaves(self, who: int) -> None:
        worker = self.workers[who]
        if worker.lease is None or not worker.sent:
            return
        sent, _ = worker.sent[-1]
        try:
            leave(worker.journal, worker.lease, sent)
        except LeaseLost:
            assert not self.holds(who)
            return
        except InvariantBroken:
            assert not self.is_live(sent), "what is live could not leave"
            REACHED["what has ended does not leave"] += 1
            return
        assert self.holds(who)
        self.until = self.seconds + LEASE_S
        assert worker.lease.in_time()

    @rule(who=WORKERS)
    def is_lost(self, who: int) -> None:
        self.end(who, None)

    @rule(who=WORKERS, well=st.booleans())
    def is_answered(self, who: int, well: bool) -> None:
        self.end(who, confirmed if well else refused)

    def end(self, who: int, ending: Ending | None) -> None:
        worker = self.workers[who]
        if worker.lease is None or not worker.sent:
            return
        sent, intent = worker.sent.pop()
        record = int((intent.record_id or "")[-12:])
        before = self.known()
        try:
            if ending is None:
                worker.journal.intents.unknown(sent, burnt=False, fence=worker.lease)
            else:
                ended = ending(intent)
                worker.journal.intents.close(
                    sent, [(intent, ended)], plan_hash="a" * 64, fence=worker.lease, status=200
                )
        except LeaseLost:
            assert not self.holds(who)
            assert self.known() == before, "a part of it was kept"
            REACHED["an outcome under an old number is stopped"] += 1
            return
        except InvariantBroken:
            assert self.holds(who) and not self.is_live(sent), "what is live could not be ended"
            return
        assert self.holds(who)
        REACHED[f"ends: {ending.__name__ if ending else 'unknown'}"] += 1
        if ending is None:
            self.live[record] = "unknown" if record in self.live else self.live.get(record, "")
            self.live = {key: value for key, value in self.live.items() if value}
            return
        self.live.pop(record, None)
        if ending is confirmed:
            self.done.add(record)

    @rule(who=WORKERS)
    def settle(self, who: int) -> None:
        """Find out that what is live never arrived."""
        worker = self.workers[who]
        self.take(who)
        if worker.lease is None:
            return
        for sent in worker.journal.intents.live():
            proof = Proof("absent", self.now() + timedelta(hours=1), 90)
            try:
                worker.journal.intents.close(
                    sent,
                    [(one, ()) for one in sent.live],
                    plan_hash="a" * 64,
                    fence=worker.lease,
                    proof=proof,
                )
            except LeaseLost:
                assert not self.holds(who)
                return
            REACHED["settled"] += 1
            for one in sent.live:
                self.live.pop(int((one.record_id or "")[-12:]), None)

    # -- plans

    @rule(who=WORKERS, plan=PLANS)
    def save_plan(self, who: int, plan: str) -> None:
        self.workers[who].journal.save_plan(plan, {})
        waiting = ("sealed", "approved")
        self.plans = {
            key: "superseded" if key != plan and state in waiting else state
            for key, state in self.plans.items()
        }
        known = self.plans.get(plan)
        self.plans[plan] = "sealed" if known in (None, "superseded", "expired") else known

    @rule(
        who=WORKERS, plan=PLANS, state=st.sampled_from(["approved", "applied", "applied_in_part", "expired"])
    )
    def move_plan(self, who: int, plan: str, state: str) -> None:
        try:
            self.workers[who].journal.set_plan_state(plan, state)
        except NeedsApproval:
            assert plan not in self.plans
            return
        self.plans[plan] = state

    # -- what goes wrong

    @rule(who=WORKERS)
    def crash(self, who: int) -> None:
        self.workers[who].drop()
        self.workers[who] = Worker(self.url, self)

    @rule()
    def wipe(self) -> None:
        """The journal is lost, and its head stays: nobody writes until a person says so."""
        for worker in self.workers:
            worker.drop()
        for part in self.folder.glob("journal.db*"):
            part.unlink()
        self.workers = [Worker(self.url, self), Worker(self.url, self)]
        first = self.workers[0].journal
        assert first.trouble and self.workers[1].journal.trouble
        lease = first.lease(PAIR, "looks", LEASE_S)
        lease._acquire()
        for attempt in (lambda: begin(first, lease, intent_of(1)), first.must_be_whole):
            try:
                attempt()
            except JournalMismatch:
                continue
            raise AssertionError("it wrote with a journal that is not whole")
        first.accept(by="test")
        lease.__exit__()
        self.workers[1].drop()
        self.workers[1] = Worker(self.url, self)
        self.live, self.done, self.plans, self.holder, self.fencing = {}, set(), {}, None, lease.fencing

    # -- what must hold

    def is_live(self, sent: Sent) -> bool:
        return sent.request_id in {one.request_id for one in self.workers[0].journal.intents.live()}

    def known(self) -> tuple[set[str], set[str], dict[str, str]]:
        with self.workers[0].journal.read() as con:
            linked = set(con.execute(select(links.c.link_id).where(links.c.held_to.is_(None))).scalars())
            based = set(con.execute(select(bases.c.link_id)).scalars())
            ended = dict(con.execute(select(outcomes.c.record_id, outcomes.c.outcome)).tuples().all())
        return linked, based, ended

    @invariant()
    def the_journal_says_what_is_true(self) -> None:
        if not hasattr(self, "workers"):
            return
        journal = self.workers[0].journal
        keys = [int(key[-12:]) for key in journal.intents.live_keys()]
        assert sorted(keys) == sorted(self.live), "live intents"
        linked, based, ended = self.known()
        assert linked == based, "a link without its bases"
        done = {int(key[-12:]) for key, outcome in ended.items() if outcome == "confirmed"}
        assert done <= self.done and {int(name[-12:]) for name in linked} == self.done
        assert {row.plan_hash: row.state for row in journal.plans()} == self.plans

    @invariant()
    def the_chain_verifies(self) -> None:
        if not hasattr(self, "workers"):
            return
        verdict = self.workers[1].journal.verify()
        assert verdict.ok and not self.workers[1].journal.trouble, verdict
        assert verdict.kept == self.workers[0].journal.head()
        json.dumps(self.workers[0].journal.status())


DEEP = int(os.environ.get("RECONCILE_DEEP") or 0)  # how many examples, of 60 steps each


def test_two_workers_keep_one_journal_that_tells_the_truth() -> None:
    REACHED.clear()
    chosen = settings(
        max_examples=DEEP or 20, stateful_step_count=60 if DEEP else 20, deadline=None, derandomize=not DEEP
    )
    run_state_machine_as_test(Machine, settings=chosen)
    # What was never reached was never tested.
    assert {
        "a write under an old number is stopped",
        "a second live intent is stopped",
        "an outcome under an old number is stopped",
        "ends: confirmed",
        "ends: refused",
        "ends: unknown",
        "settled",
    } <= set(REACHED), REACHED
    print(dict(REACHED))

"""The lease: who may work on a pair, by clocks that jump, across processes that stop and go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from journal_scene import KEY, begin, intent_of, leave
from sqlalchemy import update

import pipelines.journal_lease as journal_lease
from pipelines.journal import Journal
from pipelines.journal_tables import leases
from reconcile.errors import LeaseHeld, LeaseLost

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
ELSEWHERE = "another-host|another-boot|1|1"


@dataclass
class Clocks:
    """Two clocks of one machine: the one that people set, and the one that counts since it was started."""

    wall: datetime = START
    up_s: float = 5000.0

    def go_on(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.up_s += seconds

    def set_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'journal.db'}"


@contextmanager
def worker(url: str, clocks: Clocks) -> Iterator[Journal]:
    with Journal(url, KEY, now=lambda: clocks.wall, uptime=lambda: clocks.up_s) as journal:
        yield journal


@contextmanager
def silent(journal: Journal, seconds: float = 3600) -> Iterator[journal_lease.Lease]:
    """A lease whose holder shows no beat: it lives by the clocks of the test alone."""
    with journal.lease("pair", "first", seconds) as lease:
        yield lease


def takes_over(journal: Journal, **options: float) -> bool:
    try:
        with journal.lease("pair", "second", 3600, **options):
            return True
    except LeaseHeld:
        return False


def on_another_machine(journal: Journal) -> None:
    with journal.write() as con:
        con.execute(update(leases).values(process=ELSEWHERE))


@pytest.mark.parametrize("set_by_s", [0, 7200, -7200, 31_536_000, -31_536_000])
def test_a_clock_that_is_set_neither_ends_a_lease_nor_lengthens_it(
    url: str, clocks: Clocks, set_by_s: float
) -> None:
    with worker(url, clocks) as first, silent(first) as lease, worker(url, clocks) as second:
        clocks.set_by(set_by_s)
        clocks.go_on(3590)
        assert lease.in_time() and not takes_over(second)
        clocks.go_on(20)
        assert not lease.in_time() and takes_over(second)
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_machine_that_slept_past_its_lease_knows_it(url: str, clocks: Clocks) -> None:
    with worker(url, clocks) as first, silent(first) as lease:
        sent = begin(first, lease, intent_of(1))
        leave(first, lease, sent)
        assert lease.in_time()
        clocks.go_on(3601)  # the clock since the start counts sleep too
        assert not lease.in_time()


def test_leaving_gives_the_lease_its_whole_time_again(url: str, clocks: Clocks) -> None:
    with worker(url, clocks) as first, silent(first) as lease, worker(url, clocks) as second:
        sent = begin(first, lease, intent_of(1))
        clocks.go_on(3599)
        leave(first, lease, sent)
        clocks.go_on(3599)
        assert lease.in_time() and not takes_over(second)


def test_a_lease_of_another_machine_ends_by_the_clock_on_the_wall(url: str, clocks: Clocks) -> None:
    with worker(url, clocks) as first, silent(first), worker(url, clocks) as second:
        on_another_machine(first)
        clocks.up_s = 3.0  # of another machine: it says nothing about that one's beat
        clocks.wall += timedelta(seconds=3590)
        assert not takes_over(second)
        clocks.wall += timedelta(seconds=20)
        assert takes_over(second)


def test_a_lease_of_another_machine_does_not_last_for_ever_when_a_clock_was_set_back(
    url: str, clocks: Clocks
) -> None:
    """Its end is further away than it can be: whoever asks watches for a beat, and takes over without one."""
    with (
        worker(url, clocks) as first,
        first.lease("pair", "first", 0.8) as lease,
        worker(url, clocks) as second,
    ):
        lease._ended.set()  # it died there: no beat comes
        on_another_machine(first)
        clocks.set_by(-31_536_000)
        started = time.monotonic()
        assert takes_over(second)
        assert 0.8 <= time.monotonic() - started < 10


def test_a_living_lease_of_another_machine_survives_a_clock_that_was_set_back(
    url: str, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(url, clocks) as first, first.lease("pair", "first", 3.0), worker(url, clocks) as second:
        on_another_machine(first)
        clocks.set_by(-31_536_000)
        with pytest.raises(LeaseHeld, match="first"), second.lease("pair", "second", 3600):
            pass


def test_who_waits_gets_the_lease_when_it_is_given_back(url: str) -> None:
    with Journal(url, KEY) as first, Journal(url, KEY) as second:
        lease = first.lease("pair", "first", 60)
        lease.__enter__()
        threading.Timer(0.5, lease.__exit__, (None, None, None)).start()
        started = time.monotonic()
        with second.lease("pair", "second", 60, wait_s=20) as mine:
            assert mine.fencing == lease.fencing + 1
            assert time.monotonic() - started > 0.3


def test_who_waits_in_vain_is_told_who_holds_it(url: str) -> None:
    with Journal(url, KEY) as first, Journal(url, KEY) as second, first.lease("pair", "first", 60):
        started = time.monotonic()
        with pytest.raises(LeaseHeld, match="first"), second.lease("pair", "second", 60, wait_s=0.5):
            pass
        assert 0.5 <= time.monotonic() - started < 10


def test_a_lease_that_was_given_back_lasts_no_more(url: str) -> None:
    with Journal(url, KEY) as journal:
        with journal.lease("pair", "first", 60) as lease:
            assert lease.in_time()
        assert not lease.in_time()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"beat_s": 1e12},  # far in the future of the machine's clock
        {"expires_at": "no time at all"},
        {"expires_at": "9999-12-31T23:59:59+00:00", "beat_s": None},
    ],
)
def test_a_spoiled_beat_holds_nobody_up_for_ever_and_a_living_holder_mends_it(
    url: str, spoiled: dict[str, object]
) -> None:
    with Journal(url, KEY) as first, first.lease("pair", "first", 3.0) as lease, Journal(url, KEY) as second:
        with first.write() as con:
            con.execute(update(leases).values(**spoiled))
        with pytest.raises(LeaseHeld), second.lease("pair", "second", 3.0):
            pass
        lease._ended.set()  # no beat comes any more
        lease._heart.join()
        with first.write() as con:
            con.execute(update(leases).values(**spoiled))
        with second.lease("pair", "second", 1.0, wait_s=20) as mine:
            assert mine.fencing == lease.fencing + 1

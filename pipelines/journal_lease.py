"""Holds a pair for one run: a lease with a fencing number that every write of the run checks."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import ColumnElement, Connection, RowMapping, insert, select, update

from pipelines.journal_store import Store, moment, stamp
from pipelines.journal_tables import leases
from reconcile.errors import LeaseHeld, LeaseLost, ReconcileError

BEATS: Final = 4  # renewals within the time of a lease
LOOK_AGAIN_S: Final = 0.1
SKEW_S: Final = 30.0  # what the clocks of two machines may be apart
LONGEST_S: Final = 3600.0  # that anybody watches for a beat


class Lease:
    """The right to work on a pair, until it is given back, runs out, or is taken over."""

    def __init__(self, store: Store, pair: str, holder: str, seconds: float, *, wait_s: float = 0.0) -> None:
        self.pair, self.holder, self.seconds, self.wait_s = pair, holder, seconds, wait_s
        self.fencing = 0
        self._until_s: float | None = None  # as taken or last renewed, by the store's uptime; null: not held
        self._store = store
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._acquire()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
        self._until_s = None
        try:
            with self._store.write() as con:
                con.execute(update(leases).where(self._mine()).values(expires_at=None))
        except ReconcileError:
            return  # it runs out by itself; what went wrong before matters more

    def check(self) -> None:
        """Raise LeaseLost where another run has taken the pair over."""
        with self._store.read() as con:
            self.verify(con)

    def verify(self, con: Connection) -> None:
        """The same inside a transaction; PostgreSQL keeps others from taking over until its end."""
        query = select(leases.c.fencing).where(leases.c.pair == self.pair).with_for_update(read=True)
        if con.execute(query).scalar() != self.fencing:
            raise LeaseLost(pair=self.pair)

    def renew(self, con: Connection) -> None:
        """Verify it and make it last its whole time from now, in one transaction: before bytes leave."""
        self.verify(con)
        until_s = self._store.uptime() + self.seconds
        con.execute(update(leases).where(self._mine()).values(**self._a_beat()))
        self._until_s = until_s

    def in_time(self) -> bool:
        """Say whether this lease still lasts by our own clock, without asking the journal.

        A process that slept past it learns so here, at the last moment before bytes leave.
        """
        return self._until_s is not None and self._store.uptime() < self._until_s

    def _acquire(self) -> None:
        """Take the lease; while it is held, wait as long as is allowed, and watch whether its holder lives."""
        started, watch = time.monotonic(), _Watch()
        while True:
            until_s = self._store.uptime() + self.seconds
            try:
                with self._store.write() as con:
                    self.fencing = self._take(con, watch)
            except LeaseHeld:
                if time.monotonic() - started >= self.wait_s and not watch.odd:
                    raise
                time.sleep(LOOK_AGAIN_S)
                continue
            self._until_s = until_s
            return

    def _take(self, con: Connection, watch: _Watch) -> int:
        row = (
            con.execute(select(leases).where(leases.c.pair == self.pair).with_for_update()).mappings().first()
        )
        if row is not None and self._is_held(row, watch):
            raise LeaseHeld(holder=row["holder"], until=row["expires_at"])
        fencing = (int(row["fencing"]) if row else 0) + 1
        values = {
            "fencing": fencing,
            "holder": self.holder,
            "process": this_process(),
            "taken_at": stamp(self._store.now()),
            **self._a_beat(),
        }
        if row is None:
            con.execute(insert(leases).values(pair=self.pair, **values))
        else:
            con.execute(update(leases).where(leases.c.pair == self.pair).values(**values))
        # What a beat changes is left out: verifying holds the row to the rest.
        told = {name: values[name] for name in ("fencing", "holder", "process", "taken_at", "seconds")}
        self._store.log(con, "lease_taken", {"pair": self.pair, **told})
        return fencing

    def _is_held(self, row: RowMapping, watch: _Watch) -> bool:
        if row["expires_at"] is None or is_dead(row["process"]):
            return False
        try:
            left_s, seconds = _left_s(row, self._store)
        except (TypeError, ValueError):  # spoiled: nothing but a beat tells that somebody lives
            left_s, seconds = float("inf"), self.seconds
        if left_s > seconds + SKEW_S and not watch.seen:
            watch.odd = True
        return left_s > 0 and not watch.is_silent(row, min(seconds, LONGEST_S))

    def _a_beat(self) -> dict[str, Any]:
        until = self._store.now() + timedelta(seconds=self.seconds)
        return {"expires_at": stamp(until), "seconds": self.seconds, "beat_s": self._store.uptime()}

    def _mine(self) -> ColumnElement[bool]:
        return (leases.c.pair == self.pair) & (leases.c.fencing == self.fencing)

    def _beat(self) -> None:
        while not self._ended.wait(self.seconds / BEATS):
            try:
                self._renew()
            except ReconcileError:
                continue  # busy or full: the next beat may do; a lost lease is seen by the next write

    def _renew(self) -> None:
        until_s = self._store.uptime() + self.seconds
        with self._store.write() as con:
            renewed = con.execute(update(leases).where(self._mine()).values(**self._a_beat()))
        self._until_s = until_s if renewed.rowcount else None


@dataclass
class _Watch:
    """What one who waits has seen of a lease: whoever shows no beat for its whole length is gone.

    odd: its end is further away than it can be. A clock was set back, and only watching tells.
    """

    seen: tuple[Any, ...] = ()
    since_s: float = 0.0
    odd: bool = False

    def is_silent(self, row: RowMapping, seconds: float) -> bool:
        now_s, beat = time.monotonic(), (row["fencing"], row["expires_at"], row["beat_s"])
        if beat != self.seen:
            # Where it was odd at first, a beat shows that the holder lives: there is nothing to watch for.
            self.odd = self.odd and not self.seen
            self.seen, self.since_s = beat, now_s
        return now_s - self.since_s > seconds


def _left_s(row: RowMapping, store: Store) -> tuple[float, float]:
    """Give for how long a lease lasts, and its whole length. Raises TypeError, ValueError: it is spoiled."""
    on_the_wall_s = (moment(row["expires_at"]) - store.now()).total_seconds()
    seconds = row["seconds"]
    if seconds is None:  # as an older version wrote it
        return on_the_wall_s, max(on_the_wall_s, 0.0)
    if row["beat_s"] is not None and is_of_this_boot(row["process"]):
        # One machine: its own clock, which nobody sets, says how long the holder has been silent.
        return row["beat_s"] + seconds - store.uptime(), float(seconds)
    return on_the_wall_s, float(seconds)


def who_holds(con: Connection) -> str | None:
    """Give who is at work: who holds a lease, unless that process is known to run no more."""
    rows = con.execute(select(leases).where(leases.c.expires_at.is_not(None))).mappings()
    return next((str(row["holder"]) for row in rows if not is_dead(row["process"])), None)


def is_of_this_boot(process: str) -> bool:
    """Say whether that process is of this machine since it was started last: then both read one clock."""
    boot = process.split("|")[1:2]
    return bool(_boot()) and boot == [_boot()]


def this_process() -> str:
    """Name this process so that another one of this machine can tell whether it still runs."""
    return f"{_host()}|{_boot()}|{os.getpid()}|{_started(os.getpid())}"


def is_dead(process: str) -> bool:
    """Say whether that process certainly runs no more: it was of this machine, and is gone."""
    host, _, rest = process.partition("|")
    boot, _, rest = rest.partition("|")
    pid, _, started = rest.partition("|")
    if host != _host() or not pid.isdigit():
        return False
    if boot != _boot():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    now_started = _started(int(pid))
    return bool(started and now_started) and started != now_started  # the number was given to another


def _host() -> str:
    """Name the machine, and the container on it: a process number means something only inside one."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """The process's start in clock ticks since boot, where the system tells (Linux); a zombie has ended.

    One whose first thread ended before the others has not: they may hold its files yet, and their locks.
    """
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return ""
    return "ended" if fields[0] in ("Z", "X") and threads <= 1 else fields[19]

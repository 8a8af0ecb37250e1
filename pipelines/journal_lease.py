"""Holds a pair for one run: a lease with a fencing number that every write of the run checks."""

from __future__ import annotations

import os
import socket
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from sqlalchemy import ColumnElement, Connection, RowMapping, insert, select, update

from pipelines.journal_store import Store, moment, stamp
from pipelines.journal_tables import leases
from reconcile.errors import LeaseHeld, LeaseLost, ReconcileError

BEATS: Final = 4  # renewals within the time of a lease


class Lease:
    """The right to work on a pair, until it is given back, runs out, or is taken over."""

    def __init__(self, store: Store, pair: str, holder: str, seconds: float) -> None:
        self.pair, self.holder, self.seconds = pair, holder, seconds
        self.fencing = 0
        self._store = store
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Self:
        with self._store.write() as con:
            self.fencing = self._take(con)
            self._store.log(
                con, "lease_taken", {"pair": self.pair, "fencing": self.fencing, "holder": self.holder}
            )
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
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

    def _take(self, con: Connection) -> int:
        now = self._store.now()
        row = (
            con.execute(select(leases).where(leases.c.pair == self.pair).with_for_update()).mappings().first()
        )
        if row is not None and _is_held(row, now):
            raise LeaseHeld(holder=row["holder"], until=row["expires_at"])
        values = {
            "fencing": (row["fencing"] if row else 0) + 1,
            "holder": self.holder,
            "process": this_process(),
            "taken_at": stamp(now),
            "expires_at": stamp(now + timedelta(seconds=self.seconds)),
        }
        if row is None:
            con.execute(insert(leases).values(pair=self.pair, **values))
        else:
            con.execute(update(leases).where(leases.c.pair == self.pair).values(**values))
        return values["fencing"]

    def _mine(self) -> ColumnElement[bool]:
        return (leases.c.pair == self.pair) & (leases.c.fencing == self.fencing)

    def _beat(self) -> None:
        while not self._ended.wait(self.seconds / BEATS):
            try:
                self._renew()
            except ReconcileError:
                continue  # busy or full: the next beat may do; a lost lease is seen by the next write

    def _renew(self) -> None:
        with self._store.write() as con:
            until = stamp(self._store.now() + timedelta(seconds=self.seconds))
            con.execute(update(leases).where(self._mine()).values(expires_at=until))


def _is_held(row: RowMapping, now: datetime) -> bool:
    expires_at = row["expires_at"]
    if expires_at is None or moment(expires_at) <= now:
        return False
    return not is_dead(row["process"])


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
    """The process's start in clock ticks since boot, where the system tells (Linux); a zombie has ended."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return "ended" if fields[0] in ("Z", "X") else fields[19]

"""Tells the time of one server: the real time plus an offset that can be moved and is kept."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from sandbox.store import Store

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Each server has its own clock, so that a test can also set them apart.

    distinct: whether two stamps may never be equal (a dialect switch decides).
    """

    def __init__(self, store: Store, *, distinct: bool = False) -> None:
        self._store = store
        self._offset_ms: int = store.meta("clock_offset_ms") or 0
        self._last_ms = 0
        self.distinct = distinct

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._offset_ms

    def now(self) -> datetime:
        """Aware, UTC, to the millisecond."""
        return from_ms(self.now_ms())

    def stamp_ms(self) -> int:
        """The time of a write; with `distinct` each is at least 1 ms after the one before."""
        now = self.now_ms()
        if self.distinct:
            now = max(now, self._last_ms + 1)
        self._last_ms = now
        return now

    def move(self, seconds: float) -> None:
        self.set_offset(self._offset_ms + round(seconds * 1000))

    def set_to(self, moment: datetime) -> None:
        self.set_offset(self._offset_ms + to_ms(moment) - self.now_ms())

    def set_offset(self, offset_ms: int) -> None:
        self._offset_ms = offset_ms
        self._last_ms = 0
        self._store.set_meta("clock_offset_ms", offset_ms)

    @property
    def offset_s(self) -> float:
        return self._offset_ms / 1000


def to_ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)

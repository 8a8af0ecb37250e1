"""Virtual time: it moves only when something takes time, and what falls due on the way happens on the way."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEAT_S = 25.0  # shorter than a quarter of any lease here, as the product's own heart


class Time:
    """One clock for the product and both vendors (their own may be set apart by an offset)."""

    def __init__(self, start: datetime) -> None:
        self.us = (start - EPOCH) // timedelta(microseconds=1)
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self._beat: Callable[[], None] | None = None
        self._beaten_us = self.us

    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.us)

    def now_ms(self) -> int:
        return self.us // 1000

    def monotonic(self) -> float:
        return self.us / 1e6

    def at(self, after_s: float, act: Callable[[], None]) -> None:
        """Let something happen that much later."""
        self._numbers += 1
        heapq.heappush(self._due, (self.us + round(after_s * 1e6), self._numbers, act))

    def on_beat(self, beat: Callable[[], None]) -> None:
        self._beat = beat

    def sleep(self, seconds: float) -> None:
        """Let time pass; beats and what is due come in their order."""
        end = self.us + max(round(seconds * 1e6), 0)
        while True:
            beat_at = self._beaten_us + round(BEAT_S * 1e6)
            due_at = self._due[0][0] if self._due else end + 1
            if min(beat_at, due_at) > end:
                break
            if due_at <= beat_at:
                self.us = max(self.us, due_at)
                heapq.heappop(self._due)[2]()
            else:
                self.us = max(self.us, beat_at)
                self._beaten_us = beat_at
                if self._beat is not None:
                    self._beat()
        self.us = max(self.us, end)

    def jump(self, seconds: float) -> None:
        """Let time pass for everybody but us: no heart beats (the process was stopped)."""
        beat, self._beat = self._beat, None
        self.sleep(seconds)
        self._beat = beat

    @property
    def pending(self) -> int:
        return len(self._due)

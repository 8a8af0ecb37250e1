"""Counts the calls of a minute, of a day and at once, and says when one is too many."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.dialect import Dialect
from sandbox.store import Store

MINUTE_MS, DAY_MS = 60_000, 86_400_000
MINUTE_LIMIT, CONCURRENT_LIMIT, APP_MINUTE_LIMIT = 60, 5, 10_000
PHASE_MS = 17_000  # second hand: each tenant's window begins at its own time


@dataclass(frozen=True)
class TooMany:
    """What limit was met; retry_after_s is told for minute and day only (documented)."""

    problem: str
    retry_after_s: int | None


class Meter:
    """The limits of one tenant; refused calls don't count (unconfirmed), replays do (second hand)."""

    def __init__(self, store: Store, clock: Clock, dialect: Dialect, *, on: bool) -> None:
        self._clock, self._dialect, self._on = clock, dialect, on
        self._times = store.logged_times(clock.now_ms() - DAY_MS, "/api.xro/")
        self.running = 0

    def admit(self) -> TooMany | None:
        """Count one more call, or say why not."""
        if not self._on:
            return None
        now = self._clock.now_ms()
        self._tidy(now)
        if self.running >= CONCURRENT_LIMIT:
            return TooMany(self._dialect["concurrent_problem"], None)
        if self._day_left(now) <= 0:
            return TooMany("day", self._seconds_left(now, DAY_MS))
        if self._minute_left(now) <= 0:
            return TooMany("minute", self._seconds_left(now, MINUTE_MS))
        self._times.append(now)
        return None

    def headers(self) -> dict[str, str]:
        """documented: on every reply."""
        now = self._clock.now_ms()
        minute = self._minute_left(now) if self._on else MINUTE_LIMIT
        day = self._day_left(now) if self._on else self._dialect["day_limit"]
        return {
            "X-DayLimit-Remaining": str(max(0, day)),
            "X-MinLimit-Remaining": str(max(0, minute)),
            "X-AppMinLimit-Remaining": str(APP_MINUTE_LIMIT - MINUTE_LIMIT + max(0, minute)),
        }

    def _tidy(self, now: int) -> None:
        """Forget what is older than a day, and what lies ahead of a clock that was set back."""
        if self._times and (self._times[0] <= now - DAY_MS or self._times[-1] > now):
            self._times = [time for time in self._times if now - DAY_MS < time <= now]

    def _minute_left(self, now: int) -> int:
        return MINUTE_LIMIT - self._since(self._start(now, MINUTE_MS))

    def _day_left(self, now: int) -> int:
        return int(self._dialect["day_limit"]) - self._since(self._start(now, DAY_MS))

    def _start(self, now: int, length: int) -> int:
        if self._dialect["minute_window"] == "rolling":
            return now - length + 1
        return now - (now - PHASE_MS) % length

    def _since(self, ms: int) -> int:
        return len(self._times) - bisect_left(self._times, ms)

    def _seconds_left(self, now: int, length: int) -> int:
        if self._dialect["minute_window"] == "rolling":
            first = self._times[bisect_left(self._times, self._start(now, length))]
            return max(1, -(-(first + length - now) // 1000))
        return max(1, -(-(self._start(now, length) + length - now) // 1000))

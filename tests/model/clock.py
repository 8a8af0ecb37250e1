"""A clock that moves only when something takes time, and does at their moments what was put off."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class Clock:
    """Virtual time in seconds since the beginning."""

    def __init__(self) -> None:
        self.at = 0.0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.at)

    def put_off(self, delay_s: float, what: Callable[[], None]) -> None:
        """Do something later, whoever is at work then."""
        self._count += 1
        heapq.heappush(self._later, (self.at + delay_s, self._count, what))

    def pass_(self, seconds: float) -> None:
        """Let time pass; what was put off happens at its moment."""
        until = self.at + max(seconds, 0.0)
        while self._later and self._later[0][0] <= until:
            due, _, what = heapq.heappop(self._later)
            self.at = max(self.at, due)
            what()
        self.at = until

    @property
    def waits_for(self) -> int:
        return len(self._later)

"""Counts the calls of a rolling day, tells of them in Sforce-Limit-Info, says when none are left."""

from __future__ import annotations

from typing import Any

from sandbox.salesforce.org import Org

DAY_CALLS = 15_000  # unconfirmed: a Developer Edition's day
HOUR_MS = 3_600_000


class Usage:
    """Calls by hour of the server's clock; the last 24 hours count. on: refuse when they are used up."""

    def __init__(self, org: Org, *, on: bool) -> None:
        self._org, self._on = org, on

    @property
    def most(self) -> int:
        return self._org.store.kept("api_limit", "most") or DAY_CALLS

    def used(self) -> int:
        hours: dict[str, int] = self._org.store.kept("api_usage", "hours") or {}
        return sum(hours.values())

    def count(self, calls: int = 1) -> bool:
        """Count calls; False where the day's are used up (then they are not counted)."""
        now = self._org.clock.now_ms() // HOUR_MS
        hours: dict[str, int] = self._org.store.kept("api_usage", "hours") or {}
        hours = {hour: n for hour, n in hours.items() if now - 24 < int(hour) <= now}
        if self._on and sum(hours.values()) + calls > self.most:
            return False
        hours[str(now)] = hours.get(str(now), 0) + calls
        self._org.store.keep("api_usage", "hours", hours)
        return True

    def set(self, *, used: int | None = None, most: int | None = None) -> None:
        if most is not None:
            self._org.store.keep("api_limit", "most", most)
        if used is not None:
            self._org.store.keep("api_usage", "hours", {str(self._org.clock.now_ms() // HOUR_MS): used})

    def header(self) -> str:
        """Sforce-Limit-Info (doc), with what else may stand in it."""
        usage = f"api-usage={self.used()}/{self.most}"
        extra = {
            "bursts": "; api-bursts=1/750",
            "per_app": "; per-app-api-usage=17/250(appName=reconcile)",
        }
        return usage + extra.get(self._org.dialect["limit_info"], "")

    def resource(self) -> dict[str, Any]:
        """What GET /limits tells, of the many it has."""
        left = max(0, self.most - self.used())
        day = {"Max": self.most, "Remaining": left}
        return {
            "DailyApiRequests": day,
            "DailyAsyncApexExecutions": {"Max": 250_000, "Remaining": 250_000},
            "DailyBulkApiBatches": {"Max": 15_000, "Remaining": 15_000},
            "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": 10_000},
            "DataStorageMB": {"Max": 5, "Remaining": 5},
            "FileStorageMB": {"Max": 20, "Remaining": 20},
        }

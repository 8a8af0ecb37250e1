"""Counts the calls of a rolling day, tells of them in Sforce-Limit-Info, says when none are left."""

from __future__ import annotations

from typing import Any

from sandbox.salesforce.org import Org

DAY_CALLS = 15_000  # unconfirmed: a Developer Edition's day
HOUR_MS = 3_600_000
BULK = {"batches": 15_000, "query_jobs": 10_000}  # doc: of a rolling day


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

    # -- the day's share of Bulk API

    def count_bulk(self, what: str, n: int) -> bool:
        """Count batches or query_jobs; False where the day's are used up."""
        hours = self._bulk_hours(what)
        if self._on and sum(hours.values()) + n > BULK[what]:
            return False
        now = str(self._org.clock.now_ms() // HOUR_MS)
        hours[now] = hours.get(now, 0) + n
        self._org.store.keep("bulk_usage", what, hours)
        return True

    def bulk_used(self) -> dict[str, int]:
        return {what: sum(self._bulk_hours(what).values()) for what in BULK}

    def set_bulk(self, what: str, used: int) -> None:
        if what not in BULK:
            raise KeyError(f"no share of Bulk API {what!r}; there are: {', '.join(BULK)}")
        self._org.store.keep("bulk_usage", what, {str(self._org.clock.now_ms() // HOUR_MS): used})

    def _bulk_hours(self, what: str) -> dict[str, int]:
        now = self._org.clock.now_ms() // HOUR_MS
        hours: dict[str, int] = self._org.store.kept("bulk_usage", what) or {}
        return {hour: n for hour, n in hours.items() if now - 24 < int(hour) <= now}

    def _bulk_left(self, what: str) -> dict[str, int]:
        return {"Max": BULK[what], "Remaining": max(0, BULK[what] - self.bulk_used()[what])}

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
            "DailyBulkApiBatches": self._bulk_left("batches"),
            "DailyBulkV2QueryJobs": self._bulk_left("query_jobs"),
            "DataStorageMB": {"Max": 5, "Remaining": 5},
            "FileStorageMB": {"Max": 20, "Remaining": 20},
        }

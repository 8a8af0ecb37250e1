"""Keeps a connection full and never over: limits, waiting and retries of one side, in one place.

Only reads, and refusals that wrote nothing, are sent again.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from reconcile.errors import NotConnected, RateLimited, Unreachable

LONGEST_WAIT_S: Final = 300.0  # a refusal that asks for more ends the run instead
LONGEST_TOLD_S: Final = 86_400.0  # no limit of either vendor lasts longer than a day
WINDOW_S: Final = 61.0  # a minute, and what two calls may drift apart on their way
FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0
CONNECT_TRIES: Final = 3  # a wrong address should not take the patience of a busy server
DOWN: Final = frozenset({500, 502, 503, 504})
XERO_DAYS: Final = (1000, 5000)  # calls a day: Starter; Core and above (developer.xero.com, 2026)


@dataclass(frozen=True)
class Reading:
    """What one reply says about the limits. None: it does not say."""

    minute_left: int | None = None
    day_left: int | None = None
    day_total: int | None = None
    refused: str | None = None  # the limit by which the call was refused whole
    retry_after_s: float | None = None


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Give the seconds to wait that a Retry-After header asks for.

    Takes seconds (also with a fraction) or an HTTP date. Gives None for what is missing, negative,
    past or unreadable: then our own backoff decides. Longer than a day counts as a day.
    """
    text = (value or "").strip()
    if re.fullmatch(r"\+?\d{1,18}(\.\d{1,18})?", text, re.ASCII):
        return min(float(text), LONGEST_TOLD_S)
    try:
        until = parsedate_to_datetime(text)
        if until.tzinfo is None:  # "-0000" means UTC of unknown origin
            until = until.replace(tzinfo=UTC)
        left_s = (until - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(left_s, LONGEST_TOLD_S) if left_s > 0 else None


def read_xero(response: httpx.Response, now: datetime) -> Reading:
    """Read Xero's limit headers. Source: facts of developer.xero.com/documentation limits, 2026."""
    headers = response.headers
    day_left = _number(headers, "X-DayLimit-Remaining")
    problem = headers.get("X-Rate-Limit-Problem", "").strip().lower()
    return Reading(
        minute_left=_number(headers, "X-MinLimit-Remaining"),
        day_left=day_left,
        day_total=next((n for n in XERO_DAYS if day_left is not None and n >= day_left), day_left),
        refused=(problem or "unnamed") if response.status_code == 429 else None,
        retry_after_s=parse_retry_after(headers.get("Retry-After"), now),
    )


def read_salesforce(response: httpx.Response, now: datetime) -> Reading:
    """Read Sforce-Limit-Info (api-usage=18/5000; api-bursts=...) and the refusal in the body."""
    usage = re.search(
        r"(?:^|[;,\s])api-usage=(\d{1,12})/(\d{1,12})", response.headers.get("Sforce-Limit-Info", "")
    )
    used, total = (int(usage[1]), int(usage[2])) if usage else (None, None)
    refused = None
    if response.status_code == 429:
        refused = "unnamed"
    elif response.status_code == 403 and b"REQUEST_LIMIT_EXCEEDED" in response.content:
        # "ConcurrentPerOrgLongTxn Limit exceeded." passes by itself; "TotalRequests" lasts for hours.
        refused = "concurrent" if b"Concurrent" in response.content else "day"
    return Reading(
        day_left=None if used is None or total is None else max(total - used, 0),
        day_total=total,
        refused=refused,
        retry_after_s=parse_retry_after(response.headers.get("Retry-After"), now),
    )


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else None


def utc_now() -> datetime:
    return datetime.now(UTC)


class Governor:
    """The limits of one side, shared by every thread that calls it."""

    def __init__(
        self,
        side: str,
        read: Callable[[httpx.Response, datetime], Reading],
        *,
        calls_a_minute: int | None,
        concurrent: int,
        day_reserve: float,
        retries: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.side, self.read, self.retries = side, read, retries
        self.calls_a_minute, self.day_reserve = calls_a_minute, day_reserve
        self.now = now
        self.waited_s = 0.0
        self._monotonic, self._sleep, self._jitter = monotonic, sleep, jitter
        self._slots = threading.BoundedSemaphore(concurrent)
        self._lock = threading.Lock()
        self._sent: deque[float] = deque()
        self._not_before = 0.0
        self._day_left: int | None = None
        self._day_total: int | None = None

    @property
    def day_left(self) -> int | None:
        """Calls left today as the last reply told, less those sent since; None before the first."""
        return self._day_left

    @property
    def day_total(self) -> int | None:
        return self._day_total

    def run(self, send: Callable[[], httpx.Response], *, repeatable: bool) -> httpx.Response:
        """Send when the limits allow it, and again where that can do no harm.

        repeatable: a read; it is sent again after a broken connection or a 5xx too.
        Raises RateLimited, and what `send` raises once the tries are used up.
        """
        tries = 0
        while True:
            self._admit()
            try:
                with self._slots:
                    response = send()
            except Unreachable as error:
                most = CONNECT_TRIES if isinstance(error, NotConnected) else self.retries + 1
                if not repeatable or tries + 1 >= min(most, self.retries + 1):
                    raise
                self._pause(self._backoff_s(tries))
            else:
                reading = self.read(response, self.now())
                self._observe(reading)
                if reading.refused:
                    self._give_way(reading, tries)
                elif not (repeatable and response.status_code in DOWN and tries < self.retries):
                    return response
                else:
                    told_s = reading.retry_after_s or 0.0
                    if told_s > LONGEST_WAIT_S:
                        return response
                    self._pause(max(told_s, self._backoff_s(tries)))
            tries += 1

    def _admit(self) -> None:
        """Wait until the minute has room; count the call."""
        while True:
            with self._lock:
                self._stop_before_day_is_used_up()
                wait_s = self._wait_s()
                if wait_s <= 0:
                    self._sent.append(self._monotonic())
                    if self._day_left is not None:
                        self._day_left -= 1
                    return
            self._pause(wait_s)

    def _wait_s(self) -> float:
        now = self._monotonic()
        while self._sent and self._sent[0] <= now - WINDOW_S:
            self._sent.popleft()
        wait_s = self._not_before - now
        if self.calls_a_minute is not None and len(self._sent) >= self.calls_a_minute:
            wait_s = max(wait_s, self._sent[-self.calls_a_minute] + WINDOW_S - now)
        return wait_s

    def _stop_before_day_is_used_up(self) -> None:
        if self._day_left is None or self._day_total is None:
            return
        if self._day_left <= self._day_total * self.day_reserve:
            raise RateLimited(
                side=self.side,
                limit=f"day: {max(self._day_left, 0)} of {self._day_total} left, "
                f"{self.day_reserve:.0%} are kept for others",
                retry_after_s=None,
            )

    def _observe(self, reading: Reading) -> None:
        with self._lock:
            if reading.day_left is not None:
                self._day_left = reading.day_left
                # Guessed from what is left: it may only grow, or the reserve would shrink with the day.
                self._day_total = max(reading.day_total or 0, self._day_total or 0)
            if reading.minute_left == 0 and not reading.refused:
                # Others use this minute too. It can't end later than one after our first call in it.
                first = self._sent[0] if self._sent else self._monotonic()
                self._not_before = max(self._not_before, first + WINDOW_S)

    def _give_way(self, reading: Reading, tries: int) -> None:
        told_s = reading.retry_after_s
        if reading.refused == "day" or tries >= self.retries or (told_s or 0) > LONGEST_WAIT_S:
            raise RateLimited(side=self.side, limit=str(reading.refused), retry_after_s=told_s)
        wait_s = told_s if told_s is not None else self._backoff_s(tries)
        with self._lock:  # the other threads would only be refused as well
            self._not_before = max(self._not_before, self._monotonic() + wait_s)

    def _backoff_s(self, tries: int) -> float:
        return min(FIRST_BACKOFF_S * 2**tries, LONGEST_BACKOFF_S) * (0.5 + self._jitter() / 2)

    def _pause(self, wait_s: float) -> None:
        self.waited_s += wait_s
        self._sleep(wait_s)

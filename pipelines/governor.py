"""Keeps a connection full and never over: limits, waiting, retries and the breaker of one side, in one place.

Only reads, and refusals that wrote nothing, are sent again. What is known of the limits is shared with the
other processes that use the connection (pipelines/shared.py).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from pipelines.shared import AppUsage, Release, Shared, Usage, in_process
from reconcile.errors import CircuitOpen, LoginBusy, NotConnected, OutcomeUnknown, RateLimited, Unreachable

LONGEST_WAIT_S: Final = 300.0  # a refusal that asks for more ends the run instead
LONGEST_TOLD_S: Final = 86_400.0  # no limit of either vendor lasts longer than a day
LONGEST_KEPT_S: Final = 3600.0  # for so long the next runs believe a long wait that is not the day's
WINDOW_S: Final = 60.05  # a minute, and a little for clocks that don't run alike
# A call counts from when it has certainly arrived: its answer came, or so long has passed. Counted from its sending,
# 60 calls that were held up on the way came together with the next 60 (63 in a minute, by a busy sandbox).
ON_THE_WAY_S: Final = 60.0
SLOT_POLL_S: Final = 0.01
LOGIN_POLL_S: Final = 0.05
LONGEST_LOGIN_S: Final = 330.0  # whoever logs in may be waiting for the minute, or as long as it was told
DAY_BELIEVED_S: Final = 600.0  # then one call asks again how much of the day is left
DAY_S: Final = 86_400.0
LONGEST_PAUSE_S: Final = 300.0  # of an open breaker
TENTH_S: Final = 10.0
RATE_CALLS: Final = 20  # fewer calls in the last minute say nothing about a rate
FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0
CONNECT_TRIES: Final = 3  # a wrong address should not take the patience of a busy server
DOWN: Final = frozenset({500, 502, 503, 504})
XERO_DAYS: Final = (1000, 5000)  # calls a day: Starter; Core and above (developer.xero.com, 2026)


@dataclass(frozen=True)
class Reading:
    """What one reply says about the limits. None: it does not say."""

    minute_left: int | None = None
    app_left: int | None = None
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
        app_left=_number(headers, "X-AppMinLimit-Remaining"),
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


@dataclass(frozen=True)
class Breaker:
    """When calls are stopped: so many failures in a row, or that share of a minute's calls (20 or more).

    pause_s: until one call is let through; doubled, up to five minutes, each time that it fails too.
    """

    failures: int = 10
    share: float = 0.5
    pause_s: float = 30.0


@dataclass
class Ticket:
    """One call that may leave now. stamp: as it stands in Usage.sent."""

    stamp: float
    back: list[Release]
    probe: bool = False


class Governor:
    """The limits of one side, for every thread that calls it, and with `shared` for every process."""

    def __init__(
        self,
        side: str,
        read: Callable[[httpx.Response, datetime], Reading],
        *,
        calls_a_minute: int | None,
        concurrent: int,
        day_reserve: float,
        retries: int,
        app_calls_a_minute: int | None = None,
        breaker: Breaker | None = None,
        shared: Shared | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.side, self.read, self.retries = side, read, retries
        self.calls_a_minute, self.day_reserve = calls_a_minute, day_reserve
        self.concurrent = concurrent
        self.now = now
        self.waited_s = 0.0
        self._app_calls_a_minute = app_calls_a_minute
        self._breaker = breaker or Breaker()
        self._shared = shared or in_process()
        self._monotonic, self._sleep, self._jitter = monotonic, sleep, jitter
        self._day: tuple[int | None, int | None] = (None, None)

    @property
    def day_left(self) -> int | None:
        """Calls left today as the last reply told, less those sent since; None before the first."""
        return self._day[0]

    @property
    def day_total(self) -> int | None:
        return self._day[1]

    def run(
        self, send: Callable[[], httpx.Response], *, repeatable: bool, counts: bool = True
    ) -> httpx.Response:
        """Send when the limits allow it, and again where that can do no harm.

        repeatable: a read; it is sent again after a broken connection or a 5xx too. counts: it uses up the
        minute and the day; a login does not.
        Raises RateLimited, CircuitOpen, and what `send` raises once the tries are used up.
        """
        tries = 0
        while True:
            ticket = self._admit(counts=counts)
            try:
                response = send()
            except (Unreachable, OutcomeUnknown) as error:
                self._end(ticket, failed="no connection or no answer")
                most = CONNECT_TRIES if isinstance(error, NotConnected) else self.retries + 1
                if not repeatable or isinstance(error, OutcomeUnknown):
                    raise
                if tries + 1 >= min(most, self.retries + 1):
                    raise
                self.pause(self._backoff_s(tries))
            except BaseException:
                self._end(ticket, failed=None)
                raise
            else:
                reading = self.read(response, self.now())
                status = response.status_code
                self._end(ticket, failed=f"HTTP {status}" if status >= 500 else "", reading=reading)
                if reading.refused:
                    self._give_way(reading, tries)
                elif not (repeatable and status in DOWN and tries < self.retries):
                    return response
                else:
                    told_s = reading.retry_after_s or 0.0
                    if told_s > LONGEST_WAIT_S:
                        return response
                    self.pause(max(told_s, self._backoff_s(tries)))
            tries += 1

    @contextmanager
    def login_turn(self) -> Iterator[None]:
        """Log in one at a time, over all processes of the connection. Raises LoginBusy."""
        waited_s = 0.0
        while (back := self._shared.login.take(1)) is None:
            if waited_s >= LONGEST_LOGIN_S:
                raise LoginBusy(side=self.side, waited_s=waited_s)
            waited_s += LOGIN_POLL_S
            self._sleep(LOGIN_POLL_S)
        try:
            yield
        finally:
            back()

    # -- letting a call leave

    def _admit(self, *, counts: bool) -> Ticket:
        """Wait until a place is free and the limits have room; count the call."""
        waited_s = 0.0
        while True:
            back = self._shared.calls.take(self.concurrent)
            if back is None:
                wait_s = SLOT_POLL_S * (0.5 + self._jitter())
                waited_s += wait_s
                if waited_s > LONGEST_WAIT_S:
                    raise RateLimited(
                        side=self.side, limit=f"{self.concurrent} at once", retry_after_s=LONGEST_WAIT_S
                    )
            else:
                try:
                    found = self._asked(back, counts=counts)
                except BaseException:
                    back()
                    raise
                if isinstance(found, Ticket):
                    return found
                back()
                wait_s = found
            self.pause(wait_s)

    def _asked(self, back: Release, *, counts: bool) -> Ticket | float:
        """Give a ticket, or the seconds to wait. Raises RateLimited, CircuitOpen."""
        with self._shared.usage.change() as usage, self._app() as app:
            now = self._monotonic()
            _tidy(usage, now)
            self._heed_breaker(usage, now)
            asks_for_day = self._heed_day(usage)
            wait_s = max(_told_wait_s(usage, now), self._minute_wait_s(usage, now))
            if app is not None:
                wait_s = max(wait_s, _told_wait_s(app, now), self._app_wait_s(app, now))
            if counts and wait_s > 0:
                return wait_s
            ticket = Ticket(now + ON_THE_WAY_S, [back])
            if usage.open_until is not None:
                self._take_probe(usage, ticket)
            if not counts:
                return ticket
            if asks_for_day:
                usage.day_told_at = self.now().timestamp()
            if self.calls_a_minute is not None:
                usage.sent.append(ticket.stamp)
            usage.told_left = None if usage.told_left is None else usage.told_left - 1
            usage.day_left = None if usage.day_left is None else usage.day_left - 1
            if app is not None:
                _count_for_app(app, now)
            self._day = usage.day_left, usage.day_total
            return ticket

    @contextmanager
    def _app(self) -> Iterator[AppUsage | None]:
        if self._shared.app is None:
            yield None
            return
        with self._shared.app.change() as app:
            yield app

    def _minute_wait_s(self, usage: Usage, now: float) -> float:
        if self.calls_a_minute is None or len(usage.sent) < self.calls_a_minute:
            return 0.0
        return sorted(usage.sent)[-self.calls_a_minute] + WINDOW_S - now

    def _app_wait_s(self, app: AppUsage, now: float) -> float:
        app.seconds = [one for one in app.seconds if now - WINDOW_S - 1 < one[0] <= now]
        most = self._app_calls_a_minute
        if most is None or sum(calls for _, calls in app.seconds) < most:
            return 0.0
        return app.seconds[0][0] + WINDOW_S + 1 - now

    def _heed_day(self, usage: Usage) -> bool:
        """Stop where the day is used up, but for what is kept for others, or where a long wait was told.

        Gives whether this call is to ask how the day stands: what was told is too old to be believed.
        """
        now = self.now().timestamp()
        left_s = usage.blocked_until - now
        if 0 < left_s <= DAY_S:  # one that is further away was written by a clock that was wrong
            raise RateLimited(side=self.side, limit=usage.blocked_by, retry_after_s=left_s)
        if usage.day_left is None or usage.day_total is None:
            return False
        if usage.day_left > usage.day_total * self.day_reserve:
            return False
        if not 0 <= now - usage.day_told_at < DAY_BELIEVED_S:
            return True
        raise RateLimited(
            side=self.side,
            limit=f"day: {max(usage.day_left, 0)} of {usage.day_total} left, "
            f"{self.day_reserve:.0%} are kept for others",
            retry_after_s=None,
        )

    def _heed_breaker(self, usage: Usage, now: float) -> None:
        if usage.open_until is not None and usage.open_until > now:
            raise self._open(usage, usage.open_until - now)

    def _take_probe(self, usage: Usage, ticket: Ticket) -> None:
        """Be the one call that is let through; the lock ends with the process, should it die on the way."""
        back = self._shared.probe.take(1)
        if back is None:
            raise self._open(usage, 1.0)
        ticket.back.append(back)
        ticket.probe = True

    def _open(self, usage: Usage, left_s: float) -> CircuitOpen:
        next_try_at = self.now() + timedelta(seconds=left_s)
        return CircuitOpen(side=self.side, why=usage.failed_how, next_try_at=next_try_at)

    # -- learning from what became of it

    def _end(self, ticket: Ticket, *, failed: str | None, reading: Reading | None = None) -> None:
        """Keep what a call taught. failed: how; empty: it did not; null: it says nothing of the system."""
        try:
            with self._shared.usage.change() as usage:
                now = self._monotonic()
                _tidy(usage, now)
                if ticket.stamp in usage.sent:  # it may be forgotten by now
                    usage.sent.remove(ticket.stamp)
                    usage.sent.append(min(ticket.stamp, now))
                if reading is not None:
                    self._learn_limits(usage, reading, now)
                if failed is not None:
                    self._learn_health(usage, failed, now, probe=ticket.probe)
                self._day = usage.day_left, usage.day_total
            if reading is not None:
                with self._app() as app:
                    if app is not None:
                        _learn_app(app, reading, now)
        finally:
            for back in ticket.back:
                back()

    def _learn_limits(self, usage: Usage, reading: Reading, now: float) -> None:
        today = self.now().timestamp()
        if reading.day_left is not None:
            usage.day_left, usage.day_told_at = reading.day_left, today
            # Guessed from what is left: it may only grow, or the reserve would shrink with the day.
            total = reading.day_total or 0
            if total >= (usage.day_total or 0) or not 0 <= today - usage.day_total_at < DAY_S:
                usage.day_total, usage.day_total_at = total, today
        if reading.minute_left is not None and not reading.refused:
            under_way = sum(stamp > now for stamp in usage.sent)
            usage.told_left = reading.minute_left - under_way
            # Others use this minute too. It can't end later than one after our first call in it.
            usage.told_until = min(usage.sent, default=now) + WINDOW_S
        if reading.refused:
            wait_s, of_day = reading.retry_after_s, reading.refused == "day"
            if of_day or (wait_s or 0) > LONGEST_WAIT_S:
                usage.day_left = 0 if of_day and usage.day_left is not None else usage.day_left
                kept_s = min(wait_s or DAY_BELIEVED_S, DAY_S if of_day else LONGEST_KEPT_S)
                usage.blocked_until, usage.blocked_by = today + kept_s, str(reading.refused)
            elif wait_s is not None and not _of_app(reading):  # the others would only be refused as well
                usage.not_before = max(usage.not_before, now + wait_s)

    def _learn_health(self, usage: Usage, failed: str, now: float, *, probe: bool) -> None:
        if not failed:
            usage.failures = 0
            if probe or usage.open_until is None:
                usage.open_until, usage.pause_s = None, 0.0
            if probe:
                usage.tenths = []
                return
        else:
            usage.failures += 1
        tenth = now - now % TENTH_S
        if not usage.tenths or usage.tenths[-1][0] != tenth:
            usage.tenths.append([tenth, 0, 0])
        usage.tenths[-1][1] += 1
        usage.tenths[-1][2] += bool(failed)
        if not failed or (usage.open_until is not None and not probe):
            return
        why = self._why_open(usage, failed)
        if probe or why:
            last = usage.pause_s
            usage.pause_s = min(
                max(2 * last, self._breaker.pause_s), max(LONGEST_PAUSE_S, self._breaker.pause_s)
            )
            usage.open_until = now + usage.pause_s
            usage.failed_how = why or f"the call that was let through failed too ({failed})"

    def _why_open(self, usage: Usage, failed: str) -> str:
        if usage.failures >= self._breaker.failures:
            return f"{usage.failures} in a row failed (the last: {failed})"
        calls, failures = (sum(one[at] for one in usage.tenths) for at in (1, 2))
        if calls >= RATE_CALLS and failures >= self._breaker.share * calls:
            return f"{failures:.0f} of the last minute's {calls:.0f} failed (the last: {failed})"
        return ""

    def _give_way(self, reading: Reading, tries: int) -> None:
        told_s = reading.retry_after_s
        if reading.refused == "day" or tries >= self.retries or (told_s or 0) > LONGEST_WAIT_S:
            raise RateLimited(side=self.side, limit=str(reading.refused), retry_after_s=told_s)
        self.pause(told_s or self._backoff_s(tries))

    def _backoff_s(self, tries: int) -> float:
        return min(FIRST_BACKOFF_S * 2**tries, LONGEST_BACKOFF_S) * (0.5 + self._jitter() / 2)

    def pause(self, wait_s: float) -> None:
        """Wait, by the clock of this governor; also for what the vendor works on."""
        self.waited_s += wait_s
        self._sleep(wait_s)


def _tidy(usage: Usage, now: float) -> None:
    """Forget what is older than a minute, and what lies ahead as nothing of today's can (the machine restarted)."""
    usage.sent = [stamp for stamp in usage.sent if now - WINDOW_S < stamp <= now + ON_THE_WAY_S]
    usage.tenths = [one for one in usage.tenths if now - 60 < one[0] <= now]
    if usage.not_before > now + LONGEST_WAIT_S:
        usage.not_before = 0.0
    if usage.told_until > now + WINDOW_S + ON_THE_WAY_S:
        usage.told_left = None
    if usage.open_until is not None and usage.open_until > now + max(LONGEST_PAUSE_S, usage.pause_s):
        usage.open_until = now


def _told_wait_s(usage: Usage | AppUsage, now: float) -> float:
    """Give how long to wait by what the vendor told: a refusal, or a minute with nothing left in it."""
    wait_s = usage.not_before - now
    if usage.told_left is None:
        return wait_s
    if now >= usage.told_until:
        usage.told_left = None
        return wait_s
    if usage.told_left > 0:
        return wait_s
    # Calls under way were taken off in case the vendor had not counted them: their answers tell soon.
    left_s = usage.told_until - now
    return max(wait_s, min(left_s, 0.1) if _under_way(usage, now) else left_s)


def _under_way(usage: Usage | AppUsage, now: float) -> bool:
    return isinstance(usage, Usage) and any(stamp > now for stamp in usage.sent)


def _count_for_app(app: AppUsage, now: float) -> None:
    second = float(int(now))
    if not app.seconds or app.seconds[-1][0] != second:
        app.seconds.append([second, 0])
    app.seconds[-1][1] += 1
    app.told_left = None if app.told_left is None else app.told_left - 1


def _learn_app(app: AppUsage, reading: Reading, now: float) -> None:
    if reading.app_left is not None and not reading.refused:
        first = app.seconds[0][0] if app.seconds else now
        app.told_left, app.told_until = reading.app_left, first + WINDOW_S
    if reading.refused and _of_app(reading):
        app.not_before = max(app.not_before, now + min(reading.retry_after_s or 1.0, LONGEST_WAIT_S))


def _of_app(reading: Reading) -> bool:
    """Say whether it was the limit of the whole app that refused (the spelling is unconfirmed)."""
    return bool(reading.refused) and "app" in str(reading.refused)

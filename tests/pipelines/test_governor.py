"""Limits, waits and retries, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.governor import (
    LONGEST_TOLD_S,
    Governor,
    parse_retry_after,
    read_salesforce,
    read_xero,
)
from reconcile.errors import NotConnected, RateLimited, Unreachable

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += max(seconds, 0.001)


def governed(clock: Clock, side: str = "xero", **options: object) -> Governor:
    given_options = {"calls_a_minute": 60, "concurrent": 5, "day_reserve": 0.1, "retries": 5} | options
    return Governor(
        side,
        read_xero if side == "xero" else read_salesforce,
        monotonic=lambda: clock.at,
        sleep=clock.sleep,
        now=lambda: NOW + timedelta(seconds=clock.at - 1000),
        jitter=lambda: 0.5,
        **given_options,  # type: ignore[arg-type]
    )


def answers(*replies: httpx.Response | Exception) -> Callable[[], httpx.Response]:
    left = list(replies)

    def send() -> httpx.Response:
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    return send


def limited(**headers: str) -> httpx.Response:
    return httpx.Response(429, headers={name.replace("_", "-"): value for name, value in headers.items()})


OK = httpx.Response(200)


@given(st.text() | st.integers().map(str) | st.floats().map(str) | st.none())
def test_whatever_retry_after_holds_the_wait_is_none_or_between_now_and_a_day(value):
    wait_s = parse_retry_after(value, NOW)
    assert wait_s is None or 0 <= wait_s <= LONGEST_TOLD_S


@given(st.integers(min_value=0, max_value=86_400))
def test_seconds_and_http_dates_ask_for_the_same_wait(seconds):
    assert parse_retry_after(str(seconds), NOW) == seconds
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(date, NOW) == (seconds or None)


@pytest.mark.parametrize("value", ["-5", "", "soon", "Tue, 24 Nov 2020 12:00:00 GMT", "nan", "1e9", "５"])
def test_a_negative_past_or_unreadable_wait_leaves_it_to_our_own_backoff(value):
    assert parse_retry_after(value, NOW) is None


def test_sixty_calls_go_out_at_once_and_the_next_waits_for_the_window():
    clock = Clock()
    governor = governed(clock)
    for _ in range(60):
        governor.run(answers(OK), repeatable=True)
    assert clock.slept == []
    governor.run(answers(OK), repeatable=True)
    assert clock.at - 1000 >= 60


def test_no_sixty_one_calls_ever_fall_into_one_minute():
    clock, sent = Clock(), []
    governor = governed(clock)
    for _ in range(200):
        governor.run(lambda: sent.append(clock.at) or OK, repeatable=True)
        clock.at += 0.3
    assert all(later - earlier >= 60 for earlier, later in zip(sent, sent[60:], strict=False))


@pytest.mark.parametrize("write", [False, True])
def test_a_refusal_is_sent_again_and_never_earlier_than_told(write):
    clock = Clock()
    refused = limited(X_Rate_Limit_Problem="minute", Retry_After="45")
    assert governed(clock).run(answers(refused, OK), repeatable=not write).status_code == 200
    assert clock.at - 1000 >= 45


@pytest.mark.parametrize("told", [{}, {"Retry_After": "-3"}, {"Retry_After": "later"}])
def test_without_a_usable_wait_a_refusal_backs_off_by_itself(told):
    clock = Clock()
    assert governed(clock).run(answers(limited(**told), limited(**told), OK), repeatable=True) is OK
    assert 0.3 < clock.at - 1000 < 10


@pytest.mark.parametrize(
    "problem", [{"X_Rate_Limit_Problem": "day", "Retry_After": "40000"}, {"Retry_After": "99999999"}]
)
def test_a_limit_that_lasts_ends_the_run_instead_of_sleeping(problem):
    clock = Clock()
    with pytest.raises(RateLimited):
        governed(clock).run(answers(limited(**problem)), repeatable=True)
    assert clock.slept == []


def test_a_refusal_that_never_ends_is_given_up():
    with pytest.raises(RateLimited):
        governed(Clock(), retries=3).run(answers(limited(Retry_After="1")), repeatable=True)


def test_a_read_is_repeated_after_a_failure_of_the_server():
    assert governed(Clock()).run(answers(httpx.Response(503), httpx.Response(500), OK), repeatable=True) is OK


def test_a_write_is_never_repeated_after_a_failure_of_the_server():
    sent = []
    reply = governed(Clock()).run(lambda: sent.append(1) or httpx.Response(500), repeatable=False)
    assert reply.status_code == 500
    assert len(sent) == 1


@pytest.mark.parametrize(("error", "most"), [(Unreachable, 6), (NotConnected, 3)])
def test_a_server_that_can_not_be_reached_is_tried_a_few_times_by_reads_only(error, most):
    for repeatable, expected in ((True, most), (False, 1)):
        sent = []

        def send(sent=sent):
            sent.append(1)
            raise error(side="xero", at="here", found="nothing")

        with pytest.raises(error):
            governed(Clock()).run(send, repeatable=repeatable)
        assert len(sent) == expected


def test_the_days_reserve_is_left_to_others():
    governor = governed(Clock())
    governor.run(answers(httpx.Response(200, headers={"X-DayLimit-Remaining": "500"})), repeatable=True)
    governor = governed(Clock())
    governor.run(answers(httpx.Response(200, headers={"X-DayLimit-Remaining": "99"})), repeatable=True)
    with pytest.raises(RateLimited, match="day"):
        governor.run(answers(OK), repeatable=True)


def test_a_minute_used_up_by_others_is_waited_for():
    clock = Clock()
    governor = governed(clock)
    governor.run(answers(httpx.Response(200, headers={"X-MinLimit-Remaining": "0"})), repeatable=True)
    governor.run(answers(OK), repeatable=True)
    assert clock.at - 1000 >= 60


@pytest.mark.parametrize(
    ("header", "left"),
    [
        ("api-usage=18/5000", 4982),
        ("api-usage=10018/100000; api-bursts=1/750", 89982),
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=x)", 4975),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("", None),
    ],
)
def test_salesforce_usage_is_read_in_every_form(header, left):
    reading = read_salesforce(httpx.Response(200, headers={"Sforce-Limit-Info": header}), NOW)
    assert reading.day_left == left


def test_salesforces_day_limit_stops_and_its_concurrency_limit_waits():
    def refusal(message: str) -> httpx.Response:
        return httpx.Response(403, json=[{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": message}])

    with pytest.raises(RateLimited):
        governed(Clock(), "salesforce").run(
            answers(refusal("TotalRequests Limit exceeded.")), repeatable=True
        )
    waits = answers(refusal("ConcurrentPerOrgLongTxn Limit exceeded."), OK)
    assert governed(Clock(), "salesforce").run(waits, repeatable=True) is OK

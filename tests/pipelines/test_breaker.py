"""The breaker: when calls are stopped, what lets them go on, and what does not count."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from peers import Peer, account, contact, settings_for
from push_scene import Scene, contact_id, update
from test_governor_shared import World

from pipelines.clients import share
from pipelines.governor import LONGEST_PAUSE_S, Breaker, Governor, read_xero
from pipelines.shared import in_folder, in_process
from reconcile.errors import CircuitOpen, NotConnected, OutcomeUnknown, RateLimited, RetryLater, Unreachable

QUICK = Breaker(failures=3, share=0.5, pause_s=30)
FAILURES: list[httpx.Response | Exception] = [
    httpx.Response(500),
    httpx.Response(503),
    Unreachable(side="xero", at="here", found="no answer in time"),
    NotConnected(side="xero", at="here", found="connection refused"),
    OutcomeUnknown(side="xero", found="no answer in time"),
]
ALIVE = [httpx.Response(status) for status in (200, 304, 400, 401, 403, 404, 412, 429)]


@dataclass
class Side:
    """A governor and how its next call ends."""

    governor: Governor

    def call(self, end: httpx.Response | Exception, during: Callable[[], None] = lambda: None) -> bool:
        """Make one call, and give whether it left. What the breaker says is raised."""
        left = []

        def send() -> httpx.Response:
            left.append(1)
            during()
            if isinstance(end, Exception):
                raise end
            return end

        try:
            self.governor.run(send, repeatable=False)
        except CircuitOpen:
            raise
        except (RetryLater, OutcomeUnknown):
            pass
        return bool(left)


def side(world: World, shared: object = None, **options: object) -> Side:
    given = {"breaker": QUICK, "retries": 0, "calls_a_minute": None} | options
    return Side(world.governor(shared or in_process(), **given))  # type: ignore[arg-type]


@pytest.mark.parametrize("end", FAILURES, ids=str)
def test_failures_in_a_row_stop_all_calls_and_one_fewer_does_not(end):
    world = World()
    xero = side(world)
    for _ in range(2):
        xero.call(end)
    xero.call(httpx.Response(200))
    for _ in range(3):
        assert xero.call(end)
    with pytest.raises(CircuitOpen, match="3 in a row failed") as caught:
        xero.call(httpx.Response(200))
    assert isinstance(caught.value, RetryLater)
    assert "12:00:30 UTC" in str(caught.value)


@pytest.mark.parametrize("reply", ALIVE, ids=lambda reply: str(reply.status_code))
def test_an_answer_that_shows_a_system_alive_never_stops_calls(reply):
    world = World()
    xero = side(world)
    for _ in range(50):
        with contextlib.suppress(RateLimited):
            xero.call(reply)
        world.at += 1
    assert xero.call(httpx.Response(200))


def test_half_of_a_minutes_calls_failing_stops_them_if_they_are_enough_to_tell():
    world = World()
    xero = side(world)
    for number in range(19):
        xero.call(httpx.Response(503 if number % 2 else 200))
        world.at += 1
    xero.call(httpx.Response(503))
    with pytest.raises(CircuitOpen, match="10 of the last minute's 20 failed"):
        xero.call(httpx.Response(200))


def test_failures_of_more_than_a_minute_ago_are_forgotten():
    world = World()
    xero = side(world)
    for number in range(200):
        xero.call(httpx.Response(503 if number % 2 else 200))
        world.at += 3.5  # 17 a minute: too few to tell
    assert xero.call(httpx.Response(200))


def test_after_the_pause_one_call_is_let_through_and_its_answer_lets_the_others_follow():
    world, shared = World(), in_process()
    first, second = side(world, shared), side(world, shared)
    for _ in range(3):
        first.call(httpx.Response(503))
    with pytest.raises(CircuitOpen):
        second.call(httpx.Response(200))
    world.at += 30

    def meanwhile() -> None:
        with pytest.raises(CircuitOpen):
            second.call(httpx.Response(200))

    assert first.call(httpx.Response(200), during=meanwhile)
    assert second.call(httpx.Response(200))
    assert first.call(httpx.Response(503))
    assert second.call(httpx.Response(200))


def test_a_probe_that_fails_doubles_the_pause_up_to_its_longest():
    world = World()
    xero = side(world)
    for _ in range(3):
        xero.call(httpx.Response(503))
    for pause_s in (30, 60, 120, 240, LONGEST_PAUSE_S, LONGEST_PAUSE_S):
        world.at += pause_s - 1
        with pytest.raises(CircuitOpen):
            xero.call(httpx.Response(503))
        world.at += 1
        assert xero.call(httpx.Response(503))
    with pytest.raises(CircuitOpen, match="9 in a row failed"):
        xero.call(httpx.Response(200))


def test_a_read_that_is_repeated_stops_repeating_when_calls_are_stopped():
    world = World()
    governor = side(world, retries=10).governor
    sent = []
    with pytest.raises(CircuitOpen):
        governor.run(lambda: sent.append(1) or httpx.Response(503), repeatable=True)
    assert len(sent) == 3


class TwoProcesses(RuleBasedStateMachine):
    """Two governors of one connection against a model of it, with any mixture of ends and pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.world, shared = World(), in_process()
        self.sides = [side(self.world, shared, breaker=Breaker(3, 1.0, 30)) for _ in range(2)]
        self.row, self.open_until, self.pause_s = 0, None, 0.0

    @rule(which=st.integers(0, 1), end=st.sampled_from([*FAILURES, *ALIVE]))
    def call(self, which, end):
        is_open = self.open_until is not None and self.world.at < self.open_until
        probe = self.open_until is not None and not is_open
        try:
            left = self.sides[which].call(end)
        except CircuitOpen:
            left = False
        assert left is not is_open
        if not left:
            return
        failed = isinstance(end, Exception) or end.status_code >= 500
        self.row = self.row + 1 if failed else 0
        if probe and not failed:
            self.open_until, self.pause_s = None, 0.0
        elif failed and (probe or self.row >= 3):
            self.pause_s = min(max(2 * self.pause_s, 30), LONGEST_PAUSE_S)
            self.open_until = self.world.at + self.pause_s

    @rule(seconds=st.floats(0.1, 400))
    def wait(self, seconds):
        self.world.at += seconds

    @invariant()
    def a_pause_always_ends(self):
        assert self.open_until is None or self.open_until <= self.world.at + LONGEST_PAUSE_S


TwoProcesses.TestCase.settings = settings(max_examples=30, stateful_step_count=30)
TestTwoProcesses = TwoProcesses.TestCase


# --- real processes and the real push ----------------------------------------------------------------


def _probe_and_hang(folder: str, ready) -> None:
    governor = Governor(
        "xero", read_xero, calls_a_minute=None, concurrent=5, day_reserve=0, retries=0, breaker=Breaker(1, 1, 0.05),
        shared=in_folder(Path(folder)),
    )  # fmt: skip
    governor.run(lambda: httpx.Response(503), repeatable=False)
    time.sleep(0.1)

    def hang() -> httpx.Response:
        ready.set()
        time.sleep(60)
        return httpx.Response(200)

    governor.run(hang, repeatable=False)


def test_a_killed_probe_is_followed_by_another(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_probe_and_hang, args=(str(tmp_path), ready))
    process.start()
    assert ready.wait(30)
    world = World(at=time.monotonic())
    other = Side(world.governor(in_folder(tmp_path), breaker=Breaker(1, 1, 0.05), calls_a_minute=None))
    with pytest.raises(CircuitOpen):
        other.call(httpx.Response(200))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(10)
    assert other.call(httpx.Response(200))
    assert other.call(httpx.Response(200))


def test_while_one_side_is_stopped_the_other_is_written_and_nothing_is_lost(peer: Peer, tmp_path: Path):
    peer.load("xero", [contact(n) for n in (1, 2, 3)])
    peer.load("salesforce", [account(n) for n in (1, 2, 3)])
    peer.settings = settings_for(
        peer.line,
        peer.folder,
        limits={"retries": 0, "breaker_failures": 1, "breaker_pause_s": 120.0, "timeout_s": 5.0},
    )
    scene = Scene(peer, tmp_path)
    scene.know(1, 2, 3)
    to_xero = [update("xero", n, "tax_number", None, f"GB{n}") for n in (1, 2, 3)]
    to_salesforce = update("salesforce", 1, "phone", None, "+442079460123")
    peer.control("xero", "POST", "faults", {"kind": "503", "path": "/Contacts", "times": 1})
    told = scene.push([*to_xero, to_salesforce])
    assert told[to_salesforce["operation_id"]][0] == "confirmed"
    assert {told[one["operation_id"]][0] for one in to_xero} == {"waiting"}
    assert scene.writes("xero") == []
    refused = scene.push(to_xero)  # at once: another run of the connection does not knock either
    assert all("calls are stopped" in str(refused[one["operation_id"]][1]) for one in to_xero)
    with share(peer.settings, "xero").usage.change() as usage:
        usage.open_until = time.monotonic()  # two minutes later
    again = scene.push([*to_xero, to_salesforce])
    assert {outcome for outcome, _ in again.values()} == {"confirmed"}
    assert scene.contacts()[contact_id(3)]["TaxNumber"] == "GB3"
    assert len(scene.writes("xero")) == len(scene.writes("salesforce")) == 1

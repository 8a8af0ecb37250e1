"""Limits that several processes share: never too many, never too early, and nothing left behind by the dead."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.clients import share
from pipelines.governor import DAY_BELIEVED_S, LONGEST_WAIT_S, Governor, read_salesforce, read_xero
from pipelines.settings import Limits, Settings, Xero
from pipelines.shared import AppUsage, Memory, Shared, Usage, in_folder, in_process
from reconcile.errors import FixSettings, RateLimited

START = 5000.0
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OK = httpx.Response(200)


@dataclass
class World:
    """One clock for all, which only moves when somebody sleeps or a call takes its time."""

    at: float = START
    sent: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.at += seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.at - START)

    def governor(self, shared: Shared, side: str = "xero", **options: object) -> Governor:
        given_options = {"calls_a_minute": 7, "concurrent": 5, "day_reserve": 0.1, "retries": 3} | options
        return Governor(
            side,
            read_xero if side == "xero" else read_salesforce,
            shared=shared,
            monotonic=lambda: self.at,
            sleep=self.sleep,
            now=self.now,
            jitter=lambda: 0.5,
            **given_options,  # type: ignore[arg-type]
        )

    def answer(self, reply: httpx.Response) -> Callable[[], httpx.Response]:
        def send() -> httpx.Response:
            self.sent.append(self.at)
            return reply

        return send


def limited(problem: str = "minute", retry_after: str | None = None) -> httpx.Response:
    headers = {"X-Rate-Limit-Problem": problem}
    return httpx.Response(429, headers=headers | ({"Retry-After": retry_after} if retry_after else {}))


def left(**numbers: int) -> httpx.Response:
    names = {
        "minute": "X-MinLimit-Remaining",
        "day": "X-DayLimit-Remaining",
        "app": "X-AppMinLimit-Remaining",
    }
    return httpx.Response(200, headers={names[name]: str(number) for name, number in numbers.items()})


@dataclass
class Vendor:
    """Counts as Xero may: by a minute that begins anew, or by one that rolls; tells what is left."""

    limit: int
    rolling: bool
    phase: float
    arrived: list[float] = field(default_factory=list)
    refused: int = 0

    def answer(self, at: float) -> httpx.Response:
        start = at - 60 if self.rolling else at - (at - self.phase) % 60
        used = sum(start < one if self.rolling else start <= one for one in self.arrived)
        if used >= self.limit:
            self.refused += 1
            return limited(retry_after="60")
        self.arrived.append(at)
        return left(minute=self.limit - used - 1)


calls = st.lists(
    st.tuples(
        st.integers(0, 1),  # which process
        st.floats(0, 10),  # how long after the one before
        st.floats(0, 25),  # on the way there
        st.floats(0, 5),  # until the answer is back
        st.booleans(),  # the next call is made while this one is under way
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(calls, st.booleans(), st.floats(0, 60), st.booleans())
def test_two_processes_never_send_more_in_any_minute_whatever_the_network_does(
    tmp_path_factory, plan, rolling, phase, on_disk
):
    world, vendor = World(), Vendor(7, rolling, phase)
    shared = in_folder(tmp_path_factory.mktemp("shared")) if on_disk else in_process()
    governors = [world.governor(shared), world.governor(shared)]
    left_over = list(plan)

    def one(depth: int) -> None:
        which, gap, there, back, inner = left_over.pop(0)
        world.at += gap

        def send() -> httpx.Response:
            world.at += there
            reply = vendor.answer(world.at)
            if inner and depth < 4 and left_over:
                one(depth + 1)
            world.at += back
            return reply

        governors[which].run(send, repeatable=True)

    while left_over:
        one(1)
    assert vendor.refused == 0
    assert all(
        later - earlier >= 60 for earlier, later in zip(vendor.arrived, vendor.arrived[7:], strict=False)
    )


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.floats(0, 30),
            st.sampled_from(
                [
                    "-5",
                    "0",
                    "",
                    "soon",
                    "1.5",
                    "12",
                    "90",
                    "Tue, 24 Nov 2026 12:01:00 GMT",
                    "1e9",
                    "nan",
                    None,
                ]
            ),
            st.booleans(),
        ),
        max_size=15,
    )
)
def test_nobody_sends_earlier_than_one_of_them_was_told(plan):
    world = World()
    shared = in_process()
    governors = [world.governor(shared, retries=0), world.governor(shared, retries=0)]
    not_before = 0.0
    for which, gap, retry_after, refuse in plan:
        world.at += gap
        reply = limited(retry_after=retry_after) if refuse else OK
        try:
            governors[which].run(world.answer(reply), repeatable=True)
        except RateLimited:
            told = read_xero(reply, world.now()).retry_after_s
            assert world.sent[-1] >= not_before
            not_before = max(not_before, world.at + (told or 0))
        else:
            assert world.sent[-1] >= not_before


@given(st.one_of(st.text(), st.integers().map(str), st.floats().map(str)).filter(lambda t: t.isprintable()))
def test_no_retry_after_makes_a_run_fail_but_by_its_limit_or_keeps_the_next_from_trying_within_a_day(value):
    world = World()
    shared = in_process()
    refusal = httpx.Response(429, headers=[(b"Retry-After", value.encode())])
    with contextlib.suppress(RateLimited):
        world.governor(shared).run(world.answer(refusal), repeatable=False)
    world.at += 86_401
    assert world.governor(shared).run(lambda: OK, repeatable=False) is OK


def test_a_long_wait_of_another_run_is_kept_without_asking_the_vendor():
    world, shared = World(), in_process()
    with pytest.raises(RateLimited):
        world.governor(shared).run(world.answer(limited("day", "40000")), repeatable=True)
    world.at += 39_999
    with pytest.raises(RateLimited, match="day"):
        world.governor(shared).run(world.answer(OK), repeatable=True)
    assert len(world.sent) == 1
    world.at += 1
    assert world.governor(shared).run(world.answer(OK), repeatable=True) is OK


def test_the_days_reserve_holds_for_the_next_run_until_what_was_told_is_old():
    world, shared = World(), in_process()
    world.governor(shared).run(world.answer(left(day=101)), repeatable=True)
    world.governor(shared).run(world.answer(left(day=100)), repeatable=True)
    with pytest.raises(RateLimited, match="10% are kept"):
        world.governor(shared).run(world.answer(OK), repeatable=True)
    world.at += DAY_BELIEVED_S
    world.governor(shared).run(world.answer(left(day=100)), repeatable=True)  # one call asks
    with pytest.raises(RateLimited):
        world.governor(shared).run(world.answer(OK), repeatable=True)
    world.at += DAY_BELIEVED_S
    world.governor(shared).run(world.answer(left(day=950)), repeatable=True)
    world.governor(shared).run(world.answer(left(day=949)), repeatable=True)
    assert len(world.sent) == 5


def test_only_one_of_many_asks_how_the_day_stands():
    world, shared = World(), in_process()
    world.governor(shared).run(world.answer(left(day=100)), repeatable=True)
    world.at += DAY_BELIEVED_S
    asked = []

    def meanwhile() -> httpx.Response:
        with pytest.raises(RateLimited):
            world.governor(shared).run(world.answer(OK), repeatable=True)
        asked.append(1)
        return left(day=99)

    world.governor(shared).run(meanwhile, repeatable=True)
    assert asked == [1]


def test_a_smaller_plan_of_the_vendor_is_noticed_after_a_day():
    world, shared = World(), in_process()
    governor = world.governor(shared)
    governor.run(world.answer(left(day=4000)), repeatable=True)
    assert governor.day_total == 5000
    world.at += 86_400
    governor.run(world.answer(left(day=999)), repeatable=True)
    assert governor.day_total == 1000


def test_the_minute_that_another_app_uses_up_is_waited_for_by_all():
    world, shared = World(), in_process()
    world.governor(shared).run(world.answer(left(minute=0)), repeatable=True)
    world.governor(shared).run(world.answer(left(minute=6)), repeatable=True)
    assert world.sent[1] - world.sent[0] >= 60


def test_the_limit_of_the_app_holds_for_its_other_tenants(tmp_path):
    world = World()
    one, other = (in_folder(tmp_path / name, tmp_path / "app") for name in ("one", "other"))
    options = {"app_calls_a_minute": 3, "calls_a_minute": 60}
    for shared in (one, other, one, other):
        world.governor(shared, **options).run(world.answer(OK), repeatable=True)
    assert world.sent[2] == START and world.sent[3] - START >= 60
    world.governor(one, **options).run(world.answer(left(app=0)), repeatable=True)
    at = world.at
    world.governor(other, **options).run(world.answer(OK), repeatable=True)
    assert world.at - at > 30


def test_a_refusal_for_the_app_holds_back_its_other_tenants_and_no_other_app(tmp_path):
    world = World()
    one, other = (in_folder(tmp_path / name, tmp_path / "app") for name in ("one", "other"))
    stranger = in_folder(tmp_path / "stranger", tmp_path / "app of another")
    with pytest.raises(RateLimited):
        world.governor(one, retries=0).run(world.answer(limited("appminute", "20")), repeatable=True)
    world.governor(stranger).run(world.answer(OK), repeatable=True)
    world.governor(other).run(world.answer(OK), repeatable=True)
    assert world.sent[1] == START and world.sent[2] >= START + 20


def test_after_a_restart_of_the_machine_old_moments_hold_nobody_up(tmp_path):
    world = World()
    governor = world.governor(in_folder(tmp_path))
    for _ in range(7):
        governor.run(world.answer(OK), repeatable=True)
    world.at = 30.0  # the monotonic clock begins anew
    world.governor(in_folder(tmp_path)).run(world.answer(OK), repeatable=True)
    assert world.sent[-1] < 30 + LONGEST_WAIT_S


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_damaged_file_is_as_an_empty_one(tmp_path_factory, rubbish, at):
    folder, world = tmp_path_factory.mktemp("damaged"), World()
    world.governor(in_folder(folder)).run(world.answer(OK), repeatable=True)
    with (folder / "usage").open("r+b") as file:
        file.seek(at)
        file.write(rubbish)
    assert world.governor(in_folder(folder)).run(world.answer(OK), repeatable=True) is OK


def test_a_number_that_changed_on_the_disk_is_not_believed(tmp_path):
    with in_folder(tmp_path).usage.change() as usage:
        usage.failures = 3
    file = tmp_path / "usage"
    file.write_bytes(file.read_bytes().replace(b'"failures":3', b'"failures":9'))
    with in_folder(tmp_path).usage.change() as usage:
        assert usage == Usage()


def test_a_folder_that_can_not_be_used_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FixSettings, match=r"limits\.shared_dir"):
        in_folder(tmp_path / "file" / "below")


def test_two_pairs_share_a_connection_and_no_other(own_state):
    def folder(**xero: str) -> Path:
        shared = share(Settings(xero=Xero(client_id="app", **xero)), "xero")
        return shared.usage._path.parent  # type: ignore[attr-defined]

    assert folder(tenant_id="A") == folder(tenant_id="a") != folder(tenant_id="b")
    assert folder(tenant_id="A") != folder(tenant_id="A", api_url="https://other.test")
    assert folder(tenant_id="A").is_relative_to(own_state / "reconcile")
    assert folder(tenant_id="A").stat().st_mode & 0o077 == 0
    elsewhere = share(Settings(limits=Limits(shared_dir=own_state / "here")), "salesforce")
    assert elsewhere.usage._path.is_relative_to(own_state / "here")  # type: ignore[attr-defined]


def test_sharing_costs_less_than_a_millisecond_a_call(tmp_path):
    world = World()
    governor = world.governor(in_folder(tmp_path / "one", tmp_path / "app"), app_calls_a_minute=10_000)
    took = []
    for _ in range(150):
        started = time.perf_counter()
        governor.run(lambda: left(minute=5, day=4000, app=9000), repeatable=True)
        took.append(time.perf_counter() - started)
        world.at += 9.0
    assert sorted(took)[len(took) // 2] < 0.001


# --- real processes ----------------------------------------------------------------------------------

FORK = multiprocessing.get_context("fork")  # the harder case for locks
SPAWN = multiprocessing.get_context("spawn")  # nothing of what other tests left in this process


class NoRoom(Exception):
    """A call would have had to wait."""


def _refuse_to_sleep(_: float) -> None:
    raise NoRoom


def _send_until_full(folder: str, start, counted) -> None:
    governor = Governor(
        "xero",
        read_xero,
        calls_a_minute=20,
        concurrent=5,
        day_reserve=0,
        retries=0,
        shared=in_folder(Path(folder)),
        sleep=_refuse_to_sleep,
    )
    start.wait(30)
    try:
        while True:
            governor.run(lambda: OK, repeatable=True)
            with counted.get_lock():
                counted.value += 1
    except NoRoom:
        pass


def test_processes_at_once_send_together_what_one_may_and_not_one_call_more(tmp_path):
    start, counted = SPAWN.Event(), SPAWN.Value("i", 0)
    several = [SPAWN.Process(target=_send_until_full, args=(str(tmp_path), start, counted)) for _ in range(3)]
    for one in several:
        one.start()
    start.set()
    for one in several:
        one.join(60)
    assert [one.exitcode for one in several] == [0, 0, 0]
    assert counted.value == 20


def _add_slowly(shared: Shared) -> None:
    for _ in range(20):
        with shared.usage.change() as usage:
            before = usage.failures
            time.sleep(0.002)
            usage.failures = before + 1


def test_no_change_of_one_process_is_lost_to_another_not_even_to_its_forked_child(tmp_path):
    shared = in_folder(tmp_path)
    with shared.usage.change():
        pass  # the file is open before the fork: the children have the same one
    several = [FORK.Process(target=_add_slowly, args=(shared,)) for _ in range(3)]
    for one in several:
        one.start()
    _add_slowly(shared)
    for one in several:
        one.join(60)
    with shared.usage.change() as usage:
        assert usage.failures == 80


def _crowd(folder: str, running, most) -> None:
    governor = Governor(
        "xero",
        read_xero,
        calls_a_minute=None,
        concurrent=5,
        day_reserve=0,
        retries=0,
        shared=in_folder(Path(folder)),
    )

    def send() -> httpx.Response:
        with running.get_lock():
            running.value += 1
            most.value = max(most.value, running.value)
        # Until all places were taken once: without that, one too many would never be seen.
        for _ in range(500):
            if most.value >= 5:
                break
            time.sleep(0.01)
        time.sleep(0.02)
        with running.get_lock():
            running.value -= 1
        return OK

    def work() -> None:
        for _ in range(10):
            governor.run(send, repeatable=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_never_more_than_five_run_at_once_over_all_processes_and_threads(tmp_path):
    running, most = SPAWN.Value("i", 0), SPAWN.Value("i", 0)
    several = [SPAWN.Process(target=_crowd, args=(str(tmp_path), running, most)) for _ in range(3)]
    for one in several:
        one.start()
    for one in several:
        one.join(60)
    assert [one.exitcode for one in several] == [0, 0, 0]
    assert most.value == 5


def _hold_all(folder: str, ready) -> None:
    shared = in_folder(Path(folder))
    with shared.usage.change():  # killed in the middle of a change, too
        taken = [shared.calls.take(5) for _ in range(5)] + [shared.login.take(1), shared.probe.take(1)]
        assert None not in taken
        ready.set()
        time.sleep(60)


def test_a_killed_process_leaves_its_places_to_others(tmp_path):
    ready = FORK.Event()
    holder = FORK.Process(target=_hold_all, args=(str(tmp_path), ready))
    holder.start()
    assert ready.wait(30)
    shared = in_folder(tmp_path)
    assert [shared.calls.take(5), shared.login.take(1), shared.probe.take(1)] == [None] * 3
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join(10)
    assert all(shared.calls.take(5) for _ in range(5))
    assert shared.calls.take(5) is None
    assert shared.login.take(1) and shared.probe.take(1)
    with shared.usage.change() as usage:
        assert usage == Usage()


def test_a_forked_child_does_not_keep_its_parents_place(tmp_path):
    shared = in_folder(tmp_path)
    back = shared.calls.take(1)
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    try:
        assert back is not None
        back()
        again = shared.calls.take(1)
        assert again is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_login_that_another_process_never_ends_is_given_up_with_a_reason():
    world, shared = World(), in_process()
    back = shared.login.take(1)
    assert back is not None
    with pytest.raises(Exception, match="logging in for"), world.governor(shared).login_turn():
        pass
    back()
    with world.governor(shared).login_turn():
        assert shared.login.take(1) is None
    assert shared.login.take(1) is not None


def test_places_that_never_become_free_end_the_run_instead_of_hanging():
    world, shared = World(), in_process()
    assert all(shared.calls.take(5) for _ in range(5))
    with pytest.raises(RateLimited, match="5 at once"):
        world.governor(shared).run(world.answer(OK), repeatable=True)
    assert world.sent == []


def test_one_app_box_may_be_given_to_many():
    world, app = World(), Memory(AppUsage())
    for shared in (in_process(app=app), in_process(app=app)):
        world.governor(shared, app_calls_a_minute=1).run(world.answer(OK), repeatable=True)
    assert world.sent[1] - world.sent[0] >= 60

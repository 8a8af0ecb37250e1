"""Runs many schedules, in several processes, and adds up what was seen."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.commit import commit_at_hand
from tests.model.oracle import faults_of
from tests.model.seeds import by_seed, doubles, singles
from tests.model.world import Schedule, World

# State -> how often it must be reached in 20,000 seeds: what is never met is not tested.
RARE = {
    "unknown": 1000,
    "freed_absent": 300,  # unknown, then absent, then made anew
    "unknown_adopted": 300,  # unknown, then found
    "key_burnt": 100,
    "key_replayed": 100,
    "key_repeated": 100,
    "applied_late": 100,
    "refused_by_unique_key": 100,
    "upsert_found": 30,
    "lease_taken_over": 100,
    "lease_held": 100,
    "asleep_stopped": 100,
    "journal_wiped": 100,
    "asked_a_person": 100,
    "overtaken_by_person": 100,
    "edit_overwritten_in_window": 100,
    "freed_refused": 100,
    "freed_not_sent": 100,
    "freed_never_left": 100,
    "fault_429_day": 100,
    "fault_half": 100,
    "fault_reordered": 100,
    "fault_short": 100,
    "fault_echoed": 100,
    "fault_partial": 100,
    "read_down": 100,
    "login_refused": 100,
    "refused_by_guard": 100,
    "crash": 1000,
}


@dataclass
class Sum:
    """What some schedules came to. failed: (how to run it again, what was wrong)."""

    runs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, list[str]]] = field(default_factory=list)

    def __iadd__(self, other: Sum) -> Sum:
        self.runs += other.runs
        self.counts += other.counts
        self.failed += other.failed
        return self


def outcome_of(schedule: Schedule) -> tuple[list[str], Counter[str]]:
    """Run one schedule; gives what is wrong with its end, and what was seen."""
    world = World(schedule)
    try:
        world.run()
        return faults_of(world), world.counts
    except Exception as error:  # noqa: BLE001 (whatever it is, this schedule found it)
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{type(error).__name__} in {where.name}: {error}"], world.counts


def one(seed: int | None, told: dict[str, Any] | None) -> tuple[dict[str, Any], list[str], Counter[str]]:
    schedule = by_seed(seed or 0) if told is None else Schedule.read(told)
    faults, counts = outcome_of(schedule)
    return schedule.told(), faults, counts


def sum_of(schedules: Iterable[tuple[str, Schedule]]) -> Sum:
    total = Sum()
    for replay, schedule in schedules:
        faults, counts = outcome_of(schedule)
        total.runs += 1
        total.counts += counts
        if faults:
            total.failed.append((replay, faults))
    return total


def _seeds(seeds: Sequence[int]) -> Sum:
    return sum_of((f"--seed {seed}", by_seed(seed)) for seed in seeds)


def of_seeds(seeds: range, jobs: int) -> Sum:
    """Run the schedules of these seeds."""
    return _shared(_seeds, [seeds[at : at + 250] for at in range(0, len(seeds), 250)], jobs)


def every(part: int) -> Iterator[Schedule]:
    """Every single and double fault and crash; or every so-manieth of them."""
    # A stride that shares no factor with the walk's own would do; every kind of work keeps its share.
    for kind in ("derived", "xero"):
        yield from itertools.islice(itertools.chain(singles(kind), doubles(kind)), 0, None, part)


def _slice(which: tuple[int, int, int]) -> Sum:
    part, place, shares = which
    mine = itertools.islice(every(part), place, None, shares)
    return sum_of((f"--schedule '{json.dumps(one.told())}'", one) for one in mine)


def of_all(part: int, jobs: int) -> Sum:
    """Run the exhaustive part, or a share of it."""
    shares = 16 if part == 1 else 4
    return _shared(_slice, [(part, place, shares) for place in range(shares)], jobs)


def _shared(work: Any, parts: Sequence[Any], jobs: int) -> Sum:
    total = Sum()
    if jobs <= 1:
        for part in parts:
            total += work(part)
        return total
    shown = max(len(parts) // 20, 1)
    with ProcessPoolExecutor(jobs) as pool:
        for number, found in enumerate(pool.map(work, parts), 1):
            total += found
            if number % shown == 0:
                told = f"{number * 100 // len(parts)}%: {total.runs} schedules, {len(total.failed)} failed"
                print(told, file=sys.stderr, flush=True)
    return total


def few(total: Sum) -> list[tuple[str, int, int]]:
    """Give the rare states that were not reached often enough: (state, times, wanted)."""
    share = min(total.runs / 20_000, 1.0)
    return [
        (state, total.counts[state], wanted)
        for state, least in RARE.items()
        if total.counts[state] < (wanted := int(least * share))
    ]


def commit_seed() -> int:
    """Give a first seed that follows from the commit at hand: each commit walks other schedules."""
    return int(hashlib.sha256(commit_at_hand().encode()).hexdigest()[:8], 16)

"""Draws schedules by seed, and walks through all small ones."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.model.books import GROUPS
from tests.model.world import READ_FAULTS, SALESFORCE_FAULTS, XERO_FAULTS, Schedule

FAULTS = tuple(dict.fromkeys([*XERO_FAULTS, *SALESFORCE_FAULTS]))
LATE = (1.0, 20.0, 45.0, 70.0, 89.0, 89.9)
PAUSES = (1.0, 7.0, 40.0, 100.0, 200.0, 280.0, 310.0)
# What two machines' clocks are ahead of the vendors': together less than the 30 s that are allowed for.
CLOCKS = ((0.0,), (0.0,), (0.0, 29.9), (29.9, 0.0), (0.0, 4.0), (-12.0, 12.0))
SLEEPS = (3.0, 20.0, 60.0, 125.0, 400.0)
# Lost answers and late ones are where the protocol earns its keep.
HEAVY = (
    "lost",
    "late",
    "lost_reply",
    "500_clean",
    "500_applied",
    "504_late",
    "500_late",
    "again_late",
    "429",
    "late_wipe",
    "late_crash",
    "lost_crash",
)


def by_seed(seed: int) -> Schedule:
    """Give the schedule of a seed."""
    draw = random.Random(seed)
    groups = tuple(draw.sample(GROUPS, draw.choice((1, 1, 2, 3))))
    rough = draw.random() < 0.12  # nothing goes well for long
    sends = {}
    for _ in range(draw.choice((0, 1, 1, 2, 2, 3, 4)) if not rough else 12):
        pool = HEAVY if rough or draw.random() < 0.5 else FAULTS
        fault = draw.choice(pool)
        if rough and draw.random() < 0.6:
            fault = "lost"
        sends[draw.randrange(3 * len(groups) + 1 if not rough else 16)] = (fault, _seconds(draw, fault))
    reads = {
        draw.randrange(6 * len(groups)): draw.choice(READ_FAULTS)
        for _ in range(draw.choice((0, 0, 0, 0, 1, 2)))
    }
    points: dict[int, tuple[str, float]] = {}
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3))):
        what = draw.choice(
            ("crash", "crash", "crash", "wipe", "sleep", "sleep", "edit", "edit", "archive", "squat")
        )
        seconds = draw.choice(SLEEPS) if what == "sleep" else float(draw.randrange(4))
        points[draw.randrange(26 * len(groups))] = (what, seconds)
    kind = draw.choice(("derived", "xero"))
    pause_s = draw.choice(PAUSES)
    guard = draw.choice(("record", "record", "collection"))
    ahead_s = draw.choice(CLOCKS)
    return Schedule(groups, kind, sends, reads, points, pause_s=pause_s, guard=guard, ahead_s=ahead_s)


def _seconds(draw: random.Random, fault: str) -> float:
    if fault == "429":
        return draw.choice((1.0, 5.0, 40.0, 70.0))
    return draw.choice(LATE)


def singles(kind: str = "xero") -> Iterator[Schedule]:
    """Every kind of work with every single fault at every sending, and every crash at every point."""
    for name in GROUPS:
        yield from _of(name, kind, points=_points_of(name, kind))


def _of(name: str, kind: str, points: int) -> Iterator[Schedule]:
    for number in range(_sends_of(name, kind)):
        for fault in FAULTS:
            for seconds in (20.0, 89.9) if "late" in fault else (5.0,):
                yield Schedule((name,), kind, sends={number: (fault, seconds)})
    for point in range(points):
        for what, seconds in (
            ("crash", 0.0),
            ("wipe", 0.0),
            ("sleep", 60.0),
            ("sleep", 130.0),
            ("edit", 0.0),
        ):
            yield Schedule((name,), kind, points={point: (what, seconds)})


def doubles(kind: str = "xero") -> Iterator[Schedule]:
    """Every kind of work with every fault at its first sendings and a crash at every point after; and two crashes."""
    for name in GROUPS:
        points = _points_of(name, kind)
        for number in range(_sends_of(name, kind)):
            for fault in FAULTS:
                seconds = 70.0 if "late" in fault else 5.0
                for point in range(points + 6):
                    for what in ("crash", "wipe"):
                        yield Schedule((name,), kind, {number: (fault, seconds)}, points={point: (what, 0.0)})
                for second in (number + 1, number + 2):
                    for other in HEAVY:
                        later = 70.0 if "late" in other else 5.0
                        yield Schedule((name,), kind, {number: (fault, seconds), second: (other, later)})
        for first in range(points):
            for second in range(first + 1, points + 12):
                yield Schedule((name,), kind, points={first: ("crash", 0.0), second: ("crash", 0.0)})
                yield Schedule((name,), kind, points={first: ("crash", 0.0), second: ("wipe", 0.0)})


_known: dict[tuple[str, str], tuple[int, int]] = {}


def _undisturbed(name: str, kind: str) -> tuple[int, int]:
    from tests.model.world import World

    if (name, kind) not in _known:
        world = World(Schedule((name,), kind)).run()
        _known[name, kind] = (world.points, world.sends)
    return _known[name, kind]


def _points_of(name: str, kind: str) -> int:
    return _undisturbed(name, kind)[0]


def _sends_of(name: str, kind: str) -> int:
    return _undisturbed(name, kind)[1]

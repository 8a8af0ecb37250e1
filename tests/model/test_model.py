"""A short share of the model's runs; the long ones: `python -m tests.model --help`, `make model`, `make chaos-deep`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import protocol
from pipelines.intents import Request
from pipelines.protocol import Proof
from reconcile.errors import InvariantBroken
from tests.model.books import GROUPS
from tests.model.run import RARE, commit_seed, every, of_all, of_seeds, outcome_of
from tests.model.world import Schedule, World

HERE = Path(__file__).parent
PINNED = [line for line in (HERE / "pinned.txt").read_text().splitlines() if line.startswith("{")]


def test_every_schedule_of_these_seeds_ends_well() -> None:
    start = commit_seed()
    total = of_seeds(range(start, start + 800), jobs=1)
    assert total.failed == []
    assert total.runs == 800


def test_every_single_fault_and_crash_ends_well() -> None:
    total = of_all(part=200, jobs=1)
    assert total.failed == []
    assert total.runs > 500


def test_the_exhaustive_part_is_as_large_as_it_says() -> None:
    assert sum(1 for _ in every(part=10)) > 10_000


@pytest.mark.parametrize("line", PINNED)
def test_a_schedule_that_once_ended_badly_ends_well(line: str) -> None:
    assert outcome_of(Schedule.read(json.loads(line)))[0] == []


@pytest.mark.parametrize("kind", ["derived", "xero"])
@pytest.mark.parametrize("name", GROUPS)
def test_undisturbed_all_is_done_in_one_run(name: str, kind: str) -> None:
    world = World(Schedule((name,), kind)).run()
    assert {world.outcome(one) for one in world.planned} == {"confirmed"}
    assert world.counts["unknown"] == 0 and world.processes == 2


@pytest.mark.parametrize("seconds", [60.0, 130.0, 400.0])
def test_a_worker_that_slept_past_its_lease_writes_nothing(seconds: float) -> None:
    """Stopped at each point in turn, while another one starts: whoever has the lease writes, nobody else."""
    stopped = 0
    for point in range(45):
        schedule = Schedule(("customer",), "xero", points={point: ("sleep", seconds)})
        faults, counts = outcome_of(schedule)
        assert faults == [], f"point {point}"
        stopped += counts["asleep_stopped"]
    assert stopped >= 20 if seconds > 120 else stopped == 0


def test_a_schedule_gives_the_same_run_again() -> None:
    schedule = Schedule(("customer", "accounts"), "xero", {1: ("late", 70.0)}, {}, {20: ("crash", 0.0)})
    first, second = World(schedule).run(), World(Schedule.read(schedule.told())).run()
    assert first.counts == second.counts
    assert [one.at for one in first.sendings] == [one.at for one in second.sendings]


def test_what_is_applied_later_than_assumed_is_made_twice_where_its_key_is_not_unique() -> None:
    """What can't be prevented (docs/protocol.md): only the audit read finds it. A unique number saves the other."""
    for kind, times in (("derived", 1), ("xero", 2)):
        world = World(Schedule(("invoice",), kind, {0: ("late_crash", 700.0)}, pause_s=400.0)).run()
        world.clock.pass_(1000)
        made = [one for one in world.books.xero.changes if one.object == "Invoice"]
        assert len(made) == times


def test_a_request_with_an_operation_that_is_not_in_the_plan_never_leaves() -> None:
    world = World(Schedule(("xero_unit",)))
    (planned,) = world.planned
    from pipelines.intents import group

    intents, _ = group([planned.operation], apart=frozenset(), key_fields={}, attempts={}, new_id=lambda: "i")
    request = Request("xero", "POST", "/", "", b"{}", tuple(intents))
    protocol.check_planned(request, {planned.which})
    with pytest.raises(InvariantBroken, match="P9"):
        protocol.check_planned(request, {"another"})
    with pytest.raises(InvariantBroken, match="P9"):
        protocol.check_planned(replace(request, intents=()), {planned.which})


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(
    kind=st.sampled_from(["not_sent", "refused", "absent"]),
    sends=st.integers(0, 3),
    looked_after_s=st.none() | st.floats(-1000, 1000),
    late_s=st.floats(0, 500),
    was_unknown=st.booleans(),
)
def test_nothing_goes_on_without_a_proof(
    kind: str, sends: int, looked_after_s: float | None, late_s: float, was_unknown: bool
) -> None:
    looked_at = None if looked_after_s is None else NOON + timedelta(seconds=looked_after_s)
    late_enough = looked_at is not None and looked_at >= NOON + timedelta(seconds=late_s)
    proven = {
        "not_sent": not was_unknown,
        "refused": sends > 0,
        "absent": sends == 0 or late_enough,
    }[kind]
    last = NOON if sends else None
    try:
        protocol.check_freed(
            Proof(kind, looked_at, late_s), sends=sends, last_sent_at=last, was_unknown=was_unknown
        )
    except InvariantBroken:
        assert not proven
    else:
        assert proven
    with pytest.raises(InvariantBroken):
        protocol.check_freed(None, sends=sends, last_sent_at=last, was_unknown=was_unknown)


def test_every_test_and_state_that_the_page_names_exists() -> None:
    root = HERE.parent.parent
    page = (root / "docs/protocol.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in root.glob("tests/**/test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 10 and [name for name in named if f"def {name}(" not in tests] == []
    code = "\n".join(path.read_text(encoding="utf-8") for path in (root / "pipelines").glob("*.py"))
    for name in re.findall(r"`(?:\w+\.)?(_?[a-z_]+)`", page):
        assert name in code or name.startswith("test_") or f'"{name}"' in code or "." in name, name
    mutants = (root / "tests/mutants/mutants.py").read_text(encoding="utf-8")
    for names in re.findall(r"`test_each_mutant_is_caught` \(([\w, ]+)\)", page):
        assert all(f'"{name}"' in mutants for name in names.split(", ")), names


def test_the_rare_states_are_counted() -> None:
    """A state whose name is misspelt would never be reached, and the long run would fail late."""
    total = of_seeds(range(3000, 3400), jobs=1)
    assert {state for state in RARE if not total.counts[state]} <= {
        "refused_by_unique_key",
        "upsert_found",
        "asked_a_person",
        "refused_by_guard",
    }

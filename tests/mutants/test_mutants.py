"""Each mutant, with the schedule that is known to find it; the whole hunt: `python -m tests.mutants`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.model.run import outcome_of
from tests.model.world import Schedule
from tests.mutants.__main__ import KILLERS
from tests.mutants.mutants import MUTANTS, Mutant

KNOWN = json.loads(KILLERS.read_text())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_each_mutant_is_caught(mutant: Mutant) -> None:
    """By this schedule, which ends well where only the same layers are off, and where nothing is."""
    schedule = Schedule.read(KNOWN[mutant.name])
    assert outcome_of(schedule)[0] == []
    with replace(mutant, patches=list).laid():
        assert outcome_of(schedule)[0] == []
    with mutant.laid():
        assert outcome_of(schedule)[0] != []
    assert outcome_of(schedule)[0] == []


def test_there_are_mutants_enough() -> None:
    assert len(MUTANTS) >= 20 and KNOWN.keys() >= {one.name for one in MUTANTS}

"""Whatever the vendors do with what they are given: adopted, edited and carried, the books come to rest.

Here a few single values and combinations by seed; all of them: `make dialects`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dialect_runs import Dialects, run
from sweep import combination

SINGLE: list[Dialects] = [
    {},
    {"salesforce": {"trigger": "mapped_field"}},
    {"salesforce": {"late_commit_s": 540}},
    {"xero": {"merged_contacts": "hidden", "phone_format": "split"}},
]
SEEDS = (1, 2)


def name(value: Any) -> str:
    return "-".join(f"{k}={v}" for chosen in value.values() for k, v in chosen.items())[:60] or "defaults"


@pytest.mark.parametrize("dialects", SINGLE, ids=name)
def test_under_one_dialect_the_second_plan_is_empty(tmp_path: Path, dialects: Dialects) -> None:
    assert run(tmp_path / "pair", dialects).wrong == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_under_a_combination_of_dialects_the_second_plan_is_empty(tmp_path: Path, seed: int) -> None:
    assert run(tmp_path / "pair", combination(seed)).wrong == ()

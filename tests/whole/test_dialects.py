"""Whatever the vendors do with what they are given: adopted, edited and carried, the books come to rest.

Here a few single values and combinations by seed; all of them: `make dialects`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import small_books
from dialect_runs import Dialects, run
from sweep import combination
from whole_pair import running

pytestmark = pytest.mark.in_turn(2)

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


def test_a_merge_that_no_list_shows_makes_no_second_account(tmp_path: Path) -> None:
    """The survivor, a customer from now on, looks new; the link still leads to the contact that is gone."""
    with running(tmp_path / "pair", seed="empty", dialect={"xero": {"merged_contacts": "hidden"}}) as pair:
        pair.load("salesforce", small_books.SALESFORCE)
        pair.load("xero", small_books.XERO)
        pair.enable_writes()
        pair.adopt()
        survivor = pair.in_xero.make(Name="Holly Nurseries Group")
        pair.in_xero.merge(loser=small_books.contact_id(8), survivor=survivor)
        assert "create" not in pair.plan().operations["action"].to_list()

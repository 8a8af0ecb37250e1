"""A killed pull leaves the last complete snapshot, and the next one is right (all points: kill_pull.py)."""

from __future__ import annotations

import pytest
from kill_pull import arranged


@pytest.mark.in_turn(1)
def test_a_pull_killed_at_points_of_its_load_is_followed_by_a_right_snapshot(tmp_path):
    with arranged(tmp_path) as arrangement:
        last = arrangement.total
        assert last >= 20
        # The merge, where rows are retired before their successors are there, is the last but few.
        said = [arrangement.killed_at(number) for number in (1, last // 2, *range(last - 7, last - 1), last)]
    assert said[0].startswith("the old") and said[-1].startswith("the new")

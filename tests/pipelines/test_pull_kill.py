"""A pull that is killed leaves the last complete snapshot, and the next pull is right (all points: kill_pull.py)."""

from __future__ import annotations

from kill_pull import arranged


def test_a_pull_killed_at_points_of_its_load_is_followed_by_a_right_snapshot(tmp_path):
    with arranged(tmp_path) as arrangement:
        assert arrangement.total >= 20
        said = [arrangement.killed_at(number) for number, _ in arrangement.spread(5)]
    assert said[0].startswith("the old") and said[-1].startswith("the new")

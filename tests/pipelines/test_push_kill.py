"""A push that dies at some point: the next run ends as an undisturbed one."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from sandbox.serve import start

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import kill_push  # all points: python tests/kill_push.py
from peers import Peer, settings_for

SEED = 20261124


@pytest.mark.timeout(280)
@pytest.mark.parametrize("by_job", [False, pytest.param(True, marks=pytest.mark.in_turn)])
def test_a_push_that_was_killed_ends_as_an_undisturbed_one(tmp_path: Path, by_job: bool) -> None:
    with (
        kill_push.Runner(by_job=by_job) as runner,
        start(tmp_path / "sandbox", seed="empty", limits="off") as line,
    ):
        peer = Peer(line, tmp_path, settings_for(line, tmp_path))
        expected, points = kill_push.undisturbed(runner, peer, tmp_path / "whole")
        assert points >= 40
        for point in sorted(random.Random(SEED).sample(range(1, points + 1), 2 if by_job else 3)):
            kill_push.killed_at(runner, point, peer, tmp_path / f"at_{point}", expected)

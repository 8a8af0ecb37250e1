"""What all tests share: how Hypothesis looks for counter-examples, and which tests take turns."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import settings

from tests.commit import commit_at_hand

# No deadline: a loaded machine is not a failed property. In CI the examples are the same in every run.
settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("house")

# What processes of a connection share belongs to the test, not to whoever runs it: their own folder, anew for each.
_state = tempfile.mkdtemp(prefix="reconcile-state-")
atexit.register(shutil.rmtree, _state, ignore_errors=True)
os.environ["XDG_STATE_HOME"] = _state


_numbers = itertools.count()


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this test a folder of its own for shared limits."""
    folder = Path(_state) / str(next(_numbers))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


ONE_IN = 3  # tests that take turns


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one in three of those that take turns run, another third at each commit; the others are slow ones."""
    taking = [item for item in items if item.get_closest_marker("in_turn")]
    turn = int(commit_at_hand(), 16) if taking else 0
    for item in taking:
        if zlib.crc32(item.nodeid.encode()) % ONE_IN != turn % ONE_IN:
            item.add_marker(pytest.mark.slow)

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

# No deadline: a loaded machine is not a failed property. In CI the examples are the same in every run, and fewer.
_ci = bool(os.environ.get("CI"))
settings.register_profile(
    "house", deadline=None, derandomize=_ci, max_examples=40 if _ci else 100, print_blob=True
)
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
    """Let one in three of those that take turns run, another third at each commit; the others are slow ones.

    A file whose tests share what they set up takes its turn as a whole, by the number that it gives.
    """
    marked = [(item, mark) for item in items if (mark := item.get_closest_marker("in_turn"))]
    now = int(commit_at_hand(), 16) % ONE_IN if marked else 0
    for item, mark in marked:
        turn = mark.args[0] if mark.args else zlib.crc32(item.nodeid.encode()) % ONE_IN
        if turn != now:
            item.add_marker(pytest.mark.slow)

"""What all tests share: how Hypothesis looks for counter-examples."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

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

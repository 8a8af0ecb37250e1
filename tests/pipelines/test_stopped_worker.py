"""A worker that was asleep past its lease writes nothing when it wakes; `make stop` stops it at every point."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import stop_push


@pytest.mark.timeout(280)
def test_a_worker_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # Just after the mark that its bytes leave now, before the first of them; and with the reply in its hands.
    for point in (9, 22):
        assert _ended(point, tmp_path) == {"lease lost": 1}


def _ended(point: int, root: Path) -> Counter[str]:
    """Stop it there; again where the halt met a beat of its lease inside a transaction, which nobody gets past."""
    for number in range(3):
        (root / f"{point}_{number}").mkdir()
        found = stop_push.sweep([point], root / f"{point}_{number}")
        if not found["inside a transaction: the other was told to wait"]:
            break
    return found


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_worker_stopped_at_any_point_writes_nothing_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = stop_push.sweep(None, tmp_path, count=28)
    assert sum(found.values()) >= 28 and found["lease lost"] > 15

"""A worker that was asleep past its lease writes nothing when it wakes; `make stop` stops it at every point."""

from __future__ import annotations

import sys
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
    # A beat of the lease counts as points too: on a slow machine one of them may lie inside its transaction.
    found = stop_push.sweep([9, 22], tmp_path)
    inside = found["inside a transaction: the other was told to wait"]
    assert found["lease lost"] >= 1 and found["lease lost"] + inside == 2, found


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_worker_stopped_at_any_point_writes_nothing_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = stop_push.sweep(None, tmp_path, count=28)
    assert sum(found.values()) >= 28 and found["lease lost"] > 15

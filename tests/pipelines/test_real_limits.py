"""The short form of `make real-limits`: real time, real limits, two processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from real_limits import counted, run


@pytest.mark.slow
@pytest.mark.parametrize("window", ["fixed", "rolling"])
def test_two_processes_keep_a_real_minute_full_and_meet_no_refusal(tmp_path, window):
    found = run(minutes=1.3, contacts=12_000, window=window, answer_s=1.5, folder=tmp_path)
    assert found.share > 0.95, found.table()
    assert found.most_at_once <= 5 and found.most_in_a_minute <= 60 and found.refused == 0, found.table()
    assert found.writes > 0


def test_the_counting_sees_what_it_is_there_to_see():
    def call(at_s: float, status: int = 200) -> dict:
        return {"path": "/api.xro/2.0/Contacts", "at_ms": int(at_s * 1000), "status": status, "method": "GET"}

    steady = [call(n * 1.0) for n in range(120)]
    found = counted(steady, minutes=2, window="fixed", answer_s=1.5)
    assert (found.minutes, found.share, found.most_at_once, found.most_in_a_minute) == ([60, 60], 1.0, 2, 60)
    crowd = [*steady, *(call(30 + n / 100, 429) for n in range(6))]
    found = counted(crowd, minutes=2, window="fixed", answer_s=1.5)
    assert found.most_at_once > 5 and found.most_in_a_minute == 66 and found.refused == 6
    assert counted(steady[:100], minutes=2, window="fixed", answer_s=1.5).share < 0.95

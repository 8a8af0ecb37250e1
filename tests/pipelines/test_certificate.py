"""A certificate holds its run's whole part of the audit chain, and names the plan's other runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from journal_scene import KEY, PLAN, confirmed, intent_of, leave, request_of

from pipelines.certificate import certificate
from pipelines.journal import Journal
from pipelines.journal_lease import Lease


class Clock:
    """Goes on by a second each time that it is read."""

    at = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def write(journal: Journal, lease: Lease, run_id: str, number: int) -> None:
    sent = journal.intents.begin(request_of([intent_of(number)]), plan_hash=PLAN, run_id=run_id, fence=lease)
    leave(journal, lease, sent)
    ended = [(sent.live[0], confirmed(sent.live[0]))]
    journal.intents.close(sent, ended, plan_hash=PLAN, fence=lease, status=200)


def told_of(journal: Journal, run_id: str, folder: Path) -> dict[str, Any]:
    told = certificate(journal, run_id, pair="pair", plans_folder=folder, writers={})
    assert told is not None
    return told


def test_a_clock_that_is_set_back_leaves_no_row_out(tmp_path: Path) -> None:
    """Found by review: rows were chosen by their time, and an honest run looked forged."""
    clock = Clock()
    with Journal(f"sqlite:///{tmp_path / 'journal.db'}", KEY, now=clock) as journal:
        journal.bind("pair")
        before = journal.start_run("apply", details={"plan": "b" * 64})
        run_id = journal.start_run("apply", details={"plan": PLAN})
        with journal.lease("pair", "test", 60) as lease:
            write(journal, lease, run_id, 1)
            clock.at -= timedelta(minutes=5)
            write(journal, lease, run_id, 2)
            clock.at += timedelta(minutes=15)
            write(journal, lease, run_id, 3)
        rows = told_of(journal, run_id, tmp_path)["chain"]["rows"]
        earlier = told_of(journal, before, tmp_path)["chain"]["rows"]
    assert rows[0]["kind"] == "run_started" and run_id in rows[0]["details"]
    assert [row["sequence"] for row in rows] == list(range(rows[0]["sequence"], rows[-1]["sequence"] + 1))
    assert sum(row["kind"] == "intended" for row in rows) == 3
    assert before in earlier[0]["details"] and earlier[1:] == rows


def test_the_runs_of_a_plan_name_each_other(tmp_path: Path) -> None:
    """The outcomes are the plan's, so what proves some of them is in another run's certificate."""
    with Journal(f"sqlite:///{tmp_path / 'journal.db'}", KEY) as journal:
        journal.bind("pair")
        runs = [journal.start_run("apply", details={"plan": PLAN}) for _ in range(3)]
        with journal.lease("pair", "test", 60) as lease:
            write(journal, lease, runs[0], 1)
            write(journal, lease, runs[1], 2)
        told = [told_of(journal, run_id, tmp_path) for run_id in runs]
    assert [len(one["requests"]) for one in told] == [1, 1, 0]
    assert all(one["plan"]["runs"] == sorted(runs[:2]) for one in told)

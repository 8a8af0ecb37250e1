"""Stops a push (SIGSTOP) at its numbered points until its lease is over, lets another worker do the work, and
wakes it: it may write nothing any more.

    python tests/stop_push.py                 at every point
    python tests/stop_push.py --points 20     at so many, spread over all

`make stop` runs it. Two real processes, a sandbox over HTTP. The first is stopped just before or after a commit or
a sending; the second takes the lease over by time (the first isn't dead), settles and pushes the same plan.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "pipelines"))
sys.path.insert(0, str(HERE.parent.parent))

import kill_push  # noqa: E402
from damage_journal import made  # noqa: E402
from peers import Peer, settings_for  # noqa: E402
from push_scene import MAPPING, PLAN, QUICK, Scene, frame  # noqa: E402

import pipelines.governor as governor  # noqa: E402
import pipelines.journal_store as journal_store  # noqa: E402
from reconcile.errors import JournalBusy, LeaseLost  # noqa: E402

LEASE_S = 1.0
LOST = 7  # exit code: it found that its lease was lost


def work(line: dict, folder: Path, seconds: float) -> int:
    """One push under a lease of so many seconds; gives an exit code."""
    from datetime import UTC, datetime, timedelta

    from pipelines.push import push

    scene = Scene(Peer(line, folder, settings_for(line, folder)), folder)
    seen = datetime.now(UTC) - timedelta(seconds=1)
    try:
        with (
            scene.journal() as journal,
            scene.peer.clients() as clients,
            journal.lease("pair", f"worker {os.getpid()}", seconds, wait_s=30) as lease,
        ):
            push(
                frame(kill_push.operations()),
                journal=journal,
                lease=lease,
                clients=clients,
                mapping=MAPPING,
                settings_limits=QUICK,
                overlap_s=5,
                plan_hash=PLAN,
                seen_at={"salesforce": seen, "xero": seen},
            )
    except LeaseLost:
        return LOST
    return 0


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stopped_at(point: int, peer: Peer, folder: Path) -> str:
    """Stop a worker there past its lease and wake it after another did the work; gives how it ended.

    Raises AssertionError where it wrote, or anything was made twice.
    """
    kill_push.fill(peer)
    folder.mkdir()
    scene = Scene(peer, folder)
    scene.know(1, 3)
    environment = {**os.environ, "RECONCILE_STOP_AT": str(point)}
    arguments = [
        sys.executable,
        str(HERE),
        "--worker",
        str(folder),
        "--line",
        str(folder.parent / "line.json"),
    ]
    first = subprocess.Popen(arguments, env=environment)
    try:
        until = time.monotonic() + 60
        while state(first.pid) != "T":
            assert first.poll() is None, (
                f"point {point}: it ended with {first.returncode}, and was not stopped"
            )
            assert time.monotonic() < until
            time.sleep(0.02)
        try:
            assert work(peer.line, folder, 60) == 0  # waits until the lease is over
        except JournalBusy:
            return told_to_wait(first, scene)
        marks = {side: len(scene.writes(side)) for side in kill_push.KINDS}
        os.kill(first.pid, signal.SIGCONT)
        code = first.wait(60)
        now = {side: len(scene.writes(side)) for side in kill_push.KINDS}
        assert now == marks, f"point {point}: the one that was asleep wrote: {marks} -> {now}"
        assert code in (LOST, 0), f"point {point}: it ended with {code}"
        # It ends well where it only looked after it woke: the other had done everything.
        twice = {name: count for name, count in made(scene).items() if count > 1}
        assert not twice, f"point {point}: there twice: {twice}"
        if not done(scene):
            # It was stopped while it logged in, which one process does at a time: that side waited.
            assert work(peer.line, folder, 60) == 0
            assert done(scene), f"point {point}: not all could be done"
            assert not {name: count for name, count in made(scene).items() if count > 1}
            return "inside a login: that side waited"
        return "lease lost" if code == LOST else "had nothing more to do"
    finally:
        if first.poll() is None:
            first.kill()


def done(scene: Scene) -> bool:
    """Say whether all of the plan is done; the journal is whole, and nothing unsettled, in any case."""
    with scene.journal() as journal:
        assert journal.verify().ok and journal.unsettled().is_empty()
        return set(journal.outcomes(PLAN)["outcome"]) <= {"confirmed", "adopted"}


def told_to_wait(first: subprocess.Popen[bytes], scene: Scene) -> str:
    """It was stopped inside a transaction: nobody else can write, and nobody took over. It may go on."""
    os.kill(first.pid, signal.SIGCONT)
    code = first.wait(60)
    assert code in (LOST, 0), f"it ended with {code}"
    work(scene.peer.line, scene.folder, 60)
    twice = {name: count for name, count in made(scene).items() if count > 1}
    assert not twice, f"there twice: {twice}"
    return "inside a transaction: the other was told to wait"


def sweep(points: list[int] | None, root: Path, count: int = 0, first: int = 1) -> Counter[str]:
    """Stop at these points, or at so many spread over all (0: at every one); tells each on stdout."""
    import json

    from sandbox.serve import start

    os.environ.setdefault("XDG_STATE_HOME", str(root / "state"))
    found: Counter[str] = Counter()
    with (
        start(root / "sandbox", seed="empty", limits="off") as line,
        patch.object(
            journal_store, "BUSY_MS", 700
        ),  # the wait for one that was stopped inside a transaction,
        patch.object(governor, "LONGEST_LOGIN_S", 2.0),  # and for one that was stopped while it logged in
    ):
        (root / "line.json").write_text(json.dumps(line))
        peer = Peer(line, root, settings_for(line, root))
        if points is None:
            with kill_push.Runner() as runner:
                _, every = kill_push.undisturbed(runner, peer, root / "whole")
            points = list(range(first, every + 1, max(1, every // count) if count else 1))
        for point in points:
            how = stopped_at(point, peer, root / f"at_{point}")
            print(f"point {point:3}: {how}", flush=True)
            found[how] += 1
    return found


def main() -> None:
    import json

    parser = argparse.ArgumentParser(description="Stop a push at its numbered points, past its lease.")
    parser.add_argument("--points", type=int, default=0, help="how many, spread over all; 0: every one")
    parser.add_argument("--first", type=int, default=1, help="go on at this point")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--line", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        raise SystemExit(work(json.loads(options.line.read_text()), options.worker, LEASE_S))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        found = sweep(None, Path(root), options.points, options.first)
    print(f"{sum(found.values())} points: {dict(found)}; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

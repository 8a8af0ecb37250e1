"""A disk that is full at a commit of the journal: nothing is sent afterwards, and the next run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import kill_push
from damage_journal import made
from peers import Peer, settings_for
from push_scene import Scene

from sandbox.serve import start

# As a disk would: from now on no file may grow beyond so many bytes. Python ignores the signal that comes with it.
FULL = """
import json, resource, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
import kill_push, polars
from pipelines.push import push
from reconcile.errors import ReconcileError
folder = Path(sys.argv[3])
if int(sys.argv[4]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    kill_push.work(json.loads(sys.argv[2]), folder)
except ReconcileError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (folder / "told").write_text(f"{type(error).__name__}: {error}")
    sys.exit(3)
"""


def sends_in_journal(folder: Path) -> int:
    """How often a request of the journal left, read without our code."""
    import sqlite3

    with sqlite3.connect(folder / "journal.db") as con:
        return con.execute("select coalesce(sum(sends), 0) from requests").fetchone()[0]


@pytest.mark.in_turn(0)
@pytest.mark.timeout(280)
def test_nothing_is_sent_after_a_commit_for_which_there_was_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    here = Path(__file__).resolve().parent
    paths = [str(here), str(here.parent), str(here.parent.parent)]
    ends: Counter[int] = Counter()
    with start(tmp_path / "sandbox", seed="empty", limits="off") as line:
        peer = Peer(line, tmp_path, settings_for(line, tmp_path))
        for number, room in enumerate((40_000, 90_000, 150_000)):
            kill_push.fill(peer)
            folder = tmp_path / str(number)
            folder.mkdir()
            scene = Scene(peer, folder)
            scene.know(1, 3)
            # The database is of about 270,000 bytes already: it is its log that has no room.
            arguments = [sys.executable, "-c", FULL, json.dumps(paths), json.dumps(line), str(folder)]
            done = subprocess.run([*arguments, str(room)], timeout=120, env=os.environ)
            ends[done.returncode] += 1
            left = sum(len(scene.writes(side)) for side in kill_push.KINDS)
            assert left == sends_in_journal(folder), "something was sent that the journal does not know"
            if done.returncode == 3:
                told = (folder / "told").read_text()
                assert told.startswith("FixSettings") and str(folder) in told, told
                assert "space" in told or "room" in told, told
            assert subprocess.run([*arguments, "0"], timeout=120, env=os.environ).returncode == 0
            assert {name: count for name, count in made(scene).items() if count > 1} == {}
            with scene.journal() as journal:
                assert journal.verify().ok and journal.unsettled().is_empty()
    assert ends[3] >= 2, f"the disk was hardly ever full: {ends}"

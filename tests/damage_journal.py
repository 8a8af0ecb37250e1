"""Spoils a journal at thousands of places, and sees that each is noticed, and that nothing is made twice.

    python tests/damage_journal.py                        2,000 places, the push run again on 200 of them
    python tests/damage_journal.py --places 60 --again 6 --seed 7

A push fills a journal and dies in the middle, so that its newest transactions still stand in its write-ahead log
and something is not settled. Then, place after place, a copy is cut off there or one bit of it is flipped: the
database, its log, the database with its log merged into it, or the head beside it. The copy must be refused when
it is opened, or found to be another one when it is verified, or hold exactly what it held.

On a share of them the push goes on as a person would: at once; where it is refused, with the journal accepted as
it is; where it can't be read, with the file moved away. The systems must hold each new record once.

`make damage` runs it. Figures go to stdout.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "pipelines"))
sys.path.insert(0, str(HERE.parent.parent))

import kill_push  # noqa: E402
from journal_scene import contents  # noqa: E402
from peers import Peer, settings_for  # noqa: E402
from push_scene import KEY, Scene  # noqa: E402

from pipelines.journal import Journal  # noqa: E402
from reconcile.errors import JournalDamaged, ReconcileError  # noqa: E402

FILES = {"db": "journal.db", "log": "journal.db-wal", "head": "journal.head", "merged": "journal.db"}
LEFT = ("journal.db", "journal.db-wal", "journal.head")  # by a process that was killed


@dataclass(frozen=True)
class Place:
    """Where one copy is spoiled. file: of FILES; how: cut or flip; at: the byte; bit: of that byte."""

    file: str
    how: str
    at: int
    bit: int = 0

    def spoil(self, folder: Path) -> None:
        path = folder / FILES[self.file]
        data = bytearray(path.read_bytes())
        if self.how == "cut":
            del data[self.at :]
        else:
            data[self.at] ^= 1 << self.bit
        path.write_bytes(data)


@dataclass
class Tally:
    """What was found, by file, way and end."""

    found: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def show(self, seconds: float) -> None:
        for (file, how, end), count in sorted(self.found.items()):
            print(f"{file:<5}{how:<6}{end:<34}{count:>6}")
        for end, count in sorted(self.again.items()):
            print(f"pushed again: {end:<32}{count:>6}")
        total = sum(self.found.values())
        print(
            f"{total} places, {sum(self.again.values())} pushed again, {len(self.bad)} bad; {seconds:.0f} s"
        )
        for line in self.bad:
            print(line)


def places(folder: Path, count: int, seed: int) -> list[Place]:
    """Give so many places, seeded: half in the merged database, a third in the log, some in the other two."""
    chosen, found = random.Random(seed), []
    for number in range(count):
        file = ("merged", "log", "merged", "db", "merged", "log", "merged", "log", "merged", "head")[
            number % 10
        ]
        size = (folder / ("merged.db" if file == "merged" else FILES[file])).stat().st_size
        how = "cut" if chosen.random() < 0.3 else "flip"
        found.append(Place(file, how, chosen.randrange(size), chosen.randrange(8)))
    return found


@dataclass(frozen=True)
class HalfDone:
    """A pair whose push died: the systems' records, and the folder of the journal that it left."""

    peer: Peer
    kept: Path
    records: dict[str, list[dict[str, Any]]]

    def copy_to(self, folder: Path, *, merged: bool = False) -> None:
        """Put the journal into a folder, and nothing else of a journal that was there."""
        folder.mkdir(exist_ok=True)
        for old in folder.glob("journal*"):
            old.unlink()
        for name in LEFT:
            if not merged or name == "journal.head":
                shutil.copy(self.kept / name, folder / name)
        if merged:
            shutil.copy(self.kept / "merged.db", folder / "journal.db")

    def put_back(self) -> None:
        """Put both systems to where the killed push left them."""
        for side, rows in self.records.items():
            self.peer.control(side, "POST", "reset", {"seed": False})
            self.peer.load(side, rows)


@contextmanager
def prepared(root: Path) -> Iterator[HalfDone]:
    """Give a pair whose push died after most was sent; the journal's log is not merged, one request not settled."""
    from sandbox.serve import start

    with kill_push.Runner() as runner, start(root / "sandbox", seed="empty", limits="off") as line:
        peer = Peer(line, root, settings_for(line, root))
        _, points = kill_push.undisturbed(runner, peer, root / "whole")
        kill_push.fill(peer)
        folder, kept = root / "work", root / "kept"
        folder.mkdir()
        scene = Scene(peer, folder)
        scene.know(1, 3)
        for point in range(points * 3 // 4, points):
            # One after another, until one leaves something that is not settled.
            assert runner.run(line, folder, crash_at=point) == -signal.SIGKILL
            kept.mkdir(exist_ok=True)
            for name in LEFT:
                shutil.copy(folder / name, kept / name)
            if is_unsettled(kept) and head_is_kept(kept):
                break
            kill_push.fill(peer)
            for old in folder.glob("journal*"):
                old.unlink()
            scene.know(1, 3)
        records = {
            side: [row for kind in kinds for row in scene.records(side, kind)]
            for side, kinds in kill_push.KINDS.items()
        }
        yield HalfDone(peer, kept, records)


def is_unsettled(kept: Path) -> bool:
    """Merge the log of a copy, and say whether it has an intent whose outcome is not known."""
    merging = kept / "merging"
    shutil.copytree(kept, merging)
    with sqlite3.connect(merging / "journal.db") as con:
        con.execute("pragma wal_checkpoint(truncate)")
        live = con.execute("select count(*) from intents where state in ('sending', 'unknown')").fetchone()[0]
    con.close()
    shutil.move(merging / "journal.db", kept / "merged.db")
    shutil.rmtree(merging)
    return live > 0


def head_is_kept(kept: Path) -> bool:
    """Say whether the push did not die between a commit and its head.

    There the last commit can be cut off unnoticed. It is harmless: nothing leaves before the head is kept, and
    what was answered is looked for again.
    """
    with sqlite3.connect(kept / "merged.db") as con:
        said = con.execute("select value from meta where name = 'audit_head'").fetchone()[0]
    con.close()
    return (kept / "journal.head").read_text().strip() == said


def judge(place: Place, done: HalfDone, folder: Path, truth: dict[str, Any]) -> str:
    """Spoil a copy, open and verify it; give how that ended. Raises AssertionError where it was not noticed."""
    done.copy_to(folder, merged=place.file == "merged")
    place.spoil(folder)
    try:
        with Journal(f"sqlite:///{folder / 'journal.db'}", KEY) as journal:
            if journal.trouble:
                return "noticed when it was opened"
            try:
                journal.must_be_whole()
            except JournalDamaged:
                return "noticed before anything was sent"
    except ReconcileError:
        return "refused to open"
    now = contents(folder / FILES["db"])
    if now == {**truth, "leases": now["leases"]}:
        # Only a beat is other: when a lease ends may shift; who holds it, and its number, are as they were.
        return "holds what it held, a beat apart" if now != truth else "holds exactly what it held"
    assert now == truth, f"{place}: other rows, and nobody noticed"
    return "holds exactly what it held"


def go_on(scene: Scene) -> str:
    """Push again as a person would; gives what had to be done first. Raises AssertionError."""
    met = []
    for step in ("at once", "accepted as it is", "moved away"):
        marks = {side: len(scene.writes(side)) for side in kill_push.KINDS}
        try:
            if step == "moved away":
                for part in scene.folder.glob("journal.db*"):
                    part.unlink()
            if step != "at once":
                with scene.journal() as journal:
                    journal.accept(by="test")
            kill_push.work(scene.peer.line, scene.folder)
        except Exception as error:  # noqa: BLE001 (a spoiled row may end in anything; nothing may have left)
            met.append(f"{step}: {type(error).__name__}")
            sent = {side: len(scene.writes(side)) for side in kill_push.KINDS}
            assert sent == marks, f"{met}, and something was sent"
            continue
        twice = {name: count for name, count in made(scene).items() if count > 1}
        assert not twice, f"{step}: there twice: {twice}"
        return step
    raise AssertionError(f"no way to go on: {met}")


def made(scene: Scene) -> Counter[str]:
    """Count the records by their names, and by the keys that they carry of the other side."""
    contacts = [row for row in scene.contacts().values() if row["ContactStatus"] == "ACTIVE"]
    found = Counter("xero " + row["Name"] for row in contacts)
    found += Counter("number " + row["ContactNumber"] for row in contacts if row.get("ContactNumber"))
    for kind, name in (("Account", "Name"), ("Contact", "LastName")):
        rows = scene.records("salesforce", kind)
        found += Counter(f"{kind} {row[name]}" for row in rows)
        found += Counter(f"{kind} key {row['ExternalID__c']}" for row in rows if row.get("ExternalID__c"))
    return found


def sweep(count: int, again: int, seed: int, root: Path, say: Any = print) -> Tally:
    """Spoil so many places; push again on so many of them."""
    os.environ.setdefault("XDG_STATE_HOME", str(root / "state"))
    tally = Tally()
    with prepared(root) as done:
        done.copy_to(root / "truth")
        truth = contents(root / "truth" / FILES["db"])
        chosen = places(done.kept, count, seed)
        for place in chosen:
            try:
                tally.found[place.file, place.how, judge(place, done, root / "spoiled", truth)] += 1
            except AssertionError as error:
                tally.found[place.file, place.how, "NOT NOTICED"] += 1
                tally.bad.append(str(error))
        say(f"{len(chosen)} places spoiled", flush=True)
        for place in chosen[:: max(1, count // again)][:again] if again else ():
            done.put_back()
            done.copy_to(root / "again", merged=place.file == "merged")
            place.spoil(root / "again")
            try:
                tally.again[go_on(Scene(done.peer, root / "again"))] += 1
            except AssertionError as error:
                tally.bad.append(f"{place}: {error}")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--places", type=int, default=2000)
    parser.add_argument("--again", type=int, default=200, help="on how many of them the push is run again")
    parser.add_argument("--seed", type=int, default=20261124)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        tally = sweep(options.places, options.again, options.seed, Path(root))
    tally.show(time.monotonic() - started)
    raise SystemExit(bool(tally.bad))


if __name__ == "__main__":
    main()

"""Kills pushes, and tells what became of it: `make kill`.

    python -m tests.kills                       every point of each scene, 1,000 at random moments, and the rest
    python -m tests.kills --points 10 --random 40 --others 2     a short one
    python -m tests.kills --scene invoices --kind point --case 57      one case again
    python -m tests.kills --table               the table of what the results hold

Results are kept case by case (results/cases.jsonl), so that a run that was stopped goes on where it was;
--fresh begins anew. Exit 1 where a case did not end as the undisturbed run.

SIGKILL is not power loss: what a killed process wrote is in the kernel's hands and stays there. What a disk
keeps when the power goes is SQLite's and the disk's affair (`synchronous=full`), and is not tried here.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.commit import commit_at_hand
from tests.kills import cases
from tests.kills.cases import Result, Stage
from tests.kills.judge import Verdict
from tests.kills.nursery import Nursery

RESULTS = Path(__file__).parent / "results"
SCENES = ("adoption", "changes", "invoices", "references")
Row = dict[str, Any]
Task = tuple[str, str, int]
WAYS: dict[str, Callable[[Nursery, Stage, int], Result]] = {
    "point": cases.at_point,
    "random": cases.at_random,
    "settle": lambda nursery, stage, case: cases.at_point(
        nursery, stage, stage.points * (case % 97) // 97 + 1, settle_at=3 + case % 23
    ),
    "race": cases.race,
    "stop": lambda nursery, stage, case: cases.stopped(
        nursery, stage, min(stage.points, 3 + case * 7 % stage.points)
    ),
    "command": cases.command,
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--scene", action="append", choices=SCENES, help="only this one")
    asked.add_argument("--kind", action="append", choices=list(WAYS), help="only this way to kill")
    asked.add_argument("--case", type=int, help="this one alone, whatever the results hold")
    asked.add_argument("--points", type=int, default=0, help="how many, spread over all; 0: every one")
    asked.add_argument(
        "--random", type=int, default=1000, help="how many kills at random moments, over all scenes"
    )
    asked.add_argument("--others", type=int, default=24, help="how many of each other way, over all scenes")
    asked.add_argument("--workers", type=int, default=max(2, (os.cpu_count() or 2) + 1))
    asked.add_argument("--results", type=Path, default=RESULTS)
    asked.add_argument(
        "--minutes", type=float, default=0, help="begin no case after so many; 0: go on to the end"
    )
    asked.add_argument("--fresh", action="store_true", help="forget the results that are there")
    asked.add_argument("--table", action="store_true", help="only show the table")
    given = asked.parse_args()
    file = given.results / "cases.jsonl"
    if given.fresh:
        file.unlink(missing_ok=True)
    given.results.mkdir(parents=True, exist_ok=True)
    if not given.table:
        with Sweep(given, file) as sweep:
            sweep.run()
    rows = read(file)
    text = table(rows)
    (given.results / "table.md").write_text(text)
    print(text)
    for row in rows:
        if not ok(row):
            print(f"{row['scene']} {row['kind']} {row['case']}: {row['why']}")
            print(
                f"  again: python -m tests.kills --scene {row['scene']} --kind {row['kind']} --case {row['case']}"
            )
    raise SystemExit(any(not ok(row) for row in rows))


class Sweep:
    """Workers that take case after case, each with scenes at places of its own."""

    def __init__(self, given: argparse.Namespace, file: Path) -> None:
        self._given, self._file = given, file
        self._scenes = given.scene or list(SCENES)
        memory = Path("/dev/shm")
        self._root = Path(tempfile.mkdtemp(prefix="kills_", dir=memory if memory.is_dir() else None))
        self._turn, self._commit = threading.Lock(), commit_at_hand()[:7]
        self._until = time.monotonic() + 60 * given.minutes if given.minutes else float("inf")
        self._had = {(row["scene"], row["kind"], row["case"]): row for row in read(file) if ok(row)}
        self._wanted: dict[str, int] = {}  # kills at random moments, by scene
        self._random: Counter[str] = Counter()
        for row in self._had.values():
            self._random[row["scene"]] += row["kills"] * (row["kind"] == "random")

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def run(self) -> None:
        with Nursery(self._root / "nursery") as nursery:
            first = [cases.make(nursery, scene, self._root / "w0") for scene in self._scenes]
            for stage in first:
                cases.undisturbed(nursery, stage)
                print(
                    f"{stage.scene}: {stage.points} points, a push takes {stage.span_s['push']:.2f} s",
                    flush=True,
                )
            workers = [first]
            workers += [
                [cases.moved(nursery, stage, self._root / f"w{n}") for stage in first]
                for n in range(1, self._given.workers)
            ]
            tasks: queue.Queue[Task] = queue.Queue()
            found = list(self._tasks({stage.scene: stage for stage in first}))
            random.Random(cases.SEED).shuffle(found)
            for task in sorted(found, key=lambda one: one[1] != "point"):
                tasks.put(task)
            print(f"{tasks.qsize()} cases to go", flush=True)
            threads = [threading.Thread(target=self._work, args=(nursery, mine, tasks)) for mine in workers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _tasks(self, stages: dict[str, Stage]) -> Iterator[Task]:
        if self._given.case is not None:
            yield from ((scene, self._given.kind[0], self._given.case) for scene in stages)
            return
        kinds = self._given.kind or ["point", "random", "settle", "race", "command", "stop"]
        share = {
            "random": self._given.random,
            **dict.fromkeys(("settle", "race", "stop", "command"), self._given.others),
        }
        for kind in kinds:
            for scene, stage in stages.items():
                step = max(1, stage.points // self._given.points) if self._given.points else 1
                last = share.get(kind, 0) // len(stages) // (4 if kind == "stop" else 1)
                if kind == "random":
                    self._wanted[scene], last = (
                        last,
                        last * 3 // 2 + 1,
                    )  # some come too late, and kill nothing
                numbers = range(1, stage.points + 1, step) if kind == "point" else range(1, last + 1)
                yield from ((scene, kind, n) for n in numbers if (scene, kind, n) not in self._had)

    def _work(self, nursery: Nursery, mine: list[Stage], tasks: queue.Queue[Task]) -> None:
        stages = {stage.scene: stage for stage in mine}
        while time.monotonic() < self._until:
            try:
                scene, kind, case = tasks.get_nowait()
            except queue.Empty:
                return
            if kind == "random" and self._random[scene] >= self._wanted.get(scene, 1):
                continue
            began = time.monotonic()
            try:
                result = replace(
                    WAYS[kind](nursery, stages[scene], case), case=case
                )  # by that it is run again
            except Exception as error:  # noqa: BLE001  (a case that fails is a finding, and the others go on)
                failed = Verdict(failed=[f"{type(error).__name__}: {str(error)[-1500:]}"])
                result = Result(scene, kind, case, failed, 0, time.monotonic() - began)
            self._random[scene] += result.kills * (kind == "random")
            self._keep(result)

    def _keep(self, result: Result) -> None:
        verdict = asdict(result.verdict)
        why = [line for lines in verdict.values() for line in lines]
        counts = {name: len(lines) for name, lines in verdict.items()}
        row = {
            "scene": result.scene, "kind": result.kind, "case": result.case, "kills": result.kills, **counts,
            "seconds": round(result.seconds, 1), "note": result.note, "commit": self._commit,
            **({"why": why} if why else {}),
        }  # fmt: skip
        with self._turn, self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")
            if why:
                print(f"{result.scene} {result.kind} {result.case}: {why[:3]}", file=sys.stderr, flush=True)


def read(file: Path) -> list[Row]:
    """The newest result of each case."""
    lines = file.read_text().splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines]
    return list({(row["scene"], row["kind"], row["case"]): row for row in rows}.values())


def ok(row: Row) -> bool:
    return not any(row[name] for name in ("twice", "lost", "unsettled", "knowledge", "failed"))


def table(rows: list[Row]) -> str:
    """The results by scene and way to kill, as Markdown."""
    head = (
        "scene",
        "killed",
        "cases",
        "kills",
        "twice",
        "lost",
        "unsettled",
        "as undisturbed",
        "seconds a case",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    groups = sorted(
        {(row["kind"], row["scene"]) for row in rows}, key=lambda one: (list(WAYS).index(one[0]), one[1])
    )
    for kind, scene in groups:
        lines.append(
            _line(scene, kind, [row for row in rows if (row["kind"], row["scene"]) == (kind, scene)])
        )
    if rows:
        lines.append(_line("all", "", rows))
    return "\n".join(lines) + "\n"


KINDS = {
    "point": "at each numbered point",
    "random": "at a random moment",
    "settle": "at a point, and again while settling",
    "race": "beside a second run",
    "stop": "halted past its lease, woken",
    "command": "`reconcile apply`, any moment",
}


def _line(scene: str, kind: str, rows: list[Row]) -> str:
    counts = [sum(bool(row[name]) for row in rows) for name in ("twice", "lost", "unsettled")]
    good = sum(ok(row) for row in rows)
    seconds = sum(row["seconds"] for row in rows) / len(rows)
    kills = sum(row["kills"] for row in rows)
    cells = (
        scene,
        KINDS.get(kind, ""),
        len(rows),
        kills,
        *counts,
        f"{good} of {len(rows)}",
        f"{seconds:.1f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()

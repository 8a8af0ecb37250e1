"""One case: a copy of a scene, a process that is killed, one that goes on, and the judge.

A case is told by its number alone: the moment, the processes and the way to go on are drawn from it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.kills.judge import End, Seen, Verdict, end_of, ids_of, judge
from tests.kills.nursery import ENVIRONMENT, ROOT, Nursery

SIDES = ("xero", "salesforce")
SEED = 20261124
WAITING = {"RECONCILE_LIMITS__LEASE_WAIT_S": "60"}
STARTING_S = 30.0


@dataclass
class Result:
    """What one case came to."""

    scene: str
    kind: str  # point, random, settle, race, stop, command
    case: int
    verdict: Verdict
    kills: int
    seconds: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.verdict.ok


@dataclass
class Stage:
    """A scene at a place of its own (folder and ports), and how it ends undisturbed."""

    scene: str
    folder: Path  # as it begins; each case gets a copy
    work: Path
    ports: list[int]
    line: dict[str, Any]
    before: dict[str, list[str]]
    marks: dict[str, int]
    expected: End | None = None
    points: int = 0
    points_of_settle: int = 0
    span_s: dict[str, float] = field(default_factory=dict)  # by job: how long it takes when left alone


# -- scenes at their places


def make(nursery: Nursery, scene: str, root: Path) -> Stage:
    """Prepare a scene in a folder."""
    folder, ports = root / scene, free_ports()
    folder.mkdir(parents=True)
    with serving(nursery, folder, ports) as line:
        nursery.run("prepare", name=scene, folder=str(folder), line=line)
        stage = _stage(scene, folder, root / f"{scene}_work", ports, line)
    _lighten(folder)
    return stage


def moved(nursery: Nursery, stage: Stage, root: Path) -> Stage:
    """The same scene at ports of its own, for a worker that runs beside others."""
    folder, ports = root / stage.scene, free_ports()
    shutil.copytree(stage.folder, folder)
    with serving(nursery, folder, ports) as line:
        nursery.run("lead", folder=str(folder), line=line)
        found = _stage(stage.scene, folder, root / f"{stage.scene}_work", ports, line)
    found.expected, found.points, found.span_s = stage.expected, stage.points, dict(stage.span_s)
    found.points_of_settle = stage.points_of_settle
    return found


def _stage(scene: str, folder: Path, work: Path, ports: list[int], line: dict[str, Any]) -> Stage:
    seen = look(line)
    before = {side: ids_of(one.rows) for side, one in seen.items()}
    marks = {side: max((row["n"] for row in one.requests), default=0) for side, one in seen.items()}
    return Stage(scene, folder, work, ports, line, before, marks)


def _lighten(folder: Path) -> None:
    """Leave out what no run reads, so that copies are quick."""
    for name in ("published.duckdb", "published.duckdb.wal"):
        (folder / "data" / name).unlink(missing_ok=True)


def free_ports() -> list[int]:
    """Two ports that no outgoing connection is given by chance."""
    found: list[int] = []
    draw = random.Random(time.monotonic_ns())
    while len(found) < 2:
        port = draw.randrange(15000, 30000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


@contextmanager
def serving(nursery: Nursery, folder: Path, ports: list[int]) -> Iterator[dict[str, Any]]:
    """Let the sandbox run in a process of its own, over the state in the folder."""
    file = folder / "line.json"
    file.unlink(missing_ok=True)
    pid = nursery.begin("serve", state=str(folder / "sandbox"), ports=ports, line=str(file))
    try:
        until = time.monotonic() + STARTING_S
        while not file.exists():
            assert time.monotonic() < until, "the sandbox does not start"
            time.sleep(0.003)
        yield json.loads(file.read_text())
    finally:
        os.kill(pid, signal.SIGKILL)  # its files survive that, as ours do
        nursery.end(pid)


def look(line: dict[str, Any], marks: dict[str, int] | None = None) -> dict[str, Seen]:
    """Read what both sides hold, and what they logged since the marks."""
    seen = {}
    for side in SIDES:
        url = line[side]["api_url" if side == "xero" else "instance_url"] + "/sandbox"
        rows = [json.loads(one) for one in httpx.get(f"{url}/dump", timeout=60).text.splitlines()]
        log = httpx.get(f"{url}/requests?after={(marks or {}).get(side, 0)}", timeout=60)
        seen[side] = Seen(rows, log.json()["requests"])
    return seen


# -- cases


@dataclass
class Case:
    """A copy of a scene, with its systems up."""

    nursery: Nursery
    stage: Stage
    folder: Path
    line: dict[str, Any]
    kills: int = 0

    def left_alone(self, job: str, **environ: str) -> Any:
        return self.nursery.run(job, folder=str(self.folder), environ=environ)

    def killed_at(self, job: str, point: int, **environ: str) -> bool:
        """Let a process kill itself at a numbered point; says whether it came there."""
        ended = self.left_alone(job, RECONCILE_CRASH_AT=str(point), **environ)
        self.kills += ended.killed
        return ended.killed

    def killed_after(self, job: str, seconds: float) -> bool:
        """Kill a process at any moment; says whether it still lived."""
        pid = self.nursery.begin(job, folder=str(self.folder))
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        killed = self.nursery.end(pid).killed
        self.kills += killed
        return killed

    def judged(
        self, kind: str, case: int, *, first: str, quickly: bool, began: float, note: str = ""
    ) -> Result:
        """Go on until nothing is to do, and judge."""
        told = self.nursery.run("quiet", folder=str(self.folder), first=first, quickly=quickly).said
        verdict = judge(self.end(told), self.stage.expected or self.end(told), told)
        return Result(self.stage.scene, kind, case, verdict, self.kills, time.monotonic() - began, note)

    def end(self, told: dict[str, Any]) -> End:
        ours = {self.line["xero"]["client_id"], self.line["salesforce"]["username"]}
        return end_of(self.stage.before, look(self.line, self.stage.marks), told, ours)

    def writes(self) -> dict[str, int]:
        """How many writes of ours each side has got."""
        seen = look(self.line, self.stage.marks)
        return {
            side: sum(row["method"] != "GET" and "oken" not in row["path"] for row in one.requests)
            for side, one in seen.items()
        }


@contextmanager
def case_of(nursery: Nursery, stage: Stage) -> Iterator[Case]:
    shutil.rmtree(stage.work, ignore_errors=True)
    shutil.copytree(stage.folder, stage.work)
    with serving(nursery, stage.work, stage.ports) as line:
        yield Case(nursery, stage, stage.work, line)


def undisturbed(nursery: Nursery, stage: Stage) -> None:
    """Learn how the scene ends when nobody kills anything, how many points it has, and how long it takes."""
    count = stage.folder.parent / f"{stage.scene}_points"
    with case_of(nursery, stage) as case:
        ended = case.left_alone("push", RECONCILE_CRASH_COUNT=str(count))
        assert ended.said == "", f"{stage.scene}: the push ended with {ended.said}"
        stage.points, stage.span_s["push"] = int(count.read_text()), ended.seconds
        stage.span_s["sync"] = 3 * ended.seconds  # it pulls and plans too; adapted as it is met
        told = nursery.run("quiet", folder=str(case.folder), first="plan", quickly=False).said
        stage.expected = case.end(told)
    end = stage.expected
    assert not told["unsettled"] and told["whole"] and not end.doubled
    assert set(end.made.values()) == {1}, f"{stage.scene}: made {end.made}"


def at_point(nursery: Nursery, stage: Stage, point: int, *, settle_at: int | None = None) -> Result:
    """Kill a push at a point; with settle_at, kill what settles after it at a point too."""
    began = time.monotonic()
    with case_of(nursery, stage) as case:
        assert case.killed_at("push", point), f"{stage.scene}, point {point}: it did not die"
        if settle_at is not None:
            case.killed_at("settle", settle_at)
        first = ("push", "plan")[(point + (settle_at or 0)) % 2]
        kind = "point" if settle_at is None else "settle"
        return case.judged(kind, point, first=first, quickly=True, began=began)


def at_random(nursery: Nursery, stage: Stage, number: int) -> Result:
    """Kill something at some moment, perhaps twice; all of it drawn from the number."""
    began, draw = time.monotonic(), random.Random(f"{SEED}:{stage.scene}:{number}")
    job = draw.choices(["push", "sync", "settle"], [6, 2, 2])[0]
    note = job
    with case_of(nursery, stage) as case:
        if job == "settle":
            case.killed_at("push", draw.randint(stage.points // 4, stage.points))
            case.kills = 0  # counted are those at random moments
        span_s = stage.span_s.get(job, 0.5)
        delay_s = draw.uniform(0, span_s)
        if case.killed_after(job, delay_s):
            stage.span_s[job] = max(span_s, delay_s * 1.02)
        else:
            note += ", too late"
            stage.span_s[job] = max(0.05, 0.97 * span_s)  # the machine has less to do than it had
        if draw.random() < 0.3:
            again = draw.choice(["push", "settle"])
            note += f", then {again}"
            case.killed_after(again, draw.uniform(0, stage.span_s.get(again, 0.5)))
        first = draw.choice(["push", "plan"])
        return case.judged("random", number, first=first, quickly=job != "sync", began=began, note=note)


def race(nursery: Nursery, stage: Stage, number: int) -> Result:
    """Two runs at once, one of which is killed; the other one waits for the lease, takes it over and goes on."""
    began, draw = time.monotonic(), random.Random(f"{SEED}:race:{stage.scene}:{number}")
    with case_of(nursery, stage) as case:
        jobs = [draw.choice(["push", "sync"]) for _ in range(2)]
        pids = [nursery.begin(job, folder=str(case.folder), environ=WAITING) for job in jobs]
        time.sleep(draw.uniform(0, stage.span_s["push"] * 1.5))
        os.kill(pids[0], signal.SIGKILL)
        case.kills += nursery.end(pids[0]).killed
        other = nursery.end(pids[1]).said
        # Where the killed one was just in the way, or has put a new plan in the place of the one that was to be
        # applied, it says so and has written nothing: one runs it again.
        told = {"", "JournalBusy", "WarehouseBusy", *({"PlanUnusable"} if jobs == ["sync", "push"] else ())}
        assert other in told, f"the other run ended with {other}"
        note = f"{jobs[0]} killed beside {jobs[1]}" + f", which met {other}" * bool(other)
        return case.judged("race", number, first="plan", quickly=False, began=began, note=note)


def stopped(nursery: Nursery, stage: Stage, point: int) -> Result:
    """Halt a push past its lease (SIGSTOP), let another run do all, and wake it: it writes nothing.

    Halted within a transaction, it holds SQLite's lock, and while it logs in the turn to do so: then the other
    one says so and writes nothing, and the woken one may go on where it is still inside its lease.
    """
    began = time.monotonic()
    with case_of(nursery, stage) as case:
        asleep = nursery.begin("push", folder=str(case.folder), environ={"RECONCILE_STOP_AT": str(point)})
        try:
            until = time.monotonic() + STARTING_S
            while _state(asleep) != "T":
                assert time.monotonic() < until, f"{stage.scene}, point {point}: it did not halt"
                time.sleep(0.005)
            other = case.left_alone("push", **WAITING).said
            assert other in ("", "JournalBusy", "LoginBusy"), f"the other run ended with {other}"
            before = case.writes()
        finally:
            os.kill(asleep, signal.SIGCONT)
        woken = nursery.end(asleep).said
        late = {side: count - before[side] for side, count in case.writes().items() if count != before[side]}
        note = f"the other: {other or 'did it all'}; woken: {woken or 'went on'}"
        result = case.judged("stop", point, first="plan", quickly=True, began=began, note=note)
        if late and not other:
            result.verdict.twice.append(f"it wrote after it woke: {late}")
        return result


def _state(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()[0]


def command(nursery: Nursery, stage: Stage, number: int) -> Result:
    """The same with `reconcile apply` as a user starts it: a new interpreter that loads everything itself."""
    began, draw = time.monotonic(), random.Random(f"{SEED}:command:{stage.scene}:{number}")
    with case_of(nursery, stage) as case:
        shares = stage.span_s.setdefault("loading", 2.0), stage.span_s.setdefault("command", 2.0)
        delay_s = draw.uniform(0.5 * shares[0], sum(shares))
        words = [
            "apply",
            plan_of(case.folder),
            "--yes",
            "--json",
            "--settings",
            str(case.folder / "demo.toml"),
        ]
        with subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *words],
            cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                process.wait(delay_s)
            except subprocess.TimeoutExpired:
                process.kill()
            code = process.wait()
            assert process.stderr is not None
            error = process.stderr.read().decode()
        assert code in (0, -signal.SIGKILL), f"exit {code}: {error[-2000:]}"
        case.kills += code == -signal.SIGKILL
        wrote = sum(case.writes().values())
        note = ("too late, " if code == 0 else "") + ("after it wrote" if wrote else "before it wrote")
        # Learn how long loading takes now: most kills should come after it.
        stage.span_s["loading"] *= 1.1 if not wrote else 0.95
        return case.judged("command", number, first="push", quickly=True, began=began, note=note)


def plan_of(folder: Path) -> str:
    """The hash of the newest plan, as its file is named."""
    files = [
        one
        for one in (folder / "data" / "plans").iterdir()
        if re.fullmatch(r"[0-9a-f]{64}\.parquet", one.name)
    ]
    return max(files, key=lambda one: one.stat().st_mtime_ns).name.partition(".")[0]

"""Forks processes off one that has loaded everything, so that a killed run costs no second of imports.

Each is a process of its own: own memory, own files, own sockets, and SIGKILL ends it alone. A share of the
kills goes to `python -m flows.cli`, started as a user starts it, to show that nothing hangs on the forking.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
# One thread for Polars: workers share the cores, and a forked process has no threads of its parent.
ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "0", "RUNTIME__DLTHUB_TELEMETRY": "false"}
DIES_WITH_ITS_PARENT = 1  # PR_SET_PDEATHSIG (Linux)
LONGEST_S = 240  # of one process; then it is ended, and its exit code tells


@dataclass(frozen=True)
class Ended:
    """How a process ended. code: -9 is killed; said: what it wrote to its output, by the job's own choice."""

    code: int
    seconds: float
    cpu_s: float
    said: Any

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Nursery:
    """Gives processes; each runs one function of tests/kills/jobs.py."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._count = folder, 0
        self._started: dict[int, tuple[float, Path]] = {}  # process -> when, where it writes what it gave
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, "XDG_STATE_HOME": str(folder / "state")},
        )  # fmt: skip
        self._turn = threading.Lock()
        self._ask({"ready": True})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def begin(self, job: str, *, environ: Mapping[str, str] | None = None, **given: Any) -> int:
        """Start a process; gives its id."""
        with self._turn:
            self._count += 1
            out = self._folder / f"said_{self._count}"
        wanted = {"job": job, "given": given, "environ": dict(environ or {}), "out": str(out)}
        pid = int(self._ask(wanted))
        self._started[pid] = (time.monotonic(), out)
        return pid

    def end(self, pid: int) -> Ended:
        """Wait for a process to end. Raises AssertionError with its traceback where it failed by itself."""
        while (found := self._ask({"look": pid})) is None:
            time.sleep(0.02)
        code, cpu_s = found
        began, out = self._started.pop(pid)
        text = out.read_text() if out.exists() else "null"
        out.unlink(missing_ok=True)
        if code == 1:
            raise AssertionError(text[-4000:])
        return Ended(code, time.monotonic() - began, cpu_s, json.loads(text) if code == 0 else None)

    def run(self, job: str, *, environ: Mapping[str, str] | None = None, **given: Any) -> Ended:
        return self.end(self.begin(job, environ=environ, **given))

    def _ask(self, wanted: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._turn:  # several threads, each with its own processes
            self._process.stdin.write(json.dumps(wanted) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


def main() -> None:
    """Fork a process for each job on standard input."""
    jobs = importlib.import_module("tests.kills.jobs")
    jobs.load_everything()
    assert threading.active_count() == 1, "a fork would lose threads"
    with os.fdopen(os.dup(1), "w") as told:  # the children's own output goes elsewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        for text in sys.stdin:
            told.write(json.dumps(_heed(jobs, json.loads(text))) + "\n")
            told.flush()
    os._exit(0)  # libraries that were never used complain when they are taken down


def _heed(jobs: Any, wanted: Mapping[str, Any]) -> Any:
    if "look" in wanted:
        pid, status, usage = os.wait4(wanted["look"], os.WNOHANG)
        return (os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime) if pid else None
    if "ready" in wanted:
        return True
    pid = os.fork()
    if pid == 0:
        _live(jobs, wanted)
    return pid


def _live(jobs: Any, wanted: Mapping[str, Any]) -> None:
    """Do one job in this process, and end it: 0 and what it gave, or 1 and its traceback."""
    ctypes.CDLL(None).prctl(DIES_WITH_ITS_PARENT, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ |= wanted["environ"]
    signal.alarm(LONGEST_S)
    out, code = Path(wanted["out"]), 0
    try:
        given = getattr(jobs, wanted["job"])(**wanted["given"])
        out.write_text(json.dumps(given))
    except BaseException:  # noqa: BLE001  (the process ends here, whatever it was)
        out.write_text(traceback.format_exc())
        code = 1
    os._exit(code)


if __name__ == "__main__":
    main()

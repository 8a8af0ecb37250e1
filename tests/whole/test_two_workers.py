"""Two real processes of `reconcile apply` at once: one works, the other says who does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from whole_pair import Pair

from pipelines import runs
from reconcile.errors import PlanUnusable

pytestmark = pytest.mark.in_turn(0)

ROOT = Path(__file__).parents[2]
KILLED_BEFORE_THE_AUDIT = """
import os, sys
from pathlib import Path
from pipelines import runs
runs._audit = lambda *_, **__: os._exit(9)
with runs.open_context(Path(sys.argv[1]), progress=print) as ctx:
    runs.apply(ctx, runs.load_plan(ctx, sys.argv[2]), approved=True)
"""


def start_apply(pair: Pair, plan: str, **environment: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "flows.cli", "apply", plan, "--yes", "--json"]
    return subprocess.Popen(
        [*arguments, "--settings", str(pair.settings)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.timeout(280)
def test_of_two_applies_at_once_one_works_and_the_other_says_who_holds_the_pair(pair: Pair) -> None:
    pair.in_salesforce.change(pair.linked()[8][0]["Id"], Fax="020 7946 0123")
    planned = pair.plan()
    marks = pair.marks()
    # The first is held up for a while when its lease is taken and durable (the third point is the kept head).
    first = start_apply(pair, planned.short, RECONCILE_STOP_AT="3")
    try:
        wait_until_stopped(first)
        second = start_apply(pair, planned.short)
        out, _ = second.communicate(timeout=120)
        told = json.loads(out)
        assert (second.returncode, told["error"]) == (1, "LeaseHeld")
        assert f"process {first.pid}" in told["message"]
        assert pair.writes(marks) == []
        os.kill(first.pid, signal.SIGCONT)
        out, _ = first.communicate(timeout=120)
        assert first.returncode == 0, out
        assert json.loads(out)["counts"] == {"confirmed": 1}
        assert len(pair.writes(marks)) == 1
    finally:
        if first.poll() is None:
            first.kill()


def test_a_plan_that_was_replaced_while_an_apply_waited_for_its_turn_is_not_applied(pair: Pair) -> None:
    pair.set("limits", lease_wait_s=60)
    account, _ = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    old = pair.plan()
    marks = pair.marks()
    raised: list[BaseException] = []
    with pair.opened() as planning, pair.opened() as applying:
        loaded = runs.load_plan(applying, old.hash)
        waits = threading.Event()

        def work() -> None:
            waits.set()
            try:
                runs.apply(applying, loaded, approved=True)
            except PlanUnusable as error:
                raised.append(error)

        with planning.leased():
            worker = threading.Thread(target=work)
            worker.start()
            waits.wait()
            time.sleep(0.5)
            pair.in_salesforce.change(account["Id"], Fax="020 7946 0998")
            with pair._checks():
                runs.plan(planning)
        worker.join()
    assert ["superseded" in str(error) for error in raised] == [True]
    assert pair.writes(marks) == []


def test_a_run_killed_with_nothing_on_its_way_gets_its_certificate_from_the_next(pair: Pair) -> None:
    account, _ = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    before = set(pair.folder.rglob("certificates/*.json"))
    call = [sys.executable, "-c", KILLED_BEFORE_THE_AUDIT, str(pair.settings), pair.plan().hash]
    assert subprocess.run(call, cwd=ROOT, capture_output=True).returncode == 9
    assert set(pair.folder.rglob("certificates/*.json")) == before
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0123")
    pair.apply(pair.plan())
    with pair.opened(offline=True) as ctx:
        last, killed = [run for run in ctx.journal.runs() if run.kind == "apply"][:2]
    new = set(pair.folder.rglob("certificates/*.json")) - before
    assert {file.stem for file in new} == {last.run_id, killed.run_id}
    told = {file.stem: json.loads(file.read_text()) for file in new}
    assert [row["state"] for row in told[killed.run_id]["requests"]] == ["answered"]

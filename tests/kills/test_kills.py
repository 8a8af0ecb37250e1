"""Real kills, a short part of `make kill`: a push that dies ends as one that nobody disturbs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.journal_lease import is_dead
from tests.kills import cases
from tests.kills.cases import Stage
from tests.kills.judge import End, Seen, end_of, judge
from tests.kills.nursery import ROOT, Nursery

# The share of the points that are passed before the kill: bytes have left, and nobody knows what became of them.
PLACES = {"adoption": 0.3, "changes": 0.45, "invoices": 0.7}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


@pytest.fixture(scope="module", params=list(PLACES))
def stage(
    request: pytest.FixtureRequest, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Stage:
    stage = cases.make(nursery, request.param, tmp_path_factory.mktemp(request.param))
    cases.undisturbed(nursery, stage)
    return stage


def test_a_push_that_was_killed_ends_as_an_undisturbed_one(nursery: Nursery, stage: Stage) -> None:
    """At a point, and what settles after it at a point too; and at some moment."""
    assert stage.points >= 60
    result = cases.at_point(nursery, stage, int(PLACES[stage.scene] * stage.points), settle_at=5)
    assert result.ok and result.kills, result
    result = cases.at_random(nursery, stage, 7)
    assert result.ok, result


# -- the judge sees what it is there for

BEFORE = {"xero": ["c1"], "salesforce": ["a1"]}
ACCOUNT = {"attributes": {"type": "Account"}, "Id": "a1", "Name": "Edge", "ExternalID__c": "c1", "Phone": "1"}
CONTACT = {"ContactID": "c1", "Name": "Edge", "ContactNumber": "a1", "UpdatedDateUTC": "then"}
INVOICE = {
    "InvoiceID": "i1",
    "InvoiceNumber": "SF-1",
    "Reference": "r",
    "Total": 12,
    "Contact": {"ContactID": "c1"},
}
TOLD = {
    "links": [["l1", "party", "a1", "c1"]],
    "bases": [["l1", "xero", "phone", "agreed", "1"]],
    "unsettled": 0,
    "whole": True,
}


def ended(*more: dict, account: dict = ACCOUNT, made: tuple[str, ...] = ("i1",), told: dict = TOLD) -> End:
    changes = [["create", "invoice", one] for one in made]
    seen = {
        "xero": Seen([CONTACT, *more], [{"client": "us", "changes": changes}]),
        "salesforce": Seen([account], []),
    }
    return end_of(BEFORE, seen, told, {"us"})


UNDISTURBED = ended(INVOICE)


def test_another_id_and_another_time_are_the_same_end() -> None:
    other = {**INVOICE, "InvoiceID": "i9"}
    assert judge(ended(other, made=("i9",)), UNDISTURBED, TOLD).ok


@pytest.mark.parametrize(
    ("what", "end"),
    [
        ("twice", ended(INVOICE, {**INVOICE, "InvoiceID": "i2"}, made=("i1", "i2"))),
        ("twice", ended(INVOICE, {**INVOICE, "InvoiceID": "i2", "Status": "VOIDED"}, made=("i1", "i2"))),
        ("twice", ended(INVOICE, {**INVOICE, "InvoiceID": "i2"}, made=("i1",))),
        ("lost", ended(made=())),
        ("lost", ended({**INVOICE, "Total": 13})),
        ("lost", ended(INVOICE, account={**ACCOUNT, "Phone": "2"})),
        ("knowledge", ended(INVOICE, told={**TOLD, "links": [], "bases": []})),
        ("knowledge", ended(INVOICE, told={**TOLD, "bases": [["l1", "xero", "phone", "agreed", "2"]]})),
    ],
)
def test_the_judge_finds_a_planted_fault(what: str, end: End) -> None:
    assert getattr(judge(end, UNDISTURBED, TOLD), what)


def test_the_judge_finds_what_is_unsettled() -> None:
    assert judge(UNDISTURBED, UNDISTURBED, {**TOLD, "unsettled": 1}).unsettled
    assert judge(UNDISTURBED, UNDISTURBED, {**TOLD, "whole": False}).knowledge


def test_the_results_that_are_kept_hold_no_failure() -> None:
    file = ROOT / "tests" / "kills" / "results" / "cases.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    assert not [row for row in rows if row.get("why")]
    kinds = Counter(row["kind"] for row in rows)
    assert not rows or kinds["point"] >= 300


# -- found by the kills: a run that was waiting began while threads of the killed one still held its files

LASTING_THREAD = """
import ctypes, threading, time
from pipelines.journal_lease import this_process
threading.Thread(target=time.sleep, args=(60,)).start()
print(this_process(), flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells")
def test_a_holder_is_not_dead_before_the_last_of_its_threads_is() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LASTING_THREAD], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        assert name
        while Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert not is_dead(name)
        holder.kill()
        holder.wait(20)
        assert is_dead(name)

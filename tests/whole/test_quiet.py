"""A run in which nothing changed: one call for each object type and side, quick, and without the heavy libraries."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from whole_pair import SIDES, Pair, phone

pytestmark = pytest.mark.in_turn(0)

ROOT = Path(__file__).parents[2]
HEAVY = ("great_expectations", "dlt", "prefect", "pandas")

RUN = """
import json, sys, time
from pathlib import Path
import click, polars, duckdb, sqlalchemy, httpx, cryptography  # what any run needs
from pipelines import runs
began, loaded = time.monotonic(), time.process_time()
with runs.open_context(Path(sys.argv[1]), progress=lambda text: None) as ctx:
    planned = runs.plan(ctx)
seconds = time.monotonic() - began
heavy = [name for name in sys.argv[2:] if name in sys.modules]
count = planned.operations.height
cpu = time.process_time() - loaded
print(json.dumps({"seconds": seconds, "cpu": cpu, "loaded": loaded, "operations": count, "heavy": heavy}))
"""


def in_a_process(pair: Pair) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(pair.settings), *HEAVY],
        capture_output=True, text=True, timeout=120, cwd=ROOT, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_quiet_run_makes_one_call_for_each_object_type_and_side(pair: Pair) -> None:
    pair.plan()  # logs in
    marks = pair.marks()
    said = pair.command("plan", "--json")
    assert said.code == 0
    called = {
        side: sorted(
            (row["method"], row["path"].rpartition("/")[2]) for row in pair.requests(side, after=marks[side])
        )
        for side in SIDES
    }
    assert called["xero"] == [("GET", "Contacts"), ("GET", "Invoices")]
    assert {method for method, _ in called["salesforce"]} == {"GET"}
    queries = [unquote_plus(row["query"]) for row in pair.requests("salesforce", after=marks["salesforce"])]
    objects = ["Account", "Contact", "Opportunity", "OpportunityLineItem"]
    assert sorted(query.partition(" from ")[2].split()[0] for query in queries) == objects


def test_a_quiet_run_is_quick_and_loads_no_heavy_library(pair: Pair) -> None:
    pair.plan()
    seen = in_a_process(pair)
    assert (seen["operations"], seen["heavy"]) == (0, [])
    # The processor's, held against what loading the libraries took: neither a busy machine nor a slow one fails it.
    assert seen["cpu"] < seen["loaded"], seen
    assert seen["seconds"] < 10


def test_the_run_after_a_change_is_not_taken_for_quiet(pair: Pair) -> None:
    """The other way round: what the quiet path skips is not skipped when something moved."""
    account, contact = pair.linked()[8]
    pair.plan()
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0123")
    planned = pair.plan()
    assert planned.operations.height == 1
    pair.apply(planned)
    assert phone(pair.contact(contact["ContactID"])) == "442079460123"
    assert pair.plan().operations.is_empty()
    assert in_a_process(pair)["heavy"] == []


def test_help_is_there_at_once() -> None:
    """Under 0.4 s where nothing else runs; the processor's time, so that a busy machine does not fail the test."""
    command = Path(sys.executable).parent / "reconcile"
    took = []
    for _ in range(3):
        before = children_cpu()
        done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60)
        took.append(children_cpu() - before)
        assert done.returncode == 0
        assert "enable-writes" in done.stdout
    assert statistics.median(took) < 0.4, took


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

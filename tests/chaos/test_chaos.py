"""Forty worlds from this commit, the same seed twice, and the failures that were found once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import pull
from pipelines.extract import arrow_rows
from pipelines.warehouse import Warehouse
from tests.chaos import quick_load
from tests.chaos.__main__ import ENVIRONMENT, ROOT, read
from tests.commit import commit_at_hand

SEEDS = 40
PINNED = Path(__file__).parent / "pinned.json"  # seed -> what it found, and when it was mended
FOUND = [int(seed) for seed in json.loads(PINNED.read_text())]


def sweep(seeds: list[int], results: Path, *, workers: int = 2) -> list[dict]:
    """Live these seeds in processes of their own, whose hash seed is fixed; gives their rows."""
    code = (
        "from tests.chaos.__main__ import sweep; from pathlib import Path; "
        f"sweep({seeds!r}, {workers}, Path({str(results)!r}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return sorted(read(results), key=lambda row: row["seed"])


def of_this_commit() -> list[int]:
    base = int(commit_at_hand()[:7], 16)
    return [base * 1000 + number for number in range(SEEDS)]


@pytest.mark.timeout(1800)
def test_forty_worlds_of_this_commit_end_well(tmp_path: Path) -> None:
    rows = sweep(of_this_commit(), tmp_path / "seeds.jsonl")
    assert len(rows) == SEEDS
    failed = {
        f"python -m tests.chaos --seed {row['seed']} -v": row["violations"]
        for row in rows
        if row["violations"]
    }
    assert failed == {}, json.dumps(failed, indent=1)


def test_the_same_seed_lives_the_same_life(tmp_path: Path) -> None:
    seeds = random.Random(7).sample(range(100_000), 3)
    seeds = [seed - seed % 100 + 1 for seed in seeds]  # in memory, without Great Expectations
    orders = {"first": seeds, "again": seeds[::-1]}  # nor does it matter what lived in the process before
    first, again = (sweep(order, tmp_path / name, workers=1) for name, order in orders.items())
    assert [row["trace"] for row in first] == [row["trace"] for row in again]


# Since the worlds were made busier most of these seeds live other lives than when they found something: what
# they found has tests of its own. The newest is lived each time.
@pytest.mark.parametrize(
    "seeds",
    [FOUND[-1:], pytest.param(FOUND[:-1], marks=pytest.mark.slow)],
    ids=["newest", "older"],
)
def test_seeds_that_found_something_once_end_well(tmp_path: Path, seeds: list[int]) -> None:
    rows = sweep(seeds, tmp_path / "seeds.jsonl")
    assert {row["seed"]: row["violations"] for row in rows if row["violations"]} == {}


def test_the_quick_load_leaves_the_tables_that_dlt_leaves(tmp_path: Path) -> None:
    """New rows, changed rows and a deletion: the same versions with the same ends, by both."""
    left = {}
    for name, load in {"dlt": pull._load, "quick": quick_load.load}.items():
        with Warehouse(tmp_path / f"{name}.duckdb") as warehouse:
            for day, rows in enumerate(
                (
                    [("a", False, "1"), ("b", False, "1")],
                    [("a", False, "2"), ("c", False, "1")],
                    [("b", True, "2")],
                ),
                1,
            ):
                load(warehouse, {"xero_contact": _rows(rows)}, datetime(2026, 11, day, tzinfo=UTC))
            left[name] = warehouse.con.execute(
                "select record_id, modified_at, deleted, row_hash, body, _dlt_valid_from, _dlt_valid_to "
                "from wh.raw.xero_contact order by all"
            ).fetchall()
            assert warehouse.loads() == 3
    assert left["quick"] == left["dlt"]
    assert len(left["dlt"]) == 5, left["dlt"]


def _rows(rows: list[tuple[str, bool, str]]) -> pa.Table:
    at = datetime(2026, 10, 1, tzinfo=UTC)
    ids, deleted, versions = (list(column) for column in zip(*rows, strict=True))
    hashes = [record_id + version for record_id, version in zip(ids, versions, strict=True)]
    return arrow_rows(
        {
            "record_id": ids,
            "modified_at": [at] * len(ids),
            "deleted": deleted,
            "row_hash": hashes,
            "body": ["{}"] * len(ids),
        }
    )

"""Runs the notebook on copies that the product itself published, and compares its numbers with the report's."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from flows import gather
from flows.demo import sandbox, write_settings
from pipelines import runs

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "where_do_the_books_differ.ipynb"

# Run at the end of the notebook: what it has found, to be compared.
TELL = """
import json
told = {
    "links": links.group_by("entity", "status").len().to_dicts(),
    "counterparts": counterparts.to_dicts(),
    "drift": drift.group_by("entity", "unit").len().to_dicts(),
    "names": examples["name"].null_count(),
}
print("TOLD" + json.dumps(told))
"""


@dataclass(frozen=True)
class Books:
    """A published copy, and what `reconcile report --json` says of the same run."""

    copy: Path
    report: dict[str, Any]


def published(folder: Path, *, seed: str) -> Books:
    """Plan on a sandboxed pair and publish, as `reconcile plan` and `reconcile report` do."""
    with (
        sandbox(folder / "sandbox", seed=seed, limits="off") as line,
        runs.open_context(write_settings(folder, line, limits="off"), progress=lambda _: None) as ctx,
    ):
        runs.plan(ctx)
        data = gather.report_data(ctx)
        gather.publish(ctx, data)
        return Books(ctx.published, gather.figures(data))


@pytest.fixture(scope="module")
def books(tmp_path_factory) -> Books:
    return published(tmp_path_factory.mktemp("demo"), seed="demo")


@dataclass(frozen=True)
class Shown:
    text: str  # what all cells show
    told: dict[str, Any]


def executed(monkeypatch: pytest.MonkeyPatch, path: Path) -> Shown:
    monkeypatch.setenv("RECONCILE_WAREHOUSE", str(path))
    monkeypatch.delenv("RECONCILE_WAREHOUSE__KEY", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(TELL))
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where).execute()
    *cells, last = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = " ".join(json.dumps(output.get("data", {})) for cell in cells for output in cell.outputs)
    return Shown(text, json.loads(last.outputs[0]["text"].removeprefix("TOLD")))


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def test_the_notebook_agrees_with_the_report(monkeypatch, books):
    told, report = executed(monkeypatch, books.copy).told, books.report
    links = {(row["entity"], row["status"]): row["len"] for row in told["links"]}
    stands = {(row["who"], row["stands"]): row["records"] for row in told["counterparts"]}
    assert len(report["entities"]) == 2
    for row, name in zip(report["entities"], ("Companies", "People"), strict=True):
        assert links[row["entity"], "linked"] == row["matched"]
        assert links.get((row["entity"], "review"), 0) == row["review"]
        for side in ("Salesforce", "Xero"):
            assert stands[f"{name} in {side}", "matched"] == row["matched"]
            assert stands[f"{name} in {side}", "stands alone"] == row[f"unmatched_{side.lower()}"]
    drift = {(row["entity"], row["unit"]): row["len"] for row in told["drift"]}
    assert drift == {(u["entity"], u["unit"]): u["drift"] for u in report["units"] if u["drift"]}
    assert sum(drift.values()) == report["drift"] > 10
    assert told["names"] == 0


def test_the_report_counts_each_record_once(books):
    """Matched, in review and alone are all the accounts there are, none twice."""
    (party,) = (row for row in books.report["entities"] if row["entity"] == "party")
    with duckdb.connect(str(books.copy), read_only=True) as con:
        counted = con.execute("""
            select
                (select count(*) from main.salesforce_account where not deleted),
                (select count(distinct salesforce_id) from report.links where status = 'review')
        """)
        [(accounts, asked)] = counted.fetchall()
    assert party["matched"] + party["unmatched_salesforce"] + asked == accounts


def test_the_units_of_the_report_add_up(books):
    for unit in books.report["units"]:
        parts = [unit[name] for name in ("agreed", "planned", "drift", "conflicts")]
        assert min(parts) >= 0, unit
        assert sum(parts) == unit["compared"]
    assert sum(unit["planned"] for unit in books.report["units"]) > 0


def test_the_notebook_shows_names_and_draws_without_a_network(monkeypatch, books):
    text = executed(monkeypatch, books.copy).text
    assert "Grand Hotels &amp; Resorts Ltd" in text
    assert "Bournemouth" in text
    assert '{\\"city' not in text, "an address is written as on paper"
    assert "stands alone" in text
    assert text.count("<svg") == 2
    assert "cdn" not in text


def test_a_last_run_without_differences_shows_none_of_an_earlier_one(monkeypatch, tmp_path, books):
    path = Path(shutil.copy(books.copy, tmp_path))
    with duckdb.connect(str(path)) as con:
        con.execute("update state.drift set run_id = 'earlier'")
    shown = executed(monkeypatch, path)
    assert shown.told["drift"] == []
    assert "as_found" not in shown.text


def test_the_notebook_runs_before_the_first_report(monkeypatch, tmp_path, books):
    """`reconcile plan` publishes too, without the report's own tables."""
    path = Path(shutil.copy(books.copy, tmp_path))
    with duckdb.connect(str(path)) as con:
        for (name,) in con.sql(
            "select table_name from duckdb_tables() where table_name like 'report_%'"
        ).fetchall():
            con.execute(f"drop table report.{name}")
    assert executed(monkeypatch, path).told["drift"]


def test_the_notebook_runs_on_empty_books(monkeypatch, tmp_path):
    assert executed(monkeypatch, published(tmp_path, seed="empty").copy).told["links"] == []


def test_the_notebook_says_what_to_do_where_there_is_no_warehouse(monkeypatch, tmp_path):
    with pytest.raises(CellExecutionError, match=r"there is no such file. `make demo`"):
        executed(monkeypatch, tmp_path / "none.duckdb")

"""Runs the notebooks on copies that the product itself published, and compares their numbers with the report's."""

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

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NOTEBOOK = NOTEBOOKS / "where_do_the_books_differ.ipynb"
MONTH_CLOSE = NOTEBOOKS / "month_close.ipynb"

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


def executed(
    monkeypatch: pytest.MonkeyPatch, path: Path, notebook_file: Path = NOTEBOOK, tell: str = TELL
) -> Shown:
    monkeypatch.setenv("RECONCILE_WAREHOUSE", str(path))
    monkeypatch.delenv("RECONCILE_WAREHOUSE__KEY", raising=False)
    notebook = nbformat.read(notebook_file, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(tell))
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where).execute()
    *cells, last = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = " ".join(json.dumps(output.get("data", {})) for cell in cells for output in cell.outputs)
    return Shown(text, json.loads(last.outputs[0]["text"].removeprefix("TOLD")))


@pytest.mark.parametrize("kept", [NOTEBOOK, MONTH_CLOSE], ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(kept):
    notebook = nbformat.read(kept, as_version=4)
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


# --- A month's end

TELL_MONTH = """
import json
summed = of_month.group_by("currency", "measure").agg(pl.col(amounts).sum()).sort("currency", "measure")
told = {
    "month": str(month),
    "sums": [[str(value) for value in row] for row in summed.rows()],
    "kinds": dict(each.group_by("kind").agg(pl.col("difference_id").n_unique()).iter_rows()),
    "causes": [[str(value) for value in row] for row in causes.select("cause", "currency", "changed", "moved").rows()],
    "rows": rows.select("cause", "document", "line").rows(),
    "verdict": verdict,
}
print("TOLD" + json.dumps(told))
"""
MONTH_TOTALS = """
    insert into report.control_totals values
        ('EUR', date '2026-11-01', 'PAID', '200', 'net', 100, 90, -10, -10, 0, 0),
        ('EUR', date '2026-11-01', 'PAID', '200', 'tax', 20, 18.01, -1.99, -2, 0.01, 0),
        ('EUR', date '2026-11-01', 'PAID', '260', 'net', 0, 10, 10, 10, 0, 0),
        ('GBP', date '2026-11-01', 'PAID', '200', 'tax', 1.00, 1.01, 0.01, 0.01, 0, 0),
        ('GBP', date '2026-12-01', 'PAID', '200', 'net', 0, 50, 50, 50, 0, 0)
"""
MONTH_DIFFERENCES = """
    insert into report.differences values
        ('account:D:1', 'account', 'D', '1', 'EUR', date '2026-11-01', 'PAID', '200', -10, -2, 'account 200, 260'),
        ('account:D:1', 'account', 'D', '1', 'EUR', date '2026-11-01', 'PAID', '260', 10, 2, 'account 200, 260'),
        ('unexplained:E:2', 'unexplained', 'E', '2', 'EUR', date '2026-11-01', 'PAID', '200', 0, 0.01, 'nothing'),
        ('rounding_line:F:3', 'rounding_line', 'F', '3', 'GBP', date '2026-11-01', 'PAID', '200', 0, 0.01, 'half'),
        ('timing:G', 'timing', 'G', null, 'GBP', date '2026-11-01', 'PAID', '200', -50, 0, 'date'),
        ('timing:G', 'timing', 'G', null, 'GBP', date '2026-12-01', 'PAID', '200', 50, 0, 'date'),
        ('discount:H:4', 'discount', 'H', '4', 'GBP', date '2026-12-01', 'PAID', '200', 5, 1, 'another month')
"""


def closed(monkeypatch: pytest.MonkeyPatch, path: Path) -> Shown:
    monkeypatch.delenv("RECONCILE_MONTH", raising=False)
    return executed(monkeypatch, path, MONTH_CLOSE, TELL_MONTH)


def test_the_month_agrees_with_the_report_and_names_what_differs(monkeypatch, books):
    found = closed(monkeypatch, books.copy)
    [net, tax] = books.report["control_totals"]
    assert found.told["month"] == "2026-11-01"
    assert found.told["sums"] == [[str(value) for value in one.values()] for one in (net, tax)]
    assert {(cause, document.partition(":")[0]) for cause, document, _ in found.told["rows"]} == {
        ("missing_document", name)
        for name in ("Edge", "Grand Hotels", "Larkfield", "Boom FM", "United Oil & Gas")
    }
    assert found.told["verdict"].startswith(
        "2026-11: 5 differences to settle, 0 of rounding, 0 without a cause"
    )
    assert found.text.count("<svg") == 3
    assert "cdn" not in found.text


def test_rounding_is_told_from_what_is_really_apart(monkeypatch, tmp_path, books):
    path = Path(shutil.copy(books.copy, tmp_path))
    with duckdb.connect(str(path)) as con:
        for sql in (
            "delete from report.control_totals",
            "delete from report.differences",
            MONTH_TOTALS,
            MONTH_DIFFERENCES,
        ):
            con.execute(sql)
    told = closed(monkeypatch, path).told
    assert told["month"] == "2026-11-01", "the newest in which both books hold something"
    assert told["kinds"] == {"booked elsewhere": 2, "rounding": 1, "not explained": 1}
    assert told["causes"] == [
        ["account", "EUR", "0.0000", "10.0000"],
        ["timing", "GBP", "0.0000", "50.0000"],
        ["unexplained", "EUR", "0.0100", "0.0000"],
        ["rounding_line", "GBP", "0.0100", "0.0000"],
    ]
    assert told["rows"][0] == ["unexplained", "E", None]


def test_the_months_notebook_runs_where_there_are_no_sales(monkeypatch, tmp_path, books):
    path = Path(shutil.copy(books.copy, tmp_path))
    with duckdb.connect(str(path)) as con:
        con.execute("delete from report.control_totals; delete from report.differences")
    assert closed(monkeypatch, path).told["verdict"] == "There is nothing to close."

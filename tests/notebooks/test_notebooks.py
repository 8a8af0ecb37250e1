"""Runs the notebook on a published copy of the layout that pipelines/warehouse.py writes.

The layout that it needs: main.salesforce_account and main.xero_contact (record_id, deleted, "Name"),
state.links, state.drift, and state.snapshots with the objects as JSON; report.report_runs and
report.report_history (flows.report.report_tables) where the report was kept.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import nbformat
import polars as pl
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from flows.report import HISTORY, ReportData, report_tables
from reconcile.model import conform

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "where_do_the_books_differ.ipynb"
LAYOUT = """
    create schema state;
    create table main.salesforce_account (record_id varchar, deleted boolean, "Name" varchar);
    create table main.salesforce_contact (
        record_id varchar, deleted boolean, "FirstName" varchar, "LastName" varchar
    );
    create table main.xero_contact (record_id varchar, deleted boolean, "Name" varchar);
    create table state.links (
        link_id varchar, entity varchar, salesforce_id varchar, xero_id varchar, status varchar, rule varchar,
        score double, evidence varchar, made_by varchar
    );
    create table state.drift (
        run_id varchar, saved_at timestamptz, link_id varchar, entity varchar, unit varchar,
        salesforce_id varchar, xero_id varchar, salesforce varchar, xero varchar, direction varchar,
        why varchar, since timestamptz
    );
    create table state.snapshots (
        snapshot_id varchar, status varchar, taken_at timestamptz, boundary timestamptz, content_id varchar,
        loads_before bigint, objects varchar
    );
"""
ROWS = """
    insert into main.salesforce_account values
        ('001A', false, 'Acme'), ('001B', false, 'Borealis'), ('001C', false, 'Alone'),
        ('001D', true, 'Gone');
    insert into main.salesforce_contact values ('003A', false, 'Ann', 'Lee');
    insert into main.xero_contact values
        ('guid-a', false, 'Acme Ltd'), ('guid-b', false, 'Borealis '), ('guid-c', false, 'Also alone');
    insert into state.links values
        ('la', 'party', '001A', 'guid-a', 'linked', 'our_ids', 1.0, '{}', 'rule'),
        ('lb', 'party', '001B', 'guid-b', 'review', 'score', 0.8, '{}', 'rule');
    insert into state.drift values
        ('r2', '2026-03-01 12:00+00', 'lc', 'person', 'email', '003A', 'guid-a:primary', 'a@b', 'c@d',
            'as_found', 'as_found', null),
        ('r1', '2026-02-01 12:00+00', 'la', 'party', 'name', '001A', 'guid-a', 'Acme', 'Acme Ltd', 'xero',
            'flows_against', '2026-01-01 12:00+00'),
        ('r1', '2026-02-01 12:00+00', 'la', 'party', 'phone', '001A', 'guid-a', '1', '2', 'both',
            'conflict', null),
        ('r2', '2026-03-01 12:00+00', 'la', 'party', 'name', '001A', 'guid-a', 'Acme', 'Acme Ltd', 'xero',
            'flows_against', '2026-01-01 12:00+00');
"""
OBJECTS = [
    {"side": "xero", "object": "Contact", "rows": 3, "complete_as_of": "2026-03-01T11:59:00+00:00"},
    {"side": "salesforce", "object": "Account", "rows": 3, "complete_as_of": "2026-03-01T11:58:00+00:00"},
]


def published(folder: Path, *, rows: bool) -> Path:
    path = folder / "published.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(LAYOUT)
        if rows:
            con.execute(ROWS)
            snapshot = "('s1', 'complete', now(), now(), 's1', 0, ?)"
            con.execute(f"insert into state.snapshots values {snapshot}", [json.dumps(OBJECTS)])
    return path


def keep_report(path: Path) -> None:
    """Add the report's tables, as pipelines.warehouse.save_tables does."""
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    history = pl.DataFrame(
        [{"run_id": "r3", "at": at, "entity": "party", "drift": 0, "conflicts": 0, "review": 4242}],
        schema={name: kind for name, kind in HISTORY.items() if name not in ("matched", "unmatched")},
    )
    data = ReportData("acme", "sandbox", "r3", at, history=conform(history, HISTORY))
    with duckdb.connect(str(path)) as con:
        con.execute("create schema report")
        for name, frame in report_tables(data).items():
            con.register("incoming", frame.with_columns(pl.col(pl.Enum).cast(pl.String)))
            con.execute(f"create table report.{name} as from incoming")


def executed(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[str]:
    """Run the notebook on that file, and give what each code cell shows as text."""
    monkeypatch.setenv("RECONCILE_WAREHOUSE", str(path))
    monkeypatch.delenv("RECONCILE_WAREHOUSE__KEY", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(json.dumps(output.get("data", {})) for output in cell.outputs) for cell in cells]


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def test_the_notebook_shows_where_the_books_differ(monkeypatch, tmp_path):
    shown = executed(monkeypatch, published(tmp_path, rows=True))
    text = " ".join(shown)
    assert "flows_against" in text
    assert "Acme Ltd" in text
    assert "stands alone" in text
    assert "Ann Lee" in text
    assert text.count("<svg") == 2, "both pictures are drawn here, without a script from the network"
    assert "cdn" not in text


def test_a_last_run_without_differences_shows_none_of_an_earlier_one(monkeypatch, tmp_path):
    path = published(tmp_path, rows=True)
    keep_report(path)
    text = " ".join(executed(monkeypatch, path))
    assert "flows_against" not in text
    assert "4242" in text, "the trend is the report's"


def test_the_notebook_runs_where_nothing_differs(monkeypatch, tmp_path):
    assert executed(monkeypatch, published(tmp_path, rows=False))


def test_the_notebook_says_what_to_do_where_there_is_no_warehouse(monkeypatch, tmp_path):
    with pytest.raises(CellExecutionError, match=r"there is no such file. `make demo`"):
        executed(monkeypatch, tmp_path / "none.duckdb")

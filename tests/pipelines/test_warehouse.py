"""The DuckDB file: which snapshot is in force, folding, typed views, keys, locks, damage."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import Peer, account, contact

from pipelines.warehouse import (
    DiskFull,
    NoEncryption,
    Warehouse,
    WarehouseUnreadable,
    WrongKey,
    is_disk_full,
    next_boundary,
    snapshot_id_at,
)
from reconcile.model import BASES, DRIFT, LINKS

KEY = "0123456789abcdef" * 4
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def unsafe(con: duckdb.DuckDBPyConnection) -> None:
    """Let DuckDB encrypt without httpfs, which tests do without: not secure, and never used by the product."""
    con.execute("set force_mbedtls_unsafe='true'")


def links(*ids: str, status: str = "linked") -> pl.DataFrame:
    row = {"entity": "party", "salesforce_id": "001", "xero_id": "x", "status": status, "rule": "our_ids"}
    return pl.DataFrame(
        [{"link_id": i, **row, "score": 1.0, "evidence": "{}", "made_by": "us"} for i in ids],
        schema=dict(LINKS),
    )


def bases(*ids: str, native: str = "{}") -> pl.DataFrame:
    row = {"side": "xero", "unit": "name", "base_kind": "agreed", "native": native, "stamp": NOW}
    return pl.DataFrame([{"link_id": i, **row} for i in ids], schema=dict(BASES))


def test_folding_twice_changes_nothing_and_the_newest_wins(tmp_path):
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        for _ in range(2):
            warehouse.fold(links("a", "b"), bases("a", "b"), sequence=7)
        assert warehouse.folded() == 7
        warehouse.fold(links("b", status="refused"), bases("b", native='{"Name":"B"}'), sequence=8)
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        assert warehouse.folded() == 8
        assert warehouse.links().select("link_id", "status").rows() == [("a", "linked"), ("b", "refused")]
        assert warehouse.bases().select("link_id", "native").rows() == [("a", "{}"), ("b", '{"Name":"B"}')]
        assert dict(warehouse.links().schema) == dict(LINKS)


def test_a_runs_drift_is_kept_once(tmp_path):
    drift = pl.DataFrame(
        [
            {
                "link_id": "a",
                "entity": "party",
                "unit": "name",
                "salesforce": "A",
                "xero": "B",
                "why": "as_found",
            }
        ],
        schema_overrides=dict(DRIFT),
    )
    from reconcile.model import conform

    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        for _ in range(2):
            warehouse.save_drift("run 1", conform(drift, DRIFT), at=NOW)
        warehouse.save_drift("run 2", conform(drift, DRIFT), at=NOW + timedelta(days=1))
        assert warehouse.drift_history().select("run_id", "saved_at", "why").rows() == [
            ("run 1", NOW, "as_found"),
            ("run 2", NOW + timedelta(days=1), "as_found"),
        ]


YEARS = {"min_value": datetime(2000, 1, 1), "max_value": datetime(2100, 1, 1)}  # noqa: DTZ001 - made aware below


@given(st.lists(st.datetimes(**YEARS), min_size=1))
def test_boundaries_and_names_only_grow_whatever_the_clock_does(clock):
    before, names = None, []
    for moment in clock:
        boundary = next_boundary(moment.replace(tzinfo=UTC), before)
        assert before is None or boundary > before
        before = boundary
        names.append(snapshot_id_at(boundary))
    assert names == sorted(set(names))


def test_another_process_is_told_to_wait(tmp_path):
    path = tmp_path / "w.duckdb"
    with Warehouse(path):
        code = f"""
from pathlib import Path
from pipelines.warehouse import Warehouse, WarehouseBusy
try:
    Warehouse(Path({str(path)!r})).open()
except WarehouseBusy as error:
    print(error)
"""
        said = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=30)
    assert "another process" in said and "published copy" in said


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "text":
        path.write_text("this is no database, " * 1000)
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 3])
    else:
        path.write_bytes(content[:4096] + bytes(b ^ 0x5A for b in content[4096:20000]) + content[20000:])


@pytest.mark.parametrize("how", ["text", "truncated", "flipped"])
def test_a_damaged_file_says_to_move_it_away(tmp_path, how):
    path = tmp_path / "w.duckdb"
    with Warehouse(path) as warehouse:
        warehouse.save_tables({"numbers": pl.DataFrame({"n": range(20_000)})})
    damaged(path, how)
    with pytest.raises(WarehouseUnreadable, match="move it away"), Warehouse(path) as warehouse:
        warehouse.snapshot()
        warehouse._rows("select sum(n) from report.numbers")


def test_with_a_key_and_without_a_safe_way_to_encrypt_nothing_is_written(tmp_path):
    try:
        duckdb.connect().execute("load httpfs")
    except duckdb.Error:
        pass
    else:
        pytest.skip("httpfs is installed here")
    with pytest.raises(NoEncryption, match="httpfs") as caught:
        Warehouse(tmp_path / "w.duckdb", KEY).open()
    assert KEY not in str(caught.value)
    assert not (tmp_path / "w.duckdb").exists()


def test_an_encrypted_warehouse_shows_nothing_in_clear_and_opens_with_its_key_only(tmp_path):
    path = tmp_path / "w.duckdb"
    with Warehouse(path, KEY, prepare=unsafe) as warehouse:
        warehouse.save_tables({"people": pl.DataFrame({"name": ["Jane Roe of Leeds"] * 1000})})
        warehouse.publish(tmp_path / "copy.duckdb")
    for file in (path, tmp_path / "copy.duckdb"):
        assert b"Jane Roe" not in file.read_bytes()
    with Warehouse(path, KEY, prepare=unsafe) as warehouse:
        assert warehouse._rows("select count(*) from report.people") == [(1000,)]
    for key in ("", "f" * 64):
        with pytest.raises((WrongKey, WarehouseUnreadable)) as caught:
            Warehouse(path, key, prepare=unsafe).open()
        assert isinstance(caught.value, WrongKey) and KEY not in str(caught.value)


def test_a_plain_file_is_not_used_once_a_key_is_set(tmp_path):
    with Warehouse(tmp_path / "w.duckdb"):
        pass
    with pytest.raises(WrongKey, match="not encrypted"):
        Warehouse(tmp_path / "w.duckdb", KEY, prepare=unsafe).open()


def test_a_failed_write_for_want_of_room_is_told_from_others():
    for error in (OSError(28, "x"), OSError(27, "x"), duckdb.IOException("No space left on device")):
        wrapped = RuntimeError("load failed")
        wrapped.__cause__ = error
        assert is_disk_full(wrapped)
    assert not is_disk_full(OSError(2, "absent"))
    assert "no room" in str(DiskFull(Path("/data/w.duckdb")))


def test_a_load_that_is_half_done_is_not_seen(peer: Peer, tmp_path):
    peer.load("xero", [contact(n) for n in range(3)])
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        peer.pull(warehouse)
        before = warehouse.raw("xero", "Contact")
        later = warehouse.snapshot().boundary + timedelta(hours=1)
        # As dlt leaves it half-way: all retired, one successor there.
        warehouse.con.execute("update raw.xero_contact set _dlt_valid_to = ?", [later])
        warehouse.con.execute(
            "insert into raw.xero_contact by name select * replace (? as _dlt_valid_from, null as _dlt_valid_to, "
            "'new' as row_hash) from raw.xero_contact limit 1",
            [later],
        )
        assert warehouse.raw("xero", "Contact").equals(before)


def test_typed_views_give_exact_numbers_dates_and_instants(peer: Peer, tmp_path):
    peer.load(
        "salesforce",
        [account(1, AnnualRevenue=1234567, BillingLatitude=51.123456789012, NumberOfEmployees=7)],
    )
    peer.load("xero", [contact(1, IsCustomer=True, UpdatedDateUTC="/Date(1789378199100+0000)/")])
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        peer.pull(warehouse)
        one = warehouse.con.sql("from salesforce_account").pl().row(0, named=True)
        assert one["AnnualRevenue"] == Decimal("1234567")
        assert one["BillingLatitude"] == Decimal("51.123456789012")
        assert one["NumberOfEmployees"] == 7 and one["IsDeleted"] is False
        assert isinstance(one["SystemModstamp"], datetime) and one["SystemModstamp"].tzinfo is not None
        assert one["LastActivityDate"] is None or isinstance(one["LastActivityDate"], date)
        other = warehouse.con.sql("from xero_contact").pl().row(0, named=True)
        assert other["IsCustomer"] is True
        assert other["UpdatedDateUTC"] == datetime(2026, 9, 14, 9, 29, 59, 100_000, UTC)


def test_a_published_copy_is_whole_read_by_others_and_replaced_by_one_rename(peer: Peer, tmp_path):
    peer.load("salesforce", [account(n) for n in range(3)])
    copy = tmp_path / "published" / "copy.duckdb"
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        peer.pull(warehouse)
        warehouse.fold(links("a"), bases("a"), sequence=1)
        warehouse.publish(copy)
        reader = duckdb.connect(str(copy), read_only=True)
        peer.load("salesforce", [account(9)])
        peer.pull(warehouse)
        warehouse.publish(copy)
        count = "select count(*) from salesforce_account"
        assert reader.execute(count).fetchall() == [(3,)]
        assert reader.execute("select count(*) from state.links").fetchall() == [(1,)]
        reader.close()
        assert duckdb.connect(str(copy), read_only=True).execute(count).fetchall() == [(4,)]
    assert [file.name for file in copy.parent.iterdir()] == ["copy.duckdb"]


def test_only_the_owner_may_read_the_file(tmp_path):
    with Warehouse(tmp_path / "deep" / "w.duckdb"):
        pass
    assert (tmp_path / "deep" / "w.duckdb").stat().st_mode & 0o077 == 0


def test_a_load_leaves_no_clear_files_behind(peer: Peer, tmp_path):
    peer.load("xero", [contact(1, Name="Jane Roe")])
    with Warehouse(tmp_path / "w" / "w.duckdb") as warehouse:
        peer.pull(warehouse)
    assert [file.name for file in (tmp_path / "w").rglob("*")] == ["w.duckdb"]

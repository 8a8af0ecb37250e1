from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from sqlalchemy import create_engine, inspect, text

from expectations.dialect import OPEN, address_of


@pytest.fixture
def con():
    with duckdb.connect() as opened:
        yield opened


def test_a_registered_frame_is_read_with_exact_decimals(con):
    amounts = pl.DataFrame({"amount": [Decimal("0.1")] * 3}, schema={"amount": pl.Decimal(18, 4)})
    con.register("amounts", amounts)
    with address_of(con) as address, create_engine(address).connect() as sql:
        assert sql.execute(text("select sum(amount) from amounts")).scalar() == Decimal("0.3000")


def test_rows_can_be_fetched_after_the_next_statement(con):
    with address_of(con) as address, create_engine(address).connect() as sql:
        first = sql.execute(text("select * from range(3) t(n) order by n"))
        sql.execute(text("select 1")).fetchall()
        assert [row.n for row in first] == [0, 1, 2]


def test_columns_of_a_table_are_named_with_their_types(con):
    con.execute("create table t (name varchar, amount decimal(18, 4), seen timestamp)")
    with address_of(con) as address:
        found = {row["name"]: str(row["type"]) for row in inspect(create_engine(address)).get_columns("t")}
    assert found == {"name": "VARCHAR", "amount": "NUMERIC", "seen": "TIMESTAMP"}


def test_the_connection_stays_the_callers(con):
    with address_of(con) as address, create_engine(address).connect() as sql:
        sql.execute(text("select 1"))
    assert con.execute("select 1").fetchone() == (1,)
    assert address.split("//")[1] not in OPEN


def test_importing_the_checks_imports_no_great_expectations():
    code = "import sys, expectations.checks; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

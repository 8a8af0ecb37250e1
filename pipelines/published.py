"""Reads the read copy that the last plan published; nobody has to wait for it, and nobody waits for the reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import polars as pl

from pipelines.context import Context
from pipelines.warehouse import WrongKey, load_httpfs
from reconcile.errors import FixData

CATALOG = "published"


class Published:
    """The open read copy."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con

    def table(self, name: str) -> pl.DataFrame | None:
        """Give a table of the last report; null where none was published by that name."""
        there = "select 1 from duckdb_tables() where database_name = ? and schema_name = 'report' and table_name = ?"
        if not self._con.execute(there, [CATALOG, name]).fetchall():
            return None
        return self._con.sql(f'from {CATALOG}.report."{name}"').pl()


@contextmanager
def published(ctx: Context) -> Iterator[Published]:
    """Open the read copy of a pair. Raises FixData where there is none yet, WrongKey where the key does not fit."""
    path, key = ctx.published, ctx.settings.warehouse.key.get_secret_value()
    if not path.exists():
        raise FixData(f"{path}: nothing is published yet. Run `reconcile plan`.")
    con = duckdb.connect()
    try:
        con.execute("set timezone = 'UTC'")
        if key:
            load_httpfs(con)
        options = f"read_only, encryption_key {_literal(key)}" if key else "read_only"
        try:
            con.execute(f"attach {_literal(str(path))} as {CATALOG} ({options})")
        except duckdb.Error:
            # Without its text: that may hold the statement, and so the key.
            raise WrongKey(
                path,
                "can't be opened with warehouse.key as it is set",
                "Set the key with which it was made, or run `reconcile plan`, which publishes it anew.",
            ) from None
        yield Published(con)
    finally:
        con.close()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

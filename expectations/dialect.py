"""Lets Great Expectations look into an open DuckDB connection, where frames are registered and not copied.

Great Expectations knows neither Polars nor DuckDB. Through pandas a Decimal becomes an object and SQL
expectations are missing; duckdb-engine does not work with DuckDB 2. So this is the least SQLAlchemy
dialect that reading needs. It goes by the name of PostgreSQL, for by that name Great Expectations
chooses SQL that DuckDB understands.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import types
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.pool import StaticPool
from typing_extensions import override

if TYPE_CHECKING:
    import duckdb

OPEN: dict[str, duckdb.DuckDBPyConnection] = {}
NUMBERS = itertools.count(1)
SCHEME = "postgresql+opened_duckdb"
TYPES: dict[str, type[types.TypeEngine[Any]]] = {
    "BIGINT": types.BIGINT,
    "INTEGER": types.INTEGER,
    "DOUBLE": types.FLOAT,
    "DECIMAL": types.NUMERIC,
    "BOOLEAN": types.BOOLEAN,
    "DATE": types.DATE,
    "TIMESTAMP": types.TIMESTAMP,
}
COLUMNS = """
    select column_name, data_type
    from information_schema.columns
    where table_name = ? and table_schema = coalesce(?, current_schema())
    order by ordinal_position
"""


@contextmanager
def address_of(con: duckdb.DuckDBPyConnection) -> Generator[str]:
    """Lend an open connection to SQLAlchemy, and give the address under which it finds it.

    The caller keeps and closes the connection; after the block the address leads nowhere.
    """
    registry.register(SCHEME.replace("+", "."), __name__, "OpenedDuckDB")
    name = f"c{next(NUMBERS)}"
    OPEN[name] = con
    try:
        yield f"{SCHEME}://{name}"
    finally:
        del OPEN[name]


class Cursor:
    """Holds all rows of its last statement: Great Expectations fetches late, after other statements."""

    arraysize = 1
    rowcount = -1

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.con = con
        self.rows: list[Any] = []
        self.description: Any = None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self.con.execute(sql, list(parameters))
        self.description = self.con.description
        self.rows = self.con.fetchall() if self.description else []

    def fetchall(self) -> list[Any]:
        return self.fetchmany(len(self.rows))

    def fetchmany(self, size: int = 1) -> list[Any]:
        taken, self.rows = self.rows[:size], self.rows[size:]
        return taken

    def fetchone(self) -> Any:
        return self.rows.pop(0) if self.rows else None

    def close(self) -> None:
        self.rows = []


class Borrowed:
    """A DB-API connection that leaves transactions and closing to the owner of the real one."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.con = con

    def cursor(self) -> Cursor:
        return Cursor(self.con)

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class OpenedDuckDB(PGDialect):
    """Reads tables and columns of the connection that `address_of` lent."""

    name = "postgresql"
    driver = "opened_duckdb"
    default_paramstyle = "qmark"
    supports_statement_cache = True

    @classmethod
    @override
    def import_dbapi(cls) -> Any:
        import duckdb

        return duckdb

    @classmethod
    @override
    def get_pool_class(cls, url: Any) -> type[StaticPool]:
        return StaticPool

    @override
    def create_connect_args(self, url: Any) -> tuple[list[str], dict[str, Any]]:
        return [url.host], {}

    @override
    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        return Borrowed(OPEN[cargs[0]])

    @override
    def initialize(self, connection: Any) -> None:
        # PostgreSQL's own start asks for settings that DuckDB does not have.
        self.server_version_info = (15, 0)
        self.default_schema_name = "main"

    @override
    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        return bool(self.get_columns(connection, table_name, schema))

    @override
    def get_columns(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        rows = connection.exec_driver_sql(COLUMNS, (table_name, schema))
        return [
            {"name": name, "type": _type(found), "nullable": True, "default": None} for name, found in rows
        ]


def _type(found: str) -> types.TypeEngine[Any]:
    return TYPES.get(found.split("(")[0].split()[0], types.VARCHAR)()

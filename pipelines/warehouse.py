"""The pair's DuckDB file: raw history, which snapshot is in force, folded links and bases, drift history.

Only the pair's worker opens it. Readers get a published copy.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import duckdb
from pydantic import SecretStr

from reconcile.errors import FixSettings, ReconcileError, RetryLater

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from pipelines.extract import Extract

CATALOG: Final = "wh"
RAW_SCHEMA: Final = "raw"  # dlt's dataset
COLUMNS: Final = "record_id, modified_at, deleted, row_hash, body"
KEY_STEP: Final = (
    "Set the key that it was made with (RECONCILE_WAREHOUSE__KEY), or move it away and run "
    "`reconcile pull --full`."
)
DAMAGED: Final = (
    duckdb.IOException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.SerializationException,
    duckdb.TransactionException,
)
LONGEST_HISTORY: Final = 200  # snapshot records kept

STATE: Final = """
create schema if not exists state;
create table if not exists state.snapshots (
    snapshot_id varchar primary key,
    status varchar not null,          -- loading, complete, aborted
    taken_at timestamptz not null,
    boundary timestamptz not null,    -- raw is read as of this instant
    content_id varchar not null,      -- the snapshot that brought the last change
    loads_before bigint not null,     -- complete loads of dlt when it began
    objects varchar not null          -- JSON: one ObjectState each
);
create table if not exists state.fields (
    side varchar, object varchar, field varchar, type varchar, length bigint, createable boolean,
    updateable boolean, required boolean, options varchar[]
);
create table if not exists state.pending_fields as (from state.fields limit 0);
create table if not exists state.links (
    link_id varchar primary key, entity varchar, salesforce_id varchar, xero_id varchar, status varchar,
    rule varchar, score double, evidence varchar, made_by varchar
);
create table if not exists state.bases (
    link_id varchar, side varchar, unit varchar, base_kind varchar, native varchar, stamp timestamptz,
    primary key (link_id, side, unit)
);
create table if not exists state.folded (sequence bigint not null);
create table if not exists state.passed (digest varchar, checked_at timestamptz);  -- tables whose checks all passed
create table if not exists state.drift (
    run_id varchar, saved_at timestamptz, link_id varchar, entity varchar, unit varchar, salesforce_id varchar,
    xero_id varchar, salesforce varchar, xero varchar, direction varchar, why varchar, since timestamptz
);
"""


@dataclass(frozen=True)
class ObjectState:
    """Where one object of one side stands in a snapshot.

    rows: live rows. complete_as_of: the system's own time up to which everything is known.
    read: fields of the query. asked: fields that the mapping wanted at the last sweep.
    error: why it keeps an earlier state; null where it is of this snapshot.
    """

    side: str
    object: str
    kind: str
    rows: int
    rows_seen: int
    rows_changed: int
    deleted: int
    complete_as_of: datetime | None
    full_at: datetime | None
    read: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.side, self.object


@dataclass(frozen=True)
class Snapshot:
    """The last complete snapshot. content_id: the snapshot that brought the last change."""

    snapshot_id: str
    taken_at: datetime
    boundary: datetime
    content_id: str
    objects: tuple[ObjectState, ...]

    def state(self, side: str, object_name: str) -> ObjectState | None:
        return next((entry for entry in self.objects if entry.key == (side, object_name)), None)

    @property
    def complete_as_of(self) -> dict[str, datetime]:
        """{"xero.Contact": instant}; objects that were never pulled are absent."""
        return {f"{o.side}.{o.object}": o.complete_as_of for o in self.objects if o.complete_as_of}

    @property
    def rows(self) -> dict[str, int]:
        """{"xero.Contact": live rows}; objects that were never pulled are absent."""
        return {f"{o.side}.{o.object}": o.rows for o in self.objects if o.complete_as_of}

    @property
    def errors(self) -> dict[str, str]:
        return {f"{o.side}.{o.object}": o.error for o in self.objects if o.error}


class WarehouseBusy(RetryLater):
    """Another process has the file open."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: another process works with this warehouse. Wait for it, then run it again; "
            "to look at the data meanwhile, read the published copy."
        )


class WarehouseUnreadable(FixSettings):
    """The file is damaged, or no warehouse."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"{path}: can't be used as a warehouse: {found}. It can be made again: move it away and run "
            "`reconcile pull --full` (links and bases live in the journal)."
        )


class WrongKey(FixSettings):
    """The key does not fit the file."""

    def __init__(self, path: Path, found: str, next_step: str) -> None:
        super().__init__(f"{path}: {found}. {next_step}")


class NoEncryption(FixSettings):
    """A key is set, and this DuckDB can't encrypt securely."""

    def __init__(self) -> None:
        super().__init__(
            "warehouse.key is set, and DuckDB can encrypt only with its extension httpfs, which is not "
            "installed here; nothing was written. With network access, run once: "
            "python -c \"import duckdb; duckdb.sql('install httpfs')\"; or remove the key and "
            "encrypt the disk instead."
        )


class DiskFull(FixSettings):
    """A write failed for want of room; the previous snapshot stays in force."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path.parent}: no room to write (disk full, or a size limit). The previous snapshot stays in "
            "force. Make room, then run it again."
        )


class Warehouse:
    """An open warehouse. Use it as a context manager, or `open` and `close` it."""

    def __init__(
        self,
        path: Path,
        key: SecretStr | str = "",
        *,
        prepare: Callable[[duckdb.DuckDBPyConnection], None] | None = None,
    ) -> None:
        """prepare: called with the new connection before the file is attached, in place of `load httpfs`."""
        self.path = Path(path)
        self._key = key.get_secret_value() if isinstance(key, SecretStr) else key
        self._prepare = prepare
        self._con: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Self:
        """Open or make the file, and take back what a broken-off load has left.

        Raises WarehouseBusy, WarehouseUnreadable, WrongKey, NoEncryption, DiskFull.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        con = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
        try:
            con.execute("set timezone='UTC'")
            con.execute(f"set temp_directory={_literal(str(self.path.parent / 'spill'))}")
            self._encryption(con)
            self._attach(con)
            con.execute(STATE)
        except duckdb.Error as error:
            con.close()
            raise self._explain(error) from None
        except ReconcileError:
            con.close()
            raise
        self._con = con
        shutil.rmtree(self.work_dir, ignore_errors=True)
        self._recover()
        return self

    def close(self) -> None:
        if self._con is not None:
            self._con.close()
            self._con = None

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        """The open connection; the file is its default database."""
        assert self._con is not None, "the warehouse is not open"
        return self._con

    def come_back(self) -> None:
        """Make the file's main schema the default again: dlt leaves its own as the default."""
        with contextlib.suppress(duckdb.Error):
            self.con.execute(f"use {CATALOG}.main")

    @property
    def work_dir(self) -> Path:
        """Where dlt works: made for one load, and wiped before the next, so that nothing can be pending."""
        return self.path.parent / f"{self.path.name}.load"

    # --- Reading -----------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot | None:
        """Give the last complete snapshot; null before the first."""
        found = self._rows(
            "select snapshot_id, taken_at, boundary, content_id, objects from state.snapshots "
            "where status = 'complete' order by snapshot_id desc limit 1"
        )
        if not found:
            return None
        return _snapshot(found[0])

    def changed_since(self, snapshot_id: str | None) -> bool:
        """Say whether rows or fields changed between that snapshot and the one in force; unknown: yes."""
        now = self.snapshot()
        then = self._rows("select content_id from state.snapshots where snapshot_id = ?", [snapshot_id])
        return now is None or not then or then[0][0] != now.content_id

    def raw(self, side: str, object_name: str) -> pl.DataFrame:
        """Give RAW as of the last complete snapshot, sorted by record_id; empty before the first.

        Never by open end date alone: a load that broke off leaves rows retired without successors.
        """
        from reconcile.model import RAW, conform, empty

        snapshot, table = self.snapshot(), table_name(side, object_name)
        if snapshot is None or not self._has(table):
            return empty(RAW)
        sql = f"select {COLUMNS} from {AS_OF.format(table=table)} order by record_id"  # noqa: S608
        return conform(self._frame(sql, [snapshot.boundary] * 2), RAW)

    def observed(self, side: str, object_name: str) -> frozenset[str]:
        """Give the fields that the snapshot in force carries for an object; empty before the first."""
        snapshot = self.snapshot()
        state = snapshot.state(side, object_name) if snapshot else None
        return frozenset(state.observed) if state else frozenset()

    def fields(self) -> pl.DataFrame:
        """Give FIELDS of both sides as the last sweeps read them."""
        from reconcile.model import FIELDS, conform

        return conform(self._frame("select * from state.fields order by side, object, field"), FIELDS)

    def types(self, side: str, object_name: str) -> dict[str, str]:
        """Give field -> type of an object, as the last sweep read it."""
        sql = "select field, type from state.fields where side = ? and object = ?"
        return dict(self._rows(sql, [side, object_name]))

    # --- A pull ------------------------------------------------------------------------------------

    def must_sweep(self) -> bool:
        """Say whether a load was aborted since the last complete snapshot: then only a sweep is trusted."""
        found = self._rows("select status from state.snapshots order by snapshot_id desc limit 1")
        return bool(found) and found[0][0] == "aborted"

    def known_ids(self, extract: Extract) -> set[str]:
        """Give the live ids that the warehouse holds of an object."""
        if not self._has(extract.table):
            return set()
        sql = f"select record_id from {_table(extract.table)} where _dlt_valid_to is null and not deleted"  # noqa: S608
        return {row[0] for row in self._rows(sql)}

    def newest_boundary(self) -> datetime | None:
        """Give the newest instant that any snapshot, also an aborted one, was taken at; null before the first."""
        found = self._rows("select max(taken_at) from state.snapshots")
        return found[0][0]

    def live_rows(self, side: str, object_name: str, boundary: datetime) -> int:
        """Count an object's rows that are not deleted as of an instant."""
        table = table_name(side, object_name)
        if not self._has(table):
            return 0
        sql = f"select count(*) from {AS_OF.format(table=table)} where not deleted"  # noqa: S608
        return int(self._rows(sql, [boundary] * 2)[0][0])

    def changed_rows(self, extract: Extract, gone: Sequence[str]) -> pa.Table | None:
        """Give the rows that the warehouse does not hold yet, and a tombstone for each id in `gone`.

        Null where there is none: then dlt has nothing to do, and is not even imported.
        """
        import pyarrow as pa

        from pipelines.extract import arrow_schema

        parts = [self._tombstones(extract.table, gone)] if gone else []
        if extract.rows is not None:
            parts.append(self._unknown(extract))
        tables = [part.cast(arrow_schema()) for part in parts if part.num_rows]
        return pa.concat_tables(tables) if tables else None

    def begin(self, snapshot: Snapshot, fields: Sequence[pl.DataFrame]) -> None:
        """Write down, before a load begins, what it will be if it is completed: record and FIELDS."""
        with self._transaction():
            self._record(snapshot, "loading")
            self._hold_fields(fields)

    def complete(self, snapshot: Snapshot, fields: Sequence[pl.DataFrame]) -> Snapshot:
        """Put a snapshot into force: its record, with rows counted, and FIELDS, in one transaction."""
        counted = replace(
            snapshot, objects=tuple(self._counted(s, snapshot.boundary) for s in snapshot.objects)
        )
        with self._transaction():
            self._record(counted, "complete")
            self._hold_fields(fields)
            self._keep_fields()
            self.con.execute(
                "delete from state.snapshots where snapshot_id not in "
                "(select snapshot_id from state.snapshots order by snapshot_id desc limit ?)",
                [LONGEST_HISTORY],
            )
        return counted

    def abort(self) -> None:
        """Take back a load that broke off in this process; the next opening does it if this can't."""
        with contextlib.suppress(duckdb.Error):
            self.con.rollback()
        with contextlib.suppress(duckdb.Error, ReconcileError):
            self._recover()

    def make_views(self) -> None:
        """Make a typed view over each object's rows of the snapshot in force, for people and notebooks."""
        for side, object_name in self._rows("select distinct side, object from state.fields"):
            if self._has(table_name(side, object_name)):
                types = self.types(side, object_name)
                self.con.execute(_view(side, object_name, types))

    # --- What the journal decided, and drift -------------------------------------------------------

    def folded(self) -> int:
        """Give the journal's sequence up to which links and bases are here; 0 before the first fold."""
        found = self._rows("select max(sequence) from state.folded")
        return int(found[0][0] or 0)

    def fold(self, links: pl.DataFrame, bases: pl.DataFrame, *, sequence: int) -> None:
        """Lay the journal's LINKS and BASES over what is here; as often as one likes with the same result."""
        with self._transaction():
            self._upsert("state.links", links)
            self._upsert("state.bases", bases)
            self.con.execute("delete from state.folded")
            self.con.execute("insert into state.folded values (?)", [sequence])

    def links(self) -> pl.DataFrame:
        """Give LINKS as folded."""
        from reconcile.model import LINKS, conform

        return conform(self._frame("select * from state.links order by link_id"), LINKS)

    def bases(self) -> pl.DataFrame:
        """Give BASES as folded."""
        from reconcile.model import BASES, conform

        return conform(self._frame("select * from state.bases order by link_id, side, unit"), BASES)

    def passed_checks(self, by: datetime) -> frozenset[str]:
        """Give the digests of tables that passed all their checks in the last run that checked, if before `by`.

        What was not ahead of the clock then is not now, unless the clock was set back.
        """
        return frozenset(
            row[0] for row in self._rows("select digest from state.passed where checked_at <= ?", [by])
        )

    def keep_passed(self, digests: Collection[str], at: datetime) -> None:
        """Keep those of this run in place of the last one's."""
        with self._transaction():
            self.con.execute("delete from state.passed")
            self.con.execute("insert into state.passed select unnest(?::varchar[]), ?", [sorted(digests), at])

    def save_drift(self, run_id: str, drift: pl.DataFrame, *, at: datetime) -> None:
        """Keep a run's DRIFT; a run that is saved twice is kept once."""
        with self._transaction():
            self.con.execute("delete from state.drift where run_id = ?", [run_id])
            with self._registered("incoming", drift):
                self.con.execute(
                    "insert into state.drift by name select ? as run_id, ?::timestamptz as saved_at, * from incoming",
                    [run_id, at],
                )

    def drift_history(self) -> pl.DataFrame:
        """Give DRIFT of all runs, with run_id and saved_at, oldest first."""
        return self._frame("select * from state.drift order by saved_at, run_id, link_id, unit")

    def save_tables(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """Keep frames as tables in the schema `report`, each replacing the one before."""
        with self._transaction():
            self.con.execute("create schema if not exists report")
            for name, frame in tables.items():
                with self._registered("incoming", frame):
                    self.con.execute(f"create or replace table report.{_name(name)} as from incoming")

    def publish(self, path: Path) -> None:
        """Write a read copy and put it in place by one rename; readers of the old one are not disturbed.

        It holds the typed rows, links, bases, drift, fields, snapshots and report tables, and is encrypted
        with the warehouse's key where one is set.
        """
        half = path.with_name(f".{path.name}.new")
        half.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.make_views()
        try:
            self.con.execute(f"attach {_literal(str(half))} as published{self._options()}")
            try:
                self._copy_tables("published")
            finally:
                self.con.execute("detach published")
            half.replace(path)
        except duckdb.Error as error:
            half.unlink(missing_ok=True)
            raise self._explain(error) from None

    # --- Inside ------------------------------------------------------------------------------------

    def _encryption(self, con: duckdb.DuckDBPyConnection) -> None:
        if not self._key:
            return
        if self._prepare is not None:
            self._prepare(con)
        else:
            load_httpfs(con)
        with contextlib.suppress(duckdb.Error):
            con.execute("set temp_file_encryption=true")

    def _attach(self, con: duckdb.DuckDBPyConnection) -> None:
        con.execute(f"attach {_literal(str(self.path))} as {CATALOG}{self._options()}")
        self.path.chmod(0o600)
        encrypted = con.execute(
            "select encrypted from duckdb_databases() where database_name = ?", [CATALOG]
        ).fetchall()
        if bool(encrypted[0][0]) != bool(self._key):
            # An unencrypted file opens with a key as well; what is written to it would be readable.
            raise WrongKey(
                self.path,
                "it is not encrypted, and warehouse.key is set",
                KEY_STEP,
            )
        con.execute(f"use {CATALOG}.main")

    def _options(self) -> str:
        return f" (encryption_key {_literal(self._key)})" if self._key else ""

    def _explain(self, error: duckdb.Error) -> ReconcileError:
        """Say what DuckDB's error means, without its text: that may hold the statement, and so the key."""
        text = str(error)
        if "Could not set lock" in text or "Conflicting lock" in text:
            return WarehouseBusy(self.path)
        if is_disk_full(error):
            return DiskFull(self.path)
        if "read-only crypto module" in text:
            return NoEncryption()
        if re.search(r"encrypt|decrypt|wrong key", text, re.IGNORECASE):
            found = "warehouse.key does not open it" if self._key else "it is encrypted, and no key is set"
            if self._key and "not encrypted" in text:
                found = "it is not encrypted, and warehouse.key is set"
            return WrongKey(self.path, found, KEY_STEP)
        if "Permission denied" in text or "Is a directory" in text:
            return FixSettings(
                f"{self.path}: can't be opened for writing. Check warehouse.path and its rights."
            )
        return WarehouseUnreadable(self.path, f"DuckDB says {type(error).__name__}")

    def _recover(self) -> None:
        """Finish or take back the load that a killed pull has left.

        dlt writes its load record last. Where it is there, all rows are: the snapshot only has to be said
        complete. Else everything that bears the load's boundary is undone, which gives exactly the rows of
        the snapshot before: dlt retires rows and inserts their successors in separate steps.
        """
        unfinished = self._rows(
            "select snapshot_id, taken_at, boundary, content_id, objects, loads_before from state.snapshots "
            "where status = 'loading'"
        )
        for *record, loads_before in unfinished:
            snapshot = _snapshot(record)
            if self.loads() > loads_before:
                self.complete(snapshot, [self._held_fields()])
            else:
                self._undo(snapshot)

    def _undo(self, snapshot: Snapshot) -> None:
        with self._transaction():
            for table in self._raw_tables():
                name, since = _table(table), [snapshot.boundary]
                self.con.execute(f"delete from {name} where _dlt_valid_from >= ?", since)  # noqa: S608
                self.con.execute(
                    f"update {name} set _dlt_valid_to = null where _dlt_valid_to >= ?",  # noqa: S608
                    since,
                )
            self.con.execute(
                "update state.snapshots set status = 'aborted' where snapshot_id = ?", [snapshot.snapshot_id]
            )

    def loads(self) -> int:
        """Give how many loads dlt has completed."""
        if not self._has("_dlt_loads"):
            return 0
        return int(self._rows(f"select count(*) from {_table('_dlt_loads')} where status = 0")[0][0])  # noqa: S608

    def _record(self, snapshot: Snapshot, status: str) -> None:
        states = [asdict(entry) for entry in snapshot.objects]
        self.con.execute(
            "insert or replace into state.snapshots values (?, ?, ?, ?, ?, ?, ?)",
            [
                snapshot.snapshot_id,
                status,
                snapshot.taken_at,
                snapshot.boundary,
                snapshot.content_id,
                self.loads(),
                json.dumps(states, default=lambda moment: moment.isoformat()),
            ],
        )

    def _hold_fields(self, frames: Sequence[pl.DataFrame]) -> None:
        self.con.execute("delete from state.pending_fields")
        for frame in frames:
            with self._registered("incoming", frame):
                self.con.execute("insert into state.pending_fields by name from incoming")

    def _held_fields(self) -> pl.DataFrame:
        return self._frame("from state.pending_fields")

    def _keep_fields(self) -> None:
        """Replace the schemas of those objects that a sweep has read."""
        read = "(select distinct side, object from state.pending_fields)"
        self.con.execute(f"delete from state.fields where (side, object) in {read}")  # noqa: S608
        self.con.execute("insert into state.fields from state.pending_fields")

    def _counted(self, state: ObjectState, boundary: datetime) -> ObjectState:
        return replace(state, rows=self.live_rows(state.side, state.object, boundary))

    def _unknown(self, extract: Extract) -> pa.Table:
        if not self._has(extract.table):
            assert extract.rows is not None
            return extract.rows
        # Against what is open in dlt's table, not as of the snapshot: dlt itself compares with that.
        sql = f"""
            select {COLUMNS} from incoming
            anti join (select record_id, row_hash from {_table(extract.table)} where _dlt_valid_to is null)
            using (record_id, row_hash)
        """  # noqa: S608
        with self._registered("incoming", extract.rows):
            return self.con.sql(sql).to_arrow_table()

    def _tombstones(self, table: str, gone: Sequence[str]) -> pa.Table:
        from pipelines.extract import arrow_rows, tombstone_hash

        sql = f"select {COLUMNS} from {_table(table)} where _dlt_valid_to is null and record_id in (select unnest(?))"  # noqa: S608
        found = self.con.sql(sql, params=[list(gone)]).to_arrow_table().to_pydict()
        found["deleted"] = [True] * len(found["record_id"])
        pairs = zip(found["record_id"], found["row_hash"], strict=True)
        found["row_hash"] = [tombstone_hash(record_id, before) for record_id, before in pairs]
        return arrow_rows(found)

    def _upsert(self, table: str, frame: pl.DataFrame) -> None:
        if frame.height:
            with self._registered("incoming", frame):
                self.con.execute(f"insert or replace into {table} by name from incoming")

    def _copy_tables(self, target: str) -> None:
        sources = self._rows(
            "select schema_name, view_name from duckdb_views() where database_name = ? and schema_name = 'main' "
            "and not internal union all "
            "select schema_name, table_name from duckdb_tables() where database_name = ? "
            "and schema_name in ('state', 'report')",
            [CATALOG, CATALOG],
        )
        for schema, name in sources:
            self.con.execute(f"create schema if not exists {target}.{schema}")
            self.con.execute(f"create table {target}.{schema}.{name} as from {CATALOG}.{schema}.{name}")

    def _raw_tables(self) -> list[str]:
        sql = (
            "select table_name from duckdb_columns() where database_name = ? and schema_name = ? "
            "and column_name = '_dlt_valid_to'"
        )
        return [row[0] for row in self._rows(sql, [CATALOG, RAW_SCHEMA])]

    def _has(self, table: str) -> bool:
        sql = "select 1 from duckdb_tables() where database_name = ? and schema_name = ? and table_name = ?"
        return bool(self._rows(sql, [CATALOG, RAW_SCHEMA, table]))

    def _rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._explained():
            return self.con.execute(sql, list(params)).fetchall()

    def _frame(self, sql: str, params: Sequence[Any] = ()) -> pl.DataFrame:
        with self._explained():
            return self.con.sql(sql, params=list(params)).pl()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what DuckDB says of the file and the disk into our errors; a wrong statement stays a bug."""
        try:
            yield
        except DAMAGED as error:
            raise self._explain(error) from None

    @contextmanager
    def _registered(self, name: str, frame: pl.DataFrame | pa.Table | None) -> Iterator[None]:
        self.con.register(name, _plain(frame))
        try:
            yield
        finally:
            self.con.unregister(name)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self.con.begin()
            yield
            self.con.commit()
        except duckdb.Error as error:
            with contextlib.suppress(duckdb.Error):
                self.con.rollback()
            if isinstance(error, DAMAGED):
                raise self._explain(error) from None
            raise
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                self.con.rollback()
            raise


AS_OF: Final = (
    f"(from {CATALOG}.{RAW_SCHEMA}.{{table}} where _dlt_valid_from <= ? "
    "and (_dlt_valid_to is null or _dlt_valid_to > ?))"
)


def table_name(side: str, object_name: str) -> str:
    """Give the name of an object's raw table."""
    return _name(f"{side}_{object_name.lower()}")


def snapshot_id_at(moment: datetime) -> str:
    """Name a snapshot by its instant; names sort as the instants do."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def next_boundary(now: datetime, before: datetime | None) -> datetime:
    """Give the instant of a new load: now, but later than every one before, whatever the clock does."""
    return now if before is None else max(now, before + timedelta(microseconds=1))


def is_disk_full(error: BaseException) -> bool:
    """Say whether an error, or one that it came from, tells of a full disk or a size limit."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, OSError) and current.errno in (27, 28, 122):  # EFBIG, ENOSPC, EDQUOT
            return True
        if re.search(
            r"No space left|File too large|quota exceeded|disk is full", str(current), re.IGNORECASE
        ):
            return True
        current = current.__cause__ or current.__context__
    return False


def load_httpfs(con: duckdb.DuckDBPyConnection) -> None:
    """Load what DuckDB encrypts securely with. Raises NoEncryption where it is not installed."""
    try:
        con.execute("load httpfs")
        return
    except duckdb.Error:
        pass
    try:
        import importlib

        importlib.import_module("duckdb_extensions").import_extension("httpfs")
        con.execute("load httpfs")
    except (ImportError, AttributeError, duckdb.Error):
        raise NoEncryption from None


def _view(side: str, object_name: str, types: Mapping[str, str]) -> str:
    """Give the SQL of a typed view: exact decimals, dates and instants instead of text."""
    plain = {name: kind for name, kind in types.items() if "." not in name and kind not in NOT_SHOWN}
    shape = json.dumps({name: JSON_TYPES.get(kind, "VARCHAR") for name, kind in sorted(plain.items())})
    columns = [_column(name, kind) for name, kind in sorted(plain.items())]
    table = table_name(side, object_name)
    return f"""
        create or replace view main.{table} as
        with in_force as (select max(boundary) as boundary from state.snapshots where status = 'complete'),
        current as (
            select record_id, modified_at, deleted, json_transform(body, {_literal(shape)}) as field
            from {RAW_SCHEMA}.{table}, in_force
            where _dlt_valid_from <= boundary and (_dlt_valid_to is null or _dlt_valid_to > boundary)
        )
        select record_id, modified_at, deleted{"".join(", " + column for column in columns)} from current
    """  # noqa: S608


NOT_SHOWN: Final = frozenset({"address", "location", "base64", "complexvalue"})
JSON_TYPES: Final = {
    "boolean": "BOOLEAN",
    "int": "BIGINT",
    "long": "BIGINT",
    "double": "DECIMAL(38,15)",
    "currency": "DECIMAL(38,15)",
    "percent": "DECIMAL(38,15)",
    "decimal": "DECIMAL(38,15)",
    "list": "JSON",
    "object": "JSON",
}


def _column(name: str, kind: str) -> str:
    value = f'field."{_name(name)}"'
    if kind == "date":
        value = f"try_cast({value} as date)"
    elif kind == "datetime":
        digits = f"regexp_extract({value}, '^/Date\\((-?\\d+)', 1)"
        value = (
            f"coalesce(try_cast({value} as timestamptz), "
            f"make_timestamptz(try_cast({digits} as bigint) * 1000))"
        )
    return f'{value} as "{name}"'


def _plain(frame: pl.DataFrame | pa.Table | None) -> Any:
    """Give Arrow without Polars' enumerations: DuckDB would make types of its own from them."""
    import polars as pl

    if not isinstance(frame, pl.DataFrame):
        return frame
    enums = [name for name, kind in frame.schema.items() if isinstance(kind, (pl.Enum, pl.Categorical))]
    return frame.with_columns(pl.col(enums).cast(pl.String)).to_arrow()


def _snapshot(record: Sequence[Any]) -> Snapshot:
    snapshot_id, taken_at, boundary, content_id, objects = record
    states = tuple(_state(entry) for entry in json.loads(objects))
    return Snapshot(snapshot_id, taken_at, boundary, content_id, states)


def _state(entry: dict[str, Any]) -> ObjectState:
    read: dict[str, Any] = {
        **entry,
        **{name: datetime.fromisoformat(entry[name]) if entry[name] else None for name in MOMENTS},
        **{name: tuple(entry[name]) for name in ("read", "observed", "asked", "notes")},
    }
    known = {one.name for one in fields(ObjectState)}  # an older version kept more
    return ObjectState(**{name: value for name, value in read.items() if name in known})


MOMENTS: Final = ("complete_as_of", "full_at")


def _table(name: str) -> str:
    return f"{CATALOG}.{RAW_SCHEMA}.{_name(name)}"


def _name(name: str) -> str:
    """Refuse anything but a plain name: it goes into SQL as it is."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,79}", name):
        raise ValueError(f"{name!r} is no plain name")
    return name


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

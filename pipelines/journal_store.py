"""The database behind the journal: opening, transactions, rows, sealed columns.

Every write is one transaction, durable when it returns. A write that belongs to a run checks the run's
fencing number in that same transaction. What it wrote goes into the audit chain (`journal_chain`) before it
commits, so rows are written by `add`, `put`, `change` and `remove` alone.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    exc,
    func,
    insert,
    make_url,
    select,
    text,
    tuple_,
    update,
)

from pipelines import journal_chain as chain
from pipelines import journal_crash as crash
from pipelines.journal_chain import Head, Verdict, Writing
from pipelines.journal_chain import dumps as dumps
from pipelines.journal_cipher import SETTING, Cipher, WrongKey, place
from pipelines.journal_tables import AUDIT_HEAD, REVISION, SEALED, audit, leases, meta
from reconcile.errors import (
    FixSettings,
    JournalBusy,
    JournalDamaged,
    JournalMismatch,
    ReconcileError,
    WrongSetting,
)

BUSY_MS: Final = 15_000
KNOWN_TEXT: Final = b"this journal is sealed with this key"
ROWS_AT_ONCE: Final = 500
ONE_WRITER: Final = 7_420_001  # PostgreSQL's advisory lock of those who write


class Fence(Protocol):
    """The right of one run to write."""

    @property
    def fencing(self) -> int: ...

    def verify(self, con: Connection) -> None:
        """Raise LeaseLost, inside a transaction, where its holder may write no more."""

    def renew(self, con: Connection) -> None:
        """Nobody may take over for its length from now on, once this transaction is committed."""

    def in_time(self) -> bool:
        """Say, by this machine's clock alone, whether nobody can have taken over yet."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text_: str) -> datetime:
    return datetime.fromisoformat(text_)


def uptime() -> float:
    """Seconds since the machine was started, asleep or not: a clock that nobody sets, one for all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Store:
    """One open database."""

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        now: Callable[[], datetime] = utc_now,
        uptime: Callable[[], float] | None = None,
        head: Path | None = None,
        keep_head: bool = True,
        verify_first: bool = True,
    ) -> None:
        """Open it; make it where there is none.

        head: the file of the chain's head, beside an SQLite file where none is named. keep_head, verify_first:
        off for a journal that lives no longer than its process.
        """
        self.now = now
        # A clock of a test's own moves both.
        self.uptime = uptime or (globals()["uptime"] if now is utc_now else lambda: now().timestamp())
        self.cipher = Cipher(key)
        self._url = _parsed(url)
        # Never with its password.
        self.at = (self._url.database if self._is_sqlite else self._url.render_as_string()) or ""
        self.trouble = ""  # why the journal is not whole; empty while nothing is known against it
        self._verified = not verify_first
        self._head = (head or self._beside()) if keep_head else None
        if self._is_sqlite:
            _make_private(self.at)
        self.engine = self._engine()
        try:
            self._migrate()
            self._check_key()
            self._check_head()
        except BaseException:
            self.close()
            raise

    def _beside(self) -> Path | None:
        return Path(self.at).with_suffix(".head") if self._is_sqlite else None

    def close(self) -> None:
        self.engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    # -- transactions

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; readers never wait for a writer."""
        with self._explained(), self.engine.connect() as con, con.begin():
            yield con

    @contextmanager
    def write(self, fence: Fence | None = None) -> Iterator[Connection]:
        """One transaction, durable when this returns, and the next link of the chain.

        Raises LeaseLost where the fence does not hold, JournalMismatch where the chain was lost meanwhile.
        """
        with self._explained(), self.engine.connect().execution_options(journal_writes=True) as con:
            with con.begin():
                if not self._is_sqlite:
                    # One writer at a time, as in SQLite: each link needs the one before it.
                    con.execute(select(func.pg_advisory_xact_lock(ONE_WRITER)))
                con.info["writing"] = Writing()
                if fence is not None:
                    fence.verify(con)
                yield con
                end = self._link(con, fenced=fence is not None)
                crash.point()
            crash.point()
        if end is not None and not self.trouble:
            self._keep_head(end)
            crash.point()

    def _link(self, con: Connection, *, fenced: bool) -> Head | None:
        """Add what this transaction told and wrote to the chain; gives its end, null where there is nothing."""
        writing: Writing = con.info["writing"]
        if not writing.notes and not writing.wrote:
            return None
        end = chain.chain_end(con)
        self._still_whole(end, fenced=fenced)
        notes = writing.notes or [("written", {})]
        for place_, (kind, details) in enumerate(notes, start=1):
            row: dict[str, Any] = {
                "sequence": end.sequence + 1,
                "at": stamp(self.now()),
                "kind": kind,
                "details": dumps(dict(details)),
                "wrote": dumps(writing.wrote if place_ == len(notes) else {}),
            }
            end = Head(row["sequence"], chain.link_hash(end.hash, row))
            con.execute(insert(audit).values(**row, hash=end.hash))
        self._set_end(con, end)
        return end

    def _set_end(self, con: Connection, end: Head) -> None:
        ours = meta.c.name == AUDIT_HEAD
        if con.execute(update(meta).where(ours).values(value=str(end))).rowcount == 0:
            con.execute(insert(meta).values(name=AUDIT_HEAD, value=str(end)))

    def _still_whole(self, end: Head, *, fenced: bool) -> None:
        """Nobody else commits now: a head that is ahead tells of transactions that this database lost."""
        if self._head is None or self.trouble:
            return
        kept, self.trouble = self._kept()
        if kept is not None and (kept.sequence > end.sequence or end.sequence < 0):
            self.trouble = f"it ends at row {end.sequence}, and its head was kept at {kept.sequence}"
        if fenced:
            self._must_have_no_trouble()

    def _engine(self) -> Engine:
        if not self._is_sqlite:
            try:
                return create_engine(self._url)
            except ModuleNotFoundError as error:
                raise FixSettings(
                    f"journal.url: found {self._url.drivername}, whose driver {error.name} is not installed. "
                    f"Install it (`pip install {error.name}`), or leave journal.url empty for SQLite."
                ) from None
        engine = create_engine(self._url, connect_args={"timeout": BUSY_MS / 1000})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ReconcileError:
            raise
        except exc.DBAPIError as error:
            raise self._explain(error) from None
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> Exception:
        """Say what is wrong with the database, without quoting what was to be written."""
        cause = getattr(error, "orig", error)
        said = str(cause).lower()
        if "locked" in said or "busy" in said:
            return JournalBusy(at=self.at, holders=self._holders())
        if any(
            words in said
            for words in (
                "malformed",
                "not a database",
                "corrupt",
                "no such table",
                "no such column",
                "decode",
                "duplicate column",
                "already exists",
            )
        ):
            return JournalDamaged(
                f"{self.at}: the journal can't be read ({said}). Put back its last backup; without one, "
                "move the file away: the next run finds the links in both systems, and makes nothing twice. "
                "After either, `reconcile audit accept` says that this is meant."
            )
        if isinstance(error, exc.IntegrityError):
            return error
        if "full" in said:
            return FixSettings(
                f"{self.at}: the disk is full; nothing was written or sent. Make room, run it again."
            )
        if "readonly" in said or "unable to open" in said or "permission" in said or "disk i/o" in said:
            return FixSettings(
                f"{self.at}: the journal can't be opened or written ({said}). Nothing is sent after it. "
                "Check the folder's rights and its space, or set journal.url."
            )
        if isinstance(error, exc.OperationalError):
            return FixSettings(
                f"{self.at}: the database refuses ({type(cause).__name__}). "
                "Check journal.url, and that the database runs."
            )
        return error

    def _holders(self) -> list[str]:
        """Give who holds a lease; readers of SQLite are let in while somebody writes."""
        try:
            with self.engine.connect() as con, con.begin():
                held = select(leases.c.holder).where(leases.c.expires_at.is_not(None))
                return list(con.execute(held).scalars())
        except exc.DBAPIError:  # what keeps us out keeps out readers too: then nobody can be named
            return []

    # -- opening

    def _migrate(self) -> None:
        found = self._revision()
        if found == REVISION:
            return
        if found is not None and found > REVISION:
            raise FixSettings(
                f"{self.at}: the journal has schema {found}, made by a newer version; "
                f"this one knows {REVISION}. Use the newer version."
            )
        from pipelines.migrations import upgrade

        with self.write() as con:
            if _revision(con) != REVISION:  # another process may have done it meanwhile
                upgrade(con)
                self.log(con, "covered", {"schema": REVISION})
                con.info["writing"].wrote = chain.every_row(con)
            if self.get_meta("made_at", con) is None:
                self.put_meta(con, "made_at", stamp(self.now()))

    def _revision(self) -> str | None:
        with self.read() as con:
            return _revision(con)

    def _check_key(self) -> None:
        """See that the key is the one that sealed this journal; seal what was written without one."""
        kept = self.get_meta("key_check")
        if kept is None and not self.cipher.on:
            return
        if kept is not None:
            self._open_known_text(kept)
            return
        with self.write() as con:
            self._seal_what_is_plain(con)
            sealed = self.cipher.seal(KNOWN_TEXT, place("meta", "value", "key_check"))
            self.put_meta(con, "key_check", sealed.hex())
            self.log(con, "sealed", {})

    def _open_known_text(self, kept: str) -> None:
        try:
            self.cipher.open(bytes.fromhex(kept), place("meta", "value", "key_check"))
        except WrongKey as error:
            raise WrongSetting(at=SETTING, found=error.found, expected=f"the key of {self.at}") from None

    def _seal_what_is_plain(self, con: Connection) -> None:
        for name, (column, keys) in SEALED.items():
            table = meta.metadata.tables[name]
            for row in con.execute(select(table).where(table.c[column].is_not(None))).mappings().all():
                where = place(name, column, *(row[key] for key in keys))
                sealed = self.cipher.seal(self.cipher.open(row[column], where), where)
                self.put(con, table, [{**chain.as_dict(row), column: sealed}])

    # -- the head, apart

    def _kept(self) -> tuple[Head | None, str]:
        """Give the head that is kept, and what is wrong with the file."""
        if self._head is None:
            return None, ""
        try:
            return chain.read_head(self._head), ""
        except (ValueError, OSError):
            return None, f"{self._head}: the kept head can't be read"

    def _check_head(self) -> None:
        """Compare the head that is kept with the chain; what lags behind is brought up."""
        if self._head is None:
            return
        kept, self.trouble = self._kept()  # before the database: the file is never ahead of it
        with self.read() as con:
            self.trouble = self.trouble or chain.compare(con, kept)
            end = chain.chain_end(con)
        if not self.trouble and (kept is None or kept.sequence < end.sequence):
            self._keep_head(end)
        chain.tidy(self._head)

    def _keep_head(self, end: Head) -> None:
        """Put the chain's end into its file; never one that is older than the file's."""
        if self._head is None:
            return
        while True:
            started = time.monotonic()
            try:
                kept, _ = self._kept()
                if kept is None or kept.sequence < end.sequence:
                    chain.write_head(self._head, end)
            except OSError as error:
                raise FixSettings(
                    f"{self._head}: the head of the journal can't be kept ({error.strerror}). What was "
                    "committed is kept, and nothing more is sent. Make room, or correct the rights of the "
                    "folder, and run it again."
                ) from None
            if time.monotonic() - started < chain.SLOW_S:
                return
            with self.read() as con:  # stopped in between: others may have gone on meanwhile
                end = chain.chain_end(con)

    def _must_have_no_trouble(self) -> None:
        if self.trouble:
            raise JournalMismatch(at=self.at, found=self.trouble)

    def must_be_whole(self) -> None:
        """Called before anything is sent: the first time in a process, everything is verified.

        Raises JournalMismatch, and JournalDamaged where it can't be read.
        """
        if not self._verified and not self.trouble:
            verdict = self.verify()
            self._verified, self.trouble = True, verdict.found
        self._must_have_no_trouble()

    def verify(self, known: str | None = None) -> Verdict:
        """Walk the chain from its first row, and hold the tables and the head that is kept against it.

        known: a head that the chain must contain (sequence:hash), as a report shows it. Raises ValueError
        where it is none, JournalDamaged where the database can't be read.
        """
        given = chain.parse_head(known) if known else None
        kept, spoiled = self._kept()
        with self.read() as con:
            verdict = chain.verify(con, kept, heads=self._head is not None and not spoiled, known=given)
        return replace(verdict, ok=False, found=spoiled) if verdict.ok and spoiled else verdict

    def accept(self, by: str) -> Head:
        """Take the journal as it is now: a person says that it may go on from here. Gives its new head.

        What stood in the chain before is held to its present state from now on.
        """
        found = self.trouble or self.verify().found
        with self.write() as con:
            kept, _ = self._kept()
            self.trouble = found or "accepted"  # the old head is left alone until this is committed
            if self._is_sqlite:
                con.exec_driver_sql("reindex")  # an index that lost an entry is made anew from the rows
            end = chain.chain_end(con)
            last = con.execute(select(func.max(audit.c.sequence))).scalar() or 0
            at = max(last, end.sequence)
            self._set_end(con, Head(at, chain.seal(con, at + 1)))
            # As a new journal it may not know of what was on its way: `protocol.wait_for_lost_journal_s`.
            self.put_meta(con, "made_at", stamp(self.now()))
            self.log(con, "accepted", {"by": by, "found": found, "kept": str(kept or ""), "end": str(end)})
            con.info["writing"].wrote = chain.every_row(con)
        with self.read() as con:
            end = chain.chain_end(con)
        if self._head is not None:
            chain.write_head(self._head, end)
        self.trouble, self._verified = "", False
        return end

    # -- small things that every part of the journal needs

    def seal(self, table: str, row: Sequence[str], value: bytes) -> bytes:
        return self.cipher.seal(value, place(table, SEALED[table][0], *row))

    def unseal(self, table: str, row: Sequence[str], value: bytes) -> bytes:
        return self.cipher.open(value, place(table, SEALED[table][0], *row))

    def get_meta(self, name: str, con: Connection | None = None) -> str | None:
        query = select(meta.c.value).where(meta.c.name == name)
        if con is not None:
            return con.execute(query).scalar()
        with self.read() as fresh:
            return fresh.execute(query).scalar()

    def put_meta(self, con: Connection, name: str, value: str) -> None:
        self.put(con, meta, [{"name": name, "value": value}])

    def next_sequence(self, con: Connection) -> int:
        """Move the journal's sequence number: everything one transaction writes carries the same one."""
        number = int(self.get_meta("sequence", con) or 0) + 1
        self.put_meta(con, "sequence", str(number))
        return number

    def log(self, con: Connection, kind: str, details: Mapping[str, Any]) -> None:
        """Tell in the audit chain what this transaction is: ids, counts, hashes; never a value of a person."""
        con.info["writing"].notes.append((kind, details))

    # -- rows: what is written by these is in the chain when it is committed

    def add(self, con: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put new rows in. Raises IntegrityError."""
        if rows:
            con.execute(insert(table), [dict(row) for row in rows])
            con.info["writing"].add(table, rows)

    def put(self, con: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put rows in the place of those with the same primary key."""
        keys = list(table.primary_key.columns)
        for at in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[at : at + ROWS_AT_ONCE]
            if len(keys) == 1:
                found = keys[0].in_([row[keys[0].name] for row in part])
            else:
                found = tuple_(*keys).in_([tuple(row[key.name] for key in keys) for row in part])
            con.execute(table.delete().where(found))
        self.add(con, table, rows)

    def change(self, con: Connection, table: Table, where: ColumnElement[bool], **values: Any) -> int:
        """Change the rows that it holds for; gives how many."""
        rows = con.execute(select(table).where(where)).mappings().all()
        if rows:
            con.execute(update(table).where(where).values(**values))
            con.info["writing"].add(table, [{**chain.as_dict(row), **values} for row in rows])
        return len(rows)

    def remove(self, con: Connection, table: Table, *where: ColumnElement[bool]) -> int:
        """Take out the rows that it holds for; gives how many."""
        rows = con.execute(select(*table.primary_key.columns).where(*where)).mappings().all()
        if rows:
            con.execute(table.delete().where(*where))
            con.info["writing"].gone(table, rows)
        return len(rows)


def _parsed(url: str) -> URL:
    expected = "an address as sqlite:///path/journal.db or postgresql+psycopg://user@host/name"
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError, ValueError):
        raise WrongSetting(
            at="journal.url", found="an address that can't be read", expected=expected
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise WrongSetting(at="journal.url", found=parsed.get_backend_name(), expected=expected)
    if parsed.get_backend_name() == "sqlite" and not parsed.database:
        raise WrongSetting(at="journal.url", found="no file", expected=expected)
    return parsed


def _make_private(path: str) -> None:
    """Make the file and its folder so that only their owner may read them."""
    file = Path(path)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FixSettings(
            f"{path}: the journal can't be opened ({error.strerror}). "
            "Check the path and its rights, or set journal.url."
        ) from None


def _prepare_sqlite(dbapi: Any, _record: object) -> None:
    dbapi.isolation_level = None  # transactions are ours to begin: the driver would begin them late
    cursor = dbapi.cursor()
    cursor.execute(f"pragma busy_timeout = {BUSY_MS}")
    cursor.execute("pragma journal_mode = wal")
    cursor.execute("pragma synchronous = full")
    cursor.execute("pragma foreign_keys = on")
    cursor.close()


def _begin_sqlite(con: Connection) -> None:
    writes = con.get_execution_options().get("journal_writes")
    # A deferred transaction that turns to writing later can fail half-way; this one waits at its start.
    con.exec_driver_sql("begin immediate" if writes else "begin")


def _revision(con: Connection) -> str | None:
    """Ask for the schema's version without loading Alembic."""
    if not con.dialect.has_table(con, "alembic_version"):
        return None
    return con.execute(text("select version_num from alembic_version")).scalar()

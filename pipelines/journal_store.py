"""The database behind the journal: opening, transactions, sealed columns, the audit chain.

Every write is one transaction, durable when it returns. A write that belongs to a run checks the run's
fencing number in that same transaction.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    exc,
    insert,
    make_url,
    select,
    text,
    tuple_,
    update,
)

from pipelines import journal_crash as crash
from pipelines.journal_cipher import SETTING, Cipher, WrongKey, place
from pipelines.journal_tables import REVISION, SEALED, audit, meta
from reconcile.errors import FixSettings, JournalBusy, JournalDamaged, ReconcileError, WrongSetting

BUSY_MS: Final = 15_000
GENESIS: Final = "0" * 64
KNOWN_TEXT: Final = b"this journal is sealed with this key"
ROWS_AT_ONCE: Final = 500


class Fence(Protocol):
    """Something that says, inside a transaction, whether its holder may still write."""

    def verify(self, con: Connection) -> None: ...


@dataclass(frozen=True)
class Verdict:
    """What verifying the audit chain found. first_bad: the first sequence number that does not fit."""

    ok: bool
    head: str
    first_bad: int | None
    rows: int


def utc_now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text_: str) -> datetime:
    return datetime.fromisoformat(text_)


def dumps(value: Any) -> str:
    """JSON as it is hashed: keys sorted, nothing between."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


class Store:
    """One open database."""

    def __init__(self, url: str, key: str = "", *, now: Callable[[], datetime] = utc_now) -> None:
        self.now = now
        self.cipher = Cipher(key)
        self._url = _parsed(url)
        # Never with its password.
        self.at = (self._url.database if self._is_sqlite else self._url.render_as_string()) or ""
        if self._is_sqlite:
            _make_private(self.at)
        self.engine = self._engine()
        try:
            self._migrate()
            self._check_key()
        except BaseException:
            self.close()
            raise

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
        """One transaction, durable when this returns. Raises LeaseLost where the fence does not hold."""
        with self._explained(), self.engine.connect().execution_options(journal_writes=True) as con:
            with con.begin():
                if fence is not None:
                    fence.verify(con)
                yield con
                crash.point()
            crash.point()

    def _engine(self) -> Engine:
        if not self._is_sqlite:
            return create_engine(self._url)
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
        except sqlite3.Error as error:
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> Exception:
        """Say what is wrong with the database, without quoting what was to be written."""
        cause = getattr(error, "orig", error)
        said = str(cause).lower()
        if "locked" in said or "busy" in said:
            return JournalBusy(at=self.at)
        if any(
            words in said
            for words in ("malformed", "not a database", "corrupt", "no such table", "no such column")
        ):
            return JournalDamaged(
                f"{self.at}: the journal can't be read ({said}). Put back its last backup; without one, "
                "move the file away: the next run finds the links in both systems, and makes nothing twice."
            )
        if isinstance(error, exc.IntegrityError):
            return error
        if "full" in said:
            return FixSettings(
                f"{self.at}: the disk is full; nothing was written or sent. Make room, run it again."
            )
        if "readonly" in said or "unable to open" in said or "permission" in said or "disk i/o" in said:
            return FixSettings(
                f"{self.at}: the journal can't be opened or written ({said}). "
                "Check the folder's rights and space, or set journal.url."
            )
        if isinstance(error, exc.OperationalError):
            return FixSettings(
                f"{self.at}: the database refuses ({type(cause).__name__}). "
                "Check journal.url, and that the database runs."
            )
        return error

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
            rows = con.execute(select(table.c[column], *(table.c[key] for key in keys))).all()
            for value, *row in rows:
                if value is None:
                    continue
                where = place(name, column, *row)
                sealed = self.cipher.seal(self.cipher.open(value, where), where)
                con.execute(
                    update(table)
                    .where(*(table.c[k] == v for k, v in zip(keys, row, strict=True)))
                    .values({column: sealed})
                )

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
        if con.execute(update(meta).where(meta.c.name == name).values(value=value)).rowcount == 0:
            con.execute(insert(meta).values(name=name, value=value))

    def next_sequence(self, con: Connection) -> int:
        """Move the journal's sequence number: everything one transaction writes carries the same one."""
        number = int(self.get_meta("sequence", con) or 0) + 1
        self.put_meta(con, "sequence", str(number))
        return number

    def log(self, con: Connection, kind: str, details: Mapping[str, Any]) -> None:
        """Add one row to the audit chain: ids, counts and hashes; never a value of a person."""
        sequence, head = _head(self.get_meta("audit_head", con))
        row = {
            "sequence": sequence + 1,
            "at": stamp(self.now()),
            "kind": kind,
            "details": dumps(dict(details)),
        }
        digest = _link_hash(head, row)
        con.execute(insert(audit).values(**row, hash=digest))
        self.put_meta(con, "audit_head", f"{sequence + 1}:{digest}")

    def verify(self) -> Verdict:
        """Walk the audit chain from its first row, and compare its end with the head kept beside it."""
        with self.read() as con:
            kept_sequence, kept_head = _head(self.get_meta("audit_head", con))
            rows = con.execute(select(audit).order_by(audit.c.sequence)).mappings()
            head, expected = GENESIS, 1
            for row in rows:
                plain = {name: row[name] for name in ("sequence", "at", "kind", "details")}
                if row["sequence"] != expected or _link_hash(head, plain) != row["hash"]:
                    return Verdict(False, head, expected, expected - 1)
                head, expected = row["hash"], expected + 1
        ok = (kept_sequence, kept_head) == (expected - 1, head)
        return Verdict(ok, head, None if ok else expected, expected - 1)


def upsert(con: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows in the place of those with the same primary key."""
    keys = list(table.primary_key.columns)
    for at in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[at : at + ROWS_AT_ONCE]
        found = tuple_(*keys).in_([tuple(row[key.name] for key in keys) for row in part])
        con.execute(table.delete().where(found))
    if rows:
        con.execute(insert(table), [dict(row) for row in rows])


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


def _head(kept: str | None) -> tuple[int, str]:
    if kept is None:
        return 0, GENESIS
    sequence, _, head = kept.partition(":")
    return int(sequence), head


def _link_hash(previous: str, row: Mapping[str, Any]) -> str:
    return hashlib.sha256((previous + dumps(row)).encode()).hexdigest()

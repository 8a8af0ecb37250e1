"""Keeps one server's records, request log and tokens in one SQLite file that survives SIGKILL.

Numbers with a fraction are exact: a Decimal that is put is a Decimal when it is got, to the last place.

A request is numbered when it arrives; whatever it then changes is marked in its log row within the same
transaction, so that "applied" in the log is exactly what the file holds, also after a kill.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sandbox import exact

Body = dict[str, Any]
KeyOf = Callable[[Body], str | None]

# Number of the request that is being answered; set by the wiretap, read at commit.
CURRENT_REQUEST: ContextVar[int | None] = ContextVar("current_request", default=None)

SCHEMA = """
create table if not exists records (
    seq integer primary key autoincrement, kind text not null, id text not null,
    stamp integer not null, live integer not null, body text not null, unique (kind, id));
create index if not exists records_by_stamp on records (kind, stamp);
create table if not exists keys (
    kind text, name text, value text, id text, primary key (kind, name, value, id)) without rowid;
create index if not exists keys_by_id on keys (kind, id);
create table if not exists kept (kind text, id text, body text, primary key (kind, id)) without rowid;
create table if not exists requests (
    n integer primary key autoincrement, at_ms integer, method text, path text, query text,
    body_sha256 text, body_bytes integer, idempotency_key text, user_agent text, client text,
    status integer, reply_bytes integer, applied integer not null default 0, changes text, fault text,
    note text);
"""


class Store:
    """One server's file. All access goes through one connection and one lock."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._changes: list[list[str]] = []
        self._keys: dict[str, dict[str, KeyOf]] = {}
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        # WAL with NORMAL loses nothing to a killed process; only a power cut could, and this is a sandbox.
        self._connection.execute("pragma synchronous = normal")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # -- transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nested ones are savepoints. Don't await inside: one thread holds the lock."""
        with self._lock:
            mark, changes = f"level_{self._depth}", len(self._changes)
            self._connection.execute(f"savepoint {mark}" if self._depth else "begin immediate")
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._mark_applied()
            except BaseException:
                del self._changes[changes:]
                self._depth -= 1
                if self._depth:
                    self._connection.execute(f"rollback to {mark}")
                    self._connection.execute(f"release {mark}")
                else:
                    self._connection.execute("rollback")
                raise
            self._depth -= 1
            if self._depth:
                self._connection.execute(f"release {mark}")
            else:
                self._connection.execute("commit")
                self._changes.clear()

    def _mark_applied(self) -> None:
        n = CURRENT_REQUEST.get()
        if n is not None and self._changes:
            text = json.dumps(self._changes, separators=(",", ":"))
            self._connection.execute("update requests set applied = 1, changes = ? where n = ?", (text, n))

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    # -- records

    def declare(self, kind: str, **keys: KeyOf) -> None:
        """Name the look-up keys of a kind: a function of the body, None for no key. Built where missing."""
        self._keys.setdefault(kind, {}).update(keys)
        built = set(self.meta(f"keys:{kind}") or [])
        if not set(keys) <= built:
            with self.transaction():
                for record_id, body in list(self.items(kind)):
                    self._index(kind, record_id, body)
                self.set_meta(f"keys:{kind}", sorted(built | set(keys)))

    def _index(self, kind: str, record_id: str, body: Body) -> None:
        self._connection.execute("delete from keys where kind = ? and id = ?", (kind, record_id))
        found = [(kind, name, key_of(body), record_id) for name, key_of in self._keys.get(kind, {}).items()]
        self._connection.executemany(
            "insert into keys values (?, ?, ?, ?)", [row for row in found if row[2] is not None]
        )

    def put(
        self,
        kind: str,
        record_id: str,
        body: Body,
        *,
        stamp: int = 0,
        live: bool = True,
        logged: bool = True,
    ) -> None:
        """Insert or replace; a record keeps its place in insertion order. stamp: modified, ms since 1970.

        logged: whether the log of the request names it; what only follows from another change it does not.
        """
        text = exact.dumps(body, separators=(",", ":"))
        with self.transaction():
            fresh = not self._rows("select 1 from records where kind = ? and id = ?", (kind, record_id))
            self._connection.execute(
                "insert into records (kind, id, stamp, live, body) values (?, ?, ?, ?, ?) "
                "on conflict (kind, id) do update set stamp = excluded.stamp, live = excluded.live, "
                "body = excluded.body",
                (kind, record_id, stamp, int(live), text),
            )
            self._index(kind, record_id, body)
            if logged:
                self._changes.append(["create" if fresh else "update", kind, record_id])

    def note(self, action: str, kind: str, record_id: str) -> None:
        """Name in the log of the request what is kept inside another record."""
        with self.transaction():
            self._changes.append([action, kind, record_id])

    def delete(self, kind: str, record_id: str) -> None:
        """Remove for good (the vendors' soft deletes are a put with live=False)."""
        with self.transaction():
            self._connection.execute("delete from records where kind = ? and id = ?", (kind, record_id))
            self._connection.execute("delete from keys where kind = ? and id = ?", (kind, record_id))
            self._changes.append(["delete", kind, record_id])

    def get(self, kind: str, record_id: str) -> Body | None:
        rows = self._rows("select body from records where kind = ? and id = ?", (kind, record_id))
        return exact.loads(rows[0][0]) if rows else None

    def find(self, kind: str, name: str, value: str) -> list[str]:
        """Ids of the records whose declared key has this value, oldest first."""
        rows = self._rows(
            "select keys.id from keys join records using (kind, id) "
            "where keys.kind = ? and name = ? and value = ? order by seq",
            (kind, name, value),
        )
        return [row[0] for row in rows]

    def items(self, kind: str) -> Iterator[tuple[str, Body]]:
        """(id, body) of every record of a kind, in insertion order."""
        for record_id, body in self._rows(
            "select id, body from records where kind = ? order by seq", (kind,)
        ):
            yield record_id, exact.loads(body)

    def all(self, kind: str) -> Iterator[Body]:
        """The body of every record of a kind, in insertion order."""
        return (body for _, body in self.items(kind))

    def select(
        self,
        kind: str,
        *,
        since: int | None = None,
        until: int | None = None,
        live_only: bool = False,
        by_stamp: bool = False,
        limit: int = -1,
        offset: int = 0,
    ) -> list[Body]:
        """Bodies with since <= stamp < until; in insertion order, or by stamp and then insertion."""
        where, values = self._condition(kind, since, until, live_only)
        order = "stamp, seq" if by_stamp else "seq"
        rows = self._rows(
            f"select body from records where {where} order by {order} limit ? offset ?",  # noqa: S608
            (*values, limit, offset),
        )
        return [exact.loads(row[0]) for row in rows]

    def scan(
        self, kind: str, after: int, *, since: int | None = None, until: int | None = None, limit: int
    ) -> list[tuple[int, Body]]:
        """The next records behind a place in insertion order, each with its place."""
        where, values = self._condition(kind, since, until, False)
        # + keeps SQLite from its index by kind, with which it would sort the whole table for each piece.
        rows = self._rows(
            f"select seq, body from records where seq > ? and +{where} order by seq limit ?",  # noqa: S608
            (after, *values, limit),
        )
        return [(row[0], exact.loads(row[1])) for row in rows]

    def count(
        self, kind: str, *, since: int | None = None, until: int | None = None, live_only: bool = False
    ) -> int:
        where, values = self._condition(kind, since, until, live_only)
        return self._rows(f"select count(*) from records where {where}", values)[0][0]  # noqa: S608

    @staticmethod
    def _condition(
        kind: str, since: int | None, until: int | None, live_only: bool
    ) -> tuple[str, tuple[Any, ...]]:
        parts: list[tuple[str, Any]] = [("kind = ?", kind)]
        if since is not None:
            parts.append(("stamp >= ?", since))
        if until is not None:
            parts.append(("stamp < ?", until))
        if live_only:
            parts.append(("live = ?", 1))
        return " and ".join(part for part, _ in parts), tuple(value for _, value in parts)

    def clear(self) -> None:
        """Forget records, log and everything kept but credentials and meta."""
        with self.transaction():
            for table in ("records", "keys", "requests"):
                self._connection.execute(f"delete from {table}")  # noqa: S608
            self._connection.execute("delete from sqlite_sequence")  # the log counts from 1 again
            self._connection.execute(
                "delete from kept where kind not in ('meta', 'client', 'token', 'credentials')"
            )
            self._changes.clear()

    # -- what is no record: credentials, tokens, replies under a key, settings. Never "applied".

    def keep(self, kind: str, item_id: str, body: Any) -> None:
        with self.transaction():
            self._connection.execute(
                "insert or replace into kept values (?, ?, ?)", (kind, item_id, exact.dumps(body))
            )

    def kept(self, kind: str, item_id: str) -> Any:
        rows = self._rows("select body from kept where kind = ? and id = ?", (kind, item_id))
        return json.loads(rows[0][0]) if rows else None

    def all_kept(self, kind: str) -> dict[str, Any]:
        """{id: body}, sorted by id."""
        rows = self._rows("select id, body from kept where kind = ? order by id", (kind,))
        return {row[0]: json.loads(row[1]) for row in rows}

    def kept_count(self, kind: str) -> int:
        return self._rows("select count(*) from kept where kind = ?", (kind,))[0][0]

    def kept_kinds(self, prefix: str) -> list[str]:
        """The kinds that begin with a text and hold anything."""
        rows = self._rows(
            "select distinct kind from kept where kind >= ? and kind < ? order by kind",
            (prefix, prefix + chr(0x10FFFF)),
        )
        return [row[0] for row in rows]

    def forget(self, kind: str, item_id: str) -> None:
        with self.transaction():
            self._connection.execute("delete from kept where kind = ? and id = ?", (kind, item_id))

    def meta(self, name: str) -> Any:
        return self.kept("meta", name)

    def set_meta(self, name: str, value: Any) -> None:
        self.keep("meta", name, value)

    # -- request log

    def log_arrival(self, **columns: Any) -> int:
        """Number a request as it arrives, before anything is done with it."""
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        with self._lock:
            cursor = self._connection.execute(
                f"insert into requests ({names}) values ({marks})",  # noqa: S608
                tuple(columns.values()),
            )
            return int(cursor.lastrowid or 0)

    def log_reply(
        self,
        n: int,
        *,
        status: int | None,
        reply_bytes: int,
        client: str | None,
        fault: str | None,
        note: str | None = None,
    ) -> None:
        with self._lock:
            self._connection.execute(
                "update requests set status = ?, reply_bytes = ?, client = ?, fault = ?, note = ? "
                "where n = ?",
                (status, reply_bytes, client, fault, note, n),
            )

    def logged_times(self, since_ms: int, path_prefix: str) -> list[int]:
        """When the answered and not limited requests under a path arrived."""
        rows = self._rows(
            "select at_ms from requests where at_ms >= ? and path like ? and status <> 429 order by at_ms",
            (since_ms, path_prefix + "%"),
        )
        return [row[0] for row in rows]

    def requests(self, after: int = 0) -> list[Body]:
        with self._lock:
            cursor = self._connection.execute("select * from requests where n > ? order by n", (after,))
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for row in rows:
            row["applied"] = bool(row["applied"])
            row["changes"] = json.loads(row["changes"]) if row["changes"] else []
        return rows

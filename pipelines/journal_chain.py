"""Vouches for the journal: a chain of hashes that names every row each transaction wrote.

A link of the chain is one row of `audit`: what happened, the sha256 of each covered row that the transaction
wrote (null where it removed it), and the hash of the link before it. Its end, the head, is kept in a file
beside the database as well, written after each commit. So a row that was changed, removed or put back is
found by walking the chain, and a journal that lost its last transactions, or was restored, by the file.

Of a lease the chain tells how it was taken; its beat, four times in its length, is left out, and decides only who
may try: each write checks the number.

The head is never ahead of a whole journal. It may lag behind by what was committed while nobody wrote it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Boolean, Connection, Float, RowMapping, Table, func, select, text

from pipelines.journal_tables import AUDIT_HEAD, COVERED, audit, leases, meta

GENESIS: Final = "0" * 64
# Each process that is killed between a commit and its head leaves one; several may work at once.
LAGS_AT_MOST: Final = 32
BASELINES: Final = ("covered", "accepted")  # links that name every row there is
SLOW_S: Final = 1.0
STALE_S: Final = 3600.0

Wrote = dict[str, dict[str, str | None]]


@dataclass(frozen=True)
class Head:
    """The end of a chain: how many links, and the hash of the last one."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


@dataclass(frozen=True)
class Verdict:
    """What verifying found.

    first_bad: the first link of the chain that does not fit, or that wrote the row that is not as it was
    written; null where it is the head that does not fit, or all is well. found: the place, in words.
    """

    ok: bool
    head: str
    first_bad: int | None
    rows: int
    found: str = ""
    kept: str = ""


@dataclass
class Writing:
    """What the open transaction tells and wrote so far."""

    notes: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    wrote: Wrote = field(default_factory=dict)

    def add(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        names, kept = table.columns.keys(), self.wrote.setdefault(table.name, {})
        for row in rows:
            kept[key_of(table, row)] = digest(table, [row.get(name) for name in names])

    def gone(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        self.wrote.setdefault(table.name, {}).update(
            dict.fromkeys((key_of(table, row) for row in rows), None)
        )


# --- Links -------------------------------------------------------------------------------------------


def dumps(value: Any) -> str:
    """JSON as it is hashed: keys sorted, nothing between."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def link_hash(previous: str, row: Mapping[str, Any]) -> str:
    """Give the hash of a link: of the hash before it, and of all that the row says."""
    told = {name: row[name] for name in ("sequence", "at", "kind", "details", "wrote")}
    if told["wrote"] is None:  # made before rows were told
        del told["wrote"]
    return hashlib.sha256((previous + dumps(told)).encode()).hexdigest()


def as_dict(row: RowMapping) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def key_of(table: Table, row: Mapping[str, Any]) -> str:
    return "|".join([str(row[key.name]) for key in table.primary_key.columns])


def digest(table: Table, values: Sequence[Any]) -> str:
    """Give the sha256 of a row. values: in the order of the table's columns."""
    # A whole number in a fraction's column, 1 for true: the same value comes back in another type.
    plain = [
        value if value is None or kind is None else kind(value)
        for value, kind in zip(values, KINDS[table.name], strict=True)
    ]
    return hashlib.sha256(json.dumps(plain, default=_bytes).encode()).hexdigest()


def _kind(kind: Any) -> Any:
    if isinstance(kind, Float):
        return float
    return bool if isinstance(kind, Boolean) else None


KINDS: Final = {table.name: [_kind(column.type) for column in table.columns] for table in COVERED}


def _bytes(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def every_row(con: Connection) -> Wrote:
    """Give the digest of every covered row that there is, and of the schema."""
    found: Wrote = {table.name: dict(_digests(con, table)) for table in COVERED}
    return {**found, **schema_digest(con)}


def _digests(con: Connection, table: Table) -> Iterable[tuple[str, str]]:
    names = table.columns.keys()
    places = [names.index(key.name) for key in table.primary_key.columns]
    for row in con.execute(select(table)):
        key = "|".join([str(row[place]) for place in places])
        if table is not meta or key != AUDIT_HEAD:
            yield key, digest(table, row)


def schema_digest(con: Connection) -> Wrote:
    """Give the digest of what SQLite knows of its tables: a changed index could hide a row."""
    if con.dialect.name != "sqlite":
        return {}
    query = "select type, name, tbl_name, sql from sqlite_schema where name not like 'sqlite_%' order by name"
    rows = [list(row) for row in con.execute(text(query))]
    return {"schema": {"sqlite": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}}


# --- The head, apart ---------------------------------------------------------------------------------


def parse_head(kept: str | None) -> Head:
    """Read `sequence:hash`. Raises ValueError."""
    if not kept:
        return Head(0, GENESIS)
    sequence, _, found = kept.partition(":")
    if len(found) != 64 or not sequence.isdigit():
        raise ValueError("no head")
    return Head(int(sequence), found)


def read_head(path: Path) -> Head | None:
    """Give the head that is kept in the file; null where there is none. Raises ValueError: it is spoiled."""
    try:
        return parse_head(path.read_text(encoding="ascii").strip() or "spoiled")
    except FileNotFoundError:
        return None


def write_head(path: Path, head: Head) -> None:
    """Put the head into the file: whole and durable, or as it was. Raises OSError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{head}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def tidy(path: Path) -> None:
    """Remove what killed processes left of heads that they were writing."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()


def compare(con: Connection, kept: Head | None) -> str:
    """Say why the head that is kept does not fit the chain; empty where it does.

    kept must have been read before this transaction began: the file is never ahead of the database.
    """
    end = chain_end(con)
    last = con.execute(select(audit.c.sequence, audit.c.hash).order_by(audit.c.sequence.desc())).first()
    if (end.sequence, end.hash) != (tuple(last) if last else (0, GENESIS)):
        return f"its last row is {last[0] if last else 0}, and it says that {end.sequence} is"
    if kept is None:
        # Before there was a file, or killed before the first one was written.
        first = con.execute(select(func.max(audit.c.sequence)).where(audit.c.kind == "covered")).scalar()
        kept = Head((first or 1) - 1, "")
    elif kept.sequence > end.sequence:
        lost = kept.sequence - end.sequence
        return f"it ends at row {end.sequence}, and its head was kept at {kept.sequence}: {lost} are lost"
    elif kept.sequence:
        found = con.execute(select(audit.c.hash).where(audit.c.sequence == kept.sequence)).scalar()
        if found != kept.hash:
            return f"row {kept.sequence} is another one than that whose hash was kept"
    if end.sequence - kept.sequence > LAGS_AT_MOST:
        return f"its head was kept at {kept.sequence}, and it ends at row {end.sequence}"
    return ""


def chain_end(con: Connection) -> Head:
    """Give the chain's end as the database says it. A spoiled one fits nothing."""
    try:
        return parse_head(con.execute(select(meta.c.value).where(meta.c.name == AUDIT_HEAD)).scalar())
    except ValueError:
        return Head(-1, "")


# --- Verifying ---------------------------------------------------------------------------------------


@dataclass
class _Walk:
    """What the chain says, as far as it was walked."""

    head: str = GENESIS
    rows: int = 0
    latest: dict[str, dict[str, tuple[str, int]]] = field(default_factory=dict)  # (sha256, who wrote it)
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)  # pair -> its lease, as it was taken last
    covered: bool = False

    def take(self, row: Mapping[str, Any]) -> None:
        self.head, self.rows = row["hash"], self.rows + 1
        if row["kind"] == "lease_taken":
            told = json.loads(row["details"])
            self.taken[told.pop("pair")] = told
        if row["kind"] in BASELINES:
            self.latest.clear()
            self.covered = True
        for table, wrote in json.loads(row["wrote"] or "{}").items():
            kept = self.latest.setdefault(table, {})
            for key, value in wrote.items():
                if value is None:
                    kept.pop(key, None)
                else:
                    kept[key] = (value, row["sequence"])


def walk(con: Connection) -> tuple[_Walk, int | None]:
    """Walk the chain from its first link. Gives what it says, and the first link that does not fit."""
    done, expected = _Walk(), 1
    accepted = con.execute(select(func.max(audit.c.sequence)).where(audit.c.kind == "accepted")).scalar()
    if accepted is not None:
        # A person took the journal as it was: what stood before that is held to its state then.
        done.head, expected = seal(con, accepted), accepted
    query = select(audit).where(audit.c.sequence >= expected).order_by(audit.c.sequence)
    for found in con.execute(query).mappings():
        row = as_dict(found)
        try:
            if row["sequence"] != expected or link_hash(done.head, row) != row["hash"]:
                return done, expected
            done.take(row)
        except (ValueError, TypeError, KeyError, AttributeError):
            return done, expected
        expected += 1
    return done, None


def seal(con: Connection, before: int) -> str:
    """Give the hash of all links before that one, as they stand."""
    found = hashlib.sha256()
    query = select(audit).where(audit.c.sequence < before).order_by(audit.c.sequence)
    for row in con.execute(query):
        found.update(dumps(list(row)).encode())
    return found.hexdigest()


def verify(con: Connection, kept: Head | None, *, heads: bool = True, known: Head | None = None) -> Verdict:
    """Walk the chain, and hold the tables and the head that is kept against it.

    kept: read before this transaction began; heads: whether a head is kept at all; known: another head
    that the chain must contain, as a report shows it.
    """
    done, bad = walk(con)
    told = {"head": done.head, "rows": done.rows, "kept": str(kept) if kept else ""}
    if bad is not None:
        return Verdict(False, first_bad=bad, found=f"audit row {bad} is not as it was written", **told)
    end = chain_end(con)
    last = con.execute(select(func.max(audit.c.sequence))).scalar() or 0
    if (end.sequence, end.hash) != (last, done.head):
        found = f"audit row {last} is the last, and {end.sequence} should be"
        return Verdict(False, first_bad=last + 1, found=found, **told)
    found = compare(con, kept) if heads else ""
    if not found and known is not None:
        found = _contains(con, known)
    if found:
        return Verdict(False, first_bad=None, found=found, **told)
    found, bad = _unlike(con, done)
    return Verdict(not found, first_bad=bad, found=found, **told)


def _contains(con: Connection, known: Head) -> str:
    found = con.execute(select(audit.c.hash).where(audit.c.sequence == known.sequence)).scalar()
    return "" if found == known.hash else f"audit row {known.sequence} is not the one whose hash was given"


def _unlike(con: Connection, done: _Walk) -> tuple[str, int | None]:
    """Name the first row that is not as the chain says, and the link that wrote it."""
    if con.dialect.name == "sqlite":
        # An index that lost an entry would hide a row from a look-up, and no reading of rows shows it.
        said = con.execute(text("pragma integrity_check(1)")).scalar()
        if said != "ok":
            return f"the database file: {said}", None
    if not done.covered:
        return "", None
    for name, wrote in schema_digest(con).items():
        if wrote["sqlite"] != done.latest.get(name, {}).get("sqlite", ("", 0))[0]:
            return "the schema of the database", None
    bad: list[tuple[int, str]] = []
    for table in COVERED:
        try:
            bad += _unlike_rows(con, table, done.latest.get(table.name, {}))
        except (ValueError, TypeError):
            bad.append((0, f"{table.name}: a row that can't be read"))
    held = {row["pair"]: row for row in con.execute(select(leases)).mappings()}
    bad += [
        (0, f"leases {pair}: not as it was taken")
        for pair, told in done.taken.items()
        if pair not in held or any(held[pair][name] != value for name, value in told.items())
    ]
    if not bad:
        return "", None
    first, where = min(bad)
    return where, first or None


def _unlike_rows(
    con: Connection, table: Table, latest: Mapping[str, tuple[str, int]]
) -> list[tuple[int, str]]:
    bad: list[tuple[int, str]] = []
    left = dict(latest)
    for key, found in _digests(con, table):
        wrote = left.pop(key, None)
        if wrote is None:
            bad.append((0, f"{table.name} {key}: nobody wrote it"))
        elif wrote[0] != found:
            bad.append((wrote[1], f"{table.name} {key}: not as audit row {wrote[1]} says"))
    bad += [(at, f"{table.name} {key}: removed since audit row {at}") for key, (_, at) in left.items()]
    return bad

"""What both books were found to agree on: links, bases and decisions, in frames.

A base is stored as one row a link and side with all its units; a frame has one row a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl
from sqlalchemy import Connection, RowMapping, or_, select

from pipelines.journal_store import ROWS_AT_ONCE, Store, moment, stamp
from pipelines.journal_tables import bases, decisions, links
from reconcile.model import BASE_MOVES, BASES, DECISIONS, LINKS, UTC, Schema, conform

LINK_COLUMNS: Final = list(LINKS)
LINK_IDS: Final = ("link_id", "salesforce_id", "xero_id")
HISTORY: Final[Schema] = {**LINKS, "sequence": pl.Int64, "held_from": UTC, "held_to": UTC}
BASE_HISTORY: Final[Schema] = {**BASES, "sequence": pl.Int64}
STORED_UNITS: Final = pl.Struct(
    {
        "units": pl.List(
            pl.Struct({"unit": pl.String, "kind": pl.String, "native": pl.String, "stamp": pl.String})
        )
    }
)
STAMP: Final = "%Y-%m-%dT%H:%M:%S%.6f%:z"
MANY: Final = 2000  # above so many links, reading all is quicker than asking for each


def read_links(store: Store, *, since: int = 0, ended: bool = False) -> pl.DataFrame:
    """Give HISTORY rows: links that hold, or also those that held, changed after that sequence number."""
    query = select(links).where(links.c.sequence > since).order_by(links.c.link_id)
    if not ended:
        query = query.where(links.c.held_to.is_(None))
    with store.read() as con:
        rows = con.execute(query).mappings().all()
    return _history(rows)


def _history(rows: Sequence[RowMapping]) -> pl.DataFrame:
    text = dict.fromkeys(("held_from", "held_to"), pl.String)
    frame = _frame(rows, {**HISTORY, **text})
    times = pl.col("held_from", "held_to").str.to_datetime(STAMP, time_unit="us", time_zone="UTC")
    return conform(frame.with_columns(times), HISTORY)


def _frame(rows: Sequence[RowMapping], schema: Schema) -> pl.DataFrame:
    plain = {name: pl.String if isinstance(kind, pl.Enum) else kind for name, kind in schema.items()}
    data = {name: [row[name] for row in rows] for name in plain}
    return conform(pl.DataFrame(data, schema=plain), schema)


def store_links(store: Store, con: Connection, found: pl.DataFrame) -> int:
    """Write LINKS rows that are new or changed; end those that they displace. Gives how many were written.

    A link that holds and shares an id with a new one of its entity ends: it stays as an alias.
    """
    if found.is_empty():
        return 0
    rows = _held_near(con, found)
    held = _history(rows).select(LINK_COLUMNS)
    new = conform(found, LINKS).join(held, on=LINK_COLUMNS, how="anti", nulls_equal=True)
    new = new.unique("link_id", keep="last", maintain_order=True)
    if new.is_empty():
        return 0
    sequence, now = store.next_sequence(con), stamp(store.now())
    _end(store, con, _displaced(held, new), sequence, now)
    known = dict(zip(held["link_id"], [row["held_from"] for row in rows], strict=True)) if rows else {}
    written = [
        {
            **row,
            "sequence": sequence,
            "held_from": known.get(row["link_id"], now),
            "held_to": now if row["status"] == "refused" else None,  # taken back
        }
        for row in new.iter_rows(named=True)
    ]
    store.put(con, links, written)
    return len(written)


def _held_near(con: Connection, found: pl.DataFrame) -> list[RowMapping]:
    """Give the links that hold and share an id with these (all of them, where these are many)."""
    query = select(links).where(links.c.held_to.is_(None))
    if found.height > ROWS_AT_ONCE:
        return list(con.execute(query).mappings())
    near = or_(*(links.c[name].in_(found[name].drop_nulls().to_list()) for name in LINK_IDS))
    return list(con.execute(query.where(near)).mappings())


def _displaced(held: pl.DataFrame, new: pl.DataFrame) -> list[str]:
    linked = new.filter(pl.col("status") == "linked")
    found: set[str] = set()
    for side in ("salesforce_id", "xero_id"):
        pairs = held.drop_nulls(side).join(linked.drop_nulls(side), on=["entity", side], suffix="_new")
        found |= set(pairs.filter(pl.col("link_id") != pl.col("link_id_new"))["link_id"])
    return sorted(found - set(linked["link_id"]))


def _end(store: Store, con: Connection, link_ids: Sequence[str], sequence: int, now: str) -> None:
    for part in _parts(link_ids):
        store.change(con, links, links.c.link_id.in_(part), held_to=now, sequence=sequence)


def read_bases(store: Store, *, since: int = 0) -> pl.DataFrame:
    """Give BASE_HISTORY rows: the base of each unit, of the links changed after that sequence number."""
    query = select(bases).where(bases.c.sequence > since).order_by(bases.c.link_id, bases.c.side)
    with store.read() as con:
        rows = con.execute(query).mappings().all()
    return _opened(store, rows)


def read_bases_of(store: Store, link_ids: Sequence[str]) -> pl.DataFrame:
    """Give BASE_HISTORY rows of these links; no other row is decrypted."""
    with store.read() as con:
        rows = _base_rows(con, link_ids)
    return _opened(store, rows)


def _opened(store: Store, rows: Sequence[RowMapping]) -> pl.DataFrame:
    units = [store.unseal("bases", (row["link_id"], row["side"]), row["units"]).decode() for row in rows]
    frame = pl.DataFrame(
        {
            "link_id": [row["link_id"] for row in rows],
            "side": [row["side"] for row in rows],
            "sequence": [row["sequence"] for row in rows],
            "units": units,
        },
        schema={"link_id": pl.String, "side": pl.String, "sequence": pl.Int64, "units": pl.String},
    )
    each = frame.with_columns(pl.col("units").str.json_decode(STORED_UNITS).struct.field("units")).explode(
        "units"
    )
    told = pl.col("units").struct.field("stamp").str.to_datetime(STAMP, time_unit="us", time_zone="UTC")
    return conform(
        each.select(
            "link_id",
            "side",
            "sequence",
            pl.col("units").struct.field("unit"),
            pl.col("units").struct.field("kind").alias("base_kind"),
            pl.col("units").struct.field("native"),
            told.alias("stamp"),
        ).drop_nulls("unit"),
        BASE_HISTORY,
    )


def store_bases(store: Store, con: Connection, moved: pl.DataFrame) -> int:
    """Lay BASES rows over those that are kept. Gives how many rows (link and side) changed."""
    if moved.is_empty():
        return 0
    moved = conform(moved, BASES)
    link_ids = moved["link_id"].unique().to_list()
    before = _stored_units(_opened(store, _base_rows(con, link_ids)))
    after = _stored_units(pl.concat([_opened(store, _base_rows(con, link_ids)).drop("sequence"), moved]))
    changed = after.join(before, on=["link_id", "side", "units"], how="anti", nulls_equal=True)
    if changed.is_empty():
        return 0
    sequence = store.next_sequence(con)
    written = [
        {
            "link_id": link_id,
            "side": side,
            "sequence": sequence,
            "units": store.seal("bases", (link_id, side), units.encode()),
        }
        for link_id, side, units in changed.select("link_id", "side", "units").iter_rows()
    ]
    store.put(con, bases, written)
    return len(written)


def _base_rows(con: Connection, link_ids: Sequence[str]) -> list[RowMapping]:
    if len(link_ids) > MANY:
        wanted = set(link_ids)
        return [row for row in con.execute(select(bases)).mappings() if row["link_id"] in wanted]
    return [
        row
        for part in _parts(link_ids)
        for row in con.execute(select(bases).where(bases.c.link_id.in_(part))).mappings()
    ]


def _stored_units(frame: pl.DataFrame) -> pl.DataFrame:
    """Give one row a link and side: its units as the JSON that is stored. The last row of a unit holds."""
    unit = pl.struct(
        "unit",
        pl.col("base_kind").cast(pl.String).alias("kind"),
        "native",
        pl.col("stamp").dt.strftime(STAMP).alias("stamp"),
    )
    newest = frame.unique(["link_id", "side", "unit"], keep="last", maintain_order=True).sort(
        "link_id", "side", "unit"
    )
    grouped = newest.group_by("link_id", "side", maintain_order=True).agg(unit.alias("units"))
    return grouped.select("link_id", "side", pl.struct("units").struct.json_encode().alias("units"))


def long_moves(moves: pl.DataFrame) -> pl.DataFrame:
    """Give BASES rows of BASE_MOVES: one a side."""
    sides = [
        conform(moves, BASE_MOVES).select(
            "link_id",
            pl.lit(side).alias("side"),
            "unit",
            "base_kind",
            pl.col(f"{side}_native").alias("native"),
            pl.col(f"{side}_stamp").alias("stamp"),
        )
        for side in ("salesforce", "xero")
    ]
    return conform(pl.concat(sides), BASES)


def read_decisions(store: Store) -> pl.DataFrame:
    """Give the DECISIONS in force: the newest of each record pair and unit."""
    with store.read() as con:
        rows = con.execute(select(decisions).order_by(decisions.c.sequence)).mappings().all()
    frame = _frame(rows, {**DECISIONS, "made_at": pl.String}).with_columns(
        pl.col("made_at").str.to_datetime(STAMP, time_unit="us", time_zone="UTC")
    )
    newest = frame.unique(["entity", "salesforce_id", "xero_id", "unit"], keep="last", maintain_order=True)
    return conform(newest, DECISIONS)


def decide(store: Store, values: dict[str, Any]) -> int:
    """Keep a decision, and give its sequence number."""
    with store.write() as con:
        return store_decision(store, con, values)


def store_decision(store: Store, con: Connection, values: dict[str, Any]) -> int:
    """Keep a decision in a transaction, and give its sequence number."""
    sequence = store.next_sequence(con)
    store.add(con, decisions, [{"sequence": sequence, "made_at": stamp(store.now()), **values}])
    told = ("kind", "entity", "salesforce_id", "xero_id", "unit", "made_by")
    store.log(con, "decided", {name: values[name] for name in told})
    return sequence


def withdraw(
    store: Store, entity: str, salesforce_id: str | None, xero_id: str | None, unit: str | None
) -> bool:
    """Forget what was decided on that pair and unit; says whether there was anything."""
    wanted = {"entity": entity, "salesforce_id": salesforce_id, "xero_id": xero_id, "unit": unit}
    same = [
        decisions.c[name].is_(None) if value is None else decisions.c[name] == value
        for name, value in wanted.items()
    ]
    with store.write() as con:
        gone = store.remove(con, decisions, *same) > 0
        if gone:
            store.next_sequence(con)
            store.log(con, "withdrawn", wanted)
    return gone


def held_since(value: str | None) -> Any:
    return None if value is None else moment(value)


def _parts(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[at : at + ROWS_AT_ONCE] for at in range(0, len(values), ROWS_AT_ONCE)]

"""Decodes raw bodies into columns, and sets aside what can't be read without stopping the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from reconcile import bodies
from reconcile.bodies import dumps, fitting, leaf, merge_pieces, piece_of, read_path, top
from reconcile.kinds import KINDS
from reconcile.mapped import CONTACT_GROUPS, STOCK, EntityMapping
from reconcile.model import REJECTS, conform, empty
from reconcile.money import quoted

ROWS_AT_ONCE: Final = 64  # below this, a chunk with a bad row is read row by row
PRIMARY: Final = ":primary"  # what is part of a record in Xero (a person, a price) has no id of its own
FLAGS: Final = ("IsDeleted", "IsCustomer", "IsSupplier", "IsSold", "IsPurchased", "IsTrackedAsInventory")
TEXT: Final = pl.String()
NAMED: Final = pl.List(pl.Struct({"Name": pl.String()}))
Faults = dict[int, dict[str, str]]  # row -> path -> what is wrong; no path: the whole row


def decoded_rows(raw: pl.DataFrame, entity: EntityMapping, side: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the rows with a column for each path that the entity reads, and what could not be read.

    Added: row (number), readable, and faults (the paths of a row that hold something of a wrong type).
    """
    exact = exact_names(entity, side)
    if exact:
        raw = raw.with_columns(body=quoted(pl.col("body"), exact))
    table, faults = decoded_bodies(raw, _types(entity, side), id_field=entity.id_field(side))
    suffix = PRIMARY if entity.is_part(side) else ""
    return table, _faulty(raw["record_id"] + suffix, faults, entity, side)


def exact_names(entity: EntityMapping, side: str) -> tuple[str, ...]:
    """Give the names of the fields whose numbers must not pass through a double."""
    exact = [unit for unit in entity.units if KINDS[unit.kind].exact]
    found = {path.rpartition(".")[2] for unit in exact for path in unit.leaves(side)}
    return tuple(sorted(found | ({STOCK} if entity.shows_stock else set())))


def decoded_bodies(
    raw: pl.DataFrame, types: Mapping[str, pl.DataType], *, id_field: str
) -> tuple[pl.DataFrame, Faults]:
    """Give the rows of RAW with a column for each path (path -> type), and what could not be read.

    Added: row (number), readable, faults, and "has SLOT". A record_id of null is not held against the body.
    """
    schema = bodies.body_schema(types)
    rows = raw.with_row_index("row")
    decoded, faults = _decode(rows["body"], rows["record_id"], id_field, schema, types)
    unreadable = [row for row, paths in faults.items() if not paths]
    found = decoded.struct.unnest() if len(decoded) else pl.DataFrame(schema=dict(schema))
    wide = found.select(leaf(path) for path in types)
    containers = found.select(
        pl.col(name).is_not_null().alias(f"has {name}") for name in bodies.SLOTS if name in found.columns
    )
    table = pl.concat([rows, wide, containers], how="horizontal").with_columns(
        readable=~pl.col("row").is_in(unreadable),
        faults=_per_row(faults, len(rows)),
    )
    return table, faults


def _per_row(faults: Mapping[int, dict[str, str]], height: int) -> pl.Series:
    if not faults:
        return pl.repeat([], height, dtype=pl.List(pl.String), eager=True)
    return pl.Series([list(faults.get(row, {})) for row in range(height)], dtype=pl.List(pl.String))


def _types(entity: EntityMapping, side: str) -> dict[str, pl.DataType]:
    types: dict[str, pl.DataType] = dict.fromkeys(sorted(entity.fields(side)), TEXT)
    types |= {path: pl.Boolean() for path in FLAGS if path in types}
    types |= {CONTACT_GROUPS: NAMED} if CONTACT_GROUPS in types else {}
    shown = [projection.unit for projection in entity.projections if side == "salesforce"]
    for unit in (*entity.units, *shown):
        types |= dict.fromkeys(unit.leaves(side), KINDS[unit.kind].dtype)
    return types


def _decode(
    texts: pl.Series, ids: pl.Series, id_field: str, schema: pl.Struct, types: Mapping[str, pl.DataType]
) -> tuple[pl.Series, Faults]:
    """Decode all bodies at once; where that fails, halve and look closer, down to the rows at fault.

    Polars joins the texts before it parses them, so that a broken row can shift those after it: besides
    their number, the ids must agree.
    """
    found = decode_all(texts, schema)
    if found is not None and _agree(found, ids, id_field):
        return found, {}
    if len(texts) <= ROWS_AT_ONCE:
        return _row_by_row(texts, ids, id_field, schema, types)
    step = max(ROWS_AT_ONCE, -(-len(texts) // 16))
    parts: list[pl.Series] = []
    faults: Faults = {}
    for start in range(0, len(texts), step):
        part, found_faults = _decode(
            texts[start : start + step], ids[start : start + step], id_field, schema, types
        )
        parts.append(part)
        faults |= {start + row: paths for row, paths in found_faults.items()}
    return pl.concat(parts), faults


def decode_all(texts: pl.Series, schema: pl.Struct) -> pl.Series | None:
    if texts.is_null().any() or not texts.str.contains(r"^\s*\{").all():
        return None
    try:
        lazy = texts.to_frame("body").lazy().select(pl.col("body").str.json_decode(schema))
        found = lazy.collect(engine="streaming").to_series()
    except pl.exceptions.PolarsError:
        return None
    return found if len(found) == len(texts) else None


def _agree(found: pl.Series, ids: pl.Series, id_field: str) -> bool:
    inside = found.struct.field(id_field).str.to_lowercase().str.slice(0, 36)
    expected = ids.str.to_lowercase().str.slice(0, 36)
    short = (inside.str.len_chars() < 36).fill_null(False)  # 15 and 18 characters name one record
    same = (inside == expected) | (short & (inside.str.slice(0, 15) == expected.str.slice(0, 15)))
    return bool(same.fill_null(True).all())


def _row_by_row(
    texts: pl.Series, ids: pl.Series, id_field: str, schema: pl.Struct, types: Mapping[str, pl.DataType]
) -> tuple[pl.Series, Faults]:
    mended: list[str] = []
    faults: Faults = {}
    for row, (text, record_id) in enumerate(zip(texts, ids, strict=True)):
        body = _loaded(text)
        if body is None or not _same_id(body.get(id_field), record_id):
            faults[row] = {}
            mended.append("{}")
            continue
        clean, wrong = _mend(body, types)
        if wrong:
            faults[row] = wrong
        mended.append(clean)
    return pl.Series("body", mended).str.json_decode(schema), faults


def _loaded(text: str | None) -> dict[str, Any] | None:
    try:
        body = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _same_id(found: Any, expected: str | None) -> bool:
    if found is None or expected is None:
        return True
    shorter = 15 if len(str(found)) < 36 else 36
    return str(found).lower()[:shorter] == expected.lower()[:shorter]


def _mend(body: dict[str, Any], types: Mapping[str, pl.DataType]) -> tuple[str, dict[str, str]]:
    """Keep of a body what has its type; say what has not, without its value."""
    kept: list[str] = []
    wrong: dict[str, str] = {}
    for path, kind in types.items():
        try:
            value = read_path(body, path)
        except TypeError:
            wrong[path] = f"{top(path)} is not of its shape"
            continue
        if top(path) not in body:
            continue
        fits = fitting(value, kind)
        if value is not None and fits is None:
            wrong[path] = (
                f"found {_json_type(value)}, expected {'true or false' if kind == pl.Boolean() else 'a text'}"
            )
        kept.append(piece_of({path: fits}))
    return dumps(merge_pieces(kept)), wrong


def _json_type(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "a text", bool: "true or false"}.get(
        type(value), "a number"
    )


def _faulty(ids: pl.Series, faults: Faults, entity: EntityMapping, side: str) -> pl.DataFrame:
    found: list[dict[str, str | None]] = []
    for row, paths in faults.items():
        base: dict[str, str | None] = {"stage": "canonical", "record_id": ids[row], "unit": None}
        if not paths:
            found.append({**base, "reason": "the body is not the JSON of this record"})
        for path, reason in paths.items():
            units = [unit.name for unit in entity.units if path in unit.leaves(side)] or [None]
            found += [{**base, "unit": unit, "reason": f"{path}: {reason}"} for unit in units]
    return conform(pl.DataFrame(found, infer_schema_length=None), REJECTS) if found else empty(REJECTS)

"""The shape of the vendors' bodies: paths of fields, pieces of a body, and bodies made of pieces.

A path is a field (`Name`, `Billing_Email__c`), a field inside another (`PaymentTerms.Sales.Day`), or, in
Xero, a field of a slot (`Phones.DEFAULT.PhoneNumber`): `Phones` and `Addresses` are lists in which each
element names its slot. A *piece* is the JSON of a body that holds only the fields of one unit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import polars as pl

SLOTS: Final = {"Phones": "PhoneType", "Addresses": "AddressType"}
# In the order that Xero documents them.
SLOT_NAMES: Final = {"Phones": ("DEFAULT", "DDI", "MOBILE", "FAX"), "Addresses": ("POBOX", "STREET")}
Json = Any


def dumps(body: Json, *, sort: bool = True) -> str:
    """JSON as it is stored and compared: keys sorted, nothing between, letters as they are, Decimals exact.

    sort: false keeps the keys in the order that they have.
    """
    try:
        return json.dumps(body, ensure_ascii=False, sort_keys=sort, separators=(",", ":"), default=_decimal)
    except _HasDecimal:
        return _exactly(body, sorted if sort else list)


def loads(text: str) -> Json:
    """Read JSON without losing a digit: numbers with a fraction are Decimal."""
    return json.loads(text, parse_float=Decimal)


class _HasDecimal(Exception):
    """The writer of the library knows no Decimal, and its floats lose digits."""


def _decimal(value: object) -> None:
    if isinstance(value, Decimal):
        raise _HasDecimal
    raise TypeError(f"{type(value).__name__} is no JSON")


def _exactly(value: Json, order: Callable[[Mapping[str, Json]], list[str]]) -> str:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is no number of JSON")
        return f"{value:f}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{dumps(key)}:{_exactly(value[key], order)}" for key in order(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_exactly(one, order) for one in value) + "]"
    return dumps(value)


def top(path: str) -> str:
    return path.partition(".")[0]


def read_path(body: Json, path: str) -> Json:
    """Give what stands at a path of a body; null where there is nothing.

    Raises TypeError where a list, an object or a scalar stands in the place of another.
    """
    head, *rest = path.split(".")
    value = body.get(head)
    if head in SLOTS and rest:
        value = _slot(value, SLOTS[head], rest.pop(0))
    for key in rest:
        if value is not None and not isinstance(value, dict):
            raise TypeError(path)
        value = None if value is None else value.get(key)
    return value


def _slot(elements: Json, marker: str, slot: str) -> Json:
    if elements is None:
        return None
    if not isinstance(elements, list) or not all(isinstance(e, dict) for e in elements):
        raise TypeError(marker)
    return next((e for e in elements if e.get(marker) == slot), None)


def piece_of(values: Mapping[str, Json]) -> str:
    """Give the piece that holds these values at their paths."""
    return dumps(_body_of(values))


def _body_of(values: Mapping[str, Json]) -> dict[str, Json]:
    body: dict[str, Json] = {}
    for path, value in values.items():
        head, *rest = path.split(".")
        if head in SLOTS and rest:
            slot, leaf = rest
            body.setdefault(head, [{SLOTS[head]: slot}])[0][leaf] = value
            continue
        place = body
        for key in [head, *rest][:-1]:
            place = place.setdefault(key, {})
        place[[head, *rest][-1]] = value
    return body


def merge_pieces(natives: Iterable[str]) -> dict[str, Json]:
    """Give one body of several pieces of one record; slots of Phones and Addresses stand side by side."""
    body: dict[str, Json] = {}
    for native in natives:
        for key, value in loads(native).items():
            if key in SLOTS and isinstance(value, list):
                body[key] = _merged_slots(body.get(key, []), value, SLOTS[key])
            elif isinstance(value, dict) and isinstance(body.get(key), dict):
                body[key] = {**body[key], **value}
            else:
                body[key] = value
    return body


def _merged_slots(
    before: list[dict[str, Json]], after: list[dict[str, Json]], marker: str
) -> list[dict[str, Json]]:
    slots = {element[marker]: element for element in before}
    for element in after:
        slots[element[marker]] = {**slots.get(element[marker], {}), **element}
    return [slots[name] for name in sorted(slots)]


def body_schema(kinds: Mapping[str, pl.DataType]) -> pl.Struct:
    """Give the Polars type that decodes just these paths (path -> type of its value) of a body."""
    tree: dict[str, Any] = {}
    for path, kind in kinds.items():
        head, *rest = path.split(".")
        if head in SLOTS and rest:
            tree.setdefault(head, {})[rest[1]] = kind
            continue
        place = tree
        for key in [head, *rest][:-1]:
            place = place.setdefault(key, {})
        place[[head, *rest][-1]] = kind
    return pl.Struct({name: _type(name, inner) for name, inner in tree.items()})


def _type(name: str, inner: Any) -> pl.DataType:
    if not isinstance(inner, dict):
        return inner
    if name in SLOTS:
        return pl.List(pl.Struct({SLOTS[name]: pl.String(), **inner}))
    return pl.Struct({key: _type("", value) for key, value in inner.items()})


def leaf(path: str) -> pl.Expr:
    """Give what stands at a path, from a frame with one column for each top-level field of the body."""
    head, *rest = path.split(".")
    value = pl.col(head)
    if head in SLOTS and rest:
        slot = rest.pop(0)
        value = value.list.filter(pl.element().struct.field(SLOTS[head]) == slot).list.first()
    for key in rest:
        value = value.struct.field(key)
    return value.alias(path)


def piece(paths: Iterable[str]) -> pl.Expr:
    """Give the piece, as JSON, of a frame with one column for each path; the same text as `piece_of`."""
    tree: dict[str, Any] = _body_of({path: pl.col(path) for path in paths})
    return pl.struct(_fields(tree)).struct.json_encode()


def _fields(tree: Mapping[str, Any]) -> list[pl.Expr]:
    return [_field(tree[key]).alias(key) for key in sorted(tree)]


def _field(value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, list):
        return pl.concat_list([pl.struct(_fields(value[0]))])
    if isinstance(value, dict):
        return pl.struct(_fields(value))
    return pl.lit(value, dtype=pl.String)


def fitting(value: Any, kind: pl.DataType) -> Any:
    """Give a value of a body as its kind holds it; null where it has another type."""
    if kind == pl.Boolean():
        return (
            {"true": True, "false": False}.get(str(value).lower()) if isinstance(value, (bool, str)) else None
        )
    if isinstance(kind, pl.List):
        listed = isinstance(value, list) and all(isinstance(one, dict) for one in value)
        return [{"Name": fitting(one.get("Name"), pl.String())} for one in value] if listed else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    return str(value) if isinstance(value, (int, float, Decimal)) else None

"""Native pieces: canonical values written back into a vendor's body, and pieces read out of one reply."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from reconcile import bodies, names
from reconcile.bodies import fitting, loads, piece_of, read_path, top
from reconcile.item_codes import LONGEST
from reconcile.kinds import KINDS
from reconcile.mapped import DETAILS, SHARED_EMAIL, EntityMapping, Unit

# Fields of Salesforce that take a country's ISO code, and no name.
CODES: Final = ("CountryCode", "CountryCode__s")


def native_of(value: str | None, unit: Unit, side: str, *, onto: str | None) -> str:
    """Give the piece of a body that makes a unit have a canonical value on a side.

    `onto` is the target's present piece (null: none): what the canonical value does not speak of is kept,
    and so is a spelling that means the same. No value is null in Salesforce and "" in Xero.
    Law: the canonical value of what it gives is `value`, where `unfit` finds nothing against it.
    """
    parts = unit.parts(side)
    body = json.loads(onto) if onto else {}
    present = {part: read_path(body, path) for part, path in parts.items()}
    if value is not None and unit.kind == "address" and parts["country"].endswith(CODES):
        present["country"] = json.loads(value)["country"]  # spelled as it shall be: by its code
    kind = KINDS[unit.kind]
    written = dict.fromkeys(parts) if value is None else kind.native(value, side, present, unit.lookup)
    if "attention_to" in parts:
        written["attention_to"] = present["attention_to"]
    blank = False if kind.dtype == pl.Boolean() else ("" if side == "xero" else None)
    return piece_of(
        {path: blank if written.get(part) in (None, "") else written[part] for part, path in parts.items()}
    )


@dataclass(frozen=True)
class Limits:
    """What a side's schema demands of an object's fields."""

    lengths: Mapping[str, int]
    options: Mapping[str, frozenset[str]]
    required: frozenset[str]


def limits_of(fields: pl.DataFrame, side: str, object_name: str) -> Limits:
    """Gather the limits of one object from FIELDS."""
    rows = fields.filter(
        (pl.col("side").cast(pl.String) == side) & (pl.col("object") == object_name)
    ).to_dicts()
    return Limits(
        lengths={row["field"]: row["length"] for row in rows if row["length"]},
        options={row["field"]: frozenset(row["options"]) for row in rows if row["options"]},
        required=frozenset(row["field"] for row in rows if row["required"]),
    )


def unfit(native: str, unit: Unit, side: str, *, limits: Limits) -> str | None:
    """Say why a piece can't be written, without its values; null where it can.

    Nothing is ever cut to fit: a value that does not fit is set aside with this reason.
    """
    body = loads(native)
    for part, path in unit.parts(side).items():
        reason = _unfit(read_path(body, path), part, path, unit, side, limits)
        if reason:
            return f"{path}: {reason}"
    return None


def _unfit(value: Any, part: str, path: str, unit: Unit, side: str, limits: Limits) -> str | None:
    if value in (None, ""):
        # How Xero would take a price without a number nobody could say.
        unpriced = side == "xero" and unit.kind == "price"
        needed = path in limits.required or (side == "xero" and path == "Name") or unpriced
        return "it is required, and would be cleared" if needed else None
    if isinstance(value, str):
        longest = limits.lengths.get(path)
        if longest is not None and len(value) > longest:
            return f"found {len(value)} characters, expected {longest} at most"
    if path in limits.options and str(value) not in limits.options[path]:
        return "the value is not one of its picklist"
    return _unfit_kind(value, part, path, unit, side)


def _unfit_kind(value: Any, part: str, path: str, unit: Unit, side: str) -> str | None:
    if unit.kind == "email" and not names.EMAIL.fullmatch(str(value)):
        return "not an e-mail address"
    if unit.kind == "email" and side == "xero" and not str(value).isascii():
        return "Xero takes no letters beyond ASCII in an e-mail address"
    if unit.kind == "number" and isinstance(value, str):
        return "not a number that JSON carries exactly"
    if unit.kind == "price":
        return _unfit_price(value, side)
    if unit.kind == "item_code" and side == "xero":
        return _unfit_code(str(value))
    if unit.kind == "date" and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)):
        return "not a date"
    if unit.kind == "lookup" and unit.lookup and value not in unit.lookup.write[side].values():
        return "the value has no entry in the unit's lookup table"
    if side == "xero" and path == "Name" and re.search("[<>]", str(value)):
        return "Xero takes no < or > in a name"
    is_country_part = (part == "country" and unit.kind == "address") or unit.kind == "country"
    if side == "xero" and is_country_part and not re.fullmatch("[A-Za-z ]+", str(value)):
        return "the text names no country that is known, and Xero takes only letters there"
    return None


PRICE_PLACES: Final = {"salesforce": 2, "xero": 4}  # currency(18,2); unitdp=4
HIGHEST_PRICE: Final = 10**12


def _unfit_price(value: Any, side: str) -> str | None:
    places = PRICE_PLACES[side]
    if isinstance(value, str):
        return "not a number"
    if not 0 <= value < HIGHEST_PRICE:
        return "not a price: it is below nothing, or too large to be exact"
    if Decimal(value) != round(Decimal(value), places):
        return f"a price of more than {places} decimals, which {side.title()} does not keep"
    return None


def _unfit_code(code: str) -> str | None:
    if len(code) > LONGEST:
        return f"found {len(code)} characters, expected {LONGEST} at most"
    if re.search(r'["\\\x00-\x1f]', code):
        return "a code with a quote or a backslash can't be asked for in Xero"
    return None


def pieces(body: Mapping[str, Any], entity: EntityMapping, side: str) -> dict[str, str]:
    """Give the native piece of each unit from one record's body, as `canonicalise` would.

    Raises TypeError where something in it has the wrong shape.
    """
    return {unit.name: piece_of(_texts_of(body, unit, side)) for unit in entity.units}


def _texts_of(body: Mapping[str, Any], unit: Unit, side: str) -> dict[str, Any]:
    kind = KINDS[unit.kind].dtype
    found: dict[str, Any] = {}
    for path in unit.leaves(side):
        value = read_path(body, path)
        found[path] = fitting(value, kind)
        if value is not None and found[path] is None:
            raise TypeError(path)
    return found


def observed_pieces(body: Mapping[str, Any], entity: EntityMapping, side: str) -> dict[str, str]:
    """As `pieces`, without the units that this body does not tell: keys that are not there (in Xero: lists),
    values of a person who asked to be forgotten, Xero's e-mail where it belongs to the other entity, the sale of
    an item that is not sold."""
    if side == "xero" and body.get("ContactStatus") == "GDPRREQUEST":
        return {}
    found = pieces(body, entity, side)
    return {name: native for name, native in found.items() if _tells(body, entity.unit(name), entity, side)}


def _tells(body: Mapping[str, Any], unit: Unit, entity: EntityMapping, side: str) -> bool:
    tops = {top(path) for path in unit.leaves(side)}
    if side == "salesforce":
        return all(name in body for name in tops)
    if any(name in bodies.SLOTS and body.get(name) is None for name in tops):
        return False
    if entity.is_item and any(body.get(flag) is False and tops & {*names} for flag, names in DETAILS.items()):
        return False
    if unit.kind == "email" and unit.xero == (SHARED_EMAIL,):
        primary = bool(names.fold(body.get("FirstName")) or names.fold(body.get("LastName")))
        address = (names.fold(body.get(SHARED_EMAIL)) or "").lower()
        persons = primary and not re.search(names.ROLE_MAILBOX, address)
        return persons == (entity.entity == "person")
    return True


def reference_piece(entity: EntityMapping, side: str, other_id: str | None) -> str:
    """Give the piece that makes a record carry the other side's id; "{}" where no field holds it."""
    return native_of(other_id, entity.unit("reference"), side, onto=None)


def record_fields(entity: EntityMapping, side: str) -> frozenset[str]:
    """Give every field that `canonicalise` reads of that side's bodies."""
    return entity.fields(side)

"""Holds a mapping against the schemas of both systems, before anything rests on it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from typing import Any, Final

import polars as pl

from reconcile.errors import UnknownField, UnknownObject, WrongMapping
from reconcile.mapped import OTHER, PARENT, EntityMapping, Mapping, SideMapping, Unit, is_field
from reconcile.model import SIDES

# Demanded by the server, not by the schema.
SERVER_REQUIRED: Final = {("party", "xero"): ("Name",)}


def check_mapping(mapping: Mapping, fields: pl.DataFrame) -> None:
    """Hold a mapping against the schemas of both systems.

    Takes FIELDS. Raises UnknownField for an object or field that is not there, WrongMapping for a field
    that receives and can't be written, that is too short or of the wrong type, or that a new record needs
    and nothing gives.
    """
    known: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in fields.iter_rows(named=True):
        known.setdefault((row["side"], row["object"]), {})[row["field"]] = row
    for entity in mapping.entities.values():
        for side in SIDES:
            _check_side(entity, side, known)


def _check_side(
    entity: EntityMapping, side: str, known: MappingOf[tuple[str, str], dict[str, dict[str, Any]]]
) -> None:
    mapped = entity.side(side)
    schema = known.get((side, mapped.object))
    if schema is None:
        objects = [name for where, name in known if where == side]
        nearest = _nearest(mapped.object, objects)
        raise UnknownObject(at=mapped.at, side=side.title(), found=mapped.object, nearest=nearest)
    entries = [*entity.units, *(projection.unit for projection in entity.projections if side == "salesforce")]
    for unit in entries:
        for path in unit.leaves(side):
            _check_field(unit, side, mapped.object, path, schema)
    for rule in entity.rules(side):
        for name in sorted(filter(is_field, rule.columns)):
            _row(name, schema, rule.at, side, mapped.object)
    for name in mapped.defaults:
        row = _row(name, schema, f"{mapped.at}: {entity.entity}.{side}.defaults", side, mapped.object)
        if not row["createable"]:
            raise WrongMapping(
                at=mapped.at, found=f"a default for {name!r}, which can't be set", expected="another field"
            )
    if mapped.reference:
        _check_reference(mapped, side, schema)
    if entity.create[side] != "never":
        _check_required(entity, side, schema)


def _check_field(
    unit: Unit, side: str, object_name: str, path: str, schema: MappingOf[str, dict[str, Any]]
) -> None:
    row = _row(path, schema, unit.at, side, object_name)
    if unit.receives(side) and not path.endswith(".AttentionTo") and not row["updateable"]:
        expected = f"`flows: to_{OTHER[side]}`" if unit.flows == "both" else "a field that can be written"
        raise WrongMapping(
            at=unit.at,
            found=f"{path!r} of {side.title()} {object_name}, which can't be written",
            expected=expected,
        )
    allowed = TYPES.get(unit.kind)
    if side == "salesforce" and row["type"] and row["type"] not in (allowed or TEXTS):
        raise WrongMapping(
            at=unit.at,
            found=f"{path!r}, which is of type {row['type']}, with `as: {unit.kind}`",
            expected=f"a field of type {_words(allowed or TEXTS)}",
        )


TEXTS: Final = (
    "string",
    "textarea",
    "picklist",
    "combobox",
    "email",
    "phone",
    "url",
    "id",
    "reference",
    "encryptedstring",
    "multipicklist",
    "address",
)
TYPES: Final = {
    "boolean": ("boolean",),
    "number": ("double", "currency", "percent", "int", "long"),
    "date": ("date", "datetime"),
}


def _check_reference(mapped: SideMapping, side: str, schema: MappingOf[str, dict[str, Any]]) -> None:
    at = f"{mapped.at}: {side}.reference"
    row = _row(str(mapped.reference), schema, at, side, mapped.object)
    need = 44 if side == "salesforce" else 18  # "<ContactID>:primary"; an id of Salesforce
    if not row["updateable"]:
        raise WrongMapping(
            at=at, found=f"{mapped.reference!r}, which can't be written", expected="another field"
        )
    if row["length"] is not None and row["length"] < need:
        raise WrongMapping(
            at=at,
            found=f"{mapped.reference!r}, of {row['length']} characters",
            expected=f"{need} characters or more",
        )


def _check_required(entity: EntityMapping, side: str, schema: MappingOf[str, dict[str, Any]]) -> None:
    if entity.entity == "person" and side == "xero":
        return  # no record of its own: it fills its contact's name
    mapped = entity.side(side)
    given = {path for unit in entity.units if unit.receives(side) for path in unit.leaves(side)}
    given |= {*mapped.defaults, mapped.reference, PARENT.get((entity.entity, side))}
    needed = [name for name, row in schema.items() if row["required"]]
    for name in (*needed, *SERVER_REQUIRED.get((entity.entity, side), ())):
        if name not in given:
            raise WrongMapping(
                at=f"{mapped.at}: {entity.entity}.create.{side}",
                found=f"no value for {name!r}, which a new {mapped.object} needs",
                expected=f"a unit that flows to it, or `defaults: {{{name}: ...}}` under {side}",
            )


def _row(
    path: str, schema: MappingOf[str, dict[str, Any]], at: str, side: str, object_name: str
) -> dict[str, Any]:
    # A schema may name a slot or a group without its leaves.
    steps = path.split(".")
    for length in range(len(steps), 0, -1):
        row = schema.get(".".join(steps[:length]))
        if row is not None:
            return row
    entity = f"{side.title()} {object_name}"
    raise UnknownField(at=at, entity=entity, found=path, nearest=_nearest(path, schema))


def _nearest(found: str, known: Iterable[str]) -> str:
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(found.lower(), folded, n=1)
    return folded[near[0]] if near else ""


def _words(names: Iterable[str]) -> str:
    return ", ".join(names)

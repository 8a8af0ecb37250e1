"""Holds a mapping against the schemas of both systems, before anything rests on it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from typing import Any, Final

import polars as pl

from reconcile.errors import UnknownField, UnknownObject, WrongMapping
from reconcile.mapped import (
    OTHER,
    PARENT,
    BillMapping,
    DocumentMapping,
    EntityMapping,
    GroupMapping,
    Mapping,
    PaymentMapping,
    SideMapping,
    Unit,
    is_field,
)
from reconcile.model import SIDES

# Demanded by the server, not by the schema.
SERVER_REQUIRED: Final = {("party", "xero"): ("Name",), ("product", "xero"): ("Code",)}


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
    if mapping.invoice is not None:
        for document in mapping.invoice.sources:
            _check_document(document, known)
    if mapping.bill is not None:
        _check_bill(mapping.bill, known)


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
    if entity.groups is not None and side == "salesforce":
        _check_groups(entity.groups, mapped.object, schema)
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


SHOWN: Final = {"id": 36, "number": 0, "status": 10, "url": 90}  # characters that an invoice's values need
ID_LENGTH: Final = 18


def _check_document(
    document: DocumentMapping, known: MappingOf[tuple[str, str], dict[str, dict[str, Any]]]
) -> None:
    """The opportunity must have the fields that are read, of their types, and those that show the invoice."""
    for name, fields in sorted(document.own_fields("salesforce").items()):
        schema = known.get(("salesforce", name))
        if schema is None:
            objects = [found for where, found in known if where == "salesforce"]
            nearest = _nearest(name, objects)
            raise UnknownObject(at=document.at, side="Salesforce", found=name, nearest=nearest)
        for field in sorted(fields):
            row = _row(field, schema, document.at, "salesforce", name)
            tracked = field in {track.field for track in document.tracking}
            expected = TYPES["date"] if field == document.date else DOCUMENT_TYPES.get(field)
            expected = TEXTS if tracked else expected
            if expected and row["type"] and row["type"] not in expected:
                raise WrongMapping(
                    at=document.at,
                    found=f"{field!r}, which is of type {row['type']}",
                    expected=f"a field of type {_words(expected)}",
                )
    for shown, field in document.link.fields.items():
        _check_shown(document, shown, field, known["salesforce", document.salesforce][field])
    if document.payments is not None:
        _check_payments(document.payments, document.salesforce, known)


def _check_payments(
    payments: PaymentMapping, invoiced: str, known: MappingOf[tuple[str, str], dict[str, dict[str, Any]]]
) -> None:
    """The object must have the fields that are read, of their types, and those that show the payment."""
    typed = {payments.amount: TYPES["number"], payments.date: TYPES["date"], payments.source: ("reference",)}
    leads = {payments.source: invoiced}
    _check_own(
        payments.salesforce, payments.fields, payments.link, payments.at, known, typed=typed, leads=leads
    )


def _check_bill(bill: BillMapping, known: MappingOf[tuple[str, str], dict[str, dict[str, Any]]]) -> None:
    """Likewise of what bills are made of."""
    typed: dict[str | None, tuple[str, ...]] = {bill.amount: TYPES["number"], bill.supplier: ("reference",)}
    typed |= {field: TYPES["date"] for field in (bill.date, bill.due) if field}
    typed |= {field: TEXTS for field in (bill.number, bill.description, bill.currency) if field}
    fields = bill.fields("salesforce")[bill.salesforce]
    leads: dict[str | None, str] = {bill.supplier: "Account"}
    _check_own(bill.salesforce, fields, bill.link, bill.at, known, typed=typed, leads=leads)


def _check_own(
    object_name: str,
    fields: Iterable[str],
    link: MappingOf[str, str],
    at: str,
    known: MappingOf[tuple[str, str], dict[str, dict[str, Any]]],
    *,
    typed: MappingOf[str | None, tuple[str, ...]],
    leads: MappingOf[str | None, str],
) -> None:
    """Hold an object of the org's own against its schema. typed: field -> its types; leads: to which object it does."""
    schema = known.get(("salesforce", object_name))
    if schema is None:
        objects = [name for where, name in known if where == "salesforce"]
        raise UnknownObject(
            at=at, side="Salesforce", found=object_name, nearest=_nearest(object_name, objects)
        )
    for field in sorted(fields):
        row = _row(field, schema, at, "salesforce", object_name)
        expected = typed.get(field, TEXTS if field in link.values() else None)
        if expected and row["type"] and row["type"] not in expected:
            raise WrongMapping(
                at=at,
                found=f"{field!r} of {object_name}, which is of type {row['type']}",
                expected=f"a field of type {_words(expected)}"
                + (f" that leads to {leads[field]}" if field in leads else ""),
            )
        if field in link.values() and not row["updateable"]:
            raise WrongMapping(
                at=f"{at}.link", found=f"{field!r}, which can't be written", expected="another field"
            )


DOCUMENT_TYPES: Final = {
    "Amount": ("currency", "double"),
    "IsReductionOrder": ("boolean",),
    "IsWon": ("boolean",),
    "OriginalOrderItemId": ("reference",),
    "Quantity": ("double", "int"),
    "TotalAmount": ("currency", "double"),
    "UnitPrice": ("currency", "double"),
}


def _check_shown(document: DocumentMapping, shown: str, field: str, row: MappingOf[str, Any]) -> None:
    at = f"{document.at}.link.{shown}"
    if not row["updateable"]:
        raise WrongMapping(at=at, found=f"{field!r}, which can't be written", expected="another field")
    if row["type"] and row["type"] not in TEXTS:
        raise WrongMapping(
            at=at,
            found=f"{field!r}, which is of type {row['type']}",
            expected="a field of type string or url",
        )
    need = SHOWN[shown] or len(document.number.prefix) + ID_LENGTH
    if row["length"] is not None and row["length"] < need:
        raise WrongMapping(
            at=at,
            found=f"{field!r}, of {row['length']} characters",
            expected=f"{need} characters or more",
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
NAMING: Final = ("string", "textarea", "picklist", "multipicklist", "combobox")  # of what names groups
TYPES: Final = {
    "boolean": ("boolean",),
    "number": ("double", "currency", "percent", "int", "long"),
    "price": ("currency", "double"),
    "date": ("date", "datetime"),
}


def _check_groups(groups: GroupMapping, object_name: str, schema: MappingOf[str, dict[str, Any]]) -> None:
    row = _row(groups.salesforce, schema, groups.at, "salesforce", object_name)
    if row["type"] and row["type"] not in NAMING:
        raise WrongMapping(
            at=f"{groups.at}.salesforce",
            found=f"{groups.salesforce!r}, which is of type {row['type']}",
            expected=f"a field of type {_words(NAMING)}",
        )


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
    if entity.is_part(side):
        return  # no record of its own: it fills fields of another
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

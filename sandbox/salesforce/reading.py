"""Finds the fields that a query names, through parents too, and shows a row with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sandbox.salesforce import soql
from sandbox.salesforce.currency_data import CORPORATE_CURRENCY
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.org import Org, Session
from sandbox.salesforce.schema import NUMBERS, Field, SObject
from sandbox.store import Body

Get = Callable[[Body], Any]
Key = Callable[[Any], Any]

HINT = (
    " If you are attempting to use a custom {0}, be sure to append the '__c' after the {1} name. Please "
    "reference your WSDL or the describe call for the appropriate names."
)


@dataclass(frozen=True)
class Reading:
    """One query on its way: who reads, which version of the API, deleted rows too or not."""

    org: Org
    session: Session
    version: str
    deleted: bool = False
    parents: dict[str, dict[str, Body]] = field(default_factory=dict)

    def object(self, name: str) -> SObject | None:
        """An object as this reader may see it."""
        return self.org.schema.object(name, restricted=self.session.restricted)

    def parent(self, kind: str, record_id: str | None) -> Body | None:
        """A record that a reference leads to. After some single look-ups the whole object is read at once."""
        if record_id is None:
            return None
        known = self.parents.setdefault(kind, {})
        if record_id not in known and len(known) == 100:
            known.update({body["Id"]: body for body in self.org.rows(kind)})
        if record_id not in known:
            known[record_id] = self.org.get(kind, record_id) or {}
        return known[record_id] or None


@dataclass
class Shape:
    """What is shown of a row: fields in order, and shapes of the parents that are reached."""

    sobject: SObject
    leaves: list[Field] = field(default_factory=list)
    parents: dict[str, tuple[Field, Shape]] = field(default_factory=dict)


def table(reading: Reading, query: soql.Query) -> SObject:
    name = str(query.table)
    sobject = reading.object(name)
    if sobject is None:
        message = f"sObject type '{name}' is not supported." + HINT.format("object", "entity")
        raise refused(query, query.table, "INVALID_TYPE", message)
    return sobject


def resolve(reading: Reading, query: soql.Query, sobject: SObject, path: soql.Path) -> tuple[Get, Field]:
    """How to come from a row to a field, maybe through parents."""
    steps: list[Field] = []
    names = path.names
    if len(names) > 1 and names[0].lower() == sobject.name.lower():
        names = names[1:]  # the name of the object itself as prefix
    for name in names[:-1]:
        reference = sobject.through(name)
        target = reading.object(reference.reference or "") if reference else None
        if reference is None or target is None:
            raise refused(
                query, path, "INVALID_FIELD",
                f"Didn't understand relationship '{name}' in field path."
                + HINT.format("relationship", "custom relationship").replace("'__c'", "'__r'"),
            )  # fmt: skip
        steps.append(reference)
        sobject = target
    found = sobject.field(names[-1])
    if found is None:
        raise refused(query, path, "INVALID_FIELD", no_such_column(names[-1], sobject, "entity"))
    return _walk(reading, steps, sobject, found), found


def _walk(reading: Reading, steps: list[Field], sobject: SObject, f: Field) -> Get:
    if not steps:
        if f.type in ("boolean", "address") or f.multi:
            return lambda body: value_of(sobject, f, body)
        name = f.name
        return lambda body: body.get(name)

    def walk(body: Body) -> Any:
        current: Body | None = body
        for step in steps:
            current = reading.parent(step.reference or "", current.get(step.name)) if current else None
        return value_of(sobject, f, current) if current else None

    return walk


def value_of(sobject: SObject, f: Field, body: Body) -> Any:
    """A field of a row as the API shows it."""
    if f.type == "boolean":
        return body.get(f.name, False)
    if f.multi:  # an org that gets a second currency gives its records the first
        return body.get(f.name, CORPORATE_CURRENCY)
    if f.type == "address":
        pieces = {piece: body.get(name) for piece, name in sobject.parts.get(f.name, {}).items()}
        return pieces if any(value is not None for value in pieces.values()) else None
    return body.get(f.name)


def sort_key(f: Field) -> Key:
    """What is compared: texts without regard to case (doc: SOQL reference, comparison), ids exactly."""
    if f.type in ("id", "reference", "datetime", "date"):
        return lambda value: value
    if f.type == "boolean":
        return bool
    if f.type in NUMBERS:
        return lambda value: None if value is None else Decimal(str(value))
    return lambda value: value.casefold() if value else None


def ordered(reading: Reading, query: soql.Query, sobject: SObject, path: soql.Path) -> tuple[Get, Key]:
    get, f = resolve(reading, query, sobject, path)
    if not f.filterable or f.type == "address":
        raise refused(query, path, "INVALID_FIELD", f"field '{path}' can not be sorted in a query call")
    return get, sort_key(f)


def no_such_column(name: str, sobject: SObject, noun: str) -> str:
    return f"No such column '{name}' on {noun} '{sobject.name}'." + HINT.format("field", "custom field")


def refused(query: soql.Query, path: soql.Path, code: str, message: str) -> Refused:
    return soql.refused_at(query.text, path.row, path.column, code, message)


def shape_of(reading: Reading, query: soql.Query, sobject: SObject) -> Shape:
    shape = Shape(sobject)
    for column in query.columns:
        if isinstance(column, soql.Call):
            shape.leaves += _fields_function(query, sobject, column)
        elif isinstance(column, soql.Column):
            resolve(reading, query, sobject, column.path)
            _include(reading, shape, column.path.names)
    return shape


def _include(reading: Reading, shape: Shape, names: tuple[str, ...]) -> None:
    if len(names) > 1 and names[0].lower() == shape.sobject.name.lower():
        names = names[1:]
    if len(names) == 1:
        found = shape.sobject.field(names[0])
        assert found is not None  # _resolve has looked
        shape.leaves.append(found)
        return
    reference = shape.sobject.through(names[0])
    assert reference is not None and reference.relationship is not None
    target = reading.object(reference.reference or "")
    assert target is not None
    known = shape.parents.setdefault(reference.relationship, (reference, Shape(target)))
    _include(reading, known[1], names[1:])


def _fields_function(query: soql.Query, sobject: SObject, call: soql.Call) -> list[Field]:
    which = str(call.path).lower()
    if call.function != "fields" or which not in ("all", "standard", "custom"):
        raise refused(query, query.table, "MALFORMED_QUERY", f"unexpected token: '{call.function}'")
    if which != "standard" and (query.limit is None or query.limit > 200):
        raise refused(
            query, query.table, "MALFORMED_QUERY", "The SOQL FIELDS function must have a LIMIT of at most 200"
        )
    wanted = {"all": (True, False), "standard": (False,), "custom": (True,)}[which]
    return [f for f in sobject.fields.values() if f.custom in wanted]


def whole_shape(sobject: SObject, names: list[str] | None = None) -> Shape:
    """Every field of an object, or those named. Raises Refused for one that there is not."""
    if names is None:
        return Shape(sobject, list(sobject.fields.values()))
    leaves = []
    for name in names:
        if (f := sobject.field(name)) is None:
            raise Refused("INVALID_FIELD", no_such_column(name, sobject, "entity"))
        leaves.append(f)
    return Shape(sobject, leaves)


def told(f: Field, value: Any, form: str) -> Any:
    """A number as JSON shows it, by the switch number_text; every other value as it is."""
    if f.type not in NUMBERS or f.type == "int" or value is None:
        return value
    number = Decimal(str(value))
    least = {"shortest": 1, "scale": f.scale, "bare": 0}[form]
    if f.scale == 0 and form == "shortest" and f.type == "percent":
        least = 1
    bare = number.normalize()
    places = max(-int(bare.as_tuple().exponent), least)
    return bare.quantize(Decimal(1).scaleb(-places)) if places else int(bare)


def render(reading: Reading, shape: Shape, body: Body) -> dict[str, Any]:
    """A row as JSON has it: attributes, fields, and parents within."""
    sobject = shape.sobject
    url = f"/services/data/v{reading.version}/sobjects/{sobject.name}/{body['Id']}"
    shown: dict[str, Any] = {"attributes": {"type": sobject.name, "url": url}}
    form = reading.org.dialect["number_text"]
    for f in shape.leaves:
        shown[f.name] = told(f, value_of(sobject, f, body), form)
    for name, (reference, parent_shape) in shape.parents.items():
        parent = reading.parent(reference.reference or "", body.get(reference.name))
        shown[name] = render(reading, parent_shape, parent) if parent else None
    return shown

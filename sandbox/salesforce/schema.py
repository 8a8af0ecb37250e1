"""The objects and fields that this org has, and who may see and write them.

The shipped part stands in objects.txt; custom fields and field-level security can be changed while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox.store import Store

TABLE = Path(__file__).with_name("objects.txt")
OBJECTS = {  # name: key prefix, plural
    "Account": ("001", "Accounts"),
    "Contact": ("003", "Contacts"),
    "User": ("005", "Users"),
    "Organization": ("00D", "Organizations"),
}
NUMBERS = frozenset({"double", "currency", "percent", "int"})
TEXTS = frozenset({"string", "textarea", "phone", "url", "email", "picklist"})


class WrongField(Exception):
    """A change of the schema that can't be made."""


@dataclass(frozen=True)
class Field:
    """One field as describe tells of it. length: characters of a text; precision and scale: of a number."""

    name: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    nillable: bool = True
    defaulted: bool = False
    createable: bool = True
    updateable: bool = True
    filterable: bool = True
    unique: bool = False
    external_id: bool = False
    compound: str | None = None
    reference: str | None = None
    values: str | None = None
    restricted: bool = False

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def relationship(self) -> str | None:
        """The name under which a query goes through this reference: AccountId -> Account."""
        if self.reference is None:
            return None
        return f"{self.name[:-3]}__r" if self.custom else self.name.removesuffix("Id")

    @property
    def required(self) -> bool:
        return self.createable and not self.nillable and not self.defaulted and self.type != "boolean"


@dataclass(frozen=True)
class SObject:
    """One object as one user sees it: fields by lower-case name, in the order of describe."""

    name: str
    prefix: str
    plural: str
    fields: Mapping[str, Field]
    createable: bool = True
    updateable: bool = True
    deletable: bool = True

    def field(self, name: str) -> Field | None:
        return self.fields.get(name.lower())

    def through(self, relationship: str) -> Field | None:
        """The reference field that a relationship name goes through."""
        return self._relationships.get(relationship.lower())

    @cached_property
    def _relationships(self) -> dict[str, Field]:
        return {f.relationship.lower(): f for f in self.fields.values() if f.relationship}

    @cached_property
    def parts(self) -> dict[str, dict[str, str]]:
        """Compound address -> its piece (street, postalCode ...) -> the field that holds it."""
        found: dict[str, dict[str, str]] = {}
        for f in self.fields.values():
            if f.compound and f.compound.endswith("Address"):
                piece = f.name.removeprefix(f.compound.removesuffix("Address"))
                found.setdefault(f.compound, {})[piece[:1].lower() + piece[1:]] = f.name
        return found


class Schema:
    """What the org has now; changes are kept in the store, and a reset takes them back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shipped = read_table(TABLE.read_text(encoding="utf-8"))
        self._changes: dict[str, Any] | None = None
        self._objects: dict[tuple[str, bool], SObject] = {}

    def object(self, name: str, *, restricted: bool = False) -> SObject | None:
        """An object by its name in any case. restricted: as the integration user may see and write it."""
        self._refresh()
        return self._objects.get((name.lower(), restricted))

    def names(self) -> list[str]:
        return list(OBJECTS)

    def changes(self) -> dict[str, Any]:
        return self._store.kept("schema", "changes") or {}

    def add(self, object_name: str, options: dict[str, Any]) -> Field:
        """Add a custom field, or replace the one of that name (its type may change, as after a deploy)."""
        f = _custom_field(options)
        self._change(object_name, "custom", f.name, options)
        return f

    def remove(self, object_name: str, field: str) -> None:
        """Take a custom field away; its values go out of sight."""
        self._change(object_name, "custom", field, None)

    def secure(self, object_name: str, field: str, right: str) -> None:
        """Field-level security of the integration user: visible, read_only or hidden."""
        if right not in ("visible", "read_only", "hidden"):
            raise WrongField(f"no right {right!r}; there are: visible, read_only, hidden")
        self._change(object_name, "rights", field, right)

    def allow(self, object_name: str, rights: dict[str, bool]) -> None:
        """Object permissions of the integration user: createable, updateable, deletable."""
        for name, value in rights.items():
            self._change(object_name, "object", name, value)

    def _change(self, object_name: str, group: str, name: str, value: Any) -> None:
        if object_name not in OBJECTS:
            raise WrongField(f"no object {object_name!r}; there are: {', '.join(OBJECTS)}")
        known = {f.name for f in self._shipped[object_name]} | set(
            self.changes().get(object_name, {}).get("custom", {})
        )
        if (group == "rights" or value is None) and name not in known:
            raise WrongField(f"{object_name} has no field {name!r}")
        changes = self.changes()
        changes.setdefault(object_name, {}).setdefault(group, {})[name] = value
        self._store.keep("schema", "changes", changes)

    def _refresh(self) -> None:
        changes = self.changes()
        if changes == self._changes:
            return
        self._changes = changes
        self._objects = {}
        for name in OBJECTS:
            for restricted in (False, True):
                self._objects[name.lower(), restricted] = self._build(name, changes.get(name, {}), restricted)

    def _build(self, name: str, changes: dict[str, Any], restricted: bool) -> SObject:
        custom: dict[str, Any] = changes.get("custom", {})
        fields = [f for f in self._shipped[name] if f.name not in custom]
        fields += [_custom_field(options) for options in custom.values() if options is not None]
        if restricted:
            rights = changes.get("rights", {})
            fields = [seen for f in fields if (seen := _secured(f, rights.get(f.name, "visible")))]
        prefix, plural = OBJECTS[name]
        writable = name in ("Account", "Contact")
        allowed = dict.fromkeys(("createable", "updateable", "deletable"), writable)
        allowed |= changes.get("object", {}) if restricted else {}
        return SObject(name, prefix, plural, {f.name.lower(): f for f in fields}, **allowed)


def _secured(f: Field, right: str) -> Field | None:
    if right == "hidden":
        return None
    return replace(f, createable=False, updateable=False) if right == "read_only" else f


def _custom_field(options: dict[str, Any]) -> Field:
    try:
        f = Field(**options)
    except TypeError as error:
        raise WrongField(f"not a field: {error}") from None
    if not f.custom:
        raise WrongField(f"the name of a custom field ends in __c: {f.name!r}")
    return f if f.length or f.type not in TEXTS else replace(f, length=255)


def read_table(text: str) -> dict[str, list[Field]]:
    """Object -> its fields, from the text of objects.txt."""
    found: dict[str, list[Field]] = {}
    current: list[Field] = []
    for line in text.splitlines():
        if line.startswith("["):
            current = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            current.append(_field(*line.split()))
    return found


def _field(name: str, kind: str, size: str, *flags: str) -> Field:
    options = {name: value for name, _, value in (flag.partition(":") for flag in flags)}
    precision, _, scale = size.partition(",") if "," in size else ("0", "", "0")
    return Field(
        name,
        kind,
        length=int(size) if size.isdigit() else 0,
        precision=int(precision),
        scale=int(scale),
        nillable="nillable" in options,
        defaulted="defaulted" in options,
        createable="create" in options,
        updateable="update" in options,
        filterable="unfilterable" not in options,
        unique="unique" in options,
        external_id="external" in options,
        compound=options.get("in"),
        reference=options.get("to"),
        values=options.get("only") or options.get("pick"),
        restricted="only" in options,
    )

"""The objects and fields that this org has, and who may see and write them.

The shipped part stands in objects.txt; custom fields and field-level security can be changed while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox.store import Store

TABLE = Path(__file__).with_name("objects.txt")
OBJECTS = {  # name: key prefix, plural
    "Account": ("001", "Accounts"),
    "Contact": ("003", "Contacts"),
    "Product2": ("01t", "Products"),
    "Pricebook2": ("01s", "Price Books"),
    "PricebookEntry": ("01u", "Price Book Entries"),
    "Opportunity": ("006", "Opportunities"),
    "OpportunityLineItem": ("00k", "Opportunity Products"),
    "Order": ("801", "Orders"),
    "OrderItem": ("802", "Order Products"),
    "OpportunityStage": ("01J", "Opportunity Stages"),
    "CurrencyType": ("01L", "Currency Types"),
    "DatedConversionRate": ("04w", "Dated Conversion Rates"),
    "User": ("005", "Users"),
    "Organization": ("00D", "Organizations"),
}
# What clients may write; these are records of the store, the others are the org's own.
STORED = (
    "Account", "Contact", "Product2", "Pricebook2", "PricebookEntry", "Opportunity", "OpportunityLineItem",
    "Order", "OrderItem", "CurrencyType", "DatedConversionRate",
)  # fmt: skip
NEVER_DELETED = frozenset({"CurrencyType"})  # doc
CUSTOM = "CUSTOM"  # the section of objects.txt with what every custom object has
NUMBERS = frozenset({"double", "currency", "percent", "int"})
TEXTS = frozenset({"string", "textarea", "phone", "url", "email", "picklist"})


@dataclass(frozen=True)
class Relation:
    """Children of an object: reached by which reference, named how in queries, deleted with it or not."""

    child: str
    field: str
    name: str
    cascades: bool


RELATIONS: dict[str, tuple[Relation, ...]] = {
    "Account": (
        Relation("Account", "ParentId", "ChildAccounts", False),
        Relation("Contact", "AccountId", "Contacts", True),
        Relation("Opportunity", "AccountId", "Opportunities", True),
        Relation("Order", "AccountId", "Orders", False),
    ),
    "Opportunity": (
        Relation("OpportunityLineItem", "OpportunityId", "OpportunityLineItems", True),
        Relation("Order", "OpportunityId", "Orders", False),
    ),
    "Order": (
        Relation("OrderItem", "OrderId", "OrderItems", True),
        Relation("Order", "OriginalOrderId", "Orders", False),
    ),
    "OrderItem": (Relation("OrderItem", "OriginalOrderItemId", "ChildOrderItems", False),),
    "Product2": (
        Relation("PricebookEntry", "Product2Id", "PricebookEntries", True),
        Relation("OpportunityLineItem", "Product2Id", "OpportunityLineItems", False),
        Relation("OrderItem", "Product2Id", "OrderItems", False),
    ),
    "Pricebook2": (
        Relation("PricebookEntry", "Pricebook2Id", "PricebookEntries", True),
        Relation("Opportunity", "Pricebook2Id", "Opportunities", False),
        Relation("Order", "Pricebook2Id", "Orders", False),
    ),
    "PricebookEntry": (
        Relation("OpportunityLineItem", "PricebookEntryId", "OpportunityLineItems", False),
        Relation("OrderItem", "PricebookEntryId", "OrderItems", False),
    ),
}


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
    multi: bool = False  # only where the org has several currencies
    lists: bool = False  # only where it has lists of states and countries
    auto_number: bool = False

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
    label: str = ""
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

    def __init__(
        self,
        store: Store,
        several_currencies: Callable[[], bool] = lambda: False,
        dated_rates: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._several_currencies, self._dated_rates = store, several_currencies, dated_rates
        self._shipped = read_table(TABLE.read_text(encoding="utf-8"))
        self._built: tuple[Any, ...] | None = None
        self._objects: dict[tuple[str, bool], SObject] = {}
        self._relations: dict[str, tuple[Relation, ...]] = {}

    def object(self, name: str, *, restricted: bool = False) -> SObject | None:
        """An object by its name in any case. restricted: as the integration user may see and write it."""
        self._refresh()
        return self._objects.get((name.lower(), restricted))

    def names(self) -> list[str]:
        several = self._several_currencies()
        there = {"CurrencyType": several, "DatedConversionRate": several and self._dated_rates()}
        return [*(name for name in OBJECTS if there.get(name, True)), *self.custom_objects()]

    def custom_objects(self) -> dict[str, dict[str, str]]:
        """By name: {"prefix", "label", "plural"}, in the order in which they were made."""
        return custom_objects(self._store)

    def stored(self) -> tuple[str, ...]:
        """The objects whose records are kept in the store."""
        return (*STORED, *self.custom_objects())

    def is_stored(self, name: str) -> bool:
        return name in STORED or name in self.custom_objects()

    def kind_of(self, record_id: str) -> str | None:
        """The object that an id belongs to, by its prefix."""
        for name, (prefix, _) in OBJECTS.items():
            if record_id.startswith(prefix):
                return name
        known = self.custom_objects().items()
        return next((name for name, made in known if record_id.startswith(made["prefix"])), None)

    def prefix(self, name: str) -> str:
        return OBJECTS[name][0] if name in OBJECTS else self.custom_objects()[name]["prefix"]

    def relations(self, name: str) -> tuple[Relation, ...]:
        """The children of an object, those by custom lookups too."""
        self._refresh()
        return (*RELATIONS.get(name, ()), *self._relations.get(name, ()))

    def changes(self) -> dict[str, Any]:
        return self._store.kept("schema", "changes") or {}

    def address_lists(self) -> bool:
        """Whether states and countries come from lists (a setting of the org)."""
        return bool((self._store.kept("schema", "setup") or {}).get("address_lists"))

    def add_object(self, name: str, label: str, plural: str) -> None:
        """Make a custom object, or give another label to the one of that name."""
        if not name.endswith("__c") or name in OBJECTS:
            raise WrongField(f"the name of a custom object ends in __c: {name!r}")
        known = self.custom_objects()
        prefix = known[name]["prefix"] if name in known else f"a{len(known):02d}"
        made = {"prefix": prefix, "label": label, "plural": plural}
        self._store.keep("schema", "objects", {**known, name: made})

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
        there = (*OBJECTS, *self.custom_objects())
        if object_name not in there:
            raise WrongField(f"no object {object_name!r}; there are: {', '.join(there)}")
        known = {f.name for f in self._own(object_name)} | set(
            self.changes().get(object_name, {}).get("custom", {})
        )
        if (group == "rights" or value is None) and name not in known:
            raise WrongField(f"{object_name} has no field {name!r}")
        changes = self.changes()
        changes.setdefault(object_name, {}).setdefault(group, {})[name] = value
        self._store.keep("schema", "changes", changes)

    def _refresh(self) -> None:
        kept = self._store.all_kept("schema")
        lists = bool(kept.get("setup", {}).get("address_lists"))
        several, dated = self._several_currencies(), self._dated_rates()
        wanted = kept.get("changes", {}), kept.get("objects", {}), several, dated, lists
        if wanted == self._built:
            return
        self._built = wanted
        self._objects = {}
        for name in self.names():
            changes = wanted[0].get(name, {})
            for restricted in (False, True):
                self._objects[name.lower(), restricted] = self._build(name, changes, restricted)
        self._relations = self._by_lookups()

    def _own(self, name: str) -> list[Field]:
        """The shipped fields of an object."""
        return self._shipped[name if name in OBJECTS else CUSTOM]

    def _by_lookups(self) -> dict[str, tuple[Relation, ...]]:
        """Children by custom lookups: Xero_Invoices__r; a second lookup's name begins with its field's."""
        found: dict[str, tuple[Relation, ...]] = {}
        for (_, restricted), sobject in self._objects.items():
            for f in () if restricted else sobject.fields.values():
                if f.custom and f.reference:
                    others = found.get(f.reference, ())
                    name = f"{sobject.plural.replace(' ', '_')}__r"
                    if name in {one.name for one in others}:
                        name = f"{f.name.removesuffix('__c')}_{name}"
                    found[f.reference] = (*others, Relation(sobject.name, f.name, name, False))
        return found

    def _build(self, name: str, changes: dict[str, Any], restricted: bool) -> SObject:
        custom: dict[str, Any] = changes.get("custom", {})
        several, lists = self._several_currencies(), self.address_lists()
        here = [f for f in self._own(name) if (several or not f.multi) and (lists or not f.lists)]
        fields = [f for f in here if f.name not in custom]
        fields += [_custom_field(options) for options in custom.values() if options is not None]
        if restricted:
            rights = changes.get("rights", {})
            fields = [seen for f in fields if (seen := _secured(f, rights.get(f.name, "visible")))]
        made = self.custom_objects().get(name)
        prefix, plural = (made["prefix"], made["plural"]) if made else OBJECTS[name]
        allowed = dict.fromkeys(("createable", "updateable", "deletable"), self.is_stored(name))
        allowed["deletable"] &= name not in NEVER_DELETED
        allowed |= changes.get("object", {}) if restricted else {}
        label = made["label"] if made else name
        return SObject(name, prefix, plural, {f.name.lower(): f for f in fields}, label, **allowed)


def custom_objects(store: Store) -> dict[str, dict[str, str]]:
    return store.kept("schema", "objects") or {}


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
        multi="multi" in options,
        lists="lists" in options,
        auto_number="auto" in options,
    )

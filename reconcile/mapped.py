"""What a mapping says, as frozen records: units, sides, entities, and the rules between them."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import polars as pl

from reconcile.bodies import SLOTS, top
from reconcile.kinds import KINDS, Lookup
from reconcile.model import SIDES
from reconcile.rules import compile_rule, rule_columns

OTHER: Final = {"salesforce": "xero", "xero": "salesforce"}
# What each side tells of a record besides its units; rules and projections may use it.
ATTRIBUTES: Final = {
    "salesforce": ("status", "reference"),
    "xero": ("status", "reference", "is_customer", "is_supplier"),
}
PROJECTED: Final = {"is_customer": "boolean", "is_supplier": "boolean", "status": "text"}

# What must be read of every record, whatever the mapping names.
SYSTEM_FIELDS: Final = {
    "salesforce": ("Id", "IsDeleted", "MasterRecordId", "SystemModstamp", "LastModifiedById"),
    "xero": (
        "ContactID",
        "ContactStatus",
        "MergedToContactID",
        "UpdatedDateUTC",
        "IsCustomer",
        "IsSupplier",
        "FirstName",
        "LastName",
    ),
}
SHARED_EMAIL: Final = "EmailAddress"  # Xero has one for the party and its primary person
PARENT: Final = {("person", "salesforce"): "AccountId"}


@dataclass(frozen=True)
class Rule:
    """An expression of the mapping, with the place where it stands."""

    sql: str
    at: str

    @cached_property
    def expression(self) -> pl.Expr:
        return compile_rule(self.sql, at=self.at)

    @cached_property
    def columns(self) -> frozenset[str]:
        return rule_columns(self.sql, at=self.at)


@dataclass(frozen=True)
class Unit:
    """Fields of both sides that hold one value and merge whole."""

    name: str
    kind: str
    salesforce: tuple[str, ...]  # fields, in the order of the kind's parts
    xero: tuple[str, ...]  # paths as the mapping names them: ("Phones.DEFAULT",), ("FirstName", "LastName")
    flows: str
    owner: str | None = None
    conflict: str = "ask"
    drift: str = "report"
    fill: bool = True
    at: str = ""
    lookup: Lookup | None = None

    def receives(self, side: str) -> bool:
        return self.flows in ("both", f"to_{side}")

    def paths(self, side: str) -> tuple[str, ...]:
        return self.salesforce if side == "salesforce" else self.xero

    def parts(self, side: str) -> dict[str, str]:
        """Part of the kind -> path of the field that holds it."""
        return dict(parts_of(self.kind, side, self.paths(side)))

    def leaves(self, side: str) -> tuple[str, ...]:
        return tuple(self.parts(side).values())

    @property
    def line(self) -> int:
        return int(self.at.partition(": ")[0].rpartition(":")[2] or 0)

    @property
    def winner(self) -> str | None:
        """The side that wins a conflict by policy; null: a person is asked."""
        if self.conflict == "owner":
            return self.owner
        return self.conflict if self.conflict in SIDES else None


@dataclass(frozen=True)
class Projection:
    """A field of Salesforce that shows what Xero knows; it is set, never merged."""

    name: str
    salesforce: str
    from_: str
    at: str = ""

    @property
    def kind(self) -> str:
        return PROJECTED[self.from_]

    @property
    def unit(self) -> Unit:
        fields = ((self.salesforce,), (self.from_,))
        return Unit(
            self.name, self.kind, *fields, flows="to_salesforce", owner="xero", drift="heal", at=self.at
        )


@dataclass(frozen=True)
class SideMapping:
    """What of one system belongs to an entity."""

    object: str
    scope: Rule | None = None
    reference: str | None = None  # the field that holds the other side's id
    defaults: MappingOf[str, Any] = field(default_factory=dict)  # of new records: field -> JSON value
    at: str = ""


@dataclass(frozen=True)
class EntityMapping:
    """How one entity is kept in agreement."""

    entity: str
    salesforce: SideMapping
    xero: SideMapping
    create: MappingOf[str, str]
    create_when: MappingOf[str, Rule | None]  # over the record on the other side, from which one is made here
    delete: str
    units: tuple[Unit, ...]
    projections: tuple[Projection, ...]
    at: str = ""

    def side(self, side: str) -> SideMapping:
        return self.salesforce if side == "salesforce" else self.xero

    def unit(self, name: str) -> Unit:
        """Give a unit, a projection as a unit, or "reference": the fields that hold the other side's id."""
        return self._by_name[name]

    def has_unit(self, name: str) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Unit]:
        named = {unit.name: unit for unit in self.units}
        named |= {projection.name: projection.unit for projection in self.projections}
        fields = [(side.reference,) if side.reference else () for side in (self.salesforce, self.xero)]
        return named | {"reference": Unit("reference", "text", *fields, flows="both", at=self.at)}

    def rules(self, side: str) -> tuple[Rule, ...]:
        """The rules that look at a record of this side."""
        return tuple(rule for rule in (self.side(side).scope, self.create_when[OTHER[side]]) if rule)

    def fields(self, side: str) -> frozenset[str]:
        """Every field that must be read of this side's object."""
        names = set(SYSTEM_FIELDS[side]) | {path for unit in self.units for path in unit.leaves(side)}
        names |= {name for rule in self.rules(side) for name in rule.columns if is_field(name)}
        names |= {projection.salesforce for projection in self.projections if side == "salesforce"}
        names |= {PARENT[key] for key in [(self.entity, side)] if key in PARENT}
        return frozenset(names | {name for name in [self.side(side).reference] if name})


@dataclass(frozen=True)
class Mapping:
    """A whole mapping. `hash` changes with its meaning only, not with comments, order or `extends`."""

    name: str
    hash: str
    entities: MappingOf[str, EntityMapping]

    def fields(self, side: str) -> dict[str, frozenset[str]]:
        """Object -> every field that must be read for that side."""
        wanted: dict[str, frozenset[str]] = {}
        for entity in self.entities.values():
            name = entity.side(side).object
            wanted[name] = wanted.get(name, frozenset()) | entity.fields(side)
        return wanted


def is_field(name: str) -> bool:
    """Tell a vendor's field (Type, Region__c) from a unit or attribute (phone), by its capitals."""
    return name != name.lower() or "__" in name


def parts_of(kind: str, side: str, paths: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    names = KINDS[kind].parts[side]
    if side == "xero" and len(paths) == 1 and paths[0].count(".") == 1 and top(paths[0]) in SLOTS:
        fields = SLOT_FIELDS[top(paths[0])]
        return [(name, f"{paths[0]}.{fields[name]}") for name in names]
    return zip(names, paths, strict=False)


SLOT_FIELDS: Final = {
    "Phones": {"country": "PhoneCountryCode", "area": "PhoneAreaCode", "number": "PhoneNumber"},
    "Addresses": {
        **{f"line{number}": f"AddressLine{number}" for number in range(1, 5)},
        "city": "City",
        "region": "Region",
        "postal_code": "PostalCode",
        "country": "Country",
        "attention_to": "AttentionTo",
    },
}

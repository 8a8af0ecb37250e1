"""Reads a mapping: which fields of both systems are one unit, how they compare, and who may change what.

The language is described in docs/mapping.md. A mapping is read in four steps: YAML with its places
(`marked`), `extends` merged, each key checked and made into a frozen record (`mapped`), and what belongs
together checked as a whole. `check_mapping` (`schemas`) holds the result against both systems.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from typing import Any, Final

from reconcile.bodies import SLOT_NAMES, SLOTS, dumps, top
from reconcile.errors import WrongMapping
from reconcile.kinds import KINDS, Lookup
from reconcile.mapped import (
    ATTRIBUTES,
    OTHER,
    PROJECTED,
    EntityMapping,
    Mapping,
    Projection,
    Rule,
    SideMapping,
    Unit,
    is_field,
)
from reconcile.marked import Marked, describe, read_yaml
from reconcile.model import ENTITIES, FLOWS, SIDES
from reconcile.schemas import check_mapping

CREATE: Final = ("never", "on_demand", "ask", "always")
DELETE: Final = ("never",)
CONFLICT: Final = ("ask", "owner", "salesforce", "xero")
DRIFT: Final = ("report", "heal", "ask", "accept")
ENTITY_KEYS: Final = ("salesforce", "xero", "create", "delete", "units", "projections")
SIDE_KEYS: Final = ("object", "scope", "reference", "defaults")
CREATE_KEYS: Final = ("policy", "when")
UNIT_KEYS: Final = ("salesforce", "xero", "as", "flows", "owner", "conflict", "drift", "fill", "lookup")
PROJECTION_KEYS: Final = ("salesforce", "from")
ADDRESS_KEYS: Final = ("street", "city", "region", "postal_code", "country")


def load_mapping(text: str, *, name: str, library: MappingOf[str, str]) -> Mapping:
    """Read a mapping.

    Takes its text, the name that errors show, and the texts that `extends` may name.
    Raises FixMapping, WrongMapping or UnknownField; each names file and line.
    """
    tree = _extended(read_yaml(text, name=name), library, ())
    _known_keys(tree, "", ("entities",))
    entities = tree.value.get("entities") if isinstance(tree.value, dict) else None
    if entities is None or not isinstance(entities.value, dict) or not entities.value:
        at = entities.at if entities else f"{name}:1"
        raise WrongMapping(
            at=f"{at}: entities", found="no entity", expected=f"one or more of {_words(ENTITIES)}"
        )
    _known_keys(entities, "entities", ENTITIES)
    read = {entity: _entity(entity, marked) for entity, marked in entities.items()}
    return Mapping(name, _hash(read), {entity: read[entity] for entity in ENTITIES if entity in read})


def _extended(tree: Marked, library: MappingOf[str, str], seen: tuple[str, ...]) -> Marked:
    """Lay a mapping over those that it extends; the last one named lies on top of the others."""
    own = dict(tree.items())
    extends = own.pop("extends", None)
    base: Marked | None = None
    for parent in _texts(extends, "extends") if extends is not None else ():
        name = str(parent.value)
        if name in seen:
            raise WrongMapping(at=parent.at, found=f"{name!r}, which extends itself", expected="no circle")
        if name not in library:
            raise _not_one_of(f"{parent.at}: extends", name, tuple(sorted(library)))
        text = _extended(read_yaml(library[name], name=f"{name}.yaml"), library, (*seen, name))
        base = text if base is None else _laid_over(base, text, ())
    child = Marked(own, tree.at)
    return child if base is None else _laid_over(base, child, ())


# Where a child's value replaces the parent's whole, though both have keys: a table is never half of two.
WHOLE: Final = re.compile(
    r"entities\.\w+\.(units\.\w+|projections\.\w+|create|(salesforce|xero))\.(?!defaults$)\w+"
)


def _laid_over(base: Marked, child: Marked, path: tuple[str, ...]) -> Marked:
    if not (isinstance(base.value, dict) and isinstance(child.value, dict)) or WHOLE.fullmatch(
        ".".join(path)
    ):
        return child
    merged = dict(base.value)
    for key, marked in child.value.items():
        if marked.value is None:
            if key not in merged and path[-1:] in (("units",), ("projections",), ("entities",)):
                raise _not_one_of(_at(marked, (*path, key)), key, tuple(merged), what="nothing to remove:")
            merged.pop(key, None)
            continue
        before = merged.get(key)
        merged[key] = marked if before is None else _laid_over(before, marked, (*path, key))
    return Marked(merged, child.at, child.quoted, child.key_at)


def _entity(name: str, tree: Marked) -> EntityMapping:
    path = f"entities.{name}"
    keys = _known_keys(tree, path, ENTITY_KEYS)
    sides = {side: _side(side, _needed(keys, side, tree, path), f"{path}.{side}") for side in SIDES}
    create, when = _create(keys.get("create"), f"{path}.create")
    units = tuple(_unit(unit, marked, f"{path}.units.{unit}") for unit, marked in _named(keys, "units", path))
    projections = tuple(
        _projection(projection, marked, f"{path}.projections.{projection}")
        for projection, marked in _named(keys, "projections", path)
    )
    entity = EntityMapping(
        name,
        **sides,
        create=create,
        create_when=when,
        delete=_choice(keys.get("delete"), f"{path}.delete", DELETE, "never"),
        units=units,
        projections=projections,
        at=tree.key_at or tree.at,
    )
    _check_names(entity)
    _check_rules(entity)
    _check_writers(entity)
    return entity


def _side(side: str, tree: Marked, path: str) -> SideMapping:
    keys = _known_keys(tree, path, SIDE_KEYS)
    reference = keys.get("reference")
    return SideMapping(
        object=_text(_needed(keys, "object", tree, path), f"{path}.object"),
        scope=_rule(keys.get("scope"), f"{path}.scope"),
        reference=None if reference is None else _field(reference, f"{path}.reference"),
        defaults=_defaults(keys.get("defaults"), f"{path}.defaults"),
        at=tree.key_at or tree.at,
    )


def _create(tree: Marked | None, path: str) -> tuple[dict[str, str], dict[str, Rule | None]]:
    policies, rules = dict.fromkeys(SIDES, "never"), dict.fromkeys(SIDES)
    for side, marked in (_known_keys(tree, path, SIDES) if tree is not None else {}).items():
        here = f"{path}.{side}"
        if isinstance(marked.value, dict):
            keys = _known_keys(marked, here, CREATE_KEYS)
            policies[side] = _choice(_needed(keys, "policy", marked, here), f"{here}.policy", CREATE, None)
            rules[side] = _rule(keys.get("when"), f"{here}.when")
        else:
            policies[side] = _choice(marked, here, CREATE, "never")
    return policies, rules


def _unit(name: str, tree: Marked, path: str) -> Unit:
    keys = _known_keys(tree, path, UNIT_KEYS)
    kind = _choice(keys.get("as"), f"{path}.as", tuple(KINDS), "text")
    flows = _choice(_needed(keys, "flows", tree, path), f"{path}.flows", FLOWS, None)
    source = {"to_xero": "salesforce", "to_salesforce": "xero"}.get(flows)
    owner = keys.get("owner")
    unit = Unit(
        name=name,
        kind=kind,
        salesforce=_salesforce_fields(kind, _needed(keys, "salesforce", tree, path), f"{path}.salesforce"),
        xero=_xero_paths(kind, _needed(keys, "xero", tree, path), f"{path}.xero"),
        flows=flows,
        owner=source if owner is None else _choice(owner, f"{path}.owner", SIDES, None),
        conflict=_choice(keys.get("conflict"), f"{path}.conflict", CONFLICT, "ask"),
        drift=_choice(keys.get("drift"), f"{path}.drift", DRIFT, "report"),
        fill=_choice(keys.get("fill"), f"{path}.fill", ("true", "false"), "true") == "true",
        at=f"{tree.key_at or tree.at}: {path}",
        lookup=_lookup(keys.get("lookup"), kind, flows, path, tree),
    )
    _check_unit(unit, keys)
    return unit


def _projection(name: str, tree: Marked, path: str) -> Projection:
    keys = _known_keys(tree, path, PROJECTION_KEYS)
    return Projection(
        name=name,
        salesforce=_field(_needed(keys, "salesforce", tree, path), f"{path}.salesforce"),
        from_=_choice(_needed(keys, "from", tree, path), f"{path}.from", tuple(PROJECTED), None),
        at=f"{tree.key_at or tree.at}: {path}",
    )


# --- Fields ------------------------------------------------------------------------------------------


def _salesforce_fields(kind: str, tree: Marked, path: str) -> tuple[str, ...]:
    if kind == "address":
        return _address_fields(tree, path)
    wanted = KINDS[kind].parts["salesforce"]
    fields = tuple(_field(item, path) for item in _texts(tree, path))
    if len(fields) != len(wanted):
        raise WrongMapping(
            at=_at(tree, path),
            found=_count(fields, "field"),
            expected=f"{_fields_of(wanted)} for `as: {kind}`",
        )
    return fields


def _address_fields(tree: Marked, path: str) -> tuple[str, ...]:
    """BillingAddress stands for its five fields; an address of own fields names each of them."""
    if isinstance(tree.value, dict):
        keys = _known_keys(tree, path, ADDRESS_KEYS)
        return tuple(_field(_needed(keys, key, tree, path), f"{path}.{key}") for key in ADDRESS_KEYS)
    name = _field(tree, path)
    if name.endswith("__c"):  # a custom field of type address
        parts = ("Street", "City", "StateCode", "PostalCode", "CountryCode")
        return tuple(f"{name[:-3]}__{part}__s" for part in parts)
    if not name.endswith("Address"):
        raise WrongMapping(
            at=_at(tree, path),
            found=repr(name),
            expected=f"an address, as BillingAddress, or a field for each of {_words(ADDRESS_KEYS)}",
        )
    return tuple(
        name.removesuffix("Address") + part for part in ("Street", "City", "State", "PostalCode", "Country")
    )


def _xero_paths(kind: str, tree: Marked, path: str) -> tuple[str, ...]:
    texts = _texts(tree, path)
    paths = tuple(_text(item, path) for item in texts)
    expected = {"phone": "Phones", "address": "Addresses"}.get(kind)
    slots = [p for p in paths if top(p) in SLOTS]
    if expected or slots:
        _check_slot(kind, paths, expected, _at(tree, path))
        return paths
    for item, name in zip(texts, paths, strict=True):
        if not re.fullmatch(r"[A-Z][A-Za-z]*(\.[A-Z][A-Za-z]*){0,3}", name):
            raise WrongMapping(
                at=_at(item, path),
                found=repr(name),
                expected="a field of Xero, as EmailAddress or Phones.DEFAULT",
            )
    wanted = KINDS[kind].parts["xero"]
    if len(paths) != len(wanted):
        raise WrongMapping(
            at=_at(tree, path),
            found=_count(paths, "field"),
            expected=f"{_fields_of(wanted)} for `as: {kind}`",
        )
    return paths


def _check_slot(kind: str, paths: tuple[str, ...], expected: str | None, at: str) -> None:
    group = expected or top(paths[0])
    choices = tuple(f"{group}.{slot}" for slot in SLOT_NAMES[group])
    if expected is None:
        needs = {"Phones": "phone", "Addresses": "address"}[group]
        raise WrongMapping(at=at, found=f"{paths[0]!r} with `as: {kind}`", expected=f"`as: {needs}`")
    if len(paths) != 1 or paths[0] not in choices:
        raise _not_one_of(at, ", ".join(paths), choices)


def _lookup(tree: Marked | None, kind: str, flows: str, path: str, unit: Marked) -> Lookup | None:
    """Read a table of Salesforce's values and Xero's codes; of a list all are read, the first is written."""
    path = f"{path}.lookup"
    if kind != "lookup":
        if tree is not None:
            raise WrongMapping(
                at=_at(tree, path), found=f"a table with `as: {kind}`", expected="`as: lookup`"
            )
        return None
    if tree is None or not isinstance(tree.value, dict) or not tree.value:
        raise WrongMapping(
            at=_at(tree or unit, path),
            found="no table" if tree is None else describe(tree),
            expected="Salesforce: Xero, a line each",
        )
    pairs = {sf: tuple(_text(item, path) for item in _texts(marked, path)) for sf, marked in tree.items()}
    owners: dict[str, str] = {}
    for sf, codes in pairs.items():
        for code in codes:
            if code in owners and flows != "to_xero":
                raise WrongMapping(
                    at=_at(tree.value[sf], path),
                    found=f"{code!r} for {owners[code]!r} and for {sf!r}",
                    expected="one value of Salesforce for each of Xero, because the unit flows to Salesforce "
                    "(or `flows: to_xero`)",
                )
            owners.setdefault(code, sf)
    if flows == "to_xero":  # several values may share a code: the code is what both sides are compared by
        firsts = {sf: codes[0] for sf, codes in pairs.items()}
        to_code = {code: codes[0] for codes in pairs.values() for code in codes}
        return Lookup(
            read={"salesforce": firsts, "xero": to_code},
            write={
                "xero": {c: c for c in firsts.values()},
                "salesforce": {codes[0]: owners[codes[0]] for codes in pairs.values()},
            },
        )
    return Lookup(
        read={"salesforce": {sf: sf for sf in pairs}, "xero": owners},
        write={"salesforce": {sf: sf for sf in pairs}, "xero": {sf: codes[0] for sf, codes in pairs.items()}},
    )


# --- What belongs together ---------------------------------------------------------------------------


def _check_unit(unit: Unit, keys: MappingOf[str, Marked]) -> None:
    kind = KINDS[unit.kind]
    for side in SIDES:
        if unit.receives(side) and side not in kind.writes:
            raise WrongMapping(
                at=_at(keys["flows"], f"{_path(unit)}.flows"),
                found=f"{unit.flows!r} with `as: {unit.kind}`, which can't be written to {side.title()}",
                expected=repr(f"to_{OTHER[side]}"),
            )
    if unit.receives("xero") and any("." in path and top(path) not in SLOTS for path in unit.xero):
        raise WrongMapping(
            at=_at(keys["flows"], f"{_path(unit)}.flows"),
            found=f"{unit.flows!r} into {unit.xero[0]!r}, a field inside another",
            expected="'to_salesforce': only whole fields and slots of Xero are written",
        )
    for key, value in (("conflict", "owner"), ("drift", "heal")):
        if getattr(unit, key) == value and unit.owner is None:
            raise WrongMapping(
                at=_at(keys[key], f"{_path(unit)}.{key}"),
                found=f"{value!r} without an owner",
                expected="`owner: salesforce` or `owner: xero` beside it",
            )


def _check_names(entity: EntityMapping) -> None:
    units = {unit.name: unit.at for unit in entity.units}
    reserved = {"reference", "record", *ATTRIBUTES["xero"]}
    for named in (*entity.units, *entity.projections):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", named.name) or "__" in named.name:
            raise WrongMapping(
                at=named.at, found=repr(named.name), expected="a name in small letters, as tax_number"
            )
        if isinstance(named, Projection) and named.name in units:
            raise WrongMapping(at=named.at, found="the name of a unit", expected="a name of its own")
        if isinstance(named, Unit) and named.name in reserved:
            raise WrongMapping(at=named.at, found=f"{named.name!r}, which is taken", expected="another name")


def _check_rules(entity: EntityMapping) -> None:
    for side in SIDES:
        known = (*(unit.name for unit in entity.units), *ATTRIBUTES[side])
        for rule in entity.rules(side):
            _ = rule.expression  # raises where it is not allowed
            for column in sorted(rule.columns):
                if not is_field(column) and column not in known:
                    raise UnknownRuleName(at=rule.at, found=column, known=known, side=side)


class UnknownRuleName(WrongMapping):
    """A rule reads a name that is neither a unit, an attribute nor (with a capital) a field."""

    def __init__(self, *, at: str, found: str, known: tuple[str, ...], side: str) -> None:
        near = difflib.get_close_matches(found, known, n=1)
        camel = "".join(word.title() for word in found.split("_"))
        best = f"{near[0]!r} (the nearest)" if near else f"one of {_words(known)}"
        super().__init__(
            at=at,
            found=f"the name {found!r}",
            expected=f"{best}, or a field of {side.title()} as it is spelled there ({camel})",
        )


def _check_writers(entity: EntityMapping) -> None:
    """No field is written by two: the second would undo the first in every run."""
    for side in SIDES:
        writers: dict[str, str] = {}
        reference = entity.side(side).reference
        if reference:
            writers[reference] = f"{side}.reference"
        projections = [projection.unit for projection in entity.projections]
        for unit in (*entity.units, *projections):
            for path in unit.leaves(side) if unit.receives(side) else ():
                if path in writers:
                    raise WrongMapping(
                        at=unit.at,
                        found=f"{path!r} of {side.title()}, which {writers[path]} writes too",
                        expected="one writer for each field",
                    )
                writers[path] = unit.name


# --- Small readers ------------------------------------------------------------------------------------


def _known_keys(tree: Marked, path: str, known: tuple[str, ...]) -> dict[str, Marked]:
    """Give the keys of a mapping that hold something; refuse one that we don't know."""
    if not isinstance(tree.value, dict):
        raise WrongMapping(at=_at(tree, path), found=describe(tree), expected=f"keys: {_words(known)}")
    for key, marked in tree.value.items():
        if key not in known:
            raise _not_one_of(_at(marked, path), key, known, what="the key")
    return {key: marked for key, marked in tree.value.items() if marked.value is not None}


def _named(keys: MappingOf[str, Marked], key: str, path: str) -> list[tuple[str, Marked]]:
    tree = keys.get(key)
    if tree is None:
        return []
    if not isinstance(tree.value, dict):
        raise WrongMapping(
            at=_at(tree, f"{path}.{key}"), found=describe(tree), expected="names, each with its keys"
        )
    return [(name, marked) for name, marked in tree.items() if marked.value is not None]


def _needed(keys: MappingOf[str, Marked], key: str, tree: Marked, path: str) -> Marked:
    if key not in keys:
        raise WrongMapping(at=_at(tree, path), found=f"no {key!r}", expected=f"the key {key!r}")
    return keys[key]


def _text(tree: Marked, path: str) -> str:
    if not isinstance(tree.value, str) or not tree.value.strip():
        raise WrongMapping(at=_at(tree, path), found=describe(tree), expected="a text")
    return tree.value


def _texts(tree: Marked, path: str) -> tuple[Marked, ...]:
    items = tree.value if isinstance(tree.value, tuple) else (tree,)
    if not items:
        raise WrongMapping(at=_at(tree, path), found="an empty list", expected="one text or more")
    for item in items:
        _text(item, path)
    return items


def _field(tree: Marked, path: str) -> str:
    name = _text(tree, path)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
        raise WrongMapping(
            at=_at(tree, path), found=repr(name), expected="the name of one field, as Billing_Email__c"
        )
    return name


def _choice(tree: Marked | None, path: str, allowed: tuple[str, ...], default: str | None) -> str:
    if tree is None and default is not None:
        return default
    if tree is None or not isinstance(tree.value, str):
        found = describe(tree) if tree else "nothing"
        raise WrongMapping(at=_at(tree, path), found=found, expected=f"one of {_words(allowed)}")
    if tree.value not in allowed:
        raise _not_one_of(_at(tree, path), tree.value, allowed)
    return tree.value


def _rule(tree: Marked | None, path: str) -> Rule | None:
    if tree is None:
        return None
    rule = Rule(_text(tree, path), _at(tree, path))
    _ = rule.expression
    return rule


def _defaults(tree: Marked | None, path: str) -> dict[str, Any]:
    if tree is None:
        return {}
    if not isinstance(tree.value, dict):
        raise WrongMapping(at=_at(tree, path), found=describe(tree), expected="fields and their values")
    return {key: _json(marked, f"{path}.{key}") for key, marked in tree.items() if marked.value is not None}


def _json(tree: Marked, path: str) -> Any:
    """Read a default as JSON would: true, false and plain numbers are such, all else is text."""
    text = _text(tree, path)
    if tree.quoted:
        return text
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9]\d{0,14})", text):  # ids that begin with 0 stay texts
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9]\d{0,9})\.\d{1,5}", text) else text


def _not_one_of(at: str, found: str, allowed: tuple[str, ...], what: str = "") -> WrongMapping:
    near = difflib.get_close_matches(found.lower(), [name.lower() for name in allowed], n=1, cutoff=0.5)
    best = next((name for name in allowed if near and name.lower() == near[0]), None)
    expected = f"{best!r} (the nearest of {_words(allowed)})" if best else f"one of {_words(allowed)}"
    return WrongMapping(at=at, found=f"{what} {found!r}".strip(), expected=expected)


def _at(tree: Marked | None, path: str | tuple[str, ...]) -> str:
    text = path if isinstance(path, str) else ".".join(path)
    place = "" if tree is None else tree.key_at or tree.at
    return f"{place}: {text}" if text else place


def _path(unit: Unit) -> str:
    return unit.at.partition(": ")[2]


def _words(names: Iterable[str]) -> str:
    return ", ".join(names)


def _count(items: tuple[str, ...], noun: str) -> str:
    return f"{len(items)} {noun}{'s' if len(items) != 1 else ''}"


def _fields_of(parts: tuple[str, ...]) -> str:
    return "one field" if len(parts) == 1 else f"{len(parts)} fields ({_words(parts)})"


def _hash(entities: MappingOf[str, EntityMapping]) -> str:
    return hashlib.sha256(
        dumps({name: _plain(entity) for name, entity in entities.items()}).encode()
    ).hexdigest()


def _plain(entity: EntityMapping) -> dict[str, Any]:
    """The meaning of an entity, without the places where it was written."""

    def side(mapped: SideMapping) -> dict[str, Any]:
        scope = mapped.scope.sql if mapped.scope else None
        return {
            "object": mapped.object,
            "scope": scope,
            "reference": mapped.reference,
            "defaults": dict(mapped.defaults),
        }

    def unit(one: Unit) -> dict[str, Any]:
        table = one.lookup and {"read": one.lookup.read, "write": one.lookup.write}
        keys = ("kind", "salesforce", "xero", "flows", "owner", "conflict", "drift", "fill")
        return {**{key: getattr(one, key) for key in keys}, "lookup": table}

    return {
        "salesforce": side(entity.salesforce),
        "xero": side(entity.xero),
        "create": dict(entity.create),
        "create_when": {name: rule.sql if rule else None for name, rule in entity.create_when.items()},
        "delete": entity.delete,
        "units": {one.name: unit(one) for one in entity.units},
        "projections": {one.name: [one.salesforce, one.from_] for one in entity.projections},
    }


__all__ = [
    "EntityMapping",
    "Mapping",
    "Projection",
    "Rule",
    "SideMapping",
    "Unit",
    "check_mapping",
    "load_mapping",
]

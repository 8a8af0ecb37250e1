"""Reads a mapping: which fields of both systems are one unit, how they compare, and who may change what.

The language is described in docs/mapping.md. A mapping is read in four steps: YAML with its places
(`marked`), `extends` merged, each key checked and made into a frozen record (`mapped`), and what belongs
together checked as a whole. `check_mapping` (`schemas`) holds the result against both systems.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping as MappingOf
from dataclasses import asdict
from typing import Any, Final

from reconcile import reading
from reconcile.bodies import SLOT_NAMES, SLOTS, dumps, top
from reconcile.errors import WrongMapping
from reconcile.kinds import KINDS, Lookup
from reconcile.mapped import (
    ATTRIBUTES,
    GROUPS,
    OF_ITEMS,
    OTHER,
    OURS,
    PROJECTED,
    WHOLE_OF,
    BillMapping,
    DocumentMapping,
    EntityMapping,
    Instalments,
    Mapping,
    Projection,
    Rule,
    SideMapping,
    Together,
    Unit,
    is_field,
)
from reconcile.mapping_bills import plain_bill
from reconcile.mapping_codes import plain_codes, plain_currencies
from reconcile.mapping_documents import read_bill, read_documents
from reconcile.mapping_groups import plain_groups, read_groups
from reconcile.mapping_payments import plain_payments
from reconcile.marked import Marked, describe, read_yaml
from reconcile.model import FLOWS, MERGED, SIDES
from reconcile.schemas import check_mapping

CREATE: Final = ("never", "on_demand", "ask", "always")
DELETE: Final = ("never",)
CONFLICT: Final = ("ask", "owner", "salesforce", "xero")
DRIFT: Final = ("report", "heal", "ask", "accept")
ENTITY_KEYS: Final = ("salesforce", "xero", "create", "delete", "units", "projections", "groups")
SIDE_KEYS: Final = ("object", "scope", "reference", "price_book", "defaults")
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
    reading.known_keys(tree, "", ("entities", "documents"))
    entities = tree.value.get("entities") if isinstance(tree.value, dict) else None
    if entities is None or not isinstance(entities.value, dict) or not entities.value:
        at = entities.at if entities else f"{name}:1"
        raise WrongMapping(
            at=f"{at}: entities", found="no entity", expected=f"one or more of {reading.words(MERGED)}"
        )
    reading.known_keys(entities, "entities", MERGED)
    read = {entity: _entity(entity, marked) for entity, marked in entities.items()}
    section = dict(tree.items()).get("documents")
    section = section if section is not None and section.value is not None else Marked({}, name)
    documents, bill = read_documents(section), read_bill(section)
    _check_wholes(read)
    _check_documents(documents, bill, read)
    in_order = {entity: read[entity] for entity in MERGED if entity in read}
    return Mapping(name, _hash(read, documents, bill), in_order, documents, bill)


def _check_wholes(entities: MappingOf[str, EntityMapping]) -> None:
    # A person may stand alone: what has no party is only told.
    if "price" in entities and WHOLE_OF["price"] not in entities:
        raise WrongMapping(
            at=entities["price"].at,
            found="a price, and no product",
            expected="the entity `product` beside it",
        )


def _check_documents(
    documents: MappingOf[str, DocumentMapping],
    bill: BillMapping | None,
    entities: MappingOf[str, EntityMapping],
) -> None:
    if bill is not None and "party" not in entities:
        raise WrongMapping(
            at=bill.at,
            found="bills, and no entity 'party'",
            expected="a party: a bill is from a contact",
        )
    for document in documents.values():
        party = entities.get("party")
        if document.cut_over is not None and party is None:
            raise WrongMapping(
                at=document.at,
                found="invoices, and no entity 'party'",
                expected="a party: an invoice is made out to a contact",
            )
        product = entities.get("product")
        makes_items = any(one.items == "on_demand" for one in document.sources)
        if makes_items and (product is None or product.create["xero"] == "never"):
            raise WrongMapping(
                at=document.at,
                found="`items: on_demand`, and no product that may be made in Xero",
                expected="`extends: [default, products]`, and create.xero of the product: on_demand",
            )


def _extended(tree: Marked, library: MappingOf[str, str], seen: tuple[str, ...]) -> Marked:
    """Lay a mapping over those that it extends; the last one named lies on top of the others."""
    own = dict(tree.items())
    extends = own.pop("extends", None)
    base: Marked | None = None
    for parent in reading.texts(extends, "extends") if extends is not None else ():
        name = str(parent.value)
        if name in seen:
            raise WrongMapping(at=parent.at, found=f"{name!r}, which extends itself", expected="no circle")
        if name not in library:
            raise reading.not_one_of(f"{parent.at}: extends", name, tuple(sorted(library)))
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
            if key not in merged and path[-1:] in (
                ("units",),
                ("projections",),
                ("entities",),
                ("documents",),
            ):
                raise reading.not_one_of(
                    reading.place(marked, (*path, key)), key, tuple(merged), what="nothing to remove:"
                )
            merged.pop(key, None)
            continue
        before = merged.get(key)
        merged[key] = marked if before is None else _laid_over(before, marked, (*path, key))
    return Marked(merged, child.at, child.quoted, child.key_at)


def _entity(name: str, tree: Marked) -> EntityMapping:
    path = f"entities.{name}"
    keys = reading.known_keys(tree, path, ENTITY_KEYS)
    sides = {side: _side(side, reading.needed(keys, side, tree, path), f"{path}.{side}") for side in SIDES}
    create, when = _create(keys.get("create"), f"{path}.create")
    units = tuple(
        _unit(unit, marked, f"{path}.units.{unit}") for unit, marked in reading.named(keys, "units", path)
    )
    projections = tuple(
        _projection(projection, marked, f"{path}.projections.{projection}")
        for projection, marked in reading.named(keys, "projections", path)
    )
    entity = EntityMapping(
        name,
        **sides,
        create=create,
        create_when=when,
        delete=reading.choice(keys.get("delete"), f"{path}.delete", DELETE, "never"),
        units=units,
        projections=projections,
        at=tree.key_at or tree.at,
        groups=read_groups(keys.get("groups"), f"{path}.groups", entity=name, projections=projections),
    )
    _check_names(entity)
    _check_form(entity)
    _check_rules(entity)
    _check_writers(entity)
    return entity


def _side(side: str, tree: Marked, path: str) -> SideMapping:
    keys = reading.known_keys(tree, path, SIDE_KEYS)
    reference, book = keys.get("reference"), keys.get("price_book")
    return SideMapping(
        object=reading.text_of(reading.needed(keys, "object", tree, path), f"{path}.object"),
        scope=reading.rule(keys.get("scope"), f"{path}.scope"),
        reference=None if reference is None else reading.field_name(reference, f"{path}.reference"),
        price_book=None if book is None else reading.text_of(book, f"{path}.price_book"),
        defaults=_defaults(keys.get("defaults"), f"{path}.defaults"),
        at=tree.key_at or tree.at,
    )


def _create(tree: Marked | None, path: str) -> tuple[dict[str, str], dict[str, Rule | None]]:
    policies, rules = dict.fromkeys(SIDES, "never"), dict.fromkeys(SIDES)
    for side, marked in (reading.known_keys(tree, path, SIDES) if tree is not None else {}).items():
        here = f"{path}.{side}"
        if isinstance(marked.value, dict):
            keys = reading.known_keys(marked, here, CREATE_KEYS)
            policies[side] = reading.choice(
                reading.needed(keys, "policy", marked, here), f"{here}.policy", CREATE, None
            )
            rules[side] = reading.rule(keys.get("when"), f"{here}.when")
        else:
            policies[side] = reading.choice(marked, here, CREATE, "never")
    return policies, rules


def _unit(name: str, tree: Marked, path: str) -> Unit:
    keys = reading.known_keys(tree, path, UNIT_KEYS)
    kind = reading.choice(keys.get("as"), f"{path}.as", tuple(KINDS), "text")
    flows = reading.choice(reading.needed(keys, "flows", tree, path), f"{path}.flows", FLOWS, None)
    source = {"to_xero": "salesforce", "to_salesforce": "xero"}.get(flows)
    owner = keys.get("owner")
    unit = Unit(
        name=name,
        kind=kind,
        salesforce=_salesforce_fields(
            kind, reading.needed(keys, "salesforce", tree, path), f"{path}.salesforce"
        ),
        xero=_xero_paths(kind, reading.needed(keys, "xero", tree, path), f"{path}.xero"),
        flows=flows,
        owner=source if owner is None else reading.choice(owner, f"{path}.owner", SIDES, None),
        conflict=reading.choice(keys.get("conflict"), f"{path}.conflict", CONFLICT, "ask"),
        drift=reading.choice(keys.get("drift"), f"{path}.drift", DRIFT, "report"),
        fill=reading.choice(keys.get("fill"), f"{path}.fill", ("true", "false"), "true") == "true",
        at=f"{tree.key_at or tree.at}: {path}",
        lookup=_lookup(keys.get("lookup"), kind, flows, path, tree),
    )
    _check_unit(unit, keys)
    return unit


def _projection(name: str, tree: Marked, path: str) -> Projection:
    keys = reading.known_keys(tree, path, PROJECTION_KEYS)
    return Projection(
        name=name,
        salesforce=reading.field_name(reading.needed(keys, "salesforce", tree, path), f"{path}.salesforce"),
        from_=reading.choice(
            reading.needed(keys, "from", tree, path), f"{path}.from", tuple(PROJECTED), None
        ),
        at=f"{tree.key_at or tree.at}: {path}",
    )


# --- Fields ------------------------------------------------------------------------------------------


def _salesforce_fields(kind: str, tree: Marked, path: str) -> tuple[str, ...]:
    if kind == "address":
        return _address_fields(tree, path)
    wanted = KINDS[kind].parts["salesforce"]
    fields = tuple(reading.field_name(item, path) for item in reading.texts(tree, path))
    if len(fields) != len(wanted):
        raise WrongMapping(
            at=reading.place(tree, path),
            found=_count(fields, "field"),
            expected=f"{_fields_of(wanted)} for `as: {kind}`",
        )
    return fields


def _address_fields(tree: Marked, path: str) -> tuple[str, ...]:
    """BillingAddress stands for its five fields; an address of own fields names each of them."""
    if isinstance(tree.value, dict):
        keys = reading.known_keys(tree, path, ADDRESS_KEYS)
        return tuple(
            reading.field_name(reading.needed(keys, key, tree, path), f"{path}.{key}") for key in ADDRESS_KEYS
        )
    name = reading.field_name(tree, path)
    if name.endswith("__c"):  # a custom field of type address
        parts = ("Street", "City", "StateCode", "PostalCode", "CountryCode")
        return tuple(f"{name[:-3]}__{part}__s" for part in parts)
    if not name.endswith("Address"):
        raise WrongMapping(
            at=reading.place(tree, path),
            found=repr(name),
            expected=f"an address, as BillingAddress, or a field for each of {reading.words(ADDRESS_KEYS)}",
        )
    return tuple(
        name.removesuffix("Address") + part for part in ("Street", "City", "State", "PostalCode", "Country")
    )


def _xero_paths(kind: str, tree: Marked, path: str) -> tuple[str, ...]:
    texts = reading.texts(tree, path)
    paths = tuple(reading.text_of(item, path) for item in texts)
    expected = {"phone": "Phones", "address": "Addresses"}.get(kind)
    slots = [p for p in paths if top(p) in SLOTS]
    if expected or slots:
        _check_slot(kind, paths, expected, reading.place(tree, path))
        return paths
    for item, name in zip(texts, paths, strict=True):
        if not re.fullmatch(r"[A-Z][A-Za-z]*(\.[A-Z][A-Za-z]*){0,3}", name):
            raise WrongMapping(
                at=reading.place(item, path),
                found=repr(name),
                expected="a field of Xero, as EmailAddress or Phones.DEFAULT",
            )
    wanted = KINDS[kind].parts["xero"]
    if len(paths) != len(wanted):
        raise WrongMapping(
            at=reading.place(tree, path),
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
        raise reading.not_one_of(at, ", ".join(paths), choices)


def _lookup(tree: Marked | None, kind: str, flows: str, path: str, unit: Marked) -> Lookup | None:
    """Read a table of Salesforce's values and Xero's codes; of a list all are read, the first is written."""
    path = f"{path}.lookup"
    if kind != "lookup":
        if tree is not None:
            raise WrongMapping(
                at=reading.place(tree, path), found=f"a table with `as: {kind}`", expected="`as: lookup`"
            )
        return None
    if tree is None or not isinstance(tree.value, dict) or not tree.value:
        raise WrongMapping(
            at=reading.place(tree or unit, path),
            found="no table" if tree is None else describe(tree),
            expected="Salesforce: Xero, a line each",
        )
    pairs = {
        sf: tuple(reading.text_of(item, path) for item in reading.texts(marked, path))
        for sf, marked in tree.items()
    }
    owners: dict[str, str] = {}
    for sf, codes in pairs.items():
        for code in codes:
            if code in owners and flows != "to_xero":
                raise WrongMapping(
                    at=reading.place(tree.value[sf], path),
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
                at=reading.place(keys["flows"], f"{_path(unit)}.flows"),
                found=f"{unit.flows!r} with `as: {unit.kind}`, which can't be written to {side.title()}",
                expected=repr(f"to_{OTHER[side]}"),
            )
    if unit.receives("xero") and any(
        "." in path and top(path) not in {*SLOTS, *GROUPS} for path in unit.xero
    ):
        raise WrongMapping(
            at=reading.place(keys["flows"], f"{_path(unit)}.flows"),
            found=f"{unit.flows!r} into {unit.xero[0]!r}, a field inside another",
            expected="'to_salesforce': only whole fields, slots and an item's details are written",
        )
    for key, value in (("conflict", "owner"), ("drift", "heal")):
        if getattr(unit, key) == value and unit.owner is None:
            raise WrongMapping(
                at=reading.place(keys[key], f"{_path(unit)}.{key}"),
                found=f"{value!r} without an owner",
                expected="`owner: salesforce` or `owner: xero` beside it",
            )


def _check_names(entity: EntityMapping) -> None:
    units = {unit.name: unit.at for unit in entity.units}
    reserved = {*OURS, "record", *ATTRIBUTES["xero"]}
    for named in (*entity.units, *entity.projections):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", named.name) or "__" in named.name:
            raise WrongMapping(
                at=named.at, found=repr(named.name), expected="a name in small letters, as tax_number"
            )
        if isinstance(named, Projection) and named.name in units:
            raise WrongMapping(at=named.at, found="the name of a unit", expected="a name of its own")
        if isinstance(named, Unit) and named.name in reserved:
            raise WrongMapping(at=named.at, found=f"{named.name!r}, which is taken", expected="another name")


def _check_form(entity: EntityMapping) -> None:
    """What belongs to products belongs to nothing else, and the other way round."""
    told = [one.at for one in entity.projections if (one.from_ in OF_ITEMS) != entity.is_item]
    if told:
        expected = "quantity_on_hand" if entity.is_item else "is_customer, is_supplier, groups or status"
        raise WrongMapping(
            at=told[0], found=f"a projection that no {entity.entity} has", expected=f"`from: {expected}`"
        )
    for side in SIDES:
        mapped, where = entity.side(side), f"{entity.entity}.{side}"
        if mapped.price_book is not None and (entity.entity, side) != ("price", "salesforce"):
            raise WrongMapping(
                at=mapped.at, found=f"a price book under {where}", expected="it under price.salesforce"
            )
        if mapped.reference is not None and entity.is_item and where != "product.salesforce":
            raise WrongMapping(
                at=mapped.at,
                found=f"a reference under {where}, which has no field for an id",
                expected="none there",
            )
    if entity.is_item and entity.create["salesforce"] != "never":
        raise WrongMapping(
            at=entity.at,
            found=f"create.salesforce: {entity.create['salesforce']} of a {entity.entity}",
            expected="`never`: products and prices are made by people there",
        )
    if entity.entity == "price" and entity.create["xero"] != "never":
        raise WrongMapping(
            at=entity.at,
            found=f"create.xero: {entity.create['xero']} of a price",
            expected="it under product: a price comes with its item",
        )
    if entity.entity == "product" and not any(unit.kind == "item_code" for unit in entity.units):
        raise WrongMapping(
            at=entity.at,
            found="no unit with `as: item_code`",
            expected="one, as `code: {salesforce: ProductCode, xero: Code, as: item_code, flows: to_xero}`",
        )


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
        best = f"{near[0]!r} (the nearest)" if near else f"one of {reading.words(known)}"
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


def _defaults(tree: Marked | None, path: str) -> dict[str, Any]:
    if tree is None:
        return {}
    if not isinstance(tree.value, dict):
        raise WrongMapping(
            at=reading.place(tree, path), found=describe(tree), expected="fields and their values"
        )
    return {key: _json(marked, f"{path}.{key}") for key, marked in tree.items() if marked.value is not None}


def _json(tree: Marked, path: str) -> Any:
    """Read a default as JSON would: true, false and plain numbers are such, all else is text."""
    text = reading.text_of(tree, path)
    if tree.quoted:
        return text
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9]\d{0,14})", text):  # ids that begin with 0 stay texts
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9]\d{0,9})\.\d{1,5}", text) else text


def _path(unit: Unit) -> str:
    return unit.at.partition(": ")[2]


def _count(items: tuple[str, ...], noun: str) -> str:
    return f"{len(items)} {noun}{'s' if len(items) != 1 else ''}"


def _fields_of(parts: tuple[str, ...]) -> str:
    return "one field" if len(parts) == 1 else f"{len(parts)} fields ({reading.words(parts)})"


def _hash(
    entities: MappingOf[str, EntityMapping],
    documents: MappingOf[str, DocumentMapping],
    bill: BillMapping | None,
) -> str:
    # Documents without a cut-over say nothing yet.
    made: dict[str, Any] = {
        name: _plain_document(one) for name, one in documents.items() if one.cut_over is not None
    }
    made |= {"bill": plain_bill(bill)} if bill else {}
    meant = {name: _plain(entity) for name, entity in entities.items()}
    return hashlib.sha256(dumps({**meant, "documents": made} if made else meant).encode()).hexdigest()


def _plain_document(document: DocumentMapping) -> dict[str, Any]:
    return {
        **{
            name: value
            for name, value in asdict(document).items()
            if name
            not in (
                "at",
                "codes",
                "currencies",
                "payments",
                "credits",
                "also",
                "is_one_of_several",
                "path",
                "instalments",
                "together",
            )
        },
        "cut_over": str(document.cut_over),
        "scope": document.scope and document.scope.sql,
        "status": [[when and when.sql, then] for when, then in document.status],
        # Where they say nothing a mapping means what it did before there were any.
        **({"codes": plain_codes(document.codes)} if document.codes else {}),
        **({"currencies": plain_currencies(document.currencies)} if document.currencies else {}),
        **({"payments": plain_payments(document.payments)} if document.payments else {}),
        **({"credits": document.credits} if document.credits != "told" else {}),
        **({"instalments": _plain_form(document.instalments)} if document.instalments else {}),
        **({"together": _plain_form(document.together)} if document.together else {}),
        **({"also": [_plain_document(one) for one in document.also]} if document.also else {}),
    }


def _plain_form(form: Instalments | Together) -> dict[str, Any]:
    parts = [[str(value) for value in asdict(part).values()] for part in getattr(form, "parts", ())]
    return {"when": form.when and form.when.sql, "parts": parts}


def _plain(entity: EntityMapping) -> dict[str, Any]:
    """The meaning of an entity, without the places where it was written."""

    def side(mapped: SideMapping) -> dict[str, Any]:
        scope = mapped.scope.sql if mapped.scope else None
        book = {} if mapped.price_book is None else {"price_book": mapped.price_book}
        return {
            "object": mapped.object,
            "scope": scope,
            "reference": mapped.reference,
            "defaults": dict(mapped.defaults),
            **book,
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
        **({"groups": plain_groups(entity.groups)} if entity.groups else {}),
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

"""Brings raw rows of both systems into one form, and canonical values back into the vendors' own.

Raw bodies become records (who it is, what state it is in) and values (one row a record and unit: the
native piece and its canonical text). Bases go through the same code, so that a better normaliser never
looks like a change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from reconcile import bodies, names
from reconcile.bodies import leaf, merge_pieces, piece, top
from reconcile.countries import country_codes
from reconcile.decode import PRIMARY, decode_all, decoded_rows, exact_names
from reconcile.errors import FixData
from reconcile.ids import GUID, SALESFORCE_PREFIX, iso_instant, long_id, long_ids, wire_instants
from reconcile.kinds import KINDS
from reconcile.mapped import CONTACT_GROUPS, DETAILS, PARENT, SHARED_EMAIL, STOCK, EntityMapping, Unit
from reconcile.model import BASES, RECORDS, REJECTS, SIDES, VALUES, conform, empty
from reconcile.money import quoted
from reconcile.native import (
    Limits,
    limits_of,
    native_of,
    observed_pieces,
    pieces,
    record_fields,
    reference_piece,
    unfit,
)

NO_LINK: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Canonical:
    """One entity of one side in canonical form.

    records RECORDS; values VALUES (the mapping's units); projections and references VALUES likewise, apart
    because they are no units; context (record_id, region, creatable); rejects REJECTS.
    """

    records: pl.DataFrame
    values: pl.DataFrame
    rejects: pl.DataFrame
    projections: pl.DataFrame
    references: pl.DataFrame
    context: pl.DataFrame


def canonicalise(
    raw: pl.DataFrame, entity: EntityMapping, side: str, *, observed: frozenset[str], region: str
) -> Canonical:
    """Bring one side of an entity into canonical form.

    Takes RAW; `observed`: the fields that the snapshot carried for this object (a field stands for all
    inside it); `region`: ISO country in which a phone without prefix is read where the record's address
    names none. Order of rows is kept; of values: by unit, then as the rows.
    A row that can't be read stays in records, out of scope and with nothing observed: it must not look
    deleted, nor be made again. What is wrong with a row or a unit stands in rejects.
    """
    table, rejects = decoded_rows(raw, entity, side)
    table = _identified(table, entity, side)
    table = _observations(table, entity, side, observed)
    table, regions = _with_values(table, entity, side, region)
    records = _records(table, entity, side)
    return Canonical(
        records=conform(records, RECORDS),
        values=_values(table, entity, side, entity.units),
        rejects=conform(rejects.with_columns(entity=pl.lit(entity.entity), side=pl.lit(side)), REJECTS),
        projections=_projections(records, table, entity, side),
        references=_references(table, entity, side),
        context=table.select("record_id", region=regions, creatable=_creatable(table, records, entity, side)),
    )


# --- Records ---------------------------------------------------------------------------------------------


def _identified(table: pl.DataFrame, entity: EntityMapping, side: str) -> pl.DataFrame:
    """Name each row's record. In Xero a person is the primary person of a contact that has one."""
    if side == "salesforce":
        named = PARENT.get((entity.entity, side))
        parent = long_ids(table[named]) if named else None
        return table.with_columns(parent_id=parent if parent is not None else pl.lit(None, dtype=pl.String))
    if not entity.is_part(side):
        return table.with_columns(parent_id=pl.lit(None, dtype=pl.String))
    there = HAS_PRIMARY | ~pl.col("readable") if entity.entity == "person" else pl.lit(True)
    return table.filter(there).with_columns(
        parent_id=pl.col("record_id"), record_id=pl.col("record_id") + PRIMARY
    )


HAS_PRIMARY: Final = (
    names.folded(pl.col("FirstName")).is_not_null() | names.folded(pl.col("LastName")).is_not_null()
).fill_null(False)
FORGOTTEN: Final = (pl.col("ContactStatus") == "GDPRREQUEST").fill_null(False)


def _records(table: pl.DataFrame, entity: EntityMapping, side: str) -> pl.DataFrame:
    if side == "salesforce":
        facts = _salesforce_facts(table)
    else:
        facts = _item_facts(entity) if entity.is_item else _xero_facts(entity)
    known = table.with_columns(**facts, reference=_reference(table, entity, side))
    known = known.with_columns(modified_at=pl.coalesce("stamp", "modified_at"))
    scope = entity.side(side).scope
    visible = pl.col("readable") & ~_forgotten(entity, side)
    in_scope = (
        _holds(known, scope.expression, scope.columns) if scope else pl.repeat(True, len(known), eager=True)
    )
    return known.with_columns(
        entity=pl.lit(entity.entity),
        side=pl.lit(side),
        object=pl.lit(entity.side(side).object),
        in_scope=in_scope & visible,
    )


def _salesforce_facts(table: pl.DataFrame) -> dict[str, pl.Expr | pl.Series]:
    nothing = pl.repeat(None, len(table), dtype=pl.String, eager=True)
    merged = long_ids(table["MasterRecordId"]) if "MasterRecordId" in table.columns else nothing
    gone = (pl.col("deleted") | pl.col("IsDeleted")).fill_null(False)
    return {
        "merged_into": merged,
        "status": pl.when(merged.is_not_null())
        .then(pl.lit("merged"))
        .when(gone)
        .then(pl.lit("deleted"))
        .otherwise(pl.lit("active")),
        "stamp": iso_instant(pl.col("SystemModstamp")),
        "modified_by": pl.col("LastModifiedById"),
        "is_customer": pl.lit(None, dtype=pl.Boolean),
        "is_supplier": pl.lit(None, dtype=pl.Boolean),
    }


def _xero_facts(entity: EntityMapping) -> dict[str, pl.Expr | pl.Series]:
    target = names.folded(pl.col("MergedToContactID")).str.to_lowercase()
    survivor = pl.when(target != NO_LINK).then(target)
    active = pl.col("ContactStatus").str.to_uppercase().fill_null("ACTIVE") == "ACTIVE"
    status = (
        pl.when(survivor.is_not_null())
        .then(pl.lit("merged"))
        .when(pl.col("deleted").fill_null(False))
        .then(pl.lit("deleted"))
        .when(active)
        .then(pl.lit("active"))
        .otherwise(pl.lit("archived"))  # GDPRREQUEST too, and what we don't know: none of them is written
    )
    return {
        "merged_into": survivor + PRIMARY if entity.entity == "person" else survivor,
        "status": status,
        "stamp": wire_instants(pl.col("UpdatedDateUTC")),
        "modified_by": pl.lit(None, dtype=pl.String),
        "is_customer": pl.col("IsCustomer"),
        "is_supplier": pl.col("IsSupplier"),
        **({"groups": _group_names()} if entity.shows_groups else {}),
    }


def _group_names() -> pl.Expr:
    """Name a contact's groups in one order; empty where it is in none, null where they are not told."""
    named = pl.col(CONTACT_GROUPS).list.eval(names.folded(pl.element().struct.field("Name")))
    return named.list.drop_nulls().list.sort().list.join("; ")


def _item_facts(entity: EntityMapping) -> dict[str, pl.Expr | pl.Series]:
    """Items know no archive: one that is gone was deleted."""
    gone = pl.col("deleted").fill_null(False)
    stock = {"quantity_on_hand": pl.when("IsTrackedAsInventory").then(STOCK)} if entity.shows_stock else {}
    return {
        "merged_into": pl.lit(None, dtype=pl.String),
        "status": pl.when(gone).then(pl.lit("deleted")).otherwise(pl.lit("active")),
        "stamp": wire_instants(pl.col("UpdatedDateUTC")),
        "modified_by": pl.lit(None, dtype=pl.String),
        "is_customer": pl.lit(None, dtype=pl.Boolean),
        "is_supplier": pl.lit(None, dtype=pl.Boolean),
        **stock,
    }


def _forgotten(entity: EntityMapping, side: str) -> pl.Expr:
    return FORGOTTEN if side == "xero" and not entity.is_item else pl.lit(False)


def _reference(table: pl.DataFrame, entity: EntityMapping, side: str) -> pl.Series:
    """Give the other side's id where the reference field holds one by its form; else null."""
    name = entity.side(side).reference
    if name is None:
        return pl.repeat(None, len(table), dtype=pl.String, eager=True)
    if side == "xero":
        prefix = SALESFORCE_PREFIX.get(entity.salesforce.object, "")
        ids = long_ids(table[name])
        return ids.to_frame("id").select(pl.when(pl.col("id").str.starts_with(prefix)).then("id")).to_series()
    suffix = PRIMARY if entity.entity == "person" else ""
    text = names.folded(pl.col(name)).str.to_lowercase()
    return table.select(value=pl.when(text.str.contains(f"^{GUID}{suffix}$")).then(text)).to_series()


def _holds(table: pl.DataFrame, rule: pl.Expr, columns: Iterable[str]) -> pl.Series:
    """Say for which rows a rule is true. A unit is read by its value, all else by its column."""
    read = {
        name: pl.col(f"value {name}") if f"value {name}" in table.columns else pl.col(name)
        for name in columns
    }
    frame = table.select("row", **read).with_columns(holds=rule.fill_null(False))
    return frame["holds"]


# --- Values ------------------------------------------------------------------------------------------------


def _observations(
    table: pl.DataFrame, entity: EntityMapping, side: str, observed: frozenset[str]
) -> pl.DataFrame:
    """Add "observed UNIT": whether this row tells the unit's value at all."""
    shown = [projection.unit for projection in entity.projections if side == "salesforce"]
    every = (*entity.units, *shown, entity.unit("reference"))
    return table.with_columns(
        _observed(unit, entity, side, observed).alias(f"observed {unit.name}") for unit in every
    )


def _observed(unit: Unit, entity: EntityMapping, side: str, observed: frozenset[str]) -> pl.Expr:
    paths = [path for path in unit.leaves(side) if not path.endswith(".AttentionTo")]
    if not paths or not all(_covered(path, observed) for path in paths):
        return pl.lit(False)
    tells = [pl.col("readable"), *(~pl.col("faults").list.contains(path) for path in paths)]
    if side == "xero":
        tells.append(~_forgotten(entity, side))
        tells += _sold(entity, paths)
        tells += [pl.col(f"has {name}") for name in {top(path) for path in paths} if name in bodies.SLOTS]
        if unit.kind == "email" and unit.xero == (SHARED_EMAIL,):
            tells.append(_owns_email(entity))
    else:  # a row kept from before a field was read lacks its key (Xero leaves out what is blank)
        tells += [
            pl.col(path).is_not_null() | pl.col("body").str.contains(rf'"{path}"\s*:') for path in paths
        ]
    return pl.all_horizontal(tells)


def _sold(entity: EntityMapping, paths: list[str]) -> list[pl.Expr]:
    """An item that is not sold tells no price of a sale; one that is not purchased none of a purchase."""
    tops = {top(path) for path in paths}
    flags = [flag for flag, names in DETAILS.items() if entity.is_item and tops & {*names}]
    return [pl.col(flag).fill_null(True) for flag in flags]


def _covered(path: str, observed: frozenset[str]) -> bool:
    steps = path.split(".")
    return any(".".join(steps[:length]) in observed for length in range(1, len(steps) + 1))


def _owns_email(entity: EntityMapping) -> pl.Expr:
    # Xero has one address. It is the primary person's, unless there is none or it is a desk's.
    persons = HAS_PRIMARY & ~names.is_role_mailbox(names.email(pl.col(SHARED_EMAIL)))
    return persons if entity.entity == "person" else ~persons


def _with_values(
    table: pl.DataFrame, entity: EntityMapping, side: str, region: str
) -> tuple[pl.DataFrame, pl.Series]:
    """Add "value UNIT", and give the region in which each row's phones were read."""
    table = table.with_columns(read_in=pl.lit(region))
    addresses = [unit for unit in entity.units if unit.kind == "address"]
    table = table.with_columns(_value(table, unit, side) for unit in addresses)
    if addresses:
        named = [_country_of(pl.col(f"value {unit.name}")) for unit in addresses]
        table = table.with_columns(read_in=pl.coalesce(*named, "read_in"))
    others = [unit for unit in entity.units if unit.kind != "address"]
    return table.with_columns(_value(table, unit, side) for unit in others), table["read_in"]


def _country_of(address: pl.Expr) -> pl.Expr:
    code = address.str.extract(r'"country":"([A-Z]{2})"')
    return pl.when(code.is_in(country_codes())).then(code)


def _value(table: pl.DataFrame, unit: Unit, side: str) -> pl.Series:
    value = _canonical(table, unit, side)
    seen = table[f"observed {unit.name}"]
    return (
        pl.DataFrame({"v": value, "s": seen})
        .select(pl.when("s").then("v"))
        .to_series()
        .alias(f"value {unit.name}")
    )


def _canonical(table: pl.DataFrame, unit: Unit, side: str) -> pl.Series:
    """Give the canonical value of a unit from a frame with its paths as columns, and `read_in`."""
    parts = table.select("read_in", **{part: pl.col(path) for part, path in unit.parts(side).items()})
    return KINDS[unit.kind].canonical(parts, side, unit.lookup)


def _values(table: pl.DataFrame, entity: EntityMapping, side: str, units: Iterable[Unit]) -> pl.DataFrame:
    frames = [_rows(table, entity, side, unit, pl.col(f"value {unit.name}")) for unit in units]
    return pl.concat(frames) if frames else empty(VALUES)


def _rows(table: pl.DataFrame, entity: EntityMapping, side: str, unit: Unit, value: pl.Expr) -> pl.DataFrame:
    seen = pl.col(f"observed {unit.name}")
    paths = unit.leaves(side)
    native = pl.when(seen).then(piece(paths)) if paths else pl.lit(None, dtype=pl.String)
    rows = table.select(
        "record_id",
        entity=pl.lit(entity.entity),
        side=pl.lit(side),
        unit=pl.lit(unit.name),
        kind=pl.lit(unit.kind),
        native=native,
        value=pl.when(seen).then(value),
        observed=seen,
    )
    return conform(rows, VALUES)


def _references(table: pl.DataFrame, entity: EntityMapping, side: str) -> pl.DataFrame:
    name = entity.side(side).reference
    if name is None:
        return empty(VALUES)
    given = _reference(table, entity, side)
    return _rows(
        table, entity, side, entity.unit("reference"), pl.coalesce(given, names.folded(pl.col(name)))
    )


def _projections(
    records: pl.DataFrame, table: pl.DataFrame, entity: EntityMapping, side: str
) -> pl.DataFrame:
    frames = []
    for projection in entity.projections:
        unit = projection.unit
        if side == "salesforce":
            table = table.with_columns(_value(table, unit, side))
            frames.append(_rows(table, entity, side, unit, pl.col(f"value {unit.name}")))
            continue
        told = pl.col(projection.from_).cast(pl.String)
        if unit.kind == "number":
            plain = pl.Series(projection.from_, _numbers(records[projection.from_]), dtype=pl.String)
            records = records.with_columns(plain)
        seen = pl.col("readable") & ~_forgotten(entity, side) & told.is_not_null()
        told = pl.when(told != "").then(told)  # in no group: that is told too
        frames.append(
            _rows(records.with_columns(seen.alias(f"observed {unit.name}")), entity, side, unit, told)
        )
    return pl.concat(frames) if frames else empty(VALUES)


def _numbers(texts: pl.Series) -> pl.Series:
    return KINDS["number"].canonical(texts.cast(pl.String).to_frame("text"), "xero", None)


def _creatable(table: pl.DataFrame, records: pl.DataFrame, entity: EntityMapping, side: str) -> pl.Series:
    rule = entity.create_when["xero" if side == "salesforce" else "salesforce"]
    if rule is None:
        return pl.repeat(True, len(table), eager=True)
    return _holds(records, rule.expression, rule.columns)


# --- Native pieces by themselves ---------------------------------------------------------------------------


def canonical_values(natives: pl.DataFrame, entity: EntityMapping, *, region: str) -> pl.DataFrame:
    """Give native pieces their canonical value.

    Takes a frame with side, unit, native (JSON piece; null = no value) and, if it is there, region (ISO
    country in which the row's phone is read; null: the default). Gives the same rows and columns in the
    same order, with kind and value. A unit that the mapping has no more has neither.
    Raises FixData where a piece is not what this program stores.
    """
    rows = natives.drop("kind", "value", strict=False).with_row_index("row")
    read = pl.coalesce("region", pl.lit(region)) if "region" in rows.columns else pl.lit(region)
    slim = rows.select("row", pl.col("side").cast(pl.String), "unit", "native", read_in=read)
    found = [
        _canonical_group(group, entity, str(unit), str(side))
        for (unit, side), group in slim.group_by("unit", "side", maintain_order=True)
    ]
    schema = {"row": rows.schema["row"], "kind": pl.String(), "value": pl.String()}
    values = pl.concat(found) if found else pl.DataFrame(schema=schema)
    return rows.join(values, on="row", how="left", validate="1:1", maintain_order="left").drop("row")


def _canonical_group(group: pl.DataFrame, entity: EntityMapping, name: str, side: str) -> pl.DataFrame:
    nothing = group.select("row", kind=pl.lit(None, dtype=pl.String), value=pl.lit(None, dtype=pl.String))
    if not entity.has_unit(name):
        return nothing
    unit = entity.unit(name)
    if not unit.leaves(side):
        return nothing.with_columns(kind=pl.lit(unit.kind))
    some = group.filter(pl.col("native").is_not_null())
    types = dict.fromkeys(unit.leaves(side), KINDS[unit.kind].dtype)
    natives, exact = some["native"], exact_names(entity, side)
    if exact:
        natives = some.select(quoted(pl.col("native"), exact)).to_series()
    decoded = decode_all(natives, bodies.body_schema(types))
    if decoded is None and len(some):
        raise DamagedPiece(entity=entity.entity, unit=name, side=side)
    if decoded is None or not len(some):
        return nothing.with_columns(kind=pl.lit(unit.kind))
    table = decoded.struct.unnest().select(leaf(path) for path in types)
    value = _canonical(table.with_columns(some["read_in"]), unit, side)
    told = some.select("row").with_columns(value=value)
    return nothing.select("row", kind=pl.lit(unit.kind)).join(
        told, on="row", how="left", maintain_order="left"
    )


def _of_its_unit(entity: EntityMapping) -> pl.Expr:
    """True where a stored piece holds the fields that its unit means today."""
    cases = [
        (pl.col("unit") == unit.name) & (pl.col("side").cast(pl.String) == side) & _holds_fields(unit, side)
        for unit in entity.units
        for side in SIDES
    ]
    return pl.any_horizontal(cases).fill_null(False) if cases else pl.lit(False)


def _holds_fields(unit: Unit, side: str) -> pl.Expr:
    # Stored pieces are compact JSON, so that a key stands there as "key": and nowhere else.
    keys = [
        f'"{path.rpartition(".")[2]}":' for path in unit.leaves(side) if not path.endswith(".AttentionTo")
    ]
    slots = [path.split(".") for path in unit.paths(side) if top(path) in bodies.SLOTS and side == "xero"]
    keys += [f'"{bodies.SLOTS[head]}":"{slot}"' for head, slot in slots]
    native = pl.col("native")
    return native.is_null() | pl.all_horizontal([native.str.contains(key, literal=True) for key in keys])


class DamagedPiece(FixData):
    """A stored piece of a body does not have the shape of its unit."""

    def __init__(self, *, entity: str, unit: str, side: str) -> None:
        super().__init__(
            f"{side}: a stored value of {entity}.{unit} can't be read: it is no piece of that unit. "
            "Name the unit anew in the mapping, so that it is compared afresh."
        )


def base_values(
    bases: pl.DataFrame,
    links: pl.DataFrame,
    entity: EntityMapping,
    salesforce: Canonical,
    xero: Canonical,
    *,
    region: str,
) -> pl.DataFrame:
    """Give bases their canonical value, read as their records are read now.

    Takes BASES, LINKS (of the entity) and both sides' canonical form. Gives BASES of this entity's links
    with entity, kind and value; phones are read in the region that the record's address names today, so
    that a moved address changes no number. A base of a unit that the mapping has no more, or that now means
    other fields, is left out: the unit is newly mapped, and its field's first value is no change.
    """
    ids = links.select("link_id", "salesforce_id", "xero_id").unique("link_id")
    linked = bases.join(ids, on="link_id", how="inner", validate="m:1", maintain_order="left")
    side = pl.col("side").cast(pl.String)
    record = pl.when(side == "salesforce").then("salesforce_id").otherwise("xero_id")
    regions = pl.concat(
        [salesforce.context.select("record_id", "region"), xero.context.select("record_id", "region")]
    )
    located = linked.with_columns(record_id=record).join(
        regions.unique("record_id"), on="record_id", how="left", validate="m:1", maintain_order="left"
    )
    fitting = located.filter(_of_its_unit(entity))
    valued = canonical_values(fitting, entity, region=region)
    return valued.select(*BASES, pl.lit(entity.entity).alias("entity"), "kind", "value")


__all__ = [
    "Canonical",
    "DamagedPiece",
    "Limits",
    "base_values",
    "canonical_values",
    "canonicalise",
    "limits_of",
    "long_id",
    "merge_pieces",
    "native_of",
    "observed_pieces",
    "pieces",
    "record_fields",
    "reference_piece",
    "unfit",
]

"""Both systems in memory, as two people's books: edited by hand, planned over, and written as the push would.

The smallest thing that can show whether a second plan is empty. It keeps what the journal keeps (links and
bases, by the rules of the push) and mangles what it is given as the vendors do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from mappings import library
from reconcile.bodies import SLOTS, dumps, loads
from reconcile.mapping import EntityMapping, Mapping, load_mapping
from reconcile.match import link_id, match
from reconcile.merge import merge
from reconcile.model import BASES, DECISIONS, FIELDS, LINKS, RAW, conform, empty
from reconcile.native import observed_pieces
from reconcile.normalise import base_values, canonicalise
from reconcile.plan import Part, Plan, build_plan, part_of

PRIMARY = ":primary"
Mangle = Callable[[str, str, str], str]  # side, field, text -> text


def as_given(side: str, name: str, text: str) -> str:
    return text


def xero_id(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def salesforce_id(prefix: str, number: int) -> str:
    return f"{prefix}00000000{number:04d}AAA"


LENGTHS = {"Name": 255, "Phone": 40, "AccountNumber": 40, "Billing_Email__c": 80, "Tax_Number__c": 50}
REQUIRED = {
    ("salesforce", "Account"): "Name",
    ("salesforce", "Contact"): "LastName",
    ("xero", "Contact"): "Name",
}


def schema(mapping: Mapping) -> pl.DataFrame:
    rows = [
        (
            side,
            name,
            path,
            "string",
            LENGTHS.get(path),
            True,
            True,
            REQUIRED.get((side, name)) == path,
        )
        for side in ("salesforce", "xero")
        for name, paths in mapping.fields(side).items()
        for path in sorted(paths)
    ]
    names = ("side", "object", "field", "type", "length", "createable", "updateable", "required")
    return conform(pl.DataFrame(rows, schema=list(names), orient="row"), FIELDS)


@dataclass
class Books:
    """salesforce: object -> id -> body; xero: id -> body."""

    mapping: Mapping
    mangle: Mangle = as_given
    salesforce: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: dict[str, dict[str, dict[str, Any]]](Account={}, Contact={})
    )
    xero: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: pl.DataFrame = field(default_factory=lambda: empty(LINKS))
    bases: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    clock: datetime = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    made: int = 0

    # --- Editing ---------------------------------------------------------------------------------------

    def tick(self) -> datetime:
        self.clock += timedelta(seconds=1)
        return self.clock

    def account(self, number: int, **fields: Any) -> str:
        return self._salesforce("Account", salesforce_id("001", number), fields)

    def contact(self, number: int, account: str | None, **fields: Any) -> str:
        return self._salesforce("Contact", salesforce_id("003", number), {"AccountId": account, **fields})

    def _salesforce(self, name: str, record_id: str, fields: dict[str, Any]) -> str:
        blank = dict.fromkeys(sorted(self.mapping.fields("salesforce")[name]))
        flags = {key: False for key in ("Xero_Customer__c", "Xero_Supplier__c") if key in blank}
        body = {**blank, **flags, "Id": record_id, "IsDeleted": False}
        self.salesforce[name][record_id] = body
        self.edit(record_id, **fields)
        return record_id

    def xero_contact(self, number: int, **fields: Any) -> str:
        return self._xero(xero_id(number), fields)

    def _xero(self, record_id: str, fields: dict[str, Any]) -> str:
        self.xero[record_id] = {
            "ContactID": record_id,
            "ContactStatus": "ACTIVE",
            "IsCustomer": False,
            "IsSupplier": False,
            "Phones": [],
            "Addresses": [],
        }
        self.edit(record_id, **fields)
        return record_id

    def body(self, record_id: str) -> dict[str, Any]:
        record_id = record_id.removesuffix(PRIMARY)
        if record_id in self.xero:
            return self.xero[record_id]
        return next(records[record_id] for records in self.salesforce.values() if record_id in records)

    def edit(self, record_id: str, **fields: Any) -> None:
        """Write as anybody may: the vendor mangles it, and the record's time moves."""
        body = self.body(record_id)
        side = "xero" if "ContactID" in body else "salesforce"
        for name, value in fields.items():
            _write(body, name, value, lambda key, text: self.mangle(side, key, text))
        moment = self.tick()
        if side == "salesforce":
            body["SystemModstamp"] = moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        else:
            body["UpdatedDateUTC"] = f"/Date({int(moment.timestamp() * 1000)}+0000)/"

    # --- Planning --------------------------------------------------------------------------------------

    def plan(self, *, adopt: bool = True, recent: pl.DataFrame | None = None) -> Plan:
        decisions = conform(pl.DataFrame(self.decisions, infer_schema_length=None), DECISIONS)
        parts = []
        parties = None
        for entity in self.mapping.entities.values():
            sides = {side: self.canonical(entity, side) for side in ("salesforce", "xero")}
            records = pl.concat([side.records for side in sides.values()])
            values = pl.concat([side.values for side in sides.values()])
            found = match(records, values, self.links, decisions, entity=entity.entity, parents=parties)
            parties = found.links if entity.entity == "party" else parties
            bases = base_values(
                self.bases_frame(), found.links, entity, sides["salesforce"], sides["xero"], region="GB"
            )
            merged = merge(entity, found.links, records, values, bases, decisions, recent=recent)
            parts.append(part_of(entity, sides["salesforce"], sides["xero"], found, merged))
        plan = self.build(parts, decisions)
        if adopt:
            self.adopt(plan.adopted_links, plan.adopted_moves)
        return plan

    def build(self, parts: list[Part], decisions: pl.DataFrame) -> Plan:
        return build_plan(parts, schema(self.mapping), decisions)

    def canonical(self, entity: EntityMapping, side: str) -> Any:
        name = entity.side(side).object
        raw = raw_of(self.xero if side == "xero" else self.salesforce[name])
        return canonicalise(raw, entity, side, observed=entity.fields(side), region="GB")

    def bases_frame(self) -> pl.DataFrame:
        return conform(pl.DataFrame(list(self.bases.values()), schema=dict(BASES)), BASES)

    def adopt(self, links: pl.DataFrame, moves: pl.DataFrame) -> None:
        self.links = pl.concat([self.links, links]).unique("link_id", keep="last", maintain_order=True)
        for row in moves.iter_rows(named=True):
            for side in ("salesforce", "xero"):
                self.keep_base(
                    row["link_id"],
                    side,
                    row["unit"],
                    row["base_kind"],
                    row[f"{side}_native"],
                    row[f"{side}_stamp"],
                )

    def keep_base(
        self, link: str, side: str, unit: str, kind: str, native: str | None, stamp: datetime | None
    ) -> None:
        row = {
            "link_id": link,
            "side": side,
            "unit": unit,
            "base_kind": kind,
            "native": native,
            "stamp": stamp,
        }
        self.bases[link, side, unit] = row

    # --- Writing ---------------------------------------------------------------------------------------

    def apply(self, plan: Plan) -> None:
        """Write a plan as the push does: what was made first gives its id to what depends on it."""
        made: dict[str, str] = {}
        for row in plan.operations.iter_rows(named=True):
            assert row["depends_on"] is None or row["depends_on"] in made, "its maker comes first"
            body = self.filled(loads(row["native_after"]), made)
            record_id = row["record_id"]
            if row["action"] == "create":
                record_id = self._create(row, body)
            else:
                self.edit(record_id, **body)
            made[row["operation_id"]] = record_id
            self._commit(row, record_id, plan.moves)

    def filled(self, value: Any, made: dict[str, str]) -> Any:
        """Put the ids of what was made, or a field of it, where a body refers to it."""
        if isinstance(value, dict) and "$from" in value:
            found = made[value["$from"]]
            told = str(self.body(found)[value["field"]]) if "field" in value else found
            return value.get("prefix", "") + told + value.get("suffix", "")
        if isinstance(value, list):
            return [self.filled(inner, made) for inner in value]
        return (
            {key: self.filled(inner, made) for key, inner in value.items()}
            if isinstance(value, dict)
            else value
        )

    def _create(self, row: dict[str, Any], body: dict[str, Any]) -> str:
        self.made += 1
        if row["system"] == "xero":
            return self._xero(xero_id(9000 + self.made), body)
        prefix = "001" if row["object"] == "Account" else "003"
        return self._salesforce(row["object"], salesforce_id(prefix, 9000 + self.made), body)

    def _commit(self, row: dict[str, Any], record_id: str, moves: pl.DataFrame) -> None:
        side = row["system"]
        if row["source_id"] is None:
            return  # a link back: the create has made the link, or the next plan finds it by its ids
        pair = (record_id, row["source_id"]) if side == "salesforce" else (row["source_id"], record_id)
        link = link_id(row["entity"], *pair)
        if row["action"] in ("link", "create") or row["phase"] == "create":
            found = {"link_id": link, "entity": row["entity"], "salesforce_id": pair[0], "xero_id": pair[1]}
            rest = {
                "status": "linked",
                "rule": row["match_rule"],
                "score": row["score"],
                "evidence": row["evidence"],
            }
            self.adopt(conform(pl.DataFrame([found | rest]), LINKS), moves.filter(pl.col("link_id") == link))
        entity = self.mapping.entities.get(row["entity"])
        if row["action"] == "link" or row["source_native"] is None or entity is None:
            return
        sources = (
            json.loads(row["source_native"])
            if row["unit"] == "record"
            else {row["unit"]: row["source_native"]}
        )
        read_back = observed_pieces(self.body(record_id), entity, side)
        other = "xero" if side == "salesforce" else "salesforce"
        for unit, native in sources.items():
            self.keep_base(link, side, unit, "agreed", read_back.get(unit), self.clock)
            self.keep_base(link, other, unit, "agreed", native, None)


def raw_of(bodies: dict[str, dict[str, Any]]) -> pl.DataFrame:
    # As a pull keeps them: what stands in the recycle bin is a tombstone.
    rows = [
        (key, None, bool(body.get("IsDeleted")), dumps(body), dumps(body)) for key, body in bodies.items()
    ]
    return conform(pl.DataFrame(rows, schema=list(RAW), orient="row", infer_schema_length=None), RAW)


def _write(body: dict[str, Any], name: str, value: Any, mangle: Callable[[str, str], str]) -> None:
    if name in SLOTS and isinstance(value, list):
        for element in value:
            kind = SLOTS[name]
            slot = next((one for one in body[name] if one[kind] == element[kind]), None)
            if slot is None:
                slot = {kind: element[kind]}
                body[name].append(slot)
            for key, text in element.items():
                if key != kind:
                    _write(slot, key, text, mangle)
    elif isinstance(value, str) and value:
        body[name] = mangle(name, value)
    else:
        body[name] = value


def books(text: str | None = None, mangle: Mangle = as_given) -> Books:
    shipped = library()
    return Books(load_mapping(text or shipped["default"], name="mine.yaml", library=shipped), mangle)


def what(plan: Plan) -> list[tuple[str, str, str, str]]:
    """The operations in brief: phase, system, action, unit."""
    return list(plan.operations.select("phase", "system", "action", "unit").iter_rows())


def phone(number: str, slot: str = "DEFAULT") -> list[dict[str, str]]:
    return [{"PhoneType": slot, "PhoneNumber": number, "PhoneAreaCode": "", "PhoneCountryCode": ""}]

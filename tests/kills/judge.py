"""Judges a pair after a kill by what the sandbox holds and logged, against a run that nobody disturbed.

It imports nothing of the product and nothing of the sandbox.

    twice      a record was made more often than without the kill, or two live ones carry one natural key
    lost       a record is missing, or one of its fields holds something else
    unsettled  the journal still has a write of which nobody knows what became
    knowledge  links or last agreed values are other ones
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
IDS = ("ContactID", "InvoiceID", "ItemID", "Id")
# A time of writing; an id of a part that nothing refers to.
PASSING = {
    "UpdatedDateUTC", "SystemModstamp", "LastModifiedDate", "CreatedDate", "LastViewedDate",
    "LastReferencedDate", "LineItemID", "attributes",
}  # fmt: skip
KEYS = {
    "contact": "ContactNumber",
    "invoice": "InvoiceNumber",
    "Account": "ExternalID__c",
    "Contact": "ExternalID__c",
}
OUR_KEY = "SF-"


@dataclass(frozen=True)
class Seen:
    """What a side holds (its dump) and logged since the scene began."""

    rows: list[Row]
    requests: list[Row]


@dataclass(frozen=True)
class End:
    """What is there at the end, with ids that came new replaced by names."""

    records: dict[str, str]  # name -> canonical JSON
    made: Counter[str]
    knowledge: list[str]
    doubled: list[str]  # natural keys that two live records carry
    updates: int  # writes on records that were there, ours


@dataclass
class Verdict:
    twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    knowledge: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # a process of the case ended with an error

    @property
    def ok(self) -> bool:
        return not (self.twice or self.lost or self.unsettled or self.knowledge or self.failed)


def end_of(
    before: Mapping[str, Iterable[str]], seen: Mapping[str, Seen], told: Mapping[str, Any], ours: set[str]
) -> End:
    """Read one end. before: the ids by side as the scene began; told: links and bases; ours: our logins."""
    names = _names(before, seen)
    rows = [(names.get(_id(row), _id(row)), row) for one in seen.values() for row in one.rows]
    changes = [
        change
        for one in seen.values()
        for request in one.requests
        if request["client"] in ours
        for change in request["changes"]
    ]
    links = {row[0]: f"link of {row[2]} and {row[3]}" for row in told["links"]}
    # A value that is not there is null in one reply and an empty text in another.
    bases = [[*row[:-1], str(row[-1]).replace('""', "null")] for row in told["bases"]]
    knowledge = [*told["links"], *([links.get(row[0], row[0]), *row[1:]] for row in bases)]
    known = {row[0] for row in told["links"]}
    return End(
        records={name: _renamed(json.dumps(_lasting(row), sort_keys=True), names) for name, row in rows},
        made=Counter(
            names.get(change[2], change[2])
            for change in changes
            if change[0] == "create" and change[1] in KEYS
        ),
        knowledge=sorted(
            _renamed(json.dumps([part for part in row if part not in known]), names) for row in knowledge
        ),
        doubled=sorted(_doubled(seen)),
        updates=sum(change[0] == "update" for change in changes),
    )


def judge(end: End, expected: End, told: Mapping[str, Any]) -> Verdict:
    """Compare the end after a kill with the undisturbed one."""
    verdict = Verdict()
    verdict.twice += [f"two live records carry {key}" for key in end.doubled]
    for name in sorted(end.made | expected.made):
        if end.made[name] > expected.made[name]:
            verdict.twice.append(f"{name} was made {end.made[name]} times, not {expected.made[name]}")
    for name in sorted(end.records.keys() | expected.records.keys()):
        if name not in end.records:
            verdict.lost.append(f"{name} is not there")
        elif name not in expected.records:
            verdict.twice.append(f"{name} is there, and was not to be made")
        elif end.records[name] != expected.records[name]:
            verdict.lost.append(f"{name}: {_difference(expected.records[name], end.records[name])}")
    if told["unsettled"]:
        verdict.unsettled.append(f"{told['unsettled']} intents")
    if not told["whole"]:
        verdict.knowledge.append("the journal is not whole")
    differing = set(end.knowledge) ^ set(expected.knowledge)
    verdict.knowledge += [("now " if one in end.knowledge else "not ") + one for one in sorted(differing)]
    return verdict


def kind_of(row: Row) -> str:
    if "attributes" in row:
        return str(row["attributes"]["type"])
    return "invoice" if "InvoiceID" in row else "contact" if "ContactID" in row else "item"


def _id(row: Row) -> str:
    name = {"invoice": "InvoiceID", "contact": "ContactID", "item": "ItemID"}.get(kind_of(row), "Id")
    return str(row[name])


def ids_of(rows: Iterable[Row]) -> list[str]:
    return [_id(row) for row in rows]


def _names(before: Mapping[str, Iterable[str]], seen: Mapping[str, Seen]) -> dict[str, str]:
    """Name each new record by what it is: two of the same get numbers."""
    found: dict[str, str] = {}
    count: Counter[str] = Counter()
    for side, one in seen.items():
        old = set(before[side])
        for row in one.rows:
            if _id(row) in old:
                continue
            name = f"{kind_of(row)} {_key(row)}"
            count[name] += 1
            found[_id(row)] = name if count[name] == 1 else f"{name} no. {count[name]}"
            if kind_of(row) == "invoice" and not str(row["InvoiceNumber"]).startswith(OUR_KEY):
                found[str(row["InvoiceNumber"])] = f"number of {name}"  # Xero gives them in order of arrival
    return found


def _key(row: Row) -> str:
    if kind_of(row) == "invoice":
        number, reference = str(row.get("InvoiceNumber")), str(row.get("Reference"))
        return number if number.startswith(OUR_KEY) else reference
    return " ".join(str(row[name]) for name in ("Name", "LastName") if row.get(name))


def _lasting(row: Any) -> Any:
    if isinstance(row, dict):
        return {name: _lasting(value) for name, value in row.items() if name not in PASSING}
    return [_lasting(value) for value in row] if isinstance(row, list) else row


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for record_id, name in names.items():
        text = text.replace(record_id, f"<{name}>")
    return text


def _doubled(seen: Mapping[str, Seen]) -> list[str]:
    held: Counter[str] = Counter()
    for one in seen.values():
        for row in one.rows:
            gone = row.get("IsDeleted") or row.get("ContactStatus", "ACTIVE") != "ACTIVE"
            gone = gone or row.get("Status") in ("DELETED", "VOIDED")
            key = KEYS.get(kind_of(row))
            if key is not None and not gone:
                held.update(f"{kind_of(row)} {name} {row[name]}" for name in _key_fields(row, key))
    return [key for key, count in held.items() if count > 1]


def _key_fields(row: Row, key: str) -> list[str]:
    """Its key, and for an invoice whose number is Xero's the reference that carries ours."""
    found = [key] if row.get(key) else []
    return found + ["Reference"] * (key == "InvoiceNumber" and str(row.get("Reference")).startswith(OUR_KEY))


def _difference(wanted: str, found: str) -> str:
    one, other = json.loads(wanted), json.loads(found)
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    return "; ".join(f"{name} is {other.get(name)!r}, not {one.get(name)!r}" for name in names[:3])

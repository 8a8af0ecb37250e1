"""A pair with a few records, a journal, and operations as the plan would make them: for tests of the push."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from peers import Peer

from mappings import library
from pipelines.journal import Journal
from pipelines.push import push, settle
from pipelines.settings import Limits
from reconcile.mapping import load_mapping
from reconcile.match import link_id
from reconcile.model import BASE_MOVES, LINKS, OPERATIONS, conform, empty
from reconcile.normalise import native_of

KEY = "0f" * 32
PLAN = "a" * 64
MAPPING = load_mapping(library()["default"], name="default", library=library())
OTHER = {"salesforce": "xero", "xero": "salesforce"}
QUICK = Limits(late_application_s=0.2, timeout_s=2.0, retries=1)


def account_id(number: int) -> str:
    return f"001{number:012d}AAA"


def contact_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def operation(**values: Any) -> dict[str, Any]:
    """An OPERATIONS row; its id follows from what it says."""
    row = {"rule": "test", "reason": "a test", **values}
    row["operation_id"] = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    return row


def update(
    system: str,
    number: int,
    unit: str,
    before: str | None,
    after: str | None,
    *,
    entity: str = "party",
    phase: str = "change",
    **more: Any,
) -> dict[str, Any]:
    """Write one unit of a linked record; values are canonical."""
    mapped = MAPPING.entities[entity]
    ids = {"salesforce": account_id(number), "xero": contact_id(number)}
    if entity == "person":
        ids = {"salesforce": f"003{number:012d}AAA", "xero": contact_id(number) + ":primary"}
    here = native_of(before, mapped.unit(unit), system, onto=None)
    return operation(
        system=system,
        entity=entity,
        object="Contact" if system == "xero" or entity == "person" else "Account",
        record_id=ids[system],
        source_id=ids[OTHER[system]],
        link_id=link_id(entity, ids["salesforce"], ids["xero"]),
        action="update",
        phase=phase,
        unit=unit,
        before=before,
        after=after,
        native_before=here,
        native_after=native_of(after, mapped.unit(unit), system, onto=here),
        source_native=native_of(after, mapped.unit(unit), OTHER[system], onto=None),
        **more,
    )


def link(system: str, number: int, **more: Any) -> dict[str, Any]:
    """Write the other side's id into a record, which makes the link."""
    mapped = MAPPING.entities["party"]
    ids = {"salesforce": account_id(number), "xero": contact_id(number)}
    unit = mapped.unit("reference")
    return operation(
        system=system,
        entity="party",
        object="Account" if system == "salesforce" else "Contact",
        record_id=ids[system],
        source_id=ids[OTHER[system]],
        link_id=link_id("party", ids["salesforce"], ids["xero"]),
        action="link",
        phase="link",
        unit="reference",
        native_before=native_of(None, unit, system, onto=None),
        native_after=native_of(ids[OTHER[system]], unit, system, onto=None),
        match_rule="score",
        score=0.99,
        evidence="{}",
        **more,
    )


def create(system: str, number: int, name: str, **more: Any) -> dict[str, Any]:
    """Make the party that the other side has."""
    source_id = account_id(number) if system == "xero" else contact_id(number)
    key = "ContactNumber" if system == "xero" else "ExternalID__c"
    phone = {"Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": "+442079460000"}]}
    body = {"Name": name, key: source_id, **(phone if system == "xero" else {"Phone": "+442079460000"})}
    source = phone if system == "salesforce" else {"Phone": "+442079460000"}
    return operation(
        system=system,
        entity="party",
        object="Contact" if system == "xero" else "Account",
        source_id=source_id,
        action="create",
        phase="create",
        unit="record",
        after=json.dumps({"name": name, "phone": "+442079460000"}),
        native_after=json.dumps(body),
        source_native=json.dumps({"name": {"Name": name}, "phone": source}),
        **more,
    )


def follow_up(made: dict[str, Any]) -> dict[str, Any]:
    """Write the new record's id into the record that it was made from."""
    system = OTHER[made["system"]]
    key = "ContactNumber" if system == "xero" else "ExternalID__c"
    return operation(
        system=system,
        entity="party",
        object="Account" if system == "salesforce" else "Contact",
        record_id=made["source_id"],
        action="link",
        phase="create",
        unit="reference",
        native_before=json.dumps({key: "" if system == "xero" else None}),
        native_after=json.dumps({key: {"$from": made["operation_id"]}}),
        depends_on=made["operation_id"],
    )


def frame(operations: Iterable[dict[str, Any]]) -> pl.DataFrame:
    rows = list(operations)
    columns = {name: [row.get(name) for row in rows] for name in OPERATIONS}
    schema = {name: pl.Float64 if name == "score" else pl.String for name in OPERATIONS}
    return conform(pl.DataFrame(columns, schema=schema), OPERATIONS)


def links_of(*numbers: int) -> pl.DataFrame:
    rows = [
        {
            "link_id": link_id("party", account_id(number), contact_id(number)),
            "entity": "party",
            "salesforce_id": account_id(number),
            "xero_id": contact_id(number),
            "status": "linked",
            "rule": "our_ids",
            "score": 1.0,
        }
        for number in numbers
    ]
    return conform(pl.DataFrame(rows), LINKS) if rows else empty(LINKS)


def move_of(number: int, unit: str, salesforce: str, xero: str, kind: str = "as_found") -> dict[str, Any]:
    return {
        "link_id": link_id("party", account_id(number), contact_id(number)),
        "entity": "party",
        "salesforce_id": account_id(number),
        "xero_id": contact_id(number),
        "unit": unit,
        "base_kind": kind,
        "salesforce_native": salesforce,
        "xero_native": xero,
        "salesforce_stamp": datetime(2026, 1, 2, tzinfo=UTC),
        "xero_stamp": None,
    }


@dataclass
class SkippingClock:
    """The machine's clock, which waits by going on at once."""

    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=sum(self.slept))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class Scene:
    """A sandbox, a journal and a run over them."""

    peer: Peer
    folder: Path
    slept: list[float] = field(default_factory=list)
    limits: Limits = QUICK
    overlap_s: float = 5
    clock: SkippingClock | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'journal.db'}"

    def journal(self, **options: Any) -> Journal:
        if self.clock:
            options.setdefault("now", self.clock.now)
        return Journal(self.url, KEY, **options)

    def know(self, *numbers: int) -> None:
        with self.journal() as journal:
            journal.adopt(links_of(*numbers), empty(BASE_MOVES))

    def push(self, operations: Iterable[dict[str, Any]], **options: Any) -> dict[str, tuple[str, str | None]]:
        """Push; gives operation_id -> (outcome, message)."""
        seen = datetime.now(UTC) - timedelta(seconds=1)
        options.setdefault("plan_hash", PLAN)
        if self.clock:
            options = {"now": self.clock.now, "sleep": self.clock.sleep, **options}
        options.setdefault("seen_at", {"salesforce": seen, "xero": seen})
        with (
            self.journal() as journal,
            self.peer.clients() as clients,
            journal.lease("pair", "test", 60) as lease,
        ):
            rows = push(
                frame(operations),
                journal=journal,
                lease=lease,
                clients=clients,
                mapping=MAPPING,
                settings_limits=self.limits,
                overlap_s=self.overlap_s,
                **options,
            )
        return told(rows)

    def settle(self, **options: Any) -> dict[str, tuple[str, str | None]]:
        with (
            self.journal() as journal,
            self.peer.clients() as clients,
            journal.lease("pair", "test", 60) as lease,
        ):
            rows = settle(
                journal=journal,
                lease=lease,
                clients=clients,
                mapping=MAPPING,
                settings_limits=self.limits,
                **options,
            )
        return told(rows)

    def fault(self, kind: str, *, method: str = "POST", **options: Any) -> None:
        """The next write of that method meets a fault: PUT and POST in Xero, PATCH in Salesforce."""
        side = "salesforce" if method == "PATCH" else "xero"
        rule = {"kind": kind, "method": method, "path": "Contacts|composite", **options}
        self.peer.control(side, "POST", "faults", rule)

    def switch(self, side: str, **chosen: Any) -> None:
        self.peer.control(side, "POST", "dialect", chosen)

    def records(self, side: str, kind: str) -> list[dict[str, Any]]:
        text = httpx.get(f"{self.peer.url(side)}/sandbox/dump", params={"kind": kind}, timeout=10).text
        return [json.loads(line) for line in text.splitlines()]

    def contacts(self) -> dict[str, dict[str, Any]]:
        return {row["ContactID"]: row for row in self.records("xero", "contact")}

    def accounts(self) -> dict[str, dict[str, Any]]:
        return {row["Id"]: row for row in self.records("salesforce", "Account")}

    def writes(self, side: str) -> list[dict[str, Any]]:
        """The writes that were carried out, in order."""
        return [
            one
            for one in self.peer.requests(side)
            if one["method"] in ("PUT", "POST", "PATCH")
            and any(word in one["path"] for word in ("Contacts", "composite", "/sobjects/"))
        ]

    def bases(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(side, unit) -> (kind, native), of a journal with one link."""
        with self.journal() as journal:
            rows = journal.bases().select("side", "unit", "base_kind", "native").rows()
        return {(side, unit): (kind, native) for side, unit, kind, native in rows}


def told(rows: pl.DataFrame) -> dict[str, tuple[str, str | None]]:
    return {row["operation_id"]: (row["outcome"], row["message"]) for row in rows.iter_rows(named=True)}

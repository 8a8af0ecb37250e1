"""The org: its records, users and settings, and what every other module here is handed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.clock import Clock, from_ms, to_ms
from sandbox.dialect import Dialect
from sandbox.salesforce.ids import full_id, make_id
from sandbox.salesforce.schema import OBJECTS, Schema
from sandbox.store import Body, Store

STORED = ("Account", "Contact")
INTEGRATION_ID = make_id("005", "Sb", 1)  # whom our own client logs in as
PERSON_ID = make_id("005", "Sb", 2)  # who edits in the web page: an administrator
SETUP_MS = to_ms(datetime(2024, 1, 15, 9, 0, tzinfo=UTC))
INDEXED = {"Account": ("Name", "ParentId"), "Contact": ("Email", "AccountId", "Name")}


@dataclass(frozen=True)
class Session:
    """Who asks: a user, logged in by a client."""

    user_id: str
    client_id: str = ""

    @property
    def restricted(self) -> bool:
        """Field-level security is set for the integration user; the administrator sees and writes all."""
        return self.user_id == INTEGRATION_ID


class Org:
    """Records by object and id; users and the organisation itself can't be changed."""

    def __init__(self, store: Store, clock: Clock, dialect: Dialect, org_id: str) -> None:
        self.store, self.clock, self.dialect, self.org_id = store, clock, dialect, org_id
        self.schema = Schema(store)
        self.declare()

    def declare(self) -> None:
        """Name the look-up keys, so that neither a write nor a keyed query reads every record."""
        for name in STORED:
            sobject = self.schema.object(name)
            assert sobject is not None
            keyed = [f.name for f in sobject.fields.values() if f.unique or f.external_id]
            for field in (*INDEXED[name], *keyed):
                self.store.declare(name, **{field: _key_of(field)})

    def is_indexed(self, kind: str, field: str) -> bool:
        sobject = self.schema.object(kind)
        f = sobject.field(field) if sobject else None
        return kind in STORED and f is not None and (f.name in INDEXED[kind] or f.unique or f.external_id)

    def find(self, kind: str, field: str, value: str) -> list[Body]:
        """Records, deleted ones too, whose indexed field has this value in any case."""
        return self.many(kind, self.store.find(kind, field, value.casefold()))

    def get(self, kind: str, record_id: str) -> Body | None:
        if kind in STORED:
            return self.store.get(kind, record_id)
        return next((row for row in self.fixed(kind) if row["Id"] == record_id), None)

    def many(self, kind: str, record_ids: Iterable[str]) -> list[Body]:
        """Those of the ids that exist, in their order."""
        return [body for record_id in record_ids if (body := self.get(kind, record_id))]

    def rows(self, kind: str, *, since: int | None = None, until: int | None = None) -> Iterator[Body]:
        """Every record with since <= SystemModstamp < until, in order of insertion."""
        if kind in STORED:
            return iter(self.store.select(kind, since=since, until=until))
        return iter(self.fixed(kind))

    def fixed(self, kind: str) -> list[Body]:
        """The users and the organisation."""
        rows = {"User": _users(), "Organization": [self._organization()]}.get(kind, [])
        stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), stamp_text(SETUP_MS))
        return [{**row, **stamps, "CreatedById": PERSON_ID, "LastModifiedById": PERSON_ID} for row in rows]

    def _organization(self) -> Body:
        return {
            "Id": self.org_id, "Name": "Northgate Trading (sandbox)", "Country": "GB", "IsSandbox": True,
            "DefaultLocaleSidKey": "en_GB", "LanguageLocaleKey": "en_US", "TimeZoneSidKey": "Europe/London",
            "OrganizationType": "Developer Edition", "InstanceName": "SBX1", "FiscalYearStartMonth": 1,
        }  # fmt: skip

    def new_id(self, kind: str) -> str:
        """The next id of an object; the number is kept, so that no id comes twice."""
        number = (self.store.meta(f"next_id:{kind}") or 0) + 1
        self.store.set_meta(f"next_id:{kind}", number)
        return make_id(OBJECTS[kind][0], "Sb", number)

    def stamp_ms(self) -> int:
        """The time that a write is stamped with.

        To the second (second hand: every stamp that public captures show ends in .000); with the switch
        late_commit_s earlier than it can be seen, as in a long transaction (recorded: airbyte 27146).
        """
        late_ms = self.dialect["late_commit_s"] * 1000
        stamp = self.clock.stamp_ms() - late_ms
        return stamp - stamp % 1000 if self.dialect["stamp_resolution"] == "second" else stamp

    def put(self, kind: str, body: Body) -> None:
        """Write a record as it is."""
        stamp = stamp_of(body["SystemModstamp"])
        self.store.put(kind, body["Id"], body, stamp=stamp, live=not body.get("IsDeleted"))


def stamp_text(ms: int) -> str:
    """2013-05-20T20:49:32.000+0000 (recorded: no colon in the offset)."""
    return from_ms(ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}+0000"


def stamp_of(text: str) -> int:
    """Milliseconds of a date-time in any of the forms that are taken: with zone Z, +0000 or +00:00."""
    moment = datetime.fromisoformat(text)
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def kind_of(record_id: str) -> str | None:
    """The object that an id belongs to, by its prefix."""
    return next((kind for kind, (prefix, _) in OBJECTS.items() if record_id.startswith(prefix)), None)


def load(store: Store, clock: Clock, rows: Iterable[Body]) -> int:
    """Write rows as they are, without rules; what the system keeps itself is filled in where it is missing.

    Takes rows in Salesforce's shape: {"attributes": {"type": "Account"}, "Id", fields...}; gives how many.
    """
    loaded = 0
    now = stamp_text(clock.now_ms() // 1000 * 1000)
    with store.transaction():
        for row in rows:
            kind = row["attributes"]["type"]
            if kind in STORED:
                body = filled(kind, row, now)
                stamp = stamp_of(body["SystemModstamp"])
                store.put(kind, body["Id"], body, stamp=stamp, live=not body.get("IsDeleted"))
                loaded += 1
    return loaded


def filled(kind: str, row: Body, now: str) -> Body:
    created = row.get("CreatedDate") or row.get("SystemModstamp") or now
    changed = row.get("LastModifiedDate") or row.get("SystemModstamp") or created
    system = {
        "Id": full_id(row["Id"]),
        "IsDeleted": False,
        "OwnerId": PERSON_ID,
        "CreatedDate": created,
        "CreatedById": PERSON_ID,
        "LastModifiedDate": changed,
        "LastModifiedById": PERSON_ID,
        "SystemModstamp": changed,
    }
    given = {
        name: value
        for name, value in row.items()
        if value is not None and not isinstance(value, dict)  # null is kept as absent; compounds are made
    }
    body = {**system, **given, "Id": system["Id"]}
    if kind == "Contact":
        body["Name"] = full_name(body)
    return body


def full_name(body: Body) -> str:
    """The compound name of a Contact."""
    return " ".join(part for part in (body.get("FirstName"), body.get("LastName")) if part)


def _key_of(field: str) -> Any:
    def key(body: Body) -> str | None:
        value = body.get(field)
        return value.casefold() if isinstance(value, str) else None

    return key


def _users() -> list[Body]:
    common = {
        "IsActive": True, "UserType": "Standard", "ProfileId": make_id("00e", "Sb", 1),
        "TimeZoneSidKey": "Europe/London", "LocaleSidKey": "en_GB", "LanguageLocaleKey": "en_US",
        "CompanyName": "Northgate Trading",
    }  # fmt: skip
    return [
        {
            **common, "Id": INTEGRATION_ID, "Username": INTEGRATION_NAME, "FirstName": "Integration",
            "LastName": "User", "Name": "Integration User", "Email": "integration@northgate.example",
            "Alias": "integ",
        },
        {
            **common, "Id": PERSON_ID, "Username": PERSON_NAME, "FirstName": "Robin", "LastName": "Page",
            "Name": "Robin Page", "Email": "robin.page@northgate.example", "Alias": "rpage",
        },
    ]  # fmt: skip


INTEGRATION_NAME = "integration@northgate.example.sandbox"
PERSON_NAME = "robin.page@northgate.example.sandbox"

"""The org: its records, users and settings, and what every other module here is handed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from sandbox.clock import Clock, from_ms, to_ms
from sandbox.dialect import Dialect
from sandbox.salesforce.currency_data import currency_rows, first_rates
from sandbox.salesforce.ids import full_id, make_id
from sandbox.salesforce.schema import (
    CUSTOM,
    NUMBERS,
    STORED,
    TABLE,
    Field,
    Schema,
    custom_objects,
    read_table,
)
from sandbox.salesforce.stages import STAGES, stage_rows
from sandbox.store import Body, Store

INTEGRATION_ID = make_id("005", "Sb", 1)  # whom our own client logs in as
PERSON_ID = make_id("005", "Sb", 2)  # who edits in the web page: an administrator
SETUP_MS = to_ms(datetime(2024, 1, 15, 9, 0, tzinfo=UTC))
STANDARD_PRICE_BOOK_ID = make_id("01s", "St", 1)
INDEXED = {
    "Account": ("Name", "ParentId"),
    "Contact": ("Email", "AccountId", "Name"),
    "Product2": ("Name", "ProductCode"),
    "PricebookEntry": ("Pricebook2Id", "Product2Id"),
    "Opportunity": ("AccountId", "Pricebook2Id"),
    "OpportunityLineItem": ("OpportunityId", "PricebookEntryId", "Product2Id"),
    "Order": ("AccountId", "OpportunityId", "Pricebook2Id", "OriginalOrderId", "OrderNumber"),
    "OrderItem": ("OrderId", "PricebookEntryId", "Product2Id", "OriginalOrderItemId"),
}


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
        self.schema = Schema(store, lambda: dialect["multi_currency"], lambda: dialect["dated_rates"])
        self._commits: dict[str, int] = {}
        self.declare()

    def declare(self) -> None:
        """Name the look-up keys, so that neither a write nor a keyed query reads every record."""
        for name in self.schema.stored():
            sobject = self.schema.object(name)  # None: currencies in an org that has one
            fields = sobject.fields.values() if sobject else ()
            keyed = [f.name for f in fields if _keyed(f)]
            for field in (*INDEXED.get(name, ()), *keyed):
                self.store.declare(name, **{field: _key_of(field)})

    def is_indexed(self, kind: str, field: str) -> bool:
        sobject = self.schema.object(kind)
        f = sobject.field(field) if sobject else None
        return (
            self.schema.is_stored(kind) and f is not None and (f.name in INDEXED.get(kind, ()) or _keyed(f))
        )

    def find(self, kind: str, field: str, value: str) -> list[Body]:
        """Records, deleted ones too, whose indexed field has this value in any case."""
        return self.many(kind, self.store.find(kind, field, value.casefold()))

    def get(self, kind: str, record_id: str) -> Body | None:
        if self.schema.is_stored(kind) and (found := self.store.get(kind, record_id)):
            return found
        return next((row for row in self.fixed(kind) if row["Id"] == record_id), None)

    def many(self, kind: str, record_ids: Iterable[str]) -> list[Body]:
        """Those of the ids that exist, in their order."""
        return [body for record_id in record_ids if (body := self.get(kind, record_id))]

    def rows(self, kind: str, *, since: int | None = None, until: int | None = None) -> Iterator[Body]:
        """Every record with since <= SystemModstamp < until, in order of insertion."""
        fixed = self.fixed(kind)
        if not self.schema.is_stored(kind):
            return iter(fixed)
        stored = self.store.select(kind, since=since, until=until)
        fixed = [row for row in fixed if not self.store.get(kind, row["Id"])]
        within = (
            row for row in fixed if (since or 0) <= stamp_of(row["SystemModstamp"]) < (until or 1 << 60)
        )
        return iter([*within, *stored])

    def fixed(self, kind: str) -> list[Body]:
        """What every org has: its users, itself, its stages, its currencies and its standard price book."""
        rows: list[Body] = []
        if kind == "User":
            rows = _users()
        elif kind == "Organization":
            rows = [self._organization()]
        elif kind == "OpportunityStage":
            rows = stage_rows(self.stages())
        elif kind == "CurrencyType" and self.dialect["multi_currency"]:
            rows = currency_rows()
        elif kind == "DatedConversionRate" and self.dialect["multi_currency"]:
            rows = first_rates()
        elif kind == "Pricebook2":
            rows = [_standard_price_book()]
        stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), stamp_text(SETUP_MS))
        return [{**row, **stamps, "CreatedById": PERSON_ID, "LastModifiedById": PERSON_ID} for row in rows]

    def _organization(self) -> Body:
        return {
            "Id": self.org_id, "Name": "Northgate Trading (sandbox)", "Country": "GB", "IsSandbox": True,
            "DefaultLocaleSidKey": "en_GB", "LanguageLocaleKey": "en_US", "TimeZoneSidKey": "Europe/London",
            "OrganizationType": "Developer Edition", "InstanceName": "SBX1", "FiscalYearStartMonth": 1,
        }  # fmt: skip

    def address_lists(self) -> bool:
        return self.schema.address_lists()

    def stages(self) -> dict[str, Body]:
        """By name: what IsWon, IsClosed, Probability and ForecastCategory of an opportunity come from."""
        return stages_of(self.store)

    def new_id(self, kind: str) -> str:
        """The next id of an object; the number is kept, so that no id comes twice."""
        number = (self.store.meta(f"next_id:{kind}") or 0) + 1
        self.store.set_meta(f"next_id:{kind}", number)
        return make_id(self.schema.prefix(kind), "Sb", number)

    def next_number(self, kind: str) -> int:
        """The next of the numbers that people read on records of an object (OrderNumber)."""
        number = (self.store.meta(f"next_number:{kind}") or 0) + 1
        self.store.set_meta(f"next_number:{kind}", number)
        return number

    def stamp_ms(self) -> int:
        """The time that a write is stamped with.

        To the second (second hand: every stamp that public captures show ends in .000); with the switch
        late_commit_s earlier than it can be seen, as in a long transaction (recorded: airbyte 27146).
        """
        late_ms = self.dialect["late_commit_s"] * 1000
        stamp = self.clock.stamp_ms() - late_ms
        return stamp - stamp % 1000 if self.dialect["stamp_resolution"] == "second" else stamp

    def commit(self, record_id: str) -> None:
        """Tell that a transaction has ended that wrote a record."""
        self._commits[record_id] = self.clock.stamp_ms()

    def unlocked_ms(self, record_id: str) -> int:
        """The time from which on the next transaction can write a record.

        A row is locked until the transaction commits that wrote it (facts: UNABLE_TO_LOCK_ROW). So of two late
        ones the second is stamped after the first was seen. Forgotten when the server starts again.
        """
        # A reset may have set the clock back since.
        stamp = min(self._commits.get(record_id, 0), self.clock.stamp_ms())
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


def load(store: Store, clock: Clock, rows: Iterable[Body]) -> int:
    """Write rows as they are, without rules; what the system keeps itself is filled in where it is missing.

    Takes rows in Salesforce's shape: {"attributes": {"type": "Account"}, "Id", fields...}; gives how many.
    """
    loaded = 0
    stages = stages_of(store)
    stored = {*STORED, *custom_objects(store)}
    now = stamp_text(clock.now_ms() // 1000 * 1000)
    with store.transaction():
        for row in rows:
            kind = row["attributes"]["type"]
            if kind in stored:
                body = filled(kind, row, now, stages)
                stamp = stamp_of(body["SystemModstamp"])
                store.put(kind, body["Id"], body, stamp=stamp, live=not body.get("IsDeleted"))
                loaded += 1
    return loaded


def stages_of(store: Store) -> dict[str, Body]:
    return STAGES | store.all_kept("stage")


def filled(kind: str, row: Body, now: str, stages: dict[str, Body]) -> Body:
    created = row.get("CreatedDate") or row.get("SystemModstamp") or now
    changed = row.get("LastModifiedDate") or row.get("SystemModstamp") or created
    system = {
        "Id": full_id(row["Id"]),
        "IsDeleted": False,
        "CreatedDate": created,
        "CreatedById": PERSON_ID,
        "LastModifiedDate": changed,
        "LastModifiedById": PERSON_ID,
        "SystemModstamp": changed,
    }
    if "OwnerId" in shipped_fields(kind):
        system["OwnerId"] = PERSON_ID
    given = {
        name: exact(kind, name, value)
        for name, value in row.items()
        if value is not None and not isinstance(value, dict)  # null is kept as absent; compounds are made
    }
    body = {**system, **given, "Id": system["Id"]}
    if kind == "Contact":
        body["Name"] = full_name(body)
    if kind == "Opportunity":
        body = {**stages.get(str(body.get("StageName")), {}).get("gives", {}), **body}
    if kind == "Order":
        code = "Activated" if body.get("Status") == "Activated" else "Draft"
        body = {"StatusCode": code, "OrderNumber": str(body["Id"])[7:15], "TotalAmount": Decimal(0), **body}
    return body


@cache
def shipped_fields(kind: str) -> dict[str, Field]:
    section = CUSTOM if kind.endswith("__c") else kind
    return {f.name: f for f in read_table(TABLE.read_text(encoding="utf-8"))[section]}


def exact(kind: str, name: str, value: Any) -> Any:
    """A number of a record as it is kept: whole in an int field, else a Decimal with all its digits."""
    f = shipped_fields(kind).get(name)
    if f is None or f.type not in NUMBERS or isinstance(value, bool | str):
        return value
    return int(value) if f.type == "int" else Decimal(str(value))


def full_name(body: Body) -> str:
    """The compound name of a Contact."""
    return " ".join(part for part in (body.get("FirstName"), body.get("LastName")) if part)


def _keyed(f: Field) -> bool:
    """Custom fields by which rows are looked up: external ids, and lookups to parents."""
    return f.unique or f.external_id or bool(f.custom and f.reference)


def _key_of(field: str) -> Any:
    def key(body: Body) -> str | None:
        value = body.get(field)
        return value.casefold() if isinstance(value, str) else None

    return key


def _standard_price_book() -> Body:
    return {
        "Id": STANDARD_PRICE_BOOK_ID, "Name": "Standard Price Book", "IsStandard": True, "IsActive": True,
    }  # fmt: skip


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

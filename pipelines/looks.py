"""Looks at what both systems hold now: the changes since the plan's snapshot, and records by id or key.

It reads through the clients, never from the warehouse: what counts is what is there just before a write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines.intents import Intent, Operation, key_fields, vendor_id
from pipelines.protocol import BILL, LATE_LISTED_S, OLD_S
from pipelines.salesforce.client import quote
from pipelines.salesforce.client import stamp as soql_stamp
from pipelines.xero.client import RESOURCES, parse_date, quoted
from pipelines.xero.source import complete, ordered_pages
from reconcile import names
from reconcile.agreed import UNIT, WITHDRAWN, Write, states
from reconcile.bodies import SLOTS, dumps, piece_of, read_path
from reconcile.errors import RetryLater, SnapshotRefused, UnexpectedReply
from reconcile.ids import ending_id, long_id
from reconcile.mapped import (
    GROUP_OBJECT,
    IN_SALESFORCE,
    MEMBERSHIP,
    OPTION,
    SHOWN_ENTITIES,
    SHOWN_UNIT,
    TRACKING_OPTION,
    WHOLE_OF,
)
from reconcile.mapping import Mapping as RecordMapping
from reconcile.normalise import canonical_values, observed_pieces

if TYPE_CHECKING:
    from pipelines.clients import Clients
    from pipelines.wire import Page

# So that an address stays below 16 KB; of Salesforce as many as one write carries, so that it is read back at once.
ASKED_AT_ONCE: Final = {"salesforce": 200, "xero": 40}
LATE_LISTED: Final = timedelta(seconds=LATE_LISTED_S)
VOIDED: Final = frozenset({"VOIDED", "DELETED"})
PIECE: Final = {"side": pl.String, "unit": pl.String, "native": pl.String}
OWN: Final = {entity: name for name, entity in SHOWN_ENTITIES.items()}
Body = dict[str, Any]


@dataclass
class Read:
    """One read through all pages of a list, when it began by our clock and when by theirs.

    place: bodies by id. total: the most that the vendor counted on any page; what left or came while the
    pages were read then shows.
    """

    ours: datetime
    theirs: datetime | None = None
    total: int | None = None
    pages: int = 0
    place: dict[str, Body] = field(default_factory=dict)

    def add(self, page: Page) -> None:
        self.pages += 1
        self.theirs = self.theirs or page.server_time
        if page.total is not None:
            self.total = max(page.total, self.total or 0)
        self.place |= {row.record_id: row.body for row in page.rows}


class Looks:
    """What was seen so far of the records that changed, or that were asked for."""

    def __init__(
        self,
        clients: Clients,
        mapping: RecordMapping,
        *,
        seen_at: Mapping[str, datetime],
        overlap_s: float,
        region: str,
        now: Callable[[], datetime],
    ) -> None:
        self._clients, self._mapping = clients, mapping
        self._since = dict(seen_at)
        self._overlap = timedelta(seconds=overlap_s)
        self._region, self._now = region, now
        self._looked_at: dict[tuple[str, str], tuple[datetime, datetime]] = {}  # by our clock, by theirs
        self._far_back: set[tuple[str, str]] = set()
        self._unchanged_since: dict[tuple[str, str], datetime | None] = {}  # of what no look has shown
        # As of when what was read is true: the clocks when its first page came; of one record by its id.
        self._as_of: dict[tuple[str, str, str], tuple[datetime, datetime]] = {}
        self._records: dict[tuple[str, str], dict[str, Body | None]] = {}
        self._keys: dict[tuple[str, str], dict[str, set[str]]] = {}
        self._written: dict[str, set[str]] = {}  # object of Salesforce -> fields that are written
        self._memberships: set[str] = set()  # that are written
        self._keyed: dict[tuple[str, str], set[str]] = {}  # fields by which records are found
        for (entity, side), name in key_fields(mapping).items():
            place = (side, OWN.get(entity) or object_of(mapping, entity, side))
            self._keyed.setdefault(place, set()).update([name] if name else [])

    def ask_for(self, operations: Iterable[Operation]) -> None:
        """Read, of Salesforce's objects, the fields too by which these operations show what Xero knows.

        They are no part of the mapping's fields: where an org lacks one, nothing writes it, and nothing else may
        fail for it. Of Xero's contact groups, those whose members are written: no list tells what changed there.
        """
        for one in operations:
            if one.entity == MEMBERSHIP:
                self._memberships.add(one.record_id or "")
            if one.unit == SHOWN_UNIT or one.entity in OWN:
                pieces = (json.loads(native or "{}") for native in (one.native_before, one.native_after))
                self._written.setdefault(one.object, set()).update(*pieces)

    # -- reading

    def refresh(
        self, side: str, object_name: str, *, older_than_s: float = OLD_S, far_back: bool = False
    ) -> None:
        """Read what changed since the last look, unless that is young enough. older_than_s: how old it may be.

        far_back: from now on this object's looks reach back as far as the first one, for no condition on the write
        would catch what was committed long after its stamp.
        """
        place, now = (side, object_name), self._now()
        self._far_back |= {place} if far_back else set()
        ours, theirs = self._looked_at.get(place, (None, self._since.get(side)))
        if ours is not None and 0 <= (now - ours).total_seconds() < older_than_s:
            return
        # As far as a pull, later ones would list all that the push itself wrote.
        far = ours is None or place in self._far_back
        overlap = self._overlap if far else min(self._overlap, LATE_LISTED)
        since = None if theirs is None else theirs - overlap
        self._unchanged_since.setdefault(place, since)
        found = self._changed(side, object_name, since)
        self._keep_all(side, object_name, found)
        # Not of the last page: what changed while they were read may be missing.
        begun = found.theirs or theirs or now
        self._looked_at[place] = (now, begun if theirs is None else max(theirs, begun))
        self._as_of[*place, ""] = (found.ours, begun)

    def read_changed(self, side: str, object_name: str, since: datetime) -> None:
        """Read what changed since a moment of their clock."""
        self._keep_all(side, object_name, self._changed(side, object_name, since))

    def not_changed_since(self, object_name: str, record_ids: Sequence[str], since: datetime) -> list[str]:
        """Read, of Salesforce, what changed since a moment of its clock; gives those of the records that did not."""
        self.read_changed("salesforce", object_name, since)
        known = self._records.get(("salesforce", object_name), {})
        stamps = {one: modified_at(known[one] or {}, "salesforce") for one in record_ids if one in known}
        return [one for one in record_ids if (stamp := stamps.get(one)) is None or stamp < since]

    def _changed(self, side: str, object_name: str, since: datetime | None) -> Read:
        if object_name == GROUP_OBJECT:
            return self._read(self._clients.xero.memberships(self._memberships))
        if side == "xero":
            return self._xero_list(object_name, since=since)
        where = "" if since is None else f" where SystemModstamp >= {soql_stamp(since)}"
        return self._read(self._clients.salesforce.query(self._select(object_name) + where))

    def _xero_list(self, object_name: str, **asked: Any) -> Read:
        """Read a list that is shown to be complete: a row that slips between two pages is an edit not seen."""
        try:
            return complete(
                object_name, lambda: self._read(ordered_pages(self._clients.xero, object_name, **asked))
            )
        except SnapshotRefused as error:
            raise RetryLater(
                f"xero {RESOURCES[object_name].path}: the list moved each time while it was read, and what we "
                "would write over can't be told. Nothing was written; run it again when fewer people work there."
            ) from error

    def _read(self, pages: Iterable[Page]) -> Read:
        found = Read(self._now())  # no page is asked for before
        for page in pages:
            found.add(page)
        return found

    def _keep_all(self, side: str, object_name: str, found: Read) -> None:
        for record_id, body in found.place.items():
            self.keep(side, object_name, record_id, body)

    def fetch(self, intents: Sequence[Intent]) -> None:
        """Read these intents' records as they are now: by id, or by the key that a new one carries."""
        for side, object_name in sorted({(intent.system, intent.object) for intent in intents}):
            mine = [intent for intent in intents if (intent.system, intent.object) == (side, object_name)]
            self.fetch_ids(side, object_name, [intent.record_id for intent in mine if intent.record_id])
            self._fetch_keys(side, object_name, [intent for intent in mine if not intent.record_id])

    def fetch_ids(self, side: str, object_name: str, record_ids: Sequence[str]) -> None:
        """Read records by id. One that is not given back is not there."""
        wanted = sorted(set(record_ids))
        # A group is asked for whole, whoever of its members is meant.
        at_once = ASKED_AT_ONCE[side] if object_name != GROUP_OBJECT else len(wanted)
        for some in _parts(wanted, at_once) if wanted else ():
            found: set[str] = set()
            now, first = self._now(), None
            for page in self._by_id(side, object_name, some):
                first = first or page.server_time
                for row in page.rows:
                    found.add(row.record_id)
                    self.keep(side, object_name, row.record_id, row.body)
            if first is not None:
                self._as_of |= {(side, object_name, record_id): (now, first) for record_id in some}
            for record_id in set(some) - found:
                self._records.setdefault((side, object_name), {})[record_id] = None

    def _by_id(self, side: str, object_name: str, record_ids: Sequence[str]) -> Iterable[Any]:
        if object_name == GROUP_OBJECT:
            return self._clients.xero.memberships(record_ids)
        if side == "xero":
            # A list without pages knows no ids to ask for: it is short, and read whole.
            asked = record_ids if RESOURCES[object_name].paged else ()
            return self._clients.xero.pages(object_name, ids=asked)
        listed = ", ".join(quote(record_id) for record_id in record_ids)
        return self._clients.salesforce.query(f"{self._select(object_name)} where Id in ({listed})")

    def _fetch_keys(self, side: str, object_name: str, intents: Sequence[Intent]) -> None:
        keyed = [intent for intent in intents if intent.natural_key]
        # Of an earlier run's intents the mapping may know another field by now.
        self._keyed.setdefault((side, object_name), set()).update(str(one.key_field) for one in keyed)
        for some in _parts(keyed, ASKED_AT_ONCE[side]):
            self._keep_all(side, object_name, self._by_key(side, object_name, some))

    def _by_key(self, side: str, object_name: str, intents: Sequence[Intent]) -> Read:
        field = intents[0].key_field
        if side == "xero" and RESOURCES[object_name].inside:
            return self._xero_list(object_name)  # it knows no filter by what stands inside
        if side == "xero":
            asked = " OR ".join(f"{field}=={quoted(str(intent.natural_key))}" for intent in intents)
            return self._xero_where(object_name, asked)
        listed = ", ".join(quote(str(intent.natural_key)) for intent in intents)
        return self._read(
            self._clients.salesforce.query(f"{self._select(object_name)} where {field} in ({listed})")
        )

    def _xero_where(self, object_name: str, asked: str) -> Read:
        """Filter by a key; where Xero refuses the filter (that of a Reference is unconfirmed), read them all."""
        try:
            return self._xero_list(object_name, where=asked)
        except UnexpectedReply as error:
            if "HTTP 400" not in str(error):
                raise
            return self._xero_list(object_name)

    def _select(self, object_name: str) -> str:
        names = self._mapping.fields("salesforce").get(object_name, frozenset(IN_SALESFORCE))
        names |= self._written.get(object_name, set())
        return f"select {', '.join(sorted(names))} from {object_name}"  # noqa: S608 (SOQL, of the mapping's checked names)

    def keep(self, side: str, object_name: str, record_id: str, body: Body) -> None:
        """Take a record as a reply shows it."""
        place = (side, object_name)
        self._records.setdefault(place, {})[record_id] = body
        for name in self._keyed.get(place, ()):
            value = body.get(name)
            if value and not body.get("IsDeleted"):
                self._keys.setdefault(place, {}).setdefault(_folded(value, object_name), set()).add(record_id)

    # -- answers

    def body(self, intent: Intent) -> Body | None:
        """Give the intent's record as last seen; null where it is not there, or was never seen."""
        record_id = intent.record_id or next(
            iter(sorted(self.holders(intent) or self._all_holders(intent))), None
        )
        return (
            None
            if record_id is None
            else self._records.get((intent.system, intent.object), {}).get(record_id)
        )

    def record(self, side: str, object_name: str, record_id: str) -> Body | None:
        """Give a record by id as last seen."""
        return self._records.get((side, object_name), {}).get(record_id)

    def records(self, side: str, object_name: str) -> list[Body]:
        """Give every record of an object that a look has shown."""
        return [body for body in self._records.get((side, object_name), {}).values() if body is not None]

    def field(self, side: str, object_name: str, record_id: str, name: str) -> Any:
        """Give what a record made in this run holds in a field; read by id where no reply has shown it.

        Raises KeyError where the record does not tell it, and as the clients do.
        """
        body = self.record(side, object_name, record_id)
        if body is None or body.get(name) is None:
            self.fetch_ids(side, object_name, [record_id])
            body = self.record(side, object_name, record_id)
        if body is None or body.get(name) is None:
            raise KeyError(name)
        return body[name]

    def stamp(self, side: str, object_name: str, record_id: str) -> datetime | None:
        """Give the moment since which a record has not changed: its own stamp where a look has shown it.

        What the looks did not show is older than what they asked for.
        """
        body = self.record(side, object_name, record_id)
        if body is not None:
            return modified_at(body, side)
        return self._unchanged_since.get((side, object_name))

    def second_left_s(self, intent: Intent) -> float | None:
        """Give how long the second lasts in which a record changed; null where the look came after it.

        A second change in that second may be missing in what the look showed, and has no stamp of its own.
        """
        body, look = self.body(intent), self._last_look(intent)
        stamp = modified_at(body, intent.system) if body is not None else None
        if stamp is None or look is None or int(look[1].timestamp()) > int(stamp.timestamp()):
            return None
        # By our clock: of theirs only whole seconds are known.
        return min(max(1.0 - (self._now() - look[0]).total_seconds(), 0.0), 1.0)

    def _last_look(self, intent: Intent) -> tuple[datetime, datetime] | None:
        """Give when a record was looked at last: by our clock, by theirs."""
        place = (intent.system, intent.object)
        which = [(*place, ""), (*place, intent.record_id or "")]
        return max((self._as_of[one] for one in which if one in self._as_of), default=None)

    def timed(self, intent: Intent) -> Intent:
        """Give an intent with the moment as of which its record is known, for whoever measures the window."""
        look = self._last_look(intent)
        if look is None:
            return intent
        ours, theirs = look
        body = self.body(intent)
        seen = modified_at(body, intent.system) if body is not None else None
        told = {"ours": ours.isoformat(), "theirs": theirs.isoformat()}
        return replace(intent, look=told | {"stamp": seen.isoformat() if seen else None})

    def was_seen(self, intent: Intent) -> bool:
        """Say whether a record with an id was looked at: it changed since the snapshot, or was asked for."""
        return intent.record_id in self._records.get((intent.system, intent.object), {})

    def holders(self, intent: Intent) -> set[str]:
        """Give the ids of the records that carry a new record's key, and take writes."""
        records = self._records.get((intent.system, intent.object), {})
        return {
            record_id
            for record_id in self._all_holders(intent)
            if (body := records[record_id]) and not is_closed(body, intent.system)
        }

    def _all_holders(self, intent: Intent) -> set[str]:
        if not intent.natural_key:
            return set()
        place = (intent.system, intent.object)
        key = _folded(intent.natural_key, intent.object)
        found = self._keys.get(place, {}).get(key, set())
        # A record seen again may carry the key no more.
        return {
            record_id
            for record_id in found
            if (body := self._records[place].get(record_id))
            and not body.get("IsDeleted")
            and _folded(body.get(intent.key_field or ""), intent.object) == key
            and (intent.parent_id is None or body.get("TrackingCategoryID") == intent.parent_id)
        }

    def compare(self, seen: Sequence[tuple[Operation, Body]]) -> dict[str, str]:
        """Say of each operation, by its id, what its record holds now; ask for many at once.

        after: what the operation would write; before: what the plan saw; other: something else;
        gone: the record is deleted, archived, or does not tell the unit any more.
        """
        of_invoices = [(one, body) for one, body in seen if writes_invoice(one)]
        found = dict(
            zip(
                (one.operation_id for one, _ in of_invoices),
                states([_invoice_write(one, body) for one, body in of_invoices]) if of_invoices else (),
                strict=True,
            )
        )
        return found | self._compare_units([(one, body) for one, body in seen if not writes_invoice(one)])

    def _compare_units(self, seen: Sequence[tuple[Operation, Body]]) -> dict[str, str]:
        asked: list[tuple[str, str, str, str | None]] = []
        for operation, body in seen:
            now = piece_like(operation.native_after or "{}", body)
            asked += [
                (operation.entity, operation.system, operation.unit, native)
                for native in (now, operation.native_before, operation.native_after)
            ]
        values = self._canonical(asked)
        return {
            operation.operation_id: _compared(*values[3 * place : 3 * place + 3])
            if self._tells(operation, body)
            else "gone"
            for place, (operation, body) in enumerate(seen)
        }

    def same(self, entity: str, side: str, pairs: Mapping[str, tuple[str | None, str | None]]) -> set[str]:
        """Give the units (unit -> two native pieces) whose pieces mean the same."""
        units = sorted(pairs)
        values = self._canonical([(entity, side, unit, native) for unit in units for native in pairs[unit]])
        return {unit for place, unit in enumerate(units) if values[2 * place] == values[2 * place + 1]}

    def _tells(self, operation: Operation, body: Body) -> bool:
        if is_closed(body, operation.system):
            return False
        entity = self._mapping.entities.get(operation.entity)
        if entity is None or all(unit.name != operation.unit for unit in entity.units):
            return True
        return operation.unit in observed_pieces(body, entity, operation.system)

    def _canonical(self, asked: Sequence[tuple[str, str, str, str | None]]) -> list[str | None]:
        """Give canonical values, in the same order; of a unit that the mapping has no more, its own JSON."""
        found: list[str | None] = [None] * len(asked)
        for name in {entity for entity, _, _, _ in asked}:
            places = [place for place, one in enumerate(asked) if one[0] == name]
            entity = self._mapping.entities.get(name)
            rows = [asked[place][1:] for place in places]
            if entity is None:
                values = [(None, None)] * len(rows)
            else:
                frame = pl.DataFrame(rows, schema=PIECE, orient="row")
                valued = canonical_values(frame, entity, region=self._region)
                values = valued.select("kind", "value").rows()
            for place, (kind, value) in zip(places, values, strict=True):
                found[place] = value if kind is not None else _plain(asked[place][3])
        return found


def object_of(mapping: RecordMapping, entity: str, side: str) -> str:
    """Give the object that an entity's records are on a side."""
    mapped = mapping.entities.get(entity)
    if mapped is not None:
        return mapped.side(side).object
    invoice, payments = mapping.invoice, mapping.payments
    if entity == "payment" and payments is not None:
        return "Payment" if side == "xero" else payments.salesforce
    if entity == "bill" and mapping.bill is not None:
        return BILL if side == "xero" else mapping.bill.salesforce
    assert invoice is not None, f"no entity {entity!r} in the mapping"
    if entity == "credit" and side == "xero":
        return "CreditNote"
    if entity == OPTION and side == "xero":
        return TRACKING_OPTION
    return invoice.xero if side == "xero" else invoice.salesforce


def writes_invoice(operation: Operation) -> bool:
    """Say whether an operation changes or withdraws an invoice that was made."""
    return (
        operation.action == "update"
        and operation.unit in (UNIT, WITHDRAWN)
        and operation.entity == "document"
    )


def _invoice_write(operation: Operation, body: Body) -> Write:
    before = operation.native_before or "{}"
    return Write(operation.unit, operation.after or "{}", before, body)


def is_closed(body: Body, side: str) -> bool:
    """Say whether a record takes no writes: deleted, archived, voided, or its person asked to be forgotten."""
    if side == "salesforce":
        return bool(body.get("IsDeleted"))
    if body.keys() & {"InvoiceID", "CreditNoteID", "PaymentID"}:
        return body.get("Status") in VOIDED
    if "TrackingOptionID" in body:
        return body.get("Status", "ACTIVE") != "ACTIVE"
    return body.get("ContactStatus", "ACTIVE") != "ACTIVE"


def modified_at(body: Body, side: str) -> datetime | None:
    """Give the record's own stamp."""
    return parse_date(body.get("SystemModstamp" if side == "salesforce" else "UpdatedDateUTC"))


def own_id(body: Body, side: str) -> str:
    if side == "salesforce":
        return str(long_id(str(body["Id"])))
    # An invoice shows its contact inside, never beside, and its items in its lines; a payment its invoice.
    named = ("Payment", "CreditNote", "Invoice", "Item", "TrackingOption")
    name = next((name for name in named if RESOURCES[name].id_field in body), "Contact")
    return str(body[RESOURCES[name].id_field]).lower()


def entity_id(record_id: str, entity: str, side: str) -> str:
    """Give the id that an entity's record has with us."""
    part = side == "xero" and entity in WHOLE_OF
    return f"{vendor_id(record_id)}:primary" if part else record_id


def piece_like(native: str, body: Body) -> str:
    """Give the piece of a body that has the fields of another piece."""
    return piece_of({path: read_path(body, path) for path in _paths(json.loads(native))})


def _paths(piece: Body) -> Iterable[str]:
    for name, value in piece.items():
        if name in SLOTS and isinstance(value, list):
            marker = SLOTS[name]
            yield from (f"{name}.{slot[marker]}.{leaf}" for slot in value for leaf in slot if leaf != marker)
        elif isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in _paths(value))
        else:
            yield name


def _compared(now: str | None, before: str | None, after: str | None) -> str:
    if now == after:
        return "after"
    return "before" if now == before else "other"


def _plain(native: str | None) -> str | None:
    # No value and a field that holds none are the same, and so are 40, 40.0 and 40.00.
    plain = json.loads(native or "{}", parse_int=_number, parse_float=_number)
    return dumps(_without_blanks(plain))


def _number(text: str) -> str:
    return f"{Decimal(text).normalize():f}"


def _without_blanks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_blanks(inner) for name, inner in value.items() if inner not in (None, "")}
    return [_without_blanks(inner) for inner in value] if isinstance(value, list) else value


def _folded(value: Any, object_name: str) -> str:
    if object_name == TRACKING_OPTION:  # a name that people type: alike as the plan holds it to be
        return names.fold((names.fold(str(value or "")) or "").lower()) or ""
    if object_name == BILL:  # by its end: what stands before it may have been spelled anew in Salesforce
        return ending_id(str(value or ""))
    return str(value or "").strip().casefold()


def _parts(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[at : at + size] for at in range(0, len(values), size)]

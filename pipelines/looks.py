"""Looks at what both systems hold now: the changes since the plan's snapshot, and records by id or key.

It reads through the clients, never from the warehouse: what counts is what is there just before a write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines.intents import Intent, Operation, vendor_id
from pipelines.salesforce.client import quote
from pipelines.salesforce.client import stamp as soql_stamp
from pipelines.xero.client import parse_date, quoted
from reconcile.bodies import SLOTS, dumps, piece_of, read_path
from reconcile.ids import long_id
from reconcile.mapping import Mapping as RecordMapping
from reconcile.normalise import canonical_values, observed_pieces

if TYPE_CHECKING:
    from pipelines.clients import Clients

OLD_S: Final = 30.0  # older than this, a look is no ground to write on
ASKED_AT_ONCE: Final = {"salesforce": 150, "xero": 40}  # so that an address stays below 16 KB
PIECE: Final = {"side": pl.String, "unit": pl.String, "native": pl.String}
Body = dict[str, Any]


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
        self._looked_at: dict[tuple[str, str], tuple[datetime, datetime]] = {}  # by us, by their clock
        self._records: dict[tuple[str, str], dict[str, Body | None]] = {}
        self._keys: dict[tuple[str, str], dict[str, set[str]]] = {}

    # -- reading

    def refresh(self, side: str, object_name: str, *, older_than_s: float = OLD_S) -> None:
        """Read what changed since the last look, unless that is young enough."""
        place, now = (side, object_name), self._now()
        ours, theirs = self._looked_at.get(place, (None, self._since.get(side)))
        if ours is not None and 0 <= (now - ours).total_seconds() < older_than_s:
            return
        since = None if theirs is None else theirs - self._overlap
        told = theirs
        for page in self._changed(side, object_name, since):
            told = page.server_time if told is None else max(told, page.server_time)
            for row in page.rows:
                self._keep(side, object_name, row.record_id, row.body)
        self._looked_at[place] = (now, told or now)

    def _changed(self, side: str, object_name: str, since: datetime | None) -> Iterable[Any]:
        if side == "xero":
            return self._clients.xero.contact_pages(modified_since=since)
        where = "" if since is None else f" where SystemModstamp >= {soql_stamp(since)}"
        return self._clients.salesforce.query(self._select(object_name) + where)

    def fetch(self, intents: Sequence[Intent]) -> None:
        """Read these intents' records as they are now: by id, or by the key that a new one carries."""
        for side, object_name in sorted({(intent.system, intent.object) for intent in intents}):
            mine = [intent for intent in intents if (intent.system, intent.object) == (side, object_name)]
            self.fetch_ids(side, object_name, [intent.record_id for intent in mine if intent.record_id])
            self._fetch_keys(side, object_name, [intent for intent in mine if not intent.record_id])

    def fetch_ids(self, side: str, object_name: str, record_ids: Sequence[str]) -> None:
        """Read records by id. One that is not given back is not there."""
        for some in _parts(sorted(set(record_ids)), ASKED_AT_ONCE[side]):
            found: set[str] = set()
            for page in self._by_id(side, object_name, some):
                for row in page.rows:
                    found.add(row.record_id)
                    self._keep(side, object_name, row.record_id, row.body)
            for record_id in set(some) - found:
                self._records.setdefault((side, object_name), {})[record_id] = None

    def _by_id(self, side: str, object_name: str, record_ids: Sequence[str]) -> Iterable[Any]:
        if side == "xero":
            return self._clients.xero.contact_pages(ids=record_ids)
        listed = ", ".join(quote(record_id) for record_id in record_ids)
        return self._clients.salesforce.query(f"{self._select(object_name)} where Id in ({listed})")

    def _fetch_keys(self, side: str, object_name: str, intents: Sequence[Intent]) -> None:
        keyed = [intent for intent in intents if intent.natural_key]
        for some in _parts(keyed, ASKED_AT_ONCE[side]):
            for page in self._by_key(side, object_name, some):
                for row in page.rows:
                    self._keep(side, object_name, row.record_id, row.body)

    def _by_key(self, side: str, object_name: str, intents: Sequence[Intent]) -> Iterable[Any]:
        field = intents[0].key_field
        if side == "xero":
            asked = " OR ".join(f"{field}=={quoted(str(intent.natural_key))}" for intent in intents)
            return self._clients.xero.contact_pages(where=asked)
        listed = ", ".join(quote(str(intent.natural_key)) for intent in intents)
        return self._clients.salesforce.query(f"{self._select(object_name)} where {field} in ({listed})")

    def _select(self, object_name: str) -> str:
        names = self._mapping.fields("salesforce").get(object_name, frozenset({"Id"}))
        return f"select {', '.join(sorted(names))} from {object_name}"  # noqa: S608 (SOQL, of the mapping's checked names)

    def _keep(self, side: str, object_name: str, record_id: str, body: Body) -> None:
        place = (side, object_name)
        self._records.setdefault(place, {})[record_id] = body
        for field in self._key_fields(side, object_name):
            value = body.get(field)
            if value and not body.get("IsDeleted"):
                self._keys.setdefault(place, {}).setdefault(_folded(value), set()).add(record_id)

    def _key_fields(self, side: str, object_name: str) -> set[str]:
        sides = [entity.side(side) for entity in self._mapping.entities.values()]
        return {one.reference for one in sides if one.reference and one.object == object_name}

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
        found = self._keys.get(place, {}).get(_folded(intent.natural_key), set())
        # A record seen again may carry the key no more.
        return {
            record_id
            for record_id in found
            if (body := self._records[place].get(record_id))
            and not body.get("IsDeleted")
            and _folded(body.get(intent.key_field or "")) == _folded(intent.natural_key)
        }

    def compare(self, seen: Sequence[tuple[Operation, Body]]) -> dict[str, str]:
        """Say of each operation, by its id, what its record holds now; ask for many at once.

        after: what the operation would write; before: what the plan saw; other: something else;
        gone: the record is deleted, archived, or does not tell the unit any more.
        """
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


def is_closed(body: Body, side: str) -> bool:
    """Say whether a record takes no writes: deleted, archived, or its person asked to be forgotten."""
    return (
        bool(body.get("IsDeleted"))
        if side == "salesforce"
        else body.get("ContactStatus", "ACTIVE") != "ACTIVE"
    )


def modified_at(body: Body, side: str) -> datetime | None:
    """Give the record's own stamp."""
    return parse_date(body.get("SystemModstamp" if side == "salesforce" else "UpdatedDateUTC"))


def own_id(body: Body, side: str) -> str:
    return str(long_id(str(body["Id"])) if side == "salesforce" else str(body["ContactID"]).lower())


def entity_id(record_id: str, entity: str, side: str) -> str:
    """Give the id that an entity's record has with us."""
    return f"{vendor_id(record_id)}:primary" if (entity, side) == ("person", "xero") else record_id


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
    return None if native is None else dumps(_without_blanks(json.loads(native)))


def _without_blanks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_blanks(inner) for name, inner in value.items() if inner not in (None, "")}
    return [_without_blanks(inner) for inner in value] if isinstance(value, list) else value


def _folded(value: Any) -> str:
    return str(value or "").strip().casefold()


def _parts(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[at : at + size] for at in range(0, len(values), size)]

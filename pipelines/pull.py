"""Pulls both systems into the warehouse: a complete snapshot, or the one before stays in force."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pipelines import quiet as quiet  # before dlt
from pipelines.clients import Clients
from pipelines.extract import Extract
from pipelines.failpoint import point
from pipelines.salesforce.bulk import Bulk
from pipelines.salesforce.client import RefusedQuery
from pipelines.salesforce.source import CURRENCIES, OBJECTS, PRODUCTS
from pipelines.salesforce.source import pull_object as pull_salesforce
from pipelines.settings import Settings
from pipelines.warehouse import (
    CATALOG,
    RAW_SCHEMA,
    DiskFull,
    ObjectState,
    Snapshot,
    Warehouse,
    is_disk_full,
    next_boundary,
    snapshot_id_at,
)
from pipelines.xero.source import REFERENCES, pull_groups, with_unlisted
from pipelines.xero.source import pull_object as pull_xero
from reconcile.errors import FixSettings, ReconcileError, SnapshotRefused
from reconcile.mapped import GROUP_OBJECT, SETTLING, SHOWN_BY

if TYPE_CHECKING:
    import pyarrow as pa

TARGETS: Final = (*(("salesforce", name) for name in OBJECTS), ("xero", "Contact"))
# Pulled where the mapping names them. What invoices are made of comes before the lists that they are held
# against: only then it shows whether those are needed.
FOR_PRODUCTS: Final = tuple(("salesforce", name) for name in PRODUCTS)
FOR_GROUPS: Final = (("xero", GROUP_OBJECT),)
FOR_DOCUMENTS: Final = (
    *(("salesforce", name) for name in CURRENCIES),
    ("salesforce", "Opportunity"),
    ("salesforce", "OpportunityLineItem"),
    ("salesforce", "Order"),
    ("salesforce", "OrderItem"),
    ("xero", "Invoice"),
    *(("xero", name) for name in SETTLING),
    *(("salesforce", name) for name in SHOWN_BY),
    *(("xero", name) for name in REFERENCES),
)
REFERENCES_LAST: Final = timedelta(hours=1)  # an account that somebody adds moves nothing else


@dataclass(frozen=True)
class ObjectResult:
    """What a pull did for one object. error: why it keeps its previous snapshot; null: it went well."""

    side: str
    object: str
    kind: str  # full, delta
    rows_seen: int
    rows_changed: int
    deleted: int
    complete_as_of: datetime | None
    error: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PullResult:
    """The snapshot now in force, object by object, and what it cost in calls.

    failures: the errors behind `error`, for whoever has to choose an exit code.
    """

    snapshot_id: str
    objects: tuple[ObjectResult, ...]
    calls: Mapping[str, int]
    failures: tuple[ReconcileError, ...] = ()

    @property
    def changed(self) -> bool:
        return any(entry.rows_changed for entry in self.objects)


class LoadFailed(FixSettings):
    """The load into the warehouse broke off; the previous snapshot stays in force."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the load into the warehouse broke off ({found}). The previous snapshot stays in force. "
            "Run it again; if it stays so, move the warehouse file away and run `reconcile pull --full`."
        )


def silent(_: str) -> None:
    """Show no progress."""


def pull(
    settings: Settings,
    clients: Clients,
    warehouse: Warehouse,
    *,
    now: datetime,
    full: bool = False,
    accept_smaller: bool = False,
    needed: Mapping[str, Mapping[str, frozenset[str]]] | None = None,
    sweeping: Collection[tuple[str, str]] = (),
    groups: Collection[str] = (),
    progress: Callable[[str], None] = silent,
) -> PullResult:
    """Bring the warehouse up to date with both systems.

    needed: side -> object -> fields that the mapping reads (`mapping.pulled(side)`); a field that was never
    asked for brings a sweep. Objects that only documents need are pulled where it names them.
    sweeping: (side, object) of those that are read whole, though nothing else is.
    groups: the names of the contact groups that are read, in every pull and with who is in them.
    accept_smaller: also take a sweep that misses many rows, or a changed type.
    An object that fails keeps its previous snapshot and is told in the result; the others go on.
    Raises the first object's error where every object failed; DiskFull, LoadFailed.
    """
    calls_before = clients.calls()
    before = warehouse.snapshot()
    sweep_all = full or before is None or warehouse.must_sweep()
    extracts: list[Extract] = []
    states: dict[tuple[str, str], ObjectState] = {}
    changes: dict[str, pa.Table] = {}
    failures: list[ReconcileError] = []
    targets = _targets(needed)
    for side, object_name in targets:
        wanted = (needed or {}).get(side, {}).get(object_name, frozenset())
        old = before.state(side, object_name) if before else None
        swept = sweep_all or (side, object_name) in (*sweeping, *FOR_GROUPS)  # these know no delta
        sweep = swept or _sweep_is_due(settings, old, wanted, now)
        if (side, object_name) in REFERENCE_LISTS:
            fresh = not (sweep or _documents_moved(states) or _is_stale(old, now))
            if fresh and not _is_kept(object_name, needed):
                assert old is not None
                states[side, object_name] = replace(old, rows_seen=0, rows_changed=0, deleted=0, notes=())
                continue
            sweep = not fresh  # short lists, some of which know no delta
        progress(f"{side} {object_name}: {'reading all' if sweep else 'reading what changed'}")
        try:
            extract = _extract(
                settings, clients, warehouse, old, side, object_name, sweep, wanted, groups, accept_smaller
            )
            # Of a few groups one that is deleted is a large part; nobody leaves a group that is not there.
            few = (side, object_name) in FOR_GROUPS
            gone = _gone(settings, warehouse, extract, accept=accept_smaller or few)
            changed = warehouse.changed_rows(extract, gone) if extract.rows is not None or gone else None
        except ReconcileError as error:
            failures.append(error)
            states[side, object_name] = _failed(old, side, object_name, sweep, error)
            progress(f"{side} {object_name}: {error}")
            continue
        extracts.append(extract)
        if changed is not None:
            changes[extract.table] = changed
        states[side, object_name] = _pulled(old, extract, changed, wanted, now)
        progress(
            f"{side} {object_name}: {len(extract.ids)} rows read, {states[side, object_name].rows_changed} new"
        )
    if len(failures) == len(targets):
        raise failures[0]
    snapshot = _store(warehouse, before, extracts, states, changes, now)
    calls = {side: count - calls_before[side] for side, count in clients.calls().items()}
    results = tuple(_result(states[target]) for target in targets)
    return PullResult(snapshot.snapshot_id, results, calls, tuple(failures))


REFERENCE_LISTS: Final = frozenset(("xero", name) for name in REFERENCES)


def _targets(
    needed: Mapping[str, Mapping[str, frozenset[str]]] | None,
) -> tuple[tuple[str, str], ...]:
    wanted = needed or {}
    more = (*FOR_PRODUCTS, *FOR_GROUPS, *FOR_DOCUMENTS)
    named = [(side, name) for side, name in more if name in wanted.get(side, {})]
    # An object of the org's own, of which only the mapping knows.
    own = [("salesforce", name) for name in sorted(wanted.get("salesforce", {}))]
    return (*TARGETS, *(one for one in own if one not in (*TARGETS, *named)), *named)


def _is_kept(object_name: str, needed: Mapping[str, Mapping[str, frozenset[str]]] | None) -> bool:
    """Say whether items are kept in agreement with products: then their changes are read in every pull."""
    return object_name == "Item" and "UpdatedDateUTC" in (needed or {}).get("xero", {}).get("Item", ())


def _documents_moved(states: Mapping[tuple[str, str], ObjectState]) -> bool:
    """Say whether anything of which invoices, payments and bills are made arrived in this pull: one may be planned.

    The last two are made of objects of the org's own.
    """
    made_of = ("Opportunity", "OpportunityLineItem", "Order", "OrderItem", "Invoice")
    return any(
        state.rows_changed
        for (side, name), state in states.items()
        if name in made_of or (side == "salesforce" and name.endswith("__c") and name not in SHOWN_BY)
    )


def _is_stale(old: ObjectState | None, now: datetime) -> bool:
    # A clock that went back says nothing about an age.
    known = old.full_at if old and not old.error else None
    return known is None or not timedelta(0) <= now - known < REFERENCES_LAST


def _sweep_is_due(settings: Settings, old: ObjectState | None, wanted: frozenset[str], now: datetime) -> bool:
    """A sweep: for the first time, by schedule, or because the mapping names a field never asked for."""
    if old is None or old.full_at is None or old.complete_as_of is None:
        return True
    aged = now - old.full_at >= timedelta(hours=settings.pull.full_every_h)
    # A clock that went back leaves a sweep in the future; it says nothing about its age.
    return aged or old.full_at > now + timedelta(days=1) or not wanted <= set(old.asked)


def _extract(
    settings: Settings,
    clients: Clients,
    warehouse: Warehouse,
    old: ObjectState | None,
    side: str,
    object_name: str,
    sweep: bool,
    wanted: frozenset[str],
    groups: Collection[str],
    accept: bool,
) -> Extract:
    since = None
    if not sweep and old is not None and old.complete_as_of is not None:
        # One second more than the overlap: both vendors' filters know whole seconds only.
        since = old.complete_as_of - timedelta(seconds=settings.pull.overlap_s + 1)
    if side == "xero":
        if (side, object_name) in FOR_GROUPS:
            return pull_groups(clients.xero, groups)
        extract = pull_xero(clients.xero, object_name, since=since, needed=wanted)
        # An item or a tax rate that is gone was deleted; a contact or an invoice never is.
        lasts = extract.whole and (side, object_name) not in REFERENCE_LISTS
        missing = warehouse.known_ids(extract) - extract.ids if lasts else ()
        return with_unlisted(clients.xero, extract, missing)
    known = warehouse.types(side, object_name)
    bulk = Bulk(settings.pull.bulk_from_rows, warehouse.path.parent)
    try:
        return pull_salesforce(
            clients.salesforce,
            object_name,
            since=since,
            read=old.read if old else (),
            needed=wanted,
            known=known,
            accept_types=accept,
            bulk=bulk,
        )
    except RefusedQuery:
        if since is None:
            raise
        # A field that the last sweep read is gone or hidden: only a sweep learns what is there now.
        return pull_salesforce(
            clients.salesforce,
            object_name,
            since=None,
            needed=wanted,
            known=known,
            accept_types=accept,
            bulk=bulk,
        )


def _gone(settings: Settings, warehouse: Warehouse, extract: Extract, *, accept: bool) -> list[str]:
    """Give the live ids that a verified sweep did not see; refuse where they are too many.

    What the system itself shows as deleted does not count here: that is said, not missing.
    """
    if not extract.whole:
        return []
    known = warehouse.known_ids(extract)
    gone = sorted(known - extract.ids)
    if len(known) - len(gone) < settings.pull.smallest_share * len(known) and not accept:
        raise SnapshotRefused(
            side=extract.side,
            object_name=extract.object_name,
            found=f"{len(known) - len(gone)} of the {len(known)} rows that were there before",
            expected=f"at least {settings.pull.smallest_share:.0%} of them",
        )
    return gone


def _pulled(
    old: ObjectState | None,
    extract: Extract,
    changed: pa.Table | None,
    wanted: frozenset[str],
    now: datetime,
) -> ObjectState:
    return ObjectState(
        side=extract.side,
        object=extract.object_name,
        kind="full" if extract.whole else "delta",
        rows=old.rows if old else 0,
        rows_seen=len(extract.ids),
        rows_changed=changed.num_rows if changed is not None else 0,
        deleted=sum(changed.column("deleted").to_pylist()) if changed is not None else 0,
        complete_as_of=extract.complete_as_of,
        full_at=now if extract.whole else (old.full_at if old else None),
        read=tuple(sorted(extract.observed)) if extract.side == "salesforce" else (),
        observed=tuple(sorted(extract.observed)),
        asked=tuple(sorted(wanted)) if extract.whole else (old.asked if old else ()),
        notes=extract.notes,
    )


def _failed(
    old: ObjectState | None, side: str, object_name: str, sweep: bool, error: ReconcileError
) -> ObjectState:
    """Give the previous state, with the reason why it is no newer."""
    kind = "full" if sweep else "delta"
    kept = old or ObjectState(side, object_name, kind, 0, 0, 0, 0, None, None)
    return replace(kept, kind=kind, rows_seen=0, rows_changed=0, deleted=0, error=str(error), notes=())


def _store(
    warehouse: Warehouse,
    before: Snapshot | None,
    extracts: Sequence[Extract],
    states: Mapping[tuple[str, str], ObjectState],
    changes: Mapping[str, pa.Table],
    now: datetime,
) -> Snapshot:
    """Load what changed, and put the snapshot into force. Without changes only its record moves on."""
    taken = next_boundary(now, warehouse.newest_boundary())
    fields = [extract.fields for extract in extracts if extract.fields is not None]
    same_fields = before is not None and not any(extract.whole and extract.notes for extract in extracts)
    moved = bool(changes) or not same_fields
    snapshot_id = snapshot_id_at(taken)
    snapshot = Snapshot(
        snapshot_id=snapshot_id,
        taken_at=taken,
        boundary=taken if changes or before is None else before.boundary,
        content_id=snapshot_id if moved or before is None else before.content_id,
        objects=tuple(states.values()),
    )
    point("before the snapshot is begun")
    if changes:
        warehouse.begin(snapshot, fields)
        point("begun")
        try:
            _load(warehouse, changes, snapshot.boundary)
        except BaseException:
            warehouse.abort()
            raise
        point("loaded")
    snapshot = warehouse.complete(snapshot, fields)
    point("complete")
    if fields:
        warehouse.make_views()
    return snapshot


def _load(warehouse: Warehouse, changes: Mapping[str, pa.Table], boundary: datetime) -> None:
    """Run dlt once for all objects, so that they share one load.

    Deletions come as rows of their own (see Warehouse.changed_rows), so that every load is incremental: a
    `whole` load that comes out short would retire what it did not bring.
    Raises DiskFull, LoadFailed.
    """
    import dlt
    from dlt.common.exceptions import DltException
    from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

    point("dlt imported")
    credentials = DuckDbCredentials(warehouse.con)
    credentials.local_config = {"schema": f"{CATALOG}.main"}  # else dlt loads into memory
    # A directory of its own for each load: a package that a killed run left there would be finished in place
    # of this one, and this one's rows dropped without a word (tried with dlt 1.31).
    shutil.rmtree(warehouse.work_dir, ignore_errors=True)
    warehouse.work_dir.mkdir(mode=0o700)
    try:
        pipeline = dlt.pipeline(
            "pull",
            destination=dlt.destinations.duckdb(credentials),
            dataset_name=RAW_SCHEMA,
            pipelines_dir=str(warehouse.work_dir),
        )
        pipeline.run([_resource(table, rows, boundary) for table, rows in sorted(changes.items())])
    except (DltException, OSError) as error:
        if is_disk_full(error):
            raise DiskFull(warehouse.path) from None
        raise LoadFailed(_innermost(error)) from None
    finally:
        shutil.rmtree(warehouse.work_dir, ignore_errors=True)
        warehouse.come_back()


def _resource(table: str, rows: pa.Table, boundary: datetime) -> Any:
    import dlt

    def batches() -> Any:
        point(f"{table} handed over")
        yield rows

    return dlt.resource(
        batches,
        name=table,
        max_table_nesting=0,
        columns={"record_id": {"merge_key": True}},  # said every time: an earlier one sticks in the schema
        write_disposition={
            "disposition": "merge",
            "strategy": "scd2",
            "row_version_column_name": "row_hash",
            "boundary_timestamp": boundary,
        },
    )


def _innermost(error: BaseException) -> str:
    """Name the error at the bottom; its text may hold rows."""
    seen: set[int] = set()
    while (below := error.__cause__ or error.__context__) is not None and id(below) not in seen:
        seen.add(id(below))
        error = below
    return type(error).__name__


def _result(state: ObjectState) -> ObjectResult:
    return ObjectResult(
        state.side,
        state.object,
        state.kind,
        state.rows_seen,
        state.rows_changed,
        state.deleted,
        state.complete_as_of,
        state.error,
        state.notes,
    )

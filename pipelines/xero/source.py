"""Pulls one of Xero's objects: all of it with a proof, or what changed since the last pull."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar

from pipelines.extract import TRIES, Collected, Extract, Reading, collect
from pipelines.wire import Page, Row
from pipelines.xero.client import RESOURCES, XeroClient, parse_date
from pipelines.xero.schema import LISTED_IN_PART, VOLATILE, fields_frame, kinds, observed_paths
from reconcile import names
from reconcile.errors import SnapshotRefused, TypeChanged, UnexpectedReply
from reconcile.mapped import GROUP_OBJECT

OBJECT: Final = "Contact"
DOCUMENTS: Final = "Invoice"
# Lists without pages, each read whole.
REFERENCES: Final = (
    "Item", "Account", "TaxRate", "Organisation", "BrandingTheme", "TrackingCategory", "Currency",
)  # fmt: skip
UNSTAMPED: Final = frozenset(
    {"TaxRate", "Organisation", "BrandingTheme", "TrackingCategory", "Currency", GROUP_OBJECT}
)  # Xero does not tell when they changed
MOST_UNLISTED: Final = 100  # contacts that a sweep asks for one by one
SHAPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "decimal": (int, Decimal),
    "datetime": (str,),
    "list": (list,),
    "object": (dict,),
}


def pull_object(
    client: XeroClient, object_name: str, *, since: datetime | None, needed: frozenset[str] = frozenset()
) -> Extract:
    """Pull an object, archived and voided records too; all of it where `since` is null.

    needed: fields that the mapping reads: they are part of what a record is, though their changes move no stamp.
    Raises SnapshotRefused where the pages can't be shown to be complete, TypeChanged, UnexpectedReply, and
    as the client does.
    """
    return _pulled(
        client, object_name, lambda: ordered_pages(client, object_name, since=since), since is None, needed
    )


def pull_groups(client: XeroClient, among: Collection[str]) -> Extract:
    """Pull the contact groups of these names, each with who is in it: a call for the list, and one for each.

    Names compare without regard to case. Raises as `pull_object`.
    """
    low = {name.lower() for name in among}

    def pages() -> Iterator[Page]:
        page = client.page(GROUP_OBJECT)
        named = [row for row in page.rows if (names.fold(str(row.body.get("Name"))) or "").lower() in low]
        whole = [row for one in named if (row := client.one(GROUP_OBJECT, one.record_id)) is not None]
        yield replace(page, rows=whole)

    return _pulled(client, GROUP_OBJECT, pages, True, frozenset())


def _pulled(
    client: XeroClient,
    object_name: str,
    pages: Callable[[], Iterator[Page]],
    whole: bool,
    needed: frozenset[str],
) -> Extract:
    new: set[str] = set()
    read, volatile = _reader(object_name, new), VOLATILE - needed
    collected = complete(object_name, lambda: collect(pages(), read, volatile))
    news = new and object_name not in LISTED_IN_PART
    notes = (f"new fields, kept and not mapped: {', '.join(sorted(new))}",) if news else ()
    if collected.complete_as_of is None:
        path = RESOURCES[object_name].path
        raise UnexpectedReply(side="xero", at=path, found="no page at all", expected="at least one")
    return Extract(
        side="xero",
        object_name=object_name,
        whole=whole,
        rows=collected.table(),
        ids=frozenset(collected.place),
        complete_as_of=collected.complete_as_of,
        fields=fields_frame(object_name) if whole else None,
        observed=observed_paths(object_name) | new,
        notes=notes,
    )


def with_unlisted(client: XeroClient, extract: Extract, missing: Iterable[str]) -> Extract:
    """Add to a sweep the records that it missed and that are there all the same, each asked for by its id.

    Xero deletes no contact: one that is gone from the list was merged, and tells into which other. Whether the
    list shows it is unconfirmed. Of a great many the sweep is refused instead, as too small.
    """
    asked = sorted(missing)
    if not asked or len(asked) > MOST_UNLISTED:
        return extract
    found = Collected()
    rows = [row for record_id in asked if (row := client.one(extract.object_name, record_id))]
    read = _reader(extract.object_name, set())
    found.add(Page(rows, None, extract.complete_as_of, last=True), read, VOLATILE)
    table = found.table()
    if table is None:
        return extract
    import pyarrow as pa

    whole = table if extract.rows is None else pa.concat_tables([extract.rows, table])
    return replace(extract, rows=whole, ids=extract.ids | found.place.keys())


class Seen(Protocol):
    """One read through all pages; place: by id. total: as Xero counts, null where it sends no count."""

    @property
    def total(self) -> int | None: ...

    @property
    def pages(self) -> int: ...

    @property
    def place(self) -> Mapping[str, object]: ...


S = TypeVar("S", bound=Seen)


def complete(object_name: str, read: Callable[[], S]) -> S:
    """Read until what was read is provably all.

    Rows can slip from one page to the one before while others move. Proof is Xero's own count against the
    distinct ids; where it sends no count, two reads after each other that saw the same ids.
    Raises SnapshotRefused where no read can be shown to be complete, and as `read` does.
    """
    before: S | None = None
    for _ in range(TRIES):
        found = read()
        counted = found.total is not None and found.total == len(found.place)
        seen_twice = found.total is None and before is not None and before.place.keys() == found.place.keys()
        if counted or seen_twice or found.pages == 1:
            return found
        before = found
    assert before is not None
    raise SnapshotRefused(
        side="xero",
        object_name=object_name,
        found=f"{len(before.place)} different rows in {TRIES} reads of all pages",
        expected=f"as many as Xero counts ({before.total})"
        if before.total is not None
        else "the same ones twice",
    )


def ordered_pages(
    client: XeroClient, object_name: str, *, since: datetime | None = None, where: str | None = None
) -> Iterator[Page]:
    """By id, which never moves: an edit between two pages then shifts no other row."""
    kind = RESOURCES[object_name]
    if not kind.paged:
        yield client.page(object_name, modified_since=since, where=where)
        return
    order = f"{kind.id_field} ASC"
    try:
        first = client.page(object_name, modified_since=since, where=where, order=order)
    except UnexpectedReply as error:
        if "HTTP 400" not in str(error):
            raise
        # Sorting by "any element" is documented, by this one not recorded; the proof stands without it.
        yield from client.pages(object_name, modified_since=since, where=where)
        return
    yield from client.pages(object_name, modified_since=since, where=where, order=order, first=first)


def _reader(object_name: str, new: set[str]) -> Reading:
    """Give what reads a row's stamp and says whether it is a tombstone; fields unknown to us go into `new`.

    None is a tombstone: Xero archives, merges and voids, and what it deletes it lists no more.
    """
    known = kinds(object_name)

    def read(row: Row) -> tuple[datetime | None, bool]:
        _check_types(object_name, known, row.body, new)
        modified_at = parse_date(row.body.get("UpdatedDateUTC"))
        if modified_at is None and object_name not in UNSTAMPED:
            raise UnexpectedReply(
                side="xero",
                at=f"{object_name} {row.record_id}",
                found="no date in UpdatedDateUTC",
                expected="/Date(ms)/",
            )
        return modified_at, False

    return read


def _check_types(object_name: str, known: dict[str, str], body: dict[str, Any], new: set[str]) -> None:
    for name, value in body.items():
        kind = known.get(name)
        if kind is None:
            new.add(name)
        elif value is not None and not isinstance(value, SHAPES[kind]):
            raise TypeChanged(
                side="xero", object_name=object_name, field=name, found=type(value).__name__, expected=kind
            )

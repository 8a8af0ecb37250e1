"""Pulls Xero's contacts: all of them with a proof, or what changed since the last pull."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pipelines.extract import TRIES, Collected, Extract, collect
from pipelines.wire import Page, Row
from pipelines.xero.client import XeroClient, parse_date
from pipelines.xero.schema import KINDS, VOLATILE, contact_fields, observed_paths
from reconcile.errors import SnapshotRefused, TypeChanged, UnexpectedReply

OBJECT: Final = "Contact"
MOST_UNLISTED: Final = 100  # contacts that a sweep asks for one by one
SHAPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "decimal": (int, Decimal),
    "datetime": (str,),
    "list": (list,),
    "object": (dict,),
}


def pull_contacts(client: XeroClient, *, since: datetime | None) -> Extract:
    """Pull contacts, archived ones too; all where `since` is null.

    Raises SnapshotRefused where the pages can't be shown to be complete, TypeChanged, UnexpectedReply, and
    as the client does.
    """
    new: set[str] = set()
    collected = _complete(client, since, new)
    notes = (f"new fields, kept and not mapped: {', '.join(sorted(new))}",) if new else ()
    if collected.complete_as_of is None:
        raise UnexpectedReply(side="xero", at="Contacts", found="no page at all", expected="at least one")
    return Extract(
        side="xero",
        object_name=OBJECT,
        whole=since is None,
        rows=collected.table(),
        ids=frozenset(collected.place),
        complete_as_of=collected.complete_as_of,
        fields=contact_fields() if since is None else None,
        observed=observed_paths() | new,
        notes=notes,
    )


def with_unlisted(client: XeroClient, extract: Extract, missing: Iterable[str]) -> Extract:
    """Add to a sweep the contacts that it missed and that are there all the same, each asked for by its id.

    Xero deletes no contact: one that is gone from the list was merged, and tells into which other. Whether the
    list shows it is unconfirmed. Of a great many the sweep is refused instead, as too small.
    """
    asked = sorted(missing)
    if not asked or len(asked) > MOST_UNLISTED:
        return extract
    new: set[str] = set()
    found = Collected()
    rows = [row for contact_id in asked if (row := client.contact(contact_id))]
    found.add(Page(rows, None, extract.complete_as_of, last=True), lambda row: _read(row, new), VOLATILE)
    table = found.table()
    if table is None:
        return extract
    import pyarrow as pa

    whole = table if extract.rows is None else pa.concat_tables([extract.rows, table])
    return replace(extract, rows=whole, ids=extract.ids | found.place.keys())


def _complete(client: XeroClient, since: datetime | None, new: set[str]) -> Collected:
    """Read until what was read is provably all.

    Rows can slip from one page to the one before while others move. Proof is Xero's own count against the
    distinct ids; where it sends no count, two reads after each other that saw the same ids.
    """
    before: Collected | None = None
    for _ in range(TRIES):
        found = collect(_pages(client, since), lambda row: _read(row, new), VOLATILE)
        counted = found.total is not None and found.total == len(found.place)
        seen_twice = found.total is None and before is not None and before.place.keys() == found.place.keys()
        if counted or seen_twice or found.pages == 1:
            return found
        before = found
    assert before is not None
    raise SnapshotRefused(
        side="xero",
        object_name=OBJECT,
        found=f"{len(before.place)} different contacts in {TRIES} reads of all pages",
        expected=f"as many as Xero counts ({before.total})"
        if before.total is not None
        else "the same ones twice",
    )


def _pages(client: XeroClient, since: datetime | None) -> Iterator[Page]:
    """By ContactID, which never moves: an edit between two pages then shifts no other row."""
    try:
        first = client.contacts(page=1, modified_since=since, order="ContactID ASC")
    except UnexpectedReply as error:
        if "HTTP 400" not in str(error):
            raise
        # Sorting by "any element" is documented, by this one not recorded; the proof stands without it.
        yield from client.contact_pages(modified_since=since)
        return
    yield from client.contact_pages(modified_since=since, order="ContactID ASC", first=first)


def _read(row: Row, new: set[str]) -> tuple[datetime, bool]:
    """Give a contact's stamp. It is never a tombstone: Xero archives and merges, and deletes nothing."""
    _check_types(row.body, new)
    modified_at = parse_date(row.body.get("UpdatedDateUTC"))
    if modified_at is None:
        raise UnexpectedReply(
            side="xero",
            at=f"contact {row.record_id}",
            found="no date in UpdatedDateUTC",
            expected="/Date(ms)/",
        )
    return modified_at, False


def _check_types(body: dict[str, Any], new: set[str]) -> None:
    for name, value in body.items():
        kind = KINDS.get(name)
        if kind is None:
            new.add(name)
        elif value is not None and not isinstance(value, SHAPES[kind]):
            raise TypeChanged(
                side="xero", object_name=OBJECT, field=name, found=type(value).__name__, expected=kind
            )

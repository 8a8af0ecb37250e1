"""What one object's pull brought: its rows as Arrow, and where the next pull goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pipelines.wire import Page, Row

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

COLUMNS: Final = ("record_id", "modified_at", "deleted", "row_hash", "body")
TRIES: Final = 3  # a list that moves while it is read is read again
# Gives a row's modified time (null where the vendor tells none), and whether it is a tombstone.
Reading = Callable[[Row], tuple[datetime | None, bool]]


@dataclass(frozen=True)
class Extract:
    """One object as pulled.

    whole: a full sweep. rows: RAW as Arrow, one row an id, null where there is none. ids: every id seen.
    complete_as_of: the system's own time when the first page was answered; the next delta begins there.
    fields: FIELDS, where the schema was read. observed: fields that the rows carry.
    notes: what a user should know (fields that came, went or were left out).
    """

    side: str
    object_name: str
    whole: bool
    rows: pa.Table | None
    ids: frozenset[str]
    complete_as_of: datetime
    fields: pl.DataFrame | None = None
    observed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        return f"{self.side}_{self.object_name.lower()}"


@dataclass
class Collected:
    """The rows of one read through all pages; a later version of an id replaces an earlier one."""

    complete_as_of: datetime | None = None
    total: int | None = None
    pages: int = 0
    place: dict[str, int] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: _values() for name in COLUMNS})

    def add(self, page: Page, read: Reading, volatile: frozenset[str]) -> None:
        """Take a page."""
        self.pages += 1
        self.total = page.total
        self.complete_as_of = self.complete_as_of or page.server_time
        for row in page.rows:
            modified_at, deleted = read(row)
            self.place[row.record_id] = len(self.columns["record_id"])
            values = (row.record_id, modified_at, deleted, row_hash(row.body, volatile), row.text)
            for column, value in zip(self.columns.values(), values, strict=True):
                column.append(value)

    def table(self) -> pa.Table | None:
        """Give the rows as RAW in Arrow, one an id (the last that came); null where there is none."""
        if not self.place:
            return None
        found = arrow_rows(self.columns)
        return found if found.num_rows == len(self.place) else found.take(sorted(self.place.values()))


def _values() -> list[Any]:
    return []


def collect(pages: Iterable[Page], read: Reading, volatile: frozenset[str]) -> Collected:
    """Read all pages into columns."""
    collected = Collected()
    for page in pages:
        collected.add(page, read, volatile)
    return collected


def arrow_rows(columns: Mapping[str, list[Any]]) -> pa.Table:
    """Give columns of RAW as Arrow."""
    import polars as pl

    from reconcile.model import RAW

    # Not by pyarrow itself: to look at a list it imports pandas, 0.4 s.
    frame = pl.DataFrame({name: columns[name] for name in COLUMNS}, schema=dict(RAW))
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow_schema())


def arrow_schema() -> pa.Schema:
    import pyarrow as pa

    text, stamp = pa.large_string(), pa.timestamp("us", "UTC")
    return pa.schema(
        [
            ("record_id", text),
            ("modified_at", stamp),
            ("deleted", pa.bool_()),
            ("row_hash", text),
            ("body", text),
        ]
    )


def row_hash(body: Mapping[str, Any], volatile: frozenset[str]) -> str:
    """Give the hash of a record's content, in one spelling, less what is volatile: has it changed?

    sha256, because it is stored: the fast hashes of DuckDB and Polars may change with their versions.
    """
    kept = {name: value for name, value in body.items() if name not in volatile}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), default=_number)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _number(value: object) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} in a reply")
    return f"#{value.normalize()}"  # 1.50 and 1.5 are one number; "1.5" the text is another


def tombstone_hash(record_id: str, before: str) -> str:
    """Give the hash of the row that says: gone from a verified full sweep."""
    return hashlib.sha256(f"gone {record_id} {before}".encode()).hexdigest()

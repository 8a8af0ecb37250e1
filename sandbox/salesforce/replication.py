"""Tells what changed and what was deleted in a span of time: getUpdated and getDeleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.salesforce.errors import Refused
from sandbox.salesforce.org import stamp_of, stamp_text
from sandbox.salesforce.reading import Reading
from sandbox.salesforce.schema import SObject


def changed_between(reading: Reading, sobject: SObject, start: str, end: str) -> dict[str, Any]:
    """getUpdated: ids of live rows by SystemModstamp; covered until the oldest open transaction (doc)."""
    begin, finish = _span(reading, start, end, days=30)
    rows = reading.org.rows(sobject.name, since=begin, until=finish)
    return {
        "ids": [b["Id"] for b in rows if not b.get("IsDeleted")],
        "latestDateCovered": _covered(reading, finish),
    }


def deleted_between(reading: Reading, sobject: SObject, start: str, end: str) -> dict[str, Any]:
    """getDeleted: also what the recycle bin no longer holds."""
    begin, finish = _span(reading, start, end, days=15)
    rows = reading.org.rows(sobject.name, since=begin, until=finish)
    gone = [(b["Id"], b["SystemModstamp"]) for b in rows if b.get("IsDeleted")]
    purged = reading.org.store.all_kept(f"purged:{sobject.name}")
    gone += [(key, at) for key, at in purged.items() if begin <= stamp_of(at) < finish]
    oldest = reading.org.clock.now() - timedelta(days=15)
    return {
        "deletedRecords": [{"id": record_id, "deletedDate": at} for record_id, at in gone],
        "earliestDateAvailable": stamp_text(_to_minute(oldest)),
        "latestDateCovered": _covered(reading, finish),
    }


def _span(reading: Reading, start: str, end: str, *, days: int) -> tuple[int, int]:
    """Begin and end in ms; seconds are cut off (doc), and the limits of replication hold."""
    try:
        begin, finish = (_to_minute(_moment(text)) for text in (start, end))
    except ValueError:
        raise Refused("INVALID_REPLICATION_DATE", "start and end must be valid date-times") from None
    if begin >= finish:
        message = "endDate must chronologically follow the startDate by more than one minute"
        raise Refused("INVALID_REPLICATION_DATE", message)
    now = reading.org.clock.now()
    if begin < _to_minute(now - timedelta(days=days)):
        message = f"startDate cannot be more than {days} days ago"
        raise Refused("INVALID_REPLICATION_DATE", message)
    return begin, finish


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign that was not encoded
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _to_minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60 * 60_000


def _covered(reading: Reading, finish_ms: int) -> str:
    open_since = reading.org.clock.now_ms() - reading.org.dialect["late_commit_s"] * 1000
    return stamp_text(min(finish_ms, open_since // 60_000 * 60_000))

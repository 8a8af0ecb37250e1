"""Keeps what happened to each record and who did it: what the web pages show under History and Notes."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.clock import from_ms
from sandbox.store import Body, Store
from sandbox.xero.books import SYSTEM, Books
from sandbox.xero.wire import ms_date

LONGEST_NOTE = 2500  # second hand
NOTE_TOO_LONG = f"The note must be {LONGEST_NOTE} characters or fewer."  # unconfirmed: the wording


def write(
    books: Books,
    record_id: str,
    changes: str,
    details: str,
    *,
    at_ms: int | None = None,
    fields: list[str] | None = None,
) -> None:
    """One more record of what the books' user did.

    at_ms: the stamp of the write; None: now. fields: which were changed, told where the dialect does.
    """
    by_app = books.client is not None
    if by_app and not books.dialect["history_of_api_writes"]:
        return
    if fields and books.dialect["history_details"] == "fields":
        details = f"{details} Changed: {', '.join(sorted(fields))}."
    user = SYSTEM if by_app and books.dialect["history_user_of_api"] == "system" else books.user
    _keep(books, record_id, {"Changes": changes, "User": user, "Details": details, "Ms": at_ms})


def note(books: Books, record_id: str, details: str) -> Body:
    """A note by PUT; gives it as the reply shows it (recorded: date without offset, no user)."""
    kept = _keep(
        books, record_id, {"Changes": "Note", "User": SYSTEM, "Details": details}
    )  # second hand: the user
    return {**_dates(kept["Ms"], f"/Date({kept['Ms']})/"), "Details": details, "ValidationErrors": []}


def shown(store: Store, record_id: str) -> list[Body]:
    """recorded: the newest first."""
    rows = store.all_kept(f"history:{record_id}").values()
    return [_shown(row) for row in reversed(list(rows))]


def everything(store: Store) -> Iterator[Body]:
    """Every record of every history, with RecordID (for whoever checks a run; no vendor's endpoint)."""
    for kind in store.kept_kinds("history:"):
        for row in store.all_kept(kind).values():
            yield {"RecordID": kind.removeprefix("history:"), **_shown(row)}


def _keep(books: Books, record_id: str, row: Body) -> Body:
    kind = f"history:{record_id}"
    row["Ms"] = row.get("Ms") or books.clock.now_ms()
    books.store.keep(kind, f"{books.store.kept_count(kind):08}", row)
    return row


def _shown(row: Body) -> Body:
    return {
        "Changes": row["Changes"], **_dates(row["Ms"], ms_date(row["Ms"])), "User": row["User"],
        "Details": row["Details"],
    }  # fmt: skip


def _dates(ms: int, date: str) -> Body:
    """recorded: the text has no Z and no parts of a second."""
    return {"DateUTCString": f"{from_ms(ms):%Y-%m-%dT%H:%M:%S}", "DateUTC": date}

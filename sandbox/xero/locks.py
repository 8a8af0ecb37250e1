"""Keeps the lock dates, and refuses what is dated on or before one: documents, payments, credits, and voiding them."""

from __future__ import annotations

from datetime import date
from typing import Any

from sandbox.clock import from_ms
from sandbox.store import Body
from sandbox.xero import settings_data
from sandbox.xero.books import Books
from sandbox.xero.wire import ms_date, read_ms_date

# second hand: as others report them (the year's end with its date in xeroizer#92, 2013; the period in help centres)
WORDS = {
    "PeriodLockDate": "The document date cannot be before the period lock date, currently set at {}",
    "EndOfYearLockDate": "The document date cannot be before the end of year lock date, currently set at {}",
}
UNPOSTED = ("DRAFT", "SUBMITTED")


def check(books: Books, day: str, errors: list[str], *, status: str = "AUTHORISED") -> None:
    """Refuses a day (ISO) on or before a lock date (second hand: the day itself is locked too).

    status: of the document. unconfirmed: whether what is not posted yet (DRAFT, SUBMITTED) is locked too.
    """
    if status in UNPOSTED and books.dialect["locked_drafts"] == "accept":
        return
    organisation = settings_data.organisation(books.store)
    for name, words in WORDS.items():
        locked = _day(organisation.get(name))
        if locked is not None and date.fromisoformat(day) <= locked:
            errors.append(words.format(f"{locked:%d-%b-%Y}"))
            return


def change(books: Books, wanted: Body) -> Body:
    """{"PeriodLockDate", "EndOfYearLockDate"}: days, or null for none; what is not named stays (a person's page)."""
    organisation = dict(settings_data.organisation(books.store))
    for name in WORDS:
        if name in wanted:
            organisation.pop(name, None)
            if wanted[name]:
                organisation[name] = ms_date(read_ms_date(str(wanted[name])))
    books.store.put("organisation", organisation["OrganisationID"], organisation)
    return {name: organisation.get(name) for name in WORDS}


def _day(value: Any) -> date | None:
    return from_ms(read_ms_date(str(value))).date() if value else None

"""What is dated into a period that Xero has locked: stopped with its reason, or moved to the first open day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sales import Sales, documents_of, line, linked, sales, stops

from reconcile.bodies import loads

CUT_OVER = date(2026, 11, 1)
DAYS = st.dates(CUT_OVER, date(2027, 2, 28))


def wire(day: date) -> str:
    return f"/Date({int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)}+0000)/"


def books_with(day: date, locked: dict[str, date], policy: str = "stop") -> tuple[Sales, str]:
    books = sales(locked=policy)
    books.organisation(**{name: wire(until) for name, until in locked.items()})
    account, _ = linked(books)
    return books, books.won(1, account, line(), CloseDate=day.isoformat())


def sent(books: Sales) -> list[dict[str, Any]]:
    created = documents_of(books.plan()).filter(pl.col("action") == "create")
    return [loads(text) for text in created["native_after"]]


@pytest.mark.in_turn
@settings(max_examples=25)
@given(
    DAYS,
    st.dictionaries(st.sampled_from(["PeriodLockDate", "EndOfYearLockDate"]), DAYS),
    st.sampled_from(["stop", "move"]),
)
def test_no_invoice_is_dated_on_or_before_a_lock_date(
    day: date, locked: dict[str, date], policy: str
) -> None:
    books, deal = books_with(day, locked, policy)
    until = max(locked.values(), default=None)
    is_open = until is None or day > until
    invoices = sent(books)
    if not is_open and policy == "stop":
        assert invoices == []
        assert (
            f"its date {day} lies in a period that Xero has locked up to {until}" in stops(books.plan())[deal]
        )
        return
    [invoice] = invoices
    dated = day if is_open or until is None else until + timedelta(days=1)
    assert invoice["Date"] == dated.isoformat()
    assert invoice["DueDate"] == (dated + timedelta(days=30)).isoformat()


def test_what_was_moved_says_so_and_is_made_once() -> None:
    books, _ = books_with(date(2026, 11, 5), {"PeriodLockDate": date(2026, 11, 30)}, "move")
    plan = books.plan()
    [reason] = documents_of(plan).filter(pl.col("action") == "create")["reason"]
    assert reason.endswith("; its date 2026-11-05 lies in a locked period, and is moved to 2026-12-01")
    books.apply(plan)
    assert documents_of(books.plan()).is_empty()
    # The period is opened again, or more of it is locked: what is made stays as it is.
    for until in (date(2026, 10, 31), date(2026, 12, 31)):
        books.organisation(PeriodLockDate=wire(until))
        assert documents_of(books.plan()).is_empty()
        assert len(books.invoices) == 1


@pytest.mark.parametrize("policy", ["stop", "move"])
def test_one_that_is_there_already_is_adopted_whatever_is_locked(policy: str) -> None:
    books, _ = books_with(date(2026, 11, 5), {}, policy)
    books.apply(books.plan())
    books.links = books.links.filter(pl.col("entity") != "document")
    for body in books.salesforce["Opportunity"].values():
        for name in books.invoicing.link.fields.values():
            body[name] = None
    books.organisation(PeriodLockDate=wire(date(2026, 12, 31)))
    assert documents_of(books.plan())["action"].to_list() == ["link"]
    assert len(books.invoices) == 1

"""When an invoice is due by its contact's terms: held against a reckoning of days, one by one."""

from __future__ import annotations

import json
from calendar import monthrange
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_books import salesforce_id, xero_id

from reconcile.documents import Documents
from reconcile.model import DOCUMENT_LINES, DOCUMENTS, INVOICES, LINKS, REJECTS, conform
from reconcile.terms import due_by_terms

ACCOUNT, CONTACT, ORGANISATION = salesforce_id("001", 1), xero_id(1), xero_id(2)
TERMS = ("DAYSAFTERBILLDATE", "DAYSAFTERBILLMONTH", "OFCURRENTMONTH", "OFFOLLOWINGMONTH")


def in_month(year: int, month: int, day: int) -> date:
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return date(year, month, min(max(day, 1), monthrange(year, month)[1]))


def reckoned(day: date, number: int, kind: str) -> date:
    """As a person counts it."""
    if kind == "DAYSAFTERBILLDATE":
        return day + timedelta(days=number)
    if kind == "DAYSAFTERBILLMONTH":
        return date(day.year, day.month, monthrange(day.year, day.month)[1]) + timedelta(days=number)
    return in_month(day.year, day.month + (kind == "OFFOLLOWINGMONTH"), number)


def due(
    day: date,
    contact: dict[str, Any] | None,
    organisation: dict[str, Any] | None = None,
    by_days: date | None = None,
) -> date | None:
    header = {"record_id": salesforce_id("006", 1), "account_id": ACCOUNT, "date": day, "due": by_days}
    frames = {"lines": DOCUMENT_LINES, "invoices": INVOICES, "rejects": REJECTS}
    documents = Documents(
        conform(pl.DataFrame([header], schema_overrides={"due": pl.Date}), DOCUMENTS),
        **{name: pl.DataFrame(schema=dict(schema)) for name, schema in frames.items()},
    )
    links = conform(pl.DataFrame([{"salesforce_id": ACCOUNT, "xero_id": CONTACT.upper()}]), LINKS)
    bodies = {
        "xero.Contact": {"ContactID": CONTACT, "Name": "A", "PaymentTerms": contact},
        "xero.Organisation": {"OrganisationID": ORGANISATION, "PaymentTerms": organisation},
    }
    ids = {"xero.Contact": CONTACT, "xero.Organisation": ORGANISATION}
    raw = {
        name: pl.DataFrame({"record_id": [ids[name]], "body": [json.dumps(body)], "deleted": [False]})
        for name, body in bodies.items()
    }
    return due_by_terms(documents, links, raw).headers["due"][0]


@given(st.dates(date(2019, 1, 1), date(2032, 12, 31)), st.integers(0, 31), st.sampled_from(TERMS))
def test_each_kind_of_term_gives_the_day_that_a_person_counts(day: date, number: int, kind: str) -> None:
    assert due(day, {"Sales": {"Day": number, "Type": kind}}) == reckoned(day, number, kind)


WEEK, FIRST = {"Day": 7, "Type": "DAYSAFTERBILLDATE"}, {"Day": 1, "Type": "OFFOLLOWINGMONTH"}


@pytest.mark.parametrize(
    ("contact", "organisation", "expected"),
    [
        ({"Sales": WEEK}, {"Sales": FIRST}, "2026-11-27"),
        (None, {"Sales": FIRST}, "2026-12-01"),
        ({}, None, "2026-12-20"),
        ({"Bills": WEEK}, {}, "2026-12-20"),
        ({"Sales": WEEK | {"Type": "WHENEVER"}}, None, "2026-12-20"),
        ({"Sales": {"Type": "OFCURRENTMONTH"}}, None, "2026-12-20"),
        ({"Sales": "soon"}, None, "2026-12-20"),
    ],
)
def test_who_has_no_terms_that_can_be_read_has_the_organisations_else_the_days(
    contact: dict[str, Any] | None, organisation: dict[str, Any] | None, expected: str
) -> None:
    found = due(date(2026, 11, 20), contact, organisation, by_days=date(2026, 12, 20))
    assert found == date.fromisoformat(expected)

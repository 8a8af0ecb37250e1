"""What stands apart, counted, and since when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from two_books import books, phone, salesforce_id, xero_id

from reconcile.drift import signature, summarise, with_age
from reconcile.model import DRIFT, conform, empty

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def drift(
    unit: str = "phone", salesforce: str | None = "a", xero: str | None = "b", why: str = "as_found"
) -> pl.DataFrame:
    row = {"link_id": "party:A:X", "entity": "party", "unit": unit, "salesforce_id": "A", "xero_id": "X"}
    return conform(
        pl.DataFrame([row | {"salesforce": salesforce, "xero": xero, "direction": "both", "why": why}]), DRIFT
    )


def test_a_new_difference_begins_now():
    assert with_age(drift(), empty(DRIFT), now=NOON)["since"].to_list() == [NOON]


def test_a_difference_that_stands_keeps_its_first_day():
    yesterday = with_age(drift(), empty(DRIFT), now=NOON - DAY)
    assert with_age(drift(), yesterday, now=NOON)["since"].to_list() == [NOON - DAY]


def test_a_difference_whose_value_moved_is_another_one():
    yesterday = with_age(drift(), empty(DRIFT), now=NOON - DAY)
    assert with_age(drift(xero="c"), yesterday, now=NOON)["since"].to_list() == [NOON]


def test_only_the_last_run_says_how_old_a_difference_is():
    """What was settled and came back is new."""
    long_ago = with_age(drift(), empty(DRIFT), now=NOON - 9 * DAY).with_columns(saved_at=NOON - 9 * DAY)
    last = with_age(drift(unit="fax"), empty(DRIFT), now=NOON - DAY).with_columns(saved_at=NOON - DAY)
    assert with_age(drift(), pl.concat([long_ago, last]), now=NOON)["since"].to_list() == [NOON]


def test_a_blank_and_an_empty_text_have_different_signatures():
    assert len(set(signature(pl.concat([drift(xero=None), drift(xero="")]))["signature"])) == 2


def test_a_report_counts_by_unit_and_side_and_holds_no_value():
    world = books()
    a1 = world.account(
        1, Name="Acme Blue", ExternalID__c=xero_id(1), Phone="020 7946 0958", Fax="020 7946 0999"
    )
    world.xero_contact(1, Name="Acme Blue", ContactNumber=a1, Phones=phone("0161 496 0000"))
    world.account(2, Name="Falcon Zephyr")
    plan = world.plan()
    report = summarise(plan, world.links)
    assert report.units.select("entity", "unit", "direction", "why", "count").rows() == [
        ("party", "phone", "as_found", "as_found", 1)
    ]
    assert report.records.rows() == [
        ("party", "salesforce", "linked", 1),
        ("party", "salesforce", "unmatched: new", 1),
        ("party", "xero", "linked", 1),
    ]
    assert report.examples.select("salesforce_id", "xero_id").rows() == [
        (salesforce_id("001", 1), xero_id(1))
    ]
    assert "7946" not in "".join(
        frame.write_ndjson() for frame in (report.units, report.records, report.examples)
    )


def test_the_oldest_difference_is_told():
    world = books()
    plan = world.plan()
    told = pl.concat([drift().with_columns(since=NOON - DAY), drift("fax").with_columns(since=NOON)])
    assert summarise(plan, drift=told).units.select("unit", "oldest").rows() == [
        ("fax", NOON),
        ("phone", NOON - DAY),
    ]

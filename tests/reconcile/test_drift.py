"""What stands apart, counted, and since when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from reconcile.drift import signature, standing, with_age
from reconcile.model import DRIFT, LINKS, conform, empty

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


def test_every_unit_of_every_link_agrees_differs_or_is_in_conflict():
    links = conform(pl.DataFrame({"entity": ["party"] * 3, "link_id": ["a", "b", "c"]}), LINKS)
    units = {"party": ["phone", "fax"], "person": ["name"]}
    torn = drift("phone", why="conflict")
    told = standing(units, links, pl.concat([drift("phone"), drift("fax")]), torn)
    assert told.select("unit", "compared", "agreed", "drift", "conflicts").rows() == [
        ("phone", 3, 1, 1, 1),
        ("fax", 3, 2, 1, 0),
        ("name", 0, 0, 0, 0),
    ]

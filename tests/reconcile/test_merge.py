"""What happened to a unit, and what follows: the table of DESIGN.md and the policies around it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped_records import party

from reconcile.mapping import EntityMapping
from reconcile.merge import (
    VERDICTS,
    Merged,
    classify_units,
    difference_fingerprint,
    merge,
)
from reconcile.model import BASES, DECISIONS, LINKS, RECORDS, UNITS, VALUES, conform

values = st.sampled_from([None, "", "a", "b"])
kinds = st.sampled_from([None, "agreed", "as_found", "accepted"])
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LINK = "party:A:X"


# --- Verdicts -----------------------------------------------------------------------------------------


def verdict(
    salesforce: str | None,
    xero: str | None,
    salesforce_base: str | None,
    xero_base: str | None,
    kind: str | None = "agreed",
    *,
    observed: tuple[bool, bool] = (True, True),
) -> str:
    row = (LINK, "party", "phone", salesforce, xero, salesforce_base, xero_base, kind, *observed)
    frame = pl.LazyFrame([row], schema=dict(UNITS), orient="row")
    return classify_units(frame).collect()["verdict"].item()


@given(values, values, values, values, kinds)
def test_neither_system_is_favoured(salesforce, xero, salesforce_base, xero_base, kind):
    """Swapping the systems swaps the verdict and changes nothing else."""
    there = verdict(salesforce, xero, salesforce_base, xero_base, kind)
    back = verdict(xero, salesforce, xero_base, salesforce_base, kind)
    mirror = {
        "salesforce_changed": "xero_changed",
        "xero_changed": "salesforce_changed",
        "found_only_in_xero": "found_only_in_salesforce",
        "found_only_in_salesforce": "found_only_in_xero",
    }
    assert back == mirror.get(there, there)


@given(values, values, values, values, kinds)
def test_every_combination_has_one_verdict(salesforce, xero, salesforce_base, xero_base, kind):
    assert verdict(salesforce, xero, salesforce_base, xero_base, kind) in VERDICTS


@given(values, values)
def test_what_nobody_changed_is_unchanged_however_the_two_sides_spell_it(salesforce, xero):
    assert verdict(salesforce, xero, salesforce, xero) == "unchanged"


@given(values, values, values, values, kinds, st.sampled_from([(True, False), (False, True), (False, False)]))
def test_what_was_not_observed_is_never_a_change(salesforce, xero, base, other, kind, observed):
    assert verdict(salesforce, xero, base, other, kind, observed=observed) == "not_observed"


def test_clearing_a_unit_is_a_change():
    assert verdict(None, "+44 1", salesforce_base="+44 1", xero_base="+44 1") == "salesforce_changed"


def test_clearing_a_unit_on_both_sides_is_agreement():
    assert verdict(None, None, salesforce_base="+44 1", xero_base="+44 1") == "agreed"


def test_the_same_change_on_both_sides_is_agreement():
    assert verdict("b", "b", salesforce_base="a", xero_base="a") == "agreed"


def test_a_change_to_what_the_other_side_has_already_is_agreement():
    assert verdict("Acme", "Acme", salesforce_base="acme", xero_base="Acme") == "agreed"


def test_different_changes_on_both_sides_are_a_conflict():
    assert verdict("b", "c", salesforce_base="a", xero_base="a") == "conflict"


def test_what_was_found_and_not_touched_since_still_differs():
    assert verdict("a", "b", "a", "b", "as_found") == "found_different"


def test_what_was_found_different_and_changed_since_is_a_conflict():
    """The two never agreed: who changes one side saw that side's value alone (chaos, seed 224441059008)."""
    assert verdict("a", "c", "a", "b", "as_found") == "conflict"
    assert verdict("a", None, "a", "b", "as_found") == "conflict"
    assert verdict("a", "a", "a", "b", "as_found") == "agreed"


def test_what_was_found_equal_and_changed_since_is_a_change():
    assert verdict("a", "c", "a", "a", "as_found") == "xero_changed"


@pytest.mark.parametrize("now", ["b", "c"])
def test_a_value_entered_where_a_blank_was_found_does_not_replace_the_other_sides(now):
    """Who entered it saw a blank: the fill that was on its way had told nobody of the other value."""
    assert verdict("a", now, None, "b", "as_found") == "conflict"
    assert verdict("a", now, None, "b", "agreed") == ("salesforce_changed" if now == "b" else "conflict")


def test_a_blank_that_was_found_is_filled_with_what_the_other_side_says_by_then():
    assert verdict(None, "c", None, "b", "as_found") == "xero_changed"
    assert verdict("a", None, None, "b", "as_found") == "conflict"


def test_an_accepted_difference_is_left_alone():
    assert verdict("a", "b", "a", "b", "accepted") == "unchanged"


# --- Policies -----------------------------------------------------------------------------------------


def unit(flows: str = "both", **options: str) -> EntityMapping:
    more = "".join(f", {key}: {value}" for key, value in options.items())
    return party(f"it: {{salesforce: Phone, xero: AccountNumber, flows: {flows}{more}}}")


def merged(
    mapping: EntityMapping,
    salesforce: str | None,
    xero: str | None,
    *,
    bases: tuple[str | None, str | None] | None = None,
    kind: str = "agreed",
    decisions: list[dict[str, Any]] | None = None,
    recent: pl.DataFrame | None = None,
    status: tuple[str, str] = ("active", "active"),
    in_scope: tuple[bool, bool] = (True, True),
    observed: tuple[bool, bool] = (True, True),
    modified: tuple[datetime, datetime] = (NOON, NOON),
    stamp: datetime = NOON,
    lacking: str | None = None,
) -> Merged:
    """Merge one unit `it` of one pair A, X; `bases` null: there is none."""
    ids, now = ("A", "X"), (salesforce, xero)
    sides = ("salesforce", "xero")
    records = [
        {
            "entity": "party",
            "side": side,
            "record_id": ids[at],
            "status": status[at],
            "in_scope": in_scope[at],
            "modified_at": modified[at],
        }
        for at, side in enumerate(sides)
    ]
    rows = [
        {
            "entity": "party",
            "side": side,
            "record_id": ids[at],
            "unit": "it",
            "kind": "text",
            "native": f"{side} {now[at]}",
            "value": now[at],
            "observed": observed[at],
        }
        for at, side in enumerate(sides)
    ]
    known = [
        {
            "link_id": LINK,
            "side": side,
            "unit": "it",
            "base_kind": kind,
            "native": f"{side} {bases[at]}",
            "stamp": stamp,
            "value": bases[at],
        }
        for at, side in enumerate(sides)
        if bases is not None and side != lacking
    ]
    link = {"link_id": LINK, "entity": "party", "salesforce_id": "A", "xero_id": "X", "status": "linked"}
    return merge(
        mapping,
        conform(pl.DataFrame([link]), LINKS),
        conform(pl.DataFrame(records), RECORDS),
        conform(pl.DataFrame(rows, infer_schema_length=None), VALUES),
        conform(pl.DataFrame(known), {**BASES, "value": pl.String}),
        conform(pl.DataFrame(decisions or []), DECISIONS),
        recent=recent,
    )


def said(kind: str, salesforce: str | None, xero: str | None) -> list[dict[str, Any]]:
    mark = difference_fingerprint(salesforce, xero)
    pair = {"salesforce_id": "A", "xero_id": "X", "unit": "it", "fingerprint": mark}
    return [{"kind": kind, "entity": "party", **pair, "made_by": "ann", "made_at": NOON}]


def writes(found: Merged) -> list[tuple[str, str, str | None, str | None, str]]:
    return list(found.changes.select("target", "phase", "before", "after", "why").iter_rows())


def told(found: Merged) -> list[tuple[str, str]]:
    return list(found.drift.select("why", "direction").iter_rows())


def moved(found: Merged) -> list[str]:
    return found.moves["base_kind"].to_list()


@pytest.mark.parametrize("flows", ["both", "to_xero"])
def test_a_change_flows_where_the_mapping_lets_it(flows):
    found = merged(unit(flows), "b", "a", bases=("a", "a"))
    assert writes(found) == [("xero", "change", "a", "b", "changed")]
    assert not told(found) and not moved(found)


def test_a_change_against_the_direction_is_told_and_writes_nothing():
    found = merged(unit("to_xero"), "a", "b", bases=("a", "a"))
    assert not writes(found) and told(found) == [("flows_against", "xero")]


def test_a_change_against_the_direction_is_put_back_where_the_mapping_heals():
    found = merged(unit("to_xero", drift="heal"), "a", "b", bases=("a", "a"))
    assert writes(found) == [("xero", "change", "b", "a", "healed")]


def test_a_change_against_the_direction_waits_where_the_mapping_asks():
    assert told(merged(unit("to_xero", drift="ask"), "a", "b", bases=("a", "a"))) == [
        ("waits_for_decision", "xero")
    ]


def test_a_change_against_the_direction_becomes_the_base_where_the_mapping_accepts():
    found = merged(unit("to_xero", drift="accept"), "a", "b", bases=("a", "a"))
    assert moved(found) == ["accepted"] and not writes(found) and not told(found)


@pytest.mark.parametrize("drift", ["report", "heal", "ask", "accept"])
@settings(max_examples=15, deadline=None)
@given(salesforce=values, xero=values, base=values, other=values, kind=kinds)
def test_a_unit_never_flows_to_a_side_that_may_not_receive_it(drift, salesforce, xero, base, other, kind):
    bases = None if kind is None else (base, other)
    for flows, closed in (
        ("to_xero", ["salesforce"]),
        ("to_salesforce", ["xero"]),
        ("none", ["salesforce", "xero"]),
    ):
        for decided in (None, "salesforce_wins", "xero_wins"):
            decisions = said(decided, salesforce, xero) if decided else None
            found = merged(
                unit(flows, drift=drift, owner="xero"),
                salesforce,
                xero,
                bases=bases,
                kind=kind or "agreed",
                decisions=decisions,
            )
            assert not set(found.changes["target"]) & set(closed)


@given(salesforce=values, xero=values, base=values, other=values, kind=kinds)
def test_every_difference_is_written_told_or_kept_and_only_one_of_them(salesforce, xero, base, other, kind):
    found = merged(
        unit(), salesforce, xero, bases=None if kind is None else (base, other), kind=kind or "agreed"
    )
    moves = [one for one in moved(found) if one != "as_found"]
    assert len(writes(found)) + len(told(found)) + len(moves) <= 1


def test_a_conflict_waits_for_a_person():
    assert told(merged(unit(), "b", "c", bases=("a", "a"))) == [("conflict", "both")]


def test_the_owner_wins_a_conflict_where_the_mapping_says_so():
    mapping = unit(owner="xero", conflict="owner")
    assert writes(merged(mapping, "b", "c", bases=("a", "a"))) == [
        ("salesforce", "change", "b", "c", "winner")
    ]


def test_a_side_that_may_not_flow_does_not_win_a_conflict():
    mapping = unit("to_xero", owner="salesforce", conflict="xero")
    assert told(merged(mapping, "b", "c", bases=("a", "a"))) == [("flows_against", "both")]


def test_a_decision_settles_a_conflict_while_both_values_are_the_ones_that_were_seen():
    decision = said("xero_wins", "b", "c")
    assert writes(merged(unit(), "b", "c", bases=("a", "a"), decisions=decision)) == [
        ("salesforce", "change", "b", "c", "decided")
    ]
    assert told(merged(unit(), "b", "d", bases=("a", "a"), decisions=decision)) == [("conflict", "both")]


def test_an_accepted_conflict_becomes_the_base():
    assert moved(merged(unit(), "b", "c", bases=("a", "a"), decisions=said("accept_drift", "b", "c"))) == [
        "accepted"
    ]


def test_the_last_decision_is_the_one_in_force():
    earlier = said("xero_wins", "b", "c")[0] | {"made_at": NOON - timedelta(hours=1)}
    later = said("salesforce_wins", "b", "c")[0]
    found = merged(unit(), "b", "c", bases=("a", "a"), decisions=[later, earlier])
    assert found.changes["target"].to_list() == ["xero"]


# --- First contact ------------------------------------------------------------------------------------


def test_what_is_equal_at_first_contact_is_agreed():
    assert moved(merged(unit(), "a", "a")) == ["agreed"]


def test_a_blank_is_filled_at_first_contact():
    found = merged(unit(), None, "a")
    assert writes(found) == [("salesforce", "fill", None, "a", "filled")] and moved(found) == ["as_found"]


def test_a_blank_that_may_not_be_filled_is_told():
    assert told(merged(unit("to_xero"), None, "a")) == [("as_found", "as_found")]
    assert told(merged(unit(fill="false"), None, "a")) == [("as_found", "as_found")]


@pytest.mark.parametrize("flows", ["to_xero", "both"])
def test_a_blank_never_clears_the_other_side_at_first_contact(flows):
    mapping = unit(flows, drift="heal", owner="salesforce")
    assert not [row for row in writes(merged(mapping, None, "a")) if row[3] is None]


def test_a_difference_at_first_contact_is_told():
    found = merged(unit(), "a", "b")
    assert told(found) == [("as_found", "as_found")] and moved(found) == ["as_found"] and not writes(found)


def test_a_difference_at_first_contact_is_settled_by_the_owner_where_the_mapping_heals():
    assert writes(merged(unit("to_xero", drift="heal"), "a", "b")) == [("xero", "settle", "b", "a", "healed")]


def test_a_person_settles_a_difference_of_first_contact():
    decision = said("salesforce_wins", "a", "b")
    assert writes(merged(unit(), "a", "b", bases=("a", "b"), kind="as_found", decisions=decision)) == [
        ("xero", "settle", "b", "a", "decided")
    ]


def test_a_difference_as_found_is_told_again_and_moves_no_base():
    found = merged(unit(), "a", "b", bases=("a", "b"), kind="as_found")
    assert told(found) == [("as_found", "as_found")] and not moved(found)


def test_a_person_may_change_their_mind_about_an_accepted_difference():
    decision = said("xero_wins", "a", "b")
    assert writes(merged(unit(), "a", "b", bases=("a", "b"), kind="accepted", decisions=decision)) == [
        ("salesforce", "settle", "a", "b", "decided")
    ]


# --- What must not be taken for a change --------------------------------------------------------------


def test_a_record_older_than_its_base_is_read_as_unchanged():
    early = NOON - timedelta(minutes=1)
    found = merged(unit(), "old", "a", bases=("a", "a"), modified=(early, NOON))
    assert not writes(found) and not told(found) and not moved(found)


def test_a_stale_side_is_overwritten_only_over_its_base():
    early = NOON - timedelta(minutes=1)
    found = merged(unit(), "old", "b", bases=("a", "a"), modified=(early, NOON))
    assert writes(found) == [("salesforce", "change", "a", "b", "changed")]
    assert found.changes["native_before"].to_list() == ["salesforce a"]


def test_a_record_as_old_as_its_base_is_fresh():
    assert writes(merged(unit(), "b", "a", bases=("a", "a")))


@pytest.mark.parametrize("observed", [(True, False), (False, True)])
def test_an_unobserved_unit_moves_nothing_even_at_first_contact(observed):
    found = merged(unit(), "a", "b", observed=observed)
    assert not writes(found) and not told(found) and not moved(found)


def test_an_archived_record_gets_no_write_and_is_told():
    found = merged(unit(), "b", "a", bases=("a", "a"), status=("active", "archived"))
    assert not writes(found) and told(found) == [("archived", "salesforce")]


def test_a_record_out_of_scope_is_left_alone():
    found = merged(unit(), "b", "a", bases=("a", "a"), in_scope=(True, False))
    assert not writes(found) and not told(found) and not moved(found)


@pytest.mark.parametrize("side", ["salesforce", "xero"])
def test_a_unit_whose_base_one_side_lacks_is_at_first_contact(side):
    found = merged(unit(), "b", "c", bases=("a", "a"), lacking=side)
    assert told(found) == [("as_found", "as_found")] and moved(found) == ["as_found"]


# --- Going back and forth -----------------------------------------------------------------------------


def wrote(times: int, before: str = "b", after: str = "a") -> pl.DataFrame:
    row = {"link_id": LINK, "unit": "it", "system": "xero", "before": before, "after": after, "at": NOON}
    return pl.DataFrame([row] * times)


def test_a_unit_that_goes_back_and_forth_three_times_is_stopped_and_told():
    mapping = unit("to_xero", drift="heal")
    assert writes(merged(mapping, "a", "b", bases=("a", "a"), recent=wrote(2)))
    found = merged(mapping, "a", "b", bases=("a", "a"), recent=wrote(3))
    assert not writes(found) and told(found) == [("oscillates", "xero")]


def test_other_writes_of_the_unit_do_not_count():
    mapping = unit("to_xero", drift="heal")
    assert writes(merged(mapping, "a", "b", bases=("a", "a"), recent=wrote(5, before="c")))


def test_a_decision_is_written_though_the_unit_oscillates():
    mapping = unit("to_xero", drift="heal")
    decision = said("salesforce_wins", "a", "b")
    assert writes(merged(mapping, "a", "b", bases=("a", "a"), recent=wrote(3), decisions=decision))

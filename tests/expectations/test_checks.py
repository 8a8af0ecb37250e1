from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from expectation_frames import NOW, account, clean_plan, clean_raw, frame, guid, operation
from hypothesis import given
from hypothesis import strategies as st

from expectations import runner
from expectations.checks import for_keeping, ids_at_fault, run_checks, set_aside, stopped, verdict
from expectations.runner import Passed
from reconcile.model import FINDINGS, OPERATIONS, REJECTS


def findings(*rows: dict[str, Any]) -> pl.DataFrame:
    standard = {"stage": "plan", "severity": "critical", "passed": False, "broken": False, "count": 1}
    text = {"message": "found 1 of 9 rows otherwise; expected better", "record_ids": []}
    return pl.DataFrame([standard | text | row for row in rows], schema=dict(FINDINGS))


def operations(*rows: dict[str, Any]) -> pl.DataFrame:
    return frame(list(rows), OPERATIONS)


def kept_and_rejected(given_rows: pl.DataFrame, found: pl.DataFrame) -> tuple[list[str], list[str]]:
    kept, rejects = set_aside(given_rows, found)
    assert rejects.schema == pl.Schema(REJECTS)
    return kept["operation_id"].to_list(), rejects["reason"].to_list()


# --- verdicts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "row"),
    [
        ("pass", {"check": "no_mass_change", "passed": True}),
        ("stop", {"check": "no_mass_change"}),
        ("stop", {"check": "too_many_at_fault"}),
        ("warn", {"check": "no_mass_change", "severity": "warning"}),
        ("warn", {"check": "fits_length", "record_ids": ["o1"]}),
        ("stop", {"check": "fits_length", "broken": True}),
        ("stop", {"check": "country_iso", "severity": "warning", "broken": True}),
    ],
)
def test_a_verdict_follows_from_severity_scope_and_whether_the_check_ran(expected, row):
    assert verdict(findings(row)) == expected


def test_no_findings_pass():
    assert verdict(findings()) == "pass"


def test_what_stopped_is_worded_with_place_found_expected_and_next_step():
    text = stopped(
        findings(
            {"check": "no_mass_change", "message": "found xero phone (0.90); expected less (limit 0.25)"},
            {"check": "few_cleared", "passed": True},
        )
    )
    assert text.startswith("plan: no_mass_change: found xero phone (0.90); expected less (limit 0.25).")
    assert "few_cleared" not in text
    assert "run it again" in text


def test_a_whole_check_that_a_person_let_pass_only_warns():
    rows = [operation(f"o{n}", n) for n in range(1, 41)]
    params = {"now": NOW, "allowed": ["no_mass_change"]}
    found = run_checks("plan", clean_plan(rows), params)
    assert not found.filter(pl.col("check") == "no_mass_change")["passed"].item()
    assert verdict(found) == "warn"


def test_more_rows_at_fault_than_may_go_aside_stop_the_run():
    frames = clean_raw()
    bad = pl.when(pl.int_range(pl.len()) < 21).then(pl.lit("{")).otherwise("body")
    frames["xero.Contact"] = frames["xero.Contact"].with_columns(body=bad)
    found = run_checks("raw", frames, {"now": NOW})
    too_many = found.filter((pl.col("check") == "too_many_at_fault") & ~pl.col("passed"))
    assert too_many["message"].item() == "found 21 of 30 at fault; expected at most 20 to set aside"
    assert verdict(found) == "stop"


def test_all_ids_at_fault_are_known_and_200_of_them_kept():
    rows = [operation(f"o{n}", 1, native_after='{"Name":"\\u0007"}', unit=f"u{n}") for n in range(300)]
    found = run_checks("plan", clean_plan(rows), {"now": NOW})
    sent = found.filter(pl.col("check") == "no_control_sent")
    assert sent["record_ids"].list.len().item() == 300
    assert for_keeping(sent)["record_ids"].list.len().item() == 200
    assert for_keeping(sent)["count"].item() == 300


def test_a_stage_that_does_not_exist_is_a_bug():
    with pytest.raises(ValueError, match="found stage 'row', expected one of raw, canonical, plan"):
        run_checks("row", {}, {})


# --- setting aside ------------------------------------------------------------------------------------


def test_an_operation_at_fault_goes_with_its_reason_and_the_others_stay_in_order():
    given_rows = operations(operation("o3", 3), operation("o1", 1), operation("o2", 2))
    found = findings({"check": "fits_length", "record_ids": ["o1"]})
    kept, rejects = set_aside(given_rows, found)
    assert kept["operation_id"].to_list() == ["o3", "o2"]
    row = rejects.row(0, named=True)
    assert (row["side"], row["record_id"], row["unit"]) == ("xero", guid(1), "phone")
    assert row["reason"] == "fits_length: expected better"


def test_what_depends_on_it_goes_too_however_far_away():
    chain = [operation("create", 1)]
    chain += [operation(f"o{n}", 1, depends_on=f"o{n - 1}" if n else "create") for n in range(5)]
    found = findings({"check": "no_twin", "record_ids": ["create"]})
    kept, reasons = kept_and_rejected(operations(*reversed(chain), operation("free", 2)), found)
    assert kept == ["free"]
    assert "depends on o3, which is set aside" in reasons


def test_a_circle_of_dependencies_ends():
    circle = operations(
        operation("a", 1, depends_on="b"), operation("b", 2, depends_on="a"), operation("c", 3)
    )
    found = findings({"check": "no_twin", "record_ids": ["a"]})
    assert kept_and_rejected(circle, found)[0] == ["c"]


@pytest.mark.parametrize("at_fault", [guid(1), account(1)])
def test_a_record_at_fault_takes_what_is_written_to_it_and_from_it(at_fault):
    found = findings({"check": "name_present", "stage": "canonical", "record_ids": [at_fault]})
    rows = operations(operation("o1", 1), operation("o2", 2), operation("o3", 1, unit="email"))
    assert kept_and_rejected(rows, found)[0] == ["o2"]


def person_and_party() -> pl.DataFrame:
    return operations(operation("person", 1, record_id=f"{guid(1)}:primary"), operation("party", 2))


def test_a_raw_contact_at_fault_takes_the_person_in_it_too():
    found = findings({"check": "body_is_json", "stage": "raw", "side": "xero", "record_ids": [guid(1)]})
    assert kept_and_rejected(person_and_party(), found)[0] == ["party"]
    assert ids_at_fault(found) == {guid(1), f"{guid(1)}:primary"}


def test_a_canonical_party_at_fault_leaves_its_person():
    found = findings({"check": "name_present", "stage": "canonical", "side": "xero", "record_ids": [guid(1)]})
    assert kept_and_rejected(person_and_party(), found)[0] == ["person", "party"]


@pytest.mark.parametrize(
    "row",
    [
        {"check": "email_form", "severity": "warning", "record_ids": ["o1"]},
        {"check": "no_mass_change", "record_ids": ["o1"]},
        {"check": "fits_length", "passed": True, "record_ids": ["o1"]},
        {"check": "fits_length", "broken": True, "record_ids": ["o1"]},
    ],
)
def test_only_failed_critical_row_checks_set_rows_aside(row):
    assert kept_and_rejected(operations(operation("o1", 1)), findings(row))[0] == ["o1"]


names = st.sampled_from([f"o{n}" for n in range(8)])


@given(st.dictionaries(names, st.none() | names), st.sets(names))
def test_nothing_that_is_kept_depends_on_what_is_not(depends_on, at_fault):
    rows = [operation(name, n, depends_on=on) for n, (name, on) in enumerate(depends_on.items())]
    found = findings({"check": "no_twin", "record_ids": sorted(at_fault)})
    kept, rejects = set_aside(operations(*rows), found)
    left = set(kept["operation_id"])
    assert not left & at_fault
    assert all(on is None or on in left or on not in depends_on for on in kept["depends_on"])
    assert kept.height + rejects.height == len(rows)


# --- what passed before --------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that Great Expectations is asked about."""
    validate, seen = runner._validate, []

    def noted(asset: Any, suite: Any, *rest: Any) -> Any:
        seen.append(suite.table)
        return validate(asset, suite, *rest)

    monkeypatch.setattr(runner, "_validate", noted)
    return seen


def test_what_passed_before_is_not_asked_again_and_told_alike(asked: list[str]) -> None:
    first, second = Passed(), None
    found = run_checks("raw", clean_raw(), {"now": NOW}, first)
    assert asked and first.now
    asked.clear()
    second = Passed(before=frozenset(first.now))
    frames = {name: frame.reverse() for name, frame in clean_raw().items()}  # in whatever order
    assert run_checks("raw", frames, {"now": NOW}, second).equals(found)
    assert asked == [] and second.now == first.now


def test_another_row_or_another_limit_is_asked_again(asked: list[str]) -> None:
    first = Passed()
    frames = clean_raw()
    run_checks("raw", frames, {"now": NOW}, first)
    name = next(iter(frames))
    asked.clear()
    changed = frames | {name: frames[name].slice(1)}
    run_checks("raw", changed, {"now": NOW}, Passed(before=frozenset(first.now)))
    assert len(asked) == 1
    asked.clear()
    later = {"now": NOW + timedelta(hours=1)}
    run_checks("raw", frames, later, Passed(before=frozenset(first.now)))
    assert asked == []
    run_checks("raw", frames, {"now": NOW, "tombstone_share": 0.1}, Passed(before=frozenset(first.now)))
    assert len(asked) == 1


def test_what_failed_is_asked_each_time(asked: list[str]) -> None:
    rows = [operation(f"o{n}", 1, native_after='{"Name":"\\u0007"}', unit=f"u{n}") for n in range(3)]
    first = Passed()
    found = run_checks("plan", clean_plan(rows), {"now": NOW}, first)
    failed = found.filter(~pl.col("passed"))
    assert not failed.is_empty()
    times = len(asked)
    again = run_checks("plan", clean_plan(rows), {"now": NOW}, Passed(before=frozenset(first.now)))
    assert again.equals(found) and times < len(asked) < 2 * times

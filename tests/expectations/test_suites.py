from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from expectation_frames import (
    NOW,
    account,
    clean_canonical,
    clean_plan,
    clean_raw,
    contact,
    frame,
    guid,
    operation,
    raw_row,
    record,
    value,
)
from test_bill_suite import BAD_BILLS
from test_document_suites import BAD_DOCUMENTS, BAD_INVOICES
from test_payment_suite import BAD_PAYMENTS

from expectations import suites
from expectations.checks import _all_suites, run_checks, verdict
from reconcile.model import FINDINGS, RAW


def found(findings: pl.DataFrame, check: str, side: str | None = None, entity: str | None = None) -> Any:
    rows = findings.filter(pl.col("check") == check)
    if side:
        rows = rows.filter((pl.col("side") == side) & (pl.col("entity") == entity))
    return rows.row(0, named=True)


# --- raw ----------------------------------------------------------------------------------------------

FUTURE = NOW + timedelta(hours=2)
BAD_RAW = {
    "id_form": raw_row("not-a-guid", "ContactID"),
    "modified_present": raw_row(guid(901), "ContactID", modified_at=None),
    "modified_in_the_past": raw_row(guid(902), "ContactID", modified_at=FUTURE),
    "body_is_json": raw_row(guid(903), "ContactID", body='{"ContactID": "cut'),
    "body_is_of_record": raw_row(guid(904), "ContactID", body=f'{{"ContactID": "{guid(905)}"}}'),
}


def bad_raw() -> dict[str, pl.DataFrame]:
    frames = clean_raw()
    frames["xero.Contact"] = pl.concat([frames["xero.Contact"], frame(list(BAD_RAW.values()), RAW)])
    return frames


def test_clean_raw_rows_pass(checked):
    findings = checked("clean raw", "raw", clean_raw)
    assert findings.filter(~pl.col("passed")).is_empty()
    assert verdict(findings) == "pass"
    assert findings.schema == pl.Schema(FINDINGS)


@pytest.mark.parametrize("check", BAD_RAW)
def test_a_bad_raw_row_is_caught_by_its_check_alone(checked, check):
    one = found(checked("bad raw", "raw", bad_raw), check, "xero", "Contact")
    assert not one["passed"]
    assert one["record_ids"] == [BAD_RAW[check]["record_id"]]


def test_bad_raw_rows_do_not_stop_the_others(checked):
    assert verdict(checked("bad raw", "raw", bad_raw)) == "warn"


def test_a_salesforce_id_must_have_its_objects_prefix(checked):
    def frames() -> dict[str, pl.DataFrame]:
        return {"salesforce.Account": frame([raw_row(contact(1), "Id"), raw_row(account(1), "Id")], RAW)}

    one = found(checked("prefix", "raw", frames), "id_form")
    assert one["record_ids"] == [contact(1)]


def test_a_tombstone_may_come_without_a_body(checked):
    def frames() -> dict[str, pl.DataFrame]:
        gone = raw_row(guid(1), "ContactID", deleted=True, body=None)
        live = raw_row(guid(2), "ContactID", body=None)
        return {"xero.Contact": frame([gone, live], RAW)}

    assert found(checked("tombstone", "raw", frames), "body_is_json")["record_ids"] == [guid(2)]


@pytest.mark.parametrize(
    ("check", "rows"),
    [
        ("id_present", [raw_row(None, "ContactID", body="{}")]),
        ("id_unique", [raw_row(guid(1), "ContactID")] * 2),
    ],
)
def test_a_broken_key_stops_the_run(checked, check, rows):
    findings = checked(check, "raw", lambda: {"xero.Contact": frame(rows, RAW)})
    assert not found(findings, check)["passed"]
    assert verdict(findings) == "stop"


def few_tombstones_short_and_old() -> dict[str, pl.DataFrame]:
    rows = [raw_row(guid(n), "ContactID", deleted=n <= 30) for n in range(1, 101)]
    return clean_raw() | {"xero.Contact": frame(rows, RAW)}


@pytest.mark.parametrize(
    ("check", "what", "severity"),
    [
        ("rows_not_lost", "xero.Contact (0.58)", "critical"),
        ("few_tombstones", "xero.Contact (0.30)", "critical"),
        ("fresh", "xero.Contact (49.00)", "warning"),
    ],
)
def test_a_snapshot_that_shrank_emptied_or_aged_is_told_by_its_object(checked, check, what, severity):
    findings = checked(
        "snapshots",
        "raw",
        few_tombstones_short_and_old,
        previous_rows={"xero.Contact": 120, "salesforce.Account": 30},
        complete_as_of={"xero.Contact": NOW - timedelta(hours=49), "salesforce.Account": NOW},
    )
    one = found(findings, check)
    assert (one["passed"], one["severity"]) == (False, severity)
    assert what in one["message"]
    assert "salesforce" not in one["message"]


def test_an_old_snapshot_alone_only_warns(checked):
    findings = checked("old", "raw", clean_raw, complete_as_of={"xero.Contact": NOW - timedelta(days=3)})
    assert verdict(findings) == "warn"


# --- canonical ----------------------------------------------------------------------------------------

PERSON = {"entity": "person", "parent_id": guid(1)}
BAD_CANONICAL: dict[str, tuple[str, list[str], list[Any], list[Any]]] = {
    # check: entity, ids at fault, records, values
    "status_known": ("party", [guid(801)], [record("xero", guid(801), status="asleep")], []),
    "status_present": ("party", [guid(802)], [record("xero", guid(802), status=None)], []),
    "survivor_named": ("party", [guid(803)], [record("xero", guid(803), status="merged")], []),
    "name_present": (
        "party",
        [guid(804)],
        [
            record("xero", guid(804)),
            record("xero", guid(805), status="archived"),
            record("xero", guid(806), in_scope=False),
        ],
        [value("xero", guid(804), "name", None)],
    ),
    "reference_unique": (
        "party",
        [guid(807), guid(808)],
        [
            record("xero", guid(807), reference="001000000000777"),
            record("xero", guid(808), reference="001000000000777AAA"),
            record("xero", guid(809), reference="001000000000777AAA", status="archived"),
        ],
        [value("xero", guid(n), "name", f"Ref {n}") for n in (807, 808)],
    ),
    "parent_present": (
        "person",
        [f"{guid(810)}:primary"],
        [record("xero", f"{guid(810)}:primary", entity="person")],
        [value("xero", f"{guid(810)}:primary", "name", '{"last":"Li"}', entity="person")],
    ),
    "email_form": (
        "party",
        [guid(811), guid(812)],
        [record("xero", guid(n)) for n in (811, 812)],
        [
            value("xero", guid(811), "email", "a@b@example.com"),
            value("xero", guid(811), "name", "E"),
            value("xero", guid(812), "email", "one@example.com, two@example.com"),
            value("xero", guid(812), "name", "F"),
        ],
    ),
    "phone_form": (
        "party",
        [guid(813)],
        [record("xero", guid(813)), record("xero", guid(814))],
        [
            value("xero", guid(813), "phone", "020 7123 4567"),
            value("xero", guid(813), "name", "G"),
            value("xero", guid(814), "phone", "raw:ext 12"),
            value("xero", guid(814), "name", "H"),
        ],
    ),
    "country_iso": (
        "party",
        [guid(815)],
        [record("xero", guid(815))],
        [
            value("xero", guid(815), "billing_address", '{"country":"Blefuscu"}', kind="address"),
            value("xero", guid(815), "name", "I"),
        ],
    ),
    "no_control": (
        "party",
        [guid(816), guid(817), guid(818)],
        [record("xero", guid(n)) for n in (816, 817, 818, 819)],
        [
            value("xero", guid(816), "name", "bell\x07"),
            value("xero", guid(817), "billing_address", '{"lines":["a\\u0000b"]}', kind="address"),
            value("xero", guid(817), "name", "J"),
            value("xero", guid(818), "name", "evil‮exe"),
            value("xero", guid(819), "name", "شركة\nline"),
        ],
    ),
}


def bad_canonical() -> dict[str, pl.DataFrame]:
    records = [row for _, _, rows, _ in BAD_CANONICAL.values() for row in rows]
    values = [row for _, _, _, rows in BAD_CANONICAL.values() for row in rows]
    return clean_canonical(records, values)


def test_clean_canonical_records_pass(checked):
    findings = checked("clean canonical", "canonical", clean_canonical)
    assert findings.filter(~pl.col("passed")).is_empty()
    assert findings.filter(pl.col("side") == "xero")["entity"].unique().sort().to_list() == [
        "party",
        "person",
    ]


@pytest.mark.parametrize("check", BAD_CANONICAL)
def test_a_bad_canonical_record_is_caught_by_its_check_alone(checked, check):
    entity, ids, _, _ = BAD_CANONICAL[check]
    one = found(checked("bad canonical", "canonical", bad_canonical), check, "xero", entity)
    assert not one["passed"]
    assert sorted(one["record_ids"]) == ids
    assert not any(word in one["message"] for word in ("example", "Blefuscu", "bell", "7123"))


def test_bad_rows_of_one_side_are_not_the_other_sides(checked):
    findings = checked("bad canonical", "canonical", bad_canonical).filter(pl.col("side") == "salesforce")
    assert findings["passed"].all()


@pytest.mark.parametrize(
    ("check", "records", "values"),
    [
        ("record_unique", [record("xero", guid(1))], []),
        ("unit_unique", [], [value("xero", guid(1), "name", "Again")]),
        ("value_has_record", [], [value("xero", guid(700), "name", "Nobody's")]),
    ],
)
def test_canonical_frames_that_contradict_themselves_stop_the_run(checked, check, records, values):
    findings = checked(check, "canonical", lambda: clean_canonical(records, values))
    assert not found(findings, check, "xero", "party")["passed"]
    assert verdict(findings) == "stop"


def test_a_mapping_without_names_asks_for_none(checked):
    def frames() -> dict[str, pl.DataFrame]:
        clean = clean_canonical()
        return clean | {"values": clean["values"].filter(pl.col("unit") != "name")}

    assert found(checked("nameless mapping", "canonical", frames), "name_present")["passed"]


# --- plan ---------------------------------------------------------------------------------------------


def create(name: str, number: int, called: str, **other: Any) -> dict[str, Any]:
    made = {"action": "create", "phase": "create", "unit": "record", "record_id": None, "before": None}
    body = f'{{"name":"{called}"}}'
    return operation(name, number, **made | {"after": body, "native_after": f'{{"Name":"{called}"}}'} | other)


PERSON_NAME = '{"name":"{\\"first\\":\\"Ann\\",\\"last\\":\\"Lee 5\\"}"}'

BAD_PLAN: dict[str, list[dict[str, Any]]] = {
    "record_named": [operation("no-record", 11, record_id=None)],
    "changes_something": [operation("same", 12, after="+442071234567")],
    "target_active": [
        operation("to-archived", 600),
        operation("to-unknown", 601),
        operation("to-archiveds-person", 600, entity="person", record_id=f"{guid(600)}:primary", unit="name"),
    ],
    "no_foreign_number": [
        operation("foreign", 13, unit="reference", before="CUST-13", after=account(13)),
    ],
    "no_twin": [
        create("twin", 621, "COMPANY, 14."),
        create("person-twin", 0, "", entity="person", source_id=contact(5), after=PERSON_NAME),
    ],
    "made_once": [create("first", 622, "Newcomer Ltd"), create("second", 623, "Newcomer, Ltd.")],
    "written_once": [operation("once", 15), operation("twice", 15, after="+442070000000")],
    "dependency_known": [operation("orphan", 16, depends_on="not-in-the-plan")],
    "email_sendable": [operation("bad-email", 17, unit="email", after="a@b@c")],
    "no_control_sent": [operation("bell", 18, native_after='{"Name":"a\\u0007"}')],
    "fits_length": [
        operation("long", 19, native_after=f'{{"Phones":[{{"PhoneType":"MOBILE","PhoneNumber":"{"1" * 60}"}},'
                  f'{{"PhoneType":"DEFAULT","PhoneNumber":"{"1" * 51}"}}]}}'),
    ],
}  # fmt: skip
GOOD_PLAN = [
    operation("fine", 30),
    operation("our-number", 31, unit="reference", before=account(99), after=account(31)),
    operation("first-number", 32, unit="reference", before=None, after=account(32)),
    create("newcomer", 633, "Somebody Else"),
    create("namesake", 0, "", entity="person", source_id=contact(6), after=PERSON_NAME),
    operation("after-newcomer", 33, depends_on="newcomer"),
    operation(
        "link-newcomer",
        36,
        system="salesforce",
        object="Account",
        record_id=account(36),
        source_id=None,
        action="link",
        phase="create",
        unit="reference",
        before=None,
        after=None,
        native_after='{"ExternalID__c":{"$from":"newcomer"}}',
        depends_on="newcomer",
    ),
    operation(
        "new-person", 37, entity="person", record_id=f"{guid(634)}:primary", unit="name", phase="create"
    ),
    operation(
        "cleared", 34, after=None, native_after='{"Phones":[{"PhoneNumber":"","PhoneType":"DEFAULT"}]}'
    ),
    operation(
        "mobile", 35, native_after=f'{{"Phones":[{{"PhoneType":"MOBILE","PhoneNumber":"{"1" * 60}"}}]}}'
    ),
]


def bad_plan() -> dict[str, pl.DataFrame]:
    rows = [row for rows in BAD_PLAN.values() for row in rows] + GOOD_PLAN
    return clean_plan(rows, records=[record("xero", guid(600), status="archived"), personless()])


def personless() -> dict[str, Any]:
    return record("xero", guid(634))


def test_a_clean_plan_passes(checked):
    findings = checked("clean plan", "plan", lambda: clean_plan(GOOD_PLAN, records=[personless()]))
    assert findings.filter(~pl.col("passed"))["check"].to_list() == []


@pytest.mark.parametrize("check", BAD_PLAN)
def test_a_bad_operation_is_caught_by_its_check_alone(checked, check):
    one = found(checked("bad plan", "plan", bad_plan), check)
    assert not one["passed"]
    assert sorted(one["record_ids"]) == sorted(row["operation_id"] for row in BAD_PLAN[check])


def test_bad_operations_do_not_stop_the_others(checked):
    assert verdict(checked("bad plan", "plan", bad_plan)) == "warn"


@pytest.mark.parametrize(
    ("check", "rows"),
    [
        ("operation_present", [operation(None, 1)]),  # type: ignore[arg-type]
        ("operation_unique", [operation("same", 1), operation("same", 2)]),
        ("action_known", [operation("o", 1, action="delete")]),
        ("phase_known", [operation("o", 1, phase="later")]),
        ("system_known", [operation("o", 1, system="sage")]),
        ("nothing_deleted", [operation("o", 1, native_after='{"ContactStatus":"ARCHIVED"}')]),
    ],
)
def test_a_plan_that_no_planner_of_ours_would_make_stops_the_run(checked, check, rows):
    findings = checked(check, "plan", lambda: clean_plan(rows))
    assert not found(findings, check)["passed"]
    assert verdict(findings) == "stop"


def many(count: int, **other: Any) -> list[dict[str, Any]]:
    return [operation(f"o{n}", n, **other) for n in range(1, count + 1)]


def test_one_unit_changed_in_a_large_part_of_all_links_stops_the_run(checked):
    findings = checked("mass", "plan", lambda: clean_plan(many(26)))
    one = found(findings, "no_mass_change")
    assert "xero party phone (0.26)" in one["message"]
    assert "(limit 0.25)" in one["message"]
    assert verdict(findings) == "stop"


@pytest.mark.parametrize(
    ("name", "plan", "params"),
    [
        ("at the limit", many(25), {}),
        ("filling", many(26, phase="fill", before=None), {}),
        ("a projection", many(26, unit="is_customer"), {"projections": ["is_customer"]}),
    ],
)
def test_what_is_no_mass_change_passes(checked, name, plan, params):
    findings = checked(name, "plan", lambda: clean_plan(plan), **params)
    assert found(findings, "no_mass_change")["passed"]


def test_emptying_a_unit_in_many_links_stops_the_run_in_any_phase(checked):
    findings = checked("emptied", "plan", lambda: clean_plan(many(21, after=None, phase="settle")))
    assert "xero party phone (0.21)" in found(findings, "few_cleared")["message"]
    assert verdict(findings) == "stop"


def test_a_plan_beyond_its_limits_only_warns_for_an_approval_decides(checked):
    rows = many(24) + [operation(f"e{n}", n, unit="email", after="a@b.example") for n in range(25, 49)]
    findings = checked("limits", "plan", lambda: clean_plan(rows), max_operations=40, max_share=0.4)
    assert "xero (48)" in found(findings, "few_operations")["message"]
    assert "xero (0.48)" in found(findings, "small_share")["message"]
    assert verdict(findings) == "warn"


# --- the suites themselves ----------------------------------------------------------------------------


def test_every_check_has_a_test_with_a_row_that_it_catches():
    tested = {*BAD_RAW, *BAD_CANONICAL, *BAD_PLAN, "id_present", "id_unique", "rows_not_lost"}
    tested |= {*BAD_DOCUMENTS, *BAD_INVOICES, *BAD_PAYMENTS, *BAD_BILLS, "document_unique"}
    tested |= {"few_tombstones", "fresh", "record_unique", "unit_unique", "value_has_record"}
    tested |= {"operation_present", "operation_unique", "action_known", "phase_known", "system_known"}
    tested |= {"nothing_deleted", "no_mass_change", "few_cleared", "few_operations", "small_share"}
    assert {check.name for suite in _all_suites() for check in suite.checks} == tested


def test_a_checks_name_means_one_scope_wherever_it_stands():
    scopes: dict[str, set[str]] = {}
    for suite in _all_suites():
        for check in suite.checks:
            scopes.setdefault(check.name, set()).add(check.scope)
    assert {name for name, found_scopes in scopes.items() if len(found_scopes) > 1} == set()


def test_a_check_whose_column_is_missing_is_broken_and_stops():
    broken = suites.raw_snapshot_suite()
    assert broken.key == "object"
    frames = clean_raw()
    frames["xero.Contact"] = frames["xero.Contact"].drop("modified_at")
    findings = run_checks("raw", frames, {"now": NOW})
    xero = findings.filter((pl.col("side") == "xero") & (pl.col("check") != "too_many_at_fault"))
    assert xero["broken"].all()
    assert not xero["passed"].any()
    assert found(findings, "id_form", "salesforce", "Account")["passed"], "the others still ran"
    assert verdict(findings) == "stop"


def test_an_expectation_that_raises_inside_great_expectations_is_broken(monkeypatch):
    good = suites.raw_snapshot_suite()
    bad = suites.whole("fresh", "something", suites.absent("no_such_column"), "warning")
    monkeypatch.setattr(suites, "RAW_SNAPSHOT_CHECKS", (*good.checks[:2], bad))
    findings = run_checks("raw", clean_raw(), {"now": NOW})
    one = found(findings, "fresh")
    assert (one["broken"], one["passed"]) == (True, False)
    assert found(findings, "rows_not_lost")["passed"]
    assert verdict(findings) == "stop", "though its severity is only a warning"

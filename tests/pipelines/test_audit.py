"""What is read again after a push: an incident is found, and what people did since is no incident."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest
from document_scene import DocumentScene, between_look_and_write, findings, invoice_of, opened, opportunity_id
from peers import contact
from push_scene import account_id, contact_id, create, link, link_id, links_of, move_of, update

from pipelines.audit import LAST_AUDIT, LONG_AGO, Entry, _in_window, _seen_to, last_audit, run_before
from pipelines.journal import Journal
from reconcile.errors import Incident
from reconcile.model import BASE_MOVES
from sandbox.serve import start

PHONE, PHONE_2 = "+442079460123", "+442079460999"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with start(tmp_path_factory.mktemp("sandbox"), seed="empty", limits="off") as found:
        yield found


@pytest.fixture
def scene(line: dict[str, Any], tmp_path: Path) -> Iterator[DocumentScene]:
    with opened(line, tmp_path) as made:
        yield made


def history_calls(scene: DocumentScene, after: int = 0) -> int:
    return sum("History" in one["path"] for one in scene.peer.requests("xero") if one["n"] > after)


def last_call(scene: DocumentScene) -> int:
    return max((one["n"] for one in scene.peer.requests("xero")), default=0)


def updates() -> list[dict[str, Any]]:
    return [
        update("xero", 1, "phone", None, PHONE),
        update("xero", 2, "tax_number", None, "GB2"),
        update("salesforce", 1, "phone", None, PHONE),
    ]


def test_a_push_that_went_well_finds_nothing_and_measures_its_windows(scene: DocumentScene) -> None:
    scene.push([*updates(), create("xero", 9, "Company 9"), *invoice_of(1)])
    before = last_call(scene)
    audited = scene.audit()
    assert findings(audited) == [] and not audited.failed
    assert history_calls(scene, before) == 2  # one for each record of Xero that was updated
    counts = audited.counts()
    assert 0 <= counts["xero_window_ms_median"] <= counts["xero_window_ms_max"] < 30_000
    assert counts["salesforce_window_ms_max"] >= 0
    with scene.journal() as journal:
        assert journal.verify().ok
        assert last_audit(journal)["findings"] == []
    before = last_call(scene)
    assert findings(scene.audit()) == []
    assert history_calls(scene, before) == 0  # each History is read once


@pytest.mark.parametrize(("history", "calls"), [("all", 2), ("documents", 0), ("none", 0)])
def test_the_setting_says_whose_history_is_read(scene: DocumentScene, history: str, calls: int) -> None:
    scene.push(updates())
    before = last_call(scene)
    assert findings(scene.audit(history=history)) == []
    assert history_calls(scene, before) == calls


def test_no_history_is_read_of_a_record_into_which_only_our_id_was_written(scene: DocumentScene) -> None:
    scene.push([link("xero", 1)])
    before = last_call(scene)
    assert findings(scene.audit()) == []
    assert history_calls(scene, before) == 0


@pytest.mark.parametrize(
    "dialect",
    [{}, {"history_user_of_api": "system"}, {"history_of_api_writes": False}, {"stamps": "distinct"}],
    ids=str,
)
def test_an_edit_that_our_write_went_over_is_an_incident(
    scene: DocumentScene, monkeypatch: pytest.MonkeyPatch, dialect: dict[str, Any]
) -> None:
    scene.switch("xero", **dialect)
    edited = {"ContactID": contact_id(2), "TaxNumber": "BY HAND"}
    between_look_and_write(monkeypatch, lambda: scene.person("edit-contact", edited))
    scene.push(updates())
    assert scene.contacts()[contact_id(2)]["TaxNumber"] == "GB2"  # Xero has no means to prevent it
    audited = scene.audit()
    assert findings(audited) == [("overwritten", True, contact_id(2))]
    (row,) = audited.incidents.to_dicts()
    assert row["unit"] == "tax_number" and "BY HAND" not in row["message"]
    with pytest.raises(Incident, match=contact_id(2)):
        audited.raise_for_incident()
    with scene.journal() as journal:
        assert journal.verify().ok
        assert last_audit(journal)["findings"][0]["finding"] == "overwritten"


@pytest.mark.parametrize(
    "dialect", [{}, {"history_user_of_api": "system"}, {"history_of_api_writes": False}], ids=str
)
def test_an_edit_under_a_single_write_is_not_taken_for_our_own(
    scene: DocumentScene, monkeypatch: pytest.MonkeyPatch, dialect: dict[str, Any]
) -> None:
    """Where the History shows no writes of apps, the person's entry stands where ours should (chaos, seed 5018)."""
    scene.switch("xero", **dialect)
    edited = {"ContactID": contact_id(2), "TaxNumber": "BY HAND"}
    between_look_and_write(monkeypatch, lambda: scene.person("edit-contact", edited))
    scene.push([update("xero", 2, "tax_number", None, "GB2")])
    assert findings(scene.audit()) == [("overwritten", True, contact_id(2))]


@pytest.mark.parametrize("dialect", [{}, {"history_user_of_api": "system"}], ids=str)
def test_a_single_write_of_our_own_is_no_incident(scene: DocumentScene, dialect: dict[str, Any]) -> None:
    scene.switch("xero", **dialect)
    scene.push([update("xero", 2, "tax_number", None, "GB2")])
    assert findings(scene.audit()) == []


def test_an_edit_within_a_second_of_one_that_the_look_showed_is_in_the_window() -> None:
    """The stamp that was seen names one entry of the History, not all of that second (chaos, seed 41024878099)."""
    looked, sent = datetime(2026, 11, 24, 12, tzinfo=UTC), datetime(2026, 11, 24, 12, 0, 1, tzinfo=UTC)
    before = Entry(looked - timedelta(milliseconds=900), "Pat")
    under, own = Entry(looked, "Pat"), Entry(sent, "Us")
    look = SimpleNamespace(ours=looked, theirs=looked, stamp=before.at)
    write = cast("Any", SimpleNamespace(look=look, sent_at=sent, ended_at=sent, intent=None))
    seen_to = _seen_to([before, under, own], write)
    told = [one for one in (before, under) if _in_window(one, write, own, {}, seen_to)]
    assert told == [under]


def test_edits_before_the_look_and_after_the_write_are_no_incident(scene: DocumentScene) -> None:
    scene.person("edit-contact", {"ContactID": contact_id(2), "AccountNumber": "BEFORE"})
    scene.push(updates())
    scene.person("edit-contact", {"ContactID": contact_id(2), "AccountNumber": "AFTER"})
    audited = scene.audit()
    assert findings(audited) == []
    scene.push([update("xero", 1, "fax", None, PHONE_2)], plan_hash="b" * 64)
    scene.person(
        "edit-contact", {"ContactID": contact_id(1), "Phones": [{"PhoneType": "FAX", "PhoneNumber": "1"}]}
    )
    audited = scene.audit()
    assert findings(audited) == [("edited_since", False, contact_id(1))] and not audited.failed
    assert audited.findings["unit"].to_list() == ["fax"]


def test_two_writes_of_one_record_don_t_accuse_each_other(scene: DocumentScene) -> None:
    """A link and what fills blanks leave one after the other, after one look."""
    linked = link("xero", 2)
    scene.push(
        [
            linked,
            update("xero", 2, "tax_number", None, "GB2", phase="fill", depends_on=linked["operation_id"]),
        ]
    )
    scene.push([update("xero", 2, "fax", None, PHONE)], plan_hash="b" * 64)
    assert findings(scene.audit()) == []


def test_a_record_that_is_there_twice_is_an_incident(scene: DocumentScene) -> None:
    scene.push([create("xero", 9, "Company 9"), *invoice_of(1)])
    scene.switch("xero", number_of_closed="freed")
    (made,) = scene.invoices()
    scene.peer.load(
        "xero",
        [
            {
                "ContactID": contact_id(77),
                "Name": "Company 9 twice",
                "ContactNumber": account_id(9),
            },
            {
                **made,
                "InvoiceID": "00000000-0000-4000-8000-000000000777",
                "Contact": {"ContactID": contact_id(1)},
            },
        ],
    )
    audited = scene.audit()
    assert [(name, incident) for name, incident, _ in findings(audited)] == [("made_twice", True)] * 2
    assert all("777" in row or contact_id(77) in row for row in audited.incidents["message"])


def test_what_was_made_in_the_run_before_is_looked_at_again(scene: DocumentScene) -> None:
    """A vendor may apply late what that run gave up on."""
    scene.push(invoice_of(1))
    began = datetime.now(UTC)
    assert findings(scene.audit()) == []
    scene.push(invoice_of(2), plan_hash="b" * 64)
    made = {one["InvoiceNumber"]: one for one in scene.invoices()}
    first = next(one for key, one in made.items() if opportunity_id(1).upper() in key)
    twin = {
        **first,
        "InvoiceID": "00000000-0000-4000-8000-000000000777",
        "Contact": {"ContactID": contact_id(1)},
    }
    scene.peer.load("xero", [twin])
    assert findings(scene.audit(since=began - timedelta(minutes=1)))[0][:2] == ("made_twice", True)
    assert findings(scene.audit(since=datetime.now(UTC))) == []


def test_an_invoice_that_is_gone_or_amounts_to_something_else_is_an_incident(scene: DocumentScene) -> None:
    scene.push([one for n in (1, 2) for one in invoice_of(n, total="100.00" if n == 2 else None)])
    audited = scene.audit()  # the account's own tax makes 120.00 of it
    assert [(name, incident) for name, incident, _ in findings(audited)] == [("amounts_differ", True)]
    assert "total 120.00 instead of 100.00" in audited.incidents["message"].item()
    scene.peer.control("xero", "POST", "reset", {"seed": False})
    audited = scene.audit()
    assert [(name, incident) for name, incident, _ in findings(audited)] == [("missing", True)] * 2


def test_what_people_do_with_an_invoice_afterwards_is_told_and_no_incident(scene: DocumentScene) -> None:
    scene.push([one for n in (1, 2, 3) for one in invoice_of(n)])
    scene.peer.move_clock(60)
    made = sorted(scene.invoices(), key=lambda one: one["InvoiceNumber"])
    line = {"Description": "More work", "Quantity": 1, "UnitAmount": 150, "AccountCode": "200"}
    scene.person("edit-invoice", {"InvoiceID": made[0]["InvoiceID"], "LineItems": [line]})
    scene.person("edit-invoice", {"InvoiceID": made[1]["InvoiceID"], "Status": "DELETED"})
    scene.person("edit-invoice", {"InvoiceID": made[2]["InvoiceID"], "InvoiceNumber": "MINE-1"})
    audited = scene.audit()
    assert sorted(findings(audited), key=lambda one: one[2]) == sorted(
        [
            ("edited_since", False, made[0]["InvoiceID"]),
            ("closed_since", False, made[1]["InvoiceID"]),
            ("edited_since", False, made[2]["InvoiceID"]),
        ],
        key=lambda one: one[2],
    )
    assert not audited.failed


def test_what_can_t_be_read_now_is_no_pass_and_is_read_the_next_time(scene: DocumentScene) -> None:
    scene.push(updates())
    scene.peer.settings = scene.peer.settings.model_copy(
        update={"limits": scene.peer.settings.limits.model_copy(update={"retries": 0})}
    )
    scene.peer.control(
        "xero", "POST", "faults", {"kind": "500", "method": "GET", "path": "History", "times": -1}
    )
    audited = scene.audit()
    assert {name for name, _, _ in findings(audited)} == {"not_read"}
    assert audited.failed and audited.incidents.is_empty()
    scene.peer.control("xero", "DELETE", "faults")
    before = last_call(scene)
    assert findings(scene.audit()) == []
    assert history_calls(scene, before) == 2


def test_no_person_s_value_stands_in_what_is_kept(
    scene: DocumentScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = {"ContactID": contact_id(2), "TaxNumber": "BY HAND", "user": "Ada Byron"}
    between_look_and_write(monkeypatch, lambda: scene.person("edit-contact", edited))
    scene.push([replace_name(one) for one in updates()])
    scene.audit()
    with scene.journal() as journal:
        kept = str(journal.get_meta(LAST_AUDIT))
    assert "overwritten" in kept and "Ada" not in kept and "BY HAND" not in kept and "GB2" not in kept


def replace_name(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "reason": "Ada Byron"}


def test_more_new_records_than_are_asked_for_by_key_come_as_a_delta(
    scene: DocumentScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import audit

    monkeypatch.setattr(audit, "BY_KEY", 1)
    scene.push([create("xero", 8, "Company 8"), create("xero", 9, "Company 9")])
    assert findings(scene.audit(since=datetime.now(UTC) - timedelta(minutes=5))) == []
    twin = {"ContactID": contact_id(77), "Name": "Company 9 twice", "ContactNumber": account_id(9)}
    scene.peer.load("xero", [twin])
    assert [one[0] for one in findings(scene.audit(since=datetime.now(UTC) - timedelta(minutes=5)))] == [
        "made_twice"
    ]


def test_a_person_s_unit_does_not_hide_the_party_s_of_the_same_name(scene: DocumentScene) -> None:
    """Both are units of one contact in Xero, and leave in one body."""
    first, other = '{"first":"Ada","last":"Byron"}', '{"first":"Ada","last":"King"}'
    scene.peer.load("xero", [contact(1, FirstName="Ada", LastName="Byron")])
    scene.push(
        [
            update("xero", 1, "name", "Company 1", "Company 1 Ltd"),
            update("xero", 1, "name", first, other, entity="person", phase="create"),
        ]
    )
    scene.peer.move_clock(60)
    scene.person("edit-contact", {"ContactID": contact_id(1), "Name": "By hand", "LastName": "Other"})
    found = scene.audit().findings.select("finding", "entity", "unit").rows()
    assert sorted(found) == [("edited_since", "party", "name"), ("edited_since", "person", "name")]


def test_the_push_before_is_found_behind_any_number_of_other_runs(tmp_path: Path) -> None:
    clock = [datetime(2026, 11, 1, tzinfo=UTC)]
    with Journal(f"sqlite:///{tmp_path / 'journal.db'}", now=lambda: clock[0]) as journal:
        assert run_before(journal) == LONG_AGO
        first, began = journal.start_run("apply"), clock[0]
        assert run_before(journal, first) == LONG_AGO
        for _ in range(201):
            clock[0] += timedelta(minutes=15)
            journal.start_run("plan")
        assert run_before(journal, journal.start_run("apply")) == began
        assert run_before(journal) == clock[0]


def test_only_the_bases_of_what_was_written_are_opened_and_once(
    scene: DocumentScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = range(1, 10)
    moves = pl.DataFrame([move_of(n, "fax", "{}", "{}") for n in many], schema=dict(BASE_MOVES))
    with scene.journal() as journal:
        journal.adopt(links_of(*many), moves)
    scene.push(updates())
    opened_rows: list[tuple[str, ...]] = []
    unseal = Journal.unseal

    def told(self: Journal, table: str, row: Any, value: bytes) -> bytes:
        if table == "bases":
            opened_rows.append(tuple(row))
        return unseal(self, table, row, value)

    monkeypatch.setattr(Journal, "unseal", told)
    assert findings(scene.audit()) == []
    written = [link_id("party", account_id(n), contact_id(n)) for n in (1, 2)]
    assert sorted(opened_rows) == sorted((one, side) for one in written for side in ("salesforce", "xero"))

"""What becomes of a write whose answer is lost, late, wrong or half: made once, or told; never guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from peers import Peer, account, contact
from push_scene import (
    PLAN,
    QUICK,
    Scene,
    SkippingClock,
    account_id,
    contact_id,
    create,
    follow_up,
    link,
    update,
)
from sqlalchemy import text

from pipelines.intents import Intent, Operation
from pipelines.protocol import HorizonPassed, Proof
from pipelines.settings import Limits
from pipelines.xero import writer as xero_writer
from reconcile.errors import Incident, InvariantBroken

PHONE = "+442079460123"
KINDS = (
    "drop_before",
    "drop_after",
    "503",
    "500",
    "500_applied",
    "malformed",
    "cut",
    "html",
    "partial",
    "late",
)


@pytest.fixture
def scene(peer: Peer, tmp_path: Path) -> Iterator[Scene]:
    peer.load("salesforce", [account(n) for n in (1, 2, 3, 8, 9)])
    peer.load("xero", [contact(n) for n in (1, 2, 3)])
    made = Scene(peer, tmp_path)
    made.know(1, 2, 3)
    yield made
    with made.journal() as journal:
        assert journal.verify().ok


def outcomes(told: dict[str, tuple[str, str | None]]) -> list[str]:
    return [outcome for outcome, _ in told.values()]


def applied(scene: Scene, side: str) -> list[list[str]]:
    return [change for one in scene.peer.requests(side) for change in one["changes"]]


@pytest.mark.parametrize("kind", [*KINDS, "short", "reordered"])
def test_a_new_contact_is_made_exactly_once_whatever_happens_to_its_answer(scene: Scene, kind: str) -> None:
    scene.fault(kind, method="PUT", after_s=0.1)
    made = [create("xero", n, f"Company {n}") for n in (8, 9)]
    told = scene.push([*made, *map(follow_up, made)])
    assert set(outcomes(told)) <= {"confirmed", "adopted"}
    names = [row["Name"] for row in scene.contacts().values()]
    assert sorted(names)[-2:] == ["Company 8", "Company 9"] and len(names) == 5
    new = {
        row["ContactNumber"]: row["ContactID"] for row in scene.contacts().values() if "ContactNumber" in row
    }
    for n in (8, 9):
        assert scene.accounts()[account_id(n)]["ExternalID__c"] == new[account_id(n)]
    with scene.journal() as journal:
        assert journal.unsettled().is_empty()
        assert set(new.values()) <= set(journal.links()["xero_id"])


@pytest.mark.parametrize("kind", [*KINDS, "short", "reordered"])
def test_a_unit_in_xero_is_written_once_whatever_happens_to_its_answer(scene: Scene, kind: str) -> None:
    scene.fault(kind, method="POST", after_s=0.1)
    told = scene.push([update("xero", n, "tax_number", None, f"GB{n}") for n in (1, 2, 3)])
    assert set(outcomes(told)) <= {"confirmed", "adopted"}
    assert [scene.contacts()[contact_id(n)]["TaxNumber"] for n in (1, 2, 3)] == ["GB1", "GB2", "GB3"]
    with scene.journal() as journal:
        assert journal.unsettled().is_empty()
        assert journal.bases().height == 6


@pytest.mark.parametrize("kind", [*KINDS, "short", "reordered"])
def test_a_unit_in_salesforce_is_written_once_whatever_happens_to_its_answer(scene: Scene, kind: str) -> None:
    scene.fault(kind, method="PATCH", after_s=0.1)
    told = scene.push([update("salesforce", n, "phone", None, PHONE) for n in (1, 2, 3)])
    assert set(outcomes(told)) <= {"confirmed", "adopted"}
    assert {scene.accounts()[account_id(n)]["Phone"] for n in (1, 2, 3)} == {"+44 20 7946 0123"}
    with scene.journal() as journal:
        assert journal.unsettled().is_empty()


@pytest.mark.parametrize("kind", [*KINDS, "short", "reordered"])
def test_a_new_account_is_made_exactly_once_whatever_happens_to_its_answer(scene: Scene, kind: str) -> None:
    scene.peer.load("xero", [contact(n) for n in (6, 7)])
    scene.fault(kind, method="PATCH", after_s=0.1)
    made = [create("salesforce", n, f"New {n}") for n in (6, 7)]
    told = scene.push([*made, *map(follow_up, made)])
    assert set(outcomes(told)) <= {"confirmed", "adopted"}
    rows = [row for row in scene.accounts().values() if row["Name"].startswith("New")]
    assert sorted(row["ExternalID__c"] for row in rows) == [contact_id(6), contact_id(7)]
    assert all(scene.contacts()[row["ExternalID__c"]]["ContactNumber"] == row["Id"] for row in rows)


def test_the_same_bytes_go_again_under_the_same_key(scene: Scene) -> None:
    scene.fault("drop_after", method="PUT")
    scene.push([create("xero", 9, "Company 9")])
    scene.fault("drop_before", method="POST")
    scene.push([update("xero", 1, "tax_number", None, "GB1")], plan_hash="b" * 64)
    posts = [one for one in scene.writes("xero") if one["method"] == "POST"]
    assert len(posts) == 2
    assert posts[0]["idempotency_key"] == posts[1]["idempotency_key"]
    assert posts[0]["body_sha256"] == posts[1]["body_sha256"]


def test_a_failure_burns_the_key_and_the_next_attempt_has_a_new_one(scene: Scene) -> None:
    scene.fault("500", method="POST")
    scene.push([update("xero", 1, "tax_number", None, "GB1")])
    keys = [one["idempotency_key"] for one in scene.writes("xero")]
    assert len(keys) == len(set(keys)) == 2


def test_an_old_key_is_never_sent_again(scene: Scene) -> None:
    """With 400 s for late application no key is certain to live: only reading back may decide."""
    scene.clock = SkippingClock()
    scene.limits = Limits(late_application_s=400, timeout_s=2, retries=1)
    scene.fault("drop_before", method="POST")
    told = scene.push([update("xero", 1, "tax_number", None, "GB1")])
    assert outcomes(told) == ["confirmed"]
    keys = [one["idempotency_key"] for one in scene.writes("xero")]
    assert len(set(keys)) == 2
    # The vendor's time, what clocks may be apart and what lies behind the mark passed before the new attempt.
    assert max(scene.clock.slept) == pytest.approx(400 + 30 + 5, abs=5)


def test_a_refusal_that_wrote_nothing_is_waited_for(scene: Scene) -> None:
    scene.fault("429", method="POST", headers={"X-Rate-Limit-Problem": "minute", "Retry-After": "0"})
    assert outcomes(scene.push([update("xero", 1, "tax_number", None, "GB1")])) == ["confirmed"]
    keys = [one["idempotency_key"] for one in scene.writes("xero")]
    assert len(keys) == 2 and len(set(keys)) == 1


def test_an_edit_by_hand_is_not_overwritten_when_an_answer_was_lost(scene: Scene) -> None:
    """The write never arrived, and meanwhile somebody typed another value: it stays."""
    scene.fault("drop_before", method="POST")
    scene.clock = SkippingClock()

    def edit(seconds: float) -> None:
        scene.clock.sleep(seconds)
        scene.peer.load("xero", [contact(1, TaxNumber="BY HAND")])

    scene.limits = replace_limits(late_application_s=400)
    told = scene.push([update("xero", 1, "tax_number", None, "GB1")], sleep=edit)
    assert outcomes(told) == ["overtaken"]
    assert scene.contacts()[contact_id(1)]["TaxNumber"] == "BY HAND"


def replace_limits(**changes: float) -> Limits:
    return QUICK.model_copy(update=changes)


def test_a_system_that_is_away_leaves_its_operations_waiting(scene: Scene) -> None:
    scene.fault("drop_before", method="GET", times=-1)
    one, two = update("xero", 1, "tax_number", None, "GB1"), update("salesforce", 1, "phone", None, PHONE)
    told = scene.push([one, two])
    assert told[one["operation_id"]][0] == "waiting"
    assert told[two["operation_id"]][0] == "confirmed"


def test_what_can_not_be_settled_stays_unknown_and_the_next_run_settles_it(scene: Scene) -> None:
    scene.fault("drop_after", method="POST")
    scene.fault("drop_before", method="GET", skip=1, times=20)  # the look before writing still works
    one = update("xero", 1, "tax_number", None, "GB1")
    assert outcomes(scene.push([one])) == ["unknown"]
    with scene.journal() as journal:
        assert journal.unsettled()["state"].to_list() == ["unknown"]
        status = journal.status()
        assert (status["unsettled"], status["dead_letters"]) == (1, 0)
        assert status["journal"] == journal.at
    scene.peer.control("xero", "DELETE", "faults")
    assert outcomes(scene.settle()) == ["adopted"]
    assert outcomes(scene.push([one])) == ["adopted"]
    assert len(scene.writes("xero")) == 1


def test_a_record_with_an_unsettled_write_gets_no_second_one(scene: Scene) -> None:
    scene.fault("drop_after", method="POST")
    scene.fault("drop_before", method="GET", skip=1, times=8)  # two looks of four tries each
    first = update("xero", 1, "tax_number", None, "GB1")
    second = update("xero", 1, "phone", None, PHONE)
    assert outcomes(scene.push([first])) == ["unknown"]
    assert scene.push([second], plan_hash="b" * 64)[second["operation_id"]] == (
        "waiting",
        "an earlier write of this record is not settled yet",
    )
    assert outcomes(scene.push([second], plan_hash="b" * 64)) == ["confirmed"]


def test_the_same_bytes_do_not_go_again_over_an_edit_by_hand(scene: Scene) -> None:
    """The key still lives, and yet: had the first sending never arrived, the second would overwrite."""
    scene.fault("drop_before", method="POST")
    scene.fault("drop_before", method="GET", skip=1, times=20)
    one = update("xero", 1, "tax_number", None, "GB1")
    assert outcomes(scene.push([one])) == ["unknown"]
    scene.peer.control("xero", "DELETE", "faults")
    scene.peer.load("xero", [contact(1, TaxNumber="BY HAND")])
    assert outcomes(scene.settle()) == ["overtaken"]
    assert scene.contacts()[contact_id(1)]["TaxNumber"] == "BY HAND"
    assert len(scene.writes("xero")) == 1


def test_a_record_that_holds_one_of_two_values_already_is_written_again(scene: Scene) -> None:
    """Somebody typed one of them meanwhile, as we would have written it: that is no other value than was seen."""
    scene.fault("drop_before", method="POST")
    scene.fault("drop_before", method="GET", skip=1, times=20)
    both = [
        update("xero", 1, "tax_number", None, "GB1"),
        update("xero", 1, "company_number", None, "12345678"),
    ]
    assert set(outcomes(scene.push(both))) == {"unknown"}
    scene.peer.control("xero", "DELETE", "faults")
    scene.peer.load("xero", [contact(1, TaxNumber="GB1")])
    assert set(outcomes(scene.settle())) == {"confirmed"}  # the same bytes went again
    assert scene.contacts()[contact_id(1)]["CompanyNumber"] == "12345678"


def test_a_key_leaves_only_inside_its_horizon_and_only_with_its_own_bytes(scene: Scene) -> None:
    at = [datetime(2026, 1, 1, tzinfo=UTC)]
    sent_intent = xero_intent()
    request = xero_writer.requests([sent_intent])[0]
    with scene.journal(now=lambda: at[0]) as journal, journal.lease("pair", "test", 900) as lease:
        sent = journal.intents.begin(request, plan_hash=PLAN, run_id="", fence=lease)
        for offset_s, passes in ((0, True), (239, True), (240, False), (-60, False)):
            at[0] = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=offset_s)
            with nullcontext() if passes else pytest.raises(HorizonPassed):
                journal.intents.leaving(sent, request.body, horizon_s=240, fence=lease)
        with pytest.raises(Incident, match="bytes"):
            journal.intents.leaving(sent, request.body + b" ", horizon_s=240, fence=lease)
        with pytest.raises(Incident, match="second"):
            journal.intents.begin(request, plan_hash=PLAN, run_id="", fence=lease)
        with pytest.raises(InvariantBroken, match="proof"):
            journal.intents.close(sent, [(sent_intent, [])], plan_hash=PLAN, fence=lease)
        early = Proof("absent", looked_at=at[0], waited_s=90)
        with pytest.raises(InvariantBroken, match="before the vendor's time"):
            journal.intents.close(sent, [(sent_intent, [])], plan_hash=PLAN, fence=lease, proof=early)
        at_last = Proof("absent", datetime(2026, 1, 1, 1, tzinfo=UTC), 90)
        journal.intents.close(sent, [(sent_intent, [])], plan_hash=PLAN, fence=lease, proof=at_last)
        with journal.read() as con:  # why it ended is kept
            assert con.execute(text("select state from intents")).scalars().all() == ["absent"]
        with pytest.raises(InvariantBroken, match="twice"):
            journal.intents.close(sent, [(sent_intent, [])], plan_hash=PLAN, fence=lease, proof=at_last)


def xero_intent() -> Intent:
    one = Operation("op", "xero", "party", "Contact", "update", "change", "tax_number", contact_id(1))
    return Intent(
        "i",
        "xero",
        "Contact",
        "party",
        "update",
        contact_id(1),
        "ContactNumber",
        None,
        {"TaxNumber": "x"},
        (one,),
    )


def test_settling_without_writing_only_looks(scene: Scene) -> None:
    scene.fault("drop_before", method="POST")
    scene.fault("drop_before", method="GET", skip=1, times=20)
    one = update("xero", 1, "tax_number", None, "GB1")
    assert outcomes(scene.push([one])) == ["unknown"]
    scene.peer.control("xero", "DELETE", "faults")
    scene.limits = replace_limits(late_application_s=90)
    assert outcomes(scene.settle(look_only=True)) == ["unknown"]
    assert len(scene.writes("xero")) == 1


def test_a_batch_that_is_refused_as_a_whole_is_read_element_by_element(scene: Scene, monkeypatch) -> None:
    """summarizeErrors=false is not heeded: the good ones are read back and sent again."""
    from pipelines.xero import writer

    summed_up = replace(writer.SHAPES["Contact"], query="summarizeErrors=true")
    monkeypatch.setitem(writer.SHAPES, "Contact", summed_up)
    for choice in ("saves_nothing", "saves_good"):
        scene.switch("xero", failed_batch=choice)
        operations = [update("xero", n, "email", None, f"a{n}@{choice[:6]}.example") for n in (1, 2, 3)]
        operations[1]["native_after"] = json.dumps({"EmailAddress": "no address"})
        for one in operations:
            one["operation_id"] = choice + one["operation_id"][:40]
            before = scene.contacts()[one["record_id"]].get("EmailAddress", "")
            one["native_before"] = json.dumps({"EmailAddress": before})
        assert outcomes(scene.push(operations))[1] == "rejected"
        assert set(outcomes(scene.push(operations))) == {"confirmed", "rejected"} or choice == "saves_good"
        assert scene.contacts()[contact_id(3)]["EmailAddress"] == f"a3@{choice[:6]}.example"


def test_a_name_that_exists_is_never_taken_over(scene: Scene) -> None:
    """A POST would overwrite the contact of that name; a PUT is refused."""
    told = scene.push([create("xero", 9, "Company 1")])
    assert outcomes(told) == ["rejected"]
    assert "ContactNumber" not in scene.contacts()[contact_id(1)]


def test_a_link_whose_answer_is_lost_is_kept_with_its_link(scene: Scene) -> None:
    scene.peer.load("salesforce", [account(5)])
    scene.peer.load("xero", [contact(5)])
    scene.fault("drop_after", method="PATCH")
    one = link("salesforce", 5)
    assert outcomes(scene.push([one])) == ["adopted"]
    with scene.journal() as journal:
        assert account_id(5) in journal.links()["salesforce_id"].to_list()

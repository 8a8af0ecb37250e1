from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from peers import Peer, account, contact, person
from push_scene import (
    PLAN,
    Scene,
    SkippingClock,
    account_id,
    contact_id,
    create,
    follow_up,
    link,
    link_id,
    move_of,
    operation,
    update,
)

from pipelines import protocol
from pipelines.intents import Intent, Operation
from pipelines.xero.client import XeroClient
from reconcile.errors import LogInAgain, UnexpectedReply

PHONE = "+442079460123"
PHONE_2 = "+442079460999"


@pytest.fixture
def scene(peer: Peer, tmp_path: Path) -> Iterator[Scene]:
    """Three companies on both sides; the first is linked."""
    peer.load("salesforce", [account(n) for n in (1, 2, 3)])
    peer.load("xero", [contact(n) for n in (1, 2, 3)])
    made = Scene(peer, tmp_path)
    made.know(1)
    yield made
    with made.journal() as journal:
        assert journal.verify().ok
        assert journal.unsettled().is_empty()


def phone_of(scene: Scene, number: int) -> str:
    slots = scene.contacts()[contact_id(number)]["Phones"]
    return "".join(
        one.get(name, "")
        for one in slots
        if one["PhoneType"] == "DEFAULT"
        for name in ("PhoneCountryCode", "PhoneAreaCode", "PhoneNumber")
    ).replace(" ", "")


def test_a_unit_is_written_once_and_both_sides_own_values_become_its_base(scene: Scene) -> None:
    one = update("xero", 1, "phone", None, PHONE)
    assert scene.push([one]) == {one["operation_id"]: ("confirmed", None)}
    assert phone_of(scene, 1).endswith("2079460123")
    bases = scene.bases()
    assert bases["xero", "phone"][0] == "agreed" and "Phones" in bases["xero", "phone"][1]
    assert bases["salesforce", "phone"] == ("agreed", one["source_native"])


def test_a_plan_that_is_applied_twice_writes_once(scene: Scene) -> None:
    operations = [update("xero", 1, "phone", None, PHONE), update("salesforce", 1, "phone", None, PHONE)]
    first = scene.push(operations)
    assert scene.push(operations) == first
    assert len(scene.writes("xero")) == len(scene.writes("salesforce")) == 1


def test_units_of_one_record_leave_in_one_body(scene: Scene) -> None:
    operations = [
        update("xero", 1, "phone", None, PHONE),
        update("xero", 1, "fax", None, PHONE_2),
        update("xero", 1, "tax_number", None, "GB123"),
    ]
    assert {outcome for outcome, _ in scene.push(operations).values()} == {"confirmed"}
    assert len(scene.writes("xero")) == 1
    assert scene.contacts()[contact_id(1)]["TaxNumber"] == "GB123"


def test_a_value_that_changed_since_the_plan_is_not_overwritten(scene: Scene) -> None:
    one = update("xero", 1, "tax_number", None, "GB123")
    scene.peer.load("xero", [contact(1, TaxNumber="BY HAND")])
    outcome, message = scene.push([one])[one["operation_id"]]
    assert outcome == "overtaken" and "BY HAND" not in str(message)
    assert scene.contacts()[contact_id(1)]["TaxNumber"] == "BY HAND"
    assert scene.bases() == {}


def test_another_unit_that_changed_since_the_plan_holds_nothing_up(scene: Scene) -> None:
    one = update("xero", 1, "tax_number", None, "GB123")
    scene.peer.load("xero", [contact(1, AccountNumber="BY HAND")])
    assert scene.push([one])[one["operation_id"]][0] == "confirmed"
    assert scene.contacts()[contact_id(1)]["AccountNumber"] == "BY HAND"


def test_what_somebody_wrote_already_is_adopted_without_a_write(scene: Scene) -> None:
    one = update("salesforce", 1, "phone", None, PHONE)
    scene.peer.load("salesforce", [account(1, Phone="020 7946 0123")])
    assert scene.push([one])[one["operation_id"]][0] == "adopted"
    assert scene.writes("salesforce") == []
    assert scene.bases()["salesforce", "phone"] == ("agreed", '{"Phone":"020 7946 0123"}')


def test_an_archived_or_deleted_record_is_not_written(scene: Scene) -> None:
    scene.know(1, 2)
    there, here = update("xero", 1, "phone", None, PHONE), update("salesforce", 2, "phone", None, PHONE)
    scene.peer.load("xero", [contact(1, ContactStatus="ARCHIVED")])
    scene.peer.load("salesforce", [account(2, IsDeleted=True)])
    outcomes = scene.push([there, here])
    assert {outcome for outcome, _ in outcomes.values()} == {"overtaken"}
    assert scene.writes("xero") == scene.writes("salesforce") == []


def test_a_link_commits_with_the_bases_that_came_with_it(scene: Scene) -> None:
    one, two = link("xero", 2), link("salesforce", 2)
    moves = pl.DataFrame([move_of(2, "name", '{"Name":"Company 2"}', '{"Name":"COMPANY 2"}')])
    assert {outcome for outcome, _ in scene.push([one, two], moves=moves).values()} == {"confirmed"}
    assert scene.contacts()[contact_id(2)]["ContactNumber"] == account_id(2)
    assert scene.accounts()[account_id(2)]["ExternalID__c"] == contact_id(2)
    with scene.journal() as journal:
        row = journal.links().filter(pl.col("xero_id") == contact_id(2)).row(0, named=True)
    assert (row["rule"], row["score"], row["status"]) == ("score", 0.99, "linked")
    assert scene.bases()["xero", "name"] == ("as_found", '{"Name":"COMPANY 2"}')


def test_what_was_agreed_is_not_laid_under_what_was_found_first(scene: Scene) -> None:
    """The second half of a link is made late, when a unit of it was written already."""
    scene.peer.control("salesforce", "POST", "locks", {"ids": [account_id(2)], "times": 2})
    fill = update("xero", 2, "tax_number", None, "GB2", phase="fill")
    moves = pl.DataFrame([move_of(2, "tax_number", '{"Tax_Number__c":"GB2"}', '{"TaxNumber":""}')])
    outcomes = scene.push([link("xero", 2), link("salesforce", 2), fill], moves=moves)
    assert {outcome for outcome, _ in outcomes.values()} == {"confirmed"}
    assert scene.bases()["xero", "tax_number"] == ("agreed", '{"TaxNumber":"GB2"}')


def test_a_foreign_number_is_never_overwritten(scene: Scene) -> None:
    one = link("xero", 2)
    scene.peer.load("xero", [contact(2, ContactNumber="C-77")])
    assert scene.push([one])[one["operation_id"]][0] == "overtaken"
    assert scene.contacts()[contact_id(2)]["ContactNumber"] == "C-77"


def test_a_unit_of_a_record_without_link_waits(scene: Scene) -> None:
    one = update("xero", 3, "phone", None, PHONE)
    assert scene.push([one])[one["operation_id"]] == ("waiting", "its link is not made")


def test_a_unit_waits_for_the_link_that_is_made_in_the_same_push(scene: Scene) -> None:
    operations = [update("xero", 2, "phone", None, PHONE, phase="fill"), link("xero", 2)]
    assert {outcome for outcome, _ in scene.push(operations).values()} == {"confirmed"}


def test_what_depends_on_a_refused_operation_waits(scene: Scene) -> None:
    scene.peer.load("salesforce", [account(9)])
    made = create("xero", 9, "Company 1")  # the name is taken
    outcomes = scene.push([made, follow_up(made)])
    assert [outcome for outcome, _ in outcomes.values()] == ["rejected", "waiting"]
    assert "Company 1" not in str(outcomes)


def test_phases_that_were_not_chosen_are_left_alone(scene: Scene) -> None:
    one, two = link("xero", 2), update("xero", 1, "phone", None, PHONE)
    assert list(scene.push([one, two], phases={"link"})) == [one["operation_id"]]


def test_a_new_contact_and_its_account_know_each_other_and_are_linked(scene: Scene) -> None:
    scene.peer.load("salesforce", [account(9)])
    made = create("xero", 9, "Company 9")
    assert {outcome for outcome, _ in scene.push([made, follow_up(made)]).values()} == {"confirmed"}
    new = next(row for row in scene.contacts().values() if row["Name"] == "Company 9")
    assert new["ContactNumber"] == account_id(9)
    assert scene.accounts()[account_id(9)]["ExternalID__c"] == new["ContactID"]
    with scene.journal() as journal:
        assert link_id("party", account_id(9), new["ContactID"]) in journal.links()["link_id"]
        assert journal.bases().filter(pl.col("link_id").str.contains(new["ContactID"])).height == 4


def test_a_new_account_and_its_person_are_made_in_order(scene: Scene) -> None:
    scene.peer.load("xero", [contact(9, FirstName="Ada", LastName="Byron")])
    party = create("salesforce", 9, "Company 9")
    body = {
        "FirstName": "Ada",
        "LastName": "Byron",
        "AccountId": {"$from": party["operation_id"]},
        "ExternalID__c": contact_id(9) + ":primary",
    }
    human = operation(
        system="salesforce",
        entity="person",
        object="Contact",
        source_id=contact_id(9) + ":primary",
        action="create",
        phase="create",
        unit="record",
        native_after=json.dumps(body),
        source_native=json.dumps({"name": {"FirstName": "Ada", "LastName": "Byron"}}),
        depends_on=party["operation_id"],
    )
    outcomes = scene.push([human, party, follow_up(party)])
    assert {outcome for outcome, _ in outcomes.values()} == {"confirmed"}
    made = next(row for row in scene.records("salesforce", "Contact"))
    parent = next(row for row in scene.accounts().values() if row["Name"] == "Company 9")
    assert made["AccountId"] == parent["Id"]
    assert scene.contacts()[contact_id(9)]["ContactNumber"] == parent["Id"]


def test_a_new_record_whose_key_is_there_already_is_adopted(scene: Scene) -> None:
    scene.peer.load("salesforce", [account(9)])
    scene.peer.load("xero", [contact(8, Name="Made before", ContactNumber=account_id(9))])
    made = create("xero", 9, "Company 9")
    outcomes = scene.push([made, follow_up(made)])
    assert [outcome for outcome, _ in outcomes.values()] == ["adopted", "confirmed"]
    assert scene.accounts()[account_id(9)]["ExternalID__c"] == contact_id(8)
    assert scene.writes("xero") == []


def test_what_is_adopted_and_differs_from_what_we_would_have_made_was_never_agreed(scene: Scene) -> None:
    scene.peer.load("salesforce", [account(9)])
    scene.peer.load("xero", [contact(8, Name="Made before", ContactNumber=account_id(9))])
    made = create("xero", 9, "Company 9")
    made["native_after"] = json.dumps({"Name": "Company 9", "ContactNumber": account_id(9)})
    scene.push([made])
    bases = scene.bases()
    assert bases["xero", "name"] == ("as_found", '{"Name":"Made before"}')
    assert bases["xero", "phone"][0] == "agreed"  # blank on both


def test_an_archived_holder_of_the_key_is_neither_adopted_nor_counted_as_a_twin(scene: Scene) -> None:
    scene.switch("xero", numbers_of_archived="freed")
    scene.peer.load("salesforce", [account(9)])
    scene.peer.load("xero", [contact(8, ContactStatus="ARCHIVED", ContactNumber=account_id(9))])
    made = create("xero", 9, "Company 9")
    assert scene.push([made])[made["operation_id"]][0] == "overtaken"


def test_a_refusal_that_is_overcome_is_no_dead_letter_any_more(scene: Scene) -> None:
    scene.peer.load("salesforce", [account(9)])
    made = create("xero", 9, "Company 1")
    scene.push([made])
    with scene.journal() as journal:
        assert journal.dead_letters()["operation_id"].to_list() == [made["operation_id"]]
    scene.peer.load("xero", [contact(1, Name="Renamed")])
    assert scene.push([made])[made["operation_id"]][0] == "confirmed"
    with scene.journal() as journal:
        assert journal.dead_letters().is_empty()


def test_the_newest_writes_of_a_unit_are_told(scene: Scene) -> None:
    values = [None, PHONE, PHONE_2]
    for before, after in pairwise(values):
        scene.push([update("xero", 1, "phone", before, after)], plan_hash=(after[-1] * 64))
    with scene.journal() as journal:
        recent = journal.recent(limit=1)
    assert recent.height == 1 and recent["unit"].item() == "phone"
    assert "0999" in recent["native_after"].item() and "0123" in recent["native_before"].item()


def test_a_login_that_is_refused_at_the_look_leaves_everything_told(scene: Scene) -> None:
    scene.peer.control("xero", "POST", "faults", {"kind": "expired_token", "path": "Contacts", "times": -1})
    one = update("xero", 1, "phone", None, PHONE)
    with pytest.raises(LogInAgain):
        scene.push([one])
    with scene.journal() as journal:
        assert journal.outcomes(PLAN)["outcome"].to_list() == ["waiting"]


def test_one_bad_record_of_a_batch_does_not_hold_up_the_others(scene: Scene) -> None:
    scene.know(1, 2, 3)
    operations = [update("xero", n, "email", None, f"a{n}@example.com") for n in (1, 2, 3)]
    bad = json.dumps({"EmailAddress": "not an address"})
    operations[1]["native_after"] = bad
    outcomes = [outcome for outcome, _ in scene.push(operations).values()]
    assert outcomes == ["confirmed", "rejected", "confirmed"]
    with scene.journal() as journal:
        assert journal.dead_letters()["times"].to_list() == [1]


def test_one_bad_unit_does_not_hold_up_the_others_of_its_record(scene: Scene) -> None:
    good, bad = (
        update("xero", 1, "tax_number", None, "GB1"),
        update("xero", 1, "email", None, "a@example.com"),
    )
    bad["native_after"] = json.dumps({"EmailAddress": "not an address"})
    outcomes = scene.push([good, bad])
    assert outcomes[good["operation_id"]][0] == "confirmed"
    assert outcomes[bad["operation_id"]][0] == "rejected"
    assert scene.contacts()[contact_id(1)]["TaxNumber"] == "GB1"


def test_a_contact_that_vanished_refuses_only_itself(scene: Scene) -> None:
    """Xero answers 404 for the whole request when one ContactID is unknown."""
    scene.know(1, 2, 3, 77)
    operations = [update("xero", n, "tax_number", None, f"GB{n}") for n in (1, 2, 77, 3)]
    outcomes = [outcome for outcome, _ in scene.push(operations).values()]
    assert outcomes == ["confirmed", "confirmed", "overtaken", "confirmed"]


def test_party_and_person_of_one_contact_leave_in_one_body(scene: Scene) -> None:
    scene.peer.load("salesforce", [person(1)])
    scene.peer.load("xero", [contact(1, FirstName="Ada", LastName="Byron")])
    before = '{"first":"Ada","last":"Byron"}'
    name = update("xero", 1, "name", before, '{"first":"Ada","last":"King"}', entity="person", phase="create")
    tax = update("xero", 1, "tax_number", None, "GB1")
    assert {outcome for outcome, _ in scene.push([name, tax]).values()} == {"confirmed"}
    assert len(scene.writes("xero")) == 1
    assert scene.contacts()[contact_id(1)]["LastName"] == "King"


def test_a_projection_is_set_and_leaves_no_base(scene: Scene) -> None:
    one = update("salesforce", 1, "is_customer", "false", "true")
    assert scene.push([one])[one["operation_id"]][0] == "confirmed"
    assert scene.accounts()[account_id(1)]["Xero_Customer__c"] is True
    assert scene.bases() == {}


def test_a_write_that_was_accepted_and_changed_nothing_is_told(scene: Scene) -> None:
    scene.switch("xero", null_on_write="keep")
    scene.peer.load("xero", [contact(1, TaxNumber="GB1")])
    one = update("xero", 1, "tax_number", "GB1", None)
    one["native_after"] = '{"TaxNumber":null}'
    outcome, message = scene.push([one])[one["operation_id"]]
    assert (outcome, message) == ("rejected", "the write was accepted, and the old value is still there")


def test_an_edit_between_write_and_read_back_shows_as_a_change(scene: Scene) -> None:
    """The base is what we sent, when the last writer of the record is somebody else."""
    one = update("salesforce", 1, "phone", None, PHONE)
    scene.peer.load("salesforce", [account(1, LastModifiedById="005000000000099AAA")])
    with scene.peer.clients() as clients:
        stranger = clients.salesforce.user_id()
    assert stranger != "005000000000099AAA"
    scene.push([one])
    assert scene.bases()["salesforce", "phone"][1] == '{"Phone":"+44 20 7946 0123"}'


def test_a_missing_right_stops_the_push_and_keeps_what_was_done(scene: Scene) -> None:
    scene.fault("expired_token", times=-1)
    one, two = update("salesforce", 1, "phone", None, PHONE), update("xero", 1, "phone", None, PHONE)
    with pytest.raises(LogInAgain):
        scene.push([one, two])
    with scene.journal() as journal:
        rows = dict(journal.outcomes(PLAN).select("system", "outcome").rows())
    assert rows == {"salesforce": "confirmed", "xero": "waiting"}


def test_a_limit_of_the_day_ends_its_side_and_not_the_other(scene: Scene) -> None:
    headers = {"X-Rate-Limit-Problem": "day", "Retry-After": "40000"}
    scene.fault("429", times=-1, headers=headers)
    one, two = update("xero", 1, "phone", None, PHONE), update("salesforce", 1, "phone", None, PHONE)
    outcomes = scene.push([one, two])
    assert outcomes[one["operation_id"]][0] == "waiting"
    assert outcomes[two["operation_id"]][0] == "confirmed"


def test_a_locked_row_is_tried_again(scene: Scene) -> None:
    scene.peer.control("salesforce", "POST", "locks", {"ids": [account_id(1)], "times": 2})
    one = update("salesforce", 1, "phone", None, PHONE)
    assert scene.push([one])[one["operation_id"]][0] == "confirmed"


def test_a_row_that_stays_locked_waits_for_the_next_run(scene: Scene) -> None:
    scene.peer.control("salesforce", "POST", "locks", {"ids": [account_id(1)], "times": 9})
    one = update("salesforce", 1, "phone", None, PHONE)
    assert scene.push([one])[one["operation_id"]] == (
        "waiting",
        "tried 3 times, and refused for now each time",
    )


def test_the_plan_says_how_far_it_was_applied(scene: Scene) -> None:
    with scene.journal() as journal:
        journal.save_plan(PLAN, {"made": "here"})
    one, two = link("xero", 2), update("xero", 3, "phone", None, PHONE)
    scene.push([one, two])
    with scene.journal() as journal:
        row = journal.plan(PLAN)
    assert row is not None and row.state == "applied_in_part"
    assert row.outcomes == {"confirmed": 1, "waiting": 1}


def test_no_value_of_a_person_stands_in_clear_in_the_journal(scene: Scene) -> None:
    scene.push([update("xero", 1, "email", None, "ada.byron@example.com")])
    blob = b"".join(path.read_bytes() for path in scene.folder.glob("journal.db*"))
    assert b"ada.byron" not in blob


def test_more_than_a_batch_is_sent_in_several_requests(peer: Peer, tmp_path: Path) -> None:
    numbers = list(range(1, 121))
    peer.load("xero", [contact(n) for n in numbers])
    scene = Scene(peer, tmp_path)
    scene.know(*numbers)
    told = []
    outcomes = scene.push(
        [update("xero", n, "tax_number", None, f"GB{n}") for n in numbers],
        progress=lambda done, total, text: told.append((done, total)),
    )
    assert {outcome for outcome, _ in outcomes.values()} == {"confirmed"} and len(outcomes) == 120
    assert len(scene.writes("xero")) == 3
    assert told[-1] == (120, 120)


@pytest.mark.parametrize(
    ("made", "looks"),
    [
        (lambda n: link("xero", n), 1),
        (lambda n: create("xero", n, f"New {n}"), 1),
        (lambda n: update("xero", n, "tax_number", None, f"GB{n}"), 3),
    ],
    ids=["ids", "new ones with a key that is taken once", "what people edit"],
)
def test_only_what_a_look_protects_is_looked_at_again_in_a_long_push(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[int], Any], looks: int
) -> None:
    clock = SkippingClock()
    scene = Scene(peer, tmp_path, clock=clock, overlap_s=900)
    numbers = list(range(1, 121))
    operations = [made(number) for number in numbers]
    if operations[0]["action"] != "create":
        peer.load("xero", [contact(n) for n in numbers])
        scene.know(*numbers)
    page, since = XeroClient.page, []

    def asked_since(self: XeroClient, object_name: str, **asked: Any) -> Any:
        since.extend([asked["modified_since"]] if asked.get("modified_since") else [])
        return page(self, object_name, **asked)

    monkeypatch.setattr(XeroClient, "page", asked_since)
    began = datetime.now(UTC)
    outcomes = scene.push(operations, progress=lambda *_: clock.sleep(31))
    assert {outcome for outcome, _ in outcomes.values()} == {"confirmed"} and len(scene.writes("xero")) == 3
    assert len(since) == looks
    # The first reaches back as far as a pull; later ones not to what this push wrote before.
    ages = [(began - one).total_seconds() for one in since]
    assert ages[0] >= 900 and all(age < 65 for age in ages[1:]), ages


@pytest.mark.parametrize(
    ("made", "rests"),
    [
        ({"action": "create", "key_field": "ContactNumber", "natural_key": "001A"}, False),
        ({"action": "create", "key_field": "InvoiceNumber", "natural_key": "SF-001A-2"}, False),
        ({"action": "create", "key_field": "InvoiceNumber", "natural_key": "INV-0043"}, True),
        ({"action": "create", "key_field": "Reference", "natural_key": "SF-001A"}, True),
        (
            {"action": "create", "key_field": "InvoiceNumber", "natural_key": "7 SF-001A", "object": "Bill"},
            True,
        ),
        ({"action": "create", "key_field": "CreditNoteNumber", "natural_key": "SF-001A-C123456"}, True),
        ({"action": "create", "key_field": "Name", "natural_key": "East"}, True),
        ({"action": "create", "key_field": "Code", "natural_key": "HOSE"}, True),
        (
            {"action": "create", "key_field": "ExternalID__c", "natural_key": "001A", "system": "salesforce"},
            True,
        ),
        ({"unit": "phone"}, True),
        ({"unit": "invoice"}, True),
        ({"unit": "status"}, True),
        ({"unit": "reference"}, False),
        ({"unit": "number"}, False),
        ({"unit": "status", "rule": "projection party.status"}, False),
    ],
)
def test_what_rests_on_a_young_look(made: dict[str, Any], rests: bool) -> None:
    action = made.get("action", "update")
    system = made.get("system", "xero")
    one = Operation("id", system, "party", "Contact", action, "change", made.get("unit", "record"),
                    record_id="r", source_id="001a", rule=made.get("rule"))  # fmt: skip
    key_field, natural_key = made.get("key_field"), made.get("natural_key")
    object_name = made.get("object", "Contact")
    intent = Intent("i", system, object_name, "party", action, "r", key_field, natural_key, {}, (one,))
    assert protocol.rests_on_look(intent) is rests
    # What the vendor would take a second time waits with a young journal.
    assert object_name != "Bill" or not protocol.has_unique_key(intent)


def looked_at_in_two_pages(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, saves: int, refused: bool
) -> dict[str, tuple[str, str | None]]:
    """Write over number 101, first of the second page, which holds what the plan did not see.

    Somebody saves another contact after each first page, that many times: where the list is not in the order
    of ids, 101 slips onto the page that was read already. refused: Xero takes no order by id.
    """
    scene.switch("xero", page_size="ignored", default_order="updated")
    edited = {"Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": PHONE_2}]}
    scene.peer.load("xero", [contact(n, **(edited if n == 101 else {})) for n in range(4, 151)])
    scene.know(101)
    page, left = XeroClient.page, list(range(1, saves + 1))

    def moving(self: XeroClient, object_name: str, **asked: Any) -> Any:
        if refused and asked.get("order"):
            raise UnexpectedReply(side="xero", at=object_name, found="HTTP 400", expected="HTTP 200")
        found = page(self, object_name, **asked)
        if asked.get("modified_since") and asked.get("number", 1) == 1 and left:
            number = left.pop(0)
            saved = {"ContactID": contact_id(number), "AccountNumber": f"SAVED {number}"}
            scene.peer.control("xero", "POST", "edit-contact", saved)
        return found

    monkeypatch.setattr(XeroClient, "page", moving)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    seen_at = {"salesforce": long_ago, "xero": long_ago}
    return scene.push([update("xero", 101, "phone", None, PHONE)], seen_at=seen_at)


@pytest.mark.parametrize("refused", [False, True])
def test_an_edit_that_slips_between_two_pages_of_a_look_is_not_written_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    told = looked_at_in_two_pages(scene, monkeypatch, saves=1, refused=refused)
    assert [outcome for outcome, _ in told.values()] == ["overtaken"]
    assert phone_of(scene, 101) == PHONE_2


def test_a_list_that_moves_at_each_look_is_no_ground_to_write_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = looked_at_in_two_pages(scene, monkeypatch, saves=3, refused=True)
    ((outcome, why),) = told.values()
    assert outcome == "waiting" and "moved each time while it was read" in str(why)
    assert scene.writes("xero") == []

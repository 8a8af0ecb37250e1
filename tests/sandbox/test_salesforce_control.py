"""What can be done to the org from outside: fields, rights, rules, merge, recycle bin, limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from salesforce_peer import Peer, account, refusal, serving


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("salesforce")) as started:
        yield started


@pytest.fixture
def sf(line: dict[str, Any]) -> Peer:
    peer = Peer(line)
    peer.control("reset", {"seed": False})
    peer.control("dialect", method="DELETE")
    return peer


@pytest.fixture
def person(line: dict[str, Any], sf: Peer) -> Peer:
    return Peer(line, person=True)


def fields_of(peer: Peer, kind: str = "Account") -> dict[str, dict[str, Any]]:
    return {f["name"]: f for f in peer.call("GET", f"sobjects/{kind}/describe").json()["fields"]}


def test_describe_agrees_with_the_recorded_one(sf: Peer) -> None:
    fields = fields_of(sf)
    name, external, stamp = fields["Name"], fields["ExternalID__c"], fields["SystemModstamp"]
    assert (name["length"], name["nillable"], name["createable"], name["type"]) == (
        255,
        False,
        True,
        "string",
    )
    assert (external["externalId"], external["unique"], external["custom"]) == (True, True, True)
    assert (stamp["updateable"], stamp["defaultedOnCreate"], stamp["type"]) == (False, True, "datetime")
    assert fields["BillingStreet"]["compoundFieldName"] == "BillingAddress"
    assert fields["OwnerId"]["referenceTo"] == ["User"]
    assert len(fields["Industry"]["picklistValues"]) == 32
    assert fields_of(sf, "Contact")["AccountId"]["relationshipName"] == "Account"


def test_a_custom_field_can_come_change_and_go(sf: Peer) -> None:
    sf.control("fields", {"object": "Account", "add": {"name": "Region__c", "type": "string", "length": 5}})
    record_id = sf.make(Region__c="North")
    assert refusal(sf.change(record_id, Region__c="Far North")) == (400, "STRING_TOO_LONG")
    assert sf.query("select Region__c from Account")[0]["Region__c"] == "North"
    sf.control(
        "fields", {"object": "Account", "add": {"name": "Region__c", "type": "double", "precision": 18}}
    )
    assert fields_of(sf)["Region__c"]["type"] == "double"
    sf.control("fields", {"object": "Account", "remove": "Region__c"})
    assert "Region__c" not in fields_of(sf)
    assert refusal(sf.change(record_id, Region__c="x")) == (400, "INVALID_FIELD")


def test_field_rights_bind_the_integration_user_alone(sf: Peer, person: Peer) -> None:
    rights = {"Phone": "hidden", "Fax": "read_only"}
    sf.control("fields", {"object": "Account", "rights": rights})
    record_id = person.make(Phone="1", Fax="2")
    assert "Phone" not in fields_of(sf)
    assert "Phone" not in sf.read(record_id)
    assert fields_of(sf)["Fax"]["updateable"] is False
    assert fields_of(person)["Fax"]["updateable"] is True
    assert refusal(sf.change(record_id, Phone="3")) == (400, "INVALID_FIELD")
    assert refusal(sf.change(record_id, Fax="3")) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")


def test_rights_to_an_object_can_be_taken(sf: Peer, person: Peer) -> None:
    sf.control("fields", {"object": "Account", "allow": {"createable": False}})
    reply = sf.call("POST", "sobjects/Account", {"Name": "x"})
    assert refusal(reply) == (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY")
    assert sf.call("GET", "sobjects/Account/describe").json()["createable"] is False
    assert person.make()


def test_a_reset_takes_changes_of_the_schema_back(sf: Peer) -> None:
    sf.control("fields", {"object": "Account", "add": {"name": "New__c", "type": "string"}})
    sf.control("reset", {"seed": False})
    assert "New__c" not in fields_of(sf)


def test_a_wrong_field_is_refused(sf: Peer) -> None:
    for wanted in (
        {"object": "Account", "add": {"name": "NoSuffix", "type": "string"}},
        {"object": "Account", "rights": {"Nothing": "hidden"}},
        {"object": "Case", "remove": "X__c"},
    ):
        assert sf.call("POST", "/sandbox/fields", wanted).status_code == 400


def test_a_merge_leads_to_the_survivor_and_brings_its_people(sf: Peer) -> None:
    kept, lost = sf.make(Name="Kept"), sf.make(Name="Lost", ExternalID__c="x")
    child = sf.make("Contact", AccountId=lost)
    sf.control("merge", {"object": "Account", "survivor": kept, "loser": lost, "fields": {"Fax": "9"}})
    (gone,) = sf.query("select Id, MasterRecordId from Account where IsDeleted = true", everything=True)
    assert (gone["Id"], gone["MasterRecordId"]) == (lost, kept)
    assert sf.read(child)["AccountId"] == kept
    assert sf.read(kept)["Fax"] == "9"
    assert sf.change(kept, ExternalID__c="x").status_code == 204


def test_a_merge_may_move_children_without_moving_their_stamp(sf: Peer) -> None:
    sf.control("dialect", {"merge_stamps_children": False})
    kept, lost = sf.make(), sf.make()
    child = sf.make("Contact", AccountId=lost)
    before = sf.read(child)
    sf.control("clock", {"move_s": 100})
    sf.control("merge", {"object": "Account", "survivor": kept, "loser": lost})
    after = sf.read(child)
    assert after["AccountId"] == kept
    assert after["SystemModstamp"] == before["SystemModstamp"]


def test_what_was_deleted_can_come_back_with_its_people(sf: Peer) -> None:
    parent = sf.make(ExternalID__c="x")
    child = sf.make("Contact", AccountId=parent)
    sf.call("DELETE", f"sobjects/Account/{parent}")
    sf.control("undelete", {"ids": [parent]})
    assert sf.read(parent)["IsDeleted"] is False
    assert sf.read(child)["AccountId"] == parent


def test_the_system_can_move_a_stamp_without_a_change(sf: Peer) -> None:
    record_id = sf.make()
    sf.control("clock", {"move_s": 60})
    sf.control("touch", {"ids": [record_id]})
    row = sf.read(record_id)
    assert row["SystemModstamp"] > row["LastModifiedDate"]


def test_a_validation_rule_refuses_with_the_administrators_words(sf: Peer) -> None:
    rule = {"object": "Account", "when": "Type = 'Prospect' and Phone = null", "message": "Give a phone"}
    sf.control("rules", {"validation": [{**rule, "name": "Phone", "field": "Phone"}]})
    reply = sf.call("POST", "sobjects/Account", {"Name": "x", "Type": "Prospect"})
    assert refusal(reply) == (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    assert (reply.json()[0]["message"], reply.json()[0]["fields"]) == ("Give a phone", ["Phone"])
    assert sf.make(Type="Prospect", Phone="1")


def test_a_duplicate_rule_tells_what_it_found_under_the_vendors_typo(sf: Peer) -> None:
    first = sf.make("Contact", Email="a@b.example")
    rule = {"object": "Contact", "name": "Contacts_DR", "fields": ["Email"], "allow_save": True}
    sf.control("rules", {"duplicate": [rule]})
    body = {"LastName": "x", "Email": "A@B.example"}
    reply = sf.call("POST", "sobjects/Contact", body)
    assert refusal(reply) == (400, "DUPLICATES_DETECTED")
    found = reply.json()[0]["duplicateResut"]["matchResults"][0]["matchRecords"][0]
    assert found["record"]["Id"] == first
    header = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
    assert sf.call("POST", "sobjects/Contact", body, headers=header).status_code == 201
    sf.control("rules", method="DELETE")
    assert sf.call("POST", "sobjects/Contact", body).status_code == 201


def test_the_days_calls_run_out_and_come_back(tmp_path: Path) -> None:
    with serving(tmp_path, limits="real") as started:
        peer = Peer(started)
        peer.control("limits", {"used": 14_999})
        assert peer.call("GET", "limits").json()["DailyApiRequests"] == {"Max": 15_000, "Remaining": 0}
        over = peer.call("POST", "composite/sobjects", {"records": [account(Name="x")]})
        assert refusal(over) == (403, "REQUEST_LIMIT_EXCEEDED")
        assert over.json()[0]["message"] == "TotalRequests Limit exceeded."
        peer.control("clock", {"move_s": 25 * 3600})
        assert refusal(peer.call("GET", "limits")) == (401, "INVALID_SESSION_ID")
        assert Peer(started).query("select Id from Account") == []


def test_ended_sessions_are_told(sf: Peer) -> None:
    sf.control("sessions", method="DELETE")
    assert refusal(sf.call("GET", "limits")) == (401, "INVALID_SESSION_ID")

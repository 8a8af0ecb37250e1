"""Records over HTTP: what is taken, changed on the way, refused; stamps, conditions, dialects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from salesforce_peer import ROOT, Peer, account, refusal, serving


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("salesforce")) as started:
        yield started


@pytest.fixture
def sf(line: dict[str, Any]) -> Peer:
    """The integration user on an org that was just reset."""
    peer = Peer(line)
    peer.control("reset", {"seed": False})
    peer.control("dialect", method="DELETE")
    return peer


@pytest.fixture
def person(line: dict[str, Any], sf: Peer) -> Peer:
    return Peer(line, person=True)


def test_a_row_is_made_read_changed_and_deleted(sf: Peer) -> None:
    record_id = sf.make(Name="Acme", Phone="01234 567890")
    assert len(record_id) == 18
    assert sf.change(record_id, Phone=None, Fax="1").status_code == 204
    row = sf.read(record_id)
    assert (row["Phone"], row["Fax"], row["Xero_Customer__c"]) == (None, "1", False)
    assert sf.call("DELETE", f"sobjects/Account/{record_id}").status_code == 204
    assert refusal(sf.change(record_id, Fax="2")) == (404, "ENTITY_IS_DELETED")


def test_both_forms_of_an_id_and_any_case_of_a_field_are_taken(sf: Peer) -> None:
    record_id = sf.make()
    assert sf.call("PATCH", f"sobjects/account/{record_id[:15]}", {"PHONE": "1"}).status_code == 204
    assert sf.read(record_id)["Phone"] == "1"


def test_every_write_moves_the_stamps_and_says_who(sf: Peer, person: Peer) -> None:
    record_id = sf.make()
    made = sf.read(record_id)
    sf.control("clock", {"move_s": 60})
    person.change(record_id, Phone="1")
    changed = sf.read(record_id)
    assert made["CreatedById"] == made["LastModifiedById"] == sf.user_id
    assert changed["LastModifiedById"] == person.user_id != sf.user_id
    assert changed["CreatedDate"] == made["CreatedDate"] == made["SystemModstamp"]
    assert changed["SystemModstamp"] == changed["LastModifiedDate"] > made["SystemModstamp"]
    assert made["SystemModstamp"].endswith(".000+0000")


def test_a_persons_name_is_made_of_its_parts(sf: Peer) -> None:
    record_id = sf.make("Contact", FirstName="Ann", LastName="Ray")
    sf.change(record_id, FirstName="Anna")
    assert sf.read(record_id)["Name"] == "Anna Ray"


@pytest.mark.parametrize(
    ("kind", "fields", "code", "named"),
    [
        ("Account", {}, "REQUIRED_FIELD_MISSING", ["Name"]),
        ("Account", {"Name": " "}, "REQUIRED_FIELD_MISSING", ["Name"]),
        ("Account", {"Name": "x" * 256}, "STRING_TOO_LONG", ["Name"]),
        ("Account", {"Name": "x", "Colour": "red"}, "INVALID_FIELD", None),
        (
            "Account",
            {"Name": "x", "CreatedDate": "2024-01-01T00:00:00Z"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            ["CreatedDate"],
        ),
        (
            "Account",
            {"Name": "x", "BillingAddress": "y"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            ["BillingAddress"],
        ),
        ("Account", {"Name": "x", "Id": "001Sb0000000009AAA"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Id"]),
        (
            "Account",
            {"Name": "x", "CleanStatus": "Odd"},
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            ["CleanStatus"],
        ),
        (
            "Account",
            {"Name": "x", "Billing_Email__c": "no mail"},
            "INVALID_EMAIL_ADDRESS",
            ["Billing_Email__c"],
        ),
        (
            "Account",
            {"Name": "x", "Xero_Customer__c": "maybe"},
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            ["Xero_Customer__c"],
        ),
        ("Account", {"Name": "x", "ParentId": "abc"}, "MALFORMED_ID", ["ParentId"]),
        ("Account", {"Name": 5}, "JSON_PARSER_ERROR", None),
        (
            "Contact",
            {"LastName": "x", "AccountId": "001Sb00000099zzAAA"},
            "INVALID_CROSS_REFERENCE_KEY",
            ["AccountId"],
        ),
        (
            "Contact",
            {"LastName": "x", "AccountId": "003Sb00000099zzAAA"},
            "FIELD_INTEGRITY_EXCEPTION",
            ["AccountId"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(
    sf: Peer, kind: str, fields: dict[str, Any], code: str, named: list[str] | None
) -> None:
    reply = sf.call("POST", f"sobjects/{kind}", fields)
    assert refusal(reply) == (400, code)
    assert reply.json()[0].get("fields") == named
    assert sf.query(f"select Id from {kind}") == []


def test_a_picklist_that_is_not_restricted_takes_any_text(sf: Peer) -> None:
    assert sf.read(sf.make(Type="Friend"))["Type"] == "Friend"


def test_texts_are_trimmed_and_an_empty_one_is_no_value(sf: Peer) -> None:
    row = sf.read(sf.make(Name="  Acme \n", Phone="", Site="   "))
    assert (row["Name"], row["Phone"], row["Site"]) == ("Acme", None, None)


def test_an_external_id_is_unique_in_any_case_among_the_living(sf: Peer) -> None:
    first = sf.make(ExternalID__c="Abc")
    reply = sf.call("POST", "sobjects/Account", {"Name": "x", "ExternalID__c": "ABC"})
    assert refusal(reply) == (400, "DUPLICATE_VALUE")
    assert reply.json()[0]["message"].endswith(f"record with id: {first[:15]}")
    sf.call("DELETE", f"sobjects/Account/{first}")
    assert sf.make(ExternalID__c="abc") != first


def test_a_row_may_be_given_the_external_id_that_it_has(sf: Peer) -> None:
    record_id = sf.make(ExternalID__c="Abc")
    assert sf.change(record_id, ExternalID__c="ABC").status_code == 204
    assert sf.read(record_id)["ExternalID__c"] == "ABC"


def test_external_ids_may_be_told_apart_by_case(sf: Peer) -> None:
    sf.control("dialect", {"case_sensitive_external_id": True})
    replies = [sf.call("PATCH", f"sobjects/Account/ExternalID__c/{key}", {"Name": "x"}) for key in ("a", "A")]
    assert [reply.status_code for reply in replies] == [201, 201]


def test_a_deleted_row_is_told_or_not_found(sf: Peer) -> None:
    url = f"sobjects/Account/{sf.make()}"
    sf.call("DELETE", url)
    assert refusal(sf.call("GET", url)) == (404, "ENTITY_IS_DELETED")
    sf.control("dialect", {"read_deleted_row": "NOT_FOUND"})
    assert refusal(sf.call("GET", url)) == (404, "NOT_FOUND")


def test_a_page_may_hold_fewer_rows_than_asked_for(sf: Peer) -> None:
    sf.control("dialect", {"page": "fewer"})
    for _ in range(3):
        sf.call("POST", "composite/sobjects", {"records": [account(Name="x")] * 200})
    first = sf.call("GET", "query", params={"q": "select Id from Account"}).json()
    assert (first["totalSize"], len(first["records"])) == (600, 500)
    assert first["nextRecordsUrl"].endswith("-500")


def test_upsert_creates_and_then_updates_the_same_row(sf: Peer) -> None:
    made = sf.call("PATCH", "sobjects/Account/ExternalID__c/x%2F1", {"Name": "One"})
    changed = sf.call("PATCH", "sobjects/Account/externalid__c/X%2F1", {"Name": "Two"})
    assert (made.status_code, made.json()["created"]) == (201, True)
    assert (changed.status_code, changed.json()["created"]) == (200, False)
    assert made.json()["id"] == changed.json()["id"]
    row = sf.call("GET", "sobjects/Account/ExternalID__c/x%2F1").json()
    assert (row["Name"], row["ExternalID__c"]) == ("Two", "x/1")


def test_upsert_with_update_only_never_creates(sf: Peer) -> None:
    reply = sf.call("PATCH", "sobjects/Account/ExternalID__c/x?updateOnly=true", {"Name": "One"})
    assert refusal(reply) == (404, "NOT_FOUND")


def test_upsert_of_a_value_that_two_rows_carry_lists_them_and_writes_nothing(sf: Peer) -> None:
    sf.control(
        "fields", {"object": "Account", "add": {"name": "Old__c", "type": "string", "external_id": True}}
    )
    both = {sf.make(Old__c="o"), sf.make(Old__c="o")}
    reply = sf.call("PATCH", "sobjects/Account/Old__c/o", {"Name": "New"})
    assert reply.status_code == 300
    assert {url.rpartition("/")[2] for url in reply.json()} == both
    assert {row["Name"] for row in sf.query("select Name from Account")} == {"Acme"}


def test_upsert_refuses_its_key_in_the_body_unless_the_dialect_takes_it(sf: Peer) -> None:
    path, body = "sobjects/Account/ExternalID__c/x", {"Name": "n", "ExternalID__c": "x"}
    assert refusal(sf.call("PATCH", path, body)) == (400, "INVALID_FIELD")
    sf.control("dialect", {"upsert_body_key": "accepted", "upsert_update_status": 204})
    assert sf.call("PATCH", path, body).status_code == 201
    reply = sf.call("PATCH", path, body)
    assert (reply.status_code, reply.content) == (204, b"")


def test_a_parent_can_be_named_by_its_external_id(sf: Peer) -> None:
    parent = sf.make(ExternalID__c="P1")
    child = sf.make("Contact", Account={"ExternalID__c": "p1"})
    assert sf.read(child)["AccountId"] == parent
    lost = sf.call("POST", "sobjects/Contact", {"LastName": "x", "Account": {"ExternalID__c": "none"}})
    assert refusal(lost) == (400, "INVALID_FIELD")


def test_a_missing_row_is_told_in_the_way_of_each_method(sf: Peer) -> None:
    url = "sobjects/Account/001Sb00000099zzAAA"
    assert refusal(sf.call("GET", url)) == (404, "NOT_FOUND")
    assert refusal(sf.call("PATCH", url, {"Fax": "1"})) == (404, "INVALID_CROSS_REFERENCE_KEY")
    assert refusal(sf.call("DELETE", url)) == (404, "INVALID_CROSS_REFERENCE_KEY")


def test_deleting_an_account_takes_its_people_along(sf: Peer) -> None:
    parent = sf.make()
    child = sf.make("Contact", AccountId=parent)
    sf.call("DELETE", f"sobjects/Account/{parent}")
    assert [
        row["Id"] for row in sf.query("select Id from Contact where IsDeleted = true", everything=True)
    ] == [child]


def test_a_write_under_a_condition_fails_when_the_row_changed_since(sf: Peer) -> None:
    record_id = sf.make()
    old = "Mon, 01 Jan 2024 00:00:00 GMT"
    url = f"sobjects/Account/{record_id}"
    shown = sf.call("GET", url)
    late = sf.call("PATCH", url, {"Fax": "1"}, headers={"If-Unmodified-Since": old})
    assert late.status_code == 412
    odd = sf.call("PATCH", url, {"Fax": "1"}, headers={"If-Unmodified-Since": "yesterday"})
    assert odd.status_code == 400
    good = sf.call(
        "PATCH", url, {"Fax": "1"}, headers={"If-Unmodified-Since": shown.headers["last-modified"]}
    )
    assert good.status_code == 204
    assert sf.call("GET", url, headers={"If-Modified-Since": old}).status_code == 200
    etag = {"If-Match": '"another"'}
    assert sf.call("PATCH", url, {"Fax": "2"}, headers=etag).status_code == 412
    assert sf.read(record_id)["Fax"] == "1"


def test_what_a_person_writes_passes_through_the_web_page(sf: Peer, person: Peer) -> None:
    sf.control("dialect", {"phone_format": "page"})
    fields = {"Phone": "5551234567", "BillingStreet": "1 High St\nLevel 2"}
    ours, theirs = sf.read(sf.make(**fields)), sf.read(person.make(**fields))
    assert (ours["Phone"], ours["BillingStreet"]) == ("5551234567", "1 High St\nLevel 2")
    assert (theirs["Phone"], theirs["BillingStreet"]) == ("(555) 123-4567", "1 High St\r\nLevel 2")


@pytest.mark.parametrize(
    ("switch", "value", "sent", "kept"),
    [
        ("phone_format", "always", {"Phone": "15551234567"}, {"Phone": "(555) 123-4567"}),
        ("phone_format", "always", {"Phone": "020 7946 0000"}, {"Phone": "020 7946 0000"}),
        ("email_case", "lower", {"Billing_Email__c": "A.B@C.Example"}, {"Billing_Email__c": "a.b@c.example"}),
        ("newlines", "crlf", {"BillingStreet": "a\nb"}, {"BillingStreet": "a\r\nb"}),
        ("newlines", "lf", {"BillingStreet": "a\r\nb"}, {"BillingStreet": "a\nb"}),
        ("trims", False, {"Site": " a "}, {"Site": " a "}),
        ("trigger", "other_field", {"Phone": "1"}, {"Description": "Looked at by a rule", "Fax": None}),
        (
            "trigger",
            "mapped_field",
            {"Phone": "1", "BillingPostalCode": "ab1 2cd"},
            {"Fax": "1", "BillingPostalCode": "AB1 2CD"},
        ),
    ],
)
def test_each_dialect_mangles_in_its_way(
    sf: Peer, switch: str, value: Any, sent: dict[str, Any], kept: dict[str, Any]
) -> None:
    sf.control("dialect", {switch: value})
    row = sf.read(sf.make(**sent))
    assert {name: row[name] for name in kept} == kept


def test_a_late_commit_is_stamped_before_it_can_be_seen(sf: Peer) -> None:
    sf.make()
    sf.control("clock", {"move_s": 3600})
    sf.control("dialect", {"late_commit_s": 540, "stamp_resolution": "millisecond"})
    first, second = sf.make(Name="a"), sf.make(Name="b")
    since = sf.control("clock", method="GET")["now"][:19] + "Z"
    assert sf.query(f"select Id from Account where SystemModstamp >= {since}") == []
    assert {first, second} <= {row["Id"] for row in sf.query("select Id from Account")}


def test_updated_and_deleted_are_told_by_the_minute(sf: Peer) -> None:
    kept, gone, purged = sf.make(), sf.make(), sf.make()
    sf.call("DELETE", "composite/sobjects", params={"ids": f"{gone},{purged}"})
    sf.control("purge", {"ids": [purged]})
    sf.control("clock", {"move_s": 120})
    now = sf.control("clock", method="GET")["now"]
    span = {"start": "2020-01-01T00:00:00+00:00", "end": now}
    too_far = sf.call("GET", "sobjects/Account/updated/", params=span)
    assert refusal(too_far) == (400, "INVALID_REPLICATION_DATE")
    sf.control("clock", {"move_s": -420})
    span["start"] = sf.control("clock", method="GET")["now"]
    sf.control("clock", {"move_s": 420})
    updated = sf.call("GET", "sobjects/Account/updated/", params=span).json()
    deleted = sf.call("GET", "sobjects/Account/deleted/", params=span).json()
    assert updated["ids"] == [kept]
    assert {row["id"] for row in deleted["deletedRecords"]} == {gone, purged}
    assert deleted["latestDateCovered"] == updated["latestDateCovered"]
    backwards = {"start": now, "end": now}
    assert refusal(sf.call("GET", "sobjects/Account/deleted", params=backwards))[0] == 400


def test_a_row_says_how_many_calls_are_used(sf: Peer) -> None:
    sf.control("limits", {"used": 17, "max": 5000})
    assert sf.call("GET", "limits").headers["sforce-limit-info"] == "api-usage=18/5000"
    sf.control("dialect", {"limit_info": "bursts"})
    assert sf.call("GET", "limits").headers["sforce-limit-info"] == "api-usage=19/5000; api-bursts=1/750"
    assert "sforce-limit-info" not in sf.call("GET", "/services/data/").headers


def test_a_uri_can_be_too_long(sf: Peer) -> None:
    assert sf.call("GET", "query", params={"q": "x" * 16_400}).status_code == 414
    assert sf.call("GET", "limits", headers={"x-long": "x" * 16_400}).status_code == 431


def test_what_is_not_there_is_refused_in_the_vendors_words(sf: Peer) -> None:
    assert refusal(sf.call("GET", "sobjects/Nothing")) == (404, "NOT_FOUND")
    assert refusal(sf.call("PATCH", "query", {})) == (405, "METHOD_NOT_ALLOWED")
    assert refusal(sf.call("GET", "/services/data/v30.0/limits")) == (410, "GONE")
    assert refusal(sf.call("GET", "/services/data/v99.0/limits")) == (404, "NOT_FOUND")
    xml = sf.http.post(f"{ROOT}/sobjects/Account", content=b"<a/>", headers={"content-type": "text/xml"})
    assert refusal(xml) == (415, "UNSUPPORTED_MEDIA_TYPE")
    broken = sf.http.post(f"{ROOT}/sobjects/Account", content=b"{")
    assert refusal(broken) == (400, "JSON_PARSER_ERROR")


def test_the_log_says_what_each_call_applied_and_who_sent_it(sf: Peer) -> None:
    record_id = sf.make()
    sf.call("POST", "sobjects/Account", {"Nome": "x"})
    made, failed = sf.log()[-2:]
    assert (made["applied"], made["changes"]) == (True, [["create", "Account", record_id]])
    assert (failed["applied"], failed["status"]) == (False, 400)
    assert made["client"] == sf.line["username"]


def test_a_dump_can_be_loaded_into_an_empty_org(sf: Peer) -> None:
    parent = sf.make(BillingStreet="1 High St", Xero_Customer__c=True, ExternalID__c="x")
    gone = sf.make()
    sf.make("Contact", AccountId=parent)
    sf.call("DELETE", f"sobjects/Account/{gone}")
    text = sf.http.get("/sandbox/dump").text
    sf.control("reset", {"seed": False})
    assert sf.query("select Id from Account", everything=True) == []
    sf.http.post("/sandbox/load", content=text.encode())
    assert sf.http.get("/sandbox/dump").text == text


def test_records_and_sessions_outlive_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        peer = Peer(first)
        record_id = peer.make()
        token = peer.http.headers["authorization"]
    with serving(tmp_path) as second:
        again = Peer(second)
        again.http.headers["authorization"] = token
        assert again.read(record_id)["Name"] == "Acme"
        assert again.make() != record_id
        assert second["salesforce"]["org_id"] == first["salesforce"]["org_id"]


def test_a_collection_of_an_unknown_field_is_refused_whole_or_by_row(sf: Peer) -> None:
    rows = [account(Name="good"), account(Name="bad", Colour="red")]
    whole = sf.call("POST", "composite/sobjects", {"records": rows})
    assert refusal(whole) == (400, "INVALID_FIELD")
    sf.control("dialect", {"collection_unknown_field": "row"})
    by_row = sf.call("POST", "composite/sobjects", {"records": rows}).json()
    assert [row["success"] for row in by_row] == [True, False]
    assert [row["Name"] for row in sf.query("select Name from Account")] == ["good"]

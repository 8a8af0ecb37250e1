"""Many records in a call: collections, composite, batch; and the faults that break them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from salesforce_peer import ROOT, Peer, account, refusal, serving


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


def names(sf: Peer) -> list[str]:
    return [row["Name"] for row in sf.query("select Name from Account")]


def test_rows_that_fail_stand_beside_rows_that_succeed(sf: Peer) -> None:
    reply = sf.call(
        "POST", "composite/sobjects", {"records": [account(Name="a"), account(), account(Name="b")]}
    )
    good, bad, last = reply.json()
    assert reply.status_code == 200
    assert (good["success"], good["errors"], last["success"]) == (True, [], True)
    assert bad == {
        "success": False,
        "errors": [
            {
                "statusCode": "REQUIRED_FIELD_MISSING",
                "message": "Required fields are missing: [Name]",
                "fields": ["Name"],
            }
        ],
    }
    assert names(sf) == ["a", "b"]


def test_all_or_none_writes_none_when_one_fails(sf: Peer) -> None:
    body = {"allOrNone": True, "records": [account(Name="a"), account()]}
    first, second = sf.call("POST", "composite/sobjects", body).json()
    assert first["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert second["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert names(sf) == []
    assert sf.log()[-2]["applied"] is False


def test_rows_are_updated_by_id(sf: Peer) -> None:
    one, two = sf.make(Name="a"), sf.make(Name="b")
    rows = [account(id=one, Fax="1"), account(Id=two[:15], Fax="2"), account(Fax="3")]
    replies = sf.call("PATCH", "composite/sobjects", {"records": rows}).json()
    assert [row["success"] for row in replies] == [True, True, False]
    assert replies[1]["id"] == two
    assert [row["Fax"] for row in sf.query("select Fax from Account order by Name")] == ["1", "2"]


def test_rows_are_upserted_by_external_id_in_order(sf: Peer) -> None:
    sf.make(Name="old", ExternalID__c="K1")
    rows = [
        account(Name="new", ExternalID__c="k2"),
        account(Name="changed", ExternalID__c="k1"),
        account(Name="x"),
    ]
    replies = sf.call("PATCH", "composite/sobjects/Account/ExternalID__c", {"records": rows}).json()
    assert [row.get("created") for row in replies] == [True, False, None]
    assert replies[2]["errors"][0]["statusCode"] == "MISSING_ARGUMENT"
    assert sorted(names(sf)) == ["changed", "new"]


def test_one_external_id_twice_in_a_call_is_refused(sf: Peer) -> None:
    rows = [account(Name="a", ExternalID__c="k"), account(Name="b", ExternalID__c="K")]
    replies = sf.call("PATCH", "composite/sobjects/Account/ExternalID__c", {"records": rows}).json()
    assert {row["errors"][0]["statusCode"] for row in replies} == {"DUPLICATE_VALUE"}


def test_rows_are_deleted_and_retrieved_by_their_ids(sf: Peer) -> None:
    one, two = sf.make(Name="a"), sf.make(Name="b")
    deleted = sf.call("DELETE", "composite/sobjects", params={"ids": f"{one},001Sb00000099zzAAA"}).json()
    assert [row["success"] for row in deleted] == [True, False]
    asked = {"ids": [one, two], "fields": ["Name"]}
    gone, kept = sf.call("POST", "composite/sobjects/Account", asked).json()
    assert gone is None
    assert (kept["Id"], kept["Name"]) == (two, "b")
    by_get = sf.call("GET", "composite/sobjects/Account", params={"ids": two, "fields": "Name,Phone"})
    assert by_get.json()[0]["Phone"] is None


def test_two_hundred_is_the_most(sf: Peer) -> None:
    full = {"records": [account(Name=f"n{at}") for at in range(200)]}
    assert len(sf.call("POST", "composite/sobjects", full).json()) == 200
    full["records"].append(account(Name="one more"))
    assert refusal(sf.call("POST", "composite/sobjects", full)) == (400, "EXCEEDED_ID_LIMIT")


def test_a_locked_row_fails_alone_and_is_free_again(sf: Peer) -> None:
    one, two = sf.make(), sf.make()
    sf.control("locks", {"ids": [one], "times": 2})
    body = {"records": [account(id=one, Fax="1"), account(id=two, Fax="1")]}
    locked, free = sf.call("PATCH", "composite/sobjects", body).json()
    assert locked["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW"
    assert free["success"]
    assert refusal(sf.change(one, Fax="2")) == (400, "UNABLE_TO_LOCK_ROW")
    assert sf.change(one, Fax="2").status_code == 204


def test_composite_passes_results_on(sf: Peer) -> None:
    body = {
        "compositeRequest": [
            {
                "method": "POST",
                "url": f"{ROOT}/sobjects/Account",
                "referenceId": "new",
                "body": {"Name": "a"},
            },
            {
                "method": "POST",
                "url": f"{ROOT}/sobjects/Contact",
                "referenceId": "who",
                "body": {"LastName": "Ray", "AccountId": "@{new.id}"},
            },
            {"method": "GET", "url": f"{ROOT}/query?q=select+Name+from+Account", "referenceId": "all"},
        ]
    }
    replies = sf.call("POST", "composite", body).json()["compositeResponse"]
    assert [reply["httpStatusCode"] for reply in replies] == [201, 201, 200]
    assert sf.query("select Account.Name from Contact")[0]["Account"]["Name"] == "a"


def test_composite_of_all_or_none_undoes_what_went_before(sf: Peer) -> None:
    create = {"method": "POST", "url": f"{ROOT}/sobjects/Account"}
    asked = [
        {**create, "referenceId": "a", "body": {"Name": "a"}},
        {**create, "referenceId": "b", "body": {}},
    ]
    replies = sf.call("POST", "composite", {"allOrNone": True, "compositeRequest": asked}).json()
    first, second = replies["compositeResponse"]
    assert first["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert second["body"][0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    assert names(sf) == []


def test_a_batch_can_stop_at_the_first_error(sf: Peer) -> None:
    url = "v67.0/sobjects/Account"
    asked = [{"method": "POST", "url": url, "richInput": row} for row in ({}, {"Name": "b"})]
    going_on = sf.call("POST", "composite/batch", {"batchRequests": asked}).json()
    stopping = sf.call("POST", "composite/batch", {"batchRequests": asked, "haltOnError": True}).json()
    assert [one["statusCode"] for one in going_on["results"]] == [400, 201]
    assert [one["statusCode"] for one in stopping["results"]] == [400, 412]


def test_a_composite_holds_at_most_25(sf: Peer) -> None:
    one = {"method": "GET", "url": f"{ROOT}/limits", "referenceId": "r"}
    assert sf.call("POST", "composite", {"compositeRequest": [one] * 26}).status_code == 400


def test_a_reply_can_be_lost_after_all_was_applied(sf: Peer) -> None:
    sf.control("faults", {"kind": "drop_after", "method": "POST"})
    with pytest.raises(httpx.RemoteProtocolError):
        sf.call("POST", "composite/sobjects", {"records": [account(Name="a")]})
    assert names(sf) == ["a"]


def test_half_of_a_call_can_be_applied_and_the_rest_not(sf: Peer) -> None:
    sf.control("faults", {"kind": "partial", "method": "POST"})
    reply = sf.call("POST", "composite/sobjects", {"records": [account(Name=f"n{at}") for at in range(4)]})
    assert refusal(reply) == (500, "UNKNOWN_EXCEPTION")
    assert names(sf) == ["n0", "n1"]


@pytest.mark.parametrize(("kind", "expected"), [("short", ["a"]), ("reordered", ["b", "a"])])
def test_a_reply_can_lack_a_row_or_be_out_of_order(sf: Peer, kind: str, expected: list[str]) -> None:
    sf.call("POST", "composite/sobjects", {"records": [account(Name="a"), account(Name="b")]})
    sf.control("faults", {"kind": kind, "path": "query"})
    assert names(sf) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("429", (403, "REQUEST_LIMIT_EXCEEDED")),
        ("503", (503, "SERVER_UNAVAILABLE")),
        ("500", (500, "UNKNOWN_EXCEPTION")),
        ("expired_token", (401, "INVALID_SESSION_ID")),
    ],
)
def test_each_fault_refuses_in_the_vendors_words(sf: Peer, kind: str, expected: tuple[int, str]) -> None:
    sf.control("faults", {"kind": kind})
    assert refusal(sf.call("POST", "sobjects/Account", {"Name": "a"})) == expected
    assert names(sf) == []

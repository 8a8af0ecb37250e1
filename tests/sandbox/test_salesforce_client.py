"""simple-salesforce, unmodified but for an adapter from https to http, drives the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from salesforce_peer import Peer, account, load_rows, serving, simple_client
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceGeneralError,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from sandbox.salesforce.ids import make_id


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("salesforce"), limits="real") as started:
        yield started


def test_it_logs_in_by_client_credentials_too(line: dict[str, Any], peer: Peer) -> None:
    ours = line["salesforce"]
    login = {"consumer_key": ours["client_id"], "consumer_secret": ours["client_secret"], "domain": "acme.my"}
    assert simple_client(line, **login).query("select Id from User")["totalSize"] == 2


def test_it_creates_reads_updates_and_deletes(sf: Salesforce) -> None:
    made = sf.Account.create({"Name": "Zoë & Søn", "BillingStreet": "1 High St\nLevel 2"})
    assert made["success"]
    assert sf.Account.update(made["id"], {"Phone": "1"}) == 204
    row = sf.Account.get(made["id"])
    assert (row["Name"], row["Phone"], row["BillingStreet"]) == ("Zoë & Søn", "1", "1 High St\nLevel 2")
    assert sf.Account.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        sf.Account.get(made["id"])


def test_it_pages_through_more_than_2000_rows(sf: Salesforce, peer: Peer) -> None:
    load_rows(peer, [account(Id=make_id("001", "Ts", at), Name=f"n{at}") for at in range(1, 4502)])
    first = sf.query("select Id from Account order by Id")
    assert (first["totalSize"], first["done"], len(first["records"])) == (4501, False, 2000)
    assert first["nextRecordsUrl"].endswith("-2000")
    rows = list(sf.query_all_iter("select Id from Account order by Id"))
    assert len({row["Id"] for row in rows}) == 4501
    smaller = sf.query("select Id from Account", headers={"Sforce-Query-Options": "batchSize=200"})
    assert len(smaller["records"]) == 200


def test_a_locator_works_under_either_path_and_with_a_query_beside_it(sf: Salesforce, peer: Peer) -> None:
    load_rows(peer, [account(Id=make_id("001", "Ts", at), Name="n") for at in range(1, 2101)])
    first = sf.query("select Id from Account", include_deleted=True)
    for path in ("query", "queryAll"):
        url = first["nextRecordsUrl"].replace("/query/", f"/{path}/")
        assert len(peer.call("GET", url, params={"q": "select Id from Account"}).json()["records"]) == 100


def test_it_sees_deleted_rows_when_it_asks_for_all(sf: Salesforce) -> None:
    made = sf.Account.create({"Name": "a"})
    sf.Account.delete(made["id"])
    soql = "select Id, IsDeleted from Account"
    assert sf.query_all(soql)["totalSize"] == 0
    assert sf.query_all(soql, include_deleted=True)["records"][0]["IsDeleted"] is True


def test_it_upserts_by_external_id(sf: Salesforce, peer: Peer) -> None:
    assert sf.Account.upsert("ExternalID__c/k%201", {"Name": "a"}) == 201
    assert sf.Account.upsert("ExternalID__c/k%201", {"Name": "b"}) == 200
    assert peer.query("select Name, ExternalID__c from Account")[0]["ExternalID__c"] == "k 1"
    peer.control(
        "fields", {"object": "Account", "add": {"name": "Old__c", "type": "string", "external_id": True}}
    )
    peer.make(Old__c="o")
    peer.make(Old__c="o")
    with pytest.raises(SalesforceMoreThanOneRecord):
        sf.Account.upsert("Old__c/o", {"Name": "c"})


def test_it_writes_collections_through_restful(sf: Salesforce) -> None:
    rows = {"records": [account(Name="a", ExternalID__c="1"), account(ExternalID__c="2")]}
    good, bad = sf.restful("composite/sobjects/Account/ExternalID__c", method="PATCH", json=rows)
    assert (good["created"], bad["errors"][0]["statusCode"]) == (True, "REQUIRED_FIELD_MISSING")


def test_it_is_told_of_a_validation_error(sf: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest) as caught:
        sf.Account.create({"Name": "x" * 300})
    assert caught.value.content[0]["errorCode"] == "STRING_TOO_LONG"


def test_it_is_told_when_the_days_calls_are_used_up(sf: Salesforce, peer: Peer) -> None:
    peer.control("limits", {"used": 15_000})
    with pytest.raises(SalesforceRefusedRequest) as caught:
        sf.query("select Id from Account")
    assert caught.value.content[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"


def test_it_is_told_of_a_failing_server(sf: Salesforce, peer: Peer) -> None:
    peer.control("faults", {"kind": "503"})
    with pytest.raises(SalesforceGeneralError):
        sf.Account.create({"Name": "a"})


def test_it_asks_what_was_updated_and_deleted(sf: Salesforce, peer: Peer) -> None:
    kept, gone = peer.make(), peer.make()
    peer.call("DELETE", f"sobjects/Account/{gone}")
    now = datetime.now(UTC)
    peer.control("clock", {"move_s": 120})
    begin, end = now - timedelta(minutes=5), now + timedelta(minutes=2)
    assert sf.Account.updated(begin, end)["ids"] == [kept]
    assert sf.Account.deleted(begin, end)["deletedRecords"][0]["id"] == gone


def test_it_reads_the_calls_used_from_the_header(sf: Salesforce) -> None:
    sf.query("select Id from Account")
    assert sf.api_usage["api-usage"].total == 15_000


def test_it_describes_objects(sf: Salesforce) -> None:
    listed = {row["name"]: row["keyPrefix"] for row in sf.describe()["sobjects"]}
    assert listed == {
        "Account": "001", "Contact": "003", "Product2": "01t", "Pricebook2": "01s", "PricebookEntry": "01u",
        "Opportunity": "006", "OpportunityLineItem": "00k", "OpportunityStage": "01J", "User": "005",
        "Order": "801", "OrderItem": "802",
        "Organization": "00D",
    }  # fmt: skip
    assert {"Id", "Name", "ExternalID__c"} <= {f["name"] for f in sf.Account.describe()["fields"]}


def test_it_logs_in_again_when_the_session_has_ended(line: dict[str, Any], peer: Peer) -> None:
    client = simple_client(line)
    peer.control("sessions", method="DELETE")
    assert client.query("select Id from Account")["totalSize"] == 0


def test_the_columns_of_a_query_are_told(peer: Peer) -> None:
    told = peer.call("GET", "query", params={"q": "select Id, Name from Account", "columns": "true"}).json()
    assert [column["columnName"] for column in told["columnMetadata"]] == ["Id", "Name"]

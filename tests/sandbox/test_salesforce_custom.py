"""Custom objects: added while the server runs, then written, queried and described as every other object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from salesforce_peer import Peer, load_rows, refusal, serving, simple_client
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceResourceNotFound

PRESET = {"preset": "xero"}
INVOICE, PAYMENT = "Xero_Invoice__c", "Xero_Payment__c"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("custom")) as started:
        yield started


@pytest.fixture
def bare(line: dict[str, Any]) -> Peer:
    plain = Peer(line)
    plain.control("reset", {"seed": False})
    plain.control("dialect", method="DELETE")
    return plain


@pytest.fixture
def peer(bare: Peer) -> Peer:
    bare.control("objects", PRESET)
    return bare


@pytest.fixture
def sf(line: dict[str, Any]) -> Salesforce:
    return simple_client(line)


def read(peer: Peer, kind: str, record_id: str) -> dict[str, Any]:
    reply = peer.call("GET", f"sobjects/{kind}/{record_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


# -- the preset that the product ships, by simple-salesforce


def test_there_is_no_such_object_until_it_is_added(sf: Salesforce, bare: Peer) -> None:
    with pytest.raises(SalesforceResourceNotFound):
        sf.Xero_Invoice__c.create({"Number__c": "INV-1"})
    assert set(bare.control("objects", PRESET)) == {INVOICE, PAYMENT}
    described = sf.describe()
    assert described is not None
    found = {one["name"]: one for one in described["sobjects"]}
    assert (found[INVOICE]["custom"], found[INVOICE]["label"], found[INVOICE]["labelPlural"]) == (
        True, "Xero Invoice", "Xero Invoices",
    )  # fmt: skip
    assert found[INVOICE]["keyPrefix"] != found[PAYMENT]["keyPrefix"]
    assert not found["Account"]["custom"]


def test_invoices_and_payments_are_upserted_below_their_parents(sf: Salesforce, peer: Peer) -> None:
    account = peer.make("Account", ExternalID__c="c-1")
    invoice = {
        "Name": "INV-0001", "Number__c": "INV-0001", "Account__c": account, "Status__c": "AUTHORISED",
        "Date__c": "2026-11-24", "Total__c": 120.5, "Amount_Due__c": 100.25, "Currency__c": "EUR",
        "Currency_Rate__c": 1.171234, "Xero_Updated__c": "2026-11-24T09:00:00.000+0000",
    }  # fmt: skip
    assert sf.Xero_Invoice__c.upsert("Xero_Invoice_ID__c/x-1", invoice) == 201
    assert sf.Xero_Invoice__c.upsert("Xero_Invoice_ID__c/x-1", {"Status__c": "PAID"}) == 200
    row = sf.Xero_Invoice__c.get_by_custom_id("Xero_Invoice_ID__c", "x-1")
    assert {name: row[name] for name in invoice} == {**invoice, "Status__c": "PAID"}
    payment = {
        "Invoice__r": {"Xero_Invoice_ID__c": "x-1"},
        "Account__r": {"ExternalID__c": "c-1"},
        "Amount__c": 20.25,
    }
    assert sf.Xero_Payment__c.upsert("Xero_Payment_ID__c/p-1", payment) == 201
    found = sf.query(
        "select Amount__c, Invoice__r.Number__c, Invoice__r.Account__r.Name from Xero_Payment__c "
        "where Invoice__r.Status__c = 'PAID'"
    )["records"][0]
    assert (found["Amount__c"], found["Invoice__r"]["Number__c"]) == (20.25, "INV-0001")
    assert found["Invoice__r"]["Account__r"]["Name"] == "Acme"
    text = "select (select Number__c from Xero_Invoices__r), (select Amount__c from Xero_Payments__r) from Account"
    nested = sf.query(text)["records"][0]
    assert nested["Xero_Invoices__r"]["records"][0]["Number__c"] == "INV-0001"
    assert nested["Xero_Payments__r"]["totalSize"] == 1
    counted = sf.query("select Status__c, sum(Total__c) total from Xero_Invoice__c group by Status__c")
    assert [(one["Status__c"], one["total"]) for one in counted["records"]] == [("PAID", 120.5)]


def test_describe_tells_of_lookups_from_both_ends(sf: Salesforce, peer: Peer) -> None:
    described: Any = sf.Xero_Payment__c.describe()
    fields = {one["name"]: one for one in described["fields"]}
    assert (fields["Invoice__c"]["referenceTo"], fields["Invoice__c"]["relationshipName"]) == (
        [INVOICE],
        "Invoice__r",
    )
    assert (fields["Xero_Payment_ID__c"]["externalId"], fields["Xero_Payment_ID__c"]["unique"]) == (
        True,
        True,
    )
    assert (fields["Amount__c"]["type"], fields["Amount__c"]["precision"], fields["Amount__c"]["scale"]) == (
        "currency", 18, 2,
    )  # fmt: skip
    for parent in ("Account", "Opportunity", "Order"):
        told: Any = getattr(sf, parent).describe()
        children = {(one["childSObject"], one["field"]): one for one in told["childRelationships"]}
        assert children[INVOICE, f"{parent}__c"]["relationshipName"] == "Xero_Invoices__r"
        assert not children[PAYMENT, f"{parent}__c"]["cascadeDelete"]


def test_rules_of_values_hold_for_custom_objects(peer: Peer) -> None:
    peer.make(INVOICE, Xero_Invoice_ID__c="x-1")
    account = peer.make("Account")
    order = "801000000000001AAA"
    for fields, code in (
        ({"Xero_Invoice_ID__c": "X-1"}, "DUPLICATE_VALUE"),
        ({"Currency__c": "EURO"}, "STRING_TOO_LONG"),
        ({"Opportunity__c": account}, "FIELD_INTEGRITY_EXCEPTION"),
        ({"Order__c": order}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"Total__c": "much"}, "INVALID_TYPE_ON_FIELD_IN_RECORD"),
        ({"Nothing__c": 1}, "INVALID_FIELD"),
    ):
        assert refusal(peer.call("POST", f"sobjects/{INVOICE}", fields)) == (400, code)


# -- all resources


def test_collections_composite_and_replication_know_custom_objects(peer: Peer) -> None:
    def invoice(number: int, **fields: Any) -> dict[str, Any]:
        return {"attributes": {"type": INVOICE}, "Xero_Invoice_ID__c": f"x-{number}", **fields}

    path = f"composite/sobjects/{INVOICE}/Xero_Invoice_ID__c"
    body = {"allOrNone": False, "records": [invoice(1), invoice(2, Status__c="s" * 41), invoice(3)]}
    replies = peer.call("PATCH", path, body).json()
    assert [one["success"] for one in replies] == [True, False, True]
    ids = [one["id"] for one in replies if one["success"]]
    reply = peer.call("GET", f"composite/sobjects/{INVOICE}", params={"ids": ",".join(ids), "fields": "Name"})
    assert [one["Name"] for one in reply.json()] == ids  # without a name it is called by its id
    changes = [{"attributes": {"type": INVOICE}, "Id": one, "Status__c": "PAID"} for one in ids]
    reply = peer.call("PATCH", "composite/sobjects", {"records": changes})
    assert all(one["success"] for one in reply.json())
    parts = {"compositeRequest": [
        {"method": "POST", "url": f"/services/data/v67.0/sobjects/{PAYMENT}", "referenceId": "pay",
         "body": {"Invoice__c": ids[0], "Amount__c": 5}},
        {"method": "GET", "url": f"/services/data/v67.0/sobjects/{PAYMENT}/@{{pay.id}}", "referenceId": "seen"},
    ]}  # fmt: skip
    seen = peer.call("POST", "composite", parts).json()["compositeResponse"]
    assert (seen[0]["httpStatusCode"], seen[1]["body"]["Amount__c"]) == (201, 5.0)
    peer.control("clock", {"move_s": 120})
    reply = peer.call("DELETE", "composite/sobjects", params={"ids": ids[1]})
    assert reply.json()[0]["success"]
    assert [one["Id"] for one in peer.query(f"select Id from {INVOICE}")] == ids[:1]
    assert len(peer.query(f"select Id from {INVOICE}", everything=True)) == 2
    peer.control("undelete", {"ids": [ids[1]]})
    assert len(peer.query(f"select Id from {INVOICE} where Status__c = 'PAID'")) == 2


def test_bulk_jobs_know_custom_objects(sf: Salesforce, peer: Peer) -> None:
    account = peer.make("Account", ExternalID__c="c-1")
    rows = [
        {"Xero_Invoice_ID__c": f"x-{n}", "Account__r.ExternalID__c": "c-1", "Total__c": f"{n}.25"}
        for n in range(5)
    ]
    done = sf.bulk2.Xero_Invoice__c.upsert(records=rows, external_id_field="Xero_Invoice_ID__c", wait=1)
    assert [(one["numberRecordsProcessed"], one["numberRecordsFailed"]) for one in done] == [(5, 0)]
    found = peer.query(f"select Total__c from {INVOICE} where Account__c = '{account}' order by Total__c")
    assert [one["Total__c"] for one in found] == [0.25, 1.25, 2.25, 3.25, 4.25]
    text = "".join(
        sf.bulk2.Xero_Invoice__c.query(f"select Xero_Invoice_ID__c, Account__r.Name from {INVOICE}")
    )
    assert text.count("Acme") == 5


def test_a_lookup_to_a_deleted_record_is_emptied_and_a_merge_moves_it(peer: Peer) -> None:
    first, second = peer.make("Account"), peer.make("Account", Name="Second")
    made = peer.make(INVOICE, Account__c=first)
    peer.control("merge", {"object": "Account", "survivor": second, "loser": first})
    assert read(peer, INVOICE, made)["Account__c"] == second
    before = read(peer, INVOICE, made)
    peer.control("clock", {"move_s": 60})
    assert peer.call("DELETE", f"sobjects/Account/{second}").status_code == 204
    after = read(peer, INVOICE, made)
    assert after["Account__c"] is None
    assert after["LastModifiedDate"] == before["LastModifiedDate"]
    assert after["SystemModstamp"] > before["SystemModstamp"]


def test_field_level_security_and_more_fields_come_by_the_page_fields(
    peer: Peer, line: dict[str, Any]
) -> None:
    peer.control(
        "fields", {"object": INVOICE, "add": {"name": "Note__c", "type": "textarea", "length": 1000}}
    )
    made = peer.make(INVOICE, Note__c="first")
    peer.control(
        "fields", {"object": INVOICE, "rights": {"Note__c": "read_only"}, "allow": {"deletable": False}}
    )
    reply = peer.call("PATCH", f"sobjects/{INVOICE}/{made}", {"Note__c": "second"})
    assert refusal(reply) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    assert peer.call("DELETE", f"sobjects/{INVOICE}/{made}").status_code == 400
    person = Peer(line, person=True)
    assert person.call("PATCH", f"sobjects/{INVOICE}/{made}", {"Note__c": "second"}).status_code == 204
    assert read(peer, INVOICE, made)["Note__c"] == "second"
    peer.control("objects", PRESET)  # once more: what was added stays
    assert read(peer, INVOICE, made)["Note__c"] == "second"


def test_any_custom_object_can_be_added(sf: Salesforce, bare: Peer) -> None:
    bare.control("objects", {
        "name": "Thing__c", "label": "Thing", "plural": "Many Things",
        "fields": [
            {"name": "Parent__c", "type": "reference", "reference": "Thing__c"},
            {"name": "Other__c", "type": "reference", "reference": "Thing__c"},
            {"name": "Done__c", "type": "boolean"},
        ],
    })  # fmt: skip
    top = sf.Thing__c.create({"Name": "top"})["id"]
    sf.Thing__c.create({"Name": "below", "Parent__c": top, "Done__c": True})
    found = sf.query(
        "select Name, (select Name, Done__c from Many_Things__r) from Thing__c where Name = 'top'"
    )
    assert found["records"][0]["Many_Things__r"]["records"][0]["Done__c"] is True
    described: Any = sf.Thing__c.describe()
    names = [one["relationshipName"] for one in described["childRelationships"]]
    assert names == ["Many_Things__r", "Other_Many_Things__r"]
    for wanted in ({"name": "Account"}, {"name": "Thing"}, {"preset": "none"}, {}):
        assert bare.call("POST", "/sandbox/objects", wanted).status_code == 400


def test_custom_records_can_be_dumped_and_loaded_and_go_with_a_reset(peer: Peer) -> None:
    account = peer.make("Account")
    peer.make(INVOICE, Xero_Invoice_ID__c="x-1", Account__c=account, Total__c=10.5)
    dump = peer.http.get("/sandbox/dump").text
    peer.control("reset", {"seed": False})
    assert peer.control("objects", method="GET") == {}
    assert refusal(peer.call("GET", "query", params={"q": f"select Id from {INVOICE}"})) == (
        400,
        "INVALID_TYPE",
    )
    peer.control("objects", PRESET)
    load_rows(peer, [json.loads(one) for one in dump.splitlines()])
    assert peer.http.get("/sandbox/dump").text == dump
    assert peer.call("GET", f"sobjects/{INVOICE}/Xero_Invoice_ID__c/x-1").status_code == 200


def test_custom_objects_outlive_a_restart(tmp_path: Any) -> None:
    with serving(tmp_path) as started:
        first = Peer(started)
        first.control("objects", PRESET)
        made = first.make(INVOICE, Xero_Invoice_ID__c="x-1")
    with serving(tmp_path) as started:
        second = Peer(started)
        assert second.call("GET", f"sobjects/{INVOICE}/Xero_Invoice_ID__c/x-1").json()["Id"] == made
        assert second.make(INVOICE) != made

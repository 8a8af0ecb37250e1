"""What the doctor finds, and how it says to mend it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from peers import Peer, settings_for
from pydantic import SecretStr

import mappings
from pipelines.doctor import Finding, examine, least_rights
from pipelines.settings import Settings
from reconcile.mapping import Mapping, load_mapping


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    library = mappings.library()
    return load_mapping(library["demo"], name="demo", library=library)


READER = "accounting.contacts.read accounting.settings.read accounting.invoices.read"
WRITER = "accounting.contacts accounting.settings.read accounting.invoices"


def examined(peer: Peer, mapping: Mapping | None) -> dict[str, Finding]:
    with peer.clients() as clients:
        return {finding.check: finding for finding in examine(peer.settings, clients, None, mapping)}


def test_a_well_set_up_pair_has_nothing_to_mend(peer, mapping):
    peer.settings = settings_for(peer.line, peer.folder, xero={"scopes": WRITER})
    found = examined(peer, mapping)
    assert [finding for finding in found.values() if finding.state != "ok"] == []
    assert {
        "xero base currency",
        "salesforce API version",
        "salesforce limits",
        "xero limits",
    } <= found.keys()


def test_the_doctor_writes_nothing(peer, mapping):
    examined(peer, mapping)
    for side in ("xero", "salesforce"):
        sent = {(r["method"], r["path"]) for r in peer.requests(side)}
        assert all(method == "GET" or "token" in path for method, path in sent)


@pytest.mark.parametrize(
    ("section", "changes", "check", "step"),
    [
        ("xero", {"client_secret": SecretStr("wrong")}, "xero login", "client_secret"),
        ("xero", {"tenant_id": "0" * 8}, "xero tenant", "tenant_id"),
        ("xero", {"scopes": READER}, "xero scopes", "writes"),
        ("xero", {"scopes": "accounting.contacts accounting.settings.read"}, "xero scopes", "xero.scopes"),
        ("salesforce", {"username": "nobody@example.com"}, "salesforce login", "username"),
        ("salesforce", {"api_version": "12.0"}, "salesforce API version", "api_version"),
        ("pair", {"environment": "production"}, "salesforce organisation", "environment"),
        ("xero", {"client_id": ""}, "settings", "Set them"),
    ],
)
def test_what_is_wrong_is_named_with_a_next_step(peer, mapping, section, changes, check, step):
    peer.settings = settings_for(peer.line, peer.folder, **{section: changes})
    finding = examined(peer, mapping)[check]
    assert finding.state != "ok" and step in finding.next_step
    assert "wrong" not in finding.found


def test_hidden_missing_and_locked_fields_are_named_one_by_one(peer, mapping):
    rights = {"Phone": "hidden", "Fax": "read_only"}
    peer.control("salesforce", "POST", "fields", {"object": "Account", "rights": rights})
    peer.control("salesforce", "POST", "fields", {"object": "Account", "remove": "Tax_Number__c"})
    found = examined(peer, mapping)
    assert "Phone" in found["salesforce Account: standard fields of the mapping"].found
    assert "Tax_Number__c" in found["salesforce Account: custom fields of the mapping"].found
    locked = found["salesforce Account: fields that the mapping writes"]
    assert "Fax" in locked.found and locked.state == "warn"
    assert "Phone" not in found["salesforce Contact: standard fields of the mapping"].found


@pytest.mark.parametrize(
    ("invoice", "check", "found", "step"),
    [
        (
            "salesforce: {stages: [Closed Woon]}",
            "salesforce Opportunity: stages of the mapping", "Closed Woon", "Closed Won",
        ),
        ('lines: {account: "9999"}', "xero account of the mapping", "9999: not in xero", "lines.account"),
        ("lines: {tax: OUTPUT9}", "xero tax of the mapping", "OUTPUT9: not in xero", "OUTPUT2"),
    ],
)  # fmt: skip
def test_what_would_stop_every_invoice_is_named(peer, invoice, check, found, step):
    library = mappings.library()
    text = f"extends: [demo]\ndocuments: {{invoice: {{{invoice}}}}}\n"
    peer.settings = settings_for(peer.line, peer.folder, xero={"scopes": WRITER})
    told = examined(peer, load_mapping(text, name="t", library=library))[check]
    assert told.state == "fail" and found in told.found and step in told.next_step


def test_a_side_that_is_down_does_not_hide_the_other(peer, mapping):
    peer.settings = settings_for(
        peer.line, peer.folder, xero={"identity_url": "http://127.0.0.1:9"}, limits={"retries": 0}
    )
    found = examined(peer, mapping)
    assert found["xero login"].state == "fail" and found["salesforce login"].state == "ok"


def test_a_clock_that_is_off_and_limits_that_run_out_are_told(peer, mapping):
    peer.move_clock(600)
    peer.control("salesforce", "POST", "limits", {"used": 13_000})
    found = examined(peer, mapping)
    assert found["salesforce clock"].state == "fail" and found["xero clock"].state == "warn"
    assert found["salesforce limits"].state == "fail"


def test_without_keys_production_is_warned(peer, mapping):
    peer.settings = settings_for(peer.line, peer.folder, pair={"environment": "production"})
    assert examined(peer, mapping)["encryption"].state == "warn"
    assert isinstance(peer.settings, Settings)


def granted(permission_set: str) -> dict[str, bool]:
    name = "{http://soap.sforce.com/2006/04/metadata}"
    root = ElementTree.fromstring(permission_set)
    return {
        entry.findtext(f"{name}field", ""): entry.findtext(f"{name}editable") == "true"
        for entry in root.iter(f"{name}fieldPermissions")
    }


def test_the_reader_may_edit_nothing_and_nobody_may_delete(peer, mapping):
    with peer.clients() as clients:
        described = {name: clients.salesforce.describe(name) for name in mapping.fields("salesforce")}
    reader, writer = least_rights(mapping, described)
    assert not any(granted(reader.permission_set).values())
    assert granted(reader.permission_set).keys() == granted(writer.permission_set).keys()
    assert granted(writer.permission_set)["Account.ExternalID__c"]
    assert not granted(writer.permission_set)["Account.Type"]
    assert "Account.Xero_Customer__c" in granted(writer.permission_set)
    assert not {"Account.Name", "Account.Id", "Contact.FirstName"} & granted(writer.permission_set).keys()
    for role in (reader, writer):
        assert "<allowDelete>true" not in role.permission_set
        assert "view all records" in role.salesforce_objects["Account"]
    assert set(writer.xero_scopes) == set(WRITER.split())
    assert set(reader.xero_scopes) == set(READER.split())
    assert granted(writer.permission_set)["Opportunity.Xero_Invoice_Url__c"]
    assert not granted(writer.permission_set)["Opportunity.Amount"]

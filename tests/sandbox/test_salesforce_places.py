"""An org whose states and countries come from lists: labels are taken, codes and unknown names refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from salesforce_peer import Peer, refusal, serving, simple_client


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("places")) as started:
        yield started


@pytest.fixture
def peer(line: dict[str, Any]) -> Peer:
    plain = Peer(line)
    plain.control("reset", {"seed": False})
    return plain


@pytest.fixture
def listed(peer: Peer) -> Peer:
    peer.control("setup", {"address_lists": True})
    return peer


def test_an_org_without_lists_takes_any_text_and_has_no_codes(peer: Peer) -> None:
    made = peer.make("Account", BillingCountry="Englnd")
    assert "BillingCountryCode" not in peer.read(made)


def test_a_label_brings_its_code_and_a_code_its_label(listed: Peer, line: dict[str, Any]) -> None:
    made = listed.read(listed.make("Account", BillingCountry="united states", BillingState="Texas"))
    assert (made["BillingCountry"], made["BillingCountryCode"], made["BillingStateCode"]) == (
        "United States", "US", "TX",
    )  # fmt: skip
    assert made["BillingAddress"]["countryCode"] == "US"
    other = listed.read(listed.make("Contact", MailingCountryCode="GB"))
    assert other["MailingCountry"] == "United Kingdom"
    fields = [one["name"] for one in simple_client(line).Account.describe()["fields"]]
    assert {"BillingCountryCode", "ShippingStateCode"} <= set(fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"BillingCountry": "USA"}, "BillingCountry"),
        ({"BillingCountry": "GB"}, "BillingCountry"),
        ({"BillingCountryCode": "UK"}, "BillingCountryCode"),
        ({"BillingCountry": "United States", "BillingState": "TX"}, "BillingState"),
        ({"BillingCountry": "United Kingdom", "BillingState": "Kent"}, "BillingState"),
        ({"BillingState": "Texas"}, "BillingState"),
    ],
)
def test_what_is_not_on_the_list_is_refused(listed: Peer, fields: dict[str, Any], named: str) -> None:
    reply = listed.call("POST", "sobjects/Account", {"Name": "Acme", **fields})
    assert refusal(reply) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert reply.json()[0]["fields"] == [named]
    assert listed.query("select Id from Account") == []


def test_another_country_must_know_the_state(listed: Peer) -> None:
    made = listed.make("Account", BillingCountry="United States", BillingState="Texas")
    assert refusal(listed.change(made, BillingCountry="Canada")) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert listed.change(made, BillingCountry="Canada", BillingState="Ontario").status_code == 204
    assert listed.read(made)["BillingStateCode"] == "ON"
    assert listed.change(made, BillingCountry=None, BillingState=None).status_code == 204
    assert listed.read(made)["BillingAddress"] is None


def test_what_was_there_before_stays_until_its_address_is_written(peer: Peer) -> None:
    made = peer.make("Account", BillingCountry="USA")
    peer.control("setup", {"address_lists": True})
    assert peer.change(made, Phone="1").status_code == 204
    assert refusal(peer.change(made, BillingCountry="U.S."))[1] == "FIELD_INTEGRITY_EXCEPTION"

"""After adoption: what people change in either system is carried once, and nothing of theirs is overwritten."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from whole_pair import Body, Pair, changes, outcomes, phone

from expectations import runner

Linked = dict[str, tuple[Body, Body]]


def by_name(pair: Pair) -> Linked:
    """The linked pairs by the Account's name: (Account, Xero contact)."""
    return {account["Name"]: (account, contact) for account, contact in pair.linked()}


def ids(pair: Pair, name: str) -> tuple[str, str]:
    account, contact = by_name(pair)[name]
    return account["Id"], contact["ContactID"]


def default_phone(number: str) -> dict[str, Any]:
    parts = {"PhoneNumber": number, "PhoneAreaCode": "", "PhoneCountryCode": ""}
    return {"Phones": [{"PhoneType": "DEFAULT", **parts}]}


def person_of(pair: Pair, account_id: str) -> Body:
    rows = pair.dump("salesforce").values()
    return next(row for row in rows if row.get("AccountId") == account_id and not row["IsDeleted"])


def conflicts(planned: Any) -> list[tuple[str, str]]:
    return [(row["salesforce_id"], row["unit"]) for row in planned.conflicts.to_dicts()]


def test_the_plan_shows_exactly_what_was_edited_one_conflict_and_one_survivor(pair: Pair) -> None:
    pair.checked = True
    called, called_in_xero = ids(pair, "Boom FM")
    _, mailed_in_xero = ids(pair, "City Agency")
    torn, torn_in_xero = ids(pair, "Basket Case")
    archived, archived_in_xero = ids(pair, "Bayside Club")
    merged, loser = ids(pair, "Tern & Sons")
    mailed = person_of(pair, ids(pair, "City Agency")[0])["Id"]

    pair.in_salesforce.change(called, Phone="020 7946 0999")
    pair.in_xero.change(mailed_in_xero, EmailAddress="eleanor@cityagency.example")
    pair.in_salesforce.change(torn, Phone="0161 496 0001")
    pair.in_xero.change(torn_in_xero, **default_phone("0161 496 0002"))
    pair.in_xero.archive(archived_in_xero)
    survivor = pair.in_xero.make(Name="Tern and Sons Penzance")
    pair.in_xero.merge(loser=loser, survivor=survivor)

    planned = pair.plan()
    assert changes(planned) == {
        ("xero", called_in_xero, "phone"),
        ("salesforce", mailed, "email"),
        ("salesforce", archived, "status"),
        ("salesforce", merged, "reference"),
        ("xero", survivor, "phone"),  # the survivor is met for the first time: its blanks are filled
        ("xero", survivor, "billing_address"),
    }
    assert conflicts(planned) == [(torn, "phone")]

    marks = pair.marks()
    assert outcomes(pair.apply(planned)) == {"confirmed": 6}
    assert pair.created(marks) == []
    assert phone(pair.contact(called_in_xero)) == "442079460999"
    assert pair.row(mailed)["Email"] == "eleanor@cityagency.example"
    assert pair.row(archived)["Xero_Status__c"].lower() == "archived"
    assert pair.row(merged)["ExternalID__c"] == survivor
    assert pair.row(torn)["Phone"] == "0161 496 0001"
    assert phone(pair.contact(torn_in_xero)) == "01614960002"
    again = pair.plan()
    assert changes(again) == set()
    assert conflicts(again) == [(torn, "phone")]


def test_two_accounts_merged_lead_to_the_survivor(pair: Pair) -> None:
    loser, xero_id = ids(pair, "Boom FM")
    survivor = pair.in_salesforce.make("Account", Name="Boom FM Radio")
    pair.in_salesforce.merge(loser=loser, survivor=survivor)
    planned = pair.plan()
    assert {("xero", xero_id, "reference"), ("salesforce", survivor, "reference")} <= changes(planned)
    marks = pair.marks()
    pair.adopt()
    assert pair.created(marks) == []
    assert pair.contact(xero_id)["ContactNumber"] == survivor
    assert pair.row(survivor)["ExternalID__c"] == xero_id
    assert pair.plan().operations.is_empty()


def test_two_linked_contacts_that_are_merged_wait_for_a_person(pair: Pair) -> None:
    lost_account, loser = ids(pair, "Boom FM")
    kept_account, survivor = ids(pair, "City Agency")
    pair.in_xero.merge(loser=loser, survivor=survivor)
    marks = pair.marks()
    planned = pair.plan()
    assert ("xero", survivor, "reference") not in changes(planned)
    assert ("salesforce", lost_account, "reference") not in changes(planned)
    assert [(row["salesforce_id"], row["xero_id"]) for row in planned.review.to_dicts()].count(
        (lost_account, survivor)
    ) == 1
    pair.adopt()
    assert pair.created(marks) == []
    assert pair.contact(survivor)["ContactNumber"] == kept_account


@pytest.mark.parametrize("blank", ["salesforce", "xero"])
def test_clearing_a_value_is_carried(pair: Pair, blank: str) -> None:
    salesforce_id, xero_id = ids(pair, "Boom FM")
    assert pair.row(salesforce_id)["Phone"] and phone(pair.contact(xero_id))
    if blank == "salesforce":
        pair.in_salesforce.change(salesforce_id, Phone=None)
    else:
        pair.in_xero.change(xero_id, **default_phone(""))
    planned = pair.plan()
    other = ("xero", xero_id) if blank == "salesforce" else ("salesforce", salesforce_id)
    assert changes(planned) == {(*other, "phone")}
    assert outcomes(pair.apply(planned)) == {"confirmed": 1}
    assert not pair.row(salesforce_id)["Phone"]
    assert not phone(pair.contact(xero_id))
    assert pair.plan().operations.is_empty()


@pytest.mark.parametrize("side", ["salesforce", "xero"])
def test_an_edit_between_plan_and_apply_is_not_overwritten(pair: Pair, side: str) -> None:
    salesforce_id, xero_id = ids(pair, "Boom FM")
    other_id, other_in_xero = ids(pair, "City Agency")
    if side == "xero":
        pair.in_salesforce.change(salesforce_id, Phone="020 7946 0998")
        pair.in_salesforce.change(other_id, Phone="020 7946 0997")
    else:
        pair.in_xero.change(xero_id, **default_phone("020 7946 0998"))
        pair.in_xero.change(other_in_xero, **default_phone("020 7946 0997"))
    planned = pair.plan()
    assert planned.operations.height == 2
    if side == "xero":
        pair.in_xero.change(xero_id, **default_phone("020 7946 0555"))
    else:
        pair.in_salesforce.change(salesforce_id, Phone="020 7946 0555")

    assert outcomes(pair.apply(planned)) == {"overtaken": 1, "confirmed": 1}
    if side == "xero":
        assert phone(pair.contact(xero_id)) == "02079460555"
        assert phone(pair.contact(other_in_xero)) == "442079460997"
    else:
        assert pair.row(salesforce_id)["Phone"] == "020 7946 0555"
    again = pair.plan()
    assert changes(again) == set()
    assert conflicts(again) == [(salesforce_id, "phone")]


def test_both_sides_changed_to_the_same_is_agreement(pair: Pair) -> None:
    salesforce_id, xero_id = ids(pair, "Boom FM")
    pair.in_salesforce.change(salesforce_id, Phone="+44 20 7946 0777")
    pair.in_xero.change(xero_id, **default_phone("(020) 7946 0777"))
    planned = pair.plan()
    assert changes(planned) == set()
    assert planned.conflicts.is_empty()
    pair.in_salesforce.change(salesforce_id, Phone="020 7946 0778")  # the base has moved to the new value
    assert changes(pair.plan()) == {("xero", xero_id, "phone")}


@pytest.mark.parametrize("take", ["salesforce", "xero", "neither"])
def test_a_conflict_is_settled_as_a_person_decided(pair: Pair, take: str) -> None:
    salesforce_id, xero_id = ids(pair, "Basket Case")
    pair.in_salesforce.change(salesforce_id, Phone="0161 496 0001")
    pair.in_xero.change(xero_id, **default_phone("0161 496 0002"))
    assert conflicts(pair.plan()) == [(salesforce_id, "phone")]
    pair.resolve(salesforce_id, "phone", take)
    planned = pair.plan()
    expected = {"salesforce": {("xero", xero_id, "phone")}, "xero": {("salesforce", salesforce_id, "phone")}}
    assert changes(planned) == expected.get(take, set())
    assert planned.conflicts.is_empty()
    pair.adopt()
    left, right = pair.row(salesforce_id)["Phone"], phone(pair.contact(xero_id))
    assert left[-1] == ("2" if take == "xero" else "1")
    assert right[-1] == ("1" if take == "salesforce" else "2")
    assert pair.plan().conflicts.is_empty()


def test_a_decision_is_void_once_a_value_has_moved_again(pair: Pair) -> None:
    salesforce_id, xero_id = ids(pair, "Basket Case")
    pair.in_salesforce.change(salesforce_id, Phone="0161 496 0001")
    pair.in_xero.change(xero_id, **default_phone("0161 496 0002"))
    pair.plan()
    pair.resolve(salesforce_id, "phone", "salesforce")
    pair.in_xero.change(xero_id, **default_phone("0161 496 0003"))
    planned = pair.plan()
    assert changes(planned) == set()
    assert conflicts(planned) == [(salesforce_id, "phone")]


def test_edits_of_different_units_of_one_record_meet_in_the_middle(pair: Pair) -> None:
    salesforce_id, xero_id = ids(pair, "Boom FM")
    pair.in_salesforce.change(salesforce_id, Phone="020 7946 0991", Fax="020 7946 0992")
    street = {
        "AddressType": "STREET",
        "AddressLine1": "1 Quay Street",
        "City": "Bristol",
        "PostalCode": "BS1 4DJ",
    }
    pair.in_xero.change(xero_id, Addresses=[street], AccountNumber="BOOM-7")
    marks = pair.marks()
    assert pair.adopt().conflicts.is_empty()
    contact, account = pair.contact(xero_id), pair.row(salesforce_id)
    assert (phone(contact), phone(contact, "FAX")) == ("442079460991", "442079460992")
    assert account["AccountNumber"] == "BOOM-7"
    assert (account["ShippingStreet"], account["ShippingCity"]) == ("1 Quay Street", "Bristol")
    assert len(pair.writes(marks)) == 2  # one request a side


def test_a_deleted_account_is_neither_made_anew_nor_carried(pair: Pair) -> None:
    salesforce_id, xero_id = ids(pair, "City Agency")  # Salesforce keeps an account that has won deals
    pair.in_salesforce.delete(salesforce_id)
    marks = pair.marks()
    pair.adopt()
    assert pair.created(marks) == []
    assert pair.contact(xero_id)["ContactStatus"] == "ACTIVE"


def test_applying_a_plan_twice_sends_nothing_the_second_time(pair: Pair) -> None:
    salesforce_id, _ = ids(pair, "Boom FM")
    pair.in_salesforce.change(salesforce_id, Phone="020 7946 0999")
    planned = pair.plan()
    first = pair.apply(planned)
    marks = pair.marks()
    second = pair.apply(planned)
    assert outcomes(second) == outcomes(first) == {"confirmed": 1}
    assert pair.writes(marks) == []


def test_only_tables_that_changed_are_checked_again_and_a_fault_that_comes_is_found(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate, asked = runner._validate, []

    def noted(asset: Any, suite: Any, *rest: Any) -> Any:
        asked.append(suite.table)
        return validate(asset, suite, *rest)

    monkeypatch.setattr(runner, "_validate", noted)
    pair.checked = True
    called, in_xero = ids(pair, "Boom FM")
    pair.in_salesforce.change(called, Phone="020 7946 0777")
    pair.plan()
    of_all = set(asked)

    asked.clear()
    pair.in_salesforce.change(called, Phone="020 7946 0999")
    planned = pair.plan()
    assert 0 < len(asked) < len(of_all) / 2, asked
    assert changes(planned) == {("xero", in_xero, "phone")}
    assert planned.findings.height > 5 * len(asked) and planned.findings["passed"].all()

    pair.in_salesforce.change(called, BillingCountry="Ruritania")
    planned = pair.plan()
    at_fault = planned.findings.filter(~pl.col("passed"))
    assert called in at_fault["record_ids"].explode().to_list(), at_fault.to_dicts()

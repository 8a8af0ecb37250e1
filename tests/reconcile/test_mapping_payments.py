"""The mapping's key `payments`: what it gives, what it refuses, and how it is held against Salesforce."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from mapped_records import mapping

from reconcile.errors import FixMapping
from reconcile.mapped import PaymentMapping
from reconcile.model import FIELDS
from reconcile.schemas import _check_payments

KEYS = {
    "object": "Deposit__c",
    "source": "Opportunity__c",
    "amount": "Amount__c",
    "date": "Taken_On__c",
    "cut_over": "2026-12-01",
    "account": '"090"',
}


def text(*, settled: str = "read", **changes: str | None) -> str:
    given = {name: value for name, value in {**KEYS, **changes}.items() if value is not None}
    lines = "".join(f"      {key}: {value}\n" for key, value in given.items())
    head = f"extends: [default]\ndocuments:\n  invoice:\n    cut_over: 2026-01-01\n    settled: {settled}\n"
    return f"{head}    payments:\n{lines}"


def read(**changes: str) -> PaymentMapping:
    found = mapping(text(**changes)).payments
    assert found is not None
    return found


def test_it_says_what_is_read_and_what_is_shown() -> None:
    found = read(scope="\"State__c = 'Received'\"", link="{id: Payment_ID__c}", prefix="SF-")
    assert (found.salesforce, found.source, found.account) == ("Deposit__c", "Opportunity__c", "090")
    assert found.cut_over == date(2026, 12, 1)
    needed = mapping(text(link="{id: Payment_ID__c}")).fields("salesforce")["Deposit__c"]
    assert {"Opportunity__c", "Amount__c", "Taken_On__c", "Payment_ID__c", "Name", "IsDeleted"} <= needed
    assert "State__c" in found.fields


def test_the_opportunity_itself_may_be_named_and_its_fields_are_read_with_it() -> None:
    found = mapping(text(object="Opportunity", source="Id", amount="Deposit__c", date="Deposit_On__c"))
    assert found.payments is not None and found.payments.source is None
    assert {"Deposit__c", "IsWon"} <= found.fields("salesforce")["Opportunity"]


def test_without_it_a_mapping_means_what_it_did() -> None:
    plain = text().partition("    payments:")[0]
    assert mapping(plain).payments is None
    assert mapping(text()).hash != mapping(plain).hash
    assert mapping(text(prefix="A-")).hash != mapping(text(prefix="B-")).hash
    assert mapping("# a comment\n" + text()).hash == mapping(text()).hash


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settled": "off"}, "`settled: read` or `settled: shown` beside it"),
        ({"source": "Id"}, "the field of Deposit__c that names its Opportunity"),
        ({"account": None}, "the key 'account'"),
        ({"cut_over": None}, "the key 'cut_over'"),
        ({"cut_over": "soon"}, "a day, as 2026-12-01"),
        ({"prefix": '"SF|"'}, "letters, digits, blanks"),
        ({"link": "{id: A__c, status: A__c}"}, "one field twice"),
        ({"link": "{number: A__c}"}, "the key 'number'"),
        ({"scope": "\"state = 'x'\""}, "a field of Deposit__c as it is spelled there"),
        ({"amuont": "A__c"}, "'amount' (the nearest of"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FixMapping) as caught:
        mapping(text(**changes))
    assert said in str(caught.value)
    assert "documents.invoice" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, None),
        ({"Amount__c": "string"}, "'Amount__c' of Deposit__c, which is of type string"),
        ({"Opportunity__c": "string"}, "of type reference that leads to Opportunity"),
        ({"Taken_On__c": "double"}, "of type date, datetime"),
        ({"Payment_ID__c": "double"}, "'Payment_ID__c' of Deposit__c, which is of type double"),
        ({"Payment_ID__c": ""}, "which can't be written"),
        ({"Amount__c": None}, "has no field 'Amount__c'"),
    ],
)
def test_it_is_held_against_the_object(fields: dict[str, str | None], said: str | None) -> None:
    types = {
        "Id": "id", "IsDeleted": "boolean", "SystemModstamp": "datetime", "LastModifiedById": "reference",
        "Name": "string", "Opportunity__c": "reference", "Amount__c": "currency", "Taken_On__c": "date",
        "Payment_ID__c": "string", **fields,
    }  # fmt: skip
    rows = [
        {
            "side": "salesforce",
            "object": "Deposit__c",
            "field": name,
            "type": kind or None,
            "updateable": kind != "",
        }
        for name, kind in types.items()
        if kind is not None
    ]
    schema = pl.DataFrame([{name: row.get(name) for name in FIELDS} for row in rows], schema=dict(FIELDS))
    known = {("salesforce", "Deposit__c"): {row["field"]: row for row in schema.iter_rows(named=True)}}
    payments = read(link="{id: Payment_ID__c}")
    if said is None:
        _check_payments(payments, "Opportunity", known)
        return
    with pytest.raises(FixMapping) as caught:
        _check_payments(payments, "Opportunity", known)
    assert said in str(caught.value)

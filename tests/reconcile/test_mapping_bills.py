"""The mapping's key `documents.bill`: what it gives, what it refuses, and how it is held against Salesforce."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from mapped_records import mapping

from reconcile.errors import FixMapping
from reconcile.mapped import BillMapping
from reconcile.model import FIELDS
from reconcile.schemas import _check_bill

KEYS = {
    "object": "Supplier_Bill__c",
    "supplier": "Supplier__c",
    "amount": "Amount__c",
    "date": "Received_On__c",
    "cut_over": "2026-11-01",
    "account": '"429"',
}


def text(*, extends: str = "extends: [default]\n", **changes: str | None) -> str:
    given = {name: value for name, value in {**KEYS, **changes}.items() if value is not None}
    lines = "".join(f"    {key}: {value}\n" for key, value in given.items())
    return f"{extends}documents:\n  bill:\n{lines}"


def read(**changes: str) -> BillMapping:
    found = mapping(text(**changes)).bill
    assert found is not None
    return found


def test_it_says_what_is_read_of_both_sides_and_what_is_shown() -> None:
    whole = mapping(
        text(scope="\"Status__c = 'Approved'\"", link="{id: Bill_ID__c}", due="Due_On__c", number="No__c")
    )
    found = whole.bill
    assert found is not None
    assert (found.salesforce, found.supplier, found.account) == ("Supplier_Bill__c", "Supplier__c", "429")
    assert (found.cut_over, found.line_amounts, found.status) == (date(2026, 11, 1), "exclusive", "DRAFT")
    assert (found.description, found.currency, found.tax, found.prefix) == ("Name", None, None, "")
    needed = whole.pulled("salesforce")["Supplier_Bill__c"]
    fields = {"Supplier__c", "Amount__c", "Received_On__c", "Due_On__c", "No__c", "Status__c", "Bill_ID__c"}
    assert {*fields, "Name", "IsDeleted"} <= needed
    pulled = whole.pulled("xero")
    assert {"Bill", "Account", "TaxRate", "Organisation"} <= pulled.keys()
    assert not {"Invoice", "Payment", "Currency"} & pulled.keys()
    assert "CanApplyToExpenses" in pulled["TaxRate"]
    assert "Currency" in mapping(text(currency="CurrencyIsoCode")).pulled("xero")


def test_beside_invoices_both_are_read() -> None:
    both = mapping(text() + "  invoice: {cut_over: 2026-11-01, settled: read}\n")
    assert both.bill is not None and both.invoice is not None
    assert {"Bill", "Invoice", "Payment"} <= both.pulled("xero").keys()
    assert {"CanApplyToExpenses", "CanApplyToRevenue"} <= both.pulled("xero")["TaxRate"]


def test_without_it_a_mapping_means_what_it_did() -> None:
    plain = mapping("extends: [default]\n")
    assert plain.bill is None and "Bill" not in plain.pulled("xero")
    assert mapping(text()).hash != plain.hash
    assert mapping(text(prefix="A-")).hash != mapping(text(prefix="B-")).hash
    assert mapping("# a comment\n" + text()).hash == mapping(text()).hash
    assert mapping("extends: [default]\ndocuments: {}\n").hash == plain.hash


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(({key: None}, f"the key {key!r}") for key in KEYS),
        ({"cut_over": "soon"}, "a day, as 2026-12-01"),
        ({"status": "AUTHORISED"}, "DRAFT, SUBMITTED"),
        ({"line_amounts": "net"}, "one of exclusive, inclusive, no_tax"),
        ({"line_amounts": "no_tax", "tax": "INPUT2"}, "no tax, or other line amounts"),
        ({"prefix": '"SF|"'}, "letters, digits, blanks"),
        ({"amount": "Amount c"}, "the name of one field"),
        ({"account": '""'}, "a text"),
        ({"link": "{id: A__c, status: A__c}"}, "one field twice"),
        ({"link": "{number: A__c}"}, "the key 'number'"),
        ({"link": "{id: Amount__c}"}, "'Amount__c', which the bill is made from"),
        ({"scope": "\"state = 'x'\""}, "a field of Supplier_Bill__c as it is spelled there"),
        ({"suplier": "A__c"}, "'supplier' (the nearest of"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FixMapping) as caught:
        mapping(text(**changes))
    assert said in str(caught.value)
    assert "documents.bill" in str(caught.value) and "mine.yaml:" in str(caught.value)


def test_bills_need_a_party() -> None:
    with pytest.raises(FixMapping, match="a bill is from a contact"):
        mapping(text(extends="entities: {product: null}\n").replace(
            "entities: {product: null}\n",
            "entities:\n  product:\n    salesforce: {object: Product2}\n    xero: {object: Item}\n"
            "    units:\n      code: {salesforce: ProductCode, xero: Code, as: item_code, flows: to_xero}\n",
        ))  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, None),
        ({"Amount__c": "string"}, "'Amount__c' of Supplier_Bill__c, which is of type string"),
        ({"Supplier__c": "string"}, "of type reference that leads to Account"),
        ({"Received_On__c": "double"}, "of type date, datetime"),
        ({"Due_On__c": "string"}, "of type date, datetime"),
        ({"No__c": "double"}, "'No__c' of Supplier_Bill__c, which is of type double"),
        ({"Bill_ID__c": "double"}, "'Bill_ID__c' of Supplier_Bill__c, which is of type double"),
        ({"Bill_ID__c": ""}, "which can't be written"),
        ({"Amount__c": None}, "has no field 'Amount__c'"),
    ],
)
def test_it_is_held_against_the_object(fields: dict[str, str | None], said: str | None) -> None:
    types = {
        "Id": "id", "IsDeleted": "boolean", "SystemModstamp": "datetime", "LastModifiedById": "reference",
        "Name": "string", "Supplier__c": "reference", "Amount__c": "currency", "Received_On__c": "date",
        "Due_On__c": "date", "No__c": "string", "Bill_ID__c": "string", **fields,
    }  # fmt: skip
    rows = [
        {
            "side": "salesforce",
            "object": "Supplier_Bill__c",
            "field": name,
            "type": kind or None,
            "updateable": kind != "",
        }
        for name, kind in types.items()
        if kind is not None
    ]
    schema = pl.DataFrame([{name: row.get(name) for name in FIELDS} for row in rows], schema=dict(FIELDS))
    known = {("salesforce", "Supplier_Bill__c"): {row["field"]: row for row in schema.iter_rows(named=True)}}
    bill = read(link="{id: Bill_ID__c}", due="Due_On__c", number="No__c")
    if said is None:
        _check_bill(bill, known)
        return
    with pytest.raises(FixMapping) as caught:
        _check_bill(bill, known)
    assert said in str(caught.value)

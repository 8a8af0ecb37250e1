"""The mapping's section `documents`: what it gives, what it refuses, and how it is held against Salesforce."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from mapped_records import mapping

from reconcile.errors import FixMapping, UnknownField, UnknownObject, WrongMapping
from reconcile.mapped import DocumentMapping
from reconcile.mapping import check_mapping
from reconcile.model import FIELDS


def text(**keys: str) -> str:
    """The default mapping, with invoices from 2026 on, and these keys."""
    given = {"cut_over": "2026-01-01", **keys}
    lines = "".join(f"    {key}: {value}\n" for key, value in given.items())
    return f"extends: [default]\ndocuments:\n  invoice:\n{lines}"


def invoice(**keys: str) -> DocumentMapping:
    found = mapping(text(**keys)).invoice
    assert found is not None
    return found


def refused(**keys: str) -> str:
    with pytest.raises(FixMapping) as caught:
        mapping(text(**keys))
    return str(caught.value)


def field(object_name: str, name: str, kind: str, **other: Any) -> dict[str, Any]:
    row = {"side": "salesforce", "object": object_name, "field": name, "type": kind, "length": None}
    return {**row, "createable": True, "updateable": True, "required": False, "options": None, **other}


OPPORTUNITY = [
    *(field("Opportunity", name, "string", length=120) for name in ("Name", "StageName", "LastModifiedById")),
    field("Opportunity", "Id", "id", length=18),
    field("Opportunity", "AccountId", "reference", length=18),
    field("Opportunity", "IsDeleted", "boolean"),
    field("Opportunity", "IsWon", "boolean"),
    field("Opportunity", "SystemModstamp", "datetime"),
    field("Opportunity", "Amount", "currency"),
    field("Opportunity", "CloseDate", "date"),
    field("Opportunity", "Xero_Invoice_ID__c", "string", length=36),
    field("Opportunity", "Xero_Invoice_Number__c", "string", length=80),
    field("Opportunity", "Xero_Invoice_Status__c", "string", length=20),
    field("Opportunity", "Xero_Invoice_Url__c", "url", length=255),
]
LINE = [
    *(field("OpportunityLineItem", name, "string", length=255) for name in ("Name", "Description", "ProductCode")),
    *(field("OpportunityLineItem", name, "id", length=18) for name in ("Id", "OpportunityId", "LastModifiedById")),
    field("OpportunityLineItem", "IsDeleted", "boolean"),
    field("OpportunityLineItem", "SystemModstamp", "datetime"),
    field("OpportunityLineItem", "Quantity", "double"),
    field("OpportunityLineItem", "UnitPrice", "currency"),
    field("OpportunityLineItem", "SortOrder", "int"),
]  # fmt: skip


def parties() -> list[dict[str, Any]]:
    """What the default mapping's parties and persons need, of types that pass."""
    boolean = ("IsDeleted", "Xero_Customer__c", "Xero_Supplier__c")
    off = mapping("extends: [default]\n")
    return [
        field(name, path, "boolean" if path in boolean else "string", side=side)
        for side in ("salesforce", "xero")
        for name, paths in off.fields(side).items()
        for path in sorted(paths)
    ]


def schema(*changed: dict[str, Any], without: str = "") -> pl.DataFrame:
    rows = {(row["object"], row["field"]): row for row in [*OPPORTUNITY, *LINE]}
    rows |= {(row["object"], row["field"]): row for row in changed}
    kept = [row for (_, name), row in rows.items() if name != without]
    return pl.DataFrame([*parties(), *kept], schema=dict(FIELDS))


# --- What it gives


def test_without_a_cut_over_there_are_no_invoices_and_nothing_more_is_read() -> None:
    off = mapping("extends: [default]\n")
    assert off.invoice is None
    assert off.documents["invoice"].cut_over is None
    assert set(off.fields("salesforce")) == {"Account", "Contact"}
    assert set(off.fields("xero")) == {"Contact"}


def test_with_a_cut_over_the_objects_of_invoices_are_read() -> None:
    on = mapping(text())
    assert set(on.fields("salesforce")) == {"Account", "Contact", "Opportunity", "OpportunityLineItem"}
    assert set(on.fields("xero")) == {"Contact", "Invoice", "Account", "Item", "TaxRate", "Organisation"}
    assert {"CloseDate", "Name", "Amount", "Xero_Invoice_Url__c"} <= on.fields("salesforce")["Opportunity"]


def test_the_default_invoice_is_a_draft_numbered_by_its_opportunity() -> None:
    found = invoice()
    assert (found.salesforce, found.lines, found.xero) == ("Opportunity", "OpportunityLineItem", "Invoice")
    assert (found.number.kind, found.number.prefix, found.number.key_field) == (
        "derived",
        "SF-",
        "InvoiceNumber",
    )
    assert found.status == ((None, "DRAFT"),)
    assert (found.due_days, found.reference, found.amount, found.account, found.tax) == (
        30,
        "Name",
        "subtotal",
        "200",
        None,
    )
    assert found.cut_over == date(2026, 1, 1)


def test_a_field_that_a_rule_names_is_read() -> None:
    found = invoice(
        salesforce="{scope: \"Type = 'New'\"}",
        status='[{when: "Size__c > 5", then: AUTHORISED}, {then: DRAFT}]',
    )
    assert {"Type", "Size__c"} <= found.fields("salesforce")["Opportunity"]
    assert [then for _, then in found.status] == ["AUTHORISED", "DRAFT"]


def test_a_number_of_xeros_own_is_found_again_by_its_reference() -> None:
    assert invoice(number="{kind: xero}").number.key_field == "Reference"
    assert invoice(number="{kind: xero}").number.prefix == "SF-"


def test_a_key_of_the_default_can_be_taken_away() -> None:
    assert invoice(due="null").due_days is None
    assert invoice(reference="null").reference is None
    assert set(invoice(link="{url: null, status: null}").link.fields) == {"id", "number"}


def test_the_hash_knows_invoices_only_where_they_are_made() -> None:
    plain = mapping("extends: [default]\n").hash
    assert mapping("extends: [default]\ndocuments: {invoice: {amount: ignore}}\n").hash == plain
    assert mapping("extends: [default]\ndocuments: {invoice: null}\n").hash == plain
    assert len({plain, mapping(text()).hash, mapping(text(amount="ignore")).hash}) == 3


# --- What it refuses


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("cut_over", "soon", "a day, as 2026-12-01"),
        ("cut_over", "2026-02-30", "a day, as 2026-12-01"),
        ("status", "PAID", "DRAFT"),
        ("status", '[{when: "Amount > 1", then: DRAFT}]', "at their end"),
        ("status", "[{then: DRAFT}, {then: AUTHORISED}]", "at their end"),
        ("status", '[{when: "amount > 1", then: DRAFT}, {then: DRAFT}]', "a field of Opportunity"),
        ("number", "{kind: random}", "derived"),
        ("number", "{prefix: 'a\"b'}", "letters, digits"),
        ("number", "{kind: reserved, prefix: INV2}", "does not end in a digit"),
        ("number", "{kind: reserved, digits: 0}", "a number from 1 to 12"),
        ("options", "on_demand", "`tracking` beside it"),
        ("due", "{days: -1}", "a number from 0 to 366"),
        ("amount", "total", "'subtotal'"),
        ("line_amounts", "inclusive", "'total'"),
        ("line_amounts", "gross", "exclusive"),
        ("lines", "{tax: OUTPUT2}\n    line_amounts: no_tax", "no tax"),
        ("lines", "{account: null}\n    status: AUTHORISED", "Xero takes no line without one then"),
        ("link", "{id: null}", "the key 'id'"),
        ("link", "{status: Xero_Invoice_ID__c}", "a field for each"),
        ("number", "{kind: reserved, prefix: INV-}\n    link: {number: null}", "a reserved number is kept first"),
        ("salesforce", "{scope: 'exec(1)'}", "and, or, not"),
        ("xero", "{object: Quote}", "Invoice"),
        ("colour", "red", "one of salesforce"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_would(key: str, value: str, expected: str) -> None:
    message = refused(**{key: value})
    assert expected in message
    assert "mine.yaml:" in message or "default.yaml:" in message


def test_invoices_need_a_party() -> None:
    with pytest.raises(WrongMapping, match="made out to a contact"):
        mapping(text() + "entities: {party: null}\n")


# --- Held against Salesforce


def test_the_fields_of_a_ready_org_pass() -> None:
    check_mapping(mapping(text()), schema())


def test_an_org_without_opportunities_is_told() -> None:
    with pytest.raises(UnknownObject, match="Opportunity"):
        check_mapping(mapping(text()), pl.DataFrame(parties(), schema=dict(FIELDS)))


@pytest.mark.parametrize("name", ["Xero_Invoice_ID__c", "IsWon", "Quantity"])
def test_a_field_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(UnknownField, match=name):
        check_mapping(mapping(text()), schema(without=name))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (field("Opportunity", "CloseDate", "string"), "date, datetime"),
        (field("Opportunity", "Amount", "string"), "currency"),
        (field("Opportunity", "Xero_Invoice_ID__c", "string", length=18), "36 characters"),
        (field("Opportunity", "Xero_Invoice_Number__c", "string", length=20), "21 characters"),
        (field("Opportunity", "Xero_Invoice_Url__c", "url", updateable=False), "another field"),
        (field("Opportunity", "Xero_Invoice_Status__c", "boolean"), "string or url"),
    ],
)
def test_a_field_that_can_not_hold_its_value_is_told(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(WrongMapping, match=expected):
        check_mapping(mapping(text()), schema(changed))

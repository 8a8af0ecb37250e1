"""The checks on invoices: clean ones pass, and each planted fault is found at its own row."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from expectation_frames import account, clean_canonical, clean_plan, frame, guid

from expectations.checks import set_aside, verdict
from reconcile.bodies import dumps
from reconcile.model import DOCUMENT_LINES, DOCUMENTS, INVOICES, LINKS, OPERATIONS, conform


def opportunity(number: int) -> str:
    return f"006{number:012d}AAA"


# --- canonical: what is to be made


def header(number: int, **other: Any) -> dict[str, Any]:
    return {
        "record_id": opportunity(number),
        "account_id": account(number),
        "date": date(2026, 11, 20),
        "currency": "GBP",
        "subtotal": Decimal("30.00"),
        "total_tax": Decimal("6.00"),
        "total": Decimal("36.00"),
    } | other


def line(number: int, position: int, **other: Any) -> dict[str, Any]:
    return {
        "document_id": opportunity(number),
        "position": position,
        "description": "Generator",
        "quantity": Decimal(2),
        "unit_price": Decimal("7.50"),
        "amount": Decimal("15.00"),
        "tax_amount": Decimal("3.00"),
    } | other


HALF = {"subtotal": Decimal("15.00"), "total_tax": Decimal("3.00"), "total": Decimal("18.00")}
BAD_DOCUMENTS = {
    "document_dated": (901, {"date": None}, {}),
    "document_has_account": (902, {"account_id": None}, {}),
    "currency_iso": (903, {"currency": "XQZ"}, {}),
    "document_has_lines": (904, {}, None),
    "sums_agree": (905, {"subtotal": Decimal("30.01"), "total": Decimal("36.01")}, {}),
    "line_described": (906, {}, {"description": None}),
    "line_priced": (907, HALF, {"unit_price": None, "amount": None, "tax_amount": None}),
    "quantity_not_negative": (908, {}, {"quantity": Decimal(-2)}),
    "no_control_in_line": (909, {}, {"description": "a\x07b"}),
}  # fmt: skip


def clean_documents(bad: bool = False) -> dict[str, pl.DataFrame]:
    headers = [header(n) for n in range(1, 41)]
    lines = [line(n, place) for n in range(1, 41) for place in (1, 2)]
    for number, changed, changed_line in BAD_DOCUMENTS.values() if bad else ():
        headers.append(header(number, **changed))
        if changed_line is not None:
            lines += [line(number, 1), line(number, 2, **changed_line)]
    documents = {"documents": frame(headers, DOCUMENTS), "lines": frame(lines, DOCUMENT_LINES)}
    return {**clean_canonical(), **documents}


def test_clean_documents_pass(checked):
    findings = checked("clean documents", "canonical", clean_documents)
    assert verdict(findings) == "pass"
    assert set(BAD_DOCUMENTS) <= set(findings["check"])


@pytest.mark.parametrize("check", BAD_DOCUMENTS)
def test_a_fault_is_found_at_its_document(checked, check):
    findings = checked("bad documents", "canonical", lambda: clean_documents(bad=True))
    [row] = findings.filter(pl.col("check") == check, pl.col("entity") == "document").to_dicts()
    assert row["record_ids"] == [opportunity(BAD_DOCUMENTS[check][0])]
    assert verdict(findings) == "warn"  # rows are set aside, and stop nothing else


def test_one_opportunity_twice_stops_the_run(checked):
    def make() -> dict[str, pl.DataFrame]:
        frames = clean_documents()
        twice = pl.concat([frames["documents"], frame([header(1)], DOCUMENTS)])
        return {**frames, "documents": twice}

    findings = checked("twice", "canonical", make)
    assert verdict(findings) == "stop"
    assert "document_unique" in set(findings.filter(~pl.col("passed"))["check"])


def test_inclusive_and_untold_totals_pass(checked):
    def make() -> dict[str, pl.DataFrame]:
        inclusive = header(1, subtotal=Decimal("24.00"), total_tax=Decimal("6.00"), total=Decimal("30.00"))
        untold = header(2, total_tax=None, total=None)
        lines = [line(1, 1), line(1, 2), line(2, 1, tax_amount=None), line(2, 2, tax_amount=None)]
        documents = {
            "documents": frame([inclusive, untold], DOCUMENTS),
            "lines": frame(lines, DOCUMENT_LINES),
        }
        return {**clean_canonical(), **documents}

    assert verdict(checked("inclusive", "canonical", make)) == "pass"


# --- plan: the bytes that would be sent

RULES = {"cut_over": "2026-11-01", "key_field": "InvoiceNumber", "inclusive": False}
LINES = [
    {
        "Description": "a",
        "Quantity": Decimal("1.5"),
        "UnitAmount": Decimal("3.3333"),
        "DiscountRate": Decimal("33.33"),
    },
    {"Description": "b", "Quantity": 2, "UnitAmount": Decimal("19.99")},
]  # 3.33 + 39.98


def invoice(number: int, told: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    body = {
        "Type": "ACCREC",
        "Status": "DRAFT",
        "Date": "2026-11-20",
        "InvoiceNumber": f"SF-{number}",
        "Contact": {"ContactID": guid(1)},
        "LineItems": LINES,
        **changed,
    }
    after = {"subtotal": "43.31", "total": None, **(told or {})}
    return {
        "operation_id": f"i{number}",
        "system": "xero",
        "entity": "document",
        "object": "Invoice",
        "action": "create",
        "phase": "create",
        "unit": "record",
        "source_id": opportunity(number),
        "after": dumps(after),
        "native_after": dumps({name: value for name, value in body.items() if value is not None}),
        "rule": "documents.invoice",
    }


BAD_INVOICES = {
    "invoice_of_ours": invoice(901, Type="ACCPAY"),
    "invoice_status": invoice(902, Status="PAID"),
    "invoice_has_lines": invoice(903, LineItems=[], told={"subtotal": None}),
    "invoice_quantity": invoice(904, LineItems=[*LINES, {"Quantity": -1, "UnitAmount": 0}]),
    "totals_agree": invoice(905, told={"subtotal": "43.32"}),
    "total_not_negative": invoice(
        906, told={"subtotal": "-5.00"}, LineItems=[{"Quantity": 1, "UnitAmount": -5}]
    ),
    "after_the_cut_over": invoice(907, Date="2026-10-31"),
    "contact_known": invoice(908, Contact={"ContactID": guid(999)}),
    "not_invoiced_yet": invoice(909),
    "key_unique": invoice(910, InvoiceNumber="sf-there"),
}
ALSO_BAD = {
    "key_unique": [
        invoice(911, InvoiceNumber="SF-twice"),
        invoice(912, InvoiceNumber="sf-TWICE"),
        invoice(913, InvoiceNumber=None),
    ],
    "contact_known": [invoice(914, Contact={"ContactID": {"$from": "nobody"}}), invoice(915, Contact=None)],
    "after_the_cut_over": [invoice(916, Date=None), invoice(917, Date="soon")],
}  # fmt: skip


def planned(bad: bool = False) -> dict[str, pl.DataFrame]:
    made = [invoice(n) for n in range(1, 25)]
    if bad:
        made += [*BAD_INVOICES.values(), *(row for rows in ALSO_BAD.values() for row in rows)]
    frames = clean_plan(made)
    linked = {"link_id": "d", "entity": "document", "salesforce_id": opportunity(909), "xero_id": guid(1)}
    links = conform(frame([linked | {"status": "linked"}], LINKS), dict.fromkeys(LINKS, pl.String))
    there = frame([{"record_id": guid(7), "number": "SF-THERE", "reference": None}], INVOICES)
    known = conform(frames["links"], dict.fromkeys(LINKS, pl.String))
    return {**frames, "links": pl.concat([known, links]), "invoices": there}


def test_clean_invoices_pass(checked):
    findings = checked("clean invoices", "plan", planned, **RULES)
    assert findings.filter(~pl.col("passed"))["check"].to_list() == []
    assert set(BAD_INVOICES) <= set(findings["check"])


@pytest.mark.parametrize("check", BAD_INVOICES)
def test_a_fault_is_found_at_its_invoice(checked, check):
    findings = checked("bad invoices", "plan", lambda: planned(bad=True), **RULES)
    [row] = findings.filter(pl.col("check") == check).to_dicts()
    wanted = [BAD_INVOICES[check], *ALSO_BAD.get(check, ())]
    assert set(row["record_ids"]) == {one["operation_id"] for one in wanted}


def test_an_invoice_at_fault_goes_with_its_link_back_and_no_other(checked):
    frames = planned(bad=True)
    link = {
        **invoice(905),
        "operation_id": "back",
        "system": "salesforce",
        "action": "link",
        "depends_on": "i905",
        "record_id": opportunity(905),
    }
    operations = conform(pl.concat([frames["operations"], frame([link], OPERATIONS)]), OPERATIONS)
    kept, rejects = set_aside(operations, checked("bad invoices", "plan", lambda: planned(bad=True), **RULES))
    assert {"i905", "back"}.isdisjoint(kept["operation_id"])
    assert "i1" in kept["operation_id"].to_list()
    assert rejects.filter(pl.col("record_id") == opportunity(905)).height == 2


def test_an_invoice_for_a_contact_of_the_same_plan_passes(checked):
    def make() -> dict[str, pl.DataFrame]:
        frames = planned()
        contact = {
            **invoice(1),
            "operation_id": "c",
            "entity": "party",
            "object": "Contact",
            "source_id": account(500),
            "after": '{"name":"New"}',
            "native_after": '{"Name":"New"}',
        }
        mine = invoice(50, Contact={"ContactID": {"$from": "c"}}) | {"depends_on": "c"}
        return {**frames, "operations": pl.concat([frames["operations"], frame([contact, mine], OPERATIONS)])}

    assert checked("new contact", "plan", make, **RULES).filter(~pl.col("passed"))["check"].to_list() == []


def test_inclusive_lines_add_up_to_the_total(checked):
    def make() -> dict[str, pl.DataFrame]:
        inclusive = [
            invoice(1, told={"subtotal": "36.09", "total": "43.31"}),
            invoice(2, told={"total": "43.30"}),
        ]
        return {**planned(), "operations": frame(inclusive, OPERATIONS)}

    findings = checked("inclusive invoices", "plan", make, **{**RULES, "inclusive": True})
    failed = findings.filter(~pl.col("passed")).select("check", "record_ids").rows()
    assert failed == [("totals_agree", ["i2"])]


def test_references_are_the_key_where_xero_numbers(checked):
    def make() -> dict[str, pl.DataFrame]:
        rows = [
            invoice(1, InvoiceNumber=None, Reference="SF-1"),
            invoice(2, InvoiceNumber=None, Reference="sf-old"),
        ]
        there = frame([{"record_id": guid(7), "number": "SF-1", "reference": "SF-OLD"}], INVOICES)
        return {**planned(), "operations": frame(rows, OPERATIONS), "invoices": there}

    findings = checked("by reference", "plan", make, **{**RULES, "key_field": "Reference"})
    assert findings.filter(~pl.col("passed")).select("check", "record_ids").rows() == [("key_unique", ["i2"])]

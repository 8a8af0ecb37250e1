"""What planning does with operations once checks and refusals have spoken."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import polars as pl

from pipelines.checking import _with_documents_of_lines
from pipelines.decided import Decided
from pipelines.deciding import without_refused
from reconcile.bodies import dumps
from reconcile.model import DOCUMENT_LINES, FINDINGS, LINKS, OPERATIONS, RECORDS, REJECTS, empty
from reconcile.plan import Plan, amounts_made, beyond_limits, invoice_contacts, without_unneeded


def operations(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{"action": "create", **row} for row in rows], schema=dict(OPERATIONS))


CONTACT = {"operation_id": "contact", "entity": "party", "system": "xero"}
SHOWN = {"operation_id": "shown", "entity": "party", "depends_on": "contact"}
PERSON = {"operation_id": "person", "entity": "person", "depends_on": "shown"}
NUMBER = {"operation_id": "number", "entity": "document", "depends_on": "contact"}
INVOICE = {"operation_id": "invoice", "entity": "document", "depends_on": "number"}


def left(*rows: dict[str, Any], on_demand: frozenset[str] = frozenset({"contact"})) -> list[str]:
    return without_unneeded(operations(*rows), on_demand)["operation_id"].to_list()


def test_a_contact_on_demand_stays_with_a_document_that_needs_it() -> None:
    rows = (CONTACT, SHOWN, PERSON, NUMBER, INVOICE)
    assert left(*rows) == ["contact", "shown", "person", "number", "invoice"]


def test_without_a_document_it_goes_with_all_that_depends_on_it() -> None:
    other = {"operation_id": "other", "entity": "party"}
    assert left(CONTACT, SHOWN, PERSON, other) == ["other"]


def test_a_contact_that_was_wanted_anyway_stays() -> None:
    assert left(CONTACT, SHOWN, on_demand=frozenset()) == ["contact", "shown"]


def test_what_waits_for_a_refused_operation_is_told_with_it() -> None:
    """Left out of the plan and named nowhere, a person's value would be lost without a word (chaos seed 313)."""
    letters = pl.DataFrame({"operation_id": ["contact"], "message": ["no."]})
    ctx: Any = SimpleNamespace(journal=SimpleNamespace(dead_letters=lambda: letters))
    other = {"operation_id": "other", "entity": "party", "record_id": "001"}
    rows = [{"source_id": one["operation_id"], **one} for one in (CONTACT, NUMBER, INVOICE, other)]
    plan = Plan(operations(*rows), *[empty(LINKS)] * 6, unmatched=empty(LINKS), rejects=empty(REJECTS))
    left_of = without_refused(ctx, Decided(plan, (), empty(RECORDS))).plan
    assert left_of.operations["operation_id"].to_list() == ["other"]
    told = dict(left_of.rejects.select("record_id", "reason").iter_rows())
    assert told["contact"].startswith("it was refused: no. Mend it there")
    assert {told["number"], told["invoice"]} == {
        "what it depends on was refused; it is planned when that is made"
    }


def test_a_fault_of_a_line_is_its_documents() -> None:
    lines = pl.DataFrame([{"document_id": "006", "line_id": "00k"}], schema=dict(DOCUMENT_LINES))
    decided: Any = SimpleNamespace(invoicing=SimpleNamespace(documents=SimpleNamespace(lines=lines)))
    findings = pl.DataFrame(
        [{"check": "id_form", "passed": False, "record_ids": ["00k", "001"]}], schema=dict(FINDINGS)
    )
    found = _with_documents_of_lines(decided, findings)
    assert found["record_ids"].to_list() == [["006", "001"]]
    assert _with_documents_of_lines(SimpleNamespace(invoicing=None), findings) is findings  # type: ignore[arg-type]


# --- The money limit


def made(currency: str, subtotal: str, total: str | None = None, contact: Any = "c") -> dict[str, Any]:
    told = {"currency": currency, "subtotal": subtotal, "total": total, "contact": contact}
    return {**INVOICE, "operation_id": f"{currency}{subtotal}{total}", "after": dumps(told)}


INVOICES = operations(made("GBP", "10.10"), made("GBP", "5.00", "6.05"), made("USD", "7"), CONTACT)


def test_amounts_are_summed_by_currency_with_tax_where_it_is_known() -> None:
    assert amounts_made(INVOICES) == {"GBP": Decimal("16.15"), "USD": Decimal(7)}
    assert amounts_made(operations(CONTACT)) == {}


def test_a_plan_beyond_a_currencys_limit_is_told() -> None:
    def told(**most: str) -> list[str]:
        limits = {currency: Decimal(amount) for currency, amount in most.items()}
        none = empty(RECORDS)
        return beyond_limits(INVOICES, none, max_operations=9, max_share=1, max_amount=limits)

    assert told() == told(GBP="16.15", EUR="0") == []
    assert told(GBP="16.14", USD="6.99") == [
        "invoices of 16.15 GBP in all, more than the limit of 16.14",
        "invoices of 7.00 USD in all, more than the limit of 6.99",
    ]


def test_contacts_of_invoices_are_those_that_are_there() -> None:
    rows = operations(made("GBP", "1", contact="here"), made("GBP", "2", contact={"$from": "contact"}))
    assert invoice_contacts(rows).to_list() == ["here"]

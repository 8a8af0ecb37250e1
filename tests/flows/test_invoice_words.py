"""How an invoice is told to a person: in a plan on the terminal, and in a report."""

from __future__ import annotations

from typing import Any

import polars as pl

from flows import show, wording
from reconcile.bodies import dumps

MADE = pl.DataFrame({"operation_id": ["op"], "source_id": ["001"]})
NAMES = {"001": "New Ltd", "guid": "Edge"}


def parts(**other: Any) -> dict[str, Any]:
    known = {
        "number": "SF-1", "contact": "guid", "date": "2026-11-20", "due": "2026-12-20", "currency": "GBP",
        "status": "DRAFT",
        "subtotal": "1338.00", "total_tax": None, "total": None, "lines": [{"amount": "1338.00"}],
    }  # fmt: skip
    return known | other


def test_an_invoice_is_told_in_one_line() -> None:
    told = wording.invoice(parts(), "Edge")
    assert told == "SF-1 for Edge, 2026-11-20, due 2026-12-20, 1 line, 1,338.00 GBP without tax, draft"


def test_with_tax_known_without_due_day_and_numbered_by_xero() -> None:
    told = wording.invoice(parts(number=None, due=None, total="1605.60", lines=[{}, {}]))
    assert told == "numbered by Xero, 2026-11-20, 2 lines, 1,605.60 GBP, draft"


def test_a_contact_of_the_same_plan_is_named_by_its_account() -> None:
    assert wording.made_out_to(parts(), NAMES, MADE) == "Edge"
    assert wording.made_out_to(parts(contact={"$from": "op"}), NAMES, MADE) == "New Ltd"
    assert wording.made_out_to(parts(contact={"$from": "gone"}), NAMES, MADE) == ""


def test_a_reader_of_the_report_sees_no_json() -> None:
    assert wording.readable(dumps(parts())) == wording.invoice(parts())
    assert "status" in wording.readable(dumps({"status": "AUTHORISED"}))


def test_what_a_source_and_its_invoice_say_is_told_line_by_line() -> None:
    line = {"quantity": "2", "unit_price": "50.25", "discount": "7.5", "description": "Work"}
    said = {"date": "2026-11-20", "due": None, "reference": "Deal", "currency": "GBP", "contact": "guid",
            "line_amounts": "Exclusive", "lines": [line], "stands": False}  # fmt: skip
    told = "2026-11-20, Deal, GBP; 2 x 50.25 less 7.5% Work; does not stand"
    assert wording.readable(dumps(said)) == show.spoken(dumps(said)) == told

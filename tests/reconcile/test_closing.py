"""A month is closed from the bodies that both systems hand over; what a person must hear of it is a finding."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from month import Month, counted
from month_books import IN_XERO, MonthBooks, books_of, half_of, month_in_books
from polars.testing import assert_frame_equal
from sales import line as deal_line
from sales import linked, sales
from two_books import raw_of, xero_id

from reconcile.closing import (
    ALARM,
    KNOWN_BY,
    Closed,
    by_cause,
    by_month,
    close_books,
    findings,
    invoice_lines,
    not_closed,
)
from reconcile.documents import canonical_documents
from reconcile.model import BOOKED, DIFFERENCES, DOCUMENT_RATES, LINKS, REJECTS, TOTALS, conform, empty
from reconcile.moves import read_invoices
from reconcile.totals import control_totals


def told(closed: Closed, books: MonthBooks):
    """Cause, document, and what moves in which group, of each difference."""
    found: dict[str, tuple] = {}
    for row in closed.differences.iter_rows(named=True):
        one = found.setdefault(row["difference_id"], (row["cause"], books.keys[row["document_key"]], {}))
        if row["net"] or row["tax"]:
            group = (row["currency"], row["month"].isoformat(), row["status"], row["account"])
            one[2][group] = (row["net"], row["tax"])
    return counted(list(found.values()))


def assert_closed(month: Month) -> None:
    """Both halves of the month are read from bodies, and explained to the cent."""
    for inclusive in (False, True):
        half = half_of(month, inclusive=inclusive)
        books = books_of(half, inclusive=inclusive)
        closed = books.closed()
        expected = counted([(one.cause, one.document, one.moved) for one in half.planted])
        found = told(closed, books)
        assert found - expected == {}, "told, and not planted"
        assert expected - found == {}, "planted, and not told"
        assert closed.findings["passed"].all()
        assert closed.totals.filter((pl.col("residual") != 0) | (pl.col("unexplained") != 0)).is_empty()
        assert_sums(closed, half)


def assert_sums(closed: Closed, month: Month) -> None:
    sums = {
        (row["currency"], row["month"].isoformat(), row["status"], row["account"], row["measure"]): (
            row["salesforce"],
            row["xero"],
        )
        for row in closed.totals.iter_rows(named=True)
    }
    none = (Decimal(0), Decimal(0))
    expected = {
        (*group, measure): tuple(sides.get(side, none)[place] for side in ("salesforce", "xero"))
        for group, sides in month.totals().items()
        for place, measure in enumerate(("net", "tax"))
    }
    assert {key: both for key, both in sums.items() if any(both)} == {
        key: both for key, both in expected.items() if any(both)
    }


@pytest.mark.parametrize("seed", range(2))
def test_a_clean_month_read_from_bodies_has_no_difference(seed):
    assert_closed(month_in_books(seed, 150, clean=True))


@pytest.mark.parametrize("seed", range(3))
def test_each_mistake_of_a_month_read_from_bodies_is_named_with_its_cents(seed):
    month = month_in_books(seed, 150)
    assert {one.kind for one in month.planted} == set(IN_XERO) and len(IN_XERO) >= 12
    assert_closed(month)


def test_two_thousand_documents_read_from_bodies_are_explained_to_the_cent():
    month = month_in_books(7, 2000, times=10)
    assert len({document.currency for document in month.salesforce}) == 6
    assert {len(document.lines) for document in month.salesforce} >= {0, 40}
    assert_closed(month)


def test_what_differs_is_named_as_people_name_it():
    books = books_of(half_of(month_in_books(2, 150), inclusive=False), inclusive=False)
    closed = books.closed()
    keys = {key for name in ("document_key", "line_key") for key in closed.differences[name].drop_nulls()}
    assert closed.names.keys() == keys
    deals = [key for key in keys if key.startswith("006")]
    assert {closed.names[deal] for deal in deals} == {books.keys[deal] for deal in deals}
    by_hand = closed.differences.filter(pl.col("cause").is_in(["extra_document", "credited"]))["document_key"]
    assert by_hand.n_unique() == 2
    assert {key: closed.names[key] for key in by_hand} == {key: f"INV-{books.keys[key]}" for key in by_hand}


# --- What is read of the ledger's lines


def test_a_line_that_stands_twice_under_one_id_is_read_once_and_hides_no_other():
    body = {
        "LineItemID": xero_id(1),
        "Description": "One",
        "Quantity": Decimal("1.5"),
        "UnitAmount": Decimal("0.1"),
    }
    other = body | {"LineItemID": xero_id(2), "Description": "Two", "DiscountRate": Decimal("33.3300")}
    raw = raw_of(
        {
            xero_id(7): {"InvoiceID": xero_id(7).upper(), "LineItems": [body, body, other]},
            xero_id(8): {"InvoiceID": xero_id(8), "LineItems": "none"},
            xero_id(9): {"InvoiceID": xero_id(9), "LineItems": [body | {"LineItemID": xero_id(3)}]},
        }
    )
    links = pl.DataFrame({"salesforce_id": ["a", "b"], "xero_id": [xero_id(7), xero_id(8).upper()]})
    read = invoice_lines(raw, conform(links, LINKS))
    assert read.select("invoice_id", "description", "position", "quantity", "discount").rows() == [
        (xero_id(7), "One", 1, Decimal("1.5"), None),
        (xero_id(7), "Two", 3, Decimal("1.5"), Decimal("33.33")),
    ]


number = st.none() | st.decimals(-(10**9), 10**9, places=4)
ledger_line = st.fixed_dictionaries(
    {},
    optional={
        "LineItemID": st.uuids().map(str),
        "Description": st.none() | st.text(max_size=12),
        "ItemCode": st.none() | st.text(max_size=4),
        "Quantity": number,
        "UnitAmount": number,
        "LineAmount": number,
        "DiscountRate": number,
        "DiscountAmount": number,
    },
)


@settings(max_examples=60)
@given(st.lists(st.lists(ledger_line, max_size=4), max_size=4))
def test_lines_read_all_at_once_are_those_that_are_read_one_by_one(invoices):
    bodies = {
        xero_id(place): {"InvoiceID": xero_id(place), "LineItems": one} for place, one in enumerate(invoices)
    }
    links = pl.DataFrame(
        {"salesforce_id": list(bodies), "xero_id": list(bodies)}, schema=["salesforce_id", "xero_id"]
    )
    links = links.cast(pl.String)
    read = invoice_lines(raw_of(bodies), conform(links, LINKS))
    _, expected = read_invoices(bodies.values())
    shown = [*KNOWN_BY, "invoice_id", "position"]
    assert_frame_equal(read.select(shown), expected.select(shown), check_row_order=False)


# --- What a person must hear


def totals_row(**amounts: str) -> dict:
    known = {
        "currency": "EUR",
        "month": date(2026, 11, 1),
        "status": "PAID",
        "account": "200",
        "measure": "net",
    }
    names = ("salesforce", "xero", "difference", "explained", "unexplained", "residual")
    return known | {name: Decimal(amounts.get(name, "0")) for name in names}


def totals_frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(TOTALS))


def failed(found: pl.DataFrame) -> list[tuple]:
    return found.filter(~pl.col("passed")).select("check", "severity", "count", "message").rows()


def test_a_residual_is_critical_and_names_the_totals():
    rows = [totals_row(residual="12.50") | {"account": code} for code in ("200", "210", "220", None)]
    found = findings(totals_frame(*rows), empty(DIFFERENCES), empty(REJECTS))
    [(check, severity, count, message)] = failed(found)
    assert (check, severity, count) == (ALARM, "critical", 4)
    assert message.startswith("found 12.5 EUR (net) in 2026-11, status PAID, account 200, and 12.5 EUR (net)")
    assert "and 1 more; expected" in message


def test_an_amount_without_a_cause_is_told_as_a_warning():
    rows = pl.DataFrame(
        [
            {
                "difference_id": "x",
                "cause": "unexplained",
                "document_key": "D",
                "net": Decimal("0.01"),
                "tax": 0,
            }
            | {"currency": "EUR", "month": date(2026, 11, 1)}
        ]
    )
    found = findings(totals_frame(totals_row(unexplained="0.01")), conform(rows, DIFFERENCES), empty(REJECTS))
    assert failed(found) == [
        (
            "differences_explained",
            "warning",
            1,
            "found 0.01 EUR (net) in 2026-11, status PAID, account 200; expected a cause for each amount that differs",
        )
    ]
    assert found.filter(~pl.col("passed"))["record_ids"].to_list() == [["D"]]


def test_what_can_not_be_added_up_is_counted_by_its_reason():
    books = sales()
    account, _ = linked(books)
    deal = books.won(1, account, deal_line())
    books.edit(deal, CloseDate="2026-11-20")
    line_id = next(iter(books.salesforce["OpportunityLineItem"]))
    books.edit(line_id, Quantity=None)
    raw = books.raw()
    documents = canonical_documents(raw, books.invoicing)
    closed = close_books(documents, raw, empty(LINKS), empty(DOCUMENT_RATES), books.invoicing)
    [(check, severity, count, message)] = failed(closed.findings)
    assert (check, severity, count) == ("documents_counted", "warning", 1)
    assert message == "found 1 of which a line has no amount; expected documents whose lines can be added up"
    assert closed.totals.is_empty()


def test_a_failed_closing_is_a_broken_check():
    found = not_closed("ComputeError at totals.py:1")
    assert found.findings.select("check", "passed", "broken").rows() == [(ALARM, False, True)]
    assert (
        found.findings["message"].item().startswith("could not run (ComputeError at totals.py:1); expected")
    )
    assert found.totals.is_empty() and found.differences.is_empty()


# --- Summed up


def test_a_month_tells_of_differences_that_cancel_out():
    rows = [
        totals_row(salesforce="5", xero="6", difference="1", explained="1"),
        totals_row(salesforce="6", xero="5", difference="-1", unexplained="-1") | {"account": "210"},
        totals_row() | {"account": "220"},
        totals_row() | {"month": date(2026, 12, 1)},
    ]
    december, november = by_month(totals_frame(*rows)).iter_rows(named=True)
    assert december["month"] == date(2026, 12, 1) and december["groups_apart"] == 0
    assert (november["difference"], november["groups"], november["groups_apart"]) == (0, 3, 2)
    assert (november["groups_unexplained"], november["groups_residual"]) == (1, 0)


def test_what_moved_between_groups_is_counted_once_and_with_what_it_moved():
    def row(side: str, **fields):
        known = {"side": side, "document_key": "D", "linked": True, "line_key": "1", "currency": "GBP"}
        known |= {
            "date": date(2026, 11, 20),
            "status": "PAID",
            "account": "200",
            "quantity": 1,
            "unit_price": 100,
        }
        return (
            known
            | {"rate": 0, "currency_rate": 1, "inclusive": False, "amount": 100, "tax_amount": 0}
            | fields
        )

    rows = [row("salesforce"), row("xero", account="260", unit_price=90, amount=90)]
    differences = control_totals(pl.DataFrame(rows, schema=dict(BOOKED))).differences
    assert by_cause(differences).select("cause", "count", "documents", "net", "moved").rows() == [
        ("account", 1, 1, Decimal(0), Decimal(100)),
        ("price_or_quantity", 1, 1, Decimal(-10), None),
    ]

"""Which rate a document's invoice is made with, what is converted, and what a currency without a rate stops."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from coded_sales import CodedSales, coded_sales
from sales import documents_of, line, linked, stops

from reconcile.bodies import loads

TABLE = "{rates: table, table: {EUR: {2026-01-01: 1.17, 2026-11-15: 1.1612}, CHF: 1.1}%s}"


def deal(books: CodedSales, currency: str | None, *lines: dict[str, Any], **fields: Any) -> str:
    account, _ = linked(books)
    return books.won(1, account, *(lines or [line()]), CurrencyIsoCode=currency, **fields)


def created(books: CodedSales) -> dict[str, Any]:
    return documents_of(books.plan()).filter(pl.col("action") == "create").row(0, named=True)


def sent(row: dict[str, Any]) -> tuple[Any, ...]:
    body = loads(row["native_after"])
    return body.get("CurrencyCode"), body.get("CurrencyRate")


@pytest.mark.parametrize(("day", "rate"), [("2026-11-14", "1.17"), ("2026-11-15", "1.1612")])
def test_a_tables_rate_of_the_invoices_day_is_sent_and_told(day: str, rate: str) -> None:
    books = coded_sales(currency=TABLE % "")
    deal(books, "EUR", CloseDate=day)
    row = created(books)
    assert sent(row) == ("EUR", Decimal(rate))
    assert json.loads(row["after"])["currency_rate"] == rate
    assert f"At {rate} EUR for one of the organisation's currency: 1 GBP = {rate} EUR from " in row["reason"]


@pytest.mark.parametrize("currency", ["GBP", None])
def test_the_organisations_own_currency_needs_no_rate(currency: str | None) -> None:
    books = coded_sales(currency=TABLE % "")
    deal(books, currency)
    row = created(books)
    assert sent(row) == (currency, None)
    assert row["reason"] == "this opportunity is won, and has no invoice"


def test_xeros_own_rate_is_taken_by_sending_none() -> None:
    books = coded_sales(currency="{rates: xero}")
    deal(books, "EUR")
    row = created(books)
    assert sent(row) == ("EUR", None)
    assert row["reason"].endswith(". Xero takes its own rate of the day")


def test_without_the_key_nothing_is_read_and_a_foreign_currency_goes_as_it_did() -> None:
    books = coded_sales()
    assert "Currency" not in books.invoicing.fields("xero")
    deal(books, "NOK")
    assert sent(created(books)) == ("NOK", None)


@pytest.mark.parametrize(
    ("currency", "day", "reason"),
    [
        ("EUR", "2025-12-31", "no rate of EUR for one GBP holds on 2025-12-31"),
        ("USD", "2026-11-20", "no rate of USD for one GBP holds on 2026-11-20"),
    ],
)
def test_a_day_without_a_rate_stops_its_document_alone(currency: str, day: str, reason: str) -> None:
    books = coded_sales(currency=TABLE % "", cut_over="2025-01-01")
    books.currencies = ("GBP", "EUR", "USD")
    stopped = deal(books, currency, CloseDate=day)
    account, _ = linked(books, 2)
    books.won(2, account, line(), CurrencyIsoCode="GBP")
    plan = books.plan()
    assert stops(plan) == {stopped: reason}
    assert documents_of(plan).filter(pl.col("action") == "create").height == 1


def test_a_currency_that_the_organisation_lacks_stops_with_its_remedy_or_is_converted() -> None:
    lines = (line(3, "10.00"), line(1, "20.00"))
    books = coded_sales("      tax: OUTPUT2\n", currency=TABLE % "")
    held = deal(books, "CHF", *lines)
    assert stops(books.plan())[held].startswith(
        "its currency CHF is none of the organisation's: add it in Xero"
    )
    books = coded_sales("      tax: OUTPUT2\n", currency=TABLE % ", lacking: convert")
    deal(books, "CHF", *lines)
    row = created(books)
    assert sent(row) == ("GBP", None)
    # 50.00 / 1.1 = 45.4545...; 30.00 is 27.27 (3 x 9.09), 20.00 is 18.18; 20% of each.
    after = json.loads(row["after"])
    assert [(one["unit_price"], one["amount"]) for one in after["lines"]] == [
        ("9.09", "27.27"),
        ("18.18", "18.18"),
    ]
    assert (after["subtotal"], after["total_tax"], after["total"]) == ("45.45", "9.09", "54.54")
    assert "Converted from 50.00 CHF to 45.45 GBP" in row["reason"]
    books.apply(books.plan())
    assert documents_of(books.plan()).is_empty()


@pytest.mark.parametrize(("currency", "moved"), [("EUR", False), ("GBP", True)])
def test_what_has_the_rate_of_its_day_is_not_moved_out_of_a_locked_period(currency: str, moved: bool) -> None:
    books = coded_sales(currency=TABLE % "", locked="move")
    books.organisation(PeriodLockDate="/Date(1795996800000+0000)/")  # 2026-11-30
    record = deal(books, currency)
    plan = books.plan()
    assert (record not in stops(plan)) == moved
    assert moved or "and it has the rate of that day: give it a later date" in stops(plan)[record]

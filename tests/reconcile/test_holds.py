"""A document that a rule holds back is asked about; a yes lets it go, as it was shown and no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from coded_sales import CodedSales, coded_sales
from sales import brief, line, linked, stops

from reconcile.bodies import loads
from reconcile.merge import difference_fingerprint

RULE = '      rules:\n        - {when: "unit_price > 0", then: {account: "210"}, hold: "subtotal >= 100"}\n'
HELD = "its line 1: held by mine.yaml:8 (unit_price > 0)"
MADE = [("create", "xero", "create", "record"), ("create", "salesforce", "link", "reference")]


def held(**fields: Any) -> tuple[CodedSales, str]:
    books = coded_sales(RULE)
    account, _ = linked(books)
    return books, books.won(1, account, line(), **fields)


def asked(books: CodedSales) -> list[dict[str, Any]]:
    return books.plan().drift.filter(pl.col("entity") == "document").to_dicts()


def say(books: CodedSales, kind: str, row: dict[str, Any] | None = None) -> None:
    row = row or asked(books)[0]
    books.decisions.append(
        {
            "kind": kind, "entity": "document", "unit": row["unit"], "salesforce_id": row["salesforce_id"],
            "fingerprint": difference_fingerprint(row["salesforce"], row["xero"]), "made_by": "pat",
            "made_at": datetime(2026, 11, 24, tzinfo=UTC) + timedelta(minutes=len(books.decisions)),
        }
    )  # fmt: skip


def test_what_a_rule_holds_is_asked_with_what_would_be_made() -> None:
    books, deal = held()
    (row,) = asked(books)
    assert (row["salesforce_id"], row["xero_id"], row["why"]) == (deal, None, "waits_for_decision")
    shown = loads(row["salesforce"])
    assert (shown["number"], shown["subtotal"], len(shown["lines"])) == (f"SF-{deal.upper()}", "100.00", 1)
    told = stops(books.plan())[deal]
    assert told == (
        f"{HELD}. Let it go by `reconcile resolve {deal} invoice --take salesforce`, or leave it unmade by "
        f"`reconcile resolve {deal} invoice --take neither`"
    )


def test_a_yes_makes_it_and_is_named() -> None:
    books, deal = held()
    say(books, "salesforce_wins")
    plan = books.plan()
    assert brief(plan) == MADE
    assert asked(books) == [] and deal not in stops(plan)
    made = plan.operations.filter(pl.col("action") == "create", pl.col("system") == "xero").row(0, named=True)
    assert f". A person let it go, though {HELD}. " in made["reason"]


@pytest.mark.parametrize("kind", ["accept_drift", "xero_wins"])
def test_a_no_leaves_it_unmade_and_asks_no_more(kind: str) -> None:
    books, deal = held()
    say(books, kind)
    assert brief(books.plan()) == [] and asked(books) == []
    assert stops(books.plan())[deal] == f"{HELD}; a person left it unmade"


def test_the_last_word_counts() -> None:
    books, _ = held()
    row = asked(books)[0]
    say(books, "salesforce_wins", row)
    say(books, "accept_drift", row)
    assert brief(books.plan()) == []
    say(books, "salesforce_wins", row)
    assert brief(books.plan()) == MADE


@pytest.mark.parametrize(
    "change", [{"CloseDate": "2026-11-21"}, {"AccountId": None}, {"lines": {"Quantity": 3}}, {"Amount": 200}]
)
def test_a_yes_stands_for_what_was_shown_and_nothing_else(change: dict[str, Any]) -> None:
    books, deal = held()
    say(books, "salesforce_wins")
    if "lines" in change:
        (row,) = books.salesforce["OpportunityLineItem"].values()
        row |= change["lines"]
        books.salesforce["Opportunity"][deal]["Amount"] = 300
    else:
        books.salesforce["Opportunity"][deal] |= change
    plan = books.plan()
    assert brief(plan) == [] and deal in stops(plan)


def test_what_is_wrong_besides_is_nothing_that_a_yes_could_let_go() -> None:
    books = coded_sales(RULE.replace('account: "210"', 'account: "299"'))
    account, _ = linked(books)
    deal = books.won(1, account, line())
    assert asked(books) == []
    assert "--take" not in stops(books.plan())[deal]


def test_what_somebody_made_by_hand_is_taken_for_it_and_not_asked() -> None:
    books, deal = held()
    contact = next(iter(books.xero))
    books.invoice(
        InvoiceNumber=f"SF-{deal.upper()}", Contact={"ContactID": contact},
        LineItems=[{"Quantity": 1, "UnitAmount": 100, "AccountCode": "200"}],
    )  # fmt: skip
    assert asked(books) == []
    assert brief(books.plan()) == [("link", "salesforce", "link", "reference")]


def test_a_deal_that_has_its_invoice_is_not_asked_about() -> None:
    books, deal = held()
    say(books, "salesforce_wins")
    books.apply(books.plan())
    books.decisions.clear()
    plan = books.plan()
    assert books.documents is not None and brief(plan) == [] and deal not in stops(plan)
    assert books.documents.headers["asked"].to_list() == [None]

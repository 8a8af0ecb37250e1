"""What a plan makes of invoices whose sources changed: one operation, one question or one word for each."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sales import Sales, documents_of, line, linked, sales, stops

from reconcile.bodies import dumps, loads
from reconcile.document_moves import _Sources, with_fresh_bodies
from reconcile.invoices import ItemOf
from reconcile.merge import difference_fingerprint
from reconcile.model import DOCUMENT_LINES, conform
from reconcile.model import UTC as UTC_TIME
from reconcile.plan import Plan

MADE_ON = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)
DUE_ON = int(datetime(2026, 12, 20, tzinfo=UTC).timestamp() * 1000)


def made(books: Sales, account: str, contact: str, number: int) -> tuple[str, str]:
    """A won deal of two lines and its invoice, as an earlier run made it."""
    deal = books.won(number, account, line(2, 50, Name="Rig"), line(1, 30, Name="Fuel"))
    items = [
        {"LineItemID": f"x-{number}-{place}", "Description": name, "Quantity": quantity, "UnitAmount": price}
        for place, (name, quantity, price) in enumerate([("Rig", 2, 50), ("Fuel", 1, 30)], start=1)
    ]
    invoice = books.invoice(
        InvoiceNumber=f"SF-{deal.upper()}",
        Contact={"ContactID": contact},
        Date=f"/Date({MADE_ON}+0000)/",
        DueDate=f"/Date({DUE_ON}+0000)/",
        Reference=f"Deal {number}",
        LineAmountTypes="Exclusive",
        LineItems=items,
    )
    return deal, invoice


def agreed(count: int = 1, **keys: str) -> tuple[Sales, list[tuple[str, str]]]:
    """Books in which that many deals have their invoices, linked by their numbers."""
    return copy.deepcopy(_agreed(count, tuple(keys.items())))


@cache
def _agreed(count: int, keys: tuple[tuple[str, str], ...]) -> tuple[Sales, list[tuple[str, str]]]:
    return _adopted(count, dict(keys))


def _adopted(count: int, keys: dict[str, str]) -> tuple[Sales, list[tuple[str, str]]]:
    reported = keys.get("changes") == "report"
    books = sales(**{"changes": "move", **({} if reported else {"withdraw": "void"}), **keys})
    account, contact = linked(books)
    pairs = [made(books, account, contact, number) for number in range(1, count + 1)]
    books.apply(books.plan())
    assert documents_of(books.plan()).is_empty()
    return books, pairs


def lines_of(books: Sales, deal: str) -> list[str]:
    return [
        key for key, row in books.salesforce["OpportunityLineItem"].items() if row["OpportunityId"] == deal
    ]


def price(books: Sales, deal: str, invoice: str) -> None:
    books.edit(lines_of(books, deal)[0], UnitPrice=60)
    books.edit(deal, Amount=150)


HAPPENS: dict[str, Any] = {
    "nothing": lambda books, deal, invoice: None,
    "priced": price,
    "renamed": lambda books, deal, invoice: books.edit(deal, Name="Another"),
    "lost": lambda books, deal, invoice: books.edit(deal, IsWon=False),
    "deleted": lambda books, deal, invoice: books.edit(deal, IsDeleted=True),
    "approved": lambda books, deal, invoice: books.invoices[invoice].update(Status="AUTHORISED"),
    "typed": lambda books, deal, invoice: books.invoices[invoice].update(Reference="Typed"),
    "unfit": lambda books, deal, invoice: books.edit(
        lines_of(books, deal)[0], UnitPrice=60
    ),  # its Amount is not
}
EXPECTED = {"nothing": [], "priced": ["invoice"], "renamed": ["invoice"], "lost": ["status"], "deleted": ["status"],
            "approved": [], "typed": [], "unfit": []}  # fmt: skip
happenings = st.lists(st.sampled_from(sorted(HAPPENS)), min_size=1, max_size=2, unique=True)


def units(plan: Plan, invoice: str) -> list[str]:
    return documents_of(plan).filter(pl.col("record_id") == invoice)["unit"].to_list()


@pytest.mark.parametrize("what", sorted(HAPPENS))
def test_one_thing_that_happens_gives_one_operation_or_none(what: str) -> None:
    books, [(deal, invoice)] = agreed()
    HAPPENS[what](books, deal, invoice)
    plan = books.plan()
    assert units(plan, invoice) == EXPECTED[what]
    assert (deal in stops(plan)) == (what in ("typed", "unfit"))


@pytest.mark.in_turn
@settings(max_examples=6, deadline=None)
@given(st.lists(happenings, min_size=3, max_size=3))
def test_what_becomes_of_one_does_not_hang_on_the_others(all_of_them: list[list[str]]) -> None:
    """Each gets one operation or one word, never both; and alone the same."""

    def outcome(plan: Plan, deal: str, invoice: str) -> tuple[list[str], bool]:
        return units(plan, invoice), deal in stops(plan)

    together, pairs = agreed(len(all_of_them))
    for pair, happened in zip(pairs, all_of_them, strict=True):
        for what in happened:
            HAPPENS[what](together, *pair)
    plan = together.plan(adopt=False)
    for place, happened in enumerate(all_of_them):
        alone, others = agreed(len(all_of_them))
        for what in happened:
            HAPPENS[what](alone, *others[place])
        written, told = outcome(plan, *pairs[place])
        assert len(written) + told <= 1
        assert (written, told) == outcome(alone.plan(adopt=False), *others[place])


def test_a_changed_draft_is_sent_whole_with_the_ids_of_its_lines_and_no_contact() -> None:
    books, [(deal, invoice)] = agreed()
    price(books, deal, invoice)
    sent = loads(documents_of(books.plan())["native_after"].item())
    assert sent.keys() == {"LineItems"}
    assert [(one["LineItemID"], str(one["UnitAmount"])) for one in sent["LineItems"]] == [
        ("x-1-1", "60"),
        ("x-1-2", "30"),
    ]


def test_a_renamed_deal_leaves_the_descriptions_of_its_lines() -> None:
    books, [(deal, _)] = agreed()
    for key, name in zip(lines_of(books, deal), ("Rig", "Fuel"), strict=True):
        books.edit(key, Name=f"Deal 1 {name}")
    assert documents_of(books.plan()).is_empty()
    books.edit(deal, Name="Deal one")
    sent = loads(documents_of(books.plan())["native_after"].item())
    assert sent["Reference"] == "Deal one"
    assert [one["Description"] for one in sent["LineItems"]] == ["Rig", "Fuel"]


def decide(books: Sales, plan: Plan, kind: str) -> None:
    (row,) = pl.concat([plan.drift, plan.conflicts]).filter(pl.col("entity") == "document").to_dicts()
    mark = difference_fingerprint(row["salesforce"], row["xero"])
    books.decisions.append({
        "kind": kind, "entity": "document", "salesforce_id": row["salesforce_id"], "xero_id": row["xero_id"],
        "unit": "invoice", "fingerprint": mark, "made_by": "somebody", "made_at": books.tick(),
    })  # fmt: skip


def test_a_yes_holds_for_what_was_asked_and_for_nothing_else() -> None:
    books, [(deal, invoice)] = agreed(withdraw="ask")
    books.edit(deal, IsWon=False)
    asked = books.plan()
    assert units(asked, invoice) == []
    decide(books, asked, "salesforce_wins")
    assert units(books.plan(adopt=False), invoice) == ["status"]
    books.invoices[invoice]["Reference"] = "Typed since"
    again = books.plan()
    assert units(again, invoice) == []
    assert deal in stops(again)


def test_what_a_person_lets_stand_is_asked_no_more_until_it_changes() -> None:
    books, [(deal, invoice)] = agreed(withdraw="ask")
    books.edit(deal, IsWon=False)
    decide(books, books.plan(), "accept_drift")
    books.plan()  # keeps it
    quiet = books.plan()
    assert (units(quiet, invoice), stops(quiet)) == ([], {})
    books.edit(deal, IsWon=True)
    assert stops(books.plan()) == {}
    books.edit(deal, Name="Another")
    assert units(books.plan(), invoice) == ["invoice"]


def test_where_nothing_is_known_of_an_agreement_a_difference_is_asked() -> None:
    books, [(deal, invoice)] = agreed()
    books.bases = {key: row for key, row in books.bases.items() if key[2] not in ("invoice", "lines")}
    price(books, deal, invoice)
    plan = books.plan()
    assert units(plan, invoice) == []
    assert "not known" in stops(plan)[deal]


def test_a_withdrawn_invoice_is_shown_as_such_once_it_is() -> None:
    books, [(deal, _)] = agreed()
    books.edit(deal, IsWon=False)
    planned = documents_of(books.plan())
    withdrawn, shown = (
        planned.filter(pl.col("system") == "xero"),
        planned.filter(pl.col("system") == "salesforce"),
    )
    assert shown["depends_on"].to_list() == withdrawn["operation_id"].to_list()
    assert json.loads(shown["after"].item()) == {"status": "DELETED"}


def test_without_the_setting_all_is_as_it_was() -> None:
    books, [(deal, _)] = agreed(changes="report")
    books.edit(deal, IsWon=False)
    plan = books.plan()
    assert documents_of(plan).is_empty()
    assert stops(plan)[deal].startswith("it is not won any more, and its invoice")
    assert plan.adopted_moves.filter(pl.col("entity") == "document").is_empty()


def test_a_row_older_than_what_we_wrote_says_what_we_wrote() -> None:
    """Xero may list no deleted draft: the snapshot has it as it was, for good."""
    books, [(deal, invoice)] = agreed()
    raw = books.raw()["xero.Invoice"]
    stamp = datetime(2026, 11, 21, tzinfo=UTC)
    raw = raw.with_columns(modified_at=pl.lit(stamp).cast(UTC_TIME))
    [link] = [key[0] for key in books.bases if key[1:] == ("xero", "invoice")]
    base = loads(books.bases[link, "xero", "invoice"]["native"]) | {"Status": "DELETED"}
    for later_s, status in ((-1, "DRAFT"), (0, "DRAFT"), (1, "DELETED")):
        row = {"native": dumps(base), "stamp": stamp + timedelta(seconds=later_s)}
        books.bases[link, "xero", "invoice"] |= row
        fresh = with_fresh_bodies(raw, books.links, books.bases_frame())
        assert fresh["record_id"].to_list() == [invoice]
        assert loads(fresh["body"].item())["Status"] == status
    assert deal in link


def test_a_line_at_fault_stops_its_own_document_alone() -> None:
    books, pairs = agreed(2)
    for deal, invoice in pairs:
        price(books, deal, invoice)
    assert [units(books.plan(adopt=False), invoice) for _, invoice in pairs] == [["invoice"], ["invoice"]]
    books.edit(lines_of(books, pairs[0][0])[0], Quantity=None)
    plan = books.plan()
    assert [units(plan, invoice) for _, invoice in pairs] == [[], ["invoice"]]
    assert "no quantity" in stops(plan)[pairs[0][0]]


def test_a_line_names_the_item_of_its_product_and_one_without_keeps_the_document_as_it_is() -> None:
    rows = [
        {"document_id": "a", "line_id": "1", "position": 1, "product_id": "kept", "item": None},
        {"document_id": "a", "line_id": "2", "position": 2, "product_id": "made", "item": "old"},
        {"document_id": "a", "line_id": "3", "position": 3, "product_id": "none", "item": "old"},
        {"document_id": "b", "line_id": "4", "position": 1, "product_id": None, "item": "own"},
        {"document_id": "b", "line_id": "5", "position": 2, "product_id": "unknown", "item": "own"},
    ]
    items = {
        "kept": ItemOf(code="GC1"),
        "made": ItemOf(code="GC2", made_by="op"),
        "none": ItemOf(reason="needs an item, and has none"),
    }
    documents = SimpleNamespace(lines=conform(pl.DataFrame(rows), DOCUMENT_LINES))
    lines, faults = _Sources._lines(SimpleNamespace(_documents=documents, _items=items))  # type: ignore[arg-type]
    assert lines["item"].to_list() == ["GC1", "GC2", None, "own", "own"]
    assert lines.columns == list(DOCUMENT_LINES)
    assert faults.rows() == [("a", "its line 2 needs an item that this plan makes: the next one has it")]
    none, nothing = _Sources._lines(SimpleNamespace(_documents=documents, _items={}))  # type: ignore[arg-type]
    assert none.equals(documents.lines)
    assert nothing.is_empty()

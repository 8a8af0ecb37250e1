"""What becomes of an invoice whose source changed: every cell of the table, the pairing of lines, and the body sent."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile.bodies import dumps, loads
from reconcile.model import (
    DOCUMENT_LINES,
    INVOICE_LINES,
    INVOICE_STATE,
    LINE_LINKS,
    MOVES,
    SOURCE_STATE,
)
from reconcile.moves import (
    CELLS,
    CHANGE_WORDS,
    CHANGES,
    DOUBT_WORDS,
    STATES,
    TABLE,
    Linked,
    _changes,
    _states,
    agreed_values,
    call_bodies,
    decide_moves,
    pair_lines,
    read_invoices,
)

DOCS = Path(__file__).parents[2] / "docs" / "states.md"
LOCK = date(2026, 1, 31)
D = Decimal
Row = dict[str, Any]


# --- A deal and its invoice ---------------------------------------------------------------------------------


def deal_line(line_id: str = "a", position: int = 1, **fields: Any) -> Row:
    return {
        "document_id": "deal", "line_id": line_id, "position": position, "description": f"Work {line_id}",
        "quantity": D(2), "unit_price": D(50), "account": "200", "tax": "OUTPUT2", **fields,
    }  # fmt: skip


def line_of(line: Row, **fields: Any) -> Row:
    """The invoice's line that was made of a deal's."""
    kept = {
        name: line.get(name) for name in ("position", "description", "quantity", "unit_price", "discount")
    }
    codes = {name: line.get(name) for name in ("account", "tax", "item")}
    amount = {"tax_amount": D(20)}
    return {"invoice_id": "inv", "line_item_id": f"x-{line['line_id']}", **kept, **codes, **amount, **fields}


DEAL: Row = {
    "document_id": "deal", "link_id": "link", "invoice_id": "inv", "won": True, "gone": False, "in_scope": True,
    "due_by_date": True, "contact_id": "c-1", "currency": "GBP", "date": date(2026, 3, 1), "due": date(2026, 3, 31),
    "reference": "Deal", "line_amounts": "Exclusive", "subtotal": D(100), "total": D(120),
}  # fmt: skip
INVOICE: Row = {
    "invoice_id": "inv", "number": "SF-1", "status": "DRAFT", "contact_id": "C-1", "currency": "GBP",
    "date": date(2026, 3, 1), "due": date(2026, 3, 31), "reference": "Deal", "line_amounts": "Exclusive",
    "subtotal": D(100), "total": D(120), "paid": D(0), "credited": D(0), "revision": 1,
}  # fmt: skip


def frame(rows: list[Row], schema: Any) -> pl.DataFrame:
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=dict(schema))


def linked(
    deal: Row = DEAL,
    lines: list[Row] | None = None,
    invoice: Row | None = INVOICE,
    found: list[Row] | None = None,
    links: list[tuple[str, str]] | None = None,
) -> Linked:
    """One deal and its invoice; found and links: by default the invoice's lines are those of the deal, and known."""
    lines = [deal_line()] if lines is None else lines
    found = [line_of(line) for line in lines] if found is None else found
    pairs = [(line["line_id"], f"x-{line['line_id']}") for line in lines] if links is None else links
    known = [{"document_id": "deal", "line_id": ours, "line_item_id": theirs} for ours, theirs in pairs]
    return Linked(
        sources=frame([deal], SOURCE_STATE),
        source_lines=frame(lines, DOCUMENT_LINES),
        invoices=frame([invoice] if invoice else [], INVOICE_STATE),
        invoice_lines=frame(found, INVOICE_LINES),
        line_links=frame(known, LINE_LINKS),
    )


def with_bases(books: Linked, agreed: Linked | None = None) -> Linked:
    """The same books, which agreed when they were as `agreed` has them (default: as they would agree now)."""
    values = agreed_values(agreed or books)
    source, invoice = values["source"].item(), values["invoice"].item()
    return replace(
        books,
        sources=books.sources.with_columns(base=pl.lit(source, pl.String)),
        invoices=books.invoices.with_columns(base=pl.lit(invoice, pl.String)),
    )


AS_MADE = linked()


def after(books: Linked) -> Linked:
    """Books that agreed as deal and invoice were made."""
    return with_bases(books, AS_MADE)


def move_of(books: Linked, **options: Any) -> Row:
    (row,) = decide_moves(books, locked_until=LOCK, **options).to_dicts()
    return row


# --- The table ----------------------------------------------------------------------------------------------

BROUGHT: dict[str, Row] = {  # what brings an invoice into each state
    "absent": {},
    "voided": {"status": "VOIDED"},
    "deleted": {"status": "DELETED"},
    "credited": {"status": "PAID", "credited": D(120)},
    "unknown": {"status": "ARCHIVED"},
    "locked": {"date": date(2026, 1, 31)},
    "paid": {"status": "PAID", "paid": D(120)},
    "part_settled": {"status": "AUTHORISED", "paid": D("0.01")},
    "authorised": {"status": "AUTHORISED"},
    "submitted": {"status": "SUBMITTED"},
    "draft": {},
}
HAPPENED: dict[str, Row] = {  # what brings a deal into each change, as far as the deal alone tells it
    "gone": {"gone": True},
    "out_of_scope": {"in_scope": False},
    "lost": {"won": False},
    "before_cut_over": {"due_by_date": False},
    "unfit": {"reason": "its account has no contact", "contact_id": None},
    "into_lock": {"date": LOCK},
    "currency": {"currency": "EUR"},
    "contact": {"contact_id": "c-2"},
    "header": {"due": date(2026, 5, 1)},
}
OTHER_LINES = {"less": D(40), "more": D(60), "lines": D(50)}


def happened(state: str, change: str) -> Linked:
    """Books in which this happened to a deal whose invoice is in this state."""
    invoice = None if state == "absent" else INVOICE | BROUGHT[state]
    day = date(2026, 1, 31) if state == "locked" else DEAL["date"]
    deal = DEAL | {"date": day} | HAPPENED.get(change, {})
    if change in OTHER_LINES:
        price = OTHER_LINES[change]
        deal |= {"subtotal": price * 2}
        if state == "credited":  # prices that hold their tax can be held against what was credited
            invoice = invoice and invoice | {"line_amounts": "Inclusive"}
            deal |= {
                "line_amounts": "Inclusive",
                "total": {"less": D(-6), "more": D(6), "lines": D(0)}[change],
            }
        text = "Other work" if change == "lines" else "Work a"
        lines = [deal_line(unit_price=price, description=text)]
        return after(linked(deal, lines, invoice, [line_of(deal_line())]))
    if change == "won_again":
        books = linked(deal, invoice=invoice)
        return with_bases(books, replace(books, sources=books.sources.with_columns(won=pl.lit(False))))
    if change == "agreed":
        return with_bases(linked(deal, invoice=invoice))
    if change == "drifted":
        edited = invoice and invoice | {"reference": "Somebody's own"}
        return with_bases(linked(deal, invoice=edited), linked(deal, invoice=INVOICE | {"date": day}))
    books = linked(deal, invoice=invoice)
    return books if change == "nothing" else after(books)  # without a base, nobody can say that they agreed


# What is dated in a locked period already does not move into one.
REACHED = [cell for cell in product(STATES, CHANGES) if cell != ("locked", "into_lock")]


def test_every_state_has_a_cell_for_every_change_and_no_cell_is_idle() -> None:
    assert [set(TABLE[state]) for state in STATES] == [set(CHANGES)] * len(STATES)
    assert {cell for cells in TABLE.values() for cell in cells.values()} == set(CELLS)


def renamed(books: Linked, place: int) -> Linked:
    """The same deal and invoice under other ids."""
    frames = {}
    for name, one in vars(books).items():
        ids = {key: pl.lit(f"{key} {place}") for key in ("document_id", "invoice_id") if key in one.columns}
        frames[name] = one.with_columns(**ids)
    return Linked(**frames)


def together(parts: list[Linked]) -> Linked:
    return Linked(**{name: pl.concat([getattr(part, name) for part in parts]) for name in vars(parts[0])})


@pytest.fixture(scope="module")
def reached() -> list[Linked]:
    return [happened(state, change) for state, change in REACHED]


@pytest.fixture(scope="module")
def moves_by_rule(reached: list[Linked]) -> dict[tuple[str, str], Row]:
    books = together([renamed(one, place) for place, one in enumerate(reached)])
    moves = decide_moves(books, withdraw="void", locked_until=LOCK)
    return dict(zip(REACHED, moves.to_dicts(), strict=True))


def test_the_page_tells_the_order_in_which_the_code_decides() -> None:
    assert tuple(_changes(LOCK)) == CHANGES
    assert set(_states(LOCK)) == set(STATES)


@pytest.mark.parametrize(("state", "change"), REACHED)
def test_what_happened_leads_to_its_cell(moves_by_rule, state: str, change: str) -> None:
    moved = moves_by_rule[state, change]
    cell = CELLS[TABLE[state][change]]
    assert (moved["move"], moved["call"]) == (cell.move, cell.call)
    # Of an invoice that is not there nothing can be compared: what happened to its source matters not.
    assert state == "absent" or moved["rule"].partition(",")[0] == f"{state} x {change}"
    assert "{" not in moved["reason"]
    assert (moved["before"] is None) == (moved["move"] == "keep" or state == "absent")
    assert moved["needs"] == {"rule": "nothing"}.get(cell.needs, cell.needs)


OPTIONAL = st.sampled_from([None, "x", "y"])
DAYS = st.sampled_from([None, date(2026, 1, 31), date(2026, 2, 1)])
AMOUNTS = st.sampled_from([None, D(0), D(1), D(120)])
COMMON = {
    "contact_id": OPTIONAL, "currency": OPTIONAL, "date": DAYS, "due": DAYS, "reference": OPTIONAL,
    "line_amounts": OPTIONAL, "subtotal": AMOUNTS, "total": AMOUNTS,
    "base": st.sampled_from([None, '{"stands":false}', '{"stands":true}']),
}  # fmt: skip
TRUTH = st.booleans()
DEALS = st.fixed_dictionaries(
    COMMON | dict.fromkeys(("won", "gone", "in_scope"), TRUTH)
    | {"due_by_date": st.sampled_from([None, True, False]), "reason": OPTIONAL}
)  # fmt: skip
STATUS = st.sampled_from(
    [None, "", "ARCHIVED", "DRAFT", "SUBMITTED", "AUTHORISED", "PAID", "VOIDED", "DELETED"]
)
INVOICES = st.fixed_dictionaries(COMMON | {"status": STATUS, "paid": AMOUNTS, "credited": AMOUNTS})
QUANTITIES = st.sampled_from([D(1), D(2)])
LINES = st.lists(
    st.fixed_dictionaries(
        {"description": OPTIONAL, "quantity": QUANTITIES, "unit_price": QUANTITIES, "item": OPTIONAL}
    ),
    max_size=4,
)
KNOWN = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=3, unique_by=(lambda p: p[0], lambda p: p[1])
)
NAMES = "abcde"


def numbered(lines: list[Row], **own: Any) -> list[Row]:
    ((key, prefix),) = own.items()
    return [
        line | {key: prefix + NAMES[place], "position": place + 1, "document_id": "deal", "invoice_id": "inv"}
        for place, line in enumerate(lines)
    ]


@settings(max_examples=40)
@given(DEALS, st.none() | INVOICES, LINES, LINES, KNOWN, st.sampled_from(["ask", "void"]), st.booleans())
def test_whatever_two_books_say_there_is_one_move_for_it(
    deal, invoice, lines, found, known, withdraw, lock
) -> None:
    """The whole product, with values that are not there, and statuses that nobody knows."""
    books = linked(
        {"document_id": "deal", "link_id": "link", "invoice_id": "inv", **deal},
        numbered(lines, line_id=""),
        invoice and {"invoice_id": "inv", **invoice},
        numbered(found, line_item_id="x-"),
        [(NAMES[ours], f"x-{NAMES[theirs]}") for ours, theirs in known],
    )
    moves = decide_moves(books, withdraw=withdraw, locked_until=LOCK if lock else None)
    (row,) = moves.to_dicts()
    assert moves.schema == pl.Schema(MOVES)
    assert all(row[name] for name in ("document_id", "move", "call", "needs", "reason", "rule"))
    state, change = row["rule"].partition(",")[0].split(" x ")
    assert (state, change) in {(state, change) for state, cells in TABLE.items() for change in cells}
    # Nobody is asked for what calls nothing, and nothing is called where something is to be mended.
    assert (row["call"] == "none") == (row["needs"] == "mending" or row["move"] == "keep")
    bodies = call_bodies(books, moves)
    assert set(bodies) == ({"deal"} if row["call"] in ("update", "delete", "void") else set())
    if row["call"] == "void":
        assert state == "authorised"
    if row["call"] in ("update", "delete"):
        assert state in ("draft", "submitted")


def test_many_are_decided_as_each_is_alone_and_in_their_order(reached: list[Linked]) -> None:
    places = random.Random(7).sample(range(len(reached)), 24)
    moves = decide_moves(together([renamed(reached[place], place) for place in places]), locked_until=LOCK)
    ids = {"document_id": None, "invoice_id": None}
    assert moves["document_id"].to_list() == [f"document_id {place}" for place in places]
    assert [row | ids for row in moves.to_dicts()] == [move_of(reached[place]) | ids for place in places]


# --- What asks, and what stops ------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["gone", "lost"])
@pytest.mark.parametrize(("withdraw", "needs"), [("ask", "approval"), ("void", "nothing")])
def test_the_draft_of_a_lost_or_deleted_deal_is_deleted_by_rule_or_asked_for(change, withdraw, needs) -> None:
    moved = move_of(happened("draft", change), withdraw=withdraw)
    assert (moved["call"], moved["needs"]) == ("delete", needs)
    assert ("by_setting" in moved["rule"]) == (withdraw == "ask")


@pytest.mark.parametrize("state", ["authorised", "part_settled", "paid"])
def test_no_rule_touches_what_is_approved_without_a_yes(moves_by_rule, state: str) -> None:
    moves = [moved for (found, _), moved in moves_by_rule.items() if found == state]
    assert {moved["needs"] for moved in moves if moved["call"] != "none"} == {"approval"}


def test_a_cut_over_that_moved_deletes_no_draft_unasked() -> None:
    assert move_of(happened("draft", "before_cut_over"), withdraw="void")["needs"] == "approval"


def test_without_a_base_a_draft_is_changed_only_with_a_yes() -> None:
    moved = move_of(linked(DEAL | {"reference": "New"}))
    assert (moved["call"], moved["needs"], moved["rule"]) == (
        "update",
        "approval",
        "draft x header, base_unknown",
    )
    assert DOUBT_WORDS["base_unknown"] in moved["reason"]


def test_a_draft_that_somebody_changed_too_is_changed_only_with_a_yes() -> None:
    edited = INVOICE | {"due": date(2026, 4, 15)}
    moved = move_of(after(linked(DEAL | {"reference": "New"}, invoice=edited)))
    assert (moved["call"], moved["needs"], moved["rule"]) == (
        "update",
        "approval",
        "draft x header, both_changed",
    )


@pytest.mark.parametrize("state", ["draft", "authorised", "paid"])
def test_what_only_xero_changed_is_told_and_never_undone(state: str) -> None:
    moved = move_of(happened(state, "drifted"), withdraw="void")
    assert (moved["move"], moved["call"]) == ("tell", "none")


def test_an_invoice_that_somebody_voided_is_told_until_it_is_accepted() -> None:
    voided = linked(invoice=INVOICE | {"status": "VOIDED"})
    assert move_of(after(voided))["rule"] == "voided x drifted"
    assert move_of(with_bases(voided))["move"] == "keep"


def test_a_text_that_xero_cut_short_is_no_change() -> None:
    cut = [line_of(deal_line(), description="Wor")]
    assert move_of(with_bases(linked(found=cut)))["rule"] == "draft x agreed"


def test_accounts_and_taxes_that_somebody_changed_in_xero_are_no_change() -> None:
    recoded = [line_of(deal_line(), account="260", tax="RROUTPUT", tracking='[{"Name":"Region"}]')]
    assert move_of(after(linked(found=recoded)))["rule"] == "draft x agreed"


@pytest.mark.parametrize(
    "says",
    [{"description": "Play"}, {"quantity": D(3)}, {"unit_price": D(49)}, {"discount": D(1)}, {"item": "GC1"}],
)
def test_all_that_belongs_to_the_crm_is_a_change_of_the_deal(says: Row) -> None:
    books = linked(lines=[deal_line(**says)], found=[line_of(deal_line())])
    assert move_of(after(books))["call"] == "update"
    (line,) = body_of(after(books))["LineItems"]
    fields = {"description": "Description", "quantity": "Quantity", "unit_price": "UnitAmount",
              "discount": "DiscountRate", "item": "ItemCode"}  # fmt: skip
    ((name, value),) = says.items()
    assert line[fields[name]] == value


def test_an_item_that_the_deal_does_not_tell_stays_as_it_is() -> None:
    books = linked(found=[line_of(deal_line(), item="GC1")])
    assert move_of(books)["rule"] == "draft x nothing"


def test_a_submitted_invoice_gets_no_line_without_an_account() -> None:
    added = [deal_line(), deal_line("b", 2, account=None, tax=None)]
    books = linked(lines=added, found=[line_of(deal_line())])
    submitted = replace(books, invoices=books.invoices.with_columns(status=pl.lit("SUBMITTED")))
    moved = move_of(after(submitted))
    assert (moved["move"], moved["call"], moved["needs"]) == ("refuse", "none", "mending")
    assert move_of(after(books))["call"] == "update"  # a draft may


def test_a_draft_goes_on_agreeing_after_it_was_approved_and_paid() -> None:
    for status, paid in (("SUBMITTED", 0), ("AUTHORISED", 0), ("AUTHORISED", 60), ("PAID", 120)):
        assert move_of(after(linked(invoice=INVOICE | {"status": status, "paid": D(paid)})))["move"] == "keep"


# --- Amounts ------------------------------------------------------------------------------------------------

CENTS = st.integers(0, 10**6).map(lambda cents: D(cents) / 100)


def priced(deal: Row, invoice: Row) -> Linked:
    """An approved invoice of one line, of which the deal has another price now."""
    line = deal_line(unit_price=D(1))
    return after(
        linked(DEAL | deal, [line], INVOICE | {"status": "AUTHORISED"} | invoice, [line_of(deal_line())])
    )


@settings(max_examples=40)
@given(CENTS, CENTS, CENTS)
def test_a_credit_makes_up_for_what_is_claimed_too_much_and_never_twice(claimed, credited, wanted) -> None:
    invoice = {"total": claimed + credited, "credited": credited, "line_amounts": "Inclusive"}
    moved = move_of(priced({"total": wanted, "line_amounts": "Inclusive"}, invoice))
    if wanted < claimed:
        assert moved["call"] == "credit"
        assert json.loads(moved["after"]) == {"credit": f"{claimed - wanted:.2f}", "tax": "included"}
    else:
        assert moved["call"] in ("none", "remake")


@pytest.mark.parametrize("total", [D(0), D(102), D(120), D(999), None])
def test_another_tax_in_the_ledger_is_no_difference_in_price(total: Decimal | None) -> None:
    less = priced({"subtotal": D(80), "total": D(96)}, {"total": total})
    assert json.loads(move_of(less)["after"]) == {"credit": "20.00", "tax": "excluded"}
    same = priced({"subtotal": D(100), "total": D(120)}, {"total": total})
    assert move_of(same)["rule"] == "authorised x lines"


def test_what_was_credited_with_its_tax_is_not_reckoned_against_prices_without() -> None:
    assert move_of(priced({"subtotal": D(80)}, {"credited": D(6)}))["move"] == "tell"


def test_what_is_made_again_has_the_next_revision() -> None:
    books = happened("voided", "won_again")
    again = replace(books, invoices=books.invoices.with_columns(revision=pl.lit(3, pl.Int64)))
    assert json.loads(move_of(again)["after"]) == {"revision": 4}


# --- Lines --------------------------------------------------------------------------------------------------


def pairs_of(books: Linked) -> list[tuple[str | None, str | None, str]]:
    return [row[1:] for row in pair_lines(books).iter_rows()]


@settings(max_examples=40)
@given(LINES, LINES, KNOWN)
def test_each_line_of_both_sides_has_one_place(lines, found, known) -> None:
    links = [(NAMES[ours], f"x-{NAMES[theirs]}") for ours, theirs in known]
    books = linked(lines=numbered(lines, line_id=""), found=numbered(found, line_item_id="x-"), links=links)
    pairs = pairs_of(books)
    assert sorted(ours for ours, _, _ in pairs if ours) == list(NAMES[: len(lines)])
    assert sorted(theirs for _, theirs, _ in pairs if theirs) == [f"x-{name}" for name in NAMES[: len(found)]]
    there = {
        (ours, theirs)
        for ours, theirs in links
        if ours < NAMES[len(lines)] and theirs < f"x-{NAMES[len(found)]}"
    }
    assert {(ours, theirs) for ours, theirs, rule in pairs if rule == "known"} == there
    for ours, theirs, rule in pairs:
        assert (ours is None) == (rule in ("removed", "foreign"))
        assert (theirs is None) == (rule == "new")
    turned = replace(
        books, source_lines=books.source_lines.reverse(), invoice_lines=books.invoice_lines.reverse()
    )
    assert pairs_of(turned) == pairs


@given(LINES.filter(bool), st.randoms())
def test_lines_that_were_only_put_in_another_order_are_all_found_again(lines, rng) -> None:
    found = numbered(rng.sample(lines, len(lines)), line_item_id="x-")
    books = linked(lines=numbered(lines, line_id=""), found=found, links=[])
    assert {rule for _, _, rule in pairs_of(books)} <= {"place", "content"}


@pytest.mark.parametrize(
    ("lines", "found", "pairs"),
    [
        # A price that changed, where the description is told once.
        ([("A", 1), ("B", 9)], [("A", 1), ("B", 2)], ["place", "text"]),
        # The same, and the order with it.
        ([("B", 9), ("A", 1)], [("A", 1), ("B", 2)], ["text", "content"]),
        # Told twice: which one it was is not sure.
        ([("A", 8), ("A", 9)], [("A", 1), ("A", 2)], ["new", "new", "foreign", "foreign"]),
        # Other words for the same price, and nothing else is left.
        ([("A", 1), ("C", 2)], [("A", 1), ("B", 2)], ["place", "share"]),
        ([("C", 1), ("D", 2)], [("A", 1), ("B", 2)], ["new", "new", "foreign", "foreign"]),
        ([("A", 1)], [("A", 1), ("B", 2)], ["place", "foreign"]),
        ([("A", 1), ("B", 2)], [("A", 1)], ["place", "new"]),
    ],
)
def test_lines_without_a_link_are_paired_only_where_it_is_sure(lines, found, pairs) -> None:
    def rows(told: list[tuple[str, int]]) -> list[Row]:
        return [{"description": text, "quantity": D(1), "unit_price": D(price)} for text, price in told]

    books = linked(
        lines=numbered(rows(lines), line_id=""), found=numbered(rows(found), line_item_id="x-"), links=[]
    )
    assert [rule for _, _, rule in pairs_of(books)] == pairs
    changed = move_of(after(books))
    if "foreign" in pairs:
        assert (changed["needs"], "lines_unsure" in changed["rule"]) == ("approval", True)


def test_the_same_item_in_the_same_place_is_the_same_line_whatever_is_said_of_it() -> None:
    ours = [
        deal_line("a", 1, item="GC1", description="New"),
        deal_line("b", 2, item="GC2", description="Newer"),
    ]
    found = [line_of(line, description=f"Old {place}", unit_price=D(1)) for place, line in enumerate(ours)]
    assert [rule for *_, rule in pairs_of(linked(lines=ours, found=found, links=[]))] == ["share", "share"]
    swapped = [line | {"position": 3 - line["position"]} for line in found]
    assert "share" not in [rule for *_, rule in pairs_of(linked(lines=ours, found=swapped, links=[]))]


def test_another_item_of_the_same_price_is_another_line() -> None:
    books = linked(
        lines=[deal_line(item="GC1")], found=[line_of(deal_line(), item="GC2", description="Old")], links=[]
    )
    assert [rule for *_, rule in pairs_of(books)] == ["new", "foreign"]


def test_a_line_of_text_is_not_taken_for_one_with_an_amount() -> None:
    text = [line_of(deal_line(), quantity=None, unit_price=None)]
    assert [rule for *_, rule in pairs_of(linked(found=text, links=[]))] == ["new", "foreign"]


def test_a_line_of_somebody_in_xero_is_never_taken_away_unasked() -> None:
    own = line_of(deal_line("z", 2))
    books = linked(lines=[deal_line(quantity=D(3))], found=[line_of(deal_line()), own], links=[("a", "x-a")])
    moved = move_of(after(books))
    assert (moved["call"], moved["needs"]) == ("update", "approval")


def test_a_line_that_left_the_deal_leaves_the_draft_by_its_link() -> None:
    both = [deal_line(), deal_line("b", 2)]
    books = linked(lines=both[:1], found=[line_of(line) for line in both], links=[("a", "x-a"), ("b", "x-b")])
    agreed = linked(lines=both)
    moved = move_of(with_bases(books, agreed))
    assert (moved["call"], moved["needs"]) == ("update", "nothing")
    assert [line["LineItemID"] for line in body_of(with_bases(books, agreed))["LineItems"]] == ["x-a"]


# --- The body -----------------------------------------------------------------------------------------------


def body_of(books: Linked) -> Row:
    return call_bodies(books, decide_moves(books))["deal"]


def test_a_changed_line_keeps_id_account_tax_and_tracking_and_the_contact_is_its_id_alone() -> None:
    tracking = '[{"Name":"Region","Option":"North"}]'
    lines = [
        deal_line(unit_price=D("12.3456"), discount=D("7.5"), item="GC1"),
        deal_line("b", 2),
        deal_line("c", 3, item="GC2"),
    ]
    found = [
        line_of(deal_line(), account="260", tax="RROUTPUT", tracking=tracking, discount=D(5)),
        line_of(deal_line("b", 2), account="270", tax_amount=D("20.01"), description="Work  b"),
    ]
    books = linked(DEAL | {"contact_id": "c-2", "due": date(2026, 4, 30)}, lines, found=found)
    assert dumps(body_of(after(books)), sort=False) == dumps(
        {
            "InvoiceID": "inv",
            "Contact": {"ContactID": "c-2"},
            "DueDate": "2026-04-30",
            "LineItems": [
                {
                    "LineItemID": "x-a", "Description": "Work a", "Quantity": D(2), "UnitAmount": D("12.3456"),
                    "DiscountRate": D("7.5"), "AccountCode": "260", "TaxType": "RROUTPUT", "ItemCode": "GC1",
                    "Tracking": loads(tracking),
                },
                {
                    "LineItemID": "x-b", "Description": "Work  b", "Quantity": D(2), "UnitAmount": D(50),
                    "AccountCode": "270", "TaxType": "OUTPUT2", "TaxAmount": D("20.01"),
                },
                {
                    "Description": "Work c", "Quantity": D(2), "UnitAmount": D(50), "AccountCode": "200",
                    "TaxType": "OUTPUT2", "ItemCode": "GC2",
                },
            ],
        },
        sort=False,
    )  # fmt: skip


def test_a_discount_that_went_is_sent_as_nothing() -> None:
    for discount in ({"discount": D(5)}, {"discount_amount": D(5)}):
        books = linked(found=[line_of(deal_line(), **discount)])
        (line,) = body_of(books)["LineItems"]
        assert line["DiscountRate"] == 0


def test_a_draft_is_deleted_and_an_approved_invoice_voided() -> None:
    for state, status in (("draft", "DELETED"), ("submitted", "DELETED"), ("authorised", "VOIDED")):
        assert body_of(happened(state, "lost")) == {"InvoiceID": "inv", "Status": status}


def written(books: Linked, body: Row) -> Linked:
    """The books after a vendor has taken the body as the facts say: what is not sent stays, of lines what is sent."""
    old = {row["line_item_id"]: row for row in books.invoice_lines.to_dicts()}
    lines = []
    for position, sent in enumerate(body["LineItems"], start=1):
        kept = old.get(sent.get("LineItemID", ""), {"invoice_id": "inv", "line_item_id": f"made {position}"})
        told = {
            "description": sent["Description"], "quantity": sent["Quantity"], "unit_price": sent["UnitAmount"],
            "discount": sent.get("DiscountRate", kept.get("discount")), "account": sent.get("AccountCode"),
            "tax": sent.get("TaxType"), "item": sent.get("ItemCode", kept.get("item")),
        }  # fmt: skip
        without = {"discount_amount": None} if "DiscountRate" in sent else {}
        lines.append(kept | {"position": position} | told | without)
    (header,) = books.invoices.to_dicts()
    names = {"currency": "CurrencyCode", "reference": "Reference", "line_amounts": "LineAmountTypes"}
    header |= {name: body[field] for name, field in names.items() if field in body}
    days = {"date": "Date", "due": "DueDate"}
    header |= {name: date.fromisoformat(body[field]) for name, field in days.items() if field in body}
    header |= {"contact_id": body["Contact"]["ContactID"]} if "Contact" in body else {}
    return replace(books, invoices=frame([header], INVOICE_STATE), invoice_lines=frame(lines, INVOICE_LINES))


WORDY = st.lists(
    st.fixed_dictionaries({
        "description": st.sampled_from(["A", "B", " b  c "]), "quantity": QUANTITIES, "unit_price": QUANTITIES,
        "item": OPTIONAL, "discount": st.sampled_from([None, D(0), D("2.5")]), "account": OPTIONAL, "tax": OPTIONAL,
    }),
    min_size=1, max_size=4,
)  # fmt: skip
HEADERS = st.fixed_dictionaries(
    {name: COMMON[name] for name in ("currency", "due", "reference", "line_amounts")}
    | {"contact_id": st.sampled_from(["x", "y"])}
)


@settings(max_examples=40)
@given(HEADERS, HEADERS, WORDY, WORDY, KNOWN)
def test_what_was_changed_whole_agrees_and_is_not_changed_again(deal, invoice, lines, found, known) -> None:
    links = [(NAMES[ours], f"x-{NAMES[theirs]}") for ours, theirs in known]
    theirs = numbered(found, line_item_id="x-")
    books = linked(DEAL | deal, numbered(lines, line_id=""), INVOICE | invoice, theirs, links)
    moves = decide_moves(books)
    if moves["call"].item() == "none":
        assert moves["rule"].item() == "draft x nothing"
        return
    body = call_bodies(books, moves)["deal"]
    done = written(books, body)
    assert move_of(done)["rule"] == "draft x nothing"
    assert move_of(with_bases(done))["rule"] == "draft x agreed"
    stayed = {line["LineItemID"] for line in body["LineItems"] if "LineItemID" in line}
    for line in theirs:  # what the ledger said of a line that stays, it says still
        if line["line_item_id"] in stayed:
            (now,) = done.invoice_lines.filter(pl.col("line_item_id") == line["line_item_id"]).to_dicts()
            assert (now["account"], now["tax"]) == (
                line["account"] or now["account"],
                line["tax"] or now["tax"],
            )


# --- Reading ------------------------------------------------------------------------------------------------


def test_an_invoice_is_read_exactly_as_xero_shows_it() -> None:
    body = loads(
        """{"InvoiceID":"ABC","InvoiceNumber":"SF-1","Status":"DRAFT","Contact":{"ContactID":"C"},"CurrencyCode":"GBP",
        "Date":"/Date(1772323200000+0000)/","DueDate":"/Date(-86400000+0000)/","LineAmountTypes":"Exclusive",
        "SubTotal":24.10,"Total":28.92,"AmountPaid":0.00,"AmountCredited":1,"LineItems":[
        {"LineItemID":"l","Description":"d","Quantity":1.2345,"UnitAmount":19.9999,"TaxAmount":4.82,"AccountCode":"200",
        "Tracking":[{"Option":"North","Name":"Region"}]},{"Description":"text","Tracking":[]}]}"""
    )
    headers, lines = read_invoices([body])
    (header,), (line, text) = headers.to_dicts(), lines.to_dicts()
    assert (header["invoice_id"], header["date"], header["due"]) == (
        "abc",
        date(2026, 3, 1),
        date(1969, 12, 31),
    )
    assert (header["subtotal"], header["credited"]) == (D("24.10"), D(1))
    assert (line["quantity"], line["unit_price"], line["tax_amount"]) == (
        D("1.2345"),
        D("19.9999"),
        D("4.82"),
    )
    assert line["tracking"] == '[{"Name":"Region","Option":"North"}]'
    assert (text["position"], text["quantity"], text["tracking"]) == (2, None, None)


def test_no_invoices_and_no_deals_give_no_moves() -> None:
    books = Linked(*(pl.DataFrame(schema=dict(one)) for one in
                     (SOURCE_STATE, DOCUMENT_LINES, INVOICE_STATE, INVOICE_LINES, LINE_LINKS)))  # fmt: skip
    moves = decide_moves(books)
    assert (moves.height, moves.schema, call_bodies(books, moves)) == (0, pl.Schema(MOVES), {})


# --- The page -----------------------------------------------------------------------------------------------

INTRODUCTION = """# What becomes of an invoice when its source changes

Made from the table in `reconcile/moves.py` (`python tests/reconcile/test_moves.py` writes it anew; a test holds it to
the code). A column is the state of an invoice, a row what happened to its source: the first that holds decides.
A *call* is legal in that state by the notes on Xero's rules; what needs *approval* is a proposal, and what needs
*mending* is told or refused. Lines without a known link are paired by position and content.

One thing goes before the table: where a credit note of ours stands that is of another difference than there is now,
nothing is done about its invoice (approved, or voided since), and that is told (`credited_otherwise`).
"""


def page() -> str:
    def table(head: list[str], rows: list[list[str]]) -> str:
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

    changes = table(
        ["change", "what happened"], [[f"`{name}`", words] for name, words in CHANGE_WORDS.items()]
    )
    grid = table(
        ["", *(f"`{state}`" for state in STATES)],
        [[f"`{change}`", *(TABLE[state][change] for state in STATES)] for change in CHANGES],
    )
    cells = table(
        ["move", "kind", "call", "needs", "said"],
        [[name, cell.move, cell.call, cell.needs, cell.words] for name, cell in CELLS.items()],
    )
    doubts = table(
        ["what makes a call ask", "why"], [[f"`{name}`", words] for name, words in DOUBT_WORDS.items()]
    )
    return "\n".join([INTRODUCTION, changes, "## The table\n", grid, "## The moves\n", cells, doubts])


def test_the_page_shows_the_table_of_the_code() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), "write it with: python tests/reconcile/test_moves.py"


if __name__ == "__main__":
    DOCS.write_text(page(), encoding="utf-8")

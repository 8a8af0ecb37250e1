"""A credit note takes back exactly what its invoice claims too much, line by line, whatever was changed."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_moves import DEAL, INVOICE, deal_line, line_of, linked

from reconcile.credits import Credits, credit_number, credit_numbers, credit_operations, other_credit
from reconcile.mapped import DocumentLink, DocumentMapping, Numbering
from reconcile.model import RAW

D = Decimal
ON = date(2026, 11, 29)
Row = dict[str, Any]
MAPPING = DocumentMapping(
    salesforce="Opportunity", lines="OpportunityLineItem", scope=None, stages=None, xero="Invoice", date="CloseDate",
    cut_over=date(2026, 1, 1), status=((None, "AUTHORISED"),), number=Numbering("derived", "SF-", 5), due_days=None,
    reference=None, amount="subtotal", line_amounts="exclusive", account="200", tax="OUTPUT2", items="known",
    link=DocumentLink("Id__c", None, None, None), changes="move", settled="read", credits="draft", at="here",
)  # fmt: skip


def cents(quantity: Any, price: Any, discount: Any) -> Decimal:
    """Reckon a line's amount anew: exactly, and half a cent up."""
    exact = Fraction(quantity) * Fraction(price) * (100 - Fraction(discount or 0)) / 100
    return D(int(exact * 100 + Fraction(1, 2))) / 100


def amount(line: Row) -> Decimal:
    return cents(line["quantity"], line["unit_price"], line.get("discount"))


def decided(**fields: Any) -> pl.DataFrame:
    row = {
        "document_id": "deal",
        "credit_number": "SF-DEAL-C1A2B3C",
        "reason": "less",
        "rule": "x",
        "link_id": "link",
    }
    return pl.DataFrame([{**row, **fields}])


def credited(
    old: list[Row], new: list[Row], of: Credits | None = None, **invoice: Any
) -> tuple[list[Row], str]:
    """Give the lines of the credit note's body, and why there is none."""
    deal = {**DEAL, "subtotal": sum(map(amount, new), D(0)), **invoice.pop("deal", {})}
    found = {**INVOICE, "status": "AUTHORISED", "subtotal": sum(map(amount, old), D(0)), **invoice}
    links = [(line["line_id"], f"x-{line['line_id']}") for line in old]
    books = linked(deal, new, found, [line_of(line) for line in old], links)
    bodies = {"inv": {"Contact": {"ContactID": "c-1"}, "CurrencyRate": D("1.5")}}
    made, why = credit_operations(decided(), books, bodies, MAPPING, of or Credits(ON))
    if not made:
        return [], why["deal"]
    (row,) = made
    body = json.loads(row["native_after"], parse_float=Decimal, parse_int=Decimal)
    assert (body["Type"], body["Status"], body["CurrencyRate"]) == ("ACCRECCREDIT", "DRAFT", D("1.5"))
    told = json.loads(row["after"])
    assert D(told["subtotal"] or told["total"]) == sum((D(one["amount"]) for one in told["lines"]), D(0))
    return body["LineItems"], ""


LINE = st.fixed_dictionaries(
    {
        "quantity": st.integers(1, 4000).map(lambda n: D(n) / 100),
        "unit_price": st.integers(1, 900_000).map(lambda n: D(n) / 10_000),
        "discount": st.sampled_from([None, None, D("7.5"), D("33.33")]),
        "account": st.sampled_from(["200", "210"]),
        "tax": st.sampled_from(["OUTPUT2", "ZERORATEDOUTPUT"]),
    }
)
SHARE = st.integers(0, 99).map(lambda n: Fraction(n, 100))
HOW = st.sampled_from(["same", "removed", "fewer", "cheaper", "discounted", "both"])


def less(line: Row, how: str, share: Fraction) -> Row | None:
    """What is left of a line; null: it was taken out."""

    def part(value: Decimal, places: int) -> Decimal:
        return D(int(Fraction(value) * share * 10**places)) / 10**places

    if how == "removed":
        return None
    changed = dict(line)
    if how in ("fewer", "both"):
        changed["quantity"] = part(line["quantity"], 2)
    if how in ("cheaper", "both"):
        changed["unit_price"] = part(line["unit_price"], 4)
    if how == "discounted":
        changed["discount"] = D(50)
    return changed


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(LINE, HOW, SHARE), min_size=1, max_size=5))
def test_a_credit_note_takes_back_what_is_claimed_too_much(sold: list[tuple[Row, str, Fraction]]) -> None:
    old = [deal_line(str(n), n + 1, **line) for n, (line, _, _) in enumerate(sold)]
    kept = [less(line, how, share) for line, (_, how, share) in zip(old, sold, strict=True)]
    new = [line for line in kept if line is not None]
    gone = [amount(line) - (amount(left) if left else 0) for line, left in zip(old, kept, strict=True)]
    assume(sum(gone) > 0)
    lines, why = credited(old, new)
    assert why == ""
    assert not any({"DiscountRate", "DiscountAmount"} & one.keys() for one in lines)
    assert sum(cents(one["Quantity"], one["UnitAmount"], None) for one in lines) == sum(gone)
    wanted = [(line["account"], line["tax"], part) for line, part in zip(old, gone, strict=True) if part]
    told = [
        (
            one["AccountCode"],
            one["TaxType"],
            cents(one["Quantity"], one["UnitAmount"], None),
        )
        for one in lines
    ]
    assert told == wanted


def test_half_a_cent_goes_up_as_in_xero() -> None:
    kept = deal_line("b", 2)
    (line,), why = credited([deal_line(quantity=D(1), unit_price=D("0.125")), kept], [kept])
    assert (line["UnitAmount"], why) == (D("0.125"), "")


def test_units_that_went_are_told_as_units() -> None:
    lines, _ = credited([deal_line(quantity=D(5))], [deal_line(quantity=D(3))])
    (line,) = lines
    assert (line["Quantity"], line["UnitAmount"], line["Description"]) == (2, 50, "Work a")


def test_a_lost_deal_is_credited_whole_and_prices_carry_the_discounts_that_credit_notes_do_not_know() -> None:
    old = [deal_line("a", 1, discount=D("7.5")), deal_line("b", 2)]
    lines, _ = credited(old, old, paid=D(1), deal={"won": False})
    assert [(one["Quantity"], one["UnitAmount"]) for one in lines] == [(2, D("46.25")), (2, 50)]


@pytest.mark.parametrize(
    ("old", "new", "more", "said"),
    [
        (
            [deal_line()],
            [deal_line(quantity=D(1)), deal_line("b", 2, unit_price=D(1))],
            {},
            "went up, or is new",
        ),
        (
            [deal_line(), deal_line("b", 2)],
            [deal_line(quantity=D(1)), deal_line("b", 2, unit_price=D(51))],
            {},
            "went up, or is new",
        ),
        ([deal_line()], [deal_line(quantity=D(1))], {"credited": D(1)}, "was credited before"),
        (
            [deal_line()],
            [deal_line(quantity=D(1))],
            {"subtotal": D("99.99")},
            "its lines give 50.00, and too much",
        ),
    ],
)
def test_what_can_not_be_told_to_the_cent_is_not_made(
    old: list[Row], new: list[Row], more: Row, said: str
) -> None:
    assert said in credited(old, new, **more)[1]


@pytest.mark.parametrize(
    ("of", "said"),
    [(Credits(), "could not be read"), (Credits(ON, locked_until=ON), "locked up to 2026-11-29")],
)
def test_without_an_open_day_none_is_made(of: Credits, said: str) -> None:
    assert said in credited([deal_line()], [deal_line(quantity=D(1))], of)[1]


def test_one_difference_has_one_number_and_another_has_another() -> None:
    rows = pl.DataFrame(
        {"document_id": ["006a", "006a", "006a"], "mark": ["abcdef0123", "abcdef9999", "123456"]}
    )
    numbers = rows.select(credit_number("SF-", pl.col("document_id"), pl.col("mark"))).to_series().to_list()
    assert numbers == ["SF-006A-CABCDEF", "SF-006A-CABCDEF", "SF-006A-C123456"]


def test_numbers_of_all_credit_notes_are_known_whatever_became_of_them() -> None:
    bodies = [
        {"CreditNoteID": "1", "CreditNoteNumber": " SF-1-C ", "Status": "DELETED"},
        {"CreditNoteID": "2", "CreditNoteNumber": None},
        {"CreditNoteID": "3", "CreditNoteNumber": "SF-2-C", "Status": "DRAFT"},
    ]
    rows = [
        {"record_id": body["CreditNoteID"], "body": json.dumps(body), "deleted": False} for body in bodies
    ]
    raw = pl.DataFrame([{name: row.get(name) for name in RAW} for row in rows], schema=dict(RAW))
    assert credit_numbers(raw) == ({"sf-1-c", "sf-2-c"}, {"sf-2-c"})
    assert credit_numbers(raw.clear()) == (frozenset(), frozenset())


def test_only_a_standing_note_of_another_difference_is_another_one() -> None:
    numbers = pl.DataFrame({"number": ["SF-006A-CABCDEF", "SF-006B-CABCDEF"]})
    for standing, others in {
        ("sf-006a-cabcdef",): [None, None],
        ("sf-006a-c123456",): ["SF-006A-C123456", None],
        ("sf-006a-c123456", "sf-006a-cabcdef"): [None, None],  # this difference has its own
        ("sf-006b-c12345x", "goodwill"): [None, None],
    }.items():
        found = numbers.select(other_credit(pl.col("number"), Credits(standing=frozenset(standing))))
        assert found.to_series().to_list() == others, standing

"""What an invoice says, whether a write on it is there, and what a write proves that both sides agreed on."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconcile.agreed import LINES, UNIT, WITHDRAWN, Write, invoice_piece, invoice_texts, learned, states
from reconcile.bodies import dumps, loads

Body = dict[str, Any]
D = Decimal


def line(number: int, **fields: Any) -> Body:
    known = {
        "LineItemID": f"x-{number}",
        "Description": f"Work {number}",
        "Quantity": D(2),
        "UnitAmount": D("50.25"),
    }
    return {**known, "AccountCode": "200", "TaxAmount": D("20.10"), **fields}


def invoice(*lines: Body, **fields: Any) -> Body:
    known = {
        "InvoiceID": "inv", "InvoiceNumber": "SF-1", "Status": "DRAFT", "Contact": {"ContactID": "c-1", "Name": "Edge"},
        "CurrencyCode": "GBP", "Date": "/Date(1763942400000+0000)/", "Reference": "Deal",
        "LineAmountTypes": "Exclusive",
        "SubTotal": D("100.50"), "Total": D("120.60"), "UpdatedDateUTC": "/Date(1763942400000+0000)/",
    }  # fmt: skip
    return {**known, "LineItems": list(lines or (line(1), line(2))), **fields}


def text(body: Body) -> str:
    return invoice_texts([loads(invoice_piece(body))])[0]


def state(now: Body, *, before: Body, after: Body, unit: str = UNIT) -> str:
    return states([Write(unit, text(after), invoice_piece(before), now)])[0]


EDITS = {
    "contact": {"Contact": {"ContactID": "c-2"}},
    "currency": {"CurrencyCode": "EUR"},
    "date": {"Date": "/Date(1764028800000+0000)/"},
    "reference": {"Reference": "Typed"},
    "price": {"LineItems": [line(1, UnitAmount=D(51)), line(2)]},
    "discount": {"LineItems": [line(1, DiscountRate=D("2.5")), line(2)]},
    "a line more": {"LineItems": [line(1), line(2), line(3)]},
    "a line less": {"LineItems": [line(1)]},
}
edits = st.sampled_from(sorted(EDITS))


@given(edits, edits)
def test_a_write_is_there_or_not_or_somebody_wrote_something_else(ours: str, theirs: str) -> None:
    before, after = invoice(), invoice(**EDITS[ours])
    assert state(before, before=before, after=after) == "before"
    assert state(after, before=before, after=after) == "after"
    expected = "after" if ours == theirs else "other"
    assert state(invoice(**EDITS[theirs]), before=before, after=after) == expected


@given(edits, st.sampled_from(["DELETED", "VOIDED"]))
def test_a_withdrawal_is_there_once_the_invoice_is_closed_and_goes_over_no_edit(
    edit: str, closed: str
) -> None:
    before = invoice()
    for now, expected in (
        (before, "before"), (invoice(Status=closed), "after"), (invoice(**EDITS[edit]), "other"),
    ):  # fmt: skip
        assert state(now, before=before, after=before, unit=WITHDRAWN) == expected
    assert state(invoice(Status=closed), before=before, after=invoice(**EDITS[edit])) == "gone"


def test_account_tax_and_stamp_are_no_part_of_what_is_compared() -> None:
    recoded = invoice(line(1, AccountCode="260", TaxType="NONE", TaxAmount=D(0)), line(2))
    assert text(recoded) == text(invoice()) == text(invoice(UpdatedDateUTC="/Date(1)/", TotalTax=D(1)))


def test_where_the_source_says_nothing_the_invoice_may_say_anything() -> None:
    wanted = json.loads(text(invoice(**EDITS["price"]))) | {"due": None, "currency": None}
    now = invoice(**EDITS["price"], DueDate="/Date(1764028800000+0000)/", CurrencyCode="EUR")
    assert states([Write(UNIT, dumps(wanted), invoice_piece(invoice()), now)]) == ["after"]


def links_of(sent: list[Body], found: list[Body], ids: list[str]) -> dict[str, str]:
    told = learned(dumps({UNIT: "{}", LINES: ids}), dumps({"LineItems": sent}), invoice(*found))
    return json.loads(next(native for unit, side, native in told if (unit, side) == (LINES, "xero")) or "")


@given(st.permutations([1, 2, 3, 4]), st.sets(st.sampled_from([1, 2, 3, 4])))
def test_each_line_sent_is_linked_to_its_own_however_the_reply_orders_them(
    order: list[int], new: set[int]
) -> None:
    found = [line(number, Quantity=D(number)) for number in (1, 2, 3, 4)]
    sent = [
        {k: v for k, v in one.items() if k != "LineItemID" or n not in new}
        for n, one in enumerate(found, start=1)
    ]
    links = links_of(sent, [found[number - 1] for number in order], ["a", "b", "c", "d"])
    assert links == {"a": "x-1", "b": "x-2", "c": "x-3", "d": "x-4"}


def test_a_new_line_that_the_reply_does_not_show_is_linked_to_none() -> None:
    sent = [line(1), {"Description": "New", "Quantity": D(9), "UnitAmount": D(1)}]
    assert links_of(sent, [line(1), line(7)], ["a", "b"]) == {"a": "x-1"}


def test_the_base_of_an_invoice_holds_what_it_says_and_nothing_of_a_person() -> None:
    piece = loads(invoice_piece(invoice()))
    assert piece["Contact"] == {"ContactID": "c-1"}
    assert "UpdatedDateUTC" not in piece
    assert text(invoice()) == invoice_texts([piece])[0]

"""What became of invoices, and who owes what: a tiny ledger in plain Decimals says what must come out."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile.model import (
    ACCOUNT_BALANCES,
    BALANCES,
    CREDITS,
    LINKS,
    PROJECTIONS,
    RAW,
    REJECTS,
    SETTLED,
    SETTLEMENTS,
    conform,
)
from reconcile.settled import Ledger, account_balances, balances, customer, settled, settlements
from reconcile.shown import (
    projections,
    shown_accounts,
    shown_invoices,
    shown_payments,
    shown_sources,
    withdrawn,
)
from sandbox.salesforce.custom import PRESETS

TODAY = date(2026, 11, 30)
OBJECTS = ("Invoice", "Payment", "CreditNote", "Overpayment", "Prepayment")
REFUNDS = {
    "CreditNote": "CREDITPAYMENT",
    "Overpayment": "OVERPAYMENTPAYMENT",
    "Prepayment": "PREPAYMENTPAYMENT",
}


def guid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def wire(day: date) -> str:
    stamp = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return f"/Date({int(stamp * 1000)}+0000)/"


def text_of(body: dict[str, Any]) -> str:
    """JSON with each Decimal as the number that it is."""
    marked = json.dumps(body, default=lambda number: f"#{number}#")
    return marked.replace('"#', "").replace('#"', "")


@dataclass
class Books:
    """Bodies as Xero lists them, by object. What is written here is written as Xero would, but nothing is checked."""

    bodies: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in OBJECTS})
    gone: set[str] = field(default_factory=set)
    made: int = 0
    now: datetime = datetime(2026, 11, 30, 12, tzinfo=UTC)

    def _add(self, name: str, known: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        self.made += 1
        body = {f"{name}ID": guid(self.made), **known, **fields}
        self.bodies[name].append(body)
        return body

    def invoice(self, total: Any = "100", **fields: Any) -> dict[str, Any]:
        amount = Decimal(total)
        known = {
            "Type": "ACCREC", "Status": "AUTHORISED", "Contact": {"ContactID": guid(900)}, "CurrencyCode": "GBP",
            "InvoiceNumber": f"INV-{self.made}", "Date": wire(date(2026, 11, 1)), "DueDate": wire(TODAY),
            "Total": amount, "AmountPaid": Decimal(0), "AmountCredited": Decimal(0), "AmountDue": amount,
        }  # fmt: skip
        return self._add("Invoice", known, fields)

    def credit(self, name: str = "CreditNote", total: Any = "100", **fields: Any) -> dict[str, Any]:
        amount = Decimal(total)
        known = {
            "Type": "ACCRECCREDIT" if name == "CreditNote" else f"RECEIVE-{name.upper()}", "Status": "AUTHORISED",
            "Contact": {"ContactID": guid(900)}, "CurrencyCode": "GBP", "Date": wire(date(2026, 11, 2)),
            "Total": amount, "RemainingCredit": amount, "Allocations": [],
        }  # fmt: skip
        return self._add(name, known, fields)

    def pay(self, invoice: dict[str, Any], amount: Any, **fields: Any) -> dict[str, Any]:
        sale = invoice["Type"] == "ACCREC"
        known = {
            "Status": "AUTHORISED", "PaymentType": "ACCRECPAYMENT" if sale else "ACCPAYPAYMENT",
            "Date": wire(date(2026, 11, 20)), "Amount": Decimal(amount),
            "Invoice": {"InvoiceID": invoice["InvoiceID"], "CurrencyCode": invoice["CurrencyCode"]},
        }  # fmt: skip
        paid = self._add("Payment", known, fields)
        if paid["Status"] == "AUTHORISED":
            self._move(invoice, "AmountPaid", paid["Amount"])
        return paid

    def allocate(self, credit: dict[str, Any], invoice: dict[str, Any], amount: Any) -> None:
        self.made += 1
        one = {
            "AllocationID": guid(self.made), "Amount": Decimal(amount), "Date": wire(date(2026, 11, 21)),
            "Invoice": {"InvoiceID": invoice["InvoiceID"]},
        }  # fmt: skip
        credit["Allocations"].append(one)
        credit["RemainingCredit"] -= Decimal(amount)
        self._move(invoice, "AmountCredited", Decimal(amount))

    def refund(self, credit: dict[str, Any], amount: Any, **fields: Any) -> dict[str, Any]:
        """As the spec's examples have it: a credit stands under Invoice too."""
        name = next(one for one in REFUNDS if f"{one}ID" in credit)
        side = "AR" if credit["Type"].startswith(("ACCREC", "RECEIVE")) else "AP"
        known = {
            "Status": "AUTHORISED", "PaymentType": side + REFUNDS[name], "Date": wire(date(2026, 11, 29)),
            "Amount": Decimal(amount),
            "Invoice": {"InvoiceID": credit[f"{name}ID"], "CurrencyCode": credit["CurrencyCode"]},
        }  # fmt: skip
        paid = self._add("Payment", known, fields)
        if paid["Status"] == "AUTHORISED":
            credit["RemainingCredit"] -= Decimal(amount)
        return paid

    def _move(self, invoice: dict[str, Any], name: str, amount: Decimal) -> None:
        invoice[name] += amount
        invoice["AmountDue"] -= amount
        if not invoice["AmountDue"]:
            invoice["Status"] = "PAID"

    def raw(self, shuffle: random.Random | None = None) -> dict[str, pl.DataFrame]:
        return {f"xero.{name}": self._raw_of(name, shuffle) for name in OBJECTS}

    def _raw_of(self, name: str, shuffle: random.Random | None) -> pl.DataFrame:
        rows = [
            {
                "record_id": body[f"{name}ID"],
                "deleted": body[f"{name}ID"] in self.gone,
                "body": body["text"] if "text" in body else text_of(body),
            }
            for body in self.bodies[name]
        ]
        if shuffle:
            shuffle.shuffle(rows)
        frame = pl.DataFrame(rows, schema={"record_id": str, "deleted": bool, "body": str})
        return conform(frame.with_columns(modified_at=pl.lit(self.now)), RAW)

    def ledger(self) -> Ledger:
        return settlements(self.raw())

    def settled(self, on: date = TODAY) -> pl.DataFrame:
        return settled(self.ledger(), on=on)

    def only(self, **given: Any) -> dict[str, Any]:
        (row,) = self.settled(**given).to_dicts()
        return row

    def balances(self, on: date = TODAY) -> pl.DataFrame:
        ledger = self.ledger()
        return balances(ledger, settled(ledger, on=on))

    def owed(self, kind: str = "receivable") -> dict[str, Any]:
        (row,) = self.balances().filter(pl.col("kind") == kind).to_dicts()
        return row


def sums(row: dict[str, Any]) -> tuple[Decimal, Decimal, Decimal]:
    return row["paid"], row["credited"], row["due"]


def told(ledger: Ledger) -> dict[str, str]:
    return dict(ledger.rejects.select("record_id", "reason").iter_rows())


# --- The rule ---------------------------------------------------------------------------------------------


def random_books(seed: int) -> Books:
    """Books in which only what Xero allows was done, in random order; deleted and closed things among it."""
    dice, books = random.Random(seed), Books()
    invoices = [
        books.invoice(
            money(dice),
            Type=dice.choice(["ACCREC", "ACCREC", "ACCPAY"]),
            Status=dice.choice(["AUTHORISED", "AUTHORISED", "DRAFT", "VOIDED", "DELETED"]),
            CurrencyCode=dice.choice(["GBP", "EUR", "JPY"]),
            Contact={"ContactID": guid(900 + dice.randrange(3))},
            DueDate=wire(date(2026, 11, dice.randint(25, 30))),
        )
        for _ in range(dice.randint(0, 8))
    ]
    credits = [
        books.credit(
            name := dice.choice(list(REFUNDS)),
            money(dice),
            Type=dice.choice(
                ["ACCRECCREDIT", "ACCPAYCREDIT"]
                if name == "CreditNote"
                else [f"RECEIVE-{name.upper()}", f"SPEND-{name.upper()}"]
            ),
            Status=dice.choice(["AUTHORISED", "AUTHORISED", "VOIDED"]),
            CurrencyCode=dice.choice(["GBP", "EUR", "JPY"]),
            Contact={"ContactID": guid(900 + dice.randrange(3))},
        )
        for _ in range(dice.randint(0, 5))
    ]
    for _ in range(dice.randint(0, 20)):
        if invoices:
            move(books, dice, dice.choice(invoices), dice.choice(credits) if credits else None)
    return books


def money(dice: random.Random) -> Decimal:
    return Decimal(dice.randint(1, 10 ** dice.randint(2, 9))) / 100


def part(dice: random.Random, of: Decimal) -> Decimal:
    return dice.choice([of, Decimal(dice.randint(1, int(of * 100))) / 100])


def move(books: Books, dice: random.Random, invoice: dict[str, Any], credit: dict[str, Any] | None) -> None:
    when = wire(date(2026, 11, dice.randint(1, 28)))
    if invoice["Status"] == "AUTHORISED" and dice.random() < 0.6:
        status = dice.choice(["AUTHORISED", "AUTHORISED", "DELETED"])
        books.pay(invoice, part(dice, invoice["AmountDue"]), Status=status, Date=when)
    left = credit["RemainingCredit"] if credit and credit["Status"] == "AUTHORISED" else Decimal(0)
    if credit is None or not left:
        return
    same = is_sale(invoice) == is_sale(credit) and invoice["CurrencyCode"] == credit["CurrencyCode"]
    if same and invoice["Status"] == "AUTHORISED":
        books.allocate(credit, invoice, part(dice, min(left, invoice["AmountDue"])))
    elif dice.random() < 0.5:
        books.refund(credit, part(dice, left), Status=dice.choice(["AUTHORISED", "DELETED"]))


def is_sale(document: dict[str, Any]) -> bool:
    return document["Type"].startswith(("ACCREC", "RECEIVE"))


def stands(document: dict[str, Any]) -> bool:
    return document["Status"] in ("AUTHORISED", "PAID")


seeds = st.integers(0, 10**9)
few = settings(max_examples=25)  # each is a whole set of books


@few
@given(seeds)
def test_what_is_paid_credited_and_due_is_the_total_and_is_what_xero_says(seed: int) -> None:
    books = random_books(seed)
    for row in books.settled().to_dicts():
        body = next(one for one in books.bodies["Invoice"] if one["InvoiceID"] == row["invoice_id"])
        closed = row["status"] in ("VOIDED", "DELETED")
        assert sum(sums(row)) == (0 if closed else row["total"])
        own = (body["AmountPaid"], body["AmountCredited"], Decimal(0) if closed else body["AmountDue"])
        assert sums(row) == own
        assert row["reason"] is None
    assert not told(books.ledger())


@few
@given(seeds)
def test_what_is_left_of_a_credit_is_what_xero_says(seed: int) -> None:
    books = random_books(seed)
    bodies = {body[f"{name}ID"]: body for name in REFUNDS for body in books.bodies[name]}
    credits = books.ledger().credits.to_dicts()
    assert {row["credit_id"] for row in credits} == set(bodies)
    for row in credits:
        body = bodies[row["credit_id"]]
        assert row["remaining"] == (body["RemainingCredit"] if stands(body) else 0)
        assert row["reason"] is None


@few
@given(seeds)
def test_what_contacts_owe_is_the_sum_of_what_their_invoices_say(seed: int) -> None:
    books = random_books(seed)
    expected: dict[tuple[str, str, str], list[Decimal]] = {}

    def of(body: dict[str, Any]) -> list[Decimal]:
        kind = "receivable" if is_sale(body) else "payable"
        key = (body["Contact"]["ContactID"], kind, body["CurrencyCode"])
        return expected.setdefault(key, [Decimal(0)] * 3)

    for body in books.bodies["Invoice"]:
        mine = of(body)
        if stands(body):
            mine[0] += body["AmountDue"]
            mine[1] += body["AmountDue"] if body["DueDate"] < wire(TODAY) else 0
    for name in REFUNDS:
        for body in books.bodies[name]:
            of(body)[2] += body["RemainingCredit"] if stands(body) else 0
    found = {
        (row["contact_id"], row["kind"], row["currency"]): [row["outstanding"], row["overdue"], row["credit"]]
        for row in books.balances().to_dicts()
    }
    assert found == expected


@few
@given(seeds)
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    books = random_books(seed)
    one, other = (settlements(books.raw(dice)) for dice in (None, random.Random(seed)))
    for name in ("invoices", "settlements", "credits", "rejects"):
        assert getattr(one, name).equals(getattr(other, name)), name
    mine, theirs = settled(one, on=TODAY), settled(other, on=TODAY)
    assert mine.equals(theirs)
    assert balances(one, mine).equals(balances(other, theirs))


@few
@given(seeds)
def test_deleted_and_voided_movements_count_nothing(seed: int) -> None:
    books = random_books(seed)
    before, owed = books.settled(), books.balances()
    for invoice in list(books.bodies["Invoice"]):
        books.pay(invoice, "7.77", Status="DELETED")
        books.gone.add(books.pay(invoice, "7.77", Status="DELETED", PaymentType=None)["PaymentID"])
    assert books.settled().equals(before)
    assert books.balances().equals(owed)


@few
@given(seeds)
def test_frames_have_their_schemas(seed: int) -> None:
    ledger = random_books(seed).ledger()
    invoices = settled(ledger, on=TODAY)
    assert ledger.settlements.schema == pl.Schema(dict(SETTLEMENTS))
    assert ledger.credits.schema == pl.Schema(dict(CREDITS))
    assert ledger.rejects.schema == pl.Schema(dict(REJECTS))
    assert invoices.schema == pl.Schema(dict(SETTLED))
    assert balances(ledger, invoices).schema == pl.Schema(dict(BALANCES))


# --- Traps: what settles --------------------------------------------------------------------------------------


def test_payments_and_credits_of_all_kinds_settle_an_invoice_together() -> None:
    books = Books()
    made = books.invoice("100")
    books.pay(made, "10.10", BatchPaymentID=guid(77), Reference=" run  7 ", CurrencyRate=Decimal("1.1525"))
    for name, amount in (("CreditNote", "20"), ("Overpayment", "30"), ("Prepayment", "39.9")):
        books.allocate(books.credit(name, "50"), made, amount)
    row = books.only()
    assert (row["status"], *sums(row)) == ("PAID", Decimal("10.1"), Decimal("89.9"), 0)
    moved = books.ledger().settlements.select("kind", "amount", "status", "currency").rows()
    assert moved == [
        ("payment", Decimal("10.1"), "AUTHORISED", "GBP"),
        ("credit_note", Decimal(20), "AUTHORISED", "GBP"),
        ("overpayment", Decimal(30), "AUTHORISED", "GBP"),
        ("prepayment", Decimal("39.9"), "AUTHORISED", "GBP"),
    ]
    (payment,) = books.ledger().settlements.filter(pl.col("kind") == "payment").to_dicts()
    assert (payment["source_id"], payment["reference"]) == (guid(77), "run 7")
    assert (payment["date"], payment["currency_rate"]) == (date(2026, 11, 20), Decimal("1.1525"))


def test_a_refund_takes_from_the_credit_and_settles_no_invoice() -> None:
    books = Books()
    made, note = books.invoice("100"), books.credit("CreditNote", "80")
    books.allocate(note, made, "30")
    paid_back = books.refund(note, "20")
    (row,) = books.ledger().credits.to_dicts()
    assert (row["allocated"], row["refunded"], row["remaining"]) == (30, 20, 30)
    (refund,) = books.ledger().settlements.filter(pl.col("kind") == "refund").to_dicts()
    assert (refund["settlement_id"], refund["invoice_id"]) == (paid_back["PaymentID"], None)
    assert refund["source_id"] == note["CreditNoteID"]
    assert sums(books.only()) == (0, 30, 70)
    assert books.owed()["last_payment_on"] is None


def test_a_refund_that_names_its_credit_by_its_own_element_is_one_too() -> None:
    books = Books()
    over = books.credit("Overpayment", "80")
    element = {"OverpaymentID": over["OverpaymentID"].upper()}
    books.refund(over, "20", Overpayment=element, Invoice=None, PaymentType=None)
    (row,) = books.ledger().credits.to_dicts()
    assert (row["refunded"], row["remaining"], row["reason"]) == (20, 60, None)


def test_a_payment_that_a_whole_list_no_longer_shows_was_deleted() -> None:
    books = Books()
    made = books.invoice("100")
    books.gone.add(books.pay(made, "40")["PaymentID"])
    made |= {"AmountPaid": Decimal(0), "AmountDue": Decimal(100)}
    assert sums(books.only()) == (0, 0, 100)
    assert books.ledger().settlements["status"].to_list() == ["DELETED"]


def test_allocations_of_a_credit_that_is_void_count_nothing() -> None:
    books = Books()
    made, note = books.invoice("100"), books.credit("CreditNote", "80")
    books.allocate(note, made, "30")
    note["Status"] = "VOIDED"
    made |= {"AmountCredited": Decimal(0), "AmountDue": Decimal(100)}
    row = books.only()
    assert (*sums(row), row["reason"]) == (0, 0, 100, None)
    assert books.owed()["credit"] == 0


def test_an_allocation_without_an_id_is_known_by_its_place_in_the_credit() -> None:
    books = Books()
    made, note = books.invoice("100"), books.credit("CreditNote", "80")
    for amount in ("10", "10"):
        books.allocate(note, made, amount)
        del note["Allocations"][-1]["AllocationID"]
    plain = note["CreditNoteID"].replace("-", "")
    assert books.ledger().settlements["settlement_id"].to_list() == [f"{plain}:0", f"{plain}:1"]
    assert sums(books.only()) == (0, 20, 80)


def test_amounts_are_exact() -> None:
    books = Books()
    made = books.invoice("123456789012345.67")
    for _ in range(3):
        books.pay(made, "0.1")
    assert sums(books.only()) == (Decimal("0.3"), 0, Decimal("123456789012345.37"))


def test_a_void_owes_nothing_though_it_still_shows_what_was_due() -> None:
    books = Books()
    books.invoice("24.15", Status="VOIDED", AmountDue=Decimal("24.15"))
    row = books.only()
    assert (row["due"], row["reason"]) == (0, None)
    owed = books.owed()  # and its contact is shown as owing nothing, not left as it was
    assert (owed["outstanding"], owed["invoices_open"]) == (0, 0)


# --- Traps: days ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "status", "overdue", "days"),
    [
        (date(2026, 11, 30), "AUTHORISED", 0, 0),  # the day itself
        (date(2026, 12, 1), "AUTHORISED", 60, 1),
        (date(2027, 1, 1), "AUTHORISED", 60, 32),
        (date(2027, 1, 1), "DRAFT", 0, 0),
        (date(2027, 1, 1), "SUBMITTED", 0, 0),
    ],
)
def test_what_is_due_is_overdue_from_the_next_day_on(on: date, status: str, overdue: int, days: int) -> None:
    books = Books()
    made = books.invoice("100")
    books.pay(made, "40")
    made["Status"] = status
    row = books.only(on=on)
    assert (row["overdue"], row["days_overdue"], row["due"]) == (overdue, days, 60)


def test_an_invoice_that_is_paid_or_has_no_due_date_is_never_overdue() -> None:
    books = Books()
    books.pay(books.invoice("100", FullyPaidOnDate=wire(date(2026, 11, 20))), "100")
    books.invoice("50", DueDate=None)
    rows = books.settled(on=date(2030, 1, 1))
    assert rows["days_overdue"].to_list() == [0, 0]
    assert rows["paid_on"].to_list() == [date(2026, 11, 20), None]


@pytest.mark.parametrize(
    "text", ["/Date(1793404800000+1300)/", "/Date(1793404800000)/", "2026-10-31T00:00:00"]
)
def test_a_day_is_that_of_the_organisation_however_it_is_written(text: str) -> None:
    books = Books()
    books.invoice(Date=text)
    assert books.only()["date"] == date(2026, 10, 31)


# --- Traps: disagreement is told --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"AmountPaid": "50"}, "Xero says that 50.00 GBP are paid, its payments give 40.00"),
        ({"AmountCredited": "0"}, "Xero says that 0.00 GBP are credited, its credits give 10.00"),
        ({"AmountDue": "50.001"}, "Xero says that 50.001 GBP are due, payments and credits leave 50.00"),
        ({"Status": "VOIDED"}, "it is VOIDED, and yet payments or credits stand against it"),
        ({"Total": "49.99"}, "its payments and credits are more than its total of 49.99 GBP"),
    ],
)
def test_where_xeros_sums_are_not_those_of_the_movements_the_row_says_so(
    own: dict[str, str], reason: str
) -> None:
    books = Books()
    made = books.invoice("100")
    books.pay(made, "40")
    books.allocate(books.credit(), made, "10")
    made |= {name: text if name == "Status" else Decimal(text) for name, text in own.items()}
    row = books.only()
    assert row["reason"] == reason
    assert (row["paid"], row["credited"]) == (40, 10)


def test_sums_that_a_list_leaves_out_are_no_disagreement() -> None:
    books = Books()
    made = books.invoice("100")
    books.pay(made, "40")
    for name in ("AmountPaid", "AmountCredited", "AmountDue"):
        del made[name]
    row = books.only()
    assert (*sums(row), row["reason"]) == (40, 0, 60, None)


def test_allocations_that_a_list_leaves_out_are_told_on_the_credit_and_on_the_invoice() -> None:
    books = Books()
    made, note = books.invoice("100"), books.credit("CreditNote", "80")
    books.allocate(note, made, "30")
    del note["Allocations"]
    assert books.ledger().credits["reason"].to_list() == [
        "Xero says that 50.00 GBP of it are left, its allocations and refunds leave 80.00"
    ]
    assert books.only()["reason"] == "Xero says that 30.00 GBP are credited, its credits give 0.00"


# --- Traps: what can't be read stops nothing else ---------------------------------------------------------------


def test_movements_that_belong_to_nothing_are_set_aside_and_told() -> None:
    books = Books()
    made, note = books.invoice("100"), books.credit()
    unknown = books.pay({**made, "InvoiceID": guid(500)}, "1")
    other = books.pay({**made, "CurrencyCode": "EUR"}, "2")
    refund = books.refund({**note, "CreditNoteID": guid(501)}, "3")
    books.pay({**made, "InvoiceID": guid(500)}, "4", Status="DELETED")  # counts nothing anyway
    assert told(books.ledger()) == {
        unknown["PaymentID"]: "it settles an invoice that is not in the snapshot",
        other["PaymentID"]: "it is in EUR, and settles an invoice in GBP",
        refund["PaymentID"]: "it pays back a credit that is not in the snapshot",
    }
    assert books.ledger().settlements.height == 1
    assert sums(books.only()) == (0, 0, 100)


@pytest.mark.parametrize(
    ("name", "broken", "reason"),
    [
        ("Payment", {"Amount": "much"}, "it has no Amount that can be read"),
        ("Payment", {"text": '{"PaymentID":'}, "the body is not the JSON of this record"),
        ("Payment", {"Reference": ["x"]}, "a field is of another type than expected"),
        ("Invoice", {"Total": None}, "it has no Total that can be read"),
        ("Invoice", {"Contact": None}, "it has no Contact.ContactID that can be read"),
        ("CreditNote", {"CurrencyCode": None}, "it has no CurrencyCode that can be read"),
        ("CreditNote", {"Allocations": "none"}, "its Allocations are of another shape than expected"),
        (
            "CreditNote",
            {"Allocations": [{"Amount": Decimal(1)}]},
            "one of its Allocations names no invoice or no amount",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_told_and_the_others_count(
    name: str, broken: dict[str, Any], reason: str
) -> None:
    books = Books()
    made = books.invoice("100")
    books.pay(made, "40")
    books.allocate(books.credit(), made, "10")
    bad = {"Payment": lambda: books.pay(books.invoice(), "5"), "Invoice": books.invoice}
    row = bad.get(name, books.credit)()
    row |= broken
    ledger = books.ledger()
    assert told(ledger)[row[f"{name}ID"]] == reason
    first = settled(ledger, on=TODAY).filter(pl.col("invoice_id") == made["InvoiceID"]).to_dicts()[0]
    assert (*sums(first), first["reason"]) == (40, 10, 50, None)


def test_a_payment_that_cannot_be_read_shows_on_its_invoice() -> None:
    books = Books()
    books.pay(books.invoice("100"), "40")["Amount"] = "much"
    assert books.only()["reason"] == "Xero says that 40.00 GBP are paid, its payments give 0.00"


def test_an_object_that_was_not_pulled_stops_everything() -> None:
    raw = Books().raw()
    del raw["xero.Overpayment"]
    with pytest.raises(KeyError):
        settlements(raw)


# --- Traps: what a contact owes ---------------------------------------------------------------------------------


def test_bills_stand_apart_from_sales_and_currencies_from_each_other() -> None:
    books = Books()
    books.invoice("100")
    books.invoice("30", Type="ACCPAY")
    books.invoice("5", CurrencyCode="EUR")
    books.credit("CreditNote", "8", Type="ACCPAYCREDIT")
    found = books.balances().select("kind", "currency", "outstanding", "credit", "invoices_open").rows()
    assert found == [
        ("receivable", "EUR", 5, 0, 1),
        ("receivable", "GBP", 100, 0, 1),
        ("payable", "GBP", 30, 8, 1),
    ]


def test_the_last_payment_is_all_that_came_in_on_its_day() -> None:
    books = Books()
    day = wire(date(2026, 11, 25))
    made = books.invoice("100")
    books.pay(made, "10", Date=wire(date(2026, 11, 24)))
    books.pay(made, "20", Date=day)
    books.pay(made, "30", Date=day)
    books.pay(made, "99", Date=wire(date(2026, 11, 28)), Status="DELETED")
    books.credit("Overpayment", "7", Date=day)
    books.credit("Prepayment", "9", Date=wire(date(2026, 11, 29)), Status="VOIDED")
    books.credit("CreditNote", "9", Date=wire(date(2026, 11, 29)))
    owed = books.owed()
    assert (owed["last_payment_on"], owed["last_payment"]) == (date(2026, 11, 25), 57)
    assert books.only()["last_payment_on"] == date(2026, 11, 25)


def test_contacts_that_share_an_account_are_summed_there() -> None:
    books = Books()
    first, second, third = ({"ContactID": guid(n)} for n in (901, 902, 903))
    books.pay(books.invoice("100", Contact=first, DueDate=wire(date(2026, 11, 1))), "10")
    books.pay(books.invoice("50", Contact=second), "5")
    books.credit("Prepayment", "3", Contact=second)
    books.invoice("70", Contact=third)
    rows = [("party", "001A", guid(901).upper(), "linked"), ("party", "001A", guid(902), "linked"),
            ("party", "001B", guid(903), "review"), ("document", "001A", guid(903), "linked")]  # fmt: skip
    links = pl.DataFrame(rows, schema=["entity", "salesforce_id", "xero_id", "status"], orient="row")
    found = account_balances(books.balances(), conform(links, LINKS))
    assert found.schema == pl.Schema(dict(ACCOUNT_BALANCES))
    (row,) = found.to_dicts()
    assert (row["account_id"], row["outstanding"], row["overdue"], row["credit"]) == ("001A", 135, 90, 3)
    assert (row["invoices_open"], row["last_payment_on"], row["last_payment"]) == (2, date(2026, 11, 20), 15)


def test_a_customer_is_all_its_invoices_movements_and_credits_newest_first() -> None:
    books = Books()
    ours, theirs = {"ContactID": guid(901)}, {"ContactID": guid(902)}
    old = books.invoice("100", Contact=ours, Date=wire(date(2026, 1, 1)))
    new = books.invoice("100", Contact=ours)
    note = books.credit("CreditNote", "60", Contact=ours)
    books.allocate(note, old, "10")
    books.refund(note, "5")
    books.pay(new, "20")
    books.pay(books.invoice("9", Contact=theirs), "9")
    books.credit(Contact=theirs)
    ledger = books.ledger()
    invoices = settled(ledger, on=TODAY)
    found = customer([guid(901).upper()], ledger, invoices, balances(ledger, invoices))
    assert found.invoices["invoice_id"].to_list() == [new["InvoiceID"], old["InvoiceID"]]
    assert found.settlements["kind"].to_list() == ["refund", "credit_note", "payment"]
    assert found.credits["remaining"].to_list() == [45]
    assert found.balances["outstanding"].to_list() == [170]
    nobody = customer([guid(999)], ledger, invoices, balances(ledger, invoices))
    assert not (nobody.invoices.height + nobody.settlements.height + nobody.credits.height)


# --- What Salesforce shows of it --------------------------------------------------------------------------------

METADATA = Path(__file__).parents[2] / "docs" / "salesforce" / "main" / "default" / "objects"
TYPES = {
    "string": "Text", "reference": "Lookup", "currency": "Currency", "double": "Number", "date": "Date",
    "datetime": "DateTime", "url": "Url",
}  # fmt: skip


def metadata(name: str) -> dict[str, dict[str, str]]:
    """The shipped fields of an object: name -> tag -> text."""
    texts = [path.read_text(encoding="utf-8") for path in (METADATA / name / "fields").glob("*.xml")]
    fields = [dict(re.findall(r"<(\w+)>([^<]*)</", text)) for text in texts]
    return {one["fullName"]: one for one in fields}


@dataclass
class Org:
    """Salesforce: records by object and id. It writes numbers as doubles do, and leaves blanks out."""

    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def raw(self, name: str) -> pl.DataFrame:
        rows = [
            {"record_id": key, "deleted": False, "body": text_of(body)} for key, body in self.of(name).items()
        ]
        return conform(pl.DataFrame(rows, schema={"record_id": str, "deleted": bool, "body": str}), RAW)

    def of(self, name: str) -> dict[str, dict[str, Any]]:
        return self.records.setdefault(name, {})

    def write(self, planned: pl.DataFrame) -> None:
        """Set the fields; a record that has none gets one; a lookup that awaits its record finds it."""
        made: dict[str, str] = {}
        for row in planned.to_dicts():
            records = self.of(row["object"])
            key = row["record_id"] or made.setdefault(row["key"], f"a{len(records):014d}AAA")
            body = records.setdefault(key, {"Id": key})
            value = row["after"]
            if row["awaits"]:
                held = self.of("Xero_Invoice__c").values()
                value = next(one["Id"] for one in held if one["Xero_Invoice_ID__c"] == row["awaits"])
            amount = metadata(row["object"])[row["field"]]["type"] in ("Currency", "Number")
            body[row["field"]] = Decimal(str(float(value))) if value and amount else value


def account(number: int) -> str:
    return f"001{number:012d}AAA"


def deal(number: int) -> str:
    return f"006{number:012d}AAA"


def linked(*pairs: tuple[str, str], entity: str = "party") -> pl.DataFrame:
    rows = [(entity, ours, theirs, "linked") for ours, theirs in pairs]
    links = pl.DataFrame(rows, schema=["entity", "salesforce_id", "xero_id", "status"], orient="row")
    return conform(links, LINKS)


OWNERS = {
    "invoice_id": pl.String,
    "account_id": pl.String,
    "opportunity_id": pl.String,
    "order_id": pl.String,
}


def shown(books: Books) -> dict[str, pl.DataFrame]:
    """What each object has to show: all contacts linked, each invoice to an opportunity of its own."""
    ledger = books.ledger()
    invoices = settled(ledger, on=TODAY)
    ids = invoices["invoice_id"].to_list()
    rows = [(one, account(1), deal(n), None) for n, one in enumerate(ids)]
    owners = pl.DataFrame(rows, schema=OWNERS, orient="row")
    parties = linked(*((account(n), guid(900 + n)) for n in range(3)))
    documents = linked(*((deal(n), one) for n, one in enumerate(ids)), entity="document")
    return {
        "Xero_Invoice__c": shown_invoices(invoices, owners),
        "Xero_Payment__c": shown_payments(ledger, owners),
        "Account": shown_accounts(account_balances(balances(ledger, invoices), parties)),
        "Opportunity": shown_sources(invoices, documents),
    }


def planned(org: Org, desired: dict[str, pl.DataFrame]) -> pl.DataFrame:
    parts: list[pl.DataFrame] = []
    for name, frame in desired.items():
        invoices = org.raw("Xero_Invoice__c") if name == "Xero_Payment__c" else None
        parts += [projections(name, frame, org.raw(name), invoices), withdrawn(name, frame, org.raw(name))]
    return pl.concat(parts)


def org_of(desired: dict[str, pl.DataFrame]) -> Org:
    """An org in which the accounts and opportunities are, and nothing of ours yet."""
    names = ("Account", "Opportunity")
    return Org({name: {key: {"Id": key} for key in desired[name]["key"]} for name in names})


@settings(max_examples=8)
@given(seeds)
def test_what_was_set_shows_no_difference_any_more(seed: int) -> None:
    desired = shown(random_books(seed))
    org = org_of(desired)
    first = planned(org, desired)
    assert first.schema == pl.Schema(dict(PROJECTIONS))
    org.write(first)
    assert planned(org, desired).is_empty()


@few
@given(seeds)
def test_every_shown_field_is_shipped_and_can_hold_its_value(seed: int) -> None:
    kinds = {"Text": pl.String, "LongTextArea": pl.String, "Lookup": pl.String, "Date": pl.Date}
    for name, frame in shown(random_books(seed)).items():
        shipped = metadata(name)
        for column, kind in frame.drop("key").schema.items():
            told = shipped[column]
            assert kind == kinds.get(told["type"], kind)
            assert kind.is_decimal() == (told["type"] in ("Currency", "Number"))
            longest = frame[column].str.len_chars().max() if kind == pl.String else 0
            assert int(longest or 0) <= int(told.get("length", 255))


@pytest.mark.parametrize("preset", PRESETS["xero"], ids=lambda one: one["name"])
def test_the_shipped_objects_are_those_of_the_sandbox(preset: dict[str, Any]) -> None:
    shipped = metadata(preset["name"])
    assert set(shipped) == {one["name"] for one in preset["fields"]}
    for one in preset["fields"]:
        told = shipped[one["name"]]
        assert told["type"] == TYPES[one["type"]]
        for ours, tag in (("precision", "precision"), ("scale", "scale"), ("reference", "referenceTo")):
            assert str(one.get(ours)) == told.get(tag, "None")
        assert one["type"] != "string" or str(one["length"]) == told["length"]
        flags = [str(bool(one.get(flag))).lower() for flag in ("external_id", "unique")]
        assert flags == [told.get(tag, "false") for tag in ("externalId", "unique")]
    assert f"{preset['name']}.object-meta.xml" in {one.name for one in (METADATA / preset["name"]).iterdir()}


def test_a_payment_is_shown_with_the_fields_that_changed_and_no_others() -> None:
    books = Books()
    made = books.invoice("100")
    org = org_of(shown(books))
    org.write(planned(org, shown(books)))
    books.now = datetime(2026, 11, 30, 12, 0, 1, 5000, tzinfo=UTC)
    assert planned(org, shown(books)).is_empty()  # a stamp alone is no change
    books.pay(made, "40")
    found = planned(org, shown(books)).filter(pl.col("object") != "Xero_Payment__c")
    rest = "overdue 0.00, credit 0.00"
    assert sorted(found.select("object", "field", "before", "after").rows(), key=str) == [
        ("Account", "Xero_Balances__c", f"GBP 100.00, {rest}", f"GBP 60.00, {rest}"),
        ("Account", "Xero_Last_Payment_On__c", None, "2026-11-20"),
        ("Account", "Xero_Last_Payment__c", None, "40.00"),
        ("Account", "Xero_Outstanding__c", "100.00", "60.00"),
        ("Opportunity", "Xero_Invoice_Amount_Due__c", "100.00", "60.00"),
        ("Opportunity", "Xero_Invoice_Amount_Paid__c", "0.00", "40.00"),
        ("Xero_Invoice__c", "Amount_Due__c", "100.00", "60.00"),
        ("Xero_Invoice__c", "Amount_Paid__c", "0.00", "40.00"),
        ("Xero_Invoice__c", "Xero_Updated__c", "2026-11-30T12:00:00.000+0000", "2026-11-30T12:00:01.000+0000"),
    ]  # fmt: skip


def test_a_payment_awaits_the_record_of_its_invoice_and_then_finds_it() -> None:
    books = Books()
    made = books.invoice("100")
    books.pay(made, "40")
    desired = shown(books)
    org = org_of(desired)

    def lookup() -> list[tuple[str | None, str | None]]:
        found = planned(org, desired).filter(pl.col("field") == "Invoice__c")
        return found.select("after", "awaits").rows()

    assert lookup() == [(None, made["InvoiceID"])]
    org.write(planned(org, {"Xero_Invoice__c": desired["Xero_Invoice__c"]}))
    (record_id,) = org.of("Xero_Invoice__c")
    assert lookup() == [(record_id, None)]


def test_an_allocation_that_was_taken_off_is_shown_as_deleted() -> None:
    books = Books()
    made, note = books.invoice("100"), books.credit("CreditNote", "80")
    books.allocate(note, made, "30")
    org = org_of(shown(books))
    org.write(planned(org, shown(books)))
    note["Allocations"].clear()
    found = planned(org, shown(books)).filter(pl.col("object") == "Xero_Payment__c")
    assert found.select("field", "before", "after").rows() == [("Status__c", "AUTHORISED", "DELETED")]
    org.write(found)
    assert planned(org, shown(books)).filter(pl.col("object") == "Xero_Payment__c").is_empty()


def test_an_account_that_lost_its_contact_shows_nothing_any_more() -> None:
    books = Books()
    books.invoice("100")
    desired = shown(books)
    org = org_of(desired)
    org.write(planned(org, desired))
    found = withdrawn("Account", desired["Account"].clear(), org.raw("Account"))
    assert found["after"].is_null().all()
    assert set(found["field"]) == {
        "Xero_Balance_Currency__c", "Xero_Balances__c", "Xero_Credit__c", "Xero_Outstanding__c", "Xero_Overdue__c",
    }  # fmt: skip


def test_a_record_that_cannot_be_read_is_left_alone() -> None:
    books = Books()
    books.invoice("100")
    desired = shown(books)
    org = org_of(desired)
    org.write(planned(org, desired))
    del org.of("Opportunity")[deal(0)]  # and none is made
    for body in (*org.of("Xero_Invoice__c").values(), *org.of("Account").values()):
        body |= {"Total__c": ["x"], "Xero_Outstanding__c": ["x"]}
    assert planned(org, desired).is_empty()


def test_amounts_of_several_currencies_are_told_one_by_one_and_never_added() -> None:
    books = Books()
    books.invoice("100", DueDate=wire(date(2026, 11, 1)))
    books.invoice("5", CurrencyCode="EUR")
    books.credit("Prepayment", "3", CurrencyCode="EUR")
    books.invoice("70", Type="ACCPAY")
    (row,) = shown(books)["Account"].to_dicts()
    told = "EUR 5.00, overdue 0.00, credit 3.00; GBP 100.00, overdue 100.00, credit 0.00"
    assert row.pop("Xero_Balances__c") == told
    assert row.pop("key") == account(0)
    assert set(row.values()) == {None}


def test_an_opportunity_shows_the_sum_of_its_invoices_that_are_not_closed() -> None:
    books = Books()
    deposit = books.invoice("30", DueDate=wire(date(2026, 11, 5)), FullyPaidOnDate=wire(date(2026, 11, 4)))
    rest = books.invoice("70", DueDate=wire(date(2026, 11, 20)))
    void = books.invoice("70", Status="VOIDED", DueDate=wire(date(2026, 11, 1)))
    books.pay(deposit, "30")
    invoices = books.settled()

    def of(*bodies: dict[str, Any]) -> dict[str, Any]:
        links = linked(*((deal(1), one["InvoiceID"]) for one in bodies), entity="document")
        (row,) = shown_sources(invoices, links).to_dicts()
        return {name.removeprefix("Xero_Invoice_").removesuffix("__c"): value for name, value in row.items()}

    both = of(deposit, rest, void)
    assert (both["Total"], both["Amount_Paid"], both["Amount_Due"], both["Amount_Overdue"]) == (
        100,
        30,
        70,
        70,
    )
    assert (both["Due_Date"], both["Paid_On"], both["Currency"]) == (date(2026, 11, 20), None, "GBP")
    assert of(deposit)["Paid_On"] == date(2026, 11, 4)
    assert of(void)["Total"] is None


def test_an_opportunity_with_invoices_in_several_currencies_shows_no_sum() -> None:
    books = Books()
    ids = [books.invoice(CurrencyCode=one)["InvoiceID"] for one in ("GBP", "EUR")]
    (row,) = shown_sources(
        books.settled(), linked(*((deal(1), one) for one in ids), entity="document")
    ).to_dicts()
    assert set(row.values()) == {deal(1), None}

"""Money taken in Salesforce: never more than is due, never twice, and never beside what may be the same money."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile import model
from reconcile.mapped import PaymentMapping, Rule
from reconcile.merge import difference_fingerprint
from reconcile.payments import BankAccount, Books, Paying, bank_account, payments, read_taken
from reconcile.settled import Ledger
from reconcile.showing import Settlement

ON = date(2026, 11, 24)
AT = datetime(2026, 11, 24, tzinfo=UTC)
MAPPING = PaymentMapping(
    salesforce="Money__c",
    source="Opportunity__c",
    amount="Amount__c",
    date="Taken_On__c",
    currency=None,
    scope=None,
    cut_over=date(2026, 11, 1),
    account="090",
    prefix="SF-",
    link={"id": "Xero_Payment_ID__c", "status": "Xero_Payment_Status__c"},
    at="mapping.yaml:1: documents.invoice.payments",
)
WORD = pl.lit("opportunity")


def record(number: int) -> str:
    return f"a01{number:012d}AAA"


def deal(number: int) -> str:
    return f"006{number:012d}AAA"


def invoice(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def payment(number: int) -> str:
    return f"00000000-0000-4000-9000-{number:012d}"


def reference(number: int) -> str:
    return f"SF-{record(number).upper()}"


@dataclass
class World:
    """Both sides, written as a ledger: who took what, what Xero has, what was said."""

    taken: list[dict[str, Any]] = field(default_factory=list)
    owed: dict[int, dict[str, Any]] = field(default_factory=dict)
    paid: list[dict[str, Any]] = field(default_factory=list)
    links: list[tuple[str, str, str]] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)

    def invoice(self, number: int, total: str, **more: Any) -> World:
        row = {
            "invoice_id": invoice(number),
            "number": f"INV-{number}",
            "status": "AUTHORISED",
            "currency": "GBP",
        }
        self.owed[number] = {**row, "total": Decimal(total), **more}
        self.links.append(("document", deal(number), invoice(number)))
        return self

    def take(
        self, number: int, of: int | None, amount: str | None, day: str = "2026-11-20", **more: Any
    ) -> World:
        row = {
            "record_id": record(number), "source_id": None if of is None else deal(of),
            "amount": None if amount is None else Decimal(amount), "date": date.fromisoformat(day),
            "gone": False, "counts": True,
        }  # fmt: skip
        self.taken.append({**row, **more})
        return self

    def pay(self, number: int, of: int, amount: str, **more: Any) -> World:
        row = {
            "settlement_id": payment(number), "kind": "payment", "invoice_id": invoice(of), "amount": Decimal(amount),
            "currency": "GBP", "status": "AUTHORISED", "date": date(2026, 11, 20),
        }  # fmt: skip
        self.paid.append({**row, **more})
        return self

    def decide(self) -> Paying:
        rows = [
            {**row, "due": row.get("due", row["total"] - self._paid(row["invoice_id"]))}
            for row in self.owed.values()
        ]
        owed, moved = frame(rows, model.SETTLED), frame(self.paid, model.SETTLEMENTS)
        empty = model.empty
        ledger = Ledger(owed, moved, empty(model.CREDITS), empty(model.REJECTS))
        links = [
            {
                "link_id": ":".join(one),
                "entity": one[0],
                "salesforce_id": one[1],
                "xero_id": one[2],
                "status": "linked",
            }
            for one in self.links
        ]
        books = Books(
            taken=frame(self.taken, model.TAKEN).sort("date", "record_id"),
            known=Settlement(ON, ledger, owed, empty(model.BALANCES), empty(model.REJECTS)),
            links=frame(links, model.LINKS),
            decisions=frame(self.said, model.DECISIONS),
            account=BankAccount("bank"),
            locked_until=None,
            base_currency="GBP",
        )
        return payments(replace(books, **self.rest), MAPPING, WORD)

    def _paid(self, invoice_id: str) -> Decimal:
        return sum(
            (
                row["amount"]
                for row in self.paid
                if row["invoice_id"] == invoice_id and row["status"] == "AUTHORISED"
            ),
            Decimal(0),
        )

    def carry_out(self, found: Paying) -> None:
        """As Xero and Salesforce would."""
        for row in found.operations.filter(pl.col("action") == "create").iter_rows(named=True):
            body = json.loads(row["native_after"], parse_float=Decimal, parse_int=Decimal)
            made = {
                "settlement_id": payment(1000 + len(self.paid)), "kind": "payment", "status": "AUTHORISED",
                "invoice_id": body["Invoice"]["InvoiceID"], "amount": body["Amount"], "currency": "GBP",
                "date": date.fromisoformat(body["Date"]), "reference": body["Reference"],
            }  # fmt: skip
            self.paid.append(made)
            self.links.append(("payment", row["source_id"], made["settlement_id"]))
        self.links += found.adopted.select("entity", "salesforce_id", "xero_id").cast(pl.String).rows()
        there = {row["settlement_id"]: row for row in self.paid}
        linked = {mine: theirs for entity, mine, theirs in self.links if entity == "payment"}
        for row in self.taken:
            if row["record_id"] in linked:
                shown = there[linked[row["record_id"]]]
                row |= {"shown_id": shown["settlement_id"], "shown_status": shown["status"]}


def frame(rows: Sequence[dict[str, Any]], schema: Any) -> pl.DataFrame:
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=dict(schema))


def made(found: Paying) -> list[tuple[str, str, Decimal]]:
    """(record, invoice, amount) of each payment that is planned."""
    bodies = [
        (row["source_id"], json.loads(row["native_after"], parse_float=Decimal, parse_int=Decimal))
        for row in found.operations.filter(pl.col("action") == "create").iter_rows(named=True)
    ]
    return [(who, body["Invoice"]["InvoiceID"], body["Amount"]) for who, body in bodies]


def reasons(found: Paying) -> dict[str, str]:
    return dict(found.rejects.select("record_id", "reason").iter_rows())


# --- Rules ------------------------------------------------------------------------------------------------

CENTS = st.integers(-50, 3000).map(lambda cents: f"{Decimal(cents) / 100:.2f}")
DAYS = st.sampled_from(["2026-10-30", "2026-11-01", "2026-11-20", "2026-11-24", "2026-11-25"])
TAKEN = st.tuples(st.sampled_from([0, 1, 2, None]), CENTS, DAYS, st.sampled_from([True, True, True, False]))
PAID = st.tuples(
    st.sampled_from([0, 1, 2]),
    st.integers(1, 3000).map(lambda cents: f"{Decimal(cents) / 100:.2f}"),
    st.one_of(st.none(), st.integers(0, 7)),
    st.sampled_from(["AUTHORISED", "DELETED"]),
)


def world_of(taken: Sequence[Any], paid: Sequence[Any], totals: Sequence[int]) -> World:
    world = World()
    for number, total in enumerate(totals):
        world.invoice(number, f"{Decimal(total) / 100:.2f}")
    for number, (of, amount, day, counts) in enumerate(taken):
        world.take(number, of, amount, day, counts=counts)
    for number, (of, amount, whose, status) in enumerate(paid):
        left = world.owed[of]["total"] - world._paid(invoice(of))
        if status == "DELETED" or Decimal(amount) <= left:
            named = {"reference": None if whose is None else reference(whose)}
            world.pay(number, of, amount, status=status, **named)
    return world


@settings(max_examples=150, deadline=None)
@given(
    st.lists(TAKEN, max_size=8),
    st.lists(PAID, max_size=6),
    st.tuples(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 9000)),
)
def test_no_invoice_is_paid_beyond_its_due_and_no_record_twice(
    taken: Sequence[Any], paid: Sequence[Any], totals: Sequence[int]
) -> None:
    world = world_of(taken, paid, totals)
    there = [row for row in world.paid if row["status"] == "AUTHORISED"]
    found = world.decide()
    planned = made(found)
    assert max(Counter(who for who, _, _ in planned).values(), default=1) == 1
    carried = {row["reference"] for row in world.paid}
    by_record = {row["record_id"]: row for row in world.taken}
    for who, which, amount in planned:
        row = by_record[who]
        assert row["counts"] and date(2026, 11, 1) <= row["date"] <= ON
        assert (deal(int(which[-12:])), amount) == (row["source_id"], row["amount"])
        assert amount > 0 and f"SF-{who.upper()}" not in carried
    for number, owed in world.owed.items():
        due = owed["total"] - world._paid(invoice(number))
        assert sum(amount for _, which, amount in planned if which == invoice(number)) <= due
    # Money of the same invoice and amount that Xero has from elsewhere keeps as many records waiting.
    ours = {reference(number) for number in range(len(taken))}
    for (which, amount), count in Counter(
        (row["invoice_id"], row["amount"]) for row in there if row["reference"] not in ours
    ).items():
        asked = found.asked.filter(pl.col("xero_id").is_in([
            row["settlement_id"] for row in there if (row["invoice_id"], row["amount"]) == (which, amount)
        ])).height  # fmt: skip
        assert asked <= count
        if any((where, sum_) == (which, amount) for _, where, sum_ in planned):
            assert asked == count
    world.carry_out(found)
    again = world.decide()
    assert made(again) == [] and again.adopted.is_empty()
    assert again.operations.is_empty(), again.operations.to_dicts()


@settings(max_examples=60, deadline=None)
@given(st.lists(TAKEN, max_size=8), st.lists(PAID, max_size=4), st.tuples(*[st.integers(1, 9000)] * 3))
def test_with_the_journal_lost_nothing_is_made_again(
    taken: Sequence[Any], paid: Sequence[Any], totals: Sequence[int]
) -> None:
    world = world_of(taken, paid, totals)
    world.carry_out(world.decide())
    linked = {one for one in world.links if one[0] == "payment"}
    world.links = [one for one in world.links if one[0] == "document"]
    for row in world.taken:
        row |= {"shown_id": None, "shown_status": None}
    again = world.decide()
    assert made(again) == []
    assert set(again.adopted.select("entity", "salesforce_id", "xero_id").cast(pl.String).rows()) == linked


# --- Cases ------------------------------------------------------------------------------------------------


def test_two_that_do_not_fit_together_are_taken_in_order_of_their_days() -> None:
    world = World().invoice(1, "100.00").take(1, 1, "60.00", "2026-11-22").take(2, 1, "60.00", "2026-11-21")
    found = world.decide()
    assert made(found) == [(record(2), invoice(1), Decimal("60.00"))]
    assert "only 100.00 are due, beside" in reasons(found)[record(1)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"status": "DRAFT"}, "not approved yet (draft)"),
        ({"status": "VOIDED", "due": Decimal(0)}, "is voided"),
        ({"status": "PAID", "due": Decimal(0)}, "only 0.00 are due: give"),
        ({"currency": "EUR"}, "it is in GBP, and its invoice INV-1 in EUR"),
        ({"reason": "Xero says otherwise"}, "not certain: Xero says otherwise"),
    ],
)
def test_what_an_invoice_takes_no_payment_for_is_told(more: dict[str, Any], said: str) -> None:
    found = World().invoice(1, "100.00", **more).take(1, 1, "60.00", currency="GBP").decide()
    assert made(found) == []
    assert said in reasons(found)[record(1)]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({"locked_until": date(2026, 11, 20)}, "locked up to 2026-11-20"),
        ({"account": BankAccount(reason="the account 090 of the mapping is not in Xero")}, "not in Xero"),
        ({"account": BankAccount("bank", "USD")}, "the account 090 of the mapping is in USD"),
        ({"busy": frozenset([invoice(1)])}, "is changed by this plan"),
    ],
)
def test_what_the_books_forbid_is_told(rest: dict[str, Any], said: str) -> None:
    found = World(rest=rest).invoice(1, "100.00").take(1, 1, "60.00").decide()
    assert made(found) == []
    assert said in reasons(found)[record(1)]


def test_an_amount_finer_than_the_currency_is_told() -> None:
    found = (
        World()
        .invoice(1, "100")
        .take(1, 1, "60.005")
        .invoice(2, "100", currency="JPY")
        .take(2, 2, "0.5")
        .decide()
    )
    assert made(found) == []
    assert all("more decimals" in said for said in reasons(found).values())


@pytest.mark.parametrize("how", ["reference", "shown"])
def test_money_that_counts_no_more_keeps_its_payment_where_the_journal_is_lost(how: str) -> None:
    world = World().invoice(1, "100.00").take(1, 1, "40.00", counts=False)
    world.take(2, 1, "40.00", counts=False, shown_id=payment(2))  # two that show one are not sure whose it is
    world.take(3, 1, "40.00", counts=False, shown_id=payment(2))
    world.pay(2, 1, "10.00")
    if how == "reference":
        world.pay(1, 1, "40.00", reference=reference(1))
    else:
        world.pay(1, 1, "40.00").taken[0] |= {"shown_id": payment(1).upper(), "shown_status": "AUTHORISED"}
    found = world.decide()
    assert made(found) == []
    assert found.adopted.select("salesforce_id", "xero_id").rows() == [(record(1), payment(1))]
    assert list(reasons(found)) == [record(1)]
    assert "its payment of 40.00 stands" in reasons(found)[record(1)]
    world.carry_out(found)
    assert list(reasons(world.decide())) == [record(1)]


def test_a_copy_of_a_record_is_not_taken_for_the_payment_that_it_shows() -> None:
    world = World().invoice(1, "100.00").take(1, 1, "40.00").take(2, 1, "40.00", shown_id=payment(1))
    world.pay(1, 1, "40.00", reference=reference(1)).links.append(("payment", record(1), payment(1)))
    found = world.decide()
    assert made(found) == []
    assert "another record's, as a copy's is" in reasons(found)[record(2)]


def test_only_money_that_is_nobodys_yet_is_asked_about() -> None:
    """Neither a payment that carries a record's Reference, nor one that a person said is another record's."""
    world = World().invoice(1, "100.00").take(1, 1, "40.00").take(2, 1, "40.00")
    world.pay(1, 1, "40.00", reference=reference(1))
    found = world.decide()
    assert found.asked.is_empty() and [who for who, _, _ in made(found)] == [record(2)]
    world = World().invoice(1, "100.00").take(1, 1, "40.00").take(2, 1, "40.00").pay(1, 1, "40.00")
    world.links.append(("payment", record(1), payment(1)))
    found = world.decide()
    assert found.asked.is_empty() and [who for who, _, _ in made(found)] == [record(2)]


def test_of_two_payments_with_one_reference_the_one_that_stands_counts() -> None:
    world = World().invoice(1, "100.00").take(1, 1, "40.00")
    for number, status in ((1, "DELETED"), (2, "AUTHORISED"), (3, "DELETED")):
        world.pay(number, 1, "40.00", reference=reference(1), status=status)
    assert world.decide().adopted["xero_id"].to_list() == [payment(2)]
    world.pay(4, 1, "40.00", reference=reference(1))
    found = world.decide()
    assert made(found) == [] and found.adopted.is_empty()
    assert "2 payments in Xero carry its Reference" in reasons(found)[record(1)]


def test_a_yes_holds_for_these_two_only() -> None:
    world = World().invoice(1, "100.00").take(1, 1, "40.00").pay(1, 1, "40.00")
    (asked,) = world.decide().asked.to_dicts()
    said = {
        "kind": "salesforce_wins", "entity": "payment", "unit": "payment", "made_at": AT, "made_by": "a person",
        "salesforce_id": asked["salesforce_id"], "xero_id": asked["xero_id"],
        "fingerprint": difference_fingerprint(asked["salesforce"], asked["xero"]),
    }  # fmt: skip
    world.said.append(said)
    assert made(world.decide()) == [(record(1), invoice(1), Decimal("40.00"))]
    world.said[0] = {**said, "kind": "xero_wins"}
    found = world.decide()
    assert made(found) == []
    assert found.adopted.select("salesforce_id", "xero_id").rows() == [(record(1), payment(1))]
    world.said[0] = {**said, "kind": "accept_drift"}
    found = world.decide()
    assert found.operations.is_empty() and found.asked.is_empty() and found.adopted.is_empty()
    world.said[0] = {**said, "fingerprint": "another"}
    assert world.decide().asked.height == 1


# --- Reading ----------------------------------------------------------------------------------------------


def raw(*bodies: Any) -> pl.DataFrame:
    rows = [
        {
            "record_id": body.get("Id") or body.get("AccountID"),
            "modified_at": AT,
            "row_hash": "x",
            "deleted": False,
        }
        | {"body": json.dumps(body)}
        for body in bodies
    ]
    return frame(rows, model.RAW)


def test_records_are_read_to_the_digit_and_by_their_scope() -> None:
    mapping = replace(MAPPING, scope=Rule("State__c = 'Received' and Amount__c > 1", "here"))
    base = {
        "IsDeleted": False, "SystemModstamp": "2026-11-20T10:00:00.000+0000", "LastModifiedById": "005", "Name": "M-1",
        "Opportunity__c": deal(1)[:15], "Taken_On__c": "2026-11-20", "State__c": "Received",
    }  # fmt: skip
    long_one = '{"Amount__c": 123456789012.34,'
    rows = raw(
        {**base, "Id": record(1), "Amount__c": 0},
        {**base, "Id": record(2), "Amount__c": 7.1},
        {**base, "Id": record(3), "Amount__c": 7.1, "State__c": "Promised"},
        {**base, "Id": record(4), "Amount__c": 7.1, "IsDeleted": True},
        {**base, "Id": record(5), "Amount__c": None, "Taken_On__c": None},
    )
    first = rows["body"][0].replace('"Amount__c": 0', '"X": 1').replace("{", long_one, 1)
    rows = rows.with_columns(
        body=pl.when(pl.col("record_id") == record(1)).then(pl.lit(first)).otherwise("body")
    )
    taken, rejects = read_taken(rows, mapping, "Europe/London")
    assert rejects.is_empty()
    found = {row["record_id"]: row for row in taken.iter_rows(named=True)}
    assert [found[record(n)]["counts"] for n in (1, 2, 3, 4, 5)] == [True, True, False, False, False]
    assert found[record(1)]["amount"] == Decimal("123456789012.34")
    assert found[record(2)]["source_id"] == deal(1)
    assert found[record(2)]["date"] == date(2026, 11, 20)
    assert found[record(5)]["date"] is None and found[record(5)]["amount"] is None


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("090", None),
        ("the bank", None),
        ("091", "archived"),
        ("200", "takes no payments"),
        ("404", "not in Xero"),
    ],
)
def test_the_account_is_known_by_code_or_name(named: str, said: str | None) -> None:
    accounts = raw(
        {"AccountID": invoice(1), "Code": "090", "Name": "The Bank", "Type": "BANK", "Status": "ACTIVE"},
        {"AccountID": invoice(2), "Code": "091", "Name": "Old", "Type": "BANK", "Status": "ARCHIVED"},
        {"AccountID": invoice(3), "Code": "200", "Name": "Sales", "Type": "REVENUE", "Status": "ACTIVE"},
    )
    found = bank_account(accounts, named)
    assert (found.account_id == invoice(1)) is (said is None)
    assert said is None or said in str(found.reason)

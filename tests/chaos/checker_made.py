"""Judges what is made of what was sold: whole, in parts and by the month, by deals and by orders.

Like `checker.py` it imports nothing of the product. Its rules, written down anew from docs:

    once      a sale is billed by one form, each of its documents once; of a deal and its orders one side
    billed    what is invoiced of a sale, over its parts and in its month, is what it comes to so far, or a report tells
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from tests.chaos import checker
from tests.chaos.checker import CUT_OVER, SLOT, Evidence, Plans, Violation, _incident_names, _kind, _live
from tests.chaos.checker_besides import bills, groups

Body = dict[str, Any]
Key = tuple[str, str]  # a record's id in capitals, and of what of it: "" the whole, P1, M202611GBP
CENT = Decimal("0.01")
ONCE = "what is sold once is billed once"
LINES = {"Opportunity": ("OpportunityLineItem", "OpportunityId"), "Order": ("OrderItem", "OrderId")}


def judge(evidence: Evidence) -> list[Violation]:
    """Give every violation, in a stable order."""
    found = checker.judge(evidence)
    if evidence.made is not None:
        plans = Plans(evidence)
        books = Sold(evidence, plans, evidence.made)
        for rule in (once, billed, shown, between_sides):
            found += rule(books)
        if evidence.made["bills"]:
            found += bills(evidence, plans)
        if evidence.made["groups"]:
            found += groups(evidence, plans, evidence.made)
    return found


# --- Sales and what is invoiced of them ------------------------------------------------------------------


@dataclass(frozen=True)
class Sale:
    """A deal or an order. due: it is won, or activated, since the cut-over, and has lines."""

    row: Body
    kind: str
    lines: tuple[Decimal, ...]
    due: bool

    @property
    def key(self) -> str:
        return str(self.row["Id"]).upper()

    @property
    def amount(self) -> Decimal:
        return sum(self.lines, Decimal(0))

    @property
    def day(self) -> str:
        return str(self.row.get("CloseDate" if self.kind == "Opportunity" else "EffectiveDate") or "")

    @property
    def said(self) -> str:
        """What its lines begin with on an invoice of a month."""
        return f"{self.row.get('Name') or self.row.get('OrderNumber') or self.row['Id']}: "

    @property
    def month(self) -> Key:
        return str(self.row.get("AccountId") or "").upper(), f"M{self.day[:4]}{self.day[5:7]}GBP"


class Sold:
    """Both systems' sides of what was sold, and what the last plan tells of it."""

    def __init__(self, evidence: Evidence, plans: Plans, made: Mapping[str, Any]) -> None:
        self.evidence, self.made = evidence, made
        rows = list(evidence.records.values())
        self.sales = {sale.key: sale for row in rows if (sale := self._sale(row, rows)) is not None}
        self.told = {key.upper() for key, units in plans.named(plans.sealed[-1:]).items() if units}
        self.reasons: dict[str, list[str]] = defaultdict(list)
        for row in plans.table(plans.last, "rejects") if plans.last else ():
            self.reasons[str(row["record_id"]).upper().partition(":")[0]].append(str(row["reason"]))
        self.let = {
            str(event["record_id"]).upper()
            for event in evidence.events
            if event["kind"] == "answered" and event["take"] == "neither"
        }
        self.thrown_away = {event["record_id"] for event in evidence.events if event["kind"] == "void"}
        self.reserved = {
            str(sale.row["Xero_Invoice_Number__c"]).upper(): sale.key
            for sale in self.sales.values()
            if sale.row.get("Xero_Invoice_Number__c")
        }
        self.invoices: dict[Key, list[Body]] = defaultdict(list)  # those that do not stand, too
        self.notes: dict[Key, list[Body]] = defaultdict(list)  # of ours, that stand
        for row in rows:
            if _kind(row) == "invoice" and (key := self._key(row)):
                self.invoices[key].append(row)
            elif _kind(row) == "credit" and _live(row):
                number = re.fullmatch(
                    rf"SF-([A-Z0-9]{{18}})(?:-({SLOT}))?-C\w+", str(row.get("CreditNoteNumber")).upper()
                )
                if number:
                    self.notes[number[1], number[2] or ""].append(row)

    def _sale(self, row: Body, rows: list[Body]) -> Sale | None:
        kind = _kind(row)
        if kind not in LINES or (kind == "Order" and not self.made["orders"]):
            return None
        child, parent = LINES[kind]
        mine = [one for one in rows if _kind(one) == child and one[parent] == row["Id"] and _live(one)]
        lines = tuple(Decimal(str(one["TotalPrice"])) for one in mine)
        day = str(row.get("CloseDate" if kind == "Opportunity" else "EffectiveDate") or "")
        stands = row.get("IsWon") if kind == "Opportunity" else row.get("StatusCode") == "Activated"
        return Sale(row, kind, lines, bool(_live(row) and stands and day >= CUT_OVER and lines))

    def _key(self, invoice: Body) -> Key | None:
        for name in ("InvoiceNumber", "Reference"):
            found = re.fullmatch(
                rf"SF-([A-Z0-9]{{18}})(?:-({SLOT}))?(?:-\d+)?(?: .*)?", str(invoice.get(name) or "").upper()
            )
            if found:
                return found[1], found[2] or ""
        own = self.reserved.get(str(invoice.get("InvoiceNumber")).upper())
        return (own, "") if own else None

    def standing(self, key: Key) -> list[Body]:
        return [row for row in self.invoices.get(key, ()) if _live(row)]

    @cached_property
    def days(self) -> tuple[str, str]:
        """The day on which the last plan began, and the last one that the world saw."""
        began = [report["began"] for report in self.evidence.reports if report["command"] == "plan"]
        first = next((row for row in self.evidence.wire if began and row["seq"] > began[-1]), None)
        last = self.evidence.today
        if first is None:
            return last, last
        return datetime.fromtimestamp(first["at_ms"] / 1000, UTC).date().isoformat(), last

    # -- how each is billed

    def is_by_month(self, sale: Sale) -> bool:
        return sale.kind in self.made["together"]

    def is_in_parts(self, sale: Sale) -> bool:
        """As it was billed first it stays billed."""
        if not self.made["parts"] or sale.kind != "Opportunity" or self.is_by_month(sale):
            return False
        if self.invoices.get((sale.key, "")):
            return False
        has_parts = any(self.invoices.get((sale.key, f"P{number}")) for number in range(1, 10))
        return has_parts or Decimal(str(sale.row.get("Amount") or 0)) >= self.made["parts_from"]

    def is_told(self, *keys: str) -> bool:
        return any(key in self.told or key in self.let for key in keys)

    def claimed(self, key: Key) -> Decimal:
        """What stands of a document, less what we credited of it; what somebody credited whole claims nothing."""
        due = sum(
            (
                Decimal(str(row["SubTotal"]))
                for row in self.standing(key)
                if not _credited_whole(row) or self.notes.get(key)
            ),
            Decimal(0),
        )
        return due - sum((Decimal(str(row["SubTotal"])) for row in self.notes.get(key, ())), Decimal(0))

    def is_let_be(self, key: Key) -> bool:
        """Whether its invoice is told of; or a person threw it away, where nothing follows its sale."""
        rows = self.invoices.get(key, [])
        if any(self.is_told(str(row["InvoiceID"]).upper()) for row in rows):
            return True  # what was refused of it is told by its own id
        if any(_incident_names(self.evidence, str(row["InvoiceID"])) for row in rows):
            return True
        return not self.made["follow"] and any(row["InvoiceID"] in self.thrown_away for row in rows)

    def in_months(self, sale: Sale) -> dict[Key, Decimal]:
        """What stands of a sale on the invoices of months, by its lines."""
        found: dict[Key, Decimal] = {}
        for key in self.invoices:
            if not key[1].startswith("M"):
                continue
            amounts = [
                Decimal(str(line["LineAmount"]))
                for row in self.standing(key)
                if not _credited_whole(row)
                for line in row["LineItems"]
                if str(line.get("Description")).startswith(sale.said)
            ]
            if amounts:
                found[key] = sum(amounts, Decimal(0))
        return found


def _credited_whole(invoice: Body) -> bool:
    total = Decimal(str(invoice.get("Total") or 0))
    return bool(total) and Decimal(str(invoice.get("AmountCredited") or 0)) == total


def _name(key: Key) -> str:
    return ":".join(filter(None, key))


def once(books: Sold) -> list[Violation]:
    """Each document has one invoice that stands, and a sale is billed by one form."""
    found = []
    for key, rows in sorted(books.invoices.items()):
        live = [row for row in rows if _live(row)]
        if len(live) > 1:
            found.append(Violation("twice", f"{len(live)} live invoices are of {_name(key)}"))
        if key[1][:1] != "M" and key[0] not in books.sales:
            found.append(Violation("unplanned", f"an invoice is of {_name(key)}, which nobody sold"))
    for sale in books.sales.values():
        forms = {
            "whole": bool(books.standing((sale.key, ""))),
            "parts": any(books.standing((sale.key, f"P{number}")) for number in range(1, 10)),
            "month": bool(books.in_months(sale)),
        }
        if sum(forms.values()) > 1:
            found.append(
                Violation("twice", f"{sale.key} is billed {' and '.join(k for k, v in forms.items() if v)}")
            )
        if len(months := books.in_months(sale)) > 1:
            found.append(Violation("twice", f"{sale.key} stands on the invoices of {sorted(months)}"))
    return found


def billed(books: Sold) -> list[Violation]:
    """What is invoiced of each sale is what it comes to so far, or the last plan tells of it."""
    found: list[Violation] = []
    for sale in books.sales.values():
        if books.is_by_month(sale):
            found += _by_month(books, sale)
        elif books.is_in_parts(sale):
            found += _in_parts(books, sale)
        else:
            key = (sale.key, "")
            found += _differs(books, key, sale.amount if sale.due else Decimal(0), sale)
    return [*found, *_strangers(books)]


def _differs(
    books: Sold, key: Key, wanted: Decimal, sale: Sale, near: Decimal = Decimal(0)
) -> list[Violation]:
    claimed = books.claimed(key)
    if abs(claimed - wanted) <= near or books.is_told(_name(key), sale.key) or books.is_let_be(key):
        return []
    rule = "lost" if not claimed else "amounts" if wanted else "unplanned"
    return [
        Violation(rule, f"{_name(key)} comes to {wanted}, invoiced of it is {claimed}, and no report tells")
    ]


def _in_parts(books: Sold, sale: Sale) -> list[Violation]:
    """Each part that is due is its share, to a cent for each line; all of them are the sale to the cent."""
    found: list[Violation] = []
    parts = books.made["parts"]
    rest, summed, excused = 100, Decimal(0), False
    for number, (_, share, months, days) in enumerate(parts, 1):
        key = (sale.key, f"P{number}")
        percent = rest if share is None else share
        rest -= percent
        day = _later(sale.day, months, days)
        has_come = [day <= one for one in books.days]
        there = bool(books.invoices.get(key))
        due = sale.due and (has_come[1] or there)
        if sale.due and has_come[1] and not has_come[0] and not there:
            due = False  # it fell due while the last plan was made
        wanted = sale.amount * percent / 100 if due else Decimal(0)
        found += _differs(books, key, wanted, sale, CENT * len(sale.lines) if due else Decimal(0))
        excused |= not due or books.is_told(_name(key), sale.key) or books.is_let_be(key)
        summed += books.claimed(key)
    if not excused and summed != sale.amount:
        found.append(Violation("amounts", f"{sale.key} is of {sale.amount}, its parts of {summed}"))
    return found


def _later(day: str, months: int, days: int) -> str:
    year, month, of_month = map(int, day.split("-"))
    year, month = year + (month - 1 + months) // 12, (month - 1 + months) % 12 + 1
    last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
    return (date(year, month, min(of_month, last)) + timedelta(days=days)).isoformat()


def _by_month(books: Sold, sale: Sale) -> list[Violation]:
    """By its own lines, on the invoice of its account and month, once that is over."""
    key, stand = sale.month, books.in_months(sale)
    first_of_next = _later(f"{sale.day[:7]}-01", 1, 0)
    over = [first_of_next <= one for one in books.days]
    due = sale.due and (over[0] or bool(stand) or bool(books.invoices.get(key)))
    wanted = sale.amount if due else Decimal(0)
    claimed = sum(stand.values(), Decimal(0))
    keys = {key, *stand}
    if claimed == wanted and set(stand) <= {key}:
        return []
    if books.is_told(sale.key, *map(_name, keys)) or any(map(books.is_let_be, keys)):
        return []
    if any(books.notes.get(one) for one in keys):
        return []  # what was credited of it is looked at by the month
    rule = "lost" if not claimed else "amounts" if wanted else "unplanned"
    where = ", ".join(map(_name, sorted(stand))) or "none"
    return [
        Violation(rule, f"{sale.key} of {_name(key)} comes to {wanted}, {claimed} of it stands on {where}")
    ]


def _strangers(books: Sold) -> list[Violation]:
    """Nothing stands on the invoice of a month that is of no sale."""
    found = []
    said = tuple(sale.said for sale in books.sales.values())
    for key in books.invoices:
        if not key[1].startswith("M") or books.is_told(_name(key)) or books.is_let_be(key):
            continue
        for row in books.standing(key):
            if _credited_whole(row):
                continue
            others = [
                line
                for line in row["LineItems"]
                if not str(line.get("Description")).startswith(said) and line.get("LineAmount")
            ]
            if others:
                found.append(Violation("amounts", f"{len(others)} lines of {_name(key)} are of no sale"))
            if books.notes.get(key):
                mine = [one for one in books.sales.values() if books.is_by_month(one) and one.month == key]
                mine = [one for one in mine if one.due and not books.is_told(one.key)]
                wanted = sum((one.amount for one in mine), Decimal(0))
                if books.claimed(key) != wanted:
                    found.append(
                        Violation(
                            "amounts", f"{_name(key)} is of {wanted}, less credits {books.claimed(key)}"
                        )
                    )
    return found


def shown(books: Sold) -> list[Violation]:
    """A sale shows its invoice: the whole one, that of the last part made, or by its address that of its month.

    The last part that was made, also where somebody threw it away and nothing made it again.
    """
    found = []
    for sale in books.sales.values():
        if not sale.due or books.is_told(sale.key):
            continue
        parts = [(sale.key, f"P{n}") for n in range(9, 0, -1) if books.invoices.get((sale.key, f"P{n}"))]
        months = list(books.in_months(sale))
        keys = [(sale.key, "")] if books.standing((sale.key, "")) else parts or months
        if not keys or books.is_told(*map(_name, keys)) or books.is_let_be(keys[0]):
            continue
        field = "Xero_Invoice_Url__c" if keys[0][1][:1] == "M" else "Xero_Invoice_ID__c"
        own = [str(row["InvoiceID"]).casefold() for row in books.standing(keys[0]) or books.invoices[keys[0]]]
        if not str(sale.row.get(field) or "").casefold().endswith(tuple(own)):
            found.append(
                Violation(
                    "triangle",
                    f"{sale.key} shows invoice {sale.row.get(field)}, not {own[0]} of {_name(keys[0])}",
                )
            )
    return found


def between_sides(books: Sold) -> list[Violation]:
    """Of a deal and the orders that came from it only one side is billed, and where it should be one is."""
    found = []
    by_deal: dict[str, list[Sale]] = defaultdict(list)
    for sale in books.sales.values():
        if sale.kind == "Order" and sale.row.get("OpportunityId"):
            by_deal[str(sale.row["OpportunityId"]).upper()].append(sale)
    for deal_id, orders in sorted(by_deal.items()):
        deal = books.sales.get(deal_id)
        if deal is None:
            continue
        sides = [_claims(books, deal), sum((_claims(books, one) for one in orders), Decimal(0))]
        if all(sides):
            found.append(
                Violation(
                    "twice", f"{deal_id} is billed with {sides[0]}, and what came from it with {sides[1]}"
                )
            )
        due = [one for one in (deal, *orders) if one.due]
        waits = [any(ONCE in reason for reason in books.reasons[one.key]) for one in due]
        if due and all(waits) and not any(sides) and not _has_any(books, (deal, *orders)):
            found.append(Violation("lost", f"{deal_id} and what came from it wait for each other"))
    return found


def _claims(books: Sold, sale: Sale) -> Decimal:
    own = [books.claimed((sale.key, slot)) for slot in ("", *(f"P{number}" for number in range(1, 10)))]
    return sum(own, sum(books.in_months(sale).values(), Decimal(0)))


def _has_any(books: Sold, sales: tuple[Sale, ...]) -> bool:
    """Whether an invoice, of whatever status, is of one of them: it may be made again."""
    keys = {sale.key for sale in sales} | {_name(sale.month) for sale in sales if books.is_by_month(sale)}
    return any(key[0] in keys or _name(key) in keys for key in books.invoices)

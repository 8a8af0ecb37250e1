"""Books with habits: past sales lines as bookkeepers book them, and lines to be booked whose true code is known.

A line's true code follows the first habit that holds: its customer's own, its product's (which may change by
season), its family's (which may have changed once, for good). Tax goes by family and region. What nobody could
know does not occur: each product with a season was sold in the last one, and a customer with a way of its own
was booked so before, on three items at least.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import polars as pl

from reconcile.model import HISTORY, WANTED

FAMILIES, PRODUCTS, CUSTOMERS = 12, 300, 400
ACCOUNTS = ("200", "205", "210", "215", "220", "230", "240", "260")
TAXES = ("OUTPUT2", "ECOUTPUT", "ZERORATEDOUTPUT")
REGIONS = ("UK",) * 16 + ("EU",) * 3 + ("US",)
SEASON = (11, 12, 1)
STARTS, ENDS = date(2024, 1, 1), date(2026, 10, 31)
SINCE = date(
    2025, 9, 1
)  # from which day past lines are to count: somewhat more than a year, so each season once
RECODED = date(2025, 12, 1)
LAST_YEAR = date(2025, 11, 1)
LAST_SEASON = (date(2025, 11, 10), date(2025, 12, 10), date(2026, 1, 10))
FREE_TEXT, NEW_PRODUCT, NEW_CUSTOMER, FROM_BASKET = 0.03, 0.02, 0.05, 0.7

Code = tuple[str, str]
Row = dict[str, Any]


@dataclass
class Bookings:
    """history HISTORY; wanted WANTED; truth: line_id -> account and tax of a wanted line."""

    history: pl.DataFrame
    wanted: pl.DataFrame
    truth: dict[str, Code]


@dataclass
class Habits:
    """Who books how. Families 0 to 7 have one account, 8 to 11 one for each product; family 2 was recoded."""

    chance: random.Random
    of_family: list[tuple[str, str]] = field(default_factory=list)  # before and after the recoding
    family: dict[str, int] = field(default_factory=dict)
    product: dict[str, str] = field(default_factory=dict)
    in_season: dict[str, str] = field(default_factory=dict)
    customer: dict[str, str] = field(default_factory=dict)
    free_text: dict[str, str] = field(default_factory=dict)
    region: dict[str, str] = field(default_factory=dict)
    basket: dict[str, list[str]] = field(default_factory=dict)
    popular: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = self.chance
        self.of_family = [(draw.choice(ACCOUNTS),) * 2 for _ in range(FAMILIES)]
        self.of_family[2] = ("200", "230")
        names = [f"P{number:03d}" for number in range(PRODUCTS)]
        for place, name in enumerate(names):
            self.family[name] = place % FAMILIES
            if self.family[name] >= 8 or draw.random() < 0.04:  # the rest: exceptions of their family
                self.product[name] = draw.choice(ACCOUNTS)
        for name in draw.sample(names, 12):
            usual = self.product.setdefault(name, self.of_family[self.family[name]][0])
            self.in_season[name] = draw.choice([one for one in ACCOUNTS if one != usual])
        self.popular = [1 / (rank + 10) for rank in range(PRODUCTS)]
        draw.shuffle(self.popular)
        for number in range(CUSTOMERS):
            self._meet(f"c{number:03d}", names)

    def _meet(self, name: str, products: list[str]) -> None:
        draw = self.chance
        self.region[name] = draw.choice(REGIONS)
        self.free_text[name] = draw.choice(("200", "260"))
        self.basket[name] = draw.choices(products, self.popular, k=6)
        if draw.random() < 0.05:
            self.customer[name] = draw.choice(ACCOUNTS)

    def code(self, customer: str, item: str | None, day: date, family: int | None) -> Code:
        account = self.customer.get(customer) or self._account(customer, item, day, family)
        return account, self._tax(family, self.region[customer])

    def _account(self, customer: str, item: str | None, day: date, family: int | None) -> str:
        if item in self.in_season and day.month in SEASON:
            return self.in_season[item]
        if item in self.product:
            return self.product[item]
        if family is None:
            return self.free_text[customer]
        return self.of_family[family][day >= RECODED]

    @staticmethod
    def _tax(family: int | None, region: str) -> str:
        if region == "EU":
            return "ECOUTPUT"
        return "ZERORATEDOUTPUT" if region == "US" or family == 5 else "OUTPUT2"

    def pick(self, customer: str) -> str:
        draw = self.chance
        if draw.random() < FROM_BASKET:
            return draw.choice(self.basket[customer])
        return draw.choices(list(self.family), self.popular)[0]


def bookings(seed: int, *, wrong: float, lines: int = 10_000, wanted: int = 4_000) -> Bookings:
    """Give books of that many past lines, this share of them wrong, and lines of the two months after."""
    chance = random.Random(seed)
    habits = Habits(chance)
    past = _past(habits, lines)
    asked = _asked(habits, wanted)
    truth = {
        row["line_id"]: habits.code(row["contact_id"], row["item"], row["date"], _of(row)) for row in asked
    }
    past += _firsts(habits, past, asked)
    for row in past:
        code = habits.code(row["contact_id"], row["item"], row["date"], _of(row))
        row["account"], row["tax"] = _slip(chance, code) if chance.random() < wrong else code
    return Bookings(pl.DataFrame(past, schema=dict(HISTORY)), pl.DataFrame(asked, schema=dict(WANTED)), truth)


def _of(row: Row) -> int | None:
    return None if row["family"] is None else int(str(row["family"])[1:])


def _past(habits: Habits, lines: int) -> list[Row]:
    draw, rows = habits.chance, list[Row]()
    while len(rows) < lines:
        document, customer = f"d{len(rows):05d}", draw.choice(list(habits.region))
        day = STARTS + timedelta(draw.randrange((ENDS - STARTS).days + 1))
        for _ in range(min(draw.choice((1, 1, 2, 2, 3, 5)), lines - len(rows))):
            rows.append({"document_id": document, **_line(habits, f"l{len(rows):05d}", customer, day)})
    return rows


def _line(habits: Habits, line_id: str, customer: str, day: date) -> Row:
    item = None if habits.chance.random() < FREE_TEXT else habits.pick(customer)
    family = None if item is None else f"F{habits.family[item]}"
    region = habits.region[customer]
    return {
        "line_id": line_id, "date": day, "contact_id": customer, "item": item, "family": family, "region": region,
    }  # fmt: skip


def _asked(habits: Habits, wanted: int) -> list[Row]:
    draw, rows, known = habits.chance, list[Row](), list(habits.region)
    for number in range(wanted):
        customer = draw.choice(known)
        if draw.random() < NEW_CUSTOMER:
            customer = f"n{number:04d}"
            habits.region[customer], habits.free_text[customer] = draw.choice(REGIONS), "200"
            habits.basket[customer] = draw.choices(list(habits.family), habits.popular, k=6)
        row = _line(habits, f"w{number:04d}", customer, ENDS + timedelta(draw.randrange(1, 61)))
        if row["item"] is not None and draw.random() < NEW_PRODUCT:  # as its family, which has one account
            row |= {"item": f"N{number:04d}", "family": f"F{draw.randrange(8)}"}
        rows.append(row)
    return rows


def _firsts(habits: Habits, past: list[Row], asked: list[Row]) -> list[Row]:
    """What shows a habit before it is asked for: each season's products in it, and a customer's own way."""
    met = Counter(row["contact_id"] for row in past if row["date"] > LAST_YEAR)
    strangers = {row["contact_id"] for row in asked if met[row["contact_id"]] < 3} & habits.customer.keys()
    known = sorted(met)
    sold = [(habits.chance.choice(known), item, day) for item in habits.in_season for day in LAST_SEASON]
    for customer in sorted(strangers):
        for family in range(3):
            item = habits.chance.choice([one for one in habits.family if habits.family[one] == family])
            sold.append((customer, item, ENDS - timedelta(60 * (family + 1))))
    return [
        {
            "line_id": f"f{number:04d}", "document_id": f"f{number:04d}", "date": day, "contact_id": customer,
            "item": item, "family": f"F{habits.family[item]}", "region": habits.region[customer],
        }
        for number, (customer, item, day) in enumerate(sold)
    ]  # fmt: skip


def _slip(chance: random.Random, code: Code) -> Code:
    """A wrong booking: half the time the code that everybody has at hand, else a near miss in one of both."""
    others = [("200", "OUTPUT2")] * 2
    others += [(chance.choice(ACCOUNTS), code[1]), (code[0], chance.choice(TAXES))]
    return chance.choice([one for one in others if one != code] or [("260", "OUTPUT2")])

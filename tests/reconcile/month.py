"""A month of two books, made by a seed, and mistakes planted in it, each with its cause and its cents.

Reckoned with Python's decimal alone: it shares no helper with the product or the sandbox, so that it can be held
against them. Amounts follow what Xero documents: a line is rounded half up, then its tax, then all is added.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from random import Random

PLACES = {"GBP": 2, "EUR": 2, "USD": 2, "AUD": 2, "JPY": 0, "BHD": 3}
PER_BASE = {"GBP": "1", "EUR": "1.154321", "USD": "1.27", "AUD": "1.93", "JPY": "190.5", "BHD": "0.478"}
TAXES = {"OUTPUT2": "20", "RROUTPUT": "5", "TAX001": "12.5", "ZERORATEDOUTPUT": "0"}
ACCOUNTS = ("200", "210", "260")
LINE_COUNTS = (0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 12, 20, 40)
DISCOUNTS = (None, None, None, "0", "5", "12.5", "33.33", "100")
NEXT_MONTH = date(2026, 12, 1)

Group = tuple[str | None, ...]  # currency, month, status, account
Moved = dict[Group, tuple[Decimal, Decimal]]  # what moves in it: net, tax


def half_up(amount: Decimal, places: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


@dataclass
class Line:
    key: str
    account: str
    tax: str
    rate: Decimal
    quantity: Decimal
    price: Decimal
    discount: Decimal | None
    net: Decimal = Decimal(0)
    levied: Decimal = Decimal(0)

    def exact(self) -> Decimal:
        return self.quantity * self.price * (100 - (self.discount or Decimal(0))) / 100


@dataclass
class Document:
    key: str
    currency: str
    on: date
    status: str
    per_base: Decimal
    inclusive: bool
    lines: list[Line]
    linked: bool = True
    beyond: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))
    credits: str | None = None  # of a credit note: the key of the document that it takes from

    def reckon(self, line: Line, places: int | None = None) -> None:
        """Give a line what its figures say."""
        places = PLACES[self.currency] if places is None else places
        amount = half_up(line.exact(), places)
        line.levied = half_up(amount * line.rate / (100 + line.rate if self.inclusive else 100), places)
        line.net = amount - line.levied if self.inclusive else amount

    def group(self, account: str | None) -> Group:
        return (self.currency, self.on.replace(day=1).isoformat(), self.status, account)

    def sums(self, sign: int = 1) -> Moved:
        found: Moved = {}
        for line in self.lines:
            add(found, self.group(line.account), sign * line.net, sign * line.levied)
        return found


def add(moved: Moved, group: Group, net: Decimal, tax: Decimal) -> None:
    before = moved.get(group, (Decimal(0), Decimal(0)))
    moved[group] = (before[0] + net, before[1] + tax)


def some(*parts: Moved) -> Moved:
    """Add up what moves, and leave out groups in which nothing does."""
    found: Moved = {}
    for part in parts:
        for group, (net, tax) in part.items():
            add(found, group, net, tax)
    return {group: amounts for group, amounts in found.items() if any(amounts)}


@dataclass
class Planted:
    kind: str
    cause: str
    document: str
    moved: Moved


@dataclass
class Month:
    salesforce: list[Document] = field(default_factory=list)
    xero: list[Document] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)

    def rows(self) -> list[tuple[object, ...]]:
        """The rows of BOOKED, in its order of columns."""
        return [
            row
            for side, documents in (("salesforce", self.salesforce), ("xero", self.xero))
            for document in documents
            for row in rows_of(side, document)
        ]

    def totals(self) -> dict[Group, dict[str, tuple[Decimal, Decimal]]]:
        """What each side has in each group."""
        found: dict[Group, dict[str, tuple[Decimal, Decimal]]] = {}
        for side, documents in (("salesforce", self.salesforce), ("xero", self.xero)):
            sums: Moved = {}
            for document in documents:
                for group, (net, tax) in document.sums().items():
                    add(sums, group, net, tax)
                if any(document.beyond):
                    add(sums, document.group(None), *document.beyond)
            for group, amounts in sums.items():
                found.setdefault(group, {})[side] = amounts
        return found


def rows_of(side: str, document: Document) -> Iterator[tuple[object, ...]]:
    def row(line: Line | None, net: Decimal, tax: Decimal) -> tuple[object, ...]:
        own = [None] * 7
        if line:
            own = [line.key, line.account, line.tax, line.rate, line.quantity, line.price, line.discount]
        return (
            *(side, document.key, document.linked, own[0], document.currency, document.on, document.status),
            *own[1:],
            *(document.per_base, document.inclusive, net, tax, document.credits),
        )

    yield row(None, *document.beyond)
    for line in document.lines:
        yield row(line, line.net, line.levied)


# --- A month in which both books agree ------------------------------------------------------------------


def clean_month(seed: int, documents: int, credits: float = 0.15) -> Month:
    """credits: the share of documents that give money back."""
    dice = Random(seed)
    month = Month()
    for number in range(documents):
        ours, theirs = a_document(dice, number, credits=credits)
        month.salesforce.append(ours)
        month.xero.append(theirs)
    return month


def a_document(
    dice: Random, number: int, currency: str | None = None, count: int | None = None, credits: float = 0.15
):
    currency = currency or dice.choice(list(PLACES))
    count = dice.choice(LINE_COUNTS) if count is None else count
    credit = dice.random() < credits
    document = Document(
        key=f"D{number:05d}",
        currency=currency,
        on=date(2026, 11, dice.randint(1, 30)),
        status=dice.choice(("DRAFT", "AUTHORISED", "AUTHORISED", "PAID")),
        per_base=Decimal(PER_BASE[currency]),
        inclusive=dice.random() < 0.4,
        lines=[],
    )
    for place in range(count):
        document.lines.append(a_line(dice, document, f"{document.key}-L{place}", -1 if credit else 1))
    theirs = copy.deepcopy(document)
    for line in theirs.lines:
        if credit:
            carry_the_discount(theirs, line)
    return document, theirs


def a_line(dice: Random, document: Document, key: str, sign: int) -> Line:
    """A line that both systems can hold: Xero, with two decimals, and the currency with its minor unit."""
    while True:
        tax = dice.choice(list(TAXES))
        odd = document.currency not in ("JPY", "BHD") or dice.random() < 0.2
        price = Decimal(dice.randint(1, 5_000_000)).scaleb(-4 if dice.random() < 0.3 else -2)
        quantity = Decimal(dice.choice(("1", "1", "2", "3", "7", "12", "0.5", "1.25", "2.3333")))
        if not odd:
            price, quantity = Decimal(dice.randint(1, 5000) * 20), Decimal(dice.randint(1, 9))
        line = Line(
            key=key,
            account=dice.choice(ACCOUNTS),
            tax=tax,
            rate=Decimal(TAXES[tax]),
            quantity=sign * quantity,
            price=price * (-1 if dice.random() < 0.04 else 1),  # money off, as a line of its own
            discount=None if (found := dice.choice(DISCOUNTS)) is None else Decimal(found),
        )
        document.reckon(line, 2)
        in_xero = (line.net, line.levied)
        document.reckon(line)
        if in_xero == (line.net, line.levied):
            return line


def carry_the_discount(document: Document, line: Line) -> None:
    """Xero's credit notes know no discount: the price carries it, where it can to the cent."""
    other = replace(line, price=line.price * (100 - (line.discount or 0)) / 100, discount=None)
    document.reckon(other)
    if other.price == round(other.price, 4) and (other.net, other.levied) == (line.net, line.levied):
        line.price, line.discount = other.price, None


# --- Mistakes -------------------------------------------------------------------------------------------


def planted_month(
    seed: int,
    documents: int,
    times: int = 1,
    credits: float = 0.15,
    mistakes: Mapping[str, Plant] | None = None,
) -> Month:
    """A month with each kind of mistake so many times, each in a document of its own."""
    month = clean_month(seed, documents, credits)
    dice = Random(seed + 1_000_003)
    free = list(zip(month.salesforce, month.xero, strict=True))
    dice.shuffle(free)
    for kind, plant in (MISTAKES if mistakes is None else mistakes).items():
        left = times
        while left:
            ours, theirs = free.pop()
            found = plant(dice, ours, theirs, month)
            if found is None:  # it can't be made in this document
                free.insert(0, (ours, theirs))
                continue
            month.planted += [replace(one, kind=kind) for one in found]
            left -= 1
    return month


Found = list[Planted] | None
Plant = Callable[[Random, Document, Document, Month], Found]


def told(cause: str, document: Document, *moved: Moved) -> Planted:
    return Planted("", cause, document.key, some(*moved))


def pick(dice: Random, theirs: Document, wanted: Callable[[Line], bool] = lambda line: True) -> Line | None:
    """A line that is worth something, with its tax."""
    lines = [line for line in theirs.lines if line.net and line.levied and wanted(line)]
    return dice.choice(lines) if lines else None


def changed(cause: str, change: Callable[[Random, Line], None], wanted=lambda line: True) -> Plant:
    """A mistake in one line of Xero: it is worth what the line is worth more or less by it."""

    def plant(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
        line = pick(dice, theirs, wanted)
        if line is None:
            return None
        before = (line.net, line.levied)
        trial = replace(line)
        change(dice, trial)
        theirs.reckon(trial)
        if (trial.net, trial.levied) == before:
            return None
        theirs.lines[theirs.lines.index(line)] = trial
        group = theirs.group(trial.account)
        return [told(cause, theirs, {group: (trial.net - before[0], trial.levied - before[1])})]

    return plant


def price(dice: Random, line: Line) -> None:
    line.price += dice.choice((-1, 1)) * Decimal(dice.randint(1, 90_000)).scaleb(-2)


def quantity(dice: Random, line: Line) -> None:
    line.quantity += dice.choice((1, 2, 10)) * (1 if line.quantity > 0 else -1)


def discount(dice: Random, line: Line) -> None:
    line.discount = None


def tax_code(dice: Random, line: Line) -> None:
    line.tax = dice.choice([tax for tax in TAXES if tax != line.tax])
    line.rate = Decimal(TAXES[line.tax])


def tax_rate(dice: Random, line: Line) -> None:
    line.rate += Decimal(dice.choice(("2.5", "-1", "0.25")))


def account(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    line = pick(dice, theirs)
    if line is None:
        return None
    before = theirs.group(line.account)
    line.account = dice.choice([code for code in ACCOUNTS if code != line.account])
    there = {theirs.group(line.account): (line.net, line.levied)}
    return [told("account", theirs, {before: (-line.net, -line.levied)}, there)]


def line_lost(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    line = pick(dice, theirs)
    if line is None:
        return None
    theirs.lines.remove(line)
    return [told("missing_line", theirs, {theirs.group(line.account): (-line.net, -line.levied)})]


def line_twice(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    line = pick(dice, theirs)
    if line is None:
        return None
    theirs.lines.append(replace(line, key=line.key + "-again"))
    return [told("extra_line", theirs, {theirs.group(line.account): (line.net, line.levied)})]


def never_made(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    month.xero.remove(theirs)
    ours.linked = False
    return [told("missing_document", ours, ours.sums(-1))]


def lost_though_linked(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    month.xero.remove(theirs)
    return [told("missing_document", ours, ours.sums(-1))]


def made_by_hand(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    twin = copy.deepcopy(theirs)
    twin.key, twin.linked = f"X-{theirs.key}", False
    month.xero.append(twin)
    return [told("extra_document", twin, twin.sums())]


def credited(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    """A credit note takes off one line of an invoice that both books have."""
    line = pick(dice, theirs)
    if line is None:
        return None
    taken = replace(line, key=f"{line.key}-off", quantity=-line.quantity, net=-line.net, levied=-line.levied)
    note = replace(theirs, key=f"C-{theirs.key}", lines=[taken], linked=False, credits=theirs.key)
    month.xero.append(note)
    return [told("credited", note, note.sums())]


def moved_whole(cause: str, change: Callable[[Random, Document], None]) -> Plant:
    """A mistake in the header of Xero's document: all its lines stand in another group."""

    def plant(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
        change(dice, theirs)
        return [told(cause, theirs, ours.sums(-1), theirs.sums())]

    return plant


def next_month(dice: Random, document: Document) -> None:
    document.on = NEXT_MONTH


def voided(dice: Random, document: Document) -> None:
    document.status = "VOIDED"


def other_rate(dice: Random, document: Document) -> None:
    document.per_base += Decimal("0.01")


def other_currency(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    if PLACES[ours.currency] != 2:
        return None
    theirs.currency = {"GBP": "EUR"}.get(theirs.currency, "GBP")
    return [told("currency", theirs, ours.sums(-1), theirs.sums())]


def prices_hold_the_tax(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    """The same prices, taken to hold the tax where they do not, or the other way round: each line is told."""
    # A credit's price carries its discount: that would be part of it.
    if not any(line.levied for line in theirs.lines) or len(theirs.lines) > 6:
        return None
    if [line.price for line in ours.lines] != [line.price for line in theirs.lines]:
        return None
    theirs.inclusive = not theirs.inclusive
    found = []
    for line in theirs.lines:
        before = (line.net, line.levied)
        theirs.reckon(line)
        moved = (line.net - before[0], line.levied - before[1])
        if any(moved):
            found.append(told("tax_inclusion", theirs, {theirs.group(line.account): moved}))
    return found or None


def halves_to_even(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    """A line that is worth exactly half a cent more: Salesforce rounds it to the even cent."""
    if PLACES[ours.currency] != 2 or not ours.lines:
        return None
    place = dice.randrange(len(ours.lines))
    for document in (ours, theirs):
        line = document.lines[place]
        line.quantity, line.discount = Decimal(1), None
        line.price = Decimal(place * 2 + 100) + Decimal("0.125")
        document.reckon(line)
    line, other = ours.lines[place], theirs.lines[place]
    whole = line.exact().quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    line.levied = half_up(whole * line.rate / (100 + line.rate if ours.inclusive else 100), 2)
    line.net = whole - line.levied if ours.inclusive else whole
    moved = (other.net - line.net, other.levied - line.levied)
    return [told("rounding_line", theirs, {theirs.group(line.account): moved})]


def two_decimals(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    """A currency whose minor unit is not the cent: Xero rounds to two decimals nevertheless."""
    if PLACES[ours.currency] == 2 or not ours.lines:
        return None
    place = dice.randrange(len(ours.lines))
    for document, places in ((ours, PLACES[ours.currency]), (theirs, 2)):
        line = document.lines[place]
        line.quantity, line.discount, line.price = Decimal(3), None, Decimal("33.4515")
        document.reckon(line, places)
    line, other = ours.lines[place], theirs.lines[place]
    moved = (other.net - line.net, other.levied - line.levied)
    return [told("rounding_line", theirs, {theirs.group(line.account): moved})]


def cents_of_once(document: Document) -> Decimal:
    """By how much the tax of the sum, rounded once, is more than the sum of the rounded taxes."""
    share = {
        line.key: (line.net + line.levied) * line.rate / (100 + line.rate)
        if document.inclusive
        else line.net * line.rate / 100
        for line in document.lines
    }
    once = half_up(sum(share.values(), Decimal(0)), 2)
    return once - sum((line.levied for line in document.lines), Decimal(0))


def sum_rounded_once(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    """Salesforce rounds the tax of the document once, and gives the cents to lines that were rounded the other way."""
    if PLACES[ours.currency] != 2 or ours.inclusive or not cents_of_once(ours):
        return None
    cents = cents_of_once(ours)
    cent = Decimal("0.01") if cents > 0 else Decimal("-0.01")
    # No exact halves: of such a line nobody could say whether it was rounded to the even cent.
    off = {line.key: line.net * line.rate / 100 - line.levied for line in ours.lines}
    other_way = [
        line for line in ours.lines if off[line.key] * cent > 0 and abs(off[line.key]) != cent.copy_abs() / 2
    ]
    if len(other_way) < cents / cent:
        return None
    moved: Moved = {}
    for line in other_way[: int(cents / cent)]:
        line.levied += cent
        add(moved, ours.group(line.account), Decimal(0), -cent)
    return [told("rounding_document", theirs, moved)]


def cents_beside_the_lines(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
    """The same, but Salesforce keeps the cents beside its lines."""
    if PLACES[ours.currency] != 2 or ours.inclusive or not cents_of_once(ours):
        return None
    more = cents_of_once(ours)
    ours.beyond = (Decimal(0), more)
    return [told("rounding_document", theirs, {ours.group(None): (Decimal(0), -more)})]


MISTAKES: dict[str, Plant] = {
    "a price typed wrong": changed("price_or_quantity", price),
    "a quantity typed wrong": changed("price_or_quantity", quantity),
    "a discount forgotten": changed("discount", discount, lambda line: bool(line.discount)),
    "prices taken to hold the tax": prices_hold_the_tax,
    "another tax code": changed("tax_code", tax_code),
    "an old rate under the same code": changed("tax_rate", tax_rate),
    "another account": account,
    "another currency": other_currency,
    "another rate into the base currency": moved_whole("currency_rate", other_rate),
    "booked a month later": moved_whole("timing", next_month),
    "voided": moved_whole("status", voided),
    "a line lost": line_lost,
    "a line twice": line_twice,
    "never made": never_made,
    "linked and gone": lost_though_linked,
    "made by hand": made_by_hand,
    "credited in Xero": credited,
    "halves rounded to even": halves_to_even,
    "yen and fils rounded to two decimals": two_decimals,
    "the sum rounded once": sum_rounded_once,
    "the sum rounded once, cents beside the lines": cents_beside_the_lines,
}


def counted(found: list[tuple[str, str, Moved]]) -> Counter[tuple[str, str, tuple[object, ...]]]:
    """Differences as something that can be compared: cause, document, and what moves where."""
    return Counter(
        (cause, document, tuple(sorted(moved.items(), key=str))) for cause, document, moved in found
    )

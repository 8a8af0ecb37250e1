"""Control totals prove themselves; each difference has its cause, and rounding is reckoned, never guessed by size."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import floor
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sales import Sales, linked, sales
from sales import line as deal_line
from two_books import raw_of, xero_id

from reconcile.documents import canonical_documents
from reconcile.model import BOOKED, DIFFERENCES, DOCUMENT_RATES, LINKS, PAIRED_LINES, conform, empty
from reconcile.totals import Booked, Totals, booked, control_totals

SIDES = ("salesforce", "xero")
GROUP = ["currency", "month", "status", "account"]


def number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def row(side: str, **fields: Any) -> dict[str, Any]:
    """A line of one document, 1 x 100.00 at 20%, that both sides have; amounts are reckoned unless given."""
    known = {"side": side, "document_key": "D", "linked": True, "line_key": "1", "currency": "GBP"}
    known |= {"date": date(2026, 11, 20), "status": "AUTHORISED", "account": "200", "tax": "OUTPUT2"}
    known |= {"rate": 20, "quantity": 1, "unit_price": 100, "discount": None, "currency_rate": 1}
    made = known | {"inclusive": False} | fields
    for name in ("rate", "quantity", "unit_price", "discount", "currency_rate", "amount", "tax_amount"):
        made[name] = number(made.get(name))
    return made | _reckoned(made)


def _reckoned(made: dict[str, Any]) -> dict[str, Decimal]:
    places = {"JPY": "1", "BHD": "0.001"}.get(made["currency"], "0.01")

    def cents(amount: Decimal) -> Decimal:
        return amount.quantize(Decimal(places), ROUND_HALF_UP)

    net, tax = made["amount"], made["tax_amount"]
    if net is None:
        net = cents(made["quantity"] * made["unit_price"] * (100 - (made["discount"] or 0)) / 100)
        if made["inclusive"]:
            tax = cents(net * made["rate"] / (100 + made["rate"])) if tax is None else tax
            net -= tax
    if tax is None:
        tax = cents(net * made["rate"] / 100)
    return {"amount": net, "tax_amount": tax}


def header(side: str, **fields: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("line_key", "account", "tax", "rate", "quantity", "unit_price"))
    return row(side, **nothing, **({"amount": 0, "tax_amount": 0} | fields))


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(BOOKED))


def differences(*rows: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Cause, net and tax of each difference row; the totals always prove themselves."""
    totals = control_totals(frame(*rows))
    assert totals.totals.filter(pl.col("residual") != 0).is_empty()
    told = totals.differences.select("cause", "net", "tax").rows()
    return [(cause, f"{net:.2f}", f"{tax:.2f}") for cause, net, tax in told]


def both(**fields: Any) -> list[dict[str, Any]]:
    return [row(side, **fields) for side in SIDES]


# --- The proof, whatever is booked

some_text = st.sampled_from([None, "A", "B"])
some_number = st.one_of(
    st.none(),
    st.sampled_from(
        [Decimal(text) for text in ("0", "1", "-1", "2.5", "0.3333", "12.5", "20", "-100", "1E-16")]
    ),
    st.decimals(min_value=-(10**21), max_value=10**21, places=6),
    st.decimals(min_value=-1000, max_value=1000, places=2),
)
some_amount = st.one_of(
    st.sampled_from([Decimal(text) for text in ("0", "0.01", "12.50", "-0.005", "20")]),
    st.decimals(min_value=-(10**20), max_value=10**20, places=4),  # what Python's decimal adds exactly,
)
some_row = st.fixed_dictionaries(
    {
        "side": st.sampled_from(SIDES),
        "document_key": some_text,
        "linked": st.sampled_from([True, True, True, False, None]),
        "line_key": st.sampled_from([None, "1", "2"]),
        "currency": st.sampled_from(["GBP", "GBP", "JPY", "BHD", None]),
        "date": st.sampled_from([date(2026, 11, 1), date(2026, 11, 30), date(2026, 12, 1), None]),
        "status": some_text,
        "account": some_text,
        "tax": some_text,
        "rate": some_number,
        "quantity": some_number,
        "unit_price": some_number,
        "discount": some_number,
        "currency_rate": some_number,
        "inclusive": st.sampled_from([True, False, None]),
        "amount": some_amount,
        "tax_amount": some_amount,
    }
)
# Such as a person would make: near enough to each other that every cause is met.
likely_row = st.builds(
    row,
    side=st.sampled_from(SIDES),
    document_key=st.sampled_from(["D", "E"]),
    line_key=st.sampled_from(["1", "2", "3"]),
    currency=st.sampled_from(["GBP", "GBP", "JPY"]),
    date=st.sampled_from([date(2026, 11, 1), date(2026, 12, 1)]),
    account=st.sampled_from(["200", "260"]),
    rate=st.sampled_from([0, 5, 20]),
    quantity=st.sampled_from([1, 2, "2.5", -1]),
    unit_price=st.decimals(min_value=-100, max_value=100, places=3),
    discount=st.sampled_from([None, 0, 5, 100]),
    inclusive=st.booleans(),
    tax_amount=st.sampled_from([None, None, "0.01"]),
)
books = st.one_of(st.lists(some_row, max_size=12), st.lists(likely_row, max_size=12))


def summed(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[Decimal]]:
    """The sums of both sides by group and measure, as Python adds them."""
    found: dict[tuple[Any, ...], list[Decimal]] = {}
    for one in rows:
        month = one["date"] and one["date"].replace(day=1)
        for measure, name in (("net", "amount"), ("tax", "tax_amount")):
            group = (one["currency"], month, one["status"], one["account"], measure)
            found.setdefault(group, [Decimal(0)] * 2)[SIDES.index(one["side"])] += one[name]
    return found


@settings(max_examples=60)
@given(books)
def test_differences_add_up_to_the_difference_of_the_totals_whatever_is_booked(rows):
    totals = control_totals(frame(*rows))
    moved: Counter[tuple[Any, ...]] = Counter()
    for one in totals.differences.iter_rows(named=True):
        for measure in ("net", "tax"):
            moved[(*(one[name] for name in GROUP), measure)] += one[measure]
    found = {}
    for one in totals.totals.iter_rows(named=True):
        group = (*(one[name] for name in GROUP), one["measure"])
        found[group] = [one["salesforce"], one["xero"]]
        assert one["difference"] == one["xero"] - one["salesforce"]
        assert one["difference"] == one["explained"] + one["unexplained"] + one["residual"]
        assert one["difference"] == moved.pop(group, 0)
        assert one["residual"] == 0
    assert not any(moved.values())
    worth = {group: sums for group, sums in summed(rows).items() if any(sums)}
    assert {group: sums for group, sums in found.items() if any(sums)} == worth


@settings(max_examples=25)
@given(books, st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_keys_change_nothing(rows, dice):
    other = {"D": "Z", "E": "Y", "A": "Q", "B": "P", "1": "9", "2": "8", "3": "7", None: None}
    mixed = [
        one | {"document_key": other[one["document_key"]], "line_key": other[one["line_key"]]} for one in rows
    ]
    dice.shuffle(mixed)

    def said(totals: Totals) -> tuple[list[Any], list[Any]]:
        told = totals.differences.drop("difference_id", "document_key", "line_key")
        return totals.totals.rows(), sorted(told.rows(), key=str)

    assert said(control_totals(frame(*rows))) == said(control_totals(frame(*mixed)))


@settings(max_examples=20)
@given(st.lists(likely_row, max_size=8))
def test_a_book_agrees_with_its_copy(rows):
    ours = [one | {"side": "salesforce"} for one in rows]
    theirs = [one | {"side": "xero"} for one in rows]
    assert differences(*ours, *theirs) == []


def test_a_lost_difference_is_told_as_a_residual(monkeypatch):
    import reconcile.totals as module

    monkeypatch.setattr(module, "explain_differences", lambda rows: empty(DIFFERENCES))
    totals = control_totals(frame(row("salesforce"), row("xero", unit_price=90)))
    assert totals.totals["residual"].to_list() == [Decimal(-10), Decimal(-2)]
    assert totals.totals["explained"].to_list() == [0, 0]


def test_a_row_without_an_amount_is_refused():
    rows = frame(row("salesforce")).with_columns(tax_amount=pl.lit(None, pl.Decimal(38, 4)))
    with pytest.raises(ValueError, match="without amount"):
        control_totals(rows)


# --- Causes


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"unit_price": 90}, [("price_or_quantity", "-10.00", "-2.00")]),
        ({"quantity": 3}, [("price_or_quantity", "200.00", "40.00")]),
        ({"discount": 5}, [("discount", "-5.00", "-1.00")]),
        ({"inclusive": True}, [("tax_inclusion", "-16.67", "-3.33")]),
        ({"tax": "ZERO", "rate": 0}, [("tax_code", "0.00", "-20.00")]),
        ({"tax": "OTHER"}, [("tax_code", "0.00", "0.00")]),  # the same rate: wrong all the same
        ({"rate": "17.5"}, [("tax_rate", "0.00", "-2.50")]),
        ({"currency_rate": "1.1"}, [("currency_rate", "0.00", "0.00")]),
        ({"account": "260"}, [("account", "-100.00", "-20.00"), ("account", "100.00", "20.00")]),
        ({"date": date(2026, 11, 1)}, []),  # the same month
        ({"date": date(2026, 12, 1)}, [("timing", "-100.00", "-20.00"), ("timing", "100.00", "20.00")]),
        ({"status": "VOIDED"}, [("status", "-100.00", "-20.00"), ("status", "100.00", "20.00")]),
        ({"line_key": "2"}, [("missing_line", "-100.00", "-20.00"), ("extra_line", "100.00", "20.00")]),
        (
            {"linked": False, "document_key": "X"},
            [("missing_document", "-100.00", "-20.00"), ("extra_document", "100.00", "20.00")],
        ),
        ({"tax_amount": "20.01"}, [("unexplained", "0.00", "0.01")]),
        ({"amount": "100.01", "tax_amount": "20.00"}, [("unexplained", "0.01", "0.00")]),
        ({"quantity": 2, "unit_price": 50}, []),  # said in another way, and worth the same
        ({"discount": 0}, []),
    ],
)
def test_each_cause_is_told_with_what_it_moves(theirs, told):
    assert differences(row("salesforce"), row("xero", **theirs)) == told


def test_two_mistakes_on_one_line_are_told_as_two():
    """Also where the line stands in another month under another account: it passes through a third group."""
    theirs = row("xero", unit_price=120, tax="ZERO", rate=0, account="260", date=date(2026, 12, 1))
    assert differences(row("salesforce"), theirs) == [
        ("timing", "-100.00", "-20.00"),
        ("timing", "100.00", "20.00"),
        ("account", "-100.00", "-20.00"),
        ("account", "100.00", "20.00"),
        ("price_or_quantity", "20.00", "4.00"),
        ("tax_code", "0.00", "-24.00"),
    ]


def test_what_moved_carries_one_id_and_says_from_where():
    totals = control_totals(frame(row("salesforce", account="200.10"), row("xero", account="260")))
    told = totals.differences
    assert told["difference_id"].to_list() == ["account:D:1"] * 2
    assert told.select("account", "net").rows() == [("200.10", Decimal(-100)), ("260", Decimal(100))]
    assert set(told["evidence"]) == {"account 200.10 in Salesforce, 260 in Xero"}
    assert totals.totals.select("account", "salesforce", "xero").filter(
        pl.col("account") == "260"
    ).rows() == [
        ("260", Decimal(0), Decimal(100)),
        ("260", Decimal(0), Decimal(20)),
    ]


def test_no_discount_and_none_of_nothing_are_the_same():
    told = control_totals(frame(row("salesforce"), row("xero", unit_price=90, discount=0))).differences
    assert told["evidence"].to_list() == ["unit price 100 in Salesforce, 90 in Xero"]


def test_the_same_id_on_both_sides_is_no_link():
    told = [("missing_document", "-100.00", "-20.00"), ("extra_document", "100.00", "20.00")]
    assert differences(*both(linked=False)) == told


def test_another_currency_rate_says_what_it_is_worth():
    rows = [
        row(side, line_key=key, currency_rate=rate)
        for side, rate in (("salesforce", "1.25"), ("xero", "1.2"))
        for key in "12"
    ]
    told = control_totals(frame(*rows)).differences
    assert told["evidence"].to_list() == [
        "currency rate 1.25 in Salesforce, 1.2 in Xero; 160 in the base currency by the one, 166.67 by the other"
    ]


def test_a_credit_may_carry_its_discount_in_the_price():
    """Xero's credit notes know no discount."""
    ours = row("salesforce", quantity=-2, discount=10)
    assert differences(ours, row("xero", quantity=-2, unit_price=90)) == []
    # And where that price is wrong, nobody can say which part of it was discount.
    wrong = row("xero", quantity=-2, unit_price=95)
    assert differences(ours, wrong) == [("price_or_quantity", "-10.00", "-2.00")]


def test_what_has_no_figures_is_told_by_the_first_cause_that_holds():
    ours, theirs = row("salesforce"), row("xero", amount=90, tax_amount=18) | {"quantity": None}
    assert differences(ours, theirs) == [("price_or_quantity", "-10.00", "-2.00")]
    nothing = {"quantity": None, "unit_price": None}
    assert differences(ours | nothing, theirs | nothing) == [("unexplained", "-10.00", "-2.00")]


def test_a_document_without_lines_is_known_by_its_own_row():
    assert differences(*(header(side) for side in SIDES)) == []
    assert differences(header("salesforce")) == [("missing_document", "0.00", "0.00")]
    told = differences(header("salesforce"), header("xero", status="VOIDED"))
    assert told == [("status", "0.00", "0.00")]


def test_a_documents_own_row_is_no_line_that_could_miss():
    assert differences(*both(), header("salesforce")) == []
    assert differences(*both(), header("xero", amount="0.07")) == [("unexplained", "0.07", "0.00")]


def test_lines_of_one_key_are_held_against_each_other_one_by_one():
    """Two lines of one id on a side: not thrown away, and not multiplied."""
    assert differences(*both(), *both(unit_price=50)) == []
    told = differences(*both(), row("xero", unit_price=50))
    assert [sum(Decimal(one[place]) for one in told) for place in (1, 2)] == [50, 10]


# --- Rounding

FACT = ("25.06", "25.61", "25.63")  # at 15%: 3.76 + 3.84 + 3.84 = 11.44, where 15% of the sum is 11.45


def fact(side: str, *taxes: str) -> list[dict[str, Any]]:
    return [
        row(side, line_key=str(key), unit_price=price, rate=15, tax_amount=tax)
        for key, (price, tax) in enumerate(zip(FACT, taxes, strict=True))
    ]


ours_by_line = fact("salesforce", "3.76", "3.84", "3.84")


def test_the_sum_rounded_once_is_rounding_of_the_document():
    """As Xero documents it, whichever of the lines has the cent."""
    for taxes in (("3.76", "3.84", "3.85"), ("3.76", "3.85", "3.84")):
        told = differences(*ours_by_line, *fact("xero", *taxes))
        assert told == [("rounding_document", "0.00", "0.01")]
    beside = header("xero", tax_amount="0.01")
    theirs = fact("xero", "3.76", "3.84", "3.84")
    assert differences(*ours_by_line, *theirs, beside) == [("rounding_document", "0.00", "0.01")]


def test_a_tax_may_be_rounded_once_over_lines_that_are_rounded_one_by_one():
    halves = [one for key in "89" for one in both(line_key=key, unit_price="0.005", rate=0)]
    told = differences(*halves, *ours_by_line, *fact("xero", "3.76", "3.84", "3.85"))
    assert told == [("rounding_document", "0.00", "0.01")]


@pytest.mark.parametrize(
    "taxes",
    [
        ("3.77", "3.84", "3.84"),  # the right sum, but 3.759 is never 3.77
        ("3.76", "3.85", "3.85"),  # one cent more than the sum
        ("3.75", "3.84", "3.84"),  # one less: the sum is another
    ],
)
def test_a_cent_that_no_rounding_gives_is_not_explained(taxes):
    told = differences(*ours_by_line, *fact("xero", *taxes))
    assert {cause for cause, *_ in told} == {"unexplained"}


def test_a_cent_of_a_document_of_one_line_is_not_explained():
    ours, theirs = row("salesforce", unit_price="25.06"), row("xero", unit_price="25.06", tax_amount="5.02")
    assert differences(ours, theirs) == [("unexplained", "0.00", "0.01")]


def test_a_line_may_be_rounded_in_another_known_way():
    half = {"unit_price": "0.125", "rate": 0}
    ours = row("salesforce", **half, amount="0.12")  # to the even cent
    assert differences(ours, row("xero", **half)) == [("rounding_line", "0.01", "0.00")]
    kept = row("salesforce", **half, amount="0.125")
    assert control_totals(frame(kept, row("xero", **half))).differences["cause"].to_list() == [
        "rounding_line"
    ]
    yen = {"currency": "JPY", "quantity": 3, "unit_price": "33.5", "rate": 10}
    theirs = row("xero", **yen, amount="100.50", tax_amount="10.05")  # two decimals in every currency
    assert differences(row("salesforce", **yen), theirs) == [("rounding_line", "-0.50", "0.05")]


def test_rounding_is_told_beside_another_mistake():
    half = {"unit_price": "0.125", "rate": 0}
    ours, theirs = row("salesforce", **half, amount="0.12"), row("xero", **half | {"unit_price": "0.5"})
    assert differences(ours, theirs) == [
        ("price_or_quantity", "0.37", "0.00"),
        ("rounding_line", "0.01", "0.00"),
    ]


def test_a_half_of_a_cent_is_not_lost_among_quotients():
    """9 cents that hold 20% hold 1.5 cents of tax, line by line 0.33 and 0.17 and so none: once, it is 2 cents."""
    prices, taxes = ("0.02", "0.02", "0.02", "0.02", "0.01"), ("0.01", "0.01", "0", "0", "0")
    rows = []
    for key, (price, tax) in enumerate(zip(prices, taxes, strict=True)):
        same = {"line_key": str(key), "unit_price": price, "inclusive": True}
        net = Decimal(price) - Decimal(tax)
        rows += [row("salesforce", **same), row("xero", **same, amount=net, tax_amount=tax)]
    assert differences(*rows) == [("rounding_document", "-0.02", "0.02")]


cents_of_a_line = st.integers(1, 99_999).map(lambda amount: Decimal(amount).scaleb(-2))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(cents_of_a_line, st.sampled_from(["20", "5", "12.5", "15"])), min_size=1, max_size=12),
    st.booleans(),
)
def test_whoever_rounds_the_sum_once_is_explained_to_the_cent(lines, inclusive):
    """The cents go, one each, to the lines that lose most: as a careful program would."""
    # In cents, as fractions: Decimal would lose a half of a sum of sixths.
    shares = [(Fraction(price), Fraction(rate)) for price, rate in lines]
    exact = [100 * price * rate / (100 + rate if inclusive else 100) for price, rate in shares]
    once = floor(sum(exact) + Fraction(1, 2))
    cents = [floor(tax) for tax in exact]
    losers = sorted(range(len(lines)), key=lambda place: cents[place] - exact[place])
    for place in losers[: once - sum(cents)]:
        cents[place] += 1
    taxes = [Decimal(tax).scaleb(-2) for tax in cents]
    rows = []
    for key, ((price, rate), tax) in enumerate(zip(lines, taxes, strict=True)):
        same = {"line_key": str(key), "unit_price": price, "rate": rate, "inclusive": inclusive}
        net = price - tax if inclusive else price
        rows += [row("salesforce", **same), row("xero", **same, amount=net, tax_amount=tax)]
    assert {cause for cause, *_ in differences(*rows)} <= {"rounding_document", "rounding_line"}


# --- What both books hold, from what the product reads

LINE_IDS = [f"0000000{key}-1111-4000-8000-000000000000" for key in range(10)]


def entry(key: int, quantity: Any, price: Any, amount: Any, tax_amount: Any, **fields: Any) -> dict[str, Any]:
    """A line as Xero shows it."""
    known = {"LineItemID": LINE_IDS[key].upper(), "Description": "Generator", "AccountCode": "200"}
    amounts = {"Quantity": quantity, "UnitAmount": price, "LineAmount": amount, "TaxAmount": tax_amount}
    return known | {"TaxType": "OUTPUT2"} | {name: number(value) for name, value in amounts.items()} | fields


def invoiced(books: Sales, *entries: dict[str, Any], **fields: Any) -> str:
    """An invoice with its lines, and totals that are their sums unless given."""
    amounts = [one["LineAmount"] or Decimal(0) for one in entries]
    taxes = [one["TaxAmount"] or Decimal(0) for one in entries]
    net, tax = sum(amounts, Decimal(0)), sum(taxes, Decimal(0))
    net -= tax if fields.get("LineAmountTypes") == "Inclusive" else 0
    known = {"DateString": "2026-11-20T00:00:00", "Status": "AUTHORISED", "CurrencyRate": Decimal(1)}
    sums = {"SubTotal": net, "TotalTax": tax, "Total": net + tax}
    lines = fields.pop("LineItems", list(entries))
    invoice = books.invoice(**(known | sums | fields))
    books.invoices[invoice]["LineItems"] = lines
    return invoice


def read(
    books: Sales,
    deals: dict[str, str] | None = None,
    rates: dict[str, str] | None = None,
    notes: list[dict[str, Any]] | None = None,
) -> Booked:
    """Opportunity -> invoice that is linked to it; their lines are paired one after the other."""
    deals, raw = deals or {}, books.raw()
    if notes is not None:
        raw["xero.CreditNote"] = raw_of({note["CreditNoteID"]: note for note in notes})
    documents = canonical_documents(raw, books.invoicing)
    links = pl.DataFrame(
        [{"salesforce_id": deal, "xero_id": invoice} for deal, invoice in deals.items()],
        schema={"salesforce_id": pl.String, "xero_id": pl.String},
    )
    lines = list(documents.lines["line_id"])
    pairs = [{"line_id": line_id, "line_item_id": LINE_IDS[place]} for place, line_id in enumerate(lines)]
    sent = [{"record_id": deal, "rate": Decimal(rate)} for deal, rate in (rates or {}).items()]
    return booked(
        documents,
        raw,
        conform(links, LINKS),
        conform(pl.DataFrame(pairs, schema={"line_id": pl.String, "line_item_id": pl.String}), PAIRED_LINES),
        conform(
            pl.DataFrame(sent, schema={"record_id": pl.String, "rate": pl.Decimal(38, 6)}), DOCUMENT_RATES
        ),
        books.invoicing,
    )


def told_of(found: Booked) -> list[tuple[str, Decimal, Decimal]]:
    assert found.rejects.is_empty()
    return control_totals(found.rows).differences.select("cause", "net", "tax").rows()


def sold(**keys: str) -> tuple[Sales, str]:
    """Two lines, 39.98 and 6.67: account of the mapping, tax left to the ledger."""
    books = sales(**({"amount": "ignore"} | keys))
    account, _ = linked(books)
    lines = [deal_line(2, "19.99"), deal_line("1.5", "6.6667", Discount=Decimal("33.33"))]
    return books, books.won(1, account, *lines, Amount=Decimal("46.65"))


FIRST = entry(0, 2, "19.99", "39.98", "8.00")
SECOND = entry(1, "1.5000", "6.6667", "6.67", "1.33", DiscountRate=Decimal("33.3300"))


def test_an_invoice_as_it_was_sent_agrees():
    books, deal = sold()
    found = read(books, {deal: invoiced(books, FIRST, SECOND, Status="PAID")})
    assert told_of(found) == []
    ours = found.rows.filter(pl.col("side") == "salesforce")
    assert ours.select("account", "tax", "rate", "amount", "tax_amount", "status").rows() == [
        (None, None, None, Decimal(0), Decimal(0), "PAID"),
        ("200", "OUTPUT2", Decimal(20), Decimal("39.98"), Decimal("8.00"), "PAID"),
        ("200", "OUTPUT2", Decimal(20), Decimal("6.67"), Decimal("1.33"), "PAID"),
    ]
    assert ours["document_key"].to_list() == [deal] * 3


def test_prices_that_hold_the_tax_agree():
    books, deal = sold(lines="{tax: OUTPUT2}", line_amounts="inclusive")
    entries = (entry(0, 2, "19.99", "39.98", "6.66"), SECOND | {"TaxAmount": Decimal("1.11")})
    invoice = invoiced(books, *entries, LineAmountTypes="Inclusive")
    found = read(books, {deal: invoice})
    assert told_of(found) == []
    assert found.rows["amount"].sum() == 2 * Decimal("38.88")


@pytest.mark.parametrize(
    ("first", "fields", "told"),
    [
        (entry(0, 2, "18.99", "37.98", "7.60"), {}, [("price_or_quantity", Decimal(-2), Decimal("-0.40"))]),
        (FIRST | {"TaxAmount": Decimal("8.01")}, {}, [("unexplained", 0, Decimal("0.01"))]),
        (
            FIRST | {"AccountCode": "260"},
            {},
            [("account", Decimal("-39.98"), -8), ("account", Decimal("39.98"), 8)],
        ),
        (FIRST, {"SubTotal": Decimal("46.70")}, [("unexplained", Decimal("0.05"), 0)]),
    ],
)
def test_what_somebody_changed_in_the_ledger_is_told(first, fields, told):
    books, deal = sold(lines="{account: '200'}")
    assert told_of(read(books, {deal: invoiced(books, first, SECOND, **fields)})) == told


def test_a_line_of_text_is_none_and_a_discount_may_be_an_amount():
    books, deal = sold()
    text = {
        "LineItemID": LINE_IDS[5],
        "Description": "Thank you",
        "LineAmount": Decimal("0.00"),
        "TaxAmount": None,
    }
    stated = {name: value for name, value in SECOND.items() if name != "DiscountRate"}
    invoice = invoiced(books, FIRST, stated | {"DiscountAmount": Decimal("3.33")}, text)
    found = read(books, {deal: invoice})
    assert told_of(found) == []
    assert found.rows.filter(pl.col("side") == "xero").height == 3


def test_a_deal_that_waits_for_its_invoice_has_the_tax_of_its_account():
    books, _ = sold()
    books.lists["Account"].clear()
    books.ledger("200", TaxType="OUTPUT2")
    assert told_of(read(books)) == [("missing_document", Decimal("-46.65"), Decimal("-9.33"))]


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"DateString": "2026-10-31T00:00:00"}, False),  # before the cut-over
        ({"DateString": None, "Date": "/Date(1793923200000+0000)/"}, True),  # 6 November 2026
        ({"Status": "VOIDED"}, False),
        ({"Status": "DELETED"}, False),
        ({"Type": "ACCPAY"}, False),
    ],
)
def test_an_invoice_made_by_hand_counts_from_the_cut_over_on(fields, counts):
    books = sales()
    invoiced(books, FIRST, **fields)
    told = [("extra_document", Decimal("39.98"), Decimal("8.00"))]
    assert told_of(read(books)) == (told if counts else [])


def test_a_voided_invoice_of_a_deal_is_told_by_the_status_that_the_deal_shows():
    books, deal = sold()
    invoice = invoiced(books, FIRST, SECOND, Status="VOIDED")
    assert told_of(read(books, {deal: invoice})) == []
    books.edit(deal, Xero_Invoice_Status__c="Authorised")
    moved = [("status", Decimal("46.65"), Decimal("9.33")), ("status", Decimal("-46.65"), Decimal("-9.33"))]
    assert sorted(told_of(read(books, {deal: invoice}))) == sorted(moved)


def note(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A credit note as Xero shows it: its amounts are above nothing."""
    net = sum((one["LineAmount"] for one in entries), Decimal(0))
    tax = sum((one["TaxAmount"] for one in entries), Decimal(0))
    known = {
        "CreditNoteID": xero_id(8000),
        "Type": "ACCRECCREDIT",
        "Status": "AUTHORISED",
        "CurrencyCode": "GBP",
    }
    known |= {
        "DateString": "2026-11-24T00:00:00",
        "CurrencyRate": Decimal(1),
        "SubTotal": net,
        "TotalTax": tax,
    }
    return known | {"Total": net + tax, "LineItems": list(entries)} | fields


OFF = entry(5, 1, "19.99", "19.99", "4.00")
TOO_MANY = entry(0, 3, "19.99", "59.97", "11.99")
CLAIMED = ("price_or_quantity", Decimal("19.99"), Decimal("3.99"))


def against(invoice: str) -> list[dict[str, Any]]:
    return [{"Amount": Decimal("23.99"), "Invoice": {"InvoiceID": invoice.upper()}}]


NUMBER, ALLOCATED = "INV-0001", {"Allocations": against(xero_id(7001))}
ELSEWHERE = against(xero_id(9))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        (ALLOCATED, "credited"),
        ({"Reference": NUMBER}, "credited"),
        ({"Reference": NUMBER, "DateString": "2020-01-01T00:00:00"}, "credited"),
        ({}, "extra_document"),
        ({"Reference": NUMBER, "Allocations": ELSEWHERE}, "extra_document"),
        ({"Allocations": ALLOCATED["Allocations"] + ELSEWHERE}, "extra_document"),
        ({"Reference": NUMBER, "Status": "VOIDED"}, None),
        ({"Reference": NUMBER, "Type": "ACCPAYCREDIT"}, None),
        ({"DateString": "2020-01-01T00:00:00"}, None),
    ],
)
def test_a_credit_note_takes_off_what_its_invoice_claims_too_much(fields, cause):
    books, deal = sold()
    invoice = invoiced(books, TOO_MANY, SECOND)
    assert (invoice, books.invoices[invoice]["InvoiceNumber"]) == (xero_id(7001), NUMBER)
    found = read(books, {deal: invoice}, notes=[note(OFF, **fields)])
    expected = [(cause, Decimal("-19.99"), Decimal("-4.00"))] if cause else []
    assert sorted(told_of(found)) == sorted([*expected, CLAIMED])
    totals = control_totals(found.rows).totals
    net = totals.filter(pl.col("measure") == "net")
    assert net["difference"].sum() == (Decimal(0) if cause else Decimal("19.99"))
    assert totals["residual"].sum() == 0


def test_the_credit_note_of_an_invoice_that_cannot_be_read_is_set_aside_with_it():
    books, deal = sold()
    invoice = invoiced(books, TOO_MANY, LineItems="none")
    found = read(books, {deal: invoice}, notes=[note(OFF, Allocations=against(invoice))])
    assert found.rows.is_empty()
    assert found.rejects["record_id"].to_list() == [invoice]


def test_the_rate_that_was_sent_is_held_against_the_ledgers():
    books, deal = sold()
    invoice = invoiced(books, FIRST, SECOND, CurrencyRate=Decimal("1.2500000000"))
    assert told_of(read(books, {deal: invoice})) == []  # left to Xero
    assert told_of(read(books, {deal: invoice}, {deal: "1.25"})) == []
    assert told_of(read(books, {deal: invoice}, {deal: "1.2"})) == [("currency_rate", 0, 0)]


@pytest.mark.parametrize(
    ("first", "fields", "reason"),
    [
        ({"LineAmount": "much"}, {}, "a line has no amount"),
        ({}, {"LineItems": "none"}, "the body is not the JSON of a document with its lines"),
        ({}, {"LineItems": []}, "its lines were not read"),
        ({}, {"DateString": "some day"}, "its date is not known"),
    ],
)
def test_what_cannot_be_read_is_set_aside_on_both_sides_and_stops_nothing_else(first, fields, reason):
    books, deal = sold()
    invoice = invoiced(books, FIRST, SECOND, **fields)
    if first:
        books.invoices[invoice]["LineItems"] = [FIRST | first, SECOND]
    invoiced(books, entry(7, 1, 10, 10, 2))
    found = read(books, {deal: invoice})
    assert found.rejects.select("side", "record_id", "reason").rows() == [("xero", invoice, reason)]
    assert control_totals(found.rows).differences["cause"].to_list() == ["extra_document"]


def test_a_deal_with_a_line_that_has_no_amount_is_set_aside_with_its_invoice():
    books, deal = sold()
    books.edit(books_line(books, deal), Quantity=None)
    found = read(books, {deal: invoiced(books, FIRST, SECOND)})
    assert found.rejects.select("side", "record_id", "reason").rows() == [
        ("salesforce", deal, "a line has no amount")
    ]
    assert found.rows.is_empty()


def books_line(books: Sales, deal: str) -> str:
    return next(
        key for key, one in books.salesforce["OpportunityLineItem"].items() if one["OpportunityId"] == deal
    )


def test_all_digits_of_an_amount_are_kept():
    books = sales(amount="ignore")
    large = Decimal("123456789012.34")
    invoiced(books, entry(0, 1, large, large, "24691357802.47"))
    assert told_of(read(books)) == [("extra_document", large, Decimal("24691357802.47"))]

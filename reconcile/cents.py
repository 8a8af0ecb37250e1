"""Says of each difference between both books what it is and what it moves, to the cent; none is ever repaired.

A document's lines are held against each other one by one. What differs is taken apart cause by cause, in the
order of CAUSES: from the line as Salesforce has it to the line as Xero has it, each cause worth what it moves
once those before it are taken into account. So two mistakes on one line are told as two, and whatever was booked,
the parts add up to the whole.

Rounding is recognised by reckoning it. A side's amounts are held against what its own quantity, price, discount
and rate give; where they are not that, they must be exactly what another known way to round gives. The
two ways that Xero names are: each line, then the sum (its own way); or the sum, then once. A cent that none
of them gives is not explained, however small it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

import polars as pl

from reconcile.model import BOOKED, CAUSE, DIFFERENCES, MEASURES, SIDES, conform
from reconcile.money import (
    AMOUNT,
    EXACT,
    HUNDRED,
    HUNDREDTH,
    LARGEST,
    ONE,
    PRICE_DECIMALS,
    XERO_PLACES,
    has_decimals,
    line_amount,
    line_tax,
    minor_units,
    rounded,
)

PLACE: Final = ["currency", "month", "status", "account"]  # a group of the control totals
DOCUMENT: Final = ["document_key", "linked"]
LINE: Final = ["document_key", "line_key", "nth"]
# Of these a document has one: they are told once for all its lines.
OF_DOCUMENT: Final = (
    "missing_document", "extra_document", "credited", "currency", "timing", "status", "currency_rate",
    "rounding_document",
)  # fmt: skip
# What moves a line from one group to another: the column that says so, and how it is shown.
MOVES: Final = {
    "currency": ("currency", "currency"),
    "timing": ("month", "date"),
    "status": ("status", "status"),
    "account": ("account", "account"),
}
# What an amount is reckoned from: which columns differ, and which are taken over with them.
STEPS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "currency": (("currency",), ("currency",)),  # another minor unit
    "price_or_quantity": (("quantity", "unit_price"), ("quantity", "unit_price", "discount")),
    "discount": (("discount",), ("discount",)),
    "tax_inclusion": (("inclusive",), ("inclusive",)),
    "tax_code": (("tax",), ("tax", "rate")),
    "tax_rate": (("rate",), ("rate",)),
}
FIGURES: Final = ("quantity", "unit_price", "discount", "rate", "inclusive")
STATE: Final = ("currency", *FIGURES)
NUMBERS: Final = ("quantity", "unit_price", "discount", "rate", "currency_rate", "amount", "tax_amount")
LEAST_RATE: Final = Decimal("0.000001")  # Xero keeps six decimals of a rate
MIDDLE: Final = 12  # decimals: a sum of quotients is off by less than half of the last of them
# How a side came to its amounts. The first that holds decides; the last is for what no reckoning gives.
WAYS: Final = {
    "rounds each line": None,
    "rounds the line to two decimals": "rounding_line",
    "rounds halves of the line to even": "rounding_line",
    "keeps the line to four decimals": "rounding_line",
    "rounds the sum once": "rounding_document",
    "has what nothing gives": "unexplained",
}
EACH_LINE, TWO_DECIMALS, TO_EVEN, FOUR_DECIMALS, SUM_ONCE, NOTHING = range(len(WAYS))
ZERO: Final = pl.lit(Decimal(0), AMOUNT)
Row = Mapping[str, pl.Expr]


def explain_differences(booked: pl.DataFrame) -> pl.DataFrame:
    """Say what differs between both books, why, and what it moves in which group.

    Takes BOOKED. Gives DIFFERENCES, in the order of CAUSES, then by document, line and group. Amounts are in
    the currency of their group, Xero minus Salesforce.
    What an amount is reckoned from (quantity, price, discount, inclusion, rate) is told only where it moves an
    amount: Xero's credit notes know no discount, so that their price carries it. Codes, accounts, months,
    statuses and currency rates are told wherever they differ.
    Raises nothing: whatever is booked has its causes.
    """
    rows = _reckoned(_numbered(conform(booked, BOOKED)))
    shared = pl.col("linked").fill_null(False) & (pl.col("side").n_unique().over(DOCUMENT) == len(SIDES))
    marked = rows.with_columns(shared=shared)
    pairs = _pairs(marked.filter("shared"))
    told = [_documents_of_one_side(marked.filter(~pl.col("shared"))), *_lines_of_one_side(pairs)]
    both = _with_empty_headers(pairs).filter("here_salesforce", "here_xero")
    apart = _with_steps(both)
    told += [*_moved(both), *_carrying_another_code(both), *_stepped(apart), _left_over(apart)]
    return _by_group(pl.concat(told))


def _numbered(booked: pl.DataFrame) -> pl.DataFrame:
    """Add month and nth: what tells rows of one key apart, by their content and not by their order."""
    return booked.sort(pl.all()).with_columns(
        month=pl.col("date").dt.truncate("1mo"),
        nth=pl.int_range(pl.len()).over("side", "document_key", "linked", "line_key"),
    )


# --- What each side's own figures give ------------------------------------------------------------------


def _reckoned(rows: pl.DataFrame) -> pl.DataFrame:
    """Add reckoned_net and reckoned_tax (null: no figures to reckon from), and way: how the side came to its own."""
    header = pl.col("line_key").is_null()
    readable = _can_be_reckoned() & ~header
    figures = rows.with_columns(
        readable=readable,
        **{f"own_{name}": pl.when(readable).then(name) for name in ("quantity", "unit_price", "rate")},
        own_discount=pl.when(readable).then(pl.col("discount").fill_null(Decimal(0))),
        own_inclusive=pl.col("inclusive").fill_null(False),
        places=minor_units(pl.col("currency")),
    )
    net, tax = _worth(_own_row())
    return _with_way(
        figures.with_columns(
            reckoned_net=pl.when(header).then(ZERO).otherwise(net),
            reckoned_tax=pl.when(header).then(ZERO).otherwise(tax),
        )
    )


def _can_be_reckoned() -> pl.Expr:
    """Say whether a row's figures are there, and small enough that their product is exact."""
    quantity, price, discount, rate = (
        pl.col(name) for name in ("quantity", "unit_price", "discount", "rate")
    )
    size = quantity.cast(pl.Float64).abs() * price.cast(pl.Float64).abs()  # a size, not an amount
    fits = (
        (quantity.abs() < LARGEST["Quantity"])
        & (price.abs() < LARGEST["UnitPrice"])
        & (size < LARGEST["Amount"])
        & has_decimals(quantity, PRICE_DECIMALS)
        & has_decimals(price, PRICE_DECIMALS)
        & (discount.is_null() | (discount.is_between(0, LARGEST["Discount"]) & has_decimals(discount, 4)))
        & rate.is_between(0, LARGEST["Discount"])
        & has_decimals(rate, 4)
        & (pl.col("amount").abs() < LARGEST["Amount"])
        & (pl.col("tax_amount").abs() < LARGEST["Amount"])
    )
    return fits.fill_null(False)


def _own_row() -> Row:
    return {"currency": pl.col("currency")} | {name: pl.col(f"own_{name}") for name in FIGURES}


def _worth(row: Row) -> tuple[pl.Expr, pl.Expr]:
    """Give net and tax of a line by Xero's rule: the line rounded, then its tax."""
    places = minor_units(row["currency"])
    amount = line_amount(row["quantity"], row["unit_price"], row["discount"], places)
    within = line_tax(amount, row["rate"], places, inclusive=True)
    on_top = line_tax(amount, row["rate"], places, inclusive=False)
    net = pl.when(row["inclusive"]).then(amount - within).otherwise(amount)
    return net.cast(AMOUNT), pl.when(row["inclusive"]).then(within).otherwise(on_top).cast(AMOUNT)


def _with_way(rows: pl.DataFrame) -> pl.DataFrame:
    """Add way: the place in WAYS of the first that gives a row's amounts."""
    stated = pl.when("own_inclusive").then(pl.col("amount") + pl.col("tax_amount")).otherwise("amount")
    # Of what can't be reckoned nothing is asked here, and it may be too large for EXACT.
    known = rows.with_columns(
        line=pl.when("readable").then(stated).cast(EXACT), levied=pl.when("readable").then("tax_amount")
    )
    share = ONE - pl.col("own_discount") * HUNDREDTH
    exact = known.with_columns(exact_line=pl.col("own_quantity") * pl.col("own_unit_price") * share)
    # The tax is reckoned from the line as it stands there: whoever rounds a line otherwise taxes what it gave.
    rate = pl.col("own_rate")
    within, on_top = pl.col("line") * rate / (HUNDRED + rate), pl.col("line") * rate * HUNDREDTH
    taxed = exact.with_columns(exact_tax=pl.when("own_inclusive").then(within).otherwise(on_top))
    places = pl.col("places")
    judged = taxed.with_columns(
        round_line=rounded(pl.col("exact_line"), places), round_tax=rounded(pl.col("exact_tax"), places)
    )
    cases = [pl.when(case.fill_null(False)).then(pl.lit(way)) for way, case in _ways().items()]
    return judged.with_columns(way=pl.coalesce(*cases, pl.lit(NOTHING))).drop(
        "line", "levied", "exact_line", "exact_tax", "round_line", "round_tax", "readable"
    )


def _ways() -> dict[int, pl.Expr]:
    header = pl.col("line_key").is_null()
    empty_header = header & (pl.col("amount") == 0) & (pl.col("tax_amount") == 0)
    away = "half_away_from_zero"
    return {
        EACH_LINE: empty_header | _gives(),
        TWO_DECIMALS: _gives(lambda exact: exact.round(XERO_PLACES, away)),
        TO_EVEN: _gives(_to_even, lambda exact: exact.round(XERO_PLACES)),
        FOUR_DECIMALS: _gives(lambda exact: exact.round(PRICE_DECIMALS, away)),
        SUM_ONCE: _sum_was_rounded_once(header),
    }


def _gives(*roundings: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """Say whether line and tax are what rounding each line gives, or one of these other roundings."""

    def one(stated: str, exact: str, usual: str) -> pl.Expr:
        found = [pl.col(usual), *(rounding(pl.col(exact)) for rounding in roundings)]
        return pl.any_horizontal([pl.col(stated) == value for value in found])

    return one("line", "exact_line", "round_line") & one("levied", "exact_tax", "round_tax")


def _to_even(amount: pl.Expr) -> pl.Expr:
    places = pl.col("places")
    odd = pl.when(places == 0).then(amount.round(0)).when(places == 3).then(amount.round(3))
    return odd.otherwise(amount.round(2))


def _sum_was_rounded_once(header: pl.Expr) -> pl.Expr:
    """Say whether a document's sums are the exact sums, rounded once.

    Its lines must each be their exact amount, rounded up or down: where the cent went is for the side to say.
    """
    group = ["side", *DOCUMENT, "currency"]
    unit = pl.when(pl.col("places") == 0).then(pl.lit(Decimal(1), EXACT)).otherwise(HUNDREDTH)

    def near(stated: str, exact: str) -> pl.Expr:
        return (pl.col(stated) - pl.col(exact)).abs() < unit

    # The document's own row holds what its total has beyond its lines.
    more_tax = pl.when(header).then("tax_amount").otherwise(ZERO)
    more = pl.when(header).then("amount").otherwise(ZERO)
    more_line = pl.when("own_inclusive").then(more + more_tax).otherwise(more)

    def summed(stated: str, exact: str, usual: str, more: pl.Expr) -> pl.Expr:
        each = pl.col(stated).eq_missing(pl.col(usual)) & (~header | (more == 0))
        total = (pl.col(stated).fill_null(Decimal(0)) + more).sum().over(group)
        # A sum of quotients such as 1/6 is a half only when their last digits are dropped.
        whole = pl.col(exact).sum().round(MIDDLE).over(group)
        once = (total == rounded(whole, pl.col("places"))) | (total == rounded(whole, pl.lit(XERO_PLACES)))
        return each.all().over(group) | once

    lines = header | (pl.col("readable") & near("line", "exact_line") & near("levied", "exact_tax"))
    return (
        lines.all().over(group)
        & summed("line", "exact_line", "round_line", more_line)
        & summed("levied", "exact_tax", "round_tax", more_tax)
    )


# --- Both sides of a line -------------------------------------------------------------------------------


def _pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """Put both sides of a line into one row; here_salesforce and here_xero say which has it."""
    halves = {
        side: rows.filter(pl.col("side") == side)
        .drop("side", "linked", "shared")
        .with_columns(here=pl.lit(True))
        .rename(lambda name, side=side: name if name in LINE else f"{name}_{side}")
        for side in SIDES
    }
    joined = halves["salesforce"].join(
        halves["xero"], on=LINE, how="full", coalesce=True, nulls_equal=True, validate="1:1"
    )
    return joined.with_columns(pl.col("here_salesforce", "here_xero").fill_null(False))


def _with_empty_headers(pairs: pl.DataFrame) -> pl.DataFrame:
    """Give a document's own row, where one side lacks it, an empty partner: it is no line that could miss."""
    header = pl.col("line_key").is_null()
    for side, other in (SIDES, SIDES[::-1]):
        lacking = header & ~pl.col(f"here_{side}")
        names = [name.removesuffix(f"_{side}") for name in pairs.columns if name.endswith(f"_{side}")]
        amounts = ("amount", "tax_amount", "reckoned_net", "reckoned_tax")
        filled = {name: ZERO if name in amounts else pl.col(f"{name}_{other}") for name in names}
        filled["way"] = pl.lit(EACH_LINE)
        pairs = pairs.with_columns(
            pl.when(lacking).then(value).otherwise(f"{name}_{side}").alias(f"{name}_{side}")
            for name, value in filled.items()
        )
    return pairs


# --- What one side alone has ----------------------------------------------------------------------------


def _documents_of_one_side(rows: pl.DataFrame) -> pl.DataFrame:
    missing = pl.col("side") == "salesforce"
    sign = pl.when(missing).then(pl.lit(Decimal(-1), AMOUNT)).otherwise(pl.lit(Decimal(1), AMOUNT))
    other = pl.when(missing).then(pl.lit("Xero")).otherwise(pl.lit("Salesforce"))
    credits = ~missing & pl.col("credits").is_not_null()
    cause = (
        pl.when(missing)
        .then(pl.lit("missing_document"))
        .when(credits)
        .then(pl.lit("credited"))
        .otherwise(pl.lit("extra_document"))
    )
    unlinked = pl.format("no document of {} is linked to it", other)
    alone = pl.format("linked, but its partner is not among the documents of {}", other)
    taken = pl.format("a credit note takes it off the invoice of {}", "credits")
    evidence = (
        pl.when(credits).then(taken).when(pl.col("linked").fill_null(False)).then(alone).otherwise(unlinked)
    )
    place = {name: pl.col(name) for name in PLACE}
    return _told(rows, cause, place, pl.col("amount") * sign, pl.col("tax_amount") * sign, evidence)


def _lines_of_one_side(pairs: pl.DataFrame) -> list[pl.DataFrame]:
    lines = pairs.filter(pl.col("line_key").is_not_null())
    return [
        _told(
            lines.filter(f"here_{side}", ~pl.col(f"here_{other}")),
            pl.lit(cause),
            _place(side),
            amount(f"amount_{side}"),
            amount(f"tax_amount_{side}"),
            pl.lit(f"the document of {other.title()} has no such line"),
        )
        for cause, side, other, amount in (
            ("missing_line", "salesforce", "xero", _minus),
            ("extra_line", "xero", "salesforce", pl.col),
        )
    ]


# --- What moved, or carries another code ----------------------------------------------------------------


def _moved(both: pl.DataFrame) -> list[pl.DataFrame]:
    """Tell each move: minus where it stood, plus where it stands, with the amounts of Salesforce.

    Moves come first, one after the other: what the amounts then differ by stands in Xero's group.
    """
    parts: list[pl.DataFrame] = []
    here = _place("salesforce")
    for cause, (column, shown) in MOVES.items():
        there = here | {column: pl.col(f"{column}_xero")}
        rows = both.filter(_differs(column))
        for place, amount in ((here, _minus), (there, pl.col)):
            net, tax = amount("amount_salesforce"), amount("tax_amount_salesforce")
            parts.append(_told(rows, pl.lit(cause), place, net, tax, _both_told(shown)))
        here = there
    return parts


def _carrying_another_code(both: pl.DataFrame) -> list[pl.DataFrame]:
    """Tell tax codes and currency rates that differ, also where they move nothing in the document's currency."""
    return [
        _told(both.filter(_differs(column)), pl.lit(cause), _place("xero"), ZERO, ZERO, evidence)
        for cause, column, evidence in (
            ("tax_code", "tax", _both_told("tax", "rate")),
            ("currency_rate", "currency_rate", _both_told("currency_rate") + _in_base_currency()),
        )
    ]


def _in_base_currency() -> pl.Expr:
    """Say what the document is worth in the base currency by each rate: where the difference is felt."""
    net = pl.col("amount_xero").sum().over("document_key")
    small = pl.when(net.abs() < LARGEST["Amount"]).then(net).cast(EXACT)
    worth = [
        (small / pl.when(rate >= LEAST_RATE).then(rate))
        .round(XERO_PLACES, "half_away_from_zero")
        .cast(AMOUNT)
        .cast(pl.String)
        for rate in (pl.col("currency_rate_salesforce"), pl.col("currency_rate_xero"))
    ]
    text = pl.format(
        "; {} in the base currency by the one, {} by the other", *(_without_zeros(one) for one in worth)
    )
    return pl.when(worth[0].is_not_null() & worth[1].is_not_null()).then(text).otherwise(pl.lit(""))


# --- What the amounts differ by -------------------------------------------------------------------------


def _with_steps(both: pl.DataFrame) -> pl.DataFrame:
    """Add to the lines whose amounts differ what each cause moves, as {cause}_net and _tax, and the rest.

    The line is reckoned as Salesforce has it, then with one figure after the other as Xero has it. Where nothing
    can be reckoned the first cause that holds has all of it.
    """
    whole = {"net": _apart("amount"), "tax": _apart("tax_amount")}
    apart = both.filter((whole["net"] != 0) | (whole["tax"] != 0))
    rows = apart.with_columns(between=_can_be_reckoned_between()).with_columns(all_of_it=_first_cause())
    rows = rows.with_columns(
        pl.when("between").then(_figure(name, side)).alias(_figure(name, side))
        for name in FIGURES
        for side in SIDES
    )
    rows = _with_worth(
        rows.with_columns(pl.col(_figure(name, "salesforce")).alias(f"at_{name}") for name in STATE)
    )
    for cause, (columns, taken) in STEPS.items():
        differs = _differs(*columns)
        rows = rows.with_columns(
            *(
                pl.when(differs).then(_figure(name, "xero")).otherwise(f"at_{name}").alias(f"at_{name}")
                for name in taken
                if name in STATE
            ),
            was_net="worth_net",
            was_tax="worth_tax",
        )
        rows = _with_worth(rows).with_columns(
            _share(cause, pl.col(f"worth_{name}") - pl.col(f"was_{name}"), whole[name]).alias(
                f"{cause}_{name}"
            )
            for name in MEASURES
        )
    return rows.with_columns(
        _share("unexplained", whole[name] - _apart(f"reckoned_{name}"), whole[name]).alias(f"rest_{name}")
        for name in MEASURES
    )


def _figure(name: str, side: str) -> str:
    return f"{name}_{side}" if name == "currency" else f"own_{name}_{side}"


def _with_worth(rows: pl.DataFrame) -> pl.DataFrame:
    net, tax = _worth({name: pl.col(f"at_{name}") for name in STATE})
    return rows.with_columns(worth_net=net, worth_tax=tax)


def _share(cause: str, reckoned: pl.Expr, whole: pl.Expr) -> pl.Expr:
    taken = pl.when(pl.col("all_of_it") == cause).then(whole).otherwise(ZERO)
    return pl.when("between").then(reckoned).otherwise(taken)


def _first_cause() -> pl.Expr:
    cases = [pl.when(_differs(*columns)).then(pl.lit(cause)) for cause, (columns, _) in STEPS.items()]
    line = pl.col("line_key").is_not_null()
    return pl.coalesce(pl.when(line).then(pl.coalesce(cases)), pl.lit("unexplained"))


def _can_be_reckoned_between() -> pl.Expr:
    """Say whether both sides can be reckoned, and any mixture of their figures."""
    known = pl.col("reckoned_net_salesforce").is_not_null() & pl.col("reckoned_net_xero").is_not_null()

    def largest(name: str) -> pl.Expr:
        return pl.max_horizontal(pl.col(_figure(name, side)).cast(pl.Float64).abs() for side in SIDES)

    fits = largest("quantity") * largest("unit_price") < LARGEST["Amount"]
    return (known & fits & pl.col("line_key").is_not_null()).fill_null(False)


def _stepped(apart: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        _told(
            apart.filter((pl.col(f"{cause}_net") != 0) | (pl.col(f"{cause}_tax") != 0)),
            pl.lit(cause),
            _place("xero"),
            pl.col(f"{cause}_net"),
            pl.col(f"{cause}_tax"),
            _both_told(*dict.fromkeys((*columns, *taken))),
        )
        for cause, (columns, taken) in STEPS.items()
    ]


def _left_over(apart: pl.DataFrame) -> pl.DataFrame:
    """Tell what no figure explains: by how each side came to its amounts."""
    rows = apart.filter((pl.col("rest_net") != 0) | (pl.col("rest_tax") != 0))
    ways, causes = list(WAYS), dict(enumerate(WAYS.values()))
    worst = pl.max_horizontal("way_salesforce", "way_xero")
    cause = worst.replace_strict(
        {way: cause for way, cause in causes.items() if cause}, return_dtype=pl.String
    )
    said = [
        pl.col(f"way_{side}").replace_strict(dict(enumerate(ways)), return_dtype=pl.String) for side in SIDES
    ]
    evidence = pl.format("Salesforce {}, Xero {}", *said)
    amounts = pl.when(worst == SUM_ONCE).then(pl.lit("")).otherwise("; " + _both_told("amount", "tax_amount"))
    return _told(rows, cause, _place("xero"), pl.col("rest_net"), pl.col("rest_tax"), evidence + amounts)


# --- Telling --------------------------------------------------------------------------------------------


def _place(side: str) -> dict[str, pl.Expr]:
    return {name: pl.col(f"{name}_{side}") for name in PLACE}


def _minus(name: str) -> pl.Expr:
    return ZERO - pl.col(name)


def _apart(name: str) -> pl.Expr:
    return pl.col(f"{name}_xero") - pl.col(f"{name}_salesforce")


def _told(
    rows: pl.DataFrame, cause: pl.Expr, place: Row, net: pl.Expr, tax: pl.Expr, evidence: pl.Expr
) -> pl.DataFrame:
    return rows.select(
        *LINE,
        cause=cause.cast(CAUSE),
        **place,
        net=net.cast(AMOUNT),
        tax=tax.cast(AMOUNT),
        evidence=evidence,
    )


def _differs(*names: str) -> pl.Expr:
    def one(name: str, side: str) -> pl.Expr:
        found = pl.col(f"{name}_{side}")
        return found.fill_null(Decimal(0)) if name == "discount" else found  # none, or 0 percent

    return pl.any_horizontal([one(name, "salesforce").ne_missing(one(name, "xero")) for name in names])


def _both_told(*names: str) -> pl.Expr:
    """Say what each side has in the columns that differ."""
    told = [
        pl.when(_differs(name)).then(
            pl.format(
                f"{name.replace('_', ' ')} {{}} in Salesforce, {{}} in Xero",
                *(_spelled(f"{name}_{side}", number=name in NUMBERS) for side in SIDES),
            )
        )
        for name in names
    ]
    return pl.concat_str(told, separator="; ", ignore_nulls=True)


def _spelled(name: str, *, number: bool) -> pl.Expr:
    text = pl.col(name).cast(pl.String)
    return (_without_zeros(text) if number else text).fill_null("none")


def _without_zeros(text: pl.Expr) -> pl.Expr:
    return text.str.replace(r"\.?0+$", "")  # of a Decimal with decimals: 100.0000, never 100


def _by_group(told: pl.DataFrame) -> pl.DataFrame:
    """Give one row a difference and group; a group in which nothing moves only where nothing moves at all."""
    line = ~pl.col("cause").is_in(OF_DOCUMENT)
    named = told.with_columns(line_key=pl.when(line).then("line_key")).with_columns(
        difference_id=pl.concat_str(
            pl.col("cause").cast(pl.String) + ":" + pl.col("document_key").fill_null(""),
            pl.when(line).then(":" + pl.col("line_key").fill_null("")).otherwise(pl.lit("")),
            pl.when(line & (pl.col("nth") > 0)).then(pl.format("#{}", "nth")).otherwise(pl.lit("")),
        )
    )
    key = ["difference_id", "cause", "document_key", "line_key", *PLACE]
    summed = named.group_by(key).agg(
        pl.col("net", "tax").sum(), evidence=pl.col("evidence").unique().sort().str.join("; ")
    )
    ordered = conform(summed, DIFFERENCES).sort("cause", "document_key", "line_key", "difference_id", *PLACE)
    moves = (pl.col("net") != 0) | (pl.col("tax") != 0)
    first = pl.int_range(pl.len()).over("difference_id") == 0
    return ordered.filter(moves | (first & ~moves.any().over("difference_id")))

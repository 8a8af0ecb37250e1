"""Decides the rate of each document, and puts it into the organisation's own currency where Xero lacks its own.

A rate is units of one currency for one of another. Salesforce states its rates against the corporate currency,
Xero's CurrencyRate is units of the document's currency for one of the organisation's: rates are crossed from one
way to the other over the currency that they are stated against, their hub. A rate that is missing, or that its
source contradicts, stops the documents that need it and no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from reconcile.decode import decoded_bodies
from reconcile.model import (
    CONVERSIONS,
    DOCUMENT_LINES,
    DOCUMENT_RATES,
    DOCUMENTS,
    RATES,
    REJECTS,
    conform,
    empty,
)
from reconcile.money import (
    AMOUNT,
    EXACT,
    HUNDRED,
    HUNDREDTH,
    LARGEST,
    ONE,
    PRICE_DECIMALS,
    XERO_PLACES,
    line_amount,
    line_tax,
    minor_units,
    numbers,
    quoted,
    rounded,
    spelled,
)

ENTITY: Final = "currency_rate"
RATE_DECIMALS: Final = 6  # of Xero's CurrencyRate
LARGEST_ERROR: Final = Decimal("0.0005")  # share of a rate that may be lost when it is rounded so
# Between the strongest and the weakest currency lie seven digits; what is beyond is a slip, and would not be exact.
SMALLEST_RATE: Final = Decimal("0.00000001")
LARGEST_RATE: Final = Decimal(100_000_000)
EVER: Final = date(1, 1, 1)
NEVER: Final = date(9999, 12, 31)
HALF_AWAY: Final = "half_away_from_zero"
PAIR: Final = ("from_currency", "to_currency")
OWN: Final = "its currency is the organisation's"


# --- Where rates come from ----------------------------------------------------------------------------


def salesforce_rates(raw_types: pl.DataFrame, raw_dated: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the rates of Salesforce: the dated ones, or in an org without them those of its currencies.

    Takes RAW of CurrencyType and of DatedConversionRate; both are empty in an org of one currency. Gives RATES
    (units of a currency for one of the corporate one; sorted) and REJECTS (rows that can't be read).
    A currency's undated rate counts from ever to ever. A dated one ends where Salesforce says, or where the next
    one that we hold begins if that is earlier.
    Source: object reference, CurrencyType and DatedConversionRate (ConversionRate against the corporate currency,
    NextStartDate exclusive). Dated rates are those of opportunities: second hand.
    """
    types, bad_types = _currency_rows(raw_types, dated=False)
    stated, bad_dated = _currency_rows(raw_dated, dated=True)
    rejects = [bad_types, bad_dated]
    corporate = types.filter(pl.col("IsCorporate").fill_null(False))
    if types.is_empty() and stated.is_empty():
        return empty(RATES), pl.concat(rejects)
    if corporate["rate"].to_list() != [Decimal(1)]:
        stated_ones = corporate.select("to_currency", "rate").rows()
        said = ", ".join(f"{code} at {spelled(rate)}" for code, rate in stated_ones) or "none"
        why = f"one corporate currency is needed, whose rate is one, and {said} is stated"
        nobody = pl.DataFrame({"record_id": [None]})
        return empty(RATES), pl.concat([*rejects, _reject(nobody, why)])
    # With dated rates each currency has some: its other rate is not one of the day.
    found = stated if raw_dated.filter(~pl.col("deleted").fill_null(False)).height else types
    rates = _until_the_next(found.with_columns(from_currency=pl.lit(corporate["to_currency"].item())))
    foreign = rates.filter(pl.col("from_currency") != pl.col("to_currency"))
    named = foreign.with_columns(source=pl.lit("salesforce"))
    return conform(named, RATES).sort(*PAIR, "starts_on"), pl.concat(rejects)


def _currency_rows(raw: pl.DataFrame, *, dated: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give to_currency, rate, starts_on, ends_on (null: open) and IsCorporate of what can be read, and REJECTS."""
    texts = ("IsoCode", "ConversionRate", "StartDate", "NextStartDate")
    types: dict[str, pl.DataType] = {"Id": pl.String(), "IsCorporate": pl.Boolean()}
    live = raw.filter(~pl.col("deleted").fill_null(False))
    table, _ = decoded_bodies(
        live.with_columns(body=quoted(pl.col("body"), ("ConversionRate",))),
        types | dict.fromkeys(texts, pl.String()),
        id_field="Id",
    )
    starts_on, ends_on = (pl.col(name).str.to_date("%Y-%m-%d", strict=False) for name in texts[2:])
    read = table.with_columns(
        to_currency=pl.col("IsoCode").str.strip_chars().str.to_uppercase(),
        rate=numbers(table["ConversionRate"]),
        starts_on=starts_on if dated else pl.lit(EVER),
        ends_on=pl.when(ends_on < NEVER).then(ends_on) if dated else pl.lit(None, pl.Date),
    )
    unread_end = pl.col("NextStartDate").is_not_null() & ends_on.is_null()
    sound = (
        pl.col("readable")
        & (pl.col("faults").list.len() == 0)
        & pl.all_horizontal(pl.col("to_currency", "rate", "starts_on").is_not_null())
        & ~(pl.lit(dated) & unread_end)
    )
    why = "it has no currency, rate or day that can be read"
    return read.filter(sound), _reject(read.filter(~sound), why)


def _reject(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    told = rows.select(
        "record_id",
        stage=pl.lit("canonical"),
        entity=pl.lit(ENTITY),
        side=pl.lit("salesforce"),
        reason=pl.lit(reason),
    )
    return conform(told, REJECTS)


def table_rates(table: pl.DataFrame, *, base_currency: str) -> pl.DataFrame:
    """Give the RATES of a configured table; each rate holds until the next one of its currency begins.

    Takes currency, starts_on (Date) and rate: units of that currency for one of the organisation's, as Xero's
    CurrencyRate stands. Two rates of one day are left for `rate_faults` to name.
    """
    dated = table.select(
        "starts_on",
        source=pl.lit("table"),
        from_currency=pl.lit(base_currency),
        to_currency=pl.col("currency"),
        rate=pl.col("rate").cast(EXACT),
        ends_on=pl.lit(None, pl.Date),
    )
    return conform(_until_the_next(dated), RATES).sort(*PAIR, "starts_on")


def _until_the_next(rates: pl.DataFrame) -> pl.DataFrame:
    """End each rate where the next one of its pair begins, or earlier where its source says so.

    Salesforce need not stamp a rate anew when a later one is added: the end that we hold may be too late. One
    that is too early (a later rate is gone, or can't be read) leaves a gap, which stops what falls into it.
    """
    starts = rates.select(*PAIR, "starts_on").unique().sort(*PAIR, "starts_on")
    following = starts.with_columns(next_on=pl.col("starts_on").shift(-1).over(PAIR))
    joined = rates.join(following, on=[*PAIR, "starts_on"], how="left", validate="m:1", maintain_order="left")
    return joined.with_columns(ends_on=pl.min_horizontal("ends_on", "next_on"))


def rate_faults(rates: pl.DataFrame) -> pl.DataFrame:
    """Say of which pairs the rates can't be used, and why.

    Takes RATES. Gives from_currency, to_currency, fault; a row a pair at fault, sorted. A fault names the two
    rates that hold at once, or the one that is none.
    """
    ordered = rates.unique().sort(*PAIR, "starts_on", "rate", nulls_last=True)
    before = pl.struct("starts_on", "ends_on", "rate").shift(1).over(PAIR)
    told = ordered.with_columns(said=_said("starts_on", "ends_on", "rate"), before=before).with_columns(
        said_before=pl.col("said").shift(1).over(PAIR)
    )
    # The first of a pair's rates to overlap any overlaps its neighbour: those before it stand apart.
    neighbour_ends = pl.col("before").struct.field("ends_on")
    has_neighbour = pl.col("said_before").is_not_null()
    overlaps = has_neighbour & (neighbour_ends.is_null() | (pl.col("starts_on") < neighbour_ends))
    about = pl.format("the rate of {} for one {}", "to_currency", "from_currency")
    fault = pl.coalesce(
        pl.when(pl.col("starts_on").is_null()).then(pl.format("{} has no day from which it holds", about)),
        pl.when(~pl.col("rate").is_between(SMALLEST_RATE, LARGEST_RATE).fill_null(False)).then(
            pl.format("{} is not a number that a rate can be: {}", about, "said")
        ),
        pl.when(pl.col("ends_on") <= pl.col("starts_on")).then(
            pl.format("{} ends before it begins: {}", about, "said")
        ),
        pl.when(overlaps).then(
            pl.format("{} is stated twice for one day: {}, and {}", about, "said_before", "said")
        ),
    )
    faults = told.with_columns(fault=fault).filter(pl.col("fault").is_not_null())
    return faults.unique(PAIR, keep="first", maintain_order=True).select(*PAIR, "fault")


def _said(starts_on: str, ends_on: str, rate: str) -> pl.Expr:
    """Give a rate in words: 1.17 from 2026-01-01 until 2026-02-01."""
    start = pl.when(pl.col(starts_on) > EVER).then(pl.format(" from {}", starts_on)).otherwise(pl.lit(""))
    end = pl.format(" until {}", ends_on).fill_null("")
    return pl.concat_str(_spelled(pl.col(rate)).fill_null("nothing"), start.fill_null(""), end)


def _spelled(number: pl.Expr) -> pl.Expr:
    return number.cast(EXACT).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")


# --- The rate of each document ------------------------------------------------------------------------


def left_to_xero(documents: pl.DataFrame, *, base_currency: str | None) -> pl.DataFrame:
    """Give the rates where their source is Xero: none is sent, and Xero takes its own of the day.

    Takes record_id, currency, date (of DOCUMENTS). Gives DOCUMENT_RATES, in their order.
    Source: Xero staff, community 38091 (the XE rate of the invoice's date).
    """
    own = _own()
    told = documents.with_columns(base_currency=pl.lit(base_currency, pl.String)).with_columns(
        source=pl.when(~own).then(pl.lit("xero")),
        exact=pl.when(own).then(ONE),
        evidence=pl.when(own).then(pl.lit(OWN)).otherwise(pl.lit("Xero takes its own rate of the day")),
    )
    return _with_rounding(told, reason=pl.lit(None, pl.String))


def rate_of(documents: pl.DataFrame, rates: pl.DataFrame, *, base_currency: str | None) -> pl.DataFrame:
    """Give each document's rate as Xero's CurrencyRate stands: units of its currency for one of the organisation's.

    Takes record_id, currency, date (of DOCUMENTS) and RATES, of one source or several. Gives DOCUMENT_RATES,
    one row a document, in their order. The hub is the organisation's currency where rates are stated
    against it, else the document's, else the first by name that leads to both.
    Rounded half away from zero to six decimals, with what rounding did; a rate of which that would lose more than
    0.05% has a reason and is null, while exact (16 decimals) stands.
    Source: Xero, CurrencyRate [18].[6] (OpenAPI), its direction by payments' example and forum (second hand).
    """
    wanted = documents.select("record_id", "currency", "date", base_currency=pl.lit(base_currency, pl.String))
    known = pl.all_horizontal(pl.col("currency", "date", "base_currency").is_not_null())
    foreign = wanted.filter(known, ~_own()).select("currency", "date", "base_currency").unique()
    found = wanted.join(
        _crossed(foreign, rates), on=["currency", "date"], how="left", validate="m:1", maintain_order="left"
    )
    own = _own()
    told = found.with_columns(
        exact=pl.when(own).then(ONE).otherwise("exact"),
        evidence=pl.when(own).then(pl.lit(OWN)).otherwise("evidence"),
    )
    missing = pl.coalesce("missing", pl.lit("there are no rates at all"))
    return _with_rounding(
        told,
        reason=pl.coalesce(
            pl.when(pl.col("currency").is_null()).then(pl.lit("its currency is not known")),
            pl.when(pl.col("base_currency").is_null()).then(
                pl.lit("the organisation's currency is not known")
            ),
            pl.when(~own & pl.col("date").is_null()).then(
                pl.lit("its day is not known, and so is its rate not")
            ),
            pl.when(pl.col("exact").is_null()).then(missing),
        ),
    )


def _own() -> pl.Expr:
    return (pl.col("currency") == pl.col("base_currency")).fill_null(False)


def _crossed(foreign: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Add exact, source, evidence, or what is missing, to each currency and day; none without any rate."""
    hubs = rates.select(hub="from_currency").unique()
    ways = foreign.join(hubs, how="cross")
    faults = rate_faults(rates)
    for leg in ("currency", "base_currency"):
        ways = _with_leg(ways, rates, faults, leg)
    missing = pl.coalesce("base_currency_missing", "currency_missing")
    told = ways.with_columns(
        missing=missing,
        exact=pl.col("currency_rate") / pl.col("base_currency_rate"),
        source=pl.concat_list(pl.col("^.*_source$")).list.drop_nulls().list.unique().list.sort(),
        evidence=pl.concat_str("currency_said", "base_currency_said", separator="; ", ignore_nulls=True),
    )
    best = told.sort(
        pl.col("missing").is_not_null(),
        pl.col("hub") != pl.col("base_currency"),
        pl.col("hub") != pl.col("currency"),
        "hub",
    ).unique(["currency", "date"], keep="first", maintain_order=True)
    there = pl.col("missing").is_null()
    return best.select(
        "currency",
        "date",
        "missing",
        "exact",
        source=pl.when(there).then(pl.col("source").list.join(", ")),
        evidence=pl.when(there).then("evidence"),
    )


def _with_leg(ways: pl.DataFrame, rates: pl.DataFrame, faults: pl.DataFrame, leg: str) -> pl.DataFrame:
    """Add to each way the rate of one of its currencies for one of its hub on that day: leg_rate, or leg_missing."""
    pairs = {"hub": "from_currency", leg: "to_currency"}
    stated = rates.join(faults, on=PAIR, how="anti").select(
        **pairs,
        starts_on="starts_on",
        ends_on="ends_on",
        **{f"{leg}_rate": "rate", f"{leg}_source": "source"},
    )
    found = (
        ways.sort("date")
        .join_asof(
            stated.sort("starts_on"),
            left_on="date",
            right_on="starts_on",
            by=list(pairs),
            check_sortedness=False,  # it can't be checked within pairs; both are sorted just above
        )
        .join(
            faults.select(**pairs, fault="fault"),
            on=list(pairs),
            how="left",
            validate="m:1",
            maintain_order="left",
        )
    )
    same = pl.col("hub") == pl.col(leg)
    holds = pl.col(f"{leg}_rate").is_not_null() & (pl.col("date") < pl.col("ends_on")).fill_null(True)
    said = pl.format("1 {} = {} ({})", "hub", _in_words(leg), f"{leg}_source")
    none = pl.format("no rate of {} for one {} holds on {}", leg, "hub", "date")
    return found.with_columns(
        pl.when(same).then(ONE).when(holds).then(f"{leg}_rate").alias(f"{leg}_rate"),
        pl.when(~same & holds).then(f"{leg}_source").alias(f"{leg}_source"),
        pl.when(~same & holds).then(said).alias(f"{leg}_said"),
        pl.when(~same & ~holds).then(pl.coalesce("fault", none)).alias(f"{leg}_missing"),
    ).drop("starts_on", "ends_on", "fault", strict=False)


def _in_words(leg: str) -> pl.Expr:
    start = pl.when(pl.col("starts_on") > EVER).then(pl.format(" from {}", "starts_on"))
    end = pl.format(" until {}", "ends_on")
    return pl.concat_str(
        _spelled(pl.col(f"{leg}_rate")), pl.lit(" "), pl.col(leg), start.fill_null(""), end.fill_null("")
    )


def _with_rounding(told: pl.DataFrame, *, reason: pl.Expr) -> pl.DataFrame:
    exact, kept = pl.col("exact"), pl.col("exact").round(RATE_DECIMALS, HALF_AWAY)
    beyond = ~exact.is_between(SMALLEST_RATE, LARGEST_RATE)
    inexact = (kept - exact).abs() > exact * pl.lit(LARGEST_ERROR, EXACT)
    size = pl.format("its rate of {} for one {} is {}", "currency", "base_currency", _spelled(exact))
    left = pl.format(f"{{}}, of which the {RATE_DECIMALS} decimals of Xero leave {{}}", size, _spelled(kept))
    why = pl.coalesce(
        reason,
        pl.when(beyond).then(pl.format("{}: that is no rate that we trust", size)),
        pl.when(inexact).then(left),
    )
    bounded = told.with_columns(reason=why, exact=pl.when(~beyond).then(exact))
    sent = bounded.with_columns(rate=pl.when(pl.col("reason").is_null()).then(kept))
    return conform(sent.with_columns(rounding=pl.col("rate") - exact), DOCUMENT_RATES)


# --- A currency that the organisation lacks -------------------------------------------------------------


def lacking(held: Iterable[str], base_currency: str | None) -> pl.Expr:
    """Say of DOCUMENTS that an invoice could be made of whether the organisation has no such currency.

    held: the codes of Xero's Currencies; the organisation's own counts as held.
    """
    has = pl.col("currency").is_in(sorted({*held, *filter(None, [base_currency])}))
    return pl.col("reason").is_null() & ~has.fill_null(True)


def stopped(headers: pl.DataFrame, *, held: Iterable[str], base_currency: str | None) -> pl.DataFrame:
    """By the policy `stop`: give DOCUMENTS with a reason, and its remedy, where the currency is lacking."""
    why = pl.format(
        f"its currency {{}} is none of the organisation's: add it in Xero (Settings, Currencies; the plan must be "
        f"one with several currencies), or let the mapping turn it into {base_currency} "
        "(documents.invoice.currency.lacking: convert)",
        "currency",
    )
    reason = pl.when(lacking(held, base_currency)).then(why).otherwise("reason")
    return headers.with_columns(reason=reason)


@dataclass(frozen=True)
class Converted:
    """Documents, of which those in a lacking currency are in the organisation's.

    headers DOCUMENTS, lines DOCUMENT_LINES: all that came, in their order. conversions CONVERSIONS: what was
    converted, at which rate, and what rounding did.
    """

    headers: pl.DataFrame
    lines: pl.DataFrame
    conversions: pl.DataFrame


def converted(
    headers: pl.DataFrame,
    lines: pl.DataFrame,
    found: pl.DataFrame,
    *,
    held: Iterable[str],
    base_currency: str | None,
    line_amounts: str,
    tax_rates: pl.DataFrame,
) -> Converted:
    """By the policy `convert`: put the documents whose currency is lacking into the organisation's, to the cent.

    Takes DOCUMENTS, DOCUMENT_LINES, DOCUMENT_RATES of those documents, exclusive, inclusive or no_tax, and tax
    (TaxType), rate (percent). The lines' amounts add up to the document's divided by its exact rate and
    rounded once; the remainder goes, one minor unit a line, to those that were cut most. Unit prices are those
    that give these amounts, so that Xero, which rounds each line and then adds, comes to the same; tax is
    reckoned anew line by line. Where no unit price gives a line's amount, or there is no rate, the document
    stays as it was and has a reason.
    """
    rates = found.select("record_id", "base_currency", "exact", "evidence", rate_reason="reason")
    joined = headers.join(rates, on="record_id", how="left", validate="1:1", maintain_order="left")
    wanted = joined.filter(lacking(held, base_currency))
    rated = wanted.filter(pl.col("exact").is_not_null())
    priced = _priced(lines, rated, tax_rates, line_amounts)
    faults = priced.filter(pl.col("fault").is_not_null()).unique(
        "document_id", keep="first", maintain_order=True
    )
    good = rated.join(faults, left_on="record_id", right_on="document_id", how="anti", maintain_order="left")
    sums = _sums(good, priced, inclusive=line_amounts == "inclusive")
    reasons = pl.concat(
        [
            wanted.filter(pl.col("exact").is_null()).select("record_id", why=_no_rate()),
            faults.select(record_id="document_id", why="fault"),
        ]
    )
    return Converted(
        headers=_headers(headers, sums, reasons),
        lines=_lines(lines, priced.join(sums, left_on="document_id", right_on="record_id", how="semi")),
        conversions=conform(sums, CONVERSIONS).sort("record_id"),
    )


def _no_rate() -> pl.Expr:
    """Say why a document can't be converted; Xero's own rate is not known before its invoice is made."""
    why = pl.coalesce("rate_reason", pl.lit("the rate that Xero takes is not known before"))
    return pl.format("its currency {} is none of the organisation's, and {}", "currency", why)


def _priced(
    lines: pl.DataFrame, rated: pl.DataFrame, tax_rates: pl.DataFrame, line_amounts: str
) -> pl.DataFrame:
    """Give the lines of these documents with exact_amount, new_price, new_amount and new_tax, or a fault."""
    documents = rated.select("base_currency", "exact", document_id="record_id")
    own = (
        lines.join(documents, on="document_id", how="inner", validate="m:1")
        .join(tax_rates.select("tax", tax_rate="rate"), on="tax", how="left", validate="m:1")
        .sort("document_id", "position")
        .with_columns(places=minor_units(pl.col("base_currency")))
    )
    allotted = _allotted(own.with_columns(exact_amount=_over(pl.col("amount"), pl.col("exact"))))
    share = ONE - pl.col("discount").fill_null(Decimal(0)).cast(EXACT) * HUNDREDTH
    weight = pl.col("quantity") * share
    price = pl.coalesce(
        pl.col("new_amount") / pl.when(weight != 0).then(weight), _over(pl.col("unit_price"), pl.col("exact"))
    )
    quantity, discount = pl.col("quantity"), pl.col("discount")
    new = allotted.with_columns(new_price=price.round(PRICE_DECIMALS, HALF_AWAY)).with_columns(
        given=line_amount(quantity, pl.col("new_price"), discount, pl.col("places")),
        in_xero=line_amount(quantity, pl.col("new_price"), discount, pl.lit(XERO_PLACES)),
    )
    return _with_tax(new, line_amounts).with_columns(fault=_line_fault())


def _over(amount: pl.Expr, rate: pl.Expr) -> pl.Expr:
    """Divide an amount by a rate; null where the quotient is too large to be exact."""
    # A size, not an amount: exact, one that is too large would not fit.
    fits = (amount.cast(pl.Float64) / rate.cast(pl.Float64)).abs() < LARGEST["Amount"]
    return pl.when(fits).then(amount.cast(EXACT)) / rate


def _allotted(lines: pl.DataFrame) -> pl.DataFrame:
    """Add new_amount: the exact amounts cut to the minor unit, and the remainder to those that were cut most."""
    # Xero's amounts have two decimals: of a currency with three the last stays zero.
    scale = pl.when(pl.col("places") == 0).then(ONE).otherwise(HUNDRED)
    cut = pl.col("units").floor()
    total = pl.col("amount").cast(EXACT).sum().over("document_id")
    spare = rounded(_over(total, pl.col("exact")) * scale, pl.lit(0)) - cut.sum().over("document_id")
    rank = (pl.col("units") - cut).rank("ordinal", descending=True).over("document_id")
    more = pl.when(rank <= spare).then(ONE).otherwise(pl.lit(Decimal(0), EXACT))
    scaled = lines.with_columns(units=pl.col("exact_amount") * scale)
    return scaled.with_columns(new_amount=(cut + more) / scale)


def _with_tax(lines: pl.DataFrame, line_amounts: str) -> pl.DataFrame:
    """Add new_tax, and what it would be in two decimals; null where Xero decides it."""
    if line_amounts == "no_tax":
        return lines.with_columns(
            new_tax=pl.lit(Decimal(0), EXACT), tax_in_xero=pl.lit(Decimal(0), EXACT), tax_known=pl.lit(True)
        )
    known = pl.col("tax_amount").is_not_null()
    rate, inclusive = pl.when(known).then(pl.col("tax_rate").cast(EXACT)), line_amounts == "inclusive"
    return lines.with_columns(
        new_tax=line_tax(pl.col("new_amount"), rate, pl.col("places"), inclusive=inclusive),
        tax_in_xero=line_tax(pl.col("new_amount"), rate, pl.lit(XERO_PLACES), inclusive=inclusive),
        tax_known=~known | pl.col("tax_rate").is_not_null(),
    )


def _line_fault() -> pl.Expr:
    """Say why a line can't be converted: the first that holds."""
    nearest = pl.when(pl.col("given") != pl.col("new_amount")).then("given").otherwise("in_xero")
    unlike = (pl.col("given") != pl.col("new_amount")) | (pl.col("in_xero") != pl.col("new_amount"))
    too_large = pl.col("new_amount").is_null() | (pl.col("new_price").abs() >= LARGEST["UnitPrice"])
    return pl.coalesce(
        pl.when(too_large.fill_null(True)).then(
            pl.format("its line {} has in {} an amount too large to be exact", "position", "base_currency")
        ),
        pl.when(unlike).then(
            pl.format(
                "its line {} comes to {} {}, and no unit price of "
                f"{PRICE_DECIMALS} decimals gives that for its quantity: the nearest gives {{}}, a difference of {{}}",
                "position", _spelled(pl.col("new_amount")), "base_currency", _spelled(nearest),
                _spelled(nearest - pl.col("new_amount")),
            )
        ),
        pl.when(~pl.col("tax_known")).then(
            pl.format("its line {} has the tax {}, whose rate is not known", "position", "tax")
        ),
        pl.when(pl.col("new_tax") != pl.col("tax_in_xero")).then(
            pl.format(
                f"its line {{}} has a tax that Xero, with {XERO_PLACES} decimals, can't hold in the minor unit of {{}}",
                "position", "base_currency",
            )
        ),
    )  # fmt: skip


def _sums(good: pl.DataFrame, priced: pl.DataFrame, *, inclusive: bool) -> pl.DataFrame:
    """Give CONVERSIONS, and new_* of the header: sums of what was rounded line by line."""
    known = pl.col("new_tax").is_not_null().all()
    of_lines = priced.group_by("document_id").agg(
        amount_before=pl.col("amount").sum(),
        sum_after=pl.col("new_amount").sum(),
        tax_after=pl.when(known).then(pl.col("new_tax").sum()),
        largest_move=(pl.col("new_amount") - pl.col("exact_amount")).abs().max(),
    )
    joined = good.join(
        of_lines,
        left_on="record_id",
        right_on="document_id",
        how="inner",
        validate="1:1",
        maintain_order="left",
    )
    after, tax, exact = pl.col("sum_after"), pl.col("tax_after"), pl.col("exact")
    exact_amount = _over(pl.col("amount_before"), exact)
    new_total = after if inclusive else after + tax
    return joined.select(
        "record_id",
        "evidence",
        "largest_move",
        from_currency="currency",
        to_currency="base_currency",
        rate="exact",
        amount="amount_before",
        exact_amount=exact_amount,
        converted="sum_after",
        difference=after - exact_amount,
        total_difference=new_total - _over(pl.col("total"), exact),
        # Xero's two decimals, or none, as the document's own amounts.
        new_stated=rounded(
            _over(pl.col("amount"), exact),
            pl.min_horizontal(minor_units(pl.col("base_currency")), XERO_PLACES),
        ),
        new_subtotal=after - tax if inclusive else after,
        new_tax=tax,
        new_total=new_total,
    )


def _headers(headers: pl.DataFrame, sums: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    new = sums.select(
        "record_id",
        "to_currency",
        "new_stated",
        "new_subtotal",
        "new_tax",
        "new_total",
        was_converted=pl.lit(True),
    )
    joined = headers.join(new, on="record_id", how="left", validate="1:1", maintain_order="left").join(
        reasons, on="record_id", how="left", validate="1:1", maintain_order="left"
    )
    names = {
        "stated_currency": "to_currency", "currency": "to_currency", "amount": "new_stated",
        "subtotal": "new_subtotal", "total_tax": "new_tax", "total": "new_total",
    }  # fmt: skip
    done = pl.col("was_converted").fill_null(False)
    replaced = [
        pl.when(done).then(pl.col(new).cast(DOCUMENTS[old])).otherwise(old).alias(old)
        for old, new in names.items()
    ]
    return conform(joined.with_columns(*replaced, reason=pl.coalesce("reason", "why")), DOCUMENTS)


def _lines(lines: pl.DataFrame, priced: pl.DataFrame) -> pl.DataFrame:
    new = priced.select(
        "document_id", "line_id", "new_price", "new_amount", "new_tax", was_converted=pl.lit(True)
    )
    joined = lines.join(new, on=["document_id", "line_id"], how="left", validate="1:1", maintain_order="left")
    done = pl.col("was_converted").fill_null(False)
    replaced = joined.with_columns(
        unit_price=pl.when(done).then("new_price").otherwise("unit_price"),
        amount=pl.when(done).then(pl.col("new_amount").cast(AMOUNT)).otherwise("amount"),
        tax_amount=pl.when(done).then(pl.col("new_tax").cast(AMOUNT)).otherwise("tax_amount"),
    )
    return conform(replaced, DOCUMENT_LINES)

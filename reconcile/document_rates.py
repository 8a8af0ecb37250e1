"""Gives documents their rate by the mapping's source, and deals with a currency that the organisation lacks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from reconcile import names
from reconcile.decode import decoded_bodies
from reconcile.mapped import Currencies, DocumentMapping
from reconcile.model import DOCUMENTS, RATES, RAW, REJECTS, conform, empty
from reconcile.rates import (
    Converted,
    converted,
    left_to_xero,
    rate_of,
    salesforce_rates,
    stopped,
    table_rates,
)


def with_rates(
    headers: pl.DataFrame,
    lines: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    mapping: DocumentMapping,
    *,
    base_currency: str | None,
    tax_rates: pl.DataFrame,
    stated: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Give DOCUMENTS with currency_rate and rated, and DOCUMENT_LINES, converted where that is asked for; REJECTS.

    Takes RAW by "side.object", of the mapping's `objects`; tax_rates: tax, rate (percent); stated: RATES of the
    mapping's service. Order kept. A document without a rate, or in a currency that the organisation lacks, has a
    reason.
    """
    policy = mapping.currencies
    assert policy is not None
    found, rejects = _rates(headers, raw, policy, base_currency, stated)
    held = _currencies(raw["xero.Currency"])
    if policy.lacking == "convert":
        done = converted(
            headers, lines, found,
            held=held, base_currency=base_currency, line_amounts=mapping.line_amounts, tax_rates=tax_rates,
        )  # fmt: skip
        headers, lines = _told(done), done.lines
    else:
        headers = stopped(headers, held=held, base_currency=base_currency)
    # What was converted is in the organisation's own currency now, and needs no rate.
    foreign = (pl.col("currency") != pl.lit(base_currency, pl.String)).fill_null(True)
    rates = found.select("record_id", "rate", "rounding", "exact", "source", "evidence", rate_reason="reason")
    joined = headers.join(rates, on="record_id", how="left", validate="1:1", maintain_order="left")
    ours = foreign & pl.col("source").is_not_null() & (pl.col("source") != "xero")
    rated = joined.with_columns(
        currency_rate=pl.when(ours).then("rate"),
        rated=pl.coalesce("rated", pl.when(foreign).then(_in_words())),
        reason=pl.coalesce("reason", pl.when(foreign).then("rate_reason")),
    )
    return conform(rated, DOCUMENTS), lines, rejects


def rates_wanted(documents: pl.DataFrame, *, base_currency: str | None) -> list[tuple[str, date]]:
    """Give the currencies and days of which a service is asked for the rate, each once, sorted.

    Takes DOCUMENTS: of what is won and in scope, in another currency than the organisation's.
    """
    foreign = documents.filter(
        pl.col("in_scope"), pl.col("won"), pl.col("currency") != pl.lit(base_currency, pl.String)
    )
    return foreign.select("currency", "date").drop_nulls().unique().sort("currency", "date").rows()


def _rates(
    headers: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    policy: Currencies,
    base_currency: str | None,
    stated: pl.DataFrame | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give DOCUMENT_RATES, and REJECTS of what could not be read."""
    none = empty(REJECTS)
    if policy.rates == "xero":
        return left_to_xero(headers, base_currency=base_currency), none
    if policy.rates == "service":
        given = empty(RATES) if stated is None else stated
        return rate_of(headers, given, base_currency=base_currency), none
    if policy.rates == "table":
        schema = {"currency": pl.String, "starts_on": pl.Date, "rate": pl.Decimal(38, 16)}
        table = pl.DataFrame(list(policy.table), schema=schema, orient="row")
        ours = table_rates(table, base_currency=base_currency or "")
        return rate_of(headers, ours, base_currency=base_currency), none
    dated = raw.get("salesforce.DatedConversionRate", empty(RAW))
    theirs, rejects = salesforce_rates(raw["salesforce.CurrencyType"], dated)
    return rate_of(headers, theirs, base_currency=base_currency), rejects


def _currencies(raw: pl.DataFrame) -> list[str]:
    """Give the codes of the organisation's currencies."""
    live = raw.filter(~pl.col("deleted").fill_null(False))
    table, _ = decoded_bodies(live, {"Code": pl.String()}, id_field="Code")
    return table.select(names.upper(pl.col("Code"))).to_series().drop_nulls().unique().sort().to_list()


def _in_words() -> pl.Expr:
    """Say at which rate a document is made, from what, and what rounding did to it."""
    number = pl.col("rate").cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    off = pl.col("rounding").cast(pl.String).str.strip_chars_end("0")
    rounding = pl.when(pl.col("rounding") != 0).then(pl.format(", {} by rounding", off)).otherwise(pl.lit(""))
    ours = pl.format(
        "At {} {} for one of the organisation's currency{}: {}", number, "currency", rounding, "evidence"
    )
    return pl.when(pl.col("source") == "xero").then("evidence").otherwise(ours)


def _told(done: Converted) -> pl.DataFrame:
    """Give the headers with what was converted in words."""
    amount = pl.col("amount").round(2).cast(pl.Decimal(38, 2))
    after = pl.col("converted").round(2).cast(pl.Decimal(38, 2))
    off = pl.col("difference").cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    words = pl.format(
        "Converted from {} {} to {} {}, a difference of {} by rounding: {}",
        amount, "from_currency", after, "to_currency", off, "evidence",
    )  # fmt: skip
    said = done.conversions.select("record_id", rated=words)
    return done.headers.drop("rated").join(
        said, on="record_id", how="left", validate="1:1", maintain_order="left"
    )

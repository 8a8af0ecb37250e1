"""Gives the lines of documents account, tax and its rate: the mapping's own, or what rules and past bookings say.

The decisions are those of `codes` and `infer`; here they get what they look at, out of raw, and are put into words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.codes import DISAGREE, CodeRule, Default, check_codes, code_lines, fired, holders, read_chart
from reconcile.decode import decoded_bodies
from reconcile.ids import long_ids
from reconcile.infer import history
from reconcile.item_codes import item_code
from reconcile.mapped import ACCOUNT, PRODUCT, DocumentMapping, LineCodes, is_field
from reconcile.model import conform
from reconcile.money import numbers, quoted

RATE_DECIMALS: Final = 4
LINE_COLUMNS: Final = ("quantity", "unit_price", "discount", "amount")
TOTALS: Final = ("subtotal", "total_tax", "total")
MOST_EXAMPLES: Final = 3


@dataclass(frozen=True)
class Past:
    """What past bookings are seen by. contacts: account_id, contact_id of linked parties; since: from which day on."""

    contacts: pl.DataFrame
    since: date


NOBODY: Final = Past(pl.DataFrame(schema={"account_id": pl.String, "contact_id": pl.String}), date.max)


# --- The rate of a tax ----------------------------------------------------------------------------------


def tax_rates(rates: pl.DataFrame) -> pl.DataFrame:
    """Give tax and rate (percent, EXACT) of those that we understand, one row a tax; DELETED ones too.

    Takes TaxType and EffectiveRate (texts).
    """
    read = rates.select(tax=names.folded(pl.col("TaxType")), rate=numbers(rates["EffectiveRate"]))
    sound = pl.col("rate").is_between(0, 100) & (pl.col("rate") == pl.col("rate").round(RATE_DECIMALS))
    return read.drop_nulls().filter(sound).unique("tax", keep="first", maintain_order=True)


# --- What decides over a line --------------------------------------------------------------------------


def wanted_lines(
    lines: pl.DataFrame,
    headers: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    mapping: DocumentMapping,
    past: Past = NOBODY,
) -> pl.DataFrame:
    """Give the lines with the columns that rules and past bookings look at (WANTED, and what the mapping names).

    Takes lines and headers as `documents` reads them. One row a line, in their order.
    """
    codes = mapping.codes
    assert codes is not None
    fields = sorted(filter(is_field, codes.read))
    of_header = headers.select(
        "date", "currency", "account_id", *fields,
        *(pl.col(field).alias(name) for name, field in _columns_of(codes, mapping.salesforce)),
        *(name for name in TOTALS if name in headers.columns),
        document_id="record_id",
    )  # fmt: skip
    found = (
        lines.select(
            "document_id", "line_id", "position", *LINE_COLUMNS,
            *(pl.col(field).alias(name) for name, field in _columns_of(codes, mapping.lines)),
            item=_item_codes(lines["code"]),
            product_key=long_ids(lines["Product2Id"]),
        )
        .join(of_header, on="document_id", how="left", validate="m:1", maintain_order="left")
        .join(past.contacts, on="account_id", how="left", validate="m:1", maintain_order="left")
    )  # fmt: skip
    for (object_name, _), key in ((PRODUCT, "product_key"), (ACCOUNT, "account_id")):
        columns = _columns_of(codes, object_name)
        if columns:
            table = _records(raw[f"salesforce.{object_name}"], columns).rename({"record_id": key})
            found = found.join(table, on=key, how="left", validate="m:1", maintain_order="left")
    return found.drop("product_key")


def _columns_of(codes: LineCodes, object_name: str) -> list[tuple[str, str]]:
    return [(name, field) for name, (where, field) in codes.used.items() if where == object_name]


def _records(raw: pl.DataFrame, columns: list[tuple[str, str]]) -> pl.DataFrame:
    """Give record_id and each named field as text (folded; null: none), of the rows that can be read."""
    paths = sorted({field for _, field in columns})
    live = raw.filter(~pl.col("deleted").fill_null(False))
    table, _ = decoded_bodies(
        live.with_columns(body=quoted(pl.col("body"), tuple(paths))),
        dict.fromkeys(["Id", *paths], pl.String()),
        id_field="Id",
    )
    sound = table.filter("readable", pl.col("faults").list.len() == 0)
    return sound.select(
        *(names.folded(pl.col(field)).alias(name) for name, field in columns),
        record_id=long_ids(sound["record_id"]),
    ).unique("record_id", keep="first", maintain_order=True)


def _item_codes(codes: pl.Series) -> pl.Series:
    """As the items are called in Xero."""
    short = {code: item_code(code) for code in codes.drop_nulls().unique()}
    return codes.replace_strict(short, default=None, return_dtype=pl.String) if short else codes


# --- Codes ----------------------------------------------------------------------------------------------


def coded_lines(
    lines: pl.DataFrame,
    headers: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    mapping: DocumentMapping,
    rates: pl.DataFrame,
    past: Past = NOBODY,
) -> pl.DataFrame:
    """Give lines with account, tax, rate, coded, evidence, draft, and stop: why it may not be made so.

    Takes lines (with their amounts), headers, RAW by "side.object" and `tax_rates`. Only lines of documents that
    may still be made are held against past bookings and stopped: of what is made, codes are the ledger's.
    """
    codes = mapping.codes
    assert codes is not None
    wanted = wanted_lines(lines, headers, raw, mapping, past)
    opened = headers.filter(_may_be_made()).select(document_id="record_id")
    open_lines = wanted.join(opened, on="document_id", how="semi")
    others = wanted.join(opened, on="document_id", how="anti")
    # `hold` may ask for totals, which are known when the codes are.
    rules = [replace(rule, hold=None, at=called(rule)) for rule in codes.rules]
    default = Default(mapping.account, mapping.tax)
    # Of what past bookings decided before, the codes are the ledger's now: nobody knows them here.
    left = Default() if codes.infer else default
    asks = codes.infer is not None and codes.infer.undecided == "ask"
    seen = _history(raw, mapping, past) if codes.infer else None
    how: dict[str, Any] = {"enough": codes.infer.enough} if codes.infer else {}
    found = pl.concat(
        [
            code_lines(
                open_lines, rules, seen, since=past.since, **how,
                default=replace(default, account=None) if asks else default,
            ),
            code_lines(others, rules, None, since=past.since, default=left),
        ]
    )  # fmt: skip
    if mapping.line_amounts == "no_tax":
        found = found.with_columns(tax=pl.lit(None, pl.String))
    checked = check_codes(found, read_chart(raw["xero.Account"], raw["xero.TaxRate"]))
    rated = checked.join(rates, on="tax", how="left", validate="m:1").join(
        fired(wanted, rules).select("line_id", "rules"), on="line_id", how="left", validate="1:1"
    )
    rated = rated.with_columns(seen=_in_few_words(rated.filter(pl.col("how") == "asked")["evidence"]))
    told = rated.select(
        "line_id", "account", "tax", "rate", "draft",
        coded=_in_words(),
        evidence=pl.when("draft").then("evidence"),
        stop=pl.when(pl.col("line_id").is_in(open_lines["line_id"].implode())).then(_stop()),
    )  # fmt: skip
    bare = lines.drop("account", "tax", "rate", strict=False)
    return bare.join(told, on="line_id", how="left", validate="1:1", maintain_order="left")


def _may_be_made() -> pl.Expr:
    """Whether an opportunity may still get its invoice, by what it says itself."""
    due = pl.col("won") & pl.col("in_scope") & ~pl.col("gone") & pl.col("due_by_date").fill_null(True)
    return due & pl.col("shown_id").is_null()


def _history(raw: Mapping[str, pl.DataFrame], mapping: DocumentMapping, past: Past) -> pl.DataFrame:
    codes = mapping.codes
    assert codes is not None
    family, region = codes.columns["family"], codes.columns["region"]
    families = pl.DataFrame(schema={"item": pl.String, "family": pl.String})
    if family[0] == PRODUCT[0]:
        products = _records(raw[f"salesforce.{PRODUCT[0]}"], [("family", family[1]), ("code", "ProductCode")])
        families = products.select("family", item=_item_codes(products["code"]))
    regions = pl.DataFrame(schema={"contact_id": pl.String, "region": pl.String})
    if region[0] == ACCOUNT[0]:
        accounts = _records(raw[f"salesforce.{ACCOUNT[0]}"], [("region", region[1])])
        regions = accounts.join(past.contacts, left_on="record_id", right_on="account_id").select(
            "contact_id", "region"
        )
    return history(raw[f"xero.{mapping.xero}"], raw["xero.Item"], families, regions)


def called(rule: CodeRule) -> str:
    """Name a rule as a person finds it: mine.yaml:5 (family = 'Services')."""
    return f"{rule.at.partition(': ')[0].rpartition('/')[2]} ({rule.when.sql})"


def _in_words() -> pl.Expr:
    """Say what gave a line its codes: account 210 and tax ECOUTPUT by mine.yaml:5 (...); null: it has none."""
    tax = pl.coalesce(pl.format("tax {}", "tax"), pl.lit("the tax of that account"))
    rules = pl.col("rules")
    level = pl.col("by").str.strip_prefix(pl.format("{}; ", rules).fill_null(""))
    alike = pl.format("as past bookings of its {} ({} of {} lines)", level, "support", "support")
    who = (
        pl.when(pl.col("how") == "rule").then(pl.format("by {}", rules))
        .when(pl.col("how") == "inferred").then(alike)
        .otherwise(pl.lit("by the mapping's default"))
    )  # fmt: skip
    also = pl.when(pl.col("how") != "rule").then(pl.format(", with {}", rules)).fill_null("")
    return pl.when(pl.col("account").is_not_null()).then(
        pl.format("account {} and {} {}{}", "account", tax, who, also)
    )


def _in_few_words(evidence: pl.Series) -> pl.Expr:
    """Say what was counted: item: 2 to 210 OUTPUT2, 1 to 200 OUTPUT2; null: nothing was."""
    words = {text: _counts(text) for text in evidence.unique() if text != "{}"}
    if not words:
        return pl.lit(None, pl.String)
    return pl.col("evidence").replace_strict(words, default=None, return_dtype=pl.String)


def _counts(evidence: str) -> str:
    def said(one: Mapping[str, Any]) -> str:
        return f"{one['lines']} to {' '.join(one[name] for name in ('account', 'tax') if one[name])}"

    levels = json.loads(evidence).items()
    return "; ".join(f"{level}: {', '.join(said(one) for one in counts)}" for level, counts in levels)


def _stop() -> pl.Expr:
    """Say why a line may not be sent with its codes, what was seen, and what a person can do."""
    asked = pl.col("how") == "asked"
    disagree = pl.col("reason").str.starts_with(DISAGREE)
    seen = pl.format(" (booked before: {})", "seen")
    remedy = (
        pl.when(disagree)
        .then(pl.lit("let one of them not hold there"))
        .otherwise(pl.lit("say its account by a rule of the mapping"))
    )
    no_rate = pl.format("the tax {} has no rate that we understand", "tax")
    return pl.coalesce(
        pl.when(asked).then(pl.format("{}{}; {}", "reason", seen.fill_null(""), remedy)),
        "reason",
        pl.when(pl.col("tax").is_not_null() & pl.col("rate").is_null()).then(no_rate),
    )


# --- Holding --------------------------------------------------------------------------------------------


def held_documents(
    lines: pl.DataFrame,
    headers: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    mapping: DocumentMapping,
) -> pl.DataFrame:
    """Give document_id, held: why a document may not be made, by its first line that is stopped or held; releasable.

    What rules alone hold is releasable: a person may let it go.
    Takes lines as `coded_lines` gives them, and headers with their totals.
    """
    codes = mapping.codes
    assert codes is not None
    holding = [rule for rule in codes.rules if rule.hold is not None]
    stops = lines.select("document_id", "position", "stop", "line_id", ruled=pl.col("stop").is_null())
    if holding:
        opened = headers.filter(_may_be_made()).select(document_id="record_id")
        wanted = wanted_lines(lines, headers, raw, mapping).join(opened, on="document_id", how="semi")
        by_rule = holders(wanted, [replace(rule, at=called(rule)) for rule in holding])
        stops = stops.join(
            by_rule, on="line_id", how="left", validate="1:1", maintain_order="left"
        ).with_columns(stop=pl.coalesce("stop", pl.format("held by {}", "holders")))
    stopped = stops.filter(pl.col("stop").is_not_null()).sort("document_id", "position")
    return stopped.group_by("document_id", maintain_order=True).agg(
        held=pl.format("its line {}: {}", pl.first("position"), pl.first("stop")),
        releasable=pl.col("ruled").all(),
    )


# --- Words of a document --------------------------------------------------------------------------------


def codes_in_words(lines: Iterable[Mapping[str, Any]]) -> str:
    """Say of a document's lines what gave them their codes; "" where the mapping's own did."""
    places: dict[str, list[str]] = {}
    for line in lines:
        if line["coded"]:
            places.setdefault(line["coded"], []).append(str(line["position"]))
    return "; ".join(
        f"{'line' if len(which) == 1 else 'lines'} {', '.join(which)}: {said}"
        for said, which in places.items()
    )


def evidence_of(lines: Iterable[Mapping[str, Any]]) -> str:
    """Give as JSON, by line, the past bookings that codes were inferred from."""
    found = ",".join(f'"line {line["position"]}":{line["evidence"]}' for line in lines if line["evidence"])
    return f"{{{found}}}"


# --- Rules on trial -------------------------------------------------------------------------------------

TRIAL: Final = {
    "rule": pl.String,  # where it stands, and its condition; null: lines for which no rule gives an account
    "gives": pl.String,
    "lines": pl.Int64,
    "documents": pl.Int64,
    "disagree": pl.Int64,  # of those lines, on which another rule says something else
    "held": pl.Int64,  # of those lines, which it holds back
    "examples": pl.List(pl.String),  # the first of them: name of the document, and the line's position
}


def trial(
    lines: pl.DataFrame, headers: pl.DataFrame, raw: Mapping[str, pl.DataFrame], mapping: DocumentMapping
) -> pl.DataFrame:
    """Say which rule holds for how many lines (TRIAL); a row a rule, in their order, and one of lines without.

    Takes what `held_documents` takes; the lines of all documents that are there and in scope, made or not.
    """
    codes = mapping.codes
    assert codes is not None
    there = headers.filter("in_scope", ~pl.col("gone")).select("name", document_id="record_id")
    named = there.with_columns(name=pl.coalesce("name", "document_id"))
    wanted = wanted_lines(lines, headers, raw, mapping).join(
        named, on="document_id", how="inner", validate="m:1", maintain_order="left"
    )
    disagreeing = fired(wanted, codes.rules).filter("disagree")["line_id"].implode()
    rows = [_tried(wanted, rule, disagreeing) for rule in codes.rules]
    without = [rule.when.expression.fill_null(False) for rule in codes.rules if rule.account is not None]
    rest = wanted.filter(~pl.any_horizontal(pl.lit(False), *without))
    return pl.concat(
        [*rows, _row(rest, None, "the mapping's default, past bookings, or nobody", disagreeing)]
    )


def _tried(wanted: pl.DataFrame, rule: CodeRule, disagreeing: pl.Series) -> pl.DataFrame:
    lines = wanted.filter(rule.when.expression.fill_null(False))
    parts = {"account": rule.account, "tax": rule.tax}
    gives = ", ".join(f"{name} {code}" for name, code in parts.items() if code)
    held = rule.hold.expression.fill_null(True) if rule.hold else pl.lit(False)
    return _row(lines, called(rule), gives, disagreeing, held)


def _row(
    lines: pl.DataFrame, at: str | None, gives: str, disagreeing: pl.Series, held: pl.Expr | None = None
) -> pl.DataFrame:
    example = pl.format("{}, line {}", "name", "position")
    told = lines.select(
        rule=pl.lit(at, pl.String),
        gives=pl.lit(gives),
        lines=pl.len(),
        documents=pl.col("document_id").n_unique(),
        disagree=pl.col("line_id").is_in(disagreeing).sum(),
        held=pl.lit(0) if held is None else held.sum(),
        examples=example.sort_by("document_id", "position").head(MOST_EXAMPLES).implode(),
    )
    return conform(told.head(1), TRIAL)

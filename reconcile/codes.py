"""Gives each sales line its account and tax: by a rule of the mapping, else by past bookings, else by its default.

Rules have no order: where two hold for one line and say different things, nobody guesses which was meant. What
can be shown when the mapping is read is refused there, with a line for which both hold; the rest is asked at the
line. Every code, whoever gave it, is held against the chart of accounts and the tax rates before it may go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import reduce
from itertools import combinations
from math import prod
from typing import Final

import polars as pl
import sqlglot
from sqlglot import exp

from reconcile import names, reading
from reconcile.decode import decoded_bodies
from reconcile.errors import WrongMapping
from reconcile.infer import ENOUGH, Enough, infer_codes
from reconcile.mapped import Rule
from reconcile.marked import Marked, describe
from reconcile.model import CODED, WANTED, conform

RULE_KEYS: Final = ("when", "then", "hold")
THEN_KEYS: Final = ("account", "tax")
DISAGREE: Final = "rules disagree on it"
MOST_WITNESSES: Final = 20_000  # combinations of values that are tried on two rules
# One of them decides the other: a line with this item and that family may not exist.
DEPENDENT: Final = (("item", "family"), ("contact_id", "region"))
COMPARISONS: Final = (
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In,
    exp.Like, exp.ILike, exp.Is,
)  # fmt: skip


@dataclass(frozen=True)
class CodeRule:
    """Which account, tax, or both, a line gets for which `when` holds; `hold`: where it waits for a person."""

    when: Rule
    account: str | None
    tax: str | None  # null: the mapping's default; without one the account's own
    hold: Rule | None
    at: str


@dataclass(frozen=True)
class Default:
    """What the mapping says of every line that nothing else decides. No account: a person is asked."""

    account: str | None = None
    tax: str | None = None


NO_DEFAULT: Final = Default()


@dataclass(frozen=True)
class Chart:
    """What Xero holds. accounts: code, status, type, system, tax. rates: tax, status, and FLAGS."""

    accounts: pl.DataFrame
    rates: pl.DataFrame


# --- Rules out of the mapping ---------------------------------------------------------------------------


def read_code_rules(tree: Marked, path: str) -> tuple[CodeRule, ...]:
    """Read a list of `{when, then: {account, tax}, hold}`.

    Raises WrongMapping, which names file and line: for a key or a condition that there is not, and for two rules
    that disagree on a line that can be named.
    """
    if not isinstance(tree.value, tuple):
        raise WrongMapping(at=reading.place(tree, path), found=describe(tree), expected="a list of rules")
    rules = tuple(_read_rule(item, f"{path}[{number}]") for number, item in enumerate(tree.value, start=1))
    refuse_disagreements(rules)
    return rules


def _read_rule(tree: Marked, path: str) -> CodeRule:
    keys = reading.known_keys(tree, path, RULE_KEYS)
    then = reading.known_keys(reading.needed(keys, "then", tree, path), f"{path}.then", THEN_KEYS)
    if not then:
        raise WrongMapping(
            at=reading.place(keys["then"], f"{path}.then"),
            found="neither",
            expected="an account, a tax, or both",
        )
    codes = {key: reading.text_of(found, f"{path}.then.{key}").strip() for key, found in then.items()}
    when = reading.rule(reading.needed(keys, "when", tree, path), f"{path}.when")
    assert when is not None
    return CodeRule(
        when=when,
        account=codes.get("account"),
        tax=codes.get("tax"),
        hold=reading.rule(keys.get("hold"), f"{path}.hold"),
        at=reading.place(tree, path),
    )


def refuse_disagreements(rules: Iterable[CodeRule]) -> None:
    """Raise WrongMapping for two rules that give different codes to one line, where such a line can be named.

    It is looked for among the values that both rules name. Two rules of which one goes by item and the other by
    family (or by customer and region) are left to the lines: which family an item has is not known here.
    """
    for one, other in combinations(rules, 2):
        if not _disagree(one, other) or _depends(one, other) or _depends(other, one):
            continue
        line = _line_for_both(one.when, other.when)
        if line is not None:
            raise WrongMapping(
                at=other.at,
                found=f"another account or tax than that of the rule at {one.at}, where both hold: {line}",
                expected="one account and one tax for a line: let one of the two not hold there",
            )


def _disagree(one: CodeRule, other: CodeRule) -> bool:
    pairs = ((one.account, other.account), (one.tax, other.tax))
    return any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs)


def _depends(one: CodeRule, other: CodeRule) -> bool:
    mine, theirs = one.when.columns, other.when.columns
    return any(low in mine - theirs and high in theirs - mine for low, high in DEPENDENT)


def _line_for_both(one: Rule, other: Rule) -> str | None:
    """Give in words a line for which both conditions hold; null where none is found."""
    values = {name: _values(name, one, other) for name in sorted(one.columns | other.columns)}
    if prod(len(found) for found in values.values()) > MOST_WITNESSES:
        return None
    columns = [pl.DataFrame({name: found}, schema={name: pl.String}) for name, found in values.items()]
    lines = reduce(lambda left, right: left.join(right, how="cross"), columns, pl.DataFrame({"": [0]}))
    both = lines.filter(one.expression.fill_null(False), other.expression.fill_null(False)).drop("")
    if both.is_empty():
        return None
    told = [
        f"{name} {'is null' if value is None else f'= {value!r}'}"
        for name, value in both.row(0, named=True).items()
    ]
    return ", ".join(told) or "every line"


def _values(name: str, *rules: Rule) -> list[str | None]:
    """Give the values of a column at which conditions may begin or cease to hold."""
    found: dict[str | None, None] = {}
    for rule in rules:
        for column in sqlglot.parse_one(rule.sql, read="duckdb").find_all(exp.Column):
            if column.name == name:
                found |= dict.fromkeys(_beside(column))
    return [*found, "another value", None]


def _beside(column: exp.Column) -> list[str]:
    comparison = column.find_ancestor(*COMPARISONS)
    literals = [] if comparison is None else list(comparison.find_all(exp.Literal))
    if not literals:
        return ["true", "false"]
    return [text for literal in literals for text in _near(literal)]


def _near(literal: exp.Literal) -> list[str]:
    text = str(literal.this)
    if literal.is_string:
        return [text, text.replace("%", "").replace("_", "x")]
    number = Decimal(text)
    return [f"{near:f}" for near in (number, number - 1, number + 1, -number, -number - 1, -number + 1)]


# --- Codes of lines -------------------------------------------------------------------------------------


def code_lines(
    wanted: pl.DataFrame,
    rules: Iterable[CodeRule],
    history: pl.DataFrame | None,
    *,
    since: date,
    default: Default = NO_DEFAULT,
    enough: Enough = ENOUGH,
) -> pl.DataFrame:
    """Give each line its account and tax, and say what decided.

    Takes WANTED (one row a line_id) with whatever more columns the rules read; HISTORY (null: nothing is
    inferred) and the day from which it counts. A rule decides before past bookings, they before the default; a
    rule that gives the tax alone leaves the account to them. Gives CODED in the order of wanted. What is inferred
    may only become a DRAFT; what has a reason waits for a person. Raises WrongMapping for a rule over a column
    that wanted lacks.
    """
    rules = tuple(rules)
    _need_columns(wanted, rules)
    ruled = wanted.select("line_id").join(
        fired(wanted, rules), on="line_id", how="left", validate="1:1", maintain_order="left"
    )
    by_rule = pl.col("account").is_not_null()
    inferred = _inferred(wanted, ruled.filter(~by_rule), history, since, enough)
    found = ruled.join(
        inferred, on="line_id", how="left", validate="1:1", maintain_order="left", suffix="_past"
    )
    return conform(_settled(found, by_rule, default), CODED)


def _need_columns(wanted: pl.DataFrame, rules: tuple[CodeRule, ...]) -> None:
    for rule in rules:
        for condition in (rule.when, rule.hold):
            lacking = sorted((condition.columns if condition else frozenset()) - {*wanted.columns})
            if lacking:
                raise WrongMapping(
                    at=rule.at,
                    found=f"the name {lacking[0]!r}",
                    expected=f"one of {', '.join(wanted.columns)}",
                )


def fired(wanted: pl.DataFrame, rules: Iterable[CodeRule]) -> pl.DataFrame:
    """Give for each line for which rules hold what they give, together, and which they are.

    Takes wanted as `code_lines` does. Gives one row a line: line_id, account, tax, rules and holders (their places,
    joined by "; "; holders: of those that hold it back), disagree. In no order.
    """
    schema = {
        "line_id": pl.String,
        "account": pl.String,
        "tax": pl.String,
        "at": pl.String,
        "held": pl.Boolean,
    }
    each = [pl.DataFrame(schema=schema)]
    for rule in rules:
        # A condition that can't be told does not hold; a `hold` that can't be told does.
        held = rule.hold.expression.fill_null(True) if rule.hold else pl.lit(False)
        lines = wanted.filter(rule.when.expression.fill_null(False)).select(
            "line_id", pl.lit(rule.account, pl.String).alias("account"), pl.lit(rule.tax, pl.String).alias("tax"),
            at=pl.lit(rule.at), held=held,
        )  # fmt: skip
        each.append(lines)
    codes = pl.col("account", "tax").drop_nulls()
    return (
        pl.concat(each)
        .group_by("line_id")
        .agg(
            codes.first(),
            rules=pl.col("at").str.join("; "),
            holders=pl.col("at").filter("held").str.join("; "),
            disagree=pl.any_horizontal(
                pl.col(name).drop_nulls().n_unique() > 1 for name in ("account", "tax")
            ),
        )
    )


def holders(wanted: pl.DataFrame, rules: Iterable[CodeRule]) -> pl.DataFrame:
    """Give line_id and holders (places of rules) of the lines that a rule holds back. Takes wanted as `code_lines`."""
    found = fired(wanted, rules)
    return found.filter(pl.col("holders").str.len_chars() > 0).select("line_id", "holders")


def _inferred(
    wanted: pl.DataFrame, open_lines: pl.DataFrame, history: pl.DataFrame | None, since: date, enough: Enough
) -> pl.DataFrame:
    """Give CODED of the lines that no rule gives an account: with the tax, but where a rule gives that."""
    if history is None:
        return conform(open_lines.clear(), CODED)
    lines = conform(wanted, WANTED)
    taxed = pl.col("tax").is_not_null()
    parts = [
        infer_codes(
            lines.join(open_lines.filter(wants), on="line_id", how="semi"),
            history, since=since, parts=codes, enough=enough,
        )
        for wants, codes in ((~taxed, ("account", "tax")), (taxed, ("account",)))
    ]  # fmt: skip
    return pl.concat(parts)


def _settled(found: pl.DataFrame, by_rule: pl.Expr, default: Default) -> pl.DataFrame:
    disagree = pl.col("disagree").fill_null(False)
    by_past = pl.col("account_past").is_not_null()
    default_account = pl.lit(default.account, pl.String)
    how = (
        pl.when(disagree).then(pl.lit("asked"))
        .when(by_rule).then(pl.lit("rule"))
        .when(by_past).then(pl.lit("inferred"))
        .when(default_account.is_not_null()).then(pl.lit("default"))
        .otherwise(pl.lit("asked"))
    )  # fmt: skip
    told = found.with_columns(how=how)
    asked, inferred = pl.col("how") == "asked", pl.col("how") == "inferred"
    account = pl.coalesce("account", "account_past", default_account)
    tax = pl.coalesce("tax", pl.when(inferred).then("tax_past").otherwise(pl.lit(default.tax, pl.String)))
    holds = pl.col("holders").str.len_chars() > 0
    return told.with_columns(
        account=pl.when(~asked).then(account),
        tax=pl.when(~asked).then(tax),
        by=pl.concat_str("rules", "by", separator="; ", ignore_nulls=True).replace("", None),
        evidence=pl.col("evidence").fill_null("{}"),
        draft=inferred,
        reason=pl.coalesce(
            pl.when(disagree).then(pl.format(f"{DISAGREE}: {{}}", "rules")),
            pl.when(asked).then(pl.coalesce("reason", pl.lit("no rule and no default gives it an account"))),
            pl.when(holds).then(pl.format("held by rule: {}", "holders")),
        ),
    )


# --- The chart of accounts ------------------------------------------------------------------------------

# The types of accounts that a sale is booked to -> the flag of a tax rate that may be used with them. Deposits
# and income of later periods are liabilities; costs, banks and assets take no sales.
TAKES_SALES: Final = {
    **dict.fromkeys(("REVENUE", "SALES", "OTHERINCOME"), "revenue"),
    **dict.fromkeys(("CURRLIAB", "LIABILITY", "TERMLIAB"), "liabilities"),
}
# And those that a bill is booked to: what is bought is a cost. Assets and stock are booked by finance.
TAKES_COSTS: Final = dict.fromkeys(("DIRECTCOSTS", "EXPENSE", "OVERHEADS"), "expenses")
FLAGS: Final = {
    "revenue": "CanApplyToRevenue",
    "liabilities": "CanApplyToLiabilities",
    "expenses": "CanApplyToExpenses",
}


@dataclass(frozen=True)
class Use:
    """What lines are for: the types of accounts that take them, each with the flag of its taxes, and their name."""

    takes: Mapping[str, str]
    word: str


SALES: Final = Use(TAKES_SALES, "sales")
COSTS: Final = Use(TAKES_COSTS, "expenses")


def read_chart(raw_accounts: pl.DataFrame, raw_rates: pl.DataFrame) -> Chart:
    """Read the chart of accounts and the tax rates.

    Takes RAW of Xero's Account and TaxRate. Gives a Chart with one row a code (in small letters: Xero compares so)
    and one a TaxType. A row that can't be read is not there. Raises nothing.
    Source: accounting spec 16.1.0 (Account, TaxRate), read 2026-11-24.
    """
    paths = ("AccountID", "Code", "Status", "Type", "SystemAccount", "TaxType")
    accounts = _decoded(raw_accounts, dict.fromkeys(paths, pl.String()), "AccountID").select(
        code=names.lower(pl.col("Code")),
        status=_status(),
        type=names.upper(pl.col("Type")),
        system=names.folded(pl.col("SystemAccount")),
        tax=names.folded(pl.col("TaxType")),
    )
    flags = {
        **dict.fromkeys(("TaxType", "Status"), pl.String()),
        **dict.fromkeys(FLAGS.values(), pl.Boolean()),
    }
    rates = _decoded(raw_rates, flags, "TaxType").select(
        tax=names.folded(pl.col("TaxType")),
        status=_status(),
        # A rate without the flag is from a country without such limits.
        **{flag: pl.col(field).fill_null(True) for flag, field in FLAGS.items()},
    )
    # A deleted account gives its code up: the active one of that code counts.
    return Chart(_first_active(accounts, "code"), _first_active(rates, "tax"))


def _status() -> pl.Expr:
    return names.upper(pl.col("Status")).fill_null("ACTIVE")


def _first_active(table: pl.DataFrame, key: str) -> pl.DataFrame:
    ordered = table.drop_nulls(key).sort(key, pl.col("status") != "ACTIVE")
    return ordered.unique(key, keep="first", maintain_order=True)


def _decoded(raw: pl.DataFrame, types: Mapping[str, pl.DataType], id_field: str) -> pl.DataFrame:
    live = raw.filter(~pl.col("deleted").fill_null(False))
    table, _ = decoded_bodies(live, types, id_field=id_field)
    return table.filter("readable", pl.col("faults").list.len() == 0)


def check_codes(coded: pl.DataFrame, chart: Chart, use: Use = SALES) -> pl.DataFrame:
    """Stop each line whose account or tax Xero would refuse, or that are not for sales (or what else it is for).

    Takes CODED and gives it, in the same order, with a reason where there was none and the chart has one. A line
    without a tax is held against its account's own. Raises nothing.
    """
    return _stopped(coded, chart, pl.coalesce(_account_fault(use), _tax_fault(use)))


def check_accounts(coded: pl.DataFrame, chart: Chart, use: Use = SALES) -> pl.DataFrame:
    """Stop each line whose account takes no sales, as `check_codes` does, whatever its tax."""
    return _stopped(coded, chart, _account_fault(use))


def _stopped(coded: pl.DataFrame, chart: Chart, fault: pl.Expr) -> pl.DataFrame:
    accounts = chart.accounts.select(
        code="code", **{f"its_{n}": n for n in ("status", "type", "system", "tax")}
    )
    rates = chart.rates.select(
        pl.col("tax").alias("sent"), rate_status="status", **{flag: flag for flag in FLAGS}
    )
    known = (
        coded.with_columns(code=names.lower(pl.col("account")))
        .join(accounts, on="code", how="left", validate="m:1", maintain_order="left")
        .with_columns(sent=pl.coalesce("tax", "its_tax"))
        .join(rates, on="sent", how="left", validate="m:1", maintain_order="left")
    )
    reason = pl.coalesce("reason", pl.when(pl.col("account").is_not_null()).then(fault))
    return conform(known.with_columns(reason=reason), CODED)


def _account_fault(use: Use) -> pl.Expr:
    status, kind = pl.col("its_status"), pl.col("its_type")
    takes = kind.is_in(list(use.takes)).fill_null(False) & pl.col("its_system").is_null()
    return pl.coalesce(
        pl.when(status.is_null()).then(pl.format("the account {} is not in Xero", "account")),
        pl.when(status != "ACTIVE").then(
            pl.format("the account {} is {} in Xero", "account", status.str.to_lowercase())
        ),
        pl.when(~takes).then(
            pl.format(
                f"the account {{}} ({{}}) takes no {use.word}",
                "account",
                pl.coalesce("its_system", kind, pl.lit("of no type")),
            )
        ),
    )


def _tax_fault(use: Use) -> pl.Expr:
    status = pl.col("rate_status")
    flag = pl.col("its_type").replace_strict(dict(use.takes), default=None, return_dtype=pl.String)
    fits = pl.coalesce([pl.when(flag == name).then(name) for name in FLAGS])
    return pl.coalesce(
        pl.when(pl.col("sent").is_not_null() & status.is_null()).then(
            pl.format("the tax {} is not in Xero", "sent")
        ),
        pl.when(status != "ACTIVE").then(
            pl.format("the tax {} is {} in Xero", "sent", status.str.to_lowercase())
        ),
        pl.when(~fits).then(pl.format("the tax {} can't be applied to the account {}", "sent", "account")),
    )

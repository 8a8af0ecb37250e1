"""What a rule may say, and what it means."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.errors import FixMapping, WrongMapping
from reconcile.rules import compile_rule, rule_columns

ROWS = pl.DataFrame(
    {
        "Type": ["Customer - Direct", "Competitor", None],
        "is_customer": [True, False, None],
        "n": [5, 10, None],
        "amount": ["5.00", "12", "none"],
    }
)


def holds(sql: str) -> list[bool | None]:
    return ROWS.with_columns(holds=compile_rule(sql, at="mine.yaml:4"))["holds"].to_list()


def refusal(sql: str) -> str:
    with pytest.raises(WrongMapping) as caught:
        compile_rule(sql, at="mine.yaml:4")
    assert str(caught.value).startswith("mine.yaml:4: found ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("Type = 'Competitor'", [False, True, None]),
        ("Type <> 'Competitor'", [True, False, None]),
        ("Type is distinct from 'Competitor'", [True, False, True]),
        ("Type is not distinct from 'Competitor'", [False, True, False]),
        ("Type is not distinct from null", [False, False, True]),
        ("Type is null", [False, False, True]),
        ("Type is not null", [True, True, False]),
        ("Type in ('Competitor', 'Partner')", [False, True, None]),
        ("Type not in ('Competitor')", [True, False, None]),
        ("Type like 'Customer%'", [True, False, None]),
        ("Type like '_ompetitor'", [False, True, None]),
        ("Type not like '%tor'", [True, False, None]),
        ("lower(Type) = 'competitor'", [False, True, None]),
        ("upper(Type) = 'COMPETITOR'", [False, True, None]),
        ("coalesce(Type, 'none') = 'none'", [False, False, True]),
        ("is_customer", [True, False, None]),
        ("not is_customer", [False, True, None]),
        ("is_customer = true", [True, False, None]),
        ("is_customer is true", [True, False, False]),
        ("is_customer or Type = 'Competitor'", [True, True, None]),
        ("not (is_customer and n = 5)", [False, True, None]),
        ("n > 5", [False, True, None]),
        ("n between 5 and 9", [True, False, None]),
        ("n in (5, 7)", [True, False, None]),
        ("n = -5", [False, False, None]),
        ("amount < 12.5", [True, True, None]),
        ("amount = 5", [True, False, None]),
        ("true", [True, True, True]),
    ],
)
def test_a_rule_means_what_it_means_in_sql(sql: str, expected: list[bool | None]) -> None:
    assert holds(sql) == expected


def test_a_null_in_a_list_makes_the_answer_unknown_as_in_sql() -> None:
    assert holds("Type in ('Competitor', null)") == [None, True, None]


def test_the_wildcards_of_like_are_the_only_ones() -> None:
    assert holds("Type like 'Customer.*'") == [False, False, None]


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "1; drop table x",
        "select 1",
        "exists (select 1)",
        "Type in (select 1)",
        "secret.Type = 'x'",
        "getenv('HOME') = 'x'",
        "n + 1 > 2",
        "n::int = 5",
        "case when is_customer then true end",
        "Type ~ 'x'",
        "Type similar to 'x'",
        "Type like n",
        "Type = $1",
        "Type like any ('x', 'y')",
        "Type in unnest(n)",
        "n between symmetric 9 and 5",
        "Type = 'x' collate nocase",
        "n = 0x1F",
        "Type = date '2026-01-01'",
        "'x'",
        "n > 5 and",
        "(((",
        '"*" is null',
        '"^.*$" is null',
        "Type = 'x' -- because",
        "not " * 150 + "is_customer",
        "(" * 150 + "is_customer" + ")" * 150,
        "Type = '" + "x" * 3000 + "'",
    ],
)
def test_what_is_not_on_the_list_is_refused_with_its_place(sql: str) -> None:
    refusal(sql)


def test_a_refusal_says_what_is_allowed() -> None:
    assert "is [not] distinct from" in refusal("n + 1 > 2")
    assert "'n + 1'" in refusal("n + 1 > 2")


def test_the_columns_of_a_rule_keep_their_spelling() -> None:
    assert rule_columns("Type = 'a' or is_customer and Region__c is null", at="x") == {
        "Type",
        "is_customer",
        "Region__c",
    }


@given(st.text(max_size=60))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    try:
        expression = compile_rule(text, at="mine.yaml:1")
    except FixMapping as error:
        assert str(error).startswith("mine.yaml:1: ")
    else:
        assert isinstance(expression, pl.Expr)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_text_is_compared_as_it_is_whatever_is_in_it(value: str, literal: str) -> None:
    frame = pl.DataFrame({"it": [value]})
    sql = "it = '" + literal.replace("'", "''") + "'"
    try:
        rule = compile_rule(sql, at="x")
    except FixMapping:
        return
    assert frame.select(rule).item() == (value == literal)

"""Turns a rule, written as a small part of SQL, into a Polars expression. Nothing is ever evaluated.

Every column is read as text, whatever its type: `true`, `5` and `'abc'` say by how they are written how
they compare. So a rule means the same on a vendor's field as on a canonical unit. Null behaves as in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, cast

import polars as pl
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from reconcile.errors import WrongMapping

MAX_CHARACTERS: Final = 2000
MAX_DEPTH: Final = 100
NUMBER: Final = pl.Decimal(38, 10)
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ALLOWED: Final = (
    "and, or, not, parentheses, = <> < <= > >=, between, in (...), like, is [not] null, "
    "is [not] distinct from, lower(), upper(), coalesce(), texts, numbers, true, false and names of fields"
)


def compile_rule(sql: str, *, at: str) -> pl.Expr:
    """Give the Boolean expression of a rule over the columns that it names; null where SQL says null.

    Raises WrongMapping (a FixMapping) that names the place and what is not allowed.
    """
    return _condition(_parsed(sql, at), at)


def rule_columns(sql: str, *, at: str) -> frozenset[str]:
    """Give the names that a rule reads, spelled as it spells them."""
    return frozenset(column.name for column in _parsed(sql, at).find_all(exp.Column))


def _parsed(sql: str, at: str) -> exp.Expression:
    if len(sql) > MAX_CHARACTERS:
        raise _refused(at, f"a rule of {len(sql)} characters", f"{MAX_CHARACTERS} at most")
    if _depth(sql) > MAX_DEPTH:
        raise _refused(at, "parentheses nested too deep", f"{MAX_DEPTH} levels at most")
    try:
        trees = [tree for tree in sqlglot.parse(sql, read="duckdb") if tree is not None]
    except (SqlglotError, RecursionError) as error:
        raise _refused(at, f"a rule that can't be read{_column(error)}") from None
    if len(trees) != 1:
        raise _refused(at, "nothing" if not trees else "several statements", "one expression")
    for node in trees[0].walk():
        if node.comments:
            raise _refused(at, "a comment inside a rule", "the comment on a line of its own")
    return cast(exp.Expression, trees[0])


def _depth(sql: str) -> int:
    depth = deepest = 0
    for character in sql:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    # `not not not ...` nests as well.
    return max(deepest, len(re.findall(r"\bnot\b", sql, re.IGNORECASE)))


def _column(error: Exception) -> str:
    found = getattr(error, "errors", None)
    return f" (at its character {found[0]['col']})" if found and found[0].get("col") else ""


def _condition(node: exp.Expression, at: str) -> pl.Expr:
    _only_known_arguments(node, at)
    build = CONDITIONS.get(type(node))
    if build is not None:
        return build(node, at)
    if isinstance(node, exp.Boolean):
        return pl.lit(bool(node.this))
    if isinstance(node, exp.Column):  # a column by itself: true where its text is 'true'
        return _text(node, at).str.to_lowercase() == "true"
    raise _refused(at, f"{node.sql(dialect='duckdb')[:60]!r}, which is no condition")


def _comparison(compare: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[exp.Expression, str], pl.Expr]:
    def build(node: exp.Expression, at: str) -> pl.Expr:
        left, right = node.this, node.expression
        return compare(*_operands(left, right, at))

    return build


def _operands(left: exp.Expression, right: exp.Expression, at: str) -> tuple[pl.Expr, pl.Expr]:
    """Read both sides of a comparison alike: as numbers or Booleans where one of them is written so."""
    if _is_number(left) or _is_number(right):
        return tuple(_text(side, at).cast(NUMBER, strict=False) for side in (left, right))  # type: ignore[return-value]
    if isinstance(left, exp.Boolean) or isinstance(right, exp.Boolean):
        return tuple(_condition(side, at) for side in (left, right))  # type: ignore[return-value]
    return _text(left, at), _text(right, at)


def _is_number(node: exp.Expression) -> bool:
    node = node.this if isinstance(node, exp.Neg) else node
    return isinstance(node, exp.Literal) and not node.is_string


def _only_known_arguments(node: exp.Expression, at: str) -> None:
    # A parser may say "not" in an argument (`negate`), and will learn to say more: refuse what we don't read.
    known = {"this", "expression", "expressions", *ARGUMENTS.get(type(node), ())}
    if any(value for name, value in node.args.items() if name not in known):
        raise _refused(at, f"{node.sql(dialect='duckdb')[:60]!r}")


ARGUMENTS: Final[dict[type, tuple[str, ...]]] = {
    exp.Literal: ("is_string",),
    exp.Between: ("low", "high"),
    exp.Like: ("negate",),
    exp.ILike: ("negate",),
    exp.Coalesce: ("is_nvl", "is_null"),
}


def _text(node: exp.Expression, at: str) -> pl.Expr:
    _only_known_arguments(node, at)
    if isinstance(node, exp.Paren):
        return _text(node.this, at)
    if isinstance(node, exp.Column):
        if node.table or not NAME.fullmatch(node.name):  # Polars would take "*" or "^a$" as a pattern
            raise _refused(at, f"{node.sql()[:60]!r}", "a plain name of letters, digits and _")
        return pl.col(node.name).cast(pl.String)
    if isinstance(node, exp.Literal):
        return pl.lit(node.this, dtype=pl.String)
    if isinstance(node, exp.Neg) and _is_number(node):
        return pl.lit(f"-{node.this.this}", dtype=pl.String)
    if isinstance(node, exp.Boolean):
        return pl.lit("true" if node.this else "false")
    if isinstance(node, exp.Null):
        return pl.lit(None, dtype=pl.String)
    if isinstance(node, exp.Lower):
        return _text(node.this, at).str.to_lowercase()
    if isinstance(node, exp.Upper):
        return _text(node.this, at).str.to_uppercase()
    if isinstance(node, exp.Coalesce):
        return pl.coalesce([_text(part, at) for part in (node.this, *node.expressions)])
    raise _refused(at, f"{node.sql(dialect='duckdb')[:60]!r}")


def _is(node: exp.Expression, at: str) -> pl.Expr:
    if isinstance(node.expression, exp.Null):
        return _text(node.this, at).is_null()
    if isinstance(node.expression, exp.Boolean):
        return _condition(node.this, at).eq_missing(pl.lit(bool(node.expression.this)))
    raise _refused(at, f"{node.sql(dialect='duckdb')[:60]!r}")


def _in(node: exp.Expression, at: str) -> pl.Expr:
    if node.args.get("query") is not None or not node.expressions:
        raise _refused(at, "in without a list of values")
    # As SQL defines it: a chain of equalities, so that a null in it makes the answer unknown.
    return pl.any_horizontal(
        [
            _comparison(lambda a, b: a == b)(exp.EQ(this=node.this, expression=item), at)
            for item in node.expressions
        ]
    )


def _between(node: exp.Expression, at: str) -> pl.Expr:
    low, high = node.args["low"], node.args["high"]
    above = _comparison(lambda a, b: a >= b)(exp.GTE(this=node.this, expression=low), at)
    below = _comparison(lambda a, b: a <= b)(exp.LTE(this=node.this, expression=high), at)
    return above & below


def _like(node: exp.Expression, at: str) -> pl.Expr:
    pattern = node.expression
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise _refused(at, "like without a text", "like 'text with % or _'")
    parts = {"%": ".*", "_": "."}
    regex = "".join(parts.get(character, re.escape(character)) for character in pattern.this)
    case = "(?si)" if isinstance(node, exp.ILike) else "(?s)"
    matches = _text(node.this, at).str.contains(f"{case}^{regex}$")
    return ~matches if node.args.get("negate") else matches


CONDITIONS: Final[dict[type, Callable[[exp.Expression, str], pl.Expr]]] = {
    exp.Paren: lambda node, at: _condition(node.this, at),
    exp.And: lambda node, at: _condition(node.this, at) & _condition(node.expression, at),
    exp.Or: lambda node, at: _condition(node.this, at) | _condition(node.expression, at),
    exp.Not: lambda node, at: ~_condition(node.this, at),
    exp.EQ: _comparison(lambda a, b: a == b),
    exp.NEQ: _comparison(lambda a, b: a != b),
    exp.LT: _comparison(lambda a, b: a < b),
    exp.LTE: _comparison(lambda a, b: a <= b),
    exp.GT: _comparison(lambda a, b: a > b),
    exp.GTE: _comparison(lambda a, b: a >= b),
    exp.NullSafeEQ: _comparison(lambda a, b: a.eq_missing(b)),
    exp.NullSafeNEQ: _comparison(lambda a, b: a.ne_missing(b)),
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like,
    exp.ILike: _like,
}


def _refused(at: str, found: str, expected: str = ALLOWED) -> WrongMapping:
    return WrongMapping(at=at, found=found, expected=expected)

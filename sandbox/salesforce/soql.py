"""Reads SOQL into a tree of frozen records, or says what is wrong at which row and column.

Evidence: grammar from the SOQL reference (doc); texts of errors as recorded in public issues (second hand).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, VisitError
from lark.exceptions import UnexpectedToken as LarkUnexpectedToken

from sandbox.salesforce.errors import Refused

# `and` and `or` don't mix without parentheses: SOQL refuses it, and so does this grammar.
GRAMMAR = r"""
query: _SELECT items _FROM PATH [_AS? alias] [where] [group] [order] [limit] [offset] [_FOR PATH]
items: item ("," item)*
?item: path [_AS? alias]                   -> column
     | PATH "(" [path] ")" [_AS? alias]    -> call
     | "(" query ")"                       -> child
alias: PATH
path: PATH

where: _WHERE cond
?cond: unary
     | unary (_AND unary)+                 -> all_of
     | unary (_OR unary)+                  -> any_of
?unary: _NOT unary                         -> negation
      | "(" cond ")"
      | path OPERATOR value                -> compare
      | path LIKE STRING                   -> like
      | path _IN set                       -> is_in
      | path _NOT _IN set                  -> not_in
set: "(" value ("," value)* ")"
   | "(" query ")"                         -> inner
?value: STRING                             -> text
      | DATETIME                           -> datetime
      | DATE                               -> date
      | NUMBER                             -> number
      | NULL                               -> null
      | TRUE                               -> true
      | FALSE                              -> false
      | PATH [":" NUMBER]                  -> period

group: _GROUP _BY path ("," path)*
order: _ORDER _BY sort ("," sort)*
sort: (path | PATH "(" [path] ")") [DIRECTION] [_NULLS ENDS]
limit: _LIMIT NUMBER
offset: _OFFSET NUMBER

_SELECT.2: /select\b/i
_FROM.2: /from\b/i
_WHERE.2: /where\b/i
_AND.2: /and\b/i
_OR.2: /or\b/i
_NOT.2: /not\b/i
_IN.2: /in\b/i
_AS.2: /as\b/i
_GROUP.2: /group\b/i
_ORDER.2: /order\b/i
_BY.2: /by\b/i
_LIMIT.2: /limit\b/i
_OFFSET.2: /offset\b/i
_NULLS.2: /nulls\b/i
_FOR.2: /for\b/i
LIKE.2: /like\b/i
DIRECTION.2: /(asc|desc)\b/i
ENDS.2: /(first|last)\b/i
NULL.2: /null\b/i
TRUE.2: /true\b/i
FALSE.2: /false\b/i
OPERATOR: /!=|<>|<=|>=|=|<|>/
STRING: /'(\\.|[^'\\])*'/s
DATETIME.4: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)/
DATE.3: /\d{4}-\d\d-\d\d(?!T)/
NUMBER: /[+-]?\d+(\.\d+)?([eE][+-]?\d+)?/
PATH: /[a-z]\w*(\.[a-z]\w*)*/i
%ignore /\s+/
"""

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Path:
    """A field, or one reached through relationships; where it stands, for errors."""

    names: tuple[str, ...]
    row: int
    column: int

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True)
class Literal:
    """kind: text, number, datetime, date, boolean, null or period (name of a span of days, n of it)."""

    kind: str
    value: Any
    n: int = 1


@dataclass(frozen=True)
class Compare:
    """operator: = != < <= > >= like"""

    path: Path
    operator: str
    value: Literal


@dataclass(frozen=True)
class Within:
    """in, or not in: a list of values or the one column of an inner query."""

    path: Path
    values: tuple[Literal, ...] | Query
    negated: bool


@dataclass(frozen=True)
class Not:
    of: Condition


@dataclass(frozen=True)
class Both:
    """every: and; else or."""

    of: tuple[Condition, ...]
    every: bool


Condition = Compare | Within | Not | Both


@dataclass(frozen=True)
class Column:
    path: Path
    alias: str | None = None


@dataclass(frozen=True)
class Call:
    """A function: count(), an aggregate of a field, or FIELDS(ALL)."""

    function: str
    path: Path | None
    alias: str | None = None


@dataclass(frozen=True)
class Child:
    """A query within the columns: the children of each row; its table is the name of a relationship."""

    query: Query


@dataclass(frozen=True)
class Sort:
    by: Path | Call
    descending: bool
    nulls_last: bool


@dataclass(frozen=True)
class Query:
    columns: tuple[Column | Call | Child, ...]
    table: Path
    where: Condition | None
    group: tuple[Path, ...]
    order: tuple[Sort, ...]
    limit: int | None
    offset: int
    text: str = ""


def parse_query(text: str) -> Query:
    """Raises Refused with MALFORMED_QUERY."""
    return _parse(text, "query")


def parse_condition(text: str) -> Condition:
    """A condition alone, as the validation rules of /sandbox/rules have it."""
    return _parse(text, "cond")


def refused_at(text: str, row: int, column: int, code: str, message: str) -> Refused:
    """The error as Salesforce words it: the place in the query, a caret, Row and Column, what is wrong."""
    lines = text.splitlines() or [""]
    line = lines[min(row, len(lines)) - 1]
    begin, end = max(0, column - 30), column + 30
    caret = " " * (column - 1 - begin) + "^"
    return Refused(code, f"\n{line[begin:end]}\n{caret}\nERROR at Row:{row}:Column:{column}\n{message}")


@lru_cache(maxsize=2)
def _parser(start: str) -> Lark:
    return Lark(GRAMMAR, parser="lalr", start=start, maybe_placeholders=True)


def _parse(text: str, start: str) -> Any:
    try:
        return Build(text).transform(_parser(start).parse(text))
    except LarkUnexpectedToken as error:
        raise _malformed(text, error.token) from None
    except UnexpectedInput as error:
        found = text[error.pos_in_stream or 0 :][:1]
        raise refused_at(
            text, error.line, error.column, "MALFORMED_QUERY", f"unexpected token: '{found}'"
        ) from None
    except VisitError as error:
        if isinstance(error.orig_exc, Refused):
            raise error.orig_exc from None
        raise


def _malformed(text: str, token: Token) -> Refused:
    if token.type == "$END":
        rows = text.splitlines() or [""]
        return refused_at(text, len(rows), len(rows[-1]) + 1, "MALFORMED_QUERY", "unexpected token: '<EOF>'")
    return refused_at(
        text, token.line or 1, token.column or 1, "MALFORMED_QUERY", f"unexpected token: '{token}'"
    )


class Build(Transformer[Token, Any]):
    """Lark's tree -> our records; each method is named by its rule."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def query(self, parts: list[Any]) -> Query:
        items, table, _alias, where, group, order, limit, offset, _purpose = parts
        return Query(items, _path(table), where, group or (), order or (), limit, offset or 0, self._text)

    def items(self, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)

    def path(self, parts: list[Token]) -> Path:
        return _path(parts[0])

    def alias(self, parts: list[Token]) -> str:
        return str(parts[0])

    def column(self, parts: list[Any]) -> Column:
        return Column(parts[0], parts[1])

    def call(self, parts: list[Any]) -> Call:
        return Call(str(parts[0]).lower(), parts[1], parts[2])

    def child(self, parts: list[Query]) -> Child:
        return Child(parts[0])

    def where(self, parts: list[Condition]) -> Condition:
        return parts[0]

    def all_of(self, parts: list[Condition]) -> Both:
        return Both(tuple(parts), every=True)

    def any_of(self, parts: list[Condition]) -> Both:
        return Both(tuple(parts), every=False)

    def negation(self, parts: list[Condition]) -> Not:
        return Not(parts[0])

    def compare(self, parts: list[Any]) -> Compare:
        operator = "!=" if parts[1] == "<>" else str(parts[1])
        return Compare(parts[0], operator, parts[2])

    def like(self, parts: list[Any]) -> Compare:
        # The escapes of like (\% and \_) must outlive those of the string.
        kept = re.sub(r"\\([%_])", r"\\\\\1", str(parts[2]))
        return Compare(parts[0], "like", Literal("text", _unquoted(kept)))

    def is_in(self, parts: list[Any]) -> Within:
        return Within(parts[0], parts[1], negated=False)

    def not_in(self, parts: list[Any]) -> Within:
        return Within(parts[0], parts[1], negated=True)

    def set(self, parts: list[Any]) -> tuple[Literal, ...]:
        return tuple(parts)

    def inner(self, parts: list[Query]) -> Query:
        return parts[0]

    def text(self, parts: list[Token]) -> Literal:
        return Literal("text", _unquoted(str(parts[0])))

    def datetime(self, parts: list[Token]) -> Literal:
        return Literal("datetime", str(parts[0]))

    def date(self, parts: list[Token]) -> Literal:
        return Literal("date", str(parts[0]))

    def number(self, parts: list[Token]) -> Literal:
        return Literal("number", Decimal(str(parts[0])))

    def null(self, _: list[Token]) -> Literal:
        return Literal("null", None)

    def true(self, _: list[Token]) -> Literal:
        return Literal("boolean", True)

    def false(self, _: list[Token]) -> Literal:
        return Literal("boolean", False)

    def period(self, parts: list[Any]) -> Literal:
        word, n = parts
        if word.upper() not in PERIODS:
            raise _malformed(self._text, word)
        return Literal("period", word.upper(), int(n) if n is not None else 1)

    def group(self, parts: list[Path]) -> tuple[Path, ...]:
        return tuple(parts)

    def order(self, parts: list[Sort]) -> tuple[Sort, ...]:
        return tuple(parts)

    def sort(self, parts: list[Any]) -> Sort:
        *by, direction, ends = parts
        what = by[0] if isinstance(by[0], Path) else Call(str(by[0]).lower(), by[1])
        descending = direction is not None and direction.lower() == "desc"
        # Nulls come first when nothing is said, in both directions (doc: SOQL reference, order by).
        return Sort(what, descending, nulls_last=ends is not None and ends.lower() == "last")

    def limit(self, parts: list[Token]) -> int:
        return int(parts[0])

    def offset(self, parts: list[Token]) -> int:
        return int(parts[0])


PERIODS = frozenset({
    "TODAY", "YESTERDAY", "TOMORROW", "LAST_N_DAYS", "NEXT_N_DAYS", "THIS_MONTH", "LAST_MONTH", "THIS_YEAR",
    "LAST_YEAR",
})  # fmt: skip


def _path(token: Token) -> Path:
    return Path(tuple(str(token).split(".")), token.line or 1, token.column or 1)


def _unquoted(quoted: str) -> str:
    return re.sub(
        r"\\(.)", lambda found: ESCAPES.get(found[1].lower(), found[1]), quoted[1:-1], flags=re.DOTALL
    )

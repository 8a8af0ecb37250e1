"""Reads Xero's `where` and `order` and turns them into functions over a record.

The language is .NET-like: `Name.Contains("x") AND UpdatedDateUTC>=DateTime(2026,1,1)`. Strings compare
without case (recorded); an unknown field is refused with its place (spec).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, VisitError

from sandbox.clock import to_ms
from sandbox.store import Body

GRAMMAR = r"""
?start: either
?either: both (_OR both)*
?both: negation (_AND negation)*
?negation: "!" negation -> negate
         | comparison
?comparison: postfix (COMPARE postfix)?
?postfix: atom
        | postfix "." NAME -> member
        | postfix "." NAME "(" [either ("," either)*] ")" -> call
?atom: NAME "(" [either ("," either)*] ")" -> make
     | NAME -> field
     | STRING -> text
     | NUMBER -> number
     | "(" either ")"

_OR.2: /\|\||or\b/i
_AND.2: /&&|and\b/i
COMPARE: "==" | "!=" | ">=" | "<=" | "=" | ">" | "<"
NAME: /[A-Za-z_][A-Za-z0-9_]*/
STRING: /"(\\.|[^"\\])*"/
NUMBER: /-?\d+(\.\d+)?/
%ignore /\s+/
"""
PARSER = Lark(GRAMMAR, parser="lalr", maybe_placeholders=False)

Getter = Callable[[Body], Any]
# Field name -> type; "A.B" for a field of a field. Types: String, Boolean, DateTime (ms), Guid, Decimal.
Fields = Mapping[str, str]


class QueryError(Exception):
    """A where or order that Xero refuses (ErrorNumber 16)."""


@dataclass(frozen=True)
class Term:
    """A part of a query: its type, and how to get its value from a record."""

    type: str
    value: Getter


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    try:
        return PARSER.parse(text)
    except UnexpectedInput as error:
        raise QueryError(f"Syntax error (at index {error.pos_in_stream or 0})") from None


def compile_where(text: str, fields: Fields, record_type: str, *, single_equals: bool = True) -> Getter:
    """A predicate over records of one type."""
    try:
        term = _Compiler(fields, record_type, single_equals).transform(_parsed(text))
    except VisitError as error:
        if isinstance(error.orig_exc, QueryError):
            raise error.orig_exc from None
        raise
    if term.type != "Boolean":
        raise QueryError("Expression of type 'Boolean' expected (at index 0)")
    return term.value


def compile_order(text: str, fields: Fields, record_type: str) -> Callable[[list[Body]], list[Body]]:
    """A stable sort by `Field [ASC|DESC], ...`; nulls first, strings without case."""
    keys: list[tuple[str, bool]] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([A-Za-z_.]+)(?:\s+(asc|desc))?\s*", part, re.IGNORECASE)
        if found is None:
            raise QueryError("Syntax error (at index 0)")
        if found[1] not in fields:
            raise QueryError(unknown_field(found[1], record_type, text.index(found[1])))
        keys.append((found[1], (found[2] or "asc").lower() == "desc"))

    def sort(records: list[Body]) -> list[Body]:
        for name, down in reversed(keys):
            records = sorted(records, key=_sort_key(name), reverse=down)
        return records

    return sort


def unknown_field(name: str, record_type: str, index: int) -> str:
    """spec: the wording, from the example of another Xero API."""
    return f"No property or field '{name}' exists in type '{record_type}' (at index {index})"


def _sort_key(name: str) -> Getter:
    value_of = _getter(name)

    def key(record: Body) -> tuple[bool, Any]:
        value = value_of(record)
        return (value is not None, value.casefold() if isinstance(value, str) else value or 0)

    return key


def _getter(path: str) -> Getter:
    names = path.split(".")

    def get(record: Body) -> Any:
        value: Any = record
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    return get


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, ">=": operator.ge,
    "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
TESTS: dict[str, Callable[[str, str], bool]] = {
    "Contains": lambda text, part: part in text,
    "StartsWith": str.startswith,
    "EndsWith": str.endswith,
}
CHANGES: dict[str, Callable[[str], str]] = {"ToLower": str.lower, "ToUpper": str.upper, "Trim": str.strip}
CONSTANTS = {
    "true": Term("Boolean", lambda _: True),
    "false": Term("Boolean", lambda _: False),
    "null": Term("null", lambda _: None),
}


@v_args(inline=True)
class _Compiler(Transformer[Token, Term]):
    """Builds the function from the leaves up."""

    def __init__(self, fields: Fields, record_type: str, single_equals: bool) -> None:
        super().__init__()
        self._fields, self._type, self._single_equals = fields, record_type, single_equals

    def text(self, token: Token) -> Term:
        value = re.sub(r"\\(.)", r"\1", token[1:-1])
        return Term("String", lambda _: value)

    def number(self, token: Token) -> Term:
        value = Decimal(token)
        return Term("Decimal", lambda _: value)

    def field(self, token: Token) -> Term:
        constant = CONSTANTS.get(token.lower())
        if constant:
            return constant
        if token == "DateTime":  # the type, as in DateTime.Parse("...")
            return Term("type:DateTime", lambda _: None)
        return self._path(str(token), token.start_pos or 0)

    def member(self, term: Term, token: Token) -> Term:
        if term.type == "String" and token == "Length":
            return Term("Decimal", lambda record: len(term.value(record) or ""))
        if not term.type.startswith("path:"):
            raise QueryError(unknown_field(str(token), term.type, token.start_pos or 0))
        return self._path(f"{term.type.removeprefix('path:')}.{token}", token.start_pos or 0)

    def _path(self, path: str, index: int) -> Term:
        if path in self._fields:
            return Term(self._fields[path], _getter(path))
        if any(name.startswith(path + ".") for name in self._fields):
            return Term(f"path:{path}", _getter(path))
        owner, _, name = path.rpartition(".")
        raise QueryError(unknown_field(name, owner or self._type, index))

    def make(self, name: Token, *args: Term) -> Term:
        values = [arg.value({}) for arg in args]
        if name.lower() == "guid" and len(values) == 1:  # documented in both spellings
            return Term("Guid", lambda _: str(values[0]).lower())
        if name == "DateTime" and len(values) >= 3:
            return _moment(name, lambda: datetime(*(int(value) for value in values), tzinfo=UTC))  # type: ignore[misc]
        raise QueryError(f"No applicable method '{name}' exists (at index {name.start_pos})")

    def call(self, term: Term, name: Token, *args: Term) -> Term:
        if term.type == "type:DateTime" and name == "Parse" and len(args) == 1:
            text = args[0].value({})
            return _moment(name, lambda: datetime.fromisoformat(text).replace(tzinfo=UTC))
        if term.type != "String" or name not in {**TESTS, **CHANGES}:
            raise QueryError(
                f"No applicable method '{name}' exists in type '{term.type}' (at index {name.start_pos})"
            )
        if name in CHANGES:
            change = CHANGES[str(name)]
            return Term("String", lambda record: _on(change, term.value(record)))
        if len(args) != 1 or args[0].type != "String":
            raise QueryError(
                f"No applicable method '{name}' exists in type 'String' (at index {name.start_pos})"
            )
        test, part = TESTS[str(name)], args[0]
        return Term("Boolean", lambda record: _test(test, term.value(record), part.value(record)))

    def comparison(self, left: Term, sign: Token, right: Term) -> Term:
        if sign == "=" and not self._single_equals:
            raise QueryError(f"Syntax error (at index {sign.start_pos})")
        mark = "==" if sign == "=" else str(sign)
        if "null" not in (left.type, right.type) and left.type != right.type:
            raise QueryError(
                f"Operator '{mark}' incompatible with operand types '{left.type}' and '{right.type}' "
                f"(at index {sign.start_pos})"
            )
        compare = COMPARISONS[mark]
        return Term(
            "Boolean", lambda record: _compare(compare, mark, left.value(record), right.value(record))
        )

    def negate(self, term: Term) -> Term:
        return Term("Boolean", lambda record: not term.value(record))

    def both(self, *terms: Term) -> Term:
        return Term("Boolean", lambda record: all(term.value(record) for term in terms))

    def either(self, *terms: Term) -> Term:
        return Term("Boolean", lambda record: any(term.value(record) for term in terms))


def _moment(at: Token, make: Callable[[], datetime]) -> Term:
    try:
        ms = to_ms(make())
    except (ValueError, TypeError):
        raise QueryError(f"Not a date (at index {at.start_pos})") from None
    return Term("DateTime", lambda _: ms)


def _on(change: Callable[[str], str], value: str | None) -> str | None:
    return None if value is None else change(value)


def _test(test: Callable[[str, str], bool], text: str | None, part: str) -> bool:
    return text is not None and test(text.casefold(), part.casefold())


def _compare(compare: Callable[[Any, Any], bool], mark: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return (left is right) == (mark == "==") if mark in ("==", "!=") else False
    if isinstance(left, str):
        left, right = left.casefold(), right.casefold()
    return compare(left, right)

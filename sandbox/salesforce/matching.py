"""Decides which rows a query means, and in what order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from operator import ge, gt, le, lt
from typing import Any, TypeVar

from sandbox.salesforce import soql
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.org import stamp_of, stamp_text
from sandbox.salesforce.reading import Get, Reading, ordered, refused, resolve, sort_key, table
from sandbox.salesforce.schema import NUMBERS, Field, SObject
from sandbox.store import Body

Test = Callable[[Body], bool]
Row = TypeVar("Row")

LARGEST_PAGE, SMALLEST_PAGE = 2000, 200


def matching_rows(reading: Reading, query: soql.Query, sobject: SObject) -> list[Body]:
    """The rows of a query in its order, before any is shown."""
    if query.offset > LARGEST_PAGE:
        raise Refused("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000")
    test = condition(reading, query, sobject, query.where)
    rows = [
        body
        for body in _candidates(reading, sobject, query.where)
        if (reading.deleted or not body.get("IsDeleted")) and test(body)
    ]
    for sort in reversed(query.order):
        if isinstance(sort.by, soql.Call):
            raise refused(query, query.table, "MALFORMED_QUERY", "a function in order by needs group by")
        get, key = ordered(reading, query, sobject, sort.by)
        rows = in_order(rows, lambda body, get=get, key=key: key(get(body)), sort)
    end = None if query.limit is None else query.offset + query.limit
    return rows[query.offset : end]


def in_order(rows: list[Row], key: Callable[[Row], Any], sort: soql.Sort) -> list[Row]:
    """Sort by one key; what has none comes first or last."""
    nulls = [row for row in rows if key(row) is None]
    rest = sorted((row for row in rows if key(row) is not None), key=key, reverse=sort.descending)
    return [*rest, *nulls] if sort.nulls_last else [*nulls, *rest]


def _candidates(reading: Reading, sobject: SObject, where: soql.Condition | None) -> Iterator[Body]:
    """The rows that can match, by an index where the condition allows one, else all."""
    kind, org = sobject.name, reading.org
    since: int | None = None
    until: int | None = None
    for part in _conjuncts(where):
        name, values = _wanted(sobject, part)
        if name == "Id" and values:
            return iter(org.many(kind, dict.fromkeys(filter(None, map(full_id, values)))))
        if name and values and org.is_indexed(kind, name):
            found = {body["Id"]: body for value in values for body in org.find(kind, name, value)}
            return iter(found.values())
        if isinstance(part, soql.Compare) and part.value.kind == "datetime":
            since, until = _narrowed(part, since, until)
    return org.rows(kind, since=since, until=until)


def _conjuncts(where: soql.Condition | None) -> Iterator[soql.Condition]:
    if isinstance(where, soql.Both) and where.every:
        for part in where.of:
            yield from _conjuncts(part)
    elif where is not None:
        yield where


def _wanted(sobject: SObject, part: soql.Condition) -> tuple[str | None, list[str]]:
    """Field and values of a condition that asks for equal texts; (None, []) of any other."""
    if not isinstance(part, soql.Compare | soql.Within) or len(part.path.names) > 1:
        return None, []
    values: Iterable[soql.Literal] = ()
    if isinstance(part, soql.Compare) and part.operator == "=":
        values = [part.value]
    elif isinstance(part, soql.Within) and not part.negated and isinstance(part.values, tuple):
        values = part.values
    texts = [value.value for value in values if value.kind == "text" and value.value]
    f = sobject.field(part.path.names[0])
    if f is None or len(texts) != len(list(values)):
        return None, []
    if f.type == "reference":
        texts = [full_id(text) or text for text in texts]
    return f.name, texts


def _narrowed(part: soql.Compare, since: int | None, until: int | None) -> tuple[int | None, int | None]:
    name, at = str(part.path).lower(), stamp_of(part.value.value)
    # LastModifiedDate never lies after SystemModstamp, by which the index is.
    if name in ("systemmodstamp", "lastmodifieddate") and part.operator in (">", ">=", "="):
        since = max(since or 0, at)
    if name == "systemmodstamp" and part.operator in ("<", "<="):
        until = min(until or at + 1, at + 1)
    return since, until


def stamps_between(where: soql.Condition | None) -> tuple[int | None, int | None]:
    """The span of SystemModstamp outside of which no record can match; None: open."""
    since: int | None = None
    until: int | None = None
    for part in _conjuncts(where):
        if isinstance(part, soql.Compare) and part.value.kind == "datetime":
            since, until = _narrowed(part, since, until)
    return since, until


def condition(reading: Reading, query: soql.Query, sobject: SObject, where: soql.Condition | None) -> Test:
    """A condition as a function of a row."""
    if where is None:
        return lambda _: True
    if isinstance(where, soql.Not):
        test = condition(reading, query, sobject, where.of)
        return lambda body: not test(body)
    if isinstance(where, soql.Both):
        tests = [condition(reading, query, sobject, part) for part in where.of]
        if where.every:
            return lambda body: all(test(body) for test in tests)
        return lambda body: any(test(body) for test in tests)
    return _leaf(reading, query, sobject, where)


def _leaf(reading: Reading, query: soql.Query, sobject: SObject, leaf: soql.Compare | soql.Within) -> Test:
    get, f = resolve(reading, query, sobject, leaf.path)
    if not f.filterable or f.type == "address":
        raise refused(
            query, leaf.path, "INVALID_FIELD", f"field '{leaf.path}' can not be filtered in a query call"
        )
    if isinstance(leaf, soql.Within):
        return _member(reading, query, leaf, get, f)
    if leaf.value.kind == "period":
        return _in_period(reading, leaf, get, f)
    if leaf.operator == "like":
        pattern = _like(leaf.value.value)
        return lambda body: isinstance(value := get(body), str) and pattern.match(value) is not None
    wanted, key = _literal(query, leaf.path, f, leaf.value), sort_key(f)
    if leaf.operator == "=":
        return lambda body: key(get(body)) == wanted
    if leaf.operator == "!=":  # a null is unequal to any value
        return lambda body: key(get(body)) != wanted
    holds = {"<": lt, "<=": le, ">": gt, ">=": ge}[leaf.operator]
    return lambda body: (value := key(get(body))) is not None and wanted is not None and holds(value, wanted)


def _member(reading: Reading, query: soql.Query, leaf: soql.Within, get: Get, f: Field) -> Test:
    key = sort_key(f)
    if isinstance(leaf.values, soql.Query):
        wanted = _inner(reading, leaf.values)
    else:
        wanted = {_literal(query, leaf.path, f, value) for value in leaf.values}
    if leaf.negated:
        return lambda body: key(get(body)) not in wanted
    return lambda body: key(get(body)) in wanted


def _inner(reading: Reading, query: soql.Query) -> set[Any]:
    sobject = table(reading, query)
    column = query.columns[0]
    if len(query.columns) != 1 or not isinstance(column, soql.Column):
        raise refused(query, query.table, "MALFORMED_QUERY", "an inner query has exactly one field")
    get, f = resolve(reading, query, sobject, column.path)
    key = sort_key(f)
    return {key(get(body)) for body in matching_rows(reading, query, sobject)} - {None}


def _like(text: str) -> re.Pattern[str]:
    parts = re.findall(r"\\[%_\\]|.", text, re.DOTALL)
    signs = {"%": ".*", "_": "."}
    pattern = "".join(signs.get(part) or re.escape(part[-1]) for part in parts)
    return re.compile(pattern + r"\Z", re.IGNORECASE | re.DOTALL)


def _literal(query: soql.Query, path: soql.Path, f: Field, literal: soql.Literal) -> Any:
    """The value that a field is compared with, in the form of `sort_key`; the wrong type is refused."""
    kinds = {"boolean": "boolean", "datetime": "datetime", "date": "date"}
    expected = "number" if f.type in NUMBERS else kinds.get(f.type, "text")
    if literal.kind == "null":
        return False if f.type == "boolean" else None
    if literal.kind != expected:
        word = {"datetime": "dateTime", "text": "string", "number": "double"}.get(expected, expected)
        quotes = "should" if expected == "text" else "should not"
        raise refused(
            query, path, "INVALID_FIELD",
            f"value of filter criterion for field '{path}' must be of type {word} and {quotes} be "
            "enclosed in quotes",
        )  # fmt: skip
    if f.type in ("id", "reference"):
        return _id_literal(query, path, literal.value)
    if expected == "datetime":
        return stamp_text(stamp_of(literal.value))
    return sort_key(f)(literal.value)


def _id_literal(query: soql.Query, path: soql.Path, text: str) -> str | None:
    if not text:
        return None
    if (found := full_id(text)) is None:
        raise refused(query, path, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {text}")
    return found


def _in_period(reading: Reading, leaf: soql.Compare, get: Get, f: Field) -> Test:
    first, after = _days(leaf.value, reading.org.clock.now().date())
    if f.type == "datetime":
        begin, end = (f"{day.isoformat()}T00:00:00.000+0000" for day in (first, after))
    else:
        begin, end = first.isoformat(), after.isoformat()
    tests: dict[str, Callable[[str], bool]] = {
        "=": lambda v: begin <= v < end, "!=": lambda v: not begin <= v < end, "<": lambda v: v < begin,
        "<=": lambda v: v < end, ">": lambda v: v >= end, ">=": lambda v: v >= begin,
    }  # fmt: skip
    test = tests[leaf.operator]
    return lambda body: (value := get(body)) is not None and test(value)


def _days(period: soql.Literal, today: date) -> tuple[date, date]:
    """First day of a span, and the day after its last."""
    day, month, year = timedelta(days=1), today.replace(day=1), today.replace(month=1, day=1)
    next_month = (month + 32 * day).replace(day=1)
    last_month = (month - day).replace(day=1)
    spans = {
        "TODAY": (today, today + day),
        "YESTERDAY": (today - day, today),
        "TOMORROW": (today + day, today + 2 * day),
        "LAST_N_DAYS": (today - period.n * day, today + day),
        "NEXT_N_DAYS": (today + day, today + (period.n + 1) * day),
        "THIS_MONTH": (month, next_month),
        "LAST_MONTH": (last_month, month),
        "THIS_YEAR": (year, year.replace(year=year.year + 1)),
        "LAST_YEAR": (year.replace(year=year.year - 1), year),
    }
    return spans[period.value]

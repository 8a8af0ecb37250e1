"""Answers queries that count, sum and group."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sandbox.salesforce import soql
from sandbox.salesforce.matching import in_order, matching_rows
from sandbox.salesforce.reading import Reading, ordered, refused, resolve, sort_key
from sandbox.salesforce.schema import SObject
from sandbox.store import Body

AGGREGATES = frozenset({"count", "count_distinct", "sum", "avg", "min", "max"})


def is_aggregate(query: soql.Query) -> bool:
    calls = (column.function for column in query.columns if isinstance(column, soql.Call))
    return bool(query.group) or any(function in AGGREGATES for function in calls)


def aggregated(reading: Reading, query: soql.Query, sobject: SObject) -> dict[str, Any]:
    """The whole reply: one row a group, or a count alone."""
    bare = soql.Query(query.columns, query.table, query.where, (), (), None, 0, query.text)
    rows = matching_rows(reading, bare, sobject)
    only = query.columns[0]
    if isinstance(only, soql.Call) and only.function == "count" and only.path is None:
        if len(query.columns) > 1:
            raise refused(query, query.table, "MALFORMED_QUERY", "count() must be the only element")
        return {"totalSize": len(rows), "done": True, "records": []}
    keys = {str(path).lower(): ordered(reading, query, sobject, path) for path in query.group}
    groups: dict[tuple[Any, ...], list[Body]] = {} if keys else {(): rows}
    for body in rows if keys else ():
        groups.setdefault(tuple(key(get(body)) for get, key in keys.values()), []).append(body)
    members = list(groups.values())
    for sort in reversed(query.order):
        members = in_order(members, _group_value(reading, query, sobject, sort.by), sort)
    end = None if query.limit is None else query.offset + query.limit
    columns = _aggregate_columns(reading, query, sobject)
    records = [
        {"attributes": {"type": "AggregateResult"}, **{name: get(group) for name, get in columns.items()}}
        for group in members[query.offset : end]
    ]
    return {"totalSize": len(records), "done": True, "records": records}


def _aggregate_columns(
    reading: Reading, query: soql.Query, sobject: SObject
) -> dict[str, Callable[[list[Body]], Any]]:
    grouped = {str(path).lower() for path in query.group}
    columns: dict[str, Callable[[list[Body]], Any]] = {}
    unnamed = 0
    for column in query.columns:
        if isinstance(column, soql.Column):
            if str(column.path).lower() not in grouped:
                message = f"Field must be grouped or aggregated: {column.path}"
                raise refused(query, column.path, "MALFORMED_QUERY", message)
            get, f = resolve(reading, query, sobject, column.path)
            columns[column.alias or f.name] = lambda group, get=get: get(group[0])
        elif isinstance(column, soql.Child):
            raise refused(query, query.table, "MALFORMED_QUERY", "a query within a query that groups")
        else:
            columns[column.alias or f"expr{unnamed}"] = _group_value(reading, query, sobject, column)
            unnamed += column.alias is None
    return columns


def _group_value(
    reading: Reading, query: soql.Query, sobject: SObject, what: soql.Path | soql.Call
) -> Callable[[list[Body]], Any]:
    if isinstance(what, soql.Path):
        get, key = ordered(reading, query, sobject, what)
        return lambda group: key(get(group[0]))
    if what.function not in AGGREGATES:
        raise refused(query, query.table, "MALFORMED_QUERY", f"unexpected token: '{what.function}'")
    if what.path is None:
        return len
    get, f = resolve(reading, query, sobject, what.path)
    compute = _AGGREGATE[what.function]
    key = sort_key(f) if what.function == "count_distinct" else (lambda value: value)
    return lambda group: compute([key(v) for body in group if (v := get(body)) is not None])


_AGGREGATE: dict[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "count_distinct": lambda values: len(set(values)),
    "sum": lambda values: sum(values) if values else None,
    "avg": lambda values: round(Decimal(sum(values)) / len(values), 10) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
}

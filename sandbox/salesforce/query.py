"""Answers SOQL over the org's records, page by page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sandbox.salesforce import soql
from sandbox.salesforce.aggregates import aggregated, is_aggregate
from sandbox.salesforce.describe import column_metadata
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.ids import make_id
from sandbox.salesforce.matching import matching_rows
from sandbox.salesforce.reading import HINT, Reading, Shape, refused, render, resolve, shape_of, table
from sandbox.salesforce.schema import Relation, SObject
from sandbox.store import Body

SMALLEST_PAGE = 200


def run_query(reading: Reading, text: str, *, batch: int) -> dict[str, Any]:
    """The first page of a query; the ids of the rest are kept under a locator."""
    query = soql.parse_query(text)
    sobject = table(reading, query)
    if is_aggregate(query):
        return aggregated(reading, query, sobject)
    shape = shape_of(reading, query, sobject)
    rows = matching_rows(reading, query, sobject)
    children = children_of(reading, query, sobject)
    page = [_shown(reading, shape, children, body) for body in rows[:batch]]
    reply: dict[str, Any] = {"totalSize": len(rows), "done": len(rows) <= batch, "records": page}
    if len(rows) > batch:
        reply["nextRecordsUrl"] = _keep_cursor(reading, text, rows, batch)
    return reply


def next_page(reading: Reading, locator: str) -> dict[str, Any]:
    """The page that a locator (01g...-2000) stands for: the rows of the query with their values of now."""
    cursor_id, _, start = locator.partition("-")
    cursor = reading.org.store.kept("cursor", cursor_id)
    if cursor is None or not start.isdigit():
        raise Refused("INVALID_QUERY_LOCATOR", "invalid query locator")
    query = soql.parse_query(cursor["text"])
    sobject = table(reading, query)
    shape, begin, end = shape_of(reading, query, sobject), int(start), int(start) + cursor["batch"]
    bodies = reading.org.many(sobject.name, cursor["ids"][begin:end])
    children = children_of(reading, query, sobject)
    total = len(cursor["ids"])
    reply: dict[str, Any] = {
        "totalSize": total,
        "done": end >= total,
        "records": [_shown(reading, shape, children, body) for body in bodies],
    }
    if end < total:
        reply["nextRecordsUrl"] = _page_url(reading, cursor_id, end)
    return reply


def describe_columns(reading: Reading, text: str) -> dict[str, Any]:
    """query?columns=true: what the columns are, without rows (recorded: the sf command line asks for it)."""
    query = soql.parse_query(text)
    sobject = table(reading, query)
    columns = [
        column_metadata(str(column.path), resolve(reading, query, sobject, column.path)[1])
        if isinstance(column, soql.Column)
        else column_metadata((column.alias if isinstance(column, soql.Call) else None) or f"expr{at}", None)
        for at, column in enumerate(query.columns)
    ]
    return {
        "columnMetadata": columns,
        "entityName": sobject.name,
        "groupBy": bool(query.group),
        "idSelected": any(column["columnName"] == "Id" for column in columns),
        "keyPrefix": sobject.prefix,
    }


@dataclass(frozen=True)
class Children:
    """What one query within a query asks of each row."""

    relation: Relation
    query: soql.Query
    sobject: SObject
    shape: Shape


def children_of(reading: Reading, query: soql.Query, sobject: SObject) -> list[Children]:
    """The queries within a query. Raises Refused for a relationship that there is not."""
    return [
        _children(reading, column.query, sobject)
        for column in query.columns
        if isinstance(column, soql.Child)
    ]


def _children(reading: Reading, query: soql.Query, sobject: SObject) -> Children:
    name = str(query.table)
    for relation in reading.org.schema.relations(sobject.name):
        if relation.name.lower() == name.lower():
            query = replace(query, table=replace(query.table, names=(relation.child,)))
            child = table(reading, query)
            return Children(relation, query, child, shape_of(reading, query, child))
    message = f"Didn't understand relationship '{name}' in FROM part of query call."
    hint = HINT.format("relationship", "custom relationship").replace("'__c'", "'__r'")
    raise refused(query, query.table, "INVALID_TYPE", message + hint)


def _shown(reading: Reading, shape: Shape, children: list[Children], body: Body) -> dict[str, Any]:
    """A row with its children: null where it has none (doc)."""
    shown = render(reading, shape, body)
    for one in children:
        place = soql.Path((one.relation.field,), one.query.table.row, one.query.table.column)
        own: soql.Condition = soql.Compare(place, "=", soql.Literal("text", body["Id"]))
        where = own if one.query.where is None else soql.Both((own, one.query.where), every=True)
        rows = matching_rows(reading, replace(one.query, where=where), one.sobject)
        records = [render(reading, one.shape, row) for row in rows]
        found = {"totalSize": len(records), "done": True, "records": records}
        shown[one.relation.name] = found if records else None
    return shown


def _keep_cursor(reading: Reading, text: str, rows: list[Body], batch: int) -> str:
    store = reading.org.store
    number = (store.meta("next_cursor") or 0) + 1
    cursor_id = make_id("01g", "Sb", number)
    with store.transaction():
        store.set_meta("next_cursor", number)
        store.keep("cursor", cursor_id, {"text": text, "ids": [row["Id"] for row in rows], "batch": batch})
    return _page_url(reading, cursor_id, batch)


def _page_url(reading: Reading, cursor_id: str, start: int) -> str:
    # Also a queryAll's next page is said to lie under /query/ (doc).
    return f"/services/data/v{reading.version}/query/{cursor_id}-{start}"

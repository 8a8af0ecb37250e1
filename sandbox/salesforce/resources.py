"""The REST resources under /services/data/vXX.X: one call in, one answer out, without HTTP around it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sandbox import exact
from sandbox.salesforce import collections, composite, query, replication, rows
from sandbox.salesforce.bulk import resources as bulk
from sandbox.salesforce.describe import describe_global, describe_object
from sandbox.salesforce.errors import Refused, not_found
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.limits import Usage
from sandbox.salesforce.matching import LARGEST_PAGE
from sandbox.salesforce.orders import kept_lists
from sandbox.salesforce.org import Org, Session, stamp_of
from sandbox.salesforce.reading import Reading, render, whole_shape
from sandbox.salesforce.rows import Writing
from sandbox.salesforce.rules import Locked
from sandbox.salesforce.schema import SObject
from sandbox.store import Body


@dataclass(frozen=True)
class Call:
    """One call to a resource. parts: path below the version, each piece decoded; headers in lower case."""

    org: Org
    usage: Usage
    session: Session
    version: str
    method: str
    parts: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: str | None = None

    @cached_property
    def json(self) -> Any:
        try:
            return exact.loads(self.body)
        except ValueError as error:
            raise Refused("JSON_PARSER_ERROR", f"Unexpected input at {error}") from None

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The body as the fields of one record."""
        if not isinstance(self.json, dict):
            raise Refused("JSON_PARSER_ERROR", "The HTTP entity body must be a JSON object")
        return self.json

    @property
    def reading(self) -> Reading:
        return Reading(self.org, self.session, self.version)

    @property
    def writing(self) -> Writing:
        header = self.headers.get("sforce-duplicate-rule-header", "").replace(" ", "").lower()
        return Writing(self.org, self.session, self.version, "allowsave=true" in header)

    def sobject(self, name: str) -> SObject:
        found = self.org.schema.object(name, restricted=self.session.restricted)
        if found is None:
            raise not_found()
        return found

    def sub(self, method: str, url: str, body: Any, headers: Mapping[str, str]) -> Call:
        """A call within this one, as composite makes it."""
        split = urlsplit(url)
        pieces = [unquote(piece) for piece in split.path.split("/") if piece]
        below = pieces[3:] if pieces[:2] == ["services", "data"] else pieces
        return replace(
            self,
            method=method.upper(),
            parts=tuple(below),
            query=dict(parse_qsl(split.query)),
            headers={name.lower(): value for name, value in headers.items()},
            body=b"" if body is None else exact.dumps(body).encode(),
            fault=None,
        )


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[..., Answer]


def answer(call: Call) -> Answer:
    """Find the resource and do what is asked; a refusal becomes an answer too."""
    try:
        return _handler(call)
    except rows.ManyMatches as error:
        kind = call.sobject(call.parts[1]).name
        return Answer(
            300, [f"/services/data/v{call.version}/sobjects/{kind}/{one}" for one in error.record_ids]
        )
    except Locked as error:
        error.count_down(call.org)
        return Answer(error.status, error.body())
    except Refused as error:
        return Answer(error.status, error.body())


def _handler(call: Call) -> Answer:
    method = call.query.get("_HttpMethod", call.method).upper() if call.method == "POST" else call.method
    allowed: set[str] = set()
    for methods, pattern, handler in ROUTES:
        found = _match(pattern, call.parts)
        if found is not None and method in methods:
            return handler(call, *found)
        if found is not None:
            allowed |= set(methods)
    if allowed:
        message = f"HTTP Method '{method}' not allowed. Allowed are {', '.join(sorted(allowed))}"
        raise Refused("METHOD_NOT_ALLOWED", message, status=405)
    raise not_found()


def _match(pattern: tuple[str, ...], parts: tuple[str, ...]) -> list[str] | None:
    """The pieces that stand for `*`, or None where the path is another one."""
    if len(pattern) != len(parts):
        return None
    found = []
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted == "*":
            found.append(part)
        elif wanted.lower() != part.lower():
            return None
    return found


# -- what there is


def list_resources(call: Call) -> Answer:
    root = f"/services/data/v{call.version}"
    names = ("composite", "jobs", "limits", "query", "queryAll", "sobjects")
    return Answer(body={name: f"{root}/{name}" for name in names})


def show_limits(call: Call) -> Answer:
    return Answer(body=call.usage.resource())


def list_objects(call: Call) -> Answer:
    return Answer(body=describe_global(call.org.schema, call.version, restricted=call.session.restricted))


def show_object(call: Call, kind: str) -> Answer:
    described = _described(call, kind)
    basic = {name: value for name, value in described.items() if name not in ("fields", "recordTypeInfos")}
    return Answer(body={"objectDescribe": basic, "recentItems": []})


def describe(call: Call, kind: str) -> Answer:
    return Answer(body=_described(call, kind))


def _described(call: Call, kind: str) -> dict[str, Any]:
    sobject = call.sobject(kind)
    relations = call.org.schema.relations(sobject.name)
    return describe_object(sobject, call.version, relations, kept_lists(call.org))


# -- queries


def run_query(call: Call, *, deleted: bool = False) -> Answer:
    text = call.query.get("q")
    if text is None:
        raise Refused("MALFORMED_QUERY", "a query needs the parameter q")
    reading = replace(call.reading, deleted=deleted)
    if call.query.get("columns") == "true":
        return Answer(body=query.describe_columns(reading, text))
    return Answer(body=query.run_query(reading, text, batch=_batch(call)))


def run_query_all(call: Call) -> Answer:
    return run_query(call, deleted=True)


def next_page(call: Call, locator: str) -> Answer:
    """Under /query and /queryAll alike; a `q` beside it is ignored (ran: tap-salesforce repeats it)."""
    return Answer(body=query.next_page(replace(call.reading, deleted=True), locator))


def _batch(call: Call) -> int:
    options = call.headers.get("sforce-query-options", "").replace(" ", "").lower()
    asked = options.partition("batchsize=")[2]
    size = int(asked) if asked.isdigit() else LARGEST_PAGE
    size = min(max(size, query.SMALLEST_PAGE), LARGEST_PAGE)
    return min(size, 500) if call.org.dialect["page"] == "fewer" else size


def list_updated(call: Call, kind: str) -> Answer:
    span = call.query.get("start", ""), call.query.get("end", "")
    return Answer(body=replication.changed_between(call.reading, call.sobject(kind), *span))


def list_deleted(call: Call, kind: str) -> Answer:
    span = call.query.get("start", ""), call.query.get("end", "")
    return Answer(body=replication.deleted_between(call.reading, call.sobject(kind), *span))


# -- rows


def create_row(call: Call, kind: str) -> Answer:
    call.sobject(kind)
    with call.org.store.transaction():
        saved = rows.create(call.writing, kind, call.fields)
    location = f"/services/data/v{call.version}/sobjects/{call.sobject(kind).name}/{saved.record_id}"
    return Answer(201, _saved(saved), {"Location": location})


def read_row(call: Call, kind: str, record_id: str) -> Answer:
    sobject = call.sobject(kind)
    found = full_id(record_id)
    body = call.org.get(sobject.name, found) if found else None
    if body is None:
        raise not_found("Provided external ID field does not exist or is not accessible: " + record_id)
    if body.get("IsDeleted"):
        _refuse_deleted(call.org.dialect["read_deleted_row"])
    return _shown(call, sobject, body)


def change_row(call: Call, kind: str, record_id: str) -> Answer:
    sobject = call.sobject(kind)
    _refuse_keys(call.fields, "Id")
    with call.org.store.transaction():
        _check_conditions(call, rows.living(call.org, sobject.name, record_id))
        rows.update(call.writing, sobject.name, record_id, call.fields)
    return Answer(204)


def delete_row(call: Call, kind: str, record_id: str) -> Answer:
    sobject = call.sobject(kind)
    with call.org.store.transaction():
        rows.delete(call.writing, sobject.name, record_id)
    return Answer(204)


def read_by_key(call: Call, kind: str, name: str, value: str) -> Answer:
    sobject = call.sobject(kind)
    return _shown(call, sobject, _by_key(call, sobject, name, value))


def upsert_row(call: Call, kind: str, name: str, value: str) -> Answer:
    sobject = call.sobject(kind)
    if name.lower() == "id":
        return change_row(call, kind, value)
    key = rows.external_key(call.org, sobject, name)
    if call.org.dialect["upsert_body_key"] == "refused":
        _refuse_keys(call.fields, key.name)
    _refuse_keys(call.fields, "Id")
    given = {key_: v for key_, v in call.fields.items() if key_.lower() != key.name.lower()}
    only = call.query.get("updateOnly", "").lower() == "true"
    with call.org.store.transaction():
        found = rows.by_external_id(call.org, sobject.name, key, value)
        if len(found) == 1:
            _check_conditions(call, found[0])
        saved = rows.upsert(call.writing, sobject.name, key, value, given, update_only=only)
    if saved.created:
        return Answer(201, {**_saved(saved), "created": True})
    status = call.org.dialect["upsert_update_status"]
    return Answer(status, {**_saved(saved), "created": False} if status == 200 else None)


def delete_by_key(call: Call, kind: str, name: str, value: str) -> Answer:
    sobject = call.sobject(kind)
    return delete_row(call, kind, _by_key(call, sobject, name, value)["Id"])


def _by_key(call: Call, sobject: SObject, name: str, value: str) -> Body:
    if name.lower() == "id":
        return rows.living(call.org, sobject.name, value)
    found = rows.by_external_id(call.org, sobject.name, rows.external_key(call.org, sobject, name), value)
    if len(found) > 1:
        raise rows.ManyMatches([row["Id"] for row in found])
    if not found:
        raise not_found()
    return found[0]


def _shown(call: Call, sobject: SObject, body: Body) -> Answer:
    names = [name.strip() for name in call.query.get("fields", "").split(",") if name.strip()]
    if _unchanged_since(call.headers.get("if-modified-since"), body):
        return Answer(304)
    shape = whole_shape(sobject, names or None)
    headers = {"Last-Modified": format_datetime(_modified(body), usegmt=True)}
    if sobject.name == "Account":  # doc: ETags are there for rows of Account only
        headers["ETag"] = _etag(body)
    return Answer(200, render(call.reading, shape, body), headers)


def _refuse_deleted(code: str) -> None:
    if code == "NOT_FOUND":
        raise not_found()
    raise Refused("ENTITY_IS_DELETED", "entity is deleted", status=404, fields=[])


def _refuse_keys(fields: Mapping[str, Any], name: str) -> None:
    if any(key.lower() == name.lower() for key in fields):
        message = f"The {name} field should not be specified in the sobject data."
        raise Refused("INVALID_FIELD", message, fields=[name])


def _saved(saved: rows.Saved) -> dict[str, Any]:
    return {"id": saved.record_id, "success": True, "errors": []}


# -- conditions: compared with LastModifiedDate, to the second (doc)


def _check_conditions(call: Call, body: Body) -> None:
    """412 where the row was changed since; 400 where the header can't be read."""
    since = call.headers.get("if-unmodified-since")
    etags = call.headers.get("if-match")
    if since is not None and _modified(body) > _http_date(since):
        raise _failed_condition()
    if etags is not None and etags.strip() not in ("*", _etag(body)):
        raise _failed_condition()


def _failed_condition() -> Refused:
    # unconfirmed: code and text; the status is what the page on conditional requests names
    return Refused("PRECONDITION_FAILED", "The record was changed since the time given", status=412)


def _unchanged_since(header: str | None, body: Body) -> bool:
    return header is not None and _modified(body) <= _http_date(header)


def _http_date(text: str) -> datetime:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        raise Refused("INVALID_HEADER", f"not a date of HTTP: {text}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _modified(body: Body) -> datetime:
    return datetime.fromtimestamp(stamp_of(body["LastModifiedDate"]) // 1000, tz=UTC)


def _etag(body: Body) -> str:
    digest = hashlib.sha256(f"{body['Id']}{body['SystemModstamp']}".encode()).hexdigest()
    return f'"{digest[:24]}"'


# -- collections


def create_collection(call: Call) -> Answer:
    records, all_or_none = _records(call)
    return Answer(body=collections.create_many(call.writing, records, all_or_none=all_or_none))


def change_collection(call: Call) -> Answer:
    records, all_or_none = _records(call)
    return Answer(body=collections.update_many(call.writing, records, all_or_none=all_or_none))


def upsert_collection(call: Call, kind: str, name: str) -> Answer:
    records, all_or_none = _records(call)
    replies = collections.upsert_many(
        call.writing, call.sobject(kind).name, name, records, all_or_none=all_or_none
    )
    return Answer(body=replies)


def delete_collection(call: Call) -> Answer:
    record_ids = _part(call, [one for one in call.query.get("ids", "").split(",") if one])
    all_or_none = call.query.get("allOrNone", "").lower() == "true"
    return Answer(body=collections.delete_many(call.writing, record_ids, all_or_none=all_or_none))


def retrieve_collection(call: Call, kind: str) -> Answer:
    if call.method == "POST":
        record_ids, names = call.fields.get("ids", []), call.fields.get("fields", [])
    else:
        record_ids = call.query.get("ids", "").split(",")
        names = [name.strip() for name in call.query.get("fields", "").split(",") if name.strip()]
    return Answer(body=collections.retrieve_many(call.reading, kind, record_ids, names))


def _records(call: Call) -> tuple[list[dict[str, Any]], bool]:
    records = call.fields.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise Refused("JSON_PARSER_ERROR", "The request needs a list of records")
    collections.check_size(records)
    return _part(call, records), call.fields.get("allOrNone") is True


def _part(call: Call, items: list[Any]) -> list[Any]:
    # The fault `partial`: the server breaks off half-way; the 500 is made by the app.
    return items[: len(items) // 2] if call.fault == "partial" else items


def run_composite(call: Call) -> Answer:
    return Answer(body=composite.run(call, answer))


def run_batch(call: Call) -> Answer:
    return Answer(body=composite.run_batch(call, answer))


def _bulk(give: bulk.Handler) -> Handler:
    def answered(call: Call, *pieces: str) -> Answer:
        return Answer(**vars(give(call, *pieces)))

    return answered


ROUTES: list[tuple[tuple[str, ...], tuple[str, ...], Handler]] = [
    (("GET",), (), list_resources),
    (("GET",), ("limits",), show_limits),
    (("GET",), ("query",), run_query),
    (("GET",), ("queryAll",), run_query_all),
    (("GET",), ("query", "*"), next_page),
    (("GET",), ("queryAll", "*"), next_page),
    (("GET",), ("sobjects",), list_objects),
    (("GET",), ("sobjects", "*"), show_object),
    (("POST",), ("sobjects", "*"), create_row),
    (("GET",), ("sobjects", "*", "describe"), describe),
    (("GET",), ("sobjects", "*", "updated"), list_updated),
    (("GET",), ("sobjects", "*", "deleted"), list_deleted),
    (("GET",), ("sobjects", "*", "*"), read_row),
    (("PATCH",), ("sobjects", "*", "*"), change_row),
    (("DELETE",), ("sobjects", "*", "*"), delete_row),
    (("GET",), ("sobjects", "*", "*", "*"), read_by_key),
    (("PATCH",), ("sobjects", "*", "*", "*"), upsert_row),
    (("DELETE",), ("sobjects", "*", "*", "*"), delete_by_key),
    (("POST",), ("composite",), run_composite),
    (("POST",), ("composite", "batch"), run_batch),
    (("POST",), ("composite", "sobjects"), create_collection),
    (("PATCH",), ("composite", "sobjects"), change_collection),
    (("DELETE",), ("composite", "sobjects"), delete_collection),
    (("GET", "POST"), ("composite", "sobjects", "*"), retrieve_collection),
    (("PATCH",), ("composite", "sobjects", "*", "*"), upsert_collection),
    *((methods, pattern, _bulk(give)) for methods, pattern, give in bulk.ROUTES),
]

"""The routes by which settings are written, and those of tracking categories and branding themes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.store import Body
from sandbox.xero import (
    accounts,
    batches,
    branding,
    chart,
    contact_groups,
    locks,
    settings_data,
    tracking,
    wire,
)
from sandbox.xero.batches import Family
from sandbox.xero.books import Books, Written
from sandbox.xero.documents import books_of
from sandbox.xero.where import compile_order, compile_where
from sandbox.xero.wire import NO_ID, Refused

Handler = Callable[[Request], Response]
One = Callable[[Books, Body], Written]

FIELDS = {"Name": "String", "Status": "String", "TrackingCategoryID": "Guid"}


def table() -> dict[tuple[str, ...], dict[str, dict[str, Handler]]]:
    """What each scope opens (spec)."""
    category = "TrackingCategories/{id}"
    return {
        ("accounting.settings",): {
            "TrackingCategories": {"GET": list_categories, "PUT": put_category},
            category: {"GET": one_category, "POST": post_category, "DELETE": delete_category},
            f"{category}/Options": {"PUT": put_options},
            f"{category}/Options/{{option}}": {"POST": post_option, "DELETE": delete_option},
            "BrandingThemes": {"GET": list_themes},
            "BrandingThemes/{id}": {"GET": one_theme},
            "Accounts": {"PUT": put_account},
            "Accounts/{id}": {"POST": post_account, "DELETE": delete_account},
            "Currencies": {"PUT": put_currency},
        },
        ("accounting.contacts",): {
            "ContactGroups": {"GET": list_groups, "PUT": put_groups},
            "ContactGroups/{id}": {"GET": one_group, "POST": post_group},
            "ContactGroups/{id}/Contacts": {"PUT": put_members, "DELETE": delete_members},
            "ContactGroups/{id}/Contacts/{contact}": {"DELETE": delete_member},
        },
    }


def pages() -> dict[str, Callable[[Books, Any], Any]]:
    """What a person does on the web pages: POST /sandbox/..."""
    return {"lock-dates": locks.change}


# -- what all of them share


def _family(key: str, id_name: str, shown: Callable[[Body], Body], **empty: Any) -> Family:
    """empty: what a refused element has beside what was sent."""

    def written(record: Body, status: str | None) -> Body:
        row = shown(record)
        return row if status is None else {**row, "StatusAttributeString": status}

    def refused(sent: Body, record_id: str | None, errors: list[str], status: str | None) -> Body:
        row = {id_name: record_id or NO_ID, **empty, **{k: v for k, v in sent.items() if k != id_name}}
        row |= {"HasValidationErrors": True, "ValidationErrors": [{"Message": one} for one in errors]}
        return row if status is None else {**row, "StatusAttributeString": status}

    return Family(key, "HasValidationErrors", written, refused)


def _answer(request: Request, elements: list[Body], one: One, family: Family) -> Response:
    books = books_of(request)
    return batches.answer(
        request, elements, lambda chosen: [one(books, sent) for sent in chosen], family, books
    )


def _asked(record: Body | None) -> Body:
    if record is None:
        raise Refused(wire.not_found())
    return record


# -- tracking categories and their options

CATEGORIES, OPTIONS = "TrackingCategories", "Options"


def list_categories(request: Request) -> Response:
    """spec: no pages; the archived with includeArchived, the deleted never."""
    books, query = books_of(request), request.query_params
    archived = query.get("includeArchived", "false").lower() == "true"
    rows = [
        one
        for one in books.store.select(tracking.KIND, live_only=True)
        if archived or one["Status"] == "ACTIVE"
    ]
    if query.get("where"):
        single_equals = books.dialect["single_equals"] == "accept"
        holds = compile_where(query["where"], FIELDS, "TrackingCategory", single_equals=single_equals)
        rows = [row for row in rows if holds(row)]
    if query.get("order"):
        rows = compile_order(query["order"], FIELDS, "TrackingCategory")(rows)
    shown = [_category_shown(row, archived=archived) for row in rows]
    return wire.ok(CATEGORIES, shown, books.clock.now_ms())


def one_category(request: Request) -> Response:
    """spec: by its id a deleted one is read too."""
    shown = _category_shown(_category(request), archived=True)
    return wire.ok(CATEGORIES, [shown], books_of(request).clock.now_ms())


def put_category(request: Request) -> Response:
    return _write_categories(request, None)


def post_category(request: Request) -> Response:
    return _write_categories(request, _category(request))


def _write_categories(request: Request, existing: Body | None) -> Response:
    sent = batches.read(request, CATEGORIES)
    sent = sent if existing is None else sent[:1]
    return _answer(request, sent, lambda books, one: tracking.write(books, one, existing), _categories())


def delete_category(request: Request) -> Response:
    existing = _category(request)
    none: Body = {}
    return _answer(request, [none], lambda books, one: tracking.delete(books, one, existing), _categories())


def put_options(request: Request) -> Response:
    """One or more; each sees those before it."""
    category_id = _category(request)["TrackingCategoryID"]

    def write(books: Books, sent: Body) -> Written:
        return tracking.write_option(
            books, sent, _asked(tracking.category_of(books.store, category_id)), None
        )

    return _answer(request, batches.read(request, OPTIONS), write, _options())


def post_option(request: Request) -> Response:
    category, option = _category(request), _option(request)
    sent = batches.read(request, OPTIONS)[:1]
    return _answer(
        request, sent, lambda books, one: tracking.write_option(books, one, category, option), _options()
    )


def delete_option(request: Request) -> Response:
    category, option = _category(request), _option(request)
    none: Body = {}
    return _answer(
        request, [none], lambda books, one: tracking.delete_option(books, one, category, option), _options()
    )


def _category(request: Request) -> Body:
    return _asked(tracking.category_of(books_of(request).store, request.path_params["id"]))


def _option(request: Request) -> Body:
    return _asked(tracking.option_of(_category(request), request.path_params["option"]))


def _categories() -> Family:
    none: list[Body] = []
    return _family(
        CATEGORIES, "TrackingCategoryID", lambda one: _category_shown(one, archived=True), Options=none
    )


def _options() -> Family:
    return _family(OPTIONS, "TrackingOptionID", _option_shown)


def _category_shown(category: Body, *, archived: bool) -> Body:
    """spec: the fields and their order. unconfirmed: its archived options come with includeArchived and by id."""
    statuses = ("ACTIVE", "ARCHIVED") if archived else ("ACTIVE",)
    options = [_option_shown(one) for one in category["Options"] if one["Status"] in statuses]
    return {**{name: category[name] for name in ("Name", "Status", "TrackingCategoryID")}, "Options": options}


def _option_shown(option: Body) -> Body:
    """spec: the fields and their order."""
    status = option["Status"]
    flags = {f"Is{what.capitalize()}": status == what for what in ("DELETED", "ARCHIVED", "ACTIVE")}
    shown = {name: option[name] for name in ("TrackingOptionID", "Name", "Status")}
    return {**shown, "HasValidationErrors": False, **flags}


# -- branding themes


def list_themes(request: Request) -> Response:
    books = books_of(request)
    return wire.ok("BrandingThemes", branding.listed(books.store), books.clock.now_ms())


def one_theme(request: Request) -> Response:
    books = books_of(request)
    theme = _asked(branding.theme(books.store, request.path_params["id"]))
    return wire.ok("BrandingThemes", [theme], books.clock.now_ms())


# -- accounts and currencies


def put_account(request: Request) -> Response:
    """second hand: one in a request."""
    sent = batches.read(request, "Accounts")[:1]
    return _answer(request, sent, lambda books, one: accounts.write(books, one, None), _accounts())


def post_account(request: Request) -> Response:
    existing = _account(request)
    sent = batches.read(request, "Accounts")[:1]
    return _answer(request, sent, lambda books, one: accounts.write(books, one, existing), _accounts())


def delete_account(request: Request) -> Response:
    existing = _account(request)
    none: Body = {}
    return _answer(request, [none], lambda books, one: accounts.delete(books, one, existing), _accounts())


def _account(request: Request) -> Body:
    found = _asked(chart.account(books_of(request).store, account_id=request.path_params["id"]))
    return _asked(None if found["Status"] == "DELETED" else found)


def _accounts() -> Family:
    return _family("Accounts", "AccountID", dict)


def put_currency(request: Request) -> Response:
    """spec: one, bare."""
    sent = batches.read(request, "Currencies")[:1]
    return _answer(request, sent, accounts.add_currency, _family("Currencies", "Code", dict))


# -- contact groups

GROUPS = "ContactGroups"


def list_groups(request: Request) -> Response:
    """spec: without their contacts, and no pages."""
    books = books_of(request)
    single_equals = books.dialect["single_equals"] == "accept"
    rows = settings_data.listed(
        books.store, contact_groups.KIND, request.query_params, single_equals=single_equals
    )
    return wire.ok(GROUPS, [_group_shown(row) for row in rows], books.clock.now_ms())


def one_group(request: Request) -> Response:
    """spec: with its contacts, by id and name."""
    books, group = books_of(request), _group(request)
    inside = contact_groups.members(books.store, group["ContactGroupID"])
    shown = {**_group_shown(group), "Contacts": [_member_shown(one, named=True) for one in inside]}
    return wire.ok(GROUPS, [shown], books.clock.now_ms())


def put_groups(request: Request) -> Response:
    sent = batches.read(request, GROUPS)
    return _answer(request, sent, lambda books, one: contact_groups.write(books, one, None), _groups())


def post_group(request: Request) -> Response:
    existing = _group(request)
    sent = batches.read(request, GROUPS)[:1]
    return _answer(request, sent, lambda books, one: contact_groups.write(books, one, existing), _groups())


def put_members(request: Request) -> Response:
    group = _group(request)
    sent = batches.read(request, "Contacts")
    family = _family("Contacts", "ContactID", _member_shown)
    return _answer(request, sent, lambda books, one: contact_groups.add(books, group, one), family)


def delete_members(request: Request) -> Response:
    contact_groups.empty(books_of(request), _group(request)["ContactGroupID"])
    return wire.bare(204)


def delete_member(request: Request) -> Response:
    group_id, contact_id = _group(request)["ContactGroupID"], request.path_params["contact"]
    books = books_of(request)
    if (
        contact_groups.remove(books, group_id, contact_id)
        or books.dialect["group_left_again"] == "no_content"
    ):
        return wire.bare(204)
    if books.dialect["group_left_again"] == "not_found":
        return wire.not_found()
    none = [{"ContactID": contact_id}]
    return _answer(
        request,
        none,
        lambda _, sent: Written(sent, None, contact_id, [contact_groups.NOT_IN_IT]),
        _family("Contacts", "ContactID", _member_shown),
    )


def _group(request: Request) -> Body:
    return _asked(books_of(request).store.get(contact_groups.KIND, request.path_params["id"].lower()))


def _groups() -> Family:
    none: list[Body] = []
    return _family(GROUPS, "ContactGroupID", _group_shown, Contacts=none)


def _group_shown(group: Body) -> Body:
    """spec: the fields and their order."""
    none: list[Body] = []
    shown: Body = {name: group.get(name) for name in ("ContactGroupID", "Name", "Status")}
    return {**shown, "Contacts": none, "HasValidationErrors": False}


def _member_shown(contact: Body, *, named: bool = False) -> Body:
    """spec: a read names the contacts, the reply to a write gives their ids; the rest is empty."""
    parts = ("Addresses", "Phones", "ContactGroups", "ContactPersons")
    none: list[Body] = []
    shown: Body = {"ContactID": contact["ContactID"], **({"Name": contact.get("Name", "")} if named else {})}
    shown |= {**dict.fromkeys(parts, none), "HasValidationErrors": False}
    return shown if named else {**shown, "ValidationErrors": none}

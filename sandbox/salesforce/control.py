"""The Salesforce server's pages under /sandbox/: fields, merge, recycle bin, rules, locks, limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.salesforce import custom, rows, rules, sales
from sandbox.salesforce.bulk import pages as bulk
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.limits import Usage
from sandbox.salesforce.oauth import Logins
from sandbox.salesforce.orders import set_status, statuses
from sandbox.salesforce.org import PERSON_ID, Org, Session
from sandbox.salesforce.schema import WrongField
from sandbox.salesforce.stages import custom_stage

Wanted = dict[str, Any]
Do = Callable[[Wanted], Any]


def routes(org: Org, usage: Usage, logins: Logins) -> list[Route]:
    """Everything here is done by the person (an administrator), and takes and gives JSON."""
    person = rows.Writing(org, Session(PERSON_ID))

    def merge(wanted: Wanted) -> None:
        rows.merge(person, wanted["object"], wanted["survivor"], wanted["loser"], wanted.get("fields", {}))

    def each(action: Callable[[rows.Writing, str], object]) -> Do:
        return lambda wanted: [action(person, one) for one in wanted["ids"]] and None

    def lock(wanted: Wanted) -> None:
        for one in wanted["ids"]:
            rules.lock(org, one, wanted.get("times", 1))

    def set_limits(wanted: Wanted) -> Any:
        usage.set(used=wanted.get("used"), most=wanted.get("max"))
        return {"used": usage.used(), "max": usage.most}

    return [
        _route(org, "fields", {
            "GET": lambda _: org.schema.changes(),
            "POST": lambda wanted: _fields(org, wanted),
        }),
        _route(org, "objects", {
            "GET": lambda _: org.schema.custom_objects(),
            "POST": lambda wanted: custom.add_objects(org, wanted),
        }),
        _route(org, "order-statuses", {
            "GET": lambda _: statuses(org),
            "POST": lambda wanted: set_status(org, wanted),
        }),
        _route(org, "merge", {"POST": merge}),
        _route(org, "undelete", {"POST": each(rows.undelete)}),
        _route(org, "purge", {"POST": each(rows.purge)}),
        _route(org, "touch", {"POST": each(rows.touch)}),
        _route(org, "rules", {
            "GET": lambda _: org.store.all_kept("rules"),
            "POST": lambda wanted: rules.set_rules(org, wanted),
            "DELETE": lambda _: rules.clear_rules(org),
        }),
        _route(org, "locks", {"POST": lock}),
        _route(org, "setup", {"POST": lambda wanted: org.store.keep("schema", "setup", wanted)}),
        _route(org, "stages", {"GET": lambda _: org.stages(), "POST": lambda wanted: _stage(org, wanted)}),
        _route(org, "limits", {"GET": set_limits, "POST": set_limits}),
        _route(org, "bulk", {
            "GET": lambda _: bulk.show(org, usage),
            "POST": lambda wanted: bulk.change(org, usage, wanted),
        }),
        _route(org, "sessions", {"DELETE": lambda _: logins.revoke_all()}),
    ]  # fmt: skip


def _fields(org: Org, wanted: Wanted) -> Any:
    """{"object": "Account", and one or more of
    "add": {name, type, length, unique, external_id ...}, "remove": name,
    "rights": {field: visible|read_only|hidden}, "allow": {createable|updateable|deletable: bool}}.
    """
    name = wanted["object"]
    if "add" in wanted:
        org.schema.add(name, wanted["add"])
        org.declare()
    if "remove" in wanted:
        org.schema.remove(name, wanted["remove"])
    for field, right in wanted.get("rights", {}).items():
        org.schema.secure(name, field, right)
    org.schema.allow(name, wanted.get("allow", {}))
    return org.schema.changes()


def _stage(org: Org, wanted: Wanted) -> Any:
    """{"name": "Signed", "won": true, "closed": true, "probability": 100}: a new stage, or another meaning of one."""
    known = org.stages()
    order = known[wanted["name"]]["order"] if wanted["name"] in known else len(known) + 1
    org.store.keep("stage", wanted["name"], custom_stage(wanted, order))
    for body in sales.restaged(org):
        org.put("Opportunity", body)
    return org.stages()


def _route(org: Org, name: str, actions: dict[str, Do]) -> Route:
    async def endpoint(request: Request) -> Response:
        wanted = json.loads(await request.body() or b"{}")
        return _done(org, actions[request.method], wanted)

    return Route(f"/sandbox/{name}", endpoint, methods=list(actions))


def _done(org: Org, action: Do, wanted: Wanted) -> Response:
    try:
        with org.store.transaction():
            result = action(wanted)
    except (WrongField, KeyError) as error:
        return JSONResponse({"error": f"{type(error).__name__}: {error}"}, status_code=400)
    except Refused as error:
        return JSONResponse(error.body(), status_code=error.status)
    return JSONResponse({"done": True} if result is None else result)

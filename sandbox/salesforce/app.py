"""The Salesforce server: login, REST resources and the sandbox's own pages, behind the wiretap."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import exact
from sandbox.clock import Clock
from sandbox.control import Hooks, control_routes
from sandbox.dialect import Dialect
from sandbox.faults import Faults
from sandbox.salesforce import control, oauth
from sandbox.salesforce.bulk.work import catch_up
from sandbox.salesforce.errors import Refused, limit_reached, session_invalid
from sandbox.salesforce.limits import Usage
from sandbox.salesforce.oauth import LoginRefused, Logins
from sandbox.salesforce.org import (
    INTEGRATION_ID,
    INTEGRATION_NAME,
    PERSON_ID,
    PERSON_NAME,
    Org,
    Session,
)
from sandbox.salesforce.org import load as load_rows
from sandbox.salesforce.reading import Reading, render, whole_shape
from sandbox.salesforce.resources import Answer, Call, answer
from sandbox.salesforce.switches import SWITCHES
from sandbox.serve import Settings
from sandbox.store import Body, Store
from sandbox.wiretap import Answer as Answers
from sandbox.wiretap import Wiretap, exchange_of, fault_kind

__all__ = ["SWITCHES", "build", "line", "load"]

VERSIONS = range(31, 69)  # doc: 31.0 to 68.0 work; older ones are retired
RELEASES = {66: "Spring '26", 67: "Summer '26", 68: "Winter '27"}
LONGEST_URI = LONGEST_HEADERS = 16_384  # doc
METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE"]
DELEGATED = frozenset({"slow", "partial", "short", "reordered"})


def line(store: Store, settings: Settings, url: str) -> dict[str, Any]:
    """What the JSON line says of this side; `person` is somebody who edits in the web page."""
    known = oauth.credentials(store, settings.state)
    ours, theirs = known["clients"]
    return {
        "login_url": url,
        "instance_url": url,
        "client_id": ours["client_id"],
        "client_secret": ours["client_secret"],
        "org_id": known["org_id"],
        "username": INTEGRATION_NAME,
        "user_id": INTEGRATION_ID,
        "private_key_file": str(settings.state / oauth.KEY_FILE),
        "audience": oauth.LOGIN_HOSTS[0],
        "person": {
            "client_id": theirs["client_id"],
            "client_secret": theirs["client_secret"],
            "username": PERSON_NAME,
            "user_id": PERSON_ID,
        },
    }


def load(store: Store, clock: Clock, rows: Iterable[Body]) -> int:
    """Write rows in Salesforce's shape as they are; gives how many."""
    return load_rows(store, clock, rows)


def build(store: Store, clock: Clock, faults: Faults, dialect: Dialect, settings: Settings) -> Wiretap:
    """The server over one store."""
    known = oauth.credentials(store, settings.state)
    org = Org(store, clock, dialect, known["org_id"])
    usage = Usage(org, on=settings.limits != "off")
    logins = Logins(store, clock, known)
    server = Server(org, usage, logins)
    hooks = Hooks(lambda rows: load_rows(store, clock, rows), lambda kind: dump(org, kind))
    routes = [
        Route("/services/oauth2/token", server.token, methods=["POST"]),
        Route("/services/oauth2/revoke", server.revoke, methods=["GET", "POST"]),
        Route("/services/oauth2/userinfo", server.userinfo, methods=["GET", "POST"]),
        Route("/id/{org}/{user}", server.userinfo, methods=["GET", "POST"]),
        Route("/services/data", server.versions, methods=["GET"]),
        Route("/services/data/", server.versions, methods=["GET"]),
        Route(
            "/services/data/{rest:path}", server.resource, methods=["GET", "POST", "PATCH", "PUT", "DELETE"]
        ),
        *control.routes(org, usage, logins),
        *control_routes(store, clock, faults, dialect, hooks, settings.reset),
    ]
    answers = {
        "429": _answer_of(limit_reached()),
        "503": _answer_of(unavailable()),
        "500": _answer_of(unexpected()),
        "expired_token": _answer_of(session_invalid()),
    }
    app = Starlette(routes=routes)
    return Wiretap(app, store=store, clock=clock, faults=faults, answers=answers, delegated=DELEGATED)


def dump(org: Org, kind: str | None) -> Iterator[Body]:
    """Every record with all its fields, deleted ones too."""
    reading = Reading(org, Session(PERSON_ID), "68.0", deleted=True)
    for name in org.schema.stored():
        sobject = org.schema.object(name)
        if sobject is not None and kind in (None, name):
            shape = whole_shape(sobject)
            yield from (render(reading, shape, body) for body in org.store.all(name))


def unexpected() -> Refused:
    message = (
        "An unexpected error occurred. Please include this ErrorId if you contact support: "
        "1717171717-10101 (-1212121212)"
    )
    return Refused("UNKNOWN_EXCEPTION", message, status=500)


def unavailable() -> Refused:
    return Refused("SERVER_UNAVAILABLE", "The server is busy: try again later", status=503)


class Server:
    """HTTP around login and resources."""

    def __init__(self, org: Org, usage: Usage, logins: Logins) -> None:
        self._org, self._usage, self._logins = org, usage, logins

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        exchange_of(request).client = form.get("client_id")
        try:
            granted = self._logins.grant(form, request.headers.get("authorization", ""), _host(request))
        except LoginRefused as refused:
            status = 401 if refused.body["error"] == "invalid_client" else 400
            return _json(Answer(status, refused.body))
        return _json(Answer(200, granted, {"Cache-Control": "no-store"}))

    async def revoke(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        known = self._logins.revoke(form.get("token") or request.query_params.get("token", ""))
        if known:
            return Response(status_code=200)
        return _json(Answer(400, {"error": "invalid_token", "error_description": "invalid token: unknown"}))

    async def userinfo(self, request: Request) -> Response:
        session = self._logins.session(request.headers.get("authorization", ""))
        if session is None:
            return Response("Bad_OAuth_Token", status_code=403)
        return _json(Answer(200, self._logins.identity(session, _host(request))))

    async def versions(self, request: Request) -> Response:
        """Needs no login and tells no limits (doc)."""
        listed = [
            {"label": RELEASES.get(n, f"Version {n}"), "url": f"/services/data/v{n}.0", "version": f"{n}.0"}
            for n in VERSIONS
        ]
        return _json(Answer(200, listed))

    async def resource(self, request: Request) -> Response:
        body = await request.body()
        fault = exchange_of(request).fault
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        try:
            found = self._answer(request, body)
        except Refused as error:
            found = Answer(error.status, error.body())
        found = _spoilt(found, fault_kind(request))
        found.headers.setdefault("Sforce-Limit-Info", self._usage.header())
        return _json(found)

    def _answer(self, request: Request, body: bytes) -> Answer:
        _check_sizes(request)
        session = self._logins.session(request.headers.get("authorization", ""))
        if session is None:
            raise session_invalid()
        exchange_of(request).client = oauth.USERS[session.user_id]
        if not self._usage.count():
            raise limit_reached()
        version, parts = _path(request)
        content = request.headers.get("content-type", "application/json")
        catch_up(self._org)
        csv = request.method == "PUT" and "csv" in content  # the data of a bulk job
        if body and not csv and "json" not in content:
            raise Refused("UNSUPPORTED_MEDIA_TYPE", f"not supported: {content}", status=415)
        return answer(
            Call(
                self._org,
                self._usage,
                session,
                version,
                request.method,
                parts,
                dict(request.query_params),
                request.headers,
                body,
                fault_kind(request),
            )
        )


def _path(request: Request) -> tuple[str, tuple[str, ...]]:
    """Version and the pieces below it. Split before decoding, so that an external id may hold a slash."""
    raw = request.scope["raw_path"].decode("ascii").partition("?")[0]
    pieces = [unquote(piece) for piece in raw.removeprefix("/services/data/").rstrip("/").split("/")]
    version = pieces[0].removeprefix("v")
    number = version.removesuffix(".0")
    if not number.isdigit() or int(number) not in VERSIONS:
        if number.isdigit() and int(number) < VERSIONS[0]:
            raise Refused("GONE", "The requested version is retired", status=410)
        raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
    return version, tuple(pieces[1:])


def _check_sizes(request: Request) -> None:
    uri = len(request.scope["raw_path"]) + len(request.scope["query_string"]) + 1
    headers = sum(len(name) + len(value) + 4 for name, value in request.scope["headers"])
    if uri > LONGEST_URI:
        raise Refused("URI_TOO_LONG", "The URI is longer than 16,384 bytes", status=414)
    if uri + headers > LONGEST_HEADERS:
        raise Refused("HEADERS_TOO_LARGE", "URI and headers are longer than 16,384 bytes", status=431)


def _spoilt(found: Answer, kind: str | None) -> Answer:
    """The faults that only a server which knows its replies can make."""
    if kind == "partial":
        return Answer(500, unexpected().body())
    lists = ("records", "compositeResponse")
    holder = found.body
    if isinstance(holder, dict):
        holder = next((holder[name] for name in lists if name in holder), None)
    if kind in ("short", "reordered") and found.status == 200 and isinstance(holder, list):
        holder[:] = holder[:-1] if kind == "short" else holder[::-1]
    return found


def _answer_of(error: Refused) -> Answers:
    """How a fault looks; its rule may set another status and headers."""
    return lambda fault: _json(Answer(fault.status or error.status, error.body(), dict(fault.headers)))


def _json(found: Answer) -> Response:
    if found.body is None:
        return Response(status_code=found.status, headers=found.headers)
    if isinstance(found.body, bytes):
        return Response(found.body, found.status, found.headers)
    text = exact.dumps(found.body, separators=(",", ":")).encode()
    return Response(text, found.status, found.headers, media_type="application/json;charset=UTF-8")


def _host(request: Request) -> str:
    return str(request.base_url).rstrip("/")

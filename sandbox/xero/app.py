"""The Xero server: routes, and what every call goes through (token, tenant, limits, idempotency)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.control import Hooks, control_routes
from sandbox.dialect import Dialect
from sandbox.faults import Fault, Faults
from sandbox.serve import Settings
from sandbox.store import Body, Store
from sandbox.wiretap import Wiretap, exchange_of, fault_kind
from sandbox.xero import (
    batches,
    chart,
    contacts,
    credit_calls,
    credits,
    documents,
    invoices,
    items,
    lists,
    payment_calls,
    settings_calls,
    settings_data,
    settlement,
    shapes,
    web_pages,
    wire,
)  # fmt: skip
from sandbox.xero.batch_payments import UnknownBatch
from sandbox.xero.batches import Family
from sandbox.xero.books import Books, Written
from sandbox.xero.contacts import UnknownContact
from sandbox.xero.credits import UnknownCredit
from sandbox.xero.documents import books_of
from sandbox.xero.invoices import UnknownInvoice
from sandbox.xero.items import UnknownItem
from sandbox.xero.limits import Meter
from sandbox.xero.loading import dump, load
from sandbox.xero.oauth import Logins
from sandbox.xero.payments import UnknownPayment
from sandbox.xero.settlement import UnknownDocument
from sandbox.xero.switches import SWITCHES
from sandbox.xero.where import QueryError
from sandbox.xero.wire import Refused

__all__ = ["SWITCHES", "build", "line", "load"]

API = "/api.xro/2.0"
KEY_MS = 6 * 60_000  # second hand: a key lives six minutes from the first call
KEY_LENGTH = 128  # spec
AT_LEAST_S = 0.002  # a call takes a moment, so that calls at the same time are seen as such

# What a call names and there is not: the whole is answered with 404.
UNKNOWN = (
    UnknownContact, UnknownCredit, UnknownInvoice, UnknownItem, UnknownPayment, UnknownBatch, UnknownDocument,
)  # fmt: skip

Handler = Callable[[Request], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def line(store: Store, settings: Settings, url: str) -> Body:
    """Xero's part of the line of JSON: where it is and how to log in."""
    logins = Logins(store, Clock(store))
    main, person = logins.main(), logins.person()
    credentials = {name: main[name] for name in ("client_id", "client_secret", "tenant_id", "scopes")}
    other = {name: person[name] for name in ("client_id", "client_secret")}
    return {"api_url": url, "identity_url": url, "login_url": url, **credentials, "person": other}


def build(store: Store, clock: Clock, faults: Faults, dialect: Dialect, settings: Settings) -> Wiretap:
    """The server as an ASGI app."""
    for module in (contacts, credits, invoices, items, chart, settlement):
        module.declare(store)
    settings_data.ensure(store)
    server = Server(store, clock, dialect, Meter(store, clock, dialect, on=settings.limits != "off"))
    hooks = Hooks(lambda rows: load(store, clock, rows), lambda kind: dump(store, kind), server.cleared)
    app = Starlette(
        routes=[
            *server.routes(),
            *server.control(),
            *control_routes(store, clock, faults, dialect, hooks, settings.reset),
        ],
        exception_handlers={404: _not_found, 405: _not_found},
    )
    answers = {
        "429": server.refuse_for_limit,
        "503": _offline,
        "500": _failed,
        "expired_token": server.refuse_as_expired,
    }
    return Wiretap(app, store=store, clock=clock, faults=faults, answers=answers)


def _offline(fault: Fault) -> Response:
    return wire.bare(503, fault.headers)


def _failed(fault: Fault) -> Response:
    return wire.server_error()


async def _not_found(request: Request, error: Exception) -> Response:
    return wire.not_found()


class Server:
    """What all routes share. Each call: token, scope, tenant, limits, then the handler in one go."""

    def __init__(self, store: Store, clock: Clock, dialect: Dialect, meter: Meter) -> None:
        self._store, self._clock, self._dialect, self._meter = store, clock, dialect, meter
        self._books = Books(store, clock, dialect)
        self._logins = Logins(store, clock)
        self._logins.main()
        self._in_flight: dict[tuple[str, str], asyncio.Event] = {}

    def routes(self) -> list[Route]:
        def route(method: str, path: str, handler: Handler, scopes: tuple[str, ...]) -> Route:
            readable = tuple(f"{scope}.read" for scope in scopes) if method == "GET" else ()
            return Route(f"{API}/{path}", self._guarded(handler, (*scopes, *readable)), methods=[method])

        return [
            Route("/connect/token", self.token, methods=["POST"]),
            Route("/connect/revocation", self.revoke, methods=["POST"]),
            Route("/connections", self.connections, methods=["GET"]),
            Route("/Connections", self.connections, methods=["GET"]),
            Route("/connections/{id}", self.disconnect, methods=["DELETE"]),
            Route("/Connections/{id}", self.disconnect, methods=["DELETE"]),
            *(
                route(method, path, handler, scopes)
                for opened in (
                    self._table(),
                    credit_calls.table(),
                    payment_calls.table(),
                    settings_calls.table(),
                )
                for scopes, table in opened.items()
                for path, methods in table.items()
                for method, handler in methods.items()
            ),
        ]

    def _table(self) -> dict[tuple[str, ...], dict[str, dict[str, Handler]]]:
        """What each scope opens. second hand: the granular scopes; spec: the broad ones."""

        def with_history(kind: str) -> dict[str, Handler]:
            return {"GET": documents.get_history(kind), "PUT": documents.put_history(kind)}

        read = documents.settings_list
        return {
            ("accounting.contacts",): {
                "Contacts": {"GET": self.list_contacts, "PUT": self.put_contacts, "POST": self.post_contacts},
                "Contacts/{id}": {"GET": self.one_contact, "POST": self.post_contact},
                "Contacts/{id}/History": with_history(contacts.KIND),
            },
            ("accounting.invoices", "accounting.transactions"): {
                "Invoices": {
                    "GET": documents.list_invoices, "PUT": documents.put_invoices,
                    "POST": documents.post_invoices,
                },
                "Invoices/{id}": {"GET": documents.one_invoice, "POST": documents.post_invoice},
                "Invoices/{id}/History": with_history(invoices.KIND),
            },
            ("accounting.invoices", "accounting.settings"): {
                "Items": {
                    "GET": documents.list_items, "PUT": documents.put_items, "POST": documents.post_items,
                },
                "Items/{id}": {
                    "GET": documents.one_item, "POST": documents.post_item, "DELETE": documents.delete_item,
                },
                "Items/{id}/History": with_history(items.KIND),
            },
            ("accounting.settings",): {
                "Organisation": {"GET": read("organisation")},
                "Currencies": {"GET": read("currency")},
                "Accounts": {"GET": read(chart.ACCOUNT)},
                "Accounts/{id}": {"GET": documents.one_setting(chart.ACCOUNT)},
                "TaxRates": {"GET": read(chart.TAX_RATE)},
                "TaxRates/{id}": {"GET": documents.one_setting(chart.TAX_RATE)},
            },
        }  # fmt: skip

    # -- login

    async def token(self, request: Request) -> Response:
        form = await _form(request)
        exchange_of(request).client = form.get("client_id")
        return self._logins.token(form, request.headers.get("authorization"))

    async def revoke(self, request: Request) -> Response:
        return self._logins.revoke(await _form(request), request.headers.get("authorization"))

    async def connections(self, request: Request) -> Response:
        bearer = self._logins.bearer(request.headers.get("authorization"))
        if bearer is None or self._clock.now_ms() >= bearer.expires_ms:
            return wire.problem(401, "AuthenticationUnsuccessful")
        exchange_of(request).client = bearer.client_id
        rows = self._logins.connections(bearer, settings_data.organisation_name(self._store))
        event = request.query_params.get("authEventId")
        return wire.json_reply(200, [row for row in rows if event in (None, row["authEventId"])])

    async def disconnect(self, request: Request) -> Response:
        if self._logins.bearer(request.headers.get("authorization")) is None:
            return wire.problem(401, "AuthenticationUnsuccessful")
        return wire.bare(204) if self._logins.disconnect(request.path_params["id"]) else wire.not_found()

    def cleared(self) -> None:
        """What an empty Xero has: its organisation, connected."""
        self._store.set_meta("disconnected", False)
        settings_data.ensure(self._store)

    # -- what every call of the API goes through

    def _guarded(self, handler: Handler, scopes: tuple[str, ...]) -> Endpoint:
        async def answer(request: Request) -> Response:
            self._clock.distinct = self._dialect["stamps"] == "distinct"
            refused = self._refused_at_the_door(request, scopes) or self._over_limit()
            if refused is not None:
                return self._with_limits(refused)
            self._meter.running += 1
            try:
                return self._with_limits(await self._handled(request, handler))
            finally:
                self._meter.running -= 1

        return answer

    def _refused_at_the_door(self, request: Request, scopes: tuple[str, ...]) -> Response | None:
        bearer = self._logins.bearer(request.headers.get("authorization"))
        if bearer is None:
            return wire.problem(401, "AuthenticationUnsuccessful")
        exchange_of(request).client = bearer.client_id
        name = self._logins.name_of(bearer.client_id)
        wire.CALLER.set(name)
        request.state.books = self._books.used_by(name, bearer.client_id)
        if self._clock.now_ms() >= bearer.expires_ms:
            return wire.expired(bearer.expires_ms)
        if not bearer.scopes & set(scopes):
            return wire.problem(401, "AuthorizationUnsuccessful", {"WWW-Authenticate": "insufficient_scope"})
        tenant = request.headers.get("xero-tenant-id", "")
        if not self._logins.may_use(bearer, tenant, empty_is_fine=self._dialect["empty_tenant"] == "accept"):
            return wire.problem(403, "AuthenticationUnsuccessful")
        return None

    def _over_limit(self) -> Response | None:
        """recorded: 429 without a body."""
        too_many = self._meter.admit()
        if too_many is None:
            return None
        headers = {"X-Rate-Limit-Problem": too_many.problem}
        if too_many.retry_after_s is not None:
            headers["Retry-After"] = str(too_many.retry_after_s)
        return wire.bare(429, headers)

    def refuse_for_limit(self, fault: Fault) -> Response:
        """A 429 by a fault: as the real one, unless the fault has headers of its own."""
        headers = fault.headers or {"X-Rate-Limit-Problem": "minute", "Retry-After": "1"}
        return wire.bare(429, {**self._meter.headers(), "X-MinLimit-Remaining": "0", **headers})

    def refuse_as_expired(self, fault: Fault) -> Response:
        return wire.expired(self._clock.now_ms())

    def _with_limits(self, reply: Response) -> Response:
        for name, value in self._meter.headers().items():
            reply.headers[name] = value
        return reply

    async def _handled(self, request: Request, handler: Handler) -> Response:
        request.state.body = await request.body()
        key = request.headers.get("idempotency-key") if request.method in ("PUT", "POST") else None
        if key is None:
            await self._take_time(request)
            return self._answered(request, handler)
        return await self._once(request, handler, key)

    async def _take_time(self, request: Request) -> None:
        fault = exchange_of(request).fault
        await asyncio.sleep(fault.seconds if fault and fault.kind == "slow" else AT_LEAST_S)

    def _answered(self, request: Request, handler: Handler) -> Response:
        """The handler's reply; what it wrote stays only if it doesn't refuse."""
        if fault_kind(request) == "500":
            return wire.server_error()
        try:
            with self._store.transaction():
                reply = handler(request)
        except Refused as refusal:
            reply = refusal.reply
        except UNKNOWN:
            reply = wire.not_found()
        except QueryError as error:
            reply = wire.refusal(16, "QueryParseException", str(error))
        return wire.server_error() if fault_kind(request) in ("500_applied", "partial") else reply

    # -- Idempotency-Key (second hand, several sources: reliability facts)

    async def _once(self, request: Request, handler: Handler, key: str) -> Response:
        if len(key) > KEY_LENGTH:
            return wire.refusal(
                10, "ValidationException", f"Idempotency Key must not exceed {KEY_LENGTH} characters."
            )
        owner = (str(exchange_of(request).client), key)  # per app
        while owner in self._in_flight:  # a repeat at the same time waits for the first
            await self._in_flight[owner].wait()
        self._in_flight[owner] = asyncio.Event()
        try:
            kept = self._replayed(request, owner)
            if kept is not None:
                return kept
            await self._take_time(request)
            with self._store.transaction():  # the reply under the key commits with what it tells of
                reply = self._answered(request, handler)
                self._remember(request, owner, reply)
            return reply
        finally:
            self._in_flight.pop(owner).set()

    def _replayed(self, request: Request, owner: tuple[str, str]) -> Response | None:
        kept = self._store.kept("idempotency", "|".join(owner))
        if kept is None or self._clock.now_ms() >= kept["at_ms"] + KEY_MS:
            return None
        if kept["request"] != _fingerprint(request):
            return wire.refusal(
                10, "ValidationException", f"Idempotency Key: {owner[1]} is used with a different request."
            )
        exchange_of(request).note = "replay"
        return _reply(kept)

    def _remember(self, request: Request, owner: tuple[str, str], reply: Response) -> None:
        """Errors are kept too; whether a 500 is, is a switch."""
        if reply.status_code >= 500 and not self._dialect["cache_500"]:
            return
        kept = {
            "at_ms": self._clock.now_ms(),
            "request": _fingerprint(request),
            "status": reply.status_code,
            "type": reply.headers.get("content-type"),
            "body": bytes(reply.body).decode(),
        }
        self._store.keep("idempotency", "|".join(owner), kept)

    # -- contacts

    def list_contacts(self, request: Request) -> Response:
        try:
            asked = lists.read_asked(request.query_params, self._books, documents.since_ms(request))
        except lists.PageTooLarge:
            return wire.refusal(10, "ValidationException", lists.PAGE_TOO_LARGE)
        rows, pagination = lists.contacts(self._books, asked)
        return wire.ok("Contacts", rows, self._clock.now_ms(), pagination=pagination)

    def one_contact(self, request: Request) -> Response:
        contact = contacts.by_id_or_number(self._books, request.path_params["id"])
        if contact is None:
            return wire.not_found()
        return wire.ok("Contacts", [shapes.single(contact, self._dialect)], self._clock.now_ms())

    def put_contacts(self, request: Request) -> Response:
        return self._write(request, batches.read(request, "Contacts"), create_only=True)

    def post_contacts(self, request: Request) -> Response:
        return self._write(request, batches.read(request, "Contacts"), create_only=False)

    def post_contact(self, request: Request) -> Response:
        contact = contacts.by_id_or_number(self._books, request.path_params["id"])
        if contact is None:
            raise Refused(wire.not_found())
        sent = batches.read(request, "Contacts")[0]
        return self._write(request, [{**sent, "ContactID": contact["ContactID"]}], create_only=False)

    def _write(self, request: Request, elements: list[Body], *, create_only: bool) -> Response:
        books = books_of(request)
        family = Family(
            "Contacts",
            "HasValidationErrors",
            lambda contact, status: shapes.written(contact, self._dialect, status=status),
            lambda sent, contact_id, errors, status: shapes.refused(sent, contact_id, errors, status=status),
        )

        def write(chosen: list[Body]) -> list[Written]:
            return contacts.write(books, chosen, create_only=create_only)

        return batches.answer(request, elements, write, family, books)

    # -- another app's login (no vendor's endpoint)

    def control(self) -> list[Route]:
        return [
            *web_pages.routes(self._books),
            Route("/sandbox/clients", self.add_client, methods=["POST"]),
            Route("/sandbox/grant", self.grant, methods=["POST"]),
        ]

    async def add_client(self, request: Request) -> Response:
        """{"name", "scopes"}: another app; gives its client_id and client_secret."""
        wanted = json.loads(await request.body() or b"{}")
        main = self._logins.main()
        client = self._logins.add_client(wanted.get("name", "other"), wanted.get("scopes", main["scopes"]))
        return JSONResponse({**client, "tenant_id": main["tenant_id"]})

    async def grant(self, request: Request) -> Response:
        """{"client_id", "scopes"}: as if a person had consented; gives tokens with a refresh token."""
        wanted = json.loads(await request.body() or b"{}")
        client_id = wanted.get("client_id", self._logins.main()["client_id"])
        return JSONResponse(self._logins.grant(client_id, wanted.get("scopes")))


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode()))


def _fingerprint(request: Request) -> str:
    target = f"{request.method} {request.url.path}?{request.url.query}"
    return hashlib.sha256(target.encode() + b"\n" + request.state.body).hexdigest()


def _reply(kept: Body) -> Response:
    reply = Response(kept["body"].encode(), kept["status"])
    if kept["type"]:
        reply.headers["content-type"] = kept["type"]
    return reply

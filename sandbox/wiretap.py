"""Logs every request with a number and makes the faults that are asked for; wraps a server's ASGI app.

A vendor's app says how its refusals look (`answers`) and which kinds it makes itself (`delegated`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.clock import Clock
from sandbox.faults import Fault, Faults
from sandbox.store import CURRENT_REQUEST, Store

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = Callable[[Fault], Response]
Ends = tuple[Any, ...]

DELEGATED = frozenset({"slow", "500", "500_applied", "partial", "short", "reordered"})

HTML = (
    b"<!DOCTYPE html><html><head><title>Status</title></head><body><h1>We'll be right back</h1></body></html>"
)


@dataclass
class Exchange:
    """One request on its way: number, fault to be made, and who sent it (set by the app when it knows)."""

    n: int
    fault: Fault | None
    client: str | None = None
    note: str | None = None  # e.g. "replay": answered from what was kept under an idempotency key


@dataclass
class Reply:
    """A reply caught before it leaves."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class Connections(H11Protocol):
    """uvicorn's protocol, remembering each transport so that a fault can cut the connection."""

    transports: dict[Ends, asyncio.Transport] = {}

    @override
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.transports[_ends(self.client, self.server)] = transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.transports.pop(_ends(self.client, self.server), None)
        super().connection_lost(exc)


def _ends(client: Any, server: Any) -> Ends:
    # Both ends: one client may use the same local port for both servers.
    return (*(client or ("", 0)), *(server or ("", 0)))


def exchange_of(request: Request) -> Exchange:
    """The exchange that this request belongs to."""
    return request.scope["sandbox"]


def fault_kind(request: Request) -> str | None:
    """The fault that the app itself has to make for this request."""
    fault = exchange_of(request).fault
    return fault.kind if fault else None


class Wiretap:
    """ASGI middleware; what is under /sandbox/ passes it by."""

    def __init__(
        self,
        app: App,
        *,
        store: Store,
        clock: Clock,
        faults: Faults,
        answers: Mapping[str, Answer],
        delegated: frozenset[str] = DELEGATED,
    ) -> None:
        self._app, self._store, self._clock, self._faults = app, store, clock, faults
        self._answers, self._delegated = answers, delegated
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/sandbox/"):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        exchange = self._arrived(scope, body)
        scope["sandbox"] = exchange
        reply = await self._answer(scope, exchange, body)
        if reply is None:
            await _cut_connection(scope, receive)
            return
        # The time of this server, not of the machine: clients take their cursors from it.
        date = format_datetime(self._clock.now(), usegmt=True).encode()
        reply.headers.append((b"date", date))
        await _deliver(reply, scope, receive, send, cut=_made_here(exchange, self._delegated) == "cut")

    def _arrived(self, scope: Scope, body: bytes) -> Exchange:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        n = self._store.log_arrival(
            at_ms=self._clock.now_ms(),
            method=scope["method"],
            path=scope["path"],
            query=query,
            body_sha256=hashlib.sha256(body).hexdigest() if body else None,
            body_bytes=len(body),
            idempotency_key=headers.get("idempotency-key"),
            user_agent=headers.get("user-agent"),
        )
        target = f"{scope['path']}?{query}" if query else scope["path"]
        return Exchange(n, self._faults.draw(scope["method"], target))

    async def _answer(self, scope: Scope, exchange: Exchange, body: bytes) -> Reply | None:
        """The reply that leaves; None: the connection is cut."""
        kind, fault = _made_here(exchange, self._delegated), exchange.fault
        reply: Reply | None = None
        if fault and kind == "late":
            task = asyncio.create_task(self._apply_late(scope, exchange, body, fault))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            return None
        if fault and kind == "delay":
            await asyncio.sleep(fault.seconds)
        if fault and kind in ("429", "503", "500", "expired_token"):
            reply = _reply_of(self._answers[kind](fault))
        elif kind != "drop_before":
            reply = await self._run(scope, exchange, body)
        if fault and kind == "500_applied":
            reply = _reply_of(self._answers["500"](fault))
        if reply and kind in ("malformed", "html"):
            reply = _spoilt(reply, kind)
        if kind in ("drop_before", "drop_after"):
            reply = None
        self._left(exchange, reply)
        return reply

    async def _run(self, scope: Scope, exchange: Exchange, body: bytes) -> Reply:
        reply = Reply()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.status, reply.headers = message["status"], list(message.get("headers", []))
            else:
                reply.body += message.get("body", b"")

        token = CURRENT_REQUEST.set(exchange.n)
        try:
            await self._app(scope, receive, send)
        finally:
            CURRENT_REQUEST.reset(token)
        return reply

    async def _apply_late(self, scope: Scope, exchange: Exchange, body: bytes, fault: Fault) -> None:
        due = self._clock.now_ms() + round(fault.after_s * 1000)
        while self._clock.now_ms() < due:  # by this server's clock, so that a moved clock brings it on
            await asyncio.sleep(0.01)
        self._left(exchange, await self._run(scope, exchange, body))

    def _left(self, exchange: Exchange, reply: Reply | None) -> None:
        self._store.log_reply(
            exchange.n,
            status=reply.status if reply else None,
            reply_bytes=len(reply.body) if reply else 0,
            client=exchange.client,
            fault=exchange.fault.kind if exchange.fault else None,
            note=exchange.note,
        )


def _made_here(exchange: Exchange, delegated: frozenset[str]) -> str | None:
    kind = exchange.fault.kind if exchange.fault else None
    return None if kind in delegated else kind


async def _whole(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _reply_of(response: Response) -> Reply:
    return Reply(response.status_code, list(response.raw_headers), bytes(response.body))


def _spoilt(reply: Reply, kind: str) -> Reply:
    body = HTML if kind == "html" else reply.body[: len(reply.body) // 2]
    kept = [
        (name, value) for name, value in reply.headers if name not in (b"content-length", b"content-type")
    ]
    content = b"text/html; charset=utf-8" if kind == "html" else b"application/json; charset=utf-8"
    length = (b"content-length", str(len(body)).encode())
    return Reply(reply.status, [*kept, (b"content-type", content), length], body)


async def _deliver(reply: Reply, scope: Scope, receive: Receive, send: Send, *, cut: bool) -> None:
    body = reply.body[: len(reply.body) // 2] if cut else reply.body
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": body, "more_body": cut})
    if cut:
        await asyncio.sleep(0.05)  # what was sent should reach the client before the connection ends
        await _cut_connection(scope, receive)


async def _cut_connection(scope: Scope, receive: Receive) -> None:
    transport = Connections.transports.get(_ends(scope["client"], scope["server"]))
    if transport is not None:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass

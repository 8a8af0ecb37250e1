"""Both systems of one world: the sandbox's own apps, in this process or behind sockets, on virtual time."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from sandbox import exact, serve
from sandbox.clock import Clock
from sandbox.dialect import Dialect
from sandbox.faults import Fault, Faults
from sandbox.store import Store
from sandbox.wiretap import Connections
from tests.chaos.timing import Time

SIDES = ("xero", "salesforce")
PORTS = {"xero": 9001, "salesforce": 9002}
Body = dict[str, Any]


class VirtualClock(Clock):
    """A server's clock that follows the world's."""

    def __init__(self, store: Store, time: Time) -> None:
        super().__init__(store)
        self._time = time

    def now_ms(self) -> int:
        return self._time.now_ms() + self._offset_ms


class Chosen(Faults):
    """Gives each request the fault that the world has chosen for it."""

    next: Fault | None = None

    def draw(self, method: str, target: str) -> Fault | None:
        fault, self.next = self.next, None
        return fault


class Vendors:
    """The two servers. `call` reaches them without any fault of the network."""

    def __init__(
        self,
        time: Time,
        keys: Path,
        *,
        dialect: Mapping[str, Body],
        limits: str,
        skew_s: Mapping[str, float],
        sockets: bool,
    ) -> None:
        self.time = time
        self.stores = {side: Store(":memory:") for side in SIDES}
        self.faults: dict[str, Chosen] = {}
        self.apps: dict[str, Any] = {}
        self.line: dict[str, Body] = {}
        self._server: _Server | None = None
        bound = {side: _bind() for side in SIDES} if sockets else {}
        for side in SIDES:
            module = importlib.import_module(f"sandbox.{side}.app")
            store = self.stores[side]
            known_logins(side, store, keys)
            clock = VirtualClock(store, time)
            clock.set_offset(round(skew_s.get(side, 0.0) * 1000))
            rules = Dialect(module.SWITCHES, store)
            rules.choose(**dialect.get(side, {}))
            self.faults[side] = Chosen(store)
            settings = serve.Settings(keys, limits)
            self.apps[side] = module.build(store, clock, self.faults[side], rules, settings)
            port = bound[side].getsockname()[1] if sockets else PORTS[side]
            self.line[side] = module.line(store, settings, f"http://127.0.0.1:{port}")
        self._loop = asyncio.new_event_loop()
        if sockets:
            self._server = _Server([(self.apps[side], bound[side]) for side in SIDES])
        self._http = httpx.HTTPTransport(trust_env=False) if sockets else None

    def close(self) -> None:
        if self._server is not None:
            assert self._http is not None
            self._http.close()
            self._server.stop()
        self._loop.close()
        for store in self.stores.values():
            store.close()

    def url(self, side: str) -> str:
        return self.line[side]["api_url" if side == "xero" else "instance_url"]

    def forward(self, side: str, request: httpx.Request) -> tuple[int | None, httpx.Response]:
        """Let a request reach its server; gives its number in the log (in process) and the reply.

        Raises what httpx raises where the server cuts the connection (over sockets).
        """
        if self._http is not None:
            reply = self._http.handle_request(request)
            body = reply.read()
            reply.close()
            return None, httpx.Response(
                reply.status_code, headers=reply.headers, stream=httpx.ByteStream(body)
            )
        return self._loop.run_until_complete(_ask(self.apps[side], request))

    def call(
        self, side: str, method: str, page: str, *, json: Any = None, token: str = "", text: str = ""
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if side == "xero" and token:
            headers["xero-tenant-id"] = self.line["xero"]["tenant_id"]
        content = {"json": json} if json is not None else {"content": text} if text else {}
        request = httpx.Request(method, self.url(side) + page, headers=headers, **content)
        reply = self.forward(side, request)[1]
        reply.read()
        return reply

    def log_in(self, side: str) -> str:
        """A person's token."""
        login = {name: self.line[side]["person"][name] for name in ("client_id", "client_secret")}
        form = {"grant_type": "client_credentials", **login}
        form |= {"scope": SCOPES} if side == "xero" else {}
        page = "/connect/token" if side == "xero" else "/services/oauth2/token"
        reply = self.forward(side, httpx.Request("POST", self.url(side) + page, data=form))[1]
        reply.read()
        assert reply.status_code == 200, reply.text
        return reply.json()["access_token"]

    def load(self, side: str, rows: Iterable[Body]) -> None:
        reply = self.call(
            side, "POST", "/sandbox/load", text="".join(exact.dumps(row) + "\n" for row in rows)
        )
        assert reply.status_code == 200, reply.text

    def dump(self, side: str) -> list[Body]:
        """Every record in the vendor's shape, archived and deleted ones too."""
        return [exact.loads(line) for line in self.call(side, "GET", "/sandbox/dump").text.splitlines()]

    def requests(self, side: str) -> list[Body]:
        return self.call(side, "GET", "/sandbox/requests").json()["requests"]

    def last_n(self, side: str) -> int:
        return self.stores[side]._rows("select coalesce(max(n), 0) from requests")[0][0]


SCOPES = "accounting.contacts accounting.settings.read"


async def _ask(app: Any, request: httpx.Request) -> tuple[int | None, httpx.Response]:
    url = request.url
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 50_000),
        "server": (url.host, url.port),
    }
    messages = [{"type": "http.request", "body": request.read(), "more_body": False}]
    status, headers, body = 500, [], b""

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status, headers, body
        if message["type"] == "http.response.start":
            status, headers = message["status"], message.get("headers", [])
        else:
            body += message.get("body", b"")

    await app(scope, receive, send)
    exchange = scope.get("sandbox")
    reply = httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))
    return (exchange.n if exchange else None), reply


def known_logins(side: str, store: Store, keys: Path) -> None:
    """The same credentials in every world of this process: a new RSA key takes 0.1 s."""
    file = keys / f"{side}.json"
    if file.exists():
        for kind, item, body in json.loads(file.read_text()):
            store.keep(kind, item, body)
        return
    module = importlib.import_module(f"sandbox.{side}.app")
    module.line(store, serve.Settings(keys, "off"), "http://127.0.0.1:1")
    kept = store._rows("select kind, id, body from kept where kind in ('credentials', 'client')")
    file.write_text(json.dumps([[kind, item, json.loads(body)] for kind, item, body in kept]))


def _bind() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    return bound


class _Server:
    """Both apps behind uvicorn, in one thread."""

    def __init__(self, apps: list[tuple[Any, socket.socket]]) -> None:
        self._servers = [(serve._server(app), bound) for app, bound in apps]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        while not all(server.started for server, _ in self._servers):
            threading.Event().wait(0.002)

    async def _run(self) -> None:
        await asyncio.gather(*(server.serve(sockets=[bound]) for server, bound in self._servers))

    def stop(self) -> None:
        for server, _ in self._servers:
            server.should_exit = True
        self._thread.join(10)


__all__ = ["Chosen", "Connections", "Iterator", "Vendors", "VirtualClock", "uvicorn"]

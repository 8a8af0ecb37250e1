"""No HTTP library that we use sends a write twice, follows a redirect, or carries a token to another host.

Each is given a server on this machine that counts what arrives: httpx behind our wire, and requests (with urllib3)
behind simple-salesforce. dlt's own helper repeats everything, also writes; that it is on no way out is held too.
"""

from __future__ import annotations

import ast
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import requests
from peers import MemoryTokens, settings_for
from simple_salesforce.exceptions import SalesforceError

from pipelines.clients import open_clients
from pipelines.governor import Governor, read_xero
from pipelines.salesforce.adapter import Reader
from pipelines.tokens import access_record
from pipelines.wire import Wire
from reconcile.errors import Incident, OutcomeUnknown, ReadOnly, ReconcileError

ROOT = Path(__file__).parents[2]
WRITES = ("POST", "PUT", "PATCH", "DELETE")
REDIRECTS = (301, 302, 303, 307, 308)
REFUSALS = (408, 425, 429, 500, 502, 503, 504)


@dataclass
class Server:
    """Answers every request in one way, and keeps what came.

    how: a status; "reset" ends the connection after the request; "half" ends it within the reply; "stale" answers
    200 and then ends the connection that it said to keep.
    """

    how: int | str
    elsewhere: str = "http://127.0.0.1:9/"
    came: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def methods(self) -> list[str]:
        return [one.split(b" ", 1)[0].decode() for one in self.came]

    @contextmanager
    def running(self) -> Iterator[Server]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listening,), daemon=True)
            thread.start()
            yield self

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while request := self._read(connection):
                self.came.append(request)
                if self.how == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                    return
                connection.sendall(self._reply())
                if self.how in ("half", "stale"):
                    return

    def _reply(self) -> bytes:
        if self.how == "half":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
        status = self.how if isinstance(self.how, int) else 200
        return (
            f"HTTP/1.1 {status} X\r\nLocation: {self.elsewhere}\r\nRetry-After: 0\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        ).encode()

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


@contextmanager
def two_servers(how: int | str) -> Iterator[tuple[Server, Server]]:
    """The one that is called, and the one that it points to."""
    with Server(200).running() as other, Server(how).running() as called:
        called.elsewhere = f"{other.url}/stolen"
        yield called, other


@contextmanager
def wired(url: str, retries: int = 0) -> Iterator[Wire]:
    governor = Governor(
        "xero",
        read_xero,
        calls_a_minute=None,
        concurrent=5,
        day_reserve=0,
        retries=retries,
        sleep=lambda _: None,
    )
    wire = Wire("xero", [url], governor, timeout_s=5)
    try:
        yield wire
    finally:
        wire.close()


def request(method: str, url: str) -> httpx.Request:
    return httpx.Request(method, f"{url}/x", content=b"{}", headers={"Authorization": "Bearer canary"})


# --- httpx -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("how", [*REDIRECTS, *REFUSALS, "reset", "half"])
def test_httpx_behind_our_wire_sends_a_write_once(method, how):
    with (
        two_servers(how) as (called, other),
        wired(called.url, retries=2) as wire,
        wire.writing(lambda: None),
    ):
        try:
            reply = wire.send(request(method, called.url))
        except OutcomeUnknown:
            assert how in ("reset", "half")
        except ReconcileError:
            assert how == 429
        else:
            assert reply.status_code == how
        assert called.methods == [method] * (3 if how == 429 else 1)  # a refusal by a limit wrote nothing
        assert other.came == []


@pytest.mark.parametrize("method", WRITES)
def test_a_refusal_that_wrote_nothing_is_sent_again_by_the_governor_alone_and_under_the_lease(method):
    asked: list[int] = []
    with two_servers(429) as (called, _), wired(called.url, retries=2) as wire:
        with wire.writing(lambda: asked.append(1)), pytest.raises(ReconcileError):
            wire.send(request(method, called.url))
        assert called.methods == [method] * 3 and len(asked) == 3


@pytest.mark.parametrize("method", WRITES)
def test_a_connection_that_ended_while_it_was_kept_is_not_reason_to_send_twice(method):
    """The second write finds the connection of the first closed: it may fail or open another, once."""
    with two_servers("stale") as (called, _), wired(called.url) as wire, wire.writing(lambda: None):
        wire.send(request(method, called.url))
        sent = 1
        for _ in range(5):
            sent += 1
            try:
                wire.send(request(method, called.url))
            except OutcomeUnknown:
                pass
            except ReconcileError:
                sent -= 1
            assert len(called.came) <= sent


class Slept(Exception):
    """What is found out at the last moment."""


def test_what_the_last_moment_raises_passes_unchanged_and_not_a_byte_has_left():
    def too_late() -> None:
        raise Slept

    with two_servers(200) as (called, _), wired(called.url) as wire:
        with wire.writing(lambda: None, too_late), pytest.raises(Slept):
            wire.send(request("PUT", called.url))
        with wire.writing(lambda: None):  # the connection was given up, the next write has one of its own
            assert wire.send(request("POST", called.url)).status_code == 200
        assert called.methods == ["POST"]


@pytest.mark.parametrize("how", [*REDIRECTS, *REFUSALS, "reset"])
def test_a_login_follows_no_redirect_and_shows_its_secret_to_nobody_else(how):
    with two_servers(how) as (called, other):
        line = {"xero": {"api_url": called.url, "identity_url": called.url, "login_url": called.url,
                         "client_id": "app", "client_secret": "canary", "tenant_id": "t"}}  # fmt: skip
        settings = settings_for(line, Path("."), limits={"retries": 0})
        with open_clients(settings, MemoryTokens()) as clients, pytest.raises(ReconcileError):
            clients.xero.organisation()
        assert called.methods == ["POST"] and other.came == []


@pytest.mark.parametrize("method", ["GET", *WRITES])
def test_no_request_leaves_to_a_host_that_is_not_the_pairs(method):
    with two_servers(200) as (called, other), wired(called.url) as wire, wire.writing(lambda: None):
        with pytest.raises(Incident):
            wire.send(request(method, other.url))
        assert called.came == other.came == []


# --- simple-salesforce, and requests below it --------------------------------------------------------


@contextmanager
def salesforce(called: Server) -> Iterator[tuple[Callable[[], Reader], Wire]]:
    """simple-salesforce on our client, with a token at hand, so that only its own requests are seen."""
    line = {"salesforce": {"login_url": called.url, "client_id": "app", "username": "u", "client_secret": "s",
                           "private_key_file": "none", "audience": called.url}}  # fmt: skip
    settings = settings_for(line, Path("."), limits={"retries": 2})
    tokens = MemoryTokens()
    with open_clients(settings, tokens) as clients:
        auth, wire = clients.salesforce.auth, clients.salesforce.wire
        grant = {"access_token": "canary", "instance_url": called.url}
        kept = access_record(grant, auth._owner, wire.governor.now(), default_life_s=3600)
        tokens.put("salesforce", "access", kept | {"instance_url": called.url})
        yield clients.salesforce._reads, wire


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("how", [*REDIRECTS, *REFUSALS, "reset", "half"])
def test_simple_salesforce_behind_our_adapter_sends_a_write_once(method, how):
    with two_servers(how) as (called, other), salesforce(called) as (reader, wire):
        with wire.writing(lambda: None), pytest.raises((ReconcileError, SalesforceError)):
            reader()._call_salesforce(method, f"{reader().base_url}sobjects/Account", data="{}")
        assert called.methods == [method] * (3 if how == 429 else 1)
        assert other.came == []


def test_simple_salesforce_sends_no_write_at_all_without_a_lease():
    with two_servers(200) as (called, _), salesforce(called) as (reader, _wire), pytest.raises(ReadOnly):
        reader().Account.create({"Name": "x"})  # type: ignore[operator]
    assert called.came == []


@pytest.mark.parametrize("how", REDIRECTS)
def test_a_read_of_simple_salesforce_follows_no_redirect(how):
    with two_servers(how) as (called, other), salesforce(called) as (reader, _):
        with pytest.raises(ReconcileError):
            reader().ask("select Id from Account", include_deleted=False)
        assert called.methods == ["GET"] and other.came == []


def test_whatever_address_simple_salesforce_is_given_the_request_goes_to_our_instance():
    with two_servers(200) as (called, other), salesforce(called) as (reader, _):
        reader()._call_salesforce("GET", f"{other.url}/services/data/v67.0/query/01g-2000")
        assert called.methods == ["GET"] and other.came == []


def test_requests_by_itself_has_no_way_out_of_our_adapter():
    """Every scheme is mounted: a session with a gap would open sockets of its own, with urllib3's retries."""

    def never(*_: object) -> httpx.Response:
        raise AssertionError

    session = Reader(never, "67.0").session
    assert {type(adapter).__name__ for adapter in session.adapters.values()} == {"WireAdapter"}
    assert set(session.adapters) == {"https://", "http://"} and not session.trust_env
    with pytest.raises(requests.exceptions.InvalidSchema):
        session.get("ftp://127.0.0.1/")


# --- dlt, and whoever comes next ---------------------------------------------------------------------

OTHERS = (
    "requests",
    "urllib3",
    "aiohttp",
    "urllib.request",
    "http.client",
    "dlt.sources.helpers",
    "xero_python",
)
OPENS = {
    "Client", "AsyncClient", "HTTPTransport", "AsyncHTTPTransport", "get", "post", "put", "patch", "delete",
    "request", "stream", "head", "options",
}  # fmt: skip
# The demo plays the person who edits the sandbox by hand: none of the product's ways out.
MAY_OPEN = ("pipelines/wire.py", "flows/demo.py", "flows/demo_month.py")


def imported(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def calls_of_httpx(tree: ast.AST) -> set[str]:
    """What is taken from httpx that can open a connection."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "httpx"
    } & OPENS


def test_only_the_wire_opens_connections_and_no_other_http_library_is_imported():
    for path in [*ROOT.glob("pipelines/**/*.py"), *ROOT.glob("expectations/*.py"), *ROOT.glob("flows/*.py")]:
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {lib for lib in OTHERS for one in imported(tree) if one == lib or one.startswith(lib + ".")}
        assert found <= ({"requests"} if name == "pipelines/salesforce/adapter.py" else set()), name
        assert calls_of_httpx(tree) == set() or name in MAY_OPEN, f"{name} opens connections by itself"

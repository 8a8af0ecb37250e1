"""A sandbox for each test that asks for one, a plain client of its Xero server, and both of its Salesforce."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from salesforce_peer import Peer, simple_client
from simple_salesforce.api import Salesforce

from sandbox.serve import start


@dataclass
class Xero:
    """A client of the Xero server by plain HTTP, with a token of its own."""

    line: dict[str, Any]
    http: httpx.Client = field(init=False)
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.line["api_url"], timeout=10)
        self.log_in()

    def log_in(self, **form: str) -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.line["client_id"],
            "client_secret": self.line["client_secret"],
            **form,
        }
        reply = self.http.post("/connect/token", data=form)
        token = reply.json().get("access_token", "")
        self.headers = {"Authorization": f"Bearer {token}", "xero-tenant-id": self.line["tenant_id"]}
        return reply

    def call(
        self, method: str, path: str, body: Any = None, headers: Any = None, **query: Any
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        url = path if path.startswith("/") else f"/api.xro/2.0/{path}"
        return self.http.request(
            method, url, content=content, params=query or None, headers={**self.headers, **(headers or {})}
        )

    def get(self, path: str = "Contacts", **query: Any) -> list[dict[str, Any]]:
        reply = self.call("GET", path, **query)
        assert reply.status_code == 200, reply.text
        return reply.json()["Contacts"]

    def put(self, *contacts: dict[str, Any], **query: Any) -> httpx.Response:
        return self.call("PUT", "Contacts", {"Contacts": list(contacts)}, **query)

    def post(self, *contacts: dict[str, Any], **query: Any) -> httpx.Response:
        return self.call("POST", "Contacts", {"Contacts": list(contacts)}, **query)

    def make(self, **contact: Any) -> dict[str, Any]:
        reply = self.put({"Name": "Acme", **contact})
        assert reply.status_code == 200, reply.text
        return reply.json()["Contacts"][0]

    def control(self, path: str, body: Any = None, **query: Any) -> Any:
        method = "GET" if body is None else "POST"
        reply = self.http.request(method, f"/sandbox/{path}", json=body, params=query or None)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def choose(self, **switches: Any) -> None:
        self.control("dialect", switches)

    def log(self) -> list[dict[str, Any]]:
        return self.control("requests")["requests"]

    def load(self, rows: list[dict[str, Any]]) -> None:
        text = "\n".join(json.dumps(row) for row in rows)
        assert self.http.post("/sandbox/load", content=text.encode()).status_code == 200

    def load_text(self, text: str) -> None:
        """Rows as `dump_text` gives them: numbers stay as they are written."""
        assert self.http.post("/sandbox/load", content=text.encode()).status_code == 200

    def dump_text(self, **query: str) -> str:
        return self.http.get("/sandbox/dump", params=query).text

    def dump(self) -> list[dict[str, Any]]:
        return [json.loads(one) for one in self.dump_text().splitlines()]

    def dump_of(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(one) for one in self.dump_text(kind=kind).splitlines()]

    def histories(self) -> list[dict[str, Any]]:
        return [json.loads(one) for one in self.http.get("/sandbox/history").text.splitlines()]


@pytest.fixture
def peer(line: dict[str, Any]) -> Peer:
    """An empty Salesforce in its default dialect, on the servers of the test's own module."""
    plain = Peer(line)
    plain.control("reset", {"seed": False})
    plain.control("dialect", method="DELETE")
    return plain


@pytest.fixture
def sf(line: dict[str, Any], peer: Peer) -> Salesforce:
    """The same by simple-salesforce."""
    return simple_client(line)


Opener = Callable[..., Xero]


@pytest.fixture
def open_xero(tmp_path: Path) -> Iterator[Opener]:
    """Starts a Xero server alone; options as for `sandbox.serve.start`."""
    with ExitStack() as stack:

        def open_one(state: Path = tmp_path / "state", **options: Any) -> Xero:
            options = {"seed": "empty", "limits": "off", "sides": ("xero",), **options}
            client = Xero(stack.enter_context(start(state, **options))["xero"])
            stack.callback(client.http.close)
            return client

        yield open_one


@pytest.fixture(scope="session")
def shared_xero(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xero]:
    with start(tmp_path_factory.mktemp("xero"), seed="empty", limits="off", sides=("xero",)) as line:
        client = Xero(line["xero"])
        yield client
        client.http.close()


@pytest.fixture
def xero(shared_xero: Xero) -> Xero:
    """An empty Xero organisation without limits, in its default dialect."""
    shared_xero.http.delete("/sandbox/dialect").raise_for_status()
    shared_xero.control("reset", {})
    shared_xero.log_in()
    return shared_xero

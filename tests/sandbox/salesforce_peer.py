"""Clients of the Salesforce sandbox for tests: plain HTTP, and simple-salesforce as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce

from sandbox.serve import start

VERSION = "67.0"
KINDS = {
    "001": "Account", "003": "Contact", "006": "Opportunity", "00k": "OpportunityLineItem", "01t": "Product2",
    "01s": "Pricebook2", "01u": "PricebookEntry",
}  # fmt: skip
ROOT = f"/services/data/v{VERSION}"


class Peer:
    """One user over plain HTTP."""

    def __init__(self, line: dict[str, Any], *, person: bool = False) -> None:
        self.line = line["salesforce"]
        login = self.line["person"] if person else self.line
        self.user_id = login["user_id"]
        self.http = httpx.Client(base_url=self.line["login_url"], timeout=10)
        form = {"grant_type": "client_credentials"}
        form |= {name: login[name] for name in ("client_id", "client_secret")}
        token = self.http.post("/services/oauth2/token", data=form).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        url = path if path.startswith("/") else f"{ROOT}/{path}"
        return self.http.request(method, url, json=body, **options)

    def query(self, soql: str, *, everything: bool = False) -> list[dict[str, Any]]:
        reply = self.call("GET", "queryAll" if everything else "query", params={"q": soql})
        assert reply.status_code == 200, reply.text
        return reply.json()["records"]

    def make(self, kind: str = "Account", **fields: Any) -> str:
        named: dict[str, Any] = {"Account": {"Name": "Acme"}, "Contact": {"LastName": "Doe"}}.get(kind, {})
        reply = self.call("POST", f"sobjects/{kind}", {**named, **fields})
        assert reply.status_code == 201, reply.text
        return reply.json()["id"]

    def read(self, record_id: str) -> dict[str, Any]:
        kind = KINDS[record_id[:3]]
        reply = self.call("GET", f"sobjects/{kind}/{record_id}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def change(self, record_id: str, **fields: Any) -> httpx.Response:
        kind = KINDS[record_id[:3]]
        return self.call("PATCH", f"sobjects/{kind}/{record_id}", fields)

    def control(self, page: str, body: Any = None, method: str = "POST") -> Any:
        reply = self.call(method, f"/sandbox/{page}", body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def log(self) -> list[dict[str, Any]]:
        return self.control("requests", method="GET")["requests"]


def refusal(reply: httpx.Response) -> tuple[int, str]:
    """Status and code of an error."""
    return reply.status_code, reply.json()[0]["errorCode"]


def account(**fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Account"}, **fields}


@contextmanager
def serving(state: Path, **options: Any) -> Iterator[dict[str, Any]]:
    """A Salesforce server alone, empty and without limits unless told otherwise."""
    with start(state, **{"seed": "empty", "limits": "off", "sides": ("salesforce",), **options}) as line:
        yield line


class ToHttp(HTTPAdapter):
    """Sends to the sandbox what simple-salesforce means to send to https://anything."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        url = str(request.url)
        parts = urlsplit(url)
        request.url = self._root + url[len(f"{parts.scheme}://{parts.netloc}") :]
        return super().send(request, *args, **options)


def simple_client(line: dict[str, Any], **options: Any) -> Salesforce:
    """simple-salesforce, logged in by JWT bearer unless options say otherwise."""
    ours = line["salesforce"]
    session = requests.Session()
    session.mount("https://", ToHttp(ours["login_url"]))
    login = options or {
        "username": ours["username"],
        "consumer_key": ours["client_id"],
        "privatekey_file": ours["private_key_file"],
    }
    return Salesforce(**login, session=session, version=VERSION)


def load_rows(peer: Peer, rows: list[dict[str, Any]]) -> None:
    text = "\n".join(json.dumps(row) for row in rows)
    assert peer.http.post("/sandbox/load", content=text.encode()).status_code == 200

"""Both systems as local servers, and our clients on them: what the tests of pipelines/ talk to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from pipelines.clients import Clients, open_clients
from pipelines.pull import PullResult, pull
from pipelines.settings import Limits, Pair, Salesforce, Settings, Xero
from pipelines.settings import Pull as PullSettings
from pipelines.warehouse import Warehouse


class MemoryTokens:
    """A token store for one test; `log` tells what was put, in order."""

    durable = True

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}
        self.log: list[tuple[str, str, dict[str, Any]]] = []

    def get(self, side: str, kind: str) -> dict[str, Any] | None:
        value = self.kept.get((side, kind))
        return None if value is None else json.loads(json.dumps(value))

    def put(self, side: str, kind: str, value: dict[str, Any]) -> None:
        self.kept[side, kind] = json.loads(json.dumps(value))
        self.log.append((side, kind, value))


def settings_for(line: Mapping[str, Any], folder: Path, **changes: Mapping[str, Any]) -> Settings:
    """Settings that lead to the sandbox; changes: section -> key -> value."""
    xero, salesforce = line.get("xero") or {}, line.get("salesforce") or {}
    sections: dict[str, dict[str, Any]] = {
        "pair": {"data_dir": folder},
        "xero": {
            k: xero[k] for k in ("api_url", "identity_url", "login_url", "client_id", "tenant_id") if xero
        },
        "salesforce": {k: salesforce[k] for k in ("login_url", "client_id", "username") if salesforce},
        # Many short processes after each other share the minute: the sandbox's own limit is enough.
        "limits": {"timeout_s": 10.0, "retries": 3, "xero_calls_a_minute": 100_000},
        "pull": {},
    }
    if xero:
        sections["xero"]["client_secret"] = SecretStr(xero["client_secret"])
    if salesforce:
        sections["salesforce"]["client_secret"] = SecretStr(salesforce["client_secret"])
        sections["salesforce"]["private_key_file"] = Path(salesforce["private_key_file"])
        sections["salesforce"]["audience"] = salesforce["audience"]
    for section, values in changes.items():
        sections[section] |= values
    return Settings(
        pair=Pair(**sections["pair"]),
        xero=Xero(**sections["xero"]),
        salesforce=Salesforce(**sections["salesforce"]),
        limits=Limits(**sections["limits"]),
        pull=PullSettings(**sections["pull"]),
    )


@dataclass
class Peer:
    """The sandbox, and what is needed to work against it."""

    line: dict[str, Any]
    folder: Path
    settings: Settings
    tokens: MemoryTokens = field(default_factory=MemoryTokens)

    def url(self, side: str) -> str:
        return self.line[side]["api_url" if side == "xero" else "instance_url"]

    def control(self, side: str, method: str, what: str, body: Any = None) -> Any:
        reply = httpx.request(method, f"{self.url(side)}/sandbox/{what}", json=body, timeout=10)
        reply.raise_for_status()
        return reply.json()

    def load(self, side: str, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        httpx.post(f"{self.url(side)}/sandbox/load", content=text, timeout=60).raise_for_status()

    def move_clock(self, seconds: float) -> None:
        for side in ("xero", "salesforce"):
            self.control(side, "POST", "clock", {"move_s": seconds})

    def requests(self, side: str) -> list[dict[str, Any]]:
        return self.control(side, "GET", "requests")["requests"]

    @contextmanager
    def clients(self) -> Iterator[Clients]:
        with open_clients(self.settings, self.tokens) as clients:
            yield clients

    def pull(self, warehouse: Warehouse, **options: Any) -> PullResult:
        with self.clients() as clients:
            options.setdefault("now", datetime.now(UTC))
            return pull(self.settings, clients, warehouse, **options)


def account(number: int, **fields: Any) -> dict[str, Any]:
    base = {"attributes": {"type": "Account"}, "Id": f"001{number:012d}AAA", "Name": f"Company {number}"}
    return base | fields


def person(number: int, **fields: Any) -> dict[str, Any]:
    base = {
        "attributes": {"type": "Contact"},
        "Id": f"003{number:012d}AAA",
        "LastName": f"Person {number}",
        "AccountId": f"001{number:012d}AAA",
    }
    return base | fields


def contact(number: int, **fields: Any) -> dict[str, Any]:
    return {"ContactID": f"00000000-0000-4000-8000-{number:012d}", "Name": f"Company {number}"} | fields

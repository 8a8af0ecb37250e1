"""What can go wrong with one request on its way, and how often a world lets it.

Faults inside a vendor are made by the sandbox; those of the network here, between the product and the server.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from sandbox.faults import Fault

TIMEOUT_S = 30.0  # the product's own, by the clock of the world
LATEST_S = 85.0  # limits.late_application_s is 90: what comes later is a broken assumption, not a fault
HTML = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"

# The share of each fault among the faults of its kind of request.
WRITES = {
    "refused_connection": 1, "lost": 2, "late": 3, "reply_lost": 4, "half_body": 2, "bad_json": 1, "html": 1,
    "502": 1, "502_applied": 1, "503": 1, "504_applied": 1, "500": 2, "500_applied": 3, "partial": 2,
    "short": 2, "reordered": 2, "expired_token": 1, "429_minute": 1, "429_day": 0.4, "429_concurrent": 1,
    "429_app": 1, "429_odd": 1, "locked": 1, "slow": 1,
}  # fmt: skip
READS = {
    "refused_connection": 1, "lost": 1, "reply_lost": 1, "half_body": 1, "bad_json": 0.3, "html": 0.3, "502": 1,
    "503": 1, "500": 1, "expired_token": 1, "429_minute": 1, "429_day": 0.1, "429_concurrent": 1, "429_app": 0.5,
    "429_odd": 0.5, "slow": 1,
}  # fmt: skip
LOGINS = {"refused_connection": 1, "reply_lost": 1, "503": 1}
BY_KIND = {"write": WRITES, "read": READS, "login": LOGINS}

LIMITS: dict[str, dict[str, str]] = {
    "429_minute": {"X-Rate-Limit-Problem": "minute", "Retry-After": "27"},
    "429_day": {"X-Rate-Limit-Problem": "day", "Retry-After": "3600"},
    "429_concurrent": {"X-Rate-Limit-Problem": "concurrent"},
    "429_app": {"X-Rate-Limit-Problem": "appminute"},
}
ODD = ("-5", "abc", "", "1e9", "Tue, 01 Jan 2019 00:00:00 GMT", "0")
IN_VENDOR = ("500", "500_applied", "partial", "short", "reordered", "expired_token", "503")


def draw(rng: random.Random, kind: str, rate: float) -> str | None:
    """Give the fault that a request of this kind meets, or none."""
    if rng.random() >= rate:
        return None
    table = BY_KIND[kind]
    return rng.choices(list(table), weights=list(table.values()))[0]


def of_vendor(rng: random.Random, name: str) -> Fault | None:
    """Give the sandbox's fault of that name; none where the network makes it."""
    if name in IN_VENDOR:
        return Fault(name)
    if name == "429_odd":
        return Fault("429", headers={"Retry-After": rng.choice(ODD)})
    if name in LIMITS:
        return Fault("429", headers=LIMITS[name])
    return None


def meet(
    name: str | None,
    request: httpx.Request,
    forward: Callable[[], httpx.Response],
    world: Any,
    rng: random.Random,
) -> httpx.Response:
    """Let a request meet a fault of the network. Raises what httpx would raise."""
    match name:
        case "refused_connection":
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        case "lost":
            world.time.sleep(TIMEOUT_S)
            raise httpx.ReadTimeout("no answer", request=request)
        case "late":
            world.late(forward, 1 + rng.random() * (LATEST_S - 1))
            world.time.sleep(TIMEOUT_S)
            raise httpx.ReadTimeout("no answer", request=request)
        case "reply_lost":
            forward()
            if rng.random() < 0.5:
                raise httpx.RemoteProtocolError("disconnected without a reply", request=request)
            world.time.sleep(TIMEOUT_S)
            raise httpx.ReadTimeout("no answer", request=request)
        case "half_body":
            reply = forward()
            return httpx.Response(reply.status_code, headers=reply.headers, stream=Half(reply.read()))
        case "bad_json":
            return _with_body(forward(), lambda body: body[: len(body) // 2])
        case "html":
            return _with_body(forward(), lambda _: HTML)
        case "502":
            return httpx.Response(502, stream=httpx.ByteStream(HTML), headers={"Content-Type": "text/html"})
        case "502_applied" | "504_applied":
            forward()
            return httpx.Response(int(name[:3]), stream=httpx.ByteStream(HTML))
        case "slow":
            world.time.sleep(rng.random() * (TIMEOUT_S - 1))
            return forward()
        case _:
            return forward()


class Half(httpx.SyncByteStream):
    """Half a body, and then the connection breaks."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def _with_body(reply: httpx.Response, change: Callable[[bytes], bytes]) -> httpx.Response:
    body = change(reply.read())
    headers = [(k, v) for k, v in reply.headers.multi_items() if k.lower() != "content-length"]
    return httpx.Response(reply.status_code, headers=headers, stream=httpx.ByteStream(body))

"""Puts simple-salesforce onto our wire: it builds requests and follows pages, and never opens a socket.

Its 401 handling, retries and JSON parsing are not used (facts in docs/architecture.md): tokens, limits and
retries are the wire's, and replies are handed on whole, so that no digit is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import requests
from requests.adapters import BaseAdapter
from simple_salesforce import Salesforce
from typing_extensions import override

# simple-salesforce writes https:// and a host into every address; the adapter puts ours in their place.
PLACEHOLDER: Final = "https://instance.invalid"
Forward = Callable[[str, str, Mapping[str, str]], httpx.Response]


class Reader(Salesforce):
    """simple-salesforce for reads, giving each reply whole."""

    def __init__(self, forward: Forward, api_version: str) -> None:
        session = requests.Session()
        session.trust_env = False  # no .netrc, no proxies of requests' own
        for prefix in ("https://", "http://"):
            session.mount(prefix, WireAdapter(forward))
        super().__init__(
            session_id="set by the wire", instance_url=PLACEHOLDER, session=session, version=api_version
        )

    @override
    def parse_result_to_json(self, result: requests.Response) -> Any:
        return [result.raw]  # a list, because simple-salesforce asks for its length

    def ask(self, soql: str, *, include_deleted: bool) -> httpx.Response:
        return self.query(soql, include_deleted=include_deleted)[0]

    def more(self, next_records_url: str) -> httpx.Response:
        return self.query_more(next_records_url, identifier_is_url=True)[0]

    def get(self, path: str) -> httpx.Response:
        found: Any = self.restful(path)
        return found[0]


class WireAdapter(BaseAdapter):
    """What requests sends through; the reply goes back as `raw`."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self._forward = forward

    @override
    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        reply = self._forward(request.method or "GET", target, _own(request.headers))
        result = requests.Response()
        result.status_code, result.request, result.url = reply.status_code, request, request.url or ""
        result.headers.update(reply.headers)
        result.raw = reply
        result._content = reply.content
        return result

    @override
    def close(self) -> None:
        """Nothing is held here: the wire is closed by whoever opened it."""


def _own(headers: Mapping[str, str]) -> dict[str, str]:
    keep = {"sforce-query-options", "sforce-call-options", "if-modified-since"}
    return {name: value for name, value in headers.items() if name.lower() in keep}

"""The one way out: every request leaves here, under limits, and read-only unless a lease says otherwise."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from pipelines import exact
from pipelines import quiet as quiet  # pins the loggers of httpx before it is used
from pipelines.governor import Governor
from reconcile.errors import Incident, NotConnected, OutcomeUnknown, ReadOnly, UnexpectedReply, Unreachable

LARGEST_REPLY: Final = 64 * 1024 * 1024  # bytes; a page of 1,000 contacts has about three million
WHAT: Final = "reconcile.what"  # of a request's extensions: what it is, for whoever weighs replies
CONNECT_S: Final = 10.0
READS: Final = frozenset({"GET", "HEAD"})
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# httpx gives up before a byte of the request has left: certainly not sent.
NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Row:
    """One element of a reply: parsed (fractions are Decimal), and its text as it came."""

    record_id: str
    body: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Page:
    """One page of a list.

    total: how many there are in all, where the vendor says so. server_time: the vendor's own clock when
    it answered. last: nothing follows. pages: how many pages there are, where the vendor says so.
    """

    rows: list[Row]
    total: int | None
    server_time: datetime
    last: bool
    pages: int | None = None


@dataclass(frozen=True)
class Reply:
    """The answer to a raw write, for the writer to judge."""

    status: int
    headers: httpx.Headers
    body: bytes
    side: str

    def json(self) -> Any:
        """Parse the body; fractions are Decimal. Raises UnexpectedReply."""
        return read_json(self.side, "the reply to a write", self.body)


class Wire:
    """One side's connection. It knows no vendor: only origins, limits, leases and what can go wrong."""

    def __init__(
        self,
        side: str,
        base_urls: Iterable[str],
        governor: Governor,
        *,
        timeout_s: float,
        pair: str = "pair",
        write_lease: Callable[[], None] | None = None,
        transport: httpx.BaseTransport | None = None,
        largest_reply: int = LARGEST_REPLY,
        asks_at: re.Pattern[str] | None = None,
    ) -> None:
        """asks_at: the paths at which a POST only asks and changes no record; null: there are none."""
        self.side, self.governor, self.pair = side, governor, pair
        self.calls, self.bytes_in, self.bytes_out = 0, 0, 0
        self.met: dict[str, tuple[int, int]] = {}  # by what a request says that it is: calls, bytes that came
        self.skew_s: float | None = None  # the vendor's clock less ours, at the last reply; null before it
        self._origins = {_origin(httpx.URL(url)) for url in base_urls}
        self._lease, self._last_moment = write_lease, _nothing
        self._largest_reply, self._asks_at = largest_reply, asks_at
        self._counting = threading.Lock()
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            follow_redirects=False,
            headers={"User-Agent": "reconcile", "Accept": "application/json"},
            # A proxy from the environment is for the world outside, not for a sandbox on this machine.
            trust_env=not all(httpx.URL(url).host in LOOPBACK for url in base_urls),
            transport=transport,
        )

    def allow(self, url: str) -> None:
        """Let requests go to one more origin (Salesforce names its instance at login)."""
        self._origins.add(_origin(httpx.URL(url)))

    @contextmanager
    def writing(
        self, lease: Callable[[], None], last_moment: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Let writes leave while this lasts. `lease` is called before each, and raises when it is lost.

        last_moment: called when the connection stands and before the first byte of a write; what it raises
        passes through unchanged, and means that nothing has left.
        """
        before = self._lease, self._last_moment
        self._lease, self._last_moment = lease, last_moment or _nothing
        try:
            yield
        finally:
            self._lease, self._last_moment = before

    def send(self, request: httpx.Request, *, write: bool = False, login: bool = False) -> httpx.Response:
        """Send it, and give the whole reply.

        A GET is a read, and so is a POST that only asks: they are repeated where that helps. All else is a
        write, or a login that says so.
        Raises ReadOnly, RateLimited, Unreachable, OutcomeUnknown (writes only), UnexpectedReply (too large).
        """
        writes = write or not (login or self._reads(request))
        if _origin(request.url) not in self._origins:
            raise Incident(
                f"{self.side}: a request to {request.url.host} was stopped: no host of the pair. "
                "Look at the addresses in the settings."
            )
        return self.governor.run(lambda: self._once(request, writes), repeatable=not writes, counts=not login)

    def close(self) -> None:
        self._client.close()

    def _reads(self, request: httpx.Request) -> bool:
        if request.method in READS:
            return True
        # The path as it is sent: what is escaped in it is not unfolded first.
        path = request.url.raw_path.decode("ascii")
        asks = self._asks_at is not None and self._asks_at.fullmatch(path) is not None
        return request.method == "POST" and asks

    def _once(self, request: httpx.Request, writes: bool) -> httpx.Response:
        if writes:
            if self._lease is None:
                raise ReadOnly(pair=self.pair)
            self._lease()
            request.extensions = {**request.extensions, "trace": self._traced}
        with self._counting:
            self.calls += 1
            self.bytes_out += len(request.content)
        try:
            return self._receive(self._client.send(request, stream=True))
        except NEVER_SENT as error:
            raise NotConnected(side=self.side, at=_place(request), found=_reason(error)) from None
        except (httpx.TransportError, httpx.DecodingError, _TooLarge) as error:
            if writes:
                raise OutcomeUnknown(side=self.side, found=_reason(error)) from None
            if isinstance(error, _TooLarge):
                raise UnexpectedReply(
                    side=self.side,
                    at=_place(request),
                    found=f"more than {self._largest_reply} bytes",
                    expected="a smaller reply",
                ) from None
            raise Unreachable(side=self.side, at=_place(request), found=_reason(error)) from None

    def _traced(self, event: str, _: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            self._last_moment()

    def _receive(self, response: httpx.Response) -> httpx.Response:
        """Read the body up to the limit, so that a reply without end can't fill the memory."""
        parts: list[bytes] = []
        size = 0
        try:
            for part in response.iter_bytes():
                size += len(part)
                if size > self._largest_reply:
                    raise _TooLarge
                parts.append(part)
        finally:
            response.close()
            with self._counting:
                came = response.num_bytes_downloaded
                self.bytes_in += came
                if (what := response.request.extensions.get(WHAT)) is not None:
                    calls, bytes_in = self.met.get(what, (0, 0))
                    self.met[what] = calls + 1, bytes_in + came
        theirs = server_time(response)
        if theirs is not None:
            self.skew_s = (theirs - self.governor.now()).total_seconds()
        headers = [(k, v) for k, v in response.headers.raw if k.lower() != b"content-encoding"]
        return httpx.Response(
            response.status_code, headers=headers, content=b"".join(parts), request=response.request
        )


def _nothing() -> None:
    """Check nothing."""


class _TooLarge(Exception):
    """The reply is larger than the limit."""


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _place(request: httpx.Request) -> str:
    """Name host, port and path. Never the query: it may hold a person's name."""
    return f"{request.url.netloc.decode()}{request.url.path}"


def _reason(error: Exception) -> str:
    # The text of a ConnectError is the operating system's; that of others may quote what was sent.
    if type(error) is httpx.ConnectError:
        return str(error)
    return next((text for kind, text in REASONS.items() if isinstance(error, kind)), type(error).__name__)


REASONS: Final[dict[type[Exception], str]] = {
    httpx.ConnectTimeout: "no connection in time",
    httpx.PoolTimeout: "no free connection in time",
    httpx.TimeoutException: "no answer in time",
    httpx.RemoteProtocolError: "the connection broke off before the reply was whole",
    httpx.NetworkError: "the connection broke off",
    httpx.DecodingError: "a reply whose compression is damaged",
    _TooLarge: "a reply that is too large",
}


def read_json(side: str, at: str, content: bytes) -> Any:
    """Parse a reply. Raises UnexpectedReply, which tells what was there instead, without quoting it."""
    try:
        return exact.parse(decode(side, at, content))
    except ValueError:
        raise unexpected(side, at, content) from None


def decode(side: str, at: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise unexpected(side, at, content) from None


def unexpected(side: str, at: str, content: bytes, expected: str = "JSON") -> UnexpectedReply:
    """Say what kind of thing came instead of what should have come."""
    start = content[:200].lstrip().lower()
    if not start:
        found = "an empty reply"
    elif start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        found = "an HTML page"
    elif start.startswith((b"{", b"[")):
        found = f"JSON that is cut off, broken or of another shape ({len(content)} bytes)"
    else:
        found = f"{len(content)} bytes that are no JSON"
    return UnexpectedReply(side=side, at=at, found=found, expected=expected)


def server_time(response: httpx.Response) -> datetime | None:
    """Give the vendor's own clock from the Date header; null where there is none."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

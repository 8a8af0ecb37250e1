"""Speaks to Salesforce's REST API: reads through simple-salesforce on our own wire, and sends raw writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx

from pipelines import exact
from pipelines.salesforce.auth import SIDE, SalesforceAuth
from pipelines.settings import Settings
from pipelines.tokens import Tokens
from pipelines.wire import Page, Reply, Row, Wire, decode, read_json, server_time, unexpected
from reconcile.errors import LoginRefused, MissingRight, UnexpectedReply, Unreachable

if TYPE_CHECKING:
    from pipelines.salesforce.adapter import Reader

MOST_PAGES: Final = 1_000_000
# Where a POST makes a query job of Bulk API 2.0: it reads, and changes no record.
ASKS_AT: Final = re.compile(r"/services/data/v\d{2,3}\.0/jobs/query", re.ASCII)


class SalesforceClient:
    """One Salesforce org."""

    def __init__(self, settings: Settings, tokens: Tokens, wire: Wire) -> None:
        self.settings, self.wire = settings.salesforce, wire
        self.auth = SalesforceAuth(settings, tokens, wire)
        self._reader: Reader | None = None

    @property
    def root(self) -> str:
        return f"/services/data/v{self.settings.api_version}/"

    def query(self, soql: str, *, all_rows: bool = True) -> Iterator[Page]:
        """Give the pages of a query; `all_rows` sees deleted and archived rows too.

        row.record_id is the Id; total is the query's own totalSize.
        Raises RefusedQuery (the query names what is not there), UnexpectedReply, and as the wire does.
        """
        reader = self._reads()
        reply = reader.ask(soql, include_deleted=all_rows)
        for _ in range(MOST_PAGES):
            page, more = _page(reply)
            yield page
            if more is None:
                return
            reply = reader.more(more)
        raise UnexpectedReply(side=SIDE, at="query", found="pages without end", expected="a last page")

    def count(self, object_name: str) -> int:
        """Give how many rows the system has, deleted ones too; one call."""
        soql = "select count() from " + _name(object_name)  # noqa: S608
        reply = self._reads().ask(soql, include_deleted=True)
        body = read_json(SIDE, "query", reply.content)
        total = body.get("totalSize") if isinstance(body, dict) else None
        if not isinstance(total, int):
            raise unexpected(SIDE, "query", reply.content, "a count")
        return total

    def describe(self, object_name: str) -> dict[str, Any]:
        """Give the object's schema as this user sees it: a field without rights is absent."""
        found = self._json(f"sobjects/{_name(object_name)}/describe")
        if not isinstance(found.get("fields"), list):
            raise UnexpectedReply(
                side=SIDE, at=f"describe of {object_name}", found="no list of fields", expected="a schema"
            )
        return found

    def limits(self) -> dict[str, Any]:
        """Give the org's limits, each with Max and Remaining."""
        return self._json("limits")

    def org(self) -> dict[str, Any]:
        """Give the Organization row: Id, IsSandbox, InstanceName, OrganizationType."""
        soql = "select Id, IsSandbox, InstanceName, OrganizationType from Organization"
        rows = [row for page in self.query(soql, all_rows=False) for row in page.rows]
        if len(rows) != 1:
            raise UnexpectedReply(side=SIDE, at="Organization", found=f"{len(rows)} rows", expected="one")
        return rows[0].body

    def user_id(self) -> str:
        """Give our own user's Id (18 characters), as LastModifiedById shows it after our writes."""
        self.auth.session()
        kept = self.auth.tokens.get(SIDE, "access") or {}
        found = str(kept.get("identity", "")).rstrip("/").rpartition("/")[2]
        if re.fullmatch(r"005[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", found):
            return full_id(found)
        reply = self._authorised("GET", "/services/oauth2/userinfo")
        body = read_json(SIDE, "userinfo", reply.content)
        found = body.get("user_id", "") if isinstance(body, dict) else ""
        if not re.fullmatch(r"005[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", str(found)):
            raise unexpected(SIDE, "userinfo", reply.content, "the user's id")
        return full_id(str(found))

    def versions(self) -> list[str]:
        """Give the API versions that the instance offers, as ["66.0", "67.0"]."""
        reply = self._authorised("GET", "/services/data/")
        found = read_json(SIDE, "/services/data", reply.content)
        if not isinstance(found, list):
            raise unexpected(SIDE, "/services/data", reply.content, "a list of versions")
        return [str(entry.get("version")) for entry in found if isinstance(entry, dict)]

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        accept: str = "application/json",
        content: str = "application/json",
    ) -> Reply:
        """Send exactly these bytes to a path below /services/data/vXX.X/, for the caller to judge.

        Raises ReadOnly, RateLimited, NotConnected, OutcomeUnknown, LoginRefused.
        """
        own = {"Content-Type": content, "Accept": accept}
        reply = self._authorised(method, self.root + path, headers=own, content=body)
        return Reply(reply.status_code, reply.headers, reply.content, SIDE)

    def _json(self, path: str) -> dict[str, Any]:
        reply = self._reads().get(path)
        found = read_json(SIDE, path, reply.content)
        if not isinstance(found, dict):
            raise unexpected(SIDE, path, reply.content, "an object")
        return found

    def _reads(self) -> Reader:
        if self._reader is None:
            from pipelines.salesforce.adapter import Reader  # 0.5 s, needed by reads only

            self._reader = Reader(self._forward, self.settings.api_version)
        return self._reader

    def _forward(self, method: str, target: str, headers: Mapping[str, str]) -> httpx.Response:
        """Send what simple-salesforce asks for, to our instance and with our token."""
        reply = self._authorised(method, target, headers=headers)
        if reply.status_code in (200, 304):
            return reply
        raise read_error(reply, httpx.URL(target).path)

    def _authorised(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """Send with a token; renew it once where it is refused (a 401 was not executed)."""
        rejected = None
        for _ in range(2):
            token, instance = self.auth.session(rejected=rejected)
            own = {"Accept": "application/json", **(headers or {}), "Authorization": f"Bearer {token}"}
            request = httpx.Request(method, instance + target, headers=own, content=content)
            reply = self.wire.send(request)
            if reply.status_code != 401:
                return reply
            rejected = token
        raise LoginRefused(
            side=SIDE,
            at=self.settings.login_url,
            found="a token that was granted just now is not accepted",
            next_step="The app may be revoked, or the user lacks the permission 'API Enabled'.",
        )


class RefusedQuery(UnexpectedReply):
    """A query names a field or an object that this user can't see."""


class LostPlace(UnexpectedReply):
    """The query's cursor has expired: it has to be asked again from the start."""


def read_error(reply: httpx.Response, at: str) -> Exception:
    """Sort what a read was answered with."""
    codes = error_codes(reply)
    if reply.status_code >= 500:
        return Unreachable(side=SIDE, at=at, found=f"HTTP {reply.status_code} after several tries")
    if reply.status_code == 403 or "INSUFFICIENT_ACCESS" in codes or "API_DISABLED_FOR_ORG" in codes:
        return MissingRight(
            side=SIDE,
            found=f"{at} is not allowed ({', '.join(codes) or 'HTTP 403'})",
            next_step="Give the user the permission set that `reconcile doctor` prints.",
        )
    if {"INVALID_QUERY_LOCATOR", "QUERY_TIMEOUT"} & set(codes):
        return LostPlace(side=SIDE, at=at, found=", ".join(codes), expected="the next page")
    if {"INVALID_FIELD", "INVALID_TYPE", "MALFORMED_QUERY", "NOT_FOUND"} & set(codes):
        return RefusedQuery(
            side=SIDE,
            at=at,
            found=f"HTTP {reply.status_code} ({', '.join(codes)})",
            expected="every field and object to be there and visible to this user",
        )
    if reply.status_code == 404:
        return UnexpectedReply(
            side=SIDE, at=at, found="HTTP 404", expected="an API of the version in salesforce.api_version"
        )
    found = f"HTTP {reply.status_code}" + (f" ({', '.join(codes)})" if codes else "")
    return UnexpectedReply(side=SIDE, at=at, found=found, expected="HTTP 200")


def error_codes(reply: httpx.Response) -> list[str]:
    """Give the error codes of a reply, never its messages: those may quote a record."""
    try:
        body = reply.json()
    except ValueError:
        return []
    entries = body if isinstance(body, list) else [body]
    codes = [entry.get("errorCode") for entry in entries if isinstance(entry, dict)]
    return [code for code in codes if isinstance(code, str) and re.fullmatch(r"[A-Z_]{3,60}", code)]


def _page(reply: httpx.Response) -> tuple[Page, str | None]:
    try:
        rows, rest = exact.parse_envelope(decode(SIDE, "query", reply.content), "records")
    except ValueError:
        raise unexpected(SIDE, "query", reply.content) from None
    told, clock = rest.get("totalSize"), server_time(reply)
    if rows is None or not isinstance(told, int) or not isinstance(rest.get("done"), bool):
        raise unexpected(SIDE, "query", reply.content, "totalSize, done and records")
    if clock is None:
        raise UnexpectedReply(side=SIDE, at="query", found="no Date header", expected="Salesforce's own time")
    more = None if rest["done"] else rest.get("nextRecordsUrl")
    if more is not None and not re.fullmatch(r"/services/data/v[\d.]+/query(All)?/[\w-]+", str(more)):
        raise unexpected(SIDE, "query", reply.content, "a nextRecordsUrl")
    if not rest["done"] and more is None:
        raise unexpected(SIDE, "query", reply.content, "a nextRecordsUrl, as it is not done")
    return Page([_row(body, text, reply) for body, text in rows], told, clock, last=more is None), more


def _row(body: dict[str, Any], text: str, reply: httpx.Response) -> Row:
    record_id = body.get("Id")
    if not isinstance(record_id, str) or len(record_id) not in (15, 18):
        raise unexpected(SIDE, "query", reply.content, "an Id in each record")
    return Row(full_id(record_id), body, text)


def full_id(record_id: str) -> str:
    """Give the 18-character form of an id: three more signs say which of the 15 are capitals."""
    if len(record_id) != 15:
        return record_id
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    parts = (record_id[i : i + 5] for i in (0, 5, 10))
    return record_id + "".join(signs[sum(c.isupper() << i for i, c in enumerate(part))] for part in parts)


def quote(value: str) -> str:
    """Give the value as a SOQL string."""
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    return "'" + "".join(escapes.get(sign, sign) for sign in value) + "'"


def stamp(moment: datetime) -> str:
    """Give the instant as a SOQL dateTime, whole seconds, rounded down."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _name(name: str) -> str:
    """Refuse anything but an API name: it goes into queries and paths as it is."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
        raise ValueError(f"{name!r} is no API name")
    return name

"""Speaks to Xero's accounting API: reads pages, sends raw writes, sorts what can go wrong.

Facts: the spec 16.1.0 of XeroAPI/Xero-OpenAPI, and recordings of 2026 (docs of this project's architecture).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from pipelines import exact
from pipelines.ahead import in_order
from pipelines.settings import Settings
from pipelines.tokens import Tokens
from pipelines.wire import WHAT, Page, Reply, Row, Wire, decode, read_json, server_time, unexpected
from pipelines.xero.auth import SIDE, XeroAuth
from reconcile.bodies import dumps
from reconcile.errors import LoginRefused, MissingRight, UnexpectedReply, Unreachable
from reconcile.mapped import GROUP_OBJECT

WRITES: Final = {"PUT": "made", "POST": "changed"}
API: Final = "/api.xro/2.0"
PAGE_SIZE: Final = 1000
SMALLEST_PAGE: Final = 100  # what a server that ignores pageSize gives
MOST_PAGES: Final = 100_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Resource:
    """Where an object stands in the API, and how a list of it is asked for."""

    path: str
    key: str  # of the list in a reply
    id_field: str
    scope: str
    query: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    paged: bool = True
    inside: str = ""  # the list whose elements hold these, under `key`: no list of their own is given


SETTINGS_SCOPE: Final = "accounting.settings"
INVOICES_SCOPE: Final = "accounting.invoices"
PAYMENTS_SCOPE: Final = "accounting.payments"
RESOURCES: Final = {
    "Contact": Resource(
        "Contacts", "Contacts", "ContactID", "accounting.contacts", {"includeArchived": "true"}
    ),
    # unitdp: else prices are cut to two places. A bill's number is its supplier's: no key of ours is looked for there.
    "Invoice": Resource(
        "Invoices", "Invoices", "InvoiceID", INVOICES_SCOPE, {"unitdp": "4"}, where='Type=="ACCREC"'
    ),
    "Bill": Resource(
        "Invoices", "Invoices", "InvoiceID", INVOICES_SCOPE, {"unitdp": "4"}, where='Type=="ACCPAY"'
    ),
    "Payment": Resource("Payments", "Payments", "PaymentID", PAYMENTS_SCOPE),
    "CreditNote": Resource("CreditNotes", "CreditNotes", "CreditNoteID", INVOICES_SCOPE, {"unitdp": "4"}),
    "Overpayment": Resource("Overpayments", "Overpayments", "OverpaymentID", PAYMENTS_SCOPE, {"unitdp": "4"}),
    "Prepayment": Resource("Prepayments", "Prepayments", "PrepaymentID", PAYMENTS_SCOPE, {"unitdp": "4"}),
    "Item": Resource("Items", "Items", "ItemID", INVOICES_SCOPE, {"unitdp": "4"}, paged=False),
    "Account": Resource("Accounts", "Accounts", "AccountID", SETTINGS_SCOPE, paged=False),
    "TaxRate": Resource("TaxRates", "TaxRates", "TaxType", SETTINGS_SCOPE, paged=False),
    "Organisation": Resource("Organisation", "Organisations", "OrganisationID", SETTINGS_SCOPE, paged=False),
    "BrandingTheme": Resource(
        "BrandingThemes", "BrandingThemes", "BrandingThemeID", SETTINGS_SCOPE, paged=False
    ),
    "TrackingCategory": Resource(
        "TrackingCategories", "TrackingCategories", "TrackingCategoryID", SETTINGS_SCOPE, paged=False
    ),
    # An option is told with the TrackingCategoryID that it stands under: by itself it does not know it.
    "TrackingOption": Resource(
        "TrackingCategories",
        "Options",
        "TrackingOptionID",
        SETTINGS_SCOPE,
        paged=False,
        inside="TrackingCategories",
    ),
    "Currency": Resource("Currencies", "Currencies", "Code", SETTINGS_SCOPE, paged=False),
    # Its list names no contacts: who is in a group it tells by the group's id alone (spec 16.1.0, ContactGroup).
    GROUP_OBJECT: Resource(
        "ContactGroups", "ContactGroups", "ContactGroupID", "accounting.contacts", paged=False
    ),
}


class XeroClient:
    """One organisation of Xero."""

    def __init__(self, settings: Settings, tokens: Tokens, wire: Wire) -> None:
        self.settings, self.wire = settings.xero, wire
        self.auth = XeroAuth(settings, tokens, wire)
        self.tenant_id = self.settings.tenant_id
        self.app_name = ""  # as Xero's replies name this app; known once a History was read

    def organisation(self) -> dict[str, Any]:
        """Give the organisation's own record (Name, BaseCurrency, OrganisationID, ...)."""
        reply = self._get(f"{API}/Organisation")
        rows, _ = self._elements(reply, "Organisations")
        if len(rows) != 1:
            raise unexpected(SIDE, "Organisation", reply.content, "one organisation")
        return rows[0][0]

    def connections(self) -> list[dict[str, Any]]:
        """Give the tenants that this login may see."""
        reply = self._get("/connections", tenant=False)
        found = read_json(SIDE, "/connections", reply.content)
        if not isinstance(found, list):
            raise unexpected(SIDE, "/connections", reply.content, "a list of tenants")
        return [entry for entry in found if isinstance(entry, dict)]

    def page(
        self,
        object_name: str,
        *,
        number: int = 1,
        size: int = PAGE_SIZE,
        modified_since: datetime | None = None,
        where: str | None = None,
        ids: Sequence[str] = (),
        order: str | None = None,
    ) -> Page:
        """Give one page of an object (RESOURCES); one call.

        total is the pagination block's itemCount, null where there is no block. `last` is right under
        every way of paging that is known: with and without block, and where pageSize is ignored.
        A list without pages is one page.
        """
        kind = RESOURCES[object_name]
        query = dict(kind.query)
        query |= {"page": str(number), "pageSize": str(size)} if kind.paged else {}
        asked = " AND ".join(
            f"({one})" if kind.where and where else one for one in (kind.where, where) if one
        )
        query |= {"where": asked} if asked and not kind.inside else {}
        query |= {"IDs": ",".join(ids)} if ids else {}
        query |= {"order": order} if order else {}
        since = {"If-Modified-Since": _stamp(modified_since)} if modified_since else {}
        reply = self._get(f"{API}/{kind.path}", params=query, headers=since, what=f"{object_name}.listed")
        if reply.status_code == 304:
            return Page([], 0, self._clock(reply, {}, kind), last=True)
        rows, rest = self._elements(reply, kind.inside or kind.key)
        rows = _inner(rows, kind) if kind.inside else rows
        block = rest.get("pagination")
        block = block if isinstance(block, dict) else None
        total, last = _paging(block, number, len(rows), size)
        found = [_row(body, text, reply, kind) for body, text in rows]
        clock, pages = self._clock(reply, rest, kind), _count(block, "pageCount")
        return Page(found, total, clock, last or not kind.paged, pages)

    def pages(
        self,
        object_name: str,
        *,
        modified_since: datetime | None = None,
        where: str | None = None,
        ids: Sequence[str] = (),
        order: str | None = None,
        first: Page | None = None,
    ) -> Iterator[Page]:
        """Give page after page until nothing follows; `first` is page 1 where the caller has it already.

        Where the first says how many there are, the others are read several at once.
        Raises UnexpectedReply where the pages never end.
        """

        def fetch(number: int) -> Page:
            return self.page(
                object_name, number=number, modified_since=modified_since, where=where, ids=ids, order=order
            )

        seen: set[str] = set()
        with closing(self._numbered(fetch, first or fetch(1))) as numbered:
            for page in numbered:
                yield page
                found = {row.record_id for row in page.rows}
                # A server that ignores `page` gives the same rows for ever.
                if page.last or found <= seen:
                    return
                seen |= found
        raise UnexpectedReply(
            side=SIDE,
            at=RESOURCES[object_name].path,
            found=f"{MOST_PAGES} pages and no end",
            expected="a last page",
        )

    def _numbered(self, fetch: Callable[[int], Page], first: Page) -> Generator[Page, None, None]:
        yield first
        known = min(first.pages or 1, MOST_PAGES)
        yield from in_order(fetch, range(2, known + 1), at_once=self.wire.governor.concurrent)
        yield from (fetch(number) for number in range(known + 1, MOST_PAGES))

    def one(self, object_name: str, record_id: str) -> Row | None:
        """Give one record, also one that no list shows; null where there is none. One call."""
        return self._one(object_name, record_id)[0]

    def memberships(self, record_ids: Iterable[str]) -> Iterator[Page]:
        """Say of contacts, each by "group/contact", whether they are in the group now; one call a group.

        A body holds ContactGroupID, ContactID and Member; that is null where the group is not there any more.
        """
        asked: dict[str, list[str]] = {}
        for record_id in sorted(set(record_ids)):
            group_id, _, contact_id = record_id.partition("/")
            asked.setdefault(group_id, []).append(contact_id)
        for group_id, contacts in asked.items():
            found, clock = self._one(GROUP_OBJECT, group_id)
            told = found.body.get("Contacts") if found else None
            inside = {str(one.get("ContactID")).lower() for one in told or ()}
            rows = [
                {
                    "ContactGroupID": group_id,
                    "ContactID": contact_id,
                    "Member": contact_id in inside if told is not None else None,
                }
                for contact_id in contacts
            ]
            page = [Row(f"{group_id}/{row['ContactID']}", row, dumps(row)) for row in rows]
            yield Page(page, None, clock, last=True)

    def _one(self, object_name: str, record_id: str) -> tuple[Row | None, datetime]:
        """Give one record, null where there is none, and Xero's own clock."""
        kind = RESOURCES[object_name]
        reply = self._authorised("GET", f"{self.settings.api_url}{API}/{kind.path}/{record_id}")
        if reply.status_code == 404:
            return None, self._clock(reply, {}, kind)
        if reply.status_code != 200:
            raise unexpected(
                SIDE, f"{kind.path}/{{{kind.id_field}}}", reply.content, "the record, or HTTP 404"
            )
        rows, rest = self._elements(reply, kind.key)
        return _row(*rows[0], reply, kind) if rows else None, self._clock(reply, rest, kind)

    def history(self, object_name: str, record_id: str) -> list[dict[str, Any]]:
        """Give who did what to a record and when, as Xero tells it (Changes, DateUTC, User, Details)."""
        path = f"{API}/{RESOURCES[object_name].path}/{record_id}/History"
        reply = self._get(path, what=f"{object_name}.history")
        rows, rest = self._elements(reply, "HistoryRecords")
        self.app_name = str(rest.get("ProviderName") or self.app_name)
        return [body for body, _ in rows]

    def send(
        self, method: str, path: str, body: bytes, *, idempotency_key: str | None = None, query: str = ""
    ) -> Reply:
        """Send exactly these bytes, and give the answer for the writer to judge.

        Raises ReadOnly, RateLimited, NotConnected, OutcomeUnknown, LoginRefused, MissingRight.
        """
        headers = {"Content-Type": "application/json"}
        headers |= {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        url = self.settings.api_url + path + (f"?{query}" if query else "")
        what = f"{_object_at(path)}.{WRITES.get(method, method)}"
        reply = self._authorised(method, url, headers=headers, content=body, write=True, what=what)
        return Reply(reply.status_code, reply.headers, reply.content, SIDE)

    def _get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        tenant: bool = True,
        what: str | None = None,
    ) -> httpx.Response:
        url = self.settings.api_url + path
        reply = self._authorised("GET", url, params=params, headers=headers, tenant=tenant, what=what)
        if reply.status_code in (200, 304):
            return reply
        if reply.status_code >= 500:
            raise Unreachable(side=SIDE, at=path, found=f"HTTP {reply.status_code} after several tries")
        raise UnexpectedReply(side=SIDE, at=path, found=_error(reply), expected="HTTP 200")

    def _authorised(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        tenant: bool = True,
        write: bool = False,
        what: str | None = None,
    ) -> httpx.Response:
        """Send with a token; renew it once where the API refuses it (a 401 was not executed). what: see Wire.met."""
        rejected = None
        for _ in range(2):
            token = self.auth.access_token(rejected=rejected)
            own = {"Authorization": f"Bearer {token}"}
            own |= {"xero-tenant-id": self.tenant_id} if tenant and self.tenant_id else {}
            request = httpx.Request(
                method,
                url,
                params=dict(params) if params else None,
                headers={**(headers or {}), **own, "Accept": "application/json"},
                content=content,
                extensions={WHAT: what},
            )
            reply = self.wire.send(request, write=write)
            if reply.status_code == 403:
                raise self._forbidden(reply)
            if reply.status_code != 401:
                self.auth.worked()
                return reply
            if _lacks_scope(reply):
                raise self._lacks_scope(httpx.URL(url).path, write=write)
            rejected = token
        raise LoginRefused(
            side=SIDE,
            at=self.settings.api_url,
            found="a token that was granted just now is not accepted",
            next_step="The connection may be revoked: connect the app to the organisation again.",
        )

    def _lacks_scope(self, path: str, *, write: bool) -> MissingRight:
        name = path.removeprefix(f"{API}/").partition("/")[0]
        scope = next((one.scope for one in RESOURCES.values() if one.path == name), SETTINGS_SCOPE)
        needed = scope if write else f"{scope}.read"
        return MissingRight(
            side=SIDE,
            found=f"the login lacks a scope for {path}",
            next_step=f"Give the app the scope {needed}, name it in xero.scopes, and connect it again.",
        )

    def _forbidden(self, reply: httpx.Response) -> MissingRight:
        return MissingRight(
            side=SIDE,
            found="the organisation refuses this login (HTTP 403)",
            next_step="Check xero.tenant_id, and that the organisation is still connected to the app.",
        )

    def _elements(
        self, reply: httpx.Response, key: str
    ) -> tuple[list[tuple[dict[str, Any], str]], dict[str, Any]]:
        try:
            rows, rest = exact.parse_envelope(decode(SIDE, key, reply.content), key)
        except ValueError:
            raise unexpected(SIDE, key, reply.content) from None
        if rows is None:
            raise unexpected(SIDE, key, reply.content, f"a list of {key}")
        return rows, rest

    def _clock(self, reply: httpx.Response, rest: Mapping[str, Any], kind: Resource) -> datetime:
        """Give Xero's own clock: the envelope's, else the Date header's."""
        told = parse_date(rest.get("DateTimeUTC")) or server_time(reply)
        if told is None:
            raise UnexpectedReply(
                side=SIDE,
                at=kind.path,
                found="neither DateTimeUTC nor a Date header",
                expected="Xero's own time",
            )
        return told


def parse_date(value: object) -> datetime | None:
    """Give the instant of Xero's /Date(ms+0000)/ or ISO text, aware UTC; null for anything else.

    The offset in /Date()/ is only how it is shown: the milliseconds are UTC already.
    """
    if not isinstance(value, str):
        return None
    match = re.fullmatch(r"/Date\((-?\d{1,17})([+-]\d{4})?\)/", value, re.ASCII)
    try:
        if match:
            return EPOCH + timedelta(milliseconds=int(match[1]))
        if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", value, re.ASCII):
            return None
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def quoted(value: str) -> str:
    """Give the value as a string of Xero's where-grammar. Raises ValueError for what it can't carry."""
    if re.search(r'["\\\x00-\x1f]', value):
        raise ValueError("a value with a quote, a backslash or a control character can't be asked for")
    return f'"{value}"'


def _object_at(path: str) -> str:
    """Give the object that is written at a path."""
    name = path.removeprefix(f"{API}/").partition("/")
    inside = [one for one, kind in RESOURCES.items() if kind.inside == name[0] and name[2]]
    return next(iter([*inside, *(one for one, kind in RESOURCES.items() if kind.path == name[0])]), name[0])


def _stamp(moment: datetime) -> str:
    """Give UTC with whole seconds, rounded down: If-Modified-Since knows no fraction."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _row(body: dict[str, Any], text: str, reply: httpx.Response, kind: Resource) -> Row:
    record_id = body.get(kind.id_field)
    if not isinstance(record_id, str) or not record_id:
        raise unexpected(SIDE, kind.path, reply.content, f"a {kind.id_field} in each element")
    # A tax type is a code of its own spelling; all other ids are GUIDs.
    return Row(record_id if kind.id_field == "TaxType" else record_id.lower(), body, text)


def _inner(rows: list[tuple[dict[str, Any], str]], kind: Resource) -> list[tuple[dict[str, Any], str]]:
    """Give what the elements of a list hold, each with the id of its element. Categories hold options."""
    own = RESOURCES["TrackingCategory"].id_field
    found = [
        {**inner, own: str(body.get(own)).lower()} for body, _ in rows for inner in body.get(kind.key) or ()
    ]
    return [(body, dumps(body)) for body in found]


def _paging(block: Mapping[str, Any] | None, page: int, rows: int, page_size: int) -> tuple[int | None, bool]:
    """Give (total, last). Without a block only a short page ends the list, as short as the smallest page."""
    if rows == 0:
        return (_count(block, "itemCount"), True)
    pages = _count(block, "pageCount")
    if pages is not None:
        return _count(block, "itemCount"), page >= pages
    return _count(block, "itemCount"), rows < min(SMALLEST_PAGE, page_size)


def _count(block: Mapping[str, Any] | None, name: str) -> int | None:
    value = (block or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _lacks_scope(reply: httpx.Response) -> bool:
    """Tell a missing scope from a token that is no longer good; both are 401."""
    header = reply.headers.get("WWW-Authenticate", "").lower()
    return "insuffici" in header or "insufficent" in header or b"AuthorizationUnsuccessful" in reply.content


def _error(reply: httpx.Response) -> str:
    """Name a refusal without its message, which may quote a record."""
    try:
        body = reply.json()
    except ValueError:
        return f"HTTP {reply.status_code}"
    kind = body.get("Type") if isinstance(body, dict) else None
    known = isinstance(kind, str) and re.fullmatch(r"[A-Za-z]{1,60}", kind)
    return f"HTTP {reply.status_code}" + (f" ({kind})" if known else "")

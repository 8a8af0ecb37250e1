"""Opens both sides' clients, and says which pair they lead to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Self

import httpx

from pipelines.governor import Breaker, Governor, read_salesforce, read_xero, utc_now
from pipelines.salesforce.client import ASKS_AT, SalesforceClient, full_id
from pipelines.settings import Settings
from pipelines.shared import Shared, in_folder, state_folder
from pipelines.tokens import Tokens, fingerprint
from pipelines.wire import Wire
from pipelines.xero.client import XeroClient
from reconcile.errors import UnexpectedReply

SIDES: Final = ("salesforce", "xero")
SALESFORCE_CONCURRENT: Final = 5  # its own limit is 25 calls that last longer than 20 s


@dataclass(frozen=True)
class Identity:
    """Which organisation, tenant and currency the pair really is; pinned by enable-writes."""

    salesforce_org_id: str
    is_sandbox: bool
    salesforce_instance: str
    salesforce_user_id: str
    xero_tenant_id: str
    xero_organisation: str
    base_currency: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Clients:
    """Both clients and their wires."""

    def __init__(self, salesforce: SalesforceClient, xero: XeroClient) -> None:
        self.salesforce, self.xero = salesforce, xero
        self._wires = {"salesforce": salesforce.wire, "xero": xero.wire}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def calls(self) -> dict[str, int]:
        """Calls sent so far, by side; logins and repeats count."""
        return {side: wire.calls for side, wire in self._wires.items()}

    def day_left(self) -> dict[str, int]:
        """Calls that are left for today, of each side that has told."""
        left = {side: wire.governor.day_left for side, wire in self._wires.items()}
        return {side: calls for side, calls in left.items() if calls is not None}

    def traffic(self) -> dict[str, dict[str, int]]:
        """Bytes of bodies so far: side -> sent, received, as they came over the line (Xero bills the latter)."""
        return {
            side: {"sent": wire.bytes_out, "received": wire.bytes_in} for side, wire in self._wires.items()
        }

    def met(self) -> dict[str, tuple[int, int]]:
        """Calls, and bytes that came, of what Xero was asked so far: "xero.Contact.made" (changed, listed, history)."""
        return {f"xero.{what}": told for what, told in self.xero.wire.met.items()}

    @contextmanager
    def writing(
        self, lease: Callable[[], None], last_moment: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Let writes leave while this lasts; `lease` is called before each, and raises when it is lost.

        last_moment: called just before the first byte of a write (see Wire.writing).
        """
        with ExitStack() as stack:
            for wire in self._wires.values():
                stack.enter_context(wire.writing(lease, last_moment))
            yield

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()


def open_clients(
    settings: Settings,
    tokens: Tokens,
    *,
    governors: Mapping[str, Governor] | None = None,
    shared: Mapping[str, Shared] | None = None,
    transports: Mapping[str, httpx.BaseTransport] | None = None,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Clients:
    """Make both clients; nothing is called yet.

    shared: by side, what its limits are shared through; null: the files of the connection, for all processes
    of this machine. transports: by side, what takes the place of sockets.
    """
    governors = governors or {
        side: govern(
            settings,
            side,
            shared=shared[side] if shared else share(settings, side),
            now=now,
            sleep=sleep,
            monotonic=monotonic,
        )
        for side in SIDES
    }
    roots = {
        "salesforce": [settings.salesforce.login_url],
        "xero": [settings.xero.api_url, settings.xero.identity_url],
    }
    wires = {
        side: Wire(
            side,
            roots[side],
            governors[side],
            timeout_s=settings.limits.timeout_s,
            pair=settings.pair.name,
            asks_at=ASKS_AT if side == "salesforce" else None,
            **_instead_of_sockets(transports, side),
        )
        for side in SIDES
    }
    return Clients(
        SalesforceClient(settings, tokens, wires["salesforce"]), XeroClient(settings, tokens, wires["xero"])
    )


def _instead_of_sockets(transports: Mapping[str, httpx.BaseTransport] | None, side: str) -> dict[str, Any]:
    return {"transport": transports[side]} if transports else {}


def govern(
    settings: Settings,
    side: str,
    *,
    shared: Shared,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Governor:
    """Make the governor of one side, with that side's limits."""
    limits, xero = settings.limits, side == "xero"
    return Governor(
        side,
        read_xero if xero else read_salesforce,
        calls_a_minute=limits.xero_calls_a_minute if xero else None,
        app_calls_a_minute=limits.xero_app_calls_a_minute if xero else None,
        concurrent=limits.xero_concurrent if xero else SALESFORCE_CONCURRENT,
        day_reserve=limits.xero_day_reserve if xero else limits.salesforce_day_reserve,
        retries=limits.retries,
        breaker=Breaker(limits.breaker_failures, limits.breaker_share, limits.breaker_pause_s),
        shared=shared,
        now=now,
        sleep=sleep,
        monotonic=monotonic,
    )


def share(settings: Settings, side: str) -> Shared:
    """Give what the processes of this machine share that use the same connection; of whichever pair.

    A connection is an address, an app, and the tenant (Xero) or the user (Salesforce); the limit of an app
    holds for all its tenants. Raises FixSettings where the folder can't be used.
    """
    root = settings.limits.shared_dir or state_folder()
    if side == "xero":
        xero = settings.xero
        app = fingerprint(xero.api_url, xero.client_id)
        return in_folder(root / f"xero-{fingerprint(app, xero.tenant_id.lower())}", root / f"xero-app-{app}")
    salesforce = settings.salesforce
    named = fingerprint(salesforce.login_url, salesforce.client_id, salesforce.username)
    return in_folder(root / f"salesforce-{named}")


def identify(clients: Clients) -> Identity:
    """Ask both systems who they are; three calls at most, logins apart.

    Raises UnexpectedReply where they don't say, and as the clients do.
    """
    org = clients.salesforce.org()
    organisation = clients.xero.organisation()
    tenant_id = clients.xero.tenant_id or str(organisation.get("OrganisationID") or "")
    identity = Identity(
        salesforce_org_id=full_id(str(org.get("Id") or "")),
        is_sandbox=bool(org.get("IsSandbox")),
        salesforce_instance=str(org.get("InstanceName") or ""),
        salesforce_user_id=clients.salesforce.user_id(),
        xero_tenant_id=tenant_id,
        xero_organisation=str(organisation.get("Name") or ""),
        base_currency=str(organisation.get("BaseCurrency") or ""),
    )
    for name in ("salesforce_org_id", "xero_tenant_id", "base_currency"):
        if not getattr(identity, name):
            side = "salesforce" if name.startswith("salesforce") else "xero"
            raise UnexpectedReply(
                side=side, at="the organisation's record", found=f"no {name}", expected="one"
            )
    return identity

"""Opens both sides' clients, and says which pair they lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipelines.governor import Governor, read_salesforce, read_xero
from pipelines.salesforce.client import SalesforceClient, full_id
from pipelines.settings import Settings
from pipelines.tokens import Tokens
from pipelines.wire import Wire
from pipelines.xero.client import XeroClient
from reconcile.errors import UnexpectedReply


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

    def bytes(self) -> dict[str, int]:
        """Bytes received so far, by side, as they came over the line (Xero bills egress)."""
        return {side: wire.bytes_in for side, wire in self._wires.items()}

    @contextmanager
    def writing(self, lease: Callable[[], None]) -> Iterator[None]:
        """Let writes leave while this lasts; `lease` is called before each, and raises when it is lost."""
        with ExitStack() as stack:
            for wire in self._wires.values():
                stack.enter_context(wire.writing(lease))
            yield

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()


def open_clients(
    settings: Settings, tokens: Tokens, *, governors: Mapping[str, Governor] | None = None
) -> Clients:
    """Make both clients; nothing is called yet."""
    limits = settings.limits
    governors = governors or {
        "salesforce": Governor(
            "salesforce",
            read_salesforce,
            calls_a_minute=None,
            concurrent=5,
            day_reserve=limits.salesforce_day_reserve,
            retries=limits.retries,
        ),
        "xero": Governor(
            "xero",
            read_xero,
            calls_a_minute=limits.xero_calls_a_minute,
            concurrent=limits.xero_concurrent,
            day_reserve=limits.xero_day_reserve,
            retries=limits.retries,
        ),
    }
    roots = {
        "salesforce": [settings.salesforce.login_url],
        "xero": [settings.xero.api_url, settings.xero.identity_url],
    }
    wires = {
        side: Wire(side, urls, governors[side], timeout_s=limits.timeout_s, pair=settings.pair.name)
        for side, urls in roots.items()
    }
    return Clients(
        SalesforceClient(settings, tokens, wires["salesforce"]), XeroClient(settings, tokens, wires["xero"])
    )


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

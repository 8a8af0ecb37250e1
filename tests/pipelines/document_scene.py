"""A pair with invoices on: opportunities, their invoice operations as the plan would make them, and people at work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import push_scene
from peers import Peer, account, contact, settings_for
from push_scene import PLAN, Scene, contact_id, frame, operation, told

from mappings import library
from pipelines.audit import LONG_AGO, Audited, audit
from pipelines.delivery import Delivery
from pipelines.looks import Looks
from pipelines.push import push
from pipelines.settings import Push
from reconcile.mapping import Mapping, load_mapping

LINK = ("ID", "Number", "Status", "Url")
URL = "https://go.xero.com/AccountsReceivable/View.aspx?InvoiceID="


def mapping_with(number: str = "{kind: derived, prefix: SF-}") -> Mapping:
    text = f"extends: [default]\ndocuments:\n  invoice:\n    cut_over: 2026-01-01\n    number: {number}\n"
    return load_mapping(text, name="documents.yaml", library=library())


DERIVED = mapping_with()
BY_REFERENCE = mapping_with("{kind: xero, prefix: SF-}")


def opportunity_id(number: int) -> str:
    return f"006{number:012d}AAA"


def opportunity(number: int, **fields: Any) -> dict[str, Any]:
    base = {
        "attributes": {"type": "Opportunity"},
        "Id": opportunity_id(number),
        "Name": f"Deal {number}",
        "StageName": "Closed Won",
        "CloseDate": "2026-11-20",
        "AccountId": push_scene.account_id(1),
        "Amount": 100,
    }
    return base | fields


def invoice_of(
    number: int, *, by: str = "InvoiceNumber", price: str = "100.00", **after: Any
) -> list[dict[str, Any]]:
    """The two operations that make an opportunity's invoice and show it there."""
    key = f"SF-{opportunity_id(number).upper()}"
    line = f'{{"Description":"Work","Quantity":1,"UnitAmount":{price},"AccountCode":"200"}}'
    body = (
        f'{{"Type":"ACCREC","Contact":{{"ContactID":"{contact_id(1)}"}},"Date":"2026-11-20","DueDate":"2026-12-20",'
        f'"LineAmountTypes":"Exclusive","{by}":"{key}","Status":"DRAFT","LineItems":[{line}]}}'
    )
    planned = {"currency": "GBP", "subtotal": price, "total": None, **after}
    made = operation(
        system="xero",
        entity="document",
        object="Invoice",
        source_id=opportunity_id(number),
        action="create",
        phase="create",
        unit="record",
        after=json.dumps(planned),
        native_after=body,
    )
    fields = {f"Xero_Invoice_{name}__c": None for name in LINK}
    made_id = {"$from": made["operation_id"]}
    shown = operation(
        system="salesforce",
        entity="document",
        object="Opportunity",
        record_id=opportunity_id(number),
        action="link",
        phase="create",
        unit="reference",
        depends_on=made["operation_id"],
        native_before=json.dumps(fields),
        native_after=json.dumps(
            {
                "Xero_Invoice_ID__c": made_id,
                "Xero_Invoice_Number__c": {**made_id, "field": "InvoiceNumber"},
                "Xero_Invoice_Status__c": {**made_id, "field": "Status"},
                "Xero_Invoice_Url__c": {**made_id, "prefix": URL},
            }
        ),
    )
    return [made, shown]


@dataclass
class DocumentScene(Scene):
    """A scene whose mapping makes invoices."""

    mapping: Mapping = DERIVED
    how: Push = field(default_factory=Push)

    def push(self, operations: Iterable[dict[str, Any]], **options: Any) -> dict[str, tuple[str, str | None]]:
        seen = datetime.now(UTC) - timedelta(seconds=1)
        with (
            self.journal() as journal,
            self.peer.clients() as clients,
            journal.lease("pair", "test", 60) as lease,
        ):
            rows = push(
                frame(operations),
                journal=journal,
                lease=lease,
                clients=clients,
                mapping=self.mapping,
                settings_limits=self.limits,
                settings_push=self.how,
                overlap_s=self.overlap_s,
                **{"plan_hash": PLAN, "seen_at": {"salesforce": seen, "xero": seen}, **options},
            )
        return told(rows)

    def audit(self, **options: Any) -> Audited:
        with self.journal() as journal, self.peer.clients() as clients:
            return audit(journal, clients, self.mapping, **{"since": LONG_AGO, **options})

    def invoices(self) -> list[dict[str, Any]]:
        return self.records("xero", "invoice")

    def opportunities(self) -> dict[str, dict[str, Any]]:
        return {row["Id"]: row for row in self.records("salesforce", "Opportunity")}

    def person(self, what: str, fields: dict[str, Any], **more: Any) -> None:
        """Somebody works on Xero's web pages."""
        self.peer.control("xero", "POST", what, {**fields, **more})


def findings(audited: Audited) -> list[tuple[str, bool, str]]:
    return [(row["finding"], row["incident"], row["record_id"]) for row in audited.findings.to_dicts()]


def between_look_and_write(monkeypatch: Any, act: Callable[[], None], *, side: str = "xero") -> None:
    """Let somebody act once, just when a request to a side is about to be made of what was looked at."""
    deliver, timed, left = Delivery.deliver, Looks.timed, [1]

    def acted(self: Delivery, request: Any, **look: Any) -> Any:
        request = replace(request, intents=tuple(self.looks.timed(one) for one in request.intents))
        if left[0] and request.system == side:
            left[0] -= 1
            act()
            monkeypatch.setattr(Looks, "timed", lambda _, intent: intent)  # it was looked at before
        try:
            return deliver(self, request, **look)
        finally:
            monkeypatch.setattr(Looks, "timed", timed)

    monkeypatch.setattr(Delivery, "deliver", acted)


SCOPES = "accounting.contacts accounting.invoices accounting.settings.read"


@contextmanager
def opened(line: dict[str, Any], folder: Path) -> Iterator[DocumentScene]:
    """Empty both servers, and give one company with four won deals on them."""
    peer = Peer(line, folder, settings_for(line, folder, xero={"scopes": SCOPES}))
    for side in ("xero", "salesforce"):
        peer.control(side, "POST", "reset", {"seed": False})
        peer.control(side, "DELETE", "faults")
        peer.control(side, "DELETE", "dialect")
    peer.load("salesforce", [account(1), account(2), *(opportunity(n) for n in range(1, 5))])
    peer.load("xero", [contact(1), contact(2)])
    made = DocumentScene(peer, folder)
    made.know(1, 2)
    yield made

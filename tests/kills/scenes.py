"""Where the runs that are killed begin: the demo's pair, and a sealed plan that nobody has applied yet.

adoption    the first plan of two books that never met: links, fills, new records on both sides
changes     two adopted books, edited by people on both sides: units, new customers and persons
invoices    won opportunities: invoices and their links back, a contact made because one needs it
references  the same with numbers given by Xero: what is looked for is then a text, which nothing keeps unique
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.demo import write_settings
from pipelines import runs
from pipelines.clients import identify
from tests.whole.whole_pair import SIDES, Pair

NAMES = ("adoption", "changes", "invoices", "references")

# The sandbox is done with a request some milliseconds after its client died, so what is waited for is not
# its time but the rule: 2 s here run through the same code as 90 s. No clock is moved, ours or theirs.
LATE_APPLICATION_S = 2.0
# A holder that is killed is seen to be dead at once; this is for the one that is stopped (SIGSTOP).
LEASE_S = 4.0

MAPPING = {
    "adoption": "extends: [demo]\ndocuments: {invoice: {cut_over: null}}\n",
    "changes": "extends: [demo]\ndocuments: {invoice: {cut_over: null}}\n",
    # Larkfield is no contact in Xero, and becomes one because its invoice needs it.
    "invoices": "extends: [demo]\nentities: {party: {create: {xero: on_demand}}}\n",
    "references": "extends: [demo]\nentities: {party: {create: {xero: on_demand}}}\n"
    "documents: {invoice: {number: {kind: xero, prefix: SF-}}}\n",
}


def prepare(name: str, folder: Path, line: dict[str, Any]) -> None:
    """Bring the pair in the folder to a sealed plan; its systems must be up, as the seed `demo` makes them."""
    settings = write_settings(folder, line, limits="off")
    pair = Pair(folder, line, settings, checked=True)  # the caller decides on checks
    pair.set("limits", late_application_s=LATE_APPLICATION_S, lease_s=LEASE_S, timeout_s=20.0)
    (folder / "mapping.yaml").write_text(MAPPING[name])
    pair.enable_writes()
    PREPARE[name](pair)
    planned = pair.plan()
    assert planned.waits and not planned.errors


def _adoption(_: Pair) -> None:
    return


def _changes(pair: Pair) -> None:
    pair.adopt()
    linked = pair.linked()
    assert len(linked) >= 12
    for place, (account, contact) in enumerate(linked[:6]):
        number = f"+44 20 7946 05{place:02d}"
        pair.in_salesforce.change(account["Id"], Phone=number, AccountNumber=f"AN-{place:03d}")
        if place % 2:
            pair.in_xero.change(contact["ContactID"], EmailAddress=f"bills{place}@example.com")
    for place, (_, contact) in enumerate(linked[6:12]):
        pair.in_xero.change(
            contact["ContactID"],
            Phones=[{"PhoneType": "FAX", "PhoneNumber": f"020 7946 06{place:02d}"}],
            TaxNumber=f"GB{place:09d}",
        )
    for place in range(2):
        made = pair.in_salesforce.make("Account", Name=f"Quayside Foods {place}", Type="Customer - Direct")
        pair.in_salesforce.make("Contact", LastName=f"Quay{place}", FirstName="Ann", AccountId=made)
        met = pair.in_xero.make(Name=f"Harbour Tools {place}", FirstName="Bo", LastName=f"Harbour{place}",
                                EmailAddress=f"bo{place}@harbour.example")  # fmt: skip
        _sell(pair, met)


def _sell(pair: Pair, contact_id: str) -> None:
    """Somebody makes an invoice by hand: the contact is a customer from then on."""
    xero = pair.line["xero"]
    login = {name: xero["person"][name] for name in ("client_id", "client_secret")}
    form = {"grant_type": "client_credentials", "scope": "accounting.invoices", **login}
    token = pair.in_xero.http.post("/connect/token", data=form).json()["access_token"]
    line = {"Description": "Tools", "Quantity": 1, "UnitAmount": 10, "AccountCode": "200"}
    bill = {"Type": "ACCREC", "Contact": {"ContactID": contact_id}, "Date": "2026-11-20",
            "DueDate": "2026-12-20", "Status": "AUTHORISED", "LineItems": [line]}  # fmt: skip
    reply = pair.in_xero.http.put(
        "/api.xro/2.0/Invoices", json={"Invoices": [bill]}, headers={"Authorization": f"Bearer {token}"}
    )
    assert reply.status_code == 200, reply.text


def _invoices(pair: Pair) -> None:
    """Customers first, without invoices; then the sale is closed, and invoices are wanted."""
    mapping = pair.folder / "mapping.yaml"
    wanted = mapping.read_text()
    kept = re.sub(r"^documents:.*\n", "", wanted, flags=re.M)
    mapping.write_text(kept + "documents: {invoice: {cut_over: null}}\n")
    pair.adopt()
    mapping.write_text(wanted)
    deals = [row for row in pair.dump("salesforce").values() if row["attributes"]["type"] == "Opportunity"]
    (rigs,) = [row for row in deals if row["Name"].endswith("three rigs")]
    reply = pair.in_salesforce.http.patch(
        f"/services/data/v67.0/sobjects/Opportunity/{rigs['Id']}",
        json={"StageName": "Closed Won", "CloseDate": "2026-11-24"},
    )
    assert reply.status_code == 204, reply.text


PREPARE: dict[str, Callable[[Pair], None]] = {
    "adoption": _adoption,
    "changes": _changes,
    "invoices": _invoices,
    "references": _invoices,
}


def lead(folder: Path, line: dict[str, Any]) -> None:
    """Make the pair in the folder lead to where its systems are now, and log in there."""
    settings = folder / "demo.toml"
    text = settings.read_text()
    for side in SIDES:
        for name, value in line[side].items():
            if isinstance(value, str):
                pattern = rf'(\[{side}\][^\[]*?^{name} = )"[^"\n]*"'
                text = re.sub(pattern, lambda m, v=value: f'{m[1]}"{v}"', text, flags=re.M | re.S)
    settings.write_text(text)
    with runs.open_context(settings, progress=lambda _: None) as ctx:
        for side in SIDES:
            ctx.journal.tokens.forget(side)
        identify(ctx.clients)

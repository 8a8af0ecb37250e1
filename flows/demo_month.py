"""A month of business in the demo's two systems: people act on both sides, and the product follows them.

They work by plain HTTP, as clients of their own who know nothing of us.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from reconcile.mapped import SHOWN_FIELDS

if TYPE_CHECKING:
    from pipelines.runs import Context, Planned

API: Final = "/services/data/v67.0"
DEPOSITS: Final = {
    "name": "Deposit__c", "label": "Deposit", "plural": "Deposits",
    "fields": [
        {"name": "Opportunity__c", "type": "reference", "reference": "Opportunity"},
        {"name": "Amount__c", "type": "currency", "precision": 18, "scale": 2},
        {"name": "Taken_On__c", "type": "date"},
        {"name": "Xero_Payment_ID__c", "type": "string", "length": 36},
        {"name": "Xero_Payment_Status__c", "type": "string", "length": 20},
    ],
}  # fmt: skip
MAPPING: Final = """\
# The demo's month: invoices follow their deals and orders, what settles them is shown, and deposits are recorded.
extends: [demo, deals_and_orders]
documents:
  invoice:
    changes: move
    withdraw: void
    credits: draft
    settled: shown
    payments:
      object: Deposit__c
      source: Opportunity__c
      amount: Amount__c
      date: Taken_On__c
      cut_over: 2026-11-01
      account: "090"
      prefix: SF-
      link: {id: Xero_Payment_ID__c, status: Xero_Payment_Status__c}
"""
SCOPES: Final = "accounting.contacts accounting.settings.read accounting.invoices accounting.payments"
# Whose names say what they hold; all else is an amount.
KINDS: Final = {"Currency__c": "string", "Balances__c": "textarea", "Date__c": "date", "On__c": "date"}
Body = dict[str, Any]


@dataclass
class People:
    """A person in Salesforce and one in Xero. line: what the sandbox said when it started."""

    line: Body
    salesforce: httpx.Client = field(init=False)
    xero: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        forms = {
            side: {
                "grant_type": "client_credentials",
                **{name: self.line[side]["person"][name] for name in ("client_id", "client_secret")},
            }
            for side in ("salesforce", "xero")
        }
        self.salesforce = httpx.Client(base_url=self.line["salesforce"]["login_url"], timeout=20)
        self.xero = httpx.Client(base_url=self.line["xero"]["api_url"], timeout=20)
        for client, side, page in (
            (self.salesforce, "salesforce", "/services/oauth2/token"),
            (self.xero, "xero", "/connect/token"),
        ):
            token = client.post(page, data=forms[side]).raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
        self.xero.headers["xero-tenant-id"] = self.line["xero"]["tenant_id"]

    def close(self) -> None:
        self.salesforce.close()
        self.xero.close()

    # -- Salesforce

    def find(self, query: str) -> list[Body]:
        reply = self.salesforce.get(f"{API}/query", params={"q": query}).raise_for_status()
        return reply.json(parse_float=Decimal)["records"]

    def one(self, kind: str, condition: str) -> Body:
        (found,) = self.find(f"select Id from {kind} where {condition}")  # noqa: S608 (SOQL, our own names)
        return found

    def edit(self, record: Body, **fields: Any) -> None:
        kind = record["attributes"]["type"]
        self.salesforce.patch(f"{API}/sobjects/{kind}/{record['Id']}", json=fields).raise_for_status()

    def make(self, kind: str, **fields: Any) -> str:
        """Give the Id of the new record."""
        reply = self.salesforce.post(f"{API}/sobjects/{kind}", json=fields).raise_for_status()
        return str(reply.json()["id"])

    def sell_abroad(self, account: str, name: str, currency: str, product: str, price: int) -> None:
        """A deal in another currency, won at once: its product first gets a price in that currency."""
        customer = self.one("Account", f"Name = '{account}'")
        kit = self.one("Product2", f"ProductCode = '{product}'")
        book = self.one("Pricebook2", "IsStandard = true")
        entry = self.make(
            "PricebookEntry",
            Pricebook2Id=book["Id"], Product2Id=kit["Id"], CurrencyIsoCode=currency, UnitPrice=price, IsActive=True,
        )  # fmt: skip
        self.make(
            "Opportunity",
            Name=name, AccountId=customer["Id"], CurrencyIsoCode=currency, Pricebook2Id=book["Id"],
            StageName="Negotiation/Review", CloseDate="2026-11-26",
        )  # fmt: skip
        deal = self.one("Opportunity", f"Name = '{name}'")
        self.make(
            "OpportunityLineItem",
            OpportunityId=deal["Id"], PricebookEntryId=entry, Quantity=2, UnitPrice=price,
        )  # fmt: skip
        self.edit(deal, StageName="Closed Won")

    def order(self, account: str, product: str, quantity: int) -> None:
        """An order of a customer who buys again, at the list's price, activated at once."""
        customer = self.one("Account", f"Name = '{account}'")
        book = self.one("Pricebook2", "IsStandard = true")
        (entry,) = self.find(
            "select Id, UnitPrice from PricebookEntry where CurrencyIsoCode = 'GBP' "  # noqa: S608 (SOQL, our own names)
            f"and Product2.ProductCode = '{product}' and Pricebook2Id = '{book['Id']}'"
        )
        order = self.make(
            "Order",
            AccountId=customer["Id"], EffectiveDate="2026-11-26", Status="Draft", Pricebook2Id=book["Id"],
        )  # fmt: skip
        self.make(
            "OrderItem",
            OrderId=order, PricebookEntryId=entry["Id"], Quantity=quantity, UnitPrice=float(entry["UnitPrice"]),
        )  # fmt: skip
        self.edit(self.one("Order", f"Id = '{order}'"), Status="Activated")

    def set_up(self) -> None:
        """An administrator deploys what Salesforce is to show, and the object in which deposits are noted.

        From now on both sides know more than one currency.
        """
        self.salesforce.post("/sandbox/dialect", json={"multi_currency": True}).raise_for_status()
        self.call("PUT", "Currencies", {"Code": "EUR", "Description": "Euro"})
        for wanted in ({"preset": "xero"}, DEPOSITS):
            self.salesforce.post("/sandbox/objects", json=wanted).raise_for_status()
        for kind in ("Account", "Opportunity", "Order"):
            for name in SHOWN_FIELDS[kind]:
                self.salesforce.post(
                    "/sandbox/fields", json={"object": kind, "add": _field(name)}
                ).raise_for_status()

    # -- Xero

    def call(self, method: str, path: str, body: Body | None = None) -> Body:
        """Give the one record of a reply."""
        reply = self.xero.request(method, f"/api.xro/2.0/{path}", json=body).raise_for_status()
        return reply.json(parse_float=Decimal)[path.partition("/")[0]][0]

    def invoice(self, deal: str) -> Body:
        (row,) = self.find(f"select Xero_Invoice_ID__c from Opportunity where Name like '{deal}%'")  # noqa: S608 (SOQL, our own name)
        return self.call("GET", f"Invoices/{row['Xero_Invoice_ID__c']}")

    def approve(self, kind: str, record: Body) -> None:
        own = f"{kind.removesuffix('s')}ID"
        self.call("POST", kind, {own: record[own], "Status": "AUTHORISED"})

    def pay(self, invoice: Body, amount: Decimal, day: str) -> None:
        paid = {"Invoice": {"InvoiceID": invoice["InvoiceID"]}, "Account": {"Code": "090"}}
        self.call("PUT", "Payments", {**paid, "Amount": float(amount), "Date": day})

    def allocate(self, note: Body, invoice: Body) -> None:
        amount = {"Invoice": {"InvoiceID": invoice["InvoiceID"]}, "Amount": float(note["Total"])}
        path = f"/api.xro/2.0/CreditNotes/{note['CreditNoteID']}/Allocations"
        self.xero.put(path, json={"Allocations": [{**amount, "Date": "2026-11-28"}]}).raise_for_status()


def _field(name: str) -> Body:
    kind = next((kind for end, kind in KINDS.items() if name.endswith(end)), "currency")
    sizes = {"currency": {"precision": 18, "scale": 2}, "string": {"length": 3}, "textarea": {"length": 4000}}
    return {"name": name, "type": kind, **sizes.get(kind, {})}


def live_through(ctx: Context, people: People, *, tell: Callable[[str], None]) -> Planned:
    """Let a month pass, step by step; gives the last plan, which has nothing to do. tell: prints a step's title."""
    from flows import show
    from pipelines import answers, runs

    def follow(*, shown: bool = True) -> Planned:
        """Plan and apply, and plan again until nothing is left (what is made in one round is shown in the next)."""
        for _ in range(4):
            planned = runs.plan(ctx)
            if shown or not planned.waits:
                show.plan(planned, as_json=False, everything=False)
            if not planned.waits:
                return planned
            show.applied(runs.apply(ctx, planned, approved=True), as_json=False)
        return planned

    tell("What settles invoices is to be shown from now on")
    follow(shown=False)

    tell("Finance approves two invoices, and one customer pays half")
    larkfield, boom = people.invoice("Larkfield"), people.invoice("Boom FM")
    for invoice in (larkfield, boom):
        people.approve("Invoices", invoice)
    people.pay(larkfield, (larkfield["Total"] / 2).quantize(Decimal("0.01")), "2026-11-24")
    follow()

    tell("Sales takes a deposit, and notes it in Salesforce: Xero records it")
    deal = people.one("Opportunity", "Name like 'Boom FM%'")
    people.make(
        "Deposit__c", Name="Deposit", Opportunity__c=deal["Id"], Amount__c=500, Taken_On__c="2026-11-25"
    )
    follow()

    tell("A customer sends a part back: the deal amounts to less than its approved invoice")
    rows = people.find(
        "select Id, Quantity from OpportunityLineItem where Opportunity.Name like 'Larkfield%'"
    )
    people.edit(rows[0], Quantity=0.5)
    planned = runs.plan(ctx)
    show.plan(planned, as_json=False, everything=False)
    tell(
        "A person says yes: a draft credit note is made; finance approves it, and sets it against the invoice"
    )
    deal = people.one("Opportunity", "Name like 'Larkfield%'")
    answers.resolve(ctx, deal["Id"], "invoice", "salesforce")
    follow()
    note = people.call("GET", "CreditNotes")
    people.approve("CreditNotes", note)
    people.allocate(note, larkfield)
    follow()

    tell("A price is raised on a deal whose invoice is approved: that is asked, not done")
    people.approve("Invoices", people.invoice("United Oil & Gas UK"))
    follow(shown=False)
    query = "select Id, UnitPrice from OpportunityLineItem where Opportunity.Name like 'United Oil & Gas UK%'"
    line = people.find(query)[0]
    people.edit(line, UnitPrice=float(line["UnitPrice"] + 55))
    planned = runs.plan(ctx)
    show.plan(planned, as_json=False, everything=False)
    tell("A person says yes: the invoice is voided, and made again with the next revision of its number")
    deal = people.one("Opportunity", "Name like 'United Oil & Gas UK%'")
    answers.resolve(ctx, deal["Id"], "invoice", "salesforce")
    follow()

    tell("A deal in euro is won: its invoice is in euro, at Xero's rate of the day")
    people.sell_abroad("Pyramid Construction Inc.", "Pyramid: kits for Lyon", "EUR", "KIT-STD", 289)
    follow()

    tell("A customer orders again, without a deal: the order is activated, and invoiced like one")
    people.order("Boom FM", "KIT-STD", 3)
    follow()

    tell("The month's end: both books, and why they differ")
    return follow()


def write_mapping(folder: Path) -> None:
    """Let the demo's pair live by the month's mapping, with the right to record payments."""
    (folder / "mapping.yaml").write_text(MAPPING)
    settings = folder / "demo.toml"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text(
        "".join(f'scopes = "{SCOPES}"\n' if one.startswith("scopes = ") else one for one in lines)
    )

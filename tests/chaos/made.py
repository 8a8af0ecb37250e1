"""What some worlds have besides: orders beside deals, sales in parts and by the month, bills, contact groups."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

Body = dict[str, Any]
AMONG = ("Retail", "Wholesale", "Trade")
THEIRS = "VIP"  # a group that the mapping does not name
GROUP_IDS = {
    name: f"00000000-0000-4000-8000-9{number:011d}" for number, name in enumerate((*AMONG, THEIRS), 1)
}
SEGMENT = {"object": "Account", "add": {"name": "Segment__c", "type": "multipicklist", "length": 255}}
BILL = {
    "name": "Supplier_Bill__c", "label": "Supplier bill", "plural": "Supplier bills",
    "fields": [
        {"name": "Supplier__c", "type": "reference", "reference": "Account"},
        {"name": "Amount__c", "type": "currency", "precision": 18, "scale": 2},
        {"name": "Received_On__c", "type": "date"},
        {"name": "Supplier_Number__c", "type": "string", "length": 100},
        {"name": "Status__c", "type": "string", "length": 40},
        {"name": "Xero_Bill_ID__c", "type": "string", "length": 36},
        {"name": "Xero_Bill_Status__c", "type": "string", "length": 20},
    ],
}  # fmt: skip

# name of a part, its share in percent (the last: what is left), and when it is due after its sale: months, days
DEPOSIT = (("Deposit", 30, 0, 0), ("Rest", None, 0, 10))
THREE = (("Start", 25, 0, 0), ("On delivery", 33, 0, 5), ("Rest", None, 1, 0))


@dataclass(frozen=True)
class Made:
    """What is made of what, in such a world.

    orders: they become invoices beside deals. parts: of which deals. parts_from: the least amount of a deal that
    is billed so. together: the objects whose sales are billed by the month. follow: how a lost sale's draft is
    withdrawn; empty: what changes is told, no more. groups: whether contacts are taken out of them (always, never);
    empty: nobody's are ours. known: the parties were linked before anything was sold. leap: the cycle before which
    eight days pass, and November with them.
    """

    orders: bool
    parts: tuple[tuple[str, int | None, int, int], ...]
    parts_from: int
    together: tuple[str, ...]
    follow: str
    bills: bool
    groups: str
    known: bool
    leap: int

    @property
    def derived(self) -> bool:
        return bool(self.parts or self.together)

    def as_dict(self) -> Body:
        """For the judge, who imports nothing of ours."""
        return {**asdict(self), "among": AMONG, "group_ids": GROUP_IDS}


FORMS = {  # orders, parts, together
    "beside": (True, (), ()),
    "parts": (False, DEPOSIT, ()),
    "three": (True, THREE, ()),
    "orders by the month": (True, (), ("Order",)),
    "parts and months": (True, DEPOSIT, ("Order",)),
    "all by the month": (True, (), ("Opportunity", "Order")),
}


def drawn(seed: int) -> Made:
    """Give what the world of that seed has: from a stream of its own, so that all other worlds stay as they were."""
    draw = random.Random(f"{seed}:made")
    orders, parts, together = FORMS[draw.choice(list(FORMS))]
    return Made(
        orders=orders,
        parts=parts,
        parts_from=draw.choice([0, 400]),
        together=together,
        follow=draw.choice(["void", "void", "ask", ""]),
        bills=draw.random() < 0.7,
        groups=draw.choice(["always", "always", "never", ""]),
        known=draw.random() < 0.7,
        leap=draw.choice([0, 1, 1, 2]),
    )


def of_invoice(made: Made) -> str:
    """The keys of `documents.invoice` that say so, with a comma before each."""
    also = ", also: {order: {salesforce: {object: Order, lines: OrderItem}, date: EffectiveDate, reference: OrderNumber"
    text = also + (", together: {}" if "Order" in made.together else "") + "}}" if made.orders else ""
    text += ", together: {}" if "Opportunity" in made.together else ""
    if made.parts:
        parts = ", ".join(
            f"{{name: {name}"
            + (f", share: {share}" if share else "")
            + (f", months: {months}" if months else "")
            + (f", days: {days}" if days else "")
            + "}"
            for name, share, months, days in made.parts
        )
        when = f'when: "Amount >= {made.parts_from}", ' if made.parts_from else ""
        text += f", instalments: {{{when}parts: [{parts}]}}"
    if made.follow:
        text += f", changes: move, credits: draft, settled: read, withdraw: {made.follow}"
    return text


def besides(made: Made) -> str:
    """What the mapping says besides, from `documents.bill` on."""
    text = ""
    if made.bills:
        text += (
            "  bill: {object: Supplier_Bill__c, supplier: Supplier__c, amount: Amount__c, date: Received_On__c, "
            "number: Supplier_Number__c, scope: \"Status__c = 'Approved'\", cut_over: 2026-11-01, account: '429', "
            "tax: INPUT2, prefix: SF-, link: {id: Xero_Bill_ID__c, status: Xero_Bill_Status__c}}\n"
        )
    if made.groups:
        text += (
            "entities: {party: {groups: {salesforce: Segment__c, "
            f"among: [{', '.join(AMONG)}], remove: {made.groups}}}}}}}\n"
        )
    return text

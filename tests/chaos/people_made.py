"""People who besides sell by deals and orders, note suppliers' bills, and say who is in which contact group."""

from __future__ import annotations

import random
from typing import Any

from sandbox.seeds import sales
from tests.chaos.made import BILL, GROUP_IDS, SEGMENT, Made
from tests.chaos.people import API, People
from tests.chaos.world import World

Body = dict[str, Any]
DAYS = ("2026-11-05", "2026-11-12", "2026-11-20", "2026-11-20", "2026-11-25", "2026-10-30")
SEGMENTS = ("Retail", "Wholesale", "retail;Trade", "Trade;Wholesale", "Retail", None, None, "Retial")
MOST = 9  # sales of a world: more would cost, and show nothing new
GROUPS = "/api.xro/2.0/ContactGroups"


class Makers(People):
    """As people are, in a world that has what `Made` says."""

    def __init__(self, world: World, made: Made) -> None:
        super().__init__(world)
        self._made = made
        self._shop = sales.price_list("Ch")
        self._count = 0

    # -- what is there before anybody comes

    def _deals(self, draw: random.Random, rows: dict[str, list[Body]], deals: int) -> None:
        """A price list, and the fields and groups that the mapping names; what is sold comes later."""
        rows["salesforce"] += self._shop.rows()
        rows["xero"] += sales.items()
        if self._made.bills:
            self._done("salesforce", "objects", BILL)
        if self._made.groups:
            self._done("salesforce", "fields", SEGMENT)
            rows["xero"] += [{"ContactGroupID": one, "Name": name} for name, one in GROUP_IDS.items()]

    def _done(self, side: str, page: str, wanted: Body) -> None:
        reply = self._vendors.call(side, "POST", f"/sandbox/{page}", json=wanted)
        assert reply.status_code == 200, reply.text

    def open_doors(self, draw: random.Random, deals: int) -> None:
        """The first sales, some orders that came from them, bills, and segments."""
        for _ in range(deals):
            self._sell(draw)
        for _ in range(draw.choice([1, 2, 3]) if self._made.orders else 0):
            self._order(draw)
        if self._made.orders and draw.random() < 0.6:
            self._from_deal(draw)
        for _ in range(draw.choice([1, 2, 3]) if self._made.bills else 0):
            self._note(draw)
        for _ in range(draw.choice([2, 3, 4]) if self._made.groups else 0):
            self._segment(draw)
        if self._made.groups:
            self._regroup(draw)

    # -- what they do

    def deeds(self) -> dict[str, float]:
        found = super().deeds() | {"sell": 8, "approve": 12}
        if self._made.orders:
            found |= {"order": 16, "from_deal": 10, "activate": 6, "reopen": 5, "rework": 6}
        if self._made.bills:
            found |= {"note": 14, "amend": 10, "enter": 3}
        if self._made.groups:
            found |= {"segment": 18, "regroup": 14}
        return found

    def be_busy(self, draw: random.Random, times: int) -> None:
        """Do so many of the things that this world is about."""
        some = ["sell", "reprice", "reprice", "strike", "lose", "win", "approve", "void"]
        some += ["order", "order", "from_deal", "activate", "reopen", "rework"] if self._made.orders else []
        some += ["note", "amend", "amend", "enter", "enter"] if self._made.bills else []
        some += ["segment", "segment", "regroup", "regroup"] if self._made.groups else []
        for _ in range(times):
            self.act(draw, only=draw.choice(some))

    def meddle(self, draw: random.Random, path: str) -> None:
        """Change what the write that is about to leave was decided by."""
        if "/ContactGroups" in path:
            self.act(draw, only=draw.choice(["segment", "segment", "regroup"]))
        elif "/Invoices" in path:
            some = ["reprice", "strike", "lose", "win"]
            some += ["reopen", "rework", "activate", "from_deal"] if self._made.orders else []
            some += ["amend", "amend", "enter"] if self._made.bills else []
            self.act(draw, only=draw.choice(some))

    def _accounts(self) -> list[Body]:
        return [row for row in self._live("salesforce") if row["attributes"]["type"] == "Account"]

    def _make_record(self, kind: str, **fields: Any) -> str | None:
        reply = self._call("salesforce", "POST", f"{API}/{kind}", fields)
        return reply.json()["id"] if reply.status_code == 201 else None

    def _set(self, record: Body, **fields: Any) -> bool:
        path = f"{API}/{record['attributes']['type']}/{record['Id']}"
        return self._call("salesforce", "PATCH", path, fields).status_code == 204

    def _said(self, kind: str, record_id: str, side: str = "salesforce", **what: Any) -> None:
        self._world.tell(kind, side=side, record_id=record_id, word="", **what)

    def _is_full(self) -> bool:
        return len(self._rows("Opportunity")) + len(self._rows("Order")) >= MOST

    def _line(self, draw: random.Random) -> Body:
        codes = [code for code in sales.PRODUCTS if code not in sales.WITHDRAWN]
        code = draw.choice(codes)
        price = draw.choice([float(sales.PRODUCTS[code][3]), 19.75, 333.33])
        return {
            "PricebookEntryId": self._shop.ours[code]["Id"],
            "Quantity": draw.choice([1, 2, 3, 12.5, 0.33]),
            "UnitPrice": price,
        }

    def _sell(self, draw: random.Random) -> None:
        """A deal, most of them won."""
        accounts = self._accounts()
        if not accounts or self._is_full():
            return
        self._count += 1
        account, stage = draw.choice(accounts), draw.choice(["Closed Won"] * 3 + ["Negotiation/Review"])
        made = self._make_record(
            "Opportunity", Name=f"Deal {self._count} of {account['Name']}"[:100], AccountId=account["Id"],
            StageName=stage, CloseDate=draw.choice(DAYS), Pricebook2Id=self._shop.book["Id"],
        )  # fmt: skip
        if made is None:
            return
        for _ in range(draw.choice([0, 1, 1, 2, 3])):
            discount = draw.choice([None, None, 7.5, 33.33])
            line = self._line(draw) | ({"Discount": discount} if discount else {})
            self._make_record("OpportunityLineItem", OpportunityId=made, **line)
        self._said("sell", made)

    def _order(self, draw: random.Random, deal: Body | None = None) -> None:
        """An order, of a deal or of none; most are activated at once."""
        accounts = self._accounts()
        account_id = deal["AccountId"] if deal else draw.choice(accounts)["Id"] if accounts else None
        if account_id is None or self._is_full():
            return
        self._count += 1
        source = {"OpportunityId": deal["Id"]} if deal else {}
        made = self._make_record(
            "Order", Name=f"Order {self._count}", AccountId=account_id, Status="Draft",
            EffectiveDate=draw.choice(DAYS), Pricebook2Id=self._shop.book["Id"], **source,
        )  # fmt: skip
        if made is None:
            return
        for _ in range(draw.choice([1, 1, 2, 3])):
            self._make_record("OrderItem", OrderId=made, **self._line(draw))
        self._said("order", made, came_from=source.get("OpportunityId"))
        if draw.random() < 0.8:
            self._to_status(made, "Activated")

    def _from_deal(self, draw: random.Random) -> None:
        """An order that is made from a deal: won or not, billed or not."""
        deals = [row for row in self._rows("Opportunity") if not row["IsDeleted"] and row.get("AccountId")]
        if deals:
            self._order(draw, draw.choice(deals))

    def _orders(self, status: str) -> list[Body]:
        found = [row for row in self._rows("Order") if not row["IsDeleted"]]
        return [row for row in found if row["StatusCode"] == status]

    def _to_status(self, record_id: str, status: str) -> bool:
        path = f"{API}/Order/{record_id}"
        done = self._call("salesforce", "PATCH", path, {"Status": status}).status_code == 204
        if done:
            self._said("activate" if status == "Activated" else "reopen", record_id)
        return done

    def _activate(self, draw: random.Random) -> None:
        found = self._orders("Draft")
        if found:
            self._to_status(draw.choice(found)["Id"], "Activated")

    def _reopen(self, draw: random.Random) -> None:
        """Put an activated order back to a draft, where the org lets one."""
        found = self._orders("Activated")
        if found:
            self._to_status(draw.choice(found)["Id"], "Draft")

    def _rework(self, draw: random.Random) -> None:
        """Sell other quantities by an order that was activated: by way of a draft."""
        found = self._orders("Activated")
        if not found:
            return
        order = draw.choice(found)
        lines = [row for row in self._rows("OrderItem") if row["OrderId"] == order["Id"]]
        lines = [row for row in lines if not row["IsDeleted"]]
        if lines and self._to_status(order["Id"], "Draft"):
            if self._set(draw.choice(lines), Quantity=draw.choice([1, 2, 4, 7.5])):
                self._said("rework", order["Id"])
            self._to_status(order["Id"], "Activated")

    # -- suppliers' bills

    def _note(self, draw: random.Random) -> None:
        """Note a bill that came in."""
        accounts = self._accounts()
        if not accounts or len(self._rows("Supplier_Bill__c")) >= MOST:
            return
        self._count += 1
        account = draw.choice(accounts)
        made = self._make_record(
            "Supplier_Bill__c", Name=f"Goods {self._count}", Supplier__c=account["Id"],
            Amount__c=draw.choice([12.5, 100, 333.33, 1000.1, 0]),
            Received_On__c=draw.choice(["2026-11-10", "2026-11-20", "2026-11-24", "2026-10-20"]),
            Supplier_Number__c=draw.choice([None, f"N-{self._count}"]),
            Status__c=draw.choice(["Approved"] * 4 + ["Received"]),
        )  # fmt: skip
        if made:
            self._said("note", made)

    def _amend(self, draw: random.Random) -> None:
        """Correct what was noted, or throw it away."""
        found = [row for row in self._rows("Supplier_Bill__c") if not row["IsDeleted"]]
        if not found:
            return
        record = draw.choice(found)
        fields = draw.choice(
            [{"Amount__c": 77.77}, {"Status__c": "Received"}, {"Status__c": "Approved"},
             {"Supplier_Number__c": f"C-{self._count}"}, None]
        )  # fmt: skip
        if fields is None:
            path = f"{API}/Supplier_Bill__c/{record['Id']}"
            done = self._call("salesforce", "DELETE", path, None).status_code == 204
        else:
            done = self._set(record, **fields)
        if done:
            self._said("amend" if fields else "discard", record["Id"])

    def _enter(self, draw: random.Random) -> None:
        """Enter in Xero, by hand, a bill that was noted in Salesforce under its supplier's number."""
        by_account = {row.get("ContactNumber"): row["ContactID"] for row in self._live("xero")}
        found = [
            row
            for row in self._rows("Supplier_Bill__c")
            if row.get("Supplier_Number__c") and not row["IsDeleted"] and row.get("Supplier__c") in by_account
        ]
        if not found:
            return
        record = draw.choice(found)
        line = {"Description": "Goods", "Quantity": 1, "UnitAmount": 100, "AccountCode": "429"}
        wanted = {
            "Type": "ACCPAY", "Contact": {"ContactID": by_account[record["Supplier__c"]]}, "Date": "2026-11-20",
            "Status": "DRAFT", "LineItems": [line], "InvoiceNumber": record["Supplier_Number__c"],
        }  # fmt: skip
        reply = self._vendors.call("xero", "POST", "/sandbox/edit-invoice", json=wanted)
        if reply.status_code == 200:
            self._said("enter", record["Id"], "xero", bill=reply.json()["InvoiceID"])

    # -- contact groups

    def _segment(self, draw: random.Random) -> None:
        """Say in Salesforce of which groups a customer is."""
        accounts = self._accounts()
        if accounts:
            record, value = draw.choice(accounts), draw.choice(SEGMENTS)
            if self._set(record, Segment__c=value):
                self._said("segment", record["Id"], value=value)

    def _regroup(self, draw: random.Random) -> None:
        """Put a contact into a group in Xero, or take it out of one."""
        live = self._live("xero")
        if not live:
            return
        record = draw.choice(live)
        mine = {one["ContactGroupID"].casefold() for one in record.get("ContactGroups") or ()}
        name = draw.choice(list(GROUP_IDS))
        group, contact_id = GROUP_IDS[name], record["ContactID"]
        leaves = group.casefold() in mine
        if leaves:
            reply = self._call("xero", "DELETE", f"{GROUPS}/{group}/Contacts/{contact_id}")
        else:
            body = {"Contacts": [{"ContactID": contact_id}]}
            reply = self._call("xero", "PUT", f"{GROUPS}/{group}/Contacts", body)
        if reply.status_code in (200, 204):
            self._said("regroup", contact_id, "xero", group=name, enters=not leaves)

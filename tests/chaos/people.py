"""People who work in both systems meanwhile: each does something, and writes down what they saw and did."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

from sandbox.seeds import sales
from tests.chaos.checker import text_of
from tests.chaos.world import World

Body = dict[str, Any]
API = "/services/data/v67.0/sobjects"
CENT = Decimal("0.01")
MONEY = {
    "name": "Money__c", "label": "Money", "plural": "Moneys",
    "fields": [
        {"name": "Opportunity__c", "type": "reference", "reference": "Opportunity"},
        {"name": "Amount__c", "type": "currency", "precision": 18, "scale": 2},
        {"name": "Taken_On__c", "type": "date"},
        {"name": "State__c", "type": "string", "length": 40},
        {"name": "Xero_Payment_ID__c", "type": "string", "length": 36},
        {"name": "Xero_Payment_Status__c", "type": "string", "length": 20},
    ],
}  # fmt: skip
WORDS = (
    "alder",
    "birch",
    "cedar",
    "dogwood",
    "elm",
    "fir",
    "gum",
    "holly",
    "iris",
    "juniper",
    "kapok",
    "larch",
)
PARTY_UNITS = (
    "name",
    "phone",
    "phone",
    "fax",
    "billing_address",
    "billing_address",
    "shipping_address",
    "tax_number",
    "account_number",
)
CLEARED = ("phone", "fax", "billing_address", "account_number", "tax_number")


class People:
    """One person a side; they know records by a word in their names."""

    def __init__(self, world: World) -> None:
        self._world, self._vendors = world, world.vendors
        self._token = dict.fromkeys(("xero", "salesforce"), "")
        self._marks = 0
        self.words: list[str] = []
        self.acted = 0
        self.till = False  # whether they note what they take
        self.sellers = False  # whether they change what they sold, and its invoices
        # (side, unit) that the org's own automation fills at any write of the record: nobody clears it for long.
        self.filled: set[tuple[str, str]] = set()

    # -- what is there before anybody comes

    def fill_books(self, draw: random.Random, parties: int, deals: int = 0) -> None:
        """Two books that overlap: some parties on both sides, some on one alone, some with a person."""
        rows: dict[str, list[Body]] = {"salesforce": [], "xero": []}
        for number in range(1, parties + 1):
            word = f"{draw.choice(WORDS)}{number}w"
            self.words.append(word)
            where = draw.choices(["both", "salesforce", "xero"], weights=[5, 3, 3])[0]
            self._party(draw, rows, number, word, where)
        if deals:
            self._deals(draw, rows, deals)
        for side, some in rows.items():
            self._vendors.load(side, some)

    def open_till(self, draw: random.Random) -> None:
        """From now on they note what was taken for a sale, and some note it already."""
        reply = self._vendors.call("salesforce", "POST", "/sandbox/objects", json=MONEY)
        assert reply.status_code == 200, reply.text
        self.till = True
        for _ in range(draw.choice([2, 4, 6])):
            self._take(draw)

    def _deals(self, draw: random.Random, rows: dict[str, list[Body]], deals: int) -> None:
        """Opportunities of these accounts: won, still open, won before the cut-over, without lines."""
        accounts = list(rows["salesforce"])
        accounts = [row for row in accounts if row["attributes"]["type"] == "Account"]
        shop = sales.price_list("Ch")
        rows["salesforce"] += shop.rows()
        rows["xero"] += sales.items()
        for number in range(1, deals + 1):
            if not accounts:
                return
            account = draw.choice(accounts)
            stage = draw.choice(["Closed Won", "Closed Won", "Negotiation/Review"])
            day = draw.choice(["2026-11-05", "2026-11-12", "2026-11-20", "2026-10-30"])
            codes = [code for code in sales.PRODUCTS if code not in sales.WITHDRAWN]
            sold = tuple(_sold(draw, draw.choice(codes)) for _ in range(draw.choice([0, 1, 1, 2, 3])))
            deal = sales.Deal("", f"Deal {number} of {account['Name']}", stage, day, sold)
            made = sales.deal_rows(shop, number, deal, account["Id"], f"{day}T10:00:00.000+0000")
            rows["salesforce"] += made
            word = self._word("salesforce", account)
            self._world.tell("there", object="Opportunity", word=word, record_id=made[0]["Id"])

    def _party(
        self, draw: random.Random, rows: dict[str, list[Body]], number: int, word: str, where: str
    ) -> None:
        name, tax = f"{word.capitalize()} Works Ltd", f"GB8{number:08d}"
        phone, person = f"0113 270 {number:04d}", draw.random() < 0.5
        account_id, contact_id = f"001{number:012d}AAA", f"00000000-0000-4000-8000-{number:012d}"
        if where != "xero":
            account = {
                "attributes": {"type": "Account"},
                "Id": account_id,
                "Name": name,
                "Type": "Customer - Direct",
            }
            account |= {"Phone": phone} if draw.random() < 0.7 else {}
            account |= {"Tax_Number__c": tax} if where == "both" or draw.random() < 0.5 else {}
            account |= {"BillingStreet": f"{number} High St", "BillingCity": "Leeds", "BillingPostalCode": "LS1 4AP",
                        "BillingCountry": "United Kingdom"} if draw.random() < 0.5 else {}  # fmt: skip
            rows["salesforce"].append(account)
            self._world.tell("there", object="Account", word=word, record_id=account_id)
            if person:
                rows["salesforce"].append(
                    {"attributes": {"type": "Contact"}, "Id": f"003{number:012d}AAA", "AccountId": account_id,
                     "FirstName": "Ann", "LastName": word.capitalize(), "Email": f"ann@{word}.example"}
                )  # fmt: skip
                self._world.tell("there", object="Contact", word=word, record_id=f"003{number:012d}AAA")
        if where != "salesforce":
            contact: Body = {
                "ContactID": contact_id,
                "Name": name,
                "ContactStatus": "ACTIVE",
                "IsCustomer": True,
            }
            contact |= {"TaxNumber": tax} if where == "both" or draw.random() < 0.5 else {}
            contact |= (
                {"Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": phone}]} if draw.random() < 0.7 else {}
            )
            contact |= (
                {"FirstName": "Ann", "LastName": word.capitalize(), "EmailAddress": f"ann@{word}.example"}
                if person
                else {}
            )
            rows["xero"].append(contact)
            self._world.tell("there", object="xero", word=word, record_id=contact_id)

    # -- what they do

    def act(self, draw: random.Random, *, only: str | None = None) -> None:
        """Do one thing; a refusal of the system is taken, and nothing is written down."""
        deeds = self.deeds()
        deed = only or draw.choices(list(deeds), weights=list(deeds.values()))[0]
        self.acted += 1
        getattr(self, f"_{deed}")(draw)

    def deeds(self) -> dict[str, float]:
        """What they may do here, each with its weight."""
        deeds: dict[str, float] = {
            "edit": 20,
            "make": 2,
            "archive": 0.6,
            "delete": 0.6,
            "merge": 0.6,
            "facts": 1,
            "win": 6,
            "rule": 0.6,
            "void": 0.5,
        }
        if self.till:
            deeds |= {"take": 20, "correct": 6, "pay": 10, "unpay": 14}
        if self.sellers:
            deeds |= {"reprice": 24, "strike": 10, "lose": 12, "approve": 24, "recode": 8, "credit": 5}
        return deeds

    def edit_record(self, draw: random.Random, side: str, record_id: str) -> None:
        """Change one unit of a record that is being written at this moment."""
        record = self._read(side, record_id)
        if record is not None:
            self._change(draw, side, record, self._unit(draw, side, record))

    def _edit(self, draw: random.Random) -> None:
        side = draw.choice(["salesforce", "xero"])
        live = self._live(side)
        if live:
            record = draw.choice(live)
            self._change(draw, side, record, self._unit(draw, side, record))

    def _unit(self, draw: random.Random, side: str, record: Body) -> str:
        if side == "salesforce" and record["attributes"]["type"] == "Contact":
            return draw.choice(["person_name", "person_email"])
        if side == "xero" and record.get("LastName") and draw.random() < 0.3:
            return draw.choice(["person_name", "person_email"])
        return draw.choice(PARTY_UNITS)

    def _change(self, draw: random.Random, side: str, record: Body, unit: str) -> None:
        if unit in ("name", "tax_number") and not (
            record.get("ExternalID__c") or record.get("ContactNumber")
        ):
            return  # nothing else would say that the two records, not linked yet, are one company
        self._marks += 1
        word = self._word(side, record)
        clear = unit in CLEARED and draw.random() < 0.15 and (side, unit) not in self.filled
        token, body = _value(unit, side, self._marks, word, clear=clear)
        seen = text_of(unit, side, record)
        if not token and not seen:
            return
        record_id = str(record.get("ContactID") or record.get("Id"))
        if self._write(side, record_id, body):
            stamps = self._stamps(record) if side == "salesforce" else {}
            self._world.tell(
                "edit", side=side, record_id=record_id, word=word, unit=unit, token=token, seen=seen, **stamps
            )

    def _stamps(self, before: Body) -> Body:
        """The stamps that a record of Salesforce had before it was changed, and has now."""
        now = self._read("salesforce", str(before["Id"])) or before
        return {"stamped_before": before["SystemModstamp"], "stamped": now["SystemModstamp"]}

    def _make(self, draw: random.Random) -> None:
        side = draw.choice(["salesforce", "xero"])
        word = f"{draw.choice(WORDS)}{len(self.words) + 101}w"
        name = f"{word.capitalize()} New Ltd"
        if side == "salesforce":
            reply = self._call(side, "POST", f"{API}/Account", {"Name": name, "Type": "Customer - Direct"})
            made = reply.status_code == 201 and reply.json()["id"]
        else:
            reply = self._call(side, "PUT", "/api.xro/2.0/Contacts", {"Contacts": [{"Name": name}]})
            made = reply.status_code == 200 and reply.json()["Contacts"][0]["ContactID"]
            if made:
                facts = {"ContactID": made, "IsCustomer": True}
                self._vendors.call(side, "POST", "/sandbox/contact-facts", json=facts)
        if made:
            self.words.append(word)
            self._world.tell(
                "make",
                object="Account" if side == "salesforce" else "xero",
                word=word,
                record_id=made,
                side=side,
            )

    def _archive(self, draw: random.Random) -> None:
        live = self._live("xero")
        if len(live) > 1:
            record = draw.choice(live)
            if self._write("xero", record["ContactID"], {"ContactStatus": "ARCHIVED"}):
                self._world.tell(
                    "archive", side="xero", record_id=record["ContactID"], word=self._word("xero", record)
                )

    def _delete(self, draw: random.Random) -> None:
        live = self._live("salesforce")
        if len(live) > 1:
            record = draw.choice(live)
            kind = record["attributes"]["type"]
            reply = self._call("salesforce", "DELETE", f"{API}/{kind}/{record['Id']}")
            if reply.status_code == 204:
                self._world.tell(
                    "delete", side="salesforce", record_id=record["Id"], word=self._word("salesforce", record)
                )

    def _merge(self, draw: random.Random) -> None:
        side = draw.choice(["salesforce", "xero"])
        live = [row for row in self._live(side) if side == "xero" or row["attributes"]["type"] == "Account"]
        if len(live) < 3:
            return
        survivor, loser = draw.sample(live, 2)
        ids = [row["ContactID"] if side == "xero" else row["Id"] for row in (survivor, loser)]
        page = "/sandbox/merge-contacts" if side == "xero" else "/sandbox/merge"
        wanted = {"survivor": ids[0], "loser": ids[1]} | (
            {"object": "Account"} if side == "salesforce" else {}
        )
        if self._vendors.call(side, "POST", page, json=wanted).status_code == 200:
            for row, record_id in ((survivor, ids[0]), (loser, ids[1])):
                self._world.tell("merge", side=side, record_id=record_id, word=self._word(side, row))

    def _facts(self, draw: random.Random) -> None:
        live = self._live("xero")
        if live:
            record = draw.choice(live)
            facts = {"ContactID": record["ContactID"], "IsSupplier": not record.get("IsSupplier")}
            self._vendors.call("xero", "POST", "/sandbox/contact-facts", json=facts)

    def _win(self, draw: random.Random) -> None:
        """Close a deal that is open."""
        found = [row for row in self._rows("Opportunity") if not row["IsClosed"] and not row["IsDeleted"]]
        if found:
            record = draw.choice(found)
            reply = self._call(
                "salesforce", "PATCH", f"{API}/Opportunity/{record['Id']}", {"StageName": "Closed Won"}
            )
            if reply.status_code == 204:
                self._world.tell("win", side="salesforce", record_id=record["Id"], word="")

    def _rule(self, draw: random.Random) -> None:
        self.forbid("Fax != null")

    def forbid(self, when: str) -> None:
        """An administrator of Salesforce makes a rule: an Account of which that is true is refused from now on."""
        rule = {"object": "Account", "name": "forbidden", "when": when, "message": "Forbidden"}
        reply = self._vendors.call("salesforce", "POST", "/sandbox/rules", json={"validation": [rule]})
        assert reply.status_code == 200, reply.text
        self._world.tell("rule", side="salesforce", record_id="", word="")

    def _void(self, draw: random.Random) -> None:
        """Throw an invoice away, in Xero's own pages."""
        found = self._bills("DRAFT")
        if found:
            record = draw.choice(found)
            wanted = {"InvoiceID": record["InvoiceID"], "Status": "DELETED"}
            if self._vendors.call("xero", "POST", "/sandbox/edit-invoice", json=wanted).status_code == 200:
                self._world.tell("void", side="xero", record_id=record["InvoiceID"], word="")

    def _take(self, draw: random.Random) -> None:
        """Note that money was taken for a sale."""
        sales_ = [row for row in self._rows("Opportunity") if not row["IsDeleted"] and row.get("Amount")]
        if not sales_:
            return
        won = [row for row in sales_ if row["IsWon"]]
        sale = draw.choice(won if won and draw.random() < 0.8 else sales_)
        whole = Decimal(str(sale["Amount"]))
        amount = draw.choice([Decimal(10), Decimal("25.50"), (whole / 2).quantize(CENT), whole, whole * 2])
        fields = {
            "Name": "Money", "Opportunity__c": sale["Id"], "Amount__c": float(amount),
            "Taken_On__c": draw.choice(["2026-11-20", "2026-11-20", "2026-11-23", "2026-11-23", "2026-11-05"]),
            "State__c": draw.choice(["Received", "Received", "Received", "Promised"]),
        }  # fmt: skip
        reply = self._call("salesforce", "POST", f"{API}/Money__c", fields)
        if reply.status_code == 201:
            self._world.tell("take", side="salesforce", record_id=reply.json()["id"], word="")

    def _correct(self, draw: random.Random) -> None:
        """Note another amount, or that it was not received after all."""
        found = [row for row in self._rows("Money__c") if not row["IsDeleted"]]
        if found:
            record = draw.choice(found)
            fields = draw.choice([{"Amount__c": 12.25}, {"State__c": "Promised"}, {"State__c": "Received"}])
            path = f"{API}/Money__c/{record['Id']}"
            if self._call("salesforce", "PATCH", path, fields).status_code == 204:
                self._world.tell("correct", side="salesforce", record_id=record["Id"], word="")

    def _pay(self, draw: random.Random) -> None:
        """Record a payment in Xero by hand: of an amount that was taken, or of another."""
        found = self._bills("AUTHORISED")
        if found:
            record = draw.choice(found)
            taken = [row["Amount__c"] for row in self._rows("Money__c") if row.get("Amount__c")]
            amount = draw.choice([*taken, 10, 3.5])
            amount = float(amount) if isinstance(amount, Decimal) else amount
            wanted = {"InvoiceID": record["InvoiceID"], "Amount": amount, "Date": "2026-11-22"}
            if self._vendors.call("xero", "POST", "/sandbox/pay", json=wanted).status_code == 200:
                self._world.tell("pay", side="xero", record_id=record["InvoiceID"], word="")

    def _unpay(self, draw: random.Random) -> None:
        """Take a payment back in Xero, whoever made it."""
        found = [
            row
            for row in self._vendors.dump("xero")
            if row.get("PaymentID") and row["Status"] == "AUTHORISED"
        ]
        if found:
            record = draw.choice(found)
            wanted = {"PaymentID": record["PaymentID"]}
            if self._vendors.call("xero", "POST", "/sandbox/unpay", json=wanted).status_code == 200:
                self._world.tell("unpay", side="xero", record_id=record["PaymentID"], word="")

    def _sold(self) -> list[Body]:
        """Lines of the sales that are won."""
        won = {row["Id"] for row in self._rows("Opportunity") if row["IsWon"] and not row["IsDeleted"]}
        lines = self._rows("OpportunityLineItem")
        return [row for row in lines if row["OpportunityId"] in won and not row["IsDeleted"]]

    def _reprice(self, draw: random.Random) -> None:
        """Sell something for another price, or more or less of it."""
        lines = self._sold()
        if not lines:
            return
        line = draw.choice(lines)
        fields = draw.choice(
            [{"UnitPrice": 19.75}, {"UnitPrice": 300}, {"Quantity": 1}, {"Quantity": 3}, {"Quantity": 0.5}]
        )
        path = f"{API}/OpportunityLineItem/{line['Id']}"
        if self._call("salesforce", "PATCH", path, fields).status_code == 204:
            self._world.tell("reprice", side="salesforce", record_id=line["OpportunityId"], word="")

    def _strike(self, draw: random.Random) -> None:
        """Strike a line off a sale."""
        lines = self._sold()
        if lines:
            line = draw.choice(lines)
            path = f"{API}/OpportunityLineItem/{line['Id']}"
            if self._call("salesforce", "DELETE", path, None).status_code == 204:
                self._world.tell("strike", side="salesforce", record_id=line["OpportunityId"], word="")

    def _lose(self, draw: random.Random) -> None:
        """Lose a sale that was won, re-open it, or throw it away."""
        found = [row for row in self._rows("Opportunity") if row["IsWon"] and not row["IsDeleted"]]
        if not found:
            return
        record = draw.choice(found)
        path = f"{API}/Opportunity/{record['Id']}"
        stage = draw.choice(["Closed Lost", "Negotiation/Review", None])
        if stage is None:
            reply = self._call("salesforce", "DELETE", path, None)
        else:
            reply = self._call("salesforce", "PATCH", path, {"StageName": stage})
        if reply.status_code == 204:
            self._world.tell("lose", side="salesforce", record_id=record["Id"], word="")

    def _regret(self, draw: random.Random) -> None:
        """Approve the invoices, most of them, and then sell nearly everything for another price after all."""
        for record in self._bills("DRAFT"):
            if draw.random() < 0.6:
                self._let(record)
        if draw.random() < 0.3:
            self._credit(draw)
        first = {line["OpportunityId"]: line for line in reversed(self._sold())}
        for sale, line in sorted(first.items()):
            price = draw.choice([1, 1, 1, 300, 300, None])
            if price is None:
                self._lose(draw)
                continue
            path = f"{API}/OpportunityLineItem/{line['Id']}"
            if self._call("salesforce", "PATCH", path, {"UnitPrice": price}).status_code == 204:
                self._world.tell("reprice", side="salesforce", record_id=sale, word="")

    def _bills(self, status: str) -> list[Body]:
        """Invoices in Xero that stand so."""
        return self._papers("InvoiceID", status)

    def _notes(self, status: str) -> list[Body]:
        """Credit notes, likewise."""
        return self._papers("CreditNoteID", status)

    def _papers(self, own_id: str, status: str) -> list[Body]:
        # Payments and allocations carry the ids of what they are set against.
        rows = [row for row in self._vendors.dump("xero") if not {"PaymentID", "AllocationID"} & row.keys()]
        return [row for row in rows if own_id in row and row["Status"] == status]

    def _approve(self, draw: random.Random) -> None:
        """Approve a draft: of an invoice, or of a credit note, and set that against its invoice."""
        drafts = [*self._bills("DRAFT"), *self._notes("DRAFT")]
        if not drafts:
            return
        record = draw.choice(drafts)
        if self._let(record) and "CreditNoteID" in record and draw.random() < 0.7:
            self._allocate(record)

    def _let(self, record: Body) -> bool:
        """Approve that draft; tells whether Xero took it."""
        kind, page = (
            ("CreditNoteID", "edit-credit-note")
            if "CreditNoteID" in record
            else ("InvoiceID", "edit-invoice")
        )
        wanted = {kind: record[kind], "Status": "AUTHORISED"}
        taken = self._vendors.call("xero", "POST", f"/sandbox/{page}", json=wanted).status_code == 200
        if taken:
            self._world.tell("approve", side="xero", record_id=record[kind], word="")
        return taken

    def _allocate(self, note: Body) -> None:
        """Set a credit note against the invoice that it names."""
        found = [row for row in self._bills("AUTHORISED") if row["InvoiceNumber"] == note.get("Reference")]
        if found:
            amount = min(Decimal(str(note["Total"])), Decimal(str(found[0]["AmountDue"])))
            wanted = {
                "CreditNoteID": note["CreditNoteID"], "InvoiceID": found[0]["InvoiceID"], "Amount": float(amount),
                "Date": "2026-11-23",
            }  # fmt: skip
            self._vendors.call("xero", "POST", "/sandbox/allocate", json=wanted)

    def _recode(self, draw: random.Random) -> None:
        """Book a line of a draft to another account, as the ledger's people do."""
        drafts = [row for row in self._bills("DRAFT") if row["LineItems"]]
        if drafts:
            record = draw.choice(drafts)
            lines = [dict(line) for line in record["LineItems"]]
            draw.choice(lines)["AccountCode"] = "260"
            wanted = {"InvoiceID": record["InvoiceID"], "LineItems": lines}
            text = json.dumps(wanted, default=float)
            if self._vendors.call("xero", "POST", "/sandbox/edit-invoice", text=text).status_code == 200:
                self._world.tell("recode", side="xero", record_id=record["InvoiceID"], word="")

    def _credit(self, draw: random.Random) -> None:
        """Give some of an approved invoice back by hand."""
        found = self._bills("AUTHORISED")
        if not found:
            return
        record = draw.choice(found)
        line = {"Description": "Goodwill", "Quantity": 1, "UnitAmount": 5, "AccountCode": "200"}
        wanted = {
            "Type": "ACCRECCREDIT", "Contact": {"ContactID": record["Contact"]["ContactID"]}, "Date": "2026-11-22",
            "Status": "AUTHORISED", "LineItems": [{**line, "TaxType": "NONE"}], "Reference": record["InvoiceNumber"],
        }  # fmt: skip
        reply = self._vendors.call("xero", "POST", "/sandbox/edit-credit-note", json=wanted)
        if reply.status_code == 200:
            self._world.tell("credit", side="xero", record_id=record["InvoiceID"], word="")
            self._allocate({**reply.json(), "Reference": record["InvoiceNumber"]})

    def _rows(self, kind: str) -> list[Body]:
        return [row for row in self._vendors.dump("salesforce") if row["attributes"]["type"] == kind]

    # -- how they reach the systems

    def _live(self, side: str) -> list[Body]:
        rows = self._vendors.dump(side)
        if side == "xero":
            found = [row for row in rows if row.get("ContactStatus") == "ACTIVE"]
        else:
            found = [
                row
                for row in rows
                if row["attributes"]["type"] in ("Account", "Contact") and not row["IsDeleted"]
            ]
        return [row for row in found if self._word(side, row)]

    def _word(self, side: str, record: Body) -> str:
        name = (
            record.get("Name")
            if side == "xero" or record["attributes"]["type"] == "Account"
            else record.get("LastName")
        )
        text = str(name or "").casefold()
        return next((word for word in self.words if word in text), "")

    def _read(self, side: str, record_id: str) -> Body | None:
        return next(
            (row for row in self._live(side) if record_id in (row.get("ContactID"), row.get("Id"))), None
        )

    def _write(self, side: str, record_id: str, body: Body) -> bool:
        if side == "xero":  # on its web pages: what another app does by the API, no History need show
            wanted = {"ContactID": record_id, **body}
            return self._vendors.call(side, "POST", "/sandbox/edit-contact", json=wanted).status_code == 200
        kind = {"001": "Account", "003": "Contact"}[record_id[:3]]
        return self._call(side, "PATCH", f"{API}/{kind}/{record_id}", body).status_code == 204

    def _call(self, side: str, method: str, page: str, body: Body | None = None) -> Any:
        for _ in range(2):
            if not self._token[side]:
                self._token[side] = self._vendors.log_in(side)
            reply = self._vendors.call(side, method, page, json=body, token=self._token[side])
            if reply.status_code == 429:  # the person waits, as people do
                self._world.time.sleep(61)
            elif reply.status_code == 401:
                self._token[side] = ""
            else:
                return reply
        return reply


def _sold(draw: random.Random, code: str) -> sales.Sold:
    quantity = draw.choice(["1", "2", "12.5", "137.25", "0.33"])
    discount = draw.choice([None, None, "7.5", "33.33"])
    return code, quantity, sales.PRODUCTS[code][3], discount, draw.choice(["", "As agreed"])


def _value(unit: str, side: str, mark: int, word: str, *, clear: bool) -> tuple[str, Body]:
    """A value that nobody else writes: (what to look for afterwards, the fields that hold it)."""
    here = side == "salesforce"
    letters = f"e{mark}q"
    digits = f"2{mark:06d}"
    match unit:
        case "name":
            return letters, {"Name": f"{word.capitalize()} {letters} Ltd"}
        case "phone" | "fax":
            number = "" if clear else f"0113 {digits[:3]} {digits[3:]}"
            if here:
                return "" if clear else digits, {unit.capitalize(): number or None}
            slot = {
                "PhoneType": "DEFAULT" if unit == "phone" else "FAX",
                "PhoneCountryCode": "",
                "PhoneAreaCode": "",
                "PhoneNumber": number,
            }
            return "" if clear else digits, {"Phones": [slot]}
        case "billing_address" | "shipping_address":
            return ("" if clear else letters), _address(unit, side, "" if clear else letters)
        case "tax_number":
            field = "Tax_Number__c" if here else "TaxNumber"
            number = f"9{mark:08d}"
            return ("" if clear else number), {field: (None if here else "") if clear else f"GB{number}"}
        case "account_number":
            return ("" if clear else letters), {
                "AccountNumber": (None if here else "") if clear else f"AN-{letters}"
            }
        case "person_email":
            return letters, {"Email" if here else "EmailAddress": f"ann.{letters}@{word}.example"}
        case "person_name":
            return letters, {"LastName": f"{word.capitalize()}-{letters}"}
    raise ValueError(unit)


def _address(unit: str, side: str, letters: str) -> Body:
    street, city, code, country = (
        (f"{letters} Mill Lane", "Leeds", "LS1 4AP", "United Kingdom") if letters else ("",) * 4
    )
    if side == "salesforce":
        name = "Billing" if unit == "billing_address" else "Shipping"
        parts = {"Street": street, "City": city, "PostalCode": code, "Country": country}
        return {f"{name}{part}": value or None for part, value in parts.items()}
    empty = dict.fromkeys(("AddressLine2", "AddressLine3", "AddressLine4", "Region"), "")
    kind = "POBOX" if unit == "billing_address" else "STREET"
    slot = {
        "AddressType": kind,
        "AddressLine1": street,
        "City": city,
        "PostalCode": code,
        "Country": country,
        **empty,
    }
    return {"Addresses": [slot]}

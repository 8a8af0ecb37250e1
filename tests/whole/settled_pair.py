"""A pair that shows in Salesforce what settles Xero's invoices, and the people who pay, credit and take back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from whole_pair import Body, Pair

METADATA = Path(__file__).parents[2] / "docs" / "salesforce" / "main" / "default" / "objects"
TYPES = {"Text": "string", "LongTextArea": "textarea", "Number": "double", "Date": "date"}
SCOPES = "accounting.contacts accounting.settings.read accounting.invoices accounting.payments.read"


@dataclass
class Till:
    """Money in Xero and what Salesforce shows of it, by plain HTTP."""

    pair: Pair
    xero: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        line = self.pair.line["xero"]
        self.xero = httpx.Client(base_url=line["api_url"], timeout=20)
        login = {name: line["person"][name] for name in ("client_id", "client_secret")}
        form = {"grant_type": "client_credentials", **login}
        token = self.xero.post("/connect/token", data=form).json()["access_token"]
        self.xero.headers.update({"Authorization": f"Bearer {token}", "xero-tenant-id": line["tenant_id"]})

    # --- Xero ---

    def call(self, method: str, path: str, body: Any = None) -> Body:
        """Give the one record of a reply."""
        reply = self.xero.request(
            method, f"/api.xro/2.0/{path}", content=None if body is None else json.dumps(body)
        )
        assert reply.status_code == 200, reply.text
        return reply.json(parse_float=Decimal)[path.partition("/")[0]][0]

    def invoice(self, contact_id: str, amount: str, **fields: Any) -> Body:
        kind = fields.get("Type", "ACCREC")
        code = "200" if kind == "ACCREC" else "429"
        line = {"Description": "Work", "Quantity": 1, "UnitAmount": amount, "AccountCode": code}
        body = {
            "Type": kind, "Contact": {"ContactID": contact_id}, "Date": "2026-11-02", "DueDate": "2026-11-20",
            "Status": "AUTHORISED", "LineItems": [{**line, "TaxType": "NONE"}],
        }  # fmt: skip
        return self.call("PUT", "Invoices", {**body, **fields})

    def pay(self, invoice: Body, amount: str, **fields: Any) -> Body:
        body = {"Invoice": {"InvoiceID": invoice["InvoiceID"]}, "Account": {"Code": "090"}, "Amount": amount}
        return self.call("PUT", "Payments", {**body, "Date": "2026-11-22", **fields})

    def reverse(self, payment: Body) -> None:
        self.call("POST", f"Payments/{payment['PaymentID']}", {"Status": "DELETED"})

    def note(self, contact_id: str, amount: str) -> Body:
        line = {
            "Description": "Back",
            "Quantity": 1,
            "UnitAmount": amount,
            "AccountCode": "200",
            "TaxType": "NONE",
        }
        body = {"Type": "ACCRECCREDIT", "Contact": {"ContactID": contact_id}, "Date": "2026-11-21"}
        return self.call("PUT", "CreditNotes", {**body, "Status": "AUTHORISED", "LineItems": [line]})

    def allocate(self, credit: Body, invoice: Body, amount: str) -> None:
        kind = next(one for one in ("CreditNote", "Overpayment", "Prepayment") if f"{one}ID" in credit)
        body = {"Invoice": {"InvoiceID": invoice["InvoiceID"]}, "Amount": amount, "Date": "2026-11-23"}
        path = f"/api.xro/2.0/{kind}s/{credit[f'{kind}ID']}/Allocations"
        reply = self.xero.put(path, json={"Allocations": [body]})
        assert reply.status_code == 200, reply.text

    def overpay(self, contact_id: str, amount: str) -> Body:
        wanted = {"ContactID": contact_id, "Date": "2026-11-23", "Amount": amount}
        return self.pair.control("xero", "POST", "overpay", wanted)

    def void(self, invoice: Body) -> None:
        self.call("POST", "Invoices", {"InvoiceID": invoice["InvoiceID"], "Status": "VOIDED"})

    # --- Salesforce ---

    def shown(self, query: str) -> list[Body]:
        reply = self.pair.in_salesforce.http.get("/services/data/v67.0/query", params={"q": query})
        assert reply.status_code == 200, reply.text
        rows = reply.json(parse_float=Decimal)["records"]
        return [{name: value for name, value in row.items() if name != "attributes"} for row in rows]

    def edit(self, kind: str, record_id: str, **fields: Any) -> None:
        path = f"/services/data/v67.0/sobjects/{kind}/{record_id}"
        reply = self.pair.in_salesforce.http.patch(path, json=fields)
        assert reply.status_code == 204, reply.text

    def deploy(self, *names: str) -> None:
        """Give the org the shipped fields of these objects; Xero_Invoice__c and Xero_Payment__c come together."""
        if "Xero_Invoice__c" in names:
            self.pair.control("salesforce", "POST", "objects", {"preset": "xero"})
        for name in (one for one in names if not one.endswith("__c")):
            for path in sorted((METADATA / name / "fields").glob("Xero_*.xml")):
                told = dict(re.findall(r"<(\w+)>([^<]*)</", path.read_text(encoding="utf-8")))
                kind = TYPES.get(told["type"])
                sizes = {key: int(told[key]) for key in ("length", "precision", "scale") if key in told}
                if kind:
                    added = {"name": told["fullName"], "type": kind, **sizes}
                    wanted = {"object": name, "add": added}
                    reply = httpx.post(f"{self.pair.url('salesforce')}/sandbox/fields", json=wanted)
                    assert reply.status_code in (200, 400), reply.text  # 400: it is there already


def settling(pair: Pair, how: str, **more: str) -> Till:
    """Switch it on, and the right to read payments."""
    keys = "".join(f", {name}: {value}" for name, value in more.items())
    text = f"extends: [demo]\ndocuments: {{invoice: {{settled: {how}{keys}}}}}\n"
    (pair.folder / "mapping.yaml").write_text(text)
    pair.set("xero", scopes=SCOPES)
    return Till(pair)

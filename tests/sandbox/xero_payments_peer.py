"""Invoices of one contact and what pays them, by plain HTTP."""

from __future__ import annotations

from decimal import Decimal

NO_ID = "00000000-0000-0000-0000-000000000000"
UNKNOWN = "9ac1f7b0-0000-4000-8000-000000000000"
BANK = {"Account": {"Code": "090"}}
EXCEEDS = "Payment amount exceeds the amount outstanding on this document"
NOT_AUTHORISED = "Payments can only be made against Authorised documents"


class Books:
    """Invoices of one contact and their payments, by plain HTTP."""

    def __init__(self, xero):
        self.xero = xero
        self.contact_id = xero.make()["ContactID"]

    def invoice(self, amount=100, status="AUTHORISED", **fields):
        line = {"Description": "Work", "Quantity": 1, "UnitAmount": amount, "AccountCode": "200"}
        start = {
            "Type": "ACCREC", "Status": status, "Contact": {"ContactID": self.contact_id}, "Date": "2026-11-01",
            "DueDate": "2026-12-24", "LineAmountTypes": "NoTax", "LineItems": [line],
        }  # fmt: skip
        return self.only("PUT", "Invoices", {**start, **fields})

    def bill(self, amount=100, **fields):
        line = {"Description": "Paper", "Quantity": 1, "UnitAmount": amount, "AccountCode": "429"}
        return self.invoice(amount, Type="ACCPAY", LineItems=[line], **fields)

    def send(self, method, path, *bodies, headers=None, **query):
        key = path.partition("/")[0]
        return self.xero.call(method, path, {key: list(bodies)}, headers, **query)

    def only(self, method, path, body=None, **query):
        reply = self.send(method, path, body, **query) if body else self.xero.call(method, path, **query)
        assert reply.status_code == 200, reply.text
        (one,) = reply.json(parse_float=Decimal)[path.partition("/")[0]]
        return one

    def body(self, invoice, amount, **fields):
        start = {
            "Invoice": {"InvoiceID": invoice["InvoiceID"]},
            **BANK,
            "Date": "2026-11-20",
            "Amount": amount,
        }
        return {name: value for name, value in {**start, **fields}.items() if value is not ...}

    def pay(self, invoice, amount, **fields):
        return self.only("PUT", "Payments", self.body(invoice, amount, **fields))

    def delete(self, payment):
        return self.only("POST", f"Payments/{payment['PaymentID']}", {"Status": "DELETED"})

    def read(self, invoice):
        return self.only("GET", f"Invoices/{invoice['InvoiceID']}")

    def refusal(self, body, method="PUT", path="Payments"):
        """The messages with which one element is refused; the same with and without summarizeErrors."""
        reply = self.send(method, path, body)
        assert reply.status_code == 400, reply.text
        messages = [error["Message"] for error in reply.json()["Elements"][0]["ValidationErrors"]]
        (one,) = self.send(method, path, body, summarizeErrors="false").json()[path.partition("/")[0]]
        assert one["StatusAttributeString"] == "ERROR"
        assert [error["Message"] for error in one["ValidationErrors"]] == messages
        return messages

    def payments(self, **query):
        reply = self.xero.call("GET", "Payments", **query)
        assert reply.status_code == 200, reply.text
        return reply.json(parse_float=Decimal)["Payments"]

    def balances(self):
        (contact,) = self.xero.get(page=1)
        return contact.get("Balances", {}).get("AccountsReceivable"), contact["UpdatedDateUTC"]


def batch_of(books, *pairs, **fields):
    rows = [{"Invoice": {"InvoiceID": made["InvoiceID"]}, "Amount": amount} for made, amount in pairs]
    return {**BANK, "Date": "2026-11-20", "Reference": "run 7", "Payments": rows, **fields}

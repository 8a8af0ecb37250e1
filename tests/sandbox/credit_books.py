"""Invoices and what is set against them, for tests: a contact's documents by plain HTTP."""

from __future__ import annotations

from decimal import Decimal


def line(**fields):
    return {"Description": "Work", "Quantity": 1, "UnitAmount": 100, "AccountCode": "200", **fields}


class Books:
    """Invoices, credit notes, overpayments and prepayments of one contact, by plain HTTP."""

    def __init__(self, xero):
        self.xero = xero
        self.contact_id = xero.make()["ContactID"]

    def body(self, kind, **fields):
        start = {
            "Type": kind,
            "Contact": {"ContactID": self.contact_id},
            "Date": "2026-11-24",
            "Status": "AUTHORISED",
            "LineItems": [line() if kind.startswith("ACCREC") else line(AccountCode="429")],
        }
        if not kind.endswith("CREDIT"):
            start["DueDate"] = "2026-12-24"
        return {name: value for name, value in {**start, **fields}.items() if value is not ...}

    def only(self, reply, key):
        assert reply.status_code == 200, reply.text
        (one,) = reply.json(parse_float=Decimal)[key]
        return one

    def invoice(self, **fields):
        kind = fields.pop("Type", "ACCREC")
        return self.only(self.xero.call("PUT", "Invoices", self.body(kind, **fields)), "Invoices")

    def note(self, method="PUT", **fields):
        kind = fields.pop("Type", "ACCRECCREDIT")
        return self.only(self.xero.call(method, "CreditNotes", self.body(kind, **fields)), "CreditNotes")

    def change(self, note, **fields):
        path = f"CreditNotes/{note['CreditNoteID']}"
        return self.only(self.xero.call("POST", path, fields), "CreditNotes")

    def pay(self, path, **fields):
        return self.xero.control(path, {"ContactID": self.contact_id, "Date": "2026-11-24", **fields})

    def read(self, record):
        for key, name in (
            ("CreditNotes", "CreditNoteID"),
            ("Overpayments", "OverpaymentID"),
            ("Prepayments", "PrepaymentID"),
            ("Invoices", "InvoiceID"),
        ):
            if name in record:
                return self.only(self.xero.call("GET", f"{key}/{record[name]}"), key)
        raise AssertionError(record)

    def path_of(self, credit):
        key = next(one for one in ("CreditNote", "Overpayment", "Prepayment") if f"{one}ID" in credit)
        return f"{key}s/{credit[f'{key}ID']}"

    def send(self, credit, *allocations, **query):
        path = f"{self.path_of(credit)}/Allocations"
        return self.xero.call("PUT", path, {"Allocations": list(allocations)}, **query)

    def to(self, invoice, amount, **fields):
        return {
            "Invoice": {"InvoiceID": invoice["InvoiceID"]},
            "Amount": amount,
            "Date": "2026-11-25",
            **fields,
        }

    def allocate(self, credit, invoice, amount, **fields):
        return self.only(self.send(credit, self.to(invoice, amount, **fields)), "Allocations")

    def refused_allocation(self, credit, invoice, amount, **fields):
        reply = self.send(credit, self.to(invoice, amount, **fields))
        assert reply.status_code == 400, reply.text
        assert reply.json()["ErrorNumber"] == 10
        (element,) = reply.json()["Elements"]
        return messages(element)

    def refused(self, note=None, method="POST", **fields):
        """The messages with which one credit note is refused, and nothing of it written."""
        sent = {**({"CreditNoteID": note["CreditNoteID"]} if note else {}), **fields}
        reply = self.xero.call(method, "CreditNotes", {"CreditNotes": [sent]}, summarizeErrors="false")
        one = self.only(reply, "CreditNotes")
        assert (one["StatusAttributeString"], one["HasErrors"]) == ("ERROR", True)
        return messages(one)

    def get(self, key="CreditNotes", headers=None, **query):
        reply = self.xero.call("GET", key, headers=headers, **query)
        assert reply.status_code == 200, reply.text
        return reply.json(parse_float=Decimal)[key]

    def history(self, record, key):
        path = f"{key}/{record[key.removesuffix('s') + 'ID']}/History"
        return [one["Changes"] for one in self.xero.call("GET", path).json()["HistoryRecords"]]


def messages(element):
    return [error["Message"] for error in element["ValidationErrors"]]


def state(invoice):
    return (invoice["Status"], invoice["AmountDue"], invoice["AmountCredited"], invoice["AmountPaid"])

"""The shapes in which Xero shows a payment: in a list, by id, just written, refused; and as it is dumped."""

from __future__ import annotations

import uuid
from decimal import Decimal

from sandbox.clock import from_ms
from sandbox.dialect import Dialect
from sandbox.store import Body, Store
from sandbox.xero import chart, contacts, invoice_shapes, invoices, payments, settlement
from sandbox.xero.invoice_lines import CENT
from sandbox.xero.settlement import IDS, INVOICE, Document
from sandbox.xero.wire import NO_ID, ms_date, read_ms_date

# spec: in a payment a credit stands under Invoice as well, with a type of its own and its id as InvoiceID
AS_INVOICE = {
    "RECEIVE-OVERPAYMENT": "AROVERPAYMENT", "SPEND-OVERPAYMENT": "APOVERPAYMENT",
    "RECEIVE-PREPAYMENT": "ARPREPAYMENT", "SPEND-PREPAYMENT": "APPREPAYMENT",
}  # fmt: skip
FOR_THE_BANK = ("BankAccountNumber", "Particulars", "Details")
STORED = ("Reference", "PaymentType", "Status", *FOR_THE_BANK)


def listed(store: Store, payment: Body, dialect: Dialect) -> Body:
    """A payment in a list: of its document a stub, of its account id and code (spec)."""
    return {
        **_start(store, payment, dialect),
        "Account": _account(store, payment, named=False),
        "Invoice": stub(store, payment["DocumentID"]),
        "HasValidationErrors": False,
    }


def single(store: Store, payment: Body, dialect: Dialect) -> Body:
    """spec: by id the account has its name, and the document is whole, with its payments."""
    return _whole(store, payment, dialect, with_payments=True)


def written(store: Store, payment: Body, dialect: Dialect, status: str | None) -> Body:
    """spec: the reply to a write; the document as it is now, without its payments."""
    shown = _whole(store, payment, dialect, with_payments=False)
    return shown if status is None else {**shown, "StatusAttributeString": status}


def refused(sent: Body, payment_id: str | None, errors: list[str], status: str | None) -> Body:
    """recorded of invoices: a refused element echoes what was asked for."""
    echo: Body = {"PaymentID": payment_id or NO_ID}
    echo |= {
        name: value
        for name, value in sent.items()
        if value is not None and name not in ("PaymentID", "Date", "ValidationErrors")
    }
    day = invoices.read_date(sent.get("Date") or "")
    if day:
        echo["Date"] = ms_date(read_ms_date(day))
    echo |= {"HasAccount": bool(sent.get("Account")), "HasValidationErrors": True}
    if status is not None:
        echo["StatusAttributeString"] = status
    return {**echo, "ValidationErrors": [{"Message": message} for message in errors]}


def _whole(store: Store, payment: Body, dialect: Dialect, *, with_payments: bool) -> Body:
    return {
        **_start(store, payment, dialect),
        "Account": _account(store, payment, named=True),
        "Invoice": _document(store, payment, dialect, with_payments=with_payments),
        "HasValidationErrors": False,
    }


def _start(store: Store, payment: Body, dialect: Dialect) -> Body:
    shown: Body = {"PaymentID": payment["PaymentID"]}
    if payment.get("BatchPaymentID"):
        shown["BatchPaymentID"] = payment["BatchPaymentID"]
        batch = store.get(settlement.BATCH, payment["BatchPaymentID"])
        if batch:
            shown["BatchPayment"] = _batch(batch, dialect)
    shown |= {
        "Date": ms_date(read_ms_date(payment["Date"])),
        "BankAmount": payment["BankAmount"],
        "Amount": payment["Amount"],
    }
    if payment.get("Reference"):
        shown["Reference"] = payment["Reference"]
    shown |= {name: payment[name] for name in ("CurrencyRate", "PaymentType", "Status")}
    stamp = payment["UpdatedMs"]
    shown |= {
        "UpdatedDateUTC": ms_date(stamp),
        "UpdatedDateUTCString": f"{from_ms(stamp):%Y-%m-%dT%H:%M:%SZ}",  # recorded of invoices: cut off
        "HasAccount": bool(payment.get("AccountID")),
        "IsReconciled": payment["IsReconciled"],
    }
    return shown | {name: payment[name] for name in FOR_THE_BANK if payment.get(name)}


def _batch(batch: Body, dialect: Dialect) -> Body:
    """spec: what a payment tells of its batch. In its examples total and flag are texts, in its schema they are not."""
    total, reconciled = batch["TotalAmount"], batch["IsReconciled"]
    if dialect["batch_in_payment"] == "texts":
        total, reconciled = f"{total:.2f}", str(reconciled).lower()
    return {
        "Account": {"AccountID": batch["AccountID"]},
        "BatchPaymentID": batch["BatchPaymentID"],
        "Date": ms_date(read_ms_date(batch["Date"])),
        "Type": batch["Type"],
        "Status": batch["Status"],
        "TotalAmount": total,
        "UpdatedDateUTC": ms_date(batch["UpdatedMs"]),
        "IsReconciled": reconciled,
    }


def _account(store: Store, payment: Body, *, named: bool) -> Body:
    account = store.get(chart.ACCOUNT, payment.get("AccountID") or "")
    if account is None:  # loaded without one
        return {}
    names = ("AccountID", "Code", "Name") if named else ("AccountID", "Code")
    return {name: account[name] for name in names if account.get(name)}


def stub(store: Store, document_id: str, *, with_contact: bool = True) -> Body:
    """What a list tells of a payment's document (spec); a batch leaves out its contact too."""
    found = settlement.document(store, document_id)
    if found is None:
        return {"InvoiceID": document_id}
    none: list[Body] = []
    shown = _named(found) if with_contact else {"InvoiceID": found.id}
    shown |= dict.fromkeys(("Payments", "CreditNotes", "Prepayments", "Overpayments"), none)
    shown |= {"HasErrors": False, "IsDiscounted": False}
    if with_contact:
        contact = store.get(contacts.KIND, found.body["ContactID"]) or {}
        shown["Contact"] = {
            "ContactID": found.body["ContactID"],
            **({"ContactNumber": contact["ContactNumber"]} if contact.get("ContactNumber") else {}),
            "Name": contact.get("Name", ""),
            **dict.fromkeys(("Addresses", "Phones", "ContactGroups", "ContactPersons"), none),
            "HasValidationErrors": False,
        }
    return shown | {"LineItems": none, "CurrencyCode": found.body["CurrencyCode"]}


def _named(found: Document) -> Body:
    number = found.body.get("InvoiceNumber") or found.body.get("CreditNoteNumber")
    return {
        "Type": AS_INVOICE.get(found.body["Type"], found.body["Type"]),
        "InvoiceID": found.id,
        **({"InvoiceNumber": number} if number else {}),
    }


def _document(store: Store, payment: Body, dialect: Dialect, *, with_payments: bool) -> Body:
    found = settlement.document(store, payment["DocumentID"])
    if found is None:
        return {"InvoiceID": payment["DocumentID"]}
    contact = store.get(contacts.KIND, found.body["ContactID"]) or {}
    short: Body = {
        "ContactID": found.body["ContactID"],
        "Name": contact.get("Name", ""),
        "ContactPersons": [],
        "HasValidationErrors": False,
    }
    if found.kind != INVOICE:
        return {**_credit(found), "Contact": short}
    shown = invoice_shapes.written(store, found.body, dialect, 2, None)
    shown.pop("InvoicePaymentServices")
    if with_payments and found.body["Payments"]:
        shown["Payments"] = invoice_shapes.payments_of(found.body)
    return {**shown, "Contact": short}


def _credit(found: Document) -> Body:
    """spec: of a credit the same fields as of an invoice; AmountDue is what remains of it."""
    body, remains = found.body, settlement.still_open(found)
    shown: Body = {
        **_named(found), "Prepayments": [], "Overpayments": [], "AmountDue": remains,
        "AmountPaid": body["Total"] - remains, "SentToContact": body.get("SentToContact", False),
        "CurrencyRate": body.get("CurrencyRate", Decimal("1.000000")), "IsDiscounted": False, "HasErrors": False,
        "DateString": f"{body['Date']}T00:00:00", "Date": ms_date(read_ms_date(body["Date"])),
        "Status": body["Status"], "LineAmountTypes": body.get("LineAmountTypes", "Exclusive"),
        "LineItems": [invoice_shapes.line(one, 2) for one in body.get("LineItems", [])],
    }  # fmt: skip
    shown |= {name: body[name] for name in ("SubTotal", "TotalTax", "Total") if name in body}
    return shown | {"UpdatedDateUTC": ms_date(body["UpdatedMs"]), "CurrencyCode": body["CurrencyCode"]}


# -- dump and load


def dumped(payment: Body) -> Body:
    """A payment with all that is stored, in Xero's shape."""
    shown = {name: payment[name] for name in ("PaymentID", "BatchPaymentID", *STORED) if payment.get(name)}
    shown |= {name: payment[name] for name in ("Amount", "BankAmount", "CurrencyRate", "IsReconciled")}
    if payment.get("AccountID"):
        shown["Account"] = {"AccountID": payment["AccountID"]}
    element = next(one for one, (kind, _, _) in payments.REFERENCES.items() if kind == payment["Of"])
    return {
        **shown,
        "Date": ms_date(read_ms_date(payment["Date"])),
        element: {IDS[payment["Of"]]: payment["DocumentID"]},
        "UpdatedDateUTC": ms_date(payment["UpdatedMs"]),
    }


def stored(row: Body, now_ms: int) -> Body:
    """A payment as it is stored, from a row in Xero's shape; what is missing is filled."""
    kind, document_id = next(
        (kind, row[element][name])
        for element, (kind, name, _) in payments.REFERENCES.items()
        if isinstance(row.get(element), dict)
    )
    amount = Decimal(str(row["Amount"])).quantize(CENT)
    stamp = row.get("UpdatedDateUTC")
    payment: Body = {
        "Status": "AUTHORISED", "PaymentType": "ACCRECPAYMENT",
        **{name: row[name] for name in (*STORED, "BatchPaymentID") if row.get(name)},
        "PaymentID": str(row.get("PaymentID") or uuid.uuid4()).lower(),
        "Of": kind, "DocumentID": str(document_id).lower(), "Date": invoices.read_date(row["Date"]),
        "Amount": amount, "BankAmount": Decimal(str(row.get("BankAmount", amount))).quantize(CENT),
        "CurrencyRate": Decimal(str(row.get("CurrencyRate", "1.000000"))),
        "IsReconciled": bool(row.get("IsReconciled")), "UpdatedMs": read_ms_date(stamp) if stamp else now_ms,
    }  # fmt: skip
    account_id = (row.get("Account") or {}).get("AccountID")
    return {**payment, "AccountID": str(account_id).lower()} if account_id else payment

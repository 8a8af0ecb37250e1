"""The shapes in which Xero shows an invoice: in a list, by id, just written, refused; and as it is dumped."""

from __future__ import annotations

import uuid
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.clock import from_ms
from sandbox.dialect import Dialect
from sandbox.store import Body, Store
from sandbox.xero import applied_credits, contacts, invoices, shapes
from sandbox.xero.invoice_lines import CENT, TEN_THOUSANDTH, ZERO
from sandbox.xero.wire import NO_ID, ms_date, read_ms_date

DATES = ("Date", "DueDate", "ExpectedPaymentDate", "PlannedPaymentDate", "FullyPaidOnDate")
WITH_TEXT = ("Date", "DueDate")  # recorded: these two have a ...String beside them
# recorded: the fields of a line and their order
LINE = (
    "ItemCode", "Description", "UnitAmount", "TaxType", "TaxAmount", "LineAmount", "DiscountRate",
    "DiscountAmount", "AccountCode", "Item", "Tracking", "Quantity", "LineItemID", "AccountID",
)  # fmt: skip


def listed(store: Store, invoice: Body, *, full: bool, summary: bool, places: int) -> Body:
    """An invoice in a list. full: with paging, lines too (recorded); summary: without lines and payments."""
    shown = _start(invoice)
    if not summary:
        shown |= {"Payments": payments_of(invoice)}
        shown |= applied_credits.on_invoice(store, invoice, with_rate=False)
    shown |= {**_sums(invoice), "AmountCredited": invoice["AmountCredited"], **_flags(invoice)}
    if not summary:
        shown |= {"InvoiceAddresses": [], "InvoicePaymentServices": []}
    contact = store.get(contacts.KIND, invoice["ContactID"]) or {}
    stub = {"ContactID": invoice["ContactID"], "Name": contact.get("Name", "")}
    lists: Body = (
        {} if summary else {"Addresses": [], "Phones": [], "ContactGroups": [], "ContactPersons": []}
    )
    shown["Contact"] = {**stub, **lists, "HasValidationErrors": False}
    shown |= _dates(invoice)
    if not summary:
        shown["LineItems"] = [line(one, places) for one in invoice["LineItems"]] if full else []
    return shown | _end(invoice)


def single(store: Store, invoice: Body, dialect: Dialect, places: int) -> Body:
    """recorded: by id an invoice has its whole contact, its attachments, and no empty payments."""
    shown = _start(invoice)
    if invoice["Payments"]:
        shown["Payments"] = payments_of(invoice)
    applied = applied_credits.on_invoice(store, invoice, with_rate=True)
    if not applied["CreditNotes"]:
        del applied["CreditNotes"]
    shown |= {**applied, **_sums(invoice), "AmountCredited": invoice["AmountCredited"]}
    shown |= {**_flags(invoice), "Attachments": [], "InvoicePaymentServices": []}
    shown["Contact"] = _contact(store, invoice, dialect)
    shown |= _dates(invoice)
    shown["LineItems"] = _checked_lines(invoice, places)
    return shown | _end(invoice)


def written(store: Store, invoice: Body, dialect: Dialect, places: int, status: str | None) -> Body:
    """recorded: the reply to a write; a void still shows what was due (recorded)."""
    shown = _start(invoice) | {"Prepayments": [], "Overpayments": []}
    shown |= _sums(invoice, open_when_void=True) | _flags(invoice) | {"InvoicePaymentServices": []}
    shown.pop("HasAttachments")
    shown["Contact"] = _contact(store, invoice, dialect)
    shown |= _dates(invoice)
    shown["LineItems"] = _checked_lines(invoice, places)
    shown |= _end(invoice)
    return shown if status is None else {**shown, "StatusAttributeString": status}


def refused(sent: Body, invoice_id: str | None, errors: list[str], status: str | None) -> Body:
    """recorded: a refused element echoes what was asked for, not what is stored."""
    lists = (
        "Payments",
        "CreditNotes",
        "Prepayments",
        "Overpayments",
        "InvoiceAddresses",
        "InvoicePaymentServices",
    )
    given = {name: value for name, value in sent.items() if value is not None and name not in DATES}
    none: list[Body] = []
    echo: Body = {"InvoiceID": invoice_id or NO_ID, **dict.fromkeys(lists, none), "IsDiscounted": False}
    echo |= {
        name: value for name, value in given.items() if name not in ("InvoiceID", "Contact", "LineItems")
    }
    contact = sent.get("Contact") if isinstance(sent.get("Contact"), dict) else {}
    parts = ("Addresses", "Phones", "ContactGroups", "ContactPersons")
    echo["Contact"] = {**dict.fromkeys(parts, none), **(contact or {}), "HasValidationErrors": False}
    echo |= _dates({name: day for name in DATES if (day := invoices.read_date(sent.get(name) or ""))})
    lines = sent.get("LineItems")
    echo["LineItems"] = [
        {"Tracking": none, **one}
        for one in (lines if isinstance(lines, list) else [])
        if isinstance(one, dict)
    ]
    echo["HasErrors"] = True
    if status is not None:
        echo["StatusAttributeString"] = status
    return {**echo, "ValidationErrors": [{"Message": message} for message in errors]}


def _checked_lines(invoice: Body, places: int) -> list[Body]:
    """recorded: by id and in the reply to a write each line has its errors."""
    none: list[Body] = []
    return [{**line(one, places), "ValidationErrors": none} for one in invoice["LineItems"]]


def line(one: Body, places: int) -> Body:
    shown = {name: one[name] for name in LINE if name in one}
    if "UnitAmount" in shown:
        to = TEN_THOUSANDTH if places == 4 else CENT
        shown["UnitAmount"] = Decimal(shown["UnitAmount"]).quantize(to, ROUND_HALF_UP)
    return shown


def _start(invoice: Body) -> Body:
    names = ("Type", "InvoiceID", "InvoiceNumber", "Reference")
    return {name: invoice[name] for name in names if name in invoice}


def _sums(invoice: Body, *, open_when_void: bool = False) -> Body:
    closed = invoice["Status"] in ("VOIDED", "DELETED") and not open_when_void
    return {"AmountDue": ZERO if closed else invoices.due(invoice), "AmountPaid": invoice["AmountPaid"]}


def _flags(invoice: Body) -> Body:
    return {
        "SentToContact": invoice["SentToContact"],
        "CurrencyRate": invoice["CurrencyRate"],
        "IsDiscounted": "TotalDiscount" in invoice,
        "HasAttachments": False,
        "HasErrors": False,
        "UpdatedDateUTCString": f"{from_ms(invoice['UpdatedMs']):%Y-%m-%dT%H:%M:%SZ}",  # recorded: cut off
    }


def payments_of(invoice: Body) -> list[Body]:
    """spec: what an invoice tells of its payments; HasAccount is false, for the account is not told here."""
    return [
        {
            "CurrencyRate": invoice["CurrencyRate"],
            **one,
            "Date": ms_date(_midnight(one["Date"])),
            "HasAccount": False,
            "HasValidationErrors": False,
        }
        for one in invoice["Payments"]
    ]


def _contact(store: Store, invoice: Body, dialect: Dialect) -> Body:
    contact = store.get(contacts.KIND, invoice["ContactID"])
    return shapes.written(contact, dialect, status=None) if contact else {"ContactID": invoice["ContactID"]}


def _midnight(day: str) -> int:
    return read_ms_date(day)


def _dates(invoice: Body) -> Body:
    shown: Body = {}
    for name in DATES[:-1]:
        if invoice.get(name):
            if name in WITH_TEXT:
                shown[f"{name}String"] = f"{invoice[name]}T00:00:00"
            shown[name] = ms_date(_midnight(invoice[name]))
    return shown


def _end(invoice: Body) -> Body:
    shown = {name: invoice[name] for name in ("BrandingThemeID", "Url") if name in invoice}
    shown |= {"Status": invoice["Status"], "LineAmountTypes": invoice["LineAmountTypes"]}
    sums = ("SubTotal", "TotalTax", "Total", "TotalDiscount")
    shown |= {name: invoice[name] for name in sums if name in invoice}
    shown |= {"UpdatedDateUTC": ms_date(invoice["UpdatedMs"]), "CurrencyCode": invoice["CurrencyCode"]}
    if invoice.get("FullyPaidOnDate"):
        shown["FullyPaidOnDate"] = ms_date(_midnight(invoice["FullyPaidOnDate"]))
    return shown


# -- dump and load


def dumped(invoice: Body) -> Body:
    """An invoice with all that is stored, in Xero's shape."""
    hidden = {"ContactID", "UpdatedMs", *DATES}
    shown = {name: value for name, value in invoice.items() if name not in hidden}
    shown["Contact"] = {"ContactID": invoice["ContactID"]}
    shown |= {name: ms_date(_midnight(invoice[name])) for name in DATES if invoice.get(name)}
    return {**shown, "AmountDue": invoices.due(invoice), "UpdatedDateUTC": ms_date(invoice["UpdatedMs"])}


def stored(row: Body, now_ms: int) -> Body:
    """An invoice as it is stored, from a row in Xero's shape; what is missing is filled, sums are added up."""
    texts = (
        "InvoiceNumber", "Reference", "BrandingThemeID", "Url", "CurrencyCode", "Status", "LineAmountTypes", "Type",
        "Client",
    )  # fmt: skip
    invoice: Body = {name: row[name] for name in texts if row.get(name)}
    lines = [_stored_line(one) for one in row.get("LineItems") or []]
    inclusive = row.get("LineAmountTypes") == "Inclusive"
    tax = sum((one["TaxAmount"] for one in lines), ZERO)
    subtotal = sum((one["LineAmount"] for one in lines), ZERO) - (tax if inclusive else ZERO)
    sums = {
        "SubTotal": subtotal,
        "TotalTax": tax,
        "Total": subtotal + tax,
        "AmountPaid": ZERO,
        "AmountCredited": ZERO,
    }
    sums |= {name: _money(row[name]) for name in (*sums, "TotalDiscount") if row.get(name) is not None}
    stamp = row.get("UpdatedDateUTC")
    return {
        "InvoiceID": str(row.get("InvoiceID") or uuid.uuid4()).lower(),
        "Type": "ACCREC", "Status": "DRAFT", "LineAmountTypes": "Exclusive", "CurrencyCode": "GBP",
        **invoice,
        "ContactID": str(row["Contact"]["ContactID"]).lower(),
        "Date": invoices.read_date(row.get("Date") or from_ms(now_ms).date().isoformat()),
        **{name: invoices.read_date(row[name]) for name in DATES[1:] if row.get(name)},
        "SentToContact": bool(row.get("SentToContact")),
        "CurrencyRate": Decimal(str(row.get("CurrencyRate", "1.000000"))),
        "LineItems": lines, **sums,
        "Payments": [_stored_payment(one) for one in row.get("Payments") or []],
        "UpdatedMs": read_ms_date(stamp) if stamp else now_ms,
    }  # fmt: skip


def _stored_payment(row: Body) -> Body:
    kept = {name: row[name] for name in ("BatchPaymentID", "Reference") if row.get(name)}
    if row.get("CurrencyRate") is not None:
        kept["CurrencyRate"] = Decimal(str(row["CurrencyRate"]))
    return {
        "PaymentID": str(row.get("PaymentID") or uuid.uuid4()).lower(),
        **kept,
        "Date": invoices.read_date(row["Date"]),
        "Amount": _money(row["Amount"]),
    }


def _stored_line(row: Body) -> Body:
    one: Body = {name: row[name] for name in LINE if row.get(name) is not None}
    for name in ("Quantity", "UnitAmount", "DiscountRate", "DiscountAmount"):
        if name in one:
            one[name] = Decimal(str(one[name]))
    amount = one.get("LineAmount")
    if amount is None:
        amount = one.get("Quantity", Decimal(1)) * one.get("UnitAmount", Decimal(0))
    one |= {"LineAmount": _money(amount), "TaxAmount": _money(one.get("TaxAmount", 0))}
    return {"Tracking": [], **one, "LineItemID": str(one.get("LineItemID") or uuid.uuid4()).lower()}


def _money(value: Any) -> Decimal:
    return Decimal(str(value)).quantize(CENT, ROUND_HALF_UP)

"""The shapes in which Xero shows credit notes, overpayments, prepayments and allocations; and as they are dumped."""

from __future__ import annotations

import uuid
from decimal import Decimal

from sandbox.clock import from_ms
from sandbox.dialect import Dialect
from sandbox.store import Body, Store
from sandbox.xero import contacts, credits, invoice_shapes, invoices, settlement, shapes
from sandbox.xero.credits import NOTE, OVERPAYMENT, PREPAYMENT, Sort
from sandbox.xero.invoice_lines import ZERO
from sandbox.xero.wire import NO_ID, ms_date, read_ms_date

DATES = ("Date", "DueDate", "FullyPaidOnDate")
WITH_TEXT = ("Date", "DueDate")
HIDDEN = ("ContactID", "UpdatedMs", "RemainingCredit", *DATES)
CLOSED = ("VOIDED", "DELETED")
STUB_LISTS = ("Addresses", "Phones", "ContactGroups", "ContactPersons")


def listed(store: Store, sort: Sort, credit: Body, *, full: bool, places: int) -> Body:
    """One in a list (recorded of credit notes, spec's examples of the others). full: with paging, lines too."""
    shown = _start(store, sort, credit)
    shown["HasAttachments"] = False
    contact = store.get(contacts.KIND, credit["ContactID"]) or {}
    none: list[Body] = []
    shown["Contact"] = {
        "ContactID": credit["ContactID"], "Name": contact.get("Name", ""), **dict.fromkeys(STUB_LISTS, none),
        "HasValidationErrors": False,
    }  # fmt: skip
    lines = [invoice_shapes.line(one, places) for one in credit["LineItems"]] if full else []
    return {**shown, **_dates(credit), **_end(credit, lines)}


def single(store: Store, sort: Sort, credit: Body, dialect: Dialect, places: int) -> Body:
    """By id: the whole contact, attachments, and lines with their errors (spec)."""
    shown = _start(store, sort, credit) | {"HasAttachments": False, "Attachments": []}
    shown["Contact"] = _contact(store, credit, dialect)
    return {**shown, **_dates(credit), **_end(credit, _checked_lines(credit, places))}


def written(
    store: Store, sort: Sort, credit: Body, dialect: Dialect, places: int, status: str | None
) -> Body:
    """The reply to a write (spec)."""
    shown = _start(store, sort, credit, open_when_void=True)
    shown["Contact"] = _contact(store, credit, dialect)
    shown |= {**_dates(credit), **_end(credit, _checked_lines(credit, places))}
    return shown if status is None else {**shown, "StatusAttributeString": status}


def refused(sent: Body, note_id: str | None, errors: list[str], status: str | None) -> Body:
    """A refused credit note echoes what was asked for (recorded of invoices)."""
    none: list[Body] = []
    found = note_id or NO_ID
    echo: Body = {"CreditNoteID": found, "Payments": none, "ID": found, "InvoiceAddresses": none}
    skipped = ("CreditNoteID", "Contact", "LineItems", *DATES)
    echo |= {name: value for name, value in sent.items() if value is not None and name not in skipped}
    contact = sent.get("Contact") if isinstance(sent.get("Contact"), dict) else {}
    echo["Contact"] = {**dict.fromkeys(STUB_LISTS, none), **(contact or {}), "HasValidationErrors": False}
    echo |= _dates({name: day for name in DATES if (day := invoices.read_date(sent.get(name) or ""))})
    lines = sent.get("LineItems")
    given = [one for one in (lines if isinstance(lines, list) else []) if isinstance(one, dict)]
    echo |= {"LineItems": [{"Tracking": none, **one} for one in given], "HasErrors": True}
    if status is not None:
        echo["StatusAttributeString"] = status
    return {**echo, "ValidationErrors": [{"Message": message} for message in errors]}


# -- the parts


def _start(store: Store, sort: Sort, credit: Body, *, open_when_void: bool = False) -> Body:
    """recorded of credit notes: the fields and their order, SentToContact only where it is so."""
    credit_id = sort.id_of(credit)
    note = sort is NOTE
    shown: Body = {sort.id_name: credit_id}
    if note:
        shown["CreditNoteNumber"] = credit.get("CreditNoteNumber", "")
        shown |= {"SentToContact": True} if credit.get("SentToContact") else {}
        shown["Payments"] = _refunds(store, sort, credit)
    shown["ID"] = credit_id
    shown |= {"HasErrors": False, "InvoiceAddresses": []} if note else {}
    shown |= {"CurrencyRate": credit["CurrencyRate"], "Type": credit["Type"]}
    shown |= {name: credit[name] for name in ("BrandingThemeID",) if name in credit and sort is PREPAYMENT}
    if sort is PREPAYMENT:  # spec: Reference returns the number
        number = credit.get("InvoiceNumber", credit.get("Reference", ""))
        shown |= {"Reference": number, "InvoiceNumber": number}
    else:
        shown["Reference"] = credit.get("Reference", "")
    closed = credit["Status"] in CLOSED and not open_when_void
    shown["RemainingCredit"] = ZERO if closed else credits.remaining(store, sort, credit)
    shown["Allocations"] = [
        _allocation(store, row) for row in settlement.allocations_of(store, sort.id_of(credit))
    ]
    if not note:
        shown["Payments"] = _refunds(store, sort, credit)
    return shown


def _refunds(store: Store, sort: Sort, credit: Body) -> list[Body]:
    """spec: the payments that stand against a credit are refunds of it."""
    return [
        {
            "PaymentID": one["PaymentID"], "Date": ms_date(read_ms_date(one["Date"])), "Amount": one["Amount"],
            **({"Reference": one["Reference"]} if one.get("Reference") else {}),
            "CurrencyRate": one.get("CurrencyRate", credit["CurrencyRate"]), "HasAccount": False,
            "HasValidationErrors": False,
        }
        for one in settlement.payments_of(store, sort.id_of(credit))
    ]  # fmt: skip


def _end(credit: Body, lines: list[Body]) -> Body:
    shown = {
        name: credit[name] for name in ("BrandingThemeID",) if name in credit and "CreditNoteID" in credit
    }
    shown |= {"Status": credit["Status"], "LineAmountTypes": credit["LineAmountTypes"], "LineItems": lines}
    shown |= {name: credit[name] for name in ("SubTotal", "TotalTax", "Total")}
    shown |= {
        "UpdatedDateUTC": ms_date(credit["UpdatedMs"]),
        "UpdatedDateUTCString": f"{from_ms(credit['UpdatedMs']):%Y-%m-%dT%H:%M:%SZ}",
        "CurrencyCode": credit["CurrencyCode"],
    }
    if credit.get("FullyPaidOnDate"):
        shown["FullyPaidOnDate"] = ms_date(read_ms_date(credit["FullyPaidOnDate"]))
    return shown


def _dates(credit: Body) -> Body:
    shown: Body = {}
    for name in WITH_TEXT:
        if credit.get(name):
            shown[f"{name}String"] = f"{credit[name]}T00:00:00"
            shown[name] = ms_date(read_ms_date(credit[name]))
    return shown


def _contact(store: Store, credit: Body, dialect: Dialect) -> Body:
    contact = store.get(contacts.KIND, credit["ContactID"])
    return shapes.written(contact, dialect, status=None) if contact else {"ContactID": credit["ContactID"]}


def _checked_lines(credit: Body, places: int) -> list[Body]:
    none: list[Body] = []
    return [{**invoice_shapes.line(one, places), "ValidationErrors": none} for one in credit["LineItems"]]


# -- allocations


def _bare_invoice(invoice_id: str, number: str | None) -> Body:
    """recorded: an invoice within an allocation."""
    none: list[Body] = []
    shown: Body = {"InvoiceID": invoice_id} | ({} if number is None else {"InvoiceNumber": number})
    return shown | {
        "Payments": none, "CreditNotes": none, "Prepayments": none, "Overpayments": none, "IsDiscounted": False,
        "InvoiceAddresses": none, "HasErrors": False, "InvoicePaymentServices": none, "LineItems": none,
    }  # fmt: skip


def _allocation(store: Store, row: Body) -> Body:
    """recorded: an allocation within its credit."""
    invoice = store.get(invoices.KIND, row["InvoiceID"]) or {}
    return {
        "AllocationID": row["AllocationID"], "Amount": row["Amount"], "Date": ms_date(read_ms_date(row["Date"])),
        "Invoice": _bare_invoice(row["InvoiceID"], invoice.get("InvoiceNumber", "")),
    }  # fmt: skip


def written_allocation(sort: Sort, row: Body, dialect: Dialect, status: str | None) -> Body:
    """spec's example: the reply to an allocation, without its id (unconfirmed whether it is there today)."""
    none: list[Body] = []
    with_id = dialect["allocation_id_in_reply"] == "present"
    shown: Body = {"AllocationID": row["AllocationID"]} if with_id else {}
    shown |= {"Amount": row["Amount"], "Date": ms_date(read_ms_date(row["Date"]))}
    shown["Invoice"] = {**_bare_invoice(row["InvoiceID"], None), "ValidationErrors": none}
    shown[sort.id_name.removesuffix("ID")] = {
        sort.id_name: row["SourceID"], "ID": row["SourceID"], "LineItems": none
    }  # fmt: skip
    shown["ValidationErrors"] = none
    return shown if status is None else {**shown, "StatusAttributeString": status}


def refused_allocation(sort: Sort, credit_id: str, sent: Body, errors: list[str], status: str | None) -> Body:
    """second hand: a refused allocation, as an issue shows one."""
    none: list[Body] = []
    named = sent.get("Invoice") if isinstance(sent.get("Invoice"), dict) else {}
    shown: Body = {name: sent[name] for name in ("Amount",) if sent.get(name) is not None}
    if day := invoices.read_date(sent.get("Date") or ""):
        shown["Date"] = ms_date(read_ms_date(day))
    invoice_id = str((named or {}).get("InvoiceID") or NO_ID)
    shown["Invoice"] = {**_bare_invoice(invoice_id, None), "ValidationErrors": none}
    shown[sort.id_name.removesuffix("ID")] = {sort.id_name: credit_id, "ID": credit_id, "LineItems": none}
    shown["ValidationErrors"] = [{"Message": message} for message in errors]
    return shown if status is None else {**shown, "StatusAttributeString": status}


def removed_allocation(row: Body) -> Body:
    """An allocation that was taken off (spec's schema)."""
    none: list[Body] = []
    day, invoice = ms_date(read_ms_date(row["Date"])), {"InvoiceID": row["InvoiceID"], "LineItems": none}
    return {"AllocationID": row["AllocationID"], "Date": day, "Invoice": invoice, "IsDeleted": True}


def removed_by_example(row: Body) -> Body:
    """The same as the spec's example has it, which is not as its schema is."""
    shown = removed_allocation(row)
    invoice = [{"InvoiceID": row["InvoiceID"]}]
    return {"AllocationId": row["AllocationID"], "Date": shown["Date"], "Invoice": invoice, "IsDeleted": True}


# -- dump and load


def dumped(store: Store, sort: Sort, credit: Body) -> Body:
    """One with all that is stored and its allocations, in Xero's shape."""
    shown = {name: value for name, value in credit.items() if name not in HIDDEN}
    shown["Contact"] = {"ContactID": credit["ContactID"]}
    shown |= {name: ms_date(read_ms_date(credit[name])) for name in DATES if credit.get(name)}
    shown["RemainingCredit"] = credits.remaining(store, sort, credit)
    shown["Allocations"] = [
        {
            "AllocationID": row["AllocationID"], "Amount": row["Amount"], "Date": ms_date(read_ms_date(row["Date"])),
            "Invoice": {"InvoiceID": row["InvoiceID"]},
        }
        for row in settlement.allocations_of(store, sort.id_of(credit))
    ]  # fmt: skip
    return {**shown, "UpdatedDateUTC": ms_date(credit["UpdatedMs"])}


def sort_of_row(row: Body) -> Sort | None:
    """The sort of a row in Xero's shape, by its type; None: it is no credit."""
    kind = str(row.get("Type", ""))
    for sort, ending in ((NOTE, "CREDIT"), (OVERPAYMENT, "OVERPAYMENT"), (PREPAYMENT, "PREPAYMENT")):
        if kind.endswith(ending) and "PaymentID" not in row and "BankTransactionID" not in row:
            return sort
    return None


def load(store: Store, sort: Sort, row: Body, now_ms: int) -> None:
    """Put one as it is, with its allocations, from a row in Xero's shape; sums are added up where missing.

    The invoices stay as they are: their own rows say what is credited.
    """
    lines = invoice_shapes.stored({**row, "Contact": row["Contact"]}, now_ms)
    names = (
        "Type", "Status", "LineItems", "LineAmountTypes", "ContactID", "Date", "CurrencyCode", "CurrencyRate",
        "SubTotal", "TotalTax", "Total", "UpdatedMs", "Reference", "BrandingThemeID", "DueDate", "FullyPaidOnDate",
        "Client", "InvoiceNumber",
    )  # fmt: skip
    credit = {name: lines[name] for name in names if name in lines}
    credit[sort.id_name] = str(row.get(sort.id_name) or uuid.uuid4()).lower()
    if sort is NOTE:
        credit["SentToContact"] = bool(row.get("SentToContact"))
        credit |= {"CreditNoteNumber": row["CreditNoteNumber"]} if row.get("CreditNoteNumber") else {}
    elif not row.get("Status"):
        credit["Status"] = "AUTHORISED"
    credits.put(store, sort, credit)
    for one in row.get("Allocations") or []:
        day = invoices.read_date(one.get("Date") or credit["Date"]) or credit["Date"]
        fresh = credits.new_allocation(
            sort, credit, str(one["Invoice"]["InvoiceID"]).lower(), Decimal(str(one["Amount"])), day
        )
        kept = {"AllocationID": str(one["AllocationID"]).lower()} if one.get("AllocationID") else {}
        credits.put_allocation(store, {**fresh, **kept})

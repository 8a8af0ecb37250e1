"""A generated month as both systems hand it over: the bodies of opportunities, invoices and Xero's lists.

Salesforce holds no amount of a line and no rounding of its own: those mistakes are planted in Xero here. Nor does an
invoice state the rate of its tax, only the code: an old rate under the same code can't be told from a typed tax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid5

import polars as pl
from month import ACCOUNTS, MISTAKES, TAXES, Document, Found, Line, Month, Moved, Plant, planted_month
from sales import sales
from two_books import raw_of, salesforce_id, xero_id

from reconcile.closing import Closed, close_books
from reconcile.documents import Documents, canonical_documents
from reconcile.mapped import DocumentMapping
from reconcile.model import DOCUMENT_RATES, LINKS, conform

Bodies = dict[str, dict[str, Any]]


# --- Mistakes, where Xero makes them --------------------------------------------------------------------


def made_by_xero(plant: Plant) -> Plant:
    """The same mistake on the other side."""

    def other_way(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
        found = plant(dice, theirs, ours, month)
        return found and [replace(one, moved=negated(one.moved)) for one in found]

    return other_way


def negated(moved: Moved) -> Moved:
    return {group: (-net, -tax) for group, (net, tax) in moved.items()}


def as_it_would_be_made(plant: Plant) -> Plant:
    """A deal without an invoice stands under the status that its invoice would have."""

    def drafted(dice: Random, ours: Document, theirs: Document, month: Month) -> Found:
        ours.status = "DRAFT"
        return plant(dice, ours, theirs, month)

    return drafted


IN_XERO = {
    **{kind: plant for kind, plant in MISTAKES.items() if kind != "an old rate under the same code"},
    "never made": as_it_would_be_made(MISTAKES["never made"]),
    "halves rounded to even": made_by_xero(MISTAKES["halves rounded to even"]),
    "the sum rounded once": made_by_xero(MISTAKES["the sum rounded once"]),
    "the sum rounded once, cents beside the lines": made_by_xero(
        MISTAKES["the sum rounded once, cents beside the lines"]
    ),
}


def month_in_books(seed: int, documents: int, times: int = 1, *, clean: bool = False) -> Month:
    return planted_month(seed, documents, times, credits=0, mistakes={} if clean else IN_XERO)


def half_of(month: Month, *, inclusive: bool) -> Month:
    """The documents whose prices in Salesforce hold the tax, or the others: a mapping says one of both for all."""
    keys = {document.key for document in month.salesforce if document.inclusive == inclusive}

    def wanted(key: str) -> bool:
        return key.removeprefix("X-").removeprefix("C-") in keys

    return Month(
        [document for document in month.salesforce if wanted(document.key)],
        [document for document in month.xero if wanted(document.key)],
        [one for one in month.planted if wanted(one.document)],
    )


# --- Bodies ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MonthBooks:
    """raw RAW by object; links LINKS; rates DOCUMENT_RATES; keys: a record's id -> the month's name for it."""

    raw: dict[str, pl.DataFrame]
    documents: Documents
    links: pl.DataFrame
    rates: pl.DataFrame
    mapping: DocumentMapping
    keys: Mapping[str, str]

    def closed(self) -> Closed:
        return close_books(self.documents, self.raw, self.links, self.rates, self.mapping)


def books_of(month: Month, *, inclusive: bool) -> MonthBooks:
    books = sales(line_amounts="inclusive" if inclusive else "exclusive", amount="ignore")
    for tax, rate in TAXES.items():
        books.tax(tax, EffectiveRate=Decimal(rate))
    for account in ACCOUNTS:
        books.ledger(account)
    deals: Bodies = {}
    deal_lines: Bodies = {}
    deal_ids: dict[str, str] = {}
    codes: list[tuple[str, str, str]] = []
    for number, document in enumerate(month.salesforce, start=1):
        deal = deal_ids[document.key] = salesforce_id("006", number)
        deals[deal] = a_deal(deal, document)
        for place, line in enumerate(document.lines, start=1):
            line_id = f"00k{number * 100 + place:012d}AAA"
            deal_lines[line_id] = a_deal_line(line_id, deal, place, line)
            codes.append((line_id, line.account, line.tax))
    invoice_ids = {document.key: xero_id(7000 + place) for place, document in enumerate(month.xero)}
    invoices = {
        invoice_ids[one.key]: an_invoice(invoice_ids[one.key], one) for one in month.xero if not one.credits
    }
    notes = {
        invoice_ids[one.key]: a_credit_note(invoice_ids[one.key], invoice_ids[one.credits], one)
        for one in month.xero
        if one.credits
    }
    raw = books.raw() | {
        "salesforce.Opportunity": raw_of(deals),
        "salesforce.OpportunityLineItem": raw_of(deal_lines),
        "xero.Invoice": raw_of(invoices),
        "xero.CreditNote": raw_of(notes),
    }
    linked = [
        (deal_ids[one.key], invoice_ids.get(one.key, xero_id(900_000 + place)), one.per_base)
        for place, one in enumerate(month.salesforce)
        if one.linked
    ]
    links = pl.DataFrame(
        linked,
        schema={"salesforce_id": pl.String, "xero_id": pl.String, "rate": pl.Decimal(38, 6)},
        orient="row",
    )
    documents = canonical_documents(raw, books.invoicing)
    return MonthBooks(
        raw,
        replace(documents, lines=coded(documents.lines, codes)),
        conform(links, LINKS),
        conform(links.rename({"salesforce_id": "record_id"}), DOCUMENT_RATES),
        books.invoicing,
        {record_id: key for known in (deal_ids, invoice_ids) for key, record_id in known.items()},
    )


def coded(lines: pl.DataFrame, codes: list[tuple[str, str, str]]) -> pl.DataFrame:
    """Give lines their codes, as rules would."""
    given = pl.DataFrame(codes, schema=dict.fromkeys(("line_id", "account", "tax"), pl.String), orient="row")
    joined = lines.drop("account", "tax").join(given, on="line_id", validate="1:1", maintain_order="left")
    return joined.select(lines.columns)


def a_deal(deal: str, document: Document) -> dict[str, Any]:
    known = {
        "Name": document.key,
        "IsWon": True,
        "StageName": "Closed Won",
        "AccountId": salesforce_id("001", 1),
    }
    shown = {"Xero_Invoice_Status__c": document.status} if document.linked else {}
    when = {"CloseDate": document.on.isoformat(), "CurrencyIsoCode": document.currency}
    return {"Id": deal, "IsDeleted": False, **known, **shown, **when}


def a_deal_line(line_id: str, deal: str, place: int, line: Line) -> dict[str, Any]:
    figures = {"Quantity": line.quantity, "UnitPrice": line.price, "Discount": line.discount}
    known = {"Id": line_id, "IsDeleted": False, "OpportunityId": deal, "SortOrder": place}
    return {**known, "Name": "Generator", "Description": line.key, "ProductCode": None, **figures}


def an_invoice(invoice: str, document: Document) -> dict[str, Any]:
    net = sum((line.net for line in document.lines), document.beyond[0])
    tax = sum((line.levied for line in document.lines), document.beyond[1])
    return {
        "InvoiceID": invoice,
        "InvoiceNumber": f"INV-{document.key}",
        "Type": "ACCREC",
        "Status": document.status,
        "DateString": f"{document.on.isoformat()}T00:00:00",
        "CurrencyCode": document.currency,
        "CurrencyRate": document.per_base,
        "LineAmountTypes": "Inclusive" if document.inclusive else "Exclusive",
        "SubTotal": net,
        "TotalTax": tax,
        "Total": net + tax,
        "LineItems": [an_entry(invoice, place, line, document) for place, line in enumerate(document.lines)],
    }


def a_credit_note(note: str, invoice: str, document: Document) -> dict[str, Any]:
    """Xero states what it takes off as amounts above nothing."""
    lines = [
        replace(line, quantity=-line.quantity, net=-line.net, levied=-line.levied) for line in document.lines
    ]
    body = an_invoice(note, replace(document, lines=lines))
    numbers = {"CreditNoteID": body.pop("InvoiceID"), "CreditNoteNumber": body.pop("InvoiceNumber")}
    allocated = [{"Amount": body["Total"], "Invoice": {"InvoiceID": invoice}}]
    return body | numbers | {"Type": "ACCRECCREDIT", "Allocations": allocated}


def an_entry(invoice: str, place: int, line: Line, document: Document) -> dict[str, Any]:
    amount = line.net + line.levied if document.inclusive else line.net
    discount = {} if line.discount is None else {"DiscountRate": line.discount}
    return {
        "LineItemID": str(uuid5(UUID(invoice), str(place))),
        "Description": line.key.removesuffix("-again"),
        "Quantity": line.quantity,
        "UnitAmount": line.price,
        "AccountCode": line.account,
        "TaxType": line.tax,
        "LineAmount": amount,
        "TaxAmount": line.levied,
        **discount,
    }

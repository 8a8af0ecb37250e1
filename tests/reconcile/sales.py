"""Two books that sell: opportunities with lines on one side, a small ledger that reckons by itself on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
from two_books import Books, raw_of, salesforce_id, schema, xero_id

from mappings import library
from reconcile.document_moves import Known, with_moves
from reconcile.documents import Documents, canonical_documents
from reconcile.invoices import Standing, standing, with_documents
from reconcile.mapped import DocumentMapping
from reconcile.mapping import Mapping as FieldMapping
from reconcile.mapping import load_mapping
from reconcile.plan import Part, Plan, build_plan

SOLD = ("Opportunity", "OpportunityLineItem", "Order", "OrderItem", "Product2")
RATES = {"OUTPUT2": "20", "ZERORATEDOUTPUT": "0", "RRINPUT": "5"}


@dataclass
class Sales(Books):
    """Books with opportunities and invoices; `lists` are Xero's reference data."""

    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)
    lists: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    found: Standing | None = None
    today: date | None = None
    documents: Documents | None = None

    def __post_init__(self) -> None:
        self.salesforce |= {name: {} for name in SOLD}
        self.lists |= {"Organisation": {}, "Account": {}, "TaxRate": {}, "Item": {}}
        self.organisation()
        self.ledger("200")
        self.item("GC1060")
        for tax_type, rate in RATES.items():
            self.tax(tax_type, EffectiveRate=Decimal(rate))

    @property
    def invoicing(self) -> DocumentMapping:
        assert self.mapping.invoice is not None
        return self.mapping.invoice

    # --- What there is

    def organisation(self, **fields: Any) -> None:
        known = {"OrganisationID": xero_id(1), "BaseCurrency": "GBP", "Timezone": "GMTSTANDARDTIME"}
        self.lists["Organisation"] = {xero_id(1): known | fields}

    def ledger(self, code: str, **fields: Any) -> None:
        place = xero_id(100 + len(self.lists["Account"]))
        known = {"AccountID": place, "Code": code, "Status": "ACTIVE", "Type": "REVENUE"}
        self.lists["Account"][place] = known | fields

    def ledger_status(self, status: str) -> None:
        for account in self.lists["Account"].values():
            account["Status"] = status

    def item(self, code: str, **fields: Any) -> None:
        place = xero_id(200 + len(self.lists["Item"]))
        self.lists["Item"][place] = {"ItemID": place, "Code": code, "IsSold": True} | fields

    def tax(self, tax_type: str, **fields: Any) -> None:
        known = {
            "TaxType": tax_type,
            "Status": "ACTIVE",
            "EffectiveRate": Decimal(20),
            "CanApplyToRevenue": True,
        }
        self.lists["TaxRate"][tax_type] = known | fields

    def won(self, number: int, account: str | None, *lines: Mapping[str, Any], **fields: Any) -> str:
        """A won opportunity, whose Amount is what its lines give."""
        known: dict[str, Any] = {
            "Name": f"Deal {number}",
            "AccountId": account,
            "IsWon": True,
            "StageName": "Closed Won",
            "CloseDate": "2026-11-20",
        }
        if "Amount" not in fields:
            known["Amount"] = sum((_line_total(line) for line in lines), Decimal(0))
        opportunity = self._salesforce("Opportunity", salesforce_id("006", number), known | fields)
        for place, one in enumerate(lines, start=1):
            row = {"OpportunityId": opportunity, "SortOrder": place, **one}
            self._salesforce("OpportunityLineItem", salesforce_id("00k", number * 100 + place), row)
        return opportunity

    def activated(self, number: int, account: str | None, *lines: Mapping[str, Any], **fields: Any) -> str:
        """An activated order, whose TotalAmount is what its lines give."""
        known: dict[str, Any] = {
            "Name": None, "OrderNumber": f"{number:08d}", "AccountId": account, "Status": "Activated",
            "StatusCode": "Activated", "EffectiveDate": "2026-11-20", "OpportunityId": None,
            "TotalAmount": sum((_line_total(line) for line in lines), Decimal(0)),
        }  # fmt: skip
        order = self._salesforce("Order", salesforce_id("801", number), known | fields)
        for place, one in enumerate(lines, start=1):
            row = {"OrderId": order, "OrderItemNumber": str(place), **one}
            row["Description"] = row["Description"] or row["Name"]  # of its own an order's line has no name
            self._salesforce("OrderItem", salesforce_id("802", number * 100 + place), row)
        return order

    def invoice(self, **fields: Any) -> str:
        """An invoice as Xero keeps it, with totals of its own reckoning."""
        record_id = xero_id(7000 + len(self.invoices) + 1)
        lines = fields.pop("LineItems", [])
        body = {"InvoiceID": record_id, "Type": "ACCREC", "Status": "DRAFT", "CurrencyCode": "GBP", **fields}
        body.setdefault("InvoiceNumber", f"INV-{len(self.invoices) + 1:04d}")
        body["UpdatedDateUTC"] = f"/Date({int(self.tick().timestamp() * 1000)}+0000)/"
        contact = (fields.get("Contact") or {}).get("ContactID")
        if contact in self.xero:
            self.xero[contact]["IsCustomer"] = True
        self.invoices[record_id] = _reckoned(lines, fields.get("LineAmountTypes", "Exclusive")) | body
        return record_id

    def body(self, record_id: str) -> dict[str, Any]:
        return self.invoices[record_id] if record_id in self.invoices else super().body(record_id)

    # --- Planning and writing

    def raw(self) -> dict[str, pl.DataFrame]:
        ours = {f"salesforce.{name}": raw_of(self.salesforce[name]) for name in SOLD}
        theirs = {f"xero.{name}": raw_of(bodies) for name, bodies in self.lists.items()}
        return ours | theirs | {"xero.Invoice": raw_of(self.invoices)}

    def build(self, parts: list[Part], decisions: pl.DataFrame) -> Plan:
        self.documents = canonical_documents(self.raw(), self.invoicing, links=self.links, today=self.today)
        self.found = standing(self.documents, self.links, self.invoicing)
        plan = build_plan(parts, schema(self.mapping), decisions, self.found.accounts)
        party = next(part for part in parts if part.mapping.entity == "party")
        made_from = (self.documents, self.found, self.invoicing)
        plan = with_documents(plan, *made_from, party)
        if not self.invoicing.moves:
            return plan
        known = Known(self.links, self.bases_frame(), decisions, self.raw())
        return with_moves(plan, *made_from, known, party)

    def _create(self, row: dict[str, Any], body: dict[str, Any]) -> str:
        return self.invoice(**body) if row["object"] == "Invoice" else super()._create(row, body)

    def invoices_of(self, record_id: str) -> list[dict[str, Any]]:
        """The invoices that carry an opportunity's id."""
        return [
            body
            for body in self.invoices.values()
            if any(
                record_id.upper() in str(body.get(name, "")).upper()
                for name in ("InvoiceNumber", "Reference")
            )
        ]


def line(quantity: Any = 1, price: Any = 100, **fields: Any) -> dict[str, Any]:
    known = {"Name": "Generator", "Description": None, "ProductCode": None, "Discount": None}
    return {**known, "Quantity": _number(quantity), "UnitPrice": _number(price), **fields}


def _number(value: Any) -> Any:
    return value if value is None else Decimal(str(value))


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _line_total(line: Mapping[str, Any]) -> Decimal:
    return cents(line["Quantity"] * line["UnitPrice"] * (100 - (line["Discount"] or Decimal(0))) / 100)


def _reckoned(lines: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    amounts = [
        cents(
            Decimal(str(one["Quantity"]))
            * Decimal(str(one["UnitAmount"]))
            * (100 - Decimal(str(one.get("DiscountRate", 0))))
            / 100
        )
        for one in lines
    ]
    rates = [
        Decimal(0) if kind == "NoTax" else Decimal(RATES[one.get("TaxType", "OUTPUT2")]) for one in lines
    ]
    inclusive = kind == "Inclusive"
    taxes = [
        cents(amount * rate / (100 + rate if inclusive else 100))
        for amount, rate in zip(amounts, rates, strict=True)
    ]
    total, tax = sum(amounts, Decimal(0)), sum(taxes, Decimal(0))
    subtotal = total - tax if inclusive else total
    return {"LineItems": lines, "SubTotal": subtotal, "TotalTax": tax, "Total": subtotal + tax}


def sales(text: str = "", **keys: str) -> Sales:
    """Books over the default mapping with invoices from 2026-11-01 on, and these keys of the invoice."""
    given = {"cut_over": "2026-11-01", **keys}
    invoice = "".join(f"    {key}: {value}\n" for key, value in given.items())
    shipped = library()
    whole = f"extends: [default]\n{text}documents:\n  invoice:\n{invoice}"
    return Sales(load_mapping(whole, name="mine.yaml", library=shipped))


def deals_and_orders(**keys: str) -> Sales:
    """Books in which opportunities and orders become invoices."""
    return Sales(both_billed(**keys))


def both_billed(**keys: str) -> FieldMapping:
    """A mapping by which opportunities and orders become invoices."""
    given = {"cut_over": "2026-11-01", **keys}
    invoice = "".join(f"    {key}: {value}\n" for key, value in given.items())
    whole = f"extends: [default, deals_and_orders]\ndocuments:\n  invoice:\n{invoice}"
    return load_mapping(whole, name="mine.yaml", library=library())


def linked(books: Sales, number: int = 1) -> tuple[str, str]:
    """An account and its contact, linked by an earlier plan."""
    account = books.account(number, Name=f"Firm {number}")
    contact = books.xero_contact(number, Name=f"Firm {number}", ContactNumber=account)
    books.edit(account, ExternalID__c=contact)
    return account, contact


def documents_of(plan: Plan) -> pl.DataFrame:
    return plan.operations.filter(pl.col("entity") == "document")


def brief(plan: Plan) -> list[tuple[str, str, str, str]]:
    """The operations of documents in brief: phase, system, action, unit."""
    return list(documents_of(plan).select("phase", "system", "action", "unit").iter_rows())


def stops(plan: Plan) -> dict[str, str]:
    """Record -> why it became no invoice."""
    told = plan.rejects.filter(pl.col("entity") == "document")
    return dict(told.select("record_id", "reason").iter_rows())

"""Two books that sell products of families to customers of regions, and the past sales of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl
from sales import Sales
from two_books import raw_of, salesforce_id, schema, xero_id

from mappings import library
from reconcile.coding import Past
from reconcile.documents import canonical_documents
from reconcile.holds import with_holds
from reconcile.invoices import standing, with_documents
from reconcile.mapping import load_mapping
from reconcile.plan import Part, Plan, build_plan

SINCE = date(2025, 6, 1)


@dataclass
class CodedSales(Sales):
    """Books whose mapping names products and accounts; `currencies` are those of the organisation."""

    currencies: tuple[str, ...] = ("GBP", "EUR")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.salesforce |= {"Product2": {}, "CurrencyType": {}, "DatedConversionRate": {}}
        self.ledger("210")
        self.ledger("090", Type="BANK")
        self.ledger("299", Status="ARCHIVED")
        self.ledger("820", Type="CURRLIAB", SystemAccount="GST")
        self.tax("ECOUTPUT", EffectiveRate=0)
        self.tax("INPUT2", CanApplyToRevenue=False)

    def product(self, number: int, code: str, family: str | None) -> str:
        record_id = salesforce_id("01t", number)
        self.salesforce["Product2"][record_id] = {"Id": record_id, "ProductCode": code, "Family": family}
        return record_id

    def sold(
        self, number: int, contact: str, day: str, item: str, account: str = "210", tax: str = "OUTPUT2"
    ) -> str:
        """An approved invoice of one line, as somebody booked it."""
        line = {
            "LineItemID": xero_id(8000 + number),
            "ItemCode": item,
            "AccountCode": account,
            "TaxType": tax,
        }
        known = {"Date": f"{day}T00:00:00", "Contact": {"ContactID": contact}, "Status": "AUTHORISED"}
        return self.invoice(LineItems=[{**line, "Quantity": 1, "UnitAmount": 100}], **known)

    def raw(self) -> dict[str, pl.DataFrame]:
        more = {f"salesforce.{name}": raw_of(self.salesforce[name]) for name in self.salesforce}
        held = {code: {"Code": code, "Description": code} for code in self.currencies}
        return {**super().raw(), **more, "xero.Currency": raw_of(held)}

    def build(self, parts: list[Part], decisions: pl.DataFrame) -> Plan:
        party = next(part for part in parts if part.mapping.entity == "party")
        contacts = party.matches.links.select(account_id="salesforce_id", contact_id="xero_id")
        self.documents = canonical_documents(self.raw(), self.invoicing, Past(contacts, SINCE))
        self.documents = with_holds(self.documents, decisions, self.invoicing)
        self.found = standing(self.documents, self.links, self.invoicing)
        plan = build_plan(parts, schema(self.mapping), decisions, self.found.accounts)
        return with_documents(plan, self.documents, self.found, self.invoicing, party)


def coded_sales(lines: str = "", **keys: Any) -> CodedSales:
    """Books over the default mapping, with these keys of `lines` (YAML, indented by six) and of the invoice."""
    given = {"cut_over": "2026-11-01", **keys}
    invoice = "".join(f"    {key}: {value}\n" for key, value in given.items())
    text = f"extends: [default]\ndocuments:\n  invoice:\n{invoice}    lines:\n      items: known\n{lines}"
    return CodedSales(load_mapping(text, name="mine.yaml", library=library()))

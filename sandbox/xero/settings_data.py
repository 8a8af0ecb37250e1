"""Keeps what changes seldom: the organisation, its currencies, and contact groups."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sandbox.store import Body, Store
from sandbox.xero.where import compile_order, compile_where

KEYS = {"organisation": "Organisations", "currency": "Currencies", "contactgroup": "ContactGroups"}
FIELDS = {
    "organisation": {"Name": "String", "OrganisationID": "Guid"},
    "currency": {"Code": "String", "Description": "String"},
    "contactgroup": {"Name": "String", "Status": "String", "ContactGroupID": "Guid"},
}

# recorded: the fields and their order (of the NZ demo company)
DEMO_ORGANISATION: Body = {
    "Name": "Demo Company (UK)", "LegalName": "Demo Company (UK)", "PaysTax": True, "Version": "UK",
    "OrganisationType": "COMPANY", "BaseCurrency": "GBP", "CountryCode": "GB", "IsDemoCompany": True,
    "OrganisationStatus": "ACTIVE", "TaxNumber": "GB 123 4567 89", "FinancialYearEndDay": 31,
    "FinancialYearEndMonth": 3,
    "SalesTaxBasis": "ACCRUALS", "SalesTaxPeriod": "QUARTERLY", "DefaultSalesTax": "Tax Exclusive",
    "DefaultPurchasesTax": "Tax Inclusive", "CreatedDateUTC": "/Date(1704067200000)/",
    "OrganisationEntityType": "COMPANY", "Timezone": "GMTSTANDARDTIME", "ShortCode": "!Sbox1",
    "Edition": "BUSINESS", "Class": "DEMO", "Addresses": [], "Phones": [], "ExternalLinks": [],
    "PaymentTerms": {},
}  # fmt: skip
DEMO_CURRENCIES = {"GBP": "British Pound", "EUR": "Euro", "USD": "United States Dollar"}


def ensure(store: Store) -> None:
    """An organisation and its currencies, where the store has none."""
    with store.transaction():
        if not store.count("organisation"):
            kept = store.kept("credentials", "organisation") or str(uuid.uuid4())
            store.keep("credentials", "organisation", kept)  # the same one after a reset
            store.put("organisation", kept, {**DEMO_ORGANISATION, "OrganisationID": kept})
        if not store.count("currency"):
            for code, description in DEMO_CURRENCIES.items():
                store.put("currency", code, {"Code": code, "Description": description})


def load(store: Store, row: Body) -> int:
    """Put a row if it is of a kind that lives here; gives how many were put."""
    if "OrganisationID" in row or "OrganisationStatus" in row:
        for old, _ in list(store.items("organisation")):
            store.delete("organisation", old)
        organisation = {"OrganisationID": str(uuid.uuid4()), **row}
        store.put("organisation", organisation["OrganisationID"], organisation)
    elif "ContactGroupID" in row:
        store.put("contactgroup", row["ContactGroupID"], {"Status": "ACTIVE", **row})
    elif set(row) == {"Code", "Description"}:
        store.put("currency", row["Code"], row)
    else:
        return 0
    return 1


def listed(store: Store, kind: str, query: Mapping[str, str], *, single_equals: bool) -> list[Body]:
    """All of a kind, by `where` and `order`; these lists have no pages (spec)."""
    rows = list(store.all(kind))
    record_type = KEYS[kind].removesuffix("s")
    if query.get("where"):
        holds: Any = compile_where(query["where"], FIELDS[kind], record_type, single_equals=single_equals)
        rows = [row for row in rows if holds(row)]
    if query.get("order"):
        rows = compile_order(query["order"], FIELDS[kind], record_type)(rows)
    return rows


def organisation_name(store: Store) -> str:
    return next((row["Name"] for row in store.all("organisation")), "")


def group(store: Store, group_id: str) -> Body | None:
    """A contact group with its contacts, by id and name (spec)."""
    found = store.get("contactgroup", group_id.lower())
    if found is None:
        return None
    members = [
        {"ContactID": contact["ContactID"], "Name": contact.get("Name", "")}
        for contact in store.all("contact")
        if any(one["ContactGroupID"] == found["ContactGroupID"] for one in contact.get("ContactGroups", []))
    ]
    return {**found, "Contacts": members}

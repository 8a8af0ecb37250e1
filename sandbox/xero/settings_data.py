"""Keeps what changes seldom: the organisation, its currencies, accounts, tax rates, themes, and contact groups."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.clock import from_ms
from sandbox.store import Body, Store
from sandbox.xero import branding, chart, tracking
from sandbox.xero.where import compile_order, compile_where
from sandbox.xero.wire import read_ms_date

KEYS = {
    "organisation": "Organisations", "currency": "Currencies", "contactgroup": "ContactGroups",
    chart.ACCOUNT: "Accounts", chart.TAX_RATE: "TaxRates",
}  # fmt: skip
FIELDS = {
    "organisation": {"Name": "String", "OrganisationID": "Guid"},
    "currency": {"Code": "String", "Description": "String"},
    "contactgroup": {"Name": "String", "Status": "String", "ContactGroupID": "Guid"},
    chart.ACCOUNT: {
        **dict.fromkeys(
            ("Code", "Name", "Status", "Type", "TaxType", "Class", "SystemAccount", "Description"), "String"
        ),
        "AccountID": "Guid", "EnablePaymentsToAccount": "Boolean", "UpdatedDateUTC": "DateTime",
    },
    chart.TAX_RATE: {
        **dict.fromkeys(("Name", "TaxType", "Status", "ReportTaxType"), "String"),
        **{f"CanApplyTo{what}": "Boolean" for what in chart.APPLIES.values()},
        "DisplayTaxRate": "Decimal", "EffectiveRate": "Decimal",
    },
}  # fmt: skip
# spec: Timezone is a name of Windows in capitals without spaces; these are the ones that a test needs.
ZONES = {
    "GMTSTANDARDTIME": "Europe/London", "NEWZEALANDSTANDARDTIME": "Pacific/Auckland", "UTC": "UTC",
    "AUSEASTERNSTANDARDTIME": "Australia/Sydney", "EASTERNSTANDARDTIME": "America/New_York",
    "PACIFICSTANDARDTIME": "America/Los_Angeles", "WEUROPESTANDARDTIME": "Europe/Berlin",
}  # fmt: skip

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
    """An organisation, its currencies, accounts, tax rates and branding theme, where the store has none."""
    with store.transaction():
        chart.ensure(store)
        branding.ensure(store)
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
    elif "TrackingCategoryID" in row:
        store.put(tracking.KIND, row["TrackingCategoryID"], row, live=row["Status"] != "DELETED")
    elif "BrandingThemeID" in row and "SortOrder" in row:
        branding.put(store, row)
    elif "AccountID" in row or ("Code" in row and "Type" in row):
        chart.put_account(store, row)
    elif "TaxType" in row and "TaxComponents" in row:
        chart.put_tax_rate(store, row)
    elif "ContactGroupID" in row:
        store.put("contactgroup", row["ContactGroupID"], {"Status": "ACTIVE", **row})
    elif set(row) == {"Code", "Description"}:
        store.put("currency", row["Code"], row)
    else:
        return 0
    return 1


def listed(
    store: Store, kind: str, query: Mapping[str, str], *, single_equals: bool, since: int | None = None
) -> list[Body]:
    """All of a kind, by `where` and `order`; these lists have no pages (spec). since: stamps from there, in ms."""
    rows = [
        row for row in store.all(kind) if kind != chart.ACCOUNT or row["Status"] != "DELETED"
    ]  # unconfirmed
    if since is not None:
        rows = [row for row in rows if read_ms_date(row["UpdatedDateUTC"]) >= since]
    record_type = KEYS[kind].removesuffix("s")
    seen = [_queried(row) for row in rows]
    if query.get("where"):
        holds: Any = compile_where(query["where"], FIELDS[kind], record_type, single_equals=single_equals)
        seen = [row for row in seen if holds(row)]
    if query.get("order"):
        seen = compile_order(query["order"], FIELDS[kind], record_type)(seen)
    return [row["Row"] for row in seen]


def _queried(row: Body) -> Body:
    """A row as a query sees it, with the row itself beside it."""
    stamp = row.get("UpdatedDateUTC")
    return {**row, "Row": row, **({"UpdatedDateUTC": read_ms_date(stamp)} if stamp else {})}


def organisation(store: Store) -> Body:
    return next(store.all("organisation"), {})


def organisation_name(store: Store) -> str:
    return organisation(store).get("Name", "")


def today(store: Store, now_ms: int) -> date:
    """The day that it is in the organisation's time zone."""
    zone = ZONES.get(organisation(store).get("Timezone", ""), "UTC")
    return from_ms(now_ms).astimezone(ZoneInfo(zone)).date()

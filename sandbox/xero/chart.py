"""Keeps the chart of accounts and the tax rates, and says what a document may use of them."""

from __future__ import annotations

import uuid
from decimal import Decimal

from sandbox.store import Body, Store

ACCOUNT, TAX_RATE = "account", "taxrate"
MADE = "/Date(1704067200000+0000)/"
NAMESPACE = uuid.UUID("0d7a4a52-6a0c-4f0f-8a7e-6a4a5f0f2b11")

CLASSES = {
    "BANK": "ASSET", "CURRENT": "ASSET", "FIXED": "ASSET", "INVENTORY": "ASSET", "PREPAYMENT": "ASSET",
    "NONCURRENT": "ASSET", "CURRLIAB": "LIABILITY", "LIABILITY": "LIABILITY", "TERMLIAB": "LIABILITY",
    "EQUITY": "EQUITY", "DEPRECIATN": "EXPENSE", "DIRECTCOSTS": "EXPENSE", "EXPENSE": "EXPENSE",
    "OVERHEADS": "EXPENSE", "REVENUE": "REVENUE", "SALES": "REVENUE", "OTHERINCOME": "REVENUE",
}  # fmt: skip
# Code, name, type, tax type, system account. Codes and names of Xero's UK demo company, as far as they are known.
ACCOUNTS = (
    ("090", "Business Bank Account", "BANK", "NONE", None),
    ("091", "Business Savings Account", "BANK", "NONE", None),
    ("200", "Sales", "REVENUE", "OUTPUT2", None),
    ("260", "Other Revenue", "REVENUE", "OUTPUT2", None),
    ("270", "Interest Income", "REVENUE", "NONE", None),
    ("310", "Cost of Goods Sold", "DIRECTCOSTS", "INPUT2", None),
    ("400", "Advertising & Marketing", "OVERHEADS", "INPUT2", None),
    ("404", "Bank Fees", "OVERHEADS", "NONE", None),
    ("429", "General Expenses", "OVERHEADS", "INPUT2", None),
    ("477", "Salaries", "OVERHEADS", "NONE", None),
    ("610", "Accounts Receivable", "CURRENT", "NONE", "DEBTORS"),
    ("800", "Accounts Payable", "CURRLIAB", "NONE", "CREDITORS"),
    ("820", "VAT", "CURRLIAB", "NONE", "GST"),
    ("860", "Rounding", "CURRLIAB", "NONE", "ROUNDING"),
    ("960", "Retained Earnings", "EQUITY", "NONE", "RETAINEDEARNINGS"),
    ("299", "Old Sales", "REVENUE", "OUTPUT2", None),
)
ARCHIVED = ("299",)
# Name, tax type, report type, rate, status, what it can apply to.
# second hand: OUTPUT2 and INPUT2 are 20% in the UK; custom rates are TAX001 and so on
SALES, COSTS, ALL = "AQLR", "AQEL", "AQELR"
RATES = (
    ("20% (VAT on Income)", "OUTPUT2", "OUTPUT", "20.0000", "ACTIVE", SALES),
    ("20% (VAT on Expenses)", "INPUT2", "INPUT", "20.0000", "ACTIVE", COSTS),
    ("5% (VAT on Income)", "RROUTPUT", "OUTPUT", "5.0000", "ACTIVE", SALES),
    ("5% (VAT on Expenses)", "RRINPUT", "INPUT", "5.0000", "ACTIVE", COSTS),
    ("17.5% (VAT on Income)", "OUTPUT", "OUTPUT", "17.5000", "DELETED", SALES),
    ("Zero Rated Income", "ZERORATEDOUTPUT", "ZERORATEDOUTPUT", "0.0000", "ACTIVE", SALES),
    ("Zero Rated Expenses", "ZERORATEDINPUT", "ZERORATEDINPUT", "0.0000", "ACTIVE", COSTS),
    ("Exempt Income", "EXEMPTOUTPUT", "EXEMPTOUTPUT", "0.0000", "ACTIVE", SALES),
    ("Exempt Expenses", "EXEMPTINPUT", "EXEMPTINPUT", "0.0000", "ACTIVE", COSTS),
    ("No VAT", "NONE", "NONE", "0.0000", "ACTIVE", ALL),
    ("Local levy 12.5%", "TAX001", "OUTPUT", "12.5000", "ACTIVE", SALES),
)
APPLIES = {"A": "Assets", "Q": "Equity", "E": "Expenses", "L": "Liabilities", "R": "Revenue"}
OF_CLASS = {
    "ASSET": "Assets", "EQUITY": "Equity", "EXPENSE": "Expenses", "LIABILITY": "Liabilities", "REVENUE": "Revenue",
}  # fmt: skip
NOT_FOR_DOCUMENTS = ("DEBTORS", "CREDITORS")


def declare(store: Store) -> None:
    """The look-up of an account by its code; a deleted one has given its code up."""

    def key(account: Body) -> str | None:
        return (account.get("Code") or "").casefold() or None if account.get("Status") != "DELETED" else None

    store.declare(ACCOUNT, code=key)


def ensure(store: Store) -> None:
    """A chart and its tax rates, where the store has none."""
    if not store.count(ACCOUNT):
        for code, name, kind, tax, system in ACCOUNTS:
            row = {"Code": code, "Name": name, "Type": kind, "TaxType": tax}
            status = "ARCHIVED" if code in ARCHIVED else "ACTIVE"
            put_account(store, {**row, "Status": status, **({"SystemAccount": system} if system else {})})
    if not store.count(TAX_RATE):
        for name, tax, report, rate, status, applies in RATES:
            row = {"Name": name, "TaxType": tax, "ReportTaxType": report, "Status": status}
            row |= {f"CanApplyTo{what}": letter in applies for letter, what in APPLIES.items()}
            put_tax_rate(store, {**row, "TaxComponents": [{"Name": "VAT", "Rate": Decimal(rate)}]})


def put_account(store: Store, row: Body) -> None:
    """Put an account in Xero's shape; what is missing is filled. recorded: the fields and their order."""
    account_id = str(row.get("AccountID") or uuid.uuid5(NAMESPACE, row["Code"])).lower()
    kind = row.get("Type", "REVENUE")
    bank: Body = (
        {"BankAccountNumber": "", "BankAccountType": "BANK", "CurrencyCode": "GBP"} if kind == "BANK" else {}
    )
    account = {
        "AccountID": account_id, "Code": "", "Name": row.get("Code", ""), "Status": "ACTIVE", "Type": kind,
        "TaxType": "NONE", "Class": CLASSES.get(kind, "EXPENSE"), "EnablePaymentsToAccount": False,
        "ShowInExpenseClaims": False, **bank, "ReportingCode": CLASSES.get(kind, "EXPENSE")[:3],
        "HasAttachments": False, "UpdatedDateUTC": MADE, "AddToWatchlist": False,
    }  # fmt: skip
    store.put(ACCOUNT, account_id, {**account, **row, "AccountID": account_id})


def put_tax_rate(store: Store, row: Body) -> None:
    """Put a tax rate in Xero's shape; the rates follow from its components. recorded: the fields."""
    parts: list[Body] = [
        {"IsCompound": False, "IsNonRecoverable": False, **one, "Rate": Decimal(str(one["Rate"]))}
        for one in row.get("TaxComponents", [])
    ]
    plain = sum((one["Rate"] for one in parts if not one["IsCompound"]), Decimal(0))
    effective = plain
    for one in parts:
        if one["IsCompound"]:  # a compound part is taken of the amount with the other taxes
            effective += (100 + plain) * one["Rate"] / 100
    shown = sum((one["Rate"] for one in parts), Decimal(0))
    rate: Body = {
        "Status": "ACTIVE", **{f"CanApplyTo{what}": True for what in APPLIES.values()},
        **row, "TaxComponents": parts, "DisplayTaxRate": shown, "EffectiveRate": effective,
    }  # fmt: skip
    store.put(TAX_RATE, rate["TaxType"], rate)


def account(store: Store, *, code: str | None = None, account_id: str | None = None) -> Body | None:
    if code:
        found = store.find(ACCOUNT, "code", code.casefold())
        return store.get(ACCOUNT, found[0]) if found else None
    return store.get(ACCOUNT, account_id.lower()) if account_id else None


def may_be_used(found: Body | None) -> bool:
    """Whether a line of a document may name an account: there, not archived, no bank, no control account."""
    return (
        found is not None
        and found["Status"] == "ACTIVE"
        and found["Type"] != "BANK"
        and found.get("SystemAccount") not in NOT_FOR_DOCUMENTS
    )


def tax_rate(store: Store, tax_type: str) -> Body | None:
    return store.get(TAX_RATE, tax_type)


def fits(rate: Body, found: Body) -> bool:
    """Whether a tax rate can be used with an account of this class (spec: the CanApplyTo flags)."""
    return bool(rate.get(f"CanApplyTo{OF_CLASS[found['Class']]}", True))

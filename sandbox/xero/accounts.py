"""Writes accounts and currencies: one in a call, named once, and what is used or of the system stays."""

from __future__ import annotations

import re
import uuid
from typing import Any

from sandbox.store import Body, Store
from sandbox.xero import chart
from sandbox.xero.books import Books, Written
from sandbox.xero.wire import ms_date

NAME_TAKEN = "Please enter a unique Name."  # spec
# unconfirmed: the wording of the rest
CODE_TAKEN = "Please enter a unique Code."
MISSING = "{} must be specified"
TOO_LONG = "The length of {} must be {} characters or fewer."
BAD_TYPE = "Account type '{}' is not valid"
BAD_TAX = "The TaxType code '{}' does not exist or cannot be used for this type of account."
BAD_STATUS = "Account status must be ACTIVE or ARCHIVED"
SYSTEM = "System accounts cannot be archived or deleted"
IN_USE = "The account is used and cannot be deleted"
BAD_CURRENCY = "Currency code '{}' is not valid"

LENGTHS = {"Code": 10, "Name": 150, "Description": 4000}  # spec
TEXTS = (*LENGTHS, "Type", "TaxType", "BankAccountNumber", "CurrencyCode")
FLAGS = ("EnablePaymentsToAccount", "ShowInExpenseClaims", "AddToWatchlist")
CURRENCIES = {
    "GBP": "British Pound", "EUR": "Euro", "USD": "United States Dollar", "NZD": "New Zealand Dollar",
    "AUD": "Australian Dollar", "CAD": "Canadian Dollar", "CHF": "Swiss Franc", "JPY": "Japanese Yen",
}  # fmt: skip


def write(books: Books, sent: Body, existing: Body | None) -> Written:
    """Make an account, edit it, archive it, make it active again."""
    errors: list[str] = []
    values: Body = {name: str(sent[name]).strip() for name in TEXTS if sent.get(name) is not None}
    values |= {name: sent[name] for name in FLAGS if isinstance(sent.get(name), bool)}
    values["Status"] = sent.get("Status") or (existing or {"Status": "ACTIVE"})["Status"]
    kept = {name: value for name, value in (existing or {}).items() if name not in ("Class", "ReportingCode")}
    account: Body = {"AccountID": str(uuid.uuid4()), **kept, **values}
    account.setdefault("TaxType", _usual_tax(account.get("Type", "")))
    _check(books.store, account, existing, errors)
    if errors:
        return Written(sent, None, existing["AccountID"] if existing else None, errors)
    chart.put_account(books.store, {**account, "UpdatedDateUTC": ms_date(books.clock.stamp_ms())})
    return Written(sent, chart.account(books.store, account_id=account["AccountID"]), account["AccountID"])


def _usual_tax(kind: str) -> str:
    """unconfirmed: the tax type of an account that names none."""
    return {"REVENUE": "OUTPUT2", "EXPENSE": "INPUT2"}.get(chart.CLASSES.get(kind, ""), "NONE")


def _check(store: Store, account: Body, existing: Body | None, errors: list[str]) -> None:
    errors += [MISSING.format(name) for name in ("Name", "Type") if not account.get(name)]
    if not account.get("Code") and account.get("Type") != "BANK":  # spec: only a bank account needs no code
        errors.append(MISSING.format("Code"))
    errors += [
        TOO_LONG.format(name, most) for name, most in LENGTHS.items() if len(account.get(name, "")) > most
    ]
    if account.get("Type") and account["Type"] not in chart.CLASSES:
        errors.append(BAD_TYPE.format(account["Type"]))
    rate = chart.tax_rate(store, account["TaxType"])
    if rate is None or rate["Status"] != "ACTIVE":
        errors.append(BAD_TAX.format(account["TaxType"]))
    others = [one for one in store.all(chart.ACCOUNT) if one["AccountID"] != account["AccountID"]]
    others = [one for one in others if one["Status"] != "DELETED"]
    for name, message in (("Name", NAME_TAKEN), ("Code", CODE_TAKEN)):
        taken = {(one.get(name) or "").casefold() for one in others} - {""}
        if (account.get(name) or "").casefold() in taken:
            errors.append(message)
    if account["Status"] not in ("ACTIVE", "ARCHIVED"):
        errors.append(BAD_STATUS)
    if existing and existing.get("SystemAccount") and account["Status"] != "ACTIVE":
        errors.append(SYSTEM)


def delete(books: Books, sent: Body, account: Body) -> Written:
    """spec: the reply shows it DELETED. unconfirmed: that what a document or an item names stays."""
    errors = [SYSTEM] if account.get("SystemAccount") else []
    errors += [IN_USE] if _is_used(books.store, account) else []
    if errors:
        return Written(sent, None, account["AccountID"], errors)
    deleted = {**account, "Status": "DELETED", "UpdatedDateUTC": ms_date(books.clock.stamp_ms())}
    chart.put_account(books.store, deleted)
    return Written(sent, deleted, account["AccountID"])


def _is_used(store: Store, account: Body) -> bool:
    """Whether a line, a payment or an item names the account."""
    lines = (
        line
        for kind in ("invoice", "creditnote", "overpayment", "prepayment")
        for document in store.all(kind)
        for line in document.get("LineItems") or []
    )
    code, account_id = account["Code"], account["AccountID"]
    named = any(
        (code and one.get("AccountCode") == code) or one.get("AccountID") == account_id for one in lines
    )
    return (
        named
        or any(one.get("AccountID") == account_id for one in store.all("payment"))
        or code in _of_items(store)
    )


def _of_items(store: Store) -> set[Any]:
    codes: set[Any] = set()
    for item in store.all("item"):
        codes.add(item.get("InventoryAssetAccountCode"))
        for side in ("SalesDetails", "PurchaseDetails"):
            codes |= {(item.get(side) or {}).get(name) for name in ("AccountCode", "COGSAccountCode")}
    return codes


def add_currency(books: Books, sent: Body) -> Written:
    """Subscribe the organisation to a currency; to subscribe again changes nothing (unconfirmed)."""
    code = str(sent.get("Code") or "").strip()
    if not re.fullmatch("[A-Z]{3}", code):
        return Written(sent, None, None, [BAD_CURRENCY.format(code)])
    currency = {"Code": code, "Description": CURRENCIES.get(code, str(sent.get("Description") or code))}
    kept = books.store.get("currency", code)
    if kept is None:
        books.store.put("currency", code, currency)
    return Written(sent, kept or currency, code)

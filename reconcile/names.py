"""Texts, names, e-mail and web addresses: how their spelling is folded, and which mailboxes are nobody's own.

Case stays as it is in names: "ACME" and "Acme" are two values, and changing one into the other is a change.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import polars as pl

# Written out rather than \\s, so that Python and Rust agree on every character.
INVISIBLE: Final = "[\u200b\u2060\ufeff]"
BLANKS: Final = "[\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
EMAIL: Final = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+")


def fold(text: str | None) -> str | None:
    """Trim, fold whitespace to single spaces, compose (NFC); what is blank then is no value."""
    if text is None:
        return None
    spaced = re.sub(BLANKS, " ", re.sub(INVISIBLE, "", text)).strip(" ")
    return unicodedata.normalize("NFC", spaced) or None


def spoken(unit: str) -> str:
    """Give a unit's name as it is said: billing_address is billing address; a custom field is what it is called."""
    if unit.startswith("Xero_"):
        return spoken_field(unit)
    return unit if unit.endswith("__c") else unit.replace("_", " ")


def spoken_field(field: str) -> str:
    """Give the name of a field that we ship as it is said: Xero_Invoice_Amount_Due__c is invoice amount due."""
    return field.removeprefix("Xero_").removesuffix("__c").replace("_", " ").lower()


def folded(text: pl.Expr) -> pl.Expr:
    """The same as `fold`, for a column."""
    spaced = text.str.replace_all(INVISIBLE, "").str.replace_all(BLANKS, " ").str.strip_chars(" ")
    return blank_to_null(spaced.str.normalize("NFC"))


def blank_to_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def upper(text: pl.Expr) -> pl.Expr:
    return folded(folded(text).str.to_uppercase())


def lower(text: pl.Expr) -> pl.Expr:
    return folded(folded(text).str.to_lowercase())


def code(text: pl.Expr) -> pl.Expr:
    """Letters and digits only, in capitals: `gb 123-4567.89` and `GB123456789` are one tax number."""
    return blank_to_null(upper(text).str.replace_all(r"[^\p{L}\p{N}]", ""))


def email(text: pl.Expr) -> pl.Expr:
    """An e-mail address in lower case, the local part too.

    By the standard the local part may care about case; no mail system of note does, Salesforce keeps every
    address in lower case, and a difference in case alone would stand as drift for ever.
    """
    return folded(lower(text).str.replace(r"^mailto:\s*", ""))


def website(text: pl.Expr) -> pl.Expr:
    """Host in lower case and path as it is, without scheme and closing slash."""
    bare = folded(text).str.replace(r"^(?i:https?://)+", "").str.replace(r"[ /]+$", "")
    host = bare.str.extract(r"^([^/?#]*)").str.to_lowercase()
    return folded(host + bare.str.replace(r"^[^/?#]*", ""))


def person_name(first: pl.Expr, last: pl.Expr) -> pl.Expr:
    """JSON {"first", "last"}; no value where both are blank. A name is one unit: never half of two people."""
    parts = pl.struct(first=folded(first), last=folded(last))
    some = folded(first).is_not_null() | folded(last).is_not_null()
    return pl.when(some).then(parts.struct.json_encode())


ROLES: Final = (
    "accounts?|accounting|accounts?payable|accounts?receivable|accounts?dept|acct?s?|ap|ar|apinvoices?|"
    "admin|administration|administrator|billing|billings|bills|bookkeep(?:er|ing)|buchhaltung|comptabilite|compta|"
    "contact|contactus|contabilidad|credit|creditcontrol|creditors|customerservices?|debtors|einvoices?|"
    "enquir(?:y|ies)|inquir(?:y|ies)|facturacion|facturas?|factures?|fatture|finance|finances|financial|frontdesk|"
    "hello|help|helpdesk|hi|hq|info|information|invoices?|invoicing|kontakt|ledger|mail|mailbox|no[._-]?reply|do[._-]?not[._-]?reply|"
    "office|orders?|payables?|payments?|payroll|postmaster|procurement|purchase|purchases|purchasing|"
    "purchaseledger|salesledger|receipts?|receivables?|reception|rechnung(?:en)?|remittances?|sales|secretary|"
    "services?|statements?|studio|suppliers?|support|team|treasury|vendors?|webmaster"
)
BESIDE: Final = (
    "dept|department|desk|group|head|payable|receivable|control|only|inbox|us|uk|au|nz|ie|ca|eu|"
    "usa|apac|emea|global|the|and|of|central|main|general|online"
)
ROLE_MAILBOX: Final = (
    rf"^(?:(?:{BESIDE})[._-]+)*(?:{ROLES})(?:[._-]+(?:{ROLES}|{BESIDE}|[0-9]+))*[0-9]*(?:\+[^@]*)?@"
)


def is_role_mailbox(address: pl.Expr) -> pl.Expr:
    """True for the address of a desk (accounts@, billing@, ap-invoices@ ...), which belongs to no person."""
    return address.str.contains(ROLE_MAILBOX).fill_null(False)

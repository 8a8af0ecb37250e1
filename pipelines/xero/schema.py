"""Xero's published schema of a contact, as FIELDS (spec 16.1.0, XeroAPI/Xero-OpenAPI, 2026-07-13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

WRITABLE, READ_ONLY = True, False
TEXT, FLAG, NUMBER, MOMENT, LIST, OBJECT = "string", "boolean", "decimal", "datetime", "list", "object"
PHONES: Final = ("DEFAULT", "DDI", "MOBILE", "FAX")
ADDRESSES: Final = ("POBOX", "STREET")

# Field, type, length, may be written.
TOP: Final[tuple[tuple[str, str, int | None, bool], ...]] = (
    ("ContactID", TEXT, None, READ_ONLY),
    ("ContactNumber", TEXT, 50, WRITABLE),
    ("AccountNumber", TEXT, 50, WRITABLE),
    ("ContactStatus", TEXT, None, WRITABLE),
    ("Name", TEXT, 255, WRITABLE),
    ("FirstName", TEXT, 255, WRITABLE),
    ("LastName", TEXT, 255, WRITABLE),
    ("CompanyNumber", TEXT, 50, WRITABLE),
    ("EmailAddress", TEXT, 255, WRITABLE),
    ("BankAccountDetails", TEXT, None, WRITABLE),
    ("TaxNumber", TEXT, 50, WRITABLE),
    ("TaxNumberType", TEXT, None, WRITABLE),
    ("AccountsReceivableTaxType", TEXT, None, WRITABLE),
    ("AccountsPayableTaxType", TEXT, None, WRITABLE),
    ("SalesDefaultLineAmountType", TEXT, None, WRITABLE),
    ("PurchasesDefaultLineAmountType", TEXT, None, WRITABLE),
    ("DefaultCurrency", TEXT, None, WRITABLE),
    ("XeroNetworkKey", TEXT, None, WRITABLE),
    ("SalesDefaultAccountCode", TEXT, None, WRITABLE),
    ("PurchasesDefaultAccountCode", TEXT, None, WRITABLE),
    ("TrackingCategoryName", TEXT, None, WRITABLE),
    ("TrackingCategoryOption", TEXT, None, WRITABLE),
    ("IsSupplier", FLAG, None, READ_ONLY),
    ("IsCustomer", FLAG, None, READ_ONLY),
    ("Website", TEXT, None, READ_ONLY),
    ("Discount", NUMBER, None, READ_ONLY),
    ("UpdatedDateUTC", MOMENT, None, READ_ONLY),
    ("UpdatedDateUTCString", TEXT, None, READ_ONLY),
    ("MergedToContactID", TEXT, None, READ_ONLY),
    ("HasAttachments", FLAG, None, READ_ONLY),
    ("HasValidationErrors", FLAG, None, READ_ONLY),
    ("StatusAttributeString", TEXT, None, READ_ONLY),
    ("Phones", LIST, None, WRITABLE),
    ("Addresses", LIST, None, WRITABLE),
    ("ContactPersons", LIST, None, WRITABLE),
    ("ContactGroups", LIST, None, READ_ONLY),
    ("SalesTrackingCategories", LIST, None, WRITABLE),
    ("PurchasesTrackingCategories", LIST, None, WRITABLE),
    ("Attachments", LIST, None, READ_ONLY),
    ("ValidationErrors", LIST, None, READ_ONLY),
    ("Warnings", LIST, None, READ_ONLY),
    ("PaymentTerms", OBJECT, None, WRITABLE),
    ("BrandingTheme", OBJECT, None, READ_ONLY),
    ("BatchPayments", OBJECT, None, WRITABLE),
    ("Balances", OBJECT, None, READ_ONLY),
)
PHONE_PARTS: Final = (("PhoneNumber", 50), ("PhoneAreaCode", 10), ("PhoneCountryCode", 20))
ADDRESS_PARTS: Final = (
    *((f"AddressLine{n}", 500) for n in range(1, 5)),
    ("City", 255),
    ("Region", 255),
    ("PostalCode", 50),
    ("Country", 50),
    ("AttentionTo", 255),
)
OPTIONS: Final = {
    "ContactStatus": ["ACTIVE", "ARCHIVED", "GDPRREQUEST"],
    "TaxNumberType": ["SSN", "EIN", "ITIN", "ATIN"],
}
KINDS: Final = {name: kind for name, kind, _, _ in TOP}

# Not part of what a record is. StatusAttributeString, HasValidationErrors, ValidationErrors and Warnings
# speak of a write, not of the contact. Balances move with each invoice and payment without moving the
# contact's stamp: every sweep would make a new version of each customer, and a delta would still show an
# old balance. HasAttachments and Attachments tell of files, which are not reconciled and move no stamp.
# IsCustomer and IsSupplier move no stamp either, but they are roles: a sweep has to bring them.
VOLATILE: Final = frozenset(
    {
        "StatusAttributeString",
        "HasValidationErrors",
        "ValidationErrors",
        "Warnings",
        "Balances",
        "HasAttachments",
        "Attachments",
    }
)


def contact_fields() -> pl.DataFrame:
    """Give FIELDS of Xero's Contact, one row a path as a mapping names it."""
    import polars as pl

    from reconcile.model import FIELDS

    return pl.DataFrame([_row(*entry) for entry in _paths()], schema=dict(FIELDS), orient="row")


def observed_paths() -> frozenset[str]:
    """Give every path that a page of contacts carries: all of the schema's."""
    return frozenset(path for path, *_ in _paths())


def _paths() -> Iterator[tuple[str, str, int | None, bool]]:
    yield from TOP
    for slot in PHONES:
        yield from ((f"Phones.{slot}.{part}", TEXT, length, WRITABLE) for part, length in PHONE_PARTS)
    for slot in ADDRESSES:
        yield from ((f"Addresses.{slot}.{part}", TEXT, length, WRITABLE) for part, length in ADDRESS_PARTS)


def _row(path: str, kind: str, length: int | None, writable: bool) -> tuple[Any, ...]:
    # Only the server demands Name; the schema demands nothing.
    return ("xero", "Contact", path, kind, length, writable, writable, path == "Name", OPTIONS.get(path))

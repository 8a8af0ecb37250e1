"""Xero's published schema of the objects that are pulled, as FIELDS (spec 16.1.0, XeroAPI/Xero-OpenAPI, 2026-07-13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

WRITABLE, READ_ONLY = True, False
TEXT, FLAG, NUMBER, MOMENT, LIST, OBJECT = "string", "boolean", "decimal", "datetime", "list", "object"
PHONES: Final = ("DEFAULT", "DDI", "MOBILE", "FAX")
ADDRESSES: Final = ("POBOX", "STREET")

Fields = tuple[tuple[str, str, int | None, bool], ...]  # field, type, length, may be written

CONTACT: Final[Fields] = (
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
INVOICE: Final[Fields] = (
    ("InvoiceID", TEXT, None, READ_ONLY),
    ("Type", TEXT, None, WRITABLE),
    ("InvoiceNumber", TEXT, 255, WRITABLE),
    ("Reference", TEXT, 255, WRITABLE),
    ("Status", TEXT, None, WRITABLE),
    ("Date", TEXT, None, WRITABLE),
    ("DateString", TEXT, None, READ_ONLY),
    ("DueDate", TEXT, None, WRITABLE),
    ("DueDateString", TEXT, None, READ_ONLY),
    ("LineAmountTypes", TEXT, None, WRITABLE),
    ("CurrencyCode", TEXT, None, WRITABLE),
    ("CurrencyRate", NUMBER, None, WRITABLE),
    ("BrandingThemeID", TEXT, None, WRITABLE),
    ("RepeatingInvoiceID", TEXT, None, READ_ONLY),
    ("Url", TEXT, None, WRITABLE),
    ("SentToContact", FLAG, None, WRITABLE),
    ("ExpectedPaymentDate", TEXT, None, WRITABLE),
    ("ExpectedPaymentDateString", TEXT, None, READ_ONLY),
    ("PlannedPaymentDate", TEXT, None, WRITABLE),
    ("PlannedPaymentDateString", TEXT, None, READ_ONLY),
    ("FullyPaidOnDate", TEXT, None, READ_ONLY),
    ("SubTotal", NUMBER, None, READ_ONLY),
    ("TotalTax", NUMBER, None, READ_ONLY),
    ("Total", NUMBER, None, READ_ONLY),
    ("TotalDiscount", NUMBER, None, READ_ONLY),
    ("RoundingAmount", NUMBER, None, READ_ONLY),
    ("EnteredTotal", NUMBER, None, READ_ONLY),
    ("CISDeduction", NUMBER, None, READ_ONLY),
    ("CISRate", NUMBER, None, READ_ONLY),
    ("AmountDue", NUMBER, None, READ_ONLY),
    ("AmountPaid", NUMBER, None, READ_ONLY),
    ("AmountCredited", NUMBER, None, READ_ONLY),
    ("IsDiscounted", FLAG, None, READ_ONLY),
    ("HasAttachments", FLAG, None, READ_ONLY),
    ("HasErrors", FLAG, None, READ_ONLY),
    ("HasValidationErrors", FLAG, None, READ_ONLY),
    ("StatusAttributeString", TEXT, None, READ_ONLY),
    ("UpdatedDateUTC", MOMENT, None, READ_ONLY),
    ("UpdatedDateUTCString", TEXT, None, READ_ONLY),
    ("Contact", OBJECT, None, WRITABLE),
    ("LineItems", LIST, None, WRITABLE),
    ("Payments", LIST, None, READ_ONLY),
    ("Prepayments", LIST, None, READ_ONLY),
    ("Overpayments", LIST, None, READ_ONLY),
    ("CreditNotes", LIST, None, READ_ONLY),
    ("Attachments", LIST, None, READ_ONLY),
    ("InvoiceAddresses", LIST, None, WRITABLE),
    ("InvoicePaymentServices", LIST, None, READ_ONLY),
    ("ValidationErrors", LIST, None, READ_ONLY),
    ("Warnings", LIST, None, READ_ONLY),
)
PAYMENT: Final[Fields] = (
    ("PaymentID", TEXT, None, READ_ONLY),
    ("Date", TEXT, None, WRITABLE),
    ("Amount", NUMBER, None, WRITABLE),
    ("BankAmount", NUMBER, None, WRITABLE),
    ("CurrencyRate", NUMBER, None, WRITABLE),
    ("Reference", TEXT, None, WRITABLE),
    ("Status", TEXT, None, WRITABLE),
    ("PaymentType", TEXT, None, READ_ONLY),
    ("IsReconciled", FLAG, None, WRITABLE),
    ("InvoiceNumber", TEXT, None, WRITABLE),
    ("CreditNoteNumber", TEXT, None, WRITABLE),
    ("Code", TEXT, None, WRITABLE),
    ("BatchPaymentID", TEXT, None, READ_ONLY),
    ("BankAccountNumber", TEXT, None, WRITABLE),
    ("Particulars", TEXT, None, WRITABLE),
    ("Details", TEXT, None, WRITABLE),
    ("HasAccount", FLAG, None, READ_ONLY),
    ("HasValidationErrors", FLAG, None, READ_ONLY),
    ("StatusAttributeString", TEXT, None, READ_ONLY),
    ("UpdatedDateUTC", MOMENT, None, READ_ONLY),
    ("UpdatedDateUTCString", TEXT, None, READ_ONLY),
    ("Invoice", OBJECT, None, WRITABLE),
    ("CreditNote", OBJECT, None, WRITABLE),
    ("Prepayment", OBJECT, None, WRITABLE),
    ("Overpayment", OBJECT, None, WRITABLE),
    ("BatchPayment", OBJECT, None, READ_ONLY),
    ("Account", OBJECT, None, WRITABLE),
    ("ValidationErrors", LIST, None, READ_ONLY),
    ("Warnings", LIST, None, READ_ONLY),
)
OF_CREDITS: Final[Fields] = (
    ("Type", TEXT, None, WRITABLE),
    ("Reference", TEXT, None, WRITABLE),
    ("Status", TEXT, None, WRITABLE),
    ("Date", TEXT, None, WRITABLE),
    ("DateString", TEXT, None, READ_ONLY),
    ("LineAmountTypes", TEXT, None, WRITABLE),
    ("CurrencyCode", TEXT, None, WRITABLE),
    ("CurrencyRate", NUMBER, None, WRITABLE),
    ("SubTotal", NUMBER, None, READ_ONLY),
    ("TotalTax", NUMBER, None, READ_ONLY),
    ("Total", NUMBER, None, READ_ONLY),
    ("RemainingCredit", NUMBER, None, READ_ONLY),
    ("AppliedAmount", NUMBER, None, READ_ONLY),
    ("HasAttachments", FLAG, None, READ_ONLY),
    ("HasErrors", FLAG, None, READ_ONLY),
    ("HasValidationErrors", FLAG, None, READ_ONLY),
    ("StatusAttributeString", TEXT, None, READ_ONLY),
    ("UpdatedDateUTC", MOMENT, None, READ_ONLY),
    ("UpdatedDateUTCString", TEXT, None, READ_ONLY),
    ("Contact", OBJECT, None, WRITABLE),
    ("LineItems", LIST, None, WRITABLE),
    ("Allocations", LIST, None, READ_ONLY),
    ("Payments", LIST, None, READ_ONLY),
    ("Attachments", LIST, None, READ_ONLY),
    ("ValidationErrors", LIST, None, READ_ONLY),
    ("Warnings", LIST, None, READ_ONLY),
)
CREDIT_NOTE: Final[Fields] = (
    ("CreditNoteID", TEXT, None, READ_ONLY),
    ("CreditNoteNumber", TEXT, 255, WRITABLE),
    *OF_CREDITS,
    ("DueDate", TEXT, None, WRITABLE),
    ("DueDateString", TEXT, None, READ_ONLY),
    ("FullyPaidOnDate", TEXT, None, READ_ONLY),
    ("BrandingThemeID", TEXT, None, WRITABLE),
    ("SentToContact", FLAG, None, READ_ONLY),
    ("TotalDiscount", NUMBER, None, READ_ONLY),
    ("CISDeduction", NUMBER, None, READ_ONLY),
    ("CISRate", NUMBER, None, READ_ONLY),
    ("InvoiceAddresses", LIST, None, WRITABLE),
)
OVERPAYMENT: Final[Fields] = (("OverpaymentID", TEXT, None, READ_ONLY), *OF_CREDITS)
PREPAYMENT: Final[Fields] = (
    ("PrepaymentID", TEXT, None, READ_ONLY),
    *OF_CREDITS,
    ("InvoiceNumber", TEXT, None, READ_ONLY),
    ("BrandingThemeID", TEXT, None, READ_ONLY),
)
ITEM: Final[Fields] = (
    ("ItemID", TEXT, None, READ_ONLY),
    ("Code", TEXT, 30, WRITABLE),
    ("Name", TEXT, 50, WRITABLE),
    ("Description", TEXT, 4000, WRITABLE),
    ("PurchaseDescription", TEXT, 4000, WRITABLE),
    ("InventoryAssetAccountCode", TEXT, None, WRITABLE),
    ("IsSold", FLAG, None, WRITABLE),
    ("IsPurchased", FLAG, None, WRITABLE),
    ("IsTrackedAsInventory", FLAG, None, READ_ONLY),
    ("TotalCostPool", NUMBER, None, READ_ONLY),
    ("QuantityOnHand", NUMBER, None, READ_ONLY),
    ("QuantityAvailable", NUMBER, None, READ_ONLY),
    ("QuantityOnBackOrder", NUMBER, None, READ_ONLY),
    ("UpdatedDateUTC", MOMENT, None, READ_ONLY),
    ("SalesDetails", OBJECT, None, WRITABLE),
    ("PurchaseDetails", OBJECT, None, WRITABLE),
    ("StatusAttributeString", TEXT, None, READ_ONLY),
    ("ValidationErrors", LIST, None, READ_ONLY),
)
ACCOUNT: Final[Fields] = (
    ("AccountID", TEXT, None, READ_ONLY),
    ("Code", TEXT, 10, WRITABLE),
    ("Name", TEXT, 150, WRITABLE),
    ("Status", TEXT, None, WRITABLE),
    ("Type", TEXT, None, WRITABLE),
    ("TaxType", TEXT, None, WRITABLE),
    ("Class", TEXT, None, READ_ONLY),
    ("Description", TEXT, 4000, WRITABLE),
    ("CurrencyCode", TEXT, None, WRITABLE),
    ("SystemAccount", TEXT, None, READ_ONLY),
    ("EnablePaymentsToAccount", FLAG, None, WRITABLE),
    ("ShowInExpenseClaims", FLAG, None, WRITABLE),
    ("AddToWatchlist", FLAG, None, WRITABLE),
    ("BankAccountNumber", TEXT, None, WRITABLE),
    ("BankAccountType", TEXT, None, WRITABLE),
    ("ReportingCode", TEXT, None, READ_ONLY),
    ("ReportingCodeName", TEXT, None, READ_ONLY),
    ("ReportingCodeUpdatedUTC", TEXT, None, READ_ONLY),
    ("HasAttachments", FLAG, None, READ_ONLY),
    ("UpdatedDateUTC", MOMENT, None, READ_ONLY),
    ("ValidationErrors", LIST, None, READ_ONLY),
)
TAX_RATE: Final[Fields] = (
    ("TaxType", TEXT, None, READ_ONLY),
    ("Name", TEXT, None, WRITABLE),
    ("Status", TEXT, None, WRITABLE),
    ("ReportTaxType", TEXT, None, WRITABLE),
    ("DisplayTaxRate", NUMBER, None, READ_ONLY),
    ("EffectiveRate", NUMBER, None, READ_ONLY),
    *(
        (f"CanApplyTo{what}", FLAG, None, READ_ONLY)
        for what in ("Assets", "Equity", "Expenses", "Liabilities", "Revenue")
    ),
    ("TaxComponents", LIST, None, WRITABLE),
)
ORGANISATION: Final[Fields] = (
    ("OrganisationID", TEXT, None, READ_ONLY),
    ("Name", TEXT, None, READ_ONLY),
    ("BaseCurrency", TEXT, None, READ_ONLY),
    ("CountryCode", TEXT, None, READ_ONLY),
    ("Timezone", TEXT, None, READ_ONLY),
    ("Version", TEXT, None, READ_ONLY),
    ("IsDemoCompany", FLAG, None, READ_ONLY),
    ("OrganisationStatus", TEXT, None, READ_ONLY),
    ("PeriodLockDate", TEXT, None, READ_ONLY),
    ("EndOfYearLockDate", TEXT, None, READ_ONLY),
    ("DefaultSalesTax", TEXT, None, READ_ONLY),
    ("ShortCode", TEXT, None, READ_ONLY),
)
BRANDING_THEME: Final[Fields] = (
    ("BrandingThemeID", TEXT, None, READ_ONLY),
    ("Name", TEXT, None, READ_ONLY),
    ("LogoUrl", TEXT, None, READ_ONLY),
    ("Type", TEXT, None, READ_ONLY),
    ("SortOrder", NUMBER, None, READ_ONLY),
    ("CreatedDateUTC", TEXT, None, READ_ONLY),
    ("PaymentServices", LIST, None, READ_ONLY),
)
TRACKING_CATEGORY: Final[Fields] = (
    ("TrackingCategoryID", TEXT, None, READ_ONLY),
    ("Name", TEXT, 100, WRITABLE),
    ("Status", TEXT, None, WRITABLE),
    ("Options", LIST, None, READ_ONLY),
    # Of a category on a line, not in this list.
    ("TrackingOptionID", TEXT, None, READ_ONLY),
    ("Option", TEXT, None, READ_ONLY),
)
CONTACT_GROUP: Final[Fields] = (
    ("ContactGroupID", TEXT, None, READ_ONLY),
    ("Name", TEXT, None, WRITABLE),
    ("Status", TEXT, None, WRITABLE),
    ("Contacts", LIST, None, WRITABLE),
    ("HasValidationErrors", FLAG, None, READ_ONLY),
    ("ValidationErrors", LIST, None, READ_ONLY),
)
CURRENCY: Final[Fields] = (
    ("Code", TEXT, None, WRITABLE),
    ("Description", TEXT, None, READ_ONLY),
)
OBJECTS: Final[dict[str, Fields]] = {
    "Contact": CONTACT,
    "Invoice": INVOICE,
    "Bill": INVOICE,
    "Payment": PAYMENT,
    "CreditNote": CREDIT_NOTE,
    "Overpayment": OVERPAYMENT,
    "Prepayment": PREPAYMENT,
    "Item": ITEM,
    "Account": ACCOUNT,
    "TaxRate": TAX_RATE,
    "Organisation": ORGANISATION,
    "BrandingTheme": BRANDING_THEME,
    "TrackingCategory": TRACKING_CATEGORY,
    "Currency": CURRENCY,
    "ContactGroup": CONTACT_GROUP,
}
# Of these only what we read is listed: what else they carry is no news.
LISTED_IN_PART: Final = frozenset({"Organisation"})
ITEM_DETAILS: Final = {
    "SalesDetails": (("UnitPrice", NUMBER), ("AccountCode", TEXT), ("TaxType", TEXT)),
    "PurchaseDetails": (
        ("UnitPrice", NUMBER),
        ("AccountCode", TEXT),
        ("COGSAccountCode", TEXT),
        ("TaxType", TEXT),
    ),
}
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
    ("Contact", "ContactStatus"): ["ACTIVE", "ARCHIVED", "GDPRREQUEST"],
    ("Contact", "TaxNumberType"): ["SSN", "EIN", "ITIN", "ATIN"],
    ("Invoice", "Status"): ["DRAFT", "SUBMITTED", "DELETED", "AUTHORISED", "PAID", "VOIDED"],
}
# Only the server demands these; the schema demands nothing.
DEMANDED: Final = frozenset({("Contact", "Name"), ("Item", "Code")})

# Not part of what a record is. StatusAttributeString, HasErrors, ValidationErrors and Warnings speak of a
# write, not of the record. A contact's Balances move with each invoice and payment without moving its
# stamp: every sweep would make a new version of each customer, and a delta would still show an old balance.
# Likewise what an item has in stock. HasAttachments and Attachments tell of files, which are not reconciled
# and move no stamp. RoundingAmount and EnteredTotal are shown by one address and not by another.
# IsCustomer and IsSupplier move no stamp either, but they are roles: a sweep has to bring them.
VOLATILE: Final = frozenset(
    {
        "StatusAttributeString",
        "HasErrors",
        "HasValidationErrors",
        "ValidationErrors",
        "Warnings",
        "Balances",
        "TotalCostPool",
        "QuantityOnHand",
        "QuantityAvailable",
        "QuantityOnBackOrder",
        "RoundingAmount",
        "EnteredTotal",
        "HasAttachments",
        "Attachments",
    }
)


def kinds(object_name: str) -> dict[str, str]:
    """Give field -> type of an object."""
    return {name: kind for name, kind, _, _ in OBJECTS[object_name]}


def fields_frame(object_name: str) -> pl.DataFrame:
    """Give FIELDS of an object, one row a path as a mapping names it."""
    import polars as pl

    from reconcile.model import FIELDS

    rows = [_row(object_name, *entry) for entry in _paths(object_name)]
    return pl.DataFrame(rows, schema=dict(FIELDS), orient="row")


def observed_paths(object_name: str) -> frozenset[str]:
    """Give every path that a list of the object carries: all of the schema's."""
    return frozenset(path for path, *_ in _paths(object_name))


def _paths(object_name: str) -> Iterator[tuple[str, str, int | None, bool]]:
    yield from OBJECTS[object_name]
    if object_name == "Item":
        for group, fields in ITEM_DETAILS.items():
            yield from ((f"{group}.{name}", kind, None, WRITABLE) for name, kind in fields)
    if object_name != "Contact":
        return
    for slot in PHONES:
        yield from ((f"Phones.{slot}.{part}", TEXT, length, WRITABLE) for part, length in PHONE_PARTS)
    for slot in ADDRESSES:
        yield from ((f"Addresses.{slot}.{part}", TEXT, length, WRITABLE) for part, length in ADDRESS_PARTS)


def _row(object_name: str, path: str, kind: str, length: int | None, writable: bool) -> tuple[Any, ...]:
    place = (object_name, path)
    return ("xero", *place, kind, length, writable, writable, place in DEMANDED, OPTIONS.get(place))

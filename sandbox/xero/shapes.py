"""The shapes in which Xero shows a contact: read in a list, read by id, just written, refused.

A stored contact holds texts that are not blank, Phones and Addresses by type, UpdatedMs, and Written: whether
the API ever wrote it.
"""

from __future__ import annotations

from typing import Any

from sandbox.dialect import Dialect
from sandbox.store import Body
from sandbox.xero.mangle import ADDRESS, ADDRESS_TYPES, PHONE, PHONE_TYPES
from sandbox.xero.wire import NO_ID, ms_date, read_ms_date

# recorded: the order of fields, and that blank ones are not there
HEAD = (
    "ContactNumber", "AccountNumber", "ContactStatus", "Name", "FirstName", "LastName", "CompanyNumber",
    "EmailAddress", "BankAccountDetails", "TaxNumber", "TaxNumberType", "AccountsReceivableTaxType",
    "AccountsPayableTaxType",
)  # fmt: skip
TRACKING = ("SalesTrackingCategories", "PurchasesTrackingCategories")
# spec, and unconfirmed for some: only with paging, by id or by number
DETAILS = (
    "XeroNetworkKey", "SalesDefaultAccountCode", "PurchasesDefaultAccountCode", "SalesDefaultLineAmountType",
    "PurchasesDefaultLineAmountType", "TrackingCategoryName", "TrackingCategoryOption", *TRACKING, "PaymentTerms",
    "Website", "BrandingTheme", "BatchPayments", "Discount",
)  # fmt: skip
WRITTEN_PHONES = ("DEFAULT", "DDI", "FAX", "MOBILE")  # recorded: a write shows the slots in another order
WRITTEN_ADDRESSES = ("STREET", "POBOX")
ALWAYS_IN_ADDRESS = ("City", "Region", "PostalCode", "Country")  # recorded: shown even when blank


def listed(contact: Body, dialect: Dialect, *, details: bool, summary: bool) -> Body:
    """A contact in a list. details: with paging; summary: summaryOnly (unconfirmed: what it leaves out)."""
    shown = _start(contact, dialect)
    blanks = _blanks(contact, dialect)
    if blanks and not summary:
        shown.setdefault("BankAccountDetails", "")
    shown["Addresses"] = _addresses(contact, ADDRESS_TYPES, blanks=blanks)
    shown["Phones"] = _phones(contact, PHONE_TYPES, blanks=blanks)
    shown |= _middle(contact, groups=not summary)
    full = (details or dialect["unpaged_details"] == "present") and not summary
    if full:
        shown |= {name: contact[name] for name in DETAILS if name in contact}
    if details and contact.get("MergedToContactID"):  # spec: only with paging, by id or number
        shown["MergedToContactID"] = contact["MergedToContactID"]
    if contact.get("Balances") and not summary:
        shown["Balances"] = contact["Balances"]
    return shown | {
        "ContactPersons": contact.get("ContactPersons", []) if full else [],
        "HasAttachments": False,
        "HasValidationErrors": False,
    }


def single(contact: Body, dialect: Dialect) -> Body:
    """recorded: by id a contact also has its attachments."""
    shown = listed(contact, dialect, details=True, summary=False)
    return {**shown, "Attachments": []}


def written(contact: Body, dialect: Dialect, *, status: str | None) -> Body:
    """recorded: the reply to a write; status (OK) only when summarizeErrors is false."""
    shown = _start(contact, dialect)
    shown.setdefault("BankAccountDetails", "")
    shown["Addresses"] = _addresses(contact, WRITTEN_ADDRESSES, blanks=True)
    shown["Phones"] = _phones(contact, WRITTEN_PHONES, blanks=True)
    shown |= _middle(contact, groups=True)
    shown |= {name: contact[name] for name in DETAILS if name in contact}
    shown |= {
        **{name: contact.get(name, []) for name in TRACKING},
        "ContactPersons": contact.get("ContactPersons", []),
        "HasValidationErrors": False,
    }
    return shown if status is None else {**shown, "StatusAttributeString": status}


def refused(sent: Body, contact_id: str | None, errors: list[str], *, status: str | None) -> Body:
    """recorded: a refused element echoes what was asked for, not what is stored."""
    echo = {"ContactID": contact_id or NO_ID, **{k: v for k, v in sent.items() if k != "ContactID"}}
    for name in ("Addresses", "Phones"):
        echo[name] = [{**slot, "ValidationErrors": []} for slot in sent.get(name) or []]
    for name in ("ContactGroups", "ContactPersons"):
        echo[name] = sent.get(name) or []
    echo = {name: value for name, value in echo.items() if value is not None}
    echo["HasValidationErrors"] = True
    if status is not None:
        echo["StatusAttributeString"] = status
    return {**echo, "ValidationErrors": [{"Message": message} for message in errors]}


def stored(row: Body) -> Body:
    """A contact as it is stored, from a row in Xero's shape (as `dump` gives it, or a part of it)."""
    lists = {"Phones", "Addresses", "UpdatedDateUTC", "Attachments", "StatusAttributeString"}
    contact = {
        k: v for k, v in row.items() if k not in lists and not k.startswith("Has") and v not in (None, "")
    }
    contact["Phones"] = _by_type(row.get("Phones"), "PhoneType", PHONE)
    contact["Addresses"] = _by_type(row.get("Addresses"), "AddressType", ADDRESS)
    contact["Written"] = bool(row.get("Written"))
    if row.get("UpdatedDateUTC"):
        contact["UpdatedMs"] = read_ms_date(row["UpdatedDateUTC"])
    return contact


def dumped(contact: Body) -> Body:
    """A contact with all that is stored, in Xero's shape."""
    hidden = {"Phones", "Addresses", "UpdatedMs", "Written"}
    return {
        **{name: value for name, value in contact.items() if name not in hidden},
        "Addresses": _addresses(contact, ADDRESS_TYPES, blanks=False),
        "Phones": _phones(contact, PHONE_TYPES, blanks=False),
        "UpdatedDateUTC": ms_date(contact["UpdatedMs"]),
    }


def _start(contact: Body, dialect: Dialect) -> Body:
    shown: Body = {"ContactID": contact["ContactID"]}
    shown |= {name: contact[name] for name in HEAD if name in contact}
    if "TaxNumberType" in shown and dialect["tax_number_type"] == "prefixed":
        shown["TaxNumberType"] = f"TAXNUMBERTYPE/{shown['TaxNumberType']}"
    return shown


def _middle(contact: Body, *, groups: bool) -> Body:
    shown: Body = {
        "UpdatedDateUTC": ms_date(contact["UpdatedMs"]),
        "ContactGroups": contact.get("ContactGroups", []) if groups else [],
        "IsSupplier": contact.get("IsSupplier", False),
        "IsCustomer": contact.get("IsCustomer", False),
    }
    if "DefaultCurrency" in contact:
        shown["DefaultCurrency"] = contact["DefaultCurrency"]
    return shown


def _blanks(contact: Body, dialect: Dialect) -> bool:
    rule = dialect["blanks_in_reads"]
    return rule == "empty" or (rule == "as_recorded" and contact.get("Written", False))


def _phones(contact: Body, types: tuple[str, ...], *, blanks: bool) -> list[Body]:
    return [
        {"PhoneType": kind, **_slot(contact["Phones"].get(kind, {}), PHONE, PHONE if blanks else ())}
        for kind in types
    ]


def _addresses(contact: Body, types: tuple[str, ...], *, blanks: bool) -> list[Body]:
    shown = ALWAYS_IN_ADDRESS if blanks else ()
    return [
        {"AddressType": kind, **_slot(contact["Addresses"].get(kind, {}), ADDRESS, shown)} for kind in types
    ]


def _slot(slot: Body, names: Any, shown_when_blank: Any) -> Body:
    return {name: slot.get(name, "") for name in names if slot.get(name) or name in shown_when_blank}


def _by_type(slots: Any, key: str, names: Any) -> Body:
    return {slot[key]: {name: slot[name] for name in names if slot.get(name)} for slot in slots or []}

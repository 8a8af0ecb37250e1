"""What Xero makes of the values it is given: trims, folds, cuts, strips, or refuses.

Pure; what was cleaned once is not changed by cleaning it again.
"""

from __future__ import annotations

import re
from typing import Any

from sandbox.dialect import Dialect
from sandbox.store import Body

# spec: the greatest length of each text
TEXTS = {
    "Name": 255, "FirstName": 255, "LastName": 255, "EmailAddress": 255, "ContactNumber": 50,
    "AccountNumber": 50, "CompanyNumber": 50, "TaxNumber": 50, "BankAccountDetails": 255,
    "AccountsReceivableTaxType": 50, "AccountsPayableTaxType": 50, "DefaultCurrency": 3,
    "XeroNetworkKey": 255, "SalesDefaultAccountCode": 10, "PurchasesDefaultAccountCode": 10,
    "TrackingCategoryName": 100, "TrackingCategoryOption": 100,
}  # fmt: skip
CHOICES = {
    "TaxNumberType": ("SSN", "EIN", "ITIN", "ATIN"),
    "SalesDefaultLineAmountType": ("INCLUSIVE", "EXCLUSIVE", "NONE"),
    "PurchasesDefaultLineAmountType": ("INCLUSIVE", "EXCLUSIVE", "NONE"),
    "ContactStatus": ("ACTIVE", "ARCHIVED"),
}
PHONE_TYPES = ("DDI", "DEFAULT", "FAX", "MOBILE")
PHONE = {"PhoneNumber": 50, "PhoneAreaCode": 10, "PhoneCountryCode": 20}
ADDRESS_TYPES = ("POBOX", "STREET")
ADDRESS = {
    "AddressLine1": 500, "AddressLine2": 500, "AddressLine3": 500, "AddressLine4": 500,
    "City": 255, "Region": 255, "PostalCode": 50, "Country": 50, "AttentionTo": 255,
}  # fmt: skip
PERSON = {"FirstName": 255, "LastName": 255, "EmailAddress": 255}
MAX_PERSONS = 5  # second hand
TERM_TYPES = ("DAYSAFTERBILLDATE", "DAYSAFTERBILLMONTH", "OFCURRENTMONTH", "OFFOLLOWINGMONTH")  # spec
LAST_DAY = 31

EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
FOREIGN_NUMBER = re.compile(r"\+(\d{1,3}) (\d{1,5}) (\d[\d ]*)")

Errors = list[str]


def clean(sent: Body, dialect: Dialect) -> tuple[Body, Errors]:
    """What of an element Xero takes, and what is wrong with it.

    Gives only fields that were sent: texts ("" = clear), Phones and Addresses as {type: {field: text}},
    ContactPersons as a list. Unknown and read-only fields are left out without a word.
    """
    errors: Errors = []
    values: Body = {}
    for name, length in TEXTS.items():
        text = _sent_text(sent, name, dialect)
        if text is not None:
            values[name] = _text(name, text, length, dialect, errors)
    for name, choices in CHOICES.items():
        text = _sent_text(sent, name, dialect)
        if text is not None:
            values[name] = _choice(name, text, choices, errors)
    if sent.get("Phones") is not None:
        values["Phones"] = _slots(sent["Phones"], "PhoneType", PHONE_TYPES, PHONE, dialect, errors)
    if sent.get("Addresses") is not None:
        values["Addresses"] = _slots(
            sent["Addresses"], "AddressType", ADDRESS_TYPES, ADDRESS, dialect, errors
        )
    if sent.get("ContactPersons") is not None:
        values["ContactPersons"] = _persons(sent["ContactPersons"], dialect, errors)
    if isinstance(sent.get("PaymentTerms"), dict):
        values["PaymentTerms"] = _terms(sent["PaymentTerms"], errors)
    if values.get("Name") == "":
        errors.append("The contact name must be specified.")  # unconfirmed: the wording
    return values, errors


def _sent_text(sent: Body, name: str, dialect: Dialect) -> str | None:
    """The text that was sent for a field, or None where it stays as it is."""
    if name not in sent:
        return None
    value = sent[name]
    if value is None:
        return "" if dialect["null_on_write"] == "clear" else None
    return value if isinstance(value, str) else str(value)


def _text(name: str, text: str, length: int, dialect: Dialect, errors: Errors) -> str:
    text = _name(text, dialect, errors) if name == "Name" else _spaces(text, dialect["text_whitespace"])
    if name == "EmailAddress":
        text = _email(text, dialect, errors)
    if name == "Country":
        text = _country(text, dialect, errors)
    return _cut(name, text, length, dialect, errors)


def _name(text: str, dialect: Dialect, errors: Errors) -> str:
    if dialect["angle_brackets_in_name"] == "refuse" and re.search("[<>]", text):
        errors.append("The contact name cannot contain angle brackets.")  # unconfirmed: the wording
    rule = dialect["name_whitespace"]
    if rule == "refuse":
        if text != _spaces(text, "tidy"):
            errors.append("The contact name cannot have leading, trailing or repeated spaces.")  # unconfirmed
        return text
    return _spaces(text, rule)


def _spaces(text: str, rule: str) -> str:
    if rule == "tidy":
        return " ".join(text.split())
    return text.strip() if rule == "trim" else text


def _email(text: str, dialect: Dialect, errors: Errors) -> str:
    if text and dialect["email_invalid"] == "refuse" and not (EMAIL.fullmatch(text) and text.isascii()):
        errors.append("Email address must be valid.")  # unconfirmed: the wording
    return text.lower() if dialect["email_case"] == "lower" else text


def _country(text: str, dialect: Dialect, errors: Errors) -> str:
    plain = " ".join(re.sub("[^A-Za-z ]", "", text).split())
    if dialect["country"] == "refuse" and re.search("[^A-Za-z ]", text):
        errors.append("Country must contain letters only.")  # unconfirmed: the wording
    return plain if dialect["country"] == "strip" else text


def _cut(name: str, text: str, length: int, dialect: Dialect, errors: Errors) -> str:
    if len(text) <= length:
        return text
    if dialect["too_long"] == "refuse":
        errors.append(
            f"The length of {name} must be {length} characters or fewer."
        )  # unconfirmed: the wording
    return text[:length].rstrip()


def _choice(name: str, text: str, choices: tuple[str, ...], errors: Errors) -> str:
    value = text.rpartition("/")[2] if name == "TaxNumberType" else text
    if value and value not in choices:
        errors.append(f"{name} is not valid.")  # unconfirmed: the wording
    return value


def _slots(
    sent: Any, key: str, types: tuple[str, ...], lengths: dict[str, int], dialect: Dialect, errors: Errors
) -> Body:
    """recorded: slots go by their type; one that was not sent stays."""
    slots: Body = {}
    for given in sent if isinstance(sent, list) else []:
        if not isinstance(given, dict) or given.get(key) not in types:
            continue  # unconfirmed: a type that contacts don't have is passed over
        slot: Body = slots.setdefault(given[key], {})
        for name, length in lengths.items():
            text = _sent_text(given, name, dialect)
            if text is not None:
                slot[name] = _text(name, text, length, dialect, errors)
        if key == "PhoneType":
            _reformat_phone(slot, dialect["phone_format"])
    return slots


def _reformat_phone(slot: Body, rule: str) -> None:
    number = slot.get("PhoneNumber", "")
    if rule == "squeeze" and number:
        slot["PhoneNumber"] = number.replace(" ", "")
    parts = FOREIGN_NUMBER.fullmatch(number)
    if rule == "split" and parts and not slot.get("PhoneCountryCode") and not slot.get("PhoneAreaCode"):
        slot.update(PhoneCountryCode=parts[1], PhoneAreaCode=parts[2], PhoneNumber=parts[3])


def _terms(sent: Body, errors: Errors) -> Body:
    """spec: the four types, a day from 0 to 31. unconfirmed: the wording; that one side alone clears the other."""
    terms: Body = {}
    for side in ("Bills", "Sales"):
        given = sent.get(side)
        if not isinstance(given, dict) or not given:
            continue
        day = given.get("Day")
        if given.get("Type") not in TERM_TYPES:
            errors.append(f"Payment terms {side} Type is not valid.")
        if day is not None and not (isinstance(day, int) and 0 <= day <= LAST_DAY):
            errors.append(f"Payment terms {side} Day must be from 0 to {LAST_DAY}.")
        terms[side] = {name: given[name] for name in ("Day", "Type") if given.get(name) is not None}
    return terms


def _persons(sent: Any, dialect: Dialect, errors: Errors) -> list[Body]:
    persons = []
    for given in sent if isinstance(sent, list) else []:
        person: Body = {}
        for name, length in PERSON.items():
            text = _sent_text(given, name, dialect)
            if text:
                person[name] = _text(name, text, length, dialect, errors)
        persons.append({**person, "IncludeInEmails": bool(given.get("IncludeInEmails", False))})
    if len(persons) > MAX_PERSONS:
        errors.append(
            f"A contact can have at most {MAX_PERSONS} contact persons."
        )  # unconfirmed: the wording
    return persons

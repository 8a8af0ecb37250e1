"""The plan that every schedule carries out a part of, and the systems as its snapshot saw them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from pipelines.intents import Operation
from reconcile.mapping import Mapping, load_mapping
from reconcile.match import link_id
from tests.model.clock import BEGINNING
from tests.model.vendor import Salesforce, Xero

PLAN = "a" * 64
MAPPING = """
entities:
  party:
    salesforce: {object: Account, reference: ExternalID__c}
    xero:       {object: Contact, reference: ContactNumber}
    create:     {xero: always, salesforce: always}
    delete:     never
    units:
      name:       {salesforce: Name,          xero: Name,      as: name, flows: both}
      tax_number: {salesforce: Tax_Number__c, xero: TaxNumber, as: code, flows: both}
documents:
  invoice:
    salesforce:   {object: Opportunity, lines: OpportunityLineItem}
    xero:         {object: Invoice}
    date:         CloseDate
    cut_over:     2026-01-01
    status:       DRAFT
    number:       {kind: KIND, prefix: SF-}
    due:          {days: 30}
    reference:    Name
    amount:       subtotal
    line_amounts: exclusive
    lines:        {account: "200", items: known}
    link:
      id:     Xero_Invoice_ID__c
      number: Xero_Invoice_Number__c
      status: Xero_Invoice_Status__c
      url:    Xero_Invoice_Url__c
"""
SNAPSHOT = BEGINNING - timedelta(seconds=1)
LONG_AGO = BEGINNING - timedelta(days=30)


@cache
def mapping(kind: str) -> Mapping:
    """kind of numbering: derived (InvoiceNumber, unique) or xero (Reference, a mere text)."""
    return load_mapping(MAPPING.replace("KIND", kind), name="model", library={})


def account_id(number: int) -> str:
    return f"001{number:012d}AAA"


def opportunity_id(number: int) -> str:
    return f"006{number:012d}AAA"


def contact_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


@dataclass(frozen=True)
class Planned:
    """An operation, with what the oracle has to know of it."""

    operation: Operation
    key: tuple[str, str] | None = None  # of a create: field and value that are found once
    edited: tuple[str, str, dict[str, Any]] | None = None  # object, id and what a person may type there
    group: str = ""

    @property
    def which(self) -> str:
        return self.operation.operation_id


def _operation(**values: Any) -> Operation:
    values = {"rule": "model", **values}
    which = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
    return Operation(operation_id=which, **values)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def new_contact(number: int) -> list[Planned]:
    """A contact for an account, and its id written into the account."""
    body = {"Name": f"Company {number}", "ContactNumber": account_id(number)}
    made = _operation(
        system="xero", entity="party", object="Contact", action="create", phase="create", unit="record",
        source_id=account_id(number), native_after=_json(body),
        source_native=_json({"name": {"Name": body["Name"]}}),
    )  # fmt: skip
    link = _operation(
        system="salesforce", entity="party", object="Account", action="link", phase="create", unit="reference",
        record_id=account_id(number), native_before=_json({"ExternalID__c": None}),
        native_after=_json({"ExternalID__c": {"$from": made.operation_id}}), depends_on=made.operation_id,
    )  # fmt: skip
    return [Planned(made, ("ContactNumber", account_id(number))), Planned(link)]


def new_account(number: int) -> list[Planned]:
    """An account for a contact, and its id written into the contact."""
    body = {"Name": f"Account {number}", "ExternalID__c": contact_id(number)}
    made = _operation(
        system="salesforce", entity="party", object="Account", action="create", phase="create", unit="record",
        source_id=contact_id(number), native_after=_json(body),
        source_native=_json({"name": {"Name": body["Name"]}}),
    )  # fmt: skip
    link = _operation(
        system="xero", entity="party", object="Contact", action="link", phase="create", unit="reference",
        record_id=contact_id(number), native_before=_json({"ContactNumber": ""}),
        native_after=_json({"ContactNumber": {"$from": made.operation_id}}), depends_on=made.operation_id,
    )  # fmt: skip
    return [Planned(made, ("ExternalID__c", contact_id(number))), Planned(link)]


def new_invoice(number: int, kind: str, contact: Operation | None = None) -> list[Planned]:
    """An invoice for an opportunity, and its id, number and status written into the opportunity."""
    key_field = "Reference" if kind == "xero" else "InvoiceNumber"
    key = "SF-" + opportunity_id(number).upper()
    who = {"$from": contact.operation_id} if contact else contact_id(number)
    body = {
        "Type": "ACCREC", "Contact": {"ContactID": who}, "Date": "2026-03-01", "LineAmountTypes": "Exclusive",
        "Status": "DRAFT", key_field: key,
        "LineItems": [{"Description": "x", "Quantity": 2, "UnitAmount": 50 + number, "AccountCode": "200"}],
    }  # fmt: skip
    amount = str(2 * (50 + number))
    made = _operation(
        system="xero", entity="document", object="Invoice", action="create", phase="create", unit="record",
        source_id=opportunity_id(number), native_after=_json(body),
        after=_json({"number": key, "subtotal": amount, "total": None, "currency": None}),
        depends_on=contact.operation_id if contact else None,
    )  # fmt: skip
    ref = {"$from": made.operation_id}
    fields = {
        "Xero_Invoice_ID__c": ref, "Xero_Invoice_Number__c": {**ref, "field": "InvoiceNumber"},
        "Xero_Invoice_Status__c": {**ref, "field": "Status"},
        "Xero_Invoice_Url__c": {**ref, "prefix": "https://go.xero.com/View.aspx?InvoiceID="},
    }  # fmt: skip
    link = _operation(
        system="salesforce", entity="document", object="Opportunity", action="link", phase="create",
        unit="reference", record_id=opportunity_id(number), native_before=_json(dict.fromkeys(fields)),
        native_after=_json(fields), depends_on=made.operation_id,
    )  # fmt: skip
    return [Planned(made, (key_field, key)), Planned(link)]


def update(system: str, number: int) -> list[Planned]:
    """The tax number of a linked record, on one side."""
    ids = {"salesforce": account_id(number), "xero": contact_id(number)}
    other = "xero" if system == "salesforce" else "salesforce"
    field_name = {"salesforce": "Tax_Number__c", "xero": "TaxNumber"}
    name = "Account" if system == "salesforce" else "Contact"
    after = f"GB{number}"
    before = None if system == "salesforce" else ""
    one = _operation(
        system=system, entity="party", object=name, action="update", phase="change", unit="tax_number",
        record_id=ids[system], source_id=ids[other], link_id=link_id("party", ids["salesforce"], ids["xero"]),
        native_before=_json({field_name[system]: before}), native_after=_json({field_name[system]: after}),
        source_native=_json({field_name[other]: after}),
    )  # fmt: skip
    typed = (name, ids[system], {field_name[system]: "BY HAND"})
    return [Planned(one, edited=typed)]


# Records 1 to 6 are linked on both sides; accounts and opportunities from 11 have nothing in Xero, contacts
# from 31 nothing in Salesforce.
LINKED = range(1, 7)


@cache
def group(name: str, kind: str) -> tuple[Planned, ...]:
    """One kind of work: what the exhaustive part walks through, and the seeds draw from."""
    contact = new_contact(11)
    made: dict[str, list[Planned]] = {
        "contact": contact,
        "contacts": [*new_contact(12), *new_contact(13), *new_contact(14)],
        "account": new_account(31),
        "accounts": [*new_account(32), *new_account(33)],
        "invoice": new_invoice(1, kind),
        "invoices": [*new_invoice(2, kind), *new_invoice(3, kind), *new_invoice(4, kind)],
        "customer": [*contact, *new_invoice(11, kind, contact[0].operation)],
        "xero_unit": update("xero", 1),
        "xero_units": [*update("xero", 2), *update("xero", 3)],
        "salesforce_unit": update("salesforce", 4),
        "salesforce_units": [*update("salesforce", 5), *update("salesforce", 6)],
    }
    return tuple(replace(one, group=name) for one in made[name])


GROUPS = (
    "contact", "contacts", "account", "accounts", "invoice", "invoices", "customer",
    "xero_unit", "xero_units", "salesforce_unit", "salesforce_units",
)  # fmt: skip


def chosen(names: Sequence[str], kind: str) -> list[Planned]:
    """The operations of some groups, each once, what others depend on first."""
    found: dict[str, Planned] = {}
    for name in names:
        for one in group(name, kind):
            found.setdefault(one.which, one)
    return list(found.values())


@dataclass
class Books:
    """Both systems as the snapshot saw them, and the links that the journal knows."""

    xero: Xero
    salesforce: Salesforce
    links: dict[str, dict[str, Any]] = field(default_factory=dict)


def fill(books: Books) -> None:
    old = {
        "SystemModstamp": LONG_AGO.isoformat(),
        "LastModifiedById": "005000000000009AAA",
        "IsDeleted": False,
    }
    stamp = f"/Date({int(LONG_AGO.timestamp() * 1000)}+0000)/"
    accounts, opportunities = books.salesforce.records["Account"], books.salesforce.records["Opportunity"]
    contacts = books.xero.records["Contact"]
    for number in (*LINKED, 11, 12, 13, 14):
        linked = number in LINKED
        accounts[account_id(number)] = {
            "Id": account_id(number), "Name": f"Company {number}", "Tax_Number__c": None,
            "ExternalID__c": contact_id(number) if linked else None, **old,
        }  # fmt: skip
        opportunities[opportunity_id(number)] = {
            "Id": opportunity_id(number), **dict.fromkeys(
                ("Xero_Invoice_ID__c", "Xero_Invoice_Number__c", "Xero_Invoice_Status__c", "Xero_Invoice_Url__c")
            ), **old,
        }  # fmt: skip
    for number in (*LINKED, 31, 32, 33):
        contacts[contact_id(number)] = {
            "ContactID": contact_id(number), "Name": f"Company {number}", "ContactStatus": "ACTIVE",
            "ContactNumber": account_id(number) if number in LINKED else "", "TaxNumber": "",
            "UpdatedDateUTC": stamp,
        }  # fmt: skip
    books.links = {one["link_id"]: one for one in (_link(number) for number in LINKED)}


def _link(number: int) -> dict[str, Any]:
    return {
        "link_id": link_id("party", account_id(number), contact_id(number)),
        "entity": "party", "salesforce_id": account_id(number), "xero_id": contact_id(number),
        "status": "linked", "rule": "our_ids", "score": 1.0,
    }  # fmt: skip

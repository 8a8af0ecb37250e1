"""Custom objects: added while the server runs, one by one or as the preset that the product will ship.

A custom object has Name (blank: the record's id, as Salesforce fills it; second hand), OwnerId and the system's
fields; its key prefix begins with `a`. A custom lookup makes a child relationship of its parent, by the plural:
Xero_Invoices__r.
"""

from __future__ import annotations

from typing import Any

from sandbox.salesforce.org import Org

Wanted = dict[str, Any]


def add_objects(org: Org, wanted: Wanted) -> Any:
    """{"name": "Thing__c", "label": "Thing", "plural": "Things", "fields": [{name, type, ...}]}, or
    {"preset": "xero"}. The fields are those of the page `fields`; an object that is there keeps its others.
    Gives all custom objects. Raises KeyError for a preset that there is not, WrongField for a name that won't do.
    """
    for one in PRESETS[wanted["preset"]] if "preset" in wanted else (wanted,):
        name = one["name"]
        label = one.get("label", name.removesuffix("__c").replace("_", " "))
        org.schema.add_object(name, label, one.get("plural", f"{label}s"))
        for options in one.get("fields", ()):
            org.schema.add(name, options)
    org.declare()
    return org.schema.custom_objects()


def named(kind: str, body: Wanted) -> Wanted:
    """The record with its id for a name, where a custom object's has none."""
    return {**body, "Name": body["Id"]} if kind.endswith("__c") and "Name" not in body else body


def _text(name: str, length: int, **options: Any) -> Wanted:
    return {"name": name, "type": "string", "length": length, **options}


def _lookup(name: str, to: str) -> Wanted:
    return {"name": name, "type": "reference", "length": 18, "reference": to}


def _amount(name: str) -> Wanted:
    return {"name": name, "type": "currency", "precision": 18, "scale": 2}


def _plain(kind: str, *names: str) -> list[Wanted]:
    return [{"name": name, "type": kind} for name in names]


_PARENTS = [
    _lookup("Account__c", "Account"), _lookup("Opportunity__c", "Opportunity"), _lookup("Order__c", "Order"),
]  # fmt: skip
_MONEY = [
    _text("Currency__c", 3), {"name": "Currency_Rate__c", "type": "double", "precision": 18, "scale": 6},
]  # fmt: skip

PRESETS: dict[str, tuple[Wanted, ...]] = {
    "xero": (
        {
            "name": "Xero_Invoice__c",
            "fields": [
                _text("Xero_Invoice_ID__c", 36, unique=True, external_id=True),
                _text("Number__c", 255, external_id=True),
                *_PARENTS,
                _text("Type__c", 20), _text("Status__c", 40), _text("Reference__c", 255),
                *_plain("date", "Date__c", "Due_Date__c", "Fully_Paid_On__c"),
                *map(_amount, ("Subtotal__c", "Total_Tax__c", "Total__c")),
                *map(_amount, ("Amount_Paid__c", "Amount_Credited__c", "Amount_Due__c")),
                *_MONEY,
                {"name": "Url__c", "type": "url", "length": 255},
                *_plain("datetime", "Xero_Updated__c"),
            ],
        },
        {
            "name": "Xero_Payment__c",
            "fields": [
                _text("Xero_Payment_ID__c", 36, unique=True, external_id=True),
                _lookup("Invoice__c", "Xero_Invoice__c"),
                *_PARENTS,
                _text("Number__c", 255, external_id=True),
                _text("Type__c", 40), _text("Status__c", 40), _text("Reference__c", 255),
                *_plain("date", "Date__c"),
                _amount("Amount__c"),
                *_MONEY,
                *_plain("datetime", "Xero_Updated__c"),
            ],
        },
    )
}  # fmt: skip

"""Tells of objects and fields in the shape of Salesforce's describe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.salesforce.currency_data import ISO_CODES
from sandbox.salesforce.schema import NUMBERS, TEXTS, Field, Relation, Schema, SObject

PICKLISTS = {
    "account_type": (
        "Prospect", "Customer - Direct", "Customer - Channel", "Channel Partner / Reseller",
        "Installation Partner", "Technology Partner", "Other",
    ),
    "industry": (
        "Agriculture", "Apparel", "Banking", "Biotechnology", "Chemicals", "Communications", "Construction",
        "Consulting", "Education", "Electronics", "Energy", "Engineering", "Entertainment", "Environmental",
        "Finance", "Food & Beverage", "Government", "Healthcare", "Hospitality", "Insurance", "Machinery",
        "Manufacturing", "Media", "Not For Profit", "Recreation", "Retail", "Shipping", "Technology",
        "Telecommunications", "Transportation", "Utilities", "Other",
    ),
    "ownership": ("Public", "Private", "Subsidiary", "Other"),
    "rating": ("Hot", "Warm", "Cold"),
    "source": ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"),
    "salutation": ("Mr.", "Ms.", "Mrs.", "Dr.", "Prof."),
    "accuracy": (
        "Address", "NearAddress", "Block", "Street", "ExtendedZip", "Zip", "Neighborhood", "City", "County",
        "State", "Unknown",
    ),
    "clean_status": (
        "Matched", "Different", "Acknowledged", "NotFound", "Inactive", "Pending", "SelectMatch", "Skipped",
    ),
    "opportunity_type": (
        "Existing Customer - Upgrade", "Existing Customer - Replacement", "Existing Customer - Downgrade",
        "New Customer",
    ),
    "forecast": ("Omitted", "Pipeline", "BestCase", "MostLikely", "Forecast", "Closed"),
    "forecast_name": ("Omitted", "Pipeline", "Best Case", "Commit", "Closed"),
    "iso_code": ISO_CODES,
    "order_type": ("New", "Renewal", "Upgrade"),  # unconfirmed: what a new org has
    "order_code": ("Draft", "Activated"),
    "family": ("None",),
    "unit": ("Each",),
    "user_type": ("Standard",),
    "edition": ("Developer Edition",),
}  # fmt: skip

SOAP_TYPES = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "double": "xsd:double",
    "currency": "xsd:double", "percent": "xsd:double", "int": "xsd:int", "date": "xsd:date",
    "datetime": "xsd:dateTime", "address": "urn:address",
}  # fmt: skip

OBJECT_CONSTANTS: dict[str, Any] = {
    "activateable": False, "associateEntityType": None, "associateParentEntity": None,
    "customSetting": False, "deepCloneable": False, "defaultImplementation": None,
    "deprecatedAndHidden": False,
    "extendedBy": None, "extendsInterfaces": None, "feedEnabled": True, "hasSubtypes": False,
    "implementedBy": None, "implementsInterfaces": None, "isInterface": False, "isSubtype": False,
    "layoutable": True, "mruEnabled": True, "queryable": True, "replicateable": True, "retrieveable": True,
    "searchable": True, "triggerable": True,
}  # fmt: skip

FIELD_CONSTANTS: dict[str, Any] = {
    "aiPredictionField": False, "calculated": False, "calculatedFormula": None,
    "cascadeDelete": False, "controllerName": None, "defaultValueFormula": None, "dependentPicklist": False,
    "deprecatedAndHidden": False, "displayLocationInDecimal": False, "encrypted": False,
    "extraTypeInfo": None,
    "filteredLookupInfo": None, "formulaTreatNullNumberAsZero": False, "highScaleNumber": False,
    "htmlFormatted": False, "inlineHelpText": None, "mask": None, "maskType": None, "namePointing": False,
    "polymorphicForeignKey": False, "queryByDistance": False, "referenceTargetField": None,
    "relationshipOrder": None, "restrictedDelete": False, "searchPrefilterable": False,
    "writeRequiresMasterRead": False,
}  # fmt: skip


def describe_global(schema: Schema, version: str, *, restricted: bool) -> dict[str, Any]:
    """The list of all objects."""
    seen = [schema.object(name, restricted=restricted) for name in schema.names()]
    return {
        "encoding": "UTF-8",
        "maxBatchSize": 200,
        "sobjects": [_summary(sobject, version) for sobject in seen if sobject],
    }


NO_LISTS: Mapping[str, Sequence[str]] = {}


def describe_object(
    sobject: SObject,
    version: str,
    relations: Sequence[Relation],
    lists: Mapping[str, Sequence[str]] = NO_LISTS,
) -> dict[str, Any]:
    """One object with its fields. lists: those that the org keeps (stages, statuses of orders, currencies)."""
    return {
        **_summary(sobject, version),
        "actionOverrides": [],
        "childRelationships": _children(relations),
        "fields": [describe_field(sobject, f, lists) for f in sobject.fields.values()],
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [_master_record_type(sobject, version)],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {sobject.plural.lower()}", "name": "everything"}],
    }


def describe_field(
    sobject: SObject, f: Field, lists: Mapping[str, Sequence[str]] = NO_LISTS
) -> dict[str, Any]:
    """One field."""
    values = f.values or ""
    text = f.type in TEXTS or f.type in ("id", "reference")
    return {
        **FIELD_CONSTANTS,
        "aggregatable": f.type != "address" and f.filterable,
        "autoNumber": f.auto_number,
        "byteLength": f.length * 3 if f.type in TEXTS else f.length,
        "caseSensitive": False,
        "compoundFieldName": f.compound,
        "createable": f.createable,
        "custom": f.custom,
        "defaultValue": False if f.type == "boolean" else None,
        "defaultedOnCreate": f.defaulted,
        "digits": 8 if f.type == "int" else 0,
        "externalId": f.external_id,
        "filterable": f.filterable,
        "groupable": f.filterable and text,
        "idLookup": f.type == "id" or f.external_id or (sobject.name, f.name) == ("Contact", "Email"),
        "label": label(f),
        "length": f.length,
        "name": f.name,
        "nameField": f.name == "Name",
        "nillable": f.nillable,
        "permissionable": f.nillable and f.createable,
        "picklistValues": picklist_values(lists.get(values, PICKLISTS.get(values, ()))),
        "precision": f.precision,
        "referenceTo": [f.reference] if f.reference else [],
        "relationshipName": f.relationship,
        "restrictedPicklist": f.restricted,
        "scale": f.scale,
        "soapType": SOAP_TYPES.get(f.type, "xsd:string"),
        "sortable": f.filterable and f.type != "address",
        "type": f.type,
        "unique": f.unique,
        "updateable": f.updateable,
    }


def column_metadata(name: str, f: Field | None) -> dict[str, Any]:
    """What `query?columns=true` says of one column (the sf command line asks for it)."""
    kind = f.type if f else "double"
    return {
        "aggregate": f is None,
        "apexType": {"id": "Id", "reference": "Id", "boolean": "Boolean"}.get(kind, "String"),
        "booleanType": kind == "boolean",
        "columnName": name,
        "custom": bool(f and f.custom),
        "displayName": name,
        "foreignKeyName": None,
        "insertable": bool(f and f.createable),
        "joinColumns": [],
        "numberType": kind in NUMBERS,
        "textType": kind in TEXTS or kind in ("id", "reference"),
        "updatable": bool(f and f.updateable),
    }


def label(f: Field) -> str:
    """What people read: BillingPostalCode -> Billing Postal Code."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", f.name.removesuffix("__c").replace("_", " "))
    return re.sub(r" Id$", " ID", words)


def picklist_values(values: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"active": True, "defaultValue": False, "label": value, "validFor": None, "value": value}
        for value in values
    ]


def _summary(sobject: SObject, version: str) -> dict[str, Any]:
    root = f"/services/data/v{version}/sobjects/{sobject.name}"
    urls = {"sobject": root, "describe": f"{root}/describe", "rowTemplate": f"{root}/{{ID}}"}
    return {
        **OBJECT_CONSTANTS,
        "name": sobject.name,
        "custom": sobject.name.endswith("__c"),
        "label": sobject.label or sobject.name,
        "labelPlural": sobject.plural,
        "keyPrefix": sobject.prefix,
        "createable": sobject.createable,
        "updateable": sobject.updateable,
        "deletable": sobject.deletable,
        "undeletable": sobject.deletable,
        "mergeable": sobject.name in ("Account", "Contact"),
        "urls": urls,
    }


def _children(relations: Sequence[Relation]) -> list[dict[str, Any]]:
    common: dict[str, Any] = {
        "deprecatedAndHidden": False,
        "junctionIdListNames": [],
        "junctionReferenceTo": [],
        "restrictedDelete": False,
    }
    return [
        {**common, "cascadeDelete": one.cascades, "childSObject": one.child, "field": one.field,
         "relationshipName": one.name}
        for one in relations
    ]  # fmt: skip


def _master_record_type(sobject: SObject, version: str) -> dict[str, Any]:
    master = "012000000000000AAA"
    return {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": True,
        "developerName": "Master",
        "master": True,
        "name": "Master",
        "recordTypeId": master,
        "urls": {
            "layout": f"/services/data/v{version}/sobjects/{sobject.name}/describe/layouts/{master}",
        },
    }

"""Lets a vendor refuse one record of a write, in each of the ways that were seen of it; the others are written.

The texts are those that the vendors' users have met. Most could be provoked in the sandbox only by a scene of
their own: here each meets the product often.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

NO_ID = "00000000-0000-0000-0000-000000000000"
CONTACTS = {
    "name taken": "The contact name Acme is already assigned to another contact. The contact name must be unique "
    "across all active contacts.",
    "account number taken": "The Account Number already exists. Please enter a different Account Number.",
    "archived": "The specified contact details matched an archived contact. Archived contacts cannot currently be "
    "edited via the API.",
}
INVOICES = {
    "number taken": "Invoice # must be unique.",
    "status": "Invoice not of valid status for modification",
    "account code": "Account code '999' is not a valid code for this document.",
    "tax type": "The TaxType code 'OUTPUT2' cannot be used with account code '200'.",
    "total": "The invoice total does not equal the sum of the lines.",
    "discount": "The discount rate '27.83' is invalid. Discount must not be greater than the line total.",
    "contact": "A Contact must be specified for this type of transaction",
    "currency": "Organisation is not subscribed to currency EUR",
}
PAYMENTS = {
    "too much": "Payment amount exceeds the amount outstanding on this document",
    "not approved": "Payments can only be made against Authorised documents",
}
ROWS = {  # status where it answers for one record by itself
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": (400, "Forbidden by a rule"),
    "DUPLICATE_VALUE": (400, "duplicate value found: ExternalID__c duplicates value on record with id: "),
    "DUPLICATES_DETECTED": (400, "Use one of these records?"),
    "REQUIRED_FIELD_MISSING": (400, "Required fields are missing: [Name]"),
    "STRING_TOO_LONG": (400, "Name: data value too large: Acme (max length=80)"),
    "UNABLE_TO_LOCK_ROW": (400, "unable to obtain exclusive access to this record or 1 records"),
    "ENTITY_IS_DELETED": (404, "entity is deleted"),
    "INVALID_CROSS_REFERENCE_KEY": (400, "invalid cross reference id"),
}
CHANGES = {  # of an invoice that is there already
    "status": INVOICES["status"],
    "settled": "This document cannot be edited as it has a payment or credit note allocated to it.",
    "settled void": "The status VOIDED cannot be applied to the invoice because it has payments or credit notes "
    "allocated to it.",
}
MEMBERS = {  # of a contact group
    "no such contact": "The contact could not be found",
    "archived member": "Archived contacts cannot currently be edited via the API.",
}
CREDITS = {name: INVOICES[name] for name in ("account code", "tax type", "currency")}
LISTS = {"Contacts": CONTACTS, "Invoices": INVOICES, "Payments": PAYMENTS, "CreditNotes": CREDITS}
ALL = tuple(
    dict.fromkeys(f"refused: {name}" for table in (*LISTS.values(), MEMBERS, CHANGES, ROWS) for name in table)
)
# Of the writes where the weather is bad; an invoice or a payment is written seldom.
SHARES = {"Invoices": 0.65, "Contacts": 0.03, "Payments": 0.5, "CreditNotes": 0.3, "": 0.06}
GROUP = "/ContactGroups/"
SHARE_OF_GROUP = 0.4

Body = dict[str, Any]


def share_of(target: str) -> float:
    """Give how many of the writes to that address are refused in part."""
    path = urlsplit(target).path
    if GROUP in path:  # who leaves one is asked for without a body: nothing of it can be refused in part
        return SHARE_OF_GROUP if path.endswith("/Contacts") else 0.0
    return SHARES.get(urlsplit(target).path.rsplit("/", 1)[-1], SHARES[""])


def instead_of(fault: str | None, path: str) -> str:
    """Give the fate of a write that is to be refused: what is seldom written meets its faults all the same."""
    return fault if fault and path.endswith(("/Payments", "/CreditNotes")) else "refused"


def refuse(
    request: httpx.Request, forward: Callable[[httpx.Request], httpx.Response], rng: random.Random
) -> tuple[str, httpx.Response]:
    """Answer a write with one record refused and the others written; gives the refusal's name and the reply."""
    body = json.loads(request.content)
    listed = next(name for name in (*LISTS, "records", "compositeRequest") if name in body)
    asked = body[listed]
    place = rng.randrange(len(asked))
    of_group = GROUP in request.url.path
    name, answer = _answer(listed, asked[place], rng, MEMBERS if of_group else None)
    told: Any = {"compositeResponse": []} if listed == "compositeRequest" else []
    told = {"Id": NO_ID, "Status": "OK", listed: []} if listed in LISTS else told
    status = 200
    if len(asked) > 1:
        others = {**body, listed: asked[:place] + asked[place + 1 :]}
        reply = forward(_with(request, others))
        status = reply.status_code
        told = json.loads(reply.read() or b"null")
    rows = (
        told
        if isinstance(told, list)
        else next((v for v in (told or {}).values() if isinstance(v, list)), None)
    )
    if status == 200 and rows is not None:
        rows.insert(place, answer)
    return name, httpx.Response(status, json=told)


def _answer(
    listed: str, element: Body, rng: random.Random, members: Mapping[str, str] | None
) -> tuple[str, Body]:
    if listed in LISTS:
        own, texts = f"{listed.removesuffix('s')}ID", LISTS[listed]
        texts = members or (CHANGES if "InvoiceID" in element else texts)
        name = rng.choice(list(texts))
        said = {"StatusAttributeString": "ERROR", "ValidationErrors": [{"Message": texts[name]}]}
        # What was asked for is echoed, with an id of zeros where there is none.
        return name, {own: NO_ID, **element, "HasValidationErrors": True, "HasErrors": True, **said}
    name = rng.choice(list(ROWS))
    status, text = ROWS[name]
    if listed == "records":
        return name, {"success": False, "errors": [{"statusCode": name, "message": text, "fields": []}]}
    error = {"errorCode": name, "message": text, "fields": []}
    return name, {
        "referenceId": element["referenceId"],
        "httpStatusCode": status,
        "httpHeaders": {},
        "body": [error],
    }


def _with(request: httpx.Request, body: Body) -> httpx.Request:
    headers = [
        (k, v) for k, v in request.headers.raw if k.lower() not in (b"content-length", b"content-type")
    ]
    return httpx.Request(
        request.method, request.url, json=body, headers=headers, extensions=request.extensions
    )

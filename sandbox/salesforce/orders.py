"""What Salesforce reckons and refuses in orders: drafts, activation, reduction orders, totals of lines.

An order is made in a status of the category Draft, gets lines, and is activated by a status of the category
Activated (doc: object reference). From then on its price and its lines stand still; what is sent back is a
reduction order, whose lines have negative quantities and name the lines that they reduce.

Every function takes a record as it would be written and gives it completed, or raises Refused. The codes that
public pages don't settle, and what a user with Edit Activated Orders may do, are switches.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from sandbox.salesforce import rules
from sandbox.salesforce.currencies import active
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.org import Org, stamp_text
from sandbox.salesforce.sales import ROUNDINGS, currency_of, exact, integrity, total_price
from sandbox.salesforce.schema import WrongField
from sandbox.store import Body

STATUSES = {"Draft": "Draft", "Activated": "Activated"}
PRICED = ("Quantity", "UnitPrice")
WRONG_STATUS = "Choose a valid order status and save your changes. Ask your administrator for details."
LOCKED = "Unable to modify activated or superseded Order: {}"
REDUCED = "You can't update {} because the order product has been reduced."  # second hand: of Quantity


def statuses(org: Org) -> dict[str, str]:
    """Status -> its category, Draft or Activated: an org names its own (doc)."""
    return STATUSES | org.store.all_kept("order_status")


def set_status(org: Org, wanted: dict[str, str]) -> dict[str, str]:
    """{"name": "In review", "category": "Draft"}: a new status; gives all."""
    if wanted["category"] not in ("Draft", "Activated"):
        raise WrongField(f"no category {wanted['category']!r}; there are: Draft, Activated")
    org.store.keep("order_status", wanted["name"], wanted["category"])
    return statuses(org)


def kept_lists(org: Org) -> dict[str, list[str]]:
    """The picklists whose values the org keeps."""
    return {"stage": list(org.stages()), "order_status": list(statuses(org)), "currency": active(org)}


def completed(org: Org, kind: str, body: Body, before: Body | None, written: set[str], user_id: str) -> Body:
    """The record with what the system adds to it. before: as it was, None when it is made."""
    if kind == "Order":
        return _order(org, body, before, written, user_id)
    return _line(org, body, before, written) if kind == "OrderItem" else body


# -- orders


def _order(org: Org, body: Body, before: Body | None, written: set[str], user_id: str) -> Body:
    code = statuses(org).get(body["Status"])
    if code is None or (before is None and code != "Draft"):
        raise _no_activation(org, WRONG_STATUS, ["Status"])
    if "AccountId" not in body and org.dialect["order_without_account"] == "refused":
        raise Refused(
            "REQUIRED_FIELD_MISSING", "Required fields are missing: [AccountId]", fields=["AccountId"]
        )
    body = {**body, "StatusCode": code}
    if before is None:
        _check_original(org, body)
        number = f"{99 + org.next_number('Order'):08d}"  # second hand: a new org begins with 00000100
        return {**body, "OrderNumber": number, "TotalAmount": Decimal(0)}
    _check_edit(org, body, before, written)
    if code == before["StatusCode"]:
        return body
    if code == "Activated":
        _check_activation(org, body, before, written)
        return {**body, "ActivatedDate": stamp_text(org.stamp_ms()), "ActivatedById": user_id}
    _check_deactivation(org, body)
    return {name: value for name, value in body.items() if name not in ("ActivatedDate", "ActivatedById")}


def _check_original(org: Org, body: Body) -> None:
    """A reduction order may name the order that it reduces: an activated one of the same account and currency."""
    original = org.get("Order", body["OriginalOrderId"]) if "OriginalOrderId" in body else None
    if original is None:
        return
    if not body.get("IsReductionOrder"):  # unconfirmed: the wording of all
        raise integrity("OriginalOrderId", "only a reduction order has an original order")
    if original["StatusCode"] != "Activated" or original.get("IsReductionOrder"):
        raise integrity("OriginalOrderId", "the original order must be activated and no reduction order")
    if original.get("AccountId") != body.get("AccountId") or currency_of(original) != currency_of(body):
        raise integrity("OriginalOrderId", "account and currency must be those of the original order")


def _check_edit(org: Org, body: Body, before: Body, written: set[str]) -> None:
    changed = {name for name in written if body.get(name) != before.get(name)}
    if "AccountId" in changed and before["StatusCode"] != "Draft":  # doc: help sales.order_edit
        raise integrity("AccountId", "the account can change only while the order is a draft")
    if "Pricebook2Id" in changed and "Pricebook2Id" in before:  # doc: the same page
        raise integrity("Pricebook2Id", "a price book can't be changed or removed once it is assigned")
    if currency_of(body) != currency_of(before) and living_lines(org, before["Id"]):  # second hand
        raise integrity("CurrencyIsoCode", "the currency can't change while the order has products")
    edits = changed - {"Status"}
    if before["StatusCode"] == "Activated" and edits and org.dialect["activated_order_edits"] == "none":
        raise locked(org, "insufficient permission to edit activated orders")


def _check_activation(org: Org, body: Body, before: Body, written: set[str]) -> None:
    lines = living_lines(org, body["Id"])
    if not lines:
        raise _no_activation(org, "An order must have at least one product.", [])  # second hand
    others = [name for name in sorted(written - {"Status"}) if body.get(name) != before.get(name)]
    if others and org.dialect["activation_with_other_fields"] == "refused":
        message = "Status is the only field that can be updated when an order is activated."
        raise _no_activation(org, message, others)
    for line in lines if body.get("IsReductionOrder") else ():
        _check_reduction(org, line)


def _check_deactivation(org: Org, body: Body) -> None:
    """Back to a draft, as Lightning's list of statuses lets one choose (doc: help sales.order_edit)."""
    if org.dialect["order_deactivation"] == "refused":
        raise _no_activation(org, WRONG_STATUS, ["Status"])
    if any(_reductions(org, line["Id"]) for line in living_lines(org, body["Id"])):  # unconfirmed
        raise locked(org, "it has been reduced")


def living_lines(org: Org, order_id: str) -> list[Body]:
    return [line for line in org.find("OrderItem", "OrderId", order_id) if not line.get("IsDeleted")]


# -- lines


def _line(org: Org, body: Body, before: Body | None, written: set[str]) -> Body:
    order = org.get("Order", body["OrderId"])
    assert order is not None  # its reference was looked up
    body = _changed_line(org, body, before, order, written) if before else _new_line(org, body, order)
    _check_quantity(org, body, order)
    total = total_price({**body, "Discount": 0}, ROUNDINGS[org.dialect["line_rounding"]])
    return {**body, "TotalPrice": total, "AvailableQuantity": available(org, body, order)}


def _new_line(org: Org, body: Body, order: Body) -> Body:
    if order["StatusCode"] != "Draft":
        raise locked(org, "cannot delete Order, or add or remove Order Products")
    entry = org.get("PricebookEntry", body["PricebookEntryId"])
    assert entry is not None  # its reference was looked up
    product = org.get("Product2", entry["Product2Id"]) or {}
    if not entry.get("IsActive") or not product.get("IsActive", True):  # unconfirmed: the wording
        raise integrity("PricebookEntryId", "pricebook entry is inactive")
    if entry["Pricebook2Id"] != order.get(
        "Pricebook2Id"
    ):  # by analogy to opportunities, where it is recorded
        what = "pricebook entry is in a different pricebook than the one assigned to the order"
        raise integrity("PricebookEntryId", what)
    if currency_of(entry) != currency_of(order):
        raise integrity("PricebookEntryId", "currency code does not match the order's")
    if "UnitPrice" not in body:
        raise Refused(
            "REQUIRED_FIELD_MISSING", "Required fields are missing: [UnitPrice]", fields=["UnitPrice"]
        )
    found = {
        "Product2Id": entry["Product2Id"],
        "ListPrice": entry["UnitPrice"],
        "CurrencyIsoCode": order.get("CurrencyIsoCode"),
        "OrderItemNumber": f"{org.next_number('OrderItem'):010d}",
    }
    return {**body, **{name: value for name, value in found.items() if value is not None}}


def _changed_line(org: Org, body: Body, before: Body, order: Body, written: set[str]) -> Body:
    changed = {name for name in written if body.get(name) != before.get(name)}
    if changed and _reductions(org, body["Id"]):  # doc: help sales.orderproduct_edit
        name = min(changed, key=lambda one: (one not in PRICED, one))
        raise Refused("FIELD_INTEGRITY_EXCEPTION", REDUCED.format(name), fields=[name])
    refused = {"some": changed & set(PRICED), "all": set[str](), "none": changed}
    kept = refused[org.dialect["activated_order_edits"]]
    if order["StatusCode"] != "Draft" and kept:
        raise locked(org, f"cannot change {', '.join(sorted(kept))} of Order Products")
    if "UnitPrice" not in body:
        raise integrity("UnitPrice", "the price can't be removed")  # unconfirmed
    keeps_total = org.dialect["order_quantity_keeps"] == "total_price"
    if keeps_total and "Quantity" in changed and "UnitPrice" not in written and exact(body["Quantity"]):
        price = exact(before["TotalPrice"]) / exact(body["Quantity"])
        return {**body, "UnitPrice": price.quantize(Decimal("0.01"), ROUNDINGS[org.dialect["line_rounding"]])}
    return body


def _check_quantity(org: Org, body: Body, order: Body) -> None:
    """Positive in an order, negative in a reduction order. Unconfirmed: the wording of all refusals here."""
    quantity = exact(body["Quantity"])
    if not quantity:
        raise integrity("Quantity", "the quantity must be nonzero")
    if not order.get("IsReductionOrder"):
        if "OriginalOrderItemId" in body:
            raise integrity("OriginalOrderItemId", "only a line of a reduction order reduces another one")
        if quantity < 0:
            raise integrity("Quantity", "the quantity must be greater than zero")
        return
    if "OriginalOrderItemId" not in body:  # doc: required if the order is a reduction order
        message = "Required fields are missing: [OriginalOrderItemId]"
        raise Refused("REQUIRED_FIELD_MISSING", message, fields=["OriginalOrderItemId"])
    if quantity > 0:
        raise integrity("Quantity", "the quantity of a reduction order's product must be negative")
    _check_reduction(org, body)


def _check_reduction(org: Org, line: Body) -> None:
    original = org.get("OrderItem", line["OriginalOrderItemId"])
    order = org.get("Order", original["OrderId"]) if original else None
    if original is None or original.get("IsDeleted") or order is None:
        raise Refused("ENTITY_IS_DELETED", "entity is deleted", fields=["OriginalOrderItemId"])
    if order["StatusCode"] != "Activated" or order.get("IsReductionOrder"):
        raise integrity("OriginalOrderItemId", "only products of an activated order can be reduced")
    own = org.get("Order", line["OrderId"]) or {}
    if own.get("OriginalOrderId", order["Id"]) != order["Id"]:
        raise integrity("OriginalOrderItemId", "the product is not one of the original order")
    if line["PricebookEntryId"] != original["PricebookEntryId"]:
        raise integrity("PricebookEntryId", "the price book entry must be that of the reduced product")
    if -exact(line["Quantity"]) > available(org, original, order, but=line["Id"]):
        raise integrity("Quantity", "the quantity is greater than the available quantity")


def available(org: Org, line: Body, order: Body, but: str = "") -> Decimal:
    """What of a line can still be reduced; 0 in a reduction order (doc). but: a reduction that isn't counted."""
    if order.get("IsReductionOrder"):
        return Decimal(0)
    taken = [exact(one["Quantity"]) for one in _reductions(org, line["Id"]) if one["Id"] != but]
    return exact(line["Quantity"]) + sum(taken, Decimal(0))


def _reductions(org: Org, line_id: str) -> list[Body]:
    """The lines that reduce this one: of activated reduction orders, or of drafts too."""
    drafts = org.dialect["reduction_counts"] == "drafts_too"
    found = []
    for one in org.find("OrderItem", "OriginalOrderItemId", line_id):
        order = org.get("Order", one["OrderId"]) or {}
        if not one.get("IsDeleted") and (drafts or order.get("StatusCode") == "Activated"):
            found.append(one)
    return found


# -- what follows from a write


def following(org: Org, kind: str, body: Body, before: Body | None) -> Iterator[tuple[str, Body, str]]:
    """(object, its record as it becomes, stamps) of what else a write changes: totals, available quantities.

    stamps: by the switch roll_up_stamps.
    """
    stamps = org.dialect["roll_up_stamps"]
    if kind == "OrderItem":
        yield from _totals(org, body, stamps)
        yield from _availability(org, [body], stamps)
    elif kind == "Order" and before is not None and body.get("IsReductionOrder"):
        yield from _availability(org, org.find("OrderItem", "OrderId", body["Id"]), stamps)


def _totals(org: Org, line: Body, stamps: str) -> Iterator[tuple[str, Body, str]]:
    order = org.get("Order", line["OrderId"])
    if order is None or order.get("IsDeleted"):
        return
    rules.check_lock(org, order["Id"])  # a line's parent is locked with it (facts: UNABLE_TO_LOCK_ROW)
    total = sum((exact(one["TotalPrice"]) for one in living_lines(org, order["Id"])), Decimal(0))
    yield "Order", {**order, "TotalAmount": total}, stamps


def _availability(org: Org, lines: list[Body], stamps: str) -> Iterator[tuple[str, Body, str]]:
    originals = [one["OriginalOrderItemId"] for one in lines if "OriginalOrderItemId" in one]
    for original in org.many("OrderItem", dict.fromkeys(originals)):
        order = org.get("Order", original["OrderId"]) or {}
        left = available(org, original, order)
        if left != original.get("AvailableQuantity"):
            yield "OrderItem", {**original, "AvailableQuantity": left}, stamps


# -- what may not be deleted


def check_delete(org: Org, kind: str, body: Body) -> None:
    if kind == "Order" and body["StatusCode"] != "Draft":
        raise locked(org, "cannot delete Order, or add or remove Order Products")
    if kind == "OrderItem":
        order = org.get("Order", body["OrderId"])
        if order is not None and order["StatusCode"] != "Draft":  # doc: help sales.orderproduct_edit
            raise locked(org, "cannot delete Order, or add or remove Order Products")
    if kind in ("Account", "Pricebook2"):  # second hand: of an account; the text: unconfirmed
        field = {"Account": "AccountId", "Pricebook2": "Pricebook2Id"}[kind]
        found = [one for one in org.find("Order", field, body["Id"]) if not one.get("IsDeleted")]
        if found:
            numbers = ", ".join(one["OrderNumber"] for one in found)
            message = (
                f"Your attempt to delete {body['Name']} could not be completed because it is associated with the "
                f"following orders.: {numbers}\n"
            )
            raise Refused("DELETE_FAILED", message, fields=[])


# -- refusals


def locked(org: Org, what: str) -> Refused:
    """An activated order that is to change. The text: second hand (aer-dist 504)."""
    return Refused(org.dialect["activated_order_code"], LOCKED.format(what), fields=[])


def _no_activation(org: Org, message: str, fields: list[str]) -> Refused:
    return Refused(org.dialect["order_activation_code"], message, fields=fields)

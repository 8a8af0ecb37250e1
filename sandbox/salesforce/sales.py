"""What Salesforce reckons and refuses in sales: stages of opportunities, totals of lines, prices of products.

Every function takes a record as it would be written and gives it completed, or raises Refused; roll-ups come
back as the parent's new record. Amounts are Decimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.salesforce.currency_data import CORPORATE_CURRENCY
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.org import STANDARD_PRICE_BOOK_ID, Org, stamp_text
from sandbox.salesforce.stages import OPEN
from sandbox.store import Body

CENT, WHOLE = Decimal("0.01"), Decimal(100)
ROUNDINGS = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN}


def completed(org: Org, kind: str, body: Body, before: Body | None, written: set[str]) -> Body:
    """The record with what the system adds to it. before: as it was, None when it is made."""
    if kind == "Opportunity":
        return _opportunity(org, body, before, written)
    if kind == "OpportunityLineItem":
        return _line(org, body, before, written)
    return _price(org, body, before) if kind == "PricebookEntry" else body


# -- opportunities


def _opportunity(org: Org, body: Body, before: Body | None, written: set[str]) -> Body:
    if before is None or body["StageName"] != before["StageName"]:
        body = _at_stage(org, body, before, written)
    if before is not None and before.get("HasOpportunityLineItem"):
        body = _with_lines(org, body, before)
    return fiscal(expecting(body))


def _at_stage(org: Org, body: Body, before: Body | None, written: set[str]) -> Body:
    """The stage decides, but for a probability and forecast that are written with it. An unknown stage is open."""
    known = org.stages().get(body["StageName"])
    gives = known["gives"] if known else {**OPEN, "Probability": body.get("Probability", 0)}
    kept = {name: body[name] for name in ("Probability", "ForecastCategoryName") if name in written}
    changed = {} if before is None else {"LastStageChangeDate": stamp_text(org.stamp_ms())}
    return {**body, **gives, "Probability": Decimal(gives["Probability"]), **kept, **changed}


def _with_lines(org: Org, body: Body, before: Body) -> Body:
    """Lines hold the amount: another one is passed over without a word (recorded: object reference)."""
    if currency_of(body) != currency_of(before):  # second hand
        raise integrity("CurrencyIsoCode", "the currency can't change while the opportunity has products")
    if body.get("Pricebook2Id") != before.get("Pricebook2Id"):
        if org.dialect["price_book_change"] == "refused":
            raise integrity("Pricebook2Id", "the price book can't change while the opportunity has products")
        return {**body, "HasOpportunityLineItem": False}
    kept = {name: before[name] for name in ("Amount", "TotalOpportunityQuantity") if name in before}
    return {**body, **kept}


def expecting(body: Body) -> Body:
    """With ExpectedRevenue: the amount times the probability."""
    if body.get("Amount") is None or body.get("Probability") is None:
        return {name: value for name, value in body.items() if name != "ExpectedRevenue"}
    revenue = exact(body["Amount"]) * exact(body["Probability"]) / WHOLE
    return {**body, "ExpectedRevenue": revenue.quantize(CENT, ROUND_HALF_UP)}


def fiscal(body: Body) -> Body:
    """With the fiscal quarter of CloseDate, in a year that begins in January."""
    year, month = int(body["CloseDate"][:4]), int(body["CloseDate"][5:7])
    quarter = (month + 2) // 3
    return {**body, "FiscalYear": year, "FiscalQuarter": quarter, "Fiscal": f"{year} {quarter}"}


def rolled_up(org: Org, opportunity: Body) -> Body:
    """The opportunity with the sum of its living lines."""
    lines = living_lines(org, opportunity["Id"])
    if not lines:
        bare = {**opportunity, "HasOpportunityLineItem": False}
        bare.pop("TotalOpportunityQuantity", None)
        return expecting(
            {**bare, "Amount": Decimal(0)} if org.dialect["amount_without_lines"] == "zero" else bare
        )
    return expecting({**opportunity, **sums(lines)})


def sums(lines: Iterable[Body]) -> Body:
    """What an opportunity has from its lines."""
    lines = list(lines)
    return {
        "HasOpportunityLineItem": True,
        "Amount": sum((exact(line["TotalPrice"]) for line in lines), Decimal(0)),
        "TotalOpportunityQuantity": sum((exact(line["Quantity"]) for line in lines), Decimal(0)),
    }


def living_lines(org: Org, opportunity_id: str) -> list[Body]:
    found = org.find("OpportunityLineItem", "OpportunityId", opportunity_id)
    return [line for line in found if not line.get("IsDeleted")]


# -- lines


def _line(org: Org, body: Body, before: Body | None, written: set[str]) -> Body:
    opportunity = org.get("Opportunity", body["OpportunityId"])
    assert opportunity is not None  # its reference was looked up
    if before is None:
        body = _from_entry(org, body, opportunity)
    if not exact(body["Quantity"]):  # unconfirmed: the wording
        raise integrity("Quantity", "the quantity must be nonzero")
    return _totalled(org, body, before, written)


def _from_entry(org: Org, body: Body, opportunity: Body) -> Body:
    """With what the line has from its price book entry, which must be active and of the right price book."""
    entry = _entry(org, body, opportunity)
    product = org.get("Product2", entry["Product2Id"]) or {}
    if not entry.get("IsActive") or not product.get("IsActive", True):  # unconfirmed: the wording
        raise integrity("PricebookEntryId", "pricebook entry is inactive")
    if entry["Pricebook2Id"] != opportunity.get("Pricebook2Id"):
        _check_price_book(org, opportunity)
    if currency_of(entry) != currency_of(opportunity):  # second hand
        raise integrity("PricebookEntryId", "currency code does not match the opportunity's")
    return described(body, entry, product, opportunity)


def _check_price_book(org: Org, opportunity: Body) -> None:
    """The first line gives its price book to an opportunity that has none (second hand), or is refused."""
    if opportunity.get("Pricebook2Id") or org.dialect["first_line_price_book"] == "refused":
        raise integrity(  # recorded
            "PricebookEntryId",
            "pricebook entry is in a different pricebook than the one assigned to the opportunity",
        )


def described(body: Body, entry: Body, product: Body, opportunity: Body) -> Body:
    """The line with the names, codes and list price that it shows of others."""
    found = {
        "PricebookEntryId": entry["Id"],
        "Product2Id": entry["Product2Id"],
        "ProductCode": product.get("ProductCode"),
        "Name": f"{opportunity['Name']} {product.get('Name', '')}".strip(),
        "ListPrice": entry["UnitPrice"],
        "CurrencyIsoCode": opportunity.get("CurrencyIsoCode"),
    }
    return {**body, **{name: value for name, value in found.items() if value is not None}}


def _entry(org: Org, body: Body, opportunity: Body) -> Body:
    if "PricebookEntryId" in body:
        found = org.get("PricebookEntry", body["PricebookEntryId"])
        assert found is not None  # its reference was looked up
        return found
    entries = org.find("PricebookEntry", "Product2Id", body["Product2Id"]) if "Product2Id" in body else []
    wanted = opportunity.get("Pricebook2Id", STANDARD_PRICE_BOOK_ID)
    for entry in entries:
        if entry["Pricebook2Id"] == wanted and not entry.get("IsDeleted"):
            return entry
    raise Refused(  # recorded: help 000383141
        "FIELD_INTEGRITY_EXCEPTION",
        "field integrity exception: PricebookEntryId, unknown (versions 3.0 and higher must specify pricebook "
        "entry id; others must specify product id)",
        fields=["PricebookEntryId", "unknown"],
    )


def _totalled(org: Org, body: Body, before: Body | None, written: set[str]) -> Body:
    """UnitPrice gives TotalPrice, or the other way round; never both at once (recorded)."""
    old = before or {}
    changed = {
        name for name in ("UnitPrice", "TotalPrice") if name in written and body.get(name) != old.get(name)
    }
    if len(changed) == 2:
        verb = "insert" if before is None else "update"
        message = f"Cannot change both 'UnitPrice' and 'TotalPrice' in {verb} call"
        raise Refused("INVALID_FIELD", message, fields=["UnitPrice"])
    asked = ("Quantity", "Discount", "UnitPrice", "TotalPrice")
    if before is not None and all(body.get(name) == before.get(name) for name in asked):
        return body  # a total that somebody set outlives a change of the description
    if "UnitPrice" not in body and "TotalPrice" not in body:
        raise Refused(
            "REQUIRED_FIELD_MISSING", "Required fields are missing: [UnitPrice]", fields=["UnitPrice"]
        )
    rounding = ROUNDINGS[org.dialect["line_rounding"]]
    if "TotalPrice" in changed or "UnitPrice" not in body:
        body = {**body, "UnitPrice": _unit_price(body, rounding)}
    else:
        body = {**body, "TotalPrice": total_price(body, rounding)}
    subtotal = exact(body["Quantity"]) * exact(body["UnitPrice"])
    return {**body, "Subtotal": subtotal.quantize(CENT, rounding)}


def total_price(line: Body, rounding: str = ROUND_HALF_UP) -> Decimal:
    """Quantity x UnitPrice less the discount, to two places."""
    share = 1 - exact(line.get("Discount", 0)) / WHOLE
    return (exact(line["Quantity"]) * exact(line["UnitPrice"]) * share).quantize(CENT, rounding)


def _unit_price(line: Body, rounding: str) -> Decimal:
    """What a unit costs at a total that somebody set; with a discount of 100% there is none to be told."""
    share = 1 - exact(line.get("Discount", 0)) / WHOLE
    if not share:
        return exact(line.get("ListPrice", 0))
    return (exact(line["TotalPrice"]) / (exact(line["Quantity"]) * share)).quantize(CENT, rounding)


# -- prices


def _price(org: Org, body: Body, before: Body | None) -> Body:
    """A custom price needs a standard one; an entry is there once for a product, price book and currency."""
    entries = [
        entry
        for entry in org.find("PricebookEntry", "Product2Id", body["Product2Id"])
        if not entry.get("IsDeleted")
        and entry["Id"] != body["Id"]
        and currency_of(entry) == currency_of(body)
    ]
    if any(entry["Pricebook2Id"] == body["Pricebook2Id"] for entry in entries):  # recorded
        raise Refused("DUPLICATE_VALUE", "This price definition already exists in this price book", fields=[])
    standard = [entry for entry in entries if entry["Pricebook2Id"] == STANDARD_PRICE_BOOK_ID]
    if body["Pricebook2Id"] != STANDARD_PRICE_BOOK_ID:
        if not standard and before is None:  # second hand
            message = "Before creating a custom price, create a standard price."
            raise Refused("STANDARD_PRICE_NOT_DEFINED", message, fields=[])
        if body.get("UseStandardPrice") and standard:
            body = {**body, "UnitPrice": standard[0]["UnitPrice"]}
    product = org.get("Product2", body["Product2Id"]) or {}
    shown = {"Name": product.get("Name"), "ProductCode": product.get("ProductCode")}
    return {**body, **{name: value for name, value in shown.items() if value is not None}}


def following(org: Org, kind: str, body: Body, before: Body | None) -> Iterator[tuple[str, Body, str]]:
    """(object, its record as it becomes, stamps) of the prices that show their product or follow the standard price.

    Unconfirmed: that an entry's stamps don't move with its product's name.
    """
    if kind not in ("Product2", "PricebookEntry") or before is None or body.get("IsDeleted"):
        return
    entries = org.find(
        "PricebookEntry", "Product2Id", body["Id"] if kind == "Product2" else body.get("Product2Id", "")
    )
    if kind == "Product2":
        shown = {"Name": body.get("Name"), "ProductCode": body.get("ProductCode")}
        for entry in entries:
            if {name: entry.get(name) for name in shown} != shown:
                named = {name: value for name, value in {**entry, **shown}.items() if value is not None}
                yield "PricebookEntry", named, "none"
    if kind == "PricebookEntry" and body["Pricebook2Id"] == STANDARD_PRICE_BOOK_ID:
        for entry in entries:
            follows = entry.get("UseStandardPrice") and currency_of(entry) == currency_of(body)
            if follows and not entry.get("IsDeleted") and entry["UnitPrice"] != body["UnitPrice"]:
                yield "PricebookEntry", {**entry, "UnitPrice": body["UnitPrice"]}, "modified"


# -- what may not be deleted

LINES = ("OpportunityLineItem", "OrderItem")
IN_USE = {"Product2": "Product2Id", "PricebookEntry": "PricebookEntryId"}


def check_delete(org: Org, kind: str, body: Body) -> None:
    if kind == "Account" and org.dialect["delete_account_with_won"] == "refused":
        won = [
            one["Name"]
            for one in org.find("Opportunity", "AccountId", body["Id"])
            if one.get("IsWon") and not one.get("IsDeleted")
        ]
        if won:  # recorded: the text
            message = (
                f"Your attempt to delete {body['Name']} could not be completed because some opportunities in that "
                "account were closed won. The opportunities that could not be deleted are shown below.: "
                f"{', '.join(won)}\n"
            )
            raise Refused("DELETE_FAILED", message, fields=[])
    if kind in IN_USE:
        lines = [line for name in LINES for line in org.find(name, IN_USE[kind], body["Id"])]
        if any(not line.get("IsDeleted") for line in lines):  # unconfirmed: the wording
            message = f"{body.get('Name', kind)} is used by opportunities or orders"
            raise Refused("DELETE_FAILED", message, fields=[])
    if kind == "Pricebook2" and body.get("IsStandard"):
        raise Refused("DELETE_FAILED", "the standard price book can't be deleted", fields=[])


def restaged(org: Org) -> list[Body]:
    """The opportunities that win, close or open because their stage was changed: no stamp moves (doc: no event)."""
    found = []
    for body in org.rows("Opportunity"):
        known = org.stages().get(body["StageName"])
        gives = known["gives"] if known else OPEN
        told = {name: gives[name] for name in ("IsWon", "IsClosed")}
        if {name: body.get(name) for name in told} != told:
            found.append({**body, **told})
    return found


def currency_of(body: Body) -> str:
    """A record that names none is in the corporate currency."""
    return body.get("CurrencyIsoCode", CORPORATE_CURRENCY)


def exact(number: Any) -> Decimal:
    return number if isinstance(number, Decimal) else Decimal(str(number))


def integrity(field: str, what: str) -> Refused:
    return Refused(
        "FIELD_INTEGRITY_EXCEPTION", f"field integrity exception: {field} ({what})", fields=[field]
    )

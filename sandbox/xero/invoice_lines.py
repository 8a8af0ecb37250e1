"""Works out the lines of an invoice and its totals: what an item and an account supply, discount, tax, rounding.

Every amount is a Decimal; an amount of money has two places, a quantity four, a price two or (unitdp=4) four.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from sandbox.dialect import Dialect
from sandbox.store import Body
from sandbox.xero import chart, items, tracking
from sandbox.xero.books import Books

CENT, TEN_THOUSANDTH, HUNDRED = Decimal("0.01"), Decimal("0.0001"), Decimal(100)
ZERO = Decimal("0.00")
LONGEST_DESCRIPTION = 4000  # second hand

# second hand: all five as others report them
BAD_ACCOUNT = "Account code '{}' is not a valid code for this document."
BAD_PAIR = "The TaxType code '{}' cannot be used with account code '{}'."
BAD_DISCOUNT = "The discount rate '{}' is invalid. Discount must not be greater than the line total."
# unconfirmed: the wording of the rest
BAD_TAX = "The TaxType code '{}' does not exist or cannot be used for this type of transaction."
BAD_LINE_AMOUNT = "The line total {} does not match the expected line total {}"
BAD_ITEM = "Item code '{}' is not valid"
NO_ACCOUNT = "Account code must be specified"
NO_DESCRIPTION = "Description must be specified"
TOO_LONG = f"Description must be {LONGEST_DESCRIPTION} characters or fewer"
NOT_A_NUMBER = "{} is not a number"

TEXTS = ("Description", "ItemCode", "AccountCode", "AccountID", "TaxType")
AMOUNTS = ("Quantity", "UnitAmount", "DiscountRate", "DiscountAmount")


@dataclass(frozen=True)
class Terms:
    """What all lines of one document share. places: of a price; approved: what approval asks for is asked."""

    sale: bool
    amounts: str
    places: int
    approved: bool


def rounded(value: Decimal, dialect: Dialect, to: Decimal = CENT) -> Decimal:
    """recorded: to the nearest; unconfirmed: where a tie goes."""
    ties = ROUND_HALF_UP if dialect["rounding_ties"] == "half_up" else ROUND_HALF_EVEN
    return value.quantize(to, ties)


def price(value: Decimal, places: int, dialect: Dialect) -> Decimal:
    """spec: a price is rounded to two places unless unitdp=4; second hand: it is cut off."""
    to = TEN_THOUSANDTH if places == 4 else CENT
    return value.quantize(to, ROUND_DOWN) if dialect["price_places"] == "cut" else rounded(value, dialect, to)


def made(books: Books, sent: Iterable[Body], old: list[Body], terms: Terms, errors: list[str]) -> list[Body]:
    """The lines in the order in which they were sent.

    second hand: a line that comes without its LineItemID is a new one, and an old one that does not come is gone.
    """
    known = {line["LineItemID"]: line for line in old}
    lines = []
    for one in sent:
        before = known.pop(str(one.get("LineItemID", "")).lower(), None)
        lines.append(_line(books, one, before or {}, terms, errors))
    return lines


def _line(books: Books, sent: Body, old: Body, terms: Terms, errors: list[str]) -> Body:
    dialect = books.dialect
    line: Body = {name: old[name] for name in (*TEXTS, *AMOUNTS, "Tracking") if name in old}
    if "DiscountRate" in sent or "DiscountAmount" in sent:  # one takes the place of the other
        line = {k: v for k, v in line.items() if k not in ("DiscountRate", "DiscountAmount")}
    line |= {name: str(sent[name]).strip() for name in TEXTS if sent.get(name) is not None}
    for name in AMOUNTS:
        value = amount(sent, name, errors)
        if value is not None:
            line[name] = value
    if sent.get("Tracking") is not None:
        line["Tracking"] = tracking.settled(books, sent["Tracking"], old.get("Tracking", []), errors)
    line = {name: value for name, value in line.items() if value != ""}
    _fill_from_item(books, line, terms, errors)
    rate = _settle_account_and_tax(books, line, sent, terms, errors)
    _reckon(line, sent, rate, terms, dialect, errors)
    _ask_for_text(line, terms, errors)
    return {
        **line,
        "Tracking": line.get("Tracking", []),
        "LineItemID": old.get("LineItemID") or str(uuid.uuid4()),
    }


def amount(sent: Body, name: str, errors: list[str]) -> Decimal | None:
    """A number that was sent, exactly; None: it was not."""
    value: Any = sent.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) >= Decimal(10) ** 15 or isinstance(value, bool):
        errors.append(NOT_A_NUMBER.format(name))
        return None
    return number


def _fill_from_item(books: Books, line: Body, terms: Terms, errors: list[str]) -> None:
    """What the line leaves open comes from its item: description, price, account, tax."""
    if "ItemCode" not in line:
        return
    item = items.by_code(books.store, line["ItemCode"])
    if item is None:
        errors.append(BAD_ITEM.format(line["ItemCode"]))
        return
    details = item.get("SalesDetails" if terms.sale else "PurchaseDetails") or {}
    supplied = {
        "Description": item.get("Description" if terms.sale else "PurchaseDescription"),
        "UnitAmount": details.get("UnitPrice"),
        "AccountCode": details.get("AccountCode"),
        "TaxType": details.get("TaxType"),
    }
    for name, value in supplied.items():
        taken = name in line or (name == "AccountCode" and "AccountID" in line)
        if value not in (None, "") and not taken:
            line[name] = value
    line["ItemCode"] = item["Code"]
    line["Item"] = {"ItemID": item["ItemID"], "Name": item.get("Name", ""), "Code": item["Code"]}


def _settle_account_and_tax(books: Books, line: Body, sent: Body, terms: Terms, errors: list[str]) -> Decimal:
    """The line's account and tax type, checked; gives the rate in percent."""
    account_id = sent.get("AccountID") if not sent.get("AccountCode") else None
    code = None if account_id else line.get("AccountCode")
    account = chart.account(books.store, code=code, account_id=account_id and str(account_id))
    if (code or account_id) and not chart.may_be_used(account):
        errors.append(BAD_ACCOUNT.format(code or account_id))
        account = None
    if account:
        line |= {"AccountCode": account["Code"], "AccountID": account["AccountID"]}
        line.setdefault("TaxType", account["TaxType"])  # recorded: no tax type is the account's
    elif terms.approved and not code and not account_id and not _is_text_only(line, sent):
        errors.append(NO_ACCOUNT)
    if terms.amounts == "NoTax":
        line["TaxType"] = "NONE"
    if "TaxType" not in line:
        return Decimal(0)
    rate = chart.tax_rate(books.store, line["TaxType"])
    if rate is None or rate["Status"] != "ACTIVE":
        errors.append(BAD_TAX.format(line["TaxType"]))
        return Decimal(0)
    if account and not chart.fits(rate, account):
        errors.append(BAD_PAIR.format(line["TaxType"], account["Code"]))
    return Decimal(rate["EffectiveRate"])


def _is_text_only(line: Body, sent: Body) -> bool:
    """spec: a line may have a description alone."""
    return not {"Quantity", "UnitAmount", "ItemCode"} & set(line) and sent.get("LineAmount") is None


def _reckon(line: Body, sent: Body, rate: Decimal, terms: Terms, dialect: Dialect, errors: list[str]) -> None:
    given = amount(sent, "LineAmount", errors)
    if _is_text_only(line, sent):
        line |= {"LineAmount": ZERO, "TaxAmount": ZERO}
        return
    if not terms.sale:  # spec: bills have no discounts; unconfirmed: that they are passed over
        line.pop("DiscountRate", None)
        line.pop("DiscountAmount", None)
    _supply_missing(line, given, terms, dialect)
    line["Quantity"] = rounded(line["Quantity"], dialect, TEN_THOUSANDTH)
    line["UnitAmount"] = price(line["UnitAmount"], terms.places, dialect)
    gross = line["Quantity"] * line["UnitAmount"]
    net = gross
    if "DiscountRate" in line:
        net = gross * (HUNDRED - line["DiscountRate"]) / HUNDRED
        if not 0 <= line["DiscountRate"] <= HUNDRED:
            errors.append(BAD_DISCOUNT.format(line["DiscountRate"]))
    elif "DiscountAmount" in line:
        net = gross - line["DiscountAmount"]
        if abs(line["DiscountAmount"]) > abs(gross):
            errors.append(BAD_DISCOUNT.format(line["DiscountAmount"]))
    line["LineAmount"] = rounded(net, dialect)
    # unconfirmed: what becomes of a LineAmount that quantity and price don't give
    differs = given is not None and rounded(given, dialect) != line["LineAmount"]
    if given is not None and differs and dialect["line_amount_mismatch"] == "refuse":
        errors.append(BAD_LINE_AMOUNT.format(rounded(given, dialect), line["LineAmount"]))
    override = amount(sent, "TaxAmount", errors)
    if terms.amounts == "NoTax":
        line["TaxAmount"] = ZERO
    elif override is not None:  # spec: it may be overridden
        line |= {"TaxAmount": rounded(override, dialect)}
    else:
        line["TaxAmount"] = rounded(tax_of(line["LineAmount"], rate, terms.amounts), dialect)


def _supply_missing(line: Body, given: Decimal | None, terms: Terms, dialect: Dialect) -> None:
    """spec: of quantity, price and line amount, one may be left out."""
    left = (HUNDRED - line.get("DiscountRate", Decimal(0))) / HUNDRED
    gross = None if given is None or not left else given / left + line.get("DiscountAmount", Decimal(0))
    if "UnitAmount" not in line:
        quantity = line.setdefault("Quantity", Decimal(1))
        line["UnitAmount"] = gross / quantity if gross is not None and quantity else Decimal(0)
    if "Quantity" not in line:
        line["Quantity"] = (
            gross / line["UnitAmount"] if gross is not None and line["UnitAmount"] else Decimal(1)
        )


def tax_of(value: Decimal, rate: Decimal, amounts: str) -> Decimal:
    """The tax in (Inclusive) or on top of (Exclusive) an amount, not yet rounded.

    recorded: 541.25 with 15% in it has 70.60, 500 has 65.22; 3.15 on top of 21.00.
    """
    if amounts == "NoTax":
        return ZERO
    return value * rate / (HUNDRED + rate if amounts == "Inclusive" else HUNDRED)


def _ask_for_text(line: Body, terms: Terms, errors: list[str]) -> None:
    if not line.get("Description") and (terms.approved or "ItemCode" not in line):
        errors.append(NO_DESCRIPTION)
    if len(line.get("Description", "")) > LONGEST_DESCRIPTION:
        errors.append(TOO_LONG)


def totals(books: Books, lines: list[Body], amounts: str) -> Body:
    """SubTotal, TotalTax, Total, TotalDiscount. documented: tax is rounded line by line, then summed."""
    dialect = books.dialect
    value = sum((line["LineAmount"] for line in lines), ZERO)
    tax = sum((line["TaxAmount"] for line in lines), ZERO)
    if dialect["total_tax"] == "on_total":
        tax = _tax_on_total(books, lines, amounts)
    discount = sum((_discount(line, dialect) for line in lines), ZERO)
    subtotal = value - tax if amounts == "Inclusive" else value
    found = {"SubTotal": subtotal, "TotalTax": tax, "Total": subtotal + tax}
    return {**found, "TotalDiscount": discount} if discount else found


def _tax_on_total(books: Books, lines: list[Body], amounts: str) -> Decimal:
    values: dict[str, Decimal] = {}
    for line in lines:
        values[line.get("TaxType", "")] = values.get(line.get("TaxType", ""), ZERO) + line["LineAmount"]
    tax = ZERO
    for tax_type, value in values.items():
        rate = Decimal((chart.tax_rate(books.store, tax_type) or {"EffectiveRate": 0})["EffectiveRate"])
        tax += rounded(tax_of(value, rate, amounts), books.dialect)
    return tax


def _discount(line: Body, dialect: Dialect) -> Decimal:
    if "DiscountRate" not in line and "DiscountAmount" not in line:
        return ZERO
    return rounded(line["Quantity"] * line["UnitAmount"], dialect) - line["LineAmount"]

"""Reads the mapping's section `documents.bill`: which records are bills of suppliers, and of what form."""

from __future__ import annotations

from typing import Any, Final

from reconcile import reading
from reconcile.errors import WrongMapping
from reconcile.mapped import BillMapping, is_field
from reconcile.marked import Marked

KEYS: Final = (
    "object", "supplier", "amount", "line_amounts", "date", "due", "number", "description", "currency", "scope",
    "cut_over", "account", "tax", "status", "prefix", "link",
)  # fmt: skip
SHOWN: Final = ("id", "status")
LINE_AMOUNTS: Final = ("exclusive", "inclusive", "no_tax")
# What is not posted yet: to approve a bill is to say that it will be paid, which is finance's to say.
MADE_AS: Final = ("DRAFT", "SUBMITTED")


def read_bills(tree: Marked | None, path: str) -> BillMapping | None:
    """Give how bills are made; null where the mapping says nothing of it.

    Raises WrongMapping, which names file and line.
    """
    if tree is None:
        return None
    keys = reading.known_keys(tree, path, KEYS)

    def field_of(key: str) -> str:
        return reading.field_name(reading.needed(keys, key, tree, path), f"{path}.{key}")

    def text_of(key: str) -> str:
        return reading.text_of(keys[key], f"{path}.{key}").strip()

    def optional(key: str) -> str | None:
        return field_of(key) if key in keys else None

    reading.needed(keys, "account", tree, path)
    bill = BillMapping(
        salesforce=field_of("object"),
        supplier=field_of("supplier"),
        amount=field_of("amount"),
        date=field_of("date"),
        due=optional("due"),
        number=optional("number"),
        description=optional("description") or "Name",
        currency=optional("currency"),
        line_amounts=reading.choice(
            keys.get("line_amounts"), f"{path}.line_amounts", LINE_AMOUNTS, "exclusive"
        ),
        scope=reading.rule(keys.get("scope"), f"{path}.scope"),
        cut_over=reading.day(reading.needed(keys, "cut_over", tree, path), f"{path}.cut_over"),
        account=text_of("account"),
        tax=text_of("tax") if "tax" in keys else None,
        status=reading.choice(keys.get("status"), f"{path}.status", MADE_AS, "DRAFT"),
        prefix=reading.prefix(keys.get("prefix"), f"{path}.prefix"),
        link=reading.shown(keys.get("link"), f"{path}.link", SHOWN),
        at=f"{tree.key_at or tree.at}: {path}",
    )
    _check(bill, keys, path)
    return bill


def plain_bill(found: BillMapping) -> dict[str, Any]:
    """Give the meaning of it, without the places where it was written."""
    meant = {name: value for name, value in vars(found).items() if name != "at"}
    scope = found.scope and found.scope.sql
    return {**meant, "scope": scope, "cut_over": str(found.cut_over), "link": dict(found.link)}


def _check(bill: BillMapping, keys: dict[str, Marked], path: str) -> None:
    for name in sorted(bill.scope.columns) if bill.scope else ():
        if not is_field(name):
            raise WrongMapping(
                at=bill.scope.at if bill.scope else bill.at,
                found=f"the name {name!r}",
                expected=f"a field of {bill.salesforce} as it is spelled there",
            )
    if bill.tax is not None and bill.line_amounts == "no_tax":
        raise WrongMapping(
            at=reading.place(keys["tax"], f"{path}.tax"),
            found="a tax with `line_amounts: no_tax`",
            expected="no tax, or other line amounts",
        )
    read = {bill.supplier, bill.amount, bill.date, bill.due, bill.number, bill.description, bill.currency}
    both = sorted(filter(None, read & {*bill.link.values()}))
    if both:
        raise WrongMapping(
            at=reading.place(keys["link"], f"{path}.link"),
            found=f"{both[0]!r}, which the bill is made from",
            expected="a field of its own for what is shown",
        )

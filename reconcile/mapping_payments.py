"""Reads the mapping's section `documents.invoice.payments`: which records say that money was taken."""

from __future__ import annotations

from typing import Any, Final

from reconcile import reading
from reconcile.errors import WrongMapping
from reconcile.mapped import PaymentMapping, is_field
from reconcile.marked import Marked

KEYS: Final = (
    "object", "source", "amount", "date", "currency", "scope", "cut_over", "account", "prefix", "link",
)  # fmt: skip
SHOWN: Final = ("id", "status")
ITSELF: Final = "Id"


def read_payments(tree: Marked | None, path: str, *, invoiced: str, settled: str) -> PaymentMapping | None:
    """Give how payments are recorded; null where the mapping says nothing of it.

    invoiced: the object that is invoiced. settled: what the mapping says of what settles invoices.
    Raises WrongMapping, which names file and line.
    """
    if tree is None:
        return None
    keys = reading.known_keys(tree, path, KEYS)

    def field_of(key: str) -> str:
        return reading.field_name(reading.needed(keys, key, tree, path), f"{path}.{key}")

    name, source = field_of("object"), field_of("source")
    if source == ITSELF and name != invoiced:
        raise WrongMapping(
            at=reading.place(keys["source"], f"{path}.source"),
            found=f"'Id' of {name}",
            expected=f"the field of {name} that names its {invoiced}",
        )
    if settled == "off":
        raise WrongMapping(
            at=reading.place(tree, path),
            found="payments, and `settled: off`",
            expected="`settled: read` or `settled: shown` beside it: what is due has to be known first",
        )
    account = reading.text_of(reading.needed(keys, "account", tree, path), f"{path}.account").strip()
    payments = PaymentMapping(
        salesforce=name,
        source=None if source == ITSELF else source,
        amount=field_of("amount"),
        date=field_of("date"),
        currency=field_of("currency") if "currency" in keys else None,
        scope=reading.rule(keys.get("scope"), f"{path}.scope"),
        cut_over=reading.day(reading.needed(keys, "cut_over", tree, path), f"{path}.cut_over"),
        account=account,
        prefix=reading.prefix(keys.get("prefix"), f"{path}.prefix"),
        link=reading.shown(keys.get("link"), f"{path}.link", SHOWN),
        at=f"{tree.key_at or tree.at}: {path}",
    )
    _check_scope(payments)
    return payments


def plain_payments(found: PaymentMapping) -> dict[str, Any]:
    """Give the meaning of it, without the places where it was written."""
    meant = {name: value for name, value in vars(found).items() if name != "at"}
    scope = found.scope and found.scope.sql
    return {**meant, "scope": scope, "cut_over": str(found.cut_over), "link": dict(found.link)}


def _check_scope(payments: PaymentMapping) -> None:
    for name in sorted(payments.scope.columns) if payments.scope else ():
        if not is_field(name):
            raise WrongMapping(
                at=payments.scope.at if payments.scope else payments.at,
                found=f"the name {name!r}",
                expected=f"a field of {payments.salesforce} as it is spelled there",
            )

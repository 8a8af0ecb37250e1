"""Reads what a mapping says of the codes of lines and of currencies: rules, past bookings, rates."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from datetime import date
from decimal import Decimal
from typing import Any, Final

from reconcile import reading
from reconcile.codes import read_code_rules
from reconcile.errors import WrongMapping
from reconcile.infer import ENOUGH, Enough
from reconcile.mapped import ACCOUNT, PRODUCT, Currencies, Infer, LineCodes, is_field
from reconcile.marked import Marked
from reconcile.money import currencies
from reconcile.rates import EVER, LARGEST_RATE, SMALLEST_RATE

CODES_KEYS: Final = ("rules", "columns", "infer")
INFER_KEYS: Final = ("documents", "spread", "days", "history_days", "undecided")
CURRENCY_KEYS: Final = ("rates", "table", "service", "lacking")
RATES: Final = ("xero", "salesforce", "salesforce_dated", "table", "service")
LACKING: Final = ("stop", "convert")
# What a rule may name besides columns of the mapping and the opportunity's own fields.
OF_LINES: Final = (
    "item", "quantity", "unit_price", "discount", "amount", "currency", "date",
)  # fmt: skip
OF_TOTALS: Final = (
    "subtotal",
    "total_tax",
    "total",
)  # known when the codes are: only `hold` may ask for them
BY_DEFAULT: Final = {"family": (PRODUCT[0], "Family"), "region": (ACCOUNT[0], "BillingCountry")}


def read_line_codes(keys: MappingOf[str, Marked], path: str, *, header: str, lines: str) -> LineCodes | None:
    """Give what the keys `rules`, `columns` and `infer` say; null where neither rules nor inference are asked for.

    header, lines: the objects of Salesforce that a column may be of, besides product and account.
    Raises WrongMapping, which names file and line.
    """
    columns = BY_DEFAULT | _columns(keys.get("columns"), f"{path}.columns", (header, lines))
    rules = read_code_rules(keys["rules"], f"{path}.rules") if "rules" in keys else ()
    codes = LineCodes(rules, columns, _infer(keys.get("infer"), f"{path}.infer"))
    for rule in rules:
        _check_names(rule.when.columns, rule.when.at, columns, OF_LINES)
        if rule.hold is not None:
            _check_names(rule.hold.columns, rule.hold.at, columns, (*OF_LINES, *OF_TOTALS))
    return codes if codes.rules or codes.infer else None


def _columns(tree: Marked | None, path: str, objects: tuple[str, str]) -> dict[str, tuple[str, str]]:
    if tree is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for name, marked in reading.named({"columns": tree}, "columns", path.removesuffix(".columns")):
        if (
            is_field(name)
            or not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)
            or name in (*OF_LINES, *OF_TOTALS)
        ):
            raise WrongMapping(
                at=reading.place(marked, f"{path}.{name}"),
                found=f"the name {name!r}",
                expected=f"a name of your own in small letters, none of {reading.words((*OF_LINES, *OF_TOTALS))}",
            )
        found[name] = _place(marked, f"{path}.{name}", (*objects, PRODUCT[0], ACCOUNT[0]))
    return found


def _place(tree: Marked, path: str, objects: tuple[str, ...]) -> tuple[str, str]:
    text = reading.text_of(tree, path)
    where, _, name = text.partition(".")
    if where not in objects or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
        raise WrongMapping(
            at=reading.place(tree, path),
            found=repr(text),
            expected=f"object and field, as Product2.Family; the object is one of {reading.words(objects)}",
        )
    return where, name


def _check_names(
    names: frozenset[str], at: str, columns: MappingOf[str, Any], built_in: tuple[str, ...]
) -> None:
    known = (*columns, *built_in)
    for name in sorted(names):
        if not is_field(name) and name not in known:
            raise reading.not_one_of(at, name, known, what="the name")


def _infer(tree: Marked | None, path: str) -> Infer | None:
    if tree is None:
        return None
    keys = reading.known_keys(tree, path, INFER_KEYS)

    def number(name: str, most: int, default: int) -> int:
        return reading.whole(keys.get(name), f"{path}.{name}", 1, most, default)

    enough = Enough(
        documents=number("documents", 1000, ENOUGH.documents),
        spread=number("spread", 1000, ENOUGH.spread),
        days=number("days", 3660, ENOUGH.days),
    )
    undecided = reading.choice(keys.get("undecided"), f"{path}.undecided", ("ask", "default"), "ask")
    return Infer(enough, number("history_days", 3660, 400), undecided)


# --- Currencies -----------------------------------------------------------------------------------------


def read_currencies(tree: Marked | None, path: str) -> Currencies | None:
    """Give what the key `currency` says; null where there is none. Raises WrongMapping, which names file and line."""
    if tree is None:
        return None
    keys = reading.known_keys(tree, path, CURRENCY_KEYS)
    rates = reading.choice(keys.get("rates"), f"{path}.rates", RATES, "xero")
    lacking = reading.choice(keys.get("lacking"), f"{path}.lacking", LACKING, "stop")
    table = _table(keys.get("table"), f"{path}.table")
    if (rates == "table") != bool(table):
        raise WrongMapping(
            at=reading.place(keys.get("table") or tree, f"{path}.table"),
            found="a table, and rates of another source" if table else "`rates: table`, and no table",
            expected="both or neither",
        )
    service = keys.get("service")
    at = reading.place(service or tree, f"{path}.service")
    if (rates == "service") != (service is not None):
        found = "a service, and rates of another source" if service else "`rates: service`, and no service"
        raise WrongMapping(at=at, found=found, expected="both or neither")
    if rates == "xero" and lacking == "convert":
        raise WrongMapping(
            at=reading.place(keys["lacking"], f"{path}.lacking"),
            found="`convert` with rates of Xero",
            expected="rates of another source: Xero's own is not known before its invoice is made",
        )
    named = reading.text_of(service, f"{path}.service") if service else ""
    return Currencies(rates, table, lacking, named, at)


def _table(tree: Marked | None, path: str) -> tuple[tuple[str, date, Decimal], ...]:
    """Read {EUR: {2026-01-01: 1.17}}, or {EUR: 1.17} for ever."""
    if tree is None:
        return ()
    rows: list[tuple[str, date, Decimal]] = []
    for code, marked in reading.named({"table": tree}, "table", path.removesuffix(".table")):
        if code not in currencies():
            raise WrongMapping(
                at=reading.place(marked, f"{path}.{code}"),
                found=repr(code),
                expected="a currency of ISO 4217, as EUR",
            )
        if isinstance(marked.value, dict):
            days = {_first_day(day, one, f"{path}.{code}"): one for day, one in marked.items()}
        else:
            days = {EVER: marked}
        rows += [(code, day, _rate(one, f"{path}.{code}")) for day, one in days.items()]
    return tuple(sorted(rows))


def _first_day(text: str, tree: Marked, path: str) -> date:
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise WrongMapping(
            at=reading.place(tree, path),
            found=repr(text),
            expected="the day from which it holds, as 2026-12-01",
        ) from None


def _rate(tree: Marked, path: str) -> Decimal:
    text = reading.text_of(tree, path)
    if not re.fullmatch(r"\d{1,9}(\.\d{1,16})?", text) or not SMALLEST_RATE <= Decimal(text) <= LARGEST_RATE:
        raise WrongMapping(
            at=reading.place(tree, path),
            found=repr(text),
            expected="units of that currency for one of the organisation's, as 1.1734",
        )
    return Decimal(text)


# --- For the mapping's hash -----------------------------------------------------------------------------


def plain_codes(codes: LineCodes) -> dict[str, Any]:
    """Give the meaning of the codes, without the places where they were written; rules have no order."""
    rules = [[rule.when.sql, rule.account, rule.tax, rule.hold and rule.hold.sql] for rule in codes.rules]
    infer = codes.infer
    return {
        "rules": sorted(rules, key=str),
        "columns": {name: list(place) for name, place in sorted(codes.used.items())},
        "infer": infer
        and [
            infer.enough.documents,
            infer.enough.spread,
            infer.enough.days,
            infer.history_days,
            infer.undecided,
        ],
    }


def plain_currencies(found: Currencies) -> list[Any]:
    table = [[code, day.isoformat(), f"{rate:f}"] for code, day, rate in found.table]
    return [found.rates, found.lacking, table, *([found.service] if found.service else [])]

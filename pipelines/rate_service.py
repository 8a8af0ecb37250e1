"""Asks a rate service that is installed beside us: a function under the entry point group `reconcile.rates`.

It takes the organisation's currency and (currency, day) pairs, and gives units of each currency for one of the
organisation's by pair, as Decimal, int or text. What it does not know it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from importlib.metadata import entry_points
from typing import Any, Final

import polars as pl

from reconcile.errors import FixMapping
from reconcile.model import RATES, REJECTS, conform, empty

GROUP: Final = "reconcile.rates"
DECIMALS: Final = 16
# The text of its error is not told: it may hold an address with a key in it.
BY_ITSELF: Final = "Call it by itself to see why; what waits for its rates comes with a later plan"
Pair = tuple[str, date]
Service = Callable[[str, Sequence[Pair]], Mapping[Pair, Any]]


def load_service(name: str, *, at: str) -> Service:
    """Give the service of that name. at: where the mapping names it.

    Raises FixMapping where none is installed under it, or it can't be loaded.
    """
    found = {one.name: one for one in entry_points(group=GROUP)}
    if name not in found:
        expected = f"one that is installed: {', '.join(sorted(found))}" if found else "an installed one"
        raise FixMapping(
            f"{at}: found the rate service {name!r}, expected {expected}. A package names it under the entry points "
            f"`{GROUP}` (docs/mapping.md, Currency)."
        )
    try:
        return found[name].load()
    except Exception as error:
        raise FixMapping(
            f"{at}: the rate service {name!r} can't be loaded: {type(error).__name__}: {error}. "
            "Mend it, or install it anew."
        ) from error


def ask_service(
    service: Service, name: str, base: str, wanted: Sequence[Pair]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give RATES of what the service knows, and REJECTS that say what it did wrong; a rate holds for its day alone.

    Raises nothing: what has no rate waits, and the rest goes on.
    """
    if not wanted:
        return empty(RATES), empty(REJECTS)
    try:
        told = dict(service(base, list(wanted)))
    except Exception as error:  # noqa: BLE001  (somebody else's code)
        return empty(RATES), _rejects(
            [f"the rate service {name} failed: {type(error).__name__}. {BY_ITSELF}"]
        )
    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    for currency, day in wanted:
        given = told.get((currency, day))
        if given is None:
            continue
        rate = _number(given)
        if rate is None:
            wrong.append(
                f"the rate service {name} gave {given!r} ({type(given).__name__}) for {currency} on {day}, expected "
                "units of it for one of the organisation's as Decimal, int or text"
            )
            continue
        rows.append(
            {
                "source": name, "from_currency": base, "to_currency": currency, "rate": rate,
                "starts_on": day, "ends_on": day + timedelta(days=1),
            }
        )  # fmt: skip
    return conform(pl.DataFrame(rows, schema=dict(RATES)), RATES), _rejects(wrong)


def _number(given: Any) -> Decimal | None:
    """Read a rate; null for what is none. A float is none: it is not the number that somebody meant."""
    if isinstance(given, bool) or not isinstance(given, Decimal | int | str):
        return None
    try:
        rate = Decimal(given)
    except InvalidOperation:
        return None
    if not rate.is_finite() or rate <= 0 or rate >= Decimal(10) ** 9:
        return None
    return rate.quantize(Decimal(1).scaleb(-DECIMALS))


def _rejects(reasons: Sequence[str]) -> pl.DataFrame:
    rows = [{"stage": "canonical", "entity": "currency_rate", "reason": reason} for reason in reasons]
    return conform(
        pl.DataFrame(rows, schema=dict.fromkeys(("stage", "entity", "reason"), pl.String)), REJECTS
    )

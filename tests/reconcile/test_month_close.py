"""Finance closes a month: every mistake is found and named, every cent explained, and nothing else is told."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from month import MISTAKES, Group, Month, Moved, clean_month, counted, planted_month

from reconcile.model import BOOKED, CAUSES
from reconcile.totals import Totals, control_totals

SMALL, LARGE = 150, 2000


def closed(month: Month) -> Totals:
    return control_totals(pl.DataFrame(month.rows(), schema=dict(BOOKED), orient="row"))


def differences_of(totals: Totals) -> list[tuple[str, str, Moved]]:
    """Cause, document, and what moves in which group, of each difference."""
    found: dict[str, tuple[str, str, Moved]] = {}
    for row in totals.differences.iter_rows(named=True):
        one = found.setdefault(row["difference_id"], (row["cause"], row["document_key"], {}))
        if row["net"] or row["tax"]:
            one[2][group_of(row)] = (row["net"], row["tax"])
    return list(found.values())


def group_of(row: dict) -> Group:
    return (row["currency"], row["month"].isoformat(), row["status"], row["account"])


def sums_of(totals: Totals) -> dict[Group, dict[str, tuple[Decimal, Decimal]]]:
    """What each side has in each group, as Totals say; a side that has nothing is left out."""
    found: dict[Group, dict[str, list[Decimal]]] = {}
    for row in totals.totals.iter_rows(named=True):
        for side in ("salesforce", "xero"):
            place = 0 if row["measure"] == "net" else 1
            found.setdefault(group_of(row), {}).setdefault(side, [Decimal(0)] * 2)[place] = row[side]
    return {group: {side: (net, tax) for side, (net, tax) in sides.items()} for group, sides in found.items()}


def assert_sums(totals: Totals, month: Month) -> None:
    none = (Decimal(0), Decimal(0))
    expected = {
        group: {side: sides.get(side, none) for side in ("salesforce", "xero")}
        for group, sides in month.totals().items()
    }
    assert sums_of(totals) == expected


def assert_closed(month: Month) -> None:
    totals = closed(month)
    expected = counted([(one.cause, one.document, one.moved) for one in month.planted])
    found = counted(differences_of(totals))
    assert found - expected == {}, "told, and not planted"
    assert expected - found == {}, "planted, and not told"
    assert_sums(totals, month)
    for name in ("residual", "unexplained"):
        assert totals.totals.filter(pl.col(name) != 0).is_empty()


@pytest.mark.parametrize("seed", range(20))
def test_a_clean_month_has_no_difference(seed):
    month = clean_month(seed, SMALL)
    totals = closed(month)
    assert totals.differences.is_empty()
    assert totals.totals.filter(pl.any_horizontal(pl.col("difference", "residual") != 0)).is_empty()
    assert_sums(totals, month)


@pytest.mark.parametrize("seed", range(20))
def test_each_mistake_of_a_small_month_is_named_with_its_cents(seed):
    assert_closed(planted_month(seed, SMALL))


def test_a_month_of_two_thousand_documents_is_explained_to_the_cent():
    month = planted_month(7, LARGE, times=10)
    assert {one.kind for one in month.planted} == set(MISTAKES)
    assert len({document.currency for document in month.salesforce}) == 6
    assert {len(document.lines) for document in month.salesforce} >= {0, 40}
    assert_closed(month)


def test_every_cause_but_the_last_is_planted():
    causes = {one.cause for one in planted_month(1, SMALL).planted}
    assert causes == set(CAUSES) - {"unexplained"}
    assert len(MISTAKES) >= 12

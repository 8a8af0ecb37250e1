"""Rates from somebody else's service: what it gives holds for its days, what it does wrong stops nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.rate_service import ask_service, load_service
from reconcile.errors import FixMapping

D = Decimal
FIRST, SECOND = ("EUR", date(2026, 11, 20)), ("USD", date(2026, 11, 21))
SERVICES = """
from decimal import Decimal
def steady(base, wanted):
    return {one: Decimal("1.17") for one in wanted}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with two services, as an installer leaves it."""
    (tmp_path / "treasury_rates.py").write_text(SERVICES)
    place = tmp_path / "treasury_rates-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: treasury-rates\nVersion: 1.0\n")
    named = "[reconcile.rates]\nsteady = treasury_rates:steady\nbroken = treasury_rates:missing\n"
    (place / "entry_points.txt").write_text(named)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path


def asked(service: Callable[..., Any]) -> tuple[list[tuple[Any, ...]], list[str]]:
    rates, rejects = ask_service(service, "steady", "GBP", [FIRST, SECOND])
    rows = rates.select("source", "from_currency", "to_currency", "starts_on", "ends_on", "rate").rows()
    return rows, rejects["reason"].to_list()


def test_an_installed_service_gives_the_rates_of_its_days(installed: Path) -> None:
    rows, told = asked(load_service("steady", at="mapping.yaml:7"))
    assert rows == [
        ("steady", "GBP", "EUR", date(2026, 11, 20), date(2026, 11, 21), D("1.17")),
        ("steady", "GBP", "USD", date(2026, 11, 21), date(2026, 11, 22), D("1.17")),
    ]
    assert told == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stedy", "found the rate service 'stedy', expected one that is installed: broken, steady"),
        ("broken", "the rate service 'broken' can't be loaded: AttributeError"),
    ],
)
def test_a_service_that_is_not_there_is_the_mappings_fault(installed: Path, name: str, said: str) -> None:
    with pytest.raises(FixMapping) as told:
        load_service(name, at="mapping.yaml:7")
    assert str(told.value).startswith("mapping.yaml:7: ") and said in str(told.value)


@pytest.mark.parametrize(
    "wrong", [1.17, True, "a lot", "NaN", "Infinity", "-1", 0, D("1E+9"), b"1", None.__class__]
)
def test_what_is_no_rate_is_told_and_the_others_hold(wrong: Any) -> None:
    rows, told = asked(lambda base, wanted: {FIRST: wrong, SECOND: "1.27"})
    assert [(row[2], row[5]) for row in rows] == [("USD", D("1.27"))]
    assert len(told) == 1 and "for EUR on 2026-11-20, expected units of it for one" in told[0]


def test_what_it_leaves_out_is_no_fault_and_what_nobody_asked_for_is_not_taken() -> None:
    rows, told = asked(lambda base, wanted: {FIRST: 2, ("CHF", FIRST[1]): 3})
    assert [(row[2], row[5]) for row in rows] == [("EUR", D(2))] and told == []


def test_a_service_that_fails_gives_none_and_is_told() -> None:
    def down(base: str, wanted: Any) -> Any:
        raise TimeoutError("no answer")

    rows, told = asked(down)
    assert rows == [] and len(told) == 1
    assert told[0].startswith("the rate service steady failed: TimeoutError. Call it by itself")
    assert "no answer" not in told[0]


def test_nothing_wanted_asks_nobody() -> None:
    def never(base: str, wanted: Any) -> Any:
        raise AssertionError

    rates, rejects = ask_service(never, "steady", "GBP", [])
    assert rates.is_empty() and rejects.is_empty()

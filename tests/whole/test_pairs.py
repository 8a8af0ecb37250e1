"""Two pairs on one machine never meet, and a plan beyond its limits is approved by its very hash."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_books
from whole_pair import Pair, running

from flows import gather

pytestmark = pytest.mark.in_turn(2)


@pytest.fixture
def two_pairs(tmp_path: Path) -> Iterator[tuple[Pair, Pair]]:
    """Two pairs whose settings name one folder of data."""
    with (
        running(tmp_path / "one", seed="empty") as one,
        running(tmp_path / "other", seed="empty") as other,
    ):
        one.load("salesforce", small_books.SALESFORCE)
        one.load("xero", small_books.XERO)
        other.in_salesforce.make("Account", Name="Bravo, a secret customer", Type="Customer - Direct")
        other.set("pair", data_dir=str(tmp_path / "one" / "data"))
        other.set("journal", key=key_of(one))
        yield one, other


def key_of(pair: Pair) -> str:
    line = next(line for line in pair.settings.read_text().splitlines() if line.startswith("key = "))
    return line.partition('"')[2].rstrip('"')


def test_a_folder_of_data_belongs_to_one_pair_by_name(two_pairs):
    one, other = two_pairs
    one.plan()
    other.set("pair", name="other")
    said = other.command("plan", "--json")
    assert (said.code, said.json()["error"]) == (1, "WrongPair")


def test_even_a_read_only_pair_takes_in_no_rows_of_other_systems(two_pairs):
    one, other = two_pairs
    one.plan()
    said = other.command("plan", "--json")
    assert (said.code, said.json()["error"]) == (1, "WrongPair")
    with one.opened() as ctx, ctx.warehouse() as warehouse:
        assert "secret" not in "".join(warehouse.raw("salesforce", "Account")["body"])
    assert not one.plan().errors


def test_a_plan_beyond_its_limits_is_applied_by_its_hash_alone(tmp_path):
    with running(tmp_path / "pair", seed="empty") as pair:
        pair.load("salesforce", small_books.SALESFORCE)
        pair.load("xero", small_books.XERO)
        pair.enable_writes()
        pair.set("limits", max_operations=2)
        planned = pair.command("plan", "--json").json()
        said = pair.command("apply", "--yes", "--json")
        assert (said.code, said.json()["error"]) == (3, "BeyondLimits")
        assert pair.writes() == []
        assert pair.command("apply", planned["plan"], "--yes", "--json").code == 0
        assert pair.writes() != []


def test_the_report_names_who_let_the_plan_be_applied(tmp_path):
    with running(tmp_path / "pair", seed="empty") as pair:
        pair.load("salesforce", small_books.SALESFORCE)
        pair.load("xero", small_books.XERO)
        pair.enable_writes()
        pair.apply(pair.plan())
        with pair.opened(offline=True) as ctx:
            assert gather.report_data(ctx).approved_by == getpass.getuser()

"""What `plan` and `show` say to a person where nothing is to be written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from flows.show import _nothing
from pipelines.plans import Planned


def planned(*, errors: dict[str, str], conflicts: int) -> Planned:
    frame = pl.DataFrame({"link_id": ["party:a:b"] * conflicts})
    told: dict[str, Any] = {"errors": errors, "conflicts": frame}
    return cast("Planned", SimpleNamespace(**told))


@pytest.mark.parametrize(
    ("errors", "conflicts", "agrees", "said"),
    [
        ({}, 0, True, "Nothing to do."),
        ({"xero.Contact": "can't be reached"}, 0, False, "could not be read"),
        ({}, 1, False, "waits for a decision"),
    ],
)
def test_agreement_is_claimed_only_where_all_was_read_and_nothing_conflicts(
    errors: dict[str, str], conflicts: int, agrees: bool, said: str
) -> None:
    line = _nothing(planned(errors=errors, conflicts=conflicts))
    assert said in line
    assert ("in agreement" in line) is agrees

"""What `plan` and `show` say to a person where nothing is to be written."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from flows.show import _nothing, changed_text
from pipelines.plans import Planned
from reconcile import names


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("billing_address", "billing address"),
        ("Region__c", "Region__c"),  # somebody's own field is what it is called
        ("Xero_Invoice_Amount_Due__c", "invoice amount due"),
    ],
)
def test_fields_are_called_as_people_call_them(name: str, said: str) -> None:
    assert names.spoken(name) == said
    told = changed_text(None, json.dumps({name: "9.50", "phone": "1"})).plain
    assert told == f"{said}: 9.50, phone: 1"

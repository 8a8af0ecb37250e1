"""What reading again does to a run: an edit that our write went over ends `apply` with 1, and is in the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from whole_pair import Pair

from pipelines.looks import Looks

pytestmark = pytest.mark.in_turn(1)

FAX = "020 7946 0123"


def between_look_and_write(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let somebody act once, after we looked at what a request to Xero is about to write."""
    timed, left = Looks.timed, [1]

    def acted(self: Looks, intent: Any) -> Any:
        found = timed(self, intent)
        if left and intent.system == "xero":
            left.pop()
            act()
        return found

    monkeypatch.setattr(Looks, "timed", acted)


def fax_to_write(pair: Pair) -> str:
    account, contact = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Fax=FAX)
    assert pair.plan().waits
    return contact["ContactID"]


def test_an_edit_that_our_write_went_over_ends_apply_with_1_and_stands_in_the_report(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.set("audit", history="all")
    xero_id = fax_to_write(pair)
    by_hand = {"ContactID": xero_id, "Phones": [{"PhoneType": "FAX", "PhoneNumber": "555 000 777"}]}
    between_look_and_write(monkeypatch, lambda: pair.control("xero", "POST", "edit-contact", by_hand))
    said = pair.command("apply", "--yes", "--json")
    assert said.code == 1
    assert {row["outcome"] for row in said.json()["outcomes"]} == {"confirmed"}
    (found,) = said.json()["read_again"]["findings"]
    assert (found["finding"], found["incident"], found["record_id"]) == ("overwritten", True, xero_id)
    assert "fax" in found["message"]
    markdown = pair.command("report", "--markdown").out
    assert xero_id in markdown.partition("Read again after the last push")[2]
    assert pair.command("report", "--json").json()["read_again"] == [{"finding": "overwritten", "count": 1}]
    with pair.opened(offline=True) as ctx:
        assert ctx.journal.verify().ok
        counts = next(row.counts for row in ctx.journal.runs() if row.kind == "apply")
    assert counts["overwritten"] == 1 and counts["xero_window_ms_max"] >= counts["xero_window_ms_median"] > 0
    told = said.out + said.err + markdown
    assert "555 000" not in told and "555000" not in told


def test_a_push_that_nobody_crossed_ends_with_0(pair: Pair) -> None:
    fax_to_write(pair)
    said = pair.command("apply", "--yes", "--json")
    assert said.code == 0 and said.json()["read_again"]["findings"] == []

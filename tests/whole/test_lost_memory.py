"""Journal or warehouse lost after adoption: what both systems carry is enough to make nothing twice."""

from __future__ import annotations

import pytest
from whole_pair import Pair, brief, phone

JOURNAL, WAREHOUSE = "journal.db*", "warehouse.duckdb*"


def lose(pair: Pair, *patterns: str) -> None:
    for pattern in patterns:
        for file in (pair.folder / "data").glob(pattern):
            file.unlink()


def accept(pair: Pair) -> None:
    """The journal's head is still there and tells of the one that was lost: a person says to go on."""
    refused = pair.command("audit", "accept", "--json")
    assert (refused.code, refused.json()["error"]) == (3, "NeedsApproval")
    assert pair.command("audit", "accept", "--yes").code == 0
    assert pair.command("audit", "verify", "--json").json()["ok"]


@pytest.mark.parametrize(
    "lost", [(JOURNAL,), (WAREHOUSE,), (JOURNAL, WAREHOUSE)], ids=["journal", "warehouse", "both"]
)
def test_links_come_back_by_their_ids_and_nothing_is_made_twice(pair: Pair, lost: tuple[str, ...]) -> None:
    with pair.opened(offline=True) as ctx:
        before = ctx.journal.links().select("entity", "salesforce_id", "xero_id").rows()
    marks = pair.marks()
    lose(pair, *lost)
    planned = pair.plan()
    assert "create" not in planned.operations["action"].to_list(), brief(planned)
    assert planned.operations.is_empty(), brief(planned)
    with pair.opened(offline=True) as ctx:
        links = ctx.journal.links()
    assert sorted(links.select("entity", "salesforce_id", "xero_id").rows()) == sorted(before)
    if JOURNAL in lost:
        parties = links.filter(links["entity"] == "party")
        assert set(parties["rule"]) == {"our_ids"}
    assert pair.writes(marks) == []


def test_a_pair_without_memory_carries_the_next_edit(pair: Pair) -> None:
    lose(pair, JOURNAL, WAREHOUSE)
    pair.plan()
    accept(pair)
    pair.enable_writes()
    account, contact = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0123")
    planned = pair.plan()
    assert planned.operations.select("system", "record_id", "unit").rows() == [
        ("xero", contact["ContactID"], "phone")
    ]
    pair.apply(planned)
    assert phone(pair.contact(contact["ContactID"])) == "442079460123"
    assert pair.plan().operations.is_empty()


def test_an_edit_made_while_memory_was_lost_is_told_and_not_overwritten(pair: Pair) -> None:
    account, contact = pair.linked()[8]
    lose(pair, JOURNAL, WAREHOUSE)
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0123")
    planned = pair.plan()
    assert planned.operations.is_empty(), brief(planned)
    standing = planned.drift.filter(planned.drift["salesforce_id"] == account["Id"])
    assert ("phone", "as_found") in standing.select("unit", "why").rows()
    assert phone(pair.contact(contact["ContactID"])) != "442079460123"


def test_a_new_journal_is_read_only(pair: Pair) -> None:
    lose(pair, JOURNAL)
    pair.in_salesforce.change(pair.linked()[8][0]["Id"], Fax="020 7946 0123")
    marks = pair.marks()
    told = pair.command("plan")
    assert told.code == 3 and "`reconcile audit accept`" in told.err
    said = pair.command("apply", "--yes", "--json")
    assert (said.code, said.json()["error"]) == (1, "JournalMismatch")
    accept(pair)
    assert "audit accept" not in pair.command("plan").err
    said = pair.command("apply", "--yes", "--json")
    assert (said.code, said.json()["error"]) == (3, "ReadOnly")
    assert pair.writes(marks) == []

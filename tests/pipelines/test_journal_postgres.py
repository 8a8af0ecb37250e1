"""The journal on PostgreSQL, where a server is given:

RECONCILE_TEST_POSTGRES=postgresql+psycopg://user@host/empty_database python -m pytest ...
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_scene import KEY, begin, fill, intent_of, leave
from sqlalchemy import create_engine, text

from pipelines.journal import Journal
from pipelines.journal_tables import COVERED
from reconcile.errors import InvariantBroken, JournalMismatch, LeaseHeld, LeaseLost

URL = os.environ.get("RECONCILE_TEST_POSTGRES", "")
pytestmark = pytest.mark.skipif(not URL, reason="RECONCILE_TEST_POSTGRES names no server")


@pytest.fixture
def head(tmp_path: Path) -> Path:
    return tmp_path / "journal.head"


@pytest.fixture
def journal(head: Path) -> Iterator[Journal]:
    engine = create_engine(URL)
    with engine.begin() as con:
        con.execute(text("drop schema public cascade"))
        con.execute(text("create schema public"))
    engine.dispose()
    with Journal(URL, KEY, head=head) as opened:
        yield opened


def test_a_filled_journal_verifies_and_a_change_in_any_table_is_named(journal: Journal, head: Path) -> None:
    fill(journal)
    assert journal.verify().ok and journal.verify().kept == journal.head()
    for table in COVERED:
        key = min(table.primary_key.columns, key=lambda column: column.name).name
        with journal.engine.begin() as con:
            last = f"(select {key} from {table.name} where {key}::text <> 'audit_head' limit 1)"
            con.execute(text(f"delete from {table.name} where {key} = {last}"))
        with Journal(URL, KEY, head=head) as again:
            assert table.name in again.verify().found
            with pytest.raises(JournalMismatch):
                again.must_be_whole()
            again.accept(by="test")
            assert again.verify().ok


def test_a_journal_that_is_put_back_is_noticed(journal: Journal, head: Path) -> None:
    journal.note("made", {})
    kept = head.read_text()
    with journal.engine.begin() as con:
        con.execute(text("delete from audit where sequence = (select max(sequence) from audit)"))
        last = con.execute(text("select sequence, hash from audit order by sequence desc limit 1")).one()
        con.execute(
            text("update meta set value = :end where name = 'audit_head'"), {"end": f"{last[0]}:{last[1]}"}
        )
    with Journal(URL, KEY, head=head) as again:
        assert again.trouble.endswith("1 are lost") and head.read_text() == kept


def test_writers_keep_one_chain_and_one_lease(journal: Journal, head: Path) -> None:
    def write() -> None:
        with Journal(URL, KEY, head=head) as own:
            for place in range(30):
                own.note("made", {"place": place})

    before = journal.verify().rows
    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.verify().ok and journal.verify().rows == before + 120
    with Journal(URL, KEY, head=head) as other, journal.lease("pair", "first", 60) as lease:
        sent = begin(journal, lease, intent_of(1))
        leave(journal, lease, sent)
        with pytest.raises(InvariantBroken):
            begin(journal, lease, intent_of(1))
        with pytest.raises(LeaseHeld, match="first"), other.lease("pair", "second", 60):
            pass
        with journal.engine.begin() as con:
            con.execute(text("update leases set fencing = fencing + 1"))
        with pytest.raises(LeaseLost):
            journal.intents.unknown(sent, burnt=False, fence=lease)

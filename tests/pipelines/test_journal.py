from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from push_scene import account_id, contact_id, links_of, move_of

from pipelines.journal import Journal
from pipelines.journal_cipher import Cipher, WrongKey
from pipelines.journal_lease import this_process
from pipelines.journal_tables import REVISION, SEALED, schema
from reconcile.errors import (
    FixSettings,
    JournalBusy,
    JournalDamaged,
    LeaseHeld,
    LeaseLost,
    NeedsApproval,
    WrongPair,
    WrongSetting,
)
from reconcile.match import link_id
from reconcile.model import BASE_MOVES, BASES, DECISIONS, LINKS, OUTCOME_ROWS, empty

KEY = "0f" * 32
PINS = {"salesforce_org_id": "00D1", "is_sandbox": True, "xero_tenant_id": "t-1", "base_currency": "GBP"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'journal.db'}"


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    with Journal(url, KEY) as opened:
        yield opened


def moves(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(BASE_MOVES)) if rows else empty(BASE_MOVES)


# --- Opening ------------------------------------------------------------------------------------------


def test_only_the_owner_may_read_a_new_journal(url: str, tmp_path: Path) -> None:
    with Journal(url):
        folder = tmp_path / "data"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_current_journal_opens_at_once_and_without_alembic(url: str) -> None:
    Journal(url, KEY).close()
    code = (
        "import sys, time; from pipelines.journal import Journal; t = time.monotonic(); "
        f"Journal({url!r}, {KEY!r}).close(); print(time.monotonic() - t, 'alembic' in sys.modules)"
    )
    took_s, alembic = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert float(took_s) < 0.25  # 2 ms where nothing else runs
    assert alembic == "False"


def test_the_migrations_make_the_tables_that_the_code_expects(url: str, tmp_path: Path) -> None:
    from sqlalchemy import create_engine, inspect

    with Journal(url) as journal:
        made = inspect(journal.engine)
        model = create_engine(f"sqlite:///{tmp_path / 'model.db'}")
        schema.create_all(model)
        wanted = inspect(model)
        assert set(made.get_table_names()) - {"alembic_version"} == set(wanted.get_table_names())
        for name in wanted.get_table_names():
            columns = {c["name"]: (str(c["type"]), c["nullable"]) for c in made.get_columns(name)}
            assert columns == {c["name"]: (str(c["type"]), c["nullable"]) for c in wanted.get_columns(name)}
            assert (
                made.get_pk_constraint(name)["constrained_columns"]
                == (wanted.get_pk_constraint(name)["constrained_columns"])
            )
            assert {i["name"] for i in made.get_indexes(name)} == {
                i["name"] for i in wanted.get_indexes(name)
            }


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import pipelines.migrations

    config = Config()
    config.set_main_option("script_location", str(Path(pipelines.migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_a_commit_is_durable_and_readers_do_not_wait(journal: Journal) -> None:
    with journal.read() as con:
        assert con.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert con.exec_driver_sql("pragma synchronous").scalar() == 2
    with journal.write() as con:
        journal.put_meta(con, "half", "done")
        assert journal.get_meta("half") is None  # another connection, while the write is open


@pytest.mark.parametrize("bad", ["", "nonsense", "mysql://root:hunter2@h/db", "sqlite://", "oracle+x://y"])
def test_an_address_that_can_not_be_used_names_the_setting_and_tells_no_secret(bad: str) -> None:
    with pytest.raises(WrongSetting, match=r"journal\.url") as caught:
        Journal(bad)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FixSettings, match=r"journal\.url"):
        Journal(f"sqlite:///{tmp_path / 'file' / 'journal.db'}")


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is no database at all, not a bit" * 100)
    with pytest.raises(JournalDamaged, match="backup"):
        Journal(f"sqlite:///{tmp_path / 'journal.db'}")


def test_a_journal_of_a_newer_version_is_not_touched(url: str) -> None:
    Journal(url).close()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as con:
        con.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(FixSettings, match="newer"):
        Journal(url)


def test_a_journal_that_another_process_holds_is_busy(journal: Journal, url: str, monkeypatch) -> None:
    import pipelines.journal_store as store

    monkeypatch.setattr(store, "BUSY_MS", 50)
    with Journal(url, KEY) as other, journal.write(), pytest.raises(JournalBusy), other.write():
        pass
    # Who is at work is named: perhaps it only wants waking.
    at_work = pytest.raises(JournalBusy, match="At work: ann@desk process 7")
    lease = journal.lease("demo", "ann@desk process 7", 60)
    with Journal(url, KEY) as other, lease, journal.write(), at_work, other.write():
        pass


def test_a_database_whose_driver_is_not_installed_is_told() -> None:
    with pytest.raises(FixSettings, match="driver pg8000 is not installed"):
        Journal("postgresql+pg8000://ann@127.0.0.1/journal")


def test_a_lease_whose_holder_is_gone_is_nobodys_work(journal: Journal) -> None:
    assert journal.at_work() is None
    with journal.lease("demo", "ann@desk process 7", 60):
        assert journal.at_work() == "ann@desk process 7"
        gone = this_process().rpartition("|")[0] + "|0"  # this number belongs to another process by now
        with journal.write() as con:
            con.exec_driver_sql("update leases set process = ?", (gone,))
        assert journal.at_work() is None
    assert journal.at_work() is None


def test_a_full_disk_stops_before_anything_is_sent(journal: Journal) -> None:
    with journal.read() as con:
        pages = con.exec_driver_sql("pragma page_count").scalar()
    journal.engine.dispose()
    from sqlalchemy import event

    @event.listens_for(journal.engine, "connect")
    def small(dbapi, _record) -> None:
        dbapi.execute(f"pragma max_page_count = {pages}")

    with pytest.raises(FixSettings, match="disk is full"):
        for _ in range(200):
            journal.note("filling", {"text": "x" * 4000})
    assert journal.verify().ok


# --- Sealing ------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_opens_in_its_place_only(plain: bytes, place: str) -> None:
    cipher = Cipher(KEY)
    sealed = cipher.seal(plain, place)
    assert cipher.open(sealed, place) == plain
    assert len(plain) < 4 or plain not in sealed
    with pytest.raises(WrongKey):
        cipher.open(sealed, place + "|other")
    with pytest.raises(WrongKey):
        Cipher("aa" * 32).open(sealed, place)
    with pytest.raises(WrongKey):
        Cipher("").open(sealed, place)


@pytest.mark.parametrize("key", ["short", "zz" * 32, "0f" * 33])
def test_a_key_of_another_form_names_its_setting(url: str, key: str) -> None:
    with pytest.raises(WrongSetting, match=r"journal\.key") as caught:
        Journal(url, key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("wrong", ["", "aa" * 32])
def test_another_key_or_none_does_not_open_an_encrypted_journal(url: str, wrong: str) -> None:
    Journal(url, KEY).close()
    with pytest.raises(WrongSetting, match=r"RECONCILE_JOURNAL__KEY"):
        Journal(url, wrong)


def test_tokens_are_kept_sealed_and_without_a_key_only_in_memory(url: str, tmp_path: Path) -> None:
    token = {"access_token": "canary-token-7f3a", "expires_at": "2026-01-01"}
    with Journal(url) as journal:
        journal.tokens.put("xero", "access", token)
        assert journal.tokens.get("xero", "access") == token
        assert not journal.tokens.durable and journal.status()["tokens_kept"] is False
    with Journal(url) as journal:
        assert journal.tokens.get("xero", "access") is None
    with Journal(url, KEY) as journal:
        journal.tokens.put("xero", "access", token)
    with Journal(url, KEY) as journal:
        assert journal.tokens.get("xero", "access") == token
        journal.tokens.forget("xero")
        assert journal.tokens.get("xero", "access") is None
    blob = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert b"canary" not in blob


def test_what_was_written_before_there_was_a_key_is_sealed_when_one_is_set(url: str) -> None:
    with Journal(url) as journal:
        journal.adopt(links_of(1), moves(move_of(1, "name", '{"Name":"Canary Ltd"}', '{"Name":"Canary"}')))
        before = journal.bases()
    with Journal(url, KEY) as journal:
        assert journal.bases().equals(before)
        with journal.read() as con:
            for table, (column, _) in SEALED.items():
                rows = con.exec_driver_sql(f"select {column} from {table}").scalars().all()
                assert all(value[:1] == b"\x01" for value in rows if value)


# --- The pair -----------------------------------------------------------------------------------------


def test_a_pair_is_read_only_until_writes_are_enabled(journal: Journal) -> None:
    assert journal.writes_enabled("acme") is None
    journal.enable_writes("acme", "sandbox", PINS)
    assert journal.writes_enabled("acme") == "sandbox"
    assert journal.writes_enabled("other") is None
    journal.disable_writes("acme")
    assert journal.writes_enabled("acme") is None
    assert journal.pins() == PINS


@pytest.mark.parametrize("name", list(PINS))
def test_another_organisation_is_named_by_what_differs(journal: Journal, name: str) -> None:
    journal.check_pins(PINS)  # nothing is pinned yet
    journal.enable_writes("acme", "sandbox", PINS)
    journal.check_pins({**PINS, "xero_organisation": "Renamed"})
    with pytest.raises(WrongPair, match=name):
        journal.check_pins({**PINS, name: "another"})
    with pytest.raises(WrongPair):
        journal.enable_writes("acme", "sandbox", {**PINS, name: "another"})


def test_one_run_at_a_time_and_each_has_a_higher_number(journal: Journal, url: str) -> None:
    with journal.lease("acme", "first", 60) as first, Journal(url, KEY) as other:
        with pytest.raises(LeaseHeld, match="first"), other.lease("acme", "second", 60):
            pass
        with other.lease("another pair", "second", 60):
            pass
    with journal.lease("acme", "third", 60) as third:
        assert third.fencing > first.fencing
        third.check()


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_may_write_no_more(url: str) -> None:
    late = datetime.now(UTC) + timedelta(hours=1)
    with Journal(url, KEY) as slow, Journal(url, KEY, now=lambda: late) as other:
        with slow.lease("acme", "slow", 60) as lost, other.lease("acme", "other", 60):
            with pytest.raises(LeaseLost, match="acme"):
                lost.check()
            with pytest.raises(LeaseLost), slow.write(lost) as con:
                slow.put_meta(con, "written", "by nobody")
            with pytest.raises(LeaseLost):
                slow.adopt(links_of(1), empty(BASE_MOVES), lease=lost)
        assert slow.get_meta("written") is None and slow.links().is_empty()


def test_a_lease_lives_as_long_as_its_holder_renews_it(journal: Journal, url: str) -> None:
    with journal.lease("acme", "working", 2.0), Journal(url, KEY) as other:
        time.sleep(2.5)
        with pytest.raises(LeaseHeld), other.lease("acme", "second", 60):
            pass


def test_the_lease_of_a_process_that_died_here_is_taken_over_at_once(journal: Journal, url: str) -> None:
    code = (
        "import os, signal; from pipelines.journal import Journal; "
        f"Journal({url!r}, {KEY!r}).lease('acme', 'dead', 600).__enter__(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -9
    with journal.lease("acme", "living", 60) as lease:
        assert lease.fencing == 2


# --- What is known ------------------------------------------------------------------------------------


def test_what_is_adopted_comes_back_in_the_models_frames(journal: Journal) -> None:
    journal.adopt(links_of(1, 2), moves(move_of(1, "name", '{"Name":"A"}', '{"Name":"B"}')))
    assert dict(journal.links().schema) == dict(LINKS) and journal.links().height == 2
    bases = journal.bases()
    assert dict(bases.schema) == dict(BASES)
    row = bases.filter(pl.col("side") == "salesforce").row(0, named=True)
    assert (row["native"], row["base_kind"]) == ('{"Name":"A"}', "as_found")
    assert row["stamp"] == datetime(2026, 1, 2, tzinfo=UTC)


def test_adopting_the_same_again_moves_nothing(journal: Journal) -> None:
    known = links_of(1), moves(move_of(1, "name", "{}", "{}"))
    first = journal.adopt(*known)
    assert journal.adopt(*known) == first == journal.sequence()
    assert journal.bases_since(first).is_empty() and journal.link_history(first).is_empty()


def test_a_base_moves_unit_by_unit(journal: Journal) -> None:
    journal.adopt(links_of(1), moves(move_of(1, "name", "1", "2"), move_of(1, "phone", "3", "4")))
    at = journal.sequence()
    journal.adopt(links_of(1), moves(move_of(1, "phone", "5", "6", "agreed")))
    found = {(r["side"], r["unit"]): (r["base_kind"], r["native"]) for r in journal.bases().to_dicts()}
    assert found["salesforce", "name"] == ("as_found", "1")
    assert found["xero", "phone"] == ("agreed", "6")
    assert journal.bases_since(at).height == 4  # a changed link is told whole


def test_a_link_that_takes_an_id_over_ends_the_one_before(journal: Journal) -> None:
    journal.adopt(links_of(1), empty(BASE_MOVES))
    survivor = links_of(2).with_columns(
        salesforce_id=pl.lit(account_id(1)),
        link_id=pl.lit(link_id("party", account_id(1), contact_id(2))),
        rule=pl.lit("survivor"),
    )
    journal.adopt(survivor, empty(BASE_MOVES))
    assert journal.links()["xero_id"].to_list() == [contact_id(2)]
    history = journal.link_history()
    assert history.height == 2
    assert history.filter(pl.col("held_to").is_not_null())["xero_id"].to_list() == [contact_id(1)]


def test_the_newest_decision_of_a_pair_and_unit_is_in_force(journal: Journal) -> None:
    who = {"entity": "party", "salesforce_id": "001", "xero_id": "c", "made_by": "ada"}
    journal.decide("refuse_link", fingerprint="f1", **who)
    journal.decide("accept_link", fingerprint="f2", **who)
    journal.decide("accept_drift", unit="phone", **who)
    found = journal.decisions()
    assert dict(found.schema) == dict(DECISIONS)
    assert found.sort("kind")["kind"].to_list() == ["accept_drift", "accept_link"]
    assert journal.withdraw("party", "001", "c") and not journal.withdraw("party", "001", "c")
    assert journal.decisions()["kind"].to_list() == ["accept_drift"]


def test_ten_thousand_links_are_adopted_in_seconds(journal: Journal) -> None:
    numbers = range(10_000)
    found = links_of(*numbers)
    units = ("name", "phone", "email", "billing_address")
    rows = moves(*(move_of(n, unit, '{"Name":"x"}', '{"Name":"x"}') for n in numbers for unit in units))
    started = time.process_time()
    journal.adopt(found, rows)
    assert journal.bases().height == 80_000
    assert time.process_time() - started < 15


# --- Plans, runs, the chain ---------------------------------------------------------------------------


def test_a_new_plan_supersedes_those_that_wait(journal: Journal) -> None:
    journal.save_plan("a" * 64, {"operations": 3})
    journal.set_plan_state("a" * 64, "approved")
    journal.save_plan("a" * 64, {"operations": 3})  # planned again, the same
    row = journal.plan("a" * 64)
    assert row is not None and row.state == "approved" and row.manifest == {"operations": 3}
    journal.save_plan("b" * 64, {})
    assert [(r.plan_hash[0], r.state) for r in journal.plans()] == [("b", "sealed"), ("a", "superseded")]
    journal.set_plan_state("b" * 64, "expired")
    journal.save_plan("b" * 64, {})  # planned again, the same: it may be applied for another day
    row = journal.plan("b" * 64)
    assert row is not None and row.state == "sealed"
    with pytest.raises(NeedsApproval):
        journal.set_plan_state("c" * 64, "applied")
    assert dict(journal.outcomes("a" * 64).schema) == dict(OUTCOME_ROWS)


def test_runs_tell_what_they_counted_and_cost(journal: Journal) -> None:
    run_id = journal.start_run("sync", holder="test", details={"full": True})
    journal.end_run(run_id, "done", counts={"changed": 3}, calls={"xero": 4})
    run = journal.runs()[0]
    assert (run.kind, run.state, run.counts, run.calls) == ("sync", "done", {"changed": 3}, {"xero": 4})
    assert run.ended_at is not None and run.ended_at >= run.started_at
    assert journal.status()["last_run"]["run_id"] == run_id


def test_the_chain_shows_a_row_that_was_changed_taken_out_or_cut_off(url: str) -> None:
    changes = [
        ("update audit set details = '{}' where sequence = 3", 3),
        ("update audit set wrote = '{\"links\":{}}' where sequence = 3", 3),
        ("update audit set wrote = null where sequence = 3", 3),
        ("delete from audit where sequence = 2", 2),
        ("delete from audit where sequence = 6", 6),  # the last: seen by the head beside it
        ("update audit set kind = 'approved' where sequence = 1", 1),
    ]
    for number, (change, first_bad) in enumerate(changes):
        own = url.replace("journal.db", f"journal{number}.db")
        with Journal(own) as journal:
            for place in range(5):
                journal.note("made", {"place": place})
            assert journal.verify().ok and journal.verify().rows == 6  # one covers what was there at first
            head = journal.verify().head
        with sqlite3.connect(own.removeprefix("sqlite:///")) as con:
            con.execute(change)
        with Journal(own) as journal:
            found = journal.verify()
            assert not found.ok and found.first_bad == first_bad
            assert found.head != head


def test_a_half_done_transaction_leaves_nothing(journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), journal.write() as con:
        journal.put_meta(con, "half", "done")
        journal.log(con, "half", {})
        _ = 1 / 0
    assert journal.get_meta("half") is None and journal.verify().ok


def test_status_is_json(journal: Journal) -> None:
    import json

    journal.save_plan("a" * 64, {})
    assert json.loads(json.dumps(journal.status()))["last_plan"]["state"] == "sealed"


def test_the_journal_loads_nothing_heavy() -> None:
    code = (
        "import sys, pipelines.journal, pipelines.push; "
        "heavy = 'dlt great_expectations prefect duckdb alembic'.split(); "
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"

"""The chain and its head: whatever was not written by the journal itself is found, and nothing is sent."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from journal_scene import KEY, begin, fill, intent_of, leave
from push_scene import links_of
from sqlalchemy import create_engine, text

from flows.cli import main
from pipelines import journal_chain as chain
from pipelines.journal import Journal
from pipelines.journal_tables import COVERED, REVISION
from reconcile.errors import FixSettings, JournalMismatch
from reconcile.model import BASE_MOVES, empty

NAMES = [table.name for table in COVERED]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    with Journal(f"sqlite:///{folder / 'journal.db'}", KEY) as journal:
        fill(journal)
    return folder


@pytest.fixture
def file(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "own")
    return tmp_path / "own" / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    with opened(file) as found:
        yield found


def opened(file: Path) -> Journal:
    return Journal(f"sqlite:///{file}", KEY)


def change(file: Path, *statements: str) -> None:
    """Somebody edits the file by hand."""
    with sqlite3.connect(file) as con:
        for statement in statements:
            con.execute(statement)


def copy(file: Path, to: Path) -> None:
    """Copy the journal as a backup does: the database without the head beside it."""
    to.mkdir(exist_ok=True)
    for part in file.parent.glob("journal.db*"):
        shutil.copy(part, to / part.name)


# --- Rows ---------------------------------------------------------------------------------------------


def test_the_scene_has_rows_in_every_table_that_the_chain_covers(file: Path) -> None:
    with sqlite3.connect(file) as con:
        assert [name for name in NAMES if not con.execute(f"select count(*) from {name}").fetchone()[0]] == []
    with opened(file) as journal:
        assert journal.verify().ok and not journal.trouble


@pytest.mark.parametrize("name", NAMES)
def test_a_change_in_any_column_of_any_table_is_found_and_named(
    filled: Path, tmp_path: Path, name: str
) -> None:
    with sqlite3.connect(filled / "journal.db") as con:
        columns = [(row[1], row[2]) for row in con.execute(f"pragma table_info({name})")]
    for column, kind in columns:
        file = Path(shutil.copytree(filled, tmp_path / column)) / "journal.db"
        value = "x'0041'" if kind == "BLOB" else "'4242'" if "INT" in kind or kind == "FLOAT" else "'other'"
        value = "not burnt" if column == "burnt" else value
        # Of meta not the row that is the chain's own end.
        row = "name = 'pair'" if name == "meta" else f"rowid = (select max(rowid) from {name})"
        change(file, f"update {name} set {column} = {value} where {row}")
        with opened(file) as journal:
            found = journal.verify()
            assert not found.ok and name in found.found, (column, found)
            with pytest.raises(JournalMismatch, match="audit verify"):
                journal.must_be_whole()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_is_taken_out_or_put_in_or_moved_is_found_and_named(
    filled: Path, tmp_path: Path, name: str
) -> None:
    with sqlite3.connect(filled / "journal.db") as con:
        info = con.execute(f"pragma table_info({name})").fetchall()
    key = min((row for row in info if row[5]), key=lambda row: row[5])[1]
    rest = ", ".join(row[1] for row in info if row[1] not in (key, "idempotency_key", "business_key"))
    twin = f"insert into {name} ({key}, {rest}) select {key} || '9', {rest} from {name}"
    if name == "intents":
        twin = twin.replace("(", "(business_key, ", 1).replace("select ", "select 'other', ", 1)
    forged = {"removed": f"delete from {name} where rowid = (select max(rowid) from {name})"}
    forged["added"] = twin + f" where rowid = (select max(rowid) from {name})"
    moved = f"update {name} set {key} = {key} || '0' where rowid = (select max(rowid) from {name})"
    for how, statement in {**forged, "moved": moved}.items():
        file = Path(shutil.copytree(filled, tmp_path / how)) / "journal.db"
        change(file, statement)
        with opened(file) as journal:
            found = journal.verify()
        assert not found.ok and (name in found.found or name == "meta"), (how, found)


def test_two_rows_that_change_places_are_found(file: Path) -> None:
    change(
        file,
        "update audit set sequence = -1 where sequence = 4",
        "update audit set sequence = 4 where sequence = 5",
        "update audit set sequence = 5 where sequence = -1",
    )
    with opened(file) as journal:
        found = journal.verify()
    assert (found.ok, found.first_bad, found.found) == (False, 4, "audit row 4 is not as it was written")


@pytest.mark.parametrize(
    "statement",
    [
        "drop index one_live_intent",
        "update leases set fencing = 1",
        "update leases set process = 'host|boot|1|1'",
        "update leases set seconds = 1e9",
        "delete from leases",
        "delete from audit",
    ],
)
def test_what_would_let_a_second_write_through_is_found(file: Path, statement: str) -> None:
    with opened(file) as journal, journal.lease("pair", "again", 60):
        pass
    change(file, statement)
    with opened(file) as journal:
        assert not journal.verify().ok


def test_an_edit_that_mends_the_chain_after_itself_is_found_by_the_kept_head(file: Path) -> None:
    """Whoever knows how the chain is made can make it anew; not what was kept elsewhere."""
    with opened(file) as journal, journal.write() as con:
        told = journal.head()
        last = dict(con.execute(text("select * from audit order by sequence desc")).mappings().first())
        last["kind"] = "other"
        previous = con.execute(
            text("select hash from audit where sequence = :at"), {"at": last["sequence"] - 1}
        ).scalar()
        forged = chain.link_hash(previous, last)
    change(
        file,
        f"update audit set kind = 'other', hash = '{forged}' where sequence = {last['sequence']}",
        f"update meta set value = '{last['sequence']}:{forged}' where name = 'audit_head'",
    )
    with opened(file) as journal:
        assert journal.trouble == f"row {last['sequence']} is another one than that whose hash was kept"
    file.with_name("journal.head").write_text(f"{last['sequence']}:{forged}")  # and that one too
    with opened(file) as journal:
        assert journal.verify().ok
        assert not journal.verify(told).ok  # a report shows another


# --- The head, apart ----------------------------------------------------------------------------------


def test_the_head_follows_each_transaction_and_only_its_owner_may_read_it(file: Path) -> None:
    with opened(file) as journal:
        journal.note("made", {})
        head = file.with_name("journal.head")
        assert head.read_text().strip() == journal.head() == str(chain.read_head(head))
        assert head.stat().st_mode & 0o777 == 0o600
        assert journal.verify().kept == journal.head()


def test_a_journal_restored_from_a_backup_is_read_only_until_it_is_accepted(
    file: Path, tmp_path: Path
) -> None:
    copy(file, tmp_path / "backup")
    with opened(file) as journal:
        journal.adopt(links_of(7), empty(BASE_MOVES))
        end = journal.verify().rows
    for part in file.parent.glob("journal.db*"):
        part.unlink()
    copy(tmp_path / "backup" / "journal.db", file.parent)
    with opened(file) as journal:
        assert journal.trouble.endswith("1 are lost") and str(end) in journal.trouble
        assert journal.status()["whole"] is False
        kept = file.with_name("journal.head").read_text()
        with journal.lease("pair", "test", 60) as lease:
            journal.save_plan("b" * 64, {})  # planning and reporting go on
            journal.adopt(links_of(8), empty(BASE_MOVES), lease=lease)
            with pytest.raises(JournalMismatch, match="lost"):
                begin(journal, lease, intent_of(8))
    assert file.with_name("journal.head").read_text() == kept  # it still tells of what was lost
    with opened(file) as journal:
        assert journal.trouble
        journal.accept(by="ada")
        assert not journal.trouble and journal.verify().ok
        made_at = journal.intents.made_at()  # what the lost rows knew may still be on its way
        assert made_at is not None and (datetime.now(UTC) - made_at).total_seconds() < 60
    with opened(file) as journal, journal.lease("pair", "test", 60) as lease:
        assert journal.verify().ok and journal.head() == journal.verify().kept
        leave(journal, lease, begin(journal, lease, intent_of(8)))


def test_what_was_accepted_is_held_to_its_state_from_then_on(file: Path) -> None:
    change(file, "delete from audit where sequence = 3", "update links set rule = 'other'")
    with opened(file) as journal:
        assert journal.verify().first_bad == 3
        journal.accept(by="ada")
        at = journal.verify().head
        assert journal.verify().ok
    for statement in (
        "update audit set kind = 'other' where sequence = 5",
        "update links set rule = 'third'",
        "delete from audit where kind = 'accepted'",
    ):
        own = file.with_name("copy.db")
        shutil.copy(file, own)
        shutil.copy(file.with_name("journal.head"), file.with_name("copy.head"))
        change(own, statement)
        with opened(own) as journal:
            assert not journal.verify().ok, statement
            assert journal.verify().head != at or "links" in statement
        own.unlink()


def test_a_lost_journal_is_noticed_by_the_head_that_stayed(file: Path) -> None:
    for part in file.parent.glob("journal.db*"):
        part.unlink()
    with opened(file) as journal:
        assert "are lost" in journal.trouble and not journal.verify().ok
        journal.accept(by="ada")
    with opened(file) as journal:
        assert journal.verify().ok


@pytest.mark.parametrize(
    "spoiled", ["", "nonsense", "3:", "-1:" + "0" * 64, "3:" + "0" * 63, "\x00" * 70, "é"]
)
def test_a_spoiled_head_is_told(file: Path, spoiled: str) -> None:
    file.with_name("journal.head").write_bytes(spoiled.encode())
    with opened(file) as journal:
        assert "can't be read" in journal.trouble and not journal.verify().ok
        journal.accept(by="ada")
        assert journal.verify().ok


def test_a_head_that_lags_by_what_a_kill_left_is_brought_up(file: Path) -> None:
    head = file.with_name("journal.head")
    old = head.read_text()
    with opened(file) as journal:
        for _ in range(chain.LAGS_AT_MOST):
            journal.note("made", {})
        now = journal.head()
    head.write_text(old)
    with opened(file) as journal:
        assert not journal.trouble
        assert head.read_text().strip() == now
        journal.note("made", {})
    head.write_text(old)
    with opened(file) as journal:
        assert journal.trouble.startswith("its head was kept at")


def test_a_head_that_is_gone_counts_as_one_from_before_the_first_row(file: Path, tmp_path: Path) -> None:
    file.with_name("journal.head").unlink()
    with opened(file) as journal:  # few rows: the first one may have been killed before it kept its head
        few = not journal.trouble
        assert few == (journal.verify().rows <= chain.LAGS_AT_MOST)
        for _ in range(chain.LAGS_AT_MOST):
            journal.note("made", {})
    file.with_name("journal.head").unlink(missing_ok=True)
    with opened(file) as journal:
        assert journal.trouble.startswith("its head was kept at 0")


KILLED = """
import os, sys
from pipelines.journal import Journal
from pipelines import journal_crash
journal = Journal(sys.argv[1], sys.argv[2])
os.environ["RECONCILE_CRASH_AT"] = sys.argv[3]
for place in range(3):
    journal.note("made", {"place": place})
"""


@pytest.mark.parametrize("point", range(1, 10))
def test_a_kill_at_any_point_of_a_transaction_leaves_a_whole_journal(file: Path, point: int) -> None:
    arguments = [sys.executable, "-c", KILLED, f"sqlite:///{file}", KEY, str(point)]
    assert subprocess.run(arguments, timeout=60).returncode == -signal.SIGKILL
    with opened(file) as journal:
        assert not journal.trouble and journal.verify().ok
        assert journal.verify().kept == journal.head()


def test_a_journal_that_is_exchanged_under_a_run_stops_its_next_write(file: Path, tmp_path: Path) -> None:
    """As a restore that somebody starts while a push is at work."""
    copy(file, tmp_path / "backup")
    with opened(file) as journal, journal.lease("pair", "test", 60) as lease:
        begin(journal, lease, intent_of(8))
        journal.engine.dispose()
        for part in file.parent.glob("journal.db*"):
            part.unlink()
        copy(tmp_path / "backup" / "journal.db", file.parent)
        # Its own number is not in that backup either; the head is what tells of a loss in any case.
        lease.verify = lambda con: None
        with pytest.raises(JournalMismatch, match="kept at"):
            begin(journal, lease, intent_of(9))


def test_a_head_that_can_not_be_kept_stops_before_anything_is_sent(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journal.lease("pair", "test", 60) as lease:

        def full(path: Path, head: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(chain, "write_head", full)
        with pytest.raises(FixSettings, match=r"journal\.head.*No space left"):
            begin(journal, lease, intent_of(8))
    monkeypatch.undo()
    journal.note("made", {})
    assert journal.verify().ok


def test_writers_of_several_processes_keep_one_chain_and_its_newest_head(file: Path) -> None:
    code = (
        "import sys; from pipelines.journal import Journal\n"
        "with Journal(sys.argv[1], sys.argv[2]) as journal:\n"
        "    for place in range(40): journal.note('made', {'place': place})"
    )
    arguments = [sys.executable, "-c", code, f"sqlite:///{file}", KEY]
    with opened(file) as journal:
        before = journal.verify().rows
        for process in [subprocess.Popen(arguments) for _ in range(3)]:
            assert process.wait(60) == 0
        found = journal.verify()
    assert found.ok and found.rows == before + 120
    with opened(file) as journal:
        assert journal.verify().kept == journal.head()


# --- Older journals -----------------------------------------------------------------------------------


def older(file: Path) -> None:
    """Make a journal as the first version left it: rows, its own chain, and no head beside it."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    import pipelines.migrations

    config = Config()
    config.set_main_option("script_location", str(Path(pipelines.migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as con:
        steps = EnvironmentContext(config, script, fn=lambda rev, _: script._upgrade_revs("0001", rev))
        with steps:
            steps.configure(connection=con, target_metadata=None)
            steps.run_migrations()
        head = chain.GENESIS
        for sequence in range(1, 101):
            row = {"sequence": sequence, "at": "2026-01-01T00:00:00+00:00", "kind": "made", "details": "{}"}
            head = chain.link_hash(head, {**row, "wrote": None})
            con.execute(
                text(
                    "insert into audit (sequence, at, kind, details, hash) "
                    "values (:sequence, :at, :kind, :details, :h)"
                ),
                {**row, "h": head},
            )
        con.execute(text("insert into meta values ('audit_head', :head)"), {"head": f"100:{head}"})
        con.execute(text("insert into meta values ('pair', 'acme')"))
        con.execute(
            text(
                "insert into leases values "
                "('acme', 7, 'somebody', 'host|boot|1|1', '2026-01-01T00:00:00+00:00', null)"
            )
        )
    engine.dispose()


def test_a_journal_of_the_first_version_is_taken_over_with_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    older(file)
    with opened(file) as journal:
        found = journal.verify()
        assert found.ok and found.rows > 100 and not journal.trouble
        assert journal.get_meta("pair") == "acme" and REVISION == "0003"
        with journal.lease("acme", "test", 60) as lease:
            assert lease.fencing == 8
    change(file, "update meta set value = 'other' where name = 'pair'")
    with opened(file) as journal:
        assert journal.verify().found.startswith("meta pair: not as audit row")


def test_a_journal_of_the_first_version_that_was_changed_is_told(tmp_path: Path) -> None:
    older(tmp_path / "journal.db")
    change(tmp_path / "journal.db", "update audit set kind = 'other' where sequence = 50")
    with opened(tmp_path / "journal.db") as journal:
        assert journal.verify().first_bad == 50


# --- The commands -------------------------------------------------------------------------------------


def test_audit_verify_and_accept_speak_json_and_exit_as_the_house_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILE_JOURNAL__KEY", KEY)
    settings = tmp_path / "reconcile.toml"
    settings.write_text(f'[pair]\nname = "acme"\ndata_dir = "{tmp_path / "data"}"\n')

    def run(*words: str) -> tuple[int, dict]:
        with pytest.raises(SystemExit) as ended:
            main(["audit", *words, "--json", "--settings", str(settings)])
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)

    code, found = run("verify")
    assert code == 0 and found["ok"] and found["kept"] == f"{found['rows']}:{found['head']}"
    assert run("verify", "--head", found["kept"])[0] == 0
    code, refused = run("verify", "--head", "nonsense")
    assert code == 1 and "--head" in refused["message"]
    change(tmp_path / "data" / "journal.db", "update meta set value = 'other' where name = 'pair'")
    settings.write_text(settings.read_text().replace("acme", "other"))
    code, found = run("verify")
    assert code == 1 and not found["ok"] and found["found"].startswith("meta pair")
    assert run("accept")[0] == 3
    code, accepted = run("accept", "--yes")
    assert code == 0 and accepted["found"].startswith("meta pair")
    assert run("verify")[0] == 0

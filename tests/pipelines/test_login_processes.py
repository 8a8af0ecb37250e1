"""Refresh tokens that rotate, with real processes: several at once, and killed at every point of a refresh."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from peers import Peer, settings_for
from pydantic import SecretStr

from pipelines import journal_crash
from pipelines.clients import open_clients
from pipelines.journal import open_journal
from pipelines.settings import Journal, Settings
from reconcile.errors import LoginRefused, ReconcileError, WrongSetting
from sandbox.serve import start

KEY = "0f" * 32
FORK = multiprocessing.get_context("fork")
POINTS = 10  # before and after: four commits and the request; and the commit after the first use


@dataclass
class Consented:
    """A pair whose app has a person's consent; its tokens are kept in its own journal."""

    peer: Peer
    settings: Settings

    @classmethod
    def anew(cls, line: dict[str, Any], folder: Path, **limits: Any) -> Consented:
        folder.mkdir()
        peer = Peer(line, folder, settings_for(line, folder))
        first = peer.control("xero", "POST", "grant", {})["refresh_token"]
        changes = {"auth": "refresh_token", "refresh_token": SecretStr(first)}
        settings = settings_for(line, folder, xero=changes, limits=limits)
        settings = settings.model_copy(update={"journal": Journal(key=SecretStr(KEY))})
        with open_journal(settings):
            pass  # its tables are made before anything is counted
        return cls(peer, settings)

    def logins(self) -> list[int | None]:
        return [one["status"] for one in self.peer.requests("xero") if one["path"] == "/connect/token"]

    def kept(self) -> dict[str, Any]:
        with open_journal(self.settings) as journal:
            return journal.tokens.get("xero", "refresh") or {}

    def in_a_process(self, **options: Any) -> Any:
        process = FORK.Process(target=_call, args=(self.settings,), kwargs=options)
        process.start()
        return process

    def call(self, **options: Any) -> int:
        """Make one call of the API in a process of its own; gives its exit code."""
        process = self.in_a_process(**options)
        process.join(60)
        return process.exitcode


def _call(
    settings: Settings, *, crash_at: int | None = None, count: Path | None = None, begin: Any = None
) -> None:
    signal.alarm(50)
    with open_journal(settings) as journal, open_clients(settings, journal.tokens) as clients:
        if begin is not None:
            begin.wait(30)
        journal_crash._passed = 0
        os.environ |= {"RECONCILE_CRASH_AT": str(crash_at)} if crash_at else {}
        os.environ |= {"RECONCILE_CRASH_COUNT": str(count)} if count else {}
        try:
            clients.xero.organisation()
        except LoginRefused:
            os._exit(3)
        except ReconcileError:
            os._exit(1)
    os._exit(0)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("logins")
    with start(folder / "sandbox", seed="empty", sides=("xero",), limits="off", process=True) as found:
        yield found


def test_several_processes_whose_token_ran_out_renew_it_once(line, tmp_path):
    pair = Consented.anew(line, tmp_path / "pair")
    before = len(pair.logins())
    # Slow enough that without turns every process would be at it at once.
    pair.peer.control(
        "xero", "POST", "faults", {"kind": "delay", "path": "/connect/token", "seconds": 0.5, "times": 2}
    )
    for renewals in (1, 2):
        begin = FORK.Barrier(4)
        several = [pair.in_a_process(begin=begin) for _ in range(4)]
        for process in several:
            process.join(60)
        assert [process.exitcode for process in several] == [0, 0, 0, 0]
        assert pair.logins()[before:] == [200] * renewals
        pair.peer.control("xero", "POST", "clock", {"move_s": 31 * 60})  # the access token runs out
    pair.peer.control("xero", "DELETE", "faults")


def test_the_points_of_a_refresh_are_as_many_as_are_killed_at(line, tmp_path):
    pair = Consented.anew(line, tmp_path / "pair")
    assert pair.call(count=tmp_path / "points") == 0
    assert int((tmp_path / "points").read_text()) == POINTS


@pytest.mark.parametrize(
    ("point", "is_first"), [*((n, False) for n in range(1, POINTS + 1)), (2, True), (4, True), (5, True)]
)
def test_a_refresh_killed_at_any_point_is_survived_without_a_new_consent(line, tmp_path, point, is_first):
    pair = Consented.anew(line, tmp_path / "pair")
    if not is_first:  # by now the token of the settings is too old to be a way out
        assert pair.call() == 0
        pair.peer.control("xero", "POST", "clock", {"move_s": 31 * 60})
    before = len(pair.logins())
    assert pair.call(crash_at=point) == -signal.SIGKILL
    assert pair.call() == 0
    assert 400 not in pair.logins()[before:]
    # And what is kept is good for the next renewal as well.
    pair.peer.control("xero", "POST", "clock", {"move_s": 31 * 60})
    assert pair.call() == 0
    assert 400 not in pair.logins()[before:]
    assert len(pair.logins()) - before <= 3


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "cut", "malformed", "html", "503"])
def test_a_refresh_whose_answer_is_lost_is_made_again_with_the_token_that_was_kept(line, tmp_path, kind):
    pair = Consented.anew(line, tmp_path / "pair", retries=0)
    pair.peer.control("xero", "POST", "faults", {"kind": kind, "path": "/connect/token"})
    assert pair.call() != 0
    pair.peer.control("xero", "POST", "clock", {"move_s": 29 * 60})  # Xero takes it again for 30 minutes
    assert pair.call() == 0
    assert pair.kept()["current"] != pair.settings.xero.refresh_token.get_secret_value()


def test_an_answer_lost_for_longer_than_xero_takes_the_old_token_needs_a_new_consent(line, tmp_path):
    pair = Consented.anew(line, tmp_path / "pair", retries=0)
    pair.peer.control("xero", "POST", "faults", {"kind": "drop_after", "path": "/connect/token"})
    assert pair.call() == 1
    pair.peer.control("xero", "POST", "clock", {"move_s": 31 * 60})
    assert pair.call() == 3


def test_a_newer_token_that_another_machine_kept_meanwhile_is_used(line, tmp_path):
    pair = Consented.anew(line, tmp_path / "pair")
    assert pair.call() == 0
    pair.peer.control("xero", "POST", "clock", {"move_s": 31 * 60})  # the token of the settings is no way out
    with open_journal(pair.settings) as journal:
        good = journal.tokens.get("xero", "refresh") or {}
        journal.tokens.put("xero", "access", {})
        journal.tokens.put("xero", "refresh", {**good, "current": "dead"})

        class Overtaken:
            """A store in which the other machine's token appears while ours is refused."""

            durable = True
            put = staticmethod(lambda side, kind, value: kept.update({kind: value}))

            @staticmethod
            def get(side: str, kind: str) -> Any:
                if kind == "refresh" and kept[kind].get("using") == "dead":
                    return good
                return kept[kind]

        kept: dict[str, Any] = {"access": {}, "refresh": {**good, "current": "dead"}}
        with open_clients(pair.settings, Overtaken()) as clients:
            assert clients.xero.organisation()


def test_tokens_of_another_app_are_not_tried(line, tmp_path):
    pair = Consented.anew(line, tmp_path / "pair")
    with open_journal(pair.settings) as journal:
        seed = hashlib.sha256(pair.settings.xero.refresh_token.get_secret_value().encode()).hexdigest()
        theirs = {"app": "another", "seed": seed, "current": "theirs", "previous": "theirs too"}
        journal.tokens.put("xero", "refresh", theirs)
    before = len(pair.logins())
    assert pair.call() == 0
    assert pair.logins()[before:] == [200]
    assert "theirs" not in str(pair.kept())


def test_a_rotating_token_without_a_place_to_keep_it_is_refused_before_it_is_used(line, tmp_path):
    pair = Consented.anew(line, tmp_path / "pair")
    open_book = pair.settings.model_copy(update={"journal": Journal(url=f"sqlite:///{tmp_path / 'open.db'}")})
    before = len(pair.logins())
    with (
        open_journal(open_book) as journal,
        open_clients(open_book, journal.tokens) as clients,
        pytest.raises(WrongSetting, match=r"journal\.key"),
    ):
        clients.xero.organisation()
    assert len(pair.logins()) == before

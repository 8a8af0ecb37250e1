"""The end of the day's calls in the middle of a push: it stops cleanly, and the next day it goes on where it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from peers import Peer, contact, settings_for
from push_scene import Scene, contact_id, update

from pipelines.clients import Clients, open_clients

MANY = 120  # three requests of at most 50
DAY_S = 86_400.0


@dataclass
class MovedPeer(Peer):
    """A peer whose own clock can be moved as the sandbox's is."""

    ahead_s: float = 0.0

    @contextmanager
    def clients(self) -> Iterator[Clients]:
        def now() -> datetime:
            return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

        with open_clients(self.settings, self.tokens, now=now) as clients:
            yield clients

    def a_day_later(self) -> None:
        self.ahead_s += DAY_S
        self.move_clock(DAY_S)


@pytest.fixture
def scene(peer: Peer, tmp_path: Path) -> Scene:
    peer.load("xero", [contact(n) for n in range(1, MANY + 1)])
    scene = Scene(MovedPeer(peer.line, peer.folder, peer.settings), tmp_path)
    scene.know(*range(1, MANY + 1))
    return scene


def calls(scene: Scene) -> list[dict[str, Any]]:
    return [one for one in scene.peer.requests("xero") if one["path"].startswith("/api.xro/")]


def made(scene: Scene) -> Counter[str]:
    """How often each contact was changed, by the sandbox's own log."""
    return Counter(what for one in calls(scene) for _, _, what in one["changes"])


def outcomes(told: dict[str, tuple[str, str | None]]) -> Counter[str]:
    return Counter(outcome for outcome, _ in told.values())


def goes_on_where_it_was(scene: Scene, *, left: int) -> None:
    """Push, and push again on the same and on the next day."""
    operations = [update("xero", n, "tax_number", None, f"GB{n}") for n in range(1, MANY + 1)]
    first = scene.push(operations)
    assert outcomes(first) == {"confirmed": MANY - left, "waiting": left}
    assert all("day" in str(message) for outcome, message in first.values() if outcome == "waiting")
    assert len(made(scene)) == MANY - left
    with scene.journal() as journal:
        assert journal.unsettled().is_empty()

    before = len(calls(scene))
    again = scene.push(operations)  # another process, the same day: it asks nobody
    assert outcomes(again) == outcomes(first)
    assert len(calls(scene)) == before

    scene.peer.a_day_later()  # type: ignore[attr-defined]
    assert outcomes(scene.push(operations)) == {"confirmed": MANY}
    assert set(made(scene).values()) == {1} and len(made(scene)) == MANY
    found = scene.contacts()
    assert all(found[contact_id(n)]["TaxNumber"] == f"GB{n}" for n in range(1, MANY + 1))


def test_a_share_of_the_day_that_is_kept_for_others_ends_the_push_and_the_next_day_finishes_it(scene: Scene):
    left_to_us = 3  # a look and two requests, of 5,000
    peer = scene.peer
    peer.settings = settings_for(
        peer.line, peer.folder, limits={"xero_day_reserve": (5000 - left_to_us) / 5000, "retries": 1}
    )
    goes_on_where_it_was(scene, left=20)


def test_a_day_that_the_vendor_says_is_over_ends_the_push_and_the_next_day_finishes_it(scene: Scene):
    over = {"X-Rate-Limit-Problem": "day", "Retry-After": "43200"}
    scene.peer.control(
        "xero",
        "POST",
        "faults",
        {"kind": "429", "method": "POST", "path": "/Contacts", "skip": 1, "headers": over},
    )
    goes_on_where_it_was(scene, left=70)


def test_what_an_earlier_run_of_the_day_left_over_is_known_to_the_next(scene: Scene):
    over = {"X-Rate-Limit-Problem": "day", "Retry-After": "43200"}
    scene.peer.control("xero", "POST", "faults", {"kind": "429", "path": "/Contacts", "headers": over})
    one = update("xero", 1, "tax_number", None, "GB1")
    assert outcomes(scene.push([one])) == {"waiting": 1}
    with scene.peer.clients() as clients, pytest.raises(Exception, match=r"day.*try again in 43\d\d\d s"):
        clients.xero.organisation()
    assert clients.xero.wire.calls == 0

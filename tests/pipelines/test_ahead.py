"""Pages read several at once: in order, none twice, none beyond the end, and complete or refused as before."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import Peer, contact

from pipelines.ahead import in_order
from pipelines.xero.client import XeroClient
from pipelines.xero.source import pull_object


@given(st.integers(0, 30), st.integers(1, 6), st.randoms(use_true_random=False))
def test_results_come_in_order_and_each_once_whatever_is_done_first(count, at_once, random):
    waits = [random.random() / 2000 for _ in range(count)]
    asked = []

    def fetch(number: int) -> int:
        asked.append(number)
        time.sleep(waits[number])
        return number

    assert list(in_order(fetch, range(count), at_once=at_once)) == list(range(count))
    assert sorted(asked) == list(range(count))


def test_so_many_are_under_way_and_no_more_even_when_nobody_takes_them():
    running, most, begun = 0, 0, []
    lock = threading.Lock()

    def fetch(number: int) -> int:
        nonlocal running, most
        with lock:
            running, begun[len(begun) :] = running + 1, [number]
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return number

    pages = in_order(fetch, range(100), at_once=5)
    next(pages)
    time.sleep(0.3)
    assert most == 5 and len(begun) <= 11
    pages.close()
    assert len(begun) <= 11 and running == 0


def test_an_error_comes_at_its_place_and_ends_the_reading():
    begun = []

    def fetch(number: int) -> int:
        begun.append(number)
        if number == 7:
            raise KeyError(number)
        return number

    taken = []
    with pytest.raises(KeyError):
        for number in in_order(fetch, range(1000), at_once=5):
            taken.append(number)
    assert taken == list(range(7)) and len(begun) < 40


@pytest.mark.parametrize("at_once", [1, 5])
def test_a_sweep_is_the_same_however_many_pages_are_read_at_once(peer: Peer, monkeypatch, at_once):
    monkeypatch.setitem(XeroClient.page.__kwdefaults__, "size", 10)
    peer.load("xero", [contact(n) for n in range(1, 96)])
    with peer.clients() as clients:
        clients.xero.wire.governor.concurrent = at_once
        extract = pull_object(clients.xero, "Contact", since=None)
        assert len(extract.ids) == 95
        assert clients.xero.wire.calls == 10 + 1  # no page beyond the last; and a login
    asked = [one["query"] for one in peer.requests("xero") if one["path"].endswith("/Contacts")]
    pages = sorted(int(query.split("page=")[1].split("&")[0]) for query in asked)
    assert pages == list(range(1, 11))


def test_pages_of_a_slow_system_are_read_five_at_once(peer: Peer, monkeypatch):
    monkeypatch.setitem(XeroClient.page.__kwdefaults__, "size", 10)
    peer.load("xero", [contact(n) for n in range(1, 106)])
    peer.control("xero", "POST", "faults", {"kind": "slow", "path": "/Contacts", "times": -1, "seconds": 0.4})
    started = time.monotonic()
    with peer.clients() as clients:
        pull_object(clients.xero, "Contact", since=None)
    assert time.monotonic() - started < 11 * 0.4  # one after the other would take as long at the least
    assert all(one["status"] == 200 for one in peer.requests("xero"))


def test_a_list_that_grows_or_shrinks_while_it_is_read_is_read_to_its_new_end(peer: Peer, monkeypatch):
    """The first page's count of pages is only where reading ahead ends; the last page says what follows."""
    monkeypatch.setitem(XeroClient.page.__kwdefaults__, "size", 10)
    peer.load("xero", [contact(n) for n in range(1, 36)])
    with peer.clients() as clients:
        page, grown = clients.xero.page, []

        def growing(*args, **options):
            if options.get("number", 1) == 4 and not grown:
                grown.append(1)
                peer.load("xero", [contact(n) for n in range(36, 61)])
            return page(*args, **options)

        monkeypatch.setattr(clients.xero, "page", growing)
        rows = [
            row.record_id for one in clients.xero.pages("Contact", order="ContactID ASC") for row in one.rows
        ]
    assert len(set(rows)) == 60

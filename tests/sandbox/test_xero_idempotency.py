"""Idempotency-Key on the Xero server: six minutes, errors too, one request only."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sandbox.serve import start
from tests.sandbox.conftest import Xero


def put(xero, key, name="Acme", **query):
    headers = {"Idempotency-Key": key}
    return xero.call("PUT", "Contacts", {"Contacts": [{"Name": name}]}, headers=headers, **query)


def test_a_repeat_gets_the_first_reply_and_makes_nothing(xero):
    first, second = put(xero, "k"), put(xero, "k")
    assert second.content == first.content
    assert len(xero.get()) == 1
    assert [(row["applied"], row["note"]) for row in xero.log() if row["method"] == "PUT"] == [
        (True, None),
        (False, "replay"),
    ]


def test_after_six_minutes_the_key_is_new_again(xero):
    put(xero, "k")
    xero.control("clock", {"move_s": 359})
    assert put(xero, "k").status_code == 200
    xero.control("clock", {"move_s": 2})
    assert put(xero, "k").status_code == 400  # a second attempt to create the same name


def test_errors_are_kept_under_the_key_too(xero):
    made = xero.make()
    assert put(xero, "k").status_code == 400
    xero.post({"ContactID": made["ContactID"], "Name": "Renamed"})
    assert put(xero, "k").status_code == 400
    assert put(xero, "other").status_code == 200


def test_another_request_under_the_key_is_refused(xero):
    put(xero, "k")
    for reply in (put(xero, "k", name="Other"), put(xero, "k", summarizeErrors="false")):
        assert reply.status_code == 400
        assert reply.json()["Message"] == "Idempotency Key: k is used with a different request."


def test_keys_of_two_apps_are_two_keys(xero):
    put(xero, "k")
    other = xero.control("clients", {"name": "other"})
    xero.log_in(client_id=other["client_id"], client_secret=other["client_secret"])
    assert put(xero, "k", name="Other").status_code == 200


def test_a_key_may_have_128_characters(xero):
    assert put(xero, "k" * 128).status_code == 200
    assert put(xero, "k" * 129).status_code == 400


def test_a_repeat_at_the_same_time_waits_for_the_first(xero):
    xero.control("faults", {"kind": "slow", "seconds": 0.3})
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: put(xero, "k"), range(2))
    assert first.content == second.content
    assert len(xero.get()) == 1


@pytest.mark.parametrize(("kind", "made"), [("500", 0), ("500_applied", 1)])
def test_a_500_is_kept_under_the_key_whether_it_was_applied_or_not(xero, kind, made):
    xero.control("faults", {"kind": kind})
    assert [put(xero, "k").status_code for _ in range(2)] == [500, 500]
    assert len(xero.get()) == made
    assert put(xero, "new").status_code == (400 if made else 200)


def test_a_500_may_also_not_be_kept(xero):
    xero.choose(cache_500=False)
    xero.control("faults", {"kind": "500"})
    assert [put(xero, "k").status_code for _ in range(2)] == [500, 200]


def test_a_reply_that_was_lost_can_be_had_again(xero):
    xero.control("faults", {"kind": "drop_after"})
    with pytest.raises(httpx.RemoteProtocolError):
        put(xero, "k")
    reply = put(xero, "k")
    assert reply.status_code == 200
    assert [one["ContactID"] for one in xero.get()] == [reply.json()["Contacts"][0]["ContactID"]]


def test_limits_come_before_keys(open_xero):
    xero = open_xero(limits="real")
    xero.control("faults", {"kind": "429"})
    assert put(xero, "k").status_code == 429
    assert put(xero, "k").status_code == 200


def test_a_killed_server_still_knows_the_reply(tmp_path):
    options = {"sides": ("xero",), "seed": "empty", "limits": "off", "process": True}
    with start(tmp_path, **options) as line:
        client = Xero(line["xero"])
        first = put(client, "k")
        os.kill(line["pid"], signal.SIGKILL)
    with start(tmp_path, **options) as line:
        assert put(Xero(line["xero"]), "k").content == first.content

"""Faults, as a client meets them, and what the log says of each."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from sandbox.faults import KINDS, Faults, WrongFault
from sandbox.store import Store


def last_put(xero):
    return [row for row in xero.log() if row["method"] == "PUT"][-1]


def broken_put(xero, fault, *contacts):
    xero.control("faults", fault)
    try:
        return xero.put(*(contacts or ({"Name": "Acme"},)), summarizeErrors="false")
    except httpx.HTTPError as error:
        return error


@pytest.mark.parametrize(
    ("kind", "seen", "applied"),
    [
        ("drop_before", httpx.RemoteProtocolError, False),
        ("drop_after", httpx.RemoteProtocolError, True),
        ("cut", httpx.RemoteProtocolError, True),
        ("429", 429, False),
        ("503", 503, False),
        ("500", 500, False),
        ("500_applied", 500, True),
        ("expired_token", 401, False),
        ("malformed", 200, True),
        ("html", 200, True),
    ],
)
def test_a_fault_is_seen_by_the_client_and_told_in_the_log(xero, kind, seen, applied):
    reply = broken_put(xero, {"kind": kind})
    assert isinstance(reply, seen) if isinstance(seen, type) else reply.status_code == seen
    assert len(xero.get()) == int(applied)
    assert (last_put(xero)["fault"], last_put(xero)["applied"]) == (kind, applied)
    assert xero.put({"Name": "Next"}).status_code == 200  # a fault happens once


def test_a_malformed_reply_is_no_json_and_an_html_one_is_html(xero):
    with pytest.raises(json.JSONDecodeError):
        broken_put(xero, {"kind": "malformed"}).json()
    assert (
        broken_put(xero, {"kind": "html"}, {"Name": "Other"}).headers["content-type"].startswith("text/html")
    )


def test_a_late_request_is_applied_when_the_servers_clock_comes_to_it(xero):
    assert isinstance(broken_put(xero, {"kind": "late", "after_s": 300}), httpx.RemoteProtocolError)
    assert xero.get() == []
    xero.control("clock", {"move_s": 301})
    for _ in range(100):
        if xero.get():
            break
        time.sleep(0.01)
    assert last_put(xero)["applied"] is True


def test_of_a_partial_batch_the_first_half_stays(xero):
    reply = broken_put(xero, {"kind": "partial"}, *({"Name": name} for name in "abcd"))
    assert reply.status_code == 500
    assert [one["Name"] for one in xero.get()] == ["a", "b"]


def test_a_reply_may_lack_an_element_or_come_in_another_order(xero):
    short = broken_put(xero, {"kind": "short"}, {"Name": "a"}, {"Name": "b"}).json()["Contacts"]
    assert [one["Name"] for one in short] == ["a"]
    other = broken_put(xero, {"kind": "reordered"}, {"Name": "c"}, {"Name": "d"}).json()["Contacts"]
    assert [one["Name"] for one in other] == ["d", "c"]


def test_a_delayed_request_takes_its_time(xero):
    started = time.monotonic()
    broken_put(xero, {"kind": "delay", "seconds": 0.2})
    assert time.monotonic() - started >= 0.2


def test_headers_of_a_refusal_can_be_odd(xero):
    reply = broken_put(xero, {"kind": "429", "headers": {"Retry-After": "-5"}})
    assert reply.headers["retry-after"] == "-5"


def test_a_rule_waits_and_matches_by_method_and_path(xero):
    xero.control("faults", {"kind": "503", "method": "GET", "path": "Contacts.*page=2", "skip": 1})
    codes = [xero.call("GET", "Contacts", page=page).status_code for page in (1, 2, 2, 2)]
    assert codes == [200, 200, 503, 200]


def test_the_same_seed_gives_the_same_faults():
    def drawn(seed):
        faults = Faults(Store(":memory:"))
        faults.set_seed(seed, rate=0.3, kinds=["429", "500"])
        return [fault.kind if fault else None for fault in (faults.draw("GET", "/x") for _ in range(200))]

    assert drawn(7) == drawn(7) != drawn(8)
    assert 30 < sum(kind is not None for kind in drawn(7)) < 90


def test_rules_and_their_counts_outlive_a_restart(tmp_path):
    first = Faults(Store(tmp_path / "s"))
    first.set_rules([{"kind": "500", "times": 2}])
    first.draw("GET", "/x")
    again = Faults(Store(tmp_path / "s"))
    assert [again.draw("GET", "/x") is None for _ in range(2)] == [False, True]


def test_an_unknown_kind_or_option_is_refused(xero):
    reply = xero.http.post("/sandbox/faults", json=[{"kind": "nonsense"}])
    assert reply.status_code == 400
    assert all(kind in reply.text for kind in KINDS)
    with pytest.raises(WrongFault):
        Faults(Store(":memory:")).set_rules([{"kind": "500", "colour": "red"}])


def test_clearing_ends_them(xero):
    xero.control("faults", {"kind": "500", "times": -1})
    assert xero.call("GET", "Contacts").status_code == 500
    xero.http.delete("/sandbox/faults")
    assert xero.call("GET", "Contacts").status_code == 200

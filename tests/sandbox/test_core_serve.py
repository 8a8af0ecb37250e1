"""Starting, stopping and being killed: the state is what it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from sandbox.dialect import UnknownSwitch
from sandbox.serve import WrongState, start
from tests.sandbox.conftest import Xero

ALONE = {"sides": ("xero",), "seed": "empty", "limits": "off"}


def test_a_second_start_has_the_same_logins_records_port_clock_and_log(tmp_path):
    with start(tmp_path, **ALONE) as line:
        first = Xero(line["xero"])
        first.make()
        first.control("clock", {"move_s": 100})
        first.choose(slot_write="replace")
        was = first.dump(), first.log()
    with start(tmp_path, **ALONE) as again:
        assert again == line
        second = Xero(again["xero"])
        assert (second.dump(), second.log()[: len(was[1])]) == was
        assert second.control("clock")["offset_s"] == 100
        assert second.call("GET", "Contacts", headers=first.headers).status_code == 200


def test_a_killed_server_has_all_that_it_acknowledged(tmp_path):
    acknowledged = []
    with start(tmp_path, process=True, **ALONE) as line:
        client = Xero(line["xero"])
        threading.Timer(0.5, os.kill, (line["pid"], signal.SIGKILL)).start()
        with pytest.raises(httpx.HTTPError):
            for n in range(100_000):
                made = client.put({"Name": f"Contact {n}"}, {"Name": f"Twin {n}"}).json()["Contacts"]
                acknowledged += [one["ContactID"] for one in made]
    assert len(acknowledged) > 20
    with start(tmp_path, process=True, **ALONE) as again:
        after = Xero(again["xero"])
        there = {one["ContactID"] for one in after.dump()}
        assert set(acknowledged) <= there
        logged = [change[2] for row in after.log() for change in row["changes"]]
        assert sorted(logged) == sorted(there)  # what was applied is in the log, and only that
        assert again["xero"] == line["xero"]


def test_one_line_of_json_is_printed_and_sigterm_ends_it_cleanly(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sandbox",
        "serve",
        "--state",
        str(tmp_path),
        "--seed",
        "empty",
        "--side",
        "xero",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        line = json.loads(child.stdout.readline())
        with httpx.Client(
            base_url=line["xero"]["api_url"]
        ) as idle:  # an open connection is no reason to stay
            idle.get("/sandbox/clock")
            started = time.monotonic()
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (0, "", "")
    assert time.monotonic() - started < 3
    assert set(line["xero"]) >= {
        "api_url", "identity_url", "login_url", "client_id", "client_secret", "tenant_id", "scopes",
    }  # fmt: skip
    assert line["state"] == str(tmp_path)


def test_a_state_keeps_its_seed(tmp_path):
    with start(tmp_path, **ALONE):
        pass
    with pytest.raises(WrongState, match="'empty'"), start(tmp_path, **{**ALONE, "seed": "demo"}):
        pass


def test_a_state_is_served_by_one_process_at_a_time(tmp_path):
    with (
        start(tmp_path, **ALONE),
        pytest.raises(WrongState, match="another sandbox"),
        start(tmp_path, **ALONE),
    ):
        pass


def test_replies_carry_the_date_of_the_sandboxs_clock(xero):
    xero.control("clock", {"now": "2027-03-28T00:59:50+00:00"})
    assert xero.http.get("/api.xro/2.0/Contacts").headers["date"].startswith("Sun, 28 Mar 2027 00:59")


def test_a_dialect_file_is_followed_and_checked(tmp_path):
    file = tmp_path / "dialect.toml"
    file.write_text('[xero]\nunchanged_write = "keeps_stamp"')
    with start(tmp_path / "a", dialect=file, **ALONE) as line:
        switches = {one["name"]: one["value"] for one in Xero(line["xero"]).control("dialect")["switches"]}
        assert switches["unchanged_write"] == "keeps_stamp"
    file.write_text('[xero]\nunchanged_write = "never"')
    with pytest.raises(UnknownSwitch, match="unchanged_write"), start(tmp_path / "b", dialect=file, **ALONE):
        pass


def test_a_reset_empties_records_log_clock_and_faults_and_keeps_the_login(xero):
    xero.make()
    xero.control("clock", {"move_s": 60})
    xero.control("faults", {"kind": "500", "skip": 100})
    xero.control("reset", {})
    assert (xero.dump(), xero.log()) == ([], [])
    assert xero.control("clock")["offset_s"] == 0
    assert xero.control("faults")["rules"] == []
    assert xero.call("GET", "Organisation").json()["Organisations"]
    xero.control("reset", {"seed": False})
    assert xero.call("GET", "Organisation").json()["Organisations"]


def test_the_log_numbers_every_request_and_can_be_read_from_a_number_on(xero):
    xero.make()
    xero.get()
    rows = xero.log()
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert [row["path"] for row in rows[1:]] == ["/api.xro/2.0/Contacts"] * 2
    assert (rows[1]["applied"], rows[2]["applied"]) == (True, False)
    assert len(rows[1]["body_sha256"]) == 64
    assert xero.control("requests", after=2)["requests"] == rows[2:]


def test_the_clock_can_be_set_to_a_moment(xero):
    xero.control("clock", {"now": "2027-03-28T00:59:59+00:00"})
    assert xero.control("clock")["now"].startswith("2027-03-28T00:59:59")

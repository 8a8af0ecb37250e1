"""Everything that can be wrong around a run ends in one message that helps, and in nothing half-done."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from whole_pair import SIDES, Pair, Said, outcomes, phone

pytestmark = pytest.mark.in_turn(1)

QUICK = {"RECONCILE_LIMITS__RETRIES": "1", "RECONCILE_LIMITS__TIMEOUT_S": "5"}
ROOT = Path(__file__).parents[2]


def refused(said: Said, *, code: int, error: str, holds: str = "") -> str:
    """The message, after judging that it is one, in both forms, without a traceback."""
    assert said.code == code, (said.code, said.out[:300], said.err)
    assert "Traceback" not in said.out + said.err
    assert "a bug" not in said.err
    told = json.loads(said.out)
    assert set(told) == {"error", "message"}
    assert told["error"] == error, told
    assert said.messages == [f"reconcile: {told['message']}"]
    assert "\n" not in told["message"]
    assert holds in told["message"], told["message"]
    return told["message"]


def snapshot_of(pair: Pair) -> str:
    with pair.opened(offline=True) as ctx, ctx.warehouse() as warehouse:
        found = warehouse.snapshot()
        assert found
        return found.snapshot_id


def stays_quiet(pair: Pair) -> None:
    """Mended, the pair is where it was: nothing to do."""
    assert pair.plan().operations.is_empty()


# --- Logins and rights --------------------------------------------------------------------------------


def wrong_secret(pair: Pair) -> None:
    pair.set("xero", client_secret="not-the-secret")


def wrong_key(pair: Pair) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (pair.folder / "other.pem").write_bytes(pem)
    pair.set("salesforce", private_key_file="other.pem")


def no_key(pair: Pair) -> None:
    pair.set("salesforce", private_key_file="nowhere.pem")


def key_is_text(pair: Pair) -> None:
    (pair.folder / "other.pem").write_text("not a key\n")
    pair.set("salesforce", private_key_file="other.pem")


def unknown_app(pair: Pair) -> None:
    pair.set("salesforce", client_id="3MVG9nobody")


@pytest.mark.parametrize(
    ("spoil", "code", "error", "holds"),
    [
        (wrong_secret, 1, "LoginRefused", "xero"),
        (wrong_key, 1, "LoginRefused", "salesforce"),
        (unknown_app, 1, "LoginRefused", "salesforce"),
        (no_key, 2, "WrongSetting", "salesforce.private_key_file"),
        (key_is_text, 2, "WrongSetting", "salesforce.private_key_file"),
    ],
)
def test_wrong_credentials_are_named(
    pair: Pair, spoil: Callable[[Pair], None], code: int, error: str, holds: str
) -> None:
    good = pair.settings.read_text()
    spoil(pair)
    said = pair.command("plan", "--json")
    told = refused(said, code=code, error=error, holds=holds)
    assert "not-the-secret" not in told
    pair.settings.write_text(good)
    stays_quiet(pair)


def test_a_revoked_session_is_renewed_without_a_word(pair: Pair) -> None:
    pair.plan()
    pair.control("salesforce", "DELETE", "sessions")
    said = pair.command("plan", "--json")
    assert (said.code, said.messages) == (0, [])


def test_a_revoked_refresh_token_asks_for_a_new_login(pair: Pair) -> None:
    xero = pair.line["xero"]
    grant = pair.control(
        "xero",
        "POST",
        "grant",
        {"client_id": xero["client_id"], "scopes": "accounting.contacts offline_access"},
    )
    pair.set("xero", auth="refresh_token", refresh_token=grant["refresh_token"])
    pair.in_xero.http.post(
        "/connect/revocation",
        data={"token": grant["refresh_token"]},
        auth=(xero["client_id"], xero["client_secret"]),
    ).raise_for_status()
    refused(pair.command("plan", "--json"), code=1, error="LoginRefused", holds="xero")


def test_a_missing_scope_is_named(pair: Pair) -> None:
    made = pair.control("xero", "POST", "clients", {"name": "narrow", "scopes": "accounting.settings.read"})
    pair.set(
        "xero",
        client_id=made["client_id"],
        client_secret=made["client_secret"],
        scopes="accounting.settings.read",
    )
    said = pair.command("plan", "--json")
    assert (said.code, said.messages) == (1, [])
    errors = said.json()["errors"]
    assert list(errors) == ["xero.Contact", "xero.Invoice"]
    assert "accounting.contacts" in errors["xero.Contact"] and "accounting.invoices" in errors["xero.Invoice"]


@pytest.mark.parametrize("full", [(), ("--full",)])
def test_a_field_without_rights_is_named(pair: Pair, full: tuple[str, ...]) -> None:
    pair.control("salesforce", "POST", "fields", {"object": "Account", "rights": {"Fax": "hidden"}})
    before = snapshot_of(pair)
    said = pair.command("plan", "--json", *full)
    assert said.code in (1, 2), said
    assert "Fax" in json.loads(said.out)["message"]
    assert "Traceback" not in said.err
    assert len(said.messages) == 1
    pair.control("salesforce", "POST", "fields", {"object": "Account", "rights": {"Fax": "visible"}})
    assert before
    stays_quiet(pair)


def test_a_field_that_may_not_be_written_is_named_before_anything_is_sent(pair: Pair) -> None:
    pair.control("salesforce", "POST", "fields", {"object": "Account", "rights": {"Fax": "read_only"}})
    marks = pair.marks()
    refused(pair.command("plan", "--json", "--full"), code=2, error="WrongMapping", holds="'Fax'")
    assert pair.writes(marks) == []
    pair.control("salesforce", "POST", "fields", {"object": "Account", "rights": {"Fax": "visible"}})
    stays_quiet(pair)


# --- Settings and mapping -----------------------------------------------------------------------------


def test_a_malformed_mapping_is_named_with_its_line(pair: Pair) -> None:
    mapping = pair.folder / "mapping.yaml"
    mapping.write_text("extends: [demo]\nentities:\n  party:\n    units:\n      phone: {flows: sideways}\n")
    refused(pair.command("plan", "--json"), code=2, error="WrongMapping", holds="mapping.yaml:5")
    mapping.write_text("extends: [demo]\nentities: {party: [unclosed\n")
    said = pair.command("plan", "--json")
    assert said.code == 2
    assert "mapping.yaml:" in json.loads(said.out)["message"]
    mapping.write_text("extends: [demo]\nentities:\n  party:\n    units:\n      phone: {salesforce: Fone}\n")
    refused(pair.command("plan", "--json"), code=2, error="UnknownField", holds="mapping.yaml:5")
    mapping.unlink()
    refused(pair.command("plan", "--json"), code=2, error="FixMapping", holds="mapping.yaml")


def test_an_unknown_setting_is_named_with_its_line_and_the_nearest(pair: Pair) -> None:
    good = pair.settings.read_text()
    pair.settings.write_text(good.replace("tenant_id", "tenant_ident"))
    line = 1 + good[: good.index("tenant_id")].count("\n")
    message = refused(pair.command("plan", "--json"), code=2, error="WrongSetting", holds=f"demo.toml:{line}")
    assert "tenant_id" in message
    pair.settings.write_text(good.replace('region = "GB"', 'region = "GB'))
    refused(pair.command("plan", "--json"), code=2, error="FixSettings", holds="demo.toml")
    pair.settings.unlink()
    refused(pair.command("plan", "--json"), code=2, error="FixSettings", holds="reconcile init")


def test_limits_and_folders_that_make_no_sense_are_named(pair: Pair) -> None:
    good = pair.settings.read_text()
    pair.settings.write_text(good.replace("[limits]\n", "[limits]\nmax_amount = {GBP = -5}\n"))
    assert "zero or more" in refused(pair.command("plan", "--json"), code=2, error="WrongSetting")
    (pair.folder / "notes.txt").write_text("not a folder")
    pair.settings.write_text(good.replace('data_dir = "data"', 'data_dir = "notes.txt"'))
    refused(pair.command("plan", "--json"), code=2, error="FixSettings", holds="pair.data_dir")
    assert (pair.folder / "notes.txt").read_text() == "not a folder"


# --- Replies that are none ----------------------------------------------------------------------------


READS = {"xero": "/api.xro/2.0/Contacts", "salesforce": "/services/data/v67.0/query.*"}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("html", "UnexpectedReply"),
        ("malformed", "UnexpectedReply"),
        ("cut", None),
        ("500", "Unreachable"),
        ("503", "Unreachable"),
        ("drop_before", "Unreachable"),
    ],
)
def test_a_reply_that_is_none_leaves_the_snapshot_in_force(
    pair: Pair, side: str, kind: str, error: str | None
) -> None:
    before = snapshot_of(pair)
    rule = {"kind": kind, "method": "GET", "path": READS[side], "times": -1}
    pair.control(side, "POST", "faults", rule)
    said = pair.command("pull", "--json", **QUICK)
    assert said.code == 1
    assert "Traceback" not in said.err
    told = said.json()
    message = (
        told["message"] if "message" in told else " ".join(row["error"] or "" for row in told["objects"])
    )
    assert side in message.lower(), told
    if error and "error" in told:
        assert told["error"] == error
    with pair.opened(offline=True) as ctx, ctx.warehouse() as warehouse:
        kept = warehouse.snapshot()
        assert kept
        assert kept.rows["xero.Contact"] > 30 and kept.rows["salesforce.Account"] > 30
    assert before
    pair.control(side, "DELETE", "faults")
    stays_quiet(pair)


@pytest.mark.parametrize("side", SIDES)
def test_what_depends_on_an_object_that_failed_is_not_planned(pair: Pair, side: str) -> None:
    account, contact = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0123")
    pair.in_xero.change(contact["ContactID"], AccountNumber="AN-1")
    pair.control(side, "POST", "faults", {"kind": "html", "method": "GET", "path": READS[side], "times": -1})
    marks = pair.marks()
    said = pair.command("plan", "--json", **QUICK)
    assert said.code == 1, said.out
    assert "Traceback" not in said.err
    assert pair.writes(marks) == []
    pair.control(side, "DELETE", "faults")
    assert pair.plan().operations.height == 2


@pytest.mark.parametrize("kind", ["html", "cut", "500_applied", "drop_after", "malformed"])
def test_a_lost_answer_to_a_write_is_settled_by_the_next_run(pair: Pair, kind: str) -> None:
    account, contact = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0123")
    planned = pair.plan()
    pair.control(
        "xero",
        "POST",
        "faults",
        {"kind": kind, "method": "POST", "path": "/api.xro/2.0/Contacts", "times": 1},
    )
    said = pair.command("apply", planned.short, "--yes", "--json", **QUICK)
    assert "Traceback" not in said.err
    assert said.code in (0, 1)
    assert set(said.json()["counts"]) <= {"confirmed", "unknown", "adopted"}
    again = pair.plan()
    assert again.operations.is_empty()
    assert "0123" in json.dumps(pair.contact(contact["ContactID"])["Phones"])


@pytest.mark.parametrize("side", SIDES)
def test_a_refused_connection_names_the_address(pair: Pair, side: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    names = {"xero": ("api_url", "identity_url"), "salesforce": ("login_url",)}[side]
    pair.set(side, **dict.fromkeys(names, url))
    said = pair.command("plan", "--json", **QUICK)
    message = refused(said, code=1, error="NotConnected")
    assert url.removeprefix("http://") in message


# --- Disks and files ----------------------------------------------------------------------------------


def with_a_small_disk(pair: Pair, most_kb: int, *arguments: str) -> Said:
    """Run a command in a process in which no file may grow beyond a size: what a full disk does."""
    given = [*arguments, "--json", "--settings", str(pair.settings)]
    command = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({most_kb} * 1024, {most_kb} * 1024))
from flows.cli import main
main({given!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    said = Said(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in said.err + said.out
    assert "a bug" not in said.err, said.err
    return said


@pytest.mark.parametrize("most_kb", [40, 1000])
def test_a_full_disk_is_told_and_the_next_run_goes_on(pair: Pair, most_kb: int) -> None:
    account, _ = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0123")
    said = with_a_small_disk(pair, most_kb, "plan", "--full")
    assert said.code in (1, 2), (said.code, said.err)
    assert len(said.messages) == 1, said.err
    assert pair.plan().operations["unit"].to_list() == ["fax"]


@pytest.mark.parametrize("most_kb", [210, 240, 255])  # the journal's log stands at 170 KB, and grows by 115
def test_a_disk_that_fills_during_a_push_leaves_what_the_next_run_settles(pair: Pair, most_kb: int) -> None:
    edited = [account["Id"] for account, _ in pair.linked()[8:14]]
    for number, account_id in enumerate(edited):
        pair.in_salesforce.change(account_id, Fax=f"020 7946 01{number:02}")
    planned = pair.plan()
    assert planned.operations.height == len(edited)
    marks = pair.marks()
    said = with_a_small_disk(pair, most_kb, "apply", planned.short, "--yes")
    assert said.code in (0, 1, 2)
    pair.adopt()
    contacts = pair.dump("xero")
    for number, account_id in enumerate(edited):
        xero_id = pair.row(account_id)["ExternalID__c"]
        assert phone(contacts[xero_id], "FAX").endswith(f"01{number:02}")
    assert len([row for row in pair.writes(marks) if row["applied"]]) == 1  # one batch, sent once


GARBAGE = b"\x00\xff garbage " * 4000


def test_a_damaged_warehouse_is_named_and_says_what_to_do(pair: Pair) -> None:
    warehouse = pair.folder / "data" / "warehouse.duckdb"
    whole = warehouse.read_bytes()
    for spoiled in (
        GARBAGE,
        b"",
        whole[:4096] + GARBAGE + whole[4096 + len(GARBAGE) :],
        whole[: len(whole) // 2],
    ):
        warehouse.write_bytes(spoiled)
        said = pair.command("plan", "--json")
        assert "Traceback" not in said.err
        assert "a bug" not in said.err, said.err
        if said.code == 0:  # an empty file is a fresh warehouse: everything is read again
            assert spoiled == b""
            continue
        assert "warehouse" in said.json()["message"]
    warehouse.unlink()
    stays_quiet(pair)


def test_a_damaged_journal_is_named_and_nothing_is_sent(pair: Pair) -> None:
    journal = pair.folder / "data" / "journal.db"
    whole = journal.read_bytes()
    marks = pair.marks()
    for spoiled in (GARBAGE, whole[:8192] + GARBAGE + whole[8192 + len(GARBAGE) :], whole[: len(whole) // 2]):
        for rest in journal.parent.glob("journal.db-*"):
            rest.unlink()
        journal.write_bytes(spoiled)
        said = pair.command("plan", "--json")
        refused(said, code=1, error="JournalDamaged", holds="journal.db")
    assert pair.writes(marks) == []
    for rest in journal.parent.glob("journal.db-*"):
        rest.unlink()
    journal.write_bytes(whole)
    stays_quiet(pair)


def test_a_wrong_journal_key_is_named(pair: Pair) -> None:
    said = pair.command("plan", "--json", RECONCILE_JOURNAL__KEY="00" * 32)
    message = refused(said, code=2, error="WrongSetting", holds="journal.key")
    assert "00000000" not in message
    refused(pair.command("plan", "--json", RECONCILE_JOURNAL__KEY="short"), code=2, error="WrongSetting")
    refused(pair.command("plan", "--json", RECONCILE_JOURNAL__KEY=""), code=2, error="WrongSetting")


# --- Plans --------------------------------------------------------------------------------------------


def changed_plan(pair: Pair) -> Any:
    account, _ = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0123")
    return pair.plan()


def test_a_plan_changed_in_one_byte_is_refused(pair: Pair) -> None:
    planned = changed_plan(pair)
    marks = pair.marks()
    for file in sorted((pair.folder / "data" / "plans").glob(f"{planned.hash}*")):
        whole = file.read_bytes()
        # In the manifest a byte within the text of its expiry: the plan must not live longer by hand.
        at = whole.index(b"expires_at") + 16 if file.suffix == ".json" else len(whole) // 2
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        said = pair.command("apply", planned.short, "--yes", "--json")
        refused(said, code=3, error="PlanUnusable", holds=planned.short)
        file.write_bytes(whole)
    assert pair.writes(marks) == []


def test_an_expired_plan_is_refused(pair: Pair) -> None:
    account, _ = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0123")
    said = pair.command("plan", "--json", RECONCILE_LIMITS__PLAN_EXPIRES_H="0.00000001")
    assert said.code == 3
    marks = pair.marks()
    refused(pair.command("apply", "--yes", "--json"), code=3, error="PlanUnusable", holds="expired")
    assert pair.writes(marks) == []


def test_a_plan_that_was_replaced_is_refused(pair: Pair) -> None:
    old = changed_plan(pair)
    account, _ = pair.linked()[9]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0124")
    pair.plan()
    marks = pair.marks()
    refused(
        pair.command("apply", old.short, "--yes", "--json"), code=3, error="PlanUnusable", holds="superseded"
    )
    assert pair.writes(marks) == []


def test_nothing_but_reads_leaves_before_writes_are_enabled(fresh: Pair) -> None:
    said = fresh.command("plan", "--json")
    assert said.code == 3
    refused(fresh.command("apply", "--yes", "--json"), code=3, error="ReadOnly", holds="enable-writes")
    for side in SIDES:
        sent = {(row["method"], row["path"]) for row in fresh.requests(side) if row["method"] != "GET"}
        assert {path for _, path in sent} <= {"/connect/token", "/services/oauth2/token"}


def test_an_apply_that_nobody_approves_sends_nothing(pair: Pair) -> None:
    planned = changed_plan(pair)
    marks = pair.marks()
    refused(
        pair.command("apply", planned.short, "--json"), code=3, error="NeedsApproval", holds=planned.short
    )
    assert pair.writes(marks) == []


def test_a_second_apply_of_a_plan_sends_nothing(pair: Pair) -> None:
    planned = changed_plan(pair)
    first = pair.command("apply", planned.short, "--yes", "--json")
    marks = pair.marks()
    second = pair.command("apply", planned.short, "--yes", "--json")
    assert first.json()["counts"] == second.json()["counts"] == {"confirmed": 1}
    assert (first.code, second.code) == (0, 0)
    assert pair.writes(marks) == []


def test_a_second_process_waits_for_the_one_that_holds_the_pair(pair: Pair) -> None:
    planned = changed_plan(pair)
    marks = pair.marks()
    with pair.opened(offline=True) as ctx, ctx.leased():
        for command in (["plan"], ["pull"], ["apply", planned.short, "--yes"]):
            refused(pair.command(*command, "--json"), code=1, error="LeaseHeld", holds="another run")
    assert pair.writes(marks) == []
    assert outcomes(pair.apply(planned)) == {"confirmed": 1}

"""Pulling both systems over real HTTP: what arrives, what it costs, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import Peer, account, contact, person, settings_for

from pipelines.extract import row_hash
from pipelines.salesforce.source import LONGEST_QUERY, build_query, choose_fields, parse_stamp
from pipelines.salesforce.source import VOLATILE as SALESFORCE_VOLATILE
from pipelines.warehouse import Warehouse
from pipelines.xero.client import EPOCH, parse_date, quoted
from pipelines.xero.schema import VOLATILE as XERO_VOLATILE
from reconcile.errors import FixData, LogInAgain, SnapshotRefused, UnexpectedReply

OBJECTS = (("salesforce", "Account"), ("salesforce", "Contact"), ("xero", "Contact"))


@pytest.fixture
def warehouse(tmp_path):
    with Warehouse(tmp_path / "warehouse.duckdb") as opened:
        yield opened


def seeded(peer: Peer, count: int = 5) -> Peer:
    peer.load("salesforce", [account(n, Phone=f"0113 {n:06d}", AnnualRevenue=n * 1000) for n in range(count)])
    peer.load("salesforce", [person(n, Email=f"p{n}@example.com") for n in range(count)])
    peer.load("xero", [contact(n, EmailAddress=f"p{n}@example.com") for n in range(count)])
    return peer


def past_overlap(peer: Peer, warehouse: Warehouse) -> None:
    """Pull once more when the first rows lie before the overlap."""
    peer.move_clock(2 * peer.settings.pull.overlap_s)
    peer.pull(warehouse)
    peer.move_clock(2 * peer.settings.pull.overlap_s)
    peer.pull(warehouse)


def api_calls(peer: Peer, side: str, after: int = 0) -> list[str]:
    return [r["path"] for r in peer.requests(side) if "token" not in r["path"] and r["n"] > after]


def last_call(peer: Peer, side: str) -> int:
    return peer.requests(side)[-1]["n"]


def bodies(warehouse: Warehouse, side: str, object_name: str, *, live: bool = True) -> dict[str, dict]:
    raw = warehouse.raw(side, object_name)
    raw = raw.filter(~pl.col("deleted")) if live else raw
    return {row["record_id"]: json.loads(row["body"]) for row in raw.iter_rows(named=True)}


def edit(peer: Peer, side: str, method: str, path: str, body: object) -> httpx.Response:
    """Somebody else edits: another login of the vendor's API."""
    root = peer.url(side)
    if side == "xero":
        form = {n: peer.line["xero"][n] for n in ("client_id", "client_secret")} | {
            "grant_type": "client_credentials"
        }
        token = httpx.post(f"{root}/connect/token", data=form).json()["access_token"]
        headers = {"xero-tenant-id": peer.line["xero"]["tenant_id"]}
    else:
        who = peer.line["salesforce"]["person"]
        form = {n: who[n] for n in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
        token = httpx.post(f"{root}/services/oauth2/token", data=form).json()["access_token"]
        headers = {}
    headers["Authorization"] = f"Bearer {token}"
    reply = httpx.request(method, root + path, json=body, headers=headers)
    assert reply.status_code < 300, reply.text
    return reply


# --- What arrives ------------------------------------------------------------------------------------


def test_the_first_pull_brings_every_record_as_it_came(peer, warehouse):
    result = seeded(peer).pull(warehouse)
    assert [(o.kind, o.rows_seen, o.rows_changed, o.error) for o in result.objects] == [
        ("full", 5, 5, None)
    ] * 3
    for side, name in OBJECTS:
        raw = warehouse.raw(side, name)
        assert raw.height == 5 and not raw["deleted"].any()
        assert "Name" in warehouse.observed(side, name)
        assert warehouse.fields().filter(side=side, object=name).height > 20
    assert bodies(warehouse, "xero", "Contact")[contact(3)["ContactID"]]["EmailAddress"] == "p3@example.com"
    snapshot = warehouse.snapshot()
    assert snapshot.rows == {"salesforce.Account": 5, "salesforce.Contact": 5, "xero.Contact": 5}


def test_a_pull_in_which_nothing_changed_makes_one_call_for_each_object(peer, warehouse):
    seeded(peer).pull(warehouse)
    past_overlap(peer, warehouse)
    before = {side: last_call(peer, side) for side in ("xero", "salesforce")}
    result = peer.pull(warehouse)
    assert len(api_calls(peer, "salesforce", before["salesforce"])) == 2
    assert len(api_calls(peer, "xero", before["xero"])) == 1
    assert result.calls == {"salesforce": 2, "xero": 1} and not result.changed
    assert [o.rows_seen for o in result.objects] == [0, 0, 0]


def test_a_quiet_pull_imports_no_dlt_and_moves_what_is_known(peer, warehouse):
    first = seeded(peer).pull(warehouse)
    peer.move_clock(60)
    second = peer.pull(warehouse)
    assert not warehouse.changed_since(first.snapshot_id)
    assert second.snapshot_id > first.snapshot_id
    moved = zip(first.objects, second.objects, strict=True)
    assert all(
        after.complete_as_of >= before.complete_as_of + timedelta(seconds=59) for before, after in moved
    )
    code = (
        "import sys, pipelines.pull, pipelines.clients, pipelines.warehouse; "
        "print({'dlt', 'simple_salesforce'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_changes_arrive_with_the_next_pull_and_their_history_is_kept(peer, warehouse):
    first = seeded(peer).pull(warehouse)
    past_overlap(peer, warehouse)
    edit(
        peer,
        "salesforce",
        "PATCH",
        f"/services/data/v67.0/sobjects/Account/{account(1)['Id']}",
        {"Phone": "1"},
    )
    edit(
        peer,
        "xero",
        "POST",
        "/api.xro/2.0/Contacts",
        {"Contacts": [{"ContactID": contact(2)["ContactID"], "FirstName": "Zoë"}]},
    )
    edit(peer, "xero", "PUT", "/api.xro/2.0/Contacts", {"Contacts": [{"Name": "Newcomer"}]})
    result = peer.pull(warehouse)
    assert [(o.rows_changed, o.deleted) for o in result.objects] == [(1, 0), (0, 0), (2, 0)]
    assert bodies(warehouse, "salesforce", "Account")[account(1)["Id"]]["Phone"] == "1"
    assert bodies(warehouse, "xero", "Contact")[contact(2)["ContactID"]]["FirstName"] == "Zoë"
    assert warehouse.raw("xero", "Contact").height == 6
    assert warehouse.changed_since(first.snapshot_id)
    history = warehouse.con.sql("select count(*) from raw.salesforce_account").fetchall()
    assert history == [(6,)]


def test_deleted_merged_and_archived_records_arrive(peer, warehouse):
    seeded(peer).pull(warehouse)
    past_overlap(peer, warehouse)
    edit(peer, "salesforce", "DELETE", f"/services/data/v67.0/sobjects/Account/{account(0)['Id']}", None)
    merged = {"object": "Account", "survivor": account(1)["Id"], "loser": account(2)["Id"]}
    peer.control("salesforce", "POST", "merge", merged)
    archived = {"ContactID": contact(0)["ContactID"], "ContactStatus": "ARCHIVED"}
    edit(peer, "xero", "POST", "/api.xro/2.0/Contacts", {"Contacts": [archived]})
    peer.control(
        "xero",
        "POST",
        "merge-contacts",
        {"loser": contact(2)["ContactID"], "survivor": contact(1)["ContactID"]},
    )
    result = peer.pull(warehouse)
    assert result.objects[0].deleted == 2
    accounts = bodies(warehouse, "salesforce", "Account", live=False)
    assert accounts[account(0)["Id"]]["IsDeleted"] is True
    assert accounts[account(2)["Id"]]["MasterRecordId"] == account(1)["Id"]
    contacts = bodies(warehouse, "xero", "Contact")
    assert contacts[contact(0)["ContactID"]]["ContactStatus"] == "ARCHIVED"
    assert contacts[contact(2)["ContactID"]]["MergedToContactID"] == contact(1)["ContactID"]
    assert warehouse.snapshot().rows["salesforce.Account"] == 3


def test_what_is_gone_without_a_trace_is_a_tombstone_after_a_sweep_only(peer, warehouse):
    seeded(peer, 10).pull(warehouse)
    past_overlap(peer, warehouse)
    edit(peer, "salesforce", "DELETE", f"/services/data/v67.0/sobjects/Contact/{person(0)['Id']}", None)
    peer.control("salesforce", "POST", "purge", {"ids": [person(0)["Id"]]})
    assert peer.pull(warehouse).objects[1].rows_changed == 0
    assert person(0)["Id"] in bodies(warehouse, "salesforce", "Contact")
    assert peer.pull(warehouse, full=True).objects[1].deleted == 1
    raw = warehouse.raw("salesforce", "Contact").filter(record_id=person(0)["Id"])
    assert raw["deleted"].to_list() == [True] and json.loads(raw["body"].item())["LastName"] == "Person 0"
    assert peer.pull(warehouse, full=True).objects[1].rows_changed == 0


def test_a_record_that_comes_back_is_live_again(peer, warehouse):
    seeded(peer).pull(warehouse)
    one = account(0)["Id"]
    edit(peer, "salesforce", "DELETE", f"/services/data/v67.0/sobjects/Account/{one}", None)
    peer.pull(warehouse)
    assert one not in bodies(warehouse, "salesforce", "Account")
    peer.move_clock(5)
    peer.control("salesforce", "POST", "undelete", {"ids": [one]})
    peer.pull(warehouse)
    assert one in bodies(warehouse, "salesforce", "Account")


# --- Completeness under the dialects -----------------------------------------------------------------


@pytest.mark.parametrize("page_size", ["honoured", "ignored"])
@pytest.mark.parametrize("order", ["insertion", "updated", "name"])
def test_every_contact_arrives_however_the_pages_are_cut(peer, warehouse, page_size, order):
    peer.control("xero", "POST", "dialect", {"page_size": page_size, "default_order": order})
    peer.load("xero", [contact(n) for n in range(250)])
    peer.pull(warehouse)
    assert warehouse.raw("xero", "Contact").height == 250


@pytest.mark.parametrize("boundary", ["inclusive", "exclusive", "exclusive_second"])
@pytest.mark.parametrize("overlap_s", [0, 900])
def test_no_change_is_lost_at_the_boundary_of_if_modified_since(peer, warehouse, boundary, overlap_s):
    peer.settings = settings_for(peer.line, peer.folder, pull={"overlap_s": overlap_s})
    peer.control("xero", "POST", "dialect", {"if_modified_since": boundary})
    seeded(peer).pull(warehouse)
    for number in range(3):  # within the very second of the pull before
        edit(peer, "xero", "PUT", "/api.xro/2.0/Contacts", {"Contacts": [{"Name": f"New {number}"}]})
        peer.pull(warehouse)
        assert warehouse.raw("xero", "Contact").height == 6 + number


def test_a_row_that_salesforce_commits_late_is_not_lost(peer, warehouse):
    seeded(peer).pull(warehouse)
    past_overlap(peer, warehouse)
    peer.control("salesforce", "POST", "dialect", {"late_commit_s": 540})
    edit(
        peer,
        "salesforce",
        "PATCH",
        f"/services/data/v67.0/sobjects/Account/{account(1)['Id']}",
        {"Phone": "late"},
    )
    peer.pull(warehouse)
    peer.move_clock(560)
    peer.pull(warehouse)
    assert bodies(warehouse, "salesforce", "Account")[account(1)["Id"]]["Phone"] == "late"


def test_salesforces_short_pages_are_followed_to_the_end(peer, warehouse):
    peer.control("salesforce", "POST", "dialect", {"page": "fewer"})
    peer.load("salesforce", [account(n) for n in range(1100)])
    peer.pull(warehouse)
    assert warehouse.raw("salesforce", "Account").height == 1100


class Shifting:
    """A client whose pages lose a row between them, as offset paging does while records move."""

    def __init__(self, client, times: int) -> None:
        self._client, self._times = client, times

    def __getattr__(self, name):
        return getattr(self._client, name)

    def pages(self, object_name, **options):
        from dataclasses import replace

        lossy, self._times = self._times > 0, self._times - 1
        for number, page in enumerate(self._client.pages(object_name, **options)):
            yield replace(page, rows=page.rows[1:]) if lossy and number == 1 else page


@pytest.mark.parametrize(("times", "arrives"), [(1, True), (9, False)])
def test_a_sweep_that_skips_a_row_is_repeated_and_then_refused(peer, warehouse, times, arrives):
    from pipelines.xero.source import pull_object

    peer.control("xero", "POST", "dialect", {"page_size": "ignored"})
    peer.load("xero", [contact(n) for n in range(150)])
    with peer.clients() as clients:
        shifting = Shifting(clients.xero, times)
        if arrives:
            assert len(pull_object(shifting, "Contact", since=None).ids) == 150
        else:
            with pytest.raises(SnapshotRefused, match="149 different rows"):
                pull_object(shifting, "Contact", since=None)


# --- What is refused ---------------------------------------------------------------------------------


def test_a_sweep_that_is_much_smaller_is_refused_unless_accepted(peer, warehouse):
    seeded(peer, 10).pull(warehouse)
    httpx.post(f"{peer.url('xero')}/sandbox/reset", json={}).raise_for_status()
    peer.load("xero", [contact(n) for n in range(3)])
    result = peer.pull(warehouse, full=True)
    assert "3 of the 10" in result.objects[2].error and result.objects[0].error is None
    assert warehouse.raw("xero", "Contact").height == 10
    assert isinstance(result.failures[0], SnapshotRefused)
    peer.pull(warehouse, full=True, accept_smaller=True)
    assert len(bodies(warehouse, "xero", "Contact")) == 3


def test_an_empty_sweep_after_a_full_one_is_refused(peer, warehouse):
    seeded(peer).pull(warehouse)
    httpx.post(f"{peer.url('xero')}/sandbox/reset", json={}).raise_for_status()
    assert "0 of the 5" in peer.pull(warehouse, full=True).objects[2].error
    assert len(bodies(warehouse, "xero", "Contact")) == 5


def test_an_empty_pair_is_a_complete_snapshot(peer, warehouse):
    result = peer.pull(warehouse)
    assert [o.error for o in result.objects] == [None] * 3
    assert warehouse.raw("xero", "Contact").height == 0
    assert warehouse.snapshot().complete_as_of.keys() == {
        "salesforce.Account",
        "salesforce.Contact",
        "xero.Contact",
    }


BROKEN = ["html", "cut", "malformed", "drop_before", "drop_after", "503", "500"]


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("side", ["xero", "salesforce"])
def test_one_sides_trouble_keeps_its_snapshot_and_lets_the_other_go_on(peer, warehouse, kind, side):
    peer.settings = settings_for(peer.line, peer.folder, limits={"retries": 0})
    seeded(peer).pull(warehouse)
    before = warehouse.snapshot()
    peer.load("xero", [contact(7)])
    peer.load("salesforce", [account(7), person(7)])
    path = "api.xro" if side == "xero" else "queryAll"
    peer.control(side, "POST", "faults", {"kind": kind, "path": path, "times": -1})
    result = peer.pull(warehouse)
    for done in result.objects:
        fresh = warehouse.snapshot().complete_as_of[f"{done.side}.{done.object}"]
        assert (done.error is not None) == (done.side == side)
        assert (fresh == before.complete_as_of[f"{done.side}.{done.object}"]) or done.side != side
        assert warehouse.raw(done.side, done.object).height == (5 if done.side == side else 6)
    peer.control(side, "DELETE", "faults")
    assert [o.rows_changed for o in peer.pull(warehouse).objects if o.side == side] == [1] * (
        1 if side == "xero" else 2
    )


def test_a_read_that_fails_once_is_repeated_without_a_word(peer, warehouse):
    for side, path in (("xero", "Contacts"), ("salesforce", "queryAll")):
        peer.control(side, "POST", "faults", [{"kind": kind, "path": path} for kind in ("503", "drop_after")])
    assert [o.error for o in seeded(peer).pull(warehouse).objects] == [None] * 3


def test_where_everything_fails_the_error_is_raised_and_nothing_is_kept(peer, warehouse):
    peer.control("salesforce", "POST", "faults", {"kind": "html", "path": "oauth2", "times": -1})
    peer.control("xero", "POST", "faults", {"kind": "html", "path": "connect", "times": -1})
    with pytest.raises(UnexpectedReply, match="HTML"):
        peer.pull(warehouse)
    assert warehouse.snapshot() is None


def test_a_revoked_login_is_told_for_its_side(peer, warehouse):
    seeded(peer).pull(warehouse)
    peer.control("xero", "POST", "faults", {"kind": "expired_token", "path": "Contacts", "times": -1})
    result = peer.pull(warehouse)
    assert isinstance(result.failures[0], LogInAgain) and "xero" in result.objects[2].error


# --- Schemas -----------------------------------------------------------------------------------------


def test_a_new_field_arrives_with_the_next_sweep_and_is_told(peer, warehouse):
    seeded(peer).pull(warehouse)
    added = {"object": "Account", "add": {"name": "Region__c", "type": "string", "length": 30}}
    peer.control("salesforce", "POST", "fields", added)
    result = peer.pull(warehouse, full=True)
    assert any("Region__c" in note for note in result.objects[0].notes)
    assert "Region__c" in warehouse.observed("salesforce", "Account")


def test_a_hidden_field_turns_the_delta_into_a_sweep_and_is_no_longer_observed(peer, warehouse):
    seeded(peer).pull(warehouse)
    peer.control("salesforce", "POST", "fields", {"object": "Account", "rights": {"Phone": "hidden"}})
    result = peer.pull(warehouse)
    assert result.objects[0].kind == "full" and result.objects[0].error is None
    assert any("Phone" in note for note in result.objects[0].notes)
    assert "Phone" not in warehouse.observed("salesforce", "Account")
    assert peer.pull(warehouse).objects[0].kind == "delta"


def test_a_changed_type_is_an_error_of_that_object_alone(peer, warehouse):
    typed = {"name": "Score__c", "type": "string", "length": 30}
    peer.control("salesforce", "POST", "fields", {"object": "Account", "add": typed})
    seeded(peer).pull(warehouse)
    peer.control("salesforce", "POST", "fields", {"object": "Account", "remove": "Score__c"})
    typed = {"name": "Score__c", "type": "double", "precision": 10, "scale": 2}
    peer.control("salesforce", "POST", "fields", {"object": "Account", "add": typed})
    peer.load("salesforce", [person(9)])
    result = peer.pull(warehouse, full=True)
    assert "Score__c: found type double, expected string" in result.objects[0].error
    assert result.objects[1].rows_changed == 1
    assert warehouse.raw("salesforce", "Account").height == 5
    assert peer.pull(warehouse, full=True, accept_smaller=True).objects[0].error is None
    assert warehouse.types("salesforce", "Account")["Score__c"] == "double"


def test_a_field_of_the_mapping_that_was_never_asked_for_brings_one_sweep(peer, warehouse):
    seeded(peer).pull(warehouse)
    needed = {"salesforce": {"Account": frozenset({"Name", "Missing__c"})}}
    kinds = [peer.pull(warehouse, needed=needed).objects[0].kind for _ in range(2)]
    assert kinds == ["full", "delta"]


def test_a_sweep_is_due_by_schedule(peer, warehouse):
    seeded(peer).pull(warehouse)
    later = datetime.now(UTC) + timedelta(hours=peer.settings.pull.full_every_h + 1)
    assert [o.kind for o in peer.pull(warehouse, now=later).objects] == ["full"] * 3


field_names = st.from_regex(r"[A-Z][a-z]{2,30}(__c)?", fullmatch=True)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": field_names,
                "type": st.sampled_from(["string", "textarea", "address", "base64"]),
                "length": st.sampled_from([0, 255, 32000]),
            }
        ),
        max_size=900,
        unique_by=lambda field: field["name"],
    )
)
def test_a_query_never_outgrows_an_address_and_holds_what_the_mapping_needs(fields):
    for field in fields:
        field["custom"] = field["name"].endswith("__c")
    needed = frozenset(field["name"] for field in fields[:20] if field["type"] in ("string", "textarea"))
    read, left_out = choose_fields(fields, needed)
    assert needed <= set(read) and not set(read) & set(left_out)
    assert not {field["name"] for field in fields if field["type"] in ("address", "base64")} & set(read)
    assert (
        len(httpx.QueryParams({"q": build_query("Account", read or ["Id"], EPOCH)}).__str__())
        < LONGEST_QUERY + 1500
    )


# --- Values ------------------------------------------------------------------------------------------


@given(
    st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_000),
    st.sampled_from(["", "+0000", "+1300", "-0500"]),
)
def test_xeros_dates_are_utc_whatever_offset_they_show(milliseconds, offset):
    assert parse_date(f"/Date({milliseconds}{offset})/") == EPOCH + timedelta(milliseconds=milliseconds)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001 - naive on purpose
def test_xeros_iso_dates_without_zone_are_utc(moment):
    assert parse_date(moment.isoformat(timespec="milliseconds")) == moment.replace(
        microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC
    )


@given(st.text() | st.none() | st.integers())
def test_no_text_makes_the_date_readers_fail(value):
    for read in (parse_date, parse_stamp):
        found = read(value)
        assert found is None or found.tzinfo is not None


def test_a_where_value_can_not_leave_its_string():
    assert quoted("O'Brien & Söhne") == '"O\'Brien & Söhne"'
    for bad in ('a"b', "a\\b", "a\nb"):
        with pytest.raises(ValueError):
            quoted(bad)


def test_looking_at_a_record_is_no_change_of_it():
    seen = {"Id": "1", "Name": "A", "LastViewedDate": "2026-01-01", "attributes": {"url": "/v66.0"}}
    again = {"Id": "1", "Name": "A", "LastViewedDate": "2026-02-01", "attributes": {"url": "/v67.0"}}
    assert row_hash(seen, SALESFORCE_VOLATILE) == row_hash(again, SALESFORCE_VOLATILE)
    assert row_hash(seen | {"Name": "B"}, SALESFORCE_VOLATILE) != row_hash(seen, SALESFORCE_VOLATILE)


def test_a_new_invoice_is_no_change_of_the_contact_and_a_new_role_is():
    plain = {"ContactID": "1", "IsCustomer": False, "Balances": {"AccountsReceivable": Decimal("1.50")}}
    assert row_hash(plain, XERO_VOLATILE) == row_hash(plain | {"Balances": {}}, XERO_VOLATILE)
    assert row_hash(plain, XERO_VOLATILE) != row_hash(plain | {"IsCustomer": True}, XERO_VOLATILE)


def test_a_number_is_one_however_it_is_spelled_and_no_text():
    def hashed(value):
        return row_hash({"Discount": value}, frozenset())

    assert hashed(Decimal("1.50")) == hashed(Decimal("1.5"))
    assert hashed(Decimal("1.5")) != hashed("1.5")


# --- Room --------------------------------------------------------------------------------------------


def test_a_disk_without_room_is_told_and_the_snapshot_before_stays(peer, tmp_path):
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        seeded(peer).pull(warehouse)
    peer.load("xero", [contact(n, FirstName="x" * 200) for n in range(10, 3000)])
    code = """
import resource, sys, json
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from peers import Peer, settings_for
from pipelines.warehouse import Warehouse
from reconcile.errors import FixSettings
line, folder = json.loads(sys.argv[2]), Path(sys.argv[3])
peer = Peer(line, folder, settings_for(line, folder))
with Warehouse(folder / "w.duckdb") as warehouse:
    size = (folder / "w.duckdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, size + 100_000))
    try:
        peer.pull(warehouse)
    except FixSettings as error:
        print("told:", error)
"""
    arguments = [str(Path(__file__).parent), json.dumps(peer.line), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert "told:" in done.stdout and "no room" in done.stdout, done.stdout + done.stderr
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        assert warehouse.raw("xero", "Contact").height == 5
        peer.pull(warehouse)
        assert warehouse.raw("xero", "Contact").height == 2995


def test_errors_of_a_pull_name_no_person(peer, warehouse):
    peer.load("xero", [contact(1, Name="Jane Roe", FirstName="Jane", LastName="Roe")])
    peer.control("xero", "POST", "faults", {"kind": "malformed", "path": "Contacts", "times": -1})
    result = peer.pull(warehouse)
    assert isinstance(result.failures[0], FixData)
    assert "Jane" not in (result.objects[2].error or "") and "Roe" not in (result.objects[2].error or "")

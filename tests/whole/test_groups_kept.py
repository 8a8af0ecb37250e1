"""Contacts enter and leave the contact groups that their Account names; all other groups are left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from settled_pair import Till
from whole_pair import Pair

from pipelines import runs, undo
from pipelines.plans import Planned
from pipelines.xero.client import XeroClient
from reconcile.undo import GROUPS_FOLLOW

pytestmark = pytest.mark.in_turn(0)

VERIFIER = Path(__file__).parents[2] / "verifier" / "verify.py"
FIELD = {"name": "Segment__c", "type": "multipicklist", "length": 255}
MAPPING = """extends: [demo]
entities:
  party:
    groups: {salesforce: Segment__c, among: [Retail, Wholesale, Trade], remove: always}
"""


@dataclass
class Club:
    """A pair, and the people who fill Segment__c and move contacts between groups by hand."""

    pair: Pair
    till: Till = field(init=False)
    ids: dict[str, str] = field(default_factory=dict)  # name of a group -> its id

    def __post_init__(self) -> None:
        self.till = Till(self.pair)
        self.accounts = {contact["ContactID"]: account["Id"] for account, contact in self.pair.linked()}
        self.one, self.other, self.third, *_ = sorted(self.accounts)

    def group(self, *names: str) -> None:
        for name in names:
            made = self.till.call("PUT", "ContactGroups", {"ContactGroups": [{"Name": name}]})
            self.ids[name] = made["ContactGroupID"]

    def says(self, contact_id: str, segment: str | None) -> None:
        self.till.edit("Account", self.accounts[contact_id], Segment__c=segment)

    def enters(self, contact_id: str, name: str) -> None:
        path = f"/api.xro/2.0/ContactGroups/{self.ids[name]}/Contacts"
        self.till.xero.put(path, json={"Contacts": [{"ContactID": contact_id}]}).raise_for_status()

    def leaves(self, contact_id: str, name: str) -> None:
        path = f"/api.xro/2.0/ContactGroups/{self.ids[name]}/Contacts/{contact_id}"
        self.till.xero.delete(path).raise_for_status()

    def members(self, name: str) -> set[str]:
        return {
            one["ContactID"] for one in self.till.call("GET", f"ContactGroups/{self.ids[name]}")["Contacts"]
        }

    def is_in(self, contact_id: str) -> set[str]:
        return {name for name in self.ids if contact_id in self.members(name)}

    def writes(self, marks: dict[str, int]) -> list[tuple[str, str]]:
        """(method, last part of the address) of what we wrote in Xero."""
        rows = self.pair.writes(marks)
        return [(row["method"], row["path"].rpartition("/")[2]) for row in rows if row["side"] == "xero"]


@pytest.fixture
def club(pair: Pair) -> Club:
    pair.control("salesforce", "POST", "fields", {"object": "Account", "add": FIELD})
    pair.set("limits", late_application_s=1)
    (pair.folder / "mapping.yaml").write_text(MAPPING)
    made = Club(pair)
    made.group("Retail", "Wholesale", "trade", "VIP")
    return made


Step = tuple[str, str | None, str | None]


def steps(frame: pl.DataFrame) -> set[Step]:
    """(contact, before, after) of what a plan does to memberships."""
    mine = frame.filter(pl.col("entity") == "membership")
    return {
        (row["record_id"].rpartition("/")[2], row["before"], row["after"])
        for row in mine.iter_rows(named=True)
    }


def told(planned: Planned) -> list[str]:
    return planned.rejects.filter(pl.col("entity") == "membership")["reason"].to_list()


def applied(pair: Pair, planned: Planned) -> runs.Applied:
    with pair.opened() as ctx:
        return runs.apply(ctx, runs.load_plan(ctx, planned.hash), approved=True)


def verified(pair: Pair) -> None:
    """What the run left holds before the verifier, which knows nothing of us."""
    files = []
    history = {side: pair.requests(side) for side in ("salesforce", "xero")}
    records = {side: list(pair.dump(side).values()) for side in ("salesforce", "xero")}
    for name, content in (("history", history), ("records", records)):
        (pair.folder / f"{name}.json").write_text(json.dumps(content))
        files.append(f"--{name}={pair.folder / name}.json")
    folder = next(pair.folder.rglob("certificates"))
    ran = subprocess.run(
        [sys.executable, VERIFIER, folder, *files], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_contacts_enter_and_leave_the_groups_that_their_account_names(club: Club) -> None:
    pair = club.pair
    assert pair.plan().operations.is_empty()
    club.enters(club.one, "VIP")
    club.enters(club.one, "Wholesale")
    club.says(club.one, "retail;Trade")
    club.says(club.other, "Retail")
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    assert steps(planned.operations) == {
        (club.one, None, "Retail"),
        (club.one, None, "trade"),
        (club.one, "Wholesale", None),
        (club.other, None, "Retail"),
    }
    assert planned.operations.height == 4 and not told(planned)
    said = " ".join(pair.command("show").out.split())
    assert "Xero ContactGroup: update" in said and "Segment__c names the group Retail" in said
    marks = pair.marks()
    done = applied(pair, planned)
    assert set(done.outcomes["outcome"]) == {"confirmed"}
    assert done.audited.findings.is_empty(), done.audited.findings.to_dicts()
    assert (done.calls, done.priced["xero"]) == (done.priced, planned.cost["xero"])
    keyed = {row["method"]: bool(row["idempotency_key"]) for row in pair.writes(marks)}
    assert keyed == {"PUT": True, "DELETE": False}
    assert sorted(club.writes(marks)) == [("DELETE", club.one), ("PUT", "Contacts"), ("PUT", "Contacts")]
    assert club.is_in(club.one) == {"Retail", "trade", "VIP"}
    assert club.is_in(club.other) == {"Retail"}
    again = pair.plan()
    assert again.operations.is_empty() and not told(again)
    assert pair.plan(
        pull_first=False
    ).operations.is_empty()  # who is in a group is older there than what we wrote
    assert pair.command("audit", "verify", "--json").json()["ok"]
    verified(pair)


def test_what_somebody_moved_in_xero_is_put_right_and_said(club: Club) -> None:
    pair = club.pair
    club.says(club.one, "Retail")
    club.enters(club.other, "trade")
    pair.apply(pair.plan())
    assert (club.is_in(club.one), club.is_in(club.other)) == ({"Retail"}, set())
    club.leaves(club.one, "Retail")
    club.enters(club.other, "trade")
    planned = pair.plan()
    reasons = dict(planned.operations.select("after", "reason").iter_rows())
    assert "somebody took the contact out of it in Xero since we put it there" in reasons["Retail"]
    assert "somebody put the contact into it in Xero since we took it out" in reasons[None]
    pair.apply(planned)
    assert (club.is_in(club.one), club.is_in(club.other)) == ({"Retail"}, set())
    assert pair.plan().operations.is_empty()


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *(("PUT", kind) for kind in ("drop_after", "drop_before", "500_applied", "late", "cut")),
        *(("DELETE", kind) for kind in ("drop_after", "drop_before", "500", "late")),
    ],
)
def test_a_lost_answer_settles_without_harm(club: Club, method: str, kind: str) -> None:
    pair = club.pair
    pair.set("limits", late_application_s=2, timeout_s=2)
    for contact_id in (club.one, club.other):
        if method == "DELETE":
            club.enters(contact_id, "Retail")
        club.says(contact_id, "Retail" if method == "PUT" else None)
    planned = pair.plan()
    assert len(steps(planned.operations)) == 2
    pair.control(
        "xero", "POST", "faults", {"kind": kind, "method": method, "path": "ContactGroups", "after_s": 1}
    )
    done = applied(pair, planned)
    assert set(done.outcomes["outcome"]) <= {"confirmed", "adopted"}, done.outcomes.to_dicts()
    assert done.audited.findings.is_empty(), done.audited.findings.to_dicts()
    assert kind == "late" or [row["fault"] for row in pair.requests("xero") if row["fault"]] == [kind]
    assert club.members("Retail") == ({club.one, club.other} if method == "PUT" else set())
    assert pair.plan().operations.is_empty()
    verified(pair)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_the_next_run_settles_what_a_killed_one_left(
    club: Club, monkeypatch: pytest.MonkeyPatch, method: str, left: bool
) -> None:
    pair = club.pair
    if method == "DELETE":
        club.enters(club.one, "Retail")
    club.says(club.one, "Retail" if method == "PUT" else None)
    planned = pair.plan()
    send = XeroClient.send

    def killed(self: XeroClient, *given: Any, **options: Any) -> Any:
        if left:
            send(self, *given, **options)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(XeroClient, "send", killed)
        pair.apply(planned)
    wanted = {"Retail"} if method == "PUT" else set()
    again = pair.plan()  # settles first
    assert steps(again.operations) == (set() if left else steps(planned.operations))
    pair.apply(again)
    assert club.is_in(club.one) == wanted
    assert pair.plan().operations.is_empty()


@pytest.mark.parametrize("answer", ["not_found", "no_content", "refuse"])
def test_to_take_out_who_is_out_already_does_no_harm(
    club: Club, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    pair = club.pair
    pair.control("xero", "POST", "dialect", {"group_left_again": answer})
    club.enters(club.one, "Retail")
    planned = pair.plan()
    send = XeroClient.send

    def first_somebody_else(self: XeroClient, *given: Any, **options: Any) -> Any:
        club.leaves(club.one, "Retail")
        return send(self, *given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(XeroClient, "send", first_somebody_else)
        assert set(pair.apply(planned)["outcome"]) <= {"adopted", "confirmed"}
    assert pair.plan().operations.is_empty()
    # The next time it is no refusal of long ago that counts.
    club.enters(club.one, "Retail")
    assert steps(pair.plan().operations) == {(club.one, "Retail", None)}


def test_what_can_not_be_placed_is_told_and_takes_nobody_out(club: Club) -> None:
    pair = club.pair
    club.till.call("POST", f"ContactGroups/{club.ids['trade']}", {"ContactGroups": [{"Status": "DELETED"}]})
    del club.ids["trade"]
    club.enters(club.one, "Wholesale")
    club.enters(club.third, "Wholesale")
    club.enters(club.third, "Retail")
    club.says(club.one, "Retail;Wholesail")
    club.says(club.other, "TRADE; Retail")
    planned = pair.plan()
    assert steps(planned.operations) == {
        (club.one, None, "Retail"),
        (club.other, None, "Retail"),
        (club.third, "Retail", None),
        (club.third, "Wholesale", None),
    }
    misspelled, absent = sorted(told(planned), key=lambda one: "not in Xero" in one)
    assert "Segment__c says Wholesail, which is none of the groups in `among`" in misspelled
    assert "1 Account names the group Trade, which is not in Xero: make it there" in absent
    assert "mapping.yaml:4: entities.party.groups" in misspelled and "mapping.yaml:4" in absent
    pair.apply(planned)
    assert club.is_in(club.one) == {"Retail", "Wholesale"}
    assert (club.is_in(club.other), club.is_in(club.third)) == ({"Retail"}, set())
    (pair.folder / "mapping.yaml").write_text(MAPPING.replace("always", "never"))
    club.says(club.one, None)
    club.says(club.third, "Wholesale")
    assert steps(pair.plan().operations) == {(club.third, None, "Wholesale")}


def test_one_that_is_refused_does_not_hold_up_the_others(club: Club) -> None:
    pair = club.pair
    for contact_id in (club.one, club.other, club.third):
        club.says(contact_id, "Retail")
    planned = pair.plan()
    pair.in_xero.archive(club.other)
    ended = {row["record_id"].rpartition("/")[2]: row["outcome"] for row in pair.apply(planned).to_dicts()}
    assert ended == {club.one: "confirmed", club.other: "rejected", club.third: "confirmed"}
    assert club.members("Retail") == {club.one, club.third}
    assert steps(pair.plan().operations) == set()


def test_a_group_that_is_gone_by_then_gets_nobody_and_its_list_may_be_unreadable(club: Club) -> None:
    pair = club.pair
    club.says(club.one, "Retail")
    planned = pair.plan()
    group = club.ids.pop("Retail")
    club.till.call("POST", f"ContactGroups/{group}", {"ContactGroups": [{"Status": "DELETED"}]})
    marks = pair.marks()
    assert pair.apply(planned)["outcome"].to_list() == ["overtaken"]
    assert not club.writes(marks)
    again = pair.plan()
    assert again.operations.is_empty() and "not in Xero" in " ".join(told(again))
    pair.control(
        "xero", "POST", "faults", {"kind": "500", "method": "GET", "path": "ContactGroups", "times": -1}
    )
    unread = pair.plan()
    assert unread.operations.is_empty()
    assert any("xero.ContactGroup could not be read" in one for one in told(unread))


def test_a_stamp_that_moves_changes_nothing_and_undo_says_how(club: Club) -> None:
    pair = club.pair
    pair.control("xero", "POST", "dialect", {"group_moves_stamp": True})
    club.says(club.one, "Retail")
    club.enters(club.one, "trade")
    pair.apply(pair.plan())
    assert pair.plan().operations.is_empty()
    with pair._checks(), pair.opened() as ctx:
        back = undo.plan_undo(ctx, undo.runs_that_wrote(ctx)[0].run_id)
    assert back.operations.is_empty()
    assert set(back.rejects["reason"]) == {GROUPS_FOLLOW}
    pair.set("xero", scopes="accounting.contacts.read accounting.settings.read accounting.invoices")
    pair.log_out()
    said = pair.command("doctor")
    assert "to write it lacks accounting.contacts" in " ".join((said.out + said.err).split())


def test_a_field_that_is_not_there_is_told_with_its_place(club: Club) -> None:
    (club.pair.folder / "mapping.yaml").write_text(MAPPING.replace("Segment__c", "Segmnt__c"))
    said = club.pair.command("plan")
    assert said.code == 2
    assert "mapping.yaml:4: entities.party.groups" in said.err and "Segment__c" in said.err
    (club.pair.folder / "mapping.yaml").write_text(MAPPING.replace("Segment__c", "AnnualRevenue"))
    said = club.pair.command("plan")
    assert "which is of type currency" in said.err and "multipicklist" in said.err

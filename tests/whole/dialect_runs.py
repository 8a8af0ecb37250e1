"""One pair under one dialect: adopt, edit on both sides, carry, and then rest; says what went wrong.

What must hold whatever the vendors do: the plan after an apply is empty, nothing is made twice, and no record
is written that no plan named. Automation on another mapped unit is a real change: it may take further rounds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import small_books
from small_books import account_id, address, contact_id, phones
from whole_pair import Body, Pair, brief, digits, phone, running

from pipelines.plans import Planned
from sandbox.dialect import Switch
from sandbox.salesforce.switches import SWITCHES as SALESFORCE_SWITCHES
from sandbox.xero.switches import SWITCHES as XERO_SWITCHES

Dialects = Mapping[str, Body]
SWITCHES: Mapping[str, tuple[Switch, ...]] = {"xero": XERO_SWITCHES, "salesforce": SALESFORCE_SWITCHES}
MOST_ROUNDS = 4


@dataclass(frozen=True)
class Result:
    """How many applies the adoption and the edits took, and what was wrong, if anything."""

    adoption: int
    edits: int
    wrong: tuple[str, ...] = ()


def single_choices() -> Iterator[tuple[str, Switch, Any]]:
    """Each value of each switch that is not its default, the others being at theirs."""
    for side, switches in SWITCHES.items():
        for switch in switches:
            for value in switch.values:
                if value != switch.default:
                    yield side, switch, value


def run(folder: Path, dialects: Dialects) -> Result:
    """Live through a pair's first days under these dialects."""
    with running(folder, seed="empty", dialect=dialects) as pair:
        pair.load("salesforce", small_books.SALESFORCE)
        pair.load("xero", small_books.XERO)
        life = _Life(pair, dialects)
        adoption = life.until_rest("adoption")
        life.edit()
        edits = life.until_rest("edits")
        life.judge_creates()
        life.judge_values()
        return Result(adoption, edits, tuple(life.wrong))


class _Life:
    def __init__(self, pair: Pair, dialects: Dialects) -> None:
        self.pair, self.wrong = pair, list[str]()
        trigger = dialects.get("salesforce", {}).get("trigger")
        self.rounds = MOST_ROUNDS if trigger == "mapped_field" else 1
        # A commit that can be seen late is waited for: by the clock of the sandbox.
        self.late_s = int(dialects.get("salesforce", {}).get("late_commit_s", 0))
        # A merged contact that no list shows is met by a sweep alone; until then the survivor looks new.
        self.sweeps = dialects.get("xero", {}).get("merged_contacts") == "hidden"
        pair.enable_writes()

    def until_rest(self, what: str) -> int:
        """Plan and apply until nothing is to do; gives how many applies it took."""
        self._wait()
        planned = self.pair.plan(full=self.sweeps)
        for done in range(MOST_ROUNDS + 1):
            if not planned.waits:
                if planned.conflicts.height:
                    self.wrong.append(f"{what}: conflicts in {planned.conflicts['unit'].to_list()}")
                if done > self.rounds:
                    self.wrong.append(f"{what}: {done} applies until rest")
                self._judge_full_sweep(what)
                return done
            if done == MOST_ROUNDS:
                break
            self._apply(what, planned)
            self._judge_at_once(what, planned)
            self._wait()
            planned = self.pair.plan()
            if planned.waits and done + 1 == self.rounds:
                self.wrong.append(f"{what}: planned again: {brief(planned)[:4]}")
        return MOST_ROUNDS

    def _wait(self) -> None:
        if self.late_s:
            self.pair.control("salesforce", "POST", "clock", {"move_s": self.late_s + 1})

    def _judge_at_once(self, what: str, planned: Planned) -> None:
        """Before a late commit can be seen, its old value must not be taken for a change."""
        if self.late_s and self.rounds == 1:  # automation's own change may be seen, and planned, at any time
            early = self.pair.plan()
            if early.waits:
                self.wrong.append(f"{what}: planned before the commit was seen: {brief(early)[:4]}")

    def _judge_full_sweep(self, what: str) -> None:
        swept = self.pair.plan(full=True)
        if swept.waits:
            self.wrong.append(f"{what}: a full sweep plans {brief(swept)[:4]}")

    def _apply(self, what: str, planned: Planned) -> None:
        marks = self.pair.marks()
        outcomes = self.pair.apply(planned)
        for row in outcomes.filter(~pl.col("outcome").is_in(["confirmed", "adopted"])).to_dicts():
            keys = ("system", "record_id", "unit", "outcome", "message")
            self.wrong.append(f"{what}: " + " ".join(str(row[key]) for key in keys))
        named = {str(row["record_id"]).removesuffix(":primary") for row in planned.operations.to_dicts()}
        for write in self.pair.writes(marks):
            for verb, kind, record_id, *_ in write["changes"] or ():
                if verb != "create" and record_id not in named:
                    made = {change[2] for w in self.pair.writes(marks) for change in w["changes"] or ()
                            if change[0] == "create"}  # fmt: skip
                    if record_id not in made:
                        self.wrong.append(f"{what}: {verb} of {kind} {record_id}, which no plan named")

    def edit(self) -> None:
        """What two people do in one morning: change, clear, archive, merge, on both sides."""
        here, there = self.pair.in_salesforce, self.pair.in_xero
        here.change(account_id(1), Phone=" 020 7946 1001 ", BillingStreet="1 High St\r\n2nd Floor  ")
        here.change(account_id(2), Billing_Email__c="AP@Birch.example")
        here.change(account_id(3), Name="Cedar Trading (UK)", Phone=None)
        here.change(f"003{4:012d}AAA", Email="Di.New@Dogwood.example", LastName="Dogwood-Smith")
        here.change(account_id(5), **small_books.billing("5 Elm St\nFloor 3\nRear\nLeft\nBell 9"))
        there.change(contact_id(6), EmailAddress="Flo.Fir@fir.example", FirstName="Florence", LastName="Fir")
        there.change(contact_id(7), Name="Gum (Texas)")
        there.change(
            contact_id(4), Phones=phones(FAX="", DEFAULT="+44 113 496 0444"),
            Addresses=[address("POBOX", "77  Main St", "Suite 9", City="Austin", Region="TX",
                                  PostalCode="78702", Country="USA")],
        )  # fmt: skip
        there.change(contact_id(1), AccountNumber=" ALD-1 ")
        there.archive(contact_id(2))
        survivor = there.make(Name="Holly Nurseries Group")
        there.merge(loser=contact_id(8), survivor=survivor)

    def judge_values(self) -> None:
        """Every edit has reached the other side, in whatever form that side keeps it."""
        rows, contacts = self.pair.dump("salesforce"), self.pair.dump("xero")
        one, three, four, five = (contacts[contact_id(number)] for number in (1, 3, 4, 5))
        leading = {"442079461001", "02079461001"}
        facts = {
            "phone to Xero": phone(one) in leading,
            "street to Xero": "2nd Floor" in json.dumps(one),
            "name to Xero": three["Name"] == "Cedar Trading (UK)",
            "cleared phone to Xero": phone(three) == "",
            "e-mail of the person to Xero": four["EmailAddress"].lower() == "di.new@dogwood.example",
            "last name to Xero": four["LastName"] == "Dogwood-Smith",
            "five lines to Xero": "Bell 9" in json.dumps(five),
            "phone to Salesforce": digits(rows[account_id(4)]["Phone"])[-9:] == "134960444",
            "first name to Salesforce": rows[f"003{6:012d}AAA"]["FirstName"] == "Florence",
            "e-mail to Salesforce": rows[f"003{6:012d}AAA"]["Email"].lower() == "flo.fir@fir.example",
            "address to Salesforce": rows[account_id(4)]["BillingPostalCode"] == "78702",
            "name to Salesforce": rows[account_id(7)]["Name"] == "Gum (Texas)",
            "number to Salesforce": rows[account_id(1)]["AccountNumber"] == "ALD-1",
            "status to Salesforce": rows[account_id(2)]["Xero_Status__c"] == "archived",
            "survivor to Salesforce": rows[account_id(8)]["ExternalID__c"] not in (None, contact_id(8)),
        }
        self.wrong += [f"not carried: {name}" for name, holds in facts.items() if not holds]

    def judge_creates(self) -> None:
        made = self.pair.created()
        counts = Counter("xero" if "-" in record_id else "salesforce" for _, record_id in made)
        expected = {"salesforce": small_books.MADE_IN_SALESFORCE, "xero": small_books.MADE_IN_XERO}
        if counts != expected:
            self.wrong.append(f"made {dict(counts)}, expected {expected}")
        numbers = Counter(
            row["ContactNumber"]
            for row in self.pair.dump("xero").values()
            if row.get("ContactNumber") and row["ContactStatus"] == "ACTIVE"
        )
        external = Counter(
            row["ExternalID__c"]
            for row in self.pair.dump("salesforce").values()
            if row.get("ExternalID__c") and not row["IsDeleted"]
        )
        for value, count in [*numbers.items(), *external.items()]:
            if count > 1:
                self.wrong.append(f"{count} records carry {value}")

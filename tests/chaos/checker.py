"""Judges one world by what the vendors saw, what people did, and the plans that were published.

It imports nothing of the product and nothing of the sandbox, and never reads the journal. The rules are those
of docs/protocol.md and of the merge table in DESIGN.md, written down anew:

    twice       one live record for each natural key, and for each record that it was made from
    lost        what a person changed last arrives on the other side, or stands in a report
    unplanned   every write carries what an approved plan says of that record, and no more
    overwritten no value of a person disappears under a write of ours without a report
    read_only   no write leaves while writes are not enabled
    fence       no write leaves under a fencing number once a newer one was given out
    triangle    the ids of a pair name each other
    moved       where invoices follow their sales: what is invoiced of a sale is what it comes to
    amounts     an invoice is of its sale's amount, a payment of the amount that was taken
    invariant   the product never finds one of its own invariants broken
    unsettled   the product knows what became of every write; a plan after the last one has nothing to do
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

Body = dict[str, Any]


@dataclass(frozen=True)
class Violation:
    """A rule that does not hold, and where."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


@dataclass(frozen=True)
class Evidence:
    """What the judge may see.

    logs, dumps: by side, as the sandbox gives them at the end. events: what people did and what the scenario
    did, in order of seq. wire: the product's requests with their bodies, in order. plans: the folder in which
    plans are published. reports: what each command said.
    """

    logs: Mapping[str, list[Body]]
    dumps: Mapping[str, list[Body]]
    events: list[Body]
    wire: list[Body]
    reports: list[Body]
    plans: Path
    ours: Mapping[str, str]  # our client's name in each log
    invoices: bool = False  # whether sales become invoices in this world
    moves: bool = False  # whether their invoices follow them
    today: str = ""  # the last day that the world saw
    made: Mapping[str, Any] | None = None  # what is made of what, in a world that has more than these

    @cached_property
    def records(self) -> dict[str, Body]:
        """By id: a Salesforce row or a Xero contact."""
        rows = [row for side in ("salesforce", "xero") for row in self.dumps[side]]
        return {
            str(
                row.get("CreditNoteID")
                or row.get("PaymentID")
                or row.get("InvoiceID")
                or row.get("ContactID")
                or row.get("Id")
            ): row
            for row in rows
            if _kind(row)
        }


def judge(evidence: Evidence) -> list[Violation]:
    """Give every violation, in a stable order."""
    plans = Plans(evidence)
    found: list[Violation] = []
    for rule in (twice, triangle, lost, invoiced, moved, paid, unplanned, read_only, fence, unsettled):
        found += rule(evidence, plans)
    return found


# --- what a record holds, unit by unit -------------------------------------------------------------------

ADDRESS = {"billing_address": ("Billing", "POBOX"), "shipping_address": ("Shipping", "STREET")}
PLAIN = {  # unit -> (Salesforce, Xero)
    "name": ("Name", "Name"),
    "email": ("Billing_Email__c", "EmailAddress"),
    "tax_number": ("Tax_Number__c", "TaxNumber"),
    "company_number": ("Company_Number__c", "CompanyNumber"),
    "account_number": ("AccountNumber", "AccountNumber"),
    "person_email": ("Email", "EmailAddress"),
    "person_name": ("LastName", "LastName"),
}
PHONES = {"phone": ("Phone", "DEFAULT"), "fax": ("Fax", "FAX")}
UNITS = (*PLAIN, *PHONES, *ADDRESS)


def text_of(unit: str, side: str, record: Mapping[str, Any]) -> str:
    """Give what a record holds in a unit, in small letters; of a phone the digits; "" for nothing."""
    place = 0 if side == "salesforce" else 1
    if unit in PHONES:
        return _digits(_phone(record, side, PHONES[unit][place]))
    if unit in ADDRESS:
        return _address(record, side, ADDRESS[unit][place])
    return str(record.get(PLAIN[unit][place]) or "").strip().casefold()


def _phone(record: Mapping[str, Any], side: str, name: str) -> str:
    if side == "salesforce":
        return str(record.get(name) or "")
    slots = (slot for slot in record.get("Phones") or () if slot.get("PhoneType") == name)
    parts = ("PhoneCountryCode", "PhoneAreaCode", "PhoneNumber")
    return "".join(str(slot.get(part) or "") for slot in slots for part in parts)


def _address(record: Mapping[str, Any], side: str, name: str) -> str:
    if side == "salesforce":
        parts = ("Street", "City", "State", "PostalCode", "Country")
        found = [record.get(f"{name}{part}") for part in parts]
    else:
        slots = [slot for slot in record.get("Addresses") or () if slot.get("AddressType") == name]
        parts = (*(f"AddressLine{n}" for n in range(1, 5)), "City", "Region", "PostalCode", "Country")
        found = [slot.get(part) for slot in slots for part in parts]
    return " ".join(str(part).casefold() for part in found if part)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def holds(text: str, token: str) -> bool:
    """Say whether a value is the one that a person wrote; an empty token is a cleared unit."""
    return token in text if token else not text


def _kind(row: Mapping[str, Any]) -> str:
    if "AllocationID" in row:
        return ""
    if "CreditNoteID" in row:
        return "credit"
    if "PaymentID" in row:
        return "payment"
    if "InvoiceID" in row:
        return "bill" if row.get("Type") == "ACCPAY" else "invoice"
    if "ContactID" in row and "attributes" not in row:
        return "xero"
    return str((row.get("attributes") or {}).get("type") or "")


def _live(row: Mapping[str, Any]) -> bool:
    if _kind(row) in ("invoice", "bill", "payment", "credit"):
        return row.get("Status") not in ("VOIDED", "DELETED")
    if _kind(row) == "xero":
        return row.get("ContactStatus") == "ACTIVE"
    return not row.get("IsDeleted")


# --- the plans, as published -----------------------------------------------------------------------------

REPORTS = ("conflicts", "drift", "review", "rejects", "unmatched")


class Plans:
    """Plans by hash, and which were approved when."""

    def __init__(self, evidence: Evidence) -> None:
        self._folder = evidence.plans
        self._kept: dict[tuple[str, str], list[Body]] = {}
        self.approved = [
            (event["seq"], event["plan"]) for event in evidence.events if event["kind"] == "approved"
        ]
        made = [row for row in evidence.reports if row["plan"] and row["command"] == "plan"]
        self.sealed = [row["plan"] for row in made]
        # A plan whose making died after it was sealed is published too, if somebody could approve it.
        self.published = [*((row["ended"], row["plan"]) for row in made), *self.approved]

    def table(self, plan: str, name: str) -> list[Body]:
        if (plan, name) not in self._kept:
            file = self._folder / (f"{plan}.parquet" if name == "operations" else f"{plan}.{name}.parquet")
            rows = pl.read_parquet(file).to_dicts() if file.exists() else []
            self._kept[plan, name] = rows
        return self._kept[plan, name]

    def operations(self, *, before: int) -> Iterator[Body]:
        """The operations of every plan that was approved by then."""
        for plan in dict.fromkeys(plan for seq, plan in self.approved if seq <= before):
            yield from self.table(plan, "operations")

    @cached_property
    def last(self) -> str | None:
        return self.sealed[-1] if self.sealed else None

    def named(self, plans: Iterable[str]) -> dict[str, set[str]]:
        """By record id: the units that these plans' reports name ("*": the record as a whole)."""
        found: dict[str, set[str]] = defaultdict(set)
        for plan in plans:
            for name in REPORTS:
                for row in self.table(plan, name):
                    unit = str(row.get("unit") or "*") if name != "unmatched" else "*"
                    for key in ("salesforce_id", "xero_id", "record_id"):
                        if row.get(key):
                            found[str(row[key]).removesuffix(":primary")].add(unit)
        return found


# --- the rules -------------------------------------------------------------------------------------------


def twice(evidence: Evidence, _: Plans) -> list[Violation]:
    """One live record for each natural key and each source; nobody's key is held by two."""
    found = []
    keys = {
        "xero": "ContactNumber",
        "invoice": "InvoiceNumber",
        "credit": "CreditNoteNumber",
        "Account": "ExternalID__c",
        "Contact": "ExternalID__c",
    }
    for kind, key in keys.items():
        held = Counter(
            str(row[key]).casefold()
            for row in evidence.records.values()
            if _kind(row) == kind and _live(row) and row.get(key)
        )
        found += [
            Violation("twice", f"{count} live {kind} carry {key} {value}")
            for value, count in sorted(held.items())
            if count > 1
        ]
    allowed = Counter[tuple[str, str]]()
    for event in evidence.events:
        if event["kind"] in ("there", "make"):
            allowed[event["object"], event["word"]] += 1
        elif event["kind"] == "merge" and event["side"] == "salesforce":
            # The people of a company that was merged away go to another one. Where it had never been linked, Xero's
            # contact is a company without a partner, and is made again with the person that stands in it.
            merged = evidence.records.get(event["record_id"], {})
            if merged.get("IsDeleted") and not merged.get("ExternalID__c"):
                allowed["Contact", event["word"]] += 1
    for kind in ("xero", "Account", "Contact"):
        live = Counter(
            word
            for row in evidence.records.values()
            if _kind(row) == kind and _live(row) and (word := _word(row))
        )
        for word, count in sorted(live.items()):
            if count > max(1, allowed[kind, word]):
                found.append(
                    Violation("twice", f"{count} live {kind} are {word}; people made {allowed[kind, word]}")
                )
    return found


def _word(row: Mapping[str, Any]) -> str:
    """The word by which a party or person is known, whatever happens to its names."""
    text = str(row.get("Name") or "") if _kind(row) != "Contact" else str(row.get("LastName") or "")
    found = re.search(r"[a-z]+\d+w", text.casefold())
    return found[0] if found else ""


def triangle(evidence: Evidence, plans: Plans) -> list[Violation]:
    """ExternalID__c and ContactNumber of a pair name each other, or a report tells why not."""
    found = []
    told = plans.named(plans.sealed[-1:])
    for row in evidence.records.values():
        if _kind(row) != "Account" or not _live(row) or not row.get("ExternalID__c"):
            continue
        there = evidence.records.get(str(row["ExternalID__c"]).casefold())
        if there is None or not _live(there) or told.get(row["Id"]) or told.get(there["ContactID"]):
            continue
        number = str(there.get("ContactNumber") or "")
        if number.casefold() != row["Id"].casefold():
            found.append(
                Violation(
                    "triangle", f"{row['Id']} names {there['ContactID']}, which names {number or 'nothing'}"
                )
            )
    return found


def lost(evidence: Evidence, plans: Plans) -> list[Violation]:
    """Follow each edit of a person to the other side, to the edit that replaced it, or to a report.

    An edit is superseded by a later one of the same unit whose author saw its value: on the same side always,
    on the other only if it had been carried there.
    """
    history = _History(evidence, plans)
    found = []
    for edit in history.edits:
        why = history.what_became_of(edit)
        if why is not None:
            found.append(
                Violation(
                    "lost", f"{edit['side']} {edit['record_id']} {edit['unit']} (event {edit['seq']}): {why}"
                )
            )
    return found


class _History:
    def __init__(self, evidence: Evidence, plans: Plans) -> None:
        self._evidence, self._plans = evidence, plans
        self.edits = [event for event in evidence.events if event["kind"] == "edit"]
        self._by_unit: dict[tuple[str, str], list[Body]] = defaultdict(list)
        for edit in self.edits:
            self._by_unit[edit["word"], edit["unit"]].append(edit)
        self._plans = plans
        self._decided = [event for event in evidence.events if event["kind"] == "decided"]
        self._troubled = {
            event["word"] for event in evidence.events if event["kind"] in ("archive", "delete", "merge")
        }
        self._told_last = plans.named(plans.sealed[-1:])
        self._pairs = self._pair_up()

    def _pair_up(self) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for row in self._evidence.records.values():
            if _kind(row) in ("Account", "Contact") and _live(row) and row.get("ExternalID__c"):
                there = str(row["ExternalID__c"]).removesuffix(":primary").casefold()
                if there in self._evidence.records and _live(self._evidence.records[there]):
                    pairs[row["Id"]] = there
                    pairs.setdefault(f"{_kind(row)}|{there}", row["Id"])
        for row in self._evidence.records.values():  # one of the two ids is enough to know whose value it was
            account = self._evidence.records.get(str(row.get("ContactNumber") or ""))
            if _kind(row) == "xero" and _live(row) and account is not None and _live(account):
                pairs.setdefault(f"Account|{row['ContactID']}", account["Id"])
                pairs.setdefault(account["Id"], row["ContactID"])
        return pairs

    def what_became_of(self, edit: Body) -> str | None:
        """Say how an edit was lost; null where it was not."""
        if edit["word"] in self._troubled or self._superseded(edit) or self._lost_a_decision(edit):
            return None
        own = self._evidence.records.get(edit["record_id"])
        if own is None or not _live(own):
            return None
        other = self._partner(edit)
        ids = {edit["record_id"], other} - {None}
        here = holds(text_of(edit["unit"], edit["side"], own), edit["token"])
        if not here:
            if self._told_ever(ids, edit) or self._filled(edit) or self._went_with_the_journal(edit):
                return None
            if self._filled_by_the_org(edit, other):
                return None
            if self._passed_the_condition(edit):
                return None
            return "it was overwritten, and no report tells"
        if other is None:
            return (
                None
                if self._told_now(ids, edit["unit"])
                else "its record has no partner, and no report tells"
            )
        there = text_of(edit["unit"], _opposite(edit["side"]), self._evidence.records[other])
        if holds(there, edit["token"]) or self._told_now(ids, edit["unit"]):
            return None
        return f"it has not arrived at {other}, and no report tells"

    def _passed_the_condition(self, edit: Body) -> bool:
        """In Salesforce: stamped in the very second of the change before it, and seen later than that.

        A guarded write asks for that second, and whole seconds are all that the condition compares: the protocol
        names it among what can't be prevented.
        """
        stamp = edit.get("stamped")
        if not stamp or stamp[:19] != edit["stamped_before"][:19]:
            return False
        moment = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC)
        asked = format_datetime(moment, usegmt=True)
        return any(
            part["url"].endswith(f"/{edit['record_id']}")
            and part.get("httpHeaders", {}).get("If-Unmodified-Since") == asked
            for row in self._evidence.wire
            if row["kind"] == "write" and row["seq"] > edit["seq"]
            for part in (row["body"] or {}).get("compositeRequest", ())
        )

    def _went_with_the_journal(self, edit: Body) -> bool:
        """In Xero, where no condition guards: the journal that knew of the write was lost before it was audited."""
        losses = [
            event["seq"]
            for event in self._evidence.events
            if event["kind"] == "journal_lost" and event["seq"] > edit["seq"]
        ]
        if edit["side"] != "xero" or not losses:
            return False
        audited = [
            report
            for report in self._evidence.reports
            if report["command"] == "apply" and edit["seq"] < report["ended"] < min(losses)
            if not report["crashed"] and (not report["error"] or "Incident" in report["error"])
        ]
        return not audited

    def _filled(self, edit: Body) -> bool:
        """A blank may be filled at the first meeting, by an approved plan."""
        return not edit["token"] and any(
            row["phase"] == "fill"
            and str(row["record_id"]).removesuffix(":primary") == edit["record_id"]
            and _names({row["unit"]}, edit["unit"])
            for row in self._plans.operations(before=10**9)
        )

    def _filled_by_the_org(self, edit: Body, other: str | None) -> bool:
        """A flow of the org copies Phone into a blank Fax whenever Phone is written: a change there like any other."""
        account = self._evidence.records.get(other or "", {})
        fax = account.get("Fax")
        return not edit["token"] and edit["unit"] == "fax" and bool(fax) and fax == account.get("Phone")

    def _partner(self, edit: Body) -> str | None:
        if edit["side"] == "salesforce":
            return self._pairs.get(edit["record_id"])
        kind = "Contact" if edit["unit"].startswith("person_") else "Account"
        return self._pairs.get(f"{kind}|{edit['record_id']}")

    def _superseded(self, edit: Body) -> bool:
        return any(
            later["seq"] > edit["seq"]
            and (
                (later["side"], later["record_id"]) == (edit["side"], edit["record_id"])
                or holds(later["seen"], edit["token"])
                or self._stood_in_a_report(edit, later)
            )
            for later in self._by_unit[edit["word"], edit["unit"]]
        )

    def _stood_in_a_report(self, edit: Body, later: Body) -> bool:
        """At the first meeting both sides are taken as found, and the difference is told.

        From then on the merge table holds: who changes one side then, changes the other too.
        """
        plans = [plan for ended, plan in self._plans.published if edit["seq"] < ended < later["seq"]]
        return any(
            row["why"] == "as_found"
            and edit["record_id"] in (row["salesforce_id"], str(row["xero_id"]).removesuffix(":primary"))
            and _names({row["unit"]}, edit["unit"])
            for plan in plans
            for row in self._plans.table(plan, "drift")
        )

    def _lost_a_decision(self, edit: Body) -> bool:
        """Somebody decided for the other side's value, with this one before their eyes."""
        return any(
            event["seq"] > edit["seq"] and (event["word"], event["unit"]) == (edit["word"], edit["unit"])
            for event in self._decided
        )

    def _told_now(self, ids: set[str], unit: str) -> bool:
        return any(_names(self._told_last.get(record_id, set()), unit) for record_id in ids)

    def _told_ever(self, ids: set[str], edit: Body) -> bool:
        """An incident that names record and unit, after the edit."""
        for report in self._evidence.reports:
            if report["ended"] < edit["seq"]:
                continue
            if any(record_id in (report["message"] or "") for record_id in ids):
                return True
            for row in report["audit"]:
                named = {
                    str(row.get(key) or "").removesuffix(":primary")
                    for key in ("record_id", "salesforce_id", "xero_id")
                }
                if named & ids and _names(set(str(row.get("unit") or "*").split(", ")), edit["unit"]):
                    return True
        return False


CUT_OVER = "2026-11-01"


def invoiced(evidence: Evidence, plans: Plans) -> list[Violation]:
    """Each sale that was won since the cut-over has one invoice of its amount, named on it, or a report tells."""
    if evidence.made is not None:
        return []  # checker_made.py looks at those
    found = []
    told = plans.named(plans.sealed[-1:])
    thrown_away = {event["record_id"] for event in evidence.events if event["kind"] == "void"}
    by_sale: dict[str, list[Body]] = defaultdict(list)
    reserved = {
        str(row["Xero_Invoice_Number__c"]).upper(): row["Id"].upper()
        for row in evidence.records.values()
        if _kind(row) == "Opportunity" and row.get("Xero_Invoice_Number__c")
    }
    for row in evidence.records.values():
        if _kind(row) == "invoice" and _live(row):
            by_sale[_sale_of(row) or reserved.get(str(row.get("InvoiceNumber")).upper(), "")].append(row)
    for row in evidence.records.values():
        if _kind(row) != "Opportunity" or not _live(row):
            continue
        mine = by_sale[row["Id"].upper()]
        if len(mine) > 1:
            found.append(Violation("twice", f"{len(mine)} live invoices are of {row['Id']}"))
        due = evidence.invoices and row.get("IsWon") and str(row.get("CloseDate")) >= CUT_OVER
        if evidence.moves:
            continue  # what these come to, `moved` looks at
        if not due and mine and not row.get("IsWon"):
            found.append(Violation("unplanned", f"{row['Id']} was not won, and has an invoice"))
        if not due or told.get(row["Id"]) or (not mine and row.get("Xero_Invoice_ID__c") in thrown_away):
            continue
        if len(mine) != 1:
            found.append(
                Violation("lost", f"{row['Id']} was won, has {len(mine)} invoices, and no report tells")
            )
            continue
        differs = Decimal(str(mine[0]["SubTotal"])) != Decimal(str(row["Amount"]))
        if differs and not _incident_names(evidence, mine[0]["InvoiceID"]):
            found.append(
                Violation(
                    "amounts", f"{row['Id']} is of {row['Amount']}, its invoice of {mine[0]['SubTotal']}"
                )
            )
        if str(row.get("Xero_Invoice_ID__c")).casefold() != mine[0]["InvoiceID"].casefold():
            found.append(
                Violation(
                    "triangle",
                    f"{row['Id']} names invoice {row.get('Xero_Invoice_ID__c')}, not {mine[0]['InvoiceID']}",
                )
            )
    return found


def asked_of(rejects: Iterable[Body]) -> set[str]:
    """The sales whose invoices a plan asks about: it tells the command that answers."""
    told = (
        re.search(r"reconcile resolve (\w{18}(?::\w+)?) invoice --take", str(row["reason"]))
        for row in rejects
    )
    return {found[1] for found in told if found}


def moved(evidence: Evidence, plans: Plans) -> list[Violation]:
    """What is invoiced of a sale, less what was credited of it, is what it comes to, or a report tells.

    It comes to nothing unless it is won since the cut-over. What a person decided to let stand is let stand, and
    what somebody credits by hand makes up for nothing, but for the whole: only notes of ours carry the sale in their
    number.
    """
    if not evidence.moves:
        return []
    told = plans.named(plans.sealed[-1:])
    let = {
        event["record_id"]
        for event in evidence.events
        if event["kind"] == "answered" and event["take"] == "neither"
    }
    by_number = {
        str(row["InvoiceNumber"]).upper(): row for row in evidence.records.values() if _kind(row) == "invoice"
    }
    claimed: dict[str, Decimal] = defaultdict(Decimal)
    ids: dict[str, list[str]] = defaultdict(list)
    sales = [row for row in evidence.records.values() if _kind(row) == "Opportunity"]
    by_invoice = {str(row.get("Xero_Invoice_ID__c")).casefold(): row["Id"].upper() for row in sales}
    for row in evidence.records.values():
        if _kind(row) not in ("invoice", "credit") or not _live(row):
            continue
        note = re.search(r"([A-Z0-9]{18})-C", str(row.get("CreditNoteNumber")).upper())
        if _kind(row) == "credit" and not note:
            continue
        of = row if _kind(row) == "invoice" else by_number.get(str(row.get("Reference")).upper())
        due = Decimal(str(of.get("Total") or 0)) if of is not None and _live(of) else Decimal(0)
        if due and Decimal(str(of.get("AmountCredited") or 0)) == due:
            continue  # credited whole, by whomever: it claims nothing any more
        # A note of ours takes from its sale also where its invoice does not stand any more.
        sale = note[1] if note else _sale_of(row) or by_invoice.get(str(row["InvoiceID"]).casefold(), "")
        claimed[sale] += Decimal(str(row["SubTotal"])) * (-1 if note else 1)
        ids[sale].append(str(row.get("CreditNoteID") or row["InvoiceID"]))
    found = []
    for row in sales:
        sale, shown = row["Id"].upper(), str(row.get("Xero_Invoice_ID__c")).casefold()
        if told.get(row["Id"]) or row["Id"] in let or any(told.get(one) for one in ids[sale]):
            continue
        due = _live(row) and row.get("IsWon") and str(row.get("CloseDate")) >= CUT_OVER
        wanted = Decimal(str(row.get("Amount") or 0)) if due else Decimal(0)
        if claimed[sale] != wanted and not any(_incident_names(evidence, one) for one in ids[sale]):
            found.append(
                Violation("moved", f"{row['Id']} comes to {wanted}, invoiced of it is {claimed[sale]}")
            )
        if due and ids[sale] and shown not in map(str.casefold, ids[sale]):
            found.append(Violation("triangle", f"{row['Id']} names invoice {shown}, and has {ids[sale]}"))
    return found


MONEY_CUT_OVER = "2026-11-10"


def paid(evidence: Evidence, plans: Plans) -> list[Violation]:
    """Money that was taken has one payment of its amount against its sale's invoice, or a report tells.

    What was recorded once is not recorded again, whatever became of it. No invoice is paid beyond its total.
    """
    found = []
    told = plans.named(plans.sealed[-1:])
    by_money: dict[str, list[Body]] = defaultdict(list)
    of_invoice: Counter[str] = Counter()
    for row in evidence.records.values():
        if _kind(row) == "payment":
            mark = re.fullmatch(r"SF-([A-Z0-9]{18})", str(row.get("Reference") or "").upper())
            by_money[mark[1] if mark else ""].append(row)
            if _live(row):
                of_invoice[str(row["Invoice"]["InvoiceID"]).casefold()] += Decimal(str(row["Amount"]))
    for row in evidence.records.values():
        if _kind(row) == "invoice" and of_invoice[str(row["InvoiceID"]).casefold()] > Decimal(
            str(row["Total"])
        ):
            found.append(
                Violation("amounts", f"{row['InvoiceID']} is paid beyond its total of {row['Total']}")
            )
        if _kind(row) != "Money__c":
            continue
        mine = by_money[row["Id"].upper()]
        if len(mine) > 1:
            found.append(Violation("twice", f"{len(mine)} payments were made of {row['Id']}"))
        day, amount = str(row.get("Taken_On__c") or ""), Decimal(str(row.get("Amount__c") or 0))
        due = _live(row) and row.get("State__c") == "Received" and MONEY_CUT_OVER <= day <= evidence.today
        if told.get(row["Id"]) or not (due or mine):
            continue
        shown = str(row.get("Xero_Payment_ID__c") or "").casefold()
        by_hand = evidence.records.get(shown) if shown else None
        standing = [*mine, *([by_hand] if by_hand and by_hand not in mine else [])]
        if len(standing) != 1:
            found.append(
                Violation("lost", f"{row['Id']} was taken, has {len(standing)} payments, and no report tells")
            )
        elif due and _live(standing[0]) and Decimal(str(standing[0]["Amount"])) != amount:
            found.append(
                Violation("amounts", f"{row['Id']} is of {amount}, its payment of {standing[0]['Amount']}")
            )
        elif due != _live(standing[0]):
            found.append(
                Violation(
                    "lost", f"{row['Id']} and its payment differ in whether they stand, and no report tells"
                )
            )
        elif shown != str(standing[0]["PaymentID"]).casefold() and _live(row):
            found.append(Violation("triangle", f"{row['Id']} shows payment {shown or 'none'}"))
    return found


def _incident_names(evidence: Evidence, record_id: str) -> bool:
    told = [row["record_id"] for report in evidence.reports for row in report["audit"] if row["incident"]]
    texts = [report["message"] or "" for report in evidence.reports]
    return record_id in told or any(record_id in text for text in texts)


def _sale_of(invoice: Body) -> str:
    """The opportunity of an invoice, by the key that it carries (SF- and the id of 18 characters)."""
    for key in ("InvoiceNumber", "Reference"):
        number = re.match(r"SF-([A-Z0-9]{18})", str(invoice.get(key) or "").upper())
        if number:
            return number[1]
    return ""


def source_of(body: Body) -> str:
    """What a new document is of, by its key, as operations name it: a sale, a part, a month, or a bill's record."""
    if body.get("Type") == "ACCPAY":
        bill = re.search(r"SF-([A-Z0-9]{18})$", str(body.get("InvoiceNumber") or "").upper())
        return bill[1] if bill else ""
    whole = _sale_of(body)
    slot = re.match(rf"SF-{whole}-({SLOT})(?:-|$)", str(body.get("InvoiceNumber") or "").upper())
    return f"{whole}:{slot[1]}" if whole and slot else whole


SLOT = r"P[1-9]|M[0-9]{6}[A-Z]{3}"


def _names(units: set[str], unit: str) -> bool:
    plain = unit.removeprefix("person_")
    return bool(units & {"*", "record", "reference", plain, unit})


def _opposite(side: str) -> str:
    return "xero" if side == "salesforce" else "salesforce"


def unplanned(evidence: Evidence, plans: Plans) -> list[Violation]:
    """Each element of each write that a vendor got says what an approved plan says of that record."""
    found = []
    for entry in evidence.wire:
        if entry["kind"] != "write" or not entry["n"]:
            continue
        operations = list(plans.operations(before=entry["seq"]))
        for record_id, body in _elements(entry):
            why = _not_in_plan(entry["side"], record_id, body, operations)
            if why:
                found.append(Violation("unplanned", f"request {entry['seq']} to {entry['side']}: {why}"))
    return found


def _elements(entry: Body) -> Iterator[tuple[str | None, Body]]:
    """(record id or null, fields) of each record that a request writes."""
    body = entry["body"]
    group = re.search(r"/ContactGroups/([\w-]+)/Contacts(?:/([\w-]+))?$", entry["target"].partition("?")[0])
    if group:
        contacts = [group[2]] if group[2] else [one["ContactID"] for one in body["Contacts"]]
        yield from ((f"{group[1]}/{one}", {"Member": not group[2]}) for one in contacts)
        return
    if entry["side"] == "xero":
        for element in (next(iter(body.values())) if isinstance(body, dict) else body) or ():
            own = "InvoiceID" if "/Invoices" in entry["target"] else "ContactID"
            own = "PaymentID" if "/Payments" in entry["target"] else own
            own = "CreditNoteID" if "/CreditNotes" in entry["target"] else own
            yield element.get(own), {k: v for k, v in element.items() if k != own}
        return
    if isinstance(body, dict) and "records" in body:
        for row in body["records"]:
            yield (
                row.get("id") or row.get("Id"),
                {k: v for k, v in row.items() if k not in ("id", "Id", "attributes")},
            )
        return
    for one in body["compositeRequest"]:
        yield one["url"].rsplit("/", 1)[-1], one["body"]


def _not_in_plan(side: str, record_id: str | None, body: Body, operations: list[Body]) -> str | None:
    mine = [one for one in operations if one["system"] == side]
    if record_id is None:
        made = [one for one in mine if one["action"] == "create"]
        key = source_of(body) or str(body.get("ContactNumber") or body.get("ExternalID__c") or "")
        name = "CreditNoteNumber" if "CreditNoteNumber" in body else "InvoiceNumber"
        # Of one sale there may be an invoice and several credit notes: those go by their own number alone.
        key = "" if name == "CreditNoteNumber" else key
        number = body.get(name) if not key else None
        made = [
            one
            for one in made
            if (number and _native(one).get(name) == number)
            or (key and str(one["source_id"]).upper() == key.upper())
        ]
        if not made:
            return f"a new record for {key or number or 'nobody'}, which no approved plan makes"
        if "LineItems" in body and not any(_sums(one) == _sums(body) for one in map(_native, made)):
            return f"an invoice for {key} with other lines than the plan's"
        if "Amount" in body and not any(_paying(_native(one)) == _paying(body) for one in made):
            return f"a payment for {key} that says something else than the plan's"
        return None
    about = [one for one in mine if _same_id(one["record_id"], record_id) or _made_as(one)]
    planned = (
        set().union(*(_leaves(json.loads(one["native_after"] or "{}")) for one in about)) if about else set()
    )
    for name, value in sorted(_leaves(body)):
        if (name, value) not in planned and not any(n == name and "$from" in v for n, v in planned):
            if name.split(".")[-1] in ("PhoneType", "AddressType"):
                continue
            return f"{name} of {record_id} is set to something that no approved plan says"
    return None


def _native(operation: Body) -> Body:
    return json.loads(operation["native_after"] or "{}", parse_float=Decimal)


def _sums(invoice: Body) -> list[tuple[Decimal, Decimal, Decimal]]:
    lines = invoice.get("LineItems") or ()
    return [
        tuple(Decimal(str(line.get(key) or 0)) for key in ("Quantity", "UnitAmount", "DiscountRate"))
        for line in lines
    ]


def _paying(payment: Body) -> tuple[Any, ...]:
    named = (payment["Invoice"]["InvoiceID"], payment["Account"]["AccountID"], payment["Date"])
    return (*named, Decimal(str(payment["Amount"])))


def _made_as(operation: Body) -> bool:
    """A follow-up of a record that the same plan makes: its id is known only afterwards."""
    return operation["record_id"] is None and operation["action"] != "create"


def _same_id(one: str | None, other: str) -> bool:
    return (
        str(one or "").removesuffix(":primary").casefold()[:15] == other.casefold()[:15]
        if len(other) < 20
        else str(one or "").removesuffix(":primary").casefold() == other.casefold()
    )


def _leaves(value: Any, path: str = "") -> set[tuple[str, str]]:
    """(path, value as text) of every plain value; elements of a list by their type, not their place."""
    if isinstance(value, dict):
        if "$from" in value:
            return {(path, "$from")}
        slot = str(value.get("PhoneType") or value.get("AddressType") or "")
        inside = f"{path}[{slot}]" if slot else path
        return (
            set().union(
                *(_leaves(inner, f"{inside}.{name}" if inside else name) for name, inner in value.items())
            )
            if value
            else set()
        )
    if isinstance(value, list):
        return set().union(*(_leaves(inner, path) for inner in value)) if value else set()
    return {(path, json.dumps(value, ensure_ascii=False))}


def read_only(evidence: Evidence, _: Plans) -> list[Violation]:
    """No write reaches a vendor while writes are not enabled."""
    found = []
    enabled = False
    marks = [event for event in evidence.events if event["kind"] in ("writes_on", "writes_off")]
    for entry in sorted(
        [*marks, *(row for row in evidence.wire if row["kind"] == "write" and row["n"])],
        key=lambda row: row["seq"],
    ):
        if entry["kind"] in ("writes_on", "writes_off"):
            enabled = entry["kind"] == "writes_on"
        elif not enabled:
            found.append(Violation("read_only", f"request {entry['seq']} wrote to {entry['side']}"))
    return found


def fence(evidence: Evidence, _: Plans) -> list[Violation]:
    """A process whose lease was taken over sends no write any more."""
    found = []
    newest = 0
    leases = [event for event in evidence.events if event["kind"] in ("lease", "journal_lost")]
    for entry in sorted(
        [*leases, *(row for row in evidence.wire if row["kind"] == "write")], key=lambda row: row["seq"]
    ):
        if entry["kind"] == "lease":
            newest = entry["fence"]
        elif entry["kind"] == "journal_lost":
            newest = 0
        elif (entry["fence"] or 0) < newest:
            found.append(
                Violation(
                    "fence", f"request {entry['seq']} under {entry['fence']}, after {newest} was given out"
                )
            )
    return found


def unsettled(evidence: Evidence, plans: Plans) -> list[Violation]:
    """When faults have stopped, the product comes to rest, knowing what became of everything."""
    found = []
    for report in evidence.reports:
        if report["bug"]:
            last = report["bug"].strip().splitlines()[-1]
            found.append(Violation("unsettled", f"{report['command']} of {report['machine']}: a bug: {last}"))
        if report["error"] and "InvariantBroken" in report["error"]:
            found.append(
                Violation("invariant", f"{report['command']} of {report['machine']}: {report['message']}")
            )
    calm = next((event["seq"] for event in evidence.events if event["kind"] == "calm"), None)
    after = [report for report in evidence.reports if calm is not None and report["began"] > calm]
    found += [
        Violation(
            "unsettled",
            f"{report['command']} fails in calm weather: {report['error'].split(' < ')[0]}: {report['message']}",
        )
        for report in after
        if report["error"] and not report["error"].startswith(("Overwritten", "Incident"))
    ]
    if after and plans.last is not None:
        left = plans.table(plans.last, "operations")
        if left:
            brief = sorted({f"{row['system']} {row['action']} {row['unit']}" for row in left})
            found.append(
                Violation("unsettled", f"the last plan still has {len(left)} operations: {', '.join(brief)}")
            )
    known: dict[str, str] = {}
    for report in evidence.reports:
        for row in report["outcomes"]:
            known[row["operation_id"]] = row["outcome"]
    ended_unknown = [
        row["operation_id"]
        for report in after
        for row in report["outcomes"]
        if row["outcome"] == "unknown" and known[row["operation_id"]] == "unknown"
    ]
    if ended_unknown and not any(report["command"] == "plan" for report in after):
        found.append(Violation("unsettled", f"{len(ended_unknown)} operations end unknown"))
    return found

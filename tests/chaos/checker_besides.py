"""Judges suppliers' bills and contact groups in worlds that have them; like `checker.py` it imports nothing of ours.

bills     a record that counts has one bill of its amount, never beside one that finance had entered
groups    contacts are in the groups that their Account names; nobody is taken out whom nobody asked to take out
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from tests.chaos.checker import CUT_OVER, Evidence, Plans, Violation, _incident_names, _kind, _live

Body = dict[str, Any]


# --- Suppliers' bills ------------------------------------------------------------------------------------


def bills(evidence: Evidence, plans: Plans) -> list[Violation]:
    """Each record that counts has one bill of its amount, shown on it; or the last plan tells why not."""
    found = []
    told = plans.named(plans.sealed[-1:])
    rows = list(evidence.records.values())
    by_record: dict[str, list[Body]] = defaultdict(list)
    for row in rows:
        number = re.search(r"SF-([A-Z0-9]{18})$", str(row.get("InvoiceNumber") or "").upper())
        if _kind(row) == "bill" and number:
            by_record[number[1]].append(row)
    records = {row["Id"].upper(): row for row in rows if _kind(row) == "Supplier_Bill__c"}
    found += [
        Violation("unplanned", f"a bill is of {one}, which nobody noted")
        for one in sorted(set(by_record) - set(records))
    ]
    for key, record in records.items():
        mine = by_record[key]
        if len(mine) > 1:
            found.append(Violation("twice", f"{len(mine)} bills were made of {record['Id']}"))
        due = _live(record) and record.get("Status__c") == "Approved"
        due = due and str(record.get("Received_On__c")) >= CUT_OVER
        if told.get(record["Id"]) or any(_incident_names(evidence, row["InvoiceID"]) for row in mine):
            continue
        if bool(due) != any(map(_live, mine)):
            found.append(
                Violation(
                    "lost", f"{record['Id']} and its bill differ in whether they stand, and no report tells"
                )
            )
        if not due or len(mine) != 1:
            continue
        if Decimal(str(mine[0]["SubTotal"])) != Decimal(str(record["Amount__c"])):
            found.append(
                Violation(
                    "amounts",
                    f"{record['Id']} is of {record['Amount__c']}, its bill of {mine[0]['SubTotal']}",
                )
            )
        if str(record.get("Xero_Bill_ID__c")).casefold() != str(mine[0]["InvoiceID"]).casefold():
            found.append(
                Violation("triangle", f"{record['Id']} shows bill {record.get('Xero_Bill_ID__c') or 'none'}")
            )
        supplier = _contact_of(evidence, str(record.get("Supplier__c")))
        if supplier and supplier != str(mine[0]["Contact"]["ContactID"]).casefold():
            found.append(
                Violation(
                    "amounts", f"the bill of {record['Id']} is from another contact than its supplier's"
                )
            )
    return [*found, *_beside(evidence, plans, records, by_record)]


def _contact_of(evidence: Evidence, account_id: str) -> str | None:
    account = evidence.records.get(account_id, {})
    there = str(account.get("ExternalID__c") or "").casefold()
    contact = evidence.records.get(there)
    return there if contact is not None and _live(contact) and _live(account) else None


def _beside(
    evidence: Evidence, plans: Plans, records: Mapping[str, Body], by_record: Mapping[str, list[Body]]
) -> Iterator[Violation]:
    """No bill is made of a record after finance entered it under the supplier's number that it has."""
    began = {report["plan"]: report["began"] for report in evidence.reports if report["command"] == "plan"}
    for event in evidence.events:
        if event["kind"] != "enter":
            continue
        key = str(event["record_id"]).upper()
        theirs, record = evidence.records.get(str(event["bill"])), records.get(key)
        if theirs is None or record is None or not _live(theirs):
            continue
        same = str(theirs.get("InvoiceNumber")) == str(record.get("Supplier_Number__c"))
        for row in by_record.get(key, ()):
            from_same = row["Contact"]["ContactID"] == theirs["Contact"]["ContactID"]
            numbered = str(row["InvoiceNumber"]).startswith(f"{theirs.get('InvoiceNumber')} SF-")
            if (
                same
                and from_same
                and numbered
                and _live(row)
                and _planned_at(plans, key, began) > event["seq"]
            ):
                yield Violation(
                    "twice", f"a bill was made of {record['Id']} beside the one that finance had entered"
                )


def _planned_at(plans: Plans, key: str, began: Mapping[str | None, int]) -> int:
    """When the first approved plan that makes the bill of a record began; 0: not known."""
    for _, plan in plans.approved:
        for row in plans.table(plan, "operations"):
            if row["entity"] == "bill" and row["action"] == "create" and str(row["source_id"]).upper() == key:
                return began.get(plan, 0)
    return 0


# --- Contact groups --------------------------------------------------------------------------------------


def groups(evidence: Evidence, plans: Plans, made: Mapping[str, Any]) -> list[Violation]:
    """Contacts are in the groups of ours that their Account names; all others are as people left them."""
    return [*_as_asked(evidence, plans, made), *_others(evidence, made), *_taken_out(evidence, plans, made)]


def _wanted(value: Any, among: Mapping[str, str]) -> tuple[set[str], bool]:
    """The ids of the groups that a field names, and whether it names one that is none of ours."""
    said = {part.strip().casefold() for part in str(value or "").split(";")} - {""}
    ours = {name.casefold(): group for name, group in among.items()}
    return {ours[one] for one in said if one in ours}, bool(said - set(ours))


def _ours(made: Mapping[str, Any]) -> dict[str, str]:
    return {name: made["group_ids"][name] for name in made["among"]}


def _is_in(contact: Body) -> set[str]:
    return {str(one["ContactGroupID"]).casefold() for one in contact.get("ContactGroups") or ()}


def _as_asked(evidence: Evidence, plans: Plans, made: Mapping[str, Any]) -> Iterator[Violation]:
    told = plans.named(plans.sealed[-1:])
    ours = _ours(made)
    for account in evidence.records.values():
        if _kind(account) != "Account" or not _live(account):
            continue
        contact_id = _contact_of(evidence, account["Id"])
        if contact_id is None:
            continue
        contact = evidence.records[contact_id]
        number = str(contact.get("ContactNumber") or "").casefold()
        if number != account["Id"].casefold() or told.get(contact_id):
            continue
        if any(
            "groups" in units or "record" in units or "*" in units
            for units in [told.get(account["Id"], set())]
        ):
            continue
        wanted, foreign = _wanted(account.get("Segment__c"), ours)
        of_it = {one for one in ours.values() if told.get(f"{one}/{contact_id}")}
        wanted, mine = wanted - of_it, (_is_in(contact) & set(ours.values())) - of_it
        if wanted - mine:
            yield Violation(
                "lost", f"{account['Id']} names {sorted(wanted - mine)}, and its contact is not in it"
            )
        if made["groups"] == "always" and not foreign and mine - wanted:
            yield Violation(
                "lost", f"{account['Id']} does not name {sorted(mine - wanted)}, and its contact is in it"
            )


def _others(evidence: Evidence, made: Mapping[str, Any]) -> Iterator[Violation]:
    """A group that the mapping does not name is nobody's business of ours."""
    ours = set(_ours(made).values())
    for entry, group, _, _ in _moves(evidence):
        if group not in ours:
            yield Violation(
                "unplanned", f"request {entry['seq']} writes to the group {group}, which is not ours"
            )
    theirs = {group for name, group in made["group_ids"].items() if name not in made["among"]}
    left: dict[str, set[str]] = defaultdict(set)
    troubled = {event["record_id"] for event in evidence.events if event["kind"] in ("merge", "archive")}
    for event in evidence.events:
        if event["kind"] == "regroup" and made["group_ids"][event["group"]] in theirs:
            mine = left[event["record_id"]]
            (mine.add if event["enters"] else mine.discard)(made["group_ids"][event["group"]])
    for row in evidence.records.values():
        known = _kind(row) == "xero" and row["ContactID"] not in troubled
        if known and _is_in(row) & theirs != left[row["ContactID"]]:
            yield Violation("lost", f"{row['ContactID']} is not in the groups in which people left it")


def _moves(evidence: Evidence) -> Iterator[tuple[Body, str, str, bool]]:
    """(request, group, contact, whether it enters) of each membership that we wrote."""
    for entry in evidence.wire:
        if entry["kind"] != "write" or not entry["n"]:
            continue
        found = re.search(
            r"/ContactGroups/([\w-]+)/Contacts(?:/([\w-]+))?$", entry["target"].partition("?")[0]
        )
        if found and found[2]:
            yield entry, found[1].casefold(), found[2].casefold(), False
        elif found:
            for one in entry["body"]["Contacts"]:
                yield entry, found[1].casefold(), str(one["ContactID"]).casefold(), True


def _taken_out(evidence: Evidence, plans: Plans, made: Mapping[str, Any]) -> Iterator[Violation]:
    """Who is taken out of a group: the Account did not name it, at a time between plan and write."""
    ours = _ours(made)
    by_contact: dict[str, set[str]] = defaultdict(set)
    for row in evidence.records.values():
        if _kind(row) == "Account" and row.get("ExternalID__c"):
            by_contact[str(row["ExternalID__c"]).casefold()].add(row["Id"])
        if _kind(row) == "xero" and row.get("ContactNumber"):
            by_contact[row["ContactID"].casefold()].add(str(row["ContactNumber"]))
    said: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for event in evidence.events:
        if event["kind"] == "segment":
            said[event["record_id"]].append((event["seq"], event["value"]))
    merged = {event["record_id"] for event in evidence.events if event["kind"] == "merge"}
    began = {report["plan"]: report["began"] for report in evidence.reports if report["command"] == "plan"}
    for entry, group, contact, enters in _moves(evidence):
        accounts = by_contact[contact]
        if not accounts or accounts & merged or contact in merged:
            continue
        since = _decided_at(plans, f"{group}/{contact}", entry["seq"], enters, began)
        values = [value for one in accounts for value in _held(said[one], since, entry["seq"])]
        if enters and not any(group in _wanted(value, ours)[0] for value in values):
            yield Violation(
                "unplanned", f"request {entry['seq']} puts {contact} into a group that no Account named"
            )
        if enters:
            continue
        asked = [value for value in values if group not in (w := _wanted(value, ours))[0] and not w[1]]
        if made["groups"] != "always" or not asked:
            yield Violation(
                "unplanned", f"request {entry['seq']} takes {contact} out of a group; nobody asked for it"
            )


def _decided_at(
    plans: Plans, record_id: str, before: int, enters: bool, began: Mapping[str | None, int]
) -> int:
    """When the last approved plan with that operation began; 0 where a plan's beginning is not known."""
    seq = 0
    wanted = f'"Member":{"true" if enters else "false"}'
    for approved, plan in plans.approved:
        if approved < before and any(
            str(row["record_id"]).casefold() == record_id
            and wanted in str(row["native_after"]).replace(" ", "")
            for row in plans.table(plan, "operations")
        ):
            seq = began.get(plan, 0)
    return seq


def _held(said: list[tuple[int, Any]], since: int, until: int) -> list[Any]:
    """What a field held at any time between."""
    before = [value for seq, value in said if seq <= since]
    return [before[-1] if before else None, *(value for seq, value in said if since < seq <= until)]

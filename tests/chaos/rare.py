"""Counts the rare states that a world reached: what a sweep must meet to be worth anything."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from typing import Any

from tests.chaos import refusals
from tests.chaos.checker import Evidence
from tests.chaos.world import World

FAULTS = (
    "refused_connection", "lost", "late", "reply_lost", "half_body", "bad_json", "html", "502", "502_applied",
    "503", "504_applied", "500", "500_applied", "partial", "short", "reordered", "expired_token", "429_minute",
    "429_day", "429_concurrent", "429_app", "429_odd", "locked", "slow",
)  # fmt: skip

# What a long run must have met. Each of it 100 times in 10,000 seeds or more, 30 times in 3,000.
REQUIRED = (
    *(f"write meets {name}" for name in FAULTS), *refusals.ALL,
    "late application", "answered from a kept key", "key burnt", "same bytes sent again", "conflict",
    "unknown, then found (create)", "unknown, then found (update)", "unknown, then absent (create)",
    "unknown, then absent (update)", "made at a later attempt (create)", "lease taken over", "crash in plan",
    "crash in apply", "command ends with LeaseHeld", "command ends with LeaseLost", "command ends with ReadOnly",
    "command ends with RateLimited", "operation adopted", "operation overtaken", "operation rejected",
    "operation waiting", "event merge", "event archive", "event delete", "event journal_lost", "event limit_tripped",
    "payment recorded", "payment meets a fault", "event take", "event pay", "event unpay", "event correct",
    "event reprice", "event strike", "event lose", "event approve", "event recode", "event credit", "event answered",
    "invoice changed", "invoice withdrawn", "invoice made again", "credit made", "credit meets a fault",
    "order billed", "order meets a fault", "part billed", "part meets a fault", "month billed", "month meets a fault",
    "sold once told", "bill made", "bill meets a fault", "entered a group", "left a group",
    "membership meets a fault", "event order", "event activate", "event reopen", "event rework", "event note",
    "event amend", "event discard", "event enter", "event segment", "event regroup",
)  # fmt: skip


def wanted(seeds: int) -> int:
    """How often each must be reached in so many seeds."""
    return 100 if seeds >= 10_000 else seeds // 100


def reached(world: World, evidence: Evidence) -> dict[str, int]:
    """By name of the state: how often. It may look into the journal: it counts, it does not judge."""
    found: Counter[str] = Counter()
    writes = [row for row in evidence.wire if row["kind"] == "write"]
    for row in writes:
        if row["fault"]:
            found[f"write meets {row['fault']}"] += 1
        if row.get("refusal"):
            found[f"refused: {row['refusal']}"] += 1
        if "/Payments" in row["target"]:
            found["payment recorded"] += bool(row["n"])
            found["payment meets a fault"] += row["fault"] not in (None, "refused")
        if "/CreditNotes" in row["target"]:
            found["credit made"] += bool(row["n"])
            found["credit meets a fault"] += row["fault"] not in (None, "refused")
        if row["n"] and "/Invoices" in row["target"]:
            found.update(_moves(row["body"]["Invoices"]))
        found.update(_made(row, evidence))
        if row["fault"] == "late" and row["n"]:
            found["late application"] += 1
    for log in evidence.logs.values():
        for row in log:
            if row["note"] == "replay":
                found["answered from a kept key"] += 1
    for report in evidence.reports:
        if report["crashed"]:
            found[f"crash in {report['command']}"] += 1
        for name in (
            "LeaseHeld",
            "LeaseLost",
            "ReadOnly",
            "RateLimited",
            "Unreachable",
            "PlanUnusable",
            "BeyondLimits",
            "Incident",
            "JournalMismatch",
            "CircuitOpen",
        ):
            if report["error"] and name in report["error"].split(" < "):
                found[f"command ends with {name}"] += 1
        for row in report["audit"]:
            found[f"audit finds {row['finding']}"] += 1
        for row in report["outcomes"]:
            if row["outcome"] != "confirmed":
                found[f"operation {row['outcome']}"] += 1
    for event in evidence.events:
        if event["kind"] in (
            "edit",
            "make",
            "archive",
            "delete",
            "merge",
            "journal_lost",
            "limit_tripped",
            "decided",
            "win",
            "void",
            "take",
            "correct",
            "pay",
            "unpay",
            "reprice",
            "strike",
            "lose",
            "approve",
            "recode",
            "credit",
            "answered",
            "sell",
            "order",
            "activate",
            "reopen",
            "rework",
            "note",
            "amend",
            "discard",
            "enter",
            "segment",
            "regroup",
        ):
            found[f"event {event['kind']}"] += 1
    leases = [event for event in evidence.events if event["kind"] == "lease"]
    found["lease taken over"] += sum(
        1 for event in leases if event["machine"].startswith("two") and _interrupts(event, evidence)
    )
    found.update(_journal(world))
    found["sold once told"] += _told_once(evidence)
    found["conflict"] += _conflicts(evidence)
    return {name: count for name, count in sorted(found.items()) if count}


def _made(row: dict[str, Any], evidence: Evidence) -> Counter[str]:
    """What a write makes of orders, parts, months and bills, and who enters and leaves a group."""
    found: Counter[str] = Counter()
    fault = row["fault"] not in (None, "refused")
    if "/ContactGroups" in row["target"]:
        found["left a group" if row["method"] == "DELETE" else "entered a group"] += bool(row["n"])
        found["membership meets a fault"] += fault
    for one in row["body"]["Invoices"] if "/Invoices" in row["target"] else ():
        there = evidence.records.get(str(one.get("InvoiceID")), one)
        number = str(there.get("InvoiceNumber") or there.get("Reference") or "").upper()
        what = (
            "bill" if there.get("Type") == "ACCPAY"
            else "part" if re.search(r"-P[1-9](-|$)", number)
            else "month" if re.search(r"-M[0-9]{6}[A-Z]{3}(-|$)", number)
            else "order" if number.startswith("SF-801")
            else ""
        )  # fmt: skip
        if what:
            done = "changed" if "InvoiceID" in one else "made" if what == "bill" else "billed"
            found[f"{what} {done}"] += bool(row["n"])
            found[f"{what} meets a fault"] += fault
    return found


def _told_once(evidence: Evidence) -> int:
    import polars as pl

    files = evidence.plans.glob("*.rejects.parquet")
    return sum(pl.read_parquet(file)["reason"].str.contains("what is sold once").sum() for file in files)


def _moves(invoices: list[dict[str, Any]]) -> Counter[str]:
    """What a write does to invoices that are there already, and which it makes anew."""
    found: Counter[str] = Counter()
    for one in invoices:
        if "InvoiceID" in one:
            found[
                "invoice withdrawn" if one.get("Status") in ("DELETED", "VOIDED") else "invoice changed"
            ] += 1
        elif str(one.get("InvoiceNumber") or "").rpartition("-")[2] in ("2", "3", "4"):
            found["invoice made again"] += 1
    return found


def _interrupts(event: dict[str, Any], evidence: Evidence) -> bool:
    return any(
        report["began"] < event["seq"] < report["ended"] and report["machine"] != event["machine"]
        for report in evidence.reports
    )


def _conflicts(evidence: Evidence) -> int:
    import polars as pl

    return sum(pl.read_parquet(file).height for file in evidence.plans.glob("*.conflicts.parquet"))


def _journal(world: World) -> Counter[str]:
    """What the protocol went through, by the journal's own tables."""
    found: Counter[str] = Counter()
    con = sqlite3.connect(world.data / "journal.db")
    try:
        for state, action, attempt, requests_sends, burnt in con.execute(
            "select i.state, i.action, i.attempt, r.sends, r.burnt "
            "from intents i join requests r using (request_id)"
        ):
            if state == "adopted":
                found[f"unknown, then found ({action})"] += 1
            if state == "absent" and requests_sends:
                found[f"unknown, then absent ({action})"] += 1
            if burnt:
                found["key burnt"] += 1
            if requests_sends > 1:
                found["same bytes sent again"] += 1
            if attempt > 1 and state == "confirmed":
                found[f"made at a later attempt ({action})"] += 1
        found["dead letter"] += con.execute("select count(*) from dead_letters").fetchone()[0]
    finally:
        con.close()
    return found

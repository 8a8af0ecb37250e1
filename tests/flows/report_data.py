"""A report in which every part has something to say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from flows.report import CALLS, COMPLETE, HISTORY, SUMMARY, TOTALS, UNMATCHED, ReportData
from reconcile.model import BOOKED, DRIFT, FINDINGS, LINKS, OPERATIONS, OUTCOME_ROWS, REJECTS, Schema
from reconcile.totals import Totals, control_totals

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HIGH_STREET = '{"city":"Reading","country":"GB","lines":["1 High Street","Level 2"],"postal_code":"RG1 1AA"}'
HIGH_ST = '{"city":"Reading","country":"GB","lines":["1 High St"],"postal_code":"RG1 1AB"}'
# Names that people have, and that people try.
NAMES = [
    "Northwind Traders",
    "<script>alert(1)</script>",
    'Tom & "Jerry" O\'Neil <b>Ltd</b>',
    "شركة النور للتجارة",
    "Contoso",
]


def guid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def account(number: int) -> str:
    return f"001{number:012d}AAA"


def frame(rows: list[dict[str, Any]], schema: Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(schema))


def difference(
    number: int, unit: str, salesforce: str | None, xero: str | None, **other: Any
) -> dict[str, Any]:
    standard = {"entity": "party", "direction": "xero", "why": "flows_against", "since": None}
    ids = {"link_id": f"l{number}", "salesforce_id": account(number), "xero_id": guid(number)}
    return standard | ids | {"unit": unit, "salesforce": salesforce, "xero": xero} | other


def operation(number: int, unit: str, before: str | None, after: str | None, **other: Any) -> dict[str, Any]:
    standard = {
        "system": "xero",
        "entity": "party",
        "object": "Contact",
        "action": "update",
        "phase": "change",
    }
    ids = {"operation_id": f"o{number}{unit}", "record_id": guid(number), "source_id": account(number)}
    reason = {"reason": "Salesforce changed it, and the mapping lets Xero receive it."}
    return standard | ids | reason | {"unit": unit, "before": before, "after": after} | other


def outcome(of: dict[str, Any], what: str, message: str | None = None) -> dict[str, Any]:
    same = {name: of[name] for name in ("operation_id", "system", "entity", "unit", "phase")}
    return same | {"record_id": of["record_id"] or guid(999), "outcome": what, "message": message}


def booked(side: str, number: int, **other: Any) -> dict[str, Any]:
    """A line of a document, 1 x 100.00 at 20%, of which both sides have one."""
    key = deal(number)
    standard = {"side": side, "document_key": key, "linked": True, "line_key": f"00k{number:012d}AAA"}
    standard |= {
        "currency": "GBP",
        "date": date(2026, 2, 10),
        "status": "PAID",
        "account": "200",
        "tax": "OUTPUT2",
    }
    standard |= {"rate": 20, "quantity": 1, "unit_price": 100, "discount": None, "currency_rate": 1}
    return standard | {"inclusive": False, "amount": 100, "tax_amount": 20} | other


def deal(number: int) -> str:
    return f"006{number:012d}AAA"


def both_books(*changed: dict[str, Any]) -> Totals:
    """Documents of both sides that agree, but for what is changed in Xero: number -> fields."""
    rows = [booked("salesforce", number) for number in range(1, 9)]
    xero: list[dict[str, Any]] = [*changed, *[{}] * (8 - len(changed))]
    rows += [booked("xero", number) | fields for number, fields in enumerate(xero, start=1)]
    return control_totals(pl.DataFrame(rows, schema=dict(BOOKED)))


def full_report(**other: Any) -> ReportData:
    old = NOW - timedelta(days=45)
    drift = [difference(n, "phone", "+442071234567", f"+44207123{n:04d}", since=old) for n in range(1, 31)]
    drift += [
        difference(2, "billing_address", HIGH_STREET, HIGH_ST, direction="as_found", why="as_found"),
        difference(3, "email", "accounts@contoso.example", None, since=NOW - timedelta(days=3)),
        difference(4, "name", NAMES[3], "شركة النور", direction="salesforce", why="policy_report"),
        difference(
            5,
            "name",
            '{"first":"Ann","last":"Lee"}',
            '{"first":"Anne","last":"Lee"}',
            entity="person",
            since=NOW - timedelta(days=9),
        ),
    ]
    conflicts = [
        difference(2, "name", NAMES[1], "Script Ltd", direction="both", why="conflict", since=old),
        difference(3, "shipping_address", HIGH_ST, HIGH_STREET, direction="both", why="conflict"),
    ]
    made = operation(7, "record", None, '{"name":"Fabrikam Ltd","phone":"+442079460000"}', phase="create")
    made |= {"action": "create", "record_id": None, "reason": "A customer without a contact in Xero."}
    operations = [
        operation(1, "phone", "+442071234567", "+442079876543"),
        operation(2, "name", NAMES[1], NAMES[2]),
        operation(3, "billing_address", HIGH_ST, HIGH_STREET, phase="settle"),
        operation(4, "email", None, "pay@contoso.example", phase="fill", system="salesforce"),
        operation(5, "reference", None, account(5), phase="link", action="link"),
        made,
    ]
    outcomes = [
        outcome(operations[0], "confirmed"),
        outcome(operations[1], "rejected", "The contact name must be unique across all active contacts."),
        outcome(operations[2], "overtaken"),
        outcome(operations[3], "confirmed"),
        outcome(operations[4], "adopted"),
        outcome(operations[5], "confirmed"),
    ]
    unmatched = [
        {"entity": "party", "side": "xero", "record_id": guid(n), "why": "no_candidate"}
        for n in range(40, 52)
    ] + [{"entity": "party", "side": "salesforce", "record_id": account(60), "why": "on_demand"}]
    findings = [
        {
            "stage": "raw",
            "check": "id_form",
            "severity": "critical",
            "passed": True,
            "broken": False,
            "count": 0,
        },
        {"stage": "canonical", "check": "phone_form", "severity": "warning", "passed": False, "broken": False}
        | {"count": 3, "side": "xero", "entity": "party", "record_ids": [guid(1)]}
        | {"message": "found 3 of 180 rows otherwise; expected a phone in E.164, or as given behind raw:"},
        {"stage": "plan", "check": "fits_length", "severity": "critical", "passed": False, "broken": True}
        | {"count": 0, "message": "could not run (it raised); expected values that fit the target's field"},
    ]
    summary = [
        ("party", "name", 160, 158, 0, 1, 1),
        ("party", "phone", 160, 128, 2, 30, 0),
        ("party", "billing_address", 160, 159, 0, 1, 0),
        ("party", "shipping_address", 160, 159, 0, 0, 1),
        ("party", "email", 160, 159, 0, 1, 0),
        ("person", "name", 120, 119, 0, 1, 0),
    ]
    history = [
        {"run_id": f"r{day}", "at": NOW - timedelta(days=28 - day), "entity": "party"}
        | {"drift": 90 - 2 * day - day % 7, "conflicts": 5 - day // 7, "review": 12 - day // 3}
        | {"matched": 130 + day, "unmatched": 40 - day}
        for day in range(0, 29, 2)
    ]
    closed = both_books(
        {"unit_price": 90, "amount": 90, "tax_amount": 18},
        {"account": "260"},
        {"account": "260", "date": date(2026, 3, 1)},
        {"currency": "JPY"},
        {"tax_amount": Decimal("20.01")},
    )
    standard: dict[str, Any] = {
        "control_totals": closed.totals,
        "differences": closed.differences,
        "with_totals": True,
        "pair": "acme",
        "environment": "sandbox",
        "run_id": "2026-03-01-a1",
        "made_at": NOW,
        "complete": frame(
            [
                {"side": "salesforce", "object": "Account", "complete_as_of": NOW, "rows": 190},
                {
                    "side": "xero",
                    "object": "Contact",
                    "complete_as_of": NOW - timedelta(minutes=2),
                    "rows": 1204,
                },
            ],
            COMPLETE,
        ),
        "totals": pl.DataFrame(
            [("party", 160, 4, 9, 12), ("person", 120, 1, 30, 0)], schema=dict(TOTALS), orient="row"
        ),
        "summary": pl.DataFrame(summary, schema=dict(SUMMARY), orient="row"),
        "unmatched": frame(unmatched, UNMATCHED),
        "review": frame(
            [
                {"link_id": "l80", "entity": "party", "salesforce_id": account(80), "xero_id": guid(80)}
                | {"status": "review", "rule": "score", "score": 0.83, "evidence": "{}"}
            ],
            LINKS,
        ),
        "conflicts": frame(conflicts, DRIFT),
        "drift": frame(drift, DRIFT),
        "operations": frame(operations, OPERATIONS),
        "outcomes": frame(outcomes, OUTCOME_ROWS),
        "plan_hash": "9f8e7d6c5b4a39281706",
        "approved_by": "Pat <pat@example.com>",
        "applied_at": NOW - timedelta(minutes=5),
        "findings": frame(findings, FINDINGS),
        "rejects": frame(
            [
                {"stage": "plan", "entity": "party", "side": "xero", "record_id": guid(9), "unit": "name"}
                | {"reason": "no_twin: expected nothing is made that the target has by that name"}
            ],
            REJECTS,
        ),
        "calls": frame(
            [
                {"side": "salesforce", "calls": 7, "bytes": 84_211},
                {"side": "xero", "calls": 12, "bytes": 2_310_554},
            ],
            CALLS,
        ),
        "history": frame(history, HISTORY),
        "names": {account(n): name for n, name in enumerate(NAMES, start=1)}
        | {account(n): f"Customer {n}" for n in range(6, 61)}
        | {guid(n): f"Contact {n}" for n in range(40, 81)}
        | {deal(n): name for n, name in enumerate(NAMES, start=1)}
        | {f"00k{1:012d}AAA": NAMES[1]},
    }
    return ReportData(**standard | other)

"""The suite of payments: a sound plan passes, and each fault is found at its payment."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from expectation_frames import clean_plan, frame, guid

from reconcile.model import SETTLED, SETTLEMENTS

RULES: dict[str, Any] = {}


def payment(n: int, of: int | None = None, **sent: Any) -> dict[str, Any]:
    body = {
        "Invoice": {"InvoiceID": guid(n if of is None else of)}, "Account": {"AccountID": guid(1)},
        "Date": "2026-11-20", "Amount": 10, "Reference": f"SF-{n}", **sent,
    }  # fmt: skip
    return {
        "operation_id": f"p{n}", "system": "xero", "entity": "payment", "object": "Payment", "action": "create",
        "phase": "create", "unit": "record", "source_id": f"m{n}",
        "after": json.dumps({"amount": "10.00", "currency": "GBP"}),
        "native_after": json.dumps({name: value for name, value in body.items() if value is not None}),
    }  # fmt: skip


BAD_PAYMENTS = {
    "payment_amount": payment(901, Amount=0),
    "payment_placed": payment(902, Account=None),
    "payment_of_open_invoice": payment(903),
    "payment_within_due": payment(904, Amount=10.01),
    "payment_key_unique": payment(905, Reference="sf-there"),
}
ALSO_BAD = {
    "payment_amount": [payment(911, Amount=-1), payment(912, Amount="much")],
    "payment_placed": [payment(913, Date=None), payment(914, Date="soon")],
    "payment_of_open_invoice": [payment(915, of=9999)],
    "payment_within_due": [payment(916, of=1000, Amount=6), payment(917, of=1000, Amount=6)],
    "payment_key_unique": [
        payment(918, Reference="SF-twice"), payment(919, Reference="sf-TWICE"), payment(920, Reference=None),
    ],
}  # fmt: skip
OPEN = (*range(1, 25), 901, 902, 904, 905, *range(911, 921), 1000)


def planned(bad: bool = False) -> dict[str, pl.DataFrame]:
    made = [payment(n) for n in range(1, 25)]
    if bad:
        made += [*BAD_PAYMENTS.values(), *(row for rows in ALSO_BAD.values() for row in rows)]
    owed = [{"invoice_id": guid(n), "status": "AUTHORISED", "due": 10} for n in OPEN]
    owed.append({"invoice_id": guid(903), "status": "DRAFT", "due": 10})
    there = [{"settlement_id": guid(7), "kind": "payment", "reference": "SF-THERE"}]
    return {**clean_plan(made), "owed": frame(owed, SETTLED), "settlements": frame(there, SETTLEMENTS)}


def test_clean_payments_pass(checked: Any) -> None:
    findings = checked("clean payments", "plan", planned, **RULES)
    assert findings.filter(~pl.col("passed"))["check"].to_list() == []
    assert set(BAD_PAYMENTS) <= set(findings["check"])


@pytest.mark.parametrize("check", BAD_PAYMENTS)
def test_a_fault_is_found_at_its_payment(checked: Any, check: str) -> None:
    findings = checked("bad payments", "plan", lambda: planned(bad=True), **RULES)
    [row] = findings.filter(pl.col("check") == check).to_dicts()
    wanted = {one["operation_id"] for one in (BAD_PAYMENTS[check], *ALSO_BAD.get(check, ()))}
    # What has no invoice, or no amount, is not within what is due either.
    more = {"p903", "p912", "p915"} if check == "payment_within_due" else set()
    assert wanted <= set(row["record_ids"]) <= wanted | more

"""The suite of bills: a sound plan passes, and each fault is found at its bill."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from expectation_frames import clean_plan, frame, guid

from reconcile.model import BILLS_THERE, RECORDS


def record(n: int) -> str:
    return f"a01{n:012d}AAA"


def bill(n: int, stated: str = "10.00", **sent: Any) -> dict[str, Any]:
    body = {
        "Type": "ACCPAY", "Status": "DRAFT", "InvoiceNumber": f"{n} SF-{record(n).upper()}", "Date": "2026-11-20",
        "Contact": {"ContactID": guid(1)}, "LineItems": [{"Quantity": 1, "UnitAmount": 10}], **sent,
    }  # fmt: skip
    return {
        "operation_id": f"b{n}", "system": "xero", "entity": "bill", "object": "Bill", "action": "create",
        "phase": "create", "unit": "record", "source_id": record(n),
        "after": json.dumps({"subtotal": stated, "total": None, "currency": "GBP"}),
        "native_after": json.dumps({name: value for name, value in body.items() if value is not None}),
    }  # fmt: skip


BAD_BILLS = {
    "bill_of_supplier": bill(901, Type="ACCREC"),
    "bill_not_approved": bill(902, Status="AUTHORISED"),
    "bill_amount": bill(903, LineItems=[{"Quantity": 1, "UnitAmount": 9.99}]),
    "bill_dated": bill(904, Date=None),
    "bill_contact_known": bill(905, Contact={"ContactID": guid(99999)}),
    "bill_key_unique": bill(906, InvoiceNumber="906"),
}
ALSO_BAD = {
    "bill_amount": [bill(911, LineItems=[]), bill(912, "0.00", LineItems=[{"Quantity": 1, "UnitAmount": 0}])],
    "bill_contact_known": [bill(913, Contact=None), bill(914, Contact={"ContactID": {"$from": "nobody"}})],
    "bill_key_unique": [
        bill(915), bill(916, InvoiceNumber=f"SF-{record(915).upper()}"), bill(917), bill(918, InvoiceNumber=None),
    ],
}  # fmt: skip


def planned(bad: bool = False) -> dict[str, pl.DataFrame]:
    made = [bill(n) for n in range(1, 25)]
    if bad:
        made += [*BAD_BILLS.values(), *(row for rows in ALSO_BAD.values() for row in rows)]
    plan = clean_plan(made)
    contact = {"entity": "party", "side": "xero", "record_id": guid(1), "object": "Contact", "status": "active",
               "in_scope": True}  # fmt: skip
    records = pl.concat([plan["records"], frame([contact], RECORDS)]).unique("record_id", keep="last")
    there = [{"bill_id": guid(7), "bill_number": f"anything {record(917)}"}]
    return {**plan, "records": records, "bills": frame(there, BILLS_THERE)}


def test_clean_bills_pass(checked: Any) -> None:
    findings = checked("clean bills", "plan", planned)
    assert findings.filter(~pl.col("passed"))["check"].to_list() == []
    assert set(BAD_BILLS) <= set(findings["check"])


@pytest.mark.parametrize("check", BAD_BILLS)
def test_a_fault_is_found_at_its_bill(checked: Any, check: str) -> None:
    findings = checked("bad bills", "plan", lambda: planned(bad=True))
    [row] = findings.filter(pl.col("check") == check).to_dicts()
    wanted = {one["operation_id"] for one in (BAD_BILLS[check], *ALSO_BAD.get(check, ()))}
    # Two that end in one id: the one whose id it is not carries another's key.
    assert wanted - {"b915"} <= set(row["record_ids"]) <= wanted

"""What is planned for Salesforce to show: carried out, nothing is left; only what an org has, of whom it knows."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile.mapped import SHOWN_BY, SHOWN_FIELDS
from reconcile.model import FIELDS, LINKS, RAW, conform
from reconcile.showing import (
    STAGE,
    Settlement,
    desired,
    owners,
    settlement,
    showing_operations,
    unlike,
    within,
)

ON = date(2026, 11, 28)
NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
AT = "mapping.yaml:2: documents.invoice"
ACME, BOLT = "c0000000-0000-4000-8000-00000000000a", "c0000000-0000-4000-8000-00000000000b"
ACCOUNTS = {ACME: "001Dm0000000001IAA", BOLT: "001Dm0000000002IAA"}
DEAL = "006Dm0000000001IAA"
Org = dict[str, dict[str, dict[str, Any]]]


def guid_of(kind: str, number: int) -> str:
    return f"{kind}0000000-0000-4000-8000-{number:012d}"


def raw(rows: dict[str, dict[str, Any]]) -> pl.DataFrame:
    data = [(key, NOW, False, key, json.dumps(body)) for key, body in sorted(rows.items())]
    return conform(pl.DataFrame(data, schema=dict(RAW), orient="row"), RAW)


def books(invoices: list[dict[str, Any]], payments: list[dict[str, Any]] = ()) -> Settlement:  # type: ignore[assignment]
    """What Xero tells of invoices (contact, total, more) and payments (invoice, amount, more)."""
    owed: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(invoices):
        key = guid_of("a", number)
        more = {name: value for name, value in one.items() if name not in ("contact", "total")}
        owed[key] = {
            "InvoiceID": key, "Type": "ACCREC", "Status": "AUTHORISED", "Contact": {"ContactID": one["contact"]},
            "CurrencyCode": "GBP", "InvoiceNumber": f"N-{number}", "DueDate": "/Date(1763596800000+0000)/",
            "Total": one["total"], **more,
        }  # fmt: skip
    paid = {}
    for number, one in enumerate(payments):
        key = guid_of("b", number)
        more = {name: value for name, value in one.items() if name not in ("invoice", "amount")}
        paid[key] = {
            "PaymentID": key, "Status": "AUTHORISED", "PaymentType": "ACCRECPAYMENT", "Amount": one["amount"],
            "Invoice": {"InvoiceID": guid_of("a", one["invoice"])}, **more,
        }  # fmt: skip
    tables = {
        "Invoice": owed,
        "Bill": {},
        "Payment": paid,
        "CreditNote": {},
        "Overpayment": {},
        "Prepayment": {},
    }
    return settlement({f"xero.{name}": raw(rows) for name, rows in tables.items()}, on=ON)


def links(*pairs: tuple[str, str, str]) -> pl.DataFrame:
    rows = [
        {
            "link_id": ":".join(pair),
            "entity": pair[0],
            "salesforce_id": pair[1],
            "xero_id": pair[2],
            "status": "linked",
        }
        for pair in pairs
    ]
    return conform(
        pl.DataFrame(
            rows, schema=dict.fromkeys(("link_id", "entity", "salesforce_id", "xero_id", "status"), pl.String)
        ),
        LINKS,
    )


PARTIES = links(*(("party", account, contact) for contact, account in ACCOUNTS.items()))


def org() -> Org:
    """An org that has the accounts and the deal, and shows nothing yet."""
    found: Org = {name: {} for name in ("Xero_Invoice__c", "Xero_Payment__c", "Opportunity", "Account")}
    found["Account"] = {key: {"Id": key} for key in ACCOUNTS.values()}
    found["Opportunity"] = {DEAL: {"Id": DEAL}}
    return found


def plan(known: Settlement, held: pl.DataFrame, there: Org, written: Any = None) -> pl.DataFrame:
    wanted = desired(known, held, ("Opportunity",))
    shown = {name: raw(rows) for name, rows in there.items()}
    found = unlike(wanted, shown, owners(known.invoices, held), whole=known.is_whole)
    return showing_operations(found, wanted, written or {}, at=AT)


def carry_out(operations: pl.DataFrame, there: Org) -> dict[str, dict[str, Any]]:
    """Write as Salesforce would: new records get ids, numbers come back with one decimal. Gives what was written."""
    made: dict[str, str] = {}
    written: dict[str, dict[str, Any]] = {}
    for row in operations.to_dicts():
        body = {
            name: made[value["$from"]] if isinstance(value, dict) else value
            for name, value in json.loads(row["native_after"]).items()
        }
        record_id = row["record_id"] or f"a0{len(there[row['object']])}Dm{len(made):010d}AAA"[:18]
        if row["record_id"] is None:
            made[row["operation_id"]] = record_id
        there[row["object"]].setdefault(record_id, {"Id": record_id}).update(body)
        written.setdefault(record_id, {}).update(body)
    return written


amounts = st.integers(1, 10**9).map(lambda cents: float(Decimal(cents) / 100))
an_invoice = st.fixed_dictionaries(
    {
        "contact": st.sampled_from([ACME, BOLT, "c0000000-0000-4000-8000-00000000000f"]),
        "total": amounts,
        "Status": st.sampled_from(["DRAFT", "AUTHORISED", "PAID", "VOIDED"]),
        "CurrencyCode": st.sampled_from(["GBP", "EUR"]),
        "Type": st.sampled_from(["ACCREC", "ACCPAY"]),
    }
)


@given(
    st.lists(an_invoice, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), amounts), max_size=4),
    st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_what_was_carried_out_leaves_nothing_to_do_and_what_changed_then_comes_to_rest_too(
    invoices: list[dict[str, Any]], paid: list[tuple[int, float]], linked: bool
) -> None:
    payments = [{"invoice": which, "amount": amount} for which, amount in paid if which < len(invoices)]
    held = PARTIES
    if linked and invoices:
        held = pl.concat([PARTIES, links(("document", DEAL, guid_of("a", 0)))])
    there = org()
    for known in (books(invoices, payments), books(invoices), books(invoices[:1])):
        carry_out(plan(known, held, there), there)
        left = plan(known, held, there)
        assert left.is_empty(), left.to_dicts()


def test_an_invoice_of_nobody_in_salesforce_is_not_made_there() -> None:
    stranger = "c0000000-0000-4000-8000-00000000000f"
    known = books([{"contact": stranger, "total": 5}], [{"invoice": 0, "amount": 2}])
    assert plan(known, PARTIES, org()).is_empty()


def test_a_new_payment_names_the_record_that_the_same_plan_makes_of_its_invoice() -> None:
    known = books([{"contact": ACME, "total": 100.5}], [{"invoice": 0, "amount": 40}])
    made = plan(known, PARTIES, org())
    assert made.select("object", "action").rows() == [
        ("Xero_Invoice__c", "create"), ("Xero_Payment__c", "create"), ("Account", "update"),
    ]  # fmt: skip
    invoice, payment, account = made.to_dicts()
    assert json.loads(payment["native_after"])["Invoice__c"] == {"$from": invoice["operation_id"]}
    assert json.loads(account["after"])["Xero_Overdue__c"] == "60.50"
    assert account["rule"] == f"projection {AT}"


def test_a_field_that_somebody_edited_is_put_back_and_a_change_of_xeros_is_not_called_so() -> None:
    there, known = org(), books([{"contact": ACME, "total": 100}])
    written = carry_out(plan(known, PARTIES, there), there)
    (record_id,) = there["Xero_Invoice__c"]
    there["Xero_Invoice__c"][record_id]["Amount_Due__c"] = 1
    (edited,) = plan(known, PARTIES, there, written).to_dicts()
    assert edited["reason"].startswith("somebody changed it in Salesforce")
    assert json.loads(edited["native_before"]) == {"Amount_Due__c": 1}
    there["Xero_Invoice__c"][record_id]["Amount_Due__c"] = 100
    paid = books([{"contact": ACME, "total": 100}], [{"invoice": 0, "amount": 30}])
    moved = plan(paid, PARTIES, there, written)
    assert not [said for said in moved["reason"] if said.startswith("somebody")]


def test_while_a_row_can_not_be_read_nothing_is_taken_for_gone() -> None:
    there = org()
    both = [{"contact": ACME, "total": 100}, {"contact": ACME, "total": 7}]
    carry_out(plan(books(both), PARTIES, there), there)
    known = books([both[0]], [{"invoice": 0, "amount": None}])
    assert not known.is_whole
    assert plan(known, PARTIES, there).select("object").unique().rows() == [("Account",)]
    gone = plan(books([both[0]]), PARTIES, there).filter(pl.col("object") == "Xero_Invoice__c")
    assert [json.loads(one) for one in gone["after"]] == [{"Status__c": "DELETED"}]


def test_sums_of_xeros_own_that_differ_are_told() -> None:
    known = books([{"contact": ACME, "total": 100, "AmountPaid": 10, "AmountDue": 90}])
    (told,) = known.rejects.to_dicts()
    assert (told["stage"], told["record_id"]) == (STAGE, guid_of("a", 0))
    assert "10.00 GBP are paid" in told["reason"]


def of_org(*left_out: str) -> pl.DataFrame:
    rows = [
        ("salesforce", name, field, "string", None, True, True, False, None)
        for name, fields in SHOWN_FIELDS.items()
        for field in fields
        if f"{name}.{field}" not in left_out
    ]
    return pl.DataFrame(rows, schema=dict(FIELDS), orient="row")


def test_what_an_org_lacks_is_told_with_its_place_and_the_rest_goes_on() -> None:
    wanted = desired(books([{"contact": ACME, "total": 1}]), PARTIES, ("Opportunity",))
    kept, told = within(wanted, of_org("Account.Xero_Credit__c"), {}, at=AT)
    assert kept.keys() == wanted.keys()
    assert "Xero_Credit__c" not in kept["Account"].columns
    (said,) = told["reason"]
    assert said.startswith(f"{AT}: Account lacks Xero_Credit__c")
    kept, told = within(wanted, of_org(*(f"{n}.{f}" for n, f in SHOWN_BY.items())), {}, at=AT)
    assert kept.keys() == {"Opportunity", "Account"}
    assert len(told) == 2
    kept, told = within(wanted, of_org(), {"Xero_Invoice__c": "it is not there"}, at=AT)
    assert kept.keys() == {"Opportunity", "Account"}
    assert "it is not there" in told["reason"][0] and "can't be shown" in told["reason"][1]


def test_the_fields_of_the_mapping_are_those_that_are_shown() -> None:
    wanted = desired(books([]), PARTIES, ("Opportunity",))
    assert {name: set(frame.columns) - {"key"} for name, frame in wanted.items()} == {
        name: set(SHOWN_FIELDS[name]) for name in wanted
    }

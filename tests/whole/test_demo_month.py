"""The demo's month: what people do on both sides is followed, and at its end both books are explained to the cent."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from settled_pair import Till
from whole_pair import Pair

from flows.demo import DEAL, close_deal
from flows.demo_month import People, live_through, write_mapping
from flows.totals import standing

D = Decimal


@pytest.mark.slow  # some twenty plans and pushes
def test_a_month_of_business_ends_at_rest_and_explained(pair: Pair) -> None:
    close_deal(pair.line, DEAL)  # as the demo does before its month
    people = People(pair.line)
    people.set_up()
    write_mapping(pair.folder)
    steps: list[str] = []
    with pair._checks(), pair.opened() as ctx:
        planned = live_through(ctx, people, tell=steps.append)
    assert len(steps) == 10
    assert planned.operations.is_empty() and not planned.alarms
    found = standing(planned.control_totals, planned.differences)
    assert found.proved
    unexplained = planned.differences.filter(pl.col("cause").cast(pl.String) == "unexplained")
    assert unexplained.is_empty(), unexplained.to_dicts()

    remade = people.invoice("United Oil & Gas UK")
    assert remade["InvoiceNumber"].endswith("-2") and remade["Status"] == "DRAFT"
    first = people.call("GET", f"Invoices/{remade['InvoiceNumber'].removesuffix('-2')}")
    assert first["Status"] == "VOIDED" and first["SubTotal"] < remade["SubTotal"]
    abroad = people.invoice("Pyramid: kits for Lyon")
    assert (abroad["CurrencyCode"], abroad["SubTotal"]) == ("EUR", 578)
    assert abroad["CurrencyRate"] != 1
    assert set(planned.control_totals["currency"]) == {"GBP", "EUR"}
    (order,) = people.find(
        "select Id, OrderNumber, TotalAmount, Xero_Invoice_ID__c, Xero_Invoice_Amount_Due__c from Order"
    )
    again = people.call("GET", f"Invoices/{order['Xero_Invoice_ID__c']}")
    assert again["InvoiceNumber"] == f"SF-{order['Id'].upper()}"
    assert (again["SubTotal"], again["Reference"]) == (order["TotalAmount"], order["OrderNumber"])
    assert order["Xero_Invoice_Amount_Due__c"] == again["Total"]

    till = Till(pair)
    larkfield, boom = people.invoice("Larkfield"), people.invoice("Boom FM")
    assert (larkfield["Status"], boom["Status"]) == ("AUTHORISED", "AUTHORISED")
    assert larkfield["AmountPaid"] == (larkfield["Total"] / 2).quantize(D("0.01"))
    assert boom["AmountPaid"] == 500
    note = people.call("GET", "CreditNotes")
    assert larkfield["AmountCredited"] == note["Total"] > 0
    assert note["CreditNoteNumber"].startswith(f"{larkfield['InvoiceNumber']}-C")
    fields = "Xero_Invoice_Amount_Paid__c, Xero_Invoice_Amount_Credited__c, Xero_Invoice_Amount_Due__c"
    (shown,) = till.shown(f"select {fields} from Opportunity where Name like 'Larkfield%'")
    assert [*shown.values()] == [larkfield[name] for name in ("AmountPaid", "AmountCredited", "AmountDue")]
    (deposit,) = till.shown("select Xero_Payment_ID__c, Xero_Payment_Status__c from Deposit__c")
    assert deposit["Xero_Payment_Status__c"] == "AUTHORISED"
    assert deposit["Xero_Payment_ID__c"] in {one["PaymentID"] for one in boom["Payments"]}

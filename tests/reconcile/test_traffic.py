"""How many bytes a plan is said to move, reckoned by hand for small plans."""

from __future__ import annotations

from decimal import Decimal

import pytest
from test_price import creating, frame, operation

from reconcile.price import Terms
from reconcile.traffic import billed, salesforce_row, traffic

TERMS = Terms(history="none")


def test_nothing_moves_nothing() -> None:
    none = {"sent": 0, "received": 0}
    assert traffic(frame(), TERMS, {}, {}) == {"salesforce": none, "xero": none}


def test_a_record_weighs_twice_what_it_weighed_at_the_last_pull() -> None:
    rows = [operation(n, native_after='{"Name":"x"}') for n in range(100)]
    found = traffic(frame(*rows), TERMS, {"xero.Contact": 1000.0}, {})["xero"]
    # Shown by the reply to its write, and read again; an empty look, and who we are.
    assert found["received"] == 2 * 1000 * 100 + 2 * 300
    assert found["sent"] == 100 * (12 + 65)
    assert traffic(frame(*rows), Terms(), {"xero.Contact": 1000.0}, {})["xero"]["received"] == (
        found["received"] + 100 * 600  # and each one's history
    )


def test_what_changed_of_late_is_listed_again() -> None:
    rows = frame(operation(1, native_after="{}"))
    terms = Terms(history="none", before={("xero", "Contact"): 4, ("xero", "Invoice"): 9})
    found = [
        traffic(rows, one, {"xero.Contact": 1000.0}, recent)["xero"]["received"]
        for one, recent in ((TERMS, {}), (terms, {"xero.Contact": 7, "xero.Invoice": 9}))
    ]
    # Those of the last delta; those that the run before made; and one call more asks for the other run's invoices.
    assert found[1] - found[0] == (7 + 4) * 1000


def test_looks_that_are_renewed_list_what_was_written_meanwhile() -> None:
    rows = frame(*[operation(n, native_after="{}") for n in range(180 * 50)])
    found = traffic(rows, TERMS, {"xero.Contact": 1000.0}, {})["xero"]["received"]
    assert found == 2 * 1000 * 9000 + 4 * 1000 * 4500 + (1 + 1 + 4 * 5) * 300


def test_what_no_pull_has_met_weighs_what_is_sent_and_what_its_vendor_adds() -> None:
    rows = [creating(n, object="Invoice", entity="document", native_after="{}" * 200) for n in range(10)]
    found = traffic(frame(*rows), TERMS, {"salesforce.Opportunity": 500.0}, {})
    assert found["xero"]["received"] == 2 * (400 + 1500) * 10 + 2 * 300
    assert found["salesforce"]["received"] == 500 * 10 + 3 * 300  # what they are made from is read before


def test_a_guarded_part_is_dearer_to_send_than_a_row() -> None:
    edited = frame(operation(1, "salesforce"))
    ours = frame(operation(1, "salesforce", unit="reference", action="link"))
    sent = [traffic(one, TERMS, {}, {})["salesforce"]["sent"] for one in (edited, ours)]
    assert sent == [2 + 300, 2 + 65]


@pytest.mark.parametrize(
    ("received", "price", "amount"),
    [(0, "2.40", "0.00"), (1_000_000_000, "2.40", "2.40"), (5_000_000, "2.40", "0.01")],
)
def test_what_xero_sends_is_billed_by_the_gb(received: int, price: str, amount: str) -> None:
    assert billed(received, Decimal(price)) == Decimal(amount)


def test_a_row_of_salesforce_weighs_its_fields() -> None:
    assert salesforce_row(["Id", "Name"]) == 130 + 2 * 18 + 6

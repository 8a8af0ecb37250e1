"""What an approved invoice claims too much becomes a draft credit note, once a person said yes: once, to the cent."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from settled_pair import SCOPES, Till
from whole_pair import Body, Pair, copy_of, running

from pipelines.plans import Planned

pytestmark = pytest.mark.in_turn(2)

D = Decimal
MAPPING = "extends: [demo]\ndocuments: {invoice: {changes: move, credits: draft, settled: read}}\n"
DEAL = "Boom FM"


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's pair at rest, with all of its invoices approved."""
    folder = tmp_path_factory.mktemp("approved")
    with running(folder) as pair:
        (pair.folder / "mapping.yaml").write_text(MAPPING)
        pair.set("xero", scopes=SCOPES)
        pair.set("limits", late_application_s=1)
        pair.enable_writes()
        pair.adopt()
        till = Till(pair)
        for row in till.shown("select Xero_Invoice_ID__c from Opportunity where Xero_Invoice_ID__c != null"):
            till.call("POST", "Invoices", {"InvoiceID": row["Xero_Invoice_ID__c"], "Status": "AUTHORISED"})
        pair.adopt()
    return folder


@pytest.fixture
def till(approved: Path, tmp_path: Path) -> Iterator[Till]:
    with copy_of(approved, tmp_path / "pair") as pair:
        yield Till(pair)


def deal(till: Till, name: str = DEAL) -> Body:
    fields = "Id, Amount, StageName, Xero_Invoice_ID__c"
    (row,) = till.shown(f"select {fields} from Opportunity where Name like '{name}%'")
    return row


def lines(till: Till, name: str = DEAL) -> list[Body]:
    query = "select Id, Quantity, UnitPrice, TotalPrice from OpportunityLineItem where OpportunityId = "
    return till.shown(f"{query}'{deal(till, name)['Id']}' order by SortOrder")


def invoice(till: Till, name: str = DEAL) -> Body:
    return till.call("GET", f"Invoices/{deal(till, name)['Xero_Invoice_ID__c']}")


def notes(till: Till) -> list[Body]:
    """Every credit note in Xero, by its number."""
    found = till.xero.get("/api.xro/2.0/CreditNotes").json(parse_float=Decimal)["CreditNotes"]
    whole = [till.call("GET", f"CreditNotes/{row['CreditNoteID']}") for row in found]
    return sorted(whole, key=lambda row: row["CreditNoteNumber"])


def told(planned: Planned, which: str) -> str:
    (reason,) = planned.rejects.filter(pl.col("record_id") == which)["reason"]
    return str(reason)


def of(planned: Planned) -> list[tuple[str, str]]:
    return planned.operations.select("object", "action").rows()


def apart(planned: Planned, which: str, note: Body) -> dict[str, Decimal]:
    """What the books differ by without tax, by cause: the deal's invoice, and the credit note."""
    ids = [which, note["CreditNoteID"]]
    found = (
        planned.differences.filter(pl.col("document_key").is_in(ids))
        .group_by("cause")
        .agg(pl.col("net").sum())
    )
    return dict(found.cast({"cause": pl.String}).iter_rows())


def difference(planned: Planned) -> Decimal:
    """What Xero's approved sales are more than Salesforce's, without tax."""
    approved = pl.col("status").is_in(["AUTHORISED", "PAID"])  # a credit note that is used up is paid
    totals = planned.control_totals.filter(approved, pl.col("measure") == "net")
    return D(totals["difference"].sum())


def carry(pair: Pair, planned: Planned) -> None:
    assert set(pair.apply(planned)["outcome"]) == {"confirmed"}
    again = pair.plan()
    assert again.operations.is_empty(), again.operations.to_dicts()


def test_less_sold_becomes_one_draft_credit_note_on_a_yes(till: Till) -> None:
    pair, before = till.pair, invoice(till)
    first = next(row for row in lines(till) if row["Quantity"] > 1)
    till.edit("OpportunityLineItem", first["Id"], Quantity=float(first["Quantity"] - 1))
    planned, which = pair.plan(), deal(till)["Id"]
    assert planned.operations.is_empty()
    claimed = difference(planned)
    less = before["SubTotal"] - deal(till)["Amount"]
    assert f"It would be of {less:.2f} and its tax, a draft. Say yes" in told(planned, which)
    pair.resolve(which, "invoice", "salesforce")
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    assert of(planned) == [("CreditNote", "create")]
    assert f"{less:,.2f} GBP without tax, draft" in " ".join(pair.command("show").out.split())
    carry(pair, planned)
    (note,) = notes(till)
    assert note["CreditNoteNumber"].startswith(f"SF-{which.upper()}-C")
    assert (note["Status"], note["Reference"], note["SubTotal"]) == ("DRAFT", before["InvoiceNumber"], less)
    assert note["Contact"]["ContactID"] == before["Contact"]["ContactID"]
    (line,) = note["LineItems"]
    kept = {row["LineItemID"]: row for row in before["LineItems"]}
    assert line["Quantity"] == 1
    assert any(
        (row["UnitAmount"], row["AccountCode"], row["TaxType"])
        == (line["UnitAmount"], line["AccountCode"], line["TaxType"])
        for row in kept.values()
    )
    quiet = pair.plan()
    assert quiet.drift.filter(pl.col("salesforce_id") == which).is_empty()
    assert quiet.rejects.filter(pl.col("record_id") == which).is_empty()
    assert apart(quiet, which, note) == {"price_or_quantity": less, "credited": -less}
    assert quiet.names[note["CreditNoteID"]] == note["CreditNoteNumber"]

    # Somebody approves it in Xero and sets it against the invoice: both books say one amount.
    till.call("POST", "CreditNotes", {"CreditNoteID": note["CreditNoteID"], "Status": "AUTHORISED"})
    till.allocate(note, before, str(note["Total"]))
    settled = pair.plan()
    assert settled.operations.is_empty()
    assert len(notes(till)) == 1
    assert apart(settled, which, note) == {"price_or_quantity": less, "credited": -less}
    assert difference(settled) == claimed - less
    assert settled.control_totals["residual"].sum() == 0
    # What is sold less still, after a part was credited, is told.
    till.edit("OpportunityLineItem", first["Id"], Quantity=float(first["Quantity"]) - 1.5)
    planned = pair.plan()
    assert planned.operations.is_empty()
    assert f"its credit note {note['CreditNoteNumber']} is of what it came to before" in told(planned, which)


def test_no_second_credit_note_is_made_beside_one_of_another_difference(till: Till) -> None:
    pair, before, which = till.pair, invoice(till), deal(till)["Id"]
    first = lines(till)[0]

    def price(less: str) -> Planned:
        till.edit("OpportunityLineItem", first["Id"], UnitPrice=float(first["UnitPrice"] - D(less)))
        return pair.plan()

    price("1")
    pair.resolve(which, "invoice", "salesforce")
    carry(pair, pair.plan())
    (note,) = notes(till)
    beside = f"its credit note {note['CreditNoteNumber']} is of what it came to before"
    assert beside in told(price("2"), which)  # a note of all of it would take the first one's part back twice
    assert f"it agrees with its invoice, and {beside}" in told(price("0"), which)
    pair.resolve(which, "invoice", "neither")
    assert pair.plan().rejects.filter(pl.col("record_id") == which).is_empty()
    assert beside in told(price("2"), which)
    # Also where a list of what changed does not show what was deleted: a sweep does.
    pair.control("xero", "POST", "dialect", {"deleted_invoices": "hidden"})
    till.call("POST", "CreditNotes", {"CreditNoteID": note["CreditNoteID"], "Status": "DELETED"})
    assert "a draft. Say yes" in told(pair.plan(full=True), which)
    pair.resolve(which, "invoice", "salesforce")
    carry(pair, pair.plan())
    (made,) = (row for row in notes(till) if row["Status"] == "DRAFT")
    assert made["SubTotal"] == before["SubTotal"] - deal(till)["Amount"] == 2 * first["Quantity"]


def test_no_next_invoice_is_made_beside_a_credit_note_of_the_voided_one(till: Till) -> None:
    pair, before, which = till.pair, invoice(till), deal(till)["Id"]
    first = lines(till)[0]
    till.edit("OpportunityLineItem", first["Id"], UnitPrice=float(first["UnitPrice"] - 1))
    pair.plan()
    pair.resolve(which, "invoice", "salesforce")
    carry(pair, pair.plan())
    (note,) = notes(till)
    till.call("POST", "Invoices", {"InvoiceID": before["InvoiceID"], "Status": "VOIDED"})
    till.edit("OpportunityLineItem", first["Id"], UnitPrice=float(first["UnitPrice"] + 1))
    pair.adopt()  # the status is shown
    beside = f"its credit note {note['CreditNoteNumber']} is of what it came to before"
    assert beside in told(pair.plan(), which)
    till.call("POST", "CreditNotes", {"CreditNoteID": note["CreditNoteID"], "Status": "DELETED"})
    assert "one with the next revision of its number is made. Say yes" in told(pair.plan(), which)


def test_a_lost_deal_that_is_partly_paid_is_credited_whole(till: Till) -> None:
    pair, before, which = till.pair, invoice(till), deal(till)["Id"]
    till.pay(before, "100")
    till.edit("Opportunity", which, StageName="Closed Lost")
    assert "a draft. Say yes" in told(pair.plan(), which)
    pair.resolve(which, "invoice", "salesforce")
    planned = pair.plan()
    assert ("CreditNote", "create") in of(planned)
    carry(pair, planned)
    (note,) = notes(till)
    assert (note["SubTotal"], note["Total"]) == (before["SubTotal"], before["Total"])
    assert len(note["LineItems"]) == len(before["LineItems"])


def test_what_can_not_be_told_line_by_line_is_for_a_person(till: Till) -> None:
    pair, which = till.pair, deal(till)["Id"]
    one, other = lines(till)[:2]
    till.edit("OpportunityLineItem", one["Id"], Quantity=float(one["Quantity"]) / 4)
    till.edit("OpportunityLineItem", other["Id"], UnitPrice=float(other["UnitPrice"]) + 0.01)
    pair.plan()
    pair.resolve(which, "invoice", "salesforce")
    planned = pair.plan()
    assert planned.operations.is_empty()
    assert "no credit note can be made by us: one of its lines went up" in told(planned, which)


@pytest.mark.parametrize("kind", ["drop_after", "500_applied"])
def test_a_lost_reply_makes_no_second_credit_note(till: Till, kind: str) -> None:
    pair, which = till.pair, deal(till)["Id"]
    first = lines(till)[0]
    till.edit("OpportunityLineItem", first["Id"], UnitPrice=float(first["UnitPrice"]) - 0.37)
    pair.plan()
    pair.resolve(which, "invoice", "salesforce")
    planned = pair.plan()
    pair.control("xero", "POST", "faults", {"kind": kind, "method": "PUT", "path": "CreditNotes"})
    assert set(pair.apply(planned)["outcome"]) <= {"confirmed", "adopted"}
    pair.control("xero", "DELETE", "faults")
    assert pair.plan().operations.is_empty()
    assert len(notes(till)) == 1


def test_a_deal_that_changed_since_the_plan_gets_no_credit_note_by_it(till: Till) -> None:
    pair, which = till.pair, deal(till)["Id"]
    first = lines(till)[0]
    till.edit("OpportunityLineItem", first["Id"], UnitPrice=float(first["UnitPrice"]) - 1)
    pair.plan()
    pair.resolve(which, "invoice", "salesforce")
    planned = pair.plan()
    till.edit("OpportunityLineItem", first["Id"], UnitPrice=float(first["UnitPrice"]) - 2)
    outcomes: Any = pair.apply(planned)
    assert set(outcomes["outcome"]) == {"overtaken"}
    assert notes(till) == []

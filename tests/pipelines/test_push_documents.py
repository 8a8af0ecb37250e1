"""Invoices by the real push over real HTTP: made once, known by their key, and shown on the opportunity."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from document_scene import (
    BY_REFERENCE,
    URL,
    DocumentScene,
    between_look_and_write,
    invoice_of,
    opened,
    opportunity_id,
)
from peers import account
from push_scene import account_id, contact_id

from pipelines.settings import Push
from sandbox.serve import start
from sandbox.xero.switches import SWITCHES


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with start(tmp_path_factory.mktemp("sandbox"), seed="empty", limits="off") as found:
        yield found


@pytest.fixture
def scene(line: dict[str, Any], tmp_path: Path) -> Iterator[DocumentScene]:
    with opened(line, tmp_path) as made:
        yield made


def outcomes(found: dict[str, tuple[str, str | None]]) -> list[str]:
    return [outcome for outcome, _ in found.values()]


def key_of(number: int) -> str:
    return f"SF-{opportunity_id(number).upper()}"


def document_links(scene: DocumentScene) -> list[tuple[str, str]]:
    with scene.journal() as journal:
        known = journal.links()
    return known.filter(entity="document").select("salesforce_id", "xero_id").rows()


def test_a_won_opportunity_becomes_one_invoice_and_shows_it(scene: DocumentScene) -> None:
    operations = invoice_of(1)
    assert outcomes(scene.push(operations)) == ["confirmed", "confirmed"]
    (made,) = scene.invoices()
    assert (made["InvoiceNumber"], made["Status"]) == (key_of(1), "DRAFT")
    shown = scene.opportunities()[opportunity_id(1)]
    assert shown["Xero_Invoice_ID__c"] == made["InvoiceID"]
    assert (shown["Xero_Invoice_Number__c"], shown["Xero_Invoice_Status__c"]) == (key_of(1), "DRAFT")
    assert shown["Xero_Invoice_Url__c"] == URL + made["InvoiceID"]
    assert document_links(scene) == [(opportunity_id(1), made["InvoiceID"])]
    assert outcomes(scene.push(operations)) == ["confirmed", "confirmed"]
    assert len(scene.invoices()) == 1


def test_an_invoice_that_xero_numbers_shows_xeros_number(scene: DocumentScene) -> None:
    scene.mapping = BY_REFERENCE
    assert outcomes(scene.push(invoice_of(1, by="Reference"))) == ["confirmed", "confirmed"]
    (made,) = scene.invoices()
    assert made["Reference"] == key_of(1) and made["InvoiceNumber"] != key_of(1)
    assert scene.opportunities()[opportunity_id(1)]["Xero_Invoice_Number__c"] == made["InvoiceNumber"]


def test_invoices_leave_as_many_at_once_as_the_settings_say(scene: DocumentScene) -> None:
    scene.how = Push(documents_at_once=3)
    made = [one for n in range(1, 5) for one in invoice_of(n)]
    assert set(outcomes(scene.push(made))) == {"confirmed"}
    asked = [
        one for one in scene.peer.requests("xero") if one["method"] == "PUT" and "Invoices" in one["path"]
    ]
    assert len(asked) == 2 and len(scene.invoices()) == 4


@pytest.mark.parametrize(
    ("by", "reference_filter"),
    [("InvoiceNumber", "accept"), ("Reference", "accept"), ("Reference", "refuse")],
)
@pytest.mark.parametrize(
    "kind", ["drop_after", "drop_before", "500", "500_applied", "partial", "short", "reordered", "cut"]
)
def test_an_answer_that_tells_nothing_never_makes_a_second_invoice(
    scene: DocumentScene, kind: str, by: str, reference_filter: str
) -> None:
    if by == "Reference":
        scene.mapping = BY_REFERENCE
    scene.switch("xero", reference_filter=reference_filter)
    operations = [one for n in (1, 2) for one in invoice_of(n, by=by)]
    scene.peer.control("xero", "POST", "faults", {"kind": kind, "method": "PUT", "path": "Invoices"})
    for _ in range(3):
        told = scene.push(operations)
        if set(outcomes(told)) <= {"confirmed", "adopted"}:
            break
    assert set(outcomes(told)) <= {"confirmed", "adopted"}
    keys = sorted(one[by] for one in scene.invoices())
    assert keys == [key_of(1), key_of(2)]
    by_key = {one[by]: one["InvoiceID"] for one in scene.invoices()}
    for number in (1, 2):
        shown = scene.opportunities()[opportunity_id(number)]
        assert shown["Xero_Invoice_ID__c"] == by_key[key_of(number)]


def test_an_invoice_that_is_there_already_is_adopted_if_it_is_the_same(scene: DocumentScene) -> None:
    line = {"Description": "Work", "Quantity": 1, "UnitAmount": 100, "AccountCode": "200"}
    there = {
        "Type": "ACCREC",
        "Contact": {"ContactID": contact_id(1)},
        "InvoiceNumber": key_of(1).lower(),
        "LineItems": [line],
    }
    scene.person("edit-invoice", there)
    assert outcomes(scene.push(invoice_of(1))) == ["adopted", "confirmed"]
    assert len(scene.invoices()) == 1
    assert document_links(scene) == [(opportunity_id(1), scene.invoices()[0]["InvoiceID"])]


def test_an_invoice_under_our_number_that_differs_is_not_ours_to_take(scene: DocumentScene) -> None:
    line = {"Description": "Other work", "Quantity": 1, "UnitAmount": 99, "AccountCode": "200"}
    there = {
        "Type": "ACCREC",
        "Contact": {"ContactID": contact_id(1)},
        "InvoiceNumber": key_of(1),
        "LineItems": [line],
    }
    scene.person("edit-invoice", there)
    (made, link) = scene.push(invoice_of(1)).values()
    assert made[0] == "rejected" and "subtotal 99" in str(made[1]) and "Other work" not in str(made[1])
    assert link[0] == "waiting"
    assert scene.opportunities()[opportunity_id(1)]["Xero_Invoice_ID__c"] is None


def test_a_voided_invoice_under_our_number_is_never_written_over(scene: DocumentScene) -> None:
    assert outcomes(scene.push(invoice_of(1))) == ["confirmed", "confirmed"]
    scene.person("edit-invoice", {"InvoiceID": scene.invoices()[0]["InvoiceID"], "Status": "DELETED"})
    (scene.folder / "journal.db").unlink()
    (scene.folder / "journal.head").unlink(missing_ok=True)
    (made, _) = scene.push(invoice_of(1)).values()
    assert made[0] == "overtaken"
    assert [one["Status"] for one in scene.invoices()] == ["DELETED"]


# How invoices are written and read, with what reading rests on.
OF_INVOICES = [
    one
    for one in SWITCHES
    if one.name
    in {
        "invoice_number_case", "number_of_closed", "put_existing_number", "number_taken_wording",
        "submitted_to_draft", "authorised_edits", "paid_edits", "due_date_missing", "unknown_contact_in_invoice",
        "archived_contact_in_invoice", "contact_in_invoice", "lines_not_sent", "line_amount_mismatch",
        "rounding_ties", "total_tax", "price_places", "deleted_invoices", "reference_filter", "summary_only",
        "payment_moves_stamp", "history_of_api_writes", "history_user_of_api", "history_details", "failed_batch",
        "error_elements", "cache_500", "if_modified_since", "page_size", "default_order", "ids_show_archived",
        "single_equals", "unchanged_write", "stamps",
    }
]  # fmt: skip


def survives(scene: DocumentScene, **dialect: object) -> None:
    """Made once, with an answer lost, and once only with the journal lost, however Xero behaves."""
    scene.switch("xero", **dialect)
    operations = [one for n in (1, 2) for one in invoice_of(n)]
    scene.peer.control("xero", "POST", "faults", {"kind": "500_applied", "method": "PUT", "path": "Invoices"})
    assert set(outcomes(scene.push(operations))) <= {"confirmed", "adopted"}
    assert scene.audit().incidents.is_empty()
    (scene.folder / "journal.db").unlink()
    (scene.folder / "journal.head").unlink(missing_ok=True)
    assert set(outcomes(scene.push(operations))) == {"adopted"}
    assert sorted(one["InvoiceNumber"] for one in scene.invoices()) == [key_of(1), key_of(2)]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_behaviours_of_invoices_that_nobody_could_confirm_are_survived_together(
    scene: DocumentScene, turn: int
) -> None:
    """In the turns each switch has each of its values."""
    survives(scene, **{one.name: one.values[turn % len(one.values)] for one in OF_INVOICES})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switch", "value"), [(one.name, value) for one in OF_INVOICES for value in one.values[1:]]
)
def test_each_behaviour_of_invoices_that_nobody_could_confirm_is_survived(
    scene: DocumentScene, switch: str, value: object
) -> None:
    survives(scene, **{switch: value})


def test_an_edit_between_look_and_write_is_refused_by_salesforce_where_the_record_is_guarded(
    scene: DocumentScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from push_scene import update
    from test_pull import edit

    scene.how = Push(guard="record")
    path = f"/services/data/v67.0/sobjects/Account/{account_id(1)}"
    scene.peer.load("salesforce", [account(1)])
    scene.peer.move_clock(5)  # Salesforce compares whole seconds

    def by_hand() -> None:
        scene.peer.move_clock(5)
        edit(scene.peer, "salesforce", "PATCH", path, {"Phone": "+44 20 7946 0999"})

    between_look_and_write(monkeypatch, by_hand, side="salesforce")
    one = update("salesforce", 1, "phone", None, "+442079460123")
    assert outcomes(scene.push([one])) == ["overtaken"]
    assert scene.accounts()[account_id(1)]["Phone"] == "+44 20 7946 0999"
    two = update("salesforce", 1, "fax", None, "+442079460123")
    assert outcomes(scene.push([two])) == ["confirmed"]


def test_an_edit_in_the_second_of_our_own_write_before_is_refused_too(
    scene: DocumentScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two have one stamp for Salesforce's condition: the push looks again when that second is over."""
    from push_scene import update
    from test_pull import edit

    scene.how = Push(guard="record")
    scene.peer.load("salesforce", [account(1)])
    scene.peer.move_clock(5)
    path = f"/services/data/v67.0/sobjects/Account/{account_id(1)}"
    time.sleep(1 - time.time() % 1)  # all of it in one second
    one = update("salesforce", 1, "phone", None, "+442079460123")
    assert outcomes(scene.push([one])) == ["confirmed"]
    by_hand = {"Fax": "+44 20 7946 0999"}
    between_look_and_write(
        monkeypatch, lambda: edit(scene.peer, "salesforce", "PATCH", path, by_hand), side="salesforce"
    )
    two = update("salesforce", 1, "fax", None, "+442079460123")
    assert outcomes(scene.push([two], plan_hash="b" * 64, sleep=time.sleep)) == ["overtaken"]
    assert scene.accounts()[account_id(1)]["Fax"] == "+44 20 7946 0999"

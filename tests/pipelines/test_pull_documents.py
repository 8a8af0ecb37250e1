"""Pulling what invoices are made of: only where the mapping wants it, and quiet where nothing moved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from document_scene import DERIVED, SCOPES, DocumentScene, opened, opportunity, opportunity_id
from peers import account
from push_scene import contact_id
from test_pull import api_calls, bodies, last_call

from pipelines.pull import PullResult
from pipelines.warehouse import Warehouse
from reconcile.model import SIDES
from sandbox.serve import start

NEEDED = {side: DERIVED.fields(side) for side in SIDES}
MADE_OF = [("salesforce", "Opportunity"), ("salesforce", "OpportunityLineItem"), ("xero", "Invoice")]
LISTS = [("xero", "Item"), ("xero", "Account"), ("xero", "TaxRate"), ("xero", "Organisation")]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with start(tmp_path_factory.mktemp("sandbox"), seed="empty", limits="off") as found:
        yield found


@pytest.fixture
def scene(line: dict[str, Any], tmp_path: Path) -> Iterator[DocumentScene]:
    with opened(line, tmp_path) as made:
        yield made


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with Warehouse(tmp_path / "warehouse.duckdb") as found:
        yield found


def pull(scene: DocumentScene, warehouse: Warehouse, **options: Any) -> PullResult:
    return scene.peer.pull(warehouse, **{"needed": NEEDED, **options})


def states(result: PullResult) -> dict[tuple[str, str], Any]:
    return {(row.side, row.object): row for row in result.objects}


def invoice(number: int, **fields: Any) -> dict[str, Any]:
    line = {"Description": "Work", "Quantity": 1, "UnitAmount": 12.3456, "AccountCode": "200"}
    return {
        "Type": "ACCREC",
        "Contact": {"ContactID": contact_id(1)},
        "InvoiceNumber": f"INV-{number}",
        "LineItems": [line],
        **fields,
    }


def quiet(scene: DocumentScene, warehouse: Warehouse) -> dict[str, list[str]]:
    """Pull once more; gives the calls by side."""
    before = {side: last_call(scene.peer, side) for side in SIDES}
    pull(scene, warehouse)
    return {side: api_calls(scene.peer, side, before[side]) for side in SIDES}


def test_a_mapping_without_invoices_pulls_what_it_did_before(
    scene: DocumentScene, warehouse: Warehouse
) -> None:
    before = {side: len(scene.peer.requests(side)) for side in SIDES}
    result = scene.peer.pull(warehouse)
    assert len(result.objects) == 3
    told = [one["path"] + one["query"] for side in SIDES for one in scene.peer.requests(side)[before[side] :]]
    assert told and not [path for path in told if "Invoices" in path or "Opportunity" in path]


def test_all_that_invoices_rest_on_arrives_as_it_came(scene: DocumentScene, warehouse: Warehouse) -> None:
    scene.peer.load("salesforce", [opportunity(7, IsDeleted=True)])
    for number in (1, 2):
        scene.person("edit-invoice", invoice(number))
    scene.person("edit-invoice", {**invoice(3), "Type": "ACCPAY"})
    result = pull(scene, warehouse)
    assert [row.error for row in result.objects] == [None] * len(result.objects)
    assert set(states(result)) >= {*MADE_OF, *LISTS}
    kept = bodies(warehouse, "xero", "Invoice")
    assert sorted(body["InvoiceNumber"] for body in kept.values()) == ["INV-1", "INV-2"]  # a bill is none
    raw = warehouse.raw("xero", "Invoice")["body"][0]
    assert '"UnitAmount":12.3456' in raw.replace(" ", "")
    assert "200" in {body.get("Code") for body in bodies(warehouse, "xero", "Account").values()}
    assert bodies(warehouse, "xero", "TaxRate") and len(bodies(warehouse, "xero", "Organisation")) == 1
    deals = bodies(warehouse, "salesforce", "Opportunity", live=False)
    assert deals[opportunity_id(7)]["IsDeleted"] and deals[opportunity_id(1)]["StageName"] == "Closed Won"
    for side, name in [*MADE_OF, *LISTS]:
        assert warehouse.fields().filter(side=side, object=name).height > 3
    warehouse.make_views()
    assert warehouse.con.sql("select count(*) from main.xero_invoice").fetchall() == [(2,)]


def past_overlap(scene: DocumentScene, warehouse: Warehouse) -> None:
    """Pull until the first rows lie before the overlap, and the token is a new one."""
    for _ in range(2):
        scene.peer.move_clock(2 * scene.peer.settings.pull.overlap_s)
        pull(scene, warehouse)


def test_a_quiet_pull_makes_one_call_for_each_object_and_none_for_the_lists(
    scene: DocumentScene, warehouse: Warehouse
) -> None:
    pull(scene, warehouse)
    past_overlap(scene, warehouse)
    calls = quiet(scene, warehouse)
    assert len(calls["salesforce"]) == 4
    assert sorted(path.rpartition("/")[2] for path in calls["xero"]) == ["Contacts", "Invoices"]
    assert warehouse.raw("xero", "Account").height > 0  # they stay as they were


def test_the_lists_are_read_when_an_invoice_may_have_to_be_planned(
    scene: DocumentScene, warehouse: Warehouse
) -> None:
    pull(scene, warehouse)
    scene.peer.move_clock(2 * scene.peer.settings.pull.overlap_s)
    pull(scene, warehouse)
    scene.peer.load("salesforce", [opportunity(9)])
    calls = quiet(scene, warehouse)
    assert {"Items", "Accounts", "TaxRates", "Organisation"} <= {p.rpartition("/")[2] for p in calls["xero"]}


def test_the_lists_are_read_again_after_an_hour(scene: DocumentScene, warehouse: Warehouse) -> None:
    """An account that somebody adds moves nothing else."""
    began = datetime.now(UTC)
    pull(scene, warehouse, now=began)
    scene.peer.move_clock(2 * scene.peer.settings.pull.overlap_s)
    pull(scene, warehouse, now=began + timedelta(minutes=1))
    result = pull(scene, warehouse, now=began + timedelta(minutes=59))
    assert all(states(result)[place].rows_seen == 0 for place in LISTS)
    result = pull(scene, warehouse, now=began + timedelta(minutes=62))
    assert states(result)["xero", "Account"].rows_seen > 0


def test_a_changed_and_a_voided_invoice_arrive_with_the_next_pull(
    scene: DocumentScene, warehouse: Warehouse
) -> None:
    scene.person("edit-invoice", invoice(1))
    scene.person("edit-invoice", invoice(2))
    pull(scene, warehouse)
    scene.peer.move_clock(2 * scene.peer.settings.pull.overlap_s)
    pull(scene, warehouse)
    made = {one["InvoiceNumber"]: one["InvoiceID"] for one in scene.invoices()}
    scene.person("edit-invoice", {"InvoiceID": made["INV-1"], "Reference": "PO 7"})
    scene.person("edit-invoice", {"InvoiceID": made["INV-2"], "Status": "DELETED"})
    scene.person("edit-invoice", invoice(3))
    assert states(pull(scene, warehouse))["xero", "Invoice"].rows_changed == 3
    kept = {body["InvoiceNumber"]: body for body in bodies(warehouse, "xero", "Invoice").values()}
    assert kept["INV-1"]["Reference"] == "PO 7" and kept["INV-2"]["Status"] == "DELETED"


@pytest.mark.parametrize("listed", ["listed", "hidden"])
def test_a_sweep_finds_a_deleted_invoice_even_where_the_list_hides_it(
    scene: DocumentScene, warehouse: Warehouse, listed: str
) -> None:
    scene.switch("xero", deleted_invoices=listed)
    for number in range(1, 7):
        scene.person("edit-invoice", invoice(number))
    pull(scene, warehouse)
    made = {one["InvoiceNumber"]: one["InvoiceID"] for one in scene.invoices()}
    scene.person("edit-invoice", {"InvoiceID": made["INV-2"], "Status": "DELETED"})
    assert states(pull(scene, warehouse, full=True))["xero", "Invoice"].error is None
    kept = {body["InvoiceNumber"]: body["Status"] for body in bodies(warehouse, "xero", "Invoice").values()}
    assert kept["INV-2"] == "DELETED" and len(kept) == 6


def test_pages_of_invoices_are_complete_where_the_page_size_is_ignored(
    scene: DocumentScene, warehouse: Warehouse
) -> None:
    scene.switch("xero", page_size="ignored", default_order="updated")
    rows = [
        {**invoice(n), "InvoiceID": f"00000000-0000-4000-8000-{n:012d}", "Status": "DRAFT", "LineItems": []}
        for n in range(230)
    ]
    scene.peer.load("xero", rows)
    assert states(pull(scene, warehouse))["xero", "Invoice"].rows_seen == 230


def test_a_list_that_fails_keeps_its_rows_and_is_told(scene: DocumentScene, warehouse: Warehouse) -> None:
    pull(scene, warehouse)
    before = warehouse.raw("xero", "Account").height
    scene.peer.control(
        "xero", "POST", "faults", {"kind": "html", "method": "GET", "path": "Accounts", "times": -1}
    )
    scene.peer.load("salesforce", [account(3)])
    result = pull(scene, warehouse, full=True)
    told = {place: row.error for place, row in states(result).items() if row.error}
    assert list(told) == [("xero", "Account")] and "HTML" in told["xero", "Account"]
    assert warehouse.raw("xero", "Account").height == before
    scene.peer.control("xero", "DELETE", "faults")
    result = pull(scene, warehouse)  # what failed is read again, though nothing else moved
    assert states(result)["xero", "Account"].error is None and states(result)["xero", "Account"].rows_seen > 0


def test_an_item_that_is_gone_is_a_tombstone(scene: DocumentScene, warehouse: Warehouse) -> None:
    items = [
        {"ItemID": f"00000000-0000-4000-8000-00000000010{n}", "Code": f"P{n}", "Name": f"P{n}"}
        for n in range(6)
    ]
    scene.peer.load("xero", items)
    pull(scene, warehouse)
    scene.peer.control("xero", "POST", "reset", {"seed": False})
    scene.peer.load("xero", items[:5])
    states(pull(scene, warehouse, full=True, accept_smaller=True))
    gone = warehouse.raw("xero", "Item").filter(deleted=True)
    assert [json.loads(body)["Code"] for body in gone["body"]] == ["P5"]


def test_a_login_without_the_scope_names_the_one_that_is_missing(
    line: dict[str, Any], tmp_path: Path
) -> None:
    from peers import Peer, settings_for

    scopes = SCOPES.replace("accounting.invoices ", "")
    peer = Peer(line, tmp_path, settings_for(line, tmp_path, xero={"scopes": scopes}))
    with Warehouse(tmp_path / "warehouse.duckdb") as warehouse:
        result = peer.pull(warehouse, needed=NEEDED)
    assert "accounting.invoices.read" in states(result)["xero", "Invoice"].error
    assert states(result)["xero", "Contact"].error is None

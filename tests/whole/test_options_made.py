"""Tracking options that deals name and Xero lacks: made where the mapping lets them be, once, before the invoice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import polars as pl
import pytest
from test_invoice_papers import change, in_xero, invoice_of, put
from whole_pair import Body, Pair

from pipelines import runs

pytestmark = pytest.mark.in_turn(1)

VERIFIER = Path(__file__).parents[2] / "verifier" / "verify.py"
SCOPES = "accounting.contacts accounting.settings accounting.invoices"
MAPPING = """extends: [demo]
documents:
  invoice:
    tracking: {Region: LeadSource}
    options:  on_demand
    lines:    {tracking: {Team: Description}}
"""


@pytest.fixture
def tracking(fresh: Pair) -> Pair:
    """A pair with two categories, each with an option; the same word is an option of both once it is made."""
    fresh.enable_writes()
    fresh.adopt()
    fresh.set("xero", scopes=SCOPES)
    # Before a first option is made, a journal that is new lets the vendor's time pass.
    fresh.set("limits", late_application_s=1)
    (fresh.folder / "mapping.yaml").write_text(MAPPING)
    with in_xero(fresh) as http:
        for name in ("Region", "Team"):
            made = put(http, "TrackingCategories", {"Name": name})["TrackingCategories"][0]
            put(http, f"TrackingCategories/{made['TrackingCategoryID']}/Options", {"Name": "North"})
    return fresh


def options(pair: Pair, category: str) -> list[str]:
    with in_xero(pair) as http:
        rows = http.get("/TrackingCategories").json()["TrackingCategories"]
    return [one["Name"] for row in rows if row["Name"] == category for one in row["Options"]]


def closed(pair: Pair, region: str, *, team: str | None = None) -> Body:
    """Win a deal that says a region, and whose first line says a team."""
    rows = pair.dump("salesforce").values()
    deal = next(
        row
        for row in rows
        if row["attributes"]["type"] == "Opportunity" and row["Name"].startswith("United Oil & Gas UK")
    )
    for place, line in enumerate([row for row in rows if row.get("OpportunityId") == deal["Id"]]):
        change(pair, line, Description=team if place == 0 else None)
    change(pair, deal, StageName="Closed Won", CloseDate="2026-11-23", LeadSource=region)
    return deal


def tracked(pair: Pair, deal: Body) -> list[list[tuple[str, str]]]:
    with in_xero(pair) as http:
        found = http.get(f"/Invoices/{invoice_of(pair, deal)['InvoiceID']}").json()["Invoices"][0]
    return [[(one["Name"], one["Option"]) for one in line["Tracking"]] for line in found["LineItems"]]


def test_an_option_is_made_before_its_invoice_and_once(tracking: Pair) -> None:
    pair = tracking
    deal = closed(pair, "West", team="west")
    planned = pair.plan()
    made = planned.operations.filter(pl.col("entity") == "option")
    assert sorted(json.loads(one)["option"] for one in made["after"]) == ["West", "west"]
    assert not any(
        "west" in str(one).casefold() for one in made["source_id"]
    )  # what a person wrote stays sealed
    said = " ".join(pair.command("show").out.split())
    assert "option West" in said and "category Region" in said
    [invoice] = planned.operations.filter(pl.col("entity") == "document", pl.col("action") == "create")[
        "after"
    ]
    assert json.loads(invoice)["lines"][0]["tracking"] == [
        {"Name": "Region", "Option": "West"},
        {"Name": "Team", "Option": "west"},
    ]
    marks = pair.marks()
    priced = planned.price["calls"]["xero"]["write"]
    pair.apply(planned)
    assert len([row for row in pair.writes(marks) if row["side"] == "xero"]) == priced == 3
    assert (options(pair, "Region"), options(pair, "Team")) == (["North", "West"], ["North", "west"])
    first, *others = tracked(pair, deal)
    assert first == [("Region", "West"), ("Team", "west")]
    assert others and all(one == [("Region", "West")] for one in others)
    assert pair.plan().operations.is_empty()
    assert pair.command("audit", "verify", "--json").json()["ok"]
    journal = b"".join(file.read_bytes() for file in (pair.folder / "data").glob("journal*"))
    assert b"created_at" in journal and b"West" not in journal
    verified(pair)


def verified(pair: Pair) -> None:
    """What the run left holds before the verifier, which knows nothing of us."""
    folder = next(pair.folder.rglob("certificates"))
    files = []
    records = {side: list(pair.dump(side).values()) for side in ("salesforce", "xero")}
    with in_xero(pair) as http:
        records["xero"] += http.get("/TrackingCategories").json()["TrackingCategories"]
    history = {side: pair.requests(side) for side in ("salesforce", "xero")}
    for name, content in (("history", history), ("records", records)):
        (pair.folder / f"{name}.json").write_text(json.dumps(content))
        files.append(f"--{name}={pair.folder / name}.json")
    ran = subprocess.run(
        [sys.executable, VERIFIER, folder, *files], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "500_applied"])
def test_a_lost_answer_makes_no_second_option(tracking: Pair, kind: str) -> None:
    pair = tracking
    deal = closed(pair, "West")
    planned = pair.plan()
    pair.control("xero", "POST", "faults", {"kind": kind, "method": "PUT", "path": "Options"})
    assert set(pair.apply(planned)["outcome"]) <= {"confirmed", "adopted"}
    assert [row["fault"] for row in pair.requests("xero") if row["fault"]] == [kind]
    assert options(pair, "Region") == ["North", "West"]
    assert tracked(pair, deal)[0] == [("Region", "West")]
    assert pair.plan().operations.is_empty()


def test_an_option_that_somebody_makes_meanwhile_is_taken(tracking: Pair) -> None:
    pair = tracking
    deal = closed(pair, "West")
    planned = pair.plan()
    with in_xero(pair) as http:
        put(http, f"TrackingCategories/{category_id(http, 'Region')}/Options", {"Name": "WEST"})
    marks = pair.marks()
    with pair.opened() as ctx:
        applied = runs.apply(ctx, runs.load_plan(ctx, planned.hash), approved=True)
    assert set(applied.outcomes["outcome"]) == {"adopted", "confirmed"}
    assert applied.audited.findings.is_empty(), applied.audited.findings.to_dicts()
    assert not [row for row in pair.writes(marks) if row["path"].endswith("/Options")]
    assert options(pair, "Region") == ["North", "WEST"]
    assert tracked(pair, deal)[0] == [("Region", "WEST")]


def category_id(http: httpx.Client, name: str) -> str:
    rows = http.get("/TrackingCategories").json()["TrackingCategories"]
    return next(row["TrackingCategoryID"] for row in rows if row["Name"] == name)


def test_a_name_that_an_archived_option_holds_is_told_and_nothing_goes_without_it(tracking: Pair) -> None:
    pair = tracking
    with in_xero(pair) as http:
        path = f"TrackingCategories/{category_id(http, 'Region')}/Options"
        option = put(http, path, {"Name": "West"})["Options"][0]["TrackingOptionID"]
        assert http.post(f"/{path}/{option}", json={"Status": "ARCHIVED"}).status_code == 200
    deal = closed(pair, "West")
    ended = pair.apply(pair.plan())
    assert ended.filter(pl.col("entity") == "option")["outcome"].to_list() == ["rejected"]
    assert set(ended.filter(pl.col("entity") == "document")["outcome"]) == {"waiting"}
    again = pair.plan()
    assert again.operations.is_empty()
    assert any("already in use" in reason for reason in again.rejects["reason"])
    assert not [
        row for row in pair.dump("xero").values() if deal["Id"].upper() in str(row.get("InvoiceNumber"))
    ]


@pytest.mark.parametrize("name", ['19" rack', "C:\\north", "Gießen"])
def test_a_name_may_be_any_text(tracking: Pair, name: str) -> None:
    pair = tracking
    deal = closed(pair, name)
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    pair.control("xero", "POST", "faults", {"kind": "drop_after", "method": "PUT", "path": "Options"})
    with pair.opened() as ctx:
        applied = runs.apply(ctx, runs.load_plan(ctx, planned.hash), approved=True)
    assert applied.audited.findings.is_empty(), applied.audited.findings.to_dicts()
    assert options(pair, "Region") == ["North", name]
    assert tracked(pair, deal)[0] == [("Region", name)]
    assert pair.plan().operations.is_empty()


def test_without_the_right_to_change_settings_the_run_says_which_scope_it_lacks(tracking: Pair) -> None:
    pair = tracking
    pair.set("xero", scopes="accounting.contacts accounting.settings.read accounting.invoices")
    closed(pair, "West")
    said = pair.command("doctor")
    assert "lacks accounting.settings" in " ".join((said.out + said.err).split())
    pair.plan()
    said = pair.command("apply", "--yes")
    assert said.code == 1
    assert "accounting.settings" in said.err


def test_a_long_name_stops_its_invoice_and_nothing_is_made_for_what_makes_no_invoice(tracking: Pair) -> None:
    pair = tracking
    closed(pair, "W" * 101, team="New")
    planned = pair.plan()
    assert planned.operations.is_empty()
    assert any("no active option" in reason for reason in planned.rejects["reason"])

"""Terms, branding theme and tracking of an invoice, through the whole product on both sandboxed systems."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import httpx
import polars as pl
import pytest
from whole_pair import Body, Pair

pytestmark = pytest.mark.in_turn(0)

MAPPING = """extends: [demo]
documents:
  invoice:
    status:   SUBMITTED
    due:      {terms: contact, days: 30}
    branding: very orange invoice!
    tracking: {region: LeadSource}
    lines:    {tracking: {Kind: Description}}
"""


def in_xero(pair: Pair) -> httpx.Client:
    """Someone who may change the organisation's settings."""
    xero = pair.line["xero"]
    http = httpx.Client(base_url=f"{xero['api_url']}/api.xro/2.0", timeout=20)
    login = {name: xero["person"][name] for name in ("client_id", "client_secret")}
    scope = "accounting.settings accounting.contacts accounting.invoices"
    form = {"grant_type": "client_credentials", "scope": scope, **login}
    token = httpx.post(f"{xero['api_url']}/connect/token", data=form).json()["access_token"]
    http.headers.update({"Authorization": f"Bearer {token}", "xero-tenant-id": xero["tenant_id"]})
    return http


def put(http: httpx.Client, path: str, body: Mapping[str, Any]) -> Body:
    reply = http.put(f"/{path}", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def invoice_of(pair: Pair, deal: Body) -> Body:
    number = f"SF-{deal['Id'].upper()}"
    [found] = [row for row in pair.dump("xero").values() if row.get("InvoiceNumber") == number]
    return found


def day(text: str) -> date:
    return datetime.fromtimestamp(int(text[6:19]) / 1000, UTC).date()


def lines_of(pair: Pair, deal: Body) -> list[Body]:
    return [row for row in pair.dump("salesforce").values() if row.get("OpportunityId") == deal["Id"]]


def change(pair: Pair, row: Body, **fields: Any) -> None:
    path = f"/services/data/v67.0/sobjects/{row['attributes']['type']}/{row['Id']}"
    reply = pair.in_salesforce.http.patch(path, json=fields)
    assert reply.status_code == 204, reply.text


@pytest.fixture
def selling(fresh: Pair) -> Pair:
    fresh.enable_writes()
    return fresh


def test_an_invoice_has_its_contacts_terms_its_theme_and_its_tracking(selling: Pair) -> None:
    pair = selling
    pair.adopt()  # with the demo's own mapping: its deals have their invoices
    http = in_xero(pair)
    for name, options in {"Region": ["North", "South"], "Kind": ["Rig", "Hose"]}.items():
        category = put(http, "TrackingCategories", {"Name": name})["TrackingCategories"][0]
        for option in options:
            put(http, f"TrackingCategories/{category['TrackingCategoryID']}/Options", {"Name": option})
    [deal] = [
        row
        for row in pair.dump("salesforce").values()
        if row["attributes"]["type"] == "Opportunity" and row["Name"].startswith("United Oil & Gas UK")
    ]
    contact = pair.row(deal["AccountId"])["ExternalID__c"]
    pair.in_xero.change(contact, PaymentTerms={"Sales": {"Day": 15, "Type": "OFFOLLOWINGMONTH"}})
    first, *others = lines_of(pair, deal)
    change(pair, first, Description="rig")
    for line in others:
        change(pair, line, Description=None)
    change(pair, deal, StageName="Closed Won", CloseDate="2026-11-23", LeadSource="West")

    def told() -> list[str]:
        return pair.plan().rejects.filter(pl.col("record_id") == deal["Id"])["reason"].to_list()

    (pair.folder / "mapping.yaml").write_text(MAPPING)
    assert told() == [
        "its line 1 has the LeadSource West, which is no active option of the tracking category Region in Xero: "
        "add it there, or correct it"
    ]
    change(pair, deal, LeadSource="north")
    assert told() == ["the branding theme very orange invoice! of the mapping is not in Xero"]
    (pair.folder / "mapping.yaml").write_text(MAPPING.replace("very orange invoice!", "standard"))
    pair.apply(pair.plan())
    assert pair.plan().operations.is_empty()
    invoice = invoice_of(pair, deal)
    assert invoice["Status"] == "SUBMITTED"
    assert day(invoice["DueDate"]) == date(2026, 12, 15)
    themes = http.get("/BrandingThemes").json()["BrandingThemes"]
    [theme] = [one for one in themes if one["Name"] == "Standard"]
    assert invoice["BrandingThemeID"] == theme["BrandingThemeID"]
    shown = http.get(f"/Invoices/{invoice['InvoiceID']}").json()["Invoices"][0]["LineItems"]
    tracking = [[(one["Name"], one["Option"]) for one in line["Tracking"]] for line in shown]
    assert tracking[0] == [("Region", "North"), ("Kind", "Rig")]
    assert tracking[1:] == [[("Region", "North")] for _ in others]


def test_more_categories_than_a_line_carries_are_refused_with_the_place(selling: Pair) -> None:
    text = MAPPING.replace("{region: LeadSource}", "{region: LeadSource, Team: Type}")
    (selling.folder / "mapping.yaml").write_text(text)
    said = selling.command("plan")
    assert said.code == 2
    assert "mapping.yaml:7" in said.err
    assert "at most 2 tracking categories" in " ".join(said.err.split())

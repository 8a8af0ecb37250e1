"""Won opportunities become invoices, once, through the whole product on both sandboxed systems."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from whole_pair import Body, Pair

from pipelines.plans import Planned

TO_CLOSE = "United Oil & Gas UK: three rigs"


@pytest.fixture
def selling(fresh: Pair) -> Pair:
    fresh.enable_writes()
    return fresh


def rows(pair: Pair, side: str, kind: str) -> list[Body]:
    """Records of a kind, as the system has them."""
    found = pair.dump(side).values()
    if side == "xero":
        return [row for row in found if "InvoiceID" in row and "LineItems" in row]
    return [row for row in found if row["attributes"]["type"] == kind]


def opportunity(pair: Pair, name: str) -> Body:
    return next(row for row in rows(pair, "salesforce", "Opportunity") if row["Name"].startswith(name))


def invoices(pair: Pair) -> dict[str, Body]:
    """Invoices of ours, by their numbers; one each."""
    ours = [row for row in rows(pair, "xero", "Invoice") if str(row.get("InvoiceNumber")).startswith("SF-")]
    numbers = [row["InvoiceNumber"] for row in ours]
    assert len(numbers) == len(set(numbers))
    return {row["InvoiceNumber"]: row for row in ours}


def of_documents(planned: Planned) -> pl.DataFrame:
    return planned.operations.filter(pl.col("entity") == "document")


def close(pair: Pair, name: str = TO_CLOSE) -> Body:
    """As a person would, in Salesforce."""
    row = opportunity(pair, name)
    path = f"/services/data/v67.0/sobjects/Opportunity/{row['Id']}"
    reply = pair.in_salesforce.http.patch(path, json={"StageName": "Closed Won", "CloseDate": "2026-11-23"})
    assert reply.status_code == 204, reply.text
    return opportunity(pair, name)


def test_the_demos_sales_become_invoices_and_a_closed_deal_one_more(selling: Pair) -> None:
    pair = selling
    quiet = pair.adopt(rounds=2)
    assert of_documents(quiet).is_empty()
    won = {row["Reference"]: row for row in invoices(pair).values()}
    assert {name.partition(":")[0]: f"{row['SubTotal']:.2f}" for name, row in won.items()} == {
        "Edge": "1338.00",
        "Grand Hotels": "1015.03",
        "Larkfield": "2145.00",
        "Boom FM": "2490.00",
    }
    assert {row["Status"] for row in won.values()} == {"DRAFT"}
    larkfield = opportunity(pair, "Larkfield")
    invoice = won[larkfield["Name"]]
    assert larkfield["Xero_Invoice_ID__c"] == invoice["InvoiceID"]
    assert larkfield["Xero_Invoice_Number__c"] == invoice["InvoiceNumber"] == f"SF-{larkfield['Id'].upper()}"
    assert invoice["Contact"]["ContactID"] == pair.row(larkfield["AccountId"])["ExternalID__c"]
    told = dict(
        quiet.rejects.filter(pl.col("entity") == "document").select("record_id", "reason").iter_rows()
    )
    assert told == {opportunity(pair, "United Oil & Gas: framework")["Id"]: "it has no lines"}

    closed = close(pair)
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    assert of_documents(planned).select("action", "unit").rows() == [
        ("create", "record"),
        ("link", "reference"),
    ]
    shown = pair.command("show")
    assert f"SF-{closed['Id'].upper()}" in shown.out.replace("\n", "")
    assert "5,146.50 GBP" in " ".join(shown.out.split())
    assert pair.apply(planned)["outcome"].unique().to_list() == ["confirmed"]
    assert not pair.plan().waits
    assert len(invoices(pair)) == 5


def test_a_lost_journal_and_emptied_fields_make_nothing_twice(selling: Pair) -> None:
    pair = selling
    pair.adopt()
    before = invoices(pair)
    for row in rows(pair, "salesforce", "Opportunity"):
        path = f"/services/data/v67.0/sobjects/Opportunity/{row['Id']}"
        blank = {f"Xero_Invoice_{name}__c": None for name in ("ID", "Number", "Status", "Url")}
        assert pair.in_salesforce.http.patch(path, json=blank).status_code == 204
    for file in (*pair.folder.rglob("journal.*"), *pair.folder.rglob("warehouse.duckdb*")):
        file.unlink()
    pair.enable_writes()
    planned = pair.plan()
    assert of_documents(planned).select("phase", "action").unique().rows() == [("link", "link")]
    marks = pair.marks()
    pair.adopt()
    assert invoices(pair).keys() == before.keys()
    assert [kind for kind, _ in pair.created(marks)] == []


def test_what_could_not_be_read_stops_invoices_and_nothing_else(selling: Pair) -> None:
    pair = selling
    pair.set("xero", scopes="accounting.contacts accounting.settings.read")
    planned = pair.plan()
    assert "xero.Invoice" in planned.errors
    assert of_documents(planned).is_empty()
    assert not planned.operations.is_empty()
    [reason] = planned.rejects.filter(pl.col("entity") == "document")["reason"]
    assert reason.startswith("nothing is planned for invoices: ")
    assert "xero.Invoice" in reason


def test_without_a_cut_over_nothing_more_is_read_or_planned(selling: Pair) -> None:
    pair = selling
    (pair.folder / "mapping.yaml").write_text("extends: [demo]\ndocuments: {invoice: {cut_over: null}}\n")
    marks = pair.marks()
    planned = pair.plan()
    assert of_documents(planned).is_empty()
    assert set(planned.rows) == {"salesforce.Account", "salesforce.Contact", "xero.Contact"}
    paths = {row["path"] for side in marks for row in pair.requests(side, after=marks[side])}
    assert not [path for path in paths if "Invoice" in path or "Opportunity" in path]


@pytest.mark.parametrize(("most", "beyond"), [("{GBP = 6988.03}", False), ("{GBP = 6988.02, USD = 1}", True)])
def test_more_money_than_the_limit_needs_approval_of_the_hash(selling: Pair, most: str, beyond: bool) -> None:
    pair = selling
    text = pair.settings.read_text()
    pair.settings.write_text(text.replace("[limits]\n", f"[limits]\nmax_amount = {most}\n"))
    planned = pair.plan()
    told = [reason for reason in planned.beyond_limits if "invoices" in reason]
    assert told == (["invoices of 6,988.03 GBP in all, more than the limit of 6,988.02"] if beyond else [])


def test_a_contact_on_demand_goes_with_the_document_that_needs_it(selling: Pair) -> None:
    pair = selling
    (pair.folder / "mapping.yaml").write_text(
        "extends: [demo]\nentities: {party: {create: {xero: on_demand}}, person: {create: {xero: on_demand}}}\n"
    )
    planned = pair.plan()
    name = opportunity(pair, "Larkfield")["AccountId"]
    made = planned.operations.filter(pl.col("action") == "create", pl.col("system") == "xero")
    assert made.filter(pl.col("entity") == "party")["source_id"].to_list() == [name]
    line = next(
        row
        for row in rows(pair, "salesforce", "OpportunityLineItem")
        if row["OpportunityId"] == opportunity(pair, "Larkfield")["Id"]
    )
    _break(pair, line)
    again = pair.plan()
    made = again.operations.filter(pl.col("action") == "create", pl.col("system") == "xero")
    assert made.filter(pl.col("entity") == "party").is_empty()


def _break(pair: Pair, line: Body) -> None:
    path = f"/services/data/v67.0/sobjects/OpportunityLineItem/{line['Id']}"
    reply: Any = pair.in_salesforce.http.patch(path, json={"Quantity": -1})
    assert reply.status_code == 204, reply.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "field", "first"),
    [
        ("{kind: reserved, prefix: RES-}", "InvoiceNumber", "RES-00001"),
        ("{kind: xero}", "Reference", "SF-006DM0000000001IAA"),
    ],
)
def test_the_other_kinds_of_number_come_to_rest_too(
    selling: Pair, number: str, field: str, first: str
) -> None:
    pair = selling
    (pair.folder / "mapping.yaml").write_text(
        f"extends: [demo]\ndocuments: {{invoice: {{number: {number}}}}}\n"
    )
    pair.adopt()
    made = [row for row in rows(pair, "xero", "Invoice") if row["Status"] == "DRAFT"]
    assert len({row[field] for row in made}) == len(made) == 4
    assert first in {row[field] for row in made}
    shown = {row["Xero_Invoice_Number__c"] for row in rows(pair, "salesforce", "Opportunity")} - {None}
    assert shown == {row["InvoiceNumber"] for row in made}


def change_deal(pair: Pair, row: Body, what: str) -> None:
    """As a person would, between plan and apply."""
    http = pair.in_salesforce.http
    path = f"/services/data/v67.0/sobjects/Opportunity/{row['Id']}"
    if what == "lost":
        assert http.patch(path, json={"StageName": "Closed Lost"}).status_code == 204
    elif what == "deleted":
        assert http.delete(path).status_code == 204
    else:
        lines = rows(pair, "salesforce", "OpportunityLineItem")
        line = next(one for one in lines if one["OpportunityId"] == row["Id"])
        path = f"/services/data/v67.0/sobjects/OpportunityLineItem/{line['Id']}"
        assert http.patch(path, json={"Quantity": 2 * line["Quantity"]}).status_code == 204


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("lost", marks=pytest.mark.slow),
        pytest.param("deleted", marks=pytest.mark.slow),
        "priced anew",
    ],
)
def test_a_deal_that_changed_since_the_plan_gets_no_invoice_by_it(selling: Pair, what: str) -> None:
    pair = selling
    pair.adopt()
    before = invoices(pair).keys()
    closed = close(pair)
    planned = pair.plan()
    assert of_documents(planned).height == 2
    pair.control("salesforce", "POST", "clock", {"move_s": 5})
    change_deal(pair, closed, what)
    told = dict(pair.apply(planned).select("unit", "outcome").iter_rows())
    assert told == {"record": "overtaken", "reference": "waiting"}
    assert invoices(pair).keys() == before
    pair.adopt()
    made = invoices(pair).keys() - before
    assert len(made) == (1 if what == "priced anew" else 0)
    if made:
        now = opportunity(pair, closed["Name"])
        assert float(invoices(pair)[made.pop()]["SubTotal"]) == float(now["Amount"])

"""Both books are added up by each plan: what somebody changes in Xero is classed to the cent, and nothing hides it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import httpx
import polars as pl
import pytest
from whole_pair import Body, Pair

from pipelines import sealing
from reconcile import totals
from reconcile.model import DIFFERENCES, empty

pytestmark = pytest.mark.in_turn(2)

MAPPING = 'extends: [demo]\ndocuments: {invoice: {lines: {account: "200", tax: OUTPUT2}}}\n'
# Of the demo's seed: it is won, and nothing says what to bill.
WITHOUT_LINES = ("missing_document", "United Oil & Gas", "0.00", "0.00")


class Bookkeeper:
    """Someone in Xero who edits invoices."""

    def __init__(self, pair: Pair) -> None:
        xero = pair.line["xero"]
        self.http = httpx.Client(base_url=xero["api_url"], timeout=20)
        login = {name: xero["person"][name] for name in ("client_id", "client_secret")}
        form = {"grant_type": "client_credentials", "scope": "accounting.invoices", **login}
        token = self.http.post("/connect/token", data=form).json()["access_token"]
        self.http.headers.update({"Authorization": f"Bearer {token}", "xero-tenant-id": xero["tenant_id"]})

    def invoice(self, reference: str) -> Body:
        found = self.http.get("/api.xro/2.0/Invoices", params={"unitdp": 4, "page": 1}).json()["Invoices"]
        return next(one for one in found if one["Reference"].startswith(reference))

    def save(self, body: Body) -> None:
        lines = [{key: one[key] for key in KEPT if key in one} for one in body["LineItems"]]
        sent = {key: body[key] for key in ("InvoiceID", "Contact", "Type", "Date", "DueDate") if key in body}
        sent["Contact"] = {"ContactID": body["Contact"]["ContactID"]}
        method = "POST" if "InvoiceID" in body else "PUT"
        reply = self.http.request(
            method, "/api.xro/2.0/Invoices", json={"Invoices": [sent | {"LineItems": lines}]}
        )
        assert reply.status_code == 200, reply.text


KEPT = (
    "LineItemID",
    "Description",
    "Quantity",
    "UnitAmount",
    "DiscountRate",
    "AccountCode",
    "TaxType",
    "ItemCode",
)


def plant(keeper: Bookkeeper) -> None:
    edge, grand, larkfield, boom = map(keeper.invoice, ("Edge", "Grand", "Larkfield", "Boom"))
    edge["LineItems"][0]["UnitAmount"] = 239  # four, ten too cheap
    grand["LineItems"][0]["DiscountRate"] = 0  # 7.5% of 900.00
    grand["LineItems"][1]["TaxType"] = "ZERORATEDOUTPUT"
    del larkfield["LineItems"][1]
    boom["Date"] = "2026-12-03"
    boom["LineItems"][0]["AccountCode"] = "260"
    by_hand = {"Type": "ACCREC", "Contact": edge["Contact"], "Date": "2026-11-20", "DueDate": "2026-12-20"}
    one = {
        "Description": "Tools",
        "Quantity": 1,
        "UnitAmount": 10,
        "AccountCode": "200",
        "TaxType": "OUTPUT2",
    }
    for body in (edge, grand, larkfield, boom, by_hand | {"LineItems": [one]}):
        keeper.save(body)


PLANTED = {
    ("price_or_quantity", "Edge", "-40.00", "-8.00"),
    ("discount", "Grand Hotels", "67.50", "13.50"),
    ("tax_code", "Grand Hotels", "0.00", "-32.91"),
    ("missing_line", "Larkfield", "-950.00", "-190.00"),
    ("timing", "Boom FM", "0.00", "0.00"),
    ("account", "Boom FM", "0.00", "0.00"),
    ("extra_document", "INV-", "10.00", "2.00"),
    WITHOUT_LINES,
}
# 2,490.00 moved to December; of it 1,850.00 to another account.
MOVED = {"timing": "2490.00", "account": "1850.00"}


def told(differences: list[dict[str, Any]] | pl.DataFrame, names: dict[str, str]) -> set[tuple[str, ...]]:
    """Cause, document as people call it (its beginning), and what it changes in all, of each difference."""
    rows = differences.to_dicts() if isinstance(differences, pl.DataFrame) else differences
    sums: dict[str, list[Any]] = {}
    for row in rows:
        name = names[row["document_key"]].partition(":")[0]
        known = name[:4] if name.startswith("INV-") else name
        one = sums.setdefault(row["difference_id"], [row["cause"], known, Decimal(0), Decimal(0)])
        one[2] += Decimal(row["net"])
        one[3] += Decimal(row["tax"])
    return {(cause, name, f"{net:.2f}", f"{tax:.2f}") for cause, name, net, tax in sums.values()}


def test_what_somebody_changes_in_xero_is_classed_to_the_cent_and_told_everywhere(pair: Pair) -> None:
    (pair.folder / "mapping.yaml").write_text(MAPPING)
    quiet = pair.plan()
    assert told(quiet.differences, dict(quiet.names)) == {WITHOUT_LINES}
    assert quiet.control_totals["difference"].unique().to_list() == [0]
    marks = pair.marks()
    plant(Bookkeeper(pair))

    planned = pair.plan()
    assert pair.writes(marks) == []
    assert told(planned.differences, dict(planned.names)) == PLANTED
    assert planned.alarms == []
    assert planned.control_totals.filter((pl.col("unexplained") != 0) | (pl.col("residual") != 0)).is_empty()
    changed = sum(Decimal(net) + Decimal(tax) for _, _, net, tax in PLANTED)
    assert planned.control_totals["difference"].sum() == changed

    said = pair.command("totals", "--json")
    found = said.json()
    assert (said.code, found["agreed"], found["proved"]) == (3, False, True)
    assert told(found["differences"], dict(planned.names)) == PLANTED
    assert {row["cause"]: row["moved"] for row in found["causes"] if row["moved"]} == {
        cause: f"{amount}00" for cause, amount in MOVED.items()
    }
    only = pair.command("totals", "--json", "--month", "2026-12").json()
    assert {row["cause"] for row in only["differences"]} == {"timing", "account"}
    shown = pair.command("totals", "--all")
    assert "line not in Xero" in shown.out and "Training day" in shown.out
    assert "every cent of them explained" in shown.out
    for slip in (("--month", "2026-13"), ("--month", "11"), ("--currency", "EUR")):
        assert pair.command("totals", *slip).code == 2

    assert pair.command("report").code == 0
    page = next(pair.folder.rglob("report.html")).read_text()
    assert "another price or quantity" in page and "Training day" in page
    with duckdb.connect(str(next(pair.folder.rglob("published.duckdb"))), read_only=True) as con:
        kept = con.sql("select * from report.differences").pl()
    assert told(kept, dict(planned.names)) == PLANTED


def test_a_residual_or_a_failure_ends_a_plan_as_failed_and_takes_nothing_from_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pair.folder / "mapping.yaml").write_text(MAPPING)
    plant(Bookkeeper(pair))
    contact = pair.linked()[0][1]
    pair.in_xero.change(contact["ContactID"], TaxNumber="GB999")
    seen = pair.command("plan", "--json")
    assert (seen.code, seen.json()["alarms"]) == (3, [])

    monkeypatch.setattr(totals, "explain_differences", lambda rows: empty(DIFFERENCES))
    lost = pair.command("plan", "--json", "--no-pull", "--retry")
    assert (lost.code, lost.json()["operations"]) == (1, seen.json()["operations"])
    [alarm] = lost.json()["alarms"]
    assert alarm.startswith("found ") and "GBP (net) in 2026-1" in alarm
    printed = pair.command("totals")
    assert printed.code == 1 and "The proof fails" in printed.out
    assert pair.command("show").out.count("! critical: found") == 1

    def broken(*_: object) -> None:
        raise ValueError("Grand Hotels owes 1,218.04")

    monkeypatch.setattr(sealing, "close_books", broken)
    failed = pair.command("plan", "--json", "--no-pull", "--retry")
    assert (failed.code, failed.json()["operations"]) == (1, seen.json()["operations"])
    [alarm] = failed.json()["alarms"]
    assert alarm.startswith("could not run (ValueError at test_control_totals.py:")
    assert "Grand" not in alarm
    assert pair.command("totals").code == 1


def test_without_invoices_nothing_is_added_up_and_the_command_says_why(pair: Pair) -> None:
    (pair.folder / "mapping.yaml").write_text("extends: [demo]\ndocuments: {invoice: {cut_over: null}}\n")
    planned = pair.plan()
    assert planned.control_totals.is_empty() and planned.findings.is_empty()
    said = pair.command("totals")
    assert said.code == 2 and "set documents.invoice.cut_over in the mapping" in said.err

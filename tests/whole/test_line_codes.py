"""Codes of lines by rule and from past bookings, and rates of documents, through the whole product."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from whole_pair import Body, Pair, running

from pipelines.plans import Planned
from sandbox.salesforce.ids import make_id

pytestmark = pytest.mark.in_turn(0)

RULES = """
extends: [demo]
documents:
  invoice:
    status: AUTHORISED
    lines:
      account: null
      rules:
        - when: "family = 'Services'"
          then: {account: "260", tax: TAX001}
        - when: "family = 'Parts'"
          then: {account: "200", tax: RROUTPUT}
        - when: "item = 'FREIGHT'"
          then: {account: "200", tax: ZERORATEDOUTPUT}
        - when: "item = 'KIT-PRO' and StageName = 'Closed Won'"
          then: {account: "299", tax: OUTPUT2}
          hold: "total > 2502.75"
      infer: {}
"""


def write_mapping(pair: Pair, text: str) -> None:
    (pair.folder / "mapping.yaml").write_text(text)


def opportunity(pair: Pair, name: str) -> Body:
    rows = [row for row in pair.dump("salesforce").values() if row["attributes"]["type"] == "Opportunity"]
    return next(row for row in rows if row["Name"].startswith(name))


def ours(pair: Pair) -> dict[str, Body]:
    """The invoices that we made, by the first word of their Reference."""
    found = [row for row in pair.dump("xero").values() if str(row.get("InvoiceNumber")).startswith("SF-")]
    named = {row["Reference"].partition(":")[0]: row for row in found}
    assert len(named) == len(found)
    return named


def lines_of(invoice: Body) -> list[tuple[str, str, str, str]]:
    """(account, tax, amount, tax amount) of each line."""
    return [
        (one["AccountCode"], one["TaxType"], f"{one['LineAmount']:.2f}", f"{one['TaxAmount']:.2f}")
        for one in invoice["LineItems"]
    ]


def sums_of(invoice: Body) -> tuple[str, ...]:
    return tuple(f"{invoice[name]:.2f}" for name in ("SubTotal", "TotalTax", "Total"))


def of_documents(planned: Planned) -> pl.DataFrame:
    entity = pl.col("entity") == "document"
    return planned.operations.filter(entity, pl.col("action") == "create")


def told(pair: Pair, planned: Planned) -> dict[str, str]:
    """Why documents were set aside, by the first word of their names."""
    names = {row["Id"]: row.get("Name", "").partition(":")[0] for row in pair.dump("salesforce").values()}
    rejects = planned.rejects.filter(pl.col("entity") == "document")
    return {names[record]: reason for record, reason in rejects.select("record_id", "reason").iter_rows()}


def past_kits(contact: str) -> list[Body]:
    """What the books did for a customer's kits: three invoices, one of them this month a year ago."""
    line = {"Description": "Kit", "Quantity": 1, "UnitAmount": 249, "LineAmount": 249, "TaxAmount": 49.8}
    coded = {**line, "ItemCode": "KIT-STD", "AccountCode": "270", "TaxType": "OUTPUT2"}
    return [
        {
            "InvoiceID": f"00000000-0000-4000-8000-0000000009{number:02d}", "Type": "ACCREC", "Status": "AUTHORISED",
            "InvoiceNumber": f"OLD-{number}", "Contact": {"ContactID": contact}, "Date": day, "DueDate": day,
            "LineItems": [coded],
        }
        for number, day in enumerate(("2025-11-10", "2026-03-02", "2026-08-03"), start=1)
    ]  # fmt: skip


def test_rules_and_past_bookings_give_lines_their_codes_and_a_second_plan_shows_nothing(fresh: Pair) -> None:
    pair = fresh
    pair.enable_writes()
    write_mapping(pair, RULES)
    edge = next(row for row in pair.dump("xero").values() if str(row.get("Name")).startswith("Edge"))
    pair.load("xero", past_kits(edge["ContactID"]))
    pair.checked = True
    planned = pair.plan()
    pair.checked = False
    why = dict(of_documents(planned).select("source_id", "reason").iter_rows())
    of_edge = opportunity(pair, "Edge")["Id"]
    assert why[of_edge].startswith("this opportunity is won, and has no invoice. ")
    assert (
        "line 1: account 270 and tax OUTPUT2 as past bookings of its item and customer (3 of 3 lines)"
        in why[of_edge]
    )
    assert "line 2: account 260 and tax TAX001 by mapping.yaml:9 (family = 'Services')" in why[of_edge]
    [evidence] = of_documents(planned).filter(pl.col("source_id") == of_edge)["evidence"]
    assert '"line 1":{"item and customer":[{"account":"270","tax":"OUTPUT2","lines":3}]' in evidence
    assert told(pair, planned)["Larkfield"] == "its line 1: the account 299 is archived in Xero"

    quiet = pair.adopt(rounds=2)
    assert of_documents(quiet).is_empty()
    made = ours(pair)
    # By hand: 20% of 996.00; 12.5% of 342.00.
    assert lines_of(made["Edge"]) == [
        ("270", "OUTPUT2", "996.00", "199.20"),
        ("260", "TAX001", "342.00", "42.75"),
    ]
    assert sums_of(made["Edge"]) == ("1338.00", "241.95", "1579.95")
    # 12.5 x 72.00 less 7.5%, 137.25 x 1.37 less 12.5%, 18.00: at 12.5%, 5% and none.
    assert lines_of(made["Grand Hotels"]) == [
        ("260", "TAX001", "832.50", "104.06"),
        ("200", "RROUTPUT", "164.53", "8.23"),
        ("200", "ZERORATEDOUTPUT", "18.00", "0.00"),
    ]
    assert sums_of(made["Grand Hotels"]) == ("1015.03", "112.29", "1127.32")
    assert sums_of(made["Boom FM"]) == ("2490.00", "311.25", "2801.25")
    # What was inferred is a draft, whatever the mapping says of the rest.
    assert {name: row["Status"] for name, row in made.items()} == {
        "Edge": "DRAFT", "Grand Hotels": "AUTHORISED", "Boom FM": "AUTHORISED",
    }  # fmt: skip

    # 1195.00 at 20% and 950.00 at 12.5%: 2145.00 + 239.00 + 118.75 is a cent more than the limit.
    write_mapping(pair, RULES.replace('"299"', '"200"').replace("2502.75", "2502.74"))
    held, which = pair.plan(), opportunity(pair, "Larkfield")["Id"]
    assert of_documents(held).is_empty()
    assert (
        f"Let it go by `reconcile resolve {which} invoice --take salesforce`" in told(pair, held)["Larkfield"]
    )
    assert pair.command("resolve", which, "invoice", "--take", "salesforce").code == 0
    assert of_documents(pair.adopt(rounds=2)).is_empty()
    assert sums_of(ours(pair)["Larkfield"]) == ("2145.00", "357.75", "2502.75")
    assert not [row for row in pair.writes() if row["status"] >= 400]

    tried = pair.command("rules", "test", "--json")
    assert (tried.code, tried.err) == (0, "")
    first = tried.json()[0]
    assert (first["rule"], first["lines"]) == ("mapping.yaml:9 (family = 'Services')", 7)
    assert first["examples"][0] == "Edge: field kits for the new depot, line 2"
    assert "no rule gives an account" in pair.command("rules", "test").out


SEVERAL: dict[str, Body] = {"salesforce": {"multi_currency": True, "dated_rates": True}}
RATES = """
extends: [demo]
documents:
  invoice:
    lines: {tax: OUTPUT2}
    currency: {rates: salesforce_dated, lacking: %s}
"""


SERVICE = """
import os
from decimal import Decimal
def treasury(base, wanted):
    if "TREASURY_DOWN" in os.environ:
        raise ConnectionError("no line")
    assert base == "GBP"
    return {(code, day): Decimal("1.1666") for code, day in wanted if code == "EUR"}
"""


def install_service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installer leaves a package that names a rate service."""
    place = folder / "our_rates-1.0.dist-info"
    place.mkdir(parents=True)
    (folder / "our_rates.py").write_text(SERVICE)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: our-rates\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("[reconcile.rates]\ntreasury = our_rates:treasury\n")
    monkeypatch.syspath_prepend(folder)


def rated(pair: Pair, planned: Planned, name: str) -> str | None:
    mine = pl.col("source_id") == opportunity(pair, name)["Id"]
    made = of_documents(planned).filter(mine, pl.col("system") == "xero")["reason"].to_list()
    return made[0] if made else None


def test_a_rate_service_is_asked_and_what_it_fails_on_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_service(tmp_path / "installed", monkeypatch)
    with running(tmp_path / "pair", dialect=SEVERAL) as pair:
        _price(pair, "Edge", "EUR")
        _price(pair, "Boom FM", "USD")
        write_mapping(pair, RATES.replace("salesforce_dated", "service, service: treasury") % "stop")
        monkeypatch.setenv("TREASURY_DOWN", "1")
        planned = pair.plan()
        assert rated(pair, planned, "Edge") is None and rated(pair, planned, "Grand Hotels") is not None
        failed = planned.rejects.filter(pl.col("entity") == "currency_rate")["reason"].to_list()
        assert [one.partition(".")[0] for one in failed] == [
            "the rate service treasury failed: ConnectionError"
        ]
        monkeypatch.delenv("TREASURY_DOWN")
        planned = pair.plan()
        assert "At 1.1666 EUR for one of the organisation's currency" in str(rated(pair, planned, "Edge"))
        assert rated(pair, planned, "Boom FM") is None
        assert "USD" in told(pair, planned)["Boom FM"]


def test_documents_get_their_dated_rate_and_what_xero_lacks_is_stopped_or_converted(tmp_path: Path) -> None:
    with running(tmp_path / "pair", dialect=SEVERAL) as pair:
        pair.enable_writes()
        _price(pair, "Edge", "EUR")
        _price(pair, "Boom FM", "CHF")
        pair.load("salesforce", _rates())
        write_mapping(pair, RATES % "stop")
        planned = pair.plan()
        assert told(pair, planned)["Boom FM"].startswith(
            "its currency CHF is none of the organisation's: add it in Xero (Settings, Currencies;"
        )
        of_edge = of_documents(planned).filter(pl.col("source_id") == opportunity(pair, "Edge")["Id"])
        assert (
            of_edge["reason"]
            .item()
            .endswith(
                "At 1.1743 EUR for one of the organisation's currency: "
                "1 GBP = 1.1743 EUR from 2026-11-01 (salesforce)"
            )
        )
        quiet = pair.adopt(rounds=2)
        assert of_documents(quiet).is_empty()
        assert quiet.differences.filter(pl.col("cause").cast(pl.String) == "currency_rate").is_empty()
        made = ours(pair)
        assert {
            name: (row["CurrencyCode"], Decimal(str(row["CurrencyRate"]))) for name, row in made.items()
        } == {
            "Edge": ("EUR", Decimal("1.1743")),
            "Grand Hotels": ("GBP", 1),
            "Larkfield": ("GBP", 1),
        }
        assert sums_of(made["Edge"]) == ("1338.00", "267.60", "1605.60")

        write_mapping(pair, RATES % "convert")
        planned = pair.plan()
        assert (
            of_documents(planned)["reason"]
            .item()
            .endswith(
                "Converted from 2490.00 CHF to 2263.64 GBP, a difference of 0.0036363636363636 by rounding: "
                "1 GBP = 1.1 CHF from 2026-11-01 (salesforce)"
            )
        )
        assert of_documents(pair.adopt(rounds=2)).is_empty()
        boom = ours(pair)["Boom FM"]
        # 2490 / 1.1 = 2263.636...: 1681.82 and 581.82, at 20% each.
        assert lines_of(boom) == [
            ("200", "OUTPUT2", "1681.82", "336.36"),
            ("200", "OUTPUT2", "581.82", "116.36"),
        ]
        assert (boom["CurrencyCode"], sums_of(boom)) == ("GBP", ("2263.64", "452.72", "2716.36"))


def _price(pair: Pair, name: str, currency: str) -> None:
    """As if the deal had been in that currency from the first."""
    deal = opportunity(pair, name)
    pair.load("salesforce", [{**deal, "CurrencyIsoCode": currency}])


def _rates() -> list[Body]:
    """A franc that the organisation lacks, and the rates of November."""

    def dated(number: int, code: str, rate: str, start: str, end: str) -> dict[str, Any]:
        place = {"attributes": {"type": "DatedConversionRate"}, "Id": make_id("04w", "Tt", number)}
        return {
            **place,
            "IsoCode": code,
            "ConversionRate": float(rate),
            "StartDate": start,
            "NextStartDate": end,
        }

    franc = {
        "IsoCode": "CHF",
        "ConversionRate": 1.1,
        "DecimalPlaces": 2,
        "IsActive": True,
        "IsCorporate": False,
    }
    return [
        {"attributes": {"type": "CurrencyType"}, "Id": make_id("01L", "Tt", 1), **franc},
        dated(1, "CHF", "1.1", "2026-11-01", "9999-12-31"),
        dated(2, "EUR", "1.1743", "2026-11-01", "9999-12-31"),
    ]

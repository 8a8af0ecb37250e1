"""What page, artifact and terminal say of control totals: what differs is loud, what agrees is quiet."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import click
import polars as pl
import pytest
from report_data import NOW, both_books, deal, frame, full_report

from flows import show_totals, totals
from flows.report import LISTED, ReportData, render_html, render_markdown
from pipelines.plans import Planned
from reconcile.closing import not_closed
from reconcile.model import CAUSES, DIFFERENCES, TOTALS, empty

CHEAP = {"unit_price": 90, "amount": 90, "tax_amount": 18}


def page_of(**other: Any) -> str:
    return section(render_html(ReportData("acme", "sandbox", "r1", NOW, **{"with_totals": True, **other})))


def section(html: str) -> str:
    found = re.search(r'<section aria-labelledby="totals">.*?</section>', html, re.DOTALL)
    return found[0] if found else ""


def shown(*changed: dict[str, Any]) -> str:
    closed = both_books(*changed)
    return page_of(control_totals=closed.totals, differences=closed.differences)


def cell(text: str, kind: str) -> str:
    return f'<td class="number {kind}" data-name="{text.partition("=")[0]}">{text.partition("=")[2]}</td>'


def test_books_that_agree_are_quiet():
    html = shown()
    assert "Both books agree to the cent." in html and "No amount differs." in html
    assert "all agree" in html
    assert cell("Salesforce=800.00", "plain") in html
    assert cell("Difference=0.00", "zero") in html
    assert not re.findall(r"number (?:differs|urgent)|alarm", html)


def test_a_difference_is_loud_and_folds_out_to_its_rows():
    html = shown(CHEAP)
    assert "1 difference between both books, every cent of them explained." in html
    assert cell("Difference=-10.00", "differs") in html and cell("Explained=-10.00", "plain") in html
    assert "another price or quantity" in html
    assert "unit price 100 in Salesforce, 90 in Xero" in html
    assert deal(1) in html
    assert "<details open" not in html and "alarm" not in html


def test_a_sum_that_hides_what_moved_says_so():
    html = shown({"account": "260"})
    assert "4 totals apart below" not in html, "two by account, told at each amount"
    assert html.count("2 totals apart below") == 2
    assert "moves an amount and changes no sum" in html


def test_what_no_cause_explains_stands_open_and_first():
    html = shown(CHEAP, {"tax_amount": Decimal("20.01")})
    assert "1 total differs by an amount that no cause explains." in html
    assert cell("Unexplained=0.01", "urgent") in html
    assert re.search(r"<details open>\n<summary>Not explained", html)
    assert html.index("Not explained") < html.index("Another price or quantity")


def test_a_residual_is_an_alarm():
    broken = both_books().totals.with_columns(residual=pl.lit(Decimal(12), pl.Decimal(38, 4)))
    html = page_of(control_totals=broken)
    assert '<p class="alarm">The proof fails: in 2 totals both books differ' in html
    assert cell("Residual=24.00", "urgent") not in html and cell("Residual=12.00", "urgent") in html


def test_books_that_could_not_be_added_up_are_no_agreement():
    html = page_of(findings=not_closed("ValueError at totals.py:7").findings)
    assert "Both books could not be added up: could not run (ValueError at totals.py:7)" in html
    assert "agree" not in html.replace("agreed", "")


def test_books_without_sales_and_pairs_without_invoices_have_a_page_too():
    assert "Neither book holds sales yet." in page_of()
    assert page_of(with_totals=False) == ""
    assert "#totals" not in render_html(ReportData("acme", "sandbox", "r1", NOW))


def test_long_lists_and_old_months_are_cut_and_say_where_the_rest_is():
    rows = [
        {
            "difference_id": f"missing_document:{number}",
            "cause": "missing_document",
            "document_key": deal(number),
        }
        | {
            "currency": "EUR",
            "month": date(2026, 11, 1),
            "net": Decimal(-number),
            "tax": 0,
            "evidence": "none",
        }
        for number in range(1, 2001)
    ]
    months = [
        {"currency": "EUR", "month": date(2020 + number // 12, number % 12 + 1, 1), "measure": measure}
        | dict.fromkeys(("salesforce", "xero"), 5)
        | dict.fromkeys(("difference", "explained", "unexplained", "residual"), 0)
        for number in range(40)
        for measure in ("net", "tax")
    ]
    html = page_of(control_totals=frame(months, TOTALS), differences=frame(rows, DIFFERENCES))
    assert f"{2000 - LISTED:,} more, in" in html
    assert "-2,000.00 EUR" in html, "the largest first"
    assert "28 older months" in html
    assert html.count("<details") == 2  # the newest month, and the one cause
    assert len(html) < 40_000


def test_the_artifact_has_sums_and_counts_by_currency_alone():
    text = render_markdown(full_report())
    assert "| GBP | net | 800.00 | 690.00 | -110.00 | -110.00 | 0.00 | 0.00 |" in text
    assert "| price_or_quantity | GBP | 1 |" in text
    assert deal(1) not in text and "unit price" not in text


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        ("1234567.5", "GBP", "1,234,567.50"),
        ("1000", "JPY", "1,000"),
        ("1000.50", "JPY", "1,000.5"),
        ("-0.0001", "EUR", "-0.0001"),
        ("12.5000", "BHD", "12.500"),
        ("0.0000", "EUR", "0.00"),
    ],
)
def test_an_amount_is_said_in_its_minor_unit_and_never_rounded(amount, currency, said):
    assert totals.money(Decimal(amount), currency) == said


def test_every_cause_has_its_words_and_its_kind():
    assert totals.CAUSE_WORDS.keys() == totals.KIND_OF.keys() == CAUSES.keys()


# --- The terminal


def planned(*changed: dict[str, Any]) -> Planned:
    closed = both_books(*changed)
    told = {"control_totals": closed.totals, "differences": closed.differences, "alarms": [], "names": {}}
    return cast("Planned", SimpleNamespace(**told, hash="3f0c2a91d4", short="3f0c2a91d4", created_at=NOW))


def printed(
    capsys: pytest.CaptureFixture[str], plan: Planned, *, everything: bool = False, **only: Any
) -> str:
    groups, differences = show_totals.chosen(plan, **{"month": None, "currency": None, **only})
    show_totals.printed(plan, groups, differences, as_json=False, everything=everything)
    return capsys.readouterr().out


def test_the_terminal_shows_sums_what_is_apart_and_why(capsys):
    out = printed(capsys, planned({"account": "260", **CHEAP}))
    assert re.search(r"GBP +2026-02 +without tax +800.00 +790.00 +-10.00", out)
    assert re.search(r"GBP +2026-02 +paid +260 +without tax +0.00 +90.00 +90.00", out)
    assert "unit price 100 in Salesforce, 90 in Xero" in out


def test_long_lists_are_cut_unless_all_is_asked_for(capsys):
    many = [CHEAP | {"unit_price": 90 - number, "account": str(260 + number)} for number in range(8)]
    assert "more (--all)" in printed(capsys, planned(*many))
    assert "more (--all)" not in printed(capsys, planned(*many), everything=True)


def test_a_month_or_currency_that_is_not_there_is_a_slip_and_says_what_is():
    plan = planned({"date": date(2026, 3, 1)})
    groups, differences = show_totals.chosen(plan, month=date(2026, 3, 1), currency="gbp")
    assert groups.height == 2 and differences.height == 1
    with pytest.raises(
        click.UsageError, match=r"no sales of EUR 2026-03 .* there are: GBP 2026-03, GBP 2026-02\."
    ):
        show_totals.chosen(plan, month=date(2026, 3, 1), currency="EUR")


def test_books_without_sales_are_no_slip(capsys):
    none = {"control_totals": empty(TOTALS), "differences": empty(DIFFERENCES)}
    plan = SimpleNamespace(**none, alarms=[], names={}, short="3f0c2a91d4", created_at=NOW)
    assert "Neither book holds sales yet." in printed(capsys, cast("Planned", plan))

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_data import NAMES, NOW, account, difference, frame, full_report, guid

from flows import wording
from flows.report import CALLS, LISTED, ReportData, headline, render_html, render_markdown, report_tables
from reconcile.model import DRIFT, OPERATIONS, OUTCOME_ROWS

CHROMIUM = Path("/usr/bin/chromium")
VOID = {"meta", "br", "link", "img", "hr", "input"}


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(full_report())


class Tree(HTMLParser):
    """Reads a page and fails where a tag is not closed as it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def tree(html: str) -> Tree:
    read = Tree()
    read.feed(html)
    read.close()
    return read


def tags(html: str, name: str) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in tree(html).tags if tag == name]


# --- one page, that needs nothing ---------------------------------------------------------------------


def test_the_page_is_well_formed(page):
    assert page.lstrip().startswith("<!doctype html>")
    assert tree(page).open == []


def test_the_page_holds_no_address_and_no_script(page):
    assert "://" not in page
    found = {tag for tag, _ in tree(page).tags}
    assert not found & {"script", "iframe", "object", "embed", "link", "img", "form", "base"}
    for tag, attributes in tree(page).tags:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes), tag
        assert (attributes.get("href") or "#").startswith("#")


def test_the_page_lets_nothing_in_but_its_own_style_sheet(page):
    policy = next(row["content"] for row in tags(page, "meta") if row.get("http-equiv"))
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_what_people_type_stays_text(page):
    for name in NAMES:
        assert name in re.sub(r"\s+", " ", tree(page).text)
    assert "<script" not in page
    assert "Pat &lt;pat@example.com&gt;" in page


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_value_ever_opens_a_tag(one, other):
    drift = frame([difference(1, "name", one, other)], DRIFT)
    html = render_html(ReportData("p", "sandbox", "r", NOW, drift=drift, names={account(1): one}))
    inside = [tag for tag, _ in tree(html).tags]
    calm = render_html(
        ReportData("p", "sandbox", "r", NOW, drift=frame([difference(1, "name", "a", "b")], DRIFT))
    )
    extra = {"bdi", "mark", "span"}
    assert [tag for tag in inside if tag not in extra] == [
        tag for tag, _ in tree(calm).tags if tag not in extra
    ]


def test_names_in_other_scripts_keep_their_direction_to_themselves(page):
    assert f"<bdi>{NAMES[3]}</bdi>" in page


# --- for every reader ---------------------------------------------------------------------------------


def test_headings_go_down_one_step_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in tree(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_every_heading_a_scope(page):
    assert len(tags(page, "caption")) == len(tags(page, "table")) > 10
    assert all(row.get("scope") in ("col", "row") for row in tags(page, "th"))


def test_every_picture_says_what_it_shows(page):
    pictures = tags(page, "svg")
    assert len(pictures) == 4
    assert all(row["role"] == "img" and len(row["aria-label"] or "") > 20 for row in pictures)


def test_links_inside_the_page_lead_somewhere(page):
    ids = {attributes["id"] for _, attributes in tree(page).tags if "id" in attributes}
    assert {(row["href"] or "")[1:] for row in tags(page, "a")} <= ids


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
@pytest.mark.parametrize(
    ("ink", "ground", "least"),
    [
        ("ink", "page", 7),
        ("ink", "card", 7),
        ("ink", "mark", 4.5),
        ("quiet", "page", 4.5),
        ("quiet", "card", 4.5),
        ("accent", "page", 4.5),
        ("urgent", "urgent-soft", 4.5),
        ("urgent", "card", 4.5),
        ("good", "good-soft", 4.5),
        ("bad", "bad-soft", 4.5),
        ("on-colour", "one", 4.5),
        ("on-colour", "two", 4.5),
        ("on-colour", "three", 4.5),
        ("on-colour", "four", 4.5),
    ],
)
def test_text_stands_out_from_its_ground(page, scheme, ink, ground, least):
    blocks = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", page, re.S)
    ]
    colours = blocks[0] | blocks[["light", "dark", "paper"].index(scheme)]
    lighter, darker = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= least


def test_a_link_that_is_asked_for_is_never_called_certain():
    assert [wording.likely(score) for score in (None, 0.5, 0.994, 1.0)] == ["", "50%", "over 99%", "over 99%"]


def test_bytes_are_told_where_they_are_known():
    calls = [{"side": "xero", "calls": 3, "bytes": None}]
    assert "Received" not in render_html(full_report(calls=frame(calls, CALLS)))
    assert "Received" in render_html(full_report())


def test_long_lists_are_cut_and_say_where_the_rest_is(page):
    text = re.sub(r"\s+", " ", tree(page).text)
    assert "5 more, in the pair's warehouse, and `reconcile report --json`." in text
    assert (
        text.count("+44207123") == 2 * LISTED + 1
    )  # both sides of each; and of one operation the value before


def test_an_empty_report_is_a_page_too():
    html = render_html(ReportData("acme", "production", "r1", NOW))
    text = re.sub(r"\s+", " ", tree(html).text)
    assert "Nothing has been compared yet." in text
    assert "No value was changed on both sides." in text
    assert tree(html).open == []


def test_a_plan_that_was_not_applied_is_shown_as_planned():
    html = render_html(full_report(outcomes=frame([], OUTCOME_ROWS), applied_at=None))
    assert "not applied" in html
    assert "6 changes are planned and not made yet." in html
    assert "What is planned" in html
    assert "What was changed" not in html
    assert "Changed by us" not in html
    assert "6 planned." in re.sub(r"\s+", " ", tree(html).text)


@pytest.mark.parametrize(
    ("drift", "conflicts", "expected"),
    [
        (0, 0, "The books agree on 280 matched records."),
        (1, 0, "1 value differs between Salesforce and Xero, over 280 matched records."),
        (2, 1, "3 values differ between Salesforce and Xero, over 280 matched records. "
               "1 of the differences was changed on both sides and waits for a decision."),
    ],
)  # fmt: skip
def test_the_headline_says_how_the_books_stand(drift, conflicts, expected):
    def rows(count: int) -> pl.DataFrame:
        return frame([difference(n, "phone", "1", "2") for n in range(count)], DRIFT)

    assert headline(full_report(drift=rows(drift), conflicts=rows(conflicts))) == expected


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs a Chromium")
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_a_browser_shows_the_page_without_asking_for_anything(page, tmp_path, width, scheme):
    from playwright.sync_api import sync_playwright

    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        asked: list[str] = []
        said: list[str] = []
        view.on("request", lambda request: asked.append(request.url))
        view.on("console", lambda message: said.append(message.text))
        view.goto(file.as_uri())
        body = view.evaluate("getComputedStyle(document.body).backgroundColor")
        overflow = view.evaluate("document.documentElement.scrollWidth - innerWidth")
        bar = view.evaluate("getComputedStyle(document.querySelector('svg .mark-rect path')).fill")
        browser.close()
    assert (asked, said) == ([file.as_uri()], [])
    assert body == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(18, 22, 29)"), (
        "the style sheet is let in"
    )
    assert bar == ("rgb(31, 95, 168)" if scheme == "light" else "rgb(111, 168, 236)"), (
        "pictures take its colours"
    )
    assert overflow <= 0


# --- what leaves the machine --------------------------------------------------------------------------

VALUES = [
    *NAMES,
    "+442071234567",
    "accounts@contoso.example",
    "High Street",
    "Reading",
    "Fabrikam",
    "Script Ltd",
]
VALUES += ["Pat", "must be unique", "Customer 6", "Contact 40"]


def test_markdown_holds_ids_and_counts_and_no_values():
    text = render_markdown(full_report())
    assert not [value for value in VALUES if value in text]
    assert f"| party | shipping_address | {account(3)} | {guid(3)} |" in text
    assert "| party | phone | 160 | 128 | 2 | 30 | 0 |" in text
    assert "| xero | change | rejected | 1 |" in text


def test_markdown_cells_stay_cells():
    text = render_markdown(full_report(pair="a|b\n# c <img src=x>"))
    assert text.startswith("# Where the books differ: a b   c  img src x (sandbox)\n")


def test_markdown_of_an_empty_report_is_short():
    lines = render_markdown(ReportData("acme", "sandbox", "r1", NOW)).splitlines()
    assert len(lines) == 3


def test_tables_for_the_warehouse_carry_run_and_time_and_no_values():
    tables = report_tables(full_report())
    for name, table in tables.items():
        assert table.columns[:2] == ["run_id", "at"], name
        assert not [value for value in VALUES if value in str(table.rows())], name
    assert tables["report_drift"].height == 36
    assert tables["report_changes"].filter(pl.col("outcome") == "rejected").height == 1


def test_importing_the_report_imports_no_altair():
    code = "import sys, flows.report; sys.exit(bool({'altair', 'vl_convert', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        ("raw:ext 12", "ext 12"),
        ("true", "yes"),
        ('{"first":"Ann","last":"Lee"}', "Ann Lee"),
        (
            '{"city":"Łódź","country":"PL","lines":["1 High St","Level 2"],"region":null}',
            "1 High St, Level 2, Łódź, PL",
        ),
        ('{"name":"{\\"first\\":\\"Ann\\",\\"last\\":\\"Lee\\"}","email":null}', "name: Ann Lee"),
        ("{not json", "{not json"),
    ],
)
def test_a_canonical_value_reads_as_a_person_would_write_it(value, expected):
    assert wording.readable(value) == expected


@pytest.mark.parametrize(
    ("one", "other", "left", "right"),
    [
        ("1 High St", "1 High Street", "1 High <mark>St</mark>", "1 High <mark>Street</mark>"),
        ("+442071234567", "+442071234000", "+442071234<mark>567</mark>", "+442071234<mark>000</mark>"),
        ("ab", "aab", "ab", "a<mark>a</mark>b"),
        ("<b>", "<i>", "&lt;<mark>b</mark>&gt;", "&lt;<mark>i</mark>&gt;"),
        ("", "x", "", "x"),
    ],
)
def test_what_differs_is_marked(one, other, left, right):
    assert wording.marked(one, other) == (left, right)


@given(st.text(max_size=30), st.text(max_size=30))
def test_marking_loses_no_character(one, other):
    for text, html in zip((one, other), wording.marked(one, other), strict=True):
        assert html.replace("<mark>", "").replace("</mark>", "") == wording.Markup.escape(text)


def test_operations_without_an_outcome_row_are_planned():
    data = full_report(outcomes=frame([], OUTCOME_ROWS))
    assert report_tables(data)["report_changes"]["outcome"].unique().to_list() == ["planned"]
    assert data.operations.height == report_tables(data)["report_changes"].height
    assert set(OPERATIONS) >= set(data.operations.columns)

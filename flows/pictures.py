"""Draws the report's pictures as SVG that takes its colours from the page, so that dark and paper work too.

Altair writes the drawing, vl-convert makes it SVG without a network or a browser; both are imported where
a picture is made. Each function gives "" where there is nothing to draw.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flows.totals import CAUSE_WORDS, KIND_OF, KINDS

if TYPE_CHECKING:
    import altair as alt

WIDTH: Final = 640
LABELS: Final = 185  # left of the bars; one width, so that pictures below each other line up
ONE: Final = {
    "party": "Company",
    "person": "Person",
    "product": "Product",
    "price": "Price",
    "document": "Invoice",
    "credit": "Credit note",
    "payment": "Payment",
    "bill": "Bill",
    "option": "Tracking option",
    "shown_invoice": "Invoice shown",
    "shown_payment": "Payment shown",
    "membership": "Contact group",
}
MANY: Final = {
    "party": "Companies",
    "person": "People",
    "product": "Products",
    "price": "Prices",
    "document": "Invoices",
    "credit": "Credit notes",
    "payment": "Payments",
    "bill": "Bills",
    "option": "Tracking options",
    "shown_invoice": "Invoices shown",
    "shown_payment": "Payments shown",
    "membership": "Contact groups",
}
DIRECTIONS: Final = {
    "salesforce": "Salesforce changed",
    "xero": "Xero changed",
    "both": "both changed",
    "as_found": "never agreed",
}
PARTS: Final = {
    "matched": "matched",
    "review": "to be reviewed",
    "unmatched_salesforce": "only in Salesforce",
    "unmatched_xero": "only in Xero",
}
LINES: Final = {
    "drift": "differences",
    "conflicts": "conflicts",
    "review": "to be reviewed",
    "unmatched": "unmatched",
}
# The page defines these in its style sheet, once for light and once for dark.
COLOURS: Final = ["var(--one)", "var(--two)", "var(--three)", "var(--four)", "var(--bad)"]


def drift_by_unit(drift: pl.DataFrame) -> str:
    """Draw how many values differ, by entity and unit, and which side moved. Takes DRIFT."""
    counts = (
        drift.group_by("entity", "unit", "direction")
        .len("count")
        .with_columns(
            unit=pl.format("{} · {}", named("entity", ONE), spoken("unit")),
            moved=pl.col("direction").replace(DIRECTIONS),
        )
    )
    if counts.is_empty():
        return ""
    bars = _stacked(counts, rows="unit", parts="moved", order=list(DIRECTIONS.values()))
    return _svg(bars, label=f"Bar chart: {drift.height} differing values by unit and by the side that moved")


def overview(totals: pl.DataFrame) -> str:
    """Draw how many records are matched, wait for review, or stand alone, by entity. Takes TOTALS."""
    counts = (
        totals.unpivot(index="entity", on=list(PARTS), variable_name="part", value_name="count")
        .filter(pl.col("count") > 0)
        .with_columns(part=pl.col("part").replace(PARTS), entity=named("entity", MANY))
    )
    if counts.is_empty():
        return ""
    bars = _stacked(counts, rows="entity", parts="part", order=list(PARTS.values()))
    return _svg(bars, label="Bar chart: records that are matched, wait for review, or stand alone, by entity")


def causes(differences: pl.DataFrame) -> str:
    """Draw how many amounts differ, by cause: rounding, booked elsewhere, another amount. Takes DIFFERENCES."""
    counts = (
        differences.group_by("cause")
        .agg(count=pl.col("difference_id").n_unique())
        .with_columns(kind=named("cause", KIND_OF), cause=named("cause", CAUSE_WORDS))
    )
    if counts.is_empty():
        return ""
    bars = _stacked(counts, rows="cause", parts="kind", order=list(KINDS))
    total = differences["difference_id"].n_unique()
    return _svg(bars, label=f"Bar chart: {total} differences of amounts by cause, coloured by kind of cause")


def trend(history: pl.DataFrame) -> str:
    """Draw how differences, conflicts, reviews and unmatched records went over the runs. Takes HISTORY."""
    import altair as alt

    counts = (
        history.group_by("at")
        .agg(pl.col(*LINES).sum())
        .unpivot(index="at", on=list(LINES), variable_name="line", value_name="count")
        .with_columns(line=pl.col("line").replace(LINES))
        .sort("at", "line")
    )
    if counts["at"].n_unique() < 2:
        return ""
    lines = (
        _chart(counts)
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=45), strokeWidth=2)
        .encode(
            x=alt.X("at:T", title=None, axis=_days(counts["at"])),
            y=alt.Y("count:Q", title=None, axis=alt.Axis(tickMinStep=1, tickCount=5, grid=True)),
            color=_colour("line", list(LINES.values())),
            strokeDash=alt.StrokeDash("line:N", sort=list(LINES.values()), legend=None),
        )
        .properties(width=WIDTH, height=200)
    )
    runs = counts["at"].n_unique()
    return _svg(lines, label=f"Line chart: differences, conflicts, reviews and unmatched over {runs} runs")


def named(column: str, names: dict[str, str]) -> pl.Expr:
    """Give an entity by the name that its readers use."""
    return pl.col(column).cast(pl.String).replace(names)


def spoken(column: str) -> pl.Expr:
    """Give a unit's name as a person says it: billing_address is billing address."""
    return pl.col(column).cast(pl.String).str.replace_all("_", " ")


def _days(times: pl.Series) -> alt.Axis:
    import altair as alt

    first, last = times.min(), times.max()
    days = (last - first).days if isinstance(first, datetime) and isinstance(last, datetime) else 0
    if isinstance(first, datetime) and isinstance(last, datetime) and last - first < timedelta(minutes=30):
        return alt.Axis(format="%H:%M:%S", tickCount=4, labelOverlap=True)
    if days < 3:
        return alt.Axis(format="%d %b %H:%M", tickCount=4, labelOverlap=True)
    return alt.Axis(format="%d %b", tickCount=alt.TimeIntervalStep(interval="day", step=1 + days // 7))


def _stacked(
    frame: pl.DataFrame, *, rows: str, parts: str, order: list[str]
) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    place = {name: number for number, name in enumerate(order)}
    parts_of_row, sum_of_row = pl.len().over(rows), pl.col("count").sum().over(rows)
    frame = frame.with_columns(
        place=pl.col(parts).replace_strict(place, default=len(order), return_dtype=pl.Int64),
        # A number in a part that is too thin for it would run into the next one.
        text=pl.when((pl.col("count") > 0.05 * sum_of_row.max()) & (parts_of_row > 1))
        .then(pl.col("count").cast(pl.String))
        .otherwise(pl.lit("")),
    )
    sizes = frame.group_by(rows).agg(pl.col("count").sum()).sort("count", rows, descending=[True, False])
    sort = sizes[rows].to_list()
    ticks = min(5, max(sizes["count"].to_list()))  # of whole records: no half of one
    shared = _chart(frame).encode(
        y=alt.Y(
            f"{rows}:N", title=None, sort=sort, axis=alt.Axis(labelLimit=LABELS, ticks=False, domain=False)
        ),
        x=alt.X("count:Q", title=None, stack="zero", axis=alt.Axis(tickMinStep=1, tickCount=ticks)),
        order=alt.Order("place:Q"),
    )
    bars = shared.mark_bar(height={"band": 0.62}).encode(color=_colour(parts, order))
    numbers = (
        _chart(frame)
        .mark_text(align="center", baseline="middle", fontWeight="bold")
        .encode(
            y=alt.Y(f"{rows}:N", sort=sort),
            x=alt.X("count:Q", stack="zero", bandPosition=0.5),
            order=alt.Order("place:Q"),
            detail=f"{parts}:N",
            text="text:N",
            color=alt.value("var(--on-colour)"),
        )
    )
    sums = (
        _chart(sizes)
        .mark_text(align="left", baseline="middle", dx=6)
        .encode(
            y=alt.Y(f"{rows}:N", sort=sort),
            x=alt.X("count:Q"),
            text=alt.Text("count:Q", format=","),
            color=alt.value("currentColor"),
        )
    )
    return (bars + numbers + sums).properties(width=WIDTH, height=alt.Step(34))


def _chart(frame: Any) -> alt.Chart:
    # Any: Altair takes Polars frames, and its types do not say so.
    import altair as alt

    return alt.Chart(frame)


def _colour(field: str, order: list[str]) -> alt.Color:
    import altair as alt

    return alt.Color(
        f"{field}:N",
        sort=order,
        scale=alt.Scale(domain=order, range=COLOURS),
        legend=alt.Legend(title=None, orient="top", symbolType="square", labelLimit=220),
    )


def _svg(chart: Any, *, label: str) -> str:
    import vl_convert

    ink = {"labelColor": "currentColor", "titleColor": "currentColor"}
    config = {
        "background": None,
        "font": "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif",
        "view": {"strokeWidth": 0},
        "axis": ink
        | {"gridColor": "var(--line)", "domainColor": "var(--line)", "tickColor": "var(--line)"}
        | {"labelFontSize": 13},
        "axisX": {"domain": False, "ticks": False},
        "axisY": {"grid": False, "minExtent": LABELS, "labelPadding": 8, "domain": False, "ticks": False},
        # Wide apart: the reader's font may be wider than the one that was measured here.
        "legend": ink | {"labelFontSize": 13, "symbolSize": 130, "columnPadding": 36, "offset": 14},
        "text": {"fontSize": 12},
    }
    # Laid on behind Altair's back: it checks colours, and knows none that the page defines.
    drawn = vl_convert.vegalite_to_svg(chart.to_dict() | {"config": config})
    return _inline(drawn, label)


def _inline(svg: str, label: str) -> str:
    # Inside HTML the name spaces are known; without them the page holds no address at all.
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    # One picture with one label: the parts would be read out as hundreds of lines and rectangles.
    svg = re.sub(r'\s(role|aria-[a-z]+)="[^"]*"', "", svg)
    width, height = re.search(r'width="(\d+)" height="(\d+)"', svg).groups()  # type: ignore[union-attr]
    head = f'<svg role="img" aria-label="{label}" width="{width}" height="{height}"'
    return re.sub(r'<svg version="1.1" class="marks" width="\d+" height="\d+"', head, svg, count=1)

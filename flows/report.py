"""Writes the drift report: a page for this machine, Markdown for an artifact, tables for the warehouse.

Names and values of persons stand in the page alone. Markdown and artifacts carry ids and counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
from markupsafe import Markup

from flows import totals as control
from flows import wording
from reconcile.closing import ALARM, by_cause
from reconcile.model import (
    AUDIT,
    DIFFERENCES,
    DRIFT,
    ENTITY,
    FINDINGS,
    LINKS,
    OPERATIONS,
    OUTCOME_ROWS,
    PHASES,
    REJECTS,
    SIDE,
    SIDES,
    UTC,
    Schema,
    conform,
    empty,
)
from reconcile.model import TOTALS as CONTROL_TOTALS

TEMPLATES: Final = Path(__file__).parent / "templates"
LISTED: Final = 25  # rows of a group in the page
LISTED_IDS: Final = 20  # in Markdown

# How far each object is known: all that was changed before that time has been seen.
COMPLETE: Final[Schema] = {"side": SIDE, "object": pl.String, "complete_as_of": UTC, "rows": pl.Int64}
# One row an entity and unit: links compared, and how they stand; planned: to be written by the plan.
SUMMARY: Final[Schema] = {
    "entity": ENTITY,
    "unit": pl.String,
    "compared": pl.Int64,
    "agreed": pl.Int64,
    "planned": pl.Int64,
    "drift": pl.Int64,
    "conflicts": pl.Int64,
}
# One row an entity.
TOTALS: Final[Schema] = {
    "entity": ENTITY,
    "matched": pl.Int64,
    "review": pl.Int64,
    "unmatched_salesforce": pl.Int64,
    "unmatched_xero": pl.Int64,
}
UNMATCHED: Final[Schema] = {"entity": ENTITY, "side": SIDE, "record_id": pl.String, "why": pl.String}
CALLS: Final[Schema] = {"side": SIDE, "calls": pl.Int64, "bytes": pl.Int64}
# One row a run and entity, this run's too.
HISTORY: Final[Schema] = {
    "run_id": pl.String,
    "at": UTC,
    "entity": ENTITY,
    "drift": pl.Int64,
    "conflicts": pl.Int64,
    "review": pl.Int64,
    "matched": pl.Int64,
    "unmatched": pl.Int64,
}


@dataclass(frozen=True)
class ReportData:
    """All that a report says, of one run of one pair. A frame that is not given has no rows."""

    pair: str
    environment: str
    run_id: str
    made_at: datetime  # aware UTC
    complete: pl.DataFrame = field(default_factory=partial(empty, COMPLETE))
    totals: pl.DataFrame = field(default_factory=partial(empty, TOTALS))
    summary: pl.DataFrame = field(default_factory=partial(empty, SUMMARY))
    unmatched: pl.DataFrame = field(default_factory=partial(empty, UNMATCHED))
    review: pl.DataFrame = field(default_factory=partial(empty, LINKS))
    conflicts: pl.DataFrame = field(default_factory=partial(empty, DRIFT))
    drift: pl.DataFrame = field(default_factory=partial(empty, DRIFT))
    operations: pl.DataFrame = field(
        default_factory=partial(empty, OPERATIONS)
    )  # of the last apply, or of the plan that waits
    outcomes: pl.DataFrame = field(
        default_factory=partial(empty, OUTCOME_ROWS)
    )  # none: the plan was not applied
    plan_hash: str = ""
    approved_by: str = ""
    applied_at: datetime | None = None
    findings: pl.DataFrame = field(default_factory=partial(empty, FINDINGS))
    rejects: pl.DataFrame = field(default_factory=partial(empty, REJECTS))
    calls: pl.DataFrame = field(default_factory=partial(empty, CALLS))
    history: pl.DataFrame = field(default_factory=partial(empty, HISTORY))
    control_totals: pl.DataFrame = field(default_factory=partial(empty, CONTROL_TOTALS))
    differences: pl.DataFrame = field(default_factory=partial(empty, DIFFERENCES))
    with_totals: bool = False  # invoices are made: both books are added up
    names: Mapping[str, str] = field(default_factory=dict)  # record_id -> name; for the page alone
    audit: pl.DataFrame = field(default_factory=partial(empty, AUDIT))  # what the last reading again found
    audited_at: datetime | None = None
    journal_head: str = ""  # the end of the audit chain, kept here too: `reconcile audit verify --head`
    where_more: str = "the pair's warehouse, and `reconcile report --json`"


# --- the page -----------------------------------------------------------------------------------------


def render_html(data: ReportData) -> str:
    """Give the report as one page that needs nothing besides itself: no script, no address, no network.

    Takes ReportData. Gives HTML in which every value is escaped, and whose own content security policy
    lets nothing in but its one style sheet, by hash. Lists are cut at LISTED rows a group.
    """
    import jinja2

    from flows import pictures

    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": wording.moment, "size": wording.size, "spoken": wording.spoken}
    return environment.get_template("report.html.j2").render(
        data=data,
        style=Markup(style),  # ours, and no text of a record
        style_hash=b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        headline=headline(data),
        figures=_figures(data),
        pictures=[
            {"title": title, "svg": Markup(svg), "caption": caption}
            for title, svg, caption in (
                (
                    "Who has a counterpart",
                    pictures.overview(data.totals),
                    "Records in scope, by what is known of their counterpart on the other side.",
                ),
                (
                    "What differs, and who moved",
                    pictures.drift_by_unit(pl.concat([data.drift, data.conflicts])),
                    "Values of matched records that differ now, by the side that changed.",
                ),
                ("How it went", pictures.trend(data.history), "Counts at the end of each run."),
            )
            if svg
        ],
        control=_control(data),
        totals=[
            row | {"entity_name": ENTITY_NAMES.get(row["entity"], row["entity"])}
            for row in data.totals.sort("entity").iter_rows(named=True)
        ],
        summary=_summary(data),
        conflicts=_differences(data.conflicts, data),
        review=_review(data),
        drift=[_group(key, rows, data) for key, rows in _by(data.drift, "entity", "unit")],
        unmatched=_unmatched(data),
        changes=_changes(data),
        totals_of_changes=_totals_of_changes(data),
        audit=_cut(data.audit.sort(pl.col("incident"), descending=True, maintain_order=True)),
        checks=_checks(data),
        rejects=_cut(data.rejects),
        complete=data.complete.sort("side", "object").to_dicts(),
        calls=data.calls.sort("side").to_dicts(),
        with_bytes=not data.calls["bytes"].drop_nulls().is_empty(),
        tried=not data.outcomes.is_empty(),
        side_names=wording.SIDE_NAMES,
        counted=wording.counted,
    )


def headline(data: ReportData) -> str:
    """Say in one or two sentences how the books stand."""
    differ, conflicts = data.drift.height + data.conflicts.height, data.conflicts.height
    if data.totals.is_empty() and not differ:
        return "Nothing has been compared yet."
    matched = wording.counted(int(data.totals["matched"].sum()), "matched record")
    waits = _planned(data)
    plan = f" {wording.counted(waits, 'change is', 'changes are')} planned and not made yet." if waits else ""
    if not differ:
        return f"{'Nothing else differs' if waits else 'The books agree'} on {matched}.{plan}"
    values = wording.counted(differ, "value differs", "values differ")
    text = f"{values} between Salesforce and Xero, over {matched}.{plan}"
    if conflicts:
        told = (
            "was changed on both sides and waits" if conflicts == 1 else "were changed on both sides and wait"
        )
        text += f" {conflicts:,} of the differences {told} for a decision."
    return text


def _control(data: ReportData) -> dict[str, Any]:
    from flows import pictures

    found = control.standing(data.control_totals, data.differences)
    broken = data.findings.filter((pl.col("check") == ALARM) & pl.col("broken"))
    return {
        "standing": found,
        "headline": control.headline(found),
        "broken": broken["message"].to_list(),
        "currencies": control.currencies(data.control_totals),
        "columns": list(control.COLUMNS.values()),
        "causes": control.causes(data.differences),
        "behind": control.behind_causes(data.differences, data.names, most=LISTED),
        "picture": Markup(pictures.causes(data.differences)),
    }


def _planned(data: ReportData) -> int:
    """Count the operations of which nothing is known yet: the plan waits, or was applied in part."""
    return _applied(data).filter(pl.col("outcome").is_in(["planned", "waiting"])).height


def _figures(data: ReportData) -> list[dict[str, Any]]:
    alone = sum(int(data.totals[f"unmatched_{side}"].sum()) for side in SIDES)
    done = data.outcomes.filter(pl.col("outcome").is_in(["confirmed", "adopted"])).height
    waits = _planned(data)
    apart = control.standing(data.control_totals, data.differences)
    figures = [
        ("Matched", int(data.totals["matched"].sum()), "", "#glance"),
        ("Differences", data.drift.height, "", "#drift"),
        ("Conflicts", data.conflicts.height, "urgent", "#decide"),
        ("To be reviewed", data.review.height, "urgent", "#review"),
        ("Without counterpart", alone, "", "#unmatched"),
        *(
            [("Amounts apart", apart.differences, "" if apart.proved else "urgent", "#totals")]
            if data.with_totals
            else []
        ),
        *([("Planned", waits, "", "#changes")] if waits else []),
        *([("Changed by us", done, "", "#changes")] if done or not waits else []),
    ]
    return [
        {"name": name, "count": count, "kind": kind if count else "", "at": at}
        for name, count, kind, at in figures
    ]


def _summary(data: ReportData) -> list[dict[str, Any]]:
    ages = _ages(pl.concat([data.drift, data.conflicts]), data.made_at)
    rows = data.summary.join(ages, on=["entity", "unit"], how="left", maintain_order="left", validate="m:1")
    return [
        row | {"entity_name": ENTITY_NAMES.get(row["entity"], row["entity"])}
        for row in rows.with_columns(pl.col("week", "month", "older").fill_null(0)).iter_rows(named=True)
    ]


def _ages(drift: pl.DataFrame, now: datetime) -> pl.DataFrame:
    stood = pl.lit(now) - pl.coalesce("since", pl.lit(now))
    return drift.group_by("entity", "unit").agg(
        week=(stood <= timedelta(days=7)).sum(),
        month=((stood > timedelta(days=7)) & (stood <= timedelta(days=31))).sum(),
        older=(stood > timedelta(days=31)).sum(),
    )


ENTITY_NAMES: Final = {
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


def _by(frame: pl.DataFrame, *keys: str) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    """Give the groups of a frame, the largest first."""
    groups = list(frame.group_by(*keys, maintain_order=True))
    return sorted(groups, key=lambda group: (-group[1].height, [str(part) for part in group[0]]))


def _group(key: tuple[Any, ...], rows: pl.DataFrame, data: ReportData) -> dict[str, Any]:
    entity, unit = key
    return _differences(rows, data) | {"entity": ENTITY_NAMES.get(entity, entity), "unit": unit}


def _cut(frame: pl.DataFrame) -> dict[str, Any]:
    shown = frame.head(LISTED).to_dicts()
    return {"rows": shown, "count": frame.height, "more": frame.height - len(shown)}


def _differences(drift: pl.DataFrame, data: ReportData) -> dict[str, Any]:
    oldest_first = drift.sort("since", "salesforce_id", "unit", nulls_last=True)
    shown = [_difference(row, data) for row in oldest_first.head(LISTED).iter_rows(named=True)]
    whys = [wording.WHY.get(why, why) for why in drift["why"].drop_nulls().unique(maintain_order=True)]
    return {"rows": shown, "count": drift.height, "more": drift.height - len(shown), "whys": whys}


def _difference(row: dict[str, Any], data: ReportData) -> dict[str, Any]:
    left, right = wording.marked(wording.readable(row["salesforce"]), wording.readable(row["xero"]))
    return {
        "name": wording.called(data.names, row["salesforce_id"], row["xero_id"]),
        "salesforce_id": row["salesforce_id"],
        "xero_id": row["xero_id"],
        "unit": row["unit"],
        "salesforce": left,
        "xero": right,
        "moved": wording.MOVED.get(row["direction"], row["direction"]),
        "age": wording.age(row["since"], data.made_at),
    }


def _review(data: ReportData) -> dict[str, Any]:
    cut = _cut(data.review.sort("score", "link_id", descending=[True, False], nulls_last=True))
    for row in cut["rows"]:
        row["salesforce_name"] = wording.called(data.names, row["salesforce_id"])
        row["xero_name"] = wording.called(data.names, row["xero_id"])
        row["likely"] = wording.likely(row["score"])
        row["found_by"] = wording.FOUND_BY.get(row["rule"] or "", wording.spoken(row["rule"] or ""))
    return cut


def _unmatched(data: ReportData) -> list[dict[str, Any]]:
    groups = []
    for (entity, side), rows in _by(data.unmatched, "entity", "side"):
        named = [
            {
                "name": wording.called(data.names, row["record_id"]),
                "record_id": row["record_id"],
                "why": wording.WHY_ALONE.get(row["why"] or "", wording.spoken(row["why"] or "")),
            }
            for row in rows.head(LISTED).iter_rows(named=True)
        ]
        title = f"{ENTITY_NAMES.get(entity, entity)} only in {wording.SIDE_NAMES.get(side, side)}"
        more = rows.height - len(named)
        groups.append({"title": title, "side": side, "count": rows.height, "rows": named, "more": more})
    return groups


def _applied(data: ReportData) -> pl.DataFrame:
    """Give the operations with what became of them; "planned" where nothing was tried."""
    outcomes = data.outcomes.select("operation_id", "outcome", "message", made_id="record_id")
    return data.operations.join(
        outcomes, on="operation_id", how="left", maintain_order="left", validate="1:1"
    ).with_columns(outcome=pl.col("outcome").cast(pl.String).fill_null("planned"))


def _changes(data: ReportData) -> list[dict[str, Any]]:
    applied = _applied(data)
    groups = []
    for phase in PHASES:
        for side in SIDES:
            rows = applied.filter((pl.col("phase") == phase) & (pl.col("system") == side))
            if rows.is_empty():
                continue
            shown = [_change(row, data) for row in rows.head(LISTED).iter_rows(named=True)]
            words = wording.PHASES_TO_COME if data.outcomes.is_empty() else wording.PHASE_WORDS
            title = f"{words[phase]} in {wording.SIDE_NAMES[side]}"
            more = rows.height - len(shown)
            groups.append({"title": title, "count": rows.height, "rows": shown, "more": more})
    return groups


def _readable_after(row: dict[str, Any], data: ReportData) -> str:
    if row["entity"] not in ("document", "credit", "bill") or row["action"] != "create":
        return wording.readable(row["after"])
    parts = json.loads(row["after"])
    who = wording.made_out_to(parts, data.names, data.operations)
    return wording.bill(parts, who) if row["entity"] == "bill" else wording.invoice(parts, who)


def _change(row: dict[str, Any], data: ReportData) -> dict[str, Any]:
    before, after = wording.marked(
        wording.readable(row["before"]), _readable_after(row, data), tags=("del", "ins")
    )
    return {
        "name": wording.called(data.names, row["record_id"], row["source_id"], row["made_id"]),
        "record_id": row["record_id"] or row["made_id"] or "",
        "unit": row["unit"],
        "before": before,
        "after": after,
        "outcome": row["outcome"],
        "outcome_words": wording.OUTCOME_WORDS[row["outcome"]],
        "message": row["message"] or "",
        "reason": row["reason"] or "",
    }


def _totals_of_changes(data: ReportData) -> list[dict[str, Any]]:
    counts = (
        _applied(data).group_by("outcome").len("count").sort("count", "outcome", descending=[True, False])
    )
    return [row | {"words": wording.OUTCOME_WORDS[row["outcome"]]} for row in counts.iter_rows(named=True)]


def _checks(data: ReportData) -> dict[str, Any]:
    failed = data.findings.filter(~pl.col("passed") | pl.col("broken"))
    worst_first = failed.with_columns(
        place=pl.col("severity").replace_strict(
            {"critical": 0, "warning": 1}, default=2, return_dtype=pl.Int8
        )
    ).sort(~pl.col("broken"), "place", "stage", "check")
    passed = data.findings.height - failed.height
    return _cut(worst_first) | {"passed": passed, "ran": data.findings.height}


# --- Markdown -----------------------------------------------------------------------------------------


def render_markdown(data: ReportData) -> str:
    """Give the report for a Prefect artifact: ids and counts, never a name, a value or a vendor's message."""
    parts = [
        f"# Where the books differ: {_plain(data.pair)} ({_plain(data.environment)})",
        f"Run {_plain(data.run_id)}, {wording.moment(data.made_at)}. {headline(data)}",
        _table("## Records", ("entity", *list(TOTALS)[1:]), data.totals),
        _table("## Differences by unit", list(SUMMARY), data.summary),
        _table("## Why", ("why", "count"), _counts(pl.concat([data.drift, data.conflicts]), "why")),
        _table(
            "## Control totals by currency",
            ("currency", "measure", *control.COLUMNS),
            control.spoken_sums(data.control_totals),
        ),
        _table("## Why amounts differ", ("cause", "currency", "count"), by_cause(data.differences)),
        _ids("## Conflicts that wait for a decision", data.conflicts, "unit"),
        _ids("## Links to be reviewed", data.review, "rule"),
        _table(
            "## Without a counterpart", ("entity", "side", "count"), _counts(data.unmatched, "entity", "side")
        ),
        _table(
            f"## What was written (plan {_plain(data.plan_hash[:12]) or 'none'})",
            ("system", "phase", "outcome", "count"),
            _counts(_applied(data), "system", "phase", "outcome"),
        ),
        _table(
            "## Read again after the last push",
            ("finding", "incident", "system", "object", "record_id", "unit"),
            data.audit,
        ),
        _table(
            "## Checks that did not pass",
            ("stage", "check", "severity", "broken", "count"),
            data.findings.filter(~pl.col("passed")),
        ),
        _table(
            "## Set aside",
            ("stage", "entity", "side", "count"),
            _counts(data.rejects, "stage", "entity", "side"),
        ),
        _table("## Known complete as of", list(COMPLETE), data.complete),
        _table("## Calls", list(CALLS), data.calls),
        f"Head of the journal: `{_plain(data.journal_head)}`" if data.journal_head else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _counts(frame: pl.DataFrame, *keys: str) -> pl.DataFrame:
    return frame.group_by(*keys).len("count").sort("count", *keys, descending=[True, *(False for _ in keys)])


def _table(title: str, columns: Sequence[str], frame: pl.DataFrame) -> str:
    if frame.is_empty():
        return ""
    lines = [" | ".join(wording.spoken(name) for name in columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row[name]) for name in columns) for row in frame.iter_rows(named=True)]
    return title + "\n\n" + "\n".join(f"| {line} |" for line in lines)


def _ids(title: str, frame: pl.DataFrame, *others: str) -> str:
    shown = frame.sort("salesforce_id", "xero_id").head(LISTED_IDS)
    text = _table(f"{title}: {frame.height}", ("entity", *others, "salesforce_id", "xero_id"), shown)
    more = frame.height - shown.height
    return text + (f"\n\n{more} more." if more else "")


def _cell(value: Any) -> str:
    return (
        wording.moment(value) if isinstance(value, datetime) else "" if value is None else _plain(str(value))
    )


def _plain(text: str) -> str:
    # Whatever a name of a pair, check or unit holds, it stays one cell of text.
    return re.sub(r"[^\w\s.,:+-]|\n", " ", text).strip()


# --- tables -------------------------------------------------------------------------------------------


def report_tables(data: ReportData) -> dict[str, pl.DataFrame]:
    """Give the report as tables for the warehouse, each row with run_id and at: ids and counts, no values."""
    runs = pl.DataFrame(
        {"pair": [data.pair], "environment": [data.environment], "plan_hash": [data.plan_hash]}
    )
    drift = pl.concat([data.drift, data.conflicts]).drop("salesforce", "xero")
    changes = _applied(data).select(
        "operation_id", "system", "entity", "record_id", "unit", "phase", "outcome"
    )
    tables = {
        "report_runs": runs,
        "report_totals": conform(data.totals, TOTALS),
        "report_summary": conform(data.summary, SUMMARY),
        "report_drift": drift,
        "report_unmatched": conform(data.unmatched, UNMATCHED),
        "report_review": data.review.select("link_id", "entity", "salesforce_id", "xero_id", "rule", "score"),
        "report_changes": changes,
        "report_audit": conform(data.audit, AUDIT),
        "report_checks": data.findings.drop("record_ids"),
        "report_rejects": conform(data.rejects, REJECTS),
        "report_calls": conform(data.calls, CALLS),
    }
    history = conform(data.history, HISTORY)  # of many runs, each with its own stamp
    stamp = (pl.lit(data.run_id).alias("run_id"), pl.lit(data.made_at).cast(UTC).alias("at"))
    return {name: frame.select(*stamp, pl.all()) for name, frame in tables.items()} | {
        "report_history": history
    }

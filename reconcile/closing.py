"""Closes both books as one snapshot shows them: which line is which, what differs and why, and whether it adds up.

The lines of linked documents are paired as `moves` pairs them, both books are brought into one frame and added up
(`totals`), and what a person must hear of it becomes findings: a residual is an alarm, what no cause explains is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import polars as pl

from reconcile.documents import Documents
from reconcile.mapped import DocumentMapping
from reconcile.model import (
    DIFFERENCES,
    FINDINGS,
    INVOICE_LINES,
    INVOICE_STATE,
    LINE_LINKS,
    MEASURE,
    MEASURES,
    RAW,
    SOURCE_STATE,
    TOTALS,
    Schema,
    conform,
    empty,
)
from reconcile.money import numbers
from reconcile.moves import Linked, pair_lines
from reconcile.totals import LINE_NUMBERS, booked, control_totals, line_items, live_texts

# What is read of a line to know it again.
KNOWN_BY: Final = {
    "line_item_id": "LineItemID",
    "description": "Description",
    "item": "ItemCode",
    "quantity": "Quantity",
    "unit_price": "UnitAmount",
    "discount": "DiscountRate",
    "discount_amount": "DiscountAmount",
}
NUMBERS: Final = ("quantity", "unit_price", "discount", "discount_amount")
STAGE: Final = "totals"
ALARM: Final = "totals_add_up"  # the check whose failure ends a run as an incident does
EXPECTED: Final = {
    ALARM: "expected that the differences of rows add up to the difference of the totals",
    "differences_explained": "expected a cause for each amount that differs",
    "documents_counted": "expected documents whose lines can be added up",
}
KEPT_IDS: Final = 200
SAID_GROUPS: Final = 3  # in a message
SUMMED: Final = ("salesforce", "xero", "difference", "explained", "unexplained", "residual")
# What only moves from one group to another: its sum over a currency is nothing.
MOVED_WITHIN: Final = ("timing", "status", "account")

# TOTALS by month. The counts of groups below tell what a sum over them may hide.
MONTHS: Final[Schema] = {
    "currency": pl.String,
    "month": pl.Date,
    "measure": MEASURE,
    **{name: TOTALS[name] for name in SUMMED},
    "groups": pl.Int64,  # by status and account
    "groups_apart": pl.Int64,  # in which the sides differ, or something moved
    "groups_unexplained": pl.Int64,
    "groups_residual": pl.Int64,
}
# DIFFERENCES by cause.
BY_CAUSE: Final[Schema] = {
    "cause": DIFFERENCES["cause"],
    "currency": pl.String,
    "count": pl.Int64,
    "documents": pl.Int64,
    "net": DIFFERENCES["net"],
    "tax": DIFFERENCES["tax"],
    "moved": DIFFERENCES["net"],  # without tax, from one group to another; null: the cause moves nothing so
}


@dataclass(frozen=True)
class Closed:
    """totals TOTALS; differences DIFFERENCES; findings FINDINGS; names: id of what differs -> what it is called."""

    totals: pl.DataFrame = field(default_factory=partial(empty, TOTALS))
    differences: pl.DataFrame = field(default_factory=partial(empty, DIFFERENCES))
    findings: pl.DataFrame = field(default_factory=partial(empty, FINDINGS))
    names: Mapping[str, str] = field(default_factory=dict)


def close_books(
    documents: Documents,
    raw: Mapping[str, pl.DataFrame],
    links: pl.DataFrame,
    rates: pl.DataFrame,
    mapping: DocumentMapping,
) -> Closed:
    """Add both books up, explain what differs, and say what a person must hear of it.

    Takes what `canonical_documents` gave of RAW, that RAW (of Xero Invoice, Account and TaxRate, and CreditNote where
    credit notes are read), LINKS of documents that hold, and DOCUMENT_RATES of those that were sent with a rate.
    Raises what only a bug raises; `not_closed` then stands in for the result.
    """
    lines = invoice_lines(raw[f"xero.{mapping.xero}"], links)
    pairs = pair_lines(_linked(documents, links, lines))
    found = booked(documents, raw, links, pairs, rates, mapping)
    proved = control_totals(found.rows)
    return Closed(
        proved.totals,
        proved.differences,
        findings(proved.totals, proved.differences, found.rejects),
        _names(proved.differences, documents, lines, raw.get("xero.CreditNote", empty(RAW))),
    )


def not_closed(why: str) -> Closed:
    """Give the finding that the books could not be added up. why: without a value of a record."""
    broken = {"passed": False, "broken": True, "message": f"could not run ({why}); {EXPECTED[ALARM]}"}
    return Closed(findings=_frame([_finding(ALARM, "critical", 0, "") | broken]))


# --- Which line is which --------------------------------------------------------------------------------


def invoice_lines(raw: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Give INVOICE_LINES of the invoices that are linked, with what they are known again by: no codes, no tax.

    Takes RAW of Xero's Invoice, read with unitdp=4 and with its lines. A body that can't be read has none.
    """
    ids = links["xero_id"].str.to_lowercase().implode()
    table = live_texts(
        raw.filter(pl.col("record_id").str.to_lowercase().is_in(ids)),
        ("InvoiceID",),
        "InvoiceID",
        LINE_NUMBERS,
    )
    opened = (
        table.select(invoice_id=pl.col("record_id").str.to_lowercase(), line=line_items(table))
        .explode("line")
        .drop_nulls("line")
        .with_columns(position=pl.int_range(1, pl.len() + 1).over("invoice_id"))
        .unnest("line")
    )
    read = opened.with_columns(numbers(opened[KNOWN_BY[name]]).alias(KNOWN_BY[name]) for name in NUMBERS)
    named = read.with_columns(pl.col(path).alias(name) for name, path in KNOWN_BY.items())
    # By one id twice nobody could say which line is meant.
    once = pl.col("line_item_id").is_null() | pl.col("line_item_id").str.to_lowercase().is_first_distinct()
    return conform(named.filter(once), INVOICE_LINES)


def _linked(documents: Documents, links: pl.DataFrame, lines: pl.DataFrame) -> Linked:
    sources = links.select(document_id="salesforce_id", invoice_id=pl.col("xero_id").str.to_lowercase())
    return Linked(
        sources=conform(sources, SOURCE_STATE),
        source_lines=documents.lines,
        invoices=empty(INVOICE_STATE),  # lines are paired without it
        invoice_lines=lines,
        line_links=empty(LINE_LINKS),
    )


def _names(
    differences: pl.DataFrame, documents: Documents, lines: pl.DataFrame, notes: pl.DataFrame
) -> dict[str, str]:
    """Give what a person calls the documents and lines that differ: a deal by its name, an invoice by its number."""
    numbered = live_texts(notes, ("CreditNoteID", "CreditNoteNumber"), "CreditNoteID")
    told = pl.concat(
        [
            documents.headers.select("record_id", "name"),
            documents.invoices.select("record_id", name="number"),
            numbered.select(pl.col("record_id").str.to_lowercase(), name="CreditNoteNumber"),
            documents.lines.select(record_id="line_id", name="description"),
            lines.select(record_id=pl.col("line_item_id").str.to_lowercase(), name="description"),
        ]
    )
    wanted = pl.concat([differences["document_key"], differences["line_key"]]).drop_nulls().unique().implode()
    return dict(told.drop_nulls().filter(pl.col("record_id").is_in(wanted)).iter_rows())


# --- What a person must hear ----------------------------------------------------------------------------


def findings(totals: pl.DataFrame, differences: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
    """Say whether the totals prove themselves, whether each difference has a cause, and what is not in them.

    Takes TOTALS, DIFFERENCES, and the REJECTS of `booked`. Gives FINDINGS, one row a question. A residual is
    critical: the sums are at fault and not the books, and no total can be believed until it is found.
    """
    residual = totals.filter(pl.col("residual") != 0)
    unexplained = differences.filter(pl.col("cause") == "unexplained")
    left = _said_groups(totals.filter(pl.col("unexplained") != 0), "unexplained")
    return _frame(
        [
            _finding(ALARM, "critical", residual.height, _said_groups(residual, "residual")),
            _finding(
                "differences_explained",
                "warning",
                unexplained["difference_id"].n_unique(),
                left,
                unexplained["document_key"].unique(maintain_order=True),
            ),
            _finding(
                "documents_counted", "warning", rejects.height, _said_reasons(rejects), rejects["record_id"]
            ),
        ]
    )


def _finding(
    check: str, severity: str, count: int, found: str, ids: pl.Series | None = None
) -> dict[str, Any]:
    return {
        "stage": STAGE,
        "check": check,
        "severity": severity,
        "passed": count == 0,
        "broken": False,
        "count": count,
        "entity": "document",
        "record_ids": [] if ids is None else ids.head(KEPT_IDS).to_list(),
        "message": f"found {found}; {EXPECTED[check]}" if count else EXPECTED[check],
    }


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return conform(pl.DataFrame(rows, schema_overrides={"record_ids": FINDINGS["record_ids"]}), FINDINGS)


def _said_groups(groups: pl.DataFrame, column: str) -> str:
    said = [
        f"{row[column].normalize():,f} {row['currency']} ({row['measure']}) in {row['month']:%Y-%m}, "
        f"status {row['status']}, account {row['account'] or 'none'}"
        for row in groups.head(SAID_GROUPS).iter_rows(named=True)
    ]
    more = [f"{groups.height - SAID_GROUPS} more"] if groups.height > SAID_GROUPS else []
    return ", and ".join([*said, *more])


def _said_reasons(rejects: pl.DataFrame) -> str:
    counted = rejects.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return ", ".join(f"{count} of which {reason}" for reason, count in counted.iter_rows())


# --- Summed up ------------------------------------------------------------------------------------------


def by_month(totals: pl.DataFrame) -> pl.DataFrame:
    """Sum TOTALS by currency, month and measure. Gives MONTHS, the newest month of each currency first.

    A sum can hide what moved from one group to another, and two differences that cancel out: the groups in which
    there is one are counted beside it.
    """
    apart = pl.any_horizontal(
        pl.col(name) != 0 for name in ("difference", "explained", "unexplained", "residual")
    )
    summed = totals.group_by("currency", "month", "measure").agg(
        pl.col(SUMMED).sum(),
        groups=pl.len(),
        groups_apart=apart.sum(),
        groups_unexplained=(pl.col("unexplained") != 0).sum(),
        groups_residual=(pl.col("residual") != 0).sum(),
    )
    return conform(summed, MONTHS).sort("currency", "month", "measure", descending=[False, True, False])


def by_cause(differences: pl.DataFrame) -> pl.DataFrame:
    """Count and sum DIFFERENCES by cause and currency. Gives BY_CAUSE, in the order of CAUSES."""
    within = pl.col("cause").is_in(MOVED_WITHIN)
    summed = differences.group_by("cause", "currency").agg(
        pl.col(MEASURES).sum(),
        count=pl.col("difference_id").n_unique(),
        documents=pl.col("document_key").n_unique(),
        halves=pl.col("net").abs().sum(),
    )
    moved = summed.with_columns(moved=pl.when(within).then(pl.col("halves") / 2))
    return conform(moved, BY_CAUSE).sort("cause", "currency")

"""Asks a person about documents that a rule of codes holds back, and lets go those to which somebody said yes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from reconcile.agreed import UNIT
from reconcile.bodies import dumps
from reconcile.documents import Documents
from reconcile.invoices import ENTITY, derived_number, invoice_told, lines_of
from reconcile.mapped import DocumentMapping
from reconcile.merge import difference_fingerprint
from reconcile.model import DOCUMENTS, conform

YES: Final = "salesforce_wins"
NO: Final = ("accept_drift", "xero_wins")


def with_holds(documents: Documents, decisions: pl.DataFrame, mapping: DocumentMapping) -> Documents:
    """Give the documents with what people decided of those that rules alone hold back.

    Takes DECISIONS. Rules hold only what is due and shows no invoice. A yes holds while the invoice would be the one
    that was shown: then held is null, and released says what it was. Where nobody decided, asked is what would be
    made, and held says how to answer.
    """
    mine = documents.headers.filter(pl.col("releasable").fill_null(False), pl.col("reason").is_null())
    if mine.is_empty():
        return documents
    shown = _shown(mine, documents.lines, mapping)
    said = (
        decisions.filter(
            pl.col("entity").cast(pl.String) == ENTITY,
            pl.col("unit") == UNIT,
            pl.col("kind").cast(pl.String).is_in([YES, *NO]),
        )
        .sort("made_at")
        .select(record_id="salesforce_id", mark="fingerprint", said=pl.col("kind").cast(pl.String))
        .unique(["record_id", "mark"], keep="last", maintain_order=True)
    )
    judged = shown.join(said, on=["record_id", "mark"], how="left", validate="1:1")
    resolve = pl.format("`reconcile resolve {} " + UNIT + " --take", "record_id")
    yes, no = (pl.col("said") == YES).fill_null(False), pl.col("said").is_in(NO).fill_null(False)
    step = pl.format(". Let it go by {} salesforce`, or leave it unmade by {} neither`", resolve, resolve)
    joined = documents.headers.join(judged, on="record_id", how="left", validate="1:1", maintain_order="left")
    waits = pl.col("mark").is_not_null() & ~yes & ~no
    headers = joined.with_columns(
        held=pl.when(yes)
        .then(None)
        .when(no)
        .then(pl.col("held") + "; a person left it unmade")
        .when(waits)
        .then(pl.col("held") + step)
        .otherwise("held"),
        released=pl.when(yes).then("held"),
        asked=pl.when(waits).then("told"),
    )
    return replace(documents, headers=conform(headers, DOCUMENTS))


def _shown(headers: pl.DataFrame, lines: pl.DataFrame, mapping: DocumentMapping) -> pl.DataFrame:
    """Give record_id, told (what would be invoiced, as JSON) and mark (its fingerprint) of these few documents."""
    by_document = lines_of(lines, headers["record_id"].to_list())
    rows = []
    for row in headers.iter_rows(named=True):
        which = row["record_id"]
        derived = mapping.number.kind == "derived"
        number = derived_number(mapping.number.prefix, which) if derived else None
        told = dumps(invoice_told(row, by_document[which], row["account_id"], mapping, number))
        rows.append({"record_id": which, "told": told, "mark": difference_fingerprint(told, None)})
    return pl.DataFrame(rows, schema=dict.fromkeys(("record_id", "told", "mark"), pl.String))

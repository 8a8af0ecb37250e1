"""Takes off an order's lines what activated reduction orders took back of them.

A reduction order is no document of its own: its lines name the lines that they take from (OriginalOrderItemId), and
what is left of those is what is to be billed. Once the invoice is made this is a change of its source like any other.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import polars as pl

from reconcile.mapped import DocumentMapping
from reconcile.money import EXACT, line_amount, line_tax

NONE: Final = pl.lit(Decimal(0), EXACT)


def taken_off(lines: pl.DataFrame, headers: pl.DataFrame) -> pl.DataFrame:
    """Give lines with what is left as their quantity, and two more columns; order kept.

    Takes lines with document_id, line_id, takes_from (line_id or null), quantity; headers with record_id and what says
    whether they stand. Adds sold, the quantity without reductions, and taken: of a line of a reduction order,
    whether it was taken off a line; false where that order is not to be billed by us.
    """
    stands = pl.col("won") & ~pl.col("gone")
    due = stands & pl.col("in_scope") & pl.col("due_by_date").fill_null(False) & ~pl.col("reduces")
    of_header = headers.select(
        document_id="record_id",
        is_due=due.fill_null(False),
        takes=(stands & pl.col("reduces")).fill_null(False),
    )
    rows = lines.join(of_header, on="document_id", how="left", validate="m:1", maintain_order="left")
    billed = rows.filter("is_due").select(takes_from="line_id", is_there=pl.lit(True))
    rows = rows.join(billed, on="takes_from", how="left", validate="m:1", maintain_order="left")
    off = (
        rows.filter("takes", "is_there")
        .group_by(line_id="takes_from")
        .agg(back=pl.col("quantity").sum())  # less than nothing
    )
    return (
        rows.join(off, on="line_id", how="left", validate="1:1", maintain_order="left")
        .with_columns(sold="quantity", taken=(pl.col("takes") & pl.col("is_there")).fill_null(False))
        .with_columns(quantity=pl.col("quantity") + pl.col("back").fill_null(NONE))
        .drop("is_due", "takes", "is_there", "back")
    )


def without_reductions(
    headers: pl.DataFrame, lines: pl.DataFrame, mapping: DocumentMapping
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give headers and lines of what is left to be billed.

    Takes lines as `taken_off` gave them, with amounts and rates. Left out are reduction orders that were taken off
    whole, and lines of which nothing is left. An order of which nothing is left counts as not activated. The amount of
    an order, which Salesforce leaves as it was sold, is lowered by what was taken off, so that it is still
    held against its lines as they were sold.
    """
    whole = lines.group_by("document_id").agg(all_taken=pl.col("taken").all())
    orders = headers.join(
        whole, left_on="record_id", right_on="document_id", how="left", validate="1:1", maintain_order="left"
    ).filter(~(pl.col("reduces") & pl.col("all_taken").fill_null(False)))
    left = lines.join(
        orders.select(document_id="record_id"), on="document_id", how="semi", maintain_order="left"
    )

    inclusive = mapping.line_amounts == "inclusive"
    sold = line_amount(pl.col("sold"), pl.col("unit_price"), pl.col("discount"), pl.col("places"))
    sold_tax = line_tax(pl.col("sold_amount"), pl.col("rate"), pl.col("places"), inclusive=inclusive)
    off = pl.col("sold_amount") - pl.col("amount").cast(EXACT)
    if mapping.amount == "total" and mapping.line_amounts == "exclusive":
        off = off + (sold_tax - pl.col("tax_amount").cast(EXACT)).fill_null(NONE)
    lowered = pl.col("sold") != pl.col("quantity")
    by_order = (
        left.with_columns(sold_amount=sold)
        .with_columns(off=off, lowered=lowered.fill_null(False))
        .group_by(record_id="document_id")
        .agg(
            off=pl.col("off").filter("lowered").sum(),
            empty=pl.col("lowered").any() & (pl.col("quantity") == 0).fill_null(False).all(),
        )
    )
    orders = orders.join(
        by_order, on="record_id", how="left", validate="1:1", maintain_order="left"
    ).with_columns(
        amount=pl.col("amount") - pl.col("off").fill_null(NONE),
        won=pl.col("won") & ~pl.col("empty").fill_null(False),
    )
    empty = orders.filter("empty").select(document_id="record_id", empty=pl.lit(True))
    left = (
        left.join(empty, on="document_id", how="left", validate="m:1", maintain_order="left")
        .filter(~(lowered.fill_null(False) & (pl.col("quantity") == 0)) | pl.col("empty").fill_null(False))
        .with_columns(position=pl.int_range(1, pl.len() + 1).over("document_id"))
    )
    return orders.drop("all_taken", "off", "empty"), left.drop("empty")

"""Says when invoices are due by the terms of their contacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from reconcile.decode import decoded_bodies
from reconcile.documents import Documents
from reconcile.model import DOCUMENTS, conform
from reconcile.money import quoted

DAY, TYPE = "PaymentTerms.Sales.Day", "PaymentTerms.Sales.Type"


def due_by_terms(documents: Documents, links: pl.DataFrame, raw: Mapping[str, pl.DataFrame]) -> Documents:
    """Let each document be due by the terms of its contact, else of the organisation; else as it is.

    Takes LINKS of parties, and RAW of "xero.Contact" and "xero.Organisation". A contact that is still to be made
    has the organisation's terms.
    Source: accounting spec 16.1.0, PaymentTerm (Day, and four kinds of it); read 2026-11-28.
    """
    contacts = _terms(raw["xero.Contact"], "ContactID").with_columns(
        xero_id=pl.col("record_id").str.to_lowercase()
    )
    organisation = _terms(raw["xero.Organisation"], "OrganisationID").head(1)
    of_account = (
        links.select("xero_id", account_id="salesforce_id")
        .with_columns(pl.col("xero_id").str.to_lowercase())
        .join(contacts, on="xero_id", how="inner", validate="m:1")
        .unique("account_id", keep="first", maintain_order=True)
        .select("account_id", "day", "type")
    )
    ours = organisation["day"][0] if organisation.height else None
    our_type = organisation["type"][0] if organisation.height else None
    headers = documents.headers.join(
        of_account, on="account_id", how="left", validate="m:1", maintain_order="left"
    ).with_columns(
        # A kind without a day is no term, and a day without a kind neither.
        day=pl.when(pl.col("type").is_not_null()).then("day").otherwise(pl.lit(ours, pl.Int64)),
        type=pl.coalesce("type", pl.lit(our_type, pl.String)),
    )
    due = headers.with_columns(due=pl.coalesce(_due(), "due"))
    return replace(documents, headers=conform(due, DOCUMENTS))


def _terms(raw: pl.DataFrame, id_field: str) -> pl.DataFrame:
    """Give record_id, day and type; both null where a record has no terms that can be read."""
    spelled = raw.with_columns(body=quoted(pl.col("body"), ("Day",)))
    table, _ = decoded_bodies(spelled, dict.fromkeys((id_field, DAY, TYPE), pl.String()), id_field=id_field)
    sound = pl.col("readable") & (pl.col("faults").list.len() == 0)
    day = pl.when(sound).then(pl.col(DAY)).cast(pl.Int64, strict=False)
    kind = pl.when(sound).then(pl.col(TYPE).str.to_uppercase())
    both = kind.is_in(list(KINDS)) & day.is_between(0, 31)
    return table.select("record_id", day=pl.when(both).then(day), type=pl.when(both).then(kind))


def _due() -> pl.Expr:
    return pl.coalesce([pl.when(pl.col("type") == name).then(due) for name, due in KINDS.items()])


def _on_day_of(first: pl.Expr) -> pl.Expr:
    """Give that day of a month, or its last where it has fewer."""
    wanted = pl.max_horizontal(pl.col("day"), 1) - 1
    return pl.min_horizontal(first + pl.duration(days=wanted), first.dt.month_end())


FIRST: Final = pl.col("date").dt.month_start()
FOLLOWING: Final = FIRST.dt.offset_by("1mo")
KINDS: Final = {
    "DAYSAFTERBILLDATE": pl.col("date") + pl.duration(days="day"),
    "DAYSAFTERBILLMONTH": pl.col("date").dt.month_end() + pl.duration(days="day"),
    "OFCURRENTMONTH": _on_day_of(FIRST),
    "OFFOLLOWINGMONTH": _on_day_of(FOLLOWING),
}

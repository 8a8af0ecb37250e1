"""Says how many bytes a plan will move before anything is sent, and what Xero bills for its part.

An estimate: a record of Xero weighs what such rows weighed on the line at the last pull; one of an object that no pull
has met, what is sent of it and what Xero adds. One of Salesforce weighs the fields that are asked for. Left out is what
the price of calls leaves out too, and what else changed since the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import polars as pl

from reconcile.model import SIDES
from reconcile.price import Terms, price, records_of, relisted, renewed, requests_of

GB: Final = 1_000_000_000
CENT: Final = Decimal("0.01")
EMPTY_REPLY: Final = 300  # bytes of a reply that lists nothing, or tells who we are
HISTORY: Final = 600  # of one record's history
ENVELOPE: Final = 65  # around a record that is sent: its type, its id
GUARDED_ENVELOPE: Final = 300  # around one in a composite: its address, its condition
ANSWERED: Final = 65  # by Salesforce, of a record that it wrote; Xero shows the record
# What a vendor adds to what was sent: amounts, stamps, slots that are empty; and to an invoice its contact.
ADDED: Final = {"salesforce": 250, "xero": 700}
ADDED_TO_DOCUMENTS: Final = 1500
DOCUMENTS: Final = ("Invoice", "Bill", "CreditNote")
SOURCE: Final = "Opportunity"
ATTRIBUTES: Final = 130  # of a row in Salesforce: its type and address
FIELD: Final = 18  # quotes, colon, comma, and what a field holds as a rule


def traffic(
    operations: pl.DataFrame, terms: Terms, weights: Mapping[str, float], recent: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """Give, by side, the bytes sent and received by a push and by what is read again after it.

    Takes OPERATIONS; weights: "side.object" -> bytes of a row on the line, as far as they are known;
    recent: likewise the rows that the last delta showed, which a first look shows again.
    """
    found = {side: {"sent": 0, "received": 0} for side in SIDES}
    if operations.is_empty():
        return found
    asked = price(operations, terms)
    records = requests_of(records_of(operations, terms), terms)
    by_object = records.group_by("system", "object").agg(
        pl.col("guarded", "sourced", "body_bytes").sum(),
        calls=pl.col("request").n_unique(),
        resting=pl.col("request").filter("resting").n_unique(),
        rows=pl.len(),
        edited=(pl.col("edited") & ~pl.col("creates") & pl.col("group").is_null()).sum(),
    )
    for one in by_object.iter_rows(named=True):
        side, rows, guarded = one["system"], one["rows"], one["guarded"]
        mine = found[side]
        added = ADDED_TO_DOCUMENTS if one["object"] in DOCUMENTS else ADDED[side]
        weight = weights.get(f"{side}.{one['object']}") or one["body_bytes"] / rows + added
        mine["sent"] += one["body_bytes"] + ENVELOPE * (rows - guarded) + GUARDED_ENVELOPE * guarded
        # Twice: Xero shows what it wrote, Salesforce is asked for it at once; and all is read again at the end.
        mine["received"] += round(2 * weight * rows) + (ANSWERED * rows if side == "salesforce" else 0)
        listed = recent.get(f"{side}.{one['object']}", 0) + terms.before.get((side, one["object"]), 0)
        mine["received"] += round(weight * listed)
        if side == "xero":
            mine["received"] += HISTORY * one["edited"] if terms.history == "all" else 0
            again = renewed(one["resting"], terms) * relisted(rows, one["calls"], terms)
            mine["received"] += round(weight * again)
            of_source = weights.get(f"salesforce.{SOURCE}", ADDED["salesforce"])
            found["salesforce"]["received"] += round(of_source * one["sourced"])
    for side in SIDES:
        found[side]["received"] += EMPTY_REPLY * (asked[side]["identity"] + asked[side]["look"])
    return found


def salesforce_row(fields: Iterable[str]) -> int:
    """Give about what a row of these fields weighs."""
    return ATTRIBUTES + sum(len(name) + FIELD for name in fields)


def billed(received: int, gb_price: Decimal) -> Decimal:
    """Give what Xero bills for bytes that it sends beyond what the app's tier includes, to the cent.

    Source: pricing from 2026-03-02: 2.40 AUD a GB; what comes in is free, and custom connections are exempt.
    """
    return (Decimal(received) / GB * gb_price).quantize(CENT)

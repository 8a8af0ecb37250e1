"""Reduction orders: what is left of each line is billed, whatever took off how much."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings import library
from reconcile.mapped import DocumentMapping
from reconcile.mapping import load_mapping
from reconcile.money import EXACT
from reconcile.reductions import taken_off, without_reductions

D = Decimal
quantities = st.decimals(D("0.25"), D(50), places=2)
# Orders: whether one is to be billed from here, and its lines (quantity, price).
orders = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(st.tuples(quantities, st.decimals(D(0), D(999), places=2)), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)
# Reductions: whether one is activated, and its lines (which order, which line, what part of what is left of it).
reductions = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([1, 2, 4])), max_size=4),
    ),
    max_size=4,
)
SCHEMA = {
    "document_id": pl.String, "line_id": pl.String, "takes_from": pl.String, "quantity": EXACT, "unit_price": EXACT,
}  # fmt: skip


def mapping() -> DocumentMapping:
    text = "extends: [default, orders]\ndocuments: {invoice: {cut_over: 2026-11-01}}\n"
    found = load_mapping(text, name="mapping.yaml", library=library()).invoice
    assert found is not None
    return replace(found, line_amounts="exclusive", amount="subtotal")


def cents(value: Decimal) -> Decimal:
    return value.quantize(D("0.01"), rounding=ROUND_HALF_UP)


@settings(max_examples=120, deadline=None)
@given(sold=orders, back=reductions)
def test_what_is_left_is_billed(sold: Any, back: Any) -> None:
    headers, lines, total = [], [], {}
    left: dict[str, Decimal] = {}
    for n, (due, some) in enumerate(sold):
        headers.append({"record_id": f"o{n}", "won": True, "due_by_date": due, "reduces": False})
        for k, (quantity, price) in enumerate(some):
            lines.append((f"o{n}", f"o{n}.{k}", None, quantity, price))
            left[f"o{n}.{k}"] = quantity
        total[f"o{n}"] = sum((cents(quantity * price) for quantity, price in some), D(0))
    lowered: set[str] = set()
    told: set[str] = set()
    for n, (active, some) in enumerate(back):
        headers.append({"record_id": f"r{n}", "won": active, "due_by_date": True, "reduces": True})
        whole = active and bool(some)
        for k, (order, line, part) in enumerate(some):
            order %= len(sold)
            name = f"o{order}.{line % len(sold[order][1])}"
            quantity = left[name] if part == 1 else cents(left[name] / part)
            lines.append((f"r{n}", f"r{n}.{k}", name, -quantity, D(1)))
            due = sold[order][0]
            whole = whole and due
            if active and due and quantity:
                left[name] -= quantity
                lowered.add(name)
        if not whole:
            told.add(f"r{n}")

    read = pl.DataFrame(lines, schema=SCHEMA, orient="row")
    orders_read = pl.DataFrame(headers).with_columns(
        gone=pl.lit(False),
        in_scope=pl.lit(True),
        amount=pl.col("record_id").replace_strict(total, default=D(0), return_dtype=EXACT),
    )
    nothing_more = dict.fromkeys(("discount", "rate", "tax_amount"), pl.lit(None, EXACT))
    priced = taken_off(read, orders_read).with_columns(places=pl.lit(2), position=pl.lit(0), **nothing_more)
    amounts = [cents(q * p) for q, p in priced.select("quantity", "unit_price").iter_rows()]
    priced = priced.with_columns(amount=pl.Series(amounts, dtype=EXACT))
    kept, billed = without_reductions(orders_read, priced, mapping())

    assert (
        set(kept["record_id"]) == {one["record_id"] for one in headers if one["record_id"][0] == "o"} | told
    )
    amount = dict(kept.select("record_id", "amount").iter_rows())
    won = dict(kept.select("record_id", "won").iter_rows())
    of = defaultdict(list)
    for row in billed.iter_rows(named=True):
        of[row["document_id"]].append(row)
    for n, (_, some) in enumerate(sold):
        rows, names = of[f"o{n}"], [f"o{n}.{k}" for k in range(len(some))]
        nothing_left = bool(lowered & set(names)) and all(left[name] == 0 for name in names)
        assert won[f"o{n}"] is not nothing_left
        there = [name for name in names if nothing_left or left[name] or name not in lowered]
        assert [(row["line_id"], row["quantity"]) for row in rows] == [(name, left[name]) for name in there]
        assert [row["position"] for row in rows] == [*range(1, len(rows) + 1)]
        assert amount[f"o{n}"] == sum((row["amount"] for row in rows), D(0))

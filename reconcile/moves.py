"""Decides what becomes of an invoice when its source changed: a declared table of every state and every change.

The table says what Xero allows, what a person is asked, and what is refused and why; nothing is tried out.
Quantity, price, discount, description and item belong to the CRM; account and tax, once made, to the ledger.
Facts: the notes on status transitions and on edits with payments, 2026-11 (`sandbox/README.md` has their evidence).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps, loads
from reconcile.model import (
    DOCUMENT_LINES,
    INVOICE_LINES,
    INVOICE_STATE,
    LINE_LINKS,
    MOVES,
    PAIRED_LINES,
    SOURCE_STATE,
    conform,
    rows_frame,
)
from reconcile.money import EXACT, exact

Row = Mapping[str, Any]

# --- The table ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One move. needs: as in MOVES, or "rule": nothing or approval, as the setting `withdraw` says.

    words: for a person; {change}, {invoice}, {why} and {lock} are filled in.
    """

    move: str
    call: str
    needs: str
    words: str


CELLS: Final = {
    "keep": Cell("keep", "none", "nothing", "its invoice {invoice} is as it should be"),
    "left": Cell(
        "keep", "none", "nothing", "it is out of the mapping's scope: its invoice {invoice} is left alone"
    ),
    "over": Cell("keep", "none", "nothing", "{change}, and its invoice {invoice} does not stand either"),
    "change": Cell("change", "update", "nothing", "{change}: its invoice {invoice} is changed whole"),
    "delete": Cell("withdraw", "delete", "rule", "{change}: its invoice {invoice} is deleted"),
    "delete_asked": Cell("withdraw", "delete", "approval", "{change}: its invoice {invoice} is deleted"),
    "void": Cell("withdraw", "void", "approval", "{change}: its invoice {invoice} is voided"),
    "credit": Cell(
        "credit", "credit", "approval", "{change}: a credit note on its invoice {invoice} makes up for it"
    ),
    "remake": Cell(
        "remake",
        "remake",
        "approval",
        "{change}: its invoice {invoice} is voided, and made again with the next revision of its number",
    ),
    "make_again": Cell(
        "remake",
        "remake",
        "approval",
        "{change}, and its invoice {invoice} does not stand: one with the next revision of its number is made",
    ),
    "tell": Cell(
        "tell",
        "none",
        "mending",
        "{change}, and its invoice {invoice} is approved: change it in Xero, or put it back",
    ),
    "tell_settled": Cell(
        "tell",
        "none",
        "mending",
        "{change}, and its invoice {invoice} has payments or credits: take them off first, or put it back",
    ),
    "tell_over": Cell(
        "tell", "none", "mending", "it is won, and its invoice {invoice} does not stand: one of both is wrong"
    ),
    "drift": Cell(
        "tell",
        "none",
        "mending",
        "it did not change, but its invoice {invoice} did in Xero: accept that, or put it back there",
    ),
    "unfit": Cell(
        "refuse",
        "none",
        "mending",
        "no invoice can be made of it now, and its invoice {invoice} stays as it is: {why}",
    ),
    "into_lock": Cell(
        "refuse",
        "none",
        "mending",
        "its date lies in a period that Xero has locked up to {lock}: its invoice {invoice} stays as it is",
    ),
    "locked": Cell(
        "refuse",
        "none",
        "mending",
        "{change}, and its invoice {invoice} lies in a period that Xero has locked up to {lock}",
    ),
    "absent": Cell("refuse", "none", "mending", "its invoice is not in the snapshot of Xero"),
    "unknown": Cell(
        "refuse", "none", "mending", "its invoice {invoice} has a status of which nothing is known here"
    ),
}

# What happened to a source, for {change}. In the order in which the first that holds decides.
CHANGE_WORDS: Final = {
    "agreed": "neither changed since they last agreed",
    "out_of_scope": "it is out of the mapping's scope",
    "drifted": "it did not change, but its invoice was changed in Xero",
    "gone": "it was deleted",
    "lost": "it is not won any more",
    "before_cut_over": "its date lies before the cut-over",
    "unfit": "no invoice can be made of it",
    "into_lock": "its new date lies in a locked period",
    "won_again": "it was re-opened and won again",
    "currency": "its currency changed",
    "contact": "it is to be made out to another contact",
    "less": "its lines changed, and amount to less",
    "more": "its lines changed, and amount to more",
    "lines": "its lines changed",
    "header": "its dates or its reference changed",
    "nothing": "it agrees with its invoice",
}
CHANGES: Final = tuple(CHANGE_WORDS)

_DRAFT: Final = {
    "agreed": "keep", "out_of_scope": "left", "drifted": "drift", "gone": "delete", "lost": "delete",
    # Not by rule: a cut-over that somebody moves in the mapping must not delete drafts in their hundreds.
    "before_cut_over": "delete_asked",
    "unfit": "unfit", "into_lock": "into_lock", "won_again": "keep", "currency": "change", "contact": "change",
    "less": "change", "more": "change", "lines": "change", "header": "change", "nothing": "keep",
}  # fmt: skip
_AUTHORISED: Final = _DRAFT | {
    "gone": "void", "lost": "void", "before_cut_over": "tell", "currency": "remake", "contact": "remake",
    "less": "credit", "more": "remake", "lines": "tell", "header": "tell",
}  # fmt: skip
# What has payments or credits can't be voided before they are taken off.
_SETTLED: Final = _AUTHORISED | {
    "gone": "credit", "lost": "credit", "currency": "tell_settled", "contact": "tell_settled",
    "more": "tell_settled", "lines": "tell_settled", "header": "tell_settled",
}  # fmt: skip
_OVER: Final = {
    **dict.fromkeys(("won_again", "currency", "contact", "less", "more", "lines", "header"), "make_again"),
    **dict.fromkeys(("gone", "lost", "before_cut_over"), "over"),
    "agreed": "keep", "out_of_scope": "left", "drifted": "drift", "unfit": "unfit", "into_lock": "into_lock",
    "nothing": "tell_over",
}  # fmt: skip
_KEPT: Final = {"agreed": "keep", "out_of_scope": "left", "nothing": "keep", "won_again": "keep"}
# State of the invoice -> change of its source -> cell.
TABLE: Final = {
    "absent": dict.fromkeys(CHANGES, "absent") | {"out_of_scope": "left"},
    "voided": _OVER,
    "deleted": _OVER,
    "credited": _OVER,  # in full: nothing is owed of it, and nothing was paid that is still its own
    "unknown": dict.fromkeys(CHANGES, "unknown") | {"agreed": "keep", "out_of_scope": "left"},
    "locked": dict.fromkeys(CHANGES, "locked") | _KEPT | {"drifted": "drift", "unfit": "unfit"},
    "paid": _SETTLED,
    "part_settled": _SETTLED,  # AUTHORISED, with a payment or a credit
    "authorised": _AUTHORISED,
    "submitted": _DRAFT,
    "draft": _DRAFT,
}
STATES: Final = tuple(TABLE)
OVER: Final = ("absent", "voided", "deleted", "credited")
STATUSES: Final = ("DRAFT", "SUBMITTED", "AUTHORISED", "PAID", "VOIDED", "DELETED")

# What turns a call that needs nothing into one that a person is asked for.
DOUBT_WORDS: Final = {
    "by_setting": "the setting says that it is asked",
    "base_unknown": "what both said when they last agreed is not known",
    "both_changed": "somebody changed the invoice in Xero too",
    "lines_unsure": "it has lines in Xero of which it is not sure whose they are",
}
NO_ACCOUNT: Final = "a line has no account, which Xero asks for once it is submitted"


# --- What is compared -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linked:
    """Sources and their invoices, one to one.

    sources SOURCE_STATE; source_lines DOCUMENT_LINES; invoices INVOICE_STATE (those that are in the snapshot);
    invoice_lines INVOICE_LINES; line_links LINE_LINKS: as far as they are known.
    """

    sources: pl.DataFrame
    source_lines: pl.DataFrame
    invoices: pl.DataFrame
    invoice_lines: pl.DataFrame
    line_links: pl.DataFrame


def read_invoices(bodies: Iterable[Row]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give INVOICE_STATE (without revision and base) and INVOICE_LINES of invoices as Xero shows them.

    Takes parsed bodies with exact numbers (`bodies.loads`), read with unitdp=4 and with their lines: from a list
    without paging they would seem to have none.
    """
    shown = list(bodies)
    headers = [_header_of(body) for body in shown]
    lines = [
        _line_of(body, line, position)
        for body in shown
        for position, line in enumerate(body.get("LineItems") or (), start=1)
    ]
    return rows_frame(headers, INVOICE_STATE), rows_frame(lines, INVOICE_LINES)


def _header_of(body: Row) -> dict[str, Any]:
    return {
        "invoice_id": str(body["InvoiceID"]).lower(),
        "number": body.get("InvoiceNumber"),
        "status": str(body.get("Status") or "").upper(),
        "contact_id": (body.get("Contact") or {}).get("ContactID"),
        "currency": body.get("CurrencyCode"),
        "date": day_of(body.get("Date")),
        "due": day_of(body.get("DueDate")),
        "reference": body.get("Reference"),
        "line_amounts": body.get("LineAmountTypes"),
        "subtotal": _number(body.get("SubTotal")),
        "total": _number(body.get("Total")),
        "paid": _number(body.get("AmountPaid")),
        "credited": _number(body.get("AmountCredited")),
    }


def _line_of(invoice: Row, line: Row, position: int) -> dict[str, Any]:
    return {
        "invoice_id": str(invoice["InvoiceID"]).lower(),
        "line_item_id": line.get("LineItemID"),
        "position": position,
        "description": line.get("Description"),
        "quantity": _number(line.get("Quantity")),
        "unit_price": _number(line.get("UnitAmount")),
        "discount": _number(line.get("DiscountRate")),
        "discount_amount": _number(line.get("DiscountAmount")),
        "account": line.get("AccountCode"),
        "tax": line.get("TaxType"),
        "item": line.get("ItemCode"),
        "tax_amount": _number(line.get("TaxAmount")),
        "tracking": dumps(line["Tracking"]) if line.get("Tracking") else None,
    }


def _number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


def day_of(text: Any) -> date | None:
    """Read a day as Xero writes it; null where there is none."""
    # Midnight UTC of the organisation's own day.
    found = re.match(r"/Date\((-?\d+)", str(text or ""))
    return datetime.fromtimestamp(int(found[1]) / 1000, UTC).date() if found else None


# --- Lines ----------------------------------------------------------------------------------------------

CONTENT: Final = ["text", "quantity", "unit_price", "rate"]


def pair_lines(linked: Linked) -> pl.DataFrame:
    """Say which line of a source is which line of its invoice.

    By known links first; what has none by position and content, by content alone, by a description that is
    unique, by position where the item is the same, or where nothing else is left and quantity and price are
    the same. Whatever is left over on the side
    of Xero and no link knows is somebody's own line, or one of ours that nobody can recognise: foreign.
    Gives PAIRED_LINES, by document, position of the source's line, then of the invoice's.
    """
    ours, theirs = _our_lines(linked), _their_lines(linked)
    live = conform(linked.line_links, LINE_LINKS).join(
        theirs.select("document_id", "line_item_id"), on=["document_id", "line_item_id"]
    )
    known = live.join(ours.select("document_id", "line_id"), on=["document_id", "line_id"])
    pairs = [known.with_columns(rule=pl.lit("known"))]
    ours_left = ours.join(known, on=["document_id", "line_id"], how="anti")
    theirs_left = theirs.join(live, on=["document_id", "line_item_id"], how="anti")
    for rule, step in STEPS.items():
        found = step(ours_left, theirs_left).select(
            "document_id", "line_id", "line_item_id", rule=pl.lit(rule)
        )
        pairs.append(found)
        ours_left = ours_left.join(found, on=["document_id", "line_id"], how="anti")
        theirs_left = theirs_left.join(found, on=["document_id", "line_item_id"], how="anti")
    removed = live.join(known, on=["document_id", "line_item_id"], how="anti").with_columns(
        line_id=pl.lit(None, pl.String), rule=pl.lit("removed")
    )
    alone = [
        ours_left.with_columns(line_item_id=pl.lit(None, pl.String), rule=pl.lit("new")),
        theirs_left.with_columns(line_id=pl.lit(None, pl.String), rule=pl.lit("foreign")),
        removed,
    ]
    together = pl.concat([conform(frame, PAIRED_LINES) for frame in (*pairs, *alone)])
    places = ours.select("document_id", "line_id", place="position")
    found_places = theirs.select("document_id", "line_item_id", found_place="position")
    return conform(
        together.join(places, on=["document_id", "line_id"], how="left", validate="m:1")
        .join(found_places, on=["document_id", "line_item_id"], how="left", validate="m:1")
        .sort("document_id", "place", "found_place", nulls_last=True),
        PAIRED_LINES,
    )


def _our_lines(linked: Linked) -> pl.DataFrame:
    documents = linked.sources.select("document_id")
    return _comparable(
        conform(linked.source_lines, DOCUMENT_LINES).join(documents, on="document_id", how="semi")
    )


def _their_lines(linked: Linked) -> pl.DataFrame:
    documents = linked.sources.select("document_id", "invoice_id")
    return _comparable(linked.invoice_lines.join(documents, on="invoice_id", validate="m:1"))


def _comparable(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.with_columns(
        text=names.folded(pl.col("description")), rate=pl.col("discount").fill_null(Decimal(0)).cast(EXACT)
    )


def _by_place(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    return ours.join(theirs, on=["document_id", "position", *CONTENT], nulls_equal=True, validate="1:1")


def _by_content(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    # Lines of the same content are as good as one another: the first is paired with the first.
    rank = pl.col("position").rank("ordinal").over("document_id", *CONTENT).alias("rank")
    on = ["document_id", *CONTENT, "rank"]
    return ours.with_columns(rank).join(theirs.with_columns(rank), on=on, nulls_equal=True, validate="1:1")


def _by_text(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    alone = pl.col("text").is_not_null() & (pl.len().over("document_id", "text") == 1)
    # A line of text alone is nobody's amount.
    theirs = theirs.filter(alone, pl.col("quantity").is_not_null())
    return ours.filter(alone).join(theirs, on=["document_id", "text"], validate="1:1")


def _by_share(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    last = (pl.len().over("document_id") == 1).alias("last")
    both = ours.with_columns(last).join(
        theirs.with_columns(last), on=["document_id", "position"], validate="1:1"
    )
    same = {name: pl.col(name) == pl.col(f"{name}_right") for name in ("item", "quantity", "unit_price")}
    # Another product may cost the same, and would get the account of the one before.
    renamed = pl.col("last", "last_right"), same["quantity"], same["unit_price"], same["item"].fill_null(True)
    return both.filter(same["item"].fill_null(False) | pl.all_horizontal(*renamed))


STEPS: Final = {"place": _by_place, "content": _by_content, "text": _by_text, "share": _by_share}


def paired(linked: Linked) -> pl.DataFrame:
    """Give the pairs with what both lines say; found_* of the invoice's line, unlike: they say another thing."""
    key = ["document_id", "line_item_id"]
    theirs = _their_lines(linked).select(*key, pl.exclude(key).name.prefix("found_"))
    both = (
        pair_lines(linked)
        .join(
            _our_lines(linked),
            on=["document_id", "line_id"],
            how="left",
            validate="m:1",
            maintain_order="left",
        )
        .join(theirs, on=key, how="left", validate="m:1", maintain_order="left")
    )
    unlike = pl.any_horizontal(
        pl.col("line_id").is_null(),
        pl.col("line_item_id").is_null(),
        *(pl.col(name).ne_missing(pl.col(f"found_{name}")) for name in CONTENT),
        pl.col("found_discount_amount").fill_null(Decimal(0)) != 0,
        _said("item"),
    )
    return both.with_columns(unlike=unlike)


def _said(name: str) -> pl.Expr:
    """Whether a source says something other than its invoice; where it says nothing, the invoice keeps its own."""
    return pl.col(name).is_not_null() & pl.col(name).ne_missing(pl.col(f"found_{name}"))


# --- Both in one form -------------------------------------------------------------------------------------


def agreed_values(linked: Linked) -> pl.DataFrame:
    """Give document_id and what source and invoice say (JSON, canonical; of an absent invoice null).

    To be kept as base of each side whenever both agree: after a call (the invoice's from the read-back), and
    where `decide_moves` keeps all of what is in scope. Each side is later compared with its own, so that a text
    which Xero cut or folded is no change. Account and tax are not in it: they are the ledger's.
    """
    return compared(linked, locked_until=None).select("document_id", source="source", invoice="invoice")


def invoice_values(invoices: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Give invoice_id and what each invoice says, as `agreed_values` would.

    Takes INVOICE_STATE and INVOICE_LINES, as `read_invoices` gives them.
    """
    texts = _texts(_comparable(lines.with_columns(document_id="invoice_id")))
    joined = (
        _found(invoices)
        .join(
            texts.select(invoice_id="document_id", found_lines="lines"),
            on="invoice_id",
            how="left",
            validate="1:1",
            maintain_order="left",
        )
        .with_columns(state=_first(_states(None)))
    )
    return joined.select("invoice_id", invoice=_values(~pl.col("state").is_in(OVER), "found_"))


def _texts(lines: pl.DataFrame) -> pl.DataFrame:
    """Give the lines of each document as a list, in their order."""
    line = pl.struct(
        description="text",
        discount=pl.when(pl.col("rate") != 0).then(_spelled("rate")),
        discount_amount=_spelled("discount_amount") if "discount_amount" in lines.columns else pl.lit(None, pl.String),
        item="item",
        quantity=_spelled("quantity"),
        unit_price=_spelled("unit_price"),
    )  # fmt: skip
    ordered = lines.sort("document_id", "position")
    return ordered.group_by("document_id", maintain_order=True).agg(lines=line)


def _spelled(name: str) -> pl.Expr:
    # As `money.spelled`: all of them have decimals to lose.
    return pl.col(name).cast(EXACT).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")


def _values(stands: pl.Expr, prefix: str = "") -> pl.Expr:
    """Give one side's values as JSON with sorted keys."""
    named = {name: pl.col(f"{prefix}{name}").cast(pl.String) for name in SAID}
    fields = {**named, "lines": pl.col(f"{prefix}lines"), "stands": stands}
    return pl.struct([fields[name].alias(name) for name in sorted(fields)]).struct.json_encode()


SAID: Final = ("contact", "currency", "date", "due", "line_amounts", "reference")


def compared(linked: Linked, *, locked_until: date | None) -> pl.DataFrame:
    """Give a row a source with found_* of its invoice, both sides' values, its state and its change."""
    return (
        _joined(linked)
        .with_columns(
            source_stands=pl.col("won") & ~pl.col("gone") & pl.col("in_scope") & pl.col("due_by_date"),
            state=_first(_states(locked_until)),
        )
        .with_columns(found_stands=~pl.col("state").is_in(OVER))
        .with_columns(
            source=_values(pl.col("source_stands")),
            invoice=pl.when("found").then(_values(pl.col("found_stands"), "found_")),
        )
        .with_columns(
            source_changed=pl.when(pl.col("base").is_not_null()).then(pl.col("source").ne_missing(pl.col("base"))),
            found_changed=pl.when(pl.col("found_base").is_not_null()).then(
                pl.col("invoice").ne_missing(pl.col("found_base"))
            ),
            gap=_gap(),
            header_differs=pl.any_horizontal(_said(name) for name in ("date", "due", "reference")),
            lines_differ=pl.col("lines_differ") | _said("line_amounts"),
        )
        .with_columns(
            says_otherwise=pl.any_horizontal("header_differs", "lines_differ", _said("contact"), _said("currency"))
        )
        .with_columns(change=_first(_changes(locked_until)))
    )  # fmt: skip


def _joined(linked: Linked) -> pl.DataFrame:
    sources = conform(linked.sources, SOURCE_STATE).with_columns(
        # A day that is not known lies on neither side of the cut-over: then its reason says what is wrong.
        pl.col("due_by_date").fill_null(True),
        contact=pl.col("contact_id").str.to_lowercase(),
        reference=names.folded(pl.col("reference")),
    )
    lines = (
        paired(linked)
        .group_by("document_id")
        .agg(
            lines_differ=pl.col("unlike").any(),
            lines_unsure=(pl.col("rule") == "foreign").any(),
            # Xero asks for an account from SUBMITTED on; an item may bring one.
            line_without_account=(
                pl.col("line_id").is_not_null()
                & pl.coalesce("found_account", "account", "item", "found_item").is_null()
            ).any(),
        )
    )
    joined = sources.join(
        _found(linked.invoices), on="invoice_id", how="left", validate="1:1", maintain_order="left"
    )
    for frame in (
        lines,
        _texts(_our_lines(linked)),
        _texts(_their_lines(linked)).rename({"lines": "found_lines"}),
    ):
        joined = joined.join(frame, on="document_id", how="left", validate="1:1", maintain_order="left")
    return joined.with_columns(
        pl.col("found", "lines_differ", "lines_unsure", "line_without_account").fill_null(False)
    )


def _found(invoices: pl.DataFrame) -> pl.DataFrame:
    """Give invoices with found_* of what they say, in the form in which it is compared."""
    compared = conform(invoices, INVOICE_STATE).with_columns(
        pl.col("paid", "credited").fill_null(Decimal(0)),
        contact=pl.col("contact_id").str.to_lowercase(),
        reference=names.folded(pl.col("reference")),
        found=pl.lit(True),
    )
    return compared.select("invoice_id", "found", pl.exclude("invoice_id", "found").name.prefix("found_"))


def _first(cases: Mapping[str, pl.Expr]) -> pl.Expr:
    return pl.coalesce([pl.when(case).then(pl.lit(name)) for name, case in cases.items()])


def _states(locked_until: date | None) -> dict[str, pl.Expr]:
    status, credited = pl.col("found_status"), pl.col("found_credited")
    return {
        "absent": ~pl.col("found"),
        "voided": status == "VOIDED",
        "deleted": status == "DELETED",
        "credited": (status == "PAID") & (credited > 0) & (credited >= pl.col("found_total")),
        "unknown": ~status.is_in(STATUSES).fill_null(False),
        "locked": pl.col("found_date") <= pl.lit(locked_until, pl.Date),
        "paid": status == "PAID",
        "part_settled": (status == "AUTHORISED") & (pl.col("found_paid") + credited > 0),
        "authorised": status == "AUTHORISED",
        "submitted": status == "SUBMITTED",
        "draft": status == "DRAFT",
    }


def _changes(locked_until: date | None) -> dict[str, pl.Expr]:
    """Say what happened, in the order of CHANGE_WORDS."""
    over = pl.col("state").is_in(OVER)
    otherwise = pl.col("says_otherwise")
    source_same, found_same = ~pl.col("source_changed"), ~pl.col("found_changed")
    unlike = otherwise | (pl.col("source_stands") != pl.col("found_stands"))
    came_back = (pl.col("base").str.json_path_match("$.stands") == "false") & pl.col("source_stands")
    locked = (pl.col("date") <= pl.lit(locked_until, pl.Date)) & (pl.col("state") != "locked")
    return {
        "agreed": source_same & found_same,
        "out_of_scope": ~pl.col("in_scope"),
        "drifted": source_same & unlike,
        "gone": pl.col("gone"),
        "lost": ~pl.col("won"),
        "before_cut_over": ~pl.col("due_by_date"),
        "unfit": pl.col("reason").is_not_null() | pl.col("contact_id").is_null(),
        # Only where something would be written with that date.
        "into_lock": locked & (otherwise | (over & came_back.fill_null(False))),
        "won_again": came_back & (over | ~otherwise),
        "currency": _said("currency"),
        "contact": _said("contact"),
        "less": pl.col("lines_differ") & (pl.col("gap") > 0),
        "more": pl.col("lines_differ") & (pl.col("gap") < 0),
        "lines": pl.col("lines_differ"),
        "header": pl.col("header_differs"),
        "nothing": pl.lit(True),
    }


def _gap() -> pl.Expr:
    """Give what the invoice claims beyond its source, in the terms in which prices are stated.

    Before tax where prices are without it, for the ledger may have put another tax on them. What was credited is
    claimed no more; but it is told with its tax, and how much of that is tax nobody says: then it is null.
    """
    net = pl.when(pl.col("found_credited") == 0).then(pl.col("found_subtotal") - pl.col("subtotal"))
    gross = pl.col("found_total") - pl.col("found_credited") - pl.col("total")
    return pl.when(~_said("line_amounts")).then(pl.when(_inclusive()).then(gross).otherwise(net))


def _inclusive() -> pl.Expr:
    return pl.col("found_line_amounts") == "Inclusive"


# --- Moves ------------------------------------------------------------------------------------------------


def decide_moves(linked: Linked, *, withdraw: str = "ask", locked_until: date | None = None) -> pl.DataFrame:
    """Say what becomes of each invoice, by its state and by what happened to its source.

    Takes Linked; withdraw: whether the draft of a lost or deleted source is deleted by rule (void) or asked for;
    locked_until: the later of Xero's lock dates, that day included; null: none.
    Gives MOVES, one row a source, in the order of the sources.
    Raises polars.exceptions.ComputeError where two sources share an invoice: such are not for this table.
    """
    moved = (
        compared(linked, locked_until=locked_until)
        .join(_table(), on=["state", "change"], how="left", validate="m:1", maintain_order="left")
        .with_columns(stopped=_stopped())
        .with_columns(doubts=_doubts(withdraw))
        .with_columns(needs=_needs(), reason=_reason(locked_until), rule=_rule())
    )  # fmt: skip
    stopped = pl.col("stopped")
    return conform(
        moved.with_columns(
            move=pl.when(stopped).then(pl.lit("refuse")).otherwise("move"),
            call=pl.when(stopped).then(pl.lit("none")).otherwise("call"),
            before=pl.when(pl.col("move") != "keep").then("invoice"),
            after=pl.when(pl.col("move") != "keep").then(_after()),
        ),
        MOVES,
    )


def _table() -> pl.DataFrame:
    rows = [
        {"state": state, "change": change, **vars(CELLS[cell])}
        for state, cells in TABLE.items()
        for change, cell in cells.items()
    ]
    return pl.DataFrame(rows)


def _stopped() -> pl.Expr:
    return (pl.col("state") == "submitted") & (pl.col("call") == "update") & pl.col("line_without_account")


def _doubts(withdraw: str) -> pl.Expr:
    """Name what turns a call that needs nothing into a question; an empty list: nothing does."""
    base_unknown = pl.col("source_changed").is_null() | pl.col("found_changed").is_null()
    holds = {
        "by_setting": (pl.col("needs") == "rule") & pl.lit(withdraw == "ask"),
        "base_unknown": base_unknown,
        "both_changed": pl.col("found_changed").fill_null(False),
        "lines_unsure": pl.col("lines_unsure") & (pl.col("call") == "update"),
    }
    acts = (pl.col("call") != "none") & (pl.col("needs") != "approval")
    found = pl.concat_list([pl.when(acts & case).then(pl.lit(name)) for name, case in holds.items()])
    return found.list.drop_nulls()


def _needs() -> pl.Expr:
    return (
        pl.when("stopped")
        .then(pl.lit("mending"))
        .when(pl.col("doubts").list.len() > 0)
        .then(pl.lit("approval"))
        .otherwise(pl.col("needs").replace("rule", "nothing"))
    )


def _reason(locked_until: date | None) -> pl.Expr:
    invoice = pl.format(
        "{} ({})",
        pl.col("found_number").fill_null("without a number"),
        pl.coalesce("found_status", pl.lit("not there")),
    )
    change = pl.col("change").replace_strict(CHANGE_WORDS, return_dtype=pl.String)
    why = pl.coalesce("reason", pl.lit("who it is to be made out to is not known"))
    words = pl.col("words")
    filled = {"{change}": change, "{invoice}": invoice, "{lock}": pl.lit(str(locked_until)), "{why}": why}
    for place, value in filled.items():
        words = words.str.replace(place, value, literal=True)
    asked = pl.col("doubts").list.eval(pl.element().replace_strict(DOUBT_WORDS, return_dtype=pl.String))
    return (
        pl.when("stopped")
        .then(pl.format("{}, and its invoice {} stays as it is: " + NO_ACCOUNT, change, invoice))
        .when(asked.list.len() > 0)
        .then(pl.format("{} (asked: {})", words, asked.list.join("; ")))
        .otherwise(words)
    )


def _rule() -> pl.Expr:
    cell = pl.format("{} x {}", "state", "change")
    return (
        pl.when("stopped")
        .then(pl.format("{}, no_account", cell))
        .when(pl.col("doubts").list.len() > 0)
        .then(pl.format("{}, {}", cell, pl.col("doubts").list.join(", ")))
        .otherwise(cell)
    )


def _after() -> pl.Expr:
    """Give what the invoice would say, what a credit would amount to, or the revision that would be made."""
    whole = ~pl.col("source_stands")
    credit = pl.struct(
        credit=_spelled_amount(pl.when(whole).then(pl.col("found_total") - pl.col("found_credited")).otherwise("gap")),
        tax=pl.when(whole | _inclusive()).then(pl.lit("included")).otherwise(pl.lit("excluded")),
    )  # fmt: skip
    remake = pl.struct(revision=pl.col("found_revision").fill_null(1) + 1)
    return (
        pl.when(pl.col("call") == "credit")
        .then(credit.struct.json_encode())
        .when(pl.col("call") == "remake")
        .then(remake.struct.json_encode())
        .otherwise("source")
    )


def _spelled_amount(amount: pl.Expr) -> pl.Expr:
    return amount.round(2).cast(pl.Decimal(38, 2)).cast(pl.String)


# --- The calls --------------------------------------------------------------------------------------------

STATUS_OF: Final = {"delete": "DELETED", "void": "VOIDED"}
HEADER_FIELDS: Final = {
    "date": "Date",
    "due": "DueDate",
    "reference": "Reference",
    "currency": "CurrencyCode",
    "line_amounts": "LineAmountTypes",
}


def call_bodies(linked: Linked, moves: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Give document_id -> body of the POST, for each move whose call is update, delete or void.

    To be sent with unitdp=4. What a credit or a remake sends is made elsewhere: it is a document of its own.
    """
    calls = moves.filter(pl.col("call").is_in(["update", "delete", "void"])).select("document_id", "call")
    headers = compared(linked, locked_until=None).join(calls, on="document_id", maintain_order="left")
    lines: dict[str, list[Row]] = {}
    for line in paired(linked).join(calls, on="document_id", how="semi").iter_rows(named=True):
        lines.setdefault(line["document_id"], []).append(line)
    return {
        row["document_id"]: _call(row, lines.get(row["document_id"], []))
        for row in headers.iter_rows(named=True)
    }


def _call(header: Row, lines: Iterable[Row]) -> dict[str, Any]:
    if header["call"] in STATUS_OF:
        return {"InvoiceID": header["invoice_id"], "Status": STATUS_OF[header["call"]]}
    return invoice_update(header, lines)


def invoice_update(header: Row, lines: Iterable[Row]) -> dict[str, Any]:
    """Give the body that changes an invoice whole: of the header what differs, of the lines all, with their ids.

    Takes a row of the compared headers, and of the paired lines. Lines are sent though only the header changed:
    Xero would make those that it is not sent anew (second hand). A line that stays keeps account, tax and
    tracking, and its amount of tax too where its own amount stays, for a person may have set it.
    """
    body: dict[str, Any] = {"InvoiceID": header["invoice_id"]}
    if header["contact"] != header["found_contact"]:
        body["Contact"] = {"ContactID": header["contact"]}  # alone: more would change the contact
    for name, field in HEADER_FIELDS.items():
        value = header[name]
        if value is not None and value != header[f"found_{name}"]:
            body[field] = value.isoformat() if isinstance(value, date) else value
    taxed_alike = "LineAmountTypes" not in body
    body["LineItems"] = [
        _line_sent(line, taxed_alike=taxed_alike) for line in lines if line["line_id"] is not None
    ]
    return body


def _line_sent(line: Row, *, taxed_alike: bool) -> dict[str, Any]:
    kept = line["line_item_id"] is not None
    same = kept and not line["unlike"]
    discounted = line["discount"] or line["found_discount"] or line["found_discount_amount"]
    body = {
        "LineItemID": line["line_item_id"],
        "Description": line["found_description"] if same else line["description"],
        "Quantity": _exact(line["quantity"]),
        "UnitAmount": _exact(line["unit_price"]),
        # Left out, a discount that was there would stay.
        "DiscountRate": _exact(line["discount"] or Decimal(0)) if discounted else None,
        "AccountCode": line["found_account"] or line["account"],
        "TaxType": line["found_tax"] or line["tax"],
        "ItemCode": line["item"],
        "TaxAmount": _exact(line["found_tax_amount"]) if same and taxed_alike else None,
        "Tracking": loads(tracking) if (tracking := line["found_tracking"] or line["tracking"]) else None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _exact(number: Decimal | None) -> Decimal | None:
    return None if number is None else exact(number)

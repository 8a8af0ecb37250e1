"""Says which sales are billed in several invoices, and which several sales in one.

A sale is billed whole, in parts (a deposit and the rest, instalments), or together with the others of its account and
month. How it was billed first it stays billed, whatever the mapping says since: else it would be billed twice.

A document that is a whole sale goes by its id. A part goes by "<id>:P<n>", what is billed together by
"<account>:M<year and month><currency>"; the invoice's number is made of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from reconcile.mapped import Instalments
from reconcile.model import CLOSED, DOCUMENTS
from reconcile.money import AMOUNT, EXACT, line_tax, minor_units, rounded

PARTS: Final = "parts"
TOGETHER: Final = "together"
SLOT: Final = r":(P[1-9]|M[0-9]{6}[A-Z]{3})$"
ELSEWHERE: Final = (
    "it shows the invoice of another month or account: where that does not claim it (any more), "
    "empty the fields"
)
ID_OF_URL: Final = r"InvoiceID=([0-9a-fA-F-]{36})$"
MONTH_OF_KEY: Final = r"-m[0-9]{6}[a-z]{3}$"
SLOT_OF_KEY: Final = r"-(p[1-9]|m[0-9]{6}[a-z]{3})$"
REVISION: Final = r"-[0-9]{1,6}$"
ONCE: Final = (
    "{} {} is invoiced: what is sold once is billed once. Leave one of both out by a `scope` of the mapping"
)
AS_BEFORE: Final = (
    "an invoice of a part of it is there, and the mapping bills it whole: give it its `instalments` again"
)
MONTH_BEFORE: Final = (
    "it shows the invoice of all of a month, and the mapping bills it alone: give it `together` again, or, where that "
    "does not claim it (any more), empty the fields"
)


def document_key(prefix: str, record_id: pl.Expr) -> pl.Expr:
    """Give what the invoice of a document is found again by."""
    return pl.lit(prefix) + record_id.str.to_uppercase().str.replace(":", "-", literal=True)


def sale_of(record_id: pl.Expr) -> pl.Expr:
    """Give the record of Salesforce that a document is of: the sale, or the account of what is billed together."""
    return record_id.str.replace(SLOT, "")


@dataclass(frozen=True)
class Billed:
    """What is known to be billed.

    known: key (in small letters, without its revision) and stands (its invoice is not voided), one row a key.
    numbers: record_id and key of all invoices that carry one.
    """

    known: pl.DataFrame
    numbers: pl.DataFrame

    @classmethod
    def of(cls, links: pl.DataFrame, invoices: pl.DataFrame, *, prefix: str, by: str) -> Billed:
        """Take LINKS, INVOICES; by: the field of an invoice that carries the key (number or reference).

        A link says it, or an invoice that carries the key, of whatever revision: also once the journal is lost.
        """
        stands = ~pl.col("status").is_in(CLOSED).fill_null(False)
        found = invoices.select(
            "record_id", key=pl.col(by).str.to_lowercase().str.replace(REVISION, ""), stands=stands
        )
        linked = (
            links.filter(
                pl.col("entity").cast(pl.String) == "document", pl.col("status").cast(pl.String) == "linked"
            )
            .select(
                key=document_key(prefix, pl.col("salesforce_id")).str.to_lowercase(),
                record_id=pl.col("xero_id").str.to_lowercase(),
            )
            .join(found.select("record_id", "stands"), on="record_id", how="left", validate="m:1")
            .select("key", pl.col("stands").fill_null(True))
        )
        both = pl.concat([linked, found.select("key", "stands").drop_nulls("key")])
        return cls(both.group_by("key").agg(pl.col("stands").any()), found.select("record_id", "key"))

    def whole(self) -> pl.DataFrame:
        """Give key and stands of the documents that are no part and no month."""
        return self.known.filter(~pl.col("key").str.contains(SLOT_OF_KEY))

    def parts(self) -> pl.DataFrame:
        """Give key, that of the whole sale, and stands, of the sales that are billed in parts."""
        some = self.known.filter(pl.col("key").str.contains(r"-p[1-9]$"))
        return (
            some.with_columns(pl.col("key").str.replace(r"-p[1-9]$", ""))
            .group_by("key")
            .agg(pl.col("stands").any())
        )


# --- What came from another sale ------------------------------------------------------------------------


def with_twice(headers: pl.DataFrame, billed: Billed, prefix: str, word: pl.Expr) -> pl.DataFrame:
    """Add twice: why what another object bills too gets no invoice. Takes DOCUMENTS, each a whole sale; order kept.

    What came from a sale that is invoiced, or will be, waits for a person; and a sale does of which something that
    came from it was invoiced before. An invoice that was voided still counts while its source stands: it may be made
    again.
    """
    if headers["came_from"].null_count() == headers.height:
        return headers.with_columns(twice=pl.lit(None, pl.String))
    is_due = (pl.col("won") & ~pl.col("gone") & pl.col("due_by_date")).fill_null(False)
    either = pl.concat([billed.whole(), billed.parts()]).group_by("key").agg(pl.col("stands").any())
    known = headers.filter("in_scope").with_columns(
        key=document_key(prefix, pl.col("record_id")).str.to_lowercase()
    )
    known = known.join(either, on="key", how="left", validate="m:1", maintain_order="left")
    known = _with_month(known, billed, prefix)
    has = (pl.col("stands").is_not_null() | pl.col("shown_id").is_not_null() | pl.col("shows_month")) & (
        is_due | pl.col("stands").fill_null(True)
    )
    sales = known.select(
        "record_id",
        "came_from",
        has=has,
        # Its month's invoice is there, and what shows that it is on it may be still to be written.
        may_have=pl.col("month_stands") & is_due & pl.col("shown_url").is_null(),
        bills=is_due & (pl.col("line_count") > 0),
        said=pl.format("the {} {}", word, pl.coalesce("name", "record_id")),
    )
    pairs = sales.drop_nulls("came_from").join(
        sales.select(first="record_id", first_has="has", first_bills="bills", first_said="said"),
        left_on="came_from", right_on="first", how="inner", validate="m:1", maintain_order="left",
    )  # fmt: skip
    is_on = pl.col("has") | (pl.col("may_have") & ~pl.col("first_has"))
    pairs = pairs.with_columns(is_on=is_on).with_columns(
        # Whichever side has an invoice keeps it.
        first_keeps=pl.col("first_has") | (pl.col("first_bills") & ~pl.col("is_on").any().over("came_from"))
    )
    later = pairs.filter("first_keeps").select(
        "record_id", twice=pl.format(ONCE, "first_said", pl.lit("that it came from"))
    )
    first = pairs.filter("is_on").select(
        record_id="came_from", twice=pl.format(ONCE, "said", pl.lit("that came from it"))
    )
    told = pl.concat([later, first]).unique("record_id", keep="first", maintain_order=True)
    return headers.drop("twice").join(told, on="record_id", how="left", validate="1:1", maintain_order="left")


def _with_month(sales: pl.DataFrame, billed: Billed, prefix: str) -> pl.DataFrame:
    """Add month_stands (the invoice of its month is there) and shows_month (it shows one of a month); order kept."""
    months = billed.known.filter("stands", pl.col("key").str.contains(MONTH_OF_KEY))["key"]
    of_months = billed.numbers.filter(pl.col("key").is_in(months.implode()))["record_id"]
    together = (pl.col("form") == TOGETHER).fill_null(False)
    own = document_key(prefix, _month_id()).str.to_lowercase()
    url_id = pl.col("shown_url").str.extract(ID_OF_URL).str.to_lowercase()
    return sales.with_columns(
        month_stands=together & own.is_in(months.implode()).fill_null(False),
        shows_month=url_id.is_in(of_months.implode()).fill_null(False),
    )


# --- How each is billed ---------------------------------------------------------------------------------


def grouped(
    headers: pl.DataFrame,
    lines: pl.DataFrame,
    billed: Billed,
    instalments: dict[str, Instalments],
    *,
    prefix: str,
    rates: pl.DataFrame,
    line_amounts: str,
    today: date | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give DOCUMENTS and DOCUMENT_LINES as they are billed, of those of whole sales (with twice and form).

    instalments: prefix of an object's ids -> how its sales are billed in parts. rates: tax, rate (percent). today:
    null: not known, and nothing whose day is still to come is billed.
    """
    key = document_key(prefix, pl.col("record_id")).str.to_lowercase()
    whole, parts = billed.whole(), billed.parts()
    known = headers.with_columns(
        was_whole=key.is_in(whole["key"].implode()), was_in_parts=key.is_in(parts["key"].implode())
    )
    # What it shows is its own invoice, unless that carries the key of a part or of a month.
    some = billed.numbers.filter(pl.col("key").str.contains(SLOT_OF_KEY))["record_id"].implode()
    shows_own = pl.col("shown_id").is_not_null() & ~pl.col("shown_id").str.to_lowercase().is_in(some)
    form = (
        pl.when("was_in_parts").then(pl.lit(PARTS))
        .when(pl.col("was_whole") | shows_own).then(None)
        .otherwise("form")
    )  # fmt: skip
    has_parts = sale_prefix(pl.col("record_id")).is_in(list(instalments))
    formed = known.with_columns(form=form).with_columns(
        reason=pl.when((pl.col("form") == PARTS).fill_null(False) & ~has_parts)
        .then(pl.lit(AS_BEFORE))
        .otherwise("reason"),
        form=pl.when((pl.col("form") == PARTS) & ~has_parts).then(None).otherwise("form"),
    )
    formed = _of_another_month(formed, billed, prefix).drop("was_whole", "was_in_parts")
    # What such a one shows is that part or month: it is no copy of another one.
    stopped = (pl.col("reason").is_in([AS_BEFORE, MONTH_BEFORE]) | (pl.col("twice") == ELSEWHERE)).fill_null(
        False
    )
    formed = formed.with_columns(pl.when(~stopped).then(pl.col(SHOWN)))
    alone = formed.filter(pl.col("form").is_null())
    found = [(alone.with_columns(sources=pl.lit(None, DOCUMENTS["sources"])), _lines_of(alone, lines))]
    for one, how in instalments.items():
        mine = formed.filter(pl.col("form") == PARTS, sale_prefix(pl.col("record_id")) == one)
        if not mine.is_empty():
            own = _lines_of(mine, lines)
            found.append(_in_parts(mine, own, how, billed, prefix, rates, today, line_amounts=line_amounts))
    together = formed.filter(pl.col("form") == TOGETHER)
    if not together.is_empty():
        found.append(_together(together, lines, billed, prefix, today, line_amounts=line_amounts))
    return (
        pl.concat([part.select(list(DOCUMENTS)) for part, _ in found]),
        pl.concat([part for _, part in found]),
    )


def _lines_of(headers: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    return lines.join(headers, left_on="document_id", right_on="record_id", how="semi", maintain_order="left")


def sale_prefix(record_id: pl.Expr) -> pl.Expr:
    """Give the three characters of an id that say of which object it is."""
    return record_id.str.slice(0, 3)


def _of_another_month(headers: pl.DataFrame, billed: Billed, prefix: str) -> pl.DataFrame:
    """Stop what shows the invoice of a month, and would be billed by itself now, or with another month."""
    month = document_key(prefix, _month_id()).str.to_lowercase()
    standing = billed.known.filter("stands")["key"].implode()
    of_months = billed.numbers.filter(pl.col("key").str.contains(MONTH_OF_KEY), pl.col("key").is_in(standing))
    told = headers.with_columns(url_id=pl.col("shown_url").str.extract(ID_OF_URL).str.to_lowercase()).join(
        of_months.select(url_id="record_id", month_shown="key"),
        on="url_id", how="left", validate="m:1", maintain_order="left",
    )  # fmt: skip
    together = (pl.col("form") == TOGETHER).fill_null(False)
    free = ~together & ~pl.col("was_whole") & ~pl.col("was_in_parts")
    there = pl.col("month_shown").is_not_null()
    elsewhere = together & there & month.ne_missing(pl.col("month_shown"))
    return told.with_columns(
        reason=pl.when(free & there).then(pl.coalesce("reason", pl.lit(MONTH_BEFORE))).otherwise("reason"),
        form=pl.when(free & there).then(None).otherwise("form"),
        twice=pl.when(elsewhere).then(pl.coalesce("twice", pl.lit(ELSEWHERE))).otherwise("twice"),
    ).drop("month_shown", "url_id")


def _month_id() -> pl.Expr:
    return pl.format("{}:M{}{}", "account_id", pl.col("date").dt.strftime("%Y%m"), "currency")


def _source() -> pl.Expr:
    return pl.struct("record_id", "name", *SHOWN)


SHOWN: Final = ("shown_id", "shown_number", "shown_status", "shown_url")


# --- In parts -------------------------------------------------------------------------------------------


def _in_parts(
    headers: pl.DataFrame,
    lines: pl.DataFrame,
    how: Instalments,
    billed: Billed,
    prefix: str,
    rates: pl.DataFrame,
    today: date | None,
    *,
    line_amounts: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the parts of sales: each a document with a share of every line, the last with what is left.

    A line of a part is one unit of that share: neither its price nor its item is that of the product.
    """
    parts = how.frame()
    sources = pl.concat_list(_source())
    spread = headers.with_columns(sources=sources).join(parts, how="cross", maintain_order="left_right")
    later = pl.col("date").dt.offset_by(pl.format("{}mo{}d", "months", "days"))
    moved = spread.with_columns(
        due=pl.col("due") + (later - pl.col("date")),
        date=later,
        record_id=pl.format("{}:P{}", "record_id", "part"),
        name=pl.format("{} ({})", pl.coalesce("name", "record_id"), "part_name"),
        **{name: pl.lit(None, pl.String) for name in SHOWN},
    )
    made = document_key(prefix, pl.col("record_id")).str.to_lowercase().is_in(billed.known["key"].implode())
    come = (pl.col("date") <= pl.lit(today, pl.Date)).fill_null(False)
    moved = moved.with_columns(due_by_date=pl.col("due_by_date") & (come | made))
    shared = _shared(headers, lines, parts, rates, line_amounts=line_amounts)
    return _summed(moved, shared, line_amounts=line_amounts), shared


def _shared(
    headers: pl.DataFrame,
    lines: pl.DataFrame,
    parts: pl.DataFrame,
    rates: pl.DataFrame,
    *,
    line_amounts: str,
) -> pl.DataFrame:
    """Give the lines of parts, to the minor unit: those of one line add up to it, whatever the shares."""
    places = headers.select(document_id="record_id", places=minor_units(pl.col("currency")))
    each = lines.join(places, on="document_id", how="left", validate="m:1", maintain_order="left").join(
        parts, how="cross", maintain_order="left_right"
    )
    by_line = ["document_id", "line_id"]
    up_to = rounded(pl.col("amount").cast(EXACT) * pl.col("up_to"), pl.col("places"))
    summed = each.with_columns(so_far=pl.when("is_last").then(pl.col("amount").cast(EXACT)).otherwise(up_to))
    own = pl.col("so_far") - pl.col("so_far").shift(1).over(by_line).fill_null(pl.lit(Decimal(0), EXACT))
    amounts = summed.with_columns(amount=own.cast(AMOUNT)).join(
        rates.select("tax", "rate").unique("tax"), on="tax", how="left", validate="m:1", maintain_order="left"
    )
    tax = line_tax(
        pl.col("amount").cast(EXACT), pl.col("rate"), pl.col("places"), inclusive=line_amounts == "inclusive"
    )
    known = pl.lit(Decimal(0), EXACT) if line_amounts == "no_tax" else tax
    return amounts.with_columns(
        document_id=pl.format("{}:P{}", "document_id", "part"),
        line_id=pl.format("{}:P{}", "line_id", "part"),
        description=pl.format("{}: {}", "part_name", pl.coalesce("description", pl.lit(""))),
        title=pl.lit(None, pl.String),
        quantity=pl.lit(Decimal(1), EXACT),
        unit_price=pl.col("amount").cast(lines.schema["unit_price"]),
        discount=pl.lit(None, lines.schema["discount"]),
        item=pl.lit(None, pl.String),
        product_id=pl.lit(None, pl.String),
        tax_amount=pl.when(pl.col("tax_amount").is_not_null()).then(known).cast(AMOUNT),
    ).select(lines.columns)


def _summed(headers: pl.DataFrame, lines: pl.DataFrame, *, line_amounts: str) -> pl.DataFrame:
    """Give headers with the sums of their lines; null where a part of them is not known."""
    known = pl.col("amount").is_not_null().all()
    sums = lines.group_by("document_id").agg(
        line_count=pl.len().cast(DOCUMENTS["line_count"]),
        gross=pl.when(known).then(pl.col("amount").sum()),
        tax=pl.when(known & pl.col("tax_amount").is_not_null().all()).then(pl.col("tax_amount").sum()),
    )
    joined = headers.drop("line_count").join(
        sums, left_on="record_id", right_on="document_id", how="left", validate="1:1", maintain_order="left"
    )
    inclusive = line_amounts == "inclusive"
    net = pl.col("gross") - pl.col("tax") if inclusive else pl.col("gross")
    total = pl.col("gross") if inclusive else pl.col("gross") + pl.col("tax")
    return joined.with_columns(
        line_count=pl.col("line_count").fill_null(0),
        subtotal=net.cast(AMOUNT),
        total_tax=pl.col("tax").cast(AMOUNT),
        total=total.cast(AMOUNT),
        amount=pl.coalesce(net, "gross").cast(AMOUNT),
    )


# --- Together -------------------------------------------------------------------------------------------


def _together(
    headers: pl.DataFrame,
    lines: pl.DataFrame,
    billed: Billed,
    prefix: str,
    today: date | None,
    *,
    line_amounts: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give one document for all sales of an account, a month and a currency, once the month is over.

    One that can't be billed stops its month; one that another object bills (twice) is left out of it.
    """
    with_month = headers.filter(
        pl.col("account_id").is_not_null(), pl.col("date").is_not_null(), pl.col("currency").is_not_null()
    )
    named = pl.coalesce("name", "record_id")
    counts = pl.col("won") & ~pl.col("gone") & pl.col("in_scope") & pl.col("due_by_date").fill_null(False)
    member = with_month.with_columns(month=_month_id(), called=named).with_columns(
        counts=counts.fill_null(False) & pl.col("twice").is_null()
    )
    alone = headers.join(
        member.filter("counts").select("record_id"), on="record_id", how="anti", maintain_order="left"
    )
    mine = pl.col("counts")
    said = pl.format("its sale {}: {}", "called", "reason")
    held = pl.format("its sale {}: {}", "called", "held")
    months = (
        member.sort("date", "record_id")
        .group_by("month", maintain_order=True)
        .agg(
            pl.first("account_id", "currency", "stated_currency", "branding"),
            last=pl.col("date").first().dt.month_end(),
            won=mine.any(),
            status=pl.when((pl.col("status").filter(mine) == "DRAFT").any())
            .then(pl.lit("DRAFT"))
            .otherwise(pl.col("status").filter(mine).first()),
            reason=said.filter(mine & pl.col("reason").is_not_null()).first(),
            held=held.filter(mine & pl.col("held").is_not_null()).first(),
            sources=_source().filter(mine),
            days=(pl.col("due") - pl.col("date")).filter(mine).max(),
        )
    )
    key = document_key(prefix, pl.col("month")).str.to_lowercase()
    over = (pl.col("last") < pl.lit(today, pl.Date)).fill_null(False)
    made = months.with_columns(
        record_id="month",
        name=pl.format("sales of {}", pl.col("last").dt.strftime("%Y-%m")),
        reference=pl.format("Sales of {}", pl.col("last").dt.strftime("%Y-%m")),
        date="last",
        due=pl.col("last") + pl.col("days"),
        in_scope=pl.lit(True),
        gone=pl.lit(False),
        due_by_date=over | key.is_in(billed.known["key"].implode()),
        form=pl.lit(TOGETHER),
        line_count=pl.lit(0, DOCUMENTS["line_count"]),
    )
    missing = [name for name in headers.columns if name not in made.columns]
    made = made.with_columns(pl.lit(None, headers.schema[name]).alias(name) for name in missing)
    of_member = member.filter("counts").select(
        document_id="record_id", month="month", called="called", sold_on="date"
    )
    own = (
        lines.join(of_member, on="document_id", how="inner", validate="m:1")
        .sort("month", "sold_on", "document_id", "position")
        .with_columns(
            document_id="month",
            description=pl.format("{}: {}", "called", pl.coalesce("description", pl.lit(""))),
            title=pl.lit(None, pl.String),
            position=pl.int_range(1, pl.len() + 1).over("month"),
        )
        .select(lines.columns)
    )
    of_alone = _lines_of(alone, lines)
    return (
        pl.concat(
            [
                _summed(made, own, line_amounts=line_amounts).select(list(DOCUMENTS)),
                alone.with_columns(sources=pl.lit(None, DOCUMENTS["sources"])).select(list(DOCUMENTS)),
            ]
        ),
        pl.concat([own, of_alone]),
    )

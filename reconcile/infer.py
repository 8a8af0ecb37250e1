"""Infers a sales line's account and tax from what the books did before, or says why a person must be asked.

A code is the pair of account and tax: only pairs that stand in the books are ever proposed, and one count of
lines is the reason for both. Past lines are counted at five levels: of the same item and customer, the item, the
family and customer, the family, the customer. The first level with enough of them decides, if they are unanimous
and all that lies nearer agrees: one line of another code at a nearer level, however thin, ends the search with a
question. So no vaguer level answers because a nearer one could not, or is unanimous because it is thinner.

Enough means past documents, the newest of them not too old, and that what the level leaves open (customer, item,
family) varied among them. Levels without the customer count their own region alone, and an item that was sold
in other regions is not taken for its family. Three more things can make few lines unanimous by chance:
- The season. An item decides only where it was booked at this time of an earlier year, to this account alone; or,
  for its own customer, where that very customer was, in this very month.
- A new code. Against an item that is booked in several ways, its customer's lines decide only if the others are
  not of a later month: else the code may have changed since this customer bought it.
- The customer. Its lines of a family, or of all, stand against what others are booked to only where it is shown to
  go by the customer: twice at least others had another code for the same item in the same month, and the most
  of them have. Conversely neither item nor family decides for a customer with ways of its own: whose lines of
  the family differ from others' of the same items, of whose lines a quarter does, or who was always booked to one
  account, and now would be to another.

More lines that agree, at the level that decides, never turn a decision into a question. What no line shows yet
(an item's first season, a customer's first way of its own) nobody can infer: an item of the first year is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from reconcile import names
from reconcile.decode import decode_all, decoded_bodies
from reconcile.ids import wire_instants
from reconcile.model import CODED, HISTORY, WANTED, conform

APPROVED: Final = ("AUTHORISED", "PAID")
PAIR: Final = ("account", "tax")
YEAR_DAYS: Final = 365
MOST_SHOWN: Final = 5  # codes of a level in the evidence


@dataclass(frozen=True)
class Enough:
    """How much history decides alone.

    documents: past documents at the level. spread: different values of each column that it leaves open. days:
    how old its newest line may be. season_days: how far from this day of the year its item must have been
    booked in an earlier year.
    """

    documents: int = 3
    spread: int = 3
    days: int = 270
    season_days: int = 30


ENOUGH: Final = Enough()


@dataclass(frozen=True)
class Level:
    """What past lines have in common with the wanted one, and what they leave open."""

    keys: tuple[str, ...]
    open: tuple[str, ...] = ()
    decides: bool = True
    doubt: str = ""  # what its lines can't tell, where they are enough and unanimous and still don't decide


ITEM: Final = ("region", "family", "item")  # a line without an item is told apart by its family
BOUGHT: Final = ("contact_id", "family", "item")
OWN_WAYS: Final = "its customer is booked in ways of its own"
SEASON: Final = "it may go by season"
LIKE_OTHERS: Final = "others are booked otherwise, and nothing shows that it goes by the customer"
LEVELS: Final[Mapping[str, Level]] = {
    "item and customer": Level(BOUGHT, doubt=f"{SEASON}, or be booked otherwise by now"),
    "item": Level(ITEM, open=("contact_id",), doubt=f"{OWN_WAYS}, or {SEASON}"),
    "item in any region": Level(
        ("family", "item"), decides=False, doubt="other regions say nothing of this one"
    ),
    "family and customer": Level(("contact_id", "family"), open=("item",), doubt=LIKE_OTHERS),
    "family": Level(("region", "family"), open=("item", "contact_id"), doubt=OWN_WAYS),
    "customer": Level(("contact_id",), open=("family",), doubt=LIKE_OTHERS),
}
LEVEL: Final = pl.Enum(list(LEVELS))


def infer_codes(
    wanted: pl.DataFrame,
    history: pl.DataFrame,
    *,
    since: date,
    parts: tuple[str, ...] = PAIR,
    enough: Enough = ENOUGH,
) -> pl.DataFrame:
    """Say how each line is booked by what the books did before (inferred), or what is unclear (asked).

    Takes WANTED (one row a line_id), HISTORY, and the day from which past lines count: somewhat more than a year
    ago, else there is no season to compare with; the older it is, the fewer are unanimous. parts: ("account",)
    where the tax is settled already. Gives CODED in the order of wanted; an asked line has no code, and by,
    support and agreement of the level that stopped it. Raises nothing.
    """
    wanted = conform(wanted, WANTED)
    seen, codes = _seen(conform(history, HISTORY), since, parts)
    levels = pl.concat([_level(seen, codes, wanted, name) for name in LEVELS]).sort("line_id", "level")
    judged = _judged(levels.join(_times(seen, wanted, levels, enough), on="line_id", how="left"), enough)
    answers = judged.group_by("line_id", maintain_order=True).agg(
        pl.col("answer", "level", "lines", "agreement", "reason")
        .sort_by("rank", maintain_order=True)
        .first(),
        evidence=pl.lit("{") + pl.col("told").str.join(",") + "}",
    )
    answers = answers.join(codes, left_on="answer", right_on="code", how="left", validate="m:1")
    found = wanted.select("line_id").join(answers, on="line_id", how="left", maintain_order="left")
    sure = pl.col("answer").is_not_null()
    told = found.with_columns(
        how=pl.when(sure).then(pl.lit("inferred")).otherwise(pl.lit("asked")),
        by="level",
        support=pl.col("lines").fill_null(0),
        evidence=pl.col("evidence").fill_null("{}"),
        draft=sure,
        reason=pl.when(~sure).then(pl.col("reason").fill_null("the books hold no line like it")),
    )
    return conform(told, CODED)


# --- What was booked ------------------------------------------------------------------------------------


def _seen(history: pl.DataFrame, since: date, parts: tuple[str, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the lines that count, each with its code (a number) and how it stands among its item's; and the codes.

    compared: others were sold that item. stray: and most of their lines have another code. differs: most of their
    lines have not this code, or there are none. apart: a stray, and in that very month another code was used.
    """
    kept = history.filter(pl.col("date") >= since).drop_nulls(["contact_id", *parts])
    codes = kept.select(parts).unique().sort(parts).with_row_index("code")
    kept = kept.join(codes, on=list(parts), validate="m:1").with_columns(
        month=pl.col("date").dt.truncate("1mo")
    )
    others = _lines_over(*ITEM) - _lines_over(*ITEM, "contact_id")
    alike = _lines_over(*ITEM, "code") - _lines_over(*ITEM, "code", "contact_id")
    mixed_month = _lines_over(*ITEM, "month") > _lines_over(*ITEM, "month", "code")
    stray = (others > 0) & (2 * alike <= others)
    return kept.with_columns(
        compared=others > 0, stray=stray, differs=2 * alike <= others, apart=stray & mixed_month
    ), codes.with_columns(pl.lit(None, pl.String).alias(name) for name in PAIR if name not in parts)


def _lines_over(*columns: str) -> pl.Expr:
    return pl.len().over(*columns).cast(pl.Int64)


def _level(seen: pl.DataFrame, codes: pl.DataFrame, wanted: pl.DataFrame, name: str) -> pl.DataFrame:
    """Give for each wanted line that has past ones at a level: how many, of which codes, and how they differ."""
    keys = list(LEVELS[name].keys)
    if name.startswith("family"):
        seen = seen.filter(pl.col("family").is_not_null())  # to be of no family is nothing in common
    if "region" in keys:
        # Where a region is not known, the lines of all have to agree.
        anywhere = seen.filter(pl.col("region").is_not_null()).with_columns(region=pl.lit(None, pl.String))
        seen = pl.concat([seen, anywhere])
    differing = pl.col("code").filter("differs")
    sums = seen.group_by(keys).agg(
        pl.col(BOUGHT).n_unique().name.prefix("different_"),
        pl.col("apart", "stray", "compared").sum(),
        lines=pl.len().cast(pl.Int64),
        documents=pl.col("document_id").n_unique(),
        newest=pl.col("date").max(),
        low=pl.col("code").min(),
        high=pl.col("code").max(),
        account=pl.col("account").min(),
        account_high=pl.col("account").max(),
        differing_low=differing.min(),
        differing_high=differing.max(),
    )
    asked = wanted.select("line_id", "date", *keys)
    found = asked.join(sums, on=keys, nulls_equal=True, validate="m:1").join(
        _counted(seen, codes, keys), on=keys, nulls_equal=True, validate="m:1"
    )
    return found.drop(keys).with_columns(
        level=pl.lit(name, LEVEL),
        agreement=pl.col("most") / pl.col("lines"),
        told=pl.format('"{}":{}', pl.lit(name), "counts"),
    )


def _counted(seen: pl.DataFrame, codes: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Give for each value of the keys the count of its most frequent code, and the codes with theirs as JSON."""
    counts = seen.group_by(*keys, "code").agg(lines=pl.len().cast(pl.Int64))
    named = counts.join(codes, on="code", validate="m:1").sort("lines", "code", descending=[True, False])
    shown = pl.struct(*PAIR, "lines").head(MOST_SHOWN)
    listed = named.group_by(keys, maintain_order=True).agg(each=shown, most=pl.col("lines").max())
    # Polars writes structs alone: the list is cut out of {"each":[...]}.
    text = pl.struct("each").struct.json_encode().str.strip_prefix('{"each":').str.head(-1)
    return listed.select(*keys, "most", counts=text)


def _times(seen: pl.DataFrame, wanted: pl.DataFrame, levels: pl.DataFrame, enough: Enough) -> pl.DataFrame:
    """Say of each line what its item was booked to at this time of the year, and when to another code at last.

    season_low, season_high: the accounts in an earlier year, in whatever region. own_season: one of its own
    customer's, in this very month, because books change by months. others_last: the month of the item's newest
    line of another code than its customer's.
    """
    off = DAYS_SINCE % YEAR_DAYS
    near = (off <= enough.season_days) | (off >= YEAR_DAYS - enough.season_days)
    same_month = pl.col("date").dt.month() == pl.col("past").dt.month()
    season = _earlier_year(seen, wanted, ("family", "item"), near)
    own = _earlier_year(seen, wanted, BOUGHT, same_month)
    mine = levels.filter(pl.col("level") == "item and customer").select("line_id", mine="low")
    used = seen.group_by(*ITEM, "code").agg(last=pl.col("month").max())
    others = (
        wanted.join(mine, on="line_id", validate="1:1")
        .join(used, on=list(ITEM), nulls_equal=True)
        .filter(pl.col("code") != pl.col("mine"))
        .group_by("line_id")
        .agg(others_last=pl.col("last").max())
    )
    season = season.rename({"low": "season_low", "high": "season_high"})
    own = own.select(*BOUGHT, "date", own_season="low")
    item_day, bought_day = ["family", "item", "date"], [*BOUGHT, "date"]
    return (
        wanted.join(season, on=item_day, how="left", nulls_equal=True, validate="m:1")
        .join(own, on=bought_day, how="left", nulls_equal=True, validate="m:1")
        .join(others, on="line_id", how="left", validate="1:1")
        .select("line_id", "season_low", "season_high", "own_season", "others_last")
    )


def _earlier_year(
    seen: pl.DataFrame, wanted: pl.DataFrame, keys: tuple[str, ...], near: pl.Expr
) -> pl.DataFrame:
    """Give the accounts (lowest, highest) of past lines near the same day of an earlier year, by keys and date."""
    past = seen.select(*keys, "account", past="date").unique()
    return (
        wanted.select(*keys, "date")
        .unique()
        .join(past, on=list(keys), nulls_equal=True)
        .filter(DAYS_SINCE > YEAR_DAYS // 2, near)
        .group_by(*keys, "date")
        .agg(low=pl.col("account").min(), high=pl.col("account").max())
    )


DAYS_SINCE: Final = (pl.col("date") - pl.col("past")).dt.total_days()


# --- What follows from it -------------------------------------------------------------------------------


def _judged(levels: pl.DataFrame, enough: Enough) -> pl.DataFrame:
    """Add answer: the code that a level decides on (null: none); rank: the row to go by comes first; reason."""
    code, account = (pl.col(name).first().over("line_id") for name in ("low", "account"))
    agree = (pl.col("low").cum_min() == pl.col("high").cum_max()).over("line_id")
    judged = levels.with_columns(
        agree=agree,
        enough=_is_enough(enough),
        fits=_by_level(
            {name: rule & LEVELS[name].decides for name, rule in _fits(code, account, enough).items()}
        ),
    )
    decides = pl.col("agree") & pl.col("enough") & pl.col("fits")
    reason = (
        pl.when(~pl.col("agree"))
        .then(pl.format("past bookings of its {} disagree", "level"))
        .when(~pl.col("enough"))
        .then(pl.format("too few past bookings of its {}, or none of late", "level"))
        .otherwise(pl.format("past bookings of its {} don't decide: {}", "level", _by_level(DOUBTS)))
    )
    # First what decides; then what would if not for a doubt; then what disagrees; then the vaguest there is.
    vaguest_first = 9 - pl.col("level").to_physical().cast(pl.Int64)
    doubted = pl.col("agree") & pl.col("enough")
    rank = (
        pl.when(decides).then(0).when(doubted).then(1).when(~pl.col("agree")).then(2).otherwise(vaguest_first)
    )
    return judged.with_columns(answer=pl.when(decides).then(code), rank=rank, reason=reason)


DOUBTS: Final = {name: pl.lit(level.doubt) for name, level in LEVELS.items()}


def _by_level(cases: Mapping[str, pl.Expr]) -> pl.Expr:
    return pl.coalesce([pl.when(pl.col("level") == name).then(case) for name, case in cases.items()])


def _is_enough(enough: Enough) -> pl.Expr:
    spread = {
        name: pl.all_horizontal(
            pl.lit(True), *(pl.col(f"different_{column}") >= enough.spread for column in level.open)
        )
        for name, level in LEVELS.items()
    }
    oldest = pl.col("date").dt.offset_by(f"-{enough.days}d")
    documents = pl.col("documents") >= enough.documents
    return documents & _by_level(spread) & (pl.col("newest") >= oldest).fill_null(False)


def _fits(code: pl.Expr, account: pl.Expr, enough: Enough) -> dict[str, pl.Expr]:
    """Say for each level whether its lines may speak for this one."""
    item_agrees = (_at("item", "low") == _at("item", "high")).fill_null(True)
    family_agrees = (_at("family", "low") == _at("family", "high")).fill_null(True)
    own_ways = _has_own_ways(code, account, enough)
    goes_by_customer = pl.col("apart") >= 2
    one_season = ((pl.col("season_low") == account) & (pl.col("season_high") == account)).fill_null(False)
    changed = (pl.col("others_last") > pl.col("newest").dt.truncate("1mo")).fill_null(False)
    return {
        "item and customer": (one_season | pl.col("own_season").is_not_null()) & (item_agrees | ~changed),
        "item": one_season & ~own_ways,
        "item in any region": pl.lit(True),
        "family and customer": family_agrees | goes_by_customer,
        "family": ~own_ways,
        "customer": goes_by_customer,
    }


def _has_own_ways(code: pl.Expr, account: pl.Expr, enough: Enough) -> pl.Expr:
    """Whether the customer is booked otherwise than others are, so that what they do says little of it."""
    lows, highs = (_at("family and customer", f"differing_{end}") for end in ("low", "high"))
    in_family = (lows != code) | (highs != code)
    strays, compared = _at("customer", "stray"), _at("customer", "compared")
    often = (strays > 0) & (4 * strays >= compared)
    usual = _at("customer", "account")
    always = (usual == _at("customer", "account_high")) & (usual != account)
    several = _at("customer", "different_item") >= enough.spread
    return in_family.fill_null(False) | often.fill_null(False) | (always & several).fill_null(False)


def _at(level: str, column: str) -> pl.Expr:
    """Give a figure of another level of the same line; null where it has no past lines there."""
    return pl.col(column).filter(pl.col("level") == level).first().over("line_id")


# --- History out of raw ---------------------------------------------------------------------------------

HEADER: Final = ("InvoiceID", "Type", "Status", "Contact.ContactID", "Date")
LINE_ITEMS: Final = pl.List(
    pl.Struct(
        {
            "LineItemID": pl.String,
            "ItemCode": pl.String,
            "Item": pl.Struct({"ItemID": pl.String}),
            "AccountCode": pl.String,
            "TaxType": pl.String,
        }
    )
)


def history(
    raw_invoices: pl.DataFrame, raw_items: pl.DataFrame, families: pl.DataFrame, regions: pl.DataFrame
) -> pl.DataFrame:
    """Read the lines of approved sales invoices, as they were booked.

    Takes RAW of Xero's Invoice and Item; families: item (a code), family, of the CRM's products; regions:
    contact_id, region. Gives HISTORY by document and place. A line without account or tax, and a body that can't
    be read (who reads invoices tells of it) are left out. An item is named as it is today, also where its code
    was another then. Raises nothing.
    Source: accounting spec 16.1.0 (LineItem; Item in it has ItemID), read 2026-11-24.
    """
    headers = _approved(raw_invoices)
    lines = pl.DataFrame(
        {"document_id": headers["document_id"], "each": _line_lists(headers["body"])},
        schema={"document_id": pl.String, "each": LINE_ITEMS},
    ).explode("each").drop_nulls("each").unnest("each")  # fmt: skip
    place = pl.int_range(1, pl.len() + 1).over("document_id")
    read = lines.select(
        "document_id",
        line_id=pl.coalesce("LineItemID", pl.format("{}:{}", "document_id", place)),
        item_id=pl.col("Item").struct.field("ItemID").str.to_lowercase(),
        sold_as=names.folded(pl.col("ItemCode")),
        account=names.folded(pl.col("AccountCode")),
        tax=names.folded(pl.col("TaxType")),
    ).drop_nulls(PAIR)
    named = (
        read.join(_codes_today(raw_items), on="item_id", how="left", validate="m:1", maintain_order="left")
        .with_columns(item=pl.coalesce("code_today", "sold_as"))
        .join(headers.drop("body"), on="document_id", validate="m:1", maintain_order="left")
    )
    for table, key, value in ((families, "item", "family"), (regions, "contact_id", "region")):
        known = _one_each(table, key, value)
        named = named.join(known, on=key, how="left", validate="m:1", maintain_order="left")
    return conform(named, HISTORY)


def _approved(raw: pl.DataFrame) -> pl.DataFrame:
    table = _decoded(raw, HEADER, "InvoiceID")
    sale = pl.col("Type").str.to_uppercase() == "ACCREC"
    return table.filter(sale, pl.col("Status").str.to_uppercase().is_in(APPROVED)).select(
        "body",
        document_id=pl.col("record_id").str.to_lowercase(),
        date=wire_instants(pl.col("Date")).dt.date(),
        contact_id=pl.col("Contact.ContactID").str.to_lowercase(),
    )


def _codes_today(raw: pl.DataFrame) -> pl.DataFrame:
    table = _decoded(raw, ("ItemID", "Code"), "ItemID")
    return table.select(
        item_id=pl.col("record_id").str.to_lowercase(), code_today=names.folded(pl.col("Code"))
    )


def _decoded(raw: pl.DataFrame, paths: tuple[str, ...], id_field: str) -> pl.DataFrame:
    live = raw.filter(~pl.col("deleted").fill_null(False))
    table, _ = decoded_bodies(live, dict.fromkeys(paths, pl.String()), id_field=id_field)
    return table.filter("readable", pl.col("faults").list.len() == 0)


def _one_each(table: pl.DataFrame, key: str, value: str) -> pl.DataFrame:
    """Give one row a key; what is told in two ways is not known."""
    only = pl.when(pl.col(value).n_unique() == 1).then(pl.col(value).first())
    return table.drop_nulls(key).group_by(key).agg(only)


def _line_lists(bodies: pl.Series) -> pl.Series:
    """Give the lines of each body; where many fail together, halves are tried, down to the one at fault."""
    if bodies.is_empty():
        return pl.Series(dtype=LINE_ITEMS)
    found = decode_all(bodies, pl.Struct({"LineItems": LINE_ITEMS}))
    if found is not None:
        return found.struct.field("LineItems")
    if len(bodies) == 1:
        return pl.Series([None], dtype=LINE_ITEMS)
    half = len(bodies) // 2
    return pl.concat([_line_lists(bodies[:half]), _line_lists(bodies[half:])])

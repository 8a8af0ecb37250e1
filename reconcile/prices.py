"""Says which entries of Salesforce's price books are the prices of products: one book, one currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from reconcile import names
from reconcile.decode import decoded_bodies
from reconcile.ids import long_ids
from reconcile.mapped import CURRENCY, EntityMapping
from reconcile.model import REJECTS, conform
from reconcile.normalise import Canonical

BOOKS: Final = "salesforce.Pricebook2"
ORGANISATION: Final = "xero.Organisation"


def in_price_book(prices: Canonical, raw: Mapping[str, pl.DataFrame], entity: EntityMapping) -> Canonical:
    """Take prices of another book, or in another currency than the organisation's, out of scope.

    Takes RAW by "side.object": the entries, the price books, and Xero's organisation. An org of one currency
    states none: it is taken for the organisation's. Where the book or the currency is not known nothing is in
    scope, and a reject says so. Order kept.
    """
    books = _books(raw[BOOKS], entity.salesforce.price_book)
    currency = _currency(raw[ORGANISATION])
    missing = _missing(books, currency, entity.salesforce.price_book)
    entries = _entries(raw[f"salesforce.{entity.salesforce.object}"])
    stated = pl.col("currency").fill_null(currency or "")
    ours = entries.filter(pl.col("book").is_in(books), stated == (currency or " "))["record_id"]
    in_scope = pl.col("in_scope") & pl.col("record_id").is_in(ours.implode())
    told = [{"stage": "canonical", "entity": entity.entity, "side": "salesforce", "reason": missing}]
    return replace(
        prices,
        records=prices.records.with_columns(in_scope=in_scope),
        rejects=pl.concat([prices.rejects, conform(pl.DataFrame(told), REJECTS)])
        if missing
        else prices.rejects,
    )


def _books(raw: pl.DataFrame, name: str | None) -> list[str]:
    types = {"Id": pl.String(), "Name": pl.String(), "IsStandard": pl.Boolean(), "IsDeleted": pl.Boolean()}
    table, _ = decoded_bodies(raw.filter(~pl.col("deleted").fill_null(False)), types, id_field="Id")
    live = table.filter("readable", ~pl.col("IsDeleted").fill_null(False))
    wanted = pl.col("IsStandard").fill_null(False) if name is None else names.folded(pl.col("Name")) == name
    return long_ids(live.filter(wanted)["record_id"]).to_list()


def _currency(raw: pl.DataFrame) -> str | None:
    types = {"OrganisationID": pl.String(), "BaseCurrency": pl.String()}
    table, _ = decoded_bodies(raw, types, id_field="OrganisationID")
    found = table.filter("readable")["BaseCurrency"].drop_nulls().to_list()
    return found[0].upper() if found else None


def _missing(books: list[str], currency: str | None, name: str | None) -> str | None:
    if currency is None:
        return "no price is compared: the currency of the organisation in Xero is not known"
    if len(books) == 1:
        return None
    said = "standard price book" if name is None else f"price book {name!r}"
    return (
        f"no price is compared: found {len(books)} in Salesforce, expected one {said}" if not books else None
    )


def _entries(raw: pl.DataFrame) -> pl.DataFrame:
    """Give record_id, book and currency (null: none is stated) of the entries that can be read."""
    types = dict.fromkeys(("Id", "Pricebook2Id", CURRENCY), pl.String())
    table, _ = decoded_bodies(raw, types, id_field="Id")
    return table.filter("readable").select(
        record_id=pl.col("record_id"),
        book=long_ids(table.filter("readable")["Pricebook2Id"]),
        currency=names.folded(pl.col(CURRENCY)).str.to_uppercase(),
    )

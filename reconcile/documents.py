"""Reads opportunities, their lines and Xero's invoices: which opportunity needs an invoice, and of what form.

Nothing is decided here about contacts and numbers (`invoices` does): only what each opportunity would give,
to the cent, and why it can't where it can't.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from reconcile import names
from reconcile.codes import check_accounts, read_chart
from reconcile.coding import (
    MOST_EXAMPLES,
    NOBODY,
    TRIAL,
    Past,
    coded_lines,
    held_documents,
    tax_rates,
    trial,
)
from reconcile.decode import decoded_bodies
from reconcile.document_rates import with_rates
from reconcile.grouping import Billed, grouped, with_twice
from reconcile.ids import iso_instant, long_ids, wire_instants
from reconcile.mapped import (
    ACTIVATED,
    BRANDING_THEME,
    INVOICE,
    PRODUCT_NAMES,
    REFERENCE_DATA,
    DocumentMapping,
    is_field,
)
from reconcile.model import (
    CODED,
    DOCUMENT_LINES,
    DOCUMENTS,
    INVOICES,
    LINKS,
    OPERATIONS,
    REJECTS,
    conform,
    empty,
    rows_frame,
)
from reconcile.money import (
    AMOUNT,
    EXACT,
    LARGEST,
    PRICE_DECIMALS,
    XERO_PLACES,
    currencies,
    has_decimals,
    line_amount,
    line_tax,
    minor_units,
    numbers,
    quoted,
)
from reconcile.operations import Row
from reconcile.reductions import taken_off, without_reductions
from reconcile.timezones import zone_of
from reconcile.tracking import tracked

LOCK_DATES: Final = ("PeriodLockDate", "EndOfYearLockDate")
LONGEST_REFERENCE: Final = 255
BOOLEANS: Final = (
    "IsWon", "IsDeleted", "IsReductionOrder", "IsSold", "CanApplyToRevenue", "CanApplyToLiabilities",
)  # fmt: skip
ID_FIELDS: Final = {
    "Account": "AccountID",
    "Invoice": "InvoiceID",
    "Item": "ItemID",
    "Organisation": "OrganisationID",
    "TaxRate": "TaxType",
}


@dataclass(frozen=True)
class Documents:
    """All that invoices are decided from.

    headers DOCUMENTS; lines DOCUMENT_LINES; invoices INVOICES; rejects REJECTS: rows that can't be read. options
    OPERATIONS: what makes the options of tracking that lines name and Xero has not.
    locked_until: the last day that Xero has locked; null: none. zone (IANA) and base_currency: the organisation's.
    """

    headers: pl.DataFrame
    lines: pl.DataFrame
    invoices: pl.DataFrame
    rejects: pl.DataFrame
    locked_until: date | None = None
    zone: str | None = None
    base_currency: str | None = None
    options: pl.DataFrame = field(default_factory=lambda: empty(OPERATIONS))


@dataclass(frozen=True)
class Organisation:
    """Of Xero. zone: IANA; null: not known. locked_until: the later of both lock dates; that day is locked too."""

    zone: str | None
    base_currency: str | None
    locked_until: date | None


@dataclass(frozen=True)
class Books:
    """What Xero's reference data says of a document's codes."""

    zone: str | None  # IANA; null: not known
    base_currency: str | None
    items: frozenset[str]
    account: str | None  # why the mapping's account can't be used; null: it can
    tax: str | None  # likewise its tax
    rate: Decimal | None  # of that tax, in percent
    locked_until: date | None  # the later of both lock dates; that day is locked too
    branding_id: str | None  # of the mapping's branding theme
    branding: str | None  # why that can't be used; null: it can, or none is named
    rates: pl.DataFrame  # tax, rate: of every tax that we understand


def canonical_documents(
    raw: Mapping[str, pl.DataFrame],
    mapping: DocumentMapping,
    past: Past = NOBODY,
    *,
    links: pl.DataFrame | None = None,
    today: date | None = None,
) -> Documents:
    """Bring opportunities, lines and invoices into canonical form.

    Each object that is invoiced is read by its own part of the mapping. Takes RAW by "side.object", of the mapping's
    `objects`; past: what codes are inferred by, where they are; links: LINKS of what was billed before; today: the
    day in Xero, null: not known, and what is billed on a day to come waits. Where the mapping names a rate service,
    `rated_documents` is to follow.
    Order: headers by date and id, lines by header and position.
    Raises nothing: an opportunity of which no invoice can be made has a reason.
    """
    books = _books(raw, mapping)
    parts = [_read(raw, one, books if one is mapping else _books(raw, one), past) for one in mapping.sources]
    invoices, bad_invoices = _invoices(raw[f"xero.{mapping.xero}"], mapping)
    options = rows_frame([row for part in parts for row in part[3]], OPERATIONS)
    invoices = conform(invoices, INVOICES).sort("record_id")
    headers, lines = _as_billed(
        pl.concat([conform(part[0], DOCUMENTS) for part in parts]),
        pl.concat([conform(part[1], DOCUMENT_LINES) for part in parts]),
        invoices,
        mapping,
        Billing(empty(LINKS) if links is None else links, today, books.rates),
    )
    read = Documents(
        headers=headers.sort("date", "record_id"),
        lines=lines.sort("document_id", "position"),
        invoices=invoices,
        rejects=pl.concat([*(rejects for part in parts for rejects in part[2]), bad_invoices]),
        locked_until=books.locked_until,
        zone=books.zone,
        base_currency=books.base_currency,
        options=options.unique("operation_id", keep="first", maintain_order=True),
    )
    service = mapping.currencies is not None and mapping.currencies.service
    return read if service else rated_documents(read, raw, mapping, tax_rates=books.rates)


@dataclass(frozen=True)
class Billing:
    """What decides how sales are billed, besides themselves: LINKS of documents, the day, and rates (tax, rate)."""

    links: pl.DataFrame
    today: date | None
    rates: pl.DataFrame


def _as_billed(
    headers: pl.DataFrame,
    lines: pl.DataFrame,
    invoices: pl.DataFrame,
    mapping: DocumentMapping,
    of: Billing,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give DOCUMENTS and DOCUMENT_LINES as they are billed: whole, in parts or together."""
    prefix, by_reference = mapping.number.prefix, mapping.number.kind == "xero"
    billed = Billed.of(of.links, invoices, prefix=prefix, by="reference" if by_reference else "number")
    sales = with_twice(headers, billed, prefix, mapping.word())
    if mapping.number.kind != "derived":
        return sales, lines  # no key would tell a part from the whole
    return grouped(
        sales,
        lines,
        billed,
        {one.source.prefix: one.instalments for one in mapping.sources if one.instalments},
        prefix=prefix,
        rates=of.rates,
        line_amounts=mapping.line_amounts,
        today=of.today,
    )


def rated_documents(
    documents: Documents,
    raw: Mapping[str, pl.DataFrame],
    mapping: DocumentMapping,
    stated: pl.DataFrame | None = None,
    *,
    tax_rates: pl.DataFrame | None = None,
) -> Documents:
    """Give the documents with their rates, by the mapping's policy; order kept.

    Takes that RAW; stated: RATES of a service; tax_rates: as `with_rates` takes them, read from RAW where null.
    """
    if mapping.currencies is None:
        return documents
    headers, lines, rejects = with_rates(
        documents.headers,
        documents.lines,
        raw,
        mapping,
        base_currency=documents.base_currency,
        tax_rates=_books(raw, mapping).rates if tax_rates is None else tax_rates,
        stated=stated,
    )
    return replace(documents, headers=headers, lines=lines, rejects=pl.concat([documents.rejects, rejects]))


def rule_trial(raw: Mapping[str, pl.DataFrame], mapping: DocumentMapping) -> pl.DataFrame:
    """Say for how many lines each rule of codes holds (`coding.TRIAL`). Takes what `canonical_documents` does."""
    tried: list[pl.DataFrame] = []
    for one in mapping.sources:
        headers, lines, *_ = _read(raw, one, _books(raw, one), NOBODY)
        tried += [trial(lines, headers, raw, one)] if one.codes else []
    by_rule = pl.concat(tried).group_by("rule", "gives", maintain_order=True)
    counts = ("lines", "documents", "disagree", "held")
    told = by_rule.agg(
        pl.col(counts).sum(), examples=pl.col("examples").explode().drop_nulls().head(MOST_EXAMPLES)
    )
    return conform(told.sort(pl.col("rule").is_null(), maintain_order=True), TRIAL)


def _read(
    raw: Mapping[str, pl.DataFrame], mapping: DocumentMapping, books: Books, past: Past
) -> tuple[pl.DataFrame, pl.DataFrame, list[pl.DataFrame], list[Row]]:
    """Give headers and lines, with whatever else was read of them, REJECTS, and what makes their options."""
    headers, bad_headers = _headers(raw[f"salesforce.{mapping.salesforce}"], mapping, books)
    lines, options, bad_lines = _lines(raw, headers, mapping, books)
    if mapping.codes is not None:
        lines = coded_lines(lines, headers, raw, mapping, books.rates, past)
    lines = _with_taxes(lines, mapping)
    if mapping.source.takes_from:
        headers, lines = without_reductions(headers, lines, mapping)
    headers = _with_totals(headers, lines, mapping)
    headers = _with_reasons(headers, lines, mapping, books, unread_lines=bad_lines.height > 0)
    if mapping.codes is not None:
        headers = _held(headers, lines, raw, mapping)
    return headers, lines, [bad_headers, bad_lines], options


def _held(
    headers: pl.DataFrame, lines: pl.DataFrame, raw: Mapping[str, pl.DataFrame], mapping: DocumentMapping
) -> pl.DataFrame:
    """Add held, and let what has inferred codes be a draft."""
    drafts = lines.filter("draft")["document_id"].implode()
    return headers.join(
        held_documents(lines, headers, raw, mapping),
        left_on="record_id",
        right_on="document_id",
        how="left",
        validate="1:1",
        maintain_order="left",
    ).with_columns(
        status=pl.when(pl.col("record_id").is_in(drafts)).then(pl.lit("DRAFT")).otherwise("status")
    )


# --- Reading ------------------------------------------------------------------------------------------


def _table(
    raw: pl.DataFrame, paths: Iterable[str], id_field: str, amounts: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Give the live rows with a text for each path (a Boolean where it is one), readable and faults."""
    types: dict[str, pl.DataType] = {
        path: pl.Boolean() if path in BOOLEANS else pl.String() for path in sorted({*paths, *amounts})
    }
    live = raw.filter(~pl.col("deleted").fill_null(False))
    if amounts:
        live = live.with_columns(body=quoted(pl.col("body"), amounts))
    table, _ = decoded_bodies(live, types, id_field=id_field)
    return table


def _unreadable(table: pl.DataFrame, side: str) -> pl.DataFrame:
    bad = table.filter(~pl.col("readable") | (pl.col("faults").list.len() > 0))
    what = (
        pl.when("readable")
        .then(pl.lit("a field is of another type than expected"))
        .otherwise(pl.lit("the body is not the JSON of this record"))
    )
    told = bad.select(
        "record_id", stage=pl.lit("canonical"), entity=pl.lit("document"), side=pl.lit(side), reason=what
    )
    return conform(told, REJECTS)


def _sound(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter("readable", pl.col("faults").list.len() == 0)


def _books(raw: Mapping[str, pl.DataFrame], mapping: DocumentMapping) -> Books:
    def read(name: str, amounts: tuple[str, ...] = ()) -> pl.DataFrame:
        return _sound(_table(raw[f"xero.{name}"], REFERENCE_DATA[name], ID_FIELDS[name], amounts))

    organisation = read_organisation(raw["xero.Organisation"])
    accounts, rates = read("Account"), read("TaxRate", ("EffectiveRate",))
    items = read("Item").filter(pl.col("IsSold").fill_null(True))
    found = rates.filter(pl.col("TaxType") == mapping.tax).head(1) if mapping.tax else rates.clear()
    rate = numbers(found["EffectiveRate"]).to_list()
    branding_id = _theme(raw, mapping.branding)
    # Where codes are decided line by line, what is wrong with one stops the lines that have it.
    by_line = mapping.codes is not None
    account = accounts.filter(pl.col("Code") == pl.lit(mapping.account, pl.String))
    account_fault = _code_fault("account", mapping.account, account) or _chart_fault(raw, mapping)
    return Books(
        zone=organisation.zone,
        base_currency=organisation.base_currency,
        items=frozenset(items["Code"].drop_nulls()),
        account=None if by_line else account_fault,
        tax=None if by_line else _code_fault("tax", mapping.tax, found) or _rate_fault(mapping, found, rate),
        rate=rate[0] if rate else None,
        rates=tax_rates(rates),
        locked_until=organisation.locked_until,
        branding_id=branding_id,
        branding=f"the branding theme {mapping.branding} of the mapping is not in Xero"
        if mapping.branding and branding_id is None
        else None,
    )


def read_organisation(raw: pl.DataFrame) -> Organisation:
    """Give what documents need to know of Xero's organisation. Takes RAW of it."""
    found = _sound(_table(raw, REFERENCE_DATA["Organisation"], ID_FIELDS["Organisation"])).head(1)
    return Organisation(
        zone=zone_of(_first(found, "Timezone")),
        base_currency=_first(found, "BaseCurrency"),
        locked_until=_locked_until(found),
    )


def _locked_until(organisation: pl.DataFrame) -> date | None:
    # Midnight UTC of the organisation's own day.
    days = organisation.select(wire_instants(pl.col(name)).dt.date() for name in LOCK_DATES)
    return max((day for row in days.iter_rows() for day in row if day is not None), default=None)


def _theme(raw: Mapping[str, pl.DataFrame], name: str | None) -> str | None:
    """Give the BrandingThemeID of a name, without regard to case; null where there is none."""
    if name is None:
        return None
    themes = _sound(_table(raw["xero.BrandingTheme"], BRANDING_THEME, "BrandingThemeID"))
    found = themes.filter(names.folded(pl.col("Name")).str.to_lowercase() == name.lower())
    return _first(found, "BrandingThemeID")


def _chart_fault(raw: Mapping[str, pl.DataFrame], mapping: DocumentMapping) -> str | None:
    """Say why the mapping's account takes no sales; what its tax can't do `_rate_fault` says."""
    coded = pl.DataFrame(
        {"line_id": "", "account": mapping.account}, schema={"line_id": pl.String, "account": pl.String}
    )
    chart = read_chart(raw["xero.Account"], raw["xero.TaxRate"])
    return check_accounts(conform(coded, CODED), chart)["reason"].item()


def _first(table: pl.DataFrame, column: str) -> str | None:
    return None if table.is_empty() else table[column][0]


def _code_fault(what: str, code: str | None, found: pl.DataFrame) -> str | None:
    if code is None:
        return None
    if found.is_empty():
        return f"the {what} {code} of the mapping is not in Xero"
    status = str(_first(found, "Status") or "ACTIVE").upper()
    return None if status == "ACTIVE" else f"the {what} {code} of the mapping is {status.lower()} in Xero"


def _rate_fault(mapping: DocumentMapping, found: pl.DataFrame, rate: list[Decimal | None]) -> str | None:
    if mapping.tax is None:
        return None
    if not found["CanApplyToRevenue"].fill_null(True).all():
        return f"the tax {mapping.tax} of the mapping can't be applied to sales"
    if not rate or rate[0] is None or not 0 <= rate[0] <= 100 or rate[0] != round(rate[0], 4):
        return f"the tax {mapping.tax} of the mapping has no rate that we understand"
    return None


def _headers(raw: pl.DataFrame, mapping: DocumentMapping, books: Books) -> tuple[pl.DataFrame, pl.DataFrame]:
    read, source = mapping.own_fields("salesforce")[mapping.salesforce], mapping.source
    ruled = {name for rule in mapping.rules for name in rule.columns} - {*BOOLEANS}
    # What is gone still has its invoice: it is read as it was last seen.
    raw = raw.with_columns(erased=pl.col("deleted").fill_null(False), deleted=pl.lit(False))
    if mapping.codes is not None:
        coded = mapping.codes.fields(mapping.salesforce) | {*filter(is_field, mapping.codes.read)}
        ruled |= coded - {*BOOLEANS}
    table = _table(raw, {*read, "CurrencyIsoCode"}, "Id", tuple(sorted({source.amount, *ruled})))
    sound = _sound(table).with_columns(row=pl.int_range(pl.len()))
    date = organisation_days(sound[mapping.date], books.zone)
    statuses = [
        pl.when(rule.expression.fill_null(False)).then(pl.lit(then)) if rule else pl.lit(then)
        for rule, then in mapping.status
    ]
    stages = pl.col(source.stage).is_in(list(mapping.stages)) if mapping.stages is not None else pl.lit(True)
    flag = pl.col(source.is_won)
    won = flag if source.is_won in BOOLEANS else flag == ACTIVATED
    shown = {f"shown_{name}": _filled(pl.col(field)) for name, field in mapping.link.fields.items()}
    stated = names.folded(pl.col("CurrencyIsoCode")).str.to_uppercase()
    headers = sound.with_columns(
        record_id=long_ids(sound["record_id"]),
        name=pl.coalesce(names.folded(pl.col(one)) for one in source.names),
        account_id=long_ids(sound["AccountId"]),
        won=won.fill_null(False) & stages.fill_null(False),
        reduces=pl.col(source.reduces).fill_null(False) if source.reduces else pl.lit(False),
        in_scope=mapping.scope.expression.fill_null(False) if mapping.scope else pl.lit(True),
        gone=pl.col("IsDeleted").fill_null(False) | pl.col("erased"),
        date=date,
        has_date=names.folded(pl.col(mapping.date)).is_not_null(),
        reference=names.folded(pl.col(mapping.reference)) if mapping.reference else pl.lit(None, pl.String),
        status=pl.coalesce(statuses),
        branding=pl.lit(books.branding_id, pl.String),
        stated_currency=stated,
        currency=pl.coalesce(stated, pl.lit(books.base_currency, pl.String)),
        amount=numbers(sound[source.amount]),
        has_amount=pl.col(source.amount).is_not_null(),
        came_from=pl.lit(None, pl.String),
        form=mapping.form,
        **shown,
    )
    if mapping.is_one_of_several and source.came_from:
        headers = headers.with_columns(came_from=long_ids(sound[source.came_from]))
    cut_over = pl.lit(mapping.cut_over, pl.Date)
    due = (
        pl.col("date").dt.offset_by(f"{mapping.due_days}d")
        if mapping.due_days is not None
        else pl.lit(None, pl.Date)
    )
    return headers.with_columns(due_by_date=pl.col("date") >= cut_over, due=due), _unreadable(
        table, "salesforce"
    )


def _filled(text: pl.Expr) -> pl.Expr:
    # As it is there: a write is held against it to the letter.
    return pl.when(names.folded(text).is_not_null()).then(text)


def organisation_days(texts: pl.Series, zone: str | None) -> pl.Series:
    """Read days; a time becomes the day that it is in the organisation's zone, null where that is unknown."""
    text = pl.col("text")
    day = text.str.to_date("%Y-%m-%d", strict=False)
    instant = iso_instant(text)
    there = instant.dt.convert_time_zone(zone).dt.date() if zone else pl.lit(None, pl.Date)
    is_day = text.str.contains(r"^\d{4}-\d{2}-\d{2}$")
    found = texts.to_frame("text").select(pl.when(is_day).then(day).otherwise(there))
    return found.to_series().alias("date")


def _lines(
    raw: Mapping[str, pl.DataFrame], headers: pl.DataFrame, mapping: DocumentMapping, books: Books
) -> tuple[pl.DataFrame, list[Row], pl.DataFrame]:
    amounts, source = ("Quantity", "UnitPrice", "Discount"), mapping.source
    of_lines = {track.category: track.field for track in mapping.tracking if track.of_line}
    own = mapping.codes.fields(mapping.lines) if mapping.codes else frozenset[str]()
    paths = {*source.line_fields, "Discount", "Product2Id", *of_lines.values()}
    table = _table(raw[f"salesforce.{mapping.lines}"], paths, "Id", tuple(sorted({*amounts, *own})))
    sound = _sound(table).filter(~pl.col("IsDeleted").fill_null(False))
    if source.named_by_product:
        sound = _with_names(sound, raw["salesforce.Product2"])
    code = names.folded(pl.col("ProductCode"))
    told = names.folded(pl.col("Description"))
    on_demand = mapping.items == "on_demand"
    read = sound.with_columns(
        product_id=long_ids(sound["Product2Id"]) if on_demand else pl.lit(None, pl.String),
        document_id=long_ids(sound[source.parent]),
        line_id=long_ids(sound["record_id"]),
        quantity=numbers(sound["Quantity"]),
        unit_price=numbers(sound["UnitPrice"]),
        discount=numbers(sound["Discount"]),
        told=told,
        code=code,
        account=pl.lit(mapping.account, pl.String),
        tax=pl.lit(mapping.tax, pl.String),
        rate=pl.lit(None if mapping.tax is None or books.tax else books.rate, EXACT),
        item=pl.when(code.is_in(sorted(books.items))).then(code)
        if mapping.items == "known"
        else pl.lit(None, pl.String),
        place=pl.col(source.place).cast(pl.Int64, strict=False),
        **{f"tracked {category}": pl.col(field) for category, field in of_lines.items()},
    )
    if source.takes_from:
        read = taken_off(read.with_columns(takes_from=long_ids(read[source.takes_from])), headers)
    of_headers = {track.category: track.field for track in mapping.tracking if not track.of_line}
    of_header = headers.select(
        document_id="record_id",
        places=minor_units(pl.col("currency")),
        header_name="name",
        is_due=pl.col("won") & ~pl.col("gone") & pl.col("in_scope") & pl.col("due_by_date").fill_null(False),
        **{f"tracked {category}": pl.col(field) for category, field in of_headers.items()},
    )
    found = read.join(of_header, on="document_id", how="inner", validate="m:1").with_columns(
        description=pl.coalesce("told", _product_name(), "code"),
        title=pl.when(pl.col("told").is_null()).then(names.folded(pl.col("Name"))),
    )
    found = found.with_columns(reason=_line_reason())
    options = list[Row]()
    if mapping.tracking:
        found, options = tracked(found, raw["xero.TrackingCategory"], mapping)
        found = found.with_columns(reason=pl.coalesce("reason", "untracked"))
    ordered = found.sort("document_id", "place", "line_id", nulls_last=True).with_columns(
        position=pl.int_range(1, pl.len() + 1).over("document_id")
    )
    return _with_amounts(ordered), options, _unreadable(table, "salesforce")


def _with_names(lines: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Add Name and ProductCode of each line's product; null where it has none that was read."""
    table = _sound(_table(products, PRODUCT_NAMES, "Id"))
    named = table.select("Name", "ProductCode", product=long_ids(table["record_id"]))
    return lines.with_columns(product=long_ids(lines["Product2Id"])).join(
        named.unique("product", maintain_order=True),
        on="product",
        how="left",
        validate="m:1",
        maintain_order="left",
    )


def _product_name() -> pl.Expr:
    # Salesforce names a line after its opportunity and its product.
    name, header = names.folded(pl.col("Name")), pl.col("header_name") + " "
    product = name.str.slice(header.str.len_chars())
    return pl.when(name.str.starts_with(header), product.str.len_chars() > 0).then(product).otherwise(name)


def _line_reason() -> pl.Expr:
    """Say what is wrong with a line: the first fault that holds."""
    quantity, price, discount = (pl.col(name) for name in ("quantity", "unit_price", "discount"))
    stated = pl.col("Discount").is_not_null()
    # A size, not an amount: exact, the product of two that are too large would not fit.
    size = quantity.cast(pl.Float64) * price.cast(pl.Float64)
    faults = {
        "no quantity": quantity.is_null(),
        "no unit price": price.is_null(),
        "a discount that is no number": stated & discount.is_null(),
        "a discount that is not between 0 and 100": ~discount.is_between(0, LARGEST["Discount"]),
        "a quantity too large to be exact": quantity.abs() >= LARGEST["Quantity"],
        "a unit price too large to be exact": price.abs() >= LARGEST["UnitPrice"],
        "an amount too large to be exact": size.abs() >= LARGEST["Amount"],
        f"a quantity of more than {PRICE_DECIMALS} decimals, which Xero does not keep": ~has_decimals(
            quantity, PRICE_DECIMALS
        ),
        f"a unit price of more than {PRICE_DECIMALS} decimals, which Xero does not keep": ~has_decimals(
            price, PRICE_DECIMALS
        ),
        "a discount of more than 2 decimals": ~has_decimals(discount, 2),
        "neither description nor name": pl.col("description").is_null(),
    }
    return pl.coalesce(
        [pl.when(fault.fill_null(False)).then(pl.lit(reason)) for reason, fault in faults.items()]
    )


def _with_amounts(lines: pl.DataFrame) -> pl.DataFrame:
    """Add amount, and in_xero, what it is in Xero's decimals; null where a line is at fault."""
    sound = pl.col("reason").is_null()
    quantity, price, discount = (pl.when(sound).then(name) for name in ("quantity", "unit_price", "discount"))
    return lines.with_columns(
        amount=line_amount(quantity, price, discount, pl.col("places")),
        in_xero=line_amount(quantity, price, discount, pl.lit(XERO_PLACES)),
    )


def _with_taxes(lines: pl.DataFrame, mapping: DocumentMapping) -> pl.DataFrame:
    """Add tax_amount, by each line's rate; null where that is not known: then the tax is Xero's."""
    places, xero = pl.col("places"), pl.lit(XERO_PLACES)
    if mapping.line_amounts == "no_tax":
        taxed = lines.with_columns(
            tax_amount=pl.lit(Decimal(0), EXACT), tax_in_xero=pl.lit(Decimal(0), EXACT)
        )
    else:
        rate, inclusive = pl.col("rate"), mapping.line_amounts == "inclusive"
        taxed = lines.with_columns(
            tax_amount=line_tax(pl.col("amount"), rate, places, inclusive=inclusive),
            tax_in_xero=line_tax(pl.col("in_xero"), rate, xero, inclusive=inclusive),
        )
    # Xero's amounts have two decimals in every currency: where its own minor unit would say another, nobody
    # could make both books agree.
    unlike = (pl.col("amount") != pl.col("in_xero")) | (pl.col("tax_amount") != pl.col("tax_in_xero"))
    other = pl.when(unlike.fill_null(False)).then(
        pl.lit(f"an amount that Xero, with {XERO_PLACES} decimals, can't hold in the currency's minor unit")
    )
    return taxed.with_columns(
        pl.col("amount", "tax_amount").cast(AMOUNT), reason=pl.coalesce("reason", other)
    )


def _invoices(raw: pl.DataFrame, mapping: DocumentMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    table = _table(raw, INVOICE, "InvoiceID", ("SubTotal", "TotalTax", "Total"))
    sound = _sound(table).filter(pl.col("Type").fill_null("ACCREC").str.to_uppercase() == "ACCREC")
    found = sound.select(
        record_id=pl.col("record_id").str.to_lowercase(),
        number=names.folded(pl.col("InvoiceNumber")),
        reference=names.folded(pl.col("Reference")),
        status=pl.col("Status").str.to_uppercase(),
        contact_id=pl.col("Contact.ContactID").str.to_lowercase(),
        currency=pl.col("CurrencyCode").str.to_uppercase(),
        subtotal=numbers(sound["SubTotal"]).cast(AMOUNT),
        total=numbers(sound["Total"]).cast(AMOUNT),
    )
    return found, _unreadable(table, "xero")


# --- Totals, and what stops -----------------------------------------------------------------------------


def _with_totals(headers: pl.DataFrame, lines: pl.DataFrame, mapping: DocumentMapping) -> pl.DataFrame:
    """Add subtotal, total_tax and total, sums of what was rounded line by line; null: Xero's tax decides it."""
    known = pl.col("amount").is_not_null().all()
    sums = lines.group_by("document_id").agg(
        line_count=pl.len(),
        lines_amount=pl.when(known).then(pl.col("amount").sum()),
        tax=pl.when(known & pl.col("tax_amount").is_not_null().all()).then(pl.col("tax_amount").sum()),
    )
    joined = headers.join(sums, left_on="record_id", right_on="document_id", how="left", validate="1:1")
    amount, tax = pl.col("lines_amount"), pl.col("tax")
    inclusive = mapping.line_amounts == "inclusive"
    return joined.with_columns(
        line_count=pl.col("line_count").fill_null(0),
        subtotal=(amount - tax if inclusive else amount).cast(AMOUNT),
        total_tax=tax.cast(AMOUNT),
        total=(amount if inclusive else amount + tax).cast(AMOUNT),
    )


def _with_reasons(
    headers: pl.DataFrame, lines: pl.DataFrame, mapping: DocumentMapping, books: Books, *, unread_lines: bool
) -> pl.DataFrame:
    """Add reason: why no invoice can be made of an opportunity, by the first that holds; null: one can."""
    faulty = (
        lines.filter(pl.col("reason").is_not_null())
        .group_by("document_id", maintain_order=True)
        .agg(line_reason=pl.format("its line {} has {}", pl.first("position"), pl.first("reason")))
    )
    joined = headers.join(faulty, left_on="record_id", right_on="document_id", how="left", validate="1:1")
    cases: list[pl.Expr] = [
        _when(~pl.col("has_date"), f"it has no {mapping.date}"),
        _when(
            pl.col("date").is_null(),
            f"its {mapping.date} can't be read"
            if books.zone
            else f"the day of its {mapping.date} is not known: neither is the organisation's time zone",
        ),
        _when(
            pl.col("reduces"),
            "it takes back what an order sold that is not invoiced from here: credit that in Xero",
        ),
        _when(pl.col("account_id").is_null(), "it has no account"),
        _when(
            pl.col("currency").is_null(),
            "its currency is not known: it states none, and neither does the organisation",
        ),
        pl.when(~pl.col("currency").is_in(sorted(currencies()))).then(
            pl.format("its currency {} is none of ISO 4217", "currency")
        ),
        _when(pl.col("line_count") == 0, "it has no lines"),
        pl.col("line_reason"),
        _when(pl.lit(books.account is not None), books.account or ""),
        _when(pl.lit(books.tax is not None), books.tax or ""),
        _when(pl.lit(books.branding is not None), books.branding or ""),
        _when(
            pl.col("reference").str.len_chars() > LONGEST_REFERENCE,
            f"its reference has more than {LONGEST_REFERENCE} characters",
        ),
        *_amount_cases(mapping, unread_lines=unread_lines),
        _when(
            pl.coalesce("total", "subtotal") < 0, "its lines add up to less than nothing: that is no invoice"
        ),
    ]
    return joined.with_columns(reason=pl.coalesce(cases))


def _when(fault: pl.Expr, reason: str) -> pl.Expr:
    return pl.when(fault.fill_null(False)).then(pl.lit(reason))


def _amount_cases(mapping: DocumentMapping, *, unread_lines: bool) -> list[pl.Expr]:
    if mapping.amount == "ignore":
        # Whose line it is can't be read either, and no amount would tell that it is missing.
        return [_when(pl.lit(unread_lines), f"a line of some {mapping.source.word} can't be read")]
    computed, amount, field = pl.col(mapping.amount), pl.col("amount"), mapping.source.amount
    said = {"subtotal": "without tax", "total": "with tax"}[mapping.amount]
    difference = pl.format(
        f"its {field} is {{}} and its lines give {{}} ({said}): a difference of {{}} {{}}",
        _spelled(amount),
        _spelled(computed),
        _spelled(computed.cast(EXACT) - amount),
        "currency",
    )
    return [
        _when(~pl.col("has_amount"), f"it has no {field}"),
        _when(amount.is_null(), f"its {field} is no number"),
        pl.when((computed.cast(EXACT) != amount).fill_null(True)).then(difference),
    ]


def _spelled(amount: pl.Expr) -> pl.Expr:
    """Give an amount as text with two decimals, or as many more as it needs."""
    text = amount.cast(EXACT).cast(pl.String).fill_null("nothing")
    return text.str.replace(r"(\.\d\d\d*?)0+$", "$1")

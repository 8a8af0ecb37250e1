"""Decides which opportunities are linked to an invoice, which get one, and under what number; makes operations.

Level-triggered: an opportunity that is due and has no invoice gets one, whenever it became due. What carries
its natural key in the snapshot is taken for its invoice if it agrees, and stops it if it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from reconcile.agreed import UNIT
from reconcile.bodies import dumps, loads
from reconcile.coding import codes_in_words, evidence_of
from reconcile.documents import Documents
from reconcile.grouping import TOGETHER, document_key
from reconcile.mapped import DocumentMapping, Numbering
from reconcile.model import (
    CLOSED,
    DRIFT,
    OPERATIONS,
    PHASE,
    RECORDS,
    REJECTS,
    VALUES,
    conform,
    rows_frame,
)
from reconcile.money import exact, spelled
from reconcile.native import native_of
from reconcile.operations import Part, Row, held_links, operation_row
from reconcile.plan import Plan
from reconcile.tracking import said

ENTITY: Final = "document"
INVOICE_URL: Final = "https://go.xero.com/AccountsReceivable/View.aspx?InvoiceID="
LINE_AMOUNT_TYPES: Final = {"exclusive": "Exclusive", "inclusive": "Inclusive", "no_tax": "NoTax"}
# What the vendor's record calls what the opportunity shows of it.
SHOWN: Final = {"number": "InvoiceNumber", "status": "Status"}
SOURCE: Final = ("record_id", "name", "shown_id", "shown_number", "shown_status", "shown_url")
UNIQUE: Final = ("id", "number")  # as the shipped metadata has them
PAIRS: Final = {"salesforce_id": pl.String(), "xero_id": pl.String()}


@dataclass(frozen=True)
class Standing:
    """Where each opportunity stands, before anything is known of contacts.

    linked: DOCUMENTS with link_id and, of its invoice, found_*. adopted: LINKS that hold without a write.
    open: DOCUMENTS that get an invoice, with key (null: a number is still to be reserved), moved_from (null: not
    moved out of a locked period) and found_* of the one that carries that key already. rejects: REJECTS. asked:
    DRIFT of what rules hold back until a person lets it go.
    """

    linked: pl.DataFrame
    adopted: pl.DataFrame
    open: pl.DataFrame
    rejects: pl.DataFrame
    asked: pl.DataFrame

    def products(self, lines: pl.DataFrame) -> frozenset[str]:
        """The products of which an item is needed. Takes DOCUMENT_LINES."""
        making = self.open.filter(pl.col("found_id").is_null())["record_id"]
        return frozenset(
            lines.filter(pl.col("document_id").is_in(making.implode()))["product_id"].drop_nulls()
        )

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts of which a contact is needed."""
        return frozenset(self.open.filter(pl.col("found_id").is_null())["account_id"].drop_nulls())


@dataclass(frozen=True)
class Contact:
    """Who an invoice is made out to: a contact that is there, or one that an operation makes."""

    contact_id: str | None = None
    made_by: str | None = None
    depends_on: str | None = None  # the operation that must succeed first
    reason: str | None = None  # why there is none


# --- Where each opportunity stands ----------------------------------------------------------------------


def standing(documents: Documents, links: pl.DataFrame, mapping: DocumentMapping) -> Standing:
    """Say which opportunities are linked and which need an invoice.

    Takes LINKS of documents, as the journal knows them. Order kept: by date and id.
    """
    known = links.filter(
        pl.col("entity").cast(pl.String) == ENTITY, pl.col("status").cast(pl.String) == "linked"
    )
    headers = documents.headers.filter("in_scope")
    linked = headers.filter(~pl.col("gone")).join(
        known.select("link_id", record_id="salesforce_id", found_id=pl.col("xero_id").str.to_lowercase()),
        on="record_id",
        how="inner",
        validate="1:1",
        maintain_order="left",
    )
    unlinked = headers.join(
        known.select(record_id="salesforce_id"), on="record_id", how="anti", maintain_order="left"
    )
    is_due = pl.col("won") & ~pl.col("gone") & pl.col("due_by_date").fill_null(True)
    due = unlinked.filter(is_due)
    # What is not due any more is taken for its invoice's own again too: a lost journal hides no draft of a lost sale,
    # not even of one that does not show it yet.
    told = (
        unlinked.with_columns(due_now=is_due)
        .join(
            _carrying(unlinked.filter(~is_due), documents, mapping),
            on="record_id",
            how="left",
            validate="1:1",
            maintain_order="left",
        )
        .with_columns(shown_id=pl.coalesce("shown_id", "carried_id"))
        .drop("carried_id")
    )
    shown = _shown(
        told.filter(pl.col("shown_id").is_not_null()),
        documents,
        known,
        mapping,
    )
    by_id = shown.filter(pl.col("stop").is_null())
    adopted = held_links(ENTITY, by_id.select(salesforce_id="record_id", xero_id="found_id"))
    both = pl.concat(
        [
            linked,
            by_id.select(*linked.columns[:-2], adopted["link_id"], "found_id").filter(~pl.col("gone")),
        ]
    )
    with_invoice = both.join(
        _found(documents), on="found_id", how="left", validate="m:1", maintain_order="left"
    )
    lost = with_invoice.filter(pl.col("found_status").is_null())
    opened = _open_by_lock(
        _open(due.filter(pl.col("shown_id").is_null()), documents, known, mapping), documents, mapping
    )
    rejects = [
        _rejects(lost, pl.lit("its invoice is not in the snapshot of Xero")),
        _rejects(shown.filter(pl.col("stop").is_not_null()), pl.col("stop")),
        _rejects(opened.filter(pl.col("stop").is_not_null()), pl.col("stop")),
        _strayed(documents, known),
    ]
    if mapping.moves:  # of those that are linked the table of moves tells
        rejects = rejects[1:3]
    return Standing(
        linked=with_invoice.filter(pl.col("found_status").is_not_null()),
        adopted=adopted,
        open=opened.filter(pl.col("stop").is_null()).drop("stop"),
        rejects=pl.concat(rejects),
        asked=_asked(opened.filter(pl.col("stop") == pl.col("held"), pl.col("asked").is_not_null())),
    )


def _asked(held: pl.DataFrame) -> pl.DataFrame:
    """Give DRIFT of documents that a person may let go."""
    told = held.select(
        link_id=pl.format(ENTITY + ":{}:", "record_id"),
        entity=pl.lit(ENTITY),
        unit=pl.lit(UNIT),
        salesforce_id="record_id",
        salesforce="asked",
        direction=pl.lit("salesforce"),
        why=pl.lit("waits_for_decision"),
    )
    return conform(told, DRIFT)


def _found(documents: Documents) -> pl.DataFrame:
    return documents.invoices.select(
        found_id="record_id",
        found_number="number",
        found_reference="reference",
        found_status=pl.col("status").fill_null(""),
        found_contact="contact_id",
        found_currency="currency",
        found_subtotal="subtotal",
        found_total="total",
    )


def _strayed(documents: Documents, known: pl.DataFrame) -> pl.DataFrame:
    """Tell of opportunities that are not any more as the invoice says that was made of them (REJECTS).

    Nothing is done about it: what becomes of an invoice then is a person's to say.
    """
    made = documents.headers.filter("in_scope").join(
        known.select(record_id="salesforce_id", found_id=pl.col("xero_id").str.to_lowercase()),
        on="record_id",
        how="inner",
        validate="1:1",
        maintain_order="left",
    )
    standing = made.join(
        _found(documents), on="found_id", how="inner", validate="m:1", maintain_order="left"
    ).filter(~pl.col("found_status").is_in(CLOSED))
    invoice = pl.format(
        "its invoice {} ({})", pl.col("found_number").fill_null("without a number"), "found_status"
    )
    differs = pl.col("subtotal") != pl.col("found_subtotal")
    why = pl.coalesce(
        pl.when("gone").then(pl.format("it was deleted, and {} stands", invoice)),
        pl.when(~pl.col("won")).then(pl.format("it is not won any more, and {} stands", invoice)),
        pl.when(pl.col("line_count") == 0).then(pl.format("it has no lines any more, and {} stands", invoice)),
        pl.when(differs).then(
            pl.format(
                "it amounts to {} without tax, and {} to {}",
                _to_the_cent("subtotal"), invoice, _to_the_cent("found_subtotal"),
            )
        ),
    )  # fmt: skip
    told = standing.with_columns(why=why).filter(pl.col("why").is_not_null())
    return _rejects(told, pl.col("why"))


def _to_the_cent(name: str) -> pl.Expr:
    return pl.col(name).round(2).cast(pl.Decimal(38, 2)).cast(pl.String)


def _rejects(rows: pl.DataFrame, reason: pl.Expr) -> pl.DataFrame:
    told = rows.select(
        "record_id",
        stage=pl.lit("plan"),
        entity=pl.lit(ENTITY),
        side=pl.lit("salesforce"),
        unit=pl.lit("record"),
        reason=reason,
    )
    return conform(told, REJECTS)


def _shown(
    headers: pl.DataFrame, documents: Documents, known: pl.DataFrame, mapping: DocumentMapping
) -> pl.DataFrame:
    """Say of opportunities that show an invoice which the journal does not know whether it is theirs (stop: not).

    A copy of an opportunity carries the fields of the one that it was copied from. One that is not due is left
    out, unless the invoice carries its key.
    """
    shown = headers.with_columns(found_id=pl.col("shown_id").str.strip_chars().str.to_lowercase()).join(
        _found(documents), on="found_id", how="left", validate="m:1", maintain_order="left"
    )
    keyed = _keyed(shown, mapping).with_columns(carried=_carried(mapping))
    keyed = keyed.with_columns(
        # Also the next one in the place of one that was voided.
        own=(
            pl.col("carried").str.replace(r"-[0-9]{1,6}$", "") == pl.col("key").str.to_lowercase()
            if mapping.moves and mapping.number.kind == "derived"
            else pl.col("carried") == pl.col("key").str.to_lowercase()
        ).fill_null(False)
    ).with_columns(
        # A number of a sequence is copied with the rest: then it is nobody's for certain.
        own=pl.col("own") & (pl.col("own").sum().over("found_id") == 1),
        shared=pl.len().over("found_id") > 1,
    )
    field, word = mapping.link.id, mapping.word()
    another = f"its {field} shows the invoice of another {{}}, as a copy does: empty the field"
    mine = keyed.filter(pl.col("due_now") | pl.col("own"))
    return mine.with_columns(
        stop=pl.coalesce(
            pl.when(pl.col("found_status").is_null()).then(
                pl.lit(f"its {field} names an invoice that is not in the snapshot of Xero")
            ),
            pl.when(pl.col("found_id").is_in(known["xero_id"].str.to_lowercase().implode())).then(
                pl.format(another, word)
            ),
            pl.when(~pl.col("own") & pl.col("shared")).then(
                pl.lit(
                    f"its {field} shows an invoice that another one shows too: empty it where it is a copy"
                )
            ),
            pl.when(~pl.col("own") & _of_another(mapping)).then(pl.format(another, word)),
        )
    ).drop("key", "carried", "own", "shared", "due_now")


def _carrying(headers: pl.DataFrame, documents: Documents, mapping: DocumentMapping) -> pl.DataFrame:
    """Give record_id and carried_id: the one invoice that stands and carries an opportunity's key."""
    alone = (
        _found(documents)
        .filter(~pl.col("found_status").is_in(CLOSED))
        .select(
            low=_carried(mapping).str.replace(r"-[0-9]{1,6}$", ""),
            carried_id="found_id",
            whole=_carried(mapping),
        )
    )
    keys = _keyed(headers, mapping).select("record_id", low=pl.col("key").str.to_lowercase())
    # A number of a sequence may end like a revision.
    on = "low" if mapping.moves and mapping.number.kind == "derived" else "whole"
    found = keys.drop_nulls("low").join(alone, left_on="low", right_on=on, how="inner")
    return found.filter(pl.len().over("record_id") == 1).select("record_id", "carried_id")


def _carried(mapping: DocumentMapping) -> pl.Expr:
    """The natural key that an invoice carries, in small letters: Xero may compare without regard to case."""
    field = "found_reference" if mapping.number.kind == "xero" else "found_number"
    return pl.col(field).str.to_lowercase()


def _of_another(mapping: DocumentMapping) -> pl.Expr:
    """Whether an invoice's key was derived from an opportunity's id."""
    if mapping.number.kind == "reserved":
        return pl.lit(False)
    pattern = f"(?i)^{re.escape(mapping.number.prefix)}{mapping.ids}(-[0-9]+)?$"
    return pl.col("carried").str.contains(pattern).fill_null(False)


# --- Numbers ------------------------------------------------------------------------------------------


def derived_number(prefix: str, record_id: str, revision: int = 1) -> str:
    """Give the number that a document's id gives: of 18 characters, which are unique without case, and its slot."""
    number = prefix + record_id.upper().replace(":", "-")
    return number if revision == 1 else f"{number}-{revision}"


def reserved_numbers(numbering: Numbering, held: Iterable[str | None], count: int) -> list[str]:
    """Give the next numbers of the sequence, over all that both systems hold."""
    pattern = re.compile(rf"{re.escape(numbering.prefix)}(\d{{1,18}})", re.IGNORECASE)
    found = [int(match[1]) for text in held if text and (match := pattern.fullmatch(text.strip()))]
    first = max(found, default=0) + 1
    return [f"{numbering.prefix}{number:0{numbering.digits}}" for number in range(first, first + count)]


def _keyed(headers: pl.DataFrame, mapping: DocumentMapping) -> pl.DataFrame:
    """Add key: what the invoice is found again by; null where its number is still to be reserved."""
    if mapping.number.kind != "reserved":
        # As `derived_number` gives it.
        return headers.with_columns(key=document_key(mapping.number.prefix, pl.col("record_id")))
    number = pl.col("shown_number").str.strip_chars()
    ours = number.str.contains(f"(?i)^{re.escape(mapping.number.prefix)}[0-9]{{1,18}}$")
    return headers.with_columns(key=pl.when(ours).then(number))


def _open(
    headers: pl.DataFrame, documents: Documents, known: pl.DataFrame, mapping: DocumentMapping
) -> pl.DataFrame:
    """Add key and found_* to opportunities without an invoice, and stop: why they get none."""
    keyed = _keyed(headers, mapping).with_columns(low=pl.col("key").str.to_lowercase())
    carrying = (
        _found(documents)
        .with_columns(low=_carried(mapping))
        .drop_nulls("low")
        .sort("found_id")
        .group_by("low", maintain_order=True)
        .agg(pl.all().first(), found_count=pl.len())
    )
    joined = keyed.join(carrying, on="low", how="left", validate="m:1", maintain_order="left")
    taken = known["xero_id"].str.to_lowercase().implode()
    field = mapping.link.number or ""
    said = "Reference" if mapping.number.kind == "xero" else "number"
    word = mapping.word()
    return joined.with_columns(
        stop=pl.coalesce(
            "reason",
            # What may not be made by us may be there all the same: then its codes are the ledger's.
            pl.when(pl.col("found_id").is_null()).then("twice"),
            pl.when(pl.col("found_id").is_null()).then("held"),
            pl.when(
                pl.lit(mapping.number.kind == "reserved"),
                pl.col("key").is_null(),
                pl.col("shown_number").is_not_null(),
            ).then(pl.lit(f"its {field} holds another value where the number belongs: empty the field")),
            pl.when(pl.col("low").is_not_null(), pl.len().over("low") > 1).then(
                pl.format(
                    f"its {field} holds a number that another {{}} holds too: empty it where it is a copy",
                    word,
                )
            ),
            pl.when(pl.col("found_count") > 1).then(
                pl.format(
                    f"{{}} invoices in Xero carry its {said}; void those that are too many", "found_count"
                )
            ),
            pl.when(pl.col("found_id").is_in(taken)).then(
                pl.format(f"the invoice that carries its {said} is another {{}}'s", word)
            ),
            pl.when(pl.col("found_status").is_in(CLOSED)).then(
                pl.format(
                    f"an invoice with its {said} is there already, and is {{}}",
                    pl.col("found_status").str.to_lowercase(),
                )
            ),
        )
    ).drop("low", "found_count")


def _open_by_lock(opened: pl.DataFrame, documents: Documents, mapping: DocumentMapping) -> pl.DataFrame:
    """Stop what would be dated into a period that Xero has locked, or move it to the first day that is open.

    Adds moved_from: the day that it was moved from; null: it was not. One that carries the key already is there.
    """
    until = pl.lit(documents.locked_until, pl.Date)
    locked = (pl.col("date") <= until).fill_null(False) & pl.col("found_id").is_null()
    if mapping.locked == "stop":
        told = pl.format(
            "its date {} lies in a period that Xero has locked up to {}: give it a later date, or open the period "
            "(or set documents.invoice.locked: move)",
            pl.col("date").cast(pl.String), until.cast(pl.String),
        )  # fmt: skip
        return opened.with_columns(
            stop=pl.coalesce("stop", pl.when(locked).then(told)), moved_from=pl.lit(None, pl.Date)
        )
    # A rate of ours, or what was converted by it, is that of the day: on another day it would be another.
    by_day = mapping.currencies is not None and mapping.currencies.rates != "xero"
    rated = locked & pl.col("rated").is_not_null() & pl.lit(by_day)
    why = pl.format(
        "its date {} lies in a period that Xero has locked up to {}, and it has the rate of that day: give it a "
        "later date, or open the period",
        pl.col("date").cast(pl.String), until.cast(pl.String),
    )  # fmt: skip
    opened = opened.with_columns(stop=pl.coalesce("stop", pl.when(rated).then(why)))
    later = pl.when(locked).then(until - pl.col("date") + pl.duration(days=1)).otherwise(pl.duration())
    return opened.with_columns(
        moved_from=pl.when(locked).then("date"), date=pl.col("date") + later, due=pl.col("due") + later
    )


# --- Contacts -----------------------------------------------------------------------------------------


def contacts(accounts: Iterable[str], party: Part, plan: Plan) -> dict[str, Contact]:
    """Say for each account who its invoices are made out to: a linked contact, or one made by this plan."""
    wanted = pl.Series("account", sorted(set(accounts)), dtype=pl.String)
    links = party.matches.links.filter(pl.col("salesforce_id").is_in(wanted.implode()))
    active = _stands(party, "salesforce", wanted)
    there = _stands(party, "xero", links["xero_id"])
    links = links.select("salesforce_id", "xero_id", "link_id")
    linked = {account: (contact, link) for account, contact, link in links.iter_rows()}
    new = party.matches.new["link_id"].implode()
    made = plan.operations.filter(pl.col("entity") == "party")
    makers = made.filter(pl.col("action") == "link", pl.col("link_id").is_in(new))
    first = dict(makers.unique("link_id", keep="first").select("link_id", "operation_id").iter_rows())
    creates = made.filter(pl.col("action") == "create", pl.col("system") == "xero")
    why = _why_alone(party, plan, wanted)
    known = _Known(
        active, there, linked, first, dict(creates.select("source_id", "operation_id").iter_rows()), why
    )
    return {account: _contact(account, known, party) for account in wanted}


@dataclass(frozen=True)
class _Known:
    """What is known of parties: by record where it stands, its link, what makes it, why it has none."""

    accounts: Mapping[str, str]
    contacts: Mapping[str, str]
    linked: Mapping[str, tuple[str, str]]
    link_makers: Mapping[str, str]
    creates: Mapping[str, str]
    why: Mapping[str, str]


def _stands(party: Part, side: str, record_ids: pl.Series) -> dict[str, str]:
    """Record -> active, or why it is not."""
    mine = party.records.filter(pl.col("side") == side, pl.col("record_id").is_in(record_ids.implode()))
    stands = (
        pl.when(pl.col("status") != "active")
        .then(pl.col("status").cast(pl.String))
        .when(pl.col("in_scope").fill_null(False))
        .then(pl.lit("active"))
        .otherwise(pl.lit("out of the mapping's scope"))
    )
    return dict(mine.select("record_id", stands=stands).iter_rows())


def _why_alone(party: Part, plan: Plan, accounts: pl.Series) -> dict[str, str]:
    mine = pl.col("record_id").is_in(accounts.implode())
    alone = party.matches.unmatched.filter(mine, pl.col("side") == "salesforce")
    why = {
        record_id: ALONE.get(reason, "") for record_id, reason in alone.select("record_id", "why").iter_rows()
    }
    asked = plan.review.filter(pl.col("entity") == "party", pl.col("xero_id").is_null())
    why |= dict.fromkeys(asked["salesforce_id"], "waits for a yes to the making of its contact")
    refused = plan.rejects.filter(mine, pl.col("entity") == "party", pl.col("side") == "salesforce")
    for record_id, reason in refused.select("record_id", "reason").iter_rows():
        why[record_id] = why.get(record_id) or f"has no contact, and none can be made of it: {reason}"
    return why


ALONE: Final = {
    "incident": "has ids that contradict each other: its contact is not certain",
    "review": "waits for a decision on its link (`reconcile links review`)",
    "partner_gone": "was linked to a contact that is gone",
    "too_many_alike": "is like too many contacts to be linked",
}


def _contact(account: str, known: _Known, party: Part) -> Contact:
    standing = known.accounts.get(account)
    if standing is None:
        return Contact(reason="its account is not in the snapshot of Salesforce")
    if standing != "active":
        return Contact(reason=f"its account is {standing}")
    if account in known.linked:
        contact_id, link = known.linked[account]
        there = known.contacts.get(contact_id, "not in the snapshot")
        if there != "active":
            return Contact(reason=f"the contact of its account is {there} in Xero")
        return Contact(contact_id=contact_id, depends_on=known.link_makers.get(link))
    if account in known.creates:
        made_by = known.creates[account]
        return Contact(made_by=made_by, depends_on=made_by)
    if known.why.get(account):
        return Contact(reason=f"its account {known.why[account]}")
    policy = party.mapping.create["xero"]
    if policy == "never":
        return Contact(reason="its account has no contact, and the mapping lets none be made")
    return Contact(reason=f"its account has no contact, and none is made of it (create.xero: {policy})")


# --- Items --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemOf:
    """The item that a line names: its code, the operation that makes it, or why there is none."""

    code: str | None = None
    made_by: str | None = None
    reason: str | None = None


NO_ITEMS: Final[Mapping[str, ItemOf]] = {}


def items_of(products: Iterable[str], part: Part | None, plan: Plan) -> dict[str, ItemOf]:
    """Say for each product which item its lines name: the linked one, or one made by this plan."""
    wanted = sorted(set(products))
    if part is None:
        return dict.fromkeys(wanted, ItemOf(reason="needs an item, and products could not be read"))
    unit = part.mapping.code_unit
    codes = part.values.filter(pl.col("unit") == unit.name, pl.col("value").is_not_null())
    code_of = dict(codes.select("record_id", "value").iter_rows())
    linked = dict(part.matches.links.select("salesforce_id", "xero_id").iter_rows())
    active = part.records.filter(pl.col("side") == "xero", pl.col("status") == "active")
    there = set(active["record_id"])
    made = plan.operations.filter(pl.col("entity") == "product", pl.col("action") == "create")
    creates = dict(made.select("source_id", "operation_id").iter_rows())
    refused = plan.rejects.filter(pl.col("entity") == "product", pl.col("side") == "salesforce")
    why = dict(refused.select("record_id", "reason").iter_rows())
    why |= dict(
        part.matches.unmatched.filter(pl.col("why") == "review")
        .select("record_id", pl.lit(TO_REVIEW))
        .iter_rows()
    )
    found: dict[str, ItemOf] = {}
    for product in wanted:
        item = linked.get(product)
        if item in there:
            found[product] = ItemOf(code=code_of.get(item))
        elif product in creates:
            found[product] = ItemOf(code=code_of.get(product), made_by=creates[product])
        else:
            said = why.get(product, "its product can't become one")
            found[product] = ItemOf(reason=f"needs an item, and has none: {said}")
    return found


TO_REVIEW: Final = "its product waits for a decision on its link (`reconcile links review`)"

# --- Operations ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """The operations of documents, and what was set aside."""

    operations: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    found: list[Row] = field(
        default_factory=list
    )  # salesforce_id and xero_id of what is linked without a write


def with_documents(
    plan: Plan,
    documents: Documents,
    found: Standing,
    mapping: DocumentMapping,
    party: Part,
    product: Part | None = None,
) -> Plan:
    """Add to a plan of parties and products what is to be done for documents. product: null: they are not kept."""
    made = document_operations(
        documents,
        found,
        mapping,
        contacts(found.open["account_id"].drop_nulls(), party, plan),
        items_of(found.products(documents.lines), product, plan),
    )
    rows, told = rows_frame(made.operations, OPERATIONS), rows_frame(made.rejects, REJECTS)
    operations = pl.concat([plan.operations, documents.options, with_made_from(rows, documents)])
    operations = with_role(operations, found.open, party, role="is_customer", entity=ENTITY)
    return replace(
        plan,
        operations=operations.sort(pl.col("phase").cast(PHASE).to_physical(), maintain_order=True),
        adopted_links=pl.concat(
            [plan.adopted_links, found.adopted, held_links(ENTITY, rows_frame(made.found, PAIRS))]
        ),
        drift=pl.concat([plan.drift, found.asked]),
        rejects=pl.concat([plan.rejects, documents.rejects, found.rejects, told]),
    )


def with_made_from(operations: pl.DataFrame, documents: Documents) -> pl.DataFrame:
    """Let OPERATIONS whose document is a part, or of several sales, name the records that it is made of."""
    several = documents.headers.filter(pl.col("sources").is_not_null()).select(
        source_id="record_id",
        made_of=pl.col("sources").list.eval(pl.element().struct.field("record_id")),
    )
    joined = operations.join(several, on="source_id", how="left", validate="m:1", maintain_order="left")
    return joined.with_columns(made_from=pl.coalesce("made_from", "made_of")).drop("made_of")


ROLES: Final = {"is_customer": "an invoice", "is_supplier": "a bill"}


def with_role(
    operations: pl.DataFrame, opened: pl.DataFrame, party: Part, *, role: str, entity: str
) -> pl.DataFrame:
    """Show in Salesforce that whoever gets a first invoice is a customer then, or of a first bill a supplier.

    Xero makes a contact a customer with its first sales invoice, so that the next plan would have this left.
    opened: record_id and account_id of what is made of records, as operations of this entity.
    """
    unit = next((one for one in party.mapping.projections if one.from_ == role), None)
    if unit is None:
        return operations
    created = operations.filter(pl.col("entity") == entity, pl.col("action") == "create")
    firsts = (
        created.select(record_id="source_id", made_by="operation_id")
        .join(opened.select("record_id", "account_id"), on="record_id", how="inner", maintain_order="left")
        .unique("account_id", keep="first", maintain_order=True)
    )
    shown = party.projections.filter(
        "observed", pl.col("side") == "salesforce", pl.col("unit") == unit.name
    ).select(account_id="record_id", shown="value", native="native")
    to_show = firsts.join(shown, on="account_id", how="inner", maintain_order="left")
    mine = (pl.col("entity") == "party") & (pl.col("unit") == unit.name)
    already = operations.filter(mine, pl.col("after") == "true")["record_id"]
    # What the plan would show of the contact as it is now is no longer true then.
    stale = mine & (pl.col("after") != "true") & pl.col("record_id").is_in(to_show["account_id"].implode())
    kept = operations.filter(~stale.fill_null(False))
    rows = [
        operation_row(
            "party",
            party.mapping.salesforce.object,
            system="salesforce",
            record_id=row["account_id"],
            source_id=None,
            action="update",
            phase="change",
            unit=unit.name,
            before=row["shown"],
            after="true",
            native_before=row["native"],
            native_after=native_of("true", unit.unit, "salesforce", onto=row["native"]),
            reason=f"{unit.name.replace('_', ' ')}: Salesforce shows what Xero knows once there is {ROLES[role]}",
            rule=f"projection {unit.at}",
            depends_on=row["made_by"],
        )
        for row in to_show.iter_rows(named=True)
        if row["shown"] != "true" and row["account_id"] not in set(already)
    ]
    return pl.concat([kept, rows_frame(rows, OPERATIONS)])


def document_operations(
    documents: Documents,
    found: Standing,
    mapping: DocumentMapping,
    known: Mapping[str, Contact],
    products: Mapping[str, ItemOf] = NO_ITEMS,
) -> Made:
    """Give what is to be done: what links show, invoices taken for theirs, and new ones, in this order.

    known: account -> Contact, of each account of what is open. products: product -> ItemOf, of each product of
    which an item is needed.
    """
    made = Made()
    to_make: list[tuple[dict[str, Any], Contact]] = []
    lines = lines_of(documents.lines, found.open["record_id"].to_list(), products)
    for row in found.open.iter_rows(named=True):
        contact = known.get(row["account_id"], Contact(reason="it has no account"))
        there = row["found_id"] is not None
        stop = contact.reason or (
            _unlike(row, contact, mapping) if there else _no_item(lines[row["record_id"]])
        )
        if stop:
            made.rejects.append(_reject(row["record_id"], stop))
        elif row["found_id"] and row["sources"] is not None:
            made.found.append({"salesforce_id": row["record_id"], "xero_id": row["found_id"]})
        elif row["found_id"]:
            made.operations.append(_adoption(row, contact, mapping))
        else:
            to_make.append((row, contact))
    held = (*documents.invoices["number"], *documents.headers["shown_number"])
    unnumbered = sum(row["key"] is None for row, _ in to_make)
    last = _last_of_each(row for row, _ in to_make)
    numbers = iter(reserved_numbers(mapping.number, held, unnumbered) if unnumbered else ())
    for row, contact in to_make:
        key, reserve = row["key"], row["key"] is None
        made.operations.extend(
            making(
                {**row, "shows": row["form"] == TOGETHER or row["record_id"] in last},
                lines[row["record_id"]],
                contact,
                mapping,
                key=next(numbers) if reserve else key,
                reserve=reserve,
            )
        )
    shown = {row["record_id"] for row in made.operations if row["system"] == "salesforce"}
    linked = pl.concat([found.linked, _taken(made.found, found)])
    again = [row for row in reference_shown(linked, mapping) if row["record_id"] not in shown]
    return replace(made, operations=[*again, *made.operations])


def _taken(pairs: Sequence[Row], found: Standing) -> pl.DataFrame:
    """Give what was found by its number, and needs no write to be linked, as rows of `Standing.linked`."""
    links = held_links(ENTITY, rows_frame(pairs, PAIRS)).select("link_id", record_id="salesforce_id")
    return found.open.join(links, on="record_id", how="inner", maintain_order="left").select(
        found.linked.columns
    )


def _last_of_each(rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Give, of each sale, the last of its documents: it is what is shown."""
    return frozenset(
        {one.partition(":")[0]: one for one in sorted(row["record_id"] for row in rows)}.values()
    )


def _reject(record_id: str, reason: str) -> Row:
    return {
        "stage": "plan",
        "entity": ENTITY,
        "side": "salesforce",
        "record_id": record_id,
        "unit": "record",
        "reason": reason,
    }


def lines_of(
    lines: pl.DataFrame, record_ids: list[str], products: Mapping[str, ItemOf] = NO_ITEMS
) -> dict[str, list[dict[str, Any]]]:
    """Give the lines of documents; those of a product whose item is known or made, with that item."""
    found: dict[str, list[dict[str, Any]]] = {record_id: [] for record_id in record_ids}
    for line in lines.filter(pl.col("document_id").is_in(record_ids)).iter_rows(named=True):
        found[line["document_id"]].append(with_item(line, products))
    return found


def with_item(line: dict[str, Any], products: Mapping[str, ItemOf]) -> dict[str, Any]:
    """Give a line with the item of its product, or why it has none, where that is known."""
    item = products.get(line["product_id"])
    if item is None:
        return line
    return line | {"item": item.code, "item_made_by": item.made_by, "no_item": item.reason}


def _no_item(lines: list[dict[str, Any]]) -> str | None:
    """Say which line lacks the item that it needs; null: none."""
    return next((f"its line {one['position']} {one['no_item']}" for one in lines if one.get("no_item")), None)


# -- What is there already


def _desired(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "id": row["found_id"],
        "number": row["found_number"],
        "status": row["found_status"] or None,
        "url": INVOICE_URL + row["found_id"],
    }


def _unlike(row: Mapping[str, Any], contact: Contact, mapping: DocumentMapping) -> str | None:
    """Say in what an invoice that carries the document's key differs from it; null: it agrees."""
    differences: list[str] = []
    if row["found_contact"] != contact.contact_id:
        differences.append("it is made out to another contact")
    if row["found_currency"] is not None and row["found_currency"] != row["currency"]:
        differences.append(f"its currency is {row['found_currency']}, not {row['currency']}")
    for name in ("subtotal", "total"):
        here, there = row[name], row[f"found_{name}"]
        if here is not None and there != here:
            less = (
                f"a difference of {spelled(there - here, places=2)}" if there is not None else "none is told"
            )
            differences.append(
                f"its {name} is {spelled(there, places=2)}, not {spelled(here, places=2)} ({less})"
            )
    said = "Reference" if mapping.number.kind == "xero" else "number"
    return (
        f"an invoice with its {said} is there already, and {'; '.join(differences)}" if differences else None
    )


def _to_show(
    row: Mapping[str, Any], desired: Mapping[str, str | None], mapping: DocumentMapping
) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Give what the opportunity shows and should show instead, field by field, where they differ."""
    now = {name: row[f"shown_{name}"] for name in _names_shown(row, mapping)}
    unlike = [name for name in now if now[name] != desired[name]]
    return {name: now[name] for name in unlike}, {name: desired[name] for name in unlike}


def _names_shown(row: Mapping[str, Any], mapping: DocumentMapping) -> list[str]:
    """Give what a sale shows. Of what is billed together no id and no number: they are unique to one sale."""
    return [name for name in mapping.link.fields if name not in UNIQUE or row["form"] != TOGETHER]


def _by_field(values: Mapping[str, Any], mapping: DocumentMapping) -> str:
    return dumps({mapping.link.fields[name]: value for name, value in values.items()})


def _shows_otherwise(mapping: DocumentMapping) -> pl.Expr:
    """Whether a linked opportunity shows anything else than what is true of its invoice."""
    desired = {
        "id": pl.col("found_id"),
        "number": pl.col("found_number"),
        "status": pl.when(pl.col("found_status") != "").then("found_status"),
        "url": INVOICE_URL + pl.col("found_id"),
    }
    alone = pl.col("form").ne_missing(TOGETHER)
    return pl.any_horizontal(
        pl.col(f"shown_{name}").ne_missing(desired[name]) & (alone | pl.lit(name not in UNIQUE))
        for name in mapping.link.fields
    )


def reference_shown(linked: pl.DataFrame, mapping: DocumentMapping) -> list[Row]:
    """Give the operations that show on opportunities what is true of their invoices, where they show another thing.

    Takes rows as `Standing.linked`; made_by, where there is one: the operation that makes it true. A sale that is
    billed in parts shows the last one that has an invoice; each of those that are billed together shows theirs.
    """
    showing = pl.concat([linked.filter(pl.col("sources").is_null()), _by_sale(linked)])
    return [
        _shown_again(row, mapping) for row in showing.filter(_shows_otherwise(mapping)).iter_rows(named=True)
    ]


def _by_sale(documents: pl.DataFrame) -> pl.DataFrame:
    """Give a row for each sale of which parts or a month were billed: the last document of each, with what it shows."""
    several = documents.filter(pl.col("sources").is_not_null()).sort("record_id")
    each = several.with_columns(source="sources").explode("source", empty_as_null=False)
    named = each.with_columns(pl.col("source").struct.field(name) for name in SOURCE)
    return named.unique("record_id", keep="last", maintain_order=True).select(documents.columns)


def _shown_again(row: Mapping[str, Any], mapping: DocumentMapping) -> Row:
    mapping = mapping.of(row["record_id"])
    now, then = _to_show(row, _desired(row), mapping)
    return operation_row(
        ENTITY,
        mapping.salesforce,
        system="salesforce",
        record_id=row["record_id"],
        source_id=row["found_id"],
        link_id=row["link_id"],
        action="update",
        phase="change",
        unit="reference",
        before=dumps(now),
        after=dumps(then),
        native_before=_by_field(now, mapping),
        native_after=_by_field(then, mapping),
        reason=f"the {mapping.source.word} shows what is true of its invoice: {', '.join(sorted(then))}",
        rule=f"projection {mapping.at}",
        depends_on=row.get("made_by"),
    )


def _adoption(row: Mapping[str, Any], contact: Contact, mapping: DocumentMapping) -> Row:
    mapping = mapping.of(row["record_id"])
    now, then = _to_show(row, _desired(row), mapping)
    return operation_row(
        ENTITY,
        mapping.salesforce,
        system="salesforce",
        record_id=row["record_id"],
        source_id=row["found_id"],
        link_id=f"{ENTITY}:{row['record_id']}:{row['found_id']}",
        action="link",
        phase="link",
        unit="reference",
        before=None,
        after=row["found_id"],
        native_before=_by_field(now, mapping),
        native_after=_by_field(then, mapping),
        reason=f"an invoice that carries its {mapping.number.key_field} is there, and agrees with it",
        rule="natural_key",
        match_rule="natural_key",
        score=1.0,
        evidence="{}",
        depends_on=contact.depends_on,
    )


# -- What is made


def making(
    row: Mapping[str, Any],
    lines: list[dict[str, Any]],
    contact: Contact,
    mapping: DocumentMapping,
    *,
    key: str,
    reserve: bool,
) -> list[Row]:
    """Give the operations that make an invoice: its reservation, where there is one, the invoice, the link back.

    Takes a row of DOCUMENTS and its DOCUMENT_LINES; key: what the invoice is found again by.
    """
    made: list[Row] = []
    first, mapping = contact.depends_on, mapping.of(row["record_id"])
    if reserve:
        made.append(_reservation(row, key, mapping, first))
        first = made[-1]["operation_id"]
    who: Any = contact.contact_id or {"$from": contact.made_by}
    create = operation_row(
        ENTITY,
        mapping.xero,
        system="xero",
        record_id=None,
        source_id=row["record_id"],
        action="create",
        phase="create",
        unit="record",
        after=dumps(invoice_told(row, lines, who, mapping, key)),
        native_after=dumps(_body(row, lines, who, mapping, key)),
        reason=_why_made(row, lines, mapping),
        rule=mapping.at,
        match_rule="create",
        score=1.0,
        evidence=evidence_of(lines),
        depends_on=first,
    )
    if row["sources"] is not None:
        return [*made, create, *_shown_by(row, create["operation_id"], mapping)]
    return [*made, create, _link_back(row, create["operation_id"], mapping)]


def _shown_by(row: Mapping[str, Any], made_by: str, mapping: DocumentMapping) -> list[Row]:
    """Show the new invoice on each sale that it is made of; of parts on the last one that is made."""
    shown: list[Row] = []
    for source in row["sources"] if row["shows"] else ():
        of = mapping.of(source["record_id"])
        how = {"action": "update", "phase": "change", "rule": f"projection {of.at}"}
        shown.append(_shows_new(source, _names_shown(row, of), made_by, of, **how))
    return shown


def _shows_new(
    row: Mapping[str, Any], names: Sequence[str], made_by: str, mapping: DocumentMapping, **how: Any
) -> Row:
    """Show these of a new invoice on a sale, which is given with what it shows now."""
    told = _told_of_new(made_by)
    return operation_row(
        ENTITY,
        mapping.salesforce,
        system="salesforce",
        record_id=row["record_id"],
        source_id=None,
        unit="reference",
        before=None,
        after=dumps(told["id"]),
        native_before=_by_field({name: row[f"shown_{name}"] for name in names}, mapping),
        native_after=_by_field({name: told[name] for name in names}, mapping),
        reason="it shows the invoice that is made of it",
        depends_on=made_by,
        **how,
    )


def _told_of_new(made_by: str) -> dict[str, Any]:
    """Give what is shown of an invoice that an operation makes."""
    return {
        "id": {"$from": made_by},
        **{name: {"$from": made_by, "field": field} for name, field in SHOWN.items()},
        "url": {"$from": made_by, "prefix": INVOICE_URL},
    }


def _why_made(row: Mapping[str, Any], lines: list[dict[str, Any]], mapping: DocumentMapping) -> str:
    why = f"this {mapping.source.word} is {mapping.source.closed}, and has no invoice"
    moved = row["moved_from"]
    why += f"; its date {moved} lies in a locked period, and is moved to {row['date']}" if moved else ""
    let_go = f"A person let it go, though {row['released']}" if row["released"] else None
    more = [said for said in (let_go, codes_in_words(lines), row["rated"]) if said]
    return ". ".join([why, *more])


def _reservation(row: Mapping[str, Any], number: str, mapping: DocumentMapping, first: str | None) -> Row:
    field = str(mapping.link.number)
    return operation_row(
        ENTITY,
        mapping.salesforce,
        system="salesforce",
        record_id=row["record_id"],
        source_id=None,
        action="update",
        phase="create",
        unit="number",
        before=None,
        after=number,
        native_before=dumps({field: None}),
        native_after=dumps({field: number}),
        reason="the next number is kept for its invoice",
        rule=mapping.at,
        depends_on=first,
    )


def _link_back(row: Mapping[str, Any], made_by: str, mapping: DocumentMapping) -> Row:
    """Show the new invoice on its opportunity."""
    # A reserved number stands there already when this is written.
    names = [name for name in mapping.link.fields if (name, mapping.number.kind) != ("number", "reserved")]
    how = {"action": "link", "phase": "create", "rule": "create", "match_rule": "create", "evidence": "{}"}
    return _shows_new(row, names, made_by, mapping, score=1.0, **how)


def _body(
    row: Mapping[str, Any], lines: list[dict[str, Any]], who: Any, mapping: DocumentMapping, key: str
) -> dict[str, Any]:
    """Give the invoice as it is sent. Its contact is its id alone: more would change the contact."""
    by_reference = mapping.number.kind == "xero"
    body: dict[str, Any] = {
        "Type": "ACCREC",
        "Contact": {"ContactID": who},
        "Date": row["date"].isoformat(),
        "DueDate": row["due"] and row["due"].isoformat(),
        "LineAmountTypes": LINE_AMOUNT_TYPES[mapping.line_amounts],
        "InvoiceNumber": None if by_reference else key,
        "Reference": key if by_reference else row["reference"],
        "CurrencyCode": row["stated_currency"],
        "CurrencyRate": row["currency_rate"] and exact(row["currency_rate"]),
        "Status": row["status"],
        "BrandingThemeID": row["branding"],
        "LineItems": [line_body(line) for line in lines],
    }
    return {name: value for name, value in body.items() if value is not None}


def line_body(line: Mapping[str, Any]) -> dict[str, Any]:
    """Give a line of an invoice or credit note as it is sent."""
    made_by = line.get("item_made_by")
    body = {
        "Description": line["description"],
        "Quantity": exact(line["quantity"]),
        "UnitAmount": exact(line["unit_price"]),
        "DiscountRate": exact(line["discount"]) if line["discount"] else None,
        "AccountCode": line["account"],
        "TaxType": line["tax"],
        "ItemCode": {"$from": made_by, "field": "Code"} if made_by else line["item"],
        "Tracking": loads(line["tracking"]) if line["tracking"] else None,
    }
    return {name: value for name, value in body.items() if value is not None}


def invoice_told(
    row: Mapping[str, Any], lines: list[dict[str, Any]], who: Any, mapping: DocumentMapping, key: str | None
) -> dict[str, Any]:
    """Give the invoice in canonical form: amounts are texts; null: left to Xero. Takes what `making` does."""
    by_reference = mapping.number.kind == "xero"
    rate = {"currency_rate": spelled(row["currency_rate"])} if row["currency_rate"] else {}
    return {
        "number": None if by_reference else key,
        "reference": key if by_reference else row["reference"],
        "contact": who,
        "date": row["date"].isoformat(),
        "due": row["due"] and row["due"].isoformat(),
        "currency": row["currency"],
        **rate,
        "status": row["status"],
        **({"branding": row["branding"]} if row["branding"] else {}),
        "subtotal": spelled(row["subtotal"], places=2),
        "total_tax": spelled(row["total_tax"], places=2),
        "total": spelled(row["total"], places=2),
        "lines": [line_told(line) for line in lines],
    }


def line_told(line: Mapping[str, Any]) -> dict[str, Any]:
    """Give a line in canonical form."""
    return {
        "description": line["description"],
        "quantity": spelled(line["quantity"]),
        "unit_price": spelled(line["unit_price"], places=2),
        "discount": spelled(line["discount"]),
        "account": line["account"],
        "tax": line["tax"],
        "item": line["item"],
        **({"tracking": said(loads(line["tracking"]))} if line["tracking"] else {}),
        "amount": spelled(line["amount"], places=2),
    }


# --- For checks and names -------------------------------------------------------------------------------


def document_records(documents: Documents, mapping: DocumentMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give RECORDS and VALUES (the names) of opportunities and invoices."""
    closed = pl.col("status").is_in(CLOSED)
    ours = documents.headers.select(
        "record_id",
        "in_scope",
        side=pl.lit("salesforce"),
        object=mapping.object(),
        status=pl.when("gone").then(pl.lit("deleted")).otherwise(pl.lit("active")),
        parent_id="account_id",
    )
    theirs = documents.invoices.select(
        "record_id",
        side=pl.lit("xero"),
        object=pl.lit(mapping.xero),
        status=pl.when(closed).then(pl.lit("archived")).otherwise(pl.lit("active")),
        parent_id="contact_id",
        in_scope=pl.lit(True),
    )
    # Of what is billed in parts, or together, the sales too: they show what is made of them.
    sales = (
        documents.headers.select("gone", "account_id", "in_scope", source="sources")
        .drop_nulls("source")
        .explode("source", empty_as_null=False)
        .unnest("source")
        .unique("record_id", keep="first", maintain_order=True)
    )
    sold = sales.select(
        "record_id",
        "in_scope",
        side=pl.lit("salesforce"),
        object=mapping.object(),
        status=pl.when("gone").then(pl.lit("deleted")).otherwise(pl.lit("active")),
        parent_id="account_id",
    )
    records = pl.concat(
        [conform(frame.with_columns(entity=pl.lit(ENTITY)), RECORDS) for frame in (ours, sold, theirs)]
    )
    names = [frame.select("record_id", "name") for frame in (documents.headers, sales)]
    named = (
        pl.concat(names)
        .drop_nulls("name")
        .select(
            "record_id",
            entity=pl.lit(ENTITY),
            side=pl.lit("salesforce"),
            unit=pl.lit("name"),
            kind=pl.lit("text"),
            value="name",
            observed=pl.lit(True),
        )
    )
    return records, conform(named, VALUES)

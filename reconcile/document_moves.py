"""Turns what becomes of made invoices into operations, questions and told rows of a plan.

`moves` decides by its table; here stands what a plan makes of it, where the mapping says `changes: move`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.agreed import LINES, UNIT, WITHDRAWN, invoice_piece, invoice_texts
from reconcile.bodies import dumps, loads
from reconcile.credits import Credits, credit_number, credit_operations, other_credit
from reconcile.documents import Documents
from reconcile.grouping import document_key
from reconcile.invoices import (
    ENTITY,
    LINE_AMOUNT_TYPES,
    Standing,
    contacts,
    derived_number,
    items_of,
    making,
    reference_shown,
    with_item,
    with_made_from,
)
from reconcile.mapped import DocumentMapping
from reconcile.merge import difference_fingerprint
from reconcile.model import (
    BASE_MOVES,
    BASES,
    DOCUMENT_LINES,
    DRIFT,
    INVOICE_STATE,
    LINE_LINKS,
    OPERATIONS,
    PHASE,
    REJECTS,
    SOURCE_STATE,
    conform,
    empty,
    rows_frame,
)
from reconcile.moves import (
    CHANGE_WORDS,
    STATUS_OF,
    Linked,
    agreed_values,
    call_bodies,
    decide_moves,
    pair_lines,
    read_invoices,
)
from reconcile.operations import Part, Row, operation_row
from reconcile.plan import Plan

PAIR: Final = ["document_id", "link_id", "invoice_id"]
ITEM_TO_COME: Final = "needs an item that this plan makes: the next one has it"
OTHER_CREDIT: Final = (
    "{}, and its credit note {} is of what it came to before: throw that away in Xero (`reconcile plan --full` sees it "
    "gone), or make good there what is left"
)
LEFT_ALONE: Final = ("accept_drift", "xero_wins")  # what lets both sides stand as they are


@dataclass(frozen=True)
class Known:
    """What is known besides the documents: LINKS, BASES and DECISIONS of the journal, RAW by "side.object"."""

    links: pl.DataFrame
    bases: pl.DataFrame
    decisions: pl.DataFrame
    raw: Mapping[str, pl.DataFrame]


def with_fresh_bodies(invoices: pl.DataFrame, links: pl.DataFrame, bases: pl.DataFrame) -> pl.DataFrame:
    """Give RAW invoices in which a row older than its base says what the base says.

    Xero may not list what we deleted: then the row before our write stands in the snapshot for good.
    """
    stamped = (
        bases.filter(pl.col("unit") == UNIT, pl.col("side").cast(pl.String) == "xero")
        .join(links.select("link_id", "xero_id"), on="link_id", how="inner", validate="m:1")
        .select("stamp", record_id=pl.col("xero_id").str.to_lowercase(), piece="native")
    )
    rows = invoices.join(
        stamped.unique("record_id", keep="last"),
        on="record_id",
        how="left",
        validate="m:1",
        maintain_order="left",
    )
    stale = (pl.col("modified_at") < pl.col("stamp")).fill_null(False)
    fresh = [
        dumps({**loads(body), **loads(piece)})
        for body, piece in rows.filter(stale).select("body", "piece").iter_rows()
    ]
    if not fresh:
        return invoices
    bodies = rows["body"].scatter(rows.select(stale.arg_true()).to_series(), fresh)
    return invoices.with_columns(body=bodies)


# --- The plan ----------------------------------------------------------------------------------------------


def with_moves(
    plan: Plan,
    documents: Documents,
    found: Standing,
    mapping: DocumentMapping,
    known: Known,
    party: Part,
    product: Part | None = None,
    credits: Credits | None = None,
) -> Plan:
    """Add to a plan what becomes of the invoices whose sources changed, and what made ones start from.

    Takes the plan with its documents, and what they were planned from. Order kept; new operations come last in
    their phase. credits: null: no credit note is made. Raises nothing: what can't be done is in rejects, what is
    asked in drift and conflicts.
    """
    of = _Sources(plan, documents, mapping, known, party, product)
    linked = of.books(_linked(found, known.links))
    decided = _decided(linked, of, known, credits or Credits())
    made = _operations(decided, linked, of)
    noted, unnoted = credit_operations(
        decided.filter("acts", pl.col("call") == "credit"), linked, of.bodies, mapping, credits or Credits()
    )
    remade = _remade(decided, made, of)
    again = {row["record_id"] for row in remade if row["system"] == "salesforce"}
    shown = [row for row in _shown(made, found, mapping) if row["record_id"] not in again]
    rewritten = again | {row["record_id"] for row in shown}
    operations = plan.operations.filter(
        ~(_of_documents("salesforce", "update") & pl.col("record_id").is_in(list(rewritten))).fill_null(False)
    )
    mine = with_made_from(rows_frame([*made, *remade, *noted, *shown], OPERATIONS), documents)
    operations = pl.concat([operations, mine])
    return replace(
        plan,
        operations=_with_sources(operations, of).sort(
            pl.col("phase").cast(PHASE).to_physical(), maintain_order=True
        ),
        adopted_moves=pl.concat([plan.adopted_moves, _settled(decided, linked, of)]),
        moves=pl.concat([plan.moves, _as_found(plan.operations, of)]),
        drift=pl.concat([plan.drift, _standing(decided).filter(pl.col("why") != "conflict")]),
        conflicts=pl.concat([plan.conflicts, _standing(decided).filter(pl.col("why") == "conflict")]),
        rejects=pl.concat([plan.rejects, _told(decided), _unnoted(unnoted)]),
    )


def _of_documents(system: str, action: str) -> pl.Expr:
    same = (pl.col("entity").cast(pl.String) == ENTITY) & (pl.col("action").cast(pl.String) == action)
    return same & (pl.col("system").cast(pl.String) == system)


def _linked(found: Standing, links: pl.DataFrame) -> pl.DataFrame:
    """Give PAIR rows of all documents that have an invoice, those that were just adopted too."""
    mine = links.filter(
        pl.col("entity").cast(pl.String) == ENTITY, pl.col("status").cast(pl.String) == "linked"
    )
    both = pl.concat([frame.select("link_id", "salesforce_id", "xero_id") for frame in (mine, found.adopted)])
    pairs = both.select(
        "link_id", document_id="salesforce_id", invoice_id=pl.col("xero_id").str.to_lowercase()
    )
    # One to one, whatever the journal was told: the rest is for a person.
    alone = pairs.select(PAIR).unique("invoice_id", keep="first", maintain_order=True)
    return alone.unique("document_id", keep="first", maintain_order=True)


class _Sources:
    """Opportunities and their invoices as `moves` takes them."""

    def __init__(
        self,
        plan: Plan,
        documents: Documents,
        mapping: DocumentMapping,
        known: Known,
        party: Part,
        product: Part | None,
    ) -> None:
        self.mapping, self._documents = mapping, documents
        self._bases = conform(known.bases, BASES)
        self._contacts = contacts(documents.headers["account_id"].drop_nulls(), party, plan)
        products = documents.lines["product_id"].drop_nulls()
        self._items = items_of(products, product, plan) if products.len() else {}
        self.bodies = _bodies(known.raw[f"xero.{mapping.xero}"], known.links, plan)
        self.locked_until = documents.locked_until

    def books(self, pairs: pl.DataFrame) -> Linked:
        """Take PAIR rows; an opportunity that is not in the snapshot is left out."""
        invoices, invoice_lines = read_invoices(
            self.bodies[one] for one in pairs["invoice_id"] if one in self.bodies
        )
        lines, faults = self._lines()
        sources = self._headers(faults).join(pairs, on="document_id", how="inner", validate="1:1")
        numbers = invoices["number"].to_list()
        revisions = [_revision(number, self.mapping) for number in numbers]
        bases, line_links = self._texts(pairs), self._line_links(pairs)
        return Linked(
            sources=conform(
                sources.join(bases.select("link_id", base="source"), on="link_id", how="left"), SOURCE_STATE
            ),
            source_lines=_titled(lines, line_links, invoice_lines),
            invoices=conform(
                invoices.with_columns(revision=pl.Series(revisions, dtype=pl.Int64))
                .drop("base")
                .join(
                    bases.select("invoice_id", base="invoice"), on="invoice_id", how="left", validate="1:1"
                ),
                INVOICE_STATE,
            ),
            invoice_lines=invoice_lines,
            line_links=line_links,
        )

    def making(self, document_id: str, key: str) -> list[Row]:
        """Give the operations that make an invoice of that number, and show it on its opportunity."""
        header = self._documents.headers.row(by_predicate=pl.col("record_id") == document_id, named=True)
        mine = self._documents.lines.filter(pl.col("document_id") == document_id)
        lines = [with_item(line, self._items) for line in mine.iter_rows(named=True)]
        contact = self._contacts[header["account_id"]]
        return making(
            {**header, "moved_from": None, "shows": True},
            lines,
            contact,
            self.mapping,
            key=key,
            reserve=False,
        )

    def _headers(self, faults: pl.DataFrame) -> pl.DataFrame:
        by_account = rows_frame(
            [
                {"account_id": account, "contact_id": one.contact_id, "no_contact": one.reason}
                for account, one in self._contacts.items()
            ],
            {"account_id": pl.String, "contact_id": pl.String, "no_contact": pl.String},
        )
        by_reference = self.mapping.number.kind == "xero"
        until = pl.lit(self.locked_until, pl.Date)
        moved = pl.lit(self.mapping.locked == "move") & (pl.col("date") <= until).fill_null(False)
        key = document_key(self.mapping.number.prefix, pl.col("record_id"))
        headers = self._documents.headers.join(by_account, on="account_id", how="left", validate="m:1")
        return headers.join(
            faults, left_on="record_id", right_on="document_id", how="left", validate="1:1"
        ).select(
            "won",
            "gone",
            "in_scope",
            "due_by_date",
            "currency",
            # What is dated into a locked period is made later, and keeps that day.
            pl.when(~moved).then("date").alias("date"),
            pl.when(~moved).then("due").alias("due"),
            "subtotal",
            "total",
            "contact_id",
            document_id="record_id",
            reference=key if by_reference else pl.col("reference"),
            line_amounts=pl.lit(LINE_AMOUNT_TYPES[self.mapping.line_amounts]),
            reason=pl.coalesce("reason", "no_item", "no_contact"),
        )

    def _lines(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Give the lines with the items that they name, and by document why a line has none."""
        lines = self._documents.lines
        items = rows_frame(
            [
                {"product_id": product, "code": one.code, "why": one.reason or (one.made_by and ITEM_TO_COME)}
                for product, one in self._items.items()
            ],
            {"product_id": pl.String, "code": pl.String, "why": pl.String},
        ).with_columns(needed=pl.lit(True))
        found = lines.join(items, on="product_id", how="left", validate="m:1", maintain_order="left")
        told = found.drop_nulls("why").select(
            "document_id", no_item=pl.format("its line {} {}", "position", "why")
        )
        named = found.with_columns(item=pl.when("needed").then("code").otherwise("item"))
        return conform(named, DOCUMENT_LINES), told.unique("document_id", keep="first", maintain_order=True)

    def _texts(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Give PAIR rows with source and invoice: what both said when they last agreed; null: not known."""
        kept = self._bases.filter(pl.col("unit") == UNIT)
        ours = kept.filter(pl.col("side") == "salesforce").select("link_id", source="native")
        theirs = (
            kept.filter(pl.col("side") == "xero").drop_nulls("native").join(pairs, on="link_id", how="semi")
        )
        texts = invoice_texts([loads(piece) for piece in theirs["native"]])
        told = theirs.select("link_id", invoice=pl.Series(texts, dtype=pl.String))
        both = pairs.join(ours, on="link_id", how="left", validate="1:1")
        return both.join(told, on="link_id", how="left", validate="1:1")

    def _line_links(self, pairs: pl.DataFrame) -> pl.DataFrame:
        kept = self._bases.filter(pl.col("unit") == LINES, pl.col("side") == "xero").drop_nulls("native")
        mine = pairs.join(kept, on="link_id", how="inner", validate="1:1").select("document_id", "native")
        rows = [
            {"document_id": document, "line_id": ours, "line_item_id": theirs}
            for document, native in mine.iter_rows()
            for ours, theirs in loads(native).items()
        ]
        return rows_frame(rows, LINE_LINKS)


def _titled(lines: pl.DataFrame, links: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Let a line that goes by its name keep the description that its invoice's line has, where that ends its name.

    Salesforce names a line after its opportunity when it is made. Once the opportunity has another name, nothing
    else tells where in it the product's begins.
    """
    known = links.join(
        found.select("line_item_id", found_text=names.folded(pl.col("description"))),
        on="line_item_id",
        how="inner",
        validate="m:1",
    ).select("line_id", "found_text")
    joined = lines.join(known, on="line_id", how="left", validate="m:1", maintain_order="left")
    ends = pl.col("title").str.ends_with(pl.lit(" ") + pl.col("found_text")).fill_null(False)
    description = pl.when(ends).then("found_text").otherwise("description")
    return conform(joined.with_columns(description=description), DOCUMENT_LINES)


def _bodies(invoices: pl.DataFrame, links: pl.DataFrame, plan: Plan) -> dict[str, Row]:
    """Give the invoices of documents, parsed, by id in small letters."""
    adopted = plan.operations.filter(_of_documents("salesforce", "link"))["source_id"]
    wanted = (
        pl.concat([links["xero_id"], plan.adopted_links["xero_id"], adopted]).drop_nulls().str.to_lowercase()
    )
    low = pl.col("record_id").str.to_lowercase()
    mine = invoices.filter(~pl.col("deleted").fill_null(False), low.is_in(wanted.implode())).select(
        low, "body"
    )
    return {record_id: loads(body) for record_id, body in mine.iter_rows()}


def _revision(number: str | None, mapping: DocumentMapping) -> int:
    """Read the revision of a number that was derived from its source's id."""
    pattern = rf"{re.escape(mapping.number.prefix)}{mapping.ids}-(\d{{1,6}})"
    match = re.fullmatch(pattern, number or "", re.IGNORECASE)
    return int(match[1]) if match else 1


# --- What was decided --------------------------------------------------------------------------------------


def _decided(linked: Linked, of: _Sources, known: Known, credits: Credits) -> pl.DataFrame:
    """Give MOVES with source and invoice (what both say), said (a person's decision), acts and credit_number.

    A decision holds while both sides still say what they said then. A difference whose credit note is there is let
    stand: what becomes of the note is decided in Xero. One of another difference is told, and nothing is done before
    somebody took it away: it makes up for a part of this one, or for what is no difference any more.
    """
    moves = decide_moves(linked, withdraw=of.mapping.withdraw, locked_until=of.locked_until)
    values = agreed_values(linked)
    both = moves.join(values, on="document_id", how="left", validate="1:1", maintain_order="left")
    said = known.decisions.filter(
        pl.col("entity").cast(pl.String) == ENTITY,
        pl.col("unit") == UNIT,
        pl.col("fingerprint").is_not_null(),
    ).select(
        document_id="salesforce_id",
        invoice_id=pl.col("xero_id").str.to_lowercase(),
        said="kind",
        mark="fingerprint",
    )
    near = both.join(
        said, on=["document_id", "invoice_id"], how="left", validate="1:m", maintain_order="left"
    )
    marks = [difference_fingerprint(*pair) for pair in near.select("source", "invoice").iter_rows()]
    near = near.with_columns(fingerprint=pl.Series(marks, dtype=pl.String)).with_columns(
        said=pl.when(pl.col("fingerprint") == pl.col("mark")).then("said"),
        credit_number=credit_number(of.mapping.number.prefix, pl.col("document_id"), pl.col("fingerprint")),
    )
    last = _credited_otherwise(
        near.sort(pl.col("said").is_null(), maintain_order=True).unique(
            "document_id", keep="first", maintain_order=True
        ),
        credits,
    )
    free = pl.col("needs") == "nothing"
    allowed = (pl.col("needs") == "approval") & (pl.col("said") == "salesforce_wins").fill_null(False)
    noted = pl.col("credit_number").str.to_lowercase().is_in(list(credits.numbers))
    noted = (pl.col("call") == "credit") & allowed & noted.fill_null(False)
    acts = _makeable(of.mapping) & (free | allowed) & ~noted
    left = ((pl.col("move") != "keep") & pl.col("said").is_in(LEFT_ALONE).fill_null(False)) | noted
    with_marks = last.drop("mark", "fingerprint").with_columns(
        makeable=_makeable(of.mapping), acts=acts, left=left
    )
    return with_marks.sort("document_id")


def _credited_otherwise(decided: pl.DataFrame, credits: Credits) -> pl.DataFrame:
    """Let nothing be done about an invoice, approved or voided, that has a credit note of ours of another difference.

    What is refused is told as it is.
    """
    stood = pl.col("rule").str.contains(r"^(authorised|part_settled|paid|locked|voided|deleted) x ")
    known = pl.col("rule").str.contains(r" x (agreed|out_of_scope|drifted)")
    refused = pl.col("move").cast(pl.String) == "refuse"
    told = stood & ~known & ~refused & pl.col("other_credit").is_not_null()
    change = (
        pl.col("rule")
        .str.extract(r" x (\w+)")
        .replace_strict(CHANGE_WORDS, default=None, return_dtype=pl.String)
    )
    asked = decided.with_columns(other_credit=other_credit(pl.col("credit_number"), credits))
    return asked.with_columns(
        move=pl.when(told).then(pl.lit("tell")).otherwise("move"),
        call=pl.when(told).then(pl.lit("none")).otherwise("call"),
        needs=pl.when(told).then(pl.lit("mending")).otherwise("needs"),
        rule=pl.when(told).then(pl.concat_str("rule", pl.lit(", credited_otherwise"))).otherwise("rule"),
        reason=pl.when(told).then(pl.format(OTHER_CREDIT, change, "other_credit")).otherwise("reason"),
    ).drop("other_credit")


MADE: Final = ("update", "delete", "void")


def _makeable(mapping: DocumentMapping) -> pl.Expr:
    """Whether we make a call where it is allowed; else a person does it in Xero.

    A new invoice in the place of one that stands no more needs a number that tells so: a derived one.
    """
    credited = pl.col("rule").str.starts_with("credited x ")  # it is paid, and stays as it is
    remade = (pl.col("call") == "remake") & pl.lit(mapping.number.kind == "derived") & ~credited
    noted = (pl.col("call") == "credit") & pl.lit(mapping.credits == "draft")
    return pl.col("call").is_in(list(MADE)) | remade | noted


# --- Operations --------------------------------------------------------------------------------------------


def _operations(decided: pl.DataFrame, linked: Linked, of: _Sources) -> list[Row]:
    # One that is made again is voided first, where it stands.
    voided = pl.when((pl.col("call") == "remake") & pl.col("rule").str.starts_with("authorised x ")).then(
        pl.lit("void")
    )
    acting = decided.filter("acts").with_columns(
        call=pl.coalesce(voided, pl.col("call").cast(pl.String)), remade=pl.col("call") == "remake"
    )
    acting = acting.filter(~pl.col("call").is_in(["remake", "credit"]))
    if acting.is_empty():
        return []
    sent = call_bodies(linked, acting)
    lines = _line_order(linked)
    return [
        _operation(row, sent[row["document_id"]], lines.get(row["document_id"], []), of)
        for row in acting.iter_rows(named=True)
    ]


def _line_order(linked: Linked) -> dict[str, list[str]]:
    """The ids of each source's lines, in the order in which they are sent."""
    ordered = (
        pair_lines(linked).drop_nulls("line_id").group_by("document_id", maintain_order=True).agg("line_id")
    )
    return dict(ordered.iter_rows())


def _operation(row: Row, sent: Mapping[str, Any], lines: list[str], of: _Sources) -> Row:
    body = of.bodies[row["invoice_id"]]
    changes = row["call"] == "update"
    status = STATUS_OF.get(row["call"])
    said = "" if row["said"] is None else "a person decided: "
    return operation_row(
        ENTITY,
        of.mapping.xero,
        system="xero",
        record_id=row["invoice_id"],
        source_id=row["document_id"],
        link_id=row["link_id"],
        action="update",
        phase="change",
        unit=UNIT if changes else WITHDRAWN,
        before=row["invoice"] if changes else body.get("Status"),
        after=row["source"] if changes else status,
        native_before=invoice_piece(body),
        native_after=dumps({name: value for name, value in sent.items() if name != "InvoiceID"}),
        # Both agree only with the next one: should that not be made, the voided one must not seem to be as it should.
        source_native=dumps({UNIT: None if row["remade"] else row["source"], LINES: lines}),
        reason=said + row["reason"],
        rule=f"{of.mapping.at}: {row['rule']}",
    )


def _remade(decided: pl.DataFrame, made: Sequence[Row], of: _Sources) -> list[Row]:
    """Make the next invoice of each opportunity whose invoice is voided by this plan, or stands no more."""
    wanted = decided.filter("acts", pl.col("call") == "remake")
    voids = {row["source_id"]: row["operation_id"] for row in made if row["unit"] == WITHDRAWN}
    rows: list[Row] = []
    for one in wanted.iter_rows(named=True):
        key = derived_number(of.mapping.number.prefix, one["document_id"], loads(one["after"])["revision"])
        create, *link_back = of.making(one["document_id"], key)
        reason = f"a person decided: {one['reason']}"
        create |= {"depends_on": voids.get(one["document_id"]), "reason": reason}
        rows += [create, *link_back]
    return rows


def _shown(made: Sequence[Row], found: Standing, mapping: DocumentMapping) -> list[Row]:
    """Show on opportunities the status that their withdrawn invoices get.

    The next plan would have this left: one after an apply is to be empty.
    """
    withdrawn = rows_frame(
        [
            {"record_id": row["source_id"], "status": row["after"], "made_by": row["operation_id"]}
            for row in made
            if row["unit"] == WITHDRAWN
        ],
        {"record_id": pl.String, "status": pl.String, "made_by": pl.String},
    )
    rows = found.linked.drop("status").join(withdrawn, on="record_id", how="inner", maintain_order="left")
    return reference_shown(rows.with_columns(found_status="status"), mapping)


def _with_sources(operations: pl.DataFrame, of: _Sources) -> pl.DataFrame:
    """Let invoices that are made know what they are made of: it is the base that they start with."""
    made = operations.filter(_of_documents("xero", "create")).select("operation_id", document_id="source_id")
    if made.is_empty():
        return operations
    pairs = made.select("document_id", link_id="document_id", invoice_id="document_id")
    linked = of.books(pairs)
    lines = _line_order(linked)
    told = agreed_values(linked).select("document_id", "source").iter_rows()
    natives = [
        {"document_id": document, "told": dumps({UNIT: source, LINES: lines.get(document, [])})}
        for document, source in told
    ]
    known = made.join(rows_frame(natives, {"document_id": pl.String, "told": pl.String}), on="document_id")
    with_told = operations.join(
        known.select("operation_id", "told"),
        on="operation_id",
        how="left",
        validate="1:1",
        maintain_order="left",
    )
    return with_told.with_columns(source_native=pl.coalesce("told", "source_native")).drop("told")


# --- What was agreed ---------------------------------------------------------------------------------------


def _settled(decided: pl.DataFrame, linked: Linked, of: _Sources) -> pl.DataFrame:
    """Give BASE_MOVES of what agrees, or was let stand by a person, and is not known so yet."""
    in_scope = ~pl.col("rule").str.ends_with(" x out_of_scope")
    kept = decided.filter(((pl.col("move") == "keep") & in_scope) | pl.col("left"))
    known = (
        kept.join(linked.sources.select("document_id", ours="base"), on="document_id", validate="1:1")
        .join(linked.invoices.select("invoice_id", theirs="base"), on="invoice_id", validate="1:1")
        .join(_lines_paired(linked), on="document_id", how="left", validate="1:1")
        .join(_native_of(linked.line_links, "known"), on="document_id", how="left", validate="1:1")
    )
    same = pl.col("source").eq_missing("ours") & pl.col("invoice").eq_missing("theirs")
    same &= pl.col("lines").fill_null("{}") == pl.col("known").fill_null("{}")
    kind = pl.when("left").then(pl.lit("accepted")).otherwise(pl.lit("agreed"))
    return _base_moves(known.filter(~same).with_columns(base_kind=kind), of)


def _as_found(operations: pl.DataFrame, of: _Sources) -> pl.DataFrame:
    """Give BASE_MOVES of invoices that are adopted by their number: both sides as they were found."""
    adopted = operations.filter(_of_documents("salesforce", "link"), pl.col("phase") == "link")
    if adopted.is_empty():
        return empty(BASE_MOVES)
    pairs = adopted.select("link_id", document_id="record_id", invoice_id="source_id").select(PAIR)
    linked = of.books(pairs)
    found = (
        linked.sources.select(PAIR)
        .join(agreed_values(linked), on="document_id", validate="1:1")
        .join(_lines_paired(linked), on="document_id", how="left", validate="1:1")
    )
    return _base_moves(found.with_columns(base_kind=pl.lit("as_found")), of)


def _base_moves(rows: pl.DataFrame, of: _Sources) -> pl.DataFrame:
    """Give BASE_MOVES of rows with PAIR, base_kind, source (what it says) and lines (their links, as JSON)."""
    pieces = [invoice_piece(of.bodies[one]) for one in rows["invoice_id"]]
    named = rows.select(
        "link_id",
        "base_kind",
        "source",
        "lines",
        entity=pl.lit(ENTITY),
        salesforce_id="document_id",
        xero_id="invoice_id",
        piece=pl.Series(pieces, dtype=pl.String),
    )
    units = [
        named.with_columns(unit=pl.lit(UNIT), salesforce_native="source", xero_native="piece"),
        named.with_columns(unit=pl.lit(LINES), xero_native=pl.col("lines").fill_null("{}")),
    ]
    return pl.concat([conform(one, BASE_MOVES) for one in units])


def _lines_paired(linked: Linked) -> pl.DataFrame:
    return _native_of(pair_lines(linked).drop_nulls(["line_id", "line_item_id"]), "lines")


def _native_of(links: pl.DataFrame, name: str) -> pl.DataFrame:
    """Give one row a document: its line links as JSON with sorted keys, in a column of that name."""
    found: dict[str, dict[str, str]] = {}
    for document, ours, theirs in links.select(list(LINE_LINKS)).iter_rows():
        found.setdefault(document, {})[ours] = theirs
    rows = [{"document_id": document, name: dumps(pairs)} for document, pairs in found.items()]
    return rows_frame(rows, {"document_id": pl.String, name: pl.String})


# --- What is asked and told --------------------------------------------------------------------------------


def _open(decided: pl.DataFrame) -> pl.DataFrame:
    return decided.filter(~pl.col("acts"), ~pl.col("left"), pl.col("move") != "keep")


def _standing(decided: pl.DataFrame) -> pl.DataFrame:
    """Give DRIFT of what a person is asked for, or may let stand; refusals have nothing to decide."""
    rule = pl.col("rule")
    both = rule.str.contains("both_changed", literal=True)
    drifted = rule.str.ends_with(" x drifted")
    open_ = _open(decided).filter(pl.col("move") != "refuse")
    return conform(
        open_.select(
            "link_id",
            "invoice",
            entity=pl.lit(ENTITY),
            unit=pl.lit(UNIT),
            salesforce_id="document_id",
            xero_id="invoice_id",
            salesforce="source",
            xero="invoice",
            direction=pl.when(both).then(pl.lit("both")).when(drifted).then(pl.lit("xero")).otherwise(pl.lit("salesforce")),
            why=pl.when(both)
            .then(pl.lit("conflict"))
            .when(drifted)
            .then(pl.lit("flows_against"))
            .when(pl.col("needs") == "approval")
            .then(pl.lit("waits_for_decision"))
            .otherwise(pl.lit("policy_report")),
        ),
        DRIFT,
    )  # fmt: skip


def _told(decided: pl.DataFrame) -> pl.DataFrame:
    """Give REJECTS of what is not done: asked, told or refused, each with what a person can do."""
    told = _open(decided).select(
        stage=pl.lit("plan"),
        entity=pl.lit(ENTITY),
        side=pl.lit("salesforce"),
        record_id="document_id",
        unit=pl.lit("record"),
        reason=pl.concat_str("reason", _next_step()),
    )
    return conform(told, REJECTS)


def _unnoted(why: Mapping[str, str]) -> pl.DataFrame:
    """Give REJECTS of credit notes that a person said yes to, and that we can't make."""
    rows = [
        {
            "stage": "plan",
            "entity": ENTITY,
            "side": "salesforce",
            "record_id": document_id,
            "unit": "record",
            "reason": f"no credit note can be made by us: {reason}. Make it in Xero, then leave both as they are by "
            f"`reconcile resolve {document_id} {UNIT} --take neither`",
        }
        for document_id, reason in why.items()
    ]
    return rows_frame(rows, REJECTS)


def _next_step() -> pl.Expr:
    resolve = pl.format("`reconcile resolve {} " + UNIT + " --take", "document_id")
    stand = pl.format("leave both as they are by {} neither`", resolve)
    return (
        pl.when(pl.col("move") == "refuse")
        .then(pl.lit(""))
        .when(pl.col("needs") == "mending")
        .then(pl.format("; or {}", stand))
        .when(pl.col("makeable") & (pl.col("call") == "credit"))
        .then(
            pl.format(
                ". It would be {}, a draft. Say yes by {} salesforce`, or {}", _credit(), resolve, stand
            )
        )
        .when("makeable")
        .then(pl.format(". Say yes by {} salesforce`, or {}", resolve, stand))
        .when(pl.col("call") == "credit")
        .then(pl.format(". It would be {}. Make it in Xero, then {}", _credit(), stand))
        .otherwise(pl.format(". Make it in Xero, then {}", stand))
    )


def _credit() -> pl.Expr:
    amount = pl.col("after").str.json_path_match("$.credit")
    excluded = pl.col("after").str.json_path_match("$.tax") == "excluded"
    taxed = pl.when(excluded).then(pl.lit(" and its tax")).otherwise(pl.lit(""))
    return pl.coalesce(pl.format("of {}{}", amount, taxed), pl.lit("of an amount that nobody can tell here"))

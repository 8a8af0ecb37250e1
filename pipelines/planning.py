"""Makes a plan of the snapshot at hand: decide, check, seal.

(raw) -> canonicalise -> match -> merge -> build_plan -> documents -> check -> seal
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines import plans, weighing
from pipelines.additions import Addition, nothing_planned, unread
from pipelines.billing import PARTY, Bills, bill_suppliers, billed_accounts
from pipelines.context import Context
from pipelines.enrolling import group_contacts
from pipelines.journal import PlanRow
from pipelines.journal_written import made_since
from pipelines.paying import pay_invoices
from pipelines.plans import Planned, earliest
from pipelines.settling import Settling, day_of, report_tables, settle_books
from pipelines.xero.source import REFERENCES
from reconcile import model
from reconcile.closing import Closed, close_books, not_closed
from reconcile.coding import NOBODY, Past
from reconcile.credits import OBJECT as CREDIT_NOTE
from reconcile.credits import Credits, credit_numbers
from reconcile.document_moves import Known, with_fresh_bodies, with_moves
from reconcile.document_rates import rates_wanted
from reconcile.documents import Documents, canonical_documents, rated_documents
from reconcile.drift import standing as unit_standing
from reconcile.drift import with_age
from reconcile.errors import (
    CheckStopped,
    FixData,
    PlanUnusable,
)
from reconcile.holds import with_holds
from reconcile.invoices import Standing, document_records, standing, with_documents, with_role
from reconcile.mapped import GROUP_OBJECT, MEMBERSHIP, SHOWN_UNIT, WHOLE_OF, BillMapping, DocumentMapping
from reconcile.mapping import EntityMapping, check_mapping
from reconcile.match import match
from reconcile.memberships import UNIT as GROUPS_UNIT
from reconcile.merge import merge, recent_writes
from reconcile.normalise import Canonical, base_values, canonicalise
from reconcile.plan import (
    Part,
    Plan,
    beyond_limits,
    build_plan,
    invoice_contacts,
    part_of,
    plan_hash,
    with_dependents,
    without_unneeded,
)
from reconcile.price import Terms, calls, minutes, price
from reconcile.prices import BOOKS, ORGANISATION, in_price_book
from reconcile.terms import due_by_terms
from reconcile.traffic import billed, recent_rows, row_weights, traffic

if TYPE_CHECKING:
    from pipelines.warehouse import Snapshot, Warehouse


RECENT_WRITES = 8  # of one unit: enough to see it go back and forth three times


@dataclass(frozen=True)
class Decided:
    """What the decisions of one run gave, before the checks."""

    plan: Plan
    parts: tuple[Part, ...]
    fields: pl.DataFrame
    raw: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    invoicing: Invoicing | None = None  # null: no invoices, or what they are made of could not be read
    settling: Settling | None = None  # null: the mapping does not ask for it
    payments: Addition | None = None  # likewise
    bills: Bills | None = None  # likewise
    enrolling: Addition | None = None  # likewise

    @property
    def additions(self) -> tuple[Addition, ...]:
        found = (self.settling, self.payments, self.bills, self.enrolling)
        return tuple(one for one in found if one is not None)

    @property
    def records(self) -> pl.DataFrame:
        more = [self.invoicing.records] if self.invoicing else []
        more += [one.records for one in self.additions]
        return pl.concat([*(part.records for part in self.parts), *more])

    @property
    def values(self) -> pl.DataFrame:
        more = [self.invoicing.names] if self.invoicing else []
        more += [one.names for one in self.additions]
        return pl.concat([*(part.values for part in self.parts), *more])

    @property
    def links(self) -> pl.DataFrame:
        """LINKS that hold in this run: those that the journal knows, and those just found."""
        found = [model.conform(part.matches.links, model.LINKS) for part in self.parts]
        return pl.concat([*found, *([self.invoicing.links] if self.invoicing else [])])

    @property
    def on_demand(self) -> frozenset[str]:
        """The operations that make a contact or an item for no other reason than a document."""
        return frozenset().union(*(one.on_demand for one in (self.invoicing, self.bills) if one))


@dataclass(frozen=True)
class Invoicing:
    """What was decided about documents, beside the plan.

    raw: RAW by "side.object". records RECORDS, names VALUES, links LINKS, of documents. on_demand: operations
    that make a contact or an item for no other reason than a document.
    """

    raw: Mapping[str, pl.DataFrame]
    documents: Documents
    standing: Standing
    records: pl.DataFrame
    names: pl.DataFrame
    links: pl.DataFrame
    on_demand: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PlanOptions:
    """allowed: checks of a whole that a person lets pass this once. retry_refused: try what was refused again."""

    allowed: frozenset[str] = frozenset()
    retry_refused: bool = False


def make_plan(ctx: Context, warehouse: Warehouse, options: PlanOptions) -> Planned:
    basis = _basis(ctx, warehouse)
    last = last_plan(ctx)
    settled = last is not None and not (last.waits or last.errors or _snapshot(warehouse).errors)
    settled = settled and options == PlanOptions()
    if last is not None and settled and last.basis == basis:
        ctx.progress("nothing has moved since the last plan")
        return last
    ctx.progress("deciding: canonical, match, merge, plan")
    decided = _with_additions(ctx, warehouse, decide(ctx, warehouse))
    decided = _without_failed(ctx, decided, _snapshot(warehouse).errors)
    decided = _only_needed(decided if options.retry_refused else _without_refused(ctx, decided))
    kept, rejects, findings = check(
        ctx, warehouse, decided, raw_moved=_raw_moved(last, basis), allowed=options.allowed
    )
    at_fault = _ids_at_fault(findings)
    _adopt(ctx, decided.plan, at_fault)
    planned = _seal(ctx, warehouse, decided, kept, rejects, findings)
    _remember(ctx, warehouse, planned, decided)
    return planned


def _basis(ctx: Context, warehouse: Warehouse) -> dict[str, Any]:
    """What the decisions rest on; the same basis gives the same plan."""
    day = day_of(ctx, warehouse)
    return {
        **({"day": day.isoformat()} if day else {}),  # what is overdue moves with it
        **({"asked": ctx.now().isoformat()} if _asks_a_service(ctx) else {}),  # it may say something else
        "raw": _snapshot(warehouse).content_id,
        "schema": hashlib.sha256(warehouse.fields().write_ndjson().encode()).hexdigest(),
        "mapping": ctx.mapping.hash,
        "journal": ctx.journal.sequence(),
        "region": ctx.settings.pair.region,
    }


def _asks_a_service(ctx: Context) -> bool:
    invoice = ctx.mapping.invoice
    return invoice is not None and invoice.currencies is not None and bool(invoice.currencies.service)


def _snapshot(warehouse: Warehouse) -> Snapshot:
    snapshot = warehouse.snapshot()
    if snapshot is None:
        raise FixData(
            "there is no snapshot yet. Run `reconcile pull`, or `reconcile plan` without --no-pull."
        )
    return snapshot


def _raw_moved(last: Planned | None, basis: Mapping[str, Any]) -> bool:
    return last is None or last.basis.get("raw") != basis["raw"]


def last_plan(ctx: Context) -> Planned | None:
    for row in ctx.journal.plans(limit=1):
        try:
            return replace(stored(ctx, row), state=row.state)
        except PlanUnusable:
            return None
    return None


def stored(ctx: Context, row: PlanRow) -> Planned:
    return plans.load(ctx.plans_folder, row.plan_hash, seal=row.manifest.get("seal"))


def decide(ctx: Context, warehouse: Warehouse) -> Decided:
    """Canonical, match, merge and plan over the snapshot at hand; no writes anywhere."""
    fields = warehouse.fields()
    unmade = _unread(ctx, _snapshot(warehouse))
    lacking = _unread_products(ctx, _snapshot(warehouse))
    entities = {name: one for name, one in ctx.mapping.entities.items() if not (lacking and one.is_item)}
    documents = {} if unmade else _readable_documents(ctx, _snapshot(warehouse))
    bill = _readable_bill(ctx, _snapshot(warehouse))
    check_mapping(replace(ctx.mapping, entities=entities, documents=documents, bill=bill), fields)
    suppliers = billed_accounts(ctx, warehouse, _snapshot(warehouse))
    written = ctx.journal.recent(limit=RECENT_WRITES)
    decisions, bases, links_known = ctx.journal.decisions(), ctx.journal.bases(), ctx.journal.links()
    parts: list[Part] = []
    links_of: dict[str, pl.DataFrame] = {}
    raw: dict[str, pl.DataFrame] = {}
    for entity in model.MERGED:
        if entity not in entities:
            continue
        entity_mapping = entities[entity]
        sides = {side: _canonical(ctx, warehouse, entity_mapping, side, raw) for side in model.SIDES}
        records = pl.concat([sides[side].records for side in model.SIDES])
        values = pl.concat([sides[side].values for side in model.SIDES])
        known = links_known.filter(pl.col("entity") == entity)
        matches = match(
            records,
            values,
            known,
            decisions.filter(pl.col("entity") == entity),
            entity=entity,
            parents=links_of.get(WHOLE_OF.get(entity, "")),
        )
        links_of[entity] = matches.links
        with_values = base_values(
            bases,
            matches.links,
            entity_mapping,
            sides["salesforce"],
            sides["xero"],
            region=ctx.settings.pair.region,
        )
        merged = merge(
            entity_mapping,
            matches.links,
            records,
            values,
            with_values,
            decisions.filter(pl.col("entity") == entity),
            recent=recent_writes(
                written,
                matches.links,
                entity_mapping,
                sides["salesforce"],
                sides["xero"],
                region=ctx.settings.pair.region,
            ),
        )
        parts.append(part_of(entity_mapping, sides["salesforce"], sides["xero"], matches, merged))
    unplanned = _told_unread("product", "products", lacking) if lacking else model.empty(model.REJECTS)
    if ctx.mapping.invoice is None or unmade:
        plan = build_plan(parts, fields, decisions, suppliers)
        if unmade:
            plan = _telling(plan, _told_unread("document", "invoices", unmade))
        plan = _telling(plan, unplanned)
        return Decided(plan, tuple(parts), fields, raw)
    past = _past(ctx, ctx.mapping.invoice, links_of["party"])
    invoicing = _invoicing(
        ctx.mapping.invoice, warehouse, links_known, bases, decisions, raw, links_of["party"], past,
        day_of(ctx, warehouse),
    )  # fmt: skip
    accounts = invoicing.standing.accounts | suppliers
    needed = accounts, invoicing.standing.products(invoicing.documents.lines)
    plan = _telling(build_plan(parts, fields, decisions, *needed), unplanned)
    decided = Decided(plan, tuple(parts), fields, raw, invoicing)
    known = Known(links_known, bases, decisions, invoicing.raw)
    credits = _credits(ctx, warehouse, ctx.mapping.invoice, invoicing.documents.locked_until)
    return _with_invoices(ctx.mapping.invoice, decided, invoicing, known, credits)


def _past(ctx: Context, mapping: DocumentMapping, parties: pl.DataFrame) -> Past:
    """Give what codes are inferred by. parties: the links of this run."""
    if mapping.codes is None or mapping.codes.infer is None:
        return NOBODY
    contacts = parties.select(account_id="salesforce_id", contact_id=pl.col("xero_id").str.to_lowercase())
    since = ctx.now().date() - timedelta(days=mapping.codes.infer.history_days)
    return Past(contacts, since)


def _invoicing(
    mapping: DocumentMapping,
    warehouse: Warehouse,
    links: pl.DataFrame,
    bases: pl.DataFrame,
    decisions: pl.DataFrame,
    seen: Mapping[str, pl.DataFrame],
    parties: pl.DataFrame,
    past: Past,
    today: date | None,
) -> Invoicing:
    """Read what invoices are made of, and say where each opportunity stands. parties: LINKS."""
    raw = {name: warehouse.raw(*name.split(".")) for name in mapping.objects}
    if mapping.moves:
        raw[f"xero.{mapping.xero}"] = with_fresh_bodies(raw[f"xero.{mapping.xero}"], links, bases)
    known = model.conform(links.filter(pl.col("entity") == "document"), model.LINKS)
    documents = _canonical_documents(raw, mapping, past, known, today)
    if mapping.by_terms:
        documents = due_by_terms(documents, parties, {**seen, **raw})
    documents = with_holds(documents, decisions, mapping)
    found = standing(documents, links, mapping)
    records, named = document_records(documents, mapping)
    return Invoicing(
        raw=raw,
        documents=documents,
        standing=found,
        records=records,
        names=named,
        links=pl.concat([known, found.adopted]),
    )


def _canonical_documents(
    raw: Mapping[str, pl.DataFrame],
    mapping: DocumentMapping,
    past: Past,
    links: pl.DataFrame,
    today: date | None,
) -> Documents:
    """Read the documents; where their rates are a service's, ask it for those of their days."""
    documents = canonical_documents(raw, mapping, past, links=links, today=today)
    policy = mapping.currencies
    if policy is None or not policy.service:
        return documents
    from pipelines.rate_service import ask_service, load_service

    service = load_service(policy.service, at=policy.at)
    base = documents.base_currency
    wanted = rates_wanted(documents.headers, base_currency=base) if base else []
    stated, told = ask_service(service, policy.service, base or "", wanted)
    documents = rated_documents(documents, raw, mapping, stated)
    return replace(documents, rejects=pl.concat([documents.rejects, told]))


def _credits(
    ctx: Context, warehouse: Warehouse, mapping: DocumentMapping, locked_until: date | None
) -> Credits:
    """Give what credit notes are made by; without a day none is made, as where the mapping does not let them."""
    name = f"xero.{CREDIT_NOTE}"
    snapshot = _snapshot(warehouse)
    numbers, standing = credit_numbers(warehouse.raw("xero", CREDIT_NOTE))
    if mapping.credits != "draft" or name in snapshot.errors or name not in snapshot.complete_as_of:
        return Credits(None, numbers, standing)  # those that were known still stand in the way
    return Credits(day_of(ctx, warehouse), numbers, standing, locked_until)


def _with_invoices(
    mapping: DocumentMapping, decided: Decided, invoicing: Invoicing, known: Known, credits: Credits
) -> Decided:
    """Plan invoices, of what the plan says of parties."""
    plan = decided.plan
    parts = {part.mapping.entity: part for part in decided.parts}
    asked = [name for name in ("party", "product") if name in parts]
    demanded = [name for name in asked if parts[name].mapping.create["xero"] == "on_demand"]
    on_demand = plan.operations.filter(
        pl.col("entity").is_in(demanded), pl.col("system") == "xero", pl.col("action") == "create"
    )["operation_id"]
    made_from = (invoicing.documents, invoicing.standing, mapping)
    kept = (parts["party"], parts.get("product"))
    plan = with_documents(plan, *made_from, *kept)
    if mapping.moves:
        plan = with_moves(plan, *made_from, known, *kept, credits)
    return replace(
        decided,
        plan=plan,
        raw={**decided.raw, **invoicing.raw},
        invoicing=replace(
            invoicing, on_demand=frozenset([*on_demand, *invoicing.documents.options["operation_id"]])
        ),
    )


# What each adds rests on what those before it planned: payments on what is due, groups on links.
SUBJECTS: Final = {
    "settling": settle_books,
    "payments": pay_invoices,
    "bills": bill_suppliers,
    "enrolling": group_contacts,
}


def _with_additions(ctx: Context, warehouse: Warehouse, decided: Decided) -> Decided:
    """Plan, beside customers, products and invoices, what the mapping asks for of each subject."""
    for name, subject in SUBJECTS.items():
        found = subject(ctx, warehouse, _snapshot(warehouse), decided)
        if found is not None:
            decided = _adding(decided, name, found)
    return decided


def _adding(decided: Decided, name: str, found: Addition) -> Decided:
    plan = _telling(decided.plan, found.rejects)
    operations = pl.concat([plan.operations, found.operations])
    if isinstance(found, Bills) and found.opened is not None:
        party = next(part for part in decided.parts if part.mapping.entity == PARTY)
        operations = with_role(operations, found.opened, party, role="is_supplier", entity="bill")
    plan = replace(
        plan,
        operations=operations,
        adopted_links=pl.concat([plan.adopted_links, found.adopted]),
        conflicts=pl.concat([plan.conflicts, found.asked]),
    )
    return replace(decided, plan=plan, raw={**decided.raw, **found.raw}, **{name: found})  # type: ignore[arg-type]


def _unread(ctx: Context, snapshot: Snapshot) -> dict[str, str]:
    """Give, of the objects that invoices are made of, those that this snapshot lacks, and why."""
    if ctx.mapping.invoice is None:
        return {}
    return {
        name: snapshot.errors.get(name, "it was not read yet")
        for name in ctx.mapping.invoice.objects
        if name in snapshot.errors or name not in snapshot.complete_as_of
    }


def _readable_documents(ctx: Context, snapshot: Snapshot) -> Mapping[str, DocumentMapping]:
    """Give the mapping's documents; without payments where what was taken can't be read, which is told by itself."""
    invoice, payments = ctx.mapping.invoice, ctx.mapping.payments
    if invoice is None or payments is None or not unread(snapshot, "salesforce", (payments.salesforce,)):
        return ctx.mapping.documents
    return {**ctx.mapping.documents, "invoice": replace(invoice, payments=None)}


def _readable_bill(ctx: Context, snapshot: Snapshot) -> BillMapping | None:
    """Give how bills are made; null where what they are made of can't be read, which is told by itself."""
    bill = ctx.mapping.bill
    return None if bill is None or unread(snapshot, "salesforce", (bill.salesforce,)) else bill


def _unread_products(ctx: Context, snapshot: Snapshot) -> dict[str, str]:
    """Give, of the objects of products and prices, those that no snapshot has yet, and why."""
    named = [one for one in ctx.mapping.entities.values() if one.is_item]
    objects = {f"{side}.{one.side(side).object}" for one in named for side in model.SIDES}
    objects |= {BOOKS, ORGANISATION} if any(one.entity == "price" for one in named) else set()
    return {
        name: snapshot.errors.get(name, "it was not read yet")
        for name in sorted(objects)
        if name not in snapshot.complete_as_of
    }


def _told_unread(entity: str, what: str, missing: Mapping[str, str]) -> pl.DataFrame:
    return nothing_planned(entity, f"nothing is planned for {what}: {'; '.join(missing)} could not be read")


def _telling(plan: Plan, rejects: pl.DataFrame) -> Plan:
    return replace(plan, rejects=pl.concat([plan.rejects, rejects]))


def _only_needed(decided: Decided) -> Decided:
    if not decided.on_demand:
        return decided
    kept = without_unneeded(decided.plan.operations, decided.on_demand)
    return replace(decided, plan=replace(decided.plan, operations=kept))


def _without_refused(ctx: Context, decided: Decided) -> Decided:
    """Leave out what a vendor refused in this very form, with what depends on it, and tell of it.

    An operation's id says what it does: when a value or the mapping changes it is another one, and tried.
    """
    operations = decided.plan.operations
    refused = operations.join(ctx.journal.dead_letters().select("operation_id", "message"), on="operation_id")
    if refused.is_empty():
        return decided
    out = with_dependents(operations, refused["operation_id"])
    said = pl.format(
        "it was refused: {}. Mend it there, then run `reconcile plan --retry`",
        pl.col("message").str.strip_chars_end(". "),
    )
    left_out = operations.filter(pl.col("operation_id").is_in(list(out)))
    told = left_out.join(
        refused.select("operation_id", pl.col("message").fill_null("")), on="operation_id", how="left"
    ).select(
        stage=pl.lit("push"),
        entity=pl.col("entity").cast(pl.String),
        side=pl.col("system").cast(pl.String),
        record_id=pl.coalesce("record_id", "source_id"),
        unit="unit",
        reason=pl.coalesce(said, pl.lit("what it depends on was refused; it is planned when that is made")),
    )
    kept = operations.filter(~pl.col("operation_id").is_in(list(out)))
    rejects = pl.concat([decided.plan.rejects, model.conform(told, model.REJECTS)])
    return replace(decided, plan=replace(decided.plan, operations=kept, rejects=rejects))


def _without_failed(ctx: Context, decided: Decided, errors: Mapping[str, str]) -> Decided:
    """Plan nothing for an entity whose snapshot is not of this pull, nor for what depends on it."""
    failed = [
        name
        for name, entity in ctx.mapping.entities.items()
        if any(f"{side}.{entity.side(side).object}" in errors for side in model.SIDES)
        or (name == "price" and {BOOKS, ORGANISATION} & errors.keys())
    ]
    if "party" in failed:
        failed += [
            *({"person"} & ctx.mapping.entities.keys()),
            *(["document"] if ctx.mapping.invoice else []),
            *([MEMBERSHIP] if ctx.mapping.groups else []),
            *(["bill"] if ctx.mapping.bill else []),
        ]
    if "product" in failed:
        invoice = ctx.mapping.invoice
        items = invoice is not None and any(one.items == "on_demand" for one in invoice.sources)
        failed += [*({"price"} & ctx.mapping.entities.keys()), *(["document"] if items else [])]
    failed += ["credit"] if "document" in failed else []
    failed += ["payment"] if ctx.mapping.payments is not None and "document" in failed else []
    failed = list(dict.fromkeys(failed))
    if not failed:
        return decided
    plan, held = decided.plan, pl.col("entity").cast(pl.String).is_in(failed)
    reasons = [
        {
            "stage": "pull",
            "entity": name,
            "reason": f"nothing is planned for {name}: {'; '.join(errors)} could not be read",
        }
        for name in failed
    ]
    told = model.conform(pl.DataFrame(reasons), model.REJECTS)
    return replace(
        decided,
        plan=replace(
            plan,
            operations=plan.operations.filter(~held),
            adopted_links=plan.adopted_links.filter(~held),
            adopted_moves=plan.adopted_moves.filter(~held),
            moves=plan.moves.filter(~held),
            rejects=pl.concat([plan.rejects, told]),
        ),
    )


def _canonical(
    ctx: Context, warehouse: Warehouse, entity: EntityMapping, side: str, seen: dict[str, pl.DataFrame]
) -> Canonical:
    object_name = entity.side(side).object
    name = f"{side}.{object_name}"
    if name not in seen:
        seen[name] = warehouse.raw(side, object_name)
    found = canonicalise(
        seen[name],
        entity,
        side,
        observed=warehouse.observed(side, object_name),
        region=ctx.settings.pair.region,
    )
    if (entity.entity, side) != ("price", "salesforce"):
        return found
    for other in (BOOKS, ORGANISATION):
        if other not in seen:
            seen[other] = warehouse.raw(*other.split("."))
    return in_price_book(found, seen, entity)


# --- check -----------------------------------------------------------------------------------------------


def check(
    ctx: Context,
    warehouse: Warehouse,
    decided: Decided,
    *,
    raw_moved: bool,
    allowed: frozenset[str] = frozenset(),
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Check raw, canonical and plan; give the operations that remain, what was set aside, the findings.

    Great Expectations is not loaded where no row arrived and no operation is planned.
    allowed: checks of a whole that a person lets pass this once; they warn.
    Raises CheckStopped where a critical expectation failed for the whole, or one could not run.
    """
    from expectations.checks import run_checks, set_aside, stopped, verdict
    from expectations.runner import Passed

    operations = decided.plan.operations
    if operations.is_empty() and not raw_moved:
        return operations, model.empty(model.REJECTS), model.empty(model.FINDINGS)
    ctx.progress("checking: raw, canonical, plan")
    snapshot = _snapshot(warehouse)
    last = last_plan(ctx)
    limits = ctx.settings.limits
    now = ctx.now()
    passed = Passed(before=warehouse.passed_checks(by=now))
    found = [
        run_checks(
            "raw",
            {name: frame for name, frame in decided.raw.items() if name not in NOT_CHECKED},
            {
                "now": now,
                "previous_rows": dict(last.rows) if last else {},
                "complete_as_of": snapshot.complete_as_of,
                "smallest_share": ctx.settings.pull.smallest_share,
                "allowed": allowed,
            },
            passed,
        ),
        run_checks(
            "canonical",
            {"records": decided.records, "values": decided.values, **_open_documents(decided)},
            {"allowed": allowed},
            passed,
        ),
        run_checks(
            "plan",
            {
                "operations": operations,
                "links": decided.links,
                "records": decided.records,
                "values": decided.values,
                "fields": decided.fields,
                **_invoices_there(decided),
            },
            {
                **_invoice_rules(ctx),
                "max_operations": limits.max_operations,
                "max_share": limits.max_share,
                # An opportunity's reference to its invoice follows Xero as a projection does; who is in a group
                # follows Salesforce likewise.
                "projections": [
                    "reference",
                    GROUPS_UNIT,
                    SHOWN_UNIT,
                    *(p.name for entity in ctx.mapping.entities.values() for p in entity.projections),
                ],
                "allowed": allowed,
            },
            passed,
        ),
    ]
    warehouse.keep_passed(passed.now, at=now)
    findings = pl.concat(found)
    if verdict(findings) == "stop":
        raise CheckStopped(stopped(findings))
    kept, rejects = set_aside(operations, _with_documents_of_lines(decided, findings))
    if decided.on_demand:
        kept = without_unneeded(kept, decided.on_demand)
    return kept, rejects, findings


NOT_CHECKED: Final = frozenset(
    f"xero.{name}" for name in (*REFERENCES, GROUP_OBJECT)
)  # short lists, some without ids and times


def _open_documents(decided: Decided) -> dict[str, pl.DataFrame]:
    """Give the documents that are to be made, with their lines."""
    if decided.invoicing is None:
        return {}
    opened = decided.invoicing.standing.open.select(list(model.DOCUMENTS))
    lines = decided.invoicing.documents.lines.join(
        opened, left_on="document_id", right_on="record_id", how="semi"
    )
    return {"documents": opened, "lines": lines}


def _invoices_there(decided: Decided) -> dict[str, pl.DataFrame]:
    """Give what the invoices, payments and bills of the plan are held against."""
    there = {} if decided.invoicing is None else {"invoices": decided.invoicing.documents.invoices}
    there |= {} if decided.bills is None else {"bills": decided.bills.there}
    known = decided.settling.known if decided.settling else None
    if decided.payments is None or known is None:
        return there
    return {**there, "owed": known.invoices, "settlements": known.ledger.settlements}


def _invoice_rules(ctx: Context) -> dict[str, Any]:
    mapping = ctx.mapping.invoice
    if mapping is None:
        return {}
    return {
        "cut_over": str(mapping.cut_over),
        "key_field": mapping.number.key_field,
        "inclusive": mapping.line_amounts == "inclusive",
    }


def _with_documents_of_lines(decided: Decided, findings: pl.DataFrame) -> pl.DataFrame:
    """Let a line's fault be its document's: no operation knows the id of a line."""
    if decided.invoicing is None or findings["passed"].all():
        return findings
    failed = findings.filter(~pl.col("passed"))["record_ids"].explode()
    lines = decided.invoicing.documents.lines.filter(pl.col("line_id").is_in(failed.implode()))
    owner = dict(lines.select("line_id", "document_id").iter_rows())
    if not owner:
        return findings
    named = pl.col("record_ids").list.eval(pl.element().replace(owner))
    return findings.with_columns(record_ids=named)


def _ids_at_fault(findings: pl.DataFrame) -> frozenset[str]:
    if findings.is_empty():
        return frozenset()
    from expectations.checks import ids_at_fault

    return ids_at_fault(findings)


def _adopt(ctx: Context, plan: Plan, at_fault: frozenset[str]) -> None:
    """Take into the journal what holds on both sides already and needs no remote write."""
    sound = ~pl.col("salesforce_id").is_in(list(at_fault)) & ~pl.col("xero_id").is_in(list(at_fault))
    with ctx.leased() as lease:
        ctx.journal.adopt(plan.adopted_links.filter(sound), plan.adopted_moves.filter(sound), lease=lease)


# --- seal ------------------------------------------------------------------------------------------------


def _seal(
    ctx: Context,
    warehouse: Warehouse,
    decided: Decided,
    operations: pl.DataFrame,
    set_aside: pl.DataFrame,
    findings: pl.DataFrame,
    undoes: str | None = None,
) -> Planned:
    from expectations.checks import for_keeping

    snapshot, decisions = _snapshot(warehouse), decided.plan
    limits, made = ctx.settings.limits, ctx.now()
    closed = _closed(ctx, decided)
    aged = with_age(pl.concat([decisions.drift, decisions.conflicts]), warehouse.drift_history(), now=made)
    pins = ctx.journal.pins()
    terms = terms_of(ctx, since=ctx.journal.last_began("apply", before=""))
    looked_back = _looked_back(ctx, snapshot)
    weights = row_weights(decided.raw, operations, ctx.mapping.fields("salesforce"), looked_back)
    weights |= weighing.known(ctx.journal)
    recent = recent_rows(decided.raw, looked_back)
    found, moved = price(operations, terms), traffic(operations, terms, weights, recent)
    header = {
        "pair": ctx.settings.pair.name,
        "environment": ctx.settings.pair.environment,
        "salesforce_org_id": pins.get("salesforce_org_id"),
        "xero_tenant_id": pins.get("xero_tenant_id"),
        "mapping": ctx.mapping.hash,
        "snapshot": snapshot.snapshot_id,
        "created_at": made.isoformat(),
        **({"undoes": undoes} if undoes else {}),
    }
    planned = Planned(
        hash=plan_hash(operations, header),
        file=None,
        created_at=made,
        expires_at=made + timedelta(hours=limits.plan_expires_h),
        operations=operations,
        moves=decisions.moves,
        conflicts=aged.filter(pl.col("why") == "conflict"),
        drift=aged.filter(pl.col("why") != "conflict"),
        review=decisions.review,
        rejects=pl.concat([decisions.rejects, set_aside]),
        findings=pl.concat([for_keeping(findings), closed.findings]),
        cost=calls(found),
        price={
            "calls": found,
            "minutes": round(minutes(found, terms), 2),
            "day_share": _day_share(ctx, found),
            "bytes": moved,
            "weights": weights,
            "recent": recent,
            **_billed(ctx, moved),
        },
        header=header,
        complete_as_of=snapshot.complete_as_of,
        beyond_limits=beyond_limits(
            operations,
            decided.records,
            max_operations=limits.max_operations,
            max_share=limits.max_share,
            max_amount=limits.max_amount,
        ),
        names={**closed.names, **_names(decided, decisions, operations)},
        # What takes a run back answers another question than "what differs": it is never told again as that.
        basis={} if undoes else _basis(ctx, warehouse),
        rows=snapshot.rows,
        errors=snapshot.errors,
        # What a proposed link waits for is counted there.
        unmatched=decisions.unmatched.filter(pl.col("why").ne_missing("review")),
        links=pl.concat([decided.links, model.conform(decisions.review, model.LINKS)]),
        summary=_standing(ctx, decided),
        control_totals=closed.totals,
        differences=closed.differences,
        seen=_seen(decided.raw, operations),
    )
    file = plans.store(planned, ctx.plans_folder)
    manifest = {
        "operations": operations.height,
        "phases": planned.phases(),
        "conflicts": planned.conflicts.height,
        "review": planned.review.height,
        "drift": planned.drift.height,
        "snapshot": snapshot.snapshot_id,
        "by_entity": planned.by_entity(),
        "seal": plans.seal_of(ctx.plans_folder, planned.hash),
    }
    ctx.journal.save_plan(planned.hash, manifest, state="sealed")
    return replace(planned, file=file)


def terms_of(ctx: Context, *, since: datetime | None) -> Terms:
    """Give what a plan's price depends on besides it. since: when the last push began; null: there was none."""
    invoice = ctx.mapping.invoice
    return Terms(
        guarded=ctx.settings.push.guard == "record",
        bulk_from_rows=ctx.settings.push.bulk_from_rows,
        documents_at_once=ctx.settings.push.documents_at_once,
        history=ctx.settings.audit.history,
        xero_calls_a_minute=ctx.settings.limits.xero_calls_a_minute,
        before=made_since(ctx.journal, since) if since else {},
        reductions=tuple(one.salesforce for one in invoice.sources if one.source.original) if invoice else (),
    )


def _looked_back(ctx: Context, snapshot: Snapshot) -> dict[str, datetime]:
    """Give, by side, back to when the first look of a push asks for what changed."""
    seen = earliest(snapshot.complete_as_of)
    return {side: at - timedelta(seconds=ctx.settings.pull.overlap_s) for side, at in seen.items()}


def _billed(ctx: Context, moved: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Give what Xero would bill for what it sends, where the settings know what a GB costs."""
    limits = ctx.settings.limits
    if not limits.xero_gb_price:
        return {}
    amount = billed(moved["xero"]["received"], limits.xero_gb_price)
    return {"egress": f"{amount} {limits.xero_gb_currency}"}


def _day_share(ctx: Context, priced: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Give, of each side that has told, the share of the calls that are left for today."""
    left = ctx.clients.day_left()
    return {
        side: round(count / max(left[side], 1), 4) for side, count in calls(priced).items() if side in left
    }


def _closed(ctx: Context, decided: Decided) -> Closed:
    """Add both books up as the snapshot has them. What fails here is told, and takes nothing from the plan."""
    mapping, invoicing = ctx.mapping.invoice, decided.invoicing
    if mapping is None or invoicing is None:
        return Closed()
    held = invoicing.links.filter(pl.col("status") == "linked")
    headers = invoicing.documents.headers.drop_nulls("currency_rate")
    rates = model.conform(headers.rename({"currency_rate": "rate"}), model.DOCUMENT_RATES)
    try:
        return close_books(invoicing.documents, {**decided.raw, **invoicing.raw}, held, rates, mapping)
    except Exception as error:  # noqa: BLE001  (a bug: its text may hold a value, its place does not)
        last = traceback.extract_tb(error.__traceback__)[-1]
        return not_closed(f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}")


def compensate(
    ctx: Context,
    warehouse: Warehouse,
    run_id: str,
    way_back: Callable[[Mapping[str, Part]], tuple[pl.DataFrame, pl.DataFrame]],
) -> Planned:
    """Seal a plan of the operations that take a run back, checked as any plan.

    way_back: takes each entity as it is now, and gives (OPERATIONS, REJECTS).
    """
    decided = decide(ctx, warehouse)
    operations, rejects = way_back({part.mapping.entity: part for part in decided.parts})
    none = {name: getattr(decided.plan, name).clear() for name in ("adopted_links", "adopted_moves", "moves")}
    decided = replace(decided, plan=replace(decided.plan, operations=operations, rejects=rejects, **none))
    kept, set_aside, findings = check(ctx, warehouse, decided, raw_moved=False)
    return _seal(ctx, warehouse, decided, kept, set_aside, findings, undoes=run_id)


def _seen(raw: Mapping[str, pl.DataFrame], operations: pl.DataFrame) -> pl.DataFrame:
    """Give SEEN: the rows, as they were pulled, of all records that the operations write or are made from."""
    ids = pl.concat(
        [operations["record_id"], operations["source_id"], operations["made_from"].explode()]
    ).drop_nulls()
    wanted = ids.str.strip_suffix(":primary").unique().implode()
    frames = [
        rows.filter(pl.col("record_id").is_in(wanted)).with_columns(
            side=pl.lit(name.partition(".")[0]), object=pl.lit(name.partition(".")[2])
        )
        for name, rows in raw.items()
    ]
    parts = [model.conform(frame, model.SEEN) for frame in frames]
    return pl.concat([model.empty(model.SEEN), *parts]).sort("side", "object", "record_id")


def _standing(ctx: Context, decided: Decided) -> pl.DataFrame:
    units = {name: [unit.name for unit in entity.units] for name, entity in ctx.mapping.entities.items()}
    return unit_standing(units, _merged_links(decided), decided.plan.drift, decided.plan.conflicts)


def _merged_links(decided: Decided) -> pl.DataFrame:
    return decided.links.filter(pl.col("entity") != "document")


def _names(decided: Decided, plan: Plan, operations: pl.DataFrame) -> dict[str, str]:
    """A display name for each record that the plan speaks of."""
    ids = pl.concat(
        [
            *(operations[column] for column in ("record_id", "source_id")),
            *(frame["record_id"] for frame in (plan.unmatched, plan.rejects)),
            *(
                frame[column]
                for frame in (plan.conflicts, plan.review, plan.drift)
                for column in ("salesforce_id", "xero_id")
            ),
            invoice_contacts(operations),
        ]
    ).drop_nulls()
    wanted = pl.col("record_id").is_in(ids.unique().implode())
    names = decided.values.filter(pl.col("unit") == "name")
    prices = decided.records.filter(wanted, pl.col("entity") == "price").select(
        "side", "record_id", "parent_id"
    )
    # A price goes by the name of its product.
    owned = prices.join(
        names.select("side", "value", parent_id="record_id"), on=["side", "parent_id"], how="inner"
    )
    named = pl.concat([frame.select("record_id", "value") for frame in (names.filter(wanted), owned)])
    return {
        record_id: _spoken_name(value)
        for record_id, value in named.select("record_id", "value").iter_rows()
        if value
    }


def _spoken_name(value: str) -> str:
    import json

    if not value.startswith("{"):
        return value
    name = json.loads(value)
    return " ".join(part for part in (name.get("first"), name.get("last")) if part)


def _remember(ctx: Context, warehouse: Warehouse, planned: Planned, decided: Decided) -> None:
    """Keep drift and links in the warehouse, and publish the read copy for notebooks."""
    standing_now = pl.concat([planned.drift, planned.conflicts])
    warehouse.save_drift(planned.short, standing_now, at=planned.created_at)
    warehouse.fold(ctx.journal.links(), ctx.journal.bases(), sequence=ctx.journal.sequence())
    last = {"run_id": [planned.short], "at": [planned.created_at], "operations": [planned.operations.height]}
    warehouse.save_tables(
        {
            "last_plan": pl.DataFrame(last),
            "links": planned.links,
            "summary": planned.summary,
            "review": planned.review,
            "unmatched": planned.unmatched,
            "control_totals": planned.control_totals,
            "differences": planned.differences,
            **(report_tables(decided.settling, decided.links, decided.values) if decided.settling else {}),
        }
    )
    warehouse.publish(ctx.published)

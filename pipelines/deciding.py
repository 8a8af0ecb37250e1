"""Decides what the snapshot at hand asks for: canonical, match, merge, plan, documents, and what else is mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.additions import Addition, nothing_planned, unread
from pipelines.billing import PARTY, Bills, bill_suppliers, billed_accounts
from pipelines.context import Context
from pipelines.decided import Decided, Invoicing, snapshot_of
from pipelines.enrolling import group_contacts
from pipelines.paying import pay_invoices
from pipelines.settling import day_of, settle_books
from reconcile import model
from reconcile.coding import NOBODY, Past
from reconcile.credits import OBJECT as CREDIT_NOTE
from reconcile.credits import Credits, credit_numbers
from reconcile.document_moves import Known, with_fresh_bodies, with_moves
from reconcile.document_rates import rates_wanted
from reconcile.documents import Documents, canonical_documents, rated_documents
from reconcile.holds import with_holds
from reconcile.invoices import document_records, standing, with_documents, with_role
from reconcile.mapped import MEMBERSHIP, WHOLE_OF, BillMapping, DocumentMapping
from reconcile.mapping import EntityMapping, check_mapping
from reconcile.match import match
from reconcile.merge import merge, recent_writes
from reconcile.normalise import Canonical, base_values, canonicalise
from reconcile.plan import Part, Plan, build_plan, part_of, with_dependents, without_unneeded
from reconcile.prices import BOOKS, ORGANISATION, in_price_book
from reconcile.terms import due_by_terms

if TYPE_CHECKING:
    from pipelines.warehouse import Snapshot, Warehouse

RECENT_WRITES: Final = 8  # of one unit: enough to see it go back and forth three times


def decide(ctx: Context, warehouse: Warehouse) -> Decided:
    """Canonical, match, merge and plan over the snapshot at hand; no writes anywhere."""
    fields, snapshot = warehouse.fields(), snapshot_of(warehouse)
    unmade = _unread(ctx, snapshot)
    lacking = _unread_products(ctx, snapshot)
    entities = {name: one for name, one in ctx.mapping.entities.items() if not (lacking and one.is_item)}
    documents = {} if unmade else _readable_documents(ctx, snapshot)
    bill = _readable_bill(ctx, snapshot)
    check_mapping(replace(ctx.mapping, entities=entities, documents=documents, bill=bill), fields)
    suppliers = billed_accounts(ctx, warehouse, snapshot)
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
    snapshot = snapshot_of(warehouse)
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


def with_additions(ctx: Context, warehouse: Warehouse, decided: Decided) -> Decided:
    """Plan, beside customers, products and invoices, what the mapping asks for of each subject."""
    snapshot = snapshot_of(warehouse)
    for name, subject in SUBJECTS.items():
        found = subject(ctx, warehouse, snapshot, decided)
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


def only_needed(decided: Decided) -> Decided:
    if not decided.on_demand:
        return decided
    kept = without_unneeded(decided.plan.operations, decided.on_demand)
    return replace(decided, plan=replace(decided.plan, operations=kept))


def without_refused(ctx: Context, decided: Decided) -> Decided:
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


def without_failed(ctx: Context, decided: Decided, errors: Mapping[str, str]) -> Decided:
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

"""Checks raw rows, canonical frames and the plan, and sets aside what is at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipelines.context import Context
from pipelines.decided import Decided, snapshot_of
from pipelines.plans import Planned
from pipelines.xero.source import REFERENCES
from reconcile import model
from reconcile.errors import CheckStopped
from reconcile.mapped import GROUP_OBJECT, SHOWN_UNIT
from reconcile.memberships import UNIT as GROUPS_UNIT
from reconcile.plan import without_unneeded

if TYPE_CHECKING:
    from pipelines.warehouse import Warehouse


def check(
    ctx: Context,
    warehouse: Warehouse,
    decided: Decided,
    *,
    last: Planned | None,
    raw_moved: bool,
    allowed: frozenset[str] = frozenset(),
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Check raw, canonical and plan; give the operations that remain, what was set aside, the findings.

    Great Expectations is not loaded where no row arrived and no operation is planned.
    last: the plan before, whose numbers of rows this snapshot's are held against.
    allowed: checks of a whole that a person lets pass this once; they warn.
    Raises CheckStopped where a critical expectation failed for the whole, or one could not run.
    """
    from expectations.checks import run_checks, set_aside, stopped, verdict
    from expectations.runner import Passed

    operations = decided.plan.operations
    if operations.is_empty() and not raw_moved:
        return operations, model.empty(model.REJECTS), model.empty(model.FINDINGS)
    ctx.progress("checking: raw, canonical, plan")
    snapshot = snapshot_of(warehouse)
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


def faulty_ids(findings: pl.DataFrame) -> frozenset[str]:
    if findings.is_empty():
        return frozenset()
    from expectations.checks import ids_at_fault

    return ids_at_fault(findings)

"""Answers what a person asks of a pair, and takes their decisions: links, conflicts, status, doctor."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.context import Context, opened
from pipelines.plans import Planned, last_plan
from pipelines.runs import operations_left
from pipelines.settings import load_settings
from reconcile import model
from reconcile.documents import rule_trial
from reconcile.errors import (
    FixData,
    FixMapping,
)
from reconcile.merge import difference_fingerprint

if TYPE_CHECKING:
    from pipelines.doctor import Finding, Rights


def links(ctx: Context) -> pl.DataFrame:
    """Give LINKS: those that hold, those in review (of the last plan), those refused."""
    linked = ctx.journal.links()
    refused = ctx.journal.decisions().filter(pl.col("kind") == "refuse_link")
    refused_links = refused.select(
        pl.concat_str(
            pl.col("entity").cast(pl.String),
            *(pl.col(f"{side}_id").fill_null("") for side in model.SIDES),
            separator=":",
        ).alias("link_id"),
        "entity",
        "salesforce_id",
        "xero_id",
        pl.lit("refused").alias("status"),
        pl.lit("refused").alias("rule"),
        "made_by",
    )
    last = last_plan(ctx)
    review = last.review if last else model.empty(model.LINKS)
    undecided = review.join(refused_links, on="link_id", how="anti").join(linked, on="link_id", how="anti")
    frames = (linked, undecided, refused_links)
    return pl.concat([model.conform(frame, model.LINKS) for frame in frames]).sort(
        "status", "entity", "salesforce_id"
    )


def review_queue(ctx: Context) -> list[dict[str, Any]]:
    """Give the proposed links that no one decided yet, with names; local use only."""
    last = last_plan(ctx)
    if last is None:
        return []
    open_ids = links(ctx).filter(pl.col("status") == "review")["link_id"]
    rows = last.review.filter(pl.col("link_id").is_in(open_ids.implode())).to_dicts()
    return [
        {
            **row,
            "salesforce_name": last.names.get(row["salesforce_id"] or "", ""),
            "xero_name": last.names.get(row["xero_id"] or "", ""),
        }
        for row in rows
    ]


def decide_link(ctx: Context, kind: str, link: str) -> dict[str, Any]:
    """Accept or refuse a proposed link, by its number in the queue or its id; accept one that was refused."""
    queue = review_queue(ctx)
    numbered = {str(number): row for number, row in enumerate(queue, start=1)}
    row: dict[str, Any] | None = numbered.get(link)
    row = row or next((row for row in queue if row["link_id"] == link), None)
    if row is None and kind == "accept":
        refused = links(ctx).filter(pl.col("status") == "refused", pl.col("link_id") == link).to_dicts()
        row = {**refused[0], "fingerprint": None} if refused else None  # accepted for good
    if row is None:
        raise FixData(
            f"links {kind}: found {link!r}, expected a number from 1 to {len(queue)} or the id of a link in "
            "`reconcile links review`."
        )
    ctx.journal.decide(
        f"{kind}_link",
        entity=row["entity"],
        salesforce_id=row["salesforce_id"],
        xero_id=row["xero_id"],
        fingerprint=row["fingerprint"],
        made_by=getpass.getuser(),
    )
    return {key: row[key] for key in ("link_id", "entity", "salesforce_id", "xero_id")} | {"decision": kind}


TAKES = {"salesforce": "salesforce_wins", "xero": "xero_wins", "neither": "accept_drift"}


def resolve(ctx: Context, record_id: str, unit: str, take: str) -> dict[str, Any]:
    """Decide a conflict or a difference of the last plan; it holds while both values are still these."""
    last = last_plan(ctx)
    standing = pl.concat([last.conflicts, last.drift]) if last else model.empty(model.DRIFT)
    named = (
        (pl.col("salesforce_id") == record_id)
        | (pl.col("xero_id") == record_id)
        | (pl.col("link_id") == record_id)
    )
    found = standing.filter(named & (pl.col("unit") == unit)).head(1).to_dicts()
    if not found:
        units = standing.filter(named)["unit"].unique().sort().to_list()
        expected = (
            f"one of {', '.join(units)}" if units else "the id of a record with a conflict or a difference"
        )
        raise FixData(f"resolve: found {record_id} {unit}, expected {expected}; see `reconcile plan`.")
    row = found[0]
    ctx.journal.decide(
        TAKES[take],
        entity=row["entity"],
        salesforce_id=row["salesforce_id"],
        xero_id=row["xero_id"],
        unit=unit,
        fingerprint=difference_fingerprint(row["salesforce"], row["xero"]),
        made_by=getpass.getuser(),
    )
    return {key: row[key] for key in ("link_id", "entity", "salesforce_id", "xero_id", "unit")} | {
        "take": take
    }


def rules_trial(ctx: Context) -> pl.DataFrame:
    """Say for how many lines of the last snapshot each rule of codes holds (`coding.TRIAL`).

    Raises FixMapping where the mapping has no rules, FixData where what they look at was not read yet.
    """
    mapping = ctx.mapping.invoice
    if mapping is None or mapping.codes is None or not mapping.codes.rules:
        raise FixMapping(
            f"{ctx.mapping.name}: documents.invoice.lines has no `rules`, or there is no `cut_over`. "
            "Write one (docs/mapping.md, Codes of lines) and run the command again."
        )
    with ctx.warehouse() as warehouse:
        snapshot = warehouse.snapshot()
        there = snapshot.complete_as_of if snapshot else {}
        wanted = mapping.fields("salesforce")
        lacking = [name for name in mapping.objects if name not in there]
        lacking += [
            f"salesforce.{name}.{field}"
            for name, fields in wanted.items()
            if f"salesforce.{name}" in there
            for field in sorted(fields - warehouse.observed("salesforce", name))
        ]
        if lacking:
            raise FixData(
                f"{', '.join(lacking)} was not read yet. Run `reconcile pull`, then the command again."
            )
        return rule_trial({name: warehouse.raw(*name.split(".")) for name in mapping.objects}, mapping)


def status(ctx: Context) -> dict[str, Any]:
    """Say what is known, since when, and what waits; reads the journal alone."""
    last = last_plan(ctx)
    pair = ctx.settings.pair
    pulls = [run for run in ctx.journal.runs(limit=50) if run.kind == "pull" and run.state == "done"]
    return {
        "pair": pair.name,
        "environment": pair.environment,
        "writes": _writes(ctx),
        "last_pull": pulls[0].ended_at.isoformat() if pulls and pulls[0].ended_at else None,
        "known_complete_as_of": {side: at.isoformat() for side, at in last.seen_at.items()} if last else {},
        "last_plan": _plan_status(last),
        "waits": _waits(last, ctx),
        "links": dict(ctx.journal.links().group_by("entity").len().sort("entity").iter_rows()),
        "dead_letters": ctx.journal.dead_letters().height,
        "tokens_kept": ctx.journal.tokens.durable,
        "journal": ctx.journal.status(),
    }


def _writes(ctx: Context) -> str:
    if ctx.journal.trouble:
        return f"read-only: the journal is not as it was left ({ctx.journal.trouble})"
    return ctx.journal.writes_enabled(ctx.settings.pair.name) or "read-only"


def _plan_status(last: Planned | None) -> dict[str, Any] | None:
    if last is None:
        return None
    return {
        "plan": last.hash,
        "state": last.state,
        "created_at": last.created_at.isoformat(),
        "operations": last.operations.height,
    }


def _waits(last: Planned | None, ctx: Context) -> dict[str, int]:
    open_state = last is not None and last.state in ("sealed", "approved", "applied_in_part")
    return {
        "operations": operations_left(ctx, last) if last and open_state else 0,
        "conflicts": last.conflicts.height if last else 0,
        "review": len(review_queue(ctx)),
        "unsettled": ctx.journal.unsettled().height,
    }


def doctor(settings_file: Path) -> list[Finding]:
    """Examine the pair; what can't be reached becomes a finding, not an error."""
    from pipelines.doctor import examine

    settings = load_settings(settings_file)
    with opened(settings, progress=lambda text: None) as ctx:
        for side in model.SIDES:
            if ctx.journal.tokens.get(side, "access"):
                # The token of an earlier run would hide that the credentials no longer work.
                ctx.journal.tokens.put(side, "access", {})
        return [_journal(ctx), *examine(settings, ctx.clients, None, ctx.mapping)]


def _journal(ctx: Context) -> Finding:
    from pipelines.doctor import Finding

    verdict = ctx.journal.verify()
    if verdict.ok:
        return Finding("journal", "ok", f"{ctx.journal.at}: whole ({verdict.rows} rows of its chain)")
    return Finding(
        "journal", "fail", f"{ctx.journal.at}: not as it was left: {verdict.found}",
        "Put the right journal back, or say with `reconcile audit accept` that this one is to go on.",
    )  # fmt: skip


def audit(ctx: Context, known: str | None = None) -> dict[str, Any]:
    """Verify the journal: its chain, the head that is kept apart, its tables. known: a head of a report.

    Raises FixData where that is none, JournalDamaged where the journal can't be read.
    """
    try:
        verdict = ctx.journal.verify(known)
    except ValueError:
        raise FixData(
            f"audit verify: --head: found {known!r}, expected a row's number, a colon and 64 hex digits, as "
            "`reconcile report --json` shows it."
        ) from None
    return {"journal": ctx.journal.at, **asdict(verdict)}


def accept_audit(ctx: Context) -> dict[str, Any]:
    """Take the journal as it is: the pair may be written to again. Gives what was found, and the new head."""
    with ctx.leased():
        found = ctx.journal.trouble or ctx.journal.verify().found
        head = ctx.journal.accept(by=getpass.getuser())
    return {"journal": ctx.journal.at, "found": found, "head": str(head)}


def least_rights(settings_file: Path) -> tuple[Rights, Rights]:
    """Give (reader, writer): the least scopes and permissions that the pair's mapping needs."""
    from pipelines.doctor import least_rights as rights

    settings = load_settings(settings_file)
    with opened(settings, progress=lambda text: None) as ctx:
        return rights(ctx.mapping)

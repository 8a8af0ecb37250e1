"""Leaves a file from which somebody else can show that every write of a run was planned, approved, made once.

It holds what left, byte for byte, and so the values of people: it lies beside the plans, for its owner only.
`verifier/verify.py` reads it, and imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from pipelines import plans
from pipelines.journal_store import dumps
from pipelines.journal_tables import audit, intents, outcomes, requests, runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.context import Context
    from pipelines.journal import Journal

VERSION: Final = 1
RUN: Final = ("run_id", "kind", "state", "started_at", "ended_at", "details")
SENT: Final = (
    "request_id",
    "system",
    "method",
    "path",
    "sha256",
    "idempotency_key",
    "sends",
    "first_sent_at",
    "last_sent_at",
    "state",
    "status",
    "fencing",
)
MEANT: Final = (
    "intent_id",
    "position",
    "action",
    "entity",
    "object",
    "record_id",
    "natural_key",
    "state",
    "result_id",
)


def certify(ctx: Context, run_id: str) -> Path | None:
    """Write the certificate of a run as things stand now; null where it pushed no plan.

    A run that was killed gets its own from the run that settles it. Raises FixSettings where it can't be written.
    """
    xero, salesforce = ctx.settings.xero, ctx.settings.salesforce
    content = certificate(
        ctx.journal,
        run_id,
        pair=ctx.settings.pair.name,
        plans_folder=ctx.plans_folder,
        # As whom the systems log us.
        writers={"xero": [xero.client_id], "salesforce": [salesforce.client_id, salesforce.username]},
    )
    if content is None:
        return None
    folder = ctx.certificates
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{run_id}.json"
    plans.write_whole(path, json.dumps(content, ensure_ascii=False, indent=1).encode())
    return path


def runs_of(journal: Journal, request_ids: Iterable[str]) -> list[str]:
    """Give the runs that first sent these requests."""
    query = select(intents.c.run_id).where(intents.c.request_id.in_(list(request_ids))).distinct()
    with journal.read() as con:
        return sorted(run_id for run_id in con.execute(query).scalars() if run_id)


def certificate(
    journal: Journal, run_id: str, *, pair: str, plans_folder: Path, writers: Mapping[str, Sequence[str]]
) -> dict[str, Any] | None:
    """Give what the certificate of a run says; null where it pushed no plan."""
    with journal.read() as con:
        run = con.execute(select(runs).where(runs.c.run_id == run_id)).mappings().first()
        details = {} if run is None else json.loads(run["details"])
        plan_hash = details.get("plan")
        if run is None or not plan_hash:
            return None
        meant = con.execute(
            select(intents)
            .where(intents.c.run_id == run_id)
            .order_by(intents.c.request_id, intents.c.position)
        )
        by_request: dict[str, list[Any]] = {}
        for row in meant.mappings():
            by_request.setdefault(row["request_id"], []).append(row)
        query = select(requests).where(requests.c.request_id.in_(by_request)).order_by(requests.c.created_at)
        sent = con.execute(query).mappings().all()
        ended = con.execute(select(outcomes).where(outcomes.c.plan_hash == plan_hash)).mappings().all()
        named = select(intents.c.run_id).where(intents.c.plan_hash == plan_hash).distinct()
        senders = sorted(filter(None, con.execute(named).scalars()))
        # By its place, not by its time: a clock may be set back while a run goes on.
        began = con.execute(
            select(func.coalesce(func.max(audit.c.sequence), 0)).where(
                audit.c.kind == "run_started", audit.c.details.contains(f'"{run_id}"')
            )
        ).scalar_one()
        chain = con.execute(
            select(audit).where(audit.c.sequence >= began).order_by(audit.c.sequence)
        ).mappings()
        rows = [dict(row) for row in chain]
        before = con.execute(select(audit.c.hash).where(audit.c.sequence == began - 1)).scalar()
    manifest = plans.manifest_file(plans_folder, plan_hash)
    content: dict[str, Any] = {
        "certificate": VERSION,
        "pair": {"name": pair, **_identity(journal)},
        "writers": {side: [name for name in names if name] for side, names in writers.items()},
        "run": {**{name: run[name] for name in RUN}, "details": details},
        "plan": {
            "hash": plan_hash,
            "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()
            if manifest.exists()
            else None,
            "runs": senders,
        },
        "requests": [_request(journal, row, by_request[row["request_id"]]) for row in sent],
        "outcomes": [
            {name: row[name] for name in ("operation_id", "outcome", "record_id", "link_id", "at")}
            for row in sorted(ended, key=lambda row: row["operation_id"])
        ],
        "chain": {"before": before or "0" * 64, "rows": rows},
    }
    return {**content, "sha256": hashlib.sha256(dumps(content).encode()).hexdigest()}


def _identity(journal: Journal) -> dict[str, Any]:
    known = journal.identity()
    return {name: known.get(name) for name in ("salesforce_org_id", "xero_tenant_id", "base_currency")}


def _request(journal: Journal, row: Any, meant: Sequence[Any]) -> dict[str, Any]:
    body = journal.unseal("requests", (row["request_id"],), row["body"])
    return {
        **{name: row[name] for name in SENT},
        "body": body.decode(),
        "intents": [_intent(journal, one) for one in meant],
    }


def _intent(journal: Journal, row: Any) -> dict[str, Any]:
    intent = journal.intents.read(row)
    return {
        **{name: row[name] for name in MEANT},
        "key_field": intent.key_field,
        "operations": [one.operation_id for one in intent.operations],
    }

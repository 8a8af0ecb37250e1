"""Keeps intents and their requests from before they leave until their outcome is known.

The steps of one request: begin (exact bytes and key durable), leaving (just before the bytes go),
unknown or close. Of one that goes as a job, `job_made` comes before leaving, which then is its closing, and `job_over`
before any of its intents ends. Each step is one transaction that checks the fencing number, and what must hold
(`protocol`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from pipelines import protocol
from pipelines.intents import Ended, Intent, Operation, Request
from pipelines.journal_chain import as_dict
from pipelines.journal_knowledge import held_since, store_bases, store_decision, store_links
from pipelines.journal_store import Fence, dumps, moment, stamp
from pipelines.journal_tables import LIVE, dead_letters, intents, jobs, links, outcomes, requests
from pipelines.protocol import Job, Proof
from reconcile.bodies import loads
from reconcile.errors import InvariantBroken
from reconcile.mapped import OPTION
from reconcile.model import BASES, LINKS, UTC

if TYPE_CHECKING:
    from pipelines.journal_store import Store

IDEMPOTENT = ("xero",)  # whose requests carry a key
UNKEYED = ("DELETE",)  # accounting spec 16.1.0: no Idempotency-Key there; read 2026-11-30
FREED = ("not_sent", "refused", "absent", "waiting")  # how an intent ends without outcomes


@dataclass(frozen=True)
class Sent:
    """A request as the journal holds it, with those of its intents whose outcome is not known."""

    request_id: str
    request: Request
    idempotency_key: str | None
    state: str
    sends: int
    first_sent_at: datetime | None
    last_sent_at: datetime | None
    burnt: bool
    created_at: datetime
    live: tuple[Intent, ...]
    plan_hash: str
    job: Job | None = None


class Intents:
    """The part of the journal that a push writes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, request: Request, *, plan_hash: str, run_id: str, fence: Any) -> Sent:
        """Keep a request and its intents, before anything leaves."""
        self._store.must_be_whole()
        request_id, now = uuid.uuid4().hex, self._store.now()
        # Random, as Xero advises; it is kept, so that it needs no derivation.
        keyed = request.system in IDEMPOTENT and request.method not in UNKEYED
        key = uuid.uuid4().hex + uuid.uuid4().hex if keyed else None
        sha256 = hashlib.sha256(request.body).hexdigest()
        row = {
            "request_id": request_id,
            "system": request.system,
            "method": request.method,
            "path": request.path + (f"?{request.query}" if request.query else ""),
            "idempotency_key": key,
            "body": self._store.seal("requests", (request_id,), request.body),
            "sha256": sha256,
            "state": "sending",
            "sends": 0,
            "burnt": False,
            "fencing": fence.fencing,
            "created_at": stamp(now),
        }
        common = {
            "request_id": request_id,
            "plan_hash": plan_hash,
            "run_id": run_id,
            "fencing": fence.fencing,
        }
        rows = [
            {**self._row(intent, now), **common, "position": position}
            for position, intent in enumerate(request.intents)
        ]
        with self._store.write(fence) as con:
            self._store.add(con, requests, [row])
            try:
                self._store.add(con, intents, rows)
            except IntegrityError:
                raise InvariantBroken(
                    number="P4", found="a second write of a record whose first is not settled"
                ) from None
            told = {
                "request_id": request_id,
                "system": request.system,
                "sha256": sha256,
                "intents": len(rows),
            }
            self._store.log(con, "intended", {**told, "plan_hash": plan_hash, "fencing": fence.fencing})
        return Sent(
            request_id, request, key, "sending", 0, None, None, False, now, tuple(request.intents), plan_hash
        )

    def _row(self, intent: Intent, now: datetime) -> dict[str, Any]:
        return {
            "intent_id": intent.intent_id,
            "business_key": intent.business_key,
            "system": intent.system,
            "entity": intent.entity,
            "object": intent.object,
            "action": intent.action,
            "record_id": intent.record_id,
            # Of an option it is a text that people wrote, which is kept sealed; here its mark stands for it.
            "natural_key": intent.operations[0].source_id if intent.entity == OPTION else intent.natural_key,
            "content": self._store.seal("intents", (intent.intent_id,), intent.content().encode()),
            "state": "sending",
            "attempt": intent.attempt,
            "created_at": stamp(now),
        }

    def leaving(self, sent: Sent, body: bytes, *, horizon_s: float, fence: Fence) -> None:
        """Keep that these bytes leave now. Called just before each time they do.

        Raises InvariantBroken where they are not the bytes that were kept, LeaseLost, JournalMismatch, and
        HorizonPassed where the key may have run out since they first left.
        """
        self._store.must_be_whole()
        now = self._store.now()
        with self._store.write(fence) as con:
            row = (
                con.execute(select(requests).where(requests.c.request_id == sent.request_id))
                .mappings()
                .first()
            )
            fence.renew(con)
            if row is None:
                raise InvariantBroken(number="P1", found="a request that is not in the journal")
            protocol.check_open(row["state"])
            first = held_since(row["first_sent_at"])
            protocol.check_leaving(body, row["sha256"], first, now, horizon_s)
            values = {
                "state": "sending",
                "sends": row["sends"] + 1,
                "first_sent_at": row["first_sent_at"] or stamp(now),
                "last_sent_at": stamp(now),
            }
            self._store.change(con, requests, requests.c.request_id == sent.request_id, **values)
            self._store.log(con, "leaving", {"request_id": sent.request_id, "sends": values["sends"]})

    def job_made(self, sent: Sent, job: Job, *, fence: Fence) -> None:
        """Keep which job holds the rows of a request, before it may be closed."""
        row = {"request_id": sent.request_id, "job_id": job.job_id, "made_at": stamp(job.made_at)}
        with self._store.write(fence) as con:
            self._store.add(con, jobs, [{**row, "state": None, "over_at": None}])
            self._store.log(con, "job_made", {"request_id": sent.request_id, "job_id": job.job_id})

    def job_over(self, sent: Sent, state: str, *, fence: Fence) -> None:
        """Keep that the job of a request was seen in a state in which it writes no more."""
        now = stamp(self._store.now())
        with self._store.write(fence) as con:
            mine = jobs.c.request_id == sent.request_id
            self._store.change(con, jobs, mine, state=state, over_at=now)
            self._store.log(con, "job_over", {"request_id": sent.request_id, "state": state})

    def unknown(self, sent: Sent, *, burnt: bool, fence: Fence, status: int | None = None) -> None:
        """Keep that a request went out and nobody knows what became of it."""
        with self._store.write(fence) as con:
            here = requests.c.request_id == sent.request_id
            protocol.check_open(con.execute(select(requests.c.state).where(here)).scalar_one())
            values = {"state": "unknown", "status": status} | ({"burnt": True} if burnt else {})
            self._store.change(con, requests, requests.c.request_id == sent.request_id, **values)
            mine = (intents.c.request_id == sent.request_id) & (intents.c.state == "sending")
            self._store.change(con, intents, mine, state="unknown")
            self._store.log(con, "unknown", {"request_id": sent.request_id, "burnt": burnt, "status": status})

    def close(
        self,
        sent: Sent | None,
        ended: Sequence[tuple[Intent | None, Sequence[Ended]]],
        *,
        plan_hash: str,
        fence: Fence,
        status: int | None = None,
        proof: Proof | None = None,
    ) -> None:
        """Keep outcomes, and the links and bases that they prove, in one transaction.

        A link that is taken back goes into the review queue with them: else the next plan would find it again.
        sent: the request that they answer; null where nothing was sent for them. proof: why an intent that
        ends without outcomes may be tried anew. Raises InvariantBroken where that does not follow.
        """
        every = [one for _, some in ended for one in some]
        protocol.check_done(every)
        with self._store.write(fence) as con:
            if sent is not None:
                self._check_ending(con, sent, ended, proof)
            self._end_intents(con, ended, proof)
            self._store_outcomes(con, every, plan_hash)
            store_links(
                self._store, con, pl.DataFrame([one.link for one in every if one.link], schema=dict(LINKS))
            )
            rows = [row for one in every for row in one.bases]
            store_bases(self._store, con, pl.DataFrame(rows, schema={**BASES, "stamp": UTC}))
            self._ask_about(con, [one.link for one in every if one.link and one.operation.ends_link])
            if sent is not None:
                self._close_request(con, sent, status, proof)
            told = {one.operation.operation_id: one.outcome for one in every}
            request_id = sent.request_id if sent else None
            self._store.log(
                con, "outcomes", {"request_id": request_id, "plan_hash": plan_hash, "outcomes": told}
            )

    def _ask_about(self, con: Connection, ended: Sequence[dict[str, Any]]) -> None:
        """Keep the decision that these links were taken back."""
        for link in ended:
            told = {name: link[name] for name in ("entity", "salesforce_id", "xero_id", "made_by")}
            store_decision(self._store, con, {"kind": "undo_link", "unit": None, "fingerprint": None, **told})

    def _check_ending(
        self,
        con: Connection,
        sent: Sent,
        ended: Sequence[tuple[Intent | None, Sequence[Ended]]],
        proof: Proof | None,
    ) -> None:
        """See that what ends was live, and that what ends without outcome was not carried out."""
        row = con.execute(select(requests).where(requests.c.request_id == sent.request_id)).mappings().one()
        query = select(intents.c.intent_id, intents.c.state).where(intents.c.request_id == sent.request_id)
        states = dict(con.execute(query).tuples().all())
        job = _job(con, sent.request_id)
        for intent, some in ended:
            if intent is None:
                continue
            state = states.get(intent.intent_id, "")
            protocol.must(state in LIVE, "P5", "an intent that ends twice")
            protocol.check_over(job, sends=row["sends"], proof=proof)
            if not some:
                protocol.check_freed(
                    proof,
                    sends=row["sends"],
                    last_sent_at=held_since(row["last_sent_at"]),
                    was_unknown=state == "unknown",
                    job=job,
                )

    def _end_intents(
        self, con: Connection, ended: Sequence[tuple[Intent | None, Sequence[Ended]]], proof: Proof | None
    ) -> None:
        now = stamp(self._store.now())
        over = {
            intent.intent_id: {
                "state": some[0].outcome if some else proof.kind if proof else "waiting",
                "result_id": some[0].record_id if some else None,
                "ended_at": now,
            }
            for intent, some in ended
            if intent is not None
        }
        query = select(intents).where(intents.c.intent_id.in_(list(over)))
        kept = con.execute(query).mappings().all() if over else []
        self._store.put(con, intents, [{**as_dict(row), **over[row["intent_id"]]} for row in kept])

    def _close_request(self, con: Connection, sent: Sent, status: int | None, proof: Proof | None) -> None:
        mine = (intents.c.request_id == sent.request_id) & intents.c.state.in_(LIVE)
        if con.execute(select(func.count()).select_from(intents).where(mine)).scalar():
            self._store.change(con, intents, mine & (intents.c.state != "unknown"), state="unknown")
            state = "unknown"
        else:
            state = "not_sent" if proof is not None and proof.kind == "not_sent" else "answered"
        this = requests.c.request_id == sent.request_id
        self._store.change(con, requests, this, state=state, status=status)

    def _store_outcomes(self, con: Connection, ended: Sequence[Ended], plan_hash: str) -> None:
        now = stamp(self._store.now())
        rows = []
        for one in ended:
            done = one.operation
            kept = {"before": done.native_before, "after": done.native_after, "source_id": done.source_id}
            written = dumps(kept).encode()
            rows.append(
                {
                    "plan_hash": plan_hash,
                    "operation_id": done.operation_id,
                    "system": done.system,
                    "entity": done.entity,
                    "record_id": one.record_id or done.record_id,
                    "link_id": one.link["link_id"] if one.link else done.link_id,
                    "unit": done.unit,
                    "phase": done.phase,
                    "action": done.action,
                    "outcome": one.outcome,
                    "message": one.message,
                    "written": self._store.seal("outcomes", (plan_hash, done.operation_id), written),
                    "at": now,
                }
            )
        self._store.put(con, outcomes, rows)
        for row in rows:
            if row["outcome"] in ("rejected", "asked"):
                self._bury(con, row)
        done = [row["operation_id"] for row in rows if row["outcome"] in ("confirmed", "adopted")]
        self._store.remove(con, dead_letters, dead_letters.c.operation_id.in_(done))

    def _bury(self, con: Connection, row: dict[str, Any]) -> None:
        """Count a refusal, or what a person is asked: planning leaves it out until it is told to retry."""
        query = select(dead_letters).where(dead_letters.c.operation_id == row["operation_id"])
        known = con.execute(query).mappings().first()
        names = ("operation_id", "system", "entity", "unit", "record_id", "message")
        values = {name: row[name] for name in names} | {
            "times": (known["times"] if known else 0) + 1,
            "first_at": known["first_at"] if known else row["at"],
            "last_at": row["at"],
        }
        self._store.put(con, dead_letters, [values])

    def done(self, plan_hash: str) -> dict[str, tuple[str, str | None]]:
        """Give what is done of a plan: operation_id -> (outcome, record_id)."""
        query = select(outcomes.c.operation_id, outcomes.c.outcome, outcomes.c.record_id).where(
            outcomes.c.plan_hash == plan_hash, outcomes.c.outcome.in_(sorted(protocol.DONE))
        )
        with self._store.read() as con:
            return {which: (outcome, record_id) for which, outcome, record_id in con.execute(query)}

    def link_ids(self) -> set[str]:
        """Give the ids of the links that hold."""
        with self._store.read() as con:
            return set(con.execute(select(links.c.link_id).where(links.c.held_to.is_(None))).scalars())

    def made_at(self) -> datetime | None:
        """Give when this journal was made; null where it was before that was kept."""
        return held_since(self._store.get_meta("made_at"))

    def kept(self, sent: Sent) -> Sent:
        """Give the request as it is now: when it left, how often, whether its key is burnt."""
        with self._store.read() as con:
            row = (
                con.execute(select(requests).where(requests.c.request_id == sent.request_id)).mappings().one()
            )
            job = _job(con, sent.request_id)
        return replace(
            sent,
            state=row["state"],
            sends=row["sends"],
            first_sent_at=held_since(row["first_sent_at"]),
            last_sent_at=held_since(row["last_sent_at"]),
            burnt=bool(row["burnt"]),
            job=job,
        )

    def live_keys(self) -> set[str]:
        """Give the business keys of the intents whose outcome is not known: nothing else may write there."""
        with self._store.read() as con:
            return set(con.execute(select(intents.c.business_key).where(intents.c.state.in_(LIVE))).scalars())

    def live(self) -> list[Sent]:
        """Give every request that has intents whose outcome is not known, oldest first."""
        with self._store.read() as con:
            rows = con.execute(select(intents).where(intents.c.state.in_(LIVE))).mappings().all()
            wanted = {row["request_id"] for row in rows}
            query = select(requests).where(requests.c.request_id.in_(wanted)).order_by(requests.c.created_at)
            kept = con.execute(query).mappings().all()
        return [
            self._sent(row, [one for one in rows if one["request_id"] == row["request_id"]]) for row in kept
        ]

    def _sent(self, row: Any, rows: Sequence[Any]) -> Sent:
        with self._store.read() as con:
            query = (
                select(intents).where(intents.c.request_id == row["request_id"]).order_by(intents.c.position)
            )
            every = con.execute(query).mappings().all()
            job = _job(con, row["request_id"])
        made = {one["intent_id"]: self.read(one) for one in every}
        path, _, query_text = row["path"].partition("?")
        body = self._store.unseal("requests", (row["request_id"],), row["body"])
        return Sent(
            request_id=row["request_id"],
            request=Request(row["system"], row["method"], path, query_text, body, tuple(made.values())),
            idempotency_key=row["idempotency_key"],
            state=row["state"],
            sends=row["sends"],
            first_sent_at=held_since(row["first_sent_at"]),
            last_sent_at=held_since(row["last_sent_at"]),
            burnt=bool(row["burnt"]),
            created_at=moment(row["created_at"]),
            live=tuple(made[one["intent_id"]] for one in rows),
            plan_hash=rows[0]["plan_hash"],
            job=job,
        )

    def left_in(self, run_id: str) -> list[Intent]:
        """Give the intents of a run that left, without those whose operations were free to go on after them."""
        joined = intents.join(requests, intents.c.request_id == requests.c.request_id)
        query = (
            select(intents)
            .select_from(joined)
            .where(intents.c.run_id == run_id, requests.c.sends > 0, intents.c.state.not_in(FREED))
        )
        with self._store.read() as con:
            rows = con.execute(query).mappings().all()
        return [self.read(row) for row in rows]

    def runs_that_sent(self) -> set[str]:
        """Give the runs of which a request left."""
        joined = intents.join(requests, intents.c.request_id == requests.c.request_id)
        query = select(intents.c.run_id).select_from(joined).where(requests.c.sends > 0).distinct()
        with self._store.read() as con:
            return set(con.execute(query).scalars())

    def read(self, row: Any) -> Intent:
        """Read a row of the table of intents."""
        content = loads(self._store.unseal("intents", (row["intent_id"],), row["content"]).decode())
        # Amounts are read exactly; a score is none.
        operations = [
            Operation.from_row(
                {
                    **one,
                    "moves": tuple(one["moves"]),
                    "score": None if one["score"] is None else float(one["score"]),
                }
            )
            for one in content["operations"]
        ]
        return Intent(
            intent_id=row["intent_id"],
            system=row["system"],
            object=row["object"],
            entity=row["entity"],
            action=row["action"],
            record_id=row["record_id"],
            key_field=content["key_field"],
            natural_key=str(content["body"][content["key_field"]])
            if row["entity"] == OPTION
            else row["natural_key"],
            body=content["body"],
            operations=tuple(operations),
            attempt=row["attempt"],
            look=content.get("look"),
        )


def _job(con: Connection, request_id: str) -> Job | None:
    row = con.execute(select(jobs).where(jobs.c.request_id == request_id)).mappings().first()
    if row is None:
        return None
    return Job(row["job_id"], moment(row["made_at"]), held_since(row["over_at"]))

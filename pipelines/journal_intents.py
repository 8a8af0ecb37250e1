"""Keeps intents and their requests from before they leave until their outcome is known.

The steps of one request: begin (exact bytes and key durable), leaving (just before the bytes go),
unknown or close. Each step is one transaction that checks the fencing number.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipelines.intents import Ended, Intent, Operation, Request
from pipelines.journal_knowledge import held_since, store_bases, store_links
from pipelines.journal_store import Fence, dumps, moment, stamp, upsert
from pipelines.journal_tables import LIVE, dead_letters, intents, outcomes, requests
from reconcile.errors import Incident
from reconcile.model import BASES, LINKS, UTC

if TYPE_CHECKING:
    from pipelines.journal_store import Store

IDEMPOTENT = ("xero",)  # whose requests carry a key


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


class Intents:
    """The part of the journal that a push writes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, request: Request, *, plan_hash: str, run_id: str, fence: Any) -> Sent:
        """Keep a request and its intents, before anything leaves."""
        request_id, now = uuid.uuid4().hex, self._store.now()
        # Random, as Xero advises; it is kept, so that it needs no derivation.
        key = uuid.uuid4().hex + uuid.uuid4().hex if request.system in IDEMPOTENT else None
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
            con.execute(insert(requests).values(**row))
            try:
                con.execute(insert(intents), rows)
            except IntegrityError:
                raise Incident(
                    f"{request.system}: a record has a write already whose outcome is not known; a second "
                    "one was stopped before it left. Run `reconcile status`, and report this."
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
            "natural_key": intent.natural_key,
            "content": self._store.seal("intents", (intent.intent_id,), intent.content().encode()),
            "state": "sending",
            "attempt": intent.attempt,
            "created_at": stamp(now),
        }

    def leaving(self, sent: Sent, body: bytes, *, horizon_s: float, fence: Fence) -> None:
        """Keep that these bytes leave now. Called just before each time they do.

        Raises Incident where they are not the bytes that were kept, LeaseLost, and HorizonPassed where the
        key may have run out since they first left.
        """
        now = self._store.now()
        with self._store.write(fence) as con:
            row = (
                con.execute(select(requests).where(requests.c.request_id == sent.request_id)).mappings().one()
            )
            if hashlib.sha256(body).hexdigest() != row["sha256"]:
                raise Incident(
                    f"request {sent.request_id}: its bytes are not those in the journal; nothing was sent."
                )
            first = held_since(row["first_sent_at"])
            if first is not None and not inside_horizon(first, now, horizon_s):
                raise HorizonPassed
            con.execute(
                update(requests)
                .where(requests.c.request_id == sent.request_id)
                .values(
                    state="sending",
                    sends=row["sends"] + 1,
                    first_sent_at=row["first_sent_at"] or stamp(now),
                    last_sent_at=stamp(now),
                )
            )

    def unknown(self, sent: Sent, *, burnt: bool, fence: Fence, status: int | None = None) -> None:
        """Keep that a request went out and nobody knows what became of it."""
        with self._store.write(fence) as con:
            values = {"state": "unknown", "status": status} | ({"burnt": True} if burnt else {})
            con.execute(update(requests).where(requests.c.request_id == sent.request_id).values(**values))
            mine = (intents.c.request_id == sent.request_id) & (intents.c.state == "sending")
            con.execute(update(intents).where(mine).values(state="unknown"))
            self._store.log(con, "unknown", {"request_id": sent.request_id, "burnt": burnt, "status": status})

    def close(
        self,
        sent: Sent | None,
        ended: Sequence[tuple[Intent | None, Sequence[Ended]]],
        *,
        plan_hash: str,
        fence: Fence,
        status: int | None = None,
        sending_failed: bool = False,
    ) -> None:
        """Keep outcomes, and the links and bases that they prove, in one transaction.

        sent: the request that they answer; null where nothing was sent for them.
        """
        every = [one for _, some in ended for one in some]
        with self._store.write(fence) as con:
            self._end_intents(con, ended)
            self._store_outcomes(con, every, plan_hash)
            store_links(
                self._store, con, pl.DataFrame([one.link for one in every if one.link], schema=dict(LINKS))
            )
            rows = [row for one in every for row in one.bases]
            store_bases(self._store, con, pl.DataFrame(rows, schema={**BASES, "stamp": UTC}))
            if sent is not None:
                self._close_request(con, sent, status, sending_failed)
            told = {one.operation.operation_id: one.outcome for one in every}
            request_id = sent.request_id if sent else None
            self._store.log(
                con, "outcomes", {"request_id": request_id, "plan_hash": plan_hash, "outcomes": told}
            )

    def _end_intents(self, con: Connection, ended: Sequence[tuple[Intent | None, Sequence[Ended]]]) -> None:
        now = stamp(self._store.now())
        rows = [
            {
                "which": intent.intent_id,
                "state": some[0].outcome if some else "waiting",
                "result_id": some[0].record_id if some else None,
                "ended_at": now,
            }
            for intent, some in ended
            if intent is not None
        ]
        if rows:
            con.execute(update(intents).where(intents.c.intent_id == bindparam("which")), rows)

    def _close_request(self, con: Connection, sent: Sent, status: int | None, sending_failed: bool) -> None:
        mine = (intents.c.request_id == sent.request_id) & intents.c.state.in_(LIVE)
        if con.execute(select(func.count()).select_from(intents).where(mine)).scalar():
            con.execute(update(intents).where(mine).values(state="unknown"))
            state = "unknown"
        else:
            state = "not_sent" if sending_failed else "answered"
        con.execute(
            update(requests)
            .where(requests.c.request_id == sent.request_id)
            .values(state=state, status=status)
        )

    def _store_outcomes(self, con: Connection, ended: Sequence[Ended], plan_hash: str) -> None:
        now = stamp(self._store.now())
        rows = []
        for one in ended:
            done = one.operation
            written = dumps({"before": done.native_before, "after": done.native_after}).encode()
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
        upsert(con, outcomes, rows)
        for row in rows:
            if row["outcome"] == "rejected":
                _bury(con, row)
        done = [row["operation_id"] for row in rows if row["outcome"] in ("confirmed", "adopted")]
        con.execute(delete(dead_letters).where(dead_letters.c.operation_id.in_(done)))

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
        made = {one["intent_id"]: self._intent(one) for one in every}
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
        )

    def _intent(self, row: Any) -> Intent:
        content = json.loads(self._store.unseal("intents", (row["intent_id"],), row["content"]))
        operations = [
            Operation.from_row({**one, "moves": tuple(one["moves"])}) for one in content["operations"]
        ]
        return Intent(
            intent_id=row["intent_id"],
            system=row["system"],
            object=row["object"],
            entity=row["entity"],
            action=row["action"],
            record_id=row["record_id"],
            key_field=content["key_field"],
            natural_key=row["natural_key"],
            body=content["body"],
            operations=tuple(operations),
            attempt=row["attempt"],
        )


class HorizonPassed(Exception):
    """The key of a request may have run out: sending it again could make the record twice."""


def inside_horizon(first: datetime, now: datetime, horizon_s: float) -> bool:
    """Say whether a key that first left then certainly still lives.

    A clock that went backwards proves nothing: then it doesn't.
    """
    return -5 <= (now - first).total_seconds() < horizon_s


def _bury(con: Connection, row: dict[str, Any]) -> None:
    """Count a refusal: the same operation refused again and again is a dead letter."""
    known = (
        con.execute(select(dead_letters).where(dead_letters.c.operation_id == row["operation_id"]))
        .mappings()
        .first()
    )
    values = {
        name: row[name] for name in ("operation_id", "system", "entity", "unit", "record_id", "message")
    }
    values |= {
        "times": (known["times"] if known else 0) + 1,
        "first_at": known["first_at"] if known else row["at"],
        "last_at": row["at"],
    }
    upsert(con, dead_letters, [values])

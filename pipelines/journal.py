"""Keeps what was decided, intended, sent and known: the one place from which a crash is settled.

Links, bases and decisions commit here, in one transaction with the outcome that made them. Readers never
wait for a run.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import polars as pl
from sqlalchemy import delete, func, insert, select

from pipelines import journal_knowledge as knowledge
from pipelines.journal_chain import chain_end
from pipelines.journal_intents import Intents
from pipelines.journal_lease import Lease, who_holds
from pipelines.journal_store import Fence, Store, Verdict, dumps, moment, stamp, utc_now
from pipelines.journal_tables import LIVE, dead_letters, intents, outcomes, plans, requests, runs, tokens
from pipelines.settings import Settings
from reconcile.bodies import loads
from reconcile.errors import NeedsApproval, WrongPair
from reconcile.mapped import MEMBERSHIP, SHOWN_ENTITIES, SHOWN_UNIT
from reconcile.memberships import MADE
from reconcile.model import BASES, LINKS, OUTCOME_ROWS, UTC, Schema, conform

# What must not change under a pair. An organisation may be renamed, an instance moved.
PINNED: Final = ("salesforce_org_id", "is_sandbox", "xero_tenant_id", "base_currency")
PLAN_STATES: Final = ("sealed", "approved", "applied", "applied_in_part", "expired", "superseded")
WAITING_STATES: Final = ("sealed", "approved")

UNSETTLED: Final[Schema] = {
    "intent_id": pl.String,
    "system": pl.String,
    "entity": pl.String,
    "object": pl.String,
    "record_id": pl.String,
    "state": pl.String,
    "sent_at": UTC,
    "attempt": pl.Int64,
    "plan_hash": pl.String,
}
DEAD_LETTERS: Final[Schema] = {
    "operation_id": pl.String,
    "system": pl.String,
    "entity": pl.String,
    "unit": pl.String,
    "record_id": pl.String,
    "message": pl.String,
    "times": pl.Int64,
    "first_at": UTC,
    "last_at": UTC,
}
RECENT: Final[Schema] = {
    "link_id": pl.String,
    "unit": pl.String,
    "system": pl.String,
    "native_before": pl.String,
    "native_after": pl.String,
    "at": UTC,
}


@dataclass(frozen=True)
class PlanRow:
    """A plan's state. outcomes: how many operations ended in each way so far."""

    plan_hash: str
    state: str
    manifest: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    outcomes: dict[str, int]


@dataclass(frozen=True)
class RunRow:
    run_id: str
    kind: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    counts: dict[str, Any]
    calls: dict[str, Any]
    details: dict[str, Any]


def open_journal(settings: Settings) -> Journal:
    """Open the journal of a pair; makes it when there is none."""
    head = settings.pair.data_dir / "journal.head"
    return Journal(settings.journal_url, settings.journal.key.get_secret_value(), head=head)


class Journal(Store):
    """One pair's journal."""

    def __init__(
        self, url: str, key: str = "", *, now: Callable[[], datetime] = utc_now, **options: Any
    ) -> None:
        """Options: as Store has them."""
        super().__init__(url, key, now=now, **options)
        self.tokens = TokenStore(self)
        self.intents = Intents(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the pair: what it is, whether it may be written, who works on it

    def pins(self) -> dict[str, Any]:
        """Give the identity that enable-writes pinned; empty before that."""
        return json.loads(self.get_meta("pins") or "{}")

    def identity(self) -> dict[str, Any]:
        """Give who the systems are: as pinned, else as they were when they were first met; else empty."""
        return self.pins() or json.loads(self.get_meta("identity") or "{}")

    def remember_identity(self, identity: Mapping[str, Any]) -> None:
        """Keep who the systems were when they were first met: nobody else's rows may join theirs."""
        with self.write() as con:
            self.put_meta(con, "identity", dumps(dict(identity)))
            self.log(con, "identified", {name: identity.get(name) for name in PINNED})

    def bind(self, pair: str) -> None:
        """Make the journal that of one pair.

        Raises WrongPair where it is another pair's.
        """
        known = self.get_meta("pair")
        if known is None:
            with self.write() as con:
                self.put_meta(con, "pair", pair)
                self.log(con, "bound", {"pair": pair})
        elif known != pair:
            raise WrongPair(
                f"{self.at}: it belongs to the pair {known!r}, and the settings name {pair!r}. Nothing was read or "
                "written. Give each pair a pair.data_dir (or journal.url) of its own."
            )

    def check_pins(self, identity: Any) -> None:
        """Raise WrongPair where organisation, tenant or base currency is not the one that is known."""
        found = identity.as_dict() if hasattr(identity, "as_dict") else dict(identity)
        pins = self.identity()
        wrong = [
            f"{name}: found {found.get(name)!r}, known {pins[name]!r}"
            for name in PINNED
            if name in pins and found.get(name) != pins[name]
        ]
        if wrong:
            raise WrongPair(
                f"{self.at}: the systems are not those that this pair was set up for ({'; '.join(wrong)}). "
                "Nothing was read or written. Correct the settings; another pair needs another pair.data_dir."
            )

    def enable_writes(self, pair: str, environment: str, pins: Mapping[str, Any]) -> None:
        """Let the pair be written to, and pin who it is. Raises WrongPair where it was pinned to others."""
        self.check_pins(pins)
        with self.write() as con:
            self.put_meta(con, "pins", dumps(dict(pins)))
            enabled = json.loads(self.get_meta("writes_enabled", con) or "{}")
            self.put_meta(con, "writes_enabled", dumps({**enabled, pair: environment}))
            known = {name: pins[name] for name in PINNED if name in pins}
            self.log(con, "writes_enabled", {"pair": pair, "environment": environment, "pins": known})

    def disable_writes(self, pair: str) -> None:
        """Make the pair read-only again; the pins stay."""
        with self.write() as con:
            enabled = json.loads(self.get_meta("writes_enabled", con) or "{}")
            enabled.pop(pair, None)
            self.put_meta(con, "writes_enabled", dumps(enabled))
            self.log(con, "writes_disabled", {"pair": pair})

    def writes_enabled(self, pair: str) -> str | None:
        """Give the environment that the pair may write to; None where it is read-only."""
        return json.loads(self.get_meta("writes_enabled") or "{}").get(pair)

    def lease(self, pair: str, holder: str, seconds: float, *, wait_s: float = 0) -> Lease:
        """Give the right to work on the pair, as a context. Entering raises LeaseHeld, after waiting so long."""
        return Lease(self, pair, holder, seconds, wait_s=wait_s)

    # -- what is known

    def at_work(self) -> str | None:
        """Give who holds the lease now."""
        with self.read() as con:
            return who_holds(con)

    def links(self) -> pl.DataFrame:
        """Give the LINKS that hold."""
        return conform(knowledge.read_links(self), LINKS)

    def link_history(self, since: int = 0) -> pl.DataFrame:
        """Give LINKS with sequence, held_from and held_to, also those that ended; for folding."""
        return knowledge.read_links(self, since=since, ended=True)

    def bases(self) -> pl.DataFrame:
        """Give the BASES: one row a link, side and unit."""
        return conform(knowledge.read_bases(self), BASES)

    def bases_of(self, link_ids: Sequence[str]) -> pl.DataFrame:
        """Give the BASES of these links."""
        return conform(knowledge.read_bases_of(self, link_ids), BASES)

    def bases_since(self, sequence: int) -> pl.DataFrame:
        """Give BASES with sequence, of the links changed after it; all units of each."""
        return knowledge.read_bases(self, since=sequence)

    def decisions(self) -> pl.DataFrame:
        """Give the DECISIONS in force."""
        return knowledge.read_decisions(self)

    def sequence(self) -> int:
        """Give the number that moves with each write of a link, base or decision."""
        return int(self.get_meta("sequence") or 0)

    def decide(
        self,
        kind: str,
        *,
        entity: str,
        salesforce_id: str | None,
        xero_id: str | None,
        made_by: str,
        unit: str | None = None,
        fingerprint: str | None = None,
    ) -> int:
        """Keep what a person decided; it replaces what was decided before on the same pair and unit."""
        values = {
            "kind": kind,
            "entity": entity,
            "salesforce_id": salesforce_id,
            "xero_id": xero_id,
            "unit": unit,
            "fingerprint": fingerprint,
            "made_by": made_by,
        }
        return knowledge.decide(self, values)

    def withdraw(
        self, entity: str, salesforce_id: str | None, xero_id: str | None, unit: str | None = None
    ) -> bool:
        """Forget what was decided on that pair and unit."""
        return knowledge.withdraw(self, entity, salesforce_id, xero_id, unit)

    def adopt(self, found: pl.DataFrame, moves: pl.DataFrame, *, lease: Fence | None = None) -> int:
        """Keep LINKS and BASE_MOVES that need no remote write, in one transaction; gives the sequence.

        What is known already moves nothing.
        """
        with self.write(lease) as con:
            links_written = knowledge.store_links(self, con, found)
            bases_written = knowledge.store_bases(self, con, knowledge.long_moves(moves))
            if links_written or bases_written:
                digest = hashlib.sha256("\n".join(sorted(found["link_id"])).encode()).hexdigest()
                told = {"links": links_written, "bases": bases_written, "link_ids_sha256": digest}
                self.log(con, "adopted", told)
            return int(self.get_meta("sequence", con) or 0)

    def recent(self, limit: int = 3) -> pl.DataFrame:
        """Give the newest confirmed writes of each link and unit: RECENT, newest first."""
        ranked = (
            select(
                outcomes,
                func.row_number()
                .over(partition_by=(outcomes.c.link_id, outcomes.c.unit), order_by=outcomes.c.at.desc())
                .label("rank"),
            )
            .where(
                outcomes.c.outcome == "confirmed",
                outcomes.c.action == "update",
                outcomes.c.link_id.is_not(None),
            )
            .subquery()
        )
        with self.read() as con:
            query = select(ranked).where(ranked.c.rank <= limit).order_by(ranked.c.at.desc())
            rows = con.execute(query).mappings().all()
        written = [
            json.loads(self.unseal("outcomes", (row["plan_hash"], row["operation_id"]), row["written"]))
            for row in rows
        ]
        data = {
            "link_id": [row["link_id"] for row in rows],
            "unit": [row["unit"] for row in rows],
            "system": [row["system"] for row in rows],
            "native_before": [pieces["before"] for pieces in written],
            "native_after": [pieces["after"] for pieces in written],
            "at": [moment(row["at"]) for row in rows],
        }
        return pl.DataFrame(data, schema=dict(RECENT))

    def written_fields(self, record_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Give record -> field -> what we wrote there last, of Salesforce's records that show what Xero knows."""
        found: dict[str, dict[str, Any]] = {}
        query = select(outcomes).where(
            outcomes.c.system == "salesforce",
            outcomes.c.outcome.in_(("confirmed", "adopted")),
            outcomes.c.unit == SHOWN_UNIT,
        )
        made = select(outcomes).where(
            outcomes.c.entity.in_(tuple(SHOWN_ENTITIES.values())),
            outcomes.c.outcome.in_(("confirmed", "adopted")),
            outcomes.c.action == "create",
        )
        wanted = frozenset(record_ids)
        if not wanted:
            return found
        with self.read() as con:
            rows = [
                row for one in (made, query.order_by(outcomes.c.at)) for row in con.execute(one).mappings()
            ]
        for row in rows:
            if row["record_id"] in wanted:
                sealed = self.unseal("outcomes", (row["plan_hash"], row["operation_id"]), row["written"])
                found.setdefault(row["record_id"], {}).update(loads(json.loads(sealed)["after"] or "{}"))
        return found

    def memberships_made(self, record_ids: Collection[str]) -> pl.DataFrame:
        """Give MADE: what we last made of these memberships in contact groups."""
        query = (
            select(outcomes)
            .where(outcomes.c.entity == MEMBERSHIP, outcomes.c.outcome.in_(("confirmed", "adopted")))
            .order_by(outcomes.c.at)
        )
        wanted = frozenset(record_ids)
        with self.read() as con:
            rows = con.execute(query).mappings().all() if wanted else []
        last = {row["record_id"]: row for row in rows if row["record_id"] in wanted}
        made = {
            record_id: json.loads(
                self.unseal("outcomes", (row["plan_hash"], row["operation_id"]), row["written"])
            )
            for record_id, row in last.items()
        }
        data = {
            "record_id": list(last),
            "went_in": [json.loads(made[record_id]["after"])["Member"] for record_id in last],
            "at": [moment(row["at"]) for row in last.values()],
        }
        return pl.DataFrame(data, schema=dict(MADE))

    # -- plans and their outcomes

    def save_plan(self, plan_hash: str, manifest: Mapping[str, Any], state: str = "sealed") -> None:
        """Keep a plan that was sealed; others that still waited are superseded.

        A plan that is known keeps its state, so that planning the same again doesn't take an approval back.
        """
        now = stamp(self.now())
        with self.write() as con:
            known = con.execute(select(plans.c.state).where(plans.c.plan_hash == plan_hash)).scalar()
            others = plans.c.state.in_(WAITING_STATES) & (plans.c.plan_hash != plan_hash)
            self.change(con, plans, others, state="superseded", updated_at=now)
            values = {"manifest": dumps(dict(manifest)), "updated_at": now}
            if known is None:
                row = {"plan_hash": plan_hash, "state": state, "created_at": now, **values}
                self.add(con, plans, [row])
            else:
                kept = state if known in ("expired", "superseded") else known
                self.change(con, plans, plans.c.plan_hash == plan_hash, state=kept, **values)
            self.log(con, "plan_saved", {"plan_hash": plan_hash, "state": state})

    def set_plan_state(self, plan_hash: str, state: str) -> None:
        """Move a plan on: approved, applied, applied_in_part, expired, superseded."""
        if state not in PLAN_STATES:
            raise ValueError(f"{state!r} is no state of a plan")
        with self.write() as con:
            this = plans.c.plan_hash == plan_hash
            if self.change(con, plans, this, state=state, updated_at=stamp(self.now())) == 0:
                raise NeedsApproval(
                    f"the plan {plan_hash[:12]} is not known here. Run `reconcile plan` first."
                )
            self.log(con, "plan_state", {"plan_hash": plan_hash, "state": state})

    def plan(self, plan_hash: str) -> PlanRow | None:
        with self.read() as con:
            row = con.execute(select(plans).where(plans.c.plan_hash == plan_hash)).mappings().first()
            return None if row is None else self._plan_row(con, row)

    def plans(self, limit: int = 20) -> list[PlanRow]:
        """Give the newest plans first."""
        with self.read() as con:
            rows = (
                con.execute(select(plans).order_by(plans.c.created_at.desc()).limit(limit)).mappings().all()
            )
            return [self._plan_row(con, row) for row in rows]

    def _plan_row(self, con: Any, row: Any) -> PlanRow:
        counted = (
            select(outcomes.c.outcome, func.count())
            .where(outcomes.c.plan_hash == row["plan_hash"])
            .group_by(outcomes.c.outcome)
        )
        return PlanRow(
            plan_hash=row["plan_hash"],
            state=row["state"],
            manifest=json.loads(row["manifest"]),
            created_at=moment(row["created_at"]),
            updated_at=moment(row["updated_at"]),
            outcomes=dict(con.execute(counted).tuples().all()),
        )

    def outcomes(self, plan_hash: str) -> pl.DataFrame:
        """Give the OUTCOME_ROWS of a plan so far."""
        query = select(outcomes).where(outcomes.c.plan_hash == plan_hash).order_by(outcomes.c.operation_id)
        with self.read() as con:
            rows = con.execute(query).mappings().all()
        data = {name: [row[name] for row in rows] for name in OUTCOME_ROWS}
        return conform(pl.DataFrame(data, schema=dict.fromkeys(OUTCOME_ROWS, pl.String)), OUTCOME_ROWS)

    def unsettled(self) -> pl.DataFrame:
        """Give the intents whose outcome is not known: UNSETTLED."""
        joined = intents.join(requests, intents.c.request_id == requests.c.request_id)
        query = select(intents, requests.c.last_sent_at).select_from(joined).where(intents.c.state.in_(LIVE))
        with self.read() as con:
            rows = con.execute(query.order_by(intents.c.created_at)).mappings().all()
        data = {name: [row[name] for row in rows] for name in UNSETTLED if name != "sent_at"}
        data["sent_at"] = [knowledge.held_since(row["last_sent_at"]) for row in rows]
        return pl.DataFrame(data, schema={name: UNSETTLED[name] for name in data}).select(list(UNSETTLED))

    def dead_letters(self) -> pl.DataFrame:
        """Give the operations that a vendor refused, with how often: DEAD_LETTERS."""
        with self.read() as con:
            rows = con.execute(select(dead_letters).order_by(dead_letters.c.last_at.desc())).mappings().all()
        data = {name: [row[name] for row in rows] for name in DEAD_LETTERS}
        data |= {name: [moment(row[name]) for row in rows] for name in ("first_at", "last_at")}
        return pl.DataFrame(data, schema=dict(DEAD_LETTERS))

    # -- runs, notes, status

    def start_run(self, kind: str, *, holder: str = "", details: Mapping[str, Any] | None = None) -> str:
        """Keep that a run began, and give its id."""
        run_id = uuid.uuid4().hex
        values = {
            "run_id": run_id,
            "kind": kind,
            "state": "running",
            "holder": holder,
            "started_at": stamp(self.now()),
            "counts": "{}",
            "calls": "{}",
            "details": dumps(dict(details or {})),
        }
        with self.write() as con:
            self.add(con, runs, [values])
            self.log(con, "run_started", {"run_id": run_id, "kind": kind})
        return run_id

    def end_run(
        self,
        run_id: str,
        state: str,
        *,
        counts: Mapping[str, Any] | None = None,
        calls: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep how a run ended, what it counted and what it cost."""
        values: dict[str, Any] = {"state": state, "ended_at": stamp(self.now())}
        given = {"counts": counts, "calls": calls, "details": details}
        values |= {name: dumps(dict(value)) for name, value in given.items() if value is not None}
        with self.write() as con:
            # The chain's end as of this run, in a place that is copied about: reports show it too.
            row = con.execute(select(runs.c.details).where(runs.c.run_id == run_id)).scalar()
            told = json.loads(values.get("details") or row or "{}") | {"audit_head": str(chain_end(con))}
            self.change(con, runs, runs.c.run_id == run_id, **values | {"details": dumps(told)})
            self.log(con, "run_ended", {"run_id": run_id, "state": state})

    def runs(self, limit: int = 20, *, kind: str | None = None) -> list[RunRow]:
        """Give the newest runs first; of one kind, or of all."""
        query = select(runs).order_by(runs.c.started_at.desc()).limit(limit)
        if kind is not None:
            query = query.where(runs.c.kind == kind)
        with self.read() as con:
            rows = con.execute(query).mappings().all()
        return [
            RunRow(
                run_id=row["run_id"],
                kind=row["kind"],
                state=row["state"],
                started_at=moment(row["started_at"]),
                ended_at=knowledge.held_since(row["ended_at"]),
                counts=json.loads(row["counts"]),
                calls=json.loads(row["calls"]),
                details=json.loads(row["details"]),
            )
            for row in rows
        ]

    def last_began(self, kind: str, *, before: str = "") -> datetime | None:
        """Give when the newest run of a kind began, other than the run `before`; null where there is none."""
        query = select(func.max(runs.c.started_at)).where(runs.c.kind == kind, runs.c.run_id != before)
        with self.read() as con:
            return knowledge.held_since(con.execute(query).scalar())

    def note(self, kind: str, details: Mapping[str, Any]) -> None:
        """Add a row to the audit chain: ids, counts and words; never a value of a person."""
        with self.write() as con:
            self.log(con, kind, details)

    def head(self) -> str:
        """Give the end of the audit chain (sequence:hash), for whoever keeps it elsewhere."""
        with self.read() as con:
            return str(chain_end(con))

    def status(self) -> dict[str, Any]:
        """Give what a person asks first, as JSON."""
        with self.read() as con:
            counted = select(knowledge.links.c.entity, func.count()).where(
                knowledge.links.c.held_to.is_(None)
            )
            linked = dict(con.execute(counted.group_by(knowledge.links.c.entity)).tuples().all())
            waiting = con.execute(
                select(func.count()).select_from(intents).where(intents.c.state.in_(LIVE))
            ).scalar()
            dead = con.execute(select(func.count()).select_from(dead_letters)).scalar()
            head = self.get_meta("audit_head", con) or "0:"
        last = self.runs(limit=1)
        newest = self.plans(limit=1)
        return {
            "journal": self.at,
            "encrypted": self.cipher.on,
            "tokens_kept": self.tokens.durable,
            "sequence": self.sequence(),
            "links": linked,
            "unsettled": waiting,
            "dead_letters": dead,
            "writes_enabled": json.loads(self.get_meta("writes_enabled") or "{}"),
            "last_run": None if not last else _told(last[0]),
            "last_plan": None if not newest else _told(newest[0]),
            "audit_rows": int(head.partition(":")[0]),
            "audit_head": head.partition(":")[2],
            "whole": not self.trouble,
            "trouble": self.trouble or None,
        }


def _told(row: PlanRow | RunRow) -> dict[str, Any]:
    values = vars(row)
    return {name: stamp(value) if isinstance(value, datetime) else value for name, value in values.items()}


class TokenStore:
    """Keeps login tokens: sealed in the journal; only in memory where there is no key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._in_memory: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def durable(self) -> bool:
        """Say whether tokens outlive this process."""
        return self._store.cipher.on

    def get(self, side: str, kind: str) -> dict[str, Any] | None:
        if not self.durable:
            return self._in_memory.get((side, kind))
        query = select(tokens.c.value).where(tokens.c.side == side, tokens.c.kind == kind)
        with self._store.read() as con:
            sealed = con.execute(query).scalar()
        return None if sealed is None else json.loads(self._store.unseal("tokens", (side, kind), sealed))

    def put(self, side: str, kind: str, value: dict[str, Any]) -> None:
        """Keep a token; it is durable when this returns, where anything is."""
        if not self.durable:
            self._in_memory[side, kind] = dict(value)
            return
        sealed = self._store.seal("tokens", (side, kind), dumps(value).encode())
        row = {"side": side, "kind": kind, "value": sealed, "updated_at": stamp(self._store.now())}
        with self._store.write() as con:
            con.execute(delete(tokens).where(tokens.c.side == side, tokens.c.kind == kind))
            con.execute(insert(tokens), [row])

    def forget(self, side: str) -> None:
        """Throw away that side's tokens."""
        self._in_memory = {key: value for key, value in self._in_memory.items() if key[0] != side}
        with self._store.write() as con:
            con.execute(delete(tokens).where(tokens.c.side == side))


__all__: Sequence[str] = ("Journal", "PlanRow", "RunRow", "TokenStore", "Verdict", "open_journal")

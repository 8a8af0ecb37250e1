"""Keeps how each operation of one push ended: in the journal first, then in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.intents import Ended, Intent, Operation
from pipelines.journal_intents import Sent
from pipelines.protocol import DONE as DONE
from pipelines.protocol import Proof
from reconcile.model import OUTCOME_ROWS, conform

if TYPE_CHECKING:
    from pipelines.journal import Journal
    from pipelines.journal_lease import Lease


INTENTS_AT_ONCE: Final = 1_000  # that end in one transaction: others wait for it


class Outcomes:
    """What this push knows of its operations, and of the links that hold."""

    def __init__(self, journal: Journal, lease: Lease, plan_hash: str, planned: Collection[str] = ()) -> None:
        self.journal, self.lease, self.plan_hash = journal, lease, plan_hash
        self.planned = frozenset(planned)  # the operations that may be sent
        self.links = journal.intents.link_ids()
        self.ended: dict[str, Ended] = {}
        self.earlier = journal.intents.done(plan_hash)

    def tell_again(self, operations: Iterable[Operation]) -> None:
        """Take over what an earlier push of this plan made."""
        for one in operations:
            if one.operation_id in self.earlier:
                outcome, record_id = self.earlier[one.operation_id]
                self.ended[one.operation_id] = Ended(one, outcome, record_id)

    def is_done(self, operation_id: str) -> bool:
        ended = self.ended.get(operation_id)
        return (ended.outcome if ended else self.earlier.get(operation_id, ("",))[0]) in DONE

    def new_ids(self) -> dict[str, str]:
        """Give the id of each record that an operation made or wrote."""
        found = {
            operation_id: record_id for operation_id, (_, record_id) in self.earlier.items() if record_id
        }
        done = {
            key: one.record_id for key, one in self.ended.items() if one.outcome in DONE and one.record_id
        }
        return found | done

    def close(
        self,
        sent: Sent,
        ended: Sequence[tuple[Intent, Sequence[Ended]]],
        *,
        status: int | None = None,
        proof: Proof | None = None,
    ) -> None:
        """Keep what became of a request's intents; one without outcomes ends, and its operations go on.

        proof: why those may go on.
        """
        # What is left of a request is unknown in between, and a sending that failed proves nothing of the unknown.
        whole = proof is not None and proof.kind == "not_sent"
        at_once = max(len(ended), 1) if whole else INTENTS_AT_ONCE
        for at in range(0, len(ended), at_once):
            part = ended[at : at + at_once]
            self.journal.intents.close(
                sent, part, plan_hash=self.plan_hash, fence=self.lease, status=status, proof=proof
            )
            self._take(one for _, some in part for one in some)

    def conclude(self, ended: Sequence[Ended]) -> None:
        """Keep outcomes for which nothing was sent."""
        if not ended:
            return
        self.journal.intents.close(None, [(None, ended)], plan_hash=self.plan_hash, fence=self.lease)
        self._take(ended)

    def wait(self, operations: Iterable[Operation], why: str) -> None:
        self.conclude([Ended(one, "waiting", message=why) for one in operations])

    def ask(self, operations: Iterable[Operation], why: str) -> None:
        """Leave them to a person: planning leaves them out until it is told to try again."""
        self.conclude([Ended(one, "asked", message=why) for one in operations])

    def stay_unknown(self, intents: Iterable[Intent]) -> None:
        """The journal has them as unknown already; here they are told."""
        self._take(
            Ended(one, "unknown", message="sent; the next run settles it first")
            for intent in intents
            for one in intent.operations
        )

    def _take(self, ended: Iterable[Ended]) -> None:
        for one in ended:
            self.ended[one.operation.operation_id] = one
            if one.link:
                self.links.add(one.link["link_id"])


def outcome_rows(ended: Iterable[Ended]) -> pl.DataFrame:
    """Give OUTCOME_ROWS, in the same order."""
    rows = [
        {
            "operation_id": one.operation.operation_id,
            "system": one.operation.system,
            "entity": one.operation.entity,
            "record_id": one.record_id or one.operation.record_id,
            "unit": one.operation.unit,
            "phase": one.operation.phase,
            "outcome": one.outcome,
            "message": one.message,
        }
        for one in ended
    ]
    return conform(pl.DataFrame(rows, schema=dict.fromkeys(OUTCOME_ROWS, pl.String)), OUTCOME_ROWS)

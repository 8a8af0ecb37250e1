"""Looks once more at what a document or payment is made from, just before it is made, changed or withdrawn.

A plan lives for a day. An opportunity that was lost, deleted or priced anew since it was made gives another
document, or none: only the next plan can say which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from pipelines.intents import Intent, Operation
from pipelines.looks import Looks, modified_at, writes_invoice
from reconcile.agreed import WITHDRAWN
from reconcile.bodies import loads
from reconcile.ids import long_id
from reconcile.mapping import Mapping as RecordMapping

SIDE: Final = "salesforce"
DOCUMENT: Final = "document"
CREDIT: Final = "credit"
PAYMENT: Final = "payment"
BILL: Final = "bill"
MADE_OF_LINES: Final = (DOCUMENT, CREDIT)
STAMPS: Final = frozenset({"attributes", "SystemModstamp", "LastModifiedById", "LastModifiedDate"})
GONE: Final = "what it is made from is not there any more"
CHANGED: Final = "what it is made from changed since the plan"

Body = Mapping[str, Any]


class Sources:
    """What the plan saw of the records that its new documents and payments are made from."""

    def __init__(
        self,
        seen: pl.DataFrame | None,
        operations: Sequence[Operation],
        mapping: RecordMapping,
        seen_at: datetime | None,
    ) -> None:
        """Take SEEN of a plan; null where it has none, as when an earlier run's intents are settled."""
        self._seen_at, self._invoice, self._payments = seen_at, mapping.invoice, mapping.payments
        objects = [one.salesforce for one in mapping.invoice.sources] if mapping.invoice else []
        self._bill = mapping.bill
        objects += [one.salesforce for one in (mapping.payments, mapping.bill) if one]
        self._bodies: dict[str, Body] = {}
        if seen is not None:
            mine = seen.filter(pl.col("object").is_in(objects)).select("record_id", "body")
            self._bodies = {which: loads(body) for which, body in mine.iter_rows()}
        # What the plan itself writes there (a number, the link back) is no change.
        self._written: dict[str, set[str]] = {}
        for one in operations:
            if one.object in objects:
                self._written.setdefault(one.object, set()).update(json.loads(one.native_after or "{}"))

    def stale(self, intents: Sequence[Intent], looks: Looks) -> dict[str, str]:
        """Give intent_id -> why, of documents and payments whose source is not as the plan saw it. Raises as Looks."""
        known = [
            one
            for one in intents
            if (one.action == "create" or _moves(one))
            and any(source in self._bodies for _, source in self._made_of(one))
        ]
        by_object: dict[str, list[str]] = {}
        of_lines: set[str] = set()
        for one in known:
            for object_name, source in self._made_of(one):
                by_object.setdefault(object_name, []).append(source)
                of_lines |= {object_name} if one.entity in MADE_OF_LINES else set()
        for object_name, mine in by_object.items():
            looks.fetch_ids(SIDE, object_name, mine)
        moved: set[str] = set()
        for mapping in self._invoice.sources if self._invoice else ():
            if mapping.salesforce not in of_lines:
                continue
            looks.refresh(SIDE, mapping.lines, far_back=True)
            moved |= self._of_moved(looks, mapping.lines, mapping.source.parent)
            if mapping.source.original is not None:
                looks.refresh(SIDE, mapping.salesforce, far_back=True)  # what takes from it is no line of it
                moved |= self._of_moved(looks, mapping.salesforce, mapping.source.original)
        # Of what was lost or deleted an invoice is withdrawn, also if it was deleted only since.
        gone = {one.intent_id for one in intents if one.operations[0].unit == WITHDRAWN}
        return {
            one.intent_id: why
            for one in known
            if (why := self._why(one, looks, moved if one.entity in MADE_OF_LINES else set())) is not None
            and (why, one.intent_id in gone) != (GONE, True)
        }

    def _why(self, intent: Intent, looks: Looks, moved: set[str]) -> str | None:
        for object_name, source in self._made_of(intent):
            now = looks.record(SIDE, object_name, source)
            if now is None or now.get("IsDeleted"):
                return GONE
            then = self._bodies.get(source, {})
            names = (then.keys() & now.keys()) - STAMPS - self._written.get(object_name, set())
            same = all(then[name] == now[name] for name in names)  # numbers of both are exact
            if not same or source in moved:
                return CHANGED
        return None

    def _made_of(self, intent: Intent) -> list[tuple[str, str]]:
        """Give object and id of each record that a document or payment is made from; others are made from none."""
        first = intent.operations[0]
        sources = first.made_from or [str(first.source_id)]
        if intent.entity in MADE_OF_LINES and self._invoice is not None:
            return [(self._invoice.of(one).salesforce, one) for one in sources]
        if intent.entity == PAYMENT and self._payments is not None:
            return [(self._payments.salesforce, one) for one in sources]
        if intent.entity == BILL and self._bill is not None:
            return [(self._bill.salesforce, one) for one in sources]
        return []

    def _of_moved(self, looks: Looks, object_name: str, parent: str) -> set[str]:
        """Give the sources of which something was made, changed or taken out since the snapshot. parent: names it."""
        return {
            str(long_id(str(body[parent])))
            for body in looks.records(SIDE, object_name)
            if body.get(parent)
            and (at := modified_at(body, SIDE)) is not None
            and self._seen_at is not None
            and at > self._seen_at
        }


def _moves(intent: Intent) -> bool:
    """Whether it changes or withdraws an invoice; what is taken back follows no source."""
    return any(writes_invoice(one) and one.phase != "undo" for one in intent.operations)

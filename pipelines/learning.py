"""Says what an outcome proves: the link that it makes, and each side's own value of what was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pipelines.intents import Ended, Intent, Operation
from pipelines.looks import OWN, Body, Looks, entity_id, modified_at, piece_like
from pipelines.outcomes import Outcomes
from reconcile.agreed import learned
from reconcile.bodies import dumps, loads
from reconcile.mapped import OPTION
from reconcile.mapping import Mapping
from reconcile.match import link_id as name_link
from reconcile.model import BASES
from reconcile.normalise import pieces

UNHEEDED: Final = "the write was accepted, and the old value is still there"
CARRYING: Final = {
    "payment": "a payment with its Reference",
    "credit": "a credit note with its number",
    "bill": "a bill with its number",
}
OTHER_SIDE: Final = {"salesforce": "xero", "xero": "salesforce"}


class Learner:
    """Turns what was written, or found written, into outcomes with links and bases."""

    def __init__(self, mapping: Mapping, looks: Looks, outcomes: Outcomes) -> None:
        self._mapping, self._looks, self._outcomes = mapping, looks, outcomes

    def confirmed(self, written: Sequence[tuple[Intent, Body | None, str]]) -> list[list[Ended]]:
        """Give the outcomes of confirmed intents. Takes (intent, record as read back or null, its id)."""
        for intent, body, record_id in written:
            if intent.action == "create" and body is not None:  # what depends on it may ask for its fields
                self._looks.keep(intent.system, intent.object, record_id, body)
        seen = [
            (one, body)
            for intent, body, _ in written
            for one in intent.operations
            if body is not None and one.action != "create"
        ]
        states = self._looks.compare(seen)
        return [
            [
                Ended(one, "rejected", message=UNHEEDED)
                if states.get(one.operation_id) == "before"
                else self.learn_one(one, "confirmed", body, record_id)
                for one in intent.operations
            ]
            for intent, body, record_id in written
        ]

    def adopted(self, intent: Intent, body: Body, record_id: str) -> list[Ended]:
        """Give the outcomes of an intent whose values were found to be there.

        An invoice that carries our number, or a payment our Reference, and is another one is not ours to take.
        """
        differs = unlike(intent, body) if intent.action == "create" else ""
        if differs:
            what = CARRYING.get(intent.entity, "an invoice with its number")
            why = f"{what} is there already, and differs: {differs}"
            return [Ended(one, "rejected", message=why) for one in intent.operations]
        return [self.learn_one(one, "adopted", body, record_id) for one in intent.operations]

    def learn_one(self, operation: Operation, outcome: str, body: Body | None, record_id: str) -> Ended:
        """Give an operation's outcome with what it proves. body: the record as read back; null: not read."""
        known_as = entity_id(record_id, operation.entity, operation.system)
        placed = replace(operation, record_id=known_as)
        links = (placed.makes_link or placed.ends_link) and placed.entity not in (OPTION, *OWN)
        link = self._link(placed) if links else None
        link_id = link["link_id"] if link else placed.link_id
        bases = tuple(self._bases(placed, link_id, body, outcome)) if link_id else ()
        return Ended(placed, outcome, known_as, link=link, bases=bases)

    def _link(self, operation: Operation) -> dict[str, Any] | None:
        source_id = operation.source_id or self._written_reference(operation)
        salesforce_id, xero_id = replace(operation, source_id=source_id).ids
        if salesforce_id is None or xero_id is None:
            return None
        return {
            "link_id": name_link(operation.entity, salesforce_id, xero_id),
            "entity": operation.entity,
            "salesforce_id": salesforce_id,
            "xero_id": xero_id,
            "status": "linked" if operation.makes_link else "refused",
            "rule": operation.match_rule or operation.rule,
            "score": 1.0 if operation.score is None else operation.score,
            "evidence": operation.evidence,
            "made_by": f"plan {self._outcomes.plan_hash[:12]}",
        }

    def _written_reference(self, operation: Operation) -> str | None:
        """Give the other side's id that a link writes: of a record made in this push the plan had none."""
        entity, invoice = self._mapping.entities.get(operation.entity), self._mapping.invoice
        field = entity.side(operation.system).reference if entity else None
        field = invoice.link.id if operation.entity == "document" and invoice else field
        return json.loads(operation.native_after or "{}").get(field) if operation.action == "link" else None

    def _bases(
        self, operation: Operation, link_id: str, body: Body | None, outcome: str
    ) -> Iterable[dict[str, Any]]:
        """Give BASES rows: of the link when it is new, and of the units that were written."""
        if link_id not in self._outcomes.links:
            # Later they would lay what was found first over what was agreed since.
            for row in operation.moves:
                stamp = datetime.fromisoformat(row["stamp"]) if row["stamp"] else None
                yield {**row, "link_id": link_id, "stamp": stamp}
        if operation.entity == "document" and operation.source_native and body is not None:
            yield from _bases_of_invoice(operation, link_id, body, outcome)
        elif operation.action == "create":
            yield from self._bases_of_new(operation, link_id, body, ours=outcome == "confirmed")
        elif operation.action == "update" and self._is_unit(operation):
            sent = operation.native_after or "{}"
            native = sent if body is None else piece_like(sent, body)
            # What is put back differs on purpose, until somebody edits it.
            kind = "accepted" if operation.phase == "undo" else "agreed"
            yield from _pair(operation, link_id, operation.unit, kind, native, operation.source_native, body)

    def _is_unit(self, operation: Operation) -> bool:
        entity = self._mapping.entities.get(operation.entity)
        # A projection is set, not merged: it has no base.
        return entity is not None and any(unit.name == operation.unit for unit in entity.units)

    def _bases_of_new(
        self, operation: Operation, link_id: str, body: Body | None, *, ours: bool
    ) -> Iterable[dict[str, Any]]:
        """Give the bases of a new record's units. What was found and is not what we sent was never agreed."""
        entity = self._mapping.entities.get(operation.entity)
        if entity is None:
            return
        sent = pieces(loads(operation.native_after or "{}"), entity, operation.system)
        told = sent if body is None else pieces(body, entity, operation.system)
        pairs = {unit.name: (told[unit.name], sent[unit.name]) for unit in entity.units}
        agreed = pairs.keys() if ours else self._looks.same(operation.entity, operation.system, pairs)
        source = json.loads(operation.source_native or "{}")
        for unit in entity.units:
            if unit.name in source:
                theirs = source[unit.name]
                native = theirs if isinstance(theirs, str) else dumps(theirs)
                written = unit.receives(operation.system) and unit.name in agreed
                kind = "agreed" if written else "as_found"
                yield from _pair(operation, link_id, unit.name, kind, told[unit.name], native, body)


def _bases_of_invoice(
    operation: Operation, link_id: str, body: Body, outcome: str
) -> Iterable[dict[str, Any]]:
    """Give the bases of a document: what both sides say once its invoice is made, changed or withdrawn.

    One that was found where it was to be made agrees in its amounts, and in the rest as it was found.
    """
    found = operation.action == "create" and outcome != "confirmed"
    kind = "accepted" if operation.phase == "undo" else "as_found" if found else "agreed"
    source, sent = operation.source_native or "{}", operation.native_after or "{}"
    stamp = modified_at(body, operation.system)
    for unit, side, native in learned(source, sent, body):
        row = {
            "link_id": link_id,
            "side": side,
            "unit": unit,
            "base_kind": kind,
            "native": native,
            "stamp": stamp if side == operation.system else None,
        }
        yield {name: row[name] for name in BASES}


def unlike(intent: Intent, body: Body) -> str:
    """Say in what an invoice or payment differs from the one that was to be made; empty where it agrees.

    Held together: of an invoice, bill or credit note contact, currency, subtotal and total, each as far as the plan
    knew it, of a payment its invoice and amount; of all else nothing. Amounts may be told, and so may ids; nothing
    else is.
    """
    of_lines = dict.fromkeys(("document", "credit", "bill"), _of_invoice)
    held = {**of_lines, "payment": _of_payment}.get(intent.entity)
    pairs = held(intent, body) if held else {}
    return ", ".join(
        f"{name} {_shown(found)} instead of {_shown(wanted)}"
        for name, (wanted, found) in pairs.items()
        if wanted is not None and _folded(wanted) != _folded(found)
    )


Pairs = dict[str, tuple[Any, Any]]


def _of_invoice(intent: Intent, body: Body) -> Pairs:
    planned: dict[str, Any] = loads(intent.operations[0].after or "{}")
    return {
        "contact": (_inner(intent.body, "Contact", "ContactID"), _inner(body, "Contact", "ContactID")),
        "currency": (planned.get("currency"), body.get("CurrencyCode")),
        "subtotal": (amount(planned.get("subtotal")), amount(body.get("SubTotal"))),
        "total": (amount(planned.get("total")), amount(body.get("Total"))),
    }


def _of_payment(intent: Intent, body: Body) -> Pairs:
    return {
        "invoice": (_inner(intent.body, "Invoice", "InvoiceID"), _inner(body, "Invoice", "InvoiceID")),
        "amount": (amount(intent.body.get("Amount")), amount(body.get("Amount"))),
    }


def _inner(body: Body, group: str, name: str) -> Any:
    return (body.get(group) or {}).get(name)


def amount(value: Any) -> Decimal | None:
    """Give an amount of a plan (text) or a reply (number) exactly; null where there is none, or no number."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _shown(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _pair(
    operation: Operation,
    link_id: str,
    unit: str,
    kind: str,
    native: str,
    source: str | None,
    body: Body | None,
) -> Iterable[dict[str, Any]]:
    """Give both sides' rows of one unit; only the written side's stamp is known."""
    side = operation.system
    stamp = modified_at(body, side) if body is not None else None
    for where, piece, seen in ((side, native, stamp), (OTHER_SIDE[side], source, None)):
        row = {
            "link_id": link_id,
            "side": where,
            "unit": unit,
            "base_kind": kind,
            "native": piece,
            "stamp": seen,
        }
        yield {name: row[name] for name in BASES}

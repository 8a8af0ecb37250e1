"""Turns operations into intents: one record's write each, with one body made of its units' pieces.

Pure: what was sent and answered is the journal's, how it is sent the push's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from reconcile.bodies import dumps, loads, merge_pieces
from reconcile.errors import Incident
from reconcile.mapped import MEMBERSHIP, OPTION, OURS, SHOWN_BY, SHOWN_ENTITIES

if TYPE_CHECKING:
    from reconcile.mapping import Mapping as RecordMapping

PRIMARY: Final = ":primary"  # Xero's primary person has the contact's id and this, a price its item's
SIDES: Final = ("salesforce", "xero")
PAID_BY: Final = "Reference"  # of a payment, which has no other field of ours
CREDITED_BY: Final = "CreditNoteNumber"
BILLED_BY: Final = "InvoiceNumber"
# What is found again by a key that the plan gives it.
NAMED_BY_PLAN: Final = ("document", "credit", "payment", "bill", OPTION)


@dataclass(frozen=True)
class Operation:
    """A row of OPERATIONS, as the push and the journal carry it."""

    operation_id: str
    system: str
    entity: str
    object: str
    action: str
    phase: str
    unit: str
    record_id: str | None = None
    source_id: str | None = None
    made_from: list[str] | None = None  # the records that the source is made of; null: itself
    link_id: str | None = None
    after: str | None = None  # of an invoice: what it must amount to
    native_before: str | None = None
    native_after: str | None = None
    source_native: str | None = None
    depends_on: str | None = None
    rule: str | None = None
    match_rule: str | None = None
    score: float | None = None
    evidence: str | None = None
    moves: tuple[dict[str, Any], ...] = ()  # BASES rows (stamp as text) that come with the link it makes

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Operation:
        return cls(
            **{known.name: row[known.name] for known in fields(cls) if row.get(known.name) is not None}
        )

    @property
    def ids(self) -> tuple[str | None, str | None]:
        """The two records that it is about: (salesforce_id, xero_id)."""
        here, there = self.record_id, self.source_id
        return (here, there) if self.system == "salesforce" else (there, here)

    @property
    def makes_link(self) -> bool:
        """A link, a new record, or the first name of a person whom Xero only holds inside a contact."""
        return self.action in ("link", "create") or self.phase == "create"

    @property
    def needs(self) -> tuple[str, ...]:
        """The operations that must succeed first: that on which it depends, and those whose records it names."""
        named = re.findall(r'"\$from":"([^"]+)"', self.native_after or "")
        return (*([self.depends_on] if self.depends_on else []), *named)

    @property
    def ends_link(self) -> bool:
        """An id that is taken out again: the records are linked no more."""
        return self.phase == "undo" and self.unit == "reference"


@dataclass(frozen=True)
class Intent:
    """One record's write: what is to be true of it afterwards."""

    intent_id: str
    system: str
    object: str
    entity: str
    action: str  # create or update
    record_id: str | None  # the vendor's own id; null for a create
    key_field: str | None  # the field that holds the other side's id
    natural_key: str | None  # its value in a create: by it the record is found again
    body: dict[str, Any]
    operations: tuple[Operation, ...]
    attempt: int = 1
    # When its record was last looked at before it left: by our clock, by theirs, and the record's stamp then.
    look: Mapping[str, str | None] | None = None

    @property
    def business_key(self) -> str:
        what = self.record_id or f"create|{self.operations[0].source_id}"
        return f"{self.system}|{self.object}|{what}"

    @property
    def is_edited(self) -> bool:
        """Whether it writes over what people edit. Ids, numbers and projections are ours alone."""
        return self.action == "update" and any(
            one.action == "update" and one.unit not in OURS and not (one.rule or "").startswith("projection")
            for one in self.operations
        )

    @property
    def parent_id(self) -> str | None:
        """The record inside of which this one stands: of an option its category, of a membership its group."""
        within = (self.record_id if self.entity == MEMBERSHIP else self.operations[0].source_id) or ""
        return within.partition("/")[0] if self.entity in (OPTION, MEMBERSHIP) else None

    def content(self) -> str:
        """Give what the journal keeps of it, as JSON."""
        kept = {"key_field": self.key_field, "body": self.body, "look": self.look}
        return dumps({**kept, "operations": [asdict(operation) for operation in self.operations]})


@dataclass(frozen=True)
class Request:
    """Bytes and where they go; many intents in it."""

    system: str
    method: str
    path: str
    query: str
    body: bytes
    intents: tuple[Intent, ...]


@dataclass(frozen=True)
class Verdict:
    """What a reply says of one intent.

    kind: confirmed, rejected, overtaken, unknown (settle it), again (certainly not written: a new attempt),
    apart (refused whole, and it is not said whose fault it was: each by itself), exists (a record of that
    key or name is there already, or what was to be taken out is out: a look tells).
    """

    kind: str
    record_id: str | None = None
    body: dict[str, Any] | None = None  # the record as the reply shows it
    message: str | None = None


def vendor_id(record_id: str) -> str:
    """Give the id under which the vendor knows the record."""
    return record_id.removesuffix(PRIMARY)


FieldOf = Callable[[str, str], Any]  # (operation, field) -> what the record that it made holds there


def not_known(operation_id: str, name: str) -> Any:
    """Know no field of any record."""
    raise KeyError(operation_id, name)


def resolve(operation: Operation, new_ids: Mapping[str, str], field_of: FieldOf = not_known) -> Operation:
    """Put into a body what refers to records made meanwhile: {"$from": operation}, its id.

    With "field" it is that field of the record; "prefix" and "suffix" stand around it.
    Raises KeyError where such a record was not made, or does not tell the field.
    """
    if operation.native_after is None or '"$from"' not in operation.native_after:
        return operation
    body = _filled(loads(operation.native_after), new_ids, field_of)
    return replace(operation, native_after=dumps(body))


def _filled(value: Any, new_ids: Mapping[str, str], field_of: FieldOf) -> Any:
    if isinstance(value, dict) and "$from" in value:
        return _referred(value, new_ids, field_of)
    if isinstance(value, dict):
        return {name: _filled(inner, new_ids, field_of) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, new_ids, field_of) for inner in value]
    return value


def _referred(place: Mapping[str, str], new_ids: Mapping[str, str], field_of: FieldOf) -> Any:
    name = place.get("field")
    found = field_of(place["$from"], name) if name else new_ids[place["$from"]]
    around = place.get("prefix", ""), place.get("suffix", "")
    return f"{around[0]}{found}{around[1]}" if any(around) else found


def key_fields(mapping: RecordMapping) -> dict[tuple[str, str], str | None]:
    """Give (entity, side) -> the field by which a new record is found again: the other side's id, or a number."""
    found = {
        (name, side): entity.side(side).reference
        for name, entity in mapping.entities.items()
        for side in SIDES
    }
    if (product := mapping.entities.get("product")) is not None:
        found["product", "xero"] = product.code_unit.xero[0]
    found |= {(SHOWN_ENTITIES[name], "salesforce"): field for name, field in SHOWN_BY.items()}
    found |= {("payment", "xero"): PAID_BY} if mapping.payments else {}
    found |= {("bill", "xero"): BILLED_BY} if mapping.bill else {}
    found |= (
        {("credit", "xero"): CREDITED_BY} if mapping.invoice and mapping.invoice.credits == "draft" else {}
    )
    invoice = mapping.invoice
    found |= {(OPTION, "xero"): "Name"} if invoice and invoice.options == "on_demand" else {}
    return found | ({("document", "xero"): invoice.number.key_field} if invoice else {})


def group(
    operations: Iterable[Operation],
    *,
    apart: frozenset[str],
    key_fields: Mapping[tuple[str, str], str | None],
    attempts: Mapping[str, int],
    new_id: Callable[[], str],
) -> tuple[list[Intent], list[Operation]]:
    """Group the operations of one record into one intent each.

    apart: operations that must go by themselves, since their record was refused with others.
    key_fields: (entity, side) -> the field that holds the other side's id.
    Gives (intents, operations that must wait for another of their record).
    """
    records: dict[tuple[str, ...], list[Operation]] = {}
    later: list[Operation] = []
    for operation in operations:
        what = (
            operation.operation_id if operation.action == "create" else vendor_id(operation.record_id or "")
        )
        together = records.setdefault((operation.system, operation.object, what), [])
        if together and (operation.operation_id in apart or together[0].operation_id in apart):
            later.append(operation)
        else:
            together.append(operation)
    made = [_intent(together, key_fields, attempts, new_id()) for together in records.values()]
    return made, later


def _intent(
    operations: list[Operation],
    key_fields: Mapping[tuple[str, str], str | None],
    attempts: Mapping[str, int],
    intent_id: str,
) -> Intent:
    first = operations[0]
    key_field = key_fields.get((first.entity, first.system))
    creates = first.action == "create"
    body = (
        loads(first.native_after or "{}")  # amounts keep their digits
        if creates
        else merge_pieces(operation.native_after or "{}" for operation in operations)
    )
    # Without it nothing could tell later that the new record is ours.
    if (
        creates
        and first.entity in NAMED_BY_PLAN
        and first.system == "xero"
        and not (key_field and body.get(key_field))
    ):
        raise Incident(
            f"{first.system}: a new {first.object} for {first.source_id} carries no number or reference of ours; "
            "nothing of it was sent. Report this."
        )
    if creates and key_field and not body.get(key_field):
        body[key_field] = first.source_id
    return Intent(
        intent_id=intent_id,
        system=first.system,
        object=first.object,
        entity=first.entity,
        action="create" if creates else "update",
        record_id=None if creates else vendor_id(first.record_id or ""),
        key_field=key_field,
        natural_key=str(body[key_field]) if creates and key_field else None,
        body=body,
        operations=tuple(operations),
        attempt=1 + max(attempts.get(operation.operation_id, 0) for operation in operations),
    )


_SECRETS: Final = re.compile(
    r"[\w.+-]+@[\w.-]+"  # an e-mail
    r"|'[^']{1,200}'|\"[^\"]{1,200}\"|\u201c[^\u201d]{1,200}\u201d"  # a quotation
    r"|\+?\d[\d ()-]{5,}\d"  # a phone number
)


def without_values(message: str, body: Any, *, longest: int = 300) -> str:
    """Give a vendor's refusal without what was sent, quotations, e-mails and phone numbers."""
    for value in sorted(set(_texts(body)), key=len, reverse=True):
        if len(value) > 1:
            message = re.sub(re.escape(value), "…", message, flags=re.IGNORECASE)
    return _SECRETS.sub("…", message)[:longest]


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
        yield value.strip()
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


@dataclass(frozen=True)
class Ended:
    """How one operation ended, and what of it was learned: the link and the bases to keep.

    link: a LINKS row; bases: BASES rows.
    """

    operation: Operation
    outcome: str
    record_id: str | None = None
    message: str | None = None
    link: dict[str, Any] | None = None
    bases: tuple[dict[str, Any], ...] = field(default=())

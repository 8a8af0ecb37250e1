"""Plans the way back of a run: what is still as we left it is put back; the rest is told, with its reason.

Nothing is deleted. A value is put back, an id is taken out, a contact is archived, an invoice voided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import polars as pl

from reconcile.agreed import LINES, UNIT, Write, invoice_piece, invoice_texts, states
from reconcile.bodies import dumps, loads
from reconcile.mapped import MEMBERSHIP, SHOWN_ENTITIES
from reconcile.model import OPERATIONS, REJECTS
from reconcile.moves import day_of
from reconcile.native import native_of
from reconcile.operations import Part, Row, operation_row

BLANK: Final = {"salesforce": None, "xero": ""}
OTHER: Final = {"salesforce": "xero", "xero": "salesforce"}
# Xero takes a draft back by deleting it, what was approved by voiding it, what was paid not at all.
WAYS_BACK: Final = {"DRAFT": "DELETED", "SUBMITTED": "DELETED", "AUTHORISED": "VOIDED"}
CHANGED_SINCE: Final = "it holds another value than the run wrote: somebody changed it since"
NOT_DELETED: Final = "a record made in Salesforce is not deleted by us; delete it there, if that is meant"
NOT_SURELY_OURS: Final = (
    "it was found when the answer to its making was lost or a refusal: whether the run made it is not known; "
    "archive or void it there, if that is meant"
)
NOT_BROUGHT_BACK: Final = (
    "an invoice that is deleted or voided stays so, whoever asks: make a new one in Xero, if that is meant"
)
BILL_STAYS: Final = (
    "a bill is not taken back by us, for finance may have gone on with it: delete or void it in Xero, if that is "
    "meant"
)
PAYMENT_STAYS: Final = (
    "a payment is not taken back by us: money moved; take it back in Xero, if that is meant"
)
CREDIT_STAYS: Final = "a credit note is not taken back by us: delete its draft in Xero, if that is meant"
OPTION_STAYS: Final = "a tracking option is not taken back by us: archive it in Xero, if that is meant"
GROUPS_FOLLOW: Final = (
    "who is in a contact group follows the Account: change what that says, if another one is meant"
)
HOLDS_A_NEW_RECORD: Final = "it names the record that the run made, so that it isn't made anew"


def undo_operations(
    done: pl.DataFrame,
    parts: Mapping[str, Part],
    invoices: Mapping[str, Mapping[str, Any]],
    *,
    run: str,
    latest: frozenset[str] = frozenset(),
    found: frozenset[str] = frozenset(),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the operations that take a run back, and what can't be taken back: (OPERATIONS, REJECTS).

    done: the OPERATIONS that the run carried out, in the order of the plan; record_id is the record's id now.
    parts: each entity as it is now. invoices: body by InvoiceID, as they are now. latest: the ids of those
    operations after which nothing of ours wrote the same unit. found: of those that nobody confirmed: they left,
    and were found.
    """
    kept: list[Row] = []
    rejects: list[Row] = []
    now = {entity: Present(part, done, latest) for entity, part in parts.items()}
    made = set(done.filter(pl.col("action") == "create")["operation_id"])
    for row in reversed(done.to_dicts()):
        present = now.get(row["entity"])
        back: Row | str | None
        if row["action"] == "create" and row["system"] == "xero" and row["operation_id"] in found:
            back = NOT_SURELY_OURS
        elif row["entity"] in SHOWN_ENTITIES.values():
            back = None  # a projection, likewise: what Xero knows is shown again as long as it is
        elif row["entity"] == "credit":
            back = CREDIT_STAYS
        elif row["entity"] == "option":
            back = OPTION_STAYS
        elif row["entity"] == MEMBERSHIP:
            back = GROUPS_FOLLOW
        elif row["entity"] == "payment":
            back = PAYMENT_STAYS if row["system"] == "xero" else None
        elif row["entity"] == "bill":
            back = BILL_STAYS if row["system"] == "xero" else None
        elif row["entity"] == "document":
            back = _document(row, invoices, run)
        elif present is None:
            back = "the mapping has its entity no more"
        elif row["action"] == "create":
            back = _new_record(present, row, run)
        elif row["depends_on"] in made and row["action"] == "link":
            back = HOLDS_A_NEW_RECORD
        elif row["action"] == "link":
            back = _link(present, row, run)
        else:
            back = _unit(present, row, run)
        if isinstance(back, str):
            rejects.append(_told(row, back))
        elif back is not None:
            kept.append(back)
    columns = {name: [row.get(name) for row in kept] for name in OPERATIONS}
    told = {name: [row.get(name) for row in rejects] for name in REJECTS}
    return pl.DataFrame(columns, schema=dict(OPERATIONS)), pl.DataFrame(told, schema=dict(REJECTS))


def _told(row: Row, reason: str) -> Row:
    return {
        "stage": "undo",
        "entity": row["entity"],
        "side": row["system"],
        "record_id": row["record_id"],
        "unit": row["unit"],
        "reason": reason,
    }


def _back(row: Row, run: str, *, unit: str, native_after: str, **rest: str | None) -> Row:
    """Give the operation that takes another one back."""
    return operation_row(
        row["entity"],
        row["object"],
        system=row["system"],
        record_id=row["record_id"],
        source_id=row["source_id"],
        action="update",
        phase="undo",
        unit=unit,
        native_after=native_after,
        link_id=row["link_id"],
        rule=f"undo {run}",
        **rest,
    )


# --- Values -------------------------------------------------------------------------------------------


def _unit(present: Present, row: Row, run: str) -> Row | str | None:
    """Put a value back. From then on the difference is accepted: it is no drift until somebody edits it."""
    unit = next((one for one in present.mapping.units if one.name == row["unit"]), None)
    if unit is None:
        return None  # a projection: it shows what the other system says, and follows it by itself
    side = row["system"]
    now = present.unit(side, row["record_id"], unit.name)
    theirs = present.unit(OTHER[side], row["source_id"], unit.name)
    if now is None or not present.is_active(side, row["record_id"]):
        return "its record is archived, deleted, or does not show the value any more"
    value, native = now
    if value != row["after"] and present.moved(row):
        return CHANGED_SINCE
    return _back(
        row,
        run,
        unit=unit.name,
        before=value,
        after=row["before"],
        native_before=native,
        native_after=native_of(row["before"], unit, side, onto=row["native_before"]),
        source_native=theirs[1] if theirs else None,
        reason=f"the {unit.name.replace('_', ' ')} is put back to what it was before run {run}",
    )


class Present:
    """What the records of a run hold now, by id: looked up once for all of its operations."""

    def __init__(self, part: Part, done: pl.DataFrame, latest: frozenset[str]) -> None:
        ids = pl.concat([done["record_id"], done["source_id"]]).drop_nulls().unique().implode()
        touched = pl.col("record_id").is_in(ids)
        self.part, self.mapping, self._latest = part, part.mapping, latest
        values = part.values.filter(touched, "observed").select(
            "side", "record_id", "unit", "value", "native"
        )
        self._values = {(row[0], row[1], row[2]): (row[3], row[4]) for row in values.iter_rows()}
        records = part.records.filter(touched).select("side", "record_id", "status", "reference")
        self._records = {(row[0], row[1]): (row[2], row[3]) for row in records.iter_rows()}
        frames = [frame.select("link_id", "unit") for frame in (part.merged.changes, part.merged.drift)]
        self._moved = set(pl.concat(frames).unique().rows())

    def unit(self, side: str, record_id: str | None, name: str) -> tuple[str | None, str | None] | None:
        """Give (canonical value, native piece); null where the record does not show it."""
        return self._values.get((side, record_id or "", name))

    def is_active(self, side: str, record_id: str | None) -> bool:
        return self._records.get((side, record_id or ""), ("", None))[0] == "active"

    def reference(self, side: str, record_id: str | None) -> str | None:
        return self._records.get((side, record_id or ""), ("", None))[1]

    def moved(self, row: Row) -> bool:
        """Say whether somebody wrote the unit since; a vendor that respelled what we wrote changed nothing."""
        return row["operation_id"] not in self._latest or (row["link_id"], row["unit"]) in self._moved


# --- Ids and records ----------------------------------------------------------------------------------


def _link(present: Present, row: Row, run: str) -> Row | str:
    """Take an id out again. The pair is asked about from then on."""
    side = row["system"]
    field, holds = present.mapping.side(side).reference, present.reference(side, row["record_id"])
    if field is None or holds != row["after"] or not present.is_active(side, row["record_id"]):
        return CHANGED_SINCE
    return _back(
        row,
        run,
        unit="reference",
        before=row["after"],
        after=row["before"],
        native_before=dumps({field: holds}),
        native_after=dumps({field: row["before"] or BLANK[side]}),
        reason=f"the link of run {run} is taken back",
    )


def _new_record(present: Present, row: Row, run: str) -> Row | str:
    if row["system"] == "salesforce":
        return NOT_DELETED
    if row["entity"] == "product":
        return "an item can't be archived, and is not deleted by us: delete it in Xero, if that is meant"
    if row["entity"] != "party":
        return "a person in Xero goes with the contact"
    if not present.is_active("xero", row["record_id"]):
        return "it is archived already, or gone"
    wrote = json.loads(row["after"] or "{}")
    for unit in present.mapping.units:
        now = present.unit("xero", row["record_id"], unit.name)
        if unit.name in wrote and (now is None or now[0] != wrote[unit.name]):
            return (
                f"its {unit.name.replace('_', ' ')} was changed since: archive it in Xero, if that is meant"
            )
    return _back(
        row,
        run,
        unit="record",
        before="ACTIVE",
        after="ARCHIVED",
        native_before=dumps({"ContactStatus": "ACTIVE"}),
        native_after=dumps({"ContactStatus": "ARCHIVED"}),
        reason=f"run {run} made this contact; it is archived, which can't be taken back by API",
    )


def _document(row: Row, invoices: Mapping[str, Mapping[str, Any]], run: str) -> Row | str | None:
    if row["system"] == "salesforce":
        return None  # a projection: it shows what the other system says, and follows it by itself
    body = invoices.get(row["record_id"] or "")
    if body is None:
        return "the invoice is not there any more"
    if row["action"] == "update":
        return _changed_invoice(row, body, run) if row["unit"] == UNIT else NOT_BROUGHT_BACK
    status = str(body.get("Status"))
    touched = [name for name in ("AmountPaid", "AmountCredited") if Decimal(str(body.get(name) or 0))]
    if status not in WAYS_BACK or touched:
        said = f"it is {status.lower()}" + (" and partly settled" if touched else "")
        return f"{said}: take the payment or credit off in Xero first, or make a credit note"
    wrote = json.loads(row["after"] or "{}")
    if wrote.get("total") is not None and Decimal(str(body.get("Total"))) != Decimal(wrote["total"]):
        return "its total was changed since: void it in Xero, if that is meant"
    return _back(
        row,
        run,
        unit="record",
        before=status,
        after=WAYS_BACK[status],
        native_before=dumps({"Status": status}),
        native_after=dumps({"Status": WAYS_BACK[status]}),
        reason=f"run {run} made this invoice; it is {WAYS_BACK[status].lower()}",
    )


def _changed_invoice(row: Row, body: Mapping[str, Any], run: str) -> Row | str:
    """Put a draft back whole. A line that was taken out since comes back under a new id."""
    if str(body.get("Status")) not in ("DRAFT", "SUBMITTED"):
        return f"it is {str(body.get('Status')).lower()} by now: change it in Xero, if that is meant"
    if states([Write(UNIT, row["after"], row["native_before"], body)]) != ["after"]:
        return CHANGED_SINCE
    before = loads(row["native_before"])
    source = loads(row["source_native"])[UNIT]
    return _back(
        row,
        run,
        unit=UNIT,
        before=row["after"],
        after=invoice_texts([before])[0],
        native_before=invoice_piece(body),
        native_after=dumps(_restoring(before, body)),
        source_native=dumps({UNIT: source, LINES: []}),
        reason=f"the invoice is put back to what it was before run {run}",
    )


def _restoring(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Give the body that makes an invoice what it was."""
    there = {line.get("LineItemID"): line for line in now.get("LineItems") or ()}
    days = {name: day_of(before.get(name)) for name in ("Date", "DueDate")}
    kept = ("Contact", "Reference", "LineAmountTypes", "CurrencyCode")
    return {
        **{name: before[name] for name in kept if name in before},
        **{name: day.isoformat() for name, day in days.items() if day is not None},
        "LineItems": [_line_again(line, there) for line in before["LineItems"]],
    }


def _line_again(line: Mapping[str, Any], there: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    now = there.get(line.get("LineItemID"))
    discount = {name: line[name] for name in ("DiscountRate", "DiscountAmount") if line.get(name)}
    if len(discount) > 1:
        del discount["DiscountAmount"]  # follows from the rate
    # Left out, a discount that is there now would stay.
    cleared = {"DiscountRate": 0} if now is not None and now.get("DiscountRate") and not discount else {}
    dropped = {"DiscountRate", "DiscountAmount", *(() if now is not None else ("LineItemID",))}
    return {**{name: value for name, value in line.items() if name not in dropped}, **discount, **cleared}

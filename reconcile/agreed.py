"""Says what an invoice says, whether a write on it is there, and what a write proves that both sides agreed on.

A base of a document's link: unit "invoice" holds the source's values in canonical form and the invoice's own
fields as read back; unit "lines", on the side of Xero, which line of the source is which of the invoice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconcile.bodies import dumps, loads
from reconcile.moves import SAID, invoice_values, read_invoices

UNIT: Final = "invoice"  # what is asked of a person, and changed whole
LINES: Final = "lines"
WITHDRAWN: Final = "status"  # the unit of an invoice that is deleted or voided
HEADER: Final = (
    "InvoiceNumber", "Status", "CurrencyCode", "Date", "DueDate", "Reference", "LineAmountTypes", "SubTotal",
    "TotalTax", "Total", "AmountPaid", "AmountCredited",
)  # fmt: skip
LINE: Final = (
    "LineItemID", "Description", "Quantity", "UnitAmount", "DiscountRate", "DiscountAmount", "AccountCode", "TaxType",
    "ItemCode", "TaxAmount", "Tracking",
)  # fmt: skip


# --- What an invoice says ----------------------------------------------------------------------------------


def invoice_piece(body: Mapping[str, Any]) -> str:
    """Give, of an invoice's body, what it says: its base, and what a write is held against."""
    kept = {name: body[name] for name in HEADER if body.get(name) is not None}
    contact = (body.get("Contact") or {}).get("ContactID")
    lines = [
        {name: line[name] for name in LINE if line.get(name) is not None}
        for line in body.get("LineItems") or ()
    ]
    return dumps({**kept, "Contact": {"ContactID": contact}, "LineItems": lines})


def invoice_texts(pieces: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give what invoices say, in the form of `moves.agreed_values`, in the same order."""
    numbered = [{**piece, "InvoiceID": str(place)} for place, piece in enumerate(pieces)]
    told = invoice_values(*read_invoices(numbered))
    by_place = dict(told.iter_rows())
    return [by_place[str(place)] for place in range(len(numbered))]


# --- Writes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """A write on an invoice, to be held against what the invoice says now.

    unit: UNIT or WITHDRAWN; after: of UNIT, what it would say; before: the piece that the plan saw.
    """

    unit: str
    after: str
    before: str
    now: Mapping[str, Any]


def states(writes: Sequence[Write]) -> list[str]:
    """Say of each write what its invoice holds now: after, before, other, or gone (it takes no writes).

    One that is deleted or voided is where a withdrawal wanted it, whichever of both it is.
    """
    now = invoice_texts([one.now for one in writes])
    before = invoice_texts([loads(one.before) for one in writes])
    return [_state(one, *texts) for one, *texts in zip(writes, now, before, strict=True)]


def _state(write: Write, now: str, before: str) -> str:
    closed = write.now.get("Status") in ("DELETED", "VOIDED")
    if write.unit == WITHDRAWN:
        return "after" if closed else "before" if now == before else "other"
    if closed:
        return "gone"
    return "after" if _says(now, write.after) else "before" if now == before else "other"


def _says(now: str, wanted: str) -> bool:
    """Whether an invoice says all that it was to say; where nothing was said it keeps its own."""
    found, asked = loads(now), loads(wanted)
    lines, wanted_lines = found["lines"] or [], asked["lines"] or []
    if len(lines) != len(wanted_lines):
        return False
    told = [(found[name], asked[name]) for name in SAID]
    for line, other in zip(lines, wanted_lines, strict=True):
        told += [(line[name], other[name]) for name in ("description", "quantity", "unit_price")]
        told += [(line["item"], other["item"]), (line["discount"] or "0", other["discount"] or "0")]
    return all(there == here for there, here in told if here is not None)


def learned(
    source_native: str, native_after: str, body: Mapping[str, Any]
) -> tuple[tuple[str, str, str | None], ...]:
    """Give (unit, side, native) of what a write on an invoice agreed: its bases.

    source_native: as the operation has it; native_after: what was sent; body: the invoice as read back.
    """
    source, found = loads(source_native), body.get("LineItems") or []
    sent = loads(native_after).get("LineItems")
    ids = [line.get("LineItemID") for line in found]
    if sent is not None:
        ids = _line_ids(sent, found)
    pairs = dict(zip(source[LINES], ids, strict=False)) if len(ids) == len(source[LINES]) else {}
    links = dumps({ours: theirs for ours, theirs in pairs.items() if theirs})
    return (
        (UNIT, "salesforce", source[UNIT]),
        (UNIT, "xero", invoice_piece(body)),
        (LINES, "salesforce", None),
        (LINES, "xero", links),
    )


def _line_ids(sent: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Say which id each sent line has: its own, or that of the next new line which says the same numbers."""
    known = {line["LineItemID"] for line in sent if line.get("LineItemID")}
    new = [line for line in found if line.get("LineItemID") not in known]
    ids: list[str | None] = []
    for line in sent:
        same = next((one for one in new if _numbers(one) == _numbers(line)), None)
        if line.get("LineItemID") or same is None:
            ids.append(line.get("LineItemID"))
        else:
            new.remove(same)
            ids.append(same.get("LineItemID"))
    return ids


def _numbers(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line.get(name) for name in ("Quantity", "UnitAmount"))

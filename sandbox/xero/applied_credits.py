"""Shows on an invoice what was set against it: its credit notes, prepayments and overpayments."""

from __future__ import annotations

from sandbox.store import Body, Store
from sandbox.xero import settlement
from sandbox.xero.credits import NOTE, OVERPAYMENT, PREPAYMENT, SORTS, Sort
from sandbox.xero.invoice_lines import ZERO
from sandbox.xero.wire import ms_date, read_ms_date


def on_invoice(store: Store, invoice: Body, *, with_rate: bool) -> dict[str, list[Body]]:
    """CreditNotes, Prepayments, Overpayments of an invoice (recorded of credit notes; the others by analogy).

    with_rate: by id each has its CurrencyRate (recorded).
    """
    found: dict[str, dict[str, Body]] = {sort.key: {} for sort in (NOTE, PREPAYMENT, OVERPAYMENT)}
    for row in settlement.allocations_of(store, invoice["InvoiceID"]):
        sort = SORTS[row["Source"]]
        credit = store.get(sort.kind, row["SourceID"])
        if credit is None:
            continue
        seen = found[sort.key].setdefault(row["SourceID"], _stub(sort, credit, with_rate=with_rate))
        seen["AppliedAmount"] += row["Amount"]  # unconfirmed: that two allocations of one credit are summed
    return {key: list(rows.values()) for key, rows in found.items()}


def _stub(sort: Sort, credit: Body, *, with_rate: bool) -> Body:
    """recorded: no Allocations, but the amount of them that went to this invoice."""
    credit_id, day = credit[sort.id_name], credit["Date"]
    shown: Body = {sort.id_name: credit_id}
    if sort is NOTE:
        shown["CreditNoteNumber"] = credit.get("CreditNoteNumber", "")
    shown["ID"] = credit_id
    shown |= {"HasErrors": False, "InvoiceAddresses": []} if sort is NOTE else {}
    shown |= {"CurrencyRate": credit["CurrencyRate"]} if with_rate else {}
    shown |= {"AppliedAmount": ZERO, "DateString": f"{day}T00:00:00", "Date": ms_date(read_ms_date(day))}
    return {**shown, "LineItems": [], "Total": credit["Total"]}

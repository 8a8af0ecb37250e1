"""Keeps the batch payments: several invoices, or several bills, paid in one go through one account."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from decimal import Decimal, localcontext

from sandbox.store import Body, Store
from sandbox.xero import chart, history, invoices, payment_shapes, payments, settlement
from sandbox.xero.books import Books, Written
from sandbox.xero.invoice_lines import CENT, ZERO
from sandbox.xero.invoices import Wrong
from sandbox.xero.payments import Terms
from sandbox.xero.wire import NO_ID, ms_date, read_ms_date

KIND = settlement.BATCH

# unconfirmed: the wording
NO_PAYMENTS = "A batch payment must have at least one payment"
BOTH_SIDES = "A batch payment cannot pay both invoices and bills"
CREDITS = "A batch payment can only pay invoices and bills"
NOT_OF_VALID_STATUS = "Batch payment not of valid status for modification"
NOT_BY_API = "Batch payments cannot be deleted via the API"
# spec: the greatest length of each text
TEXTS = {"Reference": 255, "Particulars": 12, "Code": 12, "Details": 18, "Narrative": 18}


class UnknownBatch(Exception):
    """A call names a batch payment that there is not: the whole request answers 404 (recorded for contacts)."""


def write(books: Books, elements: Iterable[Body], *, batch_id: str | None = None) -> list[Written]:
    """Make each batch that is right, whole or not at all; one that names itself and Status DELETED is reversed."""
    return [_write_one(books, sent, batch_id or sent.get("BatchPaymentID")) for sent in elements]


def _write_one(books: Books, sent: Body, batch_id: str | None) -> Written:
    named = by_id(books.store, str(batch_id)) if batch_id and batch_id != NO_ID else None
    try:
        with books.store.transaction(), localcontext(prec=60):
            batch = _deleted(books, sent, named) if named else _made(books, sent)
    except Wrong as wrong:
        return Written(sent, None, named["BatchPaymentID"] if named else None, wrong.errors)
    return Written(sent, batch, batch["BatchPaymentID"])


def by_id(store: Store, batch_id: str) -> Body:
    found = store.get(KIND, batch_id.lower())
    if found is None:
        raise UnknownBatch(batch_id)
    return found


def payments_in(store: Store, batch: Body) -> list[Body]:
    """Its payments, deleted ones too, in their order."""
    ids = store.find(payments.KIND, "batch", batch["BatchPaymentID"])
    return [found for one in ids if (found := store.get(payments.KIND, one)) is not None]


def _made(books: Books, sent: Body) -> Body:
    errors: list[str] = []
    account = payments.account_of(books.store, sent, errors)
    day = payments.day_of(books, sent, errors)
    given = sent.get("Payments")
    rows = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    if not rows:
        errors.append(NO_PAYMENTS)
    found = [payments.meant(books, row) for row in rows]
    if any(one.kind != settlement.INVOICE for one in found):
        errors.append(CREDITS)
    elif len({one.is_sale for one in found}) > 1:
        errors.append(BOTH_SIDES)
    texts = {name: str(sent[name]).strip() for name in TEXTS if sent.get(name)}
    errors += [
        invoices.TOO_LONG.format(name, TEXTS[name]) for name in texts if len(texts[name]) > TEXTS[name]
    ]
    if errors or account is None or day is None:
        raise Wrong(errors)
    batch: Body = {
        "BatchPaymentID": str(uuid.uuid4()), "AccountID": account["AccountID"], "Date": day, **texts,
        "Type": "RECBATCH" if found[0].is_sale else "PAYBATCH", "Status": "AUTHORISED", "IsReconciled": False,
    }  # fmt: skip
    made = _paid(books, rows, Terms(account, day, batch["BatchPaymentID"]))
    total = sum((one["Amount"] for one in made), ZERO)
    batch = put(books.store, {**batch, "TotalAmount": total, "UpdatedMs": books.clock.stamp_ms()})
    _remember(books, batch, "Created")
    return batch


def _paid(books: Books, rows: list[Body], terms: Terms) -> list[Body]:
    """The payments of a batch, one after the other; what is wrong with any is wrong with the batch."""
    made: list[Body] = []
    errors: list[str] = []
    for row in rows:
        try:
            made.append(payments.made(books, row, terms))
        except Wrong as wrong:
            errors += wrong.errors
    if errors:
        raise Wrong(list(dict.fromkeys(errors)))
    return made


def _deleted(books: Books, sent: Body, batch: Body) -> Body:
    """spec: by Status DELETED; its payments go with it, and what they paid is open again."""
    if sent.get("Status") != "DELETED" or batch["Status"] == "DELETED":
        raise Wrong([NOT_OF_VALID_STATUS])
    if books.dialect["batch_payment_delete"] == "refuse":
        raise Wrong([NOT_BY_API])
    rows = [one for one in payments_in(books.store, batch) if one["Status"] != "DELETED"]
    errors = payments.held(books, batch)
    if errors:
        raise Wrong(errors)
    for row in rows:
        payments.delete(books, row)
    batch = put(books.store, {**batch, "Status": "DELETED", "UpdatedMs": books.clock.stamp_ms()})
    _remember(books, batch, "Deleted")
    return batch


def reconcile(books: Books, batch_id: str, reconciled: bool) -> Body:
    """A batch matched with the bank statement. second hand: its payments' own flags stay as they are."""
    batch = by_id(books.store, batch_id)
    return put(books.store, {**batch, "IsReconciled": reconciled, "UpdatedMs": books.clock.stamp_ms()})


def _remember(books: Books, batch: Body, what: str) -> None:
    """unconfirmed: the words."""
    details = f"Batch payment on {batch['Date']} for {batch['TotalAmount']}."
    history.write(books, batch["BatchPaymentID"], what, details, at_ms=batch["UpdatedMs"])


def put(store: Store, batch: Body) -> Body:
    live = batch["Status"] != "DELETED"
    store.put(KIND, batch["BatchPaymentID"], batch, stamp=batch["UpdatedMs"], live=live)
    return batch


# -- shapes


def shown(store: Store, batch: Body, status: str | None = None) -> Body:
    """spec: the fields and their order; a deleted batch shows no payments."""
    account = store.get(chart.ACCOUNT, batch["AccountID"]) or {}
    currency = {"CurrencyCode": account["CurrencyCode"]} if account.get("CurrencyCode") else {}
    rows = [one for one in payments_in(store, batch) if one["Status"] != "DELETED"]
    body: Body = {
        "Account": {"AccountID": batch["AccountID"], **currency},
        **{name: batch[name] for name in TEXTS if name in batch},
        "BatchPaymentID": batch["BatchPaymentID"],
        "DateString": f"{batch['Date']}T00:00:00", "Date": ms_date(read_ms_date(batch["Date"])),
        "Payments": [_payment(store, one) for one in rows],
        "Type": batch["Type"], "Status": batch["Status"], "TotalAmount": batch["TotalAmount"],
        "UpdatedDateUTC": ms_date(batch["UpdatedMs"]), "IsReconciled": batch["IsReconciled"],
    }  # fmt: skip
    return body if status is None else {**body, "StatusAttributeString": status}


def _payment(store: Store, payment: Body) -> Body:
    texts = ("Reference", "BankAccountNumber", "Particulars", "Details")
    return {
        "Invoice": payment_shapes.stub(store, payment["DocumentID"], with_contact=False),
        "PaymentID": payment["PaymentID"],
        "Amount": payment["Amount"],
        "BankAmount": payment["BankAmount"],
        **{name: payment[name] for name in texts if payment.get(name)},
    }


def refused(sent: Body, batch_id: str | None, errors: list[str], status: str | None) -> Body:
    """recorded of invoices: a refused element echoes what was asked for."""
    hidden = ("BatchPaymentID", "Date", "Payments", "ValidationErrors")
    echo: Body = {name: value for name, value in sent.items() if value is not None and name not in hidden}
    day = invoices.read_date(sent.get("Date") or "")
    if day:
        echo["Date"] = ms_date(read_ms_date(day))
    given = sent.get("Payments")
    echo["Payments"] = [
        {name: value for name, value in one.items() if name != "Date"}
        for one in (given if isinstance(given, list) else [])
        if isinstance(one, dict)
    ]
    echo |= {"BatchPaymentID": batch_id or NO_ID}
    if status is not None:
        echo["StatusAttributeString"] = status
    return {**echo, "ValidationErrors": [{"Message": message} for message in errors]}


def dumped(batch: Body) -> Body:
    """A batch with all that is stored, in Xero's shape; its payments are rows of their own."""
    hidden = ("AccountID", "Date", "UpdatedMs")
    return {
        **{name: value for name, value in batch.items() if name not in hidden},
        "Account": {"AccountID": batch["AccountID"]},
        "Date": ms_date(read_ms_date(batch["Date"])),
        "UpdatedDateUTC": ms_date(batch["UpdatedMs"]),
    }


def stored(row: Body, now_ms: int) -> Body:
    """A batch as it is stored, from a row in Xero's shape as `dump` gives it."""
    hidden = ("Account", "Date", "DateString", "Payments", "UpdatedDateUTC")
    stamp = row.get("UpdatedDateUTC")
    return {
        "Type": "RECBATCH", "Status": "AUTHORISED", "IsReconciled": False,
        **{name: value for name, value in row.items() if name not in hidden},
        "AccountID": str(row["Account"]["AccountID"]).lower(), "Date": invoices.read_date(row["Date"]),
        "BatchPaymentID": str(row["BatchPaymentID"]).lower(),
        "TotalAmount": Decimal(str(row["TotalAmount"])).quantize(CENT),
        "UpdatedMs": read_ms_date(stamp) if stamp else now_ms,
    }  # fmt: skip

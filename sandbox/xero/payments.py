"""Keeps the payments: what may be paid from where, and what reversing a payment takes.

A payment is made or deleted, never edited (second hand). It stands against one invoice or credit (settlement.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from sandbox.store import Body, Store
from sandbox.xero import chart, history, invoice_lines, invoices, locks, settings_data, settlement
from sandbox.xero.books import Books, Written
from sandbox.xero.invoice_lines import CENT, ZERO
from sandbox.xero.invoices import Wrong
from sandbox.xero.settlement import INVOICE, Document, UnknownDocument
from sandbox.xero.wire import NO_ID

KIND = settlement.PAYMENT

# spec
EXCEEDS = "Payment amount exceeds the amount outstanding on this document"
# second hand: as others report them; of a document that is paid already both come, EXCEEDS after the first
NOT_AUTHORISED = "Payments can only be made against Authorised documents"
NO_ACCOUNT = "You must specify an Account code or Account ID for the payment"
UNKNOWN_ACCOUNT = "Account could not be found"
BAD_ACCOUNT = "Account type is invalid for making a payment to/from"
NOT_OF_VALID_STATUS = "Payment not of valid status for modification"
IN_BATCH = "Payments within a batch cannot be deleted."
# unconfirmed: the wording of the rest
RECONCILED = "This payment has been reconciled and cannot be deleted"
NO_DOCUMENT = "A payment must name an invoice, credit note, prepayment or overpayment"
SEVERAL_DOCUMENTS = "Payment is applied to more than one document"
UNKNOWN_DOCUMENT = "{} could not be found"
NO_AMOUNT = "Payment amount must be greater than zero"
NO_DATE = "Payment date must be specified"
BAD_CURRENCY = "The currency of the account must be that of the document or the base currency"

# By the element of a payment: the kind of document, its id, its number.
REFERENCES = {
    "Invoice": (INVOICE, "InvoiceID", "InvoiceNumber"),
    "CreditNote": (settlement.CREDIT_NOTE, "CreditNoteID", "CreditNoteNumber"),
    "Prepayment": (settlement.PREPAYMENT, "PrepaymentID", ""),
    "Overpayment": (settlement.OVERPAYMENT, "OverpaymentID", ""),
}
# spec: the eight types, by the kind of document, for sales and for purchases
TYPES = {
    INVOICE: ("ACCRECPAYMENT", "ACCPAYPAYMENT"),
    settlement.CREDIT_NOTE: ("ARCREDITPAYMENT", "APCREDITPAYMENT"),
    settlement.OVERPAYMENT: ("AROVERPAYMENTPAYMENT", "APOVERPAYMENTPAYMENT"),
    settlement.PREPAYMENT: ("ARPREPAYMENTPAYMENT", "APPREPAYMENTPAYMENT"),
}
TEXTS = ("Reference", "BankAccountNumber", "Particulars", "Details")


class UnknownPayment(Exception):
    """A call names a payment that there is not: the whole request answers 404 (recorded for contacts)."""


@dataclass(frozen=True)
class Terms:
    """What all payments of a batch share; a payment alone has its own."""

    account: Body
    day: str
    batch_id: str | None = None


def write(books: Books, elements: Iterable[Body], *, payment_id: str | None = None) -> list[Written]:
    """Make each payment that is right, in order; one that names itself and Status DELETED is reversed.

    payment_id: of the payment in the path. Raises UnknownPayment, UnknownDocument for the whole.
    """
    return [_write_one(books, sent, payment_id or sent.get("PaymentID")) for sent in elements]


def _write_one(books: Books, sent: Body, payment_id: str | None) -> Written:
    if payment_id and payment_id != NO_ID:
        payment = by_id(books.store, str(payment_id))
        errors = [] if sent.get("Status") == "DELETED" else [NOT_OF_VALID_STATUS]
        errors += _unfit_for_deletion(books, payment) if not errors else []
        if errors:
            return Written(sent, None, payment["PaymentID"], errors)
        return Written(sent, delete(books, payment), payment["PaymentID"])
    try:
        with books.store.transaction(), localcontext(prec=60):
            payment = made(books, sent, None)
    except Wrong as wrong:
        return Written(sent, None, None, wrong.errors)
    return Written(sent, payment, payment["PaymentID"])


def by_id(store: Store, payment_id: str) -> Body:
    found = store.get(KIND, payment_id.lower())
    if found is None:
        raise UnknownPayment(payment_id)
    return found


# -- making one


def made(books: Books, sent: Body, terms: Terms | None) -> Body:
    """A payment against what an element names, and that document settled. terms: of its batch.

    Raises Wrong with all that is amiss, UnknownDocument where the dialect answers so for the whole.
    """
    errors: list[str] = []
    found = meant(books, sent)
    account = terms.account if terms else account_of(books.store, sent, errors)
    day = terms.day if terms else day_of(books, sent, errors)
    amount = (invoice_lines.amount(sent, "Amount", errors) or ZERO).quantize(CENT, ROUND_HALF_UP)
    if amount <= 0:
        errors.append(NO_AMOUNT)
    if found.body["Status"] != settlement.OPEN:
        errors.append(NOT_AUTHORISED)
    if amount > settlement.still_open(found):
        errors.append(EXCEEDS)
    money = _money(books, found, account, amount, sent, errors)
    if day:
        locks.check(books, day, errors)
    if errors or account is None or day is None:
        raise Wrong(errors)
    texts = {name: str(sent[name]).strip() for name in TEXTS if sent.get(name)}
    payment = {
        **start(found), "Date": day, **money, **texts,
        "AccountID": account["AccountID"], "IsReconciled": sent.get("IsReconciled") is True,
        **({"BatchPaymentID": terms.batch_id} if terms and terms.batch_id else {}),
    }  # fmt: skip
    return _kept(books, payment, found)


def start(found: Document) -> Body:
    """What every payment against a document begins with."""
    return {
        "PaymentID": str(uuid.uuid4()), "DocumentID": found.id, "Of": found.kind, "Status": "AUTHORISED",
        "PaymentType": TYPES[found.kind][0 if found.is_sale else 1], "IsReconciled": False,
    }  # fmt: skip


def _kept(books: Books, payment: Body, found: Document) -> Body:
    stamp = books.clock.stamp_ms()
    payment = put(books.store, {**payment, "UpdatedMs": stamp})
    settlement.settle(books, found.id, at_ms=stamp)
    _remember(books, payment, "Payment Received" if _receives(payment) else "Payment Made")
    return payment


def put(store: Store, payment: Body) -> Body:
    live = payment["Status"] != "DELETED"
    store.put(KIND, payment["PaymentID"], payment, stamp=payment["UpdatedMs"], live=live)
    return payment


def _receives(payment: Body) -> bool:
    """Whether money comes in: for a sale, and when a supplier refunds a credit."""
    return payment["PaymentType"].startswith(("ACCREC", "AP"))


def _remember(books: Books, payment: Body, what: str) -> None:
    """unconfirmed: the words. The document tells of its payments, and each payment of itself."""
    details = f"Payment on {payment['Date']} for {payment['Amount']}."
    for record_id in (payment["DocumentID"], payment["PaymentID"]):
        history.write(books, record_id, what, details, at_ms=payment["UpdatedMs"])


# -- the parts of an element


def meant(books: Books, sent: Body) -> Document:
    """The document that an element names by its id, else by its number; Wrong unless it is just one."""
    named: list[Document] = []
    for element, (kind, id_name, number_name) in REFERENCES.items():
        given = sent.get(element)
        given = given if isinstance(given, dict) else {}
        number = given.get(number_name) or sent.get(number_name) if number_name else None
        if given.get(id_name):
            named.append(_of_id(books, kind, str(given[id_name]), element))
        elif number:
            named.append(_of_number(books, kind, str(number), element))
    if len(named) != 1:
        raise Wrong([SEVERAL_DOCUMENTS if named else NO_DOCUMENT])
    return named[0]


def _of_id(books: Books, kind: str, document_id: str, element: str) -> Document:
    body = books.store.get(kind, document_id.lower())
    if body is None and books.dialect["unknown_document_in_payment"] == "not_found":
        raise UnknownDocument(document_id)
    if body is None:
        raise Wrong([UNKNOWN_DOCUMENT.format(element)])
    return Document(kind, body)


def _of_number(books: Books, kind: str, number: str, element: str) -> Document:
    """By number: of several (bills may share one) the first that is open, else the first (unconfirmed)."""
    rows = [books.store.get(kind, one) or {} for one in books.store.find(kind, "number", number.casefold())]
    rows.sort(key=lambda row: (row["Status"] != settlement.OPEN, not row["Type"].startswith("ACCREC")))
    if not rows:
        raise Wrong([UNKNOWN_DOCUMENT.format(element)])
    return Document(kind, rows[0])


def account_of(store: Store, sent: Body, errors: list[str]) -> Body | None:
    """The account that a payment goes through: a bank's, or one that payments are enabled for (second hand)."""
    given = sent.get("Account")
    given = given if isinstance(given, dict) else {}
    code, account_id = given.get("Code") or sent.get("Code"), given.get("AccountID")
    if not code and not account_id:
        errors.append(NO_ACCOUNT)
        return None
    account = chart.account(store, account_id=str(account_id)) if account_id else None
    account = account or (chart.account(store, code=str(code)) if code else None)
    if account is None:
        errors.append(UNKNOWN_ACCOUNT)
    elif account["Status"] != "ACTIVE" or not (
        account["Type"] == "BANK" or account.get("EnablePaymentsToAccount")
    ):
        errors.append(BAD_ACCOUNT)
    return account


def day_of(books: Books, sent: Body, errors: list[str]) -> str | None:
    """The day of a payment; what comes of none is a switch."""
    if not sent.get("Date"):
        if books.dialect["payment_date_missing"] == "today":
            return settings_data.today(books.store, books.clock.now_ms()).isoformat()
        errors.append(NO_DATE)
        return None
    day = invoices.read_date(sent["Date"])
    if day is None:
        errors.append(invoices.BAD_DATE.format("Date"))
    return day


def _money(
    books: Books, found: Document, account: Body | None, amount: Decimal, sent: Body, errors: list[str]
) -> Body:
    """Amount in the document's currency, CurrencyRate, and BankAmount in that of the account (spec)."""
    base = settings_data.organisation(books.store).get("BaseCurrency", "GBP")
    currency = found.body["CurrencyCode"]
    of_account = (account or {}).get("CurrencyCode") or base
    rate = Decimal("1.000000")
    if currency != base:  # spec: the rate is of no use in the base currency
        sent_rate = invoice_lines.amount(sent, "CurrencyRate", errors)
        rate = sent_rate or invoices.DAY_RATES.get(currency, Decimal("1.500000"))
    if of_account not in (currency, base):
        errors.append(BAD_CURRENCY)
    bank = amount if of_account == currency else (amount / rate).quantize(CENT, ROUND_HALF_UP)
    return {"Amount": amount, "CurrencyRate": rate, "BankAmount": bank}


# -- reversing one


def _unfit_for_deletion(books: Books, payment: Body) -> list[str]:
    """Why a payment can't be deleted by itself."""
    if payment["Status"] == "DELETED":
        return [NOT_OF_VALID_STATUS]
    errors = [IN_BATCH] if payment.get("BatchPaymentID") else []
    return errors + held(books, payment)


def held(books: Books, record: Body) -> list[str]:
    """What holds a payment or a batch in place: the bank statement, a locked period."""
    errors: list[str] = []
    if record["IsReconciled"] and books.dialect["reconciled_payment_delete"] == "refuse":
        errors.append(RECONCILED)
    locks.check(books, record["Date"], errors)
    return errors


def delete(books: Books, payment: Body) -> Body:
    """Take a payment back: it stays as DELETED, and its document is open again by its amount."""
    stamp = books.clock.stamp_ms()
    payment = put(books.store, {**payment, "Status": "DELETED", "UpdatedMs": stamp})
    settlement.settle(books, payment["DocumentID"], at_ms=stamp)
    _remember(books, payment, "Payment Deleted")
    return payment


# -- what a person does, and what comes with loaded invoices


def pay(books: Books, wanted: Body) -> Body:
    """A payment made on the web page: {"InvoiceID", "Amount", "Date"?, "Account"? (code)}; ValueError if refused."""
    sent: Body = {"Invoice": {"InvoiceID": wanted["InvoiceID"]}, "Amount": wanted["Amount"]}
    sent |= {name: wanted[name] for name in ("Date", "Reference", "CurrencyRate") if wanted.get(name)}
    sent["Account"] = {"Code": wanted.get("Account") or _a_bank(books.store)["Code"]}
    try:
        with localcontext(prec=60):
            return made(books, sent, None)
    except Wrong as wrong:
        raise ValueError("; ".join(wrong.errors)) from None


def unpay(books: Books, payment_id: str) -> Body:
    """A payment deleted on the web page; ValueError if refused."""
    payment = by_id(books.store, payment_id)
    errors = _unfit_for_deletion(books, payment)
    if errors:
        raise ValueError("; ".join(errors))
    return delete(books, payment)


def reconcile(books: Books, payment_id: str, reconciled: bool) -> Body:
    """A payment matched with the bank statement. second hand: that moves the payment's stamp."""
    payment = by_id(books.store, payment_id)
    if payment.get("BatchPaymentID"):
        raise ValueError("The bank statement knows the batch, not its payments: name the BatchPaymentID.")
    return put(books.store, {**payment, "IsReconciled": reconciled, "UpdatedMs": books.clock.stamp_ms()})


def set_paid(books: Books, invoice_id: str, total: Decimal, day: str | None) -> Body:
    """Bring what is paid of an invoice to a sum, as a person would: one more payment, or the newest deleted.

    Gives the invoice. Raises UnknownInvoice, ValueError.
    """
    invoice = books.store.get(INVOICE, invoice_id.lower())
    if invoice is None:
        raise invoices.UnknownInvoice(invoice_id)
    if invoice["Status"] not in (settlement.OPEN, settlement.SETTLED):
        raise ValueError(NOT_AUTHORISED)
    if not 0 <= total <= invoice["Total"] - invoice["AmountCredited"]:
        raise ValueError(EXCEEDS)
    paid = invoice["AmountPaid"]
    for payment in reversed(settlement.payments_of(books.store, invoice["InvoiceID"])):
        if paid <= total:
            break
        delete(books, payment)
        paid -= payment["Amount"]
    if paid < total:
        pay(books, {"InvoiceID": invoice["InvoiceID"], "Amount": total - paid, "Date": day})
    return books.store.get(INVOICE, invoice["InvoiceID"]) or {}


def _a_bank(store: Store) -> Body:
    for account in store.all(chart.ACCOUNT):
        if account["Type"] == "BANK" and account["Status"] == "ACTIVE":
            return account
    raise ValueError(UNKNOWN_ACCOUNT)


def adopt(store: Store, invoice: Body) -> None:
    """Make records of what a loaded invoice says was paid, for it is reckoned from them afterwards."""
    found = Document(INVOICE, invoice)
    rows: list[Body] = list(invoice.get("Payments") or [])
    rest = invoice["AmountPaid"] - sum((one["Amount"] for one in rows), ZERO)
    if rest > 0:
        rows.append({"Date": invoice.get("FullyPaidOnDate") or invoice["Date"], "Amount": rest})
    for row in rows:
        payment = {
            **start(found), "CurrencyRate": invoice["CurrencyRate"], "BankAmount": row["Amount"],
            "UpdatedMs": invoice["UpdatedMs"], **row,
        }  # fmt: skip
        if store.get(KIND, payment["PaymentID"]) is None:
            put(store, payment)

"""Makes overpayments and prepayments: money at the bank beyond what was invoiced, or before it was."""

from __future__ import annotations

import uuid
from decimal import Decimal, localcontext

from sandbox.store import Body
from sandbox.xero import chart, credits, invoice_lines, invoices, locks, settings_data, settlement
from sandbox.xero.books import Books
from sandbox.xero.credits import OVERPAYMENT, PREPAYMENT, Sort
from sandbox.xero.invoice_lines import ZERO
from sandbox.xero.invoices import Wrong

# unconfirmed: the wording
BAD_TYPE = "Type must be RECEIVE-{0} or SPEND-{0}"
NO_AMOUNT = "The total must be greater than 0"
SYSTEM_ACCOUNTS = {True: "DEBTORS", False: "CREDITORS"}  # where an overpayment lies (spec's example: 800)


def make(books: Books, sort: Sort, sent: Body) -> Body:
    """A new one, AUTHORISED at once. Raises Wrong with what is wrong.

    Takes Type (RECEIVE-... unless sent), Contact or ContactID, Date, CurrencyCode, CurrencyRate, Reference
    (InvoiceNumber of a prepayment), and LineItems or an Amount alone.
    """
    with books.store.transaction(), localcontext(prec=60):
        return _made(books, sort, sent)


def _made(books: Books, sort: Sort, sent: Body) -> Body:
    errors: list[str] = []
    word = sort.name.upper()
    kind = str(sent.get("Type") or f"RECEIVE-{word}").upper()
    if kind not in (f"RECEIVE-{word}", f"SPEND-{word}"):
        raise Wrong([BAD_TYPE.format(word)])
    if sent.get("ContactID"):
        sent = {**sent, "Contact": {"ContactID": sent["ContactID"]}}
    credit: Body = {sort.id_name: str(uuid.uuid4()), "Type": kind, "Status": "AUTHORISED"}
    credit |= {name: str(sent[name]).strip() for name in ("Reference", "InvoiceNumber") if sent.get(name)}
    credit["ContactID"] = invoices.contact_meant(books, sent, None, errors)
    today = settings_data.today(books.store, books.clock.now_ms()).isoformat()
    day = invoices.read_date(sent["Date"]) if sent.get("Date") else today
    errors += [] if day else [invoices.BAD_DATE.format("Date")]
    credit["Date"] = day or today
    credit |= invoices.currency_of(books, credit, sent, errors)
    lines_of = _overpaid if sort is OVERPAYMENT else _prepaid
    credit |= lines_of(books, credit, sent, errors)
    locks.check(books, credit["Date"], errors)
    if not errors and credit["Total"] <= 0:
        errors.append(NO_AMOUNT)
    if errors:
        raise Wrong(errors)
    saved = credits.put(books.store, sort, {**credit, "UpdatedMs": books.clock.stamp_ms()})
    settlement.rebalance(books, saved["ContactID"])
    credits.tell(books, sort, saved, "Created", [])
    return saved


def void(books: Books, sort: Sort, credit: Body) -> Body:
    """What removing its bank transaction does. Raises ValueError while it is in use (unconfirmed: the wording)."""
    if credit["Status"] == "VOIDED" or credits.remaining(books.store, sort, credit) != credit["Total"]:
        raise ValueError(invoices.HAS_PAYMENTS)
    errors: list[str] = []
    locks.check(books, credit["Date"], errors)
    if errors:
        raise ValueError(errors[0])
    saved = credits.put(
        books.store, sort, {**credit, "Status": "VOIDED", "UpdatedMs": books.clock.stamp_ms()}
    )
    settlement.rebalance(books, saved["ContactID"])
    credits.tell(books, sort, saved, "Voided", [])
    return saved


def _overpaid(books: Books, credit: Body, sent: Body, errors: list[str]) -> Body:
    """One line without tax at the control account (spec's example)."""
    given = [one for one in sent.get("LineItems") or [] if isinstance(one, dict)]
    first = given[0] if given else {"UnitAmount": sent.get("Amount")}
    price = invoice_lines.amount(first, "UnitAmount", errors) or ZERO
    quantity = invoice_lines.amount(first, "Quantity", errors)
    amount = invoice_lines.rounded(price if quantity is None else price * quantity, books.dialect)
    system = SYSTEM_ACCOUNTS[credits.is_sale(credit)]
    found = [row for row in books.store.all(chart.ACCOUNT) if row.get("SystemAccount") == system]
    account = found[0] if found else {}
    line: Body = {
        "Description": str(first.get("Description") or sent.get("Description") or OVERPAYMENT.name),
        "UnitAmount": amount, "TaxType": "NONE", "TaxAmount": ZERO, "LineAmount": amount,
        "AccountCode": account.get("Code", ""), "Tracking": [], "Quantity": Decimal("1.0000"),
        "LineItemID": str(uuid.uuid4()), "AccountID": account.get("AccountID", ""),
    }  # fmt: skip
    sums = {"SubTotal": amount, "TotalTax": ZERO, "Total": amount}
    return {"LineAmountTypes": "NoTax", "LineItems": [{k: v for k, v in line.items() if v != ""}], **sums}


def _prepaid(books: Books, credit: Body, sent: Body, errors: list[str]) -> Body:
    """Lines with tax, as an invoice has them; an Amount alone is one line without tax."""
    amounts = str(sent.get("LineAmountTypes") or "Exclusive")
    lines = sent.get("LineItems")
    if not lines:
        amounts = "NoTax"
        code = "200" if credits.is_sale(credit) else "429"
        lines = [{
            "Description": str(sent.get("Description") or PREPAYMENT.name), "Quantity": 1,
            "UnitAmount": sent.get("Amount"), "AccountCode": sent.get("AccountCode") or code,
        }]  # fmt: skip
    if amounts not in invoices.LINE_AMOUNTS:
        errors.append(invoices.BAD_LINE_AMOUNTS)
        amounts = "Exclusive"
    body: Body = {**credit, "LineAmountTypes": amounts}
    body["Type"] = "ACCREC" if credits.is_sale(credit) else "ACCPAY"  # as lines know sales from purchases
    before: Body = {"LineItems": [], "LineAmountTypes": amounts, "Status": "DRAFT"}
    invoices.settle_lines(books, body, {**sent, "LineItems": lines}, before, 4, errors)
    names = ("LineAmountTypes", "LineItems", "SubTotal", "TotalTax", "Total")
    return {name: body[name] for name in names if name in body}

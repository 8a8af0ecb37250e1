"""Sets credits against invoices, and takes them off again: what may be allocated to what, and how much."""

from __future__ import annotations

from decimal import Decimal, localcontext

from sandbox.store import Body
from sandbox.xero import credits, history, invoice_lines, invoices, locks, settings_data, settlement
from sandbox.xero.books import Books, Written
from sandbox.xero.credits import NOTE, Sort, UnknownCredit
from sandbox.xero.invoices import UnknownInvoice

# second hand: as others report them, of credit notes; unconfirmed: the same of the other two
PAID_OFF = "The invoice you are trying to allocate to has already been paid off"
TOO_MUCH = "{} cannot be allocated as amount is greater than amount outstanding"
WRONG_TYPE = "{} cannot be allocated to an incorrect invoice type"
# second hand: of prepayments; unconfirmed: of overpayments
MORE_THAN_IS_LEFT = (
    "{0} cannot be allocated as the allocation amount is greater than the amount remaining on the {0}"
)
# unconfirmed: the wording of the rest. documented: that the contact has to be the same; second hand: the currency
NOT_APPROVED = "{} cannot be allocated as it is not of valid status"
INVOICE_NOT_APPROVED = "The invoice you are trying to allocate to is not of valid status"
OTHER_CONTACT = "{} cannot be allocated to an invoice of a different contact"
OTHER_CURRENCY = "{} cannot be allocated to an invoice in a different currency"
NO_AMOUNT = "Amount must be greater than 0"
NO_INVOICE = "An invoice must be specified"
NO_DATE = "Date must be specified"
TOO_EARLY = "The allocation date cannot be before the date of the invoice or of the credit"
RECEIVED, APPLIED, REMOVED = "Credit Applied", "Allocated", "Allocation Removed"  # in the History


def allocate(books: Books, sort: Sort, credit: Body, elements: list[Body]) -> list[Written]:
    """Write each allocation that is right, in order: Invoice (by InvoiceID or InvoiceNumber), Amount, Date.

    Raises UnknownInvoice for the whole.
    """
    return [_one(books, sort, sort.id_of(credit), sent) for sent in elements]


def _one(books: Books, sort: Sort, credit_id: str, sent: Body) -> Written:
    credit = books.store.get(sort.kind, credit_id) or {}  # as the element before left it
    errors: list[str] = []
    invoice = _invoice(books, sent)
    amount = invoice_lines.amount(sent, "Amount", errors)
    amount = amount and invoice_lines.rounded(amount, books.dialect)
    day = _day(books, sent, errors)
    if invoice is None:
        errors.append(NO_INVOICE)
    elif not errors and (amount is None or amount <= 0):
        # second hand: AppliedAmount, which a reply to XML has, is not read; the amount is 0 then
        errors.append(NO_AMOUNT)
    elif amount is not None:
        with localcontext(prec=60):
            errors += _refusals(books, sort, credit, invoice, amount)
        errors += _of_the_day(books, credit, invoice, day)
    if errors or invoice is None or amount is None:
        return Written(sent, None, None, errors)
    row = credits.new_allocation(sort, credit, invoice["InvoiceID"], amount, day)
    credits.put_allocation(books.store, row)
    _settled(books, sort, row, (RECEIVED, APPLIED))
    return Written(sent, row, row["AllocationID"])


def _invoice(books: Books, sent: Body) -> Body | None:
    """The invoice of an element; unconfirmed: by number too, and 404 where there is none (recorded of contacts)."""
    named = sent.get("Invoice")
    named = named if isinstance(named, dict) else {}
    if not named.get("InvoiceID") and not named.get("InvoiceNumber"):
        return None
    if named.get("InvoiceID"):
        found = books.store.get(invoices.KIND, str(named["InvoiceID"]).lower())
    else:
        found = invoices.by_id_or_number(books, str(named["InvoiceNumber"]))
    if found is None:
        raise UnknownInvoice(named.get("InvoiceID") or named["InvoiceNumber"])
    return found


def _day(books: Books, sent: Body, errors: list[str]) -> str:
    """The day of an allocation; the spec says that it must be sent, older clients don't (unconfirmed)."""
    today = settings_data.today(books.store, books.clock.now_ms()).isoformat()
    if not sent.get("Date"):
        errors += [NO_DATE] if books.dialect["allocation_without_date"] == "refuse" else []
        return today
    day = invoices.read_date(sent["Date"])
    errors += [] if day else [invoices.BAD_DATE.format("Date")]
    return day or today


def _refusals(books: Books, sort: Sort, credit: Body, invoice: Body, amount: Decimal) -> list[str]:
    """Why this much of a credit can't go to an invoice. second hand: several reasons come together."""
    errors: list[str] = []
    left = credits.remaining(books.store, sort, credit)
    if credit["Status"] not in ("AUTHORISED", "PAID"):
        errors.append(NOT_APPROVED.format(sort.name))
    if invoice["Status"] == "PAID":
        errors.append(PAID_OFF)
    elif invoice["Status"] != "AUTHORISED":
        errors.append(INVOICE_NOT_APPROVED)
    if sort is not NOTE and amount > left:
        errors.append(MORE_THAN_IS_LEFT.format(sort.name))
    if amount > invoices.due(invoice) or (sort is NOTE and amount > left):
        errors.append(TOO_MUCH.format(sort.name))
    if credits.is_sale(credit) != (invoice["Type"] == "ACCREC"):
        errors.append(WRONG_TYPE.format(sort.name))
    if credit["ContactID"] != invoice["ContactID"]:
        errors.append(OTHER_CONTACT.format(sort.name))
    if credit["CurrencyCode"] != invoice["CurrencyCode"]:
        errors.append(OTHER_CURRENCY.format(sort.name))
    return errors


def _of_the_day(books: Books, credit: Body, invoice: Body, day: str) -> list[str]:
    errors: list[str] = []
    early = day < max(credit["Date"], invoice["Date"])
    if early and books.dialect["early_allocation"] == "refuse":
        errors.append(TOO_EARLY)
    locks.check(books, day, errors)
    return errors


def remove(books: Books, sort: Sort, credit: Body, allocation_id: str) -> Body:
    """Take an allocation off; raises UnknownCredit, and ValueError within a locked period."""
    row = books.store.get(settlement.ALLOCATION, allocation_id.lower())
    if row is None or row["SourceID"] != sort.id_of(credit):
        raise UnknownCredit(allocation_id)
    errors: list[str] = []
    locks.check(books, row["Date"], errors)
    if errors:
        raise ValueError(errors[0])
    books.store.delete(settlement.ALLOCATION, row["AllocationID"])
    _settled(books, sort, row, (REMOVED, REMOVED))
    return row


def _settled(books: Books, sort: Sort, row: Body, words: tuple[str, str]) -> None:
    """Both documents as they are now, and what their Histories say (unconfirmed: the words)."""
    settlement.settle(books, row["InvoiceID"])
    settlement.settle(books, row["SourceID"])
    credit = books.store.get(sort.kind, row["SourceID"]) or {}
    invoice = books.store.get(invoices.KIND, row["InvoiceID"]) or {}
    number = credit.get(sort.number, "")
    for_invoice = f"{sort.name} {number} on {row['Date']} for {row['Amount']}.".replace("  ", " ")
    history.write(books, row["InvoiceID"], words[0], for_invoice)
    for_credit = f"To {invoice.get('InvoiceNumber', 'invoice')} on {row['Date']} for {row['Amount']}."
    history.write(books, row["SourceID"], words[1], for_credit)

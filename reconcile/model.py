"""The frames that pass between stages, and the closed sets of words in them.

Every frame has one schema, and it stands here. `conform` is called where a frame enters a stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

SIDES: Final = ("salesforce", "xero")
ENTITIES: Final = (
    "party", "person", "product", "price", "document", "credit", "payment", "bill", "option", "shown_invoice",
    "shown_payment", "membership",
)  # fmt: skip
MERGED: Final = (
    "party",
    "person",
    "product",
    "price",
)  # kept in agreement by units; a document is made once, then shown
STATUSES: Final = ("active", "archived", "deleted", "merged")
PHASES: Final = ("link", "fill", "settle", "create", "change", "undo")
ACTIONS: Final = ("link", "create", "update")
LINK_STATUSES: Final = ("linked", "review", "refused")
BASE_KINDS: Final = ("agreed", "as_found", "accepted")
FLOWS: Final = ("both", "to_xero", "to_salesforce", "none")
OUTCOMES: Final = (
    "confirmed",  # made, and proven by the reply or by reading back
    "adopted",  # it was there already: an earlier attempt, or someone else's, made it
    "rejected",  # the vendor refused it; nothing was written
    "overtaken",  # the value under it is not the one that the plan saw; the next plan looks again
    "waiting",  # not tried: what it depends on is missing, or a limit was met
    "unknown",  # sent, and its answer is lost: settled before anything else is planned
    "asked",  # tried several times, never an answer that tells: a person has to look
)

SIDE: Final = pl.Enum(SIDES)
ENTITY: Final = pl.Enum(ENTITIES)
STATUS: Final = pl.Enum(STATUSES)
PHASE: Final = pl.Enum(PHASES)
ACTION: Final = pl.Enum(ACTIONS)
LINK_STATUS: Final = pl.Enum(LINK_STATUSES)
BASE_KIND: Final = pl.Enum(BASE_KINDS)
OUTCOME: Final = pl.Enum(OUTCOMES)
UTC: Final = pl.Datetime("us", "UTC")

Schema = Mapping[str, "pl.DataType | type[pl.DataType]"]

# One row a record of one object, as of the last complete snapshot.
RAW: Final[Schema] = {
    "record_id": pl.String,
    "modified_at": UTC,
    "deleted": pl.Boolean,  # a tombstone: Salesforce IsDeleted, or gone from a verified full sweep
    "row_hash": pl.String,
    "body": pl.String,  # the vendor's JSON, as it came
}

# What a plan's snapshot held of the records that the plan writes: with the plan, so that others can see it.
SEEN: Final[Schema] = {
    "side": SIDE,
    "object": pl.String,
    "record_id": pl.String,
    "modified_at": UTC,
    "body": pl.String,
}

# What a side's schema says of its fields (Salesforce: describe; Xero: its published spec).
FIELDS: Final[Schema] = {
    "side": SIDE,
    "object": pl.String,
    "field": pl.String,  # Salesforce: API name. Xero: path as in a mapping, e.g. Phones.DEFAULT.PhoneNumber
    "type": pl.String,
    "length": pl.Int64,  # characters; null where the vendor states none
    "createable": pl.Boolean,
    "updateable": pl.Boolean,
    "required": pl.Boolean,  # on create: not nillable and not defaulted
    "options": pl.List(pl.String),  # values of a restricted picklist, else null
}

# One row a canonical record: who it is and what state it is in.
RECORDS: Final[Schema] = {
    "entity": ENTITY,
    "side": SIDE,
    "record_id": pl.String,  # Salesforce Id; Xero ContactID; a part of a record in Xero "<ContactID>:primary"
    "object": pl.String,
    "status": STATUS,
    "merged_into": pl.String,  # the survivor's record_id where status is merged
    "modified_at": UTC,
    "modified_by": pl.String,  # Salesforce user id; null in Xero
    "row_hash": pl.String,
    "reference": pl.String,  # the other side's id that this record carries; null where it carries none
    "parent_id": pl.String,  # of a part (person, price): the whole's record_id on the same side
    "is_customer": pl.Boolean,  # null where the side does not tell
    "is_supplier": pl.Boolean,
    "in_scope": pl.Boolean,
}

# One row a record and unit.
VALUES: Final[Schema] = {
    "entity": ENTITY,
    "side": SIDE,
    "record_id": pl.String,
    "unit": pl.String,
    "kind": pl.String,  # the mapping's `as`
    "native": pl.String,  # JSON: the piece of the vendor's body that holds the unit; null where not observed
    "value": pl.String,  # canonical; null = no value
    "observed": pl.Boolean,
}

# A row set aside, and why.
REJECTS: Final[Schema] = {
    "stage": pl.String,
    "entity": pl.String,
    "side": pl.String,
    "record_id": pl.String,
    "unit": pl.String,
    "reason": pl.String,  # what was found and expected; no personal value
}

LINKS: Final[Schema] = {
    "link_id": pl.String,  # stable for (entity, salesforce_id, xero_id)
    "entity": ENTITY,
    "salesforce_id": pl.String,
    "xero_id": pl.String,
    "status": LINK_STATUS,
    "rule": pl.String,  # what found it: known, our_ids, tax_number, ..., score, person, survivor, accepted
    "score": pl.Float64,  # match probability, 0 to 1; 1.0 for a known link or a strong identifier
    "evidence": pl.String,  # JSON: comparison -> level and weight; no personal value
    "made_by": pl.String,
}

# What a person decided. The fingerprint is of both records: a refusal lasts until one of them changes.
DECISIONS: Final[Schema] = {
    "kind": pl.String,  # accept_link, refuse_link, undo_link, accept_drift, salesforce_wins, xero_wins
    "entity": ENTITY,
    "salesforce_id": pl.String,
    "xero_id": pl.String,
    "unit": pl.String,  # null for links
    "fingerprint": pl.String,
    "made_by": pl.String,
    "made_at": UTC,
}

# The last agreement: one row a link, side and unit (folded from the journal).
BASES: Final[Schema] = {
    "link_id": pl.String,
    "side": SIDE,
    "unit": pl.String,
    "base_kind": BASE_KIND,
    "native": pl.String,  # as read back then
    "stamp": UTC,  # the record's modified time when it was read
}

# One row a link and unit, both sides and both bases in canonical form of this run's code.
UNITS: Final[Schema] = {
    "link_id": pl.String,
    "entity": ENTITY,
    "unit": pl.String,
    "salesforce": pl.String,
    "xero": pl.String,
    "salesforce_base": pl.String,
    "xero_base": pl.String,
    "base_kind": BASE_KIND,  # null: the unit has no base yet
    "salesforce_observed": pl.Boolean,
    "xero_observed": pl.Boolean,
}

# A difference left standing, a conflict, or something to be looked at.
DRIFT: Final[Schema] = {
    "link_id": pl.String,
    "entity": ENTITY,
    "unit": pl.String,
    "salesforce_id": pl.String,
    "xero_id": pl.String,
    "salesforce": pl.String,
    "xero": pl.String,
    "direction": pl.String,  # the side that changed: salesforce, xero, both, as_found
    # flows_against, policy_report, as_found, conflict, oscillates, archived, waits_for_decision
    "why": pl.String,
    "since": UTC,  # when it was first seen; null on its first day
}

CLOSED: Final = ("VOIDED", "DELETED")  # statuses of an invoice, bill or credit note that stands no more

OPERATIONS: Final[Schema] = {
    "operation_id": pl.String,  # stable hash of what it does
    "system": SIDE,  # the side that is written
    "entity": ENTITY,
    "object": pl.String,  # Account, Contact ... (Salesforce); Contact, Item (Xero)
    "record_id": pl.String,  # on that side; null for a create
    "source_id": pl.String,  # the record on the other side
    "made_from": pl.List(pl.String),  # the records that the source is made of; null: itself
    "link_id": pl.String,
    "action": ACTION,
    "phase": PHASE,
    "unit": pl.String,  # "reference" for a link; "record" for a create
    "before": pl.String,  # canonical, as the plan saw it; null = no value
    "after": pl.String,  # canonical; for a create JSON of unit -> canonical value
    "native_before": pl.String,  # JSON piece of the target's body as the plan saw it
    "native_after": pl.String,  # JSON piece of the target's body to send
    "source_native": pl.String,  # likewise of the source: its base once agreed; a create: unit -> piece
    "reason": pl.String,  # one sentence for a person
    "rule": pl.String,  # the rule of the mapping or match that decided
    "depends_on": pl.String,  # operation_id that must succeed first; null
    "match_rule": pl.String,  # for link operations: rule, score and evidence of the link
    "score": pl.Float64,
    "evidence": pl.String,
}

# One row an opportunity, as an invoice would be made of it. Amounts are exact and carry their currency.
DOCUMENTS: Final[Schema] = {
    "record_id": pl.String,  # the opportunity; "<id>:P1" a part of it, "<account>:M202611GBP" all of a month
    "name": pl.String,
    "account_id": pl.String,
    "won": pl.Boolean,  # by IsWon, and in one of the mapped stages
    "due_by_date": pl.Boolean,  # on or after the cut-over; null where it has no date
    "in_scope": pl.Boolean,
    "gone": pl.Boolean,  # in the recycle bin
    "date": pl.Date,  # in the organisation's calendar
    "due": pl.Date,
    "reference": pl.String,
    "status": pl.String,  # that the invoice is made with
    "stated_currency": pl.String,  # of the opportunity; null in an org of one currency
    "currency": pl.String,  # that, or the organisation's own
    "amount": pl.Decimal(38, 4),  # the opportunity's Amount
    "subtotal": pl.Decimal(38, 4),  # computed from the lines; null: Xero's tax decides it
    "total_tax": pl.Decimal(38, 4),
    "total": pl.Decimal(38, 4),
    "branding": pl.String,  # BrandingThemeID; null: Xero's default
    "shown_id": pl.String,  # the fields that show its invoice, as they are now; null = blank
    "shown_number": pl.String,
    "shown_status": pl.String,
    "shown_url": pl.String,
    "currency_rate": pl.Decimal(38, 6),  # that it is made with, as Xero's CurrencyRate; null: none is sent
    "rated": pl.String,  # in words: where that comes from, or how it was converted; null: nothing to tell
    "reason": pl.String,  # why no invoice can be made of it; null: one can
    "held": pl.String,  # why none is made of it by us; one that is there may be its own. null: one may be made
    "releasable": pl.Boolean,  # rules alone hold it: a person may let it go
    "asked": pl.String,  # of what waits for that: the invoice that would be made, as JSON; null: nobody is asked
    "released": pl.String,  # why it was held before somebody let it go
    "came_from": pl.String,  # the record of another object, invoiced too, that it came from; null: none
    "twice": pl.String,  # why it is not billed: what it came from is, or what came from it; null: nothing of that
    "line_count": pl.Int64,
    "form": pl.String,  # parts: it is a part of a sale; together: all sales of an account and month; null: a sale
    # Of a part and of what is billed together: the records that it is made of, and what they show. Null: itself.
    "sources": pl.List(
        pl.Struct(
            dict.fromkeys(
                ("record_id", "name", "shown_id", "shown_number", "shown_status", "shown_url"), pl.String
            )
        )
    ),
}

DOCUMENT_LINES: Final[Schema] = {
    "document_id": pl.String,  # the opportunity
    "line_id": pl.String,
    "position": pl.Int64,  # from 1
    "description": pl.String,
    "title": pl.String,  # the line's whole name, where the description is taken from that; else null
    "quantity": pl.Decimal(38, 16),
    "unit_price": pl.Decimal(38, 16),
    "discount": pl.Decimal(38, 16),  # percent; null: none
    "account": pl.String,
    "tax": pl.String,  # TaxType; null: the account's own
    "item": pl.String,  # ItemCode; null: none
    "product_id": pl.String,  # whose item is made on demand; null where items are not
    "tracking": pl.String,  # JSON as Xero takes it: [{"Name": "Region", "Option": "North"}]; null: none
    "amount": pl.Decimal(38, 4),  # in the document's currency
    "tax_amount": pl.Decimal(38, 4),  # null: Xero decides
    "coded": pl.String,  # in words: what gave it account and tax; null: the mapping's own
    "evidence": pl.String,  # JSON: the past bookings that they were inferred from; null: none were
    "reason": pl.String,  # what is wrong with it; null: nothing
}

# The sales invoices of Xero.
INVOICES: Final[Schema] = {
    "record_id": pl.String,  # InvoiceID
    "number": pl.String,
    "reference": pl.String,
    "status": pl.String,
    "contact_id": pl.String,
    "currency": pl.String,
    "subtotal": pl.Decimal(38, 4),
    "total": pl.Decimal(38, 4),
}

# Whose money: what customers owe (invoices), or what is owed to suppliers (bills).
OWED: Final = pl.Enum(["receivable", "payable"])
# What a movement is: money for an invoice; a part of a credit that was allocated to one; or a credit paid back.
MOVEMENT: Final = pl.Enum(["payment", "credit_note", "overpayment", "prepayment", "refund"])

# One row a movement that settles an invoice or bill, or pays back a credit. Amounts carry their currency.
SETTLEMENTS: Final[Schema] = {
    "settlement_id": pl.String,  # PaymentID or AllocationID; without one "<id of the credit>:<place in it>"
    "kind": MOVEMENT,
    "invoice_id": pl.String,  # null for a refund
    "source_id": pl.String,  # the credit that it is taken from; of a payment its batch, null: it has none
    "date": pl.Date,
    "amount": pl.Decimal(38, 4),
    "currency": pl.String,
    "status": pl.String,  # AUTHORISED counts; DELETED and VOIDED (its credit is) count nothing
    "reference": pl.String,
    "currency_rate": pl.Decimal(38, 16),  # units of `currency` for one of the organisation's own
    "modified_at": UTC,  # of the payment, or of the credit that holds the allocation
}

# One row a record of Salesforce that says that money was taken for an invoice.
TAKEN: Final[Schema] = {
    "record_id": pl.String,
    "name": pl.String,
    "source_id": pl.String,  # what was invoiced; null: it names nothing
    "amount": pl.Decimal(38, 16),
    "currency": pl.String,  # null: that of the invoice
    "date": pl.Date,
    "gone": pl.Boolean,  # deleted
    "counts": pl.Boolean,  # in scope, and not deleted
    "shown_id": pl.String,  # the fields that show its payment, as they are now; null = blank
    "shown_status": pl.String,
}

# One row a record of Salesforce that is a bill of a supplier.
BILLS: Final[Schema] = {
    "record_id": pl.String,
    "name": pl.String,
    "account_id": pl.String,  # the supplier; null: it names none
    "amount": pl.Decimal(38, 16),
    "currency": pl.String,  # null: that of the organisation
    "date": pl.Date,
    "due_on": pl.Date,
    "due_unread": pl.Boolean,  # its field holds something, of which the day is not known
    "number": pl.String,  # the supplier's own
    "description": pl.String,
    "gone": pl.Boolean,  # deleted
    "counts": pl.Boolean,  # in scope, and not deleted
    "shown_id": pl.String,  # the fields that show its bill, as they are now; null = blank
    "shown_status": pl.String,
}

# One row a bill of Xero.
BILLS_THERE: Final[Schema] = {
    "bill_id": pl.String,
    "bill_number": pl.String,
    "bill_status": pl.String,  # Xero's own; DELETED too where it is gone from a whole list
    "bill_contact": pl.String,
    "bill_currency": pl.String,
    "bill_date": pl.Date,
    "subtotal": pl.Decimal(38, 4),
    "total": pl.Decimal(38, 4),
}

# One row a credit note, overpayment or prepayment.
CREDITS: Final[Schema] = {
    "credit_id": pl.String,
    "source": pl.String,  # credit_note, overpayment, prepayment
    "kind": OWED,
    "number": pl.String,
    "reference": pl.String,
    "contact_id": pl.String,
    "status": pl.String,
    "date": pl.Date,
    "currency": pl.String,
    "currency_rate": pl.Decimal(38, 16),
    "total": pl.Decimal(38, 4),
    "allocated": pl.Decimal(38, 4),
    "refunded": pl.Decimal(38, 4),
    "remaining": pl.Decimal(38, 4),  # 0 unless AUTHORISED or PAID
    "reason": pl.String,  # where Xero's own RemainingCredit is another; null: it agrees
    "modified_at": UTC,
}

# One row an invoice or bill, and what became of it.
SETTLED: Final[Schema] = {
    "invoice_id": pl.String,
    "kind": OWED,
    "number": pl.String,
    "reference": pl.String,
    "contact_id": pl.String,
    "status": pl.String,  # Xero's own; DELETED too where it is gone from a whole list
    "date": pl.Date,
    "due_on": pl.Date,
    "paid_on": pl.Date,  # Xero's FullyPaidOnDate; null: not paid in full
    "currency": pl.String,
    "currency_rate": pl.Decimal(38, 16),
    "subtotal": pl.Decimal(38, 4),
    "total_tax": pl.Decimal(38, 4),
    "total": pl.Decimal(38, 4),
    "paid": pl.Decimal(38, 4),  # by payments that stand
    "credited": pl.Decimal(38, 4),  # by allocations that stand
    "due": pl.Decimal(38, 4),  # the rest; 0 of what is VOIDED or DELETED
    "overdue": pl.Decimal(38, 4),  # all of due, or 0
    "days_overdue": pl.Int64,  # 0: not overdue
    "last_payment_on": pl.Date,
    "reason": pl.String,  # where Xero's own sums disagree with the movements; null: they agree
    "modified_at": UTC,
}

# One row a contact, kind and currency.
BALANCES: Final[Schema] = {
    "contact_id": pl.String,
    "kind": OWED,
    "currency": pl.String,
    "outstanding": pl.Decimal(38, 4),  # due of what is approved; credit is not taken off
    "overdue": pl.Decimal(38, 4),
    "credit": pl.Decimal(38, 4),  # what is left of credit notes, overpayments and prepayments
    "invoices_open": pl.Int64,
    "last_payment_on": pl.Date,  # null: nothing was ever paid
    "last_payment": pl.Decimal(38, 4),  # all of that day
}

# The same of the contacts that are linked to an Account.
ACCOUNT_BALANCES: Final[Schema] = {
    "account_id": pl.String,
    **{name: kind for name, kind in BALANCES.items() if name != "contact_id"},
}

# One row a source (an opportunity) that has an invoice: what the invoice should say now.
SOURCE_STATE: Final[Schema] = {
    "document_id": pl.String,  # the opportunity
    "link_id": pl.String,
    "invoice_id": pl.String,  # in lower case, as everywhere
    "won": pl.Boolean,
    "gone": pl.Boolean,
    "in_scope": pl.Boolean,
    "due_by_date": pl.Boolean,  # on or after the cut-over; null where it has no date
    "contact_id": pl.String,  # who it is to be made out to; null: not known, and nothing can be made of it
    # Of these five null means that the source says nothing, and the invoice keeps its own.
    "currency": pl.String,
    "date": pl.Date,
    "due": pl.Date,
    "reference": pl.String,
    "line_amounts": pl.String,  # Exclusive, Inclusive, NoTax
    "subtotal": pl.Decimal(38, 4),  # null: Xero's tax decides it
    "total": pl.Decimal(38, 4),
    "reason": pl.String,  # why no invoice can be made of it; null: one can
    "base": pl.String,  # what it said at the last agreement, as `agreed_values` gives it; null: not known
}

# One row an invoice that has a source: what it says now.
INVOICE_STATE: Final[Schema] = {
    "invoice_id": pl.String,
    "number": pl.String,
    "status": pl.String,  # as Xero spells it
    "contact_id": pl.String,
    "currency": pl.String,
    "date": pl.Date,
    "due": pl.Date,
    "reference": pl.String,
    "line_amounts": pl.String,
    "subtotal": pl.Decimal(38, 4),
    "total": pl.Decimal(38, 4),
    "paid": pl.Decimal(38, 4),
    "credited": pl.Decimal(38, 4),
    "revision": pl.Int64,  # of its number: 1 for the first invoice of its source
    "base": pl.String,  # as of SOURCE_STATE
}

# The lines of those invoices. The lines of sources are DOCUMENT_LINES.
INVOICE_LINES: Final[Schema] = {
    "invoice_id": pl.String,
    "line_item_id": pl.String,
    "position": pl.Int64,  # from 1
    "description": pl.String,
    "quantity": pl.Decimal(38, 16),  # null, and the price too: a line of text
    "unit_price": pl.Decimal(38, 16),
    "discount": pl.Decimal(38, 16),  # percent; null: none
    "discount_amount": pl.Decimal(38, 16),  # what a person may have set instead of a percentage
    "account": pl.String,
    "tax": pl.String,
    "item": pl.String,
    "tax_amount": pl.Decimal(38, 4),
    "tracking": pl.String,  # JSON, as Xero shows it
}

LINE_LINKS: Final[Schema] = {
    "document_id": pl.String,
    "line_id": pl.String,
    "line_item_id": pl.String,
}

# Which line of a source is which line of its invoice. One of the two ids may be null: new, or to be removed.
PAIRED_LINES: Final[Schema] = {
    "document_id": pl.String,
    "line_id": pl.String,
    "line_item_id": pl.String,
    "rule": pl.String,  # known, place, content, text, share: what joined them; new, removed, foreign: nothing did
}

# What becomes of each invoice whose source changed, or that changed itself. One row a source.
MOVES: Final[Schema] = {
    "document_id": pl.String,
    "link_id": pl.String,
    "invoice_id": pl.String,
    "move": pl.Enum(("keep", "change", "withdraw", "credit", "remake", "tell", "refuse")),
    "call": pl.Enum(("none", "update", "delete", "void", "credit", "remake")),
    "needs": pl.Enum(("nothing", "approval", "mending")),  # mending: a person must change something first
    "reason": pl.String,  # one sentence for a person
    "rule": pl.String,  # the cell of the table, "state x change", and what made it ask or stop
    "before": pl.String,  # JSON, canonical: what the invoice says; null where all is kept
    "after": pl.String,  # likewise, what it would say; of a credit its amount, of a remake its revision
}

# A rate as its source states it, and the days on which it holds.
RATES: Final[Schema] = {
    "source": pl.String,  # salesforce, table, or the name of a service
    "from_currency": pl.String,
    "to_currency": pl.String,
    "starts_on": pl.Date,  # 0001-01-01: ever
    "ends_on": pl.Date,  # exclusive; null: open
    "rate": pl.Decimal(38, 16),  # units of to_currency for one of from_currency
}

# The rate of a document, in the direction of Xero's CurrencyRate.
DOCUMENT_RATES: Final[Schema] = {
    "record_id": pl.String,
    "currency": pl.String,
    "base_currency": pl.String,  # the organisation's
    "date": pl.Date,
    "source": pl.String,  # null: its currency is the organisation's, or there is no rate
    "rate": pl.Decimal(38, 6),  # as Xero keeps it; null: none is sent
    "exact": pl.Decimal(38, 16),  # units of currency for one of base_currency, before it was rounded
    "rounding": pl.Decimal(38, 16),  # rate less exact
    "evidence": pl.String,  # the rates that it was crossed from
    "reason": pl.String,  # why it can't be sent; null: it can, or Xero takes its own
}

# A document that was put into the organisation's currency, and what rounding did.
CONVERSIONS: Final[Schema] = {
    "record_id": pl.String,
    "from_currency": pl.String,
    "to_currency": pl.String,
    "rate": pl.Decimal(38, 16),  # units of from_currency for one of to_currency
    "evidence": pl.String,
    "amount": pl.Decimal(38, 4),  # its lines together, in from_currency (with tax where prices hold it)
    "exact_amount": pl.Decimal(38, 16),  # that, divided by the rate
    "converted": pl.Decimal(38, 4),  # its lines together, in to_currency
    "difference": pl.Decimal(38, 16),  # converted less exact_amount: at most half a minor unit
    "total_difference": pl.Decimal(
        38, 16
    ),  # likewise of totals with tax, rounded by line; null: tax is Xero's
    "largest_move": pl.Decimal(38, 16),  # of one line's amount from its exact one: at most a minor unit
}

# What both books hold: one row a side, document and line. Of a credit, quantity and amounts are negative.
BOOKED: Final[Schema] = {
    "side": SIDE,
    "document_key": pl.String,  # the same on both sides where linked; else the side's own id
    "linked": pl.Boolean,
    # Likewise. Null: the document itself, with what its total has beyond its lines (as a rule 0); by this row
    # a document without lines is known, too.
    "line_key": pl.String,
    "currency": pl.String,
    "date": pl.Date,
    "status": pl.String,
    "account": pl.String,
    "tax": pl.String,
    "rate": pl.Decimal(38, 16),  # of that tax, in percent
    "quantity": pl.Decimal(38, 16),
    "unit_price": pl.Decimal(38, 16),
    "discount": pl.Decimal(38, 16),  # percent; null: none
    "currency_rate": pl.Decimal(38, 16),  # units of the document's currency for one of the base currency
    "inclusive": pl.Boolean,  # unit prices hold the tax
    "amount": pl.Decimal(38, 4),  # without tax; never null
    "tax_amount": pl.Decimal(38, 4),  # never null
    "credits": pl.String,  # of a credit note: the document_key of the invoice that it takes from
}

# Why two books differ, in the order in which a difference is taken apart: each cause is worth what it moves
# once those before it are taken into account. With each stands the rule by which it is recognised.
CAUSES: Final = {
    "missing_document": "Salesforce alone has the document",
    "extra_document": "Xero alone has the document",
    "missing_line": "both have the document, Salesforce alone has the line",
    "extra_line": "both have the document, Xero alone has the line",
    "credited": "a credit note of Xero takes it off an invoice that both have",
    "currency": "the document stands in another currency",
    "timing": "the document stands in another month",
    "status": "the document stands under another status",
    "account": "the line stands under another account",
    "currency_rate": "the document was booked at another rate into the base currency",
    "price_or_quantity": "quantity or unit price differ; a discount that differs too may be in the price",
    "discount": "quantity and unit price agree, the discount differs",
    "tax_inclusion": "prices hold the tax on one side alone, and the amount differs with it",
    "tax_code": "the line has another tax code; the rate that comes with it is part of this",
    "tax_rate": "under the same tax code the rate differs, and with it the tax",
    "rounding_line": "both reckon from the same, and one rounds the line in another known way",
    "rounding_document": "both reckon from the same, and one rounds the sum once, the other each line",
    "unexplained": "none of these: the amounts differ, and what they are reckoned from does not say why",
}
CAUSE: Final = pl.Enum(list(CAUSES))
MEASURES: Final = ("net", "tax")
MEASURE: Final = pl.Enum(MEASURES)

# What differs between both books, by cause: one row a difference and group that it touches. What moved from
# one group to another is minus here and plus there, under one difference_id.
DIFFERENCES: Final[Schema] = {
    "difference_id": pl.String,
    "cause": CAUSE,
    "document_key": pl.String,
    "line_key": pl.String,  # null: the document as a whole
    "currency": pl.String,
    "month": pl.Date,  # its first day
    "status": pl.String,
    "account": pl.String,
    "net": pl.Decimal(38, 4),  # Xero minus Salesforce
    "tax": pl.Decimal(38, 4),
    "evidence": pl.String,  # in words; no personal value
}

# One row a group and measure. difference = explained + unexplained + residual.
TOTALS: Final[Schema] = {
    "currency": pl.String,
    "month": pl.Date,
    "status": pl.String,
    "account": pl.String,
    "measure": MEASURE,
    "salesforce": pl.Decimal(38, 4),
    "xero": pl.Decimal(38, 4),
    "difference": pl.Decimal(38, 4),  # Xero minus Salesforce
    "explained": pl.Decimal(38, 4),  # by differences of a known cause
    "unexplained": pl.Decimal(38, 4),  # by those of the cause unexplained
    "residual": pl.Decimal(38, 4),  # what no difference tells: not 0 is an alarm
}

# One line of the ledger's past sales that somebody approved: what codes are inferred from.
HISTORY: Final[Schema] = {
    "line_id": pl.String,
    "document_id": pl.String,  # InvoiceID
    "date": pl.Date,
    "contact_id": pl.String,
    "item": pl.String,  # ItemCode, as it is today; null: a line without an item
    "family": pl.String,  # of the CRM's product with that code
    "region": pl.String,  # of the contact
    "account": pl.String,
    "tax": pl.String,  # TaxType
}

# One line that needs its codes; rules may read more columns.
WANTED: Final[Schema] = {
    "line_id": pl.String,
    "date": pl.Date,  # of its document
    "contact_id": pl.String,  # null: the contact is still to be made
    "item": pl.String,
    "family": pl.String,
    "region": pl.String,
}

# What decided a line's codes: a rule, past bookings, the mapping's default; or nothing: a person is asked.
CODED_BY: Final = pl.Enum(["rule", "inferred", "default", "asked"])

# One row a line of WANTED, with its codes.
CODED: Final[Schema] = {
    "line_id": pl.String,
    "account": pl.String,  # null: not known
    "tax": pl.String,  # null: the account's own
    "how": CODED_BY,
    "by": pl.String,  # the places of the rules that fired; or the level of past bookings that decided, or was looked at
    "support": pl.Int64,  # past lines of that level; null where none were asked for
    "agreement": pl.Float64,  # share of them with the code that most of them have, 0 to 1
    "evidence": pl.String,  # JSON: level -> how many past lines had which code; no personal value
    "draft": pl.Boolean,  # its document may only be made as a DRAFT
    "reason": pl.String,  # why it is stopped or asked; null: it may go
}

# A field of Salesforce that does not show what it should: desired against actual value, without a base.
PROJECTIONS: Final[Schema] = {
    "object": pl.String,
    "key": pl.String,  # an InvoiceID or settlement_id; of Salesforce's own objects the record's id
    "record_id": pl.String,  # null: the record has to be made
    "field": pl.String,
    "before": pl.String,  # null: blank. Amounts are 40.00, days 2026-11-30, times 2026-11-30T12:00:00.000+0000
    "after": pl.String,
    "awaits": pl.String,  # of a lookup: the key of the Xero_Invoice__c that has to be made first
}

# What was agreed without a write: the base moves when the plan is sealed.
BASE_MOVES: Final[Schema] = {
    "link_id": pl.String,
    "entity": ENTITY,
    "salesforce_id": pl.String,
    "xero_id": pl.String,
    "unit": pl.String,
    "base_kind": BASE_KIND,
    "salesforce_native": pl.String,
    "xero_native": pl.String,
    "salesforce_stamp": UTC,
    "xero_stamp": UTC,
}

# What a check found.
FINDINGS: Final[Schema] = {
    "stage": pl.String,  # raw, canonical, plan
    "check": pl.String,
    "severity": pl.String,  # critical, warning, info
    "passed": pl.Boolean,
    "broken": pl.Boolean,  # it could not run: counts as a stop
    "count": pl.Int64,  # rows at fault
    "side": pl.String,
    "entity": pl.String,
    "record_ids": pl.List(pl.String),  # as kept: at most 200; of the plan stage, operation ids
    "message": pl.String,  # found, expected; no personal value
}

OUTCOME_ROWS: Final[Schema] = {
    "operation_id": pl.String,
    "system": SIDE,
    "entity": ENTITY,
    "record_id": pl.String,  # the id it has now
    "unit": pl.String,
    "phase": PHASE,
    "outcome": OUTCOME,
    "message": pl.String,  # the vendor's refusal, without values; null when confirmed
}


# What the reading after a push found: nothing, as a rule.
AUDIT: Final[Schema] = {
    # made_twice, missing, amounts_differ, overwritten (incidents); edited_since, closed_since, not_read
    "finding": pl.String,
    "incident": pl.Boolean,
    "system": SIDE,
    "entity": ENTITY,
    "object": pl.String,
    "record_id": pl.String,
    "unit": pl.String,
    "message": pl.String,  # ids and amounts; no personal value
}


def empty(schema: Schema) -> pl.DataFrame:
    """Give a frame of that schema without rows."""
    return pl.DataFrame(schema=dict(schema))


def rows_frame(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    """Give a frame of that schema; what a row does not name is null, and what the schema does not name is left out."""
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=dict(schema))


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Give the frame with exactly the columns and types of the schema, in its order.

    Columns that are missing become null; columns that the schema does not name are dropped.
    Raises polars.exceptions.InvalidOperationError where a value does not fit its type: a bug, not bad data.
    """
    if list(frame.schema.items()) == list(schema.items()):
        return frame
    wanted = [
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None).cast(kind).alias(name)
        for name, kind in schema.items()
    ]
    return frame.select(wanted)

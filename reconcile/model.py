"""The frames that pass between stages, and the closed sets of words in them.

Every frame has one schema, and it stands here. `conform` is called where a frame enters a stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

SIDES: Final = ("salesforce", "xero")
ENTITIES: Final = ("party", "person", "product", "price", "document")
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

OPERATIONS: Final[Schema] = {
    "operation_id": pl.String,  # stable hash of what it does
    "system": SIDE,  # the side that is written
    "entity": ENTITY,
    "object": pl.String,  # Account, Contact ... (Salesforce); Contact, Item (Xero)
    "record_id": pl.String,  # on that side; null for a create
    "source_id": pl.String,  # the record on the other side
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
    "record_id": pl.String,  # the opportunity
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
    "shown_id": pl.String,  # the fields that show its invoice, as they are now; null = blank
    "shown_number": pl.String,
    "shown_status": pl.String,
    "shown_url": pl.String,
    "reason": pl.String,  # why no invoice can be made of it; null: one can
}

DOCUMENT_LINES: Final[Schema] = {
    "document_id": pl.String,  # the opportunity
    "line_id": pl.String,
    "position": pl.Int64,  # from 1
    "description": pl.String,
    "quantity": pl.Decimal(38, 16),
    "unit_price": pl.Decimal(38, 16),
    "discount": pl.Decimal(38, 16),  # percent; null: none
    "account": pl.String,
    "tax": pl.String,  # TaxType; null: the account's own
    "item": pl.String,  # ItemCode; null: none
    "product_id": pl.String,  # whose item is made on demand; null where items are not
    "amount": pl.Decimal(38, 4),  # in the document's currency
    "tax_amount": pl.Decimal(38, 4),  # null: Xero decides
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


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Give the frame with exactly the columns and types of the schema, in its order.

    Columns that are missing become null; columns that the schema does not name are dropped.
    Raises polars.exceptions.InvalidOperationError where a value does not fit its type: a bug, not bad data.
    """
    wanted = [
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None).cast(kind).alias(name)
        for name, kind in schema.items()
    ]
    return frame.select(wanted)

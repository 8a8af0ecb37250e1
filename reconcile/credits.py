"""Makes the credit note of an approved invoice that claims more than its source: line by line, to the cent.

It is made as a draft: who approves and allocates it in Xero decides what becomes of it. What can't be told line by
line, or doesn't add up to what is claimed too much, is for a person to make.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import polars as pl

from reconcile import names
from reconcile.bodies import dumps
from reconcile.decode import decoded_bodies
from reconcile.grouping import document_key
from reconcile.invoices import line_body, line_told
from reconcile.mapped import DocumentMapping
from reconcile.model import CLOSED
from reconcile.money import spelled
from reconcile.moves import Linked, compared, paired
from reconcile.operations import Row, operation_row

ENTITY: Final = "credit"
OBJECT: Final = "CreditNote"
KEY_FIELD: Final = "CreditNoteNumber"
CENT: Final = Decimal("0.01")
FOUR_DECIMALS: Final = Decimal("0.0001")
MARK: Final = 6  # characters of the difference's fingerprint, in the number


@dataclass(frozen=True)
class Credits:
    """What credit notes are made by: the day that they bear, and which numbers are there already, in small letters.

    on: null: the day is not known, and none is made. standing: the numbers of those that were not thrown away.
    locked_until: the last day that Xero has locked.
    """

    on: date | None = None
    numbers: frozenset[str] = frozenset()
    standing: frozenset[str] = frozenset()
    locked_until: date | None = None


def credit_numbers(raw: pl.DataFrame) -> tuple[frozenset[str], frozenset[str]]:
    """Give the numbers of all credit notes, and of those that were not thrown away, in small letters. Takes RAW."""
    shown = {KEY_FIELD: pl.String(), "CreditNoteID": pl.String(), "Status": pl.String()}
    table, _ = decoded_bodies(raw, shown, id_field="CreditNoteID")
    numbers = table.select(
        "Status", "deleted", number=names.folded(pl.col(KEY_FIELD)).str.to_lowercase()
    ).drop_nulls("number")
    gone = pl.col("deleted").fill_null(False) | pl.col("Status").is_in(CLOSED).fill_null(False)
    standing = numbers.filter(~gone)
    return frozenset(numbers["number"]), frozenset(standing["number"])


def credit_number(prefix: str, document_id: pl.Expr, fingerprint: pl.Expr) -> pl.Expr:
    """Give the number of the credit note of one difference: the same difference gets one credit note."""
    mark = fingerprint.str.slice(0, MARK).str.to_uppercase()
    return document_key(prefix, document_id) + pl.lit("-C") + mark


def other_credit(number: pl.Expr, credits: Credits) -> pl.Expr:
    """Give the number of a credit note that stands of the same document, and is of another difference; else null.

    number: as `credit_number` gives it.
    """
    by_document: dict[str, str] = {}
    own = number.str.to_lowercase()
    for standing in sorted(credits.standing):
        if re.fullmatch(rf".+-c[0-9a-f]{{{MARK}}}", standing):
            by_document.setdefault(standing[:-MARK], standing.upper())
    return pl.when(~own.is_in(list(credits.standing))).then(
        own.str.head(-MARK).replace_strict(by_document, default=None, return_dtype=pl.String)
    )


def credit_operations(
    decided: pl.DataFrame, linked: Linked, bodies: Mapping[str, Row], mapping: DocumentMapping, of: Credits
) -> tuple[list[Row], dict[str, str]]:
    """Give the operations that make credit notes, and document_id -> why none can be made by us.

    Takes the rows that were decided (MOVES with credit_number), both sides' documents, the invoices' bodies by id.
    """
    wanted = decided.select("document_id", "credit_number", "reason", "rule", "link_id")
    headers = compared(linked, locked_until=None).join(wanted, on="document_id", how="inner", suffix="_told")
    pairs = paired(linked).join(wanted, on="document_id", how="semi").sort("document_id", "found_position")
    lines: dict[str, list[Row]] = {}
    for pair in pairs.iter_rows(named=True):
        lines.setdefault(pair["document_id"], []).append(pair)
    made: list[Row] = []
    why: dict[str, str] = {}
    for header in headers.iter_rows(named=True):
        document_id = header["document_id"]
        invoice = bodies[header["invoice_id"]]
        found = _lines(header, lines.get(document_id, []))
        stop = _stop(of) or (found if isinstance(found, str) else None)
        if stop or isinstance(found, str):
            why[document_id] = str(stop)
        else:
            made.append(_making(header, found, invoice, mapping, of))
    return made, why


def _stop(of: Credits) -> str | None:
    if of.on is None:
        return "what Xero's day is, or which credit notes it has, could not be read"
    if of.locked_until is not None and of.on <= of.locked_until:
        return f"the day of Xero, {of.on}, lies in a period that it has locked up to {of.locked_until}"
    return None


# --- Lines ------------------------------------------------------------------------------------------------


def _lines(header: Row, pairs: Iterable[Row]) -> list[Row] | str:
    """Give the credit note's lines, or why they can't be told."""
    if header["found_credited"]:
        return "a part of the invoice was credited before"
    lines: list[Row] = []
    credited = Decimal(0)
    for pair in pairs:
        claimed, due = _amount(pair, "found_"), Decimal(0)
        if header["source_stands"] and pair["line_id"] is not None:
            due = _amount(pair, "")
        if claimed < due:
            return "one of its lines went up, or is new: a credit note can't charge"
        if claimed > due:
            lines.append(_line(pair, claimed - due, whole=due == 0))
            credited += claimed - due
    wanted = header["gap"] if header["source_stands"] else _claimed(header)
    if wanted is None or credited != wanted or not lines:
        told = "not known" if wanted is None else spelled(wanted, places=2)
        return f"its lines give {spelled(credited, places=2)}, and too much is claimed by {told}"
    return lines


def _claimed(header: Row) -> Decimal:
    # In the terms in which prices are stated.
    return header["found_total" if header["found_line_amounts"] == "Inclusive" else "found_subtotal"]


def _amount(line: Row, side: str) -> Decimal:
    """Reckon a line's amount as Xero does: quantity x price less discount, to the cent."""
    quantity, price = line[f"{side}quantity"], line[f"{side}unit_price"]
    if quantity is None or price is None:
        return Decimal(0)
    discount = line[f"{side}discount"] or Decimal(0)
    gross = Decimal(quantity) * Decimal(price) * (100 - Decimal(discount)) / 100
    return gross.quantize(CENT, ROUND_HALF_UP) - Decimal(line.get(f"{side}discount_amount") or 0)


def _line(pair: Row, amount: Decimal, *, whole: bool) -> Row:
    """Give a line of that amount: the invoice's own where it goes whole, else the units that went, else the sum.

    Credit notes know no discount: the price carries it, where four decimals can.
    Source: accounting spec 16.1.0, LineItem: discounts are of sales invoices and quotes alone; read 2026-11-29.
    """
    left = 100 - Decimal(pair["found_discount"] or 0)
    kept = {
        "quantity": pair["found_quantity"],
        "unit_price": (pair["found_unit_price"] * left / 100).quantize(FOUR_DECIMALS, ROUND_HALF_UP)
        if pair["found_discount"]
        else pair["found_unit_price"],
        "discount": None,
    }
    alike = pair["found_unit_price"] == pair["unit_price"] and (pair["found_discount"] or 0) == (
        pair["discount"] or 0
    )
    if not whole and alike:
        kept["quantity"] = pair["found_quantity"] - pair["quantity"]
    if not (whole or alike) or _amount({**kept, "discount_amount": None}, "") != amount:
        kept |= {"quantity": Decimal(1), "unit_price": amount}
    return {
        **kept,
        "description": pair["found_description"],
        "account": pair["found_account"],
        "tax": pair["found_tax"],
        "item": pair["found_item"],
        "tracking": pair["found_tracking"],
        "amount": amount,
    }


# --- The operation ----------------------------------------------------------------------------------------


def _making(
    header: Row, lines: list[Row], invoice: Mapping[str, Any], mapping: DocumentMapping, of: Credits
) -> Row:
    assert of.on is not None, "asked before"
    shared = {"Type": "ACCRECCREDIT", "Status": "DRAFT", "Date": of.on.isoformat()}
    body = {
        **shared,
        "CreditNoteNumber": header["credit_number"],
        "Reference": header["found_number"],
        "Contact": {"ContactID": (invoice.get("Contact") or {}).get("ContactID")},
        "LineAmountTypes": header["found_line_amounts"],
        "CurrencyCode": header["found_currency"],
        "CurrencyRate": invoice.get("CurrencyRate"),  # of its invoice: it makes up for that
        "LineItems": [line_body(line) for line in lines],
    }
    amount = sum((line["amount"] for line in lines), Decimal(0))
    inclusive = header["found_line_amounts"] == "Inclusive"
    told = {
        "number": header["credit_number"],
        "contact": body["Contact"]["ContactID"],
        "date": of.on.isoformat(),
        "due": None,
        "currency": header["found_currency"],
        "status": "DRAFT",
        "subtotal": None if inclusive else spelled(amount, places=2),
        "total": spelled(amount, places=2) if inclusive or header["found_line_amounts"] == "NoTax" else None,
        "lines": [line_told(line) for line in lines],
    }
    return operation_row(
        ENTITY,
        OBJECT,
        system="xero",
        record_id=None,
        source_id=header["document_id"],
        action="create",
        phase="create",
        unit="record",
        after=dumps(told),
        native_after=dumps({name: value for name, value in body.items() if value is not None}),
        reason=f"a person decided: {header['reason_told']}",
        rule=f"{mapping.at}: {header['rule']}",
        match_rule="create",
        score=1.0,
        evidence="{}",
    )

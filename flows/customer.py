"""Shows all that is known of one customer, from the tables that the last plan published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from flows.show import new_console, print_json
from flows.wording import counted
from pipelines.context import Context
from pipelines.published import Published, published
from reconcile import model
from reconcile.errors import FixMapping, UnknownCustomer
from reconcile.ids import long_ids
from reconcile.settled import STANDS, Customer, Ledger, customer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TABLES = ("settled_on", "settled", "settlements", "credits", "balances", "customers")
KINDS = {"receivable": "owes", "payable": "is owed"}
MOVED = {
    "payment": "payment", "credit_note": "credit note", "overpayment": "overpayment", "prepayment": "prepayment",
    "refund": "paid back",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What was found by a name: one customer with all that is known of it, or several to choose from.

    people: salesforce_id, salesforce_name, xero_id, xero_name; a row a contact. known: null: there are several.
    on: the day as of which it is known, in the organisation's calendar.
    """

    people: pl.DataFrame
    on: date
    known: Customer | None = None


def find(ctx: Context, name: str) -> Found:
    """Find a customer by a part of its name, or by an id of either side.

    Raises FixMapping where payments are not read, FixData where nothing is published yet, UnknownCustomer.
    """
    if ctx.mapping.settling is None:
        raise FixMapping(
            "customer: the mapping does not read what settles invoices. Set `settled: read` under "
            "documents.invoice, which needs a cut_over, and run `reconcile plan`."
        )
    with published(ctx) as copy:
        tables = {table: _table(copy, table) for table in TABLES}
    people = _named(tables["customers"], name)
    on = tables["settled_on"]["on"][0]
    if people.is_empty():
        raise UnknownCustomer(
            f"customer: found {name!r}, expected a part of a customer's name, or an id of Salesforce or Xero. "
            "If it is new, run `reconcile plan`; `reconcile links` lists all that are linked."
        )
    if people["whose"].n_unique() > 1:
        return Found(people, on)
    ledger = Ledger(tables["settled"], tables["settlements"], tables["credits"], model.empty(model.REJECTS))
    ids = people["xero_id"].drop_nulls().to_list()
    return Found(people, on, customer(ids, ledger, tables["settled"], tables["balances"]))


def _table(copy: Published, name: str) -> pl.DataFrame:
    found = copy.table(name)
    if found is None:
        raise FixMapping(
            "customer: payments were not read yet. Run `reconcile plan`, and see what it sets aside."
        )
    return found


def _named(customers: pl.DataFrame, name: str) -> pl.DataFrame:
    """Give the rows of customers, with whose: the same of all contacts that share an Account.

    An id, or a name in full, goes before a part of one.
    """
    rows = customers.with_columns(whose=pl.coalesce("salesforce_id", "xero_id"))
    names = [pl.col(f"{side}_name").str.to_lowercase() for side in model.SIDES]
    asked = name.strip().lower()
    in_salesforce = long_ids(pl.Series("id", [name.strip()])).drop_nulls().to_list()
    by_id = pl.col("salesforce_id").is_in(in_salesforce) | (pl.col("xero_id").str.to_lowercase() == asked)
    ways = [
        by_id,
        pl.any_horizontal(one == asked for one in names),
        pl.any_horizontal(one.str.contains(asked, literal=True) for one in names),
    ]
    for way in ways if asked else []:
        hit = rows.filter(way.fill_null(False))["whose"]
        if len(hit):
            return rows.filter(pl.col("whose").is_in(hit.implode()))
    return rows.clear()


# --- for people and scripts -----------------------------------------------------------------------------


def show(found: Found, *, as_json: bool) -> None:
    if as_json:
        print_json(data(found))
        return
    console = new_console()
    if found.known is None:
        _list(console, found.people)
    else:
        _show(console, found, found.known)


def data(found: Found) -> dict[str, Any]:
    """Give what `customer --json` promises to scripts: amounts are texts, days ISO."""
    told: dict[str, Any] = {
        "known_on": found.on.isoformat(),
        "customers": found.people.drop("whose").to_dicts(),
    }
    if found.known is None:
        return told
    frames = {
        "invoices": found.known.invoices,
        "settlements": found.known.settlements,
        "credits": found.known.credits,
        "balances": found.known.balances,
    }
    return told | {name: [_plain(row) for row in frame.to_dicts()] for name, frame in frames.items()}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: f"{one:f}" if isinstance(one, Decimal) else one.isoformat() if isinstance(one, date) else one
        for name, one in row.items()
    }


def _list(console: Console, people: pl.DataFrame) -> None:
    from rich.table import Table

    console.print(f"{people['whose'].n_unique()} customers fit. Name one of them in full, or by an id.")
    table = Table(box=None, pad_edge=False)
    for title in ("customer", "Salesforce", "Xero"):
        table.add_column(title, style="bold" if title == "customer" else "")
    for row in people.sort("whose").to_dicts():
        table.add_row(_called(row), row["salesforce_id"] or "—", row["xero_id"] or "—")
    console.print(table)


def _called(row: dict[str, Any]) -> str:
    return str(row["salesforce_name"] or row["xero_name"] or "")


def _show(console: Console, found: Found, known: Customer) -> None:
    from rich.markup import escape

    first = found.people.to_dicts()[0]
    console.print(f"\n[bold]{escape(_called(first))}[/]  [dim]as Xero had it on {found.on}[/]")
    for row in found.people.to_dicts():
        other = f" ({escape(row['xero_name'])})" if row["xero_name"] not in (None, _called(first)) else ""
        console.print(
            f"[dim]Salesforce {row['salesforce_id'] or '—'}   Xero {row['xero_id'] or '—'}{other}[/]"
        )
    console.print()
    for row in known.balances.to_dicts():
        console.print(f"  {_balance(row)}")
    if known.balances.is_empty():
        console.print("  No invoice, bill or credit of this customer was ever in Xero.")
    for kind, title in (("receivable", "Invoices"), ("payable", "Bills")):
        some = known.invoices.filter(pl.col("kind").cast(pl.String) == kind)
        if not some.is_empty():
            console.print(f"\n[bold]{title}[/]")
            console.print(_invoices(some, known.settlements))
    left = known.credits.filter(pl.col("status").is_in(STANDS), pl.col("remaining") != 0)
    if not left.is_empty():
        console.print("\n[bold]Credits left[/]")
        console.print(_credits(left))


def _balance(row: dict[str, Any]) -> str:
    currency = row["currency"]
    parts = [f"{KINDS[str(row['kind'])]} [bold]{_money(row['outstanding'])} {currency}[/]"]
    if row["overdue"]:
        parts.append(f"[red]{_money(row['overdue'])} of it overdue[/]")
    parts.append(f"{row['invoices_open']} open")
    if row["credit"]:
        parts.append(f"credit of {_money(row['credit'])} {currency} not used yet")
    if row["last_payment_on"]:
        parts.append(f"last payment {_money(row['last_payment'])} on {row['last_payment_on']}")
    return ", ".join(parts)


def _money(amount: Decimal | None) -> str:
    """Give an amount with two decimals, or as many more as it needs."""
    if amount is None:
        return "—"
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount.normalize():,f}"


def _invoices(invoices: pl.DataFrame, moved: pl.DataFrame) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for title in ("number", "date", "due on", "status"):
        table.add_column(title)
    for title in ("total", "paid", "credited", "due", "overdue", ""):
        table.add_column(title, justify="right" if title else "left")
    for row in invoices.to_dicts():
        amounts = [_money(row[name]) for name in ("total", "paid", "credited", "due", "overdue")]
        days = counted(row["days_overdue"], "day") if row["days_overdue"] else ""
        number = escape(row["number"] or row["reference"] or row["invoice_id"])
        dated = [str(row[name] or "—") for name in ("date", "due_on")]
        table.add_row(
            number, *dated, row["status"].lower(), *amounts, f"{row['currency']} {days}", style="bold"
        )
        for one in moved.filter(pl.col("invoice_id") == row["invoice_id"]).to_dicts():
            table.add_row(*_movement(one), style="dim")
        if row["reason"]:
            table.add_row(f"  [yellow]! {escape(row['reason'])}[/]")
    return table


def _movement(row: dict[str, Any]) -> Iterable[str]:
    from rich.markup import escape

    stands = row["status"] == "AUTHORISED"
    amount = _money(row["amount"])
    column = 1 if str(row["kind"]) == "payment" else 2
    cells = [amount if place == column else "" for place in range(5)]
    said = escape(row["reference"] or "")
    return (
        f"  {MOVED[str(row['kind'])]}",
        str(row["date"] or ""),
        "",
        "" if stands else "taken back",
        *(cells if stands else [""] * 5),
        said if stands else f"{amount} {said}".strip(),
    )


def _credits(credits: pl.DataFrame) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for title in ("what", "number", "date"):
        table.add_column(title)
    for title in ("total", "left", ""):
        table.add_column(title, justify="right" if title else "left")
    for row in credits.to_dicts():
        what, number = MOVED[row["source"]], escape(row["number"] or "")
        amounts = [_money(row["total"]), _money(row["remaining"])]
        table.add_row(what, number, str(row["date"] or ""), *amounts, row["currency"])
    return table

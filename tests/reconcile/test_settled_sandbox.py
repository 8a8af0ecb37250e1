"""What we count agrees with what Xero's own fields say, step by step, against the sandbox over HTTP."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from reconcile.model import LINKS, RAW, conform
from reconcile.settled import Ledger, account_balances, balances, settled, settlements
from reconcile.shown import (
    projections,
    shown_accounts,
    shown_invoices,
    shown_payments,
    shown_sources,
    withdrawn,
)
from sandbox.serve import start
from tests.sandbox.credit_books import Books, line

IDS = {
    "Invoice": "InvoiceID",
    "Payment": "PaymentID",
    "CreditNote": "CreditNoteID",
    "Overpayment": "OverpaymentID",
    "Prepayment": "PrepaymentID",
}
CREDITS = ("CreditNote", "Overpayment", "Prepayment")
CENT = Decimal("0.01")
BANK = {"Account": {"Code": "090"}}


@dataclass
class Xero:
    """The sandbox by plain HTTP, as tests.sandbox.credit_books asks for it."""

    line: dict[str, Any]
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.line["api_url"], timeout=10)
        form = {name: self.line[name] for name in ("client_id", "client_secret")}
        token = self.http.post("/connect/token", data={"grant_type": "client_credentials", **form}).json()
        self.http.headers["Authorization"] = f"Bearer {token['access_token']}"
        self.http.headers["xero-tenant-id"] = self.line["tenant_id"]

    def call(
        self, method: str, path: str, body: Any = None, headers: Any = None, **query: Any
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        url = f"/api.xro/2.0/{path}"
        return self.http.request(method, url, content=content, params=query or None, headers=headers)

    def control(self, path: str, body: Any = None) -> Any:
        reply = self.http.request("GET" if body is None else "POST", f"/sandbox/{path}", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def make(self) -> dict[str, Any]:
        reply = self.call("PUT", "Contacts", {"Contacts": [{"Name": "Acme"}]})
        assert reply.status_code == 200, reply.text
        return reply.json()["Contacts"][0]


@dataclass
class Pulled:
    """What was read so far, by object and id; what a whole list no longer shows is gone."""

    books: Books
    dice: random.Random
    bodies: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in IDS})
    gone: set[str] = field(default_factory=set)

    def all(self) -> Pulled:
        for name in IDS:
            self.object(name)
        return self

    def object(self, name: str) -> None:
        """A whole list with pages, without pages, or each record by its id."""
        way = self.dice.choice(["pages", "whole", "details"])
        rows = self._pages(name) if way == "pages" else self._get(f"{name}s")
        if way == "details":
            rows = [self._get(f"{name}s/{row[IDS[name]]}")[0] for row in rows]
        found = {row[IDS[name]]: text_of(row) for row in rows}
        self.gone = self.gone - found.keys() | self.bodies[name].keys() - found.keys()
        self.bodies[name] |= found

    def _pages(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page = 1
        while some := self._get(f"{name}s", page=page, pageSize=5):
            rows, page = rows + some, page + 1
        return rows

    def _get(self, path: str, **query: Any) -> list[dict[str, Any]]:
        reply = self.books.xero.call("GET", path, **query)
        assert reply.status_code == 200, reply.text
        return reply.json(parse_float=Decimal)[path.partition("/")[0]]

    def ledger(self) -> Ledger:
        return settlements({f"xero.{name}": self._raw(name) for name in IDS})

    def _raw(self, name: str) -> pl.DataFrame:
        rows = [(key, key in self.gone, body) for key, body in self.bodies[name].items()]
        self.dice.shuffle(rows)
        frame = pl.DataFrame(rows, schema={"record_id": str, "deleted": bool, "body": str}, orient="row")
        return conform(frame, RAW)

    def settled(self) -> pl.DataFrame:
        return settled(self.ledger(), on=self.today)

    @property
    def today(self) -> date:
        return datetime.fromisoformat(self.books.xero.control("clock")["now"]).date()


def text_of(body: dict[str, Any]) -> str:
    """JSON with each Decimal as the number that it is."""
    marked = json.dumps(body, default=lambda number: f"#{number:f}#")
    return marked.replace('"#', "").replace('#"', "")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("both")
    with start(folder, seed="empty", limits="off") as found:
        yield found


@pytest.fixture(scope="module")
def shared(servers: dict[str, Any]) -> Iterator[Xero]:
    client = Xero(servers["xero"])
    yield client
    client.http.close()


@pytest.fixture
def xero(shared: Xero) -> Xero:
    """An empty organisation, in its default dialect."""
    shared.http.delete("/sandbox/dialect").raise_for_status()
    shared.control("reset", {})
    return Xero(shared.line)


def agree(pulled: Pulled) -> None:
    """All that we count is what Xero itself says of each document, read by its id, and of the contact."""
    books = pulled.books
    ledger = pulled.ledger()
    assert ledger.rejects.is_empty(), ledger.rejects.to_dicts()
    invoices = settled(ledger, on=pulled.today)
    for row in invoices.filter(pl.col("status") != "DELETED").to_dicts():
        own = books.read({"InvoiceID": row["invoice_id"]})
        assert row["reason"] is None
        assert (row["status"], row["total"]) == (own["Status"], own["Total"])
        sums = (row["paid"], row["credited"], row["due"])
        assert sums == (own["AmountPaid"], own["AmountCredited"], own["AmountDue"])
        assert (row["paid_on"] is not None) == ("FullyPaidOnDate" in own) == (own["Status"] == "PAID")
    for row in ledger.credits.to_dicts():
        name = next(one for one in CREDITS if one.lower() == row["source"].replace("_", ""))
        assert row["reason"] is None
        assert row["remaining"] == books.read({f"{name}ID": row["credit_id"]})["RemainingCredit"]
    agree_on_balances(pulled, ledger, invoices)


def agree_on_balances(pulled: Pulled, ledger: Ledger, invoices: pl.DataFrame) -> None:
    """Xero shows the contact's balances in the base currency, each document by its own rate, credit taken off."""
    (contact,) = pulled.books.xero.call("GET", "Contacts", page=1).json(parse_float=Decimal)["Contacts"]
    owed = balances(ledger, invoices)
    for kind, key in (("receivable", "AccountsReceivable"), ("payable", "AccountsPayable")):
        mine = invoices.filter(pl.col("kind") == kind, pl.col("status") == "AUTHORISED").to_dicts()
        theirs = ledger.credits.filter(pl.col("kind") == kind).to_dicts()
        base = sum((in_base(row, "due") for row in mine), Decimal(0))
        base -= sum((in_base(row, "remaining") for row in theirs), Decimal(0))
        shown = contact.get("Balances", {}).get(key, {"Outstanding": 0, "Overdue": 0})
        assert base == shown["Outstanding"]
        assert sum((in_base(row, "overdue") for row in mine), Decimal(0)) == shown["Overdue"]
        ours = owed.filter(pl.col("kind") == kind)
        for column, rows, of in (
            ("outstanding", mine, "due"),
            ("overdue", mine, "overdue"),
            ("credit", theirs, "remaining"),
        ):
            assert (ours[column].sum() or 0) == sum((row[of] for row in rows), Decimal(0))


def in_base(row: dict[str, Any], name: str) -> Decimal:
    return (row[name] / row["currency_rate"]).quantize(CENT, ROUND_HALF_UP)


# --- One life of an invoice, with its figures -------------------------------------------------------------------


def test_an_invoice_lives_through_everything_that_can_settle_it(xero: Xero) -> None:
    books, dice = Books(xero), random.Random(5)
    pulled = Pulled(books, dice)
    made = books.invoice(LineItems=[line(UnitAmount=1000, TaxType="NONE")])
    over = books.pay("overpay", Amount="70")
    pre = books.pay("prepay", Amount="80")
    note = books.note(LineItems=[line(UnitAmount=90, TaxType="NONE")])

    def expect(paid: Any, credited: Any, due: Any, credit: Any) -> None:
        ledger = pulled.all().ledger()
        agree(pulled)
        invoices = settled(ledger, on=pulled.today)
        (row,) = invoices.filter(pl.col("invoice_id") == made["InvoiceID"]).to_dicts()
        assert (row["paid"], row["credited"], row["due"]) == (Decimal(paid), Decimal(credited), Decimal(due))
        assert balances(ledger, invoices)["credit"].to_list() == [Decimal(credit)]

    expect(0, 0, 1000, 240)
    first = pay(books, made, "250.50")
    expect("250.50", 0, "749.50", 240)
    books.allocate(note, made, "60")
    expect("250.50", 60, "689.50", 180)
    (allocation,) = books.read(note)["Allocations"]
    gone = books.xero.call("DELETE", f"{books.path_of(note)}/Allocations/{allocation['AllocationID']}")
    assert gone.status_code == 200, gone.text
    expect("250.50", 0, "749.50", 240)
    books.allocate(over, made, "70")
    books.allocate(pre, made, "30")
    expect("250.50", 100, "649.50", 140)
    back = only(
        books, "Payments", {**BANK, "CreditNote": {"CreditNoteID": note["CreditNoteID"]}, "Amount": 90}
    )
    expect("250.50", 100, "649.50", 50)
    only(books, f"Payments/{back['PaymentID']}", {"Status": "DELETED"}, "POST")
    expect("250.50", 100, "649.50", 140)
    other = books.invoice(LineItems=[line(UnitAmount=20, TaxType="NONE")])
    rows = [{"Invoice": {"InvoiceID": one["InvoiceID"]}, "Amount": 20} for one in (made, other)]
    batch = only(books, "BatchPayments", {**BANK, "Date": "2026-11-25", "Payments": rows})
    expect("270.50", 100, "629.50", 140)
    (of_batch,) = (
        pulled.ledger()
        .settlements.filter(pl.col("invoice_id") == made["InvoiceID"], pl.col("amount") == 20)
        .to_dicts()
    )
    assert of_batch["source_id"] == batch["BatchPaymentID"]
    only(books, "BatchPayments", {"BatchPaymentID": batch["BatchPaymentID"], "Status": "DELETED"}, "POST")
    expect("250.50", 100, "649.50", 140)
    pay(books, made, "649.50")
    expect(900, 100, 0, 140)
    only(books, f"Payments/{first['PaymentID']}", {"Status": "DELETED"}, "POST")
    expect("649.50", 100, "250.50", 140)
    only(books, "Invoices", {"InvoiceID": other["InvoiceID"], "Status": "VOIDED"}, "POST")
    xero.control("deallocate", {"AllocationID": books.read(pre)["Allocations"][0]["AllocationID"]})
    xero.control("void-credit", {"PrepaymentID": pre["PrepaymentID"]})
    expect("649.50", 70, "280.50", 90)


def pay(books: Books, invoice: dict[str, Any], amount: Any, **fields: Any) -> dict[str, Any]:
    body = {**BANK, "Invoice": {"InvoiceID": invoice["InvoiceID"]}, "Date": "2026-11-24", "Amount": amount}
    return only(books, "Payments", {**body, **fields})


def only(books: Books, path: str, body: dict[str, Any], method: str = "PUT") -> dict[str, Any]:
    key = path.partition("/")[0]
    return books.only(books.xero.call(method, path, {key: [body]}), key)


# --- A payment of which the invoice's stamp tells nothing -------------------------------------------------------


@pytest.mark.parametrize("then", ["paid", "deleted"])
def test_figures_are_right_though_the_invoice_was_read_before_its_payment_and_that_is_told(
    xero: Xero, then: str
) -> None:
    xero.control("dialect", {"payment_moves_stamp": False})
    books = Books(xero)
    pulled = Pulled(books, random.Random(1))
    made = books.invoice(LineItems=[line(UnitAmount=100, TaxType="NONE")])
    payment = pay(books, made, "40") if then == "deleted" else {}
    pulled.all()
    if then == "deleted":
        only(books, f"Payments/{payment['PaymentID']}", {"Status": "DELETED"}, "POST")
    else:
        pay(books, made, "40")
    since = {"If-Modified-Since": "2020-01-01T00:00:00"}
    assert books.xero.call("GET", "Payments", headers=since).json()["Payments"]
    pulled.object("Payment")
    (row,) = pulled.settled().to_dicts()
    now = (40, 60, "0.00", "40.00") if then == "paid" else (0, 100, "40.00", "0.00")
    assert (row["paid"], row["due"]) == now[:2]
    assert row["reason"] == f"Xero says that {now[2]} GBP are paid, its payments give {now[3]}"


# --- Random lives under random dialects -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_in_whatever_dialect_our_sums_are_xeros_own(xero: Xero, seed: int) -> None:
    dice = random.Random(seed)
    books = Books(xero)
    choose_dialect(xero, dice)
    pulled = Pulled(books, dice)
    for make in (invoice, note, advance) * 3:
        make(books, dice)
    done = 0
    for _ in range(20):
        act = dice.choice(
            [invoice, note, advance, pay_some, pay_some, refund, allocate, allocate, batch, undo, undo]
        )
        reply = act(books, dice)
        done += reply is not None and reply.status_code == 200
        if dice.random() < 0.3:
            agree(pulled.all())
    agree(pulled.all())
    assert done > 5


def choose_dialect(xero: Xero, dice: random.Random) -> None:
    """A value of each switch that could touch what is read here."""
    about = (
        "payment", "deleted", "summary", "unpaged", "order", "page_size", "blanks", "allocation", "credit",
        "stamps", "rounding", "total_tax", "price_places", "batch", "merged", "lines",
    )  # fmt: skip
    switches = xero.control("dialect")["switches"]
    chosen = {
        one["name"]: dice.choice(one["values"])
        for one in switches
        if any(word in one["name"] for word in about)
    }
    xero.control("dialect", chosen)


# What Xero refuses changes nothing; half of what is asked for at random is refused.


def invoice(books: Books, dice: random.Random) -> httpx.Response:
    status = dice.choice(["DRAFT", "AUTHORISED", "AUTHORISED", "AUTHORISED"])
    due = dice.choice(["2026-11-10", "2027-01-31"])
    body = books.body(dice.choice(["ACCREC", "ACCREC", "ACCPAY"]), Status=status, DueDate=due)
    return books.xero.call("PUT", "Invoices", body | content(dice, body["Type"]))


def note(books: Books, dice: random.Random) -> httpx.Response:
    body = books.body(dice.choice(["ACCRECCREDIT", "ACCRECCREDIT", "ACCPAYCREDIT"]))
    return books.xero.call("PUT", "CreditNotes", body | content(dice, body["Type"]))


def content(dice: random.Random, of_type: str) -> dict[str, Any]:
    account = "200" if of_type.startswith("ACCREC") else "429"
    return {"CurrencyCode": currency(dice), "LineItems": [line(UnitAmount=money(dice), AccountCode=account)]}


def money(dice: random.Random) -> str:
    return str(Decimal(dice.randint(1, 30000)) / 100)


def currency(dice: random.Random) -> str:
    return dice.choice(["GBP", "GBP", "GBP", "EUR"])


def advance(books: Books, dice: random.Random) -> httpx.Response:
    name = dice.choice(["overpay", "prepay"])
    way = dice.choice(["RECEIVE-", "RECEIVE-", "SPEND-"]) + f"{name}ment".upper()
    wanted = {
        "ContactID": books.contact_id,
        "Amount": money(dice),
        "Type": way,
        "CurrencyCode": currency(dice),
    }
    return books.xero.http.post(f"/sandbox/{name}", json=wanted)


def pay_some(books: Books, dice: random.Random) -> httpx.Response | None:
    return paid(books, dice, "Invoice", "AmountDue")


def refund(books: Books, dice: random.Random) -> httpx.Response | None:
    return paid(books, dice, dice.choice(CREDITS), "RemainingCredit")


def paid(books: Books, dice: random.Random, name: str, left: str) -> httpx.Response | None:
    if not (found := some(books, dice, name)):
        return None
    body = {
        **BANK,
        name: {IDS[name]: found[IDS[name]]},
        "Amount": part(dice, found[left]),
        "Date": "2026-11-24",
    }
    return books.xero.call("PUT", "Payments", {"Payments": [body]})


def part(dice: random.Random, of: Decimal) -> str:
    """All of it, something of it, or (refused) a penny more."""
    return str(dice.choice([of, of, (Decimal(of) / 3).quantize(CENT), of + CENT]))


def batch(books: Books, dice: random.Random) -> httpx.Response | None:
    if not (found := some(books, dice, "Invoice")):
        return None
    one = {"Invoice": {"InvoiceID": found["InvoiceID"]}, "Amount": part(dice, found["AmountDue"])}
    sent = {**BANK, "Date": "2026-11-25", "Payments": [one]}
    return books.xero.call("PUT", "BatchPayments", {"BatchPayments": [sent]})


def allocate(books: Books, dice: random.Random) -> httpx.Response | None:
    """Of a credit to the invoice that it may go to, if there is one."""
    credit = some(books, dice, dice.choice(CREDITS))
    invoices = [one for one in listed(books, "Invoice") if credit and matches(credit, one)]
    if not credit or not invoices:
        return None
    to = dice.choice(invoices)
    amount = part(dice, min(to["AmountDue"], credit["RemainingCredit"]))
    return books.send(credit, books.to(to, amount))


def matches(credit: dict[str, Any], invoice: dict[str, Any]) -> bool:
    sale = credit["Type"].startswith(("ACCREC", "RECEIVE"))
    same = invoice["CurrencyCode"] == credit["CurrencyCode"]
    return same and invoice["Status"] == "AUTHORISED" and (invoice["Type"] == "ACCREC") == sale


def undo(books: Books, dice: random.Random) -> httpx.Response | None:
    call = books.xero.call
    name = dice.choice(["Invoice", "Payment", "Payment", "BatchPayment", *CREDITS])
    if not (found := some(books, dice, name)):
        return None
    if name in ("Payment", "BatchPayment"):
        key = f"{name}s"
        return call("POST", f"{key}/{found[f'{name}ID']}", {key: [{"Status": "DELETED"}]})
    if name in CREDITS and found["Allocations"]:
        (taken, *_) = books.read({IDS[name]: found[IDS[name]]})["Allocations"]
        return call("DELETE", f"{books.path_of(found)}/Allocations/{taken['AllocationID']}")
    if name in ("Overpayment", "Prepayment"):
        return books.xero.http.post("/sandbox/void-credit", json={IDS[name]: found[IDS[name]]})
    status = "DELETED" if found["Status"] == "DRAFT" else "VOIDED"
    return call("POST", f"{name}s", {IDS[name]: found[IDS[name]], "Status": status})


def some(books: Books, dice: random.Random, name: str) -> dict[str, Any] | None:
    rows = listed(books, name)
    return dice.choice(rows) if rows else None


def listed(books: Books, name: str) -> list[dict[str, Any]]:
    reply = books.xero.call("GET", f"{name}s")
    assert reply.status_code == 200, reply.text
    return reply.json(parse_float=Decimal)[f"{name}s"]


# --- What Salesforce shows, on the objects and fields that are shipped ------------------------------------------

METADATA = Path(__file__).parents[2] / "docs" / "salesforce" / "main" / "default" / "objects"
TYPES = {"Text": "string", "LongTextArea": "textarea", "Number": "double", "Date": "date"}
SHOWN = ("Xero_Invoice__c", "Xero_Payment__c", "Opportunity", "Account")


@dataclass
class Org:
    """Salesforce by plain HTTP, with the fields of docs/salesforce."""

    line: dict[str, Any]
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        form = {name: self.line[name] for name in ("client_id", "client_secret")}
        self.http = httpx.Client(base_url=self.line["login_url"], timeout=10)
        token = self.http.post(
            "/services/oauth2/token", data={"grant_type": "client_credentials", **form}
        ).json()
        self.http.headers["Authorization"] = f"Bearer {token['access_token']}"
        self.call("POST", "/sandbox/reset", {"seed": False})
        self.call("POST", "/sandbox/objects", {"preset": "xero"})
        for name in ("Account", "Opportunity"):
            for path in sorted((METADATA / name / "fields").glob("Xero_*.xml")):
                told = dict(re.findall(r"<(\w+)>([^<]*)</", path.read_text(encoding="utf-8")))
                sizes = {key: int(told[key]) for key in ("length", "precision", "scale") if key in told}
                added = {"name": told["fullName"], "type": TYPES.get(told["type"], ""), **sizes}
                if added["type"]:
                    self.call("POST", "/sandbox/fields", {"object": name, "add": added})

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        url = path if path.startswith("/") else f"/services/data/v67.0/{path}"
        reply = self.http.request(method, url, json=body, **options)
        assert reply.status_code < 300, reply.text
        return reply.json(parse_float=Decimal) if reply.content else None

    def make(self, name: str, **fields: Any) -> str:
        return self.call("POST", f"sobjects/{name}", fields)["id"]

    def raw(self, name: str) -> pl.DataFrame:
        described = self.call("GET", f"sobjects/{name}/describe")["fields"]
        names = ", ".join(one["name"] for one in described if one["type"] not in ("address", "location"))
        found = self.call("GET", "query", params={"q": f"select {names} from {name}"})["records"]
        rows = [(one["Id"], False, text_of(one)) for one in found]
        frame = pl.DataFrame(rows, schema={"record_id": str, "deleted": bool, "body": str}, orient="row")
        return conform(frame, RAW)

    def write(self, planned: pl.DataFrame) -> None:
        """A record at a time; what is not there yet is made by its external id, and so is a lookup to it found."""
        for (name, key), rows in planned.group_by("object", "key", maintain_order=True):
            body: dict[str, Any] = {}
            for row in rows.to_dicts():
                if row["awaits"]:
                    body["Invoice__r"] = {"Xero_Invoice_ID__c": row["awaits"]}
                else:
                    body[row["field"]] = row["after"]
            record_id = rows["record_id"][0]
            if record_id:
                self.call("PATCH", f"sobjects/{name}/{record_id}", body)
            else:
                known = "Xero_Invoice_ID__c" if name == "Xero_Invoice__c" else "Xero_Payment_ID__c"
                body.pop(known)
                self.call("PATCH", f"sobjects/{name}/{known}/{key}", body)


def test_salesforce_shows_what_became_of_an_invoice_and_then_nothing_is_left_to_set(
    xero: Xero, servers: dict[str, Any]
) -> None:
    org, books = Org(servers["salesforce"]), Books(xero)
    pulled = Pulled(books, random.Random(3))
    account = org.make("Account", Name="Acme")
    deal = org.make(
        "Opportunity", Name="Deal", AccountId=account, StageName="Closed Won", CloseDate="2026-11-20"
    )
    made = books.invoice(
        CurrencyCode="EUR", CurrencyRate="1.1712345678", DueDate="2026-11-25", InvoiceNumber="SF-1",
        LineItems=[line(UnitAmount=1000, TaxType="NONE")],
    )  # fmt: skip
    links = pl.DataFrame(
        [("party", account, books.contact_id, "linked"), ("document", deal, made["InvoiceID"], "linked")],
        schema=["entity", "salesforce_id", "xero_id", "status"],
        orient="row",
    )
    owners = pl.DataFrame(
        [(made["InvoiceID"], account, deal, None)],
        schema=dict.fromkeys(("invoice_id", "account_id", "opportunity_id", "order_id"), pl.String),
        orient="row",
    )

    def to_set() -> pl.DataFrame:
        ledger = pulled.all().ledger()
        invoices = settled(ledger, on=pulled.today)
        parties, documents = (conform(links.filter(entity=one), LINKS) for one in ("party", "document"))
        desired = {
            "Xero_Invoice__c": shown_invoices(invoices, owners),
            "Xero_Payment__c": shown_payments(ledger, owners),
            "Opportunity": shown_sources(invoices, documents),
            "Account": shown_accounts(account_balances(balances(ledger, invoices), parties)),
        }
        held = {name: org.raw(name) for name in SHOWN}
        parts = [
            part
            for name in SHOWN
            for part in (
                projections(
                    name, desired[name], held[name], held["Xero_Invoice__c"] if "Pay" in name else None
                ),
                withdrawn(name, desired[name], held[name]),
            )
        ]
        return pl.concat(parts)

    def shown(name: str, *fields: str) -> list[Any]:
        (row,) = org.call("GET", "query", params={"q": f"select {', '.join(fields)} from {name}"})["records"]
        return [row[one] for one in fields]

    def settle() -> None:
        org.write(to_set())
        assert to_set().is_empty()

    settle()
    on_deal = ("Xero_Invoice_Amount_Paid__c", "Xero_Invoice_Amount_Credited__c", "Xero_Invoice_Amount_Due__c")
    on_account = ("Xero_Outstanding__c", "Xero_Credit__c", "Xero_Balance_Currency__c", "Xero_Balances__c")
    assert shown("Opportunity", *on_deal, "Xero_Invoice_Currency__c") == [0, 0, 1000, "EUR"]
    payment = pay(books, made, "400")
    note = books.note(CurrencyCode="EUR", LineItems=[line(UnitAmount=250, TaxType="NONE")])
    books.allocate(note, made, "100.10")
    settle()
    assert shown("Opportunity", *on_deal) == [400, Decimal("100.1"), Decimal("499.9")]
    told = "EUR 499.90, overdue 499.90, credit 149.90"
    assert shown("Account", *on_account) == [Decimal("499.9"), Decimal("149.9"), "EUR", told]
    states = org.call(
        "GET", "query", params={"q": "select Type__c, Status__c from Xero_Payment__c order by Type__c"}
    )
    assert [row["Status__c"] for row in states["records"]] == ["AUTHORISED", "AUTHORISED"]
    only(books, f"Payments/{payment['PaymentID']}", {"Status": "DELETED"}, "POST")
    xero.control("deallocate", {"AllocationID": books.read(note)["Allocations"][0]["AllocationID"]})
    settle()
    assert shown("Opportunity", *on_deal) == [0, 0, 1000]
    only(books, "Invoices", {"InvoiceID": made["InvoiceID"], "Status": "VOIDED"}, "POST")
    settle()
    assert shown("Xero_Invoice__c", "Status__c", "Amount_Due__c", "Opportunity__c") == ["VOIDED", 0, deal]
    assert shown("Account", *on_account[:2]) == [0, 250]
    states = org.call("GET", "query", params={"q": "select Status__c from Xero_Payment__c"})
    assert {row["Status__c"] for row in states["records"]} == {"DELETED"}

"""Which opportunity is linked, which gets an invoice, for whom and under what number; and never twice."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from itertools import product
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sales import Sales, brief, documents_of, line, linked, sales, stops
from two_books import salesforce_id, xero_id

from reconcile.bodies import loads
from reconcile.invoices import INVOICE_URL, derived_number, reserved_numbers
from reconcile.mapped import Numbering
from reconcile.model import LINKS, empty
from reconcile.plan import Plan

MADE = [("create", "xero", "create", "record"), ("create", "salesforce", "link", "reference")]
RESERVED = "{kind: reserved, prefix: INV-, digits: 4}"
KINDS = {"derived": "{kind: derived}", "reserved": RESERVED, "xero": "{kind: xero}"}


def applied(books: Sales) -> Plan:
    plan = books.plan()
    books.apply(plan)
    return plan


def shows(books: Sales, opportunity: str) -> dict[str, Any]:
    body = books.body(opportunity)
    return {name: body[field] for name, field in books.invoicing.link.fields.items()}


def one_invoice(books: Sales) -> dict[str, Any]:
    [invoice] = books.invoices.values()
    return invoice


def forget(books: Sales) -> None:
    """The journal is lost."""
    books.links, books.bases = empty(LINKS), {}


# --- Made once, shown, and left alone


@pytest.mark.parametrize("kind", KINDS)
def test_an_invoice_is_made_once_and_shown(kind: str) -> None:
    books = sales(number=KINDS[kind])
    account, contact = linked(books)
    opportunity = books.won(1, account, line())
    applied(books)
    invoice = one_invoice(books)
    assert invoice["Contact"] == {"ContactID": contact}
    assert shows(books, opportunity) == {
        "id": invoice["InvoiceID"],
        "number": invoice["InvoiceNumber"],
        "status": "DRAFT",
        "url": INVOICE_URL + invoice["InvoiceID"],
    }
    again = books.plan()
    assert again.operations.is_empty()
    assert not stops(again)


def test_what_changes_on_the_invoice_is_shown() -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    one_invoice(books)["Status"] = "AUTHORISED"
    plan = books.plan()
    assert brief(plan) == [("change", "salesforce", "update", "reference")]
    [row] = documents_of(plan).to_dicts()
    assert json.loads(row["native_before"]) == {"Xero_Invoice_Status__c": "DRAFT"}
    assert json.loads(row["native_after"]) == {"Xero_Invoice_Status__c": "AUTHORISED"}
    books.apply(plan)
    assert shows(books, opportunity)["status"] == "AUTHORISED"
    assert books.plan().operations.is_empty()


@pytest.mark.parametrize("field", ["id", "number", "status", "url"])
def test_a_field_that_somebody_empties_or_edits_is_set_again(field: str) -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    before = shows(books, opportunity)
    for value in (None, "  ", "something"):
        books.edit(opportunity, **{books.invoicing.link.fields[field]: value})
        assert brief(applied(books)) == [("change", "salesforce", "update", "reference")]
        assert shows(books, opportunity) == before
    assert len(books.invoices) == 1


def test_a_voided_invoice_stays_the_opportunitys_own() -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    one_invoice(books)["Status"] = "VOIDED"
    applied(books)
    assert shows(books, opportunity)["status"] == "VOIDED"
    assert books.plan().operations.is_empty()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"IsWon": False}, "it is not won any more, and its invoice"),
        ({"IsDeleted": True}, "it was deleted, and its invoice"),
        ({"CloseDate": "2020-01-01"}, None),
        ({"Amount": Decimal(1)}, None),
    ],
)
def test_what_becomes_of_a_linked_opportunity_makes_no_other(
    fields: dict[str, Any], told: str | None
) -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    books.edit(opportunity, **fields)
    again = books.plan()
    assert again.operations.is_empty()
    assert [stop.startswith(told or "?") for stop in stops(again).values()] == ([True] if told else [])


def test_an_invoice_that_amounts_to_something_else_by_now_is_told() -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    assert not stops(books.plan())
    one_invoice(books)["SubTotal"] = Decimal("1.00")
    again = books.plan()
    assert again.operations.is_empty() and opportunity
    [told] = stops(again).values()
    assert told.startswith("it amounts to ") and told.endswith(" to 1.00")
    one_invoice(books)["Status"] = "VOIDED"
    assert not stops(books.plan())


def test_an_invoice_of_which_every_line_was_struck_since_is_told() -> None:
    """Without lines nothing says what it amounts to, and that is no agreement (chaos, seed 99)."""
    books = sales()
    books.won(1, linked(books)[0], line())
    applied(books)
    books.salesforce["OpportunityLineItem"].clear()
    [told] = stops(books.plan()).values()
    assert told.startswith("it has no lines any more, and its invoice SF-")
    one_invoice(books)["Status"] = "VOIDED"
    assert not stops(books.plan())


def test_a_linked_opportunity_out_of_scope_is_left_alone() -> None:
    books = sales(salesforce="{scope: \"Type is distinct from 'Internal'\"}")
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    books.edit(opportunity, Type="Internal", Xero_Invoice_Status__c=None)
    assert books.plan().operations.is_empty()


def test_an_invoice_that_is_gone_from_the_snapshot_is_told() -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    books.invoices.clear()
    again = books.plan()
    assert again.operations.is_empty()
    assert stops(again) == {opportunity: "its invoice is not in the snapshot of Xero"}


def test_who_gets_a_first_invoice_is_shown_as_a_customer_once() -> None:
    """Xero makes a contact a customer with its first invoice: what the plan shows is true after it."""
    books = sales()
    old, new = linked(books)[0], books.account(2, Name="New Ltd", Xero_Customer__c=True)
    for number, account in enumerate((old, old, new), start=1):
        books.won(number, account, line())
    known, contact = linked(books, 3)
    books.edit(contact, IsCustomer=True)  # and its account does not show it yet
    books.won(4, known, line())
    rows = books.plan(adopt=False).operations.filter(pl.col("unit") == "is_customer").to_dicts()
    rows.sort(key=lambda row: row["record_id"])
    assert [(row["record_id"], row["before"], row["after"]) for row in rows] == [
        (old, "false", "true"),
        (known, "false", "true"),
    ]
    assert rows[1]["depends_on"] is None
    creates = {
        row["source_id"]: row["operation_id"] for row in documents_of(books.plan(adopt=False)).to_dicts()
    }
    assert rows[0]["depends_on"] == creates[salesforce_id("006", 1)]
    applied(books)
    assert books.plan().operations.is_empty()


# --- Never twice, whatever breaks off


CUTS = [
    (kind, done, *flags) for kind in KINDS for done in range(14) for flags in product([False, True], repeat=3)
]


@pytest.mark.parametrize("cut", random.Random(4).sample(CUTS, 5), ids=str)
def test_a_push_that_breaks_off_is_completed_and_nothing_is_made_twice(
    cut: tuple[str, int, bool, bool, bool],
) -> None:
    break_off(*cut)


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_every_place_at_which_a_push_can_break_off(cut: tuple[str, int, bool, bool, bool]) -> None:
    break_off(*cut)


def break_off(kind: str, done: int, lost: bool, blanked: bool, new_accounts: bool) -> None:
    """Cut the push after any operation, with and without the loss of the journal, and go on by plans alone."""
    books = sales(number=KINDS[kind])
    accounts = [books.account(n, Name=f"Firm {n}") if new_accounts else linked(books, n)[0] for n in (1, 2)]
    opportunities = [books.won(n, accounts[n % 2], line(n, "9.99")) for n in (1, 2, 3)]
    plan = books.plan()
    ready = plan.operations.head(done)
    books.apply(_with_operations(plan, ready))
    if lost:
        forget(books)
    if blanked:
        for opportunity in opportunities:
            books.edit(opportunity, Xero_Invoice_ID__c=None)
    for _ in range(3):
        applied(books)
    assert len(books.invoices) == 3
    assert len({invoice["InvoiceNumber"] for invoice in books.invoices.values()}) == 3
    shown = [shows(books, opportunity)["id"] for opportunity in opportunities]
    assert sorted(shown) == sorted(books.invoices)
    again = books.plan()
    assert again.operations.is_empty()
    assert not stops(again)


def _with_operations(plan: Plan, operations: pl.DataFrame) -> Plan:
    return Plan(**{**plan.__dict__, "operations": operations})


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_world_gives_the_same_plan(kind: str) -> None:
    def planned() -> pl.DataFrame:
        books = sales(number=KINDS[kind])
        account, _ = linked(books)
        for number in (3, 1, 2):
            books.won(number, account, line(), CloseDate=f"2026-11-2{number}")
        return books.plan(adopt=False).operations

    assert planned().equals(planned())


# --- Numbers


IDS = st.text("ABCDEFabcdef0123456789", min_size=15, max_size=15)


@given(st.lists(IDS, min_size=2, max_size=6, unique=True))
def test_distinct_opportunities_have_distinct_numbers_without_case(ids: list[str]) -> None:
    """Ids of 15 differ by case alone; the last three characters of 18 say which are capitals."""
    from reconcile.ids import long_id

    long = [str(long_id(one)) for one in ids]
    assert len({derived_number("SF-", one).casefold() for one in long}) == len(ids)
    assert derived_number("SF-", long[0]) == "SF-" + long[0].upper()
    assert derived_number("SF-", long[0], revision=2) == f"SF-{long[0].upper()}-2"


HELD = st.lists(
    st.one_of(st.none(), st.from_regex(r"\A(INV-|inv-|SF-|)[0-9]{1,6}\Z"), st.just("INV-12b")), max_size=8
)


@given(HELD, st.integers(0, 5))
def test_reserved_numbers_go_on_over_all_that_are_held(held: list[str | None], count: int) -> None:
    given_out = reserved_numbers(Numbering("reserved", "INV-", 5), held, count)
    assert len({number.casefold() for number in given_out}) == count
    assert not {number.casefold() for number in given_out} & {str(text).casefold() for text in held}
    taken = [int(text[4:]) for text in held if text and text[:4].casefold() == "inv-" and text[4:].isdigit()]
    highest = max(taken, default=0)
    assert [int(number[4:]) for number in given_out] == list(range(highest + 1, highest + 1 + count))


def test_a_number_is_reserved_before_it_is_used_and_by_an_operation_of_its_own() -> None:
    books = sales(number=RESERVED)
    books.invoice(InvoiceNumber="INV-0041", Status="VOIDED")
    account, _ = linked(books)
    late = books.won(1, account, line(), CloseDate="2026-11-21")
    early = books.won(2, account, line(), CloseDate="2026-11-20")
    books.won(3, account, line(), CloseDate="2020-01-01", Xero_Invoice_Number__c="inv-0043")
    rows = documents_of(books.plan()).to_dicts()
    assert [(row["action"], row["unit"]) for row in rows] == 2 * [
        ("update", "number"),
        ("create", "record"),
        ("link", "reference"),
    ]
    assert [(row["record_id"], row["after"]) for row in rows[::3]] == [
        (early, "INV-0044"),
        (late, "INV-0045"),
    ]
    number, create, link = rows[:3]
    assert json.loads(number["native_after"]) == {"Xero_Invoice_Number__c": "INV-0044"}
    assert (create["depends_on"], link["depends_on"]) == (number["operation_id"], create["operation_id"])
    assert loads(create["native_after"])["InvoiceNumber"] == "INV-0044"
    assert "Xero_Invoice_Number__c" not in json.loads(link["native_after"])  # it stands there by then


def test_a_number_that_was_reserved_is_used() -> None:
    books = sales(number=RESERVED)
    books.won(1, linked(books)[0], line(), Xero_Invoice_Number__c="INV-0007")
    plan = books.plan()
    assert brief(plan) == MADE
    assert loads(documents_of(plan)["native_after"][0])["InvoiceNumber"] == "INV-0007"


def test_a_number_of_xeros_own_is_not_sent_and_the_reference_carries_the_key() -> None:
    books = sales(number="{kind: xero}")
    opportunity = books.won(1, linked(books)[0], line())
    body = loads(documents_of(books.plan())["native_after"][0])
    assert "InvoiceNumber" not in body
    assert body["Reference"] == derived_number("SF-", opportunity)


# --- What carries the key already


def twin(books: Sales, contact: str, opportunity: str, **fields: Any) -> str:
    """An invoice in Xero that an earlier push made, and nobody remembers."""
    known = {
        "Contact": {"ContactID": contact},
        "InvoiceNumber": derived_number("SF-", opportunity),
        "LineItems": [{"Quantity": 1, "UnitAmount": 100}],
    }
    return books.invoice(**{**known, **fields})


def test_an_invoice_that_carries_the_key_and_agrees_is_taken() -> None:
    books = sales()
    account, contact = linked(books)
    opportunity = books.won(1, account, line())
    invoice = twin(books, contact, opportunity, InvoiceNumber=derived_number("SF-", opportunity).lower())
    plan = books.plan()
    assert brief(plan) == [("link", "salesforce", "link", "reference")]
    [row] = documents_of(plan).to_dicts()
    assert (row["record_id"], row["source_id"]) == (opportunity, invoice)
    assert set(json.loads(row["native_after"])) == set(books.invoicing.link.fields.values())
    books.apply(plan)
    assert books.plan().operations.is_empty()
    assert books.links.filter(pl.col("entity") == "document")["xero_id"].to_list() == [invoice]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Contact": {"ContactID": xero_id(77)}}, "it is made out to another contact"),
        ({"CurrencyCode": "USD"}, "its currency is USD, not GBP"),
        (
            {"LineItems": [{"Quantity": 1, "UnitAmount": "100.01"}]},
            "its subtotal is 100.01, not 100.00 (a difference of 0.01)",
        ),
        ({"SubTotal": None}, "its subtotal is None, not 100.00 (none is told)"),
        ({"Status": "VOIDED"}, "is there already, and is voided"),
        ({"Status": "DELETED"}, "is there already, and is deleted"),
    ],
)
def test_an_invoice_that_carries_the_key_and_differs_stops(fields: dict[str, Any], reason: str) -> None:
    books = sales()
    account, contact = linked(books)
    opportunity = books.won(1, account, line())
    twin(books, contact, opportunity, **fields)
    plan = books.plan()
    assert brief(plan) == []
    assert reason in stops(plan)[opportunity]


def test_a_total_that_is_known_must_agree_too() -> None:
    books = sales(lines="{tax: OUTPUT2}")
    account, contact = linked(books)
    opportunity = books.won(1, account, line())
    twin(books, contact, opportunity, LineItems=[{"Quantity": 1, "UnitAmount": 100, "TaxType": "RRINPUT"}])
    assert "its total is 105.00, not 120.00 (a difference of -15.00)" in stops(books.plan())[opportunity]


def test_two_invoices_with_one_key_stop() -> None:
    books = sales(number="{kind: xero}")
    account, contact = linked(books)
    opportunity = books.won(1, account, line())
    for _ in range(2):
        twin(books, contact, opportunity, InvoiceNumber="INV-1", Reference=derived_number("SF-", opportunity))
    assert "2 invoices in Xero carry its Reference" in stops(books.plan())[opportunity]


def test_an_invoice_of_another_opportunity_is_not_taken() -> None:
    books = sales(number=RESERVED)
    account, _ = linked(books)
    first = books.won(1, account, line())
    applied(books)
    copy = books.won(2, account, line(), Xero_Invoice_Number__c=shows(books, first)["number"])
    plan = books.plan()
    assert brief(plan) == []
    assert stops(plan) == {copy: "the invoice that carries its number is another opportunity's"}


@pytest.mark.parametrize("text", ["PO 4711", "INV-12b"])
def test_another_value_where_the_number_belongs_stops(text: str) -> None:
    books = sales(number=RESERVED)
    opportunity = books.won(1, linked(books)[0], line(), Xero_Invoice_Number__c=text)
    assert "holds another value where the number belongs" in stops(books.plan())[opportunity]


def test_one_number_on_two_opportunities_stops_both() -> None:
    books = sales(number=RESERVED)
    account, _ = linked(books)
    both = {books.won(n, account, line(), Xero_Invoice_Number__c="INV-0001") for n in (1, 2)}
    plan = books.plan()
    assert brief(plan) == []
    assert set(stops(plan)) == both


def test_a_purchase_bill_is_no_invoice_of_ours() -> None:
    books = sales()
    account, contact = linked(books)
    opportunity = books.won(1, account, line())
    twin(books, contact, opportunity, Type="ACCPAY")
    assert brief(books.plan()) == MADE


# --- What an opportunity shows, and the journal does not know


def test_the_link_that_an_opportunity_shows_is_kept_without_a_write() -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    forget(books)
    plan = books.plan()
    assert brief(plan) == []
    assert plan.adopted_links.filter(pl.col("entity") == "document")["salesforce_id"].to_list() == [
        opportunity
    ]


def test_an_invoice_that_somebody_made_by_hand_and_named_is_kept() -> None:
    books = sales()
    account, contact = linked(books)
    invoice = books.invoice(Contact={"ContactID": contact}, InvoiceNumber="BY-HAND-1")
    books.won(1, account, line(), Xero_Invoice_ID__c=invoice.upper())
    plan = books.plan()
    assert brief(plan) == [("change", "salesforce", "update", "reference")]
    books.apply(plan)
    assert books.plan().operations.is_empty()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", [{"IsWon": False}, {"IsDeleted": True}])
def test_what_was_lost_or_deleted_keeps_its_invoice_where_the_journal_is_lost_too(
    kind: str, fields: dict[str, Any]
) -> None:
    books = sales(number=KINDS[kind])
    opportunity = books.won(1, linked(books)[0], line())
    applied(books)
    books.edit(opportunity, **fields)
    forget(books)
    plan = applied(books)
    assert brief(plan) == []
    links = plan.adopted_links.filter(pl.col("entity") == "document")
    assert links["salesforce_id"].to_list() == [opportunity]
    assert set(stops(books.plan())) == {opportunity}  # and that it stands is told again


def test_who_is_not_due_and_names_what_somebody_made_by_hand_is_left_alone() -> None:
    books = sales()
    account, contact = linked(books)
    invoice = books.invoice(Contact={"ContactID": contact}, InvoiceNumber="BY-HAND-1")
    books.won(1, account, line(), Xero_Invoice_ID__c=invoice, IsWon=False)
    books.won(2, account, line(), Xero_Invoice_ID__c=xero_id(99), IsWon=False)
    plan = books.plan()
    assert plan.adopted_links.filter(pl.col("entity") == "document").is_empty()
    assert not stops(plan)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [False, True])
def test_a_copy_of_an_opportunity_is_told_and_takes_nothing(kind: str, lost: bool) -> None:
    """Salesforce's Clone copies the fields that show the invoice."""
    books = sales(number=KINDS[kind])
    account, _ = linked(books)
    first = books.won(1, account, line())
    applied(books)
    fields = books.invoicing.link.fields
    shown = {fields[name]: value for name, value in shows(books, first).items()}
    copy = books.won(2, account, line(), **shown)
    if lost:
        forget(books)
    plan = books.plan()
    assert brief(plan) == []
    told = stops(plan)
    # Of a sequence nobody can tell which of two is the copy, once the journal is lost.
    assert set(told) == ({first, copy} if lost and kind == "reserved" else {copy})
    assert "another" in told[copy]
    books.edit(copy, **dict.fromkeys(shown))
    applied(books)
    applied(books)
    assert len(books.invoices) == 2
    assert books.plan().operations.is_empty()


def test_a_copy_whose_original_is_out_of_reach_is_told_too() -> None:
    books = sales()
    account, contact = linked(books)
    invoice = twin(books, contact, salesforce_id("006", 99))
    copy = books.won(1, account, line(), Xero_Invoice_ID__c=invoice)
    assert "as a copy does" in stops(books.plan())[copy]


def test_an_invoice_that_is_not_there_is_told() -> None:
    books = sales()
    opportunity = books.won(1, linked(books)[0], line(), Xero_Invoice_ID__c=xero_id(5))
    plan = books.plan()
    assert brief(plan) == []
    assert stops(plan) == {
        opportunity: "its Xero_Invoice_ID__c names an invoice that is not in the snapshot of Xero"
    }


# --- For whom


def test_a_contact_is_made_on_demand_with_its_one_person_and_only_for_whom_it_is_needed() -> None:
    books = sales()
    wanted, other = books.account(1, Name="Wanted Ltd"), books.account(2, Name="Other Ltd")
    books.contact(1, wanted, FirstName="Ann", LastName="Lee", Email="ann@wanted.example")
    books.won(1, wanted, line())
    books.won(2, wanted, line())
    books.won(3, other)  # which stops: it has no lines
    plan = books.plan()
    made = plan.operations.filter(pl.col("action") == "create", pl.col("entity") == "party").to_dicts()
    assert [row["source_id"] for row in made] == [wanted]
    assert loads(made[0]["native_after"])["FirstName"] == "Ann"
    creates = documents_of(plan).filter(pl.col("action") == "create").to_dicts()
    assert {row["depends_on"] for row in creates} == {made[0]["operation_id"]}
    assert all(
        loads(row["native_after"])["Contact"] == {"ContactID": {"$from": made[0]["operation_id"]}}
        for row in creates
    )
    books.apply(plan)
    assert len(books.xero) == 1
    assert books.plan().operations.is_empty()


def test_without_a_document_no_contact_is_made_on_demand() -> None:
    books = sales()
    books.account(1, Name="Alone Ltd")
    assert books.plan().operations.is_empty()


def test_a_number_is_not_taken_before_the_contact_is_there() -> None:
    books = sales(number=RESERVED)
    books.won(1, books.account(1, Name="New Ltd"), line())
    made = {(row["entity"], row["unit"]): row for row in books.plan().operations.to_dicts()}
    contact, number = made["party", "record"], made["document", "number"]
    assert number["depends_on"] == contact["operation_id"]
    assert made["document", "record"]["depends_on"] == number["operation_id"]


def test_an_invoice_waits_for_the_link_that_this_plan_writes() -> None:
    books = sales()
    account = books.account(1, Name="Firm", Tax_Number__c="GB1")
    books.xero_contact(1, Name="Firm", TaxNumber="GB1")
    books.won(1, account, line())
    plan = books.plan()
    link = plan.operations.filter(pl.col("action") == "link", pl.col("entity") == "party")["operation_id"][0]
    assert documents_of(plan).filter(pl.col("action") == "create")["depends_on"].to_list() == [link]


def _archived(books: Sales) -> str:
    account, contact = linked(books)
    books.edit(contact, ContactStatus="ARCHIVED")
    return account


def _gone(books: Sales) -> str:
    account = books.account(1, Name="Gone")
    books.edit(account, IsDeleted=True)
    return account


def _namesake(books: Sales) -> str:
    """Its contact by that name was refused as its partner, and Xero takes each name once."""
    account = books.account(1, Name="Twin Ltd")
    books.xero_contact(1, Name="Twin Ltd", ContactNumber=salesforce_id("001", 50), TaxNumber="GB999")
    books.account(50, Name="Another", Tax_Number__c="GB999", ExternalID__c=xero_id(1))
    return account


@pytest.mark.parametrize(
    ("text", "account", "reason"),
    [
        ("", lambda books: salesforce_id("001", 404), "its account is not in the snapshot"),
        ("", _gone, "its account is deleted"),
        ("", _archived, "the contact of its account is archived in Xero"),
        (
            "",
            lambda books: books.account(1, Name="C", Type="Competitor"),
            "its account is out of the mapping's scope",
        ),
        ("", _namesake, "another active contact in Xero has this name"),
        (
            "entities: {party: {create: {xero: never}}}\n",
            lambda books: books.account(1, Name="New"),
            "the mapping lets none be made",
        ),
        (
            "entities: {party: {create: {xero: ask}}}\n",
            lambda books: books.account(1, Name="New"),
            "waits for a yes to the making of its contact",
        ),
        (
            "entities: {party: {create: {xero: {policy: on_demand, when: \"Type = 'Customer'\"}}}}\n",
            lambda books: books.account(1, Name="New", Type="Prospect"),
            "none is made of it (create.xero: on_demand)",
        ),
    ],
)
def test_without_a_certain_contact_there_is_no_invoice(
    text: str, account: Callable[[Sales], str], reason: str
) -> None:
    books = sales(text)
    opportunity = books.won(1, account(books), line())
    plan = books.plan()
    assert brief(plan) == []
    assert reason in stops(plan)[opportunity]


def test_an_account_in_review_stops_its_invoice() -> None:
    books = sales()
    opportunity = books.won(1, books.account(1, Name="Blue"), line())
    books.xero_contact(1, Name="Blue Ltd")
    plan = books.plan()
    assert plan.review.height == 1
    assert brief(plan) == []
    assert "waits for a decision on its link" in stops(plan)[opportunity]

"""Suppliers' bills: never two for one record, never one that is not as its record says, never one changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile import model
from reconcile.bills import Billing, Books, bills, codes_fault, needed_accounts, read_bills, read_there
from reconcile.codes import read_chart
from reconcile.documents import Organisation
from reconcile.invoices import Contact
from reconcile.mapped import BillMapping, Rule

AT = datetime(2026, 11, 24, tzinfo=UTC)
D = Decimal
MAPPING = BillMapping(
    salesforce="Supplier_Bill__c",
    supplier="Supplier__c",
    amount="Amount__c",
    date="Received_On__c",
    due="Due_On__c",
    number="Supplier_Number__c",
    description="Name",
    currency="CurrencyIsoCode",
    line_amounts="exclusive",
    scope=None,
    cut_over=date(2026, 11, 1),
    account="429",
    tax="INPUT2",
    status="DRAFT",
    prefix="SF-",
    link={"id": "Xero_Bill_ID__c", "status": "Xero_Bill_Status__c"},
    at="mapping.yaml:1: documents.bill",
)


def record(number: int) -> str:
    return f"a01{number:012d}AAA"


def account(number: int) -> str:
    return f"001{number:012d}AAA"


def contact(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def bill(number: int) -> str:
    return f"00000000-0000-4000-9000-{number:012d}"


def key(number: int) -> str:
    return f"SF-{record(number).upper()}"


@dataclass
class World:
    """Both sides: which bills were noted, what Xero has. Accounts 0 and 1 have a contact, 2 has none."""

    noted: list[dict[str, Any]] = field(default_factory=list)
    there: list[dict[str, Any]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    mapping: BillMapping = MAPPING
    rest: dict[str, Any] = field(default_factory=dict)

    def note(self, nth: int, amount: str | None, day: str | None = "2026-11-20", /, **more: Any) -> World:
        row = {
            "record_id": record(nth), "name": f"Goods {nth}", "account_id": account(0),
            "amount": None if amount is None else D(amount), "currency": "GBP", "due_unread": False,
            "date": day and date.fromisoformat(day), "gone": False, "counts": True, "description": f"Goods {nth}",
        }  # fmt: skip
        self.noted.append({**row, **more})
        return self

    def enter(self, number: int, own: str | None, amount: str, **more: Any) -> World:
        row = {
            "bill_id": bill(number), "bill_number": own, "bill_status": "DRAFT", "bill_contact": contact(0),
            "bill_currency": "GBP", "bill_date": date(2026, 11, 20), "subtotal": D(amount), "total": D(amount),
        }  # fmt: skip
        self.there.append({**row, **more})
        return self

    def decide(self) -> Billing:
        links = [
            {"link_id": f"bill:{mine}:{theirs}", "entity": "bill", "salesforce_id": mine, "xero_id": theirs,
             "status": "linked"}
            for mine, theirs in self.links
        ]  # fmt: skip
        books = Books(
            records=frame(self.noted, model.BILLS).sort("date", "record_id"),
            there=frame(self.there, model.BILLS_THERE).sort("bill_id"),
            links=frame(links, model.LINKS),
            contacts={
                account(0): Contact(contact_id=contact(0)),
                account(1): Contact(contact_id=contact(1).upper()),
                account(2): Contact(reason="its account has no contact, and the mapping lets none be made"),
            },
            organisation=Organisation("Europe/London", "GBP", None),
            currencies=frozenset({"GBP", "EUR", "JPY"}),
        )
        return bills(replace(books, **self.rest), self.mapping)

    def carry_out(self, found: Billing) -> None:
        """As Xero and Salesforce would."""
        for row in found.operations.filter(pl.col("action") == "create").iter_rows(named=True):
            body = json.loads(row["native_after"], parse_float=D, parse_int=D)
            net = sum((one["Quantity"] * one["UnitAmount"] for one in body["LineItems"]), D(0))
            number = 1000 + len(self.there)
            taxed = {
                "Exclusive": (net, net * D("1.2")),
                "Inclusive": (net / D("1.2"), net),
                "NoTax": (net, net),
            }
            subtotal, total = taxed[body["LineAmountTypes"]]
            self.enter(
                number, body["InvoiceNumber"], "0", subtotal=round(subtotal, 2), total=round(total, 2),
                bill_status=body["Status"], bill_contact=body["Contact"]["ContactID"].lower(),
                bill_currency=body["CurrencyCode"], bill_date=date.fromisoformat(body["Date"]),
            )  # fmt: skip
            self.links.append((row["source_id"], bill(number)))
        self.links += found.adopted.select("salesforce_id", "xero_id").rows()
        there = {row["bill_id"]: row for row in self.there}
        linked = dict(self.links)
        for row in self.noted:
            if row["record_id"] in linked and not row["gone"]:
                shown = there[linked[row["record_id"]]]
                row |= {"shown_id": shown["bill_id"], "shown_status": shown["bill_status"]}


def frame(rows: Sequence[dict[str, Any]], schema: Any) -> pl.DataFrame:
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=dict(schema))


def bodies(found: Billing) -> dict[str, dict[str, Any]]:
    """Record -> the bill that is planned for it."""
    made = found.operations.filter(pl.col("action") == "create")
    assert made["source_id"].is_unique().all()
    return {
        row["source_id"]: json.loads(row["native_after"], parse_float=D, parse_int=D)
        for row in made.iter_rows(named=True)
    }


def reasons(found: Billing) -> dict[str, str]:
    return dict(found.rejects.select("record_id", "reason").iter_rows())


# --- Rules ------------------------------------------------------------------------------------------------

MOST = 5


def mostly(right: st.SearchStrategy[Any], *others: Any) -> st.SearchStrategy[Any]:
    """Draw three times in four what a bill may have."""
    return st.integers(0, 3).flatmap(lambda nth: right if nth else st.sampled_from(others))


AMOUNTS = mostly(st.integers(1, 3000).map(lambda cents: D(cents) / 100), None, D(0), D("-1.5"), D("1.005"))
NUMBERS = st.sampled_from([None, "4711", "RE 7", "re 7"])
SUPPLIERS = mostly(st.sampled_from([account(0), account(1)]), account(2), None)
NOTED = st.fixed_dictionaries(
    {
        "amount": AMOUNTS,
        "date": mostly(st.just(date(2026, 11, 20)), date(2026, 10, 30), date(2026, 11, 1), None),
        "counts": mostly(st.just(True), False),
        "account_id": SUPPLIERS,
        "currency": mostly(st.just("GBP"), "EUR", "USD", None),
        "number": NUMBERS,
        "shown": mostly(st.none(), *range(7)),
    }
)
ENTERED = st.fixed_dictionaries(
    {
        "whose": st.one_of(st.none(), st.integers(0, MOST - 1)),
        "own": NUMBERS,
        "amount": st.one_of(st.none(), st.integers(1, 3000)),
        "by": st.integers(0, 1),
        "status": st.sampled_from(["DRAFT", "SUBMITTED", "AUTHORISED", "PAID", "VOIDED", "DELETED"]),
    }
)


def world_of(
    noted: Sequence[dict[str, Any]], entered: Sequence[dict[str, Any]], mapping: BillMapping
) -> World:
    world = World(mapping=mapping)
    for number, row in enumerate(noted):
        shown = row["shown"]
        more = {name: value for name, value in row.items() if name not in ("amount", "date", "shown")}
        world.note(number, None, None, **more)
        world.noted[-1] |= {"amount": row["amount"], "date": row["date"]}
        world.noted[-1] |= {} if shown is None else {"shown_id": bill(shown).upper()}
    for number, row in enumerate(entered):
        whose, own = row["whose"], row["own"]
        name = " ".join(filter(None, (own, None if whose is None else key(whose)))) or None
        amount = D(row["amount"] or 0) / 100
        if row["amount"] is None and whose is not None and whose < len(noted):
            amount = noted[whose]["amount"] or D(0)  # as the record says
        world.enter(number, name, str(amount), bill_contact=contact(row["by"]), bill_status=row["status"])
    return world


MAPPINGS = st.sampled_from(
    [replace(MAPPING, line_amounts=one, tax=None if one == "no_tax" else "INPUT2")
     for one in ("exclusive", "inclusive", "no_tax")]
)  # fmt: skip


@pytest.mark.in_turn
@settings(max_examples=200, deadline=None)
@given(st.lists(NOTED, max_size=MOST), st.lists(ENTERED, max_size=6), MAPPINGS)
def test_no_record_gets_two_bills_and_each_bill_is_what_its_record_says(
    noted: Sequence[dict[str, Any]], entered: Sequence[dict[str, Any]], mapping: BillMapping
) -> None:
    world = world_of(noted, entered, mapping)
    found = world.decide()
    by_record = {row["record_id"]: row for row in world.noted}
    carried = {(row["bill_number"] or "")[-18:].lower() for row in world.there}
    for who, body in bodies(found).items():
        row = by_record[who]
        assert row["counts"] and row["date"] >= date(2026, 11, 1) and row["amount"] > 0
        assert who.lower() not in carried
        (line,) = body["LineItems"]
        assert line["Quantity"] * line["UnitAmount"] == row["amount"]
        assert body["CurrencyCode"] == (row["currency"] or "GBP") != "USD"
        assert body["Type"] == "ACCPAY" and body["InvoiceNumber"].endswith(who.upper())
        assert body["Contact"]["ContactID"].lower() == contact(int(row["account_id"][3:15]))
        assert len(body["InvoiceNumber"]) <= 255
    kept = found.adopted.select("salesforce_id", "xero_id").rows()
    assert max(Counter(theirs for _, theirs in kept).values(), default=1) == 1
    assert not {mine for mine, _ in kept} & bodies(found).keys()
    # Whatever counts, is dated after the cut-over and gets nothing is told.
    for who, row in by_record.items():
        if row["counts"] and (row["date"] is None or row["date"] >= date(2026, 11, 1)):
            assert who in {*bodies(found), *(mine for mine, _ in kept), *reasons(found)}
    world.carry_out(found)
    again = world.decide()
    assert bodies(again) == {}
    if any(row["shown"] is not None for row in noted):  # of copies one may be sure only now
        world.carry_out(again)
        again = world.decide()
    assert bodies(again) == {} and again.adopted.is_empty()
    assert again.operations.is_empty(), again.operations.to_dicts()
    live = [row for row in world.there if row["bill_status"] not in ("VOIDED", "DELETED")]
    ours = {one for _, one in world.links}
    numbers = Counter(
        row["bill_number"][-18:].lower() for row in live if row["bill_id"] in ours and row["bill_number"]
    )
    assert all(numbers[who.lower()] <= 1 for who in by_record)


EDITS = st.fixed_dictionaries(
    {},
    optional={
        "number": NUMBERS,
        "amount": AMOUNTS,
        "counts": st.booleans(),
        "account_id": SUPPLIERS,
        "gone": st.booleans(),
    },
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(NOTED, max_size=MOST),
    st.lists(EDITS, min_size=MOST, max_size=MOST),
    st.sampled_from(["SF-", "X ", ""]),
    st.booleans(),
)
def test_with_the_journal_lost_nothing_is_made_again_whatever_was_changed_meanwhile(
    noted: Sequence[dict[str, Any]], edits: Sequence[dict[str, Any]], prefix: str, keeps_fields: bool
) -> None:
    world = world_of([{**row, "shown": None} for row in noted], [], MAPPING)
    world.carry_out(world.decide())
    made = dict(world.links)
    world.links, world.mapping = [], replace(MAPPING, prefix=prefix)
    for row, edit in zip(world.noted, edits, strict=False):
        row |= edit if row["record_id"] in made else {}
        row |= {} if keeps_fields else {"shown_id": None, "shown_status": None}
    again = world.decide()
    assert not bodies(again).keys() & made.keys()
    assert bodies(again) == {}
    for mine, theirs in again.adopted.select("salesforce_id", "xero_id").iter_rows():
        assert made[mine] == theirs
    adopted = set(again.adopted["salesforce_id"])
    assert made.keys() <= adopted | reasons(again).keys()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**12), st.sampled_from(["GBP", "EUR", "JPY"]), MAPPINGS)
def test_amounts_are_exact_to_the_currencys_last_digit(
    units: int, currency: str, mapping: BillMapping
) -> None:
    amount = D(units) if currency == "JPY" else D(units) / 100
    world = World(mapping=mapping).note(1, str(amount), currency=currency)
    (body,) = bodies(world.decide()).values()
    assert body["LineItems"][0]["UnitAmount"] == amount
    finer = amount + (D("0.5") if currency == "JPY" else D("0.005"))
    found = World(mapping=mapping).note(1, str(finer), currency=currency).decide()
    assert bodies(found) == {} and "more decimals" in reasons(found)[record(1)]


# --- Cases ------------------------------------------------------------------------------------------------


def test_a_bill_has_all_that_the_mapping_names_and_its_record_shows_it() -> None:
    found = World().note(1, "12.50", number="RE 7", due_on=date(2026, 12, 20)).decide()
    create, shown = found.operations.to_dicts()
    assert json.loads(create["native_after"]) == {
        "Type": "ACCPAY", "InvoiceNumber": f"RE 7 {key(1)}", "Contact": {"ContactID": contact(0)},
        "Date": "2026-11-20", "DueDate": "2026-12-20", "LineAmountTypes": "Exclusive", "CurrencyCode": "GBP",
        "Status": "DRAFT",
        "LineItems": [{
            "Description": "Goods 1", "Quantity": 1, "UnitAmount": 12.5, "AccountCode": "429", "TaxType": "INPUT2",
        }],
    }  # fmt: skip
    told = json.loads(create["after"])
    assert (told["subtotal"], told["total"], told["number"]) == ("12.50", None, f"RE 7 {key(1)}")
    assert shown["depends_on"] == create["operation_id"] and shown["record_id"] == record(1)
    assert set(json.loads(shown["native_after"])) == {"Xero_Bill_ID__c", "Xero_Bill_Status__c"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"account_id": None}, "names no account"),
        ({"account_id": account(2)}, "has no contact"),
        ({"amount": None}, "no amount above zero"),
        ({"amount": D("0")}, "no amount above zero"),
        ({"amount": D("-1")}, "no amount above zero"),
        ({"amount": D(10) ** 15}, "larger than Xero keeps"),
        ({"currency": "USD"}, "USD is none of the organisation's"),
        ({"date": None}, "Received_On__c holds no day"),
        ({"due_unread": True}, "Due_On__c holds no day"),
        ({"number": 'a"b'}, "quotation mark"),
        ({"number": "a\\b"}, "backslash"),
        ({"number": "x" * 240}, "too long"),
        ({"description": "x" * 4001}, "longer than the 4000"),
        ({"shown_id": bill(9)}, "is not in the snapshot of Xero"),
    ],
)
def test_what_can_not_become_a_bill_is_told(more: dict[str, Any], said: str) -> None:
    found = World().note(1, "10", **more).decide()
    assert bodies(found) == {}
    assert said in reasons(found)[record(1)]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({"organisation": Organisation("UTC", "GBP", date(2026, 11, 20))}, "locked up to 2026-11-20"),
        ({"codes": "the account 429 is archived in Xero"}, "is archived"),
    ],
)
def test_what_the_books_forbid_is_told(rest: dict[str, Any], said: str) -> None:
    found = World(rest=rest).note(1, "10").decide()
    assert bodies(found) == {} and said in reasons(found)[record(1)]


def test_without_a_base_currency_and_one_of_its_own_nothing_is_made() -> None:
    world = World(rest={"organisation": Organisation(None, None, None)}).note(1, "10", currency=None)
    assert "its currency is not known" in reasons(world.decide())[record(1)]


def test_a_contact_that_is_still_to_be_made_is_waited_for() -> None:
    contacts = {account(0): Contact(made_by="op-1", depends_on="op-1")}
    found = World(rest={"contacts": contacts}).note(1, "10").decide()
    (body,) = bodies(found).values()
    assert body["Contact"] == {"ContactID": {"$from": "op-1"}}
    assert found.operations["depends_on"][0] == "op-1"
    assert needed_accounts(frame(World().note(1, "10").noted, model.BILLS), MAPPING) == {account(0)}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, None),
        ({"bill_contact": contact(1)}, "from another contact"),
        ({"subtotal": D("11")}, "of 11.00 GBP without tax instead of 10.00 GBP"),
        ({"bill_currency": "EUR"}, "of 10.00 EUR without tax instead of 10.00 GBP"),
        ({"bill_status": "VOIDED"}, "is voided in Xero: make another record"),
    ],
)
@pytest.mark.parametrize("how", ["number", "shown"])
def test_what_carries_the_records_id_is_adopted_where_it_agrees(
    how: str, more: dict[str, Any], said: str | None
) -> None:
    world = World().note(1, "10").enter(1, key(1).lower() if how == "number" else "by hand", "10", **more)
    world.noted[0] |= {"shown_id": bill(1)} if how == "shown" else {}
    found = world.decide()
    assert bodies(found) == {}
    assert found.adopted["xero_id"].to_list() == ([] if said else [bill(1)])
    assert said is None or said in reasons(found)[record(1)]


def test_of_several_bills_with_one_records_id_none_is_taken() -> None:
    world = World().note(1, "10").enter(1, key(1), "10").enter(2, f"4711 {key(1)}", "10")
    assert "2 bills in Xero end in its number" in reasons(world.decide())[record(1)]
    world.there[0]["bill_status"] = "DELETED"
    assert world.decide().adopted["xero_id"].to_list() == [bill(2)]
    world.enter(3, "by hand", "10").noted[0]["shown_id"] = bill(3)
    found = world.decide()
    assert bodies(found) == {} and "one is too many" in reasons(found)[record(1)]


def test_a_copy_of_a_record_is_not_taken_for_the_bill_that_it_shows() -> None:
    world = World().note(1, "10").note(2, "10", shown_id=bill(1)).enter(1, key(1), "10")
    world.links.append((record(1), bill(1)))
    found = world.decide()
    assert bodies(found) == {}
    assert "another record's, as a copy's is: empty Xero_Bill_ID__c" in reasons(found)[record(2)]


@pytest.mark.parametrize("counts", [True, False])
def test_with_the_journal_lost_a_copy_takes_no_bill_that_ends_in_anothers_id(counts: bool) -> None:
    world = World().note(1, "10", counts=counts).note(2, "10", shown_id=bill(1)).enter(1, key(1), "10")
    found = world.decide()
    assert bodies(found) == {}
    assert found.adopted.select("salesforce_id", "xero_id").rows() == [(record(1), bill(1))]
    assert "another record's" in reasons(found)[record(2)]
    world = World().note(1, "10").note(2, "10", shown_id=bill(1), counts=False).enter(1, key(1), "10")
    assert world.decide().adopted["salesforce_id"].to_list() == [record(1)]


def test_a_bill_that_somebody_entered_under_the_suppliers_number_stops_only_that_suppliers() -> None:
    world = World().note(1, "10", number="RE 7").note(2, "10", number="RE 7", account_id=account(1))
    world.enter(1, "re 7", "99")
    found = world.decide()
    assert set(bodies(found)) == {record(2)}
    assert "is in Xero already" in reasons(found)[record(1)]
    for more in ({"bill_status": "DELETED"}, {"bill_number": "re 70"}):
        other = World().note(1, "10", number="RE 7").enter(1, "re 7", "99")
        other.there[0] |= more
        assert set(bodies(other.decide())) == {record(1)}


@pytest.mark.parametrize(
    ("record_more", "bill_more", "said"),
    [
        ({"amount": D("11")}, {}, "is of 11.00 now, and its bill of 10.00"),
        ({"amount": None}, {}, "is of no amount now"),
        ({"account_id": account(1)}, {}, "names another supplier"),
        ({"currency": "EUR"}, {}, "its currency is EUR now, and its bill's GBP"),
        ({"date": date(2026, 11, 19)}, {}, "its day is 2026-11-19 now, and its bill's 2026-11-20"),
        ({"number": "8"}, {}, "its number is 8 now, and its bill's 7"),
        ({"number": None}, {}, "its number is none now, and its bill's 7"),
        ({"counts": False}, {}, "counts no more, and its bill of 10.00 GBP is draft"),
        ({"counts": False, "gone": True}, {}, "counts no more"),
        ({}, {"bill_status": "DELETED"}, "is deleted in Xero"),
        ({}, {"bill_status": "PAID"}, None),
        ({}, {"bill_number": "7, as finance has it"}, None),
        ({}, {"bill_date": date(2026, 11, 30)}, "its bill's 2026-11-30"),
        ({"counts": False}, {"bill_status": "VOIDED"}, None),
    ],
)
def test_what_changed_since_is_told_and_never_sent(
    record_more: dict[str, Any], bill_more: dict[str, Any], said: str | None
) -> None:
    world = World().note(1, "10", number="7").enter(1, f"7 {key(1)}", "10", **bill_more)
    world.links.append((record(1), bill(1)))
    world.noted[0] |= {"shown_id": bill(1), "shown_status": world.there[0]["bill_status"], **record_more}
    found = world.decide()
    assert found.operations.is_empty() and found.adopted.is_empty()
    assert (said is None) == (reasons(found) == {})
    assert said is None or said in reasons(found)[record(1)]


def test_a_bill_that_is_not_in_the_snapshot_is_told_and_not_made_again() -> None:
    world = World().note(1, "10")
    world.links.append((record(1), bill(1)))
    found = world.decide()
    assert found.operations.is_empty()
    assert "not in the snapshot" in reasons(found)[record(1)]


# --- Reading ----------------------------------------------------------------------------------------------


def raw(*bodies: Any, deleted: bool = False) -> pl.DataFrame:
    names = ("Id", "InvoiceID", "AccountID", "TaxType")
    rows = [
        {
            "record_id": next(body[name] for name in names if name in body),
            "modified_at": AT, "row_hash": "x", "deleted": deleted, "body": json.dumps(body),
        }
        for body in bodies
    ]  # fmt: skip
    return frame(rows, model.RAW)


def test_records_are_read_to_the_digit_and_by_their_scope() -> None:
    mapping = replace(MAPPING, scope=Rule("Status__c = 'Approved' and Amount__c > 1", "here"))
    base = {
        "IsDeleted": False, "SystemModstamp": "2026-11-20T10:00:00.000+0000", "LastModifiedById": "005",
        "Name": " M-1 ",
        "Supplier__c": account(1)[:15], "Received_On__c": "2026-11-20", "Due_On__c": None, "Status__c": "Approved",
        "Supplier_Number__c": " 47  11 ", "CurrencyIsoCode": "eur", "Amount__c": 7.1, "Xero_Bill_ID__c": None,
        "Xero_Bill_Status__c": None,
    }  # fmt: skip
    rows = raw(
        {**base, "Id": record(1)},
        {**base, "Id": record(2), "Status__c": "Received"},
        {**base, "Id": record(3), "IsDeleted": True},
        {**base, "Id": record(4), "Amount__c": 1},
        {**base, "Id": record(5), "Received_On__c": None, "Due_On__c": "soon", "Amount__c": None},
        {**base, "Id": record(6), "Name": ["no text"]},
    )
    rows = rows.with_columns(body=pl.col("body").str.replace("7.1,", "123456789012.34,", literal=True))
    found, rejects = read_bills(rows, mapping, "Europe/London")
    assert rejects["record_id"].to_list() == [record(6)]
    by_id = {row["record_id"]: row for row in found.iter_rows(named=True)}
    assert [by_id[record(n)]["counts"] for n in (1, 2, 3, 4, 5)] == [True, False, False, False, False]
    assert by_id[record(1)]["amount"] == D("123456789012.34")
    assert by_id[record(1)]["account_id"] == account(1)
    assert (by_id[record(1)]["number"], by_id[record(1)]["currency"]) == ("47 11", "EUR")
    assert by_id[record(5)]["date"] is None and by_id[record(5)]["due_unread"]
    assert not by_id[record(1)]["due_unread"]


def test_bills_are_read_as_lists_show_them_and_what_is_gone_is_deleted() -> None:
    body = {
        "InvoiceID": bill(1).upper(), "Type": "ACCPAY", "Status": "DRAFT", "InvoiceNumber": f"7 {key(1)}",
        "Contact": {"ContactID": contact(1).upper()}, "CurrencyCode": "GBP", "Date": "/Date(1795132800000+0000)/",
        "SubTotal": 10.10, "Total": 12.12,
    }  # fmt: skip
    for gone, status in ((False, "DRAFT"), (True, "DELETED")):
        found, rejects = read_there(raw(body, deleted=gone))
        assert rejects.is_empty()
        assert found.rows() == [
            (bill(1), f"7 {key(1)}", status, contact(1), "GBP", date(2026, 11, 20), D("10.10"), D("12.12"))
        ]
    _, rejects = read_there(raw({**body, "Total": {}}))
    assert rejects["side"].to_list() == ["xero"]


@pytest.mark.parametrize(
    ("account_code", "tax", "line_amounts", "said"),
    [
        ("429", "INPUT2", "exclusive", None),
        ("429", None, "inclusive", None),
        ("429", "INPUT2", "exclusive", None),
        ("310", "INPUT2", "exclusive", None),
        ("430", "INPUT2", "exclusive", "the account 430 is archived"),
        ("200", "INPUT2", "exclusive", "the account 200 (REVENUE) takes no expenses"),
        ("497", "INPUT2", "exclusive", "takes no expenses"),  # a system account of that type
        ("800", "INPUT2", "exclusive", "takes no expenses"),
        ("999", "INPUT2", "exclusive", "the account 999 is not in Xero"),
        ("429", "OUTPUT2", "exclusive", "the tax OUTPUT2 can't be applied to the account 429"),
        ("429", "OLD", "exclusive", "the tax OLD is deleted"),
        ("429", "NOSUCH", "exclusive", "the tax NOSUCH is not in Xero"),
        ("431", None, "exclusive", "the tax OUTPUT2 can't be applied"),
        ("431", None, "no_tax", None),
    ],
)
def test_account_and_tax_must_be_for_expenses(
    account_code: str, tax: str | None, line_amounts: str, said: str | None
) -> None:
    def booked(
        code: str, kind: str, status: str = "ACTIVE", tax: str = "INPUT2", **more: str
    ) -> dict[str, Any]:
        number = bill(int(code))
        return {"AccountID": number, "Code": code, "Type": kind, "Status": status, "TaxType": tax, **more}

    chart = read_chart(
        raw(
            booked("429", "OVERHEADS"), booked("310", "DIRECTCOSTS"), booked("430", "EXPENSE", "ARCHIVED"),
            booked("200", "REVENUE"), booked("497", "EXPENSE", SystemAccount="BANKCURRENCYGAIN"),
            booked("800", "CURRLIAB"), booked("431", "EXPENSE", tax="OUTPUT2"),
        ),
        raw(
            {"TaxType": "INPUT2", "Status": "ACTIVE", "CanApplyToExpenses": True},
            {"TaxType": "OUTPUT2", "Status": "ACTIVE", "CanApplyToExpenses": False, "CanApplyToRevenue": True},
            {"TaxType": "OLD", "Status": "DELETED", "CanApplyToExpenses": True},
        ),
    )  # fmt: skip
    found = codes_fault(chart, replace(MAPPING, account=account_code, tax=tax, line_amounts=line_amounts))
    assert (found is None) if said is None else (said in str(found))

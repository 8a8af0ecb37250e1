"""The SOQL reader and what it finds: without HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.dialect import Dialect
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.ids import full_id, make_id, to18
from sandbox.salesforce.org import INTEGRATION_ID, PERSON_ID, Org, Session, load
from sandbox.salesforce.query import next_page, run_query
from sandbox.salesforce.reading import Reading
from sandbox.salesforce.switches import SWITCHES
from sandbox.store import Store

MONTHS = [f"2025-{month:02d}-01T10:00:00.000+0000" for month in range(1, 7)]


def org_of(*rows: dict[str, Any]) -> Org:
    store = Store(":memory:")
    clock = Clock(store)
    org = Org(store, clock, Dialect(SWITCHES), make_id("00D", "Sb", 1))
    load(store, clock, rows)
    return org


def account(number: int, **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Account"}, "Id": make_id("001", "Ts", number), "Name": "x", **fields}


def contact(number: int, **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Contact"}, "Id": make_id("003", "Ts", number), "LastName": "x", **fields}


def ask(org: Org, soql: str, *, deleted: bool = False, user: str = PERSON_ID) -> dict[str, Any]:
    return run_query(Reading(org, Session(user), "67.0", deleted), soql, batch=2000)


def names(org: Org, soql: str, **options: Any) -> list[Any]:
    return [record["Name"] for record in ask(org, soql, **options)["records"]]


def refused(org: Org, soql: str) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(org, soql)
    return caught.value


@pytest.fixture
def few() -> Iterator[Org]:
    yield org_of(
        account(1, Name="Alpha", Type="Other", NumberOfEmployees=5, SystemModstamp=MONTHS[0]),
        account(2, Name="beta", Type="Other", NumberOfEmployees=50, SystemModstamp=MONTHS[1]),
        account(3, Name="O'Hara 50%", Xero_Customer__c=True, SystemModstamp=MONTHS[2]),
        account(4, Name="Gone", IsDeleted=True, SystemModstamp=MONTHS[3]),
        contact(
            1, FirstName="Ann", LastName="Ray", AccountId=make_id("001", "Ts", 1), Email="Ann@Ray.example"
        ),
        contact(2, LastName="Solo"),
    )


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Name = 'ALPHA'", ["Alpha"]),
        ("Name = 'o\\'hara 50%'", ["O'Hara 50%"]),
        ("Name like '%50\\%'", ["O'Hara 50%"]),
        ("Name like 'b_ta'", ["beta"]),
        ("Type = null", ["O'Hara 50%"]),
        ("Type != 'Other'", ["O'Hara 50%"]),
        ("not (Type = 'Other')", ["O'Hara 50%"]),
        ("Type not in ('Other')", ["O'Hara 50%"]),
        ("NumberOfEmployees > 5", ["beta"]),
        ("NumberOfEmployees <= 5.0", ["Alpha"]),
        ("Xero_Customer__c = false and (Name = 'beta' or Name = 'nobody')", ["beta"]),
        ("Xero_Customer__c = true", ["O'Hara 50%"]),
        ("SystemModstamp >= 2025-02-01T10:00:00Z", ["beta", "O'Hara 50%"]),
        ("SystemModstamp > 2025-02-01T11:00:00.000+01:00", ["O'Hara 50%"]),
        ("Id in (select AccountId from Contact)", ["Alpha"]),
        ("CreatedDate < TODAY and CreatedDate != LAST_N_DAYS:3 and Name = 'beta'", ["beta"]),
        ("Name in ('alpha', 'BETA') and Id != null", ["Alpha", "beta"]),
    ],
)
def test_conditions_find_what_soql_says(few: Org, where: str, found: list[str]) -> None:
    assert names(few, f"select Name from Account where {where}") == found


def test_parents_are_reached_and_shown_within(few: Org) -> None:
    soql = "select LastName, Account.Name, Account.Owner.Name from Contact where Account.Name != null"
    (record,) = ask(few, soql)["records"]
    assert record["Account"]["Name"] == "Alpha"
    assert record["Account"]["Owner"]["Name"] == "Robin Page"
    assert record["Account"]["attributes"]["url"].startswith("/services/data/v67.0/sobjects/Account/001")


def test_a_missing_parent_is_null(few: Org) -> None:
    soql = "SELECT Account.Name FROM Contact WHERE LastName = 'solo'"
    assert ask(few, soql)["records"][0]["Account"] is None


def test_nulls_come_first_unless_said_otherwise(few: Org) -> None:
    first = "select Name from Account order by Type asc, Name desc"
    last = "select Name from Account order by Type desc nulls last, Name"
    assert names(few, first) == ["O'Hara 50%", "beta", "Alpha"]
    assert names(few, last) == ["Alpha", "beta", "O'Hara 50%"]


def test_limit_and_offset_cut_the_ordered_rows(few: Org) -> None:
    assert names(few, "select Name from Account order by Name limit 1 offset 1") == ["beta"]


def test_deleted_rows_are_seen_by_queryall_only(few: Org) -> None:
    assert "Gone" not in names(few, "select Name from Account")
    assert names(few, "select Name from Account where IsDeleted = true", deleted=True) == ["Gone"]


def test_counting_gives_a_size_without_rows(few: Org) -> None:
    assert ask(few, "select count() from Account") == {"totalSize": 3, "done": True, "records": []}


def test_aggregates_are_grouped_and_named(few: Org) -> None:
    soql = (
        "select Type, count(Id) n, max(NumberOfEmployees), sum(NumberOfEmployees) from Account group by Type"
    )
    rows = ask(few, soql + " order by count(Id) desc")["records"]
    assert rows[0] == {
        "attributes": {"type": "AggregateResult"},
        "Type": "Other",
        "n": 2,
        "expr0": 50,
        "expr1": 55,
    }


def test_fields_all_needs_a_limit(few: Org) -> None:
    (record,) = ask(few, "select fields(all) from Contact where LastName = 'Ray' limit 200")["records"]
    assert record["Name"] == "Ann Ray"
    assert "ExternalID__c" in record
    assert refused(few, "select fields(all) from Contact").code == "MALFORMED_QUERY"


def test_an_address_is_one_compound_value() -> None:
    org = org_of(account(1, BillingStreet="1 High St", BillingCity="Leeds"))
    (record,) = ask(org, "select BillingAddress, ShippingAddress from Account")["records"]
    assert record["BillingAddress"]["street"] == "1 High St"
    assert record["BillingAddress"]["postalCode"] is None
    assert record["ShippingAddress"] is None


@pytest.mark.parametrize(
    ("soql", "code", "place"),
    [
        (
            "select Foo from Account",
            "INVALID_FIELD",
            "ERROR at Row:1:Column:8\nNo such column 'Foo' on entity 'Account'",
        ),
        (
            "select Id\nfrom Bar",
            "INVALID_TYPE",
            "ERROR at Row:2:Column:6\nsObject type 'Bar' is not supported",
        ),
        ("select Id from Account where", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("select * from Account", "MALFORMED_QUERY", "Column:8\nunexpected token: '*'"),
        ("select Id from Account where Name = 'a' and Type = 'b' or Id = null", "MALFORMED_QUERY", "'or'"),
        (
            "select Id from Account where Name = 5",
            "INVALID_FIELD",
            "must be of type string and should be enclosed",
        ),
        (
            "select Id from Account where SystemModstamp > '2025'",
            "INVALID_FIELD",
            "dateTime and should not be",
        ),
        ("select Id from Account where Description = 'x'", "INVALID_FIELD", "can not be filtered"),
        (
            "select Id from Account where Id = 'nope'",
            "INVALID_QUERY_FILTER_OPERATOR",
            "invalid ID field: nope",
        ),
        ("select Nothing.Name from Contact", "INVALID_FIELD", "Didn't understand relationship 'Nothing'"),
        ("select Name, count(Id) from Account", "MALFORMED_QUERY", "must be grouped or aggregated: Name"),
        ("select Id from Account offset 2001", "NUMBER_OUTSIDE_VALID_RANGE", "2000"),
    ],
)
def test_a_wrong_query_is_refused_at_its_place(few: Org, soql: str, code: str, place: str) -> None:
    error = refused(few, soql)
    assert error.code == code
    assert place in error.message


def test_a_hidden_field_is_no_field_for_the_integration_user(few: Org) -> None:
    few.schema.secure("Account", "Phone", "hidden")
    assert "Phone" in ask(few, "select Phone from Account limit 1")["records"][0]
    with pytest.raises(Refused):
        ask(few, "select Phone from Account", user=INTEGRATION_ID)


@pytest.mark.parametrize("size", [1, 200, 400, 511])
def test_pages_hold_every_row_once(size: int) -> None:
    org = org_of(*(account(number, Name=f"n{number}") for number in range(1, size + 1)))
    reading = Reading(org, Session(PERSON_ID), "67.0")
    page = run_query(reading, "select Name from Account order by Name", batch=200)
    seen = page["records"]
    while not page["done"]:
        assert page["totalSize"] == size
        assert len(page["records"]) == 200
        page = next_page(reading, page["nextRecordsUrl"].rpartition("/")[2])
        seen += page["records"]
    assert [row["Name"] for row in seen] == sorted(f"n{number}" for number in range(1, size + 1))


def test_an_unknown_locator_is_refused(few: Org) -> None:
    with pytest.raises(Refused, match="INVALID_QUERY_LOCATOR"):
        next_page(Reading(few, Session(PERSON_ID), "67.0"), "01gSb0000000009AAA-2000")


ROWS = org_of(
    *(
        account(
            at,
            Name=f"N{at % 7}",
            ExternalID__c=f"E{at}",
            SystemModstamp=MONTHS[at % 6],
            LastModifiedDate=MONTHS[at % 3 if at % 3 < at % 6 else at % 6],
            **({"Type": "Other"} if at % 2 else {}),
        )
        for at in range(1, 40)
    )
)
months = st.sampled_from(MONTHS)
conditions = st.one_of(
    st.builds(
        lambda op, at: f"SystemModstamp {op} {at}", st.sampled_from(["=", "<", "<=", ">", ">=", "!="]), months
    ),
    st.builds(lambda op, at: f"LastModifiedDate {op} {at}", st.sampled_from(["=", "<", ">", ">="]), months),
    st.builds(
        lambda ns: f"Name in ({', '.join(repr(f'n{n}') for n in ns)})",
        st.lists(st.integers(0, 8), min_size=1),
    ),
    st.builds(lambda n: f"ExternalID__c = 'e{n}'", st.integers(0, 45)),
    st.builds(lambda n: f"Id != '{make_id('001', 'Ts', n)[:15]}'", st.integers(1, 45)),
    st.builds(lambda n: f"Id = '{make_id('001', 'Ts', n)[:15]}'", st.integers(1, 45)),
    st.sampled_from(["Type = null", "Type != 'Other'", "Name not in ('n1', 'n2')", "Name like '%3'"]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(conditions, min_size=1, max_size=4))
def test_an_index_only_saves_time(parts: list[str]) -> None:
    """A double negation hides the condition from the choice of an index; the rows are the same."""
    where = " and ".join(parts)
    by_index = ask(ROWS, f"select Id from Account where {where} order by Id")
    by_scan = ask(ROWS, f"select Id from Account where not (not ({where})) order by Id")
    assert by_index == by_scan


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_text_can_be_asked_for_when_it_is_escaped(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    org = org_of(account(1, Name=text), account(2, Name=f"not {text}"))
    assert names(org, f"select Name from Account where Name = '{quoted}'") == [text]


@given(st.text(st.sampled_from("abcXYZ019"), min_size=15, max_size=15))
def test_an_id_is_the_same_in_15_and_18_characters_and_when_its_case_was_lost(short: str) -> None:
    long = to18(short)
    assert full_id(short) == full_id(long) == full_id(long.lower()) == full_id(long.upper()) == long


def test_the_checksum_is_the_vendors() -> None:
    assert to18("001D000000IqhSL") == "001D000000IqhSLIAZ"  # the example of Salesforce's own pages


def test_what_is_no_id_is_told_apart() -> None:
    assert [full_id(text) for text in ("", "001", "001D000000Iq-SL", "001D000000IqhSL!!!")] == [None] * 4


def test_a_store_on_disk_keeps_its_look_ups(tmp_path: Path) -> None:
    path = tmp_path / "sf.sqlite"
    for _ in range(2):
        store = Store(path)
        org = Org(store, Clock(store), Dialect(SWITCHES), make_id("00D", "Sb", 1))
        load(store, org.clock, [account(1, Name="Kept", ExternalID__c="K1")])
        assert names(org, "select Name from Account where ExternalID__c = 'k1'") == ["Kept"]
        store.close()

"""The query language of `where` and `order`, without a server."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.xero.lists import FIELDS
from sandbox.xero.where import QueryError, compile_order, compile_where

ACME = {
    "Name": "Acme Ltd",
    "EmailAddress": None,
    "IsCustomer": True,
    "ContactID": "1f0c2b1e-0000-4000-8000-000000000000",
    "UpdatedDateUTC": 1_767_225_600_000,  # 2026-01-01
    "Balances": {"AccountsReceivable": {"Outstanding": 12.5}},
}


def holds(where, record=ACME, **options):
    return compile_where(where, FIELDS, "Contact", **options)(record)


@pytest.mark.parametrize(
    "where",
    [
        'Name=="acme ltd"',
        'Name = "Acme Ltd"',
        'Name.Contains("CME")',
        'Name.ToLower().StartsWith("acme")',
        'Name.ToUpper().EndsWith("LTD")',
        'Name!="Other" AND IsCustomer==true',
        'name == "x" || IsCustomer'.replace("name", "Name"),
        "EmailAddress==null",
        'EmailAddress!=null OR Name.Contains("acme")',
        'ContactID==Guid("1F0C2B1E-0000-4000-8000-000000000000")',
        "UpdatedDateUTC>=DateTime(2026,01,01)",
        "UpdatedDateUTC < DateTime(2026, 1, 1, 0, 0, 1)",
        'UpdatedDateUTC >= DateTime.Parse("2025-12-31T23:59:59")',
        "Balances.AccountsReceivable.Outstanding > 12",
        '!(Name=="x") && (IsCustomer and !IsSupplier)',
        "Name.Length == 8",
    ],
)
def test_it_holds(where):
    assert holds(where, {"IsSupplier": False, **ACME})


@pytest.mark.parametrize(
    "where",
    [
        'EmailAddress.Contains("a")',
        'EmailAddress=="a"',
        "UpdatedDateUTC>DateTime(2026,1,1)",
        "IsCustomer==false",
    ],
)
def test_it_does_not_hold(where):
    assert not holds(where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ('Nick=="x"', "No property or field 'Nick' exists in type 'Contact' (at index 0)"),
        ('Name=="x" AND hi==1', "No property or field 'hi' exists in type 'Contact' (at index 14)"),
        (
            "Balances.Nothing.Outstanding>1",
            "No property or field 'Nothing' exists in type 'Balances' (at index 9)",
        ),
        ("Name==1", "Operator '==' incompatible with operand types 'String' and 'Decimal' (at index 4)"),
        ('ContactID=="x"', "Operator '==' incompatible with operand types 'Guid' and 'String' (at index 9)"),
        ("Name", "Expression of type 'Boolean' expected (at index 0)"),
        ('Name.Nope("x")', "No applicable method 'Nope' exists in type 'String' (at index 5)"),
        ("UpdatedDateUTC>DateTime(2026,13,1)", "Not a date (at index 15)"),
        ('Name=="x', "Syntax error (at index 6)"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(where, message):
    with pytest.raises(QueryError) as caught:
        holds(where)
    assert str(caught.value) == message


def test_a_single_equals_sign_may_be_refused():
    with pytest.raises(QueryError):
        holds('Name="x"', single_equals=False)


@given(st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=20))
def test_any_quoted_text_is_found_again(text):
    escaped = f'Name=="{text}"'
    assert holds(escaped, {"Name": text})


@given(st.text(max_size=30))
def test_any_text_is_either_read_or_refused(text):
    with suppress(QueryError):
        holds(text)


def test_order_sorts_by_several_fields_nulls_first():
    rows = [
        {"Name": "b", "UpdatedDateUTC": 1},
        {"Name": None, "UpdatedDateUTC": 2},
        {"Name": "A", "UpdatedDateUTC": 3},
    ]
    sort = compile_order("Name asc, UpdatedDateUTC DESC", FIELDS, "Contact")
    assert [row["Name"] for row in sort(rows)] == [None, "A", "b"]


def test_order_by_an_unknown_field_is_refused():
    with pytest.raises(QueryError, match="'Nick'"):
        compile_order("Nick DESC", FIELDS, "Contact")

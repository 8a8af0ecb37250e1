"""Canonical values written back: what is put reads back, what does not fit is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped_records import account, canonical, contact, default, fields, party, read, unit

from reconcile.bodies import merge_pieces, piece_of
from reconcile.kinds import KINDS
from reconcile.mapped import EntityMapping, Unit
from reconcile.normalise import Limits, limits_of, native_of, reference_piece, unfit

# A unit of every kind; what Xero can't receive flows to Salesforce only.
UNITS = {
    "text": "{salesforce: Name, xero: Name, flows: both}",
    "name": "{salesforce: Name, xero: Name, as: name, flows: both}",
    "person_name": "{salesforce: [FirstName, LastName], xero: [FirstName, LastName], "
    "as: person_name, flows: both}",
    "email": "{salesforce: Email__c, xero: EmailAddress, as: email, flows: both}",
    "phone": "{salesforce: Phone, xero: Phones.DEFAULT, as: phone, flows: both}",
    "address": "{salesforce: BillingAddress, xero: Addresses.POBOX, as: address, flows: both}",
    "website": "{salesforce: Website, xero: Website, as: website, flows: to_salesforce}",
    "country": "{salesforce: Home__c, xero: BankAccountDetails, as: country, flows: both}",
    "boolean": "{salesforce: Vip__c, xero: HasAttachments, as: boolean, flows: to_salesforce}",
    "number": "{salesforce: Discount__c, xero: Discount, as: number, flows: to_salesforce}",
    "date": "{salesforce: Since__c, xero: Since, as: date, flows: to_salesforce}",
    "lookup": "{salesforce: Industry, xero: AccountNumber, as: lookup, flows: both, "
    "lookup: {Banking: B, Energy: [E, E2]}}",
    "upper": "{salesforce: Code__c, xero: AccountNumber, as: upper, flows: both}",
    "lower": "{salesforce: Code__c, xero: AccountNumber, as: lower, flows: both}",
    "code": "{salesforce: Tax__c, xero: TaxNumber, as: code, flows: both}",
    "item_code": "{salesforce: Code__c, xero: AccountNumber, as: item_code, flows: both}",
    "price": "{salesforce: Price__c, xero: Discount, as: price, flows: both}",
}
NO_LIMITS = Limits(lengths={}, options={}, required=frozenset())

TEXTS = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            "  a  b ",
            "Jo@Acme.COM",
            "020 7946 0000",
            "+1 415 555 0100 x12",
            "0044 20 7946 0000 / 1",
            "1 High St\nLevel 2\nTower\nPark\nEstate",
            "UK",
            "Côte d'Ivoire",
            "Texas",
            "sw1a1aa",
            "https://Acme.com/",
            "Banking",
            "E2",
            "12.50",
            "1e3",
            "-0.00",
            "NaN",
            "2026-11-24",
            "/Date(1789378199100+0000)/",
        ]
    ),
)


def piece(drawn: list[Any], one: Unit, side: str) -> str:
    is_boolean = one.kind == "boolean"
    paths = one.leaves(side)
    return piece_of(
        {path: (bool(value) if is_boolean else value) for path, value in zip(paths, drawn, strict=False)}
    )


@pytest.mark.parametrize("kind", UNITS)
@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, min_size=9, max_size=9), st.one_of(st.none(), st.lists(TEXTS, min_size=9, max_size=9)))
def test_what_is_put_reads_back(kind: str, drawn: list[Any], present: list[Any] | None) -> None:
    """For every value of one side, written onto anything on the other, if nothing speaks against it."""
    entity, one = unit(UNITS[kind])
    for source, target in (("salesforce", "xero"), ("xero", "salesforce"), ("salesforce", "salesforce")):
        value = canonical(piece(drawn, one, source), entity, source)
        if not one.receives(target):
            continue
        native = native_of(value, one, target, onto=None if present is None else piece(present, one, target))
        if unfit(native, one, target, limits=NO_LIMITS) is None:
            expected = "false" if kind == "boolean" and value is None else value
            assert canonical(native, entity, target) == expected


@pytest.mark.parametrize("kind", UNITS)
@settings(max_examples=15, deadline=None)
@given(st.lists(TEXTS, min_size=9, max_size=9))
def test_a_vendor_that_trims_and_folds_blanks_changes_no_value(kind: str, drawn: list[Any]) -> None:
    entity, one = unit(UNITS[kind])
    value = canonical(piece(drawn, one, "salesforce"), entity, "salesforce")
    written = native_of(value, one, "salesforce", onto=None)
    if unfit(written, one, "salesforce", limits=NO_LIMITS) is not None:
        return
    native = json.loads(written)
    mangled = {
        path: "\n".join(" ".join(line.split()) for line in text.split("\n"))
        if isinstance(text, str)
        else text
        for path, text in native.items()
    }
    if kind == "boolean":
        return
    assert canonical(json.dumps(mangled), entity, "salesforce") == value


def test_every_kind_is_under_the_law() -> None:
    assert set(UNITS) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "salesforce", "xero"),
    [
        ("text", {"Name": None}, {"Name": ""}),
        ("person_name", {"FirstName": None, "LastName": None}, {"FirstName": "", "LastName": ""}),
        (
            "phone",
            {"Phone": None},
            {
                "Phones": [
                    {"PhoneType": "DEFAULT", "PhoneNumber": "", "PhoneAreaCode": "", "PhoneCountryCode": ""}
                ]
            },
        ),
    ],
)
def test_no_value_is_null_in_salesforce_and_empty_in_xero(
    kind: str, salesforce: object, xero: object
) -> None:
    entity, one = unit(UNITS[kind])
    assert json.loads(native_of(None, one, "salesforce", onto=None)) == salesforce
    assert json.loads(native_of(None, one, "xero", onto=None)) == xero
    assert canonical(native_of(None, one, "xero", onto=None), entity, "xero") is None


def test_the_attention_line_of_an_address_stays() -> None:
    _, one = unit(UNITS["address"])
    present = piece_of({"Addresses.POBOX.AttentionTo": "Jo", "Addresses.POBOX.AddressLine1": "1 High St"})
    for value in (
        None,
        '{"city":"Leeds","country":null,"lines":["2 Low Rd"],"postal_code":null,"region":null}',
    ):
        written = json.loads(native_of(value, one, "xero", onto=present))["Addresses"][0]
        assert written["AttentionTo"] == "Jo"
        assert written["AddressLine1"] == ("2 Low Rd" if value else "")


def test_a_field_for_a_country_code_gets_the_code() -> None:
    entity, one = unit("{salesforce: Office__c, xero: Addresses.STREET, as: address, flows: both}")
    value = canonical('{"Addresses":[{"AddressType":"STREET","Country":"England"}]}', entity, "xero")
    written = json.loads(native_of(value, one, "salesforce", onto='{"Office__CountryCode__s":"FR"}'))
    assert written["Office__CountryCode__s"] == "GB"


def test_a_street_of_lines_goes_into_xero_s_lines_and_back() -> None:
    _, one = unit(UNITS["address"])
    body = account(BillingStreet="a\nb\nc\nd\ne", BillingCity="London")
    value = read(body, side="salesforce", entity=party(f"it: {UNITS['address']}")).values["value"].item()
    slot = json.loads(native_of(value, one, "xero", onto=None))["Addresses"][0]
    assert [slot[f"AddressLine{n}"] for n in range(1, 5)] == ["a", "b", "c", "d, e"]
    back = json.loads(native_of(value, one, "salesforce", onto=None))
    assert back["BillingStreet"] == "a\nb\nc\nd, e"


def test_a_lookup_reads_all_codes_of_a_value_and_writes_the_first() -> None:
    entity, one = unit(UNITS["lookup"])
    assert canonical('{"AccountNumber":"E2"}', entity, "xero") == "Energy"
    assert native_of("Energy", one, "xero", onto=None) == '{"AccountNumber":"E"}'
    assert canonical('{"Industry":"Mining"}', entity, "salesforce") == "unmapped:Mining"


def test_a_code_without_entry_is_not_written_though_the_other_side_has_such_a_word() -> None:
    entity, one = unit(UNITS["lookup"])
    value = canonical('{"AccountNumber":"Banking"}', entity, "xero")
    assert value == "unmapped:Banking"
    assert (
        unfit(native_of(value, one, "salesforce", onto=None), one, "salesforce", limits=NO_LIMITS) is not None
    )


def test_a_table_that_is_not_one_to_one_is_compared_by_xero_s_code() -> None:
    table = "{Banking: F, Insurance: F}"
    line = f"{{salesforce: Industry, xero: AccountNumber, as: lookup, flows: to_xero, lookup: {table}}}"
    entity, _ = unit(line)
    same = [canonical(f'{{"Industry":"{name}"}}', entity, "salesforce") for name in ("Banking", "Insurance")]
    assert [*same, canonical('{"AccountNumber":"F"}', entity, "xero")] == ["F", "F", "F"]


def test_numbers_stay_exact() -> None:
    entity, one = unit(UNITS["number"])
    assert native_of("1234567890123.45", one, "salesforce", onto=None) == '{"Discount__c":1234567890123.45}'
    assert canonical('{"Discount__c":1234567890123.45}', entity, "salesforce") == "1234567890123.45"
    assert canonical('{"Discount__c":"10.50"}', entity, "salesforce") == "10.5"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1_000", "1e999", "12a", "٣"])
def test_what_only_looks_like_a_number_stays_text_and_is_not_written(text: str) -> None:
    entity, one = unit(UNITS["number"])
    assert canonical(json.dumps({"Discount__c": text}), entity, "salesforce") == text
    native = native_of(text, one, "salesforce", onto=None)
    assert unfit(native, one, "salesforce", limits=NO_LIMITS) is not None


def test_a_date_of_xero_is_the_day_that_it_shows() -> None:
    entity, _ = unit(UNITS["date"])
    assert canonical('{"Since":"/Date(1789344000000+0000)/"}', entity, "xero") == "2026-09-14"
    assert canonical('{"Since__c":"2026-09-14"}', entity, "salesforce") == "2026-09-14"


# --- What does not fit

SCHEMA = fields(
    ("salesforce", "Account", "Name", "string", 20, True, True),
    ("salesforce", "Account", "BillingCity", "string", 10, True, False),
    ("xero", "Contact", "Phones.DEFAULT.PhoneNumber", "string", 12, True, False),
)


def reason(kind: str, value: str | None, side: str, limits: Limits = NO_LIMITS) -> str | None:
    _, one = unit(UNITS[kind])
    return unfit(native_of(value, one, side, onto=None), one, side, limits=limits)


def test_a_value_that_is_too_long_is_never_cut() -> None:
    limits = limits_of(SCHEMA, "salesforce", "Account")
    assert reason("name", "x" * 21, "salesforce", limits) == "Name: found 21 characters, expected 20 at most"
    assert reason("name", "x" * 20, "salesforce", limits) is None
    address = '{"city":"Llanfairpwll","country":null,"lines":[],"postal_code":null,"region":null}'
    assert (
        reason("address", address, "salesforce", limits)
        == "BillingCity: found 12 characters, expected 10 at most"
    )


def test_a_required_field_is_not_cleared() -> None:
    limits = limits_of(SCHEMA, "salesforce", "Account")
    assert reason("name", None, "salesforce", limits) == "Name: it is required, and would be cleared"
    assert reason("name", None, "xero") == "Name: it is required, and would be cleared"


def test_a_picklist_that_is_closed_takes_only_its_values() -> None:
    limits = Limits(lengths={}, options={"Industry": frozenset({"Banking"})}, required=frozenset())
    assert reason("lookup", "Banking", "salesforce", limits) is None
    assert (
        reason("lookup", "Energy", "salesforce", limits) == "Industry: the value is not one of its picklist"
    )


@pytest.mark.parametrize(
    ("kind", "value", "side", "expected"),
    [
        ("name", "A <b>", "xero", "Xero takes no < or > in a name"),
        ("name", "A <b>", "salesforce", None),
        ("email", "jo", "salesforce", "not an e-mail address"),
        ("email", "jürgen@x.de", "xero", "no letters beyond ASCII"),
        ("email", "jürgen@x.de", "salesforce", None),
        ("lookup", "unmapped:Mining", "xero", "no entry in the unit's lookup table"),
        ("number", "12345678901234567890", "salesforce", "not a number that JSON carries exactly"),
        ("date", "soon", "salesforce", "not a date"),
        ("country", "Sector 7", "xero", "names no country that is known"),
        ("country", "Atlantis", "xero", None),
    ],
)
def test_what_a_system_does_not_take_is_said_without_the_value(
    kind: str, value: str, side: str, expected: str | None
) -> None:
    found = reason(kind, value, side)
    assert (found is None) if expected is None else (found is not None and expected in found)
    assert found is None or value not in found


# --- Bodies of pieces


def test_pieces_of_one_record_become_one_body() -> None:
    phone, fax, name = (default().unit(one) for one in ("phone", "fax", "name"))
    natives = [
        native_of("+442079460000", phone, "xero", onto=None),
        native_of("raw:12", fax, "xero", onto=None),
        native_of("Acme", name, "xero", onto=None),
    ]
    body = merge_pieces(natives)
    assert body["Name"] == "Acme"
    assert {slot["PhoneType"]: slot["PhoneNumber"] for slot in body["Phones"]} == {
        "DEFAULT": "79460000",
        "FAX": "12",
    }
    assert merge_pieces(reversed(natives)) == body


def test_the_whole_record_reads_back_from_its_pieces() -> None:
    source = account(
        Name="Acme",
        Phone="020 7946 0000",
        Fax="0161 496 0000",
        BillingStreet="1 High St",
        ShippingCity="Leeds",
    )
    rows = read(source, side="salesforce").values
    entity: EntityMapping = default()
    natives = [
        native_of(row["value"], entity.unit(row["unit"]), "xero", onto=None)
        for row in rows.iter_rows(named=True)
    ]
    made = read({**contact(), **merge_pieces(natives)}, side="xero").values
    assert made["value"].to_list() == rows["value"].to_list()


def test_a_reference_piece_holds_the_other_side_s_id() -> None:
    assert reference_piece(default(), "salesforce", "x:primary") == '{"ExternalID__c":"x:primary"}'
    assert reference_piece(default(), "xero", "001") == '{"ContactNumber":"001"}'
    assert reference_piece(default("person"), "xero", "003") == "{}"

"""Raw rows into records and values."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped_records import PULLED, XERO_ID, account, contact, default, mapping, party, raw, read, values_of

from reconcile.model import BASES, LINKS, RECORDS, REJECTS, VALUES, conform
from reconcile.normalise import base_values, canonical_values, canonicalise, long_id, observed_pieces, pieces

OWN_ID = "001A0000000000bIAA"


def record(canonical: object, name: str, row: int = 0) -> object:
    return canonical.records[name][row]  # type: ignore[attr-defined]


# --- Records


def test_the_frames_have_their_schemas() -> None:
    for side, body in (("salesforce", account()), ("xero", contact(Name="A"))):
        canonical = read(body, "nonsense", side=side)
        assert canonical.records.schema == pl.Schema(dict(RECORDS))
        assert canonical.rejects.schema == pl.Schema(dict(REJECTS))
        for frame in (canonical.values, canonical.projections, canonical.references):
            assert frame.schema == pl.Schema(dict(VALUES))
        assert canonical.context.columns == ["record_id", "region", "creatable"]


def test_no_rows_give_empty_frames_of_the_same_schema() -> None:
    for side in ("salesforce", "xero"):
        canonical = read(side=side)
        assert len(canonical.records) == len(canonical.values) == len(canonical.rejects) == 0
        assert canonical.records.schema == pl.Schema(dict(RECORDS))


@pytest.mark.parametrize(
    ("fields", "status", "merged_into"),
    [
        ({}, "active", None),
        ({"IsDeleted": True}, "deleted", None),
        ({"IsDeleted": True, "MasterRecordId": OWN_ID[:15]}, "merged", OWN_ID),
    ],
)
def test_salesforce_tells_deleted_and_merged(
    fields: dict[str, object], status: str, merged_into: str | None
) -> None:
    canonical = read(account(**fields), side="salesforce")
    assert (record(canonical, "status"), record(canonical, "merged_into")) == (status, merged_into)


@pytest.mark.parametrize(
    ("fields", "status", "merged_into"),
    [
        ({}, "active", None),
        ({"ContactStatus": None}, "active", None),
        ({"ContactStatus": "ARCHIVED"}, "archived", None),
        ({"ContactStatus": "GDPRREQUEST"}, "archived", None),
        ({"ContactStatus": "SOMETHING_NEW"}, "archived", None),
        (
            {"ContactStatus": "ARCHIVED", "MergedToContactID": XERO_ID.format(2).upper()},
            "merged",
            XERO_ID.format(2),
        ),
        ({"MergedToContactID": "00000000-0000-0000-0000-000000000000"}, "active", None),
        ({"MergedToContactID": ""}, "active", None),
    ],
)
def test_xero_tells_archived_and_merged_and_what_is_unknown_is_never_written(
    fields: dict[str, object], status: str, merged_into: str | None
) -> None:
    canonical = read(contact(**fields), side="xero")
    assert (record(canonical, "status"), record(canonical, "merged_into")) == (status, merged_into)


def test_a_row_gone_from_a_sweep_is_deleted() -> None:
    for side, body in (("salesforce", account()), ("xero", contact(Name="A"))):
        assert record(read(body, side=side, deleted=True), "status") == "deleted"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/Date(1789378199100+0000)/", datetime(2026, 9, 14, 9, 29, 59, 100_000, tzinfo=UTC)),
        ("/Date(1789378199100)/", datetime(2026, 9, 14, 9, 29, 59, 100_000, tzinfo=UTC)),
        ("/Date(1789378199100+1200)/", datetime(2026, 9, 14, 9, 29, 59, 100_000, tzinfo=UTC)),
        ("/Date(0+0000)/", datetime(1970, 1, 1, tzinfo=UTC)),
        ("/Date(-1000+0000)/", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-09-14T09:29:59Z", datetime(2026, 9, 14, 9, 29, 59, tzinfo=UTC)),
        ("2026-09-14T09:29:59", datetime(2026, 9, 14, 9, 29, 59, tzinfo=UTC)),
        ("yesterday", PULLED),
        (None, PULLED),
    ],
)
def test_the_instant_of_a_xero_row_survives_every_form(given: str | None, expected: datetime) -> None:
    assert record(read(contact(UpdatedDateUTC=given), side="xero"), "modified_at") == expected


def test_the_instant_and_author_of_a_salesforce_row_are_read() -> None:
    row = account(SystemModstamp="2026-09-14T11:29:59.000+0200", LastModifiedById="005A1")
    canonical = read(row, side="salesforce")
    assert record(canonical, "modified_at") == datetime(2026, 9, 14, 9, 29, 59, tzinfo=UTC)
    assert record(canonical, "modified_by") == "005A1"


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        (OWN_ID, OWN_ID),
        (OWN_ID[:15], OWN_ID),
        ("CUST-17", None),
        ("003A0000000000bQAQ", None),
        ("", None),
        (None, None),
    ],
)
def test_a_contact_number_is_a_reference_only_in_the_form_of_our_id(
    given: str | None, reference: str | None
) -> None:
    assert record(read(contact(ContactNumber=given), side="xero"), "reference") == reference


def test_a_foreign_contact_number_is_shown_and_is_no_reference() -> None:
    canonical = read(contact(ContactNumber=" CUST-17"), side="xero")
    row = canonical.references.row(0, named=True)
    assert (row["unit"], row["value"], row["native"]) == (
        "reference",
        "CUST-17",
        '{"ContactNumber":" CUST-17"}',
    )
    assert record(canonical, "reference") is None


def test_salesforce_carries_the_contact_id_of_xero_in_small_letters() -> None:
    assert record(read(account(ExternalID__c=XERO_ID.format(1).upper()), side="salesforce"), "reference") == (
        XERO_ID.format(1)
    )
    assert record(read(account(ExternalID__c="ERP-1"), side="salesforce"), "reference") is None


@given(st.text(alphabet="abcXYZ059", min_size=15, max_size=15))
def test_ids_that_differ_in_case_alone_differ_without_regard_to_case_once_long(short: str) -> None:
    full, other = long_id(short), long_id(short.swapcase())
    assert full is not None and other is not None
    assert full.startswith(short) and long_id(full) == full
    assert (full.lower() == other.lower()) == (short == short.swapcase())


def test_a_known_id_has_its_known_suffix() -> None:
    assert long_id("001D000000IqhSL") == "001D000000IqhSLIAZ"


# --- Persons


def test_a_contact_with_a_name_has_a_primary_person() -> None:
    canonical = read(
        contact(1, FirstName="Jo", LastName="Bloggs"),
        contact(2, FirstName=" ", LastName=None),
        side="xero",
        entity=default("person"),
    )
    assert canonical.records["record_id"].to_list() == [f"{XERO_ID.format(1)}:primary"]
    assert record(canonical, "parent_id") == XERO_ID.format(1)
    assert values_of(canonical)["name"] == '{"first":"Jo","last":"Bloggs"}'


def test_a_merged_person_leads_to_the_person_of_the_survivor() -> None:
    row = contact(1, FirstName="Jo", MergedToContactID=XERO_ID.format(2))
    canonical = read(row, side="xero", entity=default("person"))
    assert record(canonical, "merged_into") == f"{XERO_ID.format(2)}:primary"


def test_a_person_in_salesforce_has_its_account_and_reference() -> None:
    row = {
        **dict.fromkeys(default("person").fields("salesforce")),
        "Id": "003A0000000000bQAQ",
        "AccountId": OWN_ID[:15],
        "ExternalID__c": f"{XERO_ID.format(1)}:primary",
    }
    canonical = read(row, side="salesforce", entity=default("person"))
    assert record(canonical, "parent_id") == OWN_ID
    assert record(canonical, "reference") == f"{XERO_ID.format(1)}:primary"


@pytest.mark.parametrize(
    ("address", "first", "owner"),
    [
        ("jo@acme.com", "Jo", "person"),
        ("accounts@acme.com", "Jo", "party"),
        ("Accounts.Payable+xero@acme.com", "Jo", "party"),
        ("jo@acme.com", None, "party"),
        ("accounts@acme.com", None, "party"),
        ("", "Jo", "person"),
        (None, None, "party"),
    ],
)
def test_xero_s_one_email_is_observed_for_its_owner_alone(
    address: str | None, first: str | None, owner: str
) -> None:
    body = contact(EmailAddress=address, FirstName=first)
    seen = {
        entity: read(body, side="xero", entity=default(entity)).values.filter(
            (pl.col("unit") == "email") & pl.col("observed")
        )
        for entity in ("party", "person")
    }
    assert [entity for entity, rows in seen.items() if len(rows)] == [owner]
    for entity in ("party", "person"):
        assert ("email" in observed_pieces(body, default(entity), "xero")) == (entity == owner)


# --- Observed or not


def test_a_unit_is_observed_only_if_all_its_fields_were_read() -> None:
    seen = default().fields("salesforce") - {"BillingCity", "Phone"}
    values = values_of(read(account(Name="A"), side="salesforce", observed=seen))
    assert "billing_address" not in values and "phone" not in values
    assert "shipping_address" in values and "fax" in values


def test_a_whole_field_stands_for_what_is_inside_it() -> None:
    values = values_of(
        read(contact(Name="A"), side="xero", observed=frozenset({"Name", "Phones", "Addresses"}))
    )
    assert set(values) == {"name", "phone", "fax", "billing_address", "shipping_address"}


def test_a_key_that_a_salesforce_row_lacks_is_not_a_cleared_field() -> None:
    old_row = account(Name="A")
    del old_row["Phone"]
    values = values_of(read(old_row, account(2, Name="B"), side="salesforce"))
    assert "phone" not in values and values["fax"] is None


def test_the_name_of_a_field_inside_a_text_is_no_key() -> None:
    row = account(Name='say "Phone": twice')
    del row["Phone"]
    assert "phone" not in values_of(read(row, side="salesforce"))


def test_xero_leaves_out_blank_texts_but_never_its_lists() -> None:
    stub = {"ContactID": XERO_ID.format(1), "ContactStatus": "ACTIVE", "Name": "A"}
    values = values_of(read(stub, side="xero"))
    assert values["tax_number"] is None
    assert "phone" not in values and "billing_address" not in values


def test_a_person_who_asked_to_be_forgotten_shows_no_value() -> None:
    body = contact(
        ContactStatus="GDPRREQUEST", Name="Secret", FirstName="Secret", EmailAddress="secret@x.com"
    )
    for entity in ("party", "person"):
        canonical = read(body, side="xero", entity=default(entity))
        assert record(canonical, "in_scope") is False
        assert values_of(canonical) == {}
        shown = "".join(
            str(getattr(canonical, name).to_dicts()) for name in ("values", "projections", "references")
        )
        assert "ecret" not in shown
        assert observed_pieces(body, default(entity), "xero") == {}


# --- Values


def test_both_systems_give_one_value_for_one_thing() -> None:
    salesforce = account(
        Name="Acme  Ltd ",
        Phone="020 7946 0000",
        BillingStreet="1 High St\nLevel 2",
        BillingCity="London",
        BillingPostalCode="sw1a 1aa",
        BillingCountry="UK",
        Billing_Email__c="Accounts@ACME.com",
        Tax_Number__c="GB 123 4567 89",
    )
    xero = contact(
        Name="Acme Ltd",
        EmailAddress="accounts@acme.com",
        FirstName="Jo",
        TaxNumber="GB123456789",
        Phones=[
            {
                "PhoneType": "DEFAULT",
                "PhoneCountryCode": "44",
                "PhoneAreaCode": "020",
                "PhoneNumber": "79460000",
            }
        ],
        Addresses=[
            {
                "AddressType": "POBOX",
                "AddressLine1": "1 High St",
                "AddressLine2": "Level 2",
                "City": "London",
                "PostalCode": "SW1A1AA",
                "Country": "United Kingdom",
                "AttentionTo": "Jo",
            }
        ],
    )
    ours, theirs = values_of(read(salesforce, side="salesforce")), values_of(read(xero, side="xero"))
    assert ours == theirs
    assert ours["phone"] == "+442079460000"


def test_a_phone_is_read_in_the_country_of_its_address() -> None:
    here = account(Phone="(02) 9876 5432")
    there = account(2, Phone="(02) 9876 5432", ShippingCountry="Australia")
    canonical = read(here, there, side="salesforce")
    assert values_of(canonical, 0)["phone"] == "raw:0298765432"
    assert values_of(canonical, 1)["phone"] == "+61298765432"
    assert canonical.context["region"].to_list() == ["GB", "AU"]


def test_the_native_piece_is_the_vendor_s_own_and_holds_only_the_unit() -> None:
    canonical = read(
        contact(Name=" Acme ", TaxNumber="1", Phones=[{"PhoneType": "FAX", "PhoneNumber": "12"}]), side="xero"
    )
    natives = dict(zip(canonical.values["unit"], canonical.values["native"], strict=True))
    assert natives["name"] == '{"Name":" Acme "}'
    assert json.loads(natives["fax"]) == {
        "Phones": [{"PhoneAreaCode": None, "PhoneCountryCode": None, "PhoneNumber": "12", "PhoneType": "FAX"}]
    }


texts = st.one_of(st.none(), st.text(max_size=8))
bodies = st.fixed_dictionaries(
    {
        "ContactID": st.just(XERO_ID.format(1)),
        "Name": texts,
        "TaxNumber": texts,
        "EmailAddress": texts,
        "FirstName": texts,
        "Phones": st.lists(
            st.fixed_dictionaries(
                {"PhoneType": st.sampled_from(["DEFAULT", "FAX", "DDI"]), "PhoneNumber": texts}
            ),
            max_size=3,
        ),
        "Addresses": st.lists(
            st.fixed_dictionaries(
                {"AddressType": st.sampled_from(["POBOX", "STREET"]), "City": texts, "AttentionTo": texts}
            ),
            max_size=2,
        ),
    }
)


@settings(max_examples=40)
@given(st.lists(bodies, min_size=1, max_size=3))
def test_one_record_s_pieces_are_the_same_text_as_the_frame_s(drawn: list[dict[str, object]]) -> None:
    numbered = [{**body, "ContactID": XERO_ID.format(n)} for n, body in enumerate(drawn)]
    canonical = read(*numbered, side="xero")
    for body in numbered:
        rows = canonical.values.filter((pl.col("record_id") == body["ContactID"]) & pl.col("observed"))
        assert dict(zip(rows["unit"], rows["native"], strict=True)) == observed_pieces(
            body, default(), "xero"
        )
        assert set(pieces(body, default(), "xero")) == set(canonical.values["unit"])


@settings(max_examples=40)
@given(bodies)
def test_a_stored_piece_has_the_value_that_the_row_had(body: dict[str, object]) -> None:
    canonical = read(body, side="xero")
    again = canonical_values(canonical.values.select("side", "unit", "native"), default(), region="GB")
    assert again["value"].to_list() == canonical.values["value"].to_list()


def test_projections_stand_beside_the_values_of_both_sides() -> None:
    shown = read(account(Xero_Customer__c=False, Xero_Status__c="active"), side="salesforce").projections
    known = read(contact(IsCustomer=True, ContactStatus="ARCHIVED"), side="xero").projections
    assert dict(zip(shown["unit"], shown["value"], strict=True)) == {
        "is_customer": "false",
        "is_supplier": None,
        "status": "active",
    }
    assert dict(zip(known["unit"], known["value"], strict=True)) == {
        "is_customer": "true",
        "is_supplier": None,
        "status": "archived",
    }
    assert known.filter(pl.col("unit") == "is_supplier")["observed"].item() is False


# --- Scope


def test_a_scope_looks_at_fields_units_and_roles() -> None:
    def in_scope(side: str, rule: str, body: dict[str, object]) -> bool:
        text = (
            "entities: {party: {salesforce: {object: Account%s}, xero: {object: Contact%s}, units: "
            "{phone: {salesforce: Phone, xero: Phones.DEFAULT, as: phone, flows: both}}}}"
        )
        scope = f', scope: "{rule}"'
        entity = mapping(text % ((scope, "") if side == "salesforce" else ("", scope))).entities["party"]
        return bool(record(read(body, side=side, entity=entity), "in_scope"))

    assert in_scope("salesforce", "Type is distinct from 'Competitor'", account(Type=None))
    assert not in_scope("salesforce", "Type is distinct from 'Competitor'", account(Type="Competitor"))
    assert in_scope("salesforce", "phone = '+442079460000'", account(Phone="020 7946 0000"))
    assert in_scope("xero", "is_customer", contact(IsCustomer=True))
    assert not in_scope("xero", "is_customer", contact())
    assert in_scope("xero", "status = 'archived'", contact(ContactStatus="ARCHIVED"))
    assert in_scope("xero", "IsCustomer and BankAccountDetails is null", contact(IsCustomer=True))


def test_what_may_be_made_on_the_other_side_follows_the_rule_of_that_side() -> None:
    from mappings import library
    from reconcile.mapping import load_mapping

    demo = load_mapping(library()["demo"], name="demo.yaml", library=library()).entities["party"]
    ours = read(
        account(1, Type="Customer - Direct"), account(2, Type="Prospect"), side="salesforce", entity=demo
    )
    theirs = read(contact(1, IsCustomer=True), contact(2), side="xero", entity=demo)
    assert ours.context["creatable"].to_list() == [True, False]
    assert theirs.context["creatable"].to_list() == [True, False]
    assert read(account(), side="salesforce").context["creatable"].to_list() == [True]


# --- Rows at fault


BROKEN = [
    "not json",
    "",
    None,
    "[]",
    "null",
    "5",
    '"text"',
    '{"ContactID": ',
    '{"a":1},{"b":2}',
    '{"ContactID": "5f4dcc3b-0000-4000-8000-000000000099"}',
    '{"Name": NaN}x',
    "<html>sorry</html>",
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_row_that_can_t_be_read_is_set_aside_and_stays_known(broken: str | None) -> None:
    canonical = read(contact(1, Name="A"), broken, contact(3, Name="C"), side="xero")
    assert canonical.rejects.select("record_id", "unit", "reason").rows() == [
        ("unknown2", None, "the body is not the JSON of this record")
    ]
    assert canonical.records["in_scope"].to_list() == [True, False, True]
    assert [values_of(canonical, row).get("name") for row in range(3)] == ["A", None, "C"]
    assert values_of(canonical, 1) == {}


def test_rows_that_shift_each_other_can_t_change_places() -> None:
    """Two objects in one row and one object in two rows: parsed as one text, their number would be right."""
    rows = raw(
        contact(1, Name="A"), contact(2, Name="B"), contact(3, Name="C"), contact(4, Name="D"), side="xero"
    )
    first, second, third, fourth = rows["body"]
    shifted = rows.with_columns(body=pl.Series([f"{first},{second}", third, fourth[:-1], '"x":1}']))
    canonical = canonicalise(shifted, default(), "xero", observed=default().fields("xero"), region="GB")
    assert set(canonical.rejects["record_id"]) == set(rows["record_id"])
    assert not canonical.values["observed"].any()


@pytest.mark.parametrize(
    ("fields", "units"),
    [
        ({"Name": ["A"]}, {"name"}),
        ({"Name": {"a": 1}}, {"name"}),
        ({"Phones": 5}, {"phone", "fax"}),
        ({"Phones": ["a"]}, {"phone", "fax"}),
        ({"Phones": [{"PhoneType": "FAX", "PhoneNumber": [1]}]}, {"fax"}),
        ({"Addresses": {"POBOX": {}}}, {"billing_address", "shipping_address"}),
    ],
)
def test_a_wrong_type_sets_its_own_unit_aside_and_nothing_else(
    fields: dict[str, object], units: set[str]
) -> None:
    body = contact(1, **{"Name": "A", **fields}, TaxNumber="T1")
    canonical = read(contact(2, Name="B"), body, side="xero")
    assert set(canonical.rejects["unit"]) == units
    seen = values_of(canonical, 1)
    assert units.isdisjoint(seen) and seen["tax_number"] == "T1"
    assert values_of(canonical, 0)["name"] == "B"
    assert record(canonical, "in_scope", 1) is True


def test_a_reject_names_type_and_place_and_no_value() -> None:
    reasons = read(contact(1, Name=["Secret Name"]), side="xero").rejects["reason"].to_list()
    assert reasons == ["Name: found a list, expected a text"]


def test_numbers_and_booleans_pass_as_texts_where_a_text_is_expected() -> None:
    canonical = read(contact(1, Name="A", AccountNumber=17, TaxNumber=True, Phones=[5]), side="xero")
    assert values_of(canonical)["account_number"] == "17"
    assert values_of(read(contact(1, AccountNumber=17), side="xero"))["account_number"] == "17"


def test_a_boolean_in_quotes_is_one() -> None:
    shown = read(account(Xero_Customer__c="true"), side="salesforce").projections
    assert shown.filter(pl.col("unit") == "is_customer")["value"].item() == "true"


GROUPS = mapping(
    "extends: [default]\nentities: {party: {projections: {groups: {salesforce: Xero_Groups__c, from: groups}}}}"
).entities["party"]


@pytest.mark.parametrize(
    ("fields", "seen", "shown"),
    [
        ({"ContactGroups": [{"Name": "b "}, {"Name": "a"}, {"Name": None}]}, True, "a; b"),
        ({"ContactGroups": []}, True, None),
        ({}, False, None),
        ({"ContactGroups": None}, False, None),
        ({"ContactGroups": 5}, False, None),
        ({"ContactGroups": ["a"]}, False, None),
        ({"ContactGroups": [{"Name": "a"}], "ContactStatus": "GDPRREQUEST"}, False, None),
    ],
)
def test_groups_are_shown_in_one_order_as_far_as_they_are_told(
    fields: dict[str, object], seen: bool, shown: str | None
) -> None:
    canonical = read(contact(1, Name="A", **fields), contact(2, Name="B"), side="xero", entity=GROUPS)
    (row,) = canonical.projections.filter(pl.col("unit") == "groups").head(1).to_dicts()
    assert (row["observed"], row["value"]) == (seen, shown)
    assert record(canonical, "in_scope") is ("ContactStatus" not in fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
odd_bodies = st.one_of(
    st.text(max_size=20),
    st.none(),
    st.dictionaries(
        st.sampled_from(
            sorted({path.partition(".")[0] for path in default().fields("xero")} - {"ContactID"})
        ),
        json_values,
        max_size=4,
    ),
)


@settings(max_examples=80)
@given(st.lists(odd_bodies, min_size=1, max_size=4))
def test_no_row_however_odd_stops_or_hides_another(drawn: list[object]) -> None:
    good = contact(9, Name="Good", TaxNumber="T9")
    canonical = read(*drawn, good, side="xero")
    assert len(canonical.records) == len(drawn) + 1
    last = values_of(canonical, len(drawn))
    assert last["name"] == "Good" and last["tax_number"] == "T9"


def test_one_bad_row_among_many_is_found() -> None:
    many = [contact(n, Name=f"N{n}") for n in range(3000)]
    rows = raw(*many, side="xero").with_columns(
        body=pl.when(pl.int_range(pl.len()).is_in([7, 2999])).then(pl.lit("oops")).otherwise("body")
    )
    canonical = canonicalise(rows, default(), "xero", observed=default().fields("xero"), region="GB")
    assert canonical.rejects["record_id"].to_list() == [rows["record_id"][7], rows["record_id"][2999]]
    names = canonical.values.filter((pl.col("unit") == "name") & pl.col("observed"))
    assert names["value"].to_list() == [f"N{n}" for n in range(3000) if n not in (7, 2999)]


# --- Bases


def test_a_base_is_read_in_the_region_of_its_record_today() -> None:
    """A national number whose address names a country is not changed by being compared with its base."""
    entity = default()
    ours = read(account(Phone="(02) 9876 5432", BillingCountry="Australia"), side="salesforce")
    theirs = read(contact(Name="A"), side="xero")
    links = conform(
        pl.DataFrame({"link_id": ["l"], "salesforce_id": [account()["Id"]], "xero_id": [XERO_ID.format(1)]}),
        LINKS,
    )
    native = ours.values.filter(pl.col("unit") == "phone")["native"].item()
    bases = conform(
        pl.DataFrame({"link_id": ["l", "other"], "side": "salesforce", "unit": "phone", "native": native}),
        BASES,
    )
    found = base_values(bases, links, entity, ours, theirs, region="GB")
    assert found.select("link_id", "entity", "kind", "value").rows() == [
        ("l", "party", "phone", "+61298765432")
    ]


def test_a_base_of_a_unit_that_the_mapping_dropped_has_no_value() -> None:
    frame = pl.DataFrame({"side": ["xero"], "unit": ["gone"], "native": ['{"Name":"A"}']})
    assert canonical_values(
        frame, party("it: {salesforce: Name, xero: Name, flows: both}"), region="GB"
    ).select("kind", "value").rows() == [(None, None)]


@pytest.mark.parametrize(
    ("native", "kept"),
    [
        ('{"Phone":null}', True),
        (None, True),
        ('{"MobilePhone":"020 7946 0000"}', False),
        ('{"Description":"say \\"Phone\\":"}', False),
    ],
)
def test_a_base_of_other_fields_than_the_unit_means_today_is_no_base(native: str | None, kept: bool) -> None:
    """Else the first look at a newly mapped field would be a change, and be written over the other side."""
    assert (len(bases_of("salesforce", "phone", native)) == 1) == kept


def test_a_base_of_another_slot_is_no_base() -> None:
    fax = '{"Phones":[{"PhoneAreaCode":"","PhoneCountryCode":"","PhoneNumber":"1","PhoneType":"FAX"}]}'
    assert len(bases_of("xero", "fax", fax)) == 1
    assert len(bases_of("xero", "phone", fax)) == 0
    assert len(bases_of("xero", "dropped", fax)) == 0


def bases_of(side: str, unit: str, native: str | None) -> pl.DataFrame:
    ours, theirs = read(account(Name="A"), side="salesforce"), read(contact(Name="A"), side="xero")
    links = pl.DataFrame(
        {"link_id": ["l"], "salesforce_id": [account()["Id"]], "xero_id": [XERO_ID.format(1)]}
    )
    bases = conform(pl.DataFrame({"link_id": ["l"], "side": side, "unit": unit, "native": native}), BASES)
    return base_values(bases, conform(links, LINKS), default(), ours, theirs, region="GB")

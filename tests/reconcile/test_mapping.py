"""The mapping language: what it gives, and how it says what is wrong."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapped_records import default, fields, mapping

from mappings import library
from reconcile.errors import FixMapping, UnknownField, UnknownObject, WrongMapping
from reconcile.mapping import check_mapping, load_mapping

SMALL = """\
entities:
  party:
    salesforce: {object: Account, reference: ExternalID__c}
    xero: {object: Contact, reference: ContactNumber}
    units:
      name: {salesforce: Name, xero: Name, as: name, flows: both}
      phone: {salesforce: Phone, xero: Phones.DEFAULT, as: phone, flows: to_xero}
"""


def load(text: str) -> FixMapping:
    """The error of a mapping that must not load."""
    with pytest.raises(FixMapping) as caught:
        mapping(text)
    return caught.value


def with_unit(line: str) -> str:
    return SMALL + f"      it: {line}\n"


# --- What it gives


def test_every_shipped_mapping_loads() -> None:
    for name in library():
        # Some are laid beside another, and are no whole by themselves.
        assert load_mapping(f"extends: [default, {name}]", name="mapping.yaml", library=library()).entities


def test_the_default_is_careful() -> None:
    for entity in (default("party"), default("person")):
        assert entity.create == {"salesforce": "never", "xero": "on_demand"}
        assert entity.delete == "never"
        assert {(unit.conflict, unit.drift, unit.fill) for unit in entity.units} == {("ask", "report", True)}


def test_the_default_covers_the_units_of_a_party_and_a_person() -> None:
    assert [unit.name for unit in default("party").units] == [
        "name",
        "phone",
        "fax",
        "billing_address",
        "shipping_address",
        "email",
        "tax_number",
        "company_number",
        "account_number",
    ]
    assert {projection.name: projection.salesforce for projection in default("party").projections} == {
        "is_customer": "Xero_Customer__c",
        "is_supplier": "Xero_Supplier__c",
        "status": "Xero_Status__c",
    }
    assert default("person").unit("name").xero == ("FirstName", "LastName")


def test_the_demo_makes_customers_on_both_sides() -> None:
    demo = load_mapping(library()["demo"], name="demo.yaml", library=library()).entities["party"]
    rules = {side: rule.sql for side, rule in demo.create_when.items() if rule}
    assert demo.create == {"salesforce": "always", "xero": "always"}
    assert rules == {"salesforce": "is_customer", "xero": "Type like 'Customer%'"}
    assert demo.units == default("party").units


def test_an_address_stands_for_its_five_fields() -> None:
    unit = default().unit("billing_address")
    assert unit.salesforce == (
        "BillingStreet",
        "BillingCity",
        "BillingState",
        "BillingPostalCode",
        "BillingCountry",
    )
    assert unit.leaves("xero")[0] == "Addresses.POBOX.AddressLine1"
    assert unit.leaves("xero")[-1] == "Addresses.POBOX.AttentionTo"


def test_a_custom_address_field_and_own_fields_serve_as_an_address() -> None:
    custom = mapping(
        with_unit("{salesforce: Head_Office__c, xero: Addresses.STREET, as: address, flows: both}")
    )
    assert custom.entities["party"].unit("it").salesforce[0] == "Head_Office__Street__s"
    own = "{street: A__c, city: B__c, region: C__c, postal_code: D__c, country: E__c}"
    named = mapping(with_unit(f"{{salesforce: {own}, xero: Addresses.STREET, as: address, flows: both}}"))
    assert named.entities["party"].unit("it").salesforce == ("A__c", "B__c", "C__c", "D__c", "E__c")


def test_the_fields_to_read_hold_units_scopes_references_and_roles() -> None:
    demo = load_mapping(library()["demo"], name="demo.yaml", library=library())
    salesforce, xero = demo.fields("salesforce"), demo.fields("xero")
    assert set(salesforce) == {"Account", "Contact", "Opportunity", "OpportunityLineItem"}
    assert set(xero) == {"Contact", "Invoice", "Account", "Item", "TaxRate", "Organisation"}
    assert {"Name", "BillingStreet", "Type", "ExternalID__c", "Xero_Customer__c"} <= salesforce["Account"]
    assert {"SystemModstamp", "IsDeleted", "MasterRecordId", "LastModifiedById"} <= salesforce["Account"]
    assert "AccountId" in salesforce["Contact"]
    assert {"Phones.DEFAULT.PhoneNumber", "ContactNumber", "IsCustomer", "FirstName"} <= xero["Contact"]


def test_owner_comes_from_the_direction_where_none_is_named() -> None:
    party = mapping(SMALL).entities["party"]
    assert party.unit("phone").owner == "salesforce"
    assert party.unit("name").owner is None


def test_the_winner_of_a_conflict_is_the_owner_or_the_side_that_is_named() -> None:
    def winner(policy: str) -> str | None:
        text = with_unit(
            f"{{salesforce: Fax, xero: Phones.FAX, as: phone, flows: both, owner: xero, conflict: {policy}}}"
        )
        return mapping(text).entities["party"].unit("it").winner

    assert [winner(policy) for policy in ("ask", "owner", "salesforce", "xero")] == [
        None,
        "xero",
        "salesforce",
        "xero",
    ]


def test_yaml_does_not_guess_types_in_tables() -> None:
    text = with_unit(
        "{salesforce: A__c, xero: AccountNumber, as: lookup, flows: both, lookup: {NO: 007, on: 1e3}}"
    )
    lookup = mapping(text).entities["party"].unit("it").lookup
    assert lookup is not None
    assert lookup.write["xero"] == {"NO": "007", "on": "1e3"}


def test_defaults_are_read_as_json_would_and_ids_stay_texts() -> None:
    text = SMALL.replace(
        "{object: Account, ",
        "{object: Account, defaults: {OwnerId: 005000000000017, Active__c: true, Rank__c: 3, Code__c: '3'}, ",
    )
    assert mapping(text).entities["party"].salesforce.defaults == {
        "OwnerId": "005000000000017",
        "Active__c": True,
        "Rank__c": 3,
        "Code__c": "3",
    }


# --- extends


def extended(text: str, **names: str) -> object:
    return load_mapping(text, name="mine.yaml", library={**library(), **names})


def test_a_child_changes_one_key_and_keeps_the_rest() -> None:
    mine = mapping("extends: [default]\nentities: {party: {units: {phone: {flows: to_xero}}}}")
    phone = mine.entities["party"].unit("phone")
    assert (phone.flows, phone.kind, phone.xero) == ("to_xero", "phone", ("Phones.DEFAULT",))
    assert mine.entities["person"] == default("person")


def test_null_removes_a_unit() -> None:
    mine = mapping("extends: default\nentities: {party: {units: {fax: null}}}")
    assert not mine.entities["party"].has_unit("fax")


def test_removing_what_is_not_there_names_the_nearest() -> None:
    error = load("extends: [default]\nentities:\n  party:\n    units:\n      fx: null\n")
    assert str(error).startswith(
        "mine.yaml:5: entities.party.units.fx: found nothing to remove: 'fx', expected 'fax'"
    )


def test_a_lookup_table_is_replaced_whole() -> None:
    base = with_unit(
        "{salesforce: A__c, xero: AccountNumber, as: lookup, flows: both, lookup: {a: '1', b: '2'}}"
    )
    mine = load_mapping(
        "extends: base\nentities: {party: {units: {it: {lookup: {c: '3'}}}}}",
        name="mine.yaml",
        library={"base": base},
    )
    lookup = mine.entities["party"].unit("it").lookup
    assert lookup is not None and set(lookup.write["xero"]) == {"c"}


def test_the_last_of_several_parents_lies_on_top() -> None:
    one = "entities: {party: {units: {phone: {flows: to_xero}}}}"
    two = "entities: {party: {units: {phone: {flows: to_salesforce}}}}"
    mine = load_mapping(
        "extends: [base, one, two]", name="m.yaml", library={"base": SMALL, "one": one, "two": two}
    )
    assert mine.entities["party"].unit("phone").flows == "to_salesforce"


def test_an_error_in_a_parent_names_the_parent_s_file() -> None:
    with pytest.raises(WrongMapping, match=r"^one\.yaml:1: entities\.party\.units\.phone\.flows: found 'up'"):
        load_mapping(
            "extends: [base, one]",
            name="m.yaml",
            library={"base": SMALL, "one": "entities: {party: {units: {phone: {flows: up}}}}"},
        )


def test_a_mapping_that_extends_itself_is_refused() -> None:
    with pytest.raises(WrongMapping, match="extends itself"):
        load_mapping("extends: a", name="m.yaml", library={"a": "extends: b", "b": "extends: a"})


def test_an_unknown_parent_names_the_nearest() -> None:
    assert "'default' (the nearest of" in str(load("extends: defualt"))


# --- Errors name place, found, expected and the nearest right name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "mine.yaml:1: entities: found no entity"),
        ("entities: {}", "mine.yaml:1: entities: found no entity"),
        ("entities: 5", "mine.yaml:1: entities: found no entity"),
        ("- a", "mine.yaml:1: found a list, expected keys and values"),
        ("entities:\n  party: [", "mine.yaml:2: not valid YAML"),
        ("entitys: {}", "mine.yaml:1: found the key 'entitys', expected 'entities'"),
        ("entities:\n  partys: {}", "mine.yaml:2: entities: found the key 'partys', expected 'party'"),
        ("a: &x 1\nentities: *x", "mine.yaml:2: found an alias (*x)"),
        ("entities: !!python/name:os.system", "mine.yaml:1: found the tag"),
        ("entities: {}\n---\nentities: {}", "mine.yaml:2: not valid YAML"),
        ("? [a]\n: b", "mine.yaml:1: found a key that is no text"),
        (
            SMALL + "      phone: {salesforce: Fax}\n",
            "mine.yaml:8: found the key 'phone' twice (first in line 7)",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, as: phnoe, flows: both}"),
            "mine.yaml:8: entities.party.units.it.as: found 'phnoe', expected 'phone' (the nearest of text",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, as: phone, flow: both}"),
            "mine.yaml:8: entities.party.units.it: found the key 'flow', expected 'flows'",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, as: phone, flows: to_zero}"),
            "mine.yaml:8: entities.party.units.it.flows: found 'to_zero', expected 'to_xero'",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, as: phone}"),
            "mine.yaml:8: entities.party.units.it: found no 'flows'",
        ),
        (
            with_unit("{salesforce: [Fax, Phone], xero: Phones.FAX, as: phone, flows: both}"),
            "it.salesforce: found 2 fields, expected one field for `as: phone`",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FACS, as: phone, flows: both}"),
            "it.xero: found 'Phones.FACS', expected 'Phones.FAX'",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, flows: both}"),
            "it.xero: found 'Phones.FAX' with `as: text`, expected `as: phone`",
        ),
        (
            with_unit("{salesforce: Fax, xero: faxNumber, as: text, flows: both}"),
            "it.xero: found 'faxNumber', expected a field of Xero",
        ),
        (
            with_unit("{salesforce: Billing, xero: Addresses.POBOX, as: address, flows: both}"),
            "it.salesforce: found 'Billing', expected an address",
        ),
        (
            with_unit("{salesforce: Fax; drop, xero: AccountNumber, flows: both}"),
            "it.salesforce: found 'Fax; drop', expected the name of one field",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, as: phone, flows: both, fill: maybe}"),
            "it.fill: found 'maybe', expected one of true, false",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, as: phone, flows: both, conflict: owner}"),
            "it.conflict: found 'owner' without an owner",
        ),
        (
            with_unit("{salesforce: Fax, xero: Phones.FAX, as: phone, flows: both, drift: heal}"),
            "it.drift: found 'heal' without an owner",
        ),
        (
            with_unit("{salesforce: Site__c, xero: Website, as: website, flows: both}"),
            "it.flows: found 'both' with `as: website`, which can't be written to Xero, expected 'to_sales",
        ),
        (
            with_unit("{salesforce: Days__c, xero: PaymentTerms.Sales.Day, flows: both}"),
            "it.flows: found 'both' into 'PaymentTerms.Sales.Day', a field inside another",
        ),
        (
            with_unit("{salesforce: Phone, xero: Phones.DEFAULT, as: phone, flows: both}"),
            "mine.yaml:8: entities.party.units.it: found 'Phones.DEFAULT.PhoneCountryCode' of Xero, "
            "which phone writes too",
        ),
        (
            with_unit("{salesforce: ExternalID__c, xero: AccountNumber, flows: both}"),
            "found 'ExternalID__c' of Salesforce, which salesforce.reference writes too",
        ),
        (
            with_unit("{salesforce: A__c, xero: AccountNumber, as: lookup, flows: both}"),
            "it.lookup: found no table",
        ),
        (
            with_unit("{salesforce: A__c, xero: AccountNumber, flows: both, lookup: {a: b}}"),
            "it.lookup: found a table with `as: text`",
        ),
        (
            with_unit(
                "{salesforce: A__c, xero: AccountNumber, as: lookup, flows: both, lookup: {a: '1', b: '1'}}"
            ),
            "it.lookup: found '1' for 'a' and for 'b', expected one value of Salesforce for each of Xero",
        ),
        (
            SMALL + "      status: {salesforce: A__c, xero: AccountNumber, flows: both}\n",
            "'status', which is taken",
        ),
        (
            SMALL + "      Fax: {salesforce: A__c, xero: AccountNumber, flows: both}\n",
            "a name in small letters",
        ),
        (
            SMALL.replace("reference: ExternalID__c", "scope: typ = 'x'"),
            "the name 'typ', expected one of name, phone",
        ),
        (SMALL.replace("reference: ExternalID__c", "scope: nmae = 'x'"), "the name 'nmae', expected 'name'"),
        (SMALL.replace("reference: ExternalID__c", "scope: is_customer"), "the name 'is_customer'"),
        (
            SMALL.replace("reference: ExternalID__c", "scope: Type + 1"),
            "mine.yaml:3: entities.party.salesforce.scope:",
        ),
        (SMALL + "    create: {xero: sometimes}\n", "create.xero: found 'sometimes', expected one of never"),
        (SMALL + "    create: {xero: {when: phone is null}}\n", "create.xero: found no 'policy'"),
        (SMALL + "    delete: always\n", "delete: found 'always', expected one of never"),
        (
            SMALL + "    projections: {x: {salesforce: A__c, from: is_custmer}}\n",
            "found 'is_custmer', expected 'is_customer'",
        ),
    ],
)
def test_an_error_names_place_found_and_expected(text: str, expected: str) -> None:
    error = load(text)
    assert expected in str(error)
    assert str(error).endswith("Correct the mapping and run the command again.")


def test_a_table_that_is_not_one_to_one_may_flow_to_xero_only() -> None:
    line = "{salesforce: A__c, xero: AccountNumber, as: lookup, flows: to_xero, lookup: {a: '1', b: '1'}}"
    assert mapping(with_unit(line)).entities["party"].unit("it").lookup is not None


def test_a_unit_that_only_looks_at_a_field_does_not_write_it() -> None:
    mapping(with_unit("{salesforce: Other_Phone__c, xero: Phones.DEFAULT, as: phone, flows: to_salesforce}"))


@given(st.text(max_size=80))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    with pytest.raises(FixMapping, match=r"^mine\.yaml:\d+: "):
        mapping(text)


@given(st.data())
def test_a_broken_line_of_a_good_mapping_is_named_or_harmless(data: st.DataObject) -> None:
    lines = library()["default"].splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[number])))
    junk = data.draw(st.text(alphabet="{}[]:,'\"#&*!|>%@`-? abc\t", min_size=1, max_size=3))
    lines[number] = lines[number][:at] + junk + lines[number][at:]
    try:
        mapping("\n".join(lines))
    except FixMapping as error:
        assert str(error).startswith("mine.yaml:")


# --- The hash


def test_comments_order_and_layout_do_not_change_the_hash() -> None:
    shuffled = """\
# the same, in another order
entities:
  party:
    units:
      phone:
        as: phone   # a comment
        flows: "to_xero"
        xero: Phones.DEFAULT
        salesforce: [Phone]
      name: {flows: both, as: name, xero: Name, salesforce: Name}
    xero: {reference: ContactNumber, object: Contact}
    salesforce: {reference: ExternalID__c, object: Account}
"""
    assert mapping(shuffled).hash == mapping(SMALL).hash


def test_extending_without_change_keeps_the_hash() -> None:
    both = load_mapping("extends: base", name="mine.yaml", library={"base": SMALL})
    assert both.hash == mapping(SMALL).hash


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("flows: to_xero", "flows: both"),
        ("Phones.DEFAULT", "Phones.MOBILE"),
        ("salesforce: Phone", "salesforce: Fax"),
        ("reference: ContactNumber", "reference: ContactNumber, scope: phone is not null"),
        ("flows: both}", "flows: both, conflict: xero}"),
        ("      name:", "      title:"),
        ("object: Account,", "object: Account, defaults: {A__c: 1},"),
    ],
)
def test_every_change_of_meaning_changes_the_hash(before: str, after: str) -> None:
    assert mapping(SMALL.replace(before, after)).hash != mapping(SMALL).hash


# --- Against the systems

SCHEMA = [
    ("salesforce", "Account", "Name", "string", 255, True, True),
    ("salesforce", "Account", "Phone", "phone", 40, True, False),
    ("salesforce", "Account", "ExternalID__c", "string", 255, True, False),
    ("salesforce", "Account", "Vip__c", "boolean", None, True, False),
    ("salesforce", "Account", "Score__c", "double", None, False, False),
    ("salesforce", "Account", "Short__c", "string", 20, True, False),
    ("salesforce", "Account", "Type", "picklist", 40, True, False),
    ("xero", "Contact", "Name", "string", 255, True, False),
    ("xero", "Contact", "ContactNumber", "string", 50, True, False),
    ("xero", "Contact", "AccountNumber", "string", 50, True, False),
    ("xero", "Contact", "Website", "string", None, False, False),
    *[
        ("xero", "Contact", f"Phones.{slot}.{leaf}", "string", 50, True, False)
        for slot in ("DEFAULT", "FAX")
        for leaf in ("PhoneNumber", "PhoneAreaCode", "PhoneCountryCode")
    ],
]


def check(text: str, *more: tuple[str, str, str, str, int | None, bool, bool]) -> None:
    check_mapping(mapping(text), fields(*SCHEMA, *more))


def test_a_mapping_that_fits_both_schemas_passes() -> None:
    check(SMALL)


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(
        UnknownField, match=r"mine\.yaml:7: .*Salesforce Account has no field 'Phon'; the nearest is 'Phone'"
    ):
        check(SMALL.replace("salesforce: Phone", "salesforce: Phon"))


def test_a_field_in_wrong_capitals_names_the_right_ones() -> None:
    with pytest.raises(UnknownField, match="the nearest is 'ExternalID__c'"):
        check(SMALL.replace("ExternalID__c", "externalid__C"))


def test_an_unknown_object_names_the_nearest() -> None:
    with pytest.raises(UnknownObject, match=r"Salesforce has no object 'Acount'; the nearest is 'Account'"):
        check(SMALL.replace("object: Account", "object: Acount"))


def test_a_field_in_a_rule_is_looked_up_too() -> None:
    with pytest.raises(UnknownField, match="no field 'Typ'; the nearest is 'Type'"):
        check(SMALL.replace("reference: ExternalID__c", "scope: Typ = 'x'"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            with_unit("{salesforce: Score__c, xero: AccountNumber, as: text, flows: to_salesforce}"),
            "'Score__c' of Salesforce Account, which can't be written",
        ),
        (
            with_unit("{salesforce: Short__c, xero: Website, as: text, flows: both}"),
            "'Website' of Xero Contact, which can't be written, expected `flows: to_salesforce`",
        ),
        (
            with_unit("{salesforce: Vip__c, xero: AccountNumber, as: text, flows: to_salesforce}"),
            "'Vip__c', which is of type boolean, with `as: text`",
        ),
        (
            SMALL + "    projections: {is_customer: {salesforce: Short__c, from: is_customer}}\n",
            "'Short__c', which is of type string, with `as: boolean`",
        ),
        (SMALL.replace("ExternalID__c", "Short__c"), "'Short__c', of 20 characters, expected 44"),
        (
            SMALL.replace("flows: both}", "flows: to_salesforce}") + "    create: {xero: always}\n",
            "no value for 'Name', which a new Contact needs",
        ),
        (
            SMALL.replace("flows: both}", "flows: to_xero}") + "    create: {salesforce: ask}\n",
            "no value for 'Name', which a new Account needs",
        ),
        (
            SMALL.replace("reference: ExternalID__c", "defaults: {Score__c: 5}"),
            "a default for 'Score__c', which can't be set",
        ),
    ],
)
def test_what_does_not_fit_the_schema_is_named(text: str, expected: str) -> None:
    with pytest.raises(WrongMapping) as caught:
        check(text)
    assert expected in str(caught.value) and str(caught.value).startswith("mine.yaml:")


def test_a_required_field_is_satisfied_by_a_default() -> None:
    text = SMALL + "    create: {salesforce: ask}\n"
    needed = ("salesforce", "Account", "Region__c", "picklist", 40, True, True)
    with pytest.raises(WrongMapping, match="Region__c"):
        check(text, needed)
    check(text.replace("object: Account,", "object: Account, defaults: {Region__c: EMEA},"), needed)


def test_nothing_is_required_where_nothing_is_made() -> None:
    check(SMALL, ("salesforce", "Account", "Region__c", "picklist", 40, True, True))


def test_the_frames_of_fields_may_be_empty_and_say_so() -> None:
    with pytest.raises(UnknownObject, match="Salesforce has no object 'Account'"):
        check_mapping(mapping(SMALL), pl.DataFrame(schema=dict(fields(*SCHEMA).schema)))

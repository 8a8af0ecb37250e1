"""Under every value of every switch: what was read and written back stays, and no page loses a contact."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sandbox
from sandbox.dialect import Dialect
from sandbox.xero.mangle import ADDRESS, ADDRESS_TYPES, PHONE, PHONE_TYPES, TEXTS, clean
from sandbox.xero.switches import SWITCHES

CHOICES = [(switch.name, value) for switch in SWITCHES for value in switch.values]
WRITABLE = (*TEXTS, "Phones", "Addresses", "ContactPersons", "TaxNumberType")
MESSY = {
    "Name": " Acme  &  Sons (Leeds) Ltd",
    "FirstName": "Ann ",
    "LastName": "O'Neil  Smith",
    "EmailAddress": "Ann@Acme.test",
    "TaxNumber": "GB 123 4567 89",
    "TaxNumberType": "EIN",
    "ContactNumber": "0015g00000XyZabAAB",
    "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": "+44 20 7946 0000"}],
    "Addresses": [{"AddressType": "POBOX", "AddressLine1": " 1  High St", "Country": "Côte d'Ivoire"}],
    "ContactPersons": [{"FirstName": "Bo", "EmailAddress": "bo@acme.test", "IncludeInEmails": True}],
}
TIDY = {"Name": "Acme & Sons (Leeds) Ltd", "Addresses": [{"AddressType": "POBOX", "Country": "Wales"}]}


@pytest.mark.parametrize("name", sorted({name for name, _ in CHOICES}))
def test_what_is_read_and_written_back_stays_as_it_is(xero, name):
    for switch, value in [choice for choice in CHOICES if choice[0] == name]:
        xero.control("reset", {})
        xero.choose(**{switch: value})
        reply = xero.put(MESSY)
        if reply.status_code == 400:
            reply = xero.put({**MESSY, **TIDY})
        contact_id = reply.json()["Contacts"][0]["ContactID"]
        (before,) = xero.get(page=1)
        sent = {field: before[field] for field in WRITABLE if field in before}
        assert xero.post({"ContactID": contact_id, **sent}).status_code == 200
        (after,) = xero.get(page=1)
        assert {**after, "UpdatedDateUTC": ""} == {**before, "UpdatedDateUTC": ""}, (switch, value)


@pytest.mark.parametrize(
    ("switch", "value"), [c for c in CHOICES if c[0] in ("page_size", "default_order", "merged_contacts")]
)
def test_pages_together_give_each_contact_once(xero, switch, value):
    xero.choose(**{switch: value})
    made = xero.put(*({"Name": f"Contact {n:03}"} for n in range(120))).json()["Contacts"]
    seen, page = [], 1
    while rows := xero.get(page=page, pageSize=50, includeArchived="true"):
        seen += [row["ContactID"] for row in rows]
        page += 1
    assert sorted(seen) == sorted(one["ContactID"] for one in made)


def outcome(xero, **contact):
    """How a POST without id went: the id, or None when it was refused."""
    (row,) = xero.post(contact, summarizeErrors="false").json()["Contacts"]
    return row["ContactID"] if row["StatusAttributeString"] == "OK" else None


@pytest.mark.parametrize(
    ("rule", "same_number", "other_number"),
    [("match", True, True), ("match_unless_number", True, False), ("refuse", False, False)],
)
def test_a_name_without_an_id_matches_by_dialect(xero, rule, same_number, other_number):
    xero.choose(name_match_on_post=rule)
    made = xero.make(Name="Numbered", ContactNumber="N1")
    plain = xero.make(Name="Plain")
    assert (outcome(xero, Name="plain") == plain["ContactID"]) is same_number
    assert (outcome(xero, Name="numbered", ContactNumber="N2") == made["ContactID"]) is other_number


@pytest.mark.parametrize(("rule", "made_again"), [("new", True), ("refuse", False)])
def test_the_name_of_an_archived_contact_may_be_new_or_refused(xero, rule, made_again):
    xero.choose(archived_name_on_post=rule)
    made = xero.make(ContactStatus="ARCHIVED")
    found = outcome(xero, Name="Acme")
    assert (found is not None) is made_again
    assert found != made["ContactID"]


@pytest.mark.parametrize(("rule", "status"), [("taken", 400), ("freed", 200)])
def test_the_number_of_an_archived_contact_may_be_free(xero, rule, status):
    xero.choose(numbers_of_archived=rule)
    xero.make(ContactNumber="N1", ContactStatus="ARCHIVED")
    assert xero.put({"Name": "Other", "ContactNumber": "N1"}).status_code == status


@pytest.mark.parametrize(("rule", "area"), [("merge", "20"), ("replace", "")])
def test_keys_left_out_of_a_slot_stay_or_go(xero, rule, area):
    xero.choose(slot_write=rule)
    made = xero.make(Phones=[{"PhoneType": "FAX", "PhoneAreaCode": "20", "PhoneNumber": "1"}])
    slot = {"PhoneType": "FAX", "PhoneNumber": "2"}
    (changed,) = xero.post({"ContactID": made["ContactID"], "Phones": [slot]}).json()["Contacts"]
    fax = next(phone for phone in changed["Phones"] if phone["PhoneType"] == "FAX")
    assert (fax["PhoneNumber"], fax["PhoneAreaCode"]) == ("2", area)


@pytest.mark.parametrize(("rule", "kept"), [("keep", "Ann"), ("clear", None)])
def test_a_null_keeps_or_clears(xero, rule, kept):
    xero.choose(null_on_write=rule)
    made = xero.make(FirstName="Ann")
    (changed,) = xero.post({"ContactID": made["ContactID"], "FirstName": None}).json()["Contacts"]
    assert changed.get("FirstName") == kept


@pytest.mark.parametrize(("rule", "moves"), [("moves_stamp", True), ("keeps_stamp", False)])
def test_a_write_that_changes_nothing_moves_the_stamp_or_not(xero, rule, moves):
    xero.choose(unchanged_write=rule)
    made = xero.make()
    xero.control("clock", {"move_s": 5})
    (again,) = xero.post({"ContactID": made["ContactID"], "Name": "Acme"}).json()["Contacts"]
    assert (again["UpdatedDateUTC"] != made["UpdatedDateUTC"]) is moves


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ("inclusive", ["at", "same second", "later"]),
        ("exclusive", ["same second", "later"]),
        ("exclusive_second", ["later"]),
    ],
)
def test_the_boundary_of_if_modified_since(xero, rule, seen):
    xero.choose(if_modified_since=rule)
    at = 1_790_000_000_000
    for name, ms in {"before": at - 1, "at": at, "same second": at + 999, "later": at + 1000}.items():
        xero.load([{"Name": name, "UpdatedDateUTC": f"/Date({ms}+0000)/"}])
    reply = xero.call("GET", "Contacts", headers={"If-Modified-Since": "2026-09-21T14:13:20"}, page=1)
    assert [row["Name"] for row in reply.json()["Contacts"]] == seen


@pytest.mark.parametrize(("rule", "saved"), [("saves_nothing", []), ("saves_good", ["Good"])])
def test_a_batch_that_fails_as_a_whole_saves_nothing_or_the_good(xero, rule, saved):
    xero.choose(failed_batch=rule)
    assert xero.put({"Name": "Good"}, {"Name": "Bad <b>"}).status_code == 400
    assert [row["Name"] for row in xero.get()] == saved


@pytest.mark.parametrize(
    ("rule", "moved"), [("both", [True, True]), ("loser", [True, False]), ("none", [False, False])]
)
def test_a_merge_moves_stamps_by_dialect(xero, rule, moved):
    xero.choose(merge_stamps=rule)
    pair = [xero.make(Name=name)["ContactID"] for name in ("loser", "survivor")]
    before = {row["ContactID"]: row["UpdatedDateUTC"] for row in xero.dump()}
    xero.control("clock", {"move_s": 5})
    xero.control("merge-contacts", {"loser": pair[0], "survivor": pair[1]})
    after = {row["ContactID"]: row["UpdatedDateUTC"] for row in xero.dump()}
    assert [before[one] != after[one] for one in pair] == moved


def test_a_merged_contact_may_be_hidden_from_lists(xero):
    pair = [xero.make(Name=name)["ContactID"] for name in ("loser", "survivor")]
    xero.control("merge-contacts", {"loser": pair[0], "survivor": pair[1]})
    assert len(xero.get(includeArchived="true")) == 2
    xero.choose(merged_contacts="hidden")
    assert len(xero.get(includeArchived="true")) == 1
    assert xero.get(f"Contacts/{pair[0]}")[0]["MergedToContactID"] == pair[1]


def test_an_archived_contact_may_be_opened_again_by_dialect(xero):
    made = xero.make(ContactStatus="ARCHIVED")
    assert xero.post({"ContactID": made["ContactID"], "ContactStatus": "ACTIVE"}).status_code == 400
    xero.choose(unarchive="allow")
    assert xero.post({"ContactID": made["ContactID"], "ContactStatus": "ACTIVE"}).status_code == 200


dialects = st.fixed_dictionaries({switch.name: st.sampled_from(switch.values) for switch in SWITCHES})
texts = st.text(max_size=60) | st.sampled_from(["+44 20 7946 0000", " a  b ", "Côte d'Ivoire 9", "A@B.test"])


def slots(key, types, names):
    slot = st.fixed_dictionaries({key: st.sampled_from(types)}, optional=dict.fromkeys(names, texts))
    return st.lists(slot, max_size=3)


contacts = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(TEXTS, texts),
        "Phones": slots("PhoneType", PHONE_TYPES, PHONE),
        "Addresses": slots("AddressType", ADDRESS_TYPES, ADDRESS),
    },
)


def as_sent(values):
    listed = {
        name: [{key: kind, **slot} for kind, slot in values[name].items()]
        for name, key in (("Phones", "PhoneType"), ("Addresses", "AddressType"))
        if name in values
    }
    return {**values, **listed}


@settings(max_examples=200, deadline=None)
@given(contacts, dialects)
def test_what_was_cleaned_once_is_not_changed_by_cleaning_it_again(sent, chosen):
    dialect = Dialect(SWITCHES)
    dialect.choose(**chosen)
    once, errors = clean(sent, dialect)
    if errors:
        return
    assert clean(as_sent(once), dialect) == (once, [])


def test_the_readme_lists_every_switch_with_its_values():
    text = (Path(sandbox.__file__).parent / "README.md").read_text(encoding="utf-8")
    for switch in SWITCHES:
        values = ", ".join(f"`{str(one).lower() if isinstance(one, bool) else one}`" for one in switch.values)
        assert f"| `{switch.name}` | {values} | {switch.evidence} | {switch.about} |" in text


def cleaned(sent, **chosen):
    dialect = Dialect(SWITCHES)
    dialect.choose(**chosen)
    return clean(sent, dialect)


@pytest.mark.parametrize(
    ("switch", "value", "given_text", "result"),
    [
        ("name_whitespace", "tidy", {"Name": " A  B "}, {"Name": "A B"}),
        ("name_whitespace", "trim", {"Name": " A  B "}, {"Name": "A  B"}),
        ("name_whitespace", "refuse", {"Name": " A  B "}, None),
        ("angle_brackets_in_name", "refuse", {"Name": "A <B>"}, None),
        ("angle_brackets_in_name", "keep", {"Name": "A <B>"}, {"Name": "A <B>"}),
        ("text_whitespace", "tidy", {"LastName": " A  B "}, {"LastName": "A B"}),
        ("text_whitespace", "keep", {"LastName": " A  B "}, {"LastName": " A  B "}),
        ("too_long", "refuse", {"TaxNumber": "1" * 51}, None),
        ("too_long", "truncate", {"TaxNumber": "1" * 51}, {"TaxNumber": "1" * 50}),
        ("email_case", "lower", {"EmailAddress": "A@B.Test"}, {"EmailAddress": "a@b.test"}),
        ("email_invalid", "refuse", {"EmailAddress": "müller@b.test"}, None),
        ("email_invalid", "keep", {"EmailAddress": "no mail"}, {"EmailAddress": "no mail"}),
    ],
)
def test_a_text_is_mangled_by_dialect(switch, value, given_text, result):
    values, errors = cleaned(given_text, **{switch: value})
    assert (values, errors) == (result, []) if result else errors


@pytest.mark.parametrize(
    ("rule", "result"),
    [
        ("keep", {"PhoneNumber": "+44 20 7946 0000"}),
        ("squeeze", {"PhoneNumber": "+442079460000"}),
        ("split", {"PhoneNumber": "7946 0000", "PhoneAreaCode": "20", "PhoneCountryCode": "44"}),
    ],
)
def test_a_phone_is_reformatted_by_dialect(rule, result):
    sent = {"Phones": [{"PhoneType": "FAX", "PhoneNumber": "+44 20 7946 0000"}]}
    assert cleaned(sent, phone_format=rule) == ({"Phones": {"FAX": result}}, [])


@pytest.mark.parametrize(
    ("rule", "result"), [("strip", "Cte dIvoire"), ("keep", "Côte d'Ivoire"), ("refuse", None)]
)
def test_a_country_is_mangled_by_dialect(rule, result):
    sent = {"Addresses": [{"AddressType": "STREET", "Country": "Côte d'Ivoire"}]}
    values, errors = cleaned(sent, country=rule)
    assert values["Addresses"]["STREET"]["Country"] == result if result else errors


@pytest.mark.parametrize(("rule", "status"), [("insensitive", 400), ("sensitive", 200)])
def test_numbers_compare_by_dialect(xero, rule, status):
    xero.choose(number_case=rule)
    xero.make(Name="One", ContactNumber="n1", AccountNumber="a1")
    assert xero.put({"Name": "Two", "ContactNumber": "N1", "AccountNumber": "A1"}).status_code == status


@pytest.mark.parametrize(("rule", "count"), [("failed", 1), ("all", 2)])
def test_a_400_lists_the_failed_or_all_elements(xero, rule, count):
    xero.choose(error_elements=rule)
    assert len(xero.put({"Name": "Good"}, {"Name": "Bad <b>"}).json()["Elements"]) == count


@pytest.mark.parametrize(("rule", "people"), [("replace", ["Bo"]), ("append", ["Ann", "Bo"])])
def test_contact_persons_are_replaced_or_added(xero, rule, people):
    xero.choose(contact_persons_write=rule)
    made = xero.make(ContactPersons=[{"FirstName": "Ann"}])
    (after,) = xero.post({"ContactID": made["ContactID"], "ContactPersons": [{"FirstName": "Bo"}]}).json()[
        "Contacts"
    ]
    assert [one["FirstName"] for one in after["ContactPersons"]] == people


@pytest.mark.parametrize(("rule", "ltd_number"), [("kept", "N1"), ("cleared", None)])
def test_a_merged_contact_keeps_its_number_or_loses_it(xero, rule, ltd_number):
    xero.choose(merged_number=rule)
    pair = [
        xero.make(Name=name, ContactNumber=number)["ContactID"] for name, number in (("a", "N1"), ("b", "N2"))
    ]
    xero.control("merge-contacts", {"loser": pair[0], "survivor": pair[1]})
    assert xero.get(f"Contacts/{pair[0]}")[0].get("ContactNumber") == ltd_number


@pytest.mark.parametrize(("rule", "shown"), [(True, 1), (False, 0)])
def test_ids_show_the_archived_by_dialect(xero, rule, shown):
    xero.choose(ids_show_archived=rule)
    made = xero.make(ContactStatus="ARCHIVED")
    assert len(xero.get(IDs=made["ContactID"])) == shown


@pytest.mark.parametrize(("rule", "status"), [("clamp", 200), ("refuse", 400)])
def test_a_page_above_a_thousand_is_clamped_or_refused(xero, rule, status):
    xero.choose(page_size_over_1000=rule)
    reply = xero.call("GET", "Contacts", page=1, pageSize=1001)
    assert reply.status_code == status
    assert status == 400 or reply.json()["pagination"]["pageSize"] == 1000


@pytest.mark.parametrize(
    ("rule", "seeded", "written"),
    [("as_recorded", False, True), ("absent", False, False), ("empty", True, True)],
)
def test_blanks_are_shown_by_dialect(xero, rule, seeded, written):
    xero.choose(blanks_in_reads=rule)
    xero.load([{"Name": "Seeded"}])
    xero.make(Name="Written")
    shown = {row["Name"]: "PhoneNumber" in row["Phones"][0] for row in xero.get(page=1)}
    assert shown == {"Seeded": seeded, "Written": written}


def test_details_are_shown_with_a_page_and_without_one_by_dialect(xero):
    xero.make(ContactPersons=[{"FirstName": "Ann"}], SalesDefaultAccountCode="200")
    (paged,), (unpaged,) = xero.get(page=1), xero.get()
    assert (paged["SalesDefaultAccountCode"], len(paged["ContactPersons"])) == ("200", 1)
    assert ("SalesDefaultAccountCode" in unpaged, unpaged["ContactPersons"]) == (False, [])
    xero.choose(unpaged_details="present")
    assert xero.get() == [paged]


def test_a_prefixed_tax_number_type_is_read_and_may_be_sent(xero):
    xero.make(TaxNumberType="TAXNUMBERTYPE/SSN")
    assert xero.get()[0]["TaxNumberType"] == "SSN"
    xero.choose(tax_number_type="prefixed")
    assert xero.get()[0]["TaxNumberType"] == "TAXNUMBERTYPE/SSN"


def test_no_switch_is_without_use():
    code = "".join(path.read_text() for path in (Path(sandbox.__file__).parent / "xero").glob("*.py"))
    assert [switch.name for switch in SWITCHES if f'dialect["{switch.name}"]' not in code] == []

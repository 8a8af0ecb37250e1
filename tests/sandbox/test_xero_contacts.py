"""Contacts by plain HTTP, as the recordings and the facts say."""

from __future__ import annotations

import re

import pytest

NO_ID = "00000000-0000-0000-0000-000000000000"
UNKNOWN = "9ac1f7b0-0000-4000-8000-000000000000"


def messages(element):
    return [one["Message"] for one in element["ValidationErrors"]]


def names(contacts):
    return [contact["Name"] for contact in contacts]


def test_a_created_contact_comes_back_with_all_its_slots_and_a_stamp(xero):
    made = xero.make(Phones=[{"PhoneType": "DEFAULT", "PhoneNumber": "020 7946 0000"}])
    assert [phone["PhoneType"] for phone in made["Phones"]] == ["DEFAULT", "DDI", "FAX", "MOBILE"]
    assert made["Phones"][0]["PhoneNumber"] == "020 7946 0000"
    assert [address["AddressType"] for address in made["Addresses"]] == ["STREET", "POBOX"]
    assert re.fullmatch(r"/Date\(\d{13}\+0000\)/", made["UpdatedDateUTC"])
    assert "StatusAttributeString" not in made


def test_the_envelope_has_an_id_a_status_and_a_date_without_offset(xero):
    body = xero.call("GET", "Contacts").json()
    assert body["Status"] == "OK"
    assert re.fullmatch(r"/Date\(\d{13}\)/", body["DateTimeUTC"])
    assert "pagination" not in body


def test_blank_fields_are_absent_in_reads_of_what_the_api_never_wrote(xero):
    xero.load([{"Name": "Eastside Club"}])
    (contact,) = xero.get(page=1)
    assert contact["Phones"] == [{"PhoneType": kind} for kind in ("DDI", "DEFAULT", "FAX", "MOBILE")]
    assert contact["Addresses"] == [{"AddressType": "POBOX"}, {"AddressType": "STREET"}]
    assert "EmailAddress" not in contact


def test_a_partial_update_leaves_the_rest_and_an_empty_text_clears(xero):
    made = xero.make(
        FirstName="Ann", EmailAddress="a@acme.test", Phones=[{"PhoneType": "FAX", "PhoneNumber": "1"}]
    )
    changed = xero.post({"ContactID": made["ContactID"], "EmailAddress": ""}).json()["Contacts"][0]
    assert changed["FirstName"] == "Ann"
    assert "EmailAddress" not in changed
    assert {p["PhoneType"]: p["PhoneNumber"] for p in changed["Phones"]}["FAX"] == "1"


def test_an_update_by_the_path_needs_no_id_in_the_body(xero):
    made = xero.make()
    reply = xero.call("POST", f"Contacts/{made['ContactID']}", {"Contacts": [{"FirstName": "Ann"}]})
    assert reply.json()["Contacts"][0]["FirstName"] == "Ann"
    assert names(xero.get()) == ["Acme"]


def test_a_duplicate_name_is_refused_as_a_whole_with_the_recorded_words(xero):
    xero.make()
    reply = xero.put({"Name": "Other"}, {"Name": "ACME", "EmailAddress": "a@b.test"})
    body = reply.json()
    assert reply.status_code == 400
    assert (body["ErrorNumber"], body["Type"]) == (10, "ValidationException")
    (element,) = body["Elements"]
    assert element["ContactID"] == NO_ID
    assert element["HasValidationErrors"] is True
    assert messages(element) == [
        "The contact name ACME is already assigned to another contact. "
        "The contact name must be unique across all active contacts."
    ]
    assert names(xero.get()) == ["Acme"]


def test_without_summarised_errors_the_good_elements_are_saved_and_the_bad_echo_what_was_asked(xero):
    made = xero.make()
    xero.post({"ContactID": made["ContactID"], "ContactStatus": "ARCHIVED"})
    reply = xero.post(
        {"ContactID": made["ContactID"], "Name": "Wanted"}, {"Name": "Other"}, summarizeErrors="False"
    )
    assert reply.status_code == 200
    bad, good = reply.json()["Contacts"]
    assert (bad["StatusAttributeString"], good["StatusAttributeString"]) == ("ERROR", "OK")
    assert (bad["Name"], bad["ContactID"]) == ("Wanted", made["ContactID"])
    assert messages(bad) == [
        "The specified contact details matched an archived contact. "
        "Archived contacts cannot currently be edited via the API."
    ]
    assert names(xero.get()) == ["Other"]


def test_a_failed_create_without_summarised_errors_carries_the_zero_id(xero):
    xero.make()
    (bad,) = xero.put({"Name": "Acme"}, summarizeErrors="false").json()["Contacts"]
    assert bad["ContactID"] == NO_ID


def test_archiving_frees_the_name_and_hides_the_contact(xero):
    made = xero.make()
    xero.post({"ContactID": made["ContactID"], "ContactStatus": "ARCHIVED"})
    assert xero.get() == []
    again = xero.make()
    assert again["ContactID"] != made["ContactID"]
    assert len(xero.get(includeArchived="True")) == 2


def test_an_unknown_contact_id_in_a_write_is_404_for_the_whole(xero):
    reply = xero.post({"Name": "Good"}, {"ContactID": UNKNOWN, "Name": "Bad"}, summarizeErrors="false")
    assert (reply.status_code, reply.content) == (404, b"")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert xero.get() == []


def test_an_unknown_contact_is_404_as_html_without_a_body(xero):
    reply = xero.call("GET", f"Contacts/{UNKNOWN}")
    assert (reply.status_code, reply.content) == (404, b"")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"


def test_a_contact_is_found_by_its_number_in_the_path(xero):
    made = xero.make(ContactNumber="0015g00000XyZab")
    (found,) = xero.get("Contacts/0015g00000XyZab")
    assert found["ContactID"] == made["ContactID"]
    assert found["Attachments"] == []


def test_post_matches_by_number_before_name(xero):
    numbered = xero.make(Name="One", ContactNumber="N1")
    xero.make(Name="Two")
    changed = xero.post({"Name": "One again", "ContactNumber": "N1"}).json()["Contacts"][0]
    assert changed["ContactID"] == numbered["ContactID"]


def test_put_refuses_a_number_or_account_number_that_is_taken(xero):
    xero.make(Name="One", ContactNumber="N1", AccountNumber="A1")
    reply = xero.put(
        {"Name": "Two", "ContactNumber": "n1"},
        {"Name": "Three", "AccountNumber": "A1"},
        summarizeErrors="false",
    )
    first, second = reply.json()["Contacts"]
    assert messages(first) == ["The Contact Number already exists. Please enter a different Contact Number."]
    assert messages(second) == ["The Account Number already exists. Please enter a different Account Number."]


def test_two_of_the_same_name_in_one_batch_leave_one(xero):
    first, second = xero.put({"Name": "Twin"}, {"Name": "twin"}, summarizeErrors="false").json()["Contacts"]
    assert (first["StatusAttributeString"], second["StatusAttributeString"]) == ("OK", "ERROR")


def test_pages_have_a_pagination_block_and_end_empty(xero):
    xero.put(*({"Name": f"Contact {n}"} for n in range(7)))
    reply = xero.call("GET", "Contacts", page=2, pageSize=3).json()
    assert reply["pagination"] == {"page": 2, "pageSize": 3, "pageCount": 3, "itemCount": 7}
    assert names(reply["Contacts"]) == ["Contact 3", "Contact 4", "Contact 5"]
    assert xero.get(page=4, pageSize=3) == []


def test_if_modified_since_gives_only_what_changed_since(xero):
    xero.make(Name="Old")
    xero.control("clock", {"move_s": 600})
    now = xero.control("clock")["now"][:19]
    xero.make(Name="New")
    reply = xero.call("GET", "Contacts", headers={"If-Modified-Since": now}, page=1)
    assert names(reply.json()["Contacts"]) == ["New"]


def test_facts_that_no_call_can_write_move_no_stamp(xero):
    made = xero.make()
    xero.post({"ContactID": made["ContactID"], "IsCustomer": True})
    (before,) = xero.get()
    assert before["IsCustomer"] is False
    xero.control("contact-facts", {"ContactID": made["ContactID"], "IsCustomer": True})
    (after,) = xero.get()
    assert after["IsCustomer"] is True
    assert after["UpdatedDateUTC"] == before["UpdatedDateUTC"]


def test_a_merge_archives_the_loser_and_shows_where_it_went(xero):
    loser, survivor = xero.make(Name="Acme Ltd"), xero.make(Name="Acme Limited")
    xero.control("contact-facts", {"ContactID": loser["ContactID"], "IsCustomer": True})
    xero.control("merge-contacts", {"loser": loser["ContactID"], "survivor": survivor["ContactID"]})
    (gone,) = xero.get(f"Contacts/{loser['ContactID']}")
    assert (gone["ContactStatus"], gone["MergedToContactID"]) == ("ARCHIVED", survivor["ContactID"])
    (kept,) = xero.get(page=1)
    assert (kept["Name"], kept["IsCustomer"]) == ("Acme Limited", True)
    unpaged = {contact["Name"]: contact for contact in xero.get(includeArchived="true")}
    assert "MergedToContactID" not in unpaged["Acme Ltd"]


def test_the_search_term_looks_into_names_numbers_and_email_without_case(xero):
    xero.make(Name="Acme", EmailAddress="ann@blue.test")
    xero.make(Name="Bluebird")
    xero.make(Name="Other")
    assert names(xero.get(searchTerm="BLUE", page=1)) == ["Acme", "Bluebird"]


def test_ids_and_order_choose_and_sort(xero):
    made = [xero.make(Name=name)["ContactID"] for name in ("b", "A", "c")]
    assert names(xero.get(IDs=",".join(made[:2]), order="Name DESC")) == ["b", "A"]


def test_a_query_on_an_unknown_field_is_refused_with_its_place(xero):
    reply = xero.call("GET", "Contacts", where='Nickname=="x"')
    assert reply.status_code == 400
    assert reply.json() == {
        "ErrorNumber": 16,
        "Type": "QueryParseException",
        "Message": "No property or field 'Nickname' exists in type 'Contact' (at index 0)",
    }


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"Contacts":[]}', b"<xml/>"])
def test_a_body_without_contacts_is_refused(xero, body):
    reply = xero.http.put("/api.xro/2.0/Contacts", content=body, headers=xero.headers)
    assert reply.status_code == 400
    assert reply.json()["Type"] in ("PostDataInvalidException", "NoDataProcessedException")


def test_lower_case_keys_and_a_contact_alone_are_read_too(xero):
    for body in ({"contacts": [{"Name": "a"}]}, {"Name": "b"}):
        assert xero.call("PUT", "Contacts", body).status_code == 200
    assert names(xero.get()) == ["a", "b"]


def test_values_are_mangled_as_xero_does(xero):
    made = xero.make(
        Name="  Acme   Ltd ",
        FirstName=" Ann ",
        Addresses=[{"AddressType": "POBOX", "City": "Leeds ", "Country": "Côte d'Ivoire (CI)"}],
    )
    assert (made["Name"], made["FirstName"]) == ("Acme Ltd", "Ann")
    assert made["Addresses"][1]["City"] == "Leeds"
    assert made["Addresses"][1]["Country"] == "Cte dIvoire CI"


def test_what_does_not_fit_is_refused_or_cut_by_dialect(xero):
    assert xero.put({"Name": "x" * 256}).status_code == 400
    xero.choose(too_long="truncate")
    assert xero.make(Name="x" * 256)["Name"] == "x" * 255


def test_groups_currencies_and_the_organisation_are_read(xero):
    xero.load([{"ContactGroupID": "11111111-1111-4111-8111-111111111111", "Name": "VIP"}])
    xero.load(
        [{"Name": "Acme", "ContactGroups": [{"ContactGroupID": "11111111-1111-4111-8111-111111111111"}]}]
    )
    (group,) = xero.call("GET", "ContactGroups").json()["ContactGroups"]
    (by_id,) = xero.call("GET", f"ContactGroups/{group['ContactGroupID']}").json()["ContactGroups"]
    assert names(by_id["Contacts"]) == ["Acme"]
    (organisation,) = xero.call("GET", "Organisation").json()["Organisations"]
    assert organisation["BaseCurrency"] == "GBP"
    currencies = xero.call("GET", "Currencies", where='Code=="gbp"').json()["Currencies"]
    assert currencies == [{"Code": "GBP", "Description": "British Pound"}]


def test_dump_and_load_carry_everything_over(open_xero, tmp_path):
    first, second = open_xero(tmp_path / "one"), open_xero(tmp_path / "two")
    made = first.make(ContactNumber="N1", Phones=[{"PhoneType": "FAX", "PhoneNumber": "1"}])
    first.make(Name="Gone")
    first.post({"Name": "Gone", "ContactStatus": "ARCHIVED"})
    second.load(first.dump())
    assert second.dump() == first.dump()
    assert second.get("Contacts/N1")[0]["ContactID"] == made["ContactID"]


def test_a_contact_cannot_take_the_name_of_another_by_renaming(xero):
    xero.make(Name="Acme")
    other = xero.make(Name="Other")
    reply = xero.post(
        {"ContactID": other["ContactID"], "Name": "acme"}, {"Name": "New"}, summarizeErrors="false"
    )
    first, second = reply.json()["Contacts"]
    assert (first["StatusAttributeString"], second["StatusAttributeString"]) == ("ERROR", "OK")
    assert first["ContactID"] == other["ContactID"]
    assert names(xero.get()) == ["Acme", "Other", "New"]

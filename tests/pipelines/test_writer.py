"""Requests from intents, verdicts from replies: pure, on both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from pipelines.intents import Intent, Operation, group, resolve, without_values
from pipelines.salesforce import writer as salesforce
from pipelines.xero import writer as xero

ACCOUNT, OTHER_ACCOUNT = "001000000000001AAA", "001000000000002AAA"
CONTACT = "00000000-0000-4000-8000-000000000001"
NO_ID = "00000000-0000-0000-0000-000000000000"


def intent(system: str, number: int = 1, *, new: bool = False, **body: Any) -> Intent:
    key_field = "ContactNumber" if system == "xero" else "ExternalID__c"
    record_id = f"001{number:012d}AAA" if system == "salesforce" else f"{NO_ID[:-12]}{number:012d}"
    key = f"key-{number}"
    one = Operation(
        "op", system, "party", "Account" if system == "salesforce" else "Contact", "update", "change", "name"
    )
    return Intent(
        intent_id=str(number),
        system=system,
        object=one.object,
        entity="party",
        action="create" if new else "update",
        record_id=None if new else record_id,
        key_field=key_field,
        natural_key=key if new else None,
        body={**body, key_field: key} if new else body,
        operations=(one,),
    )


def xero_reply(*elements: dict[str, Any], status: int = 200) -> bytes:
    return json.dumps({"Contacts" if status == 200 else "Elements": list(elements)}).encode()


def kinds(writer: Any, intents: list[Intent], status: int, body: bytes) -> list[str]:
    (request,) = writer.requests(intents)
    return [verdict.kind for verdict in writer.read(request, status, body)]


def test_the_wire_bodies_of_both_systems() -> None:
    made = [
        *xero.requests([intent("xero", 1, TaxNumber="GB1"), intent("xero", 2, new=True, Name="Zoë & Söhne")]),
        *salesforce.requests(
            [intent("salesforce", 1, Phone=None), intent("salesforce", 2, new=True, Name="Acme")]
        ),
    ]
    assert [(r.method, r.path, r.query, r.body.decode()) for r in made] == snapshot(
        [
            (
                "PUT",
                "/api.xro/2.0/Contacts",
                "summarizeErrors=false",
                '{"Contacts":[{"ContactNumber":"key-2","Name":"Zoë & Söhne"}]}',
            ),
            (
                "POST",
                "/api.xro/2.0/Contacts",
                "summarizeErrors=false",
                '{"Contacts":[{"ContactID":"00000000-0000-0000-0000-000000000001","TaxNumber":"GB1"}]}',
            ),
            (
                "PATCH",
                "composite/sobjects/Account/ExternalID__c",
                "",
                '{"allOrNone":false,"records":[{"attributes":{"type":"Account"},"ExternalID__c":"key-2","Name":"Acme"}]}',
            ),
            (
                "PATCH",
                "composite/sobjects",
                "",
                '{"allOrNone":false,"records":[{"attributes":{"type":"Account"},"id":"001000000000001AAA","Phone":null}]}',
            ),
        ]
    )


def test_the_same_intents_give_the_same_bytes() -> None:
    """A key is bound to its bytes: what is sent again must not differ by a letter."""
    one, two = intent("xero", 1, b="1", a="2"), intent("xero", 1, a="2", b="1")
    assert xero.requests([one])[0].body == xero.requests([two])[0].body


@given(st.integers(0, 130), st.integers(0, 130))
def test_every_intent_is_in_exactly_one_request_of_the_allowed_size(updates: int, creates: int) -> None:
    some = [intent("xero", n) for n in range(updates)] + [
        intent("xero", 500 + n, new=True) for n in range(creates)
    ]
    made = xero.requests(some)
    assert sorted(i.intent_id for r in made for i in r.intents) == sorted(i.intent_id for i in some)
    assert all(len(r.intents) <= 50 and len(json.loads(r.body)["Contacts"]) == len(r.intents) for r in made)


def test_a_success_counts_only_at_its_place_and_with_its_id() -> None:
    both = [intent("xero", 1), intent("xero", 2)]
    one, two = ({"ContactID": i.record_id, "StatusAttributeString": "OK"} for i in both)
    assert kinds(xero, both, 200, xero_reply(one, two)) == ["confirmed", "confirmed"]
    assert kinds(xero, both, 200, xero_reply(two, one)) == ["unknown", "unknown"]
    assert kinds(xero, both, 200, xero_reply(one)) == ["confirmed", "unknown"]
    assert kinds(xero, both, 200, xero_reply()) == ["unknown", "unknown"]
    assert kinds(xero, both, 200, xero_reply(one, one)) == ["confirmed", "unknown"]


def test_a_new_contact_is_known_by_the_key_that_it_carries() -> None:
    new = [intent("xero", 1, new=True, Name="Acme")]
    mine = {"ContactID": CONTACT, "ContactNumber": "key-1", "Name": "ACME"}
    assert kinds(xero, new, 200, xero_reply(mine)) == ["confirmed"]
    assert kinds(xero, new, 200, xero_reply({**mine, "ContactNumber": "key-2"})) == ["unknown"]
    assert kinds(xero, new, 200, xero_reply({**mine, "ContactID": NO_ID})) == ["unknown"]


def test_a_refused_element_echoes_what_was_asked_and_is_no_success() -> None:
    sent = intent("xero", 1, Name="Acme")
    refused = {
        "ContactID": sent.record_id,
        "Name": "Acme",
        "StatusAttributeString": "ERROR",
        "HasValidationErrors": True,
        "ValidationErrors": [{"Message": "The contact name Acme is already assigned to another contact."}],
    }
    (verdict,) = xero.read(xero.requests([sent])[0], 200, xero_reply(refused))
    assert verdict.kind == "rejected"
    assert verdict.message == "The contact name … is already assigned to another contact."
    new = intent("xero", 1, new=True, Name="Acme")
    assert kinds(xero, [new], 200, xero_reply({**refused, "ContactID": NO_ID, "ContactNumber": "key-1"})) == [
        "exists"
    ]


def test_a_whole_refusal_tells_whose_fault_it_is() -> None:
    both = [intent("xero", 1), intent("xero", 2)]
    bad = {"ContactID": both[1].record_id, "ValidationErrors": [{"Message": "no"}]}
    assert kinds(xero, both, 400, xero_reply(bad, status=400)) == ["again", "rejected"]
    assert kinds(xero, both, 400, b"{}") == ["apart", "apart"]
    assert kinds(xero, both, 404, b"") == ["apart", "apart"]
    assert kinds(xero, both[:1], 404, b"") == ["overtaken"]
    assert kinds(xero, both[:1], 400, b"{}") == ["rejected"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 302, 204])
@pytest.mark.parametrize("body", [b"", b"<html></html>", b"{", b"[]"])
def test_no_other_answer_proves_anything(status: int, body: bytes) -> None:
    assert kinds(xero, [intent("xero")], status, body) == ["unknown"]
    assert kinds(salesforce, [intent("salesforce")], status, body) == ["unknown"]


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b'{"Contacts": {', b"[]", b'{"Contacts": 1}', b"\xff"]
)
def test_a_200_without_a_list_proves_nothing(body: bytes) -> None:
    assert kinds(xero, [intent("xero")], 200, body) == ["unknown"]
    assert kinds(salesforce, [intent("salesforce")], 200, body) == ["unknown"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["Contacts", "Elements", "ContactID", "id", "success", "errors", "ValidationErrors"]
                ),
                x,
            )
        ),
    ),
    st.sampled_from([200, 400, 404, 500]),
)
def test_no_reply_of_whatever_shape_breaks_the_reading(body: Any, status: int) -> None:
    text = json.dumps(body).encode()
    assert len(kinds(xero, [intent("xero"), intent("xero", 2)], status, text)) == 2
    assert len(kinds(salesforce, [intent("salesforce"), intent("salesforce", 2)], status, text)) == 2


def test_a_failure_burns_its_key_and_a_busy_server_does_not() -> None:
    assert [s for s in (200, 400, 404, 429, 500, 502, 503, 504) if xero.keeps_failure(s)] == [400, 404, 500]


def row(**values: Any) -> bytes:
    return json.dumps([values]).encode()


def error(code: str, message: str = "no", *fields: str) -> bytes:
    return row(success=False, errors=[{"statusCode": code, "message": message, "fields": list(fields)}])


@pytest.mark.parametrize(
    ("body", "new", "kind"),
    [
        (row(id=ACCOUNT, success=True, errors=[]), False, "confirmed"),
        (row(id=ACCOUNT[:15], success=True, errors=[]), False, "confirmed"),
        (row(id=OTHER_ACCOUNT, success=True, errors=[]), False, "unknown"),
        (row(success=True), False, "unknown"),
        (row(id=ACCOUNT, success=True, errors=[], created=True), True, "confirmed"),
        (error("UNABLE_TO_LOCK_ROW"), False, "again"),
        (error("ENTITY_IS_DELETED"), False, "overtaken"),
        (error("INVALID_CROSS_REFERENCE_KEY", "bad", "OwnerId"), False, "rejected"),
        (error("DUPLICATE_VALUE"), True, "exists"),
        (error("DUPLICATE_VALUE"), False, "rejected"),
        (error("FIELD_CUSTOM_VALIDATION_EXCEPTION"), False, "rejected"),
        (row(success=False), False, "rejected"),
    ],
)
def test_each_row_of_salesforce_has_its_own_fate(body: bytes, new: bool, kind: str) -> None:
    assert kinds(salesforce, [intent("salesforce", new=new, Name="Acme")], 200, body) == [kind]


def test_a_refusal_names_code_and_field_and_no_value() -> None:
    body = error("STRING_TOO_LONG", "Name: data value too large: Ada Byron (max length=80)", "Name")
    (verdict,) = salesforce.read(salesforce.requests([intent("salesforce", Name="Ada Byron")])[0], 200, body)
    assert verdict.message == "STRING_TOO_LONG (Name): Name: data value too large: … (max length=80)"


@given(st.text("abcXYZ @+.0123456789", min_size=2, max_size=30))
def test_what_was_sent_is_never_in_a_message(value: str) -> None:
    told = without_values(
        f"The value {value} is wrong: '{value}'", {"Name": value, "Phones": [{"PhoneNumber": value}]}
    )
    assert (
        value.strip().lower() not in told.lower().replace("the value", "").replace("is wrong", "")
        or len(value.strip()) < 2
    )


def test_new_ids_are_put_where_the_plan_left_their_place() -> None:
    one = Operation(
        "op",
        "salesforce",
        "person",
        "Contact",
        "create",
        "create",
        "record",
        native_after='{"AccountId":{"$from":"a"},"ExternalID__c":{"$from":"b","suffix":":primary"}}',
    )
    assert (
        resolve(one, {"a": "001", "b": "c-1"}).native_after
        == '{"AccountId":"001","ExternalID__c":"c-1:primary"}'
    )
    with pytest.raises(KeyError):
        resolve(one, {"a": "001"})


def test_pieces_of_one_record_become_one_body() -> None:
    def piece(name: str, native: str, entity: str = "party") -> Operation:
        record = CONTACT + (":primary" if entity == "person" else "")
        return Operation(
            name, "xero", entity, "Contact", "update", "change", name, record, native_after=native
        )

    phones = [
        piece(n, json.dumps({"Phones": [{"PhoneType": n, "PhoneNumber": n}]})) for n in ("DEFAULT", "FAX")
    ]
    person = piece("who", '{"FirstName":"Ada"}', "person")
    fields = {("party", "xero"): "ContactNumber"}
    made, later = group(
        [*phones, person], apart=frozenset(), key_fields=fields, attempts={}, new_id=lambda: "i"
    )
    assert [i.body for i in made] == [
        {
            "Phones": [
                {"PhoneType": "DEFAULT", "PhoneNumber": "DEFAULT"},
                {"PhoneType": "FAX", "PhoneNumber": "FAX"},
            ],
            "FirstName": "Ada",
        }
    ]
    made, later = group(
        [*phones, person], apart=frozenset({"FAX"}), key_fields=fields, attempts={}, new_id=lambda: "i"
    )
    assert ([len(i.operations) for i in made], [one.unit for one in later]) == ([2], ["FAX"])

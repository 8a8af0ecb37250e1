"""Requests from intents, verdicts from replies: pure, on both sides."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from pipelines.intents import Intent, Operation, group, resolve, without_values
from pipelines.learning import unlike
from pipelines.salesforce import writer as salesforce
from pipelines.settings import Push
from pipelines.xero import writer as xero
from reconcile.errors import Incident

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
    own = {"StatusAttributeString": "OK", "UpdatedDateUTC": "/Date(1795530131672+0000)/"}
    one, two = ({"ContactID": i.record_id, **own} for i in both)
    assert kinds(xero, both, 200, xero_reply(one, two)) == ["confirmed", "confirmed"]
    # An id that we sent ourselves proves nothing: the stamp is Xero's own.
    echo = {"ContactID": both[0].record_id, "StatusAttributeString": "OK"}
    assert kinds(xero, both, 200, xero_reply(echo, two)) == ["unknown", "confirmed"]
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


# --- invoices ------------------------------------------------------------------------------------------


def invoice(number: int = 1, key_field: str = "InvoiceNumber", **body: Any) -> Intent:
    key = f"SF-{number:04d}"
    one = Operation(
        "op", "xero", "document", "Invoice", "create", "create", "record", source_id=f"006{number}"
    )
    return Intent(
        intent_id=f"i{number}",
        system="xero",
        object="Invoice",
        entity="document",
        action="create",
        record_id=None,
        key_field=key_field,
        natural_key=key,
        body={"Type": "ACCREC", key_field: key, **body},
        operations=(one,),
    )


def invoice_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def made(intent: Intent, number: int, **more: Any) -> dict[str, Any]:
    """What Xero answers to an invoice that it made."""
    return {**intent.body, "InvoiceID": invoice_id(number), "StatusAttributeString": "OK", **more}


def invoices_reply(*elements: Any) -> bytes:
    return json.dumps({"Invoices": list(elements)}).encode()


def test_invoices_leave_by_put_with_their_amounts_digit_by_digit() -> None:
    line = '{"Description":"Hours","Quantity":1.10,"UnitAmount":1234567890123.4567,"AccountCode":"200"}'
    native = f'{{"InvoiceNumber":"SF-1","Contact":{{"ContactID":{{"$from":"c"}}}},"LineItems":[{line}]}}'
    one = Operation(
        "op",
        "xero",
        "document",
        "Invoice",
        "create",
        "create",
        "record",
        source_id="006",
        native_after=native,
    )
    fields = {("document", "xero"): "InvoiceNumber"}
    (intent,), _ = group(
        [resolve(one, {"c": invoice_id(7)})],
        apart=frozenset(),
        key_fields=fields,
        attempts={},
        new_id=lambda: "i",
    )
    (request,) = xero.requests([intent])
    assert (request.method, request.path, request.query) == (
        "PUT", "/api.xro/2.0/Invoices", "summarizeErrors=false&unitdp=4",
    )  # fmt: skip
    assert request.body.decode() == (
        '{"Invoices":[{"Contact":{"ContactID":"00000000-0000-4000-8000-000000000007"},"InvoiceNumber":"SF-1",'
        '"LineItems":[{"AccountCode":"200","Description":"Hours","Quantity":1.10,'
        '"UnitAmount":1234567890123.4567}]}]}'
    )
    assert intent.natural_key == "SF-1" and '"UnitAmount":1234567890123.4567' in intent.content()


def test_an_invoice_without_a_key_of_ours_never_becomes_a_request() -> None:
    one = Operation(
        "op", "xero", "document", "Invoice", "create", "create", "record", source_id="006", native_after="{}"
    )
    with pytest.raises(Incident, match="006"):
        group(
            [one],
            apart=frozenset(),
            key_fields={("document", "xero"): "Reference"},
            attempts={},
            new_id=lambda: "i",
        )


@given(st.integers(0, 130), st.integers(0, 60), st.integers(1, 50))
def test_invoices_and_contacts_never_share_a_request(invoices: int, contacts: int, at_once: int) -> None:
    some = [invoice(n) for n in range(invoices)] + [intent("xero", n, new=True) for n in range(contacts)]
    found = xero.requests(some, Push(documents_at_once=at_once))
    assert sorted(i.intent_id for r in found for i in r.intents) == sorted(i.intent_id for i in some)
    for request in found:
        assert len({one.object for one in request.intents}) == 1
        assert len(request.intents) <= (at_once if request.intents[0].object == "Invoice" else 50)
    assert [r.path for r in found] == sorted(r.path for r in found)  # contacts first: invoices need them


def test_an_invoice_counts_only_at_its_place_with_its_number_and_an_id_of_xeros_own() -> None:
    both = [invoice(1), invoice(2)]
    one, two = made(both[0], 1), made(both[1], 2)
    assert kinds(xero, both, 200, invoices_reply(one, two)) == ["confirmed", "confirmed"]
    for reply, told in (
        ((two, one), ["unknown", "unknown"]),  # in another order
        ((one,), ["confirmed", "unknown"]),  # one is missing
        ((two,), ["unknown", "unknown"]),
        ((one, two, two), ["unknown", "unknown"]),  # one too many
        ((one, one), ["unknown", "unknown"]),  # one twice
        ((one, {**two, "InvoiceID": one["InvoiceID"]}), ["unknown", "unknown"]),  # two with one id
        (({**one, "InvoiceID": NO_ID}, two), ["unknown", "confirmed"]),
        (({**one, "InvoiceID": "yes"}, two), ["unknown", "confirmed"]),
        (({**one, "InvoiceID": None}, two), ["unknown", "confirmed"]),
        (({**one, "InvoiceNumber": None}, two), ["unknown", "confirmed"]),
        (({**one, "StatusAttributeString": "ERROR"}, two), ["unknown", "confirmed"]),
        (({**one, "HasErrors": True}, two), ["unknown", "confirmed"]),
        ((None, two), ["unknown", "confirmed"]),
        ((), ["unknown", "unknown"]),
    ):
        assert kinds(xero, both, 200, invoices_reply(*reply)) == told, reply


def test_an_invoice_that_xero_numbers_is_known_by_its_reference() -> None:
    one = invoice(1, key_field="Reference")
    told = made(one, 1, InvoiceNumber="INV-0007")
    assert kinds(xero, [one], 200, invoices_reply(told)) == ["confirmed"]
    assert kinds(xero, [one], 200, invoices_reply({**told, "Reference": "SF-0002"})) == ["unknown"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Invoice # must be unique.", "exists"),
        ("Invoice number SF-0001 is already in use. Enter another number.", "exists"),
        ("Account code '999' is not a valid code for this document.", "rejected"),
    ],
)
def test_a_refused_invoice_echoes_all_that_was_asked_and_is_no_success(message: str, kind: str) -> None:
    one = invoice(1, Status="AUTHORISED")
    refused = {**one.body, "InvoiceID": NO_ID, "HasErrors": True, "ValidationErrors": [{"Message": message}]}
    (verdict,) = xero.read(xero.requests([one])[0], 200, invoices_reply(refused))
    assert (verdict.kind, verdict.record_id) == (kind, None)
    assert "SF-0001" not in str(verdict.message)
    summed_up = json.dumps({"ErrorNumber": 10, "Elements": [refused]}).encode()
    both = [one, invoice(2)]
    assert kinds(xero, both, 400, summed_up) == [kind, "again"]


@given(st.permutations(range(4)), st.integers(0, 4), st.integers(0, 3))
def test_what_a_reply_confirms_was_really_told_of_that_invoice(
    order: list[int], kept: int, twice: int
) -> None:
    """However a reply is cut, shuffled or doubled: no invoice gets the id of another."""
    some = [invoice(n) for n in range(4)]
    elements = [made(some[n], n) for n in order][:kept]
    elements += elements[:twice]
    (request,) = xero.requests(some)
    for place, verdict in enumerate(xero.read(request, 200, invoices_reply(*elements))):
        if verdict.kind == "confirmed":
            assert verdict.record_id == invoice_id(place)


def test_fields_of_what_was_made_are_put_where_the_plan_left_their_place() -> None:
    native = {
        "Xero_Invoice_ID__c": {"$from": "op2"},
        "Xero_Invoice_Number__c": {"$from": "op2", "field": "InvoiceNumber"},
        "Xero_Invoice_Url__c": {"$from": "op2", "prefix": "https://go.xero.com/View.aspx?InvoiceID="},
    }
    one = Operation(
        "op3",
        "salesforce",
        "document",
        "Opportunity",
        "link",
        "create",
        "reference",
        native_after=json.dumps(native),
    )
    known = {("op2", "InvoiceNumber"): "SF-0001"}
    assert json.loads(resolve(one, {"op2": "abc"}, lambda *what: known[what]).native_after or "") == {
        "Xero_Invoice_ID__c": "abc",
        "Xero_Invoice_Number__c": "SF-0001",
        "Xero_Invoice_Url__c": "https://go.xero.com/View.aspx?InvoiceID=abc",
    }
    with pytest.raises(KeyError):
        resolve(one, {"op2": "abc"})


def test_an_invoice_found_under_our_number_is_held_to_what_was_planned() -> None:
    one = invoice(1, Contact={"ContactID": invoice_id(9)})
    planned = {"currency": "GBP", "subtotal": "100.00", "total": None}
    one = replace(one, operations=(replace(one.operations[0], after=json.dumps(planned)),))
    found = {
        "Contact": {"ContactID": invoice_id(9)},
        "CurrencyCode": "GBP",
        "SubTotal": Decimal("100.0"),
        "Total": Decimal("120.00"),
    }
    assert unlike(one, found) == ""
    assert unlike(one, {**found, "SubTotal": Decimal("100.01")}) == "subtotal 100.01 instead of 100.00"
    assert unlike(one, {**found, "CurrencyCode": "EUR"}) == "currency EUR instead of GBP"
    assert "contact" in unlike(one, {**found, "Contact": {"ContactID": invoice_id(8)}})
    assert "subtotal" in unlike(one, {**found, "SubTotal": None})


# --- one record of Salesforce by itself -------------------------------------------------------------------


def test_what_people_edit_leaves_on_the_condition_of_what_was_seen_of_each() -> None:
    some = [intent("salesforce", 1, Phone="1"), intent("salesforce", 2, new=True, Name="Acme")]
    edited, made = salesforce.requests(some, Push(guard="record"))
    assert made.path == "composite/sobjects/Account/ExternalID__c"
    seen = datetime(2026, 11, 24, 13, 5, 9, 999_000, tzinfo=UTC)
    assert salesforce.guarded(made, "/services/data/v67.0/", lambda *_: seen) == made
    asked = json.loads(salesforce.guarded(edited, "/services/data/v67.0/", lambda *_: seen).body)
    assert asked == {
        "allOrNone": False,
        "compositeRequest": [
            {
                "method": "PATCH",
                "url": f"/services/data/v67.0/sobjects/Account/{ACCOUNT}",
                "referenceId": "r0",
                "httpHeaders": {"If-Unmodified-Since": "Tue, 24 Nov 2026 13:05:09 GMT"},
                "body": {"Phone": "1"},
            }
        ],
    }


def test_a_number_of_salesforce_leaves_with_the_digits_that_it_has() -> None:
    half = Decimal("12.50")
    update = salesforce.requests([intent("salesforce", 1, Discount__c=half)], Push(guard="record"))
    seen = datetime(2026, 11, 24, tzinfo=UTC)
    assert b'"body":{"Discount__c":12.50}' in salesforce.guarded(update[0], "/", lambda *_: seen).body
    (whole,) = salesforce.requests([intent("salesforce", 1, Discount__c=half)], Push(guard="collection"))
    assert whole.body.startswith(b'{"allOrNone":false,"records":[{"attributes":{"type":"Account"},"id":')
    (made,) = salesforce.requests([intent("salesforce", 2, new=True, Discount__c=half)])
    assert b'"Discount__c":12.50' in made.body


def test_at_most_25_guarded_records_share_a_call() -> None:
    many = [intent("salesforce", n, Phone="1") for n in range(60)]
    made = salesforce.requests(many, Push(guard="record"))
    assert [len(one.intents) for one in made] == [25, 25, 10]
    assert len(salesforce.requests(many, Push(guard="collection"))) == 1


def test_a_value_that_a_composite_would_read_as_a_reference_goes_in_a_collection() -> None:
    some = [intent("salesforce", 1, Fax="@{r0.id}"), intent("salesforce", 2, Fax="1")]
    assert [one.path for one in salesforce.requests(some, Push(guard="record"))] == [
        "composite",
        "composite/sobjects",
    ]


def guarded_reply(*subs: tuple[int, Any]) -> bytes:
    told = [
        {"referenceId": f"r{n}", "httpStatusCode": code, "body": body} for n, (code, body) in enumerate(subs)
    ]
    return json.dumps({"compositeResponse": told}).encode()


def refusal_of(code: str) -> list[dict[str, str]]:
    return [{"errorCode": code, "message": "no"}]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (204, None, "confirmed"),
        (200, None, "unknown"),
        (412, refusal_of("PRECONDITION_FAILED"), "again"),
        (404, refusal_of("NOT_FOUND"), "overtaken"),
        (400, refusal_of("FIELD_INTEGRITY_EXCEPTION"), "rejected"),
        (400, refusal_of("UNABLE_TO_LOCK_ROW"), "again"),
        (403, refusal_of("REQUEST_LIMIT_EXCEEDED"), "again"),
        (400, None, "rejected"),
        (500, refusal_of("UNKNOWN_EXCEPTION"), "unknown"),
        (302, None, "unknown"),
        ("204", None, "unknown"),
    ],
)
def test_the_answer_to_one_guarded_record_tells_by_its_status(status: Any, body: Any, kind: str) -> None:
    two = [intent("salesforce", n, Phone="1") for n in (1, 2)]
    (request,) = salesforce.requests(two, Push(guard="record"))
    told = salesforce.read(request, 200, guarded_reply((status, body), (204, None)))
    assert [verdict.kind for verdict in told] == [kind, "confirmed"]


def test_a_guarded_answer_without_its_reference_proves_nothing() -> None:
    two = [intent("salesforce", n, Phone="1") for n in (1, 2)]
    (request,) = salesforce.requests(two, Push(guard="record"))
    told = json.loads(guarded_reply((204, None), (412, None)))
    for rows, kinds in (
        (told["compositeResponse"][::-1], ["unknown", "unknown"]),
        (told["compositeResponse"][:1], ["confirmed", "unknown"]),
        ([], ["unknown", "unknown"]),
    ):
        reply = json.dumps({"compositeResponse": rows}).encode()
        assert [one.kind for one in salesforce.read(request, 200, reply)] == kinds
    for body in (b"{}", b"<html>", b"[]", b'{"compositeResponse":7}'):
        assert {one.kind for one in salesforce.read(request, 200, body)} == {"unknown"}
    assert {one.kind for one in salesforce.read(request, 400, b"[]")} == {"apart"}
    assert {one.kind for one in salesforce.read(request, 500, b"[]")} == {"unknown"}


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


# --- Contact groups -------------------------------------------------------------------------------------

GROUP, OTHER_GROUP = ("99999999-0000-4000-8000-00000000000" + last for last in "12")


def membership(number: int, *, goes_in: bool, group_id: str = GROUP) -> Intent:
    record_id = f"{group_id}/{NO_ID[:-12]}{number:012d}"
    one = Operation(
        "op", "xero", "membership", "ContactGroup", "update", "change", "groups", record_id=record_id
    )
    body = {"Member": goes_in}
    return Intent(
        str(number), "xero", "ContactGroup", "membership", "update", record_id, None, None, body, (one,)
    )


def test_who_enters_a_group_goes_together_and_who_leaves_alone() -> None:
    some = [membership(n, goes_in=True) for n in range(51)] + [membership(60, goes_in=False)]
    some += [membership(61, goes_in=False), membership(62, goes_in=True, group_id=OTHER_GROUP)]
    made = xero.requests(some)
    assert [(one.method, one.path.removeprefix("/api.xro/2.0/"), len(one.intents)) for one in made] == [
        ("DELETE", f"ContactGroups/{GROUP}/Contacts/{NO_ID[:-12]}{60:012d}", 1),
        ("DELETE", f"ContactGroups/{GROUP}/Contacts/{NO_ID[:-12]}{61:012d}", 1),
        ("PUT", f"ContactGroups/{GROUP}/Contacts", 50),
        ("PUT", f"ContactGroups/{GROUP}/Contacts", 1),
        ("PUT", f"ContactGroups/{OTHER_GROUP}/Contacts", 1),
    ]
    assert made[0].body == b"" and not any(one.query for one in made)
    assert made[-1].body.decode() == f'{{"Contacts":[{{"ContactID":"{NO_ID[:-12]}{62:012d}"}}]}}'


def test_the_answer_to_a_group_is_read_by_its_contacts() -> None:
    both = [membership(1, goes_in=True), membership(2, goes_in=True)]
    one, two = (
        {"ContactID": str(i.record_id).rpartition("/")[2], "HasValidationErrors": False} for i in both
    )
    (request,) = xero.requests(both)
    heard = xero.read(request, 200, xero_reply(one, two))
    # Known by group and contact, as it was asked for.
    assert [(it.kind, it.record_id) for it in heard] == [("confirmed", i.record_id) for i in both]
    wrong = {**two, "HasValidationErrors": True, "ValidationErrors": [{"Message": "The contact is archived"}]}
    assert kinds(xero, both, 200, xero_reply(one, wrong)) == ["confirmed", "rejected"]
    assert kinds(xero, both, 400, xero_reply(wrong, status=400)) == ["again", "rejected"]
    assert kinds(xero, both, 200, xero_reply(two, one)) == ["unknown", "unknown"]
    assert kinds(xero, both, 404, b"") == ["apart", "apart"]
    assert kinds(xero, both[:1], 404, b"") == ["overtaken"]
    assert kinds(xero, both, 500, b"") == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(204, "confirmed"), (404, "exists"), (400, "exists"), (500, "unknown"), (503, "unknown")],
)
def test_a_removal_that_is_refused_is_looked_at(status: int, kind: str) -> None:
    assert kinds(xero, [membership(1, goes_in=False)], status, b"") == [kind]

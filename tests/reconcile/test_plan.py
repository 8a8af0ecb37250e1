"""What a plan holds: its operations, their order, what they wait for, and what is set aside."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from two_books import PRIMARY, Books, books, phone, salesforce_id, what, xero_id

from mappings import library
from reconcile.merge import RECENT, difference_fingerprint, recent_writes
from reconcile.model import OPERATIONS, PHASES, RECORDS, conform, empty
from reconcile.operations import Part, without_double_writes
from reconcile.plan import Plan, beyond_limits, plan_hash

A1, A2, X1, X2 = salesforce_id("001", 1), salesforce_id("001", 2), xero_id(1), xero_id(2)
C1 = salesforce_id("003", 1)
NOTHING: Any = None


def demo() -> Books:
    return books(library()["demo"])


def pair(world: Books, **fields: Any) -> Books:
    """A1 and X1, linked and at rest."""
    world.account(1, Name="Acme Blue", ExternalID__c=X1, **fields)
    world.xero_contact(1, Name="Acme Blue", ContactNumber=A1)
    world.apply(world.plan())
    assert what(world.plan()) == []
    return world


def only(plan: Plan) -> dict[str, Any]:
    assert plan.operations.height == 1, what(plan)
    return plan.operations.to_dicts()[0]


def reasons(plan: Plan) -> list[str]:
    return plan.rejects["reason"].to_list()


# --- Links --------------------------------------------------------------------------------------------


def test_a_new_link_writes_both_ids_and_its_blanks_wait_for_it():
    world = books()
    world.account(1, Name="Acme Blue", Tax_Number__c="GB123456789", Phone="020 7946 0958")
    world.xero_contact(1, Name="Acme Blue", TaxNumber="GB123456789")
    plan = world.plan()
    assert what(plan) == [
        ("link", "salesforce", "link", "reference"),
        ("link", "xero", "link", "reference"),
        ("fill", "xero", "update", "phone"),
        ("fill", "salesforce", "update", "status"),
    ]
    first = plan.operations["operation_id"][0]
    assert plan.operations["depends_on"].to_list() == [None, None, first, first]
    assert plan.adopted_links.is_empty() and plan.adopted_moves.is_empty()
    assert set(plan.moves["link_id"]) == {f"party:{A1}:{X1}"}


def test_one_missing_id_is_written_to_that_side_only():
    world = books()
    world.account(1, Name="Acme Blue", ExternalID__c=X1, Xero_Status__c="active")
    world.xero_contact(1, Name="Acme Blue")
    row = only(world.plan())
    assert (row["system"], row["unit"], row["native_after"]) == (
        "xero",
        "reference",
        f'{{"ContactNumber":"{A1}"}}',
    )
    assert row["match_rule"] == "our_ids"


def test_a_link_that_both_records_carry_is_adopted_without_a_write():
    world = books()
    world.account(1, Name="Acme Blue", ExternalID__c=X1, Xero_Status__c="active")
    world.xero_contact(1, Name="Acme Blue", ContactNumber=A1)
    plan = world.plan()
    assert what(plan) == [] and plan.adopted_links.height == 1
    assert set(plan.adopted_moves["base_kind"]) == {"agreed"} and plan.moves.is_empty()


def test_a_foreign_contact_number_is_never_overwritten():
    world = books()
    world.account(1, Name="Acme Blue", Tax_Number__c="GB123456789", Xero_Status__c="active")
    world.xero_contact(1, Name="Acme Blue", TaxNumber="GB123456789", ContactNumber="CUST-77")
    plan = world.plan()
    assert [row[1] for row in what(plan)] == ["salesforce"]
    assert reasons(plan) == ["Xero holds another value where our id belongs; it is left as it is"]


def test_ids_that_contradict_get_no_operation_at_all():
    world = books()
    world.account(1, Name="Acme Blue", ExternalID__c=X1, Phone="020 7946 0958")
    world.account(2, Name="Falcon")
    world.xero_contact(1, Name="Acme Blue", ContactNumber=A2)
    plan = world.plan()
    assert what(plan) == [] and set(plan.rejects["record_id"]) == {A1, A2, X1}


def test_an_id_of_a_merged_record_is_brought_up_to_date():
    world = pair(books())
    world.account(2, Name="Acme Blue Ltd", Xero_Status__c="active")
    world.edit(A1, MasterRecordId=A2, IsDeleted=True)
    plan = world.plan()
    links = plan.operations.filter(pl.col("action") == "link")
    assert links.select("system", "record_id", "before", "after").rows() == [
        ("salesforce", A2, None, X1),
        ("xero", X1, A1, A2),
    ]
    world.apply(plan)
    assert what(world.plan()) == []


def test_an_archived_contact_gets_no_operation():
    world = pair(books())
    world.edit(X1, ContactStatus="ARCHIVED")
    world.edit(A1, Phone="020 7946 0958", ExternalID__c=None)
    plan = world.plan()
    assert {row[1] for row in what(plan)} == {"salesforce"}
    assert plan.drift.select("unit", "why").rows() == [("phone", "archived")]


# --- Units --------------------------------------------------------------------------------------------


def test_a_change_says_before_after_reason_and_rule():
    world = pair(books())
    world.edit(A1, Phone="020 7946 0958")
    row = only(world.plan())
    assert (row["phase"], row["system"], row["record_id"], row["source_id"]) == ("change", "xero", X1, A1)
    assert (row["before"], row["after"]) == (None, "+442079460958")
    assert row["reason"] == "the phone changed in Salesforce; Xero still has the value of the last agreement"
    assert row["rule"].endswith("entities.party.units.phone")
    assert json.loads(row["native_after"])["Phones"][0]["PhoneNumber"] == "79460958"
    assert json.loads(row["source_native"]) == {"Phone": "020 7946 0958"}


def test_only_the_changed_unit_is_sent():
    world = pair(books())
    world.edit(X1, EmailAddress="accounts@acme.com")
    row = only(world.plan())
    assert json.loads(row["native_after"]) == {"Billing_Email__c": "accounts@acme.com"}


def test_a_cleared_value_is_cleared_on_the_other_side():
    world = pair(books())
    world.edit(A1, Phone="020 7946 0958")
    world.apply(world.plan())
    world.edit(A1, Phone=None)
    row = only(world.plan())
    assert row["after"] is None and "was cleared in Salesforce" in row["reason"]


def test_a_value_that_does_not_fit_is_set_aside_with_the_reason():
    world = pair(books())
    world.edit(X1, AccountNumber="9" * 50)
    plan = world.plan()
    assert what(plan) == [] and reasons(plan) == ["AccountNumber: found 50 characters, expected 40 at most"]


def test_a_conflict_waits_and_a_decision_settles_it():
    world = pair(books())
    world.edit(A1, Phone="020 7946 0958")
    world.edit(X1, Phones=phone("0161 496 0000"))
    plan = world.plan()
    assert what(plan) == [] and plan.drift.is_empty()
    conflict = plan.conflicts.to_dicts()[0]
    mark = difference_fingerprint(conflict["salesforce"], conflict["xero"])
    decision = {"kind": "xero_wins", "entity": "party", "salesforce_id": A1, "xero_id": X1, "unit": "phone"}
    world.decisions.append(decision | {"fingerprint": mark, "made_by": "ann", "made_at": world.tick()})
    assert only(world.plan())["reason"] == "a person decided that the phone of Xero stands"
    world.apply(world.plan())
    assert what(world.plan()) == [] and world.plan().conflicts.is_empty()


def test_a_projection_shows_in_salesforce_what_xero_knows():
    world = pair(books())
    world.edit(X1, IsCustomer=True)
    row = only(world.plan())
    assert (row["system"], row["unit"], row["phase"]) == ("salesforce", "is_customer", "change")
    assert row["rule"].startswith("projection") and json.loads(row["native_after"]) == {
        "Xero_Customer__c": True
    }


def test_two_operations_on_one_field_of_one_contact_are_refused():
    """A party's and its person's e-mail are one field in Xero."""
    parts = {
        entity: Part(one, *[empty(RECORDS)] * 5, NOTHING, NOTHING)
        for entity, one in demo().mapping.entities.items()
    }
    rows = [
        {
            "operation_id": entity,
            "system": "xero",
            "entity": entity,
            "object": "Contact",
            "record_id": of,
            "unit": "email",
        }
        for entity, of in (("party", X1), ("person", X1 + PRIMARY), ("person", X2 + PRIMARY))
    ]
    kept, rejects = without_double_writes(rows, parts)
    assert kept == [rows[0], rows[2]]
    assert [(row["record_id"], row["unit"]) for row in rejects] == [(X1 + PRIMARY, "email")]


def test_a_contact_gets_its_desk_address_and_its_person_in_one_plan():
    world = pair(demo())
    world.contact(1, A1, FirstName="Jo", LastName="Bloggs", Email="jo@acme.com")
    world.edit(A1, Billing_Email__c="accounts@acme.com")
    plan = world.plan()
    assert {(row[1], row[3]) for row in what(plan)} == {
        ("xero", "email"),
        ("xero", "name"),
        ("salesforce", "reference"),
    }
    world.apply(plan)
    assert what(world.plan()) == [] and world.body(X1)["EmailAddress"] == "accounts@acme.com"


def test_a_desk_address_is_not_written_where_it_would_change_hands():
    world = pair(books())
    world.contact(1, A1, FirstName="Jo", LastName="Bloggs", Email="jo@acme.com", ExternalID__c=X1 + PRIMARY)
    world.edit(X1, FirstName="Jo", LastName="Bloggs", EmailAddress="jo@acme.com")
    world.plan()
    world.edit(C1, Email="accounts@acme.com")
    plan = world.plan()
    assert what(plan) == [] and reasons(plan) == ["in Xero this address would belong to the company"]


# --- Creates ------------------------------------------------------------------------------------------


def test_nothing_is_made_by_the_shipped_mapping():
    world = books()
    world.account(1, Name="Acme Blue", Type="Customer - Direct")
    world.xero_contact(2, Name="Falcon", IsCustomer=True)
    assert what(world.plan()) == []


def test_a_customer_account_is_made_in_xero_and_then_carries_its_id():
    world = demo()
    world.account(1, Name="Acme Blue", Type="Customer - Direct", Phone="020 7946 0958")
    plan = world.plan()
    create, link, shown = plan.operations.to_dicts()
    assert (create["system"], create["action"], create["record_id"], create["source_id"]) == (
        "xero",
        "create",
        None,
        A1,
    )
    assert json.loads(create["native_after"])["ContactNumber"] == A1
    assert json.loads(create["after"]) == {"name": "Acme Blue", "phone": "+442079460958"}
    assert json.loads(link["native_after"]) == {"ExternalID__c": {"$from": create["operation_id"]}}
    assert link["depends_on"] == shown["depends_on"] == create["operation_id"]
    assert (link["phase"], shown["unit"]) == ("create", "status")


def test_a_customer_of_xero_is_made_in_salesforce_with_its_person():
    world = demo()
    world.xero_contact(
        1, Name="Falcon", IsCustomer=True, FirstName="Jo", LastName="Bloggs", EmailAddress="jo@falcon.com"
    )
    create, link, person = world.plan().operations.to_dicts()
    assert json.loads(create["native_after"])["ExternalID__c"] == X1
    assert json.loads(link["native_after"]) == {"ContactNumber": {"$from": create["operation_id"]}}
    body = json.loads(person["native_after"])
    assert body["AccountId"] == {"$from": create["operation_id"]} and body["ExternalID__c"] == X1 + PRIMARY
    assert person["depends_on"] == create["operation_id"] and body["LastName"] == "Bloggs"


def test_a_person_is_made_in_the_account_of_its_linked_party():
    world = pair(demo())
    world.edit(X1, IsCustomer=True)
    world.apply(world.plan())
    world.edit(X1, FirstName="Jo", LastName="Bloggs")
    row = only(world.plan())
    assert json.loads(row["native_after"])["AccountId"] == A1 and row["depends_on"] is None


def test_a_record_that_lacks_what_the_target_needs_is_set_aside():
    world = pair(demo())
    world.edit(X1, IsCustomer=True)
    world.apply(world.plan())
    world.edit(X1, FirstName="Jo")
    plan = world.plan()
    assert what(plan) == [] and "needs LastName" in " ".join(reasons(plan))


def test_a_name_that_xero_has_already_is_not_made_again():
    world = demo()
    world.account(1, Name="ACME blue", Type="Customer - Direct")
    world.account(2, Name="Acme Blue", Type="Customer - Direct")
    plan = world.plan()
    assert plan.operations.filter(pl.col("action") == "create").height == 1
    assert reasons(plan) == ["another active contact in Xero has this name, and Xero takes each name once"]


def test_what_is_in_review_is_not_made():
    world = demo()
    world.account(1, Name="Blue", Type="Customer - Direct")
    world.xero_contact(1, Name="Blue Ltd", IsCustomer=True)
    plan = world.plan()
    assert what(plan) == [] and plan.review.height == 1


def test_a_deleted_account_is_not_made_again():
    world = pair(demo())
    world.edit(X1, IsCustomer=True)
    world.apply(world.plan())
    world.edit(A1, IsDeleted=True)
    assert what(world.plan()) == []


ASKING = "extends: [default]\nentities: {party: {create: {xero: ask}}}"


def test_a_create_that_asks_goes_to_review_and_is_made_once_accepted():
    world = books(ASKING)
    world.account(1, Name="Acme Blue")
    plan = world.plan()
    asked = plan.review.to_dicts()[0]
    assert what(plan) == [] and (asked["rule"], asked["salesforce_id"], asked["xero_id"]) == (
        "create",
        A1,
        None,
    )
    decision = {"kind": "accept_link", "entity": "party", "salesforce_id": A1, "xero_id": None}
    world.decisions.append(
        decision | {"fingerprint": asked["fingerprint"], "made_by": "ann", "made_at": world.tick()}
    )
    plan = world.plan()
    assert plan.review.is_empty() and what(plan)[0] == ("create", "xero", "create", "record")


def test_a_create_that_was_refused_is_not_asked_again():
    world = books(ASKING)
    world.account(1, Name="Acme Blue")
    mark = world.plan().review["fingerprint"].item()
    decision = {
        "kind": "refuse_link",
        "entity": "party",
        "salesforce_id": A1,
        "xero_id": None,
        "fingerprint": mark,
    }
    world.decisions.append(decision | {"made_by": "ann", "made_at": world.tick()})
    plan = world.plan()
    assert what(plan) == [] and plan.review.is_empty()


def test_defaults_of_the_mapping_are_part_of_a_new_record():
    text = (
        "extends: [default]\nentities: {party: {create: {salesforce: always}, "
        "salesforce: {defaults: {OwnerId: '005000000000001AAA'}}}}"
    )
    world = books(text)
    world.xero_contact(1, Name="Falcon")
    create = world.plan().operations.to_dicts()[0]
    assert json.loads(create["native_after"])["OwnerId"] == "005000000000001AAA"


def test_a_contact_without_a_person_is_named_after_its_accounts_only_person():
    world = pair(demo())
    world.contact(1, A1, FirstName="Jo", LastName="Bloggs", Email="jo@acme.com")
    plan = world.plan()
    assert what(plan) == [
        ("create", "xero", "update", "name"),
        ("create", "xero", "update", "email"),
        ("create", "salesforce", "link", "reference"),
    ]
    assert set(plan.operations["link_id"]) == {f"person:{C1}:{X1}{PRIMARY}"}


def test_of_several_persons_nobody_is_made_the_primary_one():
    world = pair(demo())
    world.contact(1, A1, FirstName="Jo", LastName="Bloggs")
    world.contact(2, A1, FirstName="Ann", LastName="Other")
    assert what(world.plan()) == []


def test_a_contact_is_not_named_where_its_address_would_change_hands():
    world = pair(demo(), Billing_Email__c="jane@acme.com")
    world.edit(X1, EmailAddress="jane@acme.com")
    world.plan()
    world.contact(1, A1, FirstName="Jo", LastName="Bloggs", Email="jo@acme.com")
    assert what(world.plan()) == []


# --- The whole ----------------------------------------------------------------------------------------


def a_busy_plan() -> tuple[Books, Plan]:
    world = pair(demo())
    world.edit(A1, Phone="020 7946 0958", Billing_Email__c="accounts@acme.com")
    world.account(2, Name="Quartz Meadow", Type="Customer - Direct")
    world.contact(2, A2, FirstName="Ann", LastName="Other")
    world.xero_contact(3, Name="Falcon", IsCustomer=True, FirstName="Al", LastName="Falcon")
    world.account(4, Name="Willow Canyon", Tax_Number__c="GB123456789", Phone="0161 496 0000")
    world.xero_contact(4, Name="Willow Canyon", TaxNumber="GB123456789")
    return world, world.plan()


def test_a_plan_reads_in_the_order_in_which_it_can_be_made():
    operations = a_busy_plan()[1].operations
    phases = [PHASES.index(phase) for phase in operations["phase"]]
    assert phases == sorted(phases)
    made = list(operations["operation_id"])
    waits = operations.drop_nulls("depends_on").select("operation_id", "depends_on").rows()
    assert all(made.index(maker) < made.index(row) for row, maker in waits)


def test_operations_have_the_schema_and_each_its_own_id():
    operations = a_busy_plan()[1].operations
    assert dict(operations.schema) == {
        name: pl.DataFrame(schema={name: kind}).schema[name] for name, kind in OPERATIONS.items()
    }
    assert operations["operation_id"].is_unique().all()
    assert operations.select("reason", "rule", "native_after").null_count().sum_horizontal().item() == 0


def test_the_same_books_give_the_same_plan():
    assert a_busy_plan()[1].operations.equals(a_busy_plan()[1].operations)


def test_the_hash_does_not_depend_on_the_order_and_does_on_everything_else():
    operations = a_busy_plan()[1].operations
    header = {"snapshot": "s1", "mapping": "m1"}
    mark = plan_hash(operations, header)
    assert len(mark) == 64 and plan_hash(operations.reverse(), header) == mark
    assert plan_hash(operations, header | {"snapshot": "s2"}) != mark
    assert plan_hash(operations.head(operations.height - 1), header) != mark
    assert plan_hash(operations.with_columns(after=pl.lit("x")), header) != mark


def rows(count: int, system: str = "xero", phase: str = "change", action: str = "update") -> pl.DataFrame:
    made = [
        {
            "operation_id": f"{system}{phase}{n}",
            "system": system,
            "entity": "party",
            "object": "Contact",
            "record_id": None if action == "create" else f"r{n}",
            "action": action,
            "phase": phase,
        }
        for n in range(count)
    ]
    return conform(pl.DataFrame(made), OPERATIONS)


def active(count: int) -> pl.DataFrame:
    made = [
        {"entity": "party", "side": "xero", "record_id": f"r{n}", "status": "active"} for n in range(count)
    ]
    return conform(pl.DataFrame(made), RECORDS)


def test_a_plan_within_its_limits_needs_no_approval():
    assert beyond_limits(rows(25), active(100), max_operations=25, max_share=0.25) == []


def test_too_many_operations_and_too_large_a_share_are_each_told():
    told = beyond_limits(rows(26), active(100), max_operations=25, max_share=0.25)
    assert told == [
        "26 operations, more than the limit of 25",
        "26 of 100 records (party, xero) change, more than 25%",
    ]


def test_a_share_of_few_records_is_no_alarm():
    assert beyond_limits(rows(10), active(10), max_operations=100, max_share=0.1) == []


# --- Going back and forth -----------------------------------------------------------------------------


def test_a_unit_that_somebody_keeps_undoing_is_stopped_and_told():
    world = pair(
        books("extends: [default]\nentities: {party: {units: {phone: {flows: to_xero, drift: heal}}}}")
    )
    world.edit(A1, Phone="020 7946 0958")
    world.apply(world.plan())
    written: list[dict[str, Any]] = []
    for _ in range(3):
        world.edit(X1, Phones=phone("0161 496 0000"))
        plan = world.plan(recent=recent(world, written))
        written.append(only(plan) | {"at": world.tick()})
        world.apply(plan)
    world.edit(X1, Phones=phone("0161 496 0000"))
    plan = world.plan(recent=recent(world, written))
    assert what(plan) == [] and plan.drift["why"].to_list() == ["oscillates"]


def recent(world: Books, written: list[dict[str, Any]]) -> pl.DataFrame:
    party = world.mapping.entities["party"]
    schema = ("link_id", "unit", "system", "native_before", "native_after", "at")
    rows = (
        pl.DataFrame([{name: row[name] for name in schema} for row in written], schema=list(schema))
        if written
        else None
    )
    if rows is None:
        return empty(RECENT)
    sides = (world.canonical(party, "salesforce"), world.canonical(party, "xero"))
    return recent_writes(rows, world.links, party, *sides, region="GB")

"""When two records are the same: ids, identifiers, evidence, and everything that must make us ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile.match import DEFAULT_THRESHOLDS, Matches, Thresholds, follow_merges, link_id, match
from reconcile.model import DECISIONS, LINKS, RECORDS, VALUES, conform, empty

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
KINDS = {"name": "name", "email": "email", "phone": "phone", "tax_number": "code", "company_number": "code"}


def side_of(record_id: str) -> str:
    """A... are accounts or contacts of Salesforce, X... are Xero's."""
    return "salesforce" if record_id.startswith("A") else "xero"


class Book:
    """Records of one entity, said in few words."""

    def __init__(self, entity: str = "party") -> None:
        self.entity = entity
        self.records: list[dict[str, Any]] = []
        self.values: list[dict[str, Any]] = []
        self.links: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        self.parents: pl.DataFrame | None = None

    def has(self, record_id: str, *, status: str = "active", **rest: Any) -> Book:
        side = side_of(record_id)
        about = {
            key: rest.pop(key) for key in ("reference", "merged_into", "parent_id", "in_scope") if key in rest
        }
        row = {
            "entity": self.entity,
            "side": side,
            "record_id": record_id,
            "status": status,
            "in_scope": True,
        }
        self.records.append(row | about)
        self.change(record_id, **rest)
        return self

    def change(self, record_id: str, **values: Any) -> Book:
        for unit, value in values.items():
            kind = "person_name" if self.entity == "person" and unit == "name" else KINDS.get(unit, "address")
            text = json.dumps(value) if isinstance(value, dict) else value
            self.values = [v for v in self.values if (v["record_id"], v["unit"]) != (record_id, unit)]
            at = {"entity": self.entity, "side": side_of(record_id), "record_id": record_id, "unit": unit}
            self.values.append(at | {"kind": kind, "native": text, "value": text, "observed": True})
        return self

    def knows(self, salesforce: str, xero: str, rule: str = "tax_number") -> Book:
        row = {"entity": self.entity, "salesforce_id": salesforce, "xero_id": xero, "status": "linked"}
        self.links.append(
            row | {"link_id": link_id(self.entity, salesforce, xero), "rule": rule, "score": 1.0}
        )
        return self

    def said(self, kind: str, salesforce: str, xero: str, mark: str | None = None) -> Book:
        pair = {"salesforce_id": salesforce, "xero_id": xero, "fingerprint": mark}
        at = NOON + timedelta(minutes=len(self.decisions))
        self.decisions.append({"kind": kind, "entity": self.entity, **pair, "made_by": "ann", "made_at": at})
        return self

    def within(self, *pairs: tuple[str, str]) -> Book:
        rows = [{"entity": "party", "salesforce_id": a, "xero_id": x} for a, x in pairs]
        self.parents = conform(pl.DataFrame(rows), LINKS)
        return self

    def match(self, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Matches:
        frames = (
            conform(pl.DataFrame(rows, infer_schema_length=None), schema)
            for rows, schema in (
                (self.records, RECORDS),
                (self.values, VALUES),
                (self.links, LINKS),
                (self.decisions, DECISIONS),
            )
        )
        return match(*frames, entity=self.entity, parents=self.parents, thresholds=thresholds)


def linked(found: Matches) -> list[tuple[str, str, str]]:
    return list(found.links.select("salesforce_id", "xero_id", "rule").iter_rows())


def asked(found: Matches) -> set[tuple[str, str, str]]:
    return set(found.review.select("salesforce_id", "xero_id", "rule").iter_rows())


def wrong(found: Matches) -> set[str]:
    return set(found.incidents["record_id"])


def lone(found: Matches) -> dict[str, str]:
    return dict(found.unmatched.select("record_id", "why").iter_rows())


ACME = {"name": "Acme Blue Consulting Ltd", "phone": "+442079460958", "email": "info@acmeblue.com"}
OTHER = {"name": "Falcon Zephyr", "phone": "+441614960000", "email": "info@falconzephyr.com"}


# --- Known links and ids ------------------------------------------------------------------------------


def test_a_known_link_stands_whatever_the_values_say():
    found = Book().has("A1", **ACME).has("X1", **OTHER).knows("A1", "X1").match()
    assert linked(found) == [("A1", "X1", "tax_number")] and found.new.is_empty()


def test_ids_on_both_sides_link():
    found = Book().has("A1", reference="X1").has("X1", reference="A1").match()
    assert linked(found) == [("A1", "X1", "our_ids")] and found.new.height == 1


@pytest.mark.parametrize("where", ["A1", "X1"])
def test_one_missing_id_is_only_incomplete(where):
    book = Book()
    for record, other in (("A1", "X1"), ("X1", "A1")):
        book.has(record, reference=other if record == where else None)
    assert linked(book.match()) == [("A1", "X1", "our_ids")]


def test_an_archived_contact_is_linked_by_ids():
    found = Book().has("A1", reference="X1").has("X1", status="archived", reference="A1").match()
    assert linked(found) == [("A1", "X1", "our_ids")]


def test_an_id_that_contradicts_the_known_link_is_an_incident():
    found = Book().has("A1", reference="X2").has("X1").has("X2").knows("A1", "X1").match()
    assert wrong(found) == {"A1", "X1"} and not linked(found)


def test_ids_that_name_each_other_crosswise_are_incidents():
    found = Book().has("A1", reference="X1").has("X1", reference="A2").has("A2").match()
    assert wrong(found) == {"A1", "X1", "A2"} and not linked(found)


def test_two_accounts_that_claim_one_contact_are_incidents():
    found = Book().has("A1", reference="X1").has("A2", reference="X1").has("X1").match()
    assert wrong(found) == {"A1", "A2", "X1"} and not linked(found)


def test_a_copied_id_does_not_disturb_the_pair_that_agrees():
    found = Book().has("A1", reference="X1").has("X1", reference="A1").has("A2", reference="X1").match()
    assert linked(found) == [("A1", "X1", "our_ids")] and wrong(found) == {"A2"}


def test_an_id_of_a_record_that_is_not_there_is_an_incident():
    """A refreshed sandbox carries production's ids."""
    found = Book().has("A1", reference="X9", **ACME).has("X1", **ACME).match()
    assert wrong(found) == {"A1"} and not linked(found)


def test_the_record_of_an_incident_is_neither_linked_nor_made():
    found = Book().has("A1", reference="X9", **ACME).has("X1", **ACME).match()
    assert lone(found)["A1"] == "incident"


def test_a_deleted_partner_leaves_its_record_to_a_person():
    found = (
        Book().has("A1", status="deleted", **ACME).has("X1", reference="A1", **ACME).knows("A1", "X1").match()
    )
    assert not linked(found) and lone(found) == {"X1": "partner_gone"} and not wrong(found)


# --- Merges -------------------------------------------------------------------------------------------


def test_a_merged_account_leads_to_its_survivor():
    book = Book().has("A1", status="merged", merged_into="A2").has("A2").has("X1", reference="A1")
    found = book.knows("A1", "X1").match()
    assert linked(found) == [("A2", "X1", "survivor")] and found.new.height == 1


def test_a_merged_contact_leads_to_its_survivor_over_several_steps():
    book = Book().has("A1", reference="X1").has("X1", status="merged", merged_into="X2")
    found = book.has("X2", status="merged", merged_into="X3").has("X3").knows("A1", "X1").match()
    assert linked(found) == [("A1", "X3", "survivor")]


def test_a_survivor_that_is_linked_to_another_is_asked_about():
    book = Book().has("A1", reference="X1").has("A2", reference="X2").knows("A1", "X1").knows("A2", "X2")
    found = book.has("X1", reference="A1").has("X2", status="merged", merged_into="X1").match()
    assert linked(found) == [("A1", "X1", "tax_number")]
    assert asked(found) == {("A2", "X1", "survivor")} and lone(found) == {"A2": "review"}


def test_both_partners_merged_alike_change_nothing():
    book = Book().has("A1", reference="X1").has("X1", reference="A1").knows("A1", "X1").knows("A2", "X2")
    found = (
        book.has("A2", status="merged", merged_into="A1").has("X2", status="merged", merged_into="X1").match()
    )
    assert linked(found) == [("A1", "X1", "tax_number")] and not asked(found) and not wrong(found)


def test_merges_in_a_circle_are_survived():
    book = Book().has("A1", status="merged", merged_into="A2").has("A2", status="merged", merged_into="A1")
    found = book.has("X1", reference="A1", **ACME).knows("A1", "X1").match()
    assert not linked(found) and lone(found) == {"X1": "partner_gone"}


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_chain_of_merges_ends_where_following_it_step_by_step_ends(targets):
    """A record that points at itself is alive; one that points beyond the book leads to nothing."""
    rows = [
        {
            "side": "xero",
            "record_id": f"X{at}",
            "status": "active" if to == at else "merged",
            "merged_into": f"X{to}",
        }
        for at, to in enumerate(targets)
    ]
    records = conform(pl.DataFrame(rows), RECORDS)
    found = dict(follow_merges(records).select("record_id", "survivor").iter_rows())
    for start in range(len(targets)):
        at, seen = start, set[int]()
        while at < len(targets) and targets[at] != at and at not in seen:
            seen.add(at)
            at = targets[at]
        alive = at < len(targets) and targets[at] == at
        assert found[f"X{start}"] == (f"X{at}" if alive else None)


# --- Identifiers --------------------------------------------------------------------------------------


def test_a_tax_number_that_is_unique_on_both_sides_links():
    found = (
        Book()
        .has("A1", tax_number="GB1", name="Acme")
        .has("X1", tax_number="GB1", name="Acme Trading")
        .match()
    )
    assert linked(found) == [("A1", "X1", "tax_number")]


def test_a_tax_number_that_two_records_share_does_not_link():
    book = Book().has("A1", tax_number="GB1", name="Acme North").has("X1", tax_number="GB1", name="Zenith")
    assert not linked(book.has("X2", tax_number="GB1", name="Orbit").match())


def test_uniqueness_counts_records_that_are_linked_already():
    book = Book().has("A1", tax_number="GB1", name="Acme").has("A2", tax_number="GB1", name="Zenith")
    found = book.has("X1", reference="A1").has("X2", tax_number="GB1", name="Orbit").match()
    assert linked(found) == [("A1", "X1", "our_ids")]


def test_two_identifiers_that_name_two_records_are_asked_about():
    book = Book().has("A1", tax_number="GB1", company_number="77")
    found = book.has("X1", tax_number="GB1").has("X2", company_number="77").match()
    assert not linked(found) and {row[:2] for row in asked(found)} == {("A1", "X1"), ("A1", "X2")}


def test_an_identifier_never_takes_a_linked_record_from_its_partner():
    book = (
        Book()
        .has("A1", tax_number="GB1", reference="X1")
        .has("X1", reference="A1")
        .has("X2", tax_number="GB1")
    )
    found = book.match()
    assert linked(found) == [("A1", "X1", "our_ids")] and {row[:2] for row in asked(found)} == {("A1", "X2")}


# --- Score --------------------------------------------------------------------------------------------


def test_the_same_name_and_phone_link():
    found = Book().has("A1", **ACME).has("X1", **ACME | {"email": "jo@else.com"}).match()
    assert linked(found) == [("A1", "X1", "score")]


def test_a_legal_form_and_capitals_make_no_difference_to_a_match():
    found = Book().has("A1", **ACME).has("X1", **ACME | {"name": "ACME BLUE CONSULTING LIMITED"}).match()
    assert linked(found) == [("A1", "X1", "score")]


def test_an_email_alone_only_proposes_a_party():
    found = (
        Book().has("A1", **ACME).has("X1", **OTHER | {"email": ACME["email"], "phone": ACME["phone"]}).match()
    )
    assert not linked(found)


def test_a_common_name_alone_is_asked_about_and_never_made_twice():
    found = Book().has("A1", name="Blue").has("X1", name="Blue Ltd").match()
    assert not linked(found) and lone(found) == {"A1": "review", "X1": "review"}


def test_twins_that_fit_equally_well_are_asked_about():
    found = Book().has("A1", **ACME).has("A2", **ACME).has("X1", **ACME).match()
    assert not linked(found) and {row[:2] for row in asked(found)} == {("A1", "X1"), ("A2", "X1")}


def test_twins_are_asked_about_however_small_the_margin_is_set():
    book = Book().has("A1", **ACME).has("A2", **ACME).has("X1", **ACME)
    assert not linked(book.match(Thresholds(margin=0.0)))


def test_twins_that_evidence_tells_apart_are_linked():
    elsewhere = {"phone": "+441134960000", "email": "office@ablue.net"}
    book = Book().has("A1", **ACME).has("A2", **ACME | elsewhere)
    found = book.has("X1", **ACME).has("X2", **ACME | elsewhere).match()
    assert [row[:2] for row in linked(found)] == [("A1", "X1"), ("A2", "X2")]


def test_sisters_with_one_switchboard_and_domain_are_not_one_company():
    shared = {"phone": "+442079460958", "email": "info@group.com"}
    book = Book()
    for number, name in enumerate(["Acme Print", "Acme Travel", "Acme Foods", "Acme Rail"]):
        book.has(f"A{number}", name=name, **shared)
    found = book.has("X9", name="Acme Shipping", **shared).match()
    assert not linked(found) and not asked(found)


def test_names_that_differ_in_a_number_are_two_companies():
    assert not linked(Book().has("A1", name="Unit 12 Studios").has("X1", name="Unit 13 Studios").match())


def test_an_archived_contact_is_never_linked_by_score():
    found = Book().has("A1", **ACME).has("X1", status="archived", **ACME).match()
    assert (
        not linked(found) and asked(found) == {("A1", "X1", "archived")} and lone(found) == {"A1": "review"}
    )


@pytest.mark.parametrize("status", ["deleted", "merged"])
def test_a_record_that_is_gone_is_no_candidate(status):
    found = Book().has("A1", **ACME).has("X1", status=status, **ACME).match()
    assert not linked(found) and not asked(found) and lone(found) == {"A1": "new"}


def test_a_record_out_of_scope_is_not_linked_by_score():
    found = Book().has("A1", **ACME).has("X1", in_scope=False, **ACME).match()
    assert not linked(found) and asked(found) == {("A1", "X1", "out_of_scope")}


def test_a_copy_of_a_linked_record_is_told():
    book = Book().has("A1", reference="X1", **ACME).has("X1", reference="A1", **ACME).has("A2", **ACME)
    assert asked(book.match()) == {("A2", "X1", "duplicate")}


def test_evidence_holds_levels_and_weights_and_no_value():
    evidence = Book().has("A1", **ACME).has("X1", **ACME).match().links["evidence"].item()
    assert set(json.loads(evidence)) == {"name", "email", "phone"}
    assert not any(str(value) in evidence for value in (*ACME.values(), "acme"))


words = st.sampled_from(["acme", "blue", "falcon", "zephyr", "north", "ltd", "group"])
companies = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.lists(words, min_size=1, max_size=3).map(" ".join),
            "phone": st.sampled_from(["1234567890", "9876543210"]),
        }
    ),
    max_size=5,
)


@given(companies, companies, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_no_record_is_linked_twice_and_the_order_of_rows_decides_nothing(here, there, random):
    book = Book()
    for side, rows in (("A", here), ("X", there)):
        for number, row in enumerate(rows):
            book.has(f"{side}{number}", **row)
    found = book.match()
    assert found.links["salesforce_id"].is_unique().all() and found.links["xero_id"].is_unique().all()
    random.shuffle(book.records)
    random.shuffle(book.values)
    assert book.match().links.equals(found.links)


@given(companies, companies)
@settings(max_examples=40, deadline=None)
def test_neither_side_is_favoured(here, there):
    def pairs(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> set[tuple[str, str]]:
        book = Book()
        for side, rows in (("A", left), ("X", right)):
            for number, row in enumerate(rows):
                book.has(f"{side}{number}", **row)
        return {(a[1:], x[1:]) for a, x, _ in linked(book.match())}

    assert pairs(here, there) == {(a, x) for x, a in pairs(there, here)}


# --- What a person decided ----------------------------------------------------------------------------


def test_an_accepted_pair_is_linked():
    book = Book().has("A1", **ACME).has("X1", **OTHER).said("accept_link", "A1", "X1")
    found = book.match()
    assert linked(found) == [("A1", "X1", "accepted")] and found.links["made_by"].item() == "ann"


def test_an_accepted_pair_does_not_take_a_linked_record():
    book = (
        Book().has("A1", reference="X1").has("X1", reference="A1").has("X2").said("accept_link", "A1", "X2")
    )
    found = book.match()
    assert linked(found) == [("A1", "X1", "our_ids")] and asked(found) == {("A1", "X2", "accepted")}


def test_accepting_a_pair_settles_ids_that_contradict():
    book = (
        Book().has("A1", reference="X1").has("X1", reference="A2").has("A2").said("accept_link", "A1", "X1")
    )
    assert linked(book.match()) == [("A1", "X1", "accepted")]


def twins_asked() -> tuple[Book, str]:
    book = Book().has("A1", **ACME).has("A2", **ACME).has("X1", **ACME)
    review = book.match().review.filter(pl.col("salesforce_id") == "A1")
    return book, review["fingerprint"].item()


def test_a_refusal_is_remembered():
    book, mark = twins_asked()
    found = book.said("refuse_link", "A1", "X1", mark).match()
    assert linked(found) == [("A2", "X1", "score")] and lone(found) == {"A1": "new"}


def test_a_refusal_lapses_when_a_mapped_value_changes():
    book, mark = twins_asked()
    book.said("refuse_link", "A1", "X1", mark).change("A1", tax_number="GB1")
    assert asked(book.match()) == {("A1", "X1", "score"), ("A2", "X1", "score")}


def test_a_refusal_outlives_what_is_not_mapped():
    book, mark = twins_asked()
    book.said("refuse_link", "A1", "X1", mark)
    book.records = [row | {"row_hash": "new", "modified_at": NOON} for row in book.records]
    assert linked(book.match()) == [("A2", "X1", "score")]


def test_the_last_decision_counts():
    book, mark = twins_asked()
    book.said("refuse_link", "A1", "X1", mark).said("accept_link", "A1", "X1", mark)
    assert linked(book.match()) == [("A1", "X1", "accepted")]


# --- Persons ------------------------------------------------------------------------------------------


def person(first: str | None, last: str, email: str | None = None) -> dict[str, Any]:
    return {"name": {"first": first, "last": last}, **({"email": email} if email else {})}


def people(*pairs: tuple[str, str]) -> Book:
    return Book("person").within(*pairs)


def test_within_a_linked_party_an_email_links_persons():
    book = people(("A", "X")).has("A1", parent_id="A", **person("Jo", "Bloggs", "jo@acme.com"))
    found = book.has("X1", parent_id="X", **person("Joanne", "Bloggs", "jo@acme.com")).match()
    assert linked(found) == [("A1", "X1", "email")]


def test_within_a_linked_party_a_name_links_persons():
    book = (
        people(("A", "X"))
        .has("A1", parent_id="A", **person("Jo", "Bloggs"))
        .has("A2", parent_id="A", **person("Ann", "Other"))
    )
    assert linked(book.has("X1", parent_id="X", **person("Jo", "Bloggs")).match()) == [("A1", "X1", "name")]


def test_an_initial_is_enough_where_nobody_else_has_the_last_name():
    book = people(("A", "X")).has("A1", parent_id="A", **person("J.", "Bloggs"))
    book.has("X1", parent_id="X", **person("Jo", "Bloggs"))
    assert linked(book.match()) == [("A1", "X1", "name")]
    assert not linked(book.has("A2", parent_id="A", **person("Jim", "Bloggs")).match())


def test_a_similar_name_is_asked_about():
    book = people(("A", "X")).has("A1", parent_id="A", **person("Bob", "Bloggs"))
    found = book.has("X1", parent_id="X", **person("Robert", "Bloggs")).match()
    assert not linked(found) and asked(found) == {("A1", "X1", "score")}


def test_an_email_that_names_one_person_and_a_name_that_names_another_are_asked_about():
    book = people(("A", "X")).has("A1", parent_id="A", **person("Al", "Bloggs", "jo@acme.com"))
    book.has("A2", parent_id="A", **person("Jo", "Bloggs"))
    found = book.has("X1", parent_id="X", **person("Jo", "Bloggs", "jo@acme.com")).match()
    assert not linked(found) and {row[:2] for row in asked(found)} == {("A1", "X1"), ("A2", "X1")}


def test_one_mailbox_under_two_names_is_asked_about():
    book = people(("A", "X")).has("A1", parent_id="A", **person("James", "Shuttle", "james@acme.com"))
    found = book.has("X1", parent_id="X", **person("Petra", "Murgatroyd", "james@acme.com")).match()
    assert not linked(found) and {row[:2] for row in asked(found)} == {("A1", "X1")}


def test_outside_linked_parties_only_an_email_that_nobody_else_has_links():
    book = people().has("A1", parent_id="A", **person("Jo", "Bloggs", "jo@acme.com"))
    book.has("X1", parent_id="X", **person("Jo", "Bloggs", "jo@acme.com"))
    assert linked(book.match()) == [("A1", "X1", "email")]
    assert not linked(book.has("A2", parent_id="B", **person("Jo", "Bloggs", "jo@acme.com")).match())


def test_a_name_alone_links_nobody_outside_linked_parties():
    book = people().has("A1", parent_id="A", **person("Jo", "Bloggs"))
    found = book.has("X1", parent_id="X", **person("Jo", "Bloggs")).match()
    assert not linked(found) and lone(found) == {"A1": "parent_unlinked", "X1": "parent_unlinked"}


def test_an_email_across_parties_that_are_linked_elsewhere_is_asked_about():
    book = people(("A", "X9")).has("A1", parent_id="A", **person("Jo", "Bloggs", "jo@acme.com"))
    found = book.has("X1", parent_id="X", **person("Jo", "Bloggs", "jo@acme.com")).match()
    assert not linked(found) and asked(found) == {("A1", "X1", "other_party")}


def test_empty_books_match_nothing():
    found = match(empty(RECORDS), empty(VALUES), empty(LINKS), empty(DECISIONS), entity="party")
    assert all(
        frame.is_empty() for frame in (found.links, found.new, found.review, found.unmatched, found.incidents)
    )

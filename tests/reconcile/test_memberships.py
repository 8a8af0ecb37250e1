"""Who enters and leaves which contact group: the Account decides, and only about the groups that the mapping names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapped_records import mapping, raw

from reconcile.errors import WrongMapping
from reconcile.mapping import EntityMapping
from reconcile.memberships import MADE, membership_operations, unlike_memberships
from reconcile.model import LINKS, RAW, RECORDS, rows_frame

AT = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
NAMES = ("Retail", "Wholesale", "Trade")
Groups = dict[str, set[str]]  # name -> the contacts in it


def account(number: int) -> str:
    return f"001{number:012d}AAA"


def contact(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def group_id(name: str) -> str:
    return f"{name.encode().hex():0>32}"[-32:]


def party(**more: str) -> EntityMapping:
    keys = "".join(f", {name}: {value}" for name, value in more.items())
    text = f"groups: {{salesforce: Segment__c, among: [{', '.join(NAMES)}]{keys}}}"
    return mapping(f"extends: [default]\nentities: {{party: {{{text}}}}}\n").entities["party"]


def groups_raw(groups: Groups) -> pl.DataFrame:
    rows = [
        {
            "record_id": group_id(name),
            "deleted": False,
            "body": json.dumps(
                {
                    "ContactGroupID": group_id(name).upper(),
                    "Name": name,
                    "Status": "ACTIVE",
                    "Contacts": [{"ContactID": one.upper(), "Name": "A"} for one in sorted(members)],
                }
            ),
        }
        for name, members in groups.items()
    ]
    return rows_frame(rows, RAW)


def record(side: str, record_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "entity": "party", "side": side, "record_id": record_id, "status": "active", "in_scope": True, **fields,
    }  # fmt: skip


def decided(
    says: dict[int, str | None],
    groups: Groups,
    *,
    remove: str = "always",
    records: Any = None,
    links: Any = None,
) -> Any:
    """Say what changes. says: what each Account, by number, has in its field; contact n is linked to Account n."""
    found = records or [
        one for n in says for one in (record("salesforce", account(n)), record("xero", contact(n)))
    ]
    part: Any = SimpleNamespace(mapping=party(remove=remove), records=rows_frame(found, RECORDS))
    pairs = links or [(n, n) for n in says]
    held = [
        {"entity": "party", "salesforce_id": account(a), "xero_id": contact(b), "status": "linked"}
        for a, b in pairs
    ]
    accounts = raw(*({"Id": account(n), "Segment__c": text} for n, text in says.items()), side="salesforce")
    return unlike_memberships(part, rows_frame(held, LINKS), accounts, groups_raw(groups))


def changed(found: Any, groups: Groups) -> Groups:
    """Give the groups as the push would leave them."""
    after = {name: set(members) for name, members in groups.items()}
    by_id = {group_id(name): name for name in groups}
    for record_id, goes_in in found.changes.select("record_id", "goes_in").iter_rows():
        group, _, who = record_id.partition("/")
        if goes_in:
            assert who not in after[by_id[group]]
            after[by_id[group]].add(who)
        else:
            after[by_id[group]].remove(who)
    return after


def steps(found: Any) -> set[tuple[str, str, bool]]:
    rows = found.changes.select("account_id", "name", "goes_in").rows()
    return set(rows)


spelled = st.sampled_from([*NAMES, "retail", " TRADE ", "VIP", "Else", ""])
texts = st.none() | st.lists(spelled, max_size=4).map(";".join)
people = st.sets(st.integers(1, 6).map(contact))
everywhere = st.dictionaries(st.sampled_from([*NAMES, "VIP", "Else"]), people)
accounts_say = st.dictionaries(st.integers(1, 4), texts, min_size=1)


@given(accounts_say, everywhere, st.sampled_from(["always", "never"]))
def test_only_groups_and_contacts_of_ours_move_and_then_all_is_quiet(
    says: dict[int, str | None], groups: Groups, remove: str
) -> None:
    found = decided(says, groups, remove=remove)
    after = changed(found, groups)
    assert {name: after[name] for name in groups if name not in NAMES} == {
        name: groups[name] for name in groups if name not in NAMES
    }
    ours = {contact(n) for n in says}
    assert all(after[name] - ours == groups[name] - ours for name in groups)
    if remove == "never":
        assert all(groups[name] <= after[name] for name in groups)
    for number, text in says.items():
        named = {one.strip().lower() for one in (text or "").split(";")} - {""}
        mine = {name for name in NAMES if name in after and contact(number) in after[name]}
        wanted = {name for name in NAMES if name in after and name.lower() in named}
        assert wanted <= mine
        if remove == "always" and named <= {name.lower() for name in NAMES}:
            assert mine == wanted
    assert decided(says, after, remove=remove).changes.is_empty()


def test_a_misspelled_name_takes_nobody_out_and_a_group_that_is_not_there_is_told_once() -> None:
    groups: Groups = {"Retail": {contact(1), contact(2)}, "Wholesale": set()}
    found = decided({1: "Wholesale; Retial", 2: "Wholesale;Trade", 3: "trade"}, groups)
    assert steps(found) == {
        (account(1), "Wholesale", True),
        (account(2), "Wholesale", True),
        (account(2), "Retail", False),
    }
    told = dict(found.rejects.select("record_id", "reason").iter_rows())
    assert told[account(1)].startswith(
        "Segment__c says Retial, which is none of the groups in `among` (mine.yaml:2"
    )
    assert "by Segment__c 2 Accounts name the group Trade, which is not in Xero: make it there" in told[None]


def test_a_group_that_xero_has_twice_is_left_alone_and_told() -> None:
    found = decided({1: "Retail"}, {"Retail": set(), "RETAIL": {contact(1)}})
    assert found.changes.is_empty()
    assert "of which Xero has 2: rename one there" in found.rejects["reason"].item()


@pytest.mark.parametrize("side", ["salesforce", "xero"])
@pytest.mark.parametrize("fault", [{"status": "archived"}, {"in_scope": False}, {"status": "deleted"}])
def test_who_is_not_active_or_not_in_scope_is_left_where_they_are(side: str, fault: dict[str, Any]) -> None:
    records = [
        record(which, record_id, **(fault if which == side else {}))
        for which, record_id in (("salesforce", account(1)), ("xero", contact(1)))
    ]
    found = decided({1: "Wholesale"}, {"Retail": {contact(1)}, "Wholesale": set()}, records=records)
    assert found.changes.is_empty()


def test_two_accounts_of_one_contact_name_its_groups_together() -> None:
    says: dict[int, str | None] = {1: "Retail", 2: "Trade"}
    groups: Groups = {"Retail": set(), "Wholesale": {contact(1)}, "Trade": set()}
    found = decided(says, groups, links=[(1, 1), (2, 1)])
    assert steps(found) == {
        (account(1), "Retail", True),
        (account(2), "Trade", True),
        (account(1), "Wholesale", False),
    }


def test_a_row_that_does_not_tell_the_field_moves_nobody() -> None:
    part: Any = SimpleNamespace(
        mapping=party(),
        records=rows_frame([record("salesforce", account(1)), record("xero", contact(1))], RECORDS),
    )
    held = [{"salesforce_id": account(1), "xero_id": contact(1), "status": "linked"}]
    rows = groups_raw({"Retail": {contact(1)}})
    kept = raw({"Id": account(1)}, side="salesforce")
    assert unlike_memberships(part, rows_frame(held, LINKS), kept, rows).changes.is_empty()
    odd = raw({"Id": account(1), "Segment__c": ["Retail"]}, side="salesforce")
    assert unlike_memberships(part, rows_frame(held, LINKS), odd, rows).changes.is_empty()


def test_groups_that_can_not_be_read_plan_nothing() -> None:
    part: Any = SimpleNamespace(mapping=party(), records=rows_frame([], RECORDS))
    rows = groups_raw({"Retail": set()}).with_columns(body=pl.lit("half"))
    found = unlike_memberships(part, rows_frame([], LINKS), raw(side="salesforce"), rows)
    assert found.changes.is_empty() and "can't be read" in found.rejects["reason"].item()


def operations(found: Any, *made: tuple[str, int, bool, datetime]) -> list[dict[str, Any]]:
    rows = [
        {"record_id": f"{group_id(name)}/{contact(n)}", "went_in": went_in, "at": at}
        for name, n, went_in, at in made
    ]
    groups = party().groups
    assert groups is not None
    return membership_operations(found.changes, rows_frame(rows, MADE), groups, as_of=AT).to_dicts()


def test_an_operation_says_what_it_does_and_why() -> None:
    found = decided({1: "Retail", 2: None}, {"Retail": set(), "Trade": {contact(2)}})
    enters, leaves = operations(found)
    assert (enters["phase"], enters["before"], enters["after"]) == ("fill", None, "Retail")
    assert (enters["native_before"], enters["native_after"]) == ('{"Member":false}', '{"Member":true}')
    assert enters["record_id"] == f"{group_id('Retail')}/{contact(1)}" and enters["source_id"] == account(1)
    assert enters["reason"] == "Segment__c names the group Retail, and the contact is not in it"
    assert (leaves["phase"], leaves["before"], leaves["after"]) == ("change", "Trade", None)
    assert leaves["reason"] == "Segment__c does not name the group Trade, and the contact is in it"
    assert enters["rule"] == "mine.yaml:2: entities.party.groups"


def test_what_we_made_before_is_put_back_and_what_is_newer_than_the_snapshot_is_not_made_again() -> None:
    found = decided({1: "Retail", 2: None}, {"Retail": set(), "Trade": {contact(2)}})
    before, after = AT - timedelta(hours=1), AT + timedelta(seconds=1)
    back, again = operations(found, ("Retail", 1, True, before), ("Trade", 2, False, before))
    assert back["reason"].endswith("since we put it there: it is put back")
    assert again["reason"].endswith("since we took it out: it is taken out again")
    assert operations(found, ("Retail", 1, True, after), ("Trade", 2, False, after)) == []
    other = operations(found, ("Retail", 1, False, after))  # that was another wish
    assert [one["after"] for one in other] == ["Retail", None]


def test_the_checks_know_each_membership_and_what_the_snapshot_shows_of_those_that_change() -> None:
    found = decided({1: "Retail"}, {"Retail": set(), "Trade": {contact(1), contact(9)}})
    ids = {f"{group_id(name)}/{contact(1)}" for name in ("Retail", "Trade")}
    assert set(found.records["record_id"]) == set(found.seen["record_id"]) == ids
    assert {json.loads(body)["Member"] for body in found.seen["body"]} == {True, False}


# --- The mapping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("{salesforce: Segment__c}", "found no 'among'"),
        ("{among: [Retail]}", "found no 'salesforce'"),
        ("{salesforce: Segment__c, among: []}", "among: found an empty list"),
        (
            "{salesforce: Segment__c, among: [Retail, ' retail']}",
            "found 'retail', which 'Retail' names already",
        ),
        ("{salesforce: Segment__c, among: ['a;b']}", "found 'a;b', expected the name of one group"),
        ("{salesforce: Segment__c, among: [a], remove: maybe}", "remove: found 'maybe'"),
        ("{salesforce: Segment__c, among: [a], made: yes}", "the key 'made'"),
        ("{salesforce: Xero_Customer__c, among: [a]}", "which the projection is_customer sets"),
        ("{salesforce: 'no field', among: [a]}", "expected the name of one field"),
        (f"{{salesforce: Segment__c, among: [{', '.join(f'g{n}' for n in range(101))}]}}", "101 groups"),
    ],
)
def test_a_mistake_is_told_with_its_place(groups: str, said: str) -> None:
    with pytest.raises(WrongMapping) as told:
        mapping(f"extends: [default]\nentities:\n  party:\n    groups: {groups}\n")
    assert "mine.yaml:4: entities.party.groups" in str(told.value) and said in str(told.value)


def test_only_a_party_has_groups_and_null_takes_them_out() -> None:
    with pytest.raises(WrongMapping, match="groups of a person"):
        mapping("extends: [default]\nentities: {person: {groups: {salesforce: A__c, among: [a]}}}\n")
    without = mapping("extends: [default]\nentities: {party: {groups: null}}\n")
    assert without.groups is None and without.hash == mapping("extends: [default]\n").hash


def test_the_field_and_the_groups_are_read_and_change_what_the_mapping_means() -> None:
    found = mapping(
        "extends: [default]\nentities: {party: {groups: {salesforce: Segment__c, among: [b, a]}}}\n"
    )
    other = mapping(
        "extends: [default]\nentities: {party: {groups: {salesforce: Segment__c, among: [a, b]}}}\n"
    )
    assert "Segment__c" in found.pulled("salesforce")["Account"]
    assert "Contacts" in found.pulled("xero")["ContactGroup"]
    assert found.hash == other.hash != mapping("extends: [default]\n").hash
    assert "ContactGroup" not in mapping("extends: [default]\n").pulled("xero")

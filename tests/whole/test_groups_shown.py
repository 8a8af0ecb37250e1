"""The contact groups of Xero are shown on the Account, and follow who enters and leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from settled_pair import Till
from whole_pair import Body, Pair, running

pytestmark = pytest.mark.in_turn(2)

MAPPING = "extends: [demo]\nentities: {party: {projections: {groups: {salesforce: Xero_Groups__c, from: groups}}}}\n"
FIELD = {"name": "Xero_Groups__c", "type": "string", "length": 255}


def group(till: Till, name: str) -> Body:
    return till.call("PUT", "ContactGroups", {"ContactGroups": [{"Name": name}]})


def enter(till: Till, into: Body, contact_id: str) -> None:
    path = f"/api.xro/2.0/ContactGroups/{into['ContactGroupID']}/Contacts"
    till.xero.put(path, json={"Contacts": [{"ContactID": contact_id}]}).raise_for_status()


def leave(till: Till, out_of: Body, contact_id: str) -> None:
    path = f"/api.xro/2.0/ContactGroups/{out_of['ContactGroupID']}/Contacts/{contact_id}"
    till.xero.delete(path).raise_for_status()


def shown(pair: Pair, contact_id: str) -> str | None:
    (account,) = (row for row in pair.dump("salesforce").values() if row.get("ExternalID__c") == contact_id)
    return account["Xero_Groups__c"]


def test_groups_of_a_contact_are_shown_on_its_account(tmp_path: Path) -> None:
    with running(tmp_path / "pair") as pair:
        pair.control("salesforce", "POST", "fields", {"object": "Account", "add": FIELD})
        (pair.folder / "mapping.yaml").write_text(MAPPING)
        pair.enable_writes()
        pair.adopt()
        till = Till(pair)
        linked = sorted(
            row["ExternalID__c"]
            for row in pair.dump("salesforce").values()
            if row["attributes"]["type"] == "Account" and row.get("ExternalID__c")
        )
        one, other = linked[:2]
        wholesale, retail = group(till, "Wholesale"), group(till, " retail")
        enter(till, wholesale, one)
        enter(till, retail, one)
        enter(till, wholesale, other)
        assert {shown(pair, which) for which in linked} == {None}
        planned = pair.plan(full=True)  # nothing is stamped when a contact enters a group
        assert planned.operations.select("object", "unit").rows() == [("Account", "groups")] * 2
        pair.apply(planned)
        assert [shown(pair, which) for which in (one, other)] == ["Wholesale; retail", "Wholesale"]
        assert pair.plan(full=True).operations.is_empty()
        leave(till, wholesale, one)
        leave(till, wholesale, other)
        pair.apply(pair.plan(full=True))
        assert [shown(pair, which) for which in (one, other)] == ["retail", None]
        assert pair.plan(full=True).operations.is_empty()

"""A run is taken back: what is still ours is put back, what is not is told, and nothing comes again by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from test_won_deals import close, invoices
from whole_pair import Pair, Said, outcomes, phone

from pipelines import plans, undo
from pipelines.plans import Planned
from reconcile.errors import LogInAgain, PlanUnusable

pytestmark = pytest.mark.in_turn(1)


def last_run(pair: Pair) -> str:
    with pair.opened(offline=True) as ctx:
        return undo.runs_that_wrote(ctx)[0].run_id


def take_back(pair: Pair, run: str) -> Planned:
    with pair._checks(), pair.opened() as ctx:
        return undo.plan_undo(ctx, run)


def left(planned: Planned) -> dict[str, str]:
    """Unit -> why it can't be taken back."""
    rows = planned.rejects.filter(pl.col("stage") == "undo").to_dicts()
    return {row["unit"]: row["reason"] for row in rows}


def test_a_change_is_put_back_and_does_not_come_again(pair: Pair) -> None:
    account, contact = pair.linked()[0]
    before = pair.contact(contact["ContactID"])
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999", Fax="020 7946 0998")
    assert outcomes(pair.apply(pair.plan())) == {"confirmed": 2}
    planned = take_back(pair, last_run(pair))
    assert {row["unit"] for row in planned.operations.to_dicts()} == {"phone", "fax"}
    assert outcomes(pair.apply(planned)) == {"confirmed": 2}
    after = pair.contact(contact["ContactID"])
    numbers = [[row.get("PhoneNumber") or "" for row in body.get("Phones") or ()] for body in (before, after)]
    assert [n for n in numbers[0] if n] == [n for n in numbers[1] if n]
    assert pair.row(account["Id"])["Phone"] == "020 7946 0999"  # what the person wrote stays
    assert not pair.plan().waits
    # An edit after that is a change like any other.
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0123")
    assert {row["unit"] for row in pair.plan().operations.to_dicts()} == {"phone"}


def test_what_somebody_changed_since_stays_and_is_told(pair: Pair) -> None:
    account, contact = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999", Fax="020 7946 0998")
    pair.apply(pair.plan())
    parts = {"PhoneNumber": "020 7946 0001", "PhoneAreaCode": "", "PhoneCountryCode": ""}
    pair.in_xero.change(contact["ContactID"], Phones=[{"PhoneType": "DEFAULT", **parts}])
    planned = take_back(pair, last_run(pair))
    assert {row["unit"] for row in planned.operations.to_dicts()} == {"fax"}
    assert "somebody changed it since" in left(planned)["phone"]


def test_first_contact_is_taken_back_whole(fresh: Pair) -> None:
    """Ids go out, new contacts are archived, filled blanks are blank; records in Salesforce stay, and that is told."""
    fresh.enable_writes()
    begun = {side: fresh.dump(side) for side in ("salesforce", "xero")}
    fresh.apply(fresh.plan())
    made = {row[1] for row in fresh.created()}
    planned = take_back(fresh, last_run(fresh))
    assert any("is not deleted by us" in reason for reason in left(planned).values())
    result = outcomes(fresh.apply(planned))
    assert set(result) <= {"confirmed", "adopted"}, result
    now = {side: fresh.dump(side) for side in ("salesforce", "xero")}
    # The ids of Accounts that were made stay where they are, so that they aren't made anew.
    partners = set(planned.rejects.filter(pl.col("unit") == "reference")["record_id"])
    for side, rows in begun.items():
        for record_id in rows.keys() - partners:
            row = rows[record_id]
            for field in ("Phone", "Fax", "AccountNumber", "ContactNumber", "EmailAddress", "Email"):
                assert (now[side][record_id].get(field) or None) == (row.get(field) or None), (
                    record_id,
                    field,
                )
    new = [row for key, row in now["xero"].items() if key not in begun["xero"]]
    contacts, invoices = ([row for row in new if name in row] for name in ("ContactStatus", "InvoiceID"))
    assert contacts and all(row["ContactStatus"] == "ARCHIVED" for row in contacts), made
    assert invoices and all(row["Status"] == "DELETED" for row in invoices)
    again = fresh.plan()
    assert again.operations.filter(pl.col("phase").is_in(["link", "fill"])).is_empty(), again.operations
    made_anew = again.operations.filter(pl.col("action") == "create")["source_id"]
    assert not set(made_anew) & {*planned.operations["record_id"], *planned.operations["source_id"]}
    # They are asked about, and a person may think again.
    asked = fresh.command_in_group("links", "review", "--json").json()
    accepted = next(row for row in asked if row["entity"] == "party" and row["rule"] == "undone")
    assert fresh.command_in_group("links", "accept", accepted["link_id"]).code == 0
    ids = {row["record_id"] for row in fresh.plan().operations.filter(pl.col("phase") == "link").to_dicts()}
    assert {accepted["salesforce_id"], accepted["xero_id"]} <= ids


def test_a_link_taken_back_is_asked_about_though_the_push_broke_off(fresh: Pair) -> None:
    """The other side refuses our login after the first ids went out: those are not linked again by themselves."""
    fresh.enable_writes()
    fresh.apply(fresh.plan())
    planned = take_back(fresh, last_run(fresh))
    refused = {"kind": "expired_token", "method": "POST", "path": "Contacts", "times": -1}
    fresh.control("xero", "POST", "faults", refused)
    with pytest.raises(LogInAgain):
        fresh.apply(planned)
    fresh.control("xero", "DELETE", "faults")
    with fresh.opened(offline=True) as ctx:
        done = ctx.journal.outcomes(planned.hash).filter(pl.col("outcome") == "confirmed")
    assert done.filter(pl.col("unit") == "reference").height > 0
    again = fresh.plan()
    assert again.operations.filter(pl.col("phase") == "link").is_empty(), again.operations
    assert "undone" in set(again.review["rule"])


def test_what_was_found_written_after_a_lost_answer_is_put_back_too(pair: Pair) -> None:
    account, contact = pair.linked()[0]
    before = phone(pair.contact(contact["ContactID"]))
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    planned = pair.plan()
    pair.control("xero", "POST", "faults", {"kind": "drop_after", "method": "POST", "path": "Contacts"})
    assert outcomes(pair.apply(planned)) == {"adopted": 1}
    planned = take_back(pair, last_run(pair))
    assert {row["unit"] for row in planned.operations.to_dicts()} == {"phone"}
    pair.apply(planned)
    assert phone(pair.contact(contact["ContactID"])) == before


def test_a_new_record_that_was_found_after_a_lost_answer_is_told_not_archived(pair: Pair) -> None:
    """It may be somebody else's: the answer that would say so is the one that was lost."""
    pair.in_salesforce.make("Account", Name="Brightwater Joinery", Type="Customer")
    planned = pair.plan()
    assert "create" in set(planned.operations.filter(pl.col("system") == "xero")["action"]), (
        planned.operations
    )
    pair.control("xero", "POST", "faults", {"kind": "drop_after", "method": "PUT", "path": "Contacts"})
    assert "adopted" in outcomes(pair.apply(planned))
    planned = take_back(pair, last_run(pair))
    assert planned.operations.is_empty(), planned.operations
    assert any("whether the run made it is not known" in reason for reason in left(planned).values())


def test_a_plan_that_was_changed_after_its_sealing_is_not_taken_back(pair: Pair) -> None:
    account, _ = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    planned = pair.plan()
    pair.apply(planned)
    with pair.opened(offline=True) as ctx:
        kept = plans.load(ctx.plans_folder, planned.hash)
        forged = kept.operations.with_columns(before=pl.lit("+442079461234"))
        plans.store(replace(kept, operations=forged), ctx.plans_folder)
    with pytest.raises(PlanUnusable, match="changed after it was sealed"):
        take_back(pair, last_run(pair))


def test_undoing_twice_finds_nothing_more_to_do(pair: Pair) -> None:
    account, _ = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    pair.apply(pair.plan())
    run = last_run(pair)
    pair.apply(take_back(pair, run))
    again = take_back(pair, run)
    assert not again.waits
    assert "somebody changed it since" in left(again)["phone"] or left(again) == {}


def test_the_undoing_can_itself_be_undone(pair: Pair) -> None:
    account, contact = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    pair.apply(pair.plan())
    wrote = pair.contact(contact["ContactID"])["Phones"]
    pair.apply(take_back(pair, last_run(pair)))
    pair.apply(take_back(pair, last_run(pair)))
    assert pair.contact(contact["ContactID"])["Phones"] == wrote


def test_the_command_lists_plans_and_refuses(pair: Pair) -> None:
    assert "reconcile undo" in pair.command("undo").out
    account, _ = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    pair.apply(pair.plan())
    listed: list[dict[str, Any]] = pair.command("undo", "--json").json()
    said: Said = pair.command("undo", listed[0]["run_id"][:10])
    assert said.code == 3 and "put back" in said.out
    wrong = pair.command("undo", "zzz")
    assert wrong.code == 2 and "no run that wrote" in wrong.err


def test_only_runs_that_wrote_are_listed_and_a_killed_one_as_killed(pair: Pair) -> None:
    account, _ = pair.linked()[0]
    pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
    before = pair.command("undo", "--json").json()
    planned = pair.plan()
    with pair.opened() as ctx, ctx.leased(), ctx.run("apply", plan=planned.hash):
        pass  # it was stopped before its first write
    assert pair.command("undo", "--json").json() == before
    planned = pair.plan()
    pair.apply(planned)
    with pair.opened(offline=True) as ctx, ctx.journal.write() as con:
        con.exec_driver_sql(
            "update runs set state = 'running', ended_at = null where run_id = ?", (last_run(pair),)
        )
    assert pair.command("undo", "--json").json()[0]["state"] == "killed"
    with pair.opened(offline=True) as ctx, ctx.leased():
        assert undo.runs_that_wrote(ctx)[0].state == "running"


@pytest.mark.parametrize(
    ("status", "ends"), [pytest.param("DRAFT", "DELETED", marks=pytest.mark.slow), ("AUTHORISED", "VOIDED")]
)
def test_an_invoice_is_taken_back_as_far_as_it_went_and_no_other_is_made(
    fresh: Pair, status: str, ends: str
) -> None:
    fresh.enable_writes()
    fresh.adopt()
    closed = close(fresh)
    assert set(fresh.apply(fresh.plan())["outcome"]) == {"confirmed"}
    run, number = last_run(fresh), f"SF-{closed['Id'].upper()}"
    if status != "DRAFT":  # somebody approves it, in Xero's own pages
        made = {"InvoiceID": invoices(fresh)[number]["InvoiceID"], "Status": status}
        fresh.control("xero", "POST", "edit-invoice", made)
        fresh.adopt()  # which Salesforce shows
    planned = take_back(fresh, run)
    [row] = planned.operations.filter(pl.col("system") == "xero").to_dicts()
    assert (row["record_id"], row["phase"]) == (invoices(fresh)[number]["InvoiceID"], "undo")
    assert set(outcomes(fresh.apply(planned))) <= {"confirmed", "adopted"}
    assert invoices(fresh)[number]["Status"] == ends
    before = set(invoices(fresh))
    fresh.adopt()
    assert not fresh.plan(full=True).waits
    assert set(invoices(fresh)) == before and invoices(fresh)[number]["Status"] == ends

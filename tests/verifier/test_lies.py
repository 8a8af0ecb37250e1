"""The verifier believes the truth, and finds each of these lies, however well it was sealed again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import verify
from evidence import Evidence, sha256

Lie = Callable[[Evidence], None]
LIES: dict[str, tuple[Lie, bool]] = {}  # name -> (what is changed, whether all seals are made again)
VERIFIER = Path(verify.__file__)


def lie(function: Lie) -> Lie:
    """A lie by somebody who can make every hash again."""
    LIES[function.__name__] = (function, True)
    return function


def clumsy(function: Lie) -> Lie:
    """A lie by somebody who can only seal the certificate again."""
    LIES[function.__name__] = (function, False)
    return function


def edit_body(evidence: Evidence, request: Any, change: Callable[[Any], None]) -> None:
    """Change the body of a request everywhere in the certificate."""
    body = json.loads(request["body"])
    change(body)
    old, request["body"] = request["sha256"], json.dumps(body)
    request["sha256"] = sha256(request["body"])
    row = evidence.row_of(request)
    row["details"] = row["details"].replace(old, request["sha256"])


def again_as_another_job(e: Evidence, sha: str) -> None:
    """Let the systems' log have a job once more, with rows of that hash."""
    logged = e.logged(e.request(job=True))
    job_id = logged["path"].split("/")[-2]
    rows = [row for row in e.history["salesforce"] if job_id in row["path"]]
    for row in copy.deepcopy(rows):
        row["path"] = row["path"].replace(job_id, "750Sb0000000999IAA")
        row["body_sha256"] = sha if row["method"] == "PUT" else row["body_sha256"]
        e.history["salesforce"].append(row)


def records_of(body: Any) -> list[Any]:
    return next(value for value in body.values() if isinstance(value, list))


# --- what was sent ---


@lie
def another_value_was_sent(e: Evidence) -> None:
    request = e.request(system="salesforce", action="update")
    edit_body(e, request, lambda body: records_of(body)[0].update(ExternalID__c="another"))


@lie
def another_value_went_in_a_job(e: Evidence) -> None:
    request = e.request(job=True)
    old, first = request["sha256"], request["body"].splitlines()[1]
    request["body"] = request["body"].replace(first, first.partition(",")[0] + ",another")
    request["sha256"] = sha256(request["body"])
    row = e.row_of(request)
    row["details"] = row["details"].replace(old, request["sha256"])
    e.logged({**request, "sha256": old})["body_sha256"] = request["sha256"]


@lie
def the_rows_of_a_job_went_in_a_second_one(e: Evidence) -> None:
    again_as_another_job(e, e.request(job=True)["sha256"])


@lie
def a_job_wrote_what_no_certificate_has(e: Evidence) -> None:
    again_as_another_job(e, sha256("Id,ExternalID__c\n001,1\n"))


@lie
def another_value_was_sent_and_the_systems_log_agrees(e: Evidence) -> None:
    request = e.request(system="xero", action="update")
    logged = e.logged(request)
    edit_body(e, request, lambda body: records_of(body)[0].update(Name="Mallory"))
    logged["body_sha256"] = request["sha256"]


def edit_guarded(e: Evidence, change: Callable[[Any], None]) -> None:
    """Change the first subrequest of a composite, in the system's log too."""
    request = e.request(system="salesforce", path="composite")
    logged = e.logged(request)
    edit_body(e, request, lambda body: change(body["compositeRequest"][0]))
    logged["body_sha256"] = request["sha256"]


@lie
def another_value_was_sent_in_a_subrequest(e: Evidence) -> None:
    edit_guarded(e, lambda one: one["body"].update(dict.fromkeys(one["body"], "Mallory")))


@lie
def a_field_more_was_sent_in_a_subrequest(e: Evidence) -> None:
    edit_guarded(e, lambda one: one["body"].update(OwnerId="005000000000000AAA"))


@lie
def a_subrequest_names_another_record(e: Evidence) -> None:
    edit_guarded(e, lambda one: one.update(url=one["url"][:-18] + "001000000000000AAA"))


@lie
def a_subrequest_names_another_object(e: Evidence) -> None:
    edit_guarded(e, lambda one: one.update(url=one["url"].replace("/Account/", "/Contact/")))


@lie
def a_subrequest_deletes(e: Evidence) -> None:
    edit_guarded(e, lambda one: one.update(method="DELETE"))


@lie
def a_subrequest_without_a_body_deletes(e: Evidence) -> None:
    def delete(one: Any) -> None:
        one["method"] = "DELETE"
        del one["body"]

    edit_guarded(e, delete)


@lie
def a_collection_names_another_object(e: Evidence) -> None:
    request = e.request(system="salesforce", path="composite/sobjects")
    logged = e.logged(request)
    edit_body(e, request, lambda body: records_of(body)[0]["attributes"].update(type="Lead"))
    logged["body_sha256"] = request["sha256"]


@clumsy
def the_bytes_are_not_those_of_the_hash(e: Evidence) -> None:
    request = e.request(system="xero")
    request["body"] = request["body"].replace(":", ": ", 1)


@lie
def a_field_more_was_sent(e: Evidence) -> None:
    edit_body(e, e.request(system="xero"), lambda body: records_of(body)[0].update(BankAccountDetails="1"))


@lie
def a_field_less_was_sent(e: Evidence) -> None:
    edit_body(e, e.request(system="xero", action="create"), lambda body: records_of(body)[0].pop("Name"))


@lie
def a_record_more_was_sent(e: Evidence) -> None:
    request = e.request(system="xero", action="update")
    edit_body(e, request, lambda body: records_of(body).append(dict(records_of(body)[0])))


@lie
def the_body_names_another_contact(e: Evidence) -> None:
    request, other = e.request(system="xero", action="update"), e.records["xero"][0]["ContactID"]
    edit_body(e, request, lambda body: records_of(body)[0].update(ContactID=other[::-1]))


@lie
def two_records_of_a_body_changed_places(e: Evidence) -> None:
    edit_body(e, e.request(many=True), lambda body: records_of(body).reverse())


@clumsy
def a_request_was_left_out(e: Evidence) -> None:
    e.certificates[0]["requests"].pop()


@lie
def a_request_and_its_intent_were_left_out(e: Evidence) -> None:
    request = e.certificates[0]["requests"].pop()
    rows = e.certificates[0]["chain"]["rows"]
    rows.remove(next(row for row in rows if request["request_id"] in row["details"]))


@lie
def a_request_was_made_up(e: Evidence) -> None:
    made = copy.deepcopy(e.request(system="xero", action="update"))
    e.certificates[-1]["requests"].append({**made, "request_id": "made-up", "intents": made["intents"]})


@lie
def an_intent_was_left_out(e: Evidence) -> None:
    e.request(many=True)["intents"].pop()


@lie
def two_intents_changed_places(e: Evidence) -> None:
    e.request(many=True)["intents"].reverse()


@lie
def an_intent_carries_what_was_never_planned(e: Evidence) -> None:
    e.request(system="xero")["intents"][0]["operations"] = ["never-planned"]


@lie
def an_intent_carries_another_operation(e: Evidence) -> None:
    request = e.request(many=True)
    request["intents"][0]["operations"] = request["intents"][1]["operations"]


@lie
def an_intent_carries_one_operation_less(e: Evidence) -> None:
    every = (intent for request in e.requests() for intent in request["intents"])
    next(intent for intent in every if len(intent["operations"]) > 1)["operations"].pop()


@lie
def an_intent_is_of_another_record(e: Evidence) -> None:
    e.request(system="salesforce", action="update")["intents"][0]["record_id"] = "001000000000000AAA"


@lie
def a_new_record_was_called_a_change(e: Evidence) -> None:
    e.request(action="create")["intents"][0]["action"] = "update"


@lie
def a_new_record_is_said_to_be_another(e: Evidence) -> None:
    e.request(system="xero", action="create")["intents"][0]["result_id"] = e.records["xero"][0]["ContactID"]


@lie
def it_was_sent_under_another_lease(e: Evidence) -> None:
    e.request(system="xero")["fencing"] += 1


@lie
def it_left_before_it_was_kept(e: Evidence) -> None:
    e.request(system="xero")["first_sent_at"] = "2026-01-01T00:00:00.000000+00:00"


@lie
def its_last_sending_came_first(e: Evidence) -> None:
    e.request(system="xero")["last_sent_at"] = "2026-01-01T00:00:00.000000+00:00"


@lie
def a_key_was_used_too_long(e: Evidence) -> None:
    e.request(system="xero")["last_sent_at"] = "2099-01-01T00:00:00.000000+00:00"


@lie
def it_was_never_sent(e: Evidence) -> None:
    e.request(system="xero")["sends"] = 0


@lie
def it_is_said_not_to_have_arrived(e: Evidence) -> None:
    request = e.request(system="xero")
    request["state"] = "not_sent"
    for intent in request["intents"]:
        intent["state"] = "waiting"


@lie
def another_key_was_used(e: Evidence) -> None:
    e.request(system="xero")["idempotency_key"] = "0" * 64


@lie
def one_key_was_used_for_two_bodies(e: Evidence) -> None:
    first, second, *_ = (one for one in e.requests() if one["system"] == "xero")
    second["idempotency_key"] = first["idempotency_key"]


# --- how it ended ---


@lie
def an_outcome_names_another_record(e: Evidence) -> None:
    done = (row for row in e.certificates[0]["outcomes"] if row["outcome"] == "confirmed")
    next(done)["record_id"] = "001000000000000AAA"


@lie
def an_outcome_names_no_record(e: Evidence) -> None:
    e.certificates[0]["outcomes"][0]["record_id"] = None


@lie
def an_outcome_was_made_up(e: Evidence) -> None:
    e.certificates[0]["outcomes"].append({**e.certificates[0]["outcomes"][0], "operation_id": "made-up"})


@lie
def what_was_refused_is_said_to_be_confirmed(e: Evidence) -> None:
    request = e.request(system="salesforce", action="update")
    for intent in request["intents"]:
        intent["state"] = "rejected"


@lie
def each_run_names_the_others_to_hide_what_was_refused(e: Evidence) -> None:
    for one in e.certificates:
        one["plan"]["runs"] = sorted(other["run"]["run_id"] for other in e.certificates)
    what_was_refused_is_said_to_be_confirmed(e)


@lie
def an_operation_was_carried_out_twice(e: Evidence) -> None:
    made = copy.deepcopy(e.request(system="xero", action="create"))
    made["request_id"] = "twin"
    e.certificates[0]["requests"].append(made)
    row = copy.deepcopy(e.rows("intended")[0])
    told = {name: made[name] for name in ("request_id", "sha256", "system", "fencing")}
    plan = e.certificates[0]["plan"]["hash"]
    row["details"] = json.dumps({**told, "intents": len(made["intents"]), "plan_hash": plan})
    e.certificates[0]["chain"]["rows"].insert(0, row)


# --- the certificate and the audit chain ---


@lie
def it_is_of_another_tenant(e: Evidence) -> None:
    for one in e.certificates:
        one["pair"]["xero_tenant_id"] = "00000000-0000-0000-0000-000000000001"


@lie
def it_is_of_another_pair(e: Evidence) -> None:
    for one in e.certificates:
        one["pair"]["name"] = "another"


@lie
def the_run_had_another_plan(e: Evidence) -> None:
    e.certificates[0]["run"]["details"]["plan"] = e.certificates[-1]["plan"]["hash"]


def the_certificate_was_changed_after_it_was_written(e: Evidence) -> None:
    e.certificates[0]["run"]["ended_at"] = "2026-01-01T00:00:00.000000+00:00"


@lie
def nobody_approved_it(e: Evidence) -> None:
    for one in e.certificates:
        one["chain"]["rows"] = [row for row in one["chain"]["rows"] if row["kind"] != "approved"]


@lie
def it_was_approved_later_in_the_chain(e: Evidence) -> None:
    for one in e.certificates:
        rows = one["chain"]["rows"]
        rows.sort(key=lambda row: row["kind"] == "approved")


@lie
def another_plan_was_approved(e: Evidence) -> None:
    for row in e.rows("approved"):
        row["details"] = row["details"].replace(json.loads(row["details"])["plan"], "0" * 64)


@lie
def it_was_approved_afterwards(e: Evidence) -> None:
    for row in e.rows("approved"):
        row["at"] = "2099-01-01T00:00:00.000000+00:00"


@clumsy
def a_row_of_the_chain_was_changed(e: Evidence) -> None:
    row = e.rows("outcomes")[0]
    row["details"] = row["details"].replace("confirmed", "rejected")


@clumsy
def a_row_of_the_chain_was_taken_out(e: Evidence) -> None:
    rows = e.certificates[0]["chain"]["rows"]
    rows.remove(e.rows("outcomes")[0])


@clumsy
def two_rows_of_the_chain_changed_places(e: Evidence) -> None:
    rows = e.certificates[0]["chain"]["rows"]
    rows[1], rows[2] = rows[2], rows[1]


@lie
def other_bytes_were_intended(e: Evidence) -> None:
    row, request = e.rows("intended")[0], e.certificates[0]["requests"][0]
    row["details"] = row["details"].replace(request["sha256"], "0" * 64)


# --- the plan ---


@clumsy
def the_plans_table_was_changed(e: Evidence) -> None:
    e.set_operations(native_after=pl.lit("{}"))


@lie
def the_plan_was_changed_with_all_its_hashes(e: Evidence) -> None:
    e.set_operations(reason=pl.lit("it was always so"))


@lie
def an_operation_was_taken_out_of_the_plan(e: Evidence) -> None:
    e.plan().tables["operations"] = e.operations().slice(1)


@lie
def the_plan_had_expired(e: Evidence) -> None:
    e.plan().manifest["expires_at"] = "2026-01-01T00:00:00.000000+00:00"


@lie
def the_plan_was_made_afterwards(e: Evidence) -> None:
    e.plan().manifest["created_at"] = "2099-01-01T00:00:00.000000+00:00"


@lie
def the_snapshot_showed_another_value(e: Evidence) -> None:
    for plan in e.plans.values():
        changed = pl.col("body").str.replace_all(r'"(Phone|EmailAddress|Email)":"[^"]+"', '"$1":"other"')
        plan.tables["seen"] = plan.tables["seen"].with_columns(body=changed)


@lie
def the_snapshot_lacks_a_record(e: Evidence) -> None:
    for plan in e.plans.values():
        plan.tables["seen"] = plan.tables["seen"].clear()


# --- what the systems logged and hold ---


@lie
def a_write_that_no_certificate_has(e: Evidence) -> None:
    logged = copy.deepcopy(e.logged(e.request(system="xero")))
    e.history["xero"].append({**logged, "n": 9999, "body_sha256": "0" * 64})


@lie
def a_request_was_carried_out_twice(e: Evidence) -> None:
    e.history["xero"].append({**e.logged(e.request(system="xero", action="update")), "n": 9999})


@lie
def a_confirmed_request_was_never_carried_out(e: Evidence) -> None:
    e.logged(e.request(system="salesforce", action="update"))["applied"] = False


@lie
def a_request_made_its_record_twice(e: Evidence) -> None:
    logged = e.logged(e.request(system="xero", action="create"))
    logged["changes"] = logged["changes"] * 2


@lie
def a_request_made_a_record_more(e: Evidence) -> None:
    logged = e.logged(e.request(system="xero", action="create"))
    logged["changes"] = [*logged["changes"], ["create", "Contact", "00000000-0000-0000-0000-000000000002"]]


@lie
def it_went_to_another_address(e: Evidence) -> None:
    e.logged(e.request(system="xero"))["path"] = "/api.xro/2.0/BankTransfers"


@lie
def it_arrived_more_often_than_it_was_sent(e: Evidence) -> None:
    logged = e.logged(e.request(system="xero"))
    e.history["xero"].append({**logged, "n": 9999, "applied": False, "changes": []})


@lie
def a_twin_is_there(e: Evidence) -> None:
    request = e.request(system="xero", action="create")
    made = next(r for r in e.records["xero"] if r.get("ContactID") == request["intents"][0]["result_id"])
    e.records["xero"].append({**made, "ContactID": "00000000-0000-0000-0000-000000000003"})


@lie
def what_was_made_is_not_there(e: Evidence) -> None:
    made = e.request(system="xero", action="create")["intents"][0]["result_id"]
    e.records["xero"] = [row for row in e.records["xero"] if row.get("ContactID") != made]


def test_the_truth_is_believed(true: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(true.write(tmp_path)) == 0, capsys.readouterr().out
    assert " requests: 0 problems" in capsys.readouterr().out


def test_the_truth_sealed_again_is_believed(true: Evidence, tmp_path: Path) -> None:
    """A liar's tools change nothing by themselves: what is found below is the lie."""
    same = true.copied()
    same.seal_plans()
    same.seal_chains()
    same.seal()
    assert verify.main(same.write(tmp_path)) == 0


@pytest.mark.parametrize("name", LIES)
def test_each_lie_is_found(
    name: str, true: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell, seals = LIES[name]
    told = true.copied()
    if seals:
        told.seal_plans()
    tell(told)
    if seals:
        told.seal_plans()
        told.seal_chains()
    told.seal()
    assert verify.main(told.write(tmp_path)) == 1, f"{name} was believed"
    assert capsys.readouterr().out.strip()


def copies(count: int, *, carried_out: int) -> verify.Case:
    """The same bytes sent COUNT times to a system without keys, and in its log carried out so many times."""

    def certificate(n: int) -> Any:
        intent = {"state": "confirmed", "action": "update", "operations": [f"op{n}"], "result_id": "006"}
        request = {"request_id": f"r{n}", "system": "salesforce", "method": "POST", "path": "composite"}
        sent = {"sha256": "same", "idempotency_key": None, "sends": 1, "state": "answered"}
        return {
            "writers": {"salesforce": ["me"], "xero": []},
            "plan": {"hash": f"plan{n}"},
            "requests": [{**request, **sent, "intents": [intent]}],
        }

    row = {"client": "me", "method": "POST", "path": "/services/data/v67.0/composite", "query": ""}
    logged = {**row, "body_sha256": "same", "idempotency_key": None, "applied": True, "changes": []}
    rows = [{**logged, "n": n} for n in range(carried_out)]
    return verify.Case([certificate(n) for n in range(count)], history={"salesforce": rows, "xero": []})


@pytest.mark.parametrize(("carried_out", "believed"), [(1, False), (2, True), (3, False)])
def test_the_same_bytes_may_be_sent_twice_without_a_key(carried_out: int, believed: bool) -> None:
    """PAID, AUTHORISED and PAID again: two requests of one body, each carried out once."""
    case = copies(2, carried_out=carried_out)
    verify.verify_history(case)
    assert (not case.problems) is believed


def of_two_plans(*hashes: str) -> verify.Case:
    intent = {"state": "confirmed", "operations": ["the same"]}
    certificates = [
        {
            "plan": {"hash": plan_hash},
            "requests": [
                {"request_id": f"r{n}", "idempotency_key": None, "sha256": "same", "intents": [intent]}
            ],
        }
        for n, plan_hash in enumerate(hashes)
    ]
    return verify.Case(certificates, dict.fromkeys(hashes, verify.Plan("", {}, {}, {})))


@pytest.mark.parametrize(("plans", "believed"), [(("a", "b"), True), (("a", "a"), False)])
def test_two_plans_may_do_the_same_once_each(plans: tuple[str, str], believed: bool) -> None:
    """An operation is named by what it does, so a later plan that does it again has the same name for it."""
    case = of_two_plans(*plans)
    verify.verify_once(case)
    assert (not case.problems) is believed


def test_a_run_of_the_same_plan_is_asked_for(
    true: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found by review: neither believed nor called a lie, as what the other run did can't be seen from here."""
    told = true.copied()
    first, second, *_ = told.certificates
    assert first["plan"]["hash"] == second["plan"]["hash"]
    told.certificates = [second]
    assert verify.main(told.write(tmp_path)[:1]) == 2
    assert f"; also needs run {first['run']['run_id']}" in capsys.readouterr().out


def test_the_first_run_of_a_plan_stands_alone(true: Evidence, tmp_path: Path) -> None:
    told = true.copied()
    del told.certificates[1:]
    assert verify.main(told.write(tmp_path)[:1]) == 0


def test_a_clock_set_back_after_the_approval_is_no_lie(true: Evidence, tmp_path: Path) -> None:
    told = true.copied()
    told.seal_plans()
    for row in told.rows("approved"):
        later = datetime.fromisoformat(row["at"]) + timedelta(minutes=5)
        row["at"] = later.isoformat()
    told.seal_chains()
    told.seal()
    assert verify.main(told.write(tmp_path)) == 0


def test_a_certificate_changed_afterwards_is_found(true: Evidence, tmp_path: Path) -> None:
    told = true.copied()
    the_certificate_was_changed_after_it_was_written(told)
    assert verify.main(told.write(tmp_path)) == 1


def test_there_are_fifty_lies_and_the_verifier_is_short_and_stands_alone() -> None:
    text = VERIFIER.read_text(encoding="utf-8")
    assert len(LIES) >= 50
    assert len(text.splitlines()) <= 430
    imported = {
        line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
    }
    assert not imported & {"pipelines", "reconcile", "expectations", "flows", "sandbox", "mappings"}

"""Runs the Prefect flows on a sandboxed pair with a Prefect server of its own, and reads what that kept."""

from __future__ import annotations

import pipelines.quiet  # telemetry off, before Prefect is imported

# isort: split
import json
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from prefect import settings as prefect_settings
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun
from prefect.logging.handlers import APILogHandler
from prefect.settings import temporary_settings
from prefect.states import State
from prefect.testing.utilities import prefect_test_harness

from flows.demo import sandbox, write_settings
from flows.sync import apply, pull_stage, sync
from pipelines import runs
from pipelines.plans import Planned
from reconcile.closing import not_closed
from reconcile.errors import LoginRefused, Unreachable

PERSONAL = {
    "Name", "FirstName", "LastName", "EmailAddress", "Email", "Billing_Email__c", "Phone", "Fax",
    "MobilePhone", "PhoneNumber", "BillingStreet", "AddressLine1", "MailingStreet",
}  # fmt: skip
SECRET = "Rose Gonzalez of rose@edgecomm.example"

Logged = list[dict[str, Any]]


@dataclass
class Story:
    """What was run, one after the other, on one pair; and what is known of it afterwards."""

    settings: Path
    line: dict[str, Any]
    database: Path
    client: SyncPrefectClient
    ended: dict[str, State[Any]] = field(default_factory=dict)
    sent: dict[str, Logged] = field(default_factory=dict)
    personal: frozenset[str] = frozenset()
    pushes: int = 0

    def run(self, name: str, flow: Any, **parameters: Any) -> None:
        before = {side: self.requests(side)[-1:] for side in ("xero", "salesforce")}
        self.ended[name] = flow(settings_file=str(self.settings), return_state=True, **parameters)
        self.sent[name] = [
            row
            for side, last in before.items()
            for row in self.requests(side, after=last[0]["n"] if last else 0)
        ]

    def requests(self, side: str, *, after: int = 0) -> Logged:
        reply = httpx.get(f"{root(self.line, side)}/sandbox/requests", params={"after": after})
        return reply.json()["requests"]

    def flow_run(self, name: str) -> FlowRun:
        run_id = self.ended[name].state_details.flow_run_id
        assert run_id is not None
        return self.client.read_flow_run(run_id)

    def task_runs(self, name: str, task: str, *, at_least: int = 1) -> list[TaskRun]:
        """Give the runs of a task, in their order; the server learns of them late, by events."""
        wanted = FlowRunFilter.model_validate({"id": {"any_": [self.flow_run(name).id]}})
        found: list[TaskRun] = []
        for _ in range(100):
            all_found = self.client.read_task_runs(flow_run_filter=wanted)
            found = [run for run in all_found if run.name.rpartition("-")[0] == task]
            if sum(run.state is not None and run.state.is_final() for run in found) >= at_least:
                break
            time.sleep(0.2)
        return sorted(found, key=lambda run: str(run.start_time))

    def artifacts(self, name: str) -> dict[str, Artifact]:
        reply = self.client.request(
            "POST",
            "/artifacts/filter",
            json={
                "sort": "CREATED_DESC",
                "artifacts": {"flow_run_id": {"any_": [str(self.flow_run(name).id)]}},
            },
        )
        # Oldest first: the last one of a key is the one that is kept.
        return {row["key"]: Artifact.model_validate(row) for row in reversed(reply.json())}


def root(line: dict[str, Any], side: str) -> str:
    return line[side]["api_url" if side == "xero" else "login_url"]


def personal_values(line: dict[str, Any]) -> frozenset[str]:
    """Every name, e-mail, phone and street that the two systems hold, and names in one piece."""
    found: set[str] = set()
    for side in ("xero", "salesforce"):
        for row in httpx.get(f"{root(line, side)}/sandbox/dump").text.splitlines():
            found |= set(_personal(json.loads(row)))
    return frozenset(value for value in found if len(value) > 3)


def _personal(body: Any) -> Iterator[str]:
    if isinstance(body, list):
        for part in body:
            yield from _personal(part)
    elif isinstance(body, dict) and body.get("attributes", {}).get("type") not in ("Organization", "User"):
        for key, value in body.items():
            if key in PERSONAL and isinstance(value, str):
                yield value.strip()
            yield from _personal(value)
        if body.get("FirstName") and body.get("LastName"):
            yield f"{body['FirstName']} {body['LastName']}"


def canonical_values(planned: Planned) -> frozenset[str]:
    """The names that a plan knows, and the values that it writes, as they are after cleaning."""
    units = planned.operations.filter(pl.col("unit").is_in(["phone", "fax", "email"]))
    values = pl.concat([units["before"], units["after"]]).drop_nulls()
    return frozenset(value for value in (*planned.names.values(), *values) if len(value) > 3)


@contextmanager
def prefect_server(home: Path) -> Iterator[Path]:
    """Start a Prefect server on loopback with an empty home; gives its database."""
    with temporary_settings({prefect_settings.PREFECT_HOME: home}), prefect_test_harness(120):
        yield Path(str(prefect_settings.PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition(":///")[2])


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("pair")
    home = tmp_path_factory.mktemp("prefect")
    with (
        pytest.MonkeyPatch.context() as patch,
        sandbox(folder / "sandbox", limits="off") as line,
        prefect_server(home) as database,
        get_client(sync_client=True) as client,
    ):
        patch.setattr(logging, "raiseExceptions", False)  # it logs its end to a stream that pytest has closed
        told = Story(
            write_settings(folder, line, limits="off"), line, database, client, personal=personal_values(line)
        )
        patch.setattr(pull_stage, "retry_delay_seconds", [0.1, 0.1])
        tell(told, patch)
        yield told


def tell(story: Story, patch: pytest.MonkeyPatch) -> None:
    story.run("look", sync)
    with runs.open_context(story.settings, progress=lambda _: None) as ctx:
        runs.enable_writes(ctx, pair="demo", environment="sandbox")

    patch.setenv("RECONCILE_LIMITS__MAX_OPERATIONS", "10")
    story.run("beyond", sync, apply_phases=["link"])
    patch.delenv("RECONCILE_LIMITS__MAX_OPERATIONS")
    patch.setenv("RECONCILE_LIMITS__RETRIES", "0")
    fault = {"kind": "503", "path": "api.xro/2.0/Contacts", "times": 1}
    httpx.post(f"{root(story.line, 'xero')}/sandbox/faults", json=fault).raise_for_status()
    story.run("link", sync, apply_phases=["link"])
    patch.delenv("RECONCILE_LIMITS__RETRIES")

    with runs.open_context(story.settings, progress=lambda _: None) as ctx:
        waits = runs.load_plan(ctx, None)
    story.personal |= canonical_values(waits)
    story.run("approved", apply, plan_hash=waits.short)

    with pytest.MonkeyPatch.context() as bug:
        bug.setattr(runs, "plan", raising(ValueError(f"could not convert {SECRET!r}")))
        story.run("bug", sync)
    with pytest.MonkeyPatch.context() as residual:
        alarmed = replace(waits, findings=not_closed("ValueError at totals.py:1").findings)
        residual.setattr(runs, "plan", lambda *_, **__: alarmed)
        story.run("alarm", sync)
    with pytest.MonkeyPatch.context() as wrong:
        wrong.setattr(runs, "pull", raising(LoginRefused(side="xero", at="/", found="401", next_step="")))
        story.run("refused", sync)

    with pytest.MonkeyPatch.context() as lost:
        lost.setattr(runs, "apply", counting(story, Unreachable(side="xero", at="/", found="silence")))
        story.run("lost", apply, plan_hash=waits.short)


def raising(error: Exception) -> Any:
    def stage(*_: Any, **__: Any) -> None:
        raise error

    return stage


def counting(story: Story, error: Exception) -> Any:
    def stage(*_: Any, **__: Any) -> None:
        story.pushes += 1
        raise error

    return stage


def writes(requests: Logged) -> Logged:
    logins = re.compile(r"/connect/token|/services/oauth2/token")
    return [row for row in requests if row["method"] != "GET" and not logins.search(row["path"])]


# --- what a run does -----------------------------------------------------------------------------------


def test_sync_only_looks_unless_it_is_told_phases(story):
    assert story.ended["look"].is_completed()
    assert len(story.sent["look"]) > 4
    assert writes(story.sent["look"]) == []


def test_sync_applies_the_phases_that_it_is_told_and_no_other(story):
    assert story.ended["link"].is_completed()
    assert writes(story.sent["link"])
    outcomes = json.loads(story.artifacts("link")["outcomes"].data)
    assert outcomes
    assert {row["outcome"] for row in outcomes} == {"confirmed"}
    links = {row["phase"] for row in json.loads(story.artifacts("look")["plan"].data)}
    assert links >= {"link", "create"}
    after = {row["phase"] for row in json.loads(story.artifacts("link")["plan"].data)}
    assert "link" not in after
    assert "create" in after


def test_sync_does_not_apply_what_is_beyond_the_limits_and_reports_it(story):
    assert story.ended["beyond"].is_failed()
    assert "then approve it" in story.ended["beyond"].message
    assert writes(story.sent["beyond"]) == []
    assert "drift-report" in story.artifacts("beyond")


def test_apply_does_the_plan_that_is_named_and_looks_again(story):
    assert story.ended["approved"].is_completed(), story.ended["approved"]
    assert writes(story.sent["approved"])
    assert json.loads(story.artifacts("approved")["plan"].data) == []
    assert "0 operations" in story.artifacts("approved")["plan"].description


def test_apply_wants_a_plan_to_be_named(story):
    for plan_hash in ("", "the last one", "3f0c"):
        ended = apply(plan_hash=plan_hash, settings_file=str(story.settings), return_state=True)
        assert ended.is_failed()


def test_a_pull_that_fails_is_tried_again_as_a_task(story):
    pulls = story.task_runs("link", "pull", at_least=2)
    assert [run.run_count for run in pulls] == [2, 1], "the second is the look after the push"
    assert all(run.state_name == "Completed" for run in pulls)


def test_a_refused_login_is_not_tried_again(story):
    assert [run.run_count for run in story.task_runs("refused", "pull")] == [1]
    assert story.ended["refused"].is_failed()
    assert "refused the login" in story.ended["refused"].message


def test_a_push_is_never_tried_again_and_the_report_comes_nevertheless(story):
    assert story.pushes == 1
    assert [run.run_count for run in story.task_runs("lost", "push")] == [1]
    assert story.ended["lost"].is_failed()
    assert "can't be reached" in story.ended["lost"].message
    assert "drift-report" in story.artifacts("lost")


# --- what Prefect shows --------------------------------------------------------------------------------


def test_a_run_is_named_by_flow_and_pair(story):
    assert re.fullmatch(r"sync-demo-\d{8}-\d{6}", story.flow_run("look").name)
    assert re.fullmatch(r"apply-demo-\d{8}-\d{6}", story.flow_run("approved").name)


def test_every_parameter_has_its_help():
    for flow in (sync, apply):
        for name, told in flow.parameters.properties.items():
            assert told.get("description"), name
    assert apply.parameters.required == ["plan_hash"]
    assert "fill" in json.dumps(sync.parameters.model_dump()), "the phases are a choice"


def test_the_artifacts_tell_how_the_books_stand(story):
    shown = story.artifacts("look")
    assert set(shown) == {"drift-report", "snapshot", "plan"}
    objects = {(row["side"], row["object"]) for row in json.loads(shown["snapshot"].data)}
    assert objects >= {("salesforce", "Account"), ("salesforce", "Contact"), ("xero", "Contact")}
    assert objects >= {("salesforce", "Opportunity"), ("xero", "Invoice")}  # the demo makes invoices
    assert "# Where the books differ: demo" in shown["drift-report"].data
    assert "Differences by unit" in shown["drift-report"].data


def test_prefect_keeps_no_value_of_a_person(story):
    """Artifacts, logs, states, parameters, events: every text in Prefect's database."""
    assert len(story.personal) > 150
    assert "rose@edgecomm.example" in story.personal
    APILogHandler().flush()
    story.task_runs("lost", "report")  # waits for the events
    kept = everything(story.database)
    for known in ("Where the books differ", "reading all", "apply_phases", "a bug: ValueError at", "001Dm"):
        assert known in kept, f"{known}: the search looks at the wrong place"
    # Words as they are written: Prefect calls a run "rose-panther" before it has its name.
    found = {
        value: re.search(rf".{{30}}(?<![\w.]){re.escape(value)}(?!\w).{{30}}", kept)
        for value in story.personal
        if value in kept
    }
    assert {value: hit[0] for value, hit in found.items() if hit} == {}


def everything(database: Path) -> str:
    with sqlite3.connect(database) as con:
        tables = [name for (name,) in con.execute("select name from sqlite_master where type = 'table'")]
        rows = "\n".join(str(row) for name in tables for row in con.execute(f'select * from "{name}"'))
    # JSON inside of JSON: however often it was escaped, a letter is a letter.
    return re.sub(r"\\+u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), rows)


def test_a_bug_is_told_without_its_text(story):
    assert story.ended["bug"].is_failed()
    assert "a bug: ValueError at" in story.ended["bug"].message
    assert "Gonzalez" not in story.ended["bug"].message


def test_totals_that_do_not_prove_themselves_end_a_run_as_failed_and_the_report_comes_nevertheless(story):
    ended = story.ended["alarm"]
    assert ended.is_failed()
    assert ended.message.startswith(
        "the control totals do not add up: could not run (ValueError at totals.py:1)"
    )
    assert "drift-report" in story.artifacts("alarm")


def test_nothing_is_sent_to_prefects_makers():
    assert pipelines.quiet.SETTINGS["DO_NOT_TRACK"] == os.environ["DO_NOT_TRACK"] == "1"
    assert not prefect_settings.PREFECT_SERVER_ANALYTICS_ENABLED.value()
    assert logging.getLogger("httpx").level == logging.WARNING

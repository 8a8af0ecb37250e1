"""Many rows of Salesforce go as one job: what it leaves is what collections leave, whatever becomes of the job."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import Peer, account, contact, settings_for
from push_scene import PLAN, Scene, SkippingClock, account_id, contact_id, create, frame, link, update
from typing_extensions import override

from pipelines import job_delivery, protocol
from pipelines import outcomes as outcomes_of_push
from pipelines.intents import Ended, Intent, Operation, Request
from pipelines.journal_intents import Intents, Sent
from pipelines.protocol import Job, Proof
from pipelines.salesforce import ingest, writer
from pipelines.settings import Limits, Push
from reconcile.bodies import dumps
from reconcile.errors import InvariantBroken
from reconcile.price import Terms, price
from reconcile.traffic import exchanges
from sandbox.serve import start

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import kill_push

BY_JOB = Push(bulk_from_rows=4)
QUICK = Limits(late_application_s=0.2, timeout_s=3.0, retries=1, job_patience_s=10)
JOBS = "jobs/ingest"
LINKED, NEW = range(1, 6), range(6, 11)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
NOTHING = Request("salesforce", "PUT", JOBS, "", b"", ())
SENT = Sent("r", NOTHING, None, "unknown", 1, NOON, NOON, False, NOON, (), PLAN)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    folder = tmp_path_factory.mktemp("jobs")
    with start(folder / "sandbox", seed="empty", limits="off") as line:
        yield Peer(line, folder, settings_for(line, folder))


@pytest.fixture
def scene(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(outcomes_of_push, "INTENTS_AT_ONCE", 2)  # so that five rows end in three transactions
    made = Scene(peer, tmp_path, clock=SkippingClock(), limits=QUICK)
    fill(peer)
    yield made
    with made.journal() as journal:
        assert journal.verify().ok
        assert journal.unsettled().is_empty()


def fill(peer: Peer) -> None:
    for side in ("salesforce", "xero"):
        peer.control(side, "POST", "reset", {"seed": False})
        peer.control(side, "DELETE", "faults")
    peer.load("salesforce", [account(n) for n in LINKED])
    peer.load("xero", [contact(n) for n in (*LINKED, *NEW)])
    pace(peer, rows_per_s=0)


def pace(peer: Peer, **changes: Any) -> None:
    peer.control("salesforce", "POST", "bulk", changes)


def links() -> list[dict[str, Any]]:
    return [link("salesforce", n) for n in LINKED]


def new() -> list[dict[str, Any]]:
    made = [create("salesforce", n, f"New {n}") for n in NEW]
    return [{**one, "native_after": dumps(json.loads(one["native_after"]))} for one in made]


def told_of_jobs(peer: Peer) -> list[tuple[str, str]]:
    """(method, what of a job) of each call about one, in order."""
    found = [(one["method"], one["path"].partition(JOBS)) for one in peer.requests("salesforce")]
    return [
        (method, end.rpartition("/")[2] if end.count("/") > 1 else "")
        for method, (_, at, end) in found
        if at and method != "JOB"
    ]


def assert_once(scene: Scene, linked: Iterable[int] = LINKED) -> None:
    """Each account carries its link, each new one is there, nothing was made or written twice."""
    rows = scene.accounts().values()
    found = {row["Name"]: row for row in rows if row["ExternalID__c"]}
    wanted = {f"Company {n}": contact_id(n) for n in linked} | {f"New {n}": contact_id(n) for n in NEW}
    assert {name: row["ExternalID__c"] for name, row in found.items()} == wanted
    assert len(rows) == len(LINKED) + len(NEW)
    assert {found[f"New {n}"]["Phone"] for n in NEW} == {"+442079460000"}
    changes = [tuple(one) for call in scene.peer.requests("salesforce") for one in call["changes"]]
    made = [change for change in changes if change[0] == "create"]
    assert len(made) == len(NEW) == len({change[2] for change in made})
    with scene.journal() as journal:
        pairs = journal.links().select("salesforce_id", "xero_id").rows()
    assert sorted(pairs) == sorted((found[name]["Id"], xero_id) for name, xero_id in wanted.items())


def outcomes(told: dict[str, tuple[str, str | None]]) -> set[str]:
    return {outcome for outcome, _ in told.values()}


# --- what goes as a job ---------------------------------------------------------------------------------


def test_links_and_new_records_go_as_a_job_each_from_as_many_as_the_settings_say(scene: Scene) -> None:
    told = scene.push([*links(), *new()], settings_push=BY_JOB)
    assert outcomes(told) == {"confirmed"}
    calls = [("POST", ""), ("PUT", "batches"), ("PATCH", ""), ("GET", ""), ("GET", "successfulResults")]
    assert told_of_jobs(scene.peer) == calls * 2
    assert not any("composite" in one["path"] for one in scene.writes("salesforce"))
    assert_once(scene)
    assert_as_priced(scene, [*links(), *new()])
    assert outcomes(scene.push([*links(), *new()], settings_push=BY_JOB)) == {"confirmed"}
    assert told_of_jobs(scene.peer) == calls * 2


def test_a_plan_by_jobs_and_by_collections_leaves_the_same_records_and_the_same_journal(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit of everything: links, guarded edits, an account and its person, new records in Xero."""
    monkeypatch.setattr(job_delivery, "first_pause_s", job_delivery.first_pause_s)  # put back afterwards
    ends = {}
    for by_job in (False, True):
        kill_push.fill(scene.peer)
        folder = scene.folder / f"by_job_{by_job}"
        folder.mkdir()
        Scene(scene.peer, folder).know(1, 3)
        kill_push.work(scene.peer.line, folder, by_job=by_job)
        ends[by_job] = kill_push.end_of(scene.peer, folder)
        assert (len(told_of_jobs(scene.peer)) > 0) == by_job
    assert ends[True] == ends[False]


def assert_as_priced(scene: Scene, operations: list[dict[str, Any]]) -> None:
    """The price names each call of a push, and what jobs send and receive within 2%."""
    terms = Terms(bulk_from_rows=BY_JOB.bulk_from_rows)
    priced = price(frame(operations), terms)["salesforce"]
    ours = [one for one in scene.peer.requests("salesforce") if "/services/data/" in one["path"]]
    ours = [one for one in ours if one["method"] != "JOB"]
    assert len(ours) == priced["look"] + priced["write"] + priced["read_back"]
    moved = exchanges(frame(operations), terms, {}, {}).filter(system="salesforce", purpose="write")
    jobs = [one for one in ours if JOBS in one["path"]]
    for way, counted in (("sent", "body_bytes"), ("received", "reply_bytes")):
        assert moved[way].sum() == pytest.approx(sum(one[counted] for one in jobs), rel=0.02), way


def test_fewer_go_by_collections_as_before(scene: Scene) -> None:
    assert outcomes(scene.push([*links(), *new()], settings_push=Push(bulk_from_rows=6))) == {"confirmed"}
    assert told_of_jobs(scene.peer) == []
    assert_once(scene)


def test_what_people_edit_never_goes_as_a_job(scene: Scene) -> None:
    scene.know(*LINKED)
    edits = [update("salesforce", n, "phone", None, "+442079460123") for n in LINKED]
    # Not even where it takes no condition: the look would be of minutes ago when a job writes.
    told = scene.push([*edits, *new()], settings_push=Push(bulk_from_rows=1, guard="collection"))
    assert outcomes(told) == {"confirmed"}
    assert sum(method == "POST" for method, _ in told_of_jobs(scene.peer)) == 1
    assert {row["Phone"] for row in scene.accounts().values()} == {"+44 20 7946 0123", "+442079460000"}


def test_values_that_csv_can_not_say_go_in_calls(scene: Scene) -> None:
    odd = ["#N/A", "two\r\nlines", 'a, "quoted" text\nof two lines', "plain", " no room "]
    some = []
    for made, text in zip(new(), odd, strict=True):
        made["native_after"] = json.dumps({**json.loads(made["native_after"]), "Description": text})
        some.append(made)
    assert outcomes(scene.push(some, settings_push=Push(bulk_from_rows=3))) == {"confirmed"}
    assert sum(method == "POST" for method, _ in told_of_jobs(scene.peer)) == 1
    assert sum("composite" in one["path"] for one in scene.writes("salesforce")) == 1
    found = sorted(row["Description"] for row in scene.accounts().values() if row["Name"].startswith("New"))
    assert found == sorted(one.strip() for one in odd)


def test_rows_carry_each_value_as_json_says_it_and_a_field_that_is_cleared() -> None:
    bodies = [
        {
            "Amount__c": Decimal("1234567890123456.70"),
            "Flag__c": True,
            "Gone__c": None,
            "Text__c": 'a "b", c\nd',
        },
        {
            "Amount__c": Decimal("-0.5"),
            "Flag__c": False,
            "Gone__c": "",
            "Day__c": "2026-01-02",
            "Text__c": "é",
        },
    ]
    rows = ingest.table([intent_of(n, **body) for n, body in enumerate(bodies)]).decode()
    assert rows == (
        "Id,Amount__c,Day__c,Flag__c,Gone__c,Text__c\n"
        f'{account_id(0)},1234567890123456.70,,true,#N/A,"a ""b"", c\nd"\n'
        f"{account_id(1)},-0.5,2026-01-02,false,#N/A,é\n"
    )


def intent_of(number: int, **body: Any) -> Intent:
    operation = Operation.from_row(link("salesforce", number))
    record_id = account_id(number)
    return Intent(
        f"i{number}", "salesforce", "Account", "party", "update", record_id, None, None, body, (operation,)
    )


# --- what a job tells -----------------------------------------------------------------------------------

told_rows = st.lists(st.sampled_from(["written", "refused", "left", "twice", "both", "none"]), min_size=1)


@given(told_rows, st.randoms())
def test_each_row_is_found_by_its_key_in_whatever_order_it_comes(fates: list[str], draw: Random) -> None:
    intents = [intent_of(n, ExternalID__c=contact_id(n)) for n in range(len(fates))]
    found = ingest.Results()
    for one, fate in zip(intents, fates, strict=True):
        row = {"Id": one.record_id, "ExternalID__c": one.body["ExternalID__c"]}
        written = {"sf__Id": one.record_id, "sf__Created": "false", **row}
        refused = {"sf__Id": one.record_id, "sf__Error": "UNABLE_TO_LOCK_ROW:busy:--", **row}
        found.written += {"written": [written], "twice": [written, dict(written)], "both": [written]}.get(
            fate, []
        )
        found.refused += [refused] if fate in ("refused", "both") else []
        found.left += [row] if fate == "left" else []
    for rows in (found.written, found.refused, found.left):
        draw.shuffle(rows)
    [request] = ingest.requests(intents)
    for untouched in (True, False):
        wanted = {"written": "confirmed", "twice": "confirmed", "refused": "again"}
        wanted |= {"left": "again" if untouched else "unknown", "both": "unknown", "none": "unknown"}
        verdicts = writer.read_job(request, found, untouched=untouched)
        assert [one.kind for one in verdicts] == [wanted[fate] for fate in fates]
        assert all(
            verdict.record_id == one.record_id
            for one, verdict in zip(intents, verdicts, strict=True)
            if verdict.kind == "confirmed"
        )


def test_a_refused_row_is_told_with_its_reason_and_holds_up_no_other(scene: Scene) -> None:
    some = new()
    some[2]["native_after"] = json.dumps({**json.loads(some[2]["native_after"]), "Name": "x" * 300})
    told = scene.push(some, settings_push=BY_JOB)
    assert [outcome for outcome, _ in told.values()].count("confirmed") == 4
    outcome, message = told[some[2]["operation_id"]]
    assert outcome == "rejected" and message is not None
    assert message.startswith("STRING_TOO_LONG (Name): ") and "xxx" not in message
    with scene.journal() as journal:
        assert journal.dead_letters().height == 1


def test_rows_whose_lock_was_held_go_again(scene: Scene) -> None:
    ids = [account_id(n) for n in (2, 3)]
    scene.peer.control("salesforce", "POST", "locks", {"ids": ids, "times": 1})
    assert outcomes(scene.push([*links(), *new()], settings_push=BY_JOB)) == {"confirmed"}
    assert_once(scene)
    assert sum("composite" in one["path"] for one in scene.writes("salesforce")) == 1


def test_what_a_job_that_failed_half_way_left_goes_by_collections(scene: Scene) -> None:
    pace(scene.peer, chunk_rows=2, fail=[{"after_rows": 2, "times": 2}])
    assert outcomes(scene.push([*links(), *new()], settings_push=BY_JOB)) == {"confirmed"}
    assert_once(scene)
    gone = [(method, what) for method, what in told_of_jobs(scene.peer) if what == "unprocessedrecords"]
    assert len(gone) == 2 and scene.clock is not None and max(scene.clock.slept) <= 1.0


# --- what becomes of its calls --------------------------------------------------------------------------

STEPS = {
    "make": ("POST", f"{JOBS}$", "drop_after"),
    "upload": ("PUT", "batches", "drop_after"),
    "close": ("PATCH", JOBS, "drop_before", "drop_after", "late"),
    "ask": ("GET", f"{JOBS}/[^/]*$", "cut"),
    "results": ("GET", "successfulResults", "short", "cut"),
}


@pytest.mark.in_turn
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_lost_or_made_twice_whatever_happens_to_a_call(scene: Scene, step: str) -> None:
    method, path, *kinds = STEPS[step]
    for place, kind in enumerate(kinds):
        if place:
            again(scene)
        rule = {
            "kind": kind,
            "method": method,
            "path": path,
            "after_s": 0.1,
            "times": 3 if kind == "short" else 1,
        }
        scene.peer.control("salesforce", "POST", "faults", rule)
        told = scene.push(new(), settings_push=BY_JOB)
        while outcomes(told) & {"waiting", "unknown"}:  # a side that did not answer is left to the next run
            told = scene.push(new(), settings_push=BY_JOB)
        assert outcomes(told) <= {"confirmed", "adopted"}, kind
        assert_once(scene, linked=())
        with scene.journal() as journal:
            assert journal.unsettled().is_empty(), kind


def again(scene: Scene) -> None:
    """Begin anew: both systems as they were, and a journal that knows nothing."""
    fill(scene.peer)
    for file in scene.folder.glob("journal.*"):
        file.unlink()


@pytest.mark.in_turn
@pytest.mark.parametrize("used", ["batches", "feature"])
def test_where_salesforce_takes_no_job_the_rows_go_in_calls(scene: Scene, used: str) -> None:
    if used == "batches":
        pace(scene.peer, used={"batches": 15_000})
    else:
        rule = {"kind": "500", "status": 400, "method": "POST", "path": JOBS, "times": 2}
        scene.peer.control("salesforce", "POST", "faults", rule)
    assert outcomes(scene.push([*links(), *new()], settings_push=BY_JOB)) == {"confirmed"}
    assert_once(scene)
    assert not any(what.endswith("Results") for _, what in told_of_jobs(scene.peer) if used == "feature")


# --- how long it lasts ----------------------------------------------------------------------------------


@dataclass
class WorkingClock(SkippingClock):
    """Waiting moves the sandbox's clock once, by so much that a job does its first two rows."""

    peer: Peer | None = None

    @override
    def sleep(self, seconds: float) -> None:
        if not self.slept and self.peer is not None:
            self.peer.control("salesforce", "POST", "clock", {"move_s": 250.0})
        super().sleep(seconds)


@pytest.mark.in_turn
@pytest.mark.parametrize("at_work", [False, True])
def test_a_job_that_outlasts_our_patience_is_aborted_and_each_row_looked_at(
    scene: Scene, at_work: bool
) -> None:
    scene.clock = WorkingClock(peer=scene.peer if at_work else None)
    pace(scene.peer, chunk_rows=2, **({"rows_per_s": 0.01} if at_work else {"queue_s": 100_000}))
    said: list[str] = []
    told = scene.push(links(), settings_push=BY_JOB, progress=lambda done, total, text: said.append(text))
    assert outcomes(told) <= {"confirmed", "adopted"}
    found = scene.accounts()
    assert [found[account_id(n)]["ExternalID__c"] for n in LINKED] == [contact_id(n) for n in LINKED]
    [job] = scene.peer.control("salesforce", "GET", "bulk")["jobs"]
    assert (job["state"], job["numberRecordsProcessed"]) == ("Aborted", 2 if at_work else 0)
    patience = [one for one in said if one.startswith("Salesforce is at work")]
    assert len(patience) >= 3 and "of 5 rows" in patience[0]
    # What it left is looked at only after the vendor's time, counted from when it was seen to be over.
    assert scene.clock.slept[-1] > 0 and any("may still be applied" in one for one in said)


def test_a_job_at_work_is_left_to_it_by_a_run_that_only_looks(scene: Scene) -> None:
    pace(scene.peer, queue_s=100_000)
    with pytest.raises(KeyboardInterrupt):
        scene.push(links(), settings_push=BY_JOB, progress=_interrupted)
    before = len(scene.peer.requests("salesforce"))
    assert outcomes(scene.settle(look_only=True)) == {"unknown"}
    assert {one["method"] for one in scene.peer.requests("salesforce")[before:]} == {"GET"}
    pace(scene.peer, queue_s=0)
    assert outcomes(scene.settle(look_only=True)) == {"confirmed"}
    assert [row["ExternalID__c"] for row in scene.accounts().values()] == [contact_id(n) for n in LINKED]


def test_results_that_were_half_heeded_are_read_again_for_the_rest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, calls = Intents.close, []

    def dying(intents: Intents, sent: Any, *given: Any, **named: Any) -> None:
        calls.append(sent)
        if sent is not None and len(calls) == 2:
            raise KeyboardInterrupt
        close(intents, sent, *given, **named)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Intents, "close", dying)
        scene.push(new(), settings_push=BY_JOB)
    with scene.journal() as journal:
        assert journal.unsettled().height == 3
    assert outcomes(scene.push(new(), settings_push=BY_JOB)) == {"confirmed"}
    assert_once(scene, linked=())
    assert [what for _, what in told_of_jobs(scene.peer)].count("successfulResults") == 2
    assert told_of_jobs(scene.peer).count(("POST", "")) == 1


def _interrupted(done: int, total: int, text: str) -> None:
    if text.startswith("Salesforce is at work"):
        raise KeyboardInterrupt


# --- the rule -------------------------------------------------------------------------------------------


def test_no_intent_of_a_job_ends_while_the_job_may_write(scene: Scene) -> None:
    [request] = ingest.requests([intent_of(n, ExternalID__c=contact_id(n)) for n in LINKED])
    with scene.journal() as journal, journal.lease("pair", "test", 60) as lease:
        sent = journal.intents.begin(request, plan_hash=PLAN, run_id="run", fence=lease)
        journal.intents.job_made(sent, Job("750", NOON), fence=lease)
        journal.intents.leaving(sent, request.body, horizon_s=240, fence=lease)
        one = request.intents[0]
        ended = [Ended(op, "overtaken") for op in one.operations]
        late = Proof("absent", datetime.now(UTC) + timedelta(days=1), 0.0)
        for some, proof in ((ended, None), ((), late), ((), Proof("refused"))):
            with pytest.raises(InvariantBroken, match="P12"):
                journal.intents.close(sent, [(one, some)], plan_hash=PLAN, fence=lease, proof=proof)
        journal.intents.job_over(sent, "Aborted", fence=lease)
        early = Proof("absent", sent.created_at, 0.0)
        with pytest.raises(InvariantBroken, match="P5"):
            journal.intents.close(sent, [(one, ())], plan_hash=PLAN, fence=lease, proof=early)
        journal.intents.close(
            sent, [(i, ()) for i in request.intents], plan_hash=PLAN, fence=lease, proof=late
        )


@given(st.floats(0, 400), st.floats(0, 400), st.floats(0, 400))
def test_the_vendors_time_counts_from_the_end_of_a_job(sent_s: float, over_s: float, asked_s: float) -> None:
    timing = protocol.Timing(90.0)
    sent_at, over_at, asked_at = (NOON + timedelta(seconds=one) for one in (sent_s, over_s, asked_s))
    sent = replace(SENT, last_sent_at=sent_at, job=Job("750", NOON, over_at))
    running = replace(sent, job=Job("750", NOON))
    assert timing.still_due_s(running, asked_at) == timing.settled_after_s
    due = timing.still_due_s(sent, asked_at)
    assert (due == 0) == ((asked_at - max(sent_at, over_at)).total_seconds() >= timing.settled_after_s)

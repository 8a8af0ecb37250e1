"""Reading by a job of Bulk API 2.0: the same rows as by query, all of them or none, and never all in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import Peer, account, settings_for
from test_pull import edit

from pipelines import exact
from pipelines.clients import open_clients
from pipelines.extract import collect
from pipelines.salesforce.bulk import (
    LONGEST_JOB_S,
    PAGE_BYTES,
    Bulk,
    JobUnfinished,
    NoQueryJob,
    Spill,
    job_pages,
)
from pipelines.salesforce.client import LostPlace, RefusedQuery, SalesforceClient
from pipelines.salesforce.source import VOLATILE, even_numbers, parse_stamp, pull_object
from pipelines.warehouse import Warehouse
from pipelines.wire import Page, Reply, Row
from reconcile.errors import MissingRight, ReadOnly, ReconcileError, SnapshotRefused, UnexpectedReply

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PAST_OVERLAP_S = 3600.0


# --- A vendor that answers by script -----------------------------------------------------------------


def line(values: Sequence[str]) -> str:
    return ",".join('"' + value.replace('"', '""') + '"' for value in values) + "\n"


def csv_of(header: Sequence[str], *rows: Sequence[str]) -> bytes:
    return "".join(map(line, (header, *rows))).encode()


def ids(*numbers: int) -> list[str]:
    return [f"001{number:012d}AAA" for number in numbers]


def page_of(*numbers: int) -> bytes:
    return csv_of(["Id"], *([record_id] for record_id in ids(*numbers)))


@dataclass
class Vendor:
    """Stands in for the client. states: what the job says of itself, in order; the last one stays.

    pages: locator -> what is answered there, in order (content, count told, next locator); the last one stays.
    """

    states: list[dict[str, Any]]
    pages: dict[str, list[tuple[bytes, int, str]]] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)  # part of a path -> status, code
    asked: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    root: str = "/services/data/v67.0/"

    def __post_init__(self) -> None:
        self.wire = self.governor = self
        self.pause = self.pauses.append

    def send(self, method: str, path: str, body: bytes | None, **_: Any) -> Reply:
        self.asked.append(f"{method} {path}")
        for part, (status, code) in self.refusals.items():
            if part in self.asked[-1]:
                return self._reply(status, json.dumps([{"errorCode": code, "message": "private"}]).encode())
        if method == "POST":
            assert body is not None and json.loads(body)["operation"] == "queryAll"
            return self._reply(200, b'{"id": "750000000000001AAA", "object": "Account"}')
        if "/results" not in path:
            return self._reply(200, json.dumps(self._next(self.states)).encode())
        content, count, locator = self._next(self.pages[httpx.URL(path).params.get("locator", "")])
        return self._reply(
            200, content, {"Sforce-NumberOfRecords": str(count), "Sforce-Locator": locator or "null"}
        )

    @staticmethod
    def _next(answers: list[Any]) -> Any:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    @staticmethod
    def _reply(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        told = {"Date": "Sat, 28 Nov 2026 12:00:00 GMT", **(headers or {})}
        return Reply(status, httpx.Headers(told), body, "salesforce")


def complete(total: int) -> dict[str, Any]:
    return {"state": "JobComplete", "numberRecordsProcessed": total}


def rows_of(vendor: Any, types: Mapping[str, str] | None = None) -> list[Row]:
    named = types or {"Id": "id"}
    soql = f"select {', '.join(named)} from Account"
    return [row for page in job_pages(vendor, soql, named) for row in page.rows]


def one_value(kind: str, value: str) -> Any:
    content = csv_of(["Id", "Field"], [ids(1)[0], value])
    [row] = rows_of(Vendor([complete(1)], {"": [(content, 1, "")]}), {"Id": "id", "Field": kind})
    assert exact.parse(row.text) == row.body
    return row.body["Field"]


# --- What a value becomes ----------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_any_text_arrives_as_it_was_sent(texts):
    """Quotes, separators, every kind of line end, signs beyond the BMP."""
    content = csv_of(
        ["Name", "Id"], *([text, record_id] for text, record_id in zip(texts, ids(*range(9)), strict=False))
    )
    vendor = Vendor([complete(len(texts))], {"": [(content, len(texts), "")]})
    rows = rows_of(vendor, {"Id": "id", "Name": "string"})
    assert [row.body["Name"] for row in rows] == texts
    assert [exact.parse(row.text)["Name"] for row in rows] == texts


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**14), max_value=10**14))
def test_a_number_keeps_every_digit(number):
    value = one_value("currency", f"{number:f}")
    assert type(value) is Decimal and value == number


@pytest.mark.parametrize(
    ("kind", "sent", "found"),
    [
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("int", "42", 42),
        ("int", "42.0", 42),
        ("percent", "1.2345678E7", Decimal("12345678")),
        ("double", "-0.5", Decimal("-0.5")),
        ("datetime", "2024-04-16T19:00:00.000Z", "2024-04-16T19:00:00.000+0000"),
        ("datetime", "2024-04-16T19:00:00.000+0000", "2024-04-16T19:00:00.000+0000"),
        ("date", "2024-04-16", "2024-04-16"),
        ("time", "10:30:00.000Z", "10:30:00.000Z"),
        ("reference", "", None),
        ("string", "", None),
        ("currency", "", None),
        ("string", "null", "null"),
        ("string", "#N/A", "#N/A"),
        ("string", "007", "007"),
        ("picklist", "true", "true"),
    ],
)
def test_a_value_becomes_what_a_query_says(kind, sent, found):
    assert one_value(kind, sent) == found and type(one_value(kind, sent)) is type(found)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("boolean", "perhaps"), ("int", "4.5"), ("int", "twelve"), ("double", "NaN"), ("currency", "1,5"),
     ("currency", "01"), ("datetime", "yesterday"), ("datetime", "2024-04-16T19:00:00+0200")],
)  # fmt: skip
def test_a_value_of_another_form_is_refused_by_its_field_and_not_quoted(kind, sent):
    with pytest.raises(UnexpectedReply, match=r"Account\.Field") as refused:
        one_value(kind, sent)
    assert sent not in str(refused.value).replace("Account.Field", "")


def test_a_number_without_a_fraction_hashes_alike_however_a_way_spells_it():
    def hashed(text: str) -> str:
        row = Row(ids(1)[0], exact.parse(text), text)
        pages = even_numbers([Page([row], 1, NOW, last=True)])
        return collect(pages, lambda _: (NOW, False), VOLATILE).columns["row_hash"][0]

    assert hashed('{"A": 100}') == hashed('{"A": 100.0}') == hashed('{"A": 1E2}')
    assert len({hashed(f'{{"A": {value}}}') for value in ("100", '"100"', "100.5", "true", "1", "null")}) == 6


# --- Never a part ------------------------------------------------------------------------------------


def test_pages_follow_their_locators_and_grow_to_what_is_good_for_the_memory():
    pages = {"": [(page_of(1, 2), 2, "MTA/w")], "MTA/w": [(page_of(3), 1, "")]}
    vendor = Vendor([complete(3)], pages)
    assert [row.record_id for row in rows_of(vendor)] == ids(1, 2, 3)
    wanted = [
        int(httpx.URL(one.split()[1]).params["maxRecords"]) for one in vendor.asked if "/results" in one
    ]
    assert wanted == [1_000, 50_000]
    wide = csv_of(["Id"], *([record_id + " " * 100_000] for record_id in ids(1, 2)))
    vendor = Vendor([complete(4)], {"": [(wide, 2, "a")], "a": [(wide, 2, "")]})
    with pytest.raises(
        UnexpectedReply, match="without Id"
    ):  # too long to be one; the size is what is looked at
        rows_of(vendor)


def test_the_pauses_between_looks_grow_and_are_the_governors():
    vendor = Vendor(
        [{"state": "UploadComplete"}, *[{"state": "InProgress"}] * 7, complete(1)],
        {"": [(page_of(1), 1, "")]},
    )
    assert len(rows_of(vendor)) == 1
    assert vendor.pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_job_without_end_is_given_up():
    vendor = Vendor([{"state": "InProgress"}])
    with pytest.raises(JobUnfinished):
        rows_of(vendor)
    assert LONGEST_JOB_S <= sum(vendor.pauses) < LONGEST_JOB_S + 60


def test_a_page_that_is_cut_off_is_read_again():
    whole = page_of(1, 2)
    for cut in (whole[:-3], whole[:-22], whole[:40], b"", whole + b'"', page_of(1, 2, 3), b"\xff" + whole):
        vendor = Vendor([complete(2)], {"": [(cut, 2, ""), (whole, 2, "")]})
        assert [row.record_id for row in rows_of(vendor)] == ids(1, 2), cut
        assert sum("/results" in one for one in vendor.asked) == 2


def test_a_row_that_lacks_a_value_is_no_row():
    whole = csv_of(["Id", "Name"], [ids(1)[0], "a"], [ids(2)[0], "b"])
    vendor = Vendor([complete(2)], {"": [(whole.removesuffix(b',"b"\n'), 2, ""), (whole, 2, "")]})
    assert [row.body["Name"] for row in rows_of(vendor, {"Id": "id", "Name": "string"})] == ["a", "b"]


NEVER_WHOLE: dict[str, tuple[list[dict[str, Any]], dict[str, list[tuple[bytes, int, str]]]]] = {
    "cut off within a row": ([complete(2)], {"": [(page_of(1, 2)[:-3], 2, "")]}),
    "cut off between rows": ([complete(2)], {"": [(page_of(1), 2, "")]}),
    "more rows than told": ([complete(2)], {"": [(page_of(1, 2), 1, "")]}),
    "another column": ([complete(1)], {"": [(csv_of(["ID"], ids(1)), 1, "")]}),
    "fewer pages than the job found rows for": ([complete(3)], {"": [(page_of(1, 2), 2, "")]}),
    "pages without rows": ([complete(2)], {"": [(page_of(), 0, "a")], "a": [(page_of(), 0, "a")]}),
    "failed": ([{"state": "Failed", "errorMessage": "InternalServerError : private"}], {}),
    "aborted": ([{"state": "InProgress"}, {"state": "Aborted"}], {}),
}


@pytest.mark.parametrize("name", NEVER_WHOLE)
def test_what_never_comes_whole_has_to_be_asked_again_from_the_start(name):
    states, pages = NEVER_WHOLE[name]
    with pytest.raises(LostPlace, match="query job 750000000000001AAA") as lost:
        rows_of(Vendor(list(states), {locator: list(answers) for locator, answers in pages.items()}))
    assert "private" not in str(lost.value)


REFUSED: list[tuple[str, int, str, type[ReconcileError]]] = [
    ("POST", 400, "FEATURENOTENABLED", NoQueryJob),
    ("POST", 400, "EXCEEDEDQUOTA", NoQueryJob),
    ("POST", 400, "INVALID_FIELD", RefusedQuery),
    ("POST", 403, "INSUFFICIENT_ACCESS", MissingRight),
    ("GET", 404, "NOT_FOUND", LostPlace),  # after seven days, or deleted
    ("/results", 404, "NOT_FOUND", LostPlace),
    ("/results", 400, "INVALID_QUERY_LOCATOR", LostPlace),
    ("/results", 409, "VERSION_MISMATCH", UnexpectedReply),
    ("/results", 412, "JOB_NOT_COMPLETE", UnexpectedReply),
]


@pytest.mark.parametrize(("part", "status", "code", "kind"), REFUSED)
def test_each_refusal_is_sorted_by_what_happens_next(part, status, code, kind):
    vendor = Vendor([complete(1)], {"": [(page_of(1), 1, "")]}, refusals={part: (status, code)})
    with pytest.raises(kind) as refused:
        rows_of(vendor)
    assert type(refused.value) is kind and "private" not in str(refused.value)


# --- Where rows lie ----------------------------------------------------------------------------------


def raw_rows(*numbers: int) -> Any:
    rows = [Row(record_id, {"Id": record_id}, f'{{"Id":"{record_id}"}}') for record_id in ids(*numbers)]
    return collect([Page(rows, None, NOW, last=True)], lambda _: (NOW, False), VOLATILE).table()


def test_spilt_rows_come_back_as_they_were_and_no_file_has_a_name(tmp_path):
    spill = Spill(tmp_path)
    for numbers in ((1, 2), (3,)):
        spill.add(raw_rows(*numbers))
    assert list(tmp_path.iterdir()) == []
    table = spill.table()
    assert table is not None and table.equals(raw_rows(1, 2, 3))
    assert spill.ids == set(ids(1, 2, 3)) and list(tmp_path.iterdir()) == []


def test_without_rows_there_is_no_table(tmp_path):
    assert Spill(tmp_path).table() is None


def test_a_row_that_comes_twice_is_refused(tmp_path):
    spill = Spill(tmp_path)
    spill.add(raw_rows(1, 2))
    with pytest.raises(LostPlace, match="twice"):
        spill.add(raw_rows(2, 3))


# --- Against the sandbox, over HTTP ------------------------------------------------------------------


@contextmanager
def client_of(peer: Peer, sleep: Callable[[float], None] = lambda _: None) -> Iterator[SalesforceClient]:
    """A client for reads; `sleep` takes the place of waiting."""
    with open_clients(peer.settings, peer.tokens, sleep=sleep) as clients:
        yield clients.salesforce


def at_once(peer: Peer, **bulk: Any) -> None:
    peer.control("salesforce", "POST", "bulk", {"rows_per_s": 0, "scanned_per_s": 0, **bulk})


def content(extract: Any) -> dict[str, tuple[Any, ...]]:
    """Rows by id, with the body as parsed: which spelling it has is no matter."""
    rows = extract.rows.to_pylist() if extract.rows is not None else []
    return {
        row["record_id"]: (row["modified_at"], row["deleted"], row["row_hash"], exact.parse(row["body"]))
        for row in rows
    }


def jobs(peer: Peer) -> list[dict[str, Any]]:
    return peer.control("salesforce", "GET", "bulk")["jobs"]


ADDED = [
    {"name": "Whole__c", "type": "int"},
    {"name": "Ratio__c", "type": "double", "precision": 18, "scale": 4},
    {"name": "Share__c", "type": "percent", "precision": 5, "scale": 2},
    {"name": "Vip__c", "type": "boolean"},
    {"name": "Since__c", "type": "date"},
    {"name": "Seen_At__c", "type": "datetime"},
    {"name": "Notes__c", "type": "textarea", "length": 255},
]
# What an org can hold (the sandbox's load page checks nothing): an empty text is null there.
WORDS = st.text(st.sampled_from("aZ9 ,;\"'\\\n\r\t#/&éß漢\u2028😀"), min_size=1, max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Phone": WORDS,
    "BillingStreet": WORDS,
    "BillingCity": st.sampled_from([None, "Bonn", "null", "#N/A", "true"]),
    "AnnualRevenue": st.integers(-(10**12), 10**12),
    "NumberOfEmployees": st.integers(0, 10**6),
    "Whole__c": st.integers(-5, 5),
    "Ratio__c": st.decimals(places=4, min_value=-1000, max_value=1000).map(float),
    "Share__c": st.integers(-99999, 99999).map(lambda n: n / 100),
    "Vip__c": st.booleans(),
    "Since__c": st.dates().map(lambda day: day.isoformat()),
    "Seen_At__c": st.integers(0, 4_000_000_000).map(
        lambda second: datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    ),
    "Notes__c": WORDS,
}
DIALECTS = st.fixed_dictionaries(
    {
        "number_text": st.sampled_from(["shortest", "scale", "bare"]),
        "bulk_moments": st.sampled_from(["Z", "+0000"]),
        "page": st.sampled_from(["full", "fewer"]),
        "stamp_resolution": st.sampled_from(["second", "millisecond"]),
        "multi_currency": st.booleans(),
        "extra_decimals": st.sampled_from(["kept", "rounded"]),
        "newlines": st.sampled_from(["page", "as_sent", "crlf", "lf"]),
        "bulk_empty_result": st.sampled_from(["header", "nothing"]),
        "limit_info": st.sampled_from(["plain", "bursts", "per_app"]),
    }
)
RECORDS = st.lists(st.fixed_dictionaries({}, optional=VALUES), max_size=6)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, dialect=DIALECTS, deleted=st.sets(st.integers(0, 5), max_size=2))
def test_a_job_and_a_query_bring_the_same_rows(peer, tmp_path, records, dialect, deleted):
    """The heart: a switch of the way shows not one changed row."""
    peer.control("salesforce", "POST", "reset", {"seed": False})
    peer.control("salesforce", "POST", "dialect", dialect)
    for one in ADDED:
        peer.control("salesforce", "POST", "fields", {"object": "Account", "add": one})
    at_once(peer)
    peer.load("salesforce", [account(number, **fields) for number, fields in enumerate(records)])
    for number in deleted & set(range(len(records))):
        edit(
            peer,
            "salesforce",
            "DELETE",
            f"/services/data/v67.0/sobjects/Account/{account(number)['Id']}",
            None,
        )
    peer.move_clock(PAST_OVERLAP_S)  # so that nothing comes by the look at what was made while the job ran
    with client_of(peer) as client:
        by_query = pull_object(client, "Account", since=None)
        by_job = pull_object(client, "Account", since=None, bulk=Bulk(1, tmp_path))
    assert len(jobs(peer)) == (1 if records else 0)
    assert content(by_job) == content(by_query) and len(content(by_job)) == len(records)
    assert sum(row[1] for row in content(by_job).values()) == len(deleted & set(range(len(records))))
    assert by_job.ids == by_query.ids and by_job.observed == by_query.observed


def filled(peer: Peer, count: int) -> None:
    peer.load("salesforce", [account(number, Phone=f"0113 {number:06d}") for number in range(count)])
    peer.move_clock(PAST_OVERLAP_S)


def test_a_job_is_made_from_the_set_size_on_and_for_a_sweep_alone(peer, tmp_path):
    at_once(peer)
    filled(peer, 20)
    with client_of(peer) as client:
        pull_object(client, "Account", since=None, bulk=Bulk(21, tmp_path))
        assert jobs(peer) == []
        swept = pull_object(client, "Account", since=None, bulk=Bulk(20, tmp_path))
        assert [job["operation"] for job in jobs(peer)] == ["queryAll"]
        pull_object(client, "Account", since=NOW, read=sorted(swept.observed), bulk=Bulk(1, tmp_path))
    assert len(jobs(peer)) == 1 and len(swept.ids) == 20


def test_a_job_that_breaks_off_is_made_anew_and_after_three_the_error_names_it(peer, tmp_path):
    filled(peer, 20)
    at_once(peer, fail=[{"kind": "query", "after_rows": 1, "times": 2}])
    with client_of(peer) as client:
        assert len(pull_object(client, "Account", since=None, bulk=Bulk(1, tmp_path)).ids) == 20
        assert [job["state"] for job in jobs(peer)] == ["Failed", "Failed", "JobComplete"]
        at_once(peer, fail=[{"kind": "query", "after_rows": 1, "times": 3}])
        with pytest.raises(LostPlace, match=r"Failed \(InternalServerError\)"):
            pull_object(client, "Account", since=None, bulk=Bulk(1, tmp_path))
    assert list(tmp_path.glob("tmp*")) == []


class Busy:
    """A client in whose org a row is made each time before a result is read: when the job has read the table."""

    def __init__(self, client: SalesforceClient, peer: Peer) -> None:
        self._client, self._peer, self.made = client, peer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send(self, method: str, path: str, body: bytes | None, **options: Any) -> Reply:
        if "/results" in path:
            self.made += 1
            self._peer.load("salesforce", [account(100 + self.made)])
        return self._client.send(method, path, body, **options)


def test_what_is_made_while_the_job_runs_arrives_and_the_next_delta_begins_before_it(peer, tmp_path):
    waited: list[float] = []
    at_once(peer, queue_s=5)
    filled(peer, 20)

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        peer.move_clock(seconds)

    with client_of(peer, sleep=sleep) as client:
        busy: Any = Busy(client, peer)
        extract = pull_object(busy, "Account", since=None, bulk=Bulk(1, tmp_path))
    assert sum(waited) >= 5 and busy.made == 1 and len(jobs(peer)) == 1
    stamps = [parse_stamp(body["SystemModstamp"]) for *_, body in content(extract).values()]
    assert len(stamps) == 21
    assert sum(stamp is not None and stamp >= extract.complete_as_of for stamp in stamps) == 1


class Lossy:
    """A client whose jobs lose the last row of their result and say nothing of it."""

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send(self, method: str, path: str, body: bytes | None, **options: Any) -> Reply:
        reply = self._client.send(method, path, body, **options)
        if "/results" in path:
            rows = reply.body.splitlines(keepends=True)
            told = httpx.Headers({**reply.headers, "sforce-numberofrecords": str(len(rows) - 2)})
            return Reply(reply.status, told, b"".join(rows[:-1]), reply.side)
        if method == "GET":
            told = reply.json()
            changed = {**told, "numberRecordsProcessed": told["numberRecordsProcessed"] - 1}
            return Reply(reply.status, reply.headers, json.dumps(changed, default=str).encode(), reply.side)
        return reply


def test_a_row_that_the_vendor_loses_without_a_word_is_missed_by_the_systems_own_count(peer, tmp_path):
    at_once(peer)
    filled(peer, 20)
    with client_of(peer) as client, pytest.raises(SnapshotRefused, match="19 different rows"):
        pull_object(Lossy(client), "Account", since=None, bulk=Bulk(1, tmp_path))  # type: ignore[arg-type]
    assert len(jobs(peer)) == 3


NO_QUESTIONS = [
    ("POST", "jobs/ingest"),
    ("POST", "jobs/query/"),
    ("POST", "jobs/query?x=/jobs/query"),
    ("POST", "jobs/query/750000000000001AAA"),
    ("POST", "JOBS/QUERY"),
    ("POST", "sobjects/Account/jobs/query"),
    ("PATCH", "jobs/query"),
    ("PUT", "jobs/query"),
    ("DELETE", "jobs/query/750000000000001AAA"),
    ("PATCH", "jobs/query/750000000000001AAA"),
]


def test_without_a_lease_nothing_but_the_making_of_a_query_job_leaves_that_is_no_get(peer):
    with client_of(peer) as client:
        client.user_id()  # logged in
        before = client.wire.calls
        for method, path in NO_QUESTIONS:
            with pytest.raises(ReadOnly):
                client.send(method, path, b"{}")
        assert client.wire.calls == before


def test_a_pull_without_a_lease_goes_by_a_job_from_the_set_size_on(peer, tmp_path):
    at_once(peer)
    filled(peer, 5)
    peer.settings = settings_for(peer.line, peer.folder, pull={"bulk_from_rows": 5})
    with Warehouse(tmp_path / "warehouse.duckdb") as warehouse:
        first = peer.pull(warehouse)
        assert [job["object"] for job in jobs(peer)] == ["Account"]
        assert first.objects[0].rows_changed == 5 and first.objects[0].error is None
        peer.settings = settings_for(peer.line, peer.folder)
        again = peer.pull(warehouse, full=True)
        assert again.objects[0].kind == "full" and not again.changed  # the way has changed, and not one row
    assert len(jobs(peer)) == 1


def test_a_page_of_results_is_no_larger_than_a_reply_may_be():
    from pipelines.wire import LARGEST_REPLY

    assert 2 * PAGE_BYTES <= LARGEST_REPLY


def test_pages_of_a_job_are_followed_over_http(peer, tmp_path):
    peer.control("salesforce", "POST", "dialect", {"page": "fewer"})
    at_once(peer)
    filled(peer, 1_201)
    with client_of(peer) as client:
        extract = pull_object(client, "Account", since=None, bulk=Bulk(1, Path(tmp_path)))
    assert len(extract.ids) == 1_201
    assert sum("/results" in one["path"] for one in peer.requests("salesforce")) == 3

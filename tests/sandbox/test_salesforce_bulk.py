"""Ingest jobs of Bulk API 2.0 over plain HTTP: data, states, results, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from bulk_peer import asked, at_once, done, errors, job, rows_of, start, upload
from salesforce_peer import Peer, refusal, serving

from sandbox.salesforce.ids import make_id


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("salesforce"), limits="real") as started:
        yield started


@pytest.fixture
def sf(line: dict[str, Any]) -> Peer:
    return at_once(Peer(line))


def test_an_insert_goes_through_its_states_and_tells_what_became_of_each_row(sf: Peer) -> None:
    sf.control("bulk", {"queue_s": 60})
    job_id = start(sf, "insert", "Name,ExternalID__c\nAcme,a\n,b\nZoë,c\n")
    told = job(sf, job_id)
    assert (told["state"], told["jobType"], told["numberRecordsProcessed"]) == (
        "UploadComplete",
        "V2Ingest",
        0,
    )
    assert "contentUrl" not in told and Decimal(str(told["apiVersion"])) == Decimal("67.0")
    sf.control("clock", {"move_s": 61})
    told = job(sf, job_id)
    assert [told[name] for name in ("state", "numberRecordsProcessed", "numberRecordsFailed")] == [
        "JobComplete",
        3,
        1,
    ]
    good = {row["ExternalID__c"]: row for row in rows_of(sf, job_id, "successfulResults")}
    assert {key: row["sf__Created"] for key, row in good.items()} == {"a": "true", "c": "true"}
    assert sf.read(good["c"]["sf__Id"])["Name"] == "Zoë"
    (bad,) = rows_of(sf, job_id, "failedResults")
    assert bad == {
        "sf__Id": "", "sf__Error": "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --",
        "Name": "", "ExternalID__c": "b",
    }  # fmt: skip
    assert rows_of(sf, job_id, "unprocessedrecords") == []


def test_results_do_not_come_in_the_order_of_the_upload(sf: Peer) -> None:
    names = [f"n{at:03}" for at in range(450)]
    job_id = done(sf, "insert", "\n".join(["Name", *names]))
    given = [row["Name"] for row in rows_of(sf, job_id, "successfulResults")]
    assert sorted(given) == names and given != names
    assert given == [row["Name"] for row in rows_of(sf, job_id, "successfulResults")]
    for _ in range(4):
        pair = done(sf, "insert", "Name\nx\ny\n")
        assert [row["Name"] for row in rows_of(sf, pair, "successfulResults")] == ["y", "x"]
    sf.control("dialect", {"bulk_result_order": "as_sent"})
    assert [row["Name"] for row in rows_of(sf, job_id, "successfulResults")] == names


def test_an_empty_value_is_passed_over_and_na_clears(sf: Peer) -> None:
    one, two = sf.make(Phone="1", Site="s"), sf.make(Phone="2", Site="s")
    done(sf, "update", f"Id,Phone\n{one},\n{two},#N/A\n")
    assert [sf.read(key)["Phone"] for key in (one, two)] == ["1", None]
    assert [sf.read(key)["Site"] for key in (one, two)] == ["s", "s"]


def test_an_upsert_creates_and_updates_by_external_id(sf: Peer) -> None:
    known = sf.make(ExternalID__c="K1", Name="old")
    data = "Name,ExternalID__c\nnew,k1\nfresh,k2\ntwice,k3\ntwice,K3\nnone,\n"
    job_id = done(sf, "upsert", data, externalIdFieldName="externalid__c")
    good = {row["Name"]: row for row in rows_of(sf, job_id, "successfulResults")}
    assert {name: row["sf__Created"] for name, row in good.items()} == {"new": "false", "fresh": "true"}
    assert good["new"]["sf__Id"] == known and sf.read(known)["Name"] == "new"
    assert [error.partition(":")[0] for error in errors(sf, job_id)] == [
        "DUPLICATE_VALUE", "DUPLICATE_VALUE", "MISSING_ARGUMENT",
    ]  # fmt: skip


def test_an_upsert_by_id_creates_what_has_none_and_an_insert_takes_no_ids(sf: Peer) -> None:
    known = sf.make(Name="old")
    job_id = done(sf, "upsert", f"Id,Name\n{known},new\n,fresh\n", externalIdFieldName="Id")
    made = {row["Name"]: row["sf__Created"] for row in rows_of(sf, job_id, "successfulResults")}
    assert made == {"new": "false", "fresh": "true"} and sf.read(known)["Name"] == "new"
    job_id = done(sf, "insert", f"Id,Name\n{known},newer\n")
    assert errors(sf, job_id) == ["INVALID_FIELD_FOR_INSERT_UPDATE:cannot specify Id in an insert call:Id --"]


def test_a_delete_takes_ids_and_says_which_it_could_not(sf: Peer) -> None:
    one, contact = sf.make(), sf.make("Contact")
    sf.call("DELETE", f"sobjects/Account/{(gone := sf.make())}")
    job_id = done(sf, "delete", f"Id\n{one}\n{gone}\n{contact}\n")
    assert [row["sf__Id"] for row in rows_of(sf, job_id, "successfulResults")] == [one]
    failed = {row["sf__Id"]: row["sf__Error"] for row in rows_of(sf, job_id, "failedResults")}
    assert failed == {
        gone: "ENTITY_IS_DELETED:entity is deleted:--",
        contact: "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--",
    }
    assert sf.read(contact)["LastName"] == "Doe"


def test_before_53_a_refused_row_has_no_id(sf: Peer) -> None:
    url = "/services/data/v52.0/jobs/ingest"
    made = sf.call("POST", url, {"operation": "update", "object": "Account"}).json()["id"]
    upload(sf, made, f"Id,Phone\n{make_id('001', 'Zz', 1)},1\n")
    sf.call("PATCH", f"{url}/{made}", {"state": "UploadComplete"})
    assert job(sf, made)["numberRecordsFailed"] == 1
    assert [row["sf__Id"] for row in rows_of(sf, made, "failedResults")] == [""]


def test_a_hard_delete_needs_a_permission(sf: Peer) -> None:
    wanted = {"operation": "hardDelete", "object": "Account"}
    assert refusal(sf.call("POST", "jobs/ingest", wanted)) == (400, "FEATURENOTENABLED")
    sf.control("bulk", {"hard_delete": True})
    done(sf, "hardDelete", f"Id\n{sf.make()}\n")
    assert sf.query("select Id from Account", everything=True) == []


def test_a_parent_is_named_by_its_external_id(sf: Peer) -> None:
    parent = sf.make(ExternalID__c="p 1")
    contact = sf.make("Contact", AccountId=parent)
    job_id = done(sf, "insert", "LastName,Account.ExternalID__c\nRoe,p 1\nPoe,nobody\nLoe,\n", "Contact")
    assert errors(sf, job_id) == [
        "INVALID_FIELD:Foreign key external ID: nobody not found for field ExternalID__c in entity Account:--"
    ]
    found = {row["LastName"]: row["AccountId"] for row in sf.query("select LastName, AccountId from Contact")}
    assert (found["Roe"], found["Loe"]) == (parent, None)
    done(sf, "update", f"Id,Account.ExternalID__c\n{contact},#N/A\n", "Contact")
    assert sf.read(contact)["AccountId"] is None


def test_the_rules_of_every_write_hold_for_rows_too(sf: Peer) -> None:
    sf.make(Name="Twin", ExternalID__c="t")
    locked = sf.make(Name="Locked")
    sf.control("locks", {"ids": [locked]})
    sf.control("rules", {
        "validation": [{"object": "Account", "name": "v", "when": "Site = 'bad'", "message": "No: it's bad"}],
        "duplicate": [{"object": "Account", "name": "d", "fields": ["Name"], "message": "Use one of these?"}],
    })  # fmt: skip
    job_id = done(sf, "insert", "Name,Site,ExternalID__c\na,bad,1\nTwin,s,2\nb,s,t\n" + "x" * 300 + ",s,3\n")
    assert [one[:50] for one in errors(sf, job_id)] == [
        "DUPLICATES_DETECTED:Use one of these?:--",
        "DUPLICATE_VALUE:duplicate value found: ExternalID_",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION:No: it's bad:--",
        "STRING_TOO_LONG:Name: data value too large: xxxxxx",
    ]
    refused = done(sf, "update", f"Id,Phone\n{locked},1\n")
    assert errors(sf, refused)[0].startswith("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access")
    assert rows_of(sf, done(sf, "update", f"Id,Phone\n{locked},1\n"), "successfulResults")


def test_values_of_the_wrong_type_are_refused_row_by_row(sf: Peer) -> None:
    head = "Name,StageName,CloseDate,Amount,IsPrivate\n"
    data = "a,Prospecting,2026-11-24Z,10.5,1\nb,Prospecting,24.11.2026,1,0\nc,Prospecting,2026-11-24,ten,0\n"
    job_id = done(sf, "insert", head + data, "Opportunity")
    text = "INVALID_FIELD:Failed to deserialize field at col {}. Due to, '{}' is not a valid value for the type xsd:"
    assert errors(sf, job_id) == [
        text.format(2, "24.11.2026") + "date:CloseDate --",
        text.format(3, "ten") + "double:Amount --",
    ]
    row = sf.query("select CloseDate, Amount, IsPrivate from Opportunity")[0]
    assert (row["CloseDate"], row["Amount"], row["IsPrivate"]) == ("2026-11-24", 10.5, True)


BREAKS = "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is "


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        ("Name,Nmae\na,b\n", {}, "InvalidBatch : Field name not found : Nmae"),
        ("\ufeffName\na\n", {}, "InvalidBatch : Field name not found : \ufeffName"),
        ("Name,Parent.Name\na,b\n", {}, "InvalidBatch : Field name not found : Parent.Name"),
        ("Name\r\na\r\n", {}, f"{BREAKS}LF"),
        ("Name\na\n", {"lineEnding": "CRLF"}, f"{BREAKS}CRLF"),
        ("Name\n\"a\n", {}, "InvalidBatch : Failed to parse CSV at record 2: unexpected end of data"),
        ("Name,Site\na\n", {}, "ClientInputError : Row 2 has 1 values, but the header has 2 fields"),
        ("Name\n" + "x" * 32_001, {}, "ClientInputError : Row 2 is longer than a record or a field may be"),
        ("Name\nZoë\n".encode("latin-1"), {}, "ClientInputError : Failed to read the data: it is not UTF-8"),
        ("Name|Site\na|b\n", {}, "InvalidBatch : Field name not found : Name|Site"),
    ],
)  # fmt: skip
def test_unfit_data_fail_the_whole_job(
    sf: Peer, data: str | bytes, options: dict[str, str], error: str
) -> None:
    job_id = start(sf, "insert", data, **options)
    told = job(sf, job_id)
    assert (told["state"], told["errorMessage"], told["numberRecordsProcessed"]) == ("Failed", error, 0)
    assert sf.query("select Id from Account") == []
    assert rows_of(sf, job_id, "successfulResults") == []


def test_an_update_without_ids_and_an_upsert_without_keys_fail(sf: Peer) -> None:
    job_id = start(sf, "update", "Name\na\n")
    assert job(sf, job_id)["errorMessage"] == "InvalidBatch : Field name not found : Id"
    job_id = start(sf, "upsert", "Name\na\n", externalIdFieldName="ExternalID__c")
    assert job(sf, job_id)["errorMessage"] == "InvalidBatch : Field name not found : ExternalID__c"


def test_a_hidden_field_is_not_found_and_a_read_only_one_refuses_the_row(sf: Peer) -> None:
    sf.control("fields", {"object": "Account", "rights": {"Site": "hidden", "Phone": "read_only"}})
    assert job(sf, start(sf, "insert", "Name,Site\na,b\n"))["errorMessage"].endswith(": Site")
    assert errors(sf, done(sf, "insert", "Name,Phone\na,1\n"))[0].startswith(
        "INVALID_FIELD_FOR_INSERT_UPDATE:"
    )


def test_separators_quotes_and_line_breaks_come_back_as_they_were_sent(sf: Peer) -> None:
    street = 'Hof "Süd";\n2. Stock'
    data = f'Name;BillingStreet\r\nZoë;"{street.replace(chr(34), chr(34) * 2)}"\r\n'
    job_id = done(sf, "insert", data, columnDelimiter="SEMICOLON", lineEnding="CRLF")
    (row,) = rows_of(sf, job_id, "successfulResults", delimiter=";")
    assert (row["Name"], row["BillingStreet"]) == ("Zoë", street)
    assert sf.read(row["sf__Id"])["BillingStreet"] == street
    raw = sf.call("GET", f"jobs/ingest/{job_id}/successfulResults").content
    assert raw.startswith(b'"sf__Id";"sf__Created";"Name";"BillingStreet"\r\n') and raw.endswith(b'"\r\n')
    sf.control("dialect", {"bulk_line_break_check": "anywhere"})
    failed = start(sf, "insert", data, columnDelimiter="SEMICOLON", lineEnding="CRLF")
    assert job(sf, failed)["state"] == "Failed"


def test_a_byte_order_mark_may_be_skipped(sf: Peer) -> None:
    sf.control("dialect", {"bulk_bom": "skipped"})
    done(sf, "insert", "\ufeffName\na\n")


def test_a_job_that_breaks_off_leaves_rows_that_it_never_looked_at(sf: Peer) -> None:
    sf.control(
        "bulk", {"chunk_rows": 2, "fail": [{"after_rows": 5, "message": "InternalServerError : late"}]}
    )
    job_id = start(sf, "insert", 'Name\na\n""\nc\nd\ne\nf\ng\n')
    told = job(sf, job_id)
    assert (told["state"], told["errorMessage"], told["retries"]) == (
        "Failed",
        "InternalServerError : late",
        20,
    )
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"]) == (4, 1)
    assert {row["Name"] for row in rows_of(sf, job_id, "successfulResults")} == {"a", "c", "d"}
    assert {row["Name"] for row in rows_of(sf, job_id, "unprocessedrecords")} == {"e", "f", "g"}
    assert {row["Name"] for row in sf.query("select Name from Account")} == {"a", "c", "d"}
    done(sf, "insert", "Name\n" + "z\n" * 7)  # the failure was asked for once


def test_rows_are_written_at_the_pace_of_the_clock_and_an_abort_stops_them(sf: Peer) -> None:
    sf.control("bulk", {"rows_per_s": 0.1, "chunk_rows": 1})
    job_id = start(sf, "insert", "Name\na\nb\nc\n")
    assert job(sf, job_id)["state"] == "InProgress"
    early = sf.call("GET", f"jobs/ingest/{job_id}/successfulResults")
    assert refusal(early) == (400, "INVALIDJOBSTATE")
    sf.control("clock", {"move_s": 21})
    assert len(sf.query("select Id from Account")) == 2  # any call carries on with the jobs
    assert job(sf, job_id)["numberRecordsProcessed"] == 2
    assert sf.call("DELETE", f"jobs/ingest/{job_id}").status_code == 400
    assert sf.call("PATCH", f"jobs/ingest/{job_id}", {"state": "Aborted"}).json()["state"] == "Aborted"
    sf.control("clock", {"move_s": 60})
    assert len(sf.query("select Id from Account")) == 2
    assert [row["Name"] for row in rows_of(sf, job_id, "unprocessedrecords")] == ["c"]
    again = sf.call("PATCH", f"jobs/ingest/{job_id}", {"state": "Aborted"})
    assert again.json() == [
        {"message": "Aborting already Aborted Job not allowed", "errorCode": "INVALIDJOBSTATE"}
    ]


def test_a_job_is_uploaded_once_closed_once_and_gone_when_deleted(sf: Peer) -> None:
    made = sf.call("POST", "jobs/ingest/", {"operation": "insert", "object": "account"}).json()
    job_id = made["id"]
    assert (made["state"], made["object"], made["lineEnding"]) == ("Open", "Account", "LF")
    assert made["contentUrl"] == f"services/data/v67.0/jobs/ingest/{job_id}/batches"
    close = {"state": "UploadComplete"}
    assert refusal(sf.call("PATCH", f"jobs/ingest/{job_id}", close)) == (400, "INVALIDJOBSTATE")
    assert sf.call("PUT", f"jobs/ingest/{job_id}/batches", {"Name": "a"}).status_code == 415
    assert upload(sf, job_id, "Name\na\n").status_code == 201
    assert upload(sf, job_id, "Name\nb\n").json()[0]["message"] == "Found multiple contents for job"
    assert sf.call("PATCH", f"jobs/ingest/{job_id}", close).status_code == 200
    assert job(sf, job_id)["state"] == "JobComplete"
    again = sf.call("PATCH", f"jobs/ingest/{job_id}", close).json()[0]["message"]
    assert again == "Closing already Completed Job not allowed"
    abort = sf.call("PATCH", f"jobs/ingest/{job_id}", {"state": "Aborted"}).json()[0]["message"]
    assert abort == "Aborting already Completed Job not allowed"
    assert sf.call("DELETE", f"jobs/ingest/{job_id}").status_code == 204
    assert refusal(sf.call("GET", f"jobs/ingest/{job_id}")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"operation": "insert", "object": "Invoice"}, "INVALIDENTITY"),
        ({"operation": "merge", "object": "Account"}, "INVALIDJOB"),
        ({"operation": "upsert", "object": "Account"}, "INVALIDJOB"),
        ({"operation": "upsert", "object": "Account", "externalIdFieldName": "Site"}, "INVALIDJOB"),
        ({"operation": "insert", "object": "Account", "contentType": "JSON"}, "INVALIDJOB"),
        ({"operation": "insert", "object": "Account", "columnDelimiter": ","}, "INVALIDJOB"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(sf: Peer, wanted: dict[str, str], code: str) -> None:
    assert refusal(sf.call("POST", "jobs/ingest", wanted)) == (400, code)


def test_jobs_are_listed_and_kept_for_seven_days(sf: Peer) -> None:
    one, other = done(sf, "insert", "Name\na\n"), asked(sf, "select Id from Account")
    listed = sf.call("GET", "jobs/ingest").json()
    assert (listed["done"], listed["nextRecordsUrl"]) == (True, None)
    assert [(row["id"], row["jobType"]) for row in listed["records"]] == [(one, "V2Ingest")]
    assert [row["id"] for row in sf.call("GET", "jobs/query").json()["records"]] == [other]
    assert sf.call("GET", "jobs/query", params={"jobType": "Classic"}).json()["records"] == []
    sf.control("clock", {"move_s": 7 * 86_400 + 60})
    later = Peer({"salesforce": sf.line})  # sessions don't last so long
    assert refusal(later.call("GET", f"jobs/ingest/{one}")) == (404, "NOT_FOUND")
    assert later.call("GET", "jobs/query").json()["records"] == []


def test_the_days_batches_and_query_jobs_are_counted(sf: Peer) -> None:
    done(sf, "insert", "Name\na\n")
    asked(sf, "select Id from Account")
    limits = sf.call("GET", "limits").json()
    assert limits["DailyBulkApiBatches"] == {"Max": 15_000, "Remaining": 14_999}
    assert limits["DailyBulkV2QueryJobs"] == {"Max": 10_000, "Remaining": 9_999}
    sf.control("bulk", {"used": {"batches": 15_000, "query_jobs": 10_000}})
    made = sf.call("POST", "jobs/ingest", {"operation": "insert", "object": "Account"}).json()["id"]
    upload(sf, made, "Name\na\n")
    assert refusal(sf.call("PATCH", f"jobs/ingest/{made}", {"state": "UploadComplete"})) == (
        400,
        "EXCEEDEDQUOTA",
    )
    query = {"operation": "query", "query": "select Id from Account"}
    assert refusal(sf.call("POST", "jobs/query", query)) == (400, "EXCEEDEDQUOTA")


def test_an_upload_that_is_too_large_is_refused(sf: Peer) -> None:
    sf.control("bulk", {"most_bytes": 10})
    made = sf.call("POST", "jobs/ingest", {"operation": "insert", "object": "Account"}).json()["id"]
    assert upload(sf, made, "Name\nAcme and more\n").status_code == 413


def test_what_a_job_wrote_stands_in_the_log_under_a_row_of_its_own(sf: Peer) -> None:
    job_id = done(sf, "insert", "Name\na\nb\n")
    rows = [row for row in sf.log() if row["applied"]]
    assert [(row["method"], row["note"], len(row["changes"])) for row in rows] == [("JOB", "bulk", 2)]
    assert rows[0]["path"].endswith(job_id) and rows[0]["client"] == sf.line["username"]

"""simple-salesforce's bulk2, unmodified, drives the jobs of the sandbox; and jobs outlive a killed server."""

from __future__ import annotations

import csv
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from salesforce_peer import ROOT, Peer, account, load_rows, serving
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceBulkV2LoadError,
    SalesforceMalformedRequest,
    SalesforceOperationError,
)

from sandbox.salesforce.ids import make_id
from sandbox.serve import start

WAIT: Any = 0.02  # between two looks at a job; its hint says int, a fraction works


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("salesforce")) as started:
        yield started


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_it_inserts_and_reads_the_three_results(sf: Salesforce, peer: Peer) -> None:
    records = [{"Name": "Acme", "ExternalID__c": "1"}, {"Name": "", "ExternalID__c": "2"}]
    (told,) = sf.bulk2.Account.insert(records=records, wait=WAIT)
    assert told == {
        "numberRecordsFailed": 1, "numberRecordsProcessed": 2, "numberRecordsTotal": 2, "job_id": told["job_id"],
    }  # fmt: skip
    job_id = str(told["job_id"])
    found = sf.bulk2.Account.get_all_ingest_records(job_id)
    assert [row["Name"] for row in found["successfulRecords"]] == ["Acme"]
    assert found["failedRecords"][0]["sf__Error"].startswith("REQUIRED_FIELD_MISSING:")
    assert found["unprocessedRecords"] == []


def test_its_results_lose_umlauts_for_want_of_a_charset(sf: Salesforce) -> None:
    """The defect is the client's (issue 706); the server has to be such that it shows."""
    (told,) = sf.bulk2.Account.insert(records=[{"Name": "Zoë"}], wait=WAIT)
    assert rows(sf.bulk2.Account.get_successful_records(str(told["job_id"])))[0]["Name"] == "ZoÃ«"


def test_it_upserts_updates_and_deletes(sf: Salesforce, peer: Peer) -> None:
    keyed = [{"Name": f"n{at}", "ExternalID__c": str(at)} for at in range(300)]
    told = sf.bulk2.Account.upsert(
        records=keyed, external_id_field="ExternalID__c", batch_size=200, wait=WAIT
    )
    assert [one["numberRecordsProcessed"] for one in told] == [200, 100]
    ids = [row["Id"] for row in peer.query("select Id from Account")]
    assert len(ids) == 300
    sf.bulk2.Account.update(records=[{"Id": key, "Phone": "#N/A", "Site": "s"} for key in ids[:3]], wait=WAIT)
    assert len(peer.query("select Id from Account where Site = 's'")) == 3
    sf.bulk2.Account.delete(records=[{"Id": key} for key in ids], wait=WAIT)
    assert peer.query("select Id from Account") == []


def test_it_pages_through_a_query(sf: Salesforce, peer: Peer, tmp_path: Path) -> None:
    load_rows(peer, [account(Id=make_id("001", "Ts", at), Name=f"Zoë {at}") for at in range(1, 1202)])
    pages = list(sf.bulk2.Account.query("select Id, Name from Account", max_records=500, wait=WAIT))
    assert [len(rows(str(one))) for one in pages] == [500, 500, 201]
    assert rows(str(pages[2]))[-1]["Name"] == "Zoë 1201"
    files = sf.bulk2.Account.download("select Id from Account", str(tmp_path), max_records=1000, wait=WAIT)
    assert [one["number_of_records"] for one in files] == [1000, 201]
    peer.call("DELETE", f"sobjects/Account/{make_id('001', 'Ts', 1)}")
    everything = list(sf.bulk2.Account.query_all("select Id, IsDeleted from Account", wait=WAIT))
    assert sum(row["IsDeleted"] == "true" for row in rows(str(everything[0]))) == 1


def test_it_is_told_what_bulk_can_not_do(sf: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest):
        list(sf.bulk2.Account.query("select count() from Account", wait=WAIT))
    with pytest.raises(
        (SalesforceOperationError, SalesforceBulkV2LoadError), match="Field name not found : Nmae"
    ):
        sf.bulk2.Account.insert(records=[{"Nmae": "a"}], wait=WAIT)


def test_one_503_while_it_waits_makes_it_abort_the_job(sf: Salesforce, peer: Peer) -> None:
    peer.control("bulk", {"rows_per_s": 40, "chunk_rows": 1})
    peer.control("faults", {"kind": "503", "method": "GET", "path": "jobs/ingest/", "skip": 2})
    with pytest.raises(Exception, match="busy"):
        sf.bulk2.Account.insert(records=[{"Name": f"n{at}"} for at in range(100)], wait=WAIT)
    (job,) = peer.call("GET", "jobs/ingest").json()["records"]
    assert job["state"] == "Aborted"
    left = rows(sf.bulk2.Account.get_unprocessed_records(job["id"]))
    assert 0 < len(left) < 100 and len(peer.query("select Id from Account")) == 100 - len(left)


def test_a_job_goes_on_where_it_was_when_the_server_was_killed(tmp_path: Path) -> None:
    options = {"seed": "empty", "limits": "off", "sides": ("salesforce",), "process": True}
    with start(tmp_path / "state", **options) as line:
        peer = Peer(line)
        peer.control("bulk", {"rows_per_s": 10, "chunk_rows": 1})
        made = peer.call("POST", "jobs/ingest", {"operation": "insert", "object": "Account"}).json()["id"]
        data = "Name\n" + "".join(f"n{at}\n" for at in range(20))
        url, headers = f"{ROOT}/jobs/ingest/{made}", {"Content-Type": "text/csv"}
        peer.http.put(f"{url}/batches", content=data.encode(), headers=headers)
        peer.call("PATCH", url, {"state": "UploadComplete"})
        peer.control("clock", {"move_s": 1})
        assert 0 < peer.call("GET", url).json()["numberRecordsProcessed"] < 20
        os.kill(line["pid"], signal.SIGKILL)
    with start(tmp_path / "state", **options) as line:
        peer = Peer(line)
        peer.control("clock", {"move_s": 60})
        told = peer.call("GET", url).json()
        assert (told["state"], told["numberRecordsProcessed"]) == ("JobComplete", 20)
        assert len(peer.query("select Id from Account")) == 20
        assert len(rows(peer.call("GET", f"{url}/successfulResults").text)) == 20

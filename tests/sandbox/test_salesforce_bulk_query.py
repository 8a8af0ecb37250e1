"""Query jobs of Bulk API 2.0 over plain HTTP: results, pages, and what can't be asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bulk_peer import Row, asked, at_once, done, job, page, parsed, result, rows_of
from salesforce_peer import Peer, account, load_rows, refusal, serving

from sandbox.salesforce.ids import make_id


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("salesforce"), limits="real") as started:
        yield started


@pytest.fixture
def sf(line: dict[str, Any]) -> Peer:
    return at_once(Peer(line))


def test_a_query_gives_every_value_in_quotes_and_exact(sf: Peer) -> None:
    parent = sf.make(Name='Say "hi",\nnow', AnnualRevenue=15000, NumberOfEmployees=7)
    sf.make("Contact", LastName="Zoë", AccountId=parent)
    text = page(
        sf, asked(sf, "select Id, name, AnnualRevenue, NumberOfEmployees, IsDeleted, Site from Account")
    )
    assert text.content.decode() == (
        '"Id","Name","AnnualRevenue","NumberOfEmployees","IsDeleted","Site"\n'
        f'"{parent}","Say ""hi"", now","15000.0","7","false",""\n'
    )
    assert (text.headers["sforce-numberofrecords"], text.headers["sforce-locator"]) == ("1", "null")
    (row,) = result(sf, "select LastName, account.name, CreatedDate from Contact")
    assert (row["LastName"], row["Account.Name"]) == ("Zoë", 'Say "hi", now')
    assert row["CreatedDate"].endswith(".000Z")
    sf.control("dialect", {"bulk_moments": "+0000"})
    assert result(sf, "select CreatedDate from Contact")[0]["CreatedDate"].endswith(".000+0000")


def test_pages_follow_each_other_by_locators_that_can_be_read_again(sf: Peer) -> None:
    load_rows(sf, [account(Id=make_id("001", "Ts", at), Name=f"n{at}") for at in range(1, 2503)])
    # One of the first two thousand is left out: what is read at once does not fill the pieces that are kept.
    job_id = asked(sf, "select Id, Name from Account where Name != 'n7'")
    found: list[Row] = []
    locators = [""]
    while locators[-1] != "null":
        reply = page(sf, job_id, maxRecords=1000, **({"locator": locators[-1]} if locators[-1] else {}))
        rows = parsed(reply.text)
        assert len(rows) == int(reply.headers["sforce-numberofrecords"])
        found += rows
        locators.append(reply.headers["sforce-locator"])
    assert locators == ["", "MTAwMA", "MjAwMA", "null"]
    assert len({row["Id"] for row in found}) == 2501
    again = page(sf, job_id, maxRecords=1000, locator="MTAwMA")
    assert parsed(again.text)[0] == found[1000]
    assert refusal(sf.call("GET", f"jobs/query/{job_id}/results", params={"locator": "%%"}))[0] == 400
    links = sf.call("GET", f"jobs/query/{job_id}/resultPages", params={"maxRecords": 400}).json()
    assert (len(links["resultPages"]), links["done"]) == (5, False)
    rest = sf.call("GET", links["nextRecordsUrl"]).json()
    assert (len(rest["resultPages"]), rest["done"]) == (2, True)
    urls = [one["resultUrl"] for one in links["resultPages"] + rest["resultPages"]]
    assert [len(parsed(sf.call("GET", url).text)) for url in urls] == [400] * 6 + [101]
    sf.control("dialect", {"page": "fewer"})
    assert page(sf, job_id, maxRecords=1000).headers["sforce-numberofrecords"] == "500"


def test_a_result_stays_as_it_was_found(sf: Peer) -> None:
    kept = sf.make(Name="before")
    job_id = asked(sf, "select Name from Account")
    sf.change(kept, Name="after")
    assert page(sf, job_id).text == '"Name"\n"before"\n'


def test_conditions_order_and_limit_work_and_deleted_rows_come_when_asked_for(sf: Peer) -> None:
    for name in ("b", "a", "c"):
        sf.make(Name=name)
    sf.call("DELETE", f"sobjects/Account/{sf.make(Name='gone')}")
    names = "select Name from Account"
    assert [row["Name"] for row in result(sf, f"{names} where Name != 'c'")] == ["b", "a"]
    assert [row["Name"] for row in result(sf, f"{names} order by Name desc limit 2")] == ["c", "b"]
    assert [row["Name"] for row in result(sf, f"{names} limit 2")] == ["b", "a"]
    assert len(result(sf, names, operation="queryAll")) == 4
    assert len(result(sf, "select Name from User")) == 2
    assert result(sf, f"{names} where SystemModstamp < 2020-01-01T00:00:00Z") == []


def test_an_empty_result_has_its_header_or_nothing(sf: Peer) -> None:
    job_id = asked(sf, "select Id from Account")
    assert (page(sf, job_id).text, job(sf, job_id, "query")["numberRecordsProcessed"]) == ('"Id"\n', 0)
    sf.control("dialect", {"bulk_empty_result": "nothing"})
    assert page(sf, job_id).text == ""


@pytest.mark.parametrize(
    ("soql", "code", "text"),
    [
        ("select count() from Account", "FEATURENOTENABLED", "Aggregate"),
        ("select Name, count(Id) from Account group by Name", "FEATURENOTENABLED", "Aggregate"),
        (
            "select Id, (select Id from Contacts) from Account", "FEATURENOTENABLED",
            "Aggregate Relationships not supported in Bulk V2 Query with CSV content type",
        ),
        (
            "select BillingAddress from Account", "FEATURENOTENABLED",
            "Selecting compound data not supported in Bulk Query",
        ),
        ("select Id from Account limit 1 offset 1", "FEATURENOTENABLED", "OFFSET"),
        ("select Nme from Account", "INVALID_FIELD", "No such column 'Nme'"),
        ("select Id from Acount", "INVALID_TYPE", "sObject type 'Acount' is not supported."),
        ("select from Account", "MALFORMED_QUERY", "unexpected token"),
        ("", "MALFORMED_QUERY", "needs a query"),
    ],
)  # fmt: skip
def test_what_bulk_can_not_read_is_refused_at_once(sf: Peer, soql: str, code: str, text: str) -> None:
    reply = sf.call("POST", "jobs/query", {"operation": "query", "query": soql})
    assert refusal(reply) == (400, code) and text in reply.json()[0]["message"]


def test_results_are_refused_before_the_job_is_complete_and_with_another_version(sf: Peer) -> None:
    sf.control("bulk", {"queue_s": 60})
    made = sf.call("POST", "jobs/query", {"operation": "query", "query": "select Id from Account"}).json()[
        "id"
    ]
    early = sf.call("GET", f"jobs/query/{made}/results")
    assert refusal(early) == (412, "JOB_NOT_COMPLETE")
    assert early.json()[0]["message"].endswith("Current status: UPLOAD_COMPLETE")
    sf.control("clock", {"move_s": 61})
    assert job(sf, made, "query")["state"] == "JobComplete"
    assert sf.call("GET", f"/services/data/v66.0/jobs/query/{made}/results").status_code == 409
    assert sf.call("PATCH", f"jobs/query/{made}", {"state": "Aborted"}).status_code == 400
    assert sf.call("DELETE", f"jobs/query/{made}").status_code == 204
    assert sf.call("GET", f"jobs/query/{made}/results").status_code == 404


def test_up_to_49_columns_come_by_name_and_up_to_48_locators_are_numbers(sf: Peer) -> None:
    sf.make(Name="a"), sf.make(Name="b")
    root = "/services/data/v48.0/jobs/query"
    made = sf.call("POST", root, {"operation": "query", "query": "select Name, Id from Account"}).json()["id"]
    sf.call("GET", f"{root}/{made}")
    reply = sf.call("GET", f"{root}/{made}/results", params={"maxRecords": 1})
    assert (reply.text.splitlines()[0], reply.headers["sforce-locator"]) == ('"Id","Name"', "1")


def test_a_query_can_be_aborted_and_can_fail(sf: Peer) -> None:
    sf.control("bulk", {"queue_s": 60})
    wanted = {"operation": "query", "query": "select Id from Account"}
    made = sf.call("POST", "jobs/query", wanted).json()["id"]
    assert sf.call("PATCH", f"jobs/query/{made}", {"state": "Aborted"}).json()["state"] == "Aborted"
    sf.control("bulk", {"queue_s": 0, "fail": [{"kind": "query", "after_rows": 0}]})
    told = job(sf, asked(sf, "select Id from Account"), "query")
    assert (told["state"], told["retries"]) == ("Failed", 15)
    assert "more than 15 times" in told["errorMessage"]


def test_a_result_may_lose_its_last_row_on_the_way(sf: Peer) -> None:
    job_id = done(sf, "insert", "Name\na\nb\n")
    sf.control("faults", {"kind": "short", "path": "successfulResults"})
    assert [len(rows_of(sf, job_id, "successfulResults")) for _ in range(2)] == [1, 2]

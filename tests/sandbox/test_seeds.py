"""The two books that a seed makes: valid on both servers, overlapping as said, the same every time."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from salesforce_peer import Peer, account

from sandbox.clock import Clock
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.org import STANDARD_PRICE_BOOK_ID
from sandbox.salesforce.schema import TABLE, read_table
from sandbox.seeds import WrongSeed, books_of, demo, load
from sandbox.seeds.books import Books
from sandbox.serve import start
from sandbox.store import Store

FIELDS = {kind: {f.name: f for f in fields} for kind, fields in read_table(TABLE.read_text()).items()}
XERO_LENGTHS = {"Name": 255, "FirstName": 255, "LastName": 255, "EmailAddress": 255, "ContactNumber": 50}
ADDRESS_LENGTHS = {"City": 255, "Region": 255, "PostalCode": 50, "Country": 50}


def check(books: Books) -> None:
    """Every value fits its field; ids are whole and unique; links and parents exist."""
    ids = [row["Id"] for row in books.salesforce]
    contacts = [row for row in books.xero if "ContactID" in row]
    contact_ids = [row["ContactID"] for row in contacts]
    assert len(set(ids)) == len(ids)
    assert len(set(contact_ids)) == len(contact_ids)
    for row in books.salesforce:
        kind = row["attributes"]["type"]
        assert full_id(row["Id"]) == row["Id"]
        assert row.get("AccountId", ids[0]) in ids
        for name, value in row.items():
            if name != "attributes" and isinstance(value, str):
                f = FIELDS[kind][name]
                assert len(value) <= f.length or f.type in ("date", "datetime")
                assert f.reference in (None, "User") or value in ids or value == STANDARD_PRICE_BOOK_ID
    for row in contacts:
        assert all(len(row.get(name, "")) <= most for name, most in XERO_LENGTHS.items())
        for address in row.get("Addresses", []):
            assert all(len(address.get(name, "")) <= most for name, most in ADDRESS_LENGTHS.items())
    active = Counter(row["Name"].casefold() for row in contacts if row["ContactStatus"] == "ACTIVE")
    assert max(active.values()) == 1
    for link in books.links:
        assert link["salesforce_id"] in ids
        assert link["xero_id"].removesuffix(":primary") in contact_ids


def parts(books: Books) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Accounts by id, Xero contacts by id, links of parties."""
    accounts = {row["Id"]: row for row in books.salesforce if row["attributes"]["type"] == "Account"}
    contacts = {row["ContactID"]: row for row in books.xero if "ContactID" in row}
    return accounts, contacts, [link for link in books.links if link["entity"] == "party"]


def of(books: Books, kind: str) -> dict[str, dict[str, Any]]:
    """Salesforce's records of one kind, by id."""
    return {row["Id"]: row for row in books.salesforce if row["attributes"]["type"] == kind}


def digits(text: str) -> str:
    """A phone number without its trunk zero and country."""
    bare = re.sub(r"\(0\)|[^0-9]", "", text)
    return re.sub(r"^(44|0)", "", bare)


def test_the_demo_is_valid_and_of_the_promised_size() -> None:
    books = books_of("demo")
    check(books)
    accounts, contacts, _ = parts(books)
    alive = [row for row in accounts.values() if not row.get("IsDeleted")]
    assert 25 <= len(alive) <= 30
    assert 30 <= len(of(books, "Contact")) <= 35
    assert 35 <= len(contacts) <= 40


def test_the_demo_holds_each_kind_of_trouble() -> None:
    accounts, contacts, links = parts(books_of("demo"))
    by_name = {row["Name"]: row for row in contacts.values()}
    alive = [row for row in accounts.values() if not row.get("IsDeleted")]
    assert Counter(row["Name"] for row in alive)["Bayside Club"] == 2
    assert by_name["United Oil and Gas Corp"]["ContactNumber"] == "UOG-001"
    assert by_name["Univ. of Arizona"]["ContactStatus"] == "ARCHIVED"
    assert by_name["Boom F.M."]["MergedToContactID"] == by_name["Boom FM"]["ContactID"]
    merged = accounts[by_name["Marine Systems"]["ContactNumber"]]
    assert accounts[merged["MasterRecordId"]]["Name"] == "Marine Systems"
    linked = {link["xero_id"] for link in links}
    assert {"PowerDirect", "DIISR - Small Business Services"} <= {
        name for name, row in by_name.items() if row["ContactID"] not in linked
    }
    assert any(accounts[link["salesforce_id"]].get("ExternalID__c") == link["xero_id"] for link in links)


def test_every_primary_person_of_the_demo_is_in_both_books() -> None:
    books = books_of("demo")
    people = {row["Id"]: row for row in books.salesforce}
    _, contacts, _ = parts(books)
    for link in books.links:
        if link["entity"] == "person":
            contact = contacts[link["xero_id"].removesuffix(":primary")]
            assert contact["LastName"] == people[link["salesforce_id"]]["LastName"]
    assert {row[0] for row in demo.PEOPLE if row[6]} <= set(demo.CONTACTS)


def test_the_demo_is_served_by_both_sides(tmp_path: Path) -> None:
    with start(tmp_path, limits="off") as line:
        peer = Peer(line)
        assert len(peer.query("select Id from Account")) == 29
        assert len(peer.query("select Id from Account", everything=True)) == 31
        assert len(peer.query("select Id from Contact where Account.Name like 'United%'")) == 7
        truth = [json.loads(text) for text in Path(line["truth"]).read_text().splitlines()]
        assert truth == books_of("demo").links
        before = peer.http.get("/sandbox/dump").text
        peer.call(
            "PATCH", "composite/sobjects", {"records": [account(id=truth[0]["salesforce_id"], Fax="1")]}
        )
        peer.control("reset", {})
        assert peer.http.get("/sandbox/dump").text == before


@settings(max_examples=15, deadline=None)
@given(st.integers(5, 120), st.integers(0, 99), st.sampled_from([0.0, 0.3, 1.0]))
def test_made_up_books_are_valid_at_any_size_seed_and_dirt(count: int, seed: int, dirt: float) -> None:
    books = books_of(f"parties:{count}:{seed}:{dirt}")
    check(books)
    accounts, contacts, links = parts(books)
    assert len(accounts) == len(contacts) == len(books.salesforce) - len(accounts) == count
    assert len(links) == round(0.8 * count)


def test_the_same_seed_gives_the_same_books_and_another_seed_others() -> None:
    assert books_of("parties:50:1:0.5") == books_of("parties:50:1:0.5")
    assert books_of("parties:50:1:0.5") != books_of("parties:50:2:0.5")


def test_clean_books_say_the_same_of_a_pair() -> None:
    accounts, contacts, links = parts(books_of("parties:300:3:0"))
    for link in links:
        ours, theirs = accounts[link["salesforce_id"]], contacts[link["xero_id"]]
        assert theirs["Name"].startswith(ours["Name"])  # maybe with the town behind it
        phone = theirs["Phones"][0]
        whole = phone.get("PhoneAreaCode", "") + phone["PhoneNumber"]
        assert digits(ours["Phone"])[-9:] == digits(whole)[-9:]
        assert ours["BillingPostalCode"] == theirs["Addresses"][0]["PostalCode"]
        assert ours.get("Tax_Number__c") == theirs.get("TaxNumber")


def test_dirt_makes_pairs_differ_more_the_more_there_is() -> None:
    def share_of_equal_names(dirt: float) -> float:
        accounts, contacts, links = parts(books_of(f"parties:500:1:{dirt}"))
        pairs = [(accounts[link["salesforce_id"]], contacts[link["xero_id"]]) for link in links]
        return sum(ours["Name"] == theirs["Name"] for ours, theirs in pairs) / len(pairs)

    shares = [share_of_equal_names(dirt) for dirt in (0, 0.3, 1)]
    assert shares[0] > 0.95
    assert shares[0] > shares[1] + 0.15 > shares[2] + 0.3


def test_dirt_brings_twins_role_mailboxes_and_shared_domains() -> None:
    accounts, contacts, _ = parts(books_of("parties:1000:1:1"))
    mailboxes = [row.get("EmailAddress", "").partition("@")[::2] for row in contacts.values()]
    assert sum(local in ("accounts", "info", "billing", "ap") for local, _ in mailboxes) > 50
    assert sum(domain == "mailbox.example" for _, domain in mailboxes) > 10
    cores = Counter(" ".join(row["Name"].casefold().split()[:2]) for row in accounts.values())
    assert sum(number > 1 for number in cores.values()) > 20


def test_no_two_active_contacts_of_xero_have_one_name() -> None:
    check(books_of("parties:2000:1:1"))


def test_a_person_is_linked_to_a_contact_of_the_same_family_name() -> None:
    books = books_of("parties:1000:1:1")
    people = {row["Id"]: row for row in books.salesforce}
    _, contacts, _ = parts(books)
    links = [link for link in books.links if link["entity"] == "person"]
    pairs = [(people[link["salesforce_id"]], contacts[link["xero_id"].partition(":")[0]]) for link in links]
    assert len(pairs) > 400
    assert all(ours["LastName"] == theirs["LastName"] for ours, theirs in pairs)
    assert len({link["xero_id"] for link in links}) == len(links)


def test_ten_thousand_parties_are_made_in_a_few_seconds() -> None:
    def seconds(parties: int) -> float:
        begin = time.process_time()  # not by the clock on the wall: others may use this machine too
        assert len(books_of(f"parties:{parties}:1:0.5").links) > 0.8 * parties
        return time.process_time() - begin

    few = seconds(1000)
    many = seconds(10_000)
    assert many < 20 * few  # ten times as many, and some more for whatever else runs here
    assert many < 15


@pytest.mark.parametrize(
    "name",
    [
        "demos",
        "parties",
        "parties:0:1:0",
        "parties:5:1:2",
        "parties:5:x:0",
        "parties:5:1:0:-1",
        "sales:0:1",
        "sales:9",
    ],
)
def test_a_wrong_name_of_a_seed_is_told(name: str) -> None:
    with pytest.raises(WrongSeed, match=re.escape("parties:N:SEED:DIRT[:DEALS]")):
        books_of(name)


def test_a_seed_of_one_side_alone_writes_no_truth(tmp_path: Path) -> None:
    xero, salesforce = Store(":memory:"), Store(tmp_path / "salesforce.sqlite")
    load("demo", xero, salesforce, Clock(salesforce))
    assert not (tmp_path / "truth.jsonl").exists()
    assert salesforce.count("Account") == 31


# -- sales


def billed(lines: list[dict[str, Any]]) -> Decimal:
    """The sum of lines, each rounded half up: reckoned here anew, by whole numbers of a millionth."""
    total = 0
    for row in lines:
        quantity, price = int(row["Quantity"] * 100), int(row["UnitPrice"] * 100)
        millionths = quantity * price * (10_000 - int(row.get("Discount", 0) * 100)) // 100
        total += (millionths + 5_000) // 10_000
    return Decimal(total) / 100


def lines_of(books: Books) -> dict[str, list[dict[str, Any]]]:
    """The lines of each opportunity."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in of(books, "OpportunityLineItem").values():
        found.setdefault(row["OpportunityId"], []).append(row)
    return found


@pytest.mark.parametrize("name", ["demo", "sales:300:1", "parties:50:1:0.5:40"])
def test_every_amount_is_what_its_lines_add_up_to(name: str) -> None:
    books = books_of(name)
    check(books)
    lines = lines_of(books)
    deals = of(books, "Opportunity")
    assert sum(len(rows) for rows in lines.values()) > len(deals) * 0.7
    for deal_id, deal in deals.items():
        rows = lines.get(deal_id, [])
        assert bool(rows) is deal.get("HasOpportunityLineItem", False)
        if rows:
            assert deal["Amount"] == billed(rows)
            assert deal["Amount"] == sum(row["TotalPrice"] for row in rows)
        assert deal["IsWon"] is (deal["StageName"] == "Closed Won")


def test_the_demo_has_each_kind_of_opportunity() -> None:
    books = books_of("demo")
    accounts, _, links = parts(books)
    linked = {link["salesforce_id"] for link in links}
    lines, items = lines_of(books), {row["Code"] for row in books.xero if "Code" in row}
    won = [deal for deal in of(books, "Opportunity").values() if deal["IsWon"]]
    after = [deal for deal in won if deal["CloseDate"] >= "2026-11-01"]
    with_lines = [deal for deal in after if deal["Id"] in lines]
    assert len(of(books, "Opportunity")) == 12
    assert (len(won) - len(after), len(after) - len(with_lines), len(with_lines)) == (1, 1, 4)
    assert [
        accounts[deal["AccountId"]]["Name"] for deal in with_lines if deal["AccountId"] not in linked
    ] == ["Larkfield Joinery Ltd"]
    sold = [row for rows in lines.values() for row in rows]
    assert any(row.get("Discount") and row["Quantity"] % 1 for row in sold)
    codes = {row["ProductCode"] for row in of(books, "Product2").values()}
    assert 8 <= len(codes) <= 10
    assert items < codes
    assert any(row["ProductCode"] not in items for deal in with_lines for row in lines[deal["Id"]])


def test_the_demo_sells_on_both_servers(tmp_path: Path) -> None:
    with start(tmp_path, limits="off") as line:
        peer = Peer(line)
        text = (
            "select Name, Account.Name, (select TotalPrice, PricebookEntry.Product2.ProductCode from "
            "OpportunityLineItems order by SortOrder) from Opportunity where IsWon = true and "
            "CloseDate >= 2026-11-01 and HasOpportunityLineItem = true order by CloseDate"
        )
        rows = peer.query(text)
        assert [row["Account"]["Name"] for row in rows][:2] == [
            "Edge Communications",
            "Grand Hotels & Resorts Ltd",
        ]
        hotel = rows[1]["OpportunityLineItems"]["records"]
        assert [one["TotalPrice"] for one in hotel] == [832.5, 164.53, 18.0]
        items = peer.http.get(line["xero"]["api_url"] + "/sandbox/dump?kind=item").text.splitlines()
        assert "KIT-STD" in [json.loads(item)["Code"] for item in items]


def test_sales_are_of_accounts_that_both_sides_know() -> None:
    books = books_of("sales:200:3")
    accounts, contacts, links = parts(books)
    assert len(of(books, "Opportunity")) == 200
    assert {deal["AccountId"] for deal in of(books, "Opportunity").values()} <= set(accounts)
    for link in links:
        assert accounts[link["salesforce_id"]]["ExternalID__c"] == link["xero_id"]
        assert contacts[link["xero_id"]]["ContactNumber"] == link["salesforce_id"]
    assert len(links) == len(accounts) == len(contacts)
    assert books == books_of("sales:200:3") != books_of("sales:200:4")


def test_deals_leave_the_parties_as_they_are() -> None:
    plain, selling = books_of("parties:40:1:0.5"), books_of("parties:40:1:0.5:25")
    assert selling.salesforce[: len(plain.salesforce)] == plain.salesforce
    assert selling.links == plain.links
    assert len(of(selling, "Opportunity")) == 25


def test_ten_thousand_deals_are_made_in_a_few_seconds() -> None:
    begin = time.process_time()
    assert len(of(books_of("sales:10000:1"), "Opportunity")) == 10_000
    assert time.process_time() - begin < 5

"""Counts the calls of an initial sync, and of one that finds nothing new, against the fewest that would do.

    python -m benchmarks.initial [--contacts 10000]

Books of so many customers in both systems, twice as many won opportunities without an invoice, and a fifth as many
products with their items. All are linked and invoiced, each phase as a person would run it; the vendors' logs say what
was asked. The fewest: every list once in the largest pages, every record written once in the largest batches, one look
before each object's writes and one reading of it afterwards, by the vendors' own numbers. Bars: 3% over the
fewest; where nothing changed one call for each list.

Then people edit one in twenty of the customers, on either side, and of the deals. Of both pushes is shown what the plan
said that it would move in bytes, and what it moved: within 2% of each other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "whole"))

from shelf import CUSTOM

from flows.demo import sandbox, write_settings
from pipelines import runs
from pipelines.runs import Applied, Context
from reconcile.price import LOOK_LASTS_S
from sandbox.salesforce.ids import make_id

Body = dict[str, Any]
SIDES = ("salesforce", "xero")
BOOK = make_id("01s", "St", 1)
STAMP = "2026-11-10T09:00:00.000+0000"
MAPPING = "extends: [default, products]\ndocuments: {invoice: {cut_over: 2026-11-01, changes: move}}\n"
PAGE = {"salesforce": 2000, "xero": 1000}
BATCH = {"salesforce": 200, "xero": 50}
BAR = 1.03
BYTES_BAR = 0.02  # between what a plan says that it moves and what it does
EDITED = 20  # one in so many


# --- The books ------------------------------------------------------------------------------------------


def salesforce_rows(customers: int) -> Iterator[Body]:
    for number in range(customers // 5):
        product = {"attributes": {"type": "Product2"}, "Id": make_id("01t", "Bn", number), "IsActive": True}
        yield (
            product
            | {"Name": f"Part {number}", "ProductCode": f"P-{number}", "Description": f"Part {number}"}
            | {
                "Account_Code__c": "200",
                "Tax_Type__c": "OUTPUT2",
            }
        )
        yield {
            "attributes": {"type": "PricebookEntry"}, "Id": make_id("01u", "Bn", number), "Pricebook2Id": BOOK,
            "Product2Id": product["Id"], "UnitPrice": 10, "IsActive": True, "Name": f"Part {number}",
        }  # fmt: skip
    for number in range(customers):
        yield {
            "attributes": {"type": "Account"}, "Id": make_id("001", "Bn", number), "Name": f"Customer {number} Ltd",
            "Type": "Customer - Direct", "Tax_Number__c": f"GB{number:09}", "Phone": f"020 7946 {number % 10_000:04}",
            "Billing_Email__c": f"books{number}@customer{number}.example",
        }  # fmt: skip
    for number in range(2 * customers):
        which = number % (customers // 5)
        deal = {
            "attributes": {"type": "Opportunity"}, "Id": make_id("006", "Bn", number), "Name": f"Sale {number}",
            "AccountId": make_id("001", "Bn", number // 2), "StageName": "Closed Won", "IsWon": True, "IsClosed": True,
            "CloseDate": "2026-11-10", "Amount": 20, "Pricebook2Id": BOOK, "SystemModstamp": STAMP,
        }  # fmt: skip
        yield deal
        yield {
            "attributes": {"type": "OpportunityLineItem"}, "Id": make_id("00k", "Bn", number),
            "OpportunityId": deal["Id"], "Quantity": 2, "UnitPrice": 10, "TotalPrice": 20, "Subtotal": 20,
            "Product2Id": make_id("01t", "Bn", which), "PricebookEntryId": make_id("01u", "Bn", which),
            "ProductCode": f"P-{which}", "Name": f"Sale {number} Part {which}", "SystemModstamp": STAMP,
        }  # fmt: skip


def xero_rows(customers: int) -> Iterator[Body]:
    for number in range(customers // 5):
        sales = {"UnitPrice": 10, "AccountCode": "200", "TaxType": "OUTPUT2"}
        item = {
            "ItemID": f"00000000-0000-4000-9000-{number:012}",
            "Code": f"P-{number}",
            "Name": f"Part {number}",
        }
        yield item | {"Description": f"Part {number}", "SalesDetails": sales, "IsPurchased": False}
    for number in range(customers):
        yield {
            "ContactID": f"00000000-0000-4000-8000-{number:012}", "Name": f"Customer {number} Ltd",
            "ContactStatus": "ACTIVE", "TaxNumber": f"GB{number:09}",
            "EmailAddress": f"books{number}@customer{number}.example",
            "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": f"020 7946 {number % 10_000:04}"}],
        }  # fmt: skip


def root(line: Mapping[str, Any], side: str) -> str:
    return line[side]["api_url" if side == "xero" else "login_url"]


def fill(line: Mapping[str, Any], customers: int) -> None:
    for one in CUSTOM:
        body = {"object": "Product2", "add": one}
        httpx.post(f"{root(line, 'salesforce')}/sandbox/fields", json=body, timeout=60).raise_for_status()
    for side, rows in {"salesforce": salesforce_rows(customers), "xero": xero_rows(customers)}.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        httpx.post(f"{root(line, side)}/sandbox/load", content=text, timeout=600).raise_for_status()


def edit(line: Mapping[str, Any], customers: int) -> None:
    """Edit some customers in Salesforce, others in Xero, and what some deals sell, as people do."""
    person = line["salesforce"]["person"], line["xero"]["person"]
    logins = [{"client_id": one["client_id"], "client_secret": one["client_secret"]} for one in person]
    url, form = root(line, "salesforce"), {"grant_type": "client_credentials"}
    phones = [
        {
            "attributes": {"type": "Account"},
            "id": make_id("001", "Bn", n),
            "Phone": f"0161 496 {n % 10_000:04}",
        }
        for n in range(0, customers, EDITED)
    ]
    sold = [
        {"attributes": {"type": "OpportunityLineItem"}, "id": make_id("00k", "Bn", n), "Quantity": 3}
        for n in range(0, 2 * customers, EDITED)
    ]
    with httpx.Client(base_url=url, timeout=60) as http:
        token = http.post("/services/oauth2/token", data=form | logins[0]).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        for rows in (phones, sold):
            for at in range(0, len(rows), BATCH["salesforce"]):
                some = {"allOrNone": True, "records": rows[at : at + BATCH["salesforce"]]}
                http.patch("/services/data/v67.0/composite/sobjects", json=some).raise_for_status()
    mails = [
        {
            "ContactID": f"00000000-0000-4000-8000-{n:012}",
            "EmailAddress": f"accounts@customer{n}.example",
        }
        for n in range(EDITED // 2, customers, EDITED)
    ]
    with httpx.Client(base_url=root(line, "xero"), timeout=60) as http:
        scopes = {"scope": "accounting.contacts"}
        token = http.post("/connect/token", data=form | scopes | logins[1]).json()["access_token"]
        http.headers.update({"Authorization": f"Bearer {token}", "xero-tenant-id": line["xero"]["tenant_id"]})
        for at in range(0, len(mails), BATCH["xero"]):
            some = {"Contacts": mails[at : at + BATCH["xero"]]}
            http.post("/api.xro/2.0/Contacts", json=some).raise_for_status()


# --- What was asked -------------------------------------------------------------------------------------


def asked(
    line: Mapping[str, Any], after: Mapping[str, int]
) -> tuple[dict[str, Counter[str]], dict[str, int], float]:
    """Give what each system was asked since, by what, the last request of each, and for how long invoices were made."""
    found: dict[str, Counter[str]] = {}
    last = dict(after)
    made_at = [0]
    for side in SIDES:
        reply = httpx.get(
            f"{root(line, side)}/sandbox/requests", params={"after": after.get(side, 0)}, timeout=60
        )
        rows = [row for row in reply.json()["requests"] if "/sandbox/" not in row["path"]]
        last[side] = max((row["n"] for row in rows), default=after.get(side, 0))
        found[side] = Counter(_what(row) for row in rows if "token" not in row["path"])
        made_at += [row["at_ms"] for row in rows if _what(row) == "PUT Invoices"]
    return found, last, (made_at[-1] - made_at[:2][-1]) / 1000


def _what(row: Body) -> str:
    name = row["path"].rstrip("/").rpartition("/")[2]
    if name.startswith("query"):
        query = httpx.QueryParams(row["query"]).get("q") or ""
        whole, _, rest = query.partition(" from ")
        name = f"query {rest.split(' ')[0]} {' '.join(rest.split(' ')[1:5])[:40]}" if whole else "query more"
    return f"{row['method']} {name}"


def synced(ctx: Context) -> tuple[int, bool]:
    """Bring both systems into agreement; gives in how many plans, the last of which has nothing to do.

    And whether all bytes that they moved were as near as the bar to what was said.
    """
    near = True
    for number in range(1, 6):
        planned = runs.plan(ctx)
        print(f"plan: {planned.phases()}, said to cost {dict(planned.cost)} calls", flush=True)
        if planned.operations.is_empty():
            return number, near
        applied = runs.apply(ctx, planned, approved=True)
        ended = dict(applied.outcomes["outcome"].value_counts().iter_rows())
        print(f"  {ended}, took {dict(applied.calls)} calls", flush=True)
        near &= show_bytes(applied)
    raise SystemExit("the books did not come to rest")


def fewest(customers: int, plans: int, making_s: float) -> dict[str, int]:
    """Give the fewest calls of each system.

    A list is read once for each plan, whole first and then what was written, and once more after the push; Salesforce's
    objects are counted and described first, and its writes read back. Every record is written once, but those that
    carry an id and a value of which the second waits for the first. What an invoice is made from is read before it
    leaves, and each half minute of making them whether a line of any changed.
    """
    products, deals = customers // 5, 2 * customers

    def pages(side: str, *rows: int) -> int:
        return sum(max(-(-count // PAGE[side]), 1) for count in rows)

    def batches(side: str, *rows: int) -> int:
        return sum(-(-count // BATCH[side]) for count in rows)

    references = 3  # Organisation, Accounts, TaxRates
    xero = (
        plans * references
        + (1 + pages("xero", customers, 0) + 1)  # Items have no pages
        + (plans - 1) * (1 + pages("xero", customers, deals))
        + (1 + 2 + batches("xero", customers, deals) + pages("xero", customers, deals))
    )
    # Ids of both, then status, then that they are customers; and each sale's link back.
    written = (customers, products, customers, customers, deals)
    objects = (customers, 0, products, 1, products, deals, deals)
    salesforce = (
        2 * len(objects) + pages("salesforce", *objects)
        + (plans - 1) * pages("salesforce", customers, 0, products, 0, 0, deals, 0)
        + (1 + 4 + 2 * batches("salesforce", *written) + batches("xero", deals) + int(making_s / LOOK_LASTS_S))
        + pages("salesforce", customers, products, deals)
    )  # fmt: skip
    return {"salesforce": salesforce, "xero": xero}


def show(what: str, found: Mapping[str, Counter[str]], least: Mapping[str, int], *, whole: bool) -> bool:
    """Print both systems' calls; gives whether they are within the bar."""
    for side in SIDES:
        calls = sum(found[side].values())
        print(f"{what}, {side}: {calls} calls, the fewest are {least[side]}: {calls / least[side]:.3f}")
        for name, count in found[side].most_common() if whole else ():
            print(f"  {count:>7} {name}")
    return all(sum(found[side].values()) <= BAR * least[side] for side in SIDES)


def show_bytes(applied: Applied) -> bool:
    """Print what a push was said to move and what it moved; gives whether they are within the bar."""
    near = True
    for side in SIDES:
        for way, used in applied.traffic[side].items():
            said = applied.traffic_priced[side][way]
            ratio = said / used if used else 1.0
            near &= abs(ratio - 1) <= BYTES_BAR
            print(f"  {side}, {way}: said {said:,} bytes, used {used:,}: {ratio:.3f}", flush=True)
    return near


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.initial", description=__doc__)
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("-v", dest="whole", action="store_true", help="list what was asked")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = name
        with sandbox(folder / "sandbox", seed="empty", limits="off") as line:
            fill(line, given.contacts)
            settings = write_settings(folder, line, limits="off")
            settings.write_text(settings.read_text() + "\n[pull]\noverlap_s = 5\n")
            (folder / "mapping.yaml").write_text(MAPPING)
            with runs.open_context(settings, progress=lambda text: None) as ctx:
                runs.enable_writes(ctx, pair="demo", environment="sandbox")
                _, marks, _ = asked(line, {})
                plans, near = synced(ctx)
                found, marks, making_s = asked(line, marks)
                within = show(
                    "initial sync", found, fewest(given.contacts, plans, making_s), whole=given.whole
                )
                time.sleep(6)
                runs.pull(ctx)
                found, marks, _ = asked(line, marks)
                within &= show("nothing changed", found, {"salesforce": 7, "xero": 3}, whole=given.whole)
                edit(line, given.contacts)
                time.sleep(6)
                near &= synced(ctx)[1]
    print("calls within the bars" if within else "MISSED: more calls than the bars allow")
    print("bytes within 2%" if near else "MISSED: bytes that were said and used are more than 2% apart")
    return int(not (within and near))


if __name__ == "__main__":
    sys.exit(main())

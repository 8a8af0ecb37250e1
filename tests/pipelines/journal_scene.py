"""A journal with something in each of its tables, made without any system: for tests of the journal."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from push_scene import account_id, contact_id, links_of, move_of, update

from pipelines.intents import Ended, Intent, Operation, Request
from pipelines.journal import Journal
from pipelines.journal_intents import Sent
from pipelines.journal_lease import Lease
from pipelines.protocol import Job, Proof
from reconcile.match import link_id
from reconcile.model import BASE_MOVES

KEY = "0f" * 32
PLAN = "a" * 64
PINS = {"salesforce_org_id": "00D1", "is_sandbox": True, "xero_tenant_id": "t-1", "base_currency": "GBP"}


def intent_of(number: int, *, attempt: int = 1) -> Intent:
    """One write of one linked Xero contact."""
    operation = Operation.from_row(update("xero", number, "tax_number", None, f"GB{number}"))
    body = {"ContactID": contact_id(number), "TaxNumber": f"GB{number}"}
    return Intent(
        intent_id=uuid.uuid4().hex,
        system="xero",
        object="Contact",
        entity="party",
        action="update",
        record_id=contact_id(number),
        key_field="ContactNumber",
        natural_key=None,
        body=body,
        operations=(operation,),
        attempt=attempt,
    )


def request_of(intents: Iterable[Intent]) -> Request:
    some = tuple(intents)
    body = json.dumps({"Contacts": [one.body for one in some]}).encode()
    return Request("xero", "POST", "/api.xro/2.0/Contacts", "", body, some)


def confirmed(intent: Intent) -> list[Ended]:
    """The intent was carried out: the link and the bases that it proves come with it."""
    number = int((intent.record_id or "")[-12:])
    operation = intent.operations[0]
    link = links_of(number).to_dicts()[0]
    name = link_id("party", account_id(number), contact_id(number))
    bases = tuple(
        {
            "link_id": name,
            "side": side,
            "unit": "tax_number",
            "base_kind": "agreed",
            "native": '"x"',
            "stamp": None,
        }
        for side in ("salesforce", "xero")
    )
    return [Ended(operation, "confirmed", intent.record_id, link=link, bases=bases)]


def refused(intent: Intent) -> list[Ended]:
    return [Ended(one, "rejected", message="no") for one in intent.operations]


def begin(journal: Journal, lease: Lease, *intents: Intent) -> Sent:
    return journal.intents.begin(request_of(intents), plan_hash=PLAN, run_id="run", fence=lease)


def leave(journal: Journal, lease: Lease, sent: Sent) -> None:
    journal.intents.leaving(sent, sent.request.body, horizon_s=240, fence=lease)


def moves(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(BASE_MOVES))


def fill(journal: Journal) -> None:
    """Put something into each table: what ended, what was refused, and what is not settled."""
    journal.bind("pair")
    journal.enable_writes("pair", "sandbox", PINS)
    run_id = journal.start_run("apply", details={"plan": PLAN})
    journal.save_plan(PLAN, {"operations": 3})
    journal.adopt(links_of(1, 2), moves(*(move_of(n, "name", '"A"', '"A"') for n in (1, 2))))
    journal.decide("refuse_link", entity="party", salesforce_id="001", xero_id="c", made_by="ada")
    journal.decide(
        "accept_drift", entity="party", salesforce_id="002", xero_id="d", unit="phone", made_by="ada"
    )
    journal.withdraw("party", "001", "c")
    with journal.lease("pair", "test", 60) as lease:
        for ending in (confirmed, refused):
            some = [intent_of(number) for number in (1, 2)]
            sent = begin(journal, lease, *some)
            leave(journal, lease, sent)
            journal.intents.close(
                sent, [(one, ending(one)) for one in some], plan_hash=PLAN, fence=lease, status=200
            )
        sent = begin(journal, lease, intent_of(3), intent_of(4))
        leave(journal, lease, sent)
        journal.intents.unknown(sent, burnt=False, fence=lease)
        job = begin(journal, lease, intent_of(6))
        journal.intents.job_made(job, Job("750000000000001AAA", job.created_at), fence=lease)
        leave(journal, lease, job)
        journal.intents.job_over(job, "JobComplete", fence=lease)
        six = job.live[0]
        journal.intents.close(job, [(six, confirmed(six))], plan_hash=PLAN, fence=lease, status=200)
        not_sent = begin(journal, lease, intent_of(5))
        journal.intents.close(
            not_sent, [(not_sent.live[0], ())], plan_hash=PLAN, fence=lease, proof=Proof("not_sent")
        )
    journal.set_plan_state(PLAN, "applied_in_part")
    journal.end_run(run_id, "done", counts={"confirmed": 2})


def contents(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Give every row of a database, read without our code; raises sqlite3.DatabaseError."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as con:
        names = [
            name for (name,) in con.execute("select name from sqlite_schema where type = 'table' order by 1")
        ]
        return {name: sorted(con.execute(f'select * from "{name}"').fetchall(), key=repr) for name in names}

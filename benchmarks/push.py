"""Times a push of 1,000 updates without the network, and what of it is the journal's.

    python -m benchmarks.push [--updates 1000]

The vendor is a stub in this process that answers at once. The journal's share is what its own calls took, sealing
included. Then the journal alone takes the same intents, 1, 25 (a composite), 50 (Xero) and 200 (a collection) in a
request, with a lease: begin, leaving, close. The floor is raw sqlite3 in the same run: the rows that came of it, in
as many transactions, each made durable (synchronous=FULL). At least 500 intents a second are wanted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "pipelines"))

from journal_scene import KEY, PLAN, confirmed, intent_of, request_of
from peers import MemoryTokens, settings_for
from push_scene import MAPPING, frame, links_of, update

from pipelines.clients import Clients, open_clients
from pipelines.journal import Journal
from pipelines.journal_intents import Intents
from pipelines.push import push
from pipelines.settings import Limits
from pipelines.shared import in_process
from reconcile.model import BASE_MOVES, SIDES, empty

ORIGIN = "http://127.0.0.1:9"
LINE = {
    "xero": {
        **dict.fromkeys(("api_url", "identity_url", "login_url"), ORIGIN),
        "client_id": "c",
        "client_secret": "s",
        "tenant_id": "t-1",
    }
}
CALLS = ("begin", "leaving", "close", "unknown", "kept", "live", "live_keys", "done", "link_ids")


def stub(request: httpx.Request) -> httpx.Response:
    """Xero, as far as a push of updates sees it: it has nothing new, and confirms all."""
    date = {"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")}
    if request.url.path.endswith("/connect/token"):
        reply: Any = {
            "access_token": "t",
            "expires_in": 1800,
            "token_type": "Bearer",
            "scope": "accounting.contacts",
        }
    elif request.method == "GET":
        reply = {"Contacts": [], "pagination": {"page": 1, "pageSize": 1000, "pageCount": 0, "itemCount": 0}}
    else:
        own = {
            "HasValidationErrors": False,
            "StatusAttributeString": "OK",
            "UpdatedDateUTC": f"/Date({int(time.time() * 1000)}+0000)/",
        }
        reply = {"Contacts": [{**one, **own} for one in json.loads(request.content)["Contacts"]]}
    return httpx.Response(200, json=reply, headers=date)


@contextmanager
def clients(folder: Path) -> Iterator[Clients]:
    settings = settings_for(LINE, folder, limits={"xero_calls_a_minute": 1_000_000})
    with open_clients(
        settings,
        MemoryTokens(),
        shared={side: in_process() for side in SIDES},
        transports={side: httpx.MockTransport(stub) for side in SIDES},
    ) as opened:
        yield opened


class Share:
    """Counts what the journal's own calls take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def counted(self) -> Iterator[None]:
        kept = {name: getattr(Intents, name) for name in CALLS if hasattr(Intents, name)}
        for name, call in kept.items():
            setattr(Intents, name, self._timed(name, call))
        try:
            yield
        finally:
            for name, call in kept.items():
                setattr(Intents, name, call)

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*given, **named)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

        return timed


def pushed(folder: Path, updates: int) -> Path:
    """Push so many updates to the stub; prints the time and the journal's share, gives the journal's file."""
    file, share = folder / "pushed.db", Share()
    operations = frame([update("xero", n, "tax_number", None, f"GB{n}") for n in range(updates)])
    seen = datetime.now(UTC) - timedelta(seconds=1)
    with Journal(f"sqlite:///{file}", KEY) as journal, clients(folder) as opened:
        journal.adopt(links_of(*range(updates)), empty(BASE_MOVES))
        with journal.lease("pair", "benchmark", 60) as lease, share.counted():
            started, cpu = time.perf_counter(), time.process_time()
            rows = push(
                operations,
                journal=journal,
                lease=lease,
                clients=opened,
                mapping=MAPPING,
                settings_limits=Limits(),
                overlap_s=5,
                plan_hash=PLAN,
                seen_at={"salesforce": seen, "xero": seen},
            )
            took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        assert set(rows["outcome"]) == {"confirmed"}, rows["outcome"].value_counts()
        verify_s, verdict = _verified(journal)
    ours_s = sum(share.seconds.values())
    calls = ", ".join(f"{name} {seconds:.2f}" for name, seconds in sorted(share.seconds.items()))
    print(
        f"push of {updates} updates, 50 a request: {took_s:.2f} s ({cpu_s:.2f} s of a processor); "
        f"the journal's share {ours_s:.2f} s ({ours_s / took_s:.0%})"
    )
    print(f"  of it: {calls}")
    print(f"verifying it all afterwards: {verify_s:.2f} s ({verdict} rows of the chain)")
    return file


def _verified(journal: Journal) -> tuple[float, int]:
    started = time.perf_counter()
    verdict = journal.verify()
    assert verdict.ok, verdict
    return time.perf_counter() - started, verdict.rows


def journal_alone(folder: Path, updates: int, at_once: int) -> None:
    """Take the same intents through the journal, so many a request; prints the speed against the floor."""
    file = folder / f"alone_{at_once}.db"
    intents = [intent_of(number) for number in range(updates)]
    with Journal(f"sqlite:///{file}", KEY) as journal:
        journal.adopt(links_of(*range(updates)), empty(BASE_MOVES))
        journal.must_be_whole()
        with journal.lease("pair", "benchmark", 60) as lease:
            before = journal.verify().rows
            ended = [[dataclasses.replace(one, link=None) for one in confirmed(intent)] for intent in intents]
            started, cpu = time.perf_counter(), time.process_time()
            for at in range(0, updates, at_once):
                some = intents[at : at + at_once]
                sent = journal.intents.begin(request_of(some), plan_hash=PLAN, run_id="", fence=lease)
                journal.intents.leaving(sent, sent.request.body, horizon_s=240, fence=lease)
                told = list(zip(some, ended[at : at + at_once], strict=True))
                journal.intents.close(sent, told, plan_hash=PLAN, fence=lease, status=200)
            took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
            transactions = journal.verify().rows - before
    floor_s = floor(file, folder / f"floor_{at_once}.db", transactions)
    print(
        f"journal alone, {at_once:>3} a request: {updates / took_s:>6.0f} intents/s; {took_s:.2f} s "
        f"({cpu_s:.2f} of a processor), floor {floor_s:.2f} s, ratio {took_s / floor_s:.1f} "
        f"({transactions} transactions)"
    )


def floor(file: Path, to: Path, transactions: int) -> float:
    """Write the rows of that journal with raw sqlite3, in as many durable transactions; gives the seconds."""
    tables = ("requests", "intents", "outcomes", "bases", "audit")
    with sqlite3.connect(file) as source:
        schema = [
            sql
            for sql, table in source.execute("select sql, tbl_name from sqlite_schema where sql is not null")
            if table in tables
        ]
        rows = [(table, row) for table in tables for row in source.execute(f"select * from {table}")]  # noqa: S608
    con = sqlite3.connect(to, isolation_level=None)
    con.execute("pragma journal_mode = wal")
    con.execute("pragma synchronous = full")
    for sql in schema:
        con.execute(sql)
    size = -(-len(rows) // transactions)
    started = time.perf_counter()
    for at in range(0, len(rows), size):
        con.execute("begin immediate")
        for table, row in rows[at : at + size]:
            con.execute(f"insert into {table} values ({', '.join('?' * len(row))})", row)  # noqa: S608
        con.execute("commit")
    took_s = time.perf_counter() - started
    con.close()
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.push", description=__doc__)
    parser.add_argument("--updates", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        pushed(Path(folder), given.updates)
        for at_once in (25, 50, 200, 1):
            journal_alone(Path(folder), given.updates if at_once > 1 else given.updates // 5, at_once)


if __name__ == "__main__":
    main()

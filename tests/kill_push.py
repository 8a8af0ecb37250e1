"""Kills a push at its numbered points, and sees that the next run ends as an undisturbed one.

    python tests/kill_push.py                 at every point
    python tests/kill_push.py --points 20     at so many, spread over all
    python tests/kill_push.py --twice         the next run is killed too, at the same number
    python tests/kill_push.py --by-job        with a job of Bulk API for all that may go as one

`make kill-push` runs it. Each case: a fresh pair of systems, a push that dies (SIGKILL), a push that does
not. The systems must hold the same records, the journal the same links and bases, and no record may have
been made twice.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent / "pipelines"))
sys.path.insert(0, str(HERE.parent.parent))

from peers import Peer, account, contact, settings_for  # noqa: E402
from push_scene import (  # noqa: E402
    PLAN,
    Scene,
    contact_id,
    create,
    follow_up,
    link,
    move_of,
    operation,
    update,
)

KINDS = {"xero": ("contact",), "salesforce": ("Account", "Contact")}


def operations() -> list[dict[str, Any]]:
    """A bit of everything: links, units on both sides, new records on both sides, a person."""
    phone = "+442079460123"
    new_contact, new_account = create("xero", 9, "Company 9"), create("salesforce", 10, "Company 10")
    body = {
        "FirstName": "Ada",
        "LastName": "Byron",
        "AccountId": {"$from": new_account["operation_id"]},
        "ExternalID__c": contact_id(10) + ":primary",
    }
    human = operation(
        system="salesforce",
        entity="person",
        object="Contact",
        source_id=contact_id(10) + ":primary",
        action="create",
        phase="create",
        unit="record",
        native_after=json.dumps(body),
        source_native=json.dumps({"name": '{"FirstName":"Ada","LastName":"Byron"}'}),
        depends_on=new_account["operation_id"],
    )
    return [
        link("xero", 2),
        link("salesforce", 2),
        update("xero", 2, "tax_number", None, "GB2", phase="fill"),
        update("xero", 1, "phone", None, phone),
        update("xero", 1, "tax_number", None, "GB1"),
        update("salesforce", 1, "phone", None, phone),
        update("salesforce", 3, "is_customer", "false", "true"),
        new_contact,
        follow_up(new_contact),
        new_account,
        human,
        follow_up(new_account),
    ]


def fill(peer: Peer) -> None:
    """Put both systems back to where the plan begins."""
    for side in KINDS:
        peer.control(side, "POST", "reset", {"seed": False})
    peer.control("salesforce", "POST", "bulk", {"rows_per_s": 0})
    peer.load("salesforce", [account(n) for n in (1, 2, 3, 9)])
    people = contact(10, FirstName="Ada", LastName="Byron")
    peer.load("xero", [*(contact(n) for n in (1, 2, 3)), people])


def work(line: dict[str, Any], folder: Path, *, by_job: bool = False) -> None:
    """One run, in a process of its own: it settles what the one before left, and pushes the same plan."""
    import polars as pl

    from pipelines import job_delivery
    from pipelines.settings import Push

    job_delivery.first_pause_s = lambda _: 0.02  # type: ignore[assignment]

    scene = Scene(Peer(line, folder, settings_for(line, folder)), folder)
    moves = pl.DataFrame([move_of(2, "name", '{"Name":"Company 2"}', '{"Name":"Company 2"}', "agreed")])
    scene.push(operations(), moves=moves, settings_push=Push(bulk_from_rows=1) if by_job else None)


class Runner:
    """Runs `work` in processes that may be killed; they are forked off one that has loaded everything."""

    def __init__(self, *, by_job: bool = False) -> None:
        self.by_job = by_job
        self._nursery = subprocess.Popen(
            [sys.executable, str(HERE), "--nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._nursery.stdin.close()
        self._nursery.wait(30)

    def run(self, line: dict[str, Any], folder: Path, *, crash_at: int | None = None) -> int:
        """Give the exit code of one run (-9: killed)."""
        wanted = {"line": line, "folder": str(folder), "crash_at": crash_at, "by_job": self.by_job}
        self._nursery.stdin.write(json.dumps(wanted) + "\n")
        self._nursery.stdin.flush()
        code = int(self._nursery.stdout.readline())
        if code not in (0, -signal.SIGKILL):
            raise AssertionError((folder / "error").read_text()[-3000:])
        return code


def nursery() -> None:
    """Fork a process for each line of standard input, and tell how it ended."""
    for text in sys.stdin:
        wanted = json.loads(text)
        child = os.fork()
        if child == 0:
            live(wanted)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def live(wanted: dict[str, Any]) -> None:
    """Do one run in this process, and end it."""
    folder = Path(wanted["folder"])
    signal.alarm(60)
    os.environ["RECONCILE_CRASH_COUNT"] = str(folder / "points")
    if wanted["crash_at"] is not None:
        os.environ["RECONCILE_CRASH_AT"] = str(wanted["crash_at"])
    try:
        work(wanted["line"], folder, by_job=wanted["by_job"])
    except BaseException:  # noqa: BLE001 (the process ends here, whatever it was)
        (folder / "error").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


@dataclass(frozen=True)
class End:
    """What is there afterwards, with new ids replaced by names."""

    records: dict[str, Any]
    links: list[tuple[str, ...]]
    bases: list[tuple[str, ...]]
    outcomes: dict[str, str]
    made: dict[str, int]  # new record -> how often it was made


def end_of(peer: Peer, folder: Path) -> End:
    scene = Scene(peer, folder)
    rows = [row for side, kinds in KINDS.items() for kind in kinds for row in scene.records(side, kind)]
    names = {row.get("ContactID") or row["Id"]: row.get("Name") or row.get("LastName") for row in rows}

    def named(text: Any) -> str:
        for record_id, name in names.items():
            text = str(text).replace(record_id, f"<{name}>")
        return text

    drop = {"UpdatedDateUTC", "attributes", "Id", "ContactID"}
    kept = [
        {
            key: named(value)
            for key, value in row.items()
            if key not in drop and not key.endswith(("Date", "stamp"))
        }
        for row in rows
    ]
    with scene.journal() as journal:
        assert journal.verify().ok
        assert journal.unsettled().is_empty()
        links = journal.links().select("salesforce_id", "xero_id", "rule").rows()
        bases = journal.bases().select("link_id", "side", "unit", "base_kind", "native").rows()
        outcomes = dict(journal.outcomes(PLAN).select("operation_id", "outcome").rows())
    changes = [change for side in KINDS for one in peer.requests(side) for change in one["changes"]]
    made = Counter(named(what) for action, _, what in changes if action == "create")
    return End(
        records={str(row.get("Name") or row.get("LastName")) + str(len(row)): row for row in kept},
        links=sorted(tuple(map(named, row)) for row in links),
        bases=sorted(tuple(map(named, row)) for row in bases),
        outcomes=outcomes,
        made=dict(made),
    )


def undisturbed(runner: Runner, peer: Peer, folder: Path) -> tuple[End, int]:
    """Give how a run ends that nobody kills, and how many points it passes."""
    fill(peer)
    folder.mkdir()
    Scene(peer, folder).know(1, 3)
    assert runner.run(peer.line, folder) == 0
    end = end_of(peer, folder)
    assert set(end.outcomes.values()) == {"confirmed"}
    assert set(end.made.values()) == {1} and len(end.made) == 3
    return end, int((folder / "points").read_text())


def killed_at(
    runner: Runner, point: int, peer: Peer, folder: Path, expected: End, *, twice: bool = False
) -> float:
    """Kill a run at a point and run again; gives the seconds it took. Raises AssertionError."""
    started = time.monotonic()
    fill(peer)
    folder.mkdir()
    Scene(peer, folder).know(1, 3)
    assert runner.run(peer.line, folder, crash_at=point) == -signal.SIGKILL, f"point {point}: it did not die"
    if twice:
        runner.run(peer.line, folder, crash_at=point)
    assert runner.run(peer.line, folder) == 0
    end = end_of(peer, folder)
    assert set(end.outcomes.values()) <= {"confirmed", "adopted"}, f"point {point}: {end.outcomes}"
    assert end.made == expected.made, f"point {point}: made {end.made}"
    assert end.records == expected.records, f"point {point}: other records"
    assert end.links == expected.links, f"point {point}: other links"
    assert end.bases == expected.bases, f"point {point}: other bases"
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a push at its numbered points.")
    parser.add_argument("--points", type=int, default=0, help="how many, spread over all; 0: every one")
    parser.add_argument("--twice", action="store_true", help="kill the run after it too")
    parser.add_argument("--nursery", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--by-job", action="store_true", help="send what may go as a job of Bulk API as one")
    options = parser.parse_args()
    if options.nursery:
        nursery()
        return
    sweep(options.points, twice=options.twice, by_job=options.by_job)


def sweep(wanted: int, *, twice: bool, by_job: bool) -> None:
    from sandbox.serve import start

    with (
        Runner(by_job=by_job) as runner,
        tempfile.TemporaryDirectory() as root,
        start(Path(root) / "sandbox", seed="empty", limits="off") as line,
    ):
        peer = Peer(line, Path(root), settings_for(line, Path(root)))
        expected, points = undisturbed(runner, peer, Path(root) / "whole")
        step = max(1, points // wanted) if wanted else 1
        chosen = range(1, points + 1, step)
        print(f"{points} points; killing at {len(chosen)} of them")
        failed = 0
        for point in chosen:
            try:
                took_s = killed_at(runner, point, peer, Path(root) / f"at_{point}", expected, twice=twice)
                print(f"point {point:3}: as undisturbed ({took_s:.1f} s)")
            except AssertionError as error:
                failed += 1
                print(f"point {point:3}: {error}")
    print(f"{len(chosen) - failed} of {len(chosen)} as undisturbed")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()

"""Measures from how many records on a push to Salesforce should go as one job: calls and seconds, both ways.

    python -m benchmarks.bulk_push [--rows 200 600 1000 2000 5000] [--call-s 0.4] [--rows-a-s 1000] [--queue-s 5]

Links are written into that many accounts of the sandbox, over HTTP, by collections and by a job. The sandbox answers
at once, so each call is held up by --call-s, as the way to Salesforce and the triggers of 200 rows would; its jobs wait
--queue-s and write --rows-a-s. Counted is the push: a login, the look, the writes, and reading back.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "pipelines"))

from peers import Peer, account, contact, settings_for
from push_scene import Scene, link

from pipelines.clients import Clients
from pipelines.settings import Limits, Push
from pipelines.wire import Wire
from reconcile.model import SIDES
from sandbox.serve import start

NEVER = 10_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk_push", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 600, 1000, 2000, 5000])
    parser.add_argument("--call-s", type=float, default=0.4)
    parser.add_argument("--rows-a-s", type=int, default=1000)
    parser.add_argument("--queue-s", type=float, default=5.0)
    given = parser.parse_args()
    print(f"{'rows':>7}{'by':>13}{'calls':>7}{'s':>8}{'MB sent':>9}{'MB come':>9}")
    with tempfile.TemporaryDirectory() as root:
        os.environ["XDG_STATE_HOME"] = root
        for place, rows in enumerate(given.rows):
            for way, from_rows in (("collections", NEVER), ("a job", 1)):
                measure(Path(root) / f"{place} {way}", rows, way, from_rows, given)


def measure(folder: Path, rows: int, way: str, from_rows: int, given: argparse.Namespace) -> None:
    """Push so many links to a fresh sandbox, and print what it took."""
    folder.mkdir()
    with start(folder / "sandbox", seed="empty", limits="off") as line:
        peer = Peer(line, folder, settings_for(line, folder))
        peer.load("salesforce", [account(n) for n in range(rows)])
        peer.load("xero", [contact(n) for n in range(1)])
        peer.control("salesforce", "POST", "bulk", {"rows_per_s": given.rows_a_s, "queue_s": given.queue_s})
        operations = [link("salesforce", n) for n in range(rows)]
        time.sleep(1.1)  # what was loaded is no part of the look
        now = datetime.now(UTC)
        counted: dict[str, int] = {}
        close = Clients.close

        def counting(clients: Clients) -> None:
            counted.update(clients.calls(), **clients.traffic()["salesforce"])
            close(clients)

        send = Wire.send

        def slowly(*args: object, **named: object) -> object:
            time.sleep(given.call_s)
            return send(*args, **named)  # type: ignore[arg-type]

        scene = Scene(peer, folder, limits=Limits(timeout_s=60), overlap_s=0)
        with patch.object(Clients, "close", counting), patch.object(Wire, "send", slowly):
            began = time.perf_counter()
            told = scene.push(
                operations, settings_push=Push(bulk_from_rows=from_rows), seen_at=dict.fromkeys(SIDES, now)
            )
            took_s = time.perf_counter() - began
        assert {outcome for outcome, _ in told.values()} == {"confirmed"}
        sizes = "".join(f"{counted[way] / 1e6:>9.2f}" for way in ("sent", "received"))
        print(f"{rows:>7}{way:>13}{counted['salesforce']:>7}{took_s:>8.1f}{sizes}", flush=True)


if __name__ == "__main__":
    main()

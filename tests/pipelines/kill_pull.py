"""Kills a pull at many points of its load, and looks at what the next one makes of it.

    python tests/pipelines/kill_pull.py [POINTS]

The points are ours (pipelines/failpoint.py) and every statement that dlt sends to DuckDB. A helper process
imports all libraries once and forks a child for each kill, so that a point costs half a second.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from peers import Peer, account, contact, person, settings_for

ROWS = 12
OBJECTS = (("salesforce", "Account"), ("salesforce", "Contact"), ("xero", "Contact"))
Content = dict[str, list[tuple[str, str, bool]]]


def main(points: int) -> None:
    """Kill at that many points, spread over the whole load; 0: at every one."""
    with tempfile.TemporaryDirectory() as folder, arranged(Path(folder)) as arrangement:
        for number, total in arrangement.spread(points):
            print(f"point {number} of {total}: {arrangement.killed_at(number)}", flush=True)
    print("after every kill the next snapshot was right")


class Arrangement:
    """Two servers, a warehouse with a first snapshot, and changes that wait to be pulled."""

    def __init__(self, folder: Path, peer: Peer, pulled: Callable[[Path, int], int]) -> None:
        self.folder, self.peer, self._pulled = folder, peer, pulled
        self._kept = folder / "first"
        self._kept.mkdir()
        assert pulled(self._kept, -1) == 0
        self.before = content(self._kept)
        change_everything(peer)
        undisturbed = self._copy("undisturbed")
        self.total = pulled(undisturbed, 0)
        self.after = content(undisturbed)
        assert self.before != self.after

    def spread(self, points: int) -> Iterator[tuple[int, int]]:
        wanted = points or self.total
        numbers = {1 + round(i * (self.total - 1) / max(wanted - 1, 1)) for i in range(wanted)}
        yield from ((number, self.total) for number in sorted(numbers))

    def killed_at(self, number: int) -> str:
        """Kill there; the snapshot before must be in force, or the new one; the next pull must be right."""
        work = self._copy(f"killed-{number}")
        assert self._pulled(work, number) == -9, f"point {number} was not reached"
        left = content(work)
        assert left in (self.before, self.after), f"point {number}: neither the old nor the new snapshot"
        assert self._pulled(work, -1) == 0
        found = content(work)
        assert found == self.after, f"point {number}: {difference(found, self.after)}"
        assert no_two_open_versions(work), f"point {number}: two versions of one record"
        shutil.rmtree(work)
        return "the new snapshot was in force" if left == self.after else "the old snapshot was in force"

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self._kept, self.folder / name))


@contextmanager
def arranged(folder: Path) -> Iterator[Arrangement]:
    from sandbox.serve import start

    with start(folder / "sandbox", seed="empty", process=True, limits="off") as line:
        peer = Peer(line, folder, settings_for(line, folder))
        peer.load("salesforce", [account(n) for n in range(ROWS)])
        peer.load("salesforce", [person(n) for n in range(ROWS)])
        peer.load("xero", [contact(n) for n in range(ROWS)])
        with forking(line) as pulled:
            yield Arrangement(folder, peer, pulled)


def change_everything(peer: Peer) -> None:
    """On each object: half of the rows change, some come, some go."""
    changed = range(0, ROWS, 2)
    peer.load("salesforce", [account(n, Phone="0113 1") for n in changed])
    peer.load("salesforce", [account(0, IsDeleted=True), account(99), person(98), person(1, IsDeleted=True)])
    peer.load("salesforce", [person(n, Email=f"new{n}@example.com") for n in changed])
    peer.load("xero", [contact(n, FirstName="Zoë") for n in changed])
    peer.load("xero", [contact(97), contact(0, ContactStatus="ARCHIVED")])


def content(folder: Path) -> Content:
    from pipelines.warehouse import Warehouse

    with Warehouse(folder / "w.duckdb") as warehouse:
        return {
            f"{side}.{name}": warehouse.raw(side, name).select("record_id", "row_hash", "deleted").rows()
            for side, name in OBJECTS
        }


def no_two_open_versions(folder: Path) -> bool:
    from pipelines.warehouse import Warehouse, table_name

    with Warehouse(folder / "w.duckdb") as warehouse:
        return not any(
            warehouse._rows(
                f"select record_id from raw.{table_name(side, name)} where _dlt_valid_to is null "
                "group by record_id having count(*) > 1"
            )
            for side, name in OBJECTS
        )


def difference(found: Content, expected: Content) -> str:
    return str({name: set(found[name]) ^ set(rows) for name, rows in expected.items() if found[name] != rows})


IMPORTED_ONCE = (
    "dlt",
    "dlt.destinations.impl.duckdb.duck",
    "dlt.sources.helpers.requests",
    "dlt.common.libs.pyarrow",
    "dlt.common.libs.sql_alchemy_compat",
    "jwt",
    "polars",
    "pyarrow",
    "simple_salesforce",
    "sandbox.serve",
)


# --- The process that forks --------------------------------------------------------------------------


@contextmanager
def forking(line: dict[str, Any]) -> Iterator[Callable[[Path, int], int]]:
    """Give a function (folder, point) -> exit code (-9: killed), or for point 0 how many points there are.

    point -1: no failpoint at all.
    """
    helper = subprocess.Popen(
        [sys.executable, __file__, "--fork", json.dumps(line)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert helper.stdin is not None and helper.stdout is not None
    stdin, stdout = helper.stdin, helper.stdout

    def pulled(folder: Path, point: int) -> int:
        stdin.write(json.dumps([str(folder), point]) + "\n")
        stdin.flush()
        return int(stdout.readline())

    try:
        yield pulled
    finally:
        stdin.close()
        helper.wait(10)


def serve_forks(line: dict[str, Any]) -> None:
    for name in IMPORTED_ONCE:
        importlib.import_module(name)

    for request in sys.stdin:
        folder, point = json.loads(request)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            code = 1
            try:
                passed = pull_once(line, Path(folder), point)
                os.write(writer, str(passed).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(said if point == 0 and code == 0 else code, flush=True)


def pull_once(line: dict[str, Any], folder: Path, point: int) -> int:
    from pipelines import failpoint
    from pipelines.warehouse import Warehouse

    if point >= 0:
        os.environ[failpoint.AT] = str(point)
        count_statements()
    peer = Peer(line, folder, settings_for(line, folder))
    with Warehouse(folder / "w.duckdb") as warehouse:
        peer.pull(warehouse, now=datetime.now(UTC))
    return failpoint.passed()


def count_statements() -> None:
    """Make every statement that dlt sends a point of its own.

    dlt hands DuckDB several in one call; each commits by itself, and a real kill can fall between them.
    """
    from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

    from pipelines import failpoint

    plain = DuckDbSqlClient.execute_query

    @contextmanager
    def counted(self: Any, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        failpoint.point("before a statement of dlt")
        with plain(self, query, *args, **kwargs) as result:
            yield result
        failpoint.point("after a statement of dlt")

    def one_by_one(self: Any, statements: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return [self.execute_sql(statement, *args, **kwargs) for statement in statements]

    DuckDbSqlClient.execute_query = counted  # type: ignore[method-assign]
    DuckDbSqlClient.execute_many = one_by_one  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fork"]:
        serve_forks(json.loads(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)

"""What both servers have under /sandbox/: request log, clock, faults, dialect, load, dump, reset.

No login is asked: the servers listen on loopback only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import exact
from sandbox.clock import Clock
from sandbox.dialect import Dialect, UnknownSwitch
from sandbox.faults import Faults, WrongFault
from sandbox.store import Body, Store


@dataclass(frozen=True)
class Hooks:
    """What a side does in its own way.

    load: takes rows in the vendor's shape, as `dump` gives them; writes them as they are; gives how many.
    dump: every record in the vendor's shape; archived and deleted too; kind: of one kind only.
    cleared: puts back what an empty server has too (its organisation); called by every reset.
    """

    load: Callable[[Iterable[Body]], int]
    dump: Callable[[str | None], Iterable[Body]]
    cleared: Callable[[], None] = lambda: None


def control_routes(
    store: Store,
    clock: Clock,
    faults: Faults,
    dialect: Dialect,
    hooks: Hooks,
    reset: Callable[[], None] | None = None,
) -> list[Route]:
    """The routes; reset: fills the store again after it was cleared."""

    async def requests(request: Request) -> Response:
        rows = store.requests(int(request.query_params.get("after", "0")))
        return JSONResponse({"requests": rows, "last": rows[-1]["n"] if rows else None})

    async def time(request: Request) -> Response:
        if request.method == "POST":
            wanted = await request.json()
            if "now" in wanted:
                clock.set_to(datetime.fromisoformat(wanted["now"]).astimezone(UTC))
            clock.move(float(wanted.get("move_s", 0)))
        return JSONResponse({"now": clock.now().isoformat(), "offset_s": clock.offset_s})

    async def fault_rules(request: Request) -> Response:
        try:
            if request.method == "DELETE":
                faults.clear()
            elif request.method == "POST":
                _set_faults(faults, await request.json())
        except WrongFault as error:
            return _refused(error)
        return JSONResponse(faults.listed())

    async def switches(request: Request) -> Response:
        try:
            if request.method == "DELETE":
                dialect.forget()
            elif request.method == "POST":
                dialect.choose(**await request.json())
        except UnknownSwitch as error:
            return _refused(error)
        return JSONResponse({"switches": dialect.switches()})

    async def load(request: Request) -> Response:
        lines = (await request.body()).splitlines()
        with store.transaction():
            loaded = hooks.load(exact.loads(line) for line in lines if line.strip())
        return JSONResponse({"loaded": loaded})

    async def dump(request: Request) -> Response:
        rows = hooks.dump(request.query_params.get("kind"))
        text = "".join(exact.dumps(row) + "\n" for row in rows)
        return Response(text, media_type="application/x-ndjson")

    async def start_over(request: Request) -> Response:
        wanted = json.loads(await request.body() or b"{}")
        with store.transaction():
            store.clear()
            faults.clear()
            clock.set_offset(0)
            hooks.cleared()
            if reset is not None and wanted.get("seed", True):
                reset()
        return JSONResponse({"reset": True})

    return [
        Route("/sandbox/requests", requests, methods=["GET"]),
        Route("/sandbox/clock", time, methods=["GET", "POST"]),
        Route("/sandbox/faults", fault_rules, methods=["GET", "POST", "DELETE"]),
        Route("/sandbox/dialect", switches, methods=["GET", "POST", "DELETE"]),
        Route("/sandbox/load", load, methods=["POST"]),
        Route("/sandbox/dump", dump, methods=["GET"]),
        Route("/sandbox/reset", start_over, methods=["POST"]),
    ]


def _set_faults(faults: Faults, wanted: Any) -> None:
    if isinstance(wanted, dict) and "seed" in wanted:
        faults.set_seed(**wanted)
    else:
        faults.set_rules(wanted if isinstance(wanted, list) else [wanted])


def _refused(error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)

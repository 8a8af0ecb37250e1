"""Where the product is held while one world lives: crash points, processes, chance.

Nothing of what the product decides is replaced; what is replaced is listed here.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import secrets
import sys
import types
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import duckdb

import expectations.checks
from pipelines import journal_crash, journal_lease, pull, warehouse
from pipelines.journal_lease import Lease
from pipelines.journal_store import Store
from pipelines.warehouse import Warehouse
from reconcile import model
from tests.chaos import quick_load
from tests.chaos.world import World

OURS = ("pipelines", "sandbox", "reconcile")


@contextmanager
def held(world: World, *, checks: bool, dlt: bool, publish: bool) -> Iterator[None]:
    """checks: with Great Expectations (1.5 s a plan). dlt: loads by dlt itself (0.25 s a load).

    publish: with the read copy for notebooks, and the typed views (0.2 s a plan).
    """
    boot = journal_lease._boot()
    with ExitStack() as stack:

        def put(target: Any, name: str, value: Any) -> None:
            stack.enter_context(patch.object(target, name, value))

        put(World, "current", world)
        put(journal_crash, "point", _point)
        put(pull, "point", lambda name: _point())
        put(journal_lease, "this_process", lambda: f"sim|{boot}|{world.running[-1].name}|")
        put(journal_lease, "is_dead", _is_dead(world))
        put(Lease, "__enter__", _entering(Lease.__enter__))
        put(Lease, "__exit__", _leaving(Lease.__exit__))
        put(Warehouse, "abort", _unless_dead(Warehouse.abort))
        put(Store, "_engine", _kept_engine(Store._engine))
        put(warehouse, "duckdb", _one_thread())
        if not checks:
            put(expectations.checks, "run_checks", lambda *_: model.empty(model.FINDINGS))
        if not publish:
            put(Warehouse, "publish", lambda *_: None)
            put(Warehouse, "make_views", lambda *_: None)
        if not dlt:
            put(pull, "_load", quick_load.load)
        yield


@contextmanager
def chance(draw: random.Random) -> Iterator[None]:
    """Ids and secrets by seed, in every module of ours and of the sandbox that draws any."""
    with ExitStack() as stack:
        for module, name, shim in _shims(draw):
            stack.enter_context(patch.object(module, name, shim))
        yield


def _point() -> None:
    world = World.current
    if world is not None and world.running and not world.beating:
        world.running[-1].point()


def _is_dead(world: World) -> Any:
    def is_dead(process: str) -> bool:
        return all(machine.name != process.split("|")[2] for machine in world.running)

    return is_dead


def _entering(original: Any) -> Any:
    def enter(lease: Lease) -> Lease:
        world = World.current
        assert world is not None
        machine = world.running[-1]
        original(lease)
        machine.lease, machine.fence = lease, lease.fencing
        world.tell("lease", machine=machine.name, fence=lease.fencing)
        return lease

    return enter


def _leaving(original: Any) -> Any:
    def leave(lease: Lease, *error: object) -> None:
        world = World.current
        assert world is not None
        for machine in world.running:
            if machine.lease is lease:
                machine.lease = None
        original(lease, *error)

    return leave


def _unless_dead(original: Any) -> Any:
    def abort(opened: Warehouse) -> None:
        world = World.current
        if world is None or not world.running or not world.running[-1].dead:
            original(opened)

    return abort


ENGINES: dict[str, Any] = {}


def _kept_engine(original: Any) -> Any:
    """A new engine compiles every statement anew: one for each address, its connections new each time."""

    def engine(store: Store) -> Any:
        url = str(store._url)
        if url not in ENGINES:
            ENGINES[url] = original(store)
        return ENGINES[url]

    return engine


def _one_thread() -> Any:
    """DuckDB on one thread: another one only takes from the other worker."""

    def connect(database: str, config: Any) -> Any:
        return duckdb.connect(database, config={**config, "threads": 1})

    names = {name: getattr(duckdb, name) for name in dir(duckdb) if not name.startswith("__")}
    return types.SimpleNamespace(**{**names, "connect": connect})


def _load_everything() -> None:
    """Load what the product loads only when it needs it: what is not there yet can't be held."""
    for name in OURS:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if "migrations" not in found.name and not found.name.endswith("__main__"):
                importlib.import_module(found.name)


_load_everything()


def _shims(draw: random.Random) -> Iterator[tuple[types.ModuleType, str, Any]]:
    fresh_uuid = types.SimpleNamespace(
        **{name: getattr(uuid, name) for name in ("UUID", "uuid5", "NAMESPACE_URL", "NAMESPACE_OID")},
        uuid4=lambda: uuid.UUID(int=draw.getrandbits(128), version=4),
    )
    fresh_secrets = types.SimpleNamespace(
        compare_digest=secrets.compare_digest,
        token_hex=lambda n=32: draw.randbytes(n).hex(),
        token_urlsafe=lambda n=32: draw.randbytes(n).hex(),
        token_bytes=draw.randbytes,
        randbelow=draw.randrange,
    )
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in OURS:
            if getattr(module, "uuid", None) is uuid:
                yield module, "uuid", fresh_uuid
            if getattr(module, "secrets", None) is secrets:
                yield module, "secrets", fresh_secrets

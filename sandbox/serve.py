"""Runs both servers in one process, from one state directory, and says in one line of JSON where they are."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import uvicorn
from typing_extensions import override

from sandbox.clock import Clock
from sandbox.dialect import Dialect, read_dialect
from sandbox.faults import Faults
from sandbox.store import Store
from sandbox.wiretap import Connections

SIDES = ("xero", "salesforce")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """What a side's `build` is told.

    limits: "real" or "off". state: the directory for files of its own. reset: fills its store again.
    """

    state: Path
    limits: str = "real"
    reset: Callable[[], None] | None = None
    options: dict[str, Any] = field(default_factory=dict)


class WrongState(Exception):
    """The state directory is in use, or was made from another seed."""


class Server(uvicorn.Server):
    """uvicorn without signal handlers: the process has two servers and one way to stop."""

    @override
    def capture_signals(self) -> Any:
        return nullcontext()

    @override
    async def main_loop(self) -> None:
        while not self.should_exit:  # uvicorn looks every 100 ms; a test stops hundreds of servers
            await asyncio.sleep(0.01)


@dataclass
class Sandbox:
    """Both servers, built and bound, not yet running."""

    line: dict[str, Any]
    servers: list[tuple[Server, socket.socket]]
    stores: dict[str, Store]
    lock: IO[str]

    async def run(self) -> None:
        await asyncio.gather(*(server.serve(sockets=[bound]) for server, bound in self.servers))

    def stop(self) -> None:
        for server, _ in self.servers:
            server.should_exit = True

    def close(self) -> None:
        for store in self.stores.values():
            store.close()
        self.lock.close()


def open_sandbox(
    state: Path,
    *,
    seed: str | None = None,
    xero_port: int = 0,
    salesforce_port: int = 0,
    limits: str = "real",
    dialect: Path | None = None,
    sides: tuple[str, ...] = SIDES,
) -> Sandbox:
    """Build what `run` serves.

    seed: None is the one that the state was made from, demo for a fresh state. Port 0: the one that this
    state had before if it is free, else any.
    """
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    lock = _lock(state)
    stores = {side: Store(state / f"{side}.sqlite") for side in SIDES}
    clocks = {side: Clock(stores[side]) for side in SIDES}
    chosen = read_dialect(dialect) if dialect else {}
    ports = {"xero": xero_port, "salesforce": salesforce_port}
    line: dict[str, Any] = {}
    servers = []
    for side in sides:
        module = importlib.import_module(f"sandbox.{side}.app")
        rules = Dialect(module.SWITCHES, stores[side])
        rules.choose(**chosen.get(side, {}))
        settings = Settings(state, limits, lambda side=side: _seed_one(side, stores, clocks))
        app = module.build(stores[side], clocks[side], Faults(stores[side]), rules, settings)
        bound = _bind(stores[side], ports[side])
        line[side] = module.line(stores[side], settings, f"http://{HOST}:{bound.getsockname()[1]}")
        servers.append((_server(app), bound))
    _seed_once(seed, stores, clocks)
    truth = state / "truth.jsonl"
    line |= {"state": str(state), "truth": str(truth) if truth.exists() else None}
    return Sandbox(line, servers, stores, lock)


def _lock(state: Path) -> IO[str]:
    """One process a state; the lock ends with the process, however that ends."""
    file = (state / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WrongState(f"another sandbox is serving {state}; stop it, or name another --state") from None
    return file


def _seed_once(seed: str | None, stores: dict[str, Store], clocks: dict[str, Clock]) -> None:
    """A seed is loaded into a fresh state only; a state keeps the seed that it was made with."""
    had = stores["xero"].meta("seed")
    if had is None:
        _load(seed or "demo", stores["xero"], stores["salesforce"], clocks["xero"])
        stores["xero"].set_meta("seed", seed or "demo")
    elif seed not in (None, had):
        raise WrongState(
            f"this state was made from seed {had!r}, not {seed!r}; name that seed or another --state"
        )


def _seed_one(side: str, stores: dict[str, Store], clocks: dict[str, Clock]) -> None:
    other = Store(":memory:")
    both = {**dict.fromkeys(SIDES, other), side: stores[side]}
    _load(stores["xero"].meta("seed"), both["xero"], both["salesforce"], clocks[side])


def _load(seed: str, xero: Store, salesforce: Store, clock: Clock) -> None:
    if seed == "empty":
        return
    importlib.import_module("sandbox.seeds").load(seed, xero, salesforce, clock)


def _bind(store: Store, wanted: int) -> socket.socket:
    for port in [wanted] if wanted else [store.meta("port") or 0, 0]:
        # The protocol must be named: asyncio sets TCP_NODELAY only then, else each reply waits 40 ms.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, port))
        except OSError:
            bound.close()
            if wanted:
                raise
            continue
        store.set_meta("port", bound.getsockname()[1])
        return bound
    raise OSError(f"no free port on {HOST}")


def _server(app: Any) -> Server:
    return Server(
        uvicorn.Config(
            app,
            http=Connections,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            date_header=False,  # the wiretap sends the sandbox's time
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
    )


def serve(
    state: Path,
    *,
    seed: str | None = None,
    xero_port: int = 0,
    salesforce_port: int = 0,
    limits: str = "real",
    dialect: Path | None = None,
    sides: tuple[str, ...] = SIDES,
    announce: Callable[[str], object] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the one line of JSON when both servers are bound."""
    sandbox = open_sandbox(
        state,
        seed=seed,
        xero_port=xero_port,
        salesforce_port=salesforce_port,
        limits=limits,
        dialect=dialect,
        sides=sides,
    )
    asyncio.run(_serve(sandbox, announce or _print))


async def _serve(sandbox: Sandbox, announce: Callable[[str], object]) -> None:
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError):  # no signals outside of the main thread
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, sandbox.stop)
    running = asyncio.create_task(sandbox.run())
    while not all(server.started for server, _ in sandbox.servers) and not running.done():
        await asyncio.sleep(0.005)
    if not running.done():
        announce(json.dumps(sandbox.line))
    try:
        await running
    finally:
        sandbox.close()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextmanager
def start(state: Path, *, process: bool = False, **options: Any) -> Iterator[dict[str, Any]]:
    """The sandbox for a test, running while the block runs; gives the line as a dict.

    Takes the options of `serve`. In a thread, or with process=True in a process of its own, whose id is then
    in the dict as "pid" (so that a test can kill it).
    """
    with (_in_process if process else _in_thread)(state, options) as line:
        yield line


@contextmanager
def _in_thread(state: Path, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sandbox = open_sandbox(state, **options)
    ready = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(sandbox, lambda _: ready.set())), name="sandbox", daemon=True
    )
    thread.start()
    try:
        if not ready.wait(20):
            raise TimeoutError("the sandbox was not ready within 20 s")
        yield sandbox.line
    finally:
        sandbox.stop()
        thread.join(10)


@contextmanager
def _in_process(state: Path, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    given = {name: value for name, value in options.items() if name != "sides" and value is not None}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    arguments += [f"--side={side}" for side in options.get("sides", SIDES)]
    child = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "serve", f"--state={state}", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert child.stdout is not None
    try:
        text = child.stdout.readline()
        if not text:
            raise RuntimeError(f"the sandbox ended before it was ready (exit {child.wait(10)})")
        yield {**json.loads(text), "pid": child.pid}
    finally:
        child.terminate()
        child.wait(10)
        child.stdout.close()

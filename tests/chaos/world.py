"""One world: both vendors, the pair's files, and the processes of the product that live and die in it.

A process lives for one command, with objects of its own on the same files. When it crashes, nothing of it can
write any more: neither its journal, nor its requests, whatever its `finally` blocks try.
"""

from __future__ import annotations

import json
import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from pipelines import context as product
from pipelines.clients import open_clients
from pipelines.journal import Journal
from pipelines.settings import Settings
from reconcile.errors import ReconcileError
from reconcile.mapping import Mapping as FieldMapping
from tests.chaos import faults, refusals
from tests.chaos.timing import Time
from tests.chaos.vendors import SIDES, Vendors

LOGIN_PATHS = ("/connect/", "/oauth2/")
LATENCY_S = (0.02, 0.4)
Body = dict[str, Any]


class Crash(BaseException):
    """The process died here."""


@dataclass
class Machine:
    """One process of the product."""

    name: str
    command: str
    crash_at: int | None = None  # the number of the point at which it dies
    dead: bool = False
    points: int = 0
    fence: int | None = None
    lease: Any = None
    seconds: float = 0.0

    def alive(self) -> None:
        if self.dead:
            raise Crash

    def point(self) -> None:
        """Pass one of the product's numbered points."""
        self.alive()
        self.points += 1
        if self.points == self.crash_at:
            self.dead = True
            raise Crash


@dataclass
class Report:
    """What a command said, as somebody at a terminal would know it."""

    machine: str
    command: str
    began: int  # numbers of the world's events
    ended: int = 0
    crashed: bool = False
    error: str | None = None  # the error's class and its parents, outermost last
    message: str | None = None
    bug: str | None = None
    plan: str | None = None
    outcomes: list[Body] = field(default_factory=list)
    audit: list[Body] = field(default_factory=list)

    def as_dict(self) -> Body:
        return dict(vars(self))


@dataclass(frozen=True)
class Rates:
    """How turbulent a world is."""

    reads: float = 0.0
    writes: float = 0.0
    logins: float = 0.0
    crash: float = 0.0  # of commands
    people: float = 0.0  # at a request
    window: float = 0.0  # an edit of the very record, between look and write
    second: float = 0.0  # at a request: another worker starts


CALM = Rates()


class World:
    """Everything that exists while one seed runs."""

    current: World | None = None  # the one that the patched functions of the product belong to

    def __init__(
        self,
        seed: int,
        folder: Path,
        vendors: Vendors,
        time: Time,
        mapping: FieldMapping,
        *,
        limits: Body,
        journal_key: str,
        jwt: bool,
        templates: Path,
    ) -> None:
        self.seed, self.folder, self.vendors, self.time, self.mapping = seed, folder, vendors, time, mapping
        self.rates = CALM
        self.random = {name: random.Random(f"{seed}:{name}") for name in STREAMS}
        self.machines: list[Machine] = []
        self.running: list[Machine] = []
        self.ended: dict[str, Machine] = {}
        self.reports: list[Report] = []
        self.wire: list[Body] = []
        self.events: list[Body] = []
        self.seq = 0
        self.beating = False
        self.is_made = False  # of what is made there, more meets other faults than a refusal
        self.hooks: list[Callable[[str, Machine, str, str, httpx.Request], None]] = []
        self.settings = self._settings(limits, journal_key, jwt=jwt)
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self._templates = templates
        self.lay_out()
        time.on_beat(self._beat)

    def lay_out(self) -> None:
        """Put an empty journal and warehouse there, made once by the product itself."""
        for name in ("journal.db", "journal.head", "warehouse.duckdb"):
            if (self._templates / name).exists() and not self.settings.journal.key.get_secret_value():
                shutil.copyfile(self._templates / name, self.data / name)

    def _settings(self, limits: Body, journal_key: str, *, jwt: bool) -> Settings:
        line = self.vendors.line
        names = ("login_url", "client_id", "client_secret", "username", "private_key_file", "audience")
        salesforce = {name: line["salesforce"][name] for name in names}
        names = ("api_url", "identity_url", "login_url", "client_id", "client_secret", "tenant_id")
        xero = {name: line["xero"][name] for name in names}
        return Settings.model_validate(
            {
                "pair": {"name": "chaos", "data_dir": self.folder / "data", "region": "GB"},
                "salesforce": {**salesforce, "auth": "jwt" if jwt else "client_credentials"},
                "xero": {**xero, "scopes": SCOPES},
                "journal": {"key": journal_key},
                "limits": {**limits, "shared_dir": self.folder / "shared"},
            }
        )

    # -- numbers of events

    def number(self) -> int:
        self.seq += 1
        return self.seq

    @contextmanager
    def said(self, kind: str, **fields: Any) -> Iterator[None]:
        """Tell what a person says to a command, unless it refuses; where it dies meanwhile, it may be kept."""
        try:
            yield
        except Crash:
            self.tell(kind, **fields)
            raise
        self.tell(kind, **fields)

    def tell(self, kind: str, **what: Any) -> Body:
        """Write down something that happened."""
        event = {"seq": self.number(), "at_ms": self.time.now_ms(), "kind": kind, **what}
        self.events.append(event)
        return event

    # -- processes

    def command(
        self, name: str, work: Callable[[product.Context, Report], None], *, who: str = "one"
    ) -> Report:
        """Run one command of the product in a process of its own, to its end or its crash."""
        draw = self.random["crash"]
        crash_at = _early(draw) if draw.random() < self.rates.crash else None
        machine = Machine(f"{who}-{len(self.machines)}", name, crash_at)
        self.machines.append(machine)
        report = Report(machine.name, name, self.number())
        self.reports.append(report)
        self.running.append(machine)
        try:
            with self._context(machine) as ctx:
                work(ctx, report)
        except Crash:
            report.crashed = True
        except ReconcileError as error:
            report.error = " < ".join(kind.__name__ for kind in type(error).__mro__[:-3])
            report.message = str(error)
            report.audit += getattr(error, "audit", None) or []
        except Exception:  # noqa: BLE001 (a bug of the product is a result)
            report.bug = traceback.format_exc()
        finally:
            self.running.remove(machine)
            machine.dead = True
            report.ended = self.number()
        if report.crashed:
            self.tell("crash", machine=machine.name, command=name, point=machine.points)
        return report

    @contextmanager
    def _context(self, machine: Machine) -> Iterator[product.Context]:
        key = self.settings.journal.key.get_secret_value()
        clock = {"now": self.time.now, "sleep": self.time.sleep}
        lines = {side: Line(self, machine, side) for side in SIDES}
        with (
            Journal(
                self.settings.journal_url, key, now=self.time.now, head=self.data / "journal.head"
            ) as journal,
            open_clients(
                self.settings, journal.tokens, transports=lines, monotonic=self.time.monotonic, **clock
            ) as clients,
        ):
            journal.bind(self.settings.pair.name)
            ctx = product.Context(self.settings, journal, clients, lambda text: None, **clock)
            ctx.__dict__["mapping"] = self.mapping
            yield ctx

    def _beat(self) -> None:
        """The hearts of the processes that are awake."""
        self.beating = True
        try:
            for machine in self.running:
                if machine.lease is not None and not machine.dead:
                    machine.lease._renew()
        finally:
            self.beating = False

    # -- requests

    def exchange(self, machine: Machine, side: str, request: httpx.Request) -> httpx.Response:
        """Let one request of the product have its fate."""
        machine.alive()
        kind = kind_of(request)
        self._happen("before", machine, side, kind, request)
        machine.alive()
        draw = self.random["faults"]
        self.time.sleep(draw.uniform(*LATENCY_S))
        trace = request.extensions.get("trace")
        if trace is not None:  # as httpx tells it on a real connection
            trace("http11.send_request_headers.started", {})
        fault = faults.draw(draw, kind, getattr(self.rates, f"{kind}s"))
        refusal = self.random["refusals"]
        share = refusals.share_of(request.url.path) / (2 if self.is_made else 1)
        if self.rates.writes and kind == "write" and refusal.random() < share:
            fault = (self.is_made and fault) or refusals.instead_of(fault, request.url.path)
        entry = self._entry(machine, side, kind, request, fault)

        def forward() -> httpx.Response:
            return self._forward(side, request, entry, faults.of_vendor(draw, fault) if fault else None)

        def refused() -> httpx.Response:
            name, reply = refusals.refuse(
                request, lambda less: self._forward(side, less, entry, None), refusal
            )
            entry["refusal"] = name
            return reply

        if fault == "locked":
            self._lock(side, entry)
        try:
            reply = refused() if fault == "refused" else faults.meet(fault, request, forward, self, draw)
        except httpx.TransportError as error:
            entry["heard"] = type(error).__name__
            self._happen("after", machine, side, kind, request)
            machine.alive()
            raise
        entry["heard"] = reply.status_code
        self._happen("after", machine, side, kind, request)
        machine.alive()
        return reply

    def _entry(
        self, machine: Machine, side: str, kind: str, request: httpx.Request, fault: str | None
    ) -> Body:
        entry = {
            "seq": self.number(),
            "at_ms": self.time.now_ms(),
            "machine": machine.name,
            "fence": machine.fence,
            "side": side,
            "kind": kind,
            "method": request.method,
            "target": request.url.raw_path.decode(),
            "fault": fault,
            "n": [],  # numbers in the vendor's log
        }
        if kind == "write":
            entry["body"] = json.loads(request.read() or b"null")
            entry["key"] = request.headers.get("idempotency-key")
        self.wire.append(entry)
        return entry

    def _forward(self, side: str, request: httpx.Request, entry: Body, fault: Any) -> httpx.Response:
        self.vendors.faults[side].next = fault
        before = self.vendors.last_n(side)
        try:
            n, reply = self.vendors.forward(side, request)
        finally:
            self.vendors.faults[side].next = None
        entry["n"].append(n if n is not None else before + 1)
        entry["applied_seq"] = self.number()
        return reply

    def late(self, forward: Callable[[], httpx.Response], after_s: float) -> None:
        """Apply a request later, whoever waits for it by then."""

        def arrive() -> None:
            forward().read()

        self.time.at(after_s, arrive)

    def _lock(self, side: str, entry: Body) -> None:
        ids = sorted(ids_in(entry.get("body")))
        if side == "salesforce" and ids:
            self.vendors.call(side, "POST", "/sandbox/locks", json={"ids": ids[:1], "times": 1})

    def _happen(self, when: str, machine: Machine, side: str, kind: str, request: httpx.Request) -> None:
        if self.rates is CALM or self.running[-1] is not machine:
            return
        for hook in self.hooks:
            hook(when, machine, side, kind, request)

    # -- at the end

    def close(self) -> None:
        self.vendors.close()


class Line(httpx.BaseTransport):
    """The line between one process and one system."""

    def __init__(self, world: World, machine: Machine, side: str) -> None:
        self._world, self._machine, self._side = world, machine, side

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._world.exchange(self._machine, self._side, request)


SCOPES = "accounting.contacts accounting.invoices accounting.payments accounting.settings.read"
STREAMS = ("books", "faults", "crash", "people", "life", "workers", "jitter", "ids", "ours", "refusals")


def kind_of(request: httpx.Request) -> str:
    """read, write or login."""
    path = request.url.path
    if any(part in path for part in LOGIN_PATHS):
        return "login"
    return "read" if request.method == "GET" else "write"


def ids_in(body: Any) -> set[str]:
    """The Salesforce ids of the records that a body writes."""
    if isinstance(body, dict):
        own = {str(body[name]) for name in ("id", "Id") if isinstance(body.get(name), str)}
        if "referenceId" in body:  # of a composite
            own.add(str(body["url"]).rsplit("/", 1)[-1])
        return own.union(*(ids_in(value) for value in body.values()))
    if isinstance(body, list):
        return set().union(*(ids_in(value) for value in body))
    return set()


def _early(draw: random.Random) -> int:
    """A point to die at: the first ones are passed more often than the later ones."""
    return 1 + int(90 * draw.random() ** 1.7)


def hours(count: float) -> float:
    return timedelta(hours=count).total_seconds()

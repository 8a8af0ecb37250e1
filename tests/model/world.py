"""One schedule: the product's own push over simulated vendors, with faults, crashes and people at its points.

Everything that happens is decided by the schedule: which sending meets which fault, which read, and what
happens at which numbered point. The same schedule gives the same run.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pipelines import push as push_module
from pipelines.looks import Looks
from pipelines.protocol import DONE, Timing
from pipelines.settings import Push as PushSettings
from pipelines.wire import Page, Reply
from reconcile.errors import (
    LeaseHeld,
    LeaseLost,
    LogInAgain,
    LoginRefused,
    NotConnected,
    OutcomeUnknown,
    RateLimited,
    RetryLater,
    Unreachable,
)
from tests.model import books as plan_books
from tests.model.books import PLAN, SNAPSHOT, Books, Planned, chosen, fill
from tests.model.clock import Clock
from tests.model.memory import Kept, Memory
from tests.model.vendor import US, XERO_LISTS, Salesforce, Xero, pages

LEASE_S = 120.0
LATE_S = 90.0
TIMEOUT_S = 30.0
MOST_PROCESSES = 20

# What may happen to a sending. late and again_late carry seconds: how much later it is applied.
XERO_FAULTS = (
    "connect", "429", "429_day", "expired", "login", "lost", "late", "lost_reply", "again_late", "500_clean",
    "500_applied", "500_late", "502", "503_applied", "504_late", "half", "html", "short", "reordered", "extra",
    "doubled", "echoed", "partial", "400_whole", "late_crash", "late_wipe", "lost_crash",
)  # fmt: skip
SALESFORCE_FAULTS = (
    "connect", "429", "429_day", "expired", "login", "lost", "late", "lost_reply", "500_clean", "500_applied",
    "502", "503_applied", "504_late", "half", "html", "short", "reordered", "extra", "partial", "busy", "400_whole",
    "late_crash", "late_wipe", "lost_crash",
)  # fmt: skip
READ_FAULTS = ("down", "limit", "login")
LISTS = ("Contacts", "Invoices", "compositeResponse")  # in an object that answers for several records


@dataclass(frozen=True)
class Schedule:
    """What is done, and what happens meanwhile. Sendings, reads and points are numbered from 0."""

    groups: tuple[str, ...]
    kind: str = "derived"  # of numbering
    sends: Mapping[int, tuple[str, float]] = field(default_factory=dict)  # fault and seconds
    reads: Mapping[int, str] = field(default_factory=dict)
    points: Mapping[int, tuple[str, float]] = field(default_factory=dict)  # crash, wipe, sleep, edit, archive
    late_s: float = LATE_S
    pause_s: float = 7.0  # between processes
    guard: Literal["collection", "record"] = "record"
    ahead_s: tuple[float, ...] = (0.0,)  # what the machines' clocks are ahead; process after process in turn

    def told(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "groups": list(self.groups),
            "kind": self.kind,
            "sends": {str(n): list(what) for n, what in self.sends.items()},
            "reads": {str(n): what for n, what in self.reads.items()},
            "points": {str(n): list(what) for n, what in self.points.items()},
            "pause_s": self.pause_s,
            "guard": self.guard,
            "ahead_s": list(self.ahead_s),
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Schedule:
        return cls(
            tuple(told["groups"]),
            told["kind"],
            {int(n): (what, seconds) for n, (what, seconds) in told["sends"].items()},
            {int(n): what for n, what in told["reads"].items()},
            {int(n): (what, seconds) for n, (what, seconds) in told["points"].items()},
            pause_s=told["pause_s"],
            guard=told.get("guard", "record"),
            ahead_s=tuple(told.get("ahead_s", (0.0,))),
        )


class Crash(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass(frozen=True)
class Sending:
    """Bytes that left."""

    at: float
    side: str
    key: str | None
    digest: str
    number: int  # the fencing number of the worker
    newest: int  # the newest there was
    kept: bool  # the journal had these bytes, as leaving


class QuickLooks(Looks):
    """The product's looks; only values are compared as JSON, without the many ways to spell one."""

    def _canonical(self, asked: Sequence[tuple[str, str, str, str | None]]) -> list[str | None]:
        return [_plain(native) for _, _, _, native in asked]


def _plain(native: str | None) -> str:
    body = json.loads(native or "{}")
    return json.dumps(
        {name: value for name, value in body.items() if value not in (None, "")}, sort_keys=True
    )


class World:
    """Both systems, the journal, the clock, and what was seen."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.counts: Counter[str] = Counter()
        self.clock = Clock()
        self.books = Books(Xero(self.clock, self.count), Salesforce(self.clock, self.count))
        fill(self.books)
        self.planned = chosen(schedule.groups, schedule.kind)
        self.kept = self._new_journal(plan_books.LONG_AGO)
        self.sendings: list[Sending] = []
        self.wrong: list[str] = []
        self.sends = self.reads = self.points = self.processes = 0
        self.asleep = False
        self.wiped = 0
        self.edits: list[tuple[float, str, str, str]] = []  # at, object, id, field
        self.edits_seen: dict[tuple[str, str], float] = {}  # (object, id) -> when a look first showed an edit
        self.squatted: set[str] = set()  # keys of invoices that a person made, with other amounts
        self.burnt: set[str] = set()  # keys under which a 500 was answered
        self.is_quiet = False  # nothing happens any more

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def _new_journal(self, made_at: datetime) -> Kept:
        kept = Kept(made_at)
        kept.links.update(self.books.links)
        return kept

    def wipe(self) -> None:
        """The journal is lost; a new one finds the links that both systems hold."""
        self.wiped += 1
        self.count("journal_wiped")
        self.kept = self._new_journal(self.now_by(self.processes))

    def now_by(self, number: int) -> datetime:
        """Give the time by the clock of the machine that this process runs on."""
        ahead_s = self.schedule.ahead_s
        return self.clock.now() + timedelta(seconds=ahead_s[number % len(ahead_s)])

    # -- running

    def run(self) -> World:
        """Run until all is ended, then once more: that run must write nothing."""
        mapping = plan_books.mapping(self.schedule.kind)
        for _ in range(MOST_PROCESSES):
            self.process(mapping)
            if self.is_over():
                break
            self.clock.pass_(self.schedule.pause_s)
        else:
            self.wrong.append(f"not ended after {MOST_PROCESSES} processes")
        self.clock.pass_(2 * self.schedule.late_s)
        before, self.is_quiet = len(self.sendings), True
        self.process(mapping)
        if len(self.sendings) != before:
            self.wrong.append("a run after all was done wrote again")
        return self

    def outcome(self, one: Planned) -> str | None:
        found = self.kept.outcomes.get((PLAN, one.which))
        return found.outcome if found else None

    def to_do(self) -> list[Planned]:
        """As planning would: without what was refused, what a person overtook, and what depends on those."""
        out = {one.which for one in self.planned if self.outcome(one) in ("rejected", "asked", "overtaken")}
        while more := {
            one.which for one in self.planned if one.operation.depends_on in out and one.which not in out
        }:
            out |= more
        return [one for one in self.planned if one.which not in out]

    def is_over(self) -> bool:
        return (
            all(self.outcome(one) in DONE for one in self.to_do())
            and not Memory(self.kept, self.clock.now).intents.live_keys()
        )

    def process(self, mapping: Any) -> None:
        """One process from its start to its end, whatever that is."""
        self.processes += 1
        one = Process(self, self.processes)
        try:
            one.work(mapping)
        except Crash:
            self.count("crash")
            one.is_dead = True
            if self.kept.holder == one.number:
                self.kept.holder = None  # the next one of this machine sees that the process is gone
        except LeaseHeld:
            self.count("lease_held")
        except LeaseLost:
            self.count("asleep_stopped")
        except LogInAgain:
            self.count("login_refused")
        self._look_at_journal()

    def _look_at_journal(self) -> None:
        """Nothing that an outcome proves may be there before the outcome."""
        done = {which for (_, which), one in self.kept.outcomes.items() if one.outcome in DONE}
        for one in self.planned:
            here = one.operation
            if here.action == "update" and here.operation_id not in done:
                base = self.kept.bases.get((here.link_id or "", here.system, here.unit))
                if base is not None and base["native"] == here.native_after and base["base_kind"] == "agreed":
                    self.wrong.append(f"a base moved before its outcome ({here.unit} in {here.system})")

    # -- what happens at a point

    def act(self, process: Process, what: str, seconds: float) -> None:
        if what in ("crash", "wipe"):
            process.is_dead = True
            if what == "wipe":
                self.wipe()
            raise Crash
        if what == "sleep":
            self._sleep(process, seconds)
        elif what in ("edit", "archive"):
            self._person(what, int(seconds))
        elif what == "squat":
            self._squat(int(seconds))

    def _sleep(self, process: Process, seconds: float) -> None:
        """The process is stopped; meanwhile another one starts."""
        if self.asleep:
            return
        self.asleep = True
        self.count("stopped")
        self.clock.pass_(seconds)
        before = self.kept.fencing
        self.process(plan_books.mapping(self.schedule.kind))
        if self.kept.fencing != before:
            self.count("lease_taken_over")
        self.asleep = False

    def _squat(self, number: int) -> None:
        """A person makes an invoice with the number that ours will have, and with other lines."""
        places = [one for one in self.planned if one.operation.object == "Invoice" and one.key]
        if not places or self.schedule.kind == "xero":
            return
        field_name, value = places[number % len(places)].key or ("", "")
        invoices = self.books.xero.records["Invoice"]
        if any(one.get(field_name) == value for one in invoices.values()):
            return
        self.count("person_squat")
        self.squatted.add(value)
        lines = [{"Quantity": 1, "UnitAmount": 7}]
        self.books.xero.make_by_hand({field_name: value, "LineItems": lines, "Status": "DRAFT"})

    def seen(self, object_name: str, id_field: str, found: Sequence[Mapping[str, Any]]) -> None:
        """Keep which edits of people a look has shown."""
        for at, name, record_id, _ in self.edits:
            if name == object_name and any(one[id_field] == record_id for one in found):
                self.edits_seen.setdefault((name, record_id), max(at, self.clock.at))

    def _person(self, what: str, number: int) -> None:
        places = [one for one in self.planned if one.edited]
        if not places:
            return
        one = places[number % len(places)]
        name, record_id, fields = one.edited
        if what == "archive":
            if one.operation.system != "xero":
                return
            fields = {"ContactStatus": "ARCHIVED"}
        self.count("person_" + what)
        side = self.books.xero if one.operation.system == "xero" else self.books.salesforce
        side.edit(name, record_id, fields)
        self.edits += [(self.clock.at, name, record_id, key) for key in fields]
        self.edits_seen.pop((name, record_id), None)


class Process:
    """One worker: its lease, its journal, its connections."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.is_dead = False
        self.told_500: str | None = None  # the key under which a 500 was answered, until that is kept
        self.lease = Lease(self)

    def work(self, mapping: Any) -> None:
        world = self.world
        with self.lease:
            journal = Memory(world.kept, self.now, self.point, world.count)
            work = push_module.Work(
                journal=journal,
                lease=self.lease,
                clients=Clients(self),
                mapping=mapping,
                timing=Timing(world.schedule.late_s, self.now, self.sleep),
                how=PushSettings(guard=world.schedule.guard),
                looks=QuickLooks,
            )
            operations = [one.operation for one in world.to_do()]
            push_module.carry_out(
                operations, work, plan_hash=PLAN, seen_at={"salesforce": SNAPSHOT, "xero": SNAPSHOT}
            )

    def now(self) -> datetime:
        return self.world.now_by(self.number)

    def point(self, what: str) -> None:
        """Pass a numbered point: before and after each commit, at each sending and each look."""
        if self.is_dead:
            raise Crash
        world = self.world
        if what == "committed" and self.told_500:
            world.burnt.add(self.told_500)
            self.told_500 = None
        number = world.points
        world.points = number + 1
        action = world.schedule.points.get(number)
        if action is not None and not world.is_quiet:
            world.act(self, *action)

    def pass_(self, seconds: float) -> None:
        """Take time, awake: the lease's heart beats."""
        self.world.clock.pass_(seconds)
        self.lease.beat()

    def sleep(self, seconds: float) -> None:
        """Wait as the product does: the clock goes on, and others may be at work."""
        if self.is_dead:
            raise Crash
        if seconds > 0:
            self.pass_(seconds)
        self.point("slept")


class Lease:
    """The pair's lease, in the journal's memory."""

    def __init__(self, process: Process) -> None:
        self.pair, self.process = "pair", process
        self.fencing = 0
        self.until = -1.0

    @property
    def kept(self) -> Kept:
        return self.process.world.kept

    def __enter__(self) -> Lease:
        kept, at = self.kept, self.process.world.clock.at
        if kept.holder is not None and kept.until > at:
            raise LeaseHeld(holder="another", until="later")
        kept.fencing += 1
        kept.holder, self.fencing = self.process.number, kept.fencing
        self.kept_in = kept
        self._last()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if not self.process.is_dead and self.kept.fencing == self.fencing:
            self.kept.holder = None

    def _last(self) -> None:
        self.until = self.kept.until = self.process.world.clock.at + LEASE_S

    def beat(self) -> None:
        if self.kept.fencing == self.fencing and self.kept is self.kept_in:
            self._last()

    def check(self) -> None:
        self.verify(None)

    def verify(self, _: object) -> None:
        if self.kept.fencing != self.fencing:
            raise LeaseLost(pair=self.pair)

    def renew(self, _: object) -> None:
        self.verify(None)
        self._last()

    def in_time(self) -> bool:
        return self.process.world.clock.at < self.until


class Clients:
    """Both connections of one process."""

    def __init__(self, process: Process) -> None:
        self.xero = XeroClient(process, self)
        self.salesforce = SalesforceClient(process, self)
        self.mark: Callable[[], None] = lambda: None
        self.last_moment: Callable[[], None] = lambda: None

    @contextmanager
    def writing(
        self, lease: Callable[[], None], last_moment: Callable[[], None] | None = None
    ) -> Iterator[None]:
        self.mark, self.last_moment = lease, last_moment or (lambda: None)
        yield


class Client:
    """One side's connection, as the wire and the governor would serve it."""

    side = ""

    def __init__(self, process: Process, both: Clients) -> None:
        self.process, self.both, self.world = process, both, process.world

    @property
    def vendor(self) -> Any:
        return getattr(self.world.books, self.side)

    # -- writing

    def _send(self, method: str, path: str, body: bytes, key: str | None) -> Reply:
        process, world = self.process, self.world
        number = world.sends
        world.sends = number + 1
        fault, seconds = world.schedule.sends.get(number, ("", 0.0))
        if fault:
            world.count(f"fault_{fault}")
        for tries in range(2):
            self.both.mark()
            process.point("marked")
            if fault == "connect":
                process.pass_(1.0)
                raise NotConnected(side=self.side, at="there", found="refused")
            self.both.last_moment()
            self._left(key, method, path, body)
            if fault == "429_day":
                raise RateLimited(side=self.side, limit="day", retry_after_s=None)
            if fault in ("429", "expired", "login") and tries == 0:
                process.pass_(seconds if fault == "429" else 0.3)
                continue
            if fault == "login":
                raise LoginRefused(side=self.side, at="there", found="expired", next_step="Log in.")
            break
        status, reply = self._arrive(method, path, body, key, fault, seconds)
        process.point("replied")
        process.told_500 = key if status == 500 else None
        return Reply(status, {}, reply, self.side)

    def _left(self, key: str | None, method: str, path: str, body: bytes) -> None:
        """Keep that bytes left, and whether the journal had them."""
        world = self.world
        digest = hashlib.sha256(body).hexdigest()
        kept = any(
            row.sha256 == digest and row.state == "sending" and row.sends > 0 and row.key == key
            for row in world.kept.requests.values()
        )
        number = self.process.lease.fencing
        if key in world.burnt:
            world.wrong.append("a burnt key left again")
        whole = hashlib.sha256(method.encode() + path.encode() + body).hexdigest()
        world.sendings.append(
            Sending(world.clock.at, self.side, key, whole, number, world.kept.fencing, kept)
        )

    def _arrive(
        self, method: str, path: str, body: bytes, key: str | None, fault: str, seconds: float
    ) -> tuple[int, bytes]:
        process, vendor = self.process, self.vendor

        def take_in() -> tuple[int, bytes]:
            how = fault if fault in ("500_clean", "500_applied", "partial", "busy", "400_whole") else ""
            return vendor.arrive(method, path, body, key, how)

        if fault == "lost":
            self._gone("no answer in time")
        if fault == "lost_crash":
            self.world.act(process, "crash", 0.0)
        if fault in ("late", "504_late", "500_late", "late_crash", "late_wipe"):
            world = self.world

            def late() -> None:
                world.count("applied_late")
                vendor.arrive(method, path, body, key)

            world.clock.put_off(seconds, late)
            if fault == "late":
                self._gone("no answer in time")
            if fault in ("late_crash", "late_wipe"):
                world.act(process, fault[5:], 0.0)
            process.pass_(1.0)
            return int(fault[:3]), b""
        process.pass_(0.3)
        if fault == "502":
            return 502, b""
        status, reply = take_in()
        if fault == "again_late":
            self.world.clock.put_off(seconds, lambda: vendor.arrive(method, path, body, key) and None)
        if fault == "lost_reply":
            self._gone("the connection broke off")
        if fault == "503_applied":
            return 503, b""
        if fault == "half":
            return status, reply[: len(reply) // 2]
        if fault == "html":
            return 200, b"<html>down</html>"
        return status, self._mangled(reply, fault, body) if fault else reply

    def _gone(self, why: str) -> None:
        self.process.pass_(TIMEOUT_S)
        self.process.point("gave_up")
        raise OutcomeUnknown(side=self.side, found=why)

    def _mangled(self, reply: bytes, fault: str, body: bytes) -> bytes:
        """Give the reply in another order, shorter, longer, or as a mere echo."""
        parsed = json.loads(reply)
        key = next((name for name in LISTS if isinstance(parsed, dict) and name in parsed), "")
        rows = parsed[key] if key else parsed
        if not isinstance(rows, list):
            return reply
        if fault == "short":
            rows = rows[:-1]
        elif fault == "reordered":
            rows = [*rows[1:], *rows[:1]]
        elif fault == "extra":
            rows = [*rows, rows[-1]]
        elif fault == "doubled":
            rows = [rows[0]] * len(rows)
        elif fault == "echoed" and key in ("Contacts", "Invoices"):
            id_field = key[:-1] + "ID"  # of a new record there is none in what was asked
            rows = [
                one if id_field in one else {**one, "StatusAttributeString": "OK"}
                for one in json.loads(body)[key]
            ]
            rows = rows if all(id_field not in one for one in rows) else parsed[key]
        return json.dumps({**parsed, key: rows} if key else rows).encode()

    # -- reading

    def _looking(self) -> None:
        process, world = self.process, self.world
        if process.is_dead:
            raise Crash
        number = world.reads
        world.reads = number + 1
        fault = None if world.is_quiet else world.schedule.reads.get(number)
        process.pass_(0.3)
        if fault == "down":
            world.count("read_down")
            raise Unreachable(side=self.side, at="there", found="HTTP 503")
        if fault == "limit":
            world.count("read_limit")
            raise RateLimited(side=self.side, limit="day", retry_after_s=None)
        if fault == "login":
            world.count("read_login")
            raise LoginRefused(side=self.side, at="there", found="expired", next_step="Log in.")


class XeroClient(Client):
    side = "xero"

    def send(
        self, method: str, path: str, body: bytes, *, idempotency_key: str | None = None, query: str = ""
    ) -> Reply:
        return self._send(method, path, body, idempotency_key)

    def page(self, object_name: str, number: int = 1, **options: Any) -> Page:
        return next(iter(self.pages(object_name, **options)))

    def pages(
        self,
        object_name: str,
        *,
        modified_since: datetime | None = None,
        where: str | None = None,
        ids: Sequence[str] | None = None,
        first: Page | None = None,
        **_: Any,
    ) -> Iterator[Page]:
        if first is not None:
            yield first
            return
        self._looking()
        found = self.vendor.read(object_name, modified_since=modified_since, where=where, ids=ids)
        self.world.seen(object_name, XERO_LISTS[object_name][1], found)
        read = list(pages(found, XERO_LISTS[object_name][1], self.world.clock.now()))
        self.process.point("looked")
        yield from read


class SalesforceClient(Client):
    side = "salesforce"
    root = "/services/data/v67.0/"

    def send(self, method: str, path: str, body: bytes | None) -> Reply:
        return self._send(method, path, body or b"", None)

    def query(self, soql: str) -> Iterator[Page]:
        self._looking()
        object_name, found = self.vendor.read(soql)
        self.world.seen(object_name, "Id", found)
        read = list(pages(found, "Id", self.world.clock.now()))
        self.process.point("looked")
        yield from read

    def user_id(self) -> str:
        return US


__all__ = ["LATE_S", "READ_FAULTS", "RetryLater", "Schedule", "World"]

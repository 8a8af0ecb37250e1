"""The life of one world: books that overlap, cycles of plan and apply in bad weather, then calm, then the judge."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx

import mappings
from pipelines import answers, runs
from pipelines.context import Context
from pipelines.journal import Journal
from pipelines.plans import Planned, last_plan
from pipelines.warehouse import Warehouse
from reconcile.mapping import Mapping as FieldMapping
from reconcile.mapping import load_mapping
from sandbox.salesforce.switches import SWITCHES as SALESFORCE_SWITCHES
from sandbox.store import Store
from sandbox.xero.switches import SWITCHES as XERO_SWITCHES
from tests.chaos import checker, made, patches, rare
from tests.chaos.checker import Evidence, Violation
from tests.chaos.checker_made import judge
from tests.chaos.made import Made
from tests.chaos.people import People
from tests.chaos.people_made import Makers
from tests.chaos.timing import Time
from tests.chaos.vendors import SIDES, Vendors, known_logins
from tests.chaos.world import CALM, Machine, Rates, Report, World, hours, ids_in

Body = dict[str, Any]
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
ROUNDS = 8  # of plan and apply, until a world must have come to rest
REGRETS = 6  # sales of which somebody allows what is asked: no world has many more
START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@dataclass
class Outcome:
    """What one seed came to."""

    seed: int
    mode: str  # memory, sockets
    violations: list[str] = field(default_factory=list)
    rare: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    commands: int = 0
    trace: str = ""  # what happened, as a hash: the same seed gives the same

    @property
    def ok(self) -> bool:
        return not self.violations

    def as_dict(self) -> Body:
        return asdict(self)


@dataclass(frozen=True)
class Shape:
    """What kind of world a seed gives: drawn once, told with a failing seed."""

    parties: int
    deals: int  # opportunities; none: no invoices at all
    number: str  # kind of the invoices' numbers
    status: str  # in which invoices are made
    money: bool  # whether Salesforce notes what was taken, and Xero records it
    moves: str  # where invoices follow their sales: how a lost sale's draft is withdrawn (ask, void); else ""
    cycles: int
    sockets: bool
    checks: bool
    dlt: bool
    rates: Rates
    dialect: Mapping[str, Body]
    limits: Body
    vendor_limits: str
    skew_s: Mapping[str, float]
    sealed: bool
    made: Made | None = None  # what is made of what, besides


def shape_of(seed: int) -> Shape:
    draw = random.Random(f"{seed}:shape")
    wild = draw.choice([0.0, 0.5, 1.0, 1.0, 1.5])
    rates = Rates(
        reads=0.03 * wild,
        writes=draw.choice([0.15, 0.3, 0.5]) * wild,
        logins=0.1 * wild,
        crash=draw.choice([0.0, 0.25, 0.6]),
        people=draw.choice([0.0, 0.01, 0.03]),
        window=draw.choice([0.0, 0.1, 0.4]),
        second=draw.choice([0.0, 0.0, 0.03]),
    )
    sockets = seed % 20 == 19
    parties = draw.randint(2, 6) if draw.random() < 0.9 else 8
    deals = draw.choice([0, 0, 0, 1, 2, 4])
    money = deals > 0 and seed % 8 == 2
    moving = seed % 8 == 7
    making = made.drawn(seed) if seed % 8 == 3 else None
    if making and deals == 0:
        deals = 3
    if (moving or making) and wild:  # of credit notes and changed invoices there are few: many meet a fault
        rates = replace(rates, writes=max(rates.writes, 0.3))
    return Shape(
        parties=parties,
        deals=6 if money else max(deals, 3) if moving else deals,
        number=_number(draw.choice(["derived", "derived", "reserved", "xero"]), seed, moving=moving)
        if not (making and making.derived)
        else draw.choice(["derived"] * 4),
        # Of a draft nothing can be paid.
        status=draw.choice(["DRAFT", "DRAFT", "AUTHORISED"])
        if not money
        else draw.choice(["AUTHORISED"] * 3),
        money=money,
        moves=random.Random(f"{seed}:moves").choice(["ask", "void"]) if moving else "",
        cycles=max(draw.randint(1, 3) + (money or moving), 2 if making else 1),
        sockets=sockets,
        checks=seed % 50 == 25,
        dlt=sockets or seed % 10 == 5,
        rates=rates,
        dialect=_dialect(draw) if making is None else _editable(_dialect(draw)),
        limits={"late_application_s": 90, "lease_s": 120, "max_operations": draw.choice([5000, 5000, 3])},
        vendor_limits=draw.choice(["real", "real", "off"]),
        skew_s={side: draw.choice([0.0, 0.0, -20.0, 20.0]) for side in SIDES},
        sealed=draw.random() < 0.3,
        made=making,
    )


def _number(drawn: str, seed: int, *, moving: bool) -> str:
    # What is made again can be told from its derived number alone.
    return "derived" if moving and seed % 3 else drawn


def _dialect(draw: random.Random) -> dict[str, Body]:
    share = draw.choice([0.0, 0.2, 0.6, 1.0])
    chosen: dict[str, Body] = {}
    for side, switches in (("xero", XERO_SWITCHES), ("salesforce", SALESFORCE_SWITCHES)):
        chosen[side] = {
            switch.name: draw.choice(switch.values) for switch in switches if draw.random() < share
        }
    return chosen


def _editable(dialect: dict[str, Body]) -> dict[str, Body]:
    # An org that lets us edit no activated order shows no invoice on one: docs/mapping.md asks for the permission.
    if dialect["salesforce"].get("activated_order_edits") == "none":
        dialect["salesforce"]["activated_order_edits"] = "some"
    return dialect


PAYMENTS = (
    ", settled: read, payments: {object: Money__c, source: Opportunity__c, amount: Amount__c, date: Taken_On__c, "
    "scope: \"State__c = 'Received'\", cut_over: 2026-11-10, account: '090', prefix: SF-, "
    "link: {id: Xero_Payment_ID__c, status: Xero_Payment_Status__c}}"
)


MOVES = ", changes: move, credits: draft, settled: read, withdraw: "


@cache
def mapping(
    number: str, status: str, *, money: bool = False, moves: str = "", making: Made | None = None
) -> FieldMapping:
    """The demo's: new customers are made on the other side, and sales since November become invoices.

    number: the kind of the invoices' numbers; empty: no invoices at all. money: what is taken is recorded.
    moves: how drafts are withdrawn, where invoices follow their sales. making: what is made of what, besides.
    """
    prefix = {"derived": "SF-", "reserved": "INV-", "xero": "SF-"}.get(number)
    invoice = (
        f"status: {status}, number: {{kind: {number}, prefix: {prefix}}}" if number else "cut_over: null"
    ) + (PAYMENTS if money else MOVES + moves if moves else "")
    text = f"extends: [demo]\ndocuments: {{invoice: {{{invoice}}}}}\n"
    if making:
        text = f"extends: [demo]\ndocuments:\n  invoice: {{{invoice}{made.of_invoice(making)}}}\n"
        text += made.besides(making)
    return load_mapping(text, name="mapping.yaml", library=mappings.library())


@cache
def templates() -> Path:
    """Files that every world begins with, made once in this process by the product itself."""
    folder = Path(tempfile.mkdtemp(prefix="chaos_", dir=MEMORY))
    Journal(f"sqlite:///{folder / 'journal.db'}").close()
    with Warehouse(folder / "warehouse.duckdb"):
        pass
    (folder / "keys").mkdir()
    for side in SIDES:  # before any seed draws: the first world must not draw more than the others
        known_logins(side, Store(":memory:"), folder / "keys")
    return folder


def forget_templates() -> None:
    if templates.cache_info().currsize:
        shutil.rmtree(templates(), ignore_errors=True)
        templates.cache_clear()


def live(seed: int, *, keep: Path | None = None, shape: Shape | None = None) -> Outcome:
    """Let one world live and be judged. keep: a folder in which the evidence is left."""
    shape = shape or shape_of(seed)
    started = time.process_time()
    outcome = Outcome(seed, "sockets" if shape.sockets else "memory")
    with _world(seed, shape) as world:
        life = Life(world, shape)
        try:
            life.run()
            outcome.violations += map(str, life.told_wrong())
        except Exception:  # noqa: BLE001 (a harness that breaks is told with its seed)
            outcome.violations.append("harness: " + traceback.format_exc())
        outcome.parts = {name: round(spent, 3) for name, spent in life.spent.items()}
        judged = time.process_time()
        evidence = life.evidence()
        outcome.violations += [str(one) for one in judge(evidence)]
        try:
            outcome.rare = rare.reached(world, evidence)
        except Exception:  # noqa: BLE001
            outcome.violations.append("harness: " + traceback.format_exc())
        outcome.requests, outcome.commands = len(world.wire), len(world.reports)
        outcome.trace = trace_of(world)
        outcome.parts["judge"] = round(time.process_time() - judged, 3)
        if keep is not None:
            save(evidence, world, keep)
    outcome.seconds = round(time.process_time() - started, 3)
    return outcome


CALM_SHAPE = Shape(
    parties=2,
    deals=0,
    number="derived",
    status="DRAFT",
    money=False,
    moves="",
    cycles=1,
    sockets=False,
    checks=False,
    dlt=False,
    rates=CALM,
    dialect={},
    limits={"late_application_s": 90, "lease_s": 120},
    vendor_limits="off",
    skew_s={},
    sealed=False,
)


def judged(
    script: Callable[[Life], None], *, seed: int = 1, shape: Shape = CALM_SHAPE
) -> tuple[list[Violation], World]:
    """Let a world live by a script of its own instead of chance; gives what the judge says."""
    with _world(seed, shape) as world:
        life = Life(world, shape)
        script(life)
        return [*life.told_wrong(), *judge(life.evidence())], world


@contextmanager
def _world(seed: int, shape: Shape) -> Iterator[World]:
    # One place for all worlds of this process: what SQLAlchemy has compiled for a journal there is kept.
    folder = templates() / "world"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    random.seed(f"{seed}:everywhere")  # the governor's jitter
    clock = Time(START + timedelta(seconds=seed % 86_400))
    keys = templates() / "keys"
    try:
        with patches.chance(random.Random(f"{seed}:ours")):
            vendors = Vendors(
                clock,
                keys,
                dialect=shape.dialect,
                limits=shape.vendor_limits,
                skew_s=shape.skew_s,
                sockets=shape.sockets,
            )
            key = hashlib.sha256(str(seed).encode()).hexdigest() if shape.sealed else ""
            world = World(
                seed,
                folder,
                vendors,
                clock,
                mapping(
                    shape.number if shape.deals else "",
                    shape.status,
                    money=shape.money,
                    moves=shape.moves,
                    making=shape.made,
                ),
                limits=shape.limits,
                journal_key=key,
                jwt=seed % 10 == 7,  # reading an RSA key takes 30 ms
                templates=templates(),
            )
            with patches.held(world, checks=shape.checks, dlt=shape.dlt, publish=shape.dlt):
                yield world
            world.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Life:
    """What happens in a world, step by step."""

    def __init__(self, world: World, shape: Shape) -> None:
        self.world, self.shape = world, shape
        world.is_made = shape.made is not None
        self.people = Makers(world, shape.made) if shape.made else People(world)
        if shape.dialect.get("salesforce", {}).get("trigger") == "mapped_field":
            self.people.filled.add(("salesforce", "fax"))
        self.wrong: list[str] = []
        self.spent: Counter[str] = Counter()
        self._draw = world.random["life"]
        self._seconds = 0  # second workers so far
        self._allowed: set[str] = set()  # sales of which somebody answered what was asked
        world.hooks.append(self._meanwhile)

    def run(self) -> None:
        self.people.fill_books(self.world.random["books"], self.shape.parties, self.shape.deals)
        if self.shape.money:
            self.people.open_till(self.world.random["books"])
        if self.world.seed % 10 == 3:
            self.people.forbid("BillingCity = 'Leeds'")
        if self.shape.made:
            self._live_making(self.shape.made)
            return
        self._enable()
        self.people.sellers = bool(self.shape.moves)
        if self.shape.moves:
            for _ in range(self.shape.deals):
                self.people.act(self.world.random["people"], only="win")
        if self.shape.money or self.shape.moves:
            self.plan()  # the invoices first, in good weather: we are after what comes of them
            self.apply()
        if self.shape.moves:
            self._regret()
        for _ in range(self.shape.cycles):
            self._in_weather()
        self.world.rates = CALM
        self._come_to_rest()

    def _in_weather(self) -> None:
        self.world.rates = self.shape.rates
        self._cycle()
        self.world.time.sleep(self._draw.choice([5, 60, 400, 2000]))

    def _live_making(self, making: Made) -> None:
        """As in any world; the month ends meanwhile, and what is due is due."""
        assert isinstance(self.people, Makers)
        draw = random.Random(f"{self.world.seed}:doors")
        if not making.known:
            self.people.open_doors(draw, self.shape.deals)
        self._enable()
        self.people.sellers = True
        if making.known:  # the parties first, in good weather: we are after what is made of what
            self.plan()
            self.apply()
            self.people.open_doors(draw, self.shape.deals)
        for number in range(self.shape.cycles):
            if number == making.leap:
                self.world.rates = CALM
                self.world.time.sleep(hours(8 * 24))
            if number:
                self.people.be_busy(draw, draw.choice([4, 6, 8]))
            self._in_weather()
        self.world.rates = CALM
        if making.leap >= self.shape.cycles:
            self.world.time.sleep(hours(8 * 24))
        self._come_to_rest()

    def _regret(self) -> None:
        """Most of what was sold turns out otherwise at once, and somebody allows what that takes; the weather turns."""
        self.people.act(self.world.random["people"], only="regret")
        self.plan()
        for _ in range(REGRETS):
            self._answer(allow=True)
        self.world.rates = self.shape.rates
        self.plan()
        self.apply()
        self.apply()

    def told_wrong(self) -> list[Violation]:
        """What the product itself says is not settled, at the end."""
        return [Violation("unsettled", text) for text in self.wrong]

    # -- one cycle

    def _cycle(self) -> None:
        draw = self._draw
        self._people_act(draw.choice([0, 1, 1, 2, 3]))
        self.plan()
        self._people_act(draw.choice([0, 0, 1]))
        if draw.random() < 0.08:
            self._toggle_writes()
        self.apply()
        if draw.random() < 0.3:
            self.apply()
        if draw.random() < 0.15:
            self._resolve()
        follows = self.shape.moves or (self.shape.made and self.shape.made.follow)
        if follows and draw.random() < 0.6:
            self._answer()
        if draw.random() < 0.06:
            self._lose_files()
        elif draw.random() < 0.08:
            self._restore_backup()
        if draw.random() < 0.2:
            self._back_up()

    def _people_act(self, times: int) -> None:
        for _ in range(times):
            self.people.act(self.world.random["people"])

    # -- the product's commands

    def plan(self, *, full: bool = False, who: str = "one") -> Report:
        def work(ctx: Context, report: Report) -> None:
            report.plan = runs.plan(ctx, full=full).hash

        return self._timed("plan", work, who)

    def apply(self, *, who: str = "one") -> Report:
        """Apply the newest plan, as somebody would who has read and approved it."""

        def work(ctx: Context, report: Report) -> None:
            planned = runs.load_plan(ctx, None)
            report.plan = planned.hash
            if planned.beyond_limits:
                self.world.tell("limit_tripped", plan=planned.hash)
            self.world.tell("approved", plan=planned.hash)
            applied = runs.apply(ctx, planned, approved=True)
            report.outcomes = applied.outcomes.to_dicts()
            report.audit += applied.audited.findings.to_dicts()

        return self._timed("apply", work, who)

    def _timed(self, name: str, work: Any, who: str) -> Report:
        started = time.process_time()
        report = self.world.command(name, work, who=who)
        self.spent[name] += time.process_time() - started
        return report

    def _enable(self) -> None:
        def work(ctx: Context, report: Report) -> None:
            runs.enable_writes(ctx, pair="chaos", environment="sandbox")

        rates, self.world.rates = self.world.rates, CALM
        mark = self.world.tell("writes_on")
        report = self.world.command("enable-writes", work)
        self.world.rates = rates
        if report.error:  # a limit of yesterday's
            mark["kind"] = "writes_not_on"

    def _toggle_writes(self) -> None:
        def work(ctx: Context, report: Report) -> None:
            runs.enable_writes(ctx, pair="chaos", environment="sandbox", off=True)

        rates, self.world.rates = self.world.rates, CALM
        self.world.command("disable-writes", work)
        self.world.tell("writes_off")
        self.world.rates = rates
        self.apply()
        self.plan()
        self._enable()

    def _resolve(self) -> None:
        """Somebody decides one conflict of the last plan."""
        draw = self._draw

        def work(ctx: Context, report: Report) -> None:
            planned = last_plan(ctx)
            if planned is None or planned.conflicts.is_empty():
                return
            rows = planned.conflicts.sort("link_id", "unit").to_dicts()
            row = draw.choice(rows)
            take = draw.choice(["salesforce", "xero"])
            prefix = "person_" if row["entity"] == "person" else ""
            word = self._word_of(row["salesforce_id"])
            with self.world.said("decided", word=word, unit=prefix + row["unit"], take=take):
                answers.resolve(ctx, row["link_id"], row["unit"], take)

        self.world.command("resolve", work)

    def _answer(self, *, allow: bool = False) -> None:
        """Somebody answers what the last plan asks about one invoice. allow: yes to one that has no answer yet."""
        draw = self._draw

        def work(ctx: Context, report: Report) -> None:
            planned = last_plan(ctx)
            asked = sorted(checker.asked_of(planned.rejects.to_dicts())) if planned is not None else []
            if allow:
                asked = [sale for sale in asked if sale not in self._allowed]
            if not asked:
                return
            sale = draw.choice(asked)
            take = "salesforce" if allow else draw.choice(["salesforce"] * 3 + ["neither"])
            self._allowed.add(sale)
            with self.world.said("answered", record_id=sale, take=take):
                answers.resolve(ctx, sale, "invoice", take)

        self.world.command("resolve", work)

    def _word_of(self, salesforce_id: str) -> str:
        for row in self.world.vendors.dump("salesforce"):
            if row.get("Id") == salesforce_id:
                return self.people._word("salesforce", row)
        return ""

    def _lose_files(self) -> None:
        """The disk is lost: journal and warehouse begin anew, and a person enables writes again."""
        for file in self.world.data.iterdir():
            if file.name.startswith(("journal", "warehouse")) and file.is_file():
                file.unlink()
        self.world.lay_out()
        self.world.tell("journal_lost")
        self._enable()

    def _back_up(self) -> None:
        shutil.copyfile(self.world.data / "journal.db", self.world.folder / "backup.db")

    def _restore_backup(self) -> None:
        """An old backup takes the journal's place; the product notices, and a person takes it as it is."""
        backup = self.world.folder / "backup.db"
        if not backup.exists() or self.shape.checks:
            return
        for name in ("journal.db-wal", "journal.db-shm"):
            (self.world.data / name).unlink(missing_ok=True)
        shutil.copyfile(backup, self.world.data / "journal.db")
        self.world.tell("journal_lost", restored=True)
        self.apply()
        self.plan()
        for _ in range(9):  # who sees it die says it again
            report = self.world.command(
                "audit accept", lambda ctx, report: ctx.journal.accept("somebody") and None
            )
            if not report.crashed:
                break
        self._enable()

    # -- meanwhile

    def _meanwhile(self, when: str, machine: Machine, side: str, kind: str, request: httpx.Request) -> None:
        draw, rates = self.world.random["workers"], self.world.rates
        if when == "before" and kind == "write" and draw.random() < rates.window:
            self._edit_in_the_window(side, request)
        if draw.random() < rates.people:
            self.people.act(self.world.random["people"])
        if kind != "login" and draw.random() < rates.second and self._seconds < 2:
            self._second_worker(when, machine, kind)

    def _edit_in_the_window(self, side: str, request: httpx.Request) -> None:
        """A person changes the very record that is about to be written, after we looked at it."""
        draw, path = self.world.random["people"], request.url.path
        if isinstance(self.people, Makers) and ("/ContactGroups" in path or "/Invoices" in path):
            self.people.meddle(draw, path)
            return
        ids = sorted(_ids_written(side, json.loads(request.read() or b"null")))
        if ids:
            self.people.edit_record(draw, side, draw.choice(ids))

    def _second_worker(self, when: str, machine: Machine, kind: str) -> None:
        """Another run starts: refused while this one is awake; it takes over when this one was stopped.

        Stopped: between two requests (before a read), or while it waits for a reply. Not between the check of
        the lease and the sending of a write: no protocol can help there, see docs/protocol.md.
        """
        draw = self.world.random["workers"]
        self._seconds += 1
        asleep = machine.command == "apply" and draw.random() < 0.6
        if asleep and (kind == "read" or when == "after"):
            lease, machine.lease = machine.lease, None
            self.world.time.jump(self.shape.limits["lease_s"] + 10 + draw.random() * 400)
            (self.plan if draw.random() < 0.5 else self.apply)(who="two")
            machine.lease = lease
        else:
            (self.plan if draw.random() < 0.5 else self.apply)(who="two")

    # -- the end

    def _come_to_rest(self) -> None:
        self.world.time.sleep(
            hours(26)
        )  # what may still arrive late arrives; late commits are seen; limits pass
        self._enable()
        self.world.tell("calm")
        for _ in range(ROUNDS):  # by sweeps: some changes move no stamp, and nothing may be left then either
            report = self.plan(full=True)
            if report.error and report.error.startswith("Incident"):
                continue  # told once: somebody's edit of yesterday
            if report.error or report.bug or report.plan is None or not self._waits(report):
                break
            self.apply()
            self.world.time.sleep(700)
        self._unsettled()

    def _waits(self, report: Report) -> bool:
        import polars as pl

        assert report.plan is not None
        return not pl.read_parquet(self.world.data / "plans" / f"{report.plan}.parquet").is_empty()

    def _unsettled(self) -> None:
        def work(ctx: Context, report: Report) -> None:
            left = ctx.journal.unsettled()
            if not left.is_empty():
                self.wrong.append(f"{left.height} intents are unsettled")
            if not ctx.journal.verify().ok:
                self.wrong.append("the audit chain does not hold")

        self.world.command("status", work)

    def evidence(self) -> Evidence:
        vendors = self.world.vendors
        return Evidence(
            logs={side: vendors.requests(side) for side in SIDES},
            dumps={side: vendors.dump(side) for side in SIDES},
            events=self.world.events,
            wire=self.world.wire,
            reports=[report.as_dict() for report in self.world.reports],
            plans=self.world.data / "plans",
            ours={
                "xero": vendors.line["xero"]["client_id"],
                "salesforce": vendors.line["salesforce"]["username"],
            },
            invoices=self.shape.deals > 0,
            moves=bool(self.shape.moves),
            today=self.world.time.now().date().isoformat(),
            made=self.shape.made.as_dict() if self.shape.made else None,
        )


def _ids_written(side: str, body: Any) -> set[str]:
    if side == "salesforce":
        return {one for one in ids_in(body) if one[:3] in ("001", "003")}
    elements = next(iter(body.values()), []) if isinstance(body, dict) else []
    return {row["ContactID"] for row in elements if isinstance(row, dict) and row.get("ContactID")}


VOLATILE = re.compile(r"[0-9a-f]{32,}|3MVG9[\w-]+")


def trace_of(world: World) -> str:
    """Give a hash of everything that happened: requests, what became of them, and what people did."""
    rows = [
        [row["seq"], row["at_ms"], row["machine"], row["side"], row["method"], row["target"], row["fault"],
         row.get("heard"), row["n"], row.get("body")]
        for row in world.wire
    ]  # fmt: skip
    told = [
        [event["seq"], event["kind"], event.get("record_id"), event.get("token")] for event in world.events
    ]
    text = json.dumps([rows, told], sort_keys=True, default=str)
    return hashlib.sha256(VOLATILE.sub("", text).encode()).hexdigest()[:16]


def save(evidence: Evidence, world: World, folder: Path) -> None:
    """Leave the evidence in a folder, for people."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("logs", "dumps", "events", "wire", "reports", "ours"):
        (folder / f"{name}.json").write_text(json.dumps(getattr(evidence, name), indent=1, default=str))
    shutil.copytree(world.data, folder / "data", dirs_exist_ok=True)


__all__ = ["Outcome", "Planned", "Violation", "checker", "live", "replace", "shape_of"]

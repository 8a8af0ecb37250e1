"""What the processes of tests/kills do: serve the sandbox, be the product, prepare a scene."""

from __future__ import annotations

import gc
import importlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import polars as pl

import expectations.checks
from pipelines import governor, runs
from pipelines.context import Context
from pipelines.warehouse import WarehouseBusy
from reconcile import model
from reconcile.errors import JournalBusy, LeaseHeld, LeaseLost, LoginBusy, PlanUnusable
from sandbox.serve import serve as serve_sandbox
from tests.chaos import quick_load
from tests.kills import scenes

ROUNDS = 6  # of plan and apply, until a pair must have come to rest
DONE = ("confirmed", "adopted")


LOADED = (  # what the stages, and the libraries within them, load when they begin
    "dlt", "pipelines.pull", "pipelines.push", "pipelines.warehouse", "pipelines.salesforce.adapter",
    "sandbox.salesforce.app", "sandbox.seeds", "sandbox.xero.app", "numpy.ma", "pyarrow.compute", "pytz",
    "httpcore", "h2.connection", "sqlglot.dialects.duckdb", "encodings.idna", "polars._utils.parquet",
    *(f"phonenumbers.data.region_{name}" for name in ("FR", "GB", "GG", "IM", "JE", "SG", "US")),
)  # fmt: skip


def load_everything() -> None:
    """Load it before anything is forked; no query runs here, since Polars would begin its threads."""
    for name in LOADED:
        importlib.import_module(name)
    # Whoever meets one that was halted while it logged in would wait for five minutes, and then say so.
    governor.LONGEST_LOGIN_S = 15.0  # type: ignore[misc]
    # Each client reads the machine's certificates anew (0.1 s); on loopback nobody shows one.
    certificates = httpx.create_ssl_context()
    httpx._transports.default.create_ssl_context = lambda *_, **__: certificates
    gc.collect()
    gc.freeze()  # else the first collection of each process copies all of it


def serve(state: str, ports: list[int], line: str) -> None:
    """Be the sandbox, until it is ended; its line goes into a file when it is up."""
    signal.alarm(0)

    def announce(text: str) -> None:
        Path(line + ".new").write_text(text)
        os.rename(line + ".new", line)

    serve_sandbox(
        Path(state),
        seed="demo",
        limits="off",
        xero_port=ports[0],
        salesforce_port=ports[1],
        announce=announce,
    )


def prepare(name: str, folder: str, line: dict[str, Any]) -> None:
    """Bring a pair to where the runs of a scene begin: a plan is sealed, and not applied."""
    with no_checks():
        scenes.prepare(name, Path(folder), line)


def lead(folder: str, line: dict[str, Any]) -> None:
    """Log in to where the systems are now."""
    scenes.lead(Path(folder), line)


def push(folder: str) -> str:
    """Apply the plan that is sealed. What came of it is the judge's to say; gives what ended it early."""
    with opened(folder) as ctx:
        return _told(lambda: runs.apply(ctx, runs.load_plan(ctx, None), approved=True))


def settle(folder: str) -> str:
    """Find out what a killed run left, and nothing else."""
    with opened(folder) as ctx:
        return _told(lambda: runs.settle(ctx))


def sync(folder: str) -> str:
    """Pull, plan and apply, once, as a scheduled run does."""

    def once() -> None:
        planned = runs.plan(ctx)
        if planned.waits:
            runs.apply(ctx, planned, approved=True)

    with no_checks(), opened(folder) as ctx:
        return _told(once)


def _told(work: Callable[[], object]) -> str:
    try:
        work()
    except (JournalBusy, WarehouseBusy, LeaseHeld, LeaseLost, LoginBusy, PlanUnusable) as error:
        return type(error).__name__
    return ""


def quiet(folder: str, *, first: str, quickly: bool) -> dict[str, Any]:
    """Go on after a kill until nothing is to do. first: push (the same plan again) or plan.

    Gives rounds (of plan and apply) and what the journal knows at the end.
    """
    loads = patch("pipelines.pull._load", quick_load.load) if quickly else nullcontext()
    with no_checks(), loads, opened(folder) as ctx:
        if first == "push":
            _apply(ctx, runs.load_plan(ctx, None))
        for rounds in range(ROUNDS):
            planned = runs.plan(ctx)
            if not planned.waits:
                return {"rounds": rounds, **_knowledge(ctx)}
            _apply(ctx, planned)
        left = planned.operations.select("system", "object", "phase", "unit", "reason").to_dicts()
        raise AssertionError(f"not quiet after {ROUNDS} rounds: {left}")


def _apply(ctx: Context, planned: runs.Planned) -> None:
    applied = runs.apply(ctx, planned, approved=True)
    undone = applied.outcomes.filter(~pl.col("outcome").is_in(DONE))
    wrong = undone.filter(pl.col("outcome") != "overtaken")
    assert wrong.is_empty(), f"operations that did not go through: {wrong.to_dicts()}"
    assert not applied.audited.failed, f"an incident: {applied.audited}"


def _knowledge(ctx: Context) -> dict[str, Any]:
    journal = ctx.journal
    return {
        "unsettled": journal.unsettled().height,
        "whole": journal.verify().ok and not journal.trouble,
        "links": journal.links().select("link_id", "entity", "salesforce_id", "xero_id").rows(),
        "bases": journal.bases().select("link_id", "side", "unit", "base_kind", "native").rows(),
    }


@contextmanager
def opened(folder: str) -> Iterator[Context]:
    with runs.open_context(Path(folder) / "demo.toml", progress=lambda _: None) as ctx:
        yield ctx


@contextmanager
def no_checks() -> Iterator[None]:
    """Without Great Expectations (1.5 s a plan); its own tests stand in tests/expectations."""
    with patch.object(expectations.checks, "run_checks", lambda *_: model.empty(model.FINDINGS)):
        yield

"""Times the main job on generated books, each stage against a floor or a peer measured in the same run.

python -m benchmarks [--size 10000] [--dirt 0.3] [--seed 7]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from benchmarks.links import link_quality
from flows.demo import sandbox, write_settings
from pipelines import runs
from pipelines.runs import Context
from reconcile import model
from reconcile.match import match
from reconcile.merge import merge
from reconcile.normalise import Canonical, base_values, canonicalise
from reconcile.plan import build_plan, part_of


@dataclass
class Times:
    """What each step took, and the floor that it is held against."""

    rows: list[tuple[str, float, float | None, str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, floor_s: float | None = None, floor: str = "") -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.rows.append((name, time.perf_counter() - started, floor_s, floor, _peak_mb()))

    def show(self) -> None:
        print(f"\n{'stage':<34}{'s':>8}{'floor s':>9}{'ratio':>8}{'peak MB':>9}  floor")
        for name, seconds, floor_s, floor, peak_mb in self.rows:
            ratio = f"{seconds / floor_s:>8.1f}" if floor_s else f"{'':>8}"
            print(f"{name:<34}{seconds:>8.2f}{floor_s or 0:>9.2f}{ratio}{peak_mb:>9.0f}  {floor}")
        print("peak MB: the most that the process had held by the end of the stage")


def _peak_mb() -> float:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--dirt", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    times = Times()
    with (
        tempfile.TemporaryDirectory() as folder,
        _books(Path(folder), given) as settings,
        runs.open_context(settings, progress=lambda text: None) as ctx,
    ):
        _measure(ctx, times, Path(folder))
    times.show()


@contextmanager
def _books(folder: Path, given: argparse.Namespace) -> Iterator[Path]:
    seed = f"parties:{given.size}:{given.seed}:{given.dirt}"
    print(f"books: {seed}")
    with sandbox(folder / "sandbox", seed=seed, limits="off") as line:
        yield write_settings(folder, line, limits="off")


def _measure(ctx: Context, times: Times, folder: Path) -> None:
    floor_s, rows = timed(lambda: _fetch_everything(ctx))
    with times.step("pull, first", floor_s, f"the same {rows} rows over HTTP, thrown away"):
        pulled = runs.pull(ctx)
    print(f"calls of the first pull: {dict(pulled.calls)}")
    quiet_floor_s, _ = timed(lambda: _fetch_nothing(ctx))
    with times.step("pull, nothing new", quiet_floor_s, "three empty replies over HTTP"):
        pulled = runs.pull(ctx)
    print(f"calls of a quiet pull: {dict(pulled.calls)}")
    _decide(ctx, times)
    with times.step("plan, whole, first (checks too)"):
        planned = runs.plan(ctx, pull_first=False)
    print(f"operations: {planned.phases()}; review {planned.review.height}; cost {dict(planned.cost)}")
    truth = folder / "sandbox" / "truth.jsonl"
    print(link_quality(truth, planned))
    with times.step("plan, nothing new"):
        runs.pull(ctx)
        runs.plan(ctx, pull_first=False)


def _fetch_everything(ctx: Context) -> int:
    rows = 0
    for name in ("Account", "Contact"):
        fields = ", ".join(sorted(ctx.mapping.fields("salesforce")[name] | {"Id"}))
        rows += sum(len(page.rows) for page in ctx.clients.salesforce.query(f"select {fields} from {name}"))  # noqa: S608
    return rows + sum(len(page.rows) for page in ctx.clients.xero.pages("Contact"))


def _fetch_nothing(ctx: Context) -> None:
    client: httpx.Client = httpx.Client()
    for _ in range(3):
        client.get(f"{ctx.settings.xero.api_url}/sandbox/clock")


def _decide(ctx: Context, times: Times) -> None:
    parties: pl.DataFrame | None = None
    parts = []
    with ctx.warehouse() as warehouse:
        fields = warehouse.fields()
        for entity in model.MERGED:
            mapping = ctx.mapping.entities[entity]
            sides: dict[str, Canonical] = {}
            for side in model.SIDES:
                name = mapping.side(side).object
                raw = warehouse.raw(side, name)
                floor_s, _ = timed(lambda raw=raw: [json.loads(body) for body in raw["body"]])
                with times.step(
                    f"canonical {entity} {side}", floor_s, f"json.loads of the same {raw.height} bodies"
                ):
                    sides[side] = canonicalise(
                        raw,
                        mapping,
                        side,
                        observed=warehouse.observed(side, name),
                        region=ctx.settings.pair.region,
                    )
            records = pl.concat([sides[side].records for side in model.SIDES])
            values = pl.concat([sides[side].values for side in model.SIDES])
            known, decisions = ctx.journal.links(), ctx.journal.decisions()
            wide_s, _ = timed(
                lambda values=values: values.pivot("unit", index=["side", "record_id"], values="value")
            )
            with times.step(f"match {entity}", wide_s, "pivot of the same values to one row a record"):
                matches = match(records, values, known, decisions, entity=entity, parents=parties)
            parties = matches.links if entity == "party" else parties
            bases = base_values(
                ctx.journal.bases(), matches.links, mapping, sides["salesforce"], sides["xero"],
                region=ctx.settings.pair.region,
            )  # fmt: skip
            join_s, _ = timed(lambda values=values: values.join(values, on=["side", "record_id", "unit"]))
            with times.step(f"merge {entity}", join_s, "join of the same values with themselves"):
                merged = merge(mapping, matches.links, records, values, bases, decisions)
            parts.append(part_of(mapping, sides["salesforce"], sides["xero"], matches, merged))
        with times.step("build plan"):
            build_plan(parts, fields, ctx.journal.decisions())


if __name__ == "__main__":
    main()

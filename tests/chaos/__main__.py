"""Runs seeds of chaos, and tells what they came to: `make chaos SEEDS=10000`.

    python -m tests.chaos --seeds 3000              seeds 1 to 3000, those that are not in the results yet
    python -m tests.chaos --seeds 500 --from 9000   other seeds
    python -m tests.chaos --seed 1234 -v            one seed again, exactly; its evidence is left in a folder
    python -m tests.chaos --table                   the table of what is there

Exit 1 where a seed failed, or a rare state was not reached often enough.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.commit import commit_at_hand

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results" / "seeds.jsonl"
# One thread for Polars: two workers share two cores. A fixed hash seed: the order of sets is part of a run.
ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "0", "RUNTIME__DLTHUB_TELEMETRY": "false"}
RULES = (
    "twice", "lost", "amounts", "moved", "unplanned", "read_only", "fence", "triangle", "invariant", "unsettled",
    "harness",
)  # fmt: skip
Row = dict[str, Any]

UNKEPT = ("parts", "commands")
USUAL: dict[str, Any] = {"mode": "memory", "violations": []}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=0, help="how many")
    asked.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--seed", type=int, help="run this one alone, and show it")
    asked.add_argument("--results", type=Path, default=RESULTS)
    asked.add_argument("--no-minima", action="store_true", help="don't ask for rare states (a short run)")
    asked.add_argument("--table", action="store_true", help="only show what the results hold")
    asked.add_argument(
        "-v", "--verbose", action="store_true", help="with --seed: what happened, step by step"
    )
    asked.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.chaos", *sys.argv[1:]],
            {**os.environ, **ENVIRONMENT},
        )
    if given.child:
        child()
    elif given.seed is not None:
        raise SystemExit(one(given.seed, verbose=given.verbose))
    else:
        if not given.table:
            sweep(range(given.first, given.first + given.seeds), given.workers, given.results)
        rows = [
            row
            for row in read(given.results)
            if not given.seeds or given.first <= row["seed"] < given.first + given.seeds
        ]
        raise SystemExit(tell(rows, minima=not given.no_minima))


def child() -> None:
    """Live the seeds that come on standard input; one line of JSON each on standard output."""
    import gc

    from tests.chaos.life import forget_templates, live

    gc.collect()
    gc.freeze()  # what is loaded stays
    gc.set_threshold(20_000, 20, 50)
    try:
        for line in sys.stdin:
            print(json.dumps(live(int(line)).as_dict()), flush=True)
    finally:
        forget_templates()
    sys.stdout.flush()
    os._exit(0)  # DuckDB's binding tells at length what it leaks at an ordinary end


def one(seed: int, *, verbose: bool) -> int:
    from tests.chaos.life import forget_templates, live, shape_of

    folder = Path(tempfile.mkdtemp(prefix=f"chaos_seed_{seed}_"))
    outcome = live(seed, keep=folder)
    forget_templates()
    if verbose:
        print(shape_of(seed))
        tell_story(folder)
    print(json.dumps(outcome.as_dict(), indent=1))
    print(f"evidence: {folder}")
    return int(not outcome.ok)


def tell_story(folder: Path) -> None:
    """What happened, in order: commands, requests with their fates, what people did."""
    wire, events, reports = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("wire", "events", "reports")
    )
    story = [(row["seq"], f"    {_request(row)}") for row in wire]
    for row in events:
        rest = {name: value for name, value in row.items() if name not in ("seq", "at_ms", "kind")}
        if row["kind"] != "there":
            story.append((row["seq"], f"  * {row['kind']} {rest}"))
    for row in reports:
        story.append((row["began"], f"{row['machine']}: {row['command']} begins"))
        story.append((row["ended"], f"{row['machine']}: {row['command']} {_said(row)}"))
    for seq, text in sorted(story):
        print(f"{seq:5} {text}")


def _request(row: Row) -> str:
    fate = f" [{row['fault']}]" if row["fault"] else ""
    body = " " + json.dumps(row["body"], ensure_ascii=False)[:300] if row["kind"] == "write" else ""
    what = f"{row['machine']} {row['side']} {row['method']} {row['target'][:90]}"
    return f"{what}{fate} -> {row.get('heard')} n={row['n']}{body}"


def _said(row: Row) -> str:
    end = "dies" if row["crashed"] else (row["error"] or row["bug"] or "done")
    others = [
        f"{one['outcome']} {one['system']} {one['unit']} {one['record_id']}"
        for one in row["outcomes"]
        if one["outcome"] != "confirmed"
    ]
    return f"{end} {row['message'] or ''} plan={(row['plan'] or '')[:10]} {others[:6]}"


def sweep(seeds: Iterable[int], workers: int, results: Path) -> None:
    """Live all seeds that the results don't hold yet; a line is kept for each as it ends."""
    results.parent.mkdir(parents=True, exist_ok=True)
    done = {row["seed"] for row in read(results)}
    left = iter([seed for seed in seeds if seed not in done])
    commit = commit_at_hand()[:7]
    started, count = time.monotonic(), 0
    with results.open("a") as file:
        for row in _in_children(left, workers):
            row |= {"commit": commit}
            file.write(json.dumps(_kept(row), separators=(",", ":")) + "\n")
            file.flush()
            count += 1
            if row["violations"]:
                print(
                    f"seed {row['seed']} FAILED; again: python -m tests.chaos --seed {row['seed']} -v",
                    flush=True,
                )
                for text in row["violations"][:5]:
                    print(f"    {text.strip().splitlines()[-1][:300]}", flush=True)
            if count % 100 == 0:
                print(f"{count} seeds, {(time.monotonic() - started) / count:.2f} s each", flush=True)


def _in_children(seeds: Iterator[int], workers: int) -> Iterator[Row]:
    """Hand seeds to processes, each as soon as it is free; one that dies is told, and replaced."""
    import selectors

    chosen = selectors.DefaultSelector()
    at_work: dict[Any, tuple[subprocess.Popen[str], int]] = {}

    def give(process: subprocess.Popen[str]) -> bool:
        seed = next(seeds, None)
        if seed is None:
            process.stdin.close()  # type: ignore[union-attr]
            process.wait(30)
            return False
        process.stdin.write(f"{seed}\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        at_work[process.stdout] = (process, seed)
        return True

    def start() -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos", "--child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
        if give(process):
            chosen.register(process.stdout, selectors.EVENT_READ)

    for _ in range(workers):
        start()
    while at_work:
        for key, _ in chosen.select():
            process, seed = at_work.pop(key.fileobj)
            line = process.stdout.readline()  # type: ignore[union-attr]
            if line:
                yield json.loads(line)
                if not give(process):
                    chosen.unregister(key.fileobj)
            else:
                chosen.unregister(key.fileobj)
                yield {
                    "seed": seed,
                    "mode": "memory",
                    "violations": [f"harness: the process ended with {process.wait(30)}"],
                    "rare": {},
                    "seconds": 0.0,
                    "parts": {},
                    "requests": 0,
                    "commands": 0,
                    "trace": "",
                }
                start()


def _kept(row: Row) -> Row:
    """What the file of results keeps of a seed: it grows with the sweep, and stands in the repository."""
    return {name: value for name, value in row.items() if name not in UNKEPT and value != USUAL.get(name)}


def read(results: Path) -> list[Row]:
    """The results, one row a seed (the newest)."""
    if not results.exists():
        return []
    rows = [USUAL | json.loads(line) for line in results.read_text().splitlines() if line.strip()]
    return list({row["seed"]: row for row in rows}.values())


def tell(rows: list[Row], *, minima: bool) -> int:
    """Print the tables; gives the exit code."""
    from tests.chaos.rare import REQUIRED, wanted

    failed = [row for row in rows if row["violations"]]
    texts = [text for row in failed for text in row["violations"]]
    kinds = {name: sum(text.startswith(name) for text in texts) for name in RULES}
    seconds = [row["seconds"] for row in rows]
    print(f"\n| seeds | failed | {' | '.join(kinds)} | over sockets | requests | s a seed |")
    print("|" + "---|" * (len(kinds) + 5))
    print(f"| {len(rows)} | {len(failed)} | {' | '.join(map(str, kinds.values()))} "
          f"| {sum(row['mode'] == 'sockets' for row in rows)} | {sum(row['requests'] for row in rows)} "
          f"| {sum(seconds) / max(len(rows), 1):.2f} |")  # fmt: skip
    counts: dict[str, int] = {}
    for row in rows:
        for name, count in row["rare"].items():
            counts[name] = counts.get(name, 0) + count
    least = wanted(len(rows))
    short = []
    print("\n| state | reached | required |\n|---|---|---|")
    for name in sorted({*counts, *REQUIRED}):
        need = least if name in REQUIRED else 0
        reached = counts.get(name, 0)
        print(f"| {name} | {reached} | {need or ''} |")
        if reached < need:
            short.append(name)
    if short and minima:
        print(f"\nnot reached often enough: {', '.join(short)}")
    for row in failed[:20]:
        print(f"seed {row['seed']}: python -m tests.chaos --seed {row['seed']} -v")
    return int(bool(failed) or (minima and bool(short)))


if __name__ == "__main__":
    main()

"""Runs schedules over the protocol's own code, and tells how they ended.

    python -m tests.model --seeds 20000            so many seeds, those of the commit at hand
    python -m tests.model --seeds 1000 --start 7   from that seed on
    python -m tests.model --seed 4711              one seed again, with what happened
    python -m tests.model --schedule JSON          one schedule again
    python -m tests.model --exhaustive             every single and double fault and crash
    python -m tests.model --exhaustive --part 20   every 20th of them

Exit 1 where a schedule ended badly, or a rare state was not reached often enough.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.model.run import Sum, commit_seed, few, of_all, of_seeds, one

PINNED = Path(__file__).parent / "pinned.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the push's protocol against simulated vendors.")
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument(
        "--start", type=int, default=None, help="the first seed; else it follows from the commit"
    )
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--schedule", default=None)
    parser.add_argument("--exhaustive", action="store_true")
    parser.add_argument(
        "--part", type=int, default=1, help="every so-manieth schedule of the exhaustive part"
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None or options.schedule:
        return again(options.seed, options.schedule)
    began = time.monotonic()
    total = Sum()
    if options.exhaustive:
        total += of_all(options.part, options.jobs)
    if options.seeds:
        start = commit_seed() if options.start is None else options.start
        print(f"seeds {start} to {start + options.seeds - 1}")
        total += of_seeds(range(start, start + options.seeds), options.jobs)
    took_s = time.monotonic() - began
    print(
        f"{total.runs} schedules in {took_s:.1f} s: {total.runs / took_s:.0f} a second; {len(total.failed)} failed"
    )
    for state, times in sorted(total.counts.items(), key=lambda pair: -pair[1]):
        print(f"  {state:32} {times:9}")
    for replay, faults in total.failed[:20]:
        print(f"python -m tests.model {replay}\n    {'; '.join(faults[:4])}")
    rare = few(total) if options.seeds else []
    for state, times, wanted in rare:
        print(f"reached only {times} times, wanted {wanted}: {state}")
    return 1 if total.failed or rare else 0


def again(seed: int | None, schedule: str | None) -> int:
    told, faults, counts = one(seed, None if schedule is None else json.loads(schedule))
    print(json.dumps(told))
    for state, times in sorted(counts.items()):
        print(f"  {state:32} {times:9}")
    print("\n".join(faults) or "it ended well")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

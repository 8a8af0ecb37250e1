"""Breaks the protocol in one way at a time, and lets the model find it.

    python -m tests.mutants                 all mutants, up to 20,000 seeds each
    python -m tests.mutants --only no_wait  one of them
    python -m tests.mutants --keep          also writes killers.json: what the quick test runs

Prints a table: mutant, what is broken, what the oracle said, after how many schedules. Exit 1 where one lives.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.model.run import outcome_of
from tests.model.seeds import by_seed
from tests.model.world import Schedule
from tests.mutants.mutants import MUTANTS, Mutant

KILLERS = Path(__file__).parent / "killers.json"
BY_NAME = {one.name: one for one in MUTANTS}


def hunt(name: str, most: int) -> tuple[str, int, str, float, dict | None]:
    """Try a mutant on seed after seed; gives its name, runs, what was said, seconds, and the schedule."""
    began = time.monotonic()
    mutant = BY_NAME[name]
    for seed in range(mutant.since, mutant.since + most):
        schedule = by_seed(seed)
        with mutant.laid():
            faults, _ = outcome_of(schedule)
        # What goes wrong for want of the layers alone is no proof that the mutant was seen.
        if faults and not faults_without(mutant, schedule):
            return name, seed + 1, faults[0], time.monotonic() - began, schedule.told()
    return name, mutant.since + most, "", time.monotonic() - began, None


def faults_without(mutant: Mutant, schedule: Schedule) -> list[str]:
    """Give what is wrong where the same layers are off, and nothing is broken."""
    with replace(mutant, patches=list).laid():
        return outcome_of(schedule)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="Let the model find deliberate faults in the protocol.")
    parser.add_argument("--only", default="")
    parser.add_argument("--most", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    names = [one.name for one in MUTANTS if options.only in ("", one.name)]
    killers = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
    alive = []
    print("| mutant | what is broken | layers off | schedules | the oracle said |\n|---|---|---|---|---|")
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, runs, said, _, schedule in pool.map(hunt, names, [options.most] * len(names)):
            one = BY_NAME[name]
            print(f"| {name} | {one.what} | {', '.join(one.bare)} | {runs} | {said or 'LIVES'} |", flush=True)
            if schedule is None:
                alive.append(name)
            else:
                killers[name] = schedule
    print(f"{len(names) - len(alive)} of {len(names)} caught")
    if options.keep:
        KILLERS.write_text(json.dumps(killers, indent=1, sort_keys=True) + "\n")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())

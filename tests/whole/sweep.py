"""Every value of every dialect switch, and combinations by seed: `make dialects`.

Prints a table: switch, value, applies that the adoption and the edits took, result. Exit 1 where one fails.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from dialect_runs import SWITCHES, Dialects, Result, run, single_choices


def choices(only: str | None, combinations: int, seed: int) -> Iterator[tuple[str, str, Dialects]]:
    """(switch, value, dialects): the defaults, each single value, then everything at random."""
    if only is None:
        yield "(defaults)", "", {}
    for side, switch, value in single_choices():
        if only in (None, switch.name):
            yield f"{side}.{switch.name}", str(value), {side: {switch.name: value}}
    for number in range(0 if only else combinations):
        yield "(combination)", f"seed {seed + number}", combination(seed + number)


def combination(seed: int) -> Dialects:
    """One value of each switch of both sides, by seed."""
    draw = random.Random(seed)
    return {
        side: {switch.name: draw.choice(switch.values) for switch in switches}
        for side, switches in SWITCHES.items()
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", help="one switch")
    asked.add_argument("--combinations", type=int, default=10)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    failed = 0
    for name, value, dialects in choices(given.only, given.combinations, given.seed):
        started = time.monotonic()
        result = _run(dialects)
        failed += bool(result.wrong)
        seconds = time.monotonic() - started
        verdict = "FAILED" if result.wrong else "ok"
        print(
            f"| {name} | {value} | {result.adoption} | {result.edits} | {verdict} | {seconds:.0f} s |",
            flush=True,
        )
        for text in result.wrong:
            print(f"      {text}", flush=True)
    print(f"{failed} failed")
    raise SystemExit(1 if failed else 0)


def _run(dialects: Dialects) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(Path(folder) / "pair", dialects)
        except Exception as error:  # noqa: BLE001 - one dialect must not end the sweep
            return Result(0, 0, (f"{type(error).__name__}: {error}",))


if __name__ == "__main__":
    main()

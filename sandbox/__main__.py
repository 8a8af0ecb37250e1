"""`python -m sandbox serve --state DIR`: both systems as local servers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sandbox.dialect import UnknownSwitch
from sandbox.serve import SIDES, WrongState, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "serve", help="serve both until SIGTERM; prints one line of JSON when ready"
    )
    command.add_argument("--state", type=Path, required=True, help="directory that holds everything")
    command.add_argument(
        "--seed",
        help="demo (of a fresh state the default), empty, parties:N:SEED:DIRT[:DEALS] or sales:N:SEED[:ORDERS]",
    )
    command.add_argument("--xero-port", type=int, default=0)
    command.add_argument("--salesforce-port", type=int, default=0)
    command.add_argument("--limits", choices=("real", "off"), default="real")
    command.add_argument("--dialect", type=Path, help="TOML or JSON with tables xero and salesforce")
    command.add_argument("--side", action="append", choices=SIDES, help="serve only this one")
    given = parser.parse_args()
    try:
        serve(
            given.state,
            seed=given.seed,
            xero_port=given.xero_port,
            salesforce_port=given.salesforce_port,
            limits=given.limits,
            dialect=given.dialect,
            sides=tuple(given.side or SIDES),
        )
    except (WrongState, UnknownSwitch, OSError, ModuleNotFoundError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The whole job on two sandboxed systems: from two books that differ to two that agree."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from reconcile.errors import FixSettings

SETTINGS = """\
# The demo's pair: two servers on this machine. Made by `reconcile demo`; the key below protects nothing real.
[pair]
name = "demo"
environment = "sandbox"
data_dir = "data"
region = "GB"

[salesforce]
login_url = "{salesforce[login_url]}"
auth = "jwt"
client_id = "{salesforce[client_id]}"
username = "{salesforce[username]}"
private_key_file = "{salesforce[private_key_file]}"
audience = "{salesforce[audience]}"

[xero]
api_url = "{xero[api_url]}"
identity_url = "{xero[identity_url]}"
login_url = "{xero[login_url]}"
client_id = "{xero[client_id]}"
client_secret = "{xero[client_secret]}"
tenant_id = "{xero[tenant_id]}"

[journal]
key = "{key}"

[mapping]
file = "mapping.yaml"
"""

MAPPING = """\
# The demo keeps to the shipped `demo` mapping. Change a line and run `reconcile plan` to see what it does.
extends: [demo]
"""


def run_demo(folder: Path, *, keep: bool = False) -> None:
    """Make a fresh pair in the folder, run pull to report on it, and say what to try next.

    Raises FixSettings where the folder holds something that no demo made.
    """
    started = time.monotonic()
    _fresh(folder)
    with sandbox(folder / "sandbox") as line:
        settings = write_settings(folder, line)
        _story(folder, settings)
        _next_steps(folder, line, time.monotonic() - started)
        if keep:
            _wait(line)


def _fresh(folder: Path) -> None:
    marker = folder / "demo.toml"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise FixSettings(f"{folder}: holds files that no demo made. Name another folder by --dir.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


@contextmanager
def sandbox(state: Path, *, seed: str = "demo", limits: str = "real") -> Iterator[dict[str, Any]]:
    """Serve both sandboxed systems in a process of their own while this lasts; gives their line of JSON."""
    command = [
        sys.executable,
        "-m",
        "sandbox",
        "serve",
        "--state",
        str(state),
        "--seed",
        seed,
        "--limits",
        limits,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise FixSettings("the sandbox did not start; its message stands above.")
            yield json.loads(line)
        finally:
            process.terminate()
            process.wait(timeout=20)


def write_settings(folder: Path, line: dict[str, Any]) -> Path:
    """Write the settings and mapping of a sandboxed pair; gives the settings file."""
    path = folder / "demo.toml"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(SETTINGS.format(**line, key=secrets.token_hex(32)))
    (folder / "mapping.yaml").write_text(MAPPING)
    return path


def _story(folder: Path, settings: Path) -> None:
    from flows import gather, show
    from pipelines import runs

    with runs.open_context(settings, progress=show.progress(quiet=False)) as ctx:
        _title("1. What differs? Nothing is written by a plan.")
        planned = runs.plan(ctx)
        show.plan(planned, as_json=False, everything=False)
        _standing("before", planned)

        _title("2. Name what may be written to")
        runs.enable_writes(ctx, pair="demo", environment="sandbox")
        for number, phases in enumerate((("link",), ("fill", "settle"), ("create", "change")), start=3):
            planned = planned if number == 3 else runs.plan(ctx)
            if not any(planned.phases()[phase] for phase in phases):
                continue
            _title(f"{number}. Apply: {' and '.join(phases)}")
            show.applied(runs.apply(ctx, planned, phases=phases, approved=True), as_json=False)

        _title("6. And now?")
        planned = runs.plan(ctx)
        show.plan(planned, as_json=False, everything=False)
        _standing("after", planned)
        data = gather.report_data(ctx)
        page = gather.write_report(ctx, data)
        gather.publish(ctx, data)
        click.echo(f"\nThe report: {page}")


def _title(text: str) -> None:
    click.echo("\n" + click.style(text, bold=True, fg="blue"))


def _standing(when: str, planned: Any) -> None:
    click.echo(
        click.style(f"drift {when}: ", bold=True) + f"{planned.operations.height} operations planned, "
        f"{planned.drift.height} differences left standing, "
        f"{planned.conflicts.height} conflicts, {planned.review.height} links to review, "
        f"{planned.unmatched.height} records without a partner"
    )


def _next_steps(folder: Path, line: dict[str, Any], seconds: float) -> None:
    settings = folder / "demo.toml"
    ports = [
        line[side][key].rpartition(":")[2] for side, key in (("xero", "api_url"), ("salesforce", "login_url"))
    ]
    click.echo(f"""
Done in {seconds:.0f} s. To go on, start both systems again as they are now, in another terminal:
  reconcile sandbox serve --state {folder / "sandbox"} --xero-port {ports[0]} --salesforce-port {ports[1]}
and then try:
  reconcile plan --settings {settings}            nothing to do
  reconcile links review --settings {settings}    what a person should decide
  reconcile report --settings {settings}          the drift report
(the command stands in .venv/bin; in Prefect's pages: see the README)""")


def _wait(line: dict[str, Any]) -> None:
    click.echo(
        f"\nThe sandbox stays up until Ctrl-C: {line['xero']['api_url']}, {line['salesforce']['login_url']}"
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("stopped.")

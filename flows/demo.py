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
scopes = "accounting.contacts accounting.settings.read accounting.invoices"

[journal]
key = "{key}"

[limits]
shared_dir = "shared"   # with the demo, so that a fresh one begins with a fresh minute
xero_calls_a_minute = {calls}

[audit]
history = "documents"   # of each customer too is a call each: here a minute's wait

[mapping]
file = "mapping.yaml"
"""

MAPPING = """\
# The demo keeps to the shipped `demo` mapping. Change a line and run `reconcile plan` to see what it does.
extends: [demo]
"""


API = "/services/data/v67.0"
DEAL = "United Oil & Gas UK: three rigs"  # of the demo's seed: open, with lines


def run_demo(folder: Path, *, keep: bool = False, month: bool = False) -> None:
    """Make a fresh pair in the folder, run pull to report on it, and say what to try next.

    month: a month of business follows; without the vendors' limits, for it asks more often than they let.
    Raises FixSettings where the folder holds something that no demo made.
    """
    started = time.monotonic()
    _fresh(folder)
    limits = "off" if month else "real"
    with sandbox(folder / "sandbox", limits=limits) as line:
        settings = write_settings(folder, line, limits=limits)
        _story(settings, line)
        if month:
            _month(settings, line)
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


def write_settings(folder: Path, line: dict[str, Any], *, limits: str = "real") -> Path:
    """Write the settings and mapping of a sandboxed pair; gives the settings file."""
    path = folder / "demo.toml"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        calls = 60 if limits == "real" else 1_000_000
        file.write(SETTINGS.format(**line, key=secrets.token_hex(32), calls=calls))
    (folder / "mapping.yaml").write_text(MAPPING)
    return path


def _story(settings: Path, line: dict[str, Any]) -> None:
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

        _title(f"7. Somebody in sales closes a deal: {DEAL}")
        close_deal(line, DEAL)
        planned = runs.plan(ctx)
        show.plan(planned, as_json=False, everything=False)
        show.applied(runs.apply(ctx, planned, approved=True), as_json=False)
        _title("8. The invoice is made, once: nothing is left to do")
        show.plan(runs.plan(ctx), as_json=False, everything=False)
        data = gather.report_data(ctx)
        page = gather.write_report(ctx, data)
        gather.publish(ctx, data)
        click.echo(f"\nThe report: {page}")


def _month(settings: Path, line: dict[str, Any]) -> None:
    from flows import demo_month, gather, show, show_totals
    from pipelines import runs

    people = demo_month.People(line)
    try:
        people.set_up()
        demo_month.write_mapping(settings.parent)
        with runs.open_context(settings, progress=show.progress(quiet=False)) as ctx:
            planned = demo_month.live_through(ctx, people, tell=_title)
            both = planned.control_totals, planned.differences
            show_totals.printed(planned, *both, as_json=False, everything=False)
            data = gather.report_data(ctx)
            page = gather.write_report(ctx, data)
            gather.publish(ctx, data)
            click.echo(f"\nThe report: {page}")
    finally:
        people.close()


def close_deal(line: dict[str, Any], name: str) -> str:
    """Close an opportunity as won, as a person does in Salesforce, who knows nothing of us; gives its Id."""
    import httpx

    person = {key: line["salesforce"]["person"][key] for key in ("client_id", "client_secret")}
    with httpx.Client(base_url=line["salesforce"]["login_url"], timeout=20) as http:
        form = {"grant_type": "client_credentials", **person}
        token = http.post("/services/oauth2/token", data=form).raise_for_status().json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        query = f"select Id from Opportunity where Name = '{name}'"  # noqa: S608 (SOQL, of our own name)
        found = http.get(f"{API}/query", params={"q": query}).raise_for_status().json()["records"]
        won = http.patch(f"{API}/sobjects/Opportunity/{found[0]['Id']}", json={"StageName": "Closed Won"})
        won.raise_for_status()
        return str(found[0]["Id"])


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
  reconcile totals --settings {settings}          what both books hold of sales, and why they differ
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

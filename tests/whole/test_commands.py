"""What docs/scripting.md promises to scripts: options, JSON keys and exit codes of each command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from whole_pair import SIDES, Pair

from flows.cli import reconcile

ROOT = Path(__file__).parents[2]
PROMISES = (ROOT / "docs" / "scripting.md").read_text(encoding="utf-8")
OUTCOMES = {"confirmed", "adopted", "rejected", "overtaken", "waiting", "unknown"}


def promised(command: str) -> set[str]:
    """The keys that the table of docs/scripting.md names for a command."""
    row = next(
        line for line in PROMISES.splitlines() if line.startswith("| ") and command in line.split("|")[1]
    )
    told = re.sub(r"\([^)]*\)", "", row.split("|")[2])  # in brackets: what a key holds
    return set(re.findall(r"`(\w+)`", told))


def commands(group: click.Group = reconcile, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*above, name))
        if isinstance(command, click.Group):
            found += commands(command, (*above, name))
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_each_command_teaches_its_use(path: tuple[str, ...]) -> None:
    command: click.Command = reconcile
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help and command.help.strip().endswith((".", ".\n"))
    with click.Context(command, info_name=path[-1]) as ctx:
        assert command.get_help(ctx).startswith("Usage:")
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in ("help", "folder"):
            assert option.help, f"{' '.join(path)} {option.opts}"


@pytest.mark.parametrize(
    "name", ["doctor", "pull", "plan", "show", "apply", "report", "links", "status", "enable-writes"]
)
def test_each_command_that_reports_takes_settings_and_json(name: str) -> None:
    options = {opt for param in reconcile.commands[name].params for opt in param.opts}
    assert {"--settings", "--json"} <= options


def test_the_json_of_each_command_has_the_keys_that_the_docs_promise(pair: Pair) -> None:
    """One story: edit, pull, plan, show, apply, links, report, status, doctor, enable-writes."""
    account, contact = pair.linked()[8]
    torn, torn_there = pair.linked()[9]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0123")
    pair.in_salesforce.change(torn["Id"], AccountNumber="A")
    pair.in_xero.change(torn_there["ContactID"], AccountNumber="B")

    pulled = pair.command("pull", "--json")
    assert pulled.code == 0
    assert set(pulled.json()) == {"snapshot", "objects", "calls", "news"} == promised("`pull --json`")
    assert set(pulled.json()["calls"]) == set(SIDES)

    planned = pair.command("plan", "--no-pull", "--json")
    shown = pair.command("show", "--json")
    for said, code in ((planned, 3), (shown, 0)):
        assert said.code in (code, 3)
        assert promised("`plan --json`") <= set(said.json())
    (operation,) = planned.json()["operations"]
    assert promised("an operation") <= set(operation)
    assert operation["id"] == contact["ContactID"]
    assert (operation["system"], operation["unit"], operation["action"]) == ("xero", "fax", "update")
    assert [row["unit"] for row in planned.json()["conflicts"]] == ["account_number"]
    assert Path(planned.json()["file"]).exists()
    assert set(planned.json()["cost"]) == set(SIDES)

    waiting = pair.command("status", "--json")
    assert waiting.code == 0
    assert promised("`status --json`") <= set(waiting.json())
    assert waiting.json()["waits"]["operations"] == 1
    assert waiting.json()["waits"]["conflicts"] == 1

    applied = pair.command("apply", planned.json()["plan"][:8], "--phase", "link,change", "--yes", "--json")
    assert applied.code == 0
    assert {"plan", "outcomes", "counts", "calls"} <= set(applied.json())
    (outcome,) = applied.json()["outcomes"]
    assert {"operation_id", "system", "entity", "record_id", "unit", "phase", "outcome", "message"} <= set(
        outcome
    )
    assert outcome["operation_id"] == operation["operation_id"]
    assert outcome["outcome"] in OUTCOMES

    links = pair.command("links", "--json").json()
    assert links and all(promised("`links --json`") <= set(row) for row in links)
    assert {row["status"] for row in links} == {"linked", "review"}

    report = pair.command("report", "--json")
    assert report.code == 0
    assert "conflicts" in report.out and "drift" in report.out and "matched" in report.out
    assert "Traceback" not in report.err

    pins = pair.command("enable-writes", "--pair", "demo", "--environment", "sandbox", "--json")
    assert pins.code == 0
    assert pins.json()["xero_tenant_id"] == pair.line["xero"]["tenant_id"]

    last = pair.command("plan", "--json")
    assert (last.code, last.json()["operations"]) == (0, [])


def test_a_review_is_decided_by_command(pair: Pair) -> None:
    queue = pair.command_in_group("links", "review", "--json").json()
    assert len(queue) >= 2
    accepted, refused = queue[0]["link_id"], queue[1]["link_id"]
    assert pair.command_in_group("links", "accept", accepted, "--json").code == 0
    assert pair.command_in_group("links", "refuse", refused, "--json").code == 0
    assert pair.command("plan", "--json").code == 3
    pair.adopt()
    links = {row["link_id"]: row["status"] for row in pair.command("links", "--json").json()}
    assert links[accepted] == "linked"
    assert links[refused] == "refused"
    left = pair.command_in_group("links", "review", "--json").json()
    assert {accepted, refused}.isdisjoint(row["link_id"] for row in left)
    wrong = pair.command_in_group("links", "accept", "no-such-link", "--json")
    assert (wrong.code, wrong.json()["error"]) == (1, "FixData")


def test_a_conflict_is_resolved_by_command(pair: Pair) -> None:
    torn, torn_there = pair.linked()[9]
    pair.in_salesforce.change(torn["Id"], AccountNumber="A")
    pair.in_xero.change(torn_there["ContactID"], AccountNumber="B")
    assert pair.command("plan", "--json").code == 0  # a conflict alone is nothing that an apply could do
    said = pair.command("resolve", torn["Id"], "account_number", "--take", "xero", "--json")
    assert (said.code, said.json()["take"]) == (0, "xero")
    assert pair.command("plan", "--json").code == 3
    assert pair.command("apply", "--yes", "--json").code == 0
    assert pair.row(torn["Id"])["AccountNumber"] == "B"
    wrong = pair.command("resolve", torn["Id"], "nonsense", "--take", "xero", "--json")
    assert (wrong.code, wrong.json()["error"]) == (1, "FixData")


def test_wrong_usage_ends_with_two(pair: Pair) -> None:
    for given in (
        ["plan", "--nonsense"],
        ["apply", "--phase", "nonsense"],
        ["resolve", "x", "phone", "--take", "both"],
    ):
        said = pair.command(*given)
        assert said.code == 2, given
        assert "Traceback" not in said.err
    other = pair.command("enable-writes", "--pair", "other", "--environment", "sandbox", "--json")
    assert (other.code, other.json()["error"]) == (2, "FixSettings")


def run(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "reconcile"), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=folder, env={**os.environ, **environment}
    )


def test_init_then_doctor_by_the_real_command(pair: Pair) -> None:
    """A person's first minutes, in processes of their own; every key comes by the environment, as in a container."""
    folder = pair.folder / "first"
    folder.mkdir()
    made = run("init", "--pair", "demo", folder=folder)
    assert (made.returncode, made.stdout) == (0, "")
    assert "reconcile doctor" in made.stderr
    assert (folder / "reconcile.toml").stat().st_mode & 0o077 == 0
    again = run("init", folder=folder)
    assert again.returncode == 2
    assert "reconcile.toml" in again.stderr and "Traceback" not in again.stderr

    keys = ("api_url", "identity_url", "login_url", "client_id", "client_secret", "tenant_id")
    by_environment = {f"RECONCILE_XERO__{key.upper()}": pair.line["xero"][key] for key in keys}
    keys = ("login_url", "client_id", "username", "private_key_file", "audience")
    by_environment |= {f"RECONCILE_SALESFORCE__{key.upper()}": pair.line["salesforce"][key] for key in keys}
    by_environment["RECONCILE_JOURNAL__KEY"] = "ab" * 32
    examined = run("doctor", "--json", folder=folder, **by_environment)
    findings: list[dict[str, Any]] = json.loads(examined.stdout)
    assert all(promised("`doctor --json`") <= set(finding) for finding in findings)
    assert [finding for finding in findings if finding["state"] == "fail"] == []
    assert examined.returncode == 0, examined.stderr

    by_environment["RECONCILE_XERO__CLIENT_SECRET"] = "wrong-secret"
    sick = run("doctor", "--json", folder=folder, **by_environment)
    assert sick.returncode == 1
    assert any(
        finding["state"] == "fail" and "xero" in finding["check"].lower()
        for finding in json.loads(sick.stdout)
    )
    assert "Traceback" not in sick.stderr and "wrong-secret" not in sick.stdout + sick.stderr


def test_plan_and_apply_by_the_real_command(pair: Pair) -> None:
    account, contact = pair.linked()[8]
    pair.in_salesforce.change(account["Id"], Fax="020 7946 0123")
    settings = ("--settings", pair.settings)
    planned = run("plan", *settings, "--json", folder=pair.folder)
    assert (planned.returncode, planned.stderr) == (3, ""), planned.stderr[-2000:]
    assert len(json.loads(planned.stdout)["operations"]) == 1
    applied = run("apply", *settings, "--yes", folder=pair.folder)
    assert applied.returncode == 0, applied.stderr
    assert "confirmed 1" in applied.stdout
    assert "0123" in json.dumps(pair.contact(contact["ContactID"]))
    quiet = run("plan", *settings, folder=pair.folder)
    assert quiet.returncode == 0
    assert "Nothing to do" in quiet.stdout

"""A pair of sandboxed systems with the product on it, and a person on each side who edits by hand.

What holds on a side is read here through the sandbox's dump and request log, never through our own code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import polars as pl

import expectations.checks
from flows.cli import main
from flows.demo import write_settings
from pipelines import answers, pull, runs
from pipelines.plans import Planned
from reconcile import model
from sandbox.serve import start
from tests.chaos import quick_load

SIDES = ("salesforce", "xero")
Body = dict[str, Any]


class XeroPerson:
    """Someone in Xero: another client, who knows nothing of us."""

    def __init__(self, line: Body) -> None:
        xero = line["xero"]
        self.http = httpx.Client(base_url=xero["api_url"], timeout=20)
        login = {name: xero["person"][name] for name in ("client_id", "client_secret")}
        form = {"grant_type": "client_credentials", "scope": "accounting.contacts", **login}
        reply = self.http.post("/connect/token", data=form)
        assert reply.status_code == 200, reply.text
        token, tenant = reply.json()["access_token"], xero["tenant_id"]
        self.http.headers.update({"Authorization": f"Bearer {token}", "xero-tenant-id": tenant})

    def change(self, xero_id: str, **fields: Any) -> Body:
        reply = self.http.post("/api.xro/2.0/Contacts", json={"Contacts": [{"ContactID": xero_id, **fields}]})
        assert reply.status_code == 200, reply.text
        return reply.json()["Contacts"][0]

    def make(self, **fields: Any) -> str:
        reply = self.http.put("/api.xro/2.0/Contacts", json={"Contacts": [fields]})
        assert reply.status_code == 200, reply.text
        return reply.json()["Contacts"][0]["ContactID"]

    def archive(self, xero_id: str) -> None:
        self.change(xero_id, ContactStatus="ARCHIVED")

    def merge(self, *, loser: str, survivor: str) -> None:
        reply = self.http.post("/sandbox/merge-contacts", json={"loser": loser, "survivor": survivor})
        assert reply.status_code == 200, reply.text


class SalesforcePerson:
    """Someone in Salesforce, likewise."""

    def __init__(self, line: Body) -> None:
        salesforce = line["salesforce"]
        self.http = httpx.Client(base_url=salesforce["login_url"], timeout=20)
        login = {name: salesforce["person"][name] for name in ("client_id", "client_secret")}
        reply = self.http.post("/services/oauth2/token", data={"grant_type": "client_credentials", **login})
        assert reply.status_code == 200, reply.text
        self.http.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"

    def change(self, salesforce_id: str, **fields: Any) -> None:
        reply = self.http.patch(_row(salesforce_id), json=fields)
        assert reply.status_code == 204, reply.text

    def make(self, kind: str, **fields: Any) -> str:
        reply = self.http.post(f"/services/data/v67.0/sobjects/{kind}", json=fields)
        assert reply.status_code == 201, reply.text
        return reply.json()["id"]

    def delete(self, salesforce_id: str) -> None:
        reply = self.http.delete(_row(salesforce_id))
        assert reply.status_code == 204, reply.text

    def merge(self, *, loser: str, survivor: str) -> None:
        wanted = {"object": _object(survivor), "survivor": survivor, "loser": loser}
        reply = self.http.post("/sandbox/merge", json=wanted)
        assert reply.status_code == 200, reply.text


def _object(salesforce_id: str) -> str:
    return {"001": "Account", "003": "Contact"}[salesforce_id[:3]]


def _row(salesforce_id: str) -> str:
    return f"/services/data/v67.0/sobjects/{_object(salesforce_id)}/{salesforce_id}"


@dataclass(frozen=True)
class Said:
    """What a command gave: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[str]:
        """The lines on stderr that are no progress."""
        return [line for line in self.err.splitlines() if line.strip() and not line.startswith("·")]

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Pair:
    """Both systems, running, and the settings file of the pair that they make.

    checked: with Great Expectations (1.5 s a plan), whose own tests stand in tests/expectations, and with dlt, in
    the place of which plain SQL leaves the same tables (a test in tests/chaos holds it).
    """

    folder: Path
    line: Body
    settings: Path
    checked: bool = False
    told: list[str] = field(default_factory=list)

    @cached_property
    def in_xero(self) -> XeroPerson:
        return XeroPerson(self.line)

    @cached_property
    def in_salesforce(self) -> SalesforcePerson:
        return SalesforcePerson(self.line)

    # --- the product ---

    @contextmanager
    def opened(self, *, offline: bool = False) -> Iterator[runs.Context]:
        with runs.open_context(self.settings, progress=self.told.append, offline=offline) as ctx:
            yield ctx

    def plan(self, **options: Any) -> Planned:
        with self._checks(), self.opened() as ctx:
            return runs.plan(ctx, **options)

    def apply(self, planned: Planned, phases: Sequence[str] = ()) -> pl.DataFrame:
        """Push the plan as it was loaded from its files; gives the outcomes."""
        with self.opened() as ctx:
            loaded = runs.load_plan(ctx, planned.hash)
            return runs.apply(ctx, loaded, phases=phases, approved=True).outcomes

    def enable_writes(self) -> None:
        with self.opened() as ctx:
            runs.enable_writes(ctx, pair="demo", environment="sandbox")

    def adopt(self, *, rounds: int = 6) -> Planned:
        """Apply plan after plan until one has nothing to do; gives that one."""
        planned = self.plan()
        for _ in range(rounds):
            if not planned.waits:
                return planned
            outcomes = self.apply(planned)
            failed = outcomes.filter(~pl.col("outcome").is_in(["confirmed", "adopted"]))
            assert failed.is_empty(), failed.to_dicts()
            planned = self.plan()
        raise AssertionError(f"not quiet after {rounds} rounds: {brief(planned)}")

    def resolve(self, record_id: str, unit: str, take: str) -> None:
        with self.opened(offline=True) as ctx:
            answers.resolve(ctx, record_id, unit, take)

    def command(self, *arguments: str, **environment: str) -> Said:
        """Run one command as a terminal would, in this process: its code, its results, its messages."""
        return self._run([*arguments, "--settings", str(self.settings)], environment)

    def command_in_group(self, group: str, *arguments: str) -> Said:
        """Likewise; settings and --json belong to the group, before the command's own words."""
        words = [word for word in arguments if word != "--json"]
        options = ["--settings", str(self.settings), *(["--json"] if "--json" in arguments else [])]
        return self._run([group, *options, *words], {})

    def _run(self, given: Sequence[str], environment: Mapping[str, str]) -> Said:
        out, err = StringIO(), StringIO()
        with (
            self._checks(),
            patch.dict(os.environ, environment),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main(given)
            except SystemExit as done:
                return Said(int(done.code or 0), out.getvalue(), err.getvalue())
        raise AssertionError("a command ends with an exit code")

    def set(self, section: str, **keys: str | float) -> None:
        """Change or add keys of the settings file."""
        text = self.settings.read_text()
        if f"[{section}]" not in text:
            text += f"\n[{section}]\n"
        for name, value in keys.items():
            text = re.sub(rf"(\[{section}\][^\[]*?)^{name} = [^\n]*\n", r"\1", text, flags=re.M | re.S)
            text = text.replace(f"[{section}]\n", f"[{section}]\n{name} = {json.dumps(value)}\n")
        self.settings.write_text(text)

    def log_out(self) -> None:
        """Forget our tokens: the next run logs in."""
        with self.opened(offline=True) as ctx:
            for side in SIDES:
                ctx.journal.tokens.forget(side)

    @contextmanager
    def _checks(self) -> Iterator[None]:
        """Leave out what costs most and has tests of its own: Great Expectations, and dlt's way to load."""
        if self.checked:
            yield
            return
        with (
            patch.object(expectations.checks, "run_checks", _nothing_found),
            patch.object(pull, "_load", quick_load.load),
        ):
            yield

    # --- the systems, as they are ---

    def url(self, side: str) -> str:
        return self.line[side]["api_url" if side == "xero" else "instance_url"]

    def control(self, side: str, method: str, page: str, body: Any = None) -> Any:
        reply = httpx.request(method, f"{self.url(side)}/sandbox/{page}", json=body, timeout=20)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def load(self, side: str, rows: Iterable[Body]) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        reply = httpx.post(f"{self.url(side)}/sandbox/load", content=text, timeout=60)
        assert reply.status_code == 200, reply.text

    def dump(self, side: str) -> dict[str, Body]:
        """Every record of a side by its id, archived and deleted ones too; settings have none here."""
        text = httpx.get(f"{self.url(side)}/sandbox/dump", timeout=20).text
        rows = [json.loads(line) for line in text.splitlines()]
        names = ("PaymentID", "InvoiceID", "ItemID", "ContactID", "Id")
        found = ((next((row[name] for name in names if name in row), None), row) for row in rows)
        return {str(which): row for which, row in found if which is not None}

    def contact(self, xero_id: str) -> Body:
        return self.dump("xero")[xero_id]

    def row(self, salesforce_id: str) -> Body:
        return self.dump("salesforce")[salesforce_id]

    def linked(self) -> list[tuple[Body, Body]]:
        """(Account, Xero contact) that name each other, both in use, ordered by Account Id."""
        contacts, rows = self.dump("xero"), self.dump("salesforce")
        return [
            (account, contacts[account["ExternalID__c"]])
            for _, account in sorted(rows.items())
            if account["attributes"]["type"] == "Account"
            and not account["IsDeleted"]
            and contacts.get(account.get("ExternalID__c") or "", {}).get("ContactStatus") == "ACTIVE"
            and contacts[account["ExternalID__c"]].get("ContactNumber") == account["Id"]
        ]

    def requests(self, side: str, *, after: int = 0) -> list[Body]:
        return self.control(side, "GET", f"requests?after={after}")["requests"]

    def last_request(self, side: str) -> int:
        rows = self.requests(side)
        return rows[-1]["n"] if rows else 0

    def marks(self) -> dict[str, int]:
        return {side: self.last_request(side) for side in SIDES}

    def writes(self, marks: Mapping[str, int] | None = None, *, ours: bool = True) -> list[Body]:
        """Requests since the marks that are not reads or logins, of our own client (or of anyone)."""
        found = []
        for side in SIDES:
            our_names = (self.line[side]["client_id"], self.line[side].get("username"))
            for row in self.requests(side, after=(marks or {}).get(side, 0)):
                login = any(word in row["path"] for word in ("/connect/", "/oauth2/", "/sandbox/"))
                if row["method"] != "GET" and not login and (not ours or row["client"] in our_names):
                    found.append({"side": side, **row})
        return found

    def created(self, marks: Mapping[str, int] | None = None) -> list[tuple[str, str]]:
        """(kind, id) of each record made since the marks."""
        return [
            (change[1], change[2])
            for row in self.writes(marks)
            for change in row["changes"] or ()
            if change[0] == "create"
        ]


@contextmanager
def running(
    folder: Path, *, seed: str = "demo", dialect: Mapping[str, Body] | None = None, **options: Any
) -> Iterator[Pair]:
    """A pair in the folder: a fresh one, or the one that is there already, as it was left."""
    folder.mkdir(parents=True, exist_ok=True)
    with start(folder / "sandbox", seed=seed, limits="off") as line:
        settings = folder / "demo.toml"
        if settings.exists():
            _lead_to(settings, line)
        else:
            write_settings(folder, line, limits="off")
        pair = Pair(folder, line, settings, **options)
        for side, chosen in (dialect or {}).items():
            pair.control(side, "POST", "dialect", chosen)
        yield pair


def _lead_to(settings: Path, line: Body) -> None:
    """Make the settings of a moved or restarted pair lead to where its systems are now."""
    text = settings.read_text()
    for side in SIDES:
        for name, value in line[side].items():
            if isinstance(value, str):
                pattern = rf'(\[{side}\][^\[]*?^{name} = )"[^"\n]*"'
                text = re.sub(pattern, lambda m, v=value: f'{m[1]}"{v}"', text, flags=re.M | re.S)
    settings.write_text(text)


@contextmanager
def copy_of(template: Path, folder: Path, **options: Any) -> Iterator[Pair]:
    """A pair of its own that begins as the template was left. The template's servers must be down."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    with running(folder, **options) as pair:
        pair.log_out()  # a token names the address that it was given for
        yield pair


def _nothing_found(*_: object) -> pl.DataFrame:
    return model.empty(model.FINDINGS)


# --- what a plan says, in few words ---


def brief(planned: Planned) -> list[tuple[str, ...]]:
    """(system, record id, phase, action, unit, after) of each operation, sorted."""
    keys = ("system", "record_id", "phase", "action", "unit", "after")
    return sorted(tuple(str(row[key]) for key in keys) for row in planned.operations.to_dicts())


def changes(planned: Planned) -> set[tuple[str, str | None, str]]:
    """(system, record id, unit) of each operation."""
    return {(row["system"], row["record_id"], row["unit"]) for row in planned.operations.to_dicts()}


def outcomes(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame.group_by("outcome").len().iter_rows())


def phone(contact: Body, slot: str = "DEFAULT") -> str:
    """The digits of one of a contact's phones, however Xero keeps them apart."""
    for row in contact.get("Phones") or ():
        if row.get("PhoneType") == slot:
            parts = (row.get(f"Phone{name}") or "" for name in ("CountryCode", "AreaCode", "Number"))
            return digits("".join(parts))
    return ""


def digits(text: str | None) -> str:
    return re.sub(r"\D", "", text or "")

"""Prints what the stages give: for a person by rich, for a script as JSON."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console
    from rich.text import Text

    from flows.report import ReportData
    from pipelines.doctor import Finding, Rights
    from pipelines.runs import Applied, Context, Planned, Pulled
    from pipelines.undo import Wrote

SHOWN = 6  # rows of one group in the short form
WIDE = 140  # columns where the output is no terminal
SYSTEMS = {"salesforce": "Salesforce", "xero": "Xero"}
PHASE_TITLES = {
    "link": "Link — write only ids",
    "fill": "Fill — blanks of one side from the other",
    "settle": "Settle — differences found at first contact",
    "create": "Create — records that one side lacks",
    "change": "Change — what moved since the last agreement",
    "undo": "Undo — what a run wrote is taken back",
}
SIGNS = {"link": "~", "update": "~", "create": "+"}
COLOURS = {"link": "cyan", "update": "yellow", "create": "green"}


def progress(*, quiet: bool) -> Callable[[str], None]:
    """Give a function that tells a person, on stderr, what is going on now."""
    if quiet:
        return lambda text: None
    return lambda text: click.echo(click.style(f"· {text}", dim=True), err=True)


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, default=_plain, indent=None))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")


def new_console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a frame that goes out as JSON; JSON objects in it are opened."""
    return [{name: opened(value) for name, value in row.items()} for row in frame.to_dicts()]


def opened(value: Any) -> Any:
    if isinstance(value, str) and value[:1] == "{":
        try:
            return json.loads(value, parse_float=Decimal)
        except ValueError:
            return value
    return value


def spoken(value: str | None) -> str:
    """Give a canonical value as a person would write it."""
    if value is None:
        return "—"
    found = opened(value)
    if not isinstance(found, dict):
        return str(value).removeprefix("raw:")
    if "$from" in found:
        return "that of the new record"
    if {"lines", "stands"} <= set(found):
        from flows import wording

        return wording.said_of_invoice(found)
    return ", ".join(part for part in _parts(found) if part)


def _parts(found: dict[str, Any]) -> Iterable[str]:
    from reconcile import names

    if set(found) <= {"first", "last"}:
        yield " ".join(str(found[key]) for key in ("first", "last") if found.get(key))
        return
    for key in ("lines", "line", "city", "region", "postal_code", "country"):
        value = found.get(key)
        yield ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    for key, value in found.items():
        if key not in ("lines", "line", "city", "region", "postal_code", "country"):
            yield (
                f"{names.spoken(key)}: {spoken(json.dumps(value) if isinstance(value, dict) else str(value))}"
                if value
                else ""
            )


def changed_text(before: str | None, after: str | None) -> Text:
    """Give 'before → after' with what changed marked."""
    from rich.text import Text

    old, new = spoken(before), spoken(after)
    text = Text()
    if before is None:
        return text.append(new, style="green")
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for side, style in ((0, "red"), (1, "green")):
        for tag, a1, a2, b1, b2 in matcher.get_opcodes():
            piece = old[a1:a2] if side == 0 else new[b1:b2]
            text.append(piece, style="" if tag == "equal" else f"bold {style}")
        if side == 0:
            text.append(" → ", style="dim")
    return text


def plan_data(planned: Planned) -> dict[str, Any]:
    """Give what `plan --json` promises to scripts (docs/scripting.md)."""
    operations = [
        {"id": row["record_id"], **{key: row[key] for key in OPERATION_KEYS}}
        for row in rows(planned.operations)
    ]
    return {
        "plan": planned.hash,
        "file": str(planned.file) if planned.file else None,
        "created_at": planned.created_at,
        "expires_at": planned.expires_at,
        "state": planned.state,
        "phases": planned.phases(),
        "operations": operations,
        "conflicts": rows(planned.conflicts),
        "review": rows(planned.review),
        "rejects": rows(planned.rejects),
        "unmatched": rows(planned.unmatched),
        "drift": rows(planned.drift),
        "alarms": planned.alarms,
        "findings": [row for row in rows(planned.findings) if not row["passed"]],
        "beyond_limits": planned.beyond_limits,
        "errors": dict(planned.errors),
        "cost": planned.cost,
        "price": planned.price,
    }


OPERATION_KEYS = (
    "operation_id", "system", "entity", "object", "source_id", "link_id", "action", "phase", "unit",
    "before", "after", "reason", "rule", "depends_on",
)  # fmt: skip


def plan(planned: Planned, *, as_json: bool, everything: bool) -> None:
    if as_json:
        print_json(plan_data(planned))
        return
    console = new_console()
    console.print()
    if planned.operations.is_empty():
        console.print(_nothing(planned))
    else:
        console.print(
            f"[bold]Plan {planned.short}[/]  [dim]made {planned.created_at:%Y-%m-%d %H:%M} UTC, "
            f"good until {planned.expires_at:%Y-%m-%d %H:%M}[/]"
        )
    for phase, count in planned.phases().items():
        if count:
            _phase(console, planned, phase, everything=everything)
    for name, error in planned.errors.items():
        console.print(f"\n[bold red]{name} could not be read:[/] {error}", markup=True)
    _also(console, planned)
    if not planned.operations.is_empty():
        _sum_up(console, planned)


def _nothing(planned: Planned) -> str:
    if planned.errors:
        return "[bold red]Nothing is planned for what could not be read;[/] whether it agrees is not known."
    if not planned.conflicts.is_empty():
        return "[bold]Nothing to write.[/] What both sides changed waits for a decision."
    return "[bold green]Nothing to do.[/] What both sides receive is in agreement."


def _phase(console: Console, planned: Planned, phase: str, *, everything: bool) -> None:
    import polars as pl
    from rich.table import Table

    from reconcile import names

    console.print(f"\n[bold]{PHASE_TITLES[phase]}[/]")
    mine = planned.operations.filter(pl.col("phase") == phase)
    for keys, group in mine.group_by("system", "action", "object", maintain_order=True):
        system, action, object_name = map(str, keys)
        title = f"{SYSTEMS[system]} {object_name}: {action} {group.height}"
        console.print(f"  [{COLOURS[action]}]{SIGNS[action]} {title}[/]")
        table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
        for ratio in (None, 3, None, 8):
            table.add_column(overflow="fold", ratio=ratio)
        shown = group if everything else group.head(SHOWN)
        for row in shown.to_dicts():
            unit = "" if action == "create" else names.spoken(row["unit"])
            table.add_row("   ", _who(planned, row), unit, _what(planned, row))
            table.add_row("", "", "", _why(row, everything=everything))
        console.print(table)
        if group.height > shown.height:
            console.print(f"     [dim]… {group.height - shown.height} more (--all)[/]")


def _who(planned: Planned, row: dict[str, Any]) -> Text:
    from rich.text import Text

    return Text(planned.name_of(row), style="bold")


def _why(row: dict[str, Any], *, everything: bool) -> Text:
    from rich.text import Text

    return Text(f"{row['reason']} ({row['rule']})" if everything else row["reason"], style="dim")


def _what(planned: Planned, row: dict[str, Any]) -> Text:
    from rich.text import Text

    from reconcile import names

    if row["entity"] in ("document", "credit", "bill") and row["action"] == "create":
        return _invoice(planned, row)
    if row["action"] == "create":
        given = {unit: value for unit, value in (opened(row["after"]) or {}).items() if value is not None}
        text = Text()
        for unit, value in given.items():
            named = names.spoken_field(unit) if row["object"].startswith("Xero_") else names.spoken(unit)
            text.append(f"{named} ", style="dim").append(spoken(_text(value)), style="green").append("  ")
        return text
    if row["action"] == "link" and row["before"] is None:
        partner = planned.names.get(row["source_id"] or "", "")
        return (
            Text("↔ ", style="cyan")
            .append(partner)
            .append(f"  {row['source_id'] or 'the new record'}", style="dim")
        )
    return changed_text(row["before"], row["after"])


def _invoice(planned: Planned, row: dict[str, Any]) -> Text:
    """Give the invoice or bill in one line, and below it what it is made of."""
    from rich.text import Text

    from flows import wording

    parts = json.loads(row["after"])
    who = wording.made_out_to(parts, planned.names, planned.operations)
    text = Text((wording.bill if row["entity"] == "bill" else wording.invoice)(parts, who), style="green")
    for line in parts["lines"]:
        discount = f" less {line['discount']}%" if line["discount"] else ""
        text.append(f"\n  {line['quantity']} x {line['unit_price']}{discount}", style="dim")
        text.append(f"  {line['description']}  ", style="dim").append(line["amount"], style="green")
    return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _also(console: Console, planned: Planned) -> None:
    for title, frame, hint in (
        (
            "conflicts: both sides changed",
            planned.conflicts,
            "`reconcile resolve ID UNIT --take salesforce|xero|neither`",
        ),
        ("links to review", planned.review, "`reconcile links review`"),
        ("set aside", planned.rejects, "each is named in the report"),
    ):
        if not frame.is_empty():
            console.print(f"\n[bold magenta]{frame.height} {title}[/]  [dim]{hint}[/]")
            for row in frame.head(SHOWN).to_dicts():
                console.print(f"     {_line(planned, row)}", soft_wrap=True)
            if frame.height > SHOWN:
                console.print(f"     [dim]… {frame.height - SHOWN} more[/]")
    gone = planned.unmatched.filter(planned.unmatched["why"] == "partner_gone")
    if not gone.is_empty():
        console.print(
            f"\n[bold magenta]Partner deleted on the other side: {gone.height}[/]  [dim]nothing is carried[/]"
        )
        for row in gone.head(SHOWN).to_dicts():
            console.print(f"     {row['side']} {planned.names.get(row['record_id'], '')} {row['record_id']}")
    if not planned.drift.is_empty():
        console.print(f"\n[dim]{planned.drift.height} differences are left standing (`reconcile report`).[/]")
    if not planned.differences.is_empty():
        count = planned.differences["difference_id"].n_unique()
        differences = f"{count} difference{'s' if count > 1 else ''}"
        console.print(f"[dim]{differences} between the sales of both books (`reconcile totals`).[/]")
    for row in planned.findings.to_dicts():
        if not row["passed"]:
            colour = "bold red" if row["severity"] == "critical" else "yellow"
            console.print(f"[{colour}]! {row['severity']}: {row['message']}[/]")


def _line(planned: Planned, row: dict[str, Any]) -> str:
    from rich.markup import escape

    if "reason" in row:
        who = planned.names.get(row["record_id"] or "", "")
        told = " ".join(part for part in (row["side"], who, row["record_id"], row["unit"]) if part)
        return escape(f"{told}: {row['reason']}" if told else row["reason"])
    who = planned.names.get(row["salesforce_id"] or "") or planned.names.get(row["xero_id"] or "") or ""
    ids = f"{row['salesforce_id']} <-> {row['xero_id']}"
    if "score" in row:
        other = planned.names.get(row["xero_id"] or "", "")
        return escape(f"{who} <-> {other}  {row['rule']} {row['score'] or 0:.2f}  {ids}")
    return escape(f"{who} {row['unit']}: {spoken(row['salesforce'])} | {spoken(row['xero'])}  {ids}")


def _sum_up(console: Console, planned: Planned) -> None:
    from flows import wording
    from reconcile.plan import amounts_billed, amounts_made, amounts_paid

    phases = ", ".join(f"{name} {count}" for name, count in planned.phases().items() if count)
    console.print(f"\n[bold]{planned.operations.height} operations[/] ({phases}). {_price(planned)}")
    amounts = amounts_made(planned.operations)
    if amounts:
        told = ", ".join(wording.amount(amount, currency) for currency, amount in amounts.items())
        console.print(f"Invoices to be made, in all: {told} (without tax where Xero adds it by itself).")
    paid = amounts_paid(planned.operations)
    if paid:
        told = ", ".join(wording.amount(amount, currency) for currency, amount in paid.items())
        console.print(f"Payments to be recorded, in all: {told}.")
    billed = amounts_billed(planned.operations)
    if billed:
        told = ", ".join(wording.amount(amount, currency) for currency, amount in billed.items())
        console.print(f"Bills to be made, in all: {told} (without tax where Xero adds it by itself).")
    for reason in planned.beyond_limits:
        console.print(f"[red]Beyond the limits: {reason}. It needs approval of this very hash.[/]")
    console.print(
        f"[dim]Apply it: reconcile apply {planned.short}   in steps: --phase link, then fill, ...[/]"
    )


def _price(planned: Planned) -> str:
    """Say what it will cost: calls, how long Xero's limit makes it last, the share of what is left of the day."""
    share = planned.price.get("day_share", {})
    told = [
        f"{SYSTEMS[side]} {calls}" + (f" ({share[side]:.1%} of what is left today)" if side in share else "")
        for side, calls in planned.cost.items()
    ]
    minutes = planned.price.get("minutes", 0)
    lasts = f"; by Xero's limit {minutes:.0f} minutes at least" if minutes >= 2 else ""
    return f"Calls it will cost: {', '.join(told)}{lasts}.{_bytes(planned)}"


def _bytes(planned: Planned) -> str:
    """Say about how many bytes come from each system for it, and what Xero bills."""
    from flows import wording

    moved = planned.price.get("bytes", {})
    told = [f"{SYSTEMS[side]} {wording.size(ways['received'])}" for side, ways in moved.items()]
    bill = planned.price.get("egress")
    billed = f" (beyond your tier Xero bills {bill} for them)" if bill else ""
    return f" Bytes that will come, about: {', '.join(told)}{billed}." if any(_received(moved)) else ""


def _received(moved: Mapping[str, Mapping[str, int]]) -> list[int]:
    return [ways["received"] for ways in moved.values()]


def applied(result: Applied, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "plan": result.plan,
                "outcomes": rows(result.outcomes),
                "counts": result.counts(),
                "calls": result.calls,
                "priced": result.priced,
                "bytes": result.traffic,
                "bytes_priced": result.traffic_priced,
                "read_again": {**result.audited.counts(), "findings": rows(result.audited.findings)},
            }
        )
        return
    from flows import wording

    console = new_console()
    counts = ", ".join(f"{name} {count}" for name, count in result.counts().items())
    console.print(f"\n[bold]Plan {result.plan[:10]}[/]: {counts or 'nothing was to do'}.")
    used = ", ".join(
        f"{SYSTEMS[side]} {calls} ({result.priced.get(side, 0)} were expected)"
        for side, calls in result.calls.items()
    )
    came = ", ".join(
        f"{SYSTEMS[side]} {wording.size(ways['received'])} "
        f"(about {wording.size(result.traffic_priced.get(side, {}).get('received', 0))} were expected)"
        for side, ways in result.traffic.items()
    )
    console.print(f"[dim]Calls it took: {used}. Bytes that came: {came}.[/]")
    for row in result.outcomes.to_dicts():
        if row["outcome"] not in ("confirmed", "adopted"):
            console.print(
                f"  [yellow]{row['outcome']}[/] {row['system']} {row['record_id'] or '(new)'} {row['unit']}: "
                f"{row['message'] or ''}",
                markup=True,
            )
    for row in result.audited.findings.to_dicts():
        colour, word = ("red", "incident") if row["incident"] else ("yellow", wording.spoken(row["finding"]))
        console.print(f"  [{colour}]{word}[/] {row['message']}", markup=True)


def runs_that_wrote(found: Sequence[Wrote], *, as_json: bool) -> None:
    """List runs that can be taken back: run_id, started_at, state, plan, counts by outcome."""
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    if not found:
        click.echo("No run has written anything yet.")
    for one in found:
        counts = ", ".join(f"{name} {count}" for name, count in one.counts.items()) or one.state
        click.echo(f"{one.run_id[:10]}  {one.started_at:%Y-%m-%d %H:%M}  plan {one.plan[:10]}  {counts}")
    if found:
        click.echo(
            f"Take one back: `reconcile undo {found[0].run_id[:10]}` plans it; nothing is written yet."
        )


def pulled(result: Pulled, *, as_json: bool) -> None:
    if as_json:
        print_json(result.as_dict())
        return
    from rich.table import Table

    table = Table("object", "read", "changed", "gone", "known complete as of", box=None)
    for row in result.objects:
        state = row.error or f"{row.complete_as_of:%Y-%m-%d %H:%M:%S} UTC"
        table.add_row(
            f"{SYSTEMS[row.side]} {row.object}",
            str(row.rows_seen),
            str(row.rows_changed),
            str(row.deleted),
            state,
        )
    new_console().print(table)


def links(frame: pl.DataFrame, *, as_json: bool) -> None:
    if as_json:
        keys = ["link_id", "entity", "salesforce_id", "xero_id", "status", "rule", "score"]
        print_json(rows(frame.select(keys)))
        return
    from rich.table import Table

    table = Table("entity", "Salesforce", "Xero", "status", "rule", "score", box=None)
    for row in frame.to_dicts():
        score = f"{row['score']:.3f}" if row["score"] is not None else ""
        table.add_row(row["entity"], row["salesforce_id"], row["xero_id"], row["status"], row["rule"], score)
    new_console().print(table)


def review(queue: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(list(queue))
        return
    console = new_console()
    if not queue:
        console.print("Nothing waits for a review.")
    for number, row in enumerate(queue, start=1):
        console.print(
            f"[bold]{number}.[/] {row['entity']}  {row['salesforce_name']} [dim]{row['salesforce_id']}[/]"
            f"  <->  {row['xero_name']} [dim]{row['xero_id']}[/]   {row['rule']} {row['score'] or 0:.2f}"
        )
        console.print(f"   [dim]{_evidence(row['evidence'])}[/]", markup=True)
    if queue:
        console.print("[dim]reconcile links accept N | reconcile links refuse N[/]")


def _evidence(text: str | None) -> str:
    """Say 'phone equal (+12.0), name overlap (+6.2)': each comparison, its level and weight (log2)."""
    found = json.loads(text or "{}")
    if not isinstance(found, dict):
        return str(text)
    told = {name: one if isinstance(one, dict) else {"level": one} for name, one in found.items()}
    return ", ".join(
        f"{name.replace('_', ' ')} {one.get('level', '')}"
        + (f" ({one['weight']:+.1f})" if "weight" in one else "")
        for name, one in told.items()
    )


def status(data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(data)
        return
    console = new_console()
    for name, value in data.items():
        if name != "journal":
            console.print(f"[bold]{name.replace('_', ' ')}[/]: {_told(value)}", markup=True)


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {shown}" for key, shown in value.items()) or "none"
    return "none yet" if value is None else str(value)


def verdict(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    console = new_console()
    if found["ok"]:
        console.print(f"{found['journal']} is as it was left: {found['rows']} rows of its chain")
    else:
        console.print(f"{found['journal']} is not as it was left: {found['found']}", style="red")
        console.print("nothing is sent until it is put right, or accepted: `reconcile audit accept`")
    console.print(f"head {found['head']}; kept {found['kept'] or 'none'}", style="dim")


def accepted(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    was = f" ({found['found']})" if found["found"] else ""
    click.echo(f"accepted: {found['journal']} goes on as it is{was}. Its head is {found['head']}.")


def findings(found: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in found])
        return
    console = new_console()
    marks = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
    for finding in found:
        console.print(f"{marks[finding.state]} {finding.check}: {finding.found}")
        if finding.state != "ok" and finding.next_step:
            console.print(f"       [dim]{finding.next_step}[/]")


def rights(roles: Sequence[Rights], *, as_json: bool) -> None:
    if as_json:
        print_json([dataclasses.asdict(role) for role in roles])
        return
    for role in roles:
        click.echo(click.style(f"{role.role}", bold=True))
        click.echo(f"  Xero scopes: {' '.join(role.xero_scopes)}")
        click.echo(f"  Salesforce user: {', '.join(role.salesforce_user)}")
        for name, may in role.salesforce_objects.items():
            click.echo(f"  {name}: {', '.join(may)}")
        click.echo("  permission set, ready to deploy:")
        click.echo(role.permission_set)


def pins(data: dict[str, Any], *, as_json: bool, off: bool) -> None:
    if as_json:
        print_json(data)
    elif off:
        click.echo("The pair is read-only again.")
    else:
        click.echo("Writes are enabled for this pair, and only while these stay as they are:")
        for name, value in data.items():
            click.echo(f"  {name.replace('_', ' ')}: {value}")


def report(ctx: Context, data: ReportData, *, as_json: bool, out: Path | None, markdown: bool) -> None:
    """Write the page; or print the Markdown or the figures."""
    from flows import gather
    from flows.report import render_markdown

    if markdown:
        click.echo(render_markdown(data))
    elif as_json:
        print_json(gather.figures(data))
    else:
        page = gather.write_report(ctx, data, out)
        gather.publish(ctx, data)
        click.echo(
            f"The report is {page}: open it in a browser. It holds personal values; keep it to yourself.",
            err=True,
        )

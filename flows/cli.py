"""The command line. Each command names its stages; heavy imports stay inside the command that needs them."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from reconcile.errors import FixMapping, FixSettings, JournalMismatch, NeedsApproval, ReconcileError

if TYPE_CHECKING:
    from pipelines.runs import Context

AGREED, FAILED, WRONG_USAGE, DIFFERS = 0, 1, 2, 3
PHASE_NAMES = (
    "link",
    "fill",
    "settle",
    "create",
    "change",
    "undo",
)  # as reconcile.model.PHASES, which imports polars

HELP = """Keep Salesforce and Xero in agreement.

\b
The way of the data: pull both systems, decide what differs, check it,
push what was approved, report. Nothing is written before `enable-writes`,
and nothing that a plan did not show.

\b
To begin without any account:
  reconcile demo              the whole job on two sandboxed systems
To begin with your own:
  reconcile init              a commented settings file for a pair
  reconcile doctor            what is missing, and how to mend it
  reconcile plan              what differs, and what would be written
  reconcile enable-writes     name what may be written to
  reconcile apply             do what the plan says, once
  reconcile report            the drift report as a page

\b
Exit codes: 0 the books agree, 1 failed, 2 wrong usage or settings,
3 something differs or waits for approval.
"""


class Ordered(click.Group):
    """Lists commands in the order of the story, not of the alphabet."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Ordered, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reconcile")
def reconcile() -> None:
    pass


def settings_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--settings",
        "settings_file",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("reconcile.toml"),
        show_default=True,
        envvar="RECONCILE_SETTINGS",
        help="The settings file of the pair.",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")(command)


@reconcile.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".demo"),
    show_default=True,
)
@click.option("--keep", is_flag=True, help="Leave the sandbox running until Ctrl-C, to try more.")
@click.option(
    "--month", is_flag=True, help="Go on for a month: payments, a deposit, a credit note, both books."
)
def demo(folder: Path, keep: bool, month: bool) -> None:
    """Run the whole job on two sandboxed systems, from pull to report."""
    from flows.demo import run_demo

    run_demo(folder, keep=keep, month=month)


@reconcile.command()
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("reconcile.toml"),
    show_default=True,
    help="Where to write it.",
)
@click.option("--pair", "pair", default="acme", show_default=True, help="A name for this org and tenant.")
def init(settings_file: Path, pair: str) -> None:
    """Write a commented settings file for a pair."""
    from flows.starter import write_settings

    write_settings(settings_file, pair=pair)
    click.echo(f"{settings_file} is written. Fill in the ids, then run `reconcile doctor`.", err=True)


@reconcile.command()
@settings_option
@json_option
@click.option("--scopes", is_flag=True, help="Print the least scopes and permission set, and stop.")
def doctor(settings_file: Path, as_json: bool, scopes: bool) -> None:
    """Check settings, credentials, rights, fields, clock and limits; say how to mend each."""
    from flows import show
    from pipelines import answers

    if scopes:
        show.rights(answers.least_rights(settings_file), as_json=as_json)
        return
    findings = answers.doctor(settings_file)
    show.findings(findings, as_json=as_json)
    if any(finding.state == "fail" for finding in findings):
        raise SystemExit(FAILED)


@reconcile.command()
@settings_option
@json_option
@click.option("--full", is_flag=True, help="Read everything, not only what moved since the last pull.")
@click.option("--accept-smaller", is_flag=True, help="Accept a sweep much smaller than the one before.")
def pull(settings_file: Path, as_json: bool, full: bool, accept_smaller: bool) -> None:
    """Take a snapshot of both systems into the warehouse."""
    from flows import show
    from pipelines import runs

    with opened(settings_file, as_json=as_json) as ctx:
        pulled = runs.pull(ctx, full=full, accept_smaller=accept_smaller)
        show.pulled(pulled, as_json=as_json)
    if pulled.errors:
        raise SystemExit(FAILED)


@reconcile.command()
@settings_option
@json_option
@click.option("--full", is_flag=True, help="Read everything, not only what moved since the last pull.")
@click.option("--no-pull", is_flag=True, help="Decide on the snapshot at hand.")
@click.option(
    "--all", "everything", is_flag=True, help="Show each operation, not only the first of each group."
)
@click.option("--allow", "allowed", multiple=True, help="Let this check pass once, as a stop names it.")
@click.option("--retry", is_flag=True, help="Try again what a system refused.")
def plan(
    settings_file: Path,
    as_json: bool,
    full: bool,
    no_pull: bool,
    everything: bool,
    allowed: tuple[str, ...],
    retry: bool,
) -> None:
    """Decide what would be written, and why. Exit 3 where something is to do."""
    from flows import show
    from pipelines import runs

    with opened(settings_file, as_json=as_json) as ctx:
        options = runs.PlanOptions(frozenset(allowed), retry_refused=retry)
        planned = runs.plan(ctx, full=full, pull_first=not no_pull, options=options)
        show.plan(planned, as_json=as_json, everything=everything)
        _tell_of_journal(ctx)
    if planned.errors or planned.alarms:
        raise SystemExit(FAILED)
    raise SystemExit(DIFFERS if planned.waits else AGREED)


@reconcile.command(name="show")
@settings_option
@json_option
@click.argument("plan_hash", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Show each operation, not only the first of each group."
)
def show_plan(settings_file: Path, as_json: bool, plan_hash: str | None, everything: bool) -> None:
    """Print a plan again; without a hash the last one."""
    from flows import show
    from pipelines import runs

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        show.plan(runs.load_plan(ctx, plan_hash), as_json=as_json, everything=everything)


def phases_of(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (value or "").split(",") if name.strip())
    for name in names:
        if name not in PHASE_NAMES:
            raise click.BadParameter(f"found {name!r}, expected some of {', '.join(PHASE_NAMES)}", ctx, param)
    return names


@reconcile.command()
@settings_option
@json_option
@click.argument("plan_hash", required=False)
@click.option(
    "--phase", "phases", callback=phases_of, help="Only these phases, as link,fill,settle,create,change,undo."
)
@click.option("--yes", is_flag=True, help="Approve this plan without being asked.")
def apply(
    settings_file: Path, as_json: bool, plan_hash: str | None, phases: tuple[str, ...], yes: bool
) -> None:
    """Do what a plan says, once; without a hash the last plan."""
    from flows import show
    from pipelines import runs

    with opened(settings_file, as_json=as_json) as ctx:
        planned = runs.load_plan(ctx, plan_hash)
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise NeedsApproval(
                    f"plan {planned.short}: nobody is here to approve it. Read it with `reconcile show`, "
                    f"then run `reconcile apply {planned.short} --yes`."
                )
            show.plan(planned, as_json=False, everything=False)
            click.confirm("Apply this plan?", abort=True, err=True)
        # A plan beyond its limits is approved by its hash, or by a person who has just read it.
        applied = runs.apply(ctx, planned, phases=phases, approved=plan_hash is not None or not yes)
        show.applied(applied, as_json=as_json)
    if applied.failed:
        raise SystemExit(FAILED)


@reconcile.command()
@settings_option
@json_option
@click.argument("run", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Show each operation, not only the first of each group."
)
def undo(settings_file: Path, as_json: bool, run: str | None, everything: bool) -> None:
    """Plan how a run is taken back, and say what can't be; without RUN list the runs that wrote.

    Nothing is written: what it plans is read and applied as any plan. Exit 3 where something is to do.
    """
    from flows import show
    from pipelines import undo as undoing

    with opened(settings_file, as_json=as_json, offline=run is None) as ctx:
        if run is None:
            show.runs_that_wrote(undoing.runs_that_wrote(ctx), as_json=as_json)
            return
        planned = undoing.plan_undo(ctx, run)
        show.plan(planned, as_json=as_json, everything=everything)
    raise SystemExit(DIFFERS if planned.waits else AGREED)


@reconcile.command()
@settings_option
@json_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the page.")
@click.option("--markdown", is_flag=True, help="Print Markdown: ids and counts, no values of persons.")
def report(settings_file: Path, as_json: bool, out: Path | None, markdown: bool) -> None:
    """Write the drift report: where the books differ, since when, and why."""
    from flows import gather, show

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        data = gather.report_data(ctx)
        show.report(ctx, data, as_json=as_json, out=out, markdown=markdown)


def month_of(ctx: click.Context, param: click.Parameter, value: str | None) -> date | None:
    if value is None:
        return None
    try:
        if len(value) != len("2026-11"):
            raise ValueError
        return date.fromisoformat(f"{value}-01")
    except ValueError:
        raise click.BadParameter(f"found {value!r}, expected a month, as 2026-11", ctx, param) from None


@reconcile.command()
@settings_option
@json_option
@click.option("--month", callback=month_of, help="Only this month, as 2026-11.")
@click.option("--currency", help="Only this currency, as EUR.")
@click.option("--all", "everything", is_flag=True, help="Show each total that is apart, and each difference.")
def totals(
    settings_file: Path, as_json: bool, month: date | None, currency: str | None, everything: bool
) -> None:
    """Add up the sales of both books, as the last plan saw them, and say what differs and why.

    Exit 3 where something differs, 1 where an amount differs that no cause explains, or the proof fails.
    """
    from flows import show_totals
    from flows.totals import standing
    from pipelines import runs

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        if ctx.mapping.invoice is None:
            raise FixMapping(
                "both books are added up where invoices are made: set documents.invoice.cut_over in the mapping, "
                "then run `reconcile plan`."
            )
        planned = runs.load_plan(ctx, None)
        groups, differences = show_totals.chosen(planned, month=month, currency=currency)
        show_totals.printed(planned, groups, differences, as_json=as_json, everything=everything)
    found = standing(groups, differences)
    if planned.alarms or not found.proved:
        raise SystemExit(FAILED)
    raise SystemExit(AGREED if found.agreed else DIFFERS)


@reconcile.command(name="customer")
@settings_option
@json_option
@click.argument("name")
def one_customer(settings_file: Path, as_json: bool, name: str) -> None:
    """Show all of one customer: invoices, what settled them, credits, balance.

    NAME is a part of the name, or an id of either side. It reads what the last plan published, and no system.
    """
    from flows import customer

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        found = customer.find(ctx, name)
    customer.show(found, as_json=as_json)


@reconcile.group(cls=Ordered, invoke_without_command=True)
@settings_option
@json_option
@click.pass_context
def links(ctx: click.Context, settings_file: Path, as_json: bool) -> None:
    """List links; decide on those in the review queue."""
    ctx.obj = {"settings": settings_file, "json": as_json}
    if ctx.invoked_subcommand:
        return
    from flows import show
    from pipelines import answers

    with opened(settings_file, as_json=as_json, offline=True) as opened_pair:
        show.links(answers.links(opened_pair), as_json=as_json)


def _given(ctx: click.Context, settings_file: Path, as_json: bool) -> tuple[Path, bool]:
    """Take the options from the subcommand, else as they were given to `links`."""
    source = ctx.get_parameter_source("settings_file")
    chosen = ctx.obj["settings"] if source == click.core.ParameterSource.DEFAULT else settings_file
    return chosen, as_json or ctx.obj["json"]


@links.command(name="review")
@settings_option
@json_option
@click.pass_context
def links_review(ctx: click.Context, settings_file: Path, as_json: bool) -> None:
    """List the pairs that wait for a person, each with its evidence."""
    from flows import show
    from pipelines import answers

    chosen, told_json = _given(ctx, settings_file, as_json)
    with opened(chosen, as_json=told_json, offline=True) as pair:
        show.review(answers.review_queue(pair), as_json=told_json)


def _decide(ctx: click.Context, settings_file: Path, as_json: bool, kind: str, link: str) -> None:
    from pipelines import answers

    chosen, told_json = _given(ctx, settings_file, as_json)
    with opened(chosen, as_json=told_json, offline=True) as pair:
        row = answers.decide_link(pair, kind, link)
    if told_json:
        click.echo(json.dumps(row))
    else:
        done = {"accept": "accepted", "refuse": "refused"}[kind]
        click.echo(f"{done}: {row['salesforce_id']} <-> {row['xero_id']}. The next plan keeps to it.")


@links.command(name="accept")
@click.argument("link")
@settings_option
@json_option
@click.pass_context
def links_accept(ctx: click.Context, link: str, settings_file: Path, as_json: bool) -> None:
    """Accept a proposed link (its number in `links review`, or its id)."""
    _decide(ctx, settings_file, as_json, "accept", link)


@links.command(name="refuse")
@click.argument("link")
@settings_option
@json_option
@click.pass_context
def links_refuse(ctx: click.Context, link: str, settings_file: Path, as_json: bool) -> None:
    """Refuse a proposed link; remembered until one of the records changes."""
    _decide(ctx, settings_file, as_json, "refuse", link)


@reconcile.command()
@settings_option
@json_option
@click.argument("link")
@click.argument("unit")
@click.option(
    "--take",
    type=click.Choice(["salesforce", "xero", "neither"]),
    required=True,
    help="Whose value holds; 'neither' lets the difference stand.",
)
def resolve(settings_file: Path, as_json: bool, link: str, unit: str, take: str) -> None:
    """Decide a conflict or a difference: LINK is a record's id on either side, UNIT as the plan names it."""
    from pipelines import answers

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        chosen = answers.resolve(ctx, link, unit, take)
    click.echo(json.dumps(chosen) if as_json else f"{unit} of {link}: {take}. The next plan keeps to it.")


@reconcile.group(cls=Ordered)
def rules() -> None:
    """Try the rules of the mapping that give lines their account and tax."""


@rules.command(name="test")
@settings_option
@json_option
def rules_test(settings_file: Path, as_json: bool) -> None:
    """Say which rule holds for how many lines of the last snapshot, with examples; write nothing."""
    from flows import show_rules
    from pipelines import answers

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        show_rules.trial(answers.rules_trial(ctx), as_json=as_json)


@reconcile.command()
@settings_option
@json_option
def status(settings_file: Path, as_json: bool) -> None:
    """Say what is known, since when, and what waits."""
    from flows import show
    from pipelines import answers

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        show.status(answers.status(ctx), as_json=as_json)


@reconcile.group(cls=Ordered)
def audit() -> None:
    """See that the journal is as it was left; let a pair go on with another one."""


@audit.command(name="verify")
@settings_option
@json_option
@click.option("--head", "known", help="A head (row:hash) that the chain must contain, as a report shows it.")
def audit_verify(settings_file: Path, as_json: bool, known: str | None) -> None:
    """Walk the chain, and hold the kept head and every row against it. Exit 1 where something differs."""
    from flows import show
    from pipelines import answers

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        verdict = answers.audit(ctx, known)
    show.verdict(verdict, as_json=as_json)
    if not verdict["ok"]:
        raise SystemExit(FAILED)


@audit.command(name="accept")
@settings_option
@json_option
@click.option("--yes", is_flag=True, help="Accept without being asked.")
def audit_accept(settings_file: Path, as_json: bool, yes: bool) -> None:
    """Say that the journal as it is now is to go on (restored from a backup, begun anew, mended)."""
    from flows import show
    from pipelines import answers

    with opened(settings_file, as_json=as_json, offline=True) as ctx:
        verdict = answers.audit(ctx)
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise NeedsApproval(
                    "audit accept: nobody is here to be asked. Read `reconcile audit verify`, then run "
                    "`reconcile audit accept --yes`."
                )
            show.verdict(verdict, as_json=False)
            click.confirm("Go on with this journal, as it is?", abort=True, err=True)
        accepted = answers.accept_audit(ctx)
    show.accepted(accepted, as_json=as_json)


@reconcile.command(name="enable-writes")
@settings_option
@json_option
@click.option("--pair", required=True, help="The pair's name, as in the settings.")
@click.option(
    "--environment",
    required=True,
    type=click.Choice(["sandbox", "production"]),
    help="What the pair is, as in the settings: a slip of one can't open the other.",
)
@click.option("--off", is_flag=True, help="Make the pair read-only again.")
def enable_writes(settings_file: Path, as_json: bool, pair: str, environment: str, off: bool) -> None:
    """Allow writes to one pair; pins its org, tenant and base currency."""
    from flows import show
    from pipelines import runs

    with opened(settings_file, as_json=as_json, offline=off) as ctx:
        pins = runs.enable_writes(ctx, pair=pair, environment=environment, off=off)
        show.pins(pins, as_json=as_json, off=off)
        _tell_of_journal(ctx)


@reconcile.group()
def sandbox() -> None:
    """Two local servers that behave as Salesforce and Xero do."""


@sandbox.command()
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of its state."
)
@click.option("--seed", help="demo (a fresh state's default), empty, or parties:N:SEED:DIRT.")
@click.option("--xero-port", type=int, default=0, help="0: any free port.")
@click.option("--salesforce-port", type=int, default=0, help="0: any free port.")
@click.option(
    "--limits",
    type=click.Choice(["real", "off"]),
    default="real",
    show_default=True,
    help="Whether both refuse calls beyond the vendors' limits.",
)
@click.option(
    "--dialect", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Values of switches."
)
def serve(
    state: Path, seed: str | None, xero_port: int, salesforce_port: int, limits: str, dialect: Path | None
) -> None:
    """Serve both until stopped; prints one line of JSON when ready."""
    from sandbox.serve import serve as run

    run(
        state,
        seed=seed,
        xero_port=xero_port,
        salesforce_port=salesforce_port,
        limits=limits,
        dialect=dialect,
        announce=click.echo,
    )


def opened(settings_file: Path, *, as_json: bool, offline: bool = False) -> AbstractContextManager[Context]:
    """Open the pair of a settings file, with progress on stderr where a person looks on."""
    from flows import show
    from pipelines import runs

    return runs.open_context(settings_file, progress=show.progress(quiet=as_json), offline=offline)


def _tell_of_journal(ctx: Context) -> None:
    """Say that nothing will be sent all the same, where the journal is not the one that was left."""
    if ctx.journal.trouble:
        click.echo(str(JournalMismatch(at=ctx.journal.at, found=ctx.journal.trouble)), err=True)


def exit_code(error: ReconcileError) -> int:
    if isinstance(error, NeedsApproval):
        return DIFFERS
    return WRONG_USAGE if isinstance(error, FixSettings | FixMapping) else FAILED


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's own mistake ends in a message, never in a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        raise SystemExit(reconcile.main(args=given, prog_name="reconcile", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("stopped; nothing more is done.", err=True)
        raise SystemExit(FAILED) from None
    except click.ClickException as error:
        if "--json" in given:
            click.echo(json.dumps({"error": type(error).__name__, "message": error.format_message()}))
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.exceptions.Exit as done:
        raise SystemExit(done.exit_code) from None
    except ReconcileError as error:
        _tell(type(error).__name__, str(error), as_json="--json" in given)
        raise SystemExit(exit_code(error)) from None
    except Exception as error:  # the last net: a bug is told as one, with the way to report it
        if os.environ.get("RECONCILE_DEBUG"):
            raise
        _tell(type(error).__name__, _unforeseen(error), as_json="--json" in given)
        raise SystemExit(FAILED) from None


def _unforeseen(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        full = error.errno == errno.ENOSPC
        what = "the disk is full" if full else (error.strerror or type(error).__name__)
        return f"{what}{where}. What was committed is kept; mend it and run it again."
    return (
        f"a bug: {type(error).__name__}. What was committed is kept. "
        "Run it again with RECONCILE_DEBUG=1 for the details, and please report them."
    )


def _tell(kind: str, message: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"error": kind, "message": message}))
    click.echo(f"reconcile: {message}", err=True)


if __name__ == "__main__":
    main()

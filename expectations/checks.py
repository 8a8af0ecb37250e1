"""Runs a stage's suites by Great Expectations, and says what follows: pass, warn, stop, or set rows aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from expectations import suites
from expectations.runner import Judgement, Passed, opened_tables
from expectations.suites import Suite
from reconcile.model import ACTIONS, FINDINGS, MERGED, OPERATIONS, PHASES, REJECTS, SIDES, STATUSES, conform

if TYPE_CHECKING:
    import duckdb

STAGES: Final = ("raw", "canonical", "plan")
KEPT_IDS: Final = 200
TOO_MANY: Final = "too_many_at_fault"


def run_checks(
    stage: str,
    frames: Mapping[str, pl.DataFrame],
    params: Mapping[str, Any],
    passed: Passed | None = None,
) -> pl.DataFrame:
    """Check the frames of one stage.

    Takes stage: raw ("salesforce.Account" and the like -> RAW), canonical (records -> RECORDS, values ->
    VALUES) or plan (operations, links, records, values, fields), and params over suites.DEFAULTS:
    for raw also now (aware UTC), previous_rows and complete_as_of by frame name; for each stage allowed,
    the names of whole checks that a person let pass: they warn.
    Where invoices are made, canonical also has documents -> DOCUMENTS and lines -> DOCUMENT_LINES of what is to
    be made; plan also invoices -> INVOICES, and the params cut_over (ISO), key_field and inclusive. Where payments
    are recorded, plan also has owed -> SETTLED and settlements -> SETTLEMENTS; where bills are made, bills ->
    BILLS_THERE.
    What `passed` knows from before is not asked again, and is told as passed.
    Gives FINDINGS, one row a check, passed ones too, in the order of the suites. record_ids holds
    operation ids in the plan stage; it holds all ids at fault for critical row checks, which `set_aside`
    needs, else at most 200. A check that could not run has broken = True and passed = False.
    Raises ValueError for an unknown stage: a bug.
    """
    if stage not in STAGES:
        raise ValueError(f"found stage {stage!r}, expected one of {', '.join(STAGES)}")
    params = {**suites.DEFAULTS, **params}
    findings: list[dict[str, Any]] = []
    with opened_tables(passed or Passed()) as tables:
        for suite, binds in PREPARED[stage](frames, params, tables.con):
            limits = _parameters(suite, params)
            judged = tables.judge(suite, binds, limits)
            findings += [_finding(suite, one, limits) for one in judged]
            findings += _too_many(suite, judged, params)
    return _let_pass(pl.DataFrame(findings, schema=dict(FINDINGS)), params["allowed"])


def verdict(findings: pl.DataFrame) -> str:
    """Say what follows from the findings: "stop", "warn" or "pass".

    A broken check stops whatever its severity. A critical row check does not: `set_aside` takes its rows
    out, and `too_many_at_fault`, a whole check, stops where those are too many.
    """
    if not findings.filter(_stops()).is_empty():
        return "stop"
    return "pass" if findings["passed"].all() else "warn"


def set_aside(operations: pl.DataFrame, findings: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take out the operations of rows at fault, and all that depends on them.

    Takes OPERATIONS and FINDINGS of any stages. A record at fault takes along what is written to it and
    what is written from it; a raw row at fault in Xero takes the person that stands in it too.
    Gives (kept: OPERATIONS in their order, rejects: REJECTS, one row an operation taken out).
    """
    faults = _faults(findings)
    reasons = pl.concat(
        [_named(operations, faults, column) for column in ("operation_id", "record_id", "source_id")]
    ).unique("operation_id", keep="first", maintain_order=True)
    while True:
        more = _depending(operations, reasons)
        if more.is_empty():
            break
        reasons = pl.concat([reasons, more])
    kept = operations.join(reasons, on="operation_id", how="anti", maintain_order="left")
    rejects = operations.select(
        "operation_id", "entity", "unit", side="system", record_id=pl.coalesce("record_id", "source_id")
    ).join(reasons, on="operation_id", how="inner", maintain_order="left", validate="m:1")
    return conform(kept, OPERATIONS), conform(rejects, REJECTS)


def ids_at_fault(findings: pl.DataFrame) -> frozenset[str]:
    """Give the ids that critical row checks found at fault; a link with one of them is not adopted."""
    return frozenset(_faults(findings)["fault"].to_list())


def for_keeping(findings: pl.DataFrame) -> pl.DataFrame:
    """Give the findings with at most 200 ids each, for the journal, the warehouse and the report."""
    return findings.with_columns(pl.col("record_ids").list.head(KEPT_IDS))


def stopped(findings: pl.DataFrame) -> str:
    """Word what stopped the run, for errors.CheckStopped: place, found, expected, next step."""
    bad = findings.filter(_stops())
    lines = [f"{_place(row)}: {row['check']}: {row['message']}" for row in bad.iter_rows(named=True)]
    return (
        "; ".join(lines) + ". Nothing is sent. Look at the rows in the report; when the data is as it should "
        "be, let the check pass by name, and run it again."
    )


# --- verdicts -----------------------------------------------------------------------------------------


@cache
def row_checks() -> frozenset[str]:
    """Give the names of the checks that judge rows; all others judge a table as such."""
    return frozenset(check.name for suite in _all_suites() for check in suite.checks if check.scope == "row")


def _all_suites() -> list[Suite]:
    sides_and_entities = [(side, entity) for side in SIDES for entity in MERGED]
    return [
        *(suites.raw_suite(side, "Contact") for side in SIDES),
        suites.raw_snapshot_suite(),
        *(suites.record_suite(side, entity, list(STATUSES)) for side, entity in sides_and_entities),
        *(suites.value_suite(side, entity, []) for side, entity in sides_and_entities),
        suites.document_suite([]),
        suites.line_suite(),
        *_plan_suites(),
        suites.invoice_suite(),
        suites.payment_suite(),
        suites.bill_suite(),
    ]


def _critical(*, rows: bool) -> pl.Expr:
    is_row_check = pl.col("check").is_in(sorted(row_checks()))
    failed = ~pl.col("passed") & ~pl.col("broken") & (pl.col("severity") == "critical")
    return failed & (is_row_check if rows else ~is_row_check)


def _stops() -> pl.Expr:
    return pl.col("broken") | _critical(rows=False)


def _faults(findings: pl.DataFrame) -> pl.DataFrame:
    """Give one row an id at fault: fault, stage, reason, in the order of the findings."""
    expected = pl.col("message").str.split("; ").list.last()  # without the count of the others
    reason = pl.format("{}: {}", "check", expected)
    return (
        findings.filter(_critical(rows=True))
        .select("stage", "side", reason=reason, fault="record_ids")
        .explode("fault")
        .drop_nulls("fault")
        .with_columns(
            # Whose raw contact can't be read, of that contact the person can't be read either.
            fault=pl.when((pl.col("stage") == "raw") & (pl.col("side") == "xero"))
            .then(pl.concat_list("fault", pl.col("fault") + ":primary"))
            .otherwise(pl.concat_list("fault"))
        )
        .explode("fault")
        .unique("fault", keep="first", maintain_order=True)
    )


def _named(operations: pl.DataFrame, faults: pl.DataFrame, column: str) -> pl.DataFrame:
    return (
        operations.select("operation_id", fault=pl.col(column))
        .drop_nulls("fault")
        .join(faults, on="fault", how="inner", maintain_order="left", validate="m:1")
        .select("operation_id", "stage", "reason")
    )


def _depending(operations: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    return (
        operations.join(reasons, on="operation_id", how="anti", maintain_order="left")
        .select("operation_id", "depends_on")
        .join(
            reasons.select("stage", depends_on="operation_id"),
            on="depends_on",
            how="inner",
            maintain_order="left",
            validate="m:1",
        )
        .select("operation_id", "stage", reason=pl.format("depends on {}, which is set aside", "depends_on"))
    )


def _let_pass(findings: pl.DataFrame, allowed: Iterable[str]) -> pl.DataFrame:
    let_pass = pl.col("check").is_in(list(allowed)) & _critical(rows=False)
    return findings.with_columns(
        severity=pl.when(let_pass).then(pl.lit("warning")).otherwise(pl.col("severity"))
    )


def _place(row: Mapping[str, Any]) -> str:
    return " ".join(part for part in (row["stage"], row["side"], row["entity"]) if part)


# --- the suites of a stage, with the frames they look at ----------------------------------------------

Prepared = Iterator[tuple[Suite, dict[str, Any]]]


def _raw(
    frames: Mapping[str, pl.DataFrame], params: Mapping[str, Any], con: duckdb.DuckDBPyConnection
) -> Prepared:
    for name, frame in frames.items():
        side, _, object_name = name.partition(".")
        con.register("frame", _plain(frame))
        id_field = suites.XERO_IDS.get(object_name, "ContactID") if side == "xero" else "Id"
        yield suites.raw_suite(side, object_name), {"id_path": f"$.{id_field}"}
    con.register("frame", _snapshots(frames, params))
    yield suites.raw_snapshot_suite(), {}


def _canonical(
    frames: Mapping[str, pl.DataFrame], params: Mapping[str, Any], con: duckdb.DuckDBPyConnection
) -> Prepared:
    import pycountry

    countries = sorted(country.alpha_2 for country in pycountry.countries)
    for name in ("records", "values"):
        con.register(name, _plain(frames[name]))
    for side, entity in sorted(frames["records"].select("side", "entity").unique().rows()):
        binds = {"side": side, "entity": entity, "control": suites.CONTROL}
        yield suites.record_suite(side, entity, list(STATUSES)), binds
        yield suites.value_suite(side, entity, countries), binds
    if "documents" in frames:
        for name in ("documents", "lines"):
            con.register(name, _plain(frames[name]))
        currencies = sorted(currency.alpha_3 for currency in pycountry.currencies)
        yield suites.document_suite(currencies), {}
        yield suites.line_suite(), {"control": suites.CONTROL}


def _plan(
    frames: Mapping[str, pl.DataFrame], params: Mapping[str, Any], con: duckdb.DuckDBPyConnection
) -> Prepared:
    for name in ("operations", "links", "records", "values", "fields"):
        con.register(name, _plain(frames[name]))
    binds = {
        "control": suites.CONTROL,
        "floor": params["floor"],
        "projections": ["", *params["projections"]],  # an empty list would have no type
    }
    for suite in _plan_suites():
        yield suite, binds
    if "invoices" in frames:
        con.register("invoices", _plain(frames["invoices"]))
        yield (
            suites.invoice_suite(),
            {
                "cut_over": params["cut_over"],
                "key_path": f"$.{params['key_field']}",
                "inclusive": params["inclusive"],
            },
        )
    if "owed" in frames:
        for name in ("owed", "settlements"):
            con.register(name, _plain(frames[name]))
        yield suites.payment_suite(), {}
    if "bills" in frames:
        con.register("bills", _plain(frames["bills"]))
        yield suites.bill_suite(), {}


def _plan_suites() -> list[Suite]:
    return [
        suites.operation_suite(list(ACTIONS), list(PHASES), list(SIDES)),
        suites.field_suite(),
        suites.system_suite(),
        suites.unit_suite(),
    ]


PREPARED: Final = {"raw": _raw, "canonical": _canonical, "plan": _plan}


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    # Without enums, so that a word outside the closed set is a finding and not an error of a cast.
    return frame.with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String))


def _snapshots(frames: Mapping[str, pl.DataFrame], params: Mapping[str, Any]) -> pl.DataFrame:
    schema = {
        "object": pl.String,
        "share_of_previous": pl.Float64,
        "tombstone_share": pl.Float64,
        "age_h": pl.Float64,
    }
    rows = [_snapshot(name, frame, params) for name, frame in frames.items()]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _snapshot(
    name: str, frame: pl.DataFrame, params: Mapping[str, Any]
) -> tuple[str, float | None, float, float | None]:
    deleted = int(frame["deleted"].sum()) if "deleted" in frame.columns else 0
    live, floor = frame.height - deleted, params["floor"]
    before = params.get("previous_rows", {}).get(name)
    complete_as_of = params.get("complete_as_of", {}).get(name)
    return (
        name,
        live / before if before and before > floor else None,
        deleted / frame.height if deleted > floor else 0.0,
        (params["now"] - complete_as_of) / timedelta(hours=1) if complete_as_of else None,
    )


def _parameters(suite: Suite, params: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {
        value["$PARAMETER"]
        for check in suite.checks
        for value in check.arguments.values()
        if isinstance(value, dict)
    }
    given = dict(params)
    if "latest" in wanted:
        latest = params["now"] + timedelta(hours=params["clock_skew_h"])
        given["latest"] = latest.astimezone(UTC).replace(tzinfo=None)
    return {name: given[name] for name in wanted}


# --- findings -----------------------------------------------------------------------------------------


def _finding(suite: Suite, judged: Judgement, limits: Mapping[str, Any]) -> dict[str, Any]:
    check = judged.check
    every_id = check.scope == "row" and check.severity == "critical"
    ids = judged.keys if suite.names_records else ()
    return {
        "stage": suite.stage,
        "check": check.name,
        "severity": check.severity,
        "passed": judged.passed,
        "broken": judged.broken,
        "count": judged.count,
        "side": suite.side,
        "entity": suite.entity,
        "record_ids": list(ids if every_id else ids[:KEPT_IDS]),
        "message": _message(suite, judged, limits),
    }


def _message(suite: Suite, judged: Judgement, limits: Mapping[str, Any]) -> str:
    expected = f"expected {judged.check.says}{_limit(judged, limits)}"
    if judged.broken:
        return f"could not run ({judged.why}); {expected}"
    if judged.passed:
        return f"{judged.rows} rows looked at; {expected}"
    if suite.names_records:
        return f"found {judged.count} of {judged.rows} rows otherwise; {expected}"
    # These keys are names of objects, systems and units, never of persons.
    found = (f"{key} ({_number(value)})" for key, value in zip(judged.keys, judged.values, strict=True))
    return f"found {', '.join(found)}; {expected}"


def _limit(judged: Judgement, limits: Mapping[str, Any]) -> str:
    asked = [value["$PARAMETER"] for value in judged.check.arguments.values() if isinstance(value, dict)]
    return "".join(f" (limit {limits[name]})" for name in asked)


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _too_many(suite: Suite, judged: list[Judgement], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Say whether more rows are at fault than may be set aside: then it is not the rows that are wrong."""
    critical = [one for one in judged if one.check.scope == "row" and one.check.severity == "critical"]
    if not critical:
        return []
    at_fault = {key for one in critical for key in one.keys}
    subjects = max(one.subjects for one in critical)
    most = max(params["floor"], int(params["tolerable_share"] * subjects))
    return [
        {
            "stage": suite.stage,
            "check": TOO_MANY,
            "severity": "critical",
            "passed": len(at_fault) <= most,
            "broken": False,
            "count": len(at_fault),
            "side": suite.side,
            "entity": suite.entity,
            "record_ids": sorted(at_fault)[:KEPT_IDS],
            "message": f"found {len(at_fault)} of {subjects} at fault; expected at most {most} to set aside",
        }
    ]

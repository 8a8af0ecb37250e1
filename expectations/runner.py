"""Runs one suite by Great Expectations over a table made in DuckDB, and reads what it found.

What passed whole before is not asked again: the same rows pass the same checks. Great Expectations costs a tenth
of a second a table, whatever is in it; in most runs all tables but two or three are what they were.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from expectations.suites import Check, Suite

if TYPE_CHECKING:
    import duckdb

# Read when Great Expectations is imported, hence set before it; what the user set stands.
SILENCE: Final = {"GX_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
ALL: Final = 10_000_000  # index lists are cut at 20 unless more are asked for


@dataclass(frozen=True)
class Judgement:
    """What came of one check: which rows failed it, or why it could not run."""

    check: Check
    passed: bool
    broken: bool
    keys: tuple[str, ...]  # of the rows at fault, in order, each once; a row without a key is only counted
    count: int
    rows: int  # that the table has
    subjects: int = 0  # the keys that it has
    values: tuple[Any, ...] = ()  # what was found at `keys`; of a person where the keys are records
    why: str = ""  # the kind of error where it is broken; never its text, which may quote a value


Size = tuple[int, int]  # rows, and keys that they have


@dataclass
class Passed:
    """Digests of tables that passed all checks of their suites: rows, and what was asked of them.

    before: as the caller kept them from its last run. now: of this run, to be kept in their place.
    """

    before: frozenset[str] = frozenset()
    now: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Tables:
    """A connection to register frames on, and the function that judges a suite with them."""

    con: duckdb.DuckDBPyConnection
    judge: Callable[[Suite, Mapping[str, Any], Mapping[str, Any]], list[Judgement]]


@contextmanager
def opened_tables(passed: Passed) -> Generator[Tables]:
    """Open a database in memory, and a session of Great Expectations upon it once one is needed."""
    import duckdb

    session: list[Any] = []
    with duckdb.connect() as con, ExitStack() as stack:
        con.execute("set timezone = 'UTC'")

        def judge(suite: Suite, binds: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[Judgement]:
            try:
                size = _make_table(con, suite, binds)
                digest = _digest(con, suite, parameters)
                if digest in passed.before:
                    judged = [_all_well(check, size) for check in suite.checks]
                else:
                    if not session:
                        session.append(_opened_session(con, stack))
                    asset = session[0].add_table_asset(suite.table, table_name=suite.table)
                    judged = _validate(asset, suite, parameters, size)
            except duckdb.Error as error:
                return [_broken(check, type(error).__name__) for check in suite.checks]
            if all(one.passed and not one.count for one in judged):
                passed.now.add(digest)
            return judged

        yield Tables(con, judge)


def _opened_session(con: duckdb.DuckDBPyConnection, stack: ExitStack) -> Any:
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    from expectations.dialect import address_of

    # It logs, with the values, what it also returns.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    address = stack.enter_context(address_of(con))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    with warnings.catch_warnings():  # it proposes its own PostgreSQL source
        warnings.simplefilter("ignore")
        return context.data_sources.add_sql("frames", connection_string=address)


def _digest(con: duckdb.DuckDBPyConnection, suite: Suite, parameters: Mapping[str, Any]) -> str:
    """Give a name to a table's rows, in any order, and to all that is asked of them.

    But for `latest`: what was not ahead of the clock will not be. (The caller minds a clock that was set back.)
    """
    lines = con.table(suite.table).set_alias("t").project("sha256(to_json(t)::varchar) as line")
    [(rows,)] = lines.aggregate("sha256(coalesce(string_agg(line, '' order by line), ''))").fetchall()
    asked = {
        "rows": rows,
        "columns": con.table(suite.table).columns,
        "suite": [suite.stage, suite.side, suite.entity, suite.table, suite.key],
        "checks": [asdict(check) for check in suite.checks],
        "parameters": {name: value for name, value in parameters.items() if name != "latest"},
        "by": version("great-expectations"),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def _all_well(check: Check, size: Size) -> Judgement:
    return Judgement(check, passed=True, broken=False, keys=(), count=0, rows=size[0], subjects=size[1])


def _make_table(con: duckdb.DuckDBPyConnection, suite: Suite, binds: Mapping[str, Any]) -> Size:
    wanted = {name: binds[name] for name in suite.binds}
    con.execute(f'create table "{suite.table}" as {suite.sql}', wanted).fetchall()
    [(rows, subjects)] = con.table(suite.table).aggregate(f"count(*), count(distinct {suite.key})").fetchall()
    return int(rows), int(subjects)


def _validate(asset: Any, suite: Suite, parameters: Mapping[str, Any], size: Size) -> list[Judgement]:
    """Ask whether all is well, which costs half; and only where it is not, what is at fault."""
    import great_expectations as gx
    from great_expectations import expectations as gxe

    expectations = [
        getattr(gxe, check.expectation)(
            **check.arguments, severity=check.severity, meta={"check": check.name}
        )
        for check in suite.checks
    ]
    batch = asset.add_batch_definition_whole_table("all").get_batch()
    asked = gx.ExpectationSuite(name=suite.table, expectations=expectations)
    first = batch.validate(asked, expectation_parameters=dict(parameters), result_format="BOOLEAN_ONLY")
    if len(first.results) == len(suite.checks) and all(
        found.success and not _raised(found.exception_info or {}) for found in first.results
    ):
        return [_all_well(check, size) for check in suite.checks]
    result = batch.validate(
        asked,
        expectation_parameters=dict(parameters),
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [suite.key],
            "partial_unexpected_count": ALL,
        },
    )
    # Results come in any order, hence the names in meta.
    by_name = {found.expectation_config.meta["check"]: found for found in result.results}
    return [_read(check, by_name.get(check.name), suite.key, size) for check in suite.checks]


def _read(check: Check, found: Any, key: str, size: Size) -> Judgement:
    """Read one result. An expectation that breaks does not raise: it leaves its exception in the result."""
    if found is None:
        return _broken(check, "no result")
    if _raised(found.exception_info or {}):
        return _broken(check, "it raised")
    result = found.result or {}
    at_fault = {
        str(row[key]): row.get(check.arguments.get("column"))
        for row in result.get("unexpected_index_list") or ()
        if row.get(key) is not None
    }
    return Judgement(
        check=check,
        passed=bool(found.success),
        broken=False,
        keys=tuple(at_fault),
        count=int(result.get("unexpected_count") or 0),
        rows=size[0],
        subjects=size[1],
        values=tuple(at_fault.values()),
    )


def _raised(info: Mapping[str, Any]) -> bool:
    # Either one record, or one for each metric that the expectation asked for.
    records = [info] if "raised_exception" in info else info.values()
    return any(record["raised_exception"] for record in records)


def _broken(check: Check, why: str) -> Judgement:
    return Judgement(check, passed=False, broken=True, keys=(), count=0, rows=0, why=why)

"""Runs one suite by Great Expectations over a table made in DuckDB, and reads what it found."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Tables:
    """A connection to register frames on, and the function that judges a suite with them."""

    con: duckdb.DuckDBPyConnection
    judge: Callable[[Suite, Mapping[str, Any], Mapping[str, Any]], list[Judgement]]


@contextmanager
def opened_tables() -> Generator[Tables]:
    """Open a database in memory and a session of Great Expectations upon it."""
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)
    import duckdb
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    from expectations.dialect import address_of

    # It logs, with the values, what it also returns.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    with duckdb.connect() as con, address_of(con) as address:
        con.execute("set timezone = 'UTC'")
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        with warnings.catch_warnings():  # it proposes its own PostgreSQL source
            warnings.simplefilter("ignore")
            source = context.data_sources.add_sql("frames", connection_string=address)

        def judge(suite: Suite, binds: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[Judgement]:
            try:
                size = _make_table(con, suite, binds)
                asset = source.add_table_asset(suite.table, table_name=suite.table)
            except duckdb.Error as error:
                return [_broken(check, type(error).__name__) for check in suite.checks]
            return _validate(context, asset, suite, parameters, size)

        yield Tables(con, judge)


def _make_table(con: duckdb.DuckDBPyConnection, suite: Suite, binds: Mapping[str, Any]) -> tuple[int, int]:
    wanted = {name: binds[name] for name in suite.binds}
    con.execute(f'create table "{suite.table}" as {suite.sql}', wanted).fetchall()
    [(rows, subjects)] = con.table(suite.table).aggregate(f"count(*), count(distinct {suite.key})").fetchall()
    return int(rows), int(subjects)


def _validate(
    context: Any, asset: Any, suite: Suite, parameters: Mapping[str, Any], size: tuple[int, int]
) -> list[Judgement]:
    import great_expectations as gx
    from great_expectations import expectations as gxe

    expectations = [
        getattr(gxe, check.expectation)(
            **check.arguments, severity=check.severity, meta={"check": check.name}
        )
        for check in suite.checks
    ]
    definition = gx.ValidationDefinition(
        name=suite.table,
        suite=context.suites.add(gx.ExpectationSuite(name=suite.table, expectations=expectations)),
        data=asset.add_batch_definition_whole_table("all"),
    )
    result = context.validation_definitions.add(definition).run(
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


def _read(check: Check, found: Any, key: str, size: tuple[int, int]) -> Judgement:
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

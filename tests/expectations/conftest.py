"""One session of findings for many tests.

Great Expectations takes five seconds to import, so a worker imports it once, and all planted bad rows of
a stage are checked in one run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from expectation_frames import NOW

Checked = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def checked() -> Checked:
    """Run a stage once for equal input, however many tests ask."""
    from expectations.checks import run_checks

    seen: dict[Any, pl.DataFrame] = {}

    def run(
        name: str, stage: str, make: Callable[[], dict[str, pl.DataFrame]], **params: Any
    ) -> pl.DataFrame:
        if name not in seen:
            seen[name] = run_checks(stage, make(), {"now": NOW} | params)
        return seen[name]

    return run

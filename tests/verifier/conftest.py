"""A pair that was adopted and edited; what its runs left, and what the systems logged and hold."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "verifier"), str(ROOT / "tests" / "whole"), str(Path(__file__).parent)]

from evidence import Evidence, read_evidence  # noqa: E402
from whole_pair import running  # noqa: E402


@pytest.fixture(scope="session")
def true(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """The truth: a plan carried out in two runs, new records on both sides, links and changes."""
    folder = tmp_path_factory.mktemp("verified")
    with running(folder) as pair:
        pair.enable_writes()
        first = pair.plan()
        pair.set("push", bulk_from_rows=15)
        pair.apply(first, ["link", "fill"])  # the links of one object are a job
        pair.set("push", bulk_from_rows=2_000)
        pair.apply(first)
        pair.adopt()
        (account, _), (_, contact), *_ = pair.linked()
        pair.in_salesforce.change(account["Id"], Phone="020 7946 0999")
        pair.in_xero.change(contact["ContactID"], EmailAddress="eleanor@cityagency.example")
        pair.apply(pair.plan())
        history = {side: pair.requests(side) for side in ("salesforce", "xero")}
        records = {side: list(pair.dump(side).values()) for side in ("salesforce", "xero")}
    return read_evidence(folder, history, records)

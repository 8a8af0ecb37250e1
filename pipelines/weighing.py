"""Keeps what a push learned of the weight of Xero's replies, for the estimates of the next plans.

By "side.object.kind" a count and a number of bytes, in the journal's meta: a journal that is lost loses only them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.journal_store import dumps
from reconcile.traffic import Off, learned

if TYPE_CHECKING:
    from pipelines.journal import Journal
    from pipelines.journal_lease import Lease

LEARNED: Final = "weights_learned"  # a name in the journal's meta
CALLS_OFF: Final = 0.02
Met = Mapping[str, tuple[int, int]]


def known(journal: Journal) -> dict[str, float]:
    """Give by how many bytes a row was off, by "side.object.kind"; empty before the first push."""
    return {key: off for key, (off, _) in _kept(journal).items()}


def went_as_priced(used: Mapping[str, int], priced: Mapping[str, int]) -> bool:
    """Say whether a push took about the calls that it was priced at: else more was other than the replies."""
    return all(abs(calls - priced[side]) <= CALLS_OFF * priced[side] for side, calls in used.items())


def learn(
    journal: Journal, lease: Lease, expected: pl.DataFrame, weights: Mapping[str, float], *met: Met
) -> None:
    """Learn from a push that went as it was priced. Takes EXCHANGES and the weights by which they were reckoned.

    met: calls and bytes as the clients counted them before the push, after it, and after it was read again.
    """
    # What was read before the writes are looks, at whatever changed.
    came = {**_since(met[0], met[1]), **_since(met[1], met[2])}
    found = learned(expected, came, weights, _kept(journal))
    with journal.write(lease) as con:
        journal.put_meta(con, LEARNED, dumps(found))


def _kept(journal: Journal) -> dict[str, Off]:
    return {key: (off, rows) for key, (off, rows) in json.loads(journal.get_meta(LEARNED) or "{}").items()}


def _since(before: Met, after: Met) -> dict[str, tuple[int, int]]:
    return {
        what: (calls - before.get(what, (0, 0))[0], came - before.get(what, (0, 0))[1])
        for what, (calls, came) in after.items()
        if calls > before.get(what, (0, 0))[0]
    }

"""What every rule works on: one organisation's records, its time, its dialect, and who is at work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sandbox.clock import Clock
from sandbox.dialect import Dialect
from sandbox.store import Body, Store

SYSTEM = "System Generated"  # spec: the user of what no person did


@dataclass(frozen=True)
class Books:
    """user: who History names; client: the app that calls, None for a person on the web pages."""

    store: Store
    clock: Clock
    dialect: Dialect
    user: str = SYSTEM
    client: str | None = None

    def used_by(self, user: str, client: str | None = None) -> Books:
        return replace(self, user=user, client=client)


@dataclass(frozen=True)
class Written:
    """What became of one element: the record as it is now, or the errors."""

    sent: Body
    record: Body | None = None
    record_id: str | None = None
    errors: list[str] = field(default_factory=list)


Write = Callable[[list[Body]], list[Written]]

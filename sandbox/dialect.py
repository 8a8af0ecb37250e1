"""Names every behaviour that nobody could confirm, with its plausible values and the one in force.

A side lists its switches; a file (TOML or JSON, tables [xero] and [salesforce]) or /sandbox/dialect chooses.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sandbox.store import Store

Evidence = Literal["recorded", "spec", "second hand", "unconfirmed"]
Value = str | int | bool


@dataclass(frozen=True)
class Switch:
    """One behaviour: the values it may have, and where they come from."""

    name: str
    values: tuple[Value, ...]
    default: Value
    evidence: Evidence
    about: str


class UnknownSwitch(Exception):
    """A dialect names a switch, or a value of one, that this server does not have."""


class Dialect:
    """The values in force on one server; a choice is kept in its store and outlives a restart."""

    def __init__(self, switches: tuple[Switch, ...], store: Store | None = None) -> None:
        self._switches = {switch.name: switch for switch in switches}
        self._store = store
        kept: dict[str, Value] = (store.meta("dialect") or {}) if store else {}
        self._chosen = {name: value for name, value in kept.items() if name in self._switches}

    def __getitem__(self, name: str) -> Any:
        return self._chosen.get(name, self._switches[name].default)

    def choose(self, **values: Value) -> None:
        for name, value in values.items():
            self._check(name, value)
        self._chosen.update(values)
        if self._store:
            self._store.set_meta("dialect", self._chosen)

    def forget(self) -> None:
        """Back to the defaults."""
        self._chosen = {}
        if self._store:
            self._store.set_meta("dialect", {})

    def _check(self, name: str, value: Value) -> None:
        if name not in self._switches:
            raise UnknownSwitch(f"no switch {name!r}; there are: {', '.join(sorted(self._switches))}")
        if value not in self._switches[name].values:
            raise UnknownSwitch(
                f"{name} can't be {value!r}; it may be one of {list(self._switches[name].values)}"
            )

    def switches(self) -> list[dict[str, Any]]:
        """The table of switches: name, values, default, evidence, about, and the value in force."""
        return [{**asdict(switch), "value": self[name]} for name, switch in self._switches.items()]


def read_dialect(path: Path) -> dict[str, dict[str, Value]]:
    """Choices by side from a TOML or JSON file: {"xero": {...}, "salesforce": {...}}."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)

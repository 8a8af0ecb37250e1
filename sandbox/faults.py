"""Decides which request meets which fault: by a list of rules, or by a seed.

Kinds (`seconds`, `after_s`, `headers` and `status` are options of a rule):
    delay          answered late by `seconds` (the network is slow; applied after the wait)
    slow           the server works `seconds` on it (it counts as one of the concurrent requests meanwhile)
    drop_before    the connection is cut and nothing is applied
    drop_after     applied, and the connection is cut without a reply
    late           the connection is cut at once, and the request is applied `after_s` later by this clock
    429, 503       refused, nothing applied; `headers` replaces what goes with it (an odd Retry-After ...)
    500            fails, nothing applied
    500_applied    applied, and yet answered 500
    partial        of a batch only the first half is applied; then 500
    short          all applied, the reply lacks its last element
    reordered      all applied, the reply's elements come in reversed order
    expired_token  refused as if the token had just run out
    malformed      applied, the reply is no valid JSON
    cut            applied, the reply ends half-way
    html           applied, the reply is an HTML page
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from sandbox.store import Store

KINDS = (
    "delay", "slow", "drop_before", "drop_after", "late", "429", "503", "500", "500_applied", "partial",
    "short", "reordered", "expired_token", "malformed", "cut", "html",
)  # fmt: skip


class WrongFault(Exception):
    """A rule names a kind or an option that does not exist."""


@dataclass
class Fault:
    """A rule: the next `times` requests that match, after `skip` of them, meet this fault."""

    kind: str
    method: str | None = None  # exact, or None for any
    path: str | None = None  # regular expression, searched in the path with its query
    times: int = 1  # -1: without end
    skip: int = 0
    seconds: float = 0.5
    after_s: float = 1.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def matches(self, method: str, target: str) -> bool:
        return (self.method is None or self.method == method) and (
            self.path is None or re.search(self.path, target) is not None
        )


class Faults:
    """The faults set on one server; rules and their counts are kept in its store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        kept = store.meta("faults") or {}
        self._rules = [Fault(**rule) for rule in kept.get("rules", [])]
        self._seeded: dict[str, Any] | None = kept.get("seeded")
        self._drawn: int = kept.get("drawn", 0)

    def set_rules(self, rules: list[dict[str, Any]]) -> None:
        """Add rules to those in force."""
        self._rules.extend(_rule(rule) for rule in rules)
        self._save()

    def set_seed(
        self, seed: int, *, rate: float = 0.1, kinds: list[str] | None = None, **options: Any
    ) -> None:
        """From now on a share of all requests meets one of the kinds; the same seed gives the same ones."""
        chosen = list(kinds or KINDS)
        for kind in chosen:
            _rule({"kind": kind, **options})
        self._seeded = {"seed": seed, "rate": rate, "kinds": chosen, "options": options}
        self._drawn = 0
        self._save()

    def clear(self) -> None:
        self._rules.clear()
        self._seeded, self._drawn = None, 0
        self._save()

    def listed(self) -> dict[str, Any]:
        return {"rules": [vars(rule) for rule in self._rules], "seeded": self._seeded, "drawn": self._drawn}

    def draw(self, method: str, target: str) -> Fault | None:
        """The fault that this request meets, if any; counts it."""
        for rule in self._rules:
            if rule.times and rule.matches(method, target):
                if rule.skip:
                    rule.skip -= 1
                else:
                    rule.times -= rule.times > 0
                    self._save()
                    return rule
                self._save()
        return self._draw_seeded(method, target)

    def _draw_seeded(self, method: str, target: str) -> Fault | None:
        if self._seeded is None:
            return None
        self._drawn += 1
        self._save()
        digest = hashlib.sha256(f"{self._seeded['seed']}:{self._drawn}".encode()).digest()
        if int.from_bytes(digest[:4], "big") / 2**32 >= self._seeded["rate"]:
            return None
        kinds = self._seeded["kinds"]
        fault = _rule({"kind": kinds[digest[4] % len(kinds)], **self._seeded["options"]})
        return fault if fault.matches(method, target) else None

    def _save(self) -> None:
        self._rules = [rule for rule in self._rules if rule.times]
        self._store.set_meta("faults", self.listed())


def _rule(options: dict[str, Any]) -> Fault:
    try:
        kind = str(options["kind"])
        others: dict[str, Any] = {name: value for name, value in options.items() if name != "kind"}
        fault = Fault(kind, **others)
    except (TypeError, KeyError) as error:
        raise WrongFault(f"not a fault: {sorted(options)}; {error}") from None
    if fault.kind not in KINDS:
        raise WrongFault(f"no fault {fault.kind!r}; there are: {', '.join(KINDS)}")
    return fault

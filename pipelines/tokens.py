"""What the logins need of a token store, whoever keeps it (the journal does)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

USED_SHARE: Final = 5 / 6  # of a token's life: Xero's 30 minutes are renewed five minutes early


class Tokens(Protocol):
    """Durable on return; values are JSON objects and are encrypted by whoever keeps them."""

    @property
    def durable(self) -> bool:
        """Say whether tokens outlive this process."""
        ...

    def get(self, side: str, kind: str) -> dict[str, Any] | None: ...

    def put(self, side: str, kind: str, value: dict[str, Any]) -> None: ...


def fingerprint(*parts: str) -> str:
    """Name the credentials without holding them."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def access_record(
    grant: Mapping[str, Any], owner: str, now: datetime, *, default_life_s: int
) -> dict[str, Any]:
    """Give what is kept of a login's reply."""
    told = grant.get("expires_in")
    life_s = told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else default_life_s
    return {
        "access_token": str(grant["access_token"]),
        "renew_at": (now + timedelta(seconds=life_s * USED_SHARE)).isoformat(),
        "expires_at": (now + timedelta(seconds=life_s)).isoformat(),
        "scope": str(grant.get("scope", "")),
        "owner": owner,
    }


def fresh(kept: Mapping[str, Any], now: datetime) -> bool:
    """Say whether a kept access token lives long enough to be used."""
    try:
        return datetime.fromisoformat(str(kept.get("renew_at", ""))).astimezone(UTC) > now
    except ValueError:
        return False

"""Opens Xero's door: client credentials (a custom connection), or a refresh token that rotates.

Facts: access tokens live 30 minutes; a refresh token is replaced at each use, and its predecessor may be
tried again for 30 minutes where the answer was lost (developer.xero.com/faq/oauth2, read 2026).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from pipelines.settings import Settings
from pipelines.tokens import Tokens, access_record, fingerprint, fresh
from pipelines.wire import Wire, read_json, unexpected
from reconcile.errors import LoginRefused

SIDE: Final = "xero"
TOKEN_PATH: Final = "/connect/token"
LIFE_S: Final = 1800  # where the reply does not say


class XeroAuth:
    """Gives access tokens, from the store where one lives there, else by a login."""

    def __init__(self, settings: Settings, tokens: Tokens, wire: Wire) -> None:
        self.settings, self.tokens, self.wire = settings.xero, tokens, wire
        self._lock_file = settings.pair.data_dir / "xero-login.lock"
        # A token belongs to the credentials that got it: changed settings must not use an older one.
        self._app = fingerprint(self.settings.identity_url, self.settings.client_id)
        self._owner = fingerprint(self._app, self.settings.scopes, self.settings.auth)
        self._one_at_a_time = threading.Lock()
        self._unproven = False

    def access_token(self, *, rejected: str | None = None) -> str:
        """Give a token to call with; `rejected` is one that the API refused just now.

        Raises LoginRefused, and what the wire raises.
        """
        with self._one_at_a_time:
            token = self._stored(rejected)
            if token is None:
                with self._across_processes():
                    token = self._stored(rejected) or self._log_in()
            return token

    def worked(self) -> None:
        """The API took the token: the predecessor of the refresh token is no longer needed."""
        if self._unproven:
            self._unproven = False
            kept = self.tokens.get(SIDE, "refresh") or {}
            if kept.get("previous"):
                self.tokens.put(SIDE, "refresh", {**kept, "previous": None})

    def granted_scopes(self) -> frozenset[str]:
        """Give the scopes that the last login said it grants; empty where it did not say."""
        kept = self.tokens.get(SIDE, "access") or {}
        return frozenset(str(kept.get("scope", "")).split())

    def _stored(self, rejected: str | None) -> str | None:
        kept = self.tokens.get(SIDE, "access") or {}
        token = kept.get("access_token")
        usable = token and token != rejected and kept.get("owner") == self._owner
        return str(token) if usable and fresh(kept, self.wire.governor.now()) else None

    def _log_in(self) -> str:
        if self.settings.auth == "refresh_token":
            return self._refresh()
        reply = self._ask({"grant_type": "client_credentials", "scope": self.settings.scopes})
        if reply.status_code != 200:
            raise self._refused(reply)
        return self._keep_access(self._grant(reply))

    def _refresh(self) -> str:
        candidates = self._candidates()
        if not candidates:
            raise LoginRefused(
                side=SIDE,
                at=self.settings.identity_url,
                found="there is no refresh token",
                next_step="Put the first one into xero.refresh_token (the app must be consented to once).",
            )
        reply: httpx.Response | None = None
        for token in candidates:
            # Durable before the call: after a crash the store holds what Xero accepts for 30 minutes.
            kept = self.tokens.get(SIDE, "refresh") or {}
            started = {"using": token, "started_at": self.wire.governor.now().isoformat()}
            self.tokens.put(SIDE, "refresh", {**kept, **started, "app": self._app})
            reply = self._ask({"grant_type": "refresh_token", "refresh_token": token})
            if reply.status_code == 200:
                return self._keep_refreshed(token, self._grant(reply))
            if _error(reply) != "invalid_grant":
                break
        assert reply is not None
        raise self._refused(reply)

    def _candidates(self) -> list[str]:
        """Give the tokens to try, best first: the newest, a seed newly set, then the predecessor."""
        kept = self.tokens.get(SIDE, "refresh") or {}
        seed = self.settings.refresh_token.get_secret_value()
        ours = kept if kept.get("app") == self._app else {}
        new_seed = seed if seed and _digest(seed) != ours.get("seed") else None
        # A seed that was changed by hand is a new consent: it goes first.
        ordered = [new_seed if ours else None, ours.get("current"), ours.get("previous"), seed or None]
        return list(dict.fromkeys(token for token in ordered if token))

    def _keep_refreshed(self, used: str, grant: dict[str, Any]) -> str:
        """Make the new pair durable before it is used; the old one stays until the new has worked."""
        seed = self.settings.refresh_token.get_secret_value()
        successor = grant.get("refresh_token")
        self.tokens.put(
            SIDE,
            "refresh",
            {
                "current": str(successor) if successor else used,
                "previous": used if successor else None,
                "app": self._app,
                "seed": _digest(seed) if seed else None,
                "refreshed_at": self.wire.governor.now().isoformat(),
            },
        )
        self._unproven = True
        return self._keep_access(grant)

    def _keep_access(self, grant: dict[str, Any]) -> str:
        kept = access_record(grant, self._owner, self.wire.governor.now(), default_life_s=LIFE_S)
        self.tokens.put(SIDE, "access", kept)
        return str(kept["access_token"])

    def _ask(self, form: Mapping[str, str]) -> httpx.Response:
        credentials = httpx.BasicAuth(self.settings.client_id, self.settings.client_secret.get_secret_value())
        request = httpx.Request("POST", self.settings.identity_url + TOKEN_PATH, data=dict(form))
        request = next(credentials.auth_flow(request))
        return self.wire.send(request, login=True)

    def _grant(self, reply: httpx.Response) -> dict[str, Any]:
        grant = read_json(SIDE, TOKEN_PATH, reply.content)
        if not isinstance(grant, dict) or not grant.get("access_token"):
            raise unexpected(SIDE, TOKEN_PATH, reply.content, "an access token")
        return grant

    def _refused(self, reply: httpx.Response) -> LoginRefused:
        error = _error(reply)
        steps = {
            "invalid_client": "Check xero.client_id and xero.client_secret.",
            "unauthorized_client": "The app may not use this grant: check xero.auth, "
            "and that the custom connection is authorised.",
            "invalid_scope": "Check xero.scopes against the scopes that the app was given.",
            "invalid_grant": "The refresh token is used up, revoked or older than 60 days: "
            "give consent again, and put the new token into xero.refresh_token.",
        }
        return LoginRefused(
            side=SIDE,
            at=self.settings.identity_url,
            found=error or f"HTTP {reply.status_code}",
            next_step=steps.get(error, "Check xero.identity_url and the credentials."),
        )

    @contextmanager
    def _across_processes(self) -> Iterator[None]:
        """Two processes that refresh at once would each make the other's token the older one."""
        if self.settings.auth != "refresh_token":
            yield
            return
        with locked(self._lock_file):
            yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock that ends with the process."""
    try:
        import fcntl
    except ImportError:  # no such locks there; the pair's lease is the first net
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _error(reply: httpx.Response) -> str:
    """Give the error's code, of a closed set: the vendor's sentence may quote what we sent."""
    try:
        found = reply.json().get("error")
    except (ValueError, AttributeError):
        return ""
    known = (
        "invalid_client",
        "invalid_grant",
        "invalid_scope",
        "unauthorized_client",
        "invalid_request",
        "unsupported_grant_type",
    )
    return found if found in known else ""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

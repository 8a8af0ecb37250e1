"""Opens Xero's door: client credentials (a custom connection), or a refresh token that rotates.

Facts: access tokens live 30 minutes; a refresh token is replaced at each use, and its predecessor may be
tried again for 30 minutes where the answer was lost (developer.xero.com/faq/oauth2, read 2026).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any, Final

import httpx

from pipelines import journal_crash as crash
from pipelines.settings import Settings
from pipelines.tokens import Tokens, access_record, fingerprint, fresh
from pipelines.wire import Wire, read_json, unexpected
from reconcile.errors import LoginRefused, WrongSetting

SIDE: Final = "xero"
TOKEN_PATH: Final = "/connect/token"
LIFE_S: Final = 1800  # where the reply does not say


class XeroAuth:
    """Gives access tokens, from the store where one lives there, else by a login."""

    def __init__(self, settings: Settings, tokens: Tokens, wire: Wire) -> None:
        self.settings, self.tokens, self.wire = settings.xero, tokens, wire
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
                # Two processes that refresh at once would each make the other's token the older one.
                with self.wire.governor.login_turn():
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
        if not self.tokens.durable:
            raise WrongSetting(
                at="journal.key",
                found="nothing",
                expected="a key: a refresh token is replaced at each use, and its successor must be kept",
            )
        tried: set[str] = set()
        refused: LoginRefused | None = None
        # Asked anew each time: somebody on another machine may have kept a newer one meanwhile.
        while left := [token for token in self._candidates() if token not in tried]:
            tried.add(left[0])
            # Durable before the call: after a crash the store holds what Xero accepts for 30 minutes.
            started = {"using": left[0], "started_at": self.wire.governor.now().isoformat(), "app": self._app}
            self.tokens.put(SIDE, "refresh", {**self._kept(), **started})
            reply = self._ask({"grant_type": "refresh_token", "refresh_token": left[0]})
            if reply.status_code == 200:
                return self._keep_refreshed(left[0], self._grant(reply))
            refused = self._refused(reply)
            if _error(reply) != "invalid_grant":
                break
        raise refused or LoginRefused(
            side=SIDE,
            at=self.settings.identity_url,
            found="there is no refresh token",
            next_step="Put the first one into xero.refresh_token (the app must be consented to once).",
        )

    def _kept(self) -> dict[str, Any]:
        """Give what is kept of this app's tokens; those of an app that was named before are of no use."""
        kept = self.tokens.get(SIDE, "refresh") or {}
        return kept if kept.get("app") == self._app else {}

    def _candidates(self) -> list[str]:
        """Give the tokens to try, best first: the newest, a seed newly set, then the predecessor."""
        ours = self._kept()
        seed = self.settings.refresh_token.get_secret_value()
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
        crash.point()
        reply = self.wire.send(request, login=True)
        crash.point()
        return reply

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

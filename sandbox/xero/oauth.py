"""Gives and checks tokens as identity.xero.com does: custom connection, refresh with rotation, revocation.

All times by the sandbox's clock. Tokens are kept by their hash; what is kept can't be used to log in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from sandbox.clock import Clock, from_ms
from sandbox.store import Body, Store
from sandbox.xero.wire import PROVIDER, bare, json_reply

MINUTE_MS = 60_000
ACCESS_MS = 30 * MINUTE_MS  # documented
GRACE_MS = 30 * MINUTE_MS  # documented: a rotated refresh token works on for 30 minutes
UNUSED_MS = 60 * 24 * 60 * MINUTE_MS  # documented: 60 days

PERSON = "Pat Morgan"  # who edits by hand where a call names nobody
SCOPES = (
    "accounting.contacts accounting.contacts.read accounting.settings accounting.settings.read "
    "accounting.invoices accounting.invoices.read accounting.payments accounting.payments.read"
)


@dataclass(frozen=True)
class Bearer:
    """Who holds an access token, and what it is good for."""

    client_id: str
    scopes: frozenset[str]
    event: str
    expires_ms: int
    custom: bool


class Logins:
    """The clients, tokens and connections of one sandbox."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def main(self) -> Body:
        """The sandbox's own client, made on the first call: client_id, client_secret, tenant_id, scopes."""
        kept = self._store.kept("credentials", "main")
        if kept is None:
            client = self.add_client("main", SCOPES)
            kept = {**client, "tenant_id": str(uuid.uuid4()), "connection_id": str(uuid.uuid4())}
            kept |= {"created_ms": self._clock.now_ms()}
            self._store.keep("credentials", "main", kept)
        return kept

    def person(self) -> Body:
        """A second client, for a person who edits Xero by hand; made on the first call."""
        kept = self._store.kept("credentials", "person")
        if kept is None:
            kept = self.add_client("person", SCOPES)
            self._store.keep("credentials", "person", kept)
        return kept

    def name_of(self, client_id: str) -> str:
        """What Xero calls an app: its name; the second login is a person's."""
        if client_id == self.main()["client_id"]:
            return PROVIDER
        if client_id == self.person()["client_id"]:
            return PERSON
        return (self._store.kept("client", client_id) or {"name": client_id})["name"]

    def add_client(self, name: str, scopes: str) -> Body:
        """Another app that may connect: another program, or a person editing."""
        client = {
            "client_id": secrets.token_hex(16).upper(),
            "client_secret": secrets.token_urlsafe(32),
            "scopes": scopes,
            "name": name,
        }
        self._store.keep("client", client["client_id"], client)
        return client

    # -- the token endpoint

    def token(self, form: Mapping[str, str], authorization: str | None) -> Response:
        """POST /connect/token: Basic header or client_id and client_secret in the form (tried)."""
        client = self._client(form, authorization)
        if client is None:
            return _oauth_error("invalid_client")
        grant = form.get("grant_type")
        if grant == "client_credentials":
            return self._for_custom_connection(client, form)
        if grant == "refresh_token":
            return self._refreshed(client, form.get("refresh_token", ""))
        return _oauth_error("unsupported_grant_type")

    def _client(self, form: Mapping[str, str], authorization: str | None) -> Body | None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization and authorization.lower().startswith("basic "):
            try:
                pair = base64.b64decode(authorization[6:]).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
            client_id, _, secret = pair.partition(":")
        client = self._store.kept("client", client_id)
        right = client is not None and secrets.compare_digest(
            client["client_secret"].encode(), secret.encode()
        )
        return client if right else None

    def _for_custom_connection(self, client: Body, form: Mapping[str, str]) -> Response:
        allowed = client["scopes"].split()
        wanted = form.get("scope", "").split() or allowed
        if not set(wanted) <= set(allowed):
            return _oauth_error("invalid_scope")
        return json_reply(200, self._issued(client["client_id"], wanted, str(uuid.uuid4()), custom=True))

    def _refreshed(self, client: Body, token: str) -> Response:
        with self._store.transaction():
            kept = self._store.kept("token", _refresh_id(token))
            now = self._clock.now_ms()
            if kept is None or kept["client_id"] != client["client_id"] or not _is_usable(kept, now):
                return _oauth_error("invalid_grant")
            self._store.keep("token", _refresh_id(token), {**kept, "rotated_ms": kept["rotated_ms"] or now})
            body = self._issued(client["client_id"], kept["scopes"], kept["event"], custom=False)
            body["refresh_token"] = self._new_refresh(client["client_id"], kept["scopes"], kept["event"])
        return json_reply(200, body)

    def grant(self, client_id: str, scopes: str | None) -> Body:
        """What a person's consent gives: a first set of tokens (a control call; no vendor's endpoint)."""
        client = self._store.kept("client", client_id)
        wanted = (scopes or client["scopes"]).split()
        event = str(uuid.uuid4())
        with self._store.transaction():
            body = self._issued(client_id, wanted, event, custom=False)
            return {**body, "refresh_token": self._new_refresh(client_id, wanted, event)}

    def _issued(self, client_id: str, scopes: list[str], event: str, *, custom: bool) -> Body:
        now = self._clock.now_ms()
        access = _jwt({
            "nbf": now // 1000, "exp": (now + ACCESS_MS) // 1000, "iss": "https://identity.xero.com",
            "aud": "https://identity.xero.com/resources", "client_id": client_id,
            "jti": secrets.token_hex(16), "authentication_event_id": event, "scope": scopes,
        })  # fmt: skip
        kept = {
            "client_id": client_id, "scopes": scopes, "event": event, "expires_ms": now + ACCESS_MS,
            "custom": custom,
        }  # fmt: skip
        self._store.keep("token", _access_id(access), kept)
        return {
            "access_token": access,
            "expires_in": ACCESS_MS // 1000,
            "token_type": "Bearer",
            "scope": " ".join(scopes),
        }

    def _new_refresh(self, client_id: str, scopes: list[str], event: str) -> str:
        token = secrets.token_urlsafe(32)
        kept = {
            "client_id": client_id, "scopes": scopes, "event": event, "made_ms": self._clock.now_ms(),
            "rotated_ms": None,
        }  # fmt: skip
        self._store.keep("token", _refresh_id(token), kept)
        return token

    def revoke(self, form: Mapping[str, str], authorization: str | None) -> Response:
        """POST /connect/revocation: the token and all of the same consent; 200 also for an unknown one."""
        if self._client(form, authorization) is None:
            return _oauth_error("invalid_client")
        token = form.get("token", "")
        kept = self._store.kept("token", _refresh_id(token)) or self._store.kept("token", _access_id(token))
        if kept is not None:
            with self._store.transaction():
                for token_id, other in self._store.all_kept("token").items():
                    if other["event"] == kept["event"]:
                        self._store.forget("token", token_id)
        return bare(200)

    # -- the holder of a token

    def bearer(self, authorization: str | None) -> Bearer | None:
        """Who sends this header, also when the token has expired; None: nobody that we know."""
        if not authorization or not authorization.lower().startswith("bearer "):
            return None
        kept = self._store.kept("token", _access_id(authorization[7:].strip()))
        if kept is None or "expires_ms" not in kept:
            return None
        return Bearer(
            kept["client_id"], frozenset(kept["scopes"]), kept["event"], kept["expires_ms"], kept["custom"]
        )

    def connections(self, bearer: Bearer, organisation_name: str) -> list[Body]:
        """GET /connections: one organisation; times without zone, with seven decimals (spec)."""
        main = self.main()
        if self._store.meta("disconnected"):
            return []
        made = f"{from_ms(main['created_ms']):%Y-%m-%dT%H:%M:%S.%f}0"
        return [{
            "id": main["connection_id"], "authEventId": bearer.event, "tenantId": main["tenant_id"],
            "tenantType": "ORGANISATION", "tenantName": organisation_name, "createdDateUtc": made,
            "updatedDateUtc": made,
        }]  # fmt: skip

    def disconnect(self, connection_id: str) -> bool:
        """DELETE /connections/{id}."""
        if connection_id != self.main()["connection_id"] or self._store.meta("disconnected"):
            return False
        self._store.set_meta("disconnected", True)
        return True

    def may_use(self, bearer: Bearer, tenant_id: str, *, empty_is_fine: bool) -> bool:
        """Whether a token reaches this tenant; a custom connection may name none (second hand)."""
        if self._store.meta("disconnected"):
            return False
        return tenant_id == self.main()["tenant_id"] or (not tenant_id and bearer.custom and empty_is_fine)


def _is_usable(kept: Body, now_ms: int) -> bool:
    if kept["rotated_ms"] is not None:
        return now_ms < kept["rotated_ms"] + GRACE_MS
    return now_ms < kept["made_ms"] + UNUSED_MS


def _oauth_error(error: str) -> Response:
    """invalid_grant with 400 is documented; the status of the others unconfirmed."""
    return json_reply(400, {"error": error})


def _access_id(token: str) -> str:
    return "access:" + hashlib.sha256(token.encode()).hexdigest()


def _refresh_id(token: str) -> str:
    return "refresh:" + hashlib.sha256(token.encode()).hexdigest()


def _jwt(claims: Body) -> str:
    """Shaped like a JWT, since clients look inside; its signature is a random text that nobody checks."""
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    parts.append(secrets.token_bytes(32))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

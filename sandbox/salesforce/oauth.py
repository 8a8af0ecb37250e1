"""Logs clients in: JWT bearer and client credentials; keeps sessions, tells who they are, revokes them.

Evidence: flows as simple-salesforce and jsforce use them (source, ran); texts of errors second hand.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.clock import Clock
from sandbox.salesforce.ids import make_id
from sandbox.salesforce.org import INTEGRATION_ID, INTEGRATION_NAME, PERSON_ID, PERSON_NAME, Session
from sandbox.store import Store

KEY_FILE = "salesforce_jwt.pem"
SESSION_MS = 2 * 3_600_000  # second hand: the shortest usual setting of a session
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOGIN_HOSTS = ("https://login.salesforce.com", "https://test.salesforce.com")
USERS = {INTEGRATION_ID: INTEGRATION_NAME, PERSON_ID: PERSON_NAME}


class LoginRefused(Exception):
    """The token endpoint says no, in OAuth's own shape."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.body = {"error": error, "error_description": description}


def credentials(store: Store, state: Path) -> dict[str, Any]:
    """Org id, clients and the key pair of this state; made when first asked for."""
    known = store.kept("credentials", "salesforce")
    if known and (state / KEY_FILE).exists():
        return known
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(state / KEY_FILE, key)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    made = known or {
        "org_id": make_id("00D", "Sb", secrets.randbelow(62**8)),
        "clients": [_client(INTEGRATION_ID), _client(PERSON_ID)],
    }
    made |= {"public_key": public.decode("ascii")}
    store.keep("credentials", "salesforce", made)
    return made


def _client(user_id: str) -> dict[str, str]:
    return {
        "client_id": f"3MVG9{secrets.token_urlsafe(48)}",
        "client_secret": secrets.token_hex(32).upper(),
        "user_id": user_id,
    }


def _write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)


class Logins:
    """Clients and sessions of one org."""

    def __init__(self, store: Store, clock: Clock, known: dict[str, Any]) -> None:
        self._store, self._clock, self._known = store, clock, known

    @property
    def org_id(self) -> str:
        return self._known["org_id"]

    def grant(self, form: dict[str, str], authorization: str, host: str) -> dict[str, Any]:
        """The reply of the token endpoint. host: scheme and authority that the request came to."""
        kind = form.get("grant_type", "")
        if kind == JWT_GRANT:
            return self._issue(self._by_assertion(form.get("assertion", ""), host), host)
        if kind == "client_credentials":
            return self._issue(self._by_secret(form, authorization), host)
        raise LoginRefused("unsupported_grant_type", "grant type not supported")

    def _by_assertion(self, assertion: str, host: str) -> Session:
        try:
            # Claims are looked at below: simple-salesforce sends exp as a string, and the clock may be moved.
            claims = jwt.decode(
                assertion,
                self._known["public_key"],
                algorithms=["RS256"],
                options={
                    "verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False,
                    "verify_sub": False, "verify_iss": False, "verify_jti": False,
                },
            )  # fmt: skip
            expires = int(claims["exp"])
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise LoginRefused("invalid_grant", "invalid assertion") from None
        client = self._client(str(claims.get("iss")))
        if client is None:
            raise LoginRefused("invalid_client_id", "client identifier invalid")
        if str(claims.get("aud", "")).rstrip("/") not in (*LOGIN_HOSTS, host):
            raise LoginRefused("invalid_grant", "audience is invalid")
        if expires * 1000 <= self._clock.now_ms():
            raise LoginRefused("invalid_grant", "expired assertion")
        user_id = next((key for key, name in USERS.items() if name == claims.get("sub")), None)
        if user_id is None:
            raise LoginRefused("invalid_grant", "user hasn't approved this consumer")
        return Session(user_id, client["client_id"])

    def _by_secret(self, form: dict[str, str], authorization: str) -> Session:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization.lower().startswith("basic "):
            client_id, secret = _basic(authorization)
        client = self._client(client_id)
        if client is None:
            raise LoginRefused("invalid_client_id", "client identifier invalid")
        if not secrets.compare_digest(secret.encode(), client["client_secret"].encode()):
            raise LoginRefused("invalid_client", "invalid client credentials")
        return Session(client["user_id"], client_id)

    def _client(self, client_id: str) -> dict[str, str] | None:
        return next((c for c in self._known["clients"] if c["client_id"] == client_id), None)

    def _issue(self, session: Session, host: str) -> dict[str, Any]:
        token = f"{self.org_id[:15]}!AQ{secrets.token_urlsafe(60)}"
        now = self._clock.now_ms()
        row = {"user_id": session.user_id, "client_id": session.client_id, "until_ms": now + SESSION_MS}
        self._store.keep("token", token, row)
        return {
            "access_token": token,
            "signature": base64.b64encode(secrets.token_bytes(32)).decode(),
            "scope": "api id",
            "instance_url": host,
            "id": f"{host}/id/{self.org_id}/{session.user_id}",
            "token_type": "Bearer",
            "issued_at": str(now),
        }

    def session(self, authorization: str) -> Session | None:
        """Who sends this Authorization header; None where the session is over or was never there."""
        scheme, _, token = authorization.partition(" ")
        row = self._store.kept("token", token) if scheme.lower() in ("bearer", "oauth") else None
        if row is None or row["until_ms"] <= self._clock.now_ms():
            return None
        return Session(row["user_id"], row["client_id"])

    def revoke(self, token: str) -> bool:
        known = self._store.kept("token", token) is not None
        self._store.forget("token", token)
        return known

    def revoke_all(self) -> None:
        for token in self._store.all_kept("token"):
            self._store.forget("token", token)

    def identity(self, session: Session, host: str) -> dict[str, Any]:
        """What userinfo and the identity URL tell."""
        name = USERS[session.user_id]
        return {
            "sub": f"{host}/id/{self.org_id}/{session.user_id}",
            "user_id": session.user_id,
            "organization_id": self.org_id,
            "preferred_username": name,
            "username": name,
            "email": name.removesuffix(".sandbox"),
            "user_type": "STANDARD",
            "active": True,
            "urls": {"rest": f"{host}/services/data/v{{version}}/"},
        }


def _basic(authorization: str) -> tuple[str, str]:
    try:
        client_id, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise LoginRefused("invalid_client", "invalid client credentials") from None
    return client_id, secret

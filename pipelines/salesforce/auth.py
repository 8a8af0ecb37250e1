"""Opens Salesforce's door: JWT bearer, or client credentials.

simple-salesforce's own login is not used: it makes both the token's address and the JWT's audience from
a label ("https://{label}.salesforce.com", 1.12.10), so that neither salesforce.login_url, nor an
audience, nor a government cloud's host can be said; and it drops the reply's `id`, which names our user.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import httpx

from pipelines.settings import Settings
from pipelines.tokens import Tokens, access_record, fingerprint, fresh
from pipelines.wire import LOOPBACK, Wire, read_json, unexpected
from reconcile.errors import Incident, LoginRefused, WrongSetting

SIDE: Final = "salesforce"
TOKEN_PATH: Final = "/services/oauth2/token"
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JWT_LIFE_S: Final = 180  # Salesforce takes at most three to five minutes
SKEW_S: Final = 30.0
LIFE_S: Final = 3600  # the reply does not say; the shortest usual session is two hours, and a 401 renews too
FAMILY: Final = (".salesforce.com", ".force.com", ".salesforce.mil", ".cloudforce.com", ".sfcrmproducts.cn")


class SalesforceAuth:
    """Gives access tokens and the instance that they open, from the store or by a login."""

    def __init__(self, settings: Settings, tokens: Tokens, wire: Wire) -> None:
        self.settings, self.tokens, self.wire = settings.salesforce, tokens, wire
        self._owner = fingerprint(
            self.settings.login_url, self.settings.client_id, self.settings.username, self.settings.auth
        )
        self._one_at_a_time = threading.Lock()

    def session(self, *, rejected: str | None = None) -> tuple[str, str]:
        """Give (access token, instance root); `rejected` is a token that the API refused just now.

        Raises LoginRefused, WrongSetting (key file), Incident (an instance that is not Salesforce's).
        """
        with self._one_at_a_time:
            kept = self._stored(rejected)
            if kept is None:
                with self.wire.governor.login_turn():
                    kept = self._stored(rejected) or self._log_in()
            instance = self._checked(str(kept["instance_url"]))
            self.wire.allow(instance)
            return str(kept["access_token"]), instance

    def _stored(self, rejected: str | None) -> dict[str, Any] | None:
        kept = self.tokens.get(SIDE, "access") or {}
        usable = kept.get("owner") == self._owner and kept.get("access_token") != rejected
        live = usable and kept.get("instance_url") and fresh(kept, self.wire.governor.now())
        return kept if live else None

    def _log_in(self) -> dict[str, Any]:
        grant = self._ask()
        kept = access_record(grant, self._owner, self.wire.governor.now(), default_life_s=LIFE_S)
        kept |= {
            "instance_url": self._checked(str(grant["instance_url"])),
            # https://login.salesforce.com/id/<org id>/<user id>
            "identity": str(grant.get("id", "")),
        }
        self.tokens.put(SIDE, "access", kept)
        return kept

    def _ask(self) -> dict[str, Any]:
        by_key = self.settings.auth == "jwt"
        reply = self.wire.send(self._jwt_request(0) if by_key else self._credentials_request(), login=True)
        ahead_s = self.wire.skew_s or 0
        if by_key and reply.status_code == 400 and abs(ahead_s) > SKEW_S:
            # The refusal tells Salesforce's time: ours may be why it calls the assertion expired.
            reply = self.wire.send(self._jwt_request(ahead_s), login=True)
        if reply.status_code != 200:
            raise self._refused(reply)
        grant = read_json(SIDE, TOKEN_PATH, reply.content)
        if not isinstance(grant, dict) or not (grant.get("access_token") and grant.get("instance_url")):
            raise unexpected(SIDE, TOKEN_PATH, reply.content, "an access token and an instance")
        return grant

    def _credentials_request(self) -> httpx.Request:
        basic = httpx.BasicAuth(self.settings.client_id, self.settings.client_secret.get_secret_value())
        url = self.settings.login_url + TOKEN_PATH
        return next(basic.auth_flow(httpx.Request("POST", url, data={"grant_type": "client_credentials"})))

    def _jwt_request(self, ahead_s: float) -> httpx.Request:
        import jwt

        claims = {
            "iss": self.settings.client_id,
            "sub": self.settings.username,
            "aud": self.settings.audience or self.settings.login_url,
            "exp": int(self.wire.governor.now().timestamp() + ahead_s) + JWT_LIFE_S,
        }
        try:
            assertion = jwt.encode(claims, self._private_key(), algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise WrongSetting(
                at="salesforce.private_key_file",
                found="a file that is no RSA private key in PEM form (or one with a passphrase)",
                expected="the private key whose certificate the connected app holds",
            ) from None
        form = {"grant_type": JWT_GRANT, "assertion": assertion}
        return httpx.Request("POST", self.settings.login_url + TOKEN_PATH, data=form)

    def _private_key(self) -> str:
        path = self.settings.private_key_file
        if path is None:
            raise WrongSetting(
                at="salesforce.private_key_file",
                found="nothing",
                expected="the path of the private key (PEM)",
            )
        try:
            return path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise WrongSetting(
                at="salesforce.private_key_file",
                found=f"a file that can't be read ({type(error).__name__})",
                expected="a PEM file",
            ) from None

    def _checked(self, instance_url: str) -> str:
        """Refuse to carry a token to a host that is neither Salesforce's nor the one we logged in at."""
        url = httpx.URL(instance_url)
        login = httpx.URL(self.settings.login_url)
        ours = url.host == login.host or (url.scheme == "https" and url.host.endswith(FAMILY))
        local = url.host in LOOPBACK and login.host in LOOPBACK
        if not (ours or local) or (url.scheme != "https" and url.host not in LOOPBACK):
            raise Incident(
                f"salesforce: the login named the instance {url.host!r}, which is no host of Salesforce. "
                "The token was not used. Check salesforce.login_url."
            )
        return f"{url.scheme}://{url.netloc.decode('ascii')}"

    def _refused(self, reply: httpx.Response) -> LoginRefused:
        error = _error(reply)
        steps = {
            "invalid_client_id": "Check salesforce.client_id (the consumer key).",
            "invalid_client": "Check salesforce.client_id and salesforce.client_secret.",
            "invalid_grant": "Check salesforce.username and audience, that the app holds the certificate of "
            "this key, that the user is pre-authorised for it, and this machine's clock.",
            "invalid_app_access": "Let a permission set of the user pre-authorise the app.",
            "inactive_user": "Activate the integration user.",
            "inactive_org": "The org is locked, closed or suspended.",
            "unsupported_grant_type": "Enable the flow for the app, and log in at the org's My Domain.",
        }
        return LoginRefused(
            side=SIDE,
            at=self.settings.login_url,
            found=error or f"HTTP {reply.status_code}",
            next_step=steps.get(error, "Check salesforce.login_url and the credentials."),
        )


def _error(reply: httpx.Response) -> str:
    try:
        found = reply.json().get("error")
    except (ValueError, AttributeError):
        return ""
    # A code is a word; anything else might quote what was sent.
    return found if isinstance(found, str) and found.replace("_", "").isalpha() and len(found) < 40 else ""

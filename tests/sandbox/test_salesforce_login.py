"""Logging in: JWT bearer and client credentials, and who one is then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from salesforce_peer import ROOT, serving


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(tmp_path_factory.mktemp("salesforce")) as started:
        yield started["salesforce"]


def ask(ours: dict[str, Any], **form: str) -> httpx.Response:
    return httpx.post(f"{ours['login_url']}/services/oauth2/token", data=form)


def by_jwt(ours: dict[str, Any], *, key: Any = None, **claims: Any) -> httpx.Response:
    whole = {
        "iss": ours["client_id"],
        "sub": ours["username"],
        "aud": "https://login.salesforce.com",
        "exp": str(int(time.time()) + 180),
        **claims,
    }
    key = key or Path(ours["private_key_file"]).read_bytes()
    assertion = jwt.encode(whole, key, algorithm="RS256")
    return ask(ours, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion)


def test_a_signed_assertion_gives_a_session(ours: dict[str, Any]) -> None:
    granted = by_jwt(ours).json()
    assert granted["token_type"] == "Bearer"
    assert granted["instance_url"] == ours["instance_url"]
    assert granted["access_token"].startswith(ours["org_id"][:15] + "!")
    assert granted["id"].endswith(f"/id/{ours['org_id']}/{ours['user_id']}")
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    assert httpx.get(f"{ours['instance_url']}{ROOT}/limits", headers=headers).status_code == 200


@pytest.mark.parametrize("form", [int, str])
def test_exp_may_be_a_number_or_a_text(ours: dict[str, Any], form: type) -> None:
    assert by_jwt(ours, exp=form(int(time.time()) + 60)).status_code == 200


def test_the_server_itself_is_an_audience_too(ours: dict[str, Any]) -> None:
    assert by_jwt(ours, aud=ours["login_url"]).status_code == 200


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"aud": "https://evil.example"}, "invalid_grant"),
        ({"sub": "nobody@x.example"}, "invalid_grant"),
        ({"iss": "nobody"}, "invalid_client_id"),
        ({"exp": "1"}, "invalid_grant"),
        ({"exp": "soon"}, "invalid_grant"),
    ],
)
def test_a_wrong_claim_is_refused(ours: dict[str, Any], claims: dict[str, Any], error: str) -> None:
    reply = by_jwt(ours, **claims)
    assert (reply.status_code, reply.json()["error"]) == (400, error)


def test_a_foreign_signature_is_refused(ours: dict[str, Any]) -> None:
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert by_jwt(ours, key=foreign).json()["error"] == "invalid_grant"


def test_client_credentials_are_taken_from_header_and_form(ours: dict[str, Any]) -> None:
    pair = (ours["client_id"], ours["client_secret"])
    form = {"grant_type": "client_credentials"}
    by_header = httpx.post(f"{ours['login_url']}/services/oauth2/token", data=form, auth=pair)
    by_form = ask(ours, **form, client_id=pair[0], client_secret=pair[1])
    assert by_header.status_code == by_form.status_code == 200
    wrong = ask(ours, **form, client_id=pair[0], client_secret="no")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert ask(ours, grant_type="password").json()["error"] == "unsupported_grant_type"


def test_userinfo_tells_user_and_org_until_the_token_is_revoked(ours: dict[str, Any]) -> None:
    token = by_jwt(ours).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{ours['login_url']}/services/oauth2/userinfo"
    told = httpx.get(url, headers=headers).json()
    assert (told["organization_id"], told["preferred_username"]) == (ours["org_id"], ours["username"])
    revoked = httpx.post(f"{ours['login_url']}/services/oauth2/revoke", data={"token": token})
    assert revoked.status_code == 200
    assert httpx.get(url, headers=headers).status_code == 403
    assert httpx.get(f"{ours['login_url']}{ROOT}/limits", headers=headers).status_code == 401


def test_the_private_key_is_for_its_owner_only(ours: dict[str, Any]) -> None:
    assert Path(ours["private_key_file"]).stat().st_mode & 0o077 == 0

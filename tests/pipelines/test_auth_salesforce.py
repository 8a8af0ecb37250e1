"""Salesforce's door: JWT and client credentials, cached sessions, where a token may be carried to."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import MemoryTokens, Peer, settings_for
from pydantic import SecretStr

from pipelines.governor import Governor, read_salesforce
from pipelines.salesforce.auth import SalesforceAuth
from pipelines.salesforce.client import full_id, quote
from pipelines.settings import Settings
from pipelines.wire import Wire
from reconcile.errors import Incident, LogInAgain, LoginRefused, WrongSetting


def logins(peer: Peer) -> list[int]:
    return [entry["status"] for entry in peer.requests("salesforce") if "oauth2/token" in entry["path"]]


def call(peer: Peer) -> str:
    with peer.clients() as clients:
        return str(clients.salesforce.org()["Id"])


@pytest.mark.parametrize("auth", ["jwt", "client_credentials"])
def test_both_ways_of_login_lead_to_the_org(peer, auth):
    peer.settings = settings_for(peer.line, peer.folder, salesforce={"auth": auth})
    assert full_id(call(peer)) == full_id(peer.line["salesforce"]["org_id"])


def test_the_next_process_uses_the_kept_session_without_a_login(peer):
    call(peer)
    call(peer)
    assert logins(peer) == [200]


def test_a_session_that_ran_out_is_renewed_and_the_read_goes_on(peer):
    call(peer)
    peer.control("salesforce", "DELETE", "sessions")
    call(peer)
    assert logins(peer) == [200, 200]


def test_a_session_that_is_never_accepted_does_not_loop(peer):
    call(peer)
    peer.control("salesforce", "POST", "faults", {"kind": "expired_token", "path": "query", "times": -1})
    with pytest.raises(LoginRefused, match="granted just now"):
        call(peer)
    assert len(logins(peer)) == 2


def test_a_wrong_clock_of_ours_does_not_keep_us_out(peer):
    peer.control("salesforce", "POST", "clock", {"move_s": 4000})
    call(peer)
    assert logins(peer) == [400, 200]


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"client_id": "unknown"}, "client_id"),
        ({"username": "nobody@example.com"}, "username"),
        ({"auth": "client_credentials", "client_secret": SecretStr("wrong-secret")}, "client_secret"),
    ],
)
def test_wrong_credentials_say_what_to_correct_and_hold_no_secret(peer, changes, hint):
    peer.settings = settings_for(peer.line, peer.folder, salesforce=changes)
    with pytest.raises(LogInAgain, match=hint) as caught:
        call(peer)
    assert "wrong-secret" not in str(caught.value)


def test_a_key_file_that_is_none_is_a_wrong_setting(peer, tmp_path):
    (tmp_path / "key.pem").write_text("not a key")
    for path in (tmp_path / "key.pem", tmp_path / "absent.pem", None):
        peer.settings = settings_for(peer.line, peer.folder, salesforce={"private_key_file": path})
        with pytest.raises(WrongSetting, match="private_key_file"):
            call(peer)


def auth_with(instance_url: str, login_url: str = "https://login.salesforce.com") -> SalesforceAuth:
    reply = {"access_token": "t", "instance_url": instance_url, "id": "https://x/id/00D/005"}
    governor = Governor(
        "salesforce", read_salesforce, calls_a_minute=None, concurrent=1, day_reserve=0, retries=0
    )
    settings = Settings.model_validate(
        {
            "salesforce": {
                "login_url": login_url,
                "auth": "client_credentials",
                "client_id": "c",
                "client_secret": "s",
            }
        }
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=reply))
    wire = Wire("salesforce", [login_url], governor, timeout_s=1, transport=transport)
    return SalesforceAuth(settings, MemoryTokens(), wire)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.my.salesforce.com",
        "https://acme--uat.sandbox.my.salesforce.com",
        "https://a.cloudforce.com",
    ],
)
def test_a_host_of_salesforce_gets_the_token(url):
    assert auth_with(url).session() == ("t", url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://salesforce.com.evil.example",
        "https://evilsalesforce.com",
        "http://acme.my.salesforce.com",
        "http://127.0.0.1:9",
        "https://acme.my.salesforce.com@evil.example",
    ],
)
def test_no_other_host_gets_the_token_and_nothing_is_kept(url):
    auth = auth_with(url)
    with pytest.raises(Incident, match="not used"):
        auth.session()
    assert auth.tokens.get("salesforce", "access") is None


@given(st.text())
def test_a_quoted_value_never_ends_its_own_string(value):
    inner = quote(value)[1:-1]
    assert "'" not in inner.replace("\\\\", "").replace("\\'", "")
    assert not inner.replace("\\\\", "").endswith("\\")


def test_an_id_of_fifteen_gets_its_three_signs():
    assert full_id("0015g00000LpT2X") == "0015g00000LpT2XAAV"
    assert full_id("0015g00000LpT2XAAV") == "0015g00000LpT2XAAV"

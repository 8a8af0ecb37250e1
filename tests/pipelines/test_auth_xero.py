"""Xero's door: cached tokens, rotation written ahead, refusals."""

from __future__ import annotations

import pytest
from peers import MemoryTokens, Peer, settings_for
from pydantic import SecretStr

from pipelines.clients import open_clients
from reconcile.errors import LogInAgain, LoginRefused, MissingRight


def consented(peer: Peer) -> Peer:
    """A peer whose app has a person's consent, and its first refresh token in the settings."""
    first = peer.control("xero", "POST", "grant", {})["refresh_token"]
    changes = {"auth": "refresh_token", "refresh_token": SecretStr(first)}
    return Peer(peer.line, peer.folder, settings_for(peer.line, peer.folder, xero=changes))


def logins(peer: Peer) -> list[int]:
    return [entry["status"] for entry in peer.requests("xero") if entry["path"] == "/connect/token"]


def call(peer: Peer) -> None:
    with peer.clients() as clients:
        clients.xero.organisation()


def test_the_next_process_uses_the_kept_token_without_a_login(peer):
    call(peer)
    call(peer)
    assert logins(peer) == [200]


def test_a_token_of_other_credentials_is_not_used(peer):
    call(peer)
    other = peer.control("xero", "POST", "clients", {"name": "other"})
    changes = {name: other[name] for name in ("client_id",)} | {
        "client_secret": SecretStr(other["client_secret"])
    }
    call(Peer(peer.line, peer.folder, settings_for(peer.line, peer.folder, xero=changes), peer.tokens))
    assert logins(peer) == [200, 200]


def test_a_token_that_the_api_refuses_is_renewed_once(peer):
    call(peer)
    peer.control("xero", "POST", "faults", {"kind": "expired_token", "path": "Organisation"})
    call(peer)
    assert logins(peer) == [200, 200]


def test_a_login_that_is_never_accepted_does_not_loop(peer):
    call(peer)
    peer.control("xero", "POST", "faults", {"kind": "expired_token", "path": "Organisation", "times": -1})
    with pytest.raises(LoginRefused, match="granted just now"):
        call(peer)
    assert len(logins(peer)) == 2


def test_a_refreshed_token_is_durable_before_it_is_used(peer):
    peer = consented(peer)
    call(peer)
    kinds = [(kind, sorted(value)) for _, kind, value in peer.tokens.log]
    assert [kind for kind, _ in kinds] == ["refresh", "refresh", "access", "refresh"]
    started, rotated, _, proven = (value for _, _, value in peer.tokens.log)
    assert "using" in started and "current" not in started
    assert rotated["previous"] == started["using"] != rotated["current"]
    assert proven["previous"] is None and proven["current"] == rotated["current"]


class DiesAt(MemoryTokens):
    """A store that is gone at the n-th write, as a killed process is."""

    def __init__(self, kept: dict, at: int) -> None:
        super().__init__()
        self.kept, self.at = kept, at

    def put(self, side, kind, value):
        self.at -= 1
        if self.at < 0:
            raise KeyboardInterrupt
        super().put(side, kind, value)


@pytest.mark.parametrize("at", range(4))
def test_a_refresh_that_is_killed_anywhere_leaves_a_token_that_works(peer, at):
    peer = consented(peer)
    store = DiesAt(peer.tokens.kept, at)
    with pytest.raises(KeyboardInterrupt), open_clients(peer.settings, store) as clients:
        clients.xero.organisation()
    call(peer)
    assert 400 not in logins(peer)


def test_a_used_up_refresh_token_says_that_consent_is_needed(peer):
    peer = consented(peer)
    peer.settings = settings_for(
        peer.line, peer.folder, xero={"auth": "refresh_token", "refresh_token": SecretStr("gone")}
    )
    with pytest.raises(LoginRefused, match="give consent again") as caught:
        call(peer)
    assert "gone" not in str(caught.value)


def test_a_new_consent_in_the_settings_goes_before_a_dead_token(peer):
    peer = consented(peer)
    call(peer)
    peer.tokens.put("xero", "refresh", peer.tokens.kept["xero", "refresh"] | {"current": "dead"})
    peer.tokens.put("xero", "access", {})
    fresh = consented(peer)
    fresh.tokens = peer.tokens
    call(fresh)
    assert logins(peer)[-1] == 200


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"client_secret": SecretStr("wrong-secret")}, "client_secret"),
        ({"scopes": "accounting.contacts payroll.employees"}, "scopes"),
    ],
)
def test_wrong_credentials_say_what_to_correct_and_hold_no_secret(peer, changes, hint):
    peer.settings = settings_for(peer.line, peer.folder, xero=changes)
    with pytest.raises(LogInAgain, match=hint) as caught:
        call(peer)
    assert "wrong-secret" not in str(caught.value)


def test_a_missing_scope_names_the_scope(peer):
    peer.settings = settings_for(peer.line, peer.folder, xero={"scopes": "accounting.contacts"})
    with pytest.raises(MissingRight, match=r"accounting\.settings\.read"):
        call(peer)


def test_another_tenant_is_refused_with_a_next_step(peer):
    peer.settings = settings_for(
        peer.line, peer.folder, xero={"tenant_id": "00000000-0000-0000-0000-000000000001"}
    )
    with pytest.raises(MissingRight, match="tenant_id"):
        call(peer)

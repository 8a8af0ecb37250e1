"""Login, rights and limits of the Xero server."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

READ_ONLY = "accounting.contacts.read accounting.settings.read"


def test_client_credentials_come_by_header_or_by_form(xero):
    pair = f"{xero.line['client_id']}:{xero.line['client_secret']}".encode()
    reply = xero.http.post(
        "/connect/token",
        data={"grant_type": "client_credentials", "scope": "accounting.contacts"},
        headers={"Authorization": "Basic " + base64.b64encode(pair).decode()},
    )
    body = reply.json()
    assert (body["expires_in"], body["token_type"], body["scope"]) == (1800, "Bearer", "accounting.contacts")
    assert "refresh_token" not in body


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"scope": "accounting.everything"}, "invalid_scope"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, "invalid_grant"),
    ],
)
def test_a_login_that_is_wrong_is_400(xero, form, error):
    reply = xero.log_in(**form)
    assert (reply.status_code, reply.json()) == (400, {"error": error})


def test_without_a_token_and_with_an_old_one_it_is_401(xero):
    assert xero.call("GET", "Contacts", headers={"Authorization": "Bearer x"}).status_code == 401
    xero.control("clock", {"move_s": 1801})
    reply = xero.call("GET", "Contacts")
    assert (reply.status_code, reply.json()["Title"]) == (401, "Unauthorized")
    assert reply.json()["Detail"].startswith("TokenExpired")


def test_a_missing_scope_is_401_and_says_so_in_a_header(xero):
    xero.log_in(scope=READ_ONLY)
    assert xero.call("GET", "Contacts").status_code == 200
    reply = xero.put({"Name": "Acme"})
    assert (reply.status_code, reply.json()["Detail"]) == (401, "AuthorizationUnsuccessful")
    assert reply.headers["www-authenticate"] == "insufficient_scope"


def test_another_tenant_is_403(xero):
    (connection,) = xero.call("GET", "/connections").json()
    reply = xero.call("GET", "Contacts", headers={"xero-tenant-id": connection["id"]})
    assert (reply.status_code, reply.json()["Detail"]) == (403, "AuthenticationUnsuccessful")


def test_a_custom_connection_may_name_no_tenant_by_dialect(xero):
    assert xero.call("GET", "Contacts", headers={"xero-tenant-id": ""}).status_code == 200
    xero.choose(empty_tenant="refuse")
    assert xero.call("GET", "Contacts", headers={"xero-tenant-id": ""}).status_code == 403


def test_a_connection_can_be_deleted_once(xero):
    (connection,) = xero.call("GET", "/connections").json()
    assert (connection["tenantId"], connection["tenantType"]) == (xero.line["tenant_id"], "ORGANISATION")
    assert not connection["createdDateUtc"].endswith("Z")
    path = f"/connections/{connection['id']}"
    assert [xero.call("DELETE", path).status_code for _ in range(2)] == [204, 404]
    assert xero.call("GET", "Contacts").status_code == 403


def refresh(xero, token):
    return xero.log_in(grant_type="refresh_token", refresh_token=token)


def test_a_refresh_token_rotates_and_the_old_one_works_on_for_thirty_minutes(xero):
    first = xero.control("grant", {})["refresh_token"]
    second = refresh(xero, first).json()["refresh_token"]
    assert second != first
    assert xero.call("GET", "Contacts").status_code == 200
    xero.control("clock", {"move_s": 29 * 60})
    assert refresh(xero, first).status_code == 200  # the reply with the second was lost, say
    xero.control("clock", {"move_s": 2 * 60})
    assert refresh(xero, first).json() == {"error": "invalid_grant"}
    assert refresh(xero, second).status_code == 200


def test_a_refresh_token_that_is_not_used_dies_after_sixty_days(xero):
    token = xero.control("grant", {})["refresh_token"]
    xero.control("clock", {"move_s": 60 * 86400 + 1})
    assert refresh(xero, token).json() == {"error": "invalid_grant"}


def test_revoking_ends_all_tokens_of_that_consent(xero):
    granted = xero.control("grant", {})
    form = {"token": granted["refresh_token"], "client_id": xero.line["client_id"]}
    secret = {"client_secret": xero.line["client_secret"]}
    assert xero.http.post("/connect/revocation", data={**form, **secret}).status_code == 200
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    assert xero.call("GET", "Contacts", headers=headers).status_code == 401


def test_another_app_is_told_apart_in_the_log(xero):
    other = xero.control("clients", {"name": "someone", "scopes": READ_ONLY})
    xero.log_in(client_id=other["client_id"], client_secret=other["client_secret"])
    xero.call("GET", "Contacts", headers={"User-Agent": "someone/1"})
    last = xero.log()[-1]
    assert (last["client"], last["user_agent"]) == (other["client_id"], "someone/1")


def test_the_sixty_first_call_of_a_minute_is_429_without_a_body(open_xero):
    xero = open_xero(limits="real")
    replies = [xero.call("GET", "Organisation") for _ in range(61)]
    limited = [reply for reply in replies if reply.status_code == 429]
    if not limited:  # the minute changed meanwhile
        limited = [
            reply
            for reply in (xero.call("GET", "Organisation") for _ in range(60))
            if reply.status_code == 429
        ]
    first = limited[0]
    assert first.content == b""
    assert "content-type" not in first.headers
    assert first.headers["x-rate-limit-problem"] == "minute"
    assert first.headers["x-minlimit-remaining"] == "0"
    xero.control("clock", {"move_s": int(first.headers["retry-after"])})
    assert xero.call("GET", "Organisation").headers["x-minlimit-remaining"] == "59"


def test_the_day_ends_too(open_xero):
    xero = open_xero(limits="real")
    xero.choose(day_limit=1000)
    for _ in range(17):
        for _ in range(60):
            reply = xero.call("GET", "Organisation")
        xero.control("clock", {"move_s": 61})
        xero.log_in()
    assert reply.status_code == 429
    assert reply.headers["x-rate-limit-problem"] == "day"
    assert int(reply.headers["retry-after"]) > 60


def test_six_calls_at_once_are_one_too_many_and_nobody_says_when(open_xero):
    xero = open_xero(limits="real")
    xero.control("faults", {"kind": "slow", "seconds": 0.4, "times": 6})
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: xero.call("GET", "Contacts"), range(6)))
    assert sorted(reply.status_code for reply in replies) == [200] * 5 + [429]
    (limited,) = [reply for reply in replies if reply.status_code == 429]
    assert limited.headers["x-rate-limit-problem"] == "concurrent"
    assert "retry-after" not in limited.headers


def test_a_rolling_minute_frees_one_call_at_a_time(open_xero):
    xero = open_xero(limits="real")
    xero.choose(minute_window="rolling")
    replies = [xero.call("GET", "Organisation") for _ in range(61)]
    assert replies[-1].status_code == 429
    assert 55 <= int(replies[-1].headers["retry-after"]) <= 60

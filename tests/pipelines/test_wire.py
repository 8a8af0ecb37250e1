"""The read-only gate, what counts as sent, and replies that are not what they should be."""

from __future__ import annotations

import json
from decimal import Decimal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import exact
from pipelines.governor import Governor, read_xero
from pipelines.wire import Wire, read_json
from reconcile.errors import (
    Incident,
    NotConnected,
    OutcomeUnknown,
    ReadOnly,
    RetryLater,
    UnexpectedReply,
    Unreachable,
)

ROOT = "https://api.example.test"


def wired(handler, **options) -> Wire:
    governor = Governor(
        "xero", read_xero, calls_a_minute=None, concurrent=5, day_reserve=0, retries=1, sleep=lambda _: None
    )
    return Wire("xero", [ROOT], governor, timeout_s=5, transport=httpx.MockTransport(handler), **options)


def request(method: str, url: str = f"{ROOT}/api.xro/2.0/Contacts") -> httpx.Request:
    return httpx.Request(method, url, content=None if method == "GET" else b"{}")


def ok(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={})


def raising(error: type[Exception]):
    def handler(sent: httpx.Request) -> httpx.Response:
        raise error("the text of it names Jane Roe", request=sent)  # type: ignore[call-arg]

    return handler


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_without_a_lease_no_write_leaves(method):
    sent = []
    wire = wired(lambda r: sent.append(r) or ok(r))
    with pytest.raises(ReadOnly):
        wire.send(request(method))
    with pytest.raises(ReadOnly):  # calling it a read does not make it one
        wire.send(request(method), write=False)
    assert sent == [] and wire.calls == 0


def test_reads_and_logins_leave_without_a_lease():
    wire = wired(ok)
    assert wire.send(request("GET")).status_code == 200
    assert wire.send(request("POST"), login=True).status_code == 200


def test_the_lease_is_asked_before_every_write_and_again_before_every_repeat():
    asked = []
    replies = iter([httpx.Response(429, headers={"Retry-After": "1"}), httpx.Response(200)])
    wire = wired(lambda r: next(replies))
    with wire.writing(lambda: asked.append(1)):
        wire.send(request("PUT"))
    assert len(asked) == 2
    with pytest.raises(ReadOnly):
        wire.send(request("PUT"))


def test_a_lost_lease_stops_the_write():
    def lost() -> None:
        raise Incident("the lease is lost")

    sent = []
    wire = wired(lambda r: sent.append(r) or ok(r))
    with wire.writing(lost), pytest.raises(Incident):
        wire.send(request("PUT"))
    assert sent == []


NOT_SENT = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout}
AFTER_SENDING = {
    httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.CloseError,
    httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.ProxyError, httpx.DecodingError,
}  # fmt: skip


@pytest.mark.parametrize("error", sorted(NOT_SENT | AFTER_SENDING, key=lambda kind: kind.__name__))
def test_a_broken_write_is_unknown_unless_it_was_certainly_not_sent(error):
    wire = wired(raising(error))
    with wire.writing(lambda: None), pytest.raises((RetryLater, OutcomeUnknown)) as caught:
        wire.send(request("PUT"))
    assert isinstance(caught.value, NotConnected if error in NOT_SENT else OutcomeUnknown)
    assert wire.calls == 1


def test_every_transport_error_of_httpx_is_in_one_of_the_two_lists():
    def below(kind: type) -> set[type]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    abstract = {httpx.TransportError, httpx.TimeoutException, httpx.NetworkError, httpx.ProtocolError}
    assert below(httpx.TransportError) - abstract - {httpx.UnsupportedProtocol} <= NOT_SENT | AFTER_SENDING


@pytest.mark.parametrize("error", sorted(NOT_SENT | AFTER_SENDING, key=lambda kind: kind.__name__))
def test_a_broken_read_is_unreachable_after_its_tries(error):
    wire = wired(raising(error))
    with pytest.raises(Unreachable) as caught:
        wire.send(request("GET"))
    assert wire.calls == 2
    assert error is httpx.ConnectError or "Jane" not in str(caught.value)


def test_a_reply_without_end_is_cut_off():
    wire = wired(lambda _: httpx.Response(200, content=b"x" * 2000), largest_reply=1000)
    with pytest.raises(UnexpectedReply, match="1000"):
        wire.send(request("GET"))
    with wire.writing(lambda: None), pytest.raises(OutcomeUnknown):
        wire.send(request("PUT"))


def test_a_redirect_is_not_followed_and_no_other_host_is_called():
    seen = []

    def handler(sent: httpx.Request) -> httpx.Response:
        seen.append(sent.url.host)
        return httpx.Response(302, headers={"Location": "https://evil.example/"})

    wire = wired(handler)
    assert wire.send(request("GET")).status_code == 302
    with pytest.raises(Incident, match=r"evil\.example"):
        wire.send(request("GET", "https://evil.example/steal"))
    assert seen == ["api.example.test"]


def test_a_compressed_reply_counts_by_what_came_over_the_line():
    import gzip

    packed = gzip.compress(b'{"a":"' + b"x" * 10_000 + b'"}')
    stream = httpx.ByteStream(packed)
    wire = wired(lambda _: httpx.Response(200, stream=stream, headers={"Content-Encoding": "gzip"}))
    assert len(wire.send(request("GET")).content) > 10_000
    assert 0 < wire.bytes_in <= len(packed)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><p>Jane Roe", "HTML"),
        (b'{"Name": "Jane Roe', "cut off"),
        (b"[1,2", "cut off"),
        (b"Jane Roe", "no JSON"),
        (b'{"a": NaN}', "cut off, broken"),
        (b'{"a": "\xff"}', "cut off, broken"),
        (b"[" * 100_000, "cut off"),
    ],
)
def test_a_reply_that_is_no_json_is_told_without_quoting_it(content, found):
    with pytest.raises(UnexpectedReply, match=found) as caught:
        read_json("xero", "Contacts", content)
    assert "Jane" not in str(caught.value)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False).map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=4),
    st.dictionaries(st.text().filter(lambda k: k != "rows"), values, max_size=3),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
)
def test_each_element_keeps_its_own_text(rows, rest, indent, ascii_only):
    text = json.dumps({"before": 1, "rows": rows, **rest}, indent=indent, ensure_ascii=ascii_only)
    elements, others = exact.parse_envelope(text, "rows")
    assert [body for body, _ in elements] == rows
    assert others == {"before": 1, **rest}
    assert all(piece in text and exact.parse(piece) == body for body, piece in elements)


@given(st.text(), st.integers(min_value=0, max_value=60))
def test_a_cut_reply_is_never_taken_for_a_whole_one(text, at):
    whole = json.dumps({"rows": [{"a": text}, {"b": 1.5}], "total": 2})
    if at < len(whole):
        with pytest.raises(ValueError):
            exact.parse_envelope(whole[:at], "rows")


def test_numbers_keep_their_digits():
    text = '{"rows":[{"Discount":12345678901234567.123456789012345678,"Rate":1.0000000000}]}'
    elements, _ = exact.parse_envelope(text, "rows")
    body, piece = elements[0]
    assert body["Discount"] == Decimal("12345678901234567.123456789012345678")
    assert piece == '{"Discount":12345678901234567.123456789012345678,"Rate":1.0000000000}'

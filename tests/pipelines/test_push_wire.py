"""What the push makes of each way in which a connection can fail; and that nothing below it sends twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from peers import Peer, contact
from push_scene import Scene, contact_id, update

from pipelines import clients as clients_module
from pipelines.wire import Wire

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def every(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from every(child)


CLASSES = sorted({httpx.DecodingError, *every(httpx.TransportError)}, key=lambda k: k.__name__)


class Failing(httpx.BaseTransport):
    """Fails the first write with an exception: before it leaves, or after the server carried it out."""

    def __init__(self, error: type[Exception], *, carried_out: bool) -> None:
        self.real = httpx.HTTPTransport()
        self.error, self.carried_out, self.left = error, carried_out, 1

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/Contacts") and self.left:
            self.left -= 1
            if self.carried_out:
                self.real.handle_request(request).read()
            raise self.error("made to fail")  # type: ignore[call-arg]
        return self.real.handle_request(request)


@pytest.fixture
def scene(peer: Peer, tmp_path: Path) -> Scene:
    peer.load("xero", [contact(1)])
    made = Scene(peer, tmp_path)
    made.know(1)
    return made


def fail_with(monkeypatch: pytest.MonkeyPatch, transport: httpx.BaseTransport) -> None:
    def wire(side: str, *args: object, **options: object) -> Wire:
        return Wire(side, *args, **options, transport=transport if side == "xero" else None)  # type: ignore[arg-type]

    monkeypatch.setattr(clients_module, "Wire", wire)


def test_the_list_of_exceptions_is_all_of_them() -> None:
    assert {"ReadTimeout", "WriteError", "RemoteProtocolError", "DecodingError"} <= {
        k.__name__ for k in CLASSES
    }


@pytest.mark.parametrize("error", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("carried_out", [False, True])
def test_every_failure_of_a_connection_ends_in_one_write(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error: type[Exception], carried_out: bool
) -> None:
    if issubclass(error, NEVER_SENT) and carried_out:
        pytest.skip("it happens only before a byte has left")
    fail_with(monkeypatch, Failing(error, carried_out=carried_out))
    one = update("xero", 1, "tax_number", None, "GB1")
    outcome = scene.push([one])[one["operation_id"]][0]
    applied = [change for request in scene.peer.requests("xero") for change in request["changes"]]
    if issubclass(error, NEVER_SENT):
        assert (outcome, applied) == ("waiting", [])
        outcome = scene.push([one])[one["operation_id"]][0]
        applied = [change for request in scene.peer.requests("xero") for change in request["changes"]]
    assert outcome in ("confirmed", "adopted")
    assert len(applied) == 1
    assert scene.contacts()[contact_id(1)]["TaxNumber"] == "GB1"
    with scene.journal() as journal:
        assert journal.unsettled().is_empty()


class Answering(httpx.BaseTransport):
    """Answers every write with one status, and counts them."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.real, self.status, self.headers = httpx.HTTPTransport(), status, headers
        self.keys: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/Contacts"):
            self.keys.append(request.headers["Idempotency-Key"])
            return httpx.Response(self.status, headers=self.headers)
        return self.real.handle_request(request)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_proves_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    transport = Answering(status, {"Location": "http://127.0.0.1:9/elsewhere"})
    fail_with(monkeypatch, transport)
    one = update("xero", 1, "tax_number", None, "GB1")
    assert scene.push([one])[one["operation_id"]][0] == "asked"
    assert "TaxNumber" not in scene.contacts()[contact_id(1)]


def test_nothing_below_the_push_sends_a_write_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 500 burns its key: were a library to repeat it, a key would be seen twice."""
    transport = Answering(500, {})
    fail_with(monkeypatch, transport)
    one = update("xero", 1, "tax_number", None, "GB1")
    assert scene.push([one])[one["operation_id"]][0] == "asked"
    assert len(transport.keys) == len(set(transport.keys)) == 3


class Surprise(Exception):
    """Something that nobody thought of."""


def test_whatever_ends_a_push_no_intent_is_left_as_being_sent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, Failing(Surprise, carried_out=True))
    one = update("xero", 1, "tax_number", None, "GB1")
    with pytest.raises(Surprise):
        scene.push([one])
    with scene.journal() as journal:
        assert journal.unsettled()["state"].to_list() == ["unknown"]
    assert scene.push([one])[one["operation_id"]][0] == "adopted"

"""Deliberate faults in the protocol, each laid over the loaded code while it lasts.

A mutant is tried alone: `bare` layers are switched off with it, so that a second line of defence can't hide
that the first is broken. (With all layers on, most of these are harmless. That is what layers are for.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from pipelines import delivery, learning, protocol, push
from pipelines.delivery import Delivery
from pipelines.intents import Ended, Verdict
from pipelines.outcomes import Outcomes
from pipelines.protocol import DONE, Timing
from pipelines.push import Push
from pipelines.salesforce import writer as salesforce_writer
from pipelines.xero import writer as xero_writer
from reconcile.errors import NotConnected, OutcomeUnknown, RateLimited
from tests.model import memory, world

Patch = tuple[Any, str, Any]  # object, attribute, what stands there instead


@dataclass(frozen=True)
class Mutant:
    """A fault. bare: the layers that are off while it is tried. since: no seed before this one finds it."""

    name: str
    what: str
    patches: Callable[[], list[Patch]]
    bare: tuple[str, ...] = ("invariants",)
    since: int = 0

    @contextmanager
    def laid(self) -> Iterator[None]:
        with ExitStack() as stack:
            for layer in self.bare:
                for place, name, other in LAYERS[layer]():
                    stack.enter_context(mock.patch.object(place, name, other))
            for place, name, other in self.patches():
                stack.enter_context(mock.patch.object(place, name, other))
            yield


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _no_key_is_unique() -> list[Patch]:
    """The vendors take a second record of a key, as they do of a bill's number."""
    from tests.model import vendor

    names = {name: (*rest, "none") for name, (*rest, _) in vendor.XERO_LISTS.items()}
    return [(vendor, "XERO_LISTS", names)]


LAYERS: dict[str, Callable[[], list[Patch]]] = {
    "invariants": lambda: [(protocol, "must", _nothing), (protocol, "check_freed", _nothing)],
    "unique_keys": _no_key_is_unique,
    "look_before_create": lambda: [(Push, "_look", _look_at_nothing)],
    "last_moment": lambda: [(Delivery, "_last_moment", _nothing)],
    "young_look": lambda: [(protocol, "is_young", lambda *_: True)],
    "look_before_repeat": lambda: [(Delivery, "_settle", _settle_blind)],
}


# -- the faults


def _look_at_nothing(self: Any, request: Any) -> list[Any]:
    unsettled = self._outcomes.journal.intents.live_keys()
    if any(one.business_key in unsettled for one in request.intents):
        return LOOK(self, request)
    return [request]


LOOK = Push._look


def _mark_after(self: Any, sent: Any) -> Any:
    with self._clients.writing(_nothing, _nothing):
        sending = self._clients.xero if sent.request.system == "xero" else self._clients.salesforce
        options = (
            {"idempotency_key": sent.idempotency_key, "query": sent.request.query}
            if sent.request.system == "xero"
            else {}
        )
        reply = sending.send(sent.request.method, sent.request.path, sent.request.body, **options)
    self._mark(sent)
    return reply


TRANSMIT = Delivery._transmit


def _other_bytes(self: Any, sent: Any) -> Any:
    client = self._clients.xero
    send = client.send

    def longer(method: str, path: str, body: bytes, **options: Any) -> Any:
        return send(method, path, body + b" ", **options)

    with mock.patch.object(client, "send", longer):
        return TRANSMIT(self, sent)


AFTER_LOOK = protocol.after_look


def _never_waits(sent: Any, **known: Any) -> str:
    step = AFTER_LOOK(sent, **known)
    return "absent" if step == "wait" else step


def _always_whole(sent: Any, **known: Any) -> str:
    return AFTER_LOOK(sent, **{**known, "whole": True})


def _new_key_instead(sent: Any, **known: Any) -> str:
    step = AFTER_LOOK(sent, **known)
    return "absent" if step == "repeat" else step


def _unfenced(self: Any, fence: Any) -> None:
    self._point("commit")


CLOSE = Outcomes.close


def _bases_first(self: Any, sent: Any, ended: Any, **options: Any) -> None:
    early = [
        Ended(one.operation, "waiting", link=one.link, bases=one.bases)
        for _, some in ended
        for one in some
        if one.bases
    ]
    if early:
        self.journal.intents.close(None, [(None, early)], plan_hash=self.plan_hash, fence=self.lease)
    CLOSE(self, sent, ended, **options)


def _status_is_again(*statuses: int) -> Callable[[], list[Patch]]:
    def patches() -> list[Patch]:
        made = []
        for writer in (xero_writer, salesforce_writer):
            read = writer.read

            def wrong(request: Any, status: int, body: bytes, read: Any = read) -> list[Verdict]:
                if status in statuses:
                    return [Verdict("again") for _ in request.intents]
                return read(request, status, body)

            made.append((writer, "read", wrong))
        return made

    return patches


NOT_CARRIED_OUT = Delivery._not_carried_out


def _limit_is_unknown(self: Any, sent: Any, live: Any, error: Any) -> Any:
    if isinstance(error, RateLimited) and sent.sends == 0:
        self._intents.unknown(sent, burnt=False, fence=self._lease)
        return self._settle(self._intents.kept(sent), live, repeats=protocol.REPEATS)
    return NOT_CARRIED_OUT(self, sent, live, error)


def _long_horizon() -> list[Patch]:
    return [(Timing, "horizon_s", property(lambda self: 330.0))]


SETTLE_ALL = push.settle_all


def _settles_only_sending(work: Any, **options: Any) -> Any:
    intents = work.journal.intents
    live = intents.live

    with mock.patch.object(intents, "live", lambda: [one for one in live() if one.state == "sending"]):
        return SETTLE_ALL(work, **options)


def _lost_is_failure(self: Any, sent: Any) -> Any:
    try:
        return TRANSMIT(self, sent)
    except OutcomeUnknown:
        raise NotConnected(side=sent.request.system, at="there", found="no answer") from None


def _by_place_alone() -> list[Patch]:
    def confirmed(intent: Any, element: Any) -> Verdict:
        found = str((element or {}).get(xero_writer.RESOURCES[intent.object].id_field, ""))
        return Verdict("confirmed", found.lower(), element) if found else Verdict("unknown")

    return [(xero_writer, "_verdict", confirmed), (xero_writer, "_doubtful", lambda *_: set())]


def _echo_is_proof() -> list[Patch]:
    verdict = xero_writer._verdict

    def echoed(intent: Any, element: Any) -> Verdict:
        told = verdict(intent, element)
        if told.kind == "unknown" and element is not None and xero_writer._echoes(intent, element):
            return Verdict("confirmed", intent.natural_key, element)
        return told

    return [(xero_writer, "_verdict", echoed)]


def _first_decides() -> list[Patch]:
    made = []
    for writer in (xero_writer, salesforce_writer):
        read = writer.read

        def wrong(request: Any, status: int, body: bytes, read: Any = read) -> list[Verdict]:
            told = read(request, status, body)
            return [replace(one, kind=told[0].kind) if told[0].kind == "confirmed" else one for one in told]

        made.append((writer, "read", wrong))
    return made


def _no_live_check() -> list[Patch]:
    return [(memory.MemoryIntents, "live_keys", lambda _: set())]


def _sending_is_not_sent(self: Any, sent: Any, *, look_only: bool) -> None:
    if sent.state == "sending":
        again = self._never_written(sent, sent.live, self._timing.now())
        self._outcomes.wait(again, "never left")
        return
    SETTLE_EARLIER(self, sent, look_only=look_only)


SETTLE_EARLIER = Delivery.settle_earlier
STILL_DUE = Timing.still_due_s


def _half_due(self: Any, sent: Any, asked_at: Any) -> float:
    return STILL_DUE(replace(self, late_application_s=self.late_application_s / 2), sent, asked_at)


def _burnt_is_forgotten() -> list[Patch]:
    unknown = memory.MemoryIntents.unknown

    def forgets(self: Any, sent: Any, **options: Any) -> None:
        unknown(self, sent, **{**options, "burnt": False})

    return [(memory.MemoryIntents, "unknown", forgets)]


def _extra_field() -> list[Patch]:
    element = xero_writer._element
    return [(xero_writer, "_element", lambda intent: {**element(intent), "IsSupplier": True})]


def _stale_look() -> list[Patch]:
    refresh = world.QuickLooks.refresh

    def never_again(self: Any, side: str, object_name: str, *, older_than_s: float = 1e9) -> None:
        refresh(self, side, object_name, older_than_s=1e9)

    # Known from one process to the next, as a cache would be.
    shared: dict[str, Any] = {}

    def kept(self: Any, clients: Any, *args: Any, **options: Any) -> None:
        INIT(self, clients, *args, **options)
        mine = shared.setdefault(str(id(clients.xero.world)), self.__dict__)
        for name in ("_records", "_keys", "_looked_at"):
            setattr(self, name, mine[name])

    return [(world.QuickLooks, "refresh", never_again), (world.QuickLooks, "__init__", kept)]


INIT = world.QuickLooks.__init__


def _skips_the_seen(self: Any, intents: Any) -> list[Ended]:
    return []


def _settled_without_look(self: Any, live: Any) -> Any:
    return [], list(live), []


SETTLE = Delivery._settle


def _settle_blind(self: Any, sent: Any, live: Any, *, repeats: int, look_only: bool = False) -> Any:
    """Repeat while the key may live, and look only then: as the prototype did."""
    step = protocol.after_look(
        sent,
        whole=len(live) == len(sent.request.intents),
        repeats=repeats,
        look_only=look_only,
        looked_at=self._timing.now(),
        timing=self._timing,
    )
    if step == "repeat":
        self._timing.sleep(0.5 * 2**repeats if repeats else 0.0)
        return self._send(sent, list(live), looked_by=self._timing.now(), repeats=repeats + 1)
    return SETTLE(self, sent, live, repeats=protocol.REPEATS, look_only=look_only)


def _ends_unknown_as_done(self: Any, sent: Any, told: Any, status: int, repeats: int) -> Any:
    ended = [
        (intent, [Ended(one, "confirmed", intent.record_id or "lost") for one in intent.operations])
        for intent, verdict in told
        if verdict.kind == "unknown"
    ]
    if ended and all(verdict.kind == "unknown" for _, verdict in told):
        self._outcomes.close(sent, ended, status=status)
        return []
    return HEED(self, sent, told, status, repeats)


HEED = Delivery._heed


def _no_guard() -> list[Patch]:
    whole = salesforce_writer.guarded
    return [(salesforce_writer, "guarded", lambda request, root, _: whole(request, root, lambda *_: None))]


MUTANTS = (
    Mutant("send_before_commit", "bytes leave, then it is kept that they do",
           lambda: [(Delivery, "_transmit", _mark_after)]),
    Mutant("other_bytes", "bytes leave that are not those that were kept",
           lambda: [(Delivery, "_transmit", _other_bytes)]),
    Mutant("new_key_each_time", "what may be repeated goes at once, and under a new key",
           lambda: [(protocol, "after_look", _new_key_instead)]),
    Mutant("no_wait", "what a look does not find at once counts as absent",
           lambda: [(protocol, "after_look", _never_waits)]),
    Mutant("short_sleep", "half of the vendor's time is waited for",
           lambda: [(Timing, "still_due_s", _half_due)]),
    Mutant("leaves_at_once", "what is waited for begins with the mark, though bytes may leave later",
           lambda: [(Timing, "settled_after_s", property(lambda self: self.late_application_s))],
           since=3_584_074_000),
    Mutant("clocks_agree", "what is waited for takes it that all machines have one time",
           lambda: [(Timing, "settled_after_s", property(lambda self: self.late_application_s + self.awake_s))]),
    Mutant("no_look_before_create", "new records are made without a look",
           lambda: [(Push, "_look", _look_at_nothing)]),
    Mutant("no_look_before_update", "values are written over what changed since the plan",
           lambda: [(Push, "_seen", _skips_the_seen)]),
    Mutant("stale_look", "a look is good for ever",
           _stale_look),
    Mutant("old_look", "what waited after its look leaves, however long it was",
           LAYERS["young_look"], since=52_000),
    Mutant("no_fence", "the fencing number is not checked by the journal",
           lambda: [(memory.MemoryIntents, "_begin_write", _unfenced), (world.Lease, "renew", _nothing)],
           ("invariants", "last_moment", "young_look")),
    Mutant("no_last_moment", "a worker that slept between mark and bytes sends them",
           lambda: [(Delivery, "_last_moment", _nothing)]),
    Mutant("base_before_outcome", "link and bases are committed before the outcome",
           lambda: [(Outcomes, "close", _bases_first)]),
    Mutant("500_not_written", "a 500 is taken as not carried out",
           _status_is_again(500)),
    Mutant("502_not_written", "a 502, 503, 504 is taken as not carried out, and sent under a new key",
           _status_is_again(502, 503, 504)),
    Mutant("429_unknown", "a limit is taken as unknown",
           lambda: [(Delivery, "_not_carried_out", _limit_is_unknown)]),
    Mutant("long_horizon", "a key is used for 330 s", _long_horizon),
    Mutant("long_horizon_blind", "a key is used for 330 s", _long_horizon,
           ("invariants", "look_before_repeat")),
    Mutant("no_settling", "a run does not settle what the one before left",
           lambda: [(push, "settle_all", lambda *_, **__: [])]),
    Mutant("unknown_forgotten", "a run settles what was being sent, not what was unknown",
           lambda: [(push, "settle_all", _settles_only_sending)]),
    Mutant("sending_not_sent", "what a crash left as sending counts as never sent",
           lambda: [(Delivery, "settle_earlier", _sending_is_not_sent)]),
    Mutant("lost_is_failure", "a lost answer is taken as a failure",
           lambda: [(Delivery, "_transmit", _lost_is_failure)]),
    Mutant("lost_is_success", "a reply that does not tell is taken as success",
           lambda: [(Delivery, "_heed", _ends_unknown_as_done)]),
    Mutant("by_place_alone", "elements of a reply are mapped by their place", _by_place_alone),
    Mutant("echo_is_proof", "an echoed key proves a record", _echo_is_proof),
    Mutant("first_decides", "the first element's verdict is that of the batch", _first_decides),
    Mutant("adopt_any_amount", "an invoice with our number is adopted whatever it amounts to",
           lambda: [(learning, "unlike", lambda *_: "")]),
    Mutant("no_live_check", "a record with an unsettled write gets a second one", _no_live_check),
    Mutant("burnt_forgotten", "the key of a 500 is used again", _burnt_is_forgotten),
    Mutant("part_repeated", "a request is repeated though a record of it holds another value",
           lambda: [(protocol, "after_look", _always_whole)]),
    Mutant("settled_blind", "settling repeats without a look",
           lambda: [(Delivery, "_sorted_by_look", _settled_without_look)]),
    Mutant("young_journal", "with a journal that is new, what a lost one sent is not waited for",
           lambda: [(protocol, "wait_for_lost_journal_s", lambda *_: 0.0)]),
    Mutant("no_guard", "in Salesforce a value is written whatever happened to its record since the look",
           _no_guard),
    Mutant("extra_field", "a field leaves that the plan does not name", _extra_field),
)  # fmt: skip

__all__ = ["DONE", "LAYERS", "MUTANTS", "Mutant", "delivery"]

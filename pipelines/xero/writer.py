"""Makes Xero's requests of intents, and reads from a reply what became of each.

PUT creates (what exists is refused), POST updates, always by id: by name it could hit another.
Facts: the spec 16.1.0, recordings of 2026-09, and the notes on idempotency (a failure is kept under its key).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from pipelines import exact
from pipelines.intents import Intent, Request, Verdict, without_values
from pipelines.settings import Push
from pipelines.xero.client import API, RESOURCES
from reconcile.bodies import dumps
from reconcile.ids import GUID
from reconcile.mapped import GROUP_OBJECT, GROUPS, TRACKING_OPTION

SIDE: Final = "xero"
SUMMARIZE: Final = (
    "summarizeErrors=false"  # each element with its own fate; otherwise one bad one refuses all
)
AT_ONCE: Final = 50  # what Xero advises
MEMBERS: Final = "Contacts"  # of a contact group: in its address, in what is sent and in the reply
NO_ID: Final = "00000000-0000-0000-0000-000000000000"
KEY_USED: Final = "used with a different request"
METHODS: Final = {"create": "PUT", "update": "POST"}


@dataclass(frozen=True)
class Shape:
    """How an object's writes look: what they are asked with, by what a reply is known, what is there already."""

    query: str
    echoed: tuple[str, ...]  # fields by which a new one is known besides its key
    there_already: tuple[str, ...]  # words of a refusal


SHAPES: Final = {
    "Contact": Shape(SUMMARIZE, ("Name",), ("already", "must be unique", "matched an archived contact")),
    # unitdp: else prices are cut to two places.
    "Invoice": Shape(f"{SUMMARIZE}&unitdp=4", (), ("already", "must be unique")),
    "Bill": Shape(f"{SUMMARIZE}&unitdp=4", (), ()),  # two with one number are no fault to Xero
    "CreditNote": Shape(f"{SUMMARIZE}&unitdp=4", (), ("already", "must be unique")),
    "Item": Shape(f"{SUMMARIZE}&unitdp=4", (), ("already exists",)),
    "Payment": Shape(SUMMARIZE, (), ()),  # two with one Reference are no fault to Xero
    TRACKING_OPTION: Shape("", (), ("already in use",)),  # unconfirmed: the words
    GROUP_OBJECT: Shape("", (), ()),
}
# Elsewhere as many as Xero advises. Money goes one by one: what one reply leaves open is one payment. An option
# is asked for under its category. Source: accounting spec 16.1.0, createTrackingOptions; read 2026-11-30.
ALONE: Final = frozenset({"Payment", TRACKING_OPTION})


def requests(intents: Sequence[Intent], how: Push | None = None) -> list[Request]:
    """Give the requests that carry these intents: by object, creates and updates apart, at most 50 in each."""
    made: list[Request] = []
    ordered = sorted(intents, key=lambda one: (one.object, one.action))  # stable: the order in each stays
    for (object_name, action), found in groupby(ordered, key=lambda one: (one.object, one.action)):
        some = list(found)
        if object_name == GROUP_OBJECT:
            made += _membership_requests(some)
            continue
        at_once = (how or Push()).documents_at_once if object_name in ("Invoice", "Bill") else AT_ONCE
        at_once = 1 if object_name in ALONE else at_once
        for at in range(0, len(some), at_once):
            made.append(_request(object_name, action, tuple(some[at : at + at_once])))
    return made


def _request(object_name: str, action: str, batch: tuple[Intent, ...]) -> Request:
    kind = RESOURCES[object_name]
    if object_name == TRACKING_OPTION:
        path = f"{API}/{kind.path}/{batch[0].parent_id}/{kind.key}"
        return Request(SIDE, METHODS[action], path, "", dumps(_element(batch[0])).encode(), batch)
    body = dumps({kind.key: [_element(intent) for intent in batch]}).encode()
    return Request(SIDE, METHODS[action], f"{API}/{kind.path}", SHAPES[object_name].query, body, batch)


def _membership_requests(intents: Sequence[Intent]) -> list[Request]:
    """Put contacts into each group, 50 at once; each that leaves is a call of its own, without a body.

    Source: accounting spec 16.1.0, createContactGroupContacts and deleteContactGroupContact; read 2026-11-30.
    """
    made: list[Request] = []
    ordered = sorted(intents, key=lambda one: (one.parent_id or "", bool(one.body["Member"])))
    for (group_id, goes_in), found in groupby(ordered, key=lambda one: (one.parent_id, one.body["Member"])):
        some, path = tuple(found), f"{API}/{RESOURCES[GROUP_OBJECT].path}/{group_id}/{MEMBERS}"
        if not goes_in:
            made += [Request(SIDE, "DELETE", f"{path}/{_named(one)[1]}", "", b"", (one,)) for one in some]
            continue
        for at in range(0, len(some), AT_ONCE):
            batch = some[at : at + AT_ONCE]
            body = dumps({MEMBERS: [dict([_named(one)]) for one in batch]}).encode()
            made.append(Request(SIDE, "PUT", path, "", body, batch))
    return made


def _named(intent: Intent) -> tuple[str, str | None]:
    """Give the field by which a reply names an intent's record, and its id; of a membership its contact."""
    if intent.object == GROUP_OBJECT:
        return RESOURCES["Contact"].id_field, (intent.record_id or "").rpartition("/")[2]
    return RESOURCES[intent.object].id_field, intent.record_id


def _element(intent: Intent) -> dict[str, Any]:
    own = {RESOURCES[intent.object].id_field: intent.record_id} if intent.record_id else {}
    return {**own, **intent.body}


def writes_in_group(intent: Intent) -> bool:
    """Say whether an update writes fields inside a group of an item (its details of sales or purchases)."""
    return intent.object == "Item" and intent.action == "update" and bool(GROUPS & intent.body.keys())


def with_whole_groups(request: Request, now: Callable[[Intent], Mapping[str, Any] | None]) -> Request:
    """Give a request whose groups are whole: what we do not change in them goes out as it is there.

    Whether Xero keeps what a group leaves out is unconfirmed. now: intent -> its record as last seen.
    """
    if not any(map(writes_in_group, request.intents)):
        return request
    whole = [
        replace(one, body=_whole(one.body, now(one) or {})) if writes_in_group(one) else one
        for one in request.intents
    ]
    body = dumps({RESOURCES["Item"].key: [_element(one) for one in whole]}).encode()
    return replace(request, body=body)


def _whole(sent: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        name: {field: value for field, value in (now.get(name) or {}).items() if value is not None}
        for name in GROUPS & sent.keys()
    }
    return {name: {**kept[name], **value} if name in kept else value for name, value in sent.items()}


def keeps_failure(status: int) -> bool:
    """Say whether this answer stays under its Idempotency-Key, so that the key is of no use any more."""
    return status not in (200, 429, 502, 503, 504)


def read(request: Request, status: int, body: bytes) -> list[Verdict]:
    """Give a verdict for each intent of a request.

    200 means nothing by itself: each element must stand at its place and be the one that was sent.
    """
    if request.method == "DELETE":
        return _read_removal(request, status)
    elements = _elements(request, body)
    if status == 200 and elements is not None:
        doubtful = _doubtful(request, elements)
        return [
            _verdict(intent, None if place in doubtful else _at(elements, place))
            for place, intent in enumerate(request.intents)
        ]
    if status == 400 and elements:
        return _read_summed_up(request, elements)
    if status in (400, 404, 413):
        return _refused_whole(request, status, body)
    return [Verdict("unknown", message=f"HTTP {status}") for _ in request.intents]


def _read_removal(request: Request, status: int) -> list[Verdict]:
    """Read the answer to a removal: 204 (spec). What one that is out already gets is unconfirmed: a look tells."""
    if status in (200, 204):
        return [Verdict("confirmed", one.record_id) for one in request.intents]
    kind = "exists" if status in (400, 404) else "unknown"
    return [Verdict(kind, message=f"refused with HTTP {status}") for _ in request.intents]


def _elements(request: Request, body: bytes) -> list[Any] | None:
    try:
        parsed = exact.parse(body.decode("utf-8-sig"))
    except ValueError:
        return None
    object_name = request.intents[0].object
    key = MEMBERS if object_name == GROUP_OBJECT else RESOURCES[object_name].key
    found = parsed.get(key, parsed.get("Elements")) if isinstance(parsed, dict) else None
    return found if isinstance(found, list) else None


def _at(elements: Sequence[Any], place: int) -> dict[str, Any] | None:
    found = elements[place] if place < len(elements) else None
    return found if isinstance(found, dict) else None


def _doubtful(request: Request, elements: Sequence[Any]) -> set[int]:
    """Give the places of new records that a reply tells more than once, or under one id; in a longer reply all.

    Two invoices under one number or id can't both be true: the books say which.
    """
    new = {place: one for place, one in enumerate(request.intents) if one.action == "create"}
    if len(elements) > len(request.intents):
        return set(new)
    names = {name for one in new.values() for name in (RESOURCES[one.object].id_field, one.key_field) if name}
    told = [one for one in elements if isinstance(one, dict)]
    counted = {name: Counter(_folded(one.get(name)) for one in told) for name in names}
    return {
        place
        for place in new
        for name in names
        if (value := _folded((_at(elements, place) or {}).get(name))) not in ("", NO_ID)
        and counted[name][value] > 1
    }


def _verdict(intent: Intent, element: dict[str, Any] | None) -> Verdict:
    if element is None or not _echoes(intent, element):
        return Verdict("unknown", message="the reply does not tell of it")
    errors = _errors(element)
    if errors:
        return _refused(intent, errors)
    # What was asked for is echoed also where nothing was written: only an id of Xero's own proves a new
    # record, and only its stamp a change of one whose id we sent ourselves.
    record_id = str(element.get(_named(intent)[0]) or NO_ID).lower()
    # Who was put into a group is told without a stamp (spec); that it is so the audit reads.
    stamped = intent.object != GROUP_OBJECT
    if (
        record_id == NO_ID
        or not re.fullmatch(GUID, record_id)
        or element.get("StatusAttributeString") == "ERROR"
        or element.get("HasValidationErrors")
        or element.get("HasErrors")
        or (intent.record_id and stamped and not element.get("UpdatedDateUTC"))
    ):
        return Verdict("unknown", message="the reply contradicts itself")
    return Verdict("confirmed", record_id, element) if stamped else Verdict("confirmed", intent.record_id)


def _echoes(intent: Intent, element: dict[str, Any]) -> bool:
    """Say whether the element is the intent's: by its id, or a new record's by the key that it carries."""
    if intent.record_id:
        field, own = _named(intent)
        return str(element.get(field) or "").lower() == str(own).lower()
    for name in filter(None, (intent.key_field, *SHAPES[intent.object].echoed)):
        if element.get(name) is not None:
            return _folded(element[name]) == _folded(intent.body.get(name))
    return False


def _folded(value: Any) -> str:
    return " ".join(str(value or "").split()).casefold()


def _errors(element: dict[str, Any]) -> list[str]:
    found = element.get("ValidationErrors") or []
    return [str(one.get("Message") or "no reason given") for one in found if isinstance(one, dict)]


def _refused(intent: Intent, errors: list[str]) -> Verdict:
    told = " ".join(without_values(error, intent.body) for error in errors)
    words = SHAPES[intent.object].there_already
    there = intent.action == "create" and any(word in error for error in errors for word in words)
    return Verdict("exists" if there else "rejected", message=told)


def _read_summed_up(request: Request, elements: list[Any]) -> list[Verdict]:
    """Read a 400 for the whole batch (summarizeErrors was not heeded): those without fault were not written.

    Whether Xero saved them all the same is unconfirmed: they are read back before anything is sent again.
    """
    found = [one for one in elements if isinstance(one, dict)]
    verdicts = []
    for intent in request.intents:
        mine = [one for one in found if _echoes(intent, one) and _errors(one)]
        verdicts.append(_refused(intent, _errors(mine[0])) if mine else Verdict("again", message="HTTP 400"))
    if all(verdict.kind == "again" for verdict in verdicts):
        return _refused_whole(request, 400, b"")
    return verdicts


def _refused_whole(request: Request, status: int, body: bytes) -> list[Verdict]:
    """Read a refusal that names nobody: alone it is the intent's own, in a batch each goes by itself."""
    if len(request.intents) > 1:
        return [Verdict("apart", message=f"HTTP {status}") for _ in request.intents]
    if status == 404:
        return [Verdict("overtaken", message="it, or what it refers to, is not there any more")]
    if KEY_USED in body.decode("utf-8", errors="replace"):
        return [Verdict("unknown", message="the key is known with another request")]
    return [Verdict("rejected", message=f"refused with HTTP {status}")]

"""Makes Xero's requests of intents, and reads from a reply what became of each.

PUT creates (what exists is refused), POST updates, always by ContactID: by name it could hit another.
Facts: the spec 16.1.0, recordings of 2026-09, and the notes on idempotency (a failure is kept under its key).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pipelines import exact
from pipelines.intents import Intent, Request, Verdict, without_values
from reconcile.bodies import dumps

SIDE: Final = "xero"
PATH: Final = "/api.xro/2.0/Contacts"
QUERY: Final = "summarizeErrors=false"  # each element with its own fate; otherwise one bad one refuses all
AT_ONCE: Final = 50  # what Xero advises
NO_ID: Final = "00000000-0000-0000-0000-000000000000"
THERE_ALREADY: Final = ("already", "must be unique", "matched an archived contact")
KEY_USED: Final = "used with a different request"


def requests(intents: Sequence[Intent]) -> list[Request]:
    """Give the requests that carry these intents: creates and updates apart, at most 50 in each."""
    made = []
    for method, action in (("PUT", "create"), ("POST", "update")):
        some = [intent for intent in intents if intent.action == action]
        for at in range(0, len(some), AT_ONCE):
            batch = tuple(some[at : at + AT_ONCE])
            body = dumps({"Contacts": [_element(intent) for intent in batch]}).encode()
            made.append(Request(SIDE, method, PATH, QUERY, body, batch))
    return made


def _element(intent: Intent) -> dict[str, Any]:
    return {"ContactID": intent.record_id, **intent.body} if intent.record_id else intent.body


def keeps_failure(status: int) -> bool:
    """Say whether this answer stays under its Idempotency-Key, so that the key is of no use any more."""
    return status not in (200, 429, 502, 503, 504)


def read(request: Request, status: int, body: bytes) -> list[Verdict]:
    """Give a verdict for each intent of a request.

    200 means nothing by itself: each element must stand at its place and be the one that was sent.
    """
    elements = _elements(body)
    if status == 200 and elements is not None:
        return [_verdict(intent, _at(elements, place)) for place, intent in enumerate(request.intents)]
    if status == 400 and elements:
        return _read_summed_up(request, elements)
    if status in (400, 404, 413):
        return _refused_whole(request, status, body)
    return [Verdict("unknown", message=f"HTTP {status}") for _ in request.intents]


def _elements(body: bytes) -> list[Any] | None:
    try:
        parsed = exact.parse(body.decode("utf-8-sig"))
    except ValueError:
        return None
    found = parsed.get("Contacts", parsed.get("Elements")) if isinstance(parsed, dict) else None
    return found if isinstance(found, list) else None


def _at(elements: Sequence[Any], place: int) -> dict[str, Any] | None:
    found = elements[place] if place < len(elements) else None
    return found if isinstance(found, dict) else None


def _verdict(intent: Intent, element: dict[str, Any] | None) -> Verdict:
    if element is None or not _echoes(intent, element):
        return Verdict("unknown", message="the reply does not tell of it")
    errors = _errors(element)
    if errors:
        return _refused(intent, errors)
    contact_id = str(element.get("ContactID") or NO_ID).lower()
    if (
        contact_id == NO_ID
        or element.get("StatusAttributeString") == "ERROR"
        or element.get("HasValidationErrors")
    ):
        return Verdict("unknown", message="the reply contradicts itself")
    return Verdict("confirmed", contact_id, element)


def _echoes(intent: Intent, element: dict[str, Any]) -> bool:
    """Say whether the element is the intent's: by ContactID, or a new record's by the key that it carries."""
    if intent.record_id:
        return str(element.get("ContactID") or "").lower() == intent.record_id.lower()
    for name in filter(None, (intent.key_field, "Name")):
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
    there = intent.action == "create" and any(word in error for error in errors for word in THERE_ALREADY)
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
        return [Verdict("overtaken", message="the contact is not there any more")]
    if KEY_USED in body.decode("utf-8", errors="replace"):
        return [Verdict("unknown", message="the key is known with another request")]
    return [Verdict("rejected", message=f"refused with HTTP {status}")]

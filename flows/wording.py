"""Words for people: what values, reasons and sizes are called on a page, and where two values differ."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

if TYPE_CHECKING:
    import polars as pl

SIDE_NAMES: Final = {"salesforce": "Salesforce", "xero": "Xero"}
WHY: Final = {
    "flows_against": "The mapping does not let this side's changes flow to the other.",
    "policy_report": "The mapping says to report this difference, not to settle it.",
    "as_found": "The two differed when they were first linked; nobody has settled it yet.",
    "conflict": "Both sides were changed since they last agreed; somebody has to choose.",
    "oscillates": "The value keeps going back and forth; something else writes it too.",
    "archived": "One of the two records is archived and can't be written.",
    "waits_for_decision": "The mapping asks for a decision, and none is made yet.",
}
MOVED: Final = {
    "salesforce": "Salesforce changed",
    "xero": "Xero changed",
    "both": "both changed",
    "as_found": "never agreed",
}
OUTCOME_WORDS: Final = {
    "confirmed": "done",
    "adopted": "was there already",
    "rejected": "refused",
    "overtaken": "overtaken: the value had moved on",
    "waiting": "not tried yet",
    "unknown": "answer lost: the next run settles it",
    "asked": "tried several times: a person has to look",
    "planned": "planned",
}
PHASE_WORDS: Final = {
    "link": "Links written",
    "fill": "Blanks filled",
    "settle": "Differences settled",
    "create": "Records made",
    "change": "Changes carried over",
    "undo": "Taken back",
}
PHASES_TO_COME: Final = {
    "link": "Links to write",
    "fill": "Blanks to fill",
    "settle": "Differences to settle",
    "create": "Records to make",
    "change": "Changes to carry over",
    "undo": "To be taken back",
}
UNIT_WORDS: Final = {"reference": "link", "record": "new record", "number": "invoice number"}
WHY_ALONE: Final = {
    "new": "nothing on the other side looks like it",
    "parent_unlinked": "its company has no counterpart yet",
    "partner_gone": "its counterpart was deleted or went out of scope",
    "too_many_alike": "too many look like it",
    "incident": "the ids on the two sides contradict each other",
}
FOUND_BY: Final = {
    "score": "names, e-mail, phone and address",
    "archived": "one of the two is archived",
    "out_of_scope": "one of the two is out of scope",
    "duplicate": "others look as much like it",
    "other_party": "their companies are not linked",
}
ADDRESS_ORDER: Final = ("lines", "city", "region", "postal_code", "country")
NAME_ORDER: Final = ("first", "last")


def readable(value: str | None) -> str:
    """Give a canonical value as a person would write it; "" where there is none."""
    if not value:
        return ""
    if value in ("true", "false"):
        return "yes" if value == "true" else "no"
    if value.startswith("{"):
        return _from_json(value)
    return value.removeprefix("raw:")


def _from_json(value: str) -> str:
    try:
        parts = json.loads(value)
    except ValueError:
        return value
    if not isinstance(parts, dict):
        return value
    if set(parts) <= set(NAME_ORDER):
        return " ".join(str(parts[key]) for key in NAME_ORDER if parts.get(key))
    if set(parts) <= set(ADDRESS_ORDER):
        return ", ".join(text for key in ADDRESS_ORDER for text in _lines(parts.get(key)))
    # A whole record, as a create has it: unit by unit.
    if "$from" in parts:
        return "the id of the new record"
    if is_invoice(parts):
        return invoice(parts)
    if {"lines", "stands"} <= set(parts):
        return said_of_invoice(parts)
    units = ((spoken(unit), readable(_text(part))) for unit, part in parts.items())
    return "; ".join(f"{unit}: {text}" for unit, text in units if text)


def is_invoice(parts: Mapping[str, Any]) -> bool:
    return {"lines", "subtotal", "currency"} <= set(parts)


def bill(parts: Mapping[str, Any], contact: str = "") -> str:
    """Say what a bill is, likewise: it is from somebody."""
    return invoice(parts, contact, word="from")


def invoice(parts: Mapping[str, Any], contact: str = "", word: str = "for") -> str:
    """Say what an invoice is, from its canonical form: number, for whom, its day, lines and amount."""
    named = str(parts["number"] or "numbered by Xero")
    dated = f"{parts['date']}, due {parts['due']}" if parts["due"] else str(parts["date"])
    lines = counted(len(parts["lines"]), "line")
    said = "" if parts["total"] is not None else " without tax"
    total = parts["total"] if parts["total"] is not None else parts["subtotal"]
    whom = f" {word} {contact}" if contact else ""
    return f"{named}{whom}, {dated}, {lines}, {amount(total, parts['currency'])}{said}, {parts['status'].lower()}"


def said_of_invoice(parts: Mapping[str, Any]) -> str:
    """Say what a source and its invoice are held together by: days, reference, and line by line what is sold."""
    head = [
        parts["date"],
        f"due {parts['due']}" if parts["due"] else None,
        parts["reference"],
        parts["currency"],
    ]
    sold = [
        f"{line['quantity']} x {line['unit_price']}"
        + (f" less {line['discount']}%" if line["discount"] else "")
        + (f" {line['description']}" if line["description"] else "")
        for line in parts["lines"] or ()
    ]
    ended = [] if parts["stands"] in (True, "true") else ["does not stand"]
    return "; ".join([", ".join(text for text in head if text), *sold, *ended])


def amount(value: str | Decimal, currency: str) -> str:
    """Give an amount with its currency, as 1,338.00 GBP."""
    return f"{Decimal(value):,f} {currency}"


def made_out_to(parts: Mapping[str, Any], names: Mapping[str, str], operations: pl.DataFrame) -> str:
    """Name the contact of an invoice; one that the same plan makes by what it is made of."""
    contact = parts["contact"]
    if isinstance(contact, str):
        return names.get(contact, "")
    maker = operations.filter(operations["operation_id"] == contact["$from"])["source_id"]
    return called(names, *maker)


def _lines(part: Any) -> list[str]:
    return [str(line) for line in part if line] if isinstance(part, list) else [str(part)] if part else []


def _text(part: Any) -> str | None:
    return part if part is None or isinstance(part, str) else json.dumps(part, ensure_ascii=False)


def spoken(unit: str) -> str:
    """Give a unit's name as it is said to people."""
    from reconcile import names

    return UNIT_WORDS.get(unit, names.spoken(unit))


def likely(score: float | None) -> str:
    """Give a score in per cent; never 100%, which would not have to be asked."""
    return "" if score is None else "over 99%" if score > 0.99 else f"{score:.0%}"


def marked(one: str, other: str, *, tags: tuple[str, str] = ("mark", "mark")) -> tuple[Markup, Markup]:
    """Give both texts as HTML, escaped, with what the other does not have inside the tags.

    Words are compared; where neither text has a space (phones, addresses of mail) the part between what
    they begin and end with in common.
    """
    if not one or not other:
        return Markup("{}").format(one), Markup("{}").format(other)
    same = _by_words(one, other) if " " in one or " " in other else _by_ends(one, other)
    return _tagged(same[0], tags[0]), _tagged(same[1], tags[1])


Pieces = list[tuple[str, bool]]  # text, and whether the other has it too


def _by_words(one: str, other: str) -> tuple[Pieces, Pieces]:
    mine, theirs = re.findall(r"\w+|\s+|.", one), re.findall(r"\w+|\s+|.", other)
    steps = difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes()
    left = [("".join(mine[a:b]), what == "equal") for what, a, b, _, _ in steps if a < b]
    right = [("".join(theirs[a:b]), what == "equal") for what, _, _, a, b in steps if a < b]
    return left, right


def _by_ends(one: str, other: str) -> tuple[Pieces, Pieces]:
    shorter = min(len(one), len(other))
    head = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    tail = next((n for n in range(shorter - head) if one[-n - 1] != other[-n - 1]), shorter - head)

    def pieces(text: str) -> Pieces:
        end = len(text) - tail
        return [
            part for part in ((text[:head], True), (text[head:end], False), (text[end:], True)) if part[0]
        ]

    return pieces(one), pieces(other)


def _tagged(pieces: Pieces, tag: str) -> Markup:
    return Markup("").join(
        Markup("{}").format(text) if same else Markup(f"<{tag}>{{}}</{tag}>").format(text)
        for text, same in pieces
    )


def age(since: datetime | None, now: datetime) -> str:
    """Say how long a difference has stood, in days."""
    if since is None or now - since < timedelta(days=1):
        return "new"
    days = (now - since).days
    return "1 day" if days == 1 else f"{days} days"


def moment(at: datetime | None) -> str:
    """Give a time as finance people date things, in UTC."""
    return f"{at.day} {at:%B %Y, %H:%M} UTC" if at else "never"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Give "1 value" or "2,340 values"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Give a number of bytes as kB or MB."""
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= step:
            return f"{count / step:,.1f} {unit}"
    return f"{count} bytes"


def called(names: Mapping[str, str], *record_ids: str | None) -> str:
    """Give the first name that is known for one of the ids, else ""."""
    return next((names[each] for each in record_ids if each and names.get(each)), "")

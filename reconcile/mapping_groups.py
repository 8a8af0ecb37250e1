"""Reads the mapping's section `entities.party.groups`: which contact groups of Xero a contact is to be in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from reconcile import names, reading
from reconcile.errors import WrongMapping
from reconcile.mapped import GroupMapping, Projection
from reconcile.marked import Marked

KEYS: Final = ("salesforce", "among", "remove")
REMOVE: Final = ("always", "never")
MOST: Final = 100  # that Xero has; accounting spec 16.1.0, createContactGroup; read 2026-11-30


def read_groups(
    tree: Marked | None, path: str, *, entity: str, projections: Iterable[Projection]
) -> GroupMapping | None:
    """Give how contacts are put into groups; null where the mapping says nothing of it.

    projections: of the same entity. Raises WrongMapping, which names file and line.
    """
    if tree is None:
        return None
    if entity != "party":
        raise WrongMapping(
            at=reading.place(tree, path), found=f"groups of a {entity}", expected="them under party"
        )
    keys = reading.known_keys(tree, path, KEYS)
    named = reading.needed(keys, "salesforce", tree, path)
    found = GroupMapping(
        salesforce=reading.field_name(named, f"{path}.salesforce"),
        among=_among(reading.needed(keys, "among", tree, path), f"{path}.among"),
        remove=reading.choice(keys.get("remove"), f"{path}.remove", REMOVE, "never"),
        at=f"{tree.key_at or tree.at}: {path}",
    )
    for projection in projections:
        if projection.salesforce == found.salesforce:
            raise WrongMapping(
                at=reading.place(named, f"{path}.salesforce"),
                found=f"{found.salesforce!r}, which the projection {projection.name} sets",
                expected="a field that people fill",
            )
    return found


def plain_groups(found: GroupMapping) -> dict[str, Any]:
    """Give the meaning of it, without the place where it was written."""
    return {"salesforce": found.salesforce, "among": sorted(found.among), "remove": found.remove}


def _among(tree: Marked, path: str) -> tuple[str, ...]:
    known: dict[str, str] = {}
    items = reading.texts(tree, path)
    for item in items:
        name = names.fold(reading.text_of(item, path)) or ""
        if ";" in name:
            raise WrongMapping(
                at=reading.place(item, path),
                found=repr(name),
                expected="the name of one group, without ; (a list names several)",
            )
        if name.lower() in known:
            raise WrongMapping(
                at=reading.place(item, path),
                found=f"{name!r}, which {known[name.lower()]!r} names already",
                expected="each group once: names compare without regard to case",
            )
        known[name.lower()] = name
    if len(known) > MOST:
        raise WrongMapping(
            at=reading.place(tree, path),
            found=f"{len(known)} groups",
            expected=f"at most {MOST}: Xero has no more",
        )
    return tuple(known.values())

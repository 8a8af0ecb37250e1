"""Small readers of a mapping's keys; each says with place and nearest what it expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from datetime import date
from typing import Final

from reconcile.errors import WrongMapping
from reconcile.mapped import Rule
from reconcile.marked import Marked, describe

LONGEST_PREFIX: Final = 30  # with an id and a revision it stays far below what Xero takes (255)


def known_keys(tree: Marked, path: str, known: tuple[str, ...]) -> dict[str, Marked]:
    """Give the keys of a mapping that hold something; refuse one that we don't know."""
    if not isinstance(tree.value, dict):
        raise WrongMapping(at=place(tree, path), found=describe(tree), expected=f"keys: {words(known)}")
    for key, marked in tree.value.items():
        if key not in known:
            raise not_one_of(place(marked, path), key, known, what="the key")
    return {key: marked for key, marked in tree.value.items() if marked.value is not None}


def named(keys: MappingOf[str, Marked], key: str, path: str) -> list[tuple[str, Marked]]:
    tree = keys.get(key)
    if tree is None:
        return []
    if not isinstance(tree.value, dict):
        raise WrongMapping(
            at=place(tree, f"{path}.{key}"), found=describe(tree), expected="names, each with its keys"
        )
    return [(name, marked) for name, marked in tree.items() if marked.value is not None]


def needed(keys: MappingOf[str, Marked], key: str, tree: Marked, path: str) -> Marked:
    if key not in keys:
        raise WrongMapping(at=place(tree, path), found=f"no {key!r}", expected=f"the key {key!r}")
    return keys[key]


def text_of(tree: Marked, path: str) -> str:
    if not isinstance(tree.value, str) or not tree.value.strip():
        raise WrongMapping(at=place(tree, path), found=describe(tree), expected="a text")
    return tree.value


def texts(tree: Marked, path: str) -> tuple[Marked, ...]:
    items = tree.value if isinstance(tree.value, tuple) else (tree,)
    if not items:
        raise WrongMapping(at=place(tree, path), found="an empty list", expected="one text or more")
    for item in items:
        text_of(item, path)
    return items


def field_name(tree: Marked, path: str) -> str:
    name = text_of(tree, path)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
        raise WrongMapping(
            at=place(tree, path), found=repr(name), expected="the name of one field, as Billing_Email__c"
        )
    return name


def choice(tree: Marked | None, path: str, allowed: tuple[str, ...], default: str | None) -> str:
    if tree is None and default is not None:
        return default
    if tree is None or not isinstance(tree.value, str):
        found = describe(tree) if tree else "nothing"
        raise WrongMapping(at=place(tree, path), found=found, expected=f"one of {words(allowed)}")
    if tree.value not in allowed:
        raise not_one_of(place(tree, path), tree.value, allowed)
    return tree.value


def rule(tree: Marked | None, path: str) -> Rule | None:
    if tree is None:
        return None
    read = Rule(text_of(tree, path), place(tree, path))
    _ = read.expression
    return read


def whole(tree: Marked | None, path: str, least: int, most: int, default: int) -> int:
    if tree is None:
        return default
    text = text_of(tree, path)
    if not re.fullmatch(r"\d{1,4}", text) or not least <= int(text) <= most:
        raise WrongMapping(
            at=place(tree, path), found=repr(text), expected=f"a number from {least} to {most}"
        )
    return int(text)


def day(tree: Marked, path: str) -> date:
    text = text_of(tree, path)
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise WrongMapping(at=place(tree, path), found=repr(text), expected="a day, as 2026-12-01") from None


def prefix(tree: Marked | None, path: str) -> str:
    """Give what stands before an id in a number or reference."""
    text = "" if tree is None else text_of(tree, path)
    if not re.fullmatch(rf"[A-Za-z0-9 ._/#-]{{0,{LONGEST_PREFIX}}}", text) or text != text.strip():
        raise WrongMapping(
            at=place(tree, path),
            found=repr(text),
            expected=f"at most {LONGEST_PREFIX} letters, digits, blanks and ._/#-, as SF-",
        )
    return text


def shown(tree: Marked | None, path: str, known: tuple[str, ...]) -> dict[str, str]:
    """Give what is shown -> the field that shows it, each its own; empty where nothing is."""
    if tree is None:
        return {}
    fields = {
        name: field_name(field, f"{path}.{name}") for name, field in known_keys(tree, path, known).items()
    }
    if len(set(fields.values())) < len(fields):
        raise WrongMapping(at=place(tree, path), found="one field twice", expected="a field for each")
    return fields


def not_one_of(at: str, found: str, allowed: tuple[str, ...], what: str = "") -> WrongMapping:
    near = difflib.get_close_matches(found.lower(), [name.lower() for name in allowed], n=1, cutoff=0.5)
    best = next((name for name in allowed if near and name.lower() == near[0]), None)
    expected = f"{best!r} (the nearest of {words(allowed)})" if best else f"one of {words(allowed)}"
    return WrongMapping(at=at, found=f"{what} {found!r}".strip(), expected=expected)


def place(tree: Marked | None, path: str | tuple[str, ...]) -> str:
    text = path if isinstance(path, str) else ".".join(path)
    where = "" if tree is None else tree.key_at or tree.at
    return f"{where}: {text}" if text else where


def words(names: Iterable[str]) -> str:
    return ", ".join(names)

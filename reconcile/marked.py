"""Reads YAML into plain trees in which every key and value remembers its file and line.

YAML's own guessing of types stays out: a scalar is its text, so that `NO` is Norway and `007` keeps
its zeros. Who reads a value says what it must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from reconcile.errors import FixMapping, WrongMapping

MAX_CHARACTERS: Final = 1_000_000
MAX_DEPTH: Final = 20
NULL: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Marked:
    """A value with its place. `value` is text, None, a tuple of Marked, or a dict of Marked."""

    value: str | tuple[Marked, ...] | dict[str, Marked] | None
    at: str
    quoted: bool = False
    key_at: str = ""  # of the key that holds it: what an error about the key names

    def items(self) -> Iterator[tuple[str, Marked]]:
        yield from self.value.items() if isinstance(self.value, dict) else ()

    @property
    def line(self) -> int:
        return int(self.at.rpartition(":")[2])


def read_yaml(text: str, *, name: str) -> Marked:
    """Give the one document of a YAML text as marked values.

    Raises FixMapping where it is no YAML, WrongMapping for what we don't take: a key twice, an alias,
    a tag, a key that is no text, several documents, no mapping at the top.
    """
    if len(text) > MAX_CHARACTERS:
        raise WrongMapping(at=f"{name}:1", found=f"{len(text)} characters", expected="a file below 1 MB")
    try:
        _refuse_aliases(text, name)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _not_yaml(error, name) from None
    except RecursionError:
        raise WrongMapping(at=f"{name}:1", found="values nested too deep", expected="a mapping") from None
    if root is None:
        return Marked({}, f"{name}:1")
    marked = _marked(root, name, 0)
    if not isinstance(marked.value, dict):
        raise WrongMapping(at=marked.at, found=describe(marked), expected="keys and values at the top")
    return marked


def describe(marked: Marked) -> str:
    """Say in a word or two what stands there, for a message."""
    if isinstance(marked.value, dict):
        return "a mapping of keys"
    if isinstance(marked.value, tuple):
        return "a list"
    return "nothing" if marked.value is None else repr(marked.value[:60])


def _marked(node: yaml.Node, name: str, depth: int) -> Marked:
    at = f"{name}:{node.start_mark.line + 1}"
    if depth > MAX_DEPTH:
        raise WrongMapping(at=at, found="values nested too deep", expected=f"{MAX_DEPTH} levels at most")
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise WrongMapping(at=at, found=f"the tag {node.tag!r}", expected="plain values without a tag")
    if isinstance(node, yaml.MappingNode):
        return Marked(_keys(node, name, depth), at)
    if isinstance(node, yaml.SequenceNode):
        return Marked(tuple(_marked(item, name, depth + 1) for item in node.value), at)
    quoted = isinstance(node, yaml.ScalarNode) and node.style is not None
    return Marked(None if node.tag == NULL and not quoted else str(node.value), at, quoted)


def _keys(node: yaml.MappingNode, name: str, depth: int) -> dict[str, Marked]:
    keys: dict[str, Marked] = {}
    for key_node, value_node in node.value:
        at = f"{name}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise WrongMapping(at=at, found="a key that is no text", expected="a plain key")
        key = str(key_node.value)
        if key in keys:
            before = keys[key].key_at.rpartition(":")[2]
            raise WrongMapping(
                at=at, found=f"the key {key!r} twice (first in line {before})", expected="each key once"
            )
        value = _marked(value_node, name, depth + 1)
        keys[key] = Marked(value.value, value.at, value.quoted, at)
    return keys


def _refuse_aliases(text: str, name: str) -> None:
    # An alias can hold itself, or grow to gigabytes; a mapping is easier to read without.
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            at = f"{name}:{event.start_mark.line + 1}"
            raise WrongMapping(at=at, found=f"an alias (*{event.anchor})", expected="the value itself")


def _not_yaml(error: yaml.YAMLError, name: str) -> FixMapping:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be read"
    return FixMapping(
        f"{name}:{line}: not valid YAML: {problem}. Correct the mapping and run the command again."
    )

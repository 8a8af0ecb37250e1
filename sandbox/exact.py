"""JSON whose numbers stay as they are written: read as Decimal, written as numbers, never through a float."""

from __future__ import annotations

import json
import re
import secrets
from decimal import Decimal
from typing import Any

# json has no way to write a Decimal as a number. It goes out as a text under a mark that no data can hold, for
# it is drawn anew in every process, and the mark and the quotes are taken off afterwards.
MARK = secrets.token_hex(12)
MARKED = re.compile(f'"{MARK}([^"]+)"')


def dumps(value: Any, *, separators: tuple[str, str] | None = None) -> str:
    """The text; a Decimal keeps its places (`24.10`)."""
    seen = False

    def mark(one: Any) -> str:
        nonlocal seen
        if not isinstance(one, Decimal) or not one.is_finite():
            raise TypeError(f"no JSON for {type(one).__name__}")
        seen = True
        return f"{MARK}{one:f}"

    text = json.dumps(value, ensure_ascii=False, separators=separators, default=mark)
    return MARKED.sub(r"\1", text) if seen else text


def loads(text: str | bytes) -> Any:
    """The value; a number with a fraction is a Decimal. NaN and Infinity are no JSON."""
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")

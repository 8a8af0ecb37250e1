"""Postal addresses: Salesforce's street of several lines, Xero's four lines, one canonical form.

Canonical is JSON with all five keys, sorted: city, country, lines, postal_code, region. `lines` are the
lines that hold something, four at most: what is beyond is joined to the fourth with ", ", because Xero has
no more, and both sides must read the same. `country` is ISO alpha-2 where the text names a country.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

from reconcile.countries import canonical_country, canonical_region, country_name, is_country, letters_only
from reconcile.names import fold

LINES: Final = ("line1", "line2", "line3", "line4")
REMEMBERED: Final = 1 << 17
BRITISH: Final = re.compile(r"([A-Z]{1,2}[0-9][A-Z0-9]?) ?([0-9][A-Z]{2})")


@lru_cache(maxsize=REMEMBERED)
def canonical_address(
    lines: tuple[str | None, ...],
    city: str | None,
    region: str | None,
    postal_code: str | None,
    country: str | None,
) -> str | None:
    """Give the canonical JSON of an address in parts; null where every part is blank."""
    code = canonical_country(country)
    address = {
        "city": fold(city),
        "country": code,
        "lines": canonical_lines(lines),
        "postal_code": canonical_postal_code(postal_code, code),
        "region": canonical_region(region, code),
    }
    if not any(address.values()):
        return None
    return json.dumps(address, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical_lines(lines: tuple[str | None, ...]) -> list[str]:
    single = [fold(line) for text in lines if text for line in text.splitlines()]
    kept = [line for line in single if line]
    return kept if len(kept) <= 4 else [*kept[:3], ", ".join(kept[3:])]


def canonical_postal_code(text: str | None, country: str | None) -> str | None:
    folded = fold(text)
    if folded is None:
        return None
    code = fold(folded.upper()) or folded
    british = BRITISH.fullmatch(code) if country in ("GB", None) else None
    return f"{british[1]} {british[2]}" if british else code


def salesforce_address(value: str, present: dict[str, str | None]) -> dict[str, str | None]:
    """Write a canonical address into Salesforce's five fields.

    Where a part says now what it shall say, it keeps its present spelling ("United Kingdom" or "UK").
    """
    address = json.loads(value)
    code = address["country"]
    now = (present.get("street"),)
    return {
        "street": now[0] if canonical_lines(now) == address["lines"] else "\n".join(address["lines"]) or None,
        **_other_parts(address, present),
        "country": _country(code, present.get("country")),
    }


def xero_address(value: str, present: dict[str, str | None]) -> dict[str, str | None]:
    """Write a canonical address into the fields of a Xero slot; AttentionTo is none of its parts."""
    address = json.loads(value)
    lines = address["lines"]
    now = tuple(present.get(line) for line in LINES)
    kept = now if canonical_lines(now) == lines else tuple(lines) + (None,) * (4 - len(lines))
    written = dict(zip(LINES, kept, strict=True))
    parts = {**written, **_other_parts(address, present)}
    country = _country(address["country"], present.get("country"))
    # Xero takes letters only. A text that names no country is left to be refused, not mangled.
    known = is_country(address["country"])
    parts["country"] = letters_only(country) if known and country is not None else country
    return parts


def _other_parts(address: dict[str, str | None], present: dict[str, str | None]) -> dict[str, str | None]:
    code = address["country"]
    same = {
        "city": fold(present.get("city")),
        "region": canonical_region(present.get("region"), code),
        "postal_code": canonical_postal_code(present.get("postal_code"), code),
    }
    return {
        part: present[part] if part in present and same[part] == address[part] else address[part]
        for part in same
    }


def _country(code: str | None, present: str | None) -> str | None:
    if code is None or canonical_country(present) == code:
        return None if code is None else present
    return country_name(code)

"""The words of words.txt, and the ways in which people write some of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

STREET_KINDS = ("Street", "Road", "Lane", "Avenue", "Close", "Way", "Place", "Court")
BUILDINGS = (
    "Unit {n}, {word} Business Park", "{word} House", "Suite {n}", "{word} Works", "The Old {word} Mill",
)  # fmt: skip
SUFFIXES = ("Ltd", "Limited", "plc", "LLP", "", "", "Group", "Co")
SUFFIX_SPELLINGS = {
    "Ltd": ("Limited", "Ltd.", "LTD", ""),
    "Limited": ("Ltd", "Ltd.", ""),
    "plc": ("PLC", "Plc", ""),
    "LLP": ("L.L.P.", ""),
    "Co": ("Company", "Co.", ""),
    "Group": ("Grp", ""),
    "Inc": ("Inc.", "Incorporated", ""),
}
ABBREVIATIONS = {
    "Brothers": "Bros", "Services": "Svcs", "Engineering": "Eng", "International": "Intl",
    "Management": "Mgmt", "Construction": "Constr", "Merchants": "Mchts", "Systems": "Sys",
    "Distribution": "Dist", "Associates": "Assoc", "Accountants": "Accts", "Marketing": "Mktg",
}  # fmt: skip
STREET_ABBREVIATIONS = {
    "Street": "St", "Road": "Rd", "Avenue": "Ave", "Lane": "Ln", "Court": "Ct", "Place": "Pl",
}  # fmt: skip
ROLES = (
    "accounts", "billing", "invoices", "info", "ap", "finance", "accounts.payable", "office", "enquiries",
)  # fmt: skip
SHARED_DOMAINS = ("mailbox.example", "post.example", "homemail.example", "group-holdings.example")
TITLES = (
    "Director", "Finance Manager", "Buyer", "Office Manager", "Partner", "Owner", "Accounts Payable", "",
)  # fmt: skip


@cache
def words(section: str) -> tuple[str, ...]:
    """first_names, surnames, trades, adjectives or streets."""
    return tuple(word.strip() for word in " ".join(_sections()[section]).split("|"))


@cache
def places(section: str) -> tuple[tuple[str, str, str, str], ...]:
    """cities or us_cities: name, region, post code's beginning, area code."""
    rows = (line.split(",") for line in _sections()[section])
    return tuple(
        (name.strip(), region.strip(), post.strip(), area.strip()) for name, region, post, area in rows
    )


@cache
def _sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return found

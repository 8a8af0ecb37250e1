"""Record ids: 15 characters in which case matters, or 18 with a checksum of the case."""

from __future__ import annotations

import re

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
FORM = re.compile(r"[0-9A-Za-z]{15}([0-9A-Za-z]{3})?")


def make_id(prefix: str, pod: str, number: int) -> str:
    """The 18-character id of a number: the object's prefix, two letters of its maker, base 62."""
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return to18(prefix + pod + digits.rjust(15 - len(prefix) - len(pod), "0"))


def to18(short: str) -> str:
    """A 15-character id with its three characters of checksum."""
    checks = (
        sum(
            letter.isascii() and letter.isupper() and 1 << place
            for place, letter in enumerate(short[at : at + 5])
        )
        for at in (0, 5, 10)
    )
    return short + "".join(CHECKS[check] for check in checks)


def full_id(given: str) -> str | None:
    """The 18-character form of an id in either form; None: not an id. The checksum mends the case."""
    if not FORM.fullmatch(given):
        return None
    if len(given) == 15:
        return to18(given)
    bits = [CHECKS.find(letter.upper()) for letter in given[15:]]
    if -1 in bits:
        return None
    mended = "".join(
        letter.upper() if bits[place // 5] >> place % 5 & 1 else letter.lower()
        for place, letter in enumerate(given[:15])
    )
    return to18(mended)

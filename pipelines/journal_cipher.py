"""Seals the columns that may hold a value of a person: AES-256-GCM with a key from outside.

A sealed value begins with one byte: 0 as it is (no key was set), 1 encrypted (nonce, then ciphertext with
its tag). What it is bound to (table, column, row) is authenticated, so that a value can't be moved.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from reconcile.errors import WrongSetting

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLAIN: Final = b"\x00"
ENCRYPTED: Final = b"\x01"
NONCE_BYTES: Final = 12
SETTING: Final = "journal.key (environment: RECONCILE_JOURNAL__KEY)"


class Cipher:
    """Seals and opens; without a key it only marks."""

    def __init__(self, key: str) -> None:
        self._cipher: AESGCM | None = None
        if not key:
            return
        if not re.fullmatch(r"[0-9a-fA-F]{64}", key):
            raise WrongSetting(
                at=SETTING,
                found="a value of another form",
                expected="64 hex digits, as `openssl rand -hex 32` gives",
            )
        from cryptography.hazmat.primitives.ciphers import aead

        self._cipher = aead.AESGCM(bytes.fromhex(key))

    @property
    def on(self) -> bool:
        return self._cipher is not None

    def seal(self, plain: bytes, place: str) -> bytes:
        """Give what is stored. place: table|column|row, authenticated with it."""
        if self._cipher is None:
            return PLAIN + plain
        nonce = os.urandom(NONCE_BYTES)
        return ENCRYPTED + nonce + self._cipher.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Give the plain bytes. Raises WrongKey: no key, another one, or the value was changed or moved."""
        if sealed[:1] == PLAIN:
            return sealed[1:]
        if self._cipher is None:
            raise WrongKey(found="no key, though this journal is encrypted")
        from cryptography.exceptions import InvalidTag

        nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, rest, place.encode())
        except (InvalidTag, ValueError):
            raise WrongKey(
                found="a key that does not open this journal, or a value that was changed"
            ) from None


class WrongKey(WrongSetting):
    """The journal was encrypted with another key."""

    def __init__(self, *, found: str) -> None:
        super().__init__(at=SETTING, found=found, expected="the key with which the journal was made")


def place(table: str, column: str, *row: str) -> str:
    """Name a value's place, to which it is bound."""
    return f"{table}|{column}|{':'.join(row)}"

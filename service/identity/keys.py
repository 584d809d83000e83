"""API keys: their format, and the parts of them that are stored.

`tg_live_` (projects) or `tg_admin_` (organisation), 30 random base62 characters, and a checksum of six, so that a
mistyped or made-up key is refused before any SQL, and scanners recognise a leaked one. Only the SHA-256 is
stored: the keys have 178 bits of randomness, so a slow hash would add nothing.
"""

import hashlib
import secrets
import string
import zlib

from service.states import KeyKind

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIXES: dict[KeyKind, str] = {"project": "tg_live_", "admin": "tg_admin_"}
RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6


def new_key(kind: KeyKind) -> str:
    """Generate a random API key: prefix, random part, checksum."""
    body = PREFIXES[kind] + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def well_formed(key: str) -> bool:
    """Whether `key` has the prefix, length and checksum of a key of this service."""
    for prefix in PREFIXES.values():
        if key.startswith(prefix) and len(key) == len(prefix) + RANDOM_LENGTH + CHECKSUM_LENGTH:
            return key.isascii() and secrets.compare_digest(_checksum(key[:-CHECKSUM_LENGTH]), key[-CHECKSUM_LENGTH:])
    return False


def fingerprint(key: str) -> bytes:
    """The SHA-256 of a key, which is stored and looked up."""
    return hashlib.sha256(key.encode()).digest()


def redacted(key: str) -> str:
    """The part of a key that may be shown, enough to recognise it: `tg_live_Ab3x…9ZkQ`."""
    return f"{key[:12]}…{key[-4:]}"


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits

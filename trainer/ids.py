"""Identifiers: a prefix and 26 characters that sort by time, like a ULID."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """An identifier that nobody can guess and that sorts by the millisecond it was made in."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return prefix + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))

"""Limits of JSON that others wrote, checked on its bytes before anything decodes it. Pure.

Three bytes of JSON can become an object of sixty, and each level of nesting a level of recursion in whatever reads the
value. So the number of values and the depth are limited. Most JSON passes by counting bytes alone. Only where that
could exceed a limit, brackets and commas outside of strings are counted, in pieces: the interpreter switches to other
threads between two of them, and stops at the first piece that exceeds a limit.
"""

MAX_DEPTH = 128
"""The deepest JSON Schema that OpenAI accepts has ten levels, which are at most three levels of JSON each."""

MAX_VALUES = 250_000
"""A prompt of 128,000 token ids, the longest context of a completions model, has half as many."""

VALUE_BYTES = 64
"""The memory of a small decoded value, with its place in a list (CPython 3.11: an empty list has 56 + 8)."""

PIECE_BYTES = 64 * 1024

_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_OPENING = frozenset(b"[{")


class JsonLimitExceeded(Exception):
    """The argument says which limit, as a sentence about "it" (the JSON)."""


def check(raw: bytes | bytearray, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES) -> int:
    """Check JSON, and return an upper bound of the number of its values. Raises `JsonLimitExceeded`.

    Nothing is assumed of bytes that are no JSON, which the decoder refuses.
    """
    opening = commas = 0
    for start in range(0, len(raw), PIECE_BYTES):
        end = start + PIECE_BYTES
        opening += raw.count(b"[", start, end) + raw.count(b"{", start, end)
        commas += raw.count(b",", start, end)
        if opening > max_depth or opening + commas >= max_values:
            return _scanned(raw, max_depth=max_depth, max_values=max_values)
    return opening + commas + 1


def _scanned(raw: bytes | bytearray, *, max_depth: int, max_values: int) -> int:
    values, depth, in_string, start = 1, 0, False, 0
    while start < len(raw):
        piece = _piece(raw, start)
        start += len(piece)
        outside, in_string = _outside_of_strings(piece, in_string)
        opening = outside.count(b"[") + outside.count(b"{")
        values += opening + outside.count(b",")
        if values > max_values:
            raise JsonLimitExceeded(f"it has more than {max_values:,} values")
        if depth + opening <= max_depth:
            depth += opening - outside.count(b"]") - outside.count(b"}")
            continue
        for bracket in outside.translate(None, _NOT_BRACKETS):
            depth += 1 if bracket in _OPENING else -1
            if depth > max_depth:
                raise JsonLimitExceeded(f"it is nested deeper than {max_depth} levels")
    return values


def _piece(raw: bytes | bytearray, start: int) -> bytes:
    """The next bytes, which do not end between a backslash and what it escapes."""
    piece = bytes(raw[start : start + PIECE_BYTES])
    backslashes = len(piece) - len(piece.rstrip(b"\\"))
    return piece + bytes(raw[start + PIECE_BYTES : start + PIECE_BYTES + 1]) if backslashes % 2 else piece


def _outside_of_strings(piece: bytes, in_string: bool) -> tuple[bytes, bool]:
    """What of a piece is outside of strings, and whether its end is inside of one."""
    parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    return b"".join(parts[1 if in_string else 0 :: 2]), in_string != (len(parts) % 2 == 0)

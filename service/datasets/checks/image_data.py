"""What is wrong with an image in a data URL, by its base64 and the marks at its ends. Pictures are not decoded."""

from __future__ import annotations

import base64
import binascii

_ENDS = {"image/png": b"IEND", "image/jpeg": b"\xff\xd9"}
_TAIL_CHARS = 4_096


def base64_fault(encoded: str) -> str | None:
    """Why this is not the base64 of an image, and what to do; None if it is base64."""
    if not encoded:
        return "The image is empty; add its base64 after the comma."
    if encoded[:5].lower() == "data:":
        return "The start data:image/…;base64, stands twice; remove one."
    if any(space in encoded for space in "\n\r\t "):
        return "The base64 is wrapped; remove the line breaks and spaces in it."
    if "%" in encoded:
        return "The base64 is percent-encoded; write +, / and = themselves."
    if "-" in encoded or "_" in encoded:
        return "The base64 has the alphabet for URLs; write + for - and / for _."
    digits = len(encoded.rstrip("="))
    if digits % 4 == 1:
        return f"The base64 is cut: {digits:,} characters are no whole number of bytes. Encode the image again."
    if len(encoded) % 4:
        return "The base64 lacks its padding, or is cut; end it with = up to a multiple of four characters."
    try:
        binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError):
        return "The image is not valid base64; write data:image/png;base64,…."
    return None


def real_type(first: bytes) -> str | None:
    """The type of an image by its first bytes; None if it is not JPEG, PNG or WEBP."""
    if first.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "image/webp" if first[:4] == b"RIFF" and first[8:12] == b"WEBP" else None


def first_bytes(encoded: str) -> bytes:
    """The first 48 bytes of an image; none if they are not base64."""
    try:
        return base64.b64decode(encoded[:64], validate=True)
    except (binascii.Error, ValueError):
        return b""


def is_truncated(encoded: str) -> bool:
    """Whether the end of an image is missing: PNG's IEND, JPEG's end of image, or bytes that RIFF declares."""
    first = first_bytes(encoded)
    kind = real_type(first)
    if kind is None or len(encoded) % 4:
        return False
    if kind == "image/webp":
        return int.from_bytes(first[4:8], "little") + 8 > len(encoded) // 4 * 3 - encoded[-2:].count("=")
    return not (_contains(encoded[-_TAIL_CHARS:], _ENDS[kind]) or _contains(encoded, _ENDS[kind]))


def _contains(encoded: str, end: bytes) -> bool:
    try:
        return end in base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        return True

"""Recognises encodings of Unicode and escape sequences of ISO 2022 by their bytes; reads UTF-8 as Java writes it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 1 << 16
_ESCAPES = (
    (re.compile(rb"\x1b\$\)C"), "iso-2022-kr"),
    (re.compile(rb"\x1b(?:\$[@B]|\$\([@BCD]|\([JI])"), "iso-2022-jp"),
)
_SURROGATES = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")


def begins_with_bom(head: bytes) -> str | None:
    """The encoding that a byte order mark at the start of a file shows, or None. UTF-8 is not among them."""
    return next((name for bom, name in _BOMS if head.startswith(bom)), None)


def wide_without_bom(head: bytes) -> str | None:
    """UTF-16 or UTF-32 if the zeros in the first bytes of a file show it, or None."""
    sample = head[: min(len(head), _SAMPLE_BYTES) & ~3]
    zeros = sample.count(0)
    if len(sample) < 4 or zeros * 100 < len(sample):
        return None
    by_place = [sample[place::4].count(0) for place in range(4)]
    many_zeros = len(sample) * 15 // 64
    for name, zero, other in (("utf-32le", by_place[2:], by_place[0]), ("utf-32be", by_place[:2], by_place[3])):
        if min(zero) >= many_zeros and other * 10 <= len(sample):
            return name
    low, high = by_place[0] + by_place[2], by_place[1] + by_place[3]
    for name, few, many, line_end in (("utf-16le", low, high, b"\n\0"), ("utf-16be", high, low, b"\0\n")):
        if few * 10 <= many and (zeros * 4 >= len(sample) or (line_end in sample and not is_utf8(sample, cut=True))):
            return name
    return None


def escaped(data: bytes) -> str | None:
    """ISO-2022-JP or ISO-2022-KR if their escape sequences stand in the bytes, or None."""
    return next((name for pattern, name in _ESCAPES if pattern.search(data)), None) if b"\x1b" in data else None


def java_utf8(data: bytes) -> str | None:
    """The text of UTF-8 as some programs write it, or None if the bytes are not that.

    CESU-8 (Unicode Technical Report 26) has surrogate pairs in place of characters beyond U+FFFF, as Oracle and Java
    write them; Java's modified UTF-8 writes U+0000 as C0 80. The text is exact.
    """
    if b"\xed" not in data and b"\xc0\x80" not in data:
        return None
    pairs = _SURROGATES.sub(lambda found: _from_pair(found.group()), data)
    try:
        return pairs.replace(b"\xc0\x80", b"\0").decode()
    except UnicodeDecodeError:
        return None


def is_utf8(data: bytes, *, cut: bool = False) -> bool:
    """Whether bytes are valid UTF-8. They may end within a character if they are `cut`."""
    try:
        codecs.utf_8_decode(data, "strict", not cut)
    except UnicodeDecodeError:
        return False
    return True


def has_lone_surrogates(data: bytes) -> bool:
    """Whether bytes are UTF-8 but for halves of surrogate pairs."""
    try:
        return not data.decode("utf-8", "surrogatepass").isascii() and not is_utf8(data)
    except UnicodeDecodeError:
        return False


def to_utf8(chunks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """Converts chunks of UTF-16 or UTF-32 to UTF-8.

    Half of a surrogate pair, and half of a character at the end, become bytes that are not UTF-8, so that they show in
    their line. Raises UnicodeDecodeError for other bytes that are not in the encoding.
    """
    decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    try:
        yield decoder.decode(b"", True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        yield b"\xff"


def _from_pair(pair: bytes) -> bytes:
    return pair.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass").decode("utf-16-le").encode()

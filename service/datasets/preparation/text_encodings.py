"""Detects the encoding of texts that are not UTF-8 from their bytes, without a dependency.

Lines are decoded one by one: in a file with a few lines in another encoding, the other lines stay as they are.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

_WIDE_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_RUN = re.compile(rb"[\x80-\xff]+")
_RUN_IN_A_WORD = re.compile(rb"[A-Za-z][\x80-\xff]+|[\x80-\xff]+[A-Za-z]")
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_PUNCTUATION = re.compile("[\u3000-\u303f\uff00-\uffef\u2010-\u2026]")
_COMMON_HANZI = range(0xB0, 0xD8)
"""First bytes of the more common half of GB 2312; Cyrillic and rarer characters have higher ones."""


def wide_encoding(head: bytes) -> str | None:
    """`utf-16` or `utf-32` (with or without byte order mark) if the first bytes of a file show it, else None."""
    for bom, name in _WIDE_BOMS:
        if head.startswith(bom):
            return name
    sample = head[:4096]
    if len(sample) < 4 or sample.count(0) * 4 < len(sample):
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 3 * even:
        return "utf-16-le"
    return "utf-16-be" if even > 3 * odd else None


def narrow_encoding(sample: bytes) -> str:
    """The most likely encoding of whole lines that are not UTF-8: Japanese, Korean, Chinese, Cyrillic, or Western."""
    runs = _RUN.findall(sample)
    high_bytes = sum(map(len, runs)) or 1
    together = sum(len(run) for run in runs if len(run) > 1) / high_bytes
    if _share(sample, "cp932", _KANA) >= 0.2:
        return "cp932"
    in_words = len(_RUN_IN_A_WORD.findall(sample))  # as in "Größe"; other scripts have words of their own
    if together >= 0.7 and in_words * 2 <= len(runs):
        if _share(sample, "euc_kr", _HANGUL) >= 0.95:
            return "euc_kr"
        if _chinese_share(sample) >= 0.6:
            return "gb18030"
        if _share(sample, "cp1251", _CYRILLIC) >= 0.9:
            return "cp1251"
    return "cp1252"


def decode(data: bytes, encoding: str) -> str:
    """Decodes `data`. A line that is not in `encoding` is decoded as Western text, which accepts all bytes."""
    for name in (encoding, "cp1252"):
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def to_utf8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Converts chunks of UTF-16 or UTF-32 to chunks of UTF-8; bytes that are invalid become U+FFFD."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")
    yield decoder.decode(b"", True).encode("utf-8", "replace")


def _share(sample: bytes, encoding: str, script: re.Pattern[str]) -> float:
    try:
        foreign = [char for char in sample.decode(encoding) if char > "\x7f"]
    except UnicodeDecodeError:
        return 0.0
    return sum(1 for char in foreign if script.match(char)) / len(foreign) if foreign else 0.0


def _chinese_share(sample: bytes) -> float:
    try:
        foreign = [char for char in sample.decode("gb18030") if char > "\x7f"]
    except UnicodeDecodeError:
        return 0.0
    common = sum(
        1 for char in foreign if char.encode("gb18030")[0] in _COMMON_HANZI or _PUNCTUATION.match(char) is not None
    )
    return common / len(foreign) if foreign else 0.0

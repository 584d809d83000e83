"""Signs of a wrong decoding: what a text must contain before it is examined, as patterns for UTF-8 bytes and for text.

Most texts are right, so the patterns are fast and selective. UTF-8 that was read in an encoding with one byte for each
character shows as a character for a lead byte (0xC2 to 0xF4) before one to three characters for continuation bytes
(0x80 to 0xBF). Which characters these are follows from the encodings that ftfy knows. Text in another encoding shows
as four letters of Latin-1 with accents in a row, or as Cyrillic words with capitals inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from ftfy.chardata import UTF8_CLUES

_NBSP = "\u00a0"


def _decoded(numbers: Iterable[int], encoding: str) -> str:
    return bytes(numbers).decode(encoding, "ignore")


def _members(character_class: str) -> str:
    """The characters from U+0080 on in the inside of a character class."""
    return "".join(re.findall(f"[{character_class}]", "".join(map(chr, range(0x80, 0x3000)))))


class _Family(NamedTuple):
    """How UTF-8 looks in a group of encodings: the characters of the lead bytes of two, and of three or four bytes, and
    those of continuation bytes. What clean text has often is left out: other sequences show the same mistake.
    """

    leads_of_2: str
    leads_of_3: str
    continuation: str


def _families() -> Iterator[_Family]:
    leads_of_2 = _members(UTF8_CLUES["utf8_first_of_2"])
    leads_of_3 = _members(UTF8_CLUES["utf8_first_of_3"] + UTF8_CLUES["utf8_first_of_4"])
    continuation = _members(UTF8_CLUES["utf8_continuation"])
    cyrillic = _without(continuation, "ЁЄІЇЈЎҐёєіїјўґ’»\u00a0—–")
    for leads, following in ((_CYRILLIC, cyrillic), (f"[^{_CYRILLIC[1:-1]}]", continuation)):
        yield _Family("".join(re.findall(leads, leads_of_2)), "".join(re.findall(leads, leads_of_3)), following)
    for encoding in ("mac_roman", "cp437"):
        leads_of_2 = _without(_decoded(range(0xC2, 0xE0), encoding), "«»‘’“”…")
        yield _Family(leads_of_2, _decoded(range(0xE0, 0xF5), encoding), _decoded(range(0x80, 0xC0), encoding))


def _without(characters: str, left_out: str) -> str:
    return "".join(each for each in characters if each not in left_out)


_CYRILLIC = "[\u0400-\u04ff]"
_FAMILIES = list(_families())

UTF8_READ_WRONGLY = re.compile(
    "|".join(
        f"[{re.escape(family.leads_of_2)}][{re.escape(family.continuation)}]"
        f"|[{re.escape(family.leads_of_3)}][{re.escape(_without(family.continuation, _NBSP))}]"
        f"[{re.escape(family.continuation)}]{{1,2}}"
        for family in _FAMILIES
    )
)
"""A sequence of UTF-8 that was read in an encoding with one byte for each character."""

LOST = re.compile("\ufffd|锟斤拷|烫烫烫|屯屯屯")
"""Characters whose text is lost: U+FFFD, and what GBK has for U+FFFD or for memory that was not written."""

BROKEN = re.compile("â€|вЂ|‚Äì|‚Äî|‚Äò|‚Äô|‚Äú|‚Äù|ï¿½")
"""The start of a quotation mark or dash in UTF-8 that was read wrongly and of which the rest is missing."""

C1 = re.compile("[\u0080-\u009f]")
"""Control characters that no text uses. They come from Windows-1252, or another encoding, that was read as Latin-1."""

OTHER_CONFUSION = re.compile(
    "[¡-ª¬-º¼-ÿ]{4}|(?:[‚ƒ\u0082\u0083][!#-\\[\\]-~\u0080-\u02ff\u2000-\u2fff]){2}"
    "|[а-яё][А-ЯЁ]{2}|[а-я][Ё-ЏҐ«][а-я]|[═-╬][а-яА-ЯЁ]|[а-яА-Я][─-╬÷]|[┬├][\u00a0-\u00ff]"
)
"""Text in another encoding than UTF-8, read in one with one byte for each character."""

_LOWER = rb"(?:\xd0[\xb0-\xbf]|\xd1[\x80-\x8f])"
_UPPER_TWICE = rb"(?:\xd0[\x90-\xaf\x81]){2}"
_UPPER_INSIDE = rb"(?:\xd0[\x81-\x8f]|\xd2\x90|\xc2\xab)" + _LOWER
_BOX = rb"(?:\xe2[\x94\x95]|\xc3\xb7)"
_THREE_MORE = rb"(?:\xc2[\xa1-\xaa\xac-\xba\xbc-\xbf]|\xc3.){3}"
_TRAIL = rb"(?:[!#-\[\]-~]|[\xc2-\xcb].|\xe2..)"
_TWICE = _TRAIL + rb"(?:\xe2\x80\x9a|\xc6\x92|\xc2[\x82\x83])" + _TRAIL
_OTHERS_BY_FIRST_BYTE = (
    (0xC2, rb"[\x80-\x9f]|[\xa1-\xaa\xac-\xba\xbc-\xbf]" + _THREE_MORE + rb"|[\x82\x83]" + _TWICE),
    (0xC3, rb"[\x82\x83] |." + _THREE_MORE),
    (0xC6, rb"\x92" + _TWICE),
    (0xD0, rb"[\xb0-\xbf](?:%b|%b)|[\x90-\xbf]%b|\xb2\xd1\x92" % (_UPPER_TWICE, _UPPER_INSIDE, _BOX)),
    (0xD1, rb"[\x80-\x8f](?:%b|%b|%b)|\x91%b" % (_UPPER_TWICE, _UPPER_INSIDE, _BOX, _UPPER_TWICE)),
    (0xE2, rb"\x80\x9a%b|\x95[\x90-\xac][\xd0\xd1]|\x94[\x9c\xac][\xc2\xc3]" % _TWICE),
)
"""`OTHER_CONFUSION`, C1 characters, and `Ã` or `Â` before a space, as bytes."""


def _signs_in_bytes() -> bytes:
    """All signs as alternatives by their first byte, so that Python's `re` skips all other bytes fast."""
    by_first_byte: dict[int, list[bytes]] = {}
    for first, leads, continuation in _leads_by_first_byte():
        last = _one_of(continuation)
        by_first_byte.setdefault(first, []).append(_one_of(leads[0], skip=1) + last)
        if leads[1]:
            following = _one_of(_without(continuation, _NBSP))
            by_first_byte[first].append(_one_of(leads[1], skip=1) + following + last)
    for first, rest in _OTHERS_BY_FIRST_BYTE:
        by_first_byte.setdefault(first, []).append(rest)
    for sign in (*LOST.pattern.split("|"), *BROKEN.pattern.split("|")):
        encoded = sign.encode()
        by_first_byte.setdefault(encoded[0], []).append(encoded[1:])
    return b"|".join(bytes([first]) + b"(?:" + b"|".join(rest) + b")" for first, rest in by_first_byte.items())


def _leads_by_first_byte() -> Iterator[tuple[int, tuple[str, str], str]]:
    """For each first byte of a lead character in UTF-8: such characters of all families, and their continuations."""
    leads = sorted({(each.encode()[0], each) for family in _FAMILIES for each in family.leads_of_2 + family.leads_of_3})
    for first, group in groupby(leads, key=lambda pair: pair[0]):
        characters = "".join(each for _, each in group)
        families = [family for family in _FAMILIES if set(characters) & set(family.leads_of_2 + family.leads_of_3)]
        of_2 = "".join(family.leads_of_2 for family in families)
        of_3 = "".join(family.leads_of_3 for family in families)
        continuation = "".join(family.continuation for family in families)
        leads_of_2 = "".join(each for each in characters if each in of_2)
        leads_of_3 = "".join(each for each in characters if each in of_3)
        yield first, (leads_of_2, leads_of_3), continuation


def _one_of(characters: str, skip: int = 0) -> bytes:
    """A pattern for the UTF-8 bytes of each character, without the first `skip` bytes."""
    ends_by_start: dict[bytes, bytes] = {}
    for each in sorted(set(characters)):
        encoded = each.encode()[skip:]
        ends_by_start[encoded[:-1]] = ends_by_start.get(encoded[:-1], b"") + encoded[-1:]
    return b"(?:" + b"|".join(start + b"[" + ends + b"]" for start, ends in ends_by_start.items()) + b")"


SIGNS_IN_BYTES = _signs_in_bytes()
"""What the UTF-8 bytes of a row contain if one of its texts has a sign of a wrong decoding."""

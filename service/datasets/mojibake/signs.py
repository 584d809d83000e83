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

_NBSP = "\u00a0"
LEADS_OF_2 = (
    "ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßĀĂĆČĎĐĒĖĘĚĞĢĪİĶĹĻŁŃŅŇŌŐŘŚŞŠŢŪŮŰŲŹŻŽΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗ"
    "ИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
)
LEADS_OF_3 = "àáâãäåæçèéêëìíîïðóāăąćčďđēėęěğģīįķĺļŕšźΰαβγδεζηθικλμνξοπσабвгдежзийклмнопру"
CONTINUATION = (
    "\u0080-\u00bfÆØæøĄąĽľŁłŒœŖŗŚśŞşŠšŤťŸŹźŻżŽžƒˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ–—―‘’‚“”„†‡•…‰‹›€№™"
)
"""`UTF8_CLUES` of ftfy, as insides of character classes: copied, because importing ftfy takes a tenth of a second."""


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
    leads_of_2 = _members(LEADS_OF_2)
    leads_of_3 = _members(LEADS_OF_3)
    continuation = _members(CONTINUATION)
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


def _any_of(alternatives: Iterable[tuple[str, str]]) -> str:
    """A pattern of alternatives, each the class of its first character and the rest, in this order of precedence.

    It starts with the class of all first characters, so that `re` skips all other characters fast.
    """
    listed = list(alternatives)
    firsts = "".join(first for first, _ in listed)
    return f"[{firsts}](?:{'|'.join(f'(?<=[{first}]){rest}' for first, rest in listed)})"


def _sequences() -> Iterator[tuple[str, str]]:
    for family in _FAMILIES:
        continuation = f"[{re.escape(family.continuation)}]"
        following = f"[{re.escape(_without(family.continuation, _NBSP))}]"
        yield re.escape(family.leads_of_2), continuation
        yield re.escape(family.leads_of_3), following + continuation + "{1,2}"


UTF8_READ_WRONGLY = re.compile(_any_of(_sequences()))
"""A sequence of UTF-8 that was read in an encoding with one byte for each character."""

LOST = re.compile("\ufffd|锟斤拷|烫烫烫|屯屯屯")
"""Characters whose text is lost: U+FFFD, and what GBK has for U+FFFD or for memory that was not written."""

BROKEN = re.compile("â€|вЂ|‚Äì|‚Äî|‚Äò|‚Äô|‚Äú|‚Äù|ï¿½")
"""The start of a quotation mark or dash in UTF-8 that was read wrongly and of which the rest is missing."""

C1 = re.compile("[\u0080-\u009f]")
"""Control characters that no text uses. They come from Windows-1252, or another encoding, that was read as Latin-1."""

_LOW_QUOTES = "‚ƒ\u0082\u0083"
_TRAIL_OF_2 = "[!#-\\[\\]-~\u0080-\u02ff\u2000-\u2fff]"
_OTHERS = (
    ("¡-ª¬-º¼-ÿ", "[¡-ª¬-º¼-ÿ]{3}"),
    (_LOW_QUOTES, f"{_TRAIL_OF_2}[{_LOW_QUOTES}]{_TRAIL_OF_2}"),
    ("а-яё", "[А-ЯЁ]{2}"),
    ("а-я", "[Ё-ЏҐ«][а-я]"),
    ("═-╬", "[а-яА-ЯЁ]"),
    ("а-яА-Я", "[─-╬÷]"),
    ("┬├", "[\u00a0-\u00ff]"),
)
OTHER_CONFUSION = re.compile(_any_of(_OTHERS))
"""Text in another encoding than UTF-8, read in one with one byte for each character."""

_THREE_MORE = rb"(?:\xc2[\xa1-\xbf]|\xc3.){3}"
_NOT_LOWER = rb"(?:(?:\xd0[\x90-\xaf\x81]){2}|\xd0[\x81-\x8f]|\xd2\x90|\xc2\xab[\xd0\xd1]|\xe2[\x94\x95]|\xc3\xb7)"
_OTHERS_IN_BYTES = (
    (b"\xc2", rb"[\x80-\x9f]|[\xa1-\xbf]" + _THREE_MORE),
    (b"\xc3", rb"[\x82\x83] |." + _THREE_MORE),
    (b"\xc6", rb"\x92"),
    (b"\xd0", rb"[\xb0-\xbf]" + _NOT_LOWER + rb"|[\x90-\xaf](?:\xe2[\x94\x95]|\xc3\xb7)"),
    (b"\xd1", rb"[\x80-\x8f\x91]" + _NOT_LOWER),
    (b"\xe2", rb"\x80\x9a.{1,3}\xe2\x80\x9a|\x95[\x90-\xac][\xd0\xd1]|\x94[\x9c\xac][\xc2\xc3]"),
    *((sign[:1], sign[1:]) for sign in f"{LOST.pattern}|{BROKEN.pattern}".encode().split(b"|")),
)
"""At least `OTHER_CONFUSION`, C1 characters, `Ã` or `Â` before a space, `LOST` and `BROKEN`, as bytes: a first byte and
the pattern of the rest.
"""


def _one_of(characters: str, skip: int = 0) -> bytes:
    """A pattern for the UTF-8 bytes of each character, without the first `skip` bytes."""
    ends_by_start: dict[bytes, bytes] = {}
    for each in sorted(set(characters)):
        encoded = each.encode()[skip:]
        ends_by_start[encoded[:-1]] = ends_by_start.get(encoded[:-1], b"") + encoded[-1:]
    return b"(?:" + b"|".join(start + b"[" + ends + b"]" for start, ends in ends_by_start.items()) + b")"


def _alternatives(by_first_byte: Iterable[tuple[bytes, bytes]]) -> bytes:
    rests: dict[bytes, list[bytes]] = {}
    for first, rest in by_first_byte:
        rests.setdefault(first, []).append(rest)
    return b"|".join(first + b"(?:" + b"|".join(each) + b")" for first, each in rests.items())


def _sequences_in_bytes() -> Iterator[tuple[bytes, bytes]]:
    for family in _FAMILIES:
        last = _one_of(family.continuation)
        following = _one_of(_without(family.continuation, _NBSP)) + last
        for leads, rest in ((family.leads_of_2, last), (family.leads_of_3, following)):
            for first, group in groupby(sorted(leads), key=lambda lead: lead.encode()[:1]):
                yield first, _one_of("".join(group), skip=1) + rest


def _family_in_bytes(family: _Family) -> bytes:
    last = _one_of(family.continuation)
    following = _one_of(_without(family.continuation, _NBSP))
    return b"(?:%b|%b)%b" % (_one_of(family.leads_of_2), _one_of(family.leads_of_3) + following, last)


SIGN = re.compile(_alternatives((*_sequences_in_bytes(), *_OTHERS_IN_BYTES)))
"""What the UTF-8 bytes of a line contain if the line has a sign. By first bytes, because `re` skips others fast: it is
ten to twenty times as fast as with `SIGNS_IN_BYTES`.
"""

SIGNS_IN_BYTES = b"|".join([*map(_family_in_bytes, _FAMILIES), _alternatives(_OTHERS_IN_BYTES)])
"""The same for a row. Each class of characters occurs as seldom as possible, because Hyperscan compiles that fast."""

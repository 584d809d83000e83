"""Signs of a wrong decoding: what a text must contain before it is examined, as patterns for UTF-8 bytes and for text.

Most texts are right, so the patterns are fast and selective. UTF-8 that was read in an encoding with one byte for each
character shows as a character for a lead byte (0xC2 to 0xF4) before one to three characters for continuation bytes
(0x80 to 0xBF). Which characters these are follows from the encodings that ftfy tries. Text in another encoding shows
as four letters of Latin-1 with accents in a row, or as Cyrillic words with capitals inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from ftfy.chardata import UTF8_CLUES

_LEADS = (range(0xC2, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF5))
_CONTINUATIONS = range(0x80, 0xC0)


def _decoded(numbers: Iterable[int], encoding: str) -> str:
    return bytes(numbers).decode(encoding, "ignore")


def _members(character_class: str) -> str:
    """The characters from U+0080 on in the inside of a character class."""
    return "".join(re.findall(f"[{character_class}]", "".join(map(chr, range(0x80, 0x3000)))))


_FAMILIES: list[tuple[tuple[str, str, str], str]] = [
    (
        (
            _members(UTF8_CLUES["utf8_first_of_2"]),
            _members(UTF8_CLUES["utf8_first_of_3"]),
            _members(UTF8_CLUES["utf8_first_of_4"]),
        ),
        _members(UTF8_CLUES["utf8_continuation"]),
    ),
    *(
        (
            (_decoded(_LEADS[0], encoding), _decoded(_LEADS[1], encoding), _decoded(_LEADS[2], encoding)),
            _decoded(_CONTINUATIONS, encoding),
        )
        for encoding in ("mac_roman", "cp437")
    ),
]
"""For each family of encodings: the characters of lead bytes of two, three and four bytes, and of continuation bytes.
The first family consists of the ISO and Windows encodings.
"""

UTF8_READ_WRONGLY = re.compile(
    "|".join(
        f"[{re.escape(lead)}][{re.escape(continuation)}]{{{count}}}"
        for leads, continuation in _FAMILIES
        for count, lead in enumerate(leads, 1)
    )
)
"""A sequence of UTF-8 that was read in an encoding with one byte for each character."""

LOST = re.compile("\ufffd|锟斤拷|烫烫烫|屯屯屯")
"""Characters whose text is lost: U+FFFD, and what GBK has for U+FFFD or for memory that was not written."""

BROKEN = re.compile("â€|вЂ|‚Ä[ìîïòôúùû]|ï¿½")
"""The start of a quotation mark or dash in UTF-8 that was read wrongly and of which the rest is missing."""

C1 = re.compile("[\u0080-\u009f]")
"""Control characters that no text uses. They come from Windows-1252, or another encoding, that was read as Latin-1."""

OTHER_CONFUSION = re.compile(
    "[\u00a0-\u00ff]{4}|(?:[‚ƒ\u0082\u0083][!#-\\[\\]-~\u0080-\u02ff\u2000-\u2fff]){2}"
    "|[а-яё][А-ЯЁ]{2}|[а-я][Ё-ЏҐ«][а-я]|[═-╬][а-яА-ЯЁ]|[а-яА-Я][─-╬÷]|[┬├][\u00a0-\u00ff]"
)
"""Text in another encoding than UTF-8, read in one with one byte for each character."""

_TRAIL = r"(?:[!#-\[\]-~]|[\xc2-\xcb].|\xe2..)"
_OTHER_CONFUSION_BYTES = (
    r"\xc2[\x80-\xbf](?:[\xc2\xc3][\x80-\xbf]){3}|\xc3[\x80-\xbf](?:[\xc2\xc3][\x80-\xbf]){3}",
    *(
        rf"{start}{_TRAIL}(?:\xe2\x80\x9a|\xc6\x92|\xc2[\x82\x83]){_TRAIL}"
        for start in (r"\xe2\x80\x9a", r"\xc6\x92", r"\xc2[\x82\x83]")
    ),
    r"\xd0[\xb0-\xbf](?:\xd0[\x90-\xaf\x81]){2}|\xd1[\x80-\x8f\x91](?:\xd0[\x90-\xaf\x81]){2}",
    r"\xe2\x95[\x90-\xac][\xd0\xd1]",
    r"\xe2\x94[\x9c\xac][\xc2\xc3]",
    r"\xd0[\x90-\xbf](?:\xe2[\x94\x95]|\xc3\xb7)|\xd1[\x80-\x8f](?:\xe2[\x94\x95]|\xc3\xb7)",
    *(
        start + r"(?:\xd0[\x81-\x8f]|\xd2\x90|\xc2\xab)(?:\xd0[\xb0-\xbf]|\xd1[\x80-\x8f])"
        for start in (r"\xd0[\xb0-\xbf]", r"\xd1[\x80-\x8f]")
    ),
)


def _signs_in_bytes() -> bytes:
    """Every alternative begins with a literal byte, so that Python's `re` skips all other bytes fast."""
    by_first_byte: dict[int, list[str]] = {}
    for leads, continuation in _FAMILIES:
        following = _one_of(continuation)
        for lead, count in ((leads[0], 1), (leads[1] + leads[2], 2)):
            for first, characters in groupby(sorted(set(lead)), key=lambda each: each.encode()[0]):
                rest = _alternatives(each.encode()[1:] for each in characters)
                by_first_byte.setdefault(first, []).append(f"{rest}{following}{{{count}}}")
    alternatives = [f"{_escaped(bytes([first]))}(?:{'|'.join(rest)})" for first, rest in by_first_byte.items()]
    others = [rf"{_escaped('Ã'.encode())} ", rf"{_escaped('Â'.encode())} ", r"\xc2[\x80-\x9f]"]
    signs = [LOST.pattern, "â€", "вЂ", "ï¿½"]
    return "|".join([*alternatives, *others, *signs, *_OTHER_CONFUSION_BYTES]).encode()


def _one_of(characters: str) -> str:
    return _alternatives(each.encode() for each in sorted(set(characters)))


def _alternatives(sequences: Iterable[bytes]) -> str:
    """A pattern for sequences of bytes, in which those that differ in the last byte are one alternative."""
    starts = groupby(sorted(sequences), key=lambda each: each[:-1])
    return "(?:" + "|".join(f"{_escaped(start)}[{''.join(_ranges(list(group)))}]" for start, group in starts) + ")"


def _ranges(sequences: list[bytes]) -> Iterator[str]:
    ends = [each[-1] for each in sequences]
    for _, run in groupby(enumerate(ends), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        yield f"{_escaped(bytes([numbers[0]]))}-{_escaped(bytes([numbers[-1]]))}"


def _escaped(sequence: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in sequence)


SIGNS_IN_BYTES = _signs_in_bytes()
"""What the UTF-8 bytes of a row contain if one of its texts has a sign of a wrong decoding."""

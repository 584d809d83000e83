"""Checks of characters that do not belong in training texts: traces of wrong decoding, control and invisible ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.datasets.checks.broken_escapes import broken_escapes
from service.datasets.checks.registry import Hit, text_check
from service.datasets.mojibake.signs import SIGN, SIGNS_IN_BYTES

SECTION = "Quality"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_INVISIBLE = "\u200b\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_DIRECTIONS = "\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_UNSPACED_SCRIPT = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff].[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
_INVISIBLE_PATTERN = re.compile(f"[{_INVISIBLE}]")


@text_check("mojibake", "warning", SECTION, pattern=SIGNS_IN_BYTES, pattern_for_re=SIGN.pattern, fix="repair_mojibake")
def mojibake(text: str) -> Iterator[Hit]:
    """A text was decoded with a wrong encoding: it has `Ã©` for `é`, `РџСЂ` for `Пр`, `ÖÐÎÄ` for `中文`, U+FFFD, or
    `锟斤拷`. The message has the text after the repair, where there is one. ftfy finds UTF-8 that was read wrongly.
    """
    from service.datasets.mojibake.diagnosis import first_sign  # imports ftfy, which few files need

    sign = first_sign(text)
    if sign is None or sign.only_c1:
        return
    if sign.repaired is not None:
        message = f"“{sign.excerpt}” is {sign.how}; it was “{sign.repaired}” before. Repair the text."
    elif sign.how:
        message = f"“{sign.excerpt}” is {sign.how}. Take the text from its source again, in its real encoding."
    else:
        message = f"“{sign.excerpt}” is what a wrong decoding leaves of lost characters; take the text from its source."
    yield Hit("", text, message, sign.at)


@text_check("c1_control", "warning", SECTION, pattern=rb"\xc2[\x80-\x9f]", fix="repair_mojibake")
def c1_control(text: str) -> Iterator[Hit]:
    """A text contains C1 control characters (U+0080 to U+009F), which no text uses. They are characters of
    Windows-1252 that were read as Latin-1: U+0092 is `’`, U+0096 is `–`, U+0085 is `…`.
    """
    from service.datasets.mojibake.diagnosis import first_sign

    sign = first_sign(text)
    if sign is None or not sign.only_c1:
        return
    code = f"U+{ord(text[sign.at]):04X}"
    if sign.repaired is None:
        message = f"{code} is a control character that no text uses; take the text from its source again."
    else:
        message = f"{code} is a character of Windows-1252 that was read as Latin-1: write “{sign.repaired}”."
    yield Hit("", text, message, sign.at)


@text_check(
    "control_character", "warning", SECTION, pattern=rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", fix="strip_invisible"
)
def control_character(text: str) -> Iterator[Hit]:
    """A text contains a control character other than tab and line break, such as NUL, bell or escape."""
    if _CONTROL.search(text) is None:
        return
    escapes = {place for start, end in broken_escapes(text) for place in range(start, end)}
    found = next((each for each in _CONTROL.finditer(text) if each.start() not in escapes), None)
    if found:
        yield Hit("", text, f"This is a control character, U+{ord(found.group()):04X}; remove it.", found.start())


@text_check("invisible_character", "warning", SECTION, pattern="|".join(_INVISIBLE).encode(), fix="strip_invisible")
def invisible_character(text: str) -> Iterator[Hit]:
    """A text contains a zero-width space, a word joiner, a byte order mark, or a character that changes the direction
    of text. Zero-width joiners are not reported: Persian, Indic scripts and emoji need them. Nor are zero-width spaces
    between letters of Thai, Lao, Khmer, Burmese and Tibetan, where lines may break, and marks of direction in texts
    with letters that are written from right to left.
    """
    if _INVISIBLE_PATTERN.search(text) is None:
        return
    right_to_left = _RIGHT_TO_LEFT.search(text) is not None
    for found in _INVISIBLE_PATTERN.finditer(text):
        if found.group() == "\u200b" and _UNSPACED_SCRIPT.fullmatch(text[max(0, found.start() - 1) : found.end() + 1]):
            continue
        if right_to_left and found.group() in _DIRECTIONS:
            continue
        yield Hit("", text, f"This is an invisible character, U+{ord(found.group()):04X}; remove it.", found.start())
        return

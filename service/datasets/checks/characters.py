"""Checks of characters that do not belong in training texts: traces of wrong decoding, control and invisible ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.datasets.checks.broken_escapes import broken_escapes
from service.datasets.checks.registry import Hit, text_check

SECTION = "Quality"
_MOJIBAKE = re.compile(
    "Ã[\u0080-\u00bf\u0152-\u017e\u0192\u02c6\u2018-\u203a]|â€[\u0080-\u00bf\u0152-\u017e\u02dc\u2013-\u201d\u2122]|Â[\u00a0-\u00bf]|ï»¿|ï¿½|\ufffd|锟斤拷|烫烫烫|屯屯屯"
)
_MOJIBAKE_STARTS = "Ã|â€|Â|ï»¿|ï¿½|\ufffd|锟斤拷|烫烫烫|屯屯屯".encode()
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_INVISIBLE = "\u200b\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_DIRECTIONS = "\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_UNSPACED_SCRIPT = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff].[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
_INVISIBLE_PATTERN = re.compile(f"[{_INVISIBLE}]")


@text_check(
    "mojibake",
    "warning",
    SECTION,
    pattern=_MOJIBAKE_STARTS,
    fix="repair_mojibake",
)
def mojibake(text: str) -> Iterator[Hit]:
    """A text was decoded with the wrong encoding: it has `Ã©` for `é`, `â€™` for an apostrophe, U+FFFD, or `锟斤拷`."""
    found = _MOJIBAKE.search(text)
    if found:
        message = f"{found.group()!r} is a trace of a wrong decoding; restore the text from its source."
        yield Hit("", text, message, found.start())


@text_check(
    "control_character", "warning", SECTION, pattern=rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", fix="strip_invisible"
)
def control_character(text: str) -> Iterator[Hit]:
    """A text contains a control character other than tab and line break, such as NUL, bell or escape."""
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
    right_to_left = _RIGHT_TO_LEFT.search(text) is not None
    for found in _INVISIBLE_PATTERN.finditer(text):
        if found.group() == "\u200b" and _UNSPACED_SCRIPT.fullmatch(text[max(0, found.start() - 1) : found.end() + 1]):
            continue
        if right_to_left and found.group() in _DIRECTIONS:
            continue
        yield Hit("", text, f"This is an invisible character, U+{ord(found.group()):04X}; remove it.", found.start())
        return

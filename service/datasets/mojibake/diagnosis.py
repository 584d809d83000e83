"""Says whether a text was decoded with a wrong encoding, and what it was before.

ftfy finds UTF-8 that was read in another encoding, and reverses it, also where that happened several times. Only its
repair of encodings is used: quotes, widths, ligatures, entities and normal forms stay as they are. A repair counts only
if ftfy's measure says that the text is better for it. `confusions` adds encodings other than UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ftfy import ExplanationStep, TextFixerConfig, apply_plan, fix_encoding_and_explain
from ftfy.badness import badness, is_bad

from service.datasets.mojibake.confusions import Reading, other_reading
from service.datasets.mojibake.signs import BROKEN, C1, LOST, OTHER_CONFUSION, SIGN, UTF8_READ_WRONGLY

_CONFIG = TextFixerConfig(fix_c1_controls=False)
"""`fix_encoding` applies four steps of ftfy, all of which concern encodings. C1 characters are repaired here."""

_MAX_CHARS = 10_000
_SHOWN_CHARS = 60
_CONTEXTS = 20_000
"""Judgements of sequences in their context that are remembered. They take some 2 MB."""

_UPPER = "".join(each for each in map(chr, range(0x41, 0x530)) if each.isupper())
_UPPER_ACCENTED = "".join(each for each in _UPPER if each > "\x7f")
_CLOSING = "»”’›…\u00a0–—\u0085\u0092\u0094\u0096\u0097\u009b"
_WORD_END = re.compile(
    f"(?<=[{_UPPER}«„“‘‹\"'(][{_UPPER_ACCENTED}])(?=[{_CLOSING}]\\W|[{_CLOSING}]$| )"
    f"|(?<=\\s[{_UPPER_ACCENTED.replace('Â', '')}])(?=[{_CLOSING}]\\W|[{_CLOSING}]$)"
)
"""The end of a word in capitals before closing punctuation or a space, as in `MANHÃ»`. It looks like `û` in UTF-8 that
was read wrongly, but is no evidence of that. A single `Â` is one, because `Â»` is what `»` becomes.
"""

_BEFORE_SPACE = re.compile("[ÃÂ] ")
"""What remains of a sequence whose second character was a no-break space, if that was replaced by a space."""

_NAMES = {
    "sloppy-windows-1252": "Windows-1252",
    "sloppy-windows-1251": "Windows-1251",
    "sloppy-windows-1250": "Windows-1250",
    "sloppy-windows-1253": "Windows-1253",
    "sloppy-windows-1254": "Windows-1254",
    "sloppy-windows-1257": "Windows-1257",
    "iso-8859-2": "ISO-8859-2",
    "latin-1": "Latin-1",
    "macroman": "Mac Roman",
    "cp437": "cp437",
    "cp850": "cp850",
    "cp866": "cp866",
    "koi8-r": "KOI8-R",
}
_MIN_SEQUENCES = 3
"""From this number of sequences on, a line that consists of UTF-8 in another encoding is UTF-8, whatever ftfy's measure
says of it: no text consists of such sequences by chance.
"""

_MAX_C1_SHARE = 0.2
_UNDEFINED = "\u0081\u008d\u008f\u0090\u009d"
"""The C1 characters for which Windows-1252 has none."""


class Repair(NamedTuple):
    """A line that was decoded wrongly, what it was before (None if unknown), and how: `UTF-8 that was read as Latin-1`.

    `only_c1` says that only C1 characters were wrong.
    """

    text: str | None
    how: str
    only_c1: bool = False


class Sign(NamedTuple):
    """A wrong decoding in a text: where, an excerpt, the excerpt after the repair (None if text is lost), and how."""

    at: int
    excerpt: str
    repaired: str | None
    how: str
    only_c1: bool = False


def first_sign(text: str) -> Sign | None:
    """The first wrong decoding in a text, or None."""
    if text.isascii():
        return None
    for start, line in _lines(text):
        if not _may_have_sign(line):
            continue
        repair = _repair(line)
        if repair is not None and repair.text is not None and not LOST.search(repair.text):
            at, wrong, right = _difference(line, repair.text)
            return Sign(start + at, wrong, right, repair.how, repair.only_c1)
        found = LOST.search(line) or BROKEN.search(line) or C1.search(line)
        if found is not None:
            return Sign(start + found.start(), found.group(), None, "", C1.match(found.group()) is not None)
        if repair is not None:
            at = next((at for at, each in enumerate(line) if each > "\x7f"), 0)
            return Sign(start + at, line[at : at + _SHOWN_CHARS], None, repair.how)
    return None


def repaired(text: str) -> str:
    """The text with every wrong decoding reversed that can be; the rest stays as it is."""
    made = ""
    for _, line in _lines(text):
        repair = _repair(line) if _may_have_sign(line) else None
        made += line if repair is None or repair.text is None else repair.text
    return made


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with their positions, as ftfy repairs them. Long ones are cut, so that none takes long."""
    start = 0
    for line in text.split("\n"):
        for at in range(0, max(len(line), 1), _MAX_CHARS):
            piece = line[at : at + _MAX_CHARS]
            last = at + _MAX_CHARS >= len(line)
            yield start + at, piece + ("\n" if last and start + len(line) < len(text) else "")
        start += len(line) + 1


def _may_have_sign(line: str) -> bool:
    return not line.isascii() and SIGN.search(line.encode("utf-8", "replace")) is not None


def _repair(line: str) -> Repair | None:
    text, how, whole = _as_utf8(line)
    if not whole and OTHER_CONFUSION.search(line):
        reading = _all_utf8(line) or other_reading(line)
        if reading is not None:
            return Repair(reading.text, f"{reading.real} that was read as {reading.wrong}")
        if text == line and len(OTHER_CONFUSION.findall(line)) >= _MIN_SEQUENCES and is_bad(line):
            return Repair(None, "text in an unknown encoding that was read in another one")
    if "\ufeff" not in line:  # a byte order mark that was read wrongly, which is no part of the text
        text = text.replace("\ufeff", "")
    restored = _without_c1(text)
    if restored == line:
        return None
    return Repair(restored, how, only_c1=text == line)


def _as_utf8(line: str) -> tuple[str, str, bool]:
    """The line with UTF-8 that was read wrongly decoded again, how that happened, and whether it is all of the line."""
    sequences = [found.span() for found in UTF8_READ_WRONGLY.finditer(line)]
    places = [*sequences, *(found.span() for found in _BEFORE_SPACE.finditer(line))]
    if not any(_is_bad_in_context(line[max(0, start - 3) : end + 3]) for start, end in places):
        covered = sum(end - start for start, end in sequences)
        many = len(sequences) >= _MIN_SEQUENCES and covered * 3 >= len(line) - len(line.encode("ascii", "ignore"))
        reading = _all_utf8(line) if many else None
        return (line, "", False) if reading is None else (reading.text, f"UTF-8 that was read as {reading.wrong}", True)
    text, steps = _fixed(line)
    whole = any(step.action == "encode" for step in steps)
    pieces = _WORD_END.split(line)
    if len(pieces) > 1 and not whole:
        text = "".join(_fixed(piece)[0] for piece in pieces)
    if text == line or badness(text) >= badness(line) or (not whole and _is_bad(C1.sub("", text))):
        return line, "", False
    names = [_NAMES.get(step.parameter, step.parameter) for step in steps if step.action == "encode"]
    times = ", several times" if len(names) > 1 else ""
    return text, f"UTF-8 that was read as {names[0] if names else 'another encoding'}{times}", whole


def _all_utf8(line: str) -> Reading | None:
    """The line as UTF-8 if all its characters outside ASCII are sequences of UTF-8 in another encoding."""
    for encoding, name in _NAMES.items():
        try:
            text = line.encode(encoding).decode()
        except UnicodeError:
            continue
        if sum(each > "\x7f" for each in text) >= _MIN_SEQUENCES:
            return Reading(text, "UTF-8", name)
    return None


def _fixed(line: str) -> tuple[str, list[ExplanationStep]]:
    """ftfy's repair, up to the step after which nothing is wrong, and its steps."""
    _, steps = fix_encoding_and_explain(line, _CONFIG)
    text = line
    done: list[ExplanationStep] = []
    pending: list[ExplanationStep] = []
    for step in steps or []:
        if step.parameter == "windows-1252":  # C1 characters, which are repaired one by one
            break
        pending.append(step)
        if step.action in ("decode", "apply"):
            text = apply_plan(text, [(step.action, step.parameter) for step in pending])
            done, pending = [*done, *pending], []
            if not _is_bad(text):
                break
    return text, done


def _is_bad(line: str) -> bool:
    return any(map(is_bad, _WORD_END.split(line)))


@lru_cache(maxsize=_CONTEXTS)
def _is_bad_in_context(context: str) -> bool:
    """The same for a sequence with the characters beside it. A file has few different ones."""
    return _is_bad(context)


def _without_c1(line: str) -> str:
    """The line with C1 characters as Windows-1252 has them, unless they are so many that another encoding is likely."""
    found = C1.findall(line)
    if not found or any(each in _UNDEFINED for each in found):
        return line
    if len(found) > 2 and len(found) > _MAX_C1_SHARE * len(line):
        return line
    return C1.sub(lambda each: each.group().encode("latin-1").decode("cp1252"), line)


def _difference(before: str, after: str) -> tuple[int, str, str]:
    """The place at which two texts differ first, and an excerpt of each from the start of the word there."""
    at = next((at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), 0)
    start = max(before.rfind(" ", 0, at) + 1, at - _SHOWN_CHARS // 2)
    end = 0
    while end < min(len(before), len(after)) - at and before[-1 - end] == after[-1 - end]:
        end += 1
    stop, after_stop = len(before) - end, len(after) - end
    word_end = before.find(" ", stop)
    more = (word_end if word_end >= 0 else len(before.rstrip("\n"))) - stop
    wrong, right = before[start : stop + more], after[start : after_stop + more]
    return at, wrong[:_SHOWN_CHARS], right[:_SHOWN_CHARS]

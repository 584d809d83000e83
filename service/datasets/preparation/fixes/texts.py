"""Fixes of texts: broken escapes, invisible characters, secrets, personal data, filler openings.

Each uses the check that names it, so that it fixes exactly what the check finds.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from service.datasets.checks.answers import FILLER, filler_opening
from service.datasets.checks.broken_escapes import with_backslashes
from service.datasets.checks.characters import control_character, invisible_character
from service.datasets.checks.secrets import (
    digit_runs,
    personal_card,
    personal_email,
    personal_national_id,
    personal_phone,
)
from service.datasets.excerpts import SECRET, emails
from service.datasets.parsing.formats import NON_PREFERRED, read_example
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.nul_characters import without_nul
from service.datasets.preparation.scratch import Row, encode
from service.datasets.report_schema import Format

_TERMINAL = re.compile("\x1b\\[[0-9;?]{0,20}[A-Za-z]")
_OVERSTRUCK = re.compile("(.)\b(?=\\1)|_\b")
_AT_LINE_BREAK = re.compile("(?<=\n)[\v\f]+|[\v\f]+(?=\r?\n)")
_PAGE_BREAK = re.compile("[\v\f]+")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]+")
_MAYBE_ESCAPES = re.compile(rb"\\[bf]|\\u00|\$|:\\t")
_MAYBE_INVISIBLE = re.compile(rb"\\[bf]|\\u00|\x7f|\xe2\x80[\x8b\xaa-\xae]|\xe2\x81[\xa0\xa6-\xa9]|\xef\xbb\xbf")
"""What a row has as JSON if one of its texts can be changed: nearly all rows are searched at the speed of C."""

_PERSONAL = (
    (personal_card, "[CARD]"),
    (personal_national_id, "[ID]"),
    (personal_phone, "[PHONE]"),
)


def restore_escapes(row: Row, format: Format) -> Row | Dropped:
    """Writes the backslash and the letter where JSON took them for a control character."""
    return each_text(row, format, with_backslashes) if _MAYBE_ESCAPES.search(encode(row)) else row


def strip_invisible(row: Row, format: Format) -> Row | Dropped:
    """Removes control characters, zero-width spaces, byte order marks and direction marks.

    Vertical tabs and form feeds become line breaks, and a control character between two words a space. Escape sequences
    of terminals and overstruck characters, as in manual pages, are removed as a whole.
    """
    return each_text(row, format, _visible) if _MAYBE_INVISIBLE.search(encode(row)) else row


def mask_secrets(row: Row, format: Format) -> Row | Dropped:
    """Replaces API keys, tokens and private keys by `[SECRET]`."""
    return each_text(row, format, lambda text: until_stable(text, lambda each: SECRET.sub("[SECRET]", each)))


def mask_personal_data(row: Row, format: Format) -> Row | Dropped:
    """Replaces personal data by `[EMAIL]`, `[CARD]`, `[ID]` or `[PHONE]`."""
    return each_text(row, format, lambda text: until_stable(text, _without_personal_data))


def strip_filler_openings(row: Row, format: Format) -> Row | Dropped:
    """Removes filler at the start of trained texts; leading white space and the initial capital stay."""
    return each_text(row, format, lambda text: until_stable(text, _without_filler), trained=True)


def each_text(row: Row, format: Format, change: Callable[[str], str], *, trained: bool = False) -> Row:
    """The row with `change` applied to every text, or to those that the model learns to generate (`trained`).

    It is a copy if that changes anything."""
    made: Row | None = None
    for piece in read_example(0, row, format).pieces:
        if not trained or (piece.trained and not piece.pointer.startswith(NON_PREFERRED)):
            text = change(piece.text)
            if text != piece.text:
                made = copy.deepcopy(row) if made is None else made
                _set_text(made, piece.pointer, text)
    return row if made is None else made


def texts_of(row: Row, format: Format) -> Iterator[str]:
    """Every text of the row."""
    return (piece.text for piece in read_example(0, row, format).pieces)


def _set_text(row: Row, pointer: str, text: str) -> None:
    """Sets the text at a pointer made by `formats`, whose steps are unescaped names and indexes of lists."""
    place: Any = row
    *steps, last = pointer[1:].split("/")
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[int(last) if isinstance(place, list) else last] = text


def until_stable(text: str, change: Callable[[str], str]) -> str:
    """Applies `change` until nothing changes, since its result can contain another match."""
    while (changed := change(text)) != text:
        text = changed
    return text


def _visible(text: str) -> str:
    if next(iter(control_character(text)), None) is not None:
        text = _OVERSTRUCK.sub("", _TERMINAL.sub("", text))
        text = _AT_LINE_BREAK.sub("", text)
        text = _PAGE_BREAK.sub("\n", text)
        text = without_nul(text)
        text = _CONTROLS.sub(lambda found: " " if _between_words(found) else "", text)
    while found := next(iter(invisible_character(text)), None):
        text = text[: found.at] + text[found.at + 1 :]
    return text


def _between_words(found: re.Match[str]) -> bool:
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    return before.isalnum() and after.isalnum()


def _without_personal_data(text: str) -> str:
    ends = dict(emails(text))
    text = _replace_spans(text, [(hit.at, ends[hit.at]) for hit in personal_email(text)], "[EMAIL]")
    for find, placeholder in _PERSONAL:
        ends = {at: at + len(run) for at, run, _ in digit_runs(text)}
        text = _replace_spans(text, [(hit.at, ends[hit.at]) for hit in find(text)], placeholder)
    return text


def _replace_spans(text: str, places: list[tuple[int, int]], placeholder: str) -> str:
    for start, end in reversed(places):
        text = text[:start] + placeholder + text[end:]
    return text


def _without_filler(text: str) -> str:
    found = FILLER.match(text)
    if found is None or not any(True for _ in filler_opening(text)):
        return text
    filler, rest = found.group(), text[found.end() :].lstrip()
    indent = filler[: len(filler) - len(filler.lstrip())]
    if filler.lstrip()[:1].isupper():
        rest = rest[:1].upper() + rest[1:]
    return indent + rest

"""Decides in which encoding a text file is read: as the request says, as the bytes show, or by a guess (noted)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from service.datasets.encodings.detect import Detected, detect
from service.datasets.encodings.names import encoding_named
from service.datasets.encodings.scan import scan
from service.datasets.encodings.unicode_forms import begins_with_bom, wide_without_bom
from service.datasets.excerpts import mask_secrets
from service.datasets.preparation.outcome import Guess
from service.datasets.preparation.readers.reading import Reading
from service.datasets.preparation.refusals import PreparationRefused

HEAD_BYTES = 1 << 16
_UTF8_BOM = b"\xef\xbb\xbf"
_SAMPLE_CHARS = 60
_SAMPLE_LINES = 200


class Encoding(NamedTuple):
    """How a file is decoded.

    `wide` is UTF-16 or UTF-32, in which the whole file is. Otherwise lines that are not UTF-8 are in `narrow`; if it is
    `utf-8`, there are none. With the certainty `given` all lines are in `narrow`. `notes` are sentences about a guess.
    """

    guess: Guess
    wide: str | None
    narrow: str
    notes: list[str]


def choose_encoding(reading: Reading) -> Encoding:
    """Reads the file once, unless its first bytes or the options say enough.

    Raises `PreparationRefused` if the options contradict the bytes, or if two different readings are about as likely.
    """
    head = _head(reading.chunks())
    bom = "utf-8" if head.startswith(_UTF8_BOM) else begins_with_bom(head)
    if reading.options.encoding is not None:
        return _given(encoding_named(reading.options.encoding), head, bom)
    wide = begins_with_bom(head)
    if wide is not None:
        return Encoding(Guess(value=wide, certainty="certain"), wide, "utf-8", [])
    wide = wide_without_bom(head)
    if wide is not None:
        note = f"Decoded as {wide} (likely, by its zero bytes); if that is wrong, give the option `encoding`."
        return Encoding(Guess(value=wide, certainty="likely"), wide, "utf-8", [note])
    found = scan(reading.chunks())
    if found.foreign:
        return _detected(detect(found.foreign), can_stop="reencode_utf8" in reading.fixes)
    if found.escapes is not None:
        note = f"Decoded as {found.escapes} (likely, by its escape sequences). If not, give the option `encoding`."
        return Encoding(Guess(value=found.escapes, certainty="likely"), None, found.escapes, [note])
    return Encoding(Guess(value="utf-8", certainty="certain"), None, "utf-8", [])


def _given(name: str, head: bytes, bom: str | None) -> Encoding:
    guess = Guess(value=name, certainty="given")
    wide = name.startswith(("utf-16", "utf-32"))
    if bom is not None and not name.startswith(bom):
        raise _contradiction(f"The file begins with the byte order mark of {bom}, so it is not {name}.")
    if not wide:
        return Encoding(guess, None, name, [])
    if head.isascii() and b"\0" not in head:
        raise _contradiction(f"The file is not {name}: its first bytes are ASCII without zeros between them.")
    if name in ("utf-16", "utf-32") and bom is None:
        found = wide_without_bom(head) or name
        name = found if found.startswith(name) and found != name else f"{name}le"
    return Encoding(guess, name, "utf-8", [])


def _detected(found: Detected, *, can_stop: bool) -> Encoding:
    if found.certainty == "uncertain" and found.other is not None and can_stop:
        other, one, two = found.other
        raise PreparationRefused(
            f"The encoding is not certain: `{_shown(one)}` in {found.encoding} is `{_shown(two)}` in {other}. Set "
            f"the option `encoding` to {found.encoding}, {other} or another.",
            code="encoding_uncertain",
            param="encoding",
        )
    lines = [line for line in found.text.split("\n")[:_SAMPLE_LINES] if len(line) <= _SAMPLE_CHARS]
    sample = max(lines, key=len, default=found.text[:_SAMPLE_CHARS])
    note = f"Decoded as {found.encoding} ({found.certainty}); for example `{_shown(sample)}`."
    guess = Guess(value=found.encoding, certainty=found.certainty)
    return Encoding(guess, None, found.encoding, [f"{note} If that is wrong, give the option `encoding`."])


def _contradiction(message: str) -> PreparationRefused:
    return PreparationRefused(f"{message} Give another one, or none.", code="invalid_value", param="encoding")


def _shown(text: str) -> str:
    return mask_secrets(text[:_SAMPLE_CHARS])


def _head(chunks: Iterator[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk[:HEAD_BYTES]
        if len(head) >= HEAD_BYTES:
            break
    return head[:HEAD_BYTES]

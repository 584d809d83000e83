"""Decodes bytes of any encoding to lines of text, and records the changes that this needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import NamedTuple

from service.datasets.encodings.decode import ESCAPED, decode, is_escaped
from service.datasets.encodings.names import CODECS
from service.datasets.encodings.unicode_forms import has_lone_surrogates, java_utf8, to_utf8
from service.datasets.parsing.lines import read_lines
from service.datasets.preparation.nul_characters import without_nul
from service.datasets.preparation.outcome import Guess
from service.datasets.preparation.readers.encoding import choose_encoding
from service.datasets.preparation.readers.reading import Reading
from service.datasets.preparation.refusals import PreparationRefused

MAX_LINE_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"
_NUL = "it holds a NUL byte"
_THREE_BYTES = "\u0800"
_EAST_ASIAN = frozenset({"gb18030", "big5", "big5-hkscs", "shift_jis", "euc-jp", "euc-kr"})
_JAVA = "cesu-8"


class _Decoded(NamedTuple):
    text: str
    encoding: str


class Text:
    """A text file, whose encoding is detected before it is read.

    `notes` are sentences about it; the last one comes when all has been read.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._encoding = choose_encoding(reading)
        self._lines: Counter[str] = Counter()
        self.notes = self._encoding.notes

    @property
    def guess(self) -> Guess:
        """The encoding and how sure it is; `utf-8` if every line is valid UTF-8."""
        return self._encoding.guess

    def first_lines(self, count: int) -> list[bytes]:
        """The first lines that are not blank, in UTF-8. Nothing is recorded."""
        lines = read_lines(self._utf8_chunks(), max_line_bytes=MAX_LINE_BYTES)
        texts = (self._as_utf8(line.data.removeprefix(_BOM)).replace(b"\x00", b"") for line in lines)
        return list(islice((text for text in texts if text.strip()), count))

    def lines(self, *, blank: bool) -> Iterator[tuple[int, str]]:
        """Lines with their 1-based numbers, without line ends. Unless `blank`, blank lines are recorded and skipped.

        Lines over 16 MB, and faults whose fix was not chosen, are recorded as problems.
        """
        reading = self._reading
        crlf_seen = False
        self._record_wide()
        for number, _, data, length_bytes, too_long in read_lines(self._utf8_chunks(), max_line_bytes=MAX_LINE_BYTES):
            if too_long:
                self._unreadable(number, data, f"it has {length_bytes:,} bytes, over the limit for a line", blank)
                continue
            while data.startswith(_BOM):  # also at the start of a file that was appended to another
                reading.log.changed("strip_bom", number, "\ufeff", "")
                data = data[len(_BOM) :]
            if data.endswith(b"\r"):
                data = data[:-1]
                if not crlf_seen and not blank:
                    reading.log.changed("normalize_newlines", number, "\r\n", "\n")
                crlf_seen = True
            text = self._decoded(number, data, blank)
            if text is None:
                continue
            if "\x00" in text:
                if "strip_nul_bytes" not in reading.fixes:
                    self._unreadable(number, data, f"{_NUL}; the fix strip_nul_bytes removes it", blank)
                    continue
                without = without_nul(text)
                reading.log.changed("strip_nul_bytes", number, text, without)
                text = without
            if not blank and not text.strip():
                reading.log.dropped("drop_blank_lines", number, text, "The line is blank.")
                continue
            yield number, text
        self._note_lines("lines")

    def pieces(self) -> Iterator[str]:
        """The same text in pieces, for formats in which lines do not matter (JSON).

        Bytes that are not in the encoding raise `PreparationRefused`; other faults are recorded as in `lines`.
        """
        line, first, recorded = 1, True, False
        self._record_wide()
        for data in self._whole_strings():
            if first and data.startswith(_BOM):
                self._reading.log.changed("strip_bom", 1, "\ufeff", "")
                while data.startswith(_BOM):
                    data = data[len(_BOM) :]
            first = False
            for part in self._parts(data):
                try:
                    text, encoding = self._text(part)
                except UnicodeDecodeError as error:
                    place = line + part.count(b"\n", 0, error.start)
                    raise PreparationRefused(f"line {place}: {self._undecodable(part, error)}.") from None
                if encoding != "utf-8" and not recorded:
                    self._reading.log.changed("reencode_utf8", line, encoding, "utf-8")
                    recorded = True
                self._lines[encoding] += not part.isascii()
                line += part.count(b"\n")
                if "\x00" in text:
                    if "strip_nul_bytes" not in self._reading.fixes:
                        self._reading.problems.add(f"line {line}", f"{_NUL}; the fix strip_nul_bytes removes it")
                        return
                    without = without_nul(text)
                    self._reading.log.changed("strip_nul_bytes", line, text, without)
                    text = without
                yield text
        self._note_lines("texts")

    def _whole_strings(self) -> Iterator[bytes]:
        """The bytes in pieces that end with a line or a quote, so that no character is cut in any encoding."""
        pending: list[bytes] = []
        bounds = (b"\n",) if self._encoding.narrow in ESCAPED else (b"\n", b'"')
        for chunk in self._utf8_chunks():
            end = max(chunk.rfind(bound) for bound in bounds) + 1
            if end:
                yield b"".join([*pending, chunk[:end]])
                pending = []
            pending.append(chunk[end:])
        yield b"".join(pending)

    def _parts(self, data: bytes) -> list[bytes]:
        """A piece as a whole if it is UTF-8, else its strings, each of which may be in another encoding."""
        if self._encoding.narrow == "utf-8" or self._encoding.guess.certainty == "given":
            return [data]
        if self._encoding.narrow in ESCAPED:
            return data.splitlines(keepends=True)
        return [part + b'"' for part in data.split(b'"')[:-1]] + [data.rpartition(b'"')[2]]

    def _utf8_chunks(self) -> Iterator[bytes]:
        chunks = self._reading.chunks()
        wide = self._encoding.wide
        return _with_line_feeds(chunks if wide is None else self._from_wide(chunks, wide))

    def _from_wide(self, chunks: Iterator[bytes], wide: str) -> Iterator[bytes]:
        try:
            yield from to_utf8(chunks, CODECS[wide])
        except UnicodeDecodeError:
            raise PreparationRefused(f"The file is not {wide}: it has a number that is no character.") from None

    def _record_wide(self) -> None:
        wide = self._encoding.wide
        if wide is None:
            return
        if self._may_convert():
            self._reading.log.changed("reencode_utf8", 1, wide, "utf-8")
        else:
            self._reading.problems.add("line 1", f"the file is {wide}; the fix reencode_utf8 converts it")

    def _may_convert(self) -> bool:
        return "reencode_utf8" in self._reading.fixes or self._encoding.guess.certainty == "given"

    def _unreadable(self, number: int, data: bytes, message: str, blank: bool) -> None:
        """Record a line that cannot be read. Where blank lines matter, it is only a part of a row, and not dropped."""
        if blank:
            self._reading.problems.add(f"line {number}", message)
        else:
            self._reading.problems.unreadable("line", number, data.decode("utf-8", "replace"), message)

    def _decoded(self, number: int, data: bytes, blank: bool) -> str | None:
        try:
            text, encoding = self._text(data)
        except UnicodeDecodeError as error:
            self._unreadable(number, data, self._undecodable(data, error), blank)
            return None
        if encoding != "utf-8":
            self._reading.log.changed("reencode_utf8", number, data.decode("utf-8", "replace"), text)
        self._lines[encoding] += not data.isascii()
        return text

    def _text(self, data: bytes) -> _Decoded:
        """The text of a line or string. Raises UnicodeDecodeError if it is not in the encoding."""
        name = self._encoding.narrow
        if not self._may_convert() or (data.isascii() and name not in ESCAPED):
            return _Decoded(data.decode(), "utf-8")
        if self._encoding.guess.certainty == "given" or (name in ESCAPED and is_escaped(data)):
            return _Decoded(decode(data, name), name)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return self._not_utf8(data)
        if (
            name in _EAST_ASIAN and max(text) < _THREE_BYTES
        ):  # two bytes of such a text may look like one letter of UTF-8
            with suppress(UnicodeDecodeError):
                return _Decoded(decode(data, name), name)
        return _Decoded(text, "utf-8")

    def _not_utf8(self, data: bytes) -> _Decoded:
        text = java_utf8(data)
        if text is not None:
            return _Decoded(text, _JAVA)
        if self._encoding.narrow == "utf-8" or has_lone_surrogates(data):
            data.decode()
        return _Decoded(decode(data, self._encoding.narrow), self._encoding.narrow)

    def _undecodable(self, data: bytes, error: UnicodeDecodeError) -> str:
        name = self._encoding.narrow
        if self._encoding.wide is not None:
            return (
                f"its {self._encoding.wide} is damaged: half of a surrogate pair, or the file ends within a character"
            )
        if has_lone_surrogates(data):
            return "it has half of a surrogate pair (U+D800 to U+DFFF), which is no character; correct the text"
        byte = f"byte 0x{data[error.start]:02x} at position {error.start + 1}"
        if not self._may_convert():
            return f"{byte} is not UTF-8; the fix reencode_utf8 converts the file"
        if self._encoding.guess.certainty == "given":
            return f"{byte} is not {name}; give another encoding, or none to have it detected"
        other = f"{byte} is neither utf-8 nor {name}, in which other lines are"
        return f"{other}; correct the line or give the option `encoding`"

    def _as_utf8(self, data: bytes) -> bytes:
        try:
            return self._text(data).text.encode()
        except UnicodeDecodeError:
            return data

    def _note_lines(self, unit: str) -> None:
        used = [f"{count:,} in {name}" for name, count in self._lines.most_common() if count]
        if len(used) > 1:
            self.notes.append(f"The {unit} with characters beyond ASCII are in several encodings: {', '.join(used)}.")


def _with_line_feeds(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Replaces CR by LF in files whose lines end with CR alone (Excel's "CSV (Macintosh)"); others stay unchanged."""
    first = next(chunks, b"")
    whole = chain((first,), chunks)
    if b"\r" in first and b"\n" not in first:
        return (chunk.replace(b"\r", b"\n") for chunk in whole)
    return whole

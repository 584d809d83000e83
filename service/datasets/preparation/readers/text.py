"""Decodes bytes of any encoding to lines of text, and records the changes that this needs."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from service.datasets.parsing.lines import read_lines
from service.datasets.preparation.inputs import Guess
from service.datasets.preparation.readers.reading import Chunks, Reading
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.text_encodings import decode, narrow_encoding, to_utf8, wide_encoding

MAX_LINE_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"
_SAMPLE_BYTES = 1 << 16
_NUL = "it holds a NUL byte"
_NOT_UTF8 = "the file is not UTF-8"


class Text:
    """A text file, whose encoding is detected before it is read."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._wide = wide_encoding(next(reading.chunks(), b""))
        self._narrow = "utf-8" if self._wide else _encoding_of(reading.chunks)

    @property
    def guess(self) -> Guess:
        """The encoding and how sure it is; `utf-8` if every line is valid UTF-8."""
        name = self._wide or self._narrow
        return Guess(value=name, certainty="certain" if self._wide or name == "utf-8" else "likely")

    def lines(self, *, blank: bool) -> Iterator[tuple[int, str]]:
        """Lines with their 1-based numbers, without line ends. Unless `blank`, blank lines are recorded and skipped.

        Lines over 16 MB, and faults whose fix was not chosen, are recorded as problems.
        """
        reading = self._reading
        crlf_seen = False
        for number, _, data, length_bytes, too_long in read_lines(self._utf8_chunks(), max_line_bytes=MAX_LINE_BYTES):
            if too_long:
                self._unreadable(number, data, f"it has {length_bytes:,} bytes, over the limit for a line", blank)
                continue
            if number == 1 and data.startswith(_BOM):
                reading.log.changed("strip_bom", 1, "\ufeff", "")
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
                reading.log.changed("strip_nul_bytes", number, text, text.replace("\x00", ""))
                text = text.replace("\x00", "")
            if not blank and not text.strip():
                reading.log.dropped("drop_blank_lines", number, text, "The line is blank.")
                continue
            yield number, text

    def pieces(self) -> Iterator[str]:
        """The same text in chunks, for formats in which lines do not matter (JSON). Faults as in `lines`."""
        decoder = codecs.getincrementaldecoder(self._narrow)()
        place, first = "line 1", True
        if self._narrow != "utf-8":
            if "reencode_utf8" not in self._reading.fixes:
                self._reading.problems.add(place, f"{_NOT_UTF8}; the fix reencode_utf8 converts it")
                return
            self._reading.log.changed("reencode_utf8", 1, self._narrow, "utf-8")
            decoder = codecs.getincrementaldecoder(self._narrow)("replace")
        for chunk in chain(self._utf8_chunks(), (b"",)):
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                raise PreparationRefused(f"{_NOT_UTF8.capitalize()}; save it as UTF-8.") from None
            if first and text.startswith("\ufeff"):
                self._reading.log.changed("strip_bom", 1, "\ufeff", "")
                text = text[1:]
            first = first and not text
            if "\x00" in text:
                if "strip_nul_bytes" not in self._reading.fixes:
                    self._reading.problems.add(place, f"{_NUL}; the fix strip_nul_bytes removes it")
                    return
                self._reading.log.changed("strip_nul_bytes", 1, text, text.replace("\x00", ""))
                text = text.replace("\x00", "")
            yield text

    def _utf8_chunks(self) -> Iterator[bytes]:
        chunks = self._reading.chunks()
        if self._wide is not None:
            if "reencode_utf8" in self._reading.fixes:
                self._reading.log.changed("reencode_utf8", 1, self._wide, "utf-8")
            else:
                self._reading.problems.add("line 1", f"the file is {self._wide}; the fix reencode_utf8 converts it")
            chunks = to_utf8(chunks, self._wide)
        return _with_line_feeds(chunks)

    def _unreadable(self, number: int, data: bytes, message: str, blank: bool) -> None:
        """Record a line that cannot be read. Where blank lines matter, it is only a part of a row, and not dropped."""
        if blank:
            self._reading.problems.add(f"line {number}", message)
        else:
            self._reading.problems.unreadable("line", number, data.decode("utf-8", "replace"), message)

    def _decoded(self, number: int, data: bytes, blank: bool) -> str | None:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            if "reencode_utf8" in self._reading.fixes:
                text = decode(data, self._narrow)
                self._reading.log.changed("reencode_utf8", number, data.decode("utf-8", "replace"), text)
                return text
            byte = f"byte 0x{data[error.start]:02x} at place {error.start + 1} is not UTF-8"
            self._unreadable(number, data, f"{byte}; the fix reencode_utf8 converts the file", blank)
            return None


def _encoding_of(chunks: Chunks) -> str:
    """`utf-8`, or the most likely encoding of the first 64 kB of lines that are not UTF-8."""
    foreign, size_bytes = [], 0
    for line in read_lines(_with_line_feeds(chunks()), max_line_bytes=MAX_LINE_BYTES):
        try:
            line.data.decode("utf-8", "ignore" if line.too_long else "strict")
        except UnicodeDecodeError:
            foreign.append(line.data[:_SAMPLE_BYTES])
            size_bytes += len(line.data)
            if size_bytes >= _SAMPLE_BYTES:
                break
    return narrow_encoding(b"\n".join(foreign)) if foreign else "utf-8"


def _with_line_feeds(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Replaces CR by LF in files whose lines end with CR alone (Excel's "CSV (Macintosh)"); others stay unchanged."""
    first = next(chunks, b"")
    whole = chain((first,), chunks)
    if b"\r" in first and b"\n" not in first:
        return (chunk.replace(b"\r", b"\n") for chunk in whole)
    return whole

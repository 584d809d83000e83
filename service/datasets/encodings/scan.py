"""Finds what in a file is not UTF-8: one pass over the bytes, at the speed of Python's decoder, in bounded memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from service.datasets.encodings.unicode_forms import escaped, has_lone_surrogates, is_utf8, java_utf8

SAMPLES = 32
SAMPLE_BYTES = 4 << 10
SAMPLES_PER_CHUNK = 4
CHUNK_BYTES = 1 << 18
"""At most 32 places of 4 kB are sampled, spread over the file; in each chunk (1 MB) at most four are examined."""

_BOUNDS = (b"\n", b'"', b" ", b",")
_ESCAPE = b"\x1b"


class Scan(NamedTuple):
    """`foreign` are words and lines that are not UTF-8, from all parts of the file; empty if there are none. `escapes`
    names the encoding whose escape sequences stand in the file."""

    foreign: bytes
    escapes: str | None


def scan(chunks: Iterator[bytes]) -> Scan:
    """Reads all chunks."""
    samples = _Samples()
    escapes: str | None = None
    rest = b""
    for chunk in chain(_gathered(chunks), (b"",)):
        if escapes is None and _ESCAPE in chunk:
            escapes = escaped(chunk)
        if not rest and chunk.isascii():
            continue
        data = rest + chunk
        end = _end_of_words(data) if chunk else len(data)
        data, rest = data[:end], data[end:]
        try:
            codecs.utf_8_decode(data, "strict", not chunk)
        except UnicodeDecodeError as error:
            samples.take(data, error.start)
    return Scan(b"\n".join(samples.all), escapes)


def foreign_part(line: bytes) -> bytes:
    """The words around the first byte of a line that is not UTF-8; empty if all of it is a form of UTF-8."""
    try:
        codecs.utf_8_decode(line, "strict", True)
    except UnicodeDecodeError as error:
        begin, end = _around(line, error.start)
        return line[begin:end] if _is_foreign(line) else b""
    return b""


def _gathered(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Chunks that are not small."""
    pending: list[bytes] = []
    size_bytes = 0
    for chunk in chunks:
        pending.append(chunk)
        size_bytes += len(chunk)
        if size_bytes >= CHUNK_BYTES:
            yield b"".join(pending)
            pending, size_bytes = [], 0
    yield b"".join(pending)


def _end_of_words(data: bytes) -> int:
    """Where the last whole word ends; if there is none, the end of the last whole character, if this is UTF-8."""
    bound = _last_bound(data, max(0, len(data) - SAMPLE_BYTES), len(data))
    return bound + 1 if bound >= 0 else len(data) - len(_unfinished(data))


class _Samples:
    """Every sample while there are few of them, then every second, every fourth, and so on."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._found = 0
        self._every = 1

    def take(self, data: bytes, start: int) -> None:
        """Take samples of a chunk whose first byte that is not UTF-8 is at `start`."""
        for _ in range(SAMPLES_PER_CHUNK):
            begin, end = _around(data, start)
            self._add(data[begin:end])
            resume = max(end, begin + len(data) // SAMPLES_PER_CHUNK)
            resume = min((at for bound in _BOUNDS if (at := data.find(bound, resume)) >= 0), default=len(data))
            try:
                codecs.utf_8_decode(memoryview(data)[resume:], "strict", False)
            except UnicodeDecodeError as error:
                start = resume + error.start
            else:
                return

    def _add(self, piece: bytes) -> None:
        foreign = [line for line in piece.split(b"\n") if _is_foreign(line)]
        if not foreign:
            return
        if self._found % self._every == 0:
            self.all.append(b"\n".join(foreign))
        self._found += 1
        if len(self.all) > SAMPLES:
            self.all = self.all[::2]
            self._every *= 2


def _around(data: bytes, start: int) -> tuple[int, int]:
    """Whole words around a place."""
    begin = _last_bound(data, max(0, start - SAMPLE_BYTES), start) + 1
    end = min(len(data), start + SAMPLE_BYTES)
    return begin, end if end == len(data) else max(start + 1, _last_bound(data, start, end))


def _is_foreign(line: bytes) -> bool:
    return not is_utf8(line) and java_utf8(line) is None and not has_lone_surrogates(line)


def _last_bound(data: bytes, start: int, end: int) -> int:
    return max(data.rfind(bound, start, end) for bound in _BOUNDS)


def _unfinished(data: bytes) -> bytes:
    """The last bytes of a chunk if they are the start of a character of UTF-8, else none."""
    for length in range(1, min(4, len(data) + 1)):
        byte = data[-length]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[-length:] if needed > length else b""
        if byte < 0x80:
            break
    return b""

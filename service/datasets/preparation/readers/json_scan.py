"""Finds the values in a text of JSON of any size: the items of arrays, and values one after another.

Between values stand white space and commas, and what other tools put there: record separators (RFC 7464) and line
breaks that were written as `\\n`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NoReturn

from service.datasets.preparation.refusals import PreparationRefused

MAX_ITEM_BYTES = 256 << 20
MAX_ITEM_VALUES = 8_000_000
"""Limits of one item, which is in memory as a whole. (An array of any size is read item by item.) An object of arrays
is one item: 500,000 rows of ten columns have 5,000,000 values. A value takes 60 to 200 bytes of memory."""

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],]|"', re.DOTALL)
_BEFORE = re.compile(rb"(?:[\s,\x1e]++|\\[nr])*+")


class CutOff(Exception):
    """The text ends in the middle of a value, or of an array whose items are complete: then `rest` is empty."""

    def __init__(self, rest: bytes, line: int) -> None:
        super().__init__(f"the file ends too early, in line {line:,}")
        self.rest = rest
        self.line = line


def json_texts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The UTF-8 of each top-level value, or of each item of an array. Pieces are of any size.

    Raises `PreparationRefused` for brackets that do not match and for an item with too many bytes or values, and
    `CutOff` at the end of a text that is not complete.
    """
    scan = _Scan()
    pending: list[bytes] = []
    pending_bytes = 0
    for piece in pieces:
        pending.append(piece)
        pending_bytes += len(piece)
        if pending_bytes >= scan.unfinished_bytes:  # a value over many pieces is not joined for each of them
            yield from scan.feed(b"".join(pending))
            pending, pending_bytes = [], 0
    yield from scan.feed(b"".join(pending))
    yield from scan.end()


class _Scan:
    """Finds where one value ends and the next begins: counts brackets and skips strings.

    `_base` is 0 between values, 1 inside an array of items, and -1 before either is known.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._base = -1
        self._items = 0
        self._values = 0
        self._line = 1

    @property
    def unfinished_bytes(self) -> int:
        """Length of the value that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The values that end in `data`."""
        self._buffer += data
        self._line += data.count(b"\n")
        while self._base >= 0 or self._begin():
            found = _TOKEN.search(self._buffer, self._at)
            if found is None:
                self._at = len(self._buffer)
                break
            symbol = found.group()
            if symbol == b'"':
                break
            self._at = found.end()
            self._depth += (symbol in b"{[") - (symbol in b"}]")
            self._values += symbol in b"{[,"
            if self._values > MAX_ITEM_VALUES:
                self._refuse(f"over {MAX_ITEM_VALUES:,} values")
            if self._depth > self._base:
                continue
            if self._depth < self._base:
                yield from self._closed(found.start())
            elif symbol == b",":
                yield from self._taken(found.start())
            elif self._base == 0:
                yield from self._taken(found.end())
        if len(self._buffer) > MAX_ITEM_BYTES:
            self._refuse(f"over {MAX_ITEM_BYTES:,} bytes")

    def end(self) -> Iterator[bytes]:
        """Called at the end of the file: yields the last value. Raises `CutOff` if it is incomplete."""
        if self._base >= 0 and (self._depth > 0 or self._at < len(self._buffer)):
            raise CutOff(_stripped(bytes(self._buffer)), self._line)
        yield from self._taken(len(self._buffer))

    def _refuse(self, size: str) -> NoReturn:
        raise PreparationRefused(
            f"item {self._items + 1}: it has {size}, the limit for one item. Write an array of objects, or JSON Lines."
        )

    def _begin(self) -> bool:
        del self._buffer[: _end_of(_BEFORE, self._buffer)]
        if not self._buffer or self._buffer == b"\\":
            return False
        self._at = self._values = 0
        self._base = self._depth = int(self._buffer.startswith(b"["))
        del self._buffer[: self._base]
        return True

    def _closed(self, end: int) -> Iterator[bytes]:
        """An array has ended; another value or array may follow."""
        if self._base == 0:
            raise PreparationRefused(f"item {self._items + 1}: a bracket is closed that was never opened.")
        yield from self._taken(end)
        self._base = -1

    def _taken(self, end: int) -> Iterator[bytes]:
        """The value before `end`, which leaves the buffer before the value is used: it may be large."""
        with memoryview(self._buffer) as view:
            text = _stripped(bytes(view[:end]))
        del self._buffer[: max(end, self._at)]
        self._at = self._values = 0
        if text:
            self._items += 1
            yield text


def _end_of(pattern: re.Pattern[bytes], text: bytearray | bytes) -> int:
    found = pattern.match(text)
    return found.end() if found is not None else 0


def _stripped(text: bytes) -> bytes:
    """A text without what stands between values."""
    return text[_end_of(_BEFORE, text) :].rstrip(b" \t\r\n,\x1e")

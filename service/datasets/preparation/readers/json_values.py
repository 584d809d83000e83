"""Reads JSON that is not JSON Lines: an array of objects, consecutive objects, an object of arrays (as pandas writes).

An array of any size is read value by value; only an object of arrays is read into memory as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn

from service.datasets.parsing.decode import decode_line
from service.datasets.parsing.formats import row_format
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.text import Text
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.shapes import shape_of

MAX_ITEM_BYTES = 256 << 20
MAX_ITEM_VALUES = 8_000_000
"""Limits of one item, which is in memory as a whole. (An array of any size is read item by item.) An object of arrays
is one item: 500,000 rows of ten columns have 5,000,000 values. A value takes 60 to 200 bytes of memory."""

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],]|"', re.DOTALL)
_BETWEEN = b" \t\r\n,"


def read_json(reading: Reading) -> Source:
    """The rows of a JSON file, numbered as its items."""
    text = Text(reading)
    pieces = (piece.encode("utf-8", "replace") for piece in text.pieces())
    values = _decoded(reading, json_texts(pieces))
    first, second = next(values, None), next(values, None)
    reading.problems.check()
    if first is None:
        raise PreparationRefused("The file holds no JSON object.")
    rows = values if second is None else chain((second,), values)
    inner = _rows_inside(first[1]) if second is None else None
    if inner is None:
        return Source(kind="json", encoding=text.guess, unit="item", rows=chain((first,), rows))
    return Source(kind="json", encoding=text.guess, unit="item", rows=inner)


def contains_rows(line: bytes) -> bool:
    """Whether one line is an object that contains rows, and not a row itself."""
    value, _ = decode_line(line, 0, max_values=MAX_ITEM_VALUES)
    return value is not None and _rows_inside(value) is not None


def json_texts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The UTF-8 of each top-level value, or of each item where the file is one array. Pieces are of any size.

    Raises `PreparationRefused` for brackets that do not match and for an item with too many bytes or values.
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
    """Finds where one value ends and the next begins: counts brackets and skips strings."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._base = -1
        self._items = 0
        self._values = 0
        self._closed = False

    @property
    def unfinished_bytes(self) -> int:
        """Length of the value that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The values that end in `data`."""
        self._buffer += data
        if self._base < 0 and not self._begin():
            return
        while found := _TOKEN.search(self._buffer, self._at):
            symbol = found.group()
            if symbol == b'"':
                break
            self._at = found.end()
            self._depth += (symbol in b"{[") - (symbol in b"}]")
            self._values += symbol in b"{[,"
            if self._values > MAX_ITEM_VALUES:
                self._refuse(f"over {MAX_ITEM_VALUES:,} values")
            if self._depth < self._base or self._closed:
                self._close(symbol)
            if self._depth <= self._base and (symbol == b"," or symbol in b"}]"):
                end = found.start() if symbol == b"," or self._depth < self._base else found.end()
                if symbol == b"," or self._base == 0 or self._closed:
                    yield from self._taken(end)
        else:
            self._at = len(self._buffer)
        if len(self._buffer) > MAX_ITEM_BYTES:
            self._refuse(f"over {MAX_ITEM_BYTES:,} bytes")

    def end(self) -> Iterator[bytes]:
        """Called at the end of the file: yields the last value. Raises `PreparationRefused` if it is incomplete."""
        if self._depth > 0:
            message = "the file ends in the middle of it; a bracket is not closed"
            raise PreparationRefused(f"item {self._items + 1}: {message}.")
        if self._closed and self._buffer.strip(_BETWEEN):
            raise PreparationRefused("Something follows the end of the JSON array; give one array.")
        yield from self._taken(len(self._buffer))

    def _refuse(self, size: str) -> NoReturn:
        raise PreparationRefused(
            f"item {self._items + 1}: it has {size}, the limit for one item. Write an array of objects, or JSON Lines."
        )

    def _begin(self) -> bool:
        self._buffer = self._buffer.lstrip(_BETWEEN)
        if not self._buffer:
            return False
        self._base = self._depth = int(self._buffer.startswith(b"["))
        del self._buffer[: self._base]
        return True

    def _close(self, symbol: bytes) -> None:
        if self._closed:
            raise PreparationRefused("Something follows the end of the JSON array; give one array.")
        if self._base == 0:
            raise PreparationRefused(f"item {self._items + 1}: a bracket is closed that was never opened.")
        self._closed = True

    def _taken(self, end: int) -> Iterator[bytes]:
        """The value before `end`, which leaves the buffer before the value is used: it may be large."""
        with memoryview(self._buffer) as view:
            text = bytes(view[:end]).strip(_BETWEEN)
        del self._buffer[: max(end, self._at)]
        self._at = self._values = 0
        if text:
            self._items += 1
            yield text


def _decoded(reading: Reading, texts: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(texts, start=1):
        row, faults = decode_line(text, 0, max_values=MAX_ITEM_VALUES)
        if row is None or faults:
            messages = "; ".join(fault.message.replace("of this line", "of this item") for fault in faults)
            reading.problems.unreadable("item", number, text.decode("utf-8", "replace"), messages)
        else:
            yield number, row


def _rows_inside(value: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]] | None:
    """The rows in one object: its columns, as arrays or by index, or its only list of objects."""
    if shape_of(value) is not None:
        return None
    if row_format(value) is not None and not _are_columns(list(value.values())):
        return None
    columns = list(value.values())
    if columns and _are_columns(columns):
        keys = list(range(len(columns[0]))) if isinstance(columns[0], list) else list(columns[0])
        return ((number, {name: column[key] for name, column in value.items()}) for number, key in enumerate(keys, 1))
    lists = [each for each in columns if isinstance(each, list) and each and all(isinstance(row, dict) for row in each)]
    return enumerate(lists[0], start=1) if len(lists) == 1 else None


def _are_columns(columns: list[Any]) -> bool:
    if all(isinstance(column, list) for column in columns):
        scalars = not any(isinstance(cell, dict) for column in columns for cell in column[:20])
        return scalars and len({len(column) for column in columns}) == 1
    if all(isinstance(column, dict) for column in columns):
        keys = [list(column) for column in columns]
        return all(each == keys[0] and all(key.isdecimal() for key in each) for each in keys)
    return False

"""Rows that wait on a scratch file for the next look at them, so that memory does not grow with the dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec

Row: TypeAlias = dict[str, Any]
Numbered: TypeAlias = tuple[int, Row]
Scratch: TypeAlias = Callable[[], BinaryIO]
"""Lends an empty file that can be written, read and sought, and that goes when it is closed."""


TICK_ROWS = 4096


class Desk(NamedTuple):
    """What a preparation works with: scratch files, and who wants to hear that it goes on."""

    scratch: Scratch
    tick: Callable[[], None]


class Rows:
    """Rows with their numbers in the input, written once, then read any number of times."""

    def __init__(self, desk: Desk, rows: Iterable[Numbered]) -> None:
        self.count = 0
        self._desk = desk
        self._file = desk.scratch()
        for row in rows:
            self._file.write(encode(row) + b"\n")
            self.count += 1

    def __iter__(self) -> Iterator[Numbered]:
        self._file.seek(0)
        for place, line in enumerate(self._file):
            if place % TICK_ROWS == 0:
                self._desk.tick()
            number, row = msgspec.json.decode(line)
            yield number, row

    def close(self) -> None:
        """Gives the scratch file back."""
        self._file.close()


def encode(value: object) -> bytes:
    """A value as JSON in UTF-8, on one line; also integers beyond 64 bits, which msgspec does not write."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, msgspec.MsgspecError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

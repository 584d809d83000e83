"""Rows on a scratch file, to be read several times without memory that grows with the dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec

Row: TypeAlias = dict[str, Any]
NumberedRow: TypeAlias = tuple[int, Row]
Scratch: TypeAlias = Callable[[], BinaryIO]
"""Returns an empty file that can be written, read and sought, and that is deleted when it is closed."""

TICK_ROWS = 4096
"""Rows between two calls of `tick`."""


class Workspace(NamedTuple):
    """The means of a preparation: a source of scratch files, and a function to call while it makes progress."""

    scratch: Scratch
    tick: Callable[[], None]


class Rows:
    """Rows with their line numbers in the input, written once, then read any number of times."""

    def __init__(self, workspace: Workspace, rows: Iterable[NumberedRow]) -> None:
        self.count = 0
        self._workspace = workspace
        self._file = workspace.scratch()
        for row in rows:
            self._file.write(encode(row) + b"\n")
            self.count += 1

    def __iter__(self) -> Iterator[NumberedRow]:
        self._file.seek(0)
        for place, line in enumerate(self._file):
            if place % TICK_ROWS == 0:
                self._workspace.tick()
            number, row = msgspec.json.decode(line)
            yield number, row

    def close(self) -> None:
        """Delete the scratch file."""
        self._file.close()


def encode(value: object) -> bytes:
    """A value as JSON in UTF-8, on one line; also integers beyond 64 bits, which msgspec does not write."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, msgspec.MsgspecError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

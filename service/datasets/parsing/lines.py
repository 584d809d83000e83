"""Splits chunks of bytes into blocks of whole lines, and blocks into lines, in bounded memory.

A block is the unit of work of one process. Where the blocks of a file begin depends on the sizes of the chunks, so a
report must not depend on it. A line over the limit is never held in memory as a whole: its start is kept for an excerpt
in the report, and the rest is only counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = 1 << 20
LONG_LINE_EXCERPT_BYTES = 256


class Line(NamedTuple):
    """A line without its newline. `length_bytes` is its true length; `data` is cut only if the line is `too_long`."""

    number: int
    offset: int
    data: bytes
    length_bytes: int
    too_long: bool


class Block(NamedTuple):
    """Consecutive lines with their newlines, from line `number` (1-based) and byte `offset` of the file on.

    `end` is the offset of the first byte after the block. A line over the limit is a block of its own, marked
    `too_long`, whose `data` is only the line's start.
    """

    number: int
    offset: int
    data: bytes
    end: int
    too_long: bool = False

    def without_data(self) -> Block:
        """The block's position without its data, for `with_data` in another process: it is faster to send."""
        return self if self.too_long else self._replace(data=b"")

    def with_data(self, file: BinaryIO) -> Block:
        """The block with its data, which is read from the file if it is missing. Processes may share the open file."""
        if self.data:
            return self
        return self._replace(data=os.pread(file.fileno(), self.end - self.offset, self.offset))


def read_blocks(chunks: Iterable[bytes], *, max_line_bytes: int) -> Iterator[Block]:
    """The blocks of a file. Each has at least 1 MB, except the last one and those around a line over the limit."""
    number, offset = 1, 0
    whole: list[bytes] = []  # whole lines
    start: list[bytes] = []  # the start of an unfinished line
    whole_bytes = start_bytes = 0
    for piece in _pieces(chunks):
        rest = piece
        if start_bytes > max_line_bytes:
            head, newline, rest = piece.partition(b"\n")
            start_bytes += len(head)
            if not newline:
                continue
            end = offset + start_bytes
            yield Block(number, offset, start[0], end, too_long=True)
            number, offset, start, start_bytes = number + 1, end + 1, [], 0
        cut = rest.rfind(b"\n") + 1
        if cut:
            whole += [*start, rest[:cut]]
            whole_bytes += start_bytes + cut
            rest = rest[cut:]
            start, start_bytes = [], 0
        if rest:
            start.append(rest)
            start_bytes += len(rest)
        if whole and (whole_bytes >= BLOCK_BYTES or start_bytes > max_line_bytes):
            block = _block(number, offset, whole)
            yield block
            number, offset, whole, whole_bytes = number + block.data.count(b"\n"), block.end, [], 0
        if start_bytes > max_line_bytes:
            start = [b"".join(start)[:LONG_LINE_EXCERPT_BYTES]]
    if start_bytes > max_line_bytes:
        yield Block(number, offset, start[0], offset + start_bytes, too_long=True)
    elif whole or start:
        yield _block(number, offset, [*whole, *start])


def lines_of(block: Block, *, max_line_bytes: int) -> Iterator[Line]:
    """The lines of a block. Lines are split at LF only: a CR before it remains in `data`."""
    number, offset, data, end, too_long = block
    if too_long:
        yield Line(number, offset, data, end - offset, True)
        return
    parts = data.split(b"\n")
    if not parts[-1]:
        parts.pop()
    for part in parts:
        length = len(part)
        long = length > max_line_bytes
        yield Line(number, offset, part[:LONG_LINE_EXCERPT_BYTES] if long else part, length, long)
        number += 1
        offset += length + 1


def read_lines(chunks: Iterable[bytes], *, max_line_bytes: int) -> Iterator[Line]:
    """The lines of a file, given as chunks of any size. The last line needs no newline."""
    for block in read_blocks(chunks, max_line_bytes=max_line_bytes):
        yield from lines_of(block, max_line_bytes=max_line_bytes)


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), BLOCK_BYTES):
            yield chunk[at : at + BLOCK_BYTES]


def _block(number: int, offset: int, parts: list[bytes]) -> Block:
    data = b"".join(parts)
    return Block(number, offset, data, offset + len(data))

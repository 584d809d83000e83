"""Detects from the start of a file whether it is JSON Lines, and in which format.

Only lines that begin within the first 8 MB are inspected, which bounds memory. Which lines these are does not depend on
the size of the chunks in which the bytes arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from service.datasets.checks.file import SNIFFED_BYTES, sniff
from service.datasets.checks.registry import Hit
from service.datasets.parsing.decode import decode_line
from service.datasets.parsing.formats import row_format
from service.datasets.parsing.lines import Block, lines_of
from service.datasets.report_schema import Format
from service.datasets.shapes import Shape, shape_of

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\x0b\x0c"
_HEAD_LINES = 5
_VOTING_ROWS = 256
_VOTING_BYTES = 1 << 20
_INSPECTED_BYTES = 8 << 20


class NotJsonLines(NamedTuple):
    """The finding that a file is not JSON Lines: its code, the line that shows it, and the hit."""

    code: str
    line: int
    hit: Hit


class FormatDetection(NamedTuple):
    """What was detected, and the blocks that were read for it, without the byte order mark if there was one.

    `format` is the most frequent format among the first 256 rows of a known format; None if there are no such rows.
    """

    byte_order_mark: bool
    not_json_lines: NotJsonLines | None
    format: Format | None
    blocks: list[Block]


def detect_format(blocks: Iterator[Block], *, max_line_bytes: int) -> FormatDetection:
    """Reads blocks from `blocks` until the format is decided; the result holds the blocks that were read."""
    blocks_read: list[Block] = []
    head: list[tuple[int, bytes]] = []
    votes: dict[Format, int] = {}
    shapes: dict[str, tuple[int, int, Shape]] = {}
    byte_order_mark = decided = False
    voted_bytes = 0
    for block in blocks:
        if block.number == 1 and block.data.startswith(_BOM):
            byte_order_mark = True
            block = block._replace(offset=block.offset + len(_BOM), data=block.data[len(_BOM) :])
        blocks_read.append(block)
        for line in lines_of(block, max_line_bytes=max_line_bytes):
            voters = sum(votes.values()) + sum(count for count, _, _ in shapes.values())
            if line.offset >= _INSPECTED_BYTES or voters >= _VOTING_ROWS or voted_bytes >= _VOTING_BYTES:
                decided = True
                break
            if not line.too_long and not line.data.strip(_BLANK):
                continue
            if len(head) < _HEAD_LINES:
                head.append((line.number, line.data))
            if votes or shapes:
                voted_bytes += line.length_bytes
            if line.too_long:
                continue
            row, _ = decode_line(line.data, line.offset)
            if row is None:
                continue
            shape, format = shape_of(row), row_format(row)
            if shape is not None:
                count, first, _ = shapes.get(shape.name, (0, line.number, shape))
                shapes[shape.name] = (count + 1, first, shape)
            elif format is not None:
                votes[format] = votes.get(format, 0) + 1
        if decided:
            break
    other_kind = sniff([data for _, data in head], _start(blocks_read))
    not_json_lines = NotJsonLines(other_kind[0], head[0][0], other_kind[1]) if other_kind else None
    if not_json_lines is None and shapes:
        count, first, shape = max(shapes.values(), key=itemgetter(0))
        if count > max(votes.values(), default=0):
            not_json_lines = NotJsonLines("other_shape", first, Hit("", "", _other_shape(shape)))
    return FormatDetection(
        byte_order_mark,
        not_json_lines,
        max(votes.items(), key=itemgetter(1))[0] if votes else None,
        blocks_read,
    )


def _other_shape(shape: Shape) -> str:
    """The message for rows of another tool's shape."""
    what = f"The rows have the shape of {shape.title} ({shape.keys}), which no upstream accepts."
    if not shape.converts:
        return f"{what} {shape.advice}"
    return f"{what} The fix convert_shape makes {shape.format} examples of them."


def _start(blocks: list[Block]) -> bytes:
    """The first bytes of the file, which do not depend on the sizes of the blocks."""
    start = b""
    for block in blocks:
        start += block.data[: SNIFFED_BYTES - len(start)]
        if len(start) >= SNIFFED_BYTES:
            break
    return start

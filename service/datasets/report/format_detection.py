"""What the start of a file decides for all of it: whether it is JSON Lines at all, and in which format.

Only lines that begin within the first eight megabytes have a say, so that memory stays bounded; which these are does
not depend on how the bytes arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from service.datasets.checks.file import sniff
from service.datasets.checks.registry import Hit
from service.datasets.parsing.decode import decode_line
from service.datasets.parsing.formats import row_format
from service.datasets.parsing.lines import Block, lines_of
from service.datasets.report_schema import Format

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\x0b\x0c"
_HEAD_LINES = 5
_VOTING_ROWS = 256
_VOTING_BYTES = 1 << 20
_INSPECTED_BYTES = 8 << 20


class NotJsonLines(NamedTuple):
    """The file is something else than JSON Lines, as seen at `line`."""

    code: str
    line: int
    hit: Hit


class FormatDetection(NamedTuple):
    """What was found, and the blocks that were read for it, without the byte order mark if there was one.

    `format` is that of most of the first 256 rows that have any, or None where none has.
    """

    byte_order_mark: bool
    not_json_lines: NotJsonLines | None
    format: Format | None
    blocks: list[Block]


def detect_format(blocks: Iterator[Block], *, max_line_bytes: int) -> FormatDetection:
    """Takes blocks from `blocks` until all is decided."""
    taken: list[Block] = []
    head: list[tuple[int, bytes]] = []
    votes: dict[Format, int] = {}
    byte_order_mark = decided = False
    voted_bytes = 0
    for block in blocks:
        if block.number == 1 and block.data.startswith(_BOM):
            byte_order_mark = True
            block = block._replace(offset=block.offset + len(_BOM), data=block.data[len(_BOM) :])
        taken.append(block)
        for line in lines_of(block, max_line_bytes=max_line_bytes):
            if line.offset >= _INSPECTED_BYTES or sum(votes.values()) >= _VOTING_ROWS or voted_bytes >= _VOTING_BYTES:
                decided = True
                break
            if not line.too_long and not line.data.strip(_BLANK):
                continue
            if len(head) < _HEAD_LINES:
                head.append((line.number, line.data))
            if votes:
                voted_bytes += line.length_bytes
            if line.too_long:
                continue
            row, _ = decode_line(line.data, line.offset)
            found = row_format(row) if row is not None else None
            if found is not None:
                votes[found] = votes.get(found, 0) + 1
        if decided:
            break
    kind = sniff([data for _, data in head])
    return FormatDetection(
        byte_order_mark,
        NotJsonLines(kind[0], head[0][0], kind[1]) if kind else None,
        max(votes.items(), key=itemgetter(1))[0] if votes else None,
        taken,
    )

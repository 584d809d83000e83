"""Detects from the start of a file whether it is JSON Lines, and in which format.

Only lines that begin within the first 8 MB are inspected, which bounds memory. Which lines these are does not depend on
the size of the chunks in which the bytes arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from service.datasets.checks.file import SNIFFED_BYTES, sniff
from service.datasets.checks.registry import Hit
from service.datasets.encodings.unicode_forms import wide_without_bom
from service.datasets.parsing.decode import decode_line
from service.datasets.parsing.formats import ROLES, FormatVotes
from service.datasets.parsing.lines import Block, lines_of
from service.datasets.report.other_layouts import (
    column_layout,
    fold_message,
    line_layout,
    shape_message,
    with_rows_inside,
)
from service.datasets.report_schema import Format
from service.datasets.shapes import shape_of
from service.datasets.shapes.folded import fold_of

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\x0b\x0c"
_HEAD_LINES = 5
_VOTING_ROWS = 256
_VOTING_BYTES = 1 << 20
_INSPECTED_BYTES = 8 << 20
_START_BYTES = 1 << 20
_MAX_CACHED_MESSAGES = 64


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
    votes = FormatVotes()
    others: dict[str, tuple[int, int, str]] = {}
    start: list[bytes] = []
    start_bytes = 0
    sniffed: list[bytes] = []
    byte_order_mark = decided = False
    voted_bytes = sniffed_bytes = 0
    for block in blocks:
        if block.number == 1 and block.data.startswith(_BOM):
            byte_order_mark = True
            block = block._replace(offset=block.offset + len(_BOM), data=block.data[len(_BOM) :])
        blocks_read.append(block)
        for line in lines_of(block, max_line_bytes=max_line_bytes):
            voters = votes.count + sum(count for count, _, _ in others.values())
            if line.offset >= _INSPECTED_BYTES or voters >= _VOTING_ROWS or voted_bytes >= _VOTING_BYTES:
                decided = True
                break
            if sniffed_bytes < SNIFFED_BYTES:
                ends_file = not line.too_long and line.offset + line.length_bytes == block.end
                sniffed.append(line.data if ends_file else line.data + b"\n")
                sniffed_bytes += len(line.data) + 1
            if not line.too_long and not line.data.strip(_BLANK):
                continue
            if len(head) < _HEAD_LINES:
                head.append((line.number, line.data))
            if votes.count or others:
                voted_bytes += line.length_bytes
            elif start_bytes < _START_BYTES:
                start.append(line.data)
                start_bytes += line.length_bytes
            if line.too_long:
                continue
            row, _ = decode_line(line.data, line.offset)
            if row is None:
                continue
            other = _other(row)
            if other is not None:
                count, first, _ = others.get(other, (0, line.number, other))
                others[other] = (count + 1, first, other)
            else:
                votes.add(row)
        if decided:
            break
    not_json_lines = _not_json_lines(head, b"\n".join(start), b"".join(sniffed)[:SNIFFED_BYTES])
    winner = votes.winner()
    if not_json_lines is None and others:
        count, first, message = max(others.values(), key=itemgetter(0))
        if winner is None or count > winner[1]:
            not_json_lines = NotJsonLines("other_shape", first, Hit("", "", message))
    return FormatDetection(
        byte_order_mark,
        not_json_lines,
        winner[0] if winner is not None else None,
        blocks_read,
    )


def _other(row: dict[str, Any]) -> str | None:
    """What to say of a row that another tool wrote; None for other rows."""
    roles = _roles_alone(row)
    return _written_by_another_tool(row) if roles is None else _other_with(roles)


def _roles_alone(row: dict[str, Any]) -> tuple[str, ...] | None:
    """The roles of a row that has messages with a role and a text and nothing else; None for other rows."""
    messages = row["messages"] if row.keys() == {"messages"} else None
    if not isinstance(messages, list) or len(messages) > _MAX_CACHED_MESSAGES:
        return None
    roles: list[str] = []
    for message in messages:
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            return None
        role = message["role"]
        if role not in ROLES or not isinstance(message["content"], str):
            return None
        roles.append(role)
    return tuple(roles)


@lru_cache(maxsize=256)
def _other_with(roles: tuple[str, ...]) -> str | None:
    """The same for all rows with these roles alone: shapes are recognised by keys and types, not by texts."""
    return _written_by_another_tool({"messages": [{"role": role, "content": "text"} for role in roles]})


def _written_by_another_tool(row: dict[str, Any]) -> str | None:
    fold = fold_of(row)
    if fold is not None:
        return fold_message(fold)
    shape = shape_of(row)
    return shape_message(shape) if shape is not None else None


def _not_json_lines(head: list[tuple[int, bytes]], start: bytes, sniffed: bytes) -> NotJsonLines | None:
    """What the first lines say of the file: the non-blank ones, those up to the first known row, and the first bytes.

    None of them depends on the sizes of the blocks in which the file is read."""
    lines = [data for _, data in head]
    found = sniff(lines, sniffed)
    wide = wide_without_bom(sniffed) if found is None or found[0] != "not_a_dataset" else None
    if wide is not None:
        message = f"This file is {wide} text, not JSON Lines. The fix reencode_utf8 converts it."
        return NotJsonLines("not_text_file", 1, Hit("", "", message))
    column = column_layout(lines) if found is None or found[0] == "table_file" else None
    if column is not None:
        found = found or ("table_file", Hit("", lines[0], "This is a table with one column, not JSON Lines."))
        found = found[0], found[1]._replace(message=f"{found[1].message} {column}")
    elif (found is None or found[0] != "not_a_dataset") and (hit := line_layout(lines)) is not None:
        found = "json_array_file", hit
    elif found is not None and found[0] == "json_array_file":
        found = found[0], with_rows_inside(found[1], start)
    return NotJsonLines(found[0], head[0][0], found[1]) if found is not None else None

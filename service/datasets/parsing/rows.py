"""Decodes the lines of a block to rows: all at once, and line by line only if some line may have a fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from service.datasets.parsing.decode import Fault, decode_line, decode_object, keys_add_up
from service.datasets.parsing.fast_chat import FastChatRow
from service.datasets.parsing.lines import Block, Line, lines_of
from service.datasets.parsing.open_records import OpenRecords

_BLANK = b" \t\r\n\x0b\x0c"
_decode_fast_chat = msgspec.json.Decoder(FastChatRow).decode


class Row(NamedTuple):
    """A line that holds an object, with its decoded value: a `FastChatRow` if those were requested and it is one.

    `as_written` says that the line has no fault, so its bytes contain the row's texts, apart from escape sequences.
    """

    number: int
    data: bytes
    value: FastChatRow | dict[str, Any]
    as_written: bool = True


class Rows(NamedTuple):
    """The lines of a block by kind, and their faults. `crlf` is the first line that ends with CR LF.

    `open_records` has the faulty first lines of the block, which may belong to a record of the block before.
    """

    rows: list[Row]
    blank: list[int]
    too_long: list[Line]
    faults: list[tuple[int, Fault]]
    crlf: int | None
    open_records: OpenRecords


def read_rows(block: Block, *, max_line_bytes: int, fast_chat: bool) -> Rows:
    """Reads every line of a block. Never raises for the block's content.

    A duplicate key shows only as a difference between the numbers of keys in the bytes and in the decoded values. The
    two are compared for the whole block, and line by line only if they differ. With `fast_chat`, rows that can be
    decoded as `FastChatRow` are.
    """
    lines = list(lines_of(block, max_line_bytes=max_line_bytes))
    values: list[FastChatRow | dict[str, Any] | None] = [None] * len(lines)
    if fast_chat and not block.too_long:
        values = _fast_chat_rows([line.data for line in lines])
    keys: list[int] = []
    blank: list[int] = []
    too_long: list[Line] = []
    candidates: list[tuple[Line, FastChatRow | dict[str, Any] | None]] = []
    all_decoded = True
    for line, value in zip(lines, values, strict=True):
        if line.too_long:
            too_long.append(line)
            keys.append(0)
            candidates.append((line, None))
            continue
        if isinstance(value, FastChatRow):
            count = 1 + 2 * len(value.messages)
        elif not line.data.strip(_BLANK):
            blank.append(line.number)
            continue
        else:
            decoded = decode_object(line.data)
            all_decoded = all_decoded and decoded is not None
            value, count = decoded or (None, -1)
        keys.append(count)
        candidates.append((line, value))
    crlf = _first_crlf(lines) if b"\r" in block.data else None
    open_records = OpenRecords()
    if all_decoded and keys_add_up(block.data, sum(keys)):
        rows = [Row(line.number, line.data, value) for line, value in candidates if value is not None]
        if rows or too_long:
            open_records.close()
        return Rows(rows, blank, too_long, [], crlf, open_records)
    faults: list[tuple[int, Fault]] = []
    rows = []
    for (line, value), count in zip(candidates, keys, strict=True):
        if line.too_long:
            open_records.close()
            continue
        as_written = True
        line_faults: list[Fault] = []
        if value is None or not keys_add_up(line.data, count):
            ends_file = line is lines[-1] and not block.data.endswith(b"\n")
            value, line_faults = decode_line(line.data, line.offset, line=line.number, ends_file=ends_file)
            as_written = not line_faults
        faults.extend((line.number, fault) for fault in open_records.add(line.number, line.data, line_faults))
        if value is not None:
            rows.append(Row(line.number, line.data, value, as_written))
    return Rows(rows, blank, too_long, faults, crlf, open_records)


def as_object(row: Row) -> dict[str, Any]:
    """A row's JSON object, also for a `FastChatRow` that `parse_fast_chat` did not accept."""
    if isinstance(row.value, dict):
        return row.value
    decoded, _ = decode_line(row.data, 0)
    if decoded is None:
        raise ValueError("a fast chat row is an object")
    return decoded


def _fast_chat_rows(lines: Sequence[bytes]) -> list[FastChatRow | dict[str, Any] | None]:
    """Each line decoded as a `FastChatRow`, or None. The `map` iterator continues after a line that fails to decode."""
    values: list[FastChatRow | dict[str, Any] | None] = []
    decoded = map(_decode_fast_chat, lines)
    while len(values) < len(lines):
        try:
            for value in decoded:
                values.append(value)  # noqa: PERF402
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            values.append(None)
    return values


def _first_crlf(lines: list[Line]) -> int | None:
    return next((line.number for line in lines if line.data.endswith(b"\r") and not line.too_long), None)

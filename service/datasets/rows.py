"""The lines of a block into rows: decoded together, looked at one by one only where something may be wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from service.datasets.decode import Fault, colons, decode_line, decode_object
from service.datasets.formats import PlainRow
from service.datasets.lines import Block, Line, lines_of

_BLANK = b" \t\r\n\x0b\x0c"
_decode_plain = msgspec.json.Decoder(PlainRow).decode


class Rows(NamedTuple):
    """A block, read. `crlf` is its first line that ends with CR LF.

    `rows` are the lines that hold an object, each with its bytes and what it was decoded to: a `PlainRow` where plain
    ones were wanted and the line is one, else the object.
    """

    rows: list[tuple[Line, PlainRow | dict[str, Any]]]
    blank: list[int]
    too_long: list[Line]
    faults: list[tuple[int, Fault]]
    crlf: int | None


def read_rows(block: Block, *, max_line_bytes: int, plain: bool) -> Rows:
    """Every line of a block. Never raises for what the bytes are.

    A duplicate key shows only in that more keys are spelled out than decoded. The two are compared for the whole block
    at once, and line by line only where they differ.
    """
    lines = list(lines_of(block, max_line_bytes=max_line_bytes))
    found: list[tuple[Line, PlainRow | dict[str, Any] | None, int]] = []
    blank: list[int] = []
    too_long: list[Line] = []
    total_keys = 0
    sound = True
    for line in lines:
        value: PlainRow | dict[str, Any] | None = None
        keys = 0
        if plain and not line.too_long:
            try:
                value = _decode_plain(line.data)
                keys = 1 + 2 * len(value.messages)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                value = None
        if value is None:
            if line.too_long:
                too_long.append(line)
                continue
            if not line.data.strip(_BLANK):
                blank.append(line.number)
                continue
            decoded = decode_object(line.data)
            if decoded is None:
                sound = False
            else:
                value, keys = decoded
        total_keys += keys
        found.append((line, value, keys))
    faults: list[tuple[int, Fault]] = []
    rows: list[tuple[Line, PlainRow | dict[str, Any]]] = []
    if sound and colons(block.data) == total_keys:
        rows = [(line, value) for line, value, _ in found if value is not None]
    else:
        for line, value, keys in found:
            if value is None or colons(line.data) != keys:
                value, line_faults = decode_line(line.data, line.offset)
                faults.extend((line.number, fault) for fault in line_faults)
            if value is not None:
                rows.append((line, value))
    crlf = _first_crlf(lines) if b"\r" in block.data else None
    return Rows(rows, blank, too_long, faults, crlf)


def as_object(line: Line, value: PlainRow | dict[str, Any]) -> dict[str, Any]:
    """A row that turned out not to be plain after all, as the object that it is."""
    if isinstance(value, dict):
        return value
    decoded, _ = decode_line(line.data, line.offset)
    if decoded is None:
        raise ValueError("a plain row is an object")
    return decoded


def _first_crlf(lines: list[Line]) -> int | None:
    return next((line.number for line in lines if line.data.endswith(b"\r") and not line.too_long), None)

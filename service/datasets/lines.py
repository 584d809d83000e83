"""Lines out of pieces of bytes, in bounded memory.

A line longer than the limit is never held: its start is kept for the report's excerpt, the rest is counted and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

PIECE_BYTES = 1 << 20
KEPT_OF_A_LONG_LINE_BYTES = 256


class Line(NamedTuple):
    """A line without its newline. `length_bytes` is its true length; `data` is cut short only where `too_long`."""

    number: int
    offset: int
    data: bytes
    length_bytes: int
    too_long: bool


def read_lines(
    chunks: Iterable[bytes], *, max_line_bytes: int, progress: Callable[[int], None] | None = None
) -> Iterator[Line]:
    """Splits at LF only (a CR before it stays in `data`); the last line needs no newline. `progress` gets bytes read.

    A chunk may be of any size: it is walked in pieces of 1 MB, and `progress` is called once for each full one.
    """
    number, offset, bytes_done, told_bytes = 0, 0, 0, 0
    pending: list[bytes] = []
    pending_bytes = 0
    for chunk in chunks:
        for start in range(0, len(chunk), PIECE_BYTES):
            piece = chunk[start : start + PIECE_BYTES]
            bytes_done += len(piece)
            *complete, rest = piece.split(b"\n")
            for part in complete:
                number += 1
                length = pending_bytes + len(part)
                data = part
                if pending:
                    if pending_bytes <= max_line_bytes:
                        pending.append(part)
                    data = b"".join(pending)
                    pending = []
                yield _line(number, offset, data, length, max_line_bytes)
                offset += length + 1
                pending_bytes = 0
            if rest:
                if pending_bytes <= max_line_bytes:
                    pending.append(rest)
                pending_bytes += len(rest)
                if pending_bytes > max_line_bytes:
                    pending = [b"".join(pending)[:KEPT_OF_A_LONG_LINE_BYTES]]
            if progress is not None and bytes_done - told_bytes >= PIECE_BYTES:
                told_bytes = bytes_done
                progress(bytes_done)
    if pending_bytes:
        yield _line(number + 1, offset, b"".join(pending), pending_bytes, max_line_bytes)
    if progress is not None:
        progress(bytes_done)


def _line(number: int, offset: int, data: bytes, length_bytes: int, max_line_bytes: int) -> Line:
    too_long = length_bytes > max_line_bytes
    return Line(number, offset, data[:KEPT_OF_A_LONG_LINE_BYTES] if too_long else data, length_bytes, too_long)

"""The types that all readers share: where they read bytes, and where they record problems and changes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.options import Options
from service.datasets.preparation.outcome import Guess
from service.datasets.preparation.readers.expansion import Expansion
from service.datasets.preparation.refusals import PreparationRefused, Problems

Chunks: TypeAlias = Callable[[], Iterator[bytes]]
"""Returns the input's bytes from the start, in chunks of any size."""

GZIP_MAGIC = b"\x1f\x8b"
MAX_UNPACKED_BYTES = 4 << 30
"""The maximum size of a compressed file after decompression."""

MAX_MEMBERS = 100_000
"""Tools that compress in blocks write a member for each 64 KB."""

READ_BYTES = 1 << 20
_SLICE_BYTES = 1 << 16
_GZIP = zlib.MAX_WBITS | 16
_DAMAGED = "The file is compressed with gzip and damaged; compress it anew, or give it uncompressed."


@dataclass(frozen=True, slots=True)
class Reading:
    """One pass over one input, with the options that say how to read it."""

    chunks: Chunks
    options: Options
    log: ChangeLog
    problems: Problems

    @property
    def fixes(self) -> tuple[str, ...]:
        """The names of the chosen fixes."""
        return self.options.fixes


@dataclass(slots=True, kw_only=True)
class Source:
    """An opened input: numbered rows, and how they are read.

    The cells of a table are texts, and `columns` are their names. `notes` are sentences about what was guessed or not
    read; readers may add to them until the last row. The other fields are those of `Input`.
    """

    kind: str
    encoding: Guess
    unit: str
    rows: Iterator[tuple[int, dict[str, Any]]]
    columns: list[str] | None = None
    delimiter: Guess | None = None
    header: Guess | None = None
    sheet: str | None = None
    sheets_not_read: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def unpacked(chunks: Chunks) -> Chunks:
    """The bytes, decompressed if they are gzip. Reading damaged or too much data raises `PreparationRefused`."""
    if next(chunks(), b"")[:2] != GZIP_MAGIC:
        return chunks
    return lambda: _gunzipped(chunks())


def _gunzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Reads the members of a gzip file (RFC 1952), one after another; zeros may follow a member, as `gzip` allows."""
    expansion = Expansion(what="The file", max_bytes=MAX_UNPACKED_BYTES, advice="split it, or give it")
    inflate, members = zlib.decompressobj(_GZIP), 1
    for part in _slices(chunks):
        expansion.compressed_bytes += len(part)
        rest = part
        while rest:
            if inflate.eof:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                inflate, members = zlib.decompressobj(_GZIP), members + 1
                if members > MAX_MEMBERS:
                    raise PreparationRefused(f"The file has over {MAX_MEMBERS:,} gzip members; compress it as one.")
            try:
                piece = inflate.decompress(rest, READ_BYTES)
            except zlib.error:
                raise PreparationRefused(_DAMAGED) from None
            rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            expansion.add(len(piece))
            if piece:
                yield piece
    if not inflate.eof:
        raise PreparationRefused(_DAMAGED)


def _slices(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Short slices: what is left of one is copied for each member that ends in it."""
    for chunk in chunks:
        for at in range(0, len(chunk), _SLICE_BYTES):
            yield chunk[at : at + _SLICE_BYTES]

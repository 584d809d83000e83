"""The types that all readers share: where they read bytes, and where they record problems and changes."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.refusals import PreparationRefused, Problems

Chunks: TypeAlias = Callable[[], Iterator[bytes]]
"""Returns the input's bytes from the start, in chunks of any size."""

GZIP_MAGIC = b"\x1f\x8b"
MAX_UNPACKED_BYTES = 4 << 30
"""The maximum size of a compressed file after decompression."""

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """One pass over one input. `fixes` are the names of the chosen fixes."""

    chunks: Chunks
    fixes: frozenset[str]
    log: ChangeLog
    problems: Problems


@dataclass(slots=True)
class Source:
    """An opened input: numbered rows and their kind. The cells of a table are texts, and `columns` are their names."""

    kind: str
    encoding: str
    unit: str
    columns: list[str] | None
    rows: Iterator[tuple[int, dict[str, Any]]]


def unpacked(chunks: Chunks) -> Chunks:
    """The bytes, decompressed if they are gzip. Reading damaged or too much data raises `PreparationRefused`."""
    if next(chunks(), b"")[:2] != GZIP_MAGIC:
        return chunks

    def inner() -> Iterator[bytes]:
        total_bytes = 0
        with gzip.GzipFile(fileobj=io.BufferedReader(_ChunkFile(chunks()))) as file:
            try:
                while piece := file.read(READ_BYTES):
                    total_bytes += len(piece)
                    if total_bytes > MAX_UNPACKED_BYTES:
                        raise PreparationRefused(f"The file unpacks to over {MAX_UNPACKED_BYTES:,} bytes; split it.")
                    yield piece
            except (OSError, EOFError, zlib.error):
                raise PreparationRefused(
                    "The file is compressed with gzip and damaged; compress it anew, or give it uncompressed."
                ) from None

    return inner


class _ChunkFile(io.RawIOBase):
    """A readable file over an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)

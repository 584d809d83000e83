"""The entries of a zip archive, expanded piece by piece and counted, whatever the sizes in its headers say."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from service.datasets.preparation.readers.expansion import Expansion
from service.datasets.preparation.refusals import PreparationRefused

MAX_ENTRIES = 10_000
MAX_EXPANDED_BYTES = 1 << 30
_READ_BYTES = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_DAMAGED = "The workbook is damaged; save it again, or as CSV."


class Archive:
    """A zip archive. Raises `PreparationRefused` for a damaged one, and for one with too many entries."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._expansion = Expansion(what="The workbook", max_bytes=MAX_EXPANDED_BYTES, advice="save it as CSV")
        if (entries := _count_entries(file)) > MAX_ENTRIES:
            raise PreparationRefused(
                f"The workbook consists of about {entries:,} files; the limit is {MAX_ENTRIES:,}. Save it as CSV."
            )
        try:
            with zipfile.ZipFile(file) as opened:
                self.entries = opened.infolist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
            raise PreparationRefused(_DAMAGED) from None

    def read(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes of an entry. Raises `PreparationRefused` when the entries read so far expand beyond a limit."""
        self._expansion.compressed_bytes += entry.compress_size
        for piece in self._expanded(entry):
            self._expansion.add(len(piece))
            yield piece

    def _expanded(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        self._file.seek(max(0, entry.header_offset))
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise PreparationRefused(_DAMAGED)
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        self._file.seek(name_bytes + extra_bytes, 1)
        pieces = self._raw(entry.compress_size)
        if entry.compress_type == zipfile.ZIP_STORED:
            yield from pieces
        elif entry.compress_type == zipfile.ZIP_DEFLATED:
            yield from _inflated(pieces)
        else:
            raise PreparationRefused("The workbook is compressed in an unusual way; save it again, or as CSV.")

    def _raw(self, left_bytes: int) -> Iterator[bytes]:
        while left_bytes > 0 and (piece := self._file.read(min(_READ_BYTES, left_bytes))):
            left_bytes -= len(piece)
            yield piece


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in pieces:
            rest = piece
            while rest and not inflate.eof:
                yield inflate.decompress(rest, _READ_BYTES)
                rest = inflate.unconsumed_tail
        while piece := inflate.decompress(b"", _READ_BYTES):
            yield piece
    except zlib.error:
        raise PreparationRefused(_DAMAGED) from None


def _count_entries(file: IO[bytes]) -> int:
    """The number of signatures of entries: an upper bound that is found without parsing them."""
    file.seek(0)
    count, before = 0, b""
    while piece := file.read(_READ_BYTES):
        piece = before[-3:] + piece
        count += piece.count(b"PK\x01\x02")
        before = piece
    return count

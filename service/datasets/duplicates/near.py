"""Which rows of many are near an earlier one, by their sketches: all rows at once, in numpy.

Rows that share a band are candidates, and of these each is compared with the first that has the band. A loop in Python
does the same ten times as slowly, and this stands at the end of a report, where nothing else is left to do meanwhile.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from service.datasets.duplicates.exact import Rows, first_rows
from service.datasets.duplicates.numerics import NDArray, np
from service.datasets.duplicates.sketches import BANDS, MIN_EQUAL_NUMBERS, PERMUTATIONS

_MAX_COMPARED_AT_ONCE = 20_000
"""Of 400 bytes each, so that memory stays small."""

_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)
"""Odd numbers of 64 bits with many ones, one for each number of a band."""


def near_duplicates(sketches: bytearray, keys: array[int]) -> Iterator[tuple[int, int]]:
    """Every row that is near an earlier one with another key, with that row; by row.

    `sketches` are those of all rows, one after the other, and `keys` say which rows are the same.
    """
    if len(keys) < 2:
        return
    rows = np.frombuffer(sketches, dtype=np.uint32).reshape(-1, PERMUTATIONS)
    same = np.frombuffer(keys, dtype=np.int64)
    firsts = np.full(len(rows), -1, dtype=np.int64)
    for band in np.split(rows, BANDS, axis=1):
        later, first = _sharing(band)
        new = (firsts[later] < 0) & (same[later] != same[first])
        later, first = later[new], first[new]
        for start in range(0, len(later), _MAX_COMPARED_AT_ONCE):
            some, theirs = later[start : start + _MAX_COMPARED_AT_ONCE], first[start : start + _MAX_COMPARED_AT_ONCE]
            alike = np.count_nonzero(rows[some] == rows[theirs], axis=1) >= MIN_EQUAL_NUMBERS
            firsts[some[alike]] = theirs[alike]
    found = np.flatnonzero(firsts >= 0)
    yield from zip(found.tolist(), firsts[found].tolist(), strict=True)


def _sharing(band: NDArray[np.uint32]) -> tuple[Rows, Rows]:
    """The rows whose numbers came before, and for each the first row that has them."""
    firsts = first_rows(band.astype(np.uint64) @ np.array(_FACTORS, dtype=np.uint64))
    repeated = np.flatnonzero(firsts != np.arange(len(firsts), dtype=np.int32)).astype(np.int32)
    return repeated, firsts[repeated]

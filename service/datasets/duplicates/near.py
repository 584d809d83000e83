"""Finds rows that nearly equal an earlier row, by comparing their MinHash sketches in numpy.

Rows that share a band are candidates; each is compared with the first row that has the band. numpy is used because a
loop in Python takes ten times as long, and this work starts when the whole file is read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from service.datasets.duplicates.exact import Rows, first_rows
from service.datasets.duplicates.numerics import NDArray, np
from service.datasets.duplicates.sketches import BANDS, MIN_EQUAL_NUMBERS, PERMUTATIONS

_MAX_COMPARED_AT_ONCE = 20_000
"""Comparisons in one step, of 400 bytes each, which bounds memory."""

_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)
"""Hash multipliers, one for each number of a band: odd 64-bit numbers with many set bits."""


def near_duplicates(sketches: bytearray, keys: array[int]) -> Iterator[tuple[int, int]]:
    """Every row that nearly equals an earlier row with another key, with that earlier row; in ascending order.

    `sketches` holds the sketches of all rows, one after the other. Rows with equal `keys` are exact duplicates, which
    are not reported here.
    """
    if len(keys) < 2:
        return
    rows = np.frombuffer(sketches, dtype=np.uint32).reshape(-1, PERMUTATIONS)
    same = np.frombuffer(keys, dtype=np.int64)
    firsts = np.full(len(rows), -1, dtype=np.int64)
    for band in np.split(rows, BANDS, axis=1):
        later, first = _rows_sharing(band)
        new = (firsts[later] < 0) & (same[later] != same[first])
        later, first = later[new], first[new]
        for start in range(0, len(later), _MAX_COMPARED_AT_ONCE):
            end = start + _MAX_COMPARED_AT_ONCE
            batch, batch_firsts = later[start:end], first[start:end]
            near = np.count_nonzero(rows[batch] == rows[batch_firsts], axis=1) >= MIN_EQUAL_NUMBERS
            firsts[batch[near]] = batch_firsts[near]
    found = np.flatnonzero(firsts >= 0)
    yield from zip(found.tolist(), firsts[found].tolist(), strict=True)


def near_pairs(sketches: bytearray) -> Iterator[tuple[int, int]]:
    """Pairs of a row and an earlier one that it nearly equals, several for a row that nearly equals several.

    In each band a row is compared with the first row that shares it, so that of many alike each is paired with one.
    """
    rows = np.frombuffer(sketches, dtype=np.uint32).reshape(-1, PERMUTATIONS)
    for band in np.split(rows, BANDS, axis=1) if len(rows) > 1 else ():
        later, first = _rows_sharing(band)
        for start in range(0, len(later), _MAX_COMPARED_AT_ONCE):
            end = start + _MAX_COMPARED_AT_ONCE
            batch, batch_firsts = later[start:end], first[start:end]
            near = np.count_nonzero(rows[batch] == rows[batch_firsts], axis=1) >= MIN_EQUAL_NUMBERS
            yield from zip(batch[near].tolist(), batch_firsts[near].tolist(), strict=True)


def _rows_sharing(band: NDArray[np.uint32]) -> tuple[Rows, Rows]:
    """The rows whose band an earlier row has, and for each the first row that has it."""
    firsts = first_rows(band.astype(np.uint64) @ np.array(_FACTORS, dtype=np.uint64))
    repeated = np.flatnonzero(firsts != np.arange(len(firsts), dtype=np.int32)).astype(np.int32)
    return repeated, firsts[repeated]

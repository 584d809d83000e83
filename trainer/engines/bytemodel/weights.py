"""Weights on disk: the difference to the base, sparse and in steps of 1/32.

One gradient step on a row changes the correct byte much and the 255 others hardly at all, so nearly every cell of a
difference rounds to zero. The rest is stored row by row (bytes and their 16-bit values) and deflated: about 40 KB for
thirty examples, against 64 MB dense.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .features import ROWS

STEPS_PER_UNIT = 32
Table: TypeAlias = NDArray[np.float32]
"""Shape (ROWS + 1, 256); the last row is always zero."""
_BLOCK = 8_192


@dataclass(frozen=True, slots=True)
class Delta:
    """A sparse difference: row r has bytes `columns[starts[r]:starts[r+1]]` with their `values` beside them."""

    starts: NDArray[np.int64]
    columns: NDArray[np.uint8]
    values: NDArray[np.int16]


def difference(table: Table, base: Table, changed: NDArray[np.intp]) -> Delta:
    """Round `table - base` to the stored precision; only the rows in `changed`, ascending, are compared."""
    counts = np.zeros(ROWS, dtype=np.int64)
    columns, values = [np.zeros(0, dtype=np.uint8)], [np.zeros(0, dtype=np.int16)]
    for first in range(0, len(changed), _BLOCK):
        rows = changed[first : first + _BLOCK]
        rounded = np.rint((table[rows] - base[rows]) * STEPS_PER_UNIT)
        row, column = np.nonzero(rounded)
        counts[rows] = np.bincount(row, minlength=len(rows))
        columns.append(column.astype(np.uint8))
        values.append(np.clip(rounded[row, column], -32_768, 32_767).astype(np.int16))
    return Delta(_starts(counts), np.concatenate(columns), np.concatenate(values))


def apply(base: Table, delta: Delta) -> Table:
    """A dense copy of the base with the difference added."""
    table = base.copy()
    put(table, base, delta, np.flatnonzero(np.diff(delta.starts)))
    return table


def put(table: Table, base: Table, delta: Delta, rows: NDArray[np.intp]) -> None:
    """Set `rows` of a table to the base with the difference added, which must lie within them."""
    table[rows] = base[rows]
    row = np.repeat(np.arange(ROWS), np.diff(delta.starts))
    table[row, delta.columns] += delta.values.astype(np.float32) / STEPS_PER_UNIT


def write(path: Path, delta: Delta) -> None:
    """Write a difference; a reader sees the old file or the whole new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    with partial.open("wb") as out:
        np.savez_compressed(
            out,
            counts=np.diff(delta.starts).astype(np.uint16),
            columns=delta.columns,
            values=delta.values,
        )
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)


def read(path: Path) -> Delta:
    """Read a difference; OSError or ValueError when the file does not exist or was not written by `write`."""
    with np.load(path, allow_pickle=False) as stored:
        return Delta(_starts(stored["counts"]), stored["columns"], stored["values"])


def zeros() -> Table:
    """An untrained table."""
    return np.zeros((ROWS + 1, 256), dtype=np.float32)


def _starts(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])

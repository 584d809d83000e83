"""Which rows of many say what an earlier one says, by 64-bit hashes of what they say: all rows at once, in numpy.

A loop in Python does the same five times as slowly, and this stands at the end of a report, where nothing else is left
to do meanwhile. The numbers are sorted in parts of a million rows, so that memory stays small for millions of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from service.datasets.duplicates.numerics import NDArray, np

Hashes: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.int32]

PART_ROWS = 1_000_000


class Group(NamedTuple):
    """Rows that have one answer: the first of them, and how many they are."""

    first: int
    size: int


def first_rows(hashes: NDArray[np.integer]) -> Rows:
    """For each row the first one that has its hash, which is itself where none came before."""
    firsts = np.empty(len(hashes), dtype=np.int32)
    for rows in _parts(hashes):
        part = hashes if rows is None else hashes[rows]
        if not len(part):
            continue
        order = np.argsort(part, kind="stable").astype(np.int32)
        ordered = part[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        first = np.repeat(order[starts], np.diff(starts, append=len(order)))
        if rows is None:
            firsts[order] = first
        else:
            firsts[rows[order]] = rows[first]
    return firsts


def exact_duplicates(keys: array[int]) -> Iterator[tuple[int, int]]:
    """Every row whose key came before, with the first row that has it; by row."""
    firsts = first_rows(_hashes(keys))
    return _pairs(np.flatnonzero(firsts != np.arange(len(firsts), dtype=np.int32)).astype(np.int32), firsts)


def conflicting_answers(prompts: array[int], answers: array[int], keys: array[int]) -> Iterator[tuple[int, int]]:
    """Every row whose prompt came before with another answer, with the first row that has the prompt; by row.

    A prompt of 0 is none.
    """
    asked, answered, same = _hashes(prompts), _hashes(answers), _hashes(keys)
    rows = np.flatnonzero(asked).astype(np.int32)
    firsts = np.zeros(len(asked), dtype=np.int32)
    firsts[rows] = rows[first_rows(asked[rows])]
    first = firsts[rows]
    return _pairs(rows[(answered[first] != answered[rows]) & (same[first] != same[rows])], firsts)


def identical_answers(answers: array[int], long: array[int], prompts: array[int], least: int) -> list[Group]:
    """Long answers under at least `least` different prompts; by their first row."""
    rows = np.flatnonzero(np.asarray(long)).astype(np.int32)
    firsts = rows[first_rows(_hashes(answers)[rows])]
    sizes = np.bincount(firsts)
    asked = _hashes(prompts)
    often = np.flatnonzero(sizes >= least)
    among = np.isin(firsts, often)
    rows, firsts = rows[among], firsts[among]
    return [
        Group(first, int(sizes[first]))
        for first in often.tolist()
        if len(np.unique(asked[rows[firsts == first]])) >= least
    ]


def _hashes(numbers: array[int]) -> Hashes:
    return np.asarray(numbers)


def _parts(hashes: NDArray[np.integer]) -> Iterator[Rows | None]:
    """Row numbers, a part of the space of hashes at a time, ascending in each part; None for all rows at once."""
    parts = len(hashes) // PART_ROWS + 1
    if parts == 1:
        yield None
        return
    for part in range(parts):
        yield np.flatnonzero(hashes % parts == part).astype(np.int32)


def _pairs(rows: Rows, firsts: Rows) -> Iterator[tuple[int, int]]:
    return zip(rows.tolist(), firsts[rows].tolist(), strict=True)

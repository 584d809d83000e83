"""Finds rows with the same content, prompt or answer as an earlier row, by comparing 64-bit hashes in numpy.

numpy is used because a loop in Python takes five times as long, and this work cannot overlap with reading the file: it
starts when the whole file is read. The hashes are sorted in parts of a million rows, which bounds memory.
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
    """Rows with the same answer: the first row, and the number of rows."""

    first: int
    size: int


def first_rows(hashes: NDArray[np.integer]) -> Rows:
    """For each row, the first row with the same hash, which is the row itself if no earlier row has it."""
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
    """Every row whose key an earlier row has, with the first row that has it; in ascending order."""
    firsts = first_rows(_hashes(keys))
    return _pairs(np.flatnonzero(firsts != np.arange(len(firsts), dtype=np.int32)).astype(np.int32), firsts)


def conflicting_answers(prompts: array[int], answers: array[int], keys: array[int]) -> Iterator[tuple[int, int]]:
    """Every row whose prompt an earlier row has with another answer, with the first row of the prompt; ascending.

    A prompt hash of 0 marks a row that is not compared.
    """
    prompt_hashes, answer_hashes, key_hashes = _hashes(prompts), _hashes(answers), _hashes(keys)
    rows = np.flatnonzero(prompt_hashes).astype(np.int32)
    firsts = np.zeros(len(prompt_hashes), dtype=np.int32)
    firsts[rows] = rows[first_rows(prompt_hashes[rows])]
    first = firsts[rows]
    differ = (answer_hashes[first] != answer_hashes[rows]) & (key_hashes[first] != key_hashes[rows])
    return _pairs(rows[differ], firsts)


def identical_answers(answers: array[int], long: array[int], prompts: array[int], min_prompts: int) -> list[Group]:
    """Groups of rows with the same long answer and at least `min_prompts` different prompts, by first row.

    `long` marks the rows whose answer is long enough.
    """
    rows = np.flatnonzero(np.asarray(long)).astype(np.int32)
    firsts = rows[first_rows(_hashes(answers)[rows])]
    sizes = np.bincount(firsts)
    prompt_hashes = _hashes(prompts)
    frequent = np.flatnonzero(sizes >= min_prompts)
    in_frequent = np.isin(firsts, frequent)
    rows, firsts = rows[in_frequent], firsts[in_frequent]
    return [
        Group(first, int(sizes[first]))
        for first in frequent.tolist()
        if len(np.unique(prompt_hashes[rows[firsts == first]])) >= min_prompts
    ]


def _hashes(numbers: array[int]) -> Hashes:
    return np.asarray(numbers)


def _parts(hashes: NDArray[np.integer]) -> Iterator[Rows | None]:
    """The row numbers of each part of the hash space, ascending; None stands for all rows, if one part is enough."""
    parts = len(hashes) // PART_ROWS + 1
    if parts == 1:
        yield None
        return
    for part in range(parts):
        yield np.flatnonzero(hashes % parts == part).astype(np.int32)


def _pairs(rows: Rows, firsts: Rows) -> Iterator[tuple[int, int]]:
    for at in range(0, len(rows), PART_ROWS):
        part = rows[at : at + PART_ROWS]
        yield from zip(part.tolist(), firsts[part].tolist(), strict=True)

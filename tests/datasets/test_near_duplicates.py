"""Near duplicates of many rows at once, against comparing one row after the other."""

from __future__ import annotations

import random
from array import array

import pytest

from service.datasets.duplicates.near import near_duplicates
from service.datasets.duplicates.sketches import PERMUTATIONS, SKETCH_BYTES, bands, is_near

DIFFERING = (0, 0, 1, 5, 8, 9, 10, 14, 50)
"""Of 50 numbers; up to nine may differ."""


def made(rows: int, kinds: int, chance: random.Random) -> tuple[bytearray, array[int]]:
    """Sketches of rows that are each like one of so many kinds, and their keys, some of which are the same."""
    models = [[chance.getrandbits(32) for _ in range(PERMUTATIONS)] for _ in range(kinds)]
    numbers, keys = array("I"), array("q")
    for row in range(rows):
        sketch = list(chance.choice(models))
        for at in chance.sample(range(PERMUTATIONS), chance.choice(DIFFERING)):
            sketch[at] = chance.getrandbits(32)
        numbers.extend(sketch)
        keys.append(chance.choice((row, row, -7)))
    return bytearray(numbers.tobytes()), keys


def one_by_one(sketches: bytes, keys: array[int]) -> list[tuple[int, int]]:
    """The same by the definition: a row's first match in the first band that has one."""
    firsts: dict[int, int] = {}
    of_row = [sketches[at : at + SKETCH_BYTES] for at in range(0, len(sketches), SKETCH_BYTES)]
    for band in bands(sketches):
        seen: dict[bytes, int] = {}
        for row, key in enumerate(band):
            first = seen.setdefault(key, row)
            if first != row and row not in firsts and keys[row] != keys[first] and is_near(of_row[row], of_row[first]):
                firsts[row] = first
    return sorted(firsts.items())


@pytest.mark.parametrize(("rows", "kinds"), [(0, 1), (1, 1), (2, 1), (50, 3), (2_000, 40), (2_000, 1_900)])
def test_it_finds_what_a_loop_finds(rows: int, kinds: int) -> None:
    for seed in range(5):
        sketches, keys = made(rows, kinds, random.Random(seed))
        found = list(near_duplicates(sketches, keys))
        assert found == one_by_one(bytes(sketches), keys)
        assert found or rows < 50

"""Sketches of examples by which near duplicates are found: MinHash, by rensa, an optional library.

Two examples are near when about 80 % of their words (or pairs of characters, where a script has no spaces) are the
same. Only the first 1,000 characters of an example are sketched. Without rensa nothing is near, and reports say so.
"""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from service.datasets.formats import Example

PERMUTATIONS = 48
BANDS = 12
_ROWS_PER_BAND = PERMUTATIONS // BANDS
_ALIKE = round(0.8 * PERMUTATIONS)
_SKETCHED_CHARS = 1_000
_SEED = 1

Sketch: TypeAlias = "array[int]"


@lru_cache(maxsize=1)
def _minhash() -> Any:
    try:
        return importlib.import_module("rensa").RMinHash
    except (ImportError, AttributeError):
        return None


def can_sketch() -> bool:
    """Whether rensa is installed."""
    return _minhash() is not None


def sketches(examples: Sequence[Example]) -> list[Sketch]:
    """The sketch of each example, 48 numbers of 32 bits; needs `can_sketch()`."""
    digests = _minhash().digests_from_token_sets([_tokens(example) for example in examples], PERMUTATIONS, _SEED)
    return [array("I", digest) for digest in digests]


def band_keys(sketch: Sketch) -> list[int]:
    """One key for each band: near examples share at least one with a chance of over 99 %."""
    numbers = sketch.tobytes()
    width = _ROWS_PER_BAND * sketch.itemsize
    return [hash((band, numbers[band * width : (band + 1) * width])) for band in range(BANDS)]


def near(one: Sketch, other: Sketch) -> bool:
    """Whether two sketches are alike enough."""
    return sum([left == right for left, right in zip(one, other, strict=True)]) >= _ALIKE


def _tokens(example: Example) -> list[str]:
    text = "\n".join([piece.text for piece in example.pieces if piece.role != "system"])[:_SKETCHED_CHARS]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if text.isascii() or text.count(" ") * 12 > len(text):
        return text.split()
    return [text[at : at + 2] for at in range(len(text) - 1)]

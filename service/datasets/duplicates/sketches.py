"""Sketches of examples by which near duplicates are found: MinHash, by rensa.

Two examples are near when about 80 % of their words (or pairs of characters, where a script has no spaces) are the
same. Sketched are the first 300 characters of each text but the system's, 600 in all: so a long instruction at the
start of every question does not make all examples near.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import eq

from rensa import RMinHash

from service.datasets.parsing.formats import Example

PERMUTATIONS = 50
BANDS = 10
SKETCH_BYTES = PERMUTATIONS * 4
MIN_EQUAL_NUMBERS = 41
"""A little over 80 %: fewer numbers say it less exactly, and what is found shall be true."""

_MAX_DIFFERING_BITS = (PERMUTATIONS - MIN_EQUAL_NUMBERS) * 32
_SKETCHED_CHARS = 600
_SKETCHED_CHARS_OF_A_TEXT = 300
_SEED = 1
_BATCH_EXAMPLES = 32
"""rensa starts threads for more, which processes that are forked later would wait for in vain."""


def sketches(examples: Sequence[Example]) -> bytes:
    """The sketches of some examples one after the other, each of 50 numbers of 32 bits, 200 bytes."""
    numbers = array("I")
    for start in range(0, len(examples), _BATCH_EXAMPLES):
        texts = [_sketched_text(example) for example in examples[start : start + _BATCH_EXAMPLES]]
        spaced = [text.isascii() or text.count(" ") * 12 > len(text) for text in texts]
        by_words = iter(_by_words([text for text, words in zip(texts, spaced, strict=True) if words]))
        by_pairs = iter(_by_pairs([text for text, words in zip(texts, spaced, strict=True) if not words]))
        for words in spaced:
            numbers.extend(next(by_words if words else by_pairs))
    return numbers.tobytes()


def bands(numbers: bytes) -> Iterator[list[bytes]]:
    """For each band, a key for every sketch: near examples share at least one with a chance of 98 %."""
    width = SKETCH_BYTES // BANDS
    for start in range(0, SKETCH_BYTES, width):
        yield [numbers[at : at + width] for at in range(start, len(numbers), SKETCH_BYTES)]


def is_near(one: bytes, other: bytes) -> bool:
    """Whether two sketches are alike enough; soon said of most that are not, for they differ in too many bits."""
    differing_bits = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    if differing_bits.bit_count() > _MAX_DIFFERING_BITS:
        return False
    alike: int = sum(map(eq, memoryview(one).cast("I"), memoryview(other).cast("I")))
    return alike >= MIN_EQUAL_NUMBERS


def _sketched_text(example: Example) -> str:
    texts = example.texts
    starts = [texts[at][:_SKETCHED_CHARS_OF_A_TEXT] for at in _sketched_indexes(example.layout.roles)]
    return "\n".join(starts)[:_SKETCHED_CHARS]


@lru_cache(maxsize=1000)
def _sketched_indexes(roles: tuple[str, ...]) -> list[int]:
    return [at for at, role in enumerate(roles) if role != "system"][:4]


def _by_words(texts: Sequence[str]) -> list[list[int]]:
    words = [text.encode("utf-8", "replace").split() for text in texts]
    rows: list[list[int]] = RMinHash.digest_matrix_from_token_byte_sets(words, PERMUTATIONS, _SEED).to_rows()
    return rows


def _by_pairs(texts: Sequence[str]) -> list[list[int]]:
    """Two neighbouring characters, 32 bits each, make a number of 64 bits: first all at even places, then at odd."""
    pairs, ends = array("Q"), array("Q", [0])
    for text in texts:
        encoded = text.encode("utf-32-le", "replace")
        pairs.frombytes(encoded[: len(text) // 2 * 8])
        pairs.frombytes(encoded[4 : 4 + (len(text) - 1) // 2 * 8])
        ends.append(len(pairs))
    rows: list[list[int]] = RMinHash.digest_matrix_from_flat_token_hashes(pairs, ends, PERMUTATIONS, _SEED).to_rows()
    return rows

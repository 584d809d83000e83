"""MinHash sketches of examples, computed by rensa, for finding near duplicates.

Two examples are near duplicates if about 80 % of their words are the same (or of their pairs of characters, in a script
without spaces). A sketch covers the first 300 characters of each text except the system prompt, 600 in all, so that a
long instruction at the start of every question does not make all examples near duplicates.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress
from operator import eq

from rensa import RMinHash

from service.datasets.parsing.formats import Example

PERMUTATIONS = 50
BANDS = 10
SKETCH_BYTES = PERMUTATIONS * 4
MIN_EQUAL_NUMBERS = 41
"""How many of the 50 numbers must be equal: a little over 80 %, to avoid false findings."""

_MAX_DIFFERING_BITS = (PERMUTATIONS - MIN_EQUAL_NUMBERS) * 32
_MAX_CHARS = 600
_MAX_CHARS_PER_TEXT = 300
_SEED = 1
_BATCH_EXAMPLES = 32
"""rensa starts threads for larger batches; a forked process has no copy of these threads and would wait for them."""


def sketches(examples: Sequence[Example]) -> bytes:
    """The sketches of the examples, one after the other. Each has 50 numbers of 32 bits: 200 bytes."""
    numbers = array("I")
    for start in range(0, len(examples), _BATCH_EXAMPLES):
        texts = [_sketched_text(example) for example in examples[start : start + _BATCH_EXAMPLES]]
        has_spaces = [text.isascii() or text.count(" ") * 12 > len(text) for text in texts]
        by_words = iter(_by_words(list(compress(texts, has_spaces))))
        by_pairs = iter(_by_pairs([text for text, spaced in zip(texts, has_spaces, strict=True) if not spaced]))
        for spaced in has_spaces:
            numbers.fromlist(next(by_words if spaced else by_pairs))
    return numbers.tobytes()


def bands(all_sketches: bytes) -> Iterator[list[bytes]]:
    """For each band, the key of every sketch. Near duplicates share at least one key with a probability of 98 %."""
    width = SKETCH_BYTES // BANDS
    for start in range(0, SKETCH_BYTES, width):
        yield [all_sketches[at : at + width] for at in range(start, len(all_sketches), SKETCH_BYTES)]


def is_near(one: bytes, other: bytes) -> bool:
    """Whether two sketches are those of near duplicates.

    Most sketches that are not differ in too many bits, which is quick to count, so that is checked first.
    """
    differing_bits = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    if differing_bits.bit_count() > _MAX_DIFFERING_BITS:
        return False
    equal: int = sum(map(eq, memoryview(one).cast("I"), memoryview(other).cast("I")))
    return equal >= MIN_EQUAL_NUMBERS


def _sketched_text(example: Example) -> str:
    texts = example.texts
    starts = [texts[at][:_MAX_CHARS_PER_TEXT] for at in _sketched_indexes(example.layout.roles)]
    return "\n".join(starts)[:_MAX_CHARS]


@lru_cache(maxsize=1000)
def _sketched_indexes(roles: tuple[str, ...]) -> list[int]:
    return [at for at, role in enumerate(roles) if role != "system"][:4]


def _by_words(texts: Sequence[str]) -> list[list[int]]:
    words = [text.encode("utf-8", "replace").split() for text in texts]
    rows: list[list[int]] = RMinHash.digest_matrix_from_token_byte_sets(words, PERMUTATIONS, _SEED).to_rows()
    return rows


def _by_pairs(texts: Sequence[str]) -> list[list[int]]:
    """Sketches of pairs of neighbouring characters, a pair being two times 32 bits in a 64-bit number.

    The pairs that start at even positions come first, then those at odd positions.
    """
    pairs, ends = array("Q"), array("Q", [0])
    for text in texts:
        encoded = text.encode("utf-32-le", "replace")
        pairs.frombytes(encoded[: len(text) // 2 * 8])
        pairs.frombytes(encoded[4 : 4 + (len(text) - 1) // 2 * 8])
        ends.append(len(pairs))
    rows: list[list[int]] = RMinHash.digest_matrix_from_flat_token_hashes(pairs, ends, PERMUTATIONS, _SEED).to_rows()
    return rows

"""What a preparation reports of its input: how it was read, what was guessed how surely, and what was not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from service.datasets.preparation.scratch import Row

Certainty = Literal["given", "certain", "likely", "uncertain"]
"""`given` by the request; `certain` from the bytes themselves; `likely` and `uncertain` are guesses."""

MAX_UNUSED = 200
"""The places without use that are named; of further ones the values are counted together."""

_FURTHER = "(further)"


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """A property of the input and how sure it is."""

    value: str
    certainty: Certainty


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """How the input was read.

    `unit` is what its rows are called: line, row or item. `delimiter` and `header` (whether the first row has the
    names of the columns) are null unless the input is a table of text, `sheet` unless it is a workbook or an object
    with several lists of rows. `shape` is the known shape that was converted. `unused` counts, by column or by JSON
    pointer with `*` for the position in a list, the values that are not in the examples.
    """

    format: str
    unit: str
    encoding: Guess
    delimiter: Guess | None = None
    header: Guess | None = None
    sheet: str | None = None
    sheets_not_read: list[str] = []
    shape: str | None = None
    columns: list[str] = []
    unused: dict[str, int] = {}


class Unused:
    """Counts the values of rows that are not in their examples, by column or pointer."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add_columns(self, row: Row, used: frozenset[str]) -> None:
        """Count the columns of a table's row that have a value and are not in `used`."""
        for name, value in row.items():
            if name not in used and value not in (None, "", [], {}):
                self.add(name)

    def add_lost(self, row: Row, examples: Iterable[Row], structure: frozenset[str]) -> None:
        """Count the values of a row that occur nowhere in its examples, except those of keys in `structure`."""
        texts = [text for example in examples for text in _texts(example)]
        for pointer, value in _leaves(row, ""):
            if pointer.rpartition("/")[2] in structure or value in (None, ""):
                continue
            text = value if isinstance(value, str) else str(value)
            if not any(text in each for each in texts):
                self.add(pointer)

    def add(self, place: str) -> None:
        """Count one value."""
        self.counts[place if place in self.counts or len(self.counts) < MAX_UNUSED else _FURTHER] += 1


def _texts(value: Any) -> Iterator[str]:
    for _, leaf in _leaves(value, ""):
        if leaf is not None:
            yield leaf if isinstance(leaf, str) else str(leaf)


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Every value that is no list or object, with its pointer; `*` stands for a position in a list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{pointer}/{key[:80].replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{pointer}/*")
    else:
        yield pointer, value

"""The check for near duplicates within a file: rows with almost the same words."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from service.datasets.checks.registry import Hit, LocatedHit, dataset_check, declare
from service.datasets.duplicates.sketches import sketches
from service.datasets.parsing.formats import Example

SECTION = "Quality"
MAX_LINES = 200_000

NEAR_DUPLICATE = declare(
    "near_duplicate",
    "warning",
    SECTION,
    "An example shares about 80 % or more of its words with an earlier one, not counting system prompts. Only the "
    "first 200,000 lines are compared.",
    scope="dataset",
)


@dataset_check(slow_to_finish=True)
class NearDuplicates:
    """Stores sketches, and finds near duplicates. Uses 212 bytes for each example of the first 200,000 lines."""

    def __init__(self) -> None:
        self._lines = array("I")
        self._keys = array("q")
        self._sketches = bytearray()
        self._more = False

    def add(self, examples: Sequence[Example]) -> None:
        """Stores the sketches of a batch."""
        compared = [example for example in examples if example.line <= MAX_LINES]
        self._more = len(compared) < len(examples)
        self._lines.extend([example.line for example in compared])
        self._keys.extend([example.key for example in compared])
        self._sketches.extend(sketches(compared))

    def merge(self, later: NearDuplicates) -> None:
        """Appends the sketches of later examples."""
        self._lines += later._lines
        self._keys += later._keys
        self._sketches += later._sketches
        self._more = self._more or later._more

    def finish(self) -> Iterable[LocatedHit]:
        """Every row that nearly equals an earlier row and is not an exact duplicate of it; by line."""
        # numpy takes longer to import than most files take to report on
        from service.datasets.duplicates.near import near_duplicates

        for row, first in near_duplicates(self._sketches, self._keys):
            message = f"This is nearly the same example as on line {self._lines[first]}; keep one, or make them differ."
            yield LocatedHit(NEAR_DUPLICATE, self._lines[row], Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """Says that only the first lines were compared, if the file has more."""
        if self._more:
            yield f"Near duplicates were searched only in the first {MAX_LINES:,} lines."

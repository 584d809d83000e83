"""Near duplicates within a file: rows that say almost the same."""

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
    "An example shares about 80 % of its words or more with an earlier one, system prompts aside. Looked for among the "
    "first 200,000 lines.",
    scope="dataset",
)


@dataset_check(slow_to_finish=True)
class NearDuplicates:
    """Keeps 212 bytes for each example of the first 200,000 lines."""

    def __init__(self) -> None:
        self._lines = array("I")
        self._keys = array("q")
        self._sketches = bytearray()
        self._more = False

    def add(self, examples: Sequence[Example]) -> None:
        """Sketches a batch."""
        wanted = [example for example in examples if example.line <= MAX_LINES]
        self._more = len(wanted) < len(examples)
        self._lines.extend([example.line for example in wanted])
        self._keys.extend([example.key for example in wanted])
        self._sketches.extend(sketches(wanted))

    def merge(self, later: NearDuplicates) -> None:
        """Appends the sketches."""
        self._lines += later._lines
        self._keys += later._keys
        self._sketches += later._sketches
        self._more = self._more or later._more

    def finish(self) -> Iterable[LocatedHit]:
        """Every row that is near an earlier one and not the same; by line."""
        from service.datasets.duplicates.near import (
            near_duplicates,  # numpy takes longer to import than most files to report on
        )

        for row, first in near_duplicates(self._sketches, self._keys):
            message = f"Nearly the same example as line {self._lines[first]}; keep one, or make them differ."
            yield LocatedHit(NEAR_DUPLICATE, self._lines[row], Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """Says where it is a sample."""
        if self._more:
            yield f"Near duplicates were looked for among the first {MAX_LINES:,} lines."

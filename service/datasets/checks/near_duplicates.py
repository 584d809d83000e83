"""Near duplicates within a file: rows that say almost the same."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from service.datasets.checks.duplicates import repeats
from service.datasets.checks.registry import Found, Hit, dataset_check, declare
from service.datasets.formats import Example
from service.datasets.sketches import BANDS, PERMUTATIONS, Sketch, band_keys, can_sketch, near, sketches

SECTION = "Quality"
MAX_ROWS = 200_000

NEAR_DUPLICATE = declare(
    "near_duplicate",
    "warning",
    SECTION,
    "An example shares about 80 % of its words or more with an earlier one, system prompts aside. Looked for among the "
    "first 200,000 rows.",
    scope="dataset",
)


@dataset_check()
class NearDuplicates:
    """Keeps 300 bytes for each of the first 200,000 rows."""

    def __init__(self) -> None:
        self._lines = array("I")
        self._keys = array("q")
        self._sketches = array("I")
        self._bands = [array("q") for _ in range(BANDS)]
        self._rows = 0

    def see(self, examples: Sequence[Example]) -> None:
        """Sketches a batch."""
        self._rows += len(examples)
        wanted = examples[: MAX_ROWS - len(self._lines)]
        if not wanted or not can_sketch():
            return
        self._lines.extend([example.line for example in wanted])
        self._keys.extend([example.key for example in wanted])
        for sketch in sketches(wanted):
            self._sketches.extend(sketch)
            for column, key in zip(self._bands, band_keys(sketch), strict=True):
                column.append(key)

    def finish(self) -> Iterable[Found]:
        """Every row that is near an earlier one and not the same; by line."""
        firsts: dict[int, int] = {}
        for column in self._bands:
            for row, first in repeats(column):
                if row not in firsts and self._keys[row] != self._keys[first] and near(self._at(row), self._at(first)):
                    firsts[row] = first
        for row, first in sorted(firsts.items()):
            message = f"Nearly the same example as line {self._lines[first]}; keep one, or make them differ."
            yield Found(NEAR_DUPLICATE, self._lines[row], Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """Says where it is a sample, or could not be done."""
        if self._rows and not can_sketch():
            yield "Near duplicates were not looked for: the library rensa is not installed."
        elif self._rows > len(self._lines):
            yield f"Near duplicates were looked for among the first {MAX_ROWS:,} rows."

    def _at(self, row: int) -> Sketch:
        return self._sketches[row * PERMUTATIONS : (row + 1) * PERMUTATIONS]

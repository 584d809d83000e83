"""Checks of reinforcement rows, and the fields of a row that a grader reads.

Source of the rules: OpenAI's guide to reinforcement fine-tuning. Graders refer to fields as `{{ item.field }}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from service.datasets.checks.registry import Hit, LocatedHit, dataset_check, declare, example_check
from service.datasets.parsing.formats import CHAT_KEYS, Example

SECTION = "Reinforcement"
_ITEM_FIELD = re.compile(r"\{\{\s*item\.([A-Za-z0-9_]+)")
_MAX_FIELDS = 200
_MAX_LINES_PER_FIELD = 100


@example_check("reinforcement_last_message", "error", SECTION, formats=("reinforcement",))
def reinforcement_last_message(row: dict[str, Any]) -> Iterator[Hit]:
    """The last message is not the user's (or developer's). The model generates the answer during training."""
    messages = row.get("messages")
    if isinstance(messages, list) and messages:
        last = messages[-1]
        if isinstance(last, dict) and last.get("role") in ("assistant", "tool", "function"):
            pointer = f"/messages/{len(messages) - 1}/role"
            yield Hit(pointer, last, "The last message must be the user's; move the answer to a field for the grader.")


@example_check("reinforcement_nothing_to_grade", "warning", SECTION, formats=("reinforcement",))
def reinforcement_nothing_to_grade(row: dict[str, Any]) -> Iterator[Hit]:
    """A row has no field except its messages, such as a reference answer, that a grader can compare with."""
    if row.keys() <= CHAT_KEYS:
        message = (
            "This row is a prompt without a field for a grader, such as reference_answer; add one if your grader reads "
            "it. If this is chat data, add the assistant's answer instead."
        )
        yield Hit("", row, message)


FIELD_MISSING = declare(
    "reinforcement_field_missing",
    "warning",
    SECTION,
    "At least 90 % of the rows have a field that this row lacks. A grader whose template reads the field fails on this "
    "row, so a job with such a grader is refused.",
    scope="dataset",
)


@dataset_check(formats=("reinforcement",))
class MissingFields:
    """Finds fields that at least 90 % of the rows have, and the rows that lack them."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, list[str]]] = []
        self._rows = 0
        self._present: dict[str, int] = {}
        self._absent: dict[str, list[int]] = {}
        self._first_lines: list[int] = []

    def add(self, examples: Sequence[Example]) -> None:
        """Records the fields of a batch."""
        self._seen = [(example.line, [key for key in example.row if key not in CHAT_KEYS]) for example in examples]

    def merge(self, later: MissingFields) -> None:
        """Counts up to 200 different fields, and records the first 100 rows that lack each."""
        for line, fields in later._seen:
            for field in fields:
                if field not in self._present:
                    if len(self._present) == _MAX_FIELDS:
                        continue
                    self._present[field] = 0
                    self._absent[field] = self._first_lines[:]
                self._present[field] += 1
            for field in self._present.keys() - fields:
                if len(self._absent[field]) < _MAX_LINES_PER_FIELD:
                    self._absent[field].append(line)
            self._rows += 1
            if len(self._first_lines) < _MAX_LINES_PER_FIELD:
                self._first_lines.append(line)

    def finish(self) -> Iterable[LocatedHit]:
        """One finding for each row and field, by line."""
        missing = [
            (line, field)
            for field, count in self._present.items()
            if 0.9 * self._rows <= count < self._rows
            for line in self._absent[field]
        ]
        for line, field in sorted(missing):
            message = f"This row has no {field[:64]!r}, which most rows have; a grader that reads it fails on this row."
            yield LocatedHit(FIELD_MISSING, line, Hit("", field[:64], message))

    def notes(self) -> Iterable[str]:
        """None: the findings are complete unless a field is missing in over 100 rows."""
        return ()


def grader_fields(grader: object) -> set[str]:
    """The row fields that a grader's templates read: every `{{ item.field }}` in any of its strings, at any depth."""
    if isinstance(grader, str):
        return set(_ITEM_FIELD.findall(grader))
    if isinstance(grader, dict):
        return set().union(*(grader_fields(value) for value in grader.values()))
    if isinstance(grader, (list, tuple)):
        return set().union(*(grader_fields(value) for value in grader))
    return set()


def missing_grader_fields(grader: object, item_fields: dict[str, int], examples: int) -> list[str]:
    """The fields that a grader reads but not every row has, sorted. `item_fields` is that of a FileReport."""
    return sorted(field for field in grader_fields(grader) if item_fields.get(field, 0) < examples)

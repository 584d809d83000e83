"""Fixes of prompt-completion rows, one at a time: leading space, length.

Source of the rules: OpenAI's retired `fine_tunes.prepare_data` tool.
"""

from __future__ import annotations

from collections.abc import Iterable

from service.catalogue.tokens import ModelFacts
from service.datasets.checks.completion import completion_long_row, completion_no_leading_space
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.kinds import NumberedFix
from service.datasets.preparation.scratch import NumberedRow, Row
from service.datasets.report_schema import Format


def add_leading_space(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Starts every completion with a space, as most tokens of words do."""
    if format != "completion":
        return None

    def spaced(line: int, row: Row) -> Row | Dropped:
        found = any(True for _ in completion_no_leading_space(row))
        return {**row, "completion": " " + row["completion"]} if found else row

    return spaced


def drop_long_rows(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Drops rows of over 10,000 characters."""
    if format != "completion":
        return None

    def short(line: int, row: Row) -> Row | Dropped:
        found = next(iter(completion_long_row(row)), None)
        return row if found is None else Dropped(found.message)

    return short
